"""A custom runtime of MLServer: an ONNX model, its inputs and outputs by their names."""

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """Answers with the outputs "label" and "probabilities" of the ONNX model in the settings' `uri`."""

    async def load(self) -> bool:
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = {given.name: NumpyCodec.decode_input(given).astype(np.float32) for given in payload.inputs}
        labels, probabilities = self._session.run(["label", "probabilities"], rows)
        text = StringCodec.encode_output("label", [str(label) for label in labels])
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[text, NumpyCodec.encode_output("probabilities", probabilities)],
        )

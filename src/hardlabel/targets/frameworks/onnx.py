"""ONNX models, run by onnxruntime on the CPU.

A model that answers with labels becomes an object with `predict` and `classes_`, and with `predict_proba` if it shows
probabilities. A model that answers with numbers only becomes a torch module, which has these methods too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hardlabel.checks import InvalidInput, listed
from hardlabel.targets.frameworks.base import (
    OWN_CODE,
    ROWS_AT_ONCE,
    check_columns,
    comes_from,
    not_classifier,
    package,
    reason,
    softmax,
    two_columns,
)

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)", "tensor(bool)")
REGRESSORS = ("TreeEnsembleRegressor", "LinearRegressor", "SVMRegressor")
MOST_STEPS = 1000  # Nodes looked through for the classes.
SUM_SLACK = 1e-4  # Rows of probabilities sum to 1 within this.


class OnnxModel:
    """The bytes of an ONNX model, and a session that runs them in batches of the size that the model wants.

    Args:
        content: The model as one file, weights included.
        role: What errors call it.

    Raises:
        InvalidInput: onnxruntime or onnx is not installed, or the content is no model that onnxruntime can run.
    """

    def __init__(self, content: bytes, *, role: str = "target") -> None:
        self.content, self.role = content, role
        self._session: Any = None
        self.inputs, self.outputs = list(self._opened().get_inputs()), list(self._opened().get_outputs())
        for put in self.inputs:
            if put.type not in TYPES:
                raise InvalidInput(f"{role} must take numbers or text, got an input {put.name!r} of {put.type}")
        batches = {put.shape[0] for put in self.inputs if put.shape and isinstance(put.shape[0], int)}
        self.batch = min(batches) if batches else None  # None for any number of rows.

    def __getstate__(self) -> dict[str, Any]:
        return {"content": self.content, "role": self.role}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["content"], role=state["role"])  # type: ignore[misc]

    def _opened(self) -> Any:
        if self._session is None:
            runtime = package("onnxruntime", "onnx", self.role)
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 4  # What goes wrong is told by the exception.
            try:
                self._session = runtime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime raises many types of its own.
                raise InvalidInput(f"{self.role} cannot be run by onnxruntime: {reason(error)}") from error
        return self._session

    def run(self, rows: Any, outputs: Sequence[str]) -> list[Any]:
        """The named outputs for rows, an array (q, *shape), a data frame or a list of str; each for all q rows.

        Raises:
            InvalidInput: The model cannot take the rows.
        """
        feed = self._feed(rows)
        count = len(next(iter(feed.values())))
        if not count:
            raise InvalidInput("inputs must hold at least one row, got none")
        answers: list[list[Any]] = [[] for _ in outputs]
        for start in range(0, count, self.batch or ROWS_AT_ONCE):
            batch = {name: values[start : start + (self.batch or ROWS_AT_ONCE)] for name, values in feed.items()}
            length = len(next(iter(batch.values())))
            if self.batch is not None and length < self.batch:
                batch = {name: _filled(values, self.batch) for name, values in batch.items()}
            try:
                batch_answers = self._opened().run(list(outputs), batch)
            except Exception as error:
                raise InvalidInput(f"{self.role} cannot take these rows: {reason(error)}") from error
            for so_far, answer in zip(answers, batch_answers, strict=True):
                so_far.append(answer[:length])
        return [_joined(parts) for parts in answers]

    def _feed(self, rows: Any) -> dict[str, NDArray[Any]]:
        if len(self.inputs) == 1:
            return {self.inputs[0].name: self._array(rows, self.inputs[0])}
        names = [put.name for put in self.inputs]
        if hasattr(rows, "columns"):
            known = set(map(str, rows.columns)) & set(names)
            check_columns(rows, len(names), names if known else None, self.role)
            columns = [rows[name] if known else rows.iloc[:, place] for place, name in enumerate(names)]
        else:
            rows = np.asarray(rows)
            check_columns(rows, len(names), None, self.role)
            columns = list(rows.reshape(len(rows), -1).T)
        return {put.name: self._array(column, put) for put, column in zip(self.inputs, columns, strict=True)}

    def _array(self, rows: Any, put: Any) -> NDArray[Any]:
        """Rows as the array that the input `put` takes."""
        kind, shape = TYPES[put.type], list(put.shape)
        wanted = [size for size in shape[1:] if isinstance(size, int)]
        if hasattr(rows, "columns"):
            if len(shape) == 2 and wanted:
                check_columns(rows, wanted[0], None, self.role)
            rows = rows.to_numpy(dtype=object if kind is np.object_ else None)
        values = np.asarray(rows, dtype=object) if kind is np.object_ else np.asarray(rows)
        if kind is np.object_:
            texts = values.reshape(-1)
            bad = next((value for value in texts if not isinstance(value, str)), None)
            if bad is not None or any(value is None for value in texts):
                raise InvalidInput(f"{self.role} wants text in the input {put.name!r}, got {type(bad).__name__}")
        elif values.dtype.kind not in "biuf" and not _numbers(values):
            raise InvalidInput(f"{self.role} wants numbers in the input {put.name!r}, got {_first_text(values)!r}")
        elif np.dtype(kind).kind in "iu" and not np.isfinite(values.astype(np.float64)).all():
            raise InvalidInput(f"{self.role} wants whole numbers in the input {put.name!r}, got NaN or infinity")
        values = values.astype(kind, copy=False)
        if len(wanted) == len(shape) - 1 and values[:1].size == int(np.prod(wanted)):
            return np.ascontiguousarray(values.reshape(-1, *wanted))
        if len(shape) == 2 and values.ndim == 1:
            values = values.reshape(-1, 1)
        if values.ndim == 2 and len(shape) == 2 and wanted:
            check_columns(values, wanted[0], None, self.role)
        if values.ndim != len(shape) or (len(wanted) == len(shape) - 1 and list(values.shape[1:]) != wanted):
            sizes = ", ".join(str(size) if isinstance(size, int) else "any" for size in shape[1:])
            raise InvalidInput(f"{self.role} wants inputs (q, {sizes}), got {tuple(values.shape)}")
        return np.ascontiguousarray(values)


class OnnxRows:
    """An ONNX model that answers with labels.

    Args:
        model: The model.
        labels: The name of the output with labels.
        classes: The classes, as the labels name them.
    """

    def __init__(self, model: OnnxModel, *, labels: str, classes: NDArray[Any]) -> None:
        self.model, self.labels, self.classes_ = model, labels, classes
        if len(model.inputs) > 1:
            self.feature_names_in_ = np.array([put.name for put in model.inputs], dtype=object)
            self.n_features_in_ = len(model.inputs)

    def predict(self, rows: Any) -> NDArray[Any]:
        """Labels (q,) of rows, an array, a data frame or a list of str."""
        (labels,) = self.model.run(rows, [self.labels])
        labels = np.asarray(labels)
        if labels.ndim > 1 and labels.shape != (len(labels), 1):
            raise not_classifier(self.model.role, f"labels of shape {labels.shape}", "audit one model for each label")
        return labels.reshape(-1)


class OnnxScoredRows(OnnxRows):
    """The same with probabilities.

    Args:
        model, labels, classes: See `OnnxRows`.
        scores: The name of the output with probabilities, or with one number for each class.
    """

    def __init__(self, model: OnnxModel, *, labels: str, classes: NDArray[Any], scores: str) -> None:
        super().__init__(model, labels=labels, classes=classes)
        self.scores = scores

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probabilities (q, classes), in the order of `classes_`."""
        (answers,) = self.model.run(rows, [self.scores])
        if isinstance(answers, list):  # One mapping for each row.
            answers = np.array([[row[label] for label in self.classes_.tolist()] for row in answers])
        return _probabilities(np.asarray(answers))


class OnnxNetwork(nn.Module):
    """An ONNX model that answers with logits or probabilities only, as a torch module.

    A hash of the model is its only tensor, so that it can be told from others.

    Args:
        model: The model.
        scores: The name of its output.
        sigmoid: Whether the output is the probability of class 1.
    """

    def __init__(self, model: OnnxModel, *, scores: str, sigmoid: bool = False) -> None:
        super().__init__()
        self.model, self.scores, self.sigmoid = model, scores, sigmoid
        digest = np.frombuffer(hashlib.sha256(model.content).digest(), dtype=np.uint8)
        self.register_buffer("digest", torch.from_numpy(digest.copy()))

    def forward(self, inputs: Tensor) -> Tensor:
        answers = self._answers(inputs.detach().cpu().numpy())
        return torch.from_numpy(answers).to(inputs.device)

    @property
    def classes_(self) -> NDArray[np.int64]:
        """The numbers of the classes."""
        shape = next(put.shape for put in self.model.outputs if put.name == self.scores)
        if self.sigmoid:
            return np.arange(2)
        if len(shape) < 2 or not isinstance(shape[-1], int):
            raise AttributeError("the model does not say how many classes it has")
        return np.arange(max(2, shape[-1]))

    def predict(self, rows: Any) -> NDArray[np.int64]:
        """Classes (q,) of rows, an array, a data frame or a list of str."""
        return np.asarray(self.predict_proba(rows).argmax(1))

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """Probabilities (q, classes)."""
        return _probabilities(self._answers(rows))

    def _answers(self, rows: Any) -> NDArray[Any]:
        (answers,) = self.model.run(rows, [self.scores])
        answers = np.array(answers)
        return two_columns(answers.reshape(-1)).astype(answers.dtype) if self.sigmoid else answers


def is_onnx(model: object) -> bool:
    """Whether this is a session of onnxruntime, a model of onnx, or a path to an .onnx file."""
    if isinstance(model, str | Path):
        return str(model).lower().endswith(".onnx")
    named = {kind.__name__ for kind in type(model).__mro__}
    return comes_from(model, "onnxruntime", "onnx") and bool(named & {"InferenceSession", "ModelProto"})


def plain_onnx(model: Any, role: str) -> object:
    """The ONNX model as an object with `predict` and `classes_`, or as a torch module.

    Rows (q, columns) become labels (q,); inputs (q, *shape) of a network become logits or probabilities (q, classes).

    Raises:
        InvalidInput: It cannot be read, or does not answer with classes.

    Example:
        >>> import skl2onnx, torch
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> from hardlabel.targets.frameworks.onnx import plain_onnx
        >>> rows = torch.tensor([[0.0], [1.0]]).numpy()
        >>> tree = DecisionTreeClassifier().fit(rows, ["no", "yes"])
        >>> model = plain_onnx(skl2onnx.to_onnx(tree, rows), "target")
        >>> model.predict(rows).tolist()
        ['no', 'yes']
    """
    content = _content(model, role)
    return of_bytes(content, role=role)


def of_bytes(content: bytes, *, role: str = "target") -> object:
    """The same for the bytes of a model, weights included.

    Raises:
        InvalidInput: See `plain_onnx`.
    """
    onnx = package("onnx", "onnx", role)
    try:
        graph = onnx.load_model_from_string(content).graph
    except Exception as error:  # Of protobuf, of several kinds.
        raise InvalidInput(f"{role} cannot be read as ONNX: {reason(error)}") from error
    model = OnnxModel(content, role=role)
    labels = [put for put in model.outputs if put.type in LABELS and len(put.shape or [0]) <= 2]
    scores = [put for put in model.outputs if put.type.startswith("seq(map(") or _is_scores(put)]
    if len(labels) > 1 or len(scores) > 1 or (not labels and not scores):
        named = listed(put.name for put in model.outputs)
        raise not_classifier(
            role, f"an ONNX model with the outputs {named}", f"choose in a function of your own, {OWN_CODE}"
        )
    nodes = {name: node for node in graph.node for name in node.output}
    if not labels:
        return _network(model, scores[0], nodes, graph)
    shape = list(labels[0].shape or [])
    if len(shape) == 2 and isinstance(shape[1], int) and shape[1] > 1:
        raise not_classifier(role, f"an ONNX model with {shape[1]} labels for each row", "audit one for each label")
    classes = _classes([put.name for put in (*labels, *scores)], nodes, graph)
    if classes is None and labels[0].type != "tensor(string)" and scores and isinstance(scores[0].shape[-1:][0], int):
        classes = np.arange(max(2, scores[0].shape[-1]))
    if classes is None:
        raise InvalidInput(
            f"{role} does not say which classes it knows: convert it with the names of its classes, or give a function "
            f"of your own, {OWN_CODE}"
        )
    if not scores:
        return OnnxRows(model, labels=labels[0].name, classes=classes)
    return OnnxScoredRows(model, labels=labels[0].name, classes=classes, scores=scores[0].name)


def _network(model: OnnxModel, put: Any, nodes: dict[str, Any], graph: Any) -> OnnxNetwork:
    if put.type.startswith("seq("):
        raise not_classifier(model.role, "an ONNX model with mappings and no labels", "convert it with zipmap=False")
    last = _upwards(put.name, nodes, through=("Identity", "Reshape", "Squeeze", "Flatten", "Cast"))
    width = put.shape[-1] if len(put.shape) > 1 else 1
    if last in REGRESSORS or (put.name == "variable" and width == 1):
        raise not_classifier(model.role, "an ONNX model of a regressor")
    sigmoid = last == "Sigmoid"
    if sigmoid and isinstance(width, int) and width > 1:
        raise not_classifier(
            model.role, f"an ONNX model with {width} sigmoid outputs", "audit one model for each label"
        )
    if len(put.shape) > 2:
        raise not_classifier(model.role, f"an ONNX model with outputs {put.shape}")
    return OnnxNetwork(model, scores=put.name, sigmoid=sigmoid)


def _upwards(name: str, nodes: dict[str, Any], *, through: tuple[str, ...]) -> str | None:
    """The operation that an output comes from, past those that change its form only."""
    for _ in range(MOST_STEPS):
        node = nodes.get(name)
        if node is None:
            return None
        if node.op_type not in through:
            return str(node.op_type)
        name = node.input[0]
    return None


def _classes(outputs: Sequence[str], nodes: dict[str, Any], graph: Any) -> NDArray[Any] | None:
    """The classes that the nodes before the outputs name, the nearest first; None if none does."""
    from onnx import numpy_helper

    constants = {value.name: value for value in graph.initializer}
    for node in _before(outputs, nodes):
        for attribute in node.attribute:
            if attribute.name in ("classlabels_strings", "classlabels_int64s", "classlabels_ints"):
                if attribute.strings:
                    return np.array([text.decode() for text in attribute.strings], dtype=object)
                if attribute.ints:
                    return np.array(attribute.ints, dtype=np.int64)
        if node.op_type in ("ArrayFeatureExtractor", "Gather") and node.input[0] in constants:
            values = numpy_helper.to_array(constants[node.input[0]]).reshape(-1)
            texts = [text.decode() if isinstance(text, bytes) else text for text in values.tolist()]
            if len(set(texts)) == len(texts) > 1:
                return np.array(texts, dtype=object if isinstance(texts[0], str) else np.int64)
    return None


def _before(outputs: Sequence[str], nodes: dict[str, Any]) -> Iterator[Any]:
    """The nodes that outputs come from, the nearest first."""
    waiting, seen = list(outputs), set()
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        name = waiting.pop(0)
        node = nodes.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        yield node
        waiting += list(node.input)


def _content(model: Any, role: str) -> bytes:
    """The bytes of a model, its weights included."""
    onnx = package("onnx", "onnx", role)
    path = model if isinstance(model, str | Path) else getattr(model, "_model_path", None)
    try:
        if path:
            model = onnx.load(path)  # With weights that lie in other files beside it.
        elif not hasattr(model, "SerializeToString"):
            return bytes(model._model_bytes)
        content: bytes = model.SerializeToString()
        return content
    except FileNotFoundError as error:
        raise InvalidInput(f"{role} cannot be read: there is no file {error.filename}") from error
    except Exception as error:  # Of protobuf and onnx, of several kinds.
        raise InvalidInput(f"{role} cannot be read as ONNX: {reason(error)}") from error


def _is_scores(put: Any) -> bool:
    return put.type in ("tensor(float)", "tensor(double)", "tensor(float16)")


def _filled(values: NDArray[Any], rows: int) -> NDArray[Any]:
    return np.concatenate([values, np.repeat(values[-1:], rows - len(values), axis=0)])


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [row for batch in parts for row in batch]
    return np.concatenate([np.asarray(batch) for batch in parts])


def _numbers(values: NDArray[Any]) -> bool:
    """Whether objects are numbers, as in a data frame of columns of several types."""
    try:
        values.astype(np.float64)
    except (TypeError, ValueError):
        return False
    return not any(isinstance(value, str) for value in values.reshape(-1))


def _first_text(values: NDArray[Any]) -> Any:
    flat = values.reshape(-1).tolist()
    return next((value for value in flat if isinstance(value, str)), flat[0])


def _probabilities(answers: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities (q, classes) of answers: probabilities, logits, or the logit of class 1."""
    answers = answers.astype(np.float64)
    if answers.ndim == 1 or answers.shape[1] == 1:
        logit = answers.reshape(-1)
        return softmax(np.stack([np.zeros(len(logit)), logit], 1))
    answers = answers.reshape(len(answers), -1)
    summing = bool((answers >= 0).all()) and bool((abs(answers.sum(1) - 1) < SUM_SLACK).all())
    return answers if summing else softmax(answers)

"""The frameworks whose models can be audited, and `plain`, which turns a model of any of them into a plain kind."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from hardlabel.checks import InvalidInput, shown
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.targets.frameworks import boosters, estimators, huggingface, keras, onnx, programs
from hardlabel.targets.frameworks.base import OWN_CODE, Framework

CHECKPOINT = ("state_dict", "model_state_dict", "optimizer", "optimizer_state_dict", "epoch", "model")
BUILD = f"build the network and load its weights in a function, {OWN_CODE}"


def plain(model: object, *, role: str = "target") -> object:
    """A model of any framework as one of three plain kinds, which can be pickled if the model can.

    - A torch module: maps tensors (q, *shape) to logits, or to probabilities.
    - An object with `predict(rows)` -> labels (q,), perhaps `predict_proba(rows)` -> (q, classes), and `classes_`, the
      labels as the model names them. Rows are arrays, data frames or lists of str, as the model takes them.
    - An oracle with `ask(inputs, ids)` or `ask_scores(inputs, ids)`.

    What is plain already comes back as it is. No framework is imported to tell what a model is.

    Args:
        model: A model of one of FRAMEWORKS, or a path to an .onnx file.
        role: What errors call the model, now and when it is asked.

    Raises:
        InvalidInput: It is of no framework, or does not answer each row with one class; the message says what to do.

    Example:
        >>> from sklearn.dummy import DummyClassifier
        >>> from hardlabel.targets.frameworks.table import plain
        >>> model = DummyClassifier().fit([[0.0], [1.0]], ["no", "no"])
        >>> plain(model) is model
        True
        >>> plain({"weight": 3})
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: target must be a model, got a dict: ...
    """
    if isinstance(model, Mapping):
        raise _refused_mapping(model, role)
    for framework in FRAMEWORKS:
        if framework.accepts(model):
            return framework.plain(model, role)
    known = ", ".join(framework.name for framework in FRAMEWORKS)
    raise InvalidInput(f"{role} must be a model, got {shown(model)}: known are {known}")


def _refused_mapping(model: Mapping[Any, Any], role: str) -> InvalidInput:
    if model and all(isinstance(value, Tensor) for value in model.values()):
        return InvalidInput(f"{role} is a state_dict, which holds weights without a network: {BUILD}")
    if any(name in model for name in CHECKPOINT):
        return InvalidInput(f"{role} is a checkpoint of a training, which holds weights without a network: {BUILD}")
    return InvalidInput(f"{role} must be a model, got a {type(model).__name__}: {BUILD}")


def _unchanged(model: Any, role: str) -> object:
    """An oracle or a torch module as it is: inputs (q, *shape) become labels (q,) or logits (q, classes).

    Example:
        >>> import torch
        >>> from hardlabel.targets.frameworks.table import plain
        >>> network = torch.nn.Linear(4, 2)
        >>> plain(network) is network
        True
    """
    del role
    return model


def _is_oracle(model: object) -> bool:
    return not isinstance(model, type) and isinstance(model, LabelOracle | ScoreOracle)


# Tried in this order: a model of transformers, or of Keras on torch, is a torch module too.
FRAMEWORKS = (
    Framework(name="an oracle with ask(inputs, ids)", accepts=_is_oracle, plain=_unchanged),
    Framework(name="ONNX", accepts=onnx.is_onnx, plain=onnx.plain_onnx),
    Framework(name="torch.export", accepts=programs.is_program, plain=programs.plain_program),
    Framework(name="TorchScript", accepts=programs.is_script, plain=programs.plain_script),
    Framework(
        name="Hugging Face transformers", accepts=huggingface.is_transformer, plain=huggingface.plain_transformer
    ),
    Framework(
        name="a text pipeline of transformers", accepts=huggingface.is_pipeline, plain=huggingface.plain_pipeline
    ),
    Framework(name="Keras", accepts=keras.is_keras, plain=keras.plain_keras),
    Framework(name="PyTorch", accepts=lambda model: isinstance(model, nn.Module), plain=_unchanged),
    Framework(name="boosters of XGBoost and LightGBM", accepts=boosters.is_booster, plain=boosters.plain_booster),
    Framework(
        name="scikit-learn and others with predict", accepts=estimators.is_predictor, plain=estimators.plain_predictor
    ),
)

"""Keras 3 models on the torch backend as torch modules."""

from typing import Any

import torch
from torch import Tensor, nn

from hardlabel.checks import InvalidInput
from hardlabel.targets.frameworks.base import OWN_CODE, comes_from, forwarding, logits_of, not_classifier, package

REGRESSION = {  # Names of losses, without underscores.
    *("mse", "meansquarederror", "mae", "meanabsoluteerror", "mape", "meanabsolutepercentageerror"),
    *("msle", "meansquaredlogarithmicerror", "huber", "logcosh", "poisson"),
}


class KerasNetwork(nn.Module):
    """A Keras model that is called with `training=False`, on the device of its inputs.

    Probabilities of class 1 (q, 1) become two columns.

    Args:
        model: Maps one tensor (q, *shape) to logits or probabilities (q, classes).
        sigmoid: Whether the output is the probability of class 1.
        role: What errors call it.
    """

    def __init__(self, model: Any, *, sigmoid: bool, role: str = "target") -> None:
        super().__init__()
        self.model, self.sigmoid, self.role = model, sigmoid, role

    def forward(self, inputs: Tensor) -> Tensor:
        keras = package("keras", "keras", self.role)
        device = inputs.device
        place = "cpu" if device.type == "cpu" else f"{device.type}:{device.index or 0}"
        with forwarding(inputs, self.role), keras.device(place):
            outputs = logits_of(self.model(inputs, training=False), self.role)
        if not self.sigmoid:
            return outputs
        chances = outputs.reshape(-1)
        return torch.stack([1 - chances, chances], 1)


def is_keras(model: object) -> bool:
    """Whether this is a model of Keras."""
    return comes_from(model, "keras", "tf_keras") and hasattr(model, "layers") and callable(model)


def plain_keras(model: Any, role: str, *, loss: str | None = None) -> nn.Module:
    """The Keras model as a torch module that maps inputs (q, *shape) to logits or probabilities (q, classes).

    Args:
        model: Of Keras 3 on the torch backend.
        role: What errors call it.
        loss: Name of the loss it was trained with, if the model does not know it any more; else None.

    Raises:
        InvalidInput: It does not run on torch, has several inputs or outputs, several labels for each row, or was
            trained as a regressor.

    Example:
        >>> import os
        >>> backend = os.environ.setdefault("KERAS_BACKEND", "torch")  # Before Keras is imported.
        >>> import keras, torch
        >>> from hardlabel.targets.frameworks.keras import plain_keras
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
        >>> plain_keras(model, "target")(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """
    if not isinstance(model, nn.Module):
        keras = package("keras", "keras", role)
        backend = keras.config.backend() if hasattr(keras, "config") else "tensorflow"
        raise InvalidInput(
            f"{role} must be a Keras 3 model on the torch backend, got one on {backend}: set KERAS_BACKEND=torch"
        )
    if not getattr(model, "built", True):
        raise InvalidInput(f"{role} must be built, got a Keras model without weights: call it once on data")
    for kind in ("inputs", "outputs"):
        count = len(getattr(model, kind, None) or [None])
        if count > 1:
            raise InvalidInput(
                f"{role} must have one of its {kind}, got a Keras model with {count}: call it in a function of your "
                f"own, {OWN_CODE}"
            )
    loss = loss or _loss(model)
    if loss.replace("_", "").lower() in REGRESSION:
        raise not_classifier(role, f"a Keras model with the loss {loss}")
    width, activation = _width(model), _activation(model)
    if activation == "sigmoid" and width is not None and width > 1:
        raise not_classifier(role, f"a Keras model with {width} sigmoid outputs", "audit one model for each label")
    return KerasNetwork(model, sigmoid=activation == "sigmoid", role=role)


def _loss(model: Any) -> str:
    """The name of the loss that a model was compiled with; "" without one."""
    loss = getattr(model, "loss", None)
    if loss is None or isinstance(loss, str):
        return loss or ""
    return str(getattr(loss, "__name__", type(loss).__name__))


def _width(model: Any) -> int | None:
    outputs = getattr(model, "outputs", None) or []
    shape = getattr(outputs[0], "shape", ()) if len(outputs) == 1 else ()
    width = shape[-1] if shape else None
    return width if isinstance(width, int) else None


def _activation(model: Any) -> str:
    """The name of the last layer's activation; of a nested model, that of its last layer; "" if there is none."""
    layer = model
    while getattr(layer, "layers", None):
        layer = layer.layers[-1]
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))

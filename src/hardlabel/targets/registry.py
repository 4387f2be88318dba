"""Turns a model of any sort into an `AskableModel`. A table has one row for each sort of model."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.models.model_store import weights_hash
from hardlabel.oracles.base import CopiedInputs, CopiedScoreInputs, LabelOracle, LabelsOfScores, ScoreOracle
from hardlabel.plugins import Registry
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.estimators import EstimatorScores, estimator_hash, is_estimator, of_estimator
from hardlabel.targets.torch import TorchScores


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an adapter needs beside the model.

    Attributes:
        device: Where torch models run.
        role: What errors call the model.
        name: Distinguishes the model from others if its weights cannot be seen.
        classes: Least number of classes of the task, since a classifier may not know the last classes; None if unknown.
    """

    device: torch.device
    role: str = "a model"
    name: str | None = None
    classes: int | None = None


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A sort of model that can be asked.

    Attributes:
        summary: The sort of model, in words that follow "must be".
        accepts: Whether an object is of this sort.
        adapt: Turns the object into an `AskableModel`.

    Example:
        >>> from hardlabel.targets.registry import ADAPTERS
        >>> ADAPTERS["estimator"].summary
        'a fitted scikit-learn classifier'
    """

    summary: str
    accepts: Callable[[object], bool]
    adapt: Callable[[object, Request], AskableModel]


def _module(model: object, request: Request) -> AskableModel:
    assert isinstance(model, nn.Module)
    oracle = TorchScores(model, device=request.device, role=request.role)
    # A module without registered tensors keeps its state where a hash cannot see it.
    weights = weights_hash(model) if model.state_dict() else None
    return AskableModel(
        labels=oracle, scores=oracle, torch_model=oracle, network=model, name=request.name, weights=weights
    )


def _oracle(model: object, request: Request) -> AskableModel:
    """The `fingerprint` of an oracle that answers with labels counts as its weights."""
    scores = model if isinstance(model, ScoreOracle) else None
    if isinstance(model, LabelOracle):
        weights = getattr(model, "fingerprint", None)
        labels = CopiedInputs(model) if scores is None else CopiedScoreInputs(model, scores)
    else:
        assert scores is not None
        weights, labels = None, CopiedScoreInputs(LabelsOfScores(scores), scores)
    shown = labels if isinstance(labels, CopiedScoreInputs) else None
    return AskableModel(labels=labels, scores=shown, name=request.name, weights=weights)


def _estimator(model: object, request: Request) -> AskableModel:
    oracle = of_estimator(model)
    if request.classes is not None and request.classes > oracle.classes:
        oracle = of_estimator(model, classes=request.classes)
    scores = oracle if isinstance(oracle, EstimatorScores) else None
    return AskableModel(labels=oracle, scores=scores, name=request.name, weights=estimator_hash(model))


# Tried in this order; adapters of other packages come last.
ADAPTERS: Registry[Adapter] = Registry(
    "hardlabel.targets",
    {
        "module": Adapter(summary="a torch module", accepts=lambda model: isinstance(model, nn.Module), adapt=_module),
        "oracle": Adapter(
            summary="an oracle with ask(inputs, ids)",
            accepts=lambda model: isinstance(model, LabelOracle | ScoreOracle),
            adapt=_oracle,
        ),
        "estimator": Adapter(summary="a fitted scikit-learn classifier", accepts=is_estimator, adapt=_estimator),
    },
    type=Adapter,
)


def askable(
    model: object, device: torch.device, *, role: str, name: str | None = None, classes: int | None = None
) -> AskableModel:
    """A model in the form that audits ask.

    Args:
        model: An object that one of ADAPTERS accepts.
        device, name, classes: See `Request`.
        role: The name of the model in errors.

    Raises:
        InvalidInput: No adapter accepts it.
    """
    for adapter in ADAPTERS.values():
        if adapter.accepts(model):
            return adapter.adapt(model, Request(device=device, role=role, name=name, classes=classes))
    *first, last = [adapter.summary for adapter in ADAPTERS.values()]
    raise InvalidInput(f"{role} must be {', '.join(first)} or {last}, got {type(model).__name__}")

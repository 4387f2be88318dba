"""Turns a model of any sort into an `AskableModel`. A table has one row for each sort of model."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.models.model_store import weights_hash
from hardlabel.oracles.base import (
    CheckedLabels,
    CheckedScores,
    LabelOracle,
    LabelsOfScores,
    ScoreOracle,
    check_width,
)
from hardlabel.plugins import Registry
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.estimators import Estimator, EstimatorScores, estimator_hash, is_estimator, of_estimator
from hardlabel.targets.frameworks.table import plain
from hardlabel.targets.torch import TorchModel, TorchScores


@dataclass(frozen=True, kw_only=True)
class Request:
    """What an adapter needs beside the model.

    Attributes:
        device: Where torch models run.
        role: What errors call the model.
        name: Distinguishes the model from others if its weights cannot be seen.
        classes: Number of classes of the task, since a classifier may not know the last classes; None if unknown.
        exact: Whether a model that shows more than `classes` is refused.
    """

    device: torch.device
    role: str = "a model"
    name: str | None = None
    classes: int | None = None
    exact: bool = False

    @property
    def most(self) -> int | None:
        """The most classes that the model may show; None for any number."""
        return self.classes if self.exact else None


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
    """The network in evaluation mode, asked with inputs (q, *shape).

    It shows labels (q,) and log confidences (q, classes).

    Example:
        >>> import torch
        >>> from hardlabel.targets.registry import ADAPTERS, Request
        >>> request = Request(device=torch.device("cpu"))
        >>> model = ADAPTERS["module"].adapt(torch.nn.Linear(4, 2), request)
        >>> model.labels.ask(torch.zeros(3, 4), torch.arange(3)).shape
        torch.Size([3])
    """
    assert isinstance(model, nn.Module)
    oracle = TorchScores(model, device=request.device, role=request.role)
    # A module without registered tensors keeps its state where a hash cannot see it.
    weights = weights_hash(model) if model.state_dict() else None
    return AskableModel(
        labels=oracle, scores=oracle, torch_model=oracle, network=model, name=request.name, weights=weights
    )


def _oracle(model: object, request: Request) -> AskableModel:
    """The oracle as it is: labels (q,), and log confidences (q, classes) where it shows them.

    The `fingerprint` of an oracle that answers with labels counts as its weights.

    Example:
        >>> import torch
        >>> from hardlabel.targets.registry import ADAPTERS, Request
        >>> class Server:
        ...     def ask(self, inputs, ids):
        ...         return torch.ones(len(inputs), dtype=torch.int64)
        >>> model = ADAPTERS["oracle"].adapt(Server(), Request(device=torch.device("cpu")))
        >>> model.labels.ask(torch.zeros(3, 4), torch.arange(3)), model.scores is None
        (tensor([1, 1, 1]), True)
    """
    scores = model if isinstance(model, ScoreOracle) else None
    if isinstance(model, LabelOracle):
        weights = getattr(model, "fingerprint", None)
        return AskableModel(labels=model, scores=scores, name=request.name, weights=weights)
    assert scores is not None
    return AskableModel(labels=LabelsOfScores(scores), scores=scores, name=request.name)


def _estimator(model: object, request: Request) -> AskableModel:
    """The classifier, asked with inputs (q, columns): labels (q,), and log confidences where it has `predict_proba`.

    Raises:
        InvalidInput: It is not fitted, knows classes other than whole numbers from 0 on, or more than `request` allows.

    Example:
        >>> import torch
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> from hardlabel.targets.registry import ADAPTERS, Request
        >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
        >>> model = ADAPTERS["estimator"].adapt(tree, Request(device=torch.device("cpu")))
        >>> model.labels.ask(torch.tensor([[0.2], [0.9]]), torch.arange(2))
        tensor([0, 1])
    """
    oracle = of_estimator(model, role=request.role)
    check_width(oracle.classes, request.most, role=request.role)
    if request.classes is not None:
        oracle = oracle.padded(request.classes)
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


OWN = frozenset({"module", "oracle", "estimator"})


def bare(model: object, *, role: str) -> object:
    """The model as a torch module, a classifier or an oracle; as it is, if an adapter of another package accepts it.

    Raises:
        InvalidInput: See `plain`.
    """
    others = [adapter for name, adapter in ADAPTERS.items() if name not in OWN]
    if any(adapter.accepts(model) for adapter in others):
        return model
    try:
        return plain(model, role=role)
    except InvalidInput as error:
        if not others:
            raise
        raise InvalidInput(f"{error}; or {', '.join(adapter.summary for adapter in others)}") from error


def askable(
    model: object,
    device: torch.device,
    *,
    role: str,
    name: str | None = None,
    classes: int | None = None,
    exact: bool = False,
) -> AskableModel:
    """A model in the form that audits ask. Its answers are always checked: `InvalidInput` names its role.

    Args:
        model: An object that one of ADAPTERS accepts, or a model of one of the frameworks that `plain` knows.
        device, name, classes, exact: See `Request`. A network is fitted to `classes` before, by `padded`.
        role: The name of the model in errors.

    Raises:
        InvalidInput: No adapter accepts it.
    """
    model = bare(model, role=role)
    request = Request(device=device, role=role, name=name, classes=classes, exact=exact)
    for adapter in ADAPTERS.values():
        if adapter.accepts(model):
            return _checked(adapter.adapt(model, request), request)
    *first, last = [adapter.summary for adapter in ADAPTERS.values()]
    raise InvalidInput(f"{role} must be {', '.join(first)} or {last}, got {type(model).__name__}")


def _checked(model: AskableModel, request: Request) -> AskableModel:
    """The same model with its answers checked. Networks and classifiers check their own, where they are read."""
    own = (TorchModel, Estimator)
    labels, scores = model.labels, model.scores
    checked = None
    if scores is not None and not isinstance(scores, own):
        checked = CheckedScores(scores, role=request.role, classes=request.classes, exact=request.exact)
    if isinstance(labels, LabelsOfScores) and checked is not None:
        labels = LabelsOfScores(checked)
    elif not isinstance(labels, own):
        labels = CheckedLabels(labels, role=request.role, scores=checked)
    return replace(model, labels=labels, scores=checked or scores)

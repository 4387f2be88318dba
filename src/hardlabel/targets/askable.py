"""The form in which audits ask every model."""

from dataclasses import dataclass, replace

from torch import Tensor, nn

from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.store import JSON
from hardlabel.targets.estimators import Estimator, EstimatorScores
from hardlabel.targets.padded import width
from hardlabel.targets.torch import TorchModel, TorchScores


@dataclass(frozen=True, kw_only=True, eq=False)
class AskableModel:
    """A model as audits ask it.

    Attributes:
        labels: The oracle that answers with labels.
        scores: The oracle that answers with confidence vectors; None if the model does not show them.
        torch_model: The PyTorch adapter; None if the model is not a torch module.
        network: The torch module, which is sent to other processes; None if the model is not a torch module.
        name: Distinguishes the model from others if its weights cannot be seen; None without a name.
        weights: A hash of structure and weights, or of a scikit-learn classifier's state; None if they cannot be seen.
        probed: Rows that the probe for the best batch size sent.
        mixed: Whether labels are computed in mixed precision; see `rough`.
        fixed: Whether an audit that goes on refuses a model that has changed since.
    """

    labels: LabelOracle
    scores: ScoreOracle | None
    torch_model: TorchScores | None = None
    network: nn.Module | None = None
    name: str | None = None
    weights: str | None = None
    probed: int = 0
    mixed: bool = False
    fixed: bool = False

    def rough(self) -> "AskableModel":
        """The same network with labels in mixed precision, for own networks trained in it. Scores stay float32."""
        network, adapter = self.network, self.torch_model
        assert network is not None, "only networks have a precision"
        assert adapter is not None, "and are asked as such"
        labels = TorchModel(
            network,
            device=adapter.device,
            batch_size=adapter.batch_size,
            threads=adapter.threads,
            role=adapter.role,
            mixed=True,
        )
        return replace(self, labels=labels, mixed=True)

    def shown(self, inputs: Tensor, ids: Tensor) -> int | None:
        """Number of classes that the model shows; None if it answers with labels only.

        A classifier says it. A network and another oracle with scores are asked about `inputs` (1, *shape) once.
        """
        if isinstance(self.labels, Estimator):
            return self.labels.classes
        if self.network is not None and self.torch_model is not None:
            return width(self.network, inputs, device=self.torch_model.device, role=self.torch_model.role)
        return None if self.scores is None else self.scores.ask_scores(inputs, ids).shape[1]

    def try_scores(self, *groups: Samples) -> None:
        """Asks a classifier for the scores of all samples, which costs nobody anything, to see wrong answers early.

        A network's labels show its wrong answers, and other oracles may bill each question: they are not asked.

        Raises:
            InvalidInput: Some answers are wrong.
        """
        if isinstance(self.scores, EstimatorScores):
            for group in groups:
                self.scores.ask_scores(group.inputs, group.ids)

    def padded(self, classes: int) -> "AskableModel":
        """The same model for a task of `classes` classes, if it is a classifier that may not know the last of them.

        Other models are as they were: where they show fewer classes than the labels need, the labels are wrong.
        """
        if not isinstance(self.labels, Estimator):
            return self
        labels = self.labels.padded(classes)
        return replace(self, labels=labels, scores=labels if isinstance(labels, EstimatorScores) else None)

    @property
    def identity(self) -> dict[str, JSON] | None:
        """The key under which answers are kept: the weights if they can be seen, else the name, else None."""
        if self.weights is not None:
            device = None if self.torch_model is None else str(self.torch_model.device)
            rough: dict[str, JSON] = {"labels": "bfloat16"} if self.mixed else {}
            return {"weights": self.weights, "device": device, **rough}
        return None if self.name is None else {"name": self.name}

"""What a calibration is: fitted on reference values whose membership the attacker knows, it scores new ones."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """A signal measured on models the attacker trained, so that it knows who was inside.

    Attributes:
        values: (K, n, d) float32, from K reference models on n samples.
        inside: (K, n) bool, whether model k was trained on sample i.
        labels: (n,) int64, the samples' true classes.

    Raises:
        InvalidInput: Shapes disagree, or nobody is inside, or nobody outside.
    """

    values: Tensor
    inside: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[:2] != self.inside.shape:
            raise InvalidInput(
                f"values must be (K, n, d) and inside (K, n), got {tuple(self.values.shape)} "
                f"and {tuple(self.inside.shape)}"
            )
        if len(self.labels) != self.inside.shape[1]:
            raise InvalidInput(f"labels must be (n,) = ({self.inside.shape[1]},), got ({len(self.labels)},)")
        if bool(self.inside.all()) or not bool(self.inside.any()):
            raise InvalidInput("inside must hold both members and non-members, got one kind only")


class Fitted(Protocol):
    """A calibration that knows its references."""

    @property
    def threshold(self) -> float | None:
        """The score from which on the attacker says "member", where the calibration fixes it in advance."""
        ...

    @property
    def reference_scores(self) -> Tensor | None:
        """The references' own scores (K, n), float64, each as if it were new; None without references.

        Thresholds and settings are chosen on these: what a calibration learned from a reference must not
        flatter that reference's score.
        """
        ...

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        """Membership scores (n,), float64, of values (n, d); higher means likelier a member."""
        ...


class Calibration(Protocol):
    """Settings of a calibration.

    A pooled calibration treats every reference value alike, so that its references may be other samples than
    those it scores. One per sample needs values of the very samples it will score, in the same order.
    """

    @property
    def per_sample(self) -> bool:
        """Whether references must be the samples that will be scored."""
        ...

    @property
    def requires_references(self) -> bool:
        """Whether there is no score without references (a threshold can do without, a network cannot)."""
        ...

    def fit(self, references: References | None, *, seed: int) -> Fitted:
        """Learns from references; the same references and seed give the same scores.

        Raises:
            InvalidInput: References are required and missing.
        """
        ...

"""What a calibration is: fitted on reference values whose membership the attacker knows, it scores new ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True, eq=False)
class References:
    """A signal measured on models the attacker trained, so that it knows who was inside.

    Attributes:
        values: (K, n, d) float32, from K reference models on n samples.
        inside: (K, n) bool, whether model k was trained on sample i.
        labels: (n,) int64, the samples' true classes.
        partner: (K,) int64, the reference trained on the rest of the pool, -1 where there is none; None where no
            reference has one. Who plays target takes its partner out of the game (`without`).
        censored: Whether a value is only known to lie in an interval: columns then come in pairs, lower and upper
            edge, and count as one scalar; see `scalars`.
        logits: (K, n) float32, the references' own logit confidences in the true class, or None. They cost no
            query, the references being the attacker's.
        scored: How many samples, the first ones, will be scored; None for all. The rest is the attacker's own
            pool, from which an offline calibration learns what members look like.

    Raises:
        InvalidInput: Shapes disagree, or nobody is inside, or nobody outside.
    """

    values: Tensor
    inside: Tensor
    labels: Tensor
    partner: Tensor | None = None
    censored: bool = False
    logits: Tensor | None = None
    scored: int | None = None

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
        if self.partner is not None and len(self.partner) != len(self.values):
            raise InvalidInput(f"partner must be (K,) = ({len(self.values)},), got ({len(self.partner)},)")
        if self.censored and self.values.shape[2] % 2:
            raise InvalidInput(f"censored values must have pairs of columns, got {self.values.shape[2]}")
        if self.logits is not None and self.logits.shape != self.inside.shape:
            raise InvalidInput(f"logits must be {tuple(self.inside.shape)}, got {tuple(self.logits.shape)}")

    def without(self, model: int) -> "References | None":
        """The references an attacker keeps when reference `model` plays target: neither it nor its partner.

        With the partner kept, the number of references that were trained on a sample would tell whether the one
        that plays target was. None where nobody is left on either side.
        """
        keep = torch.ones(len(self.values), dtype=torch.bool)
        keep[model] = False
        partner = None
        if self.partner is not None:
            if int(self.partner[model]) >= 0:
                keep[int(self.partner[model])] = False
            places = torch.cumsum(keep, 0) - 1
            partner = self.partner[keep]
            # The place of a partner that went, or was never there, is none.
            partner = torch.where((partner >= 0) & keep[partner], places[partner], -1)
        inside = self.inside[keep]
        if not bool(inside.any()) or bool(inside.all()):
            return None
        return replace(
            self,
            values=self.values[keep],
            inside=inside,
            partner=partner,
            logits=None if self.logits is None else self.logits[keep],
        )


def scalars(values: Tensor, *, censored: bool) -> Tensor:
    """Each column as one number, float64 on the CPU: the middle of an interval where values are censored.

    An interval without end counts as the point 0.5 beyond its one finite edge, one without edges as NaN.
    (..., d) gives (..., d), or (..., d / 2) where censored.
    """
    values = values.double().cpu()
    if not censored:
        return values
    lower, upper = values[..., 0::2], values[..., 1::2]
    return (torch.where(lower.isinf(), upper - 1, lower) + torch.where(upper.isinf(), lower + 1, upper)) / 2


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


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """What fitted calibrations share that fix no threshold and score references by fits without them.

    Attributes:
        held_out: Makes `reference_scores`, when somebody asks for them; see `held_out_scores`.
    """

    held_out: Callable[[], Tensor | None]
    threshold: ClassVar[None] = None

    @cached_property
    def reference_scores(self) -> Tensor | None:
        return self.held_out()


@runtime_checkable
class Teachable(Fitted, Protocol):
    """A fitted calibration that can learn to read what few questions find, not exact values only."""

    def taught(self, asked: Tensor) -> Fitted:
        """The same, learned from `asked` (K, n, d): the references' values had they been asked like the target."""
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


def wants_pool(calibration: Calibration, scored: int) -> bool:
    """Whether references should be asked about samples beyond the `scored` ones, which nobody scores.

    A calibration that cannot do without says so by `wants_pool`; one that learns more from more samples, up to a
    number, by `wants_samples`.
    """
    return bool(getattr(calibration, "wants_pool", False)) or scored < getattr(calibration, "wants_samples", 0)


def held_out_scores(calibration: Calibration, references: References, *, seed: int) -> Tensor | None:
    """The score each reference's values get from a calibration fitted without it and its partner, (K, n) float64.

    None where some reference leaves too few others behind; there is no honest score then.
    """
    scores = []
    for model, values in enumerate(references.values):
        rest = references.without(model)
        if rest is None:
            return None
        scores.append(
            calibration.fit(rest, seed=seed).score(values[: references.scored], references.labels[: references.scored])
        )
    return torch.stack(scores)

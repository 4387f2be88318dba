"""Standardized: brings every model's values to one location and spread before they are calibrated."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel.calibrations.base import Calibration, Fitted, HeldOut, References, held_out_scores, scalars
from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Standardized:
    """Standardises values before another calibration, for references unlike the target (architecture, recipe, size).

    Each model's scalars, the target's included, are moved and stretched: their mean and deviation over the samples
    scored become the average ones of the references. Both edges of an interval go the same way. Mean and deviation, not
    median and absolute deviation: many label signals give more than half of the samples the same value, whose absolute
    deviation is 0.

    A score then depends on the other samples scored: these must be all samples of the references, and the share of
    members among them must be about the same on all models. Beliefs in the target's own units are not known before it
    is asked, so sequential plans ask for exact values.

    Scores (n,) are those of the inner calibration.

    Attributes:
        inner: The calibration.

    References:
        Ours (studies/SURROGATES.md).

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.ratio import LikelihoodRatio
        >>> from hardlabel.calibrations.standardized import Standardized
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])  # Two models, two samples, one number each.
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> references = References(values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64))
        >>> fitted = Standardized(inner=LikelihoodRatio()).fit(references, seed=0)
        >>> narrow = fitted.score(torch.tensor([[0.3], [0.0]]), references.labels)
        >>> torch.allclose(narrow, fitted.score(torch.tensor([[3.0], [0.0]]), references.labels))  # In any units.
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    inner: Calibration

    def __str__(self) -> str:
        return f"values standardized per model, then {self.inner}"

    @property
    def wants_pool(self) -> bool:
        """Whether the inner calibration learns from samples that are not scored."""
        return bool(getattr(self.inner, "wants_pool", False))

    @property
    def wants_logits(self) -> bool:
        """Whether the inner calibration learns from the references' logit confidences, which stay as they are."""
        return bool(getattr(self.inner, "wants_logits", False))

    def fit(self, references: References | None, *, seed: int) -> "FittedStandardized":
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, or the inner calibration refuses them.
        """
        if references is None:
            raise InvalidInput("references must be given to standardize by, got None")
        known = references
        own = [_location(values[: known.scored], censored=known.censored) for values in known.values]
        common = tuple(torch.stack(parts).nanmean(0) for parts in zip(*own, strict=True))
        common = common[0].nan_to_num(0.0), common[1].nan_to_num(1.0)
        values = torch.stack(
            [_moved(one, place, common, censored=known.censored) for one, place in zip(known.values, own, strict=True)]
        )
        inner = self.inner.fit(replace(known, values=values.float()), seed=seed)
        settled = Standardized(inner=getattr(inner, "settled", self.inner))
        return FittedStandardized(
            inner=inner,
            common=common,
            samples=known.inside[:, : known.scored].shape[1],
            censored=known.censored,
            settled=settled,
            held_out=lambda: held_out_scores(settled, known, seed=seed),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedStandardized(HeldOut):
    """See `Fitted`.

    Attributes:
        inner: The inner calibration, fitted to standardized values.
        common: Mean and deviation that every model's scalars are brought to, each (c,).
        samples: How many are scored.
        censored: Whether values come in pairs of edges.
        settled: The calibration with the inner one's choices made, for fits on fewer references.
    """

    inner: Fitted
    common: tuple[Tensor, Tensor]
    samples: int
    censored: bool
    settled: Calibration

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        if len(values) != self.samples:
            raise InvalidInput(f"values must be of all {self.samples} samples scored, got {len(values)}")
        place = _location(values, censored=self.censored)
        return self.inner.score(_moved(values, place, self.common, censored=self.censored), labels)


def _location(values: Tensor, *, censored: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each scalar of values (n, d), each (c,); NaN where nothing is known of it."""
    found = scalars(values, censored=censored)
    mean = found.nanmean(0)
    return mean, (found - mean).square().nanmean(0).sqrt()


def _moved(values: Tensor, own: tuple[Tensor, Tensor], common: tuple[Tensor, Tensor], *, censored: bool) -> Tensor:
    # A model that gives all samples the same value tells nothing by it: it is moved, not stretched.
    stretch = torch.where((own[1] > 0) & (common[1] > 0), common[1] / own[1], 1.0)
    if censored:
        own, common, stretch = tuple(map(_twice, own)), tuple(map(_twice, common)), _twice(stretch)  # type: ignore[assignment]
    return (values.double().cpu() - own[0]) * stretch + common[0]


def _twice(of: Tensor) -> Tensor:
    return of.repeat_interleave(2)

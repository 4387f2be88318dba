"""Scaled: the scale on which confidences are compared, chosen on the references."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.calibrations.base import Calibration, Fitted, HeldOut, References, held_out_scores
from hardlabel.calibrations.best import strength
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.standardized import Standardized
from hardlabel.checks import InvalidInput
from hardlabel.oracles.base import LOWEST

Scale = Literal["logit", "smoothed", "probability", "rank"]
SCALES: tuple[Scale, ...] = get_args(Scale)
MARGIN = 0.001  # By so much AUC must another scale be better: results that differ by less stay what they were.
CERTAIN = 0.01  # From this share of answers of exactly 0 or 1 on, the logit is no default.
DIGITS = 7  # Decimals by which two probabilities are told apart; classifiers that compute in float32 show no more.


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """Brings logit confidences to another scale before another calibration compares them.

    The logit of a network's confidence is close to normal over models. The confidence of a forest is not: one tree in
    60 is the difference between .98 and 1, whose logits lie 46 apart. Scales, for a logit confidence f and p = 1 / (1 +
    exp(-f)):

    - "logit": f itself. The inner calibration gets the references as they are, and its scores stay the same to the
      last bit.
    - "smoothed": the logit of (p + g/2) / (1 + g). g is the step between two answers that the references can give: 1
      over the number of their different probabilities less one. For a forest of T trees that is the logit of
      (votes + 1/2) / (T + 1).
    - "probability": p.
    - "rank": the share of all references' answers below p; equal answers count one half.

    None chooses the scale with the highest mean AUC over references that play target, but keeps "logit" unless another
    scale is better by more than .001. Each reference is scored by a calibration that was fitted without it and its
    partner, step and ranks included. Trees of `LearnedRatio` leave out whole folds of pairs; there step and ranks come
    from all references. The target does not influence the choice. Where no reference can play target (a single pair),
    "logit" is taken, or "smoothed" if more than 1 % of the references' answers are exactly 0 or 1.

    Scores (n,) are those of the inner calibration. RMIA compares probabilities. It reads "logit" and "smoothed" as
    logits, the others by their place among all values.

    Attributes:
        inner: The calibration, per sample.
        by: "logit", "smoothed", "probability" or "rank"; None chooses.

    References:
        Carlini et al. (2022), section IV-B, for the logit. The choice is ours (studies/CONFIDENCES.md).

    Raises:
        InvalidInput: `by` is none of the scales, or `inner` is not per sample.

    Example:
        >>> from hardlabel.calibrations.ratio import LikelihoodRatio
        >>> from hardlabel.calibrations.scaled import Scaled
        >>> str(Scaled(inner=LikelihoodRatio(), by="probability"))
        'likelihood ratio per sample, one variance per side, of the probability'
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    inner: Calibration
    by: Scale | None = None

    def __post_init__(self) -> None:
        if self.by is not None:
            checks.one_of(SCALES, by=self.by)
        if not self.inner.per_sample:
            raise InvalidInput(f"inner must be a calibration per sample, got {self.inner}")

    def __str__(self) -> str:
        words = {
            None: ", on the scale that the references choose",
            "logit": "",
            "smoothed": ", of the smoothed logit",
            "probability": ", of the probability",
            "rank": ", of the confidence's rank",
        }[self.by]
        return f"{self.inner}{words}"

    @property
    def wants_pool(self) -> bool:
        """Whether the inner calibration learns from samples that are not scored."""
        return bool(getattr(self.inner, "wants_pool", False))

    @property
    def wants_samples(self) -> int:
        """From how many samples the inner calibration would learn."""
        return int(getattr(self.inner, "wants_samples", 0))

    @property
    def wants_logits(self) -> bool:
        """Whether the inner calibration learns from the references' logit confidences; they are scaled as well."""
        return bool(getattr(self.inner, "wants_logits", False))

    def fit(self, references: References | None, *, seed: int) -> "FittedScaled":
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, their values are intervals, or the inner calibration refuses them.
        """
        if references is None:
            raise InvalidInput("references must be given to choose a scale by, got None")
        if references.censored:
            raise InvalidInput("references must show logit confidences to scale, got intervals")
        if self.by is not None:
            return _on(self.by, self.inner, references, seed=seed)
        inside = references.inside[:, : references.scored]
        best = _on("logit", self.inner, references, seed=seed)
        if best.reference_scores is None:
            certain = (references.values.abs() >= -LOWEST).double().mean() > CERTAIN
            return _on("smoothed", self.inner, references, seed=seed) if bool(certain) else best
        highest = strength(best.reference_scores, inside) + MARGIN
        for scale in SCALES[1:]:
            rival = _on(scale, self.inner, references, seed=seed)
            if (found := strength(rival.reference_scores, inside)) > highest:
                best, highest = rival, found
        return best


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedScaled(HeldOut):
    """See `Fitted`.

    Attributes:
        inner: The inner calibration, fitted to scaled values.
        scaling: Brings logit confidences (n, d) to the scale.
        chosen: The calibration in words: its scale is settled.
        settled: The same with the inner one's choices made, for fits on fewer references.
    """

    inner: Fitted
    scaling: Callable[[Tensor], Tensor]
    chosen: Scaled
    settled: Scaled

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        return self.inner.score(self.scaling(values), labels)


def _on(scale: Scale, inner: Calibration, references: References, *, seed: int) -> FittedScaled:
    scaling = _scaling(scale, references.values)
    seen = references
    if scale != "logit":
        logits = None
        if references.logits is not None:
            logits = _scaling(scale, references.logits[..., None])(references.logits[..., None])[..., 0]
        seen = replace(references, values=scaling(references.values), logits=logits)
    reading = _reading(inner, logits=scale in ("logit", "smoothed"))
    fitted = reading.fit(seen, seed=seed)
    settled = Scaled(inner=getattr(fitted, "settled", inner), by=scale)
    # Trees score their references by folds; to grow them anew for each would take many times as long.
    folded = bool(getattr(fitted, "scores_by_folds", False))
    return FittedScaled(
        inner=fitted,
        scaling=scaling,
        chosen=Scaled(inner=inner, by=scale),
        settled=settled,
        held_out=(lambda: fitted.reference_scores)
        if folded or scale == "logit"
        else (lambda: held_out_scores(settled, references, seed=seed)),
    )


def _scaling(scale: Scale, values: Tensor) -> Callable[[Tensor], Tensor]:
    """What brings logit confidences (..., d) to a scale, learned from the references' values (K, n, d)."""
    if scale == "logit":
        return lambda logits: logits
    if scale == "probability":
        return lambda logits: _probability(logits).float()
    columns = [column[~column.isnan()].cpu() for column in values.flatten(0, 1).T]
    if scale == "rank":
        ordered = [column.sort().values for column in columns]
        return lambda logits: _by_column(_rank, logits.cpu(), ordered)
    steps = [_step(column) for column in columns]
    return lambda logits: _by_column(_smoothed, _probability(logits), steps)


def _probability(logits: Tensor) -> Tensor:
    """1 / (1 + exp(-logit)), float64 on the CPU."""
    return logits.double().cpu().sigmoid()


def _by_column(scaling: Callable[[Tensor, Tensor], Tensor], values: Tensor, learned: list[Tensor]) -> Tensor:
    parts = [scaling(values[..., j], each) for j, each in enumerate(learned)]
    return torch.stack(parts, -1).float()


def _step(logits: Tensor) -> Tensor:
    """The step between two probabilities that the references can express, at most 1."""
    different = len(torch.unique(_probability(logits).round(decimals=DIGITS)))
    return torch.tensor(1 / max(1, different - 1), dtype=torch.float64)


def _smoothed(probabilities: Tensor, step: Tensor) -> Tensor:
    return torch.logit((probabilities + step / 2) / (1 + step))


def _rank(logits: Tensor, ordered: Tensor) -> Tensor:
    """The share of `ordered` (m,) below each logit, equal ones by halves; NaN stays."""
    asked = logits.contiguous().to(ordered.dtype)
    both = torch.searchsorted(ordered, asked) + torch.searchsorted(ordered, asked, right=True)
    shares = both.double() / (2 * max(1, len(ordered)))
    return torch.where(asked.isnan(), asked, shares)


def _reading(inner: Calibration, *, logits: bool) -> Calibration:
    """The calibration for values that are logits, or are none."""
    if isinstance(inner, RMIA) and inner.logits and not logits:
        return replace(inner, logits=False)
    if isinstance(inner, Standardized):
        return replace(inner, inner=_reading(inner.inner, logits=logits))
    return inner

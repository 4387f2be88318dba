"""How much a figure changed from one audit to another, with an interval; paired where the samples are the same.

Two audits may share all of their samples, some or none. Samples that both asked about move both figures, and this is
counted: a change on the same samples has a narrower interval than one on other samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import auc_difference
from hardlabel.metrics.rates import CELLS_IN_MEMORY, CONFIDENCE, two_sided
from hardlabel.metrics.roc import Floats, Mask, Scores, roc
from hardlabel.randomness import numpy_generator

Ints = NDArray[np.int64]

DRAWS = 1000  # Of the bootstrap behind a correlation: its error is then at most 0.03.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """What an attack found in one of two audits.

    Attributes:
        scores: Membership scores (n,).
        member: Whether each sample is a member, (n,) bool.
        records: A number for each sample, (n,): the same number in both audits means the same sample.
    """

    scores: Scores
    member: Mask
    records: Ints

    def __post_init__(self) -> None:
        checks.same_length(scores=self.scores, member=self.member, records=self.records)


def same(first: Scored, second: Scored) -> bool:
    """Whether both are about the same samples in the same order, with the same membership."""
    return np.array_equal(first.records, second.records) and np.array_equal(first.member, second.member)


def difference(first: Estimate, second: Estimate, *, correlation: float = 0.0, widest: float = 1.0) -> Estimate:
    """`second` minus `first`, with an interval from the two figures' own intervals.

    Zou (2007), "Toward using confidence intervals to compare correlations", Psychological Methods 12: the method of
    variance estimates recovery, for figures that may depend on each other.

    Args:
        first: The earlier figure.
        second: The later figure, in the same units.
        correlation: Of the two figures' errors; 0 for other samples.
        widest: The largest change that there can be.

    Raises:
        InvalidInput: `correlation` lies outside [-1, 1].

    Example:
        >>> from hardlabel.metrics.changes import difference
        >>> from hardlabel.metrics.estimate import Estimate
        >>> print(difference(Estimate(0.6, 0.56, 0.64), Estimate(0.7, 0.67, 0.73)))
        0.100 [0.050, 0.150]
    """
    if not -1 <= correlation <= 1:
        raise InvalidInput(f"correlation must lie between -1 and 1, got {correlation}")
    for figure, which in ((first, "first"), (second, "second")):
        if figure.value is None:
            return Estimate.undefined(f"{which} run: {figure.note or 'no figure'}")
    assert first.value is not None
    assert second.value is not None
    value = second.value - first.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return Estimate(value, note="no interval: a figure has none")
    down_first, up_first = first.value - first.low, first.high - first.value
    down_second, up_second = second.value - second.low, second.high - second.value
    down = _combined(down_second, up_first, correlation)
    up = _combined(up_second, down_first, correlation)
    return Estimate(value, max(-widest, value - down), min(widest, value + up))


def _combined(one: float, other: float, correlation: float) -> float:
    return sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other))


def at_confidence(change: Estimate, confidence: float, *, of: float = CONFIDENCE) -> Estimate:
    """The change with its interval stretched to another confidence, read as normal.

    Args:
        change: A change with an interval.
        confidence: The confidence wanted.
        of: The confidence that the interval has.
    """
    checks.open_fraction(confidence=confidence, of=of)
    if change.value is None or change.low is None or change.high is None:
        return change
    factor = float(ndtri((1 + confidence) / 2)) / two_sided(of)
    low, high = (
        change.value - factor * (change.value - change.low),
        change.value + factor * (change.high - change.value),
    )
    return Estimate(change.value, low, high, change.note)


def auc_change(
    first: Scored,
    second: Scored,
    *,
    own: tuple[Estimate, Estimate],
    confidence: float = CONFIDENCE,
) -> Estimate:
    """AUC of `second` minus AUC of `first`.

    On the same samples it is the paired DeLong interval of `intervals.auc_difference`. Otherwise the two AUCs' own
    intervals are combined, with the correlation that the shared samples bring about.

    Args:
        first, second: The scores in either audit.
        own: The AUCs of both, with intervals.
        confidence: Of the interval.

    Raises:
        InvalidInput: See `roc.tally`.
    """
    if same(first, second):
        return auc_difference(second.scores, first.scores, first.member, confidence=confidence)
    return difference(*own, correlation=_correlation(_placed(first), _placed(second), first, second))


def tpr_changes(
    first: Scored, second: Scored, *, own: Mapping[float, tuple[Estimate, Estimate]], seed: int
) -> dict[float, Estimate]:
    """TPR of `second` minus TPR of `first`, by false-positive rate.

    The two figures' own intervals are combined. Their correlation is that of a bootstrap which weights each sample
    alike in both audits (Rubin (1981), "The Bayesian bootstrap", Annals of Statistics 9) and chooses both thresholds
    anew in every draw. Attacks that rank the same samples alike differ by exactly 0.

    Args:
        first, second: The scores in either audit.
        own: The TPRs of both, with intervals, by false-positive rate.
        seed: Fixes the bootstrap.

    Raises:
        InvalidInput: See `roc.tally`.
    """
    resolved = [fpr for fpr, pair in own.items() if None not in _values(pair)]
    changes = {fpr: difference(*pair) for fpr, pair in own.items()}
    if same(first, second) and np.array_equal(rankdata(first.scores), rankdata(second.scores)):
        changes |= dict.fromkeys(resolved, Estimate(0.0, 0.0, 0.0))
    elif resolved and np.isin(first.records, second.records).any():
        correlations = _tpr_correlations(first, second, resolved, seed)
        changes |= {fpr: difference(*own[fpr], correlation=correlations[fpr]) for fpr in resolved}
    return changes


def balanced_accuracy_change(
    first: Scored, second: Scored, *, own: tuple[Estimate, Estimate], precisions: tuple[Estimate, Estimate]
) -> Estimate:
    """Balanced accuracy of `second` minus that of `first`, each at the threshold that its attacker chose.

    A record does not hold the threshold; balanced accuracy and precision together tell which samples were called. Where
    they do not, the two figures count as independent.

    Args:
        first, second: The scores in either audit.
        own: The balanced accuracies, with intervals.
        precisions: The precisions at the same thresholds.
    """
    before, after = _calls(first, own[0], precisions[0]), _calls(second, own[1], precisions[1])
    if before is None or after is None:
        return difference(*own)
    if same(first, second) and np.array_equal(before, after):
        return Estimate(0.0, 0.0, 0.0)
    influences = _around(before.astype(float), first), _around(after.astype(float), second)
    return difference(*own, correlation=_correlation(*influences, first, second))


def rate_change(first: Scored, second: Scored, *, own: tuple[Estimate, Estimate], inside: bool) -> Estimate:
    """The change of a share of members (`inside`) or of non-members; `scores` is 1 for samples that count, else 0.

    Args:
        first, second: What counts in either audit.
        own: The shares, with intervals.
        inside: Whether the shares are of members.
    """
    groups = [scored.member == inside for scored in (first, second)]
    counted = [np.where(group, scored.scores, 0.0) for group, scored in zip(groups, (first, second), strict=True)]
    if same(first, second) and np.array_equal(counted[0], counted[1]):
        return Estimate(0.0, 0.0, 0.0)
    influences = [
        np.where(group, _around(scored.scores.astype(float), scored), 0.0)
        for group, scored in zip(groups, (first, second), strict=True)
    ]
    return difference(*own, correlation=_correlation(influences[0], influences[1], first, second))


def _values(pair: Sequence[Estimate]) -> list[float | None]:
    return [estimate.value for estimate in pair]


def _placed(scored: Scored) -> Floats:
    """How far each sample moves the AUC, (n,), as in DeLong's variance."""
    ranks, influence = rankdata(scored.scores), np.zeros(len(scored.scores))
    for own, sign in ((scored.member, 1.0), (~scored.member, -1.0)):
        outscored = ranks[own] - rankdata(ranks[own])
        size = np.count_nonzero(own)
        influence[own] = sign * (outscored - outscored.mean()) / (len(own) - size) / size
    return influence


def _around(values: Floats, scored: Scored) -> Floats:
    """How far each sample moves the mean of members less the mean of non-members, (n,)."""
    influence = np.zeros(len(values))
    for own, sign in ((scored.member, 1.0), (~scored.member, -1.0)):
        influence[own] = sign * (values[own] - values[own].mean()) / np.count_nonzero(own)
    return influence


def _correlation(one: Floats, other: Floats, first: Scored, second: Scored) -> float:
    """The correlation of two figures to which samples contribute so much: shared samples move both."""
    size = 1 + int(max(first.records.max(), second.records.max()))
    moved = np.bincount(first.records, one, size), np.bincount(second.records, other, size)
    spread = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(moved[0] @ moved[1] / spread, -1, 1)) if spread > 0 else 0.0


def _calls(scored: Scored, accuracy: Estimate, precision: Estimate) -> Mask | None:
    """Whom the attack called members, (n,) bool; None if the two figures fit no threshold, or several."""
    if accuracy.value is None:
        return None
    curve = roc(scored.scores, scored.member)
    fits = np.abs(curve.tpr - curve.fpr - (2 * accuracy.value - 1)) < ROUNDING
    share = scored.member.mean()
    with np.errstate(invalid="ignore"):
        right = share * curve.tpr / (share * curve.tpr + (1 - share) * curve.fpr)
    fits &= np.isnan(right) if precision.value is None else np.abs(right - precision.value) < ROUNDING
    places = np.flatnonzero(fits)
    if len(places) != 1:
        return None
    return scored.scores >= curve.thresholds[places[0]] if places[0] else np.zeros(len(scored.scores), dtype=bool)


def _tpr_correlations(first: Scored, second: Scored, fprs: Sequence[float], seed: int) -> dict[float, float]:
    """The correlation of two TPRs by false-positive rate, over weights that shared samples have in common."""
    rng = numpy_generator(seed, "change of TPR")
    size = 1 + int(max(first.records.max(), second.records.max()))
    curves = [_Curve(scored) for scored in (first, second)]
    block = max(1, CELLS_IN_MEMORY // size)
    drawn: list[list[Floats]] = [[], []]
    for start in range(0, DRAWS, block):
        weights = rng.exponential(size=(min(block, DRAWS - start), size))
        for curve, rows in zip(curves, drawn, strict=True):
            rows.append(curve.tprs(weights, fprs))
    rates = [np.concatenate(rows) for rows in drawn]  # (DRAWS, rates) each.
    found = {}
    for place, fpr in enumerate(fprs):
        one, other = (centred - centred.mean() for centred in (rates[0][:, place], rates[1][:, place]))
        spread = sqrt(float(one @ one) * float(other @ other))
        found[fpr] = float(np.clip(one @ other / spread, -1, 1)) if spread > 0 else 0.0
    return found


class _Curve:
    """The samples of an attack, highest score first, with the ends of its ties."""

    def __init__(self, scored: Scored) -> None:
        order = np.argsort(-scored.scores, kind="stable")
        falling, member = scored.scores[order], scored.member[order]
        last = np.flatnonzero(np.append(falling[:-1] != falling[1:], True))
        self._members, self._others = scored.records[order[member]], scored.records[order[~member]]
        # How many members and non-members are called at each corner, from nobody to everybody.
        self._called = [np.append(0, np.cumsum(kind)[last]) for kind in (member, ~member)]

    def tprs(self, weights: Floats, fprs: Sequence[float]) -> Floats:
        """The largest TPR at each FPR, for weights (draws, records), (draws, len(fprs))."""
        shares = []
        for records, called in zip((self._members, self._others), self._called, strict=True):
            sums = np.cumsum(weights[:, records], axis=1)
            sums /= sums[:, -1:]
            shares.append(np.concatenate([np.zeros((len(weights), 1)), sums], axis=1)[:, called])
        tpr, fpr = shares
        corners = [(fpr <= rate + ROUNDING).sum(axis=1) - 1 for rate in fprs]
        return np.stack([tpr[np.arange(len(weights)), corner] for corner in corners], axis=1)

"""The ROC curve of membership scores: its corners, the area under it, thresholds, TPR at a given FPR."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardlabel import checks
from hardlabel.checks import InvalidInput

Scores = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """How many members and non-members hold each distinct score: all that a metric needs to know.

    Attributes:
        values: The k distinct scores, highest first, float64.
        members: Members at each value, (k,) int64.
        nonmembers: Non-members at each value, (k,) int64.
    """

    values: Floats
    members: Counts
    nonmembers: Counts

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of members, number of non-members; both 1 or more."""
        return int(self.members.sum()), int(self.nonmembers.sum())

    @property
    def called(self) -> tuple[Counts, Counts]:
        """Members and non-members called at each corner, from nobody to everybody, (k + 1,) each."""
        return np.append(0, np.cumsum(self.members)), np.append(0, np.cumsum(self.nonmembers))


def tally(scores: Scores, member: Mask) -> Tally:
    """Counts members and non-members at each distinct score; the order of the samples is forgotten.

    Args:
        scores: Membership scores (n,), higher for likelier members; infinities are legal.
        member: Whether each sample is a member, (n,) bool; at least one of each kind.

    Raises:
        InvalidInput: Lengths differ, a score is NaN, member is not bool or holds one kind only.
    """
    checks.same_length(scores=scores, member=member)
    if np.asarray(scores).ndim != 1:
        raise InvalidInput(f"scores must be one-dimensional, got shape {np.asarray(scores).shape}")
    if np.asarray(member).dtype != np.bool_:
        raise InvalidInput(f"member must be bool, got {np.asarray(member).dtype}")
    if member.all() or not member.any():
        kind = "members" if len(member) and member.all() else "non-members" if len(member) else "nobody"
        raise InvalidInput(f"member must hold both members and non-members, got {kind} only")
    if np.isnan(scores).any():
        raise InvalidInput(f"scores must not be NaN, got NaN at position {int(np.isnan(scores).argmax())}")
    values, where = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)
    inside = np.bincount(where[member], minlength=len(values))
    outside = np.bincount(where[~member], minlength=len(values))
    return Tally(values=values[::-1], members=inside[::-1], nonmembers=outside[::-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Roc:
    """Corners of a ROC curve from (0, 0) to (1, 1); samples with tied scores make one diagonal step.

    Attributes:
        fpr: False-positive rates (c,), never falling.
        tpr: True-positive rates (c,), never falling.
        thresholds: Scores (c,), falling: a corner calls "member" who scores at least its threshold. The
            first is inf and stands for calling nobody, even where a score is inf.
    """

    fpr: Floats
    tpr: Floats
    thresholds: Floats


def roc(scores: Scores, member: Mask) -> Roc:
    """The curve of `scores` (n,) against `member` (n,), one corner per distinct score and one for nobody.

    scikit-learn's roc_curve is not used because it refuses infinite scores.

    Raises:
        InvalidInput: See `tally`.
    """
    counted = tally(scores, member)
    n1, n0 = counted.sizes
    tp, fp = counted.called
    return Roc(fpr=fp / n0, tpr=tp / n1, thresholds=np.append(np.inf, counted.values))


def auc(scores: Scores, member: Mask) -> float:
    """Probability, in [0, 1], that a random member outscores a random non-member; ties count half.

    Raises:
        InvalidInput: See `tally`.
    """
    counted = tally(scores, member)
    n1, n0 = counted.sizes
    below = n0 - np.cumsum(counted.nonmembers)
    # Twice the number of won pairs is an integer: the area is exact up to the last division.
    won_twice = int((counted.members * (2 * below + counted.nonmembers)).sum())
    return won_twice / (2 * n1 * n0)


def best_threshold(scores: Scores, member: Mask) -> float:
    """The threshold of greatest balanced accuracy; "member" is who scores at least this.

    It lies midway between the lowest score called and the highest not called where both are finite, else at
    the lowest score called. Of equally good thresholds the highest is taken: fewest false alarms. Calling
    nobody is not considered, as calling everybody is just as good.

    Raises:
        InvalidInput: See `tally`.
    """
    counted = tally(scores, member)
    n1, n0 = counted.sizes
    tp, fp = counted.called
    last = int(np.argmax(tp[1:] * n0 - fp[1:] * n1))  # Integers: equal means equal. The first maximum wins.
    lowest = float(counted.values[last])
    below = float(counted.values[last + 1]) if last + 1 < len(counted.values) else -np.inf
    if not (np.isfinite(lowest) and np.isfinite(below)):
        return lowest
    middle = lowest / 2 + below / 2
    return middle if below < middle <= lowest else lowest


def tpr_at(scores: Scores, member: Mask, fpr: float) -> float:
    """The largest true-positive rate among the corners with a false-positive rate of at most `fpr`.

    Never interpolated: a tie too large for `fpr` is not split.

    Raises:
        InvalidInput: `fpr` is not in [0, 1], or see `tally`.
    """
    checks.probability(fpr=fpr)
    curve = roc(scores, member)
    return float(curve.tpr[curve.fpr <= fpr][-1])


def thinned(curve: Roc, points: int) -> Roc:
    """At most `points` of a curve's corners, chosen so that plots with linear and with log axes look the same.

    Corners inside a straight vertical or horizontal run go first, which changes nothing. If too many are left,
    those nearest to evenly spaced places along the curve are kept, its length being measured on linear and on
    logarithmic axes together: so the few corners at low FPR stay. Both ends always stay.

    Raises:
        InvalidInput: `points` is below 2.
    """
    checks.at_least(2, points=points)
    kept = np.ones(len(curve.fpr), dtype=bool)
    for rate in (curve.fpr, curve.tpr):
        kept[1:-1] &= ~((rate[:-2] == rate[1:-1]) & (rate[1:-1] == rate[2:]))
    rows = np.flatnonzero(kept)
    if len(rows) > points:
        position = _along(curve.fpr[rows]) + _along(curve.tpr[rows])
        wanted = np.linspace(0, position[-1], points)
        right = np.clip(np.searchsorted(position, wanted), 1, len(rows) - 1)
        nearest = right - (wanted - position[right - 1] < position[right] - wanted)
        rows = rows[np.unique(nearest)]
    return Roc(fpr=curve.fpr[rows], tpr=curve.tpr[rows], thresholds=curve.thresholds[rows])


def _along(rate: Floats) -> Floats:
    """How far each corner is along one axis, linear plus logarithmic, from 0 to 2."""
    smallest = rate[rate > 0].min()
    logs = np.log(np.maximum(rate, smallest / 2))  # A log axis has no 0; half a step below the first will do.
    length: Floats = rate + (logs - logs[0]) / (logs[-1] - logs[0])
    return length

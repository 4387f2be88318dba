"""Precision and recall of calls about a few samples on several targets, and their paired differences.

Arrays have a row per target and a column per sample, as in `crossed`; a single target is one row. Intervals cover
targets and samples both, and are never narrower than the exact ones of as many independent calls: where every call
is right no variance is seen, and an interval without width would say too much.
"""

from dataclasses import dataclass
from math import hypot

import numpy as np

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.crossed import _half_width
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.exact import exact_rate
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.metrics.roc import Floats, Mask

NOBODY = "no sample was called a member"
NONE = "no sample is a member"


@dataclass(frozen=True, kw_only=True)
class Calls:
    """How right it was to call samples members of several targets, and how many members that left out.

    Attributes:
        precision: Share of members among those called; undefined where nobody was.
        recall: Share of those called among the members; undefined where nobody is one.
        right: Members called, over all targets.
        called: Calls in all.
        members: Members asked about, over all targets.
    """

    precision: Estimate
    recall: Estimate
    right: int
    called: int
    members: int


def calls(called: Mask, asked: Mask, inside: Mask, *, confidence: float = CONFIDENCE) -> Calls:
    """Precision and recall of calls, pooled over targets.

    Args:
        called: Whether each sample was called a member of each target, (T, n) bool.
        asked: Whether it was among the few asked about, (T, n) bool; other calls do not count.
        inside: Whether each target was trained on each sample, (T, n) bool.
        confidence: Of each interval, strictly between 0 and 1.

    Raises:
        InvalidInput: Shapes differ or are not (T, n), a mask is not bool, or `confidence` is out of range.
    """
    _check(called, asked, inside, confidence)
    accused, members = called & asked, inside & asked
    return Calls(
        precision=_share(accused & inside, accused, inside, confidence, NOBODY),
        recall=_share(accused & inside, members, inside, confidence, NONE),
        right=int((accused & inside).sum()),
        called=int(accused.sum()),
        members=int(members.sum()),
    )


def precision_difference(
    first: tuple[Mask, Mask], second: tuple[Mask, Mask], inside: Mask, *, confidence: float = CONFIDENCE
) -> Estimate:
    """Precision of one attack's calls minus that of another's, on the same targets.

    Each is a pair (called, asked) as for `calls`: two attacks on the same few, or one attack on the few and on all.
    The interval covers what both have in common once; it is as wide at least as that of two attacks with the same
    counts whose calls have nothing in common (Donner and Zou 2012, "Closed-form confidence intervals for functions of
    the normal mean and standard deviation", Statistical Methods in Medical Research 21).

    Raises:
        InvalidInput: See `calls`.
    """
    cells, values, ends = [], [], []
    for called, asked in (first, second):
        _check(called, asked, inside, confidence)
        accused = called & asked
        if not accused.any():
            return Estimate.undefined(NOBODY)
        right, count = int((accused & inside).sum()), int(accused.sum())
        exact = exact_rate(right, count, confidence=confidence)
        assert exact.low is not None
        assert exact.high is not None
        cells.append(_influence(accused & inside, accused))
        values.append(right / count)
        ends.append((right / count - exact.low, exact.high - right / count))
    value, influence = values[0] - values[1], cells[0] - cells[1]
    reach = _half_width(influence.sum(1), influence, inside, confidence)
    down, up = hypot(ends[0][0], ends[1][1]), hypot(ends[0][1], ends[1][0])
    return Estimate(value, max(-1.0, value - max(reach, down)), min(1.0, value + max(reach, up)))


def _share(hits: Mask, of: Mask, inside: Mask, confidence: float, nothing: str) -> Estimate:
    """The share of `hits` among `of`: a ratio of sums over cells, by its linear part."""
    if not of.any():
        return Estimate.undefined(nothing)
    exact = exact_rate(int(hits.sum()), int(of.sum()), confidence=confidence)
    assert exact.value is not None
    assert exact.low is not None
    assert exact.high is not None
    if len(inside) == 1:
        return exact
    influence = _influence(hits, of)
    reach = _half_width(influence.sum(1), influence, inside, confidence)
    low, high = min(exact.low, exact.value - reach), max(exact.high, exact.value + reach)
    return Estimate(exact.value, max(0.0, low), min(1.0, high))


def _influence(hits: Mask, of: Mask) -> Floats:
    """How far each cell moves the ratio, (T, n): means over targets sum to the ratio's error."""
    share = hits.sum() / of.sum()
    influence: Floats = np.where(of, hits - share, 0.0) * (len(of) / of.sum())
    return influence


def _check(called: Mask, asked: Mask, inside: Mask, confidence: float) -> None:
    checks.open_fraction(confidence=confidence)
    for name, mask in (("called", called), ("asked", asked), ("inside", inside)):
        kind, shape = np.asarray(mask).dtype, np.shape(mask)
        if kind != np.bool_ or len(shape) != 2 or shape != np.shape(inside):
            raise InvalidInput(f"{name} must be bool of shape (targets, samples), as inside is, got {kind} {shape}")

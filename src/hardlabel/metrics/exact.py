"""Exact intervals of rates, and of the precision and recall of a chosen few.

Clopper-Pearson's, which never cover less than they promise: what a bound on epsilon or a handful of
accusations needs. Where many samples are at hand `rates` has Wilson's, which are narrower.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.metrics.roc import Counts, Floats, Mask


@dataclass(frozen=True, kw_only=True)
class Accused:
    """How right it was to call a few samples members, and how many members that left out.

    Attributes:
        precision: Share of members among those called.
        recall: Share of those called among the members.
        right: Members called.
        called: Samples called.
        members: Members in all.
    """

    precision: Estimate
    recall: Estimate
    right: int
    called: int
    members: int


def precision_and_recall(called: Mask, member: Mask, *, confidence: float = CONFIDENCE) -> Accused:
    """Precision and recall of calling some samples members, each with an exact interval of its own.

    The precision's interval holds where each sample's membership was decided by an independent coin, and also
    if some samples are easier than others: unequal chances make the number of hits vary less than the equal
    ones that the interval assumes. Hoeffding (1956), "On the distribution of the number of successes in
    independent trials", Annals of Mathematical Statistics 27. Precision depends on the share of members
    among those asked about; for another share see `rates.at_threshold`.

    Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26.

    Args:
        called: Who is called a member, (n,) bool; decided without looking at `member`.
        member: Whether each sample is a member, (n,) bool.
        confidence: Of each interval, strictly between 0 and 1.

    Returns:
        Precision is undefined where nobody was called, recall where nobody is a member.

    Raises:
        InvalidInput: Lengths differ, a mask is not one-dimensional bool, or `confidence` is out of range.
    """
    checks.same_length(called=called, member=member)
    for name, mask in (("called", called), ("member", member)):
        if np.ndim(mask) != 1 or np.asarray(mask).dtype != np.bool_:
            raise InvalidInput(f"{name} must be one-dimensional bool, got {np.asarray(mask).dtype} {np.shape(mask)}")
    right, accused, members = (int(np.count_nonzero(mask)) for mask in (called & member, called, member))
    nobody = Estimate.undefined("no sample was called a member")
    none = Estimate.undefined("no sample is a member")
    return Accused(
        precision=exact_rate(right, accused, confidence=confidence) if accused else nobody,
        recall=exact_rate(right, members, confidence=confidence) if members else none,
        right=right,
        called=accused,
        members=members,
    )


def exact_rate(hits: int, of: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """The rate `hits / of` with the two-sided Clopper-Pearson interval.

    Raises:
        InvalidInput: `of` is below 1, `hits` not between 0 and `of`, or `confidence` out of range.
    """
    checks.open_fraction(confidence=confidence)
    side = (1 + confidence) / 2
    low, high = least_rate(hits, of, confidence=side), greatest_rate(hits, of, confidence=side)
    return Estimate(hits / of, float(low), float(high))


def least_rate(hits: Counts | int, of: Counts | int, *, confidence: float) -> Floats:
    """One-sided lower Clopper-Pearson bounds on rates, in the shape of `hits`.

    Raises:
        InvalidInput: See `exact_rate`.
    """
    return 1 - greatest_rate(np.asarray(of) - np.asarray(hits), of, confidence=confidence)


def greatest_rate(hits: Counts | int, of: Counts | int, *, confidence: float) -> Floats:
    """One-sided upper Clopper-Pearson bounds on rates, in the shape of `hits`.

    Raises:
        InvalidInput: See `exact_rate`.
    """
    checks.open_fraction(confidence=confidence)
    k, n = np.asarray(hits), np.asarray(of)
    if n.size and n.min() < 1:
        raise InvalidInput(f"of must be at least 1, got {n.min()}")
    if np.any((k < 0) | (k > n)):
        raise InvalidInput(f"hits must lie between 0 and of = {of}, got {hits}")
    bound: Floats = np.where(k < n, betaincinv(k + 1.0, np.maximum(n - k, 1), confidence), 1.0)
    return bound

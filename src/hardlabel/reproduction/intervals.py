"""Intervals of accuracies and of paired differences, over the samples of a target and over targets."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate

Bools = NDArray[np.bool_]
CONFIDENCE = 0.95
PSEUDO = 0.5  # Added to each count of outcomes, so that a group without errors has no interval of width 0.


@dataclass(frozen=True)
class OfTarget:
    """A figure on one target: its value, and its variance over samples."""

    value: float
    variance: float


def accuracy(correct: Sequence[Bools]) -> OfTarget:
    """The mean over groups of the share of correct calls.

    Args:
        correct: For each group, which samples were called correctly, bool (n,).
    """
    return difference(correct, [np.zeros(len(group), dtype=bool) for group in correct], exact=True)


def difference(first: Sequence[Bools], second: Sequence[Bools], *, exact: bool = False) -> OfTarget:
    """The paired difference of two accuracies on the same samples: `first` minus `second`.

    Args:
        first: For each group, which samples the first attack calls correctly, bool (n,).
        second: The same of the second attack, about the same samples.
        exact: Whether `second` is no attack but 0, which has no chance.

    Raises:
        InvalidInput: A group is empty, or has another length.
    """
    values, variances = [], []
    for own, other in zip(first, second, strict=True):
        if not len(own) or len(own) != len(other):
            raise InvalidInput(f"groups must hold the same samples, at least one, got {len(own)} and {len(other)}")
        size = len(own)
        gains, losses = int((own & ~other).sum()), int((~own & other).sum())
        values.append((gains - losses) / size)
        # As if each outcome had been seen PSEUDO times more.
        up, down, total = gains + PSEUDO, losses + (0 if exact else PSEUDO), size + 2 * PSEUDO
        variances.append(((up + down) / total - ((up - down) / total) ** 2) / size)
    groups = len(values)
    return OfTarget(sum(values) / groups, sum(variances) / groups**2)


def over_targets(figures: Sequence[OfTarget]) -> Estimate:
    """The mean over targets, with an interval over targets and samples.

    If targets differ more than their samples explain, the interval is Student's over targets; else the samples'
    variance is the whole. One target's interval is over samples only.

    Raises:
        InvalidInput: There is no target.

    Example:
        >>> from hardlabel.reproduction.intervals import OfTarget, over_targets
        >>> str(over_targets([OfTarget(0.8, 0.0001), OfTarget(0.8, 0.0001)]))
        '0.800 [0.786, 0.814]'
    """
    count = len(figures)
    if not count:
        raise InvalidInput("figures must hold one of each target, at least one, got none")
    values = np.array([figure.value for figure in figures])
    mean, within = float(values.mean()), float(np.mean([figure.variance for figure in figures]))
    between = float(values.var(ddof=1)) if count > 1 else 0.0
    upper = (1 + CONFIDENCE) / 2
    reach = stats.t.ppf(upper, count - 1) if between > within else stats.norm.ppf(upper)
    half = float(reach) * math.sqrt(max(within, between) / count)
    return Estimate(value=mean, low=mean - half, high=mean + half)

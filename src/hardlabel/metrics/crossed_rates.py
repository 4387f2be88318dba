"""Accuracy of several targets on samples that they share, and its paired difference, with intervals.

As in `crossed`, targets and samples are both drawn at random, and the interval covers both.
"""

import numpy as np

from hardlabel.metrics.crossed import _half_width, _note
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.metrics.roc import Floats, Mask


def accuracy(right: Mask, inside: Mask, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean over targets of the share of right answers on each one's non-members, cut to [0, 1].

    Args:
        right: Whether each target answered each sample correctly, (T, n) bool.
        inside: Whether each sample was in each target's training set, (T, n) bool; the rest of a row is counted.
        confidence: Of the interval, strictly between 0 and 1.
    """
    found = _mean(right.astype(np.float64), inside, confidence)
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high), found.note)


def accuracy_difference(first: Mask, second: Mask, inside: Mask, *, confidence: float = CONFIDENCE) -> Estimate:
    """Accuracy of `first` minus that of `second` on the same targets' non-members, (T, n) each; see `accuracy`."""
    return _mean(first.astype(np.float64) - second.astype(np.float64), inside, confidence)


def _mean(values: Floats, inside: Mask, confidence: float) -> Estimate:
    outside = ~inside
    means = np.array([row[out].mean() for row, out in zip(values, outside, strict=True)])
    influence = np.zeros_like(values)
    for row, mine, out, mean in zip(influence, values, outside, means, strict=True):
        # The squares sum to the variance of a mean of so many samples.
        row[out] = (mine[out] - mean) / np.sqrt(out.sum() * max(1, out.sum() - 1))
    reach = _half_width(means, influence, inside, confidence)
    value = float(means.mean())
    return Estimate(value, value - reach, value + reach, _note(inside))

"""Bounds on the TPR at an FPR that hold however scores tie: a naive twin, and populations with the worst ties."""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom, norm

from hardlabel.checks import InvalidInput
from hardlabel.metrics.tied import _reach, tpr_bounds


def naive(scores, member, fpr, reach):
    """The lowest and the highest rate of members found that some threshold does not exclude."""
    inside, outside = scores[member], scores[~member]
    thresholds = [np.inf, *sorted(set(scores), reverse=True)]
    low, high = 1.0, 0.0
    for place, threshold in enumerate(thresholds):
        found, alarms = (inside >= threshold).mean(), (outside >= threshold).sum()
        below = (outside >= thresholds[place + 1]).sum() if place + 1 < len(thresholds) else len(outside)
        for side, chance in (
            (1, binom.sf(alarms - 1, len(outside), fpr)),
            (-1, binom.cdf(below, len(outside), fpr)),
        ):
            z2 = reach**2 - max(0.0, norm.isf(chance)) ** 2
            if z2 > 0:
                n = len(inside)
                end = (found + z2 / (2 * n) + side * sqrt(z2 * (found * (1 - found) + z2 / (4 * n)) / n)) / (1 + z2 / n)
                low, high = (low, max(high, end)) if side > 0 else (min(low, end), high)
    return low, high


@pytest.mark.parametrize("step", [0, 0.1, 0.4, 2.0])
@pytest.mark.parametrize("fpr", [0.1, 0.05])
def test_the_bounds_are_those_of_a_naive_search(step, fpr):
    rng = np.random.default_rng(3)
    member = np.arange(500) < 200
    scores = rng.normal(size=500) + member
    scores = np.floor(scores / step) if step else scores
    assert tpr_bounds(scores, member, fpr) == pytest.approx(naive(scores, member, fpr, _reach(0.05)), abs=1e-9)


@pytest.mark.parametrize("chance", [0.2, 0.05, 0.01])
def test_two_normal_deviates_leave_the_region_with_the_chance_that_it_promises(chance):
    z = np.maximum(0.0, np.random.default_rng(0).normal(size=(400_000, 2)))
    left = (np.hypot(*z.T) > _reach(chance)).mean()
    assert left == pytest.approx(chance, abs=4 * sqrt(chance / 400_000))


def test_a_rate_that_the_sample_does_not_resolve_has_no_bounds():
    member = np.arange(200) < 100
    scores = np.arange(200.0)
    assert tpr_bounds(scores, member, 0.1) is not None
    assert tpr_bounds(scores, member, 0.09) is None
    with pytest.raises(InvalidInput, match="fpr must lie strictly between 0 and 1"):
        tpr_bounds(scores, member, 1.0)


@pytest.mark.parametrize("above", [1.0, 1.001])
@pytest.mark.parametrize(("fpr", "size"), [(0.1, 100), (0.1, 1000), (0.01, 2000)])
def test_the_worst_ties_are_missed_by_each_bound_in_at_most_5_percent_of_samples(above, fpr, size):
    """Three scores: `fpr` of the non-members reach the middle one, or hardly more; the others leave gaps."""
    games, truths = 1000, {1.0: 0.5, 1.001: 0.2}
    rng = np.random.default_rng(round(1000 * above) + size)
    member = np.arange(2 * size) < size
    truth, missed = truths[above], np.zeros(2)
    for _ in range(games):
        inside = rng.choice(3, size, p=[0.5, 0.3, 0.2])
        outside = rng.choice(3, size, p=[1 - fpr * above, fpr * above, 0.0])
        low, high = tpr_bounds(np.concatenate([inside, outside]).astype(float), member, fpr)
        missed += [low > truth, high < truth]
    assert (missed <= binom.ppf(0.998, games, 0.05)).all(), missed
    # Both bounds are near what they promise somewhere: with a shorter reach they would miss more.
    assert missed.max() >= 15

"""Exact intervals: SciPy's as the twin, then coverage where memberships are coins of unequal fairness."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from hardlabel.checks import InvalidInput
from hardlabel.metrics.exact import exact_rate, greatest_rate, least_rate, precision_and_recall


@pytest.mark.parametrize(("hits", "of"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (3, 1000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_intervals_are_scipys(hits, of, confidence):
    found = exact_rate(hits, of, confidence=confidence)
    truth = binomtest(hits, of).proportion_ci(confidence, "exact")
    assert (found.value, found.low, found.high) == pytest.approx((hits / of, truth.low, truth.high), abs=1e-12)


def test_one_sided_bounds_leave_the_stated_chance_to_the_counts_beyond():
    hits, of = np.arange(1, 20), 20
    low, high = least_rate(hits, of, confidence=0.9), greatest_rate(hits, of, confidence=0.9)
    np.testing.assert_allclose(binom.sf(hits - 1, of, low), 0.1)
    np.testing.assert_allclose(binom.cdf(hits, of, high), 0.1)
    assert least_rate(0, of, confidence=0.9) == 0
    assert greatest_rate(20, of, confidence=0.9) == 1


def test_precision_and_recall_count_the_called_and_the_members():
    called = np.array([True] * 5 + [False] * 5)
    member = np.array([True, True, True, True, False, True, True, True, False, False])
    found = precision_and_recall(called, member)
    assert (found.right, found.called, found.members) == (4, 5, 7)
    assert (found.precision, found.recall) == (exact_rate(4, 5), exact_rate(4, 7))


def test_with_nobody_called_or_nobody_inside_there_is_no_figure():
    nobody, all_of = np.zeros(3, dtype=bool), np.ones(3, dtype=bool)
    assert precision_and_recall(nobody, all_of).precision.note == "no sample was called a member"
    assert precision_and_recall(all_of, nobody).recall.note == "no sample is a member"
    assert precision_and_recall(all_of, nobody).precision.value == 0


@pytest.mark.parametrize("called", [8, 40])
def test_intervals_cover_where_points_differ_and_membership_is_by_coins(called):
    """Each called point is a member with a chance of its own; exact intervals may cover more than 95 %, not less."""
    rng = np.random.default_rng(0)
    chances = np.where(np.arange(called) % 2, 0.95, 0.55)
    truth, games = chances.mean(), 2000
    misses = 0
    for _ in range(games):
        precision = precision_and_recall(np.ones(called, dtype=bool), rng.random(called) < chances).precision
        misses += not precision.low <= truth <= precision.high
    assert misses <= binom.ppf(0.999, games, 0.05)


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: exact_rate(1, 0), "of must be at least 1, got 0"),
        (lambda: exact_rate(3, 2), "hits must lie between 0 and of"),
        (lambda: exact_rate(1, 2, confidence=1.0), "confidence"),
        (lambda: precision_and_recall(np.ones(2, dtype=bool), np.ones(3, dtype=bool)), "lengths"),
        (lambda: precision_and_recall(np.ones(2), np.ones(2, dtype=bool)), "called must be one-dimensional bool"),
        (lambda: precision_and_recall(np.ones(2, dtype=bool), np.ones((2, 1), dtype=bool)), "member must be one"),
    ],
)
def test_bad_input_is_refused_by_name(act, told):
    with pytest.raises(InvalidInput, match=told):
        act()

"""ROC curves, areas and thresholds: closed forms and naive twins first, then properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc as area

from hardlabel.checks import InvalidInput
from hardlabel.metrics.cost import leakage_against_queries
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.roc import auc, best_threshold, roc, thinned, tpr_at

INF = float("inf")
unhurried = settings(deadline=None)  # Time is never asserted: machines are shared.


@st.composite
def games(draw):
    """Scores with many ties (and infinities), and membership of both kinds, in groups of unequal size."""
    levels = st.sampled_from([-INF, -2.0, -0.5, 0.0, 0.25, 1.0, 3.0, INF])
    inside = draw(st.lists(levels, min_size=1, max_size=12))
    outside = draw(st.lists(levels, min_size=1, max_size=12))
    order = draw(st.permutations(range(len(inside) + len(outside))))
    scores = np.array(inside + outside)[order]
    return scores, np.repeat([True, False], [len(inside), len(outside)])[order]


def naive_auc(scores, member):
    won = [(m > n) + 0.5 * (m == n) for m in scores[member] for n in scores[~member]]
    return sum(won) / len(won)


def rates(scores, member, threshold):
    called = scores >= threshold
    return called[~member].mean(), called[member].mean()


@unhurried
@given(games())
def test_auc_is_the_share_of_pairs_won_where_ties_count_half(game):
    # Both are one division of exact small integers or halves: equal up to rounding.
    assert auc(*game) == pytest.approx(naive_auc(*game), abs=1e-15)


def test_auc_of_ties_counts_half():
    assert auc(np.array([1.0, 1.0, 1.0]), np.array([True, False, False])) == 0.5


@unhurried
@given(games())
def test_auc_is_the_trapezoids_area_under_the_corners(game):
    curve = roc(*game)
    assert area(curve.fpr, curve.tpr) == pytest.approx(auc(*game), abs=1e-12)


@unhurried
@given(games())
def test_every_corner_is_what_its_threshold_achieves(game):
    curve = roc(*game)
    assert (curve.fpr[0], curve.tpr[0], curve.thresholds[0]) == (0, 0, INF)
    assert (curve.fpr[-1], curve.tpr[-1]) == (1, 1)
    assert len(curve.fpr) == 1 + len(np.unique(game[0]))
    for fpr, tpr, threshold in zip(curve.fpr[1:], curve.tpr[1:], curve.thresholds[1:], strict=True):
        assert (fpr, tpr) == rates(*game, threshold)


def test_tied_scores_make_one_diagonal_step():
    curve = roc(np.array([2.0, 1.0, 1.0, 0.0]), np.array([True, True, False, False]))
    assert curve.fpr.tolist() == [0, 0, 0.5, 1]
    assert curve.tpr.tolist() == [0, 0.5, 1, 1]


@unhurried
@given(games(), st.floats(0, 1))
def test_tpr_at_is_the_largest_tpr_of_any_allowed_threshold(game, fpr):
    reached = [(0.0, 0.0), *(rates(*game, threshold) for threshold in game[0])]
    assert tpr_at(*game, fpr) == max(tpr for found, tpr in reached if found <= fpr)


def test_tpr_at_never_interpolates():
    scores, member = np.array([1.0, 1.0, 0.0, 0.0]), np.array([True, False, True, False])
    assert tpr_at(scores, member, 0.49) == 0
    assert tpr_at(scores, member, 0.5) == 0.5


def test_tpr_at_counts_the_very_rate_as_allowed():
    # 29 of 290 is .1 although neither .1 nor 290 * .1 is exact in binary.
    scores = np.r_[np.full(29, 2.0), np.full(261, 0.0), 1.0]
    member = np.r_[np.zeros(290, bool), True]
    assert tpr_at(scores, member, 0.1) == 1


@unhurried
@given(games())
def test_best_threshold_has_the_greatest_balanced_accuracy(game):
    def balanced(threshold):
        fpr, tpr = rates(*game, threshold)
        return (tpr + 1 - fpr) / 2

    best = best_threshold(*game)
    candidates = [balanced(threshold) for threshold in game[0]]
    assert balanced(best) == pytest.approx(max(candidates), abs=1e-15)


def test_best_threshold_lies_midway_between_neighbouring_scores():
    member = np.array([False, False, True, True])
    assert best_threshold(np.array([0.0, 1.0, 4.0, 5.0]), member) == 2.5


def test_best_threshold_stays_finite_beside_an_infinite_score():
    member = np.array([False, False, True, True])
    assert best_threshold(np.array([-INF, -INF, 4.0, 5.0]), member) == 4
    assert best_threshold(np.array([1e308, 1e308, 1.5e308, 1.7e308]), member) == 1.25e308


def test_best_threshold_between_neighbouring_floats_calls_the_upper_one_only():
    lower = 1.0
    upper = np.nextafter(lower, 2)
    assert best_threshold(np.array([lower, upper]), np.array([False, True])) == upper


def test_equally_good_thresholds_give_way_to_the_highest():
    # Calling the top one or the top three both gain 1/2.
    scores, member = np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False])
    assert best_threshold(scores, member) == 3.5


@unhurried
@given(games(), st.randoms())
def test_order_of_samples_does_not_matter(game, random):
    scores, member = game
    order = list(range(len(scores)))
    random.shuffle(order)
    moved = scores[order], member[order]
    assert auc(*moved) == auc(*game)
    assert best_threshold(*moved) == best_threshold(*game)
    assert tpr_at(*moved, 0.3) == tpr_at(*game, 0.3)


@unhurried
@given(games())
def test_turning_scores_round_turns_the_area_round(game):
    scores, member = game
    assert auc(-scores, member) == pytest.approx(1 - auc(scores, member), abs=1e-15)


@unhurried
@given(games())
def test_an_increasing_transformation_changes_no_rate(game):
    scores, member = game
    squeezed = np.arctan(scores)
    assert auc(squeezed, member) == auc(scores, member)
    assert roc(squeezed, member).tpr.tolist() == roc(scores, member).tpr.tolist()


def test_single_precision_scores_are_taken():
    scores, member = np.array([0.1, 0.3, 0.2], dtype=np.float32), np.array([False, True, True])
    assert auc(scores, member) == 1


@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        ([0.0, np.nan], [True, False], "scores must not be NaN, got NaN at position 1"),
        ([0.0, 1.0], [True, True], "got members only"),
        ([0.0, 1.0], [False, False], "got non-members only"),
        ([], [], "got nobody only"),
        ([0.0, 1.0, 2.0], [True, False], "scores has 3, member has 2"),
        ([[0.0], [1.0]], [True, False], r"scores must be one-dimensional, got shape \(2, 1\)"),
    ],
)
def test_bad_scores_are_refused(scores, member, message):
    with pytest.raises(InvalidInput, match=message):
        auc(np.array(scores), np.array(member, dtype=bool))


def test_membership_as_numbers_is_refused():
    with pytest.raises(InvalidInput, match="member must be bool, got int64"):
        auc(np.array([0.0, 1.0]), np.array([0, 1], dtype=np.int64))


def test_an_fpr_outside_the_unit_interval_is_refused():
    with pytest.raises(InvalidInput, match=r"fpr must lie in \[0, 1\], got 1.5"):
        tpr_at(np.array([0.0, 1.0]), np.array([True, False]), 1.5)


def binormal(n=2000, shift=1.5):
    rng = np.random.default_rng(0)
    return np.r_[rng.normal(shift, 1, n), rng.normal(0, 1, n)], np.repeat([True, False], n)


def test_a_thinned_curve_stays_close_on_linear_and_logarithmic_axes():
    curve = roc(*binormal())
    few = thinned(curve, 200)
    assert len(few.fpr) <= 200
    # 200 places along a path of length 4 (2 linear, 2 logarithmic): neighbours lie within 4 / 199 of each
    # other; rounding each to the nearest corner at most doubles that on one axis.
    step = 2 * 4 / 199
    assert np.abs(np.interp(curve.fpr, few.fpr, few.tpr) - curve.tpr).max() < step
    seen = curve.fpr > 0
    decades = np.log(curve.fpr[seen].max() / curve.fpr[seen].min() * 2)
    assert np.diff(np.log(few.fpr[few.fpr > 0])).max() < max(step * decades, np.log(2) + 1e-9)


def test_a_thinned_curve_keeps_the_first_false_alarms():
    # A weak attack: on linear axes 200 places would lie ten corners apart down here.
    curve = roc(*binormal(shift=0.1))
    few = thinned(curve, 200)
    for fpr in np.unique(curve.fpr)[1:6]:
        kept, true = few.tpr[few.fpr <= fpr].max(), curve.tpr[curve.fpr <= fpr].max()
        assert true > 0
        assert kept == pytest.approx(true, abs=1.5 / 2000)  # At most one member of 2,000 aside.


def test_thinning_drops_corners_inside_straight_runs_first():
    curve = roc(np.arange(20.0), np.arange(20) >= 10)
    few = thinned(curve, 100)
    assert list(zip(few.fpr, few.tpr, strict=True)) == [(0, 0), (0, 1), (1, 1)]


def test_a_thinned_curve_keeps_both_ends_and_a_subset_of_corners():
    curve = roc(*binormal(50))
    for points in (2, 3, 10):
        few = thinned(curve, points)
        assert len(few.fpr) <= points
        assert (few.fpr[0], few.tpr[0], few.fpr[-1], few.tpr[-1]) == (0, 0, 1, 1)
        assert set(zip(few.fpr, few.tpr, few.thresholds, strict=True)) <= set(
            zip(curve.fpr, curve.tpr, curve.thresholds, strict=True)
        )


@unhurried
@given(games())
def test_thinning_to_enough_points_changes_no_area(game):
    curve = roc(*game)
    few = thinned(curve, len(curve.fpr))
    assert area(few.fpr, few.tpr) == pytest.approx(area(curve.fpr, curve.tpr), abs=1e-12)


def test_leakage_against_queries_marks_who_is_not_beaten():
    points = [
        ("boundary", 2500.0, Estimate(0.75)),
        ("gap", 1.0, Estimate(0.6)),
        ("noise", 2500.0, Estimate(0.7)),
        ("weak", 5.0, Estimate(0.6)),
        ("broken", 3.0, Estimate.undefined("no score")),
        ("augmentation", 10.0, Estimate(0.7)),
        ("twin", 10.0, Estimate(0.7)),
    ]
    found = leakage_against_queries(points)
    assert [point.name for point in found] == [
        "gap",
        "broken",
        "weak",
        "augmentation",
        "twin",
        "boundary",
        "noise",
    ]
    assert [point.name for point in found if point.on_front] == ["gap", "augmentation", "twin", "boundary"]


def test_leakage_against_negative_queries_is_refused():
    with pytest.raises(InvalidInput, match="queries must be 0 or more, got -1"):
        leakage_against_queries([("gap", -1, Estimate(0.5))])

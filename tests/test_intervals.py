"""Intervals: naive twins and published figures first, then coverage on games whose truth is known, then properties.

A coverage test plays games of known truth and counts the intervals that miss it. With an exact 95 % interval
the misses are binomial, so their number must lie below the binomial's 99.95 % point, and above its .05 %
point where the method is not conservative by design: a correct method fails one such test in a thousand, and
seeds are fixed.
"""

from math import isclose, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm, rankdata

from hardlabel.checks import InvalidInput
from hardlabel.metrics.intervals import (
    auc_difference,
    auc_interval,
    auc_with_variance,
    best_balanced_accuracy,
    operating_point,
    tpr_at_fpr,
)
from hardlabel.metrics.rates import at_threshold, rate_interval
from hardlabel.metrics.roc import auc, tpr_at
from hardlabel.metrics.tied import tpr_bounds

Z = norm.ppf(0.975)
unhurried = settings(deadline=None)  # Time is never asserted: machines are shared.


def groups(members, nonmembers):
    return np.concatenate([members, nonmembers]), np.repeat([True, False], [len(members), len(nonmembers)])


def play(rng, *, shift, sizes, scale=1.0, step=None):
    """A binormal game: members from N(shift, scale), non-members from N(0, 1), rounded to `step` if given."""
    members, nonmembers = rng.normal(shift, scale, sizes[0]), rng.normal(0, 1, sizes[1])
    if step is not None:
        members, nonmembers = np.round(members / step) * step, np.round(nonmembers / step) * step
    return groups(members, nonmembers)


def population_curve(*, shift, scale=1.0, step=None):
    """FPR and TPR of a binormal game at every threshold, exactly."""
    cuts = np.linspace(-12, 12, 480_001) if step is None else (np.arange(-200, 201) - 0.5) * step
    return norm.sf(cuts), norm.sf(cuts, shift, scale)


def population_auc(**game):
    fpr, tpr = population_curve(**game)
    return float(np.sum((fpr[:-1] - fpr[1:]) * (tpr[:-1] + tpr[1:]) / 2))


def assert_covers(estimates, truth, *, conservative=False):
    misses = sum(not (e.low - 1e-12 <= truth <= e.high + 1e-12) for e in estimates)
    assert misses <= binom.ppf(0.9995, len(estimates), 0.05), misses / len(estimates)
    assert conservative or misses >= binom.ppf(0.0005, len(estimates), 0.05), misses / len(estimates)


scores_of_a_group = st.lists(st.integers(-3, 3), min_size=2, max_size=10)


# AUC


def naive_delong(members, nonmembers):
    """DeLong's variance from its definition: the sample variances of every sample's share of pairs won."""
    won = np.array([[(m > n) + 0.5 * (m == n) for n in nonmembers] for m in members])
    return won.mean(1).var(ddof=1) / len(members) + won.mean(0).var(ddof=1) / len(nonmembers)


@unhurried
@given(scores_of_a_group, scores_of_a_group)
def test_delongs_variance_is_that_of_its_definition(members, nonmembers):
    scores, member = groups(np.array(members, float), np.array(nonmembers, float))
    value, variance = auc_with_variance(scores, member)
    assert value == auc(scores, member)
    assert variance == pytest.approx(naive_delong(members, nonmembers), abs=1e-14)


def test_the_auc_interval_is_symmetric_on_the_logit_scale():
    scores, member = play(np.random.default_rng(0), shift=1, sizes=(30, 50))
    value, variance = auc_with_variance(scores, member)
    found = auc_interval(scores, member)
    reach = Z * sqrt(variance) / (value * (1 - value))
    odds = value / (1 - value)
    assert found.low / (1 - found.low) == pytest.approx(odds * np.exp(-reach))
    assert found.high / (1 - found.high) == pytest.approx(odds * np.exp(reach))


@pytest.mark.parametrize("sizes", [(5, 9), (100, 100)])
def test_the_auc_interval_of_a_perfect_attack_solves_newcombes_equation(sizes):
    found = auc_interval(*groups(np.ones(sizes[0]), np.zeros(sizes[1])))
    m = n = sum(sizes) / 2
    a = found.low
    q1, q2 = a / (2 - a), 2 * a**2 / (1 + a)  # Hanley and McNeil (1982).
    variance = (a * (1 - a) + (m - 1) * (q1 - a**2) + (n - 1) * (q2 - a**2)) / (sizes[0] * sizes[1])
    assert found.value == found.high == 1
    assert 1 - a == pytest.approx(Z * sqrt(variance), rel=1e-6)


def test_a_useless_score_and_a_single_member_still_have_an_interval():
    for scores, member in (groups(np.zeros(50), np.zeros(50)), groups(np.array([1.0]), np.arange(50.0))):
        found = auc_interval(scores, member)
        assert found.low < found.value < found.high


@pytest.mark.parametrize(
    "game",
    [
        {"shift": 1.0, "sizes": (60, 140)},
        {"shift": 0.0, "sizes": (200, 50)},
        {"shift": 0.7, "scale": 1.5, "step": 1.0, "sizes": (80, 120)},
    ],
)
def test_auc_intervals_cover(game):
    rng = np.random.default_rng(1)
    truth = population_auc(**{k: v for k, v in game.items() if k != "sizes"})
    assert_covers([auc_interval(*play(rng, **game)) for _ in range(400)], truth)


def test_auc_intervals_cover_where_most_samples_are_separated_perfectly():
    # AUC .998 from 20 + 20 samples: nearly every game falls back on Newcombe's interval.
    rng = np.random.default_rng(2)
    estimates = [auc_interval(*play(rng, shift=4, sizes=(20, 20))) for _ in range(400)]
    assert sum(e.value == 1 for e in estimates) > 200
    assert_covers(estimates, population_auc(shift=4.0), conservative=True)


# Differences


def paired(rng, *, shifts, sizes, shared=0.8):
    """Two binormal attacks on the same samples, whose noise agrees to the share `shared`."""
    size, member = sum(sizes), np.repeat([True, False], sizes)
    common = rng.normal(0, sqrt(shared), size)
    own = [common + rng.normal(0, sqrt(1 - shared), size) for _ in shifts]
    return *(noise + shift * member for noise, shift in zip(own, shifts, strict=True)), member


def test_auc_differences_cover():
    rng = np.random.default_rng(3)
    games = [paired(rng, shifts=(1.0, 0.7), sizes=(80, 150)) for _ in range(400)]
    truth = norm.cdf(1 / sqrt(2)) - norm.cdf(0.7 / sqrt(2))
    assert_covers([auc_difference(*game) for game in games], truth)


def test_pairing_narrows_the_difference_of_attacks_that_agree():
    first, second, member = paired(np.random.default_rng(4), shifts=(1.0, 0.7), sizes=(300, 300))
    found = auc_difference(first, second, member)
    a, b = auc_interval(first, member), auc_interval(second, member)
    alone = sqrt((a.high - a.low) ** 2 + (b.high - b.low) ** 2)
    # Noise that agrees to .8 leaves about sqrt(.2) of the width of two independent attacks.
    assert found.high - found.low < 0.6 * alone
    assert found.value == pytest.approx(a.value - b.value)


@unhurried
@given(scores_of_a_group, scores_of_a_group, scores_of_a_group)
def test_differences_are_those_of_the_definition(members, nonmembers, others):
    first, member = groups(np.array(members, float), np.array(nonmembers, float))
    second = np.resize(np.array(others, float), len(first))
    won = [np.array([[(m > n) + 0.5 * (m == n) for n in s[~member]] for m in s[member]]) for s in (first, second)]
    gap = won[0] - won[1]
    variance = gap.mean(1).var(ddof=1) / len(members) + gap.mean(0).var(ddof=1) / len(nonmembers)
    found = auc_difference(first, second, member)
    assert found.value == pytest.approx(gap.mean(), abs=1e-14)
    alike = np.array_equal(rankdata(first), rankdata(second))
    if len({*(2 * gap).sum(1)}) == 1 and len({*(2 * gap).sum(0)}) == 1 and not alike:
        assert found.low < found.high  # No variance among these samples is no proof that there is none.
    elif variance > 1e-12:
        assert found.low == pytest.approx(max(-1, gap.mean() - Z * sqrt(variance)), abs=1e-9)
        assert found.high == pytest.approx(min(1, gap.mean() + Z * sqrt(variance)), abs=1e-9)


def test_attacks_that_rank_alike_differ_by_exactly_nothing():
    scores, member = play(np.random.default_rng(5), shift=1, sizes=(40, 30))
    found = auc_difference(scores, np.exp(3 * scores), member)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_two_perfect_attacks_that_rank_differently_may_still_differ():
    first, member = groups(np.arange(10.0, 30), np.arange(0.0, 10))
    second, _ = groups(np.arange(30.0, 10, -1), np.arange(0.0, 10))
    found = auc_difference(first, second, member)
    assert found.value == 0
    assert found.low < 0 < found.high


# Rates at a threshold


@unhurried
@given(st.integers(1, 60).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_a_rates_interval_is_wilsons(case):
    hits, of = case
    found, twin = rate_interval(hits, of), binomtest(hits, of).proportion_ci(method="wilson")
    assert found.value == hits / of
    assert (found.low, found.high) == pytest.approx((twin.low, twin.high), abs=1e-12)


def called(hits, members, alarms, nonmembers):
    """Scores of 1 for those called at a threshold of .5 and of 0 for the others."""
    return groups(np.arange(members) < hits, np.arange(nonmembers) < alarms)


def figures(hits, members, alarms, nonmembers, prior=0.01):
    scores, member = called(hits, members, alarms, nonmembers)
    return at_threshold(scores.astype(float), member, 0.5, prior=prior)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((0, 10, 0, 20), -0.1611, 0.2775),
    ],
)
def test_the_advantages_interval_is_newcombes_published_one(counts, low, high):
    # Newcombe (1998), table II, method 10; printed to four places.
    found = figures(*counts).advantage
    assert (found.low, found.high) == pytest.approx((low, high), abs=5.1e-5)


def test_figures_at_a_threshold_are_those_of_the_definition():
    found = figures(30, 40, 20, 80, prior=0.1)
    assert (found.tpr.value, found.fpr.value) == (0.75, 0.25)
    assert found.advantage.value == 0.5
    assert found.balanced_accuracy.value == 0.75
    assert found.precision.value == pytest.approx(30 / 50)
    assert found.precision_at_prior.value == pytest.approx(0.075 / (0.075 + 0.225))


def test_who_scores_the_very_threshold_is_called():
    scores, member = groups(np.array([1.0, 1.0]), np.array([0.0, 1.0]))
    found = at_threshold(scores, member, 1.0, prior=0.5)
    assert (found.tpr.value, found.fpr.value) == (1, 0.5)


counts_of_two_groups = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda sizes: st.tuples(st.integers(0, sizes[0]), st.just(sizes[0]), st.integers(0, sizes[1]), st.just(sizes[1]))
)


@unhurried
@given(counts_of_two_groups)
def test_precisions_interval_ends_where_the_two_kinds_of_accusations_could_balance(counts):
    # Precision is p where prior (1 - p) TPR = (1 - prior) p FPR; p is in the interval as long as the difference
    # of the two sides, with Newcombe's combination of the Wilson intervals, may be 0. Solved numerically here.
    hits, members, alarms, nonmembers = counts
    prior = 0.2
    found = figures(*counts, prior=prior).precision_at_prior
    if hits + alarms == 0:
        assert found.value is None
        return
    t, f = rate_interval(hits, members), rate_interval(alarms, nonmembers)

    def lowest(p):
        a, b = prior * (1 - p), (1 - prior) * p
        return a * t.value - b * f.value - sqrt((a * (t.value - t.low)) ** 2 + (b * (f.high - f.value)) ** 2)

    def highest(p):
        a, b = prior * (1 - p), (1 - prior) * p
        return a * t.value - b * f.value + sqrt((a * (t.high - t.value)) ** 2 + (b * (f.value - f.low)) ** 2)

    assert found.low <= found.value <= found.high
    if hits:
        assert found.low == pytest.approx(brentq(lowest, 0, 1), abs=1e-9)
    else:
        assert found.low == 0
    if alarms:
        assert found.high == pytest.approx(brentq(highest, 0, 1), abs=1e-9)
    else:
        assert found.high == 1


@unhurried
@given(counts_of_two_groups)
def test_intervals_at_a_threshold_hold_their_figures_and_stay_in_range(counts):
    found = figures(*counts)
    for name in ("tpr", "fpr", "balanced_accuracy", "advantage", "precision", "precision_at_prior"):
        estimate, least = getattr(found, name), -1 if name == "advantage" else 0
        assert estimate.value is None or least <= estimate.low <= estimate.value <= estimate.high <= 1


@pytest.mark.parametrize(("shift", "threshold", "sizes"), [(1.0, 0.5, (150, 250)), (1.0, 2.0, (500, 300))])
def test_figures_at_a_threshold_cover(shift, threshold, sizes):
    rng, prior = np.random.default_rng(6), 0.05
    tpr, fpr = norm.sf(threshold - shift), norm.sf(threshold)
    share = sizes[0] / sum(sizes)
    found = [at_threshold(*play(rng, shift=shift, sizes=sizes), threshold, prior=prior) for _ in range(400)]
    # Wilson's coverage of a discrete count swings around 95 % by about 1 % at these sizes: far within the bounds.
    truths = {
        "tpr": tpr,
        "fpr": fpr,
        "advantage": tpr - fpr,
        "balanced_accuracy": (1 + tpr - fpr) / 2,
        "precision": share * tpr / (share * tpr + (1 - share) * fpr),
        "precision_at_prior": prior * tpr / (prior * tpr + (1 - prior) * fpr),
    }
    for name, truth in truths.items():
        assert_covers([getattr(one, name) for one in found], truth)


def test_nobody_called_leaves_precision_undefined():
    found = figures(0, 10, 0, 10)
    assert found.precision.value is found.precision_at_prior.value is None
    assert found.precision.note == "no sample was called a member"
    assert found.advantage.value == 0


def test_precision_in_groups_of_unequal_size_says_what_it_depends_on():
    assert "share of members in this sample, 33.3%" in figures(5, 10, 5, 20).precision.note
    assert figures(5, 10, 5, 10).precision.note == ""
    assert figures(5, 10, 5, 20).precision_at_prior.note == ""


# The best threshold


@pytest.mark.parametrize(
    "game",
    [
        {"shift": 0.0, "sizes": (100, 200)},
        {"shift": 0.5, "sizes": (150, 100)},
        {"shift": 0.5, "sizes": (150, 100), "step": 0.5},
    ],
)
def test_best_balanced_accuracy_covers_that_of_the_populations_best_threshold(game):
    # Conservative on purpose: its lower end holds for every threshold at once.
    rng = np.random.default_rng(7)
    fpr, tpr = population_curve(**{k: v for k, v in game.items() if k != "sizes"})
    found = [best_balanced_accuracy(*play(rng, **game), seed=k, resamples=300) for k in range(400)]
    assert_covers(found, max(0.5, (1 + (tpr - fpr).max()) / 2), conservative=True)


def test_best_balanced_accuracy_is_optimistic_and_says_so():
    rng = np.random.default_rng(8)
    found = [best_balanced_accuracy(*play(rng, shift=0, sizes=(50, 50)), seed=0, resamples=50) for _ in range(50)]
    assert min(e.value for e in found) > 0.5  # Although these scores know nothing.
    assert "upper bound" in found[0].note


def test_blocks_of_resamples_do_not_change_the_luck_of_the_best_threshold(monkeypatch):
    game = play(np.random.default_rng(9), shift=0.5, sizes=(300, 200))
    whole = best_balanced_accuracy(*game, seed=1)
    monkeypatch.setattr("hardlabel.metrics.rates.CELLS_IN_MEMORY", 5000)
    blocks = best_balanced_accuracy(*game, seed=1)
    # Other draws, the same distribution: the 97.5 % point of 1,000 draws of a gain with a standard deviation
    # of about .013 has a standard error of about .001.
    assert blocks.low == pytest.approx(whole.low, abs=4 * sqrt(2) * 0.001)


# TPR at an FPR


@pytest.mark.parametrize(
    ("game", "fpr"),
    [
        ({"shift": 0.3, "scale": 1.5, "sizes": (200, 1000)}, 0.01),
        ({"shift": 2.5, "sizes": (1000, 1000)}, 0.01),
        ({"shift": 1.0, "sizes": (100, 100)}, 0.1),
        ({"shift": 0.0, "sizes": (500, 300)}, 0.1),
        ({"shift": 1.0, "sizes": (1000, 1000), "step": 0.25}, 0.01),
    ],
)
def test_tpr_at_fpr_covers(game, fpr):
    # Conservative where few members are found: a count of a few cannot be covered exactly.
    rng = np.random.default_rng(10)
    alarms, hits = population_curve(**{k: v for k, v in game.items() if k != "sizes"})
    found = [tpr_at_fpr(*play(rng, **game), fpr, seed=k, resamples=2000) for k in range(400)]
    assert_covers(found, hits[alarms <= fpr].max(), conservative=True)


@pytest.mark.parametrize("step", [None, 0.5])
def test_precision_at_the_operating_point_covers(step):
    rng, prior, fpr = np.random.default_rng(11), 0.05, 0.05
    alarms, hits = population_curve(shift=1.5, step=step)
    best = np.argmax(np.where(alarms <= fpr, hits, 0))
    truth = prior * hits[best] / (prior * hits[best] + (1 - prior) * alarms[best])
    games = [play(rng, shift=1.5, sizes=(400, 600), step=step) for _ in range(400)]
    found = [operating_point(*g, fpr, prior=prior, seed=k, resamples=2000).precision for k, g in enumerate(games)]
    assert_covers(found, truth, conservative=True)


def brute_force_tprs(scores, member, fpr, draws, rng):
    """The same bootstrap the long way: a random weight for every sample, and every threshold tried."""
    inside, outside = scores[member], np.sort(scores[~member])[::-1]
    cuts = np.append(np.inf, np.unique(scores)[::-1])
    called_outside = (outside >= cuts[:, None]).sum(1)
    tprs = []
    for _ in range(draws):
        gaps = rng.exponential(size=len(outside) + 1)
        population = np.append(0, np.cumsum(gaps) / gaps.sum())  # FPR just past 0, 1, ... non-members.
        allowed = population[called_outside + rng.integers(0, 2)] <= fpr
        cut = cuts[allowed][-1] if allowed.any() else np.inf
        weights, half = rng.exponential(size=len(inside)), rng.gamma(0.5, size=2)
        tprs.append((weights[inside >= cut].sum() + half[0]) / (weights.sum() + half.sum()))
    return np.array(tprs)


@pytest.mark.parametrize("confidence", [0.95, 0.5])
@pytest.mark.parametrize("step", [None, 0.5])
def test_tpr_at_fprs_interval_is_that_of_weights_drawn_one_by_one(step, confidence):
    rng = np.random.default_rng(12)
    scores, member = play(rng, shift=1, sizes=(300, 100), step=step)
    found, draws = tpr_at_fpr(scores, member, 0.1, seed=0, confidence=confidence), 4000
    tprs = brute_force_tprs(scores, member, 0.1, draws, rng)
    # Four standard errors of a tail's share: of 4,000 draws here and of 10,000 there.
    tail = (1 - confidence) / 2
    tolerance = 4 * sqrt(tail * (1 - tail) * (1 / draws + 1 / 10_000))
    if step is None or confidence <= 0.5:
        assert (tprs < found.low).mean() == pytest.approx(tail, abs=tolerance)
        assert (tprs > found.high).mean() == pytest.approx(tail, abs=tolerance)
    else:  # Where scores tie it is no narrower than bounds that hold for the worst ties.
        low, high = tpr_bounds(scores, member, 0.1, confidence=confidence)
        assert (tprs < found.low).mean() < tail + tolerance
        assert (tprs > found.high).mean() < tail + tolerance
        assert found.low <= low < high <= found.high


def test_the_threshold_adds_its_noise_to_tpr_at_fpr():
    # Seen as given, the threshold's TPR has Wilson's interval. Here its own noise, of 10 false alarms, is larger.
    scores, member = play(np.random.default_rng(13), shift=2.5, sizes=(1000, 1000))
    found = tpr_at_fpr(scores, member, 0.01, seed=0)
    bare = rate_interval(round(found.value * 1000), 1000)
    assert found.value == tpr_at(scores, member, 0.01)
    assert found.high - found.low > 2 * (bare.high - bare.low)


@pytest.mark.parametrize(("fpr", "nonmembers", "needed"), [(0.01, 999, 1000), (0.001, 500, 10000), (0.1, 99, 100)])
def test_an_fpr_of_fewer_than_ten_false_alarms_is_not_resolved(fpr, nonmembers, needed):
    found = tpr_at_fpr(*groups(np.ones(50), np.zeros(nonmembers)), fpr, seed=0)
    assert found.value is None
    assert found.note == f"needs {needed} non-members, got {nonmembers}"
    assert tpr_at_fpr(*groups(np.ones(50), np.zeros(needed)), fpr, seed=0).value == 1


def test_intervals_at_the_extremes_have_a_width():
    perfect = operating_point(*groups(np.ones(500), np.zeros(1000)), 0.01, prior=0.01, seed=0)
    useless = operating_point(*groups(np.zeros(500), np.ones(1000)), 0.01, prior=0.01, seed=0)
    assert perfect.tpr.value == perfect.tpr.high == perfect.precision.value == perfect.precision.high == 1
    # Nobody of 500 missed, nobody of 1,000 called: the rule of three, give or take what a bound at one end
    # of a two-sided interval adds, Jeffreys' half counts take, or the widening for ties adds.
    assert 1 - 4.5 / 500 < perfect.tpr.low < 1 - 2 / 500
    assert 0.01 / (0.01 + 0.99 * 4 / 1000) < perfect.precision.low < 0.01 / (0.01 + 0.99 * 2 / 1000)
    assert useless.tpr.value == useless.tpr.low == 0
    assert 2 / 500 < useless.tpr.high < 4.5 / 500
    assert useless.precision.value is None


def test_precision_at_the_operating_point_uses_the_false_alarms_seen():
    # 30 of 100 members lead, with 2 of 1,000 non-members among them; the rest is one tie.
    scores, member = groups(np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [2, 998]))
    point = operating_point(scores, member, 0.01, prior=0.1, seed=0)
    assert point.tpr.value == 0.3
    assert isclose(point.precision.value, 0.1 * 0.3 / (0.1 * 0.3 + 0.9 * 0.002))


# Properties of all


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_neither_order_nor_an_increasing_transformation_changes_an_interval(seed, data):
    rng = np.random.default_rng(data)
    scores, member = play(rng, shift=1, sizes=(40, 120), step=0.5)
    order = rng.permutation(len(scores))
    moved, moved_member = np.exp(scores[order]), member[order]
    assert auc_interval(scores, member) == auc_interval(moved, moved_member)
    assert tpr_at_fpr(scores, member, 0.1, seed=seed, resamples=200) == tpr_at_fpr(
        moved, moved_member, 0.1, seed=seed, resamples=200
    )
    assert best_balanced_accuracy(scores, member, seed=seed, resamples=50) == best_balanced_accuracy(
        moved, moved_member, seed=seed, resamples=50
    )


def test_a_seed_fixes_a_bootstrap_and_another_changes_it():
    game = play(np.random.default_rng(14), shift=1, sizes=(200, 200))
    for metric in (
        lambda seed: tpr_at_fpr(*game, 0.1, seed=seed),
        lambda seed: best_balanced_accuracy(*game, seed=seed),
    ):
        assert metric(1) == metric(1)
        assert metric(1).value == metric(2).value
        assert metric(1) != metric(2)


def test_more_confidence_widens_every_interval():
    scores, member = play(np.random.default_rng(15), shift=1, sizes=(100, 120))
    second = play(np.random.default_rng(16), shift=1, sizes=(100, 120))[0]
    for metric in (
        lambda c: auc_interval(scores, member, confidence=c),
        lambda c: auc_interval(member.astype(float), member, confidence=c),
        lambda c: auc_difference(scores, second, member, confidence=c),
        lambda c: tpr_at_fpr(scores, member, 0.1, seed=0, confidence=c),
        lambda c: best_balanced_accuracy(scores, member, seed=0, confidence=c),
        lambda c: rate_interval(3, 10, confidence=c),
        lambda c: at_threshold(scores, member, 0.5, prior=0.1, confidence=c).precision,
        lambda c: operating_point(scores, member, 0.1, prior=0.1, seed=0, confidence=c).precision,
    ):
        wide, narrow = metric(0.99), metric(0.8)
        assert wide.low < narrow.low
        assert wide.high >= narrow.high
        assert wide.value == narrow.value


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, m: tpr_at_fpr(s, m, 0.0, seed=0), "fpr must lie strictly between 0 and 1, got 0"),
        (lambda s, m: tpr_at_fpr(s, m, 0.1, seed=0, resamples=0), "resamples must be at least 1, got 0"),
        (lambda s, m: best_balanced_accuracy(s, m, seed=0, resamples=0), "resamples must be at least 1, got 0"),
        (lambda s, m: auc_interval(s, m, confidence=1.0), "confidence must lie strictly between 0 and 1"),
        (lambda s, m: auc_interval(s * np.nan, m), "scores must not be NaN"),
        (lambda s, m: auc_difference(s, s[1:], m), "lengths must agree"),
        (lambda s, m: at_threshold(s, m, np.nan, prior=0.1), "threshold must be a number, got NaN"),
        (lambda s, m: at_threshold(s, m, 0.0, prior=0.0), "prior must lie strictly between 0 and 1, got 0"),
        (lambda s, m: rate_interval(4, 3), "hits must lie between 0 and of = 3, got 4"),
        (lambda s, m: rate_interval(0, 0), "of must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(InvalidInput, match=message):
        call(np.array([0.0, 1.0]), np.array([True, False]))

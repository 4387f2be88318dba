"""Figures over several targets: naive twins and closed forms first, then coverage on a game of known truth.

A coverage test counts the intervals that miss the recipe's true figure. The misses of an exact 95 % interval are
binomial, so they must lie between the binomial's .05 % and 99.95 % points, or only below the upper one where the
method is conservative by design.
"""

from itertools import permutations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, mannwhitneyu, norm, t

from hardlabel.checks import InvalidInput
from hardlabel.metrics import crossed, intervals
from hardlabel.metrics.crossed import auc_difference, aucs, mean_auc, null_z, pooled_tpr, spread, tpr_ratio
from hardlabel.metrics.roc import auc, tpr_at

unhurried = settings(deadline=None)  # Time is never asserted: machines are shared.

# The game: score = shared by all targets + noise + scale * gain of a member, where gains differ between targets
# and between samples. Nothing else is random, so that all figures of the recipe have closed forms.
GAIN, SHARED, TARGETS, SAMPLES = 0.8, 0.7, 0.3, 0.5


def play(rng, targets, samples, *, scales=(1.0,), vary=TARGETS, peculiar=SAMPLES, pairs=False):
    """Attacks that weight the gain by `scales`, and who was inside; targets are halves, or complementary pairs."""
    half = np.arange(samples) < samples // 2
    inside = np.array([rng.permutation(half) for _ in range(targets // (1 + pairs))])
    if pairs:
        inside = np.concatenate([inside, ~inside])
    gain = GAIN + rng.normal(0, vary, (targets, 1)) + rng.normal(0, peculiar, (1, samples))
    shared = rng.normal(0, SHARED, (1, samples))
    own = sqrt(1 - SHARED**2)
    return *(shared + rng.normal(0, own, inside.shape) + scale * gain * inside for scale in scales), inside


def true_auc(scale=1.0, vary=TARGETS, peculiar=SAMPLES):
    return norm.cdf(scale * GAIN / sqrt(2 + scale**2 * (vary**2 + peculiar**2)))


def true_tpr(fpr, scale=1.0):
    return norm.sf((norm.isf(fpr) - scale * GAIN) / sqrt(1 + scale**2 * (TARGETS**2 + SAMPLES**2)))


def misses(estimates, truth):
    return sum(not e.low <= truth <= e.high for e in estimates)


def assert_covers(estimates, truth, *, conservative=False):
    missed = misses(estimates, truth)
    assert missed <= binom.ppf(0.9995, len(estimates), 0.05), missed / len(estimates)
    assert conservative or missed >= binom.ppf(0.0005, len(estimates), 0.05), missed / len(estimates)


@st.composite
def tables(draw, attacks=1):
    """Scores of few levels, so with many ties, and membership with two or more of each kind in every row."""
    targets, samples = draw(st.integers(1, 4)), draw(st.integers(4, 8))
    levels = st.sampled_from([-float("inf"), -1.0, 0.0, 0.5, 2.0])
    rows = st.lists(levels, min_size=samples, max_size=samples)
    scores = [np.array(draw(st.lists(rows, min_size=targets, max_size=targets))) for _ in range(attacks)]
    kinds = st.permutations([True, True, False, False, True, False, False, True][:samples])
    return *scores, np.array([draw(kinds) for _ in range(targets)])


# AUC


@unhurried
@given(tables())
def test_aucs_are_those_of_the_targets_one_by_one(table):
    scores, inside = table
    assert aucs(scores, inside).tolist() == [auc(s, m) for s, m in zip(scores, inside, strict=True)]


def test_the_mean_and_the_spread_are_those_of_the_aucs():
    scores, inside = play(np.random.default_rng(0), 5, 60)
    alone = [auc(s, m) for s, m in zip(scores, inside, strict=True)]
    assert mean_auc(scores, inside).value == pytest.approx(np.mean(alone))
    assert spread(scores, inside).value == pytest.approx(np.std(alone, ddof=1))
    assert spread(scores[:1], inside[:1]).value is None


def naive_influence(scores, inside):
    """DeLong's components from all pairs, scaled so that their squares sum to his variance."""
    out = np.zeros(scores.shape)
    for row, s, m in zip(out, scores, inside, strict=True):
        won = (s[m][:, None] > s[~m]) + 0.5 * (s[m][:, None] == s[~m])
        for own, shares in ((m, won.mean(1)), (~m, won.mean(0))):
            row[own] = (shares - shares.mean()) / sqrt(len(shares) * (len(shares) - 1))
    return out


def naive_half_width(values, influence):
    """The textbook's sums for readers and cases, target by target, for splits that are all different."""
    targets = len(values)
    own = np.var(values, ddof=1) / targets
    covariance = np.mean([influence[a] @ influence[b] for a, b in permutations(range(targets), 2)])
    alone = np.sum(influence.mean(0) ** 2)
    variance = max(own + max(covariance, 0), alone)
    return sqrt(variance) * t.ppf(0.975, (targets - 1) * (variance / own) ** 2)


@pytest.mark.parametrize("seed", range(6))
def test_intervals_are_those_of_the_naive_twin(seed):
    # Differing strengths of the two sources, and ties, make either floor of the variance matter in some games.
    rng = np.random.default_rng(seed)
    first, second, inside = play(rng, 5, 40, scales=(1.0, 0.5), vary=0.5 * (seed % 2), peculiar=seed / 3)
    first, second = np.round(first), np.round(second, 1)
    found, difference = mean_auc(first, inside), auc_difference(first, second, inside)
    a, b = (np.array([auc(s, m) for s, m in zip(x, inside, strict=True)]) for x in (first, second))
    reach = naive_half_width(a, naive_influence(first, inside)) / (a.mean() * (1 - a.mean()))
    odds = a.mean() / (1 - a.mean())
    assert found.high / (1 - found.high) == pytest.approx(odds * np.exp(reach))
    assert found.low / (1 - found.low) == pytest.approx(odds * np.exp(-reach))
    reach = naive_half_width(a - b, naive_influence(first, inside) - naive_influence(second, inside))
    assert difference.value == pytest.approx((a - b).mean())
    assert (difference.low, difference.high) == pytest.approx(((a - b).mean() - reach, (a - b).mean() + reach))


@unhurried
@given(tables(attacks=2))
def test_one_target_gets_delongs_intervals_and_a_note(table):
    first, second, inside = (x[:1] for x in table)
    for found, alone in (
        (mean_auc(first, inside), intervals.auc_interval(first[0], inside[0])),
        (auc_difference(first, second, inside), intervals.auc_difference(first[0], second[0], inside[0])),
    ):
        assert (found.value, found.low, found.high) == pytest.approx((alone.value, alone.low, alone.high), abs=1e-12)
        assert "samples" in found.note or "combined" in found.note


@pytest.mark.parametrize("targets", [8, 14])
def test_intervals_over_targets_and_samples_cover_the_recipes_auc(targets):
    rng = np.random.default_rng(targets)
    games = [play(rng, targets, 80, scales=(1.0, 0.6)) for _ in range(200)]
    assert_covers([mean_auc(a, inside) for a, _, inside in games], true_auc())
    # Attacks that share their targets differ mostly by what the cells add, which the floors overstate.
    differences = [auc_difference(a, b, inside) for a, b, inside in games[:100]]
    assert_covers(differences, true_auc() - true_auc(0.6), conservative=True)


def test_intervals_that_forget_the_targets_do_not_cover():
    # The same games, as if 14 times as many samples had been attacked on one target. The tests above can fail.
    rng = np.random.default_rng(14)
    pooled = [intervals.auc_interval(a.ravel(), m.ravel()) for a, m in (play(rng, 14, 80) for _ in range(100))]
    assert misses(pooled, true_auc()) > 20


def test_targets_that_differ_by_chance_only_are_covered():
    rng = np.random.default_rng(1)
    found = [mean_auc(*play(rng, 8, 80, vary=0.0, peculiar=0.0)) for _ in range(100)]
    assert_covers(found, true_auc(vary=0, peculiar=0), conservative=True)


def test_complementary_pairs_get_the_interval_of_their_means():
    scores, inside = play(np.random.default_rng(2), 10, 60, pairs=True)
    values, influence = aucs(scores, inside), naive_influence(scores, inside)
    values, influence = (values[:5] + values[5:]) / 2, (influence[:5] + influence[5:]) / 2
    reach = naive_half_width(values, influence) / (values.mean() * (1 - values.mean()))
    odds = values.mean() / (1 - values.mean())
    found = mean_auc(scores, inside)
    assert found.high / (1 - found.high) == pytest.approx(odds * np.exp(reach))
    assert found.low / (1 - found.low) == pytest.approx(odds * np.exp(-reach))


def test_complementary_pairs_are_covered():
    # A sample that helps one half harms the other, so that pairs agree more than targets do.
    rng = np.random.default_rng(3)
    found = [mean_auc(*play(rng, 14, 80, pairs=True)) for _ in range(150)]
    assert_covers(found, true_auc(), conservative=True)


def test_both_halves_of_one_split_are_one_draw():
    scores, inside = play(np.random.default_rng(3), 2, 60, pairs=True)
    assert mean_auc(scores, inside).note == "one split of the pool: the interval is over samples only"
    again = np.vstack([inside[:1], inside[:1]])
    assert mean_auc(scores, again).note == "one split of the pool: the interval is over samples only"


@unhurried
@given(tables(), st.randoms())
def test_the_order_of_samples_does_not_matter(table, random):
    scores, inside = table
    order = list(range(inside.shape[1]))
    random.shuffle(order)
    assert mean_auc(scores[:, order], inside[:, order]) == mean_auc(scores, inside)
    moved = pooled_tpr(scores[:, order], inside[:, order], 0.9, seed=0, resamples=50)
    assert moved == pooled_tpr(scores, inside, 0.9, seed=0, resamples=50)


def test_perfect_and_constant_scores_get_an_interval_with_a_width():
    _, inside = play(np.random.default_rng(4), 3, 40)
    perfect, constant = mean_auc(inside.astype(float), inside), mean_auc(np.full(inside.shape, 0.1), inside)
    assert perfect.low < perfect.value == perfect.high == 1
    assert constant.low < constant.value == 0.5 < constant.high
    assert "no variance" in perfect.note
    assert "no variance" in constant.note


def test_attacks_that_rank_alike_differ_by_exactly_nothing_and_perfect_ones_perhaps():
    scores, inside = play(np.random.default_rng(5), 3, 40)
    same = auc_difference(scores, np.exp(scores), inside)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    perfect = auc_difference(inside + 0.1 * np.tanh(scores), inside.astype(float), inside)
    assert perfect.value == 0
    assert perfect.low < 0 < perfect.high


def test_a_single_member_gives_a_figure_without_an_interval():
    inside = np.array([[True, False, False, False], [True, True, False, False]])
    scores = np.array([[1.0, 0, 2, 0], [1, 2, 0, 3]])
    for found in (mean_auc(scores, inside), auc_difference(scores, -scores, inside)):
        assert found.value is not None
        assert found.low is found.high is None
        assert "single member" in found.note


# The null test


@unhurried
@given(tables())
def test_null_zs_are_those_of_the_rank_sum_test(table):
    scores, inside = table
    for z, s, m in zip(null_z(scores, inside), scores, inside, strict=True):
        if len(set(s)) == 1:
            assert np.isnan(z)
            continue
        twin = mannwhitneyu(s[m], s[~m], method="asymptotic", use_continuity=False)
        assert 2 * norm.sf(abs(z)) == pytest.approx(twin.pvalue)
        assert np.sign(z) == np.sign(auc(s, m) - 0.5)


def test_null_zs_of_scores_without_ties_have_the_closed_form():
    rng = np.random.default_rng(6)
    scores, inside = rng.normal(size=(3, 30)), np.array([rng.permutation(np.arange(30) < 12) for _ in range(3)])
    assert null_z(scores, inside) == pytest.approx((aucs(scores, inside) - 0.5) / sqrt(31 / (12 * 12 * 18)))


# TPR at an FPR


def naive_draw(scores, inside, fpr, targets, samples):
    """The pooled TPR of a draw, its cells written out as often as they were drawn."""
    times = np.outer(targets, samples).ravel()
    cells, member = np.repeat(scores.ravel(), times), np.repeat(inside.ravel(), times)
    return tpr_at(cells, member, fpr) if member.any() and not member.all() else np.nan


@unhurried
@given(tables(), st.sampled_from([0.1, 0.25, 0.5, 0.75]), st.integers(0, 100))
def test_a_draws_rate_is_that_of_its_cells_written_out(table, fpr, seed):
    scores, inside = table
    rng = np.random.default_rng(seed)
    targets, samples = rng.integers(0, 3, (inside.shape[0], 4)), rng.integers(0, 3, (inside.shape[1], 4))
    found = crossed._Pool(scores, inside).tpr_at(fpr, targets, samples)
    twin = [naive_draw(scores, inside, fpr, a, b) for a, b in zip(targets.T, samples.T, strict=True)]
    np.testing.assert_array_equal(found, twin)


def test_a_rate_is_found_however_deep_the_threshold_lies():
    # The first search looks at 3 times as many non-members as are tolerated, and 50; here that is too few.
    scores, inside = np.arange(4000.0)[None], np.arange(4000)[None] % 2 == 0
    samples = np.where(np.arange(4000) < 1000, 5, 0)[:, None]  # Only the lowest are drawn.
    found = crossed._Pool(scores, inside).tpr_at(0.01, np.ones((1, 1), int), samples)
    assert found == naive_draw(scores, inside, 0.01, np.ones(1, int), samples[:, 0])


def test_the_pooled_rate_is_that_of_one_threshold_for_all_targets_and_never_interpolated():
    scores, inside = play(np.random.default_rng(7), 6, 80)
    scores = np.round(scores)
    found = pooled_tpr(scores, inside, 0.1, seed=0, resamples=100)
    assert found.value == tpr_at(scores.ravel(), inside.ravel(), 0.1)
    assert found.low < found.value < found.high
    # A tie too large for the rate is not split: nobody is called.
    nobody = pooled_tpr(np.zeros(inside.shape), inside, 0.1, seed=0, resamples=100)
    assert nobody.value == nobody.low == 0 < nobody.high


def test_pooled_rates_and_ratios_cover():
    rng = np.random.default_rng(8)
    rates, ratios = [], []
    for seed in range(100):
        first, second, inside = play(rng, 8, 120, scales=(1.0, 0.6))
        rates.append(pooled_tpr(first, inside, 0.05, seed=seed, resamples=200))
        ratios.append(tpr_ratio(first, second, inside, 0.05, seed=seed, resamples=200))
    assert_covers(rates, true_tpr(0.05), conservative=True)
    assert_covers(ratios, true_tpr(0.05) / true_tpr(0.05, 0.6), conservative=True)
    # Not by being of any width: the mean rate is resolved to about its own size (.23; a half-width of .12).
    assert np.mean([e.high - e.low for e in rates]) < true_tpr(0.05) * 1.3


def test_the_bootstrap_draws_targets_too():
    # Targets that differ only as wholes: with their samples alone redrawn, the rate would not move by this much.
    _, inside = play(np.random.default_rng(9), 8, 400)
    found = np.arange(8)[:, None] < 4  # Four targets give all members away, four give none.
    scores = np.where(inside & found, 2.0, 0.0) + np.random.default_rng(10).uniform(0, 1, inside.shape)
    estimate = pooled_tpr(scores, inside, 0.01, seed=0)
    # The share of 8 targets drawn anew that give members away has a standard deviation of .5 / sqrt(8); its
    # interval reaches at least two of them.
    assert estimate.value == pytest.approx(0.5, abs=0.02)
    assert estimate.high - estimate.low > 4 * 0.5 / sqrt(8)


def test_a_ratio_is_paired_and_one_for_the_same_attack():
    scores, inside = play(np.random.default_rng(11), 6, 120)
    same = tpr_ratio(scores, np.exp(scores), inside, 0.05, seed=0, resamples=100)
    assert (same.value, same.low, same.high) == (1, 1, 1)


def test_a_ratio_without_a_denominator_is_undefined():
    scores, inside = play(np.random.default_rng(12), 6, 120)
    found = tpr_ratio(scores, np.zeros(inside.shape), inside, 0.05, seed=0, resamples=100)
    assert found.value is None
    assert "second attack finds no member" in found.note
    none = tpr_ratio(np.zeros(inside.shape), scores, inside, 0.05, seed=0, resamples=100)
    assert (none.value, none.low, none.high) == (0, 0, None)


def test_a_denominator_that_few_draws_find_leaves_no_upper_end():
    # One member of one target is found by the second attack: most draws leave it out or in another number.
    scores, inside = play(np.random.default_rng(13), 6, 120)
    second = np.zeros(inside.shape)
    second[0, inside[0].argmax()] = 1
    found = tpr_ratio(scores, second, inside, 0.05, seed=0, resamples=100)
    assert found.value > 1
    assert found.high is None
    assert "second" in found.note
    # Against itself it is 1 where the member is drawn, and anything elsewhere.
    itself = tpr_ratio(second, second, inside, 0.05, seed=0, resamples=100)
    assert (itself.value, itself.low, itself.high) == (1, 0, None)


def test_a_pool_too_small_for_the_rate_gives_no_figure():
    scores, inside = play(np.random.default_rng(14), 5, 100)  # 250 non-members: 2.5 false alarms at 1 %.
    for found in (pooled_tpr(scores, inside, 0.01, seed=0), tpr_ratio(scores, -scores, inside, 0.01, seed=0)):
        assert found.value is None
        assert found.note == "needs 1000 non-members over all targets, got 250"
    assert pooled_tpr(scores, inside, 0.04, seed=0, resamples=10).value is not None  # Exactly 10.


def test_few_splits_are_noted_and_one_target_gets_its_own_interval():
    scores, inside = play(np.random.default_rng(15), 4, 200)
    assert "4 splits" in pooled_tpr(scores, inside, 0.1, seed=0, resamples=10).note
    one = pooled_tpr(scores[:1], inside[:1], 0.1, seed=3)
    alone = intervals.tpr_at_fpr(scores[0], inside[0], 0.1, seed=3, resamples=crossed.RESAMPLES)
    assert (one.value, one.low, one.high) == (alone.value, alone.low, alone.high)
    assert one.note == "one target: the interval is over samples only"


def test_the_seed_fixes_the_interval():
    scores, inside = play(np.random.default_rng(16), 6, 80)
    found = pooled_tpr(scores, inside, 0.1, seed=0, resamples=120)
    assert pooled_tpr(scores, inside, 0.1, seed=0, resamples=120) == found
    assert pooled_tpr(scores, inside, 0.1, seed=1, resamples=120) != found


# Errors

GOOD = np.array([[True, False, True], [False, True, True]])
FIGURES = {
    "aucs": aucs,
    "null_z": null_z,
    "mean_auc": mean_auc,
    "auc_difference": lambda scores, inside: auc_difference(scores, scores, inside),
    "pooled_tpr": lambda scores, inside: pooled_tpr(scores, inside, 0.5, seed=0),
    "tpr_ratio": lambda scores, inside: tpr_ratio(scores, scores, inside, 0.5, seed=0),
}


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    ("scores", "inside", "message"),
    [
        (np.zeros((2, 4)), GOOD, r"shapes must agree: (scores|first) has \(2, 4\), inside has \(2, 3\)"),
        (np.zeros(3), GOOD[0], r"inside must have a row per target, a column per sample, got shape \(3,\)"),
        (np.zeros((0, 3)), GOOD[:0], r"got shape \(0, 3\)"),
        (np.array([[0, 1, 2], [0, np.nan, 1]]), GOOD, "got NaN for target 1, sample 1"),
        (np.zeros((2, 3)), GOOD | [[False], [True]], "target 1 has members only"),
        (np.zeros((2, 3)), GOOD & [[False], [True]], "target 0 has non-members only"),
        (np.zeros((2, 3)), GOOD.astype(int), "inside must be bool, got int64"),
    ],
)
def test_bad_input_is_refused(figure, scores, inside, message):
    with pytest.raises(InvalidInput, match=message):
        FIGURES[figure](scores, inside)


def test_settings_out_of_range_are_refused():
    scores, inside = play(np.random.default_rng(17), 3, 20)
    with pytest.raises(InvalidInput, match="confidence must lie strictly between 0 and 1, got 1"):
        mean_auc(scores, inside, confidence=1)
    with pytest.raises(InvalidInput, match="fpr must lie strictly between 0 and 1, got 0"):
        pooled_tpr(scores, inside, 0, seed=0)
    with pytest.raises(InvalidInput, match="resamples must be at least 1, got 0"):
        tpr_ratio(scores, scores, inside, 0.5, seed=0, resamples=0)

"""Finding members at a false discovery rate: twins and closed forms; that the rate is kept: test_epsilon_study."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, fisher_exact

from hardlabel.checks import InvalidInput
from hardlabel.metrics import discovery
from hardlabel.metrics.discovery import (
    conformal_p_values,
    discover,
    exposed,
    games_p_values,
    members_among,
    reference_p_values,
)
from hardlabel.randomness import numpy_generator

BINARY = st.lists(st.booleans(), min_size=8, max_size=8)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12), rate=st.floats(0.01, 0.9))
@pytest.mark.parametrize("dependence", ["positive", "any"])
def test_the_points_found_are_those_below_the_last_crossing(p, rate, dependence):
    n = len(p)
    share = rate if dependence == "positive" else rate / sum(1 / k for k in range(1, n + 1))
    ordered = sorted(p)
    crossings = [k for k in range(1, n + 1) if ordered[k - 1] <= share * k / n]
    if any(abs(ordered[k - 1] - share * k / n) < 1e-12 for k in range(1, n + 1)):
        return  # On the very line rounding decides.
    found = discover(np.array(p), rate=rate, dependence=dependence)
    last = ordered[crossings[-1] - 1] if crossings else -1.0
    assert found.found.tolist() == [value <= last for value in p]


def test_conformal_p_values_rank_among_nonmembers_and_ties_count_against():
    known = np.array([0.0, 1.0, 1.0, 2.0])
    scores = np.array([-1.0, 1.0, 1.5, 2.0, np.inf])
    np.testing.assert_allclose(conformal_p_values(scores, known), np.array([5, 4, 2, 2, 1]) / 5)


@pytest.mark.parametrize("step", [None, 1.0])
def test_p_values_of_nonmembers_are_no_smaller_than_uniform(step):
    rng, games = np.random.default_rng(0), 4000
    scores = rng.normal(size=(games, 20))
    scores = scores if step is None else np.floor(scores / step)
    p = np.array([conformal_p_values(row[:1], row[1:])[0] for row in scores])
    for level in (0.05, 0.1, 0.5):
        assert (p <= level).sum() <= binom.ppf(0.999, games, level)
        assert step or (p <= level).sum() >= binom.ppf(0.001, games, level)


def test_own_references_rank_among_models_without_the_point():
    scores = np.array([1.0, 1.0])
    references = np.array([[0.0, 5.0], [2.0, 5.0], [9.0, 1.0], [9.0, 0.0]])
    inside = np.array([[False, True], [False, True], [True, False], [True, False]])
    np.testing.assert_allclose(reference_p_values(scores, references, inside), [2 / 3, 2 / 3])


@given(calls=BINARY, inside=BINARY)
def test_games_are_judged_by_fishers_exact_test(calls, inside):
    calls, inside = np.array(calls), np.array(inside)
    if inside.all() or not inside.any():
        return
    table = [[(calls & inside).sum(), (~calls & inside).sum()], [(calls & ~inside).sum(), (~calls & ~inside).sum()]]
    [p] = games_p_values(calls[:, None], inside[:, None])
    assert p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


@given(calls=BINARY, first=st.lists(st.booleans(), min_size=4, max_size=4))
def test_paired_games_are_judged_by_the_pairs_that_disagree(calls, first):
    inside = np.array([[one, not one] for one in first]).ravel()
    calls = np.array(calls)
    pairs = [(calls[2 * p + (not one)], calls[2 * p + one]) for p, one in enumerate(first)]  # (inside, outside)
    right, wrong = pairs.count((True, False)), pairs.count((False, True))
    truth = binomtest(right, right + wrong, 0.5, alternative="greater").pvalue if right + wrong else 1.0
    [p] = games_p_values(calls[:, None], inside[:, None], pairs=True)
    assert p == pytest.approx(truth)


def test_the_exposed_are_found_with_an_interval_of_their_own():
    """Point 0 is called when inside and never else; points 1 to 9 are called in half of the games of each kind."""
    inside = np.tile((np.arange(40) < 20)[:, None], (1, 10))
    calls = np.tile((np.arange(40) % 2 == 0)[:, None], (1, 10))
    calls[:, 0] = inside[:, 0]
    found = exposed(calls, inside, rate=0.1)
    assert found.found.tolist() == [True] + [False] * 9
    assert found.confidence == pytest.approx(1 - 0.1 / 10)
    low = 2 * (0.01 / 4) ** (1 / 20) - 1  # From Clopper-Pearson's ends where all of 20 games hit and none does.
    first = found.advantages[0]
    assert (first.value, first.low, first.high) == pytest.approx((1.0, low, 1.0))
    assert all(-1 <= one.low <= one.value <= one.high <= 1 for one in found.advantages)
    strict = exposed(calls, inside, rate=0.1, dependence="any")
    assert strict.confidence > found.confidence


def test_intervals_of_those_found_miss_no_more_often_than_the_rate():
    """Weakly exposed points, found by luck where they are: plain intervals of those found would miss too often."""
    rng, rate, games = np.random.default_rng(0), 0.2, 150
    truth = np.where(np.arange(20) < 10, 0.3, 0.0)
    shares = []
    for _ in range(games):
        inside = rng.random((40, 20)) < 0.5
        found = exposed(rng.random((40, 20)) < 0.3 + truth * inside, inside, rate=rate)
        misses = [not one.low <= true <= one.high for one, true in zip(found.advantages, truth, strict=True)]
        shares.append((found.found & misses).sum() / max(1, found.found.sum()))
    assert np.mean(shares) <= rate + 4 * np.std(shares) / games**0.5


def test_nothing_to_find_is_not_found():
    """The points' scores lie among the non-members' as evenly as can be, or are all equal."""
    known = np.arange(3000.0)
    assert not members_among(known[5::10], known, rate=0.1).found.any()
    assert not members_among(np.ones(300), np.ones(3000), rate=0.1).found.any()
    assert members_among(np.append(known[5::10], 3000.0 + np.arange(30)), known, rate=0.1).found.sum() >= 30


POINTS, KNOWN = np.zeros(3), np.zeros(5)
IN = np.array([[True], [False]])


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (lambda: discover(np.array([0.1, 1.1]), rate=0.1), "p_values must lie in \\[0, 1\\], got 1.1 at position 1"),
        (lambda: discover(np.array([np.nan]), rate=0.1), "p_values"),
        (lambda: discover(np.array([]), rate=0.1), "not empty"),
        (lambda: discover(POINTS, rate=0.0), "rate"),
        (lambda: discover(POINTS, rate=0.1, dependence="none"), "dependence 'none' is unknown"),
        (lambda: conformal_p_values(POINTS, np.array([])), "nonmembers must be one-dimensional and not empty"),
        (lambda: conformal_p_values(np.array([0, np.nan]), KNOWN), "scores must not be NaN, got NaN at position 1"),
        (lambda: reference_p_values(POINTS, np.zeros((2, 3)), np.ones((2, 3), dtype=bool)), "point 0 never is"),
        (lambda: reference_p_values(POINTS, np.zeros((2, 2)), np.ones((2, 3), dtype=bool)), "shape"),
        (lambda: reference_p_values(POINTS, np.zeros((2, 3)), np.ones((2, 3))), "bool"),
        (lambda: reference_p_values(POINTS, np.full((2, 3), np.nan), np.zeros((2, 3), dtype=bool)), "NaN"),
        (lambda: games_p_values(IN, IN[:1]), "inside must be bool of shape"),
        (lambda: games_p_values(IN.astype(int), IN), "calls must be bool"),
        (lambda: games_p_values(IN, ~IN | IN), "point 0 is not"),
        (lambda: games_p_values(np.ones((4, 1), dtype=bool), IN[[0, 0, 1, 1]], pairs=True), "opposite"),
        (lambda: games_p_values(np.ones((3, 1), dtype=bool), IN[[0, 1, 1]], pairs=True), "opposite"),
    ],
)
def test_bad_input_is_refused_by_name(act, told):
    with pytest.raises(InvalidInput, match=told):
        act()


# --- games of complementary pairs, called by a point's own values ---


def paired_values(pairs, points, effect, rng):
    """Values of 2 * pairs targets about points, each with a difficulty of its own; inside adds `effect`."""
    half = rng.random((pairs, points)) < 0.5
    inside = np.stack([half, ~half], 1).reshape(2 * pairs, points)
    return rng.normal(size=(2 * pairs, points)) + 3 * rng.normal(size=points) + effect * inside, inside


def test_own_calls_know_nothing_of_who_was_inside():
    values, _ = paired_values(4, 30, 0.0, numpy_generator(0, "blind"))
    calls = discovery.own_calls(values)
    for pair in range(4):
        rest = np.delete(values, [2 * pair, 2 * pair + 1], 0)
        np.testing.assert_array_equal(
            calls[2 * pair : 2 * pair + 2], values[2 * pair : 2 * pair + 2] >= np.median(rest, 0)
        )


def test_own_calls_keep_the_level_of_each_point():
    """Without effect each point's p-value is uniform or larger: at most 5 % of 6,000 lie at .05, but for 4 errors."""
    values, inside = paired_values(10, 6000, 0.0, numpy_generator(1, "level"))
    p = discovery.games_p_values(discovery.own_calls(values), inside, pairs=True)
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 4 * np.sqrt(level * (1 - level) / 6000)


def test_own_calls_find_exposed_points_at_their_rate():
    """A tenth of the points moves its models; over 40 games the mean share of false ones stays at the rate."""
    shares, found = [], []
    for game in range(40):
        rng = numpy_generator(game, "rate")
        effect = np.where(np.arange(400) < 40, 6.0, 0.0)
        values, inside = paired_values(10, 400, effect, rng)
        who = discovery.exposed(discovery.own_calls(values), inside, rate=0.1, pairs=True).found
        shares.append(who[40:].sum() / max(1, who.sum()))
        found.append(who[:40].mean())
    assert np.mean(shares) <= 0.1 + 4 * np.std(shares) / np.sqrt(40)
    assert np.mean(found) > 0.5


@pytest.mark.parametrize("values", [np.zeros((2, 3)), np.zeros((5, 3)), np.zeros(4), np.full((4, 3), np.nan)])
def test_own_calls_refuse_what_are_no_pairs(values):
    with pytest.raises(InvalidInput, match="values must"):
        discovery.own_calls(values)

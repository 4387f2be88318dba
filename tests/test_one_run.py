"""Bounds on epsilon from one run: published figures, a naive twin, properties; that they hold: test_epsilon_study."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from hardlabel.checks import InvalidInput
from hardlabel.metrics.one_run import coins, half_split_bound, one_run_bound, one_run_epsilon, one_run_p_value


def naive(correct, guesses, canaries, epsilon, delta):
    """The formula of the paper, term by term."""
    chance = exp(epsilon) / (1 + exp(epsilon))
    pmf = [binom.pmf(k, guesses, chance) for k in range(guesses + 1)]
    steps = [sum(pmf[correct - i : correct]) / i for i in range(1, correct + 1)]
    return min(1.0, sum(pmf[correct:]) + 2 * canaries * delta * max(steps, default=0.0))


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "published"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],
)
def test_it_reproduces_the_papers_examples(canaries, guesses, correct, delta, published):
    """Steinke et al. (2023), appendix D and section 7, to their last printed digit."""
    found = one_run_epsilon(correct, guesses, canaries=canaries, delta=delta)
    assert found == pytest.approx(published, abs=1e-3)


counts = st.integers(1, 30).flatmap(
    lambda m: st.integers(0, m).flatmap(lambda r: st.tuples(st.just(m), st.just(r), st.integers(0, r)))
)


@given(numbers=counts, epsilon=st.floats(0, 5), delta=st.sampled_from([0.0, 1e-5, 0.01, 0.5]))
def test_p_values_are_those_of_the_formula_term_by_term(numbers, epsilon, delta):
    canaries, guesses, correct = numbers
    found = one_run_p_value(correct, guesses, canaries=canaries, epsilon=epsilon, delta=delta)
    assert found == pytest.approx(naive(correct, guesses, canaries, epsilon, delta), abs=1e-9)


@given(
    numbers=counts,
    low=st.floats(0, 6),
    more=st.floats(0, 3),
    delta=st.sampled_from([0.0, 1e-6, 1e-4, 1e-3, 0.01]),
)
def test_what_refutes_an_epsilon_refutes_every_smaller_one(numbers, low, more, delta):
    """Else a bound found by a search would not be a bound."""
    canaries, guesses, correct = numbers
    first, second = (
        one_run_p_value(correct, guesses, canaries=canaries, epsilon=epsilon, delta=delta)
        for epsilon in (low, low + more)
    )
    assert first > 0.5 or first <= second + 1e-12


@given(numbers=counts, delta=st.sampled_from([0.0, 1e-4, 0.01]))
def test_the_bound_is_where_the_p_value_is_the_error(numbers, delta):
    canaries, guesses, correct = numbers
    found = one_run_epsilon(correct, guesses, canaries=canaries, delta=delta)
    p = one_run_p_value(correct, guesses, canaries=canaries, epsilon=found, delta=delta)
    assert p == pytest.approx(0.05) if found else p >= 0.05


def test_without_delta_the_bound_is_the_log_odds_of_clopper_pearson():
    low = binomtest(90, 100, alternative="greater").proportion_ci(0.95, "exact").low
    assert one_run_epsilon(90, 100, canaries=100, delta=0.0) == pytest.approx(log(low / (1 - low)))


def test_the_surest_are_guessed_on_each_side():
    inside = np.arange(100) >= 50  # The highest scores are inside, so every guess is right.
    scores = np.arange(100.0)
    for pair, correct in (((30, 20), 50), ((10, 0), 10), ((0, 7), 7)):
        found = one_run_bound(scores, inside, delta=0.0, seed=0, guesses=[pair])
        assert (found.correct, found.guesses, found.tried) == (correct, pair, 1)
        assert found.epsilon == one_run_epsilon(correct, sum(pair), canaries=100, delta=0.0)
    wrong = one_run_bound(-scores, inside, delta=0.0, seed=0, guesses=[(30, 20)])
    assert (wrong.correct, wrong.epsilon) == (0, 0)


def test_several_numbers_of_guesses_share_the_error():
    inside, scores = np.arange(100) >= 50, np.arange(100.0)
    found = one_run_bound(scores, inside, delta=0.0, seed=0, guesses=[(30, 20), (10, 0)])
    assert found.epsilon == one_run_epsilon(50, 50, canaries=100, delta=0.0, confidence=0.975)
    assert (found.guesses, found.tried) == ((30, 20), 2)


def test_order_tells_nothing_about_equal_scores():
    """All scores equal: right guesses are as many as a coin's, although the first canaries are all inside."""
    inside = np.arange(1000) < 500
    correct = [
        one_run_bound(np.zeros(1000), inside, delta=0.0, seed=seed, guesses=[(100, 100)]).correct for seed in range(50)
    ]
    assert np.mean(correct) == pytest.approx(100, abs=4 * np.sqrt(200 * 0.25 / 50))


def test_a_label_that_only_tells_outside_is_enough():
    """Scores 0 and 1: a third of the canaries outside are answered wrongly, nobody inside is."""
    rng = np.random.default_rng(0)
    inside = coins(2000, seed=0)
    scores = np.where(~inside & (rng.random(2000) < 1 / 3), 0.0, 1.0)
    found = one_run_bound(scores, inside, delta=1e-6, seed=0)
    assert found.guesses == (0, 250)
    assert found.epsilon > 3


def test_coins_are_fair_and_no_split_of_fixed_size():
    thrown = np.array([coins(100, seed=seed) for seed in range(400)])
    heads = thrown.sum(axis=1)
    assert heads.mean() == pytest.approx(50, abs=4 * np.sqrt(25 / 400))
    assert heads.var() == pytest.approx(25, abs=4 * 25 * np.sqrt(2 / 399))
    assert (coins(100, seed=3) == thrown[3]).all()


# --- a random half of a pool ---


def half(size, rng):
    inside = np.zeros(size, dtype=bool)
    inside[rng.permutation(size)[: size // 2]] = True
    return inside


def test_halves_known_for_sure_prove_half_the_log_odds_of_clopper_pearson_per_sample():
    inside = half(400, np.random.default_rng(0))
    for scores in (inside.astype(float), np.where(inside, np.inf, -np.inf)):
        found = half_split_bound(scores, inside, delta=0.0, seed=0)
        assert 70 < found.canaries < 130  # Half of 200 twos.
        assert found.correct == sum(found.guesses) == found.canaries
        expected = one_run_epsilon(
            found.correct, found.correct, canaries=found.canaries, delta=0.0, confidence=1 - 0.05 / 3
        )
        assert found.epsilon == pytest.approx(expected / 2)
    assert found.tried == 3
    with_delta = half_split_bound(inside.astype(float), inside, delta=1e-4, seed=0)
    assert 0 < with_delta.epsilon < found.epsilon
    assert half_split_bound(-inside.astype(float), inside, delta=0.0, seed=0).epsilon == 0


def test_the_bound_of_a_half_holds_for_randomised_response_and_is_no_empty_one():
    rng, epsilon, games, bounds = np.random.default_rng(2), 1.5, 200, []
    for game in range(games):
        inside = half(4000, rng)
        said = inside == (rng.random(4000) < exp(epsilon) / (1 + exp(epsilon)))
        bounds.append(half_split_bound(said.astype(float), inside, delta=1e-6, seed=game).epsilon)
    missed = np.mean(np.array(bounds) > epsilon)
    assert missed <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / games)
    assert np.mean(bounds) > 0.6 * epsilon


def test_a_half_needs_twos_that_differ():
    with pytest.raises(InvalidInput, match="none that differ"):
        half_split_bound(np.zeros(4), np.ones(4, dtype=bool), delta=0.0, seed=0)
    with pytest.raises(InvalidInput, match="NaN at position 1"):
        half_split_bound(np.array([0.0, np.nan]), np.array([True, False]), delta=0.0, seed=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scores": np.zeros(3)}, "lengths"),
        ({"scores": np.array([0.0, 1.0, np.nan, 0.0])}, "NaN at position 2"),
        ({"inside": np.array([1, 0, 1, 0])}, "inside must be one-dimensional bool"),
        ({"delta": 1.0}, "delta"),
        ({"confidence": 0.0}, "confidence"),
        ({"guesses": [(3, 2)]}, "guesses must be 0 or more and together 1 to 4, got \\(3, 2\\)"),
        ({"guesses": [(0, 0)]}, "guesses"),
        ({"guesses": []}, "at least one pair"),
    ],
)
def test_bad_input_is_refused_by_name(changes, told):
    given = {"scores": np.arange(4.0), "inside": np.array([True, False, True, False]), "delta": 0.0, "seed": 0}
    with pytest.raises(InvalidInput, match=told):
        one_run_bound(**given | changes)


@pytest.mark.parametrize(("correct", "guesses", "canaries"), [(3, 2, 5), (1, 6, 5), (-1, 2, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(correct, guesses, canaries):
    with pytest.raises(InvalidInput, match="canaries"):
        one_run_epsilon(correct, guesses, canaries=canaries, delta=0.0)


def test_no_coins_are_refused():
    with pytest.raises(InvalidInput, match="canaries must be at least 1"):
        coins(0, seed=0)

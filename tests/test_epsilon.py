"""Bounds on epsilon from many runs: closed forms and naive twins; that they hold is played in test_epsilon_study."""

from dataclasses import replace
from math import e, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binomtest, norm

from hardlabel.checks import InvalidInput
from hardlabel.metrics.epsilon import epsilon_at, epsilon_bound, gaussian_at, gaussian_bound
from hardlabel.metrics.gaussian import gaussian_delta, gaussian_epsilon

BOUNDS = (epsilon_bound, gaussian_bound)


def runs(hits, n1, alarms, n0):
    """Scores 1 for so many hits and false alarms, 0 for the other runs."""
    scores = np.concatenate([np.arange(n1) < hits, np.arange(n0) < alarms]).astype(float)
    return scores, np.repeat([True, False], [n1, n0])


def one_sided(hits, of, alternative):
    """SciPy's own Clopper-Pearson bound at 97.5 %."""
    side = binomtest(hits, of, alternative=alternative).proportion_ci(0.975, "exact")
    return side.low if alternative == "greater" else side.high


@pytest.mark.parametrize(("hits", "alarms"), [(80, 20), (100, 0), (50, 50), (3, 0)])
@pytest.mark.parametrize("delta", [0.0, 0.05])
def test_one_event_gives_what_two_clopper_pearson_bounds_prove(hits, alarms, delta):
    least, greatest = one_sided(hits, 100, "greater"), one_sided(alarms, 90, "less")
    truth = max(0.0, log(max(least - delta, 1e-300) / greatest))
    bound = epsilon_at(*runs(hits, 100, alarms, 90), 1.0, delta=delta)
    assert bound.epsilon == pytest.approx(truth)
    assert (bound.right, bound.wrong) == ((hits, 100), (alarms, 90))


def test_calling_nonmembers_turns_the_event_round():
    scores, member = runs(99, 100, 50, 90)
    bound = epsilon_at(scores, member, 1.0, delta=0.0, calls="non-members")
    assert (bound.right, bound.wrong) == ((40, 90), (1, 100))
    assert bound.epsilon == pytest.approx(log(one_sided(40, 90, "greater") / one_sided(1, 100, "less")))


def test_one_event_bounds_mu_by_the_difference_of_normal_quantiles():
    bound = gaussian_at(*runs(80, 100, 20, 90), 1.0, delta=1e-3)
    mu = norm.ppf(one_sided(80, 100, "greater")) - norm.ppf(one_sided(20, 90, "less"))
    assert bound.mu == pytest.approx(mu)
    assert bound.epsilon == pytest.approx(gaussian_epsilon(mu, 1e-3))


@pytest.mark.parametrize("mu", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0])
def test_delta_of_a_gaussian_is_the_integral_that_defines_it(mu, epsilon):
    def excess(x):
        return max(0.0, norm.pdf(x - mu) - e**epsilon * norm.pdf(x))

    start = epsilon / mu + mu / 2  # Where the likelihood ratio is e^epsilon.
    truth, error = quad(excess, start, start + 40, points=[start + 1, start + 5], epsabs=1e-14)
    assert gaussian_delta(mu, epsilon) == pytest.approx(truth, abs=1e-12 + 10 * error)


def test_epsilon_of_a_gaussian_is_the_one_accountants_give():
    """One release with noise of one sensitivity, at delta 1e-5."""
    assert gaussian_epsilon(1.0, 1e-5) == pytest.approx(4.377, abs=5e-4)


@given(mu=st.floats(0.01, 30), exponent=st.floats(-14, -0.1))
def test_epsilon_and_delta_of_a_gaussian_are_each_others_inverse(mu, exponent):
    delta = 10.0**exponent
    epsilon = gaussian_epsilon(mu, delta)
    if epsilon == 0:
        assert gaussian_delta(mu, 0.0) <= delta * (1 + 1e-9)
    else:
        assert gaussian_delta(mu, epsilon) == pytest.approx(delta, rel=1e-6)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("flip", [False, True])
def test_the_event_is_chosen_on_runs_that_do_not_prove_it(bound, flip):
    """Half of the members score far above all others, who tie; held-out runs find that, the others prove it."""
    rng = np.random.default_rng(0)
    member = np.repeat([True, False], 400)
    far = member & (rng.random(800) < 0.5)
    scores = np.where(far, rng.normal(100, 1, 800), 0.0)
    scores, member = (-scores, ~member) if flip else (scores, member)
    found = bound(scores, member, delta=1e-5, seed=0, held_out=0.25)
    assert 10 < abs(found.threshold) < 90  # Nobody is there: the cut lies midway between neighbours.
    assert (found.right[1], found.wrong[1]) == (300, 300)
    if bound is epsilon_bound:  # A Gaussian's two kinds of events prove the same mu.
        assert found.calls == ("non-members" if flip else "members")
        assert found.wrong[0] == 0
        assert abs(found.right[0] - 300 * far.sum() / 400) <= 4 * (300 * 0.25 * 0.25) ** 0.5


def test_infinite_and_neighbouring_scores_are_cut_at_a_score():
    """Between -inf and 0, or between two neighbouring numbers, nothing lies midway."""
    for low, high in ((-np.inf, 0.0), (0.0, np.inf), (1.0, np.nextafter(1.0, 2.0))):
        member = np.arange(400) < 200
        found = epsilon_bound(np.where(member, high, low), member, delta=0.0, seed=0)
        assert (found.right, found.wrong) == ((100, 100), (0, 100))


@pytest.mark.parametrize("bound", BOUNDS)
def test_on_scores_that_are_all_equal_nothing_is_proved(bound):
    found = bound(np.zeros(100), np.arange(100) < 50, delta=1e-5, seed=0)
    assert found.epsilon == 0


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.integers(1, 5),
    sizes=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    delta=st.sampled_from([0.0, 1e-5, 0.3]),
)
def test_bounds_are_finite_and_0_or_more_and_fall_as_more_certainty_is_asked(seed, kinds, sizes, delta):
    rng = np.random.default_rng(seed)
    scores, member = rng.integers(0, kinds, sum(sizes)).astype(float), np.repeat([True, False], sizes)
    for bound in BOUNDS:
        found = bound(scores, member, delta=delta or 1e-9, seed=seed)
        assert 0 <= found.epsilon < np.inf
        doubled = bound(2 * scores, member, delta=delta or 1e-9, seed=seed)
        assert replace(doubled, threshold=doubled.threshold / 2) == found
    least = epsilon_at(scores, member, 1.0, delta=delta, confidence=0.99).epsilon
    assert least <= epsilon_at(scores, member, 1.0, delta=delta, confidence=0.9).epsilon


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"delta": 1.0}, "delta"),
        ({"delta": -0.1}, "delta"),
        ({"delta": float("nan")}, "delta"),
        ({"confidence": 1.0}, "confidence"),
        ({"held_out": 0.0}, "held_out"),
        ({"scores": np.array([0.0, np.nan, 1.0, 1.0])}, "NaN"),
        ({"scores": np.zeros(3)}, "lengths"),
        ({"member": np.array([True, False, False, False])}, "at least 2 runs with the canary, got 1"),
        ({"member": np.array([1, 1, 0, 0])}, "bool"),
    ],
)
@pytest.mark.parametrize("bound", BOUNDS)
def test_bad_input_is_refused_by_name(bound, changes, told):
    given = {"scores": np.arange(4.0), "member": np.array([True, True, False, False]), "delta": 0.1, "seed": 0}
    with pytest.raises(InvalidInput, match=told):
        bound(**given | changes)


def test_bad_events_and_mechanisms_are_refused():
    scores, member = runs(1, 2, 0, 2)
    with pytest.raises(InvalidInput, match="threshold"):
        epsilon_at(scores, member, float("nan"), delta=0.0)
    with pytest.raises(InvalidInput, match="calls 'nonmembers' is unknown"):
        epsilon_at(scores, member, 1.0, delta=0.0, calls="nonmembers")
    with pytest.raises(InvalidInput, match="delta must lie strictly between"):
        gaussian_at(scores, member, 1.0, delta=0.0)
    with pytest.raises(InvalidInput, match="mu"):
        gaussian_epsilon(0.0, 0.1)
    with pytest.raises(InvalidInput, match="epsilon"):
        gaussian_delta(1.0, -1.0)

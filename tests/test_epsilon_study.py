"""The study's games of known truth, fewer of them: bounds hold, rates are kept, and broken assumptions show.

A bound that holds exceeds the truth in at most 5 % of games, so the number that do lies below the binomial's 99.9 %
point; the full study (`python studies/epsilon.py`) plays 1,000 of each kind.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from scripts import loaded

study = loaded(Path(__file__).resolve().parents[1] / "studies" / "epsilon.py")

GAMES = 100
OFTEN = binom.ppf(0.999, GAMES, 0.05)


def titled(case):
    return f"{case.title}, n {case.size}" if hasattr(case, "size") else f"{case.title}, null {case.null}"


@pytest.mark.parametrize("case", [case for case in study.BOUNDED if case.holds and not case.tight], ids=titled)
def test_a_bound_exceeds_the_truth_no_more_often_than_it_may(case):
    assert (case.play(GAMES) > case.truth).sum() <= OFTEN


@pytest.mark.parametrize("case", [case for case in study.BOUNDED if case.tight], ids=titled)
def test_with_many_runs_a_bound_comes_within_a_tenth_of_randomised_response(case):
    bounds = case.play(10)
    assert (bounds >= 0.9 * case.truth).all()
    assert (bounds > case.truth).sum() <= binom.ppf(0.999, 10, 0.05)


@pytest.mark.parametrize("case", [case for case in study.BOUNDED if not case.holds], ids=titled)
def test_a_bound_whose_assumption_is_broken_exceeds_the_truth(case):
    """The games would notice: what they say of the others is no foregone conclusion."""
    assert (case.play(20) > case.truth).sum() > binom.ppf(0.999, 20, 0.05)


@pytest.mark.parametrize("case", study.SEARCHES, ids=titled)
def test_false_discoveries_keep_their_rate(case):
    false, power = case.plays(GAMES)
    if case.null:
        assert (false > 0).sum() <= binom.ppf(0.999, GAMES, study.RATE)
    else:
        assert false.mean() <= study.RATE + 4 * false.std() / GAMES**0.5
        assert power.mean() > 0.5


def test_without_its_correction_a_search_would_not_keep_its_rate():
    """Points whose own p-value is at most the rate: a tenth of all non-members, more than a tenth of those found."""
    false = []
    for game in range(GAMES):
        rng = np.random.default_rng(game)
        there = np.arange(200) < 40
        p = study.discovery.conformal_p_values(rng.normal(size=200) + 3 * there, rng.normal(size=1000))
        found = p <= study.RATE
        false.append((found & ~there).sum() / found.sum())
    assert np.mean(false) > study.RATE + 4 * np.std(false) / GAMES**0.5

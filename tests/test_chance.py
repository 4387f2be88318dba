"""Chances and corrections against closed forms, naive twins and other libraries."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, hypergeom, norm

from hardlabel.checks import InvalidInput
from hardlabel.metrics.chance import (
    chance_above,
    chance_below,
    chance_fewer,
    chance_less_often,
    holm,
)
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import auc_interval


@given(
    value=st.floats(0.3, 0.99),
    reach=st.floats(0.01, 0.2),
    confidence=st.sampled_from([0.9, 0.95, 0.99]),
)
def test_where_the_interval_ends_at_the_null_half_of_its_error_is_the_chance(value, reach, confidence):
    estimate = Estimate(value, value - reach, min(1.0, value + reach))
    assert chance_above(estimate, value - reach, confidence=confidence) == pytest.approx((1 - confidence) / 2)


def test_the_chance_of_an_auc_is_that_of_an_interval_of_this_confidence():
    """An AUC interval of confidence 1 - 2p ends at the null: the chance is p."""
    rng = np.random.default_rng(0)
    member = np.arange(120) < 60
    scores = rng.normal(size=120) + 0.5 * member
    for null in (0.5, 0.55, 0.6):
        chance = chance_above(auc_interval(scores, member), null)
        assert auc_interval(scores, member, confidence=1 - 2 * chance).low == pytest.approx(null)


def test_the_chance_of_a_perfect_auc_is_newcombes():
    member = np.arange(60) < 30
    perfect = auc_interval(member.astype(float), member)
    chance = chance_above(perfect, 0.6)
    low = auc_interval(member.astype(float), member, confidence=1 - 2 * chance).low
    assert low == pytest.approx(0.6, abs=0.1)
    assert 0 < chance < 1e-4


def test_a_figure_without_an_interval_or_below_the_null_proves_nothing():
    assert chance_above(Estimate.undefined("too few"), 0.5) == 1.0
    assert chance_above(Estimate(0.5, 0.4, 0.6), 0.5) == 1.0
    assert chance_above(Estimate(0.3, 0.0, 0.6), 0.2) == 1.0
    assert chance_above(Estimate(0.6, 0.6, 0.6), 0.5) == 0.0
    with pytest.raises(InvalidInput, match="null"):
        chance_above(Estimate(0.6, 0.5, 0.7), 1.0)


@given(value=st.floats(0.05, 0.95), reach=st.floats(0.01, 0.04), null=st.floats(0.1, 0.9))
def test_below_is_above_turned_round(value, reach, null):
    there = Estimate(value, value - reach, value + reach)
    back = Estimate(1 - value, 1 - value - reach, 1 - value + reach)
    assert chance_below(there, null) == pytest.approx(chance_above(back, 1 - null))


def naive_holm(chances, level):
    """Closed testing with Bonferroni: a hypothesis falls if every intersection that holds it falls."""
    names = list(chances)
    falls = set()
    for name in names:
        sets = [
            [name, *rest]
            for count in range(len(names))
            for rest in itertools.combinations([other for other in names if other != name], count)
        ]
        if all(min(chances[one] for one in several) < level / len(several) for several in sets):
            falls.add(name)
    return falls


@given(chances=st.lists(st.floats(0.0001, 0.2), max_size=5, unique=True), level=st.sampled_from([0.025, 0.05, 0.1]))
def test_holm_is_closed_testing(chances, level):
    named = dict(enumerate(chances))
    assert holm(named, level) == naive_holm(named, level)


def test_holm_keeps_the_share_of_false_findings():
    rng = np.random.default_rng(0)
    rounds = 4000
    false = sum(bool(holm(dict(enumerate(norm.sf(rng.normal(size=6)))), 0.05)) for _ in range(rounds))
    assert false / rounds == pytest.approx(1 - (1 - 0.05 / 6) ** 6, abs=3 * (0.05 * 0.95 / rounds) ** 0.5)


def test_shares_are_compared_exactly():
    assert chance_fewer(2, 10, 7, 10) == pytest.approx(hypergeom(20, 9, 10).cdf(2))
    assert chance_less_often(1, 10, 0.5) == pytest.approx(binom(10, 0.5).cdf(1))
    assert chance_less_often(0, 0, 0.5) == 1.0

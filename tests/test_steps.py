"""Steps of discrete samples are legal, come in the stated order and write what they should."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.steps import STRIDE, most_steps, steepest
from hardlabel.data.table import MixedTable

HEIGHT = Numeric(name="height", mean=170.0, scale=10.0, lower=150.0, upper=190.0)
AGE = Numeric(name="age", mean=40.0, scale=8.0, lower=17, upper=90, integer=True)
CHILDREN = Numeric(name="children", mean=1.3, scale=0.9, lower=0, upper=5, integer=True)
INCOME = Numeric(name="income", mean=5.0, scale=2.0, lower=0.0, upper=50.0, missing=True)
COLOUR = Categorical("colour", ("?", "blue", "red"))
ONLY = Categorical("only", ("same",))
SEX = Categorical("sex", ("f", "m"))
TABLE = MixedTable((HEIGHT, COLOUR, AGE, INCOME, ONLY, CHILDREN, SEX), missing="?")
DOMAINS = [BinaryFeatures(7), TABLE, MixedTable((AGE, CHILDREN)), MixedTable((COLOUR, SEX))]


def game(domain, seed, count=5):
    """Legal inputs, incomes missing in the first, and slopes."""
    rng = randomness.generator(seed, "steps")
    inputs = domain.random(count, rng)
    if domain == TABLE:
        inputs[0, 5], inputs[0, 6] = 0.0, 1.0
    return inputs, torch.randn(inputs.shape, generator=rng, dtype=torch.float64)


def along(domain, inputs, slope, most):
    """The points after 0, 1, ... `most` steps, (n, most + 1, d)."""
    steps, rows = steepest(domain, inputs, slope, most), torch.arange(len(inputs))
    return steps, torch.stack([steps.walked(inputs, rows, torch.full_like(rows, k)) for k in range(most + 1)], 1)


@given(seed=st.integers(0, 10_000), flat=st.booleans())
@settings(max_examples=15)
@pytest.mark.parametrize("domain", DOMAINS, ids=["binary", "mixed", "whole numbers", "categories"])
def test_every_step_is_legal_and_gains_until_none_does(domain, seed, flat):
    inputs, slope = game(domain, seed)
    if flat:
        slope = slope.round()  # Zeros and ties.
    most = most_steps(domain)
    steps, points = along(domain, inputs, slope, most)
    domain.check(points.flatten(0, 1))
    gains = ((points[:, 1:] - points[:, :-1]).double() * slope[:, None]).sum(2)
    taken = torch.arange(most) < steps.counts[:, None]
    assert bool((gains[taken] > 0).all())
    assert not bool(gains[~taken].any())
    # At the end of the walk, no legal single change gains.
    assert not bool(steepest(domain, points[:, -1], slope, 1).counts.any())
    if domain == TABLE:
        assert bool((points[0, :, 5] == 0).all())
        assert bool((points[0, :, 6] == 1).all())


@pytest.mark.parametrize("seed", range(5))
def test_bits_flip_in_the_order_of_a_brute_force_search(seed):
    """No other k flips of the bits gain more than the first k steps, and each step's gain is the best left."""
    domain = BinaryFeatures(6)
    inputs, slope = game(domain, seed)
    steps, points = along(domain, inputs, slope, 6)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)))
    for row in range(len(inputs)):
        gains = ((every - inputs[row]).double() * slope[row]).sum(1)
        flips = (every != inputs[row]).sum(1)
        for k in range(int(steps.counts[row]) + 1):
            got = ((points[row, k] - inputs[row]).double() * slope[row]).sum()
            assert float(got) == pytest.approx(float(gains[flips <= k].max()), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_mixed_steps_follow_a_naive_twin(seed):
    """The documented rule, one row at a time: the best gain per increase of the squared distance among all."""
    inputs, slope = game(TABLE, seed)
    most = 12
    steps, points = along(TABLE, inputs, slope, most)
    for row in range(len(inputs)):
        now, start = inputs[row].clone(), inputs[row]
        for k in range(1, most + 1):
            best, moved = 0.0, None
            for candidate in candidates(now, start):
                gain = float(((candidate - now).double() * slope[row]).sum())
                cost = float(TABLE.distance(candidate[None], start[None])) ** 2
                cost -= float(TABLE.distance(now[None], start[None])) ** 2
                if gain > 0 and gain / cost > best + 1e-9:
                    best, moved = gain / cost, candidate
            if moved is None:
                assert int(steps.counts[row]) == k - 1
                break
            torch.testing.assert_close(points[row, k], moved, rtol=0, atol=1e-5)
            now = points[row, k]


def candidates(now, start):
    """Every legal single change of a row of TABLE whose categories changed once at most."""
    place = 0
    for column in TABLE.columns:
        cells = slice(place, place + column.width)
        place += column.width
        if isinstance(column, Categorical):
            if torch.equal(now[cells], start[cells]):
                for new in range(column.width):
                    moved = now.clone()
                    moved[cells] = torch.eye(column.width)[new]
                    if not torch.equal(moved, now):
                        yield moved
        elif not (column.missing and now[cells][1] == 1):
            stride = max(1, round(STRIDE * column.scale)) if column.integer else STRIDE * column.scale
            # Steps are counted from the start, so that a bound does not shift what follows.
            for sign in (-1, 1):
                raw = float(now[cells][0]) * column.scale + column.mean + sign * stride
                moved = now.clone()
                moved[cells.start] = (min(max(raw, column.lower), column.upper) - column.mean) / column.scale
                if not torch.allclose(moved, now, atol=1e-6):
                    yield moved


def test_a_number_steps_in_the_documented_size_up_to_its_bound():
    domain = MixedTable((HEIGHT, Numeric(name="rooms", mean=3.0, scale=1.0, lower=0, upper=5, integer=True)))
    inputs = domain.random(1, randomness.generator(0, "rooms"))
    inputs[0] = torch.tensor([1.2, 0.0])
    _, points = along(domain, inputs, torch.tensor([[1.0, -1e-9]]), 5)
    # Two strides of half a deviation, the second cut at the bound; then whole rooms.
    expected = [[1.2, 0.0], [1.7, 0.0], [2.0, 0.0], [2.0, -1.0], [2.0, -2.0], [2.0, -3.0]]
    torch.testing.assert_close(points[0], torch.tensor(expected))


def test_the_most_steps_are_those_from_one_end_of_a_domain_to_the_other():
    assert most_steps(BinaryFeatures(9)) == 9
    assert most_steps(MixedTable((HEIGHT, COLOUR, ONLY, CHILDREN, SEX))) == 8 + 1 + 5 + 1
    assert most_steps(MixedTable((ONLY,))) == 0


def test_domains_without_steps_are_refused():
    with pytest.raises(InvalidInput, match="binary samples and mixed tables"):
        most_steps(Box((2,)))
    with pytest.raises(InvalidInput, match="binary samples and mixed tables"):
        steepest(Box((2,)), torch.zeros(1, 2), torch.zeros(1, 2), 1)

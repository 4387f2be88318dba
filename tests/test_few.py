"""Precision and recall about a few: counts by hand, and intervals that hold in games of known truth."""

import numpy as np
import pytest

from hardlabel.checks import InvalidInput
from hardlabel.metrics import selected_rates as few
from hardlabel.metrics.exact import precision_and_recall
from hardlabel.randomness import numpy_generator


def pairs(targets, n, rng):
    """Complementary halves of the samples, row 2p + 1 the opposite of row 2p."""
    inside = np.empty((targets, n), dtype=bool)
    for pair in range(targets // 2):
        half = rng.permutation(n) < n // 2
        inside[2 * pair], inside[2 * pair + 1] = half, ~half
    return inside


def played(inside, tpr, fpr, rng):
    return rng.random(inside.shape) < np.where(inside, tpr, fpr)


def test_one_target_has_the_exact_intervals():
    rng = numpy_generator(0, "one")
    inside = pairs(2, 60, rng)[:1]
    called, asked = played(inside, 0.9, 0.3, rng), rng.random((1, 60)) < 0.4
    found, truth = few.calls(called, asked, inside), precision_and_recall(called[asked], inside[asked])
    assert (found.precision, found.recall) == (truth.precision, truth.recall)
    assert (found.right, found.called, found.members) == (truth.right, truth.called, truth.members)


def test_calls_about_others_do_not_count():
    inside = np.array([[True, False, True, False]])
    called, asked = np.array([[True, True, False, True]]), np.array([[True, True, True, False]])
    found = few.calls(called, asked, inside)
    assert (found.right, found.called, found.members) == (1, 2, 2)
    assert (found.precision.value, found.recall.value) == (0.5, 0.5)


def test_nobody_called_is_undefined_not_0():
    inside = np.array([[True, False]])
    found = few.calls(np.zeros((1, 2), dtype=bool), np.ones((1, 2), dtype=bool), inside)
    assert found.precision.value is None
    assert found.recall.value == 0
    nothing = (np.zeros((1, 2), dtype=bool), np.ones((1, 2), dtype=bool))
    assert few.precision_difference(nothing, (inside, ~nothing[0]), inside).value is None


def test_perfect_calls_are_not_certain():
    rng = numpy_generator(0, "perfect")
    inside = pairs(8, 10, rng)
    asked = np.ones_like(inside)
    found = few.calls(inside.copy(), asked, inside)
    assert found.precision.value == 1
    assert found.precision.low < 0.95
    apart = few.precision_difference((inside.copy(), asked), (inside.copy(), asked), inside)
    assert apart.value == 0
    assert apart.low < -0.05 < 0.05 < apart.high


def test_intervals_hold_where_targets_and_points_differ():
    """Each target has a strength of its own, each point too; the truth is the ratio of expectations.

    Of 300 games at 95 % at most 15 + 4 sqrt(15) = 30 may miss.
    """
    rng = numpy_generator(0, "coverage")
    misses = {"precision": 0, "difference": 0}
    targets, n, games = 8, 12, 300
    many = 4000
    strengths = 0.9 + 0.08 * rng.uniform(-1, 1, (many, targets, 1)), 0.3 + 0.15 * rng.uniform(-1, 1, (many, 1, n))
    tpr, fpr = np.broadcast_arrays(*strengths)
    truth = float(tpr.mean() / (tpr.mean() + fpr.mean()))
    for game in range(games):
        inside = pairs(targets, n, rng)
        asked = np.ones_like(inside)
        one, two = (played(inside, tpr[game], fpr[game], rng) for _ in range(2))
        found = few.calls(one, asked, inside).precision
        misses["precision"] += not found.low <= truth <= found.high
        apart = few.precision_difference((one, asked), (two, asked), inside)
        misses["difference"] += not apart.low <= 0 <= apart.high
    assert misses["precision"] <= 30
    assert misses["difference"] <= 30


def test_a_large_difference_is_found():
    rng = numpy_generator(0, "power")
    inside = pairs(14, 20, rng)
    asked = np.ones_like(inside)
    strong, weak = played(inside, 0.95, 0.02, rng), played(inside, 0.6, 0.5, rng)
    assert few.precision_difference((strong, asked), (weak, asked), inside).low > 0.2


@pytest.mark.parametrize("change", [{"called": np.ones((2, 3))}, {"asked": np.ones((3, 2), dtype=bool)}])
def test_wrong_masks_are_refused(change):
    masks = {name: np.ones((2, 3), dtype=bool) for name in ("called", "asked", "inside")} | change
    with pytest.raises(InvalidInput, match="must be bool of shape"):
        few.calls(**masks)

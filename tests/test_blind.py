"""The blind baseline: silent on groups of one distribution, alarmed by groups that differ."""

from math import sqrt

import numpy as np
import pytest
import torch
from scipy.stats import binom

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.metrics.blind import blind_baseline, differs
from hardlabel.metrics.estimate import Estimate


def group(size, *, seed, first_id=0, features=4, shift=0.0, scale=1.0, weights=(1.0, 1.0, 1.0)):
    """Normal inputs with mean `shift` and deviation `scale`, in three classes as frequent as `weights` say."""
    drawn = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor(weights), size, replacement=True, generator=drawn)
    return Samples(
        ids=torch.arange(first_id, first_id + size),
        inputs=shift + scale * torch.randn(size, features, generator=drawn),
        labels=labels,
        domain=Box(shape=(features,), lower=-99.0, upper=99.0),
    )


def null_game(seed, sizes, features):
    members = group(sizes[0], seed=2 * seed, features=features)
    nonmembers = group(sizes[1], seed=2 * seed + 1, first_id=10_000, features=features)
    return blind_baseline(members, nonmembers, seed=seed)[0]


def assert_silent(estimates):
    """The mean is .5 within four standard errors, and alarms are no more than 5 % of the games explain."""
    values = np.array([estimate.value for estimate in estimates])
    assert values.mean() == pytest.approx(0.5, abs=4 * values.std(ddof=1) / sqrt(len(values)))
    # 99.95 % point: an exact interval fails one such test in two thousand, and seeds are fixed.
    assert sum(map(differs, estimates)) <= binom.ppf(0.9995, len(estimates), 0.05)


def test_groups_of_one_distribution_are_not_told_apart():
    assert_silent([null_game(seed, (40, 60), 4) for seed in range(20)])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "features"),
    [
        pytest.param((100, 100), 5, marks=pytest.mark.long),
        pytest.param((50, 150), 5, marks=pytest.mark.long),
        ((12, 12), 3),
    ],
)
def test_intervals_cover_one_half_on_groups_of_one_distribution(sizes, features):
    estimates = [null_game(seed, sizes, features) for seed in range(60)]
    assert_silent(estimates)
    # The width is earned: the interval's own standard error is that of the games' AUCs: four
    # standard errors of a deviation from 60 games are 4 / sqrt(120) = .37 of it.
    claimed = np.mean([(estimate.high - estimate.low) / 3.92 for estimate in estimates])
    found = np.std([estimate.value for estimate in estimates], ddof=1)
    assert found / claimed == pytest.approx(1, abs=0.37)


@pytest.mark.parametrize(
    "changed",
    [
        {"shift": 0.5},  # Seen by the logistic regression.
        {"scale": 2.0},  # Same mean: seen by the trees only.
        {"weights": (5.0, 1.0, 1.0)},  # Same inputs: seen in the labels only.
    ],
    ids=["mean", "spread", "classes"],
)
def test_groups_that_differ_are_told_apart(changed):
    members, nonmembers = group(150, seed=0, **changed), group(200, seed=1, first_id=500)
    found, method = blind_baseline(members, nonmembers, seed=0)
    assert found.low > 0.5
    assert differs(found)
    assert "logistic regression" in method


def test_groups_far_apart_are_told_apart_perfectly():
    found, _ = blind_baseline(group(20, seed=0, shift=9.0), group(20, seed=1, first_id=500), seed=0)
    assert found.value == found.high == 1
    assert 0.5 < found.low < 1


def test_inputs_with_more_features_than_samples_are_taken():
    members = group(30, seed=0, features=3 * 32 * 32, shift=0.3)
    nonmembers = group(25, seed=1, first_id=500, features=3 * 32 * 32)
    assert differs(blind_baseline(members, nonmembers, seed=0)[0])


def test_a_feature_that_never_varies_is_taken():
    members, nonmembers = group(20, seed=0, scale=0.0), group(20, seed=1, first_id=500, scale=0.0)
    found, _ = blind_baseline(members, nonmembers, seed=0)
    assert not differs(found)


def test_neither_order_nor_repetition_changes_the_result():
    members, nonmembers = group(40, seed=0, shift=0.3), group(30, seed=1, first_id=500)
    found = blind_baseline(members, nonmembers, seed=3)
    turned = members.take(torch.arange(39, -1, -1)), nonmembers.take(torch.arange(29, -1, -1))
    assert blind_baseline(*turned, seed=3) == found
    assert blind_baseline(members, nonmembers, seed=4)[0] != found[0]


def test_tiny_groups_leave_it_undefined():
    found, _ = blind_baseline(group(9, seed=0), group(50, seed=1, first_id=500), seed=0)
    assert found.value is None
    assert found.note == "needs 10 members and 10 non-members, got 9 and 50"
    assert not differs(found)
    assert blind_baseline(group(10, seed=0), group(10, seed=1, first_id=500), seed=0)[0].value is not None


def test_groups_of_two_domains_are_refused():
    with pytest.raises(InvalidInput, match="members and nonmembers must share one domain"):
        blind_baseline(group(10, seed=0), group(10, seed=1, features=5), seed=0)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.51, 0.6, True), (0.4, 0.49, True), (0.5, 0.6, False), (0.45, 0.55, False)]
)
def test_groups_differ_where_the_interval_excludes_one_half(low, high, expected):
    assert differs(Estimate((low + high) / 2, low, high)) is expected

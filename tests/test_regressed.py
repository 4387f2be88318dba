"""Regressed: a label that is right where labels of non-members like the record are wrong speaks for a member."""

import math

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestRegressor

from games import random_samples, samples_of
from hardlabel import randomness
from hardlabel.attacks import TABLE
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.metrics import roc
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals.base import Knowledge
from hardlabel.signals.gap import Gap
from hardlabel.signals.noise import Noise
from hardlabel.signals.path import Path
from hardlabel.signals.regressed import OVERHEAD, Regressed

SPACE = Box((3,))


class Coins:
    """Right with chance .9 where the first value is above .5 and .3 elsewhere; always right on what it remembers."""

    def __init__(self, points, remembered=(), seed=0):
        chance = torch.where(points.inputs[:, 0] > 0.5, 0.9, 0.3)
        right = torch.rand(len(points), generator=torch.Generator().manual_seed(seed)) < chance
        right |= torch.isin(points.ids, torch.tensor(remembered, dtype=torch.int64))
        self.answers = dict(zip(points.ids.tolist(), torch.where(right, points.labels, 1 - points.labels), strict=True))
        self.asked = []

    def ask(self, inputs, ids):
        self.asked += ids.tolist()
        return torch.stack([self.answers[one] for one in ids.tolist()])


def played(n=2000, rows=2000, *, remembered=True, signal=None, seed=0):
    """Values, members and the account of n samples, the first half of which the target remembers, or not."""
    inputs = torch.rand(n + rows, 3, generator=torch.Generator().manual_seed(seed))
    points = samples_of(SPACE, inputs, torch.arange(n + rows) % 2)
    samples, population = points.take(slice(0, n)), points.take(slice(n, None))
    target, account = Coins(points, range(n // 2) if remembered else (), seed), Account()
    plan = (signal or Regressed(rows=rows)).prepare(samples, Knowledge(population=population), 0)
    measured = plan.measure(ChargedLabels(target, account))
    return measured, torch.arange(n) < n // 2, account, target, plan


def test_the_auc_is_that_of_known_chances():
    """Members are right. With chances .9 and .3, each for half of the records, gap finds 1 - (.9 + .3) / 4 = .7.

    Above its chance a right label lies .1 or .7, a wrong one below 0. A member at .1 beats a non-member at .9 with
    chance .9 / 2 + .1, one at .3 with .7; a member at .7 beats one at .9 always, one at .3 with .3 / 2 + .7: .775.
    """
    measured, inside, *_ = played()
    found = roc.auc(measured.values[:, 0].numpy(), inside.numpy())
    # Predictions of records with one chance differ by what a forest of small leaves does not know: ties are broken.
    assert found == pytest.approx(0.775, abs=4 * math.sqrt(0.775 * 0.225 / 1000))
    assert found > 0.7 + 4 * math.sqrt(0.7 * 0.3 / 1000)


def test_a_target_that_saw_none_of_the_records_tells_nothing():
    for seed in range(3):
        measured, inside, *_ = played(remembered=False, seed=seed)
        found = roc.auc(measured.values[:, 0].numpy(), inside.numpy())
        assert abs(found - 0.5) < 4 * math.sqrt(2001 / (12 * 1000 * 1000))


def test_the_same_test_catches_a_population_that_holds_some_of_the_records():
    """The target knows nobody, but the forest has seen the answers about half of the records: they surprise it less."""
    n = 2000
    points = samples_of(SPACE, torch.rand(n, 3, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2)
    held = torch.arange(n) < n // 2
    plan = Regressed().prepare(points, Knowledge(population=points.take(held)), 0)
    values = plan.measure(ChargedLabels(Coins(points), Account())).values[:, 0]
    assert roc.auc(-values.abs().numpy(), held.numpy()) > 0.5 + 4 * math.sqrt((n + 1) / (12 * (n / 2) ** 2))


def test_values_are_those_of_a_forest_by_hand():
    measured, _, _, target, plan = played(40, 120)
    population, samples = plan.population, plan.samples

    def features(part):
        return np.column_stack([part.inputs.numpy(), part.labels.numpy()]).astype(np.float32)

    def right(part):
        return [int(target.answers[one] == label) for one, label in zip(part.ids.tolist(), part.labels, strict=True)]

    seed = randomness.sklearn_seed(0, "regressed")
    forest = RandomForestRegressor(100, max_features=0.5, min_samples_leaf=5, random_state=seed)
    forest.fit(features(population), right(population))
    wanted = np.array(right(samples)) - forest.predict(features(samples))
    np.testing.assert_allclose(measured.values[:, 0], wanted, atol=1e-6)


@pytest.mark.parametrize(("inner", "each"), [(Gap(), 1), (Noise(level=SPACE.noise_levels[0], draws=4), 5)], ids=str)
def test_the_population_is_overhead_and_each_sample_pays_its_own_questions(inner, each):
    class Right:
        def ask(self, inputs, ids):
            return ids % 2

    points = samples_of(SPACE, torch.rand(100, 3, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 2)
    account = Account()
    plan = Regressed(inner=inner).prepare(
        points.take(slice(0, 30)), Knowledge(population=points.take(slice(30, None))), 0
    )
    measured = plan.measure(ChargedLabels(Right(), account))
    assert plan.overhead == 70 * each
    assert dict(account.overhead) == {OVERHEAD: 70 * each}
    assert measured.queries.tolist() == [each] * 30 == account.spent(points.ids[:30]).tolist()
    assert measured.values.abs().max() < 1e-6  # Everybody is right, as expected.


def test_a_large_population_is_drawn_from_by_the_seed():
    samples, population = (random_samples(SPACE, n, classes=2, start=start) for n, start in ((5, 0), (400, 1000)))
    plans = [Regressed(rows=50).prepare(samples, Knowledge(population=population), seed) for seed in (0, 0, 1)]
    first, again, other = (plan.population.ids.tolist() for plan in plans)
    assert len(first) == 50
    assert first == again != other


def test_the_same_population_in_another_order_of_samples_gives_the_same_values():
    measured, *_, plan = played(60, 200)
    del measured
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    points = plan.samples.take(order)
    both = []
    for samples in (plan.samples, points):
        target = Coins(played(60, 200)[4].population)  # The population's answers.
        target.answers |= {one: torch.tensor(1) for one in range(60)}
        prepared = Regressed(rows=200).prepare(samples, Knowledge(population=plan.population), 0)
        both.append(prepared.measure(ChargedLabels(target, Account())).values)
    assert torch.equal(both[0][order], both[1])


@pytest.mark.parametrize(
    ("population", "words"),
    [
        (None, "population must hold records"),
        (random_samples(SPACE, 5, classes=2).take(slice(0, 0)), "population must hold records"),
        (random_samples(Box((4,)), 5, classes=2), "population must share the samples' domain"),
    ],
)
def test_a_population_is_needed_in_the_samples_domain(population, words):
    with pytest.raises(InvalidInput, match=words):
        Regressed().prepare(random_samples(SPACE, 5, classes=2), Knowledge(population=population), 0)


def test_wrong_settings_are_refused():
    with pytest.raises(InvalidInput, match="inner must give one number per sample, not an interval"):
        Regressed(inner=Path())
    with pytest.raises(InvalidInput, match="rows must be"):
        Regressed(rows=0)


def test_the_row_of_the_table_trains_nothing_like_the_target():
    row = TABLE["gap-regression"]
    assert not row.learns_on_shadow
    assert not row.calibration.per_sample
    assert row.allowed(None) == 1

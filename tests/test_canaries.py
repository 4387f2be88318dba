"""Canaries: what is planted, that coins are coins, and that bounds find what leaks and nothing where nothing does."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from hardlabel.checks import InvalidInput
from hardlabel.experiments.canaries import FEWEST_RUNS, KINDS, audit_canaries, load_canaries
from hardlabel.models.train import Recipe
from hardlabel.reports.text import canary_markdown

BY_HEART = KNeighborsClassifier(n_neighbors=1)


def digits():
    data = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def test_what_is_planted_is_legal_and_by_independent_coins():
    planted = hardlabel.plant(digits(), canaries=600, train_size=500, seed=3)
    assert len(planted.canaries) == 600
    assert [planted.kinds.count(kind) for kind in KINDS] == [200] * 3
    planted.canaries.domain.check(planted.canaries.inputs)
    # Not a fixed share: 40 draws of 600 coins have the binomial's variance, here within 4 errors of it.
    sums = np.array([hardlabel.plant(digits(), canaries=60, kinds=["rare"], seed=s).inside.sum() for s in range(40)])
    assert abs(sums.mean() - 30) < 4 * math.sqrt(15 / 40)
    assert abs(sums.var(ddof=1) - 15) < 4 * 15 * math.sqrt(2 / 39)
    training = planted.training
    assert len(training) == 500 + planted.inside.sum()
    assert set(training.ids.tolist()) == set(planted.base.ids.tolist()) | set(
        planted.canaries.ids[torch.from_numpy(planted.inside)].tolist()
    )


def test_each_kind_is_what_it_says():
    inputs, labels = digits()
    truth = {inputs[at].tobytes(): int(label) for at, label in enumerate(labels)}
    planted = hardlabel.plant((inputs, labels), canaries=300, train_size=500, seed=0)
    found = zip(planted.kinds, planted.canaries.inputs, planted.canaries.labels.tolist(), strict=True)
    real = {kind: [] for kind in KINDS}
    for kind, one, label in found:
        real[kind].append(truth.get(one.numpy().tobytes()))
        if kind == "mislabelled":
            assert real[kind][-1] != label
    assert None not in real["mislabelled"]
    assert set(real["rare"]) == set(real["crafted"]) == {None}


def test_a_model_that_knows_its_data_by_heart_is_found_out():
    """One neighbour answers each canary's label if it was planted: nearly every guess is right."""
    record = audit_canaries(digits(), BY_HEART, canaries=400, kinds=["mislabelled"], train_size=600, delta=1e-6, seed=1)
    for access in ("label", "scores"):
        bound = record.bound(access)
        assert bound.epsilon > 2, access
    assert record.results.kept is None
    assert record.results.runs == 1


def test_a_model_that_learns_nothing_shows_nothing():
    record = audit_canaries(digits(), KNeighborsClassifier(n_neighbors=600), canaries=300, train_size=600, seed=1)
    # Each bound is right 19 times of 20; that of all canaries is looked at for two attackers.
    assert record.bound("label").epsilon < 0.5
    assert record.bound("scores").epsilon < 0.5


def test_many_runs_find_one_canary():
    record = audit_canaries(digits(), DecisionTreeClassifier(), kinds=["mislabelled"], runs=40, train_size=60, seed=0)
    bound = record.bound("label")
    assert bound.epsilon > 0.5
    assert (bound.guesses + bound.of_wrong) == pytest.approx(20, abs=1)
    assert record.results.canaries == {"mislabelled": 1}
    assert 10 <= record.results.planted <= 30


def test_a_trainer_of_ones_own_plants_and_asks():
    planted = hardlabel.plant(digits(), canaries=300, kinds=["mislabelled"], train_size=500, seed=2)
    models = []
    for part in (planted.training, planted.base):
        models.append(KNeighborsClassifier(n_neighbors=1).fit(part.inputs.flatten(1).numpy(), part.labels.numpy()))
    record = hardlabel.audit_planted(models[0], planted, reference=models[1])
    assert record.bound("label").epsilon > 2
    alone = hardlabel.audit_planted(models[1], planted, delta=1e-5)  # It saw none of them.
    assert alone.bound("label").epsilon < 0.5


def test_bounds_stay_below_the_accountants_epsilon(tmp_path):
    pytest.importorskip("opacus")
    record = audit_canaries(
        digits(), Recipe(architecture="logistic", max_epochs=10), epsilon=2.0, canaries=300, train_size=500, seed=0
    )
    assert record.results.guarantee.epsilon <= 2.0
    assert record.results.kept
    assert all(one.epsilon < record.results.guarantee.epsilon for one in record.results.bounds if one.kind == "all")
    text = canary_markdown(record)
    assert "privacy random variables" in text
    assert text.count("| all |") == 2
    assert load_canaries(record.save(tmp_path / "run") and tmp_path / "run").results == record.results


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kinds": ["dead"]}, "kinds 'dead' is unknown"),
        ({"kinds": []}, "kinds must name at least one"),
        ({"canaries": 2}, "canaries must be at least 3"),
        ({"canaries": 5000}, "samples must hold train_size"),
        ({"runs": 2}, f"runs must be at least {FEWEST_RUNS}"),
        ({"delta": 0.0}, "delta must lie strictly"),
        ({"epsilon": 1.0}, "epsilon needs trainer to be a hardlabel.Recipe"),
        ({"train_size": 3}, "train_size must be at least"),
    ],
)
def test_bad_arguments_are_refused_before_training(change, told):
    class Never(KNeighborsClassifier):
        def fit(self, X, y):  # noqa: N803
            raise AssertionError("was trained")

    with pytest.raises(InvalidInput, match=told):
        audit_canaries(digits(), Never(), **{"canaries": 30, "kinds": ["mislabelled", "rare", "crafted"]} | change)

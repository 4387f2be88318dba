"""An attacker who does not know the training: which models it trains, which attack is named, what it finds."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

import hardlabel
from games import random_samples
from hardlabel.attacks import Need, ladder
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.table import MixedTable
from hardlabel.models.surrogates import surrogate
from hardlabel.models.trainers import EstimatorTrainer, RecipeTrainer
from hardlabel.targets.registry import askable

CPU = torch.device("cpu")
TABLE = MixedTable(columns=(Numeric(name="age", mean=40.0, scale=10.0, lower=0, upper=90),))
UNLIKE = {Need.ALIKE: "the target's training is not known"}


@pytest.mark.parametrize("domain", [TABLE, BinaryFeatures(9), Box((5,))], ids=lambda domain: domain.kind)
def test_tables_get_boosted_trees_that_see_every_row_and_many_classes_a_forest(domain):
    few, many = (surrogate(domain, classes, device=CPU, store=None) for classes in (2, 100))
    assert isinstance(few, EstimatorTrainer)
    assert isinstance(few.estimator, HistGradientBoostingClassifier)
    assert few.estimator.early_stopping is False  # By itself it would hold rows back, of 10,000 and more.
    assert isinstance(many.estimator, RandomForestClassifier)


@pytest.mark.parametrize(("side", "architecture"), [(8, "fc"), (28, "cnn")])
def test_images_get_their_usual_network(side, architecture):
    trainer = surrogate(Box((1, side, side)), 7, device=CPU, store=None)
    assert isinstance(trainer, RecipeTrainer)
    assert (trainer.recipe.architecture, trainer.classes, trainer.device) == (architecture, 7, CPU)


@pytest.mark.parametrize("domain", [TABLE, Box((2, 3)), Box((1, 8, 8))], ids=lambda domain: str(domain.shape))
def test_what_it_trains_shows_scores_and_the_seed_fixes_it(domain):
    """Without scores neither path nor the learned calibrations could use the models."""
    samples = random_samples(domain, 60, classes=3)
    trainer = surrogate(domain, 3, device=CPU, store=None)
    shown = []
    for _ in range(2):
        model = askable(trainer.fit(samples, seed=4).model, CPU, role="reference model")
        assert model.scores is not None
        shown.append(model.scores.ask_scores(samples.inputs, samples.ids))
    assert torch.equal(*shown)
    assert shown[0].shape == (60, 3)


def test_one_class_is_refused():
    with pytest.raises(InvalidInput, match="classes must be at least 2, got 1"):
        surrogate(TABLE, 1, device=CPU, store=None)


def test_calibrated_gap_is_the_last_resort_and_finding_nothing_with_it_says_little():
    no_population = dict.fromkeys((Need.CRAFTERS, Need.SURROGATE, Need.SHADOW), "no population")
    for domain, budget, lacked in (
        (TABLE, 1, {}),
        (TABLE, 9, {}),
        (Box((5,)), 9, {}),
        (TABLE, 9, no_population),
        (Box((1, 8, 8)), 4, no_population),
    ):
        rung = ladder.best(domain, budget, UNLIKE | lacked)
        assert rung.attack == "gap-ratio"
        assert "sees nothing of a model that is right on all records" in rung.weak
    assert not ladder.best(TABLE, 10, UNLIKE).weak


def digits():
    bunch = load_digits()
    return (bunch.images[:, None] / 16).astype(np.float32), bunch.target


def audited(inputs, labels, domain, attacks, *, train=300, references=6):
    """The audit of a forest by an attacker with surrogates."""
    order = np.random.default_rng(0).permutation(len(inputs))
    inside, outside, rest = np.split(order[: 5 * train], [train, 2 * train])
    flat = inputs[inside].reshape(train, -1)
    target = RandomForestClassifier(40, random_state=0).fit(flat, labels[inside])
    classes = int(labels.max()) + 1
    trainer = surrogate(domain, classes, device=CPU, store=None)
    return hardlabel.audit(
        target,
        (inputs[inside], labels[inside]),
        (inputs[outside], labels[outside]),
        population=(inputs[rest], labels[rest]),
        trainer=trainer.estimator if isinstance(trainer, EstimatorTrainer) else trainer.recipe,
        domain=domain,
        attacks=attacks,
        budget=10,
        device="cpu",
        attacker=hardlabel.Attacker(references=references, alike=False),
    ).results


def above_gap(results, attack):
    """The lower end of the paired 95 % interval of the attack's AUC minus that of gap."""
    [pair] = [pair for pair in results.differences if (pair.first, pair.second) == (attack, "gap")]
    return pair.auc.low


def test_paths_on_networks_find_more_of_a_forest_on_images_than_gap():
    inputs, labels = digits()
    results = audited(inputs, labels, Box((1, 8, 8)), ["gap", "path"])
    assert results.choice.attack == "path"
    assert not results.references.alike
    assert above_gap(results, "path") > 0


def test_calibrated_noise_on_boosted_trees_finds_more_of_a_forest_on_tables_than_gap():
    inputs, labels = digits()
    rng = np.random.default_rng(1)
    wrong = rng.random(len(labels)) < 0.15
    binary = np.where(wrong, rng.integers(0, 2, len(labels)), labels % 2)
    results = audited(inputs.reshape(-1, 64), binary, Box((64,)), None)
    assert results.choice.attack == "noise-ratio"  # Although path could be played.
    assert [attack.name for attack in results.attacks if attack.access == "label"] == ["gap", "noise-ratio"]
    assert above_gap(results, "noise-ratio") > 0

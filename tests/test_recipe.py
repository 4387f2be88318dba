"""The audit of a recipe: several models play target in turn, and figures carry both kinds of chance."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from hardlabel import Attacker, RecipeRecord
from hardlabel.audits.attacker.paired import PairedModels, turns
from hardlabel.audits.recipe import audit_recipe
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.kinds import run
from hardlabel.models.trainers import EstimatorTrainer
from hardlabel.runs.folder import SUMS
from hardlabel.runs.settings import RecipeSettings
from hardlabel.store import Store
from hardlabel.targets.estimators import EstimatorScores

LOGISTIC = LogisticRegression(C=10.0, tol=0.01, max_iter=500)
SMALL = {"train_size": 120, "repeats": 3, "attacker": Attacker(references=4), "samples": 60, "device": "cpu"}
ONE_NEIGHBOUR = KNeighborsClassifier(n_neighbors=1)


def digits(count=800):
    data = load_digits()
    return (data.images[:count, None] / 16).astype(np.float32), data.target[:count]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def record(store):
    attacks = ["gap", "noise", "path", "lira"]
    return audit_recipe(digits(), LOGISTIC, attacks=attacks, store=store, seed=1, **SMALL)


def four_null_errors(members, others):
    return 4 * math.sqrt((members + others + 1) / (12 * members * others))


# --- who plays whom ---


@pytest.mark.parametrize("models", [2, 4, 10])
def test_one_of_each_pair_plays_target_before_any_partner_does(models):
    order = turns(models)
    assert sorted(order) == list(range(models))
    assert {number // 2 for number in order[: models // 2]} == set(range(models // 2))


def test_the_record_holds_every_target_and_every_sample(record):
    results, scores = record.results, record.scores
    assert [target.model for target in results.targets] == [0, 2, 4]
    assert (results.samples, results.train_size, results.references) == (120, 120, 4)
    assert [attack.name for attack in results.attacks] == ["gap", "noise", "path", "lira"]
    assert len(scores) == 4 * 3 * 120
    assert scores.groupby(["attack", "target"])["id"].nunique().eq(120).all()
    for target in results.targets:
        mine = scores.query("attack == 'gap' and target == @target.model")
        # The gap attack's scores are who is right: the accuracies told are theirs.
        assert mine[mine["member"]]["score"].mean() == pytest.approx(target.train_accuracy)
        assert mine[~mine["member"]]["score"].mean() == pytest.approx(target.test_accuracy)


def test_membership_in_the_record_is_that_of_the_design(record):
    """About half of the attacked samples are members of each target, and each target has others."""
    members = record.scores.query("attack == 'gap'").pivot(index="id", columns="target", values="member")
    shares = members.mean()
    assert ((shares - 0.5).abs() < 4 * math.sqrt(0.25 / 120)).all()
    # Independent halves of the pool: two targets agree on a sample by a fair coin.
    assert abs((members[0] == members[2]).mean() - 0.5) < 4 * math.sqrt(0.25 / 120)


def test_figures_are_those_of_the_scores(record):
    for attack in record.results.attacks:
        mine = record.scores.query("attack == @attack.name")
        aucs = []
        for _, target in mine.groupby("target"):
            inside, outside = (target.query("member == @who")["score"].to_numpy() for who in (True, False))
            aucs.append((inside[:, None] > outside).mean() + (inside[:, None] == outside).mean() / 2)
        assert attack.aucs == pytest.approx(aucs)
        assert attack.auc.value == pytest.approx(np.mean(aucs))
        assert attack.spread.value == pytest.approx(np.std(aucs, ddof=1))
        assert attack.auc.low < attack.auc.value < attack.auc.high
        assert attack.queries_per_sample.mean == pytest.approx(mine["queries"].mean())
        assert attack.queries_per_sample.max == mine["queries"].max()
        assert attack.references == (4 if attack.name in ("path", "lira") else 0)
    pairs = {(pair.first, pair.second): pair.auc for pair in record.results.differences}
    found = {attack.name: attack.auc.value for attack in record.results.attacks}
    assert set(pairs) == {
        ("noise", "gap"),
        ("path", "gap"),
        ("lira", "gap"),
        ("gap", "lira"),
        ("noise", "lira"),
        ("path", "lira"),
        ("noise", "path"),
    }
    for (first, second), auc in pairs.items():
        assert auc.value == pytest.approx(found[first] - found[second])
        assert auc.low <= auc.value <= auc.high


def test_a_record_is_kept_and_read_back(record, tmp_path):
    kept = record.save(tmp_path / "run")
    again = RecipeRecord.load(tmp_path / "run")
    assert again.folder == kept.folder == tmp_path / "run"
    assert again.results == record.results
    assert again.scores.equals(record.scores)
    assert again.config == record.config
    assert "lira" in str(again)
    assert list(again.table()["name"]) == ["gap", "noise", "path", "lira"]
    with pytest.raises(InvalidInput, match="attack 'oslo' is not in this audit, which has"):
        again.attack("oslo")
    (tmp_path / "run" / SUMS).unlink()
    (tmp_path / "run" / "recipe.json").write_text('{"format": 1}')
    with pytest.raises(InvalidInput, match="Field required"):
        RecipeRecord.load(tmp_path / "run")
    with pytest.raises(InvalidInput, match=r"must hold a whole recipe\.json"):
        RecipeRecord.load(tmp_path / "nowhere")


def test_a_second_run_trains_and_asks_nothing_again(record, store, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a finished model was trained, or asked for scores, again")

    monkeypatch.setattr("hardlabel.models.model_store.train", refuse)
    monkeypatch.setattr(EstimatorTrainer, "_fitted", refuse)
    monkeypatch.setattr(EstimatorScores, "ask_scores", refuse)
    again = audit_recipe(digits(), LOGISTIC, attacks=["gap", "noise", "path", "lira"], store=store, seed=1, **SMALL)
    assert again.scores.equals(record.scores)
    assert [one.auc for one in again.results.attacks] == [one.auc for one in record.results.attacks]


def test_the_partner_of_a_target_is_never_among_its_references(monkeypatch):
    """Seen in the games themselves: who is referenced has K/2 - 1 models inside and outside for every sample."""
    seen = []
    game = PairedModels.game

    def watched(self, target, **settings):
        made = game(self, target, **settings)
        inside = torch.stack([side.inside for side in made.references.sides])
        seen.append((target, inside.sum(0).unique().tolist()))
        assert all(side is not self.sides[target] for side in made.references.sides)
        assert all(side is not self.sides[target ^ 1] for side in made.references.sides)
        assert made.references.partner.tolist() == [1, 0, 3, 2]
        return made

    monkeypatch.setattr(PairedModels, "game", watched)
    audit_recipe(digits(), GaussianNB(), attacks=["lira"], **(SMALL | {"repeats": 6}))
    assert seen == [(number, [2]) for number in (0, 2, 4, 1, 3, 5)]


# --- recipes that leak nothing, and one that leaks all ---


class Nothing:
    """What a training that learns nothing gives: the same answers whoever was inside."""

    def ask_scores(self, inputs, ids):
        return torch.zeros(len(inputs), 10).log_softmax(1) + torch.linspace(-1, 0, 10)


def learn_nothing(inputs, labels, *, seed):
    return Nothing()


def test_a_recipe_that_learns_nothing_leaks_nothing():
    attacks = ["gap", "noise", "noise-ratio", "lira", "rmia", "lira-offline"]
    found = audit_recipe(digits(), learn_nothing, attacks=attacks, **SMALL)
    for attack in found.results.attacks:
        for auc in attack.aucs:
            assert abs(auc - 0.5) < four_null_errors(60, 60), attack.name
    assert [target.train_accuracy for target in found.results.targets] != [1.0] * 3


def test_a_classifier_that_looks_its_neighbour_up_leaks_all_of_its_coins():
    """Labels are coins: the nearest neighbour is right on members always, and on half of the others."""
    inputs, _ = digits()
    labels = np.random.default_rng(0).integers(0, 2, len(inputs))
    found = audit_recipe((inputs, labels), ONE_NEIGHBOUR, attacks=["gap", "gap-ratio"], **SMALL)
    assert [target.train_accuracy for target in found.results.targets] == [1.0] * 3
    gap, ratio = (found.attack(name) for name in ("gap", "gap-ratio"))
    # The gap attack's AUC is 1 - accuracy / 2 = 3/4; half of a binomial share of 60 or so, over three targets.
    assert gap.auc.value == pytest.approx(0.75, abs=4 * 0.5 * math.sqrt(0.25 / (3 * 55)))
    assert ratio.auc.value > gap.auc.value
    [pair] = [one for one in found.results.differences if (one.first, one.second) == ("gap-ratio", "gap")]
    assert pair.auc.low > 0


# --- what a trainer may be ---


@pytest.mark.parametrize(
    ("trainer", "shown"),
    [(LOGISTIC, True), (GaussianNB(), True), (LinearSVC(), False)],
    ids=["logistic", "bayes", "labels only"],
)
def test_a_scikit_learn_classifier_is_audited(trainer, shown, tmp_path):
    attacks = ["gap", "noise-ratio", "gap-ratio"] + ["lira"] * shown
    found = audit_recipe(digits(), trainer, attacks=attacks, store=Store(tmp_path), **SMALL)
    assert [attack.name for attack in found.results.attacks] == attacks
    assert found.results.description == str(trainer)


def test_by_default_what_the_models_do_not_show_is_left_out():
    found = audit_recipe(digits(), LinearSVC(), budget=2, **SMALL)
    left_out = {one.name: one.reason for one in found.results.left_out}
    assert left_out["lira"] == "the target answers with labels only"
    assert "gap" in {attack.name for attack in found.results.attacks}


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"repeats": 1}, "repeats must be at least 2, got 1"),
        ({"repeats": 7}, r"repeats must lie in \[2, references \+ 2 = 6\], got 7"),
        ({"attacker": Attacker(references=5)}, "references must be an even number from 2 to 256, got 5"),
        ({"samples": 19}, "samples must be at least 20, got 19"),
        ({"train_size": 401}, r"data must hold at least 2 \* train_size = 802 inputs, got 800"),
        ({"train_size": 19}, "train_size must be at least 20, got 19"),
        ({"attacks": ["lyra"]}, "attack 'lyra' is unknown: did you mean 'lira'"),
        ({"attacks": ["augmentation"], "budget": 1}, "budget must be at least 2 for attack 'augmentation', got 1"),
        ({"attacks": ["path"], "train_size": 400}, "attack 'path' cannot be run: it needs crafter networks"),
        ({"attacks": ["sampling"], "train_size": 300}, "attack 'sampling' cannot be run: it needs a shadow model"),
        ({"budget": 0}, "budget must be at least 1, got 0"),
        ({"domain": Box((2, 8, 8))}, "data must have shape"),
    ],
)
def test_what_cannot_be_audited_is_refused_before_any_training(settings, rule):
    def refuse(inputs, labels, *, seed):
        raise AssertionError("a model was trained")

    with pytest.raises(InvalidInput, match=rule):
        audit_recipe(digits(), refuse, **(SMALL | settings))


def test_without_samples_for_a_shadow_model_there_are_no_thresholds_of_it():
    found = audit_recipe(digits(240), GaussianNB(), attacks=["gap", "noise", "lira"], **SMALL)
    assert found.attack("noise").balanced_accuracy == [None] * 3
    assert None not in found.attack("lira").balanced_accuracy


def test_a_configuration_is_audited_in_its_folder(tmp_path):
    settings = RecipeSettings(
        data="digits",
        train_size=100,
        max_epochs=20,
        samples=40,
        references=4,
        repeats=2,
        attacks=["gap", "path"],
        budget=3,
        device="cpu",
        out=tmp_path / "run",
    )
    found = run(settings, store=Store(tmp_path / "store"))
    again = RecipeRecord.load(tmp_path / "run")
    assert again.results == found.results
    assert found.results.samples == 80
    assert found.attack("path").queries_per_sample.max <= 3
    assert found.config["repeats"] == 2
    with pytest.raises(InvalidInput, match=r"holds another audit \(it differs in repeats\)"):
        run(settings.model_copy(update={"repeats": 3}), store=None)
    with pytest.raises(InvalidInput, match="out must name the run folder"):
        run(settings.model_copy(update={"out": None}), store=None)

"""Which attacks an audit runs where nobody names them, and what models its attacker may train."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted

import hardlabel
from hardlabel import Attacker, Execution
from hardlabel.attacks import TABLE, Need, ScoreAttack, ladder
from hardlabel.audits.cases.terms import MOST_QUERIES, Terms
from hardlabel.checks import InvalidInput
from hardlabel.data import sources
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.kinds import run
from hardlabel.models.train import Recipe
from hardlabel.oracles.base import ScoreOracle
from hardlabel.runs.progress import Silent
from hardlabel.runs.settings import ModelSettings
from hardlabel.targets.registry import askable

IMAGES, BITS = Box((1, 8, 8)), BinaryFeatures(20)
CPU = torch.device("cpu")
STANDARD = {name for name, row in TABLE.items() if row.standard}
NO_TRAINER = dict.fromkeys((Need.REFERENCES, Need.GRADIENTS, Need.SHADOW), "no trainer")
ONE_NEIGHBOUR = KNeighborsClassifier(n_neighbors=1)


def names(chosen):
    return {row.name for row in chosen.rows}


# --- which attacks ---


@pytest.mark.parametrize("budget", [1, 8, 10, 50, 2500])
@pytest.mark.parametrize("missing", [{}, NO_TRAINER], ids=["all there", "no trainer"])
@pytest.mark.parametrize("domain", [IMAGES, BITS], ids=lambda domain: domain.kind)
def test_under_a_budget_the_ladders_attack_runs_beside_the_gap_and_those_that_see_scores(domain, missing, budget):
    chosen = Terms(budget=budget).chosen(domain, missing=missing, attacked=10)
    best = ladder.best(domain, budget, missing)
    assert chosen.rung == best
    seeing_scores = {name for name in STANDARD if isinstance(TABLE[name], ScoreAttack)}
    possible = {name for name in seeing_scores if TABLE[name].unplayable(missing=missing) is None}
    assert names(chosen) == {"gap", best.attack} | possible
    assert names(chosen) | set(chosen.left_out) == STANDARD
    if best.attack != "noise" and budget >= 2:
        told = f"{best.attack} is the strongest within {budget} queries; ask for this one by name"
        assert chosen.left_out["noise"] == told


def test_without_a_budget_the_standard_ones_run_that_send_no_more_than_a_million_queries():
    """The boundary search's usual 2,500 queries are a million at 400 samples."""
    few, many = (Terms().chosen(IMAGES, missing={}, attacked=count) for count in (400, 401))
    assert names(few) == STANDARD
    costly = {name for name in STANDARD if TABLE[name].usual == 2500}
    assert names(many) == STANDARD - costly
    assert many.left_out["boundary"] == "it would send the target up to 1,002,500 queries; ask for it by name"
    assert MOST_QUERIES == 400 * 2500
    everything = names(Terms().chosen(IMAGES, missing={}, attacked=10**9))
    assert everything >= {"gap"} | {name for name in STANDARD if isinstance(TABLE[name], ScoreAttack)}


def test_an_attack_runs_briefly_where_nobody_named_it():
    """With the queries at which more gain little; what it would cost is judged by those."""
    [noise] = [row for row in Terms().chosen(IMAGES, missing={}, attacked=10).rows if row.name == "noise"]
    assert noise.usual == TABLE["noise"].brief < TABLE["noise"].usual
    [named] = Terms(attacks=("noise",)).chosen(IMAGES, missing={}, attacked=10).rows
    assert named.usual == TABLE["noise"].usual
    between = MOST_QUERIES // noise.usual
    assert "noise" in names(Terms().chosen(IMAGES, missing={}, attacked=between))
    assert "noise" not in names(Terms().chosen(IMAGES, missing={}, attacked=between + 1))


def test_what_is_asked_for_by_name_or_with_all_the_rest_runs_whatever_it_costs():
    terms = Terms(attacks=("boundary", "noise"), budget=2500)
    assert [row.name for row in terms.chosen(IMAGES, missing={}, attacked=10**6).rows] == ["boundary", "noise"]
    chosen = Terms(attacks=("all",)).chosen(IMAGES, missing={}, attacked=10**6)
    assert [row.name for row in chosen.rows] == list(TABLE)
    chosen = Terms(attacks=("all",), budget=5).chosen(BITS, missing=NO_TRAINER, attacked=10**6)
    assert "noise" in names(chosen)
    assert "sampling" in chosen.left_out
    assert names(chosen) | set(chosen.left_out) == set(TABLE)


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row.required))
def test_an_attack_asked_for_that_lacks_something_is_refused_and_not_dropped(name):
    missing = dict.fromkeys(Need, "there is none")
    with pytest.raises(InvalidInput, match=f"attack '{name}' cannot be run: .*there is none"):
        Terms(attacks=(name,)).chosen(IMAGES, missing=missing, attacked=10)


# --- what is audited, and by whom ---


def digits(size=60, *, coins=False):
    """Members, non-members and population; with coins for labels, which can only be learned by heart."""
    samples = sources.load("digits").samples
    inputs, labels = samples.inputs.numpy(), samples.labels.numpy()
    if coins:
        labels = np.random.default_rng(0).integers(0, 10, len(labels))
    cuts = [slice(start, stop) for start, stop in ((0, size), (size, 2 * size), (2 * size, 6 * size))]
    return [(inputs[cut], labels[cut]) for cut in cuts]


def fitted(estimator, pair):
    return clone(estimator).fit(pair[0].reshape(len(pair[0]), -1), pair[1])


@pytest.mark.parametrize(
    "estimator",
    [LogisticRegression(tol=0.1), GaussianNB(), RandomForestClassifier(n_estimators=5, random_state=0), ONE_NEIGHBOUR],
    ids=lambda one: type(one).__name__,
)
def test_a_fitted_classifier_is_a_target_and_a_fresh_one_its_trainer(estimator):
    members, nonmembers, population = digits()
    target = fitted(estimator, members)
    record = hardlabel.audit(
        target,
        members,
        nonmembers,
        population=population,
        trainer=estimator,
        attacks=["gap", "gap-ratio", "lira", "shadow-network"],
        attacker=Attacker(references=4),
    )
    shown = target.score(nonmembers[0].reshape(60, -1), nonmembers[1])
    assert record.results.target.test_accuracy.value == pytest.approx(shown)
    assert record.results.target.description == type(estimator).__name__
    assert record.results.references.count == 4
    assert [attack.references for attack in record.results.attacks] == [0, 4, 4, 0]


def test_a_classifier_that_learns_coins_by_heart_is_found_out():
    members, nonmembers, population = digits(coins=True)
    target = fitted(KNeighborsClassifier(n_neighbors=1), members)
    record = hardlabel.audit(
        target, members, nonmembers, population=population, trainer=ONE_NEIGHBOUR, attacks=["gap", "gap-ratio"]
    )
    assert record.results.target.train_accuracy.value == 1.0
    # Non-members' nearest neighbours have coins of ten sides.
    for attack in record.results.attacks:
        assert attack.auc.value > 0.9
    assert not hasattr(ONE_NEIGHBOUR, "classes_")


def test_a_classifier_without_probabilities_is_audited_by_labels_alone():
    members, nonmembers, population = digits()
    target = fitted(LinearSVC(), members)
    record = hardlabel.audit(target, members, nonmembers, population=population, trainer=LinearSVC(), budget=2)
    assert all(attack.access == "label" for attack in record.results.attacks)
    with pytest.raises(InvalidInput, match="attack 'lira' cannot be run: the target answers with labels only"):
        hardlabel.audit(target, members, nonmembers, trainer=LinearSVC(), attacks=["lira"])


def test_references_may_miss_a_class_that_the_target_knows():
    """The last class has two samples: most halves of the pool have fewer classes than the target."""
    members, nonmembers, population = digits(coins=True)
    for _, labels in (members, nonmembers, population):
        labels[labels == 9] = 0
    members[1][:1], nonmembers[1][:1] = 9, 9
    record = hardlabel.audit(
        fitted(GaussianNB(), members),
        members,
        nonmembers,
        population=population,
        trainer=GaussianNB(),
        attacks=["lira", "shadow-network"],
        attacker=Attacker(references=4),
    )
    assert record.results.target.classes == 10
    assert np.isfinite(record.scores["score"]).all()


def test_an_unfitted_classifier_is_no_target():
    members, nonmembers, _ = digits()
    with pytest.raises(InvalidInput, match="target must be fitted, got GaussianNB without classes_"):
        hardlabel.audit(GaussianNB(), members, nonmembers)


def test_a_recipe_trains_shadow_and_references(tmp_path):
    members, nonmembers, population = digits()
    record = hardlabel.audit(
        fitted(GaussianNB(), members),
        members,
        nonmembers,
        population=population,
        trainer=Recipe(architecture="logistic", max_epochs=5),
        attacks=["gap", "noise", "gap-ratio", "path"],
        attacker=Attacker(references=2),
        budget=3,
        store=hardlabel.Store(tmp_path),  # A classifier is told by its state: no name is needed.
    )
    assert record.results.shadow.description == "logistic, adam 0.001"
    assert record.results.references.count == 2
    assert record.results.references.crafters >= 2
    assert record.attack("path").queries_per_sample.max <= 3


@pytest.mark.parametrize("budget", [None, 3])
def test_references_unlike_the_target_are_told_and_standardized(budget):
    members, nonmembers, population = digits()
    record = hardlabel.audit(
        fitted(GaussianNB(), members),
        members,
        nonmembers,
        population=population,
        trainer=LogisticRegression(tol=0.1),
        attacks=["lira", "path"],
        attacker=Attacker(references=4, alike=False),
        budget=budget,
    )
    assert not record.results.references.alike
    assert record.attack("lira").calibration.startswith("values standardized per model")
    assert record.attack("path").queries_per_sample.max <= (budget or 10)


@pytest.mark.long
@pytest.mark.parametrize("references", [2, 4])
def test_few_references_are_enough_for_whatever_runs(references):
    """With one pair nothing can be learned from a second one: what needs it is left out, and the rest goes on."""
    members, nonmembers, population = digits(30)
    record = hardlabel.audit(
        fitted(GaussianNB(), members),
        members,
        nonmembers,
        population=population,
        trainer=GaussianNB(),
        attacker=Attacker(references=references),
        attacks=["all"],
        budget=9,
    )
    ran = {attack.name for attack in record.results.attacks}
    assert {"gap", "path", "gap-ratio", "lira"} <= ran
    assert ("path-estimate" in ran) == (references == 4)
    assert ran | {one.name for one in record.results.left_out} == set(TABLE)


class Told(Silent):
    def __init__(self):
        self.stages = []

    def stage(self, title, total, unit):
        self.stages.append(title)


@pytest.mark.parametrize(
    ("attack", "trained"),
    [
        ("boundary-random", []),
        ("noise", ["training the shadow model"]),
        ("lira", ["training 12 reference models"]),
        ("gap-ratio", ["training 12 reference models"]),
    ],
)
def test_nothing_is_trained_that_no_attack_needs(attack, trained):
    members, nonmembers, population = digits()
    watch = Told()
    hardlabel.audit(
        fitted(GaussianNB(), members),
        members,
        nonmembers,
        population=population,
        trainer=GaussianNB(),
        attacks=[attack],
        budget=25,
        execution=Execution(watch=watch),
    )
    assert [title for title in watch.stages if "training" in title] == trained


def test_a_tiny_audit_by_configuration_says_what_it_could_not_train(tmp_path):
    """Twelve training samples are too few for a shadow model, references, crafters or a surrogate."""
    settings = ModelSettings(
        data="digits", train_size=12, max_epochs=2, budget=10, attacks=["all"], device="cpu", out=tmp_path
    )
    record = run(settings, store=None)
    ran = {attack.name for attack in record.results.attacks}
    assert "gap" in ran
    assert {"path", "transfer", "oslo", "yoqo", "lira"} <= {one.name for one in record.results.left_out}


# --- classifiers as oracles ---


def test_the_identity_of_a_classifier_is_its_state():
    members, nonmembers, _ = digits()
    one, same, other = (
        askable(fitted(GaussianNB(), pair), CPU, role="target") for pair in (members, members, nonmembers)
    )
    assert one.identity == same.identity != other.identity
    assert one.identity["device"] is None
    assert one.torch_model is None


def test_a_classifier_shows_scores_only_where_it_has_probabilities():
    members, _, _ = digits()
    shown = askable(fitted(GaussianNB(), members), CPU, role="target")
    hidden = askable(fitted(LinearSVC(), members), CPU, role="target", classes=12)
    assert isinstance(shown.scores, ScoreOracle)
    assert hidden.scores is None
    inputs, ids = torch.from_numpy(members[0]), torch.arange(60)
    assert torch.equal(shown.labels.ask(inputs, ids), shown.scores.ask_scores(inputs, ids).argmax(1))
    wide = askable(fitted(GaussianNB(), members), CPU, role="target", classes=12)
    assert wide.scores.ask_scores(inputs, ids).shape == (60, 12)
    narrow = askable(fitted(GaussianNB(), members), CPU, role="target", classes=3)
    assert narrow.scores.ask_scores(inputs, ids).shape == (60, 10)  # It knows more than it is told.


def test_an_object_that_answers_for_itself_is_taken_at_its_word():
    """An oracle that happens to predict as well is asked by `ask`."""

    class Both(GaussianNB):
        def ask(self, inputs, ids):
            return torch.full((len(inputs),), 7)

    members, _, _ = digits()
    model = fitted(Both(), members)
    check_is_fitted(model)
    answers = askable(model, CPU, role="target").labels.ask(torch.from_numpy(members[0]), torch.arange(60))
    assert answers.unique().tolist() == [7]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_target_is_back_on_its_device_after_an_audit():
    members, nonmembers, _ = digits()
    target = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    hardlabel.audit(target, members, nonmembers, attacks=["gap"], device="cuda")
    assert target[1].weight.device.type == "cpu"


@pytest.mark.parametrize(
    ("classifier", "named"), [(LinearSVC(), "gap-ratio"), (DecisionTreeClassifier(), "designed")], ids=str
)
def test_questions_are_designed_by_models_that_show_confidences_and_by_no_others(classifier, named):
    rng = np.random.default_rng(0)
    pay = rng.normal(size=700).round(3)
    frame = pd.DataFrame({"age": rng.integers(18, 90, 700), "job": rng.choice(list("abcdefgh"), 700), "pay": pay})
    labels = np.where(frame.age + rng.normal(scale=20, size=700) > 55, "yes", "no")
    encoded = ColumnTransformer([("jobs", OneHotEncoder(handle_unknown="ignore"), ["job"])], remainder="passthrough")
    model = make_pipeline(encoded, classifier).fit(frame[:100], labels[:100])
    record = hardlabel.audit(
        model,
        (frame[:100], labels[:100]),
        (frame[100:200], labels[100:200]),
        population=(frame[200:], labels[200:]),
        trainer="same",
        budget=3,
        attacker=Attacker(references=4),
    )
    assert record.results.choice.attack == named
    assert record.attack(named).access == "label"

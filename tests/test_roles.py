"""Target, shadow, reference, surrogate: what would be misread is refused. Classes have one source."""

import re

import numpy as np
import pytest
import torch
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from hardlabel import Attacker, InvalidInput, Recipe, audit, audit_planted, audit_recipe, defend, plant
from hardlabel.audits.attacker.references import refuse_diverged
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LOWEST
from hardlabel.targets.estimators import of_estimator
from hardlabel.targets.padded import Padded, padded, width

NAN, INF = float("nan"), float("inf")
CPU = torch.device("cpu")


def blobs(count, *, classes=2, without=None, seed=0):
    """Points around `classes` centres on a circle; none of the class `without`."""
    rng = np.random.default_rng([seed, count, classes])
    labels = rng.permutation(np.arange(count) % classes)
    if without is not None:
        labels[labels == without] = (without + 1) % classes
    angles = 2 * np.pi * labels / classes
    points = np.stack([np.cos(angles), np.sin(angles)], 1) + 0.6 * rng.normal(size=(count, 2))
    return points.astype(np.float32), labels


def half(inputs):
    return (inputs[:, 0] < 0).long()


class Labels:
    """Answers with what `spoil` makes of right labels."""

    def __init__(self, spoil):
        self.spoil = spoil

    def ask(self, inputs, ids):
        return self.spoil(half(inputs))


class Scores:
    """Answers with what `spoil` makes of right log probabilities (q, 2)."""

    def __init__(self, spoil):
        self.spoil = spoil

    def ask_scores(self, inputs, ids):
        return self.spoil(nn.functional.one_hot(half(inputs), 2).mul(0.8).add(0.1).log())


class Predicts:
    """A classifier whose labels or probabilities are spoiled."""

    classes_ = (0, 1)

    def __init__(self, *, labels=lambda told: told, chances=lambda told: told):
        self.spoil_labels, self.spoil_chances = labels, chances

    def predict(self, rows):
        return self.spoil_labels((rows[:, 0] < 0).astype(np.int64))

    def predict_proba(self, rows):
        return self.spoil_chances(np.stack([1.0 * (rows[:, 0] >= 0), 1.0 * (rows[:, 0] < 0)], 1))


class Network(nn.Module):
    def __init__(self, spoil):
        super().__init__()
        self.spoil = spoil

    def forward(self, inputs):
        logit = -4 * inputs[:, 0]
        return self.spoil(torch.stack([torch.zeros_like(logit), logit], 1))


def at(row, value):
    """Sets one row of the answers, or of all rows without a row."""

    def spoil(told):
        told = np.asarray(told).astype(np.float64)
        told[slice(None) if row is None else min(row, len(told) - 1)] = value
        return told

    return spoil


# What answers, and what the error says besides the role.
WRONG = {
    "labels: floats": (Labels(lambda told: told.double()), "floats for .*: round"),
    "labels: fractions": (Labels(lambda told: told + 0.5), "fractions for .* row 0: .*: round"),
    "labels: NaN": (Labels(at(None, NAN)), "NaN or infinity for .* row 0: nan"),
    "labels: -1": (Labels(lambda told: 2 * told - 1), "negative numbers for .*the first is row .*-1"),
    "labels: short": (Labels(lambda told: told[1:]), "answer each input once"),
    "labels: column": (Labels(lambda told: told[:, None]), "got torch.int64"),
    "labels: None": (Labels(lambda told: None), "got NoneType"),
    "labels: names": (Labels(lambda told: ["dog"] * len(told)), "'dog' in row 0"),
    "scores: probabilities": (Scores(lambda told: told.exp()), "got probabilities .*take logarithms"),
    "scores: NaN": (Scores(lambda told: told * NAN), "got NaN for .* row 0"),
    "scores: infinity": (Scores(lambda told: told + INF), "got infinity for .* row 0"),
    "scores: above 0": (Scores(lambda told: told + 5), "got more for .* row 0: .*: apply log_softmax"),
    "scores: one column": (Scores(lambda told: told[:, :1]), "2 classes at least"),
    "estimator: NaN": (Predicts(labels=at(None, NAN)), "got others for .* row 0: nan"),
    "estimator: fractions": (Predicts(labels=lambda told: told + 0.25), r"its classes \[0, 1\], got others .* row 0: "),
    "estimator: -1": (Predicts(labels=lambda told: 2 * told - 1), "got others for .*-1"),
    "estimator: another class": (Predicts(labels=lambda told: told + 7), "got others for .* row 0: "),
    "estimator: names": (Predicts(labels=lambda told: np.array(["dog"] * len(told))), "with numbers, got .*'dog'"),
    "estimator: short": (Predicts(labels=lambda told: told[1:]), "predict must answer"),
    "network: NaN": (Network(lambda told: told * NAN), "NaN or infinity for .* row 0"),
    "network: infinity": (Network(lambda told: told + INF), "NaN or infinity for .* row 0"),
    "network: sigmoid": (Network(lambda told: told[:, 1:].sigmoid()), "must be a logit .*Leave the sigmoid out"),
    "network: maps": (Network(lambda told: told[:, :, None]), "must map"),
}
WRONG_CHANCES = {
    "NaN": (Predicts(chances=lambda told: told * NAN), "finite numbers, got others for .* row 0"),
    "infinity": (Predicts(chances=lambda told: told + INF), "finite numbers, got others for .* row 0"),
    "names": (Predicts(chances=lambda told: [["dog", "cat"]] * len(told)), "predict_proba must answer with numbers"),
    "another width": (Predicts(chances=lambda told: told[:, :1]), "must show probabilities"),
}


def asked_as(role, model, attacks):
    members, others, population = blobs(60, seed=1), blobs(60, seed=2), blobs(140, seed=3)
    good, trained = Predicts(), []

    def trainer(inputs, labels, *, seed):
        trained.append(seed)
        return model

    target = model if role == "target" else good
    with pytest.raises(InvalidInput) as error:
        audit(
            target,
            members,
            others,
            population=population,
            trainer=trainer,
            train_size=60,
            attacks=attacks,
            attacker=Attacker(references=2),
        )
    assert not (trained and role == "target"), "refused before training"
    return str(error.value)


@pytest.mark.parametrize(
    ("role", "attack"), [("target", "noise"), ("shadow model", "noise"), ("reference model 1", "gap-ratio")]
)
@pytest.mark.parametrize("wrong", WRONG)
def test_every_role_refuses_what_is_no_answer(wrong, role, attack):
    model, told = WRONG[wrong]
    message = asked_as(role, model, [attack])
    assert message.startswith(role)
    assert re.search(told, message), message


@pytest.mark.parametrize(
    ("role", "attack"), [("target", "loss"), ("shadow model", "shadow-network"), ("reference model", "rmia-offline")]
)
@pytest.mark.parametrize("wrong", WRONG_CHANCES)
def test_every_role_refuses_probabilities_that_are_none(wrong, role, attack):
    model, told = WRONG_CHANCES[wrong]
    message = asked_as(role, model, [attack])
    assert message.startswith(role)
    assert re.search(told, message), message


def test_a_surrogate_or_crafter_that_diverged_is_refused():
    points = Samples(ids=torch.arange(30), inputs=torch.rand(30, 2), labels=torch.zeros(30).long(), domain=Box((2,)))

    class Partly(nn.Module):
        def forward(self, inputs):
            return torch.where(torch.arange(len(inputs))[:, None] > 4, NAN, inputs)

    refuse_diverged(nn.Linear(2, 2), points, role="surrogate")
    with pytest.raises(InvalidInput, match=r"^surrogate must .* for 25 of 30 inputs \(the first is row 5\)"):
        refuse_diverged(Partly(), points, role="surrogate")


# --- classes: one source ---


def record_of(target, *, classes, attacks, trainer=None, without=None, **kwargs):
    """An audit of samples of `classes` classes, of which the members lack the class `without`."""
    members, others = blobs(80, classes=classes, without=without, seed=1), blobs(80, classes=classes, seed=2)
    return audit(
        target,
        members,
        others,
        population=blobs(200, classes=classes, without=without, seed=3) if trainer is not None else None,
        trainer=trainer,
        train_size=80,
        attacks=attacks,
        attacker=Attacker(references=4),
        **kwargs,
    )


ALL_SORTS = ["gap", "noise", "gap-ratio", "loss", "shadow-network", "lira"]


def net_of(labels, inputs, *, outputs, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, outputs))
    step = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(30):
        step.zero_grad()
        nn.functional.cross_entropy(net(torch.as_tensor(inputs)), torch.as_tensor(labels)).backward()
        step.step()
    return net


def test_the_last_class_missing_from_training_is_like_any_other():
    """The figures of a classifier that never saw the class stay as they are when the class gets another number."""
    swap = np.array([0, 3, 2, 1])

    def figures(numbers):
        members, others, rest = (
            blobs(80, classes=4, without=3, seed=1),
            blobs(80, classes=4, seed=2),
            blobs(200, classes=4, without=3, seed=3),
        )
        members, others, rest = ((inputs, numbers[labels]) for inputs, labels in (members, others, rest))
        target = GaussianNB().fit(*members)
        assert len(target.classes_) == 3
        record = audit(
            target,
            members,
            others,
            population=rest,
            trainer=GaussianNB(),
            train_size=80,
            attacks=["gap", "noise", "loss", "lira"],
            attacker=Attacker(references=4),
        )
        assert record.results.target.classes == 4
        return [attack.auc.value for attack in record.results.attacks]

    assert figures(np.arange(4)) == pytest.approx(figures(swap), abs=1e-9)


def few(inputs, labels, *, seed):
    """Gives a network of as many outputs as its own training data have classes."""
    return net_of(labels, inputs, outputs=int(labels.max()) + 1, seed=seed)


@pytest.mark.parametrize(
    "trainer",
    [few, DecisionTreeClassifier(max_depth=4), Recipe(architecture="logistic", max_epochs=5)],
    ids=["function", "classifier", "recipe"],
)
def test_models_that_know_fewer_classes_than_the_task_are_attacked_with(trainer):
    members = blobs(80, classes=4, without=3, seed=1)
    target = net_of(members[1], members[0], outputs=4)
    record = record_of(target, classes=4, without=3, attacks=ALL_SORTS, trainer=trainer)
    assert record.results.target.classes == 4
    assert [attack.name for attack in record.results.attacks] == ALL_SORTS


@pytest.mark.parametrize("trainer", [None, Recipe(architecture="logistic", max_epochs=5)], ids=["alone", "recipe"])
def test_more_outputs_than_the_labels_show_end_in_an_audit(trainer):
    members = blobs(80, seed=1)
    target = net_of(members[1], members[0], outputs=5)
    attacks = ["gap", "noise", "loss"] if trainer is None else ALL_SORTS
    record = record_of(target, classes=2, attacks=attacks, trainer=trainer)
    assert record.results.target.classes == 5
    assert [attack.name for attack in record.results.attacks] == attacks


def test_fewer_outputs_than_the_labels_need_are_refused_before_training():
    trained = []

    def trainer(inputs, labels, *, seed):
        trained.append(seed)

    members = blobs(80, classes=3, seed=1)
    target = net_of(members[1], members[0], outputs=3)
    with pytest.raises(InvalidInput, match="labels must be below the target's 3 classes, got 3: number them from 0"):
        record_of(target, classes=4, attacks=["gap"], trainer=trainer)
    with pytest.raises(InvalidInput, match="labels must be below the target's 2 classes, got 3: number them from 0"):
        record_of(Scores(lambda told: told), classes=4, attacks=["gap"], trainer=trainer)
    assert not trained


@pytest.mark.parametrize(("role", "attack"), [("shadow model", "noise"), ("reference model 1", "gap-ratio")])
def test_models_that_show_more_classes_than_the_target_are_refused(role, attack):
    def wide(inputs, labels, *, seed):
        return net_of(labels, inputs, outputs=6)

    target = net_of(*blobs(80, seed=1)[::-1], outputs=3)
    with pytest.raises(InvalidInput, match=f"^{role} must show at most 3 classes, as many as the target, got 6"):
        record_of(target, classes=2, attacks=[attack], trainer=wide)
    silent = Labels(lambda told: told)
    record = record_of(silent, classes=2, attacks=[attack], trainer=wide)  # Which may know more than two classes.
    assert record.results.target.classes == 2


@pytest.mark.parametrize("attacker", [{}, {"labels": "target"}, {"shadow_labels": "target"}], ids=str)
def test_a_target_of_labels_may_know_a_class_beyond_the_labels(attacker):
    """Nobody knows how many classes it has: what it answers is a class, also in what own networks are trained on."""

    def knows_more(told):
        return torch.where(torch.arange(len(told)) % 7 == 0, 5, told)

    members, others, rest = blobs(80, seed=1), blobs(80, seed=2), blobs(240, seed=3)
    recipe = Recipe(architecture="logistic", max_epochs=3)
    record = audit(
        Labels(knows_more),
        members,
        others,
        population=rest,
        trainer=recipe,
        train_size=80,
        attacks=["gap", "noise", "gap-ratio"] if attacker else ["gap", "noise", "gap-ratio", "transfer"],
        attacker=Attacker(references=2, **attacker),
    )
    assert record.results.target.classes == (6 if attacker else 2)


def test_recipes_defenses_and_canaries_work_with_models_that_saw_fewer_classes():
    """The rare class has two samples: most models never see it."""
    inputs, labels = blobs(400, classes=3, seed=4)
    labels[[5, 250]] = 3
    data, some = (inputs, labels), Attacker(references=4)
    for trainer in (few, DecisionTreeClassifier(max_depth=4)):
        record = audit_recipe(data, trainer, train_size=100, repeats=2, attacks=["gap", "noise", "lira"], attacker=some)
        assert [attack.name for attack in record.results.attacks] == ["gap", "noise", "lira"]
    compared = defend(
        data,
        DecisionTreeClassifier(max_depth=4),
        defenses=["top-k"],
        levels={"top-k": [1]},
        attacks=["gap", "lira"],
        train_size=60,
        repeats=2,
        attacker=some,
    )
    assert compared.results.defenses
    planted = plant(data, canaries=30, train_size=200)
    tree = DecisionTreeClassifier(max_depth=4).fit(*blobs(200, classes=3, seed=5))
    assert audit_planted(tree, planted).results.bounds
    with pytest.raises(InvalidInput, match="labels must be below the target's 3 classes, got 3"):
        audit_planted(net_of(*blobs(200, classes=3, seed=5)[::-1], outputs=3), planted)


# --- padding ---


def test_padding_leaves_what_a_network_says_and_gives_the_rest_the_floor():
    inner, points = nn.Linear(2, 3), torch.randn(9, 2)
    logs = Padded(inner, classes=5, probabilities=False)(points).log_softmax(1)
    torch.testing.assert_close(logs[:, :3], inner(points).log_softmax(1))
    torch.testing.assert_close(logs[:, 3:], torch.full((9, 2), LOWEST))
    soft = nn.Sequential(inner, nn.Softmax(1))
    assert width(soft, points, device=CPU, role="model") == 3
    shown = padded(soft, points, classes=5, exact=True, device=CPU, role="model")(points)
    torch.testing.assert_close(shown, torch.cat([soft(points), torch.zeros(9, 2)], 1))
    assert padded(soft, points, classes=3, exact=True, device=CPU, role="model") is soft


@pytest.mark.parametrize("flat", [True, False])
def test_a_single_logit_is_padded_as_two_classes(flat):
    inner, points = nn.Linear(2, 1), torch.randn(9, 2)
    single = nn.Sequential(inner, nn.Flatten(0)) if flat else inner
    logs = padded(single, points, classes=3, exact=False, device=CPU, role="model")(points).log_softmax(1)
    expected = torch.cat([torch.zeros(9, 1), inner(points)], 1).log_softmax(1)
    torch.testing.assert_close(logs[:, :2], expected)
    assert width(single, points, device=CPU, role="model") == 2


def test_a_padded_classifier_keeps_its_role_and_its_classes():
    tree = DecisionTreeClassifier().fit(*blobs(40))
    wide = of_estimator(tree, role="reference model 2").padded(4)
    assert wide.classes == 4
    assert wide.padded(3).classes == 4
    with pytest.raises(InvalidInput, match=r"^reference model 2 must be fitted"):
        of_estimator(DecisionTreeClassifier(), role="reference model 2")

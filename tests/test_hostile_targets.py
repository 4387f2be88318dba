"""Broken and hostile targets, each through the default audit with a trainer: none may look as if it leaked nothing.

A target is refused (with the role and the reason), or its own error surfaces, or there is no verdict (with the reason),
or it was read rightly and is graded like the healthy model that it is.
"""

import time

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch import nn

import hardlabel
from hardlabel import Attacker, InvalidInput
from hardlabel.records.verdict import Grade

pytestmark = pytest.mark.slow

CLASSES, FEATURES, SIZE = 4, 8, 100


def vectors(count, seed):
    """Noisy classes: who knows their labels by heart is right on all of them, and on about half of the others."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(CLASSES, FEATURES))
    labels = rng.integers(0, CLASSES, count)
    inputs = (centres[labels] + rng.normal(size=(count, FEATURES))).astype(np.float32)
    return inputs, np.where(rng.random(count) < 0.4, rng.integers(0, CLASSES, count), labels)


def trained(inputs, labels, *, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    inputs, labels = torch.as_tensor(inputs), torch.as_tensor(labels)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.eval()


MEMBERS, NONMEMBERS, POPULATION = vectors(SIZE, 1), vectors(SIZE, 2), vectors(400, 3)


@pytest.fixture(scope="module")
def healthy():
    return trained(*MEMBERS, seed=0)


def audited(target, members=MEMBERS, nonmembers=NONMEMBERS):
    return hardlabel.audit(
        target,
        members,
        nonmembers,
        population=POPULATION,
        trainer=trained,
        attacker=Attacker(references=4),
    )


class Endpoint:
    """Answers with labels: `answer` gets the healthy model's labels, the inputs, and the rows asked before."""

    def __init__(self, model, answer):
        self.model, self.answer, self.asked = model, answer, 0

    def ask(self, inputs, ids):
        with torch.no_grad():
            labels = self.model(inputs).argmax(1)
        before, self.asked = self.asked, self.asked + len(inputs)
        return self.answer(labels, inputs, torch.arange(before, self.asked))


class Wrapped(nn.Module):
    """A network whose outputs are changed."""

    def __init__(self, model, change):
        super().__init__()
        self.model, self.change = model, change

    def forward(self, inputs):
        return self.change(self.model(inputs), inputs)


def after(count, other):
    """Healthy answers for `count` rows, then those of `other`."""
    return lambda labels, inputs, rows: torch.where(rows < count, labels, other(labels, inputs))


OTHER = trained(*vectors(SIZE, 7), seed=1)
GENERATOR = torch.Generator().manual_seed(0)


def random_labels(labels, *_):
    return torch.randint(0, CLASSES, labels.shape, generator=GENERATOR)


def raising(labels, inputs, rows):
    if rows.max() > 1000:
        raise ConnectionError("the server is gone")
    return labels


def mutating(labels, inputs, rows):
    inputs.zero_()
    return labels


def slow(labels, inputs, rows):
    time.sleep(1e-6 * len(rows))
    return labels


REFUSED, NO_VERDICT, GRADED = "refused", "no verdict", "graded"
ANSWERS = {
    "constant": (lambda labels, *_: torch.zeros_like(labels), NO_VERDICT, "same answer for every record"),
    "constant after 2,000 rows": (
        after(2000, lambda labels, inputs: torch.zeros_like(labels)),
        NO_VERDICT,
        "changed during the audit",
    ),
    "constant after 150 rows": (
        after(150, lambda labels, inputs: torch.zeros_like(labels)),
        NO_VERDICT,
        "changed during the audit",
    ),
    "exchanged after 800 rows": (
        after(800, lambda labels, inputs: OTHER(inputs).argmax(1)),
        NO_VERDICT,
        "changed during the audit",
    ),
    "random": (random_labels, NO_VERDICT, "no more often than guessing"),
    "labels shifted by 1": (lambda labels, *_: (labels + 1) % CLASSES, NO_VERDICT, "numbered otherwise"),
    "labels beyond the classes": (lambda labels, *_: labels + CLASSES, NO_VERDICT, "numbered otherwise"),
    "-1 for some rows": (
        lambda labels, inputs, rows: torch.where(inputs[:, 0] > 1, -1, labels),
        REFUSED,
        "target.*-1",
    ),
    "float labels": (lambda labels, *_: labels.float(), REFUSED, "target.*A regressor is no classifier"),
    "NaN labels": (lambda labels, *_: labels.float() * float("nan"), REFUSED, "target must answer"),
    "wrong length": (lambda labels, *_: labels[:-1], REFUSED, "target must answer"),
    "wrong dtype": (lambda labels, *_: [str(label) for label in labels.tolist()], REFUSED, "target must answer"),
    "mutating": (mutating, GRADED, ""),
    "slow": (slow, GRADED, ""),
    "one class never answered": (lambda labels, *_: labels.clamp(max=CLASSES - 2), GRADED, ""),
}
NETWORKS = {
    "NaN": (lambda outputs, inputs: outputs * float("nan"), REFUSED, "target.*NaN"),
    "NaN for some rows": (
        lambda outputs, inputs: torch.where(inputs[:, :1] > 2, float("nan"), outputs),
        REFUSED,
        "target.*NaN",
    ),
    "one output": (lambda outputs, inputs: outputs[:, :1], REFUSED, "labels must be below the target's 2 classes"),
    "softmax in the network": (lambda outputs, inputs: outputs.softmax(1), GRADED, ""),
    "writes into its inputs": (lambda outputs, inputs: (inputs.zero_(), outputs)[1], GRADED, ""),
}


def judge(run, outcome, words):
    """Checks how an audit ended. What is graded is graded like the healthy model: its leakage is clear, or worse."""
    if outcome == REFUSED:
        with pytest.raises(InvalidInput, match=f"(?s){words}"):
            run()
        return
    record = run()
    grade = record.results.verdict.grade
    if outcome == NO_VERDICT:
        assert grade is Grade.NO_VERDICT
        assert words in " ".join(record.reasons)
    else:
        assert grade in (Grade.CLEAR, Grade.SEVERE)


def test_the_healthy_model_leaks(healthy):
    judge(lambda: audited(healthy), GRADED, "")


@pytest.mark.parametrize(("answer", "outcome", "words"), ANSWERS.values(), ids=ANSWERS)
def test_endpoints(healthy, answer, outcome, words):
    judge(lambda: audited(Endpoint(healthy, answer)), outcome, words)


@pytest.mark.parametrize(("change", "outcome", "words"), NETWORKS.values(), ids=NETWORKS)
def test_networks(healthy, change, outcome, words):
    judge(lambda: audited(Wrapped(healthy, change)), outcome, words)


def test_exchanged_groups(healthy):
    judge(lambda: audited(healthy, NONMEMBERS, MEMBERS), NO_VERDICT, "exchanged")


def test_a_target_that_raises_shows_its_own_error(healthy):
    with pytest.raises(ConnectionError, match="the server is gone"):
        audited(Endpoint(healthy, raising))


def test_a_regressor_is_no_classifier():
    regressor = LinearRegression().fit(*MEMBERS)
    judge(lambda: audited(regressor), REFUSED, "target must be .*classifier.*LinearRegression")


def test_two_classes_and_one_logit_are_read_by_its_sign():
    def binary(group):
        return group[0], group[1] % 2

    def trainer(inputs, labels, *, seed):
        model = trained(inputs, labels, seed=seed)
        return Wrapped(model, lambda outputs, inputs: outputs[:, 1:2] - outputs[:, :1])

    members = binary(MEMBERS)
    record = hardlabel.audit(
        trainer(*members, seed=0),
        members,
        binary(NONMEMBERS),
        population=binary(POPULATION),
        trainer=trainer,
        attacker=Attacker(references=4),
    )
    assert record.results.target.train_accuracy.value == 1.0
    assert record.results.verdict.grade in (Grade.CLEAR, Grade.SEVERE)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(trained, id="network", marks=pytest.mark.long),
        pytest.param(lambda *data, seed: LogisticRegression(max_iter=500).fit(*data), id="logistic regression"),
    ],
)
def test_the_grade_does_not_depend_on_the_attacks_asked_for(make):
    """The same grade, or "not fully tested", or "at least" where another attack proves more."""
    verdicts = {}
    for names in (None, ("path",), ("gap",), ("noise", "path"), ("gap", "boundary"), ("loss",)):
        record = hardlabel.audit(
            make(*MEMBERS, seed=0),
            MEMBERS,
            NONMEMBERS,
            population=POPULATION,
            trainer=LogisticRegression(max_iter=500) if make is not trained else trained,
            attacks=None if names is None else list(names),
            attacker=Attacker(references=4),
        )
        verdicts[names] = record.results.verdict
    whole = verdicts[None]
    assert verdicts["path",].grade is whole.grade or whole.at_least
    for names, found in verdicts.items():
        assert found.grade in (whole.grade, Grade.NOT_TESTED) or found.at_least or whole.at_least, names
    assert verdicts["loss",].grade is Grade.NOT_TESTED
    assert verdicts["gap",].grade is Grade.NOT_TESTED or verdicts["gap",].at_least

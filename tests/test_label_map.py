"""Audits of targets that name the classes otherwise than the data find what they find where the names are the same."""

import numpy as np
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.target import target_audit
from hardlabel.checks import InvalidInput

CPU = torch.device("cpu")
rng = np.random.default_rng(0)
X = rng.normal(size=(240, 4)).round(3)
CLASSES = np.digitize(X[:, 0] + rng.normal(size=240), [-0.7, 0, 0.7])
INSIDE, OUTSIDE = slice(0, 120), slice(120, 240)


class Shifted(DecisionTreeClassifier):
    """Knows the classes 0, 1, ... only, as the estimators of XGBoost do."""

    def fit(self, X, y):  # noqa: N803 - as scikit-learn calls it.
        if sorted(set(y)) != list(range(len(set(y)))):
            raise ValueError(f"Expected: 0, 1, ..., got {sorted(set(y))}")
        return super().fit(X, y)


def fitted(names, kind=DecisionTreeClassifier):
    return kind(random_state=0).fit(X[INSIDE].astype(np.float32), np.array(names)[CLASSES[INSIDE]])


def audited(target, names, label_map=(), trainer=None):
    """Accuracy on members and non-members, and the labels that the target gives the members, as classes."""
    labels = np.array(names, dtype=object if isinstance(names[0], str) else None)[CLASSES]
    made = target_audit(
        target,
        {"members": (X[INSIDE], labels[INSIDE]), "nonmembers": (X[OUTSIDE], labels[OUTSIDE])},
        domain=None,
        terms=Terms(attacks=("gap",)),
        trainer=trainer,
        train_size=None,
        samples=None,
        device=CPU,
        store=None,
        name=None,
        label_map=label_map,
    )
    right = []
    for group in (made.case.members, made.case.nonmembers):
        right.append(float((made.case.target.labels.ask(group.inputs, group.ids) == group.labels).double().mean()))
    return made, right


def pairs(own, names):
    return [f"{answer}={label}" for answer, label in zip(own, names, strict=True)]


TRUTH = [
    float((fitted([0, 1, 2, 3]).predict(X[part].astype(np.float32)) == CLASSES[part]).mean())
    for part in (INSIDE, OUTSIDE)
]


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ([0, 1, 2, 3], [1, 2, 3, 4]),
        ([1, 2, 3, 4], [0, 1, 2, 3]),
        ([0, 1, 2, 3], ["a", "b", "c", "d"]),
        (["a", "b", "c", "d"], [1, 2, 3, 4]),
        ([1, 0, 3, 2], [0, 1, 2, 3]),
        (["b", "c", "d", "a"], ["a", "b", "c", "d"]),
    ],
)
def test_a_map_gives_the_figures_of_equal_names(own, names):
    assert audited(fitted(own), names, pairs(own, names))[1] == TRUTH == [1.0, TRUTH[1]]
    assert TRUTH[1] < 0.6


@pytest.mark.parametrize(("own", "names"), [([0, 1, 2, 3], [1, 2, 3, 4]), ([1, 2, 3, 4], [0, 1, 2, 3])])
def test_the_first_error_gives_the_map(own, names):
    with pytest.raises(InvalidInput, match="--label-map") as error:
        audited(fitted(own), names)
    assert str(error.value).endswith(" ".join(f"--label-map {pair}" for pair in pairs(own, names)))


def test_clones_are_fitted_on_the_labels_of_the_target():
    target = fitted([0, 1, 2, 3], Shifted)
    made, right = audited(target, [1, 2, 3, 4], pairs([0, 1, 2, 3], [1, 2, 3, 4]), trainer="same")
    assert right == TRUTH
    members = made.case.members
    model = made.case.references.trainer.estimator.fit(members.inputs.numpy(), members.labels.numpy())
    assert model.fitted_.classes_.tolist() == [0, 1, 2, 3]
    assert (model.predict(members.inputs.numpy()) == members.labels.numpy()).all()


def test_a_module_that_numbers_its_outputs_follows_the_map():
    class Sign(torch.nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0], -inputs[:, 0]], 1)  # Output 0 where the first value is above 0.

    labels = np.where(X[:, 0] > 0, "yes", "no")
    given = {"members": (X[INSIDE], labels[INSIDE]), "nonmembers": (X[OUTSIDE], labels[OUTSIDE])}
    settings = {"domain": None, "terms": Terms(attacks=("gap",)), "trainer": None, "train_size": None, "samples": None}
    settings |= {"device": CPU, "store": None, "name": None}
    for label_map, right in ((["0=yes", "1=no"], 1.0), (["0=no", "1=yes"], 0.0)):
        case = target_audit(Sign(), given, label_map=label_map, **settings).case
        assert (case.target.labels.ask(case.members.inputs, case.members.ids) == case.members.labels).all() == right


def test_the_probabilities_of_answers_with_one_meaning_are_added_up():
    def shallow(random_state):
        return DecisionTreeClassifier(max_depth=2, random_state=random_state)

    target = fitted(["a", "b", "c", "d"], kind=shallow)
    names = ["low", "low", "high", "high"]
    made, _ = audited(target, names, pairs(["a", "b", "c", "d"], names))
    members = made.case.members
    low = int(members.labels[0] if CLASSES[0] < 2 else 1 - members.labels[0])
    shown = target.predict_proba(X[INSIDE].astype(np.float32))
    scores = made.case.target.scores.ask_scores(members.inputs, members.ids).exp().numpy()
    np.testing.assert_allclose(scores[:, low], shown[:, :2].sum(1), atol=1e-6)
    np.testing.assert_allclose(scores[:, 1 - low], shown[:, 2:].sum(1), atol=1e-6)

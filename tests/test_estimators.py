"""Scikit-learn classifiers answer as their own formulas say, in any batch, and only those with scores show some."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.targets import estimators
from hardlabel.targets.estimators import LOWEST, Estimator, EstimatorScores, estimator_hash, is_estimator, of_estimator


def table(count=90, features=4, seed=0):
    """Points of a cube, labelled by which third their first coordinate lies in."""
    rows = np.random.default_rng(seed).random((count, features), dtype=np.float32)
    return rows, (rows[:, 0] * 3).astype(np.int64)


def linear(weights, offsets, dtype=np.float64):
    """A logistic regression with these weights (classes, features)."""
    weights = np.array(weights, dtype=dtype)
    model = LogisticRegression().fit(*table(30, weights.shape[1]))
    model.coef_, model.intercept_ = weights, np.array(offsets, dtype=dtype)
    model.classes_ = np.arange(max(2, len(weights)))
    return model


def ids(inputs):
    return torch.arange(len(inputs))


class Shown:
    """A classifier that shows the probabilities, or their logarithms, that it was given."""

    def __init__(self, known, *, proba=None, logs=None):
        self.classes_ = np.array(known)
        if proba is not None:
            self.predict_proba = lambda rows: np.array(proba)
        if logs is not None:
            self.predict_log_proba = lambda rows: np.array(logs)

    def predict(self, rows):
        return self.classes_[[0] * len(rows)]


# --- what it answers ---


def test_labels_and_scores_are_those_of_the_formula():
    weights, offsets = [[2.0, -1.0], [0.5, 0.5], [-3.0, 1.0]], [0.1, -0.2, 0.3]
    oracle = of_estimator(linear(weights, offsets))
    inputs = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    logits = inputs.double() @ torch.tensor(weights).double().T + torch.tensor(offsets).double()
    assert torch.equal(oracle.ask(inputs, ids(inputs)), logits.argmax(1))
    assert len(logits.argmax(1).unique()) == 3
    scores = oracle.ask_scores(inputs, ids(inputs))
    assert (scores.dtype, scores.shape) == (torch.float32, (50, 3))
    torch.testing.assert_close(scores, logits.log_softmax(1).float(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confidences_that_round_to_one_stay_apart(dtype):
    oracle = of_estimator(linear([[1.0], [0.0], [-1.0]], [0.0, 0.0, 0.0], dtype))
    inputs = torch.tensor([[12.0], [18.0], [19.0], [30.0]])
    confidence = oracle.ask_scores(inputs, ids(inputs))[:, 0]
    logits = inputs.double() * torch.tensor([1.0, 0.0, -1.0])
    expected = -torch.log1p(logits[:, 1:].sub(logits[:, :1]).exp().sum(1))
    # What is left for the other classes is exact to float32's 1e-7 times the size of the logits.
    torch.testing.assert_close(confidence.double(), expected, rtol=1e-5, atol=0)


def test_probabilities_that_do_not_sum_to_one_are_taken_as_they_are():
    oracle = of_estimator(Shown([0, 1], proba=[[0.9, 0.4]]))
    scores = oracle.ask_scores(torch.zeros(1, 2), torch.zeros(1))
    torch.testing.assert_close(scores.exp(), torch.tensor([[0.9, 0.4]]))


def test_a_forests_zeros_are_finite_and_its_other_probabilities_are_its_own():
    rows, labels = table()
    model = RandomForestClassifier(7, random_state=0).fit(rows, labels)
    inputs = torch.from_numpy(table(seed=1)[0])
    shown = model.predict_proba(inputs.numpy())
    scores = of_estimator(model).ask_scores(inputs, ids(inputs)).double().numpy()
    assert (shown == 0).any()
    assert (shown == 1).any()
    assert (scores[shown == 0] == LOWEST).all()
    assert (scores[shown == 1] == 0).all()
    np.testing.assert_allclose(np.exp(scores[shown > 0]), shown[shown > 0], rtol=1e-6)


def test_labels_come_from_predict_even_where_another_class_is_likelier():
    rows, labels = table()
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.95).fit(rows, labels > 0)
    oracle, inputs = of_estimator(model), torch.from_numpy(rows)
    told = oracle.ask(inputs, ids(inputs))
    assert told.dtype == torch.int64
    assert torch.equal(told, torch.from_numpy(model.predict(rows)).long())
    assert not torch.equal(told, oracle.ask_scores(inputs, ids(inputs)).argmax(1))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({"logs": [[-0.5, 1e-9, -np.inf]]}, [-0.5, 0.0, LOWEST]),
        ({"logs": [[-60.0, -1.0, -49.0]]}, [LOWEST, -1.0, -49.0]),
        ({"proba": [[1.0 + 1e-12, 0.0, -1e-12]]}, [0.0, LOWEST, LOWEST]),
        ({"proba": [[0.25, 0.5, 0.25]], "logs": [[-9.0, -9.0, -9.0]]}, np.log([0.25, 0.5, 0.25])),
    ],
)
def test_scores_lie_between_the_floor_and_zero(shown, expected):
    oracle = of_estimator(Shown([0, 1, 2], **shown))
    scores = ChargedScores(oracle, Account()).ask_scores(torch.zeros(1, 2), torch.zeros(1))
    torch.testing.assert_close(scores[0], torch.tensor(expected).float())
    assert LOWEST <= float(scores.min()) <= float(scores.max()) <= 0


def test_a_class_that_was_missed_has_a_column_and_no_chance():
    rows, labels = table()
    names = np.array([0, 2, 5])
    model = LogisticRegression().fit(rows, names[labels])
    inputs = torch.from_numpy(rows)
    oracle = of_estimator(model, classes=7)
    scores = oracle.ask_scores(inputs, ids(inputs))
    assert scores.shape == (90, 7)
    assert bool((scores[:, [1, 3, 4, 6]] == LOWEST).all())
    np.testing.assert_allclose(scores[:, names].exp(), model.predict_proba(rows), rtol=1e-5, atol=1e-7)
    assert torch.equal(oracle.ask(inputs, ids(inputs)).unique(), torch.from_numpy(names))
    assert of_estimator(model).classes == 6


def test_columns_follow_the_order_of_the_classes():
    scores = of_estimator(Shown([2, 0], proba=[[0.9, 0.1]])).ask_scores(torch.zeros(1, 2), torch.zeros(1))
    torch.testing.assert_close(scores[0, [0, 2]].exp(), torch.tensor([0.1, 0.9]))


@pytest.mark.parametrize("kind", [float, bool, np.uint8])
def test_labels_are_integers_whatever_numbers_it_was_fitted_on(kind):
    rows, labels = table()
    labels = (labels > 0).astype(kind)
    oracle = of_estimator(DecisionTreeClassifier().fit(rows, labels))
    told = oracle.ask(torch.from_numpy(rows), torch.arange(90))
    assert told.dtype == torch.int64
    assert told.tolist() == labels.astype(int).tolist()


def test_images_are_flattened_row_by_row():
    rows, labels = table(60, 12)
    model = DecisionTreeClassifier(random_state=0).fit(rows, labels)
    fresh = table(60, 12, seed=1)[0]
    images = torch.from_numpy(fresh).reshape(60, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    assert Estimator(model).ask(images, ids(images)).tolist() == model.predict(fresh).tolist()


# --- how it is asked ---


def test_batches_are_bounded_and_change_nothing(monkeypatch):
    rows, labels = table()
    sizes, model = [], GaussianNB().fit(rows, labels)
    whole, inputs = of_estimator(model), torch.from_numpy(rows)
    expected = whole.ask(inputs, ids(inputs)), whole.ask_scores(inputs, ids(inputs))
    predict, proba = model.predict, model.predict_proba
    monkeypatch.setattr(model, "predict", lambda part: sizes.append(len(part)) or predict(part))
    monkeypatch.setattr(model, "predict_proba", lambda part: sizes.append(len(part)) or proba(part))
    monkeypatch.setattr(estimators, "MOST_ROWS", 40)
    assert torch.equal(whole.ask(inputs, ids(inputs)), expected[0])
    assert torch.equal(whole.ask_scores(inputs, ids(inputs)), expected[1])
    assert sizes == [40, 40, 10] * 2
    monkeypatch.setattr(estimators, "VALUES_IN_MEMORY", 4 * 45)  # Of 4 features, 45 rows; of 9 classes, 20.
    monkeypatch.setattr(estimators, "MOST_ROWS", 1000)
    whole.ask(inputs, ids(inputs))
    of_estimator(model, classes=9).ask(inputs, ids(inputs))
    assert sizes[6:] == [45, 45] + [20] * 4 + [10]


def test_inputs_stay_as_they_were():
    rows, labels = table()
    model = make_pipeline(StandardScaler(copy=False), LogisticRegression()).fit(rows.copy(), labels)
    inputs = torch.from_numpy(rows.copy())
    of_estimator(model).ask(inputs, ids(inputs))
    of_estimator(model).ask_scores(inputs, ids(inputs))
    assert np.array_equal(inputs.numpy(), rows)


def test_a_classifier_fitted_on_a_data_frame_gets_one():
    rows, labels = table()
    frame = pd.DataFrame(rows, columns=["a", "b", "c", "d"])
    by_name = ColumnTransformer([("scaled", StandardScaler(), ["a", "c"])], remainder="drop")
    model = make_pipeline(by_name, LogisticRegression()).fit(frame, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Also of feature names that do not fit.
        told = of_estimator(model).ask(torch.from_numpy(rows), torch.arange(90))
        shown = of_estimator(LogisticRegression().fit(frame, labels)).ask_scores(torch.from_numpy(rows), told)
    assert told.tolist() == model.predict(frame).tolist()
    assert shown.shape == (90, 3)


def test_every_query_can_be_charged():
    rows, labels = table()
    oracle, account = of_estimator(GaussianNB().fit(rows, labels)), Account()
    inputs = torch.from_numpy(rows)
    ChargedLabels(oracle, account).ask(inputs, ids(inputs))
    ChargedScores(oracle, account).ask_scores(inputs, ids(inputs))
    assert account.spent(torch.arange(90)).tolist() == [2] * 90


# --- the threat model ---


@pytest.mark.parametrize(
    "model",
    [
        LinearSVC(),
        SVC(),
        Perceptron(),
        RidgeClassifier(),
        make_pipeline(StandardScaler(), LinearSVC()),
        VotingClassifier([("tree", DecisionTreeClassifier())]),
        GridSearchCV(LinearSVC(), {"C": [1.0]}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_classifier_without_probabilities_has_no_way_to_scores(model):
    rows, labels = table()
    oracle = of_estimator(clone(model).fit(rows, labels))
    assert isinstance(oracle, LabelOracle)
    assert not isinstance(oracle, ScoreOracle)
    assert not hasattr(oracle, "ask_scores")
    assert oracle.ask(torch.from_numpy(rows), torch.arange(90)).shape == (90,)


@pytest.mark.parametrize(
    "model",
    [
        GaussianNB(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        VotingClassifier([("tree", DecisionTreeClassifier())], voting="soft"),
        GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2]}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_classifier_with_probabilities_is_both(model):
    oracle = of_estimator(clone(model).fit(*table()))
    assert isinstance(oracle, LabelOracle)
    assert isinstance(oracle, ScoreOracle)
    assert isinstance(oracle, EstimatorScores)


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        (LogisticRegression(), True),
        (make_pipeline(StandardScaler(), LinearSVC()), True),
        (GridSearchCV(DecisionTreeClassifier(), {"max_depth": [2]}), True),
        (Shown([0, 1]), True),
        (LogisticRegression, False),
        (Shown, False),
        (GridSearchCV, False),
        (LinearRegression(), False),
        (KMeans(), False),
        (StandardScaler(), False),
        (nn.Linear(2, 2), False),
        (len, False),
        (None, False),
    ],
    ids=lambda part: getattr(part, "__name__", type(part).__name__),
)
def test_classifiers_are_told_from_other_things(thing, told):
    assert is_estimator(thing) is told


# --- what is refused ---


def fitted_on(names):
    rows, labels = table()
    return DecisionTreeClassifier().fit(rows, np.array(names)[labels])


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (nn.Linear(2, 2), "model must be a scikit-learn classifier, got Linear"),
        (LinearRegression(), "model must be a scikit-learn classifier, got LinearRegression"),
        (LogisticRegression(), "model must be fitted, got LogisticRegression"),
        (make_pipeline(StandardScaler(), LinearSVC()), "model must be fitted, got Pipeline"),
        (fitted_on(["cat", "dog", "owl"]), "classes_ must be whole numbers from 0 on, got .*'cat'.*: fit the"),
        (fitted_on(["0", "1", "2"]), "classes_ must be whole numbers from 0 on"),
        (fitted_on([-1, 0, 1]), r"classes_ must be whole numbers from 0 on, got \[.*-1"),
        (fitted_on([[0, 1], [1, 0], [1, 2]]), "classes_ must be whole numbers from 0 on"),
        (Shown([0.0, 0.5]), "classes_ must be whole numbers from 0 on"),
        (Shown([]), "classes_ must be whole numbers from 0 on"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_what_cannot_answer_with_class_numbers_is_refused(model, rule):
    with pytest.raises(InvalidInput, match=rule):
        of_estimator(model)


def test_fewer_classes_than_it_knows_are_refused():
    with pytest.raises(InvalidInput, match="classes must be above the classifier's highest, 4, got 4"):
        of_estimator(fitted_on([0, 1, 4]), classes=4)
    assert of_estimator(fitted_on([0, 1, 4]), classes=5).classes == 5


def test_other_features_and_no_inputs_are_refused():
    oracle = of_estimator(fitted_on([0, 1, 2]))
    with pytest.raises(InvalidInput, match="inputs must have the classifier's 4 features, got 6"):
        oracle.ask(torch.zeros(2, 2, 3), torch.zeros(2))
    with pytest.raises(InvalidInput, match="at least one row"):
        oracle.ask(torch.zeros(0, 4), torch.zeros(0))


def test_probabilities_of_another_form_are_refused():
    with pytest.raises(InvalidInput, match=r"model must show probabilities \(1, 3\), .* got \(1, 2\)"):
        of_estimator(Shown([0, 1, 2], proba=[[0.5, 0.5]])).ask_scores(torch.zeros(1, 2), torch.zeros(1))


# --- its identity ---


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        make_pipeline(StandardScaler(), GaussianNB()),
        HistGradientBoostingClassifier(max_iter=2, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_hash_is_fixed_by_class_parameters_and_state(model):
    rows, labels = table()
    made = clone(model).fit(rows, labels)
    told = estimator_hash(made)
    assert len(told) == 40
    oracle = of_estimator(made)
    oracle.ask(torch.from_numpy(rows), torch.arange(90))
    assert told == estimator_hash(made)
    assert told == estimator_hash(clone(model).fit(rows, labels))
    assert told == estimator_hash(pickle.loads(pickle.dumps(made)))
    assert told != estimator_hash(clone(model).fit(rows, labels[::-1]))
    assert told != estimator_hash(clone(model))


def test_the_hash_knows_one_leaf_and_parameters_that_change_none():
    rows, labels = table()
    model = DecisionTreeClassifier(random_state=0).fit(rows, labels)
    told = estimator_hash(model)
    model.tree_.value[0] += 1
    assert told != estimator_hash(model)
    first = DecisionTreeClassifier(random_state=0, max_depth=50).fit(rows, labels)
    second = DecisionTreeClassifier(random_state=0, max_depth=60).fit(rows, labels)
    assert len({told, estimator_hash(first), estimator_hash(second)}) == 3


def test_a_classifier_that_cannot_be_pickled_has_no_hash():
    rows, labels = table()
    model = make_pipeline(FunctionTransformer(lambda part: part), LogisticRegression()).fit(rows, labels)
    assert estimator_hash(model) is None

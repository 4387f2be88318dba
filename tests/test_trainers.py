"""Trainers fit a model from a seed, and find it again where they can tell it from others."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from games import random_samples
from hardlabel.checks import InvalidInput
from hardlabel.data.augment import STILL, Move
from hardlabel.data.domain import Box
from hardlabel.models.train import Recipe, train
from hardlabel.models.trainers import EstimatorTrainer, FunctionTrainer, RecipeTrainer
from hardlabel.store import Store

SAMPLES = random_samples(Box((2, 3)), 40, classes=3)
TINY = Recipe(architecture="fc", max_epochs=2)
FOREST = RandomForestClassifier(n_estimators=3)
HUGE = 2**62 + 12_345  # Seeds are drawn from [0, 2**63).


def pieces(folder):
    return sorted(path.name for path in folder.glob("*.piece"))


# --- recipes ---


def test_a_recipe_trains_what_train_would_and_says_how_it_ended():
    made = RecipeTrainer(recipe=TINY, classes=3).fit(SAMPLES, 7)
    alone = train(TINY, SAMPLES, classes=3, seed=7)
    for one, other in zip(made.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert made.rows == 80
    assert made.told == f"2 epochs, train accuracy {alone.train_accuracy:.3f}"
    assert made.seconds > 0


def test_a_recipe_is_found_again_only_where_there_is_a_store(tmp_path):
    trainer = RecipeTrainer(recipe=TINY, classes=3, store=Store(tmp_path))
    made, epochs = trainer.fit(SAMPLES, 7), []
    again = trainer.fit(SAMPLES, 7, epochs.append)
    assert epochs == []
    assert made.seconds == again.seconds
    assert (made.rows, made.told) == (again.rows, again.told)
    RecipeTrainer(recipe=TINY, classes=3).fit(SAMPLES, 7, epochs.append)
    assert epochs
    assert len(list(tmp_path.glob("*.piece"))) == 1


@pytest.mark.parametrize(
    "trainer",
    [
        RecipeTrainer(recipe=TINY, classes=3),
        EstimatorTrainer(estimator=LogisticRegression()),
        FunctionTrainer(function=lambda inputs, labels, *, seed: {"seed": seed}, name="mine"),
    ],
    ids=lambda trainer: type(trainer).__name__,
)
def test_a_model_packed_elsewhere_is_found_by_who_keeps_it(tmp_path, trainer):
    """What `packed` gives in another process, kept under `key`, is what `fit` finds here."""
    keeper = replace(trainer, store=Store(tmp_path))
    payload = keeper.moved(torch.device("cpu")).packed(SAMPLES, 7)
    assert list(tmp_path.glob("*.piece")) == []
    keeper.store.save(keeper.key(SAMPLES, 7), payload)
    assert keeper.fit(SAMPLES, 7).seconds == keeper.unpacked(payload, SAMPLES).seconds
    assert len(list(tmp_path.glob("*.piece"))) == 1


def test_a_recipe_is_described_by_what_is_not_usual():
    described = [
        (TINY, "fc, adam 0.001"),
        (
            Recipe(weight_decay=0.01, stop_at_accuracy=0.9, augment=(STILL, Move(flip=True))),
            "cnn, adam 0.001, weight decay 0.01, 2 augmentations, stopped at accuracy 0.9",
        ),
    ]
    for recipe, words in described:
        trainer = RecipeTrainer(recipe=recipe, classes=3)
        assert trainer.description == words
        assert trainer.epochs == recipe.max_epochs


# --- estimators ---


def test_an_estimator_is_cloned_and_stays_as_it_was():
    forest = RandomForestClassifier(n_estimators=3, random_state=5)
    made = EstimatorTrainer(estimator=forest).fit(SAMPLES, 7)
    assert not hasattr(forest, "classes_")
    assert forest.random_state == 5
    assert made.model is not forest
    assert made.model.n_estimators == 3
    assert made.seconds > 0
    assert made.rows is None


def test_an_estimator_is_fitted_on_flat_rows_with_the_seed_it_can_take():
    model = EstimatorTrainer(estimator=FOREST).fit(SAMPLES, HUGE).model
    assert model.random_state == HUGE % 2**32
    alone = RandomForestClassifier(n_estimators=3, random_state=HUGE % 2**32)
    flat = SAMPLES.inputs.flatten(1).numpy()
    alone.fit(flat, SAMPLES.labels.numpy())
    assert np.array_equal(model.predict_proba(flat), alone.predict_proba(flat))


@pytest.mark.parametrize("estimator", [GaussianNB(), make_pipeline(StandardScaler(), LogisticRegression())], ids=str)
def test_an_estimator_without_random_state_is_fitted_too(estimator):
    model = EstimatorTrainer(estimator=estimator).fit(SAMPLES, 7).model
    assert model.predict(SAMPLES.inputs.flatten(1).numpy()).shape == (40,)


def test_a_fitted_estimator_is_found_again_by_class_parameters_samples_and_seed(tmp_path):
    store = Store(tmp_path)
    made = EstimatorTrainer(estimator=FOREST, store=store).fit(SAMPLES, 7)
    again = EstimatorTrainer(estimator=RandomForestClassifier(n_estimators=3), store=store).fit(SAMPLES, 7)
    assert again.seconds == made.seconds
    assert np.array_equal(again.model.predict_proba(np.eye(6)), made.model.predict_proba(np.eye(6)))
    assert len(pieces(tmp_path)) == 1
    others = [
        (RandomForestClassifier(n_estimators=4), SAMPLES, 7),
        (RandomForestClassifier(n_estimators=3, class_weight={0: 2.0}), SAMPLES, 7),
        (GaussianNB(), SAMPLES, 7),
        (FOREST, SAMPLES, 8),
        (FOREST, SAMPLES.take(slice(0, 30)), 7),
        (FOREST, SAMPLES.relabelled(SAMPLES.labels.flip(0)), 7),
    ]
    for number, (estimator, samples, seed) in enumerate(others):
        EstimatorTrainer(estimator=estimator, store=store).fit(samples, seed)
        assert len(pieces(tmp_path)) == number + 2


def test_an_estimator_is_described_in_one_line():
    words = EstimatorTrainer(estimator=make_pipeline(StandardScaler(), LogisticRegression(C=0.5))).description
    assert "\n" not in words
    assert "LogisticRegression(C=0.5)" in words


def test_of_an_estimator_numbers_are_shown_but_no_texts_and_no_objects():
    """Texts and objects may be paths, keys, or names of columns and classes."""
    estimator = LogisticRegression(C=0.5, solver="saga", max_iter=7, class_weight={0: 1.0})
    words = EstimatorTrainer(estimator=estimator).description
    assert words == "LogisticRegression(C=0.5, class_weight=..., max_iter=7, solver=...)"
    piped = make_pipeline(StandardScaler(with_mean=False), estimator, memory="/home/me/cache")
    assert EstimatorTrainer(estimator=piped).description == (
        f"Pipeline(memory=..., steps=[StandardScaler(with_mean=False), {words}])"
    )
    plain = LogisticRegression(C=2.0, tol=0.1)
    assert EstimatorTrainer(estimator=plain).description == str(plain)


@pytest.mark.parametrize("thing", [StandardScaler(), "forest", RandomForestClassifier, None], ids=str)
def test_what_cannot_predict_is_no_estimator(thing):
    with pytest.raises(InvalidInput, match="estimator must be a scikit-learn classifier, got"):
        EstimatorTrainer(estimator=thing)


# --- functions ---


class Fitted:
    """What a user's function may return."""

    def __init__(self, seed):
        self.seed = seed


@pytest.mark.parametrize(("arrays", "kind"), [(True, np.ndarray), (False, torch.Tensor)])
def test_a_function_is_handed_arrays_or_tensors_and_a_seed_that_numpy_takes(arrays, kind):
    handed = []

    def mine(inputs, labels, *, seed):
        handed.append((inputs, labels, seed))
        return Fitted(seed)

    made = FunctionTrainer(function=mine, arrays=arrays).fit(SAMPLES, HUGE)
    [(inputs, labels, seed)] = handed
    assert isinstance(inputs, kind)
    assert isinstance(labels, kind)
    assert torch.equal(torch.as_tensor(inputs), SAMPLES.inputs)
    assert torch.equal(torch.as_tensor(labels), SAMPLES.labels)
    assert seed == HUGE % 2**32
    np.random.default_rng(seed)
    assert made.model.seed == seed
    trainer = FunctionTrainer(function=mine, name="text")
    assert "mine" not in trainer.description  # Records show nothing of the user's code; the store's key does.
    assert trainer.key(SAMPLES, 0)["function"] == "mine"


def counted(calls):
    def mine(inputs, labels, *, seed):
        calls.append(seed)
        return Fitted(seed)

    return mine


@pytest.mark.parametrize(("name", "kept"), [(None, False), ("mine", True)])
def test_a_function_without_a_name_is_not_kept(tmp_path, name, kept):
    calls = []
    trainer = FunctionTrainer(function=counted(calls), name=name, store=Store(tmp_path))
    made = [trainer.fit(SAMPLES, 7) for _ in range(2)]
    assert len(calls) == (1 if kept else 2)
    assert len(pieces(tmp_path)) == kept
    assert [one.model.seed for one in made] == [7, 7]


def test_another_name_seed_or_data_means_another_model(tmp_path):
    calls, store = [], Store(tmp_path)
    mine = counted(calls)
    FunctionTrainer(function=mine, name="mine", store=store).fit(SAMPLES, 7)
    FunctionTrainer(function=mine, name="other", store=store).fit(SAMPLES, 7)
    FunctionTrainer(function=mine, name="mine", store=store).fit(SAMPLES, 8)
    FunctionTrainer(function=mine, name="mine", store=store).fit(SAMPLES.take(slice(0, 39)), 7)
    assert calls == [7, 7, 8, 7]


def test_a_function_whose_text_has_changed_trains_again(tmp_path, monkeypatch):
    """Written to a file, loaded, edited, loaded anew: as a user's script is."""
    calls, store = [], Store(tmp_path / "store")

    def load(number, text):
        path = tmp_path / f"script{number}.py"
        path.write_text(text)
        names = {"calls": calls}
        exec(compile(text, str(path), "exec"), names)
        return names["mine"]

    text = "def mine(inputs, labels, *, seed):\n    calls.append(seed)\n    return {'depth': 3}\n"
    for number, version in enumerate((text, text, text.replace("3", "4"))):
        FunctionTrainer(function=load(number, version), name="mine", store=store).fit(SAMPLES, 7)
    assert calls == [7, 7]


def test_a_function_without_text_is_kept_by_its_name(tmp_path):
    """A callable object, or one typed in a console, has no source to be compared."""
    calls = []

    class Callable:
        def __call__(self, inputs, labels, *, seed):
            calls.append(seed)
            return Fitted(seed)

    trainer = FunctionTrainer(function=Callable(), name="mine", store=Store(tmp_path))
    trainer.fit(SAMPLES, 7)
    trainer.fit(SAMPLES, 7)
    assert calls == [7]
    assert trainer.key(SAMPLES, 0)["function"] == "Callable"


class Locked(nn.Linear):
    """A network that no pickle can hold."""

    def __init__(self):
        super().__init__(6, 3)
        self.lock = threading.Lock()


@pytest.mark.parametrize("make", [Locked, lambda: lambda inputs: inputs], ids=["TypeError", "AttributeError"])
def test_a_model_that_cannot_be_written_is_returned_and_trained_again(tmp_path, make):
    calls = []

    def mine(inputs, labels, *, seed):
        calls.append(seed)
        return make()

    trainer = FunctionTrainer(function=mine, name="mine", store=Store(tmp_path))
    for _ in range(2):
        assert callable(trainer.fit(SAMPLES, 7).model)
    assert calls == [7, 7]
    assert pieces(tmp_path) == []


def test_a_network_of_a_function_comes_back_with_its_weights(tmp_path):
    def mine(inputs, labels, *, seed):
        torch.manual_seed(seed)
        return nn.Linear(6, 3)

    trainer = FunctionTrainer(function=mine, name="mine", store=Store(tmp_path))
    one, two = (trainer.fit(SAMPLES, 7).model for _ in range(2))
    assert one is not two
    assert torch.equal(one.weight, two.weight)


@pytest.mark.parametrize("function", [lambda inputs, labels: None, lambda inputs, labels, rng: None])
def test_a_function_that_takes_no_seed_is_refused(function):
    with pytest.raises(InvalidInput, match=r"trainer must take \(inputs, labels, \*, seed\), got one without seed"):
        FunctionTrainer(function=function)


def test_a_function_may_take_its_seed_among_others():
    def mine(inputs, labels, **settings):
        return Fitted(settings["seed"])

    assert FunctionTrainer(function=mine).fit(SAMPLES, 7).model.seed == 7

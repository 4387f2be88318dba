"""Defenses of the user's own training: data defenses against their definitions, functions and files as trainers."""

import math
import pickle
import threading

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import hardlabel
from commands import called
from defending import CPU, EVERYONE, MEMBERS, OTHERS, RECIPE, defender, plain
from hardlabel import Attacker, DefendRecord
from hardlabel.audits.cases.own_training import training_of
from hardlabel.audits.defenses import DefensesAudit
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.given import Columns, read_undivided
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.defenses.label_noise import LabelNoise
from hardlabel.defenses.moved_copies import MovedCopies
from hardlabel.defenses.noisy_copies import NoisyCopies
from hardlabel.defenses.selena_labels import SELENALabels
from hardlabel.defenses.table import TABLE, chosen
from hardlabel.defenses.trainer import defended
from hardlabel.executors import sendable
from hardlabel.models.model_store import content_hash
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import EstimatorTrainer, FunctionTrainer, RecipeTrainer
from hardlabel.oracles.base import LabelOracle
from hardlabel.runs.settings import DefensesSettings
from hardlabel.store import Store

DATA = [chosen([row.name])[1] for row in TABLE.values() if row.prepares]
of_data = pytest.mark.parametrize("strength", DATA, ids=lambda one: one.row.name)
FEW = {"train_size": 40, "repeats": 2, "attacker": Attacker(references=2), "samples": 30, "device": "cpu", "seed": 1}
TREE = DecisionTreeClassifier(max_depth=6, max_features=5)
LEVELS = {"rounding": [1], "noisy-copies": [0.5], "label-noise": [0.2], "selena-labels": [0.4]}


def table(rows=260, seed=0):
    """A table with text, booleans and missing numbers, and labels "no" and "yes"."""
    draws = np.random.default_rng(seed)
    age = draws.normal(40, 12, rows).round(1)
    frame = pd.DataFrame(
        {
            "ward": draws.choice(["a", "b", "c"], rows),
            "age": np.where(draws.random(rows) < 0.1, np.nan, age),
            "smokes": draws.random(rows) < 0.3,
            "visits": draws.integers(0, 9, rows),
        }
    )
    labels = np.where(age + 8 * frame["smokes"] + draws.normal(0, 6, rows) > 42, "yes", "no")
    return frame, labels


def coded(frame):
    """The table as numbers, as a tree takes them."""
    return pd.DataFrame({name: pd.factorize(frame[name], sort=True)[0] for name in frame})


class Coded(ClassifierMixin, BaseEstimator):
    """A tree on the table that insists on the types of the table."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, frame, labels):
        assert frame.dtypes.astype(str).to_dict() == table(5)[0].dtypes.astype(str).to_dict()
        assert set(labels) <= {"no", "yes"}
        self.inside_ = DecisionTreeClassifier(random_state=self.random_state).fit(self._rows(frame), labels)
        self.classes_ = self.inside_.classes_
        return self

    def _rows(self, frame):
        return np.stack(
            [
                frame["ward"].map({"a": 0, "b": 1, "c": 2}),
                frame["age"].fillna(-1),
                frame["smokes"].astype(int),
                frame["visits"],
            ],
            axis=1,
        )

    def predict(self, frame):
        return self.inside_.predict(self._rows(frame))

    def predict_proba(self, frame):
        return self.inside_.predict_proba(self._rows(frame))


def fit_coded(inputs, labels, *, seed):
    return Coded(random_state=seed).fit(inputs, labels)


# --- data defenses, against their definitions ---


def prepared(defense, samples, trainer=None, seed=3, **given):
    return defense.prepared(samples, trainer, defender(domain=samples.domain, **given), seed=seed)


def test_noisy_copies_take_the_place_of_each_sample_with_noise_of_their_own():
    domain = Box((1, 8, 8), -100.0, 100.0)  # So wide that noise is never clipped.
    samples = Samples(ids=MEMBERS.ids, inputs=MEMBERS.inputs, labels=MEMBERS.labels, domain=domain)
    defense = NoisyCopies(strength=0.5, copies=4)
    sigma = domain.noise_levels[4].sigma
    made = prepared(defense, samples)
    assert torch.equal(made.labels, MEMBERS.labels.repeat_interleave(4))
    noise = (made.inputs.reshape(200, 4, 64) - MEMBERS.inputs.reshape(200, 1, 64)).double() / sigma
    assert noise.std().item() == pytest.approx(1, abs=4 / math.sqrt(2 * noise.numel()))
    # Independent between copies of a sample and between samples.
    for first, second in ((noise[:, 0], noise[:, 1]), (noise[:-1], noise[1:])):
        assert (first * second).mean().abs() < 4 / math.sqrt(first.numel())
    assert bool((noise != 0).all())


@pytest.mark.parametrize(("distance", "copies"), [(1, 6), (2, 14), (3, 26)])
def test_moved_copies_are_all_shifts_and_the_mirror_image(distance, copies):
    made = prepared(MovedCopies(distance=distance), MEMBERS)
    by_image = made.inputs.reshape(200, copies, 1, 8, 8)
    assert torch.equal(by_image[:, 0], MEMBERS.inputs)
    assert torch.equal(made.labels, MEMBERS.labels.repeat_interleave(copies))
    shifts = [(r, d) for r in range(-3, 4) for d in range(-3, 4) if abs(r) + abs(d) <= distance]
    moves = {augment.Move(right=r, down=d) for r, d in shifts} | {augment.Move(flip=True)}
    assert len(moves) == copies
    twins = torch.stack([augment.apply(move, MEMBERS.inputs, fill=0.0) for move in moves], 1)
    assert torch.equal(by_image.flatten(2).sort(1).values, twins.flatten(2).sort(1).values)
    with pytest.raises(InvalidInput, match="'moved-copies' needs images, got a binary domain"):
        MovedCopies(distance=1).changes(defender(domain=BinaryFeatures(8)))


def test_label_noise_draws_so_many_labels_anew_and_tells_the_epsilon_of_its_definition():
    samples = EVERYONE
    defense, classes = LabelNoise(share=0.3), 10
    draws = torch.stack([prepared(defense, samples, seed=seed).labels for seed in range(8)])
    wrong = (draws != samples.labels).double().mean().item()
    expected = 0.3 * 9 / 10
    assert wrong == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / draws.numel()))
    steps = ((draws - samples.labels) % 10).flatten().bincount(minlength=10)[1:].double() / draws.numel()
    assert (steps - 0.03).abs().max() < 4.5 * math.sqrt(0.03 / draws.numel())
    by_class = draws[draws != samples.labels].bincount(minlength=10).double()
    assert by_class.min() > 0.7 * by_class.mean()  # No class is left out; classes are not equally frequent.
    kept, other = 0.7 + 0.3 / classes, 0.3 / classes
    assert defense.epsilon(classes) == pytest.approx(math.log(kept / other))
    assert torch.equal(prepared(defense, samples).inputs, samples.inputs)


class Parrot(ClassifierMixin, BaseEstimator):
    """Says the label of a point it has seen, and class 7 of all others."""

    fits = 0

    def fit(self, points, classes):
        type(self).fits += 1
        self.seen_ = {point.tobytes(): label for point, label in zip(points, classes, strict=True)}
        self.classes_ = np.arange(10)
        return self

    def predict(self, points):
        return np.array([self.seen_.get(point.tobytes(), 7) for point in points])


def test_labels_come_from_sub_models_that_never_saw_the_sample(monkeypatch):
    monkeypatch.setattr(Parrot, "fits", 0)
    made = prepared(SELENALabels(held_out=0.4, submodels=5), MEMBERS, EstimatorTrainer(estimator=Parrot()))
    assert torch.equal(made.labels, torch.full((200,), 7))
    assert torch.equal(made.inputs, MEMBERS.inputs)
    assert Parrot.fits == 5


def test_selena_labels_are_the_vote_of_the_models_of_a_naive_twin():
    from hardlabel import randomness
    from hardlabel.defenses.selena import held_out

    trainer = EstimatorTrainer(estimator=TREE)
    made = prepared(SELENALabels(held_out=0.6, submodels=5), MEMBERS, trainer, seed=11)
    out = held_out(200, submodels=5, without=3, seed=11)
    votes = np.zeros((200, 10))
    for number in range(5):
        seen = MEMBERS.take(~out[:, number])
        model = trainer.fit(seen, randomness.derive(11, "sub-model", number)).model
        for row in out[:, number].nonzero().flatten().tolist():
            votes[row, model.predict(MEMBERS.inputs[row].reshape(1, -1).numpy())[0]] += 1
    assert (votes.sum(1) == 3).all()
    top = votes.max(1)
    assert (votes[np.arange(200), made.labels.numpy()] == top).all()
    tied = (votes == top[:, None]).sum(1) > 1
    assert 0 < tied.sum() < 200
    assert (made.labels.numpy()[tied] != votes[tied].argmax(1)).any()  # Broken by lot, not by the order of classes.


# --- the contract of data defenses ---


def fit_tree(inputs, labels, *, seed):
    return DecisionTreeClassifier(random_state=seed, max_depth=6, max_features=5).fit(
        inputs.reshape(len(inputs), -1), labels
    )


TRAINERS = {
    "recipe": lambda store: RecipeTrainer(
        recipe=Recipe(architecture="fc", max_epochs=2), classes=10, device=CPU, store=store
    ),
    "estimator": lambda store: EstimatorTrainer(estimator=TREE, store=store),
    "function": lambda store: FunctionTrainer(function=fit_tree, name="tree", store=store),
}
trainers = pytest.mark.parametrize("make", TRAINERS.values(), ids=TRAINERS)


def answers(model):
    if isinstance(model, nn.Module):
        return model(OTHERS.inputs).argmax(1)
    return torch.from_numpy(model.predict(OTHERS.inputs.flatten(1).numpy()))


@of_data
@trainers
def test_a_data_defense_trains_what_a_seed_fixes_keeps_it_and_sends_it_elsewhere(strength, make, tmp_path):
    store = Store(tmp_path)
    object.__setattr__(store, "terminal", threading.Lock())  # The store of a run cannot be sent.
    trainer, before = make(store), content_hash(MEMBERS)
    made = defended(strength, trainer, defender(store=store))
    assert made.retrains
    assert made.training is None
    assert made.changes
    assert made.trainer is made.bare
    key = made.bare.key(MEMBERS, 0)
    assert store.load(key) is None
    first = answers(made.bare.fit(MEMBERS, 0).model)
    kept = store.load(key)
    assert torch.equal(answers(made.bare.unpacked(kept, MEMBERS).model), first)
    assert torch.equal(answers(made.bare.fit(MEMBERS, 0).model), first)
    assert not torch.equal(answers(made.bare.fit(MEMBERS, 1).model), first)
    assert store.load(trainer.key(MEMBERS, 0)) is None  # It is no model of the plain training.
    assert content_hash(Samples(**{n: getattr(MEMBERS, n) for n in ("ids", "inputs", "labels", "domain")})) == before
    moved = made.bare.moved(CPU)
    assert sendable(moved)
    there, pieces = cloudpickle.loads(cloudpickle.dumps(moved)), set(tmp_path.iterdir())
    assert torch.equal(answers(made.bare.unpacked(there.packed(MEMBERS, 0), MEMBERS).model), first)
    assert set(tmp_path.iterdir()) == pieces


@of_data
def test_a_data_defense_changes_the_data_within_the_domain_and_no_global_generator(strength):
    mixed = table(60)[0].drop(columns="age")
    domain = MixedTable.fit(mixed)
    rows = Samples(ids=torch.arange(60), inputs=domain.encode(mixed), labels=torch.arange(60) % 2, domain=domain)
    for samples in (rows, MEMBERS.take(slice(0, 60))):
        given = {"domain": samples.domain, "classes": int(samples.labels.max()) + 1}
        try:
            strength.data.changes(defender(**given))
        except InvalidInput:
            assert strength.row.name == "moved-copies"
            continue
        state, trainer, given = torch.random.get_rng_state(), EstimatorTrainer(estimator=TREE), defender(**given)
        first, again = (strength.data.prepared(samples, trainer, given, seed=3) for _ in range(2))
        assert torch.equal(state, torch.random.get_rng_state())
        samples.domain.check(first.inputs)
        assert first.domain == samples.domain
        assert content_hash(first) == content_hash(again) != content_hash(samples)
        other = strength.data.prepared(samples, trainer, given, seed=4)
        assert (content_hash(other) == content_hash(first)) == (strength.row.name == "moved-copies")
        assert set(first.labels.tolist()) <= set(range(given.classes))


def test_levels_of_one_data_defense_have_keys_of_their_own(tmp_path):
    trainer = plain(RECIPE)
    keys = {
        repr(defended(strength, trainer, defender()).bare.key(MEMBERS, 0))
        for row in TABLE.values()
        if row.prepares
        for strength in chosen([row.name])
    }
    assert len(keys) == 12


@pytest.mark.parametrize(
    ("name", "level", "told"),
    [
        ("noisy-copies", 1.5, r"strength must lie in \[0, 1\]"),
        ("moved-copies", 0, "distance must be at least 1"),
        ("label-noise", 1, "share must lie strictly between 0 and 1"),
        ("selena-labels", 0, "held_out must lie strictly between 0 and 1"),
    ],
)
def test_a_level_out_of_range_is_told_in_one_line(name, level, told):
    with pytest.raises(InvalidInput, match=f"level of defense '{name}': {told}"):
        chosen([name], {name: [level]})


# --- the user's own training, from Python ---


def test_a_function_and_the_classifier_it_fits_are_compared_alike_to_the_last_digit():
    given = {"defenses": list(LEVELS), "levels": LEVELS, "attacks": ["gap", "lira"], **FEW}
    by_function = hardlabel.defend(table(), fit_coded, **given)
    levels = {name: LEVELS[name] for name in ("rounding", "noisy-copies")}
    by_class = hardlabel.defend(table(), Coded(), **{**given, "defenses": list(levels), "levels": levels})
    names = [one.name for one in by_function.results.defenses]
    assert names == ["none", "rounding 1", "noisy-copies 0.5", "label-noise 0.2", "selena-labels 0.4"]
    for name in names[:3]:
        one, other = by_function.defense(name), by_class.defense(name)
        assert one.attacks == other.attacks
        assert (one.train_accuracy, one.test_accuracy) == (other.train_accuracy, other.test_accuracy)
    assert by_function.defense("none").train_accuracy == 1.0  # A whole tree learns its table by heart ...
    assert by_function.defense("noisy-copies 0.5").train_accuracy < 1.0  # ... and here it never saw it.
    assert by_function.config["trainer"] == "a trainer function"
    assert any("drawn anew" in one for one in by_function.defense("label-noise 0.2").changes)


def test_all_that_suit_leaves_out_what_changes_the_training_of_networks(monkeypatch):
    seen = []

    def stop(self, asking, started):
        seen.append(self.compared)
        raise KeyboardInterrupt

    monkeypatch.setattr(DefensesAudit, "play", stop)
    with pytest.raises(KeyboardInterrupt):
        hardlabel.defend(table(), fit_coded, **FEW)
    [asked] = seen
    reasons = {one.name.split()[0]: one.reason for one in asked.left_out}
    trained = {row.name for row in TABLE.values() if row.trains}
    assert set(reasons) == {*trained, "moved-copies"}
    assert {strength.row.name for strength, _ in asked.strengths} == set(TABLE) - set(reasons)
    assert all("changes the training: trainer must be a hardlabel.Recipe" in reasons[name] for name in trained)
    assert all("\n" not in reason for reason in reasons.values())
    assert {row.suits for row in TABLE.values() if row.name in trained} == {"our networks"}
    with pytest.raises(InvalidInput, match="defense 'hamp' changes the training: trainer must be"):
        hardlabel.defend(table(), fit_coded, defenses=["hamp"], **FEW)


class Counted:
    """Trains a network of random weights that cannot be pickled; its last class may be missing."""

    def __init__(self, classes):
        self.calls, self.classes = 0, classes

    def __call__(self, inputs, labels, *, seed):
        self.calls += 1
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, self.classes))  # By the global generator.
        network.register_forward_hook(lambda module, given, outputs: outputs)
        with pytest.raises((AttributeError, pickle.PicklingError)):
            pickle.dumps(network)
        return network


def test_every_guard_stands_around_the_same_models_of_a_function():
    images = (EVERYONE.inputs[:400, 0] * 255).to(torch.uint8).numpy()[..., None]  # (n, h, w, c)
    names = np.array([f"digit {label}" for label in EVERYONE.labels[:400].tolist()])
    trainer, shapes = Counted(8), []

    def fit(inputs, labels, *, seed):
        shapes.append((inputs.shape[1:], inputs.dtype, {type(label) for label in labels}))
        return trainer(inputs, labels, seed=seed)

    record = hardlabel.defend(
        (images, names),
        fit,
        defenses=["label-only", "memguard", "hamp-output", "top-k"],
        levels={"memguard": [1], "top-k": [3]},
        attacks=["gap", "lira"],
        **FEW,
    )
    assert trainer.calls == 5  # Four models that play target and references, and the shadow model.
    assert set(map(str, shapes)) == {str(((8, 8, 1), np.dtype(np.uint8), {np.str_}))}
    plain_models = record.defense("none")
    assert len(record.results.defenses) == 5
    for one in record.results.defenses:
        assert one.keeps_labels or one is plain_models
        assert one.attack("gap") == plain_models.attack("gap")


def test_a_guarded_network_without_the_last_classes_shows_all_classes():
    trainer = FunctionTrainer(function=lambda inputs, labels, *, seed: nn.Sequential(nn.Flatten(), nn.Linear(64, 8)))
    shown = defended(chosen(["top-k"])[1], trainer, defender()).trainer.fit(MEMBERS, 0).model
    assert shown.ask_scores(OTHERS.inputs, OTHERS.ids).shape == (600, 10)


def test_a_named_function_is_trained_once_for_several_comparisons(tmp_path):
    calls = []

    def fit(inputs, labels, *, seed):
        calls.append(seed)
        return fit_coded(inputs, labels, seed=seed)

    given = {"defenses": ["label-only", "label-noise"], "levels": {"label-noise": [0.2]}, "attacks": ["gap"], **FEW}
    trainer, store = FunctionTrainer(function=fit, name="tree"), Store(tmp_path)
    first = hardlabel.defend(table(), trainer, store=store, **given)
    assert len(calls) == 10  # Four models and a shadow model, plain and by the defense that changes the data.
    again = hardlabel.defend(table(), trainer, store=store, **given)
    assert len(calls) == 10
    assert [one.attacks for one in again.results.defenses] == [one.attacks for one in first.results.defenses]


class Bare:
    """A model of no framework: `predict` and `classes_` only."""

    def __init__(self, inside):
        self.inside, self.classes_ = inside, inside.classes_

    def predict(self, rows):
        return self.inside.predict(rows)


class Oracle:
    """A model that answers with log probabilities."""

    def __init__(self, inside):
        self.inside = inside

    def ask_scores(self, inputs, ids):
        chances = self.inside.predict_proba(inputs.flatten(1).numpy())
        return torch.from_numpy(np.log(np.maximum(chances, 1e-30)).astype(np.float32))


@pytest.mark.parametrize("form", [Bare, Oracle, lambda tree: tree], ids=["predict", "oracle", "classifier"])
@pytest.mark.parametrize("name", ["label-only", "ldl", "randomized-response", "top-k", "selena-labels"])
def test_models_of_every_form_can_be_guarded_and_ask_each_other(form, name):
    trainer = FunctionTrainer(function=lambda inputs, labels, *, seed: form(fit_tree(inputs, labels, seed=seed)))
    made = defended(chosen([name])[0], trainer, defender())
    if name == "top-k" and form is Bare:
        with pytest.raises(InvalidInput, match="needs a model that shows confidences"):
            made.trainer.fit(MEMBERS, 0)
        return
    model = made.trainer.fit(MEMBERS, 0).model
    if isinstance(model, LabelOracle):
        assert model.ask(OTHERS.inputs, OTHERS.ids).shape == (600,)


def test_texts_with_names_as_labels_can_be_defended():
    draws = np.random.default_rng(0)
    words = {"ham": ["see", "you", "home", "later", "ok"], "spam": ["win", "cash", "now", "free", "call"]}
    labels = draws.choice(["ham", "spam"], 300)
    both = [*words["ham"], *words["spam"]]
    texts = [
        " ".join([*draws.choice(words[label], 3), *draws.choice(both, 3), f"n{draws.integers(99)}"]) for label in labels
    ]

    def fit(inputs, labels, *, seed):
        assert all(isinstance(text, str) for text in inputs)
        return make_pipeline(CountVectorizer(), MultinomialNB()).fit(inputs, labels)

    record = hardlabel.defend(
        (texts, labels),
        fit,
        defenses=["noisy-copies", "label-only"],
        levels={"noisy-copies": [0.5]},
        attacks=["gap"],
        **FEW,
    )
    assert record.defense("none").test_accuracy.value > 0.7
    assert any("noisy copies" in one for one in record.defense("noisy-copies 0.5").changes)


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        (None, "trainer must be a hardlabel.Recipe, a scikit-learn classifier or a function"),
        ("same", "trainer must be a hardlabel.Recipe, a scikit-learn classifier or a function"),
        (3, "trainer must be a function"),
        (lambda inputs, labels: None, r"trainer must take \(inputs, labels, \*, seed\)"),
    ],
)
def test_what_is_no_trainer_is_refused_in_one_line(trainer, told):
    with pytest.raises(InvalidInput, match=told) as error:
        hardlabel.defend(table(), trainer, **FEW)
    assert "\n" not in str(error.value)


# --- the command ---

FILE = """
import numpy as np
from sklearn.tree import DecisionTreeClassifier

CALLS = []


def rows(frame):
    wards = frame["ward"].map({"a": 0, "b": 1, "c": 2})
    return np.stack([wards, frame["age"].fillna(-1), frame["smokes"].astype(int), frame["visits"]], axis=1)


class Tree:
    def __init__(self, inside):
        self.inside, self.classes_ = inside, inside.classes_

    def predict(self, frame):
        assert frame["smokes"].dtype == bool and frame["visits"].dtype == "int64", frame.dtypes
        return self.inside.predict(rows(frame))


def fit(inputs, labels, *, seed):
    CALLS.append(seed)
    assert "code" not in inputs and set(labels) <= {"no", "yes"}
    return Tree(DecisionTreeClassifier(random_state=seed).fit(rows(inputs), labels))


def unfitted(depth=4):
    return DecisionTreeClassifier(max_depth=depth)


def nothing():
    return None


def half(inputs):
    return None


def broken():
    raise OSError("no license")
"""
OPTIONS = [
    "--train-size",
    "40",
    "--samples",
    "30",
    "--references",
    "2",
    "--repeats",
    "2",
    "--device",
    "cpu",
    "--seed",
    "1",
]
OPTIONS += ["--attacks", "gap", "--defenses", "label-only,label-noise,noisy-copies"]
OPTIONS += ["--levels", "label-noise=0.2", "--levels", "noisy-copies=0.5"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    frame, labels = table()
    frame.assign(code=[f"id-{row}" for row in range(len(frame))], ill=labels).to_csv("patients.csv", index=False)
    (tmp_path / "own.py").write_text(FILE)
    return tmp_path


def test_the_command_trains_by_a_function_of_a_file_as_python_does_and_resumes(folder, monkeypatch, capsys):
    given = ["defend", "--trainer", "own.py:fit", "--data", "patients.csv", "--label", "ill", *OPTIONS]
    code, plan, error = called(*given, "--dry-run", "--out", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, error
    assert "15 trainings" in plan  # Four models and a shadow model, plain and by two defenses that train.
    assert not (folder / "run").exists()
    assert len(list((folder / "store").glob("*.piece"))) == 1  # The model that was timed.
    real, saved = Store.save, []

    def save(self, spec, payload):
        saved.append(spec)
        if len(saved) == 9:
            raise KeyboardInterrupt
        real(self, spec, payload)

    monkeypatch.setattr(Store, "save", save)
    assert called(*given, "--quiet", "--out", "run", monkeypatch=monkeypatch, capsys=capsys)[0] == 1
    code, _, error = called("resume", "run", "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, error
    models = [spec for spec in saved if spec.get("kind") == "function"]
    assert len({repr(spec) for spec in models}) == 14  # All but the model that was timed.
    record = DefendRecord.load(folder / "run")
    assert record.config["trainer"] == "own.py:fit"
    assert any("'code' was ignored" in note for note in record.results.notes)
    inputs, labels = pd.read_csv("patients.csv").drop(columns=["code", "ill"]), table()[1]
    loaded = training_of("own.py:fit")
    levels = {"label-noise": [0.2], "noisy-copies": [0.5]}
    twin = hardlabel.defend(
        (inputs, labels), loaded, attacks=["gap"], defenses=["label-only", *levels], levels=levels, **FEW
    )
    for one in twin.results.defenses:
        assert record.defense(one.name).attacks == one.attacks


def test_an_unfitted_classifier_of_a_file_gets_the_rows_of_a_named_data_set(folder, monkeypatch, capsys):
    given = ["defend", "--trainer", "own.py:unfitted", "--data", "digits", *OPTIONS]
    code, printed, error = called(*given, "--quiet", "--out", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, error
    assert "| label-noise 0.2 |" in printed
    assert "DecisionTreeClassifier(max_depth=4)" in DefendRecord.load(folder / "run").defense("none").description


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--trainer", "own.py"], "trainer must be FILE.py:FUNCTION, got 'own.py'"),
        (["--trainer", "own.py:fitt"], "trainer own.py:fitt must be a function of that file"),
        (["--trainer", "own.py:half"], "trainer own.py:half must take (inputs, labels, *, seed) and train a model"),
        (["--trainer", "own.py:nothing"], "must return an unfitted scikit-learn classifier, got None"),
        (["--trainer", "own.py:broken"], "trainer own.py:broken raised OSError: no license"),
        (["--trainer", "own.py:fit", "--max-epochs", "3"], "max_epochs must be left at 1000, since trainer trains"),
        (["--trainer", "own.py:fit", "--missing", "?"], "missing must be left out, since trainer trains"),
        (["--trainer", "own.py:fit", "--defenses", "l2"], "defense 'l2' changes the training: trainer must be a"),
        (["--trainer", "own.py:fit", "--data", "nine"], "data 'nine' is unknown"),
        (
            ["--trainer", "own.py:fit", "--data", "digits", "--ignore", "x"],
            "ignore must be left out, since the data set 'digits'",
        ),
        (["--ignore", "x"], "ignore must be left out, since only trainer uses it, got ['x']"),
        (["--trainer", "own.py:fit", "--label", "sick"], "label 'sick' is unknown"),
    ],
)
def test_wrong_use_of_a_trainer_is_one_line(options, told, folder, monkeypatch, capsys):
    start = [] if "--data" in options else ["--data", "patients.csv"]
    start += [] if "--label" in options or "digits" in options else ["--label", "ill"]
    code, _, error = called(
        "defend", "--quiet", "--out", "run", *start, *options, monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 2
    assert told in error
    assert "\n" not in error.strip()


def test_a_file_is_read_whole_with_its_types(folder):
    file = read_undivided(folder / "patients.csv", columns=Columns(label="ill", ignore=["visits"]))
    frame, labels = file.pair
    pd.testing.assert_frame_equal(frame, pd.read_csv("patients.csv")[["ward", "age", "smokes"]])
    assert labels.tolist() == table()[1].tolist()
    np.savez(folder / "images.npz", inputs=np.zeros((3, 4, 4, 3), np.uint8), labels=np.array([0, 1, 1]))
    inputs, labels = read_undivided(folder / "images.npz").pair
    assert (inputs.dtype, inputs.shape, labels.tolist()) == (np.uint8, (3, 4, 4, 3), [0, 1, 1])
    with pytest.raises(InvalidInput, match=r"data must be a \.csv, \.parquet or \.npz file"):
        read_undivided(folder / "own.py")


def test_settings_without_a_trainer_are_as_they_were():
    assert DefensesSettings().trainer is None
    with pytest.raises(InvalidInput, match="separator must be left at ',', since only trainer uses it"):
        DefensesSettings(separator=";")

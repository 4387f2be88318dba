"""Models in the caller's own terms: frames, texts, images and names of classes reach them as they are."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import hardlabel
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.targets.coded import Coding, coded

ROWS = 240
DRAWS = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "age": DRAWS.integers(18, 80, ROWS),
        "income": np.where(DRAWS.random(ROWS) < 0.1, np.nan, DRAWS.normal(3e4, 9e3, ROWS)),
        "ward": DRAWS.choice([3, 7, 12, 40], ROWS),
        "smoker": DRAWS.random(ROWS) < 0.4,
        "diet": pd.Series(DRAWS.choice(["a", " b", None], ROWS), dtype=object),
    }
)
NAMES = np.where((FRAME.ward == 7) ^ (DRAWS.random(ROWS) < 0.3), "yes", "no")
INSIDE, OUTSIDE, REST = slice(0, 60), slice(60, 120), slice(120, ROWS)
FEW = hardlabel.Attacker(references=2)


def pairs(inputs, labels=NAMES):
    return {
        name: (inputs[rows], labels[rows])
        for name, rows in (("members", INSIDE), ("nonmembers", OUTSIDE), ("population", REST))
    }


class Seen:
    """A column transformer's first step that keeps every row it is shown."""

    rows: list

    def __init__(self, model):
        self.model, self.rows = model, []
        self.classes_ = model.classes_

    def predict(self, rows):
        self.rows.append(rows.copy())
        return self.model.predict(rows)


def pipeline():
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("c", encoder, ["ward", "smoker", "diet"])], remainder="passthrough")
    return make_pipeline(columns, RandomForestClassifier(10, random_state=0))


@pytest.fixture(scope="module")
def fitted():
    return pipeline().fit(FRAME[INSIDE], NAMES[INSIDE])


def accuracies(record):
    return record.results.target.train_accuracy.value, record.results.target.test_accuracy.value


def test_a_pipeline_sees_frames_with_the_types_it_was_fitted_on(fitted):
    target = Seen(fitted)
    record = hardlabel.audit(target, **pairs(FRAME), attacks=["gap", "noise"], budget=10)
    # Exactly: rows that stand twice are none here.
    assert accuracies(record) == (
        fitted.score(FRAME[INSIDE], NAMES[INSIDE]),
        fitted.score(FRAME[OUTSIDE], NAMES[OUTSIDE]),
    )
    asked = pd.concat(target.rows)
    assert all((rows.dtypes == FRAME.dtypes).all() for rows in target.rows)
    assert len(asked) > 10 * 120 / 2
    for column in ("ward", "smoker", "diet"):
        assert set(asked[column].dropna()) <= set(FRAME[column].dropna())
    assert asked.income.isna().any()
    assert {type(value) for value in asked.diet} <= {str, type(None)}


def test_the_same_figures_by_classifier_and_by_an_oracle_of_frames(fitted):
    class Endpoint:
        def ask(self, frame, ids):
            assert len(frame) == len(ids)
            return fitted.predict(frame)

    settings = {"attacks": ["gap", "noise", "path", "noise-ratio"], "budget": 8, "trainer": pipeline(), "attacker": FEW}
    by_model = hardlabel.audit(fitted, **pairs(FRAME), **settings)
    by_oracle = hardlabel.audit(Endpoint(), **pairs(FRAME), **settings)
    pd.testing.assert_frame_equal(by_model.scores, by_oracle.scores)
    assert by_model.attack("gap").auc.value > 0.55


def test_same_clones_the_target_and_fits_it_on_frames_and_names(fitted):
    same = hardlabel.audit(fitted, **pairs(FRAME), trainer="same", attacks=["lira"], attacker=FEW)
    given = hardlabel.audit(fitted, **pairs(FRAME), trainer=pipeline(), attacks=["lira"], attacker=FEW)
    pd.testing.assert_frame_equal(same.scores, given.scores)
    assert "RandomForestClassifier" in same.config["trainer"]


def test_a_surrogate_is_told(fitted):
    record = hardlabel.audit(fitted, **pairs(FRAME), trainer="surrogate", attacks=["gap", "noise"], attacker=FEW)
    assert record.config["alike"] is False
    assert any("surrogate" in note for note in record.results.notes)


def test_a_trainer_function_gets_what_the_caller_gave(fitted):
    seen = []

    def fit(frame, names, *, seed):
        seen.append((frame, names))
        return pipeline().fit(frame, names)

    record = hardlabel.audit(fitted, **pairs(FRAME), trainer=fit, attacks=["lira"], attacker=FEW)
    assert record.attack("lira").auc.value > 0.5
    assert all((frame.dtypes == FRAME.dtypes).all() and set(names) == {"no", "yes"} for frame, names in seen)


def test_worst_case_slices_and_labels_of_the_target_work_on_frames(fitted):
    slices = {"diet": tuple(FRAME.diet.astype(str)[rows] for rows in (INSIDE, OUTSIDE))}
    record = hardlabel.audit(
        fitted,
        **pairs(FRAME),
        trainer="same",
        attacks=["gap", "lira"],
        attacker=hardlabel.Attacker(references=4, labels="target"),
        focus=hardlabel.Focus(worst_case=0.1, slices=slices),
    )
    assert record.results.worst_case is not None
    assert {group.group for group in record.results.groups if group.slice == "diet"} == {"a", " b", "missing"}


@pytest.mark.parametrize(
    "labels",
    [
        NAMES,
        NAMES == "yes",
        np.where(NAMES == "yes", 2, 1),
        np.where(NAMES == "yes", 70_000, 7),
        (NAMES == "yes") * 1.0,
    ],
    ids=["names", "booleans", "shifted", "sparse", "floats"],
)
def test_labels_of_any_sort_give_the_same_figures(labels):
    inputs = np.column_stack([FRAME.age, FRAME.ward, DRAWS.normal(0, 20, ROWS)]) / 50
    tree = DecisionTreeClassifier(random_state=0).fit(inputs[INSIDE], labels[INSIDE])
    classes = (NAMES == "yes").astype(int)
    plain = DecisionTreeClassifier(random_state=0).fit(inputs[INSIDE], classes[INSIDE])
    settings = {"attacks": ["gap", "noise", "lira"], "budget": 5, "trainer": "same", "attacker": FEW}
    record = hardlabel.audit(tree, **pairs(inputs, labels), **settings)
    expected = hardlabel.audit(plain, **pairs(inputs, classes), **settings)
    pd.testing.assert_frame_equal(record.scores, expected.scores)


def test_texts_reach_a_pipeline_as_texts():
    words = np.array(["pay", "now", "free", "meet", "at", "home", "call", "later", "win", "cash"])
    texts = [" ".join(DRAWS.choice(words, 6)) + "!" for _ in range(ROWS)]
    names = np.array(["spam" if "free" in text or "cash" in text else "ham" for text in texts])
    names = np.where(DRAWS.random(ROWS) < 0.2, "ham", names)
    groups = {
        name: (texts[rows], names[rows])
        for name, rows in (("members", INSIDE), ("nonmembers", OUTSIDE), ("population", REST))
    }
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(C=1000)).fit(texts[INSIDE], names[INSIDE])
    target = Seen(model)
    target.predict = lambda rows: (target.rows.append(list(rows)), model.predict(rows))[1]
    record = hardlabel.audit(target, **groups, trainer=model, attacks=["gap", "noise"], attacker=FEW, budget=5)
    assert accuracies(record) == (
        model.score(texts[INSIDE], names[INSIDE]),
        model.score(texts[OUTSIDE], names[OUTSIDE]),
    )
    for text in (text for rows in target.rows for text in rows):
        assert set(text.rstrip("!").split(" ")) <= set(words)
        assert text.endswith("!")


class Pixels(nn.Module):
    """A network of (n, h, w, c) bytes that keeps what it sees."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(48, 3)
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        return self.last(images.float().flatten(1) / 255)


def test_bytes_with_channels_last_reach_a_network_as_they_were():
    images = DRAWS.integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
    labels = DRAWS.integers(0, 3, 60)
    network = Pixels()
    groups = {"members": (images[:20], labels[:20]), "nonmembers": (images[20:40], labels[20:40])}
    record = hardlabel.audit(network, **groups, attacks=["gap", "noise"], budget=5)
    with torch.inference_mode():
        right = network(torch.from_numpy(images)).argmax(1).numpy() == labels
    assert accuracies(record) == (right[:20].mean(), right[20:40].mean())
    seen = torch.cat(network.seen)
    assert seen.shape[1:] == (4, 4, 3)
    assert bool((seen == seen.round()).all())
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 255


def test_ids_of_tokens_reach_a_network_as_int64():
    ids = torch.from_numpy(DRAWS.integers(1, 50, (60, 7)))
    labels = torch.from_numpy(DRAWS.integers(0, 2, 60))

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.last = nn.Embedding(50, 8), nn.Linear(8, 2)

        def forward(self, tokens):
            assert tokens.dtype == torch.int64
            return self.last(self.table(tokens).mean(1))

    record = hardlabel.audit(
        Bag().half(),
        (ids[:20], labels[:20]),
        (ids[20:40], labels[20:40]),
        domain=hardlabel.Tokens.of(ids, padding=0),
        attacks=["gap", "noise"],
        budget=4,
    )
    assert record.attack("noise").queries_per_sample.max <= 4


def test_an_answer_with_a_blank_is_refused_before_anything_is_trained(fitted):
    class Endpoint:
        def ask(self, frame, ids):
            return [f"{name} " for name in fitted.predict(frame)]

    with pytest.raises(InvalidInput, match=r"answers of target must be 'no', 'yes', got others for .* --label-map"):
        hardlabel.audit(Endpoint(), **pairs(FRAME), attacks=["gap"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nonmembers": (FRAME[OUTSIDE].drop(columns="ward"), NAMES[OUTSIDE])}, "ward"),
        ({"nonmembers": (FRAME[OUTSIDE].to_numpy(), NAMES[OUTSIDE])}, "all groups must be frames where one is"),
        ({"domain": hardlabel.Box((5,))}, "domain must be left out for frames"),
        ({"members": (FRAME[INSIDE], NAMES[:20])}, "members must hold one label per input, got 60 inputs, 20 labels"),
        ({"trainer": "same"}, "trainer 'same' needs a scikit-learn classifier"),
        ({"trainer": "other"}, "'same' or 'surrogate', got 'other'"),
    ],
)
def test_wrong_terms_are_refused_in_one_line(fitted, change, words):
    with pytest.raises(InvalidInput) as error:
        hardlabel.audit(Seen(fitted), **{**pairs(FRAME), "attacks": ["gap"], **change})
    assert words in str(error.value)


def test_answers_and_models_are_found_again_in_the_store(fitted, tmp_path):
    settings = {"trainer": "same", "attacks": ["gap", "lira"], "attacker": FEW, "name": "a pipeline"}
    store = hardlabel.Store(tmp_path / "store")
    first = hardlabel.audit(fitted, **pairs(FRAME), **settings, store=store)
    pieces = sorted(path.name for path in (tmp_path / "store").rglob("*"))
    again = hardlabel.audit(pickle.loads(pickle.dumps(fitted)), **pairs(FRAME), **settings, store=store)
    assert sorted(path.name for path in (tmp_path / "store").rglob("*")) == pieces
    pd.testing.assert_frame_equal(first.scores, again.scores)


def test_recipes_and_canaries_take_frames_and_names():
    data = FRAME, NAMES
    recipe = hardlabel.audit_recipe(
        data, pipeline(), train_size=60, repeats=2, attacks=["gap", "lira"], attacker=FEW, samples=40
    )
    assert recipe.attack("lira").auc.value > 0.5
    canaries = hardlabel.audit_canaries(data, pipeline(), canaries=30, kinds=["mislabelled"], train_size=100)
    assert canaries.bound("label").epsilon >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_gets_a_table_of_numbers_as_a_matrix_in_the_tables_order(dtype):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"b": rng.normal(size=40), "a": rng.integers(0, 9, 40), "c": rng.random(40) < 0.5})
    frame["d"] = pd.array(rng.integers(0, 5, 40), dtype="Int64")
    network = torch.nn.Linear(4, 3).to(dtype)
    points, coding = read(frame)
    matrix = torch.tensor(frame.to_numpy(dtype=np.float64), dtype=torch.float32)
    with torch.no_grad():
        answers = coded(network, coding, role="target")(points)
        assert torch.allclose(answers, network(matrix.to(dtype)))


def test_a_network_refuses_a_table_with_texts():
    points, coding = read(pd.DataFrame({"a": np.arange(40.0), "job": ["x", "y"] * 20}))
    with pytest.raises(InvalidInput, match=r"a torch module must take tensors, got a table of 2 columns, 1 of categ"):
        coded(torch.nn.Linear(2, 2), coding, role="target")(points)


def read(frame):
    """Points of a frame, and the coding that a target of such frames gets."""
    codec = FrameCodec.fit({"members": frame})
    return codec.encode(frame), Coding(inputs=codec)

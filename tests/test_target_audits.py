"""One audit whatever the target is: by file, by Python object and by its answers alone, the figures are the same."""

import functools
import io
import warnings
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import foreign_models
import hardlabel
from foreign_models import WORDS
from hardlabel.metrics import blind
from hardlabel.targets import torch as torch_targets
from hardlabel.targets.files import load_target
from hardlabel.targets.frameworks.table import plain
from test_foreign_targets import asked, built
from test_target_files import SAVED, save_joblib, save_onnx

GROUP = 20  # Samples of each group.
INSIDE, OUTSIDE, REST = slice(0, GROUP), slice(GROUP, 2 * GROUP), slice(2 * GROUP, 4 * GROUP)
TIMES = {"seconds": True, "reference_compute": {"seconds"}, "shadow_compute": {"seconds"}}
KNOWN = hardlabel.Attacker(references=4)
LOADER = """
import joblib

class Behind:
    def __init__(self, model):
        self.model = model

    def ask(self, inputs, ids):
        return self.model.predict(inputs)

def load():
    return joblib.load("m.joblib")

def behind():
    return Behind(load())
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """A batch size without timing, since it may change the last digit; one blind baseline for equal samples."""
    monkeypatch.setattr(torch_targets._Probe, "best", lambda probe: (16, False))
    compute, known = blind.blind_baseline, {}

    def baseline(*groups, **settings):
        key = joblib.hash([(each.inputs.numpy(), each.labels.numpy()) for each in groups])
        if key not in known:
            known[key] = compute(*groups, **settings)
        return known[key]

    monkeypatch.setattr(blind, "blind_baseline", baseline)


def convolutions():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 3)
    return nn.Sequential(*layers).eval()


@functools.cache
def onnx_of_convolutions():
    import onnx

    archive, example = io.BytesIO(), torch.from_numpy(foreign_models.images()[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            convolutions(), (example,), archive, dynamo=False, input_names=["x"], output_names=["z"],
            dynamic_axes={"x": {0: "rows"}},
        )  # fmt: skip
    return onnx.load_model_from_string(archive.getvalue())


def save_loader(case, folder):
    save_joblib(case, folder)
    (folder / "m.py").write_text(LOADER.replace("m.joblib", str(folder / "m.joblib")))


class Subject(NamedTuple):
    model: Any
    rows: Any  # Some rows as the model takes them.
    labels: Any  # Labels that the model knows.
    save: Any
    file: str
    trust: dict


def subject(name):
    if name == "ONNX of convolutions":
        return Subject(onnx_of_convolutions(), foreign_models.images(), range(3), save_onnx, "m.onnx", {})
    case, save, file, trust = {**SAVED, **FURTHER}[name]
    model, rows, labels, _, _ = built(case)
    return Subject(model, rows, labels if case != "transformers, images" else range(3), save, file, trust)


FURTHER = {
    "XGBoost's classifier, joblib": ("XGBoost's classifier", save_joblib, "m.joblib", {"trust_pickle": True}),
    "LightGBM's classifier, joblib": ("LightGBM's classifier", save_joblib, "m.joblib", {"trust_pickle": True}),
    "onnx of a pipeline": ("ONNX, an input for each column", save_onnx, "m.onnx", {}),
    "a function": ("scikit-learn, a frame", save_loader, "m.py:load", {}),
    "a function that returns an oracle": ("scikit-learn, a frame", save_loader, "m.py:behind", {}),
}
# One of each plain kind: a module, an object with `predict`, an oracle; of pixels, tokens, texts and frames.
QUICK = (
    *("a whole module", "skops", "onnx of a pipeline", "transformers, texts"),
    "a function that returns an oracle",
)
NAMES = [*SAVED, *FURTHER, "ONNX of convolutions"]
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in NAMES]


def many(rows):
    """Four groups of rows of the same sort, all different."""
    rng, count = np.random.default_rng(11), 4 * GROUP
    if isinstance(rows, pd.DataFrame):
        towns = rng.choice(["Rome", "Oslo", "Bern"], count)
        numbers = rng.normal(size=(2, count)).astype(np.float32)
        return pd.DataFrame({"age": numbers[0], "pay": numbers[1], "town": towns}).astype({"town": rows.town.dtype})
    if isinstance(rows, list):
        texts = (" ".join(rng.choice(WORDS, length)) for length in rng.integers(1, 4, 100 * count))
        return list(dict.fromkeys(texts))[:count]
    if rows.dtype.kind == "i":
        ids = rng.integers(1, rows.max() + 1, (count, rows.shape[1]))
        ids[rng.random(count) < 0.5, 4:] = 0
        return ids
    drawn = rng.random if rows.ndim == 4 else lambda size: rng.normal(size=size)
    return drawn((count, *rows.shape[1:])).astype(rows.dtype)


def settings_for(rows):
    """A trainer for such rows, and the domain where rows do not say it."""
    tree = DecisionTreeClassifier(random_state=0)
    if isinstance(rows, pd.DataFrame):
        columns = ColumnTransformer([("t", OneHotEncoder(), ["town"])], remainder="passthrough")
        return {"trainer": make_pipeline(columns, tree)}
    if isinstance(rows, list):
        return {"trainer": make_pipeline(TfidfVectorizer(), tree)}
    if rows.dtype.kind == "i":
        return {"trainer": tree, "domain": hardlabel.Tokens.of(torch.from_numpy(rows), padding=0)}
    return {"trainer": tree}


def answers(model, rows):
    return np.asarray(asked(plain(model), rows)[0])


def with_mistakes(labels, known):
    """Labels of which a quarter are drawn at random."""
    rng = np.random.default_rng(12)
    return np.where(rng.random(len(labels)) < 0.25, rng.choice(np.unique(known), len(labels)), labels)


class Behind:
    """A model behind a line: it is asked questions in the caller's own terms."""

    def __init__(self, model):
        self.model = model

    def ask(self, inputs, ids):
        assert len(inputs) == len(ids)
        return answers(self.model, inputs)


def pairs(rows, labels):
    groups = {"members": INSIDE, "nonmembers": OUTSIDE, "population": REST}
    return {name: (rows[part], labels[part]) for name, part in groups.items()}


def same(record, other):
    """Whether two audits found the same of what labels alone show."""
    label_only = [attack.name for attack in other.results.attacks]
    scores = record.scores[record.scores["attack"].isin(label_only)].reset_index(drop=True)
    pd.testing.assert_frame_equal(scores, other.scores, check_exact=True)
    for name in label_only:
        figures = [each.attack(name).model_dump(exclude=TIMES) for each in (record, other)]
        assert figures[0] == figures[1], name
    for part in ("train_accuracy", "test_accuracy"):
        assert getattr(record.results.target, part) == getattr(other.results.target, part)
    assert record.results.groups == other.results.groups
    assert record.results.worst_case == other.results.worst_case


@pytest.mark.parametrize("name", EVERY)
def test_figures_are_the_same_by_file_by_object_and_by_answers(name, tmp_path):
    model, example, known, save, file, trust = subject(name)
    rows = many(example)
    truth = answers(model, rows)
    labels = with_mistakes(truth, known)
    groups = pairs(rows, labels)
    settings = {"attacks": ["gap", "noise", "noise-ratio"], "budget": 6, "seed": 1, **settings_for(rows)}
    parity = np.arange(GROUP) % 2
    focus = hardlabel.Focus(worst_case=0.1, slices={"parity": (parity, parity)})
    save(foreign_models.Case(model, rows, None, None, None), tmp_path)
    from_file = load_target(tmp_path / file if file else tmp_path, **trust)
    by_answers = hardlabel.audit(Behind(model), **groups, **settings, attacker=KNOWN, focus=focus)
    for target in (model, from_file):
        record = hardlabel.audit(target, **groups, **settings, attacker=KNOWN, focus=focus)
        same(record, by_answers)
    right = truth == labels
    target = by_answers.results.target
    assert (target.train_accuracy.value, target.test_accuracy.value) == (right[INSIDE].mean(), right[OUTSIDE].mean())
    assert by_answers.results.worst_case is not None
    assert {group.slice for group in by_answers.results.groups} >= {"parity"}
    assert by_answers.scores.groupby("attack").score.nunique().min() > 1  # Else equal scores would show nothing.
    guessing = hardlabel.Attacker(references=4, labels="target")
    guesses = [hardlabel.audit(each, **groups, **settings, attacker=guessing) for each in (from_file, Behind(model))]
    same(*guesses)
    assert guesses[0].results.target.train_accuracy.value == right[INSIDE].mean()


def test_onnx_of_a_network_differs_by_rounding_only():
    """At most one position of a hundred: of answers, shares of noisy copies, and places on a path."""
    rows = many(foreign_models.images())
    labels = with_mistakes(answers(convolutions(), rows), range(3))
    settings = {"attacks": ["gap", "noise", "path"], "budget": 16, "trainer": DecisionTreeClassifier(random_state=0)}
    settings["attacker"] = hardlabel.Attacker(references=2)
    records = [
        hardlabel.audit(net, **pairs(rows, labels), **settings) for net in (convolutions(), onnx_of_convolutions())
    ]
    scores = [record.scores.set_index(["attack", "id"]).score for record in records]
    path = scores[0]["path"]
    assert path.nunique() > GROUP / 2
    assert (scores[0] != scores[1]).mean() <= 0.01

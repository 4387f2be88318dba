"""Canaries: what is planted, that coins are coins, and that bounds find what leaks and nothing where nothing does."""

import math
import re

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from commands import called
from hardlabel import CanaryRecord
from hardlabel.audits.canaries import audit_canaries
from hardlabel.audits.cases.canaries import FEWEST_TRAININGS
from hardlabel.audits.findings import canary_bounds
from hardlabel.checks import InvalidInput
from hardlabel.kinds import markdown, planned, render, run
from hardlabel.models.train import Recipe
from hardlabel.records.canaries import CANARIES, KINDS
from hardlabel.runs.journal import JOURNAL, MADE, Journal
from hardlabel.runs.listing import BROKEN_OFF, FINISHED, held, listed
from hardlabel.runs.settings import CanariesSettings
from hardlabel.store import Store

BY_HEART = KNeighborsClassifier(n_neighbors=1)


def digits():
    data = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def test_what_is_planted_is_legal_and_by_independent_coins():
    planted = hardlabel.plant(digits(), canaries=600, train_size=500, seed=3)
    assert len(planted.canaries) == 600
    assert [planted.kinds.count(kind) for kind in KINDS] == [200] * 3
    planted.canaries.domain.check(planted.canaries.inputs)
    # Not a fixed share: 40 draws of 600 coins have the binomial's variance, here within 4 errors of it.
    sums = np.array([hardlabel.plant(digits(), canaries=60, kinds=["rare"], seed=s).inside.sum() for s in range(40)])
    assert abs(sums.mean() - 30) < 4 * math.sqrt(15 / 40)
    assert abs(sums.var(ddof=1) - 15) < 4 * 15 * math.sqrt(2 / 39)
    training = planted.training
    assert len(training) == 500 + planted.inside.sum()
    assert set(training.ids.tolist()) == set(planted.base.ids.tolist()) | set(
        planted.canaries.ids[torch.from_numpy(planted.inside)].tolist()
    )


def test_each_kind_is_what_it_says():
    inputs, labels = digits()
    truth = {inputs[at].tobytes(): int(label) for at, label in enumerate(labels)}
    planted = hardlabel.plant((inputs, labels), canaries=300, train_size=500, seed=0)
    found = zip(planted.kinds, planted.canaries.inputs, planted.canaries.labels.tolist(), strict=True)
    real = {kind: [] for kind in KINDS}
    for kind, one, label in found:
        real[kind].append(truth.get(one.numpy().tobytes()))
        if kind == "mislabelled":
            assert real[kind][-1] != label
    assert None not in real["mislabelled"]
    assert set(real["rare"]) == set(real["crafted"]) == {None}


def test_a_model_that_knows_its_data_by_heart_is_found_out():
    """One neighbour answers each canary's label if it was planted: nearly every guess is right."""
    record = audit_canaries(digits(), BY_HEART, canaries=400, kinds=["mislabelled"], train_size=600, delta=1e-6, seed=1)
    for access in ("label", "scores"):
        bound = record.bound(access)
        assert bound.epsilon > 2, access
    assert record.results.kept is None
    assert record.results.runs == 1


def test_a_model_that_learns_nothing_shows_nothing():
    record = audit_canaries(digits(), KNeighborsClassifier(n_neighbors=600), canaries=300, train_size=600, seed=1)
    # Each bound is right 19 times of 20; that of all canaries is looked at for two attackers.
    assert record.bound("label").epsilon < 0.5
    assert record.bound("scores").epsilon < 0.5


def test_many_runs_find_one_canary():
    record = audit_canaries(
        digits(), DecisionTreeClassifier(), kinds=["mislabelled"], trainings=40, train_size=60, seed=0
    )
    bound = record.bound("label")
    assert bound.epsilon > 0.5
    assert (bound.guesses + bound.of_wrong) == pytest.approx(20, abs=1)
    assert record.results.canaries == {"mislabelled": 1}
    assert 10 <= record.results.planted <= 30


def test_a_trainer_of_ones_own_plants_and_asks():
    planted = hardlabel.plant(digits(), canaries=300, kinds=["mislabelled"], train_size=500, seed=2)
    models = []
    for part in (planted.training, planted.base):
        models.append(KNeighborsClassifier(n_neighbors=1).fit(part.inputs.flatten(1).numpy(), part.labels.numpy()))
    record = hardlabel.audit_planted(models[0], planted, reference=models[1])
    assert record.bound("label").epsilon > 2
    alone = hardlabel.audit_planted(models[1], planted, delta=1e-5)  # It saw none of them.
    assert alone.bound("label").epsilon < 0.5


def test_bounds_stay_below_the_accountants_epsilon(tmp_path):
    pytest.importorskip("opacus")
    record = audit_canaries(
        digits(), Recipe(architecture="logistic", max_epochs=10), epsilon=2.0, canaries=300, train_size=500, seed=0
    )
    assert record.results.guarantee.epsilon <= 2.0
    assert record.results.kept
    assert all(one.epsilon < record.results.guarantee.epsilon for one in record.results.bounds if one.kind == "all")
    text = markdown(record)
    assert "privacy random variables" in text
    assert text.count("| all |") == 2
    assert CanaryRecord.load(record.save(tmp_path / "run") and tmp_path / "run").results == record.results


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kinds": ["dead"]}, "kinds 'dead' is unknown"),
        ({"kinds": []}, "kinds must name at least one"),
        ({"canaries": 2}, "canaries must be at least 3"),
        ({"canaries": 5000}, "data must hold train_size"),
        ({"trainings": 2}, f"trainings must be at least {FEWEST_TRAININGS}"),
        ({"delta": 0.0}, "delta must be above 0"),
        ({"epsilon": 1.0}, "epsilon needs trainer to be a hardlabel.Recipe"),
        ({"train_size": 3}, "train_size must be at least"),
    ],
)
def test_bad_arguments_are_refused_before_training(change, told):
    class Never(KNeighborsClassifier):
        def fit(self, X, y):  # noqa: N803
            raise AssertionError("was trained")

    with pytest.raises(InvalidInput, match=told):
        audit_canaries(digits(), Never(), **{"canaries": 30, "kinds": ["mislabelled", "rare", "crafted"]} | change)


MODEL = {"arch": "logistic", "max_epochs": 5, "train_size": 200, "device": "cpu"}
PLANTED = MODEL | {"canaries": 60, "kinds": ["rare"]}


def found_in(store, folder):
    [found] = [one for one in listed(store, records=[CANARIES]) if one.folder == folder]
    return found


@pytest.mark.parametrize("trainings", [1, pytest.param(20, marks=pytest.mark.long)])
def test_a_run_that_broke_off_goes_on_where_it_was(tmp_path, monkeypatch, capsys, trainings):
    store, wanted = Store(tmp_path / "store"), PLANTED | {"trainings": trainings}
    whole = run(CanariesSettings(**wanted, out=tmp_path / "whole"), store=None)
    real, asked = canary_bounds._scores, []

    def dies(*args, **kwargs):
        if asked:
            raise KeyboardInterrupt
        asked.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(canary_bounds, "_scores", dies)
    if trainings == 1:
        asked.append(1)
    with pytest.raises(KeyboardInterrupt):
        run(CanariesSettings(**wanted, out=tmp_path / "run"), store=store)
    assert found_in(store, tmp_path / "run").state == BROKEN_OFF
    monkeypatch.setattr(canary_bounds, "_scores", real)

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("hardlabel.models.model_store.train", refuse)
    monkeypatch.setenv("HARDLABEL_STORE", str(store.root))
    code, _, _ = called("resume", tmp_path / "run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    found = CanaryRecord.load(tmp_path / "run")
    assert found.results.bounds == whole.results.bounds
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == render(found)
    assert found_in(store, tmp_path / "run").state == FINISHED
    made = [line["piece"] for line in Journal(tmp_path / "run" / JOURNAL).lines() if line["event"] == MADE]
    assert len(made) == len(set(made))


def test_the_plan_of_canaries_bounds_what_is_then_done_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    out = tmp_path / "run"
    options = ["--arch", "logistic", "--max-epochs", "5", "--train-size", "200", "--canaries", "60", "--kinds", "rare"]
    code, stdout, _ = called("canaries", *options, "--out", out, "--dry-run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert not out.exists()
    trainings, measurements = (int(re.search(rf"(\d+) {word}", stdout)[1]) for word in ("trainings", "measurements"))
    assert called("canaries", *options, "--out", out, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    kinds = [line["kind"] for line in Journal(out / JOURNAL).lines() if line["event"] == MADE]
    assert (kinds.count("model"), kinds.count("measurement")) == (trainings, measurements)
    asked = sum(2 * 60 * one.queries for one in CanaryRecord.load(out).results.bounds if one.kind == "all")
    assert asked <= int(re.search(r"most ([\d,]+) queries", stdout)[1].replace(",", ""))


def test_a_folder_that_another_process_holds_is_refused(tmp_path):
    settings = CanariesSettings(**PLANTED, out=tmp_path / "run")
    with held(tmp_path / "run"), pytest.raises(InvalidInput, match="is held by process"):
        run(settings, store=None)


def test_models_of_ones_own_are_left_where_they_were():
    """As on a machine with a card, where a model handed over on the CPU would stay on the card."""
    planted = hardlabel.plant(digits(), canaries=20, kinds=["rare"], train_size=50)
    moved = {"model": [], "reference": []}

    class Noted(torch.nn.Sequential):
        def to(self, device):
            moved[self.role].append(device)
            return self

    models = {}
    for role in moved:
        models[role] = Noted(torch.nn.Flatten(), torch.nn.Linear(64, 10, device="cpu"))
        models[role].role = role
    hardlabel.audit_planted(models["model"], planted, reference=models["reference"], device="cpu:0")
    asked_on = torch.device("cpu:0")
    for role, places in moved.items():
        assert places[0] == asked_on, role
        assert places[-1] == torch.device("cpu") != asked_on, role


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"trainings": 2}, "trainings must be at least"),
        ({"canaries": 1, "kinds": ["rare", "crafted"]}, "canaries must be"),
        ({"train_size": 10**6}, "data must hold"),
    ],
)
def test_a_refused_run_leaves_no_folder_that_the_right_one_would_be_refused_for(tmp_path, change, told):
    settings = CanariesSettings(**(PLANTED | change), out=tmp_path / "run")
    for does in (run, planned):
        with pytest.raises(InvalidInput, match=told):
            does(settings, store=None)
    assert not (tmp_path / "run").exists()

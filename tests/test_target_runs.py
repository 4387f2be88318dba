"""The audit of the user's own model as a run: real tables, real pipelines, one command and no code."""

import contextlib
import functools
import re
import signal
import subprocess
import sys
import time

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from commands import called
from hardlabel.cli import app
from hardlabel.data.csv_types import with_types_of_members
from hardlabel.kinds import load
from hardlabel.runs.journal import MADE
from test_runs import events, same

ROWS = 150  # Of each group.
ID, LABEL = "customerID", "Churn"
QUIETLY = ["--references", "2", "--device", "cpu", "--quiet"]
FEW = ["--attacks", "gap,noise,noise-ratio", "--budget", "6", *QUIETLY]
BARE = ["--attacks", "gap,noise", "--budget", "6", "--trainer", "none", *QUIETLY]
TRUST = {
    "joblib": ["--trust-pickle"],
    "skops": [
        *("--trust-type", "sklearn.tree._tree.Tree", "--trust-type", "sklearn._loss.link.LogitLink"),
        *("--trust-type", "functools.partial", "--trust-type", "sklearn.utils.validation.check_array"),
        *("--trust-type", "sklearn._loss.loss.HalfBinomialLoss", "--trust-type", "sklearn._loss.link.Interval"),
        *("--trust-type", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"),
        *("--trust-type", "numpy.dtype", "--trust-type", "sklearn._loss._loss.CyHalfBinomialLoss"),
        *("--trust-type", "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"),
    ],
}


@pytest.fixture(scope="session")
def telco(shared_data):
    """Members, non-members and a population, as pandas reads them: text, numbers, blanks that mean missing."""
    table = pd.read_csv(shared_data / "telco" / "telco-churn.csv").sample(frac=1, random_state=0, ignore_index=True)
    return {"m": table[:ROWS], "n": table[ROWS : 2 * ROWS], "p": table[2 * ROWS : 5 * ROWS]}


def as_parquet(table):
    """The same with types that a .csv file cannot hold: categories, booleans, small numbers, missing values."""
    table = table.assign(
        TotalCharges=pd.to_numeric(table.TotalCharges, errors="coerce").astype(np.float32),
        SeniorCitizen=table.SeniorCitizen == 1,
        tenure=table.tenure.astype(np.int16),
    )
    texts = [name for name in table.select_dtypes(exclude=["number", "bool"]) if name not in (ID, LABEL)]
    return table.astype(dict.fromkeys(texts, "category"))


def of_text(frame):
    return [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]


def forest(frame):
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("text", encoder, of_text(frame))], remainder="passthrough")
    return make_pipeline(columns, RandomForestClassifier(20, random_state=0))


def boosting(frame):
    """Trees that take categories and missing numbers as they are; text becomes numbers before."""
    if any(str(kind) == "category" for kind in frame.dtypes):
        return Pipeline([("trees", HistGradientBoostingClassifier(max_iter=60, random_state=0))])
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("text", encoder, of_text(frame))], remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=60, random_state=0))


@pytest.fixture(scope="session")
def there(telco, tmp_path_factory):
    """A folder as a user has it: tables of both sorts, and models that were trained on them."""
    folder = tmp_path_factory.mktemp("telco")
    for name, table in telco.items():
        table.to_csv(folder / f"{name}.csv", index=False)
        as_parquet(table).reset_index(drop=True).to_parquet(folder / f"{name}.parquet")
    for kind, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        table = read(folder / f"m.{kind}")
        inputs = table.drop(columns=[ID, LABEL])
        for make in (forest, boosting):
            save(make(inputs).fit(inputs, table[LABEL].to_numpy()), folder / f"{make.__name__}-{kind}")
    return folder


def save(model, path):
    from skops import io

    joblib.dump(model, path.with_suffix(".joblib"))
    io.dump(model, path.with_suffix(".skops"))


@pytest.fixture
def hardlabel_(tmp_path, monkeypatch, capsys):
    """The command line, with a store and a folder of runs of its own."""
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return functools.partial(called, monkeypatch=monkeypatch, capsys=capsys)


def target(there, model="forest-csv.joblib", kind="csv"):
    trust = TRUST[model.rpartition(".")[2]]
    groups = ["--members", there / f"m.{kind}", "--nonmembers", there / f"n.{kind}", "--label", LABEL]
    return ["--target", there / model, *trust, *groups]


def kept(members, nonmembers):
    """The rows of each group that the audit is about: each input once, none of both groups."""
    inputs = [table.drop(columns=[ID, LABEL]) for table in (members, nonmembers)]
    texts = [frame.apply(lambda row: repr(row.tolist()), axis=1) for frame in inputs]
    both = set(texts[0]) & set(texts[1])
    return [
        table[~text.isin(both) & ~text.duplicated()] for table, text in zip((members, nonmembers), texts, strict=True)
    ]


@pytest.fixture
def seen(monkeypatch):
    """All rows that pipelines are shown, in training and after."""
    rows = []
    for method in ("fit", "predict", "predict_proba"):
        own = getattr(Pipeline, method)

        def noting(self, frame, *others, own=own, **options):
            rows.append(frame.copy())
            return own(self, frame, *others, **options)

        monkeypatch.setattr(Pipeline, method, noting)
    return rows


CASES = [
    pytest.param(model, kind, form, marks=() if quick else pytest.mark.long, id=f"{model} {kind} {form}")
    for model, kind, form, quick in (
        ("forest", "csv", "joblib", True),
        ("forest", "csv", "skops", False),
        ("boosting", "csv", "joblib", False),
        ("boosting", "csv", "skops", False),
        ("forest", "parquet", "joblib", False),
        ("boosting", "parquet", "joblib", False),
        ("boosting", "parquet", "skops", True),
    )
]


@pytest.mark.parametrize(("model", "kind", "form"), CASES)
def test_a_pipeline_on_telco_is_audited_from_files(there, hardlabel_, seen, model, kind, form):
    command = [*target(there, f"{model}-{kind}.{form}", kind), *FEW, "--out", "run"]
    code, _, errors = hardlabel_("audit", *command)
    assert (errors, code) == ("", 0)
    record = load("run")
    # The members have no blank charge: to the pipeline it is a number, so that blanks are missing numbers.
    read = {"csv": functools.partial(pd.read_csv, na_values={"TotalCharges": [" "]}), "parquet": pd.read_parquet}[kind]
    members, nonmembers = (read(there / f"{name}.{kind}") for name in ("m", "n"))
    assert nonmembers.TotalCharges.isna().any()
    shown = list(seen)
    fitted = joblib.load(there / f"{model}-{kind}.joblib")
    parts = ("train_accuracy", "members"), ("test_accuracy", "nonmembers")
    for (part, group), rows in zip(parts, kept(members, nonmembers), strict=True):
        truth = fitted.score(rows.drop(columns=[ID, LABEL]), rows[LABEL].to_numpy())
        assert getattr(record.results.target, part).value == truth
        assert getattr(record.results, group) == len(rows)
    assert any(f"Column '{ID}' was ignored" in note for note in record.results.notes)
    every = pd.concat([members, nonmembers]).drop(columns=[ID, LABEL])
    assert sum(map(len, shown)) > 6 * 2 * ROWS  # Every attack's questions, and those to the attacker's own models.
    noise = False
    for rows in shown:
        assert rows.dtypes.astype(str).to_dict() == members.drop(columns=[ID, LABEL]).dtypes.astype(str).to_dict()
        noise |= not set(rows.MonthlyCharges) <= set(every.MonthlyCharges)
        for name in of_text(every):
            assert set(rows[name].dropna()) <= set(every[name].dropna()), name
        assert set(rows.SeniorCitizen) <= {0, 1}
        assert rows.tenure.between(0, 72).all()
    assert noise  # The numbers that were asked about are not only those that were given.


def test_numbers_and_text_are_read_as_the_members_have_them(tmp_path):
    """Pandas reads a column by the cells of one file: a blank makes text of it."""
    texts = {"m": "fee,code\n1.5,7\n2.50,x\n", "n": "fee,code\n ,07\n0.1,8.0\n,9\n", "p": "fee,code\n?,1\n"}
    files = {"members": tmp_path / "m.csv", "nonmembers": tmp_path / "n.csv", "population": tmp_path / "p.csv"}
    for (name, text), file in zip(texts.items(), files.values(), strict=True):
        file.write_text(text)
        assert file.stem == name
    given = {group: pd.read_csv(file) for group, file in files.items()}
    tables, notes = with_types_of_members(given, files, separator=",")
    assert tables["members"].equals(given["members"])
    nonmembers = tables["nonmembers"]
    assert nonmembers.fee.dtype == np.float64
    assert (nonmembers.fee.isna().tolist(), nonmembers.fee[1]) == ([True, False, True], 0.1)
    assert nonmembers.code.tolist() == ["07", "8.0", "9"]
    assert tables["population"].fee.tolist() == ["?"]  # No blank: this may be a mistake, which the codec refuses.
    assert [("'fee' in nonmembers" in note) for note in notes] == [True]


# --- what ends a run, and what lists it ---


@pytest.fixture(scope="module")
def whole(there, tmp_path_factory):
    """The record of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDLABEL_STORE", str(folder / "store"))
        patch.setattr(sys, "argv", ["hardlabel", "audit", *map(str, target(there)), *FEW, "--out", str(folder / "run")])
        with contextlib.suppress(SystemExit):
            app.main()
    return load(folder / "run")


def test_a_dry_run_tells_the_plan_and_leaves_no_folder(there, hardlabel_, tmp_path):
    code, told, errors = hardlabel_("audit", *target(there), *FEW, "--out", "run", "--dry-run")
    assert (errors, code) == ("", 0)
    assert "queries to the target" in told
    assert not (tmp_path / "run").exists()
    assert len(hardlabel_("runs")[1].splitlines()) == 2  # The table's head.


@pytest.mark.long
def test_an_interrupted_run_goes_on_and_is_listed(there, hardlabel_, tmp_path, monkeypatch, whole):
    calls, own = [], Pipeline.predict

    def interrupted(self, rows):
        calls.append(len(rows))
        if len(calls) == 12:
            raise KeyboardInterrupt
        return own(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "predict", interrupted)
        code, _, errors = hardlabel_("audit", *target(there), *FEW, "--out", "runs/mine")
    assert (code, len(errors.splitlines())) == (1, 1), errors
    before = set(events(tmp_path / "runs" / "mine", MADE))
    assert before
    assert "| runs/mine | broken off" in " ".join(hardlabel_("runs")[1].split())
    code, _, errors = hardlabel_("resume", "runs/mine", "--quiet")
    assert (errors, code) == ("", 0)
    same(load("runs/mine"), whole)
    made = events(tmp_path / "runs" / "mine", MADE)
    assert len(made) == len(set(made)) > len(before)
    listed = " ".join(hardlabel_("runs")[1].split())
    assert "| runs/mine | finished" in listed
    assert "forest-csv.joblib" in listed
    shown = hardlabel_("show", "runs/mine")[1]
    assert "gap" in shown
    assert "noise" in shown


@pytest.mark.long
def test_a_killed_run_goes_on(there, tmp_path, monkeypatch, whole):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    command = [sys.executable, "-m", "hardlabel"]
    arguments = ["audit", *map(str, target(there)), *FEW, "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and (not (tmp_path / "run").exists() or not events(tmp_path / "run", MADE)):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run must be under way when it is killed"
    done = subprocess.run([*command, "resume", str(tmp_path / "run"), "--quiet"], check=False, capture_output=True)
    assert (done.stderr, done.returncode) == (b"", 0)
    same(load(tmp_path / "run"), whole)
    made = events(tmp_path / "run", MADE)
    assert len(made) == len(set(made))


def test_a_file_says_the_same_as_options(there, hardlabel_, tmp_path, whole):
    of_target = {"file": str(there / "forest-csv.joblib"), "trust_pickle": True, "label": LABEL}
    of_target |= {"members": str(there / "m.csv"), "nonmembers": str(there / "n.csv")}
    settings = {
        "target": of_target,
        "attacks": ["gap", "noise", "noise-ratio"],
        "budget": 6,
        "references": 2,
        "device": "cpu",
    }
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(settings))
    code, _, errors = hardlabel_("audit", "audit.yaml", "--quiet", "--out", "run")
    assert (errors, code) == ("", 0)
    same(load("run"), whole)


# --- other ways to give the samples ---


def test_rows_of_one_person_count_once(there, telco, hardlabel_, tmp_path):
    rng = np.random.default_rng(0)
    tables = {}
    for name, first in (("m", 0), ("n", 95)):
        persons = first + rng.permutation(np.arange(ROWS) % 100)  # 100 persons, 50 of them with two rows; 5 in both.
        tables[name] = telco[name].assign(person=[f"P{number}" for number in persons])
        tables[name].to_csv(tmp_path / f"{name}.csv", index=False)
    command = ["--target", there / "forest-csv.joblib", "--trust-pickle", "--label", LABEL, *BARE]
    command += ["--members", "m.csv", "--nonmembers", "n.csv", "--group", "person"]
    code, _, errors = hardlabel_("audit", *command, "--out", "run")
    assert (errors, code) == ("", 0)
    record = load("run")
    assert (record.results.members, record.results.nonmembers) == (95, 95)
    [note] = [note for note in record.results.notes if "person" in note.lower()]
    assert "of 300 rows, 190 were taken" in note
    assert note.endswith("members and non-members at once were dropped: 5.")
    # Which rows were taken is told by the seed alone, and another seed takes others.
    tables["n"] = telco["n"].assign(person=[f"P{number % 100 + 80}" for number in range(ROWS)])
    tables["n"].to_csv(tmp_path / "n.csv", index=False)
    code, _, errors = hardlabel_("audit", *command, "--out", "other")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "must not share persons, got 20 in both, of 100 in members" in errors
    assert not (tmp_path / "other").exists()


@pytest.mark.long
def test_a_mark_in_one_table_says_who_is_a_member(there, telco, hardlabel_, tmp_path, whole):
    parts = [telco["m"].assign(inside="yes"), telco["n"].assign(inside="no")]
    pd.concat(parts).to_csv(tmp_path / "all.csv", index=False)
    command = ["--target", there / "forest-csv.joblib", "--trust-pickle", "--label", LABEL, *BARE]
    code, _, errors = hardlabel_("audit", *command, "--members", "all.csv", "--member-column", "inside", "--out", "run")
    # One file is one table: a blank among the charges makes text of them, which the forest was not trained on.
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "target cannot take these rows: could not convert string to float: ' '" in errors
    table = pd.concat(parts)
    table[table.TotalCharges != " "].to_csv(tmp_path / "all.csv", index=False)
    code, _, errors = hardlabel_("audit", *command, "--members", "all.csv", "--member-column", "inside", "--out", "run")
    assert (errors, code) == ("", 0)
    assert load("run").results.target.train_accuracy == whole.results.target.train_accuracy


def test_a_target_that_answers_with_other_names_is_mapped(there, hardlabel_, tmp_path, whole):
    loader = tmp_path / "renamed.py"
    loader.write_text(RENAMING.format(model=str(there / "forest-csv.joblib")))
    files = ["--members", there / "m.csv", "--nonmembers", there / "n.csv", "--label", LABEL]
    command = ["--target", f"{loader}:load", *files, *FEW, "--name", "renamed"]
    command += ["--trainer", f"{loader}:fit"]
    code, _, errors = hardlabel_("audit", *command, "--out", "refused")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "answers of target must be 'No', 'Yes', got others for" in errors
    assert "--label-map" in errors
    mapping = ["--label-map", "stays=No", "--label-map", "leaves=Yes"]
    code, _, errors = hardlabel_("audit", *command, *mapping, "--out", "run")
    assert (errors, code) == ("", 0)
    code, _, errors = hardlabel_("audit", *command, "--label-map", "stays=Nein", "--out", "other")
    assert (code, errors) == (
        2,
        "hardlabel: label_map must be ANSWER=LABEL with a label of No, Yes, got 'stays=Nein'\n",
    )
    record = load("run")
    for name in ("gap", "noise"):  # Noise is chosen on the attacker's own models, the same except for their seeds.
        assert record.attack(name).auc == whole.attack(name).auc


@pytest.mark.long
def test_names_may_stand_for_numbers(there, wrong, hardlabel_, whole):
    tables = ["--members", wrong / "numbers-m.csv", "--nonmembers", wrong / "numbers-n.csv", "--label", LABEL]
    command = ["--target", there / "forest-csv.joblib", "--trust-pickle", *tables, *FEW]
    code, _, errors = hardlabel_("audit", *command, "--label-map", "No=0", "--label-map", "Yes=1", "--out", "run")
    assert (errors, code) == ("", 0)
    record = load("run")
    assert record.results.target.train_accuracy == whole.results.target.train_accuracy
    assert record.attack("noise-ratio").auc == whole.attack("noise-ratio").auc


RENAMING = """
import joblib
from sklearn.base import clone

class Answers:
    def __init__(self, model):
        self.model = model

    def ask(self, rows, ids):
        return [{{"No": "stays", "Yes": "leaves"}}[label] for label in self.model.predict(rows)]

def load():
    return Answers(joblib.load({model!r}))

def fit(rows, labels, *, seed):
    model = clone(joblib.load({model!r}))
    return model.set_params(randomforestclassifier__random_state=seed).fit(rows, labels)
"""


def test_a_population_serves_the_path_attack(there, hardlabel_):
    command = [*target(there), "--population", there / "p.csv", "--attacks", "gap,path", "--budget", "12", *QUIETLY]
    code, _, errors = hardlabel_("audit", *command, "--out", "run")
    assert (errors, code) == ("", 0)
    path = load("run").attack("path")
    assert 0 < path.queries_per_sample.max <= 12
    assert path.auc.value is not None


def test_a_model_that_the_plan_times_is_not_one_made_before(there, hardlabel_):
    command = [*target(there), "--attacks", "noise-ratio", "--budget", "2", *QUIETLY[:-1], "--out", "run"]
    assert "2 trainings" in (told := hardlabel_("audit", *command)[2])
    assert "made before" not in told
    assert re.search(r"pieces at most, \d+ of them made before", hardlabel_("audit", *command)[2])


# --- what is refused before anything is spent ---


@pytest.fixture(scope="module")
def wrong(there, telco, tmp_path_factory):
    """Tables and models of which each has something wrong with it."""
    folder = tmp_path_factory.mktemp("wrong")
    changes = {
        "more": lambda table: table.assign(x=1),
        "fewer": lambda table: table.drop(columns="tenure"),
        "numbers": lambda table: table.assign(Churn=(table.Churn == "Yes") * 1),
        "blanks": lambda table: table.assign(Churn=table.Churn + " "),
        "question": lambda table: table.assign(TotalCharges="?"),
        "same": lambda table: telco["m"],
        "word": lambda table: table.assign(tenure="long" if table is telco["n"] else table.tenure),
    }
    for name, change in changes.items():
        for group in ("m", "n"):
            change(telco[group]).to_csv(folder / f"{name}-{group}.csv", index=False)
    for group in ("m", "n"):
        telco[group].to_csv(folder / f"semicolons-{group}.csv", index=False, sep=";")
    members = pd.read_csv(there / "m.csv")
    with_id, inputs = members.drop(columns=LABEL), members.drop(columns=[ID, LABEL])
    names = members[LABEL].to_numpy()
    models = {
        "constant": DummyClassifier().fit(inputs, names),
        "unlike": forest(inputs).fit(inputs, np.where(names == "Yes", "No", "Yes")),
        "with-id": forest(with_id).fit(with_id, names),
        "regressor": LinearRegression().fit([[0.0], [1.0]], [0, 1]),
        "unfitted": forest(inputs),
    }
    for name, model in models.items():
        joblib.dump(model, folder / f"{name}.joblib")
    torch.save(torch.nn.Linear(19, 2).state_dict(), folder / "weights.pt")
    (folder / "empty.joblib").write_bytes(b"")
    (folder / "damaged.joblib").write_bytes((folder / "constant.joblib").read_bytes()[:40])
    return folder


SEMICOLON = r"the file has one column 'customerID;.*: is ';' the separator\? --separator ';'"
# What is given in place of the usual: the model, the tables, options; and the line.
REFUSED = {
    "a pickle": ({"trust": []}, "target is a pickle: loading it runs its code; add --trust-pickle or convert it to"),
    "types of skops": (
        {"model": "forest-csv.skops", "trust": []},
        "skops file holds types that are not trusted: .*Tree; --trust-type sklearn.tree._tree.Tree",
    ),
    "a column more": ({"tables": "more"}, "target wants 19 columns, the table has 20: 'x' is extra"),
    "a column less": ({"tables": "fewer"}, "target wants 19 columns, the table has 18: 'tenure' is missing"),
    "other labels": ({"tables": "numbers"}, "labels must be of the sort that the target answers with, 'No', got "),
    "labels with blanks": ({"tables": "blanks"}, "labels must be those that the target knows, 'No', 'Yes', got 'No '"),
    "cells it cannot take": ({"tables": "question"}, "target cannot take these rows: .* '?'"),
    "types that differ": ({"tables": "word"}, "column 'tenure' must hold one type in all groups, got int64 "),
    "the same rows": ({"tables": "same"}, "members and nonmembers must not share inputs, got 150 in both"),
    "another separator": ({"tables": "semicolons"}, SEMICOLON),
    "one class": ({"model": "constant.joblib"}, "target answers one class for all (299|300) rows: are the columns as"),
    "other rows": ({"model": "unlike.joblib"}, r"target is right on \d+% of members, guessing is \d+%: are these its"),
    "another label": (
        {"label": ["--label", "Contract"]},
        "target wants 19 columns, also 'Contract', which --label Contract took out of the table: .* --label Churn",
    ),
    "an id": ({"model": "with-id.joblib"}, "target wants the column 'customerID', which was ignored .* --categorical"),
    "a regressor": ({"model": "regressor.joblib"}, "target must be a classifier that answers each row with one class"),
    "not fitted": ({"model": "unfitted.joblib"}, "target must be fitted, got Pipeline"),
    "weights": ({"model": "weights.pt"}, "target is a state_dict, .* --target FILE.py:function"),
    "no file": ({"model": "nothing.joblib"}, "target nothing.joblib cannot be read: No such file"),
    "an empty file": ({"model": "empty.joblib"}, "target empty.joblib cannot be read: it is empty"),
    "a damaged file": ({"model": "damaged.joblib"}, "target damaged.joblib cannot be read"),
    "no label": ({"label": []}, "label must name the column of m.csv with the class: customerID, "),
    "an unknown label": ({"label": ["--label", "churn"]}, "label 'churn' is unknown: did you mean 'Churn'"),
    "an unknown column": ({"more": ["--ignore", "Id"]}, "ignore 'Id' is unknown"),
    "a trainer that is no function": ({"more": ["--trainer", "fit.py:fit"]}, "fit.py cannot be read: No such file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_one_line_and_nothing_is_spent(name, there, wrong, hardlabel_, tmp_path, monkeypatch):
    """No model is trained. Only what the answers show is known after the target's first answers."""
    change, line = REFUSED[name]
    model = change.get("model", "forest-csv.joblib")
    tables = [there / f"{group}.csv" for group in ("m", "n")]
    if "tables" in change:
        tables = [wrong / f"{change['tables']}-{group}.csv" for group in ("m", "n")]
    fits = []
    own = Pipeline.fit
    monkeypatch.setattr(Pipeline, "fit", lambda self, *rows: (fits.append(rows), own(self, *rows))[1])
    command = ["--target", (there if model.startswith("forest") else wrong) / model]
    command += change.get("trust", TRUST["joblib"]) + change.get("label", ["--label", LABEL]) + change.get("more", [])
    command += ["--members", tables[0], "--nonmembers", tables[1], *FEW, "--out", "run"]
    code, told, errors = hardlabel_("audit", *command)
    assert (code, told, len(errors.splitlines())) == (2, "", 1), errors
    assert re.match(f"hardlabel: .*{line}", errors), errors
    assert fits == []
    answered = name in ("one class", "other rows")
    assert (tmp_path / "run").exists() == answered
    assert len(list((tmp_path / "store").glob("*.piece"))) == answered

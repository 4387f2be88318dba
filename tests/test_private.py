"""What is written holds no secrets: secrets are planted wherever a run looks, and every file it leaves is searched.

SECURITY.md states the exceptions; each stands in ALLOWED with the files where it may be found.
"""

import fnmatch
import io
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
import yaml
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import hardlabel
from commands import called
from hardlabel import Attacker, Focus, secret
from hardlabel.checks import InvalidInput
from hardlabel.data import mapped, sources
from hardlabel.kinds import KINDS, load, write_report
from hardlabel.records import environment
from hardlabel.runs.journal import Journal
from hardlabel.runs.listing import held, listed
from hardlabel.store import Store

SECRETS = {
    "value of a category": "zqvalue",
    "column": "zqcolumn",
    "class": "zqclass",
    "data file": "zqfile",
    "data folder": "zqfolder",
    "file of slices": "zqslices",
    "home": "zqhome",
    "user": "zquser",
    "machine": "zqmachine",
    "environment": "zqenvironment",
    "argument": "zqargument",
    "name": "zqname",
    "function": "zqfunction",
    "text of a function": "zqtext",
    "parameter": "zqparameter",
    "holder's secret": "zqholder's secret",
    "run folder": "zqrun",
}
# Where a secret may be found, as patterns of paths: what SECURITY.md says of run folders, reports and stores.
DECODED = "store/data/*"  # Decoded data, kept where they are large.
ALLOWED = {
    "value of a category": [DECODED],
    "column": [DECODED],
    "class": [DECODED],
    "data file": ["*/config.yaml", "*/*.json", "*/report.html", "store/runs/*.json", DECODED],
    "data folder": ["store/runs/*.json"],
    "file of slices": ["*/config.yaml", "*/*.json", "*/report.html", "store/runs/*.json"],
    "run folder": ["store/runs/*.json", "*/*.json", "*/report.html"],  # In the command: the name that was typed.
}
L2 = ["--defenses", "l2", "--levels", "l2=0.01"]
SMALL = ["--train-size", "40", "--max-epochs", "5", "--device", "cpu", "--label", "outcome", "--quiet"]
RUNS = {
    "model": ["audit", *SMALL, "--references", "2", "--attacks", "gap,noise,gap-ratio,lira", "--worst-case", "5%"],
    "recipe": ["audit", *SMALL, "--references", "2", "--attacks", "gap,lira", "--repeats", "2"],
    "defenses": ["defend", *SMALL, "--references", "2", "--attacks", "gap,noise", "--repeats", "2", *L2],
    "canaries": ["canaries", *SMALL, "--canaries", "30", "--kinds", "mislabelled,rare"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a home, a data file in it and a store, with secrets everywhere; the current folder is elsewhere."""
    home = tmp_path / SECRETS["home"]
    folder = home / SECRETS["data folder"]
    folder.mkdir(parents=True)
    frame = table()
    frame.to_csv(folder / f"{SECRETS['data file']}.csv", index=False)
    groups = pd.DataFrame({"half": np.arange(len(frame)) % 2})
    groups.to_csv(folder / f"{SECRETS['file of slices']}.csv", index=False)
    for name in ("LOGNAME", "USER", "USERNAME"):
        monkeypatch.setenv(name, SECRETS["user"])
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TOKEN", SECRETS["environment"])
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv(secret.ENVIRONMENT, SECRETS["holder's secret"])
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("platform.node", lambda: SECRETS["machine"])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def table(rows=300):
    draws = np.random.default_rng(0)
    cities = np.array(["Ulm", "Bonn", SECRETS["value of a category"]])[draws.integers(0, 3, rows)]
    classes = np.array(["healthy", SECRETS["class"]])
    age, dose = draws.normal(50, 10, rows), draws.normal(0, 1, rows)
    return pd.DataFrame(
        {"age": age, SECRETS["column"]: dose, "city": cities, "outcome": classes[(age + 10 * dose > 50).astype(int)]}
    )


def data_file(place):
    return place / SECRETS["home"] / SECRETS["data folder"] / f"{SECRETS['data file']}.csv"


def found(root):
    """The secrets in the files under a folder, as (secret, path): also inside archives and columns of tables."""
    places = set()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        for content in contents(path):
            relative = path.relative_to(root).as_posix()
            places |= {(name, relative) for name, text in SECRETS.items() if text.encode() in content}
    return places


def contents(path):
    yield path.read_bytes()
    if path.suffix == ".parquet":
        read = pyarrow.parquet.read_table(path)
        yield json.dumps([read.to_pydict(), str(read.schema)], default=str).encode()
    payload = path.read_bytes()[32:] if path.suffix == ".piece" else path.read_bytes()
    if zipfile.is_zipfile(io.BytesIO(payload)):
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            yield from map(archive.read, archive.namelist())


def forbidden(places):
    return {
        (name, path)
        for name, path in places
        if not any(fnmatch.fnmatch(path, pattern) for pattern in ALLOWED.get(name, ()))
    }


def test_the_search_finds_what_is_there(tmp_path):
    """Plain, in a column of a table, and in a compressed member of a piece."""
    (tmp_path / "plain.txt").write_text(SECRETS["home"])
    pd.DataFrame({"a": [SECRETS["user"]] * 999}).to_parquet(tmp_path / "a.parquet")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("member", SECRETS["name"] * 99)
    (tmp_path / "b.piece").write_bytes(b"c" * 32 + packed.getvalue())
    assert SECRETS["name"].encode() not in packed.getvalue()
    assert found(tmp_path) == {("home", "plain.txt"), ("user", "a.parquet"), ("name", "b.piece")}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_of_the_command_line_writes_no_secret(kind, place, monkeypatch, capsys):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 0)
    slices = ["--slices-file", str(data_file(place).with_name(f"{SECRETS['file of slices']}.csv"))]
    arguments = [*RUNS[kind], *(slices if kind == "model" else [])]
    out = place / "runs" / SECRETS["run folder"]
    code, _, told = called(
        *arguments, "--data", data_file(place), f"--out={out}", monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 0, told
    out.rename(place / "run")  # The folder's own name is no content.
    for folder in ("run", "store"):
        assert any(path.stat().st_size for path in (place / folder).rglob("*") if path.is_file())
    (place / SECRETS["home"]).rename(place.parent / f"{place.name}-home")
    places = found(place)
    assert not forbidden(places)
    # The exceptions are no dead letters: they are what resuming and listing need, and what was typed.
    assert ("data file", "run/config.yaml") in places
    assert {name for name, path in places if path.startswith("store/runs/")} >= {"data folder", "run folder"}
    assert {name for name, path in places if path.startswith("store/data/")} >= {"value of a category", "column"}
    assert load(place / "run").results.environment.command.startswith(f"hardlabel {arguments[0]} ")


@pytest.mark.parametrize("kind", ["model", "recipe", "defenses", "canaries"])
def test_a_call_from_a_host_program_writes_no_secret(kind, place, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"/srv/{SECRETS['data folder']}/service.py", f"--password={SECRETS['argument']}"])
    samples = sources.load(str(data_file(place)), label="outcome").samples
    store = Store(place / "store")
    record = CALLS[kind](samples.inputs.numpy(), samples.labels.numpy(), samples.domain, store)
    record = record.save(place / "run")
    write_report(record, place / "run" / "report.html")
    (place / SECRETS["home"]).rename(place.parent / f"{place.name}-home")
    places = found(place)
    # Pickles of the user's models are what they are; a store is as private as the data.
    assert not {(name, path) for name, path in places if not path.endswith(".piece")}
    assert record.results.environment.command == environment.FROM_PYTHON
    assert list((place / "store").glob("*.json"))


def zqfunction(inputs, labels, *, seed):
    """zqtext: the text of the function."""
    return LogisticRegression(random_state=seed).fit(inputs.reshape(len(inputs), -1), labels)


class Silent:
    """An oracle whose text shows a secret."""

    def __init__(self, model):
        self._model = model

    def ask(self, inputs, ids):
        return torch.from_numpy(self._model.predict(inputs.numpy()))

    def __repr__(self):
        return SECRETS["parameter"]


def of_model(inputs, labels, domain, store):
    target = Silent(LogisticRegression().fit(inputs[:60], labels[:60]))
    groups = [(inputs[start:stop], labels[start:stop]) for start, stop in ((0, 60), (60, 120), (120, 300))]
    return hardlabel.audit(
        target,
        *groups[:2],
        population=groups[2],
        trainer=zqfunction,
        domain=domain,
        name=SECRETS["name"],
        attacks=["gap", "noise", "gap-ratio"],
        attacker=Attacker(references=2),
        focus=Focus(worst_case=0.05),
        device=torch.device("cpu"),
        store=store,
    )


def of_recipe(inputs, labels, domain, store):
    pipeline = make_pipeline(FunctionTransformer(kw_args={SECRETS["parameter"]: 1}), LogisticRegression(C=2.0))
    pipeline = pipeline.set_params(functiontransformer__kw_args=None, memory=None, logisticregression__solver="saga")
    pipeline.steps[0] = (SECRETS["parameter"], pipeline.steps[0][1])
    return hardlabel.audit_recipe(
        (inputs, labels),
        pipeline,
        domain=domain,
        train_size=40,
        repeats=2,
        attacks=["gap", "lira"],
        attacker=Attacker(references=2),
        store=store,
    )


def of_defenses(inputs, labels, domain, store):
    return hardlabel.defend(
        (inputs, labels),
        hardlabel.Recipe(architecture="logistic", max_epochs=3),
        defenses=["l2"],
        levels={"l2": [0.01]},
        domain=domain,
        train_size=40,
        repeats=2,
        attacks=["gap", "noise"],
        attacker=Attacker(references=2),
        store=store,
    )


def of_canaries(inputs, labels, domain, store):
    return hardlabel.audit_canaries(
        (inputs, labels),
        zqfunction,
        domain=domain,
        canaries=30,
        kinds=["mislabelled", "rare"],
        train_size=60,
        name=SECRETS["name"],
        store=store,
    )


CALLS = {"model": of_model, "recipe": of_recipe, "defenses": of_defenses, "canaries": of_canaries}


def test_values_are_written_where_the_holder_asks_for_them(place, monkeypatch, capsys):
    """Groups by the values of a column, and the records: what SECURITY.md says of --slice and --show-records."""
    for option, names in (
        (["--slice", "city"], {"value of a category"}),
        (["--show-records"], {"value of a category", "column"}),
    ):
        out = place / option[0].strip("-")
        audited(place, out, *option, monkeypatch=monkeypatch, capsys=capsys)
        places = found(out)
        assert {name for name, _ in places} == {*names, "data file"}
        assert {path for name, path in places if name in names} == {"results.json", "report.html"}


def test_only_while_a_folder_is_held_it_names_the_holder(place):
    with held(place / "run"):
        assert {("user", ".holder.json"), ("machine", ".holder.json")} == found(place / "run")
    assert not found(place / "run")


# --- ids, rows and pseudonyms ---


def audited(place, out, *more, monkeypatch, capsys):
    arguments = [*RUNS["model"], "--data", data_file(place), "--out", place / out, *more]
    code, _, told = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, told
    return load(place / out)


def test_neither_an_id_nor_the_order_of_scores_tells_a_row(place, monkeypatch, capsys):
    """The rows, which only --show-records writes, show neither in the ids nor in the order of the scores."""
    shown = audited(place, "shown", "--show-records", monkeypatch=monkeypatch, capsys=capsys)
    usual = audited(place, "usual", monkeypatch=monkeypatch, capsys=capsys)
    assert "row" not in usual.scores
    assert all(one.row is None for one in usual.results.exposed)
    pd.testing.assert_frame_equal(shown.scores.drop(columns="row"), usual.scores)
    for _, scores in shown.scores.groupby("attack"):
        assert scores["id"].tolist() == list(range(len(scores)))
        # Four standard errors of a rank correlation under the null: 1 / sqrt(n - 1).
        assert abs(spearmanr(scores["id"], scores["row"]).statistic) < 4 / (len(scores) - 1) ** 0.5
    frame = pd.read_csv(data_file(place))
    row_of = dict(zip(shown.scores["pseudonym"], shown.scores["row"], strict=True))
    for one in shown.results.exposed:
        assert one.row == row_of[one.pseudonym]
        assert f"age {frame.loc[one.row, 'age']:.3f}"[:8] in one.shown
    monkeypatch.setenv(secret.ENVIRONMENT, "the secret of somebody else")
    other = audited(place, "other", monkeypatch=monkeypatch, capsys=capsys)
    assert not set(other.scores["pseudonym"]) & set(usual.scores["pseudonym"])
    assert other.results.attacks == usual.results.attacks


def test_a_record_has_one_pseudonym_in_all_runs_of_its_holder(place, monkeypatch, capsys):
    """With another seed, and with other rows in the file, which change how numbers are encoded."""
    first = audited(place, "first", "--show-records", monkeypatch=monkeypatch, capsys=capsys)
    before = dict(zip(first.scores["row"], first.scores["pseudonym"], strict=True))
    longer = pd.concat([table(), table(40).assign(age=lambda rows: rows["age"] + 33)])
    longer.to_csv(data_file(place), index=False)
    second = audited(place, "second", "--show-records", "--seed", "3", monkeypatch=monkeypatch, capsys=capsys)
    after = dict(zip(second.scores["row"], second.scores["pseudonym"], strict=True))
    both = before.keys() & after.keys()
    assert len(both) > 5
    assert all(before[row] == after[row] for row in both)
    for row in after.keys() - before.keys():
        assert after[row] not in before.values()


def test_the_secret_is_made_once_for_its_user_alone(place, monkeypatch):
    """Processes that start together share the secret; it is in no other file."""
    monkeypatch.delenv(secret.ENVIRONMENT)
    line = "from hardlabel import secret; print(secret.keyed(b'a record', purpose='record'))"
    processes = [subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE) for _ in range(4)]
    names = {process.communicate(timeout=120)[0] for process in processes}
    assert len(names) == 1
    file = secret.place()
    assert file.is_relative_to(place / SECRETS["home"])
    assert len(file.read_bytes()) == secret.BYTES
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    secret._make(file)  # As a process does that saw no file a moment ago.
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_secret_is_made_on_disks_without_links(place, monkeypatch):
    monkeypatch.delenv(secret.ENVIRONMENT)

    def refused(*places):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    secret.check()
    assert len(secret.place().read_bytes()) == secret.BYTES


def test_a_damaged_or_short_secret_is_refused_before_any_training(place, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr("hardlabel.models.trainers.RecipeTrainer.fit", refuse)
    arguments = [*RUNS["model"], "--data", data_file(place), "--out", place / "run"]
    monkeypatch.setenv(secret.ENVIRONMENT, "short")
    code, _, told = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, "HARDLABEL_SECRET must have at least 16 characters, got 5" in told) == (2, True)
    monkeypatch.delenv(secret.ENVIRONMENT)
    secret.place().parent.mkdir(parents=True)
    secret.place().write_bytes(b"half")
    code, _, told = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, "must hold 32 bytes, got 4" in told) == (2, True)
    assert not (place / "run").exists()
    with pytest.raises(InvalidInput, match="must hold 32 bytes"):
        hardlabel.audit(Silent(None), ([[0.0]] * 9, [0] * 9), ([[1.0]] * 9, [0] * 9))


def test_without_a_place_for_the_secret_a_process_has_its_own(place, monkeypatch):
    monkeypatch.delenv(secret.ENVIRONMENT)
    (place / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / "file"))
    with pytest.warns(UserWarning, match="cannot be kept"):
        first = secret.keyed(b"a record", purpose="record")
    assert first == secret.keyed(b"a record", purpose="record")


# --- what is cut is not lost ---


def test_a_run_goes_on_from_anywhere_although_its_folder_names_no_path(place, monkeypatch, capsys):
    record = audited(place, "run", monkeypatch=monkeypatch, capsys=capsys)
    assert yaml.safe_load((place / "run" / "config.yaml").read_text())["data"] == f"{SECRETS['data file']}.csv"
    (place / "run" / "results.json").unlink()
    code, _, told = called("resume", place / "run", "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, told
    again = load(place / "run")
    pd.testing.assert_frame_equal(again.scores, record.scores)
    assert again.config == record.config


def test_another_file_of_the_same_name_is_another_run(place, monkeypatch, capsys):
    audited(place, "run", monkeypatch=monkeypatch, capsys=capsys)
    other = place / data_file(place).name
    table().to_csv(other, index=False)
    arguments = [*RUNS["model"], "--data", other, "--out", place / "run"]
    code, _, told = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, "holds another audit (it differs in data)" in told) == (2, True)


def test_runs_in_the_home_folder_are_listed_under_their_whole_path(place, monkeypatch, capsys):
    out = place / SECRETS["home"] / "run"
    audited(place, out, monkeypatch=monkeypatch, capsys=capsys)
    [note] = (place / "store" / "runs").glob("*.json")
    assert json.loads(note.read_text())["folder"] == "~/run"
    [run] = listed(Store(place / "store"), records=["results.json"])
    assert (run.folder, run.state) == (out, "finished")
    assert not any("machine" in line or "user" in line for line in Journal(out / "journal.jsonl").lines())


# --- the pieces of it ---


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/usr/bin/hardlabel", "audit", "--data", "/a/b.csv"], "hardlabel audit --data b.csv"),
        (["hardlabel", "audit", "--data=/a/b.csv", "--seed", "3"], "hardlabel audit --data=b.csv --seed 3"),
        (["hardlabel", "audit", "--out", "runs/mine/"], "hardlabel audit --out mine"),
        (["hardlabel", "audit", "--address", "ray://host:1"], "hardlabel audit --address ..."),
        (["hardlabel", "audit", "--address=ray://host:1"], "hardlabel audit --address=..."),
        ([str(Path(hardlabel.__file__).parent / "__main__.py"), "show", "x"], "hardlabel show x"),
        (["service.py", "--password", "x"], environment.FROM_PYTHON),
        (["/home/me/hardlabel.py", "--password", "x"], environment.FROM_PYTHON),
        (["/home/me/other/__main__.py", "--password", "x"], environment.FROM_PYTHON),
        ([], environment.FROM_PYTHON),
    ],
)
def test_only_the_tools_own_command_is_written_down_and_of_paths_the_last_name(argv, shown, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert environment.command() == shown


def test_a_config_of_an_earlier_version_with_whole_paths_still_agrees(tmp_path):
    kind = KINDS.rows["model"]
    settings = KINDS.made(kind, {"data": str(tmp_path / "a.csv"), "label": "y", "out": tmp_path})
    older = {**kind.kept(settings), "data": str(tmp_path / "a.csv")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert KINDS.check_folder(kind, settings)["data"] == "a.csv"
    assert KINDS.begun(tmp_path)[1].data == str(tmp_path / "a.csv")

"""Damaged, foreign and hostile run folders: one line within seconds, from everything that reads a folder."""

import copy
import json
import random
import shutil

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commands import called
from hardlabel import reading
from hardlabel.checks import InvalidInput
from hardlabel.kinds import KINDS, load, markdown
from hardlabel.runs import listing, tidy
from hardlabel.runs.folder import SUMS
from hardlabel.runs.journal import MADE, Journal
from hardlabel.runs.settings import read
from hardlabel.store import DamagedPiece, Store
from hostile import SORTS, in_time
from records import make_canary_record, make_defend_record, make_recipe_record, make_record

MAKERS = {
    "model": make_record,
    "recipe": make_recipe_record,
    "defenses": make_defend_record,
    "canaries": make_canary_record,
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", params=MAKERS)
def finished(request, tmp_path_factory):
    return MAKERS[request.param]().save(tmp_path_factory.mktemp(request.param)).folder


@pytest.fixture
def folder(finished, tmp_path):
    """A run folder of each kind, as older versions wrote it: no checksum guards it."""
    shutil.copytree(finished, tmp_path / "runs" / "run")
    (tmp_path / "runs" / "run" / SUMS).unlink()
    return tmp_path / "runs" / "run"


def record_file(folder):
    return next(folder / kind.file for kind in KINDS.rows.values() if (folder / kind.file).exists())


def one_line(*words, folder, **fixtures):
    """The command line fails with one line that names the folder."""
    with in_time():
        code, _, stderr = called(*words, **fixtures)
    lines = [line for line in stderr.splitlines() if line]
    assert (code, len(lines)) == (2, 1), stderr
    assert folder.name in lines[0]
    assert "Traceback" not in stderr
    return lines[0]


def refusal(call):
    """The message with which a call is refused; None if it is not."""
    try:
        call()
    except InvalidInput as error:
        return str(error)
    return None


def go_on(run, store):
    with listing.begun(run, {"data": "nothing.csv"}, store=listing.journaled(run, store, None)):
        pass


# --- what stands in place of a file ---


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", ["record", "config.yaml", "scores.parquet", SUMS])
def test_a_hostile_file_of_a_record_is_named_in_one_line(folder, name, sort, monkeypatch, capsys):
    path = record_file(folder) if name == "record" else folder / name
    if name == "scores.parquet" and record_file(folder).name == "canaries.json":
        return  # It keeps no scores.
    path.unlink(missing_ok=True)
    SORTS[sort](path)
    with in_time(), pytest.raises(InvalidInput) as refused:
        load(folder)
    assert path.name in str(refused.value)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.name in one_line("show", folder, folder=folder, monkeypatch=monkeypatch, capsys=capsys)
    with in_time():
        code, stdout, _ = called("runs", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert len(stdout.splitlines()) <= 3  # Heads, a rule, one run: a loop of links is no run.


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("name", ["config.yaml", "journal.jsonl", ".lock", ".holder.json", SUMS])
def test_a_hostile_folder_does_not_go_on(name, sort, tmp_path, monkeypatch, capsys):
    """It is refused in one line, or, where what was replaced is never read, held as before."""
    run = tmp_path / "runs" / "run"
    store = Store(tmp_path / "store")
    with listing.begun(run, {"kind": "model", "data": "nothing.csv"}, store=store):
        pass
    (run / name).unlink(missing_ok=True)
    SORTS[sort](run / name)
    with in_time():
        code, _, stderr = called("resume", run, "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2, stderr  # The data do not exist, in any case.
    assert len(stderr.strip().splitlines()) == 1, stderr
    with in_time():
        refused = refusal(lambda: go_on(run, store))
        assert refused is None or name in refused
        assert listing.holder_of(run) is None
        assert called("runs", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
        assert called("clean", "--dry-run", monkeypatch=monkeypatch, capsys=capsys)[0] == 0


@pytest.mark.parametrize("sort", SORTS)
def test_a_hostile_store_frees_and_uses_nothing(sort, tmp_path, monkeypatch, capsys):
    store, spec = Store(tmp_path / "store"), {"kind": "model"}
    with listing.begun(tmp_path / "run", {"data": "digits"}, store=store):
        pass
    known = store.root / listing.KNOWN
    [note] = known.glob("*.json")
    note.unlink()
    for path in (note, store.path(spec), known / "other.json", store.root / "data"):
        if path.exists():
            continue
        SORTS[sort](path)
    with in_time():
        if sort == "loop":
            with pytest.raises(OSError, match="symbolic links"):
                store.load(spec)
        else:
            with pytest.warns(DamagedPiece):
                assert store.load(spec) is None
    with in_time():
        assert tidy.spare(store).gone == ()
        assert called("runs", monkeypatch=monkeypatch, capsys=capsys)[0] == 0


@pytest.mark.parametrize("sort", [sort for sort in SORTS if sort not in ("nothing",)])
def test_a_hostile_file_of_settings_is_named_in_one_line(sort, tmp_path):
    SORTS[sort](tmp_path / "mine.yaml")
    with in_time(), pytest.raises(InvalidInput, match=r"mine\.yaml") as refused:
        read(tmp_path / "mine.yaml")
    assert "\n" not in str(refused.value)


def test_the_journal_is_never_written_through_a_link(tmp_path):
    """A hostile folder could name any file of the user's."""
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(InvalidInput, match=r"journal\.jsonl"):
        Journal(tmp_path / "journal.jsonl").tell(MADE, piece="a")
    assert (tmp_path / "precious").read_text() == "mine"


def test_long_lines_are_skipped_and_their_neighbours_read(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"first\n" + b"x" * (3 * reading.LINE_BYTES) + b"\nlast\n" + b"unfinished")
    assert list(reading.lines(path)) == [b"first\n", b"last\n", b"unfinished"]


def test_usual_yaml_reads_as_ever():
    text = b"a: &one [1, 2.5, null, 2020-01-01]\nb: *one\nc: {d: yes}\n"
    assert reading.yaml_value(text)["b"] == reading.yaml_value(text)["a"]
    assert reading.yaml_value(b"") is None
    assert reading.yaml_value("näme: ö".encode()) == {"näme": "ö"}
    assert reading.yaml_value(b"- " * (reading.YAML_DEPTH - 1) + b"a") is not None
    with pytest.raises(reading.Unreadable, match="levels deep"):
        reading.yaml_value(b"- " * reading.YAML_DEPTH + b"a")


# --- figures that cannot be ---

# Figures of results by their path, and what cannot stand there.
WRONG = {
    "model": [
        (["members"], -5),
        (["members"], 3),
        (["members"], "many"),
        (["members"], 10**30),
        (["prior"], 7.0),
        (["attacks"], []),
        (["attacks", 0, "name"], "noise"),
        (["attacks", 0, "auc", "value"], 1.2),
        (["attacks", 0, "auc"], {"value": 0.5, "low": 0.9, "high": 0.1, "note": ""}),
        (["attacks", 0, "queries_per_sample", "max"], -1),
        (["attacks", 0, "tpr_at_fpr"], {"oops": {"value": 0.5}}),
        (["attacks", 0, "classes", 0, "members"], 0),
        (["attacks", 0, "roc", "fpr"], [0.0]),
        (["attacks", 0, "histogram", "members"], []),
        (["target", "train_accuracy", "value"], 2.0),
        (["format"], "4"),
        (["format"], [4]),
        (["format"], 99),
        (["environment"], None),
    ],
    "recipe": [(["samples"], 3), (["targets"], []), (["attacks", 0, "aucs"], [0.5]), (["training_seconds"], -1.0)],
    "defenses": [
        (["defenses"], []),
        (["defenses", 0, "defense"], "other"),
        (["defenses", 0, "strongest"], "nobody"),
        (["defenses", 1, "attacks", 0, "auc"], {"value": None, "low": None, "high": None, "note": "none"}),
        (["targets"], 0),
        (["targets"], 40),
    ],
    "canaries": [(["bounds", 0, "right"], 99), (["bounds", 0, "epsilon"], -1.0), (["delta"], 2.0), (["planted"], -1)],
}


def put(content, path, value):
    *before, last = path
    place = content
    for step in before:
        place = place[step]
    place[last] = value


@pytest.mark.parametrize(("kind", "path", "value"), [(kind, *wrong) for kind, all in WRONG.items() for wrong in all])
def test_a_figure_that_cannot_be_is_named(kind, path, value, tmp_path):
    MAKERS[kind]().save(tmp_path)
    (tmp_path / SUMS).unlink()
    file = tmp_path / KINDS.rows[kind].file
    content = json.loads(file.read_text())
    put(content, path, value)
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidInput) as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def changed_scores(kind):
    """Ways to change a table of scores so that it no longer fits the results."""
    ways = {
        "half the rows": lambda frame: frame.iloc[: len(frame) // 2],
        "a row twice": lambda frame: pd.concat([frame.iloc[:-1], frame.iloc[:1]]),
        "no column id": lambda frame: frame.drop(columns="id"),
        "a foreign column": lambda frame: frame.assign(other=1),
        "ids as text": lambda frame: frame.assign(id=frame["id"].astype(str)),
        "ids below 0": lambda frame: frame.assign(id=-frame["id"] - 1),
        "members as numbers": lambda frame: frame.assign(member=frame["member"].astype(float)),
        "no rows": lambda frame: frame.iloc[:0],
    }
    if kind != "defenses":
        ways["another attack"] = lambda frame: frame.assign(attack=frame["attack"].replace("gap", "gapp"))
        ways["scores as text"] = lambda frame: frame.assign(score=frame["score"].astype(str))
        ways["a long text"] = lambda frame: frame.assign(pseudonym="x" * 100_000)
        ways["another membership for one attack"] = lambda frame: frame.assign(
            member=frame["member"].where(frame["attack"] != "gap", ~frame["member"])
        )
    return ways


@pytest.mark.parametrize(
    ("kind", "way"), [(kind, way) for kind in ("model", "recipe", "defenses") for way in changed_scores(kind)]
)
def test_scores_that_do_not_fit_the_results_are_refused(kind, way, tmp_path):
    record = MAKERS[kind]().save(tmp_path)
    (tmp_path / SUMS).unlink()
    changed_scores(kind)[way](record.scores).to_parquet(tmp_path / "scores.parquet", index=False)
    with in_time(), pytest.raises(InvalidInput, match=r"scores\.parquet") as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", MAKERS)
def test_scores_come_back_as_they_were(kind, tmp_path):
    record = MAKERS[kind]().save(tmp_path)
    pd.testing.assert_frame_equal(load(tmp_path).scores, record.scores)


# --- fuzz ---

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
SEEN = [-5, "", None, [], {}, 10**400, float("nan"), True, "\x1b[2J", [[]] * 50]


def places(content, before=()):
    """The paths of everything in a JSON value."""
    steps = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for step, inner in steps:
        yield [*before, step]
        yield from places(inner, (*before, step))


def seen_first(test):
    for value in SEEN:
        for seed in range(3):
            test = example(seed=seed, value=value)(test)
    return test


@pytest.fixture(scope="module")
def fuzzed(finished, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    (folder / SUMS).unlink()
    return folder


@seen_first
@given(seed=st.integers(0, 2**32), value=values)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_in_a_record_is_refused_in_one_line_or_keeps_all_rules(fuzzed, seed, value):
    path = record_file(fuzzed)
    sound = path.read_text()
    content = json.loads(sound)
    put(content, random.Random(seed).choice(list(places(content))), copy.deepcopy(value))
    path.write_text(json.dumps(content))
    try:
        with in_time():
            refused = refusal(lambda: load(fuzzed))
        if refused is None:
            record = load(fuzzed)
            assert record.title
            assert markdown(record)
    finally:
        path.write_text(sound)
    assert refused is None or (str(fuzzed) in refused and "\n" not in refused)


@example(text="- " * 100)
@example(text="{a: " * 100)
@example(text="a: &a [*a]")
@example(text="!!timestamp x")
@example(text="kind: [model]")
@example(text="kind: model\ndata: {}")
@example(text="? {}\n: 1")
@example(text="?")
@example(text="2: 3")
@example(text="kind: recipe\nrepeats: .nan")
@given(text=st.text(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_as_settings_is_refused_in_one_line_or_read(tmp_path, text):
    run = tmp_path / "runs" / "run"
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_bytes(text.encode(errors="replace"))
    with in_time():
        assert "\n" not in (refusal(lambda: KINDS.begun(run)) or "")
        [listed] = listing.listed(Store(tmp_path / "store"), tmp_path / "runs")
    assert "\n" not in listed.problem


def test_files_without_permission_are_named(folder, monkeypatch, capsys):
    """Simulated: the superuser may read everything."""

    def refused(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(reading.os, "stat", refused)
    message = refusal(lambda: load(folder))
    monkeypatch.undo()
    assert str(folder) in message
    assert "Permission denied" in message

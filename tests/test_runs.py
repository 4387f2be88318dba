"""Runs: whatever ends one, it goes on; who holds a folder is told; what nobody needs is found."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hardlabel
from commands import called
from hardlabel import store as stores
from hardlabel.audits.game.check_rows import ROWS, most_askings
from hardlabel.audits.game.execution import Execution
from hardlabel.checks import InvalidInput
from hardlabel.kinds import KINDS, run
from hardlabel.records.defenses import DefendRecord
from hardlabel.records.model import READABLE, AuditRecord
from hardlabel.records.recipe import RecipeRecord
from hardlabel.runs import listing as runs
from hardlabel.runs import tidy
from hardlabel.runs.folder import SUMS
from hardlabel.runs.journal import BROKEN, FOUND, MADE, Journal
from hardlabel.runs.listing import BROKEN_OFF, FINISHED, GONE, RUNNING
from hardlabel.runs.settings import ModelSettings, RecipeSettings
from hardlabel.store import DAMAGED, Store

SMALL = {"train_size": 60, "max_epochs": 20, "attacks": ["gap", "noise", "lira"], "references": 4, "device": "cpu"}
OPTIONS = ["--train-size", "60", "--max-epochs", "20", "--attacks", "gap,noise,lira", "--references", "4"]
OPTIONS += ["--device", "cpu"]
FORK = multiprocessing.get_context("fork")


class Said:
    """A watch that remembers what it was told."""

    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)

    def stage(self, title, total, unit): ...

    def advance(self, units): ...

    def detail(self, words): ...


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


def small(out, **others):
    return ModelSettings(**{**SMALL, **others}, out=out)


def content(record):
    """A record without what a clock or a place says."""
    told = re.sub(r'"(\w*seconds)":[^,}]+', r'"\1":0', record.results.model_dump_json())
    results = json.loads(told)
    del results["environment"]
    # The probe for the best batch size is timed: another run may choose another one.
    results["target"]["batch_size"] = None
    results["notes"] = [note for note in results["notes"] if "batch size" not in note]
    return results


def same(one, other):
    assert content(one) == content(other)
    assert one.scores.equals(other.scores)


def events(folder, event):
    return [line["piece"] for line in Journal(folder / "journal.jsonl").lines() if line["event"] == event]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return run(small(folder / "run"), store=Store(folder / "store"))


# --- what ends a run ---


def test_a_run_killed_again_and_again_ends_with_the_record_of_one_that_was_not(tmp_path, whole):
    """Two kills by SIGKILL, the second later; the journal shows that no piece was made twice. `make long` has more."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "hardlabel", "audit", *OPTIONS, "--quiet", "--jobs", "1", "--out", str(out)]
    for kill in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        least = 3 * kill + 1
        while process.poll() is None and (not out.exists() or len(set(events(out, MADE))) < least):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run must be under way when it is killed"
        assert runs.holder_of(out) is None
    done = subprocess.run(
        [sys.executable, "-m", "hardlabel", "resume", "run", "--quiet", "--jobs", "1"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    same(AuditRecord.load(out), whole)
    made = events(out, MADE)
    assert len(made) == len(set(made))
    assert len(list((tmp_path / "store").glob("*.piece"))) == len(made)
    assert not [path for path in out.iterdir() if path.name == ".scratch"]


def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_room(tmp_path, monkeypatch, capsys, whole):
    out, written, sync = tmp_path / "run", [], os.fsync

    def full(handle):
        written.append(handle)
        if len(written) > 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(stores.os, "fsync", full)
        code, _, stderr = called("audit", *OPTIONS, "--quiet", "--out", out, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert "the disk is full" in stderr
    assert "goes on from there" in stderr
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith(".")]
    before = set(events(out, MADE))
    assert before
    assert called("resume", out, "--quiet", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    same(AuditRecord.load(out), whole)
    assert len(events(out, MADE)) == len(set(events(out, MADE)))
    assert before < set(events(out, MADE))


def test_a_machine_that_dies_leaves_a_run_that_goes_on_on_another(tmp_path, store, whole):
    """What its disk held at some moment is all that is left: half a line, half a piece, a lock that nobody holds."""

    class Copying(Said):
        def say(self, message):
            if message.startswith("noise"):
                for name in ("run", "store"):
                    shutil.copytree(tmp_path / name, tmp_path / "dead" / name)

    run(small(tmp_path / "run"), store=store, execution=Execution(watch=Copying()))
    out, left = tmp_path / "dead" / "run", Store(tmp_path / "dead" / "store")
    assert (out / ".lock").exists()
    assert (out / ".holder.json").exists()
    assert not (out / "results.json").exists()
    assert runs.holder_of(out) is None
    with (out / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"at": "20' + bytes(60))  # Blocks that were never written read as zeros.
    (left.root / ".0123.piece.4567").write_bytes(b"half")
    before, made = {path.name: path.stat().st_mtime_ns for path in left.root.glob("*.piece")}, events(out, MADE)
    same(run(small(out), store=left), whole)
    assert {path.name: path.stat().st_mtime_ns for path in left.root.glob("*.piece") if path.name in before} == before
    again = events(out, MADE)
    assert again[: len(made)] == made
    assert len(again) == len(set(again)) > len(made) > 0


def test_a_finished_run_makes_nothing_when_resumed(tmp_path, store, whole):
    record = run(small(tmp_path / "run"), store=store)
    same(record, whole)
    made = events(tmp_path / "run", MADE)
    same(run(small(tmp_path / "run"), store=store), whole)
    assert events(tmp_path / "run", MADE) == made


def test_another_run_finds_what_the_first_has_made(tmp_path, store):
    run(small(tmp_path / "one"), store=store)
    run(small(tmp_path / "two"), store=store)
    assert events(tmp_path / "two", MADE) == []
    # The score is found whole: the measurements it was made of are not even looked for.
    assert set(events(tmp_path / "two", FOUND)) <= set(events(tmp_path / "one", MADE))


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_piece_is_said_and_made_again_and_never_used(tmp_path, store, whole, damage):
    """Every piece of a run is damaged: the run that goes on must make all it needs anew, and find the same."""
    run(small(tmp_path / "run"), store=store)
    pieces = sorted(store.root.glob("*.piece"))
    for place, path in enumerate(pieces):
        sound = path.read_bytes()
        at = (place * 7919) % len(sound)
        path.write_bytes(sound[:at] if damage == "cut" else sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :])
    watch = Said()
    same(run(small(tmp_path / "run"), store=store, execution=Execution(watch=watch)), whole)
    said = {line.split(" ")[0] for line in watch.lines if DAMAGED in line}
    assert said == {str(path) for path in pieces}
    assert set(events(tmp_path / "run", BROKEN)) == {path.stem for path in pieces}
    made = events(tmp_path / "run", MADE)
    assert sorted(made) == sorted(2 * [path.stem for path in pieces])


def test_no_result_depends_on_the_size_of_pieces(tmp_path, store, whole):
    record = run(small(tmp_path / "run"), store=store, execution=Execution(chunk=17))
    same(record, whole)
    kinds = [line["kind"] for line in Journal(tmp_path / "run" / "journal.jsonl").lines() if line["event"] == MADE]
    # The target is asked by two label signals and one of scores, the shadow model by candidates, references by one.
    assert kinds.count("measurement") > 8 * (3 + 1 + 4)


def test_the_audit_of_a_recipe_goes_on_as_well(tmp_path, store, monkeypatch, capsys):
    run(RecipeSettings(**{**SMALL, "attacks": ["gap", "lira"]}, repeats=2, out=tmp_path / "run"), store=store)
    before, made = RecipeRecord.load(tmp_path / "run"), events(tmp_path / "run", MADE)
    (tmp_path / "run" / "recipe.json").unlink()
    assert called("resume", "run", "--quiet", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    assert RecipeRecord.load(tmp_path / "run").scores.equals(before.scores)
    assert events(tmp_path / "run", MADE) == made


# --- who holds it ---


def _hold(folder, told):
    with runs.held(folder):
        told.set()
        time.sleep(600)


def test_a_second_process_is_told_who_holds_the_run_and_since_when(tmp_path, monkeypatch, capsys):
    told = FORK.Event()
    process = FORK.Process(target=_hold, args=(tmp_path / "run", told))
    process.start()
    try:
        assert told.wait(20)
        holder = runs.holder_of(tmp_path / "run")
        assert holder.process == process.pid
        code, _, stderr = called("audit", *OPTIONS, "--quiet", "--out", "run", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 2
        assert f"out 'run' is held by process {process.pid} of {holder.user} on {holder.machine}" in stderr
        assert f"since {holder.since}" in stderr
        assert time.time() - time.mktime(time.strptime(holder.since[:19], "%Y-%m-%dT%H:%M:%S")) < 3600
        process.kill()  # Whoever is killed holds nothing any more.
        process.join()
        assert runs.holder_of(tmp_path / "run") is None
        with runs.held(tmp_path / "run"):
            pass
    finally:
        process.kill()
        process.join()


def test_a_run_lets_go_when_it_ends_or_fails(tmp_path):
    with pytest.raises(RuntimeError, match="broken"), runs.begun(tmp_path / "run", {"data": "digits"}, store=None):
        raise RuntimeError("broken")
    assert runs.holder_of(tmp_path / "run") is None
    [ended] = [line for line in Journal(tmp_path / "run" / "journal.jsonl").lines() if line["event"] == "ended"]
    assert ended["how"] == "RuntimeError"


# --- the journal ---


def test_a_line_cut_short_is_passed_over_and_swallows_no_other(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.tell(MADE, piece="a")
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write('{"event": "made", "pie')
    journal.tell(MADE, piece="b")
    assert journal.pieces() == {"a", "b"}
    assert [line["event"] for line in journal.lines()] == [MADE, MADE]


# --- listing and cleaning ---


def test_runs_are_listed_with_their_state(tmp_path, store, monkeypatch, capsys):
    run(small(tmp_path / "runs" / "whole"), store=store)
    with pytest.raises(KeyboardInterrupt), runs.begun(tmp_path / "elsewhere", {"data": "mnist"}, store=store):
        raise KeyboardInterrupt
    with runs.begun(tmp_path / "gone", {"data": "mnist"}, store=store):
        pass
    shutil.rmtree(tmp_path / "gone")
    told = FORK.Event()
    process = FORK.Process(target=_hold, args=(tmp_path / "elsewhere", told))
    records = [kind.file for kind in KINDS.rows.values()]
    states = {one.folder.name: one.state for one in runs.listed(store, tmp_path / "runs", records=records)}
    assert states == {"whole": FINISHED, "elsewhere": BROKEN_OFF, "gone": GONE}
    process.start()
    try:
        assert told.wait(20)
        code, stdout, _ = called("runs", monkeypatch=monkeypatch, capsys=capsys)
    finally:
        process.kill()
        process.join()
    assert code == 0
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in stdout.splitlines()
    }
    answer = hardlabel.load(tmp_path / "runs" / "whole").title
    assert rows["runs/whole"][:3] == [FINISHED, answer, "digits"]
    assert rows["runs/whole"][4] == str(len(events(tmp_path / "runs" / "whole", MADE)))
    assert rows["elsewhere"][0].startswith(f"{RUNNING}: process {process.pid} of ")


def test_clean_frees_what_no_run_needs_and_nothing_else(tmp_path, store, monkeypatch, capsys):
    run(small(tmp_path / "one"), store=store)
    run(small(tmp_path / "two", seed=1), store=store)
    store.save({"kind": "a library's answers"}, b"paid for")
    two = set(events(tmp_path / "two", MADE)) | set(events(tmp_path / "two", FOUND))  # One batch size serves both.
    alone = set(events(tmp_path / "one", MADE)) - two
    assert alone
    draft = store.root / ".killed.piece.0123"
    draft.write_bytes(b"half")
    os.utime(draft, (0, 0))
    shutil.rmtree(tmp_path / "one")
    assert called("clean", monkeypatch=monkeypatch, capsys=capsys)[0] == 2  # Nobody can be asked.
    code, stdout, stderr = called("clean", "--dry-run", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout.split(" pieces")[0]) == (0, f"would free {len(alone)}")
    assert f"gone: {tmp_path / 'one'}" in stderr
    assert called("clean", "--yes", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    left = {path.stem for path in store.root.glob("*.piece")}
    assert two < left
    assert len(left) == len(two) + 1
    assert not draft.exists()
    assert {one.folder.name for one in runs.listed(store)} == {"two"}
    assert store.load({"kind": "a library's answers"}) == b"paid for"
    tidy.free(tidy.spare(store, unclaimed=True))
    assert store.load({"kind": "a library's answers"}) is None
    assert run(small(tmp_path / "two", seed=1), store=store) is not None
    assert set(events(tmp_path / "two", MADE)) | set(events(tmp_path / "two", FOUND)) == two


# --- plans and versions ---


def test_a_dry_run_tells_the_plan_and_leaves_nothing(tmp_path, monkeypatch, capsys):
    code, stdout, stderr = called(
        "audit", *OPTIONS, "--dry-run", "--out", "run", monkeypatch=monkeypatch, capsys=capsys
    )
    assert (code, stderr) == (0, "")
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "store").glob("*.piece")) == []
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", stdout)]
    # Target, shadow and 4 references; gap once, noise and lira on the target ...
    assert numbers[1] == 2 + 4
    assert numbers[3] == 3
    asked = 120 * (1 + 1 + 101 + 1)  # ... and the audit's own question, and its check rows.
    assert numbers[4] == asked + ROWS * most_askings(asked, attacks=3)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"attacks": ["gap", "noise"], "worst_case": 0.1},
        {"attacks": ["gap"], "labels": "target"},
        {"attacks": ["gap", "noise"], "shadow_labels": "target"},
    ],
)
def test_the_plan_bounds_what_is_then_done(tmp_path, store, more):
    watch = Said()
    run(small(tmp_path / "run", **more), store=store, execution=Execution(watch=watch))
    [told] = [line for line in watch.lines if line.startswith("plan: ")]
    trainings, measurements, scores = (
        int(re.search(rf"(\d+) {word}", told)[1]) for word in ("trainings", "measurements", "scores")
    )
    kinds = [line["kind"] for line in Journal(tmp_path / "run" / "journal.jsonl").lines() if line["event"] == MADE]
    assert kinds.count("model") == trainings
    assert kinds.count("score") == scores
    assert 0 < kinds.count("measurement") <= measurements
    record = AuditRecord.load(tmp_path / "run")
    asked = sum(one.queries_per_sample.mean for one in record.results.attacks) * 120 + 120
    asked += max(sum(one.overhead.values()) for one in record.results.attacks)
    assert asked <= int(re.search(r"most ([\d,]+) queries", told)[1].replace(",", ""))


@pytest.mark.parametrize("names", [["gap"], ["gap", "noise", "lira", "path"]])
def test_the_plan_of_a_recipe_bounds_what_is_then_done(tmp_path, store, names):
    """Repeated games ask all models, not the targets alone; crafters are trained whoever asks."""
    watch = Said()
    settings = RecipeSettings(**{**SMALL, "attacks": names}, repeats=2, out=tmp_path / "run")
    run(settings, store=store, execution=Execution(watch=watch))
    [told] = [line for line in watch.lines if line.startswith("plan: ")]
    lines = [line for line in Journal(tmp_path / "run" / "journal.jsonl").lines() if line["event"] == MADE]
    for kind, word in (("model", "trainings"), ("measurement", "measurements"), ("score", "scores")):
        done, most = sum(line["kind"] == kind for line in lines), int(re.search(rf"(\d+) {word}", told)[1])
        assert 0 < done <= most, kind


@pytest.mark.parametrize("version", READABLE)
def test_a_record_of_an_older_version_is_read(tmp_path, whole, version):
    """Format 1 had neither reference models nor the ladder's choice."""
    record = whole.save(tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    results["format"] = version
    if version == 1:
        del results["references"], results["choice"]
        for attack in results["attacks"]:
            del attack["references"]
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    (tmp_path / "run" / SUMS).unlink()
    found = AuditRecord.load(tmp_path / "run")
    assert found.results.format == version
    np.testing.assert_array_equal(found.table(), record.table())
    assert (tmp_path / "report.html") is not None
    hardlabel.write_report(found, tmp_path / "report.html")


@pytest.mark.parametrize(
    ("name", "reader"),
    [("results.json", AuditRecord), ("recipe.json", RecipeRecord), ("defend.json", DefendRecord)],
)
def test_a_record_of_a_later_version_is_refused_with_the_reason(tmp_path, whole, name, reader):
    whole.save(tmp_path / "run")
    (tmp_path / "run" / SUMS).unlink()
    (tmp_path / "run" / name).write_text('{"format": 99}')
    with pytest.raises(InvalidInput, match=r"has record format 99, .* a later version of hardlabel wrote it"):
        reader.load(tmp_path / "run")


def test_resuming_what_is_no_run_is_one_line(monkeypatch, capsys):
    code, _, stderr = called("resume", "nothing", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "run 'nothing' has no readable config.yaml" in stderr

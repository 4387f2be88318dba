"""Whatever ends a command ends it with one line, leaves no process behind, and the same command goes on from there."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from commands import MARK, called, left_after, marked
from hardlabel import store as stores
from hardlabel.checks import InvalidInput
from hardlabel.records.model import AuditRecord
from hardlabel.runs import listing
from hardlabel.runs.journal import MADE, Journal
from hardlabel.store import Store, default_store, full_disk
from hardlabel.turns import turn
from test_runs import same

SMALL = ["audit", "--train-size", "60", "--max-epochs", "20", "--attacks", "gap,noise", "--references", "4"]
SMALL += ["--device", "cpu", "--quiet", "--out", "run"]
# Workers start however short the pieces are: most of the run's time they are starting.
SPREAD = (
    "import hardlabel.executors as executors; executors.WORTH_STARTING = 0; import hardlabel.cli.app as app; app.main()"
)
MANY = [*SMALL, "--attacks", "lira", "--references", "16", "--jobs", "2"]
# What is under way when a signal comes is the training of reference models.
LONG = ["audit", "--train-size", "400", "--max-epochs", "20000", "--attacks", "lira", "--references", "16"]
LONG += ["--device", "cpu", "--quiet", "--out", "run", "--jobs", "2"]


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv(MARK, tmp_path.name)
    monkeypatch.chdir(tmp_path)


def command(*arguments, spread=False, **named):
    program = ["-c", SPREAD] if spread else ["-m", "hardlabel"]
    return subprocess.Popen(
        [sys.executable, *program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **named
    )


def workers(mark):
    return [words for words in marked(mark) if "popen_loky" in words]


def told(process, seconds=120):
    """The exit code and the lines of stderr."""
    _, stderr = process.communicate(timeout=seconds)
    return process.returncode, stderr.decode().splitlines()


def pieces_made(run):
    return [line["piece"] for line in Journal(run / "journal.jsonl").lines() if line["event"] == MADE]


# --- signals ---


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(0.0, id="workers start"),
        pytest.param(1.0, id="workers load", marks=pytest.mark.long),
        pytest.param(3.0, id="workers train", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    "group", [pytest.param(False, marks=pytest.mark.long, id="the command"), pytest.param(True, id="the whole group")]
)
def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path, moment, group):
    endings = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        process = command(*LONG, spread=True, start_new_session=True)
        while process.poll() is None and not workers(tmp_path.name):
            time.sleep(0.02)
        time.sleep(moment)
        assert process.poll() is None, "the run must be under way"
        os.killpg(process.pid, number) if group else process.send_signal(number)
        code, lines = told(process, 30)
        # Where workers get the signal too, joblib may say that they are gone.
        endings[number] = code, [line for line in lines if line.startswith("hardlabel: ")]
        assert group or len(lines) == 1, lines
        assert left_after(10, tmp_path.name) == []
        assert not (tmp_path / "run" / ".scratch").exists()
        assert listing.holder_of(tmp_path / "run") is None
        assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith(".")]
    assert endings[signal.SIGTERM] == endings[signal.SIGINT]
    code, lines = endings[signal.SIGTERM]
    assert (code, len(lines)) == (1, 1), lines
    assert lines[0].startswith("hardlabel: interrupted; ")


def test_outside_of_the_command_line_sigterm_is_as_it_was(monkeypatch, capsys):
    assert called("attacks", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def killed_while_workers_start(folder, kills, seed):
    """Kills a run so many times by SIGKILL, from the moment on when its first worker is there; counts who is left.

    The run goes on each time. A run that is finished before it is killed is compared with one that nobody disturbed,
    and begun anew.
    """
    environment, moments, done = {**os.environ, MARK: folder.name}, random.Random(seed), 0
    for name in ("whole", "killed"):
        (folder / name).mkdir()
    process = command(
        *MANY, spread=True, cwd=folder / "whole", env={**environment, "HARDLABEL_STORE": str(folder / "whole-store")}
    )
    assert told(process) == (0, [])
    whole = AuditRecord.load(folder / "whole" / "run")
    environment["HARDLABEL_STORE"] = str(folder / "store")
    while done < kills:
        process = command(*MANY, spread=True, cwd=folder / "killed", env=environment)
        while process.poll() is None and not workers(folder.name):
            time.sleep(0.01)
        try:
            process.wait(moments.choice((0.0, moments.uniform(0, 1), moments.uniform(0, 4))))
        except subprocess.TimeoutExpired:
            process.kill()
            done += 1
        process.communicate()
        assert left_after(30, folder.name) == [], f"kill {done}"
        if process.returncode == 0:
            same(AuditRecord.load(folder / "killed" / "run"), whole)
            for path in (folder / "killed" / "run", folder / "store"):
                shutil.rmtree(path)
    assert told(command(*MANY, spread=True, cwd=folder / "killed", env=environment)) == (0, [])
    same(AuditRecord.load(folder / "killed" / "run"), whole)
    made = pieces_made(folder / "killed" / "run")
    assert len(made) == len(set(made))


# --- full disks ---


@pytest.mark.parametrize(
    "kilobytes",
    [pytest.param(1, id="nothing fits", marks=pytest.mark.long), pytest.param(48, id="the report does not fit")],
)
def test_a_limit_on_the_size_of_files_ends_with_one_line_and_the_run_goes_on(tmp_path, kilobytes):
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    code, lines = told(command(*SMALL, preexec_fn=limited))
    assert (code, len(lines)) == (1, 1), lines
    assert "the disk is full: File too large" in lines[0]
    assert "goes on from there" in lines[0]
    made = pieces_made(tmp_path / "run")
    assert bool(made) == (kilobytes > 1)
    assert not [path for path in (tmp_path / "store").iterdir() if path.name.startswith(".")]
    code, lines = told(command(*SMALL))
    assert (code, lines) == (0, [])
    again = pieces_made(tmp_path / "run")
    assert len(again) == len(set(again)) >= len(made)
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("number", stores.FULL, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("allowed", [0, 1, 20])
def test_every_error_of_a_full_disk_is_told_as_such(tmp_path, monkeypatch, capsys, number, allowed):
    written, sync = [], os.fsync

    def full(handle):
        written.append(handle)
        if len(written) > allowed:
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(stores.os, "fsync", full)
    code, _, stderr = called(*SMALL, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert "the disk is full" in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("number", stores.FULL, ids=lambda number: errno.errorcode[number])
def test_a_disk_too_full_for_an_empty_file_is_no_wrong_folder(tmp_path, monkeypatch, capsys, number):
    def full(**named):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(stores.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match=r"Errno") as raised:
        Store(tmp_path / "store")
    assert raised.value.errno == number
    code, _, stderr = called(*SMALL, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert "the disk is full" in stderr


def test_a_full_disk_is_found_behind_other_errors():
    def hidden(cause):
        try:
            try:
                raise OSError(errno.EDQUOT, "Disk quota exceeded")
            except OSError as error:
                raise RuntimeError("PytorchStreamWriter failed") from (error if cause else None)
        except RuntimeError as error:
            return error

    assert full_disk(hidden(cause=True)).errno == errno.EDQUOT
    assert full_disk(hidden(cause=False)).errno == errno.EDQUOT
    assert full_disk(FileNotFoundError(errno.ENOENT, "no such file")) is None
    assert full_disk(ValueError("wrong")) is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_table_that_cannot_be_printed_for_want_of_room_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "hardlabel", "attacks"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, len(lines)) == (1, 1), lines
    assert "the disk is full" in lines[0]


# --- users whom the machine does not know ---

UNKNOWN = """
import os, pwd, sys

def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")

pwd.getpwuid = unknown
for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HARDLABEL_STORE", "USER", "LOGNAME", "LNAME", "USERNAME"):
    os.environ.pop(name, None)
sys.argv[0] = "hardlabel"
if sys.argv[1]:
    os.environ["HARDLABEL_STORE"] = sys.argv[1]
del sys.argv[1]
from hardlabel.cli.app import main
main()
"""


def as_unknown(store, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(UNKNOWN), store, *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_user_without_a_home_and_a_store_is_told_in_one_line(tmp_path):
    for store in ("", "~/store"):
        code, _, stderr = as_unknown(store, *SMALL)
        assert code == 2
        assert stderr == "hardlabel: HARDLABEL_STORE must name a folder, since this user has no home folder\n"


def test_a_user_whom_the_machine_does_not_know_runs_an_audit(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_SECRET", "a secret of some length")
    code, stdout, stderr = as_unknown(str(tmp_path / "store"), *SMALL)
    assert (code, stdout) == (0, "run/report.html\n"), stderr
    code, stdout, _ = as_unknown(str(tmp_path / "store"), "runs")
    assert code == 0
    assert "finished" in stdout
    code, _, stderr = as_unknown(str(tmp_path / "store"), "audit", "--data", "~/some.csv", "--quiet", "--out", "other")
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert "no home folder" in stderr


def test_a_holder_without_a_name_has_a_number(tmp_path, monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr(listing.getpass, "getuser", unknown)
    with listing.held(tmp_path / "run"):
        assert listing.holder_of(tmp_path / "run").user == f"user {os.getuid()}"


def test_a_home_that_cannot_be_written_to_is_one_line(monkeypatch):
    monkeypatch.delenv("HARDLABEL_STORE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    with pytest.raises(InvalidInput, match="set HARDLABEL_STORE to another one"):
        default_store()


# --- what killed processes leave ---


def test_drafts_of_a_killed_run_go_when_the_run_goes_on(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    draft, mine = folder / f".results.json.{32 * 'a'}", folder / ".gitignore"
    draft.write_text("half")
    mine.write_text("*")
    with listing.held(folder):
        assert not draft.exists()
    assert mine.exists()


def test_clean_frees_drafts_wherever_they_lie_and_no_turn_that_is_taken(tmp_path, monkeypatch, capsys):
    store, spec = Store(tmp_path / "store"), {"kind": "model"}
    old = [store.root / ".a.probe", store.root / f".{32 * 'b'}.turn", store.root / "runs" / f".c.json.{32 * 'c'}"]
    old += [store.root / "data" / ".d.arrow.4711", store.root / "checks" / f".e.piece.{32 * 'e'}"]
    new = store.root / f".f.piece.{32 * 'f'}"
    for path in (*old, new):
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
        if path in old:
            os.utime(path, (0, 0))
    with turn(store, spec):
        [lock] = [path for path in store.root.glob(".*.turn") if path not in old]
        os.utime(lock, (0, 0))
        assert called("clean", "--yes", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
        assert lock.exists()
    assert [path for path in old if path.exists()] == []
    assert new.exists()


def test_trying_a_folder_leaves_no_file_if_it_is_killed(tmp_path, monkeypatch):
    """On Linux the file that is tried never has a name."""
    seen = []
    made = stores.tempfile.TemporaryFile

    def watched(**named):
        file = made(**named)
        seen.append(list(named["dir"].iterdir()))
        return file

    monkeypatch.setattr(stores.tempfile, "TemporaryFile", watched)
    Store(tmp_path / "store")
    assert seen == [[]]

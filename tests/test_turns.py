"""Turns: of two processes that want the same piece, the second finds what the first has made."""

import fcntl
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from hardlabel import turns
from hardlabel.runs.journal import MADE, Journal
from hardlabel.store import Store
from hardlabel.turns import taken, turn

FORK = multiprocessing.get_context("fork")
SPEC, OTHER = {"kind": "model", "seed": 1}, {"kind": "model", "seed": 2}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def hidden(store):
    return [path for path in store.root.iterdir() if path.name.startswith(".")]


def make(root, log, spec, seconds, nested=None):
    """Makes the piece unless it is there; notes in a file that it did."""
    store = Store(root)
    with turn(store, spec):
        if store.load(spec) is None:
            with log.open("a") as file:
                file.write("made\n")
            time.sleep(seconds)
            if nested is not None:
                make(root, log, nested, 0)
            store.save(spec, b"piece")


def started(*processes):
    for process in processes:
        process.start()
    return processes


def test_a_piece_that_many_want_at_once_is_made_once(store, tmp_path):
    log = tmp_path / "log"
    many = started(*(FORK.Process(target=make, args=(store.root, log, SPEC, 0.3)) for _ in range(6)))
    for process in many:
        process.join(30)
    assert log.read_text() == "made\n"
    assert hidden(store) == []


def test_turns_that_end_and_begin_all_the_time_exclude_each_other(store, tmp_path):
    """Locks are removed with each turn: nobody may hold one that has no name any more."""
    inside = tmp_path / "inside"

    def often():
        for _ in range(150):
            with turn(store, SPEC):
                handle = os.open(inside, os.O_CREAT | os.O_EXCL)  # Fails if another process is here too.
                os.close(handle)
                inside.unlink()

    before, turns.POLL = turns.POLL, 0.0005
    try:
        many = started(*(FORK.Process(target=often) for _ in range(4)))
    finally:
        turns.POLL = before
    for process in many:
        process.join(60)
    assert [process.exitcode for process in many] == [0, 0, 0, 0]
    assert hidden(store) == []


def test_a_killed_process_has_no_turn(store, tmp_path):
    log = tmp_path / "log"
    [first] = started(FORK.Process(target=make, args=(store.root, log, SPEC, 600)))
    while not log.exists():
        time.sleep(0.01)
    [lock] = hidden(store)
    assert taken(lock)
    first.kill()
    first.join()
    assert not taken(lock)
    begun = time.monotonic()
    make(store.root, log, SPEC, 0)
    assert time.monotonic() - begun < 5
    assert log.read_text() == "made\nmade\n"
    assert hidden(store) == []


def test_two_processes_never_wait_for_each_other(store, tmp_path):
    """Each wants, within its turn, what the other is making."""
    log = tmp_path / "log"
    pair = started(
        FORK.Process(target=make, args=(store.root, log, SPEC, 0.5, OTHER)),
        FORK.Process(target=make, args=(store.root, log, OTHER, 0.5, SPEC)),
    )
    for process in pair:
        process.join(20)
    assert [process.exitcode for process in pair] == [0, 0]


def test_threads_take_turns_too(store, tmp_path):
    log = tmp_path / "log"
    pair = [threading.Thread(target=make, args=(store.root, log, SPEC, 0.3)) for _ in range(2)]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join(20)
    assert log.read_text() == "made\n"


def test_who_waits_is_told_once(store, tmp_path, monkeypatch):
    log, told = tmp_path / "log", []
    [first] = started(FORK.Process(target=make, args=(store.root, log, SPEC, 1)))
    while not log.exists():
        time.sleep(0.01)
    monkeypatch.setattr(Store, "waiting", lambda store: told.append("waits"))
    make(store.root, log, SPEC, 0)
    first.join()
    assert told == ["waits"]


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), PermissionError(13, "Permission denied")])
def test_where_locks_fail_pieces_are_made_all_the_same(store, tmp_path, monkeypatch, error):
    def refused(handle, operation):
        raise error

    monkeypatch.setattr(fcntl, "flock", refused)
    log = tmp_path / "log"
    make(store.root, log, SPEC, 0)
    assert store.load(SPEC) == b"piece"


def test_a_lock_that_is_a_link_is_not_followed(store, tmp_path):
    """A store may be shared: nobody's file is touched by way of it."""
    other = tmp_path / "precious"
    other.write_text("mine")
    with turn(store, SPEC):
        [lock] = hidden(store)
    lock.symlink_to(other)
    with turn(store, SPEC):
        pass
    assert other.read_text() == "mine"


SMALL = ["--train-size", "60", "--max-epochs", "20", "--attacks", "gap,noise,lira", "--references", "4"]
RUNS = {
    "model": ["audit", *SMALL],
    "recipe": ["audit", *SMALL, "--repeats", "2"],
    "defenses": ["defend", *SMALL[:4], "--references", "2", "--repeats", "2", "--samples", "60", "--defenses", "l2"],
    "canaries": ["canaries", *SMALL[:4], "--canaries", "60"],
}


@pytest.mark.parametrize(
    "kind", [kind if kind == "model" else pytest.param(kind, marks=pytest.mark.long) for kind in RUNS]
)
@pytest.mark.slow
def test_two_runs_of_one_setting_started_together_make_nothing_twice(kind, tmp_path):
    environment = {**os.environ, "HARDLABEL_STORE": str(tmp_path / "store")}
    pair = [
        subprocess.Popen(
            [sys.executable, "-m", "hardlabel", *RUNS[kind], "--device", "cpu", "--quiet", "--out", name],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    for process in pair:
        assert process.wait(300) == 0, process.stderr.read().decode()
    lines = [line for name in ("one", "two") for line in Journal(tmp_path / name / "journal.jsonl").lines()]
    made = Counter(line["piece"] for line in lines if line["event"] == MADE)
    assert len(made) > 5
    twice = [piece for piece, times in made.items() if times > 1]
    assert [json.loads((tmp_path / "store" / f"{piece}.json").read_text())["kind"] for piece in twice] == []
    assert hidden(Store(tmp_path / "store")) == []

"""A series of kills at random moments, for every kind of run: the record ends as that of a run nobody disturbed."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from commands import MARK, left_after
from hardlabel.kinds import load
from hardlabel.runs.journal import MADE, Journal
from test_endings import killed_while_workers_start

pytestmark = pytest.mark.long

KILLS = 10
SMALL = ["--train-size", "80", "--max-epochs", "40", "--device", "cpu", "--quiet"]
RUNS = {
    "model": ["audit", *SMALL, "--references", "4", "--attacks", "gap,noise,path,lira"],
    "recipe": ["audit", *SMALL, "--references", "4", "--repeats", "3", "--attacks", "gap,noise,path,lira"],
    "defenses": ["defend", *SMALL, "--references", "2", "--repeats", "2", "--samples", "60", "--defenses", "l2"],
    "canaries": ["canaries", *SMALL, "--canaries", "60"],
}


def content(record):
    """A record without what a clock or a place says."""
    found = json.loads(re.sub(r'"(\w*seconds)":[^,}]+', r'"\1":0', record.results.model_dump_json()))
    del found["environment"]
    found["notes"] = [note for note in found.get("notes", []) if "batch size" not in note]
    if isinstance(found.get("target"), dict):
        found["target"]["batch_size"] = None  # Of a timed probe.
    return found


def begun(arguments, folder):
    environment = {**os.environ, "HARDLABEL_STORE": str(folder / "store"), MARK: folder.parent.name}
    command = [sys.executable, "-m", "hardlabel", *arguments]
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_killed_again_and_again_ends_as_if_nobody_had(kind, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    started = time.monotonic()
    process = begun([*RUNS[kind], "--out", "run"], whole)
    assert process.wait() == 0, process.stderr.read().decode()
    seconds, moments = time.monotonic() - started, random.Random(0)
    for _ in range(KILLS):
        process = begun([*RUNS[kind], "--out", "run"], killed)
        try:
            process.wait(moments.uniform(0.2, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        assert left_after(30, tmp_path.name) == []
    process = begun([*RUNS[kind], "--out", "run"], killed)
    assert process.wait() == 0, process.stderr.read().decode()
    assert content(load(killed / "run")) == content(load(whole / "run"))
    assert load(killed / "run").scores.equals(load(whole / "run").scores)
    assert left_after(30, tmp_path.name) == []
    made = [line["piece"] for line in Journal(killed / "run" / "journal.jsonl").lines() if line["event"] == MADE]
    assert len(made) == len(set(made))


def test_thirty_kills_while_workers_start_leave_nobody_and_change_nothing(tmp_path):
    killed_while_workers_start(tmp_path, 30, seed=1)

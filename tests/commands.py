"""Calls the command line in this process, and finds the processes that tests have started."""

import sys
import time
from pathlib import Path

from hardlabel.cli import app


def called(*arguments, monkeypatch, capsys):
    """Runs the command line; returns its exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["hardlabel", *map(str, arguments)])
    try:
        app.main()
        code = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    told = capsys.readouterr()
    return code, told.out, told.err


MARK = "HARDLABEL_TEST_MARK"  # Processes inherit it: whoever has it was started by the test that set it.


def marked(mark):
    """The living processes whose environment has this mark, each with its id and command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{folder.name}: {words[:200]}")
        except OSError:
            continue
    return found


def left_after(seconds, mark):
    """The marked processes that are left after so long, or none as soon as there are none."""
    end = time.monotonic() + seconds
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left

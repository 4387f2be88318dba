"""Calls the command line in this process, for tests."""

import sys

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

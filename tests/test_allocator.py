"""Memory stays with the process where glibc can be told so, and what the user has set stays as it is."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hardlabel import allocator
from hardlabel.cli import app as cli

NAMES = [variable for _, variable, _, _ in allocator.SETTINGS]

# 64 MiB, written to and freed, again and again: how many pages did the system have to hand out meanwhile?
FAULTS = """
import resource, sys
import torch
from hardlabel import allocator

if sys.argv[1] == "kept":
    assert allocator.keep_memory()
for _ in range(20):  # Until glibc has used up what it was given ahead.
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def told(monkeypatch):
    """What mallopt is told, in an environment that sets nothing; it takes everything."""
    for name in [*NAMES, "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name, raising=False)
    return _listening(monkeypatch, lambda parameter, value: 1)


def _listening(monkeypatch, answer):
    calls = []

    def mallopt(parameter, value):
        calls.append((parameter, value))
        return answer(parameter, value)

    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    return calls


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(allocator.ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_kept_memory_is_not_fetched_again():
    plain = {name: value for name, value in os.environ.items() if name not in [*NAMES, "GLIBC_TUNABLES"]}

    def faults(mode, **more):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS, mode], env=plain | more, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    fresh = faults("as it is")
    assert fresh >= 10  # Once a round at the least, were all of it one page.
    assert faults("kept") <= fresh / 10
    # A user's own setting wins: blocks above 1 MiB are mapped and unmapped, whatever we would have.
    assert faults("kept", MALLOC_MMAP_THRESHOLD_="1048576") > fresh / 2


def test_all_is_set_where_the_user_has_set_nothing(told):
    assert allocator.keep_memory()
    assert told == [(-3, 2**31 - 1), (-1, 2**31 - 1), (-2, 2**28)]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("way", ["variable", "tunable"])
def test_what_the_user_has_set_is_left_alone(told, monkeypatch, place, way):
    parameter, variable, tunable, _ = allocator.SETTINGS[place]
    if way == "variable":
        monkeypatch.setenv(variable, "1")
    else:
        monkeypatch.setenv("GLIBC_TUNABLES", f"glibc.malloc.check=0:glibc.malloc.{tunable}=1")
    assert allocator.keep_memory()
    assert sorted({parameter} | {one for one, _ in told}) == [-3, -2, -1]
    assert parameter not in {one for one, _ in told}


def test_an_old_glibc_gets_the_largest_threshold_it_takes(told, monkeypatch):
    told = _listening(monkeypatch, lambda parameter, value: int(parameter != -3 or value <= 2**25))
    assert allocator.keep_memory()
    assert [value for parameter, value in told if parameter == -3] == [2**31 - 1, 2**25]


def test_elsewhere_nothing_is_done(told, monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: SimpleNamespace())  # As musl's.
    assert not allocator.keep_memory()
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)  # Windows has no CDLL(None) to load.
    monkeypatch.setattr(allocator.sys, "platform", "win32")
    assert not allocator.keep_memory()
    assert not told


def test_the_command_line_keeps_its_memory(monkeypatch, capsys):
    kept = []
    monkeypatch.setattr(cli.allocator, "keep_memory", lambda: kept.append(1))
    monkeypatch.setattr(sys, "argv", ["hardlabel", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert kept == [1]

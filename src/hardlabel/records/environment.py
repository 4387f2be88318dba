"""How the figures of a run came about: command, seed, time, versions, machine."""

import datetime
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path

import torch

from hardlabel.records.model import Environment
from hardlabel.runs.places import last_name

FROM_PYTHON = "a call from Python"
PROGRAMS = ("hardlabel", "hardlabel.exe")
ADDRESS = "--address"
PACKAGES = ("hardlabel", "torch", "numpy", "scipy", "scikit-learn", "pandas")


def environment_of(seed: int, seconds: float, device: torch.device, *, check_queries: int = 0) -> Environment:
    """The environment of a run that has taken `seconds` so far, and has asked check rows so many times."""
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    return Environment(
        command=command(),
        seed=seed,
        started=begun.isoformat(timespec="seconds"),
        seconds=seconds,
        versions={"python": platform.python_version()} | {package: metadata.version(package) for package in PACKAGES},
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {device}",
        check_queries=check_queries,
    )


def command() -> str:
    """The command line of this tool; FROM_PYTHON in any other program, whose arguments may hold secrets.

    Of paths, only the last name is shown; of the cluster's address, nothing.
    """
    program = Path(sys.argv[0] if sys.argv else "")
    if program.name not in PROGRAMS and program.absolute() != Path(__file__).parents[1] / "__main__.py":
        return FROM_PYTHON
    words = ["hardlabel"]
    for word in sys.argv[1:]:
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        shown = "..." if ADDRESS in (option, words[-1]) and value else last_name(value)
        words.append(f"{option}{equals}{shown}")
    return shlex.join(words)

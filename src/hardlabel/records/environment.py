"""How the figures of a run came about: command, seed, time, versions, machine."""

import datetime
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path

import torch

from hardlabel.records.model import Environment

PACKAGES = ("hardlabel", "torch", "numpy", "scipy", "scikit-learn", "pandas")


def environment_of(seed: int, seconds: float, device: torch.device, *, check_queries: int = 0) -> Environment:
    """The environment of a run that has taken `seconds` so far, and has asked check rows so many times."""
    program = Path(sys.argv[0])
    name = "hardlabel" if program.name == "__main__.py" else program.name
    begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    return Environment(
        command=shlex.join([name, *sys.argv[1:]]),
        seed=seed,
        started=begun.isoformat(timespec="seconds"),
        seconds=seconds,
        versions={"python": platform.python_version()} | {package: metadata.version(package) for package in PACKAGES},
        machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {device}",
        check_queries=check_queries,
    )

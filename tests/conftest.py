"""Fixtures that several test files use."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# One thread a process: pytest runs one process per core, and threads that fight for cores cost more than they give.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # For the processes that tests start.
os.environ.setdefault("HARDLABEL_SECRET", "a secret of the tests")  # Else the user's own would be made and used.

# The files that take longest. They come first: else a process may have one of them left when the others are done.
LONGEST = (
    "executors",
    "endings",
    "hostile_targets",
    "reproduce",
    "attacks_calibrated",
    "runs",
    "cli",
    "audit",
    "toys",
    "processes",
    "roles",
    "target_audits",
    "docs",
)

# A deadline would assert a time, and a shared machine would break it.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data: HARDLABEL_DATA, else shared/data beside the repository where it exists."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HARDLABEL_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: set HARDLABEL_DATA, or put it into {beside}")
    return folder


def pytest_collection_modifyitems(items):
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))

"""Fixtures that several test files use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data: HARDLABEL_DATA, else shared/data beside the repository where it exists."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HARDLABEL_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data: set HARDLABEL_DATA, or put it into {beside}")
    return folder

"""A run folder on disk: read its settings, check that it can be written to."""

import uuid
from pathlib import Path

import yaml

from hardlabel.checks import InvalidInput

CONFIG = "config.yaml"


def read_settings(folder: Path) -> dict[str, object]:
    """The settings with which the run in a folder began.

    Raises:
        InvalidInput: The folder holds no run.
    """
    try:
        settings = yaml.safe_load((folder / CONFIG).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InvalidInput(f"run {str(folder)!r} has no readable {CONFIG}: {str(error).splitlines()[0]}") from error
    if not isinstance(settings, dict):
        raise InvalidInput(f"run {str(folder)!r}: {CONFIG} must map settings to values, got {type(settings).__name__}")
    return settings


def check_writable(folder: Path) -> None:
    """Tries to write a file, and leaves nothing behind.

    Raises:
        InvalidInput: The folder cannot be made or written to.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    probe = existing / f".{uuid.uuid4().hex}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInput(f"out {str(folder)!r} must be a folder that can be written to: {error.strerror}") from error

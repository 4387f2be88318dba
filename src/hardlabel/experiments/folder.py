"""A run folder on the disk: its settings, its record and its scores, each written whole and read with a reason."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pandas as pd
import yaml
from pydantic import ValidationError

from hardlabel.checks import InvalidInput
from hardlabel.experiments.part import Part
from hardlabel.store import write_whole

CONFIG, SCORES = "config.yaml", "scores.parquet"

P = TypeVar("P", bound=Part)


def write_record(
    folder: Path, name: str, results: Part, *, config: Mapping[str, object], scores: pd.DataFrame | None = None
) -> None:
    """Writes the settings, the scores where there are any, and last the record under `name`; each whole or not at all.

    Raises:
        InvalidInput: The folder cannot be written to.
    """
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False).encode())
    if scores is not None:
        write_whole(folder / SCORES, scores.to_parquet(index=False))
    write_whole(folder / name, results.model_dump_json(indent=1).encode())


def read_record(folder: Path, name: str, kind: type[P], *, readable: tuple[int, ...], unmarked: int | None = None) -> P:
    """Reads the record kept under `name`; one that names no format has the format `unmarked`.

    Raises:
        InvalidInput: The file is missing or damaged, or the record has another format than the readable ones.
    """
    try:
        text = (folder / name).read_text()
        found = json.loads(text).get("format", unmarked)
    except (OSError, ValueError, AttributeError) as error:
        raise _not_whole(folder, name, error) from error
    if found not in readable:
        why = f"this version reads format {' and '.join(map(str, readable))}"
        if isinstance(found, int) and found > max(readable):
            why += "; a later version of hardlabel wrote it"
        raise InvalidInput(f"run {str(folder)!r} has record format {found}, {why}")
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(f"run {str(folder)!r}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def read_scores(folder: Path) -> pd.DataFrame:
    """Reads the scores.

    Raises:
        InvalidInput: The file is missing or damaged.
    """
    try:
        return pd.read_parquet(folder / SCORES)
    except (OSError, ValueError) as error:
        raise _not_whole(folder, SCORES, error) from error


def read_settings(folder: Path) -> dict[str, object]:
    """What a run was begun with.

    Raises:
        InvalidInput: The folder holds no run.
    """
    try:
        found = yaml.safe_load((folder / CONFIG).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(f"run {str(folder)!r} has no readable {CONFIG}: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"run {str(folder)!r}: {CONFIG} must map settings to values, got {type(found).__name__}")
    return found


def check_writable(folder: Path) -> None:
    """Tries whether the folder can be made and written to, and leaves nothing behind.

    Raises:
        InvalidInput: It cannot.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    probe = there / f".{uuid.uuid4().hex}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInput(f"out {str(folder)!r} must be a folder that can be written to: {error.strerror}") from error


def _not_whole(folder: Path, name: str, error: Exception) -> InvalidInput:
    return InvalidInput(f"run {str(folder)!r} must hold a whole {name}: {str(error).splitlines()[0]}")

"""A run folder on disk: read its files, compare their checksums, check that it can be written to.

A folder may come from anybody: whatever lies in it, reading ends within seconds, with the content or an error in one
line.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from hardlabel import reading
from hardlabel.checks import InvalidInput
from hardlabel.reading import Unreadable
from hardlabel.store import FULL, probe, write_whole

CONFIG = "config.yaml"
SUMS = "SHA256SUMS"  # In the format of `sha256sum`, which can check it too. Older folders have none.
_SUMS_BYTES = 4096


def read_settings(folder: Path) -> dict[str, object]:
    """The settings with which the run in a folder began.

    Raises:
        InvalidInput: The folder holds no run.
    """
    try:
        settings = reading.yaml_settings(checked_content(folder, CONFIG, sums(folder), most=reading.YAML_BYTES))
    except Unreadable as error:
        raise InvalidInput(f"run {str(folder)!r} has no readable {CONFIG}: {error}") from error
    if settings is None:
        raise InvalidInput(f"run {str(folder)!r} has no settings: {CONFIG} is empty")
    return settings


def sums(folder: Path) -> dict[str, str]:
    """The checksums of the files in a run folder, by name; {} for a folder without them.

    Raises:
        Unreadable: SHA256SUMS is damaged.
    """
    if not os.path.lexists(folder / SUMS):
        return {}
    try:
        text = reading.content(folder / SUMS, most=_SUMS_BYTES).decode()
    except ValueError as error:
        raise Unreadable(f"{SUMS} is damaged: {error}") from error
    found = {name: checksum for checksum, name in re.findall(r"([0-9a-f]{64})  (\S+)\n", text)}
    if CONFIG not in found or _sums_text(found) != text:
        raise Unreadable(f"{SUMS} is damaged: it must list checksums and names of files")
    return found


def write_sums(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes the checksums of the files in a run folder; `contents` has their bytes by name."""
    found = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    write_whole(folder / SUMS, _sums_text(found).encode())


def checked_content(folder: Path, name: str, wanted: Mapping[str, str], *, most: int) -> bytes:
    """The bytes of a file in a run folder, `most` at most, compared with their checksum if `wanted` has any.

    Raises:
        Unreadable: The file is missing, no regular file, too large, or has another checksum.
    """
    payload = reading.content(folder / name, most=most)
    if wanted and hashlib.sha256(payload).hexdigest() != wanted.get(name):
        raise Unreadable(
            f"it differs from its checksum in {SUMS}: it is damaged, or was changed (delete {SUMS} to keep the change)"
        )
    return payload


def _sums_text(found: Mapping[str, str]) -> str:
    return "".join(f"{checksum}  {name}\n" for name, checksum in found.items())


def check_writable(folder: Path) -> None:
    """Tries to write a file, and leaves nothing behind.

    Raises:
        InvalidInput: The folder cannot be made or written to.
        OSError: The disk is full.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    try:
        probe(existing)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InvalidInput(f"out {str(folder)!r} must be a folder that can be written to: {error.strerror}") from error

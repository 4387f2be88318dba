"""Pieces of work kept on disk by the hash of what made them, so that nothing finished is done twice.

A piece is any bytes. Its spec, a mapping of everything the bytes depend on, names it; a spec never made
loads as None. A piece is either there whole or not there: it is written beside and renamed, and a checksum
in its first bytes is compared at every load.
"""

import contextlib
import hashlib
import json
import math
import os
import sys
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hardlabel import checks
from hardlabel.checks import InvalidInput

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
Spec: TypeAlias = Mapping[str, JSON]

ENVIRONMENT = "HARDLABEL_STORE"  # Where this variable points, the default store is.
CHECKS = "checks"  # A store in a store: what check rows were answered, which grows and belongs to no run.
DAMAGED = "is damaged (its checksum differs) and will be made again"
_CHECKSUM_BYTES = 32


class DamagedPiece(UserWarning):
    """A piece on disk is not what was saved; it is treated as never made."""


def digest(spec: Spec) -> str:
    """The name of a spec, 32 hexadecimal digits; the order of keys says nothing, 1 and 1.0 differ.

    Raises:
        InvalidInput: The spec holds something JSON cannot tell apart: a key that is no string, NaN,
            infinity, or an object.
    """
    return hashlib.sha256(_canonical(spec).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Store:
    """A folder of pieces. Any number of processes may save and load at once.

    `<digest>.piece` is a piece with its checksum; `<digest>.json` shows its spec to humans and is never read.

    Attributes:
        root: The folder; made if missing.

    Raises:
        InvalidInput: The folder cannot be made, or not be written to.
    """

    root: Path

    def __init__(self, root: str | Path) -> None:
        checks.path(root=root)
        object.__setattr__(self, "root", Path(root))
        # Tried rather than looked up: permission bits say little of read-only disks and network folders.
        probe = self.root / f".{uuid.uuid4().hex}.probe"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            raise _unusable(self.root, error) from error

    def path(self, spec: Spec) -> Path:
        """Where the piece of this spec is or would be."""
        return self.root / f"{digest(spec)}.piece"

    def save(self, spec: Spec, payload: bytes) -> None:
        """Keeps `payload` as the piece of `spec`, in place of any that was there.

        When it returns the piece is on disk; killed at any moment before, it leaves the old state and at most
        a hidden draft beside it.

        Raises:
            InvalidInput: The spec is not JSON, or the folder is no longer writable.
            OSError: The disk is full or broken.
        """
        path = self.path(spec)
        told = json.dumps(spec, indent=2, sort_keys=True, default=dict) + "\n"
        try:
            write_whole(path.with_suffix(".json"), told.encode())
            write_whole(path, _checksum(path.stem, payload) + payload)
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            raise _unusable(self.root, error) from error

    def load(self, spec: Spec) -> bytes | None:
        """The piece of `spec`, or None if it was never saved or has been damaged (which is warned of).

        Raises:
            InvalidInput: The spec is not JSON.
            OSError: The piece is there and cannot be read.
        """
        path = self.path(spec)
        try:
            kept = path.read_bytes()
        except FileNotFoundError:
            return None
        payload = kept[_CHECKSUM_BYTES:]
        if kept[:_CHECKSUM_BYTES] != _checksum(path.stem, payload):
            self.damaged(path)
            return None
        return payload

    def damaged(self, path: Path) -> None:
        """Says that the piece at `path` is not what was saved."""
        warnings.warn(f"{path} {DAMAGED}", DamagedPiece, stacklevel=3)


def default_store() -> Store:
    """The store in the folder HARDLABEL_STORE names, else in the platform's cache folder for this user.

    Raises:
        InvalidInput: The folder cannot be made, or not be written to.
    """
    named = os.environ.get(ENVIRONMENT)
    return Store(Path(named).expanduser() if named else _cache_folder() / "hardlabel")


def _cache_folder() -> Path:
    variable, fallback = {
        "win32": ("LOCALAPPDATA", "~/AppData/Local"),
        "darwin": ("", "~/Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", "~/.cache"))
    told = Path(os.environ.get(variable, ""))
    # The XDG rules say that a relative path there is to be ignored.
    return told if told.is_absolute() else Path(fallback).expanduser()


def _checksum(name: str, payload: bytes) -> bytes:
    # The name is covered too: a piece copied over another one is found out.
    checksum = hashlib.sha256(name.encode())
    checksum.update(payload)
    return checksum.digest()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all, and on disk when this returns.

    Raises:
        OSError: The disk is full or broken; what was there before still is.
    """
    # The same folder is the same file system, where a rename is atomic; a name of its own per writer.
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # Else a crash of the machine may keep the name and lose the bytes.
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # Folders cannot be opened there.
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # Some network folders refuse; the piece is in place all the same.
            os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(root: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"store {str(root)!r} must be a folder that can be made and written to: "
        f"{error.strerror or error} (set {ENVIRONMENT} to another one)"
    )


def _canonical(value: object) -> str:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidInput(f"spec keys must be strings, got {key!r}")
        parts = (f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(parts) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_canonical, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"spec numbers must be finite, got {value}")
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value)
    raise InvalidInput(f"spec must hold JSON values only, got {type(value).__name__}")

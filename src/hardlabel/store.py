"""Pieces of work kept on disk by the hash of what made them, so that nothing finished is done twice.

A piece is any bytes. Its spec, a mapping of everything the bytes depend on, names it; a spec never made
loads as None. A piece is either there whole or not there: it is written beside and renamed, and a checksum
in its first bytes is compared at every load.
"""

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hardlabel import checks, reading, secret
from hardlabel.checks import InvalidInput
from hardlabel.reading import Unreadable

JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
Spec: TypeAlias = Mapping[str, JSON]

ENVIRONMENT = "HARDLABEL_STORE"  # Where this variable points, the default store is.
DATA = "data"  # The folder in a store for decoded data.
CHECKS = "checks"  # A store in a store: what check rows were answered, which grows and belongs to no run.
DAMAGED = "is damaged (its checksum differs) and will be made again"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # Disk, quota, or the limit on the size of a file.
_CHECKSUM_BYTES = 32
# Texts that a note shows. Others may hold values of the data, names or paths.
_SHOWN = frozenset(
    {"kind", "attack", "uses", "architecture", "optimizer", "precision", "device", "torch", "sklearn", "versions"}
)
_READ_AT_ONCE = 2**24  # Bytes.


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

    `<digest>.piece` is a piece with its checksum; `<digest>.json` is a note for humans and is never read. A note shows
    the spec's numbers and a few texts; of every other text it has a keyed hash, since it may hold values of the data.

    Attributes:
        root: The folder; made if missing.

    Raises:
        InvalidInput: The folder cannot be made, or not be written to.
        OSError: The disk is full.

    Example:
        >>> from hardlabel import Store
        >>> store = Store("pieces")
        >>> store.save({"kind": "greeting", "times": 1}, b"hello")
        >>> store.load({"kind": "greeting", "times": 1})
        b'hello'
        >>> store.load({"kind": "greeting", "times": 2}) is None
        True
    """

    root: Path

    def __init__(self, root: str | Path) -> None:
        checks.path(root=root)
        object.__setattr__(self, "root", Path(root))
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe(self.root)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise _unusable(self.root, error) from error

    def path(self, spec: Spec) -> Path:
        """Where the piece of this spec is or would be."""
        return self.root / f"{digest(spec)}.piece"

    def save(self, spec: Spec, payload: bytes) -> None:
        """Keeps `payload` as the piece of `spec`, in place of any that was there.

        When it returns, the piece is on disk. If the process is killed before, the old state stays, with at most a
        hidden draft beside it.

        Raises:
            InvalidInput: The spec is not JSON, or the folder is no longer writable.
            OSError: The disk is full or broken.
        """
        path = self.path(spec)
        told = json.dumps(_noted(spec, ""), indent=2, sort_keys=True) + "\n"
        try:
            write_whole(path.with_suffix(".json"), told.encode())
            write_whole(path, _checksum(path.stem, payload) + payload)
        except (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _unusable(self.root, error) from error

    def load(self, spec: Spec) -> bytes | None:
        """The piece of `spec`, or None if it was never saved or is damaged (then a warning is given).

        Raises:
            InvalidInput: The spec is not JSON.
            OSError: The piece is there and cannot be read.
        """
        path = self.path(spec)
        try:
            payload = _sound(path)
        except Unreadable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            payload = None
        if payload is None:
            self.damaged(path)
        return payload

    def damaged(self, path: Path) -> None:
        """Warns that the piece at `path` is not what was saved."""
        warnings.warn(f"{path} {DAMAGED}", DamagedPiece, stacklevel=3)

    def uses_data(self, path: Path) -> None:
        """Called when decoded data in the store are used. A run's store notes this, so that `clean` keeps the data."""

    def waiting(self) -> None:
        """Called when another process is making the piece that is wanted next. A run's store reports this."""


def default_store() -> Store:
    """The store in the folder HARDLABEL_STORE names, else in the platform's cache folder for this user.

    Raises:
        InvalidInput: The folder cannot be made, or not be written to; or this user has no home folder.
        OSError: The disk is full.
    """
    named = os.environ.get(ENVIRONMENT)
    try:
        folder = Path(named).expanduser() if named else _cache_folder() / "hardlabel"
    except RuntimeError as error:
        # No folder that others could make first, such as one in /tmp: pieces are trusted like code.
        raise InvalidInput(f"{ENVIRONMENT} must name a folder, since this user has no home folder") from error
    return Store(folder)


def probe(folder: Path) -> None:
    """Tries to write to a folder. Leaves nothing behind, even if the process is killed.

    Tried rather than looked up: permission bits say little of read-only disks and network folders.

    Raises:
        OSError: The folder cannot be written to, or the disk is full.
    """
    # On Linux the file has no name; elsewhere it has a name for a moment.
    with tempfile.TemporaryFile(dir=folder, prefix=".", suffix=".probe"):
        pass


def full_disk(error: BaseException | None) -> OSError | None:
    """The error of a full disk that led to `error`; None if another thing did.

    PyTorch and pickle tell of a full disk in their own words; the system's error is then the cause or the context.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        error = error.__cause__ or error.__context__
    return None


def _cache_folder() -> Path:
    variable, fallback = {
        "win32": ("LOCALAPPDATA", "~/AppData/Local"),
        "darwin": ("", "~/Library/Caches"),
    }.get(sys.platform, ("XDG_CACHE_HOME", "~/.cache"))
    told = Path(os.environ.get(variable, ""))
    # The XDG rules say that a relative path there is to be ignored.
    return told if told.is_absolute() else Path(fallback).expanduser()


def _sound(path: Path) -> bytes | None:
    """The content of the piece at `path`; None where its checksum differs.

    Large files are summed before they are read: the length of a damaged file says nothing, and might fill the memory.
    """
    with reading.opened(path) as file:
        wanted = file.read(_CHECKSUM_BYTES)
        if os.fstat(file.fileno()).st_size > _READ_AT_ONCE:
            checksum = hashlib.sha256(path.stem.encode())
            while block := file.read(_READ_AT_ONCE):
                checksum.update(block)
            if checksum.digest() != wanted:
                return None
            file.seek(_CHECKSUM_BYTES)
        payload = file.read()
    return payload if _checksum(path.stem, payload) == wanted else None


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


def write_text(text: str, **argument: Path) -> None:
    """Writes a text in UTF-8 to the file that an argument names: `write_text(page, out=path)`. Makes missing folders.

    Raises:
        InvalidInput: The file cannot be written.
        OSError: The disk is full.
    """
    ((name, path),) = argument.items()
    with result_file(name, path):
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def result_file(argument: str, path: Path) -> Iterator[None]:
    """Makes missing folders for the file that an argument names; what then fails to write it names the argument.

    Raises:
        InvalidInput: The file cannot be written.
        OSError: The disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in FULL:
            raise
        reason = error.strerror or error
        raise InvalidInput(f"{argument} {str(path)!r} must be a file that can be written: {reason}") from error


def is_draft(path: Path) -> bool:
    """Whether a name is that of a draft of `write_whole`: a killed process leaves the file."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name) is not None


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return  # Folders cannot be opened there.
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # Some network folders refuse; the piece is in place all the same.
            os.fsync(handle)
    finally:
        os.close(handle)


def _noted(value: JSON, name: str) -> JSON:
    """What a note shows of a value of a spec that stands under `name`."""
    if isinstance(value, Mapping):
        return {key: _noted(inner, key) for key, inner in value.items()}
    if isinstance(value, str):
        return value if name in _SHOWN else f"hidden {secret.keyed(value.encode(), purpose='note')}"
    if isinstance(value, Sequence):
        return [_noted(inner, name) for inner in value]
    return value


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

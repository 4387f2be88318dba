"""The journal of a run: a file that only grows, one line for each piece that the run made, found or saw damaged.

The store holds the pieces, and runs may share them. The journal says which pieces a run made and which it found.
"""

import contextlib
import datetime
import errno
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hardlabel import reading
from hardlabel.checks import InvalidInput
from hardlabel.reading import Unreadable
from hardlabel.runs.progress import Watch
from hardlabel.store import DAMAGED, JSON, Spec, Store, digest

JOURNAL = "journal.jsonl"
MADE, FOUND, BROKEN = "made", "found", "damaged"
DATA = "data"  # The run uses decoded data that the store keeps.
_CHECKSUM = "crc32"  # The key of a line's checksum; lines of older versions have none.
_CRC = re.compile("[0-9a-f]{8}")  # No other value of a line looks so: under another name, it is a checksum damaged.
_PIECE = re.compile("[0-9a-zA-Z]{1,64}")


def sealed(facts: Mapping[str, object]) -> str:
    """A JSON object in one line, with a checksum as its last value.

    Example:
        >>> from hardlabel.runs.journal import sealed
        >>> sealed({"event": "began"})
        '{"event": "began", "crc32": "aaf6cf42"}'
    """
    text = json.dumps(facts)
    return f'{text[:-1]}, "{_CHECKSUM}": "{zlib.crc32(text.encode()):08x}"}}'


def unsealed(line: bytes) -> dict[str, object] | None:
    """The object in such a line, without its checksum; None if the line is damaged. Without a checksum it counts."""
    try:
        facts = reading.json_value(line)
    except Unreadable:
        return None
    if not isinstance(facts, dict) or not facts:
        return None
    name, checksum = list(facts.items())[-1]
    if name != _CHECKSUM and not (isinstance(checksum, str) and _CRC.fullmatch(checksum)):
        return facts if _CHECKSUM not in facts else None
    del facts[name]
    return facts if name == _CHECKSUM and f"{zlib.crc32(json.dumps(facts).encode()):08x}" == checksum else None


@dataclass(frozen=True)
class Journal:
    """A file of lines, each a JSON object with `at` (time) and `event`.

    One write appends one line. A killed process leaves at most one unfinished line, which readers skip, as they skip
    lines whose checksum differs.

    Attributes:
        path: The file.
    """

    path: Path

    def tell(self, event: str, **facts: JSON) -> None:
        """Appends a line and waits until it is on disk.

        Raises:
            InvalidInput: The file is a link or no regular file.
            OSError: The disk is full or broken.
        """
        at = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
        line = sealed({"at": at, "event": event, **facts}) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        for name in ("O_NONBLOCK", "O_NOFOLLOW"):  # A pipe must not block, and behind a link lies another's file.
            flags |= getattr(os, name, 0)
        try:
            handle = os.open(self.path, flags, 0o666)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                raise InvalidInput(f"{str(self.path)!r} must be a regular file: {error.strerror}") from error
            raise
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidInput(f"{str(self.path)!r} must be a regular file")
            size = status.st_size
            # A killed process may have left an unfinished line; the new line must not join it.
            unfinished = size > 0 and not self._ends_in_newline(size)
            data = ("\n" * unfinished + line).encode()
            if os.write(handle, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(handle)
        finally:
            os.close(handle)

    def lines(self) -> Iterator[dict[str, object]]:
        """The finished lines, from the first; none if there is no file.

        Raises:
            InvalidInput: The file is no regular file, or too large.
        """
        try:
            for text in reading.lines(self.path):
                line = unsealed(text)
                if line is not None:
                    yield line
        except Unreadable as error:
            raise InvalidInput(f"run {str(self.path.parent)!r} has no readable {self.path.name}: {error}") from error

    def pieces(self) -> set[str]:
        """The names of all pieces that the run made or found."""
        return self._names(MADE, FOUND)

    def data(self) -> set[str]:
        """The names of all files with decoded data that the run used."""
        return self._names(DATA)

    def _names(self, *events: str) -> set[str]:
        named = {str(line.get("piece")) for line in self.lines() if line.get("event") in events}
        return {name for name in named if _PIECE.fullmatch(name)}

    def _ends_in_newline(self, size: int) -> bool:
        with self.path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"


@dataclass(frozen=True, init=False)
class JournaledStore(Store):
    """A store that writes to a run's journal which pieces the run makes, finds, or sees damaged.

    Attributes:
        journal: The journal of the run.
        needs: The store's own list of the pieces that the run made or found; it outlives the run folder.
        watch: Shows a message for each damaged piece.
    """

    journal: Journal
    needs: Journal
    watch: Watch = field(compare=False)
    _known: set[str] = field(compare=False)
    _data: set[str] = field(compare=False)

    def __init__(self, root: str | Path, *, journal: Journal, needs: Journal, watch: Watch) -> None:
        super().__init__(root)
        object.__setattr__(self, "journal", journal)
        object.__setattr__(self, "needs", needs)
        object.__setattr__(self, "watch", watch)
        object.__setattr__(self, "_known", journal.pieces())
        object.__setattr__(self, "_data", set())

    def save(self, spec: Spec, payload: bytes) -> None:
        super().save(spec, payload)
        self._tell(MADE, spec)

    def load(self, spec: Spec) -> bytes | None:
        payload = super().load(spec)
        if payload is not None and digest(spec) not in self._known:
            self._tell(FOUND, spec)
        return payload

    def damaged(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # Data are loaded before the run folder is made.
            self.journal.tell(BROKEN, piece=path.stem)
        self.watch.say(f"{path} {DAMAGED}")

    def uses_data(self, path: Path) -> None:
        self._data.add(path.stem)

    def note_data(self) -> None:
        """Writes to the store's list which decoded data the run uses; called once the run has begun."""
        for name in sorted(self._data - self.needs.data()):
            self.needs.tell(DATA, piece=name)

    def waiting(self) -> None:
        self.watch.say("another run makes what this one needs next: waiting for it")

    def _tell(self, event: str, spec: Spec) -> None:
        name = digest(spec)
        self.journal.tell(event, piece=name, kind=spec.get("kind"))
        if name not in self._known:
            self.needs.tell(event, piece=name)
            self._known.add(name)

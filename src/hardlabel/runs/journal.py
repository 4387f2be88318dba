"""The journal of a run: a file that only grows, one line for each piece that the run made, found or saw damaged.

The store holds the pieces, and runs may share them. The journal says which pieces a run made and which it found.
"""

import datetime
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hardlabel.runs.progress import Watch
from hardlabel.store import DAMAGED, JSON, Spec, Store, digest

JOURNAL = "journal.jsonl"
MADE, FOUND, BROKEN = "made", "found", "damaged"


@dataclass(frozen=True)
class Journal:
    """A file of lines, each a JSON object with `at` (time) and `event`.

    One write appends one line. A killed process leaves at most one unfinished line, which readers skip.

    Attributes:
        path: The file.
    """

    path: Path

    def tell(self, event: str, **facts: JSON) -> None:
        """Appends a line and waits until it is on disk.

        Raises:
            OSError: The disk is full or broken.
        """
        at = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "event": event, **facts}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            # A killed process may have left an unfinished line; the new line must not join it.
            unfinished = size > 0 and not self._ends_in_newline(size)
            data = ("\n" * unfinished + line).encode()
            if os.write(handle, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(handle)
        finally:
            os.close(handle)

    def lines(self) -> Iterator[dict[str, object]]:
        """The finished lines, from the first; none if there is no file."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict):
                    yield line

    def pieces(self) -> set[str]:
        """The names of all pieces that the run made or found."""
        return {str(line["piece"]) for line in self.lines() if line.get("event") in (MADE, FOUND) and "piece" in line}

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

    def __init__(self, root: str | Path, *, journal: Journal, needs: Journal, watch: Watch) -> None:
        super().__init__(root)
        object.__setattr__(self, "journal", journal)
        object.__setattr__(self, "needs", needs)
        object.__setattr__(self, "watch", watch)
        object.__setattr__(self, "_known", journal.pieces())

    def save(self, spec: Spec, payload: bytes) -> None:
        super().save(spec, payload)
        self._tell(MADE, spec)

    def load(self, spec: Spec) -> bytes | None:
        payload = super().load(spec)
        if payload is not None and digest(spec) not in self._known:
            self._tell(FOUND, spec)
        return payload

    def damaged(self, path: Path) -> None:
        self.journal.tell(BROKEN, piece=path.stem)
        self.watch.say(f"{path} {DAMAGED}")

    def _tell(self, event: str, spec: Spec) -> None:
        name = digest(spec)
        self.journal.tell(event, piece=name, kind=spec.get("kind"))
        if name not in self._known:
            self.needs.tell(event, piece=name)
            self._known.add(name)

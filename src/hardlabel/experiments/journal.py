"""What has become of the pieces of a run: one line each in a file that only grows.

The store holds the pieces, which runs may share; the journal says which of them a run made, and which it found made.
"""

import datetime
import errno
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hardlabel.experiments.progress import Watch
from hardlabel.store import DAMAGED, JSON, Spec, Store, digest

JOURNAL = "journal.jsonl"
MADE, FOUND, BROKEN = "made", "found", "damaged"


@dataclass(frozen=True)
class Journal:
    """A file of lines, each a JSON object with `at` (time) and `event`.

    A line is appended by one write, so that a killed process leaves at most one line cut short, which readers pass
    over.

    Attributes:
        path: The file.
    """

    path: Path

    def tell(self, event: str, **facts: JSON) -> None:
        """Appends a line and brings it to the disk.

        Raises:
            OSError: The disk is full or broken.
        """
        at = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, "event": event, **facts}) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(handle).st_size
            # What a killed process left of its line must not swallow this one.
            cut = size > 0 and not self._ends(size)
            told = ("\n" * cut + line).encode()
            if os.write(handle, told) < len(told):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(handle)
        finally:
            os.close(handle)

    def lines(self) -> Iterator[dict[str, object]]:
        """The whole lines, from the first; none where there is no file."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if isinstance(found, dict):
                    yield found

    def pieces(self) -> set[str]:
        """The names of all pieces that the run made or found."""
        return {str(line["piece"]) for line in self.lines() if line.get("event") in (MADE, FOUND) and "piece" in line}

    def _ends(self, size: int) -> bool:
        with self.path.open("rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"


@dataclass(frozen=True, init=False)
class JournaledStore(Store):
    """A store that writes down in one run's journal what is made, found and damaged.

    Attributes:
        journal: The run's.
        needs: The store's own list of the pieces that the run made or found; it outlives the run folder.
        watch: Is told of damaged pieces.
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

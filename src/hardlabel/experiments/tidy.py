"""What a store holds that no run needs, and how it is freed."""

import time
from dataclasses import dataclass
from pathlib import Path

from hardlabel.experiments.journal import Journal
from hardlabel.experiments.runs import GONE, KNOWN, Run, listed
from hardlabel.store import Store

DRAFT_SECONDS = 3600.0  # A hidden draft so old is a killed process's: nobody writes that long.


@dataclass(frozen=True)
class Spare:
    """What can be freed.

    Attributes:
        files: Pieces with what tells of them, drafts of killed processes, notes of runs that are gone.
        pieces: How many pieces are among them.
        bytes: What the files take.
        gone: Folders of runs that are no longer there.
    """

    files: tuple[Path, ...]
    pieces: int
    bytes: int
    gone: tuple[Path, ...]


def spare(store: Store, *, unclaimed: bool = False) -> Spare:
    """What no run folder that is still there needs.

    Pieces that no run ever made or found, such as the answers kept by library calls or an older version's pieces, are
    taken only if `unclaimed`: nobody knows who needs them.
    """
    runs = [run for run in listed(store) if run.known is not None]
    gone = [run for run in runs if run.state == GONE]
    needed = {piece for run in runs if run.state != GONE for piece in run.pieces}
    claimed = {piece for note in (store.root / KNOWN).glob("*.jsonl") for piece in Journal(note).pieces()}
    there = {path.stem: path for path in store.root.glob("*.piece")}
    free = [path for name, path in there.items() if name not in needed and (unclaimed or name in claimed)]
    files = [file for path in free for file in (path, path.with_suffix(".json"))]
    files += [file for run in gone for file in _notes(run)]
    files += [path for path in store.root.glob(".*") if path.is_file() and _age(path) > DRAFT_SECONDS]
    files = [file for file in files if file.exists()]
    return Spare(
        files=tuple(files),
        pieces=len(free),
        bytes=sum(file.stat().st_size for file in files),
        gone=tuple(run.folder for run in gone),
    )


def free(found: Spare) -> None:
    """Removes it. What a run turns out to need after all is made again."""
    for file in found.files:
        file.unlink(missing_ok=True)


def _notes(run: Run) -> tuple[Path, ...]:
    return () if run.known is None else (run.known, run.known.with_suffix(".jsonl"))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0

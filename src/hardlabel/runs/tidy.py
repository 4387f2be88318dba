"""Find the pieces in a store that no run needs, and remove them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from hardlabel.runs.journal import Journal
from hardlabel.runs.listing import GONE, KNOWN, Run, listed
from hardlabel.store import CHECKS, DATA, Store
from hardlabel.turns import taken

DRAFT_SECONDS = 3600.0  # No process writes a draft for so long: an older draft belongs to a killed process.


@dataclass(frozen=True)
class Spare:
    """The files that can be freed.

    Attributes:
        files: Pieces with their descriptions, drafts and locks of killed processes, notes of runs that are gone.
        pieces: Number of pieces among the files.
        bytes: Bytes of the files.
        gone: Run folders that no longer exist.
    """

    files: tuple[Path, ...]
    pieces: int
    bytes: int
    gone: tuple[Path, ...]


def spare(store: Store, *, unclaimed: bool = False) -> Spare:
    """The files that no existing run folder needs.

    Decoded data that no run uses are always included: they can be decoded again. Some pieces were never made or found
    by a run: they come from library calls or older versions. Nobody knows who needs them, so they are included only if
    `unclaimed`, with the answers to check rows.

    Raises:
        InvalidInput: A list of pieces cannot be read.
    """
    runs = [run for run in listed(store) if run.known is not None]
    gone = [run for run in runs if run.state == GONE]
    lists = {path: Journal(path) for path in (store.root / KNOWN).glob("*.jsonl")}
    claimed = {piece for pieces in lists.values() for piece in pieces.pieces()}
    # A list whose note is damaged belongs to a run that nobody can look for: its pieces stay, unless all are freed.
    unneeded = {path for run in gone for path in _notes(run)}
    known = {path for run in runs for path in _notes(run)}
    keeping = [pieces for path, pieces in lists.items() if path not in unneeded and (path in known or not unclaimed)]
    needed = {piece for run in runs if run.state != GONE for piece in run.pieces}
    needed |= {piece for pieces in keeping for piece in pieces.pieces()}
    data = {name for pieces in keeping for name in pieces.data()}
    stored = {path.stem: path for path in store.root.glob("*.piece")}
    pieces = [path for name, path in stored.items() if name not in needed and (unclaimed or name in claimed)]
    files = [file for path in pieces for file in (path, path.with_suffix(".json"))]
    files += [path for path in (store.root / DATA).glob("*.arrow") if path.stem not in data]
    files += [file for run in gone for file in _notes(run)]
    files += list((store.root / CHECKS).glob("*")) if unclaimed else []
    folders = [store.root, *(path for path in store.root.iterdir() if path.is_dir())]
    hidden = [path for folder in folders for path in folder.glob(".*")]
    files += [path for path in hidden if path.is_file() and _age(path) > DRAFT_SECONDS and not taken(path)]
    files = [file for file in files if os.path.lexists(file) and not (file.is_dir() and not file.is_symlink())]
    return Spare(
        files=tuple(files),
        pieces=len(pieces),
        bytes=sum(file.lstat().st_size for file in files),
        gone=tuple(run.folder for run in gone),
    )


def free(found: Spare) -> None:
    """Removes the files. A run that still needs a piece makes it again."""
    for file in found.files:
        file.unlink(missing_ok=True)


def _notes(run: Run) -> tuple[Path, ...]:
    return () if run.known is None else (run.known, run.known.with_suffix(".jsonl"))


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0

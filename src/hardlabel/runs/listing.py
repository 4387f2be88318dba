"""Run folders: hold a folder for one process, note its run in the store, list all runs.

A run folder holds `config.yaml` from the start, `journal.jsonl` (one line per piece), and the record once the run is
finished. The pieces are in the store, and runs may share them. The folder `runs/` in the store says which run needs
which pieces.
"""

import contextlib
import datetime
import getpass
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import filelock
import yaml

from hardlabel.checks import InvalidInput
from hardlabel.runs.folder import CONFIG, check_writable, read_settings
from hardlabel.runs.journal import JOURNAL, MADE, Journal, JournaledStore
from hardlabel.runs.progress import Watch
from hardlabel.store import Store, write_whole

LOCK, HOLDER, SCRATCH = ".lock", ".holder.json", ".scratch"
KNOWN = "runs"  # The folder in a store that lists its runs.
FINISHED, RUNNING, BROKEN_OFF, GONE = "finished", "running", "broken off", "gone"


@dataclass(frozen=True)
class Holder:
    """The process that holds a run folder, its machine and user, and the start time."""

    process: int
    machine: str
    user: str
    since: str

    def __str__(self) -> str:
        return f"process {self.process} of {self.user} on {self.machine} since {self.since}"


@dataclass(frozen=True)
class Run:
    """A run folder, seen from outside.

    Attributes:
        folder: The run folder.
        state: FINISHED, RUNNING, BROKEN_OFF or GONE.
        holder: The process that holds it; None if none does.
        data: The audited data.
        started: Start time, ISO 8601; empty if unknown.
        pieces: Names of the pieces that it made or found.
        made: How many of them it made.
        bytes: Bytes of its pieces in the store.
        known: The store's note of this folder; None if the store does not know it.
    """

    folder: Path
    state: str
    holder: Holder | None
    data: str
    started: str
    pieces: frozenset[str]
    made: int
    bytes: int
    known: Path | None


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds a run folder, which one process at a time can do. If the process dies, the system frees the folder.

    Raises:
        InvalidInput: Another process holds it (the message names the process), or it cannot be written to.
    """
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        holder = holder_of(folder)
        raise InvalidInput(
            f"out {str(folder)!r} is held by {holder or 'another process'}: wait for it, stop it, or name a new folder"
        ) from error
    try:
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        me = Holder(process=os.getpid(), machine=platform.node(), user=getpass.getuser(), since=since)
        write_whole(folder / HOLDER, json.dumps(vars(me)).encode())
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)  # A killed process may have left it.
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        lock.release()


def journaled(folder: Path, store: Store | None, watch: Watch) -> JournaledStore | None:
    """The same store, with a journal of the pieces that the run makes and finds; None without a store."""
    if store is None:
        return None
    journal, needs = Journal(folder / JOURNAL), Journal(_needs(folder, store))
    return JournaledStore(store.root, journal=journal, needs=needs, watch=watch)


@contextlib.contextmanager
def begun(folder: Path, settings: dict[str, object], *, store: Store | None) -> Iterator[None]:
    """Holds a run folder, and writes the start and the end of the run to the journal.

    The settings are written first, so that the run can be resumed.

    Raises:
        InvalidInput: See `held`.
    """
    with held(folder):
        if not (folder / CONFIG).exists():
            write_whole(folder / CONFIG, yaml.safe_dump(settings, sort_keys=False).encode())
        journal = Journal(folder / JOURNAL)
        journal.tell("began", version=metadata.version("hardlabel"), process=os.getpid(), machine=platform.node())
        if store is not None:
            needs = _needs(folder, store)
            needs.parent.mkdir(exist_ok=True)
            write_whole(needs.with_suffix(".json"), json.dumps({"folder": str(folder.absolute())}).encode())
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):  # The disk may be full.
                journal.tell("ended", how=type(error).__name__)
            raise
        journal.tell("ended", how=FINISHED)


def holder_of(folder: Path) -> Holder | None:
    """The process that holds a run folder, "somebody" if its note cannot be read; None if no process holds it."""
    if not (folder / LOCK).exists():
        return None
    lock = filelock.FileLock(folder / LOCK)
    with contextlib.suppress(filelock.Timeout, OSError):
        lock.acquire(timeout=0)
        lock.release()
        return None
    try:
        return Holder(**json.loads((folder / HOLDER).read_text()))
    except (OSError, ValueError, TypeError):
        return Holder(process=0, machine="an unknown machine", user="somebody", since="an unknown time")


def listed(store: Store, *folders: Path, records: Collection[str] = ()) -> list[Run]:
    """The runs that a store knows and the runs in `folders`, sorted by start time.

    A run is finished if its folder holds one of the files `records`.
    """
    notes: dict[Path, Path | None] = {
        path.parent.absolute(): None for folder in folders for path in sorted(folder.glob(f"*/{CONFIG}"))
    }
    for note in sorted((store.root / KNOWN).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            notes[Path(json.loads(note.read_text())["folder"])] = note
    return sorted((_run(folder, note, store, records) for folder, note in notes.items()), key=lambda run: run.started)


def _needs(folder: Path, store: Store) -> Path:
    """The store's list of the pieces that a run needs. The note beside it (.json) names the run folder."""
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return store.root / KNOWN / f"{name}.jsonl"


def _run(folder: Path, note: Path | None, store: Store, records: Collection[str]) -> Run:
    exists = folder.exists()
    holder = holder_of(folder) if exists else None
    journal = Journal(folder / JOURNAL if exists or note is None else note.with_suffix(".jsonl"))
    lines, pieces = list(journal.lines()), journal.pieces()
    data = ""
    with contextlib.suppress(InvalidInput):
        data = str(read_settings(folder).get("data", ""))
    if not exists:
        state = GONE
    elif holder is not None:
        state = RUNNING
    else:
        state = FINISHED if any((folder / name).exists() for name in records) else BROKEN_OFF
    return Run(
        folder=folder,
        state=state,
        holder=holder,
        data=data,
        started=str(lines[0].get("at", "")) if lines else "",
        pieces=frozenset(pieces),
        made=len({line["piece"] for line in lines if line.get("event") == MADE and "piece" in line}),
        bytes=sum(size_of(store, piece) for piece in pieces),
        known=note,
    )


def size_of(store: Store, piece: str) -> int:
    """Bytes of a piece on disk; 0 if it is not there."""
    try:
        return (store.root / f"{piece}.piece").stat().st_size
    except OSError:
        return 0

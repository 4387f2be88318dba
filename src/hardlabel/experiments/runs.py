"""Run folders: held by one process at a time, known to their store, resumed, listed and cleaned up after.

A run folder holds `config.yaml` from its first moment, `journal.jsonl` (what has become of each piece) and, once the
run is finished, its record. The pieces lie in the store, where other runs find them too; `runs/` in the store
remembers which run needs which.
"""

import contextlib
import datetime
import getpass
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import filelock
import yaml

from hardlabel.checks import InvalidInput
from hardlabel.experiments.canary_record import CANARIES
from hardlabel.experiments.defend_record import DEFEND
from hardlabel.experiments.folder import CONFIG, check_writable, read_settings
from hardlabel.experiments.journal import JOURNAL, MADE, Journal, JournaledStore
from hardlabel.experiments.progress import Watch
from hardlabel.experiments.recipe_record import RECIPE
from hardlabel.experiments.record import RESULTS
from hardlabel.store import Store, write_whole

LOCK, HOLDER, SCRATCH = ".lock", ".holder.json", ".scratch"
KNOWN = "runs"  # The folder of a store that lists its runs.
FINISHED, RUNNING, BROKEN_OFF, GONE = "finished", "running", "broken off", "gone"


@dataclass(frozen=True)
class Holder:
    """Who holds a run folder: a process, its machine and user, and since when."""

    process: int
    machine: str
    user: str
    since: str

    def __str__(self) -> str:
        return f"process {self.process} of {self.user} on {self.machine} since {self.since}"


@dataclass(frozen=True)
class Run:
    """A run folder and what is known of it from outside.

    Attributes:
        folder: The run folder.
        state: FINISHED, RUNNING, BROKEN_OFF or GONE.
        holder: Who holds it, where it is running.
        data: What is audited.
        started: When it was begun, ISO 8601; empty where nobody wrote it down.
        pieces: Names of the pieces it made or found.
        made: How many of them it made itself.
        bytes: What its pieces take in the store.
        known: The file by which the store knows it; None for a folder that the store does not know.
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
    """Holds a run folder; only one process can, and the system lets go of it when that process is gone.

    Raises:
        InvalidInput: Another process holds it; says which one and since when. Or it cannot be written to.
    """
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        who = holder_of(folder)
        raise InvalidInput(
            f"out {str(folder)!r} is held by {who or 'another process'}: wait for it, stop it, or name a new folder"
        ) from error
    try:
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        me = Holder(process=os.getpid(), machine=platform.node(), user=getpass.getuser(), since=since)
        write_whole(folder / HOLDER, json.dumps(vars(me)).encode())
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)  # Of a process that was killed.
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        lock.release()


def journaled(folder: Path, store: Store | None, watch: Watch) -> JournaledStore | None:
    """The store through which a run's pieces are written down; without a store, None."""
    if store is None:
        return None
    return JournaledStore(
        store.root, journal=Journal(folder / JOURNAL), needs=Journal(_needs(folder, store)), watch=watch
    )


@contextlib.contextmanager
def begun(folder: Path, settings: dict[str, object], *, store: Store | None) -> Iterator[None]:
    """Holds a run folder, and writes down when the run begins and ends.

    The settings are in the folder from now on, so that the run can be resumed.

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
            with contextlib.suppress(OSError):  # A full disk takes no more lines.
                journal.tell("ended", how=type(error).__name__)
            raise
        journal.tell("ended", how=FINISHED)


def holder_of(folder: Path) -> Holder | None:
    """Who holds a run folder, as that process wrote it down; None if nobody does or the note is gone."""
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


def listed(store: Store, *folders: Path) -> list[Run]:
    """The runs that a store knows, and those in `folders`, the latest last."""
    found: dict[Path, Path | None] = {
        path.parent.absolute(): None for folder in folders for path in sorted(folder.glob(f"*/{CONFIG}"))
    }
    for note in sorted((store.root / KNOWN).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found[Path(json.loads(note.read_text())["folder"])] = note
    return sorted((_seen(folder, note, store) for folder, note in found.items()), key=lambda run: run.started)


def _needs(folder: Path, store: Store) -> Path:
    """The store's list of the pieces that a run needs; beside it lies a note of where the run is."""
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return store.root / KNOWN / f"{name}.jsonl"


def _seen(folder: Path, note: Path | None, store: Store) -> Run:
    holder = holder_of(folder) if folder.exists() else None
    journal = Journal(folder / JOURNAL)
    if not folder.exists() and note is not None:
        journal = Journal(note.with_suffix(".jsonl"))
    lines = list(journal.lines())
    pieces = journal.pieces()
    data = ""
    with contextlib.suppress(InvalidInput):
        data = str(read_settings(folder).get("data", ""))
    if not folder.exists():
        state = GONE
    elif holder is not None:
        state = RUNNING
    else:
        finished = any((folder / name).exists() for name in (RESULTS, RECIPE, DEFEND, CANARIES))
        state = FINISHED if finished else BROKEN_OFF
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
    """Bytes a piece takes on disk; 0 where it is not there."""
    try:
        return (store.root / f"{piece}.piece").stat().st_size
    except OSError:
        return 0

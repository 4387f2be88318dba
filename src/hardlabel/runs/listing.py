"""Run folders: hold a folder for one process, note its run in the store, list all runs.

A run folder holds `config.yaml` from the start, `journal.jsonl` (one line per piece), and the record once the run is
finished. The pieces are in the store, and runs may share them. The folder `runs/` in the store says which run needs
which pieces.
"""

import contextlib
import datetime
import getpass
import hashlib
import os
import platform
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import filelock
import yaml

from hardlabel import checks, reading
from hardlabel.checks import InvalidInput
from hardlabel.reading import Unreadable
from hardlabel.runs.folder import CONFIG, check_writable, read_settings, write_sums
from hardlabel.runs.journal import JOURNAL, MADE, Journal, JournaledStore, sealed, unsealed
from hardlabel.runs.places import PATHS, from_home
from hardlabel.runs.progress import Watch
from hardlabel.runs.settings import flat
from hardlabel.store import Store, is_draft, write_whole

LOCK, HOLDER, SCRATCH = ".lock", ".holder.json", ".scratch"
KNOWN = "runs"  # The folder in a store that lists its runs.
FINISHED, RUNNING, BROKEN_OFF, GONE, DAMAGED = "finished", "running", "broken off", "gone", "damaged"


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
        state: FINISHED, RUNNING, BROKEN_OFF, GONE or DAMAGED.
        holder: The process that holds it; None if none does.
        data: The audited data; of a target that was trained elsewhere, its file.
        started: Start time, ISO 8601; empty if unknown.
        pieces: Names of the pieces that it made or found.
        made: How many of them it made.
        bytes: Bytes of its pieces in the store.
        known: The store's note of this folder; None if the store does not know it.
        problem: Why the folder's settings or journal cannot be read; else empty.
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
    problem: str = ""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Holds a run folder, which one process at a time can do. If the process dies, the system frees the folder.

    Raises:
        InvalidInput: Another process holds it (the message names the process), or it cannot be written to.
    """
    check_writable(folder)
    if os.path.lexists(folder / LOCK) and not _is_file(folder / LOCK):
        raise InvalidInput(f"out {str(folder)!r} must hold no {LOCK} but a regular file")
    lock = filelock.FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise InvalidInput(f"out {str(folder)!r} must be a folder that can be written to: {error.strerror}") from error
    except filelock.Timeout as error:
        holder = holder_of(folder)
        raise InvalidInput(
            f"out {str(folder)!r} is held by {holder or 'another process'}: wait for it, stop it, or name a new folder"
        ) from error
    try:
        since = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        me = Holder(process=os.getpid(), machine=platform.node(), user=_user(), since=since)
        with contextlib.suppress(IsADirectoryError):  # Others are then told that "somebody" holds the folder.
            write_whole(folder / HOLDER, sealed(vars(me)).encode())
        # A killed process may have left these.
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        for draft in filter(is_draft, folder.glob(".*")):
            draft.unlink(missing_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        lock.release()


def _user() -> str:
    """The name of this process's user; the number of a user that the machine does not know, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"user {os.getuid()}" if sys.platform != "win32" else "an unknown user"


def journaled(folder: Path, store: Store | None, watch: Watch) -> JournaledStore | None:
    """The same store, with a journal of the pieces that the run makes and finds; None without a store."""
    if store is None:
        return None
    journal, needs = Journal(folder / JOURNAL), Journal(_needs(folder, store))
    return JournaledStore(store.root, journal=journal, needs=needs, watch=watch)


@contextlib.contextmanager
def begun(
    folder: Path, settings: dict[str, object], *, store: Store | None, places: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Holds a run folder, and writes the start and the end of the run to the journal.

    The settings are written first, so that the run can be resumed. The store's note of the run gets the whole paths in
    `places`, which the settings cut.

    Raises:
        InvalidInput: See `held`.
    """
    with held(folder):
        if not os.path.lexists(folder / CONFIG):
            content = yaml.safe_dump(settings, sort_keys=False).encode()
            write_whole(folder / CONFIG, content)
            write_sums(folder, {CONFIG: content})
        journal = Journal(folder / JOURNAL)
        journal.tell("began", version=metadata.version("hardlabel"), process=os.getpid())
        if store is not None:
            needs = _needs(folder, store)
            needs.parent.mkdir(exist_ok=True)
            note = {"folder": from_home(folder), "places": {**places_of_run(folder, store), **(places or {})}}
            write_whole(needs.with_suffix(".json"), sealed(note).encode())
            if isinstance(store, JournaledStore):
                store.note_data()
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):  # The disk may be full.
                journal.tell("ended", how=type(error).__name__)
            raise
        journal.tell("ended", how=FINISHED)


def places_of_run(folder: Path, store: Store | None) -> dict[str, str]:
    """The whole paths of a run's settings, from the store's note; none if the store does not know the run."""
    if store is None:
        return {}
    places = _note(_needs(folder, store).with_suffix(".json")).get("places")
    if not isinstance(places, dict):
        return {}
    return {name: path for name, path in places.items() if name in PATHS and isinstance(path, str)}


def holder_of(folder: Path) -> Holder | None:
    """The process that holds a run folder, "somebody" if its note cannot be read; None if no process holds it."""
    if not _is_file(folder / LOCK):
        return None
    lock = filelock.FileLock(folder / LOCK)
    with contextlib.suppress(filelock.Timeout, OSError):
        lock.acquire(timeout=0)
        lock.release()
        return None
    found = _note(folder / HOLDER)
    process, texts = found.get("process"), [found.get(name) for name in ("machine", "user", "since")]
    if isinstance(process, int) and all(isinstance(text, str) and len(text) < checks.LONGEST for text in texts):
        return Holder(process, *map(str, texts))
    return Holder(process=0, machine="an unknown machine", user="somebody", since="an unknown time")


def listed(store: Store, *folders: Path, records: Collection[str] = ()) -> list[Run]:
    """The runs that a store knows and the runs in `folders`, sorted by start time.

    A run is finished if its folder holds one of the files `records`.
    """
    notes: dict[Path, Path | None] = {
        path.parent.absolute(): None for folder in folders for path in sorted(folder.glob(f"*/{CONFIG}"))
    }
    for note in sorted((store.root / KNOWN).glob("*.json")):
        folder = noted_folder(note, store)
        if folder is not None:
            notes[folder] = note
    return sorted((_run(folder, note, store, records) for folder, note in notes.items()), key=lambda run: run.started)


def noted_folder(note: Path, store: Store) -> Path | None:
    """The run folder that a store's note names; None if the note is damaged: its own name is made from the folder's."""
    folder = _note(note).get("folder")
    if not isinstance(folder, str) or "\0" in folder:
        return None
    try:
        path = Path(folder).expanduser()
    except RuntimeError:  # The home folder is unknown.
        return None
    return path if _needs(path, store).with_suffix(".json") == note else None


def _note(path: Path) -> dict[str, object]:
    """The JSON object in a small file; {} if there is none, or if it is damaged."""
    try:
        return unsealed(reading.content(path, most=reading.LINE_BYTES)) or {}
    except Unreadable:
        return {}


def _is_file(path: Path) -> bool:
    """Whether `path` is a regular file; a link is none."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _needs(folder: Path, store: Store) -> Path:
    """The store's list of the pieces that a run needs. The note beside it (.json) names the run folder."""
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return store.root / KNOWN / f"{name}.jsonl"


def _run(folder: Path, note: Path | None, store: Store, records: Collection[str]) -> Run:
    exists = os.path.exists(folder)
    holder = holder_of(folder) if exists else None
    journal = Journal(folder / JOURNAL if exists or note is None else note.with_suffix(".jsonl"))
    lines: list[dict[str, object]] = []
    pieces: set[str] = set()
    data = problem = ""
    try:
        lines, pieces = list(journal.lines()), journal.pieces()
        settings = flat(read_settings(folder)) if exists else {}
        found = settings.get("data", settings.get("target"))
        data = checks.cut(found) if isinstance(found, str) else ""
    except InvalidInput as error:
        problem = str(error)
    if not exists:
        state = GONE
    elif holder is not None:
        state = RUNNING
    elif problem and os.path.lexists(folder / CONFIG):
        state = DAMAGED
    else:
        state = FINISHED if any(os.path.exists(folder / name) for name in records) else BROKEN_OFF
    return Run(
        folder=folder,
        state=state,
        holder=holder,
        data=data,
        started=_time(lines[0].get("at")) if lines else "",
        pieces=frozenset(pieces),
        made=len(pieces & {str(line.get("piece")) for line in lines if line.get("event") == MADE}),
        bytes=sum(size_of(store, piece) for piece in pieces),
        known=note,
        problem=problem,
    )


def _time(text: object) -> str:
    """The text if it is a time in ISO 8601, else nothing."""
    try:
        return datetime.datetime.fromisoformat(str(text)).isoformat()
    except ValueError:
        return ""


def size_of(store: Store, piece: str) -> int:
    """Bytes of a piece on disk; 0 if it is not there."""
    try:
        return (store.root / f"{piece}.piece").stat().st_size
    except OSError:
        return 0

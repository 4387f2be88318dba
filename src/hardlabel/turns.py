"""Processes that want the same piece of a store take turns, so that none makes what another is making."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from hardlabel.store import Spec, Store, digest

if sys.platform != "win32":
    import fcntl

ENDING = ".turn"  # How the names of locks end; they begin with a dot.
POLL = 0.1  # Seconds between two looks at whether a turn is over.
_MINE = threading.local()  # `taken`: whether this thread has a turn.


@contextlib.contextmanager
def turn(store: Store | None, spec: Spec | None) -> Iterator[None]:
    """Within this block no other process is in a turn for the same piece.

    Look for the piece within the block, and make it there if it is missing: a process that had to wait finds it. Pieces
    that are always wanted together take turns by the first of them. If the process is killed, its turn is over.

    Two processes never wait for each other, because a thread that has a turn takes no second: it makes other pieces
    without a turn. Where locks fail (some network folders, Windows) there are no turns, and a piece may be made twice.

    Args:
        store: Where the piece is kept; None if it is not kept.
        spec: The piece; None if it has no name.

    Raises:
        InvalidInput: The spec is not JSON.

    Example:
        >>> import tempfile
        >>> from hardlabel.store import Store
        >>> from hardlabel.turns import turn
        >>> store, spec = Store(tempfile.mkdtemp()), {"kind": "sum", "of": [1, 2]}
        >>> with turn(store, spec):
        ...     if store.load(spec) is None:
        ...         store.save(spec, b"3")
        >>> store.load(spec)
        b'3'
    """
    if store is None or spec is None or getattr(_MINE, "taken", False):
        yield
        return
    path = store.root / f".{digest(spec)}{ENDING}"
    handle = _waited_for(path, store)
    _MINE.taken = True
    try:
        yield
    finally:
        _MINE.taken = False
        if handle is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)  # Before the lock is freed: the next process makes a file of its own.
            os.close(handle)


def taken(path: Path) -> bool:
    """Whether a process has the turn whose lock is at `path`."""
    try:
        handle = _locked(path, make=False)
    except OSError:
        return False
    if handle is not None:
        os.close(handle)
    return handle is None


def _waited_for(path: Path, store: Store) -> int | None:
    """The locked file at `path`; None where no file can be locked."""
    waiting = False
    while True:
        try:
            handle = _locked(path, make=True)
        except OSError:
            return None
        if handle is not None:
            return handle
        if not waiting:
            store.waiting()
        waiting = True
        time.sleep(POLL)


def _locked(path: Path, *, make: bool) -> int | None:
    """The locked file at `path`; None if another process has it.

    Raises:
        OSError: The file cannot be made or locked.
    """
    if sys.platform == "win32":
        raise OSError("there are no such locks")
    handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if make else 0), 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The process before may have removed the file after it was opened here: another file has this name then.
        if os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None

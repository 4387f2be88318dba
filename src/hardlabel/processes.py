"""How processes behave beside others: threads that wait leave the processors alone, and workers go with their parent.

Imports nothing that takes time: the command line and a worker come here before they load PyTorch.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

WAITING = "OMP_WAIT_POLICY"  # OpenMP reads it once, when PyTorch is loaded.
TOLD = (WAITING, "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")  # With any of them the user has chosen.
WATCHED = 1.0  # Seconds between two looks of a worker at whether its parent lives.
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG, from prctl.h.


def passive_waiting() -> dict[str, str]:
    """The environment variables that have idle threads sleep. Empty if the user has set how they wait.

    By default OpenMP's threads wait for their next work in a loop. Two processes with a thread per core then take the
    cores from each other: two audits at once take several times as long as one after the other.
    """
    return {} if any(variable in os.environ for variable in TOLD) else {WAITING: "PASSIVE"}


def wait_passively() -> None:
    """Has the idle threads of this process sleep. Without effect once PyTorch is loaded."""
    os.environ.update(passive_waiting())


def go_with(parent: int, *, from_main_thread: bool) -> None:
    """Ends this process as soon as its parent is gone, whatever killed the parent and when.

    The parent may be gone already, since starting takes a second: this process then has another parent from the first.

    Args:
        parent: The parent's process id.
        from_main_thread: Whether the main thread of the parent started this process. Linux then ends it at once,
            whatever it does. Else a thread looks once a second, since Linux ends it with the *thread* that started it.
    """
    if from_main_thread and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCHED)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """Processes that are started within this block never see Ctrl-C: the terminal sends it to them too.

    They would print how far they had come. Their parent tells of it and ends them, after the block at the latest.
    """
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(parent: int, from_main_thread: bool) -> None:
    """The first thing that a worker does, before it loads what its work needs. See `go_with`."""
    go_with(parent, from_main_thread=from_main_thread)

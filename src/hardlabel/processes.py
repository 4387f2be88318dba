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
from types import FrameType

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


class Interrupts:
    """Ctrl-C and SIGTERM as `KeyboardInterrupt`, which cannot be lost.

    Python drops an exception that is raised while an object is being deleted. So the signal is remembered, and whoever
    makes pieces looks here after each.
    """

    def __init__(self) -> None:
        self._came = False
        self._held = 0

    def check(self) -> None:
        """Raises `KeyboardInterrupt` if a signal came inside of `caught`."""
        if self._came:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, both signals interrupt. In the main thread only, and each only where nobody else handles it.

        Ray, for example, has a handler of its own for SIGTERM; a SIGINT that is ignored, as in the background of a
        shell, stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
        before = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
        hook = threading.excepthook
        try:
            for number in before:
                signal.signal(number, self._interrupt)
            yield
        finally:
            self._came = False
            threading.excepthook = hook
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """A signal that comes inside of the block interrupts at its end: for short steps that only count together.

        Inside of `caught` only. In other threads than the main one the block is as it was: signals never come there.

        Example:
            >>> from hardlabel.processes import INTERRUPTS
            >>> with INTERRUPTS.caught(), INTERRUPTS.held():
            ...     pass  # Write down what is sent, and send it.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held:
            self.check()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        if self._held:
            return
        threading.excepthook = _silent  # A thread of joblib's may be starting a worker, and would print that it cannot.
        raise KeyboardInterrupt


def _silent(failure: threading.ExceptHookArgs) -> None:
    """Prints nothing of a thread that fails."""


INTERRUPTS = Interrupts()


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

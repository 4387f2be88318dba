"""How a long run reports progress: the command line draws it, and library calls at a terminal or in a notebook do."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hardlabel.models.train import EpochReport


class Watch(Protocol):
    """Receives the stages of a run, the work done in each stage, and messages for the user."""

    def stage(self, title: str, total: int, unit: str) -> None:
        """A stage begins: at most `total` units of work ("queries", "rows", "epochs") lie ahead."""
        ...

    def advance(self, units: int) -> None:
        """That many more units of the current stage are done."""
        ...

    def detail(self, words: str) -> None:
        """A detail of the current stage, such as the training loss."""
        ...

    def say(self, message: str) -> None:
        """A line worth keeping, such as a finished attack's figure."""
        ...


class Silent:
    """A `Watch` that ignores everything."""

    def stage(self, title: str, total: int, unit: str) -> None: ...

    def advance(self, units: int) -> None: ...

    def detail(self, words: str) -> None: ...

    def say(self, message: str) -> None: ...


class Automatic(Silent):
    """Stands for the progress that a library call shows by itself; see `shown`."""


SILENT = Silent()
"""The watch that shows nothing: pass `execution=Execution(watch=SILENT)` for a call without progress."""
AUTOMATIC = Automatic()


@contextlib.contextmanager
def shown(watch: Watch) -> Iterator[Watch]:
    """The same watch; of AUTOMATIC a bar at a terminal, a growing line in a notebook, and SILENT elsewhere.

    Example:
        >>> from hardlabel.runs.progress import SILENT, shown
        >>> with shown(SILENT) as watch:
        ...     watch.stage("training", 10, "epochs")
    """
    if watch is not AUTOMATIC:
        yield watch
    elif _in_notebook():
        from hardlabel.runs.bar import Growing

        with Growing(sys.stderr) as growing:
            yield growing
    elif sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from hardlabel.runs.bar import Bar

        with Bar(Console(stderr=True, markup=False, emoji=False, highlight=False)) as bar:
            yield bar
    else:
        yield SILENT


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook. IPython at a terminal is none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def told(watch: Watch) -> "Callable[[EpochReport], None]":
    """A function that reports each epoch of a training to `watch`."""

    def tell(report: "EpochReport") -> None:
        watch.advance(1)
        watch.detail(f"loss {report.loss:.3f}, accuracy {report.accuracy:.3f}")

    return tell

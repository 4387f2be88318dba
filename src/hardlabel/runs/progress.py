"""How a long run reports progress. The command line draws it; a library call is silent by default."""

from collections.abc import Callable
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


SILENT = Silent()


def told(watch: Watch) -> "Callable[[EpochReport], None]":
    """A function that reports each epoch of a training to `watch`."""

    def tell(report: "EpochReport") -> None:
        watch.advance(1)
        watch.detail(f"loss {report.loss:.3f}, accuracy {report.accuracy:.3f}")

    return tell

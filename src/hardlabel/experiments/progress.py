"""How a long run tells what it is doing; the command line draws it, a library call stays silent by default."""

from collections.abc import Callable
from typing import Protocol

from hardlabel.models.train import EpochReport


class Watch(Protocol):
    """Is told of stages, of work done within them, and of what the user should know."""

    def stage(self, title: str, total: int, unit: str) -> None:
        """A stage begins: at most `total` units of work ("queries", "rows", "epochs") lie ahead."""
        ...

    def advance(self, units: int) -> None:
        """That many more units of the current stage are done."""
        ...

    def detail(self, words: str) -> None:
        """How the current stage is doing, such as the training loss."""
        ...

    def say(self, message: str) -> None:
        """A line worth keeping, such as a finished attack's figure."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, title: str, total: int, unit: str) -> None: ...

    def advance(self, units: int) -> None: ...

    def detail(self, words: str) -> None: ...

    def say(self, message: str) -> None: ...


SILENT = Silent()


def told(watch: Watch) -> Callable[[EpochReport], None]:
    """Tells `watch` of each epoch of a training."""

    def tell(report: EpochReport) -> None:
        watch.advance(1)
        watch.detail(f"loss {report.loss:.3f}, accuracy {report.accuracy:.3f}")

    return tell

"""How an audit runs: where, in pieces of which size, and who sees the progress. No result depends on it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.executors import Executor, Local
from hardlabel.runs.progress import AUTOMATIC, Watch
from hardlabel.runs.settings import CHUNK


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where pieces of work run, how large they are, and who sees the progress.

    Attributes:
        executor: Trains and asks the attacker's own models: `hardlabel.Local()` or `hardlabel.Ray(...)`.
        chunk: Most samples per piece of work. A run that was interrupted may have to ask about these again.
        watch: Receives the progress. By default, progress is shown at a terminal and in a notebook;
            `hardlabel.SILENT` shows none.
        agree: A function that gets the cost of a run, in words, before anything is spent. It raises an error if the
            cost is too high. None if there is no such function.
        accept_change: Whether a run continues although its target has changed since it began.

    Raises:
        InvalidInput: `chunk` is not a whole number above 0, or an object lacks a method.

    Example:
        >>> from hardlabel import Execution, Local
        >>> Execution(executor=Local(processes=1), chunk=500).chunk
        500
    """

    executor: Executor = field(default_factory=Local)
    chunk: int = CHUNK
    watch: Watch = AUTOMATIC
    agree: Callable[[str], None] | None = None
    accept_change: bool = False

    def __post_init__(self) -> None:
        checks.whole_number(1, chunk=self.chunk)
        checks.plain_fields(self, "chunk")
        for name, methods in (("executor", ("run", "device")), ("watch", ("stage", "advance", "detail", "say"))):
            if not all(callable(getattr(getattr(self, name), method, None)) for method in methods):
                words = f"must be an object with {' and '.join(methods)}"
                raise InvalidInput(f"{name} {words}, got {checks.shown(getattr(self, name))}")


USUAL = Execution()

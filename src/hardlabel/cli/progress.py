"""Progress of the command line on stderr: lines, and a bar for the current stage."""

from types import TracebackType

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from hardlabel import printed

# Paths and names may hold anything: neither [brackets] nor :colons: mean anything here.
errors = Console(stderr=True, markup=False, emoji=False, highlight=False)


def say(text: str) -> None:
    """Prints a line on stderr, unless it is empty; line ends and control characters in it are written out."""
    if text:
        errors.print(printed.line(text), soft_wrap=True)


def put(text: object) -> None:
    """Prints a result on stdout; control characters are written out."""
    typer.echo(printed.lines(text))


class Bar:
    """A `Watch` on stderr: the stage, a bar, units done, their rate, and the most time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=errors,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def stage(self, title: str, total: int, unit: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(printed.line(title), total=total, unit=unit, detail="")

    def advance(self, units: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, units)

    def detail(self, words: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, detail=printed.line(words))

    def say(self, message: str) -> None:
        say(message)


class _Rate(ProgressColumn):
    """Units done, units in all, and units per second."""

    def render(self, task: Task) -> Text:
        speed = ""
        if task.speed:  # For slow units, such as models, the seconds of each unit.
            speed = f", {task.speed:,.0f}/s" if task.speed >= 1 else f", {1 / task.speed:,.0f} s each"
        return Text(f"{task.completed:,.0f} of {task.total:,.0f} {task.fields['unit']}{speed}")

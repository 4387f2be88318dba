"""Progress that people watch: a bar at a terminal, in one line whatever its width; a line that grows in a notebook."""

import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

from hardlabel import printed

BAR = 20  # Columns of the bar itself.
GAP = "  "
PAUSE = 0.5  # Seconds between two updates in a notebook.


class Bar:
    """A `Watch` on a terminal: the stage, a bar, units done, their rate, the most time left, a detail.

    What does not fit into the terminal's width is left out, the detail first.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(OneLine(console), console=console, transient=True, disable=not console.is_terminal)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
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
        if message:
            self._console.print(printed.line(message), soft_wrap=True, markup=False, emoji=False, highlight=False)


class OneLine(ProgressColumn):
    """The whole line of progress, never wider than the console."""

    max_refresh = 0.1

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> Text:
        """The stage and what is done always; then, as far as there is room, time, bar, rate and detail."""
        width, total = self._console.width, task.total or 0
        done = f"{task.completed:,.0f} of {total:,.0f} {task.fields['unit']}"
        wanted = {"bar": "━" * BAR, "rate": _rate(task.speed), "time": _left(task), "detail": task.fields["detail"]}
        room = width - len(task.description) - len(GAP) - len(done) - 1
        shown = set()
        for name in ("time", "bar", "rate", "detail"):
            need = len(GAP) + len(wanted[name])
            if wanted[name] and need <= room:
                shown.add(name)
                room -= need
        title = _cut(task.description, width - len(done) - len(GAP) - 1)
        line = Text(title, no_wrap=True)
        if "bar" in shown:
            full = round(BAR * min(1.0, task.completed / total)) if total else 0
            line.append(GAP).append("━" * full, "cyan").append("─" * (BAR - full), "dim")
        line.append(GAP + done)
        for name, style in (("rate", ""), ("time", "cyan"), ("detail", "dim")):
            if name in shown:
                line.append(GAP + wanted[name], style)
        return line


class Growing:
    """A `Watch` for notebooks: one line of text for each stage, which grows, and the messages between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title, self._unit, self._total, self._done, self._length, self._told = "", "", 0, 0, 0, 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._clear()

    def stage(self, title: str, total: int, unit: str) -> None:
        self._title, self._unit, self._total, self._done = printed.line(title), unit, total, 0
        self._show()

    def advance(self, units: int) -> None:
        self._done += units
        if time.monotonic() - self._told >= PAUSE:
            self._show()

    def detail(self, words: str) -> None: ...

    def say(self, message: str) -> None:
        if message:
            self._clear()
            self._stream.write(printed.line(message) + "\n")

    def _show(self) -> None:
        self._clear()
        line = f"{self._title}: {self._done:,} of {self._total:,} {self._unit}"
        self._stream.write(line)
        self._stream.flush()
        self._length, self._told = len(line), time.monotonic()

    def _clear(self) -> None:
        self._stream.write("\r" + " " * self._length + "\r")
        self._length = 0


def _rate(speed: float | None) -> str:
    """Units per second; for slow units, such as models, the seconds of each unit."""
    if not speed:
        return ""
    return f"{speed:,.0f}/s" if speed >= 1 else f"{1 / speed:,.0f} s each"


def _left(task: Task) -> str:
    """The most time left: "0:01:20 left"; empty while it is unknown."""
    seconds = task.time_remaining
    if seconds is None or task.finished:
        return ""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02} left"


def _cut(title: str, room: int) -> str:
    """The title, without its middle if it is too long: paths are told by their ends."""
    if len(title) <= room:
        return title
    half = max(0, room - 1) // 2
    return f"{title[:half]}…{title[len(title) - (max(0, room - 1) - half) :]}" if room > 1 else ""

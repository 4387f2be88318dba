"""The command line: one command per verb. Logs and progress go to stderr, the result's path to stdout.

Exit codes: 0 done, 1 failed, 2 bad usage (one line says which argument, value and rule).
"""

import datetime
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import hardlabel
from hardlabel.attacks import TABLE
from hardlabel.checks import InvalidInput
from hardlabel.data.sources import SOURCES
from hardlabel.experiments.audit import audit_config
from hardlabel.experiments.config import read
from hardlabel.experiments.progress import Watch
from hardlabel.experiments.record import REPORT, AuditRecord, load
from hardlabel.models.architectures import ARCHITECTURES
from hardlabel.reports.html import write_report
from hardlabel.reports.text import markdown
from hardlabel.store import default_store

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
errors = Console(stderr=True)
INTERRUPTED = 130
WIDE = 140  # Columns of a terminal that has room for the whole table of attacks.


@app.callback(invoke_without_command=True)
def _hardlabel(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    """Does a classifier leak who was in its training data, although it answers with a label only?"""
    if version:
        typer.echo(hardlabel.__version__)
        raise typer.Exit


@app.command()
def audit(
    config: Annotated[Path | None, typer.Argument(help="Settings as YAML; options take precedence.")] = None,
    data: Annotated[
        str | None, typer.Option(help=f"{', '.join(SOURCES)}, or a .npz, .csv or .parquet file. [default: digits]")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where data lie. [default: $HARDLABEL_DATA]")] = None,
    label: Annotated[str | None, typer.Option(help="The label column of a table.")] = None,
    missing: Annotated[str | None, typer.Option(help="What marks a missing value in a table.")] = None,
    categorical: Annotated[
        list[str] | None, typer.Option(help="A column of numbers that are categories; repeatable.")
    ] = None,
    arch: Annotated[str | None, typer.Option(help=f"{', '.join(ARCHITECTURES)}.")] = None,
    augment: Annotated[
        list[str] | None, typer.Option(help="Train with mirror, shift:PIXELS, rotate:DEGREES; repeatable.")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="L2 penalty in training.")] = None,
    max_epochs: Annotated[int | None, typer.Option(help="Most epochs of training. [default: 1000]")] = None,
    stop_at_accuracy: Annotated[float | None, typer.Option(help="Stop training at this train accuracy.")] = None,
    size: Annotated[int | None, typer.Option(help="Training samples. [default: a quarter, 2500 at most]")] = None,
    samples: Annotated[
        int | None, typer.Option(help="Members, and as many non-members, attacked. [default: all, 1000 at most]")
    ] = None,
    shadow_samples: Annotated[
        int | None, typer.Option(help="The same on the shadow model. [default: all, 500 at most]")
    ] = None,
    shadow_labels: Annotated[
        str | None, typer.Option(help="Labels of the shadow data: true, or target (overhead queries).")
    ] = None,
    attacks: Annotated[
        str | None, typer.Option(help="Comma-separated names from `hardlabel attacks`. [default: all that suit]")
    ] = None,
    networks: Annotated[str | None, typer.Option(help="Attack networks: all (one for all classes) or class.")] = None,
    budget: Annotated[int | None, typer.Option(help="Most queries per sample and attack.")] = None,
    prior: Annotated[
        float | None, typer.Option(help="Share of members among those asked about. [default: 0.01]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Fixes every draw. [default: 0]")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ... [default: auto]")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder. [default: a new one under runs/]")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; errors only.")] = False,
) -> None:
    """Train a model and a shadow model, audit the model, write a report.

    Without arguments it audits a small network on scikit-learn's digits.
    """
    options = {
        "data": data,
        "folder": folder,
        "label": label,
        "missing": missing,
        "categorical": categorical,
        "arch": arch,
        "augment": augment,
        "weight_decay": weight_decay,
        "max_epochs": max_epochs,
        "stop_at_accuracy": stop_at_accuracy,
        "size": size,
        "samples": samples,
        "shadow_samples": shadow_samples,
        "shadow_labels": shadow_labels,
        "attacks": None if attacks is None else [name.strip() for name in attacks.split(",") if name.strip()],
        "networks": networks,
        "budget": budget,
        "prior": prior,
        "seed": seed,
        "device": device,
        "out": out,
    }
    settings = read(config, {name: value for name, value in options.items() if value is not None})
    if settings.out is None:
        settings = settings.model_copy(update={"out": _new_folder(settings.data)})
    assert settings.out is not None
    if quiet:
        record = audit_config(settings, store=default_store())
    else:
        with _Drawn() as watch:
            record = audit_config(settings, store=default_store(), watch=watch)
        for absent in record.results.left_out:
            errors.print(f"left out: {absent.name}: {absent.reason}", highlight=False, markup=False)
        errors.print(_summary(record))
    report = settings.out / REPORT
    write_report(record, report)
    typer.echo(report)


@app.command(name="attacks")
def list_attacks() -> None:
    """List the attacks: what each sees, asks and needs, and where it comes from (Markdown when piped)."""
    heads = ("name", "sees", "queries", "data", "what it does", "needs", "source")
    rows = [
        (
            row.name,
            str(row.access),
            str(row.usual) if row.fewest == row.usual else f"{row.fewest} to {row.usual}{'+' if row.grows else ''}",
            row.data,
            row.summary,
            row.needs,
            row.source,
        )
        for row in TABLE.values()
    ]
    if not sys.stdout.isatty():
        for cells in (heads, ["---"] * len(heads), *rows):
            typer.echo(f"| {' | '.join(cells)} |")
        return
    console = Console()
    # What the names do and on which data is left to wide terminals; a name must always be readable whole.
    shown = range(len(heads)) if console.width >= WIDE else (0, 1, 2, 5, 6)
    table = Table(title="Attacks")
    for place in shown:
        table.add_column(heads[place], no_wrap=place in (0, 1), overflow="fold")
    for cells in rows:
        table.add_row(*(cells[place] for place in shown))
    console.print(table)


@app.command()
def show(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Print the figures of a finished audit as a Markdown table."""
    typer.echo(markdown(load(run)))


def main() -> None:
    """Runs the command line and turns errors into exit codes."""
    try:
        code = app(standalone_mode=False)  # Typer returns the code of an Exit, 130 after Ctrl-C.
    except InvalidInput as error:
        _fail(str(error), 2)
    except typer.Abort:
        _fail("aborted", 1)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # Click's own usage errors.
            _fail(error.format_message(), error.exit_code)
        errors.print_exception()
        _fail(f"{type(error).__name__}: {error}", 1)
    if code == INTERRUPTED:
        _fail("interrupted; finished models and measurements are kept, the same command goes on from there", 1)
    sys.exit(code or 0)


class _Drawn(Watch):
    """Progress on stderr: the stage, a bar, units done, their rate, and the time left at most."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _Rate(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=errors,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Drawn":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def stage(self, title: str, total: int, unit: str) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(title, total=total, unit=unit, detail="")

    def advance(self, units: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, units)

    def detail(self, words: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, detail=words)

    def say(self, message: str) -> None:
        self._progress.console.print(message, highlight=False)


class _Rate(ProgressColumn):
    """Units done of at most how many, and per second."""

    def render(self, task: Task) -> Text:
        speed = f", {task.speed:,.0f}/s" if task.speed else ""
        return Text(f"{task.completed:,.0f} of {task.total:,.0f} {task.fields['unit']}{speed}")


def _summary(record: AuditRecord) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))  # Narrow enough for 80 columns.
    for head in ("attack", "sees", "queries", "AUC [95 %]", "balanced accuracy"):
        table.add_column(head, no_wrap=True)
    for attack in record.results.attacks:
        queries = f"{attack.queries_per_sample.mean:.4g}"
        table.add_row(attack.name, attack.access, queries, str(attack.auc), str(attack.balanced_accuracy))
    return table


def _new_folder(data: str) -> Path:
    stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{Path(data).stem}-{stamp}"


def _fail(message: str, code: int) -> None:
    errors.print(f"hardlabel: {message}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)

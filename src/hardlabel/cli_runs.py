"""Commands about runs: list them, and free what none of them needs."""

import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hardlabel.checks import InvalidInput
from hardlabel.experiments.runs import RUNNING, listed
from hardlabel.experiments.tidy import free, spare
from hardlabel.reports.text import table_of
from hardlabel.store import default_store

HEADS = ["run", "state", "data", "begun", "pieces made", "and found", "size"]


def runs(
    folder: Annotated[
        Path, typer.Argument(help="A folder of run folders; those the store knows are listed anyway.")
    ] = Path("runs"),
) -> None:
    """List runs and their state: finished, running (by whom), broken off, gone (Markdown when piped)."""
    rows = []
    for run in listed(default_store(), folder):
        state = f"{run.state}: {run.holder}" if run.state == RUNNING and run.holder is not None else run.state
        begun = datetime.datetime.fromisoformat(run.started).strftime("%Y-%m-%d %H:%M") if run.started else ""
        found = len(run.pieces) - run.made
        rows.append([_short(run.folder), state, run.data, begun, str(run.made), str(found), size(run.bytes)])
    console = Console()
    if not console.is_terminal:
        typer.echo(table_of(HEADS, rows))
        return
    table = Table()
    for head in HEADS:
        table.add_column(head, overflow="fold")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Free without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be freed, and stop.")] = False,
    unclaimed: Annotated[
        bool,
        typer.Option("--unclaimed", help="Also pieces that no run ever needed: of library calls, of earlier versions."),
    ] = False,
) -> None:
    """Free pieces that no run needs: those of runs whose folders are gone, and drafts of killed processes.

    What a run turns out to need after all is made again. A run folder that was moved counts as gone until its
    command is run again.
    """
    store = default_store()
    found = spare(store, unclaimed=unclaimed)
    for run in found.gone:
        typer.echo(f"gone: {run}", err=True)
    told = f"{found.pieces} pieces in {len(found.files)} files, {size(found.bytes)}, in {store.root}"
    if dry_run or not found.files:
        typer.echo(f"{'would free' if found.files else 'nothing to free:'} {told}")
        return
    if not yes:
        if not Console().is_terminal:
            raise InvalidInput(f"yes must be given where nobody can be asked: would free {told}")
        typer.confirm(f"free {told}?", abort=True)
    free(found)
    typer.echo(f"freed {told}")


def size(count: int) -> str:
    """Bytes as a person reads them."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _short(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)

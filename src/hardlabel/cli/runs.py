"""Commands about runs: list them, and free pieces that no run needs."""

import datetime
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hardlabel import printed
from hardlabel.checks import InvalidInput
from hardlabel.cli.lists import print_table
from hardlabel.cli.progress import put, say
from hardlabel.kinds import KINDS

HEADS = ["run", "state", "answer", "data", "begun", "pieces made", "pieces reused", "size", "verdict"]
FEW = ["run", "state", "verdict", "begun"]  # What a terminal shows that is narrower than WIDE.
WIDE = 150


def runs(
    folder: Annotated[
        Path, typer.Argument(help="A folder of run folders. Runs that the store knows are always listed.")
    ] = Path("runs"),
) -> None:
    """List runs: state (finished, running and by whom, broken off, gone) and verdict (Markdown when piped)."""
    from hardlabel.reports.text import table_of
    from hardlabel.runs.listing import FINISHED, RUNNING, listed
    from hardlabel.store import default_store

    rows, notes = [], []
    for run in listed(default_store(), folder, records=[kind.file for kind in KINDS.rows.values()]):
        state = f"{run.state}: {run.holder}" if run.state == RUNNING and run.holder is not None else run.state
        begun = datetime.datetime.fromisoformat(run.started).strftime("%Y-%m-%d %H:%M") if run.started else ""
        others = len(run.pieces) - run.made
        answer, verdict = _answer(run.folder) if run.state == FINISHED else (run.problem, "")
        name = _short(run.folder)
        rows.append([name, state, answer, run.data, begun, str(run.made), str(others), size(run.bytes), verdict])
        if run.problem or (run.state == RUNNING and run.holder is not None):
            notes.append(f"{name}: {run.problem or run.holder}")
    if not Console().is_terminal:
        put(table_of(HEADS, rows))
    elif Console().width >= WIDE:
        print_table(None, HEADS, rows)
    else:
        places = [HEADS.index(head) for head in FEW]
        few = [[row[place] for place in places] for row in rows]
        print_table(
            None, FEW, [[row[0], row[1].partition(":")[0], *row[2:]] for row in few], whole=FEW[1:], lines=False
        )
        for note in notes:
            say(note)


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and stop.")] = False,
    unclaimed: Annotated[
        bool,
        typer.Option(
            "--unclaimed", help="Also pieces that no run ever needed: from library calls or earlier versions."
        ),
    ] = False,
) -> None:
    """Delete stored pieces that no run needs: of runs whose folders are gone, and drafts of killed processes.

    A run that still needs a piece makes it again. A run folder that was moved
    counts as gone until its command is run again.
    """
    from hardlabel.runs.tidy import free, spare
    from hardlabel.store import default_store

    store = default_store()
    unneeded = spare(store, unclaimed=unclaimed)
    for folder in unneeded.gone:
        say(f"gone: {folder}")
    amount = f"{unneeded.pieces} pieces in {len(unneeded.files)} files, {size(unneeded.bytes)}, in {store.root}"
    if dry_run or not unneeded.files:
        put(f"{'would free' if unneeded.files else 'nothing to free:'} {amount}")
        return
    if not yes:
        if not Console().is_terminal:
            raise InvalidInput(f"yes must be given where there is no terminal to ask at: would free {amount}")
        typer.confirm(printed.line(f"free {amount}?"), abort=True)
    free(unneeded)
    put(f"freed {amount}")


def _answer(folder: Path) -> tuple[str, str]:
    """The title of the record in a run folder, and its verdict in a word or two; or that it cannot be read."""
    kind = next(kind for kind in KINDS.rows.values() if os.path.exists(folder / kind.file))
    try:
        record = kind.load("record").without_scores(folder)
        return record.title, record.brief
    except InvalidInput:
        return "the record cannot be read", "unreadable"


def size(count: int) -> str:
    """A number of bytes for people to read."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.0f} kB"


def _short(folder: Path) -> str:
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)

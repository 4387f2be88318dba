"""The command about the ledger of a run: which rows were sent to the target, and what became of them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hardlabel.cli.lists import print_table
from hardlabel.cli.progress import put

HEADS = ["asked for", "sent", "answered", "refused", "unknown", "under way"]
FIGURES = ("sent", "answered", "refused", "unknown", "under_way")


def ledger(
    run: Annotated[Path, typer.Argument(help="A run folder, or the file of a ledger.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of a table.")] = False,
) -> None:
    """Show the rows sent to a target, by attack and in total (Markdown when piped).

    Answered rows and rows whose answer is unknown count against budgets.
    Refused rows count as sent only.
    """
    from hardlabel.oracles.ledger import LEDGER, read_counts
    from hardlabel.reports.text import table_of

    counts = read_counts(run / LEDGER if run.is_dir() else run)
    totals = {name: sum(getattr(count, name) for count in counts) for name in FIGURES}
    if as_json:
        rows = [
            {"target": count.target, "asked_for": count.purpose, **{name: getattr(count, name) for name in FIGURES}}
            for count in counts
        ]
        put(json.dumps({"rows": rows, "total": totals}, indent=2))
        return
    several = len({count.target for count in counts}) > 1
    heads = ["target", *HEADS] if several else HEADS
    cells = [
        [*([count.target] if several else []), count.purpose, *(f"{getattr(count, name):,}" for name in FIGURES)]
        for count in counts
    ]
    cells.append([*([""] if several else []), "total", *(f"{totals[name]:,}" for name in FIGURES)])
    if Console().is_terminal:
        print_table(None, heads, cells)
    else:
        put(table_of(heads, cells))

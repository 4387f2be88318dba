"""Lists that the command line prints: the attacks, and the strongest attack for a budget."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from hardlabel import printed
from hardlabel.cli.progress import put, say

WIDE = 140  # A terminal with this many columns has room for the whole table of attacks.
DOMAINS = "image, continuous, binary, mixed table, tokens, series"


def list_attacks(
    budget: Annotated[
        int | None,
        typer.Option(help="Most queries per sample: names the strongest label-only attack within N.", metavar="N"),
    ] = None,
    domain: Annotated[str | None, typer.Option("--domain", "--data", help=f"Kind of data: {DOMAINS}.")] = None,
    no_trainer: Annotated[
        bool, typer.Option("--no-trainer", help="The attacker trains no models, as with --trainer none.")
    ] = False,
    surrogate: Annotated[
        bool,
        typer.Option("--surrogate", help="The attacker trains models, but not as the target was: --trainer surrogate."),
    ] = False,
    no_data: Annotated[
        bool, typer.Option("--no-data", help="The attacker has no samples but those it asks about.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Also show what data each attack suits, what it needs, and its source.")
    ] = False,
) -> None:
    """List the attacks: what each sees, asks and does (Markdown when piped).

    With --budget, the list begins with the strongest label-only attack within
    that many queries per sample, and the reason.
    """
    from hardlabel.reports import catalogue
    from hardlabel.reports.attacker import queries
    from hardlabel.reports.text import table_of

    means = None
    if budget is not None or domain is not None or no_trainer or surrogate or no_data:
        usual = catalogue.Means().budget if budget is None else budget
        means = catalogue.Means(
            budget=usual, kind=domain, trainer=not no_trainer, alike=not surrogate, data=not no_data
        )
    heads, rows = catalogue.heads(means, every=every), catalogue.rows(means, every=every)
    if means is not None:
        title = f"The strongest label-only attack within {queries(means.budget)} per sample"
        if not sys.stdout.isatty():
            put(f"{title}:\n\n{table_of(catalogue.RUNGS, catalogue.rung_rows(means))}\n")
        else:
            print_table(title, catalogue.RUNGS, catalogue.rung_rows(means), whole=("attack", "queries"))
    if not sys.stdout.isatty():
        put(table_of(heads, rows))
    else:
        from rich.console import Console

        # Of the whole table only wide terminals show the columns on data and method; a name is never cut.
        wide = not every or Console().width >= WIDE
        columns = [column for column, head in enumerate(heads) if wide or head not in ("data", "what it does")]
        cells = [[row[column] for column in columns] for row in rows]
        print_table("Attacks", [heads[column] for column in columns], cells, whole=("name", "sees"), lines=every)
    if means is None and not every:
        say("hint: `hardlabel attacks --all` also shows what each attack needs and where it comes from")
    if means is None:
        say("hint: `hardlabel attacks --budget 10` names the strongest label-only attack within 10 queries per sample")


def print_table(
    title: str | None,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    whole: Sequence[str] = (),
    lines: bool = True,
) -> None:
    """Prints a table on the terminal; columns in `whole` are never wrapped, no cell is read as markup.

    Without `lines` between the cells, there is more room for them.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=None if title is None else Text(printed.line(title)))
    if not lines:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(Text(printed.line(head)), no_wrap=head in whole, overflow="fold")
    for cells in rows:
        table.add_row(*(Text(printed.line(text)) for text in cells))
    Console().print(table)

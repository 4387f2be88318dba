"""Progress of the command line on stderr: lines, and a bar for the current stage."""

import typer
from rich.console import Console

from hardlabel import printed
from hardlabel.runs import bar

# Paths and names may hold anything: neither [brackets] nor :colons: mean anything here.
errors = Console(stderr=True, markup=False, emoji=False, highlight=False)


def say(text: str) -> None:
    """Prints a line on stderr, unless it is empty; line ends and control characters in it are written out."""
    if text:
        errors.print(printed.line(text), soft_wrap=True)


def put(text: object) -> None:
    """Prints a result on stdout; control characters are written out."""
    typer.echo(printed.lines(text))


class Bar(bar.Bar):
    """Progress on the command line's stderr."""

    def __init__(self) -> None:
        super().__init__(errors)

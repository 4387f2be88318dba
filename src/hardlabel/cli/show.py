"""What the command line shows of a finished run: after the run, and by `hardlabel show`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardlabel.checks import InvalidInput
from hardlabel.cli.progress import errors, put, say
from hardlabel.kinds import load, markdown, write_report

if TYPE_CHECKING:  # Importing it loads pandas; the help must be fast.
    from hardlabel.records.base import Record

REPORT, PDF = "report.html", "report.pdf"


def show(
    folder: Annotated[Path, typer.Argument(metavar="run", help="A run folder.")],
    verdict: Annotated[bool, typer.Option("--verdict", help="The verdict alone, in two lines.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The results as JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="The main table as CSV.")] = False,
    model_card: Annotated[bool, typer.Option("--model-card", help="A section for a model card, and metadata.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the report to this file.", metavar="FILE")] = None,
    pdf: Annotated[Path | None, typer.Option(help="Write the report to this PDF file.", metavar="FILE")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
) -> None:
    """Print the figures of a finished run of any kind, in Markdown; or its verdict, JSON, CSV or report."""
    chosen = [
        name
        for name, given in (("verdict", verdict), ("json", as_json), ("csv", as_csv), ("model-card", model_card))
        if given
    ]
    if len(chosen) > 1:
        raise InvalidInput(f"{chosen[1]} must come without --{chosen[0]}: each says how the run is printed")
    record = load(folder)
    if html is not None:
        write_report(record, html)
        put(html)
    if pdf is not None:
        write_pdf(record, pdf)
        put(pdf)
    if open_it:
        report = folder / REPORT if html is None else html
        if not report.exists():
            write_report(record, report)
        open_in_browser(report)
    if chosen:
        put(_FORMS[chosen[0]](record))
    elif html is None and pdf is None and not open_it:
        put(markdown(record))


def _csv(record: "Record[Any]") -> str:
    return str(record.table().to_csv(index=False)).removesuffix("\n")


def _json(record: "Record[Any]") -> str:
    return str(record.results.model_dump_json(indent=1))


def _verdict(record: "Record[Any]") -> str:
    from hardlabel.reports.summary import verdict_lines

    return "\n".join(verdict_lines(record))


def _model_card(record: "Record[Any]") -> str:
    from hardlabel.reports.model_card import card

    return card(record)


_FORMS = {"verdict": _verdict, "json": _json, "csv": _csv, "model-card": _model_card}


def say_verdict(record: "Record[Any]") -> None:
    """Prints the verdict in two lines on stderr."""
    from hardlabel.reports.summary import verdict_lines

    for line in verdict_lines(record):
        say(line)


def say_steps(record: "Record[Any]", places: Mapping[str, str]) -> None:
    """Prints what to do next on stderr, each command in a line of its own."""
    from hardlabel.reports.summary import step_lines

    for line in step_lines(record, places):
        say(line)


def write_pdf(record: "Record[Any]", path: Path) -> None:
    """Prints the report of a record to a PDF file."""
    from hardlabel.reports.pdf import write_pdf as write

    write(record, path)


def open_in_browser(report: Path) -> None:
    """Opens a report, or says where it is if there is no browser."""
    import webbrowser

    if not webbrowser.open(report.absolute().as_uri()):
        say(f"no browser could be opened: {report}")


def offer(folder: Path) -> None:
    """Says at a terminal how the report is opened."""
    if errors.is_terminal:
        import shlex

        say(f"open the report: hardlabel show {shlex.quote(str(folder))} --open")

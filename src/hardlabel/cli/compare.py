"""The command that compares runs."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from hardlabel.checks import InvalidInput, shown
from hardlabel.cli.options import with_default
from hardlabel.cli.progress import put, say
from hardlabel.kinds import load
from hardlabel.store import write_text


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two run folders or more; the first is the baseline.")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison as one HTML file.", metavar="FILE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON in place of Markdown.")] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(help="Fail if this is proven: 'change(label.auc) > 0.02'; repeatable.", metavar="CONDITION"),
    ] = None,
    undecided: Annotated[
        str | None,
        typer.Option(
            help=with_default("What an undecided gate counts as.", "exit code 4"),
            metavar="pass|fail",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Compare runs: what changed between versions of a model, with intervals (Markdown on stdout).

    Changes are paired if the runs asked about the same records. Exit codes: 3
    if a condition of --fail-if is proven, 4 if a condition is neither proven
    nor excluded.
    """
    from hardlabel.records.change_gate import changes_gate, parse_change
    from hardlabel.records.compared import compare as compared
    from hardlabel.reports import gate_outputs
    from hardlabel.reports.compared import comparison_markdown, comparison_page

    if undecided not in (None, "pass", "fail"):
        raise InvalidInput(f"undecided must be pass or fail, got {shown(undecided)}")
    if len(runs) < 2:
        raise InvalidInput(f"runs must be two run folders or more, got {len(runs)}")
    for text in fail_if or []:
        parse_change(text)  # Before anything is read.
    records = [load(run) for run in runs]
    comparison = compared(records[0], records[1], *records[2:], names=_names(runs))
    if out is not None:
        write_text(comparison_page(comparison), out=out)
        say(f"comparison: {out}")
    put(comparison.model_dump_json(indent=1) if as_json else comparison_markdown(comparison))
    if not fail_if:
        return
    result = changes_gate(comparison, fail_if)
    wanted: Literal["pass", "fail"] | None = undecided  # type: ignore[assignment]
    for line in gate_outputs.plain(result):
        say(line)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in gate_outputs.annotations(result, undecided=wanted):
            say(line)
    code = gate_outputs.exit_code(result.outcome, wanted)
    if code:
        raise typer.Exit(code)


def _names(runs: list[Path]) -> list[str]:
    """The folders' last names; as typed where two are alike."""
    names = [os.path.basename(os.path.abspath(run)) for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]

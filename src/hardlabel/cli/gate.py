"""The gate of the command line: what it says of a record, where it writes that, and the exit code."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hardlabel.checks import InvalidInput
from hardlabel.cli.progress import put, say
from hardlabel.kinds import load
from hardlabel.runs import conditions
from hardlabel.runs.settings import Gate, GateFiles

if TYPE_CHECKING:  # Importing it loads pandas.
    from hardlabel.records.base import Record

DOC = """Check conditions on the figures of a finished run: `hardlabel gate RUN --fail-if "label.auc > 0.60"`.

Without --fail-if, the conditions that the run began with count. Exit codes:
0 passed, 1 failed, 2 bad usage, 3 tripped, 4 undecided.
"""


def decide(options: dict[str, Any]) -> None:
    """The command `hardlabel gate`."""
    gate = Gate(**{name: options[name] for name in Gate.model_fields if options[name] is not None})
    files = GateFiles(**{name: options[name] for name in GateFiles.model_fields})
    record = load(options["run"])
    if not gate.gate:
        gate = _begun_with(record, gate)
    if not gate.gate:
        raise InvalidInput('gate must name a condition, such as --fail-if "label.auc > 0.60": the run has none')
    check(None, gate, files)
    finish(record, gate, files, tell=put)


def check(kind: str | None, gate: Gate, files: GateFiles) -> None:
    """Refuses, before a run is begun, conditions that it could never decide, and files that cannot be written.

    Args:
        kind: The kind of the run; None if it is done, since its record then says what it has.
        gate: The conditions.
        files: Where the outcome is written.

    Raises:
        InvalidInput: There is such a condition or file.
    """
    given = [name for name in GateFiles.model_fields if getattr(files, name) is not None]
    if not gate.gate:
        unused = [*(["undecided"] if gate.undecided is not None else []), *given]
        if unused:
            raise InvalidInput(f"{unused[0]} must come with a condition of the gate: give --fail-if")
        return
    if kind is not None:
        conditions.check([conditions.parse(text) for text in gate.gate], kind=kind)
    for name in given:
        if getattr(files, name).is_dir():
            raise InvalidInput(f"{name} must be a file, got the folder {str(getattr(files, name))!r}")


def finish(
    record: "Record[Any]", gate: Gate, files: GateFiles, *, tell: Callable[[str], None] = say, quiet: bool = False
) -> None:
    """Decides the gate on a finished record, writes its files, prints it and leaves with its exit code.

    Nothing happens without a condition.

    Args:
        record: The record, saved already.
        gate: The conditions.
        files: Where the outcome is written.
        tell: Prints a line.
        quiet: Whether nothing is printed if the gate passes.

    Raises:
        typer.Exit: The gate did not pass.
    """
    if not gate.gate:
        return
    from hardlabel.records.gate import gate as decided
    from hardlabel.reports import gate_outputs

    result = decided(record, gate.gate)
    markdown = gate_outputs.summary(result, title=record.title)
    code = gate_outputs.exit_code(result.outcome, gate.undecided)
    for line in gate_outputs.plain(result) if code or not quiet else ():
        tell(line)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in gate_outputs.annotations(result, undecided=gate.undecided):
            say(line)
    problems = []
    written = [(files.junit, gate_outputs.junit(result, undecided=gate.undecided), "w"), (files.summary, markdown, "w")]
    steps = os.environ.get("GITHUB_STEP_SUMMARY")
    written.append((Path(steps) if steps else None, markdown, "a"))
    for path, text, mode in written:
        problems += _written(path, text, mode)
    for problem in problems:
        say(problem)
    if problems and code == 0:  # Who reads only the file would never learn of it.
        code = 1
    if code:
        raise typer.Exit(code)


def _begun_with(record: "Record[Any]", gate: Gate) -> Gate:
    """The conditions in the record's settings; `undecided` as given, else as there."""
    stored = record.config.get("gate")
    texts: Sequence[Any] = stored if isinstance(stored, list) else []
    undecided = gate.undecided or record.config.get("undecided")
    return Gate(gate=list(texts), **({} if undecided is None else {"undecided": undecided}))


def _written(path: Path | None, text: str, mode: str) -> list[str]:
    """Writes a file; returns why it could not be written, if so. The outcome of the gate must not get lost."""
    if path is None:
        return []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        return [f"gate: {str(path)!r} cannot be written: {error.strerror or error}"]
    return []

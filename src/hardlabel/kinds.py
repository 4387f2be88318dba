"""The kinds of runs: one row for each kind joins its settings, audit, record and report.

To add a kind, add a row: it needs a module in `audits` with `prepare`, a record, a page and its Markdown.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardlabel import checks, printed
from hardlabel.checks import InvalidInput
from hardlabel.runs.folder import read_settings
from hardlabel.runs.kinds import Kind, Kinds
from hardlabel.runs.settings import (
    CanariesSettings,
    DefensesSettings,
    ModelSettings,
    RecipeSettings,
    RunSettings,
    TargetSettings,
)
from hardlabel.store import write_text

if TYPE_CHECKING:  # Importing these takes seconds; the help of the command line must be fast.
    from hardlabel.audits.game.execution import Execution
    from hardlabel.audits.plan import Plan
    from hardlabel.records.base import Record
    from hardlabel.store import Store

KINDS = Kinds(
    {
        "model": Kind(
            name="model",
            title="the audit of a model",
            settings=ModelSettings,
            command="audit",
            prepare="hardlabel.audits.model:prepare",
            record="hardlabel.records.model:AuditRecord",
            file="results.json",
            page="hardlabel.reports.html:model_page",
            markdown="hardlabel.reports.text:model_markdown",
            summary="hardlabel.reports.summary:parts",
        ),
        "recipe": Kind(
            name="recipe",
            title="the audit of a recipe",
            settings=RecipeSettings,
            command="audit",
            given="repeats",
            prepare="hardlabel.audits.recipe:prepare",
            record="hardlabel.records.recipe:RecipeRecord",
            file="recipe.json",
            page="hardlabel.reports.html:recipe_page",
            markdown="hardlabel.reports.text:recipe_markdown",
            summary="hardlabel.reports.summary:parts",
        ),
        "target": Kind(
            name="target",
            title="the audit of your model",
            settings=TargetSettings,
            command="audit",
            given="target",
            subject="target",
            prepare="hardlabel.audits.target:prepare",
            record="hardlabel.records.model:AuditRecord",
            file="results.json",
            page="hardlabel.reports.html:model_page",
            markdown="hardlabel.reports.text:model_markdown",
            summary="hardlabel.reports.summary:parts",
        ),
        "defenses": Kind(
            name="defenses",
            title="a comparison of defenses",
            settings=DefensesSettings,
            command="defend",
            prepare="hardlabel.audits.defenses:prepare",
            record="hardlabel.records.defenses:DefendRecord",
            file="defend.json",
            page="hardlabel.reports.html:defenses_page",
            markdown="hardlabel.reports.defend:defenses_markdown",
            listing="hardlabel.reports.defense_list:markdown",
        ),
        "canaries": Kind(
            name="canaries",
            title="an audit by canaries",
            settings=CanariesSettings,
            command="canaries",
            prepare="hardlabel.audits.canaries:prepare",
            record="hardlabel.records.canaries:CanaryRecord",
            file="canaries.json",
            page="hardlabel.reports.html:canaries_page",
            markdown="hardlabel.reports.text:canaries_markdown",
        ),
    }
)


def run(settings: RunSettings, *, store: "Store | None", execution: "Execution | None" = None) -> "Record[Any]":
    """Does the run that the settings describe, and saves its record in the run folder. Finished work is not repeated.

    Args:
        settings: For example `ModelSettings(data="digits", out="runs/digits")`; `out` must be set.
        store: Keeps models and measurements; None keeps nothing.
        execution: Where the work is done, the size of its pieces, and who sees progress; None for this machine.

    Raises:
        InvalidInput: A setting breaks a rule; raised before any training or query.
    """
    from hardlabel.audits import kind
    from hardlabel.audits.game.execution import USUAL

    return kind.run(KINDS, settings, store=store, execution=USUAL if execution is None else execution)


def planned(settings: RunSettings, *, store: "Store | None", execution: "Execution | None" = None) -> "Plan":
    """The plan of what `run` would do. Loads the data, trains nothing, writes nothing.

    Raises:
        InvalidInput: See `run`.
    """
    from hardlabel.audits import kind
    from hardlabel.audits.game.execution import USUAL

    return kind.planned(KINDS, settings, store=store, execution=USUAL if execution is None else execution)


def load(folder: str | Path) -> "Record[Any]":
    """The record in a run folder, of any kind.

    Args:
        folder: The run folder, as the command line or `record.save` wrote it.

    Raises:
        InvalidInput: A file is missing or damaged, or the record has a format that this version does not read.

    Example:
        >>> import hardlabel
        >>> hardlabel.load("runs/digits")
        <AuditRecord of digits: Severe leakage was measured>
        >>> hardlabel.load("nothing")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: run 'nothing' has no readable config.yaml: ...
    """
    checks.path(folder=folder)
    folder = Path(folder)
    # Also of names too long. Kinds that share a file share their record.
    kinds = {kind.file: kind for kind in KINDS.rows.values() if os.path.lexists(folder / kind.file)}
    # The file decides first: settings of older library calls name no kind.
    kind = next(iter(kinds.values())) if len(kinds) == 1 else KINDS.of(read_settings(folder))
    record: Record[Any] = kind.load("record").load(folder)
    return record


def kind_of(record: "Record[Any]") -> Kind:
    """The kind of a record.

    Raises:
        InvalidInput: It is no record.
    """
    for kind in KINDS.rows.values():
        if isinstance(record, kind.load("record")):
            return kind
    raise InvalidInput(f"record must be a record of an audit, got {checks.shown(record)}")


def render(record: "Record[Any]") -> str:
    """The report as HTML. The same record gives the same text."""
    return str(kind_of(record).load("page")(record))


def markdown(record: "Record[Any]") -> str:
    """The answer, and the figures as Markdown tables, for a README or a pull request.

    Names in the record, of data, groups, classes and attacks, are shown as they are: none is read as Markdown or HTML.
    """
    answer = "\n\n".join([f"**{printed.cell(record.title)}.**", *map(printed.paragraph, record.reasons)])
    return f"{answer}\n\n{kind_of(record).load('markdown')(record)}"


def write_report(record: "Record[Any]", path: str | Path) -> None:
    """Writes the report of a record as one HTML file in UTF-8, and makes missing folders.

    Args:
        record: A record from `audit`, `audit_recipe`, `defend`, `audit_canaries` or `load`.
        path: The file.

    Raises:
        InvalidInput: There is no such record, or the file cannot be written.
        OSError: The disk is full.

    Example:
        >>> import hardlabel
        >>> hardlabel.write_report(hardlabel.load("runs/digits"), "report.html")
    """
    checks.path(path=path)
    write_text(render(record), path=Path(path))

"""What a terminal shows of a finished audit: what was left out, the main figures, the attack that the ranking names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from hardlabel import printed
from hardlabel.records.base import Record
from hardlabel.records.model import AuditRecord
from hardlabel.records.recipe import RecipeRecord
from hardlabel.records.verdict import Grade
from hardlabel.reports.answers import answers
from hardlabel.reports.attacker import Costed, choice_line, rows_and_time
from hardlabel.reports.next_steps import next_steps
from hardlabel.reports.wording import SPACE, number

WIDE = 112  # Columns of a terminal that has room for what attacks cost on the attacker's own models.


def verdict_lines(record: Record[Any]) -> tuple[str, str]:
    """The verdict in two lines: the answer in words, and the figures behind it, as on the page.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.summary import verdict_lines
        >>> verdict_lines(hardlabel.load("runs/digits"))[0]
        'Severe leakage was measured. An outsider who sees only the predicted class can tell who was in ...'
    """
    found = answers(record)
    reasons = record.reasons if found.grade not in (Grade.NO_VERDICT, Grade.NOT_TESTED) else []
    title = "" if found.meaning.startswith(f"{found.title}.") else f"{found.title}. "
    first = f"{title}{found.meaning} {found.also}".strip()
    return _plain(first), _plain(" ".join([*found.leaking, *reasons, found.used]).strip())


def step_lines(record: Record[Any], places: Mapping[str, str] | None = None) -> Iterator[str]:
    """What to do next: a numbered line for each step, and its command in the next line; see `next_steps`."""
    for place, step in enumerate(next_steps(record, places=places), start=1):
        yield _plain(f"next {place}: {step.text}")
        if step.command is not None:
            yield f"        {step.command}"


def _plain(text: str) -> str:
    return text.replace(SPACE, " ")


def parts(record: AuditRecord | RecipeRecord, width: int) -> Iterator[str | Table]:
    """Lines and tables, in the order in which a terminal of `width` columns shows them."""
    results = record.results
    for absent in results.left_out:
        yield f"left out: {absent.name}: {absent.reason}"
    yield summary(record, wide=width >= WIDE)
    yield choice_line(results.choice, [attack.name for attack in results.attacks])


def summary(record: AuditRecord | RecipeRecord, *, wide: bool) -> Table:
    """One row per attack: 80 columns; wide, also what it cost on the attacker's own models."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    recipe = isinstance(record, RecipeRecord)
    own = ("models", "own rows, time") if wide else ()
    figures = ("mean AUC [95 %]", "spread") if recipe else ("AUC [95 %]", "balanced accuracy")
    for head in ("attack", "sees", "queries", *own, *figures):
        table.add_column(head, no_wrap=True)
    if isinstance(record, RecipeRecord):
        for one in record.results.attacks:
            table.add_row(*_cells(*_costs(one, wide), one.auc, one.spread))
    else:
        for attack in record.results.attacks:
            table.add_row(*_cells(*_costs(attack, wide), attack.auc, attack.balanced_accuracy))
    return table


def _cells(*values: object) -> list[Text]:
    """Cells that Rich shows as they are: names of attacks may hold its markup."""
    return [Text(printed.line(value)) for value in values]


def _costs(attack: Costed, wide: bool) -> Sequence[str]:
    told = [attack.name, attack.access, f"{attack.queries_per_sample.mean:.4g}"]
    if wide:
        told += [number(attack.references), rows_and_time(attack).replace(SPACE, " ")]
    return told

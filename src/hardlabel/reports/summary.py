"""An audit's main figures as a table for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from hardlabel.experiments.recipe_record import RecipeRecord
from hardlabel.experiments.record import AuditRecord
from hardlabel.reports.attacker import Costed, rows_and_time
from hardlabel.reports.wording import SPACE, number


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
            table.add_row(*_costs(one, wide), str(one.auc), str(one.spread))
    else:
        for attack in record.results.attacks:
            table.add_row(*_costs(attack, wide), str(attack.auc), str(attack.balanced_accuracy))
    return table


def _costs(attack: Costed, wide: bool) -> Sequence[str]:
    told = [attack.name, attack.access, f"{attack.queries_per_sample.mean:.4g}"]
    if wide:
        told += [number(attack.references), rows_and_time(attack).replace(SPACE, " ")]
    return told

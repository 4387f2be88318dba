"""The table of defenses as users read it."""

from hardlabel.defenses.table import TABLE
from hardlabel.reports.text import table_of

HEADS = (
    "name",
    "changes",
    "training that suits",
    "what it does",
    "level",
    "usual levels",
    "costs apart from accuracy",
    "source",
)


def rows() -> list[list[str]]:
    """One per defense."""
    return [
        [
            row.name,
            " and ".join(["training"] * row.trains + ["training data"] * row.prepares + ["answers"] * row.guards)
            + (", never labels" * row.keeps_labels),
            row.suits,
            row.summary,
            row.knob,
            ", ".join(f"{level:g}" for level in row.levels),
            row.cost,
            row.source,
        ]
        for row in TABLE.values()
    ]


def markdown() -> str:
    """The table in Markdown."""
    return table_of(HEADS, rows())

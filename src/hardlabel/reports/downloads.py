"""The figures of a record as files inside its page."""

import base64
from dataclasses import dataclass
from typing import Any

from hardlabel.records.base import Record

LARGEST = 2**23  # Bytes of a file that a page carries; a larger one stands only beside the page.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # A spreadsheet takes text that begins so for a formula.


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file inside a page: its name, what it holds, and its content as a data URI."""

    name: str
    title: str
    uri: str


def downloads(record: Record[Any]) -> list[Download]:
    """The results as JSON and the main table as CSV; a file of more than LARGEST bytes is left out."""
    files = [
        ("json", "application/json", "every figure (JSON)", record.results.model_dump_json(indent=1).encode()),
        ("csv", "text/csv", "the main table (CSV)", csv_of(record).encode()),
    ]
    return [
        Download(
            name=f"hardlabel-{record.id}.{ending}",
            title=title,
            uri=f"data:{kind};base64,{base64.b64encode(content).decode()}",
        )
        for ending, kind, title, content in files
        if len(content) <= LARGEST
    ]


def csv_of(record: Record[Any]) -> str:
    """The main table as CSV. Text that a spreadsheet would run as a formula begins with an apostrophe."""
    return str(record.table().map(_no_formula).to_csv(index=False, lineterminator="\n"))


def _no_formula(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value

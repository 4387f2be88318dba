"""The pages of the viewer: the list of runs, a run's report, and two runs compared.

A page names a run by a short number made from its folder. What a browser sends is only looked up among the runs that
are listed; it never becomes a path.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardlabel import printed
from hardlabel.checks import InvalidInput
from hardlabel.kinds import KINDS, load, render
from hardlabel.records.base import Record
from hardlabel.records.compared import compare
from hardlabel.reports.compared import comparison_page
from hardlabel.reports.templates import filled
from hardlabel.runs.folder import CONFIG
from hardlabel.runs.listing import FINISHED, RUNNING, Run, listed
from hardlabel.store import Store

UNREADABLE = "the record cannot be read"
LONGEST_FILTER = 200  # Characters of a filter that are looked at.


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run in the list.

    Attributes:
        key: What a page calls the run.
        folder: The run folder.
        name: The folder's last name.
        state: Finished, running and by whom, broken off, gone or damaged.
        answer: The verdict, or why there is none.
        data: The audited data.
        begun: ISO 8601; empty if unknown.
        readable: Whether there is a report to open.
    """

    key: str
    folder: Path
    name: str
    state: str
    answer: str
    data: str
    begun: str
    readable: bool

    def holds(self, words: Sequence[str]) -> bool:
        """Whether the row has every one of these words, in whatever case."""
        text = " ".join((self.name, self.state, self.answer, self.data, self.begun)).casefold()
        return all(word in text for word in words)


class Runs:
    """All runs that a viewer shows.

    Args:
        place: A folder of run folders, beside which those that the store knows are listed; or one run folder, which is
            then the only run.
        store: The store.
    """

    def __init__(self, place: Path, store: Store) -> None:
        self._place, self._store = place, store
        self._alone = os.path.lexists(place / CONFIG)

    def rows(self) -> list[Row]:
        """The runs, latest first."""
        return [_row(run) for run in reversed(self._listed())]

    def row(self, key: str) -> Row | None:
        """The run that a page calls so; None if none is listed."""
        return next((_row(run) for run in self._listed() if _key(run) == key), None)

    def _listed(self) -> list[Run]:
        records = [kind.file for kind in KINDS.rows.values()]
        runs = listed(self._store, self._place.absolute().parent if self._alone else self._place, records=records)
        return [run for run in runs if run.folder.absolute() == self._place.absolute()] if self._alone else runs

    def list_page(self, words: str) -> str:
        """The list of the runs that have all these words."""
        words = words[:LONGEST_FILTER]
        rows, wanted = self.rows(), words.casefold().split()
        shown = [row for row in rows if row.holds(wanted)]
        return filled("runs.html.jinja", rows=shown, words=words, all=len(rows))

    def report_page(self, row: Row) -> str:
        """A run's report, drawn from its record.

        Raises:
            InvalidInput: The record cannot be read.
        """
        return render(load(row.folder))

    def compared_page(self, first: Row, second: Row) -> str:
        """What changed from the first run to the second.

        Raises:
            InvalidInput: A record cannot be read, or the two are of several kinds.
        """
        records: list[Record[Any]] = [load(row.folder) for row in (first, second)]
        names = [first.name, second.name] if first.name != second.name else [str(first.folder), str(second.folder)]
        return comparison_page(compare(records[0], records[1], names=names))


def problem_page(title: str, problem: str) -> str:
    """A page that says in one line what is wrong."""
    return filled("problem.html.jinja", title=title, problem=printed.line(problem))


def _key(run: Run) -> str:
    return hashlib.sha256(os.fsencode(run.folder.absolute())).hexdigest()[:16]


def _row(run: Run) -> Row:
    answer, readable = _answer(run.folder) if run.state == FINISHED else (run.problem, False)
    state = f"{run.state}: {run.holder}" if run.state == RUNNING and run.holder is not None else run.state
    return Row(
        key=_key(run),
        folder=run.folder,
        name=printed.line(run.folder.name),
        state=printed.line(state),
        answer=printed.line(answer),
        data=printed.line(run.data),
        begun=run.started,
        readable=readable,
    )


def _answer(folder: Path) -> tuple[str, bool]:
    """The title of the record in a folder, or why there is none, and whether it can be read."""
    kind = next((kind for kind in KINDS.rows.values() if os.path.lexists(folder / kind.file)), None)
    if kind is None:  # It went while it was looked at.
        return UNREADABLE, False
    try:
        return str(kind.load("record").title_in(folder)), True
    except InvalidInput as error:
        return f"{UNREADABLE}: {error}", False

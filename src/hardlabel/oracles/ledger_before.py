"""Ledgers of the version before, with a row of the file for each attempt: read, counted, brought up to date."""

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

VERSION = 1
SCHEMA = (
    "CREATE TABLE accounts (number INTEGER PRIMARY KEY, target TEXT NOT NULL, purpose TEXT NOT NULL, "
    "spent INTEGER NOT NULL, UNIQUE (target, purpose))",
    "CREATE TABLE holder (secret TEXT NOT NULL)",
    "CREATE TABLE processes (number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE)",
    "CREATE TABLE attempts (account INTEGER NOT NULL, sample INTEGER NOT NULL, row BLOB NOT NULL, "
    "occurrence INTEGER NOT NULL, attempt INTEGER NOT NULL, state INTEGER NOT NULL, process INTEGER NOT NULL, "
    "answer, PRIMARY KEY (account, sample, row, occurrence, attempt)) WITHOUT ROWID",
    "CREATE TABLE spent (account INTEGER NOT NULL, sample INTEGER NOT NULL, rows INTEGER NOT NULL, "
    "PRIMARY KEY (account, sample)) WITHOUT ROWID",
    "CREATE INDEX under_way ON attempts (process) WHERE state = 0",
)
TABLES = ("accounts", "attempts", "spent")  # Those that this version has no more, or in another form.


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Attempts of one account and process with the same fate.

    Attributes:
        account, process, state: Of all of them.
        samples, rows, occurrences: Their questions, (n,) each.
        answers: Their answers, (n,); None where there is none.
    """

    account: int
    process: int
    state: int
    samples: list[int]
    rows: list[bytes]
    occurrences: list[int]
    answers: list[Any]


def batches(connection: sqlite3.Connection, *, most: int) -> Iterator[Batch]:
    """All attempts in batches of at most `most` rows, those at the same question in their order."""
    attempts = connection.execute(
        "SELECT attempt, account, process, state, typeof(answer), length(answer), sample, row, occurrence, answer "
        "FROM attempts ORDER BY attempt, account, process, state, typeof(answer), length(answer)"
    )
    for _, group in itertools.groupby(attempts, key=lambda attempt: attempt[:5]):
        while rows := list(itertools.islice(group, most)):
            _, account, process, state, *_ = rows[0]
            samples, names, occurrences, answers = map(list, zip(*(row[6:] for row in rows), strict=True))
            yield Batch(
                account=account,
                process=process,
                state=state,
                samples=samples,
                rows=names,
                occurrences=occurrences,
                answers=answers,
            )


def counts(connection: sqlite3.Connection) -> dict[int, Counter[tuple[int, int]]]:
    """By account: the number of rows by (state, process)."""
    rows: dict[int, Counter[tuple[int, int]]] = {}
    for account, state, process, count in connection.execute(
        "SELECT account, state, process, COUNT(*) FROM attempts GROUP BY account, state, process"
    ):
        rows.setdefault(account, Counter())[state, process] += count
    return rows

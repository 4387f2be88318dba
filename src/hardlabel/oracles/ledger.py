"""A ledger of every row that is sent to a paid target: nothing paid for is lost, and no budget is exceeded.

Before a batch is sent, its rows are written down; their answers are written down when they arrive. Whatever ends the
process in between, the rows are there: they count as spent, and an answer that arrived need not be paid for again.

The file holds batches and what became of them, both only ever added to. What follows from them is kept in memory: which
questions were asked, and how many rows count against each sample. It is brought up to date in every transaction in
which another process has written.
"""

import contextlib
import errno
import os
import re
import secrets
import sqlite3
import stat
import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from hardlabel import checks, turns
from hardlabel.checks import InvalidInput
from hardlabel.oracles import ledger_before
from hardlabel.oracles.stopped import Stopped
from hardlabel.secret import keyed

if sys.platform != "win32":
    import fcntl

LEDGER = "ledger.sqlite"  # The name of the ledger in a run folder.
WAIT = 60.0  # Seconds to wait for another process that writes.
SYNCED_EVERY = 0.1  # Seconds between two times that what was written is brought to the disk, beside the asking.
LONGEST_UNSYNCED = 1.0  # Seconds; where the disk takes longer, the asking waits. If a process dies, nothing is lost.
LOOKED_UP = 10_000  # Most rows that are looked up while other processes cannot write.
ROW_BYTES = 16  # Of the hash that names a row.
KEY_BYTES = ROW_BYTES + 12  # Of a question.
READ_AGAIN = 64  # Batches whose answers are kept in memory while questions are answered from the file.
_APPLICATION, _VERSION = 0x68_6C_6C_31, 2  # In the file's header.
_TOKEN = r"[0-9a-f]{32}"  # Names a process.
_SCHEMA = (
    "CREATE TABLE accounts (number INTEGER PRIMARY KEY, target TEXT NOT NULL, purpose TEXT NOT NULL, "
    "UNIQUE (target, purpose))",
    "CREATE TABLE holder (secret TEXT NOT NULL)",
    "CREATE TABLE processes (number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE)",
    "CREATE TABLE batches (number INTEGER PRIMARY KEY, account INTEGER NOT NULL, process INTEGER NOT NULL, "
    "keys BLOB NOT NULL)",
    "CREATE TABLE fates (number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, state INTEGER NOT NULL, places BLOB, "
    "answers BLOB)",
    "CREATE INDEX fates_of ON fates (batch)",
)
_KEY = np.dtype([("sample", "<i8"), ("row", f"V{ROW_BYTES}"), ("occurrence", "<u4")])
_PLACE = np.dtype("<u4")  # A row's place in its batch.


class State(IntEnum):
    """The fate of one attempt at one row. A refused row counts as sent only, all others count as spent."""

    SENT = 0
    ANSWERED = 1
    REFUSED = 2
    UNKNOWN = 3


def question(sample: int, row: bytes, occurrence: int = 0) -> bytes:
    """The bytes that name a question of an account.

    Args:
        sample: A number below 2**63 that names the sample that pays.
        row: A hash of the row, of ROW_BYTES. Neither should tell anything to others: the ledger may be passed on.
        occurrence: How often the same row was asked before: 0, 1, ...

    Example:
        >>> from hardlabel.oracles.ledger import question
        >>> question(7, b"a hash, 16 bytes", 0).hex()
        '07000000000000006120686173682c20313620627974657300000000'
    """
    return questions([sample], [row], [occurrence])[0]


def questions(samples: Sequence[int], rows: Sequence[bytes], occurrences: Sequence[int] | int = 0) -> list[bytes]:
    """The same for several questions, (n,) each; `occurrences` may be one number for all.

    Raises:
        InvalidInput: A row has not ROW_BYTES.

    Example:
        >>> from hardlabel.oracles.ledger import questions
        >>> [len(name) for name in questions([7, 8], [b"a hash, 16 bytes"] * 2)]
        [28, 28]
    """
    if set(map(len, rows)) - {ROW_BYTES}:
        wrong = next(len(row) for row in rows if len(row) != ROW_BYTES)
        raise InvalidInput(f"rows must be named by hashes of {ROW_BYTES} bytes, got {wrong}")
    keys = np.empty(len(rows), dtype=_KEY)
    keys["sample"], keys["row"], keys["occurrence"] = (
        samples,
        np.frombuffer(b"".join(rows), keys["row"].dtype),
        occurrences,
    )
    return _parted(keys.tobytes())


class Attempt(NamedTuple):
    """An attempt that was written down and may be sent.

    Attributes:
        place: The question's place among the keys given.
        key: The question.
        batch: The batch in which it was written down.
        row: The question's place in that batch.
    """

    place: int
    key: bytes
    batch: int
    row: int


class Sent(Sequence[Attempt]):
    """All attempts of a batch, in its order.

    Attributes:
        batch: The batch.
    """

    def __init__(self, batch: int, places: Sequence[int], keys: Sequence[bytes]) -> None:
        self.batch, self._places, self._keys = batch, places, keys

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, row: int) -> Attempt: ...
    @overload
    def __getitem__(self, row: slice) -> list[Attempt]: ...
    def __getitem__(self, row: int | slice) -> Attempt | list[Attempt]:
        if isinstance(row, slice):
            return [self[place] for place in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        return Attempt(self._places[row], self._keys[row], self.batch, row)


Answer = int | bytes


@dataclass(frozen=True)
class Admission:
    """What became of questions; see `Ledger.begin`. Places are those among the keys given.

    Attributes:
        seen: How many of the keys were looked at, from the first on.
        answers: The answers that the ledger has, by place.
        attempts: What was written down as sent, to be sent now.
        unpaid: Places of questions that the budget of their sample does not pay.
        elsewhere: Places of questions that are under way already, in another process as a rule.
        full: Whether no further row may be sent.
    """

    seen: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)
    attempts: Sequence[Attempt] = ()
    unpaid: list[int] = field(default_factory=list)
    elsewhere: list[int] = field(default_factory=list)
    full: bool = False


@dataclass(frozen=True)
class Count:
    """Rows sent to a target for one purpose.

    Attributes:
        target: The target's identity.
        purpose: An attack's name, or another purpose of the audit.
        answered, refused, unknown: Rows by their fate. Rows of a process that died are unknown.
        under_way: Rows that a living process waits for.
    """

    target: str
    purpose: str
    answered: int
    refused: int
    unknown: int
    under_way: int

    @property
    def sent(self) -> int:
        """All rows sent."""
        return self.answered + self.refused + self.unknown + self.under_way

    @property
    def spent(self) -> int:
        """Rows that count against budgets: all but those refused."""
        return self.sent - self.refused


@dataclass(eq=False)
class _UnderWay:
    """A batch of which some rows have no fate yet."""

    account: int
    process: int
    samples: NDArray[np.int64]
    states: NDArray[np.uint8]


@dataclass(eq=False)
class _Read:
    """A batch as it was read from the file: its rows by question, their states and answers."""

    rows: dict[bytes, int]
    states: NDArray[np.uint8]
    answers: list[Answer | None]


class Ledger:
    """The ledger in a file. Any number of processes and threads may share it.

    It remembers each question in about 110 bytes of memory.

    Args:
        path: The file; made if it is missing. Beside it lie SQLite's own files and a lock for each process.
        wait: Seconds to wait for another process that writes.

    Raises:
        InvalidInput: The file is damaged, is no ledger, was written under another secret (see `hardlabel.secret`),
            cannot be written to, stays locked, or an earlier version of hardlabel is still writing to it.
        OSError: The disk is full.
        Stopped: The disk fails.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from hardlabel.oracles.ledger import Ledger, State, question
        >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "ledger.sqlite")
        >>> account = ledger.account("https://example.org/credit", "noise")
        >>> asked = question(sample=7, row=b"a hash, 16 bytes", occurrence=0)
        >>> sent = ledger.begin(account, [asked], budget=50).attempts
        >>> ledger.settle(account, sent, State.ANSWERED, [1])
        >>> ledger.begin(account, [asked], budget=50).answers
        {0: 1}
    """

    def __init__(self, path: str | Path, *, wait: float = WAIT) -> None:
        checks.path(path=path)
        self.path, self._wait = Path(path), wait
        self._lock = threading.RLock()
        self._disk = _Disk(self.path)
        self._known: dict[int, dict[bytes, int]] = {}  # By account and question: the batch of the last attempt.
        self._repeats: dict[int, dict[bytes, int]] = {}  # By account and question without its occurrence: the last one.
        self._spent: dict[int, Counter[int]] = {}  # By account and sample: rows that count.
        self._under_way: dict[int, _UnderWay] = {}
        self._read: OrderedDict[int, _Read] = OrderedDict()
        self._total = 0  # Rows that count, of all accounts.
        self._last_batch = self._last_fate = 0  # The last that memory knows of.
        self._change: int | None = None  # SQLite's number of the last change by others that memory knows of.
        self._change_before: int | None = None
        self._full: bool | None = None  # Whether SQLite waits for the disk now.
        _check_file(self.path)
        self._token = secrets.token_hex(16)
        self._alive: int | None = None  # The open lock that says that this process lives.
        with _errors(self.path, wait):
            self._connection = sqlite3.connect(
                self.path, timeout=wait, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def _open(self) -> None:
        run = self._connection.execute
        run("PRAGMA trusted_schema = OFF")
        if run("SELECT 1 FROM sqlite_master").fetchone():
            _check_content(self._connection, self.path)  # Before anything of somebody else's is changed.
            _check_secret(self._connection, self.path)
        run("PRAGMA journal_mode = WAL")
        with self._changing():
            if not run("SELECT 1 FROM sqlite_master").fetchone() and not run("PRAGMA application_id").fetchone()[0]:
                for statement in _SCHEMA:
                    run(statement)
                run("INSERT INTO holder VALUES (?)", (keyed(b"ledger", purpose="ledger"),))
                run(f"PRAGMA application_id = {_APPLICATION}")
                run(f"PRAGMA user_version = {_VERSION}")
            elif run("PRAGMA user_version").fetchone()[0] == ledger_before.VERSION:
                _check_content(self._connection, self.path)
                self._bring_up_to_date()
        _check_content(self._connection, self.path)
        _check_secret(self._connection, self.path)
        self._alive = _held(_alive(self.path, self._token))  # Before others can read of this process.
        with self._changing():
            run("INSERT INTO processes (token) VALUES (?)", (self._token,))
            [self._process] = run("SELECT number FROM processes WHERE token = ?", (self._token,)).fetchone()
        self.bury()

    def _bring_up_to_date(self) -> None:
        """Writes a ledger of the version before as one of this version; within a transaction."""
        run = self._connection.execute
        if any(_lives(self.path, token) for (token,) in run("SELECT token FROM processes").fetchall()):
            raise InvalidInput(
                f"ledger {str(self.path)!r} is in use by an earlier version of hardlabel: wait until that run has ended"
            )
        accounts = run("SELECT number, target, purpose FROM accounts").fetchall()
        for statement in _SCHEMA[3:]:
            run(statement)
        for batch in ledger_before.batches(self._connection, most=LOOKED_UP):
            keys = b"".join(questions(batch.samples, batch.rows, batch.occurrences))
            number = run("INSERT INTO batches VALUES (NULL, ?, ?, ?)", (batch.account, batch.process, keys)).lastrowid
            if batch.state != State.SENT:
                run("INSERT INTO fates VALUES (NULL, ?, ?, NULL, ?)", (number, batch.state, _packed(batch.answers)))
        for table in ledger_before.TABLES:
            run(f"DROP TABLE {table}")
        run(_SCHEMA[0])
        self._connection.executemany("INSERT INTO accounts VALUES (?, ?, ?)", accounts)
        run(f"PRAGMA user_version = {_VERSION}")

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Rows that are still under way then count as of unknown fate."""
        with self._lock:
            self._connection.close()
            if self._alive is not None:
                _alive(self.path, self._token).unlink(missing_ok=True)
                os.close(self._alive)
                self._alive = None
            self._disk.close()

    def account(self, target: str, purpose: str) -> int:
        """The number of the account of a target and a purpose; made if it is missing."""
        with self._writing(synced=False) as connection:
            connection.execute("INSERT OR IGNORE INTO accounts VALUES (NULL, ?, ?)", (target, purpose))
            [number] = connection.execute(
                "SELECT number FROM accounts WHERE target = ? AND purpose = ?", (target, purpose)
            ).fetchone()
        return int(number)

    def begin(
        self,
        account: int,
        keys: Sequence[bytes],
        *,
        most: int = LOOKED_UP,
        budget: int | None = None,
        max_rows: int | None = None,
    ) -> Admission:
        """Looks for answers, and writes down as sent what has none and may be sent.

        When it returns, this outlives the process. A tenth of a second later it outlives the machine as a rule, and
        after two seconds for certain: to wait for the disk each time would take longer than many requests. Each attempt
        must get its fate by `settle`.

        Args:
            account: The account that pays.
            keys: The questions, in the order in which they are to be sent; see `question`. A question that stands twice
                is sent once.
            most: Most rows to send now; the questions after these are not looked at.
            budget: Most rows that count against one sample of the account; None for no limit.
            max_rows: Most rows that count, of all accounts together; None for no limit. A target that has changed its
                version since the ledger began gets no new ones.
        """
        with self._lock:
            synced = self._disk.late()
            places: Sequence[int]
            with self._writing(synced=synced):
                room = None if max_rows is None else max(0, max_rows - self._total)
                wanted = list(keys[: min(most, LOOKED_UP)])
                packed = b"".join(wanted)
                if self._all_new(account, wanted, packed, budget, room):
                    admission, places = Admission(seen=len(wanted)), range(len(wanted))
                else:
                    admission, places = self._looked_up(account, keys[:LOOKED_UP], most, budget, room)
                    wanted = [keys[place] for place in places]
                    packed = b"".join(wanted)
                if not wanted:
                    return admission
                batch = self._connection.execute(
                    "INSERT INTO batches VALUES (NULL, ?, ?, ?)", (account, self._process, packed)
                ).lastrowid
                assert batch is not None, "a row was inserted"
            self._add(batch, account, self._process, packed, wanted)
            self._current()
        self._disk.written(synced=synced)
        return replace(admission, attempts=Sent(batch, places, wanted))

    def _all_new(self, account: int, keys: list[bytes], packed: bytes, budget: int | None, room: int | None) -> bool:
        """Whether all questions can be sent: none was ever asked, none stands twice, and all can be paid.

        That is what happens most of the time, and it takes a tenth of the time to see.
        """
        known = self._known.get(account, {})
        if not keys or (room is not None and room < len(keys)):
            return False
        if not known.keys().isdisjoint(keys) or len(set(keys)) < len(keys):
            return False
        if budget is None:
            return True
        spent = self._spent.get(account, Counter())
        samples, rows = np.unique(np.frombuffer(packed, _KEY)["sample"], return_counts=True)
        if max(map(spent.__getitem__, samples.tolist())) + int(rows.max()) <= budget:
            return True  # Whoever has spent most could pay for the sample with most rows.
        return all(spent[sample] + rows <= budget for sample, rows in _tally(np.frombuffer(packed, _KEY)["sample"]))

    def _looked_up(
        self, account: int, keys: Sequence[bytes], most: int, budget: int | None, room: int | None
    ) -> tuple[Admission, Sequence[int]]:
        """What becomes of each question, and the places of those that are to be sent."""
        answers: dict[int, Answer] = {}
        unpaid: list[int] = []
        elsewhere: list[int] = []
        places: list[int] = []
        begun: set[bytes] = set()
        known, spent = self._known.get(account, {}), self._spent.get(account, Counter())
        more: Counter[int] = Counter()
        seen, full = 0, False
        for place, key in enumerate(keys):
            if len(places) >= most or full:
                break
            batch, sample = known.get(key), _sample(key)
            state, answer = (State.REFUSED, None) if batch is None else self._fate(batch, key)
            if state == State.ANSWERED and answer is not None:
                answers[place] = answer
            elif key in begun or state == State.SENT:
                elsewhere.append(place)
            elif budget is not None and spent[sample] + more[sample] >= budget:
                unpaid.append(place)
            elif room is not None and len(places) >= room:
                full = True
                break
            else:
                more[sample] += 1
                places.append(place)
                begun.add(key)
            seen += 1
        return Admission(seen, answers, (), unpaid, elsewhere, full), places

    def settle(
        self, account: int, attempts: Sequence[Attempt], state: State, answers: Sequence[Answer] | None = None
    ) -> None:
        """Writes down the fate of attempts.

        An unknown fate may still become known, since both count; a late refusal gives nothing back.

        Args:
            account, attempts: As given to `begin` and returned by it.
            state: The fate of all of them.
            answers: An answer for each, to be given again for free; None if there is none that could be used.
        """
        del account  # The batch knows it.
        kept: Sequence[Answer | None] = [None] * len(attempts) if answers is None else answers
        batches: dict[int, tuple[Sequence[int], Sequence[Answer | None]]] = {}
        if isinstance(attempts, Sent):
            batches[attempts.batch] = range(len(attempts)), kept
        else:
            for attempt, answer in zip(attempts, kept, strict=True):
                rows, given = batches.get(attempt.batch, ((), ()))
                batches[attempt.batch] = (*rows, attempt.row), (*given, answer)
        # Not synced: if the machine dies before these bytes are on disk, the rows count as spent all the same.
        with self._lock:
            with self._writing(synced=False):
                fates = [self._write_fate(batch, state, *settled) for batch, settled in batches.items()]
            for fate in fates:
                self._apply(*fate)
            self._current()

    def _write_fate(
        self, batch: int, state: State, rows: Sequence[int], answers: Sequence[Answer | None]
    ) -> tuple[int, int, int, bytes | None]:
        """Adds a fate of rows of a batch to the file; returns what `_apply` is to be told after the transaction."""
        waiting = self._under_way.get(batch)
        assert len(rows) == len(answers), "each row has an answer, or none has"
        whole = waiting is not None and rows == range(len(waiting.states))
        places = None if whole else np.array(rows, dtype=_PLACE).tobytes()
        number = self._connection.execute(
            "INSERT INTO fates VALUES (NULL, ?, ?, ?, ?)", (batch, int(state), places, _packed(answers))
        ).lastrowid
        assert number is not None, "a row was inserted"
        return number, batch, int(state), places

    def knows(self, account: int, key: bytes) -> bool:
        """Whether a question was asked before, as far as this process knows by now."""
        return key in self._known.get(account, {})

    def next_occurrence(self, account: int, sample: int, row: bytes) -> int:
        """The number of occurrences of a row that the ledger has; the next one has this number."""
        with self._reading():
            first = question(sample, row)
            last = self._repeats.get(account, {}).get(first[:-4])
            return 1 + (last if last is not None else -1 + (first in self._known.get(account, {})))

    def spent(self, account: int, sample: int) -> int:
        """Rows that count against a sample of an account: answered, under way, or of unknown fate."""
        with self._reading():
            return self._spent.get(account, Counter())[sample]

    def bury(self) -> int:
        """Calls the fate of rows unknown that processes had under way when they died; returns how many rows."""
        with self._lock:
            with self._writing(synced=False) as connection:
                fates, rows = [], 0
                for process, token in connection.execute("SELECT number, token FROM processes").fetchall():
                    if process == self._process or _lives(self.path, token):
                        continue
                    for batch, waiting in self._under_way.items():
                        if waiting.process == process:
                            places = np.flatnonzero(waiting.states == State.SENT)
                            rows += len(places)
                            none = [None] * len(places)
                            fates.append(self._write_fate(batch, State.UNKNOWN, places.tolist(), none))
                    if re.fullmatch(_TOKEN, str(token)):
                        _alive(self.path, str(token)).unlink(missing_ok=True)
            for fate in fates:
                self._apply(*fate)
            self._current()
            return rows

    def counts(self) -> list[Count]:
        """Rows sent, for each target and purpose, in the order in which they were first asked for."""
        with self._reading() as connection:
            return _counts(connection, self.path)

    def _fate(self, batch: int, key: bytes) -> tuple[int, Answer | None]:
        """The state of a question in a batch, and its answer."""
        if batch not in self._read:
            self._read[batch] = self._batch(batch)
            if len(self._read) > READ_AGAIN:
                self._read.popitem(last=False)
        self._read.move_to_end(batch)
        read = self._read[batch]
        row = read.rows[key]
        return int(read.states[row]), read.answers[row]

    def _batch(self, number: int) -> _Read:
        """A batch as the file has it."""
        run = self._connection.execute
        [keys] = run("SELECT keys FROM batches WHERE number = ?", (number,)).fetchone()
        names = _parted(_blob(keys))
        read = _Read({name: row for row, name in enumerate(names)}, np.zeros(len(names), np.uint8), [None] * len(names))
        for state, places, blob in run(
            "SELECT state, places, answers FROM fates WHERE batch = ? ORDER BY number", (number,)
        ):
            rows = _rows_of(places, len(names))
            answers = _unpacked(blob, len(rows))
            for place, changed in enumerate(_changed(read.states, state, rows).tolist()):
                if changed and answers is not None:
                    read.answers[int(rows[place])] = answers[place]
        return read

    def _add(self, batch: int, account: int, process: int, packed: bytes, keys: list[bytes]) -> None:
        """Remembers a batch that is in the file."""
        fields = np.frombuffer(packed, _KEY)
        samples = fields["sample"]
        self._known.setdefault(account, {}).update(dict.fromkeys(keys, batch))
        self._count(account, samples, 1)
        occurrences = fields["occurrence"]
        if occurrences.any():
            repeats = self._repeats.setdefault(account, {})
            for row in np.flatnonzero(occurrences).tolist():
                name = keys[row][:-4]
                repeats[name] = max(int(occurrences[row]), repeats.get(name, 0))
        self._under_way[batch] = _UnderWay(account, process, samples, np.zeros(len(keys), np.uint8))
        self._last_batch = batch

    def _apply(self, fate: int, batch: int, state: int, places: bytes | None) -> None:
        """Remembers a fate that is in the file."""
        waiting = self._under_way.get(batch)
        self._read.pop(batch, None)
        self._last_fate = fate
        if waiting is None:  # All its rows had a fate, so that no sample pays more or less than before.
            return
        rows = _rows_of(places, len(waiting.states))
        changed = rows[_changed(waiting.states, state, rows)]
        if state == State.REFUSED:
            self._count(waiting.account, waiting.samples[changed], -1)
        if (waiting.states != State.SENT).all():
            del self._under_way[batch]

    def _count(self, account: int, samples: NDArray[np.int64], sign: int) -> None:
        spent = self._spent.setdefault(account, Counter())
        for sample, rows in _tally(samples):
            spent[sample] += sign * rows
        self._total += sign * len(samples)

    def _catch_up(self) -> None:
        """Remembers what others have written since; within a transaction."""
        run = self._connection.execute
        [change] = run("PRAGMA data_version").fetchone()
        if change == self._change:
            return
        self._change = None
        for batch, account, process, keys in run(
            "SELECT number, account, process, keys FROM batches WHERE number > ? ORDER BY number", (self._last_batch,)
        ):
            self._add(batch, account, process, _blob(keys), _parted(_blob(keys)))
        for fate in run(
            "SELECT number, batch, state, places FROM fates WHERE number > ? ORDER BY number", (self._last_fate,)
        ):
            self._apply(*fate)
        self._change = change

    def _current(self) -> None:
        """What this process wrote is remembered; if it is interrupted before, it reads that from the file again."""
        self._change = self._change_before

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """A transaction that others cannot write in, on disk when it ends."""
        run = self._connection.execute
        if self._full is not True:
            run("PRAGMA synchronous = FULL")
            self._full = True
        try:  # An interrupt may come as soon as the transaction is open.
            run("BEGIN IMMEDIATE")
            yield
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _writing(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        """A transaction. Within it no other process writes; `synced` waits until all that was written is on disk."""
        with self._lock, _errors(self.path, self._wait):
            run = self._connection.execute
            if self._full is not synced:
                run(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
                self._full = synced
            try:
                run("BEGIN IMMEDIATE")
                self._catch_up()
                self._change_before, self._change = self._change, None
                yield self._connection
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _errors(self.path, self._wait):
            run = self._connection.execute
            try:
                run("BEGIN")
                self._catch_up()
                yield self._connection
            finally:
                if self._connection.in_transaction:
                    run("ROLLBACK")


class _Disk:
    """Brings what was written to the disk, in a thread of its own: to wait for it would keep the target waiting.

    Args:
        path: The ledger; SQLite writes into the file of this name with "-wal" first.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.with_name(f"{path.name}-wal")
        self._since: float | None = None  # When the first thing was written that is not on disk yet.
        self._work, self._end = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = ""

    def written(self, *, synced: bool) -> None:
        """Something was written; with `synced` it is on disk already."""
        if synced:
            self._since = None
            return
        if self._since is None:
            self._since = time.monotonic()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._work.set()

    def late(self) -> bool:
        """Whether what was written has not been brought to the disk for too long.

        Raises:
            Stopped: The disk fails.
        """
        if self._failed:
            raise Stopped(self._failed)
        return self._since is not None and time.monotonic() > self._since + LONGEST_UNSYNCED

    def close(self) -> None:
        self._end.set()
        self._work.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            handle = os.open(self._file, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
        except OSError:
            return  # What is written is then late, and waited for.
        try:
            while not self._end.is_set():
                self._work.wait()
                self._work.clear()
                self._since = None  # Before: what is written from now on may come too late for this time.
                os.fsync(handle)
                self._end.wait(SYNCED_EVERY)
        except OSError as error:
            self._failed = f"the ledger {str(self._file)!r} cannot be written: {error.strerror}"
        finally:
            os.close(handle)


def read_counts(path: Path) -> list[Count]:
    """Rows sent, as the ledger in a file says; the file may be foreign, and nothing in it is changed.

    Raises:
        InvalidInput: There is no such file, it is damaged, or it is no ledger.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from hardlabel.oracles.ledger import Ledger, read_counts
        >>> path = Path(tempfile.mkdtemp()) / "ledger.sqlite"
        >>> Ledger(path).close()
        >>> read_counts(path)
        []
    """
    if not os.path.lexists(path):
        raise InvalidInput(f"ledger {str(path)!r} must be a ledger, got no file: runs on endpoints have one")
    _check_file(path)
    with _errors(path, WAIT):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT)
        with contextlib.closing(connection):
            connection.execute("PRAGMA trusted_schema = OFF")
            _check_content(connection, path)
            return _counts(connection, path)


def _counts(connection: sqlite3.Connection, path: Path) -> list[Count]:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    by_state = ledger_before.counts(connection) if version == ledger_before.VERSION else _by_state(connection)
    tokens = dict(connection.execute("SELECT number, token FROM processes").fetchall())
    asking = {process for counter in by_state.values() for state, process in counter if state == State.SENT}
    living = {process for process in asking if _lives(path, tokens.get(process))}
    counts = []
    for number, target, purpose in connection.execute("SELECT number, target, purpose FROM accounts ORDER BY number"):
        fates: Counter[str] = Counter()
        for (state, process), rows in by_state.get(number, Counter()).items():
            fate = {State.ANSWERED: "answered", State.REFUSED: "refused"}.get(state, "unknown")  # type: ignore[call-overload]
            fates["under_way" if state == State.SENT and process in living else fate] += rows
        if fates:
            counts.append(
                Count(
                    target=str(target),
                    purpose=str(purpose),
                    answered=fates["answered"],
                    refused=fates["refused"],
                    unknown=fates["unknown"],
                    under_way=fates["under_way"],
                )
            )
    return counts


def _by_state(connection: sqlite3.Connection) -> dict[int, Counter[tuple[int, int]]]:
    """By account: the number of rows by (state, process)."""
    fates: dict[int, list[tuple[int, Any]]] = {}
    for batch, state, places in connection.execute("SELECT batch, state, places FROM fates ORDER BY number"):
        fates.setdefault(batch, []).append((state, places))
    rows: dict[int, Counter[tuple[int, int]]] = {}
    for batch, account, process, size in connection.execute(
        "SELECT number, account, process, length(keys) FROM batches"
    ):
        if not isinstance(size, int) or size % KEY_BYTES:
            raise sqlite3.DatabaseError("a batch has no whole questions")
        states = np.zeros(size // KEY_BYTES, np.uint8)
        for state, places in fates.get(batch, ()):
            _changed(states, state, _rows_of(places, len(states)))
        for state, count in _tally(states):
            rows.setdefault(account, Counter())[state, process] += count
    return rows


def _tally(values: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Each value, and how often it stands there."""
    different, counts = np.unique(values, return_counts=True)
    return zip(different.tolist(), counts.tolist(), strict=True)


def _changed(states: NDArray[np.uint8], state: Any, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Gives rows of a batch a fate; returns which of them (n,) it changed.

    The first answer counts. A row of unknown fate may still be answered, but not be refused: somebody may have counted
    on its being spent.
    """
    if state not in (State.ANSWERED, State.REFUSED, State.UNKNOWN):
        raise sqlite3.DatabaseError("a fate is none")
    before = states[rows]
    changed: NDArray[np.bool_] = before == State.SENT
    if state == State.ANSWERED:
        changed |= before == State.UNKNOWN
    states[rows[changed]] = state
    return changed


def _rows_of(places: object, rows: int) -> NDArray[Any]:
    """Which rows of a batch a fate is about."""
    if places is None:
        return np.arange(rows)
    if not isinstance(places, bytes) or len(places) % _PLACE.itemsize:
        raise sqlite3.DatabaseError("a fate is about no rows")
    chosen = np.frombuffer(places, _PLACE)
    if (chosen >= rows).any():
        raise sqlite3.DatabaseError("a fate is about rows that the batch has not")
    return chosen


def _packed(answers: Sequence[Answer | None]) -> bytes | None:
    """Answers as bytes, the first of which says what they are; None where there are none."""
    given = [answer for answer in answers if answer is not None]
    if len(given) < len(answers) or not given:
        return None
    if isinstance(given[0], int):
        numbers = np.array(given, dtype="<i8")
        few = numbers.min() >= 0 and numbers.max() < 256
        return b"B" + numbers.astype(np.uint8).tobytes() if few else b"q" + numbers.tobytes()
    texts = [answer for answer in given if isinstance(answer, bytes)]
    assert len({len(text) for text in texts}) == 1, "scores are for the same classes"
    assert len(texts) == len(given), "answers are of one sort"
    return b"s" + b"".join(texts)


def _unpacked(blob: object, rows: int) -> list[Answer] | None:
    """The answers in bytes."""
    if blob is None:
        return None
    kind, content = (blob[:1], blob[1:]) if isinstance(blob, bytes) else (b"", b"")
    width = {b"B": 1, b"q": 8}.get(kind) or (len(content) // rows if rows else 0)
    if kind not in (b"B", b"q", b"s") or not width or len(content) != width * rows:
        raise sqlite3.DatabaseError("answers are none")
    if kind == b"s":
        return [content[place * width : (place + 1) * width] for place in range(rows)]
    numbers: list[Answer] = np.frombuffer(content, np.uint8 if kind == b"B" else "<i8").tolist()
    return numbers


def _blob(keys: object) -> bytes:
    if not isinstance(keys, bytes) or len(keys) % KEY_BYTES:
        raise sqlite3.DatabaseError("a batch has no whole questions")
    return keys


def _parted(packed: bytes) -> list[bytes]:
    """The questions in the bytes of a batch."""
    return [packed[start : start + KEY_BYTES] for start in range(0, len(packed), KEY_BYTES)]


def _sample(key: bytes) -> int:
    return int.from_bytes(key[:8], "little", signed=True)


def _alive(path: Path, token: str) -> Path:
    """The lock that a process holds as long as it lives."""
    return path.with_name(f".{path.name}.{token}.lock")


def _held(path: Path) -> int | None:
    """The locked new file at `path`; None where no file can be locked, as on Windows: others then take this process
    for dead, and may ask again what it waits for.
    """
    if sys.platform == "win32":
        return None
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _lives(path: Path, token: object) -> bool:
    """Whether the process with this token lives."""
    return isinstance(token, str) and bool(re.fullmatch(_TOKEN, token)) and turns.taken(_alive(path, token))


def _check_file(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInput(f"ledger {str(path)!r} cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"ledger {str(path)!r} must be a regular file: name another one")


def _check_content(connection: sqlite3.Connection, path: Path) -> None:
    """Refuses what is no ledger of ours: another application's, a later version's, or one with other tables in it."""
    [application] = connection.execute("PRAGMA application_id").fetchone()
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if application == _APPLICATION and version > _VERSION:
        raise InvalidInput(f"ledger {str(path)!r} was written by a later version of hardlabel: install that version")
    tables = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    schema = ledger_before.SCHEMA if version == ledger_before.VERSION else _SCHEMA
    if application != _APPLICATION or tables != set(schema):
        raise InvalidInput(f"ledger {str(path)!r} must be a ledger, got another database: name another file")
    [sound] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise sqlite3.DatabaseError(sound)


def _check_secret(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT secret FROM holder").fetchall() != [(keyed(b"ledger", purpose="ledger"),)]:
        raise InvalidInput(
            f"ledger {str(path)!r} was written under another secret, so its samples cannot be recognised: "
            "restore the secret, or begin a new run"
        )


@contextlib.contextmanager
def _errors(path: Path, wait: float) -> Iterator[None]:
    """Turns SQLite's errors into ours, each in one line."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # A mistake of ours, such as a question to a closed ledger.
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise InvalidInput(
                f"ledger {str(path)!r} is locked by another process for {wait:g} s: end that process, or name another "
                "file"
            ) from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise InvalidInput(f"ledger {str(path)!r} must be a writable file in a writable folder: {error}") from error
        if code == sqlite3.SQLITE_IOERR:
            raise Stopped(f"the ledger {str(path)!r} cannot be written: {error}") from error
        raise InvalidInput(
            f"ledger {str(path)!r} is damaged or no ledger ({error}): move it away; its list of paid rows is lost"
        ) from error

"""A ledger of every row that is sent to a paid target: nothing paid for is lost, and no budget is exceeded.

Before a batch is sent, each of its rows is written down; its answer is written down when it arrives. Whatever ends the
process in between, the row is there: it counts as spent, and its answer, if it arrived, need not be paid for again.
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
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from hardlabel import checks, turns
from hardlabel.checks import InvalidInput
from hardlabel.oracles.stopped import Stopped
from hardlabel.secret import keyed

if sys.platform != "win32":
    import fcntl

LEDGER = "ledger.sqlite"  # The name of the ledger in a run folder.
WAIT = 60.0  # Seconds to wait for another process that writes.
SYNCED_EVERY = 0.1  # Seconds; so much is lost at most if the machine dies. If a process dies, nothing is.
LOOKED_UP = 10_000  # Most rows that are looked up while other processes cannot write.
_APPLICATION, _VERSION = 0x68_6C_6C_31, 1  # In the file's header.
_TOKEN = r"[0-9a-f]{32}"  # Names a process.
_SCHEMA = (
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
_LAST = (
    "SELECT attempt, state, answer, process FROM attempts "
    "WHERE account = ? AND sample = ? AND row = ? AND occurrence = ? ORDER BY attempt DESC LIMIT 1"
)
_THIS = "account = ? AND sample = ? AND row = ? AND occurrence = ? AND attempt = ?"


class State(IntEnum):
    """The fate of one attempt at one row. A refused row counts as sent only, all others count as spent."""

    SENT = 0
    ANSWERED = 1
    REFUSED = 2
    UNKNOWN = 3


class Key(NamedTuple):
    """What names a question of an account.

    Attributes:
        sample: A number that names the sample that pays.
        row: A hash of the row. Neither should tell anything to others: the ledger may be passed on.
        occurrence: How often the same row was asked before: 0, 1, ...
    """

    sample: int
    row: bytes
    occurrence: int


class Attempt(NamedTuple):
    """An attempt that was written down and may be sent.

    Attributes:
        place: The question's place among the keys given.
        key: The question.
        number: How many attempts there were before.
    """

    place: int
    key: Key
    number: int


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
    attempts: list[Attempt] = field(default_factory=list)
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


class Ledger:
    """The ledger in a file. Any number of processes and threads may share it.

    Args:
        path: The file; made if it is missing. Beside it lie SQLite's own files and a lock for each process.
        wait: Seconds to wait for another process that writes.

    Raises:
        InvalidInput: The file is damaged, is no ledger, was written under another secret (see `hardlabel.secret`),
            cannot be written to, or stays locked.
        OSError: The disk is full.
        Stopped: The disk fails.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from hardlabel.oracles.ledger import Key, Ledger, State
        >>> ledger = Ledger(Path(tempfile.mkdtemp()) / "ledger.sqlite")
        >>> account = ledger.account("https://example.org/credit", "noise")
        >>> question = Key(sample=7, row=b"a hash", occurrence=0)
        >>> sent = ledger.begin(account, [question], budget=50).attempts
        >>> ledger.settle(account, sent, State.ANSWERED, [1])
        >>> ledger.begin(account, [question], budget=50).answers
        {0: 1}
    """

    def __init__(self, path: str | Path, *, wait: float = WAIT) -> None:
        checks.path(path=path)
        self.path, self._wait = Path(path), wait
        self._lock = threading.RLock()
        self._synced = -SYNCED_EVERY  # When all that was written was last on disk.
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
        run("PRAGMA journal_mode = WAL")
        with self._writing(synced=True):
            if not run("SELECT 1 FROM sqlite_master").fetchone() and not run("PRAGMA application_id").fetchone()[0]:
                for statement in _SCHEMA:
                    run(statement)
                run("INSERT INTO holder VALUES (?)", (keyed(b"ledger", purpose="ledger"),))
                run(f"PRAGMA application_id = {_APPLICATION}")
                run(f"PRAGMA user_version = {_VERSION}")
        _check_content(self._connection, self.path)
        if run("SELECT secret FROM holder").fetchall() != [(keyed(b"ledger", purpose="ledger"),)]:
            raise InvalidInput(
                f"ledger {str(self.path)!r} was written under another secret, so that its samples cannot be told: "
                "restore the secret, or begin a new run"
            )
        self._alive = _held(_alive(self.path, self._token))  # Before others can read of this process.
        with self._writing(synced=True):
            run("INSERT INTO processes (token) VALUES (?)", (self._token,))
            [self._process] = run("SELECT number FROM processes WHERE token = ?", (self._token,)).fetchone()
        self.bury()

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

    def account(self, target: str, purpose: str) -> int:
        """The number of the account of a target and a purpose; made if it is missing."""
        with self._writing(synced=False) as connection:
            connection.execute("INSERT OR IGNORE INTO accounts VALUES (NULL, ?, ?, 0)", (target, purpose))
            [number] = connection.execute(
                "SELECT number FROM accounts WHERE target = ? AND purpose = ?", (target, purpose)
            ).fetchone()
        return int(number)

    def begin(
        self,
        account: int,
        keys: Sequence[Key],
        *,
        most: int = LOOKED_UP,
        budget: int | None = None,
        max_rows: int | None = None,
    ) -> Admission:
        """Looks for answers, and writes down as sent what has none and may be sent.

        When it returns, this outlives the process. It outlives the machine if the last time was a tenth of a second
        ago: to wait for the disk each time would take longer than many requests. Each attempt must get its fate by
        `settle`.

        Args:
            account: The account that pays.
            keys: The questions, in the order in which they are to be sent. One that stands twice is sent once.
            most: Most rows to send now; the questions after these are not looked at.
            budget: Most rows that count against one sample of the account; None for no limit.
            max_rows: Most rows that count, of all accounts together; None for no limit. A target that has changed its
                version since the ledger began gets no new ones.
        """
        admission, seen, full = Admission(), 0, False
        begun: set[Key] = set()
        with self._writing(synced=time.monotonic() > self._synced + SYNCED_EVERY) as connection:
            room = self._room(max_rows)
            new = self._new(account, keys[: min(most, LOOKED_UP)], budget, room)
            if new is not None:
                return new
            spent: dict[int, int] = {}
            for place, key in enumerate(keys[:LOOKED_UP]):
                if len(admission.attempts) >= most or full:
                    break
                last = connection.execute(_LAST, (account, *key)).fetchone()
                if last is not None and last[1] == State.ANSWERED and last[2] is not None:
                    admission.answers[place] = last[2]
                elif key in begun or (last is not None and last[1] == State.SENT):
                    admission.elsewhere.append(place)
                elif budget is not None and self._spent(account, key.sample, spent) >= budget:
                    admission.unpaid.append(place)
                elif room is not None and len(admission.attempts) >= room:
                    full = True
                    break
                else:
                    spent[key.sample] = self._spent(account, key.sample, spent) + 1
                    admission.attempts.append(Attempt(place, key, 0 if last is None else last[0] + 1))
                    begun.add(key)
                seen += 1
            connection.executemany(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, 0, ?, NULL)",
                [(account, *key, number, self._process) for _, key, number in admission.attempts],
            )
            self._charge(account, Counter(attempt.key.sample for attempt in admission.attempts))
        return Admission(seen, admission.answers, admission.attempts, admission.unpaid, admission.elsewhere, full)

    def _new(self, account: int, keys: Sequence[Key], budget: int | None, room: int | None) -> Admission | None:
        """Writes all questions down as sent, if none was ever asked and all can be paid; else None, and does nothing.

        That is what happens most of the time, and it takes half as long.
        """
        connection = self._connection
        if not keys or (room is not None and room < len(keys)) or len(set(keys)) < len(keys):
            return None
        if connection.execute(_LAST, (account, *keys[0])).fetchone() is not None:
            return None
        rows = Counter(key.sample for key in keys)
        if budget is not None:
            marks = ", ".join("?" * len(rows))
            spent = connection.execute(
                f"SELECT sample, rows FROM spent WHERE account = ? AND sample IN ({marks})", (account, *rows)
            )
            already = dict(spent.fetchall())
            if any(already.get(sample, 0) + more > budget for sample, more in rows.items()):
                return None
        connection.execute("SAVEPOINT new")
        written = connection.executemany(
            "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?, ?, 0, 0, ?, NULL)",
            [(account, *key, self._process) for key in keys],
        ).rowcount
        if written < len(keys):
            connection.execute("ROLLBACK TO new")
        connection.execute("RELEASE new")
        if written < len(keys):
            return None
        self._charge(account, rows)
        return Admission(seen=len(keys), attempts=[Attempt(place, key, 0) for place, key in enumerate(keys)])

    def settle(
        self, account: int, attempts: Sequence[Attempt], state: State, answers: Sequence[Answer] | None = None
    ) -> None:
        """Writes down the fate of attempts.

        Args:
            account, attempts: As given to `begin` and returned by it.
            state: The fate of all of them.
            answers: An answer for each, to be given again for free; None if there is none that could be used.
        """
        kept: Sequence[Answer | None] = [None] * len(attempts) if answers is None else answers
        freed: Counter[int] = Counter()
        # An unknown fate may still become known, since both count; a late refusal gives nothing back.
        known = "state = 0" if state == State.REFUSED else "state IN (0, 3)"
        statement = f"UPDATE attempts SET state = ?, answer = ? WHERE {_THIS} AND {known}"
        rows = [
            (int(state), answer, account, *key, number) for (_, key, number), answer in zip(attempts, kept, strict=True)
        ]
        # Not synced: if the machine dies before these bytes are on disk, the rows count as spent all the same.
        with self._writing(synced=False) as connection:
            if state != State.REFUSED:
                connection.executemany(statement, rows)
                return
            for row, (_, key, _) in zip(rows, attempts, strict=True):
                if connection.execute(statement, row).rowcount:
                    freed[key.sample] -= 1
            self._charge(account, freed)

    def next_occurrence(self, account: int, sample: int, row: bytes) -> int:
        """The number of occurrences of a row that the ledger has; the next one has this number."""
        with self._reading() as connection:
            [last] = connection.execute(
                "SELECT MAX(occurrence) FROM attempts WHERE account = ? AND sample = ? AND row = ?",
                (account, sample, row),
            ).fetchone()
        return 0 if last is None else int(last) + 1

    def spent(self, account: int, sample: int) -> int:
        """Rows that count against a sample of an account: answered, under way, or of unknown fate."""
        with self._reading():
            return self._spent(account, sample, {})

    def bury(self) -> int:
        """Calls the fate of rows unknown that processes had under way when they died; returns how many rows."""
        with self._writing(synced=False) as connection:
            rows = 0
            for number, token in connection.execute("SELECT number, token FROM processes").fetchall():
                if number == self._process or _lives(self.path, token):
                    continue
                rows += connection.execute(
                    "UPDATE attempts SET state = ? WHERE state = 0 AND process = ?", (int(State.UNKNOWN), number)
                ).rowcount
                if re.fullmatch(_TOKEN, str(token)):
                    _alive(self.path, str(token)).unlink(missing_ok=True)
            return rows

    def counts(self) -> list[Count]:
        """Rows sent, for each target and purpose, in the order in which they were first asked for."""
        with self._reading() as connection:
            return _counts(connection, self.path)

    def _room(self, max_rows: int | None) -> int | None:
        """How many more rows may count; None for no limit."""
        if max_rows is None:
            return None
        [spent] = self._connection.execute("SELECT SUM(spent) FROM accounts").fetchone()
        return max(0, max_rows - int(spent or 0))

    def _spent(self, account: int, sample: int, known: dict[int, int]) -> int:
        if sample not in known:
            found = self._connection.execute(
                "SELECT rows FROM spent WHERE account = ? AND sample = ?", (account, sample)
            ).fetchone()
            known[sample] = 0 if found is None else int(found[0])
        return known[sample]

    def _charge(self, account: int, rows: Mapping[int, int]) -> None:
        if not rows:
            return
        self._connection.executemany(
            "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows",
            [(account, sample, more) for sample, more in rows.items()],
        )
        self._connection.execute(
            "UPDATE accounts SET spent = spent + ? WHERE number = ?", (sum(rows.values()), account)
        )

    @contextlib.contextmanager
    def _writing(self, *, synced: bool) -> Iterator[sqlite3.Connection]:
        """A transaction. Within it no other process writes; `synced` waits until it is on disk."""
        with self._lock, _errors(self.path, self._wait):
            run = self._connection.execute
            run(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            run("BEGIN IMMEDIATE")
            try:
                yield self._connection
                run("COMMIT")
                self._synced = time.monotonic() if synced else self._synced
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _errors(self.path, self._wait):
            yield self._connection


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


_UNDER_WAY = (
    "SELECT number, token FROM processes WHERE number IN (SELECT DISTINCT process FROM attempts WHERE state = 0)"
)


def _counts(connection: sqlite3.Connection, path: Path) -> list[Count]:
    dead = {number for number, token in connection.execute(_UNDER_WAY).fetchall() if not _lives(path, token)}
    rows: dict[int, Counter[str]] = {}
    for account, state, process, count in connection.execute(
        "SELECT account, state, CASE state WHEN 0 THEN process END AS asker, COUNT(*) FROM attempts "
        "GROUP BY account, state, asker"
    ):
        fate = {State.ANSWERED: "answered", State.REFUSED: "refused", State.SENT: "under_way"}.get(state, "unknown")
        rows.setdefault(account, Counter())["unknown" if process in dead else fate] += count
    return [
        Count(
            target=str(target),
            purpose=str(purpose),
            answered=fates["answered"],
            refused=fates["refused"],
            unknown=fates["unknown"],
            under_way=fates["under_way"],
        )
        for number, target, purpose in connection.execute(
            "SELECT number, target, purpose FROM accounts ORDER BY number"
        ).fetchall()
        if (fates := rows.get(number))
    ]


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
    if application != _APPLICATION or tables != set(_SCHEMA):
        raise InvalidInput(f"ledger {str(path)!r} must be a ledger, got another database: name another file")
    [sound] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if sound != "ok":
        raise sqlite3.DatabaseError(sound)


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
            raise InvalidInput(
                f"ledger {str(path)!r} must be a file that can be written to, in a folder that can: {error}"
            ) from error
        if code == sqlite3.SQLITE_IOERR:
            raise Stopped(f"the ledger {str(path)!r} cannot be written: {error}") from error
        raise InvalidInput(
            f"ledger {str(path)!r} is damaged or no ledger ({error}): move it away; what it says was paid for is lost"
        ) from error

"""The ledger: intents before answers, budgets over processes, replay, and files that are none of ours."""

import fcntl
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import called
from hardlabel.checks import InvalidInput
from hardlabel.oracles import ledger as ledgers
from hardlabel.oracles.ledger import ROW_BYTES, Ledger, State, question, questions, read_counts
from hardlabel.oracles.stopped import Stopped
from hardlabel.secret import keyed
from hardlabel.store import full_disk

TARGET = "https://example.org/credit"


def keys(*samples, row=b"r", occurrence=0):
    return questions(samples, [row.rjust(ROW_BYTES)] * len(samples), occurrence)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


def total(path):
    counts = read_counts(path)
    return {name: sum(getattr(count, name) for count in counts) for name in ("sent", "answered", "refused", "unknown")}


def test_an_answer_is_given_again_and_the_next_occurrence_is_another_question(path):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        sent = ledger.begin(account, keys(1, 2)).attempts
        ledger.settle(account, sent, State.ANSWERED, [5, 6])
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        again = ledger.begin(account, [*keys(2, 1), *keys(1, occurrence=1)])
        assert again.answers == {0: 6, 1: 5}
        assert [attempt.place for attempt in again.attempts] == [2]
        assert ledger.next_occurrence(account, 1, b"r".rjust(ROW_BYTES)) == 2
        assert ledger.begin(ledger.account(TARGET, "path"), keys(1)).answers == {}  # Attacks share nothing,
        assert ledger.begin(ledger.account("https://example.org/other", "noise"), keys(1)).answers == {}  # nor targets.


@given(
    budget=st.integers(1, 4),
    max_rows=st.none() | st.integers(1, 9),
    steps=st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=4), st.sampled_from(State)), max_size=12),
)
@settings(max_examples=40)
def test_nobody_is_charged_above_the_budget_whatever_becomes_of_the_rows(tmp_path_factory, budget, max_rows, steps):
    with Ledger(tmp_path_factory.mktemp("ledger") / "ledger.sqlite") as ledger:
        account = ledger.account(TARGET, "noise")
        spent, room = {0: 0, 1: 0, 2: 0}, max_rows
        for number, (samples, fate) in enumerate(steps):
            asked = [question(sample, bytes([number, place] * 8)) for place, sample in enumerate(samples)]
            admission = ledger.begin(account, asked, budget=budget, max_rows=max_rows)
            # The naive twin: row by row, whoever has budget left is sent.
            expected = []
            for place, sample in enumerate(samples):
                if spent[sample] >= budget:
                    assert place in admission.unpaid or admission.full
                elif room == 0:
                    assert admission.full
                    break
                else:
                    expected.append(place)
                    spent[sample] += 1
                    room = None if room is None else room - 1
            assert [attempt.place for attempt in admission.attempts] == expected
            if fate != State.SENT:
                ledger.settle(
                    account, admission.attempts, fate, [0] * len(expected) if fate == State.ANSWERED else None
                )
            if fate == State.REFUSED:
                for place in expected:
                    spent[samples[place]] -= 1
                    room = None if room is None else room + 1
            assert [ledger.spent(account, sample) for sample in range(3)] == list(spent.values())
            assert max(spent.values()) <= budget
            assert max_rows is None or sum(spent.values()) <= max_rows
        counted = ledger.counts()
        assert sum(count.spent for count in counted) == sum(spent.values())


def test_max_rows_holds_over_all_attacks_and_versions_of_a_target(path):
    with Ledger(path) as ledger:
        first, second = ledger.account(TARGET, "noise"), ledger.account(TARGET, "path")
        assert len(ledger.begin(first, keys(1, 2), max_rows=3).attempts) == 2
        rest = ledger.begin(second, keys(1, 2), max_rows=3)
        assert (len(rest.attempts), rest.full) == (1, True)
        assert ledger.begin(ledger.account("another version", "path"), keys(1), max_rows=3).full


@pytest.mark.parametrize("budget", [None, 5])
def test_what_is_known_is_told_wherever_it_stands_among_new_questions(path, budget):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        ledger.settle(account, ledger.begin(account, keys(3)).attempts, State.ANSWERED, [9])
        ledger.begin(account, keys(4))
        mixed = ledger.begin(account, keys(1, 3, 2, 4), budget=budget)
        assert (mixed.seen, mixed.answers, mixed.elsewhere) == (4, {1: 9}, [3])
        assert [attempt.place for attempt in mixed.attempts] == [0, 2]
        assert [ledger.spent(account, sample) for sample in (1, 2, 3, 4)] == [1, 1, 1, 1]
        assert ledger.counts()[0].sent == 4
        twice = ledger.begin(account, keys(5, 5), budget=budget)
        assert (len(twice.attempts), twice.elsewhere) == (1, [1])


def test_a_batch_ends_at_its_size_and_the_rest_is_not_looked_at(path):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        admission = ledger.begin(account, keys(1, 2, 3), most=2)
        assert (admission.seen, len(admission.attempts)) == (2, 2)


def test_rows_under_way_in_a_living_process_are_left_to_it_and_of_a_dead_one_are_unknown(path):
    with Ledger(path) as first, Ledger(path) as second:
        account = first.account(TARGET, "noise")
        sent = first.begin(account, keys(1), budget=1).attempts
        assert second.begin(account, keys(1), budget=1).elsewhere == [0]
        assert (second.bury(), read_counts(path)[0].under_way) == (0, 1)
        first.settle(account, sent, State.ANSWERED, [3])
        assert second.begin(account, keys(1), budget=1).answers == {0: 3}
    ready, child = os.pipe()
    process = os.fork()
    if not process:
        dying = Ledger(path)
        dying.begin(dying.account(TARGET, "path"), keys(1, 2))
        os.write(child, b"x")
        threading.Event().wait()
    os.read(ready, 1)
    assert read_counts(path)[1].under_way == 2
    os.kill(process, 9)
    os.waitpid(process, 0)
    assert (read_counts(path)[1].under_way, read_counts(path)[1].unknown) == (0, 2)
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "path")
        assert ledger.spent(account, 1) == 1
        assert ledger.begin(account, keys(1), budget=1).unpaid == [0]
        assert ledger.begin(account, keys(1), budget=2).attempts
    assert {file.name for file in path.parent.iterdir()} == {path.name}  # No lock is left.


def test_two_processes_that_share_a_ledger_send_each_row_once(path):
    Ledger(path).close()
    children, barrier = [], multiprocessing.get_context("fork").Barrier(2)
    for number in range(2):
        process = os.fork()
        if not process:
            code = 1
            try:
                with Ledger(path) as ledger:
                    account = ledger.account(TARGET, "noise")
                    order = random.Random(number).sample(range(200), 200)
                    barrier.wait()
                    while order:
                        admission = ledger.begin(account, keys(*order), most=7, budget=1)
                        answers = [order[attempt.place] % 3 for attempt in admission.attempts]
                        ledger.settle(account, admission.attempts, State.ANSWERED, answers)
                        assert all(answer == order[place] % 3 for place, answer in admission.answers.items())
                        assert not admission.unpaid
                        order = [order[place] for place in admission.elsewhere] + order[admission.seen :]
                code = 0
            finally:
                os._exit(code)
        children.append(process)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert total(path) == {"sent": 200, "answered": 200, "refused": 0, "unknown": 0}


class Interrupted:
    """A connection whose statement of one word is carried out, and then Ctrl-C is pressed."""

    def __init__(self, connection, word):
        self._connection, self._word = connection, word

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        done = self._connection.execute(statement, *values)
        if statement.startswith(self._word):
            raise KeyboardInterrupt
        return done


@pytest.mark.parametrize("word", ["BEGIN", "PRAGMA data_version", "INSERT", "COMMIT", "ROLLBACK"])
def test_an_interrupt_at_any_statement_leaves_the_ledger_to_those_who_still_write(path, word):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        sent = ledger.begin(account, keys(1, 2), budget=9).attempts
        connection = ledger._connection
        ledger._connection = Interrupted(connection, word)
        with pytest.raises(KeyboardInterrupt):
            ledger.spent(account, 1) if word == "ROLLBACK" else ledger.begin(account, keys(3), budget=9)
        assert not connection.in_transaction
        ledger._connection = connection
        ledger.settle(account, sent, State.ANSWERED, [0, 1])
        assert ledger.begin(account, keys(1, 2), budget=9).answers == {0: 0, 1: 1}
    assert total(path)["answered"] == 2


def test_a_late_answer_to_a_row_called_dead_is_kept_and_a_late_refusal_frees_nothing(path):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        sent = ledger.begin(account, keys(1, 2)).attempts
        ledger.settle(account, sent, State.UNKNOWN)
        ledger.settle(account, sent[:1], State.ANSWERED, [4])
        ledger.settle(account, sent[1:], State.REFUSED)
        assert (ledger.spent(account, 1), ledger.spent(account, 2)) == (1, 1)
        assert ledger.begin(account, keys(1)).answers == {0: 4}


BEFORE = """
CREATE TABLE accounts (number INTEGER PRIMARY KEY, target TEXT NOT NULL, purpose TEXT NOT NULL, \
spent INTEGER NOT NULL, UNIQUE (target, purpose));
CREATE TABLE holder (secret TEXT NOT NULL);
CREATE TABLE processes (number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE);
CREATE TABLE attempts (account INTEGER NOT NULL, sample INTEGER NOT NULL, row BLOB NOT NULL, \
occurrence INTEGER NOT NULL, attempt INTEGER NOT NULL, state INTEGER NOT NULL, process INTEGER NOT NULL, \
answer, PRIMARY KEY (account, sample, row, occurrence, attempt)) WITHOUT ROWID;
CREATE TABLE spent (account INTEGER NOT NULL, sample INTEGER NOT NULL, rows INTEGER NOT NULL, \
PRIMARY KEY (account, sample)) WITHOUT ROWID;
CREATE INDEX under_way ON attempts (process) WHERE state = 0;
PRAGMA application_id = 1751936049;
PRAGMA user_version = 1;
""".replace("\\\n", "")
OLD_TOKEN = "0" * 32


@pytest.fixture
def before(path):
    """A ledger as the version before wrote it: retried, refused, wrong and open rows, labels and scores."""
    first, second, third = (bytes([number] * ROW_BYTES) for number in range(3))
    scores = np.array([-0.5, -1.0], "<f4").tobytes()
    attempts = [
        (1, 7, first, 0, 0, State.UNKNOWN, None),
        (1, 7, first, 0, 1, State.ANSWERED, 300),
        (1, 7, first, 1, 0, State.ANSWERED, 2),
        (1, 7, second, 0, 0, State.REFUSED, None),
        (1, 8, third, 0, 0, State.SENT, None),
        (1, 9, third, 0, 0, State.ANSWERED, None),  # HTML, and no answer.
        (2, 7, first, 0, 0, State.ANSWERED, scores),
    ]
    with sqlite3.connect(path) as connection:
        connection.executescript(BEFORE)
        connection.execute("INSERT INTO holder VALUES (?)", (keyed(b"ledger", purpose="ledger"),))
        connection.execute("INSERT INTO processes VALUES (4, ?)", (OLD_TOKEN,))
        accounts = [(1, TARGET, "noise", 5), (2, TARGET, "loss", 1)]
        connection.executemany("INSERT INTO accounts VALUES (?, ?, ?, ?)", accounts)
        rows = [(*attempt[:6], 4, attempt[6]) for attempt in attempts]
        connection.executemany("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO spent VALUES (?, ?, ?)", [(1, 7, 3), (1, 8, 1), (1, 9, 1), (2, 7, 1)])
    connection.close()
    return scores


def test_a_ledger_of_the_version_before_is_counted_as_it_is_and_goes_on_where_it_was(path, before):
    content = path.read_bytes()
    counts = read_counts(path)
    assert [(c.purpose, c.answered, c.refused, c.unknown, c.under_way) for c in counts] == [
        ("noise", 3, 1, 2, 0),
        ("loss", 1, 0, 0, 0),
    ]
    assert path.read_bytes() == content
    first, second, third = (bytes([number] * ROW_BYTES) for number in range(3))
    for _ in range(2):  # The second time it is one of this version.
        with Ledger(path) as ledger:
            assert ledger.counts() == counts
            noise, loss = ledger.account(TARGET, "noise"), ledger.account(TARGET, "loss")
            assert [ledger.spent(noise, sample) for sample in (7, 8, 9)] == [3, 1, 1]
            assert ledger.next_occurrence(noise, 7, first) == 2
            asked = questions([7, 7, 8, 9], [first, first, third, third], [0, 1, 0, 0])
            again = ledger.begin(noise, asked, budget=1)
            assert (again.answers, again.unpaid) == ({0: 300, 1: 2}, [2, 3])
            assert ledger.begin(loss, [question(7, first)]).answers == {0: before}
            assert ledger.begin(noise, [question(7, second)], max_rows=6).full
    with Ledger(path) as ledger:
        sent = ledger.begin(noise, [question(7, second), question(8, third)], budget=4).attempts
        assert len(sent) == 2  # What was refused, and what is of unknown fate.
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchall() == [(2,)]


def test_a_ledger_that_the_version_before_still_writes_to_is_left_alone(path, before):
    with path.with_name(f".{path.name}.{OLD_TOKEN}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert read_counts(path)[0].under_way == 1
        with pytest.raises(InvalidInput, match="in use by an earlier version of hardlabel: wait until that run has"):
            Ledger(path)
    with Ledger(path) as ledger:
        assert ledger.counts()[0].unknown == 2


def test_what_another_process_wrote_counts_from_the_next_question_on(path):
    with Ledger(path) as first, Ledger(path) as second:
        account = first.account(TARGET, "noise")
        mine = first.begin(account, keys(1, 2), budget=2).attempts
        theirs = second.begin(account, keys(1, 3, row=b"s"), budget=2).attempts
        assert [each.spent(account, 1) for each in (first, second)] == [2, 2]
        assert first.begin(account, keys(1, row=b"t"), budget=2, max_rows=4).unpaid == [0]
        assert first.begin(account, keys(2, row=b"t"), budget=2, max_rows=4).full
        second.settle(account, theirs, State.REFUSED)
        assert [each.spent(account, 1) for each in (first, second)] == [1, 1]
        second.settle(account, theirs, State.ANSWERED, [1, 1])  # Too late: it was refused.
        first.settle(account, mine[:1], State.UNKNOWN)
        first.settle(account, mine, State.ANSWERED, [300, 5])
        known = second.begin(account, [*keys(1, 2), *keys(3, row=b"s")], budget=2)
        assert (known.answers, [attempt.place for attempt in known.attempts]) == ({0: 300, 1: 5}, [2])


def test_answers_of_many_batches_come_back_in_any_order(path, monkeypatch):
    monkeypatch.setattr(ledgers, "READ_AGAIN", 2)
    every = [question(sample, bytes([sample] * ROW_BYTES)) for sample in range(60)]
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        for start in range(0, 60, 7):
            sent = ledger.begin(account, every[start : start + 7]).attempts
            ledger.settle(account, sent, State.ANSWERED, [attempt.key[0] for attempt in sent])
    with Ledger(path) as ledger:
        order = random.Random(0).sample(range(60), 60)
        answers = ledger.begin(account, [every[place] for place in order]).answers
        assert answers == {place: sample for place, sample in enumerate(order)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE batches SET keys = x'0102'",
        "UPDATE batches SET keys = 'text'",
        "UPDATE fates SET state = 9",
        "UPDATE fates SET answers = x'4201'",
        "UPDATE fates SET answers = 7",
        "UPDATE fates SET places = x'ffffffff'",
        "UPDATE fates SET places = 5",
    ],
)
def test_a_ledger_whose_batches_make_no_sense_is_one_line(path, statement):
    written(path)
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(InvalidInput, match="damaged") as error, Ledger(path) as ledger:
        ledger.begin(ledger.account(TARGET, "noise"), keys(5))
    assert "\n" not in str(error.value)


def test_what_is_written_is_brought_to_the_disk_beside_the_asking_and_waited_for_where_that_takes_long(
    path, monkeypatch
):
    synced, go = [], threading.Event()
    monkeypatch.setattr(ledgers, "LONGEST_UNSYNCED", 0.05)
    monkeypatch.setattr(ledgers.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size) or go.wait())
    with Ledger(path) as ledger:
        account, statements = ledger.account(TARGET, "noise"), []
        ledger._connection.set_trace_callback(statements.append)
        ledger.begin(account, keys(1))
        while not synced:
            threading.Event().wait(0.001)
        assert synced[0] == path.with_name(f"{path.name}-wal").stat().st_size
        assert "PRAGMA synchronous = FULL" not in statements[:-3]
        ledger.begin(account, keys(2))
        threading.Event().wait(0.1)
        statements.clear()
        ledger.begin(account, keys(3))  # The disk is late.
        assert statements[0] == "PRAGMA synchronous = FULL"
        go.set()


def test_a_disk_that_fails_beside_the_asking_stops_it(path, monkeypatch):
    def failing(handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(ledgers.os, "fsync", failing)
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        ledger.begin(account, keys(1))
        ledger._disk._thread.join()
        with pytest.raises(Stopped, match="cannot be written: Input/output error"):
            ledger.begin(account, keys(2))


def other_database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (text TEXT)")


def with_a_trigger(path):
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER evil AFTER INSERT ON batches BEGIN DELETE FROM fates; END")


def of_tomorrow(path):
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")


def written(path):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        ledger.settle(account, ledger.begin(account, keys(*range(2000))).attempts, State.ANSWERED, [0] * 2000)


def cut(path):
    written(path)
    os.truncate(path, os.path.getsize(path) // 2)


def overwritten(path):
    written(path)
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff" * 30_000)


def overwritten_where_nobody_looks(path):
    written(path)
    with path.open("r+b") as file:
        file.seek(os.path.getsize(path) // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)


def test_somebody_elses_database_is_not_changed(path):
    other_database(path)
    before = path.read_bytes()
    with pytest.raises(InvalidInput):
        Ledger(path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_processes_that_make_the_same_ledger_together_all_open_it(path):
    children = []
    for _ in range(6):
        process = os.fork()
        if not process:
            code = 1
            try:
                with Ledger(path) as ledger:
                    account = ledger.account(TARGET, "noise")
                    sent = ledger.begin(account, keys(*range(20), row=os.urandom(4))).attempts
                    ledger.settle(account, sent, State.ANSWERED, [0] * 20)
                code = 0
            finally:
                os._exit(code)
        children.append(process)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 6
    assert total(path)["answered"] == 120


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_text("no database, but longer than a hundred bytes" * 9), "damaged or no ledger"),
        (other_database, "got another database"),
        (with_a_trigger, "got another database"),
        (of_tomorrow, "later version"),
        (cut, "damaged"),
        (overwritten, "damaged"),
        (overwritten_where_nobody_looks, "damaged"),
        (lambda path: path.mkdir(), "regular file"),
        (os.mkfifo, "regular file"),
    ],
)
def test_a_file_that_is_no_sound_ledger_is_one_line(path, spoil, words):
    spoil(path)
    for opened in (Ledger, read_counts):
        with pytest.raises(InvalidInput, match=words) as error:
            opened(path)
        assert "\n" not in str(error.value)


def test_a_missing_ledger_and_a_missing_folder_are_one_line(tmp_path):
    with pytest.raises(InvalidInput, match="got no file"):
        read_counts(tmp_path / "ledger.sqlite")
    with pytest.raises(InvalidInput, match="in a writable folder"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")


def test_a_ledger_of_another_secret_is_one_line_but_can_be_counted(path, monkeypatch):
    Ledger(path).close()
    monkeypatch.setenv("HARDLABEL_SECRET", "another secret of the tests")
    with pytest.raises(InvalidInput, match="was written under another secret"):
        Ledger(path)
    assert read_counts(path) == []


def test_a_ledger_that_stays_locked_is_one_line(path):
    with Ledger(path) as ledger, sqlite3.connect(path, isolation_level=None) as other:
        ledger.close()
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InvalidInput, match=r"is locked by another process for 0\.05 s"):
            Ledger(path, wait=0.05)


def test_a_full_disk_is_told_as_such_and_loses_nothing(path):
    code = f"""
import resource, signal
from hardlabel.oracles.ledger import Ledger, State, question
from hardlabel.oracles.stopped import Stopped
from hardlabel.store import full_disk
ledger = Ledger({str(path)!r})
account = ledger.account("t", "noise")
sent = ledger.begin(account, [question(1, b"r".rjust(16))]).attempts
ledger.settle(account, sent, State.ANSWERED, [7])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for number in range(100):
        ledger.begin(account, [question(sample, b"r".rjust(16), number) for sample in range(500)])
except (OSError, Stopped) as error:
    print(type(error).__name__, error)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert str(path) in finished.stdout
    assert len(finished.stdout.splitlines()) == 1
    with Ledger(path) as ledger:
        assert ledger.begin(ledger.account("t", "noise"), keys(1)).answers == {0: 7}


def test_a_full_disk_of_sqlite_is_the_full_disk_of_the_command_line(path):
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    with pytest.raises(OSError, match="No space left") as caught, ledgers._errors(path, 1):
        raise error
    assert full_disk(caught.value) is not None


def test_the_command_shows_the_rows_by_attack_and_in_total(path, monkeypatch, capsys):
    with Ledger(path) as ledger:
        for purpose, fate in (("noise", State.ANSWERED), ("path", State.REFUSED), ("path", State.UNKNOWN)):
            account = ledger.account(TARGET, purpose)
            sent = ledger.begin(account, keys(1, 2, row=str(int(fate)).encode())).attempts
            ledger.settle(account, sent, fate, [0, 0] if fate == State.ANSWERED else None)
        code, stdout, stderr = called(
            "ledger", path.parent, monkeypatch=monkeypatch, capsys=capsys
        )  # While it is open.
    assert (code, stderr) == (0, "")
    assert stdout.splitlines()[2:] == [
        "| noise | 2 | 2 | 0 | 0 | 0 |",
        "| path | 4 | 0 | 2 | 2 | 0 |",
        "| total | 6 | 2 | 2 | 2 | 0 |",
    ]
    code, stdout, _ = called("ledger", path, "--json", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert '"total": {\n    "sent": 6' in stdout
    path.write_bytes(b"x" * 5000)
    code, _, stderr = called("ledger", path, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, len(stderr.splitlines())) == (2, 1)

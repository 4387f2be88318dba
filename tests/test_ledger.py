"""The ledger: intents before answers, budgets over processes, replay, and files that are none of ours."""

import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import called
from hardlabel.checks import InvalidInput
from hardlabel.oracles import ledger as ledgers
from hardlabel.oracles.ledger import Key, Ledger, State, read_counts
from hardlabel.store import full_disk

TARGET = "https://example.org/credit"


def keys(*samples, row=b"r", occurrence=0):
    return [Key(sample, row, occurrence) for sample in samples]


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
        assert ledger.next_occurrence(account, 1, b"r") == 2
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
            questions = [Key(sample, bytes([number, place]), 0) for place, sample in enumerate(samples)]
            admission = ledger.begin(account, questions, budget=budget, max_rows=max_rows)
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
        assert ledger.begin(account, keys(1), budget=2).attempts[0].number == 1
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
                        answers = [attempt.key.sample % 3 for attempt in admission.attempts]
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


def test_a_late_answer_to_a_row_called_dead_is_kept_and_a_late_refusal_frees_nothing(path):
    with Ledger(path) as ledger:
        account = ledger.account(TARGET, "noise")
        sent = ledger.begin(account, keys(1, 2)).attempts
        ledger.settle(account, sent, State.UNKNOWN)
        ledger.settle(account, sent[:1], State.ANSWERED, [4])
        ledger.settle(account, sent[1:], State.REFUSED)
        assert (ledger.spent(account, 1), ledger.spent(account, 2)) == (1, 1)
        assert ledger.begin(account, keys(1)).answers == {0: 4}


def other_database(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE letters (text TEXT)")


def with_a_trigger(path):
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TRIGGER evil AFTER INSERT ON attempts BEGIN DELETE FROM spent; END")


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
    with pytest.raises(InvalidInput, match="in a folder that can"):
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
from hardlabel.oracles.ledger import Key, Ledger, State
from hardlabel.oracles.stopped import Stopped
from hardlabel.store import full_disk
ledger = Ledger({str(path)!r})
account = ledger.account("t", "noise")
sent = ledger.begin(account, [Key(1, b"r", 0)]).attempts
ledger.settle(account, sent, State.ANSWERED, [7])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for number in range(100):
        ledger.begin(account, [Key(sample, b"r", number) for sample in range(500)])
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
            sent = ledger.begin(account, keys(1, 2, row=str(fate).encode())).attempts
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

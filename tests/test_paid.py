"""The paid oracle: faults, retries, budgets, batches, votes, pauses, kills. The endpoint is in this process."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commands import called
from hardlabel.audits.game.asking import Asking, LabelQuestion, Side
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.labels import ClassNames
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.oracles.ledger import Ledger, State, read_counts
from hardlabel.oracles.paid import Outcome, PaidOracle, PaidScores, Policy
from hardlabel.oracles.purpose import Purpose, asked_for
from hardlabel.oracles.stopped import Stopped
from hardlabel.runs.progress import SILENT
from hardlabel.signals.gap import Gap
from hardlabel.targets.coded import Coding
from hardlabel.targets.registry import askable

POINTS = Coding()


class Clock:
    """Time passes by sleeping only."""

    def __init__(self):
        self.time, self.slept = 0.0, []

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds


class Told:
    def __init__(self):
        self.lines = []

    def say(self, message):
        self.lines.append(message)


class Server:
    """Class 1 where the first coordinate is positive. `fate(request, rows)` may return another outcome."""

    identity = "https://example.org/credit"

    def __init__(self, fate=lambda request, rows: None, *, most_rows=4, at_once=3, seconds=0.0005):
        self.fate, self.most_rows, self.at_once, self.seconds = fate, most_rows, at_once, seconds
        self.log, self.sizes, self.lock = Counter(), [], threading.Lock()
        self.flying = self.most_flying = 0

    def attempt(self, rows, *, timeout):
        with self.lock:
            self.flying += 1
            self.most_flying = max(self.most_flying, self.flying)
            request = len(self.sizes)
            self.sizes.append(len(rows))
            self.log.update(int(row[1]) for row in rows)  # The second coordinate names the sample.
            outcome = self.fate(request, rows)
        time.sleep(self.seconds)
        with self.lock:
            self.flying -= 1
        return outcome or Outcome.answered((rows[:, 0] > 0).long())

    @property
    def rows(self):
        return sum(self.sizes)


def faults(seed, share):
    """A share of the requests is refused or of unknown fate, drawn by the seed."""
    draws = random.Random(seed)

    def fate(request, rows):
        if draws.random() >= share:
            return None
        return draws.choice(
            [Outcome.refused("503"), Outcome.unknown("cut"), Outcome.wrong("HTML"), Outcome.refused("429", wait=3.0)]
        )

    return fate


def questions(samples, each, seed=0):
    """Rows (samples * each, 2) and ids: `each` different rows of each sample, mixed."""
    draws = torch.Generator().manual_seed(seed)
    ids = torch.arange(samples).repeat(each)[torch.randperm(samples * each, generator=draws)]
    return torch.stack([torch.randn(len(ids), generator=draws), ids.float()], 1), ids


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def oracle_of(server, ledger, *, watch=SILENT, clock=None, kind=PaidOracle, coding=POINTS, **policy):
    clock = clock or Clock()
    return kind(server, coding, ledger, Policy(seed=0, **policy), watch, now=clock.now, sleep=clock.sleep)


def asked(oracle, inputs, ids, purpose=None):
    with asked_for(purpose or Purpose("noise", limited=True)):
        return oracle.ask(inputs, ids)


def sent(ledger):
    return sum(count.sent for count in ledger.counts())


@pytest.mark.parametrize("seed", range(5))
def test_with_a_fifth_of_faults_all_answers_are_those_without_faults_where_budget_remains(ledger, seed):
    inputs, ids = questions(30, 5)
    server = Server(faults(seed, 0.2))
    purpose = Purpose("noise", limited=True)
    answers = asked(oracle_of(server, ledger, budget=30, failures=50), inputs, ids, purpose)
    assert torch.equal(answers, (inputs[:, 0] > 0).long())
    assert purpose.incomplete == set()
    assert sent(ledger) == server.rows
    assert sum(count.refused + count.unknown for count in ledger.counts()) > 0


@given(
    seed=st.integers(0, 10_000),
    budget=st.integers(1, 6),
    share=st.floats(0, 0.7),
    votes=st.integers(1, 2),
    max_rows=st.none() | st.integers(5, 60),
)
@settings(max_examples=40)
def test_no_sample_is_ever_asked_above_its_budget(tmp_path_factory, seed, budget, share, votes, max_rows):
    inputs, ids = questions(6, 4, seed)
    refusals, draws = Counter(), faults(seed, share)

    def fate(request, rows):
        outcome = draws(request, rows)
        if outcome is not None and outcome.fate == "refused":
            refusals.update(int(row[1]) for row in rows)
        return outcome

    server, purpose = Server(fate), Purpose("noise", limited=True)
    with Ledger(tmp_path_factory.mktemp("paid") / "ledger.sqlite") as ledger:
        settings_ = {"budget": max(budget, votes), "votes": votes, "max_rows": max_rows, "failures": 200}
        try:
            answers = asked(oracle_of(server, ledger, **settings_), inputs, ids, purpose)
        except Stopped as error:
            ended = max_rows is not None and "max_rows" in str(error)
        except InvalidInput as error:
            ended = str(error) == "HTML"  # The first three answers.
        else:
            whole = ~torch.isin(ids, torch.tensor(sorted(purpose.incomplete), dtype=torch.int64))
            ended = torch.equal(answers[whole], (inputs[whole, 0] > 0).long())
        assert ended
        billed = server.log - refusals
        assert max(billed.values(), default=0) <= max(budget, votes)
        assert max_rows is None or sum(billed.values()) <= max_rows
        assert server.rows == sent(ledger)
        # A second process with the same ledger is bound by what the first one spent.
        again = Server()
        try:
            asked(oracle_of(again, ledger, **settings_), inputs, ids)
        except Stopped:
            assert max_rows is not None
        assert max((billed + again.log).values()) <= max(budget, votes)


def test_samples_whose_budget_rows_of_unknown_fate_used_up_are_incomplete_and_told(ledger):
    inputs, ids = torch.tensor([[1.0, 0], [2.0, 0], [1.0, 1]]), torch.tensor([0, 0, 1])
    watch, purpose = Told(), Purpose("noise", limited=True)
    server = Server(lambda request, rows: Outcome.unknown("cut") if request == 2 else None, most_rows=1, at_once=1)
    answers = asked(oracle_of(server, ledger, watch=watch, budget=2), inputs, ids, purpose)
    assert answers.tolist() == [1, 1, 1]  # The row without an answer gets the sample's last label.
    assert purpose.incomplete == {0}
    assert watch.lines == [
        "noise: rows without an answer have used up the budget of some samples, which are marked incomplete"
    ]
    assert server.log == {0: 2, 1: 1}


def test_a_dead_connection_costs_every_sample_a_little_and_none_its_budget(ledger):
    """Rows of the samples are sent by turns: 12 requests of 32 rows are lost, and 40 samples have 10 rows to spare."""
    inputs, ids = (
        torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)),
        torch.arange(40).repeat_interleave(100),
    )
    server = Server(lambda request, rows: Outcome.unknown("cut") if request < 12 else None, most_rows=32, at_once=4)
    purpose = Purpose("noise", limited=True)
    inputs[:, 1] = ids
    answers = asked(oracle_of(server, ledger, budget=110, failures=50), inputs, ids, purpose)
    assert purpose.incomplete == set()
    assert torch.equal(answers, (inputs[:, 0] > 0).long())
    assert max(server.log.values()) <= 110


def test_repeats_of_a_row_keep_their_order_among_rows_of_other_samples(ledger):
    """The server counts up: the second question about a row gets a later answer than the first, also by turns."""
    inputs = torch.tensor([[5.0, 0], [5.0, 0], [6.0, 0], [5.0, 1], [5.0, 1], [5.0, 0]])
    ids = torch.tensor([0, 0, 0, 1, 1, 0])
    numbers = iter(range(100))
    server = Server(lambda request, rows: Outcome.answered([next(numbers) for _ in rows]), at_once=1, most_rows=2)
    first = asked(oracle_of(server, ledger), inputs, ids)
    assert first.tolist() == [0, 2, 4, 1, 3, 5]  # By turns: 0, 3, then 1, 4, then 2, then 5.
    again = Server()
    assert torch.equal(asked(oracle_of(again, ledger), inputs, ids), first)
    assert again.rows == 0


def test_an_audit_marks_such_a_sample_incomplete_and_no_other(ledger):
    server = Server(lambda request, rows: Outcome.unknown("cut") if request == 1 else None, most_rows=1, at_once=1)
    model = askable(oracle_of(server, ledger, budget=1), torch.device("cpu"), role="target")
    samples = Samples(
        ids=torch.arange(3),
        inputs=torch.tensor([[1.0, 0], [1.0, 1], [1.0, 2]]),
        labels=torch.ones(3, dtype=torch.int64),
        domain=Box((2,), -9, 9),
    )
    side = Side(model=model, samples=samples, inside=torch.ones(3, dtype=torch.bool))
    account = Account(per_sample=1, purpose=Purpose("gap", limited=True))
    answer = Asking(seed=0, watch=SILENT).answer(LabelQuestion(Gap()), side, "gap", account=account)
    assert answer.measured.complete.tolist() == [True, False, True]
    assert [count.purpose for count in ledger.counts()] == ["gap"]


def test_what_is_in_the_ledger_is_answered_for_free_repeats_in_their_order(ledger):
    inputs, ids = questions(5, 3)
    numbers = iter(range(1000))
    server = Server(lambda request, rows: Outcome.answered([next(numbers) for _ in rows]))
    first = oracle_of(server, ledger)
    before = [asked(first, inputs, ids) for _ in range(3)]
    assert len(torch.cat(before).unique()) == 45  # Each repeat is a question of its own.
    again = Server()
    second = oracle_of(again, ledger)
    for answers in before:
        assert torch.equal(asked(second, inputs, ids), answers)
    assert again.rows == 0
    asked(second, inputs, ids)
    assert again.rows == 15
    with asked_for(Purpose("noise", replayed=False)):
        oracle_of(again, ledger).ask(inputs, ids)
    assert again.rows == 30


def test_an_interrupted_ask_is_asked_again_without_paying_twice(ledger):
    inputs, ids = questions(8, 2)
    server = Server(lambda request, rows: Outcome.denied("401: no") if request == 2 else None, at_once=1)
    oracle = oracle_of(server, ledger)
    with pytest.raises(Stopped, match="401: no"):
        asked(oracle, inputs, ids)
    assert torch.equal(asked(oracle, inputs, ids), (inputs[:, 0] > 0).long())
    assert server.rows == 16 + 4  # The denied batch.


def test_batches_go_out_together_and_answers_keep_their_order(ledger):
    inputs, ids = questions(40, 2)
    server = Server(most_rows=5, at_once=4, seconds=0.05)
    assert torch.equal(asked(oracle_of(server, ledger), inputs, ids), (inputs[:, 0] > 0).long())
    assert server.sizes == [5] * 16
    assert 2 <= server.most_flying <= 4


def test_a_batch_that_is_too_large_is_halved_and_the_smaller_size_is_kept(ledger):
    inputs, ids = questions(64, 1)
    server = Server(lambda request, rows: Outcome.too_large("413") if len(rows) > 20 else None, most_rows=64)
    watch = Told()
    oracle = oracle_of(server, ledger, watch=watch)
    assert torch.equal(asked(oracle, inputs, ids), (inputs[:, 0] > 0).long())
    assert watch.lines == ["413 at 64 rows: trying 32", "413 at 32 rows: trying 16"]
    asked(oracle, inputs + 1, ids)
    assert server.sizes == [64, 32, 16, 16, 16, 16, 16, 16, 16, 16]
    assert sum(count.spent for count in ledger.counts()) == 128


def test_a_single_row_that_is_too_large_ends_the_audit_in_one_line(ledger):
    with pytest.raises(Stopped, match="single row too large: 413"):
        asked(oracle_of(Server(lambda request, rows: Outcome.too_large("413")), ledger), *questions(1, 1))


def test_nothing_is_sent_before_the_time_that_the_server_asks_to_wait(ledger):
    clock, times = Clock(), []

    def fate(request, rows):
        times.append(clock.time)
        return Outcome.refused("429", wait=17.0) if request == 1 else None

    asked(oracle_of(Server(fate, at_once=1), ledger, clock=clock), *questions(12, 1))
    assert times[:2] == [0, 0]
    assert times[2] >= 17


def test_a_wait_is_told_and_one_beyond_all_patience_ends_the_audit(ledger):
    watch = Told()
    server = Server(
        lambda request, rows: Outcome.refused("429", wait=[60.0, 60.0, 0.0][request]) if request < 3 else None
    )
    asked(oracle_of(server, ledger, watch=watch), *questions(1, 1))
    assert watch.lines == ["429: waiting for 60 s, as the target asks"] * 2
    with pytest.raises(Stopped, match=r"asks to wait for 86,400 s \(429\): resume then"):
        asked(oracle_of(Server(lambda request, rows: Outcome.refused("429", wait=86_400.0)), ledger), *questions(2, 2))


def test_waits_grow_and_are_the_same_for_the_same_seed(tmp_path):
    slept = []
    for number in range(2):
        clock = Clock()
        with Ledger(tmp_path / str(number)) as ledger:
            server = Server(lambda request, rows: Outcome.refused("503") if request < 6 else None)
            asked(oracle_of(server, ledger, clock=clock, longest_wait=6.0), *questions(1, 1))
        slept.append(clock.slept)
    assert slept[0] == slept[1]
    for seconds, longest in zip(slept[0], [0.5, 1, 2, 4, 6, 6], strict=True):
        assert longest / 2 <= seconds <= longest


def test_many_failures_in_a_row_pause_then_stop_in_one_line_and_keep_what_was_paid_for(ledger):
    inputs, ids = questions(20, 1)
    server, clock, watch = Server(), Clock(), Told()
    server.fate = lambda request, rows: Outcome.refused("no connection") if request >= 2 else None
    oracle = oracle_of(server, ledger, clock=clock, watch=watch, failures=4, pause=30.0, pauses=2)
    with pytest.raises(Stopped, match=r"the target failed \d+ times in a row, at last with: no connection"):
        asked(oracle, inputs, ids)
    assert [line.partition(": ")[2] for line in watch.lines] == ["waiting for 30 s", "waiting for 60 s"]
    assert clock.time >= 90
    server.fate = lambda request, rows: None
    before = server.rows
    assert torch.equal(asked(oracle_of(server, ledger), inputs, ids), (inputs[:, 0] > 0).long())
    assert server.rows - before == 20 - 8


def test_failures_between_answers_lead_to_no_pause(ledger):
    watch = Told()
    server = Server(lambda request, rows: Outcome.refused("503") if request % 3 == 2 else None, at_once=1)
    asked(oracle_of(server, ledger, watch=watch, failures=3), *questions(60, 1))
    assert len(server.sizes) > 15 + 6
    assert watch.lines == []


def test_a_pause_ends_when_the_server_is_back(ledger):
    clock, watch = Clock(), Told()
    server = Server(lambda request, rows: Outcome.refused("no connection") if 2 <= clock.time < 100 else None)

    def fate(request, rows):
        clock.time += 1
        return Outcome.refused("no connection") if 2 <= clock.time < 100 else None

    server.fate = fate
    inputs, ids = questions(40, 1)
    answers = asked(oracle_of(server, ledger, clock=clock, watch=watch, failures=5), inputs, ids)
    assert torch.equal(answers, (inputs[:, 0] > 0).long())
    assert 1 <= len(watch.lines) <= 3


def test_a_row_that_the_server_cannot_stand_takes_no_other_along(ledger):
    inputs, ids = questions(32, 1)
    poison = float(inputs[13, 0])
    server = Server(lambda request, rows: Outcome.unknown("500") if poison in rows[:, 0] else None, most_rows=16)
    purpose = Purpose("noise", limited=True)
    answers = asked(oracle_of(server, ledger, budget=50), inputs, ids, purpose)
    assert purpose.incomplete == {int(ids[13])}
    others = torch.arange(32) != 13
    assert torch.equal(answers[others], (inputs[others, 0] > 0).long())
    assert server.log[int(ids[13])] == 8


def test_the_majority_of_votes_counts_and_each_vote_is_paid(ledger):
    said = iter([2, 1, 1, 0, 3, 3, 4, 5, 6])
    server = Server(lambda request, rows: Outcome.answered([next(said) for _ in rows]), at_once=1)
    inputs, ids = torch.zeros(3, 2), torch.arange(3)
    assert asked(oracle_of(server, ledger, votes=3), inputs, ids).tolist() == [1, 3, 4]  # Of three, the first.
    assert sent(ledger) == 9
    assert asked(oracle_of(Server(), ledger, votes=3), inputs, ids).tolist() == [1, 3, 4]
    with pytest.raises(InvalidInput, match="votes must be at most the budget of 2"):
        Policy(votes=3, budget=2)


def test_labels_come_back_by_name_and_an_unknown_name_is_one_line_after_three_batches(ledger):
    coding = Coding(labels=ClassNames(("no", "yes")))
    inputs, ids = questions(20, 1)
    names = Server(lambda request, rows: Outcome.answered(["yes" if row[0] > 0 else "no" for row in rows]))
    assert torch.equal(asked(oracle_of(names, ledger, coding=coding), inputs, ids), (inputs[:, 0] > 0).long())
    server = Server(lambda request, rows: Outcome.answered(["maybe"] * len(rows)))
    with pytest.raises(InvalidInput, match="maybe"):
        asked(oracle_of(server, ledger, coding=coding), inputs + 1, ids)
    assert len(server.sizes) == 3


def test_labels_out_of_range_now_and_then_are_asked_again(ledger):
    inputs, ids = questions(20, 1)
    server = Server(lambda request, rows: Outcome.answered([7] * len(rows)) if request == 2 else None)
    answers = asked(oracle_of(server, ledger, classes=2), inputs, ids)
    assert torch.equal(answers, (inputs[:, 0] > 0).long())
    assert sum(count.answered for count in ledger.counts()) == 24


def test_scores_are_replayed_to_the_last_bit_and_reduced_to_labels_for_who_sees_labels(ledger):
    inputs, ids = questions(10, 1)
    scores = torch.log_softmax(inputs @ torch.tensor([[1.0, -1], [0.5, 2]]), 1)
    by_row = {tuple(row.tolist()): score for row, score in zip(inputs, scores, strict=True)}
    server = Server(
        lambda request, rows: Outcome.answered(scores=torch.stack([by_row[tuple(r.tolist())] for r in rows]))
    )
    shown = [oracle_of(server, ledger, kind=PaidScores).ask_scores(inputs, ids) for _ in range(2)]
    assert torch.equal(shown[0], scores)
    assert torch.equal(shown[1], scores)
    assert server.rows == 10
    # A label is another question than scores, even for the same purpose.
    assert torch.equal(oracle_of(server, ledger, kind=PaidScores).ask(inputs, ids), scores.argmax(1))
    assert server.rows == 20


def test_an_exception_in_a_request_counts_as_spent_and_reaches_the_caller(ledger):
    def broken(request, rows):
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        asked(oracle_of(Server(broken), ledger), *questions(3, 1))
    assert ledger.counts()[0].unknown == 3


def test_the_ledger_holds_no_value_of_a_row(ledger):
    inputs = torch.tensor([[1234.5678, 2.0]])
    asked(oracle_of(Server(), ledger), inputs, torch.tensor([5]))
    ledger.close()
    content = ledger.path.read_bytes()
    assert inputs.numpy().tobytes() not in content
    assert np.float64(inputs[0, 0]).tobytes() not in content
    with sqlite3.connect(ledger.path) as connection:
        [[key]] = connection.execute("SELECT keys FROM batches").fetchall()
    assert (
        int.from_bytes(key[:8], "little") != 5
    )  # The id follows from the seed: whoever knows the seed and the data could resolve it.


def test_overhead_is_written_down_under_its_own_name_and_bound_by_no_sample(ledger):
    oracle = oracle_of(Server(), ledger, budget=1)
    labels = ChargedLabels(oracle, Account(purpose=Purpose("path", limited=True))).aside("labels of the shadow data")
    labels.ask(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64))
    assert [(count.purpose, count.answered) for count in ledger.counts()] == [("labels of the shadow data", 4)]


DEAD = os.WEXITED | os.WNOHANG | os.WNOWAIT
SAMPLES, EACH, BATCH, AT_ONCE, TIGHT, AMPLE = 40, 5, 4, 3, 8, 200


def audit_in_a_child(path, log, *, seconds, budget=AMPLE):
    """A process of its own that asks all questions, in several calls; the server's log is a file."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        class Logged(Server):
            def attempt(self, rows, *, timeout):
                os.write(handle, "".join(f"{int(row[1])} {row[:1].numpy().tobytes().hex()}\n" for row in rows).encode())
                time.sleep(seconds)
                return Outcome.answered((rows[:, 0] > 0).long())

        inputs, ids = questions(SAMPLES, EACH)
        with Ledger(path) as ledger:
            policy = Policy(budget=budget, attempts=budget)
            server = Logged(most_rows=BATCH, at_once=AT_ONCE)
            oracle = PaidOracle(server, Coding(), ledger, policy, SILENT)
            purpose = Purpose("noise", limited=True)
            answers = [asked(oracle, inputs[part], ids[part], purpose) for part in torch.arange(len(ids)).split(40)]
            whole = ~torch.isin(ids, torch.tensor(sorted(purpose.incomplete), dtype=torch.int64))
            assert torch.equal(torch.cat(answers)[whole], (inputs[:, 0] > 0).long()[whole])
            assert budget == TIGHT or whole.all()
        code = 0
    finally:
        os._exit(code)


def killed_again_and_again(folder, kills, *, seed, seconds=0.004, budget=AMPLE):
    """Kills an audit at random moments, lets it end, and compares the server's log with the ledger."""
    path, log, moments = folder / "ledger.sqlite", folder / "log", random.Random(seed)
    log.touch()
    for _ in range(kills):
        process = audit_in_a_child(path, log, seconds=seconds, budget=budget)
        seen = len(log.read_text().splitlines()) + moments.randint(0, 160 // kills)
        while len(log.read_text().splitlines()) < seen and os.waitid(os.P_PID, process, DEAD) is None:
            time.sleep(0.0005)
        time.sleep(moments.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    assert os.waitpid(audit_in_a_child(path, log, seconds=seconds, budget=budget), 0)[1] == 0
    [count] = read_counts(path)
    seen = Counter(log.read_text().splitlines())
    assert count.under_way == count.refused == 0
    assert count.answered == SAMPLES * EACH if budget == AMPLE else count.answered <= SAMPLES * EACH
    assert count.unknown > 0 or kills < 10  # Kills hit batches in flight.
    # At most the batches in flight at each kill are of unknown fate, and only these are sent beyond what is needed.
    assert count.sent - SAMPLES * EACH <= count.unknown <= kills * BATCH * AT_ONCE
    compare(path, seen, count)
    samples = Counter()
    for line, rows in seen.items():
        samples[line.split()[0]] += rows
    assert max(samples.values()) <= budget
    return count, seen


def compare(path, seen, count):
    """The server saw no row that the ledger has not; what it did not see is of unknown fate in the ledger."""
    inputs, ids = questions(SAMPLES, EACH)
    sent, unknown = Counter(), Counter()
    with Ledger(path) as ledger:
        names = PaidOracle(Server(), Coding(), ledger, Policy(), SILENT).keys(
            0, inputs, ids.tolist(), Purpose("noise"), scores=False
        )
        lines = [f"{int(row[1])} {row[:1].numpy().tobytes().hex()}" for row in inputs]
        line_of = dict(zip(names, lines, strict=True))
        for number in range(1, ledger._last_batch + 1):
            batch = ledger._batch(number)
            for name, row in batch.rows.items():
                sent[line_of[name]] += 1
                unknown[line_of[name]] += int(batch.states[row] == State.UNKNOWN)
    assert sent.total() == count.sent
    assert seen <= sent
    assert sent - seen <= unknown


@pytest.mark.parametrize("budget", [TIGHT, AMPLE])
def test_an_audit_killed_at_three_random_moments_loses_nothing_paid_for_and_keeps_its_budget(tmp_path, budget):
    killed_again_and_again(tmp_path, 3, seed=3, budget=budget)


def test_without_kills_the_server_saw_what_the_ledger_says(tmp_path):
    count, seen = killed_again_and_again(tmp_path, 0, seed=0)
    assert count.sent == count.answered == seen.total() == SAMPLES * EACH


def test_a_target_that_stops_ends_the_command_in_one_line_with_advice(monkeypatch, capsys):
    def stopped(*arguments):
        raise Stopped("the target failed 10 times in a row, at last with: 503")

    monkeypatch.setattr("hardlabel.oracles.ledger.read_counts", stopped)
    code, _, stderr = called("ledger", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, len(stderr.splitlines())) == (1, 1)
    assert "503; finished models and measurements are kept" in stderr


def test_two_audits_that_share_a_ledger_pay_once(tmp_path):
    path, log = tmp_path / "ledger.sqlite", tmp_path / "log"
    children = [audit_in_a_child(path, log, seconds=0.004) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert len(log.read_text().splitlines()) == read_counts(path)[0].answered == SAMPLES * EACH


def test_an_interrupt_waits_for_the_answers_under_way(tmp_path):
    path = tmp_path / "ledger.sqlite"
    process = os.fork()
    if not process:
        server = Server(most_rows=2, at_once=2)
        server.fate = lambda request, rows: (
            time.sleep(0.15) or (os.kill(os.getpid(), signal.SIGINT) if request == 3 else None)
        )
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            oracle = PaidOracle(server, Coding(), Ledger(path), Policy(), SILENT)
            asked(oracle, *questions(40, 1))
        except KeyboardInterrupt:
            os._exit(3)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 3
    [count] = read_counts(path)
    assert (count.unknown, count.under_way) == (0, 0)
    assert 6 <= count.answered <= 12

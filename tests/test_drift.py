"""Drift of a target: changes are seen, noise at a constant rate is not, and check rows are asked when they should."""

import numpy as np
import pytest
import torch

from hardlabel.audits.game.check_rows import AGAIN, EVERY, FIRST, ROWS, CheckRows, most_askings
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.metrics.drift import drift
from hardlabel.records.verdict import ALARM
from hardlabel.runs.progress import SILENT
from hardlabel.store import Store
from hardlabel.targets.registry import askable

STEADY = np.tile(np.arange(20) % 4, (8, 1))


def test_steady_answers_show_nothing():
    found = drift(STEADY, alarm=ALARM)
    assert (found.chance, found.noise, found.split) == (1.0, 0.0, 8)


@pytest.mark.parametrize("split", [1, 3, 7])
def test_a_change_of_all_answers_is_seen_where_it_happened(split):
    answers = STEADY.copy()
    answers[split:] = (answers[split:] + 1) % 4
    found = drift(answers, alarm=ALARM)
    assert found.chance <= ALARM
    assert found.split == split
    assert found.noise == 0.0


def test_a_change_of_a_few_answers_needs_more_askings():
    few, many = STEADY[:4].copy(), np.tile(STEADY[0], (20, 1))
    few[3:, :1], many[10:, :1] = 9, 9
    assert drift(few, alarm=ALARM).chance > ALARM
    assert drift(many, alarm=ALARM).chance <= ALARM


@pytest.mark.parametrize(("begin", "end"), [(4, 7), (1, 3), (8, 11)])
def test_other_answers_for_a_while_are_a_change(begin, end):
    answers = np.tile(np.arange(20) % 2, (12, 1))
    answers[begin:end] = 0  # As of an endpoint that answers its default: half of the rows differ.
    found = drift(answers, alarm=ALARM)
    assert found.chance <= ALARM
    assert found.split == begin


def test_noise_at_a_constant_rate_is_no_change_but_is_measured():
    """Answers replaced at random in 3 of 10 cases: alarms in at most 1 of 1,000 series, and the noise is right."""
    rng = np.random.default_rng(0)
    rounds, alarms, noises = 150, 0, []
    for _ in range(rounds):
        answers = np.where(rng.random((8, 20)) < 0.3, 9, STEADY)
        found = drift(answers, alarm=ALARM)
        alarms += found.chance <= ALARM
        noises.append(found.noise)
    assert alarms <= 2  # Expected .15.
    expected = 2 * 0.3 * 0.7  # Two answers differ if just one of them was replaced.
    assert np.mean(noises) == pytest.approx(expected, abs=0.02)


def test_a_rate_of_noise_that_rises_is_a_change():
    rng = np.random.default_rng(0)
    answers = np.tile(np.arange(20), (12, 1))
    answers[6:] = np.where(rng.random((6, 20)) < 0.6, rng.integers(100, 1000, (6, 20)), answers[6:])
    assert drift(answers, alarm=ALARM).chance <= ALARM


class Endpoint:
    """Answers the parity of the first feature; from row `until` on, `then`."""

    def __init__(self, until=None, then=None):
        self.until, self.then, self.asked = until, then, 0

    def ask(self, inputs, ids):
        rows = torch.arange(self.asked, self.asked + len(inputs))
        self.asked += len(inputs)
        answers = inputs[:, 0].long() % 2
        return answers if self.until is None else torch.where(rows < self.until, answers, self.then(inputs))


def samples(count, start):
    inputs = torch.arange(start, start + count, dtype=torch.float32)[:, None].repeat(1, 2)
    return Samples(
        ids=torch.arange(start, start + count),
        inputs=inputs,
        labels=torch.zeros(count, dtype=torch.int64),
        domain=Box((2,), 0.0, 1e4),
    )


def checker(endpoint, store=None, name="one"):
    target = askable(endpoint, torch.device("cpu"), role="target", name=name)
    groups = samples(50, 0), samples(50, 50)
    return CheckRows.of(target, *groups, seed=0, device=torch.device("cpu"), store=store, watch=SILENT)


def ask(rows, model, count):
    model.labels.ask(torch.zeros(count, 2), torch.zeros(count, dtype=torch.int64))


def test_check_rows_are_asked_before_anything_and_after_rows_that_grow():
    endpoint = Endpoint()
    rows = checker(endpoint)
    model = rows.watched
    assert endpoint.asked == 0
    ask(rows, model, 10)
    assert endpoint.asked == FIRST * ROWS + 10
    for _ in range(38):
        ask(rows, model, 100)  # 3,810 rows: 500, 625, 782, 978, 1,223, 1,529, 1,912, 2,390, 2,988 and 3,735 are passed.
    assert endpoint.asked == 3810 + (FIRST + 10) * ROWS
    rows.check()  # Nothing was asked since.
    assert endpoint.asked == 3810 + (FIRST + 10) * ROWS
    ask(rows, model, 10)
    rows.check()
    assert endpoint.asked == 3820 + (FIRST + 11) * ROWS
    found = rows.result()
    assert (found.rows, found.otherwise, found.changed) == (ROWS, 0, False)
    assert rows.queries == (FIRST + 11) * ROWS <= most_askings(3820, attacks=0) * ROWS


@pytest.mark.parametrize(
    "then", [lambda inputs: torch.zeros(len(inputs), dtype=torch.int64), lambda inputs: 1 - inputs[:, 0].long() % 2]
)
def test_an_endpoint_that_changes_is_found_out(then):
    said = []

    class Watch:
        def say(self, message):
            said.append(message)

    endpoint = Endpoint(until=800, then=then)
    rows = checker(endpoint)
    rows.watch = Watch()
    model = rows.watched
    for _ in range(30):
        ask(rows, model, 100)
    rows.check()
    found = rows.result()
    assert found.changed
    assert EVERY <= found.after <= 2 * EVERY
    assert "gave other answers to" in said[0]
    assert len(said) == 1


@pytest.mark.parametrize("begin", [550, 1300, 3100])
def test_an_outage_of_a_third_is_found_out(begin):
    """The endpoint answers a default for a while, then as before."""
    endpoint = Endpoint(until=begin, then=lambda inputs: torch.zeros(len(inputs), dtype=torch.int64))
    rows = checker(endpoint)
    model = rows.watched
    while endpoint.asked < 2 * begin:
        ask(rows, model, 50)
        if endpoint.asked > 1.45 * begin:
            endpoint.until = None
    assert rows.result().changed


def test_an_answer_that_differs_is_asked_for_again():
    endpoint = Endpoint(until=FIRST * ROWS + 1, then=lambda inputs: torch.zeros(len(inputs), dtype=torch.int64))
    rows = checker(endpoint)
    ask(rows, rows.watched, 10)
    rows.check()
    assert rows.queries == (FIRST + 1 + AGAIN) * ROWS


def test_answers_of_earlier_processes_are_compared(tmp_path):
    store = Store(tmp_path)
    first = checker(Endpoint(), store)
    ask(first, first.watched, 10)
    same = checker(Endpoint(), store)
    ask(same, same.watched, 10)
    assert same.queries == (FIRST + 1) * ROWS
    other = checker(Endpoint(until=0, then=lambda inputs: 1 - inputs[:, 0].long() % 2), store)
    ask(other, other.watched, 10)
    assert other.result().changed
    # A later process that finds all answers in the store asks nothing, and sees the same.
    idle = Endpoint()
    assert checker(idle, store).result().changed
    assert idle.asked == 0
    assert checker(idle, store, name="another model").result() is None


def test_check_rows_are_copies_that_a_target_may_change():
    class Changing(Endpoint):
        def ask(self, inputs, ids):
            answers = super().ask(inputs, ids)
            inputs.zero_()
            ids.zero_()
            return answers

    rows = checker(Changing())
    before = rows.samples.inputs.clone()
    ask(rows, rows.watched, 600)
    assert torch.equal(rows.samples.inputs, before)
    assert not rows.result().changed

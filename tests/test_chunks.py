"""Chunks: every signal of the table finds in parts what it finds at once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from games import pool_of_memories
from hardlabel.attacks import TABLE, LabelAttack
from hardlabel.audits.game import chunks
from hardlabel.calibrations.normals import NormalBeliefs
from hardlabel.data.domain import Box
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals.base import Knowledge, Shadows
from hardlabel.signals.features import Features
from hardlabel.signals.gap import Gap
from hardlabel.signals.path import Path
from hardlabel.signals.transfer import Transfer

DESIGN = pool_of_memories(Box((12,)), reach=0.25, attacked=40, more=20, count=6)


@given(samples=st.integers(0, 500), size=st.integers(1, 60))
def test_cuts_hold_every_sample_once_in_pieces_of_like_length(samples, size):
    parts = chunks.cuts(samples, size)
    assert [row for part in parts for row in range(part.start, part.stop)] == list(range(samples))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(parts) == max(1, -(-samples // size))


# Of images, of shadows with gradients, or not cut at all: see the tests of an audit in chunks, and below.
ELSEWHERE = {"augmentation", "combined", "yoqo", "transfer"}
SUITED = [row for row in TABLE.values() if isinstance(row, LabelAttack) and row.name not in ELSEWHERE]


@pytest.mark.parametrize("attack", SUITED, ids=lambda row: row.name)
def test_every_signal_finds_in_chunks_what_it_finds_at_once(attack):
    samples = DESIGN.game(budget=3).target.samples
    for signal in attack.signals(samples.domain, attack.allowed(max(attack.fewest, min(attack.usual, 60))))[:2]:
        found = [
            plan.measure(ChargedLabels(DESIGN.models[0].labels, Account()))
            for plan in (
                signal.prepare(samples, DESIGN.knowledge, 0),
                chunks.prepared(signal, samples, DESIGN.knowledge, 0, size=7),
            )
        ]
        for one, other in zip(*found, strict=True):
            assert torch.equal(one.cpu(), other)


@pytest.mark.parametrize("informed", [False, True])
def test_a_plan_of_parts_measures_believes_and_replays_like_one_of_the_whole(informed):
    samples, knowledge = DESIGN.game(budget=3).target.samples, DESIGN.knowledge
    signal = Path(queries=3, informed=True) if informed else Path(queries=5, informed=False)
    whole = signal.prepare(samples, knowledge, 0)
    parts = chunks.prepared(signal, samples, knowledge, 0, size=7)
    assert len(parts.plans) == 6
    assert parts.queries == whole.queries
    model = DESIGN.models[0].labels

    def told(plan):
        return plan.measure(ChargedLabels(model, Account()))

    for one, other in zip(told(parts), told(whole), strict=True):
        assert torch.equal(one, other)
    if informed:
        rows = torch.arange(len(samples), dtype=torch.float64)[:, None]
        beliefs = NormalBeliefs(
            mean_in=12 + rows / 20,
            deviation_in=1 + rows / 40,
            mean_out=9 - rows / 20,
            deviation_out=2 + 0 * rows,
            low=torch.zeros(1),
            high=torch.ones(1),
        )
        for one, other in zip(told(parts.believing(beliefs)), told(whole.believing(beliefs)), strict=True):
            assert torch.equal(one, other)
        exact = signal.exact.prepare(samples, knowledge, 0).measure(ChargedLabels(model, Account())).values
        assert torch.equal(parts.replay(beliefs, exact), whole.replay(beliefs, exact))


def test_a_signal_that_measures_all_together_is_not_cut():
    assert chunks.is_whole(Transfer())
    assert chunks.is_whole(Features(parts=(Gap(), Transfer())))
    assert not chunks.is_whole(Features(parts=(Gap(), Gap())))
    samples = DESIGN.game(budget=3).target.samples
    assert len(chunks.prepared(Gap(), samples, Knowledge(), 0, size=7).plans) == 6
    known = Knowledge(population=samples, fit=lambda samples, seed: None)
    assert len(chunks.prepared(Transfer(), samples, known, 0, size=7).plans) == 1


def test_what_is_known_of_samples_is_cut_with_them():
    inside = torch.rand(3, 10) > 0.5
    known = Knowledge(shadows=Shadows(models=(), inside=inside))
    assert torch.equal(chunks.cut_knowledge(known, slice(2, 6)).shadows.inside, inside[:, 2:6])

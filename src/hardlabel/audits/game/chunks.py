"""Cuts samples into chunks: the measurement of one model on one chunk is a piece of work.

A signal's draws for a sample do not depend on the other samples, so chunks give the same values as the whole. A signal
that measures all samples together (for example, it trains a surrogate) declares `whole = True` and is not cut.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hardlabel.data.samples import Samples
from hardlabel.oracles.base import PaidLabels, ScoreOracle
from hardlabel.signals.base import (
    Beliefs,
    Knowledge,
    LabelPlan,
    LabelSignal,
    Measurement,
    ScorePlan,
    ScoreSignal,
    SequentialPlan,
)


def cuts(samples: int, size: int) -> tuple[slice, ...]:
    """Consecutive slices of at most `size` samples; their lengths differ by 1 at most. No samples give one empty slice.

    A short last slice would be asked in a small batch, and kernels for small batches may round differently.
    """
    count = max(1, -(-samples // size))
    edges = [samples * number // count for number in range(count + 1)]
    return tuple(slice(start, stop) for start, stop in itertools.pairwise(edges))


def cuts_of(signal: LabelSignal | ScoreSignal, samples: int, size: int) -> tuple[slice, ...]:
    """The same for a signal: a single slice if the signal measures all samples together."""
    return cuts(samples, max(1, samples) if is_whole(signal) else size)


def cut_knowledge(knowledge: Knowledge, part: slice) -> Knowledge:
    """The same knowledge for one chunk: facts about single samples are cut to the samples of the chunk."""
    if knowledge.shadows is None:
        return knowledge
    return replace(knowledge, shadows=replace(knowledge.shadows, inside=knowledge.shadows.inside[:, part]))


@dataclass(frozen=True, eq=False)
class Slice:
    """Beliefs about one chunk, for beliefs that have no method `of`."""

    mean_in: Tensor
    deviation_in: Tensor
    mean_out: Tensor
    deviation_out: Tensor


def cut_beliefs(beliefs: Beliefs, part: slice) -> Beliefs:
    """The beliefs about one chunk."""
    cut = getattr(beliefs, "of", None)
    if cut is not None:
        return cut(part)  # type: ignore[no-any-return]  # `of` returns beliefs.
    assert not hasattr(beliefs, "rescaled"), "beliefs that rescale must say how they are cut, by a method `of`"
    return Slice(beliefs.mean_in[part], beliefs.deviation_in[part], beliefs.mean_out[part], beliefs.deviation_out[part])


@dataclass(frozen=True, eq=False)
class Parts:
    """Plans of consecutive chunks as one plan for all samples; see `LabelPlan` and `ScorePlan`."""

    plans: tuple[LabelPlan | ScorePlan, ...]
    cuts: tuple[slice, ...]

    @property
    def queries(self) -> tuple[int, int]:
        fewest, most = zip(*(plan.queries for plan in self.plans), strict=True)
        return min(fewest), max(most)

    def measure(self, oracle: PaidLabels | ScoreOracle) -> Measurement:
        return joined(plan.measure(oracle) for plan in self.plans)  # type: ignore[arg-type]  # All suit the oracle.


class SequentialParts(Parts):
    """Sequential plans as one plan; see `SequentialPlan`."""

    def believing(self, beliefs: Beliefs) -> Parts:
        return Parts(
            tuple(
                plan.believing(cut_beliefs(beliefs, rows)) if isinstance(plan, SequentialPlan) else plan
                for plan, rows in zip(self.plans, self.cuts, strict=True)
            ),
            self.cuts,
        )

    def replay(self, beliefs: Beliefs, values: Tensor) -> Tensor:
        return torch.cat(
            [
                plan.replay(cut_beliefs(beliefs, rows), values[rows])
                for plan, rows in zip(self.plans, self.cuts, strict=True)
                if isinstance(plan, SequentialPlan)
            ]
        )


def prepared(
    signal: LabelSignal | ScoreSignal, samples: Samples, knowledge: Knowledge, seed: int, *, size: int
) -> Parts:
    """The signal's plans for all samples, one plan per chunk of at most `size` samples."""
    slices = cuts_of(signal, len(samples), size)
    plans = tuple(signal.prepare(samples.take(rows), cut_knowledge(knowledge, rows), seed) for rows in slices)
    kind = SequentialParts if all(isinstance(plan, SequentialPlan) for plan in plans) else Parts
    return kind(plans, slices)


def is_whole(signal: LabelSignal | ScoreSignal) -> bool:
    """Whether the signal, or one of its parts, measures all samples together."""
    parts: tuple[LabelSignal, ...] = getattr(signal, "parts", ())
    return bool(getattr(signal, "whole", False)) or any(map(is_whole, parts))


def joined(measured: Iterator[Measurement]) -> Measurement:
    """The measurements of consecutive chunks as one, on the CPU."""
    return Measurement(*(torch.cat([chunk.cpu() for chunk in column]) for column in zip(*measured, strict=True)))

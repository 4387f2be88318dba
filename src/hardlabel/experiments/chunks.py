"""Samples are asked about in chunks: what is measured of one model on one chunk is a piece of work.

Nothing a signal draws depends on the company of a sample, so that chunks find what the whole would. A signal that
measures all its samples together (it trains a surrogate, say) declares `whole = True` and is not cut.
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

CHUNK = 1000  # Samples of a piece where nobody says how many.


def cuts(samples: int, size: int) -> tuple[slice, ...]:
    """Consecutive slices of at most `size` samples, equally long but for one sample; one empty slice of none.

    A short last one would be asked in a small batch, whose kernels may round in another way.
    """
    count = max(1, -(-samples // size))
    edges = [samples * number // count for number in range(count + 1)]
    return tuple(slice(start, stop) for start, stop in itertools.pairwise(edges))


def cut_knowledge(knowledge: Knowledge, part: slice) -> Knowledge:
    """What is known besides, where it speaks of single samples about those of one chunk."""
    if knowledge.shadows is None:
        return knowledge
    return replace(knowledge, shadows=replace(knowledge.shadows, inside=knowledge.shadows.inside[:, part]))


@dataclass(frozen=True, eq=False)
class Slice:
    """Beliefs about some of the samples, for beliefs that cannot be cut otherwise."""

    mean_in: Tensor
    deviation_in: Tensor
    mean_out: Tensor
    deviation_out: Tensor


def cut_beliefs(beliefs: Beliefs, part: slice) -> Beliefs:
    """The beliefs about one chunk."""
    own = getattr(beliefs, "of", None)
    if own is not None:
        return own(part)  # type: ignore[no-any-return]  # What an `of` of beliefs gives.
    assert not hasattr(beliefs, "rescaled"), "beliefs that rescale must say how they are cut, by a method `of`"
    return Slice(beliefs.mean_in[part], beliefs.deviation_in[part], beliefs.mean_out[part], beliefs.deviation_out[part])


@dataclass(frozen=True, eq=False)
class Parts:
    """Plans of consecutive chunks as one plan of all their samples; see `LabelPlan` and `ScorePlan`."""

    plans: tuple[LabelPlan | ScorePlan, ...]
    cuts: tuple[slice, ...]

    @property
    def queries(self) -> tuple[int, int]:
        each = [plan.queries for plan in self.plans]
        return min(fewest for fewest, _ in each), max(most for _, most in each)

    def measure(self, oracle: PaidLabels | ScoreOracle) -> Measurement:
        return joined(plan.measure(oracle) for plan in self.plans)  # type: ignore[arg-type]  # All are of one kind.


class SequentialParts(Parts):
    """The same of sequential plans; see `SequentialPlan`."""

    def believing(self, beliefs: Beliefs) -> Parts:
        return Parts(
            tuple(
                plan.believing(cut_beliefs(beliefs, part)) if isinstance(plan, SequentialPlan) else plan
                for plan, part in zip(self.plans, self.cuts, strict=True)
            ),
            self.cuts,
        )

    def replay(self, beliefs: Beliefs, values: Tensor) -> Tensor:
        return torch.cat(
            [
                plan.replay(cut_beliefs(beliefs, part), values[part])
                for plan, part in zip(self.plans, self.cuts, strict=True)
                if isinstance(plan, SequentialPlan)
            ]
        )


def prepared(
    signal: LabelSignal | ScoreSignal, samples: Samples, knowledge: Knowledge, seed: int, *, size: int
) -> Parts:
    """The signal's plans for all samples, chunk by chunk."""
    parts = cuts(len(samples), len(samples) if is_whole(signal) else size)
    plans = tuple(signal.prepare(samples.take(part), cut_knowledge(knowledge, part), seed) for part in parts)
    kind = SequentialParts if all(isinstance(plan, SequentialPlan) for plan in plans) else Parts
    return kind(plans, parts)


def is_whole(signal: LabelSignal | ScoreSignal) -> bool:
    """Whether a signal measures all its samples together, or has a part that does."""
    parts: tuple[LabelSignal, ...] = getattr(signal, "parts", ())
    return bool(getattr(signal, "whole", False)) or any(map(is_whole, parts))


def joined(measured: Iterator[Measurement]) -> Measurement:
    """The measurements of consecutive chunks as one, on the CPU."""
    return Measurement(*(torch.cat([part.cpu() for part in parts]) for parts in zip(*measured, strict=True)))

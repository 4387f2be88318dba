"""Is the label right? The baseline that every attack must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, keeps_label


@dataclass(frozen=True, kw_only=True)
class Gap:
    """1 where the target's answer is the true label, 0 elsewhere; costs 1 query per sample.

    Its balanced accuracy is 1/2 + (train accuracy - test accuracy) / 2.

    References:
        Yeom et al. (2018); the gap attack of Choquette-Choo et al. (2021), section 3.1.
    """

    access: ClassVar[Access] = Access.LABEL

    def __str__(self) -> str:
        return "label right?"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "GapPlan":
        del knowledge, seed  # It needs nothing but the samples.
        return GapPlan(samples)


@dataclass(frozen=True, eq=False)
class GapPlan:
    """See `LabelPlan`."""

    samples: Samples
    queries: ClassVar[tuple[int, int]] = (1, 1)

    def measure(self, oracle: LabelOracle) -> Measurement:
        right = keeps_label(oracle, self.samples.inputs[:, None], self.samples)
        return Measurement(
            right.float(),
            torch.ones(len(self.samples), dtype=torch.int64),
            torch.ones(len(self.samples), dtype=torch.bool),
        )

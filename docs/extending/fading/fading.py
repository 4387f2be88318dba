"""An attack: how long does a record keep its label while it fades to the lowest legal value?"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hardlabel.attacks import LabelAttack
from hardlabel.calibrations.threshold import Threshold
from hardlabel.signals.base import Access, Measurement, survival


@dataclass(frozen=True, kw_only=True)
class Fading:
    """The share of faded copies that keep the true label, in [0, 1]. Costs `copies` queries per sample."""

    access: ClassVar[Access] = Access.LABEL
    copies: int

    def prepare(self, samples, knowledge, seed):
        return FadingPlan(self, samples)


@dataclass(frozen=True, eq=False)
class FadingPlan:
    signal: Fading
    samples: object

    @property
    def queries(self):  # Fewest and most, known before anything is sent.
        return self.signal.copies, self.signal.copies

    def measure(self, oracle):
        kept = survival(oracle, self.samples, copies=self.signal.copies, make=self.faded)
        count = len(self.samples)
        queries = torch.full((count,), self.signal.copies)
        return Measurement(kept.float().mean(1, keepdim=True), queries, torch.ones(count, dtype=torch.bool))

    def faded(self, inputs, columns):
        lower = self.samples.domain.lower
        shares = [column / self.signal.copies for column in range(columns.start, columns.stop)]
        return torch.stack([lower + (1 - share) * (inputs - lower) for share in shares], 1)


ATTACK = LabelAttack(
    name="fading",
    summary="how long the label holds while the record fades",
    signals=lambda domain, queries: (Fading(copies=queries),),
    calibration=Threshold(),
    needs="a shadow model for its threshold",
    source="an example",
    fewest=2,
    usual=10,
    data="continuous",
)

"""Is the label right? The baseline that every attack must beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, keeps_label


@dataclass(frozen=True, kw_only=True)
class Gap:
    """1 where the target's answer is the true label, 0 elsewhere, (n, 1). Costs 1 query per sample.

    Its balanced accuracy is 1/2 + (train accuracy - test accuracy) / 2.

    References:
        Yeom et al. (2018); the gap attack of Choquette-Choo et al. (2021), section 3.1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.gap import Gap
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> Gap().prepare(samples, Knowledge(), seed=0).measure(Model()).values
        tensor([[1.],
                [0.]])
    """

    access: ClassVar[Access] = Access.LABEL

    def __str__(self) -> str:
        return "label right?"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "GapPlan":
        """Keeps the samples; asks nothing."""
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

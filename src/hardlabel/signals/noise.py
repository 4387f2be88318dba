"""Noise robustness: members keep their label under more noise."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.data.domain import NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, keeps_label, survival


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The share of noisy copies that keep the true label, (n, 1) in [0, 1].

    Costs 1 + `draws` queries per sample, and 1 for a misclassified sample, whose value is 0. Every sample sees the same
    draws (see `hardlabel.data.domain`), and so does the shadow model. The domain defines the noise: clipped Gaussian
    noise for continuous values, flips for binary values, both for mixed tables.

    Attributes:
        level: Strength of the noise.
        draws: Noisy copies per sample, 1 or more.

    References:
        Choquette-Choo et al. (2021), section 3.4; flips for discrete features, section 4.

    Raises:
        InvalidInput: `draws` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.data.domain import NoiseLevel
        >>> from hardlabel.signals.noise import Noise
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> signal = Noise(level=NoiseLevel(sigma=0.01), draws=20)
        >>> found = signal.prepare(samples, Knowledge(), seed=0).measure(Model())
        >>> found.values.tolist(), found.queries.tolist()
        ([[1.0], [0.0]], [21, 1])
    """

    access: ClassVar[Access] = Access.LABEL
    level: NoiseLevel
    draws: int = 100

    def __post_init__(self) -> None:
        checks.at_least(1, draws=self.draws)

    def __str__(self) -> str:
        return f"{self.draws} noisy copies, {self.level}"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "NoisePlan":
        """Keeps the samples and the seed of the noise; asks nothing."""
        del knowledge  # Noise needs no model.
        return NoisePlan(self, samples, seed)


@dataclass(frozen=True, eq=False)
class NoisePlan:
    """See `LabelPlan`."""

    signal: Noise
    samples: Samples
    seed: int

    @property
    def queries(self) -> tuple[int, int]:
        return 1, 1 + self.signal.draws

    def measure(self, oracle: LabelOracle) -> Measurement:
        right = keeps_label(oracle, self.samples.inputs[:, None], self.samples)[:, 0]
        asked = self.samples.take(right)
        values = torch.zeros(len(self.samples), device=self.samples.device)
        queries = torch.ones(len(self.samples), dtype=torch.int64)
        if len(asked):
            values[right] = self._survival(oracle, asked)
            queries[right.cpu()] += self.signal.draws
        return Measurement(values[:, None], queries, torch.ones(len(self.samples), dtype=torch.bool))

    def _survival(self, oracle: LabelOracle, asked: Samples) -> Tensor:
        domain, level = self.samples.domain, self.signal.level
        source = domain.noise_source(self.signal.draws, randomness.generator(self.seed, "noise"))
        kept = survival(
            oracle,
            asked,
            copies=self.signal.draws,
            make=lambda inputs, columns: domain.noisy(inputs, source[columns], level),
        )
        return kept.float().mean(1)

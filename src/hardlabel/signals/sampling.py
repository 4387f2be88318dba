"""Sampling attack: the labels of noisy copies, counted, stand in for the confidence vector that is not shown."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.data.domain import NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, chunks


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How often each class answers noisy copies of a sample: true class first, the others in falling order.

    Values (n, 1 + `top`) in [0, 1]; a row sums to 1 unless more than `top` other classes occurred. The values are made
    for an attack network, like a confidence vector; only the first column is higher for members.

    Costs exactly `draws` queries per sample, misclassified or not: the sample itself is not asked. The copies are
    those of the `Noise` signal at the same level, draws and seed.

    Attributes:
        level: Strength of the noise; see `hardlabel.data.domain`.
        draws: Noisy copies per sample, 1 or more.
        top: Number of other classes counted, 1 or more, since labels do not show how many there are; absent classes
            count 0.

    References:
        Rahimian, Orekondy & Fritz (2020), "Sampling Attacks: Amplification of Membership Inference Attacks by
        Repeated Queries", arXiv:2009.00395, known here by its abstract only; first a PriML workshop paper
        at NeurIPS 2019. Choices of ours: classes sorted and cut to `top`, the same noise for all samples, flips
        for bits and categories.

    Raises:
        InvalidInput: `draws` or `top` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.data.domain import NoiseLevel
        >>> from hardlabel.signals.sampling import Sampling
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> signal = Sampling(level=NoiseLevel(sigma=0.01), draws=20, top=2)
        >>> signal.prepare(samples, Knowledge(), seed=0).measure(Model()).values
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """

    access: ClassVar[Access] = Access.LABEL
    level: NoiseLevel
    draws: int = 100
    top: int = 9

    def __post_init__(self) -> None:
        checks.at_least(1, draws=self.draws, top=self.top)

    def __str__(self) -> str:
        return f"classes of {self.draws} noisy copies, {self.level}"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "SamplingPlan":
        """Keeps the samples and the seed of the noise; asks nothing."""
        del knowledge  # Noise needs no model.
        return SamplingPlan(self, samples, seed)


@dataclass(frozen=True, eq=False)
class SamplingPlan:
    """See `LabelPlan`."""

    signal: Sampling
    samples: Samples
    seed: int

    @property
    def queries(self) -> tuple[int, int]:
        return self.signal.draws, self.signal.draws

    def measure(self, oracle: LabelOracle) -> Measurement:
        count, signal = len(self.samples), self.signal
        values = torch.zeros(count, 1 + signal.top, device=self.samples.device)
        if count:
            answers = self._answers(oracle)
            for rows in chunks(count, copies=1, shape=(len(torch.unique(answers)),)):
                values[rows] = _frequencies(answers[rows], self.samples.labels[rows], signal.top)
        return Measurement(
            values,
            torch.full((count,), signal.draws, dtype=torch.int64),
            torch.ones(count, dtype=torch.bool),
        )

    def _answers(self, oracle: LabelOracle) -> Tensor:
        """Labels of all copies, int64 (n, draws), asked in blocks of samples and copies."""
        domain, draws = self.samples.domain, self.signal.draws
        source = domain.noise_source(draws, randomness.generator(self.seed, "noise"))
        answers = torch.zeros(len(self.samples), draws, dtype=torch.int64, device=self.samples.device)
        for columns in chunks(draws, copies=1, shape=domain.shape):
            width = columns.stop - columns.start
            for rows in chunks(len(self.samples), copies=width, shape=domain.shape):
                part = self.samples.take(rows)
                copies = domain.noisy(part.inputs, source[columns], self.signal.level)
                told = oracle.ask(copies.flatten(0, 1), part.ids.repeat_interleave(width))
                answers[rows, columns] = told.reshape(-1, width)
        return answers


def _frequencies(answers: Tensor, labels: Tensor, top: int) -> Tensor:
    """Shares of the true class and of the `top` most frequent others among `answers` (n, draws), (n, 1 + top)."""
    count, draws = answers.shape
    classes, places = torch.unique(answers, return_inverse=True)
    counts = torch.zeros(count, len(classes), dtype=torch.int64, device=answers.device)
    counts.scatter_add_(1, places, torch.ones_like(places))
    own = counts.masked_fill(classes != labels[:, None], 0).sum(1, keepdim=True)
    others = counts.masked_fill(classes == labels[:, None], 0).sort(1, descending=True).values[:, :top]
    padding = torch.zeros(count, top - others.shape[1], dtype=torch.int64, device=answers.device)
    return torch.cat([own, others, padding], 1).float() / draws

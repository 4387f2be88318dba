"""LDL: the label is what most noisy copies of the input get."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.data.domain import Domain, NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedLabels
from hardlabel.oracles.base import VALUES_IN_MEMORY, LabelOracle


@dataclass(frozen=True, kw_only=True)
class LDL:
    """Answers with the label that most of `copies` noisy copies of the input get; in a tie, the model's own label wins.

    Labels then change less within a ball around each input, which attacks that perturb inputs measure. Noise is the
    domain's: Gaussian in a box, flips of bits or categories elsewhere. Every query meets the same draws, fixed by the
    model's secret. Shows no confidences. Costs `copies` + 1 forward passes per query, and accuracy. Rajabi et al.
    (2022), "LDL: A Defense for Label-Based Membership Inference Attacks".

    Attributes:
        noise: Standard deviation in a box whose sides have length 1, probability of a flip elsewhere; in (0, 1].
        copies: Noisy copies per query, 1 or more.

    Raises:
        InvalidInput: `noise` is not in (0, 1], or `copies` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.ldl import LDL
        >>> class Model:  # Class 1 above a half.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> defender = Defender(domain=Box((1,)), classes=2, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = LDL(noise=0.05).guard(Model(), members, defender, seed=0)
        >>> guarded.ask(points, ids)
        tensor([0, 1])
    """

    noise: float
    copies: int = 25

    def __post_init__(self) -> None:
        checks.positive(noise=self.noise)
        checks.probability(noise=self.noise)
        checks.at_least(1, copies=self.copies)

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedLabels:
        """See `InferenceDefense`."""
        del members
        domain, level = defender.domain, _level(defender.domain, self.noise)
        source = domain.noise_source(self.copies, randomness.generator(seed, "LDL"))
        most = max(1, VALUES_IN_MEMORY // max(1, self.copies * int(torch.Size(domain.shape).numel())))

        def vote(inputs: Tensor, ids: Tensor) -> Tensor:
            own = model.ask(inputs, ids)
            noisy = domain.noisy(inputs, source, level)
            told = model.ask(noisy.flatten(0, 1), ids.repeat_interleave(self.copies)).reshape(len(inputs), self.copies)
            classes = max(defender.classes, int(told.max()) + 1, int(own.max()) + 1)
            votes = functional.one_hot(told, classes).sum(1) * 2 + functional.one_hot(own, classes)
            return votes.argmax(1)

        def ask(inputs: Tensor, ids: Tensor) -> Tensor:
            parts = zip(torch.split(inputs, most), torch.split(ids, most), strict=True)
            return torch.cat([vote(*part) for part in parts])

        return GuardedLabels(ask)


def _level(domain: Domain, noise: float) -> NoiseLevel:
    return NoiseLevel(sigma=noise * getattr(domain, "width", 1.0), flip=noise)

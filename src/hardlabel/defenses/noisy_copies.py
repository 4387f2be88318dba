"""Noisy copies: models are trained on noisy copies of the samples, never on the samples themselves."""

from dataclasses import dataclass

import torch

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.models.trainers import Trainer


@dataclass(frozen=True, kw_only=True)
class NoisyCopies:
    """Replaces each sample by `copies` noisy copies, each with noise of its own and the sample's label.

    Noise is the domain's, so that copies are legal: Gaussian in a box, categories drawn anew in a table. Costs `copies`
    times the rows. Bishop (1995), "Training with Noise is Equivalent to Tikhonov Regularization"; Kaya and Dumitras
    (2021), "When Does Data Augmentation Help With Membership Inference Attacks?", compare Gaussian noise with other
    augmentations and find that it protects where it costs accuracy. Both draw the noise anew in each epoch. Here the
    noise is drawn once, because a training of any kind takes a fixed set of samples.

    Attributes:
        strength: Place among the domain's noise levels, from 0 (the weakest) to 1 (the strongest).
        copies: Noisy copies of each sample, 1 or more.

    Raises:
        InvalidInput: `strength` is not in [0, 1], or `copies` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.noisy_copies import NoisyCopies
        >>> from hardlabel.models.trainers import RecipeTrainer
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> inputs, labels = torch.rand(50, 4), torch.zeros(50, dtype=torch.int64)
        >>> samples = Samples(ids=torch.arange(50), inputs=inputs, labels=labels, domain=Box((4,)))
        >>> trainer = RecipeTrainer(recipe=Recipe(architecture="fc"), classes=2)
        >>> prepared = NoisyCopies(strength=0.5, copies=3).prepared(samples, trainer, defender, seed=0)
        >>> len(prepared), bool((prepared.inputs[0] == samples.inputs[0]).all())
        (150, False)
    """

    strength: float
    copies: int = 5

    def __post_init__(self) -> None:
        checks.at_least(1, copies=self.copies)
        if not 0 <= self.strength <= 1:
            raise InvalidInput(f"strength must lie in [0, 1], got {self.strength}")

    def level(self, domain: Domain) -> NoiseLevel:
        """The noise of this strength in a domain."""
        levels = domain.noise_levels
        return levels[round(self.strength * (len(levels) - 1))]

    def changes(self, defender: Defender) -> tuple[str, ...]:
        """See `DataDefense`."""
        return (f"trained on {self.copies} noisy copies of each sample ({self.level(defender.domain)}) in its place",)

    def prepared(self, samples: Samples, trainer: Trainer, defender: Defender, *, seed: int) -> Samples:
        """See `DataDefense`."""
        del trainer, defender
        domain, count = samples.domain, len(samples)
        source = domain.noise_source(count * self.copies, randomness.generator(seed, "noisy copies"))
        level = self.level(domain)
        # A domain perturbs all samples of a call alike: one call for each sample draws noise of its own.
        copies = [
            domain.noisy(samples.inputs[row : row + 1], source[row * self.copies : (row + 1) * self.copies], level)[0]
            for row in range(count)
        ]
        return Samples(
            ids=torch.arange(count * self.copies, device=samples.device),
            inputs=torch.cat(copies),
            labels=samples.labels.repeat_interleave(self.copies),
            domain=domain,
        )

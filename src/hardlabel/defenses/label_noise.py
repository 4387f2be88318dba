"""Label noise: some training labels are drawn anew."""

import math
from dataclasses import dataclass

import torch

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.models.trainers import Trainer


@dataclass(frozen=True, kw_only=True)
class LabelNoise:
    """Draws the label of each sample anew with probability `share`, all classes equally likely, before the training.

    Costs accuracy. Xie et al. (2016), "DisturbLabel: Regularizing CNN on the Loss Layer", who draw labels anew in each
    batch. Here they are drawn once, because a training of any kind takes a fixed set. This is randomised response: the
    training labels, and they alone, have label differential privacy (Ghazi et al. 2021, "Deep Learning with Label
    Differential Privacy"). It does not bound how well membership can be inferred.

    Attributes:
        share: Chance that a label is drawn anew, strictly between 0 and 1.

    Raises:
        InvalidInput: `share` is not between 0 and 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.label_noise import LabelNoise
        >>> from hardlabel.models.trainers import RecipeTrainer
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> inputs, labels = torch.rand(50, 4), torch.zeros(50, dtype=torch.int64)
        >>> samples = Samples(ids=torch.arange(50), inputs=inputs, labels=labels, domain=Box((4,)))
        >>> trainer = RecipeTrainer(recipe=Recipe(architecture="fc"), classes=2)
        >>> prepared = LabelNoise(share=0.2).prepared(samples, trainer, defender, seed=0)
        >>> bool(0 < prepared.labels.sum() < 20), prepared.inputs.equal(samples.inputs)
        (True, True)
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InvalidInput(f"share must lie strictly between 0 and 1, got {self.share}")

    def epsilon(self, classes: int) -> float:
        """Label differential privacy of each training label."""
        return math.log1p((1 - self.share) * classes / self.share)

    def changes(self, defender: Defender) -> tuple[str, ...]:
        """See `DataDefense`."""
        epsilon = self.epsilon(defender.classes)
        return (
            f"{self.share:.0%} of the training labels are drawn anew; this hides a label (epsilon {epsilon:.3g}), "
            "not the membership",
        )

    def prepared(self, samples: Samples, trainer: Trainer, defender: Defender, *, seed: int) -> Samples:
        """See `DataDefense`."""
        del trainer
        draws, count = randomness.generator(seed, "label noise"), len(samples)
        anew = torch.rand(count, generator=draws) < self.share
        drawn = torch.randint(defender.classes, (count,), generator=draws)
        labels = torch.where(anew, drawn, samples.labels.cpu())
        return samples.relabelled(labels.to(samples.device))

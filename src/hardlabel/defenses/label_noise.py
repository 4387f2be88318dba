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
    """Draws the label of each sample anew with probability `share`, all classes alike, before the training.

    Costs accuracy. Xie et al. (2016), "DisturbLabel: Regularizing CNN on the Loss Layer", who draw labels anew in each
    batch; a training of any kind takes a fixed set, so that here they are drawn once. This is randomised response: the
    training labels, and they alone, have label differential privacy (Ghazi et al. 2021, "Deep Learning with Label
    Differential Privacy"). It does not bound what tells that a sample was a member.

    Attributes:
        share: Chance that a label is drawn anew, strictly between 0 and 1.
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

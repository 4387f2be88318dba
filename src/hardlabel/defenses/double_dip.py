"""Double-Dip: transfer learning, then a vote of noisy copies."""

from dataclasses import dataclass

from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender, Training
from hardlabel.defenses.guarded import GuardedLabels
from hardlabel.defenses.ldl import LDL
from hardlabel.defenses.transfer_learning import transferred
from hardlabel.models.train import Recipe
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class DoubleDip:
    """Trains the last layer of a pretrained network, and answers with the vote of LDL.

    Costs what `TransferLearning` and `LDL` cost. Rajabi et al. (2024), "Double-Dip: Thwarting Label-Only Membership
    Inference Attacks with Transfer Learning and Randomization".

    Attributes:
        noise: See `LDL`.
        frozen: See `TransferLearning`.
    """

    noise: float
    frozen: float = 1.0

    def __post_init__(self) -> None:
        LDL(noise=self.noise)

    def check(self, defender: Defender) -> None: ...

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        return transferred(recipe, defender, frozen=self.frozen, name="double-dip")

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedLabels:
        """See `InferenceDefense`."""
        return LDL(noise=self.noise).guard(model, members, defender, seed=seed)

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
        noise: See `LDL`, in (0, 1].
        frozen: See `TransferLearning`, in [0, 1].

    Raises:
        InvalidInput: A setting is out of range; in `training`, see `TransferLearning`.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.double_dip import DoubleDip
        >>> inputs, labels = torch.rand(20, 4), torch.arange(20) % 2
        >>> reserve = Samples(ids=torch.arange(20), inputs=inputs, labels=labels, domain=Box((4,)))
        >>> defender = Defender(
        ...     domain=Box((4,)), classes=2, train_size=100, reserve=reserve, device=torch.device("cpu")
        ... )
        >>> training = DoubleDip(noise=0.05).training(Recipe(architecture="fc"), defender)
        >>> training.changes[1]
        '1 of the 1 layers before the last stay as pretrained'
    """

    noise: float
    frozen: float = 1.0

    def __post_init__(self) -> None:
        LDL(noise=self.noise)

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        return transferred(recipe, defender, frozen=self.frozen, name="double-dip")

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedLabels:
        """See `InferenceDefense`."""
        return LDL(noise=self.noise).guard(model, members, defender, seed=seed)

"""L2: a penalty on the squared weights."""

from dataclasses import dataclass, replace

from hardlabel import checks
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class L2:
    """Trains with a weight decay: half of it times the squared weights is added to the loss.

    Costs accuracy where strong, no time. Choquette-Choo et al. (2021).

    Attributes:
        decay: Above 0; takes the place of the recipe's own.

    Raises:
        InvalidInput: `decay` is not above 0.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.l2 import L2
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = L2(decay=0.01).training(Recipe(architecture="fc"), defender)
        >>> training.recipe.weight_decay
        0.01
    """

    decay: float

    def __post_init__(self) -> None:
        checks.positive(decay=self.decay)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        return Training(recipe=replace(recipe, weight_decay=self.decay))

"""Early stopping: training ends before the data are learnt by heart."""

from dataclasses import dataclass, replace

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Ends training after the first epoch in which the share of right answers on the training samples is high enough.

    Saves time, costs accuracy where strong. The training accuracy is a strength that means the same on all data. Song
    and Mittal (2021), who compare epochs.

    Attributes:
        accuracy: Share of right answers over an epoch's batches, strictly between 0 and 1.

    Raises:
        InvalidInput: `accuracy` is not between 0 and 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.early_stopping import EarlyStopping
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = EarlyStopping(accuracy=0.9).training(Recipe(architecture="fc"), defender)
        >>> training.recipe.stop_at_accuracy
        0.9
    """

    accuracy: float

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise InvalidInput(f"accuracy must lie strictly between 0 and 1, got {self.accuracy}")

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        sooner = min(self.accuracy, recipe.stop_at_accuracy or 1.0)
        return Training(recipe=replace(recipe, stop_at_accuracy=sooner))

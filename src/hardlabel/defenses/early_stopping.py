"""Early stopping: training ends before the data are learnt by heart."""

from dataclasses import dataclass, replace

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """Ends training after the first epoch at which so many training samples are told rightly.

    Saves time, costs accuracy where strong. Song and Mittal (2021), who compare epochs; the training
    accuracy is a strength that means the same on all data.

    Attributes:
        accuracy: Share of right answers, running, in (0, 1).
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

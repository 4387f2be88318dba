"""Augmentation: images are shown shifted and mirrored."""

from dataclasses import dataclass, replace

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Shows each image, in each epoch, shifted by 0 to `distance` pixels, or mirrored; the recipe's moves stay.

    Costs more epochs. Choquette-Choo et al. (2021), who find that attackers who know the moves may gain.

    Attributes:
        distance: Most pixels, all directions together, 1 or more.

    Raises:
        InvalidInput: `distance` is below 1; in `training`, the samples are not images, or a side of an image is not
            above `distance`.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.augmentation import Augmentation
        >>> defender = Defender(domain=Box((3, 32, 32)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = Augmentation(distance=1).training(Recipe(architecture="cnn"), defender)
        >>> len(training.recipe.augment)  # The image as it is, its mirror image, four shifts.
        6
    """

    distance: int

    def __post_init__(self) -> None:
        checks.at_least(1, distance=self.distance)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        domain = defender.domain
        if domain.kind != "image":
            raise InvalidInput(f"defense 'augmentation' needs images, got a {domain.kind} domain")
        if self.distance >= min(domain.shape[1:]):
            raise InvalidInput(
                f"distance must be below {min(domain.shape[1:])}, the side of an image, got {self.distance}"
            )
        shifts = [augment.translations(distance) for distance in range(self.distance + 1)]
        return Training(recipe=replace(recipe, augment=augment.union(recipe.augment, augment.flips(), *shifts)))

"""Moved copies: models are trained on each image and its shifted and mirrored copies."""

from dataclasses import dataclass

import torch

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.domain import Box, Domain
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.models.trainers import Trainer


@dataclass(frozen=True, kw_only=True)
class MovedCopies:
    """Adds to each image its mirror image and all its shifts by 1 to `distance` pixels, with the image's label.

    Costs 6 times the rows for a distance of 1, 14 times for 2 and 26 times for 3. Choquette-Choo et al. (2021),
    section 3.3, for the moves; they find that attackers who know the moves may gain. Unlike `Augmentation`, which draws
    one move per image and epoch, every training that takes a fixed set of samples can use it.

    Attributes:
        distance: Most pixels, all directions together, 1 or more.

    Raises:
        InvalidInput: `distance` is below 1; in `changes` and `prepared`, the samples are no images; in `changes`, a
            side of an image is not above `distance`.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.moved_copies import MovedCopies
        >>> from hardlabel.models.trainers import RecipeTrainer
        >>> defender = Defender(domain=Box((1, 8, 8)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> samples = Samples(
        ...     ids=torch.arange(1), inputs=torch.rand(1, 1, 8, 8), labels=torch.zeros(1).long(), domain=defender.domain
        ... )
        >>> trainer = RecipeTrainer(recipe=Recipe(architecture="fc"), classes=2)
        >>> prepared = MovedCopies(distance=1).prepared(samples, trainer, defender, seed=0)
        >>> len(prepared)  # The image as it is, its mirror image, four shifts.
        6
    """

    distance: int

    def __post_init__(self) -> None:
        checks.at_least(1, distance=self.distance)

    @property
    def moves(self) -> tuple[augment.Move, ...]:
        """The moves, the image as it is first."""
        shifts = [augment.translations(distance) for distance in range(self.distance + 1)]
        return augment.union(augment.flips(), *shifts)

    def changes(self, defender: Defender) -> tuple[str, ...]:
        """See `DataDefense`."""
        box = _box(defender.domain)
        if self.distance >= min(box.shape[1:]):
            raise InvalidInput(
                f"distance must be below {min(box.shape[1:])}, the side of an image, got {self.distance}"
            )
        return (f"trained on {len(self.moves)} copies of each image: shifted, mirrored and as it is",)

    def prepared(self, samples: Samples, trainer: Trainer, defender: Defender, *, seed: int) -> Samples:
        """See `DataDefense`."""
        del trainer, defender, seed
        box, moves = _box(samples.domain), self.moves
        copies = torch.stack([augment.apply(move, samples.inputs, fill=box.lower) for move in moves], 1)
        return Samples(
            ids=torch.arange(len(samples) * len(moves), device=samples.device),
            inputs=copies.flatten(0, 1),
            labels=samples.labels.repeat_interleave(len(moves)),
            domain=samples.domain,
        )


def _box(domain: Domain) -> Box:
    if not isinstance(domain, Box) or domain.kind != "image":
        raise InvalidInput(f"defense 'moved-copies' needs images, got a {domain.kind} domain")
    return domain

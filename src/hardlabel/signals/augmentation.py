"""Augmentation: which shifted, rotated or mirrored copies keep the label."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import Move
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, survival


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """One bit per augmented copy, (n, copies): 1 where it gets the true label. Costs one query per copy. Images only.

    Attributes:
        moves: The copies, made by `hardlabel.data.augment`, at least one; usually the first is the image itself.
        name: What the set is called in tables.

    References:
        Choquette-Choo et al. (2021), section 3.3 and appendix A: shifts by d (4d + 1 queries), rotations
        by -r, 0 and r degrees (3 queries).

    Raises:
        InvalidInput: No copy.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.data import augment
        >>> from hardlabel.signals.augmentation import Augmentation
        >>> class Model:  # Whether the left half is the brighter one.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[..., :2].sum((1, 2, 3)) > inputs[..., 2:].sum((1, 2, 3))).long()
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> image[..., 0] = 1.0
        >>> samples = Samples(ids=torch.arange(1), inputs=image, labels=torch.tensor([1]), domain=Box((1, 4, 4)))
        >>> signal = Augmentation(name="mirror", moves=augment.flips())
        >>> signal.prepare(samples, Knowledge(), seed=0).measure(Model()).values
        tensor([[1., 0.]])
    """

    access: ClassVar[Access] = Access.LABEL
    moves: tuple[Move, ...]
    name: str

    def __post_init__(self) -> None:
        if not self.moves:
            raise InvalidInput("moves must name at least one copy, got none")

    def __str__(self) -> str:
        return f"{self.name}, {len(self.moves)} copies"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "AugmentationPlan":
        """Keeps the samples; asks nothing.

        Raises:
            InvalidInput: The samples are no images.
        """
        del knowledge, seed  # The copies are fixed.
        domain = samples.domain
        if not (isinstance(domain, Box) and domain.kind == "image"):
            raise InvalidInput(f"augmentation needs images, got a {domain.kind} domain")
        return AugmentationPlan(self, samples, domain)


@dataclass(frozen=True, eq=False)
class AugmentationPlan:
    """See `LabelPlan`."""

    signal: Augmentation
    samples: Samples
    domain: Box

    @property
    def queries(self) -> tuple[int, int]:
        return len(self.signal.moves), len(self.signal.moves)

    def measure(self, oracle: LabelOracle) -> Measurement:
        kept = survival(oracle, self.samples, copies=len(self.signal.moves), make=self._copies)
        return Measurement(
            kept.float(),
            torch.full((len(self.samples),), len(self.signal.moves), dtype=torch.int64),
            torch.ones(len(self.samples), dtype=torch.bool),
        )

    def _copies(self, images: Tensor, columns: slice) -> Tensor:
        fill = self.domain.lower
        moved = [augment.apply(move, images, fill=fill) for move in self.signal.moves[columns]]
        return self.domain.clip(torch.stack(moved, 1))

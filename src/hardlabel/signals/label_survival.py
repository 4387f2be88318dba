"""Kept copies: how many moved copies of each kind keep the true label, as positions a path's crossing stands beside."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.augment import Move
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement
from hardlabel.signals.shares import Shares, SharesPlan


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The number of copies that get the true label, one scalar per group of moves: values (n, 2 groups).

    The copies are those of `Shares`. Values are censored: the half-integers around the number. An edge is infinite
    where no copy or every copy keeps the label, since more copies might tell more. Costs one query per copy.

    Attributes:
        moves: Groups of moved copies, each of at least one; images only.

    References:
        The copies are those of Choquette-Choo et al. (2021), section 3.3; counting them in addition to a path is ours.

    Raises:
        InvalidInput: No group, or an empty one.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.data import augment
        >>> from hardlabel.signals.label_survival import Kept
        >>> class Model:  # Whether the left half is the brighter one.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[..., :2].sum((1, 2, 3)) > inputs[..., 2:].sum((1, 2, 3))).long()
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> image[..., 0] = 1.0
        >>> samples = Samples(ids=torch.arange(1), inputs=image, labels=torch.tensor([1]), domain=Box((1, 4, 4)))
        >>> plan = Kept(moves=(augment.flips(),)).prepare(samples, Knowledge(), seed=0)
        >>> plan.measure(Model()).values  # One of two copies: the image itself.
        tensor([[0.5000, 1.5000]])
    """

    access: ClassVar[Access] = Access.LABEL
    censored: ClassVar[bool] = True
    moves: tuple[tuple[Move, ...], ...]

    def __post_init__(self) -> None:
        if not self.moves or not all(self.moves):
            raise InvalidInput(f"moves must name groups of at least one copy, at least one group, got {self.moves}")

    def __str__(self) -> str:
        return f"kept of {' + '.join(str(len(group)) for group in self.moves)} moved copies"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "KeptPlan":
        """Needs nothing but the samples; asks nothing.

        Raises:
            InvalidInput: The samples are no images.
        """
        return KeptPlan(self, Shares(moves=self.moves).prepare(samples, knowledge, seed))


@dataclass(frozen=True, eq=False)
class KeptPlan:
    """See `LabelPlan`."""

    signal: Kept
    shares: SharesPlan

    @property
    def queries(self) -> tuple[int, int]:
        return self.shares.queries

    def measure(self, oracle: LabelOracle) -> Measurement:
        """Intervals (n, 2 groups), all complete."""
        found = self.shares.measure(oracle)
        sizes = torch.tensor([len(group) for group in self.signal.moves], device=found.values.device)
        counts = (found.values * sizes).round()
        return found._replace(values=_intervals(counts, sizes))


def _intervals(counts: Tensor, sizes: Tensor) -> Tensor:
    lower = torch.where(counts > 0, counts - 0.5, -torch.inf)
    upper = torch.where(counts < sizes, counts + 0.5, torch.inf)
    return torch.stack([lower, upper], 2).flatten(1)

"""Shares: how many copies of each kind keep the true label, kind by kind."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import Move
from hardlabel.data.domain import Box, NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, survival


@dataclass(frozen=True, kw_only=True)
class Shares:
    """The share of copies that get the true label, in [0, 1], one column per group of moves and per noise level.

    Values are (n, groups + levels).

    Costs one query per copy for every sample: if a copy of a misclassified sample gets the true label, the sample lies
    near that class. Every level sees the same draws, and so do all samples and models. A group gives one share instead
    of single bits, so that a regression has few columns to learn from few models.

    Attributes:
        moves: Groups of augmented copies; images only.
        levels: Strengths of the noise.
        draws: Noisy copies per level, 1 or more.

    References:
        The copies are those of Choquette-Choo et al. (2021), sections 3.3 (moves) and 3.4 (noise); grouping them is
        ours.

    Raises:
        InvalidInput: No group and no level, an empty group, or `draws` below 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.data import augment
        >>> from hardlabel.signals.shares import Shares
        >>> class Model:  # Whether the left half is the brighter one.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[..., :2].sum((1, 2, 3)) > inputs[..., 2:].sum((1, 2, 3))).long()
        >>> image = torch.zeros(1, 1, 4, 4)
        >>> image[..., 0] = 1.0
        >>> samples = Samples(ids=torch.arange(1), inputs=image, labels=torch.tensor([1]), domain=Box((1, 4, 4)))
        >>> plan = Shares(moves=(augment.flips(),)).prepare(samples, Knowledge(), seed=0)
        >>> plan.measure(Model()).values  # One of two copies: the image itself.
        tensor([[0.5000]])
    """

    access: ClassVar[Access] = Access.LABEL
    moves: tuple[tuple[Move, ...], ...] = ()
    levels: tuple[NoiseLevel, ...] = ()
    draws: int = 1

    def __post_init__(self) -> None:
        checks.at_least(1, draws=self.draws)
        if not self.moves and not self.levels:
            raise InvalidInput("moves or levels must name at least one group of copies, got none")
        if not all(self.moves):
            raise InvalidInput("moves must have no empty group, got one")

    def __str__(self) -> str:
        moved = [f"{' + '.join(str(len(group)) for group in self.moves)} moved copies"] if self.moves else []
        levels = " / ".join(map(str, self.levels))
        noisy = [f"{self.draws} noisy copies at each of {levels}"] if self.levels else []
        return f"shares of {' and of '.join(moved + noisy)}"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "SharesPlan":
        """Keeps the samples and the seed of the noise; asks nothing.

        Raises:
            InvalidInput: There are moves, and the samples are no images.
        """
        del knowledge  # Copies need no model.
        if self.moves and samples.domain.kind != "image":
            raise InvalidInput(f"moves need images, got a {samples.domain.kind} domain")
        return SharesPlan(self, samples, seed)


@dataclass(frozen=True, eq=False)
class SharesPlan:
    """See `LabelPlan`."""

    signal: Shares
    samples: Samples
    seed: int

    @property
    def queries(self) -> tuple[int, int]:
        copies = sum(len(group) for group in self.signal.moves) + len(self.signal.levels) * self.signal.draws
        return copies, copies

    def measure(self, oracle: LabelOracle) -> Measurement:
        columns = [self._moved(oracle, group) for group in self.signal.moves]
        columns += [self._noisy(oracle, level) for level in self.signal.levels]
        return Measurement(
            torch.stack(columns, 1),
            torch.full((len(self.samples),), self.queries[0], dtype=torch.int64),
            torch.ones(len(self.samples), dtype=torch.bool),
        )

    def _moved(self, oracle: LabelOracle, group: tuple[Move, ...]) -> Tensor:
        domain = self.samples.domain
        assert isinstance(domain, Box)  # prepare() saw to it: only boxes are images.

        def make(images: Tensor, columns: slice) -> Tensor:
            return domain.clip(
                torch.stack([augment.apply(move, images, fill=domain.lower) for move in group[columns]], 1)
            )

        return survival(oracle, self.samples, copies=len(group), make=make).float().mean(1)

    def _noisy(self, oracle: LabelOracle, level: NoiseLevel) -> Tensor:
        domain, draws = self.samples.domain, self.signal.draws
        # One source for all levels: they differ in strength only.
        source = domain.noise_source(draws, randomness.generator(self.seed, "shares"))
        kept = survival(
            oracle,
            self.samples,
            copies=draws,
            make=lambda inputs, columns: domain.noisy(inputs, source[columns], level),
        )
        return kept.float().mean(1)

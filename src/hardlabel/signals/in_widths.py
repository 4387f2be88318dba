"""Samples seen in widths of their channels: what a search for distances sees where bounds differ between channels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel.data.bounds import ChannelBounds
from hardlabel.data.domain import Domain, NoiseLevel, l2
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True)
class InWidths:
    """A domain in which every channel of `inner` goes from 0 to 1; see `Domain`.

    Attributes:
        inner: The domain itself.
        bounds: The bounds of its channels.
    """

    inner: Domain
    bounds: ChannelBounds

    @property
    def kind(self) -> str:
        return self.inner.kind

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inner.shape

    @property
    def continuous(self) -> bool:
        return True

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        return self.inner.noise_levels

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        self.inner.check(self.outside(inputs), name)

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        legal = self.inside(self.outside(inputs))
        return legal if out is None else out.copy_(legal)

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        return self.inner.noise_source(draws, generator)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        return self.inside(self.inner.noisy(self.outside(inputs), source, level))

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        return self.inside(self.inner.random(count, generator))

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        return l2(first - second)

    def inside(self, points: Tensor) -> Tensor:
        """Points of `inner` (..., *shape) or flat (..., d) as points of this domain."""
        lower, upper = self.bounds.edges(points)
        return (points - lower) / (upper - lower)

    def outside(self, points: Tensor) -> Tensor:
        """The nearest legal points of `inner`, from points of this domain or beside it."""
        lower, upper = self.bounds.edges(points)
        return self.inner.clip(points * (upper - lower) + lower)


class LabelsInWidths:
    """A LabelOracle for points of `InWidths`: it asks `inner` about the points of the domain that they stand for."""

    def __init__(self, inner: LabelOracle, domain: Domain, bounds: ChannelBounds) -> None:
        self._inner, self._seen = inner, InWidths(domain, bounds)

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        return self._inner.ask(self._seen.outside(inputs), ids)


def in_widths(samples: Samples, bounds: ChannelBounds) -> Samples:
    """The same samples in widths of their channels."""
    seen = InWidths(samples.domain, bounds)
    return Samples(ids=samples.ids, inputs=seen.inside(samples.inputs), labels=samples.labels, domain=seen)

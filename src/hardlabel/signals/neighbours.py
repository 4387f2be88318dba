"""Legal neighbours of samples in any domain: the candidates among which a question is chosen.

Draws are shared: there are SETS sets of candidates, and the values of a sample say which set is its own. Nothing
depends on the batch, on ids or on the other samples. A single set for all would make an attack as good as one draw.
Candidate 0 is the sample itself.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.data import augment
from hardlabel.data.domain import BinaryFeatures, Box, Domain
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.randomness import generator

SETS = 16
SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # Of a sample's cells that are drawn anew; candidates take turns.


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Candidates for samples of one domain.

    Attributes:
        domain: Of the samples.
        count: Number of candidates, the sample itself included.
        drawn: Which encoded values candidate j of set s replaces, in row s * count + j, (SETS * count, width) bool, and
            by what, float32; None where cells cannot be exchanged (images, series, tokens) or there is no population.
        noise: The domain's noise for each candidate of each set, (SETS * count, ...); used where `drawn` is None.
        mixer: What maps the values of a sample to its set, (width,) int64.
    """

    domain: Domain
    count: int
    drawn: tuple[Tensor, Tensor] | None
    noise: Tensor
    mixer: Tensor

    def sets(self, inputs: Tensor) -> Tensor:
        """The set of each sample, (q,), of `inputs` (q, *shape)."""
        bits = inputs.flatten(1).contiguous().view(torch.int32).long()
        # The product wraps around, so that the upper bits depend on all lower ones.
        return ((bits * self.mixer.to(inputs.device)).sum(1) >> 32) % SETS

    def points(self, inputs: Tensor, columns: Tensor) -> Tensor:
        """Candidate `columns[q]` of `inputs[q]`, (q, *shape); legal in the domain."""
        places = self.sets(inputs) * self.count + columns
        if self.drawn is not None:
            replaced, values = (part.to(inputs.device)[places] for part in self.drawn)
            return torch.where(replaced, values, inputs.flatten(1)).reshape(inputs.shape)
        points = inputs.clone()
        order = places.argsort()
        present, counts = torch.unique_consecutive(places[order], return_counts=True)
        for place, rows in zip(present.tolist(), torch.split(order, counts.tolist()), strict=True):
            if place % self.count:
                points[rows] = self._changed(inputs[rows], place)
        return points

    def _changed(self, inputs: Tensor, place: int) -> Tensor:
        column = place % self.count
        moves = _moves(self.domain)
        if moves and column % 2 and isinstance(self.domain, Box):
            moved = augment.apply(moves[column // 2 % len(moves)], inputs, fill=self.domain.lower)
            return self.domain.clip(moved)
        levels = self.domain.noise_levels
        level = levels[(column // 2 if moves else column - 1) % len(levels)]
        return self.domain.noisy(inputs, self.noise[place : place + 1].to(inputs.device), level)[:, 0]


def neighbours(domain: Domain, population: Samples | None, *, count: int, seed: int) -> Neighbours:
    """Draws `count` candidates, the sample itself included.

    Tables, binary features and vectors of numbers get cells of other records: each cell is replaced with one of SHARES
    as probability, at least one is, each by that of a record drawn from the population. Images are shifted by up to 3
    pixels, mirrored, or get the domain's noise; series, tokens, and everything without a population get noise.

    Args:
        domain: Of the samples.
        population: Records whose cells are used, or None.
        count: 1 or more.
        seed: Fixes every draw.

    Raises:
        InvalidInput: `count` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel.data.domain import BinaryFeatures
        >>> from hardlabel.signals.neighbours import neighbours
        >>> candidates = neighbours(BinaryFeatures(4), None, count=3, seed=0)
        >>> candidates.points(torch.ones(1, 4), torch.tensor([0]))
        tensor([[1., 1., 1., 1.]])
    """
    checks.at_least(1, count=count)
    source = generator(seed, "neighbours", count)
    mixer = torch.randint(-(2**62), 2**62, (math.prod(domain.shape),), generator=source) | 1
    cells = None if population is None or not len(population) else _cells(domain)
    if cells is None or population is None:
        return Neighbours(domain, count, None, domain.noise_source(SETS * count, source), mixer)
    width = int(cells.max()) + 1
    shares = torch.tensor([SHARES[column % len(SHARES)] for column in range(count)]).repeat(SETS)
    uniform = torch.rand(SETS * count, width, generator=source)
    least = torch.zeros_like(uniform, dtype=torch.bool).scatter_(1, uniform.argmin(1, keepdim=True), True)
    replaced = (uniform < shares[:, None]) | least
    replaced[::count] = False
    donors = torch.randint(len(population), uniform.shape, generator=source)
    rows = population.inputs.flatten(1).cpu()
    values = rows[donors[:, cells], torch.arange(len(cells))]
    return Neighbours(domain, count, (replaced[:, cells], values), torch.empty(0), mixer)


def _cells(domain: Domain) -> Tensor | None:
    """The cell that each encoded value belongs to, (width,) int64; None where cells of records do not fit together."""
    if isinstance(domain, MixedTable):
        widths = torch.tensor([column.width for column in domain.columns])
        return torch.arange(len(widths)).repeat_interleave(widths)
    if isinstance(domain, BinaryFeatures) or (isinstance(domain, Box) and len(domain.shape) == 1):
        return torch.arange(domain.shape[0])
    return None


def _moves(domain: Domain) -> tuple[augment.Move, ...]:
    """Moves of images; none elsewhere."""
    return _near() if isinstance(domain, Box) and domain.kind == "image" else ()


@cache
def _near() -> tuple[augment.Move, ...]:
    near = augment.union(augment.flips(), *(augment.translations(distance) for distance in (1, 2, 3)))
    return tuple(move for move in near if move != augment.STILL)

"""Where a search for the boundary starts: population points of other classes, nearest first, then random ones."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hardlabel.data.domain import corners
from hardlabel.data.samples import Samples
from hardlabel.randomness import generator
from hardlabel.signals.base import chunks

STARTS = 10  # Starts that race; as many random points again are tried where no population point serves.
POPULATION_SEARCHED = 4096  # Population points among which the nearest are sought.


def starts(samples: Samples, population: Samples | None, rows: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Start points (m, d) for the samples at `rows`, one turn after another, and which of them are usable."""
    device = samples.device
    if population is not None and len(population) and len(rows):
        population = population.take(slice(0, POPULATION_SEARCHED)).to(device)
        points = population.inputs.flatten(1)
        for nearest, usable in _nearest_others(samples.take(rows), population):
            yield points[nearest], usable
    source = generator(seed, "boundary", "starts")
    everyone = torch.ones(len(rows), dtype=torch.bool, device=device)
    for point in samples.domain.random(STARTS, source).flatten(1).to(device):
        yield point.expand(len(rows), -1), everyone


def _nearest_others(samples: Samples, population: Samples) -> list[tuple[Tensor, Tensor]]:
    """The k-th nearest population points of other classes, k < STARTS, and whether there is one, each (n,).

    Inputs are rounded to 255 levels of the box: whole numbers, whose products float64 sums without rounding,
    so that no order depends on the batch. Ties go to the first.
    """
    lower, upper = corners(samples.domain, samples.inputs)
    width = torch.where(upper > lower, upper - lower, 1.0)  # A constant column has none.

    def whole(points: Tensor) -> Tensor:
        return ((points - lower) / width * 255).round().flatten(1).double()

    here, there = whole(samples.inputs), whole(population.inputs)
    nearest, usable = [], []
    for part in chunks(len(samples), copies=2, shape=(len(population),)):  # Float64 takes two float32's room.
        squares = here[part].square().sum(1)[:, None] + there.square().sum(1) - 2 * (here[part] @ there.T)
        keys = squares * len(population) + torch.arange(len(population), device=samples.device)
        keys[samples.labels[part, None] == population.labels] = math.inf
        best, order = keys.topk(min(STARTS, len(population)), dim=1, largest=False)
        nearest.append(order)
        usable.append(best.isfinite())
    return list(zip(torch.cat(nearest).unbind(1), torch.cat(usable).unbind(1), strict=True))

"""GeoDA: the same distance as HopSkipJump's for fewer queries, most of all on images.

Rahmati, Moosavi-Dezfooli, Frossard and Dai (2020), arXiv:2003.06468, for L2. The boundary's normal is estimated from
labels of smooth images only, the lowest frequencies of the cosine transform: far fewer dimensions, in which a network's
gradients lie to a large part. Where inputs are no images, directions are Gaussian. Ours differs in that

- from the sample the paper goes along the normal until the label changes; here the angle between the way so far and
  the normal is bisected on the circle whose diameter the way so far is (SurFree: Maho et al. 2021, arXiv:2011.12807;
  with an estimated normal Reza et al. 2023, arXiv:2308.03163). Each point of the circle is nearer than the way so far,
  and where the boundary is flat they meet where it is nearest;
- starts, schedule, spread of probes and the last bisection are those of hopskipjump.py;
- frequencies grow with the steps, so that the distance is not held up by what the lowest ones cannot express.

One sample's result depends on nothing but the sample, the seed and the answers; see walk.py and probes.py.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from hardlabel.data.domain import l2
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.probes import gaussian, iterations, normals, smooth
from hardlabel.signals.walk import Search, Walk, check_search

SPREAD = 0.3  # Typical length of a probe, as a share of the distance.
SHARE = 4  # Of an axis's frequencies the first step takes one in SHARE,
FEWEST = 6  # FEWEST at least,
WIDENING = 2  # and one more in every so many steps.
ANGLES = 8  # Most angles asked about in a step; a further one would hardly move the point.


def geoda(
    oracle: LabelOracle,
    samples: Samples,
    *,
    queries: int,
    seed: int,
    population: Samples | None = None,
) -> Search:
    """Searches the L2-nearest point that `oracle` gives another label than the sample's true one.

    Costs 1 query for a misclassified sample, at most 1 + 2 * STARTS where no start has another label, else at
    most `queries`. Every point asked about is legal in the samples' domain.

    Raises:
        InvalidInput: The domain is not continuous, `queries` is below MINIMUM_QUERIES, or the population is of
            another domain.
    """
    check_search(samples, queries=queries, population=population)
    walk = Walk(oracle, samples, queries=queries, seed=seed)
    walk.start(population)
    walk.bisect(walk.searching, walk.tolerance)
    for step, rows, counts in iterations(walk, reserve=ANGLES):
        normal = normals(walk, rows, counts, spread=SPREAD, blocks=_directions(walk, int(counts.max()), step))
        _turn(walk, rows, normal)
    walk.polish()
    return walk.result()


def _directions(walk: Walk, count: int, step: int) -> Iterator[tuple[int, Tensor]]:
    domain = walk.samples.domain
    if domain.kind != "image":
        return gaussian(walk, count, step)
    _, height, width = domain.shape
    return smooth(walk, count, step, sides=(_frequencies(height, step), _frequencies(width, step)))


def _frequencies(length: int, step: int) -> int:
    """How many of an axis's frequencies a step's directions are made of."""
    return min(length, max(FEWEST, math.ceil(length / SHARE)) + (step - 1) // WIDENING)


def _turn(walk: Walk, rows: Tensor, normal: Tensor) -> None:
    """Turns the way from each sample to its nearest point towards `normal` (m, d), as far as the label differs.

    At an angle of tangent t the circle's point lies a share of 1 / (1 + t^2) of (way + t * across) from the sample,
    for `across` as long as the way and perpendicular to it: no sine, which rounds differently in a vector's tail.
    """
    length = walk.distance[rows]
    way = walk.near[rows] - walk.origin[rows]
    across = _perpendicular(normal, way) * length[:, None]
    points = walk.near[rows]
    # A share s of a right angle, roughly: the tangent is s / (1 - s).
    differs, keeps = torch.zeros_like(length), torch.ones_like(length)
    busy = torch.arange(len(rows), device=rows.device)
    for _ in range(ANGLES):
        able = walk.spent[rows[busy]] < walk.budget
        # The circle's distance falls with 1 + t^2: what is left to gain must exceed the tolerance.
        gain = _stretch(keeps[busy]) / _stretch(differs[busy])
        busy = busy[able & (gain > (1 + walk.tolerance) ** 2)]
        if not len(busy):
            break
        middle = (differs[busy] + keeps[busy]) / 2
        offset = way[busy] + across[busy] * (middle / (1 - middle))[:, None]
        tried = walk.between(walk.origin[rows[busy]], offset, 1 / _stretch(middle))
        crosses = walk.ask(rows[busy], tried)
        points[busy[crosses]] = tried[crosses]
        differs[busy] = torch.where(crosses, middle, differs[busy])
        keeps[busy] = torch.where(crosses, keeps[busy], middle)
    walk.keep(rows, points, torch.zeros_like(length))


def _stretch(share: Tensor) -> Tensor:
    """1 + t^2 for t = share / (1 - share); infinite at 1."""
    tangent = share / (1 - share)
    return 1 + tangent * tangent


def _perpendicular(vectors: Tensor, to: Tensor) -> Tensor:
    """The parts of `vectors` (m, d) perpendicular to `to` (m, d), of length 1, or 0 where nothing is left."""
    # In float64 and rounded once, so that the sum's order, which may depend on the batch, does not show.
    tiny = torch.finfo(torch.float32).tiny
    unit = to / l2(to).clamp(min=tiny)[:, None]
    along = (vectors.double() * unit.double()).sum(1).to(torch.float32)
    left = vectors - unit * along[:, None]
    return left / l2(left).clamp(min=tiny)[:, None]

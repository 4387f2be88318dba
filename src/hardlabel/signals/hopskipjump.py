"""HopSkipJump: the nearest point with another label, searched for all samples at once through labels only.

Chen, Jordan and Wainwright (2020), arXiv:1904.02144, for L2. One iteration asks around a point on the boundary
to estimate the boundary's normal, steps along it, and bisects back towards the sample. Ours differs in that

- several starts race: a further start is followed only if it crosses the boundary nearer, which costs
  one query where it does not; the nearest population points of other classes, if any, start before random ones;
- a step that ends farther away is given up as soon as that is known, so that distances only fall;
- probes spread wider and bisection stops earlier than the paper's theta, which suits small budgets;
- the last iteration takes the queries that are left, and what it leaves goes into bisecting further.

One sample's result depends on nothing but the sample, the seed and the answers. Random points and directions
are shared by all samples and made anew from the seed for every step. Everything else is either elementwise,
one correctly rounded operation at a time (a fused multiply-add rounds differently in a vector's tail), or
exact: see `_directions`.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, corners, l2
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.randomness import generator
from hardlabel.signals.base import chunks
from hardlabel.signals.starts import STARTS, starts

MINIMUM_QUERIES = 25  # Enough for a start, its bisection and, where inputs are small, one short iteration.

START_GAIN = 0.95  # A further start must cross within this share of the distance so far. Racing pays at any budget.
START_TOLERANCE = 0.05  # Relative error up to which a start is bisected while others wait.

# Tuned on classifiers of digits (d = 64) and CIFAR-10 (d = 3,072) for the least median distance at 100 to 2,500
# queries; the result is flat around all of them.
FIRST_DIRECTIONS = 40  # Iteration t asks about FIRST_DIRECTIONS * sqrt(t) directions.
FEWEST_DIRECTIONS = 8  # With fewer left, no further iteration begins.
MOST_DIRECTIONS = 4096  # What `_directions` can sum without rounding.
SPREAD = 0.3  # Typical length of a probe, as a share of the distance.
TOLERANCE = 0.05  # Bisection stops at TOLERANCE / sqrt(d), a sixth of a probe's reach along the normal,
COARSEST = 0.01  # and never before this relative error.
HALVINGS = 12  # Step sizes tried; a smaller one would move the point by less than bisection's error.
HALVINGS_RESERVED = 2  # Of those, kept free in each iteration's planning; usually the first or second serves.
POLISH = 1 / 16  # What is left at the end bisects down to this share of the tolerance.

GRID = 256  # Directions are multiples of 1 / GRID.
BLOCK = 128  # Directions drawn and asked about at a time; a multiple of 16, see `_directions`.


class Search(NamedTuple):
    """What a search found.

    Attributes:
        points: The closest point found whose label differs from the true one, (n, *shape); it was asked about.
            The sample itself where it is misclassified or nothing was found.
        distances: L2 distances (n,) float32 from the samples to `points`, in input units: upper bounds of the
            distance to the boundary, 0 for a misclassified sample. Where nothing was found, the distance to
            the box's farthest corner, which bounds it still if the box holds another label at all.
        queries: Queries charged to each sample, (n,) int64.
        found: Whether a point with another label was found, (n,) bool.
    """

    points: Tensor
    distances: Tensor
    queries: Tensor
    found: Tensor


def hop_skip_jump(
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
    walk = _Walk(oracle, samples, queries=queries, seed=seed)
    walk.start(population)
    walk.descend()
    walk.polish()
    return walk.result()


def check_search(samples: Samples, *, queries: int, population: Samples | None) -> None:
    """Refuses what `hop_skip_jump` cannot search; asks nothing."""
    checks.at_least(MINIMUM_QUERIES, queries=queries)
    if not samples.domain.continuous:
        raise InvalidInput(
            f"the boundary signal needs a continuous domain (every point between two is legal), "
            f"got a {samples.domain.kind} one"
        )
    if population is not None and population.domain != samples.domain:
        raise InvalidInput(f"population must share the samples' domain, got {population.domain}")


class _Walk:
    """The search's state. Points are flat, (n, d); `rows` are always positions of distinct samples."""

    def __init__(self, oracle: LabelOracle, samples: Samples, *, queries: int, seed: int) -> None:
        self._oracle, self._samples, self._budget, self._seed = oracle, samples, queries, seed
        self._origin = samples.inputs.flatten(1)
        count, self._width = self._origin.shape
        device = samples.device
        self._near = self._origin.clone()  # Where the label differs, as near as found.
        self._distance = torch.full((count,), math.inf, device=device)
        self._below = torch.zeros(count, device=device)  # Share of the way to _near known to keep the label.
        self._spent = torch.zeros(count, dtype=torch.int64, device=device)
        self._tolerance = min(COARSEST, TOLERANCE / math.sqrt(self._width))

    def start(self, population: Samples | None) -> None:
        """Asks about the samples themselves, then looks for starts on the boundary, roughly."""
        everyone = torch.arange(len(self._samples), device=self._samples.device)
        wrong = self._ask(everyone, self._origin)
        self._distance[wrong] = 0.0
        searching = everyone[~wrong]
        tried = torch.zeros_like(searching)
        for points, usable in starts(self._samples, population, searching, self._seed):
            usable = usable & (self._distance[searching].isinf() | (tried < STARTS))
            tried += usable
            self._follow(searching[usable], points[usable])
        self._searching = searching[self._distance[searching].isfinite()]

    def descend(self) -> None:
        """Iterates until the budget is used up, but for what `polish` takes."""
        rows = self._searching
        self._bisect(rows, self._tolerance)
        reserve = HALVINGS_RESERVED + math.ceil(math.log2(1 / self._tolerance))
        step = 0
        while True:
            step += 1
            left = self._budget - reserve - self._spent[rows]
            rows, left = rows[left >= FEWEST_DIRECTIONS], left[left >= FEWEST_DIRECTIONS]
            if not len(rows):
                return
            planned = min(MOST_DIRECTIONS, round(FIRST_DIRECTIONS * math.sqrt(step)))
            # Too little for one more good iteration after this one: this one takes it.
            last = left < planned + reserve + planned // 2
            counts = torch.where(last, left, planned).clamp(max=MOST_DIRECTIONS)
            self._move(rows, self._normal(rows, counts, step), 1 / math.sqrt(step))

    def polish(self) -> None:
        """Bisects further with what is left."""
        self._bisect(self._searching, self._tolerance * POLISH)

    def result(self) -> Search:
        found = self._distance.isfinite()
        bound = _farthest(self._samples.domain, self._origin)
        return Search(
            points=self._near.reshape(self._samples.inputs.shape),
            distances=torch.where(found, self._distance, bound),
            queries=self._spent,
            found=found,
        )

    def _follow(self, rows: Tensor, points: Tensor) -> None:
        """Asks about the first START_GAIN of the distance so far towards `points`; bisects where it crosses."""
        rows, points = self._affordable(rows, points)
        if not len(rows):
            return
        origin = self._origin[rows]
        offset = points - origin
        share = START_GAIN * self._distance[rows] / l2(offset)
        # A start nearer than that is asked about itself. One at distance 0 is the sample, and keeps its label.
        points = torch.where((share < 1)[:, None], self._between(origin, offset, share.clamp(max=1)), points)
        crosses = self._ask(rows, points)
        self._adopt(rows[crosses], points[crosses], START_TOLERANCE)

    def _normal(self, rows: Tensor, counts: Tensor, step: int) -> Tensor:
        """Estimated directions (m, d) across the boundary, from `counts` (m,) probes around each point."""
        near = self._near[rows]
        scale = self._distance[rows] * (SPREAD / math.sqrt(self._width))
        towards = torch.zeros_like(near)
        drawn = torch.zeros_like(near)
        answers = torch.zeros(len(rows), device=near.device)
        for first, bank in _directions(int(counts.max()), self._width, self._seed, step):
            bank = bank.to(near.device)
            wanted = torch.arange(first, first + len(bank), device=near.device) < counts[:, None]
            for part in chunks(len(rows), copies=len(bank), shape=(self._width,), device=near.device):
                mask = wanted[part]
                probes = bank * scale[part, None, None]
                probes += near[part, None]
                owners = rows[part, None].expand(mask.shape)
                if bool(mask.all()):
                    crossed = self._ask(owners.flatten(), probes.flatten(0, 1))
                    signs = (crossed.to(torch.float32) * 2 - 1).reshape(mask.shape)
                else:
                    signs = torch.zeros(mask.shape, device=near.device)
                    signs[mask] = self._ask(owners[mask], probes[mask]).to(torch.float32) * 2 - 1
                towards[part] += signs @ bank
                answers[part] += signs.sum(1)
            drawn += wanted.to(torch.float32) @ bank
        mean = answers / counts
        # The paper's baseline: it takes off the pull of the directions drawn, which grows with the share of
        # equal answers; where all are equal nothing else is left to go by.
        return towards - torch.where(mean.abs() < 1, mean, 0.0)[:, None] * drawn

    def _move(self, rows: Tensor, normal: Tensor, share: float) -> None:
        """Steps along `normal` by `share` of the distance, halved until the label differs, and bisects back."""
        # A direction's rows are not made unit vectors: in many dimensions they are nearly so up to a constant,
        # and their sums would no longer be exact.
        scale = self._distance[rows] * share / l2(normal).clamp(min=torch.finfo(torch.float32).tiny)
        for _ in range(HALVINGS):
            rows, normal, scale = self._affordable(rows, normal, scale)
            if not len(rows):
                return
            points = self._samples.domain.clip(self._near[rows] + normal * scale[:, None])
            crosses = self._ask(rows, points)
            self._adopt(rows[crosses], points[crosses], self._tolerance)
            rows, normal, scale = rows[~crosses], normal[~crosses], scale[~crosses] / 2

    def _adopt(self, rows: Tensor, points: Tensor, tolerance: float) -> None:
        """Bisects from `points`, whose label differs, and keeps what is nearer than the points so far."""
        below = torch.zeros(len(rows), device=points.device)
        points, below = self._bisected(rows, points, below, tolerance)
        distance = l2(points - self._origin[rows])
        nearer = distance < self._distance[rows]
        rows = rows[nearer]
        self._near[rows], self._below[rows] = points[nearer], below[nearer]
        self._distance[rows] = distance[nearer]

    def _bisect(self, rows: Tensor, tolerance: float) -> None:
        """Bisects on where an earlier, rougher bisection stopped."""
        points, below = self._bisected(rows, self._near[rows], self._below[rows], tolerance)
        self._near[rows], self._below[rows] = points, below
        self._distance[rows] = l2(points - self._origin[rows])

    def _bisected(self, rows: Tensor, points: Tensor, below: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        """Pulls `points` (label differs) towards the samples until `below`, the share known to keep it, is near 1.

        Ends early where the budget does, or where the crossing must lie beyond the distance already known.
        """
        origin, nearest = self._origin[rows], self._distance[rows]
        length = l2(points - origin)
        while True:
            hopeful = below * length < nearest
            going = hopeful & (below < 1 - tolerance) & (self._spent[rows] < self._budget)
            count = int(going.sum())
            if not count:
                return points, below
            # As a rule all go on; a slice of everything costs no copies.
            busy = slice(None) if count == len(rows) else going.nonzero().flatten()
            start, crossing, middle = origin[busy], points[busy], (below[busy] + 1) / 2
            tried = self._between(start, crossing - start, middle)
            crosses = self._ask(rows[busy], tried)
            points[busy] = torch.where(crosses[:, None], tried, crossing)
            length[busy] = torch.where(crosses, length[busy] * middle, length[busy])
            below[busy] = torch.where(crosses, below[busy] / middle, middle)

    def _between(self, origin: Tensor, offset: Tensor, share: Tensor) -> Tensor:
        """The legal points a `share` of the `offset` away from `origin`."""
        return self._samples.domain.clip((offset * share[:, None]).add_(origin))

    def _affordable(self, rows: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """What belongs to samples with a query left."""
        able = self._spent[rows] < self._budget
        return (rows, *others) if bool(able.all()) else tuple(kept[able] for kept in (rows, *others))

    def _ask(self, owners: Tensor, points: Tensor) -> Tensor:
        """Whether legal copies of `points` get another label than their owners' true one; charges the owners."""
        samples = self._samples
        legal = samples.domain.clip(points).reshape(-1, *samples.domain.shape)
        self._spent.index_add_(0, owners, torch.ones_like(owners))
        return self._oracle.ask(legal, samples.ids[owners]) != samples.labels[owners]


def _directions(count: int, width: int, seed: int, step: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks (<= BLOCK, width) of `count` Gaussian directions, each with the number of its first row.

    Values are multiples of 1 / GRID below 8, so that sums of up to MOST_DIRECTIONS of them, with signs, are
    whole multiples below 2**24 and exact in float32 (products even in TF32) in whatever order a matrix product
    adds. Row k is the same however many rows are asked for: the generator fills 16 values at a time, so that
    whole blocks are drawn, of a size that 16 divides.
    """
    source = generator(seed, "boundary", "directions", step)
    for first in range(0, count, BLOCK):
        block = torch.randn(BLOCK, width, generator=source)
        block.mul_(GRID).round_().clamp_(1 - 8 * GRID, 8 * GRID - 1).div_(GRID)
        yield first, block[: count - first]


def _farthest(domain: Domain, points: Tensor) -> Tensor:
    """Distances (n,) from flat `points` to the box's farthest corner."""
    lower, upper = (corner.flatten(1) for corner in corners(domain, points.reshape(-1, *domain.shape)))
    return l2(torch.maximum(points - lower, upper - points))

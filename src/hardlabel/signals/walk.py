"""A walk to the boundary: what every search through labels shares, for all samples at once.

It asks about the samples, races starts, bisects between a sample and a point with another label, keeps what is
nearer, and charges each query to its sample; which points are tried in between is the search's own matter.

One sample's result depends on nothing but the sample, the seed and the answers. Random points are shared by all
samples and made anew from the seed; everything else is elementwise, one correctly rounded operation at a time (a
fused multiply-add rounds differently in a vector's tail).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, corners, l2
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.starts import STARTS, starts

MINIMUM_QUERIES = 25  # Enough for a start, its bisection and, where inputs are small, one short iteration.

START_GAIN = 0.95  # A further start must cross within this share of the distance so far. Racing pays at any budget.
START_TOLERANCE = 0.05  # Relative error up to which a start is bisected while others wait.

# Tuned on classifiers of digits (d = 64) and CIFAR-10 (d = 3,072), as in hopskipjump.py.
TOLERANCE = 0.05  # Bisection stops at TOLERANCE / sqrt(d), a sixth of a probe's reach along the normal,
COARSEST = 0.01  # and never before this relative error.
POLISH = 1 / 16  # What is left at the end bisects down to this share of the tolerance.


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


def check_search(samples: Samples, *, queries: int, population: Samples | None) -> None:
    """Refuses what no walk can search; asks nothing."""
    checks.at_least(MINIMUM_QUERIES, queries=queries)
    if not samples.domain.continuous:
        raise InvalidInput(
            f"the boundary signal needs a continuous domain (every point between two is legal), "
            f"got a {samples.domain.kind} one"
        )
    if population is not None and population.domain != samples.domain:
        raise InvalidInput(f"population must share the samples' domain, got {population.domain}")


class Walk:
    """The state of a search. Points are flat, (n, d); `rows` are always positions of distinct samples.

    Attributes:
        samples: Whom the search is about.
        seed: Fixes all that is drawn.
        budget: Most queries per sample.
        width: Coordinates of a sample, d.
        tolerance: Relative error at which a bisection ends.
        origin: The samples themselves, (n, d).
        near: Where the label differs, as near as found, (n, d).
        distance: L2 distances (n,) from `origin` to `near`, float32; infinite where nothing is found yet.
        spent: Queries charged, (n,) int64.
        searching: Samples that have a start, (m,) int64; none before `start`.
    """

    def __init__(self, oracle: LabelOracle, samples: Samples, *, queries: int, seed: int) -> None:
        self.samples, self.seed, self.budget = samples, seed, queries
        self._oracle = oracle
        self.origin = samples.inputs.flatten(1)
        count, self.width = self.origin.shape
        device = samples.device
        self.near = self.origin.clone()
        self.distance = torch.full((count,), math.inf, device=device)
        self._below = torch.zeros(count, device=device)  # Share of the way to `near` known to keep the label.
        self.spent = torch.zeros(count, dtype=torch.int64, device=device)
        self.searching = torch.zeros(0, dtype=torch.int64, device=device)
        self.tolerance = min(COARSEST, TOLERANCE / math.sqrt(self.width))

    def start(self, population: Samples | None) -> None:
        """Asks about the samples themselves, then looks for starts on the boundary, roughly."""
        everyone = torch.arange(len(self.samples), device=self.samples.device)
        wrong = self.ask(everyone, self.samples.domain.clip(self.origin))  # Legal up to rounding.
        self.distance[wrong] = 0.0
        searching = everyone[~wrong]
        tried = torch.zeros_like(searching)
        for points, usable in starts(self.samples, population, searching, self.seed):
            usable = usable & (self.distance[searching].isinf() | (tried < STARTS))
            tried += usable
            self._follow(searching[usable], points[usable])
        self.searching = searching[self.distance[searching].isfinite()]

    def polish(self) -> None:
        """Bisects further with what is left."""
        self.bisect(self.searching, self.tolerance * POLISH)

    def result(self) -> Search:
        """What was found, at what cost."""
        found = self.distance.isfinite()
        bound = farthest(self.samples.domain, self.origin)
        return Search(
            points=self.near.reshape(self.samples.inputs.shape),
            distances=torch.where(found, self.distance, bound),
            queries=self.spent,
            found=found,
        )

    def adopt(self, rows: Tensor, points: Tensor, tolerance: float) -> None:
        """Bisects from `points`, whose label differs, and keeps what is nearer than the points so far."""
        below = torch.zeros(len(rows), device=points.device)
        points, below = self._bisected(rows, points, below, tolerance)
        self.keep(rows, points, below)

    def keep(self, rows: Tensor, points: Tensor, below: Tensor) -> None:
        """Keeps those of `points`, whose label differs, that are nearer than the points so far.

        Each `below` (m,) is the share of the way to its point that is known to keep the label.
        """
        distance = l2(points - self.origin[rows])
        nearer = distance < self.distance[rows]
        rows = rows[nearer]
        self.near[rows], self._below[rows] = points[nearer], below[nearer]
        self.distance[rows] = distance[nearer]

    def bisect(self, rows: Tensor, tolerance: float) -> None:
        """Bisects on where an earlier, rougher bisection stopped."""
        points, below = self._bisected(rows, self.near[rows], self._below[rows], tolerance)
        self.near[rows], self._below[rows] = points, below
        self.distance[rows] = l2(points - self.origin[rows])

    def between(self, origin: Tensor, offset: Tensor, share: Tensor) -> Tensor:
        """The legal points a `share` (m,) of the `offset` away from `origin`, both (m, d)."""
        points = (offset * share[:, None]).add_(origin)
        return self.samples.domain.clip(points, out=points)

    def affordable(self, rows: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """What belongs to samples with a query left."""
        able = self.spent[rows] < self.budget
        return (rows, *others) if bool(able.all()) else tuple(kept[able] for kept in (rows, *others))

    def ask(self, owners: Tensor, points: Tensor) -> Tensor:
        """Whether legal `points` (q, d) get another label than their owners' (q,) true one; charges the owners."""
        samples = self.samples
        self.spent.index_add_(0, owners, torch.ones_like(owners))
        labels = self._oracle.ask(points.reshape(-1, *samples.domain.shape), samples.ids[owners])
        return labels != samples.labels[owners]

    def _follow(self, rows: Tensor, points: Tensor) -> None:
        """Asks about the first START_GAIN of the distance so far towards `points`; bisects where it crosses."""
        rows, points = self.affordable(rows, points)
        if not len(rows):
            return
        origin = self.origin[rows]
        offset = points - origin
        share = START_GAIN * self.distance[rows] / l2(offset)
        # A start nearer than that is asked about itself. One at distance 0 is the sample, and keeps its label.
        nearer = (share < 1)[:, None]
        points = torch.where(nearer, self.between(origin, offset, share.clamp(max=1)), self.samples.domain.clip(points))
        crosses = self.ask(rows, points)
        self.adopt(rows[crosses], points[crosses], START_TOLERANCE)

    def _bisected(self, rows: Tensor, points: Tensor, below: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        """Pulls `points` (label differs) towards the samples until `below`, the share known to keep it, is near 1.

        Ends early where the budget does, or where the crossing must lie beyond the distance already known.
        """
        origin, nearest = self.origin[rows], self.distance[rows]
        length = l2(points - origin)
        while True:
            hopeful = below * length < nearest
            going = hopeful & (below < 1 - tolerance) & (self.spent[rows] < self.budget)
            count = int(going.sum())
            if not count:
                return points, below
            # As a rule all go on; a slice of everything costs no copies.
            busy = slice(None) if count == len(rows) else going.nonzero().flatten()
            start, crossing, middle = origin[busy], points[busy], (below[busy] + 1) / 2
            tried = self.between(start, crossing - start, middle)
            crosses = self.ask(rows[busy], tried)
            points[busy] = torch.where(crosses[:, None], tried, crossing)
            length[busy] = torch.where(crosses, length[busy] * middle, length[busy])
            below[busy] = torch.where(crosses, below[busy] / middle, middle)


def farthest(domain: Domain, points: Tensor) -> Tensor:
    """Distances (n,) from flat `points` to the box's farthest corner."""
    lower, upper = (corner.flatten(1) for corner in corners(domain, points.reshape(-1, *domain.shape)))
    return l2(torch.maximum(points - lower, upper - points))

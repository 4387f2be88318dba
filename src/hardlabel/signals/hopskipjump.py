"""HopSkipJump: the nearest point with another label, searched for all samples at once through labels only.

Chen, Jordan and Wainwright (2020), arXiv:1904.02144, for L2. One iteration asks around a point on the boundary
to estimate the boundary's normal, steps along it, and bisects back towards the sample. Ours differs in that

- several starts race: a further start is followed only if it crosses the boundary nearer, which costs
  one query where it does not; the nearest population points of other classes, if any, start before random ones;
- a step that ends farther away is given up as soon as that is known, so that distances only fall;
- probes spread wider and bisection stops earlier than the paper's theta, which suits small budgets;
- the last iteration takes the queries that are left, and what it leaves goes into bisecting further.

One sample's result depends on nothing but the sample, the seed and the answers; see walk.py and probes.py.
"""

import math

import torch
from torch import Tensor

from hardlabel.data.domain import l2
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.probes import gaussian, iterations, normals
from hardlabel.signals.walk import Search, Walk, check_search

SPREAD = 0.3  # Typical length of a probe, as a share of the distance; tuned like walk.TOLERANCE.
HALVINGS = 12  # Step sizes tried; a smaller one would move the point by less than bisection's error.
HALVINGS_RESERVED = 2  # Of those, kept free in each iteration's planning; usually the first or second serves.


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
    walk = Walk(oracle, samples, queries=queries, seed=seed)
    walk.start(population)
    _descend(walk)
    walk.polish()
    return walk.result()


def _descend(walk: Walk) -> None:
    """Iterates until the budget is used up, but for what `polish` takes."""
    walk.bisect(walk.searching, walk.tolerance)
    reserve = HALVINGS_RESERVED + math.ceil(math.log2(1 / walk.tolerance))
    for step, rows, counts in iterations(walk, reserve=reserve):
        normal = normals(walk, rows, counts, spread=SPREAD, blocks=gaussian(walk, int(counts.max()), step))
        _move(walk, rows, normal, 1 / math.sqrt(step))


def _move(walk: Walk, rows: Tensor, normal: Tensor, share: float) -> None:
    """Steps along `normal` by `share` of the distance, halved until the label differs, and bisects back."""
    # A direction's rows are not made unit vectors: in many dimensions they are nearly so up to a constant,
    # and their sums would no longer be exact.
    scale = walk.distance[rows] * share / l2(normal).clamp(min=torch.finfo(torch.float32).tiny)
    for _ in range(HALVINGS):
        rows, normal, scale = walk.affordable(rows, normal, scale)
        if not len(rows):
            return
        points = walk.between(walk.near[rows], normal, scale)
        crosses = walk.ask(rows, points)
        walk.adopt(rows[crosses], points[crosses], walk.tolerance)
        rows, normal, scale = rows[~crosses], normal[~crosses], scale[~crosses] / 2

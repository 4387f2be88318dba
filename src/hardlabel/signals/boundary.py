"""Boundary distance: members lie farther from the points that a classifier labels otherwise.

Choquette-Choo et al. (2021), arXiv:2007.14321, section 3.4; with more than one copy, the paper's combined
attack (the distances of a sample and of its augmented copies). The paper searches by HopSkipJump; GeoDA comes nearer
for the same queries.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import STILL, Move
from hardlabel.data.domain import Box, channel_bounds
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement
from hardlabel.signals.geoda import geoda
from hardlabel.signals.hopskipjump import hop_skip_jump
from hardlabel.signals.in_widths import LabelsInWidths, in_widths
from hardlabel.signals.walk import MINIMUM_QUERIES, Search, check_search

__all__ = ["MINIMUM_QUERIES", "Boundary", "BoundaryPlan"]

_SEARCHES = {"hopskipjump": hop_skip_jump, "geoda": geoda}
_TITLES = {"hopskipjump": "HopSkipJump", "geoda": "GeoDA"}


@dataclass(frozen=True, kw_only=True)
class Boundary:
    """The L2 distance from each copy of a sample to the nearest point found without the sample's true label.

    Values (n, copies) are in input units (in widths of each channel where the domain has bounds per channel), one
    column per copy. A misclassified copy has 0. Other values are upper bounds of the distance to the boundary, proven
    by the oracle's answers. Where no start has another label, the value is the distance to the box's farthest corner,
    and the sample is not complete.

    Costs at most `queries` queries per sample; a misclassified copy costs 1 of them.

    Attributes:
        queries: Most queries per sample, all copies together; each copy gets an equal share, rounded down.
        copies: Which moved copies of a sample are searched, each on its own; moves need images.
        search: How to search: "hopskipjump", as in the paper, or "geoda".

    References:
        Choquette-Choo et al. (2021), section 3.4, and section 3.5 for several copies; Chen et al. (2020) for
        HopSkipJump; Rahmati et al. (2020) for GeoDA, whose use as a distance for membership is ours.

    Raises:
        InvalidInput: No copy, a copy twice, a share below MINIMUM_QUERIES, or an unknown search.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.boundary import Boundary
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> found = Boundary(queries=100).prepare(samples, Knowledge(), seed=0).measure(Model())
        >>> [round(value, 2) for value in found.values[:, 0].tolist()]  # From 0.2 to a half; 0.9 is misclassified.
        [0.3, 0.0]
        >>> bool(found.queries[0] <= 100), int(found.queries[1])
        (True, 1)
    """

    queries: int = 2500
    copies: tuple[Move, ...] = (STILL,)
    search: str = "hopskipjump"

    access: ClassVar[Access] = Access.LABEL

    def __post_init__(self) -> None:
        if not self.copies or len(set(self.copies)) < len(self.copies):
            raise InvalidInput(f"copies must list distinct moves, at least one, got {self.copies}")
        checks.at_least(MINIMUM_QUERIES * len(self.copies), queries=self.queries)
        checks.one_of(_SEARCHES, search=self.search)

    def __str__(self) -> str:
        copies = f" over {len(self.copies)} copies" if len(self.copies) > 1 else ""
        return f"{_TITLES[self.search]} distance, {self.queries} queries{copies}"

    @property
    def queries_per_copy(self) -> int:
        """Most queries per copy of a sample."""
        return self.queries // len(self.copies)

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "BoundaryPlan":
        """Readies the searches; asks nothing. `knowledge.population`, if given, serves as start points.

        Raises:
            InvalidInput: The domain is not continuous, moves are asked for and it is not an image box, or the
                population is of another domain.
        """
        check_search(samples, queries=self.queries_per_copy, population=knowledge.population)
        if self.copies != (STILL,) and not (isinstance(samples.domain, Box) and samples.domain.kind == "image"):
            raise InvalidInput(
                f"the boundary signal can move images only, got a {samples.domain.kind} domain and copies {self.copies}"
            )
        return BoundaryPlan(signal=self, samples=samples, population=knowledge.population, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoundaryPlan:
    """Searches for given samples (n, *shape); what they ask depends on the answers, within `queries`.

    Costs between `queries[0]` and `queries[1]` queries per sample.

    Attributes:
        signal: The settings.
        samples: The samples whose distances are measured; they must be of a continuous domain.
        population: Samples that searches may start from; None to start from random points.
        seed: Fixes every random draw.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.boundary import Boundary
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> Boundary(queries=100).prepare(samples, Knowledge(), seed=0).queries
        (1, 100)
    """

    signal: Boundary
    samples: Samples
    population: Samples | None
    seed: int

    @property
    def queries(self) -> tuple[int, int]:
        """Fewest (every copy misclassified) and most queries per sample."""
        copies = len(self.signal.copies)
        return copies, copies * self.signal.queries_per_copy

    def measure(self, oracle: LabelOracle) -> Measurement:
        """Distances (n, copies), their cost, and whether every copy's boundary was found."""
        searches = [self._search(oracle, move) for move in self.signal.copies]
        return Measurement(
            values=torch.stack([search.distances for search in searches], dim=1),
            queries=torch.stack([search.queries for search in searches]).sum(0),
            complete=torch.stack([search.found for search in searches]).all(0),
        )

    def _search(self, oracle: LabelOracle, move: Move) -> Search:
        samples, population = _moved(self.samples, move), self.population
        if (bounds := channel_bounds(samples.domain)) is not None:
            oracle = LabelsInWidths(oracle, samples.domain, bounds)
            samples = in_widths(samples, bounds)
            population = None if population is None else in_widths(population, bounds)
        # Every copy sees the same seed: its search is the one that the moved image alone would get.
        return _SEARCHES[self.signal.search](
            oracle,
            samples,
            queries=self.signal.queries_per_copy,
            seed=self.seed,
            population=population,
        )


def _moved(samples: Samples, move: Move) -> Samples:
    if move == STILL:
        return samples
    assert isinstance(samples.domain, Box), "prepare lets only image boxes move"
    moved = augment.apply(move, samples.inputs, fill=samples.domain.lower)
    inputs = samples.domain.clip(moved)  # Interpolation rounds.
    return Samples(ids=samples.ids, inputs=inputs, labels=samples.labels, domain=samples.domain)

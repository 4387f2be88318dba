"""Distance toward a fixed point: how far a sample can be moved toward a point chosen once for all until its label
changes.

The signal of DHAttack (Li et al. 2025). Its score compares the distance with those on models that never saw the
sample, which is a calibration per sample: Phi((d - mean_out) / std_out).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Domain
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Knowledge, Measurement, chunks, keeps_label

HALVINGS = 20  # A bisection of a continuous line ends here: the next step would be lost in float32 inputs.


class Toward(StrEnum):
    """Which point samples are moved to.

    CORNER is the largest legal value everywhere, for images white; POPULATION a random point of the attacker's
    data; RANDOM a random legal point.
    """

    CORNER = "the largest values"
    POPULATION = "a population point"
    RANDOM = "a random point"


class Search(StrEnum):
    """How the change of label is found.

    SCAN asks evenly spaced points from the sample on and finds the first change. BISECTION asks the fixed point,
    then halves the part of the line in which the label changes; where it changes more than once, any change may
    be found.
    """

    SCAN = "scan"
    BISECTION = "bisection"


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """The share of the way from a sample to a fixed point at which it loses its true label, in [0, 1].

    Values are (n, points), one column per fixed point. A sample whose label never changes has 1, the bound known to
    hold, and is not complete. In a continuous domain the way is the straight line. In a binary domain the bits that
    differ are set one after another, in one random order for all samples, so that every point asked is legal.

    SCAN asks at the shares j / m for j = 0, 1, ... m - 1, where m is the number of queries per point (or of differing
    bits, if that is less), and gives the first share with a wrong label. A misclassified sample whose first j points
    are wrong has exp(-j) / m: less than every other sample, and more the sooner its label turns right. BISECTION gives
    the middle of the last interval, with an error of at most 2^-(h+1) after h halvings. In a binary domain it finds the
    exact number of bits, given enough queries. A misclassified sample costs 1 query and has 0.

    The sample itself is asked once for all points. Costs at most `queries` queries per sample, and fewer where the
    answer is known sooner: SCAN ends at the change, BISECTION after HALVINGS halvings or at a single bit.

    Attributes:
        queries: Most queries per sample, all points together, at least 1 + `points`; each point gets an equal share,
            rounded down.
        points: Number of fixed points, each the end of a line of its own; CORNER has one only.
        toward: Which points.
        search: How the change is found.

    References:
        Li et al. (2025), "Enhanced Label-Only Membership Inference Attacks with Fewer Queries", USENIX Security,
        after the authors' code (github.com/AIPAG/DHAttack, DHAttackBase.py): SCAN toward white with 30 or 50
        queries. Deviations: white is the domain's largest value, not the image's own; a share of the way instead
        of a number of steps; no query after the change, which leaves the values as they are; BISECTION, bits and
        several points are ours. Their references are trained on data that the target labelled; ours are those of
        the audit.

    Raises:
        InvalidInput: Fewer than 2 queries for a line, or several corners.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.fixed_point import FixedPoint
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> found = FixedPoint(queries=8).prepare(samples, Knowledge(), seed=0).measure(Model())
        >>> float(found.values[0, 0])  # From 0.2 toward 1 in eighths: 0.6 is the first that is above a half.
        0.5
        >>> found.queries.tolist()
        [5, 8]
    """

    access: ClassVar[Access] = Access.LABEL
    queries: int = 30
    points: int = 1
    toward: Toward = Toward.CORNER
    search: Search = Search.SCAN

    def __post_init__(self) -> None:
        checks.at_least(1, points=self.points)
        checks.at_least(1 + self.points, queries=self.queries)
        if self.toward == Toward.CORNER and self.points > 1:
            raise InvalidInput(f"points must be 1 toward {self.toward}, got {self.points}")

    def __str__(self) -> str:
        lines = f" on {self.points} lines" if self.points > 1 else ""
        return f"distance toward {self.toward}, {self.search}{lines}, {self.queries} queries"

    @property
    def queries_per_point(self) -> int:
        """Most queries on one line, the sample itself included."""
        return 1 + (self.queries - 1) // self.points

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "FixedPointPlan":
        """Chooses the fixed points; asks nothing.

        Raises:
            InvalidInput: The domain is a mixed table; or the points come from the population, which is missing, too
                small or of another domain.
        """
        domain = samples.domain
        if not (domain.continuous or isinstance(domain, BinaryFeatures)):
            raise InvalidInput(
                f"the fixed-point signal needs a continuous or a binary domain, got a {domain.kind} one: "
                "between two rows lie points that are not legal"
            )
        points = self._points(domain, knowledge, seed).to(samples.device)
        order = torch.arange(0)
        if not domain.continuous:
            order = torch.randperm(domain.shape[0], generator=randomness.generator(seed, "fixed point", "bits"))
        return FixedPointPlan(signal=self, samples=samples, points=points, order=order.to(samples.device))

    def _points(self, domain: Domain, knowledge: Knowledge, seed: int) -> Tensor:
        source = randomness.generator(seed, "fixed point", "points")
        if self.toward == Toward.RANDOM:
            return domain.random(self.points, source)
        if self.toward == Toward.CORNER:
            ones = torch.ones(1, *domain.shape)
            return domain.clip(ones * torch.inf) if domain.continuous else ones
        population = knowledge.population
        if population is None or len(population) < self.points:
            raise InvalidInput(
                f"population must hold at least {self.points} points to move samples to, "
                f"got {None if population is None else len(population)}"
            )
        if population.domain != domain:
            raise InvalidInput(f"population must share the samples' domain, got {population.domain}")
        rows = torch.randperm(len(population), generator=source)[: self.points]
        return population.inputs[rows.to(population.device)]


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedPointPlan:
    """Lines from given samples to fixed points; see `LabelPlan`.

    Attributes:
        signal: The settings.
        samples: Who is asked about.
        points: The fixed points (points, *shape).
        order: The order in which bits are set (features,), empty in a continuous domain.
    """

    signal: FixedPoint
    samples: Samples
    points: Tensor
    order: Tensor

    @property
    def queries(self) -> tuple[int, int]:
        signal, features = self.signal, len(self.order)
        if signal.search == Search.BISECTION:
            return 1, 1 + signal.points * (1 + self._halvings)
        fewest = 1 if features else 2  # A sample of bits may be the fixed point itself.
        most = min(signal.queries_per_point, features) if features else signal.queries_per_point
        return 1 + signal.points * (fewest - 1), 1 + signal.points * (most - 1)

    def measure(self, oracle: LabelOracle) -> Measurement:
        """Shares (n, points), their cost, and whether every line's change of label was found."""
        right = keeps_label(oracle, self.samples.inputs[:, None], self.samples)[:, 0]
        search = _bisect if self.signal.search == Search.BISECTION else _scan
        walks = [search(oracle, self._line(point), right) for point in self.points]
        return Measurement(
            values=torch.stack([walk.values for walk in walks], 1).float(),
            queries=1 + torch.stack([walk.asked for walk in walks]).sum(0).cpu(),
            complete=torch.stack([walk.found for walk in walks]).all(0).cpu(),
        )

    @property
    def _halvings(self) -> int:
        useful = (len(self.order) - 1).bit_length() if len(self.order) else HALVINGS
        return min(self.signal.queries_per_point - 2, useful)

    def _line(self, point: Tensor) -> "_Line":
        inputs, bisect = self.samples.inputs, self.signal.search == Search.BISECTION
        if not len(self.order):
            grid = 2**HALVINGS if bisect else self.signal.queries_per_point
            steps = torch.full((len(inputs),), grid, device=inputs.device)
        else:
            steps = (inputs != point).sum(1)
            if not bisect:
                steps = steps.clamp(max=self.signal.queries_per_point)
        return _Line(self.samples, point, self.order, steps.clamp(min=1), self._halvings)


@dataclass(frozen=True, eq=False)
class _Walk:
    """What a search found on one line: values (n,), float64; queries beside the sample's own (n,); found (n,)."""

    values: Tensor
    asked: Tensor
    found: Tensor


@dataclass(frozen=True, eq=False)
class _Line:
    """The ways from all samples to one fixed point, each cut into `steps` (n,) equal steps."""

    samples: Samples
    point: Tensor
    order: Tensor
    steps: Tensor
    halvings: int

    def right(self, oracle: LabelOracle, rows: Tensor, places: Tensor) -> Tensor:
        """Whether the samples at `rows` keep their labels after `places` (m,) of their steps; m queries."""
        kept = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        for part in chunks(len(rows), copies=1, shape=self.samples.domain.shape):
            inputs = self._at(rows[part], places[part])
            kept[part] = keeps_label(oracle, inputs[:, None], self.samples.take(rows[part]))[:, 0]
        return kept

    def _at(self, rows: Tensor, places: Tensor) -> Tensor:
        inputs, steps = self.samples.inputs[rows], self.steps[rows]
        if not len(self.order):
            share = (places.double() / steps).float().reshape(-1, *[1] * (inputs.ndim - 1))
            return self.samples.domain.clip(inputs + share * (self.point - inputs))  # Sums round.
        differs = inputs[:, self.order] != self.point[self.order]
        moved = (2 * places * differs.sum(1) + steps) // (2 * steps)  # Rounded to whole bits.
        flips = torch.zeros_like(differs)
        flips[:, self.order] = differs & (differs.cumsum(1) <= moved[:, None])
        return torch.where(flips, self.point, inputs)


def _scan(oracle: LabelOracle, line: _Line, right: Tensor) -> _Walk:
    changed = line.steps.clone()  # The place of the first answer that differs from the sample's own.
    asked = torch.zeros_like(changed)
    found = torch.zeros_like(right)
    for place in range(1, int(line.steps.max()) if len(right) else 0):
        rows = (~found & (place < line.steps)).nonzero().flatten()
        if not len(rows):
            break
        asked[rows] += 1
        turned = rows[line.right(oracle, rows, torch.full_like(rows, place)) != right[rows]]
        changed[turned], found[turned] = place, True
    steps = line.steps.double()
    values = torch.where(right, changed / steps, (-changed.double()).exp() / steps)
    return _Walk(values, asked, found | ~right)


def _bisect(oracle: LabelOracle, line: _Line, right: Tensor) -> _Walk:
    low, high = torch.zeros_like(line.steps), line.steps.clone()
    asked = torch.zeros_like(low)
    found = torch.zeros_like(right)
    rows = right.nonzero().flatten()
    asked[rows] += 1
    found[rows] = ~line.right(oracle, rows, high[rows])
    for _ in range(line.halvings):
        rows = (found & (high - low > 1)).nonzero().flatten()
        if not len(rows):
            break
        asked[rows] += 1
        middle = (low[rows] + high[rows]) // 2
        kept = line.right(oracle, rows, middle)
        low[rows] = torch.where(kept, middle, low[rows])
        high[rows] = torch.where(kept, high[rows], middle)
    # Of a line the change lies between low and high; of bits the first wrong place is one of low + 1 ... high.
    middle = (low + high + bool(len(line.order))) / (2 * line.steps.double())
    values = torch.where(found, middle, 1.0)
    return _Walk(torch.where(right, values, 0.0), asked, found | ~right)

"""Path crossing: members keep their label farther along a route that leads other models out of the class.

The position of the crossing on models trained with and without a sample tells the two apart (a calibration's
matter). It is found by bisection, or, under what the attacker expects of members and non-members, by asking
each time what tells most about membership.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Access, Beliefs, Knowledge, LabelPlan, Measurement, chunks
from hardlabel.signals.routes import REACH, Levels, Route, Toward, craft, levels_of

PER_ROUTE = 4  # Most questions on a route once the sample itself has been asked about.
STRAY = 0.02  # Probability, under either belief, of a position anywhere on the route.
TINY = 1e-6  # Levels; a smaller deviation counts as this one.
LEAST_INFORMATION = 1e-6  # In nats; a question that tells less is not worth asking.
SAME_INFORMATION = 1e-9  # Questions nearer than this tie, so that rounding does not choose.

Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Whether samples `rows` keep their label on `routes` at `levels`, all (q,); bool (q,)."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """The position where a sample's route crosses into another class: how many of its levels keep the true label.

    A route has levels behind the sample, the sample itself, and levels ahead (see `hardlabel.signals.routes`). If the
    label is right, the search looks ahead for the first level that loses it; if it is wrong, behind for the nearest
    level that gains it. The label is assumed to change once along a route. Values (n, 2 routes) are censored: per route
    the lower and the upper edge of the interval that holds the position. Edges are half-integers in level units,
    infinite at the ends; an interval of width 1 is exact.

    Bisection costs 1 query for the sample itself, whatever the number of routes, and at most 4 more per route. A
    plan with beliefs costs at most `queries` queries per sample.

    Attributes:
        queries: Most queries per sample under beliefs, 1 or more; without any, bisection runs to its end.
        routes: Where the routes lead, each once: "others", "runner-up" or "second".
        informed: Whether each question is the one that tells most about membership, where there are beliefs. If false,
            `queries` must allow the whole bisection.
        reach: Length of a straight route, above 0, see `routes.lengths_of`; not used where inputs are discrete.

    References:
        Ours (studies/RESULTS.md). The single most telling question is the idea of Wu et al. (2024), "You Only Query
        Once", who optimise the queried point itself; here it lies on a given route.

    Raises:
        InvalidInput: No route, a route twice or unknown, too few queries.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.path import Path
        >>> network = torch.nn.Linear(1, 2)
        >>> with torch.no_grad():  # Class 1 above a half.
        ...     _ = network.weight.copy_(torch.tensor([[-20.0], [20.0]]))
        ...     _ = network.bias.copy_(torch.tensor([10.0, -10.0]))
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> plan = Path(queries=5, informed=False).prepare(samples, Knowledge(crafters=(network,)), seed=0)
        >>> found = plan.measure(Model())
        >>> lower, upper = found.values[0].tolist()
        >>> upper - lower, bool(found.queries.max() <= 5)
        (1.0, True)
        >>> bool(lower > found.values[1, 0])  # The right label holds farther along the route.
        True
    """

    queries: int = 5
    routes: tuple[str, ...] = (Toward.OTHERS.value,)
    informed: bool = True
    reach: float = REACH

    access: ClassVar[Access] = Access.LABEL
    censored: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.routes or len(set(self.routes)) < len(self.routes):
            raise InvalidInput(f"routes must list distinct routes, at least one, got {self.routes}")
        for route in self.routes:
            checks.one_of([toward.value for toward in Toward], routes=route)
        checks.at_least(1 if self.informed else 1 + PER_ROUTE * len(self.routes), queries=self.queries)
        checks.positive(reach=self.reach)

    def __str__(self) -> str:
        names = {
            Toward.OTHERS: "the other classes",
            Toward.RUNNER_UP: "the runner-up",
            Toward.SECOND: "the other classes on a second kind of network",
        }
        towards = " and to ".join(names[Toward(route)] for route in self.routes)
        how = "most telling first" if self.informed else "by bisection"
        return f"crossing on the path to {towards}, {self.queries} quer{'y' if self.queries == 1 else 'ies'}, {how}"

    @property
    def exact(self) -> "Path":
        """The same routes, bisected to their end: what the attacker's own models are asked."""
        return replace(self, queries=1 + PER_ROUTE * len(self.routes), informed=False)

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "Bisection":
        """Crafts the routes on `knowledge.crafters`; asks nothing. The plan is sequential where `informed`.

        Raises:
            InvalidInput: No crafters, a crafter without the samples' classes, or a domain without routes.
        """
        routes = tuple(
            craft(samples, *_guides(Toward(route), knowledge), seed=seed, reach=self.reach) for route in self.routes
        )
        return (PathPlan if self.informed else Bisection)(signal=self, samples=samples, routes=routes)


def _guides(toward: Toward, knowledge: Knowledge) -> tuple[tuple[nn.Module, ...], Toward]:
    """The networks a route follows, and where to: a second opinion nobody has becomes the way to the runner-up."""
    if toward is not Toward.SECOND:
        return knowledge.crafters, toward
    return (knowledge.second, Toward.OTHERS) if knowledge.second else (knowledge.crafters, Toward.RUNNER_UP)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bisection:
    """Finds exact positions; see `LabelPlan`."""

    signal: Path
    samples: Samples
    routes: tuple[Route, ...]

    @property
    def levels(self) -> Levels:
        """How many levels each route has."""
        return levels_of(self.samples.domain)

    @property
    def queries(self) -> tuple[int, int]:
        sides = (self.levels.backward, self.levels.forward)
        fewest = min((side + 1).bit_length() - 1 for side in sides)  # log2 of the outcomes, rounded down,
        most = max(side.bit_length() for side in sides)  # and up.
        return 1 + len(self.routes) * fewest, 1 + len(self.routes) * most

    def measure(self, oracle: LabelOracle) -> Measurement:
        """Exact intervals (n, 2 routes), all complete."""
        search = _Search(self, _asked(self, oracle))
        everyone = torch.arange(len(self.samples), device=self.samples.device)
        search.ask(everyone, torch.zeros_like(everyone), torch.full_like(everyone, self.levels.backward))
        while bool((open_ := search.low < search.high).any()):
            rows, routes = open_.nonzero().unbind(1)
            search.ask(rows, routes, (search.low + search.high - 1)[rows, routes] // 2)
        return search.found()


@dataclass(frozen=True, kw_only=True, eq=False)
class PathPlan(Bisection):
    """Finds exact positions, and fewer where beliefs say which questions tell most; see `SequentialPlan`."""

    def believing(self, beliefs: Beliefs) -> LabelPlan:
        """The plan that asks each sample at most `queries` questions, each the most telling one.

        Raises:
            InvalidInput: The beliefs are not one per sample and route.
        """
        return Believing(plan=self, odds=_Odds(self, beliefs))

    def replay(self, beliefs: Beliefs, values: Tensor) -> Tensor:
        """The intervals that `believing` would find where `values` (n, 2 routes) are exact ones; asks nothing.

        On a model whose label changes more than once along a route the target itself could answer otherwise.

        Raises:
            InvalidInput: `values` are not exact intervals, or the beliefs not one per sample and route.
        """
        plan = Believing(plan=self, odds=_Odds(self, beliefs))
        positions = _positions(self, values)
        return plan.search(lambda rows, routes, levels: positions[rows, routes] > levels).found().values


@dataclass(frozen=True, kw_only=True, eq=False)
class Believing:
    """Asks, within the budget, what tells most about membership; see `LabelPlan`."""

    plan: PathPlan
    odds: "_Odds"

    @property
    def queries(self) -> tuple[int, int]:
        return 1, self.plan.signal.queries

    def measure(self, oracle: LabelOracle) -> Measurement:
        """The intervals reached (n, 2 routes), all complete."""
        return self.search(_asked(self.plan, oracle)).found()

    def search(self, answer: Answer) -> "_Search":
        search = _Search(self.plan, answer)
        for step in range(self.plan.signal.queries):
            information, routes, levels = self.odds.most_telling(search.low, search.high)
            worth = information > LEAST_INFORMATION
            if step == 0:  # Where nothing tells, whether the label is right is what one should know.
                levels = torch.where(worth, levels, self.plan.levels.backward)
                routes = torch.where(worth, routes, 0)
                worth = torch.ones_like(worth)
            rows = worth.nonzero()[:, 0]
            if not len(rows):
                break
            search.ask(rows, routes[rows], levels[rows])
        return search


class _Search:
    """What is known of the positions, `low` to `high` (n, routes), both included, and what it cost."""

    def __init__(self, plan: Bisection, answer: Answer) -> None:
        samples = plan.samples
        self.low = torch.zeros(len(samples), len(plan.routes), dtype=torch.int64, device=samples.device)
        self.high = torch.full_like(self.low, plan.levels.total)
        self._levels, self._answer = plan.levels, answer
        self._queries = torch.zeros(len(samples), dtype=torch.int64, device=samples.device)

    def ask(self, rows: Tensor, routes: Tensor, levels: Tensor) -> None:
        """Asks at most one open question per sample and route, all (q,); once a side is known also several routes."""
        kept = self._answer(rows, routes, levels)
        self._queries.index_add_(0, rows, torch.ones_like(rows))
        self.low[rows[kept], routes[kept]] = levels[kept] + 1
        self.high[rows[~kept], routes[~kept]] = levels[~kept]
        # The sample itself is on all its routes: which side is searched is the same on all.
        middle = self._levels.backward
        right = (self.low > middle).any(1, keepdim=True)
        wrong = (self.high <= middle).any(1, keepdim=True)
        self.low = torch.where(right, self.low.clamp_min(middle + 1), self.low)
        self.high = torch.where(wrong, self.high.clamp_max(middle), self.high)

    def found(self) -> Measurement:
        lower = torch.where(self.low > 0, self.low - 0.5, -torch.inf)
        upper = torch.where(self.high < self._levels.total, self.high + 0.5, torch.inf)
        values = torch.stack([lower, upper], 2).flatten(1).to(torch.float32)
        return Measurement(values, self._queries.cpu(), torch.ones(len(values), dtype=torch.bool))


class _Odds:
    """What the attacker expects of positions, as cumulative probabilities at the edges between them.

    A position has the belief's normal distribution with probability 1 - STRAY and is uniform with STRAY; routes
    are independent given membership, and a member is as likely as a non-member at first.
    """

    def __init__(self, plan: Bisection, beliefs: Beliefs) -> None:
        self._levels = plan.levels
        count, device = plan.levels.total, plan.samples.device
        sides = ((beliefs.mean_in, beliefs.deviation_in), (beliefs.mean_out, beliefs.deviation_out))
        needed = (len(plan.samples), len(plan.routes))
        for mean, deviation in sides:
            if mean.shape != needed or deviation.shape != needed:
                got = f"{tuple(mean.shape)} and {tuple(deviation.shape)}"
                raise InvalidInput(f"beliefs must be (samples, routes) = {needed}, got {got}")
            if not bool((mean.isfinite() & deviation.isfinite() & (deviation >= 0)).all()):
                raise InvalidInput("beliefs must be finite and their deviations 0 or more, got one that is not")
        edges = torch.arange(count + 2, dtype=torch.float64, device=device)  # Edge e lies below position e.
        rescaled = getattr(beliefs, "rescaled", None)  # Beliefs about something that grows with the position.
        places = edges - 0.5 if rescaled is None else rescaled((edges - 0.5).cpu()).to(device)
        normals = [
            torch.special.ndtr((places - m.to(device)[..., None]) / s.to(device).clamp_min(TINY)[..., None])
            for m, s in sides
        ]
        below = (1 - STRAY) * torch.stack(normals, 2) + STRAY * edges / (count + 1)
        below[..., 0], below[..., -1] = 0.0, 1.0  # Nothing lies beyond the ends.
        self._below = below  # (n, routes, 2, edges), members first.

    def most_telling(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mutual information in nats of membership and the most telling open question, its route and level.

        All (n,). The sample itself stands on every route: the probability of its label being right is the mean
        of what the routes say. Ties go to the first route and the lowest level; -1 where no question is open.
        """
        count = self._levels.total
        ends = torch.stack([low, high + 1], 2)[:, :, None].expand(-1, -1, 2, -1)
        start, stop = self._below.gather(3, ends).unbind(3)
        mass = stop - start
        odds = (mass[:, :, 0].log() - mass[:, :, 1].log()).sum(1)
        member = odds.sigmoid()[:, None, None]
        keep = ((stop[..., None] - self._below[..., 1:-1]) / mass[..., None]).clamp(0, 1)
        middle = self._levels.backward
        keep[..., middle] = keep[..., middle].mean(1, keepdim=True)
        inside, outside = keep.unbind(2)
        mixed = member * inside + (1 - member) * outside
        information = _entropy(mixed) - member * _entropy(inside) - (1 - member) * _entropy(outside)
        levels = torch.arange(count, device=low.device)
        is_open = (levels >= low[..., None]) & (levels < high[..., None])
        information = torch.where(is_open, information, -1.0).flatten(1)
        best = (information / SAME_INFORMATION).round().argmax(1)
        return information.gather(1, best[:, None])[:, 0], best // count, best % count


def _entropy(probability: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy


def _asked(plan: Bisection, oracle: LabelOracle) -> Answer:
    samples = plan.samples

    def answer(rows: Tensor, routes: Tensor, levels: Tensor) -> Tensor:
        kept = torch.zeros(len(rows), dtype=torch.bool, device=samples.device)
        for block in chunks(len(rows), copies=1, shape=samples.domain.shape):
            points = samples.inputs[rows[block]]
            for place, route in enumerate(plan.routes):
                on = routes[block] == place
                points[on] = route.points(rows[block][on], levels[block][on])
            told = oracle.ask(points, samples.ids[rows[block]])
            kept[block] = told == samples.labels[rows[block]]
        return kept

    return answer


def _positions(plan: Bisection, values: Tensor) -> Tensor:
    """The positions (n, routes), int64, that exact intervals hold."""
    needed = (len(plan.samples), 2 * len(plan.routes))
    if values.shape != needed:
        raise InvalidInput(f"values must be (samples, 2 routes) = {needed}, got {tuple(values.shape)}")
    lower, upper = values.to(plan.samples.device).double().reshape(len(values), -1, 2).unbind(2)
    low = torch.where(lower == -torch.inf, 0.0, lower + 0.5)
    high = torch.where(upper == torch.inf, float(plan.levels.total), upper - 0.5)
    if not bool(((low == high) & (low == low.round())).all()):
        raise InvalidInput("values must be exact positions, each between two neighbouring half-integers")
    return low.long()

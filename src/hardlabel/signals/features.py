"""Features: several label signals of the same samples side by side, the sample itself asked once for all."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import STILL, Move
from hardlabel.data.domain import Domain, NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle, PaidLabels
from hardlabel.signals.augmentation import Augmentation
from hardlabel.signals.base import (
    Access,
    Beliefs,
    Knowledge,
    LabelPlan,
    LabelSignal,
    Measurement,
    SequentialPlan,
)
from hardlabel.signals.gap import Gap
from hardlabel.signals.label_survival import Kept
from hardlabel.signals.noise import Noise
from hardlabel.signals.path import Path
from hardlabel.signals.shares import Shares

ONE_PATH, TWO_PATHS, THREE_PATHS = 5, 9, 13  # Queries of an exact bisection; the sample, on all paths, is asked once.
FEWEST_DRAWS = 2  # Noisy copies per level below which a share is not worth its queries.
COPIES = 5  # Queries of `copies_beside`.
LEVELS = {"image": 3}  # Noise levels asked about; images have moves besides.
LEVELS_ELSEWHERE = 4


@dataclass(frozen=True, kw_only=True)
class Features:
    """The values of several label signals, asked one after another, with columns side by side, (n, columns of all
    parts).

    Costs the queries of all parts, but the sample itself is asked once: the first part that asks pays, and each later
    part gets the same answer. Every part gets the same seed, so that two noise levels see the same draws. If every part
    is censored, all columns are. Otherwise no column is: an infinite edge of an interval is cut 1 beyond the finite
    edge, and both edges stay as columns. If a part asks less under beliefs, so does the whole. Points are clipped into
    a continuous domain first (`Samples` allows a rounding error). So all parts ask about the same point, whether they
    clip or not.

    Attributes:
        parts: The signals, in the order they are asked; at least one.

    References:
        Ours (studies/RESULTS.md); each part names its own source.

    Raises:
        InvalidInput: No part.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.data.domain import NoiseLevel
        >>> from hardlabel.signals.features import Features
        >>> from hardlabel.signals.gap import Gap
        >>> from hardlabel.signals.noise import Noise
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> signal = Features(parts=(Gap(), Noise(level=NoiseLevel(sigma=0.01), draws=4)))
        >>> found = signal.prepare(samples, Knowledge(), seed=0).measure(Model())
        >>> found.values.tolist(), found.queries.tolist()
        ([[1.0, 1.0], [0.0, 0.0]], [5, 1])
    """

    access: ClassVar[Access] = Access.LABEL
    parts: tuple[LabelSignal, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InvalidInput("parts must name at least one signal, got none")

    def __str__(self) -> str:
        return "; ".join(map(str, self.parts))

    @property
    def censored(self) -> bool:
        """Whether columns come in pairs of edges."""
        return all(getattr(part, "censored", False) for part in self.parts)

    @property
    def exact(self) -> "Features":
        """The parts as the attacker's own models are asked."""
        return Features(parts=tuple(getattr(part, "exact", part) for part in self.parts))

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "FeaturesPlan":
        """Prepares every part; asks nothing.

        The plan is sequential where all parts are censored and one asks by beliefs.

        Raises:
            InvalidInput: A part does not suit the domain.
        """
        if samples.domain.continuous:
            samples = Samples(
                ids=samples.ids,
                inputs=samples.domain.clip(samples.inputs),
                labels=samples.labels,
                domain=samples.domain,
            )
        plans = tuple(part.prepare(samples, knowledge, seed) for part in self.parts)
        sequential = self.censored and any(isinstance(plan, SequentialPlan) for plan in plans)
        return (SequentialFeatures if sequential else FeaturesPlan)(self, samples, plans)


def parts_for(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """What to ask within `queries` queries per sample: one to three paths, then shares of moved and noisy copies.

    One path takes 5 queries, two take 9, three 13; what a budget leaves beyond goes to shares where it pays for at
    least FEWEST_DRAWS noisy copies per level. With 50 queries that is 48 on images and 49 elsewhere.

    Raises:
        InvalidInput: Fewer than 5 queries.
    """
    checks.at_least(ONE_PATH, queries=queries)
    if queries < TWO_PATHS:
        return (Path(queries=ONE_PATH, routes=("others",), informed=False),)
    if queries < THREE_PATHS:
        return (Path(queries=TWO_PATHS, routes=("others", "second"), informed=False),)
    paths = Path(queries=THREE_PATHS, routes=("others", "second", "runner-up"), informed=False)
    moves = _groups() if domain.kind == "image" else ()
    levels = _spread(domain, LEVELS.get(domain.kind, LEVELS_ELSEWHERE))
    draws = (queries - THREE_PATHS - sum(map(len, moves))) // len(levels)
    return (paths, Shares(moves=moves, levels=levels, draws=draws)) if draws >= FEWEST_DRAWS else (paths,)


def copies_beside(queries: int) -> Features:
    """Two or three paths and COPIES moved copies, for images and 1 + COPIES queries at least.

    The paths are asked where they tell most, or for exact positions where queries suffice.
    """
    left = queries - COPIES
    routes = ("others", "second", "runner-up")[: 3 if left >= THREE_PATHS else 2]
    whole = THREE_PATHS if len(routes) == 3 else TWO_PATHS
    path = Path(queries=min(left, whole), routes=routes, informed=left < whole)
    mirror, shifts = (
        tuple(move for move in moves if move != STILL) for moves in (augment.flips(), augment.translations(1))
    )
    return Features(parts=(path, Kept(moves=(mirror, shifts))))


@dataclass(frozen=True, eq=False)
class FeaturesPlan:
    """See `LabelPlan`."""

    signal: Features
    samples: Samples
    plans: tuple[LabelPlan, ...]

    @property
    def queries(self) -> tuple[int, int]:
        asking = [_asks_the_sample(part) for part in self.signal.parts]
        fewest, most = (sum(plan.queries[end] for plan in self.plans) for end in (0, 1))
        # A part of unknown kind may ask about the sample or not: it lowers the fewest and not the most.
        return fewest - max(0, len(asking) - asking.count(False) - 1), most - max(0, asking.count(True) - 1)

    def measure(self, oracle: PaidLabels) -> Measurement:
        answers = _Answers(self.samples)
        found, spared = [], torch.zeros(len(self.samples), dtype=torch.int64)
        for part, plan in zip(self.signal.parts, self.plans, strict=True):
            if _asks_the_sample(part) is False:
                found.append(plan.measure(oracle))
                continue
            telling = _Remembering(oracle, answers)
            found.append(plan.measure(telling))
            spared += telling.spared.long().cpu()
        columns = [
            _finite(one.values) if getattr(part, "censored", False) and not self.signal.censored else one.values
            for part, one in zip(self.signal.parts, found, strict=True)
        ]
        return Measurement(
            torch.cat(columns, 1),
            torch.stack([one.queries.cpu() for one in found]).sum(0) - spared,
            torch.stack([one.complete.cpu() for one in found]).all(0),
        )


@dataclass(frozen=True, eq=False)
class SequentialFeatures(FeaturesPlan):
    """The same where a part asks less under beliefs; see `SequentialPlan`. All parts are censored."""

    def believing(self, beliefs: Beliefs) -> LabelPlan:
        """The plan whose sequential parts ask by `beliefs`, each by those about its own scalars.

        Raises:
            InvalidInput: The beliefs are not one per sample and scalar.
        """
        plans = tuple(
            plan.believing(_Of(beliefs, own)) if isinstance(plan, SequentialPlan) else plan
            for plan, own in self._owners(beliefs.mean_in.shape[1])
        )
        return FeaturesPlan(self.signal, self.samples, plans)

    def replay(self, beliefs: Beliefs, values: Tensor) -> Tensor:
        """What `believing` would find where `values` (n, 2 scalars) are exact ones; asks nothing."""
        return torch.cat(
            [
                plan.replay(_Of(beliefs, own), part) if isinstance(plan, SequentialPlan) else part
                for plan, own in self._owners(values.shape[1] // 2)
                for part in [values[:, 2 * own.start : 2 * own.stop]]
            ],
            1,
        )

    def _owners(self, scalars: int) -> list[tuple[LabelPlan, slice]]:
        """The plans, each with the places of its scalars."""
        stops = list(itertools.accumulate(_scalars(part) for part in self.signal.parts))
        if stops[-1] != scalars:
            raise InvalidInput(f"values and beliefs must be of {stops[-1]} scalars, got {scalars}")
        return [(plan, slice(*ends)) for plan, ends in zip(self.plans, itertools.pairwise([0, *stops]), strict=True)]


def _scalars(part: LabelSignal) -> int:
    """How many scalars a censored part has."""
    if isinstance(part, Path):
        return len(part.routes)
    if isinstance(part, Kept):
        return len(part.moves)
    raise InvalidInput(f"parts of a sequential plan must be paths or kept copies, got {part}")


class _Of:
    """Some scalars' beliefs; see `Beliefs`."""

    def __init__(self, beliefs: Beliefs, own: slice) -> None:
        self.mean_in, self.deviation_in = beliefs.mean_in[:, own], beliefs.deviation_in[:, own]
        self.mean_out, self.deviation_out = beliefs.mean_out[:, own], beliefs.deviation_out[:, own]
        rescaled = getattr(beliefs, "rescaled", None)
        self.rescaled = None if rescaled is None else lambda edges: rescaled(edges)[own]


class _Answers:
    """What is known of the samples themselves: labels (n,), -1 where none was asked for yet."""

    def __init__(self, samples: Samples) -> None:
        self.labels = torch.full_like(samples.labels, -1)
        self._samples = samples
        self._ids, self._order = samples.ids.sort()

    def places(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """The row of the sample that each input is, (q,); -1 where the input is but a copy."""
        found = torch.searchsorted(self._ids, ids).clamp_max(len(self._ids) - 1)
        places = self._order[found]
        same = (self._samples.ids[places] == ids) & (inputs == self._samples.inputs[places]).flatten(1).all(1)
        return torch.where(same, places, -1)


class _Remembering:
    """PaidLabels for one part: the answer about a sample itself is told where an earlier part has paid for it.

    Once per sample: a part that asks about the same point again, by a copy that noise left alone, pays as it would
    alone. Its cost alone less one is then its cost here, whatever the points.
    """

    def __init__(self, inner: PaidLabels, answers: _Answers) -> None:
        self._inner, self._answers = inner, answers
        self._asked = torch.zeros_like(answers.labels, dtype=torch.bool)
        self.spared = torch.zeros_like(self._asked)

    def aside(self, purpose: str) -> LabelOracle:
        return self._inner.aside(purpose)

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        places = self._answers.places(inputs, ids)
        first = self._first(places)
        told = first & (self._answers.labels[places] >= 0)
        labels = torch.empty(len(inputs), dtype=torch.int64, device=inputs.device)
        labels[told] = self._answers.labels[places[told]]
        if not bool(told.all()):
            labels[~told] = self._inner.ask(inputs[~told], ids[~told])
        self._answers.labels[places[first]] = labels[first]
        self._asked[places[first]] = True
        self.spared[places[told]] = True
        return labels

    def _first(self, places: Tensor) -> Tensor:
        """Which questions are this part's first about a sample itself, bool (q,)."""
        rows = torch.arange(len(places), device=places.device)
        new = (places >= 0) & ~self._asked[places]
        first = torch.full_like(self._answers.labels, len(places))
        first = first.scatter_reduce(0, places[new], rows[new], "amin")
        return new & (first[places] == rows)


def _asks_the_sample(part: LabelSignal) -> bool | None:
    """Whether a signal asks each sample itself, which later parts need not pay; None where nobody knows."""
    if isinstance(part, Path | Gap | Noise):
        return True
    if isinstance(part, Augmentation):
        return STILL in part.moves
    return False if isinstance(part, Shares | Kept) else None


def _finite(values: Tensor) -> Tensor:
    """Pairs of edges (n, 2c) with infinite ones 1 beyond their finite partners; NaN where both are infinite."""
    lower, upper = values[:, 0::2], values[:, 1::2]
    ends = torch.where(lower.isinf(), upper - 1, lower), torch.where(upper.isinf(), lower + 1, upper)
    pairs = torch.stack(ends, 2).flatten(1)
    return pairs.where(pairs.isfinite(), torch.nan)


def _groups() -> tuple[tuple[Move, ...], ...]:
    """Moves that are one feature each: shifts by 1 and by 2, rotations, the mirror image; 17 copies."""
    turned = augment.union(augment.rotations(4), augment.rotations(8))
    sets = (augment.translations(1), augment.translations(2), turned, augment.flips())
    return tuple(tuple(move for move in moves if move != STILL) for moves in sets)


def _spread(domain: Domain, count: int) -> tuple[NoiseLevel, ...]:
    """`count` of the domain's noise levels, evenly spread over its ladder; all where it has no more."""
    ladder = domain.noise_levels
    if len(ladder) <= count:
        return ladder
    return tuple(ladder[(2 * i + 1) * len(ladder) // (2 * count)] for i in range(count))

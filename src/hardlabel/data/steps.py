"""Walks of discrete samples: one legal change after another, those first that a slope says gain most.

A binary sample flips bits. A row of a mixed table changes a category, or moves a number by STRIDE standard
deviations (whole numbers by whole raw values, never beyond a bound; a missing one stays missing). A domain whose values
are names, such as tokens, says itself how its samples walk (`Named`).
"""

from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Domain
from hardlabel.data.layout import Layout, layout_of
from hardlabel.data.table import MixedTable

STRIDE = 0.5  # Standard deviations that a number moves in one step; a category's change has distance 1.


class Steps(NamedTuple):
    """Up to s steps of n samples, in their order. A step writes two cells, which may be one cell written twice.

    Attributes:
        columns: The cells written, (n, s, 2) int64.
        values: What is written, (n, s, 2) float32.
        counts: How many of the s steps a sample has, (n,) int64; what lies beyond is never taken.
    """

    columns: Tensor
    values: Tensor
    counts: Tensor

    def walked(self, inputs: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
        """Where `inputs` (q, d), the samples `rows` (q,), are after `lengths` (q,) steps, or all they have."""
        moved = inputs.clone()
        columns, values = self.columns[rows], self.values[rows]
        lengths = torch.minimum(lengths, self.counts[rows])
        for step in range(int(lengths.max()) if len(lengths) else 0):
            taken = (step < lengths)[:, None]
            written = torch.where(taken, values[:, step], moved.gather(1, columns[:, step]))
            moved.scatter_(1, columns[:, step], written)
        return moved


class EmbeddedSlope(NamedTuple):
    """How a gain grows where an id is put at a position: the product of the position's and the id's vectors.

    It is the gradient at the one-hot encoding of the ids, which would be (n, t, vocabulary) written out.

    Attributes:
        field: The gain's gradient where the networks embed each position, (n, t, w) float64.
        table: The vector of each id, (vocabulary, w).
    """

    field: Tensor
    table: Tensor


@runtime_checkable
class Named(Protocol):
    """A discrete domain whose values are names without order: networks embed them, and their slope is there."""

    @property
    def vocabulary(self) -> int:
        """Number of names; values are whole numbers below it."""
        ...

    @property
    def most_steps(self) -> int:
        """The most steps that a sample can walk."""
        ...

    def steepest(self, inputs: Tensor, slope: EmbeddedSlope, most: int) -> Steps:
        """The first `most` steps of `inputs` (n, t) up the slope, greatest gain first."""
        ...


def most_steps(domain: Domain) -> int:
    """The most steps that a sample of `domain` can walk; more would undo the first.

    Raises:
        InvalidInput: The domain is neither binary, a mixed table nor `Named`.
    """
    if isinstance(domain, Named):
        return domain.most_steps
    if isinstance(domain, BinaryFeatures):
        return domain.features
    if isinstance(domain, MixedTable):
        layout = layout_of(domain.columns, torch.device("cpu"))
        span = (layout.upper - layout.lower) / _stride(layout)
        return int((layout.sizes > 1).sum()) + int(span.ceil().sum())
    raise InvalidInput(f"steps are known for binary samples and mixed tables, got a {domain.kind} domain")


def steepest(domain: Domain, inputs: Tensor, slope: Tensor, most: int) -> Steps:
    """The first `most` steps of `inputs` (n, d) up `slope` (n, d), the change of a gain per unit of each cell.

    Ordered by gain per increase of the squared distance of the domain, greatest first: the order in which the
    farthest-reaching point at each distance takes them up, were the gain linear. For bits and categories, whose
    changes all have distance 1, that is the order of gains; a number's further steps count less and less, so
    that one steep number does not take the whole walk. Only steps with a gain above 0 are taken, each bit and
    category once. Ties go to the earlier column.

    Raises:
        InvalidInput: The domain is neither binary nor a mixed table.
    """
    slope = slope.double()
    if isinstance(domain, BinaryFeatures):
        columns = torch.arange(domain.features, device=inputs.device).expand(len(inputs), -1)
        rates = slope * (1 - 2 * inputs.double())
        return _first(most, rates, torch.stack([columns, columns], 2), torch.stack([1 - inputs, 1 - inputs], 2))
    if isinstance(domain, MixedTable):
        layout = layout_of(domain.columns, inputs.device)
        moves = [_categories(layout, inputs, slope), _numbers(layout, inputs, slope, most)]
        return _first(most, *(torch.cat(parts, 1) for parts in zip(*moves, strict=True)))
    raise InvalidInput(f"steps are known for binary samples and mixed tables, got a {domain.kind} domain")


Moves = tuple[Tensor, Tensor, Tensor]  # Rates (n, m), columns (n, m, 2) and values (n, m, 2).


def _first(most: int, rates: Tensor, columns: Tensor, values: Tensor) -> Steps:
    ordered, order = rates.sort(dim=1, descending=True, stable=True)
    order = order[:, :most, None].expand(-1, -1, 2)
    return Steps(columns.gather(1, order), values.gather(1, order), (ordered[:, :most] > 0).sum(1))


def _categories(layout: Layout, inputs: Tensor, slope: Tensor) -> Moves:
    """Each categorical column's best change, m = g."""
    count, groups = len(inputs), len(layout.sizes)
    wide = int(layout.sizes.max()) if groups else 0
    # One row of places per group, -inf where a group has fewer, so that one maximum serves all groups.
    slopes = slope.new_full((count, groups, wide), -torch.inf)
    slopes[:, layout.group, layout.place] = slope[:, layout.hot]
    cells = layout.hot.new_zeros(groups, wide)
    cells[layout.group, layout.place] = layout.hot
    old = layout.per_group(inputs[:, layout.hot] * layout.place).long()[..., None]
    own = slopes.gather(2, old)
    new = slopes.argmax(2, keepdim=True) if wide else old  # The one held, at no gain, where none is better.
    gains = (slopes.gather(2, new) - own)[..., 0]
    cells = cells.expand(count, -1, -1)
    columns = torch.cat([cells.gather(2, old), cells.gather(2, new)], 2)
    return gains, columns, inputs.new_tensor([0.0, 1.0]).expand(count, groups, 2)


def _numbers(layout: Layout, inputs: Tensor, slope: Tensor, most: int) -> Moves:
    """Each number's first `most` steps uphill, m = k * most, a number's steps one after another."""
    count, numbers = len(inputs), len(layout.values)
    values, uphill = inputs[:, layout.values], slope[:, layout.values]
    raw = torch.where(layout.integer, layout.raw(values).round(), layout.raw(values))
    strides = torch.arange(1, most + 1, device=inputs.device) * (uphill.sign() * _stride(layout))[..., None]
    places = layout.encoded((raw[..., None] + strides).transpose(1, 2)).transpose(1, 2)
    reached = (places.double() - values.double()[..., None]).abs()
    before = torch.cat([torch.zeros_like(reached[..., :1]), reached[..., :-1]], 2)
    # A gain of |slope| (reached - before) for reached^2 - before^2.
    rates = uphill.abs()[..., None] / (reached + before)
    idle = (reached <= before) | layout.absent(inputs)[..., None]
    rates = torch.where(idle, 0.0, rates).reshape(count, numbers * most)
    columns = layout.values[:, None, None].expand(numbers, most, 2).reshape(1, numbers * most, 2)
    places = places.reshape(count, numbers * most)
    return rates, columns.expand(count, -1, -1), torch.stack([places, places], 2)


def _stride(layout: Layout) -> Tensor:
    """One step of each number in raw units, (k,) float64."""
    raw = STRIDE * layout.scale
    return torch.where(layout.integer, raw.round().clamp_min(1.0), raw)

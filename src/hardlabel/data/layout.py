"""Where the encoded columns of a mixed table stand, as tensors, and arithmetic on all its numbers at once."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric, level_codes
from hardlabel.data.domain import LEGAL_SLACK

FLOAT32_ROUNDING = 2.0**-23  # Relative; twice the rounding error of one float32 operation.


class Layout(NamedTuple):
    """Where the encoded columns stand, as tensors: k numbers, m indicators, h categories in g groups."""

    names: list[str]  # Of every encoded column.
    values: Tensor  # (k,) columns of numbers.
    mean: Tensor  # (k,) float64, as are scale, lower, upper, edge and rounding.
    scale: Tensor
    lower: Tensor
    upper: Tensor
    edge: Tensor  # Raw slack at the bounds.
    rounding: Tensor  # Raw error that float32 may have made.
    integer: Tensor  # (k,) bool.
    marks: Tensor  # (m,) columns of indicators.
    marked: Tensor  # (m,) which of the k numbers they are about.
    hot: Tensor  # (h,) columns of categories.
    group: Tensor  # (h,) their group.
    place: Tensor  # (h,) their place within it.
    sizes: Tensor  # (g,) categories per group.
    levels: tuple[tuple[int, Tensor], ...]  # Of numbers that have levels: which of the k, and the levels encoded.

    def raw(self, values: Tensor) -> Tensor:
        return values.double() * self.scale + self.mean

    def encoded(self, raw: Tensor) -> Tensor:
        """The encoded numbers (..., k), float32, of raw ones: the nearest within the bounds and among levels."""
        raw = torch.minimum(torch.maximum(raw, self.lower), self.upper)
        exact = (raw - self.mean) / self.scale
        encoded = exact.to(torch.float32)
        for number, codes in self.levels:
            between = (codes[1:].double() + codes[:-1].double()) / 2
            encoded[..., number] = codes[torch.searchsorted(between, exact[..., number].contiguous())]
        return encoded

    def settled(self, values: Tensor) -> Tensor:
        """The nearest legal numbers (..., k)."""
        raw = self.raw(values)
        whole = self.encoded(torch.where(self.integer, raw.round(), raw))
        inside = (raw >= self.lower) & (raw <= self.upper) & ~self.integer
        for number, codes in self.levels:
            inside[..., number] = _among(values[..., number], codes)
        return torch.where(inside, values, whole)  # What is legal stays as it is, to the last bit.

    def off_level(self, values: Tensor) -> Tensor:
        """Which numbers (n, k) are none of their levels, bool (n, k)."""
        off = torch.zeros_like(values, dtype=torch.bool)
        for number, codes in self.levels:
            off[:, number] = ~_among(values[:, number], codes)
        return off

    def absent(self, inputs: Tensor) -> Tensor:
        """Which numbers are missing, bool (n, k)."""
        missing = torch.zeros(len(inputs), len(self.values), dtype=torch.bool, device=inputs.device)
        missing[:, self.marked] = inputs[:, self.marks] == 1
        return missing

    def per_group(self, hot: Tensor) -> Tensor:
        """Sums (n, g) of (n, h) over the categories of each group."""
        return hot.new_zeros(len(hot), len(self.sizes)).index_add_(1, self.group, hot)

    def refuse(self, inputs: Tensor, name: str, columns: Tensor, bad: Tensor, rule: str) -> None:
        if bad.any():
            row, place = bad.nonzero()[0].tolist()
            column = int(columns[place])
            raise InvalidInput(
                f"{name} row {row}, column {self.names[column]!r}: {rule}, got {float(inputs[row, column]):g}"
            )


def _among(values: Tensor, codes: Tensor) -> Tensor:
    values = values.contiguous()
    return codes[torch.searchsorted(codes, values).clamp_max(len(codes) - 1)] == values


@lru_cache(maxsize=32)
def layout_of(columns: tuple[Numeric | Categorical, ...], device: torch.device) -> Layout:
    """The layout of `columns`, in the order of their encoding, with its tensors on `device`."""
    names: list[str] = []
    numbers: list[Numeric] = []
    values: list[int] = []
    marks: list[int] = []
    marked: list[int] = []
    hot: list[int] = []
    group: list[int] = []
    place: list[int] = []
    sizes: list[int] = []
    for column in columns:
        start = len(names)
        if isinstance(column, Numeric):
            values.append(start)
            if column.missing:
                marks.append(start + 1)
                marked.append(len(numbers))
            numbers.append(column)
            names += [column.name, f"{column.name} missing"][: column.width]
        else:
            hot += range(start, start + column.width)
            group += [len(sizes)] * column.width
            place += range(column.width)
            sizes.append(column.width)
            names += [f"{column.name}={category}" for category in column.categories]

    def places(numbers: list[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64, device=device)

    def floats(numbers: list[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64, device=device)

    rounding = [FLOAT32_ROUNDING * n.reach for n in numbers]
    return Layout(
        names=names,
        values=places(values),
        mean=floats([n.mean for n in numbers]),
        scale=floats([n.scale for n in numbers]),
        lower=floats([n.lower for n in numbers]),
        upper=floats([n.upper for n in numbers]),
        edge=floats([r + LEGAL_SLACK * (n.upper - n.lower) for r, n in zip(rounding, numbers, strict=True)]),
        rounding=floats(rounding),
        integer=torch.tensor([n.integer for n in numbers], dtype=torch.bool, device=device),
        marks=places(marks),
        marked=places(marked),
        hot=places(hot),
        group=places(group),
        place=places(place),
        sizes=places(sizes),
        levels=tuple(
            (number, torch.from_numpy(level_codes(n).copy()).to(device))
            for number, n in enumerate(numbers)
            if n.levels is not None
        ),
    )

"""Mixed tables: numeric and categorical columns, encoded as one float32 row and perturbed each in its own way.

Numbers are encoded in standard deviations, (raw - mean) / scale; categories are one-hot; a number that may
be missing has an indicator column after it, and a missing one is encoded as value 0 with indicator 1.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import LEGAL_SLACK, NoiseLevel, check_form

Cells: TypeAlias = "pd.Series[Any]"  # One column of a frame.

MOST_CATEGORIES = 1000  # A column with more is a name or a free text, and would make the input huge.
WIDEST_INTEGER = 2**21  # Farther from the mean, float32 could no longer tell whole numbers apart.
WHOLE_SLACK = 1e-3  # Distance to a whole raw value that still counts as whole; float32 rounding is added.
FLOAT32_ROUNDING = 2.0**-23  # Relative; twice the rounding error of one float32 operation.

LADDER = (
    (0.05, 0.02),
    (0.1, 0.04),
    (0.15, 0.06),
    (0.2, 0.08),
    (0.3, 0.12),
    (0.4, 0.16),
    (0.5, 0.2),
    (0.7, 0.3),
    (0.85, 0.4),
    (1.0, 0.5),
)  # (sigma, flip); the authors' code flips 20 to 50 of Adult's 107 features, .19 to .47.


@dataclass(frozen=True, kw_only=True)
class Numeric:
    """A column of numbers.

    Attributes:
        name: The column's name.
        mean: Raw value encoded as 0.
        scale: Raw units per encoded unit, above 0.
        lower: Smallest legal raw value.
        upper: Largest legal raw value.
        integer: Whether only whole raw values are legal; noise is rounded to them.
        missing: Whether a value may be missing.
    """

    name: str
    mean: float
    scale: float
    lower: float
    upper: float
    integer: bool = False
    missing: bool = False

    def __post_init__(self) -> None:
        numbers = (self.mean, self.scale, self.lower, self.upper)
        if not (all(map(math.isfinite, numbers)) and self.scale > 0 and self.lower <= self.upper):
            raise InvalidInput(
                f"column {self.name!r} needs finite numbers, scale > 0 and lower <= upper, "
                f"got mean {self.mean}, scale {self.scale}, lower {self.lower}, upper {self.upper}"
            )
        if self.integer and not (float(self.lower).is_integer() and float(self.upper).is_integer()):
            raise InvalidInput(
                f"column {self.name!r} is integer: bounds must be whole, got {self.lower} and {self.upper}"
            )
        if self.integer and self.reach > WIDEST_INTEGER:
            raise InvalidInput(
                f"column {self.name!r} is integer: bounds must lie within {WIDEST_INTEGER} of the mean, "
                f"got {self.lower} and {self.upper}"
            )

    @property
    def width(self) -> int:
        """Encoded columns: the value and, where it may be missing, its indicator."""
        return 2 if self.missing else 1

    @property
    def reach(self) -> float:
        """Largest distance of a legal raw value from the mean."""
        return max(abs(self.lower - self.mean), abs(self.upper - self.mean))

    def encode(self, cells: Cells, marker: str | None) -> NDArray[np.float32]:
        """Encoded cells (n, width); see `MixedTable.encode`."""
        absent = _absent(cells, marker)
        if not self.missing and absent.any():
            raise _undeclared(self.name, cells, absent)
        values = _numbers(self.name, cells, absent)
        values[absent] = self.mean
        _refuse_cells(self.name, cells, values < self.lower, f"must be at least {self.lower:g}")
        _refuse_cells(self.name, cells, values > self.upper, f"must be at most {self.upper:g}")
        if self.integer:
            _refuse_cells(self.name, cells, (values != np.round(values)) & ~absent, "must be whole")
        encoded = ((values - self.mean) / self.scale).astype(np.float32)
        return np.column_stack([encoded, absent] if self.missing else [encoded]).astype(np.float32)

    def decode(self, encoded: NDArray[np.float32]) -> NDArray[np.generic]:
        """Raw values (n,) of encoded cells (n, width): int64 for whole ones, float64 with NaN where missing."""
        raw = encoded[:, 0].astype(np.float64) * self.scale + self.mean
        raw = np.clip(np.round(raw) if self.integer else raw, self.lower, self.upper)
        if self.missing:
            return np.where(encoded[:, 1] == 1, np.nan, raw)
        return raw.astype(np.int64) if self.integer else raw


@dataclass(frozen=True)
class Categorical:
    """A column that holds one of `categories`; a missing value is a category too, such as "?"."""

    name: str
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.categories or len(set(self.categories)) < len(self.categories):
            raise InvalidInput(f"column {self.name!r} needs distinct categories, got {self.categories}")

    @property
    def width(self) -> int:
        """Encoded columns: one per category."""
        return len(self.categories)

    def encode(self, cells: Cells, marker: str | None) -> NDArray[np.float32]:
        """Encoded cells (n, width); see `MixedTable.encode`."""
        place = {category: i for i, category in enumerate(self.categories)}
        codes, values = pd.factorize(cells)
        places = np.array([place.get(_text(value), -1) for value in values] + [place.get(marker or "", -1)])
        found = places[codes]  # Code -1, a NaN, reads the last place: the marker's category.
        absent = cells.isna().to_numpy()
        if (found[absent] < 0).any():
            raise _undeclared(self.name, cells, absent)
        _refuse_cells(self.name, cells, found < 0, f"must be one of {', '.join(self.categories)}")
        encoded: NDArray[np.float32] = np.eye(self.width, dtype=np.float32)[found]
        return encoded

    def decode(self, encoded: NDArray[np.float32]) -> NDArray[np.generic]:
        """Categories (n,), as text, of encoded cells (n, width)."""
        categories: NDArray[np.object_] = np.array(self.categories, dtype=object)[encoded.argmax(1)]
        return categories


@dataclass(frozen=True)
class MixedTable:
    """Rows of a table. Noise is Gaussian on numbers and redraws categories; see `noisy`.

    The distance of two rows is sqrt(a + b + c): a, the sum of squared differences of encoded numbers (a
    missing one counts as 0, the mean); b, the number of columns missing in one row only; c, the number of
    columns whose categories differ. It is a metric, and plain L2 where all columns are numbers.

    Attributes:
        columns: The columns, in the order of their encoding.
        missing: The text that stands for a missing value, besides NaN; None where nothing may be missing.
    """

    columns: tuple[Numeric | Categorical, ...]
    missing: str | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names):
            raise InvalidInput(f"columns must have distinct names and be one or more, got {names}")

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, *, missing: str | None = None, categorical: Collection[str] | None = None
    ) -> "MixedTable":
        """The table that holds `frame`: text, booleans and categories become categorical, numbers numeric.

        Numbers get their mean, standard deviation (1 where constant) and range; they are integer where all
        are whole. Categories are sorted.

        Args:
            frame: One row per sample, features only.
            missing: Declares missing values: NaN, and cells that read so ("?", "nan").
            categorical: Columns to take as categorical although they hold numbers.

        Raises:
            InvalidInput: No rows or columns; a missing value that is not declared; numbers mixed with text;
                more than MOST_CATEGORIES categories; a type that is neither number, text nor boolean.
        """
        if not frame.size:
            raise InvalidInput(f"a table must have rows and feature columns, got shape {frame.shape}")
        chosen = frozenset(categorical or ())
        names = [str(name) for name in frame.columns]
        for name in sorted(chosen):
            checks.one_of(names, categorical=name)
        cells = (frame.iloc[:, place] for place in range(len(names)))
        return cls(tuple(_fitted(n, c, missing, n in chosen) for n, c in zip(names, cells, strict=True)), missing)

    @property
    def kind(self) -> str:
        return "mixed table" if any(isinstance(c, Categorical) for c in self.columns) else "continuous"

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(column.width for column in self.columns),)

    @property
    def continuous(self) -> bool:
        return all(isinstance(c, Numeric) and not c.integer and not c.missing for c in self.columns)

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        sigmas = any(isinstance(column, Numeric) for column in self.columns)
        flips = any(isinstance(column, Categorical) for column in self.columns)
        return tuple(NoiseLevel(sigma=s * sigmas, flip=f * flips) for s, f in LADDER)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Inputs (n, width), float32, of a frame that has the table's columns; others are ignored.

        Raises:
            InvalidInput: A column is not there; a value is missing and not declared, of an unknown category,
                out of bounds, not a number or not whole.
        """
        for column in self.columns:
            if column.name not in frame.columns:
                raise InvalidInput(f"frame must have a column {column.name!r}, got {list(frame.columns)}")
        parts = [column.encode(frame[column.name], self.missing) for column in self.columns]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def decode(self, inputs: Tensor) -> pd.DataFrame:
        """The frame that `inputs` (n, width) encodes.

        Whole numbers come back exactly, others within float32 rounding, missing ones as NaN; categories as
        text, so a boolean reads "True" or "False".
        """
        self.check(inputs)
        rows = inputs.cpu().numpy()
        starts = np.cumsum([0, *(column.width for column in self.columns)])
        parts = {c.name: c.decode(rows[:, s : s + c.width]) for c, s in zip(self.columns, starts, strict=False)}
        return pd.DataFrame(parts)

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        check_form(inputs, self.shape, name)
        layout = _layout(self, inputs.device)
        hot, marks = inputs[:, layout.hot], inputs[:, layout.marks]
        layout.refuse(inputs, name, layout.hot, (hot != 0) & (hot != 1), "a category must be 0 or 1")
        ones = layout.per_group(hot)[:, layout.group]
        layout.refuse(inputs, name, layout.hot, ones != 1, "one category of the column must be 1")
        layout.refuse(inputs, name, layout.marks, (marks != 0) & (marks != 1), "an indicator must be 0 or 1")
        values, absent = inputs[:, layout.values], layout.absent(inputs)
        raw = layout.raw(values)
        legal = (raw >= layout.lower - layout.edge) & (raw <= layout.upper + layout.edge)
        whole = ~layout.integer | ((raw - raw.round()).abs() <= WHOLE_SLACK + layout.rounding)
        layout.refuse(inputs, name, layout.values, absent & (values != 0), "a missing value must be 0")
        layout.refuse(inputs, name, layout.values, ~absent & ~legal, "a number must lie within its bounds")
        layout.refuse(inputs, name, layout.values, ~absent & ~whole, "a number must be whole in raw units")

    def clip(self, inputs: Tensor) -> Tensor:
        if not self.continuous:
            raise InvalidInput(f"only a continuous domain can clip, got a {self.kind} with discrete columns")
        return _layout(self, inputs.device).settled(inputs)

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        """Per copy: a Gaussian for each number, then per categorical column one uniform for whether it is
        redrawn, then one for which category comes."""
        layout = _layout(self, torch.device("cpu"))
        gaussian = torch.randn(draws, len(layout.values), generator=generator)
        return torch.cat([gaussian, torch.rand(draws, 2 * len(layout.sizes), generator=generator)], dim=1)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        """Legal noisy copies (n, draws, width) of `inputs` (n, width).

        Numbers get Gaussian noise of `sigma` standard deviations, are clipped to their bounds and rounded
        where integer; a missing one stays missing. Each category is, with probability `flip`, replaced by one
        of the column's other categories, all equally likely: `flip` is the probability of a change.
        """
        layout = _layout(self, inputs.device)
        source, numbers, groups = source.to(inputs.device), len(layout.values), len(layout.sizes)
        gaussian, whether, which = (
            source[:, :numbers],
            source[:, numbers : numbers + groups],
            source[:, numbers + groups :],
        )
        copies = inputs[:, None].repeat(1, len(source), 1)
        if level.sigma:
            values, absent = inputs[:, None, layout.values], layout.absent(inputs)[:, None]
            copies[..., layout.values] = torch.where(absent, values, layout.settled(values + level.sigma * gaussian))
        if level.flip:
            old = layout.per_group(inputs[:, layout.hot] * layout.place)[:, None].long()
            others = torch.minimum((which * (layout.sizes - 1)).long(), layout.sizes - 2)
            new = torch.where((whether < level.flip) & (layout.sizes > 1), others + (others >= old).long(), old)
            copies[..., layout.hot] = (new[..., layout.group] == layout.place).to(inputs.dtype)
        return copies

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (count, width), uniform within the bounds and over the categories; nothing is missing."""
        layout = _layout(self, torch.device("cpu"))
        uniform = torch.rand(count, len(layout.values), generator=generator, dtype=torch.float64)
        raw = layout.lower + uniform * (layout.upper - layout.lower + layout.integer.double())
        rows = torch.zeros(count, *self.shape)
        rows[:, layout.values] = layout.encoded(torch.where(layout.integer, raw.floor(), raw))
        drawn = torch.rand(count, len(layout.sizes), generator=generator) * layout.sizes
        chosen = torch.minimum(drawn.long(), layout.sizes - 1)
        rows[:, layout.hot] = (chosen[:, layout.group] == layout.place).float()
        return rows

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        weights = torch.ones(self.shape, dtype=torch.float64, device=first.device)
        weights[_layout(self, first.device).hot] = 0.5  # Two categories differ in two places.
        return ((first - second).double().square() * weights).sum(1).sqrt().to(torch.float32)


class _Layout(NamedTuple):
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
    marked: Tensor  # (m,) which of the k numbers they speak of.
    hot: Tensor  # (h,) columns of categories.
    group: Tensor  # (h,) their group.
    place: Tensor  # (h,) their place within it.
    sizes: Tensor  # (g,) categories per group.

    def raw(self, values: Tensor) -> Tensor:
        return values.double() * self.scale + self.mean

    def encoded(self, raw: Tensor) -> Tensor:
        raw = torch.minimum(torch.maximum(raw, self.lower), self.upper)
        return ((raw - self.mean) / self.scale).to(torch.float32)

    def settled(self, values: Tensor) -> Tensor:
        """The nearest legal numbers (..., k)."""
        raw = self.raw(values)
        whole = self.encoded(torch.where(self.integer, raw.round(), raw))
        inside = (raw >= self.lower) & (raw <= self.upper) & ~self.integer
        return torch.where(inside, values, whole)  # What is legal stays as it is, to the last bit.

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


@lru_cache(maxsize=32)
def _layout(table: MixedTable, device: torch.device) -> _Layout:
    names: list[str] = []
    numbers: list[Numeric] = []
    values: list[int] = []
    marks: list[int] = []
    marked: list[int] = []
    hot: list[int] = []
    group: list[int] = []
    place: list[int] = []
    sizes: list[int] = []
    for column in table.columns:
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
    return _Layout(
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
    )


def _fitted(name: str, cells: Cells, marker: str | None, chosen: bool) -> Numeric | Categorical:
    absent = _absent(cells, marker)
    if absent.any() and marker is None:
        raise _undeclared(name, cells, absent)
    if chosen or not _holds_numbers(name, cells, absent):
        return _fitted_categories(name, cells, marker if absent.any() else None)
    values = _numbers(name, cells, absent)[~absent]
    if not len(values):
        raise InvalidInput(f"column {name!r} must hold a number somewhere, got only missing ones")
    if not np.isfinite(values).all():
        raise InvalidInput(f"column {name!r} must be finite, got infinity")
    lower, upper = float(values.min()), float(values.max())
    mean, spread = (float(values.mean()), float(values.std())) if lower < upper else (lower, 1.0)
    return Numeric(
        name=name,
        mean=mean,
        scale=spread or 1.0,  # Tiny differences square to 0.
        lower=lower,
        upper=upper,
        integer=bool((values == np.round(values)).all()) and max(upper - mean, mean - lower) <= WIDEST_INTEGER,
        missing=bool(absent.any()),
    )


def _fitted_categories(name: str, cells: Cells, marker: str | None) -> Categorical:
    if isinstance(cells.dtype, pd.CategoricalDtype):
        values = list(cells.dtype.categories)  # Also those no row has: they are legal.
    else:
        values = list(cells.dropna().unique())
    found = {_text(value) for value in values} | ({marker} if marker is not None else set())
    if len(found) > MOST_CATEGORIES:
        raise InvalidInput(
            f"column {name!r} must have at most {MOST_CATEGORIES} categories, got {len(found)}; leave it out"
        )
    return Categorical(name, tuple(sorted(found)))


def _holds_numbers(name: str, cells: Cells, absent: NDArray[np.bool_]) -> bool:
    """Whether a column is numeric. One of text is where its marker alone kept it from being read as numbers."""
    if isinstance(cells.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(cells):
        return False
    if pd.api.types.is_numeric_dtype(cells):
        return True
    if not (cells.dtype == object or pd.api.types.is_string_dtype(cells)):
        raise InvalidInput(f"column {name!r} must hold numbers, text or booleans, got {cells.dtype}")
    values = cells[~absent].unique()
    if all(isinstance(value, bool) for value in values):
        return False  # Also where all are missing: the marker is then the only category.
    readable = [not math.isnan(_number(value)) for value in values]
    if all(readable):
        return bool(absent.any()) or not any(isinstance(value, str) for value in values)
    if sum(readable) > len(values) / 2:
        odd = next(value for value, number in zip(values, readable, strict=True) if not number)
        raise InvalidInput(
            f"column {name!r} must not mix numbers with {odd!r}: declare it as missing or the column as categorical"
        )
    return False


def _absent(cells: Cells, marker: str | None) -> NDArray[np.bool_]:
    if pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells):
        sentinel = math.nan if marker is None else _number(marker)  # Such as -999; NaN equals nothing.
        return (cells.isna() | (cells == sentinel).fillna(False)).to_numpy(dtype=bool)
    codes, values = pd.factorize(cells)
    absent: NDArray[np.bool_] = np.array([_text(value) == marker for value in values] + [True])[codes]
    return absent


def _numbers(name: str, cells: Cells, absent: NDArray[np.bool_]) -> NDArray[np.float64]:
    if pd.api.types.is_numeric_dtype(cells):
        return np.array(cells.to_numpy(dtype=np.float64, na_value=math.nan))
    codes, values = pd.factorize(cells)
    numbers: NDArray[np.float64] = np.array([_number(value) for value in values] + [math.nan])[codes]
    _refuse_cells(name, cells, np.isnan(numbers) & ~absent, "must be a number")
    return numbers


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _text(value: object) -> str:
    """How a category is called: a whole number without its point, text without the blanks around it."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _refuse_cells(name: str, cells: Cells, bad: NDArray[np.bool_], rule: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise InvalidInput(f"column {name!r} {rule}, got {cells.iloc[row]} in row {row}")


def _undeclared(name: str, cells: Cells, absent: NDArray[np.bool_]) -> InvalidInput:
    row = int(absent.argmax())
    return InvalidInput(
        f"column {name!r} must have no missing value unless `missing` declares it, got {cells.iloc[row]} in row {row}"
    )

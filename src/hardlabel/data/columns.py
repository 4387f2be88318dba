"""Columns of a mixed table: how each is fitted, encoded as float32 and decoded."""

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hardlabel.checks import InvalidInput, cut, listed, plain, shown

Cells: TypeAlias = "pd.Series[Any]"  # One column of a frame.

MOST_CATEGORIES = 1000  # A column with more is a name or a free text, and would make the input huge.
NESTED = (list, tuple, dict, set, frozenset, bytes, bytearray, memoryview, complex, np.ndarray)  # No single cell.
WIDEST_INTEGER = 2**21  # Farther from the mean, float32 could no longer tell whole numbers apart.


class Missing(Enum):
    """The sorts of missing cells. NaN equals nothing, so columns hold these in its place and stay comparable."""

    NONE = "None"
    NAN = "NaN"
    NA = "NA"
    NAT = "NaT"

    @property
    def cell(self) -> Any:
        """What stands in a frame."""
        return {"None": None, "NaN": math.nan, "NA": pd.NA, "NaT": pd.NaT}[self.value]

    @classmethod
    def of(cls, cell: object) -> "Missing | None":
        """The sort of a missing cell; None of one that holds something."""
        if cell is None:
            return cls.NONE
        if cell is pd.NA:
            return cls.NA
        if cell is pd.NaT:
            return cls.NAT
        return cls.NAN if isinstance(cell, float | np.floating) and math.isnan(cell) else None


@dataclass(frozen=True, kw_only=True, repr=False)
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
        real: Whether whole numbers come back as floats, because the frame held floats. It changes no encoded value and
            is not part of the `repr`.
        levels: The legal raw values, ascending, if only the values that occur are legal; noise is rounded to the
            nearest.

    Raises:
        InvalidInput: A number is not finite, `scale` is not above 0, or `lower` is above `upper`; bounds of an integer
            column are not whole or lie farther than 2**21 from the mean; levels do not ascend from `lower` to `upper`.

    Example:
        >>> import pandas
        >>> from hardlabel import Numeric
        >>> age = Numeric(name="age", mean=40.0, scale=10.0, lower=18.0, upper=90.0, integer=True)
        >>> age.encode(pandas.Series([40, 60]), None)
        array([[0.],
               [2.]], dtype=float32)
    """

    name: str
    mean: float
    scale: float
    lower: float
    upper: float
    integer: bool = False
    missing: bool = False
    real: bool = field(default=False, repr=False)
    levels: tuple[float, ...] | None = field(default=None, repr=False)

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
        levels = self.levels
        if levels is not None and not (
            levels and (levels[0], levels[-1]) == (self.lower, self.upper) and all(np.diff(levels) > 0)
        ):
            raise InvalidInput(
                f"column {self.name!r} needs levels that ascend from lower to upper, got {len(levels)} from "
                f"{self.lower} to {self.upper}"
            )

    def __repr__(self) -> str:
        """As if there were no levels where there are none: keys of the store hold it. Many levels would be long."""
        shown = f"name={self.name!r}, mean={self.mean!r}, scale={self.scale!r}, lower={self.lower!r}, "
        shown += f"upper={self.upper!r}, integer={self.integer!r}, missing={self.missing!r}"
        if self.levels is not None:
            shown += f", levels={hashlib.sha256(repr(self.levels).encode()).hexdigest()}"
        return f"{type(self).__qualname__}({shown})"

    @property
    def width(self) -> int:
        """Encoded columns: the value and, where it may be missing, its indicator."""
        return 2 if self.missing else 1

    @property
    def reach(self) -> float:
        """Largest distance of a legal raw value from the mean."""
        return max(abs(self.lower - self.mean), abs(self.upper - self.mean))

    def encode(self, cells: Cells, marker: str | None) -> NDArray[np.float32]:
        """Encoded cells (n, width), float32; `marker` is the text that stands for a missing cell, or None.

        Raises:
            InvalidInput: A cell is not legal; see `MixedTable.encode`.
        """
        _refuse_nested(self.name, cells)
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
        if self.levels is not None:
            places = np.searchsorted(self.levels, values).clip(max=len(self.levels) - 1)
            unknown = ~absent & (np.array(self.levels)[places] != values)
            _refuse_cells(self.name, cells, unknown, "must be one of the values that occur")
            encoded = np.where(absent, encoded, level_codes(self)[places])
        return np.column_stack([encoded, absent] if self.missing else [encoded]).astype(np.float32)

    def decode(self, encoded: NDArray[np.float32]) -> NDArray[np.generic]:
        """Raw values (n,) of encoded cells (n, width): int64 for whole ones, float64 for others and with NaN."""
        raw = encoded[:, 0].astype(np.float64) * self.scale + self.mean
        raw = np.clip(np.round(raw) if self.integer else raw, self.lower, self.upper)
        if self.levels is not None:
            places = np.searchsorted(level_codes(self), encoded[:, 0]).clip(max=len(self.levels) - 1)
            raw = np.array(self.levels)[places]
        if self.missing:
            return np.where(encoded[:, 1] == 1, np.nan, raw)
        return raw.astype(np.int64) if self.integer and not self.real else raw


@lru_cache(maxsize=256)
def level_codes(column: Numeric) -> NDArray[np.float32]:
    """The encoded values of a column's levels, ascending; none equals another."""
    levels = np.array(column.levels, dtype=np.float64)
    return distinct_codes(((levels - column.mean) / column.scale).astype(np.float32))


def distinct_codes(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ascending `codes` (m,) moved apart by the fewest steps of float32 where some are equal.

    Both ends stay if there is room for all codes between them; else the first moves down.
    """
    # Whole numbers in the order of the floats: the bits of a float32 count up with its size.
    bits = (codes + np.float32(0)).view(np.int32).astype(np.int64)  # -0.0 becomes 0.0.
    order = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    places = np.arange(len(order))
    order = np.maximum.accumulate(order - places) + places
    order = np.minimum(order, int(bits[-1] if bits[-1] >= 0 else -(bits[-1] & 0x7FFFFFFF)) - places[::-1])
    bits = np.where(order < 0, -order | 0x80000000, order).astype(np.uint32)
    return bits.view(np.float32)


@dataclass(frozen=True, repr=False)
class Categorical:
    """A column that holds one of `categories`; a missing value is a category too, such as "?".

    Attributes:
        name: The column's name.
        categories: What the categories are called.
        values: The cell of each category, where a cell is not text or is missing; None where the cells are the
            categories.
        dtype: The pandas type of a column of `values`; None finds it from the cells.

    Raises:
        InvalidInput: There is no category, a category occurs twice, or `values` has another length.

    Example:
        >>> import pandas
        >>> from hardlabel import Categorical
        >>> job = Categorical("job", ("cook", "nurse"))
        >>> job.encode(pandas.Series(["nurse", "cook"]), None)
        array([[0., 1.],
               [1., 0.]], dtype=float32)
    """

    name: str
    categories: tuple[str, ...]
    values: tuple[bool | int | float | str | Missing, ...] | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        if not self.categories or len(set(self.categories)) < len(self.categories):
            raise InvalidInput(f"column {self.name!r} needs distinct categories, got {self.categories}")
        if self.values is not None and len(self.values) != len(self.categories):
            raise InvalidInput(
                f"column {self.name!r} needs one value for each of {len(self.categories)} categories, got "
                f"{len(self.values)}"
            )

    def __repr__(self) -> str:
        """As if there were no values where there are none: keys of the store hold it."""
        shown = f"name={self.name!r}, categories={self.categories!r}"
        if self.values is not None:
            shown += f", values={self.values!r}, dtype={self.dtype!r}"
        return f"{type(self).__qualname__}({shown})"

    @property
    def width(self) -> int:
        """Encoded columns: one per category."""
        return len(self.categories)

    def encode(self, cells: Cells, marker: str | None) -> NDArray[np.float32]:
        """Encoded cells (n, width), float32; `marker` is the text that stands for a missing cell, or None.

        Raises:
            InvalidInput: A cell is not legal; see `MixedTable.encode`.
        """
        _refuse_nested(self.name, cells)
        place = {category: i for i, category in enumerate(self.categories)}
        codes, values = pd.factorize(cells)
        places = np.array([place.get(_text(value), -1) for value in values] + [place.get(marker or "", -1)])
        found = places[codes]  # Code -1, a NaN, reads the last place: the marker's category.
        absent = cells.isna().to_numpy()
        if (found[absent] < 0).any():
            raise _undeclared(self.name, cells, absent)
        _refuse_cells(self.name, cells, found < 0, f"must be one of {listed(self.categories)}")
        encoded: NDArray[np.float32] = np.eye(self.width, dtype=np.float32)[found]
        return encoded

    def decode(self, encoded: NDArray[np.float32]) -> "NDArray[np.generic] | Cells":
        """The cells (n,) of encoded cells (n, width): text, or the values with their type."""
        places = encoded.argmax(1)
        if self.values is None:
            categories: NDArray[np.object_] = np.array(self.categories, dtype=object)[places]
            return categories
        cells = np.empty(self.width, dtype=object)
        cells[:] = [value.cell if isinstance(value, Missing) else value for value in self.values]
        levels: Cells = pd.Series(cells, dtype=self.dtype)
        return levels.take(places).reset_index(drop=True)


def fit_column(name: str, cells: Cells, *, marker: str | None, categorical: bool) -> Numeric | Categorical:
    """The column that holds `cells`; `marker` reads as missing, `categorical` overrules that they are numbers.

    Raises:
        InvalidInput: See `MixedTable.fit`.
    """
    _refuse_nested(name, cells)
    absent = _absent(cells, marker)
    if absent.any() and marker is None:
        raise _undeclared(name, cells, absent)
    if categorical or not _holds_numbers(name, cells, absent):
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
        real=pd.api.types.is_float_dtype(cells),
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
    categories = tuple(sorted(found))
    kept = _values_of(cells, categories, marker)
    if kept is None:
        return Categorical(name, categories)
    return Categorical(
        name, categories, kept, None if isinstance(cells.dtype, pd.CategoricalDtype) else str(cells.dtype)
    )


def _values_of(
    cells: Cells, categories: tuple[str, ...], marker: str | None
) -> tuple[bool | int | float | str | Missing, ...] | None:
    """The cell that each category stands for, the commonest where there are several; None where all are text."""
    sorts = Counter(Missing.of(cell) for cell in cells[cells.isna()]) if marker is not None else Counter()
    absent = next((sort for sort, _ in sorts.most_common() if sort is not None), None)
    if isinstance(cells.dtype, pd.CategoricalDtype):
        counts = {value: 0 for value in cells.dtype.categories}
    else:
        counts = cells.value_counts().to_dict()
    values: dict[str, bool | int | float | str | Missing] = {}
    for value in sorted(counts, key=lambda value: counts[value]):  # The commonest is written last.
        plainly = plain(value)
        if not isinstance(plainly, bool | int | float | str):
            return None  # An object of a class of its own, called by its text.
        values[_text(value)] = _text(value) if isinstance(plainly, str) else plainly
    if absent is not None and marker is not None and marker not in values:
        values[marker] = absent
    kept = tuple(values.get(category, category) for category in categories)
    return None if kept == categories else kept


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
            f"column {name!r} must not mix numbers with {shown(odd)}: declare it as missing or the column as "
            "categorical"
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
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _text(value: object) -> str:
    """How a category is called: a whole number without its point, text without the blanks around it."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _refuse_nested(name: str, cells: Cells) -> None:
    """Refuses cells that hold more than a number, a text or a boolean."""
    if cells.dtype != object:
        return
    for row, value in enumerate(cells):
        if isinstance(value, NESTED):
            raise InvalidInput(
                f"column {name!r} must hold numbers, text or booleans, got a {type(value).__name__} in row {row}: "
                "leave the column out, or write its values as columns of their own"
            )


def _refuse_cells(name: str, cells: Cells, bad: NDArray[np.bool_], rule: str) -> None:
    if bad.any():
        row = int(bad.argmax())
        raise InvalidInput(f"column {name!r} {rule}, got {cut(str(cells.iloc[row]))} in row {row}")


def _undeclared(name: str, cells: Cells, absent: NDArray[np.bool_]) -> InvalidInput:
    row = int(absent.argmax())
    return InvalidInput(
        f"column {name!r} must have no missing value unless `missing` declares it, got {cut(str(cells.iloc[row]))} in "
        f"row {row}: --missing '' declares empty cells, --missing TEXT also cells with this text"
    )

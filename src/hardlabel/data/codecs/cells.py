"""Columns of a frame: how cells of one column become encoded cells, and come back with their types, to the last bit."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hardlabel.checks import InvalidInput, plain, shown
from hardlabel.data.columns import (
    MOST_CATEGORIES,
    NESTED,
    WIDEST_INTEGER,
    Categorical,
    Cells,
    Missing,
    Numeric,
    distinct_codes,
    level_codes,
)

MOST_CODES = 20  # Whole numbers that leave gaps and are at most so many are taken for codes: wards 3, 7, 12 and 40.
LARGEST_EXACT = 2**53  # Floats of 64 bits hold every whole number up to here.
SEEN_OFTEN = 5  # Rows per distinct value from which a number that never occurs is taken for one that does not exist.
MOSTLY_NUMBERS = 0.9  # Share of a column's texts that must be numbers, for the column to be one of numbers.

Keys: TypeAlias = NDArray[Any]  # int64 or uint64: Whole numbers in the order of the cells.


@dataclass(frozen=True)
class Levels:
    """A column that holds one of a few cells, missing ones among them.

    Attributes:
        name: The column's label in the frame.
        dtype: The column's pandas type.
        column: The column in the domain.
        cells: The cell of each category.
    """

    name: Hashable
    dtype: Any
    column: Categorical
    cells: tuple[Any, ...]

    def encode(self, given: Cells, where: str) -> NDArray[np.float32]:
        """Encoded cells (n, width) of a column that has the dtype."""
        codes, values = distinct(given)
        place = {_key(cell): i for i, cell in enumerate(self.cells)}
        places = np.array([place.get(_key(value), -1) for value in values], dtype=np.int64)
        unknown = [value for value, found in zip(values, places, strict=True) if found < 0]
        if unknown:
            raise InvalidInput(
                f"{where} must hold one of the {len(self.cells)} values that the codec was fitted on, got "
                f"{_shown_cell(unknown[0])} in row {int((places[codes] < 0).argmax())}"
            )
        encoded = np.zeros((len(given), self.column.width), dtype=np.float32)
        encoded[np.arange(len(given)), places[codes]] = 1
        return encoded

    def decode(self, encoded: NDArray[np.float32]) -> Cells:
        """The column (n,) of encoded cells (n, width)."""
        return _series(self.cells, self.dtype).take(encoded.argmax(1)).reset_index(drop=True)


@dataclass(frozen=True)
class Numbers:
    """A column of numbers. Cells that were given come back to the last bit, others as float32 rounds them.

    Attributes:
        name: The column's label in the frame.
        dtype: The column's pandas type.
        column: The column in the domain.
        kind: The type of the numbers: "int64", "uint64" or "float64".
        missing: The cell that stands for a missing number; None where none may be missing.
        objects: The Python type of cells in a column of objects.
        given: The distinct numbers given, as ascending keys, where arithmetic alone would not give them back.
        texts: How the levels of the column are written, in a column of text.
    """

    name: Hashable
    dtype: Any
    column: Numeric
    kind: str
    missing: "Missing | str | int | float | None" = None
    objects: type | None = None
    given: bytes = b""
    texts: tuple[str, ...] = ()

    def encode(self, given: Cells, where: str) -> NDArray[np.float32]:
        """Encoded cells (n, width) of a column that has the dtype."""
        absent, values = self._read(given, where)
        raw = values.astype(np.float64)
        raw[absent] = self.column.mean

        def refuse(bad: NDArray[np.bool_], rule: str) -> None:
            if (bad & ~absent).any():
                row = int((bad & ~absent).argmax())
                raise InvalidInput(f"{where} must be {rule}, got {_shown_cell(given.iloc[row])} in row {row}")

        refuse(~np.isfinite(raw), "finite")
        refuse(raw < self.column.lower, f"at least {self.column.lower:g}")
        refuse(raw > self.column.upper, f"at most {self.column.upper:g}")
        if self.column.integer:
            refuse(raw != np.round(raw), "whole")
        codes = ((raw - self.column.mean) / self.column.scale).astype(np.float32)
        if self.column.levels is not None:
            places = np.searchsorted(self.column.levels, raw).clip(max=len(self.column.levels) - 1)
            unknown = self._levels()[places] != (values if self.given else raw)
            refuse(unknown, "a number that the codec was fitted on")
            codes = level_codes(self.column)[places]
        elif self.given:
            keys, known = _table(self.given, self.kind, self.column.mean, self.column.scale)
            sought = keys_of(values)
            places = np.searchsorted(keys, sought).clip(max=len(keys) - 1)
            codes = np.where(keys[places] == sought, known[places], codes)
        codes = np.where(absent, np.float32(0), codes)
        return np.column_stack([codes, absent] if self.column.missing else [codes]).astype(np.float32)

    def decode(self, encoded: NDArray[np.float32]) -> Cells:
        """The column (n,) of encoded cells (n, width)."""
        absent = encoded[:, 1] == 1 if self.column.missing else np.zeros(len(encoded), dtype=bool)
        if self.texts:
            places = _places(encoded[:, 0], level_codes(self.column))
            return _series([*self.texts, self.missing], self.dtype, places=np.where(absent, len(self.texts), places))
        values = self._numbers(encoded[:, 0])
        if self.objects is not None:
            cells = np.empty(len(values), dtype=object)
            cells[:] = [self.objects(value) for value in values.tolist()]
            cells[absent] = _cell(self.missing)
            return pd.Series(cells, dtype=object)
        if not absent.any():
            return pd.Series(values).astype(self.dtype)
        if not isinstance(self.missing, Missing) or isinstance(self.dtype, np.dtype):
            values[absent] = _cell(self.missing)
            return pd.Series(values).astype(self.dtype)
        column: Cells = pd.Series(values).astype(self.dtype)
        column[absent] = pd.NA
        return column

    def _numbers(self, codes: NDArray[np.float32]) -> NDArray[Any]:
        """The numbers (n,), as `kind`, of their codes (n,)."""
        column = self.column
        if column.levels is not None:
            return self._levels()[_places(codes, level_codes(column))].astype(self.kind)
        values = decoded(codes, column, self.kind, self.given)
        if self.given:
            keys, known = _table(self.given, self.kind, column.mean, column.scale)
            places = _places(codes, known)
            values = np.where(known[places] == codes, _from_keys(keys, self.kind)[places], values)
        return values.astype(np.float32).astype(self.kind) if self.dtype == np.float32 else values

    def _levels(self) -> NDArray[Any]:
        """The legal numbers; as whole numbers where floats cannot hold them."""
        return np.frombuffer(self.given, dtype=self.kind) if self.given else np.array(self.column.levels)

    def _read(self, given: Cells, where: str) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Which cells (n,) are missing, and the numbers (n,) as `kind`, 0 where missing."""
        if self.texts:
            codes, cells = distinct(given)
            number = dict(zip(self.texts, self.column.levels or (), strict=True))
            gone = np.array([_key(cell) == _key(self.missing) for cell in cells], dtype=bool)
            unknown = [cell for cell in cells if cell not in number and _key(cell) != _key(self.missing)]
            if unknown:
                raise InvalidInput(
                    f"{where} must hold a text that the codec was fitted on, got {_shown_cell(unknown[0])}"
                )
            numbers: NDArray[Any] = np.array([number.get(cell, 0.0) for cell in cells], dtype=np.float64)
            return gone[codes], numbers[codes]
        absent = given.isna().to_numpy(dtype=bool)
        if self.objects is not None:
            wrong = next((c for c in given[~absent] if type(c) is not self.objects), None)
            sort = next((c for c in given[absent] if Missing.of(c) is not self.missing), 0)
            if wrong is not None or sort != 0:
                cell = wrong if wrong is not None else sort
                raise InvalidInput(f"{where} must hold {self.objects.__name__}, got {_shown_cell(cell)}")
        values = numbers_of(given, absent, self.kind)
        declared = self.missing is not None and not isinstance(self.missing, Missing)
        if absent.any() and (declared or self.missing is None):
            raise InvalidInput(
                f"{where} must have no missing value, since the codec was fitted on none, got one in row "
                f"{int(absent.argmax())}"
            )
        if declared:
            absent = values == self.missing
        return absent, values


Form: TypeAlias = Levels | Numbers


def fit_form(name: Hashable, label: str, cells: Cells, *, categorical: bool, marker: str | None) -> Form:
    """How a column of cells is encoded; `label` is its name in the domain, `marker` reads as missing.

    Raises:
        InvalidInput: See `FrameCodec.fit`.
    """
    where = f"column {label!r}"
    _refuse_types(where, cells)
    if not categorical:
        numbers = _fit_numbers(name, label, cells, marker) or _fit_texts(name, label, cells, marker)
        if numbers is not None:
            return numbers
    _, values = distinct(cells)
    if len(values) > MOST_CATEGORIES:
        raise InvalidInput(
            f"{where} must have at most {MOST_CATEGORIES:,} different values unless it holds numbers, got "
            f"{len(values):,}: ignore the column, since it looks like a name or a free text"
        )
    called = sorted(zip(_names(values), values, strict=True))
    if pd.api.types.is_numeric_dtype(cells) and all(isinstance(value, Real) for _, value in called):
        called.sort(key=lambda pair: (pair[1], pair[0]))
    column = Categorical(label, tuple(text for text, _ in called))
    return Levels(name, cells.dtype, column, tuple(value for _, value in called))


def distinct(cells: Cells) -> tuple[NDArray[np.int64], list[Any]]:
    """The place (n,) of each cell among the distinct ones, and these: with their types, `Missing` for missing ones."""
    if pd.api.types.is_float_dtype(cells):
        floats = np.array(cells.to_numpy(dtype=np.float64, na_value=math.nan))
        floats[np.isnan(floats)] = math.nan
        codes, keys = pd.factorize(floats.view(np.int64))  # By their bits: -0.0 is not 0.0.
        absent = Missing.NAN if isinstance(cells.dtype, np.dtype) else Missing.NA
        return codes, [absent if math.isnan(value) else value for value in keys.view(np.float64).tolist()]
    if cells.dtype != object:
        codes, uniques = pd.factorize(cells)
        values = [_python(value) for value in uniques]
        if (codes < 0).any():
            codes = np.where(codes < 0, len(values), codes)
            values.append(Missing.of(cells.array.dtype.na_value) if not _is_category(cells) else Missing.NAN)
        return codes, values
    places: dict[Hashable, int] = {}
    values = []
    codes = np.empty(len(cells), dtype=np.int64)
    for row, cell in enumerate(cells.array):
        cell = cell if type(cell) is str else Missing.of(cell) or cell
        place = places.setdefault(_key(cell), len(places))
        if place == len(values):
            values.append(cell)
        codes[row] = place
    return codes, values


def numbers_of(cells: Cells, absent: NDArray[np.bool_], kind: str) -> NDArray[Any]:
    """The numbers (n,) of a column, as `kind`; 0 where `absent`."""
    if cells.dtype == object:
        numbers = np.zeros(len(cells), dtype=kind)
        numbers[~absent] = np.array(cells[~absent].tolist(), dtype=kind)
        return numbers
    if isinstance(cells.dtype, np.dtype):
        numbers = cells.to_numpy().astype(kind)
    else:
        numbers = cells.to_numpy(dtype=kind, na_value=0)
    numbers[absent] = 0
    return numbers


def keys_of(values: NDArray[Any]) -> Keys:
    """Whole numbers in the order of `values`; equal only where every bit is: -0.0 comes before 0.0."""
    if values.dtype.kind in "iu":
        return values
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    return np.where(bits < 0, bits ^ 0x7FFFFFFFFFFFFFFF, bits)


def decoded(codes: NDArray[np.float32], column: Numeric, kind: str, given: bytes = b"") -> NDArray[Any]:
    """The numbers (n,), as `kind`, that codes (n,) stand for by arithmetic alone."""
    raw = codes.astype(np.float64) * column.scale + column.mean
    if kind == "float64":
        return np.clip(np.round(raw) if column.integer else raw, column.lower, column.upper)
    keys = np.frombuffer(given, dtype=kind)
    # Bounds as whole numbers: floats as large as some identifiers no longer hold them.
    lower, upper = (keys[0], keys[-1]) if len(keys) else (int(column.lower), int(column.upper))
    raw = np.round(raw)
    low, high = raw <= column.lower, raw >= column.upper
    numbers = np.where(low, lower, upper).astype(kind)
    between = ~low & ~high
    numbers[between] = raw[between].astype(kind)
    return numbers


def _fit_numbers(name: Hashable, label: str, cells: Cells, marker: str | None) -> Numbers | None:
    """The form of a column of numbers; None where its cells are better taken as categories."""
    absent, objects = cells.isna().to_numpy(dtype=bool), None
    if cells.dtype == object:
        types = set(map(type, cells[~absent]))
        if len(types) != 1 or not issubclass(next(iter(types)), int | float | np.integer | np.floating):
            return None
        [objects] = types
        if issubclass(objects, bool):
            return None
        kind = "int64" if issubclass(objects, Integral) else "float64"
    elif not pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_bool_dtype(cells):
        return None
    elif pd.api.types.is_integer_dtype(cells):
        kind = "uint64" if pd.api.types.is_unsigned_integer_dtype(cells) else "int64"
    else:
        kind = "float64"
    try:
        values = numbers_of(cells, absent, kind)
    except OverflowError:  # Python's integers know no end.
        return None
    sorts: set[Any] = {Missing.of(cell) for cell in cells[absent]} if absent.any() else set()
    if marker is not None and objects is None and _as_number(marker) is not None:
        stands = values == _as_number(marker)
        if (stands & ~absent).any():
            sorts.add(values[stands][0].item())
            absent = absent | stands
    raw = values[~absent].astype(np.float64)
    if not np.isfinite(raw).all():
        raise InvalidInput(f"column {label!r} must be finite, got infinity: replace it, or ignore the column")
    keys = np.unique(keys_of(values[~absent]))
    if len(sorts) > 1 and len(keys) > MOST_CATEGORIES:
        raise InvalidInput(
            f"column {label!r} must have missing values of one sort, got {len(sorts)}: replace them by one sort, or "
            "ignore the column"
        )
    levels = np.unique(raw)
    if len(sorts) > 1 or len(keys) <= 1 or _is_code(levels, rows=len(raw)):
        return None
    [missing] = sorts or [None]
    return _fitted(
        name, label, cells, raw, keys, levels if _has_gaps(levels, rows=len(raw)) else None, kind, missing, objects
    )


def _fitted(
    name: Hashable,
    label: str,
    cells: Cells,
    raw: NDArray[np.float64],
    keys: Keys,
    levels: NDArray[np.float64] | None,
    kind: str,
    missing: Any,
    objects: type | None = None,
    texts: tuple[str, ...] = (),
) -> Numbers:
    lower, upper, mean = float(raw.min()), float(raw.max()), float(raw.mean())
    mean = min(max(mean, lower), upper)  # The mean's own rounding may leave the bounds.
    with np.errstate(over="ignore"):
        spread = float(raw.std())  # Infinite where squares are too large, 0 where they are too small.
    whole = bool((raw == np.round(raw)).all())
    if not (math.isfinite(mean) and math.isfinite(upper - lower)):
        raise InvalidInput(f"column {label!r} must have numbers below 1e308 in size: rescale or ignore the column")
    legal = None if levels is None or len(levels) < len(keys) else tuple(levels.tolist())
    column = Numeric(
        name=label,
        mean=mean,
        scale=spread if 0 < spread < math.inf and (upper - lower) / spread < 2**100 else upper - lower or 1.0,
        lower=lower,
        upper=upper,
        integer=legal is None and whole and max(upper - mean, mean - lower) <= WIDEST_INTEGER,
        missing=missing is not None,
        real=kind == "float64",
        levels=legal,
    )
    form = Numbers(name, cells.dtype, column, kind, missing, objects, b"", texts)
    exact_bounds = kind == "float64" or max(abs(lower), abs(upper)) <= LARGEST_EXACT
    if legal is not None:
        return form if exact_bounds else replace(form, given=keys.tobytes())
    exact = _from_keys(keys, kind)
    codes = ((exact.astype(np.float64) - mean) / column.scale).astype(np.float32)
    if exact_bounds and len(np.unique(codes)) == len(codes) and np.array_equal(keys_of(form._numbers(codes)), keys):
        return form
    return replace(form, given=keys.tobytes())


def _fit_texts(name: Hashable, label: str, cells: Cells, marker: str | None) -> Numbers | None:
    """The form of numbers written as text, of which one text or sort is missing; None where there are none such.

    Too many different texts to be categories are often numbers that a blank kept from being read as numbers. Only texts
    that occur are legal.
    """
    if not (cells.dtype == object or isinstance(cells.dtype, pd.StringDtype)):
        return None
    codes, values = distinct(cells)
    if len(values) <= MOST_CATEGORIES and marker is None:
        return None
    texts = {value: number for value in values if (number := _as_number(value)) is not None and value != marker}
    rest = [value for value in values if value not in texts]
    declared = marker is not None and rest == [marker] and len(texts) > 1
    mostly = len(values) > MOST_CATEGORIES and len(texts) >= MOSTLY_NUMBERS * len(values)
    if not (declared or mostly) or not all(isinstance(v, str | Missing) for v in values):
        return None
    if len(rest) > 1:
        raise InvalidInput(
            f"column {label!r} must have one text that is no number, got {len(rest)} beside {len(texts):,} that are "
            f"({', '.join(map(_shown_cell, rest[:3]))}): read them as missing, or ignore the column"
        )
    if len(set(texts.values())) < len(texts):
        return None
    ordered = sorted(texts, key=lambda text: texts[text])
    levels = np.array([texts[text] for text in ordered])
    numbers = np.array([texts.get(value, math.nan) for value in values])[codes]
    missing = rest[0] if rest else None
    return _fitted(
        name,
        label,
        cells,
        numbers[~np.isnan(numbers)],
        keys_of(levels),
        levels,
        "float64",
        missing,
        None,
        tuple(ordered),
    )


def _is_code(levels: NDArray[np.float64], *, rows: int) -> bool:
    """Whether whole numbers are codes: 0 and 1, or a few that leave gaps though every one is seen often.

    Were they counts, some row would have filled a gap. Taken as a number, a ward between 3 and 7 would be asked about,
    which a target's one-hot encoder turns into zeros without a warning; taken as codes, counts lose their order only.
    """
    if np.isin(levels, (0, 1)).all():
        return True
    return len(levels) <= MOST_CODES and _has_gaps(levels, rows=rows)


def _has_gaps(levels: NDArray[np.float64], *, rows: int) -> bool:
    """Whether whole numbers leave gaps though each is seen often: then only those that occur are legal."""
    if len(levels) > MOST_CATEGORIES or rows < SEEN_OFTEN * len(levels) or (levels != np.round(levels)).any():
        return False
    return bool(levels[-1] - levels[0] + 1 > len(levels))


def _refuse_types(where: str, cells: Cells) -> None:
    """Refuses columns of dates and of cells that hold more than a number, a text or a boolean."""
    dtype = cells.dtype
    way = "leave the column out, or turn it into numbers"
    if pd.api.types.is_object_dtype(dtype):
        for row, cell in enumerate(cells.array):
            if isinstance(cell, NESTED):
                raise InvalidInput(
                    f"{where} must hold numbers, text or booleans, got a {type(cell).__name__} in row {row}: leave the "
                    "column out, or write its values as columns of their own"
                )
            if hasattr(cell, "isoformat") and cell is not pd.NaT:
                raise InvalidInput(f"{where} must hold no dates or times, got {_shown_cell(cell)} in row {row}: {way}")
            if isinstance(cell, pd.Period | pd.Timedelta | np.timedelta64 | np.datetime64 | pd.Interval):
                raise InvalidInput(f"{where} must hold no dates or times, got {_shown_cell(cell)} in row {row}: {way}")
            if getattr(type(cell), "__hash__", None) is None:
                raise InvalidInput(
                    f"{where} must hold numbers, text or booleans, got a {type(cell).__name__} in row {row}"
                )
        return
    if isinstance(dtype, pd.SparseDtype):
        raise InvalidInput(f"{where} must not be sparse, got {dtype}: give frame.sparse.to_dense()")
    if _is_category(cells) or isinstance(dtype, pd.StringDtype) or pd.api.types.is_bool_dtype(dtype):
        return
    text = str(dtype)
    narrow = text not in ("float96", "float128") and "decimal" not in text
    if narrow and pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return
    if isinstance(dtype, pd.ArrowDtype) and text in ("string[pyarrow]", "large_string[pyarrow]"):
        return
    raise InvalidInput(f"{where} must hold numbers, text, booleans or categories, got {text}: {way}")


def _names(values: Sequence[Any]) -> list[str]:
    """What distinct values are called, each by another name: where two read alike, with their types."""
    texts = [value.value if isinstance(value, Missing) else str(value) for value in values]
    alike = Counter(texts)
    named = [
        text if alike[text] == 1 else f"{text} ({'missing' if isinstance(value, Missing) else type(value).__name__})"
        for text, value in zip(texts, values, strict=True)
    ]
    counts = Counter(named)
    return [n if counts[n] == 1 else f"{n} {i}" for i, n in enumerate(named)]


def _key(value: Any) -> Hashable:
    """What tells cells of different types and -0.0 from 0.0 apart."""
    return (type(value), value, math.copysign(1, value)) if isinstance(value, float) else (type(value), value)


def _cell(value: Any) -> Any:
    return value.cell if isinstance(value, Missing) else value


def _series(values: Sequence[Any], dtype: Any, *, places: NDArray[np.int64] | None = None) -> Cells:
    """A new column of `dtype` that holds the cells, or those at `places`."""
    cells = np.empty(len(values), dtype=object)
    cells[:] = [_cell(value) for value in values]
    column: Cells = pd.Series(cells, dtype=dtype)
    return column if places is None else column.take(places).reset_index(drop=True)


def _places(codes: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.searchsorted(known, codes).clip(max=len(known) - 1)


@lru_cache(maxsize=512)
def _table(given: bytes, kind: str, mean: float, scale: float) -> tuple[Keys, NDArray[np.float32]]:
    """The keys of given numbers and their codes, both ascending; no code equals another."""
    keys = np.frombuffer(given, dtype="uint64" if kind == "uint64" else "int64")
    values = _from_keys(keys, kind).astype(np.float64)
    return keys, distinct_codes(((values - mean) / scale).astype(np.float32))


def _from_keys(keys: Keys, kind: str) -> NDArray[Any]:
    """The numbers, as `kind`, of their keys."""
    if kind != "float64":
        return keys.astype(kind)
    return np.where(keys < 0, keys ^ 0x7FFFFFFFFFFFFFFF, keys).astype(np.int64).view(np.float64)


def _as_number(value: object) -> float | None:
    """The finite number that a text says; None where it says none."""
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _python(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_category(cells: Cells) -> bool:
    return isinstance(cells.dtype, pd.CategoricalDtype)


def _shown_cell(value: Any) -> str:
    return value.value if isinstance(value, Missing) else shown(plain(value))

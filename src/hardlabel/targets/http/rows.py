"""Rows in the caller's terms as values of JSON: numbers, text, true, false and null."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from hardlabel.checks import InvalidInput


@dataclass(frozen=True)
class Column:
    """A column of rows.

    Attributes:
        name: Its name; "" where rows are arrays or texts.
        values: An array (n, ...) of numbers, booleans, or objects: text, and None for missing values.
    """

    name: str
    values: NDArray[Any]

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.values.dtype.kind == "O"


def is_table(rows: Any) -> bool:
    """Whether rows have named columns."""
    return isinstance(rows, pd.DataFrame)


def columns_of(rows: Any) -> list[Column]:
    """The columns of a frame; arrays, tensors and lists of texts are one column without a name.

    Example:
        >>> from hardlabel.targets.http.rows import columns_of
        >>> [column.is_text for column in columns_of(["a text", "another"])]
        [True]
    """
    if isinstance(rows, pd.DataFrame):
        return [Column(str(name), _array(rows.iloc[:, place])) for place, name in enumerate(rows.columns)]
    if isinstance(rows, Tensor):
        rows = rows.detach().cpu().numpy()
    array = np.asarray(rows)
    return [Column("", array.astype(object) if array.dtype.kind in "US" else array)]


def values_of(column: Column) -> list[Any]:
    """The column (n, ...) as nested lists of JSON values; NaN and other missing values are None.

    Raises:
        InvalidInput: It holds an infinite number, which JSON cannot say.
    """
    values = column.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        if np.isinf(values).any():
            where = f" in column {column.name!r}" if column.name else ""
            raise InvalidInput(f"target at an address must be asked about finite numbers, got infinity{where}")
        cells = values.astype(object)
        cells[np.isnan(values)] = None
        values = cells
    nested: list[Any] = values.tolist()
    return nested


def table_of(rows: pd.DataFrame) -> tuple[list[str], list[list[Any]]]:
    """The names of the columns, and the cells of each row as JSON values."""
    kinds = set(rows.dtypes)
    if len(kinds) == 1 and isinstance(kind := next(iter(kinds)), np.dtype) and kind.kind in "biuf":
        values = rows.to_numpy()
        if not np.isinf(values).any():  # Else the error names the column.
            return [str(name) for name in rows.columns], values_of(Column("", values))
    columns = columns_of(rows)
    cells = [values_of(column) for column in columns]
    return [column.name for column in columns], list(map(list, zip(*cells, strict=True)))


def records_of(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Each row as a mapping from the columns' names to JSON values."""
    names, cells = table_of(rows)
    return [dict(zip(names, row, strict=True)) for row in cells]


def _array(series: "pd.Series[Any]") -> NDArray[Any]:
    """A column of a frame as numbers or booleans; as objects where it holds text or where a whole number is missing."""
    if series.dtype.kind in "biuf" and not isinstance(series.dtype, pd.api.extensions.ExtensionDtype):
        return np.asarray(series)
    missing = series.isna().to_numpy()
    cells: NDArray[Any] = np.array(series.astype(object), dtype=object)
    cells[missing] = None
    if not missing.any() and len(cells):
        kinds = {type(cell) for cell in cells}
        if kinds <= {bool, np.bool_}:
            return cells.astype(bool)
        if kinds <= {int, np.int64, np.int32, np.int16, np.int8}:
            return cells.astype(np.int64)
    return np.array([cell.item() if isinstance(cell, np.generic) else cell for cell in cells], dtype=object)

"""Slices of the data: an audit reports the risk of each group of a column."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.dataset import Dataset
from hardlabel.data.opening import read_csv
from hardlabel.data.parquet import read_frame
from hardlabel.data.table import MixedTable

MANY = 12  # A column with more different numbers than this is cut at its quartiles.
Slices = dict[str, dict[int, str]]  # By column, the group of each id.


def read_slices(columns: Sequence[str], file: Path | None, data: Dataset) -> Slices:
    """The groups of every row, by column: from `file` if it has the column, else from the data's own table.

    Without names in `columns`, all columns of the file are read.

    Raises:
        InvalidInput: A column is unknown, or the file cannot be read or has another number of rows.
    """
    frame = _features(data) if columns else pd.DataFrame()
    if file is not None:
        from_file = _read(file, len(data.samples))
        columns = columns or list(from_file.columns)
        frame = pd.concat([frame.drop(columns=from_file.columns, errors="ignore"), from_file], axis=1)
    for name in columns:
        if not len(frame.columns):
            raise InvalidInput(f"slices {name!r} needs a table with columns, or slices_file; {data.name} has none")
        checks.one_of(list(frame.columns), slices=name)
    ids = data.samples.ids.tolist()
    return {name: dict(zip(ids, grouped(frame[name]), strict=True)) for name in columns}


def slices_of(slices: Mapping[str, Sequence[ArrayLike]], ids: Sequence[Tensor], groups: Sequence[str]) -> Slices:
    """The groups of every id, by column: `slices` holds one array of values for each of the `groups` of samples.

    Raises:
        InvalidInput: A column does not have one value for each sample.
    """
    every_id = [sample_id for group_ids in ids for sample_id in group_ids.tolist()]
    by_column: Slices = {}
    for name, values in slices.items():
        if isinstance(values, str) or not isinstance(values, Sized) or len(values) != len(ids):
            got = f"{len(values)} parts" if isinstance(values, Sized) else checks.shown(values)
            raise InvalidInput(f"slices[{name!r}] must hold values of {' and of '.join(groups)}, got {got}")
        arrays = [np.asarray(array) for array in values]
        for group, array, count in zip(groups, arrays, map(len, ids), strict=True):
            if array.shape != (count,):
                raise InvalidInput(
                    f"slices[{name!r}] must hold one value for each of {count} {group}, got shape {array.shape}"
                )
        column = pd.concat([pd.Series(array) for array in arrays], ignore_index=True)
        by_column[name] = dict(zip(every_id, grouped(column), strict=True))
    return by_column


def grouped(values: pd.Series) -> list[str]:
    """The group of each value: the value as text; the quartile, for a column of more than MANY different numbers."""
    missing = values.isna()
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MANY:
        quartiles = pd.qcut(values, 4, duplicates="drop")
        return ["missing" if gone else _range(quartile) for quartile, gone in zip(quartiles, missing, strict=True)]
    return ["missing" if gone else str(value) for value, gone in zip(values, missing, strict=True)]


def _range(quartile: pd.Interval) -> str:
    return f"over {quartile.left:g} to {quartile.right:g}"


def _features(data: Dataset) -> pd.DataFrame:
    domain = data.samples.domain
    return domain.decode(data.samples.inputs) if isinstance(domain, MixedTable) else pd.DataFrame()


def _read(file: Path, rows: int) -> pd.DataFrame:
    try:
        frame = read_frame(file) if file.suffix == ".parquet" else read_csv(file)
    except InvalidInput as error:
        raise InvalidInput(f"slices_file {str(file)!r} must be a readable .csv or .parquet: {error}") from error
    if len(frame) != rows:
        raise InvalidInput(
            f"slices_file {str(file)!r} must have {rows} rows, one for each of the data, got {len(frame)}"
        )
    frame.columns = [str(name) for name in frame.columns]
    return frame

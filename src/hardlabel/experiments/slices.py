"""Slices of the data: columns whose groups an audit reports risk for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.dataset import Dataset
from hardlabel.data.table import MixedTable

MANY = 12  # Numbers of more different values are cut at their quartiles.
Slices = dict[str, dict[int, str]]  # By column, the group of each id.


def read_slices(columns: Sequence[str], file: Path | None, data: Dataset) -> Slices:
    """The groups of every row, by column: of `file` (all its columns where none is named), else of the table itself.

    Raises:
        InvalidInput: A column is unknown, the file cannot be read or has another number of rows.
    """
    frame = _features(data) if columns else pd.DataFrame()
    if file is not None:
        beside = _read(file, len(data.samples))
        columns = columns or list(beside.columns)
        frame = pd.concat([frame.drop(columns=beside.columns, errors="ignore"), beside], axis=1)
    for name in columns:
        if not len(frame.columns):
            raise InvalidInput(f"slices {name!r} needs a table with columns, or slices_file; {data.name} has none")
        checks.one_of(list(frame.columns), slices=name)
    ids = data.samples.ids.tolist()
    return {name: dict(zip(ids, grouped(frame[name]), strict=True)) for name in columns}


def slices_of(slices: Mapping[str, Sequence[ArrayLike]], ids: Sequence[Tensor], groups: Sequence[str]) -> Slices:
    """The groups of every id, by column, from values given for each group of samples.

    Raises:
        InvalidInput: A column has not one value for each sample.
    """
    found: Slices = {}
    for name, values in slices.items():
        if isinstance(values, str) or len(values) != len(ids):
            raise InvalidInput(
                f"slices[{name!r}] must hold values of {' and of '.join(groups)}, got {len(values)} parts"
            )
        arrays = [np.asarray(part) for part in values]
        for group, part, own in zip(groups, arrays, ids, strict=True):
            if part.shape != (len(own),):
                raise InvalidInput(
                    f"slices[{name!r}] must hold one value for each of {len(own)} {group}, got shape {part.shape}"
                )
        told = grouped(pd.concat([pd.Series(part) for part in arrays], ignore_index=True))
        everyone = [one for own in ids for one in own.tolist()]
        found[name] = dict(zip(everyone, told, strict=True))
    return found


def grouped(values: pd.Series) -> list[str]:
    """The group of each value: numbers of many values by their quartiles, all else by what they read."""
    missing = values.isna()
    if pd.api.types.is_numeric_dtype(values) and values.nunique() > MANY:
        cut = pd.qcut(values, 4, duplicates="drop")
        return ["missing" if gone else _range(one) for one, gone in zip(cut, missing, strict=True)]
    return ["missing" if gone else str(one) for one, gone in zip(values, missing, strict=True)]


def _range(one: pd.Interval) -> str:
    return f"over {one.left:g} to {one.right:g}"


def _features(data: Dataset) -> pd.DataFrame:
    domain = data.samples.domain
    return domain.decode(data.samples.inputs) if isinstance(domain, MixedTable) else pd.DataFrame()


def _read(file: Path, rows: int) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidInput(f"slices_file {str(file)!r} must be a readable .csv or .parquet: {reason}") from error
    if len(frame) != rows:
        raise InvalidInput(
            f"slices_file {str(file)!r} must have {rows} rows, one for each of the data, got {len(frame)}"
        )
    frame.columns = [str(name) for name in frame.columns]
    return frame

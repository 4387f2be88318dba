"""Read files: images in Parquet, CSV of integers, arrays in .npz, tables in .csv and .parquet."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import limits, parquet
from hardlabel.data.arrays import read_pair
from hardlabel.data.columns import Categorical
from hardlabel.data.dataset import Dataset, labelled
from hardlabel.data.domain import Box, infer_domain
from hardlabel.data.opening import first_line, read_csv
from hardlabel.data.pictures import decoded
from hardlabel.data.table import MixedTable

FILE_TYPES = (".npz", ".csv", ".parquet")
IMAGE_COLUMNS = ("img", "image")  # What Hugging Face calls them.
CSV_BLOCK = 2**25  # Bytes parsed at a time.


def read_file(
    path: Path, *, label: str | None = None, missing: str | None = None, categorical: Collection[str] | None = None
) -> Dataset:
    """The data in a file of one of FILE_TYPES; see `sources.load`."""
    kind = path.suffix.lower()
    with np.errstate(all="ignore"):  # Of numbers too large for float32; what comes of them is checked.
        if kind == ".npz":
            return _from_arrays(path)
        if kind == ".csv":
            return _from_frame(path, read_csv(path, skipinitialspace=True), label, missing, categorical)
        if set(IMAGE_COLUMNS) & set(parquet.columns_of(path)):
            return read_images(path.name, [path], label_columns=(label or "label",), origin=str(path))
        return _from_frame(path, parquet.read_frame(path), label, missing, categorical)


def read_images(name: str, paths: list[Path], *, label_columns: tuple[str, ...], origin: str) -> Dataset:
    """Tables with a column of encoded pictures and one of labels, all pictures of one size."""
    columns = [parquet.picture_columns(path, IMAGE_COLUMNS, label_columns) for path in paths]
    labels: list[object] = []

    def cells() -> Iterator[bytes | None]:
        for path, (picture, label, _) in zip(paths, columns, strict=True):
            for cell, value in parquet.picture_rows(path, picture, label):
                labels.append(value)
                yield cell

    inputs = _scaled(decoded(name, cells(), sum(rows for *_, rows in columns)))
    domain = Box(tuple(inputs.shape[1:]))
    names = parquet.declared_names(paths[0], columns[0][1])
    values = np.empty(len(labels), dtype=object)
    values[:] = labels
    return labelled(name, inputs, values, domain=domain, origin=origin, names=names)


def read_integers(lines: IO[bytes]) -> NDArray[np.int8]:
    """A headerless CSV of small integers, (rows, columns), read in blocks: Texas-100 has 415 million."""
    _, whole = first_line(lines)
    read = pyarrow.csv.ReadOptions(autogenerate_column_names=True, block_size=CSV_BLOCK)
    with pyarrow.csv.open_csv(whole, read_options=read) as reader:
        blocks = [_block(batch) for batch in reader]
    return np.concatenate(blocks)


def _scaled(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (n, H, W, C) as float32 (n, C, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(torch.float32).div_(255)


def _block(batch: pa.RecordBatch) -> NDArray[np.int8]:
    if any(column.null_count for column in batch.columns):
        raise InvalidInput("a cell of integers must not be empty, got an empty one")
    return np.column_stack([column.cast(pa.int8()).to_numpy() for column in batch.columns])


def _from_arrays(path: Path) -> Dataset:
    name, values, labels = read_pair(path)
    if values.ndim not in (2, 4) or not values.size:
        raise InvalidInput(
            f"{path.name}: {name} must be images (n, C, H, W) or vectors (n, d), none empty, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise InvalidInput(f"{path.name}: {name} must be finite, got NaN or infinity")
    if values.ndim == 4:
        if values.shape[3] in (1, 3) and values.shape[1] not in (1, 3):
            values = values.transpose(0, 3, 1, 2)
        inputs = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        if values.dtype == np.uint8:
            return labelled(path.name, inputs.div_(255), labels, domain=None, origin=path.name)
        # Integers stay integers; PyTorch can do little with unsigned integers of more than a byte.
        wide = values.dtype.kind == "u" and values.dtype.itemsize > 1
        domain = infer_domain(torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64 if wide else None)))
        return labelled(path.name, inputs, labels, domain=domain, origin=path.name)
    if np.isin(values, (0, 1)).all():
        bits = torch.from_numpy(values.astype(np.float32))
        return labelled(path.name, bits, labels, domain=None, origin=path.name)
    if values.shape[1] > limits.MOST_COLUMNS:
        raise InvalidInput(
            f"{path.name}: {name} must have at most {limits.MOST_COLUMNS:,} columns unless all are 0 or 1, got "
            f"{values.shape[1]:,}"
        )
    frame = pd.DataFrame(values, columns=[f"feature {i}" for i in range(values.shape[1])])
    table = MixedTable.fit(frame)
    if np.issubdtype(values.dtype, np.floating):
        # Whole floats may be chance; a float array promises that every value between is legal.
        table = MixedTable(tuple(c if isinstance(c, Categorical) else replace(c, integer=False) for c in table.columns))
    return labelled(path.name, table.encode(frame), labels, domain=table, origin=path.name)


def _from_frame(
    path: Path, frame: pd.DataFrame, label: str | None, missing: str | None, categorical: Collection[str] | None
) -> Dataset:
    frame.columns = pd.Index([str(column) for column in frame.columns])
    if label is None:
        raise InvalidInput(f"label must name the column of {path.name} with the class: {checks.listed(frame.columns)}")
    checks.one_of(frame.columns, label=label)
    features, labels = frame.drop(columns=label), frame[label].to_numpy()
    table = MixedTable.fit(features, missing=missing, categorical=categorical)
    if not categorical and all(pd.api.types.is_numeric_dtype(kind) for kind in features.dtypes):
        values = np.array(features.to_numpy(dtype=np.float32, na_value=np.nan))  # A copy: pandas may lend its own.
        if np.isin(values, (0, 1)).all():
            return labelled(path.name, torch.from_numpy(values), labels, domain=None, origin=path.name)
    return labelled(path.name, table.encode(features), labels, domain=table, origin=path.name)

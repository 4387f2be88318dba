"""Read files: images in Parquet, CSV of integers, arrays in .npz, tables in .csv and .parquet."""

import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical
from hardlabel.data.dataset import Dataset, labelled
from hardlabel.data.domain import Box, infer_domain
from hardlabel.data.table import MixedTable

FILE_TYPES = (".npz", ".csv", ".parquet")
ARRAY_NAMES = (("inputs", "labels"), ("x", "y"), ("X", "y"))
IMAGE_COLUMNS = ("img", "image")  # What Hugging Face calls them.
CSV_BLOCK = 2**25  # Bytes parsed at a time.


def read_file(
    path: Path, *, label: str | None = None, missing: str | None = None, categorical: Collection[str] | None = None
) -> Dataset:
    """The data in a file of one of FILE_TYPES; see `sources.load`."""
    with readable(path):
        if path.suffix.lower() == ".npz":
            return _read_arrays(path)
        if path.suffix.lower() == ".csv":
            return _from_frame(path, pd.read_csv(path, skipinitialspace=True), label, missing, categorical)
        if set(IMAGE_COLUMNS) & set(pyarrow.parquet.read_schema(path).names):
            return read_images(path.name, [path], label_columns=(label or "label",), origin=str(path))
        return _from_frame(path, pd.read_parquet(path), label, missing, categorical)


def read_images(name: str, paths: list[Path], *, label_columns: tuple[str, ...], origin: str) -> Dataset:
    """Tables with a column of encoded pictures and one of labels, all pictures of one size."""
    cells: list[bytes] = []
    labels: list[object] = []
    names: list[str] | None = None
    for path in paths:
        with readable(path):
            table = pyarrow.parquet.read_table(path)
            picture = _present(table, IMAGE_COLUMNS, path)
            column = _present(table, label_columns, path)
            if not pa.types.is_struct(table.schema.field(picture).type):
                raise InvalidInput(f"{path.name}: column {picture!r} must be a struct with the picture's bytes")
            cells += pyarrow.compute.struct_field(table[picture], "bytes").to_pylist()
            labels += table[column].to_pylist()
            names = names or _declared_names(table, column)
    inputs = _scaled(_decoded(name, cells))
    domain = Box(tuple(inputs.shape[1:]))
    return labelled(name, inputs, np.array(labels), domain=domain, origin=origin, names=names)


def read_integers(lines: IO[bytes]) -> NDArray[np.int8]:
    """A headerless CSV of small integers, (rows, columns), read in blocks: Texas-100 has 415 million."""
    read = pyarrow.csv.ReadOptions(autogenerate_column_names=True, block_size=CSV_BLOCK)
    with pyarrow.csv.open_csv(lines, read_options=read) as reader:
        blocks = [_block(batch) for batch in reader]
    return np.concatenate(blocks)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what readers raise at a damaged or foreign file into one line."""
    try:
        yield
    except InvalidInput:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        pa.ArrowException,
    ) as error:
        told = str(error).splitlines()
        raise InvalidInput(f"{path} cannot be read: {told[0] if told else type(error).__name__}") from error


def _present(table: pa.Table, columns: tuple[str, ...], path: Path) -> str:
    for column in columns:
        if column in table.column_names:
            return column
    raise InvalidInput(
        f"{path.name} must have a column {' or '.join(map(repr, columns))}, got {', '.join(table.column_names)}"
    )


def _declared_names(table: pa.Table, column: str) -> list[str] | None:
    """Names of the classes in Hugging Face's metadata, where it is there."""
    try:
        names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]


def _decoded(name: str, cells: list[bytes]) -> NDArray[np.uint8]:
    """Pixels (n, H, W, C); C is 1 where the first picture is grey, else 3."""
    pixels: NDArray[np.uint8] | None = None
    mode, size = "", (0, 0)
    for row, cell in enumerate(cells):
        try:
            with Image.open(io.BytesIO(cell)) as image:
                if pixels is None:
                    mode, size = "L" if image.mode in ("1", "L") else "RGB", image.size
                    pixels = np.empty((len(cells), size[1], size[0], len(mode)), dtype=np.uint8)
                if image.size != size:
                    raise InvalidInput(
                        f"data {name!r} must have pictures of size {size}, got {image.size} in row {row}"
                    )
                pixels[row] = np.asarray(image.convert(mode)).reshape(pixels.shape[1:])
        except (OSError, TypeError, SyntaxError, UnidentifiedImageError) as error:
            raise InvalidInput(f"data {name!r} must hold readable pictures, row {row}: {error}") from error
    if pixels is None:
        raise InvalidInput(f"data {name!r} must have rows, got none")
    return pixels


def _scaled(pixels: NDArray[np.uint8]) -> Tensor:
    """Pixels (n, H, W, C) as float32 (n, C, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(torch.float32).div_(255)


def _block(batch: pa.RecordBatch) -> NDArray[np.int8]:
    if any(column.null_count for column in batch.columns):
        raise InvalidInput("a cell of integers must not be empty, got an empty one")
    return np.column_stack([column.cast(pa.int8()).to_numpy() for column in batch.columns])


def _read_arrays(path: Path) -> Dataset:
    with np.load(path, allow_pickle=False) as file:
        pair = next((pair for pair in ARRAY_NAMES if set(pair) <= set(file.files)), None)
        if pair is None:
            raise InvalidInput(f"{path.name} must hold arrays inputs and labels, or x and y, got {file.files}")
        values, labels = file[pair[0]], file[pair[1]]
    if not (values.dtype == bool or np.issubdtype(values.dtype, np.number)) or np.iscomplexobj(values):
        raise InvalidInput(f"{path.name}: {pair[0]} must be numbers, got {values.dtype}")
    if values.ndim not in (2, 4) or not values.size:
        raise InvalidInput(
            f"{path.name}: {pair[0]} must be images (n, C, H, W) or vectors (n, d), none empty, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise InvalidInput(f"{path.name}: {pair[0]} must be finite, got NaN or infinity")
    if values.ndim == 4:
        if values.shape[3] in (1, 3) and values.shape[1] not in (1, 3):
            values = values.transpose(0, 3, 1, 2)
        inputs = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        if values.dtype == np.uint8:
            return labelled(path.name, inputs.div_(255), labels, domain=None, origin=str(path))
        # Integers stay integers.
        domain = infer_domain(torch.from_numpy(np.ascontiguousarray(values)))
        return labelled(path.name, inputs, labels, domain=domain, origin=str(path))
    if np.isin(values, (0, 1)).all():
        bits = torch.from_numpy(values.astype(np.float32))
        return labelled(path.name, bits, labels, domain=None, origin=str(path))
    frame = pd.DataFrame(values, columns=[f"feature {i}" for i in range(values.shape[1])])
    table = MixedTable.fit(frame)
    if np.issubdtype(values.dtype, np.floating):
        # Whole floats may be chance; a float array promises that every value between is legal.
        table = MixedTable(tuple(c if isinstance(c, Categorical) else replace(c, integer=False) for c in table.columns))
    return labelled(path.name, table.encode(frame), labels, domain=table, origin=str(path))


def _from_frame(
    path: Path, frame: pd.DataFrame, label: str | None, missing: str | None, categorical: Collection[str] | None
) -> Dataset:
    frame.columns = pd.Index([str(column) for column in frame.columns])
    if label is None:
        raise InvalidInput(f"label must name the column of {path.name} with the class: {', '.join(frame.columns)}")
    checks.one_of(frame.columns, label=label)
    features, labels = frame.drop(columns=label), frame[label].to_numpy()
    table = MixedTable.fit(features, missing=missing, categorical=categorical)
    if not categorical and all(pd.api.types.is_numeric_dtype(kind) for kind in features.dtypes):
        values = features.to_numpy(dtype=np.float32, na_value=np.nan)
        if np.isin(values, (0, 1)).all():
            return labelled(path.name, torch.from_numpy(values), labels, domain=None, origin=str(path))
    return labelled(path.name, table.encode(features), labels, domain=table, origin=str(path))

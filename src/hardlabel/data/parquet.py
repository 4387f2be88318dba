"""Read Parquet: a table of numbers and text as a frame, and columns of encoded pictures.

Types and row counts are read first, from the file's metadata. Text is kept once for each different value until it is
known that all cells fit into memory.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from hardlabel.checks import InvalidInput, listed
from hardlabel.data import limits
from hardlabel.data.opening import readable

CELL = 8  # Bytes of a cell in memory, at least.
# Types of pandas that Arrow has no own types for; pandas notes them in the file.
NULLABLE = (
    "boolean",
    "string",
    "Float32",
    "Float64",
    *(f"{u}Int{bits}" for u in ("", "U") for bits in (8, 16, 32, 64)),
)
PICTURES = 256  # Rows with pictures read at a time.
ROWS = 2**16  # Rows of a table read at a time.


@contextmanager
def opened(path: Path) -> Iterator[pa.parquet.ParquetFile]:
    """A Parquet file whose text and bytes are read as dictionaries, after a look at how much it promises.

    Raises:
        InvalidInput: The file is damaged, has more columns than MOST_COLUMNS or more rows than fit into memory.
    """
    with readable(path), path.open("rb") as raw:
        metadata = pyarrow.parquet.ParquetFile(raw).metadata
        if metadata.num_columns > limits.MOST_COLUMNS:
            raise InvalidInput(
                f"{path.name} must have at most {limits.MOST_COLUMNS:,} columns, got {metadata.num_columns:,}: leave "
                "some out"
            )
        groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
        rows = [metadata.num_rows, *(group.num_rows for group in groups)]
        if min(rows) < 0 or sum(rows[1:]) != rows[0]:
            raise InvalidInput(f"{path.name} cannot be read: its parts do not hold the {rows[0]:,} rows it promises")
        limits.afford(CELL * rows[0] * max(1, metadata.num_columns), f"{path.name}, of {rows[0]:,} rows,")
        texts = [
            metadata.schema.column(place).path
            for place in range(metadata.num_columns)
            if metadata.schema.column(place).physical_type == "BYTE_ARRAY"
            and metadata.schema.column(place).logical_type.type in ("STRING", "NONE")  # No decimals.
        ]
        yield pyarrow.parquet.ParquetFile(raw, metadata=metadata, read_dictionary=texts)


def columns_of(path: Path) -> list[str]:
    """Names of the columns."""
    with opened(path) as file:
        return list(file.schema_arrow.names)


def read_frame(path: Path, *, exact: bool = False) -> pd.DataFrame:
    """A table of numbers, text and booleans; columns that pandas wrote as an index are left out.

    Args:
        path: The file.
        exact: Whether columns get the nullable types ("Int64", "boolean", ...) that pandas wrote them with, as
            `pandas.read_parquet` gives them; else NumPy's types.

    Raises:
        InvalidInput: See `opened`; or a column is nested or of bytes; or the text does not fit into memory.
    """
    with opened(path) as file:
        schema = pyarrow.parquet.read_schema(path)
        for field in schema:
            check_type(path, field)
        parts, size = [], 0
        for batch in file.iter_batches(batch_size=ROWS):
            size += sum(_size(column) for column in batch.columns)
            limits.afford(size, f"{path.name}, as text,")
            kept = [_plain(cells, field) for cells, field in zip(batch.columns, schema, strict=True)]
            parts.append(pa.RecordBatch.from_arrays(kept, names=batch.schema.names))
        table = pa.Table.from_batches(parts) if parts else schema.empty_table()
        _check_rows(path, file, table.num_rows)
        index = _index(schema)
        places = [place for place, name in enumerate(table.column_names) if name not in index]
        table = table.select(places)
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
        for name, kind in (_nullable(schema) if exact else {}).items():
            if table.column_names.count(name) == 1:
                nullable: Any = pd.api.types.pandas_dtype(kind)
                frame[name] = nullable.__from_arrow__(table.column(name))
    return frame


def check_type(path: Path, field: pa.Field) -> None:
    """Refuses a column of lists, structs, maps, bytes and other types that hold no single number, text or boolean.

    Raises:
        InvalidInput: The line names file, column, type and the way out.
    """
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    known = (
        pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean, pa.types.is_string,
        pa.types.is_large_string, pa.types.is_string_view, pa.types.is_temporal, pa.types.is_null,
    )  # fmt: skip
    if not any(is_kind(kind) for is_kind in known):
        raise InvalidInput(
            f"{path.name}: column {field.name!r} must hold numbers, text or booleans, got {field.type}: leave it out, "
            "or write its values as columns of their own"
        )


def picture_rows(path: Path, picture: str, label: str) -> Iterator[tuple[bytes | None, object]]:
    """The encoded picture and the label of each row.

    Raises:
        InvalidInput: See `opened`; or a column does not hold pictures or labels.
    """
    with opened(path) as file:
        rows = 0
        for batch in file.iter_batches(batch_size=PICTURES, columns=[picture, label]):
            cells = pc.struct_field(batch[picture], "bytes")
            limits.afford(_size(batch[label]), f"{path.name}, as text,")
            for place, value in enumerate(batch[label].to_pylist()):
                yield _cell(cells, place), value
            rows += batch.num_rows
        _check_rows(path, file, rows)


def picture_columns(path: Path, pictures: tuple[str, ...], labels: tuple[str, ...]) -> tuple[str, str, int]:
    """Names of the columns with pictures and labels, and the number of rows.

    Raises:
        InvalidInput: A column is not there, or of another type.
    """
    with opened(path) as file:
        schema = pyarrow.parquet.read_schema(path)
        picture, label = _present(schema.names, pictures, path), _present(schema.names, labels, path)
        kind = schema.field(picture).type
        if not pa.types.is_struct(kind) or not _holds_bytes(kind):
            raise InvalidInput(
                f"{path.name}: column {picture!r} must be a struct with the picture's bytes, got {kind}: write it as "
                "Hugging Face does, with fields bytes and path"
            )
        check_type(path, schema.field(label))
        return picture, label, file.metadata.num_rows


def declared_names(path: Path, column: str) -> list[str] | None:
    """Names of the classes in Hugging Face's metadata, where it is there."""
    schema = pyarrow.parquet.read_schema(path)
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _present(names: list[str], wanted: tuple[str, ...], path: Path) -> str:
    for column in wanted:
        if column in names:
            return column
    raise InvalidInput(f"{path.name} must have a column {' or '.join(map(repr, wanted))}, got {listed(names)}")


def _holds_bytes(kind: pa.StructType) -> bool:
    place: int = kind.get_field_index("bytes")
    return place >= 0 and kind.field(place).type in (pa.binary(), pa.large_binary())


def _cell(cells: pa.Array, place: int) -> Any:
    if isinstance(cells, pa.DictionaryArray):
        index = cells.indices[place].as_py()
        return None if index is None else cells.dictionary[index].as_py()
    return cells[place].as_py()


def _size(cells: pa.Array) -> int:
    """Bytes of the cells when every cell holds its own text."""
    if not isinstance(cells, pa.DictionaryArray):
        return int(cells.nbytes)
    size = CELL * len(cells)
    if pa.types.is_string(cells.type.value_type) or pa.types.is_large_string(cells.type.value_type):
        lengths = pc.binary_length(cells.dictionary).cast(pa.int64())
        size += pc.sum(lengths.take(cells.indices)).as_py() or 0
    return size


def _plain(cells: pa.Array, field: pa.Field) -> pa.Array:
    """The cells as the file declares them: categories stay categories, and keep their order."""
    if not isinstance(cells, pa.DictionaryArray):
        return cells
    if not pa.types.is_dictionary(field.type):
        return cells.dictionary_decode()
    return pa.DictionaryArray.from_arrays(cells.indices, cells.dictionary, ordered=field.type.ordered)


def _index(schema: pa.Schema) -> set[str]:
    """Columns that pandas wrote for an index."""
    return {name for name in _noted(schema, "index_columns") if isinstance(name, str)}


def _nullable(schema: pa.Schema) -> dict[str, str]:
    """By name of a column, which of NULLABLE pandas wrote it with."""
    columns = [column for column in _noted(schema, "columns") if isinstance(column, dict)]
    kinds = {column.get("field_name"): column.get("numpy_type") for column in columns if _is_named(column)}
    return {str(name): str(kind) for name, kind in kinds.items() if kind in NULLABLE}


def _is_named(column: dict[str, object]) -> bool:
    return isinstance(column.get("field_name"), str) and isinstance(column.get("numpy_type"), str)


def _noted(schema: pa.Schema, name: str) -> list[Any]:
    """A list in the notes of pandas; [] without one."""
    try:
        noted = json.loads(schema.metadata[b"pandas"])[name]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return noted if isinstance(noted, list) else []


def _check_rows(path: Path, file: pa.parquet.ParquetFile, rows: int) -> None:
    if rows != file.metadata.num_rows:
        raise InvalidInput(f"{path.name} must have the {file.metadata.num_rows:,} rows it promises, got {rows:,}")

"""The table of scores in a run folder: read within limits, and compared with what the results say of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardlabel.reading import Unreadable

SCORES_BYTES = 2**32  # Scores of a million records and 20 attacks have a tenth of it.
TEXT_BYTES = 1000  # Of a name or a pseudonym in the table.
WHOLE, NUMBER, TRUTH, TEXT = "whole numbers", "numbers", "true or false", "text"
OPTIONAL = {"row": WHOLE, "pseudonym": TEXT}  # Older tables, or newer ones, do not have these.
_FITS = {
    WHOLE: pa.types.is_integer,
    NUMBER: pa.types.is_floating,
    TRUTH: pa.types.is_boolean,
    TEXT: lambda kind: pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind),
}


@dataclass(frozen=True, kw_only=True)
class WantedScores:
    """The table that some results must have.

    Attributes:
        columns: What each column holds, by name.
        rows: Number of rows.
        groups: The columns that name a group of rows: each group has every record once.
        names: The attacks in the column `attack`; empty without this column.
        records: Number of records in a group.
        members: Number of members in a group; None if groups may differ.
    """

    columns: Mapping[str, str]
    rows: int
    groups: Sequence[str]
    names: Sequence[str] = field(default=())
    records: int
    members: int | None = None


def table_of(payload: bytes, wanted: WantedScores) -> pd.DataFrame:
    """The table in the bytes of a Parquet file.

    Raises:
        Unreadable: It is no such file, or not the table that is wanted.
    """
    try:
        there = pq.read_schema(pa.BufferReader(payload)).names
        texts = [name for name, kind in {**OPTIONAL, **wanted.columns}.items() if kind == TEXT and name in there]
        # As dictionaries: a short file may repeat a long text a million times.
        file = pq.ParquetFile(pa.BufferReader(payload), read_dictionary=texts)
        if file.metadata.num_rows != wanted.rows:
            raise Unreadable(f"it must have {wanted.rows:,} rows, as the results say, got {file.metadata.num_rows:,}")
        if wanted.rows:
            _check_columns(file.schema_arrow, wanted)
        table = file.read().replace_schema_metadata()
        frame: pd.DataFrame = _plain(table).to_pandas()
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(" ".join(str(error).split())[:300] or type(error).__name__) from error
    if wanted.rows:
        _check_rows(frame, wanted)
    return frame


def _check_columns(schema: pa.Schema, wanted: WantedScores) -> None:
    names = list(schema.names)
    missing = [name for name in wanted.columns if name not in names]
    foreign = [name for name in names if name not in wanted.columns and name not in OPTIONAL]
    if missing or foreign or len(set(names)) < len(names):
        raise Unreadable(f"it must have the columns {', '.join(wanted.columns)}, got {', '.join(names)}")
    for name in names:
        kind = wanted.columns.get(name) or OPTIONAL[name]
        if not _FITS[kind](schema.field(name).type):
            raise Unreadable(f"column {name} must hold {kind}, got {schema.field(name).type}")


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries turned into text."""
    for place, column in enumerate(table.schema):
        if not pa.types.is_dictionary(column.type):
            continue
        chunks = table.column(place)
        longest = max((pc.max(pc.binary_length(chunk.dictionary)).as_py() or 0 for chunk in chunks.chunks), default=0)
        if longest > TEXT_BYTES:
            raise Unreadable(f"column {column.name} must hold texts of at most {TEXT_BYTES} bytes, got {longest:,}")
        table = table.set_column(place, column.name, chunks.cast(pa.string()))
    return table


def _check_rows(frame: pd.DataFrame, wanted: WantedScores) -> None:
    for name, kind in wanted.columns.items():
        if kind != NUMBER and frame[name].isna().any():
            raise Unreadable(f"column {name} must have no gaps")
        if kind == WHOLE and int(frame[name].min()) < 0:
            raise Unreadable(f"column {name} must be 0 or more, got {int(frame[name].min())}")
    groups = frame.groupby(list(wanted.groups), sort=False)
    sizes, members = groups["id"].nunique(), groups["member"].sum()
    if wanted.names and set(frame["attack"]) != set(wanted.names):
        raise Unreadable(f"it must have the scores of {', '.join(wanted.names)}")
    if len(sizes) * wanted.records != wanted.rows or (sizes != wanted.records).any():
        raise Unreadable(f"it must have each of {wanted.records:,} records once in every group of {wanted.groups}")
    if wanted.members is not None and (members != wanted.members).any():
        raise Unreadable(f"it must have {wanted.members:,} members for every attack, as the results say")
    alike = [name for name in wanted.groups if name != "attack"]
    if len(frame.drop_duplicates(["id", "member", *alike])) != len(frame.drop_duplicates(["id", *alike])):
        raise Unreadable("it must say the same of every record's membership for all attacks")

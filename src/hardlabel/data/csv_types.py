"""One type for a column that stands in several .csv files, of which each alone would give it another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hardlabel.data.opening import read_csv


def with_types_of_members(
    tables: Mapping[str, pd.DataFrame], files: Mapping[str, Path], *, separator: str, missing: str | None = None
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """The tables, with columns of numbers or of text as the members have them, on which the target was trained.

    A blank cell makes a text of a column of numbers. Where the members' column holds numbers, blank cells of other
    files are read as missing; where it holds text, numbers of other files are read as the text that stands there. What
    cannot be read so stays as it is.

    Args:
        tables: Rows by group, "members" among them, as `read_csv` gives them.
        files: The file of each group. Only .csv files are read again.
        separator: The character between the cells.
        missing: The text that is read as missing, as by `read_csv`.

    Returns:
        The tables, and notes that say which blank cells were taken for missing numbers.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from hardlabel.data.csv_types import with_types_of_members
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = {name: Path(folder) / f"{name}.csv" for name in ("members", "nonmembers")}
        ...     _ = files["members"].write_text("fee,age\\n1.5,30\\n")
        ...     _ = files["nonmembers"].write_text("fee,age\\n ,30\\n2.5,31\\n")
        ...     tables = {name: pd.read_csv(file) for name, file in files.items()}
        ...     tables, notes = with_types_of_members(tables, files, separator=",")
        >>> tables["nonmembers"].fee.tolist()
        [nan, 2.5]
    """
    members = tables["members"]
    alike, notes = dict[str, pd.DataFrame](), list[str]()
    for group, table in tables.items():
        shared = [name for name in table.columns if name in members.columns and len(table) and len(members)]
        texts = [name for name in shared if _is_text(members[name]) and _is_number(table[name])]
        blanks = {name: _blanks(table[name]) for name in shared if _is_number(members[name]) and _is_text(table[name])}
        blanks = {name: cells for name, cells in blanks.items() if cells}
        alike[group] = table
        if files[group].suffix.lower() != ".csv" or not (texts or blanks):
            continue
        if missing is not None:
            # These are the only texts that are read as missing, of columns that `table` has under their own names.
            marks = {name: ["", missing, *blanks.get(name, [])] for name in table.columns}
            options: dict[str, Any] = {"keep_default_na": False, "na_values": marks}
        else:
            options = {"na_values": blanks}
        again = read_csv(files[group], separator=separator, dtype=dict.fromkeys(texts, str), **options)
        numbers = [name for name in blanks if _is_number(again[name])]
        alike[group] = table.assign(**{name: again[name] for name in (*texts, *numbers)})
        notes += [
            f"Blank cells of column {name!r} in {group} were read as missing numbers, since members hold numbers there."
            for name in numbers
        ]
    return alike, tuple(notes)


def _is_number(cells: "pd.Series[float]") -> bool:
    return pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)


def _is_text(cells: "pd.Series[str]") -> bool:
    return bool(
        (pd.api.types.is_object_dtype(cells) or pd.api.types.is_string_dtype(cells))
        and cells.dropna().map(lambda cell: isinstance(cell, str)).all()
    )


def _blanks(cells: "pd.Series[str]") -> list[str]:
    """The different cells that hold white space only."""
    return [cell for cell in cells.dropna().unique() if not cell.strip()]

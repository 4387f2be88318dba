"""One pandas type for a column that stands in several groups of rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hardlabel.checks import InvalidInput, shown
from hardlabel.data.codecs.cells import LARGEST_EXACT
from hardlabel.data.columns import Cells


def united(name: str, groups: Mapping[str, Cells]) -> Any:
    """The type that holds the cells of all groups; those of groups in which all are missing count last.

    Raises:
        InvalidInput: The types do not go together: numbers in one group and text in another.
    """
    holding = {group: cells for group, cells in groups.items() if cells.notna().any()}
    voting = holding or {group: cells for group, cells in groups.items() if len(cells)} or dict(groups)
    dtypes = list(dict.fromkeys(cells.dtype for cells in voting.values()))
    gaps = any(cells.isna().any() for cells in groups.values())
    if len(dtypes) == 1:
        return _with_gaps(dtypes[0]) if gaps else dtypes[0]
    sorts = {group: _sort(cells) for group, cells in voting.items()}
    different = set(sorts.values())
    if different == {"number"}:
        return _number_type(name, voting, gaps=gaps)
    if different == {"text"}:
        return np.dtype(object) if np.dtype(object) in dtypes else dtypes[0]
    if "category" in different and different <= {"category", "text"}:
        return _category_type(name, voting)
    if different == {"boolean"}:
        return np.dtype(object) if np.dtype(object) in dtypes else pd.BooleanDtype()
    if "mixed" in different and np.dtype(object) in dtypes and "category" not in different:
        return np.dtype(object)
    told = ", ".join(f"{cells.dtype} ({sorts[group]}) in {group}" for group, cells in voting.items())
    odd = _odd(voting, sorts)
    raise InvalidInput(
        f"column {name!r} must hold one type in all groups, got {told}{odd}: read all groups with the same types, or "
        "ignore the column"
    )


def as_dtype(cells: Cells, dtype: Any, where: str) -> Cells:
    """The cells as a column of `dtype`, if they can be that without loss.

    Raises:
        InvalidInput: They cannot.
    """
    if cells.dtype == dtype:
        return cells
    if len(cells) and cells.isna().all() and _with_gaps(dtype) == dtype:
        return pd.Series([None] * len(cells), dtype=dtype)
    if pd.api.types.is_object_dtype(dtype):
        return cells.astype(object)
    rule = f"{where} must be {dtype}, got {cells.dtype}"
    category = isinstance(dtype, pd.CategoricalDtype)
    if len(cells) and not category and _sort(cells) != _sort(pd.Series([], dtype=dtype)):
        raise InvalidInput(rule)
    try:
        cast: Cells = cells.astype(dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{rule}, which cannot be turned into it") from error
    absent = cells.isna().to_numpy(dtype=bool)
    lost = cast.isna().to_numpy(dtype=bool) & ~absent
    if lost.any():
        raise InvalidInput(
            f"{where} must hold one of the categories that the codec was fitted on, got {shown(cells[lost].iloc[0])}"
        )
    if _sort(cells) == "number":
        before, after = cells[~absent], cast[~absent]
        changed = before.astype(np.float64).to_numpy() != after.astype(np.float64).to_numpy()
        if pd.api.types.is_integer_dtype(cells) and not pd.api.types.is_integer_dtype(cast):
            changed |= (before.astype(np.float64).abs() > LARGEST_EXACT).to_numpy()
        if changed.any():
            raise InvalidInput(f"{rule}, and {before[changed].iloc[0]} might be rounded")
    return cast


def _sort(cells: Cells) -> str:
    """What a column holds: "number", "boolean", "text", "category", "mixed" (objects of several types) or "other"."""
    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_object_dtype(dtype):
        held = {type(cell) for cell in cells[cells.notna()]}
        if held <= {str}:
            return "text"
        return "boolean" if held <= {bool, np.bool_} else "mixed"
    if isinstance(dtype, pd.StringDtype) or str(dtype) in ("string[pyarrow]", "large_string[pyarrow]"):
        return "text"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    return "number" if pd.api.types.is_numeric_dtype(dtype) else "other"


def _with_gaps(dtype: Any) -> Any:
    """The type that pandas gives a column of `dtype` once a cell is missing."""
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        return np.dtype(np.float64)
    return np.dtype(object) if isinstance(dtype, np.dtype) and dtype.kind == "b" else dtype


def _number_type(name: str, groups: Mapping[str, Cells], *, gaps: bool) -> Any:
    dtype = pd.concat([cells.iloc[:0] for cells in groups.values()]).dtype
    if all(pd.api.types.is_integer_dtype(cells) for cells in groups.values()):
        if not pd.api.types.is_integer_dtype(dtype):
            if any(cells.max() > np.iinfo(np.int64).max for cells in groups.values()):
                raise InvalidInput(
                    f"column {name!r} must hold one type of integers in all groups, got signed and unsigned ones "
                    "above 2**63: read all groups with the same types"
                )
            dtype = np.dtype(np.int64)
        return _with_gaps(dtype) if gaps else dtype
    return dtype


def _category_type(name: str, groups: Mapping[str, Cells]) -> pd.CategoricalDtype:
    """The union of the categories, in the order in which groups name them."""
    dtypes = [cells.dtype for cells in groups.values() if isinstance(cells.dtype, pd.CategoricalDtype)]
    ordered = [dtype for dtype in dtypes if dtype.ordered]
    named = [list(d.categories) if isinstance(d := c.dtype, pd.CategoricalDtype) else sorted(c.dropna().unique())
             for c in groups.values()]  # fmt: skip
    categories = list(dict.fromkeys(category for categories in named for category in categories))
    if not ordered:
        return pd.CategoricalDtype(categories)
    longest = max((list(dtype.categories) for dtype in ordered), key=len)
    for categories in named:
        within = [category for category in longest if category in set(categories)]
        if within != categories:
            raise InvalidInput(
                f"column {name!r} must have the same ordered categories in all groups, got {shown(categories)} and "
                f"{shown(longest)}: set them alike"
            )
    return pd.CategoricalDtype(longest, ordered=True)


def _odd(groups: Mapping[str, Cells], sorts: Mapping[str, str]) -> str:
    """A text in the group of text that is no number, such as the "?" that kept a column from being read as numbers."""
    for group, cells in groups.items():
        if sorts[group] == "text":
            texts = cells.dropna().astype(str)
            wrong = texts[pd.to_numeric(texts, errors="coerce").isna()]
            return f", such as {shown(wrong.iloc[0])} in {group}" if len(wrong) else ""
    return ""

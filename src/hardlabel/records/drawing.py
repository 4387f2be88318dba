"""Where a record's plots are drawn: above the records, by a function that the package's front names.

Records must not import what stands above them, and `record.plot("roc")` is what people type.
"""

from pkgutil import resolve_name
from typing import Any

_drawers: list[str] = []


def drawn_by(function: str) -> None:
    """Names the function that draws: "module:function", imported when the first plot is asked for."""
    _drawers[:] = [function]


def draw(record: Any, what: str, ax: Any) -> Any:
    """Draws a plot of a record; see `Record.plot`."""
    return resolve_name(_drawers[0])(record, what, ax=ax)

"""The codec of pandas frames: columns of any of their types, as points of a mixed table and back."""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput, listed
from hardlabel.data import limits
from hardlabel.data.codecs.cells import Form, fit_form
from hardlabel.data.codecs.uniting import as_dtype, united
from hardlabel.data.columns import Categorical
from hardlabel.data.table import ENCODED, MixedTable


@dataclass(frozen=True)
class FrameCodec:
    """Frames with the columns, types and categories of those that the codec was fitted on.

    Every cell that was given comes back to the last bit, with its type and its sort of missing value; so does every
    column's label, type and place. The index does not: a decoded frame counts its rows. Categories, codes and whole
    numbers are legal only if they occur, or lie between the smallest and the largest where whole numbers have no gaps.

    A number that nobody gave, such as one that noise made, is rounded to the column's type: `encode` gives its point
    back within that rounding, all other cells exactly.

    Attributes:
        forms: How each column is encoded.
        labels: The pandas type of the columns' labels, and the name of their index.

    Example:
        >>> import pandas as pd
        >>> from hardlabel.data.codecs.frames import FrameCodec
        >>> frame = pd.DataFrame({"age": [31.5, None, 64.0], "smoker": [True, False, True]})
        >>> codec = FrameCodec.fit({"members": frame})
        >>> codec.decode(codec.encode(frame)).equals(frame)
        True
        >>> codec.summary
        'a table of 2 columns, 1 of categories'
    """

    forms: tuple[Form, ...]
    labels: tuple[Any, Hashable]

    @classmethod
    def fit(
        cls,
        frames: Mapping[str, pd.DataFrame],
        *,
        categorical: Collection[Hashable] = (),
        missing: str | None = None,
    ) -> "FrameCodec":
        """The codec of several groups of rows, which share their columns.

        Text, booleans and categories become categories, and so do whole numbers that are 0 and 1 or few with gaps
        between them; other numbers stay numbers. Missing values need no declaration.

        Args:
            frames: Rows by the name of their group, features only: members, nonmembers, population.
            categorical: Columns to take as categories although they hold numbers.
            missing: What stands for a missing number besides NaN ("?", "-999"). It comes back as it is.

        Raises:
            InvalidInput: No rows or columns; groups with other columns or types that do not go together; dates, lists,
                infinity; more than MOST_CATEGORIES different texts; an unknown name in `categorical`.
        """
        for group, frame in frames.items():
            if not isinstance(frame, pd.DataFrame):
                raise InvalidInput(f"{group} must be a pandas DataFrame, got {type(frame).__name__}")
        if not frames or not sum(frame.size for frame in frames.values()):
            raise InvalidInput("frames must have rows and feature columns, got none")
        if missing is not None and not isinstance(missing, str):
            raise InvalidInput(f"missing must be a text, such as '?' or '-999', got {checks.shown(missing)}")
        columns = next(iter(frames.values())).columns
        _check_labels(columns)
        chosen = (categorical,) if isinstance(categorical, str) else tuple(categorical)
        for label in chosen:
            if label not in columns:
                checks.one_of(list(map(str, columns)), categorical=str(label))
        places = {group: _places(frame, list(columns), group) for group, frame in frames.items()}
        forms = []
        for place, (label, called) in enumerate(zip(columns, _called(list(columns)), strict=True)):
            groups = {group: frame.iloc[:, places[group][place]] for group, frame in frames.items()}
            dtype = united(called, groups)
            cells = [as_dtype(group_cells, dtype, f"{g}, column {called!r}") for g, group_cells in groups.items()]
            whole = pd.concat(cells, ignore_index=True)
            forms.append(fit_form(label, called, whole, categorical=label in chosen, marker=missing))
        return cls(tuple(forms), (columns.dtype, columns.name))

    @property
    def domain(self) -> MixedTable:
        return MixedTable(tuple(form.column for form in self.forms))

    @property
    def summary(self) -> str:
        categories = sum(isinstance(form.column, Categorical) for form in self.forms)
        count = f"a table of {len(self.forms)} column{'s' if len(self.forms) > 1 else ''}"
        return f"{count}, {categories} of categories" if categories else count

    def encode(self, given: pd.DataFrame, name: str = "inputs") -> Tensor:
        """Legal points (n, width), float32, of a frame with the codec's columns in any order.

        Raises:
            InvalidInput: Other columns, a type that is not the column's, or a value that is not legal.
        """
        if not isinstance(given, pd.DataFrame):
            raise InvalidInput(f"{name} must be a pandas DataFrame, got {type(given).__name__}")
        places = _places(given, [form.name for form in self.forms], name)
        widths = [form.column.width for form in self.forms]
        what = f"{name} of {len(given):,} x {sum(widths):,} encoded values"
        limits.afford(ENCODED * len(given) * sum(widths), what)
        points = np.empty((len(given), sum(widths)), dtype=np.float32)
        start = 0
        for form, place, width in zip(self.forms, places, widths, strict=True):
            where = f"{name}, column {form.column.name!r}"
            cells = as_dtype(given.iloc[:, place], form.dtype, where)
            points[:, start : start + width] = form.encode(cells, where)
            start += width
        return torch.from_numpy(points)

    def decode(self, points: Tensor) -> pd.DataFrame:
        """The frame of legal points (n, width), new with every call."""
        self.domain.check(points, "points")
        rows = points.detach().cpu().numpy()
        columns, start = [], 0
        for form in self.forms:
            columns.append(form.decode(rows[:, start : start + form.column.width]))
            start += form.column.width
        frame = pd.DataFrame(dict(enumerate(columns)))
        dtype, called = self.labels
        frame.columns = pd.Index([form.name for form in self.forms], dtype=dtype, name=called)
        return frame


def _check_labels(columns: "pd.Index[Any]") -> None:
    if columns.nlevels > 1:
        raise InvalidInput(f"columns must have one label each, got {columns.nlevels} levels of labels: join them")
    repeated = columns[columns.duplicated()]
    if len(repeated):
        raise InvalidInput(f"columns must have distinct names, got {repeated[0]!r} twice: rename or drop one")


def _places(frame: pd.DataFrame, columns: list[Hashable], group: str) -> list[int]:
    """Where each of `columns` stands in a group's frame."""
    place: dict[Hashable, int] = {}
    for at, label in enumerate(frame.columns):
        if label in place:
            raise InvalidInput(f"{group} must have distinct columns, got {label!r} twice: rename or drop one")
        place[label] = at
    lost = [label for label in columns if label not in place]
    extra = [label for label in place if label not in set(columns)]
    if lost or extra:
        parts = [f"lacks {listed(lost)}"] * bool(lost) + [f"also has {listed(extra)}"] * bool(extra)
        raise InvalidInput(
            f"{group} must have the same {len(columns)} columns as the first frame, but {' and '.join(parts)}"
        )
    return [place[label] for label in columns]


def _called(columns: list[Hashable]) -> list[str]:
    """What each column is called in the domain: its label as text, with the type where two labels read alike."""
    texts = list(map(str, columns))
    alike = Counter(texts)
    named = [t if alike[t] == 1 else f"{t} ({type(c).__name__})" for t, c in zip(texts, columns, strict=True)]
    counts = Counter(named)
    return [n if counts[n] == 1 else f"{n} {place}" for place, n in enumerate(named)]

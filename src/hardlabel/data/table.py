"""Mixed tables: numeric and categorical columns, encoded as one float32 row and perturbed each in its own way.

Numbers are encoded in standard deviations, (raw - mean) / scale; categories are one-hot; a number that may
be missing has an indicator column after it, and a missing one is encoded as value 0 with indicator 1.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data import limits
from hardlabel.data.columns import Categorical, Numeric, fit_column
from hardlabel.data.domain import NoiseLevel, check_form
from hardlabel.data.layout import layout_of

ENCODED = 16  # Bytes of an encoded value while a table is made: its column, the table, and what checks it.
WHOLE_SLACK = 1e-3  # Distance to a whole raw value that still counts as whole; float32 rounding is added.

LADDER = (
    (0.05, 0.02),
    (0.1, 0.04),
    (0.15, 0.06),
    (0.2, 0.08),
    (0.3, 0.12),
    (0.4, 0.16),
    (0.5, 0.2),
    (0.7, 0.3),
    (0.85, 0.4),
    (1.0, 0.5),
)  # (sigma, flip); the authors' code flips 20 to 50 of Adult's 107 features, .19 to .47.


@dataclass(frozen=True)
class MixedTable:
    """Rows of a table, encoded as float32 (n, width). Noise is Gaussian on numbers and redraws categories; see `noisy`.

    The distance between two rows is sqrt(a + b + c): a, the sum of squared differences of encoded numbers (a missing
    number counts as 0, the mean); b, the number of columns that are missing in only one of the rows; c, the number of
    columns whose categories differ. It is a metric, and plain L2 where all columns are numbers.

    Attributes:
        columns: The columns, in the order of their encoding, at least one; names are distinct.
        missing: The text that stands for a missing value, in addition to NaN; None where nothing may be missing.

    Raises:
        InvalidInput: There is no column, or two have the same name.

    Example:
        >>> import pandas
        >>> from hardlabel import MixedTable
        >>> frame = pandas.DataFrame({"age": [20.5, 40.5], "job": ["cook", "nurse"]})
        >>> table = MixedTable.fit(frame)
        >>> table.encode(frame)  # Age in standard deviations, then one column for each job.
        tensor([[-1.,  1.,  0.],
                [ 1.,  0.,  1.]])
    """

    columns: tuple[Numeric | Categorical, ...]
    missing: str | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if not names or len(set(names)) < len(names):
            raise InvalidInput(f"columns must have distinct names and be one or more, got {names}")

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, *, missing: str | None = None, categorical: Collection[str] | None = None
    ) -> "MixedTable":
        """The table that holds `frame`: text, booleans and categories become categorical, numbers numeric.

        Numbers get their mean, standard deviation (1 where constant) and range; a column is integer where all its
        numbers are whole. Categories are sorted.

        Args:
            frame: One row per sample, features only.
            missing: Declares missing values: NaN, and cells with this text ("?", "nan").
            categorical: Columns to take as categorical although they hold numbers.

        Raises:
            InvalidInput: No rows or columns; a missing value that is not declared; numbers mixed with text;
                more than MOST_CATEGORIES categories; a type that is neither number, text nor boolean, such as lists.
        """
        if not frame.size:
            raise InvalidInput(f"a table must have rows and feature columns, got shape {frame.shape}")
        chosen = frozenset(categorical or ())
        names = [str(name) for name in frame.columns]
        for name in sorted(chosen):
            checks.one_of(names, categorical=name)
        cells = (frame.iloc[:, place] for place in range(len(names)))
        named = zip(names, cells, strict=True)
        return cls(tuple(fit_column(n, c, marker=missing, categorical=n in chosen) for n, c in named), missing)

    @property
    def kind(self) -> str:
        return "continuous" if self.continuous else "mixed table"

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(column.width for column in self.columns),)

    @property
    def continuous(self) -> bool:
        return all(isinstance(c, Numeric) and not (c.integer or c.missing or c.levels) for c in self.columns)

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        sigmas = any(isinstance(column, Numeric) for column in self.columns)
        flips = any(isinstance(column, Categorical) for column in self.columns)
        return tuple(NoiseLevel(sigma=s * sigmas, flip=f * flips) for s, f in LADDER)

    def encode(self, frame: pd.DataFrame) -> Tensor:
        """Inputs (n, width), float32, of a frame that has the table's columns; other columns are ignored.

        Raises:
            InvalidInput: A column is not there; a value is missing and not declared, of an unknown category,
                out of bounds, not a number or not whole; the rows need more memory than there is.
        """
        limits.afford(
            ENCODED * len(frame) * self.shape[0], f"a table of {len(frame):,} x {self.shape[0]:,} encoded values"
        )
        for column in self.columns:
            if column.name not in frame.columns:
                raise InvalidInput(f"frame must have a column {column.name!r}, got {list(frame.columns)}")
        parts = [column.encode(frame[column.name], self.missing) for column in self.columns]
        return torch.from_numpy(np.concatenate(parts, axis=1))

    def decode(self, inputs: Tensor) -> pd.DataFrame:
        """The frame that `inputs` (n, width) encodes.

        Columns have the types that the fitted frame had: booleans, whole numbers, floats, text. Whole numbers come back
        exactly, others within float32 rounding; a missing number becomes NaN. A missing category becomes what missing
        cells were most often: None, NaN, or the text that stands for them. Text has no blanks around it. `FrameCodec`
        restores more.
        """
        self.check(inputs)
        rows = inputs.cpu().numpy()
        starts = np.cumsum([0, *(column.width for column in self.columns)])
        parts = {c.name: c.decode(rows[:, s : s + c.width]) for c, s in zip(self.columns, starts, strict=False)}
        return pd.DataFrame(parts)

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        check_form(inputs, self.shape, name)
        layout = layout_of(self.columns, inputs.device)
        hot, marks = inputs[:, layout.hot], inputs[:, layout.marks]
        layout.refuse(inputs, name, layout.hot, (hot != 0) & (hot != 1), "a category must be 0 or 1")
        ones = layout.per_group(hot)[:, layout.group]
        layout.refuse(inputs, name, layout.hot, ones != 1, "one category of the column must be 1")
        layout.refuse(inputs, name, layout.marks, (marks != 0) & (marks != 1), "an indicator must be 0 or 1")
        values, absent = inputs[:, layout.values], layout.absent(inputs)
        raw = layout.raw(values)
        legal = (raw >= layout.lower - layout.edge) & (raw <= layout.upper + layout.edge)
        whole = ~layout.integer | ((raw - raw.round()).abs() <= WHOLE_SLACK + layout.rounding)
        layout.refuse(inputs, name, layout.values, absent & (values != 0), "a missing value must be 0")
        layout.refuse(inputs, name, layout.values, ~absent & ~legal, "a number must lie within its bounds")
        layout.refuse(inputs, name, layout.values, ~absent & ~whole, "a number must be whole in raw units")
        off_level = layout.off_level(values)
        layout.refuse(inputs, name, layout.values, ~absent & off_level, "a number must be one of those that occur")

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        if not self.continuous:
            raise InvalidInput(f"only a continuous domain can clip, got a {self.kind} with discrete columns")
        legal = layout_of(self.columns, inputs.device).settled(inputs)
        return legal if out is None else out.copy_(legal)

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        """Per copy: a Gaussian for each number, then per categorical column one uniform for whether it is
        redrawn, then one for which category comes."""
        layout = layout_of(self.columns, torch.device("cpu"))
        gaussian = torch.randn(draws, len(layout.values), generator=generator)
        return torch.cat([gaussian, torch.rand(draws, 2 * len(layout.sizes), generator=generator)], dim=1)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        """Legal noisy copies (n, draws, width) of `inputs` (n, width).

        Numbers get Gaussian noise of `sigma` standard deviations, are clipped to their bounds and rounded where
        integer; a missing number stays missing. Each category is, with probability `flip`, replaced by one of the
        column's other categories, all equally likely: `flip` is the probability of a change.
        """
        layout = layout_of(self.columns, inputs.device)
        source, numbers, groups = source.to(inputs.device), len(layout.values), len(layout.sizes)
        gaussian, whether, which = (
            source[:, :numbers],
            source[:, numbers : numbers + groups],
            source[:, numbers + groups :],
        )
        copies = inputs[:, None].repeat(1, len(source), 1)
        if level.sigma:
            values, absent = inputs[:, None, layout.values], layout.absent(inputs)[:, None]
            copies[..., layout.values] = torch.where(absent, values, layout.settled(values + level.sigma * gaussian))
        if level.flip:
            old = layout.per_group(inputs[:, layout.hot] * layout.place)[:, None].long()
            others = torch.minimum((which * (layout.sizes - 1)).long(), layout.sizes - 2)
            new = torch.where((whether < level.flip) & (layout.sizes > 1), others + (others >= old).long(), old)
            copies[..., layout.hot] = (new[..., layout.group] == layout.place).to(inputs.dtype)
        return copies

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Rows (count, width), uniform within the bounds and over the categories; nothing is missing."""
        layout = layout_of(self.columns, torch.device("cpu"))
        uniform = torch.rand(count, len(layout.values), generator=generator, dtype=torch.float64)
        raw = layout.lower + uniform * (layout.upper - layout.lower + layout.integer.double())
        rows = torch.zeros(count, *self.shape)
        rows[:, layout.values] = layout.encoded(torch.where(layout.integer, raw.floor(), raw))
        drawn = torch.rand(count, len(layout.sizes), generator=generator) * layout.sizes
        chosen = torch.minimum(drawn.long(), layout.sizes - 1)
        rows[:, layout.hot] = (chosen[:, layout.group] == layout.place).float()
        return rows

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        weights = torch.ones(self.shape, dtype=torch.float64, device=first.device)
        weights[layout_of(self.columns, first.device).hot] = 0.5  # Two categories differ in two places.
        return ((first - second).double().square() * weights).sum(1).sqrt().to(torch.float32)

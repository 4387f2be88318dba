"""Numbers in float64 that float32, in which samples are kept, cannot tell apart."""

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput

COARSEST = 2.0**-12  # Of a column's standard deviation: a larger step of float32 may take different values for one.


def check_precision(values: Tensor, name: str) -> None:
    """Refuses values (n, ...) of float64 of which float32 takes different ones for one; errors call them `name`.

    Each column of vectors (n, d) is looked at alone, other arrays as a whole. Columns whose spread is wide against the
    steps of float32 pass, though single values may be rounded to one. Other types than float64 pass.

    Raises:
        InvalidInput: Different values become one.

    Example:
        >>> import torch
        >>> from hardlabel.data.precision import check_precision
        >>> check_precision(torch.tensor([[1.7e9], [1.7e9 + 60]], dtype=torch.float64), "inputs")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: inputs must differ by more than float32 rounds, got 1700000000.0 and ...
    """
    if values.dtype != torch.float64 or not values.numel() or not bool(torch.isfinite(values).all()):
        return
    columns = values if values.ndim == 2 else values.reshape(-1, 1)
    step = torch.finfo(torch.float32).eps * columns.abs().amax(0)
    coarse = (step > COARSEST * columns.std(0, correction=0)) & (columns != columns[0]).any(0)
    for column in coarse.nonzero().flatten().tolist():
        exact = columns[:, column].sort().values
        exact = exact[torch.cat([torch.ones(1, dtype=torch.bool), exact.diff() > 0])]
        alike = (exact.to(torch.float32).diff() == 0).nonzero().flatten()
        if len(alike):
            place = int(alike[0])
            where = f" in column {column}" if values.ndim == 2 else ""
            raise InvalidInput(
                f"{name} must differ by more than float32 rounds, got {float(exact[place])!r} and "
                f"{float(exact[place + 1])!r}{where}: give the rows as a table (a frame, .csv or .parquet), which "
                "keeps them, as float32 if the target was trained on float32, or less an offset if it was trained so"
            )

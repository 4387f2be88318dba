"""Names of records that their holder can recognise in every run, and nobody else can resolve."""

import json
import math
from dataclasses import replace

from hardlabel import secret
from hardlabel.data.columns import Categorical, Cells, Numeric
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable


def pseudonyms(samples: Samples) -> list[str]:
    """The pseudonym of each of n samples, 10 hexadecimal digits: a keyed hash of its inputs.

    The key is the data holder's secret (`hardlabel.secret`). Id, label, seed and the other samples play no part, so the
    same record has the same pseudonym in all runs of one holder. Of a table the raw values count, to a hundredth of a
    standard deviation or better: other rows may change how numbers are encoded.

    Raises:
        InvalidInput: The secret cannot be read.

    Example:
        >>> import numpy as np
        >>> import torch
        >>> from hardlabel.data.dataset import labelled
        >>> from hardlabel.data.pseudonyms import pseudonyms
        >>> points, labels = torch.tensor([[0.0, 1.0], [1.0, 1.0]]), np.array([0, 1])
        >>> data = labelled("two", points, labels, domain=None, origin="made up")
        >>> first, second = pseudonyms(data.samples)
        >>> first == pseudonyms(data.samples.take(slice(0, 1)))[0] != second
        True
    """
    return [secret.keyed(content, purpose="record") for content in _contents(samples)]


def numbers(samples: Samples) -> dict[int, int]:
    """The number by which records and scores call each sample, by its id: its place in the order of pseudonyms.

    Ids of data from files are row numbers, and those of arrays follow from the seed; these numbers show neither.

    Raises:
        InvalidInput: The secret cannot be read.
    """
    named = sorted(zip(pseudonyms(samples), samples.ids.tolist(), strict=True))
    return {sample_id: number for number, (_, sample_id) in enumerate(named)}


def _contents(samples: Samples) -> list[bytes]:
    """What tells each sample's inputs from others: of a table the raw values, else shape and values."""
    if isinstance(samples.domain, MixedTable):
        columns = samples.domain.columns
        # Categories by what they are called: the types of their cells came later than the first pseudonyms.
        called = tuple(replace(c, values=None, dtype=None) if isinstance(c, Categorical) else c for c in columns)
        frame = MixedTable(called, samples.domain.missing).decode(samples.inputs)
        texts = [_texts(column, frame[column.name]) for column in called]
        names = [column.name for column in columns]
        return [json.dumps([names, row]).encode() for row in zip(*texts, strict=True)]
    inputs = samples.inputs.detach().cpu().contiguous()
    shape = repr(tuple(inputs.shape[1:])).encode()
    return [shape + row.tobytes() for row in inputs.numpy()]


def _texts(column: Numeric | Categorical, cells: Cells) -> list[str]:
    """The cells as texts that do not depend on how the column is encoded.

    Numbers that may be fractions are counted in hundredths of the column's standard deviation, or down to thousandths:
    in a power of ten. They come back from float32 with its rounding, which this is too coarse to see, but for one value
    in ten thousand.
    """
    step = 1.0
    if isinstance(column, Numeric) and not column.integer:
        step = 10.0 ** (math.floor(math.log10(column.scale)) - 2)
    missing = cells.isna()
    if isinstance(column, Categorical):
        return ["" if gone else str(cell) for cell, gone in zip(cells, missing, strict=True)]
    return ["" if gone else f"{round(cell / step)} x {step:g}" for cell, gone in zip(cells, missing, strict=True)]

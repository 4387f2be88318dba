"""A loaded data set: rows with ids, labels that count from 0, and what the labels were called."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, infer_domain
from hardlabel.data.samples import Samples

LONGEST_NAME = 1000  # Characters of a label; more is a text, not the name of a class.
MANY_CLASSES = 20  # From here on, labels that mostly occur once are taken for numbers, not classes.


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Loaded data.

    Attributes:
        name: What it was asked for by: a named source, or a file's name.
        samples: All rows; ids are row numbers in the source's order, train rows before test rows.
        classes: Number of classes.
        class_names: What label i was called in the source, (classes,).
        origin: Where it comes from, in one line.
    """

    name: str
    samples: Samples
    classes: int
    class_names: tuple[str, ...]
    origin: str


def labelled(
    name: str,
    inputs: Tensor,
    labels: NDArray[np.generic],
    *,
    domain: Domain | None,
    origin: str,
    names: list[str] | None = None,
) -> Dataset:
    """A data set whose labels, of any type, become 0 to C - 1; `names` are those of labels that are so already."""
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise InvalidInput(f"labels must be one per input, got shape {labels.shape} for {len(inputs)} inputs")
    try:
        codes, values = pd.factorize(labels)
    except TypeError as error:
        raise InvalidInput(f"labels must be numbers or text, got {error}") from error
    longest = max((len(value) for value in values if isinstance(value, str | bytes)), default=0)
    if longest > LONGEST_NAME:
        raise InvalidInput(f"labels must name classes, got a text of {longest:,} characters")
    if (codes < 0).any():
        raise InvalidInput(f"labels must not be missing, got {labels[codes < 0][0]} in row {int((codes < 0).argmax())}")
    if any(isinstance(value, float | np.floating) and not float(value).is_integer() for value in values):
        raise InvalidInput("labels must name classes, got numbers that are not whole")
    try:
        order = sorted(range(len(values)), key=lambda place: values[place])
    except TypeError as error:
        raise InvalidInput(f"labels must be of one type, got {error}") from error
    if len(order) < 2:
        raise InvalidInput(f"labels must name at least 2 classes, got {len(order)}")
    if len(order) > MANY_CLASSES and (np.bincount(codes) == 1).mean() > 0.5:
        raise InvalidInput(
            f"labels must name classes, got {len(order)} different values in {len(labels)} rows, most of them once"
        )
    if names is not None and all(isinstance(v, int | np.integer) and 0 <= v < len(names) for v in values):
        codes = labels.astype(np.int64)
        return coded(name, inputs, torch.from_numpy(codes), class_names=names, domain=domain, origin=origin)
    place_of = np.empty(len(order), dtype=np.int64)
    place_of[order] = np.arange(len(order))
    called = [values[place] for place in order]
    texts = [str(int(v)) if isinstance(v, float | np.floating) else str(v) for v in called]
    return coded(name, inputs, torch.from_numpy(place_of[codes]), class_names=texts, domain=domain, origin=origin)


def coded(
    name: str, inputs: Tensor, labels: Tensor, *, class_names: list[str], domain: Domain | None, origin: str
) -> Dataset:
    """A data set whose labels are 0 to C - 1 already; a domain of None is inferred."""
    samples = Samples(
        ids=torch.arange(len(inputs)), inputs=inputs, labels=labels, domain=domain or infer_domain(inputs)
    )
    return Dataset(name=name, samples=samples, classes=len(class_names), class_names=tuple(class_names), origin=origin)

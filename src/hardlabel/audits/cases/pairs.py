"""Pairs of samples and labels as the caller gives them: read into points and classes, in whatever terms they are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec, is_codec
from hardlabel.data.codecs.choosing import codec_of, is_frame_or_text
from hardlabel.data.codecs.labels import ClassNames, answered_names
from hardlabel.data.domain import LARGEST_WHOLE, BinaryFeatures, Box, Domain, infer_domain
from hardlabel.targets.coded import Coding

Pair = tuple[Any, Any]  # Inputs (n, ...) and labels (n,): arrays, tensors, frames, lists of texts.


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """Pairs that were read.

    Attributes:
        groups: Points (n, *shape), of their own type, and classes (n,), int64, by group.
        domain: Which points are legal.
        coding: The terms in which the caller gives them, and in which models trained on them answer.
        arrays: Whether the caller gives other things than tensors.
        notes: What the reader must know about the domain and the labels.
        answers: The labels as the target answers with them; None where these are classes.
    """

    groups: dict[str, tuple[Tensor, Tensor]]
    domain: Domain
    coding: Coding
    arrays: bool
    notes: tuple[str, ...]
    answers: ClassNames | None = None

    @property
    def target_coding(self) -> Coding:
        """The terms in which the target is asked and answers."""
        return Coding(inputs=self.coding.inputs, labels=self.answers)


def read_pairs(
    pairs: Mapping[str, object],
    domain: Domain | Codec | None,
    *,
    known: Iterable[object] | None = None,
    width: Callable[[Tensor, Coding], int] | None = None,
    label_map: Sequence[str] = (),
) -> Read:
    """Reads pairs (inputs, labels) by group, all in the same terms.

    Args:
        pairs: The pairs.
        domain: Which points are legal, or the codec of the inputs; None to choose by the inputs.
        known: The labels that the target says it knows; None if it does not say.
        width: Number of outputs of a target without names, which is asked about one point; None if it cannot be asked.
        label_map: "ANSWER=LABEL" for each answer of the target that is no label of the data.

    Raises:
        InvalidInput: A pair, its values or its labels break a rule.
    """
    parts = {name: _parts(pair, name) for name, pair in pairs.items()}
    inputs = {name: part[0] for name, part in parts.items()}
    in_words = any(is_frame_or_text(given) for given in inputs.values())
    arrays = {} if in_words else {name: _points(given, name) for name, given in inputs.items()}
    codec = domain if is_codec(domain) else codec_of(inputs, cast("Domain | None", domain))
    notes = []
    if codec is not None:
        points = {name: codec.encode(given, f"inputs of {name}") for name, given in inputs.items()}
        notes.append(f"The samples were read as {codec.summary}.")
    else:
        points = arrays
    labels = {name: part[1] for name, part in parts.items()}
    for name, given in labels.items():
        if hasattr(given, "__len__") and np.ndim(given) and len(given) != len(points[name]):
            raise InvalidInput(
                f"{name} must hold one label per input, got {len(points[name])} inputs, {len(given)} labels"
            )
    first = next(iter(points.values()))[:1].to(torch.float32)
    answers = answered_names(
        labels,
        known=known,
        width=None if width is None else lambda: width(first, Coding(inputs=codec)),
        label_map=label_map,
    )
    names = None if answers is None else answers.of_data
    groups = {
        name: (
            group,
            _classes(labels[name], len(group), name)
            if names is None
            else names.encode(labels[name], f"labels of {name}"),
        )
        for name, group in points.items()
    }
    if names is not None and label_map:
        notes.append(f"The labels name {names.classes} classes; the label map says which answers mean them.")
    elif names is not None and known is not None:
        notes.append(f"The labels name {names.classes} classes, as the target names them.")
    elif names is not None:
        notes.append(
            f"The labels name {names.classes} classes; in order, the first is taken for class 0 of a target that "
            "numbers its outputs."
        )
    if codec is not None:
        legal = codec.domain
    elif domain is None:
        legal = _inferred(groups)
        notes.append(f"The domain was inferred from the inputs: {legal.kind}, {legal}.")
    else:
        legal = cast(Domain, domain)
    return Read(
        groups=groups,
        domain=legal,
        coding=Coding(inputs=codec, labels=names),
        arrays=not isinstance(next(iter(inputs.values())), Tensor),
        notes=tuple(notes),
        answers=answers,
    )


def _parts(pair: object, name: str) -> tuple[Any, Any]:
    try:
        inputs, labels = cast("tuple[Any, Any]", pair)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a pair (inputs, labels), got {type(pair).__name__}") from error
    return inputs, labels


def settled(inputs: Tensor, domain: Domain, name: str) -> Tensor:
    """Inputs of any type as float32, checked by the domain."""
    if isinstance(domain, Box | BinaryFeatures):
        domain.check(inputs, name)  # As given: float32 rounds.
        return inputs.to(torch.float32)
    settled = inputs.to(torch.float32)
    domain.check(settled, name)
    return settled


def _points(inputs: object, name: str) -> Tensor:
    """Inputs (n, *shape) of their own type."""
    try:
        points = _tensor(inputs, name, "inputs")
    except InvalidInput:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} must hold arrays of numbers, a frame or texts, got {type(inputs).__name__} "
            f"({' '.join(str(error).split())})"
        ) from error
    if points.ndim < 2 or not len(points):
        raise InvalidInput(f"{name} must hold at least one sample (n, ...), got shape {tuple(points.shape)}")
    if not points.is_floating_point() and points.dtype != torch.bool and points.numel():
        largest = max(int(points.max()), int(points.min()), key=abs)
        if abs(largest) > LARGEST_WHOLE:
            raise InvalidInput(
                f"{name} must hold whole numbers up to 2**24 = {LARGEST_WHOLE} in size, which float32 holds exactly, "
                f"got {largest}: give codes as a frame (pandas.DataFrame), measurements rescaled and as floats"
            )
    return points


def _classes(labels: object, rows: int, name: str) -> Tensor:
    """Labels (n,) that are classes, as int64."""
    classes = _tensor(labels, name, "labels")
    if classes.ndim != 1:
        raise InvalidInput(
            f"labels of {name} must be whole numbers ({rows},), got {classes.dtype} {tuple(classes.shape)}"
        )
    return classes.to(torch.int64)


def _tensor(values: object, group: str, name: str) -> Tensor:
    """The values on the CPU, of their own type; unsigned integers of 16 bits and more become int64."""
    if isinstance(values, Tensor):
        if values.is_complex():
            raise InvalidInput(f"{group} must hold arrays of real numbers, got {name} of type {_type(values)}")
        values = values.detach().cpu()
        if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
            return _tensor(values.numpy(), group, name)
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InvalidInput(
            f"{group} must hold arrays of real numbers, got {name} of type {array.dtype}; a table with text or codes "
            "is given as a frame (pandas.DataFrame)"
        )
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise InvalidInput(f"{name} of {group} must be below 2**63, got {int(array.max())}")
        array = array.astype(np.int64)
    # PyTorch warns about read-only arrays, which Pandas returns.
    return torch.as_tensor(array if array.flags.writeable else array.copy())


def _type(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _inferred(arrays: dict[str, tuple[Tensor, Tensor]]) -> Domain:
    shapes = {tuple(inputs.shape[1:]) for inputs, _ in arrays.values()}
    if len(shapes) > 1:
        listed = ", ".join(f"{group} {tuple(inputs.shape)}" for group, (inputs, _) in arrays.items())
        raise InvalidInput(f"inputs must agree in shape, got {listed}")
    if len({inputs.is_floating_point() for inputs, _ in arrays.values()}) > 1:
        listed = ", ".join(f"{group} {_type(inputs)}" for group, (inputs, _) in arrays.items())
        raise InvalidInput(f"inputs must all be whole numbers or all be floats, got {listed}; or pass domain=")
    return infer_domain(torch.cat([inputs for inputs, _ in arrays.values()]))

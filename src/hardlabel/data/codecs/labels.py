"""Labels as the caller has them: names, booleans, numbers from 1 on, numbers with gaps."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel.checks import InvalidInput, listed, shown

Label: TypeAlias = str | bool | int | float

_KINDS = {"b": "booleans", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "U": "text", "O": "text"}


@dataclass(frozen=True)
class ClassNames:
    """The labels that a caller uses; label i stands for class i.

    Attributes:
        labels: One label for each class, all different.
        answers: What a target answers instead, and the label that it means.

    Raises:
        InvalidInput: Two labels are equal, or an answer means no label.

    Example:
        >>> from hardlabel.data.codecs.labels import ClassNames
        >>> names = ClassNames(("no", "yes"))
        >>> names.encode(["yes", "no"])
        tensor([1, 0])
        >>> names.decode(names.encode(["yes", "no"])).tolist()
        ['yes', 'no']
    """

    labels: tuple[Label, ...]
    answers: tuple[tuple[Label, Label], ...] = field(default=())

    def __post_init__(self) -> None:
        if len(set(self.labels)) < len(self.labels):
            raise InvalidInput(f"labels must be different, got {listed(self.labels)}")
        for answer, label in self.answers:
            if label not in self._classes:
                raise InvalidInput(f"label_map must name labels of the data ({listed(self.labels)}), got {label!r}")
            if answer in self._classes and answer != label:
                raise InvalidInput(f"label_map must not give a label of the data another meaning, got {answer!r}")

    @cached_property
    def _classes(self) -> dict[Label, int]:
        return {label: number for number, label in enumerate(self.labels)}

    @cached_property
    def _meant(self) -> dict[Label, int]:
        return {**self._classes, **{answer: self._classes[label] for answer, label in self.answers}}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    def mapped(self, pairs: Iterable[str]) -> "ClassNames":
        """The same labels, with further answers that mean them, each as "ANSWER=LABEL".

        Raises:
            InvalidInput: A pair has no "=", or names no label of the data.

        Example:
            >>> from hardlabel.data.codecs.labels import ClassNames
            >>> ClassNames(("no", "yes")).mapped(["Y=yes", "1=yes"]).encode(["Y", "no", 1])
            tensor([1, 0, 1])
        """
        labels = {str(label): label for label in self.labels}
        answers: list[tuple[Label, Label]] = []
        for pair in pairs:
            answer, equal, label = pair.rpartition("=")
            if not equal or label not in labels:
                raise InvalidInput(f"label_map must be ANSWER=LABEL with a label of {listed(labels)}, got {pair!r}")
            answers.append((answer, labels[label]))
            if answer.lstrip("-").isdigit():
                answers.append((int(answer), labels[label]))
        return ClassNames(self.labels, tuple(answers))

    def encode(self, labels: object, name: str = "labels") -> Tensor:
        """Classes (n,), int64, of labels (n,); answers that mean a label count as this label.

        Raises:
            InvalidInput: Some are no label. The error says how many, and shows the first.
        """
        codes, values = pd.factorize(_flat(labels, name))
        place = np.array([self._meant.get(_plain(value), -1) for value in values] + [-1], dtype=np.int64)
        classes = place[codes]
        if (classes < 0).any():
            row = int((classes < 0).argmax())
            got = shown(_plain(_flat(labels, name)[row]))
            raise InvalidInput(
                f"{name} must be {listed(map(repr, self.labels))}, got others for {int((classes < 0).sum())} of "
                f"{len(classes)} (the first is row {row}: {got}): --label-map {got}=LABEL says what it means"
            )
        return torch.from_numpy(classes)

    def decode(self, classes: Tensor) -> NDArray[Any]:
        """The labels (n,) of classes (n,), as a new array."""
        values: NDArray[Any] = np.array(self.labels)
        if values.dtype.kind not in _KINDS or len({type(label) for label in self.labels}) > 1:
            values = np.array(self.labels, dtype=object)
        labels: NDArray[Any] = values[classes.cpu().numpy()]
        return labels


def class_names(
    groups: Mapping[str, object], *, known: Iterable[object] | None = None, width: Callable[[], int] | None = None
) -> ClassNames | None:
    """The labels of a task; None where they are classes already: whole numbers from 0 on.

    Text, booleans and other whole numbers are put in order: the first is class 0. Of a target that does not say which
    labels it knows, whole numbers from 0 on are the numbers of its outputs, gaps included.

    Args:
        groups: Labels (n,) by group.
        known: The labels that the target says it knows; None if it does not say.
        width: Tells the number of outputs of a target without names, and is called only where it matters; or None.

    Raises:
        InvalidInput: A label is missing or no whole number, text or boolean; labels are of several sorts; the target's
            labels are of another sort; or it is not clear which number means which of `width` outputs.
    """
    values: dict[Label, None] = {}
    sorts: dict[str, str] = {}
    for name, labels in groups.items():
        array = _flat(labels, f"labels of {name}")
        sorts[name] = _sort(array, name)
        values |= dict.fromkeys(_plain(value) for value in pd.unique(array))
    if len(set(sorts.values())) > 1:
        listed_sorts = ", ".join(f"{name} {sort}" for name, sort in sorts.items())
        raise InvalidInput(f"labels must be of one sort in all groups, got {listed_sorts}")
    if known is not None:
        own = [_plain(label) for label in known]
        strange = [label for label in own if isinstance(label, str) != isinstance(next(iter(values)), str)]
        if strange:
            # The answers would never be equal to a label: the audit would find an accuracy of 0.
            raise InvalidInput(
                f"labels must be of the sort that the target answers with, {shown(strange[0])}, got "
                f"{shown(next(iter(values)))}: give the labels that the target was trained on, or map them by label_map"
            )
        _check_known(values, own)
        values = dict.fromkeys(own) | values
    ordered = sorted(values, key=lambda label: (isinstance(label, str), label))
    if "whole numbers" in sorts.values() and _are_classes(ordered, known=known is not None, width=width):
        return None
    return ClassNames(tuple(ordered))


def _check_known(labels: Iterable[Any], known: list[Any]) -> None:
    """Refuses text that differs from a label of the target in white space or in capital letters only."""
    alike = {_letters(label) for label in known}
    for label in labels:
        if isinstance(label, str) and label not in known and _letters(label) in alike:
            raise InvalidInput(
                f"labels must be those that the target knows, {listed(map(repr, known))}, got {shown(label)}: "
                "--label-map ANSWER=LABEL says which answer means which label"
            )


def _letters(label: object) -> str:
    return "".join(str(label).split()).casefold()


def _are_classes(numbers: list[Any], *, known: bool, width: Callable[[], int] | None) -> bool:
    """Whether whole numbers, in order, are classes as they are.

    Raises:
        InvalidInput: The target has another number of outputs, and it is not clear which number means which.
    """
    if known or width is None or numbers == list(range(len(numbers))):
        return numbers == list(range(len(numbers))) if known else bool(numbers[0] >= 0)
    outputs = width()
    if numbers[0] >= 0 and numbers[-1] < outputs:
        return True
    if len(numbers) != outputs:
        raise InvalidInput(
            f"labels must be below the target's {outputs} classes, got {len(numbers)} labels from {numbers[0]} to "
            f"{numbers[-1]}: number them from 0, as the target's outputs are"
        )
    return False


def _flat(labels: object, name: str) -> NDArray[Any]:
    """The labels as an array (n,); a column (n, 1) counts as one."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    array: NDArray[Any] = labels.to_numpy() if isinstance(labels, pd.Series | pd.DataFrame) else np.asarray(labels)
    if array.dtype.kind in "US" and isinstance(labels, list | tuple):
        array = np.array(labels, dtype=object)  # NumPy would make text of numbers that stand among text.
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise InvalidInput(f"{name} must be one for each sample (n,), got shape {array.shape}")
    return array


def _sort(array: NDArray[Any], name: str) -> str:
    """The sort of labels: "text", "booleans" or "whole numbers"."""
    absent = pd.isna(array)
    if absent.any():
        raise InvalidInput(
            f"labels of {name} must not be missing, got {array[absent][0]} in row {int(absent.argmax())}"
        )
    kinds = {type(_plain(value)) for value in pd.unique(array)}
    sort = {frozenset({str}): "text", frozenset({bool}): "booleans"}.get(frozenset(kinds))
    if sort is None and kinds <= {int, float}:
        sort = "whole numbers"
        fractions = [value for value in pd.unique(array) if not float(value).is_integer()]
        if fractions:
            raise InvalidInput(
                f"labels of {name} must name classes, got the number {fractions[0]}: a regression has no classes"
            )
    if sort is None:
        raise InvalidInput(
            f"labels of {name} must all be text, all whole numbers or all booleans, got "
            f"{listed(sorted(kind.__name__ for kind in kinds))}"
        )
    return sort


def _plain(value: object) -> Any:
    """The value with Python's type; a whole number in place of a float without a fraction."""
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value

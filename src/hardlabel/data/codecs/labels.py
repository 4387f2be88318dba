"""Labels as the caller has them: names, booleans, numbers from 1 on, numbers with gaps."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel.checks import InvalidInput, listed, shown

Label: TypeAlias = str | bool | int | float
K = TypeVar("K")
V = TypeVar("V")

MOST_PAIRS = 20  # Of a map that an error writes out to be pasted.

_KINDS = {"b": "booleans", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "U": "text", "O": "text"}


@dataclass(frozen=True)
class ClassNames:
    """The labels that a caller uses; label i stands for class i.

    An answer that is not in `answers` means the label it is equal to. Where an answer means another label than the
    equal one, `answers` must cover the data: each label is the meaning of some answer. Then it holds all answers, and
    others are refused. Each answer is read once: with 0 -> 1 and 1 -> 2, the answer 0 means the label 1.

    Attributes:
        labels: One label for each class, all different.
        answers: What a target answers instead, and the label that it means.

    Raises:
        InvalidInput: Two labels are equal, an answer means no label or two labels, or a label of the data is given
            another meaning by answers that do not cover the data.

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
        meanings: dict[Label, Label] = {}
        for answer, label in self.answers:
            if label not in self._classes:
                raise InvalidInput(f"label_map must name labels of the data ({listed(self.labels)}), got {label!r}")
            if meanings.setdefault(answer, label) != label:
                both = f"{meanings[answer]!r} and {label!r}"
                raise InvalidInput(f"label_map must give each answer one meaning, got {both} for {answer!r}")
        left = [label for label in self.labels if label not in meanings.values()]
        if self._changed and left:
            raise InvalidInput(
                f"label_map must not give a label of the data another meaning, got {self._changed[0]!r}, unless each "
                f"label is the meaning of an answer: no answer means {listed(map(repr, left))}"
            )

    @cached_property
    def _classes(self) -> dict[Label, int]:
        return {label: number for number, label in enumerate(self.labels)}

    @property
    def _changed(self) -> list[Label]:
        """The labels of the data that mean another label where the target answers with them."""
        return [answer for answer, label in self.answers if answer in self._classes and answer != label]

    @cached_property
    def _meant(self) -> dict[Label, int]:
        return all_meanings(self._classes, {answer: self._classes[label] for answer, label in self.answers})

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def of_data(self) -> "ClassNames":
        """The same classes for the data and for models that were trained on them: a label means itself.

        Example:
            >>> from hardlabel.data.codecs.labels import ClassNames
            >>> target = ClassNames((1, 2)).mapped(["0=1", "1=2"])
            >>> target.encode([0, 1]), target.of_data.encode([1, 2])
            (tensor([0, 1]), tensor([0, 1]))
        """
        if not self._changed:
            return self
        return ClassNames(self.labels, tuple(pair for pair in self.answers if pair[0] not in self._classes))

    def of_target(self, known: Iterable[object]) -> "ClassNames":
        """The same classes as the target names them, for models that are trained as it was.

        Where two of the `known` labels of the target mean one class, or a label of the data would be taken for another
        one of the target, it is `of_data`.

        Example:
            >>> from hardlabel.data.codecs.labels import ClassNames
            >>> ClassNames((1, 2)).mapped(["0=1", "1=2"]).of_target([0, 1]).labels
            (0, 1)
        """
        own = [_plain(label) for label in known]
        classes = [self._meant[label] for label in own if label in self._meant]
        names = dict(enumerate(self.labels)) | dict(zip(classes, own, strict=False))
        alike = len(set(classes)) < len(own) or len(set(names.values())) < len(names)
        return self.of_data if alike else ClassNames(tuple(names.values()))

    def mapped(self, pairs: Iterable[str], *, known: Iterable[object] | None = None) -> "ClassNames":
        """The same labels, with further answers that mean them, each as "ANSWER=LABEL".

        A label that the data do not have becomes a further class, if each label of the data is the meaning of a pair.

        Args:
            pairs: The pairs, the target's name of a class first.
            known: The labels that the target says it knows; None if it does not say.

        Raises:
            InvalidInput: A pair has no "=", or names no label; an answer has two meanings; a label of the data is given
                another meaning by pairs that do not cover the data; or two labels that the target knows mean the same,
                and none means some label of the data.

        Example:
            >>> from hardlabel.data.codecs.labels import ClassNames
            >>> ClassNames(("no", "yes")).mapped(["Y=yes", "1=yes"]).encode(["Y", "no", 1])
            tensor([1, 0, 1])
        """
        given = list(pairs)
        labels = self._named(given)
        answers: list[tuple[Label, Label]] = []
        for pair in given:
            answer, label = _split(pair, labels)
            answers += [(meant, labels[label]) for meant in _values(answer)]
        made = ClassNames(tuple(labels.values()), tuple(answers))
        if known is not None:
            made._check_meanings([_plain(label) for label in known], self.labels)
        return made

    def numbered(self, outputs: int) -> "ClassNames":
        """The same labels, in the order of the numbered outputs of a target: output i is class i.

        Args:
            outputs: Number of outputs of the target.

        Raises:
            InvalidInput: `answers` names some outputs but not all, or gives two of them one meaning.

        Example:
            >>> from hardlabel.data.codecs.labels import ClassNames
            >>> ClassNames(("no", "yes")).mapped(["1=no", "0=yes"]).numbered(2).labels
            ('yes', 'no')
        """
        meant = {answer: label for answer, label in self.answers if isinstance(answer, int)}
        if not meant:
            return self
        lacking = [output for output in range(outputs) if output not in meant]
        if lacking:
            raise InvalidInput(
                f"label_map must say what each of the target's outputs 0 to {outputs - 1} means, got no meaning of "
                f"{listed(lacking)}"
            )
        ordered = tuple(meant[output] for output in range(outputs))
        if len(set(ordered)) < outputs:
            twice = next(label for label, count in Counter(ordered).items() if count > 1)
            raise InvalidInput(
                f"label_map must give each of the target's outputs another meaning, got {twice!r} for several"
            )
        rest = tuple(label for label in self.labels if label not in ordered)
        return ClassNames(ordered + rest, self.answers)

    def _named(self, pairs: Iterable[str]) -> dict[str, Label]:
        """The labels by their text, with those that only the pairs name, if the pairs cover the data."""
        labels = {str(label): label for label in self.labels}
        named = [pair.rpartition("=")[2] for pair in pairs if "=" in pair and not _splits(pair, labels)]
        covered = {label for pair in pairs for _, label in _splits(pair, labels)}
        if covered < set(labels):
            return labels
        if all(isinstance(label, str) for label in self.labels):
            return labels | {text: text for text in named if text}
        if any(isinstance(label, bool) for label in self.labels):
            return labels
        return labels | {text: int(text) for text in named if _is_whole(text)}

    def _check_meanings(self, known: list[Label], of_data: tuple[Label, ...]) -> None:
        """Refuses two labels of the target with one meaning, where some label of the data is none's meaning."""
        meant = {label: self._meant[label] for label in known if label in self._meant}
        left = [label for label in of_data if self._classes[label] not in meant.values()]
        classes = Counter(meant.values())
        alike = [label for label, number in meant.items() if classes[number] > 1]
        if alike and left:
            raise InvalidInput(
                f"label_map must say what each answer of the target means: {self.labels[meant[alike[0]]]!r} is the "
                f"meaning of several ({listed(map(repr, alike))}), {listed(map(repr, left))} of none"
            )

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
                f"{shown(next(iter(values)))}: give the labels that the target was trained on, or say what its answers "
                f"mean, --label-map ANSWER=LABEL for each of {listed(map(repr, own))}"
            )
        _check_known(values, own)
        values = dict.fromkeys(own) | values
    ordered = sorted(values, key=lambda label: (isinstance(label, str), label))
    if "whole numbers" in sorts.values() and _are_classes(ordered, known=known is not None, width=width):
        return None
    return ClassNames(tuple(ordered))


def all_meanings(own: Mapping[K, V], mapped: Mapping[K, V]) -> dict[K, V]:
    """What every answer means: its own meaning or the mapped one; the mapped alone where they change an own one.

    Example:
        >>> from hardlabel.data.codecs.labels import all_meanings
        >>> all_meanings({"no": 0, "yes": 1}, {"Y": 1}), all_meanings({0: 0, 1: 1}, {0: 1, 1: 0})
        ({'no': 0, 'yes': 1, 'Y': 1}, {0: 1, 1: 0})
    """
    changed = any(own.get(answer, meaning) != meaning for answer, meaning in mapped.items())
    return dict(mapped) if changed else {**own, **mapped}


def answered_names(
    groups: Mapping[str, object],
    *,
    known: Iterable[object] | None = None,
    width: Callable[[], int] | None = None,
    label_map: Sequence[str] = (),
) -> ClassNames | None:
    """The labels of a task, as the target answers with them; see `class_names` for the other arguments and errors.

    The data, and models that are trained on them, use `ClassNames.of_data`.

    Args:
        label_map: "ANSWER=LABEL" for each answer of the target that is no label of the data; see `ClassNames.mapped`.
            Whole numbers are numbers of outputs where the target has no names.

    Example:
        >>> from hardlabel.data.codecs.labels import answered_names
        >>> pairs = [f"{answer}={answer + 1}" for answer in range(4)]
        >>> names = answered_names({"members": [1, 2, 3, 4]}, known=range(4), label_map=pairs)
        >>> names.encode([0, 1, 2, 3]), names.of_data.encode([1, 2, 3, 4])
        (tensor([0, 1, 2, 3]), tensor([0, 1, 2, 3]))
    """
    if not label_map:
        return class_names(groups, known=known, width=width)
    numbers = {int(answer) for pair in label_map if _is_whole(answer := pair.partition("=")[0])}
    outputs = width() if width is not None and numbers else None
    names = class_names(groups, width=width if outputs is None else None)
    if names is None:
        values = {_plain(value) for labels in groups.values() for value in pd.unique(_flat(labels, "labels"))}
        # A number that the target answers with is no class, unless it is a label of the data.
        names = ClassNames(tuple(n for n in range(max(values) + 1) if n in values or n not in numbers))
    names = names.mapped(label_map, known=known)
    return names if outputs is None else names.numbered(outputs)


def _check_known(labels: Iterable[Any], known: list[Any]) -> None:
    """Refuses numbers that count from 1 where the target counts from 0, or the other way round; and text that differs
    from a label of the target in white space or in capital letters only."""
    _check_start(list(labels), known)
    alike = {_letters(label) for label in known}
    for label in labels:
        if isinstance(label, str) and label not in known and _letters(label) in alike:
            raise InvalidInput(
                f"labels must be those that the target knows, {listed(map(repr, known))}, got {shown(label)}: "
                "--label-map ANSWER=LABEL says which answer means which label"
            )


def _check_start(labels: list[Any], known: list[Any]) -> None:
    """Refuses the labels 1 to k of a target that knows 0 to k - 1, and 0 to k - 1 of a target that knows 1 to k."""
    count = len(known)
    from_0, from_1 = set(range(count)), set(range(1, count + 1))
    if (set(known), set(labels)) not in ((from_0, from_1), (from_1, from_0)):
        return
    pairs = [f"--label-map {answer}={label}" for answer, label in zip(sorted(known), sorted(labels), strict=True)]
    way = " ".join(pairs) if count <= MOST_PAIRS else f"{pairs[0]} {pairs[1]} and so on to {pairs[-1]}"
    raise InvalidInput(
        f"labels must be those that the target knows, {min(known)} to {max(known)}, got {min(labels)} to "
        f"{max(labels)}: if its {min(known)} is your {min(labels)} and so on, give {way}"
    )


def _splits(pair: str, labels: Mapping[str, Label]) -> list[tuple[str, str]]:
    """The ways to read a pair as an answer and one of the labels; either may hold "="."""
    places = [place for place, character in enumerate(pair) if character == "="]
    return [(pair[:place], pair[place + 1 :]) for place in places if pair[place + 1 :] in labels]


def _split(pair: str, labels: Mapping[str, Label]) -> tuple[str, str]:
    splits = _splits(pair, labels)
    if not splits:
        raise InvalidInput(f"label_map must be ANSWER=LABEL with a label of {listed(labels)}, got {pair!r}")
    return splits[-1]  # The label as short as it can be.


def _values(answer: str) -> list[Label]:
    """What an answer may be that is written so: text, and the number or the boolean that it says."""
    values: list[Label] = [answer]
    if answer in ("True", "False"):
        values.append(answer == "True")
    elif _is_whole(answer):
        values.append(int(answer))
    return values


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


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

"""What a server answered, read as one label for each row, or as scores.

Scores become labels here, unless the score attacks may have them: nothing else sees them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardlabel.checks import cut, listed, shown
from hardlabel.data.codecs.labels import all_meanings
from hardlabel.oracles.base import LOWEST

LABEL_NAMES = ("label", "labels", "class", "classes", "predict", "prediction", "predictions", "output_label")
SCORE_NAMES = ("probabilities", "probability", "predict_proba", "scores", "logits", "output_probability", "softmax")
SUMS_TO_ONE = 1e-3  # Rows of probabilities do, within the rounding of a server.


class WrongAnswer(ValueError):
    """An answer is not one label or score vector for each row; the message says what it is, in one line."""


@dataclass(eq=False)
class Reading:
    """How answers are read, which stays as it is from the first answer on.

    Attributes:
        labels: The labels of the data, in the order of the target's scores; None before they are known.
        meant: Further answers, with the label that each means.
        numbered: Whether labels are classes from 0 on, which a target with scores may have more of.
        use_scores: Whether the scores are wanted.
    """

    labels: tuple[Any, ...] | None = None
    meant: Mapping[Any, Any] = field(default_factory=dict)
    numbered: bool = False
    use_scores: bool = False
    _scale: str | None = field(default=None, init=False)  # What scores are: probabilities, log probabilities, logits.
    _width: int | None = field(default=None, init=False)

    def read(self, values: Any, rows: int) -> NDArray[Any]:
        """Labels (n,) of values (n,) or (n, 1); scores (n, classes) become labels, or log probabilities if wanted.

        Raises:
            WrongAnswer: They are neither.
        """
        if not isinstance(values, list):
            raise WrongAnswer(f"answered with {_kind(values)} for a list of {rows} answers")
        if len(values) != rows:
            raise WrongAnswer(f"answered {len(values)} times to {rows} rows")
        if not set(map(type, values)) <= {int, float, str}:
            values = [_single(value) for value in values]
        kinds = {_kind(value) for value in {type(value): value for value in values}.values()}
        if len(kinds) != 1:
            raise WrongAnswer(f"answered with {' and '.join(sorted(kinds))} in one answer")
        if isinstance(values[0], list | dict):
            return self._of_scores(self._table(values))
        return self._of_single(values)

    def _table(self, values: list[Any]) -> NDArray[np.float64]:
        """Scores (n, classes)."""
        if isinstance(values[0], dict):
            values = [self._by_label(scores) for scores in values]
        widths = {len(scores) for scores in values}
        if len(widths) != 1 or any(not _is_number(score) for scores in values for score in scores):
            raise WrongAnswer("answered with lists that do not hold equally many numbers for each row")
        return np.array(values, dtype=np.float64)

    def _by_label(self, scores: dict[str, Any]) -> list[Any]:
        """Scores by the label's name, in the order of the labels."""
        if self.labels is None:
            return list(scores.values())
        own = {str(label): place for place, label in enumerate(self.labels)}
        places = all_meanings(own, {str(answer): own[str(label)] for answer, label in self.meant.items()})
        strange = [name for name in scores if name not in places]
        if strange:
            raise WrongAnswer(f"answered with scores of {listed(map(repr, strange))}, labels are {self._listed()}")
        ordered: list[Any] = [None] * len(own)
        for name, score in scores.items():
            if ordered[places[name]] is not None:
                raise WrongAnswer(f"answered with two scores of one label, {shown(self.labels[places[name]])}")
            ordered[places[name]] = score
        if None in ordered:
            if self.use_scores:
                raise WrongAnswer(f"answered with scores of {len(scores)} of {len(own)} labels")
            ordered = [-np.inf if score is None else score for score in ordered]
        return ordered

    def _of_scores(self, scores: NDArray[np.float64]) -> NDArray[Any]:
        if np.isnan(scores).any():
            raise WrongAnswer("answered with scores that are no numbers (NaN)")
        width = scores.shape[1]
        known = None if self.labels is None else len(self.labels)
        if width < 2 or (known is not None and (width < known or (width > known and not self.numbered))):
            wanted = "2 or more" if known is None else str(known)
            raise WrongAnswer(f"answered with {width} scores for each row, labels are {wanted}")
        if self._width not in (None, width):
            raise WrongAnswer(f"answered with {width} scores for each row, {self._width} before")
        self._width = width
        if self.use_scores:
            return self._logarithms(scores)
        return self._named(scores.argmax(1))

    def _of_single(self, values: list[Any]) -> NDArray[Any]:
        """Labels; or numbers between 0 and 1, which are the probability of class 1."""
        numbers = np.array(values, dtype=np.float64) if _is_number(values[0]) else None  # They are of one sort.
        if numbers is not None and not np.isfinite(numbers).all():
            raise WrongAnswer("answered with numbers that are not finite")
        whole = numbers is None or bool((numbers == numbers.round()).all())
        if whole and self._scale != "chance":
            if self.use_scores:
                raise WrongAnswer("answered with labels, where --use-scores needs scores")
            return self._checked(values if numbers is None else list(map(int, numbers.tolist())))
        assert numbers is not None
        if (numbers < 0).any() or (numbers > 1).any() or (self.labels is not None and len(self.labels) > 2):
            raise WrongAnswer(
                f"answered with the number {numbers[np.argmax(numbers != numbers.round())]:g}, which is no label"
            )
        self._scale = "chance"  # From now on 0.0 and 1.0 are chances too.
        return self._of_chances(numbers)

    def _of_chances(self, chances: NDArray[np.float64]) -> NDArray[Any]:
        scores = np.stack([1 - chances, chances], 1)
        if self.use_scores:
            return _log(scores)
        return self._named(scores.argmax(1))

    def _checked(self, values: list[Any]) -> NDArray[Any]:
        """The labels that the answers mean, each of which the data have; "3" may mean the number 3."""
        if self.labels is not None:
            legal = {_key(label): label for label in self.labels} | {
                _key(answer): label for answer, label in self.meant.items()
            }
            texts = {str(label): label for label in self.labels}
            legal = {_key(text): label for text, label in texts.items()} | legal
            if any(legal[_key(label)] != label for label in self.labels):
                # The map says what every answer means.
                legal = {_key(answer): label for answer, label in self.meant.items()}
            different = dict.fromkeys(values)  # They are of one sort: True does not stand beside 1.
            strange = [value for value in different if _key(value) not in legal]
            if strange:
                first, count = strange[0], sum(map(Counter(values).__getitem__, strange))
                raise WrongAnswer(
                    f"answered {shown(first)} for {count} of {len(values)} rows, labels are "
                    f"{self._listed()}: --label-map {cut(str(first), 40)}=LABEL says what it means"
                )
            means = {value: legal[_key(value)] for value in different}
            values = [means[value] for value in values]
        return _objects(values) if str in set(map(type, values)) else np.array(values)

    def _named(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The labels that stand at these places of the scores."""
        if self.labels is None or self.numbered:
            return places
        return _objects([self.labels[place] for place in places])

    def _logarithms(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log probabilities of probabilities, log probabilities or logits: what they are, the first answer tells."""
        scale = self._scale or _scale_of(scores)
        if scale == "probabilities" and not _are_probabilities(scores):
            raise WrongAnswer("answered with scores that do not sum to 1, as those before did")
        self._scale = scale
        if scale == "probabilities":
            return _log(scores)
        with np.errstate(over="ignore"):
            finite = np.nan_to_num(scores, neginf=LOWEST * 100, posinf=-LOWEST * 100)
            top = finite.max(1, keepdims=True)
            logs: NDArray[np.float64] = finite - top - np.log(np.exp(finite - top).sum(1, keepdims=True))
        return np.minimum(logs, 0.0)

    def _listed(self) -> str:
        return listed(map(repr, (self.labels or ())[:10])) + (", ..." if len(self.labels or ()) > 10 else "")


def chosen(outputs: Mapping[str, Any], *, scores: bool) -> Any:
    """The output with labels, or with scores where these are wanted; where there is one of another name, that one.

    Raises:
        WrongAnswer: There are several, and no name tells.
    """
    if not outputs:
        raise WrongAnswer("answered without an output")
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    lower = {name.lower(): value for name, value in outputs.items()}
    for name in (*SCORE_NAMES, *LABEL_NAMES) if scores else (*LABEL_NAMES, *SCORE_NAMES):
        if name in lower:
            return lower[name]
    raise WrongAnswer(
        f"answered with the outputs {listed(map(repr, outputs))}, none of which is called label or probabilities: a "
        "template says where the label stands"
    )


def _single(value: Any) -> Any:
    """The one value in a list of one; the scores by label in a list of mappings with `label` and `score`."""
    if isinstance(value, list) and len(value) == 1 and not isinstance(value[0], dict):
        return _single(value[0])
    pairs = value if isinstance(value, list) else []
    if pairs and all(isinstance(pair, dict) and {"label", "score"} <= pair.keys() for pair in pairs):
        return {str(pair["label"]): pair["score"] for pair in pairs}
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(value: Any) -> tuple[Any, bool]:
    """Tells values apart: True is not 1."""
    return value, isinstance(value, bool)


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in ((bool, "booleans"), (str, "text"), (list, "lists"), (dict, "objects")):
        if isinstance(value, kind):
            return name
    return "numbers"


def _are_probabilities(scores: NDArray[np.float64]) -> bool:
    return bool((scores >= 0).all() and (np.abs(scores.sum(1) - 1) < SUMS_TO_ONE).all())


def _scale_of(scores: NDArray[np.float64]) -> str:
    return "probabilities" if _are_probabilities(scores) else "logits"  # Log probabilities are logits, too.


def _log(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(chances), LOWEST)


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array

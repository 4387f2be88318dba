"""The threat model as types: a LabelOracle answers with classes, only a ScoreOracle with confidences.

A label-only signal receives a `LabelOracle`, which has no way to scores. Any object with the method fits.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class LabelOracle(Protocol):
    """A classifier that answers with a hard label."""

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Labels `inputs` (q, *shape), float32; query i is charged to sample `ids[i]`.

        Returns:
            Classes, 0 or more, int64 (q,), on the inputs' device.
        """
        ...


@runtime_checkable
class ScoreOracle(Protocol):
    """A classifier that shows its confidence vector; for baselines only."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Logarithms of the confidence vectors of `inputs` (q, *shape), charged like `ask`.

        Logarithms, because float32 confidences near 1 all round to 1 while their logarithms stay apart.

        Returns:
            Log probabilities (q, classes), float32, 0 or less, on the inputs' device.
        """
        ...


class LabelsOfScores:
    """Labels from an oracle that only shows confidences: the class of the highest."""

    def __init__(self, inner: ScoreOracle) -> None:
        self._inner = inner

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        return self._inner.ask_scores(inputs, ids).argmax(1)


def check_labels(answers: object, asked: int) -> Tensor:
    """The answers of a LabelOracle, or an error that says what is wrong with them.

    Raises:
        TypeError: They are no tensor of whole numbers of shape (asked,).
    """
    if not isinstance(answers, Tensor) or answers.shape != (asked,) or answers.is_floating_point():
        raise TypeError(f"an oracle must answer {asked} questions with integers ({asked},), got {_told(answers)}")
    return answers.to(torch.int64)


def check_scores(answers: object, asked: int) -> Tensor:
    """The answers of a ScoreOracle, or an error that says what is wrong with them.

    Raises:
        TypeError: They are no float tensor of shape (asked, classes), 0 or less, without NaN.
    """
    if not isinstance(answers, Tensor) or answers.ndim != 2 or len(answers) != asked:
        raise TypeError(f"an oracle must show log probabilities ({asked}, classes), got {_told(answers)}")
    if bool(answers.isnan().any()) or bool((answers > 1e-5).any()):
        raise TypeError("an oracle must show log probabilities, 0 or less; got NaN or values above 0")
    return answers


def _told(answers: object) -> str:
    if isinstance(answers, Tensor):
        return f"{answers.dtype} {tuple(answers.shape)}"
    return type(answers).__name__

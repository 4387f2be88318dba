"""The threat model as types: a LabelOracle answers with classes, only a ScoreOracle with confidences.

A label-only signal receives a `LabelOracle`, which has no way to scores. Any object with the method fits.
"""

import os
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from hardlabel.checks import InvalidInput

MEMORY = "HARDLABEL_MEMORY"  # MiB of inputs built for one call to an oracle, where this variable says so;
USUAL_MEMORY = 128  # else so many.


def values_in_memory(told: str | None) -> int:
    """Most float32 values built for one call to an oracle, where the variable MEMORY is `told`; None if it is not set.

    Raises:
        InvalidInput: `told` is no whole number of MiB from 1.
    """
    if told is not None and not (told.isascii() and told.isdigit() and int(told) >= 1):
        raise InvalidInput(f"{MEMORY} must be a whole number of MiB, at least 1, got {told!r}")
    return (USUAL_MEMORY if told is None else int(told)) * 2**20 // 4


VALUES_IN_MEMORY = values_in_memory(os.environ.get(MEMORY))


@runtime_checkable
class LabelOracle(Protocol):
    """A classifier that answers with a hard label."""

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Labels `inputs` (q, *shape), float32; query i is charged to sample `ids[i]`.

        Returns:
            Classes, 0 or more, int64 (q,), on the inputs' device.
        """
        ...


class PaidLabels(LabelOracle, Protocol):
    """A LabelOracle with an account, as plans are handed it."""

    def aside(self, purpose: str) -> LabelOracle:
        """The same model for questions about no sample: they are charged to the overhead named `purpose`."""
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


class CopiedInputs:
    """A user's oracle that is handed copies: an oracle that writes into its inputs changes nothing of the audit's."""

    def __init__(self, inner: LabelOracle) -> None:
        self._inner = inner

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        return self._inner.ask(inputs.clone(), ids.clone())


class CopiedScoreInputs(CopiedInputs):
    """The same for an oracle that also shows confidences."""

    def __init__(self, inner: LabelOracle, scores: ScoreOracle) -> None:
        super().__init__(inner)
        self._scores = scores

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        return self._scores.ask_scores(inputs.clone(), ids.clone())


def check_labels(answers: object, asked: int) -> Tensor:
    """The answers of a LabelOracle as int64 (asked,), arrays and lists turned into tensors.

    Raises:
        TypeError: They are not `asked` whole numbers.
    """
    told = _tensor(answers)
    if told is None or told.shape != (asked,) or told.is_floating_point() or told.is_complex():
        raise TypeError(f"ask(inputs, ids) must answer {asked} inputs with integers ({asked},), got {_told(answers)}")
    return told.to(torch.int64)


def check_scores(answers: object, asked: int) -> Tensor:
    """The answers of a ScoreOracle as float32 (asked, classes), arrays and lists turned into tensors.

    Raises:
        TypeError: They are not (asked, classes), 0 or less, without NaN.
    """
    told = _tensor(answers)
    if told is None or told.ndim != 2 or len(told) != asked:
        raise TypeError(
            f"ask_scores(inputs, ids) must answer with log probabilities ({asked}, classes), got {_told(answers)}"
        )
    if bool(told.isnan().any()) or bool((told > 1e-5).any()):
        raise TypeError("ask_scores(inputs, ids) must answer with log probabilities, 0 or less; got NaN or more than 0")
    return told.to(torch.float32)


def _tensor(answers: object) -> Tensor | None:
    try:
        return torch.as_tensor(answers)
    except (TypeError, ValueError, RuntimeError):
        return None


def _told(answers: object) -> str:
    if isinstance(answers, Tensor | np.ndarray):
        return f"{answers.dtype} {tuple(answers.shape)}"
    return type(answers).__name__

"""The threat model as types: a LabelOracle answers with classes, only a ScoreOracle with confidences.

A label-only signal receives a `LabelOracle`, which has no way to scores. Any object with the method fits.
"""

import os
import reprlib
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hardlabel.checks import InvalidInput

MEMORY = "HARDLABEL_MEMORY"  # MiB of inputs built for one call to an oracle, where this variable says so;
USUAL_MEMORY = 128  # else so many.
LOWEST = -50.0  # Log probability of a class never seen, and of a zero.
SLACK = 1e-5  # Log probabilities may be above 0 by rounding, so much.
SUM_SLACK = 1e-4  # Rows of probabilities sum to 1 within this.


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
    """A classifier that answers with a hard label.

    Example:
        >>> import torch
        >>> from hardlabel import LabelOracle
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> isinstance(Model(), LabelOracle)
        True
        >>> Model().ask(torch.tensor([[0.2], [0.9]]), torch.tensor([0, 1]))
        tensor([0, 1])
    """

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Labels `inputs` (q, *shape), float32; query i is charged to sample `ids[i]`, int64 (q,).

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
    """A classifier that shows its confidence vector; for baselines only.

    Example:
        >>> import torch
        >>> from hardlabel import ScoreOracle
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([-inputs, inputs], 1).log_softmax(1)
        >>> isinstance(Model(), ScoreOracle)
        True
        >>> Model().ask_scores(torch.zeros(1, 1), torch.tensor([0]))
        tensor([[-0.6931, -0.6931]])
    """

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Logarithms of the confidence vectors of `inputs` (q, *shape), charged like `ask`.

        Logarithms, because float32 confidences near 1 all round to 1, while their logarithms stay distinct.

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


class CheckedLabels:
    """A foreign oracle of labels: it is handed copies, and its answers are checked.

    An oracle that writes into its inputs changes nothing of the audit's.

    Args:
        inner: The oracle. Arrays and lists of whole numbers are answers too.
        role: What errors call the oracle.
        scores: The same model's scores, whose width says how many classes there are; None if that is not known.

    Raises:
        InvalidInput: On asking; see `check_labels`.

    Example:
        >>> import torch
        >>> from hardlabel.oracles.base import CheckedLabels
        >>> class Server:
        ...     def ask(self, inputs, ids):
        ...         return [2] * len(inputs)
        >>> CheckedLabels(Server(), role="target").ask(torch.zeros(3, 4), torch.arange(3))
        tensor([2, 2, 2])
    """

    def __init__(self, inner: LabelOracle, *, role: str, scores: "CheckedScores | None" = None) -> None:
        self._inner, self._role, self._scores = inner, role, scores

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes of `inputs` (q, *shape), int64 (q,); see `LabelOracle`."""
        classes = None if self._scores is None else self._scores.classes
        answers = self._inner.ask(inputs.clone(), ids.clone())
        return check_labels(answers, len(inputs), role=self._role, classes=classes).to(inputs.device)


class CheckedScores:
    """The same for a foreign oracle of scores. Its width must stay as it is in the first answer.

    Args:
        inner: The oracle. Arrays and lists of rows are answers too.
        role: What errors call the oracle.
        classes: Number of classes of the task; scores for fewer are filled up with LOWEST. None if it is not known.
        exact: Whether scores for more than `classes` are refused.

    Raises:
        InvalidInput: On asking; see `check_scores`. Or the width changes, or is above `classes` with `exact`.
    """

    def __init__(self, inner: ScoreOracle, *, role: str, classes: int | None = None, exact: bool = False) -> None:
        self._inner, self._role, self._most = inner, role, classes if exact else None
        self._least = 0 if classes is None else classes
        self._width: int | None = None

    @property
    def classes(self) -> int | None:
        """Number of classes that the scores are shown for; None before the first question."""
        return None if self._width is None else max(self._width, self._least)

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Log probabilities of `inputs` (q, *shape), float32 (q, classes); see `ScoreOracle`."""
        scores = check_scores(self._inner.ask_scores(inputs.clone(), ids.clone()), len(inputs), role=self._role)
        width = scores.shape[1]
        if self._width not in (None, width):
            raise InvalidInput(
                f"{self._role} must show scores of the same classes in every answer, got {self._width} classes "
                f"before and now {width} for all {len(scores)} inputs (from row 0 on)"
            )
        check_width(width, self._most, role=self._role)
        self._width = width
        return functional.pad(scores, (0, max(0, self._least - width)), value=LOWEST).to(inputs.device)


def check_width(shown: int, most: int | None, *, role: str) -> None:
    """Refuses a model that shows more classes than `most`; None refuses nothing.

    Raises:
        InvalidInput: It does.
    """
    if most is not None and shown > most:
        raise InvalidInput(
            f"{role} must show at most {most} classes, as many as the target, got {shown}: train it for {most} classes"
        )


def check_labels(answers: object, asked: int, *, role: str = "an oracle", classes: int | None = None) -> Tensor:
    """The answers of a LabelOracle as int64 (asked,), arrays and lists turned into tensors.

    Args:
        answers: What the oracle answered. Booleans count as 0 and 1.
        asked: Number of inputs asked about.
        role: What errors call the oracle.
        classes: Number of classes; None if it is not known, since a model may know more than any label shows.

    Raises:
        InvalidInput: They are not `asked` whole numbers from 0, below `classes`. The error says how many are wrong and
            which is the first.
    """
    rule = f"{role} must answer ask(inputs, ids) of {asked} inputs with whole numbers ({asked},), its classes from 0"
    told = _tensor(answers)
    if told is None or told.is_complex():
        raise InvalidInput(f"{rule}, got {_strange(answers)}: answer with the class's number, not with its name")
    if told.shape != (asked,):
        if told.ndim == 1:
            few = f": row {len(told)} is the first without an answer" if len(told) < asked else ""
            raise InvalidInput(f"{rule}, got {_told(told)}: answer each input once, in their order{few}")
        raise InvalidInput(f"{rule}, got {_told(told)}: answer with the position of the highest score, flattened")
    if told.is_floating_point():
        for bad, what, hint in (
            (~told.isfinite(), "NaN or infinity", "did its training diverge?"),
            (told != told.round(), "fractions", "round? A regressor is no classifier"),
            (
                torch.ones_like(told, dtype=torch.bool),
                "floats",
                "round? A regressor is no classifier; else cast to int",
            ),
        ):
            _refuse_rows(bad, told, f"{rule}, got {what}", hint)
    told = told.to(torch.int64)
    _refuse_rows(told < 0, told, f"{rule}, got negative numbers", "number the classes 0, 1, 2, ..., with no -1")
    if classes is not None:
        _refuse_rows(
            told >= classes,
            told,
            f"{rule}, below the {classes} that its scores show, got more",
            "number labels and scores alike, from 0 on",
        )
    return told


def check_scores(answers: object, asked: int, *, role: str = "an oracle") -> Tensor:
    """The answers of a ScoreOracle as float32 (asked, classes), arrays and lists turned into tensors.

    Minus infinity becomes a finite number: LOWEST, or the row's lowest other number if that is lower.

    Args:
        answers: What the oracle answered.
        asked: Number of inputs asked about.
        role: What errors call the oracle.

    Raises:
        InvalidInput: They are not (asked, classes), 0 or less, without NaN. The error says how many rows are wrong and
            which is the first.
    """
    rule = f"{role} must answer ask_scores(inputs, ids) of {asked} inputs with log probabilities ({asked}, classes)"
    told = _tensor(answers)
    if told is None or told.is_complex():
        raise InvalidInput(f"{rule}, got {_strange(answers)}")
    if told.ndim != 2 or len(told) != asked or told.shape[1] < 2:
        hint = ": show each class, also with two classes" if told.numel() == asked else ""
        raise InvalidInput(f"{rule}, of 2 classes at least, got {_told(told)}{hint}")
    told = told.to(torch.float32)
    values = told.max(1).values  # NaN if one is.
    _refuse_rows(told.isnan().any(1), values, f"{rule}, got NaN", "did its training diverge?")
    _refuse_rows(told.isposinf().any(1), values, f"{rule}, got infinity", "did its training diverge?")
    summing = (told >= 0).all(1) & ((told.sum(1) - 1).abs() < SUM_SLACK)
    if asked and bool(summing.all()):
        raise InvalidInput(
            f"{rule}, got probabilities for all {asked} inputs (the first is row 0: {_numbers(told[0])}): "
            "take logarithms"
        )
    _refuse_rows(values > SLACK, values, f"{rule}, 0 or less, got more", "apply log_softmax to logits")
    _refuse_rows(values.isneginf(), values, f"{rule}, got no class at all", "show at least one class")
    lowest = torch.where(told.isneginf(), 0.0, told).amin(1, keepdim=True).clamp_max(LOWEST)
    return torch.where(told.isneginf(), lowest, told)


def _refuse_rows(bad: Tensor, values: Tensor, problem: str, hint: str) -> None:
    """Refuses the answers if some of the rows are `bad` (q,); `values` (q,) are what is shown of them."""
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise InvalidInput(
            f"{problem} for {int(bad.sum())} of {len(bad)} inputs (the first is row {first}: "
            f"{_numbers(values[first])}): {hint}"
        )


def _numbers(values: Tensor) -> str:
    """The first numbers of a row, or one number."""
    if not values.ndim:
        return f"{values.item():.4g}" if values.is_floating_point() else str(values.item())
    listed = ", ".join(_numbers(value) for value in values[:5])
    return f"[{listed}{', ...' if len(values) > 5 else ''}]"


def _tensor(answers: object) -> Tensor | None:
    try:
        # A copy of an array: PyTorch warns about read-only ones.
        return torch.as_tensor(np.array(answers) if isinstance(answers, np.ndarray) else answers).detach()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


def _told(answers: object) -> str:
    if isinstance(answers, Tensor | np.ndarray):
        return f"{answers.dtype} {tuple(answers.shape)}"
    return type(answers).__name__


def _strange(answers: object) -> str:
    """Answers that are no numbers, in words: how many are none, and the first of them."""
    if isinstance(answers, str | bytes) or not isinstance(answers, Sequence | np.ndarray):
        return f"{_told(answers)} {reprlib.repr(answers)}"
    rows = answers.tolist() if isinstance(answers, np.ndarray) else list(answers)
    bad = [row for row, answer in enumerate(rows) if not isinstance(answer, int | np.integer)]
    shown = "" if not bad else f" with {reprlib.repr(rows[bad[0]])} in row {bad[0]}, the first of {len(bad)} such"
    return f"{_told(answers)} of {len(answers)}{shown}"

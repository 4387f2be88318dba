"""What the frameworks share: a row of the table, checks of widths, and errors in one line."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel.checks import InvalidInput, cut, listed

LONGEST_REASON = 300  # Characters of another library's message within an error of ours.
ROWS_AT_ONCE = 2**14  # Most rows per call, where a framework builds arrays of its own.
NO_MEMORY = ("out of memory", "allocate memory", "not enough memory", "alloc_failed")  # In messages of torch.
OWN_CODE = "--target FILE.py:function"  # The way out that always exists.


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework whose models can be audited.

    Attributes:
        name: The framework, as its users call it.
        accepts: Whether an object is a model of this framework. It imports nothing.
        plain: Turns the object into one of the three plain kinds; the second argument is what errors call the model.

    Example:
        >>> from hardlabel.targets.frameworks.table import FRAMEWORKS
        >>> [framework.name for framework in FRAMEWORKS][1:4]
        ['ONNX', 'torch.export', 'TorchScript']
    """

    name: str
    accepts: Callable[[object], bool]
    plain: Callable[[Any, str], object]


class ForwardFailed(InvalidInput, RuntimeError):
    """A network could not be run on its inputs; the message says why in one line.

    It is a RuntimeError too, since code that tries another layout of the inputs expects one.
    """


def comes_from(model: object, *packages: str) -> bool:
    """Whether the class of an object, or one of its base classes, is defined in one of the packages."""
    return any(kind.__module__.partition(".")[0] in packages for kind in type(model).__mro__)


def package(name: str, extra: str, role: str = "target") -> Any:
    """The package `name`, imported.

    Raises:
        InvalidInput: It is not installed; the message names the extra of hardlabel that installs it.

    Example:
        >>> from hardlabel.targets.frameworks.base import package
        >>> package("onnxsomething", "onnx")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: target needs onnxsomething: pip install 'hardlabel[onnx]'
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise InvalidInput(f"{role} needs {error.name}, which {name} imports: {reason(error)}") from error
        raise InvalidInput(f"{role} needs {name}: pip install 'hardlabel[{extra}]'") from error


def reason(error: BaseException) -> str:
    """The first line of an error that says something, at most LONGEST_REASON characters."""
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    return cut(next((line for line in lines if line), type(error).__name__), LONGEST_REASON)


def check_columns(rows: Any, width: int, names: Sequence[str] | None, role: str) -> None:
    """Refuses rows that have more or fewer columns than the model, or other names.

    Args:
        rows: A data frame or an array (q, columns).
        width: Number of columns that the model wants.
        names: Their names; None if the model knows none. Only data frames are compared with them.
        role: What errors call the model.

    Raises:
        InvalidInput: The columns differ. The message names those that are missing and those that are extra.
    """
    given = [str(name) for name in getattr(rows, "columns", [])]
    shape = np.shape(rows)
    columns = len(given) if given else (shape[1] if len(shape) == 2 else int(np.prod(shape[1:])))
    problems = []
    if given and names is not None:
        for word, left in (
            ("missing", [name for name in names if name not in given]),
            ("extra", [name for name in given if name not in names]),
        ):
            if left:
                problems.append(f"{listed(map(repr, left))} {'is' if len(left) == 1 else 'are'} {word}")
    if columns != width or problems:
        differing = f": {'; '.join(problems)}" if problems else ""
        raise InvalidInput(f"{role} wants {width} columns, the table has {columns}{differing}")


def logits_of(outputs: object, role: str) -> Tensor:
    """The logits (q, classes) in what a network answered: a tensor, a mapping or object with `logits`, or one of one.

    Raises:
        InvalidInput: There are none, or several outputs among which none is called logits.
    """
    if isinstance(outputs, Tensor):
        return outputs
    named = outputs.get("logits") if isinstance(outputs, dict) else getattr(outputs, "logits", None)
    if isinstance(named, Tensor):
        return named
    values = list(outputs.values()) if isinstance(outputs, dict) else outputs
    if isinstance(values, list | tuple) and len(values) == 1 and isinstance(values[0], Tensor):
        return values[0]
    count = f" with {len(values)} outputs" if isinstance(values, list | tuple) else ""
    raise InvalidInput(
        f"{role} must answer with logits (q, classes), got {type(outputs).__name__}{count}: choose the output in a "
        f"function of your own, {OWN_CODE}"
    )


@contextmanager
def forwarding(inputs: Tensor, role: str) -> Iterator[None]:
    """Turns what a network raises at inputs that it cannot take into one line.

    Raises:
        ForwardFailed: The network raised an error. Missing memory stays the error that it was.
    """
    try:
        yield
    except (InvalidInput, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # Each framework raises types of its own.
        if any(words in str(error).lower() for words in NO_MEMORY):
            raise
        raise ForwardFailed(f"{role} cannot take inputs {tuple(inputs.shape)}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """TorchScript tells the cause in the last line of a traceback."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith(("RuntimeError:", "ValueError:"))]
    return cut(causes[-1], LONGEST_REASON) if causes else reason(error)


def in_batches(
    inputs: Tensor, answer: Callable[[Tensor], Tensor], *, least: int = 1, most: int | None = None
) -> Tensor:
    """Answers to inputs (q, *shape) from a model whose batches must have `least` to `most` rows.

    A batch that is too short is filled up with copies of its last row, whose answers are dropped.
    """
    answers = []
    for rows in torch.split(inputs, len(inputs) if most is None else most):
        missing = max(0, least - len(rows))
        batch = torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]) if missing else rows
        answers.append(answer(batch)[: len(rows)])
    return torch.cat(answers)


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (q, classes) of logits (q, classes)."""
    powers = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def two_columns(chances: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Probabilities (q, 2) of probabilities of class 1 (q,)."""
    chances = chances.astype(np.float64)
    return np.stack([1 - chances, chances], 1)


def not_classifier(role: str, got: str, way_out: str = "train a classifier for it") -> InvalidInput:
    """The error for a model that is no classifier with one label for each row."""
    return InvalidInput(f"{role} must be a classifier that answers each row with one class, got {got}: {way_out}")

"""Argument checks whose errors name the argument, the value and the rule."""

import difflib
import math
import os
import sys
from collections.abc import Iterable, Sized
from dataclasses import fields
from typing import Any

from hardlabel import printed

LONGEST = 120  # Characters of a value in an error.
LONGEST_LINE = 4000  # Characters of an error.
MOST_NAMES = 100  # Names that an error lists.
LONGEST_NAME = 255  # Bytes of the name of a file.
LARGEST = 2**63 - 1  # Larger whole numbers fit neither PyTorch nor Parquet.


class InvalidInput(ValueError):
    """Something the caller gave breaks a stated rule.

    The message is one line without control characters, whatever the values in it hold. The command line prints it with
    exit code 2.

    Example:
        >>> from hardlabel.checks import InvalidInput
        >>> print(InvalidInput("column 'two\\nlines' is unknown"))
        column 'two\\nlines' is unknown
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(cut(printed.line(message), LONGEST_LINE))


def cut(text: str, longest: int = LONGEST) -> str:
    """The text, with its end replaced by dots where it is longer than `longest` characters."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def listed(names: Iterable[object]) -> str:
    """Names with commas between them; of more than MOST_NAMES, the first and how many more there are."""
    every = [cut(str(name)) for name in names]
    more = f" and {len(every) - MOST_NAMES:,} more" if len(every) > MOST_NAMES else ""
    return ", ".join(every[:MOST_NAMES]) + more


def shown(value: object) -> str:
    """The value in an error: its `repr` in one line, cut where it is long."""
    return cut(" ".join(repr(value).split()))


def as_default(default: object) -> str:
    """How an error asks for a default: "left out" where it is nothing, else "left at" with its value.

    Example:
        >>> from hardlabel.checks import as_default
        >>> as_default(None), as_default("digits")
        ('left out', "left at 'digits'")
    """
    return "left out" if default is None or default is False or default in ([], {}, ()) else f"left at {default!r}"


def plain(value: Any) -> Any:
    """The value with Python's numbers and lists in place of NumPy's; also in lists, tuples and dictionaries.

    Example:
        >>> import numpy as np
        >>> from hardlabel.checks import plain
        >>> plain([np.int64(3), np.float32(0.5), np.bool_(True)])
        [3, 0.5, True]
    """
    numpy = sys.modules.get("numpy")  # Without NumPy there are none, and importing it takes time.
    if numpy is not None and isinstance(value, numpy.generic):
        return value.item()
    if numpy is not None and isinstance(value, numpy.ndarray):
        return value.tolist()
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    if type(value) is dict:
        return {plain(name): plain(item) for name, item in value.items()}
    return value


def plain_fields(settings: Any, *names: str) -> None:
    """Turns NumPy's numbers into Python's in fields of a frozen dataclass; in all fields, if none is named."""
    for name in names or [field.name for field in fields(settings)]:
        object.__setattr__(settings, name, plain(getattr(settings, name)))


def number(**numbers: object) -> None:
    """Refuses what is no number: text, None, True and False."""
    for name, value in numbers.items():
        if not isinstance(plain(value), int | float) or isinstance(plain(value), bool):
            raise InvalidInput(f"{name} must be a number, got {shown(value)}")


def whole_number(minimum: int, **numbers: object) -> None:
    """Refuses what is no whole number from `minimum` to LARGEST."""
    for name, value in numbers.items():
        integer = plain(value)
        if not isinstance(integer, int) or isinstance(integer, bool):
            raise InvalidInput(f"{name} must be a whole number, got {shown(value)}")
        at_least(minimum, **{name: integer})
        if integer > LARGEST:
            raise InvalidInput(f"{name} must be at most 2**63 - 1, got {integer}")


def positive(**numbers: float) -> None:
    """Refuses numbers that are not finite and above 0."""
    number(**numbers)
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(f"{name} must be positive, got {value}")


def not_negative(**numbers: float) -> None:
    """Refuses numbers that are not finite or below 0."""
    number(**numbers)
    for name, value in numbers.items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInput(f"{name} must be 0 or more, got {value}")


def at_least(minimum: float, **numbers: float) -> None:
    """Refuses numbers below `minimum`."""
    number(**numbers)
    for name, value in numbers.items():
        if not value >= minimum:
            raise InvalidInput(f"{name} must be at least {minimum}, got {value}")


def probability(**numbers: float) -> None:
    """Refuses numbers outside [0, 1]."""
    number(**numbers)
    for name, value in numbers.items():
        if not 0 <= value <= 1:
            raise InvalidInput(f"{name} must lie in [0, 1], got {value}")


def open_fraction(**numbers: float) -> None:
    """Refuses numbers outside the open interval (0, 1)."""
    number(**numbers)
    for name, value in numbers.items():
        if not 0 < value < 1:
            raise InvalidInput(f"{name} must lie strictly between 0 and 1, got {value}")


def path(**paths: object) -> None:
    """Refuses what names no file or folder."""
    for name, value in paths.items():
        if not isinstance(value, str | os.PathLike):
            raise InvalidInput(f"{name} must be a path, got {shown(value)}")
        text(**{name: os.fspath(value)})


def text(**texts: str) -> None:
    """Refuses text that can name neither a file nor a column."""
    for name, value in texts.items():
        if "\0" in value:
            raise InvalidInput(f"{name} must not hold a null character, got {shown(value)}")
        if any(len(part.encode(errors="replace")) > LONGEST_NAME for part in value.split(os.sep)):
            raise InvalidInput(f"{name} must not hold a name of more than {LONGEST_NAME} bytes, got {shown(value)}")


def same_length(**things: Sized) -> None:
    """Refuses arrays of different lengths."""
    lengths = {name: len(thing) for name, thing in things.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInput(f"lengths must agree: {told}")


def one_of(choices: Iterable[str], **names: str) -> None:
    """Refuses a name that is not among `choices`, and offers the nearest one."""
    known = sorted(choices)
    for argument, name in names.items():
        if not isinstance(name, str):
            raise InvalidInput(f"{argument} must be a name, got {shown(name)}: known are {listed(known)}")
        if name not in known:
            short = [choice for choice in known if len(choice) <= LONGEST][:1000]  # More would take minutes.
            near = difflib.get_close_matches(cut(name), short, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InvalidInput(f"{argument} {shown(name)} is unknown: {hint}known are {listed(known)}")

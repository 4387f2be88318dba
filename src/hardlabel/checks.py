"""Argument checks whose errors name the argument, the value and the rule."""

import difflib
import math
from collections.abc import Iterable, Sized


class InvalidInput(ValueError):
    """Something the caller gave breaks a stated rule.

    The command line turns it into one line and exit code 2.
    """


def positive(**numbers: float) -> None:
    """Refuses numbers that are not finite and above 0."""
    for name, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(f"{name} must be positive, got {value}")


def not_negative(**numbers: float) -> None:
    """Refuses numbers that are not finite or below 0."""
    for name, value in numbers.items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInput(f"{name} must be 0 or more, got {value}")


def at_least(minimum: float, **numbers: float) -> None:
    """Refuses numbers below `minimum`."""
    for name, value in numbers.items():
        if not value >= minimum:
            raise InvalidInput(f"{name} must be at least {minimum}, got {value}")


def probability(**numbers: float) -> None:
    """Refuses numbers outside [0, 1]."""
    for name, value in numbers.items():
        if not 0 <= value <= 1:
            raise InvalidInput(f"{name} must lie in [0, 1], got {value}")


def open_fraction(**numbers: float) -> None:
    """Refuses numbers outside the open interval (0, 1)."""
    for name, value in numbers.items():
        if not 0 < value < 1:
            raise InvalidInput(f"{name} must lie strictly between 0 and 1, got {value}")


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
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InvalidInput(f"{argument} {name!r} is unknown: {hint}known are {', '.join(known)}")

"""Arguments that had another name or place in earlier versions. They work, with a warning, until version UNTIL."""

import functools
import inspect
import warnings
from collections.abc import Callable
from dataclasses import is_dataclass, replace
from typing import Any, ParamSpec, TypeVar

from pydantic import BaseModel

from hardlabel import checks
from hardlabel.checks import InvalidInput

UNTIL = "0.3"


class Halved(float):
    """Half of an old number of samples. It may end in .5: an argument that takes it needs no whole number."""


P = ParamSpec("P")
R = TypeVar("R")


def renamed(**today: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function also accept the old names of its arguments.

    An old name may have a new meaning today. It then keeps its old meaning if the argument that has this meaning today
    is not given.

    Args:
        today: Today's name for each old name: an argument ("references"), or a field of an argument
            ("attacker.references"). "samples / 2" means half of the old number.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        positions = list(parameters)

        def is_old(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> bool:
            if name not in today or name not in parameters:
                return name in today
            return today[name] not in kwargs and positions.index(today[name]) >= len(args)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            old_names = [name for name in kwargs if is_old(name, args, kwargs)]
            old_values: dict[str, Any] = {name: kwargs.pop(name) for name in old_names}
            for old in sorted(old_names, key=lambda name: "." in today[name]):  # Whole arguments first, then fields.
                place, _, halved = today[old].partition(" / ")
                argument, _, field = place.partition(".")
                words = f"{argument}={argument.capitalize()}({field}=...)" if field else f"{argument}=..."
                warnings.warn(
                    f"{function.__name__}({old}=...) is now {function.__name__}({words}); the old name goes in {UNTIL}",
                    DeprecationWarning,
                    stacklevel=2,
                )
                value = old_values[old]
                if halved:
                    checks.whole_number(1, **{old: value})
                    value = int(value) // 2 if value % 2 == 0 else Halved(value / 2)
                if field:
                    value = _with(kwargs.get(argument, parameters[argument].default), field, value, argument)
                elif argument in kwargs:
                    raise InvalidInput(f"{old} and {argument} are one argument: give {argument} only")
                kwargs[argument] = value
            return function(*args, **kwargs)

        return called

    return decorated


def _with(settings: Any, field: str, value: object, argument: str) -> Any:
    """A copy of frozen settings with another value in a field; the value is checked."""
    if is_dataclass(settings) and not isinstance(settings, type):
        return replace(settings, **{field: value})
    if isinstance(settings, BaseModel):
        return type(settings)(**{**dict(settings), field: value})
    raise InvalidInput(f"{argument} must be an object with the field {field}, got {checks.shown(settings)}")

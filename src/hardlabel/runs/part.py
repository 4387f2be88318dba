"""A frozen set of named values, checked when it is created."""

import inspect
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hardlabel.checks import InvalidInput

PANELS = ("Data", "Model", "Attacker", "Report", "Where it runs", "")  # "" is for fields without an option.


class Part(BaseModel):
    """Frozen, without unknown fields. The descriptions of the fields become the attribute list of the docstring.

    A subclass names a `panel`: the part of the command line's help that shows the subclass's own fields.

    Raises:
        InvalidInput: A value is unknown, of the wrong type or out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    panels: ClassVar[dict[str, str]] = {}

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidInput(first_error(error)) from error

    # Pydantic then validates nested parts without calling `__init__`, so that an error names the nested field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Accepts `panel`. Pydantic passes it to the method below once the fields exist."""

    @classmethod
    def __pydantic_init_subclass__(cls, *, panel: str = "", **kwargs: Any) -> None:
        inherited = [getattr(base, "panels", {}) for base in reversed(cls.__bases__)]
        cls.panels = {name: title for panels in inherited for name, title in panels.items()}
        cls.panels |= dict.fromkeys(inspect.get_annotations(cls), panel)
        described = {name: field.description for name, field in cls.model_fields.items() if field.description}
        if described:
            listed = "\n".join(f"    {name}: {description}" for name, description in described.items())
            summary = (cls.__dict__.get("__doc__") or "").rstrip()
            cls.__doc__ = f"{summary}\n\nAttributes:\n{listed}\n"


def in_order(part: type[Part]) -> list[str]:
    """Names of the fields, by panel. In each panel, fields of the bases come first, in the order of the bases."""
    classes = [*part.__mro__[1:], part]
    names = dict.fromkeys(name for owner in classes for name in inspect.get_annotations(owner))
    fields = [name for name in names if name in part.model_fields]
    return sorted(fields, key=lambda name: PANELS.index(part.panels[name]))


def first_error(error: ValidationError) -> str:
    """The first error in one line: the name, the rule, the value."""
    first = error.errors()[0]
    raised = first.get("ctx", {}).get("error")
    if first["type"] == "value_error" and isinstance(raised, InvalidInput):
        return str(raised)
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}"

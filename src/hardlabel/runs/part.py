"""A frozen set of named values, checked when it is created."""

import inspect
import os
import types
import typing
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from hardlabel.checks import LARGEST, InvalidInput, plain, shown, text

PANELS = ("Data", "Model", "Attacker", "Report", "Gate", "Where it runs", "")  # "" is for fields without an option.

# In words, and the types that a field of this type accepts.
NUMBERS: dict[type, tuple[str, type | types.UnionType]] = {
    bool: ("true or false", bool),
    float: ("a number", int | float),
    int: ("a whole number", int),
}

# Of the errors that pydantic finds, the key of what the value should be, and words before it.
RANGES = {
    "greater_than_equal": ("ge", "at least "),
    "greater_than": ("gt", "above "),
    "less_than_equal": ("le", "at most "),
    "less_than": ("lt", "below "),
    "literal_error": ("expected", ""),
}


class Part(BaseModel):
    """Frozen, without unknown fields, and strict: True is no number, nor is "3" or 3.0 a whole number. NumPy's numbers
    become Python's. The descriptions of the fields become the attribute list of the docstring.

    A subclass names a `panel`: the part of the command line's help that shows the subclass's own fields.

    Raises:
        InvalidInput: A value is unknown, of the wrong type or out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
    panels: ClassVar[dict[str, str]] = {}

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InvalidInput(first_error(error)) from error

    # Pydantic then validates nested parts without calling `__init__`, so that an error names the nested field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @field_validator("*", mode="before")
    @classmethod
    def _of_its_type(cls, value: object, info: ValidationInfo) -> object:
        """Refuses what pydantic would turn into the type of the field."""
        assert info.field_name is not None
        field = cls.model_fields[info.field_name]
        members = types_of(field.annotation)
        if Any in members:
            return value
        value, numbers = plain(value), [kind for kind in (bool, float, int) if kind in members]
        if isinstance(value, str | os.PathLike) and not is_parsed(field):
            text(**{info.field_name: str(value)})
        if isinstance(value, bytes):
            raise InvalidInput(f"{info.field_name} must not be bytes, got {shown(value)}")
        if (value is None and type(None) in members) or not numbers or is_parsed(field):
            return value
        words, fitting = NUMBERS[numbers[0]]
        if not isinstance(value, fitting) or (isinstance(value, bool) and bool not in members):
            raise InvalidInput(f"{info.field_name} must be {words}, got {shown(value)}")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise InvalidInput(f"{info.field_name} must be at most 2**63 - 1 in size, got {shown(value)}")
        return value

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


def types_of(annotation: Any) -> list[Any]:
    """The types that an annotation joins: [int, NoneType] of `int | None`."""
    if typing.get_origin(annotation) is Annotated:
        return types_of(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [member for argument in typing.get_args(annotation) for member in types_of(argument)]
    if typing.get_args(annotation) and Any in typing.get_args(annotation):
        return [annotation, Any]
    return [annotation]


def is_parsed(field: FieldInfo) -> bool:
    """Whether the field has several notations, such as a share in per cent, and reads them by itself."""
    return any(isinstance(item, BeforeValidator) for item in field.metadata)


def first_error(error: ValidationError) -> str:
    """The first error in one line: the name, the rule, the value."""
    first = error.errors()[0]
    raised = first.get("ctx", {}).get("error")
    if first["type"] == "value_error" and isinstance(raised, InvalidInput):
        return str(raised)
    name, limits = ".".join(map(str, first["loc"])), first.get("ctx", {})
    if first["type"] in RANGES:
        key, words = RANGES[first["type"]]
        limit = limits[key] if isinstance(limits[key], str) else f"{limits[key]:g}"
        return f"{name} must be {words}{limit}, got {shown(first['input'])}"
    return f"{name}: {first['msg']}, got {shown(first['input'])}"

"""The command line's options, made from the fields of the settings: name, type, help, panel, default."""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from hardlabel.checks import InvalidInput
from hardlabel.cli.progress import say
from hardlabel.renamed import UNTIL
from hardlabel.runs.part import PANELS, Part, in_order, is_parsed, types_of
from hardlabel.runs.settings import how

CONFIG = Annotated[Path | None, typer.Argument(help="Settings as YAML; options take precedence.", show_default=False)]


def command(
    run: Callable[[dict[str, Any]], None],
    *parts: type[Part],
    doc: str,
    positional: Mapping[str, Any] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """A function for Typer. It has one option for each field of the parts, and passes the values to `run` by name.

    Args:
        run: Does the work. An option that was not given is None.
        parts: Settings whose fields become options. A field in several parts becomes one option.
        doc: The help of the command.
        positional: Annotations of further parameters, by name. One whose type does not allow None is required.
        flags: Help of options without a value, by name.
    """
    parameters = [_positional(name, annotation) for name, annotation in (positional or {}).items()]
    settings = [(part, name) for part in parts for name in in_order(part)]
    settings.sort(key=lambda setting: PANELS.index(setting[0].panels[setting[1]]))
    parameters += [parameter for part, name in settings for parameter in _options(part, name)]
    parameters += [
        _parameter(name, Annotated[bool, typer.Option(_flag(name), help=help)], False)
        for name, help in (flags or {}).items()
    ]

    def called(**options: Any) -> None:
        run(_today(options, parts))

    unique: dict[str, inspect.Parameter] = {}
    for parameter in parameters:
        unique.setdefault(parameter.name, parameter)
    called.__signature__ = inspect.Signature(list(unique.values()))  # type: ignore[attr-defined]
    called.__doc__ = doc
    return called


def _options(part: type[Part], name: str) -> Iterator[inspect.Parameter]:
    """The option of a setting, and a hidden option for its old name."""
    field = part.model_fields[name]
    extra, kind = how(field), _type(field)
    default = extra["shown"] or _default(field)
    option = typer.Option(
        extra["flag"] or _flag(name),
        help=with_default(field.description or "", default),
        rich_help_panel=part.panels[name],
        metavar=extra["metavar"] or ("TEXT" if kind == list[str] | None else None),
    )
    yield _parameter(name, Annotated[kind, option])
    if extra["old"]:
        yield _parameter(extra["old"], Annotated[kind, typer.Option(_flag(extra["old"]), hidden=True)])


def with_default(help: str, default: str) -> str:
    """The help of an option with its default in words, which Typer itself would put into parentheses."""
    return f"{help} {escape(f'[default: {default}]')}" if default else help


def _type(field: FieldInfo) -> Any:
    """The type of a field's option. The value is checked later, with the other settings."""
    kind = next(kind for kind in types_of(field.annotation) if kind is not type(None))
    origin = typing.get_origin(kind)
    if origin is dict or (origin is list and not how(field)["commas"]):
        return list[str] | None
    # A setting with several notations, such as a share in per cent, gets the text as it was typed.
    return (kind if kind in (bool, int, float, Path) and not is_parsed(field) else str) | None


def _default(field: FieldInfo) -> str:
    """The default for the help; "" for None, False and empty defaults."""
    default = field.get_default(call_default_factory=True)
    if default is None or default is False or default == [] or default == {}:
        return ""
    if isinstance(default, list):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _positional(name: str, annotation: Any) -> inspect.Parameter:
    return _parameter(name, annotation, None if type(None) in types_of(annotation) else inspect.Parameter.empty)


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _today(options: dict[str, Any], parts: Sequence[type[Part]]) -> dict[str, Any]:
    """The options under today's names; a message on stderr names each old option that was given.

    Raises:
        InvalidInput: An option was given under both names.
    """
    today = dict(options)
    for part in parts:
        for name, field in part.model_fields.items():
            old = how(field).get("old")
            value = None if old is None else today.pop(old, None)
            if old is None or value is None:
                continue
            if today.get(name) is not None:
                raise InvalidInput(f"{_flag(old)} and {_flag(name)} are one option: give {_flag(name)} only")
            say(f"{_flag(old)} is now {_flag(name)}; the old name goes in {UNTIL}")
            today[name] = value
    return today

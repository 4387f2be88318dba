"""The command line that begins a run with given settings: the inverse of what the command line reads."""

import shlex
from collections.abc import Collection, Iterator
from pathlib import Path

from hardlabel import printed
from hardlabel.runs.part import in_order
from hardlabel.runs.settings import RunSettings, how


def command_of(command: str, settings: RunSettings, *, always: Collection[str] = ()) -> str | None:
    """One line for a shell that begins a run with these settings. Settings with their defaults are left out.

    Args:
        command: The command that begins a run of this kind, such as "audit".
        settings: The settings; `out` is left out, so that the run gets a folder of its own.
        always: Settings that are shown with their default, too.

    Returns:
        The line, with quoted values; None where a value has line ends or control characters, which no line holds.

    Example:
        >>> from hardlabel.runs.command import command_of
        >>> from hardlabel.runs.settings import ModelSettings
        >>> command_of("audit", ModelSettings(data="my data.npz", references=4))
        "hardlabel audit --data 'my data.npz' --references 4"
    """
    words = ["hardlabel", command, *_options(settings, always)]
    line = shlex.join(words)
    return line if printed.line(line) == line else None


def option_of(settings: type[RunSettings], name: str) -> str:
    """The option of a setting, such as "--train-size"."""
    return str(how(settings.model_fields[name])["flag"] or "--" + name.replace("_", "-"))


def _options(settings: RunSettings, always: Collection[str]) -> Iterator[str]:
    kind = type(settings)
    for name in in_order(kind):
        field = kind.model_fields[name]
        value, default = getattr(settings, name), field.get_default(call_default_factory=True)
        if name == "out" or value is None or (value == default and name not in always):
            continue
        flag = option_of(kind, name)
        if isinstance(value, bool):
            yield flag
        elif isinstance(value, dict):
            for key, numbers in value.items():
                yield from (flag, f"{key}={','.join(map(_number, numbers))}")
        elif isinstance(value, list):
            for word in [",".join(map(str, value))] if how(field)["commas"] else value:
                yield from (flag, str(word))
        else:
            yield from (flag, _number(value) if isinstance(value, float) else str(value))


def _number(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def expanded(path: str) -> str:
    """The path without "~", which a shell does not expand in quotes."""
    if not path.startswith("~"):  # An address is no path.
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # This user has no home folder.
        return path

"""The words of Typer's errors about how a command was typed: the option, the rule, the value, the way out."""

from typing import Any

from pydantic import ValidationError

from hardlabel.checks import shown
from hardlabel.runs.part import NUMBERS

# What other tools call our options: names that are spelled too differently to be guessed.
MEANT = {
    "--model": "--target",
    "--train": "--members",
    "--test": "--nonmembers",
    "--target-column": "--label",
    "--output": "--out",
}


def words(error: Any) -> str:
    """One line for a usage error. Errors that already name what is wrong keep Typer's words.

    Args:
        error: An exception with `format_message`, and with `param` and `ctx` if it is about one parameter.
    """
    parameter, cause = getattr(error, "param", None), error.__cause__
    if parameter is None:
        meant = _meant(error)
        return f"No such option: {error.option_name}: did you mean {meant}?" if meant else str(error.format_message())
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        kind = next((kind for kind in NUMBERS if first["type"].startswith(kind.__name__)), None)
        if kind is not None:
            return f"{_name(parameter)} must be {NUMBERS[kind][0]}, got {shown(first['input'])}"
    if type(error).__name__ == "MissingParameter" and getattr(parameter, "help", None):
        help = f"{parameter.help[0].lower()}{parameter.help[1:].rstrip('.')}"
        return f"Missing argument {_name(parameter)!r} ({help}): see `{error.ctx.command_path} --help`"
    return str(error.format_message())


def _meant(error: Any) -> str | None:
    """The option that was meant by an unknown one, if the command has it."""
    meant = MEANT.get(getattr(error, "option_name", ""))
    options = [] if error.ctx is None else [name for parameter in error.ctx.command.params for name in parameter.opts]
    return meant if meant in options else None


def _name(parameter: Any) -> str:
    """As the user types it: an option with its hyphens, an argument as the help shows it."""
    if parameter.param_type_name == "option":
        return " / ".join(parameter.opts)
    return str(parameter.metavar or parameter.name)

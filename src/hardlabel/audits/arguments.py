"""Checks the arguments of the public functions before they work.

An argument that is also a setting has the setting's type and range, see runs/settings.py. The others have theirs here.
"""

import copy
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ParamSpec, TypeVar

import torch
from pydantic import AfterValidator, create_model

from hardlabel.attacks import Attack
from hardlabel.audits.game.execution import Execution
from hardlabel.checks import InvalidInput, plain, shown
from hardlabel.data.codecs.base import is_codec
from hardlabel.renamed import Halved
from hardlabel.runs.part import Part, types_of
from hardlabel.runs.progress import shown as progress_shown
from hardlabel.runs.settings import Attacker, Focus, RunSettings
from hardlabel.store import Store

P = ParamSpec("P")
R = TypeVar("R")


def _attacks(value: object) -> object:
    if isinstance(value, str):
        raise InvalidInput(f"attacks must be a list of names, got the string {shown(value)}")
    if not isinstance(value, Iterable):
        raise InvalidInput(f"attacks must be a list of names, got {shown(value)}")
    attacks = [plain(attack) for attack in value]
    for attack in attacks:
        if not isinstance(attack, str | Attack):
            raise InvalidInput(
                f"attacks must hold names, or attacks such as hardlabel.attacks.LabelAttack, got {shown(attack)}"
            )
    return attacks


def _domain(value: object) -> object:
    if isinstance(value, type) or not (is_codec(value) or callable(getattr(value, "check", None))):
        raise InvalidInput(f"domain must be a domain such as hardlabel.Box, got {shown(value)}")
    return value


def instance(name: str, kind: type, words: str) -> Any:
    """The rule that an argument is an object of this type."""

    def checked(value: object) -> object:
        if not isinstance(value, kind):
            raise InvalidInput(f"{name} must be {words}, got {shown(value)}")
        return value

    return Annotated[Any, AfterValidator(checked)]


RULES: Mapping[str, Any] = {
    "attacks": Annotated[Any, AfterValidator(_attacks)],
    "domain": Annotated[Any, AfterValidator(_domain)],
    "device": str | torch.device,
    "name": str,
    "store": instance("store", Store, "a hardlabel.Store"),
    "attacker": instance("attacker", Attacker, "a hardlabel.Attacker"),
    "focus": instance("focus", Focus, "a hardlabel.Focus"),
    "execution": instance("execution", Execution, "a hardlabel.Execution"),
    "settings": instance("settings", RunSettings, "settings of a run, such as ModelSettings"),
}
# Names that mean a setting in a YAML file, and something else in a call from Python.
NOT_SETTINGS = frozenset({"data", "pretrain", "trainer"})


def checked(settings: type[Part] = Part, **rules: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Lets a function refuse arguments of a wrong type or range before it works.

    NumPy's numbers arrive as Python's. An argument may be None if its annotation says so. Arguments without a rule,
    such as data and models, arrive as they are.

    Args:
        settings: The settings that give arguments of the same name their type and range.
        rules: Further types with their ranges, by argument; they take precedence.

    Raises:
        InvalidInput: When the function is called with an argument that breaks a rule.

    Example:
        >>> from hardlabel.audits.arguments import checked
        >>> from hardlabel.runs.settings import ModelSettings
        >>> @checked(ModelSettings)
        ... def drawn(seed: int = 0) -> int:
        ...     return seed
        >>> drawn(seed=None)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: seed must be a whole number, got None
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        form = _form(function.__name__, signature, settings, rules)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:
                return function(*args, **kwargs)  # Python says which argument is missing or unknown.
            given = {name: value for name, value in bound.arguments.items() if name in form.model_fields}
            for name, value in list(given.items()):
                annotation = signature.parameters[name].annotation
                if (value is None and type(None) in types_of(annotation)) or isinstance(value, Halved):
                    del given[name]
                elif value is None and type(None) in types_of(form.model_fields[name].annotation):
                    raise InvalidInput(f"{name} must not be left open here, got None")
                elif isinstance(value, str) and _is_list(form, name):
                    raise InvalidInput(f"{name} must be a list of names, got the string {shown(value)}")
            values = form(**given)
            bound.arguments.update({name: getattr(values, name) for name in given})
            own = signature.parameters.get("execution")
            execution = bound.arguments.get("execution", own and own.default)
            if not isinstance(execution, Execution):
                return function(*bound.args, **bound.kwargs)
            with progress_shown(execution.watch) as watch:
                bound.arguments["execution"] = replace(execution, watch=watch)
                return function(*bound.args, **bound.kwargs)

        return called

    return decorated


def _form(name: str, signature: inspect.Signature, settings: type[Part], rules: Mapping[str, Any]) -> type[Part]:
    """The arguments that have a rule, as a `Part`."""
    fields: dict[str, Any] = {}
    for argument in signature.parameters:
        if argument in rules or argument in RULES:
            fields[argument] = (rules.get(argument, RULES.get(argument)), None)
        elif argument in settings.model_fields and argument not in NOT_SETTINGS:
            fields[argument] = (settings.model_fields[argument].annotation, copy.copy(settings.model_fields[argument]))
        elif set(types_of(signature.parameters[argument].annotation)) <= {bool, int, float, type(None)}:
            fields[argument] = (signature.parameters[argument].annotation, None)
    return create_model(name, __base__=Part, **fields)


def _is_list(form: type[Part], name: str) -> bool:
    return any(typing.get_origin(kind) is list for kind in types_of(form.model_fields[name].annotation))

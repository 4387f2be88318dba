"""How a run of any kind is done: it is checked, prepared, planned, played and saved."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from hardlabel import secret
from hardlabel.audits.arguments import checked
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.audits.plan import Plan, pieces_made
from hardlabel.checks import InvalidInput, as_default
from hardlabel.data.domain import BinaryFeatures, Box, Domain, channel_bounds
from hardlabel.data.sources import SOURCES
from hardlabel.data.table import MixedTable
from hardlabel.data.tokens import Tokens
from hardlabel.data.unused import check_data, check_tables
from hardlabel.records.base import Record
from hardlabel.runs import listing
from hardlabel.runs.folder import CONFIG
from hardlabel.runs.kinds import Kinds, with_precision
from hardlabel.runs.part import Part
from hardlabel.runs.places import places_of
from hardlabel.runs.progress import SILENT
from hardlabel.runs.settings import Attacker, Data, DefensesSettings, Focus, Given, RunSettings
from hardlabel.store import Store
from hardlabel.targets.torch import resolve_device


class Prepared(Protocol):
    """A run whose data are loaded and checked; nothing is trained yet. Each kind of run has its own class."""

    @property
    def settled(self) -> Mapping[str, object]:
        """Settings that were left open and are fixed before any training, so that a resumed run does the same."""
        ...

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        """What `play` will do."""
        ...

    def play(self, asking: Asking, started: float) -> Record[Any]:
        """Trains, attacks and returns the record; `started` is when the clock began.

        The record's `config` holds the values chosen for settings that were left open.
        """
        ...


@runtime_checkable
class Billed(Protocol):
    """A run whose target may be paid."""

    def bill(self, execution: Execution) -> str:
        """What the run costs at most, in words; "" if no price is known. Asks and trains nothing."""
        ...


@checked()
def run(kinds: Kinds, settings: RunSettings, *, store: Store | None, execution: Execution = USUAL) -> Record[Any]:
    """Does what the settings say, and saves the record in their run folder. Finished pieces are not made again.

    Before any training, the folder is checked. It is refused if it holds another run or another process holds it.

    Args:
        kinds: All kinds of runs.
        settings: Settings of one kind; `out` must be set.
        store: Keeps models and measurements; None keeps nothing.
        execution: Where and in which pieces the work is done, and who is told of progress.

    Raises:
        InvalidInput: A setting breaks a rule; raised before any training or query.
    """
    started, watch = time.perf_counter(), execution.watch
    secret.check()
    folder = settings.out
    journaled = None if folder is None else listing.journaled(folder, store, watch)
    config, prepared, folder = _prepared(kinds, settings, store, journaled, execution)
    if execution.agree is not None and isinstance(prepared, Billed) and (bill := prepared.bill(execution)):
        execution.agree(bill)
    config |= prepared.settled
    with listing.begun(folder, config, store=journaled, places=places_of(settings.model_dump(mode="json"))):
        if watch is not SILENT:  # To plan, the speed of models is measured, which takes a second.
            before = pieces_made(folder)  # A plan may make a piece, to time it.
            watch.say(str(replace(prepared.plan(execution, folder), done=before)))
        record = prepared.play(Asking.by(execution, seed=settings.seed, store=journaled), started)
        return replace(record, config={**config, **record.config}).save(folder)


@checked()
def planned(kinds: Kinds, settings: RunSettings, *, store: Store | None, execution: Execution = USUAL) -> Plan:
    """What `run` would do. Loads the data and writes nothing into a run folder.

    Trains nothing, but for one model where only a training shows how long it takes: the store keeps that model.

    Raises:
        InvalidInput: See `run`.
    """
    return _prepared(kinds, settings, store, store, execution)[1].plan(execution, settings.out)


def _prepared(
    kinds: Kinds, settings: RunSettings, store: Store | None, keeps: Store | None, execution: Execution
) -> tuple[dict[str, object], Prepared, Path]:
    """The content of config.yaml, the run, and its folder; `keeps` is the store that the run's models go to."""
    kind = kinds.of_settings(settings)
    folder = settings.out
    config = kinds.check_folder(kind, settings, {} if folder is None else listing.places_of_run(folder, store))
    assert folder is not None, "the folder has been checked"
    settings = with_precision(settings, elsewhere=execution.executor.elsewhere)
    device = resolve_device(settings.device)
    if not os.path.lexists(folder / CONFIG):  # A run that has begun goes on, also one of an earlier version.
        _check_data(settings)
    prepared = kind.load("prepare")(settings, device=device, store=keeps, execution=execution)
    return config, prepared, folder


def _check_data(settings: RunSettings) -> None:
    """Refuses settings about the data that these data do not use.

    Raises:
        InvalidInput: There is such a setting.
    """
    if isinstance(settings, Data):
        exact = isinstance(settings, DefensesSettings) and settings.trainer is not None
        shared = getattr(settings, "pretrain", None) is not None
        check_data(settings.data, dict(settings), known=SOURCES, exact=exact, shared=shared)
    if isinstance(settings, Given):
        files = [settings.members, settings.nonmembers, settings.population]
        check_tables([file for file in files if file is not None], dict(settings))


# Arguments that no record holds: data, models, where the work is done, and `name`, which may be an address or a key.
_MODELS_AND_DATA = {"target", "members", "nonmembers", "population", "data", "model", "planted", "reference"}
_NOT_RECORDED = {*_MODELS_AND_DATA, "store", "execution", "name"}


def asked(kind: str, given: Mapping[str, Any], **resolved: object) -> dict[str, object]:
    """The arguments of a call from Python by name, as its record holds them. A call also needs the holder's secret.

    Args:
        kind: Kind of the record.
        given: All arguments by name: `locals()` in the first line of the called function.
        resolved: The values chosen for arguments that were left open.

    Raises:
        InvalidInput: The secret cannot be read; see `secret.check`.
    """
    secret.check()
    config: dict[str, object] = {"kind": kind}
    for name, value in given.items():
        if name in _NOT_RECORDED:
            continue
        if isinstance(value, Part):
            # Of slices, which hold a value for every row, only the names.
            config |= {field: sorted(content) if field == "slices" else _as_yaml(content) for field, content in value}
        else:
            config[name] = _as_yaml(value)
    return config | resolved


def _as_yaml(value: object) -> object:
    """The value in a form that YAML can hold; of other objects the class, since their text may hold anything."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_as_yaml(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): [float(level) for level in levels] for name, levels in value.items()}  # Levels of defenses.
    return str(value) if isinstance(value, torch.device) else type(value).__name__


def described(domain: Domain) -> str:
    """A domain as a record shows it: of a table, the number of columns, without their names and values."""
    if isinstance(domain, MixedTable):
        return f"MixedTable of {len(domain.columns)} columns"
    if isinstance(domain, Tokens):  # Without the digest, by which somebody could try whether he guesses the words.
        return f"Tokens of {domain.length} positions, {domain.vocabulary} ids"
    if channel_bounds(domain) is not None:  # Without the bounds, which may be extremes of the data.
        return f"{type(domain).__name__} of shape {domain.shape}"
    return repr(domain) if isinstance(domain, Box | BinaryFeatures) else type(domain).__name__


def refuse(attacker: Attacker, focus: Focus, title: str, unused: Sequence[str]) -> None:
    """Refuses a setting of `unused`, which this kind of run does not use, unless it has its default.

    Raises:
        InvalidInput: A setting has another value.
    """
    for part in (attacker, focus):
        for name in unused:
            field = type(part).model_fields.get(name)
            if field is not None and getattr(part, name) != field.get_default(call_default_factory=True):
                raise InvalidInput(
                    f"{name} must be {as_default(field.default)}, since {title} does not use it, "
                    f"got {getattr(part, name)!r}"
                )

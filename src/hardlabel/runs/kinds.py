"""Kinds of runs: what a kind is, which kind a run folder holds, and whether a run may continue in a folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from hardlabel.checks import InvalidInput
from hardlabel.runs.folder import CONFIG, check_writable, read_settings
from hardlabel.runs.part import in_order
from hardlabel.runs.places import places_of, without_folders
from hardlabel.runs.settings import RunSettings, flat, made, nested, renamed

# If the user leaves one of these settings open, config.yaml holds the value that the run chose.
RESOLVED = ("arch", "precision", "train_size", "samples", "shadow_samples", "delta")
# Settings on which no figure depends, so that a run may go on with others: a higher limit, another token or gate.
FREE = ("header_env", "rate", "timeout", "ca", "max_rows", "price_per_1000", "gate", "undecided")
BEFORE = {"precision": "float32"}  # What runs did before the setting existed, if that is not today's default.
# Older folders do not name their kind. Their kind is the first of these whose settings are all in the folder. Nor need
# a YAML file that names a target.
_OLDER = {
    "target": {"target"},
    "canaries": {"canaries", "kinds", "runs", "epsilon", "delta"},
    "defenses": {"repeats", "defenses", "levels", "pretrain"},
    "recipe": {"repeats"},
    "model": set[str](),
}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of run. Parts that need PyTorch or pandas are written "module:attribute" and imported at first use.

    Attributes:
        name: The kind in config.yaml.
        title: The kind in messages.
        settings: The class of the settings.
        command: The command that begins a run of this kind.
        given: The option that makes the command begin this kind; None if it needs no option.
        subject: The setting that names what is audited.
        prepare: `prepare(settings, *, device, store, execution)` loads and checks; see `audits.kind.Prepared`.
        record: The class of the record.
        file: The file that holds the record.
        page: `page(record)` gives the HTML of the report.
        markdown: `markdown(record)` gives the figures as Markdown tables.
        summary: `summary(record, width)` gives lines and tables for the terminal, beside the report's path; None if the
            command prints the Markdown instead.
        listing: `listing()` gives the text for --list; None if the command has no such option.
    """

    name: str
    title: str
    settings: type[RunSettings]
    command: str
    given: str | None = None
    subject: str = "data"
    prepare: str
    record: str
    file: str
    page: str
    markdown: str
    summary: str | None = None
    listing: str | None = None

    def load(self, part: str) -> Any:
        """The function or class behind "prepare", "record", "page", "markdown", "summary" or "listing"."""
        return resolve_name(getattr(self, part))

    def kept(self, settings: RunSettings) -> dict[str, object]:
        """The settings in the form of config.yaml: of paths, the last name."""
        values = without_folders(settings.model_dump(mode="json", exclude={"out"}))
        return {"kind": self.name, **nested({name: values[name] for name in in_order(self.settings) if name in values})}


# What a user of a setting may have forgotten, after the option that the setting needs.
_QUESTIONS = {
    "target": " MODEL: which model is to be audited?",
    **dict.fromkeys(("members", "member_column"), " MODEL: which model was trained on these rows?"),
}


@dataclass(frozen=True)
class Kinds:
    """All kinds, by name."""

    rows: Mapping[str, Kind]

    @cached_property
    def settings(self) -> list[type[RunSettings]]:
        """The settings classes of all kinds."""
        return [kind.settings for kind in self.rows.values()]

    def of(self, given: Mapping[str, object]) -> Kind:
        """The kind of run that these settings belong to.

        Raises:
            InvalidInput: They name a kind that does not exist.
        """
        name = given.get("kind")
        if name is None:
            name = next(kind for kind, names in _OLDER.items() if given.keys() >= names)
        if not isinstance(name, str) or name not in self.rows:
            raise InvalidInput(f"kind must be one of {', '.join(self.rows)}, got {name!r}")
        return self.rows[name]

    def of_settings(self, settings: RunSettings) -> Kind:
        """The kind whose settings have this type."""
        return next(kind for kind in self.rows.values() if type(settings) is kind.settings)

    def made(self, kind: Kind, given: Mapping[str, object], *, warn: bool = True) -> RunSettings:
        """Settings of a kind from names and values. Old names work, and warn if `warn`.

        Raises:
            InvalidInput: A setting is unknown, out of its range, or belongs to other kinds only.
        """
        values = {name: value for name, value in flat(given).items() if name != "kind"}
        values = renamed(values, self.settings, warn=warn)
        return made(kind.settings, values, title=kind.title, known=self.settings, ways=self._ways(kind))

    def _ways(self, kind: Kind) -> dict[str, str]:
        """By setting that goes only with an option of the same command, that option and what to think of."""
        ways: dict[str, str] = {}
        for other in self.rows.values():
            if other.command == kind.command and other.given is not None and other != kind:
                rows = [row for row in self.rows.values() if row.command == kind.command and row != other]
                elsewhere = {name for row in rows for name in row.settings.model_fields}
                alone = other.settings.model_fields.keys() - elsewhere - {other.given}
                for name in alone:
                    question = _QUESTIONS.get(name, _QUESTIONS.get(other.given, ""))
                    ways[name] = f"--{other.given}{question}"
        return ways

    def begun(self, folder: Path, places: Mapping[str, str] | None = None) -> tuple[Kind, RunSettings]:
        """The kind and the settings of the run in a folder.

        Args:
            folder: The run folder.
            places: The whole paths of settings, if they are known: config.yaml has only their last names.

        Raises:
            InvalidInput: The folder holds no run, or a run that cannot continue.
        """
        stored = flat(read_settings(folder))
        kind = self.of(stored)
        whole = {name: str(Path(path).expanduser()) for name, path in (places or {}).items() if name in stored}
        return kind, self.made(kind, {**stored, **whole, "out": folder}, warn=False)

    def check_folder(
        self, kind: Kind, settings: RunSettings, places: Mapping[str, str] | None = None
    ) -> dict[str, object]:
        """Checks that the run can begin or continue in its folder; returns the settings for config.yaml.

        A setting in RESOLVED that is None agrees with any value in the folder, and a setting in FREE always. A setting
        that the folder lacks, because an earlier version wrote it, counts as the value in BEFORE, else as the default.
        A path agrees with another one of the same last name, unless `places` has the whole path with which the run
        began.

        Raises:
            InvalidInput: `out` is None, cannot be written to, or holds another run.
        """
        folder, wanted = settings.out, kind.kept(settings)
        if folder is None:
            raise InvalidInput("out must name the run folder, got None")
        check_writable(folder)
        if not os.path.lexists(folder / CONFIG):
            return wanted
        stored = flat(read_settings(folder))
        stored_kind = self.of(stored)
        if stored_kind.subject not in stored or stored_kind != kind:
            raise InvalidInput(f"out {str(folder)!r} holds {stored_kind.title}; name a new folder")
        defaults = kind.settings.model_construct().model_dump(mode="json") | BEFORE | {"kind": kind.name}
        before = without_folders(defaults | renamed(stored, self.settings, warn=False))
        asked = flat(wanted)
        left_open = {name for name in RESOLVED if asked.get(name) is None}
        here = places_of(settings.model_dump(mode="json"))
        moved = {name for name, path in (places or {}).items() if name in here and here[name] != path}
        changed = {name for name in asked.keys() - left_open if before.get(name) != asked[name]}
        different = sorted((changed | moved) - set(FREE))
        if different:
            raise InvalidInput(
                f"out {str(folder)!r} holds another audit (it differs in {', '.join(different)}); name a new folder"
            )
        return wanted


def with_precision(settings: RunSettings, *, elsewhere: bool) -> RunSettings:
    """The settings with a precision, if it is known without looking at the processor.

    The precision is the user's, else the folder's, else float32 if other machines train (`elsewhere`), since they may
    differ. Settings without a precision stay as they are.
    """
    if getattr(settings, "precision", "float32") is not None:
        return settings
    precision: object = "float32" if elsewhere else None
    if settings.out is not None and os.path.lexists(settings.out / CONFIG):
        precision = read_settings(settings.out).get("precision", BEFORE["precision"]) or precision
    return settings.model_copy(update={"precision": precision})

"""The settings a run folder was begun with: which kind of run they are of, whether another may go on there."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from hardlabel.checks import InvalidInput
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.folder import CONFIG, check_writable, read_settings

RESOLVED = (
    "arch",
    "precision",
    "size",
    "samples",
    "shadow_samples",
    "delta",
)  # Where left open, a record has what was taken.


class Kind(StrEnum):
    """What a run folder holds."""

    MODEL = "the audit of a model"
    RECIPE = "the audit of a recipe"
    DEFENSES = "a comparison of defenses"
    CANARIES = "an audit by canaries"


# Settings that only runs of a kind have; the first kind whose settings are all there is meant.
OWN = {
    Kind.CANARIES: ("canaries", "kinds", "runs", "epsilon", "delta"),
    Kind.DEFENSES: ("repeats", "defenses", "levels", "pretrain"),
    Kind.RECIPE: ("repeats",),
}
BEFORE = {"precision": "float32"}  # What was done before there was such a setting, where that is not its default.
# Settings of an audit that a run of this kind would not look at.
_OF_ONE_MODEL = ("prior", "shadow_labels", "labels", "wrong_labels")
_NOT_COMPARED = (*_OF_ONE_MODEL, "precision", "shadow_samples", "worst_case", "slices", "slices_file", "show_records")
UNUSED = {
    Kind.MODEL: (),
    Kind.RECIPE: _OF_ONE_MODEL,
    Kind.DEFENSES: _NOT_COMPARED,
    Kind.CANARIES: (*_NOT_COMPARED, "samples", "shadows", "attacks", "networks", "budget"),
}


def kind_of(settings: Mapping[str, object]) -> Kind:
    """Of which kind of run these settings are."""
    return next((kind for kind, own in OWN.items() if settings.keys() >= set(own)), Kind.MODEL)


def settings_of(config: AuditConfig, kind: Kind, **own: object) -> dict[str, object]:
    """The settings to begin a run with: a configuration's, and those of the kind's own.

    Raises:
        InvalidInput: `out` names no folder, or one that holds another run; or a setting is not the default although
            runs of this kind do not look at it.
    """
    if config.out is None:
        raise InvalidInput("out must name the run folder, got None")
    usual = AuditConfig()
    for name in UNUSED[kind]:
        default, given = getattr(usual, name), getattr(config, name)
        if given != default and (name, given) != ("precision", BEFORE["precision"]):
            raise InvalidInput(f"{name} must be left at {default!r}, since {kind} does not use it, got {given!r}")
    settings = {**config.model_dump(mode="json", exclude={"out"}), **own}
    refuse_other_run(config.out, settings)
    return settings


def with_precision(config: AuditConfig, *, elsewhere: bool) -> AuditConfig:
    """The settings with the precision that is known before the processor is looked at, if any.

    As given, else as the folder's run was begun, else float32 where other machines train (`elsewhere`), which need not
    be alike.
    """
    if config.precision is not None:
        return config
    kept = None
    if config.out is not None and (config.out / CONFIG).exists():
        kept = read_settings(config.out).get("precision", BEFORE["precision"])
    return config.model_copy(update={"precision": kept or ("float32" if elsewhere else None)})


def refuse_other_run(folder: Path, settings: Mapping[str, object]) -> None:
    """Refuses a folder that holds a run of another kind or with other settings, or cannot be written to.

    Settings that the folder does not have, since an earlier version knew none of them, count as left at their
    defaults, or as in BEFORE. A setting in RESOLVED that is None agrees with whatever the record says was taken.

    Raises:
        InvalidInput: It does, or cannot.
    """
    check_writable(folder)
    if not (folder / CONFIG).exists():
        return
    there = read_settings(folder)
    kind = kind_of(there)
    if "data" not in there or kind != kind_of(settings):
        raise InvalidInput(f"out {str(folder)!r} holds {kind}; name a new folder")
    usual = AuditConfig().model_dump(mode="json") | BEFORE
    open_ = {name for name in RESOLVED if settings.get(name) is None}
    other = sorted(
        name for name, value in settings.items() if name not in open_ and there.get(name, usual.get(name)) != value
    )
    if other:
        raise InvalidInput(
            f"out {str(folder)!r} holds another audit (it differs in {', '.join(other)}); name a new folder"
        )

"""The settings of every kind of run, each written once.

A setting is one field of one part, and each kind of run combines parts. These fields define the options and the help of
the command line, the YAML file, the arguments of the Python functions, and the settings in a record.
"""

import contextlib
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, Strict, model_validator
from pydantic.config import JsonDict

from hardlabel import reading
from hardlabel.checks import InvalidInput, shown
from hardlabel.reading import Unreadable
from hardlabel.renamed import UNTIL
from hardlabel.runs.part import Part, is_parsed, types_of

REFERENCES = 12  # Default number of reference models.
CHUNK = 1000  # Default number of samples in a piece of work.
FARTHEST = {"shift": 100, "rotate": 180}  # Pixels and degrees of an augmentation; every step up to it is made.
CANARY_KINDS = ("mislabelled", "rare", "crafted")

S = TypeVar("S", bound="RunSettings")


def option(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    shown: str | None = None,
    commas: bool = False,
    old: str | None = None,
    metavar: str | None = None,
    **limits: Any,
) -> Any:
    """A setting.

    Args:
        default: The value if nobody gives one.
        help: The meaning, for the command line's help and for docstrings.
        flag: The option of the command line; None for the setting's name with hyphens.
        shown: The default that the help shows, if `default` is None.
        commas: Whether the command line takes a list as one word with commas; if not, the option may be repeated.
        old: An old name. It works, with a warning, until version UNTIL.
        metavar: The placeholder for the value in the help.
        limits: The range, as pydantic's arguments gt, ge, lt, le.
    """
    extra: JsonDict = {"flag": flag, "shown": shown, "commas": commas, "old": old, "metavar": metavar}
    return Field(default, description=help, json_schema_extra={"option": extra}, **limits)


def how(field: Any) -> dict[str, Any]:
    """The arguments flag, shown, commas, old and metavar of a field made by `option`; {} for other fields."""
    extra = field.json_schema_extra
    return extra["option"] if isinstance(extra, dict) and "option" in extra else {}


def _share(value: object) -> object:
    """Reads "0.5%" as 0.005."""
    if isinstance(value, str) and value.strip().endswith("%"):
        with contextlib.suppress(ValueError):
            return float(value.strip()[:-1]) / 100
    return value


def _words(value: object) -> object:
    """Reads "gap, noise" as ["gap", "noise"]."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _levels(value: object) -> object:
    """Reads ["l2=0.01,0.1"] as {"l2": [0.01, 0.1]}."""
    if not isinstance(value, list | tuple):
        return value
    levels = {}
    for word in value:
        name, _, numbers = str(word).partition("=")
        try:
            levels[name.strip()] = [float(number) for number in numbers.split(",") if number.strip()]
        except ValueError as error:
            raise InvalidInput(f"levels must be NAME=LEVEL,LEVEL with numbers, got {word!r}") from error
    return levels


Strength = Annotated[float, Strict()]  # True is no strength.
Words = Annotated[list[str], BeforeValidator(_words)]


class Repeats(Part, panel="Data"):
    """What happens to repeated rows."""

    strict: bool = option(False, "Refuse repeated rows instead of dropping them.")


class Data(Repeats, panel="Data"):
    """The data that a run loads."""

    data: str = option(
        "digits",
        "digits, cifar10, cifar100, mnist, location, adult, purchase100, texas100, the folder of one of them, or a "
        ".npz, .csv or .parquet file.",
    )
    folder: Path | None = option(None, "Where named data sets lie.", shown="$HARDLABEL_DATA")
    label: str | None = option(None, "The label column of a table.")
    missing: str | None = option(None, "What marks a missing value in a table; undeclared missing values are refused.")
    categorical: list[str] = option([], "A column of numbers that are categories; repeatable.")


class Training(Part, panel="Model"):
    """How the models of a run are trained."""

    arch: str | None = option(
        None,
        "The network: cnn, fc, fc-2, fc-3 (more layers), resnet18 or logistic.",
        shown="cnn for images of 16 pixels and more, else fc",
    )
    optimizer: Literal["adam", "sgd"] = option("adam", "adam or sgd.")
    learning_rate: float = option(1e-3, "Step size.", gt=0)
    batch_size: int = option(100, "Samples of a training step.", ge=1)
    max_epochs: int = option(1000, "Most epochs of training.", ge=1)
    weight_decay: float = option(0.0, "L2 penalty in training.", ge=0)
    stop_at_accuracy: float | None = option(None, "Stop training at this train accuracy.", shown="never", gt=0, le=1)
    augment: list[str] = option([], "Train with mirror, shift:PIXELS or rotate:DEGREES; repeatable.")
    train_size: int | None = option(
        None,
        "Training samples of a model.",
        shown="a quarter of the data, 2500 at most; defend: a fifth; canaries: half",
        old="size",
        ge=1,
    )


class Precision(Part, panel="Model"):
    """The precision in which the models of a run are trained."""

    precision: Literal["float32", "bfloat16"] | None = option(
        None, "Train in float32 or bfloat16.", shown="the faster one that is no worse here"
    )


class Samples(Part, panel="Attacker"):
    """The number of attacked samples."""

    samples: int | None = option(
        None, "Members, and as many non-members, that are attacked.", shown="all, 1000 at most", ge=1
    )


class ShadowSamples(Part, panel="Attacker"):
    """The number of samples that the shadow model is asked about."""

    shadow_samples: int | None = option(
        None,
        "Members, and as many non-members, of the shadow model that are asked about.",
        shown="all, 500 at most",
        ge=1,
    )


class Attacks(Part, panel="Attacker"):
    """The attacks to run, and their query budget."""

    attacks: Words | None = option(
        None,
        "Names from `hardlabel attacks`, with commas between them; all runs everything, whatever it costs.",
        shown="all that suit; under a budget the strongest; defend: one of each sort",
        commas=True,
    )
    budget: int | None = option(
        None,
        "Most queries per sample and attack; picks the strongest label-only attack within it and says why.",
        shown="each attack's usual number",
        metavar="N",
        ge=1,
    )


class OwnModels(Part, panel="Attacker"):
    """The attacker's own models."""

    references: int = option(
        REFERENCES,
        "Reference models, trained with and without the attacked samples: even, 2 to 256. Each costs one training.",
        old="shadows",
        ge=2,
        le=256,
    )
    networks: Literal["all", "class"] = option(
        "all", "Attack networks: all (one for all classes) or class (one for each)."
    )


class Labels(Part, panel="Attacker"):
    """The labels that the attacker has."""

    shadow_labels: Literal["true", "target"] = option(
        "true", "Labels of the shadow data: true, or target to have the target label them (extra queries)."
    )
    labels: Literal["true", "target"] = option(
        "true", "Labels of the attacked samples: true, or target to take the target's answers (extra queries)."
    )
    wrong_labels: float = option(0.0, "Share of the attacked samples' labels that the attacker has wrong.", ge=0, lt=1)

    @model_validator(mode="after")
    def _one_source(self) -> "Labels":
        if self.labels == "target" and self.wrong_labels:
            raise InvalidInput(f"wrong_labels must be 0 where labels are the target's, got {self.wrong_labels}")
        return self


class Prior(Part, panel="Report"):
    """The share of members among the records that an attacker asks about."""

    prior: float = option(0.01, "Share of members among the records an attacker would ask about.", gt=0, lt=1)


class AtRisk(Part, panel="Report"):
    """The report on the records most at risk."""

    worst_case: Annotated[float | None, BeforeValidator(_share)] = option(
        None,
        "Share of the samples, such as 0.5%: so many are chosen as most at risk by the attacker's own models, and "
        "reported separately.",
        metavar="SHARE",
        gt=0,
        lt=1,
    )
    show_records: bool = option(False, "The report shows the exposed records themselves, not only pseudonyms.")


class Slices(Part, panel="Report"):
    """Groups for which risk is reported."""

    slices: list[str] = option([], "A column whose groups risk is reported for; repeatable.", flag="--slice")
    slices_file: Path | None = option(
        None, "A .csv or .parquet file with such columns, one row for each row of the data."
    )


class Where(Part, panel="Where it runs"):
    """Where the work is done. Results do not depend on it, and run folders do not keep it."""

    executor: str = option("local", "Where the attacker's own models are trained and asked: local or ray.")
    address: str | None = option(None, "The Ray cluster's address.", shown="one that runs, else a new one here")
    jobs: int | None = option(None, "Processes at once, of local.", shown="one per core", ge=1)
    cores: int = option(1, "Cores, and threads, of each piece of work.", ge=1)
    gpus: float = option(0.0, "GPUs of each piece of work, fractions included; of ray.", ge=0)
    chunk: int = option(CHUNK, "Samples of a piece of work: what a broken run may have to ask again.", ge=1)


class Attacker(OwnModels, Labels):
    """What the attacker has and knows.

    Example:
        >>> from hardlabel import Attacker
        >>> Attacker(references=4, labels="target").references
        4
    """

    alike: bool = option(
        True,
        "Whether `trainer` trains as the target was trained; if not, each model's signals are standardised before they "
        "are compared.",
    )


class Focus(Prior, AtRisk, Repeats):
    """What the audit looks at besides the average record, and what it puts up with.

    Example:
        >>> from hardlabel import Focus
        >>> Focus(worst_case="0.5%").worst_case
        0.005
    """

    slices: Mapping[str, Any] = option(
        {},
        "Groups to report risk for: by name, one value for each sample. `audit` takes a pair (of members, of "
        "non-members). Numbers of many values are cut at their quartiles.",
    )
    private: bool = option(
        False,
        "Whether the target was trained with differential privacy. Such a model may be right no more often than "
        "guessing; of another model this contradicts that it was trained on the members, and there is no verdict.",
    )


class RunSettings(Data, Training, panel="Where it runs"):
    """The settings of every run."""

    seed: int = option(0, "Fixes every draw.", ge=0)
    device: str = option("auto", "Where models run: auto, cpu, cuda, ...")
    out: Path | None = option(None, "Run folder.", shown="a new one under runs/")


class ModelSettings(RunSettings, Precision, Samples, ShadowSamples, Attacks, OwnModels, Labels, Prior, AtRisk, Slices):
    """The audit of a model that hardlabel trains."""


class RecipeSettings(RunSettings, Precision, Samples, ShadowSamples, Attacks, OwnModels, AtRisk, Slices, panel="Model"):
    """The audit of a way of training: several models trained alike play target in turn."""

    repeats: int = option(
        8,
        "Audit the recipe instead of one model: so many models play target in turn, 2 to references + 2.",
        shown="one model is audited",
        ge=2,
    )


class DefensesSettings(RunSettings, Samples, Attacks, OwnModels, panel="Model"):
    """A comparison of defenses."""

    repeats: int = option(8, "Models that play target in turn, 2 to references + 2.", ge=2)
    defenses: Words | None = option(
        None, "Names, with commas between them; --list shows them.", shown="all that suit", commas=True
    )
    levels: Annotated[dict[str, list[Strength]] | None, BeforeValidator(_levels)] = option(
        None, "Strengths of a defense, as NAME=LEVEL,LEVEL; repeatable.", shown="three each"
    )
    pretrain: str | None = option(None, "Data to pretrain on.", shown="the defender's reserve")


class CanariesSettings(RunSettings, panel="Model"):
    """An audit by canaries."""

    canaries: int = option(500, "Canaries in one training.", ge=1)
    kinds: Words = option(
        list(CANARY_KINDS), f"Kinds of canaries, with commas: {', '.join(CANARY_KINDS)}.", commas=True
    )
    trainings: int = option(1, "1, or so many trainings with and without a single canary.", old="runs", ge=1)
    epsilon: float | None = option(None, "Train by DP-SGD with this guarantee.", shown="train as it is", gt=0)
    delta: float | None = option(
        None, "Of the bounds and the guarantee.", shown="the largest power of ten below 1 / train_size", gt=0, lt=1
    )


def read(path: Path) -> dict[str, object]:
    """The settings in a YAML file, unchecked.

    Raises:
        InvalidInput: The file cannot be read.
    """
    try:
        return reading.yaml_settings(reading.content(path, most=reading.YAML_BYTES)) or {}
    except Unreadable as error:
        raise InvalidInput(f"config {str(path)!r} cannot be read: {error}") from error


def made(kind: type[S], given: Mapping[str, object], *, title: str, known: Sequence[type["RunSettings"]]) -> S:
    """Settings of a kind from names and values.

    A setting that only other kinds use must have its default: this kind would ignore any other value in silence.

    Args:
        kind: The settings class of the kind.
        given: Values by name.
        title: The kind in words.
        known: The settings classes of all kinds.

    Raises:
        InvalidInput: A setting is unknown, out of its range, or belongs to other kinds only.
    """
    values = dict(given)
    for name, value in given.items():
        fields = [other.model_fields[name] for other in known if name in other.model_fields]
        if name in kind.model_fields or not fields:
            continue
        default = fields[0].get_default(call_default_factory=True)
        if value != default and (name, value) != ("precision", "float32"):
            raise InvalidInput(f"{name} must be left at {default!r}, since {title} does not use it, got {value!r}")
        del values[name]
    return kind(**{name: _number(kind, name, value) for name, value in values.items()})


def _number(kind: type[Part], name: str, value: object) -> object:
    """Reads text as a number where the setting is a number: to YAML, 1e-3 is text. Other text stays text."""
    field = kind.model_fields.get(name)
    if isinstance(value, str) and field is not None and not is_parsed(field):
        for number in (int, float):
            if number in types_of(field.annotation):
                with contextlib.suppress(ValueError):
                    return number(value)
    return value


def renamed(given: Mapping[str, object], known: Sequence[type[Part]], *, warn: bool = True) -> dict[str, object]:
    """The same settings under today's names. Old names warn if `warn`; old run folders are read without warnings.

    Raises:
        InvalidInput: A setting has a value under both names.
    """
    new_names = {
        how(field)["old"]: name for kind in known for name, field in kind.model_fields.items() if how(field).get("old")
    }
    settings: dict[str, object] = {}
    for name, value in given.items():
        today = new_names.get(name, name)
        if today in settings or (today != name and today in given):
            raise InvalidInput(f"{name} and {today} are one setting: give {today} only")
        if today != name and warn:
            warnings.warn(f"{name} is now called {today}; the old name goes in {UNTIL}", FutureWarning, stacklevel=3)
        settings[today] = value
    return settings


def moves_of(names: Sequence[str]) -> list[tuple[str, int]]:
    """The augmentations as pairs: ("mirror", 0), ("shift", PIXELS), ("rotate", DEGREES).

    Raises:
        InvalidInput: A name is unknown, or its number is missing.
    """
    moves = []
    for name in names:
        match = re.fullmatch(r"(mirror)|(shift|rotate):(\d+)", name)
        if match is None:
            raise InvalidInput(f'augment must be "mirror", "shift:PIXELS" or "rotate:DEGREES", got {name!r}')
        move, distance = match[1] or match[2], int(match[3] or 0)
        if distance > FARTHEST.get(move, 0):
            raise InvalidInput(f"augment {move} must be at most {FARTHEST[move]}, got {shown(name)}")
        moves.append((move, distance))
    return moves

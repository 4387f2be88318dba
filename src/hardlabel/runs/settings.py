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
from hardlabel.checks import InvalidInput, as_default, one_of, shown
from hardlabel.reading import Unreadable
from hardlabel.renamed import UNTIL
from hardlabel.runs.conditions import parse
from hardlabel.runs.part import Part, in_order, is_parsed, types_of
from hardlabel.targets.http.address import Address, is_address, rate_of
from hardlabel.targets.http.secrets import header_pairs

REFERENCES = 12  # Default number of reference models.
CHUNK = 1000  # Default number of samples in a piece of work.
# Pixels and degrees of an augmentation; every step up to it is made, and squares lie at most so far from the centre.
FARTHEST = {"shift": 100, "rotate": 180, "cutout": 100}
MOST_MOVES = 100_000  # Of one augmentation joined from several.
CANARY_KINDS = ("mislabelled", "rare", "crafted")
TRAINERS = ("same", "surrogate", "none")  # Or a function of the caller's, as FUNCTION.
FUNCTION = r".+\.py:[A-Za-z_]\w*"

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

# Settings of parts that have little else in common.
_LABEL = option(None, "The label column of a table.")
_CATEGORICAL = option([], "A column whose numbers are categories; repeatable.")
_IGNORE = option([], "A column that the target does not see; repeatable.")
_SEPARATOR = option(",", "The character between the cells of a .csv file.")
_MISSING = option(
    None,
    "The text that marks a missing value in a table, beside empty cells: '' for empty cells only. Other missing values "
    "are refused; in a .csv file of --members, texts such as NA are then kept as text.",
    shown="none; --members: the texts that pandas takes for missing",
)
_TRAIN_SIZE = option(
    None,
    "Training samples of a model.",
    shown="a quarter of the data, 2500 at most; defend: a fifth; canaries: half; with --target: the members given",
    old="size",
    ge=1,
)


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
    folder: Path | None = option(None, "Folder with the named data sets.", shown="$HARDLABEL_DATA")
    label: str | None = _LABEL
    missing: str | None = _MISSING
    categorical: list[str] = _CATEGORICAL


class Given(Repeats, panel="Data"):
    """The data of a target that is already trained."""

    members: Path | None = option(
        None,
        "The records that --target was trained on: a .csv, .parquet or .npz file, or a folder with one folder of "
        "images per class.",
    )
    nonmembers: Path | None = option(None, "Records that --target was not trained on, in the same form.")
    population: Path | None = option(
        None,
        "Further records in the same form, to train the attacker's own models on.",
        shown="the attacker has none",
    )
    member_column: str | None = option(
        None,
        "A column of --members that marks members: true or false, 1 or 0, yes or no, member or nonmember. Rows without "
        "a mark are the population.",
    )
    label: str | None = _LABEL
    ignore: list[str] = _IGNORE
    separator: str = _SEPARATOR
    missing: str | None = _MISSING
    group: str | None = option(None, "The column that names the person, if one person has several rows.")
    categorical: list[str] = _CATEGORICAL


class Target(Part, panel="Model"):
    """A model that is already trained, and how its attacker trains models like it."""

    target: str | None = option(
        None,
        "Audit this model instead of training one: a file (.joblib, .skops, .onnx, .pt, .pt2, .ubj, .txt, .keras), a "
        "Hugging Face folder, an address (https://...), or FILE.py:FUNCTION, where the function returns a model.",
    )
    trust_pickle: bool = option(False, "Load --target even if it is a pickle. Loading a pickle runs the code in it.")
    trust_type: list[str] = option([], "A type in a .skops file that may be loaded; repeatable.")
    label_map: list[str] = option(
        [], "ANSWER=LABEL: the target's name of a class, then its name in the data; repeatable."
    )
    trainer: str | None = option(
        None,
        "How the attacker trains its own models: same (the target, fitted anew), surrogate (a usual model for such "
        "data), none, or FILE.py:FUNCTION with a function (inputs, labels, *, seed) that returns a model.",
        shown="same where the target can be cloned, else surrogate",
    )
    name: str | None = option(
        None,
        "The name under which the target's answers are kept. Each model needs its own name.",
        shown="by the file's content; the address",
    )


class Endpoint(Part, panel="Model"):
    """How a target behind an address is asked."""

    protocol: str | None = option(
        None,
        "The protocol of a --target at an address: v2, tensorflow, tensorflow-inputs, mlflow, or a FILE.yaml that "
        "describes it.",
        shown="by the address",
    )
    header_env: list[str] = option(
        [],
        "NAME=VARIABLE: send the header NAME with the value of the environment variable, such as Authorization=TOKEN; "
        "repeatable.",
    )
    rate: str | None = option(
        None, "Most requests per second, minute or hour: 20/s, 600/min or 1000/h.", shown="no limit"
    )
    timeout: float = option(60.0, "Seconds to wait for an answer.", gt=0, le=3600)
    ca: Path | None = option(
        None,
        "A PEM file of the authorities that sign the target's certificate.",
        shown="those of common browsers",
    )
    use_scores: bool = option(False, "Let attacks that see confidences use the scores in the target's answers.")
    ledger: bool = option(
        False, "Record every row that is sent, so that none is paid for twice; always on for an address."
    )
    votes: int = option(1, "Ask this many times about each row, and take the most frequent label.", ge=1, le=99)
    max_rows: int | None = option(None, "Most rows that are sent to the target in all.", shown="no limit", ge=1)
    price_per_1000: float | None = option(
        None, "Price of 1,000 rows. The plan shows the cost, and the run asks before it spends.", gt=0
    )


class Training(Part, panel="Model"):
    """How the models of a run are trained."""

    arch: str | None = option(
        None,
        "The network: cnn, cnn1d (series), fc, fc-2, fc-3 (more layers), resnet8, resnet18 or logistic.",
        shown="cnn for images of 16 pixels and more, else fc",
    )
    optimizer: Literal["adam", "sgd"] = option("adam", "adam or sgd.")
    learning_rate: float = option(1e-3, "Step size.", gt=0)
    batch_size: int = option(100, "Samples per training step.", ge=1)
    max_epochs: int = option(1000, "Most epochs of training.", ge=1)
    weight_decay: float = option(0.0, "L2 penalty in training.", ge=0)
    stop_at_accuracy: float | None = option(None, "Stop training at this train accuracy.", shown="never", gt=0, le=1)
    augment: list[str] = option(
        [],
        "Train with mirror, shift:PIXELS, rotate:DEGREES or cutout:PIXELS, or several at once (mirror+shift:4); "
        "repeatable.",
    )
    train_size: int | None = _TRAIN_SIZE


class Precision(Part, panel="Model"):
    """The precision in which the models of a run are trained."""

    precision: Literal["float32", "bfloat16"] | None = option(
        None, "Train in float32 or bfloat16.", shown="the faster one that is no worse here"
    )


class Samples(Part, panel="Attacker"):
    """The number of attacked samples."""

    samples: int | None = option(
        None, "How many members are attacked, and as many non-members.", shown="all, 1000 at most", ge=1
    )


class ShadowSamples(Part, panel="Attacker"):
    """The number of samples that the shadow model is asked about."""

    shadow_samples: int | None = option(
        None,
        "How many members of the shadow model it is asked about, and as many non-members.",
        shown="all, 500 at most",
        ge=1,
    )


class Attacks(Part, panel="Attacker"):
    """The attacks to run, and their query budget."""

    attacks: Words | None = option(
        None,
        "Names from `hardlabel attacks`, separated by commas; or all, which runs everything, whatever it costs.",
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
        "all", "Attack networks: all (one for all classes) or class (one for each class)."
    )


class Labels(Part, panel="Attacker"):
    """The labels that the attacker has."""

    shadow_labels: Literal["true", "target"] = option(
        "true", "Labels of the shadow data: true, or target to have the target label them (extra queries)."
    )
    labels: Literal["true", "target"] = option(
        "true", "Labels of the attacked samples: true, or target to take the target's answers (extra queries)."
    )
    wrong_labels: float = option(
        0.0, "Share of the attacked samples for which the attacker has a wrong label.", ge=0, lt=1
    )

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
        "Share of the samples, such as 0.5%. The attacker's own models choose this share as most at risk; it is "
        "reported separately.",
        metavar="SHARE",
        gt=0,
        lt=1,
    )
    show_records: bool = option(False, "Show the exposed records themselves in the report, not only pseudonyms.")


class Slices(Part, panel="Report"):
    """Groups for which risk is reported."""

    slices: list[str] = option([], "Report the risk of each group in this column; repeatable.", flag="--slice")


class SlicesFile(Part, panel="Report"):
    """A file with groups."""

    slices_file: Path | None = option(
        None, "A .csv or .parquet file with the columns for --slice, one row for each row of the data."
    )


class Private(Part, panel="Report"):
    """Whether the target may know nothing."""

    private: bool = option(
        False,
        "Whether the target was trained with differential privacy. Such a model may be right no more often than "
        "guessing. For any other model, this contradicts that it was trained on the members: there is no verdict.",
    )


class Where(Part, panel="Where it runs"):
    """Where the work is done. Results do not depend on it, and run folders do not keep it."""

    executor: str = option("local", "Where the attacker's own models are trained and asked: local or ray.")
    address: str | None = option(None, "The Ray cluster's address.", shown="a running one, else a new one here")
    jobs: int | None = option(None, "Processes at once, with --executor local.", shown="one per core", ge=1)
    cores: int = option(1, "Cores (and threads) for each piece of work.", ge=1)
    gpus: float = option(0.0, "GPUs for each piece of work, with --executor ray; fractions are allowed.", ge=0)
    chunk: int = option(CHUNK, "Samples in a piece of work. A run that broke off asks unfinished pieces again.", ge=1)
    yes: bool = option(False, "Spend the cost by --price-per-1000 without asking first.")
    accept_change: bool = option(False, "Go on although the target has changed since the run began.")


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


class Focus(Prior, AtRisk, Repeats, Private):
    """What the audit looks at in addition to the average record, and what it puts up with.

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


class Gate(Part, panel="Gate"):
    """What must not be in a run's figures. No figure depends on it."""

    gate: list[str] = option(
        [],
        'Fail if this is proven: "label.auc > 0.60", "path.tpr@0.01 > 0.05", "worst.precision > 0.8", '
        '"grade >= clear"; repeatable. Exit code 3, or 4 if it is neither proven nor excluded.',
        flag="--fail-if",
        metavar="CONDITION",
    )
    undecided: Literal["pass", "fail"] | None = option(
        None, "What an undecided gate counts as: pass (exit code 0) or fail (3).", shown="exit code 4"
    )

    @model_validator(mode="after")
    def _conditions(self) -> "Gate":
        for condition in self.gate:
            parse(condition)
        return self


class GateFiles(Part, panel="Gate"):
    """Where the outcome of the gate is written. Run folders do not keep it."""

    junit: Path | None = option(None, "Write the outcome of --fail-if as JUnit XML.")
    summary: Path | None = option(None, "Write the outcome of --fail-if as Markdown, for a pull request.")


class RunSettings(Gate, panel="Where it runs"):
    """The settings of every run."""

    seed: int = option(0, "Seed of all random draws.", ge=0)
    device: str = option("auto", "Where models run: auto, cpu, cuda, ...")
    out: Path | None = option(None, "Run folder.", shown="a new one under runs/")


class TrainedSettings(Data, Training, RunSettings):
    """The settings of runs that train their targets themselves."""


class ModelSettings(
    TrainedSettings, Precision, Samples, ShadowSamples, Attacks, OwnModels, Labels, Prior, AtRisk, Slices, SlicesFile
):
    """The audit of a model that hardlabel trains."""


class TargetSettings(
    Given,
    Target,
    Endpoint,
    RunSettings,
    Samples,
    Attacks,
    OwnModels,
    Labels,
    Prior,
    AtRisk,
    Slices,
    Private,
    panel="Model",
):
    """The audit of a model that is already trained."""

    train_size: int | None = _TRAIN_SIZE

    @model_validator(mode="after")
    def _whole(self) -> "TargetSettings":
        _check_target(self.target)
        if self.members is None:
            raise InvalidInput(
                "members must name a file or a folder with what the target was trained on, got nothing: --members FILE"
            )
        if self.nonmembers is None and self.member_column is None:
            raise InvalidInput(
                "nonmembers must name a file or a folder with what the target was not trained on, got nothing: "
                "--nonmembers FILE, or --member-column COLUMN where --members holds both"
            )
        if self.nonmembers is not None and self.member_column is not None:
            raise InvalidInput(
                f"member_column must be left out where nonmembers have their own file, got {self.member_column!r}"
            )
        if self.trainer not in (None, *TRAINERS) and re.fullmatch(FUNCTION, str(self.trainer)) is None:
            raise InvalidInput(f"trainer must be {', '.join(TRAINERS)} or FILE.py:FUNCTION, got {shown(self.trainer)}")
        self._check_endpoint()
        return self

    def _check_endpoint(self) -> None:
        """Refuses settings of addresses where the target is none, and what is no rate, header or number of votes."""
        assert self.target is not None, "it has been checked"
        unused = set[str]()
        if is_address(self.target):
            Address.of(self.target)
        elif self.ledger:
            unused = set(Endpoint.model_fields) - {"ledger", "votes", "max_rows", "price_per_1000", "timeout"}
        else:
            unused = set(Endpoint.model_fields) - {"ledger"}
        for name in sorted(unused):
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) != default:
                raise InvalidInput(f"{name} must be {as_default(default)}, since target is no address")
        header_pairs(self.header_env)
        if self.rate is not None:
            rate_of(self.rate)
        if self.budget is not None and self.votes > self.budget:
            raise InvalidInput(f"votes must be at most the budget of {self.budget} rows per sample, got {self.votes}")


class RecipeSettings(
    TrainedSettings, Precision, Samples, ShadowSamples, Attacks, OwnModels, AtRisk, Slices, SlicesFile, panel="Model"
):
    """The audit of a way of training: several models trained alike play target in turn."""

    repeats: int = option(
        8,
        "Audit the recipe instead of one model: this many models play target in turn, 2 to references + 2.",
        shown="one model is audited",
        ge=2,
    )


class OwnTable(Part, panel="Data"):
    """How a table is read whose types must stay as they are."""

    ignore: list[str] = _IGNORE
    separator: str = _SEPARATOR


class DefensesSettings(TrainedSettings, OwnTable, Samples, Attacks, OwnModels, panel="Model"):
    """A comparison of defenses."""

    trainer: str | None = option(
        None,
        "Train your way: FILE.py:FUNCTION, where the function takes (inputs, labels, *, seed) and returns a trained "
        "model, or takes nothing and returns an unfitted scikit-learn classifier.",
        shown="a network of hardlabel's",
    )

    repeats: int = option(8, "Models that play target in turn, 2 to references + 2.", ge=2)
    defenses: Words | None = option(
        None, "Names, separated by commas; --list shows them.", shown="all that suit", commas=True
    )
    levels: Annotated[dict[str, list[Strength]] | None, BeforeValidator(_levels)] = option(
        None, "Strengths of a defense, as NAME=LEVEL,LEVEL; repeatable.", shown="three each"
    )
    pretrain: str | None = option(None, "Data to pretrain on.", shown="the defender's reserve")

    @model_validator(mode="after")
    def _one_training(self) -> "DefensesSettings":
        if self.trainer is None:
            unused, why = [*OwnTable.model_fields], "only trainer uses it"
        elif re.fullmatch(FUNCTION, self.trainer) is None:
            raise InvalidInput(f"trainer must be FILE.py:FUNCTION, got {shown(self.trainer)}")
        else:
            unused, why = [name for name in Training.model_fields if name != "train_size"], "trainer trains the models"
            unused += ["missing", "pretrain"]
        for name in unused:
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) != default:
                raise InvalidInput(
                    f"{name} must be {as_default(default)}, since {why}, got {shown(getattr(self, name))}"
                )
        return self


class CanariesSettings(TrainedSettings, panel="Model"):
    """An audit by canaries."""

    canaries: int = option(500, "Canaries in one training.", ge=1)
    kinds: Words = option(
        list(CANARY_KINDS), f"Kinds of canaries, separated by commas: {', '.join(CANARY_KINDS)}.", commas=True
    )
    trainings: int = option(1, "1, or the number of trainings with and without a single canary.", old="runs", ge=1)
    epsilon: float | None = option(None, "Train by DP-SGD with this guarantee.", shown="train as it is", gt=0)
    delta: float | None = option(
        None,
        "Delta of the bounds and the guarantee.",
        shown="the largest power of ten below 1 / train_size",
        gt=0,
        lt=1,
    )


def _check_target(target: str | None) -> None:
    if not target:
        raise InvalidInput(
            f"target must name a model, a file, a folder, an address or FILE.py:FUNCTION, got {shown(target)}"
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", target) and not is_address(target):
        raise InvalidInput(f"target must be an address of http or https, got {shown(target.partition('://')[0])}://")


# In YAML these settings of a target that is already trained stand under `target:`, where the target itself is `file`.
TARGET, FILE = "target", "file"
_UNDER_TARGET = (
    *in_order(Target),
    *in_order(Endpoint),
    *(name for name in in_order(Given) if name not in Repeats.model_fields),
)


def flat(given: Mapping[str, object]) -> dict[str, object]:
    """The settings without the level `target:`. Settings without such a level stay as they are.

    Raises:
        InvalidInput: A setting under `target:` is unknown, or stands beside it too.

    Example:
        >>> from hardlabel.runs.settings import flat
        >>> flat({"seed": 1, "target": {"file": "model.onnx", "members": "m.csv"}})
        {'seed': 1, 'target': 'model.onnx', 'members': 'm.csv'}
    """
    inner = given.get(TARGET)
    if not isinstance(inner, Mapping):
        return dict(given)
    settings = {name: value for name, value in given.items() if name != TARGET}
    for name, value in inner.items():
        one_of([FILE, *_UNDER_TARGET[1:]], **{TARGET: name})
        today = TARGET if name == FILE else name
        if today in settings:
            raise InvalidInput(f"{name} must stand under target or beside it, got both")
        settings[today] = value
    return settings


def nested(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with those of the target under `target:`, as YAML shows them; the inverse of `flat`.

    Example:
        >>> from hardlabel.runs.settings import nested
        >>> nested({"seed": 1, "target": "model.onnx", "members": "m.csv"})
        {'target': {'file': 'model.onnx', 'members': 'm.csv'}, 'seed': 1}
    """
    if TARGET not in settings:
        return dict(settings)
    inner = {FILE if name == TARGET else name: settings[name] for name in _UNDER_TARGET if name in settings}
    return {TARGET: inner, **{name: value for name, value in settings.items() if name not in _UNDER_TARGET}}


def read(path: Path) -> dict[str, object]:
    """The settings in a YAML file, flat and unchecked.

    Raises:
        InvalidInput: The file cannot be read, or see `flat`.
    """
    try:
        settings = reading.yaml_settings(reading.content(path, most=reading.YAML_BYTES)) or {}
    except Unreadable as error:
        raise InvalidInput(f"config {str(path)!r} cannot be read: {error}") from error
    return flat(settings)


def made(
    kind: type[S],
    given: Mapping[str, object],
    *,
    title: str,
    known: Sequence[type["RunSettings"]],
    ways: Mapping[str, str] | None = None,
) -> S:
    """Settings of a kind from names and values.

    A setting that only other kinds use must have its default: this kind would ignore any other value without a warning.

    Args:
        kind: The settings class of the kind.
        given: Values by name.
        title: The kind in words.
        known: The settings classes of all kinds.
        ways: By setting of other kinds, what it needs that a user may have forgotten.

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
            if ways and name in ways:
                flag = how(fields[0])["flag"] or "--" + name.replace("_", "-")
                raise InvalidInput(f"{flag} needs {ways[name]}")
            got = "a header" if name == "header_env" else shown(str(value) if isinstance(value, Path) else value)
            raise InvalidInput(f"{name} must be {as_default(default)}, since {title} does not use it, got {got}")
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


def moves_of(names: Sequence[str]) -> list[list[tuple[str, int]]]:
    """The augmentations, each as the pairs that are made at once: ("mirror", 0), ("shift", PIXELS), ("rotate",
    DEGREES), ("cutout", PIXELS).

    Raises:
        InvalidInput: A name is unknown, its number is missing or too large, or it is joined with itself.
    """
    return [_joined_moves(name) for name in names]


def _joined_moves(name: str) -> list[tuple[str, int]]:
    moves: dict[str, int] = {}
    for part in name.split("+"):
        match = re.fullmatch(r"(mirror)|(shift|rotate|cutout):(\d+)", part)
        if match is None:
            raise InvalidInput(
                'augment must be "mirror", "shift:PIXELS", "rotate:DEGREES" or "cutout:PIXELS", or several of them '
                f"joined by +, got {name!r}"
            )
        move, distance = match[1] or match[2], int(match[3] or 0)
        if distance > FARTHEST.get(move, 0):
            raise InvalidInput(f"augment {move} must be at most {FARTHEST[move]}, got {shown(name)}")
        if move in moves:
            raise InvalidInput(f"augment must join different moves, got {name!r}")
        moves[move] = distance
    return list(moves.items())

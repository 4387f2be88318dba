"""The settings of an audit of a model that hardlabel trains itself, from a file or the command line."""

import re
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import Move


class AuditConfig(BaseModel):
    """What to audit and how; every field has a default, so that an empty file audits digits.

    Attributes:
        data: A named source, or a path to a .npz, .csv or .parquet file.
        folder: Where data lie; None reads the environment variable HARDLABEL_DATA.
        label: The label column of a table.
        missing: What marks a missing value in a table; undeclared ones are refused.
        categorical: Columns of a table to take as categories although they hold numbers.
        arch: Architecture; None takes "cnn" for images of 16 pixels and more, "fc" for all else.
        optimizer, learning_rate, batch_size, max_epochs, weight_decay, stop_at_accuracy: See `Recipe`.
        precision: See `Recipe`; None takes what is faster here, see `usual_precision`.
        augment: Augmentations to train with: "mirror", "shift:PIXELS", "rotate:DEGREES".
        size: Training samples of the target and of the shadow model, and as many outside each; None takes a quarter
            of the data, 2,500 at most.
        samples: Members, and as many non-members, that are attacked; None takes all, 1,000 at most.
        shadow_samples: The same on the shadow model; None takes all, 500 at most.
        shadow_labels: "true", or "target" to have the target label the shadow data.
        shadows: Reference models for attacks calibrated per sample, even, 2 to 256.
        attacks: Names; None runs all that suit, under a budget the strongest; "all" runs all whatever they cost.
        networks: "all" for one attack network for all classes, "class" for one per class.
        budget: Most queries per sample and attack.
        prior: Share of members among those an attacker would ask about.
        seed: Fixes every draw.
        device: Where models run; "auto" takes CUDA where it is at hand.
        worst_case: Share of the points asked about that is chosen as most at risk, a number or "0.5%".
        slices: Columns of a table, or of `slices_file`, for whose groups risk is reported.
        slices_file: A .csv or .parquet file with a row for each row of the data, in their order.
        labels: "true", or "target" where the attacker takes the target's answers for the labels of the points.
        wrong_labels: Share of the points' labels that the attacker has wrong.
        show_records: Whether the record holds the exposed records themselves.
        out: The run folder; None makes one under runs/.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str = "digits"
    folder: Path | None = None
    label: str | None = None
    missing: str | None = None
    categorical: list[str] = []
    arch: str | None = None
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(100, ge=1)
    max_epochs: int = Field(1000, ge=1)
    weight_decay: float = Field(0.0, ge=0)
    stop_at_accuracy: float | None = Field(None, gt=0, le=1)
    precision: Literal["float32", "bfloat16"] | None = None
    augment: list[str] = []
    size: int | None = Field(None, ge=1)
    samples: int | None = Field(None, ge=1)
    shadow_samples: int | None = Field(None, ge=1)
    shadow_labels: Literal["true", "target"] = "true"
    shadows: int = Field(12, ge=2, le=256)
    attacks: list[str] | None = None
    networks: Literal["all", "class"] = "all"
    budget: int | None = Field(None, ge=1)
    prior: float = Field(0.01, gt=0, lt=1)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    worst_case: float | None = Field(None, gt=0, lt=1)
    slices: list[str] = []
    slices_file: Path | None = None
    labels: Literal["true", "target"] = "true"
    wrong_labels: float = Field(0.0, ge=0, lt=1)
    show_records: bool = False
    out: Path | None = None

    @field_validator("worst_case", mode="before")
    @classmethod
    def _share(cls, given: object) -> object:
        """Takes "0.5%" for 0.005."""
        if isinstance(given, str) and given.strip().endswith("%"):
            try:
                return float(given.strip()[:-1]) / 100
            except ValueError:
                return given
        return given

    @property
    def moves(self) -> tuple[Move, ...]:
        """The augmentations to train with.

        Raises:
            InvalidInput: A name is unknown or its number missing.
        """
        return augment.union(*(_moves(name) for name in self.augment))


def read(path: Path | None, overrides: dict[str, object]) -> AuditConfig:
    """The settings of a YAML file, with those given on the command line in their place.

    Raises:
        InvalidInput: The file cannot be read, or a setting is unknown or out of its range.
    """
    found: dict[str, object] = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"config {str(path)!r} cannot be read: {error}") from error
        except yaml.YAMLError as error:
            raise InvalidInput(f"config {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
        if content is not None and not isinstance(content, dict):
            raise InvalidInput(f"config {str(path)!r} must map settings to values, got {type(content).__name__}")
        found = content or {}
    try:
        return AuditConfig.model_validate({**found, **overrides})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{name}: {first['msg']}, got {first['input']!r}") from error


def _moves(name: str) -> tuple[Move, ...]:
    if name == "mirror":
        return augment.flips()
    if found := re.fullmatch(r"(shift|rotate):(\d+)", name):
        number = int(found[2])
        if found[1] == "rotate":
            return augment.rotations(number, every_degree=True)
        return augment.union(*(augment.translations(d) for d in range(number + 1)))
    raise InvalidInput(f'augment must be "mirror", "shift:PIXELS" or "rotate:DEGREES", got {name!r}')

"""The user's own training and the data for it, as settings name them."""

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

import pandas as pd
import torch
from sklearn.base import BaseEstimator

from hardlabel.audits.cases.case import classes_of
from hardlabel.audits.cases.from_arrays import trainer_of, whole
from hardlabel.audits.cases.from_settings import dataset_of
from hardlabel.audits.cases.pairs import Read
from hardlabel.checks import InvalidInput, shown
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.data.files import FILE_TYPES
from hardlabel.data.given import Columns, read_undivided
from hardlabel.data.samples import Samples
from hardlabel.data.sources import SOURCES
from hardlabel.models.trainers import Trainer
from hardlabel.runs.progress import Watch
from hardlabel.runs.settings import DefensesSettings
from hardlabel.store import Store
from hardlabel.targets.coded import Coding
from hardlabel.targets.files import load_function

Training: TypeAlias = Callable[..., object] | BaseEstimator


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTraining:
    """What a user trains, and on what.

    Attributes:
        samples: All samples.
        trainer: Trains in the terms that the data have.
        data: Name of the data.
        classes: Number of classes.
        notes: What the reader must know about the data.
    """

    samples: Samples
    trainer: Trainer
    data: str
    classes: int
    notes: tuple[str, ...] = ()


def own_training(settings: DefensesSettings, *, device: torch.device, store: Store | None, watch: Watch) -> OwnTraining:
    """The training and the data that the settings name; nothing is trained yet.

    A file is read with its types, so that the training gets frames with strings, images as stored, texts. Of data sets
    known by name, it gets points as arrays: pixels from 0 to 1, bits, encoded rows.

    Raises:
        InvalidInput: The data or the function of the trainer break a rule.
    """
    assert settings.trainer is not None, "the settings have been checked"
    training = training_of(settings.trainer)
    if _is_named(settings.data):
        dataset = dataset_of(settings, watch, store)
        read = Read(groups={}, domain=dataset.samples.domain, coding=Coding(), arrays=True, notes=())
        samples, data, classes = dataset.samples, dataset.name, dataset.classes
        notes: tuple[str, ...] = ()
    else:
        watch.stage(f"loading {settings.data}", 1, "files")
        columns = Columns(label=settings.label, ignore=settings.ignore, categorical=settings.categorical)
        file = read_undivided(Path(settings.data), columns=columns, separator=settings.separator)
        inputs, categorical = file.pair[0], settings.categorical
        codec = None
        if isinstance(inputs, pd.DataFrame) and categorical:
            codec = FrameCodec.fit({"data": inputs}, categorical=categorical)
        loaded = whole(file.pair, codec, seed=settings.seed, strict=settings.strict)
        samples, read, data = loaded.samples, loaded.read, Path(settings.data).name
        classes, notes = classes_of(samples), (*file.notes, *loaded.notes)
    name = _identity(settings.trainer)
    trainer = trainer_of(training, classes, read, name=name, device=device, store=store)
    assert trainer is not None, "a training is given"
    return OwnTraining(samples=samples, trainer=trainer, data=data, classes=classes, notes=notes)


def training_of(place: str) -> Training:
    """The training function that FILE.py:FUNCTION names, or the unfitted classifier that the function returns.

    A function that takes inputs and labels trains; a function that takes nothing returns a classifier.

    Raises:
        InvalidInput: There is no such function; it takes other arguments, raises an error or returns something else.
    """
    function = load_function(place, role="trainer")
    named = f"trainer {Path(place).name}"
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # A function without a signature, of C.
        parameters = inspect.signature(lambda: None).parameters.values()
    positional = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if len(positional) >= 2 and positional[1].default is inspect.Parameter.empty:
        return function
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return function
    if any(one.default is one.empty and one.kind is not one.VAR_KEYWORD for one in parameters):
        raise InvalidInput(
            f"{named} must take (inputs, labels, *, seed) and train a model, or take nothing and return an unfitted "
            f"classifier, got ({', '.join(str(one) for one in parameters)})"
        )
    try:
        estimator = function()
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"{named} raised {type(error).__name__}: {' '.join(str(error).split())}") from error
    if not (isinstance(estimator, BaseEstimator) and hasattr(estimator, "fit") and hasattr(estimator, "predict")):
        raise InvalidInput(
            f"{named} takes nothing and must return an unfitted scikit-learn classifier, got {shown(estimator)}; a "
            "function that trains takes (inputs, labels, *, seed)"
        )
    return cast(BaseEstimator, estimator)


def _is_named(data: str) -> bool:
    """Whether the data are a data set known by name, in whatever folder; also of a name that nobody knows."""
    path = Path(data).expanduser()
    if path.is_dir() and data not in SOURCES:
        return path.resolve().name in SOURCES
    return path.suffix.lower() not in FILE_TYPES


def _identity(place: str) -> str:
    """Tells a function from others: its name, and the path and the content of its file."""
    file = Path(re.sub(r":\w+$", "", place))
    return hashlib.sha256(f"{place.rpartition(':')[2]}\0{file.resolve()}\0".encode() + file.read_bytes()).hexdigest()

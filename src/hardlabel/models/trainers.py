"""What trains a model for the attacker: a recipe of ours, a scikit-learn estimator, or a function of the user's.

A trainer fits one model on samples with a seed. What it has fitted is found again in the store where it can be told
apart from others: a recipe by its settings, an estimator by its class and parameters, a function by the name its
user gives.
"""

import inspect
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Protocol, Self, runtime_checkable

import joblib
import torch
from sklearn.base import BaseEstimator, clone

from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.executors import UNSENDABLE
from hardlabel.models.method import Method
from hardlabel.models.model_store import content_hash, packed, spec_of, trained, unpacked
from hardlabel.models.train import EpochReport, Recipe, Trained, train
from hardlabel.store import Spec, Store
from hardlabel.turns import turn

PLAIN = (bool, int, float, str, type(None))
FORMAT = 1  # Raised when the same trainer, data and seed come to mean another model: old ones are not found then.


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """A fitted model and what it took.

    Attributes:
        model: A torch module, an estimator, or whatever the user's function returns.
        seconds: Wall time of the training, wherever and whenever it was done.
        rows: Rows that went through the model in training, or None where nobody counted.
        told: How the training ended, in words; may be empty.
    """

    model: object
    seconds: float
    rows: int | None = None
    told: str = ""


class Trainer(Protocol):
    """Fits models, each from its own seed."""

    @property
    def description(self) -> str:
        """The recipe, in words."""
        ...

    @property
    def epochs(self) -> int | None:
        """Most epochs of a training that reports them, else None."""
        ...

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        """A model fitted on `samples`, or the one the store kept."""
        ...


@runtime_checkable
class Movable(Trainer, Protocol):
    """A trainer whose models can be made in another process: there they are packed, here unpacked and kept."""

    @property
    def store(self) -> Store | None: ...

    def key(self, samples: Samples, seed: int) -> Spec | None:
        """What the model is kept under; None where it cannot be told from others."""
        ...

    def packed(self, samples: Samples, seed: int) -> bytes:
        """A model fitted on `samples`, as the piece that the store keeps; nothing is kept here."""
        ...

    def unpacked(self, kept: bytes, samples: Samples) -> Made:
        """The model of such a piece."""
        ...

    def moved(self, device: torch.device) -> Self:
        """The trainer as it is sent elsewhere: without its store, and training on `device` where that is its choice."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeTrainer:
    """Trains our networks by a recipe.

    Attributes:
        recipe: How.
        classes: Number of logits.
        device: Where the models run.
        store: Keeps them; None keeps nothing.
        method: What is changed about the training, or None.
    """

    recipe: Recipe
    classes: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    store: Store | None = None
    method: Method | None = None

    @property
    def description(self) -> str:
        words = f"{self.recipe.architecture}, {self.recipe.optimizer} {self.recipe.learning_rate:g}"
        if self.recipe.precision != "float32":
            words += f", {self.recipe.precision}"
        if self.recipe.weight_decay:
            words += f", weight decay {self.recipe.weight_decay:g}"
        if self.recipe.augment:
            words += f", {len(self.recipe.augment)} augmentations"
        if self.recipe.stop_at_accuracy is not None:
            words += f", stopped at accuracy {self.recipe.stop_at_accuracy:g}"
        return words if self.method is None else f"{words}, {self.method.description}"

    @property
    def epochs(self) -> int:
        return self.recipe.max_epochs

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        made = trained(
            self.recipe,
            samples,
            classes=self.classes,
            seed=seed,
            device=self.device,
            store=self.store,
            on_epoch=on_epoch,
            method=self.method,
        )
        return made_by_recipe(made)

    def key(self, samples: Samples, seed: int) -> Spec:
        return spec_of(self.recipe, samples, classes=self.classes, seed=seed, method=self.method)

    def packed(self, samples: Samples, seed: int) -> bytes:
        made = train(self.recipe, samples, classes=self.classes, seed=seed, device=self.device, method=self.method)
        return packed(made)

    def unpacked(self, kept: bytes, samples: Samples) -> Made:
        made = unpacked(kept, self.recipe, samples.domain, classes=self.classes, device=self.device, method=self.method)
        return made_by_recipe(made)

    def moved(self, device: torch.device) -> "RecipeTrainer":
        method = None if self.method is None else self.method.moved(self.device)
        return replace(self, device=device, store=None, method=method)


@dataclass(frozen=True, kw_only=True, eq=False)
class EstimatorTrainer:
    """Fits clones of a scikit-learn classifier; `random_state`, where it has one, is set to the seed.

    Attributes:
        estimator: The classifier to clone; never fitted itself.
        store: Keeps the fitted clones, as pickles: load a store only if you trust who wrote it.

    Raises:
        InvalidInput: It is no scikit-learn estimator.
    """

    estimator: BaseEstimator
    store: Store | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.estimator, BaseEstimator) and hasattr(self.estimator, "predict")):
            raise InvalidInput(f"estimator must be a scikit-learn classifier, got {type(self.estimator).__name__}")

    @property
    def description(self) -> str:
        return _described(self.estimator)

    @property
    def epochs(self) -> None:
        return None

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        del on_epoch  # It has none.
        return kept_or_made(self.key(samples, seed), self.store, lambda: self._fitted(samples, seed))

    def key(self, samples: Samples, seed: int) -> Spec:
        return {
            "kind": "estimator",
            "format": FORMAT,
            "class": f"{type(self.estimator).__module__}.{type(self.estimator).__qualname__}",
            "parameters": joblib.hash(self.estimator.get_params()),
            "samples": content_hash(samples),
            "seed": seed,
            "sklearn": metadata.version("scikit-learn"),
        }

    def packed(self, samples: Samples, seed: int) -> bytes:
        return _packed(lambda: self._fitted(samples, seed))

    def unpacked(self, kept: bytes, samples: Samples) -> Made:
        del samples
        return _unpacked(kept)

    def moved(self, device: torch.device) -> "EstimatorTrainer":
        del device
        return replace(self, store=None)

    def _fitted(self, samples: Samples, seed: int) -> object:
        fresh = clone(self.estimator)
        if "random_state" in fresh.get_params():
            fresh.set_params(random_state=seed % 2**32)
        # Copies: some estimators scale their inputs in place.
        return fresh.fit(samples.inputs.flatten(1).cpu().numpy().copy(), samples.labels.cpu().numpy().copy())


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionTrainer:
    """Calls the user's `function(inputs, labels, *, seed)`.

    Attributes:
        function: Trains a model and returns it.
        arrays: Whether it is handed NumPy arrays instead of tensors.
        name: What tells this way of training from others, so that the store can keep its models (as pickles); None
            keeps nothing. The function's own text is part of the key, what it reads besides is not: change the name
            with it.
        store: Keeps the models.

    Raises:
        InvalidInput: The function does not take a seed.
    """

    function: Callable[..., object]
    arrays: bool = True
    name: str | None = None
    store: Store | None = None

    def __post_init__(self) -> None:
        try:
            parameters = inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # Built-in types and functions show none.
            parameters = inspect.signature(lambda: None).parameters
        if "seed" not in parameters and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            raise InvalidInput("trainer must take (inputs, labels, *, seed), got one without seed")

    @property
    def description(self) -> str:
        return "a trainer function"  # Its name, which is part of the key, is shown nowhere.

    @property
    def epochs(self) -> None:
        return None

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        del on_epoch  # Nobody tells of them.
        return kept_or_made(self.key(samples, seed), self.store, lambda: self._called(samples, seed))

    def key(self, samples: Samples, seed: int) -> Spec | None:
        if self.name is None:
            return None
        try:
            text = inspect.getsource(self.function)
        except (OSError, TypeError):
            text = ""  # Typed in a console, or a callable object.
        # The terms in which the function gets samples and labels, where they are not points and classes.
        coding = getattr(self.function, "coding", None)
        return {
            **({} if coding is None else {"coding": joblib.hash(coding)}),
            "kind": "function",
            "format": FORMAT,
            "name": self.name,
            "function": getattr(self.function, "__name__", type(self.function).__name__),
            "text": text,
            "samples": content_hash(samples),
            "seed": seed,
        }

    def packed(self, samples: Samples, seed: int) -> bytes:
        return _packed(lambda: self._called(samples, seed))

    def unpacked(self, kept: bytes, samples: Samples) -> Made:
        del samples
        return _unpacked(kept)

    def moved(self, device: torch.device) -> "FunctionTrainer":
        del device
        return replace(self, store=None)

    def _called(self, samples: Samples, seed: int) -> object:
        # Copies: a function that writes into what it is handed must not change the data of the next training.
        inputs, labels = samples.inputs.cpu().clone(), samples.labels.cpu().clone()
        # Below 2**32, so that NumPy's and scikit-learn's generators take it.
        if self.arrays:
            return self.function(inputs.numpy(), labels.numpy(), seed=seed % 2**32)
        return self.function(inputs, labels, seed=seed % 2**32)


def _described(estimator: BaseEstimator) -> str:
    """The class, and the parameters that are not the default. Texts and objects read "...", since they may be names of
    columns, paths or keys; steps of a pipeline are described likewise."""
    estimator = getattr(estimator, "inside", estimator)  # Of a classifier in the caller's own terms.
    defaults = inspect.signature(type(estimator)).parameters
    shown = []
    for name, value in sorted(estimator.get_params(deep=False).items()):
        default = defaults[name].default if name in defaults else None
        if value is not default and not (isinstance(value, PLAIN) and value == default):
            shown.append(f"{name}={_shown(value)}")
    return f"{type(estimator).__name__}({', '.join(shown)})"


def _shown(value: object) -> str:
    if isinstance(value, BaseEstimator):
        return _described(value)
    if isinstance(value, list | tuple) and any(isinstance(step, list | tuple) for step in value):  # Of a pipeline.
        steps = [part for step in value if isinstance(step, list | tuple) for part in step]
        return f"[{', '.join(_described(part) for part in steps if isinstance(part, BaseEstimator))}]"
    return repr(value) if isinstance(value, PLAIN) and not isinstance(value, str) else "..."


def made_by_recipe(made: Trained) -> Made:
    told = f"{made.epochs} epochs, train accuracy {made.train_accuracy:.3f}"
    return Made(model=made.model, seconds=made.seconds, rows=made.rows, told=told)


def kept_or_made(spec: Spec | None, store: Store | None, make: Callable[[], object]) -> Made:
    """The model of `spec` from the store, or made and saved there where it can be pickled."""
    with turn(store, spec):
        kept = None if store is None or spec is None else store.load(spec)
        if kept is not None:
            return _unpacked(kept)
        started = time.perf_counter()
        made = Made(model=make(), seconds=time.perf_counter() - started)
        if store is not None and spec is not None:
            try:
                payload = _written(made)
            except UNSENDABLE:
                return made  # A model that cannot be written is trained again another time.
            store.save(spec, payload)
    return made


def _packed(make: Callable[[], object]) -> bytes:
    started = time.perf_counter()
    return _written(Made(model=make(), seconds=time.perf_counter() - started))


def _written(made: Made) -> bytes:
    file = io.BytesIO()
    torch.save({"model": made.model, "seconds": made.seconds}, file)
    return file.getvalue()


def _unpacked(kept: bytes) -> Made:
    content = torch.load(io.BytesIO(kept), map_location="cpu", weights_only=False)
    return Made(model=content["model"], seconds=content["seconds"])

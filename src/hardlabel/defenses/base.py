"""The three protocols of a defense, and what a defender has.

A training defense changes how a network of ours is trained. A data defense changes what any model is trained on. An
inference defense wraps the oracle of a trained model. One object may be a training and an inference defense. Each is a
frozen dataclass of settings with one main knob, its strength.
"""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models.method import Method
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import Trainer
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.store import Store

FEWEST_RESERVE = 20  # Samples a defender must have aside, where a defense learns from such.


@dataclass(frozen=True, kw_only=True, eq=False)
class Defender:
    """What the defender of a model knows and has, apart from its training data.

    Attributes:
        domain: Which inputs are legal.
        classes: Number of classes.
        train_size: Samples each model is trained on.
        reserve: Samples of the same kind in nobody's training set and not asked about, or None.
        pretraining: Other labelled data of the same shape to pretrain on, or None.
        device: Where models run.
        store: Keeps models that a defense trains besides; None keeps nothing.
        seed: Fixes draws that are common to all models, such as a pretrained model's first weights.
    """

    domain: Domain
    classes: int
    train_size: int
    reserve: Samples | None = None
    pretraining: Samples | None = None
    device: torch.device
    store: Store | None = None
    seed: int = 0

    def needs_reserve(self, name: str) -> Samples:
        """The reserve, for a defense that learns from samples which no model was trained on.

        Raises:
            InvalidInput: There is none, or too little.
        """
        there = 0 if self.reserve is None else len(self.reserve)
        if self.reserve is None or there < FEWEST_RESERVE:
            raise InvalidInput(
                f"defense {name!r} needs at least {FEWEST_RESERVE} samples beyond those of targets and shadow model, "
                f"got {there}: choose a smaller size"
            )
        return self.reserve


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """A guarantee of differential privacy, for adding or removing one sample, and what it rests on.

    Attributes:
        epsilon: At most this, by the accountant.
        delta: With at most this probability of failure.
        noise_multiplier: Standard deviation of the noise, in units of the clipping norm.
        sampling_rate: Chance of each sample to be in a batch.
        steps: Batches.
        clipping: Largest norm of one sample's gradient.
        accountant: Which one.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    clipping: float
    accountant: str


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a defended model is trained.

    Attributes:
        recipe: In place of the undefended one.
        method: What changes about the training besides, or None.
        changes: What a reader must know about it, one sentence each.
        privacy: The guarantee, or None where there is none.
    """

    recipe: Recipe
    method: Method | None = None
    changes: tuple[str, ...] = ()
    privacy: Privacy | None = None


@runtime_checkable
class TrainingDefense(Protocol):
    """Changes how a model is trained."""

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """The defended training; nothing is trained yet.

        Raises:
            InvalidInput: The recipe's network, the data or the reserve do not suit the defense.
        """
        ...


@runtime_checkable
class DataDefense(Protocol):
    """Changes the training data before any trainer sees them; the training itself stays as it is.

    It suits recipes, classifiers and functions alike.
    """

    def changes(self, defender: Defender) -> tuple[str, ...]:
        """What a reader must know about the changed training, one sentence each.

        Raises:
            InvalidInput: The data do not suit the defense.
        """
        ...

    def prepared(self, samples: Samples, trainer: Trainer, defender: Defender, *, seed: int) -> Samples:
        """The samples to train on in place of `samples`; fixed by the arguments.

        Args:
            samples: n samples, the training data of one model; it is not written to.
            trainer: Trains without the defense; only a defense that needs models of its own uses it.
            defender: What else there is.
            seed: Of this model alone.

        Returns:
            m samples of the same domain and classes, with ids of their own: any number, in any order.
        """
        ...


@runtime_checkable
class InferenceDefense(Protocol):
    """Stands between a model and those who ask it."""

    def check(self, defender: Defender) -> None:
        """Raises InvalidInput where the defender lacks what `guard` needs."""
        ...

    def guard(
        self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int
    ) -> "LabelOracle | ScoreOracle":
        """The guarded model.

        What it answers is fixed by the input, the model and `seed`: asked twice, it answers twice the same, whatever
        stands beside in the batch, so that nobody averages its randomness away.

        Args:
            model: Undefended; a ScoreOracle as well where it shows confidences.
            members: What it was trained on; only a defense that learns a network of its own looks at them.
            defender: What else there is.
            seed: Of this model alone: its secret.

        Raises:
            InvalidInput: The model shows no confidences, and the defense needs them.
        """
        ...


def fixed_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with so many epochs, or its own limit where that is less, whatever the loss does."""
    count = min(epochs, recipe.max_epochs)
    return replace(recipe, max_epochs=count, patience=count, stop_at_accuracy=None)


Defense = TrainingDefense | DataDefense | InferenceDefense

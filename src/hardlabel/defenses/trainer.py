"""A defense at one strength as a trainer: it gives defended models, as `RecipeTrainer` gives plain ones."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender, InferenceDefense, Training
from hardlabel.defenses.table import Strength
from hardlabel.models.model_store import content_hash, weights_hash
from hardlabel.models.train import EpochReport, check_float32
from hardlabel.models.trainers import Made, RecipeTrainer, Trainer
from hardlabel.oracles.base import LabelOracle, LabelsOfScores, ScoreOracle
from hardlabel.targets.batch_sizes import Found, settled_network
from hardlabel.targets.estimators import estimator_hash, is_estimator, of_estimator


@dataclass(frozen=True, kw_only=True, eq=False)
class Defended:
    """How models are made under a defense.

    Attributes:
        trainer: Gives guarded models.
        bare: Gives the same models without their guard.
        training: What the defense changes about the training; None where it leaves it alone.
    """

    trainer: Trainer
    bare: Trainer
    training: Training | None


def defended(strength: Strength, trainer: Trainer, defender: Defender) -> Defended:
    """The trainer of models under this defense. Nothing is trained yet.

    Raises:
        InvalidInput: The defense changes a training that is not ours to change, a recipe is in mixed precision, or see
            `TrainingDefense.training`.
    """
    bare, training = trainer, None
    if isinstance(trainer, RecipeTrainer):
        check_float32(trainer.recipe)
    if strength.training is not None:
        if not isinstance(trainer, RecipeTrainer):
            raise InvalidInput(
                f"defense {strength.row.name!r} changes the training: trainer must be a hardlabel.Recipe, "
                f"got {trainer.description}"
            )
        training = strength.training.training(trainer.recipe, defender)
        bare = replace(trainer, recipe=training.recipe, method=training.method)
    if strength.inference is None:
        return Defended(trainer=bare, bare=bare, training=training)
    strength.inference.check(defender)
    guarded = GuardedTrainer(inner=bare, defense=strength.inference, defender=defender)
    return Defended(trainer=guarded, bare=bare, training=training)


@dataclass(frozen=True, kw_only=True, eq=False)
class GuardedTrainer:
    """Trains as `inner` does and puts the defense around each model, with a secret of the model's own.

    A guarded model carries a `fingerprint`, under which answers can be kept: fixed by the model, the defense, the
    secret and what the defense learned from.

    It is not `Movable`: what takes long, the bare model, is trained by an executor before (`train_ahead`) and found
    here in the store. The guard is put around it here, and a guarded model is asked here, where the store is that holds
    a network which a guard learns (MemGuard's, a small one for each model). Guards cost little beside a training; the
    record of a comparison tells what training and answering take with each.
    """

    inner: Trainer
    defense: InferenceDefense
    defender: Defender
    _sizes: Found = field(default_factory=dict, repr=False)

    @property
    def description(self) -> str:
        """The inner recipe and the defense, in words."""
        return f"{self.inner.description}, guarded by {self.defense}"

    @property
    def epochs(self) -> int | None:
        """Of the inner training."""
        return self.inner.epochs

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        """See `Trainer`."""
        made = self.inner.fit(samples, seed, on_epoch)
        started = time.perf_counter()
        secret = randomness.derive(seed, "guard")
        oracle = self._oracle(made.model, samples)
        guarded: Any = self.defense.guard(oracle, samples, self.defender, seed=secret)
        guarded.fingerprint = self._fingerprint(made.model, samples, secret)
        return replace(made, model=guarded, seconds=made.seconds + time.perf_counter() - started)

    def _oracle(self, model: object, samples: Samples) -> LabelOracle:
        if isinstance(model, nn.Module):
            device, store = self.defender.device, self.defender.store
            return settled_network(model, samples.inputs[:1], device=device, store=store, found=self._sizes)[0]
        if isinstance(model, LabelOracle):
            return model
        if isinstance(model, ScoreOracle):
            return _Both(model)
        if is_estimator(model):
            return of_estimator(model, role="trainer's model").padded(self.defender.classes)
        raise InvalidInput(f"trainer must give a torch module, a classifier or an oracle, got {type(model).__name__}")

    def _fingerprint(self, model: object, samples: Samples, secret: int) -> str | None:
        inner = weights_hash(model) if isinstance(model, nn.Module) else None
        if inner is None and is_estimator(model):
            inner = estimator_hash(model)
        if inner is None:
            return None
        reserve = "" if self.defender.reserve is None else content_hash(self.defender.reserve)
        told = (inner, repr(self.defense), secret, reserve, content_hash(samples), str(self.defender.device))
        return hashlib.sha256("\x1f".join(map(str, told)).encode()).hexdigest()


class _Both(LabelsOfScores):
    """Labels and confidences of an oracle that only shows confidences."""

    def __init__(self, inner: ScoreOracle) -> None:
        super().__init__(inner)
        self.ask_scores = inner.ask_scores

"""A defense at one strength as a trainer: it gives defended models, as `RecipeTrainer` gives plain ones."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import joblib
import torch
from torch import nn

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses.asked import ROLE, oracle_of
from hardlabel.defenses.base import DataDefense, Defender, InferenceDefense, Training
from hardlabel.defenses.table import Strength
from hardlabel.models.model_store import content_hash, packed, weights_hash
from hardlabel.models.train import EpochReport, check_float32, train
from hardlabel.models.trainers import Made, Movable, RecipeTrainer, Trainer, kept_or_made
from hardlabel.store import Spec, Store
from hardlabel.targets import registry
from hardlabel.targets.batch_sizes import Found
from hardlabel.targets.estimators import estimator_hash, is_estimator
from hardlabel.turns import turn

FORMAT = 1  # Raised when the same defense of the data comes to mean other data.


@dataclass(frozen=True, kw_only=True, eq=False)
class Defended:
    """How models are made under a defense.

    Attributes:
        trainer: Gives guarded models.
        bare: Gives the same models without their guard.
        training: What the defense changes about the training; None where it leaves it alone.
        data: What the defense changes about the training data, in sentences; None where it leaves them alone.
    """

    trainer: Trainer
    bare: Trainer
    training: Training | None
    data: tuple[str, ...] | None = None

    @property
    def retrains(self) -> bool:
        """Whether models under the defense are other models than the plain ones."""
        return self.training is not None or self.data is not None

    @property
    def changes(self) -> tuple[str, ...]:
        """What a reader must know about the changed training, one sentence each."""
        return (*(() if self.training is None else self.training.changes), *(self.data or ()))


def defended(strength: Strength, trainer: Trainer, defender: Defender) -> Defended:
    """The trainer of models under this defense. Nothing is trained yet.

    Raises:
        InvalidInput: The defense changes a training that is not ours to change, a recipe is in mixed precision, or see
            `TrainingDefense.training` and `DataDefense.changes`.
    """
    bare, training, data = trainer, None, None
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
    if strength.data is not None:
        data = strength.data.changes(defender)
        bare = PreparedTrainer(inner=bare, defense=strength.data, defender=defender)
    if strength.inference is None:
        return Defended(trainer=bare, bare=bare, training=training, data=data)
    strength.inference.check(defender)
    guarded = GuardedTrainer(inner=bare, defense=strength.inference, defender=defender)
    return Defended(trainer=guarded, bare=bare, training=training, data=data)


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedTrainer:
    """Lets a defense change the training data, then trains as `inner` does; it is `Movable` if `inner` is.

    Models that the defense trains for itself are kept as models of `inner`; where another process trains, they are not
    kept.
    """

    inner: Trainer
    defense: DataDefense
    defender: Defender

    @property
    def description(self) -> str:
        """The inner recipe and the defense, in words."""
        return f"{self.inner.description}, on data changed by {self.defense}"

    @property
    def epochs(self) -> int | None:
        """Of the inner training."""
        return self.inner.epochs

    @property
    def store(self) -> Store | None:
        """Of the inner trainer."""
        return getattr(self.inner, "store", None)

    def fit(self, samples: Samples, seed: int, on_epoch: Callable[[EpochReport], None] | None = None) -> Made:
        """See `Trainer`; a network's epochs are not reported."""
        del on_epoch
        spec, store = self.key(samples, seed), self.store
        if not isinstance(self.inner, RecipeTrainer):
            return kept_or_made(spec, store, lambda: self._last.fit(self._prepared(samples, seed), seed).model)
        with turn(store, spec):
            kept = None if store is None or spec is None else store.load(spec)
            if kept is None:
                kept = self.packed(samples, seed)
                if store is not None and spec is not None:
                    store.save(spec, kept)
        return self.unpacked(kept, samples)

    def key(self, samples: Samples, seed: int) -> Spec | None:
        """See `Movable`."""
        spec = self.inner.key(samples, seed) if isinstance(self.inner, Movable) else None
        if spec is None:
            return None
        told = (FORMAT, repr(self.defense), self.defender.classes, joblib.hash(self.defender.domain))
        return {**spec, "data defense": list(told)}

    def packed(self, samples: Samples, seed: int) -> bytes:
        """See `Movable`."""
        inner, started = self.inner, time.perf_counter()
        prepared = self._prepared(samples, seed)
        if not isinstance(inner, RecipeTrainer):
            assert isinstance(inner, Movable), "only then is it asked"
            return inner.packed(prepared, seed)
        seconds = time.perf_counter() - started
        made = train(inner.recipe, prepared, classes=inner.classes, seed=seed, device=inner.device, method=inner.method)
        return packed(replace(made, seconds=made.seconds + seconds))

    def unpacked(self, kept: bytes, samples: Samples) -> Made:
        """See `Movable`."""
        assert isinstance(self.inner, Movable), "only then is anything kept"
        return self.inner.unpacked(kept, samples)

    def moved(self, device: torch.device) -> "PreparedTrainer":
        """See `Movable`."""
        assert isinstance(self.inner, Movable), "only then is it asked"
        there = replace(self.defender, device=device, store=None, reserve=None, pretraining=None)
        return replace(self, inner=self.inner.moved(device), defender=there)

    @property
    def _last(self) -> Trainer:
        """Trains the model itself, which is kept under a key of its own."""
        inner: Any = self.inner
        return replace(inner, store=None) if self.store is not None else self.inner

    def _prepared(self, samples: Samples, seed: int) -> Samples:
        secret = randomness.derive(seed, "data defense")
        return self.defense.prepared(samples, self.inner, self.defender, seed=secret)


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
        oracle, _ = oracle_of(made.model, samples.inputs[:1], self.defender, self._sizes)
        guarded: Any = self.defense.guard(oracle, samples, self.defender, seed=secret)
        guarded.fingerprint = self._fingerprint(made.model, samples, secret)
        return replace(made, model=guarded, seconds=made.seconds + time.perf_counter() - started)

    def _fingerprint(self, model: object, samples: Samples, secret: int) -> str | None:
        inner: str | None
        model = registry.bare(model, role=ROLE)
        if isinstance(model, nn.Module):
            inner = weights_hash(model)
        elif is_estimator(model):
            inner = estimator_hash(model)
        else:
            inner = getattr(model, "fingerprint", None)
        if inner is None:
            return None
        reserve = "" if self.defender.reserve is None else content_hash(self.defender.reserve)
        told = (inner, repr(self.defense), secret, reserve, content_hash(samples), str(self.defender.device))
        return hashlib.sha256("\x1f".join(map(str, told)).encode()).hexdigest()

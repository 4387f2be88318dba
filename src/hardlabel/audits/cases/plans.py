"""How the attacker gets its own models: which samples they are trained on, how, and from which seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel.attacks import Need
from hardlabel.data.samples import Samples
from hardlabel.models import shadows
from hardlabel.models.trainers import EstimatorTrainer, RecipeTrainer, Trainer

FEWEST_SHADOW = 20  # With fewer shadow members or non-members, no threshold is chosen and no network trained.
MOST_ATTACKED = 1000  # Default number of members attacked; the same number of non-members.
MOST_SHADOW = 500  # The same, on the shadow model.
MOST_POOL = 1000  # Pool samples, besides the attacked samples, that show the attacker how members look.


@dataclass(frozen=True, kw_only=True, eq=False)
class ShadowPlan:
    """How the attacker gets a model whose members it knows.

    Attributes:
        members: The model's training samples.
        nonmembers: Other samples that the model is asked about.
        attacked: Number of members that the model is asked about.
        trainer: Trains the model.
        labels: "true"; or "target" if the target labels the shadow data first.
        note: What the reader must know, for example that the training size was guessed.
    """

    members: Samples
    nonmembers: Samples
    attacked: int
    trainer: Trainer
    labels: str
    note: str = ""

    @classmethod
    def of(
        cls, members: Samples, others: Samples, trainer: Trainer, attacked: int, *, labels: str = "true", note: str = ""
    ) -> "ShadowPlan":
        """The plan of a model of `members`. It is asked about `attacked` of them and as many of the `others`."""
        nonmembers = others.take(slice(0, attacked))
        return cls(members=members, nonmembers=nonmembers, attacked=attacked, trainer=trainer, labels=labels, note=note)

    @property
    def asked(self) -> int:
        """Number of samples that the model is asked about."""
        return self.attacked + len(self.nonmembers)


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferencePlan:
    """How the attacker gets models trained with and without the attacked samples.

    Attributes:
        pool: The samples that the models are trained on, in the order of their ids, which does not reveal
            membership. The pool holds every attacked sample.
        inside: The samples that each model is trained on, bool (K, pool): complementary pairs.
        trainer: Trains the models.
        seed: The models' seeds are derived from it.
        alike: Whether the models are trained as the target was.
        note: What the reader must know.
    """

    pool: Samples
    inside: Tensor
    trainer: Trainer
    seed: int
    alike: bool = True
    note: str = ""

    @classmethod
    def of(
        cls, pool: Samples, count: int, trainer: Trainer, *, seed: int, alike: bool = True, note: str = ""
    ) -> "ReferencePlan":
        """The plan of `count` models, each trained on a random half of the pool; see `shadows.pairs`."""
        pool = pool.take(torch.argsort(pool.ids))
        inside = shadows.pairs(count, len(pool), seed=seed)
        return cls(pool=pool, inside=inside, trainer=trainer, seed=seed, alike=alike, note=note)

    @property
    def train_size(self) -> int:
        """Number of training samples of a model."""
        return int(self.inside[0].sum())


@dataclass(frozen=True, kw_only=True, eq=False)
class CraftingPlan:
    """How the attacker gets the networks that it chooses queries with.

    Attributes:
        trainer: Trains the networks, and surrogates. Its models are networks with gradients.
        sets: Training samples and seed of each network; no training sample is attacked.
        second: Trains further networks in another way, for a second opinion.
        second_sets: Training samples and seed of each of these.
    """

    trainer: RecipeTrainer
    sets: tuple[tuple[Samples, int], ...]
    second: Trainer
    second_sets: tuple[tuple[Samples, int], ...]


def lacking_pairs(count: int) -> dict[Need, str]:
    """What is missing with `count` reference models, and why: to estimate confidences takes models of two pairs."""
    return {} if count >= 4 else {Need.REFERENCE_SCORES: f"of two pairs at least, got {count} reference models"}


def lacking_confidences(trainer: Trainer | None) -> dict[Need, str]:
    """What is missing, and why, where a trainer's models are known to answer with labels only."""
    if not isinstance(trainer, EstimatorTrainer) or hasattr(trainer.estimator, "predict_proba"):
        return {}
    return {Need.REFERENCE_SCORES: "of models that show confidences, and the trainer's show none"}

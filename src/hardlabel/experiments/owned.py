"""What the attacker owns in an audit: a shadow model, reference models, crafters; trained only if an attack asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from hardlabel.attacks import Attack, Need, ScoreAttack
from hardlabel.calibrations.base import wants_pool
from hardlabel.data.samples import Samples, concatenate
from hardlabel.experiments.asking import Asking, Side
from hardlabel.experiments.batches import as_trained, settled
from hardlabel.experiments.case import Case, CraftingPlan, Oracles, ShadowPlan, Terms
from hardlabel.experiments.game import ReferenceSides
from hardlabel.experiments.record import ReferenceModels, Shadow
from hardlabel.experiments.references import Crafters, craftable, crafters_of, facts, sides_of, trained_references
from hardlabel.experiments.shadow import shadow_of
from hardlabel.signals.base import Knowledge, Shadows
from hardlabel.signals.starts import POPULATION_SEARCHED


@dataclass(frozen=True, kw_only=True, eq=False)
class Owned:
    """The sides of the game, and what the record says of the attacker's models.

    Attributes:
        target: The target's side.
        shadow: The shadow model's, or None.
        references: The reference models', or None.
        shadow_facts: For the record.
        reference_facts: For the record.
    """

    target: Side
    shadow: Side | None
    references: ReferenceSides | None
    shadow_facts: Shadow | None
    reference_facts: ReferenceModels | None

    def lacks(self, attack: Attack) -> str | None:
        """Why an attack cannot be played on the models that were trained, or None: some only show labels."""
        if attack.calibration.per_sample or attack.crafted:
            models = [] if self.references is None else [side.model for side in self.references.sides]
            needs_scores = isinstance(attack, ScoreAttack) or Need.REFERENCE_SCORES in attack.uses
            if needs_scores and any(model.scores is None for model in models):
                return "the reference models answer with labels only"
            if Need.GRADIENTS in attack.uses and self.target.knowledge.shadows is None:
                return "the reference models show no gradients"
        elif isinstance(attack, ScoreAttack) and self.shadow is not None and self.shadow.model.scores is None:
            return "the shadow model answers with labels only"
        return None


def owned_by(
    case: Case, rows: Sequence[Attack], terms: Terms, *, classes: int, device: torch.device, asking: Asking
) -> Owned:
    """Trains what the attacks need, or finds it in the store; `classes` are those of the task."""
    watch = asking.watch
    needs = {need for row in rows for need in row.required}
    wants_references = Need.REFERENCES in needs or Need.GRADIENTS in needs or terms.worst_case is not None
    plan = case.references if wants_references else None
    made = [] if plan is None else trained_references(plan, watch, asking.executor)
    crafters = Crafters()
    if needs & {Need.CRAFTERS, Need.SURROGATE}:
        crafters = crafters_of(case.crafting, watch, asking.executor)
    target = Side.mixed(case.target, case.members.to(device), case.nonmembers.to(device), seed=terms.seed)
    shadows = craftable(plan.pool, plan.inside, made, target.samples) if plan is not None and made else None
    knowledge = knowledge_of(case, crafters=crafters, shadows=shadows, device=device)
    target = Side(model=target.model, samples=target.samples, inside=target.inside, knowledge=knowledge)
    shadow = None
    if case.shadow is not None and any(row.learns_on_shadow for row in rows):
        searched = Knowledge(population=searched_population(case, device))
        shadow = shadow_of(case.shadow, knowledge=searched, classes=classes, device=device, asking=asking)
    references = reference_facts = None
    if plan is not None:
        models = [Oracles.of(one.model, device, role="trainer's model", classes=classes) for one in made]
        models = as_trained(settled(models, target.samples.inputs[:1], asking.store), plan.trainer)
        with_pool = any(wants_pool(row.calibration, len(target.samples)) for row in rows if row.calibration.per_sample)
        references = sides_of(plan, models, target.samples, knowledge, with_pool=with_pool)
        reference_facts = facts(plan, made, references.sides).model_copy(
            update={"crafters": len(crafters.first + crafters.second), "crafting_seconds": crafters.seconds}
        )
    return Owned(
        target=target,
        shadow=None if shadow is None else shadow[1],
        references=references,
        shadow_facts=None if shadow is None else shadow[0],
        reference_facts=reference_facts,
    )


class HasOwnData(Protocol):
    """A case, as far as the attacker's own data are concerned; see `Case`."""

    @property
    def population(self) -> Samples | None: ...

    @property
    def own(self) -> Samples | None: ...

    @property
    def shadow(self) -> ShadowPlan | None: ...

    @property
    def crafting(self) -> CraftingPlan | None: ...


def knowledge_of(case: HasOwnData, *, crafters: Crafters, shadows: Shadows | None, device: torch.device) -> Knowledge:
    """What signals may use on the target and on the references: first the population, then the attacker's own data."""
    population = searched_population(case, device)
    trainer = None if case.crafting is None else case.crafting.trainer

    def fit(samples: Samples, seed: int) -> nn.Module:
        assert trainer is not None
        model = trainer.fit(samples, seed).model
        assert isinstance(model, nn.Module)
        return model

    if case.own is not None and not _labelled_by_target(case):
        own = case.own.to(device)
        known = set() if population is None else set(population.ids.tolist())
        fresh = own.take(torch.tensor([one not in known for one in own.ids.tolist()], device=own.device))
        population = fresh if population is None else concatenate(population, fresh)
    return Knowledge(
        population=population,
        crafters=crafters.first,
        second=crafters.second,
        shadows=shadows,
        fit=None if trainer is None else fit,
    )


def searched_population(case: HasOwnData, device: torch.device) -> Samples | None:
    """The population, as far as signals look at it; not where the attacker has no true labels for its data."""
    if case.population is None or _labelled_by_target(case):
        return None
    return case.population.take(slice(0, POPULATION_SEARCHED)).to(device)


def _labelled_by_target(case: HasOwnData) -> bool:
    return case.shadow is not None and case.shadow.labels == "target"

"""The attacker's own models, each trained only if an attack needs it: shadow model, reference models, crafters."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from hardlabel.attacks import Attack, Need
from hardlabel.audits.attacker.references import (
    Crafters,
    craftable,
    crafters_of,
    facts,
    refuse_diverged,
    sides_of,
    trained_references,
)
from hardlabel.audits.attacker.shadow import shadow_of
from hardlabel.audits.attacker.widths import fitted
from hardlabel.audits.cases.case import AttackerCase, Case, classes_of
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.batches import as_trained, settled
from hardlabel.audits.game.game import ReferenceSides
from hardlabel.calibrations.base import wants_pool
from hardlabel.data.samples import Samples, concatenate
from hardlabel.records.model import ReferenceModels, Shadow
from hardlabel.signals.base import Knowledge, Shadows
from hardlabel.signals.starts import POPULATION_SEARCHED
from hardlabel.targets.registry import askable

CRAFTERS = 3  # Networks that queries are chosen with: two, and one for a second opinion.


@dataclass(frozen=True, kw_only=True, eq=False)
class Owned:
    """The sides of the game, and what the record says of the attacker's models.

    Attributes:
        target: The target's side.
        shadow, references: The sides of the shadow model and of the reference models, or None.
        shadow_facts, reference_facts: Facts about these models for the record, or None.
    """

    target: Side
    shadow: Side | None
    references: ReferenceSides | None
    shadow_facts: Shadow | None
    reference_facts: ReferenceModels | None


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which models the attacker trains for given attacks. The audit and its plan both ask."""

    references: bool
    shadow: bool
    crafters: bool

    @classmethod
    def by(cls, attacks: Sequence[Attack], *, worst_case: bool) -> "Wanted":
        """The models that the attacks need; `worst_case` needs reference models to choose the riskiest records."""
        needs = {need for attack in attacks for need in attack.required}
        return cls(
            references=worst_case or bool(needs & {Need.REFERENCES, Need.GRADIENTS}),
            shadow=any(attack.learns_on_shadow for attack in attacks),
            crafters=bool(needs & {Need.CRAFTERS, Need.SURROGATE}),
        )


def owned_by(case: Case, rows: Sequence[Attack], terms: Terms, *, device: torch.device, asking: Asking) -> Owned:
    """Trains the models that the attacks `rows` need, or finds them in the store."""
    watch = asking.watch
    wanted = Wanted.by(rows, worst_case=terms.focus.worst_case is not None)
    plan = case.references if wanted.references else None
    trained = [] if plan is None else trained_references(plan, watch, asking.executor)
    # Where the target shows scores, its width is known: a model with another one is another task's.
    classes, exact = case.classes, case.target.scores is not None
    roles = [f"reference model {number}" for number in range(1, len(trained) + 1)]
    if plan is not None:
        trained = fitted(
            trained, plan.trainer, plan.pool.inputs[:1], classes=classes, exact=exact, device=device, roles=roles
        )
    crafters = crafters_of(case.crafting, watch, asking.executor) if wanted.crafters else Crafters()
    target = Side.mixed(case.target, case.members.to(device), case.nonmembers.to(device), seed=terms.seed)
    shadows = None if plan is None else craftable(plan.pool, plan.inside, trained, target.samples)
    target = replace(target, knowledge=knowledge_of(case, crafters=crafters, shadows=shadows, device=device))
    shadow = shadow_facts = references = reference_facts = None
    if case.shadow is not None and wanted.shadow:
        searched = Knowledge(population=searched_population(case, device))
        shadow_facts, shadow = shadow_of(
            case.shadow, knowledge=searched, classes=classes, exact=exact, device=device, asking=asking
        )
    if plan is not None:
        models = [
            askable(model.model, device, role=role, classes=classes, exact=exact)
            for model, role in zip(trained, roles, strict=True)
        ]
        models = as_trained(settled(models, target.samples.inputs[:1], asking.store), plan.trainer)
        with_pool = any(wants_pool(row.calibration, len(target.samples)) for row in rows if row.calibration.per_sample)
        references = sides_of(plan, models, target.samples, target.knowledge, with_pool=with_pool)
        reference_facts = facts(plan, trained, references.sides).model_copy(
            update={"crafters": len(crafters.first + crafters.second), "crafting_seconds": crafters.seconds}
        )
    return Owned(
        target=target, shadow=shadow, references=references, shadow_facts=shadow_facts, reference_facts=reference_facts
    )


def knowledge_of(case: AttackerCase, *, crafters: Crafters, shadows: Shadows | None, device: torch.device) -> Knowledge:
    """What signals may use on the target and the references. The population comes first, then the attacker's data."""
    population = searched_population(case, device)
    trainer = None if case.crafting is None else case.crafting.trainer

    def fit(samples: Samples, seed: int) -> nn.Module:
        assert trainer is not None
        # A target that answers with labels only may name a class beyond all labels given.
        classes = max(trainer.classes, classes_of(samples))
        model = replace(trainer, classes=classes).fit(samples, seed).model
        assert isinstance(model, nn.Module)
        refuse_diverged(model, samples, role="surrogate")
        return model

    if case.own is not None and not _labelled_by_target(case):
        own = case.own.to(device)
        known = set() if population is None else set(population.ids.tolist())
        new = torch.tensor([sample_id not in known for sample_id in own.ids.tolist()], device=own.device)
        population = own.take(new) if population is None else concatenate(population, own.take(new))
    return Knowledge(
        population=population,
        crafters=crafters.first,
        second=crafters.second,
        shadows=shadows,
        fit=None if trainer is None else fit,
    )


def searched_population(case: AttackerCase, device: torch.device) -> Samples | None:
    """The part of the population that signals look at; None if the attacker has no true labels for its data."""
    if case.population is None or _labelled_by_target(case):
        return None
    return case.population.take(slice(0, POPULATION_SEARCHED)).to(device)


def _labelled_by_target(case: AttackerCase) -> bool:
    return case.shadow is not None and case.shadow.labels == "target"

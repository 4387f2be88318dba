"""Pairs of models trained on complementary halves of a pool. If one plays target, the other pairs are references."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from hardlabel.attacks import Attack
from hardlabel.audits.attacker.models import Wanted, knowledge_of, searched_population
from hardlabel.audits.attacker.references import craftable, crafters_of, sides_of, trained_references
from hardlabel.audits.attacker.shadow import shadow_of
from hardlabel.audits.attacker.widths import fitted, most_shown
from hardlabel.audits.cases.recipe import RecipeCase
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.batches import settled
from hardlabel.audits.game.game import Game, Learned, ReferenceSides
from hardlabel.calibrations.base import wants_pool
from hardlabel.models import shadows
from hardlabel.models.trainers import Made
from hardlabel.signals.base import Knowledge
from hardlabel.targets.registry import askable


def turns(models: int) -> list[int]:
    """The order in which models play target: one model of each pair, then their partners."""
    return [*range(0, models, 2), *range(1, models, 2)]


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedModels:
    """The models of a recipe. Each can play target in turn.

    Attributes:
        sides: Each model, asked about the attacked samples.
        pool_sides: Each model, asked about other samples of the pool; may be empty.
        shadow: The shadow model's side, or None.
        made: The trained models.
        case: The case that they were trained for.
        learned: What attacks have learned against each target; see `Game`. Callers that play several models in the
            place of one target fill it.
    """

    sides: tuple[Side, ...]
    pool_sides: tuple[Side, ...]
    shadow: Side | None
    made: Sequence[Made]
    case: RecipeCase
    learned: dict[int | None, dict[str, Learned]] = field(default_factory=dict)

    def game(self, target: int, *, budget: int | None, asking: Asking, crafted: bool = False) -> Game:
        """Model `target` against all models but its partner; with `crafted`, signals may craft queries on them."""
        others = [number for number in range(len(self.sides)) if number not in (target, target ^ 1)]
        side, plan = self.sides[target], self.case.plan
        if crafted:
            trained = [self.made[number] for number in others]
            networks = craftable(plan.pool, plan.inside[others], trained, side.samples)
            side = replace(side, knowledge=replace(side.knowledge, shadows=networks))
        references = ReferenceSides(
            sides=tuple(self.sides[number] for number in others),
            partner=shadows.partners(len(others)),
            pool_sides=tuple(self.pool_sides[number] for number in others) if self.pool_sides else (),
            alike=plan.alike,
        )
        return Game(target=side, shadow=self.shadow, references=references, budget=budget, asking=asking)


def paired(case: RecipeCase, rows: Sequence[Attack], *, device: torch.device, asking: Asking) -> PairedModels:
    """Trains the models of the case, or finds them in the store; a shadow model only if one of the attacks needs it."""
    watch = asking.watch
    trained = trained_references(case.plan, watch, asking.executor)
    crafters = crafters_of(case.crafting, watch, asking.executor)
    samples = case.attacked.to(device)
    knowledge = knowledge_of(case, crafters=crafters, shadows=None, device=device)
    # No target says how many classes there are: a trainer's networks may show more than the labels need.
    trainer, example, role = case.plan.trainer, samples.inputs[:1], "trainer's model"
    classes = most_shown(trained, trainer, example, classes=case.classes, device=device, role=role)
    roles = [role] * len(trained)
    trained = fitted(trained, trainer, example, classes=classes, exact=False, device=device, roles=roles)
    models = [askable(model.model, device, role=role, classes=classes) for model in trained]
    models = settled(models, samples.inputs[:1], asking.store)
    with_pool = any(wants_pool(row.calibration, len(samples)) for row in rows if row.calibration.per_sample)
    references = sides_of(case.plan, models, samples, knowledge, with_pool=with_pool)
    shadow = None
    if case.shadow is not None and Wanted.by(rows, worst_case=False).shadow:
        searched = Knowledge(population=searched_population(case, device))
        _, shadow = shadow_of(
            case.shadow, knowledge=searched, classes=classes, exact=False, device=device, asking=asking
        )
    return PairedModels(
        sides=references.sides, pool_sides=references.pool_sides, shadow=shadow, made=trained, case=case
    )

"""The attacker's own models beside the shadow model: references on the samples asked about, and crafters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.executors import Executor
from hardlabel.experiments.asking import Side
from hardlabel.experiments.case import MOST_POOL, CraftingPlan, Oracles, ReferencePlan
from hardlabel.experiments.game import ReferenceSides
from hardlabel.experiments.progress import Watch, told
from hardlabel.experiments.record import ReferenceModels
from hardlabel.models import shadows
from hardlabel.models.trainers import Made
from hardlabel.signals.base import Knowledge, Shadows


@dataclass(frozen=True, kw_only=True, eq=False)
class Crafters:
    """Networks queries are chosen with, the ones for a second opinion, and the seconds their training took."""

    first: tuple[nn.Module, ...] = ()
    second: tuple[nn.Module, ...] = ()
    seconds: float = 0.0


def crafters_of(plan: CraftingPlan | None, watch: Watch, executor: Executor | None = None) -> Crafters:
    """Trains the plan's crafters; none without a plan. See `train_alone` for what the executor has to do with it."""
    if plan is None:
        return Crafters()
    groups, seconds = [], 0.0
    for trainer, sets in ((plan.trainer, plan.sets), (plan.second, plan.second_sets)):
        models = []
        for samples, seed in sets:
            watch.stage("training a crafter", trainer.epochs or 1, "epochs")
            made = shadows.train_alone(trainer, samples, seed, on_epoch=told(watch), executor=executor)
            assert isinstance(made.model, nn.Module)
            models.append(made.model)
            seconds += made.seconds
        groups.append(tuple(models))
    return Crafters(first=groups[0], second=groups[1], seconds=seconds)


def trained_references(plan: ReferencePlan, watch: Watch, executor: Executor | None = None) -> list[Made]:
    """The models of the plan, in its order, made by the executor; finished ones are told one by one."""
    wanted = shadows.jobs(plan.inside, seed=plan.seed)
    watch.stage(f"training {len(wanted)} reference models", len(wanted), "models")

    def tell(progress: shadows.Progress) -> None:
        watch.advance(1)
        made = progress.made
        ended = f", {made.told}" if made.told else ""
        watch.detail(f"last one: {made.seconds:.3g} s{ended}")

    return shadows.train_all(plan.trainer, plan.pool, wanted, on_done=tell, executor=executor)


def sides_of(
    plan: ReferencePlan,
    models: Sequence[Oracles],
    samples: Samples,
    knowledge: Knowledge,
    *,
    with_pool: bool,
) -> ReferenceSides:
    """The models asked about `samples`, and about others of the pool if `with_pool`."""
    asked = places(plan.pool, samples.ids)
    rest = torch.ones(len(plan.pool), dtype=torch.bool)
    rest[asked] = False
    more = rest.nonzero().flatten()[:MOST_POOL] if with_pool else torch.empty(0, dtype=torch.int64)
    own = plan.pool.take(more).to(samples.device)
    return ReferenceSides(
        sides=tuple(
            Side(model=model, samples=samples, inside=mine[asked], knowledge=knowledge)
            for model, mine in zip(models, plan.inside, strict=True)
        ),
        partner=shadows.partners(len(models)),
        pool_sides=tuple(
            Side(model=model, samples=own, inside=mine[more], knowledge=knowledge)
            for model, mine in zip(models, plan.inside, strict=True)
        )
        if len(more)
        else (),
        alike=plan.alike,
    )


def places(pool: Samples, ids: Tensor) -> Tensor:
    """Where in the pool these samples stand.

    Raises:
        InvalidInput: One does not.
    """
    where = {one: place for place, one in enumerate(pool.ids.tolist())}
    try:
        return torch.tensor([where[one] for one in ids.tolist()], dtype=torch.int64)
    except KeyError as error:
        raise InvalidInput(f"pool must hold every sample asked about, got none with id {error}") from error


def craftable(pool: Samples, inside: Tensor, made: Sequence[Made], samples: Samples) -> Shadows | None:
    """Models (K) trained on the rows `inside` (K, pool), to craft queries on; None if they are no networks."""
    models = tuple(one.model for one in made if isinstance(one.model, nn.Module))
    if len(models) < len(made):
        return None
    return Shadows(models=models, inside=inside[:, places(pool, samples.ids)])


def facts(plan: ReferencePlan, made: Sequence[Made], sides: Sequence[Side]) -> ReferenceModels:
    """What a reader must know of the reference models."""
    told = accuracies(sides)
    rows = [one.rows for one in made]
    return ReferenceModels(
        count=len(made),
        description=plan.trainer.description,
        train_size=int(plan.inside[0].sum()),
        pool=len(plan.pool),
        train_accuracy=sum(one for one, _ in told) / len(told),
        test_accuracy=sum(other for _, other in told) / len(told),
        training_rows=None if None in rows else sum(row for row in rows if row is not None),
        training_seconds=sum(one.seconds for one in made),
        alike=plan.alike,
        note=plan.note,
    )


def accuracies(sides: Sequence[Side]) -> list[tuple[float, float]]:
    """Each model's share of right answers on the samples inside and on those outside."""
    told = []
    for side in sides:
        right = (side.model.labels.ask(side.samples.inputs, side.samples.ids) == side.samples.labels).cpu().float()
        told.append((float(right[side.inside].mean()), float(right[~side.inside].mean())))
    return told

"""The attacker's reference models and crafters."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hardlabel.audits.cases.plans import MOST_POOL, CraftingPlan, ReferencePlan
from hardlabel.audits.game.asking import Side
from hardlabel.audits.game.game import ReferenceSides
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.executors import Executor
from hardlabel.models import shadows
from hardlabel.models.trainers import Made
from hardlabel.records.model import ReferenceModels
from hardlabel.runs.progress import Watch, told
from hardlabel.signals.base import Knowledge, Shadows
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.torch import TorchModel

JUDGED = 256  # Training samples that a new network of the attacker's is asked about, to see whether it diverged.


@dataclass(frozen=True, kw_only=True, eq=False)
class Crafters:
    """The networks that queries are chosen with, those for a second opinion, and the seconds of their training."""

    first: tuple[nn.Module, ...] = ()
    second: tuple[nn.Module, ...] = ()
    seconds: float = 0.0


def crafters_of(plan: CraftingPlan | None, watch: Watch, executor: Executor | None = None) -> Crafters:
    """Trains the plan's crafters; without a plan there are none. `train_alone` says where they are trained."""
    if plan is None:
        return Crafters()
    groups, seconds = [], 0.0
    for trainer, sets in ((plan.trainer, plan.sets), (plan.second, plan.second_sets)):
        networks = []
        for samples, seed in sets:
            watch.stage("training a crafter", trainer.epochs or 1, "epochs")
            trained = shadows.train_alone(trainer, samples, seed, on_epoch=told(watch), executor=executor)
            assert isinstance(trained.model, nn.Module)
            refuse_diverged(trained.model, samples, role="crafter")
            networks.append(trained.model)
            seconds += trained.seconds
        groups.append(tuple(networks))
    return Crafters(first=groups[0], second=groups[1], seconds=seconds)


def refuse_diverged(network: nn.Module, samples: Samples, *, role: str) -> None:
    """Refuses a network of the attacker's whose answers to its first training samples are NaN or infinite.

    Raises:
        InvalidInput: Some are; the error names the `role`, the count and the first row.
    """
    some, home = samples.take(slice(0, JUDGED)), next((weight.device for weight in network.parameters()), "cpu")
    TorchModel(network, device=home, batch_size=JUDGED, role=role).ask(some.inputs, some.ids)


def trained_references(plan: ReferencePlan, watch: Watch, executor: Executor | None = None) -> list[Made]:
    """Trains the plan's models by the executor, in the plan's order; `watch` is told of each finished model."""
    jobs = shadows.jobs(plan.inside, seed=plan.seed)
    watch.stage(f"training {len(jobs)} reference models", len(jobs), "models")

    def tell(progress: shadows.Progress) -> None:
        watch.advance(1)
        trained = progress.made
        ended = f", {trained.told}" if trained.told else ""
        watch.detail(f"last one: {trained.seconds:.3g} s{ended}")

    return shadows.train_all(plan.trainer, plan.pool, jobs, on_done=tell, executor=executor)


def sides_of(
    plan: ReferencePlan, models: Sequence[AskableModel], samples: Samples, knowledge: Knowledge, *, with_pool: bool
) -> ReferenceSides:
    """The models asked about `samples`; with `with_pool` also about other samples of the pool."""
    attacked = places(plan.pool, samples.ids)
    others = torch.empty(0, dtype=torch.int64)
    if with_pool:
        is_other = torch.ones(len(plan.pool), dtype=torch.bool)
        is_other[attacked] = False
        others = is_other.nonzero().flatten()[:MOST_POOL]

    def asked_about(group: Samples, rows: Tensor) -> tuple[Side, ...]:
        return tuple(
            Side(model=model, samples=group, inside=inside[rows], knowledge=knowledge)
            for model, inside in zip(models, plan.inside, strict=True)
        )

    return ReferenceSides(
        sides=asked_about(samples, attacked),
        partner=shadows.partners(len(models)),
        pool_sides=asked_about(plan.pool.take(others).to(samples.device), others) if len(others) else (),
        alike=plan.alike,
    )


def places(pool: Samples, ids: Tensor) -> Tensor:
    """The rows of the samples with these ids in the pool, int64 (n,).

    Raises:
        InvalidInput: The pool does not hold a sample.
    """
    row_of = {sample_id: row for row, sample_id in enumerate(pool.ids.tolist())}
    try:
        return torch.tensor([row_of[sample_id] for sample_id in ids.tolist()], dtype=torch.int64)
    except KeyError as error:
        raise InvalidInput(f"pool must hold every sample asked about, got none with id {error}") from error


def craftable(pool: Samples, inside: Tensor, made: Sequence[Made], samples: Samples) -> Shadows | None:
    """The K models to craft queries on, trained on the rows `inside` (K, pool); None unless all are networks."""
    networks = tuple(trained.model for trained in made if isinstance(trained.model, nn.Module))
    if len(networks) < len(made):
        return None
    return Shadows(models=networks, inside=inside[:, places(pool, samples.ids)])


def facts(plan: ReferencePlan, made: Sequence[Made], sides: Sequence[Side]) -> ReferenceModels:
    """What the record says of the reference models."""
    train, test = zip(*accuracies(sides), strict=True)
    rows = [trained.rows for trained in made]
    return ReferenceModels(
        count=len(made),
        description=plan.trainer.description,
        train_size=plan.train_size,
        pool=len(plan.pool),
        train_accuracy=sum(train) / len(train),
        test_accuracy=sum(test) / len(test),
        training_rows=None if None in rows else sum(count for count in rows if count is not None),
        training_seconds=sum(trained.seconds for trained in made),
        alike=plan.alike,
        note=plan.note,
    )


def accuracies(sides: Sequence[Side]) -> list[tuple[float, float]]:
    """Each model's share of right answers: on the samples it was trained on, and on the other samples."""
    answers = [(right_on(side).float(), side.inside) for side in sides]
    return [(float(right[inside].mean()), float(right[~inside].mean())) for right, inside in answers]


def right_on(side: Side) -> Tensor:
    """Which samples a model of the attacker's own classifies correctly, bool (n,), on the CPU."""
    return (side.model.labels.ask(side.samples.inputs, side.samples.ids) == side.samples.labels).cpu()

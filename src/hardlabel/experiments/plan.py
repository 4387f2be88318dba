"""What a run is going to do, told before it starts: pieces, queries to the target, time and disk."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from hardlabel.attacks import Attack, LabelAttack, Need
from hardlabel.calibrations.base import wants_pool
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.experiments.case import MOST_POOL, ReferencePlan, ShadowPlan
from hardlabel.experiments.chunks import cuts
from hardlabel.experiments.game import POOLED, SCREENED
from hardlabel.experiments.journal import JOURNAL, MADE, Journal
from hardlabel.experiments.training import Ground, smooth
from hardlabel.experiments.work import Work
from hardlabel.models.architectures import build
from hardlabel.models.method import Course
from hardlabel.models.train import Recipe, laid_out, one_epoch, optimizer_of, place
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.signals import path

GUESSED_EPOCHS = 100  # Nobody knows when a training will end; this many epochs, or the recipe's most.
PROBE_SECONDS = 0.3  # Training steps, and forward passes, are timed for so long each.
PROBE_ROWS = 512
BYTES_PER_VALUE = 8  # Of a kept measurement: the value, and its share of queries and flags.


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do at most; pieces that the store has already are not made again.

    Attributes:
        trainings: Models to train: target, shadow model, references, crafters.
        measurements: Measurements, each of one model on one chunk of samples.
        scores: Attacks played on a target.
        done: Pieces that this run has made before it broke off.
        queries: Sent to the target, all attacks together.
        rows: Sent through the attacker's own models.
        seconds: Estimated, at the speed just measured, all workers busy; calibrations and figures not counted.
        epochs: Epochs that a training is supposed to take.
        bytes: On disk.
        workers: How many pieces run at once.
    """

    trainings: int
    measurements: int
    scores: int
    done: int
    queries: int
    rows: int
    seconds: float
    epochs: int
    bytes: int
    workers: int

    @property
    def pieces(self) -> int:
        """All pieces."""
        return self.trainings + self.measurements + self.scores

    def __str__(self) -> str:
        done = f", {self.done} of them made before" if self.done else ""
        return (
            f"plan: {self.pieces} pieces at most{done}: {self.trainings} trainings, {self.measurements} measurements, "
            f"{self.scores} scores; at most {self.queries:,} queries to the target and {self.rows:,} rows through own "
            f"models; models alone take about {_duration(self.seconds)}, {self.workers} at once, if a training has "
            f"{self.epochs} epochs; about {math.ceil(self.bytes / 1e6):,} MB on disk"
        )


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a plan must know of a defense.

    Attributes:
        trained: Whether it changes the training, so that its models are trained anew.
        keeps_labels: Whether label-only attacks find on its models what they find on plain ones.
    """

    trained: bool
    keeps_labels: bool


def of_audit(ground: Ground, *, work: Work, folder: Path | None) -> Plan:
    """The plan of an audit of one model."""
    config, parts = ground.config, ground.parts
    besides = 2 * ground.attacked if config.labels == "target" else 0
    if config.shadow_labels == "target":
        besides += len(parts.shadow_members) + len(parts.shadow_nonmembers)
    return _plan(
        ground.picked.rows,
        example=parts.members,
        trainer=ground.trainer,
        budget=config.budget,
        attacked=2 * ground.attacked,
        targets=1,
        references=config.shadows,
        worst_case=config.worst_case is not None,
        besides=besides,
        rest=2 * len(parts.members) - 2 * ground.attacked,
        shadow_samples=2 * ground.shadow_attacked,
        work=work,
        folder=folder,
    )


def of_recipe(
    plan: ReferencePlan,
    rows: Sequence[Attack],
    *,
    attacked: int,
    targets: int,
    shadow: ShadowPlan | None,
    budget: int | None,
    work: Work,
    folder: Path | None,
) -> Plan:
    """The plan of an audit of a recipe that a configuration describes."""
    trainer = plan.trainer
    assert isinstance(trainer, RecipeTrainer), "configurations train by recipes"
    return _plan(
        rows,
        example=plan.pool.take(plan.inside[0]),
        trainer=trainer,
        budget=budget,
        attacked=attacked,
        targets=targets,
        references=len(plan.inside),
        rest=len(plan.pool) - attacked,
        shadow_samples=0 if shadow is None else shadow.attacked + len(shadow.nonmembers),
        work=work,
        folder=folder,
    )


def of_comparison(
    plan: ReferencePlan,
    rows: Sequence[Attack],
    *,
    defenses: Sequence[Compared],
    attacked: int,
    targets: int,
    shadow: ShadowPlan | None,
    crafted: bool,
    budget: int | None,
    work: Work,
    folder: Path | None,
) -> Plan:
    """The plan of a comparison of defenses that a configuration describes.

    What a defense does besides training on the samples (per-sample gradients, models to distil from) is not counted.
    """
    trainer = plan.trainer
    assert isinstance(trainer, RecipeTrainer), "configurations train by recipes"
    example, models = plan.pool.take(plan.inside[0]), len(plan.inside)
    shadow_samples = 0 if shadow is None else shadow.attacked + len(shadow.nonmembers)
    measurements = own_rows = asked = kept = scores = 0
    # The undefended models are asked by one kind of attacker, all others by such as know of the defense and such as do
    # not; labels under masks are not asked for again.
    games: list[tuple[bool, Sequence[Attack]]] = [(True, rows)]
    for one in defenses:
        played = [row for row in rows if not (one.keeps_labels and isinstance(row, LabelAttack))]
        games += [(True, played), (False, played)]
    for adaptive, those in games:
        found = _asked(
            those,
            domain=example.domain,
            budget=budget,
            attacked=attacked,
            targets=targets,
            references=models if adaptive else 0,
            rest=len(plan.pool) - attacked,
            shadow_samples=shadow_samples if adaptive else 0,
            chunk=work.chunk,
        )
        measurements += found.measurements
        own_rows += found.rows
        asked += found.queries
        kept += found.values
        scores += len(those) * targets
    sets = 1 + sum(one.trained for one in defenses)
    each = models + (1 if crafted or any(row.learns_on_shadow for row in rows) else 0)
    crafters = 2 if crafted else 0
    width, speed, epochs = work.executor.width, _measured_speed(trainer, example, work), _epochs(trainer.recipe)
    softened = crafters and min(GUESSED_EPOCHS, smooth(trainer.recipe, example.domain).max_epochs)
    return Plan(
        trainings=sets * each + crafters,
        measurements=measurements,
        scores=scores,
        done=0 if folder is None else _made(folder),
        queries=asked,
        rows=own_rows,
        seconds=speed.training * len(example) * (epochs * math.ceil(sets * each / width) + softened * crafters)
        + speed.answering * (asked + own_rows / max(1, min(width, models))),
        epochs=epochs,
        bytes=(sets * each + crafters) * speed.bytes + kept * BYTES_PER_VALUE,
        workers=width,
    )


def of_canaries(
    trainer: RecipeTrainer,
    example: Samples,
    *,
    canaries: int,
    runs: int,
    queries: int,
    work: Work,
    folder: Path | None,
) -> Plan:
    """The plan of an audit by canaries: models trained on `example`, each asked `queries` for labels, 1 for scores.

    One run takes two models, one after the other; of many, as many are trained at once as there are workers.
    """
    models = 2 if runs == 1 else runs
    pieces, width = 2 * len(cuts(canaries, work.chunk)), work.executor.width
    speed, epochs = _measured_speed(trainer, example, work), _epochs(trainer.recipe)
    asked = models * canaries * (queries + 1)
    rounds = models if runs == 1 else math.ceil(models / width)
    return Plan(
        trainings=models,
        measurements=models * pieces,
        scores=0,
        done=0 if folder is None else _made(folder),
        queries=asked,
        rows=0,
        seconds=speed.training * len(example) * epochs * rounds + speed.answering * asked,
        epochs=epochs,
        bytes=models * speed.bytes + 2 * models * canaries * 2 * BYTES_PER_VALUE,
        workers=width,
    )


def _plan(
    rows: Sequence[Attack],
    *,
    example: Samples,
    trainer: RecipeTrainer,
    budget: int | None,
    attacked: int,
    targets: int,
    references: int,
    rest: int,
    shadow_samples: int,
    work: Work,
    folder: Path | None,
    worst_case: bool = False,
    besides: int = 0,
) -> Plan:
    needs = {need for row in rows for need in row.required}
    uses_references = targets > 1 or worst_case or bool(needs & {Need.REFERENCES, Need.GRADIENTS})
    # A recipe's crafters are trained whoever asks: they show who has near neighbours.
    crafters = 3 if targets > 1 or needs & {Need.CRAFTERS, Need.SURROGATE} else 0
    shadow = any(row.learns_on_shadow for row in rows)
    own = references if uses_references else 0
    found = _asked(
        rows,
        domain=example.domain,
        budget=budget,
        attacked=attacked,
        targets=targets,
        references=own,
        rest=rest,
        shadow_samples=shadow_samples,
        chunk=work.chunk,
        repeated=targets > 1,
    )
    # Where there are references, their confidences say who stands out.
    seen, own_rows = own * len(cuts(attacked, work.chunk)), found.rows + own * attacked
    width = work.executor.width
    recipe, epochs, speed = trainer.recipe, _epochs(trainer.recipe), _measured_speed(trainer, example, work)
    training = speed.training * epochs * len(example)
    softened = crafters and min(GUESSED_EPOCHS, smooth(recipe, example.domain).max_epochs)
    alone = (1 if targets == 1 else 0) + (1 if shadow else 0)
    trainings = alone + own + crafters
    return Plan(
        trainings=trainings,
        measurements=found.measurements + seen,
        scores=len(rows) * targets,
        done=0 if folder is None else _made(folder),
        queries=found.queries + besides,
        rows=own_rows,
        seconds=training * (alone + math.ceil(own / width))
        + speed.training * len(example) * softened * crafters
        + speed.answering * (found.queries + besides)
        # Models of a recipe all of which play target are asked as targets are.
        + (speed.own if targets == 1 else speed.answering) * own_rows / max(1, min(width, own)),
        epochs=epochs,
        bytes=trainings * speed.bytes + found.values * BYTES_PER_VALUE,
        workers=width,
    )


@dataclass(frozen=True, kw_only=True)
class _Questions:
    """At most so many measurements, queries to targets, rows through own models, and values to keep."""

    measurements: int
    queries: int
    rows: int
    values: int


def _asked(
    rows: Sequence[Attack],
    *,
    domain: Domain,
    budget: int | None,
    attacked: int,
    targets: int,
    references: int,
    rest: int,
    shadow_samples: int,
    chunk: int,
    repeated: bool = False,
) -> _Questions:
    """What attacks ask, of `targets` and of so many `references`; the audit's own question is counted too.

    Where games are `repeated`, the references are all models, targets included; see `exposed.repeated_games`.
    """
    measurements, own_rows, asked, kept = len(cuts(attacked, chunk)) * targets, 0, attacked * targets, 0
    shadow = any(row.learns_on_shadow for row in rows) and shadow_samples > 0
    for row in rows:
        most = row.allowed(budget)
        signals = row.signals(domain, most) if isinstance(row, LabelAttack) else ()
        candidates = max(1, len(signals))
        # Own models are asked the exact question, where a signal has one.
        each = max((signal.exact.queries for signal in signals if isinstance(signal, path.Path)), default=most)
        asked += most * attacked * targets
        measurements += len(cuts(attacked, chunk)) * targets
        kept += attacked * targets * 2
        if row.calibration.per_sample:
            pool = min(rest, MOST_POOL) if wants_pool(row.calibration, attacked) else 0
            models, samples = references, attacked + pool
            pieces = len(cuts(attacked, chunk)) + (len(cuts(pool, chunk)) if pool else 0)
            searches = candidates * samples
        elif row.crafted:
            models, samples, pieces = min(references, POOLED), attacked, len(cuts(attacked, chunk))
            searches = attacked + (candidates - 1) * min(attacked, SCREENED)
        else:
            models = 1 if row.learns_on_shadow and shadow else 0
            samples, pieces = shadow_samples, len(cuts(shadow_samples, chunk))
            searches = samples + (candidates - 1) * min(samples, SCREENED)
        if repeated and _replayed(row):
            measurements += references * len(cuts(attacked, chunk))
            own_rows += references * attacked * each
            kept += references * attacked * 2
        measurements += models * pieces * candidates
        own_rows += models * searches * each
        kept += models * samples * candidates * 2
    return _Questions(measurements=measurements, queries=asked, rows=own_rows, values=kept)


def _replayed(row: Attack) -> bool:
    """Whether repeated games ask all models what the attack asks only of targets and of its shadow model."""
    return isinstance(row, LabelAttack) and not row.made_for_one and not row.calibration.per_sample


def _made(folder: Path) -> int:
    return len({line.get("piece") for line in Journal(folder / JOURNAL).lines() if line.get("event") == MADE})


def _epochs(recipe: Recipe) -> int:
    return min(recipe.max_epochs, GUESSED_EPOCHS)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds per row of a network's training and of its answers, and its bytes.

    `answering` is a target's speed, `own` that of an attacker's own model, which tells labels as it was trained.
    """

    training: float
    answering: float
    own: float
    bytes: int


def _measured_speed(trainer: RecipeTrainer, samples: Samples, work: Work) -> Speed:
    """How fast models train and answer where pieces are made: here, or on one of a cluster's nodes."""
    part, executor = samples.take(slice(0, PROBE_ROWS)).to("cpu"), work.executor
    moved = replace(trainer, store=None, method=None, device=executor.device(trainer.device))
    [(_, found)] = executor.run(speed_of, part, [moved])
    return found


def speed_of(samples: Samples, trainer: RecipeTrainer) -> Speed:
    """A piece: the speed of this trainer's networks on these samples."""
    recipe, device = trainer.recipe, trainer.device
    model = build(recipe.architecture, shape=samples.domain.shape, classes=trainer.classes, seed=0)
    place(model, samples.domain, device)
    part = samples.to(device)
    inputs, labels = laid_out(part.inputs), part.labels
    optimizer = optimizer_of(recipe, model.parameters(), device)
    batch = torch.arange(min(len(part), max(2, recipe.batch_size)), device=device)
    course = Course(model, optimizer, precision=recipe.precision)
    training = _seconds_per(lambda: one_epoch(course, inputs, labels, [batch]), len(batch))
    model.eval()
    answering = own = _seconds_per(lambda: _forward(model, inputs), len(part))
    if recipe.precision != "float32":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            own = _seconds_per(lambda: _forward(model, inputs), len(part))
    return Speed(
        training=training,
        answering=answering,
        own=own,
        bytes=sum(weight.numel() * weight.element_size() for weight in model.state_dict().values()),
    )


def _forward(model: nn.Module, inputs: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(model(inputs).sum())  # Read, so that a GPU has to be finished.


def _seconds_per(work: Callable[[], object], rows: int) -> float:
    work()  # The first pass warms up.
    passes, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < PROBE_SECONDS:
        work()
        passes += 1
    return spent / max(1, passes) / rows


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

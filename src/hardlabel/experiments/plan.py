"""What a run is going to do, told before it starts: pieces, queries to the target, time and disk."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hardlabel.attacks import Attack, LabelAttack, Need
from hardlabel.calibrations.base import wants_pool
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
        seconds: Estimated, at the speed just measured here, all workers busy; calibrations and figures not counted.
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


def of_audit(ground: Ground, *, work: Work, folder: Path | None) -> Plan:
    """The plan of an audit of one model."""
    config, parts = ground.config, ground.parts
    return _plan(
        ground.picked.rows,
        example=parts.members,
        recipe=ground.trainer.recipe,
        classes=ground.data.classes,
        budget=config.budget,
        attacked=2 * ground.attacked,
        targets=1,
        references=config.shadows,
        rest=2 * len(parts.members) - 2 * ground.attacked,
        shadow_samples=2 * ground.shadow_attacked,
        device=ground.trainer.device,
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
        recipe=trainer.recipe,
        classes=trainer.classes,
        budget=budget,
        attacked=attacked,
        targets=targets,
        references=len(plan.inside),
        rest=len(plan.pool) - attacked,
        shadow_samples=0 if shadow is None else shadow.attacked + len(shadow.nonmembers),
        device=trainer.device,
        work=work,
        folder=folder,
    )


def _plan(
    rows: Sequence[Attack],
    *,
    example: Samples,
    recipe: Recipe,
    classes: int,
    budget: int | None,
    attacked: int,
    targets: int,
    references: int,
    rest: int,
    shadow_samples: int,
    device: torch.device,
    work: Work,
    folder: Path | None,
) -> Plan:
    needs = {need for row in rows for need in row.required}
    uses_references = targets > 1 or bool(needs & {Need.REFERENCES, Need.GRADIENTS})
    crafters = 3 if needs & {Need.CRAFTERS, Need.SURROGATE} else 0
    shadow = any(row.learns_on_shadow for row in rows)
    own = references if uses_references else 0
    chunk = work.chunk
    measurements, own_rows, asked, kept = len(cuts(attacked, chunk)) * targets, 0, attacked * targets, 0
    for row in rows:
        most = row.allowed(budget)
        candidates = len(row.signals(example.domain, most)) if isinstance(row, LabelAttack) else 1
        asked += most * attacked * targets
        measurements += len(cuts(attacked, chunk)) * targets
        kept += attacked * targets * 2
        if row.calibration.per_sample:
            pool = min(rest, MOST_POOL) if wants_pool(row.calibration, attacked) else 0
            models, samples = own, attacked + pool
            pieces = len(cuts(attacked, chunk)) + (len(cuts(pool, chunk)) if pool else 0)
            searches = candidates * samples
        elif row.crafted:
            models, samples, pieces = min(own, POOLED), attacked, len(cuts(attacked, chunk))
            searches = attacked + (candidates - 1) * min(attacked, SCREENED)
        else:
            models = 1 if row.learns_on_shadow and shadow else 0
            samples, pieces = shadow_samples, len(cuts(shadow_samples, chunk))
            searches = samples + (candidates - 1) * min(samples, SCREENED)
        measurements += models * pieces * candidates
        own_rows += models * searches * most
        kept += models * samples * candidates * 2
    width = work.executor.width
    epochs = min(recipe.max_epochs, GUESSED_EPOCHS)
    per_row, forward, size = _speed(recipe, example, classes, device)
    training = per_row * epochs * len(example)
    softened = crafters and per_row * min(GUESSED_EPOCHS, smooth(recipe, example.domain).max_epochs) * len(example)
    alone = (1 if targets == 1 else 0) + (1 if shadow else 0)
    trainings = alone + own + crafters
    return Plan(
        trainings=trainings,
        measurements=measurements,
        scores=len(rows) * targets,
        done=0 if folder is None else _made(folder),
        queries=asked,
        rows=own_rows,
        seconds=training * (alone + math.ceil(own / width))
        + softened * crafters
        + forward * (asked + own_rows / max(1, min(width, own))),
        epochs=epochs,
        bytes=trainings * size + kept * BYTES_PER_VALUE,
        workers=width,
    )


def _made(folder: Path) -> int:
    return len({line.get("piece") for line in Journal(folder / JOURNAL).lines() if line.get("event") == MADE})


def _speed(recipe: Recipe, samples: Samples, classes: int, device: torch.device) -> tuple[float, float, int]:
    """Seconds per row of training and of answering, and bytes of the network."""
    model = build(recipe.architecture, shape=samples.domain.shape, classes=classes, seed=0)
    place(model, samples.domain, device)
    part = samples.take(slice(0, PROBE_ROWS)).to(device)
    inputs, labels = laid_out(part.inputs), part.labels
    optimizer = optimizer_of(recipe, model.parameters(), device)
    batch = torch.arange(min(len(part), max(2, recipe.batch_size)), device=device)
    training = _seconds_per(lambda: one_epoch(Course(model, optimizer), inputs, labels, [batch]), len(batch))
    model.eval()
    answering = _seconds_per(lambda: _forward(model, inputs), len(part))
    return training, answering, sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())


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

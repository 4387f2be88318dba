"""Measures how fast models train and answer where pieces run, for the plan of a run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import nn

from hardlabel.data.samples import Samples
from hardlabel.executors import Executor
from hardlabel.models.architectures import build
from hardlabel.models.method import Course
from hardlabel.models.train import laid_out, one_epoch, optimizer_of, place
from hardlabel.models.trainers import RecipeTrainer

PROBE_SECONDS = 0.3  # How long training steps, and then forward passes, are timed.
PROBE_ROWS = 512


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds per row of a network's training and of its answers, and the bytes of its weights.

    `answering` is for a target (float32), `own` for an attacker's own model (in the precision of its training).
    """

    training: float
    answering: float
    own: float
    bytes: int


def measured_speed(trainer: RecipeTrainer, samples: Samples, executor: Executor) -> Speed:
    """The speed of the trainer's networks where pieces run: here, or on a node of a cluster."""
    probe = samples.take(slice(0, PROBE_ROWS)).to("cpu")
    moved = replace(trainer, store=None, method=None, device=executor.device(trainer.device))
    [(_, speed)] = executor.run(speed_of, probe, [moved])
    return speed


def speed_of(samples: Samples, trainer: RecipeTrainer) -> Speed:
    """A piece: the speed of the trainer's networks on these samples."""
    recipe, device = trainer.recipe, trainer.device
    model = build(recipe.architecture, shape=samples.domain.shape, classes=trainer.classes, seed=0)
    place(model, samples.domain, device)
    samples = samples.to(device)
    inputs = laid_out(samples.inputs)
    optimizer = optimizer_of(recipe, model.parameters(), device)
    batch = torch.arange(min(len(samples), max(2, recipe.batch_size)), device=device)
    course = Course(model, optimizer, precision=recipe.precision)
    training = _seconds_per(lambda: one_epoch(course, inputs, samples.labels, [batch]), len(batch))
    model.eval()
    answering = own = _seconds_per(lambda: _forward(model, inputs), len(samples))
    if recipe.precision != "float32":
        with torch.autocast(device.type, dtype=torch.bfloat16):
            own = _seconds_per(lambda: _forward(model, inputs), len(samples))
    return Speed(
        training=training,
        answering=answering,
        own=own,
        bytes=sum(weight.numel() * weight.element_size() for weight in model.state_dict().values()),
    )


def _forward(model: nn.Module, inputs: torch.Tensor) -> float:
    with torch.inference_mode():
        return float(model(inputs).sum())  # To read the sum, a GPU must finish.


def _seconds_per(work: Callable[[], object], rows: int) -> float:
    work()  # A first pass to warm up.
    passes, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < PROBE_SECONDS:
        work()
        passes += 1
    return spent / max(1, passes) / rows

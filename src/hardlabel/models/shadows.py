"""Shadow models on the very samples that are asked about: complementary pairs over a pool.

Model 2p is trained on a random half of the pool, model 2p + 1 on the other half. Each sample is then inside exactly
one model of every pair; who plays target takes its partner out, and every sample keeps as many references that were
trained on it as ones that were not, whatever its membership in the target.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import allocator, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models.train import EpochReport
from hardlabel.models.trainers import Made, RecipeTrainer, Trainer
from hardlabel.store import Store

Array = NDArray[Any]
FEWEST, MOST = 2, 256  # Reference models of an audit.


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One model to be trained: on which rows of the pool, from which seed."""

    rows: Tensor
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Progress:
    """A model was finished: how many of how many are, how its training ended, and how long it took."""

    done: int
    of: int
    made: Made


def check_count(count: int) -> None:
    """Refuses a number of reference models that is odd or out of range.

    Raises:
        InvalidInput: It is.
    """
    if not (FEWEST <= count <= MOST) or count % 2:
        raise InvalidInput(f"shadows must be an even number from {FEWEST} to {MOST}, got {count}")


def pairs(count: int, size: int, *, seed: int) -> Tensor:
    """Who is inside which model, bool (count, size): rows 2p and 2p + 1 divide the pool at random.

    A pair is fixed by `seed` and its number: more models leave the first ones as they were.

    Raises:
        InvalidInput: `count` is odd or out of range, or the pool has fewer than two samples.
    """
    check_count(count)
    if size < 2:
        raise InvalidInput(f"pool must hold at least 2 samples, got {size}")
    inside = torch.zeros(count, size, dtype=torch.bool)
    for pair in range(count // 2):
        order = torch.randperm(size, generator=randomness.generator(seed, "pair", pair))
        inside[2 * pair, order[: size // 2]] = True
        inside[2 * pair + 1] = ~inside[2 * pair]
    return inside


def partners(count: int) -> Tensor:
    """The number of each model's partner, int64 (count,)."""
    return torch.arange(count) ^ 1


def jobs(inside: Tensor, *, seed: int) -> list[Job]:
    """One job per row of `inside` (K, n)."""
    return [
        Job(rows=mine.nonzero().flatten(), seed=randomness.derive(seed, "shadow", number))
        for number, mine in enumerate(inside)
    ]


def train_all(
    trainer: Trainer,
    pool: Samples,
    wanted: Sequence[Job],
    *,
    on_done: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    processes: int | None = None,
) -> list[Made]:
    """The models of all jobs, in their order; each goes to the trainer's store as soon as it is finished.

    Recipes on a CPU are trained by one process per core, each with one thread: small networks gain little from more
    threads. All else is trained here, one after another.

    Args:
        trainer: Fits one model.
        pool: What the jobs' rows mean.
        wanted: The models.
        on_done: Told of each finished model, in the order in which they finish.
        on_epoch: Told of each epoch of a model that is trained here.
        processes: How many at once; None for one per core.
    """
    if processes is None:
        processes = joblib.cpu_count()
    found: dict[int, Made] = {}

    def done(number: int, made: Made) -> None:
        found[number] = made
        if on_done is not None:
            on_done(Progress(done=len(found), of=len(wanted), made=made))

    missing = dict(enumerate(wanted))
    if isinstance(trainer, RecipeTrainer) and trainer.device.type == "cpu" and processes > 1:
        for number, job in enumerate(wanted):
            kept = trainer.find(pool.take(job.rows), job.seed)
            if kept is not None:
                del missing[number]
                done(number, kept)
        if len(missing) > 1:
            for number, made in _by_processes(trainer, pool, missing, processes):
                done(number, made)
            missing = {}
    for number, job in missing.items():
        done(number, trainer.fit(pool.take(job.rows), job.seed, on_epoch))
    return [found[number] for number in range(len(wanted))]


def _by_processes(
    trainer: RecipeTrainer, pool: Samples, wanted: Mapping[int, Job], processes: int
) -> Iterator[tuple[int, Made]]:
    """Trains in other processes, into the store, and reads the models back as they come."""
    with contextlib.ExitStack() as stack:
        if trainer.store is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            trainer = replace(trainer, store=Store(folder))
        # Arrays of a pool go to the workers as one memory-mapped file, not once per job.
        inputs, labels, ids = (part.cpu().numpy() for part in (pool.inputs, pool.labels, pool.ids))
        run = joblib.Parallel(
            n_jobs=min(processes, len(wanted)), backend="loky", return_as="generator_unordered", batch_size=1
        )
        tasks = (
            joblib.delayed(_train_one)(trainer, inputs, labels, ids, pool.domain, number, job.rows.numpy(), job.seed)
            for number, job in wanted.items()
        )
        for number in run(tasks):
            job = wanted[number]
            yield number, trainer.fit(pool.take(job.rows), job.seed)


def _train_one(
    trainer: RecipeTrainer,
    inputs: Array,
    labels: Array,
    ids: Array,
    domain: Domain,
    number: int,
    rows: Array,
    seed: int,
) -> int:
    """In a worker: trains one model into the store, unless it is there."""
    torch.set_num_threads(1)
    allocator.keep_memory()
    samples = Samples(
        inputs=torch.from_numpy(inputs[rows]),
        labels=torch.from_numpy(labels[rows]),
        ids=torch.from_numpy(ids[rows]),
        domain=domain,
    )
    trainer.fit(samples, seed)
    return number

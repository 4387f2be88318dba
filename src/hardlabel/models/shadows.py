"""Shadow models on the very samples that are asked about: complementary pairs over a pool.

Model 2p is trained on a random half of the pool, model 2p + 1 on the other half. Each sample is then inside exactly
one model of every pair; who plays target takes its partner out, and every sample keeps as many references that were
trained on it as ones that were not, whatever its membership in the target.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.executors import Executor, Local, sendable
from hardlabel.models.trainers import Made, Movable, RecipeTrainer, Trainer

FEWEST, MOST = 2, 256  # Reference models of an audit.
LONG = 10**6  # Rows through a network in training from which on no first model is tried here alone.


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
    executor: Executor | None = None,
) -> list[Made]:
    """The models of all jobs, in their order; each goes to the trainer's store as soon as it is finished.

    What the executor can spread goes there: recipes on a CPU, each model with the executor's cores (small networks gain
    little from more threads, and the last model that is missing must round as the others did), and on a cluster
    whatever can be sent. All else is trained here, one after another.

    Args:
        trainer: Fits one model.
        pool: What the jobs' rows mean.
        wanted: The models.
        on_done: Told of each finished model, in the order in which they finish.
        executor: Where models are trained; None for processes of this machine.
    """
    executor = executor or Local()
    found: dict[int, Made] = {}

    def done(number: int, made: Made) -> None:
        found[number] = made
        if on_done is not None:
            on_done(Progress(done=len(found), of=len(wanted), made=made))

    missing = dict(enumerate(wanted))
    if isinstance(trainer, Movable) and _spreads(trainer, executor):
        for number, job in enumerate(wanted):
            samples = pool.take(job.rows)
            spec = trainer.key(samples, job.seed) if trainer.store is not None else None
            kept = trainer.store.load(spec) if trainer.store is not None and spec is not None else None
            if kept is not None:
                del missing[number]
                done(number, trainer.unpacked(kept, samples))
        for number, made in _spread(trainer, pool, missing, executor):
            done(number, made)
        missing = {}
    for number, job in missing.items():
        done(number, trainer.fit(pool.take(job.rows), job.seed))
    return [found[number] for number in range(len(wanted))]


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What the trainings of several models share; see `train_one`."""

    trainer: Movable
    pool: Samples


def train_one(common: Training, job: Job) -> bytes:
    """A piece: one model, as the trainer's store keeps it."""
    return common.trainer.packed(common.pool.take(job.rows), job.seed)


def _spreads(trainer: Movable, executor: Executor) -> bool:
    if executor.elsewhere:
        return sendable(trainer.moved(torch.device("cpu")))
    return isinstance(trainer, RecipeTrainer) and trainer.device.type == "cpu"


def _spread(
    trainer: Movable, pool: Samples, missing: Mapping[int, Job], executor: Executor
) -> Iterator[tuple[int, Made]]:
    """Trains by the executor, and keeps the models as they come."""
    here = trainer.device if isinstance(trainer, RecipeTrainer) else torch.device("cpu")
    common = Training(trainer=trainer.moved(executor.device(here)), pool=pool.to("cpu"))
    numbers = list(missing)
    passes = max((len(job.rows) for job in missing.values()), default=0) * (trainer.epochs or LONG)
    for place, payload in executor.run(train_one, common, list(missing.values()), long=passes >= LONG):
        number, job = numbers[place], missing[numbers[place]]
        samples = pool.take(job.rows)
        spec = trainer.key(samples, job.seed) if trainer.store is not None else None
        if trainer.store is not None and spec is not None:
            trainer.store.save(spec, payload)
        yield number, trainer.unpacked(payload, samples)

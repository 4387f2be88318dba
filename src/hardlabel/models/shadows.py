"""Shadow models on the very samples that are asked about: complementary pairs over a pool.

Model 2p is trained on a random half of the pool, model 2p + 1 on the other half. Each sample is then inside exactly
one model of every pair; who plays target takes its partner out, and every sample keeps as many references that were
trained on it as ones that were not, whatever its membership in the target.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.executors import Executor, Local, sendable
from hardlabel.models.model_store import packed
from hardlabel.models.together import Job as TrainJob
from hardlabel.models.together import can_train_together, faster_together, train_together
from hardlabel.models.train import EpochReport, Trained
from hardlabel.models.trainers import Made, Movable, RecipeTrainer, Trainer, made_by_recipe
from hardlabel.store import Spec, digest
from hardlabel.turns import turn

FEWEST, MOST = 2, 256  # Reference models of an audit.
STACK = 32  # Models that a graphics card trains at once.
STACK_GAIN = 1.2  # So many times faster must that be, by a short probe, than one after another.
STACK_ROOM = 4  # Of the card's free memory, one part in so many is for the stack's samples.
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
        raise InvalidInput(f"references must be an even number from {FEWEST} to {MOST}, got {count}")


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
    whatever can be sent. Recipes on a graphics card of this machine are trained many at once where a probe shows that
    to be faster. All else is trained here, one after another.

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

    if isinstance(trainer, Movable) and _spreads(trainer, executor):
        with turn(trainer.store, _first(trainer, pool, wanted)):
            missing = _unkept(trainer, pool, wanted, done)
            for number, payload in _spread((trainer,), pool, missing, executor):
                done(number, trainer.unpacked(payload, pool.take(wanted[number].rows)))
    elif isinstance(trainer, RecipeTrainer) and trainer.device.type == "cuda":
        with turn(trainer.store, _first(trainer, pool, wanted)):
            missing = _unkept(trainer, pool, wanted, done)
            free, _ = torch.cuda.mem_get_info(trainer.device)
            train_stacked(trainer, pool, {one.number: one.job for one in missing}, room=free // STACK_ROOM, done=done)
    for number, job in enumerate(wanted):
        if number not in found:
            done(number, trainer.fit(pool.take(job.rows), job.seed))
    return [found[number] for number in range(len(wanted))]


def train_stacked(
    trainer: RecipeTrainer,
    pool: Samples,
    wanted: Mapping[int, Job],
    *,
    room: int,
    done: Callable[[int, Made], None],
) -> None:
    """Trains models many at once, where a probe shows that to be faster; else does nothing.

    Args:
        trainer: Its device does it; its store keeps each model as soon as that is finished.
        pool: What the jobs' rows mean.
        wanted: The jobs, by number; none of them in the store.
        room: Bytes that a stack's samples may take.
        done: Told of each finished model.
    """
    sizes = {len(job.rows) for job in wanted.values()}
    if trainer.method is not None or can_train_together(trainer.recipe) or len(wanted) < 2 or len(sizes) > 1:
        return
    copies = 2 if trainer.recipe.augment else 1
    most = min(STACK, len(wanted), room // (copies * sizes.pop() * pool.inputs[0].nbytes))
    numbers = list(wanted)
    if most < 2 or _gain(trainer, pool.take(wanted[numbers[0]].rows), most) < STACK_GAIN:
        return
    for start in range(0, len(numbers), most):
        some = numbers[start : start + most]
        group = [(pool.take(wanted[number].rows), wanted[number].seed) for number in some]

        def keep(place: int, trained: Trained, some: list[int] = some, group: list[TrainJob] = group) -> None:
            if trainer.store is not None:
                trainer.store.save(trainer.key(*group[place]), packed(trained))
            done(some[place], made_by_recipe(trained))

        train_together(trainer.recipe, group, classes=trainer.classes, device=trainer.device, on_made=keep)


def _gain(trainer: RecipeTrainer, samples: Samples, count: int) -> float:
    try:
        return faster_together(trainer.recipe, samples, classes=trainer.classes, count=count, device=trainer.device)
    except torch.OutOfMemoryError:
        return 0.0


def train_ahead(
    trainers: Sequence[Trainer],
    pool: Samples,
    wanted: Sequence[Job],
    *,
    on_start: Callable[[int], None] | None = None,
    on_done: Callable[[Progress], None] | None = None,
    executor: Executor | None = None,
) -> None:
    """Trains the jobs of several trainers side by side, into their stores, where `train_all` finds them in its turn.

    One trainer after another, all would wait for the last model of each. What cannot be spread or kept is left for its
    turn, and what two trainers would train alike is trained once.

    Args:
        trainers: Each trains all jobs.
        pool: What the jobs' rows mean.
        wanted: The jobs.
        on_start: Told how many models are missing.
        on_done: Told of each finished model.
        executor: Where models are trained; None for processes of this machine.
    """
    executor = executor or Local()
    able = tuple(
        one for one in trainers if isinstance(one, Movable) and one.store is not None and _spreads(one, executor)
    )
    missing: dict[str, _Missing] = {}
    with turn(able[0].store, _first(able[0], pool, wanted)) if able else nullcontext():
        for job in wanted:
            samples = pool.take(job.rows)
            for which, trainer in enumerate(able):
                spec, store = trainer.key(samples, job.seed), trainer.store
                if spec is None or store is None or digest(spec) in missing or store.load(spec) is not None:
                    continue
                missing[digest(spec)] = _Missing(len(missing), which, job, spec)
        if on_start is not None:
            on_start(len(missing))
        items = list(missing.values())
        for done, (number, payload) in enumerate(_spread(able, pool, items, executor), start=1):
            if on_done is not None:
                one = items[number]
                made = able[one.trainer].unpacked(payload, pool.take(one.job.rows))
                on_done(Progress(done=done, of=len(items), made=made))


def train_alone(
    trainer: Trainer,
    samples: Samples,
    seed: int,
    *,
    on_epoch: Callable[[EpochReport], None] | None = None,
    executor: Executor | None = None,
) -> Made:
    """One model on all samples: trained here, but where only a cluster has the GPU, there.

    Here it has this process's threads, so that a record is the same whatever the executor; on another device it is not.
    """
    if isinstance(trainer, RecipeTrainer) and executor is not None and executor.elsewhere:
        there = executor.device(trainer.device)
        if there != trainer.device and _spreads(trainer, executor):
            [made] = train_all(trainer, samples, [Job(rows=torch.arange(len(samples)), seed=seed)], executor=executor)
            return made
    return trainer.fit(samples, seed, on_epoch)


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What the trainings of several models share; see `train_one`."""

    trainers: tuple[Movable, ...]
    pool: Samples


def train_one(common: Training, item: tuple[int, Job]) -> bytes:
    """A piece: one model by trainer item[0], as its store keeps it."""
    which, job = item
    return common.trainers[which].packed(common.pool.take(job.rows), job.seed)


def _spreads(trainer: Movable, executor: Executor) -> bool:
    if executor.elsewhere:
        return sendable(trainer.moved(torch.device("cpu")))
    recipe = _recipe_of(trainer)
    return recipe is not None and recipe.device.type == "cpu"


def _recipe_of(trainer: Trainer) -> RecipeTrainer | None:
    """The trainer, or the trainer inside it, that trains our networks; None if there is none."""
    inner = getattr(trainer, "inner", trainer)
    return inner if isinstance(inner, RecipeTrainer) else None


@dataclass(frozen=True, eq=False)
class _Missing:
    """A model to be trained: its number, its trainer's, and what it is kept under."""

    number: int
    trainer: int
    job: Job
    spec: Spec | None


def _first(trainer: Movable, pool: Samples, wanted: Sequence[Job]) -> Spec | None:
    """What the first model is kept under: runs that want the same models take turns by it."""
    if trainer.store is None or not wanted:
        return None
    return trainer.key(pool.take(wanted[0].rows), wanted[0].seed)


def _unkept(
    trainer: Movable, pool: Samples, wanted: Sequence[Job], done: Callable[[int, Made], None]
) -> list[_Missing]:
    """The jobs whose models the trainer's store does not hold; `done` is told of those it does."""
    missing = []
    for number, job in enumerate(wanted):
        samples = pool.take(job.rows)
        spec = trainer.key(samples, job.seed) if trainer.store is not None else None
        kept = trainer.store.load(spec) if trainer.store is not None and spec is not None else None
        if kept is not None:
            done(number, trainer.unpacked(kept, samples))
        else:
            missing.append(_Missing(number, 0, job, spec))
    return missing


def _spread(
    trainers: tuple[Movable, ...], pool: Samples, missing: Sequence[_Missing], executor: Executor
) -> Iterator[tuple[int, bytes]]:
    """Trains by the executor, each job by its trainer, and keeps the models as they come."""
    if not missing:
        return
    moved = tuple(one.moved(executor.device(_device(one))) for one in trainers)
    common, items = Training(trainers=moved, pool=pool.to("cpu")), [(one.trainer, one.job) for one in missing]
    passes = max((len(one.job.rows) * (trainers[one.trainer].epochs or LONG) for one in missing), default=0)
    for place, payload in executor.run(train_one, common, items, long=passes >= LONG):
        one = missing[place]
        store = trainers[one.trainer].store
        if store is not None and one.spec is not None:
            store.save(one.spec, payload)
        yield one.number, payload


def _device(trainer: Trainer) -> torch.device:
    recipe = _recipe_of(trainer)
    return torch.device("cpu") if recipe is None else recipe.device

"""Train many models of one recipe at once, for devices that one small model cannot fill.

The models' weights are stacked, and one step moves all of them: each on its own batch, drawn in its own order and
augmented by its own seed, so that every model is the one `train` would have made, but for rounding: a stack adds up
in another order. Over many epochs of Adam on networks of ReLUs, rounding can grow into other weights of the same kind.
"""

import copy
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.models.architectures import build, normalises
from hardlabel.models.method import Course
from hardlabel.models.train import (
    Ending,
    EpochReport,
    Recipe,
    Trained,
    augmented,
    batch_lengths,
    check,
    laid_out,
    measured,
    one_epoch,
    optimizer_of,
    place,
)
from hardlabel.randomness import generator

PROBED_STEPS = 3  # Steps of one timing in `faster_together`.
PROBE_ROUNDS = 3  # Fewest timings of each kind, the shortest of which counts.
PROBE_SECONDS = 0.2  # Both ways are timed at least so long, for steps of small networks take a millisecond.

Job = tuple[Samples, int]


def train_together(
    recipe: Recipe,
    jobs: Sequence[Job],
    *,
    classes: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, EpochReport], None] | None = None,
    on_made: Callable[[int, Trained], None] | None = None,
) -> list[Trained]:
    """The models `train` would give for each (samples, seed) of `jobs`, in their order.

    Each model stops by its own loss and accuracy and leaves the stack then; the others go on. The device holds
    a copy of all jobs' samples, and a second one where the recipe augments: give it as many jobs as fit.

    Args:
        recipe: How all are trained.
        jobs: What each is trained on, equally many samples of one domain, and its seed.
        classes: Number of logits.
        device: Where they are trained and stay.
        on_epoch: Told of each epoch of each model: the model's place in `jobs`, and the report, whose seconds
            are those since all began.
        on_made: Told of each model as soon as it is finished, while others may go on: its place in `jobs`, and it.

    Returns:
        The models. `seconds` is a model's share of the wall time: each epoch's divided by the models it trained.

    Raises:
        InvalidInput: The recipe cannot be trained together, no jobs, jobs that differ in size or domain, or what
            `train` refuses.
        RuntimeError: The loss of one became infinite or NaN; none is returned.
    """
    device = torch.device(device)
    models = _first_models(recipe, jobs, classes)
    size, domain = len(jobs[0][0]), jobs[0][0].domain
    inputs = torch.cat([samples.inputs.to(device) for samples, _ in jobs])
    labels = torch.cat([samples.labels.to(device) for samples, _ in jobs])
    mine = [slice(number * size, (number + 1) * size) for number in range(len(jobs))]
    shown = torch.empty_like(inputs) if recipe.augment else inputs
    stack, endings = _Stack(recipe, models, device), [Ending(recipe) for _ in jobs]
    epochs, shares = [0] * len(jobs), [0.0] * len(jobs)
    made: dict[int, Trained] = {}

    def finish(number: int) -> None:
        model = models[number]
        place(model, domain, device)
        loss, accuracy = measured(model, laid_out(inputs[mine[number]]), labels[mine[number]], batch_size=1000)
        made[number] = Trained(
            model=model,
            epochs=epochs[number],
            train_loss=loss,
            train_accuracy=accuracy,
            seconds=shares[number],
            rows=epochs[number] * size,
        )
        if on_made:
            on_made(number, made[number])

    active, epoch, start = list(range(len(jobs))), 0, time.perf_counter()
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        while active:
            epoch, begun = epoch + 1, time.perf_counter()
            orders = []
            for number in active:
                seed = jobs[number][1]
                if recipe.augment:
                    draws = generator(seed, "augmentation", epoch)
                    shown[mine[number]] = augmented(recipe, inputs[mine[number]], domain, draws)
                orders.append(number * size + torch.randperm(size, generator=generator(seed, "order", epoch)))
            figures = stack.one_epoch(shown, labels, torch.stack(orders).to(device))
            now = time.perf_counter()
            going = []
            for row, (number, (loss, accuracy)) in enumerate(zip(active, figures, strict=True)):
                epochs[number] = epoch
                shares[number] += (now - begun) / len(active)
                if not endings[number].reached(epoch=epoch, loss=loss, accuracy=accuracy):
                    going.append(row)
                if on_epoch:
                    on_epoch(number, EpochReport(epoch=epoch, loss=loss, accuracy=accuracy, seconds=now - start))
            if len(going) < len(active):
                stack.keep(going)
                ended = [number for row, number in enumerate(active) if row not in going]
                active = [active[one] for one in going]
                for number in ended:
                    finish(number)
    return [made[number] for number in range(len(jobs))]


def can_train_together(recipe: Recipe) -> str | None:
    """Why models of this recipe cannot be trained together, or None if they can."""
    if normalises(recipe.architecture):
        return f"{recipe.architecture} keeps running statistics of its batches, which a stack of models does not"
    if recipe.precision != "float32":
        return f"a stack of models is trained in float32, not in {recipe.precision}"
    return None


def faster_together(
    recipe: Recipe, samples: Samples, *, classes: int, count: int, device: torch.device | str = "cpu"
) -> float:
    """How many times faster `count` models are trained together than one after another, by a short probe.

    Both ways are timed on a few steps, without augmentation, which costs the same in both. Busy machines make the
    answer uncertain: a figure near 1 says nothing.

    Raises:
        InvalidInput: The recipe cannot be trained together, `count` is below 1, or what `train` refuses.
    """
    checks.at_least(1, count=count)
    device = torch.device(device)
    few = samples.take(slice(0, PROBED_STEPS * recipe.batch_size))
    models = _first_models(recipe, [(few, number) for number in range(count + 1)], classes)
    inputs, labels = few.inputs.to(device), few.labels.to(device)
    order = torch.arange(len(few), device=device)
    alone = models.pop()
    place(alone, few.domain, device)
    optimizer = optimizer_of(recipe, alone.parameters(), device)
    arranged, batches = laid_out(inputs), torch.split(order, batch_lengths(len(few), recipe.batch_size))
    stack = _Stack(recipe, models, device)
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        one = _least_seconds(lambda: one_epoch(Course(alone, optimizer), arranged, labels, batches))
        together = _least_seconds(lambda: stack.one_epoch(inputs, labels, order.expand(count, -1)))
    return count * one / together


class _Stack:
    """Models of one form as one: their weights lie in tensors (models, ...), which one optimizer moves.

    An optimizer works on each number apart and all models take as many steps, so that none sees the others.
    """

    def __init__(self, recipe: Recipe, models: Sequence[nn.Sequential], device: torch.device) -> None:
        self._recipe, self._models, self._device = recipe, list(models), device
        weights, _ = stack_module_state(self._models)
        self._weights = {name: _placed(weight.detach(), device) for name, weight in weights.items()}
        self._optimizer = optimizer_of(recipe, self._weights.values(), device)
        form = copy.deepcopy(self._models[0]).to("meta")  # Only its form is used; it is called with others' weights.
        self._logits = torch.vmap(lambda weights, batch: functional_call(form, weights, (batch,)))

    def one_epoch(self, inputs: Tensor, labels: Tensor, orders: Tensor) -> list[tuple[float, float]]:
        """Each model's mean loss and share of right answers over its batches, and moves all weights.

        Row m of `orders` (models, n) says which rows of `inputs` and `labels` model m is shown, and in which order.
        """
        count, size = orders.shape
        losses = torch.zeros(count, device=self._device)
        right = torch.zeros(count, dtype=torch.int64, device=self._device)
        for rows in torch.split(orders, batch_lengths(size, self._recipe.batch_size), 1):
            truth = labels[rows]
            logits = self._logits(self._weights, inputs[rows])
            each = functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
            loss = each.reshape(rows.shape).mean(1)
            self._optimizer.zero_grad(set_to_none=True)
            loss.sum().backward()  # type: ignore[no-untyped-call]  # A sum: no model's gradient knows of the others.
            self._optimizer.step()
            losses += loss.detach() * rows.shape[1]
            right += (logits.detach().argmax(2) == truth).sum(1)
        return [(loss / size, correct / size) for loss, correct in zip(losses.tolist(), right.tolist(), strict=True)]

    def keep(self, places: Sequence[int]) -> None:
        """Goes on with the models at these places of the stack; the others get the weights they have now."""
        for row, model in enumerate(self._models):
            if row not in places:
                model.load_state_dict({name: weight[row] for name, weight in self._weights.items()})
        self._models = [self._models[one] for one in places]
        kept = torch.tensor(places, dtype=torch.int64, device=self._device)
        narrow = {name: _placed(weight.detach()[kept], self._device) for name, weight in self._weights.items()}
        optimizer = optimizer_of(self._recipe, narrow.values(), self._device)
        for old, new in zip(self._weights.values(), narrow.values(), strict=True):
            # What it remembers of each weight; a number of steps is common to all.
            optimizer.state[new] = {
                name: value[kept] if isinstance(value, Tensor) and value.shape == old.shape else value
                for name, value in self._optimizer.state[old].items()
            }
        self._weights, self._optimizer = narrow, optimizer


def _placed(weights: Tensor, device: torch.device) -> Tensor:
    """Weights to be learnt, laid out as a graphics card is fastest with: filters with channels last (a tenth there)."""
    weights = weights.to(device)
    if device.type == "cuda" and weights.ndim == 5:
        weights = weights.movedim(2, 4).contiguous().movedim(4, 2)
    return weights.requires_grad_()


def _first_models(recipe: Recipe, jobs: Sequence[Job], classes: int) -> list[nn.Sequential]:
    """The jobs' models before training, on the CPU, after all checks."""
    if (reason := can_train_together(recipe)) is not None:
        raise InvalidInput(f"models cannot be trained together: {reason}")
    checks.at_least(1, jobs=len(jobs))
    first = jobs[0][0]
    models = []
    for number, (samples, seed) in enumerate(jobs):
        if len(samples) != len(first):
            raise InvalidInput(f"jobs must have equally many samples, got {len(first)} and {len(samples)}")
        if samples.domain != first.domain:
            raise InvalidInput(f"jobs must share one domain, got {first.domain} and {samples.domain}")
        model = build(recipe.architecture, shape=samples.domain.shape, classes=classes, seed=seed)
        if number == 0 or samples is not first:
            check(recipe, samples, model, classes)
        models.append(model)
    return models


def _least_seconds(run: Callable[[], object]) -> float:
    """The shortest of some timings after a warm-up; `run` must wait for its device."""
    run()
    seconds: list[float] = []
    while len(seconds) < PROBE_ROUNDS or sum(seconds) < PROBE_SECONDS:
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)

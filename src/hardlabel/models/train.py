"""Train a network by a recipe, the same way each time."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.augment import Move, apply, hides
from hardlabel.data.domain import Box, Domain
from hardlabel.data.samples import Samples
from hardlabel.executors import threads
from hardlabel.models.architectures import build, check_name, convolves
from hardlabel.models.method import Course, Method, Task
from hardlabel.randomness import derive, generator

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained; the defaults are those of the paper's published code.

    Training ends after the first epoch at which one of three conditions holds: it is the `max_epochs`-th; the training
    loss has not fallen by `min_delta` below its best for `patience` epochs; or, where `stop_at_accuracy` is set, the
    share of right answers has reached it. Loss and share are measured on the epoch's batches (augmented, if asked),
    while the weights change. The last weights are kept, not the best.

    Attributes:
        architecture: A name that `architectures.build` knows.
        optimizer: "adam" or "sgd".
        learning_rate: Step size, above 0.
        momentum: In [0, 1); for sgd only.
        weight_decay: L2 penalty: this times half the squared weights is added to the loss that is minimised.
        batch_size: Rows per step; a last batch of a single row joins the one before it.
        max_epochs: Most epochs.
        min_delta: A smaller fall of the loss counts as none.
        patience: Epochs without a fall before training stops.
        stop_at_accuracy: In [0, 1]; None leaves the stop to the loss.
        augment: Moves, one of which is drawn for each image in each epoch; include STILL to keep originals.
        precision: "float32", or "bfloat16" for mixed precision: weights, losses and steps stay float32, products are
            rounded to 8 bits before they are summed. See `usual_precision`.

    Raises:
        InvalidInput: A setting is outside its range.

    Example:
        >>> from hardlabel import Recipe
        >>> Recipe(architecture="logistic", max_epochs=5).optimizer
        'adam'
        >>> Recipe(momentum=1.0)
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: momentum must lie in [0, 1), got 1.0
    """

    architecture: str = "cnn"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 100
    max_epochs: int = 1000
    min_delta: float = 0.005
    patience: int = 20
    stop_at_accuracy: float | None = None
    augment: tuple[Move, ...] = ()
    precision: str = "float32"

    def __post_init__(self) -> None:
        checks.plain_fields(self)
        check_name(self.architecture)
        checks.one_of(OPTIMIZERS, optimizer=self.optimizer)
        checks.one_of(PRECISIONS, precision=self.precision)
        checks.positive(learning_rate=self.learning_rate)
        checks.number(momentum=self.momentum)
        if not 0 <= self.momentum < 1:
            raise InvalidInput(f"momentum must lie in [0, 1), got {self.momentum}")
        checks.not_negative(weight_decay=self.weight_decay, min_delta=self.min_delta)
        checks.whole_number(1, batch_size=self.batch_size, max_epochs=self.max_epochs, patience=self.patience)
        if self.stop_at_accuracy is not None:
            checks.probability(stop_at_accuracy=self.stop_at_accuracy)


def usual_precision(architecture: str, device: torch.device) -> str:
    """In which precision a network is trained where nobody says: the faster one where that was measured to be no worse.

    Processors with products of bfloat16 (AVX-512 BF16 or AMX, as PyTorch 2.11 and later tell) train networks that
    convolve nearly twice as fast in it, and attacks find the same in models trained so (studies/PRECISION.md).
    Elsewhere, and on a graphics card, it is float32.
    """
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch before 2.11 does not tell.
    native = able.get("avx512_bf16", False) or able.get("amx_bf16", False)
    return "bfloat16" if native and device.type == "cpu" and convolves(architecture) else "float32"


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What is known after an epoch.

    Attributes:
        epoch: Counted from 1.
        loss: Mean cross-entropy over the epoch's batches, in nats, as the weights changed; no penalty in it.
        accuracy: Share of right answers over the same batches.
        seconds: Since training began.
    """

    epoch: int
    loss: float
    accuracy: float
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A trained model and what it took.

    Attributes:
        model: The network in evaluation mode, on the device it was asked for.
        epochs: Epochs of training.
        train_loss: Mean cross-entropy on its training samples, measured after training, without augmentation.
        train_accuracy: Share of them it gets right, measured likewise.
        seconds: Wall time of the training, wherever and whenever it was done.
        rows: Rows that went through the network in training: epochs times samples.
    """

    model: nn.Sequential
    epochs: int
    train_loss: float
    train_accuracy: float
    seconds: float
    rows: int


class Plateau:
    """Notices that a falling loss has stopped falling."""

    def __init__(self, *, min_delta: float, patience: int) -> None:
        self._min_delta, self._patience = min_delta, patience
        self._best, self._waited = math.inf, 0

    def reached(self, loss: float) -> bool:
        """Takes one epoch's loss; True once `patience` losses in a row were not below the best by more than
        `min_delta`."""
        if loss < self._best - self._min_delta:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        return self._waited >= self._patience


class Ending:
    """The rule that ends one model's training; see `Recipe`."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._plateau = Plateau(min_delta=recipe.min_delta, patience=recipe.patience)

    def reached(self, *, epoch: int, loss: float, accuracy: float) -> bool:
        """Takes one epoch's figures; True if it was the last epoch.

        Raises:
            RuntimeError: The loss is infinite or NaN.
        """
        recipe = self._recipe
        if not math.isfinite(loss):
            raise RuntimeError(
                f"the training loss became {loss} in epoch {epoch}: "
                f"learning_rate {recipe.learning_rate:g} is too high for {recipe.architecture} on these data"
            )
        enough = recipe.stop_at_accuracy is not None and accuracy >= recipe.stop_at_accuracy
        return self._plateau.reached(loss) or enough or epoch >= recipe.max_epochs


def train(
    recipe: Recipe,
    samples: Samples,
    *,
    classes: int,
    seed: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[EpochReport], None] | None = None,
    method: Method | None = None,
) -> Trained:
    """Trains a new model on `samples`; `seed` fixes first weights, order and augmentation.

    On a CPU, a network without convolutions is trained by one thread: a second one makes its training slower.

    A `method` may change the network, the batches, the loss and the step; losses told are then the method's.

    On one machine with one number of threads the same arguments give the same weights, bit for bit, on a CPU;
    on a GPU the deterministic convolutions are chosen. Global generators are neither read nor changed.

    Raises:
        InvalidInput: No samples, a label that is no class, a shape the architecture cannot take, augmentation
            of what is no image, a batch normalisation that would see a single row, or mixed precision with a method.
        RuntimeError: The loss became infinite or NaN.
    """
    device = torch.device(device)
    alone = device.type == "cpu" and not convolves(recipe.architecture)
    with threads(1) if alone else contextlib.nullcontext():
        return _trained(recipe, samples, classes=classes, seed=seed, device=device, on_epoch=on_epoch, method=method)


def _trained(
    recipe: Recipe,
    samples: Samples,
    *,
    classes: int,
    seed: int,
    device: torch.device,
    on_epoch: Callable[[EpochReport], None] | None,
    method: Method | None,
) -> Trained:
    if method is not None:
        check_float32(recipe)
    make = build if method is None else method.network
    model = make(recipe.architecture, shape=samples.domain.shape, classes=classes, seed=seed)
    check(recipe, samples, model, classes)
    place(model, samples.domain, device)
    inputs, labels = laid_out(samples.inputs.to(device)), samples.labels.to(device)
    optimizer = optimizer_of(recipe, model.parameters(), device)
    ending, ended = Ending(recipe), False
    start, epoch = time.perf_counter(), 0
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        course = (method or Method()).begin(
            Task(
                model=model,
                optimizer=optimizer,
                inputs=inputs,
                labels=labels,
                classes=classes,
                batch_size=recipe.batch_size,
                seed=seed,
                precision=recipe.precision,
            )
        )
        while not ended:
            epoch += 1
            shown = augmented(recipe, inputs, samples.domain, generator(seed, "augmentation", epoch))
            order = torch.randperm(len(samples), generator=generator(seed, "order", epoch)).to(device)
            batches = course.batches(order, batch_lengths(len(order), recipe.batch_size))
            with _seeded(derive(seed, "layers", epoch), device) if method else contextlib.nullcontext():
                loss, share = one_epoch(course, shown, labels, batches)
            ended = ending.reached(epoch=epoch, loss=loss, accuracy=share)
            seconds = time.perf_counter() - start
            if on_epoch:
                on_epoch(EpochReport(epoch=epoch, loss=loss, accuracy=share, seconds=seconds))
        course.end()
    seconds = time.perf_counter() - start
    train_loss, train_accuracy = measured(model, inputs, labels, batch_size=1000)
    return Trained(
        model=model,
        epochs=epoch,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        seconds=seconds,
        rows=epoch * len(samples),
    )


def check_float32(recipe: Recipe) -> None:
    """Refuses mixed precision, for what changes a training or guards a model is measured to more than 8 bits.

    Raises:
        InvalidInput: The recipe has it.
    """
    if recipe.precision != "float32":
        raise InvalidInput(f"precision must be 'float32' where defenses train, got {recipe.precision!r}")


def place(model: nn.Module, domain: Domain, device: torch.device) -> None:
    """Moves the model to `device`, laid out in memory as training and answering are fastest there."""
    model.to(device)
    if _images_last(device, domain.shape):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def check(recipe: Recipe, samples: Samples, model: nn.Module, classes: int) -> None:
    """Refuses what cannot be trained; see `train`."""
    checks.at_least(1, samples=len(samples))
    if int(samples.labels.max()) >= classes:
        raise InvalidInput(f"labels must be below classes = {classes}, got {int(samples.labels.max())}")
    if any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
        checks.at_least(2, samples=len(samples), batch_size=recipe.batch_size)
    if not recipe.augment:
        return
    domain = samples.domain
    if not (isinstance(domain, Box) and domain.kind == "image"):
        raise InvalidInput(f"augment must be empty where samples are no images, got a {domain.kind} domain")
    height, width = domain.shape[1:]
    for move in recipe.augment:
        if hides(move, height, width):
            raise InvalidInput(f"augment must leave a part of {width} x {height} pixels in view, got {move}")


def laid_out(inputs: Tensor) -> Tensor:
    """The same inputs, in the memory layout that `place` gives a model on their device."""
    last = _images_last(inputs.device, inputs.shape[1:])
    return inputs.contiguous(memory_format=torch.channels_last) if last else inputs


def _images_last(device: torch.device, shape: tuple[int, ...]) -> bool:
    """Whether images lie with channels last: on a CPU a tenth faster than channels first in training and in answering,
    on an H200 three tenths in answering."""
    return len(shape) == 3 and device.type in ("cpu", "cuda")


def optimizer_of(recipe: Recipe, weights: Iterable[Tensor], device: torch.device) -> torch.optim.Optimizer:
    """The recipe's optimizer of `weights`, with nothing remembered yet."""
    rate, decay = recipe.learning_rate, recipe.weight_decay
    fused = device.type in ("cpu", "cuda")
    if recipe.optimizer == "adam":
        return torch.optim.Adam(weights, lr=rate, weight_decay=decay, fused=fused)
    return torch.optim.SGD(weights, lr=rate, momentum=recipe.momentum, weight_decay=decay, fused=fused)


def augmented(recipe: Recipe, inputs: Tensor, domain: Domain, draws: torch.Generator) -> Tensor:
    """A copy of `inputs` in which each image has made one of the recipe's moves, drawn with equal chances."""
    if not recipe.augment:
        return inputs
    assert isinstance(domain, Box)
    drawn = torch.randint(len(recipe.augment), (len(inputs),), generator=draws)
    shown = torch.empty_like(inputs)
    for number, move in enumerate(recipe.augment):
        rows = (drawn == number).nonzero().flatten().to(inputs.device)
        if len(rows):
            shown[rows] = apply(move, inputs[rows], fill=domain.lower)
    return shown


def batch_lengths(rows: int, size: int) -> list[int]:
    """How many rows each batch of an epoch holds."""
    whole, rest = divmod(rows, size)
    if rest == 1 and whole and size > 1:
        # A last batch of one row would be noise, and batch normalisation cannot learn from it.
        return [size] * (whole - 1) + [size + 1]
    return [size] * whole + [rest] * (rest > 0)


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds PyTorch's own generators for layers that draw from them, and puts them back."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # Not torch.manual_seed, which would also reseed every other GPU.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def one_epoch(course: Course, inputs: Tensor, labels: Tensor, batches: Iterable[Tensor]) -> tuple[float, float]:
    """Mean loss and share of right answers over the batches; both are read once, at the end."""
    course.begin_epoch()
    loss_sum = torch.zeros((), device=inputs.device)
    right = torch.zeros((), dtype=torch.int64, device=inputs.device)
    for rows in batches:
        lost, correct = course.step(inputs[rows], labels[rows], rows)
        loss_sum += lost
        right += correct
    return float(loss_sum) / len(inputs), int(right) / len(inputs)


def measured(model: nn.Module, inputs: Tensor, labels: Tensor, batch_size: int) -> tuple[float, float]:
    """Mean cross-entropy and share of right answers in evaluation mode, in which the model stays."""
    model.eval()
    loss_sum = torch.zeros((), device=inputs.device)
    right = torch.zeros((), dtype=torch.int64, device=inputs.device)
    with torch.inference_mode():
        for batch, truth in zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True):
            logits = model(batch)
            loss_sum += functional.cross_entropy(logits, truth, reduction="sum")
            right += (logits.argmax(1) == truth).sum()
    return float(loss_sum) / len(inputs), int(right) / len(inputs)

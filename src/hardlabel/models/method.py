"""What a way of training may change about the loop that all share: the network, the batches, the loss, the step.

`train` runs one loop; a `Method` begins a `Course`, which the loop asks for batches and steps. As they stand, both
change nothing; a defense overrides what it needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardlabel.models.architectures import build


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One training as a course finds it.

    Attributes:
        model: The network, on its device, with first weights.
        optimizer: Of its weights, with nothing remembered yet.
        inputs, labels: What it is trained on (n, *shape) and (n,), on the same device, without augmentation.
        classes: Number of logits.
        batch_size: Rows per step the recipe asks for.
        seed: Fixes every draw.
        precision: Of the products; methods train in "float32".
    """

    model: nn.Sequential
    optimizer: torch.optim.Optimizer
    inputs: Tensor
    labels: Tensor
    classes: int
    batch_size: int
    seed: int
    precision: str = "float32"

    @property
    def device(self) -> torch.device:
        """Where everything lies."""
        return self.inputs.device


class Course:
    """A training under way. `epoch` counts from 1 once the first has begun.

    PyTorch's own generators are seeded anew for every epoch and put back after it, so that a course may use layers that
    draw from them, such as dropout.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, precision: str = "float32") -> None:
        self.model, self.optimizer, self.epoch = model, optimizer, 0
        self._mixed = precision == "bfloat16"

    def begin_epoch(self) -> None:
        """Counts the epoch and puts the network into training mode."""
        self.epoch += 1
        self.model.train()

    def batches(self, order: Tensor, lengths: Sequence[int]) -> Sequence[Tensor]:
        """The rows of each step, from a shuffled `order` (n,) and the usual number of rows per step."""
        return torch.split(order, list(lengths))

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """What a step minimises, a mean over the batch, and the logits (b, classes) that tell who was right."""
        del rows  # Which of the training samples these are; defenses that keep something for each want to know.
        if not self._mixed:
            logits = self.model(inputs)
        else:
            with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
                logits = self.model(inputs)
            logits = logits.float()
        return functional.cross_entropy(logits, truth), logits

    def step(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Moves the weights once; the batch's sum of losses and its number of right answers, neither read yet."""
        loss, logits = self.loss(inputs, truth, rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach() * len(rows), (logits.detach().argmax(1) == truth).sum()

    def end(self) -> None:
        """Leaves the network as one that anybody can use."""


class Method:
    """A way of training, settings only: frozen dataclasses that can be pickled, whose fields the store's keys hold."""

    @property
    def description(self) -> str:
        """In words, to stand after the recipe's."""
        return str(self)

    def network(self, architecture: str, *, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
        """A new network; see `build`."""
        return build(architecture, shape=shape, classes=classes, seed=seed)

    def begin(self, task: Task) -> Course:
        """A course for one training."""
        return Course(task.model, task.optimizer, precision=task.precision)

    def moved(self, device: torch.device) -> "Method":
        """The method as it is sent to another process, where it finds nothing: it carries what it would look up here.

        `device` is where this process trains, for what has to be made first.
        """
        del device
        return self

"""RelaxLoss: training keeps the loss near a level above 0."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training, fixed_epochs
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe

MOST_EPOCHS = 100  # The loss is to stay at its level, so that it is no sign of an end.


@dataclass(frozen=True, kw_only=True)
class RelaxLoss:
    """Descends while a batch's mean loss is above `level`; below, ascends in one epoch and flattens in the next.

    Flattening trains on soft labels: the true class keeps the confidence it has, the rest is spread evenly over the
    other classes. Runs 100 epochs at most. Costs calibrated confidences. Chen et al. (2022).

    Attributes:
        level: Cross-entropy in nats, in (0, 10]; at the loss of guessing, log(classes), nothing is learned.

    Raises:
        InvalidInput: `level` is not in (0, 10].

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.relaxloss import RelaxLoss
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = RelaxLoss(level=0.5).training(Recipe(architecture="fc"), defender)
        >>> training.method.description, training.recipe.max_epochs
        ('loss relaxed to 0.5', 100)
    """

    level: float

    def __post_init__(self) -> None:
        if not 0 < self.level <= 10:
            raise InvalidInput(f"level must lie in (0, 10], got {self.level}")

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        return Training(recipe=fixed_epochs(recipe, MOST_EPOCHS), method=Relaxed(level=self.level))


@dataclass(frozen=True, kw_only=True)
class Relaxed(Method):
    """See `RelaxLoss`."""

    level: float

    @property
    def description(self) -> str:
        return f"loss relaxed to {self.level:g}"

    def begin(self, task: Task) -> Course:
        return _Relaxing(task, self.level)


class _Relaxing(Course):
    def __init__(self, task: Task, level: float) -> None:
        super().__init__(task.model, task.optimizer)
        self._level = level

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        plain = functional.cross_entropy(logits, truth)
        if self.epoch % 2 == 0:
            return (plain - self._level).abs(), logits
        return torch.where(plain > self._level, plain, self._flattening(logits, truth)), logits

    @staticmethod
    def _flattening(logits: Tensor, truth: Tensor) -> Tensor:
        own = logits.detach().softmax(1).gather(1, truth[:, None])
        soft = ((1 - own) / (logits.shape[1] - 1)).expand(logits.shape).scatter(1, truth[:, None], own)
        return functional.cross_entropy(logits, soft)

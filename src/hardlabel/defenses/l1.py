"""L1: a penalty on the absolute values of the weights."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from hardlabel import checks
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class L1:
    """Adds `penalty` times the sum of all weights' absolute values to the loss.

    Costs accuracy where strong, no time. Choquette-Choo et al. (2021); Tibshirani (1996).

    Attributes:
        penalty: Above 0.

    Raises:
        InvalidInput: `penalty` is not above 0.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.l1 import L1
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = L1(penalty=0.001).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'L1 penalty 0.001'
    """

    penalty: float

    def __post_init__(self) -> None:
        checks.positive(penalty=self.penalty)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        return Training(recipe=recipe, method=L1Penalty(penalty=self.penalty))


@dataclass(frozen=True, kw_only=True)
class L1Penalty(Method):
    """See `L1`."""

    penalty: float

    @property
    def description(self) -> str:
        return f"L1 penalty {self.penalty:g}"

    def begin(self, task: Task) -> Course:
        return _Penalised(task, self.penalty)


class _Penalised(Course):
    def __init__(self, task: Task, penalty: float) -> None:
        super().__init__(task.model, task.optimizer)
        self._penalty = penalty

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        size = sum((weight.abs().sum() for weight in self.model.parameters()), start=logits.new_zeros(()))
        return functional.cross_entropy(logits, truth) + self._penalty * size, logits

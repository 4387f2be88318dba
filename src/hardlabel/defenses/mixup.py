"""Mixup: training on weighted means of two samples and of their labels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixes each sample of a batch with another one; the share is drawn once per batch, from Beta(alpha, alpha).

    Costs more epochs. In training, binary features take values between 0 and 1. Zhang et al. (2018); as a defense Kaya
    and Dumitras (2021).

    Attributes:
        alpha: Above 0; large values mix half and half.

    Raises:
        InvalidInput: `alpha` is not above 0.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.mixup import Mixup
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = Mixup(alpha=1.0).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'mixup with alpha 1'
    """

    alpha: float

    def __post_init__(self) -> None:
        checks.positive(alpha=self.alpha)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        return Training(recipe=recipe, method=Mixed(alpha=self.alpha))


@dataclass(frozen=True, kw_only=True)
class Mixed(Method):
    """See `Mixup`."""

    alpha: float

    @property
    def description(self) -> str:
        return f"mixup with alpha {self.alpha:g}"

    def begin(self, task: Task) -> Course:
        return _Mixing(task, self.alpha)


class _Mixing(Course):
    def __init__(self, task: Task, alpha: float) -> None:
        super().__init__(task.model, task.optimizer)
        self._alpha = alpha
        self._draws: np.random.Generator = randomness.numpy_generator(task.seed, "mixup")

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        share = float(self._draws.beta(self._alpha, self._alpha))
        other = torch.from_numpy(self._draws.permutation(len(inputs))).to(inputs.device)
        logits = self.model(share * inputs + (1 - share) * inputs[other])
        first, second = (functional.cross_entropy(logits, labels) for labels in (truth, truth[other]))
        return share * first + (1 - share) * second, logits

"""Label smoothing: a part of each label goes to all classes."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing:
    """Trains on labels of which `share` is spread evenly over all classes.

    Costs calibrated confidences; no time. Szegedy et al. (2016); as a defense Kaya and Dumitras (2021).

    Attributes:
        share: Strictly between 0 and 1.

    Raises:
        InvalidInput: `share` is not between 0 and 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.label_smoothing import LabelSmoothing
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = LabelSmoothing(share=0.1).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'labels smoothed by 0.1'
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InvalidInput(f"share must lie strictly between 0 and 1, got {self.share}")

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        return Training(recipe=recipe, method=Smoothed(share=self.share))


@dataclass(frozen=True, kw_only=True)
class Smoothed(Method):
    """See `LabelSmoothing`."""

    share: float

    @property
    def description(self) -> str:
        return f"labels smoothed by {self.share:g}"

    def begin(self, task: Task) -> Course:
        return _Course(task, self.share)


class _Course(Course):
    def __init__(self, task: Task, share: float) -> None:
        super().__init__(task.model, task.optimizer)
        self._share = share

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        return functional.cross_entropy(logits, truth, label_smoothing=self._share), logits

"""SELENA: a model taught by sub-models that never saw the sample they answer about."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.model_store import UNTOLD, trained
from hardlabel.models.train import Recipe
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True)
class SELENA:
    """Trains sub-models on parts of the data (Split-AI), then the model on their answers about samples they never saw.

    Each sample is kept from round(held_out * submodels) sub-models; the mean of their confidences is its label for the
    model that is published (self-distillation). Costs `submodels` more trainings per model, and accuracy. Tang et al.
    (2022), who train 25 sub-models and keep each sample from 10.

    Attributes:
        held_out: Share of the sub-models that never see a given sample, in (0, 1).
        submodels: Number of sub-models, 2 or more.

    Raises:
        InvalidInput: `held_out` is not between 0 and 1, or `submodels` is below 2.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.selena import SELENA
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = SELENA(held_out=0.4).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'distilled from 10 sub-models, 4 without each sample'
    """

    held_out: float
    submodels: int = 10

    def __post_init__(self) -> None:
        checks.at_least(2, submodels=self.submodels)
        if not 0 < self.held_out < 1:
            raise InvalidInput(f"held_out must lie strictly between 0 and 1, got {self.held_out}")

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        method = Distilled(
            recipe=recipe,
            domain=defender.domain,
            submodels=self.submodels,
            without=_without(self.held_out, self.submodels),
            store=defender.store,
        )
        return Training(recipe=recipe, method=method)


def _without(held_out: float, submodels: int) -> int:
    return min(submodels - 1, max(1, round(held_out * submodels)))


@dataclass(frozen=True, kw_only=True)
class Distilled(Method):
    """See `SELENA`. `without`: sub-models that never see a given sample.

    Sub-models are kept in `store`, so that a training that broke off goes on with those that were ready; not where
    another process trains, which cannot reach the store.
    """

    recipe: Recipe
    domain: Domain
    submodels: int
    without: int
    store: Store | None = field(default=None, repr=False, metadata={UNTOLD: True})

    @property
    def description(self) -> str:
        return f"distilled from {self.submodels} sub-models, {self.without} without each sample"

    def begin(self, task: Task) -> Course:
        return _Distilling(task, soft_labels(self, task))

    def moved(self, device: torch.device) -> "Distilled":
        del device
        return replace(self, store=None)


def held_out(samples: int, *, submodels: int, without: int, seed: int) -> Tensor:
    """Which sub-models never see which sample, bool (samples, submodels): `without` of each, drawn at random."""
    order = torch.rand(samples, submodels, generator=randomness.generator(seed, "split")).argsort(1)
    return order < without


def soft_labels(method: Distilled, task: Task) -> Tensor:
    """Mean confidences (n, classes) of the sub-models that never saw the sample; trains them."""
    out = held_out(len(task.inputs), submodels=method.submodels, without=method.without, seed=task.seed).to(task.device)
    told = torch.zeros(len(task.inputs), task.classes, device=task.device)
    for number in range(method.submodels):
        rows = (~out[:, number]).nonzero().flatten()
        part = Samples(ids=rows, inputs=task.inputs[rows], labels=task.labels[rows], domain=method.domain)
        seed = randomness.derive(task.seed, "sub-model", number)
        model = trained(
            method.recipe, part, classes=task.classes, seed=seed, device=task.device, store=method.store
        ).model
        rest = out[:, number].nonzero().flatten()
        with torch.inference_mode():
            for some in torch.split(rest, 1000):
                told[some] += model(task.inputs[some]).softmax(1)
    return told / method.without


class _Distilling(Course):
    def __init__(self, task: Task, soft: Tensor) -> None:
        super().__init__(task.model, task.optimizer)
        self._soft = soft

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        return functional.cross_entropy(logits, self._soft[rows]), logits

"""Adversarial regularization: training against an attack network that learns beside."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender, Training
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe

LEAST_LOG = -7.0  # Logarithms of the network's chance are cut here: below, the classifier has fooled it enough.


@dataclass(frozen=True, kw_only=True)
class AdversarialRegularization:
    """Adds `weight` times the mean log probability that an attack network calls the batch's confidences a member's.

    The network sees confidences and the label. It is trained on members and the reserve, in turn with the model, one
    step each: a min-max game. Costs two to three times the time per epoch, and the reserve's samples. Nasr, Shokri and
    Houmansadr (2018).

    Attributes:
        weight: Above 0.

    Raises:
        InvalidInput: `weight` is not above 0; in `training`, the reserve holds fewer than 20 samples.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.adversarial_regularization import AdversarialRegularization
        >>> inputs, labels = torch.rand(20, 4), torch.arange(20) % 2
        >>> reserve = Samples(ids=torch.arange(20), inputs=inputs, labels=labels, domain=Box((4,)))
        >>> defender = Defender(
        ...     domain=Box((4,)), classes=2, train_size=100, reserve=reserve, device=torch.device("cpu")
        ... )
        >>> training = AdversarialRegularization(weight=0.3).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'adversarial regularization of weight 0.3'
    """

    weight: float

    def __post_init__(self) -> None:
        checks.positive(weight=self.weight)

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        reserve = defender.needs_reserve("adversarial-regularization")
        return Training(recipe=recipe, method=Adversarial(weight=self.weight, reserve=reserve))


@dataclass(frozen=True, kw_only=True)
class Adversarial(Method):
    """See `AdversarialRegularization`."""

    weight: float
    reserve: Samples = field(repr=False)

    @property
    def description(self) -> str:
        return f"adversarial regularization of weight {self.weight:g}"

    def begin(self, task: Task) -> Course:
        return _Game(task, self.weight, self.reserve)


class _Game(Course):
    def __init__(self, task: Task, weight: float, reserve: Samples) -> None:
        super().__init__(task.model, task.optimizer)
        self._weight = weight
        self._inputs, self._labels = reserve.inputs.to(task.device), reserve.labels.to(task.device)
        self._draws = randomness.generator(task.seed, "reserve")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(randomness.derive(task.seed, "adversary"))
            self._adversary = _Adversary(task.classes)
        self._adversary.to(task.device)
        self._adversary_optimizer = torch.optim.Adam(self._adversary.parameters(), lr=1e-3)

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        self._teach(logits.detach(), truth)
        chance = functional.logsigmoid(self._adversary(logits.softmax(1), truth)).clamp(min=LEAST_LOG)
        return functional.cross_entropy(logits, truth) + self._weight * chance.mean(), logits

    def _teach(self, logits: Tensor, truth: Tensor) -> None:
        """One step of the attack network, on the batch and on as many of the reserve."""
        drawn = torch.randint(len(self._inputs), (len(truth),), generator=self._draws).to(truth.device)
        with torch.no_grad():
            others = self.model(self._inputs[drawn]).softmax(1)
        inside = self._adversary(logits.softmax(1), truth)
        outside = self._adversary(others, self._labels[drawn])
        wrong = functional.softplus(-inside).mean() + functional.softplus(outside).mean()
        self._adversary_optimizer.zero_grad(set_to_none=True)
        wrong.backward()  # type: ignore[no-untyped-call]
        self._adversary_optimizer.step()


class _Adversary(nn.Module):
    """Confidences (n, classes) and labels (n,) to a logit of membership (n,)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._classes = classes
        self._shown = nn.Sequential(nn.Linear(classes, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU())
        self._label = nn.Sequential(nn.Linear(classes, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self._both = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, shown: Tensor, labels: Tensor) -> Tensor:
        """See the class."""
        label = functional.one_hot(labels, self._classes).to(shown.dtype)
        told: Tensor = self._both(torch.cat([self._shown(shown), self._label(label)], 1))
        return told[:, 0]

"""HAMP: training towards uncertain answers, and random confidences in the place of the model's own."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses import keyed
from hardlabel.defenses.base import Defender, Training
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.models.method import Course, Method, Task
from hardlabel.models.train import Recipe
from hardlabel.oracles.base import LabelOracle

RANDOM_INPUTS = 256  # Confidences to choose from.
REGULARIZATION = 0.01  # Weight of the entropy term.


@dataclass(frozen=True, kw_only=True)
class HAMP:
    """Trains on soft labels of high entropy, rewards entropy, and shows a random input's confidences, put in order.

    The soft label gives the true class just so much that the label's entropy is `entropy` times the highest possible.
    At inference the confidences of a random legal input take the place of the model's, in the order of the model's
    classes: the label stays. Costs a pass over 256 random inputs per model, calibrated confidences, some accuracy.
    Chen and Pattabiraman (2024), "Overconfidence is a Dangerous Thing"; the random input is drawn anew for
    each input from a fixed set.

    Attributes:
        entropy: Share of the highest entropy, strictly between 0 and 1.

    Raises:
        InvalidInput: `entropy` is not between 0 and 1; in `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Recipe
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.hamp import HAMP
        >>> defender = Defender(domain=Box((4,)), classes=2, train_size=100, device=torch.device("cpu"))
        >>> training = HAMP(entropy=0.6).training(Recipe(architecture="fc"), defender)
        >>> training.method.description
        'soft labels of entropy 0.6'
    """

    entropy: float

    def __post_init__(self) -> None:
        if not 0 < self.entropy < 1:
            raise InvalidInput(f"entropy must lie strictly between 0 and 1, got {self.entropy}")

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def training(self, recipe: Recipe, defender: Defender) -> Training:
        """See `TrainingDefense`."""
        del defender
        return Training(recipe=recipe, method=SoftLabels(entropy=self.entropy))

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members
        return _shown_at_random(model, defender, seed, name="hamp")


@dataclass(frozen=True, kw_only=True)
class HAMPOutput:
    """Shows a random input's confidences, put in the order of the model's classes: `HAMP` without its training.

    The label stays. Costs a pass over 256 random inputs per model, and calibrated confidences. Chen and Pattabiraman
    (2024), "Overconfidence is a Dangerous Thing", who change training and answers together.

    Raises:
        InvalidInput: In `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.hamp import HAMPOutput
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([0.75 - inputs, inputs, torch.full_like(inputs, 0.25)], 1).log()
        >>> defender = Defender(domain=Box((1,)), classes=3, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = HAMPOutput().guard(Model(), members, defender, seed=0)
        >>> guarded.ask(points, ids)  # The model's own labels.
        tensor([0, 1])
        >>> bool(guarded.ask_scores(points, ids).argmax(1).equal(guarded.ask(points, ids)))
        True
    """

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members
        return _shown_at_random(model, defender, seed, name="hamp-output")


def _shown_at_random(model: LabelOracle, defender: Defender, seed: int, *, name: str) -> GuardedScores:
    """The model with the confidences of random inputs in the place of its own; `name` is the defense's in errors."""
    scores = with_scores(model, name)
    inputs = defender.domain.random(RANDOM_INPUTS, randomness.generator(seed, "HAMP")).to(defender.device)
    pool = scores.ask_scores(inputs, torch.arange(len(inputs), device=inputs.device)).double().exp().sort(1).values

    def masked(asked: Tensor, shown: Tensor) -> Tensor:
        drawn = (keyed.uniforms(asked, seed)[:, 0] * len(pool)).long().to(pool.device)
        rank = shown.argsort(stable=True, dim=1).argsort(1)
        return pool[drawn].to(shown.device).gather(1, rank)

    return GuardedScores(scores, masked)


@dataclass(frozen=True, kw_only=True)
class SoftLabels(Method):
    """See `HAMP`."""

    entropy: float

    @property
    def description(self) -> str:
        return f"soft labels of entropy {self.entropy:g}"

    def begin(self, task: Task) -> Course:
        return _Soft(task, top_share(self.entropy, task.classes))


def top_share(entropy: float, classes: int) -> float:
    """The true class's share of a soft label, the rest spread evenly, whose entropy is `entropy` times log(classes)."""
    low, high = 1 / classes, 1.0  # The entropy falls from its highest to 0 in between.
    for _ in range(60):
        share = (low + high) / 2
        rest = (1 - share) / (classes - 1)
        found = -share * math.log(share) - (classes - 1) * rest * math.log(max(rest, 1e-300))
        low, high = (share, high) if found > entropy * math.log(classes) else (low, share)
    return (low + high) / 2


class _Soft(Course):
    def __init__(self, task: Task, share: float) -> None:
        super().__init__(task.model, task.optimizer)
        self._share, self._rest = share, (1 - share) / (task.classes - 1)

    def loss(self, inputs: Tensor, truth: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(inputs)
        log = logits.log_softmax(1)
        soft = torch.full_like(log, self._rest).scatter(1, truth[:, None], self._share)
        away = functional.kl_div(log, soft, reduction="batchmean")
        entropy = -(log.exp() * log).sum(1).mean()
        return away - REGULARIZATION * entropy, logits

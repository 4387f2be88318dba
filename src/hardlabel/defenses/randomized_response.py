"""Randomised response: the label is sometimes another one."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.data.samples import Samples
from hardlabel.defenses import keyed
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedLabels
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class RandomizedResponse:
    """Answers with the model's label with probability e^epsilon / (e^epsilon + classes - 1), else with a random other.

    A single answer is then epsilon-differentially private (local model). The draw is fixed by the input, so the same
    input always gets the same answer. Costs accuracy. Warner (1965); Kairouz et al. (2016), for many classes.

    Attributes:
        epsilon: Above 0; a smaller value is stronger.

    Raises:
        InvalidInput: `epsilon` is not above 0.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.randomized_response import RandomizedResponse
        >>> class Model:  # Class 1 above a half.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> defender = Defender(domain=Box((1,)), classes=2, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = RandomizedResponse(epsilon=4.0).guard(Model(), members, defender, seed=0)
        >>> guarded.ask(points, ids).equal(guarded.ask(points, ids))  # Asked again, the answers are the same.
        True
        >>> round(RandomizedResponse(epsilon=4.0).kept(classes=2), 3)
        0.982
    """

    epsilon: float

    def __post_init__(self) -> None:
        checks.positive(epsilon=self.epsilon)

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def kept(self, classes: int) -> float:
        """Chance that the label is the model's own."""
        return 1 / (1 + (classes - 1) * math.exp(-self.epsilon))

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedLabels:
        """See `InferenceDefense`."""
        del members
        classes = defender.classes

        def ask(inputs: Tensor, ids: Tensor) -> Tensor:
            labels = model.ask(inputs, ids)
            draws = keyed.uniforms(inputs, seed, 2).to(labels.device)
            step = 1 + (draws[:, 1] * (classes - 1)).long().clamp(max=classes - 2)
            return torch.where(draws[:, 0] < self.kept(classes), labels, (labels + step) % classes)

        return GuardedLabels(ask)

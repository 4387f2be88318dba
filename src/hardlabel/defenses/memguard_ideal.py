"""MemGuard's idealised form: confidences that tell the label and nothing else."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class IdealMemGuard:
    """Shows the same vector for all inputs with the same label: no attack on confidences can beat the label.

    No defense that keeps the labels can do better, whatever its noise. Costs everything that confidences are good for.
    Choquette-Choo et al. (2021), on defenses that may change confidences at will.

    Raises:
        InvalidInput: In `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.memguard_ideal import IdealMemGuard
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([0.75 - inputs, inputs, torch.full_like(inputs, 0.25)], 1).log()
        >>> defender = Defender(domain=Box((1,)), classes=3, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = IdealMemGuard().guard(Model(), members, defender, seed=0)
        >>> guarded.ask_scores(points, ids).exp()
        tensor([[0.6667, 0.1667, 0.1667],
                [0.1667, 0.6667, 0.1667]])
    """

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedScores(with_scores(model, "memguard-ideal"), self._masked)

    def _masked(self, inputs: Tensor, shown: Tensor) -> Tensor:
        del inputs
        classes = shown.shape[1]
        top = 0.5 + 0.5 / classes  # Above any other's, also where there are two.
        flat = torch.full_like(shown, (1 - top) / (classes - 1))
        return flat.scatter(1, shown.argmax(1, keepdim=True), top)

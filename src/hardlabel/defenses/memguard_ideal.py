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
    """Shows one and the same vector for every input of a label: no attack on confidences can beat the label.

    The best that any defense which keeps the labels can do, whatever its noise. Costs all that confidences are good
    for. Choquette-Choo et al. (2021), on defenses that may change confidences at will.
    """

    def check(self, defender: Defender) -> None: ...

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

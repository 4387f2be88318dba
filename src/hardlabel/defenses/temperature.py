"""Temperature: confidences are flattened."""

from dataclasses import dataclass

from torch import Tensor

from hardlabel import checks
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Divides logits by a temperature before the softmax. Costs nothing. Shokri et al. (2017).

    Attributes:
        temperature: 1 leaves confidences as they are, more flattens them.
    """

    temperature: float

    def __post_init__(self) -> None:
        checks.at_least(1, temperature=self.temperature)

    def check(self, defender: Defender) -> None: ...

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedScores(with_scores(model, "temperature"), self._masked)

    def _masked(self, inputs: Tensor, shown: Tensor) -> Tensor:
        del inputs
        # Log probabilities are logits up to a constant, which the softmax does not see.
        return (shown.log().clamp(min=-1e4) / self.temperature).softmax(1)

"""Label only: no confidences at all."""

from dataclasses import dataclass

from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedLabels
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class LabelOnly:
    """Answers with the model's label and shows no confidence: the strictest masking there is.

    Costs whoever needs confidences. Choquette-Choo et al. (2021).
    """

    def check(self, defender: Defender) -> None: ...

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedLabels:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedLabels(model.ask)

"""Label only: no confidences at all."""

from dataclasses import dataclass

from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedLabels
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class LabelOnly:
    """Answers with the model's label and shows no confidence: the strictest masking there is.

    Costs the confidences, nothing else. Choquette-Choo et al. (2021).

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.label_only import LabelOnly
        >>> class Model:  # Class 1 above a half.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> defender = Defender(domain=Box((1,)), classes=2, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = LabelOnly().guard(Model(), members, defender, seed=0)
        >>> guarded.ask(points, ids), hasattr(guarded, "ask_scores")
        (tensor([0, 1]), False)
    """

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedLabels:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedLabels(model.ask)

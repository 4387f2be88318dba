"""Rounding: confidences are shown to a few decimals."""

from dataclasses import dataclass

from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.oracles.base import LabelOracle

MOST_DIGITS = 6  # More would be float32's own rounding.


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """Shows confidences rounded to `digits` decimals, as multiples that sum to 1 (largest remainders).

    Costs nothing. Shokri et al. (2017).

    Attributes:
        digits: Decimals, 1 to 6.

    Raises:
        InvalidInput: `digits` is not from 1 to 6; in `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.rounding import Rounding
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([0.75 - inputs, inputs, torch.full_like(inputs, 0.25)], 1).log()
        >>> defender = Defender(domain=Box((1,)), classes=3, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = Rounding(digits=1).guard(Model(), members, defender, seed=0)
        >>> guarded.ask_scores(points, ids).exp()
        tensor([[0.7000, 0.1000, 0.2000],
                [0.1000, 0.6000, 0.3000]])
    """

    digits: int

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= MOST_DIGITS:
            raise InvalidInput(f"digits must lie in [1, {MOST_DIGITS}], got {self.digits}")

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedScores(with_scores(model, "rounding"), self._masked)

    def _masked(self, inputs: Tensor, shown: Tensor) -> Tensor:
        del inputs
        units = 10**self.digits
        whole = (shown * units).floor()
        left = units - whole.sum(1, keepdim=True)  # Units still to be given, to the largest remainders.
        rank = (shown * units - whole).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        answer: Tensor = (whole + (rank < left)) / units
        return answer

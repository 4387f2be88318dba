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
        temperature: 1 or more; 1 leaves confidences as they are, more flattens them.

    Raises:
        InvalidInput: `temperature` is below 1; in `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.temperature import Temperature
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([0.75 - inputs, inputs, torch.full_like(inputs, 0.25)], 1).log()
        >>> defender = Defender(domain=Box((1,)), classes=3, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = Temperature(temperature=2.0).guard(Model(), members, defender, seed=0)
        >>> guarded.ask_scores(points, ids).exp()
        tensor([[0.5251, 0.1583, 0.3166],
                [0.2150, 0.4808, 0.3041]])
    """

    temperature: float

    def __post_init__(self) -> None:
        checks.at_least(1, temperature=self.temperature)

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedScores(with_scores(model, "temperature"), self._masked)

    def _masked(self, inputs: Tensor, shown: Tensor) -> Tensor:
        del inputs
        # Log probabilities are logits up to a constant, which the softmax does not see.
        return (shown.log().clamp(min=-1e4) / self.temperature).softmax(1)

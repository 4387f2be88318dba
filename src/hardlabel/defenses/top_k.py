"""Top-k: only the k highest confidences are shown."""

from dataclasses import dataclass

from torch import Tensor

from hardlabel import checks
from hardlabel.data.samples import Samples
from hardlabel.defenses.base import Defender
from hardlabel.defenses.guarded import GuardedScores, with_scores
from hardlabel.oracles.base import LabelOracle


@dataclass(frozen=True, kw_only=True)
class TopK:
    """Shows the k highest confidences as they are; what is left of 1 is spread evenly over the other classes.

    This reveals nothing more, because a reader who sees k numbers knows their sum, and the vector stays a distribution.
    Costs nothing. Shokri et al. (2017).

    Attributes:
        k: Confidences shown, 1 or more.

    Raises:
        InvalidInput: `k` is below 1; in `guard`, the model shows no confidences.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.defenses.base import Defender
        >>> from hardlabel.defenses.top_k import TopK
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([0.75 - inputs, inputs, torch.full_like(inputs, 0.25)], 1).log()
        >>> defender = Defender(domain=Box((1,)), classes=3, train_size=2, device=torch.device("cpu"))
        >>> ids, points = torch.arange(2), torch.tensor([[0.0625], [0.625]])
        >>> members = Samples(ids=ids, inputs=points, labels=torch.tensor([0, 1]), domain=defender.domain)
        >>> guarded = TopK(k=1).guard(Model(), members, defender, seed=0)
        >>> guarded.ask_scores(points[1:], ids[1:]).exp()  # Of .125, .625 and .25.
        tensor([[0.1875, 0.6250, 0.1875]])
    """

    k: int

    def __post_init__(self) -> None:
        checks.at_least(1, k=self.k)

    def check(self, defender: Defender) -> None:
        """See `InferenceDefense`: nothing is needed."""

    def guard(self, model: LabelOracle, members: Samples, defender: Defender, *, seed: int) -> GuardedScores:
        """See `InferenceDefense`."""
        del members, defender, seed
        return GuardedScores(with_scores(model, "top-k"), self._masked)

    def _masked(self, inputs: Tensor, shown: Tensor) -> Tensor:
        del inputs
        others = shown.shape[1] - self.k
        if others < 1:
            return shown
        highest, places = shown.topk(self.k, dim=1)
        rest = ((1 - highest.sum(1, keepdim=True)).clamp(min=0) / others).expand(shown.shape)
        return rest.scatter(1, places, highest)

"""Several calibrations of one signal: the references say which is the strongest."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from hardlabel.calibrations.base import Calibration, Fitted, References
from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Best:
    """Takes the calibration with the highest AUC on references that play target, each scored by the others.

    The target does not influence the choice. If too few references are left to choose by, the first is taken. Scores
    (n,) are those of the calibration taken.

    Attributes:
        of: The calibrations, each per sample; at least one.

    References:
        Ours (studies/RESULTS.md); each calibration names its own source.

    Raises:
        InvalidInput: None is given, or one is not per sample.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.best import Best
        >>> from hardlabel.calibrations.ratio import LikelihoodRatio
        >>> from hardlabel.calibrations.rmia import RMIA
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])  # Two models, two samples, one number each.
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> references = References(values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64))
        >>> fitted = Best(of=(LikelihoodRatio(), RMIA())).fit(references, seed=0)
        >>> type(fitted).__name__  # Two references are too few to choose by.
        'FittedRatio'
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    of: tuple[Calibration, ...]

    def __post_init__(self) -> None:
        if not self.of or not all(one.per_sample for one in self.of):
            raise InvalidInput(f"of must hold calibrations per sample, got {self.of}")

    def __str__(self) -> str:
        return f"the best on the references of: {'; '.join(map(str, self.of))}"

    @property
    def wants_pool(self) -> bool:
        """Whether any of them learns from samples that are not scored."""
        return any(getattr(one, "wants_pool", False) for one in self.of)

    @property
    def wants_samples(self) -> int:
        """From how many samples any of them would learn, at most."""
        return max(getattr(one, "wants_samples", 0) for one in self.of)

    @property
    def wants_logits(self) -> bool:
        """Whether any of them learns from the references' logit confidences."""
        return any(getattr(one, "wants_logits", False) for one in self.of)

    def fit(self, references: References | None, *, seed: int) -> Fitted:
        """The strongest one, fitted; see `Calibration`.

        Raises:
            InvalidInput: References are missing, or a calibration refuses them.
        """
        if references is None:
            raise InvalidInput("references must be given to choose a calibration by, got None")
        fitted = [one.fit(references, seed=seed) for one in self.of]
        inside = references.inside[:, : references.scored]
        return max(fitted, key=lambda one: strength(one.reference_scores, inside))


def strength(scores: Tensor | None, inside: Tensor) -> float:
    """Mean AUC over references that know both kinds; below any where there is none."""
    if scores is None:
        return -1.0
    found = [_auc(own, mine) for own, mine in zip(scores, inside.cpu(), strict=True) if mine.any() and not mine.all()]
    return float(np.mean(found)) if found else -1.0


def _auc(scores: Tensor, inside: Tensor) -> float:
    ranks = rankdata(torch.nan_to_num(scores).numpy())
    members = int(inside.sum())
    return float((ranks[inside.numpy()].sum() - members * (members + 1) / 2) / (members * (len(ranks) - members)))

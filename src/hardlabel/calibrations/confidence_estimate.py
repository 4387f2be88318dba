"""Estimated confidence: a regression learns the models' own confidence from what labels show of it."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.calibrations.base import Calibration, Fitted, References, scalars
from hardlabel.checks import InvalidInput

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EstimatedConfidence:
    """Estimates the logit confidence in the true class from label-only values, then calibrates the estimate.

    Values (n, d) become one estimate per sample, and scores (n,) of `inner`.

    The regression's features for model k and sample i are the values themselves and, per sample, the mean logit
    confidence and the mean values of the references that were not trained on i. It predicts k's logit confidence in i.
    Two rules keep membership out of the features:

    - A reference's row is made like the target's: neither the reference nor its partner counts in the means. The means
      then average the same number of models, whether the reference was trained on the sample or not. If the partner
      were kept, the means alone would reveal a reference's membership, and a target's as well.
    - Counts of models are not features.

    Partners are in one fold. For each fold one regressor is fitted without it; its estimates for the fold calibrate
    `inner`. The target's estimate is the mean over the regressors. The references' own scores are those that `inner`
    gives to their estimates. `inner` leaves out the reference that it scores, but the regressors behind the other
    references' estimates have seen it. This affects the threshold only, never a score of the target.

    Attributes:
        inner: The calibration of the estimate, one number per sample and model; one per sample, as a rule.
        folds: Regressors, at least 2; fewer where there are fewer pairs.
        rounds: Trees per regressor, 1 or more.
        leaves: Most leaves per tree, 2 or more.

    References:
        Ours (studies/RESULTS.md). Carlini et al. (2022), section IV, for the ratio of logit confidences that it
        imitates.

    Raises:
        InvalidInput: A number is too small.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.confidence_estimate import EstimatedConfidence
        >>> from hardlabel.calibrations.ratio import LikelihoodRatio
        >>> draws = torch.Generator().manual_seed(0)
        >>> half = torch.rand(2, 200, generator=draws) < 0.5
        >>> inside = torch.stack([half[0], ~half[0], half[1], ~half[1]])  # Two pairs of models.
        >>> values = inside[:, :, None] + torch.rand(4, 200, 1, generator=draws)
        >>> references = References(
        ...     values=values,
        ...     inside=inside,
        ...     labels=torch.zeros(200, dtype=torch.int64),
        ...     partner=torch.tensor([1, 0, 3, 2]),
        ...     logits=values[:, :, 0],  # What the attacker's own models show.
        ... )
        >>> fitted = EstimatedConfidence(inner=LikelihoodRatio(), rounds=5).fit(references, seed=0)
        >>> scores = fitted.score(values[0], references.labels)
        >>> bool(scores[inside[0]].mean() > scores[~inside[0]].mean())
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    wants_logits: ClassVar[bool] = True
    inner: Calibration
    folds: int = 4
    rounds: int = 120
    leaves: int = 16

    def __post_init__(self) -> None:
        checks.at_least(2, folds=self.folds, leaves=self.leaves)
        checks.positive(rounds=self.rounds)

    def __str__(self) -> str:
        return f"estimated logit confidence, then {self.inner}"

    def fit(self, references: References | None, *, seed: int) -> "FittedEstimate":
        """See `Calibration`; `references` need logits, and models from at least two pairs.

        Raises:
            InvalidInput: References or their logits are missing, or all references are of one pair.
        """
        if references is None:
            raise InvalidInput("references must be given to estimate confidences, got None")
        if references.logits is None:
            raise InvalidInput("references must have logits to estimate confidences from, got None")
        apart = _apart(references)
        fold = _fold_of(apart, self.folds)
        evidence = _Evidence.of(references)
        logits = references.logits.double().cpu()
        rows = evidence.rows(evidence.values, apart)
        regressors = []
        estimates = torch.zeros_like(logits)
        for held_out in range(int(fold.max()) + 1):
            seen = fold != held_out
            # Not even the means of the rows learned from may hold the fold: it plays models never seen.
            learned = evidence.rows(evidence.values[seen], apart[seen] & seen).flatten(0, 1)
            # scikit-learn takes single missing values, but no column of nothing else; a constant teaches nothing.
            learned = learned.where(~learned.isnan().all(0), 0.0)
            regressor = HistGradientBoostingRegressor(
                max_iter=self.rounds,
                max_leaf_nodes=self.leaves,
                early_stopping=False,
                random_state=randomness.sklearn_seed(seed, "estimate", held_out),
            )
            regressor.fit(learned.numpy(), logits[seen].flatten().numpy())
            estimates[~seen] = _estimated((regressor,), rows[~seen])
            regressors.append(regressor)
        seeming = replace(references, values=estimates.float()[:, :, None], censored=False)
        return FittedEstimate(
            regressors=tuple(regressors),
            evidence=evidence,
            censored=references.censored,
            estimates=estimates,
            explained=1 - float((logits - estimates).square().sum() / (logits - logits.mean()).square().sum()),
            inner=self.inner.fit(seeming, seed=seed),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedEstimate:
    """See `Fitted`.

    Attributes:
        regressors: One per fold of the references.
        evidence: What the references say of each sample.
        censored: Whether values come in pairs of edges.
        estimates: The references' logit confidences as estimated by the regressor that never saw them, (K, n).
        explained: Share of the variance of the references' logit confidences that these estimates explain, 1 at
            most; below 0 where they are worse than the mean.
        inner: The fitted calibration of the estimates.
    """

    regressors: tuple[HistGradientBoostingRegressor, ...]
    evidence: "_Evidence"
    censored: bool
    estimates: Tensor
    explained: float
    inner: Fitted

    @property
    def threshold(self) -> float | None:
        return self.inner.threshold

    @property
    def reference_scores(self) -> Tensor | None:
        return self.inner.reference_scores

    def estimate(self, values: Tensor) -> Tensor:
        """Logit confidences (n,), float64, estimated from values (n, d) of the references' first n samples."""
        every = torch.ones(1, len(self.evidence.values), dtype=torch.bool)
        return _estimated(self.regressors, self.evidence.rows(scalars(values, censored=self.censored)[None], every))[0]

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        return self.inner.score(self.estimate(values).float()[:, None], labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Evidence:
    """What the references say of each sample.

    Attributes:
        values: Their values as plain numbers, (K, n, c) float64.
        seen: The same with their logit confidences as one more column, (K, n, c + 1); 0 where not `known`.
        known: Where a model was not trained on the sample and its value is finite, (K, n, c + 1).
    """

    values: Tensor
    seen: Tensor
    known: Tensor

    @classmethod
    def of(cls, references: References) -> "_Evidence":
        assert references.logits is not None
        values = scalars(references.values, censored=references.censored)
        seen = torch.cat([values, references.logits.double().cpu()[:, :, None]], 2)
        known = ~references.inside.cpu()[:, :, None] & seen.isfinite()
        return cls(values=values, seen=seen.where(known, 0.0), known=known)

    def rows(self, values: Tensor, counted: Tensor) -> Tensor:
        """Features (m, n, 2c + 1) of values (m, n, c) of m models.

        `counted` (m, K) says over which references the means beside each model's own values go. What is not known is
        NaN, which the regression takes for missing: a value that is not finite, a mean over none.
        """
        samples = values.shape[1]
        weights = counted.double()
        sums = weights @ self.seen[:, :samples].flatten(1)
        means = sums / (weights @ self.known[:, :samples].double().flatten(1))
        own = values.where(values.isfinite(), torch.nan)
        return torch.cat([own, means.reshape(len(values), samples, -1)], 2)


def _apart(references: References) -> Tensor:
    """Which references (columns) are neither a reference (row) itself nor its partner, bool (K, K)."""
    count = len(references.values)
    apart = ~torch.eye(count, dtype=torch.bool)
    if references.partner is not None:
        partner = references.partner.cpu()
        paired = (partner >= 0).nonzero().flatten()
        apart[paired, partner[paired]] = False
    return apart


def _fold_of(apart: Tensor, folds: int) -> Tensor:
    """The fold of each reference, (K,), partners in the same one, as even as pairs allow.

    Raises:
        InvalidInput: All references are of one pair.
    """
    first = (~apart).long().argmax(1)  # A pair is named after its first member.
    pairs, pair = torch.unique(first, return_inverse=True)
    if len(pairs) < 2:
        raise InvalidInput(f"references must come from at least 2 pairs to estimate confidences, got {len(pairs)}")
    fold: Tensor = pair % min(folds, len(pairs))
    return fold


def _estimated(regressors: tuple[HistGradientBoostingRegressor, ...], rows: Tensor) -> Tensor:
    """The regressors' mean estimate of features (m, n, f), float64 (m, n)."""
    features = rows.flatten(0, 1).numpy()
    found: Floats = np.mean([regressor.predict(features) for regressor in regressors], axis=0)
    return torch.from_numpy(found).reshape(rows.shape[:2])

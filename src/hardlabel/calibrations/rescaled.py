"""Signals in units of confidence: what logit confidence a value stands for, learned on the references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression
from torch import Tensor

from hardlabel.calibrations.base import Calibration, Fitted, HeldOut, References, held_out_scores, scalars
from hardlabel.calibrations.normals import NormalBeliefs
from hardlabel.calibrations.ratio import FittedRatio
from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Rescaled:
    """Replaces each scalar by the logit confidence that the references show at its value, then calibrates that.

    The logit confidence is close to normal over models, which is what likelihood ratios assume; a position on a
    path or a share of noisy copies is not. The map is monotone (isotonic regression of the references' logits on
    their values, all samples together) and the same for every sample. References without logits leave values as
    they are.

    An interval that holds more than one of the references' values (a sequential search that ended early) counts by
    the inner beliefs' probability between its mapped edges, so the inner calibration must be a likelihood ratio where
    values are censored.

    Scores (n,) are those of the inner calibration.

    Attributes:
        inner: The calibration of the mapped values.

    References:
        Ours (studies/RESULTS.md). Carlini et al. (2022), section IV-B, for the logit's normality.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.ratio import LikelihoodRatio
        >>> from hardlabel.calibrations.rescaled import Rescaled
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])  # Two models, two samples, one number each.
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> logits = 2 * values[:, :, 0]  # What the attacker's own models show.
        >>> references = References(
        ...     values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64), logits=logits
        ... )
        >>> fitted = Rescaled(inner=LikelihoodRatio()).fit(references, seed=0)
        >>> scores = fitted.score(torch.tensor([[3.0], [0.0]]), references.labels)
        >>> bool(scores[0] > scores[1])  # The target is like the model that was trained on the first sample.
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    wants_logits: ClassVar[bool] = True
    inner: Calibration

    def __str__(self) -> str:
        return f"{self.inner}, in units of confidence"

    @property
    def wants_pool(self) -> bool:
        """Whether the inner calibration learns from samples that are not scored."""
        return bool(getattr(self.inner, "wants_pool", False))

    def fit(self, references: References | None, *, seed: int) -> Fitted:
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, or the inner calibration refuses them.
        """
        if references is None:
            raise InvalidInput("references must be given to learn a scale from, got None")
        if references.logits is None:
            return self.inner.fit(references, seed=seed)
        known = references
        assert known.logits is not None
        points = scalars(known.values, censored=known.censored)
        maps = [_Map.fitted(points[..., j], known.logits) for j in range(points.shape[2])]
        mapped = torch.stack([one(points[..., j]) for j, one in enumerate(maps)], 2)
        inner = self.inner.fit(replace(known, values=mapped.float(), censored=False), seed=seed)
        settled = Rescaled(inner=getattr(inner, "settled", self.inner))
        return FittedRescaled(
            inner=inner,
            maps=maps,
            censored=known.censored,
            settled=settled,
            held_out=lambda: held_out_scores(settled, known, seed=seed),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RescaledBeliefs(NormalBeliefs):
    """Beliefs about mapped values; a plan that asks for values maps its edges by `rescaled` before it compares."""

    maps: Sequence["_Map"]

    def rescaled(self, edges: Tensor) -> Tensor:
        """The edges (e,) in units of confidence for each scalar, (c, e) float64."""
        return torch.stack([one.edges(edges) for one in self.maps])


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedRescaled(HeldOut):
    """See `Fitted`.

    Attributes:
        inner: The inner calibration, fitted to mapped values.
        maps: One per scalar.
        censored: Whether values come in pairs of edges.
        settled: The calibration with the inner one's choices made, for fits on fewer references.
    """

    inner: Fitted
    maps: Sequence["_Map"]
    censored: bool
    settled: Calibration

    @property
    def beliefs(self) -> RescaledBeliefs | None:
        """What is expected of the mapped values, where the inner calibration says so of members too."""
        own = self.inner.beliefs if isinstance(self.inner, FittedRatio) else None
        return None if own is None else RescaledBeliefs(**vars(own), maps=self.maps)

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        points = scalars(values, censored=self.censored)
        mapped = torch.stack([one(points[:, j]) for j, one in enumerate(self.maps)], 1)
        exact = self.inner.score(mapped, labels)
        own = self.beliefs
        if not self.censored or own is None:
            return exact
        lower, upper = values[:, 0::2].double().cpu(), values[:, 1::2].double().cpu()
        wide = torch.stack([one.wide(lower[:, j], upper[:, j]) for j, one in enumerate(self.maps)], 1).any(1)
        ends = [(one.edges(lower[:, j]), one.edges(upper[:, j])) for j, one in enumerate(self.maps)]
        edges = torch.stack([end for pair in ends for end in pair], 1)
        return torch.where(wide, own.log_ratio(edges, censored=True), exact)


@dataclass(frozen=True, eq=False)
class _Map:
    """A monotone map from one scalar's values to logits: piecewise linear between the values seen on references.

    Attributes:
        values: The values seen, ascending, (v,).
        logits: What they stand for, ascending, (v,).
    """

    values: NDArray[np.float64]
    logits: NDArray[np.float64]

    @classmethod
    def fitted(cls, values: Tensor, logits: Tensor) -> "_Map":
        x, y = values.flatten().numpy(), logits.double().cpu().flatten().numpy()
        known = np.isfinite(x)
        seen = np.unique(x[known])
        if len(seen) < 2:
            return cls(np.array([0.0, 1.0]), np.array([0.0, 1.0]))  # Nothing to learn, and nothing to tell.
        return cls(seen, IsotonicRegression(out_of_bounds="clip").fit(x[known], y[known]).predict(seen))

    def __call__(self, values: Tensor) -> Tensor:
        """The logits (...) that values (...) stand for; NaN stays."""
        return torch.from_numpy(np.interp(values.numpy(), self.values, self.logits))

    def edges(self, edges: Tensor) -> Tensor:
        """The same for edges of intervals, where infinite ones stay infinite."""
        return torch.where(edges.isinf(), edges, self(edges.cpu()))

    def wide(self, lower: Tensor, upper: Tensor) -> Tensor:
        """Whether an interval (n,) holds more than one of the values seen, or none but has no middle of its own."""
        inside = np.searchsorted(self.values, upper.numpy()) - np.searchsorted(self.values, lower.numpy())
        return torch.from_numpy(inside > 1)

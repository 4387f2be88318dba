"""Proxies: what members look like is learned from other records than those asked about."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.calibrations.base import Fitted, References, scalars
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.calibrations.trees import apart, folds_of, grown, log_odds, most_models, paired, weighted
from hardlabel.checks import InvalidInput

FEWEST_ROWS = 1000  # With fewer, trees could hardly split.


@dataclass(frozen=True, kw_only=True)
class ProxyRatio:
    """Learns the log odds of membership on proxies: records of the attacker's own that its references were trained on.

    The records scored need not be known when the references are trained: of the references' values for them, only the
    values of models trained without them are used. How a model's values change when it is trained on a record is
    learned from proxies, the references' columns beyond `scored`. Every reference plays target on the proxies, and
    boosted trees learn from these rows whether the reference was trained on the proxy. The features of a row:

    - the model's own values in the record, and how far they lie above the mean over models without the record,
    - mean and deviation, over models without the record, of the values and, where shown, of the logit confidences,
    - the record's class.

    Scores are (n,). A record is judged by proxies that resemble it: same class, similar values on models that never saw
    either. A proxy's row is made without the model itself and without its partner, so that the number of models behind
    a mean tells nothing. Counts are not features.

    Partners are in one fold. Each fold is scored by a classifier that saw neither the fold's references nor any value
    of theirs: these are the reference scores. With fewer than two pairs, a reference without partner, or fewer than
    FEWEST_ROWS values in proxies, the offline `inner` scores alone.

    Attributes:
        inner: The calibration where trees cannot learn. "raw" shifts all records alike: few proxies do not allow more.
        folds: Classifiers for reference scores, at least 2; fewer where there are fewer pairs.
        rounds: Trees per classifier, 1 or more.
        leaves: Most leaves per tree, 2 or more.

    References:
        arXiv:2507.21412 for proxies (PMIA). Ours: resemblance is learned by trees instead of a distance, from labels.

    Raises:
        InvalidInput: A number is too small, or `inner` is online.

    Example:
        >>> from hardlabel.calibrations.proxy import ProxyRatio
        >>> calibration = ProxyRatio()
        >>> calibration.wants_pool  # It needs records beside those that are scored.
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    wants_logits: ClassVar[bool] = True
    wants_pool: ClassVar[bool] = True
    inner: ShrunkenRatio = field(default_factory=lambda: ShrunkenRatio(online=False, variant="raw"))
    folds: int = 4
    rounds: int = 100
    leaves: int = 16

    def __post_init__(self) -> None:
        checks.at_least(2, folds=self.folds, leaves=self.leaves)
        checks.positive(rounds=self.rounds)
        if self.inner.online:
            raise InvalidInput(f"inner must be offline, no member's value of a record is read, got {self.inner}")

    def __str__(self) -> str:
        return "log odds learned by trees from proxies, other records that references were trained on"

    def fit(self, references: References | None, *, seed: int) -> Fitted:
        """See `Calibration`; it is `inner`'s fit where the references do not suffice.

        Raises:
            InvalidInput: References are missing, or all of them were trained on all records scored.
        """
        if references is None or not _suffice(references):
            return self.inner.fit(references, seed=seed)
        return FittedProxies(settings=self, references=references, seed=seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedProxies:
    """See `Fitted`; trees grow when somebody asks for a score.

    Attributes:
        settings: How they grow.
        references: What they learn from.
        seed: Fixes every draw.
    """

    settings: ProxyRatio
    references: References
    seed: int
    threshold: ClassVar[None] = None
    scores_by_folds: ClassVar[bool] = True  # The references' scores need no fit for each of them.

    @cached_property
    def reference_scores(self) -> Tensor:
        fold, beside = folds_of(self.references, self.settings.folds), apart(self.references)
        scores = torch.zeros(self._values[:, self._scored].shape[:2], dtype=torch.float64)
        for held_out in range(int(fold.max()) + 1):
            seen = fold != held_out
            trees = self._grown(seen, held_out)
            own = self._values[~seen][:, self._scored]
            scores[~seen] = log_odds(trees, self._rows(own, beside[~seen], self._scored))
        return scores

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        del labels  # They are the references'.
        wanted = tuple(self.references.values[0, self._scored].shape)
        if values.shape != wanted:
            raise InvalidInput(f"values must be {wanted} like the references', got {tuple(values.shape)}")
        own = scalars(values, censored=self.references.censored)[None]
        everyone = torch.ones(1, len(self._values), dtype=torch.bool)
        return log_odds(self._trees, self._rows(own, everyone, self._scored))[0]

    @property
    def _scored(self) -> slice:
        return slice(0, self.references.scored)

    @cached_property
    def _values(self) -> Tensor:
        """The references' values as plain numbers, (K, n, c) float64."""
        return scalars(self.references.values, censored=self.references.censored)

    @cached_property
    def _seen(self) -> tuple[Tensor, Tensor]:
        """Values and, last, logit confidences, 0 where not `known` from a model without the record, (K, n, c')."""
        seen = self._values
        if self.references.logits is not None:
            seen = torch.cat([seen, self.references.logits.double().cpu()[:, :, None]], 2)
        known = ~self.references.inside.cpu()[:, :, None] & seen.isfinite()
        return seen.where(known, 0.0), known.double()

    def _rows(self, own: Tensor, counted: Tensor, records: slice) -> Tensor:
        """Features (m, r, f) of m models' values `own` (m, r, c) in some records.

        `counted` (m, K) says which references a model stands beside.
        """
        seen, known = (part[:, records] for part in self._seen)
        weights = counted.double()

        count = weighted(weights, known)
        mean = weighted(weights, seen) / count
        deviation = (weighted(weights, seen.square()) / count - mean.square()).clamp_min(0).sqrt()
        own = own.where(own.isfinite(), torch.nan)
        label = self.references.labels[records].cpu().double()[None, :, None].expand(len(own), -1, 1)
        # Sums in another order round otherwise; float32 hides it.
        return torch.cat([own, own - mean[..., : own.shape[2]], mean, deviation, label], 2).float().double()

    @cached_property
    def _trees(self) -> HistGradientBoostingClassifier:
        return self._grown(torch.ones(len(self._values), dtype=torch.bool), "all")

    def _grown(self, seen: Tensor, which: int | str) -> HistGradientBoostingClassifier:
        """Trees that know the models `seen` alone."""
        proxies = slice(self.references.scored, None)
        inside = self.references.inside[:, proxies].cpu()
        models = seen & (seen.cumsum(0) <= most_models(inside.shape[1]))
        rows = self._rows(self._values[models][:, proxies], apart(self.references)[models] & seen, proxies)
        return grown(
            rows,
            inside[models],
            rounds=self.settings.rounds,
            leaves=self.settings.leaves,
            seed=randomness.sklearn_seed(self.seed, "proxies", which),
        )


def _suffice(references: References) -> bool:
    """Whether there are enough proxies of both kinds, and every reference has a partner, two pairs at least."""
    if references.scored is None or not paired(references):
        return False
    proxies = references.inside[:, references.scored :]
    outside = ~references.inside[:, : references.scored]
    if proxies.numel() < FEWEST_ROWS:
        return False
    return bool(proxies.any()) and not bool(proxies.all()) and bool(outside.any())

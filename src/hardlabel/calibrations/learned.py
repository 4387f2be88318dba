"""The learned ratio: trees learn on the references what members' values look like beside those of other models."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.calibrations.base import Calibration, Fitted, References
from hardlabel.calibrations.normals import NormalBeliefs
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.calibrations.trees import apart, folds_of, grown, log_odds, most_models, paired, weighted
from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True)
class LearnedRatio:
    """Learns the log odds of membership, (n,), from the references, each of which plays target for the others.

    A row belongs to a model k and a sample i. Its features are k's values in i; mean and deviation of the values, and
    of the logit confidences where shown, over the other references trained on i and over those that were not; and the
    differences of these means and of k's values from them. Boosted trees learn from all references' rows whether k was
    trained on i. Trees also work where normal distributions (`ShrunkenRatio`) do not hold: at the ends of a path, or
    where members' values spread wider for some samples than for others.

    A row is made without k and without its partner. Both rows of a pair then have the same means and deviations, and
    one of the two was trained on i: only k's own values can reveal membership, not what a row says about other models.
    For a reference without a partner, the means of the others would reveal it. So `inner` scores alone if a reference
    has no partner, or if there are fewer than two pairs.

    Where references were asked about more samples than are scored, trees learn from those as well: twice the samples
    tell about as much as one more query (studies/RESULTS.md).

    Partners are in one fold. Each fold is scored by a classifier that saw neither the fold's references nor any value
    of theirs: these are the reference scores. The target is scored by a classifier that learned from all references.

    Attributes:
        inner: The calibration before trees have learned; a plan that saves queries asks by its beliefs.
        folds: Classifiers for reference scores, at least 2; fewer where there are fewer pairs.
        rounds: Trees per classifier, 1 or more.
        leaves: Most leaves per tree, 2 or more.

    References:
        Ours (studies/RESULTS.md, studies/FEW_REFERENCES.md). Carlini et al. (2022), for the ratio it learns; Friedman
        (2001), for boosting.

    Raises:
        InvalidInput: A number is too small, or `inner` is offline.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.learned import LearnedRatio
        >>> draws = torch.Generator().manual_seed(0)
        >>> half = torch.rand(2, 200, generator=draws) < 0.5
        >>> inside = torch.stack([half[0], ~half[0], half[1], ~half[1]])  # Two pairs of models.
        >>> values = inside[:, :, None] + torch.rand(4, 200, 1, generator=draws)
        >>> labels, partner = torch.zeros(200, dtype=torch.int64), torch.tensor([1, 0, 3, 2])
        >>> references = References(values=values, inside=inside, labels=labels, partner=partner)
        >>> scores = LearnedRatio(rounds=5).fit(references, seed=0).score(values[0], labels)
        >>> bool(scores[inside[0]].mean() > scores[~inside[0]].mean())
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    wants_logits: ClassVar[bool] = True
    wants_samples: ClassVar[int] = 2000
    inner: ShrunkenRatio = field(default_factory=ShrunkenRatio)
    folds: int = 4
    rounds: int = 100
    leaves: int = 16

    def __post_init__(self) -> None:
        checks.at_least(2, folds=self.folds, leaves=self.leaves)
        checks.positive(rounds=self.rounds)
        if not self.inner.online:
            raise InvalidInput(f"inner must be online, trees learn from members as well, got {self.inner}")

    def __str__(self) -> str:
        return "log odds learned by trees from references that play target"

    def fit(self, references: References | None, *, seed: int) -> Fitted:
        """See `Calibration`; it is `inner`'s fit where the references do not suffice.

        Raises:
            InvalidInput: References are missing, altogether or on a side that is needed.
        """
        inner = self.inner.fit(references, seed=seed)
        assert references is not None
        if not paired(references):
            return inner
        assert inner.beliefs is not None, "an online ratio has beliefs"
        return FittedTrees(
            settings=self, references=references, beliefs=inner.beliefs, settled=inner.settled, seed=seed
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTrees:
    """See `Fitted`; trees grow when somebody asks for a score.

    Attributes:
        settings: How they grow.
        references: What they learn from.
        asked: The references' values as the target's questions would have found them, (K, n, d); None for as they are.
        beliefs: What is expected before trees have learned.
        settled: The calibration these are from, for beliefs from fewer references.
        seed: Fixes every draw.
    """

    settings: LearnedRatio
    references: References
    asked: Tensor | None = None
    beliefs: NormalBeliefs
    settled: Calibration
    seed: int
    threshold: ClassVar[None] = None
    scores_by_folds: ClassVar[bool] = True  # Who wants the references' scores need not fit one model anew for each.

    def taught(self, asked: Tensor) -> "FittedTrees":
        """The same for a target that is asked fewer questions: `asked` (K, n, d) is what they find on references.

        Raises:
            InvalidInput: `asked` are not of the shape of the references' values.
        """
        wanted = tuple(self.references.values.shape)
        if asked.shape != wanted:
            raise InvalidInput(f"asked must be {wanted} like the references' values, got {tuple(asked.shape)}")
        return replace(self, asked=asked)

    @cached_property
    def reference_scores(self) -> Tensor:
        evidence, beside = self._evidence, apart(self.references)
        fold = folds_of(self.references, self.settings.folds)
        scored = self._values[:, : self.references.scored]
        scores = torch.zeros(scored.shape[:2], dtype=torch.float64)
        for held_out in range(int(fold.max()) + 1):
            seen = fold != held_out
            trees = self._grown(evidence.rows(self._values[seen], beside[seen] & seen), seen, held_out)
            scores[~seen] = log_odds(trees, evidence.rows(scored[~seen], beside[~seen]))
        return scores

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        del labels
        wanted = tuple(self._values[0, : self.references.scored].shape)
        if values.shape != wanted:
            raise InvalidInput(f"values must be {wanted} like the references', got {tuple(values.shape)}")
        everyone = torch.ones(1, len(self._values), dtype=torch.bool)
        return log_odds(self._trees, self._evidence.rows(values[None], everyone))[0]

    @property
    def _values(self) -> Tensor:
        """What the trees learn to read, (K, n, d)."""
        return self.references.values if self.asked is None else self.asked

    @cached_property
    def _evidence(self) -> "_Evidence":
        return _Evidence.of(self.references)

    @cached_property
    def _trees(self) -> HistGradientBoostingClassifier:
        some = torch.arange(len(self._values)) < most_models(self._values.shape[1])
        rows = self._evidence.rows(self._values[some], apart(self.references)[some])
        return self._grown(rows, some, "all")

    def _grown(self, rows: Tensor, models: Tensor, which: int | str) -> HistGradientBoostingClassifier:
        return grown(
            rows,
            self.references.inside[models],
            rounds=self.settings.rounds,
            leaves=self.settings.leaves,
            seed=randomness.sklearn_seed(self.seed, "learned ratio", which),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Evidence:
    """What the references say of each sample, in numbers.

    Attributes:
        values: Their scalars and, last, their logit confidences if shown, (K, n, c') float64, 0 where not known.
        sides: Whether a model was trained on the sample, and whether not, and its number is known, (2, K, n, c').
        scalars: How many of the c' are the signal's.
        ends: Where edges of intervals lie that have none, (2,); None where values are not censored.
    """

    values: Tensor
    sides: Tensor
    scalars: int
    ends: tuple[float, float] | None

    @classmethod
    def of(cls, references: References) -> "_Evidence":
        values, inside = references.values, references.inside.cpu()
        ends = None
        if references.censored:
            edges = values[values.isfinite()]
            ends = (float(edges.min()) - 1, float(edges.max()) + 1) if len(edges) else (0.0, 0.0)
        numbers = _middles(values, ends)
        count = numbers.shape[2]
        if references.logits is not None:
            numbers = torch.cat([numbers, references.logits[:, :, None].double().cpu()], 2)
        known = numbers.isfinite()
        sides = torch.stack([inside[:, :, None] & known, ~inside[:, :, None] & known])
        return cls(values=numbers.where(known, 0.0), sides=sides, scalars=count, ends=ends)

    def rows(self, values: Tensor, counted: Tensor) -> Tensor:
        """Features (m, n, f) of values (m, n, d) that m models have in the first n samples, float64.

        `counted` (m, K) says which references a model stands beside. What is not known is NaN, which trees take for
        missing: a value that is not finite, a mean over none.
        """
        weights, first = counted.double(), slice(0, values.shape[1])
        moments = [self._moments(weights, side[:, first].double(), self.values[:, first]) for side in self.sides]
        (mean_in, deviation_in), (mean_out, deviation_out) = moments
        own = _middles(values, self.ends)
        shown = own if self.ends is None else _edges(values, self.ends)
        away = [own - mean[..., : self.scalars] for mean in (mean_in, mean_out)]
        found = [shown, *away, mean_in, mean_out, mean_in - mean_out, deviation_in, deviation_out]
        # Sums in another order round otherwise; float32 hides it.
        return torch.cat(found, 2).float().double()

    @staticmethod
    def _moments(weights: Tensor, side: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation (m, n, c') over the counted references of one side."""

        count = weighted(weights, side)
        mean = weighted(weights, side * values) / count
        variance = weighted(weights, side * values.square()) / count - mean.square()
        return mean, variance.clamp_min(0).sqrt()


def _edges(values: Tensor, ends: tuple[float, float]) -> Tensor:
    """Pairs of edges (..., 2c), float64, infinite ones at the ends."""
    return values.double().cpu().clamp(*ends)


def _middles(values: Tensor, ends: tuple[float, float] | None) -> Tensor:
    """One number per scalar, (..., c) float64; NaN where it is not known."""
    if ends is not None:
        edges = _edges(values, ends)
        return (edges[..., 0::2] + edges[..., 1::2]) / 2
    numbers = values.double().cpu()
    return numbers.where(numbers.isfinite(), torch.nan)

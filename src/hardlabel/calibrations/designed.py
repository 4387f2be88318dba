"""DesignedRatio: what references say of the margins of all neighbours of a sample, as beliefs a plan can ask by."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks
from hardlabel.calibrations.base import References
from hardlabel.calibrations.best import strength
from hardlabel.calibrations.normals import Beliefs, Moments
from hardlabel.checks import InvalidInput

STRATA = 5  # Classes of neighbours by their distance; the sample itself is one more.
BINS = 40  # Of a mean along a curve.
FLOOR = 0.0025  # Of the typical variance: none counts as less.
LEAST = 1e-12
STRAY = 0.02  # Probability of a label that follows from nothing.
ALONE = 0.9  # Weight of the common factor in the sample itself, where no two candidates of its class tell it.

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DesignedRatio:
    """The log ratio that a designed plan found, and the beliefs it asks by.

    References show the margins of J neighbours of each sample, and how far each lies from it; see
    `hardlabel.signals.designed.Margins`. On models trained on the sample, and on others, the margins of its neighbours
    are taken as jointly normal. Few references say little about a single neighbour, so all moments are shrunken to
    those of similar neighbours: of any sample, in the same class of distance, with about the same mean:

    - the difference of the two means by an empirical Bayes estimate;
    - the variance of either side by a conjugate prior worth `weight` models;
    - the correlations by a prior of the same weight, one common factor that is stronger for nearer neighbours.

    Far neighbours tell much about forests, but mislead on perceptrons, whose margins jump there. So the references
    choose how far the questions may go: each plays target for the others and is asked the one label whose probability
    differs most between the sides. The reach with the highest mean AUC is taken; with a single pair all neighbours
    stay.

    A score is the log ratio itself, in nats, since the plan has already computed it: values (n, 1) become scores (n,).

    Attributes:
        weight: How many models a prior is worth, above 0.
        reach: The farthest class of neighbours that may be asked, 0 for the sample itself to STRATA for all; None lets
            the references choose.

    References:
        Ours (studies/DESIGNED.md). Conjugate priors over all records follow BaVarIA (arXiv 2603.11799).

    Raises:
        InvalidInput: `weight` is not above 0, or `reach` is none of the classes.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.designed import DesignedRatio
        >>> values = torch.tensor([[[3.0, 1.0, 0.0, 0.1]], [[1.0, -1.0, 0.0, 0.1]]])  # Two margins, two distances.
        >>> inside = torch.tensor([[True], [False]])
        >>> references = References(values=values, inside=inside, labels=torch.tensor([0]))
        >>> fitted = DesignedRatio().fit(references, seed=0)
        >>> fitted.beliefs.mean_in.shape, fitted.score(torch.tensor([[0.7]]), references.labels).shape
        (torch.Size([1, 2]), torch.Size([1]))
    """

    weight: float = 20.0
    reach: int | None = None

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    takes_units: ClassVar[bool] = True  # The target's labels are in no units that could be standardised.

    def __post_init__(self) -> None:
        checks.positive(weight=self.weight)
        if self.reach is not None and self.reach not in range(STRATA + 1):
            raise InvalidInput(f"reach must be a class of distance from 0 to {STRATA}, or None, got {self.reach}")

    def __str__(self) -> str:
        return "likelihood ratio of the answers, from margins on the attacker's own models"

    def fit(self, references: References | None, *, seed: int) -> "FittedDesigned":
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, or hold no margins and distances.
        """
        del seed
        if references is None:
            raise InvalidInput("references must be given for a designed ratio, got None")
        inside, values = references.inside[:, : references.scored], references.values
        if values.shape[2] % 2 or bool(inside.all()) or not bool(inside.any()):
            raise InvalidInput(
                "references must hold margins and distances of models with and without the samples, got "
                f"{values.shape[2]} columns and {int(inside.sum())} of {inside.numel()} inside"
            )
        reach = self._chosen(references) if self.reach is None else self.reach
        return FittedDesigned(beliefs=_within(*self._believed(references), reach), settled=replace(self, reach=reach))

    def _believed(self, references: References) -> tuple["DesignedBeliefs", Tensor]:
        """The beliefs about all neighbours, and their classes (n, J)."""
        inside = references.inside[:, : references.scored].cpu()
        values = references.values[:, : references.scored].double().cpu()
        width = values.shape[2] // 2
        classes = _classes(values[0, :, width:])
        return _beliefs(values[..., :width], inside, classes, self.weight), classes

    def _chosen(self, references: References) -> int:
        """The reach by which references that play target are told best; the farthest where none can play."""
        found = []
        for model, members in enumerate(references.inside[:, : references.scored].cpu()):
            rest = references.without(model)
            if rest is None or bool(members.all()) or not bool(members.any()):
                continue
            beliefs, classes = self._believed(rest)
            values = references.values[model, : references.scored].cpu()
            kept = values[:, : classes.shape[1]] > 0
            scores = [_first_answer(beliefs, classes <= reach, kept) for reach in range(STRATA + 1)]
            found.append([strength(score[None], members[None]) for score in scores])
        if not found:
            return STRATA
        # Of equal ones the farthest, which leaves most to ask.
        return STRATA - int(np.argmax(np.mean(found, axis=0)[::-1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignedBeliefs(Beliefs):
    """What is expected of each candidate's margin, (n, J) float64; see `hardlabel.signals.designed.Designs`.

    Attributes:
        shared: How the margins of a sample's candidates vary together, (n, J, R) float32.
    """

    shared: Tensor

    def of(self, samples: slice) -> Self:
        return replace(super().of(samples), shared=self.shared[samples])


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedDesigned:
    """See `Fitted`. References are replayed through the plan, so it has no scores of theirs.

    Attributes:
        beliefs: What the plan asks by.
        settled: The calibration with its reach chosen, for fits on fewer references.
    """

    beliefs: DesignedBeliefs
    settled: DesignedRatio
    threshold: ClassVar[None] = None
    reference_scores: ClassVar[None] = None

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        """The log ratios (n,) of values (n, 1).

        Raises:
            InvalidInput: The values are not one log ratio per sample.
        """
        del labels
        if tuple(values.shape) != (len(self.beliefs.mean_in), 1):
            raise InvalidInput(f"values must be log ratios ({len(self.beliefs.mean_in)}, 1), got {tuple(values.shape)}")
        return values[:, 0].double().cpu()


def _within(beliefs: DesignedBeliefs, classes: Tensor, reach: int) -> DesignedBeliefs:
    """The same, where neighbours beyond `reach`, and those that are the sample again, tell nothing."""
    idle = (classes > reach) | (classes == 0)
    idle[:, 0] = False
    middle = (beliefs.mean_in + beliefs.mean_out) / 2
    return replace(
        beliefs,
        mean_in=torch.where(idle, middle, beliefs.mean_in),
        mean_out=torch.where(idle, middle, beliefs.mean_out),
        deviation_out=torch.where(idle, beliefs.deviation_in, beliefs.deviation_out),
        # Nor do they by what they share with others, about which an answer tells.
        shared=torch.where(idle[..., None], 0.0, beliefs.shared),
    )


def _first_answer(beliefs: DesignedBeliefs, asked: Tensor, kept: Tensor) -> Tensor:
    """The log ratio (n,) of the one answer of `kept` (n, J), among `asked`, that differs most between the sides."""
    inside, outside = (
        STRAY / 2 + (1 - STRAY) * torch.special.ndtr(mean / deviation)
        for mean, deviation in ((beliefs.mean_in, beliefs.deviation_in), (beliefs.mean_out, beliefs.deviation_out))
    )
    apart = torch.where(asked, (inside - outside).abs(), -1.0)
    best = apart.argmax(1, keepdim=True)
    inside, outside, right = (part.gather(1, best)[:, 0] for part in (inside, outside, kept))
    return torch.where(right, inside.log() - outside.log(), (1 - inside).log() - (1 - outside).log())


def _beliefs(values: Tensor, inside: Tensor, classes: Tensor, weight: float) -> DesignedBeliefs:
    """Beliefs from margins (K, n, J), membership (K, n) and classes of distance (n, J)."""
    members, others = Moments.of(values, inside), Moments.of(values, ~inside)
    mean_in, mean_out = _filled(members.mean, others.mean)
    # A side without models counts like one of a single model.
    sides = [_Side(members, mean_in), _Side(others, mean_out)]
    centre, difference = (mean_in + mean_out) / 2, mean_in - mean_out
    expected = _along(centre, difference, torch.ones_like(difference), classes)
    apart = (difference - expected).square()
    priors = []
    for side in sides:
        prior = _along(side.mean, side.squares, side.freedom, classes)
        priors.append(torch.where(prior.isnan(), apart.mean() / 2, prior))
    floor = FLOOR * float(torch.cat(priors).mean()) + LEAST
    priors = [prior.clamp_min(floor) for prior in priors]
    chance = priors[0] / sides[0].count + priors[1] / sides[1].count
    true = _along(centre, apart - chance, torch.ones_like(apart), classes).clamp_min(LEAST)
    half = (expected + true / (true + chance) * (difference - expected)) / 2
    # The chance of the centre adds to what a further model varies.
    deviations = [
        ((weight * prior + side.squares) / (weight + side.freedom) + chance / 4).sqrt()
        for side, prior in zip(sides, priors, strict=True)
    ]
    spread = torch.where(inside[..., None], priors[0], priors[1]).sqrt()
    residuals = (values - torch.where(inside[..., None], mean_in, mean_out)) / spread
    return DesignedBeliefs(
        mean_in=centre + half,
        deviation_in=deviations[0],
        mean_out=centre - half,
        deviation_out=deviations[1],
        shared=_shared(residuals, sides[0].freedom + sides[1].freedom, classes, weight).float(),
    )


class _Side:
    """Moments (n, J) of one side, where a side without models counts as one model at `mean`."""

    def __init__(self, moments: Moments, mean: Tensor) -> None:
        self.mean, self.squares, self.freedom = mean, moments.squares, moments.freedom
        self.count = moments.count.clamp_min(1)


def _filled(mean_in: Tensor, mean_out: Tensor) -> tuple[Tensor, Tensor]:
    """The same with missing means at the candidate's mean difference from the other side."""
    usual = (mean_in - mean_out).nanmean(0).nan_to_num(0.0)
    return (
        torch.where(mean_in.isnan(), mean_out + usual, mean_in).nan_to_num(0.0),
        torch.where(mean_out.isnan(), mean_in - usual, mean_out).nan_to_num(0.0),
    )


def _classes(distances: Tensor) -> Tensor:
    """The class of each candidate's distance, (n, J) int64: 0 at the sample itself, then STRATA equal parts."""
    positive = distances[distances > 0].double().numpy()
    edges = np.quantile(positive, np.arange(1, STRATA) / STRATA) if len(positive) else np.empty(0)
    places = 1 + torch.from_numpy(np.searchsorted(edges, distances.double().numpy(), side="left"))
    return torch.where(distances > 0, places, 0)


def _along(keys: Tensor, of: Tensor, weights: Tensor, classes: Tensor) -> Tensor:
    """The mean of `of` per weight among candidates of the same class with about the same key, all (n, J).

    A candidate that stands alone gets the mean of its bin; NaN where a whole class has no weight.
    """
    means = torch.full_like(of, torch.nan)
    for number in range(STRATA + 1):
        chosen = classes == number
        if bool(chosen.any()):
            parts = (part[chosen].numpy() for part in (keys, of, weights))
            means[chosen] = torch.from_numpy(_curve(*parts))
    return means


def _curve(keys: Floats, of: Floats, weights: Floats) -> Floats:
    edges = np.quantile(keys, np.linspace(0, 1, BINS + 1)[1:-1])
    places = np.searchsorted(edges, keys, side="right")
    counts, sums, totals, middles = (
        np.bincount(places, part, minlength=BINS) for part in (np.ones_like(keys), of, weights, keys)
    )
    known = totals > 0
    if not known.any():
        return np.full_like(keys, np.nan)
    curve: Floats = np.interp(keys, (middles / counts.clip(1))[known], (sums[known] / totals[known]))
    return curve


def _shared(residuals: Tensor, freedom: Tensor, classes: Tensor, weight: float) -> Tensor:
    """How residuals (K, n, J), of variance 1, vary together, (n, J, K + 1): the references', and one common factor."""
    freedom = freedom[:, :1]
    common = torch.zeros_like(residuals[0])
    for number in range(STRATA + 1):
        chosen = classes == number
        count = chosen.sum(1)
        several = count > 1
        if not bool(several.any()):
            common[chosen] = ALONE if number == 0 else 0.0
            continue
        held = torch.where(chosen, residuals, 0.0)[:, several]
        products = held.sum(2).square().sum(0) - held.square().sum((0, 2))
        pairs = (count * (count - 1))[several]
        square = (products / pairs / freedom[several, 0].clamp_min(1)).mean().clamp(0, 0.98)
        common[chosen] = float(square.sqrt())
    whole = weight + freedom
    factors = torch.cat([residuals / whole.sqrt(), ((weight / whole).sqrt() * common)[None]])
    own = weight / whole * (1 - common.square())
    return (factors / (factors.square().sum(0) + own).sqrt()).permute(1, 2, 0)

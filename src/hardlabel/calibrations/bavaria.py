"""BaVarIA: means and variances of few references lean on a prior that all records share."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, get_args

import torch
from scipy import special
from torch import Tensor

from hardlabel import checks
from hardlabel.calibrations.base import References
from hardlabel.calibrations.normals import (
    FLOOR,
    UNIFORM,
    Moments,
    NormalBeliefs,
    deviations,
    first_known,
    ranges,
    scored,
)
from hardlabel.calibrations.ratio import FittedRatio, side_variances
from hardlabel.calibrations.shrunken import PRIOR, ShrunkenRatio

Predictive = Literal["student", "normal"]
STRENGTHS = tuple(4.0**power for power in range(-3, 3))  # Of the prior mean, in models.
SHAPES = (1.1, 1.5, 2.0, 4.0, 10.0, 50.0)  # Of the inverse gamma distribution of variances.
SCALES = tuple(2.0**power for power in range(-4, 3))  # Mean prior variance, in variances within records.


@dataclass(frozen=True, kw_only=True)
class BaVarIA:
    """A likelihood ratio of two predictive distributions, each from a conjugate prior that all records share.

    On either side (models trained on the record, and the others) a record's values are normal with mean m and variance
    v; (m, v) is normal-inverse-gamma with parameters m0, k, a, b. m0 is the mean of the records' means; k, a and b are
    those of a grid with the highest marginal likelihood of all records' values. With n values of a record, their mean
    x and their sum of squares S around it:

        k' = k + n;  m' = (k m0 + n x) / k';  a' = a + n/2;  b' = b + S/2 + k n (x - m0)^2 / (2 k')
        "student": a new value is Student's t with 2a' degrees of freedom around m', scale^2 = b' (k' + 1) / (a' k')
        "normal":  a new value is normal around m' with the posterior mean of v, b' / (a' - 1), times (k' + 1) / k'

    The score, (n,), is the log ratio of the two densities in nats, added over scalars. A censored value counts by the
    probability .98 predictive + .02 uniform of its interval. A record without values on a side is predicted by the
    prior.

    With `neighbours`, the records nearest in difficulty take the place of the common prior: mean and scale are those of
    `ShrunkenRatio` ("unequal"), a new value is Student's t (or normal) around them.

    Attributes:
        predictive: "student" or "normal".
        neighbours: Number of nearest records to use, 1 or more; None for all, through the prior.

    References:
        Brännvall (2026), arXiv:2603.11799, for conjugate priors per side and both predictive distributions. Ours: how
        the prior's parameters are found, censored values, and `neighbours`.

    Raises:
        InvalidInput: `predictive` is neither of the two, or `neighbours` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.bavaria import BaVarIA
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> references = References(values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64))
        >>> scores = BaVarIA().fit(references, seed=0).score(torch.tensor([[3.0], [0.0]]), references.labels)
        >>> bool(scores[0] > scores[1])
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    predictive: Predictive = "student"
    neighbours: int | None = None

    def __post_init__(self) -> None:
        checks.one_of(get_args(Predictive), predictive=self.predictive)
        if self.neighbours is not None:
            checks.at_least(1, neighbours=self.neighbours)

    def __str__(self) -> str:
        prior = "one prior" if self.neighbours is None else f"{self.neighbours} neighbours"
        kind = {"student": "Student's t", "normal": "normal"}[self.predictive]
        return f"likelihood ratio of predictive distributions ({kind}), records lean on {prior}"

    def fit(self, references: References | None, *, seed: int) -> FittedRatio:
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, altogether or on a side that is needed.
        """
        values, inside = scored(references, online=True, purpose="a ratio of predictive distributions")
        assert references is not None
        members, others = Moments.of(values, inside), Moments.of(values, ~inside)
        if self.neighbours is None:
            beliefs = self._by_prior(values, members, others)
        else:
            beliefs = self._by_neighbours(references, members, others, seed)
        return FittedRatio.believing(beliefs, references, settled=self, seed=seed)

    def _by_prior(self, values: Tensor, members: Moments, others: Moments) -> "PredictiveBeliefs":
        typical = deviations(torch.zeros_like(members.mean), values)[0] / FLOOR  # Of all values; 1 where all are equal.
        low, high = ranges(values)
        sides = []
        for side, spread in zip((members, others), side_variances(members, others), strict=True):
            least = torch.full_like(typical, FLOOR).square() * typical.square()
            spread = torch.maximum(first_known(spread, typical.square()), least)
            columns = [_predicted(_column(side, j), float(spread[j]), self.predictive) for j in range(len(typical))]
            sides.append(tuple(torch.stack(parts, 1) for parts in zip(*columns, strict=True)))
        (mean_in, scale_in, freedom_in), (mean_out, scale_out, freedom_out) = sides
        return PredictiveBeliefs(
            mean_in=mean_in,
            deviation_in=torch.maximum(scale_in, FLOOR * typical),
            mean_out=mean_out,
            deviation_out=torch.maximum(scale_out, FLOOR * typical),
            low=low,
            high=high,
            freedom_in=freedom_in,
            freedom_out=freedom_out,
        )

    def _by_neighbours(
        self, references: References, members: Moments, others: Moments, seed: int
    ) -> "PredictiveBeliefs":
        assert self.neighbours is not None
        shrunken = ShrunkenRatio(variant="unequal", neighbours=self.neighbours).fit(references, seed=seed).beliefs
        assert shrunken is not None, "an online ratio has beliefs"
        endless = torch.full_like(members.mean, torch.inf)
        student = self.predictive == "student"
        return PredictiveBeliefs(
            mean_in=shrunken.mean_in,
            deviation_in=shrunken.deviation_in,
            mean_out=shrunken.mean_out,
            deviation_out=shrunken.deviation_out,
            low=shrunken.low,
            high=shrunken.high,
            freedom_in=PRIOR + members.freedom if student else endless,
            freedom_out=PRIOR + others.freedom if student else endless,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictiveBeliefs(NormalBeliefs):
    """Student's t around each mean, with the deviations as scales; see `NormalBeliefs`.

    A plan that asks what tells most takes them for normal distributions, which they are nearly.

    Attributes:
        freedom_in: Degrees of freedom, (n, c) float64; infinite for a normal distribution.
        freedom_out: See `freedom_in`.
    """

    freedom_in: Tensor
    freedom_out: Tensor

    def of(self, samples: slice) -> Self:
        return replace(super().of(samples), freedom_in=self.freedom_in[samples], freedom_out=self.freedom_out[samples])

    def log_ratio(self, values: Tensor, *, censored: bool) -> Tensor:
        values = self._checked(values, censored=censored)
        sides = (
            (self.mean_in, self.deviation_in, self.freedom_in),
            (self.mean_out, self.deviation_out, self.freedom_out),
        )
        if censored:
            lower, upper = self._widened(values[:, 0::2], values[:, 1::2])
            uniform = self._uniform(lower, upper)
            inside, outside = (((1 - UNIFORM) * _mass(lower, upper, *side) + UNIFORM * uniform).log() for side in sides)
        else:
            inside, outside = (_log_density(values, *side) for side in sides)
        ratio = inside - outside
        return torch.where(ratio.isnan(), 0.0, ratio).sum(1)


def _predicted(side: Moments, spread: float, predictive: Predictive) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, scale and degrees of freedom, each (n,), of a new value of each record; `spread` is a variance above 0."""
    count, squares = side.count, side.squares
    known = count > 0
    middle = side.mean[known].mean() if bool(known.any()) else torch.tensor(0.0, dtype=torch.float64)
    away = torch.where(known, side.mean - middle, 0.0)
    strength, shape, rate = _prior(count, away, squares, spread)
    total = strength + count
    mean = middle + count * away / total
    shapes = shape + count / 2
    rates = rate + squares / 2 + strength * count * away.square() / (2 * total)
    wider = (total + 1) / total  # A new value lies around a mean that is not known exactly.
    if predictive == "student":
        return mean, (rates / shapes * wider).sqrt(), 2 * shapes
    return mean, (rates / (shapes - 1) * wider).sqrt(), torch.full_like(mean, torch.inf)


def _prior(count: Tensor, away: Tensor, squares: Tensor, spread: float) -> tuple[float, float, float]:
    """Strength, shape and rate with the highest marginal likelihood of all records' values, on a grid.

    A grid, since the end of a search would depend on how sums round, and with them on the order of records.
    """
    known = count > 0
    count, away, squares = count[known], away[known] / math.sqrt(spread), squares[known] / spread
    numbers, place = torch.unique(count, return_inverse=True)
    best, found = -math.inf, (1.0, 2.0, 1.0)
    for strength in STRENGTHS:
        inner = squares / 2 + strength * count * away.square() / (2 * (strength + count))
        shrunk = 0.5 * float((strength / (strength + count)).log().sum())
        for shape in SHAPES:
            constant = float((torch.lgamma(shape + numbers / 2) - math.lgamma(shape))[place].sum()) + shrunk
            for scale in SCALES:
                rate = scale * (shape - 1)
                likelihood = len(count) * shape * math.log(rate) - float(
                    ((shape + count / 2) * (rate + inner).log()).sum()
                )
                if likelihood + constant > best + 1e-6 * len(count):
                    best, found = likelihood + constant, (strength, shape, rate * spread)
    return found


def _column(moments: Moments, j: int) -> Moments:
    return Moments(count=moments.count[:, j], mean=moments.mean[:, j], squares=moments.squares[:, j])


def _log_density(values: Tensor, mean: Tensor, scale: Tensor, freedom: Tensor) -> Tensor:
    """Of Student's t without what the number pi adds; of a normal distribution where `freedom` is infinite."""
    z2 = ((values - mean) / scale).square()
    finite = torch.where(freedom.isinf(), 1.0, freedom)
    constant = torch.lgamma((finite + 1) / 2) - torch.lgamma(finite / 2) - (finite / 2).log() / 2
    student = constant - (finite + 1) / 2 * (z2 / finite).log1p()
    return torch.where(freedom.isinf(), -z2 / 2, student) - scale.log()


def _mass(lower: Tensor, upper: Tensor, mean: Tensor, scale: Tensor, freedom: Tensor) -> Tensor:
    """The probability of intervals, (n, c)."""

    def below(edge: Tensor) -> Tensor:
        z = (edge - mean) / scale
        student = torch.from_numpy(special.stdtr(torch.where(freedom.isinf(), 1.0, freedom).numpy(), z.numpy()))
        return torch.where(freedom.isinf(), torch.special.ndtr(z), student)

    return below(upper) - below(lower)

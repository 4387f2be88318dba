"""Per-sample normal statistics: what references with and without a sample say of its scalars."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hardlabel.calibrations.base import References, scalars
from hardlabel.checks import InvalidInput

UNIFORM = 0.02  # Share of every belief that is spread evenly over the observed range: nothing is impossible.
NARROWEST = 1e-6  # Of the observed range; a narrower interval counts as one of this width.
FLOOR = 0.01  # Smallest deviation, as a share of the typical one: equal reference values prove no certainty.


@dataclass(frozen=True, kw_only=True, eq=False)
class Beliefs:
    """What is expected of each sample's scalars, on models trained on the sample and on the others.

    Attributes:
        mean_in: On models trained on the sample, (n, c) float64, as are the next three.
        deviation_in: Above 0.
        mean_out: On other models.
        deviation_out: Above 0.
    """

    mean_in: Tensor
    deviation_in: Tensor
    mean_out: Tensor
    deviation_out: Tensor

    def of(self, samples: slice) -> Self:
        """The beliefs about some of the samples."""
        return replace(
            self,
            mean_in=self.mean_in[samples],
            deviation_in=self.deviation_in[samples],
            mean_out=self.mean_out[samples],
            deviation_out=self.deviation_out[samples],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class NormalBeliefs(Beliefs):
    """Two normal distributions per sample and scalar: for models trained on the sample, and for the others.

    Attributes:
        low: Lowest value seen of each scalar on references, (c,) float64.
        high: The highest one.
    """

    low: Tensor
    high: Tensor

    def log_ratio(self, values: Tensor, *, censored: bool) -> Tensor:
        """Log of how much likelier the values are on a model trained on the sample, (n,) float64.

        Args:
            values: (n, c), taken by their densities; or (n, 2c) where censored, lower and upper edges in pairs, taken
                by the probability .98 Normal + .02 uniform of the interval. The uniform part counts an interval
                outside the observed range by its width too, so that no interval is impossible.
            censored: Which of the two.

        Log ratios of the c scalars are added, as if they were independent. A scalar of which nothing is known (NaN,
        or an interval without edges) adds 0.
        """
        values = self._checked(values, censored=censored)
        if censored:
            lower, upper = self._widened(values[:, 0::2], values[:, 1::2])
            uniform = self._uniform(lower, upper)
            inside, outside = (
                ((1 - UNIFORM) * _mass(lower, upper, mean, deviation) + UNIFORM * uniform).log()
                for mean, deviation in ((self.mean_in, self.deviation_in), (self.mean_out, self.deviation_out))
            )
        else:
            inside = _log_density(values, self.mean_in, self.deviation_in)
            outside = _log_density(values, self.mean_out, self.deviation_out)
        ratio = inside - outside
        return torch.where(ratio.isnan(), 0.0, ratio).sum(1)

    def _checked(self, values: Tensor, *, censored: bool) -> Tensor:
        samples, width = self.mean_in.shape
        wanted = (samples, 2 * width if censored else width)
        if values.shape != wanted:
            raise InvalidInput(f"values must be {wanted} like the references', got {tuple(values.shape)}")
        return values.double().cpu()

    def _widened(self, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
        lack = (NARROWEST * (self.high - self.low) - (upper - lower)).clamp_min(0) / 2
        return lower - lack, upper + lack

    def _uniform(self, lower: Tensor, upper: Tensor) -> Tensor:
        ends = (
            torch.where(lower.isinf(), torch.minimum(self.low, upper - 0.5), lower),
            torch.where(upper.isinf(), torch.maximum(self.high, lower + 0.5), upper),
        )
        return ((ends[1] - ends[0]) / (self.high - self.low)).clamp_max(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Moments:
    """What the references of one kind say of each sample.

    Attributes:
        count: References that were measured, (n, c) float64, may be 0.
        mean: (n, c); NaN where nobody was measured.
        squares: Sums of squared deviations from the mean, (n, c); 0 where nobody was measured.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, values: Tensor, chosen: Tensor) -> "Moments":
        """Of values (K, n, c), those of the models in `chosen` (K, n) or (K, n, c); NaN counts as not measured."""
        known = _known(values, chosen)
        count = known.sum(0).double()
        mean = torch.where(known, values, 0.0).sum(0) / count
        squares = torch.where(known, values - mean, 0.0).square().sum(0)
        return cls(count=count, mean=mean, squares=squares)

    @property
    def freedom(self) -> Tensor:
        """Degrees of freedom of each sample's variance, (n, c)."""
        return (self.count - 1).clamp_min(0)

    @property
    def variance(self) -> Tensor:
        """Each sample's unbiased variance over models, (n, c); NaN below two values."""
        return self.squares / torch.where(self.freedom > 0, self.freedom, torch.nan)

    @property
    def pooled(self) -> Tensor:
        """The unbiased variance over models that all samples would share, (c,); NaN where no sample has two values."""
        return self.squares.sum(0) / self.freedom.sum(0)


class Neighbours:
    """Means over the items nearest in a number, by sorting on it.

    The window is centred in the order and stays `count` wide at its ends (all items where there are fewer). Items
    equal in the number (as float32) are treated alike, so that their order says nothing.
    """

    def __init__(self, keys: Tensor, *, count: int) -> None:
        self._order = torch.argsort(keys)
        self._keys, groups, sizes = torch.unique_consecutive(
            keys[self._order].float(), return_inverse=True, return_counts=True
        )
        self._groups, self._sizes = groups, sizes.double()
        self._count = min(count, len(keys))
        self._starts = (torch.arange(len(keys)) - self._count // 2).clamp(0, len(keys) - self._count)

    def mean(self, of: Tensor, *, weights: Tensor | None = None) -> Tensor:
        """The mean of `of` (m,) around every item, (m,); NaN where no item of the window has weight."""
        return self._scattered(self._smoothed(of, weights))

    def at(self, points: Tensor, of: Tensor, *, weights: Tensor | None = None) -> Tensor:
        """The same around other numbers (q,), between items linearly and constant beyond the ends."""
        means = self._smoothed(of, weights)
        known = ~means.isnan()
        if not bool(known.any()):
            return torch.full_like(points, torch.nan)
        found = np.interp(points.numpy(), self._keys[known].double().numpy(), means[known].numpy())
        return torch.as_tensor(found)

    def _smoothed(self, of: Tensor, weights: Tensor | None) -> Tensor:
        """One mean per distinct key."""
        weights = torch.ones_like(of) if weights is None else weights
        centre = of[weights > 0].mean()  # Sums of small numbers keep their digits.
        share = self._windows(weights)
        total = self._windows(torch.where(weights > 0, (of - centre) * weights, 0.0))
        means: Tensor = centre + total / torch.where(share > 0, share, torch.nan)
        return means

    def _windows(self, of: Tensor) -> Tensor:
        equal = self._grouped(of[self._order])[self._groups]
        sums = torch.cat([equal.new_zeros(1), equal.cumsum(0)])
        return self._grouped(sums[self._starts + self._count] - sums[self._starts])

    def _grouped(self, of: Tensor) -> Tensor:
        means: Tensor = torch.zeros_like(self._sizes).index_add(0, self._groups, of) / self._sizes
        return means

    def _scattered(self, means: Tensor) -> Tensor:
        return torch.empty(len(self._order), dtype=means.dtype).index_copy(0, self._order, means[self._groups])


def scored(references: References | None, *, online: bool, purpose: str) -> tuple[Tensor, Tensor]:
    """Scalars (K, n, c) of the samples to be scored, and who was inside, (K, n).

    Raises:
        InvalidInput: No references, or none of a kind that is needed.
    """
    if references is None:
        raise InvalidInput(f"references must be given for {purpose}, got None")
    values = scalars(references.values[:, : references.scored], censored=references.censored)
    inside = references.inside[:, : references.scored].cpu()
    if bool(inside.all()):
        raise InvalidInput(f"references must leave out some of the samples scored for {purpose}, all are inside")
    if online and not bool(inside.any()):
        raise InvalidInput(f"references must be trained on some of the samples scored for {purpose}, none is inside")
    return values, inside


def has_sides(references: References, *, online: bool) -> bool:
    """Whether `scored` would take these references."""
    inside = references.inside[:, : references.scored]
    return not bool(inside.all()) and (bool(inside.any()) or not online)


def completed(inside: Moments, outside: Moments, *, count: int) -> tuple[Tensor, Tensor]:
    """Means (n, c) in and out of training, where a missing one is estimated from the other.

    The difference is that of the `count` samples nearest in the known mean which have both. Where no sample has both
    (one reference), the missing mean has the same rank among its kind as the known one among its own. A sample
    without any value gets the means of all.
    """
    columns = range(inside.mean.shape[1])
    pairs = [
        (
            _complete(inside.mean[:, j], outside.mean[:, j], count=count),
            _complete(outside.mean[:, j], inside.mean[:, j], count=count),
        )
        for j in columns
    ]
    return torch.stack([pair[0] for pair in pairs], 1), torch.stack([pair[1] for pair in pairs], 1)


def ranges(values: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest of values (K, n, c), each (c,); 0.5 to both sides of it where all are equal."""
    flat = values.flatten(0, 1)
    low = torch.where(flat.isnan(), torch.inf, flat).amin(0)
    high = torch.where(flat.isnan(), -torch.inf, flat).amax(0)
    equal = 0.5 * (high <= low)
    return low - equal, high + equal


def deviations(variance: Tensor, values: Tensor, *pooled: Tensor) -> Tensor:
    """Square roots of variances (n, c), at least FLOOR times the typical deviation of the scalar.

    That is the first of `pooled` (c,) that is above 0, else the deviation of all values (K, n, c), else 1.
    """
    flat = values.flatten(0, 1)
    around = flat - flat.nanmean(0)
    typical = torch.zeros_like(variance[0])
    for candidate in (*pooled, around.square().nanmean(0), torch.ones_like(typical)):
        typical = torch.where(typical > 0, typical, candidate.nan_to_num(0.0))
    return torch.maximum(variance, FLOOR**2 * typical).sqrt()


def first_known(*candidates: Tensor) -> Tensor:
    """The first that is a number, element by element."""
    found = candidates[0]
    for candidate in candidates[1:]:
        found = torch.where(found.isnan(), candidate, found)
    return found


def _known(values: Tensor, chosen: Tensor) -> Tensor:
    chosen = chosen if chosen.ndim == values.ndim else chosen[:, :, None]
    return chosen & ~values.isnan()


def _complete(wanted: Tensor, other: Tensor, *, count: int) -> Tensor:
    has, lacks = ~wanted.isnan() & ~other.isnan(), wanted.isnan() & ~other.isnan()
    filled = wanted.clone()
    if bool(lacks.any()) and bool(has.any()):
        near = Neighbours(other[has], count=count)
        filled[lacks] = other[lacks] + near.at(other[lacks], (wanted - other)[has])
    elif bool(lacks.any()) and not bool(wanted.isnan().all()):
        ordered = other[lacks].sort().values
        ranks = torch.searchsorted(ordered, other[lacks]) + torch.searchsorted(ordered, other[lacks], right=True)
        levels = ranks.double() / (2 * len(ordered))
        filled[lacks] = torch.as_tensor(np.quantile(wanted[~wanted.isnan()].numpy(), levels.numpy()))
    return torch.where(filled.isnan(), wanted.nanmean(), filled)


def _log_density(values: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    return -((values - mean) / deviation).square() / 2 - deviation.log()


def _mass(lower: Tensor, upper: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    # Cancellation far above the mean does no harm: the uniform part, at least 2e-8, rules there.
    mass: Tensor = torch.special.ndtr((upper - mean) / deviation) - torch.special.ndtr((lower - mean) / deviation)
    return mass

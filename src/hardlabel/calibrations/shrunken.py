"""The shrunken likelihood ratio: few references per sample, helped by samples of similar difficulty."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from hardlabel import checks
from hardlabel.calibrations.base import References, scalars
from hardlabel.calibrations.normals import (
    Moments,
    Neighbours,
    NormalBeliefs,
    completed,
    deviations,
    first_known,
    has_sides,
    ranges,
    scored,
)
from hardlabel.calibrations.ratio import FittedRatio, LikelihoodRatio, side_variances

Variant = Literal["equal", "unequal", "raw"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)  # The first is taken where nothing can choose, or all are equal.
PRIOR = 8.0  # What the neighbours' variance counts for, in models.


@dataclass(frozen=True, kw_only=True)
class ShrunkenRatio:
    """A likelihood ratio, its means and variances shrunken to samples of similar difficulty: scores (n,), in nats.

    Online, with n models per side, c = (mean_in + mean_out) / 2 and d = mean_in - mean_out of a sample, and d_, v_in_,
    v_out_ running means of d and of both variances over the `neighbours` samples nearest in c:

        s2 = v_in_/n_in + v_out_/n_out;  t2 = max(0, running mean of (d - d_)^2 - s2);  B = t2 / (t2 + s2)
        delta = d_ + B (d - d_);  v = (8 v_ + (n - 1) variance) / (7 + n) + s2 / 4, for each side
        score = log N(f; c + delta/2, v_in) - log N(f; c - delta/2, v_out)

    Variants: "unequal" as above; "equal" with the mean of v_in and v_out on both sides; "raw" is the plain ratio with
    one variance per side (`LikelihoodRatio`). None chooses the variant with the highest AUC on references that play
    target, each scored by the others without its partner. The target does not influence the choice.

    Variances weigh by their degrees of freedom. Where no sample has two values on either side, the variance of d around
    d_ is split evenly between the sides, and B is 0. A sample known from one side only gets the other mean as in
    `LikelihoodRatio`, and wider variances, because its difference is not measured.

    Offline, only values of models not trained on the sample are used. From references' columns beyond `scored`, the
    attacker's own pool, E[f] and Var[f] on a model trained on a sample are learned as functions of the sample's mean
    over the models that were not: running means over its `neighbours` nearest samples. The same for a model not
    trained on it, from every sample's values, each in turn new to the others. "raw" then shifts all samples alike,
    with one variance per side. Without such columns the score is the tail of `LikelihoodRatio(online=False)`.
    The pool's samples have fewer values of non-members than candidates do, which is not corrected for.

    Attributes:
        variant: "equal", "unequal" or "raw"; None chooses.
        online: Whether members' values of the samples scored are used.
        neighbours: Samples in a running mean, 1 or more; all where there are fewer.

    References:
        Ours (studies/RESULTS.md). Carlini et al. (2022), section IV, for the ratio; shrinkage of means and variances is
        empirical Bayes (Efron & Morris 1973).

    Raises:
        InvalidInput: `variant` is none of the three, or `neighbours` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.shrunken import ShrunkenRatio
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])  # Two models, two samples, one number each.
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> references = References(values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64))
        >>> fitted = ShrunkenRatio().fit(references, seed=0)
        >>> scores = fitted.score(torch.tensor([[3.0], [0.0]]), references.labels)
        >>> bool(scores[0] > scores[1])  # The target is like the model that was trained on the first sample.
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    variant: Variant | None = None
    online: bool = True
    neighbours: int = 100

    def __post_init__(self) -> None:
        checks.at_least(1, neighbours=self.neighbours)
        if self.variant is not None:
            checks.one_of(VARIANTS, variant=self.variant)

    def __str__(self) -> str:
        told = {
            None: "variances chosen on the references",
            "equal": "equal variances",
            "unequal": "unequal variances",
            "raw": "not shrunken",
        }[self.variant]
        return f"likelihood ratio {'' if self.online else 'offline '}shrunken to {self.neighbours} neighbours, {told}"

    @property
    def wants_pool(self) -> bool:
        """Whether it learns from references' values of samples that are not scored."""
        return not self.online

    def fit(self, references: References | None, *, seed: int) -> FittedRatio:
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, altogether or on a side that is needed.
        """
        scored(references, online=self.online, purpose="a shrunken likelihood ratio")
        assert references is not None
        if not self.online and not _has_pool(references):
            return LikelihoodRatio(online=False, variance="side").fit(references, seed=seed)
        variant = self.variant or self._chosen(references)
        beliefs = self._learned(references)[variant].of(slice(0, references.scored))
        return FittedRatio.believing(beliefs, references, settled=replace(self, variant=variant), seed=seed)

    def _learned(self, references: References) -> Mapping[Variant, NormalBeliefs]:
        if self.online:
            return _online(references, self.neighbours)
        return _offline(references, self.neighbours)

    def _chosen(self, references: References) -> Variant:
        """The variant with the highest mean AUC over references that play target.

        It is measured on the samples scored, or on the pool where a reference knows one kind of them only.
        """
        aucs: dict[Variant, list[float]] = {variant: [] for variant in VARIANTS}
        for model, values in enumerate(references.values):
            rest = references.without(model)
            if rest is None or not (self.online or _has_pool(rest)) or not has_sides(rest, online=self.online):
                continue
            inside = references.inside[model].cpu()
            columns = slice(0, references.scored)
            if not self.online and (bool(inside[columns].all()) or not bool(inside[columns].any())):
                columns = slice(references.scored, None)
            if bool(inside[columns].all()) or not bool(inside[columns].any()):
                continue
            for variant, beliefs in self._learned(rest).items():
                ratio = beliefs.of(columns).log_ratio(values[columns], censored=references.censored)
                aucs[variant].append(_auc(ratio, inside[columns]))
        return max(VARIANTS, key=lambda variant: float(np.mean(aucs[variant])) if aucs[variant] else 0.0)


def _online(references: References, neighbours: int) -> Mapping[Variant, NormalBeliefs]:
    values, inside = scored(references, online=True, purpose="a shrunken likelihood ratio")
    members, others = Moments.of(values, inside), Moments.of(values, ~inside)
    mean_in, mean_out = completed(members, others, count=neighbours)
    spread = side_variances(members, others)
    columns = [
        _shrunken(
            _column(members, j),
            _column(others, j),
            mean_in[:, j],
            mean_out[:, j],
            tuple(s[j] for s in spread),
            neighbours,
        )
        for j in range(values.shape[2])
    ]
    delta, variance_in, variance_out = (torch.stack(parts, 1) for parts in zip(*columns, strict=True))
    centre = (mean_in + mean_out) / 2
    return _variants(
        values,
        shrunken=(centre + delta / 2, variance_in, centre - delta / 2, variance_out),
        raw=(mean_in, spread[0].expand_as(mean_in), mean_out, spread[1].expand_as(mean_out)),
        pooled=(spread[0] + spread[1]) / 2,
    )


def _shrunken(
    members: Moments, others: Moments, mean_in: Tensor, mean_out: Tensor, spread: tuple[Tensor, ...], neighbours: int
) -> tuple[Tensor, Tensor, Tensor]:
    """delta, v_in and v_out of one scalar, each (n,); see `ShrunkenRatio`."""
    near = Neighbours((mean_in + mean_out) / 2, count=neighbours)
    d = mean_in - mean_out
    both = ((members.count > 0) & (others.count > 0)).double()
    if not bool(both.any()):
        return d, spread[0].expand_as(d), spread[1].expand_as(d)
    d_ = first_known(near.mean(d, weights=both), d)
    around = near.mean((d - d_).square(), weights=both).nan_to_num(0.0).clamp_min(0)
    nobody = bool(members.freedom.sum() + others.freedom.sum() == 0)
    local = [around / 2 if nobody else _local(near, side, s) for side, s in zip((members, others), spread, strict=True)]
    known = [1 / torch.where(side.count > 0, side.count, torch.nan) for side in (members, others)]
    noise = [v * share for v, share in zip(local, known, strict=True)]  # Of each side's mean; NaN where it is missing.
    typical = sum(
        (v * near.mean(share.nan_to_num(0.0), weights=both) for v, share in zip(local, known, strict=True)),
        torch.zeros_like(d),
    ).nan_to_num(0.0)
    t2 = (around - typical).clamp_min(0)
    s2 = noise[0] + noise[1]
    kept = torch.where(t2 + s2 > 0, t2 / (t2 + s2), 0.0)
    delta = torch.where(both > 0, d_ + kept * (d - d_), d)
    variances = []
    for side, v, own, other in zip((members, others), local, noise, reversed(noise), strict=True):
        mixed = (PRIOR * v + side.squares) / (PRIOR - 1 + side.count.clamp_min(1))
        # Alone, c is as uncertain as the one mean there is, and a mean derived from it by d's spread besides.
        alone = torch.where(side.count > 0, mixed + own, v + t2 + other)
        variances.append(torch.where(both > 0, mixed + s2 / 4, alone))
    return delta, variances[0], variances[1]


def _local(near: Neighbours, side: Moments, spread: Tensor) -> Tensor:
    """The neighbours' variance, that of all samples where no neighbour has one."""
    if not bool((side.freedom > 0).any()):
        return spread.expand_as(side.count)
    return first_known(near.mean(side.variance, weights=side.freedom), spread).clamp_min(0)


def _offline(references: References, neighbours: int) -> Mapping[Variant, NormalBeliefs]:
    values = scalars(references.values, censored=references.censored)
    outside = ~references.inside.cpu()
    pool = references.inside.cpu().clone()
    pool[:, : references.scored] = False
    values = torch.where((outside | pool)[:, :, None], values, torch.nan)  # Members' values of candidates stay unread.
    others = Moments.of(values, outside)
    centre = torch.where(others.count > 0, others.mean, others.mean.nanmean(0))
    shrunken, raw = [], []
    for j in range(values.shape[2]):
        f, mean, count, at = values[:, :, j], others.mean[:, j], others.count[:, j], centre[:, j]
        without = torch.where(count > 1, (mean * count - f) / (count - 1), torch.nan)  # Each model's value in turn.
        members = _gains(mean.expand_as(f), f, pool, at, neighbours)
        new = _gains(without, f, outside, at, neighbours)
        # With one value per sample nobody knows what a second would be: as far off as a member's.
        spread_in, spread_out = first_known(members[1], others.pooled[j]), first_known(new[1], members[1])
        shrunken.append((at + members[0], spread_in, at + new[0], spread_out))
        shared_in, shared_out = spread_in.mean().expand_as(at), spread_out.mean().expand_as(at)
        raw.append((at + members[0].mean(), shared_in, at, shared_out))
    return _variants(values, shrunken=_stacked(shrunken), raw=_stacked(raw), pooled=others.pooled)


def _gains(means: Tensor, values: Tensor, chosen: Tensor, at: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """E[value - mean] and the value's variance, given the mean, at means `at` (n,); 0 and NaN where nothing is known.

    Learned from the pairs of `means` and `values` (K, n) of the models and samples `chosen` (K, n).
    """
    known = chosen & ~means.isnan() & ~values.isnan()
    if not bool(known.any()):
        return torch.zeros_like(at), torch.full_like(at, torch.nan)
    mean, gain = means[known], (values - means)[known]
    samples = int(known.any(0).sum())
    near = Neighbours(mean, count=max(1, round(neighbours * len(mean) / samples)))
    around = (gain - near.mean(gain)).square()
    return near.at(at, gain), near.at(at, around).clamp_min(0)


def _variants(
    values: Tensor, *, shrunken: tuple[Tensor, ...], raw: tuple[Tensor, ...], pooled: Tensor
) -> Mapping[Variant, NormalBeliefs]:
    """Beliefs from mean and variance of members, then of the others, each (n, c)."""
    low, high = ranges(values)

    def beliefs(mean_in: Tensor, variance_in: Tensor, mean_out: Tensor, variance_out: Tensor) -> NormalBeliefs:
        return NormalBeliefs(
            mean_in=mean_in,
            deviation_in=deviations(variance_in, values, pooled),
            mean_out=mean_out,
            deviation_out=deviations(variance_out, values, pooled),
            low=low,
            high=high,
        )

    mean = (shrunken[1] + shrunken[3]) / 2
    return {
        "equal": beliefs(shrunken[0], mean, shrunken[2], mean),
        "unequal": beliefs(*shrunken),
        "raw": beliefs(*raw),
    }


def _stacked(columns: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return tuple(torch.stack(parts, 1) for parts in zip(*columns, strict=True))


def _column(moments: Moments, j: int) -> Moments:
    return Moments(count=moments.count[:, j], mean=moments.mean[:, j], squares=moments.squares[:, j])


def _has_pool(references: References) -> bool:
    """Whether some sample beyond those scored has a member's and a non-member's values."""
    if references.scored is None:
        return False
    pool = references.inside[:, references.scored :]
    return bool((pool.any(0) & ~pool.all(0)).any())


def _auc(scores: Tensor, inside: Tensor) -> float:
    """Chance that a member scores above a non-member, ties by halves."""
    ranks = rankdata(scores.numpy())
    members = int(inside.sum())
    return float((ranks[inside.numpy()].sum() - members * (members + 1) / 2) / (members * (len(ranks) - members)))

"""LiRA: how much likelier a sample's value is on models trained on it than on models that were not."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self, get_args

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.calibrations.base import Calibration, HeldOut, References, held_out_scores, scalars
from hardlabel.calibrations.normals import (
    Moments,
    NormalBeliefs,
    completed,
    deviations,
    first_known,
    ranges,
    scored,
)
from hardlabel.checks import InvalidInput

Variance = Literal["sample", "side", "shared", "authors"]
NEIGHBOURS = 100  # From whose difference a missing side is estimated.


@dataclass(frozen=True, kw_only=True)
class LikelihoodRatio:
    """Scores a sample by normal distributions fitted to its own values on reference models.

    Values (n, d) become scores (n,), in nats.

    Online: log N(f; in) - log N(f; out), added over the scalars of the signal. Offline: -log P(N(out) > f), only from
    the models not trained on the sample. For one scalar this orders samples like the paper's 1 - P, and keeps its
    digits where 1 - P rounds to 1. Several scalars are added (Fisher's method).

    `variance` says whose spread over models is taken:
    - "sample": each sample's own, separate for members and non-members; unbiased (divided by n - 1). A sample with
      fewer than two values takes that of "side".
    - "side": one for all samples, separate for members and non-members: the mean variance within samples.
    - "shared": one for all samples and both sides. Offline, where members are unknown, the same as "side".
    - "authors": as the published code does for few models (tensorflow/privacy, research/mi_lira_2021, plot.py, with
      fix_variance): medians in place of means, and the deviation of all members' values of all samples together, the
      spread between samples included, for both sides. Its offline score is minus the density and thus counts values
      far below like values far above; ours stays the one-sided test of the paper.

    Deviations from the paper: a standard deviation is at least 1 % of the typical one. Several scalars count as
    independent, where the paper fits one normal distribution with covariances. An interval counts by its probability,
    .98 normal + .02 uniform (offline by its middle). A sample with references on one side only gets the other side's
    mean from the 100 samples nearest in the known mean, or from its rank where no sample has both. Offline, a sample
    without a value of a non-member gets the mean and the spread of all samples, and an unknown value (NaN) counts like
    the mean.

    Attributes:
        online: Whether members' values on references are used.
        variance: "sample", "side", "shared" or "authors", see above.

    References:
        Carlini et al. (2022), section IV and algorithm 1.

    Raises:
        InvalidInput: `variance` is none of the four.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.ratio import LikelihoodRatio
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])  # Two models, two samples, one number each.
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> references = References(values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64))
        >>> fitted = LikelihoodRatio().fit(references, seed=0)
        >>> scores = fitted.score(torch.tensor([[3.0], [0.0]]), references.labels)
        >>> bool(scores[0] > scores[1])  # The target is like the model that was trained on the first sample.
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    online: bool = True
    variance: Variance = "side"

    def __post_init__(self) -> None:
        checks.one_of(get_args(Variance), variance=self.variance)

    def __str__(self) -> str:
        variance = {
            "sample": "each sample's own variance",
            "side": "one variance per side",
            "shared": "one variance",
            "authors": "medians and the variance of the authors' code",
        }[self.variance]
        return f"{'likelihood ratio' if self.online else 'tail among non-members'} per sample, {variance}"

    def fit(self, references: References | None, *, seed: int) -> "FittedRatio":
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, altogether or on a side that is needed.
        """
        values, inside = scored(references, online=self.online, purpose="a likelihood ratio")
        assert references is not None
        known = references
        members, others = Moments.of(values, inside), Moments.of(values, ~inside)
        if self.online:
            beliefs = self._beliefs(values, inside, members, others)
            return FittedRatio.believing(beliefs, known, settled=self, seed=seed)
        mean, deviation = self._tail(values, ~inside, others)
        return FittedRatio(
            beliefs=None,
            mean=mean,
            deviation=deviation,
            censored=known.censored,
            settled=self,
            held_out=lambda: held_out_scores(self, known, seed=seed),
        )

    def _beliefs(self, values: Tensor, inside: Tensor, members: Moments, others: Moments) -> NormalBeliefs:
        spread_in, spread_out = side_variances(members, others)
        if self.variance == "authors":
            spread_in = spread_out = _variance_of_all(values, inside)
            members, others = _about_medians(values, inside, members), _about_medians(values, ~inside, others)
        elif self.variance == "shared":
            freedom_in, freedom_out = members.freedom.sum(0), others.freedom.sum(0)
            both = (members.squares.sum(0) + others.squares.sum(0)) / (freedom_in + freedom_out)
            spread_in = spread_out = first_known(both, (spread_in + spread_out) / 2)
        variance_in, variance_out = spread_in.expand_as(members.mean), spread_out.expand_as(others.mean)
        if self.variance == "sample":
            variance_in = first_known(members.variance, variance_in)
            variance_out = first_known(others.variance, variance_out)
        mean_in, mean_out = completed(members, others, count=NEIGHBOURS)
        low, high = ranges(values)
        return NormalBeliefs(
            mean_in=mean_in,
            deviation_in=deviations(variance_in, values, (spread_in + spread_out) / 2),
            mean_out=mean_out,
            deviation_out=deviations(variance_out, values, (spread_in + spread_out) / 2),
            low=low,
            high=high,
        )

    def _tail(self, values: Tensor, outside: Tensor, others: Moments) -> tuple[Tensor, Tensor]:
        values = torch.where(outside[:, :, None], values, torch.nan)  # Members' values stay unread.
        among = others.mean - others.mean.nanmean(0)
        spread = first_known(others.pooled, among.square().nanmean(0) / 2)
        if self.variance == "authors":
            spread = _variance_of_all(values, outside)
            others = _about_medians(values, outside, others)
        variance = first_known(others.variance, spread) if self.variance == "sample" else spread
        everyone = spread + among.square().nanmean(0)
        unseen = others.count == 0
        return (
            torch.where(unseen, others.mean.nanmean(0), others.mean),
            deviations(torch.where(unseen, everyone, variance), values, spread),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedRatio(HeldOut):
    """See `Fitted`: a log likelihood ratio, or, where nothing is believed of members, the tail among non-members.

    Attributes:
        beliefs: What is expected of each sample's scalars, member or not; None for the tail.
        mean: Mean over models not trained on the sample, (n, c).
        deviation: Its deviation.
        censored: Whether values come in pairs of edges.
        settled: The calibration with its choices made, for fits on fewer references.
    """

    beliefs: NormalBeliefs | None
    mean: Tensor
    deviation: Tensor
    censored: bool
    settled: Calibration

    @classmethod
    def believing(cls, beliefs: NormalBeliefs, references: References, *, settled: Calibration, seed: int) -> Self:
        """The ratio by beliefs that `settled` learned from references."""
        return cls(
            beliefs=beliefs,
            mean=beliefs.mean_out,
            deviation=beliefs.deviation_out,
            censored=references.censored,
            settled=settled,
            held_out=lambda: held_out_scores(settled, references, seed=seed),
        )

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        del labels
        if self.beliefs is not None:
            return self.beliefs.log_ratio(values, censored=self.censored)
        found = scalars(values, censored=self.censored)
        if found.shape != self.mean.shape:
            raise InvalidInput(
                f"values must hold {tuple(self.mean.shape)} scalars like the references', got {tuple(found.shape)}"
            )
        # Minus the log of the upper tail, which keeps its digits where members lie.
        tail: Tensor = torch.special.log_ndtr(((self.mean - found) / self.deviation).nan_to_num(0.0))
        return -tail.sum(1)


def side_variances(members: Moments, others: Moments) -> tuple[Tensor, Tensor]:
    """The variance within samples that members share, (c,), and that of the others.

    Where no sample has two values on a side, the other side's; on either side, half of the variance between samples.
    """
    among = [(side.mean - side.mean.nanmean(0)).square().nanmean(0) / 2 for side in (members, others)]
    between = torch.stack(among).nanmean(0)
    return (
        first_known(members.pooled, others.pooled, between),
        first_known(others.pooled, members.pooled, between),
    )


def _variance_of_all(values: Tensor, chosen: Tensor) -> Tensor:
    of = torch.where(chosen[:, :, None], values, torch.nan).flatten(0, 1)
    return (of - of.nanmean(0)).square().nanmean(0)


def _about_medians(values: Tensor, chosen: Tensor, moments: Moments) -> Moments:
    known = chosen[:, :, None] & ~values.isnan()
    ordered = torch.where(known, values, torch.inf).sort(0).values
    count = moments.count.long()
    lower = ordered.gather(0, ((count - 1).clamp_min(0) // 2)[None])[0]
    upper = ordered.gather(0, (count // 2).clamp_max(len(values) - 1)[None])[0]
    median = torch.where(count > 0, (lower + upper) / 2, torch.nan)
    return Moments(count=moments.count, mean=median, squares=moments.squares)

"""RMIA: is the target surer of a sample, for what one expects of it, than of other points?"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from hardlabel import checks
from hardlabel.calibrations.base import HeldOut, References, held_out_scores, scalars
from hardlabel.calibrations.normals import Moments, first_known, has_sides, scored
from hardlabel.checks import InvalidInput

SLOPE = 1.814  # pi / sqrt 3: the logistic function of SLOPE * z is nearly the normal distribution function of z.
TIE = 1e-9  # Height of the term that orders ratios which beat equally many points.


@dataclass(frozen=True, kw_only=True)
class RMIA:
    """Scores a sample by the share of population points whose ratio is below its own, (n,) in [0, 1] up to 1e-9.

    A sample's ratio is p(x) / Pr(x): the probability that the target gives it, divided by the probability to expect.
    Online, Pr(x) is the mean of p over reference models trained on x and over the others, both sides with the same
    weight. Offline it is ((1 + a) p_out + 1 - a) / 2. A sample with references on one side only gets the other side's
    mean by the ratio of both sides' means over all samples. Log ratios of several scalars are added.

    p is the logistic function of the value where values are logit confidences (`logits`), which is exact. Other scalars
    have no scale of probabilities. They are first standardised to mean 0 and deviation 1 over all references' values,
    then stretched by 1.814, so that p is about the share of those values below the scalar.

    Population points z are the references' own samples, on models that were not trained on them. Each of these models
    is scored by the others, without its partner. So no query is spent on z, and a score does not depend on the other
    samples scored. Deviation: in the paper, ratios of z are the target's own. Points beaten are counted at gamma = 1,
    equal points count one half, and a tiny term orders ratios between which no point lies. Hence scores are in the
    order of the ratios, and their AUC is that of the ratios. Where no reference can play target, that term alone is
    left.

    Attributes:
        online: Whether models trained on the samples scored are used.
        a: Offline, how p_in is guessed from p_out: a p_out + 1 - a; in [0, 1].
        logits: Whether values are logit confidences.

    References:
        Zarifzadeh et al. (2024), section 3; the offline form as in the authors' privacy meter.

    Raises:
        InvalidInput: `a` is not in [0, 1].

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.base import References
        >>> from hardlabel.calibrations.rmia import RMIA
        >>> values = torch.tensor([[[3.0], [0.0]], [[1.0], [2.0]]])  # Two models, two samples, one number each.
        >>> inside = torch.tensor([[True, False], [False, True]])
        >>> references = References(values=values, inside=inside, labels=torch.zeros(2, dtype=torch.int64))
        >>> fitted = RMIA(logits=True).fit(references, seed=0)
        >>> scores = fitted.score(torch.tensor([[3.0], [0.0]]), references.labels)
        >>> bool(scores[0] > scores[1])  # The target is like the model that was trained on the first sample.
        True
    """

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True
    online: bool = True
    a: float = 0.3
    logits: bool = False

    def __post_init__(self) -> None:
        checks.probability(a=self.a)

    def __str__(self) -> str:
        return f"pairwise ratio, {'online' if self.online else f'offline with a = {self.a:g}'}"

    def fit(self, references: References | None, *, seed: int) -> "FittedRMIA":
        """See `Calibration`.

        Raises:
            InvalidInput: References are missing, altogether or on a side that is needed.
        """
        expected = _Expected.of(self, references)
        assert references is not None
        known = references
        return FittedRMIA(
            expected=expected,
            population=self._population(known),
            held_out=lambda: held_out_scores(self, known, seed=seed),
        )

    def _population(self, references: References) -> Tensor:
        """Log ratios of all samples on models not trained on them, sorted (m,)."""
        found = []
        for model, values in enumerate(references.values):
            rest = references.without(model)
            if rest is None or not has_sides(rest, online=self.online):
                continue
            out = ~references.inside[model, : references.scored].cpu()
            found.append(_Expected.of(self, rest).log_ratio(values[: references.scored])[out])
        return torch.cat(found).sort().values if found else torch.empty(0, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedRMIA(HeldOut):
    """See `Fitted`.

    Attributes:
        expected: What to expect of each sample.
        population: Sorted log ratios of points outside (m,).
    """

    expected: "_Expected"
    population: Tensor

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        del labels
        ratio = self.expected.log_ratio(values)
        below, upto = (torch.searchsorted(self.population, ratio, right=right).double() for right in (False, True))
        return (below + upto) / (2 * max(1, len(self.population))) + TIE * ratio / (1 + ratio.abs())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Expected:
    """Log of what to expect of each sample's probability, (n, c), and how values become probabilities."""

    log_expected: Tensor
    centre: Tensor
    slope: Tensor
    censored: bool

    @classmethod
    def of(cls, settings: RMIA, references: References | None) -> "_Expected":
        values, inside = scored(references, online=settings.online, purpose="a pairwise ratio")
        assert references is not None
        read = values
        if not settings.online:
            read = torch.where(inside[:, :, None], torch.nan, values)
        centre, slope = _line(read.flatten(0, 1), logits=settings.logits)
        probabilities = (slope * (values - centre)).sigmoid()
        others = Moments.of(probabilities, ~inside).mean
        if settings.online:
            members = Moments.of(probabilities, inside).mean
            scale = members.nanmean(0) / others.nanmean(0)
            expected = (first_known(members, others * scale) + first_known(others, members / scale)) / 2
        else:
            expected = ((1 + settings.a) * others + 1 - settings.a) / 2
        return cls(
            log_expected=first_known(expected, expected.nanmean(0).expand_as(expected)).log(),
            centre=centre,
            slope=slope,
            censored=references.censored,
        )

    def log_ratio(self, values: Tensor) -> Tensor:
        """Log ratios of the samples' values (n, d), added over scalars; (n,). NaN values add 0."""
        found = scalars(values, censored=self.censored)
        wanted = self.log_expected.shape
        if found.shape != wanted:
            raise InvalidInput(f"values must hold {tuple(wanted)} scalars, got {tuple(found.shape)}")
        return (logsigmoid(self.slope * (found - self.centre)) - self.log_expected).nan_to_num(0.0).sum(1)


def _line(values: Tensor, *, logits: bool) -> tuple[Tensor, Tensor]:
    """Centre and slope (c,) of the line that leads to log odds."""
    if logits:
        return torch.zeros_like(values[0]), torch.ones_like(values[0])
    centre = values.nanmean(0)
    deviation = (values - centre).square().nanmean(0).sqrt()
    return centre, SLOPE / torch.where(deviation > 0, deviation, 1.0)

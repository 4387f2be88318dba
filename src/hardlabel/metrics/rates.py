"""Figures at one threshold, each with an interval: rates, balanced accuracy, advantage, precision.

All intervals at a given threshold are built from two Wilson intervals, of TPR and of FPR, which are
independent because members and non-members are different samples.
"""

from dataclasses import dataclass
from math import inf, isnan, sqrt

import numpy as np
from scipy.special import ndtri

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.roc import Counts, Floats, Mask, Scores, best_threshold, tally
from hardlabel.randomness import numpy_generator

CONFIDENCE = 0.95  # Of every interval, unless the caller asks otherwise.
FALSE_ALARMS = 10  # Expected at an FPR, at least, for the sample to resolve it.
CELLS_IN_MEMORY = 2**22  # Most resampled counts held at once: 32 MiB.
Interval = tuple[float, float, float]  # A figure between its interval's ends.


@dataclass(frozen=True, kw_only=True)
class ThresholdFigures:
    """An attack that calls every sample a member whose score is at least a given threshold.

    Attributes:
        tpr: Share of members called, in [0, 1].
        fpr: Share of non-members called, in [0, 1].
        balanced_accuracy: (tpr + 1 - fpr) / 2, in [0, 1].
        advantage: tpr - fpr, in [-1, 1].
        precision: Share of members among those called, in this sample; its note says where the groups'
            sizes differ, since it depends on them.
        precision_at_prior: The same if the share of members among those asked about were the prior.

    Example:
        >>> import numpy as np
        >>> from hardlabel.metrics.intervals import at_threshold
        >>> member = np.arange(400) % 2 == 0
        >>> scores = np.where(member, np.arange(400) % 20 < 16, np.arange(400) % 20 < 3)  # Calls 80 % and 10 %.
        >>> figures = at_threshold(scores, member, 0.5, prior=0.01)
        >>> round(figures.balanced_accuracy.value, 2), round(figures.precision_at_prior.value, 3)
        (0.85, 0.075)
    """

    tpr: Estimate
    fpr: Estimate
    balanced_accuracy: Estimate
    advantage: Estimate
    precision: Estimate
    precision_at_prior: Estimate


def at_threshold(
    scores: Scores, member: Mask, threshold: float, *, prior: float, confidence: float = CONFIDENCE
) -> ThresholdFigures:
    """What calling "member" at `threshold` or above achieves; the threshold must come from elsewhere.

    Balanced accuracy and advantage: Newcombe (1998), "Interval estimation for the difference between
    independent proportions", Statistics in Medicine 17, method 10. Precision: see `precision`.

    Args:
        scores: Membership scores (n,).
        member: Whether each sample is a member, (n,) bool.
        threshold: Where "member" begins; infinities are legal.
        prior: Share of members among those asked about, strictly between 0 and 1.
        confidence: Of each interval, strictly between 0 and 1.

    Raises:
        InvalidInput: `threshold` is NaN, `prior` or `confidence` out of range, or see `roc.tally`.

    Example:
        >>> import numpy as np
        >>> from hardlabel.metrics.intervals import at_threshold
        >>> member = np.arange(400) % 2 == 0
        >>> scores = np.where(member, np.arange(400) % 20 < 16, np.arange(400) % 20 < 3)  # Calls 80 % and 10 %.
        >>> advantage = at_threshold(scores, member, 0.5, prior=0.01).advantage
        >>> round(advantage.value, 2), round(advantage.low, 2), round(advantage.high, 2)
        (0.7, 0.62, 0.76)
    """
    checks.open_fraction(prior=prior, confidence=confidence)
    if isnan(threshold):
        raise InvalidInput("threshold must be a number, got NaN")
    counted = tally(scores, member)
    n1, n0 = counted.sizes
    called = counted.values >= threshold
    hits, alarms = int(counted.members[called].sum()), int(counted.nonmembers[called].sum())
    tpr, fpr = _wilson(hits, n1, confidence), _wilson(alarms, n0, confidence)
    low, advantage, high = _difference(tpr, fpr)
    share = n1 / (n1 + n0)
    note = "" if n1 == n0 else f"depends on the share of members in this sample, {share:.1%}"
    return ThresholdFigures(
        tpr=_estimate(tpr),
        fpr=_estimate(fpr),
        balanced_accuracy=Estimate((1 + advantage) / 2, (1 + low) / 2, (1 + high) / 2),
        advantage=Estimate(advantage, low, high),
        precision=_precision(tpr, fpr, share, note),
        precision_at_prior=_precision(tpr, fpr, prior, ""),
    )


def best_balanced_accuracy(
    scores: Scores, member: Mask, *, seed: int, resamples: int = 1000, confidence: float = CONFIDENCE
) -> Estimate:
    """Balanced accuracy at the threshold that suits these very samples best: an upper bound.

    The value is optimistic, as the threshold is chosen and judged on the same samples: it lies above .5 even
    for an attack that knows nothing. The interval is honest about the best threshold of the populations,
    which is .5 or more. Its lower end allows for the choice: the value minus what, in a stratified bootstrap,
    the luckiest threshold of each resample gains over its true figure. Its upper end is that of the chosen
    threshold seen as given, since choosing can only flatter. (The plain percentile bootstrap is no use here:
    a resample's best threshold is flattered twice, and on an attack that knows nothing it nearly never
    covers .5.)

    Args:
        scores: Membership scores (n,).
        member: Whether each sample is a member, (n,) bool.
        seed: Fixes the bootstrap.
        resamples: Draws of the bootstrap, 1 or more.
        confidence: Of the interval, strictly between 0 and 1.

    Raises:
        InvalidInput: `resamples` or `confidence` is out of range, or see `roc.tally`.

    Example:
        >>> import numpy as np
        >>> from hardlabel.metrics.intervals import best_balanced_accuracy
        >>> member = np.arange(400) % 2 == 0
        >>> scores = np.where(member, np.arange(400) % 20 < 16, np.arange(400) % 20 < 3)  # Calls 80 % and 10 %.
        >>> best = best_balanced_accuracy(scores, member, seed=0, resamples=100)
        >>> round(best.value, 2), best.note
        (0.85, 'chosen on these very samples: an upper bound')
    """
    checks.at_least(1, resamples=resamples)
    chosen = at_threshold(scores, member, best_threshold(scores, member), prior=0.5, confidence=confidence)
    value, high = chosen.balanced_accuracy.value, chosen.balanced_accuracy.high
    assert value is not None
    counted = tally(scores, member)
    rng = numpy_generator(seed, "best balanced accuracy")
    truth = _shares(counted.members) - _shares(counted.nonmembers)
    block = max(1, CELLS_IN_MEMORY // max(len(truth), *counted.sizes))
    gains = []
    for start in range(0, resamples, block):
        draws = min(block, resamples - start)
        drawn = _resampled(counted.members, draws, rng) - _resampled(counted.nonmembers, draws, rng)
        gains.append((drawn - truth).max(axis=1) / 2)
    luck = float(np.quantile(np.concatenate(gains), (1 + confidence) / 2))
    return Estimate(value, max(0.5, value - luck), high, "chosen on these very samples: an upper bound")


def rate_interval(hits: int, of: int, *, confidence: float = CONFIDENCE) -> Estimate:
    """The rate `hits / of`, in [0, 1], with Wilson's score interval.

    Wilson's and not Clopper-Pearson's: it covers what it promises on average over rates, where the other
    covers more and is wider, and it combines into intervals of differences and ratios. It is never empty,
    also at rates of 0 and 1. Wilson (1927), Journal of the American Statistical Association 22.

    Raises:
        InvalidInput: `of` is below 1, `hits` not between 0 and `of`, or `confidence` out of range.

    Example:
        >>> from hardlabel.metrics.intervals import rate_interval
        >>> rate = rate_interval(9, 10)
        >>> rate.value, round(rate.low, 2), round(rate.high, 2)
        (0.9, 0.6, 0.98)
    """
    checks.open_fraction(confidence=confidence)
    checks.at_least(1, of=of)
    if not 0 <= hits <= of:
        raise InvalidInput(f"hits must lie between 0 and of = {of}, got {hits}")
    return _estimate(_wilson(hits, of, confidence))


def precision(tpr: float, fpr: float, prior: float) -> float:
    """Probability that someone called a member is one: prior * tpr / (prior * tpr + (1 - prior) * fpr).

    Undefined, and NaN, where both rates are 0.
    """
    right, wrong = prior * tpr, (1 - prior) * fpr
    return right / (right + wrong) if right + wrong > 0 else float("nan")


def two_sided(confidence: float) -> float:
    """How many standard errors a two-sided normal interval reaches to each side."""
    return float(ndtri((1 + confidence) / 2))


def _shares(counts: Counts) -> Floats:
    """Share of a group called at each corner but the first, from counts (..., k) per distinct score."""
    shares: Floats = np.cumsum(counts, axis=-1) / counts.sum(axis=-1, keepdims=True)
    return shares


def _resampled(counts: Counts, draws: int, rng: np.random.Generator) -> Floats:
    """`_shares` of a group drawn anew from itself, with replacement, (draws, k)."""
    size, kinds = int(counts.sum()), len(counts)
    drawn = np.repeat(np.arange(kinds), counts)[rng.integers(0, size, (draws, size))]
    cells = drawn + kinds * np.arange(draws)[:, None]
    return _shares(np.bincount(cells.ravel(), minlength=draws * kinds).reshape(draws, kinds))


def _wilson(hits: int, of: int, confidence: float) -> Interval:
    z2 = two_sided(confidence) ** 2
    rate = hits / of
    centre = (hits + z2 / 2) / (of + z2)
    reach = sqrt(z2 * (rate * (1 - rate) + z2 / (4 * of)) / of) / (1 + z2 / of)
    # At the extremes one end is the rate itself; rounding must not say otherwise.
    low = 0.0 if hits == 0 else max(0.0, centre - reach)
    high = 1.0 if hits == of else min(1.0, centre + reach)
    return low, rate, high


def _difference(first: Interval, second: Interval) -> Interval:
    """first - second by the method of variance estimates recovery (MOVER)."""
    (low1, rate1, high1), (low2, rate2, high2) = first, second
    value = rate1 - rate2
    low = value - sqrt((rate1 - low1) ** 2 + (high2 - rate2) ** 2)
    high = value + sqrt((high1 - rate1) ** 2 + (rate2 - low2) ** 2)
    return max(-1.0, low), value, min(1.0, high)


def _precision(tpr: Interval, fpr: Interval, prior: float, note: str) -> Estimate:
    """Precision falls as FPR / TPR rises, so the ratio's interval becomes its own, turned round.

    The ratio's interval is MOVER's: Donner and Zou (2012), "Closed-form confidence intervals for functions of
    the normal mean and standard deviation", Statistical Methods in Medical Research 21.
    """
    if tpr[1] == 0 and fpr[1] == 0:
        return Estimate.undefined("no sample was called a member")
    low, high = _ratio(fpr, tpr)
    odds = (1 - prior) / prior
    return Estimate(precision(tpr[1], fpr[1], prior), 1 / (1 + odds * high), 1 / (1 + odds * low), note)


def _ratio(above: Interval, below: Interval) -> tuple[float, float]:
    """Ends of the interval of above / below, from 0 to inf; not both rates may be 0."""
    (low1, rate1, high1), (low2, rate2, high2) = above, below
    product = rate1 * rate2
    small, wide = low1 * (2 * rate1 - low1), high2 * (2 * rate2 - high2)
    large, narrow = high1 * (2 * rate1 - high1), low2 * (2 * rate2 - low2)
    # Written so that nothing is divided by 0 where a rate is 0, and roots of rounding errors are 0.
    low = 0.0 if small == 0 else small / (product + sqrt(max(0.0, product**2 - small * wide)))
    high = inf if narrow == 0 else (product + sqrt(max(0.0, product**2 - large * narrow))) / narrow
    return low, high


def _estimate(interval: Interval) -> Estimate:
    low, value, high = interval
    return Estimate(value, low, high)

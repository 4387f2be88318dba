"""Bounds on the TPR at an FPR that hold however scores tie.

Where many samples share a score, the TPR jumps: a population whose corner lies close to the tolerated rate is seen on
the wrong side of it in half of the samples. A bootstrap's interval alone then misses when the counts of both groups
err moderately together: to one side in up to 14 % of samples instead of 2.5 % (studies/GATE.md). These bounds look at
every corner that the truth may have; `intervals.tpr_at_fpr` is never narrower where scores tie.
"""

from functools import lru_cache
from math import exp

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, bdtrc, ndtr, ndtri

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.rates import CONFIDENCE, FALSE_ALARMS
from hardlabel.metrics.roc import Floats, Mask, Scores, Tally, tally


def tpr_bounds(
    scores: Scores, member: Mask, fpr: float, *, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """A lower and an upper bound on the largest TPR at an FPR of at most `fpr`.

    Each bound is wrong with a chance of at most 1 - `confidence`, for any population, and with less than half of that
    where scores do not tie. A value of the TPR is excluded if no corner of the sample may be the population's: the
    false alarms there, and the members found, are tested together, by the sum of the squares of their normal
    deviates.

    Args:
        scores: Membership scores (n,).
        member: Whether each sample is a member, (n,) bool.
        fpr: Tolerated false-positive rate, strictly between 0 and 1.
        confidence: Of each bound, strictly between 0.5 and 1.

    Returns:
        The bounds; None if the sample does not resolve `fpr`.

    Raises:
        InvalidInput: `fpr` or `confidence` is out of range, or see `roc.tally`.

    Example:
        >>> import numpy as np
        >>> from hardlabel.metrics.tied import tpr_bounds
        >>> member = np.arange(400) < 200
        >>> low, high = tpr_bounds(np.where(member, np.arange(400) % 2, 0.0), member, 0.1)
        >>> low < 0.5 < high
        True
    """
    checks.open_fraction(fpr=fpr, confidence=confidence)
    if confidence <= 0.5:
        raise InvalidInput(f"confidence must lie above 0.5, got {confidence}")
    return bounds_of(tally(scores, member), fpr, confidence=confidence)


def bounds_of(counted: Tally, fpr: float, *, confidence: float) -> tuple[float, float] | None:
    """The same from counts that were made already."""
    n1, n0 = counted.sizes
    if FALSE_ALARMS / n0 > fpr:
        return None
    hits, alarms = (np.asarray(counts, dtype=np.float64) for counts in counted.called)
    # The population's threshold has at most `fpr` false alarms, the next lower one more: it may lie between two scores
    # of the sample, so that the next corner's alarms are the most that it may have had.
    after = np.append(alarms[1:], n0)
    many = np.maximum(0.0, -ndtri(bdtrc(alarms - 1, n0, fpr)))  # A binomial count's chances.
    few = np.maximum(0.0, -ndtri(bdtr(after, n0, fpr)))
    reach = _reach(1 - confidence)
    return float(_wilson(hits, n1, reach, few, -1).min()), float(_wilson(hits, n1, reach, many, 1).max())


@lru_cache(maxsize=100)
def _reach(chance: float) -> float:
    """The radius of a quarter of a circle, with half-planes beside it, that two normal deviates leave so often."""
    found: float = brentq(lambda radius: exp(-(radius**2) / 2) / 4 + ndtr(-radius) - chance, 0.0, 40.0)
    return found


def _wilson(hits: Floats, of: int, reach: float, spent: Floats, side: int) -> Floats:
    """Wilson's bounds on the rates `hits / of`, with what `spent` leaves of the reach, where it leaves anything."""
    possible = spent < reach
    rate, z2 = hits[possible] / of, reach**2 - spent[possible] ** 2
    centre = (rate + z2 / (2 * of)) / (1 + z2 / of)
    bounds: Floats = centre + side * np.sqrt(z2 * (rate * (1 - rate) + z2 / (4 * of)) / of) / (1 + z2 / of)
    return bounds.clip(0.0, 1.0)

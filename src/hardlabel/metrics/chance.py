"""How likely a figure is by chance alone, and which of several figures are proven together."""

from collections.abc import Hashable, Mapping
from math import isclose, sqrt
from typing import TypeVar

from scipy.special import logit
from scipy.stats import binomtest, fisher_exact, norm

from hardlabel import checks
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.rates import CONFIDENCE, two_sided

H = TypeVar("H", bound=Hashable)
EXACT = 1e-9  # Rounding of a chance.


def chance_above(estimate: Estimate, null: float, *, confidence: float = CONFIDENCE) -> float:
    """The p-value of "the figure is at most `null`", one-sided, from the lower reach of the figure's interval.

    The interval is read as normal on the logit scale, on which the intervals of AUCs are made. Where the lower end is
    `null`, the p-value is (1 - confidence) / 2. A figure of 1 has no logit; there the distance to 1 shrinks with the
    square of the normal deviate, as in Newcombe's interval and Jeffreys'.

    Args:
        estimate: A figure in [0, 1].
        null: A value strictly between 0 and 1.
        confidence: Of the estimate's interval, strictly between 0 and 1.

    Returns:
        A p-value; 1 for a figure without an interval, since it proves nothing.

    Raises:
        InvalidInput: `null` or `confidence` is out of range.

    Example:
        >>> from hardlabel.metrics.chance import chance_above
        >>> from hardlabel.metrics.estimate import Estimate
        >>> round(chance_above(Estimate(0.6, 0.5, 0.7), 0.5), 4)
        0.025
    """
    checks.open_fraction(null=null, confidence=confidence)
    value, low = estimate.value, estimate.low
    if value is None or low is None or value <= null:
        return 1.0
    z = two_sided(confidence)
    if value >= 1:
        reach = sqrt((1 - null) / (1 - low)) if low < 1 else float("inf")
    elif low <= 0:
        return 1.0
    elif isclose(value, low):
        reach = float("inf")
    else:
        reach = float((logit(value) - logit(null)) / (logit(value) - logit(low)))
    return float(norm.sf(z * reach))


def chance_below(estimate: Estimate, null: float, *, confidence: float = CONFIDENCE) -> float:
    """The p-value of "the figure is at least `null`"; see `chance_above`."""

    def turned(value: float | None) -> float | None:
        return None if value is None else 1 - value

    mirrored = Estimate(turned(estimate.value), turned(estimate.high), turned(estimate.low))
    return chance_above(mirrored, 1 - null, confidence=confidence)


def holm(chances: Mapping[H, float], level: float) -> set[H]:
    """The hypotheses that Holm's correction rejects: with probability 1 - `level` none of them is true.

    Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.

    Args:
        chances: The p-value of each hypothesis.
        level: Strictly between 0 and 1.

    Raises:
        InvalidInput: `level` is out of range.

    Example:
        >>> from hardlabel.metrics.chance import holm
        >>> sorted(holm({"a": 0.001, "b": 0.02, "c": 0.04}, 0.05))
        ['a', 'b', 'c']
        >>> sorted(holm({"a": 0.001, "b": 0.03, "c": 0.04}, 0.05))
        ['a']
    """
    checks.open_fraction(level=level)
    rejected: set[H] = set()
    for left, (hypothesis, chance) in zip(
        range(len(chances), 0, -1), sorted(chances.items(), key=lambda item: item[1]), strict=True
    ):
        if chance > level / left * (1 - EXACT):  # An interval that ends at the null holds it.
            break
        rejected.add(hypothesis)
    return rejected


def chance_fewer(hits: int, of: int, others: int, of_others: int) -> float:
    """Fisher's exact p-value of "the first share is at least the second".

    Args:
        hits: Successes among `of`, the first group.
        of: Size of the first group.
        others: Successes among `of_others`, the second group.
        of_others: Size of the second group.

    Example:
        >>> from hardlabel.metrics.chance import chance_fewer
        >>> round(chance_fewer(0, 3, 3, 3), 3)  # 1 of the 20 ways to choose 3 of 6
        0.05
    """
    return float(fisher_exact([[hits, of - hits], [others, of_others - others]], alternative="less").pvalue)


def chance_less_often(hits: int, of: int, rate: float) -> float:
    """The exact binomial p-value of "successes have at least the rate `rate`".

    Example:
        >>> from hardlabel.metrics.chance import chance_less_often
        >>> chance_less_often(0, 3, 0.5)
        0.125
    """
    return 1.0 if of == 0 else float(binomtest(hits, of, min(max(rate, 0.0), 1.0), alternative="less").pvalue)

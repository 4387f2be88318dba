"""What a Gaussian mechanism's mu says as epsilon and delta."""

from math import exp, log

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from hardlabel import checks


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The smallest epsilon, 0 or more, at which a mu-Gaussian mechanism is (epsilon, delta)-private.

    Args:
        mu: Sensitivity over standard deviation; above 0.
        delta: Strictly between 0 and 1.

    Raises:
        InvalidInput: An argument is out of range.
    """
    checks.positive(mu=mu)
    checks.open_fraction(delta=delta)

    def excess(epsilon: float) -> float:
        return _log_gaussian_delta(mu, epsilon) - log(delta)

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high))


def gaussian_delta(mu: float, epsilon: float) -> float:
    """The smallest delta at which a mu-Gaussian mechanism is (epsilon, delta)-private.

    Dong, Roth, Su (2019), https://arxiv.org/abs/1905.02383, corollary 2.13; also Balle and Wang (2018),
    https://arxiv.org/abs/1805.06530, theorem 8.

    Args:
        mu: Sensitivity over standard deviation; above 0.
        epsilon: 0 or more.

    Raises:
        InvalidInput: An argument is out of range.
    """
    checks.positive(mu=mu)
    checks.not_negative(epsilon=epsilon)
    return exp(_log_gaussian_delta(mu, epsilon))


def _log_gaussian_delta(mu: float, epsilon: float) -> float:
    above, below = log_ndtr(mu / 2 - epsilon / mu), epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    gap = -np.expm1(below - above)  # Both terms may be tiny and nearly equal: their ratio stays exact.
    return float(above + np.log(gap)) if gap > 0 else -np.inf

"""Lower bounds on epsilon from one run with many canaries, each of them inside or not by a coin of its own.

If the training is (epsilon, delta)-private, guessing coins from the model is no better than
independent guesses that are right with chance e^epsilon / (1 + e^epsilon) each, but for a term in delta.
More right guesses than that prove epsilon to be larger.

**Every canary needs an independent fair coin** (`coins`). With a split of fixed size one canary's place
tells about the others', guesses are right or wrong together, and the bound does not hold: for random halves see
`half_split_bound`.

Steinke, Nasr, Jagielski (2023), "Privacy Auditing with One (1) Training Run",
https://arxiv.org/abs/2305.08846, corollary 5.4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import bdtr, bdtrc, expit

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.metrics.roc import Mask, Scores
from hardlabel.randomness import numpy_generator

# Shares of the canaries guessed to be inside and outside. Guessing all suits randomised response, the surest few
# suit noise, and one side alone suits label-only scores: a wrong label says "outside", a right one says little.
USUAL_SHARES = ((1 / 2, 1 / 2), (1 / 8, 1 / 8), (1 / 32, 1 / 32), (1 / 8, 0.0), (0.0, 1 / 8))
TWO_SHARES = (1.0, 1 / 4, 1 / 16)  # Shares of the twos of which it is guessed which one is inside, the surest.


@dataclass(frozen=True, kw_only=True)
class OneRunBound:
    """With the stated confidence the training is not (e, delta)-private for any e below `epsilon`.

    Attributes:
        epsilon: Lower bound, 0 or more; 0 says that nothing was shown.
        delta: The delta it holds at.
        confidence: Least chance that the bound lies at or below the true epsilon.
        correct: Right guesses, of the number of guesses that proved most.
        guesses: Canaries guessed to be inside and to be outside.
        canaries: Canaries in all.
        tried: Pairs of numbers of guesses that were tried, and corrected for.
    """

    epsilon: float
    delta: float
    confidence: float
    correct: int
    guesses: tuple[int, int]
    canaries: int
    tried: int


def coins(canaries: int, *, seed: int) -> Mask:
    """Which canaries to train on: an independent fair coin for each, (canaries,) bool.

    Raises:
        InvalidInput: `canaries` is below 1.
    """
    checks.at_least(1, canaries=canaries)
    inside: Mask = numpy_generator(seed, "canary coins").random(canaries) < 0.5
    return inside


def one_run_bound(
    scores: Scores,
    inside: Mask,
    *,
    delta: float,
    seed: int,
    guesses: Sequence[tuple[int, int]] | None = None,
    confidence: float = CONFIDENCE,
) -> OneRunBound:
    """The bound from scores of all canaries: the highest score are guessed inside, the lowest outside.

    Several numbers of guesses may be tried; the error is shared among them (Bonferroni). They must be fixed
    without looking at `inside`: with delta above 0 the theorem asks for a fixed number of guesses, so that
    neither a threshold nor a choice on held-out canaries would do. Among equal scores those guessed are drawn
    at random, so label-only scores are welcome.

    Args:
        scores: One score for each canary, (m,), from one model; higher where it is likelier inside.
        inside: Whether each canary was trained on, (m,) bool, by independent fair coins.
        delta: In [0, 1).
        seed: Fixes who is drawn among equal scores.
        guesses: Pairs (guessed inside, guessed outside) to try, each of at least 1 and at most m guesses; by
            default `USUAL_SHARES` of m.
        confidence: Of the bound, strictly between 0 and 1.

    Raises:
        InvalidInput: Lengths differ, a score is NaN, `inside` is not bool, or a number is out of range.
    """
    values, truth = _checked(scores, inside)
    return _surest(values, truth, one_run_epsilon, delta=delta, seed=seed, guesses=guesses, confidence=confidence)


def half_split_bound(
    scores: Scores,
    inside: Mask,
    *,
    delta: float,
    seed: int,
    confidence: float = CONFIDENCE,
) -> OneRunBound:
    """The bound where the training set was a random half of a pool, all halves of its size equally likely.

    Samples are put together in twos, at random; canaries are the twos of which one is inside. Given which twos those
    are and where all others stand, which of the two it is are independent fair coins. Turning one adds a sample and
    removes another: of a training that is (epsilon, delta)-private for adding or removing one, the theorem is
    used at 2 epsilon and (1 + e^epsilon) delta (group privacy). What is proved is a bound on epsilon itself.

    Args:
        scores: One score for each sample of the pool, or for some of it, chosen without looking at the split, (n,),
            from one model and whatever does not depend on its half; infinities are legal.
        inside: Whether each was in the half, (n,) bool.
        delta: In [0, 1).
        seed: Fixes who is put together with whom, and who is drawn among equal scores.
        confidence: Of the bound, strictly between 0 and 1.

    Returns:
        The bound; `guesses` are all counted as guessed inside: of the surest twos, which one it is.

    Raises:
        InvalidInput: See `one_run_bound`; or no two samples put together differ in membership.
    """
    values, truth = _checked(scores, inside)
    order = numpy_generator(seed, "twos").permutation(len(truth))
    first, second = order[: len(order) // 2], order[len(order) // 2 : 2 * (len(order) // 2)]
    split = truth[first] != truth[second]
    first, second = first[split], second[split]
    if not len(first):
        raise InvalidInput("inside must hold both members and non-members in the twos drawn, got none that differ")
    finite = values[np.isfinite(values)]
    low, high = (finite.min() - 1, finite.max() + 1) if len(finite) else (-1.0, 1.0)
    values = values.clip(low, high)  # The difference of two infinities is no number.
    difference, m = values[first] - values[second], len(first)
    right = truth[first] == (difference >= 0)  # Guessed: the one that scores higher; of equals the first, which is any.
    shares = [(max(1, int(share * m)), 0) for share in TWO_SHARES]
    return _surest(
        abs(difference),
        right,
        _half_split_epsilon,
        delta=delta,
        seed=seed,
        guesses=list(dict.fromkeys(shares)),
        confidence=confidence,
    )


class _Refuted(Protocol):
    """See `one_run_epsilon`."""

    def __call__(self, correct: int, guesses: int, *, canaries: int, delta: float, confidence: float) -> float: ...


def _checked(scores: Scores, inside: Mask) -> tuple[NDArray[np.float64], Mask]:
    checks.same_length(scores=scores, inside=inside)
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(inside)
    if truth.ndim != 1 or values.ndim != 1 or truth.dtype != np.bool_:
        raise InvalidInput(f"inside must be one-dimensional bool, got {truth.dtype} {truth.shape}")
    if np.isnan(values).any():
        raise InvalidInput(f"scores must not be NaN, got NaN at position {int(np.isnan(values).argmax())}")
    return values, truth


def _surest(
    values: NDArray[np.float64],
    truth: Mask,
    refuted: _Refuted,
    *,
    delta: float,
    seed: int,
    guesses: Sequence[tuple[int, int]] | None,
    confidence: float,
) -> OneRunBound:
    """The best of several numbers of guesses, corrected for their number."""
    checks.open_fraction(confidence=confidence)
    m = len(truth)
    pairs = list(_usual(m) if guesses is None else guesses)
    for up, down in pairs:
        if up < 0 or down < 0 or not 1 <= up + down <= m:
            raise InvalidInput(f"guesses must be 0 or more and together 1 to {m}, got {(up, down)}")
    if not pairs:
        raise InvalidInput("guesses must hold at least one pair, got none")
    order = np.lexsort((numpy_generator(seed, "equal scores").random(m), values))
    each = 1 - (1 - confidence) / len(pairs)
    bounds = []
    for up, down in pairs:
        correct = int(truth[order[m - up :]].sum()) + int((~truth[order[:down]]).sum())
        proved = refuted(correct, up + down, canaries=m, delta=delta, confidence=each)
        bounds.append((proved, correct, (up, down)))
    epsilon, correct, best = max(bounds, key=lambda bound: bound[0])
    return OneRunBound(
        epsilon=epsilon,
        delta=delta,
        confidence=confidence,
        correct=correct,
        guesses=best,
        canaries=m,
        tried=len(pairs),
    )


def one_run_epsilon(
    correct: int, guesses: int, *, canaries: int, delta: float, confidence: float = CONFIDENCE
) -> float:
    """The smallest epsilon, 0 or more, that `correct` right guesses do not refute.

    Args:
        correct: Right guesses.
        guesses: Canaries guessed about; the rest was abstained from. Must be fixed beforehand where delta is
            above 0.
        canaries: Canaries that had a coin.
        delta: In [0, 1).
        confidence: Of the bound, strictly between 0 and 1.

    Raises:
        InvalidInput: Not 0 <= correct <= guesses <= canaries, or another number is out of range.
    """
    return _smallest(
        lambda epsilon: one_run_p_value(correct, guesses, canaries=canaries, epsilon=epsilon, delta=delta), confidence
    )


def _half_split_epsilon(correct: int, guesses: int, *, canaries: int, delta: float, confidence: float) -> float:
    """The smallest epsilon for one sample not refuted where a coin turns two; see `half_split_bound`."""

    def p_value(epsilon: float) -> float:
        of_two = min((1 + np.exp(min(epsilon, 700.0))) * delta, 1.0)
        if of_two >= 1:
            return 1.0  # A failure that is sure explains everything.
        return one_run_p_value(correct, guesses, canaries=canaries, epsilon=2 * epsilon, delta=of_two)

    return _smallest(p_value, confidence)


def _smallest(p_value: Callable[[float], float], confidence: float) -> float:
    """The smallest epsilon, 0 or more, whose p-value, which rises with it, is not below 1 - confidence."""
    checks.open_fraction(confidence=confidence)

    def excess(epsilon: float) -> float:
        return p_value(epsilon) - (1 - confidence)

    if excess(0.0) >= 0:
        return 0.0
    high = 1.0
    while excess(high) < 0:
        high *= 2
    return float(brentq(excess, 0.0, high))


def one_run_p_value(correct: int, guesses: int, *, canaries: int, epsilon: float, delta: float) -> float:
    """Upper bound on the chance of so many right guesses or more if the training is (epsilon, delta)-private.

    With W binomial over `guesses` with chance e^epsilon / (1 + e^epsilon), v right guesses and m canaries:
    P(W >= v) + 2 m delta max over i of P(v > W >= v - i) / i.

    Raises:
        InvalidInput: Not 0 <= correct <= guesses <= canaries, or epsilon or delta is out of range.
    """
    checks.at_least(1, canaries=canaries)
    checks.not_negative(epsilon=epsilon)
    if not 0 <= delta < 1:
        raise InvalidInput(f"delta must be 0 or more and below 1, got {delta}")
    if not 0 <= correct <= guesses <= canaries:
        raise InvalidInput(
            f"correct, guesses and canaries must not fall and be 0 or more, got {correct}, {guesses}, {canaries}"
        )
    if correct == 0:
        return 1.0
    chance = expit(epsilon)
    by_luck = float(bdtrc(correct - 1, guesses, chance))
    if delta == 0:
        return by_luck
    steps = np.arange(1, correct + 1)
    below = np.append(bdtr(np.arange(correct), guesses, chance), 0.0)  # P(W <= 0), ..., P(W <= v - 1), P(W <= -1).
    between = below[correct - 1] - below[correct - 1 - steps]
    return min(1.0, by_luck + 2 * canaries * delta * float((between / steps).max()))


def _usual(canaries: int) -> list[tuple[int, int]]:
    pairs = [(int(up * canaries), int(down * canaries)) for up, down in USUAL_SHARES]
    return [pair for pair in dict.fromkeys(pairs) if sum(pair)] or [(canaries, 0)]

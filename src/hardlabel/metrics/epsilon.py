"""Lower bounds on epsilon from many runs: what an attack that distinguishes this well proves about privacy.

A mechanism is (epsilon, delta)-private if every event S obeys P(S | one world) <= e^epsilon P(S | the other)
+ delta. Scores of models trained with and without a record estimate both sides for the events "score at
least t" and "score below t", so they can show an epsilon to be too small, and never that one is enough.

**Each score must come from a run of its own**: a model trained anew, with or without the canary. Scores
of many samples of one model are not independent; for them see `one_run`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.exact import greatest_rate, least_rate
from hardlabel.metrics.gaussian import gaussian_epsilon
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.metrics.roc import Counts, Floats, Mask, Scores, Tally, tally
from hardlabel.randomness import numpy_generator

Calls = Literal["members", "non-members"]


@dataclass(frozen=True, kw_only=True)
class EpsilonBound:
    """With the stated confidence the mechanism is not (e, delta)-private for any e below `epsilon`.

    Attributes:
        epsilon: Lower bound, 0 or more; 0 says that nothing was shown.
        delta: The delta it holds at.
        confidence: Least chance that the bound lies at or below the true epsilon.
        threshold: The event is a score of at least this, or below it.
        calls: Whether the event calls members (at least) or non-members (below).
        right: Runs in which it was right to call, of how many it could have been.
        wrong: Runs in which it was wrong to call, of how many it could have been.
        mu: Lower bound on the Gaussian mu, which `epsilon` was taken from; None if no Gaussian was assumed.
    """

    epsilon: float
    delta: float
    confidence: float
    threshold: float
    calls: Calls
    right: tuple[int, int]
    wrong: tuple[int, int]
    mu: float | None = None


class _Events(NamedTuple):
    """Events of one kind, one for each distinct score: how often it was right to call and how often wrong."""

    thresholds: Floats
    calls: Calls
    right: Counts
    of_right: int
    wrong: Counts
    of_wrong: int

    @property
    def counts(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(right, of), (wrong, of) of the first event."""
        return (int(self.right[0]), self.of_right), (int(self.wrong[0]), self.of_wrong)


Strength = Callable[[Floats, Floats], Floats]  # From the least rate of right calls and the greatest of wrong ones.


def epsilon_bound(
    scores: Scores,
    member: Mask,
    *,
    delta: float,
    seed: int,
    held_out: float = 0.5,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """The bound at the event that looks best on held-out runs, computed on the other runs only.

    Both rates get a one-sided Clopper-Pearson bound at half the error each, so that the whole holds with
    `confidence` whatever the mechanism: no distribution is assumed, and ties are no matter. (Both bounds are rarely
    missed at once, so that the whole errs less often than it may: in a run or two of 100 at 95 %.) Events are "score
    at least t" and "score below t" for every score t among the held-out runs; the one with the highest bound
    there is taken. Jagielski, Ullman, Oprea (2020), "Auditing Differentially Private Machine Learning",
    https://arxiv.org/abs/2006.07709, section 3; both kinds of events: Nasr et al. (2021),
    https://arxiv.org/abs/2101.04535.

    Args:
        scores: One membership score for each run, (n,), higher where the canary is likelier inside.
        member: Whether the canary was inside in each run, (n,) bool; at least two runs of each kind.
        delta: In [0, 1).
        seed: Fixes which runs are held out.
        held_out: Share of the runs of each kind that choose the event, strictly between 0 and 1.
        confidence: Of the bound, strictly between 0 and 1.

    Raises:
        InvalidInput: An argument is out of range, too few runs, or see `roc.tally`.
    """
    _check_delta(delta)
    chosen, runs = _chosen(scores, member, _pure(delta), seed=seed, held_out=held_out, confidence=confidence)
    scores, member = np.asarray(scores)[runs], np.asarray(member)[runs]
    return epsilon_at(scores, member, chosen[0], delta=delta, calls=chosen[1], confidence=confidence)


def epsilon_at(
    scores: Scores,
    member: Mask,
    threshold: float,
    *,
    delta: float,
    calls: Calls = "members",
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """The bound at one event, which must have been chosen without these runs.

    Args:
        scores: One membership score for each run, (n,).
        member: Whether the canary was inside in each run, (n,) bool.
        threshold: Members are called at this score and above, non-members below it.
        delta: In [0, 1).
        calls: Which of the two events.
        confidence: Of the bound, strictly between 0 and 1.

    Raises:
        InvalidInput: An argument is out of range, or see `roc.tally`.
    """
    _check_delta(delta)
    proved, event = _at(scores, member, threshold, _pure(delta), calls=calls, confidence=confidence)
    return EpsilonBound(
        epsilon=max(0.0, proved),
        delta=delta,
        confidence=confidence,
        threshold=threshold,
        calls=calls,
        right=event.counts[0],
        wrong=event.counts[1],
    )


def gaussian_bound(
    scores: Scores,
    member: Mask,
    *,
    delta: float,
    seed: int,
    held_out: float = 0.5,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """The bound for a mechanism whose privacy is that of a Gaussian mechanism: tighter, and valid for no other.

    A mechanism is mu-Gaussian private if telling its two worlds apart is at least as hard as telling N(0, 1)
    from N(mu, 1). One event then bounds mu by the difference of its rates' normal quantiles, and this step
    holds for any mechanism: the bound lies below the smallest mu that is true of it. Epsilon is that of a
    Gaussian mechanism with this mu. **This step assumes that the trade-off is Gaussian at delta too**: for
    randomised response, say, the result may exceed its epsilon. It suits noise added to sums, and DP-SGD
    with many steps by the central limit theorem of Dong et al.

    Nasr et al. (2023), "Tight Auditing of Differentially Private Machine Learning",
    https://arxiv.org/abs/2302.07956; Dong, Roth, Su (2019), "Gaussian Differential Privacy",
    https://arxiv.org/abs/1905.02383.

    Args:
        scores: One membership score for each run, (n,), higher where the canary is likelier inside.
        member: Whether the canary was inside in each run, (n,) bool; at least two runs of each kind.
        delta: Strictly between 0 and 1: no Gaussian mechanism is private at 0.
        seed: Fixes which runs are held out.
        held_out: Share of the runs of each kind that choose the event, strictly between 0 and 1.
        confidence: Of the bound, strictly between 0 and 1.

    Raises:
        InvalidInput: An argument is out of range, too few runs, or see `roc.tally`.
    """
    checks.open_fraction(delta=delta)
    chosen, runs = _chosen(scores, member, _separation, seed=seed, held_out=held_out, confidence=confidence)
    scores, member = np.asarray(scores)[runs], np.asarray(member)[runs]
    return gaussian_at(scores, member, chosen[0], delta=delta, calls=chosen[1], confidence=confidence)


def gaussian_at(
    scores: Scores,
    member: Mask,
    threshold: float,
    *,
    delta: float,
    calls: Calls = "members",
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """`gaussian_bound` at one event, which must have been chosen without these runs; arguments as `epsilon_at`.

    Raises:
        InvalidInput: An argument is out of range, or see `roc.tally`.
    """
    checks.open_fraction(delta=delta)
    proved, event = _at(scores, member, threshold, _separation, calls=calls, confidence=confidence)
    mu = max(0.0, proved)
    return EpsilonBound(
        epsilon=gaussian_epsilon(mu, delta) if mu else 0.0,
        delta=delta,
        confidence=confidence,
        threshold=threshold,
        calls=calls,
        right=event.counts[0],
        wrong=event.counts[1],
        mu=mu,
    )


def _pure(delta: float) -> Strength:
    """Epsilon that a pair of rates proves; below 0 where it proves nothing, -inf where delta explains it all."""

    def epsilon(right: Floats, wrong: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            strength: Floats = np.log(np.maximum(right - delta, 0)) - np.log(wrong)
        return strength

    return epsilon


def _separation(right: Floats, wrong: Floats) -> Floats:
    """Mu that a pair of rates proves; never NaN, since a lower bound is no 1 and an upper bound no 0."""
    mu: Floats = ndtri(right) - ndtri(wrong)
    return mu


def _chosen(
    scores: Scores, member: Mask, strength: Strength, *, seed: int, held_out: float, confidence: float
) -> tuple[tuple[float, Calls], Mask]:
    """The event that proves most on held-out runs, and which runs are left to prove it on."""
    checks.open_fraction(held_out=held_out, confidence=confidence)
    for kind, size in zip(("with", "without"), tally(scores, member).sizes, strict=True):
        if size < 2:
            raise InvalidInput(f"scores must hold at least 2 runs {kind} the canary, got {size}")
    left = np.ones(len(member), dtype=bool)
    rng = numpy_generator(seed, "runs that choose the event")
    for rows in (np.flatnonzero(member), np.flatnonzero(~np.asarray(member))):
        size = min(max(1, round(held_out * len(rows))), len(rows) - 1)
        left[rng.permutation(rows)[:size]] = False
    best: tuple[float, float, Calls] | None = None
    for events in _events(tally(np.asarray(scores)[~left], np.asarray(member)[~left])):
        found = _proved(events, strength, confidence)
        first = int(np.argmax(found))
        if best is None or found[first] > best[0]:
            best = float(found[first]), float(events.thresholds[first]), events.calls
    assert best is not None
    return best[1:], left


def _at(
    scores: Scores, member: Mask, threshold: float, strength: Strength, *, calls: Calls, confidence: float
) -> tuple[float, _Events]:
    """What a single event proves on these runs, and its counts."""
    checks.open_fraction(confidence=confidence)
    checks.one_of(("members", "non-members"), calls=calls)
    if isnan(threshold):
        raise InvalidInput("threshold must be a number, got NaN")
    counted = tally(scores, member)
    called = counted.values >= threshold
    n1, n0 = counted.sizes
    hits, alarms = counted.members[called].sum(keepdims=True), counted.nonmembers[called].sum(keepdims=True)
    at = np.array([threshold])
    event = _Events(at, calls, hits, n1, alarms, n0)
    if calls == "non-members":
        event = _Events(at, calls, n0 - alarms, n0, n1 - hits, n1)
    return float(_proved(event, strength, confidence)[0]), event


def _events(counted: Tally) -> tuple[_Events, _Events]:
    """Every event that the distinct scores allow, each cut midway between neighbours where both are finite."""
    n1, n0 = counted.sizes
    tp, fp = (called[1:] for called in counted.called)
    cuts, below = counted.values.copy(), counted.values[1:]
    finite = np.isfinite(cuts[:-1]) & np.isfinite(below)
    middle = np.where(finite, cuts[:-1], 0.0) / 2 + np.where(finite, below, 0.0) / 2
    cuts[:-1] = np.where(finite & (below < middle), middle, cuts[:-1])  # Neighbours may have nothing in between.
    return _Events(cuts, "members", tp, n1, fp, n0), _Events(cuts, "non-members", n0 - fp, n0, n1 - tp, n1)


def _proved(events: _Events, strength: Strength, confidence: float) -> Floats:
    """Strength of each event with both rates at their worst, each allowed half the error."""
    side = (1 + confidence) / 2
    least = least_rate(events.right, events.of_right, confidence=side)
    greatest = greatest_rate(events.wrong, events.of_wrong, confidence=side)
    return strength(least, greatest)


def _check_delta(delta: float) -> None:
    if not 0 <= delta < 1:
        raise InvalidInput(f"delta must be 0 or more and below 1, got {delta}")

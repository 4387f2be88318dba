"""Which of many points were members, and which are exposed, with a limit on the share of false findings.

Each point gets a p-value, uniform or larger if there is nothing to find: from scores of known non-members,
from models that never saw the point, or from repeated games. `discover` then picks points so that the share of
false ones among those picked is, in expectation, at most a rate (false discovery rate). If nothing is
there, it picks anybody at all with at most that chance.

What the p-values depend on decides the procedure. Benjamini-Hochberg's holds where they are independent or
positively dependent (each null one tends to rise with the others; PRDS in the sources). Benjamini-Yekutieli's
holds under any dependence and finds less.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom, false_discovery_control, hypergeom

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.exact import exact_rate
from hardlabel.metrics.roc import Counts, Floats, Mask, Scores

Dependence = Literal["positive", "any"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Discoveries:
    """Points found at a false discovery rate.

    Attributes:
        found: Who was found, (n,) bool.
        p_values: Of each point, (n,).
        adjusted: The lowest rate at which each point would be found, (n,).
        rate: The false discovery rate kept.
    """

    found: Mask
    p_values: Floats
    adjusted: Floats
    rate: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Exposed(Discoveries):
    """Points whose own advantage is above 0, found at a false discovery rate.

    Attributes:
        advantages: Of each point: TPR minus FPR over its games, with an exact interval.
        confidence: Of each interval: so high that of the intervals of the points found at most a share `rate`
            is expected to miss.
    """

    advantages: tuple[Estimate, ...]
    confidence: float


def discover(p_values: Floats, *, rate: float, dependence: Dependence = "positive") -> Discoveries:
    """Picks points so that at most a share `rate` of those picked is expected to be false.

    Benjamini and Hochberg (1995), "Controlling the false discovery rate", Journal of the Royal Statistical
    Society B 57; under dependence Benjamini and Yekutieli (2001), "The control of the false discovery rate in
    multiple testing under dependency", Annals of Statistics 29, theorems 1.2 and 1.3.

    Args:
        p_values: One for each point, (n,), in [0, 1].
        rate: False discovery rate, strictly between 0 and 1.
        dependence: "positive" also stands for independence.

    Raises:
        InvalidInput: No point, a p-value outside [0, 1], or `rate` or `dependence` is none of those.
    """
    checks.open_fraction(rate=rate)
    checks.one_of(("positive", "any"), dependence=dependence)
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not len(p):
        raise InvalidInput(f"p_values must be one-dimensional and not empty, got shape {p.shape}")
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        raise InvalidInput(f"p_values must lie in [0, 1], got {p[wrong.argmax()]} at position {wrong.argmax()}")
    adjusted = false_discovery_control(p, method="bh" if dependence == "positive" else "by")
    return Discoveries(found=adjusted <= rate, p_values=p, adjusted=adjusted, rate=rate)


def members_among(scores: Scores, nonmembers: Scores, *, rate: float) -> Discoveries:
    """Which points were members, judged against points known to be none: `conformal_p_values`, then `discover`.

    These p-values share their non-members, so they are dependent, and positively so: Bates, Candès, Lei, Romano,
    Sesia (2023), "Testing for outliers with conformal p-values", Annals of Statistics 51,
    https://arxiv.org/abs/2104.08279, theorem 2. Ties, which that theorem leaves out, do no harm: given the
    known non-members and one further non-member as a set, every p-value falls as that one's score rises.

    To find R of n points takes about n / (rate R) known non-members or more, since no p-value is lower than
    1 / (m + 1).

    Args:
        scores: Of the points in question, (n,), higher for likelier members.
        nonmembers: Scores of known non-members by the same attack on the same model, (m,).
        rate: False discovery rate, strictly between 0 and 1.

    Raises:
        InvalidInput: See `conformal_p_values`, `discover`.
    """
    return discover(conformal_p_values(scores, nonmembers), rate=rate)


def conformal_p_values(scores: Scores, nonmembers: Scores) -> Floats:
    """Where each score would rank among those of known non-members: (1 + how many reach it) / (m + 1), (n,).

    Valid for a point that is no member if it is exchangeable with the known ones: drawn from the same source,
    and treated alike by the attack, which must not have learnt from the known ones. Ties count against the point.

    Args:
        scores: Of the points in question, (n,); infinities are legal.
        nonmembers: Of known non-members, (m,), at least one.

    Raises:
        InvalidInput: Not one-dimensional, empty, or a score is NaN.
    """
    for name, values in (("scores", scores), ("nonmembers", nonmembers)):
        if np.ndim(values) != 1 or not len(values):
            raise InvalidInput(f"{name} must be one-dimensional and not empty, got shape {np.shape(values)}")
        if np.isnan(values).any():
            raise InvalidInput(f"{name} must not be NaN, got NaN at position {int(np.isnan(values).argmax())}")
    known = np.sort(nonmembers)
    reach = len(known) - np.searchsorted(known, scores, side="left")
    ranks: Floats = (1.0 + reach) / (len(known) + 1)
    return ranks


def reference_p_values(scores: Scores, references: Scores, inside: Mask) -> Floats:
    """Where each point's score ranks among its scores by models that never saw it, (n,); needs no non-members.

    Valid for each point if a target that never saw it is exchangeable with those models. The points share
    their models, which may make p-values dependent in any way: `discover` them with dependence "any". No p-value is
    lower than 1 / (K_out + 1).

    Args:
        scores: On the target, (n,).
        references: On the reference models, (K, n).
        inside: Whether each model was trained on each point, (K, n) bool; at least one model without each point.

    Raises:
        InvalidInput: Shapes do not agree, `inside` is not bool, a score is NaN, or a point has no model without it.
    """
    shape = (np.shape(inside)[0] if np.ndim(inside) else 0, len(scores))
    if np.shape(references) != shape or np.shape(inside) != shape or np.asarray(inside).dtype != np.bool_:
        raise InvalidInput(
            f"references and inside (bool) must be of shape (models, {len(scores)}), got {np.shape(references)} and "
            f"{np.shape(inside)} {np.asarray(inside).dtype}"
        )
    if np.isnan(scores).any() or np.isnan(references).any():
        raise InvalidInput("scores and references must not be NaN")
    outside = ~np.asarray(inside)
    without = outside.sum(axis=0)
    if not without.all():
        raise InvalidInput(f"inside must leave out each point at least once, point {int(without.argmin())} never is")
    ranks: Floats = (1.0 + ((references >= np.asarray(scores)) & outside).sum(axis=0)) / (without + 1)
    return ranks


def exposed(
    calls: Mask, inside: Mask, *, rate: float, pairs: bool = False, dependence: Dependence = "positive"
) -> Exposed:
    """Which points an attack tells in from out, from many targets trained with and without each of them.

    A point's p-value is `games_p_values`'. P-values of several points are independent if each point has
    games of its own; and also if all share their games, provided that each point was put in by coins of its own
    and that a point with nothing to find moves no other's calls. Where that is in doubt choose dependence "any".
    (hardlabel's pairs halve the pool, so that their coins are not quite independent.)

    The intervals are built from two Clopper-Pearson intervals, of TPR and FPR, each allowed half the error,
    at the false-coverage rate of Benjamini and Yekutieli (2005), "False discovery rate-adjusted multiple confidence
    intervals for selected parameters", Journal of the American Statistical Association 100: those of the
    points found do not suffer from having been picked for standing out.

    Args:
        calls: Whether the attack called each point a member of each target, (T, n) bool; its threshold must come
            from elsewhere.
        inside: Whether each target was trained on each point, (T, n) bool.
        rate: False discovery rate, strictly between 0 and 1.
        pairs: Targets 2p and 2p + 1 divide the points between them, as hardlabel's pairs do.
        dependence: Of the points' p-values; "positive" also stands for independence.

    Raises:
        InvalidInput: See `games_p_values`, `discover`.
    """
    found = discover(games_p_values(calls, inside, pairs=pairs), rate=rate, dependence=dependence)
    n = len(found.found)
    share = rate * max(1, int(found.found.sum())) / n
    if dependence == "any":
        share /= float((1 / np.arange(1, n + 1)).sum())
    hits, n1, alarms, n0 = _counts(calls, inside)
    advantages = tuple(_advantage(*map(int, each), error=share) for each in zip(hits, n1, alarms, n0, strict=True))
    return Exposed(
        found=found.found,
        p_values=found.p_values,
        adjusted=found.adjusted,
        rate=rate,
        advantages=advantages,
        confidence=1 - share,
    )


def own_calls(values: Floats) -> Mask:
    """Calls in games of complementary pairs: where a point's value reaches the median of its values in all other pairs.

    Inside and outside alike, those values fix the threshold, and the direction is fixed beforehand: the calls do not
    depend on who was inside which model, so that McNemar's test of `games_p_values` is exact. A calibration that
    learnt from the other pairs who is inside would not do: under the null its calls in all pairs agree more often
    than independent ones.

    Args:
        values: Of each target about each point, (T, n), higher for likelier members; rows 2p and 2p + 1 are partners.

    Returns:
        Whether each point is called a member of each target, (T, n) bool.

    Raises:
        InvalidInput: Not (T, n), fewer than two pairs, an odd number of targets, or a value is NaN.
    """
    if np.ndim(values) != 2 or len(values) < 4 or len(values) % 2:
        raise InvalidInput(f"values must be of shape (targets, points), 2 pairs or more, got {np.shape(values)}")
    if np.isnan(values).any():
        raise InvalidInput("values must not be NaN")
    rest = [np.delete(values, [pair, pair + 1], axis=0) for pair in range(0, len(values), 2)]
    calls: Mask = np.asarray(values) >= np.repeat([np.median(others, axis=0) for others in rest], 2, axis=0)
    return calls


def games_p_values(calls: Mask, inside: Mask, *, pairs: bool = False) -> Floats:
    """How surprising each point's hits are if it is called as often when outside as when inside, (n,).

    Without pairs: Fisher's exact test, one-sided; games must be independent. With pairs: the exact McNemar test,
    one-sided, on the pairs whose two targets were called differently; pairs must be independent. McNemar (1947),
    "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika 12.

    Args:
        calls: Whether each point was called a member of each target, (T, n) bool.
        inside: Whether each target was trained on each point, (T, n) bool.
        pairs: Targets 2p and 2p + 1 divide the points between them.

    Raises:
        InvalidInput: Shapes do not agree, not bool, a point without games of one kind, or pairs that are none.
    """
    hits, n1, alarms, n0 = _counts(calls, inside)
    if not pairs:
        fisher: Floats = hypergeom.sf(hits - 1, n1 + n0, hits + alarms, n1)
        return fisher
    if len(calls) % 2 or (inside[::2] == inside[1::2]).any():
        raise InvalidInput("inside must have rows 2p and 2p + 1 that are each other's opposite, or pairs be False")
    inner, outer = np.where(inside[::2], calls[::2], calls[1::2]), np.where(inside[::2], calls[1::2], calls[::2])
    right, wrong = (inner & ~outer).sum(axis=0), (outer & ~inner).sum(axis=0)
    mcnemar: Floats = binom.sf(right - 1, right + wrong, 0.5)
    return mcnemar


def _counts(calls: Mask, inside: Mask) -> tuple[Counts, Counts, Counts, Counts]:
    """Hits, games inside, alarms, games outside of each point."""
    for name, mask in (("calls", calls), ("inside", inside)):
        kind, shape = np.asarray(mask).dtype, np.shape(mask)
        if len(shape) != 2 or kind != np.bool_ or shape != np.shape(calls):
            raise InvalidInput(f"{name} must be bool of shape (games, points), as calls is, got {kind} {shape}")
    n1, n0 = inside.sum(axis=0), (~inside).sum(axis=0)
    if not (n1.all() and n0.all()):
        lacking = int(np.minimum(n1, n0).argmin())
        raise InvalidInput(f"inside must put each point in and out at least once, point {lacking} is not")
    return (calls & inside).sum(axis=0), n1, (calls & ~inside).sum(axis=0), n0


def _advantage(hits: int, n1: int, alarms: int, n0: int, *, error: float) -> Estimate:
    """TPR minus FPR with an exact interval that misses with chance `error` at most."""
    tpr, fpr = exact_rate(hits, n1, confidence=1 - error / 2), exact_rate(alarms, n0, confidence=1 - error / 2)
    ends = np.array([(tpr.low, tpr.high), (fpr.high, fpr.low)], dtype=np.float64)
    low, high = ends[0] - ends[1]
    return Estimate(hits / n1 - alarms / n0, float(low), float(high))

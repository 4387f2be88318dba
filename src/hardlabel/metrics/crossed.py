"""Figures of a training recipe: several targets attacked on the same samples.

Targets and samples are both drawn at random, and the intervals cover both. Arrays have a row per target and a
column per sample. Targets trained on the same half of the pool, or on the two halves of one split (complementary
pairs), count as one draw, as their errors depend on each other; their rows of `inside` tell. Where a single split
is left, intervals are over samples only, and a note says so. The order of the samples does not matter.
"""

from dataclasses import replace
from math import ceil, hypot, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr
from scipy.stats import rankdata, t

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import newcombe, tpr_at_fpr
from hardlabel.metrics.rates import CONFIDENCE, FALSE_ALARMS, rate_interval, two_sided
from hardlabel.metrics.roc import Floats, Mask, Scores, auc, tpr_at
from hardlabel.randomness import numpy_generator

Ints = NDArray[np.int64]

RESAMPLES = 2_000  # The ends of an interval over 8 targets are then the draws' 12th from either side.
BLOCK = 100  # Draws worked on at once: some 100 MiB for 14 targets and 2,000 samples.
FEW = 5  # Splits of the pool, below which a bootstrap over them is not to be trusted.


def aucs(scores: Scores, inside: Mask) -> Floats:
    """Area under the ROC curve on each target, (T,), in [0, 1]; ties count half.

    Args:
        scores: Membership scores (T, n), higher for likelier members; infinities are legal.
        inside: Whether each sample was in each target's training set, (T, n) bool.

    Raises:
        InvalidInput: Shapes differ or are not (T, n), a score is NaN, `inside` is not bool, or a target has no
            members or no non-members.
    """
    _check(inside, scores=scores)
    return np.array([auc(*target) for target in zip(scores, inside, strict=True)])


def spread(scores: Scores, inside: Mask) -> Estimate:
    """Standard deviation of `aucs`, each target's sampling error included; undefined for a single target."""
    values = aucs(scores, inside)
    return Estimate(float(values.std(ddof=1))) if len(values) > 1 else Estimate.undefined("needs 2 targets, got 1")


def null_z(scores: Scores, inside: Mask) -> Floats:
    """How many standard errors each of `aucs` lies above .5 if scores say nothing about membership, (T,).

    The standard error is exact if any samples are equally likely to be the members: sqrt((m + k + 1) / (12 m k))
    for m members and k non-members, less where scores tie; Lehmann (1975), "Nonparametrics: Statistical Methods
    Based on Ranks", section 1.4. NaN where all scores tie: there is nothing to test. Complementary targets can
    have opposite z's by design: judge one of each pair.
    """
    values, size, members = aucs(scores, inside), inside.shape[1], inside.sum(1)
    # The ranks' variance holds the correction for ties: without them it is (size + 1) (size - 1) / 12.
    variance = rankdata(scores, axis=1).var(axis=1) / ((size - 1) * members * (size - members))
    z = np.full(len(values), np.nan)
    np.divide(values - 0.5, np.sqrt(variance), out=z, where=variance > 0)
    return z


def mean_auc(scores: Scores, inside: Mask, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean of `aucs`, with an interval over targets and samples, taken on the logit scale.

    Its variance is that of `_half_width`; for one target it is DeLong's. Where none is seen (perfect or constant
    scores) the interval is Newcombe's for one target's samples; where a target has a single member or
    non-member there is none. Notes say so.

    Args:
        scores: Membership scores (T, n).
        inside: Whether each sample was in each target's training set, (T, n) bool.
        confidence: Of the interval, strictly between 0 and 1.

    Raises:
        InvalidInput: `confidence` is out of range, or see `aucs`.
    """
    checks.open_fraction(confidence=confidence)
    inside, [scores] = _ordered(inside, scores=scores)
    values = aucs(scores, inside)
    value, groups = float(values.mean()), _group_sizes(inside)
    if groups.min() < 2:
        return Estimate(value, note="no interval: a target has a single member or non-member")
    reach = _half_width(values, _influence(scores, inside), inside, confidence)
    if reach == 0:
        members, nonmembers = map(int, groups.min(axis=1))
        low, high = newcombe(value, members, nonmembers, confidence=confidence)
        return Estimate(value, low, high, "no variance seen: the interval is that of one target's samples")
    centre, reach = logit(value), reach / (value * (1 - value))
    return Estimate(value, float(expit(centre - reach)), float(expit(centre + reach)), _note(inside))


def auc_difference(first: Scores, second: Scores, inside: Mask, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean AUC of `first` minus mean AUC of `second`, two attacks (T, n) on the same targets and samples.

    The interval is `mean_auc`'s, for each target's and sample's difference, on a linear scale. Attacks that rank
    the samples alike differ by exactly 0, without width. Where rankings differ but no variance is seen (both
    perfect), the two means' own intervals are combined as if independent. Errors and the rest as in `mean_auc`.
    """
    checks.open_fraction(confidence=confidence)
    inside, [first, second] = _ordered(inside, first=first, second=second)
    values = aucs(first, inside) - aucs(second, inside)
    value, note = float(values.mean()), _note(inside)
    if np.array_equal(rankdata(first, axis=1), rankdata(second, axis=1)):
        return Estimate(0.0, 0.0, 0.0, note)
    if _group_sizes(inside).min() < 2:
        return Estimate(value, note="no interval: a target has a single member or non-member")
    influence = _influence(first, inside) - _influence(second, inside)
    down = up = _half_width(values, influence, inside, confidence)
    if up == 0:
        a, b = (_reaches(mean_auc(attack, inside, confidence=confidence)) for attack in (first, second))
        down, up, note = hypot(a[0], b[1]), hypot(a[1], b[0]), "no variance seen: the attacks' intervals are combined"
    return Estimate(value, max(-1.0, value - down), min(1.0, value + up), note)


def pooled_tpr(
    scores: Scores,
    inside: Mask,
    fpr: float,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The largest TPR at an FPR of at most `fpr`, one threshold for the scores of all targets; never interpolated.

    The interval is a conservative bootstrap's, see `_resampled`; a single target's that of `tpr_at_fpr`. The pool
    resolves `fpr` if it is expected to hold 10 false alarms; otherwise there is no figure.

    Args:
        scores: Membership scores (T, n), comparable between targets.
        inside: Whether each sample was in each target's training set, (T, n) bool.
        fpr: Tolerated false-positive rate, strictly between 0 and 1.
        seed: Fixes the bootstrap.
        resamples: Draws of the bootstrap.
        confidence: Of the interval, strictly between 0 and 1.

    Raises:
        InvalidInput: `fpr`, `resamples` or `confidence` is out of range, or see `aucs`.
    """
    checks.open_fraction(fpr=fpr, confidence=confidence)
    checks.at_least(1, resamples=resamples)
    inside, [scores] = _ordered(inside, scores=scores)
    if missing := _unresolved(inside, fpr):
        return missing
    if len(inside) == 1:
        alone = tpr_at_fpr(scores[0], inside[0], fpr, seed=seed, resamples=resamples, confidence=confidence)
        return replace(alone, note=_note(inside))
    value = tpr_at(scores.ravel(), inside.ravel(), fpr)
    [draws] = _resampled([scores], inside, fpr, resamples, seed)
    low, high = _ends(draws, value, inside, confidence)
    if low == high:  # All draws find nobody, or everybody: how sure that is depends on the number of samples.
        persons = int(inside.any(0).sum())
        wilson = rate_interval(round(value * persons), persons, confidence=confidence)
        low, high = value - _reaches(wilson)[0], value + _reaches(wilson)[1]
    return Estimate(value, low, min(high, 1.0), _note(inside, bootstrap=True))


def tpr_ratio(
    first: Scores,
    second: Scores,
    inside: Mask,
    fpr: float,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Pooled TPR of `first` divided by that of `second`, two attacks (T, n) on the same targets and samples.

    The interval is the bootstrap's of `pooled_tpr`, with the same draws for both attacks: conservative, the more
    so as pairing cancels what targets share. It has no upper end where the first TPR is 0 or too many draws leave
    the second at 0. Undefined where the second TPR is 0 or `fpr` is not resolved. The rest as in `pooled_tpr`.
    """
    checks.open_fraction(fpr=fpr, confidence=confidence)
    checks.at_least(1, resamples=resamples)
    inside, [first, second] = _ordered(inside, first=first, second=second)
    if missing := _unresolved(inside, fpr):
        return missing
    top, bottom = (tpr_at(scores.ravel(), inside.ravel(), fpr) for scores in (first, second))
    if bottom == 0:
        return Estimate.undefined(f"the second attack finds no member at an FPR of {fpr}")
    over, under = _resampled([first, second], inside, fpr, resamples, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = _ends(over / under, top / bottom, inside, confidence)
    if top == 0 or not isfinite(high):
        which = "first" if top == 0 else "second"
        return Estimate(top / bottom, low, None, f"no upper end: the {which} attack finds too few members")
    return Estimate(top / bottom, low, high, _note(inside, bootstrap=True))


def _check(inside: Mask, **attacks: Scores) -> None:
    """Refuses scores and membership that are not (T, n), incomplete, or without one of the two kinds."""
    if np.asarray(inside).dtype != np.bool_:
        raise InvalidInput(f"inside must be bool, got {np.asarray(inside).dtype}")
    if np.ndim(inside) != 2 or 0 in np.shape(inside):
        raise InvalidInput(f"inside must have a row per target, a column per sample, got shape {np.shape(inside)}")
    for name, scores in attacks.items():
        if np.shape(scores) != np.shape(inside):
            raise InvalidInput(f"shapes must agree: {name} has {np.shape(scores)}, inside has {np.shape(inside)}")
        if np.isnan(scores).any():
            target, sample = np.argwhere(np.isnan(scores))[0]
            raise InvalidInput(f"{name} must not be NaN, got NaN for target {target}, sample {sample}")
    for target, row in enumerate(inside):
        if row.all() or not row.any():
            kind = "members" if row.all() else "non-members"
            raise InvalidInput(f"inside must hold both members and non-members, target {target} has {kind} only")


def _ordered(inside: Mask, **attacks: Scores) -> tuple[Mask, list[Floats]]:
    """The arrays, checked, with their samples in an order that depends on nothing but their columns."""
    _check(inside, **attacks)
    scores = [np.asarray(attack, dtype=np.float64) for attack in attacks.values()]
    order = np.lexsort([*np.concatenate(scores), *inside])
    return inside[:, order], [attack[:, order] for attack in scores]


def _splits(inside: Mask) -> tuple[Ints, int]:
    """Which split of the pool each target comes from, (T,), and how many there are; two halves are one split."""
    known: dict[bytes, int] = {}
    halves = (min(row.tobytes(), (~row).tobytes()) for row in inside)
    return np.array([known.setdefault(half, len(known)) for half in halves]), len(known)


def _group_sizes(inside: Mask) -> Ints:
    """Members and non-members of each target, (2, T)."""
    return np.stack([inside.sum(1), (~inside).sum(1)])


def _note(inside: Mask, *, bootstrap: bool = False) -> str:
    """What a reader must know where targets are few."""
    _, splits = _splits(inside)
    if splits == 1:
        return f"{'one target' if len(inside) == 1 else 'one split of the pool'}: the interval is over samples only"
    return f"{splits} splits of the pool are few for a bootstrap" if bootstrap and splits < FEW else ""


def _influence(scores: Floats, inside: Mask) -> Floats:
    """How far each sample moves each target's AUC, (T, n); the squares of a row sum to DeLong's variance.

    A member is placed by the share of non-members it outscores, a non-member by the share of members that
    outscore it: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44.
    """
    influence = np.empty_like(scores)
    for row, rank, member in zip(influence, rankdata(scores, axis=1), inside, strict=True):
        for own, sign in ((member, 1), (~member, -1)):
            size = np.count_nonzero(own)
            outscored = rank[own] - rankdata(rank[own])  # Multiples of 1/2, so that no spread is exactly 0.
            row[own] = sign * (outscored - outscored.mean()) / (len(own) - size) / sqrt(size * (size - 1))
    return influence


def _half_width(values: Floats, influence: Floats, inside: Mask, confidence: float) -> float:
    """Half the width of an interval for the mean of `values` (T,) over targets and samples.

    The variance is clustered two ways, by targets plus by samples less what both count: Cameron, Gelbach and
    Miller (2011), "Robust inference with multiway clustering", Journal of Business and Economic Statistics 29.
    Unlike theirs, the part counted twice is taken about each sample's mean over targets and has, like that of the
    targets, a factor G / (G - 1) for G splits of the pool. Then no term is biased, and the sum is the variance
    that Obuchowski and Rockette (1995), Communications in Statistics - Simulation and Computation 24, give
    readers and cases. As neither targets nor samples can take variance away, it is not let below either's own.
    Student's t has the degrees of freedom of Hillis (2007), Statistics in Medicine 26: G - 1 if targets alone
    vary, more if samples do.

    In simulations (normal scores, 200 samples, 1,600 games each) 5.6 % of the 95 % intervals of `mean_auc` miss with
    8 targets and 5.2 % with 14; where targets differ by chance only, 3.5 %.
    """
    samples, (splits, groups) = float((influence.mean(0) ** 2).sum()), _splits(inside)
    if groups == 1:
        return two_sided(confidence) * sqrt(samples)

    def between(x: Floats) -> float:
        sums = np.zeros((groups, *x.shape[1:]))
        np.add.at(sums, splits, x - x.mean(0))
        return float((sums**2).sum()) * groups / (groups - 1) / len(x) ** 2

    targets, cells = between(values), between(influence)
    variance = max(samples, targets + max(0.0, samples - cells))
    freedom = (groups - 1) * (variance / targets) ** 2 if targets > 0 else np.inf
    return float(t.ppf((1 + confidence) / 2, freedom)) * sqrt(variance)


def _reaches(estimate: Estimate) -> tuple[float, float]:
    """How far an interval reaches below and above its figure."""
    value, low, high = estimate.value, estimate.low, estimate.high
    assert value is not None
    assert low is not None
    assert high is not None
    return value - low, high - value


def _unresolved(inside: Mask, fpr: float) -> Estimate | None:
    """Why the pool is too small for `fpr`, if it is."""
    size = int((~inside).sum())
    reason = f"needs {ceil(FALSE_ALARMS / fpr)} non-members over all targets, got {size}"
    return Estimate.undefined(reason) if FALSE_ALARMS / size > fpr else None


def _resampled(attacks: list[Floats], inside: Mask, fpr: float, resamples: int, seed: int) -> Floats:
    """The attacks' pooled TPRs, (attacks, resamples), with targets and samples both drawn anew with replacement.

    Splits of the pool (with all their targets) and samples are drawn independently, and a cell counts as often
    as the product says: Owen (2007), "The pigeonhole bootstrap", Annals of Applied Statistics 1. It overstates
    the variance, since what is peculiar to a cell counts three times. Every draw re-chooses the threshold. A
    single split is kept as it is.
    """
    (splits, groups), size = _splits(inside), inside.shape[1]
    rng = numpy_generator(seed, "crossed bootstrap", str(fpr))
    pools = [_Pool(scores, inside) for scores in attacks]
    rates = np.empty((len(attacks), resamples))
    for start in range(0, resamples, BLOCK):
        count = min(BLOCK, resamples - start)
        targets = rng.multinomial(groups, np.full(groups, 1 / groups), count).T[splits]
        samples = np.ascontiguousarray(rng.multinomial(size, np.full(size, 1 / size), count).T)
        for pool, row in zip(pools, rates, strict=True):
            row[start : start + count] = pool.tpr_at(fpr, targets, samples)
    return rates


class _Pool:
    """The cells (target, sample) of an attack in the order of their scores, highest first."""

    def __init__(self, scores: Floats, inside: Mask) -> None:
        falling, member = -scores.ravel(), inside.ravel()
        order = np.argsort(falling, kind="stable")
        self._inside, self._members, self._nonmembers = inside, order[member[order]], order[~member[order]]
        # How many members outscore each non-member.
        self._ahead = np.searchsorted(falling[self._members], falling[self._nonmembers])

    def tpr_at(self, fpr: float, targets: Ints, samples: Ints) -> Floats:
        """`roc.tpr_at` for r draws, which took each target (T, r) and each sample (n, r) so often, (r,).

        NaN where a draw holds no members or no non-members.
        """
        alarms, hits = ((kind.T.astype(float) @ targets * samples).sum(0) for kind in (~self._inside, self._inside))

        def called(cells: Ints) -> Ints:
            target, sample = np.divmod(cells, len(samples))
            return np.cumsum(targets[target] * samples[sample], axis=0)

        size = len(self._nonmembers)
        depth = min(50 + int(3 * fpr * size), size)
        with np.errstate(divide="ignore", invalid="ignore"):
            # The threshold is near the top: seldom are all cells needed.
            while not ((over := called(self._nonmembers[:depth]) / alarms > fpr)[-1].all() or depth == size):
                depth = min(4 * depth, size)
            # The first non-member too many. Called is who outscores it, so that its ties stay together.
            ahead = self._ahead[over.argmax(0)]
            found = np.insert(called(self._members[: ahead.max()]), 0, 0, axis=0)
            rates = np.take_along_axis(found, ahead[None], axis=0)[0] / hits
        return np.where(alarms == 0, np.nan, rates)


def _ends(draws: Floats, value: float, inside: Mask, confidence: float) -> tuple[float, float]:
    """The draws' central interval, stretched to `value`; an undefined draw (NaN) may lie at either end.

    A bootstrap's percentiles are too narrow where few are drawn from. They are moved outwards as far as makes the
    interval of a mean over as many splits Student's: Hesterberg (2014), "What teachers should know about the
    bootstrap", arXiv 1411.5279, the expanded percentile interval.
    """
    (_, groups), tail = _splits(inside), (1 - confidence) / 2
    if groups > 1:
        tail = float(ndtr(-sqrt(groups / (groups - 1)) * t.ppf(1 - tail, groups - 1)))
    # Order statistics, as between infinities nothing can be interpolated.
    beyond = int(tail * (len(draws) - 1))
    low, high = (np.sort(np.where(np.isnan(draws), end, draws)) for end in (0.0, np.inf))
    return min(float(low[beyond]), value), max(float(high[-1 - beyond]), value)

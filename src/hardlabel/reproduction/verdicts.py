"""Figures with intervals, and verdicts on claims, from the summaries of parts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hardlabel.metrics.estimate import Estimate
from hardlabel.reproduction.declared import FEWEST_TARGETS, PRECISION, TEST_ACCURACY, TRAIN_ACCURACY, Claim, Figure
from hardlabel.reproduction.intervals import OfTarget, accuracy, difference, over_targets
from hardlabel.reproduction.summary import PartSummary, PlaySummary, unpacked

Bools = NDArray[np.bool_]
Groups = tuple[Bools, ...]
Summaries = Mapping[str, Sequence[PartSummary]]  # By cell, in the order of the targets.


class Outcome(StrEnum):
    """What a claim's interval says."""

    HOLDS = "HOLDS"
    FAILS = "DOES NOT HOLD"
    UNRESOLVED = "NOT RESOLVED"
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A claim, and what the summaries say of it.

    Attributes:
        claim: The claim.
        outcome: The verdict.
        difference: `left` minus `right`, with its interval.
        targets: Number of targets that show both figures.
        paired: Whether both figures are about the same samples.
        resolve: What would resolve it, in words; "" where nothing has to be.
    """

    claim: Claim
    outcome: Outcome
    difference: Estimate
    targets: int
    paired: bool
    resolve: str = ""


def figure_of(figure: Figure, summaries: Summaries) -> tuple[Estimate, int]:
    """A figure with its interval over targets and samples, and the number of targets that show it."""
    each = [_alone(part, figure.name) for part in summaries.get(figure.cell, ())]
    known = [value for value in each if value is not None]
    return (over_targets(known) if known else Estimate.undefined(Outcome.NOT_RUN)), len(known)


def judged(claim: Claim, summaries: Summaries) -> Judged:
    """The verdict on a claim.

    "at least" holds if the whole interval of left - right lies above -margin, and does not hold if it lies below. "at
    most" is its mirror image. "about" holds if the interval lies within the margin, and does not hold if it lies
    outside.

    Example:
        >>> from hardlabel.reproduction.declared import Claim, Figure
        >>> from hardlabel.reproduction.verdicts import judged
        >>> claim = Claim(number="C1", text="it leaks", left=Figure("cell", "gap"), right=0.5)
        >>> str(judged(claim, {}).outcome)
        'not run'
    """
    differences, paired = _differences(claim, summaries)
    if not differences:
        undefined = Estimate.undefined(Outcome.NOT_RUN)
        return Judged(claim=claim, outcome=Outcome.NOT_RUN, difference=undefined, targets=0, paired=paired)
    estimate = over_targets(differences)
    outcome = _outcome(claim, estimate)
    return Judged(
        claim=claim,
        outcome=outcome,
        difference=estimate,
        targets=len(differences),
        paired=paired,
        resolve=_resolve(claim, estimate, len(differences)) if outcome is Outcome.UNRESOLVED else "",
    )


def _outcome(claim: Claim, estimate: Estimate) -> Outcome:
    low, high = _ends(estimate)
    if claim.rule == "at most":
        low, high = -high, -low
    if claim.rule == "about":
        inside = low > -claim.margin and high < claim.margin
        outside = low > claim.margin or high < -claim.margin
    else:
        inside, outside = low > -claim.margin, high < -claim.margin
    return Outcome.HOLDS if inside else Outcome.FAILS if outside else Outcome.UNRESOLVED


def _resolve(claim: Claim, estimate: Estimate, targets: int) -> str:
    """How many times as many targets would take the nearest limit out of the interval, if the figure stayed."""
    assert estimate.value is not None
    half = (_ends(estimate)[1] - _ends(estimate)[0]) / 2
    limits = {"at least": (-claim.margin,), "at most": (claim.margin,), "about": (-claim.margin, claim.margin)}
    distance = min(abs(estimate.value - limit) for limit in limits[claim.rule])
    times = math.inf if distance == 0 else (half / distance) ** 2
    if times > 50:
        return "the figure lies at the limit: no feasible number of targets resolves it"
    return f"about {max(targets + 1, math.ceil(times * targets))} targets of this size, if the figure stays"


def _ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def _differences(claim: Claim, summaries: Summaries) -> tuple[list[OfTarget], bool]:
    """The difference on each target that shows both figures, and whether the figures are about the same samples."""
    left = {part.target: part for part in summaries.get(claim.left.cell, ())}
    if isinstance(claim.right, float):
        alone = [_alone(part, claim.left.name) for part in left.values()]
        shift = claim.right
        return [OfTarget(figure.value - shift, figure.variance) for figure in alone if figure is not None], True
    right = {part.target: part for part in summaries.get(claim.right.cell, ())}
    differences, paired = [], True
    for target in sorted(left.keys() & right.keys()):
        pair = _same_samples(left[target], claim.left.name, right[target], claim.right.name)
        if pair is not None:
            differences.append(difference(*pair))
            continue
        first, second = _alone(left[target], claim.left.name), _alone(right[target], claim.right.name)
        if first is not None and second is not None:
            paired = False
            differences.append(OfTarget(first.value - second.value, first.variance + second.variance))
    return differences, paired


def _same_samples(
    left: PartSummary, left_name: str, right: PartSummary, right_name: str
) -> tuple[Groups, Groups] | None:
    """Who was called correctly by both, in the largest plays about the same samples; None if there are none."""
    pairs = [
        (first.samples, own, other)
        for first in left.plays
        for second in right.plays
        if first.content == second.content and first.members == second.members
        for own, other in [(_correct(first, left_name), _correct(second, right_name))]
        if own is not None and other is not None and not left_name.startswith(PRECISION)
    ]
    if not pairs:
        return None
    _, own, other = max(pairs, key=lambda pair: pair[0])
    return own, other


def _alone(part: PartSummary, name: str) -> OfTarget | None:
    """A figure of one target, from the play with the most samples; None if no play shows it."""
    shown = [(play.samples, correct) for play in part.plays if (correct := _correct(play, name)) is not None]
    return accuracy(max(shown, key=lambda pair: pair[0])[1]) if shown else None


def _correct(play: PlaySummary, name: str) -> Groups | None:
    """Who was called correctly: members and non-members, or one group for the accuracy of the model itself."""
    members = unpacked(play.members, play.samples)
    if name in (TEST_ACCURACY, TRAIN_ACCURACY):
        right = unpacked(play.right, play.samples)
        return (right[~members],) if name == TEST_ACCURACY else (right[members],)
    attack = play.attacks.get(name.removeprefix(PRECISION))
    if attack is None:
        return None
    called = unpacked(attack.called, play.samples)
    if name.startswith(PRECISION):  # Of those called members; undefined if nobody is.
        return (members[called],) if called.any() else None
    if members.all() or not members.any():
        return None
    return called[members], ~called[~members]


def too_few(targets: int) -> bool:
    """Whether a figure rests on fewer targets than it should."""
    return 0 < targets < FEWEST_TARGETS

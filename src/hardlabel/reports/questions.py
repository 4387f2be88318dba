"""What the first screen of a page answers: five questions, the graphic beside them, and how figures are worded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.verdict import Grade
from hardlabel.reports.wording import SPACE, odds, percent

if TYPE_CHECKING:
    from hardlabel.reports.next_steps import Step

QUESTIONS = {
    "leaking": "Is it leaking?",
    "compared": "Compared to what?",
    "risk": "Who is at risk?",
    "steps": "What should I do?",
    "rely": "Can I rely on this?",
}
ROUND = (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15)  # Ends of an axis, times a power of ten.
SMALLEST = 1e-6
WIDE = 0.02  # Width of an interval from which on tenths of a number of 100 say nothing.


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of the graphic that compares attackers.

    Attributes:
        label: Who finds so much.
        value, low, high: The figure and its interval.
        shown: The figure as text.
        sees: "" for guessing, "label", or "scores".
        owner, figure: Where the figure stands in the record, for machines that read the page; empty for guessing.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    shown: str
    sees: str = ""
    owner: str = ""
    figure: str = ""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The graphic that compares attackers: bars from 0 to `most`.

    Attributes:
        title: What the length of a bar means.
        most: The end of the axis.
        bars: From top to bottom; the first one is guessing.
    """

    title: str
    most: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A reason to rely on the answer (`good`), or a reason for care."""

    good: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The first screen.

    Attributes:
        grade: How the screen is marked.
        title: The answer in a few words.
        meaning: The answer in a sentence for readers outside the field.
        also: A second sentence: what confidences would give away beyond it; may be empty.
        subject: What was audited.
        used: How many of the records given were attacked, where not all were; may be empty.
        leaking: Whether it leaks, sentence by sentence.
        compared: The graphic; None if there is nothing to compare.
        beside: A sentence beside the graphic; may be empty.
        risk: Who is at risk, sentence by sentence.
        steps: What to do, the most urgent first.
        grounds: Reasons to rely on the answer, then reasons for care.
    """

    grade: Grade
    title: str
    meaning: str
    also: str = ""
    used: str = ""
    subject: str
    leaking: tuple[str, ...]
    compared: Compared | None
    beside: str
    risk: tuple[str, ...]
    steps: "tuple[Step, ...]"
    grounds: tuple[Ground, ...]


def good(text: str) -> Ground:
    """A reason to rely on the answer."""
    return Ground(good=True, text=text)


def care(text: str) -> Ground:
    """A reason for care."""
    return Ground(good=False, text=text)


def of_100(share: float) -> str:
    """A share in [0, 1] as a number of 100: "65", "2.3", ">99.9".

    Example:
        >>> from hardlabel.reports.questions import of_100
        >>> of_100(0.653), of_100(0.0231)
        ('65', '2.3')
    """
    return percent(share).removesuffix(f"{SPACE}%")


def ends_of_100(estimate: Estimate) -> str:
    """The interval of a share as numbers of 100, " [58, 74]"; empty without an interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    write = _whole if _wide(estimate) else of_100
    return f" [{write(estimate.low)},{SPACE}{write(estimate.high)}]"


def rounded(estimate: Estimate, *, about: bool = True) -> str:
    """A share as a number of 100, with no digit that its interval makes worthless: "about 9", "65", "2.1".

    Example:
        >>> from hardlabel.metrics.estimate import Estimate
        >>> from hardlabel.reports.questions import rounded
        >>> rounded(Estimate(0.087, 0.03, 0.136)), rounded(Estimate(0.021, 0.012, 0.03))
        ('about 9', '2.1')
    """
    assert estimate.value is not None, "only known figures are quoted"
    exact, whole = of_100(estimate.value), _whole(estimate.value)
    if not _wide(estimate) or exact == whole:
        return exact
    return f"about {whole}" if about else whole


def _wide(estimate: Estimate) -> bool:
    """Whether the interval is wider than 2 of 100, so that tenths say nothing."""
    return None not in (estimate.low, estimate.high) and (estimate.high or 0.0) - (estimate.low or 0.0) > WIDE


def _whole(share: float) -> str:
    """A share as a whole number of 100, where it is 1 or more."""
    return f"{100 * share:.0f}" if 0.01 <= share < 0.1 else of_100(share)


def found_words(estimate: Estimate, fpr: str) -> str:
    """A share of members found, beside guessing.

    Example:
        >>> from hardlabel.metrics.estimate import Estimate
        >>> from hardlabel.reports.questions import found_words
        >>> found_words(Estimate(0.65, 0.58, 0.74), "0.01").replace(chr(160), " ")
        '65 of 100 members found [58, 74] at 1 false alarm in 100; guessing finds 1.'
    """
    assert estimate.value is not None, "only known figures are quoted"
    return (
        f"{capital(rounded(estimate))} of 100 members found{ends_of_100(estimate)} at {alarms(fpr)}; guessing finds "
        f"{of_100(float(fpr))}."
    )


def capital(sentence: str) -> str:
    """The sentence with a capital letter in front."""
    return sentence[:1].upper() + sentence[1:]


def pair_words(auc: Estimate) -> str:
    """An AUC as cases of telling a member from a non-member, beside guessing."""
    assert auc.value is not None, "only known figures are quoted"
    return (
        f"Shown a member and a non-member, the attack picks the member in {rounded(auc)} of 100 "
        f"cases{ends_of_100(auc)}; guessing does in 50."
    )


def alarms(fpr: str) -> str:
    """A false-positive rate: "1 false alarm in 100" non-members."""
    told = odds(float(fpr))
    count = told.split(" ", 1)[0]
    return told.replace(" in ", " false alarm in " if count == "1" else " false alarms in ")


def axis_end(values: Sequence[float], *, limit: float | None = None) -> float:
    """A round end of an axis that holds all values, at most `limit`.

    Example:
        >>> from hardlabel.reports.questions import axis_end
        >>> axis_end([0.1, 0.51]), axis_end([0.1, 0.93], limit=1.0)
        (0.6, 1.0)
    """
    most = max([*values, SMALLEST])
    power = 10.0 ** math.floor(math.log10(most))
    end = next(round(factor * power, 9) for factor in ROUND if factor * power >= most * (1 - 1e-9))
    return end if limit is None else min(end, limit)

"""What the page of an audit by canaries says: a verdict in plain words, and the bounds drawn beside the promise."""

import math
from dataclasses import dataclass

from hardlabel.records.canaries import ALL, CLEAR, SEVERE, CanaryBound, CanaryResults
from hardlabel.records.verdict import Grade
from hardlabel.reports.figures import Figure
from hardlabel.reports.svg import WIDTH, Scale, Style, line, picture, text
from hardlabel.reports.wording import counted, listed, number
from hardlabel.signals.base import Access

RULE = (
    f"Severe: a bound over all canaries reaches {SEVERE:g}, at which even odds may become {math.exp(SEVERE):.0f} to 1, "
    f"or lies above the accountant's promise. Clear: it reaches {CLEAR:g}, at which they may become "
    f"{math.exp(CLEAR):.1f} to 1. Slight: it lies above 0. Not fully tested: no bound over all canaries does, and "
    "nothing bounds epsilon from above. Bounds for single kinds of canaries do not count, nor does what is promised."
)


@dataclass(frozen=True, kw_only=True)
class CanaryVerdict:
    """What a reader who stops after one paragraph should know.

    Attributes:
        grade: By `RULE`.
        title: The finding in a few words.
        headline: The bounds over all canaries.
        sentences: What they mean, beside the promise if there is one.
    """

    grade: Grade
    title: str
    headline: str
    sentences: tuple[str, ...]


def verdict(results: CanaryResults) -> CanaryVerdict:
    """Says in plain words what was proved."""
    whole = [one for one in results.bounds if one.kind == ALL]
    highest, found = results.highest, results.verdict
    level = f"{100 * results.confidence:g} %"
    told: list[str] = []
    if highest > 0:
        shown = listed([f"{proved(one.epsilon)} for an attacker who sees {sees(one)}" for one in whole])
        headline = f"With {level} confidence each, epsilon of this training is at least {shown}."
        told.append(
            "Epsilon bounds how far a model's answers may change what is known of one record: at "
            f"{proved(highest)}, even odds that a record was trained on may become {odds(highest)}."
        )
    else:
        headline = (
            "Nothing was proved: no bound over all canaries lies above 0. This does not say that the training is "
            "private: other canaries, more of them, or a stronger attack may show more."
        )
    told += _promise(results, highest)
    return CanaryVerdict(grade=found.grade, title=found.title, headline=headline, sentences=tuple(told))


def sees(one: CanaryBound) -> str:
    """What the attacker sees, as a sentence says it."""
    return "labels only" if one.access == Access.LABEL else "confidences"


def proved(epsilon: float) -> str:
    """A lower bound to two decimals, rounded down: no more than was proved."""
    return f"{math.floor(100 * epsilon) / 100:.2f}"


def odds(epsilon: float) -> str:
    """What even odds may become, "4.5 to 1", rounded down."""
    factor = math.exp(epsilon)
    return f"{number(math.floor(factor) if factor >= 10 else math.floor(10 * factor) / 10)} to 1"


def bounds_figure(results: CanaryResults) -> Figure:
    """Every bound as a mark with a line to its right, and where the accountant's promise lies."""
    row, top, start, end = 26.0, 26.0, 150.0, WIDTH - 48.0
    bottom = top + row * len(results.bounds)
    promise = None if results.guarantee is None else results.guarantee.epsilon
    high = max([1.0, *(one.epsilon for one in results.bounds), *([] if promise is None else [promise])])
    across = Scale(low=0.0, high=1.05 * high, start=start, end=end)
    parts = [line((across(tick), top - 6), (across(tick), bottom), "grid") for tick in across.ticks()]
    parts += [text(across(tick), bottom + 16, f"{tick:g}", anchor="middle") for tick in across.ticks()]
    if promise is not None:
        parts += [line((across(promise), top - 6), (across(promise), bottom), "limit")]
        parts += [text(across(promise), top - 11, "promised", anchor="middle")]
    styles = {Access.LABEL: Style(index=0, scores=False), Access.SCORES: Style(index=1, scores=True)}
    for place, one in enumerate(results.bounds):
        y, style = top + row * (place + 0.5), styles[Access(one.access)]
        parts.append(text(start - 10, y + 4, one.kind, anchor="end", kind="name"))
        parts.append(line((across(one.epsilon), y), (end, y), f"whisker thin {style.classes}"))
        tip = f"{one.kind}, {sees(one)}: at least {proved(one.epsilon)}"
        parts.append(style.marker(across(one.epsilon), y, tip))
        parts.append(text(WIDTH - 4, y + 4, proved(one.epsilon), anchor="end", kind="name"))
    parts.append(text((start + end) / 2, bottom + 34, "epsilon, at least", anchor="middle", kind="axis-name"))
    shown = [access for access in styles if any(one.access == access for one in results.bounds)]
    names = {Access.LABEL: "sees labels only", Access.SCORES: "sees confidences"}
    told = "; ".join(f"{one.kind}, {sees(one)}: {proved(one.epsilon)}" for one in results.bounds)
    return Figure(
        name="bounds",
        title="What was proved of epsilon",
        caption="The true epsilon lies on the line to the right of a mark. "
        + ("" if promise is None else "Above the dashed line training would break its promise. ")
        + "Quote the bounds over all canaries: the best of several kinds looks better than it is.",
        svg=picture(bottom + 42, f"Lower bounds on epsilon: {told}.", parts),
        legend=[(styles[access].swatch(), names[access]) for access in shown],
        header=["Canaries", "Attacker sees", "Epsilon, at least"],
        rows=[[one.kind, sees(one), proved(one.epsilon)] for one in results.bounds],
    )


def planted(results: CanaryResults) -> str:
    """How many canaries there were, and how many were planted."""
    if results.runs > 1:
        return f"one, in {number(results.planted)} of {counted(results.runs, 'training')}"
    return f"{number(results.planted)} of {number(sum(results.canaries.values()))}, in one training"


def _promise(results: CanaryResults, highest: float) -> list[str]:
    above = results.guarantee
    if above is None:
        return ["The training promises nothing: no bound from above is known."]
    said = f"The {above.accountant} accountant promises that epsilon is at most {above.epsilon:.4g}"
    if results.kept:
        return [f"{said}; what was proved from below, {proved(highest)}, does not contradict it."]
    return [
        f"{said}, and {proved(highest)} was proved from below: the training or its accounting is wrong, or this is one "
        f"of the {100 * (1 - results.confidence):.0f} in 100 bounds that prove too much."
    ]

"""What the report of a comparison of defenses shows: verdict, groups, and the plot of accuracy against leakage."""

import itertools
import math
from collections.abc import Sequence

from hardlabel.defenses.table import TABLE
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.defenses import NONE, DefendResults, DefenseResult
from hardlabel.records.recommendation import grade, title
from hardlabel.records.verdict import Grade
from hardlabel.reports.figures import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, Figure, frame, names
from hardlabel.reports.places import apart, labels
from hardlabel.reports.svg import Point, Scale, Style, line, path, picture, text
from hardlabel.reports.wording import figure, percent

UNDEFENDED, TRAINING, ANSWERS, BOTH = "undefended", "changes the training", "changes the answers", "changes both"
MARK = 11.0  # The room that a mark takes.
STEP = 0.02  # Axes end at multiples of it.
KINDS = (UNDEFENDED, TRAINING, ANSWERS, BOTH)


def verdict(results: DefendResults) -> tuple[Grade, str]:
    """How the page's first box is coloured, and its title."""
    return grade(results), title(results)


def kind(one: DefenseResult) -> str:
    """What a defense changes, one of KINDS."""
    if one.defense == NONE:
        return UNDEFENDED
    row = TABLE[one.defense]
    trains = row.trains or row.prepares
    return BOTH if trains and row.guards else TRAINING if trains else ANSWERS


def by_kind(results: DefendResults) -> list[tuple[str, list[DefenseResult]]]:
    """The defenses in groups, those that are there."""
    groups = [(name, [one for one in results.defenses if kind(one) == name]) for name in KINDS]
    return [group for group in groups if group[1]]


def numbered(results: DefendResults) -> dict[str, int]:
    """The number of each defense in the plot, by name: its place in the table."""
    ordered = [one.name for _, group in by_kind(results) for one in group]
    return {name: place for place, name in enumerate(ordered, start=1)}


def front_figure(results: DefendResults) -> Figure:
    """Test accuracy against the strongest attack's AUC, with intervals both ways and the line of the front."""
    told = results.defenses
    low, high = _ends([one.test_accuracy for one in told], STEP)
    across = Scale(low=low, high=high, start=LEFT, end=RIGHT)
    low, high = _ends([one.worst.auc for one in told], STEP)
    up = Scale(low=low, high=high, start=BOTTOM, end=TOP)
    parts = frame(across, up, percent, lambda tick: f"{tick:.2f}")
    parts += names("Test accuracy", "AUC of the strongest attack")
    if low <= 0.5 <= high:
        parts.append(line((LEFT, up(0.5)), (RIGHT, up(0.5)), "chance"))
    front = sorted((one for one in told if one.front), key=_accuracy)
    if len(front) > 1:
        parts.append(path(_staircase([(across(_accuracy(one)), up(_auc(one))) for one in front]), "curve front"))
    styles = {name: Style(index=place, scores=False) for place, name in enumerate(KINDS)}
    numbers = numbered(results)
    exact = [(across(_accuracy(one)), up(_auc(one))) for one in told]
    marks = apart(exact, gap=MARK)
    for one, (x, y), mark in zip(told, exact, marks, strict=True):
        accurate, leaking, thin = one.test_accuracy, one.worst.auc, f"whisker thin {styles[kind(one)].classes}"
        if accurate.low is not None and accurate.high is not None:
            parts.append(line((across(accurate.low), y), (across(accurate.high), y), thin))
        if leaking.low is not None and leaking.high is not None:
            parts.append(line((x, up(leaking.low)), (x, up(leaking.high)), thin))
        if mark != (x, y):
            parts.append(line((x, y), mark, "leader"))
    for one, mark in zip(told, marks, strict=True):
        tip = f"{one.name}: accuracy {figure(one.test_accuracy, percent)}, AUC {figure(one.worst.auc)}"
        parts.append(styles[kind(one)].marker(*mark, tip))
    wanted = [place for place, one in enumerate(told) if one.front or one.defense == NONE]
    for place, (x, y) in labels(marks, wanted, gap=MARK).items():
        parts.append(text(x, y + 4, str(numbers[told[place].name]), anchor="middle", kind="name"))
    shown = [name for name in KINDS if any(kind(one) == name for one in told)]
    return Figure(
        name="front",
        title="Accuracy against leakage",
        caption=(
            "Further right is more accurate, further down leaks less: 0.5 is guessing. Thin lines are intervals. "
            "No defense beats those on the dashed front in accuracy or leakage without being worse in the other. "
            "Numbers are those of the table; only the front and the undefended models have theirs here. Marks that "
            "would cover each other stand beside their place, with a line to it."
        ),
        svg=picture(HEIGHT, f"Test accuracy and strongest attack's AUC of {len(told)} ways; table below.", parts),
        legend=[(styles[name].swatch(), name) for name in shown],
        header=["Defense", "Test accuracy", "Strongest attack's AUC", "On the front"],
        rows=[
            [
                f"{numbers[one.name]} {one.name}",
                figure(one.test_accuracy, percent),
                figure(one.worst.auc),
                "yes" if one.front else "no",
            ]
            for one in told
        ],
    )


def _ends(estimates: Sequence[Estimate], step: float) -> tuple[float, float]:
    """Round ends of an axis that hold all figures and intervals."""
    values = [end for one in estimates for end in (one.value, one.low, one.high) if end is not None]
    return math.floor(min(values) / step + 1e-9) * step, math.ceil(max(values) / step - 1e-9) * step


def _staircase(points: Sequence[Point]) -> list[Point]:
    """The least found at each accuracy: from a point of the front up to the next one's AUC, then along to it."""
    steps = [points[0]]
    for before, after in itertools.pairwise(points):
        steps += [(before[0], after[1]), after]
    return steps


def _accuracy(one: DefenseResult) -> float:
    return one.test_accuracy.value or 0.0


def _auc(one: DefenseResult) -> float:
    return one.worst.auc.value or 0.0

"""The report's figures: ROC, score histograms and leakage against queries."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hardlabel.metrics.rates import FALSE_ALARMS
from hardlabel.records.model import AttackResult, Results
from hardlabel.records.verdict import Graded
from hardlabel.reports.attacker import OWN, own_models
from hardlabel.reports.svg import WIDTH, Point, Scale, Style, element, line, path, picture, text
from hardlabel.reports.tables import featured, lowest_rate
from hardlabel.reports.wording import counted, figure, number, percent, score
from hardlabel.signals.base import Access

LEFT, RIGHT, TOP, BOTTOM, HEIGHT = 50.0, WIDTH - 14.0, 26.0, 262.0, 306.0
Write = Callable[[float], str]
MARKED = 0.6  # The share of the ROC's axis, from the right, on which marks stand.
READ_AT = (0.001, 0.01, 0.1, 0.5)  # False-positive rates at which the ROC's table reads the curves.


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing and what says the same in words: its legend and the table behind it.

    Attributes:
        name: Unique on the page, for links.
        title, caption: What is shown, and how to read it.
        svg: The drawing, with an accessible name.
        legend: Mark and text per series; empty where the drawing labels itself.
        header, rows: The figures drawn; the first column names the row.
    """

    name: str
    title: str
    caption: str
    svg: Markup
    legend: Sequence[tuple[Markup, str]] = ()
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def styles(attacks: Sequence[Graded], first: Sequence[Graded] = ()) -> dict[str, Style]:
    """How each attack is drawn, by name, in the order given; those in `first` get colours of their own first."""
    names = list(dict.fromkeys(attack.name for attack in (*first, *attacks)))
    sees = {attack.name: attack.access for attack in attacks}
    return {name: Style(index=index, scores=sees[name] == Access.SCORES) for index, name in enumerate(names)}


def curves(results: Results, attacks: Sequence[AttackResult], strongest: str | None) -> list[AttackResult]:
    """The attacks whose ROC is drawn: the one quoted, the choice of the ranking, the one to beat, and the strongest."""
    return featured(attacks, [strongest, results.choice.attack if results.choice else None, "gap"])


def roc_figure(
    results: Results,
    attacks: Sequence[AttackResult],
    strongest: str | None,
    drawn: Mapping[str, Style] | None = None,
) -> Figure:
    """ROC curves on logarithmic axes, as steps: never interpolated between thresholds.

    Of many attacks `curves` are drawn; the table reads all.
    """
    shown = curves(results, attacks, strongest)
    smallest = min(0.5, 1 / max(results.nonmembers, 1))  # One non-member: no false-positive rate lies below.
    resolvable = FALSE_ALARMS * smallest
    across = Scale(low=smallest, high=1.0, start=LEFT, end=RIGHT, log=True)
    up = Scale(low=smallest, high=1.0, start=BOTTOM, end=TOP, log=True)
    drawn, middle = drawn or styles(attacks, shown), smallest**0.5
    parts = [*frame(across, up, percent, percent), *names("False alarms (FPR)", "Members found (TPR)")]
    parts += [path([(LEFT, BOTTOM), (RIGHT, TOP)], "chance"), text(across(middle) + 8, up(middle) + 14, "guessing")]
    if resolvable < 1:
        parts.append(line((across(resolvable), TOP), (across(resolvable), BOTTOM), "limit"))
        parts.append(text(across(resolvable) + 4, BOTTOM - 6, f"resolvable from {percent(resolvable)}"))
    for attack in sorted(shown, key=lambda attack: attack.name == strongest):
        width = " strong" if attack.name == strongest else ""
        points = _steps(attack, across, up, smallest)
        if points:
            parts.append(path(points, f"curve {drawn[attack.name].classes}{width}"))
    # An attack whose scores allow only high rates of false alarms gets its mark further right.
    ordered = sorted(shown, key=lambda attack: min((at for at in attack.roc.fpr if at > 0), default=0.0))
    for attack, at in zip(ordered, _slots(len(shown), smallest), strict=True):
        tpr = _tpr(attack, at)
        if tpr >= smallest:
            tip = f"{attack.name}: finds {percent(tpr)} at {percent(at)} false alarms"
            parts.append(drawn[attack.name].marker(across(at), up(tpr), tip))
    rows = [[attack.name, *(_read(attack, fpr, results.nonmembers) for fpr in READ_AT)] for attack in attacks]
    return Figure(
        name="roc",
        title="Members found against false alarms",
        caption=(
            "Both axes are logarithmic and begin at one non-member. The left side counts if an accusation must not be "
            f"wrong. Left of the vertical line fewer than {FALSE_ALARMS} non-members are false alarms, too few for a "
            "figure. Curves are drawn with few corners and may lie a little low; the table has the figures themselves. "
            "Marks only identify the curves. Solid lines and full marks: attacks that see labels only. Dashed "
            "lines and hollow marks: attacks that see confidences."
            + (f" Of {len(attacks)} attacks {len(shown)} are drawn; the table has all." * (len(shown) < len(attacks)))
        ),
        svg=picture(HEIGHT, f"ROC curves of {len(shown)} attacks on logarithmic axes; table below.", parts),
        legend=[
            (
                drawn[attack.name].swatch(),
                attack.name + (" (quoted in the verdict)" if attack.name == strongest else ""),
            )
            for attack in shown
        ],
        header=["Attack", *(f"at {percent(fpr)} FPR" for fpr in READ_AT)],
        rows=rows,
    )


def queries_figure(attacks: Sequence[AttackResult], drawn: Mapping[str, Style] | None = None) -> Figure:
    """AUC against the mean number of queries per record, on a logarithmic axis.

    Attacks that see confidences ask once: the best of them is a line to compare with, unless there are no others.
    """
    known = [attack for attack in attacks if attack.auc.value is not None]
    labels = [attack for attack in known if attack.access == Access.LABEL]
    line_of = next((attack for attack in known if labels and attack.access == Access.SCORES), None)
    shown = labels or known
    means = [max(attack.queries_per_sample.mean, 1.0) for attack in shown] or [1.0]
    fewest, most = (means[0] / 2, means[0] * 2) if min(means) == max(means) else (min(means), max(means))
    across = Scale(low=fewest, high=most, start=LEFT + 22, end=RIGHT - 22, log=True)
    low, high = auc_range(known)
    up = Scale(low=low, high=high, start=BOTTOM, end=TOP)
    drawn = drawn or styles(attacks)
    parts = [*frame(across, up, number, lambda tick: f"{tick:.2f}"), *names("Queries per record (mean)", "AUC")]
    parts += [line((LEFT, up(0.5)), (RIGHT, up(0.5)), "chance")]
    if line_of is not None:
        y = up(line_of.auc.value or 0.0)
        parts.append(line((LEFT, y), (RIGHT, y), f"curve {drawn[line_of.name].classes}"))
    taken: list[float] = []
    for attack in shown:
        x = _beside(across(max(attack.queries_per_sample.mean, 1.0)), taken)
        auc, style = attack.auc, drawn[attack.name]
        if auc.low is not None and auc.high is not None:
            parts.append(line((x, up(auc.low)), (x, up(auc.high)), f"whisker {style.classes}"))
        tip = f"{_with_models(attack)}: AUC {figure(auc)}, {number(attack.queries_per_sample.mean)} queries"
        parts.append(style.marker(x, up(auc.value or 0.0), tip))
    legend = [(drawn[attack.name].swatch(), _with_models(attack)) for attack in shown]
    if line_of is not None:
        legend.append((drawn[line_of.name].line(), f"{_with_models(line_of)} (sees confidences)"))
    return Figure(
        name="queries",
        title="Leakage against queries",
        caption=(
            "What the attacker gains by more queries per record. The number of its own models stands behind the name. "
            "Attacks with about the same number of queries stand side by side; queries that belong to no record are in "
            "the table of costs."
            + (" The dashed line is the best attack that sees confidences." if line_of is not None else "")
        ),
        svg=picture(HEIGHT, "AUC with interval against mean queries per record; table below.", parts),
        legend=legend,
        header=["Attack", "Queries per record, mean", OWN, "AUC"],
        rows=[
            [attack.name, number(attack.queries_per_sample.mean), own_models(attack), figure(attack.auc)]
            for attack in known
        ],
    )


def histogram_figure(attack: AttackResult, members: int, nonmembers: int) -> Figure:
    """How one attack's scores spread over members and non-members."""
    bins = attack.histogram
    highest = max([0.0, *bins.members, *bins.nonmembers]) or 1.0
    across = Scale(low=bins.edges[0], high=bins.edges[-1], start=LEFT, end=RIGHT)
    up = Scale(low=0.0, high=highest, start=BOTTOM, end=TOP)
    parts = frame(across, up, score, percent)
    parts += names("Score (higher: likelier a member)", "Share of the group")
    full, hollow = _outline(bins.edges, bins.members, across, up), _outline(bins.edges, bins.nonmembers, across, up)
    parts += [path(full, "area member"), path(hollow, "outline nonmember")]
    sees = "confidences" if attack.access == Access.SCORES else "labels only"
    return Figure(
        name=f"scores-{attack.access}",
        title=f"Scores of “{attack.name}” (sees {sees})",
        caption=(
            "The less the two shapes overlap, the more the attack can tell. Scores beyond the axis stand at its ends."
        ),
        svg=picture(HEIGHT, f"Histogram of {attack.name}'s scores, members and non-members; table below.", parts),
        legend=[
            (_swatch("area member"), f"members (n = {members:,})"),
            (_swatch("outline nonmember"), f"non-members (n = {nonmembers:,})"),
        ],
        header=["Score", "Members", "Non-members"],
        rows=[
            [f"{score(low)} to {score(high)}", percent(inside), percent(outside)]
            for low, high, inside, outside in zip(
                bins.edges[:-1], bins.edges[1:], bins.members, bins.nonmembers, strict=True
            )
        ],
    )


def auc_range(attacks: Sequence[Graded], *more: float) -> tuple[float, float]:
    """Round ends that hold every AUC, every interval, .5 and `more`."""
    ends = [0.45, 0.55, *more]
    for attack in attacks:
        ends += [end for end in (attack.auc.value, attack.auc.low, attack.auc.high) if end is not None]
    return math.floor(min(ends) * 20) / 20, math.ceil(max(ends) * 20) / 20


def _with_models(attack: AttackResult) -> str:
    return f"{attack.name}, {counted(attack.references, 'model')}" if attack.references else attack.name


def frame(across: Scale, up: Scale, write_x: Write, write_y: Write) -> list[Markup]:
    """Grid and tick labels."""
    parts = []
    for tick in across.ticks(5):
        parts.append(line((across(tick), TOP), (across(tick), BOTTOM), "grid"))
        parts.append(text(across(tick), BOTTOM + 16, write_x(tick), anchor="middle"))
    for tick in up.ticks():
        parts.append(line((LEFT, up(tick)), (RIGHT, up(tick)), "grid"))
        parts.append(text(LEFT - 6, up(tick) + 4, write_y(tick), anchor="end"))
    return parts


def names(below: str, above: str) -> list[Markup]:
    """What the axes show: the horizontal one below the plot, the vertical one above it, unrotated."""
    return [
        text(RIGHT, BOTTOM + 36, below, anchor="end", kind="axis-name"),
        text(2.0, 12.0, above, kind="axis-name"),
    ]


def _steps(attack: AttackResult, across: Scale, up: Scale, smallest: float) -> list[Point]:
    """The curve as a staircase inside the frame, from the first threshold that finds enough members to show."""
    points: list[Point] = []
    before = 0.0
    for fpr, tpr in zip(attack.roc.fpr, attack.roc.tpr, strict=True):
        if tpr >= smallest:
            # What is found below the smallest rate shown is there from the left edge on.
            corner = [(across(fpr), up(before)), (across(fpr), up(tpr))]
            points = [*points, *corner] if fpr > smallest * (1 + 1e-9) else [(LEFT, up(tpr))]
        before = tpr
    return points


def _read(attack: AttackResult, fpr: float, nonmembers: int) -> str:
    """The largest TPR at an FPR of at most `fpr`, or why there is none."""
    if fpr * nonmembers < FALSE_ALARMS * (1 - 1e-9):
        return "not resolvable"
    lowest = lowest_rate(attack, fpr)
    if lowest is not None:
        return f"no threshold this low; lowest is {percent(lowest)}"
    # The record's curve has few corners, and may have none where a rate's figure is read.
    known = attack.tpr_at_fpr.get(str(fpr))
    return percent(_tpr(attack, fpr) if known is None or known.value is None else known.value)


def _slots(count: int, smallest: float) -> list[float]:
    """False-positive rates for one mark on each curve, far enough apart that no mark covers another."""
    begin = smallest**MARKED
    return [begin ** (1 - (place + 0.5) / max(count, 1)) for place in range(count)]


def _tpr(attack: AttackResult, fpr: float) -> float:
    """The largest TPR at an FPR of at most `fpr`."""
    return max((tpr for at, tpr in zip(attack.roc.fpr, attack.roc.tpr, strict=True) if at <= fpr), default=0.0)


def _beside(x: float, taken: list[float], gap: float = 11.0) -> float:
    """The place in the plot nearest to `x` that is `gap` away from those taken; takes it."""
    shifts = (sign * step * gap / 2 for step in range(4 * len(taken) + 2) for sign in (1, -1))
    free = (
        x + shift
        for shift in shifts
        if LEFT + 6 <= x + shift <= RIGHT - 6 and all(abs(x + shift - other) >= gap - 1e-6 for other in taken)
    )
    place = next(free, x)
    taken.append(place)
    return place


def _outline(edges: Sequence[float], shares: Sequence[float], across: Scale, up: Scale) -> list[Point]:
    """The contour of a histogram, from the axis to the axis."""
    points = [(across(edges[0]), up(0.0))]
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        points += [(across(low), up(share)), (across(high), up(share))]
    return [*points, (across(edges[-1]), up(0.0))]


def _swatch(kind: str) -> Markup:
    contour = path([(3.0, 14.0), (3.0, 7.0), (17.0, 7.0), (17.0, 2.0), (31.0, 2.0), (31.0, 14.0)], kind)
    return element("svg", {"viewBox": "0 0 34 16", "class": "swatch", "aria-hidden": "true"}, contour)

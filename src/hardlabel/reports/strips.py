"""AUCs on one line per attack: means with intervals, and a dot for each model that played target.

Dots that would cover each other stand above or below their line.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from hardlabel.records.verdict import Graded
from hardlabel.reports.figures import Figure, auc_range, styles
from hardlabel.reports.svg import WIDTH, Scale, Style, element, line, picture, text
from hardlabel.reports.wording import decimal, figure

STRIP_WIDTH, STRIP_HEIGHT = 116.0, 16.0
RADIUS, GAP = 2.4, 5.2  # Of a dot, and between the middles of two.


def auc_figure(
    attacks: Sequence[Graded],
    drawn: Mapping[str, Style] | None = None,
    *,
    models: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """AUC of every attack with its interval, one line each; with `models`, a dot per model that played target."""
    top, start, end = 26.0, 130.0, WIDTH - 48.0
    dots = models or {}
    low, high = auc_range(attacks, *(auc for aucs in dots.values() for auc in aucs))
    across = Scale(low=low, high=high, start=start, end=end)
    drawn = drawn or styles(attacks)
    levels = {name: stacked([across(auc) for auc in aucs]) for name, aucs in dots.items()}
    deepest = max((max(each, default=0) for each in levels.values()), default=0)
    row = 26.0 + GAP * deepest
    bottom = top + row * len(attacks)
    parts = [line((across(tick), top - 6), (across(tick), bottom), "grid") for tick in across.ticks()]
    parts += [text(across(tick), bottom + 16, f"{tick:.2f}", anchor="middle") for tick in across.ticks()]
    parts += [line((across(0.5), top - 6), (across(0.5), bottom), "chance")]
    parts += [text(across(0.5), top - 11, "guessing", anchor="middle")]
    for index, attack in enumerate(attacks):
        y = top + row * index + 13.0
        parts.append(text(start - 10, y + 4, _cut(attack.name, 19), anchor="end", kind="name"))
        aucs = dots.get(attack.name, ())
        parts += [
            _dot(across(auc), y + 8 + GAP * level, drawn[attack.name], decimal(auc))
            for auc, level in zip(aucs, levels.get(attack.name, ()), strict=True)
        ]
        if attack.auc.value is None:
            parts.append(text(start + 6, y + 4, "undefined"))
            continue
        parts += _bar(attack, drawn[attack.name], across, y)
        parts.append(text(WIDTH - 4, y + 4, decimal(attack.auc.value), anchor="end", kind="name"))
    parts.append(text((start + end) / 2, bottom + 34, "AUC", anchor="middle", kind="axis-name"))
    told = "; ".join(f"{attack.name} {figure(attack.auc)}" for attack in attacks)
    caption = "An interval that crosses the line of guessing proves nothing. Full marks: attacks that see labels only."
    if dots:
        caption += " Each dot below an interval is one model that played target; the mark is their mean."
    return Figure(
        name="auc",
        title="Mean AUC of each attack, and each model's" if dots else "What each attack can tell: AUC with interval",
        caption=caption,
        svg=picture(bottom + 42, f"AUC with interval per attack: {told}.", parts),
        header=["Attack", "Mean AUC", "Of each model"] if dots else ["Attack", "AUC"],
        rows=[
            [attack.name, figure(attack.auc), *([", ".join(map(decimal, dots[attack.name]))] if dots else [])]
            for attack in attacks
        ],
    )


def strip(aucs: Sequence[float], low: float, high: float, style: Style | None = None) -> Markup:
    """A line from `low` to `high` with a dot per model and a tick at 0.5, small enough for a table's cell."""
    across = Scale(low=low, high=high, start=5.0, end=STRIP_WIDTH - 5.0)
    levels = stacked([across(auc) for auc in aucs])
    height = STRIP_HEIGHT + GAP * max(levels, default=0)
    middle = STRIP_HEIGHT / 2
    parts = [
        line((across(low), middle), (across(high), middle), "grid"),
        line((across(0.5), 1.0), (across(0.5), STRIP_HEIGHT - 1.0), "chance"),
        *(
            _dot(across(auc), middle + GAP * level, style or Style(index=0, scores=False), decimal(auc))
            for auc, level in zip(aucs, levels, strict=True)
        ),
    ]
    label = f"AUC of each model: {', '.join(map(decimal, aucs))}"
    attributes = {"viewBox": f"0 0 {STRIP_WIDTH:g} {height:g}", "class": "strip", "role": "img"}
    return element("svg", {**attributes, "aria-label": label}, *parts)


def stacked(places: Sequence[float]) -> list[int]:
    """A level for each place on a line, 0 where possible, so that dots GAP wide on one level do not cover each other.

    Example:
        >>> from hardlabel.reports.strips import stacked
        >>> stacked([10.0, 11.0, 40.0, 12.0])
        [0, 1, 0, 2]
    """
    levels: list[int] = []
    for index, place in enumerate(places):
        taken = {level for other, level in zip(places[:index], levels, strict=True) if abs(other - place) < GAP}
        levels.append(next(level for level in range(len(places)) if level not in taken))
    return levels


def _dot(x: float, y: float, style: Style, tip: str) -> Markup:
    attributes = {"cx": x, "cy": y, "r": RADIUS, "class": f"dot {style.classes}"}
    return element("circle", attributes, element("title", {}, tip))


def _bar(attack: Graded, style: Style, across: Scale, y: float) -> list[Markup]:
    """One attack's interval and mark on the line at height `y`."""
    auc, parts = attack.auc, []
    if auc.low is not None and auc.high is not None:
        parts.append(line((across(auc.low), y), (across(auc.high), y), f"whisker {style.classes}"))
    parts.append(style.marker(across(auc.value or 0.0), y, f"{attack.name}: {figure(auc)}"))
    return parts


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

"""AUCs on one line per attack: means with intervals, and a dot for each model that played target."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from hardlabel.records.verdict import Graded
from hardlabel.reports.figures import Figure, auc_range, styles
from hardlabel.reports.svg import WIDTH, Scale, Style, element, line, picture, text
from hardlabel.reports.wording import decimal, figure

STRIP_WIDTH, STRIP_HEIGHT = 116.0, 16.0


def auc_figure(
    attacks: Sequence[Graded],
    drawn: Mapping[str, Style] | None = None,
    *,
    models: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """AUC of every attack with its interval, one line each; with `models`, a dot per model that played target."""
    row, top, start, end = 26.0, 26.0, 130.0, WIDTH - 48.0
    bottom = top + row * len(attacks)
    dots = models or {}
    low, high = auc_range(attacks, *(auc for aucs in dots.values() for auc in aucs))
    across = Scale(low=low, high=high, start=start, end=end)
    drawn = drawn or styles(attacks)
    parts = [line((across(tick), top - 6), (across(tick), bottom), "grid") for tick in across.ticks()]
    parts += [text(across(tick), bottom + 16, f"{tick:.2f}", anchor="middle") for tick in across.ticks()]
    parts += [line((across(0.5), top - 6), (across(0.5), bottom), "chance")]
    parts += [text(across(0.5), top - 11, "guessing", anchor="middle")]
    for index, attack in enumerate(attacks):
        y = top + row * (index + 0.5)
        parts.append(text(start - 10, y + 4, _cut(attack.name, 19), anchor="end", kind="name"))
        parts += [_dot(across(auc), y + 7, drawn[attack.name]) for auc in dots.get(attack.name, ())]
        if attack.auc.value is None:
            parts.append(text(start + 6, y + 4, "undefined"))
            continue
        parts += _bar(attack, drawn[attack.name], across, y)
        parts.append(text(WIDTH - 4, y + 4, decimal(attack.auc.value), anchor="end", kind="name"))
    parts.append(text((start + end) / 2, bottom + 34, "AUC", anchor="middle", kind="axis-name"))
    told = "; ".join(f"{attack.name} {figure(attack.auc)}" for attack in attacks)
    caption = "An interval that crosses the line of guessing shows nothing; full marks see labels only."
    if dots:
        caption += " Each dot below an interval is one model that played target; the mark is their mean."
    return Figure(
        name="auc",
        title="Mean AUC of each attack, and each model's" if dots else "AUC of each attack, with intervals",
        caption=caption,
        svg=picture(bottom + 42, f"AUC with interval per attack: {told}.", parts),
        header=["Attack", "Mean AUC", "Of each model"] if dots else ["Attack", "AUC"],
        rows=[
            [attack.name, figure(attack.auc), *([", ".join(map(decimal, dots[attack.name]))] if dots else [])]
            for attack in attacks
        ],
    )


def strip(aucs: Sequence[float], low: float, high: float) -> Markup:
    """A line from `low` to `high` with a dot per model and a tick at 0.5, small enough for a table's cell."""
    across = Scale(low=low, high=high, start=5.0, end=STRIP_WIDTH - 5.0)
    middle = STRIP_HEIGHT / 2
    parts = [
        line((across(low), middle), (across(high), middle), "grid"),
        line((across(0.5), 1.0), (across(0.5), STRIP_HEIGHT - 1.0), "chance"),
        *(_dot(across(auc), middle, Style(index=0, scores=False)) for auc in aucs),
    ]
    label = f"AUC of each model: {', '.join(map(decimal, aucs))}"
    attributes = {"viewBox": f"0 0 {STRIP_WIDTH:g} {STRIP_HEIGHT:g}", "class": "strip", "role": "img"}
    return element("svg", {**attributes, "aria-label": label}, *parts)


def _dot(x: float, y: float, style: Style) -> Markup:
    return element("circle", {"cx": x, "cy": y, "r": 2.4, "class": f"dot {style.classes}"})


def _bar(attack: Graded, style: Style, across: Scale, y: float) -> list[Markup]:
    """One attack's interval and mark on the line at height `y`."""
    auc, parts = attack.auc, []
    if auc.low is not None and auc.high is not None:
        parts.append(line((across(auc.low), y), (across(auc.high), y), f"whisker {style.classes}"))
    parts.append(style.marker(across(auc.value or 0.0), y))
    return parts


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"

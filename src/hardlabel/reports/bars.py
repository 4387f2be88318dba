"""The graphic of the first screen: one bar for each attacker, with its interval, beside guessing."""

from collections.abc import Mapping

from markupsafe import Markup

from hardlabel.reports.questions import Bar, Compared
from hardlabel.reports.svg import Scale, Style, element

WIDTH, HEIGHT = 400.0, 12.0  # Stretched to the width that the page has.


def bars(compared: Compared, drawn: Mapping[str, Style]) -> Markup:
    """Bars from 0 to the end of the axis; each has its text beside it, so that the drawing itself is decoration.

    Args:
        compared: What is compared.
        drawn: How attacks are drawn on this page, by name; bars of others are grey.
    """
    guess = compared.bars[0].value
    rows = [
        element(
            "li",
            {},
            element("span", {"class": "who"}, bar.label),
            _drawing(bar, guess, compared.most, drawn.get(bar.owner)),
            _shown(bar),
        )
        for bar in compared.bars
    ]
    return Markup("").join([element("p", {"class": "unit"}, compared.title), element("ul", {"class": "bars"}, *rows)])


def _shown(bar: Bar) -> Markup:
    attributes: dict[str, object] = {"class": "shown"}
    if bar.owner:
        attributes |= {"data-owner": bar.owner, "data-answer": bar.figure, "data-exact": repr(bar.value)}
    return element("span", attributes, bar.shown)


def _drawing(bar: Bar, guess: float, most: float, style: Style | None) -> Markup:
    across = Scale(low=0.0, high=most, start=0.0, end=WIDTH)
    kind = style.classes if style is not None else ("other" if bar.sees or bar.owner else "guess")
    parts = [element("rect", {"x": 0.0, "y": 2.0, "width": across(bar.value), "height": 8.0, "class": f"bar {kind}"})]
    if bar.low is not None and bar.high is not None:
        d = f"M{across(bar.low):.1f} 6H{across(bar.high):.1f}M{across(bar.low):.1f} 3V9M{across(bar.high):.1f} 3V9"
        parts.append(element("path", {"d": d, "class": "range"}))
    if guess > 0:
        parts.append(element("path", {"d": f"M{across(guess):.1f} 0V{HEIGHT:g}", "class": "by-guess"}))
    attributes = {"viewBox": f"0 0 {WIDTH:g} {HEIGHT:g}", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return element("svg", attributes, *parts)

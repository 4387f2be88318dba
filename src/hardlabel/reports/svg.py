"""Drawing plots as SVG that follows the page's colours: scales, frames, curves and markers.

Hand-written rather than plotted: text stays text, colours are the page's CSS variables (so light, dark and print
come for free), and the same record always gives the same bytes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 380  # In user units, near a phone's width in pixels: text keeps its size there and grows on a desk.
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "star", "down", "bar")
# One colour for each attack of a page: twelve hues in two strengths, each with a contrast of 4.5 or more to the page.
LIGHT = (
    *("#1762b6", "#9b4805", "#036f4f", "#8f3ca1", "#725f02", "#0c6a76", "#af2b59", "#446b00", "#684dbf", "#b33022"),
    *("#116c63", "#a82f74", "#004388", "#713408", "#004f38", "#701b82", "#534400", "#0e4b54", "#86143f", "#304c03"),
    *("#4e2e9d", "#8a180d", "#114d46", "#860257"),
)
DARK = (
    *("#73b1ff", "#ff9555", "#1fc893", "#e38df7", "#ccac16", "#2abfd4", "#f98fa9", "#86bf3c", "#b0a2fe", "#fc9382"),
    *("#04c5b5", "#fa8ac2", "#b3d4ff", "#fbc8ac", "#28edaf", "#f2bffd", "#f4ce23", "#49e4fc", "#fdc2ce", "#a8e363"),
    *("#d0cafd", "#ffc4b9", "#4ae6d6", "#febfdc"),
)
COLOURS = len(LIGHT)
FEWEST_TICKS = 3  # A logarithmic axis with fewer powers of ten has 1, 2 and 5 times each.

Point = tuple[float, float]


def element(name: str, attributes: Mapping[str, object], *content: str) -> Markup:
    """An SVG element; attribute values and plain text are escaped, floats shortened."""
    told = "".join(f' {key}="{escape(_short(value))}"' for key, value in attributes.items())
    return Markup(f"<{name}{told}>{''.join(str(escape(part)) for part in content)}</{name}>")


def picture(height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """A whole figure WIDTH units wide, with the accessible name `label`."""
    attributes = {"viewBox": f"0 0 {WIDTH} {_short(height)}", "role": "img", "aria-label": label}
    return element("svg", attributes, *parts)


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str = "tick") -> Markup:
    """A line of text; `kind` is its CSS class."""
    return element("text", {"x": x, "y": y, "text-anchor": anchor, "class": kind}, content)


def line(start: Point, end: Point, kind: str) -> Markup:
    """A straight line; `kind` is its CSS class."""
    return element("line", {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1], "class": kind})


def path(points: Sequence[Point], kind: str) -> Markup:
    """A polyline through at least one point; `kind` is its CSS class."""
    told = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
    return element("path", {"d": f"M{told}", "class": kind})


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps values in [low, high] to positions from `start` to `end`; values outside go to the nearer end.

    `log` needs low > 0. A range of no width maps everything to the middle.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, self._inside(value)))
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside the range, at a step of 1, 2 or 5; where `log`, powers of ten, of few also between."""
        if self.log:
            return self._powers(most)
        if self.high == self.low:
            return [self.low]
        width = _round_step((self.high - self.low) / most)
        first, last = math.ceil(self.low / width - 1e-9), math.floor(self.high / width + 1e-9)
        return [index * width for index in range(first, last + 1)]

    def _powers(self, most: int) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first + 1 >= FEWEST_TICKS:
            step = max(1, math.ceil((last - first + 1) / most))
            return [10.0**power for power in range(first, last + 1, step)]
        values = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        return [value for value in values if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)]

    def _inside(self, value: float) -> float:
        return min(max(value, self.low), self.high)


@dataclass(frozen=True, kw_only=True)
class Style:
    """How one attack is drawn everywhere: a colour and a shape of its own, dashes and hollow marks for scores."""

    index: int
    scores: bool

    @property
    def classes(self) -> str:
        """CSS classes: colour, and "scores" where the attack sees confidences."""
        return f"c{self.index % COLOURS + 1}" + (" scores" if self.scores else "")

    @property
    def shape(self) -> str:
        """One of SHAPES; shifted after every round of colours, so that no pair repeats."""
        return SHAPES[(self.index + self.index // COLOURS) % len(SHAPES)]

    def marker(self, x: float, y: float, tip: str = "") -> Markup:
        """The attack's mark at a point; `tip` is what it says under the pointer."""
        attributes = {"d": _outline(self.shape, x, y), "class": f"mark {self.classes}"}
        return element("path", attributes, *([element("title", {}, tip)] if tip else []))

    def swatch(self) -> Markup:
        """A line with the mark, for legends; decorative, the name stands beside it."""
        return _swatch(path([(1, 8), (33, 8)], f"curve {self.classes}"), self.marker(17, 8))

    def line(self) -> Markup:
        """The same without the mark."""
        return _swatch(path([(1, 8), (33, 8)], f"curve {self.classes}"))


def _swatch(*parts: Markup) -> Markup:
    return element("svg", {"viewBox": "0 0 34 16", "class": "swatch", "aria-hidden": "true"}, *parts)


def _outline(shape: str, x: float, y: float, r: float = 4.2) -> str:
    corners: dict[str, Sequence[Point]] = {
        "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "triangle": [(0, -1.1), (1, 0.8), (-1, 0.8)],
        "down": [(0, 1.1), (1, -0.8), (-1, -0.8)],
        "diamond": [(0, -1.2), (1.0, 0), (0, 1.2), (-1.0, 0)],
        "bar": [(-0.45, -1.2), (0.45, -1.2), (0.45, 1.2), (-0.45, 1.2)],
        "cross": [
            *((-0.4, -1.1), (0.4, -1.1), (0.4, -0.4), (1.1, -0.4), (1.1, 0.4), (0.4, 0.4)),
            *((0.4, 1.1), (-0.4, 1.1), (-0.4, 0.4), (-1.1, 0.4), (-1.1, -0.4), (-0.4, -0.4)),
        ],
        "star": [
            (radius * math.sin(math.pi * i / 5), -radius * math.cos(math.pi * i / 5))
            for i, radius in enumerate((1.35, 0.55) * 5)
        ],
    }
    if shape == "circle":
        left, right = _short(x - r), _short(x + r)
        return f"M{left} {_short(y)}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z" if left != right else ""
    return "M" + "L".join(f"{_short(x + r * dx)} {_short(y + r * dy)}" for dx, dy in corners[shape]) + "Z"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)

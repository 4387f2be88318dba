"""Draws the figures of the site into docs/assets: `python docs/hooks/figures.py`. They show ideas, no measurements."""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "assets"
WIDTH, HEIGHT = 560, 200
INK, MEMBER, OTHER, PALE, LINE = "#333333", "#3f51b5", "#c2620a", "#e8eaf6", "#9e9e9e"


def figure(title: str, *parts: str, height: int = HEIGHT) -> str:
    """An SVG document with a white ground, so that it is readable on light and dark pages."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="13">\n<title>{title}</title>\n'
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def words(x: float, y: float, text: str, *, color: str = INK, anchor: str = "middle") -> str:
    """A line of text."""
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{color}" text-anchor="{anchor}">{text}</text>'


def box(x: float, y: float, width: float, height: float, color: str, *, edge: str = "none") -> str:
    """A rectangle."""
    where = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {where} rx="3" fill="{color}" stroke="{edge}"/>'


def dot(x: float, y: float, color: str, *, radius: float = 4, hollow: bool = False) -> str:
    """A point, filled or hollow."""
    fill = "#ffffff" if hollow else color
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{color}" stroke-width="1.5"/>'


def curve(points: Sequence[tuple[float, float]], color: str, *, dashed: bool = False, fill: str = "none") -> str:
    """A line through points."""
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{way}" fill="{fill}" stroke="{color}" stroke-width="2"{dash}/>'


def arrow(x1: float, y1: float, x2: float, y2: float, color: str = INK) -> str:
    """A line with a head at its end."""
    angle = math.atan2(y2 - y1, x2 - x1)
    sides = [(x2 - 9 * math.cos(angle + turn), y2 - 9 * math.sin(angle + turn)) for turn in (0.4, -0.4)]
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(x2, y2), *sides])
    return curve([(x1, y1), (x2, y2)], color) + f'<polygon points="{head}" fill="{color}"/>'


def bell(center: float, deviation: float, *, base: float, height: float) -> list[tuple[float, float]]:
    """Points of a normal density."""
    xs = [center + deviation * step / 10 for step in range(-32, 33)]
    return [(x, base - height * math.exp(-(((x - center) / deviation) ** 2) / 2)) for x in xs]


def audit() -> str:
    names = [("a record", MEMBER), ("your model", INK), ("labels", INK), ("an attack", INK), ("a score", MEMBER)]
    parts = []
    for i, (name, color) in enumerate(names):
        x = 12 + i * 110
        parts += [box(x, 40, 92, 40, PALE, edge=color), words(x + 46, 65, name, color=color)]
        if i:
            parts.append(arrow(x - 18, 60, x - 2, 60))
    parts += [
        box(342, 125, 92, 40, PALE, edge=OTHER),
        words(388, 142, "the attacker's", color=OTHER),
        words(388, 157, "own models", color=OTHER),
        arrow(388, 125, 388, 82, OTHER),
        box(452, 125, 92, 40, PALE, edge=INK),
        words(498, 142, "figures with"),
        words(498, 157, "intervals"),
        arrow(498, 80, 498, 123),
        words(160, 142, "Who was in the training data meets"),
        words(160, 159, "the scores only at the very end."),
    ]
    return figure("The way of an audit", *parts)


def gap() -> str:
    parts = []
    for y, name, right, color in ((50, "members", 0.95, MEMBER), (115, "non-members", 0.7, OTHER)):
        full = 400
        parts += [
            words(120, y + 25, name, color=color, anchor="end"),
            box(132, y, full * right, 38, color),
            box(132 + full * right, y, full * (1 - right), 38, PALE, edge=color),
            words(132 + full * right / 2, y + 24, "right: called member", color="#ffffff"),
        ]
    parts.append(words(532, 180, "wrong: called non-member", anchor="end"))
    return figure("Members are classified correctly more often", *parts)


def augmentation() -> str:
    parts = []
    kept = (1, 1, 1, 0, 1)
    names = ("as it is", "right", "left", "up", "down")
    shifts = ((0, 0), (8, 0), (-8, 0), (0, -8), (0, 8))
    for i, (bit, name, (dx, dy)) in enumerate(zip(kept, names, shifts, strict=True)):
        x = 30 + i * 105
        parts += [
            box(x, 30, 80, 80, PALE, edge=LINE),
            curve([(x + 28 + dx, 45 + dy), (x + 52 + dx, 45 + dy), (x + 36 + dx, 95 + dy)], MEMBER),
            words(x + 40, 128, name),
            words(x + 40, 155, "keeps: 1" if bit else "loses: 0", color=MEMBER if bit else OTHER),
        ]
    parts.append(words(280, 185, "The bits go to a small network that was trained on the shadow model."))
    return figure("Shifted copies, and which keep the label", *parts)


def noise() -> str:
    draws = random.Random(3)
    parts = [curve([(300, 15), (285, 70), (305, 120), (290, 160)], INK)]
    for x, y in ((120, 85), (255, 85)):
        for _ in range(22):
            px, py = x + draws.gauss(0, 28), y + draws.gauss(0, 22)
            parts.append(dot(px, py, MEMBER if px < 292 else OTHER, radius=3, hollow=True))
        parts.append(dot(x, y, INK, radius=5))
    parts += [
        words(150, 180, "far away: all copies keep the label"),
        words(400, 70, "beyond: another label", color=OTHER),
        words(430, 180, "near: some copies lose it"),
    ]
    return figure("Noisy copies of two records", *parts)


def path() -> str:
    y, start, step = 95, 60, 30
    parts = [arrow(40, y, 530, y, LINE)]
    for i in range(15):
        parts.append(dot(start + i * step, y, MEMBER if i < 9 else OTHER, radius=5, hollow=i not in (0, 4, 7, 8, 9)))
    for where, name, color, up in ((5, "models without the record", LINE, 45), (9, "this model", MEMBER, 20)):
        x = start + (where - 0.5) * step
        parts += [
            curve([(x, y - up), (x, y + 14)], color, dashed=True),
            words(x, y - up - 6, name, color=INK if color == LINE else color),
        ]
    parts += [
        words(start, y + 32, "the record"),
        words(470, y + 32, "another class", color=OTHER),
        words(280, 165, "Filled points were asked about, each where its answer tells most."),
        words(280, 184, "The label changes later than on models without the record: a member."),
    ]
    return figure("Where along a route the label changes", *parts)


def boundary() -> str:
    edge = [(360 + 30 * math.sin(t / 18), t) for t in range(10, 165, 5)]
    steps = [(420, 30), (389, 42), (375, 62), (354, 80), (346, 96), (339, 104)]
    parts = [curve(edge, INK), dot(180, 105, MEMBER, radius=6), curve(steps, OTHER, dashed=True)]
    parts += [dot(x, y, OTHER) for x, y in steps]
    parts += [
        arrow(186, 105, 328, 104, MEMBER),
        words(180, 130, "the record", color=MEMBER),
        words(256, 97, "distance", color=MEMBER),
        words(432, 34, "a start elsewhere", color=OTHER, anchor="start"),
        words(280, 188, "The search walks along the boundary; members lie farther from it."),
    ]
    return figure("The distance to the nearest other label", *parts)


def designed() -> str:
    draws = random.Random(5)
    parts = [dot(150, 95, INK, radius=6), words(150, 192, "the record and its neighbours")]
    for _ in range(34):
        angle, far = draws.uniform(0, 2 * math.pi), draws.uniform(30, 85)
        parts.append(dot(150 + 1.35 * far * math.cos(angle), 92 + 0.9 * far * math.sin(angle), LINE, radius=3))
    parts += [
        dot(220, 58, MEMBER, radius=6),
        arrow(228, 56, 290, 56, MEMBER),
        words(300, 30, "of own models, at this neighbour:", anchor="start"),
        words(300, 58, "with the record: 9 of 10 keep the label", color=MEMBER, anchor="start"),
        words(300, 80, "without it: 3 of 10", color=OTHER, anchor="start"),
        words(300, 115, "so its label tells much:", anchor="start"),
        words(300, 133, "ask the model about it", anchor="start"),
        words(300, 165, "Then the next best, given the answer.", anchor="start"),
    ]
    return figure("Of many neighbours, the one whose label tells most", *parts)


def lira() -> str:
    base = 150
    parts = [
        curve([(40, base), (520, base)], LINE),
        curve(bell(200, 45, base=base, height=105), OTHER),
        curve(bell(350, 38, base=base, height=118), MEMBER),
        words(95, 60, "models without", color=OTHER),
        words(95, 76, "the record", color=OTHER),
        words(445, 50, "models with", color=MEMBER),
        words(445, 66, "the record", color=MEMBER),
        curve([(322, 30), (322, base + 6)], INK, dashed=True),
        words(322, 22, "the model asked"),
        words(280, 184, "The score: how much likelier is the value under the one bell?"),
    ]
    return figure("Values of models with and without the record", *parts)


def dp_sgd() -> str:
    draws = random.Random(7)
    parts = []
    for i in range(7):
        angle, length = -1.2 + i * 0.35, (30, 85, 40, 60, 25, 70, 45)[i]
        for x, most, color in ((90, 99, OTHER), (280, 40, MEMBER)):
            size = min(length, most)
            parts.append(arrow(x, 95, x + size * math.cos(angle), 95 + size * math.sin(angle), color))
    for _ in range(60):
        parts.append(dot(470 + draws.gauss(0, 20), 95 + draws.gauss(0, 20), LINE, radius=1.5))
    parts += [
        '<circle cx="280" cy="95" r="40" fill="none" stroke="#9e9e9e" stroke-dasharray="4 3"/>',
        arrow(430, 95, 470, 95, MEMBER),
        words(110, 180, "each record's gradient", color=OTHER),
        words(285, 180, "clipped to one length", color=MEMBER),
        words(465, 180, "summed, with noise"),
    ]
    return figure("Clipped gradients and noise", *parts)


def memguard() -> str:
    parts = []
    for x, heights, name in (
        (60, (105, 12, 6, 4, 3), "the model's confidences"),
        (330, (62, 30, 16, 12, 10), "what is shown"),
    ):
        parts.append(curve([(x - 10, 140), (x + 180, 140)], LINE))
        for i, height in enumerate(heights):
            parts.append(box(x + i * 35, 140 - height, 24, height, MEMBER if i == 0 else OTHER))
        parts.append(words(x + 85, 162, name))
    parts += [
        arrow(258, 95, 308, 95),
        words(280, 188, "The label stays; the defender's own attack network is left undecided."),
    ]
    return figure("Confidences before and after", *parts)


FIGURES: dict[str, Callable[[], str]] = {
    "audit": audit,
    "gap": gap,
    "augmentation": augmentation,
    "noise": noise,
    "path": path,
    "boundary": boundary,
    "designed": designed,
    "lira": lira,
    "dp-sgd": dp_sgd,
    "memguard": memguard,
}


if __name__ == "__main__":
    for name, draw in FIGURES.items():
        (ASSETS / f"{name}.svg").write_text(draw())

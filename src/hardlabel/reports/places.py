"""Places for marks and numbers in a plot of two figures, so that none covers another."""

import math
from collections.abc import Sequence

from hardlabel.reports.svg import Point

RINGS, ANGLES = 12, 16  # How far around a point a free place is looked for.
HALF_WIDTH, HALF_HEIGHT = 8.0, 6.0  # Of a number of two digits.


def apart(points: Sequence[Point], *, gap: float) -> list[Point]:
    """For each point the nearest free place, at least `gap` from the places before it.

    Where a hundred places around a point are taken, it stays where it is.

    Example:
        >>> from hardlabel.reports.places import apart
        >>> apart([(10.0, 10.0), (10.0, 10.0), (50.0, 10.0)], gap=10.0)
        [(10.0, 10.0), (20.0, 10.0), (50.0, 10.0)]
    """
    places: list[Point] = []
    for point in points:
        free = (place for place in _around(point, gap) if all(math.dist(place, other) > gap - 1e-6 for other in places))
        places.append(next(free, point))
    return places


def labels(marks: Sequence[Point], wanted: Sequence[int], *, gap: float) -> dict[int, Point]:
    """Where the middle of a number stands beside each mark that is wanted; a mark without a free place has none.

    Args:
        marks: The places of all marks.
        wanted: Indices of the marks that get a number.
        gap: The width of a mark.
    """
    found: dict[int, Point] = {}
    for index in wanted:
        x, y = marks[index]
        for ring in (1.0, 1.6, 2.4):
            for dx, dy in ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0)):
                place = (x + dx * ring * (HALF_WIDTH + gap / 4), y + dy * ring * (HALF_HEIGHT + gap / 4))
                if all(_clear(place, mark, gap / 2) for mark in marks) and all(
                    abs(place[0] - other[0]) >= 2 * HALF_WIDTH or abs(place[1] - other[1]) >= 2 * HALF_HEIGHT
                    for other in found.values()
                ):
                    found[index] = place
                    break
            if index in found:
                break
    return found


def _around(point: Point, gap: float) -> list[Point]:
    """The point itself, then places on circles around it, from near to far."""
    places = [point]
    for ring in range(1, RINGS + 1):
        places += [
            (
                point[0] + ring * gap / 2 * math.cos(2 * math.pi * step / ANGLES),
                point[1] + ring * gap / 2 * math.sin(2 * math.pi * step / ANGLES),
            )
            for step in range(ANGLES)
        ]
    return places


def _clear(middle: Point, mark: Point, radius: float) -> bool:
    """Whether a number around `middle` lies outside a mark."""
    dx = max(abs(middle[0] - mark[0]) - HALF_WIDTH, 0.0)
    dy = max(abs(middle[1] - mark[1]) - HALF_HEIGHT, 0.0)
    return math.hypot(dx, dy) >= radius

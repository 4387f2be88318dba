"""How the report writes figures: percentages, intervals, counts and durations."""

import math
from collections.abc import Callable
from datetime import UTC, datetime

from hardlabel.metrics.estimate import Estimate

SPACE = "\u00a0"  # Between a number and its unit, so that no line breaks there.
MINUS = "\u2212"


def decimal(value: float) -> str:
    """A figure on the AUC's scale, three decimals, with a true minus sign."""
    return _sign(f"{value:.3f}")


def percent(value: float) -> str:
    """A share in [0, 1] as a percentage: whole numbers from 10 %, two digits below, never rounded to 0 or 100."""
    share = 100 * value
    if share == 0 or share == 100 or not math.isfinite(share):
        told = f"{share:.0f}"
    elif abs(share) < 0.01:
        told = "<0.01" if share > 0 else ">−0.01"
    elif abs(share) < 10:
        told = f"{float(f'{share:.2g}'):g}"
    elif 99.5 <= share < 99.95:
        told = f"{share:.1f}"
    else:
        told = ">99.9" if 99.95 <= share < 100 else f"{share:.0f}"
    return _sign(told) + SPACE + "%"


def interval(estimate: Estimate, write: Callable[[float], str] = decimal) -> str:
    """The interval alone, "[0.412, 0.550]"; empty where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{write(estimate.low)}, {write(estimate.high)}]"


def figure(estimate: Estimate, write: Callable[[float], str] = decimal) -> str:
    """A figure with its interval, or "undefined"."""
    if estimate.value is None:
        return "undefined"
    return f"{write(estimate.value)} {interval(estimate, write)}".strip()


def number(value: float) -> str:
    """A count or a mean: thousands separated, one decimal only where it says something."""
    if not math.isfinite(value):
        return _sign(f"{value}")
    if abs(value) < 100 and round(value, 1) != round(value):
        return _sign(f"{value:.1f}")
    return _sign(f"{value:,.0f}")


def finely(estimate: Estimate) -> Callable[[float], str]:
    """Writes a difference: `decimal` with more digits, up to six, where an end of the interval would look like 0."""
    ends = [end for end in (estimate.low, estimate.high) if end is not None and end != 0]
    digits = next((digits for digits in range(3, 6) if all(round(end, digits) for end in ends)), 6 if ends else 3)
    return lambda value: _sign(f"{round(value, digits) + 0.0:.{digits}f}")


def counted(count: int, one: str) -> str:
    """A count with its noun: "1 member", "1,250 members"."""
    return f"{number(count)} {one}" + ("" if count == 1 else "s")


def score(value: float) -> str:
    """A membership score, four significant digits."""
    return _sign(f"{value:.4g}")


def times(value: float) -> str:
    """How often something is asked: "once", "twice", "5 times"."""
    return "once" if value == 1 else "twice" if value == 2 else f"{number(value)} times"


def odds(prior: float) -> str:
    """A prior as "1 in 100" where it is one, else as "2.5 in 100"."""
    if prior > 0 and math.isclose(1 / prior, round(1 / prior), rel_tol=1e-9):
        return f"1 in {round(1 / prior):,}"
    return f"{100 * prior:g} in 100"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "0.4 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 10:
        return f"{seconds:.1f}{SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{SPACE}min {whole % 60}{SPACE}s"
    return f"{whole // 3600}{SPACE}h {whole % 3600 // 60}{SPACE}min"


def date(moment: str) -> str:
    """An ISO 8601 moment as "2026-02-03 10:20 UTC"; anything else as it is."""
    try:
        read = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    if read.tzinfo is None:
        return f"{read:%Y-%m-%d %H:%M}"
    return f"{read.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def listed(names: list[str]) -> str:
    """Names as a sentence lists them: "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _sign(told: str) -> str:
    return told.replace("-", MINUS) if told.startswith("-") else told

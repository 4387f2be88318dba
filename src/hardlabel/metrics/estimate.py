"""A figure with its interval, or the reason why there is none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A figure and its confidence interval; "no data" is None and a note, never 0.

    Attributes:
        value: The figure, or None where it cannot be resolved.
        low: Lower end of the interval, or None.
        high: Upper end of the interval, or None.
        note: Why the figure is missing or to be read with care; empty otherwise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @classmethod
    def undefined(cls, note: str) -> "Estimate":
        """No figure, and why."""
        return cls(None, None, None, note)

    def __str__(self) -> str:
        if self.value is None:
            return "n/a"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

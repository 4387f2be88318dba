"""The rules that every record keeps: counts from 0, shares in [0, 1], intervals in order, parts that agree.

A record that hardlabel makes keeps them by itself; they are checked where a record is read from a folder.
"""

import math

from hardlabel.checks import LARGEST, InvalidInput, shown
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.part import RecordPart

# The same name means the same thing in every part.
SHARES = frozenset(
    [
        "prior",
        "confidence",
        "noise",
        "chance",
        "share",
        "rate",
        "delta",
        "sampling_rate",
        "adjusted",
        "margin",
        "auc",
        "aucs",
        "fpr",
        "tpr",
        "tpr_at_fpr",
        "precision",
        "precision_at_prior",
        "recall",
        "train_accuracy",
        "test_accuracy",
        "balanced_accuracy",
        "best_balanced_accuracy",
    ]
)
CHANGES = frozenset(["advantage", "change", "accuracy_change", "over_average", "similarity"])  # In [-1, 1].
DIFFERENCES = frozenset(["Difference", "FewPair"])  # Parts whose figures are differences of shares.
ANY = frozenset(["edges", "separability", "level"])
SLACK = 1e-9  # Rounding.


def check(part: RecordPart, where: str = "") -> None:
    """Refuses a part of a record that breaks a rule; the message names the figure, the rule and the value.

    Raises:
        InvalidInput: A rule is broken.

    Example:
        >>> from hardlabel.records.model import Queries
        >>> from hardlabel.records.rules import check
        >>> check(Queries(mean=3.0, max=-5))
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: max must be 0 or more, got -5
    """
    for name, value in part:
        _check(name, value, f"{where}{name}", type(part).__name__)
    for broken in part.contradictions():
        raise InvalidInput(f"{where}{broken}" if where else broken)


def _check(name: str, value: object, where: str, part: str) -> None:
    if isinstance(value, RecordPart):
        check(value, f"{where}.")
    elif isinstance(value, Estimate):
        _check_estimate(name, value, where, part)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            _check(name, item, f"{where}.{place}", part)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(name, item, f"{where}.{key}", part)
    elif isinstance(value, float):
        _check_range(value, _range(name, part), where)
    elif isinstance(value, int) and not isinstance(value, bool):
        _check_range(value, (0, math.inf), where)
        if value > LARGEST:
            raise InvalidInput(f"{where} must be at most 2**63 - 1, got {shown(value)}")


def _check_estimate(name: str, estimate: Estimate, where: str, part: str) -> None:
    if estimate.value is not None:
        _check_range(estimate.value, _range(name, part), where)
    for end in (estimate.low, estimate.high):
        if end is not None:
            _check_range(end, (-math.inf, math.inf), where)
    if estimate.low is not None and estimate.high is not None and estimate.low > estimate.high + SLACK:
        raise InvalidInput(f"{where} must have an interval in order, got [{estimate.low:g}, {estimate.high:g}]")


def _range(name: str, part: str) -> tuple[float, float]:
    if name in CHANGES or (part in DIFFERENCES and name in SHARES):
        return -1.0, 1.0
    if name in SHARES or (part == "Histogram" and name not in ANY):
        return 0.0, 1.0
    return (-math.inf if name in ANY else 0.0), math.inf


def _check_range(value: float, limits: tuple[float, float], where: str) -> None:
    low, high = limits
    if (isinstance(value, int) or math.isfinite(value)) and low - SLACK <= value <= high + SLACK:
        return
    told = f"lie in [{low:g}, {high:g}]" if math.isfinite(high) else f"be {low:g} or more"
    raise InvalidInput(f"{where} must {told if math.isfinite(low) else 'be finite'}, got {shown(value)}")

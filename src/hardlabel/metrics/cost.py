"""Leakage against queries: which attacks get the most out of the questions they ask."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardlabel import checks
from hardlabel.metrics.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """One attack's leakage and what it costs.

    Attributes:
        name: The attack.
        queries: Queries per sample, 0 or more.
        auc: Area under its ROC curve.
        on_front: Whether no other attack has at least its AUC for at most its queries, and more or fewer of
            one of them. Figures are compared, not intervals: a small lead may be chance.
    """

    name: str
    queries: float
    auc: Estimate
    on_front: bool


def leakage_against_queries(points: Sequence[tuple[str, float, Estimate]]) -> list[CostPoint]:
    """The attacks, cheapest first (then by falling AUC, then by name), and which are on the Pareto front.

    Args:
        points: Name, queries per sample and AUC of each attack. An undefined AUC is never on the front.

    Raises:
        InvalidInput: Queries are negative or not finite.
    """
    for _, queries, _ in points:
        checks.not_negative(queries=queries)
    return [
        CostPoint(name=name, queries=queries, auc=auc, on_front=_on_front(queries, auc, points))
        for name, queries, auc in sorted(points, key=_cheapest_first)
    ]


def _cheapest_first(point: tuple[str, float, Estimate]) -> tuple[float, float, str]:
    name, queries, auc = point
    return queries, 0.0 if auc.value is None else -auc.value, name


def _on_front(queries: float, auc: Estimate, points: Sequence[tuple[str, float, Estimate]]) -> bool:
    if auc.value is None:
        return False
    return not any(
        other.value is not None
        and asked <= queries
        and other.value >= auc.value
        and (asked, other.value) != (queries, auc.value)
        for _, asked, other in points
    )

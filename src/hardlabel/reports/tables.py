"""Rows of the report's tables that are worked out rather than copied from the record."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hardlabel.experiments.record import AttackResult, AuditRecord, Results
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.rates import rate_interval
from hardlabel.signals.base import Access

KINDS = {Access.LABEL: "Sees labels only", Access.SCORES: "Sees confidences too (for comparison)"}


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """A member that an attack is surest of.

    Attributes:
        id, label, score: Of the record.
        rank: 1 for the highest score among members; ties share the smaller rank.
        tied: How many members have this very score, itself included.
        above: Non-members that score at least as high.
        false_alarms: Their share, with its interval.
    """

    id: int
    label: int
    score: float
    rank: int
    tied: int
    above: int
    false_alarms: Estimate


def in_order(results: Results) -> list[AttackResult]:
    """The attacks as every table and figure shows them: labels only first, then by falling AUC, undefined last."""
    return sorted(
        results.attacks,
        key=lambda attack: (
            attack.access != Access.LABEL,
            math.inf if attack.auc.value is None else -attack.auc.value,
            attack.name,
        ),
    )


def by_access(results: Results) -> list[tuple[str, list[AttackResult]]]:
    """The same in groups with a title each; empty groups are left out."""
    groups = [(title, [a for a in in_order(results) if a.access == access]) for access, title in KINDS.items()]
    return [group for group in groups if group[1]]


def rates(results: Results) -> list[str]:
    """The false-positive rates reported, largest first."""
    return sorted({fpr for attack in results.attacks for fpr in attack.tpr_at_fpr}, key=float, reverse=True)


def most_exposed(record: AuditRecord, attack: str | None, most: int = 20) -> list[Exposed]:
    """The members with the highest scores of `attack`, ties in the order of their ids; scores of NaN are left out."""
    if attack is None or record.scores.empty:
        return []
    rows = record.scores[record.scores["attack"] == attack].dropna(subset=["score"])
    member = rows["member"].astype(bool)
    outside = np.sort(rows.loc[~member, "score"].to_numpy(dtype=float))
    inside: pd.DataFrame = rows[member].sort_values(["score", "id"], ascending=[False, True])
    scores = inside["score"].to_numpy(dtype=float)
    found = []
    for index, label, score in zip(inside["id"][:most], inside["label"][:most], scores[:most], strict=True):
        above = len(outside) - int(np.searchsorted(outside, score, side="left"))
        found.append(
            Exposed(
                id=int(index),
                label=int(label),
                score=float(score),
                rank=int((scores > score).sum()) + 1,
                tied=int((scores == score).sum()),
                above=above,
                false_alarms=_share(above, len(outside), record.results.confidence),
            )
        )
    return found


def footnotes(attacks: Sequence[AttackResult]) -> list[tuple[str, str]]:
    """What the notes of figures that do have a value say, once each: (column, note)."""
    columns = {
        "AUC": "auc",
        "Balanced accuracy": "balanced_accuracy",
        "Best balanced accuracy": "best_balanced_accuracy",
        "Precision": "precision",
        "Precision at the prior": "precision_at_prior",
    }
    notes = []
    for title, name in columns.items():
        estimates: list[Estimate] = [getattr(attack, name) for attack in attacks]
        notes += [(title, estimate.note) for estimate in estimates if estimate.value is not None and estimate.note]
    return list(dict.fromkeys(notes))


def _share(hits: int, of: int, confidence: float) -> Estimate:
    if of == 0:
        return Estimate.undefined("there is no non-member to compare with")
    return rate_interval(hits, of, confidence=confidence)

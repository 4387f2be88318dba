"""Rows of the report's tables that are worked out rather than copied from the record."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.rates import rate_interval
from hardlabel.records.exposure import GroupRisk, Standout
from hardlabel.records.model import AttackResult, AuditRecord, Difference
from hardlabel.records.verdict import A, Graded
from hardlabel.reports.wording import counted, listed
from hardlabel.signals.base import Access

APART = 1.0  # Standard deviations between own models, below which chance explains that they answer differently.
KINDS = {Access.LABEL: "Sees labels only", Access.SCORES: "Sees confidences too (for comparison)"}


class Seeing(Protocol):
    """An entry of a record that says what the attacker sees."""

    @property
    def access(self) -> str: ...


S = TypeVar("S", bound=Seeing)
A_co = TypeVar("A_co", bound=Graded, covariant=True)


class Attacked(Protocol[A_co]):
    """The results of either kind of audit, as far as these tables go."""

    @property
    def attacks(self) -> Sequence[A_co]: ...

    @property
    def differences(self) -> Sequence[Difference]: ...


@dataclass(frozen=True, kw_only=True)
class Exposed:
    """A member that an attack is surest of.

    Attributes:
        id, label, score: Of the record.
        pseudonym: What the report calls it; in older records, which have none, its id.
        why: What may make it stand out, in words.
        shown: The record itself, as a data URI or as text; None where the user did not allow it.
        row: Where the record stands in what the audit was given; None in records that do not keep it, and where records
            must not be shown.
        rank: 1 for the highest score among members; ties share the smaller rank.
        tied: How many members have this very score, itself included.
        above: Non-members that score at least as high.
        false_alarms: Their share, with its interval.
    """

    id: int
    pseudonym: str
    why: str
    shown: str | None
    row: int | None
    label: int
    score: float
    rank: int
    tied: int
    above: int
    false_alarms: Estimate


def in_order(results: Attacked[A]) -> list[A]:
    """The attacks as every table and figure shows them: labels only first, then by falling AUC, undefined last."""
    return sorted(
        results.attacks,
        key=lambda attack: (
            attack.access != Access.LABEL,
            math.inf if attack.auc.value is None else -attack.auc.value,
            attack.name,
        ),
    )


def featured(attacks: Sequence[A], first: Sequence[str | None]) -> list[A]:
    """The attacks that curves are drawn of: those named first, then from the strongest on, in the order given.

    At most 5 see labels only and 3 see confidences: more curves than colours cannot be told apart.
    """
    found: list[A] = []
    for access, most in ((Access.LABEL, 5), (Access.SCORES, 3)):
        mine = [attack for attack in attacks if attack.access == access]
        mine.sort(key=lambda attack: first.index(attack.name) if attack.name in first else len(first))
        kept = {attack.name for attack in mine[:most]}
        found += [attack for attack in attacks if attack.access == access and attack.name in kept]
    return found


def by_access(results: Attacked[A]) -> list[tuple[str, list[A]]]:
    """The same in groups with a title each; empty groups are left out."""
    return grouped(in_order(results))


def grouped(entries: Sequence[S]) -> list[tuple[str, list[S]]]:
    """Entries of a record by what the attacker sees, each group with its title; empty groups are left out."""
    groups = [(title, [one for one in entries if one.access == access]) for access, title in KINDS.items()]
    return [group for group in groups if group[1]]


def rates(results: Attacked[Graded]) -> list[str]:
    """The false-positive rates reported, largest first."""
    return sorted({fpr for attack in results.attacks for fpr in attack.tpr_at_fpr}, key=float, reverse=True)


def lowest_rate(attack: AttackResult, fpr: float) -> float | None:
    """The smallest false-positive rate an attack can be used at, where that lies above `fpr` and so nothing is found.

    Scores that many records share allow no threshold between them. None where some threshold finds members within
    `fpr`.
    """
    corners = list(zip(attack.roc.fpr, attack.roc.tpr, strict=True))
    if any(tpr > 0 for at, tpr in corners if at <= fpr):
        return None
    lowest = min((at for at, _ in corners if at > 0), default=0.0)
    return lowest if lowest > fpr else None


def comparisons(results: Attacked[Graded]) -> list[tuple[str, list[Difference]]]:
    """The paired comparisons in groups with a title each; empty groups, and pairs told before, are left out."""
    sees = {attack.name: attack.access for attack in results.attacks}
    label, scores = str(Access.LABEL), str(Access.SCORES)
    groups: dict[str, list[Difference]] = {
        "Labels only, compared with the gap attack": [],
        "Labels only, compared with one another": [],
        "Labels only, compared with confidences": [],
        "Confidences, compared with the gap attack": [],
        "Other comparisons": [],
    }
    labels_gap, labels_labels, labels_scores, scores_gap, other = groups.values()
    # Of a pair told in both directions, the one against the gap attack stays: it is the simplest attack of all.
    told = {frozenset((pair.first, pair.second)) for pair in results.differences if pair.second == "gap"}
    for pair in results.differences:
        kinds = (sees.get(pair.first), sees.get(pair.second))
        if pair.second == "gap":
            (labels_gap if kinds[0] == label else scores_gap).append(pair)
        elif frozenset((pair.first, pair.second)) not in told:
            group = labels_labels if kinds == (label, label) else labels_scores if kinds == (label, scores) else other
            group.append(pair)
    return [(title, pairs) for title, pairs in groups.items() if pairs]


def most_exposed(record: AuditRecord, attack: str | None, most: int = 20) -> list[Exposed]:
    """The members with the highest scores of `attack`, ties in the order of their ids; scores of NaN are left out."""
    if attack is None or record.scores.empty:
        return []
    rows = record.scores[record.scores["attack"] == attack].dropna(subset=["score"])
    member = rows["member"].astype(bool)
    outside = np.sort(rows.loc[~member, "score"].to_numpy(dtype=float))
    inside: pd.DataFrame = rows[member].sort_values(["score", "id"], ascending=[False, True])
    scores = inside["score"].to_numpy(dtype=float)
    known = {one.id: one for one in record.results.exposed}
    open_ = "row" in inside and (record.config.get("show_records") is True or "pseudonym" not in inside)
    given = [int(row) for row in inside["row"][:most]] if open_ else [None] * len(inside[:most])
    called = inside["pseudonym" if "pseudonym" in inside else "id"][:most].astype(str)
    found = []
    head = zip(inside["id"][:most], called, given, inside["label"][:most], scores[:most], strict=True)
    for index, name, row, label, score in head:
        above = len(outside) - int(np.searchsorted(outside, score, side="left"))
        found.append(
            Exposed(
                id=int(index),
                pseudonym=name,
                why=why(known[index]) if index in known else "",
                shown=known[index].shown if index in known else None,
                row=row,
                label=int(label),
                score=float(score),
                rank=int((scores > score).sum()) + 1,
                tied=int((scores == score).sum()),
                above=above,
                false_alarms=_share(above, len(outside), record.results.confidence),
            )
        )
    return found


def why(one: Standout) -> str:
    """Why a record may stand out: its nearest neighbours, near-duplicates, and what own models say of it."""
    told = []
    others = [near for near in one.neighbours if near.label != one.label]
    if one.neighbours:
        nearest = one.neighbours[0]
        told.append(
            f"{len(others)} of its {counted(len(one.neighbours), 'nearest neighbour')} of another class, the nearest: "
            f"{nearest.pseudonym} (class {nearest.label}, similarity {nearest.similarity:.2f})"
        )
    if one.duplicate is not None:
        told.append(f"a near-duplicate of {one.duplicate}")
    if one.separability is not None and one.separability >= APART:
        told.append(f"models trained on it answer differently, by {one.separability:.1f} standard deviations")
    if one.out_loss is not None:
        told.append(f"mean loss {one.out_loss:.2f} of models trained without it")
    if one.chosen:
        told.append(f"chosen as most at risk by {listed(one.chosen)}")
    return "; ".join(told)


def group_tables(groups: Sequence[GroupRisk], attack: str | None) -> list[tuple[str, list[GroupRisk]]]:
    """The groups of each column with the figures of one attack; classes of one model are told elsewhere."""
    mine = [one for one in groups if one.attack == attack]
    return [(name, [one for one in mine if one.slice == name]) for name in dict.fromkeys(one.slice for one in mine)]


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

"""From an attack's scores to its figures, each with an interval."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hardlabel import randomness
from hardlabel.attacks import Attack, Rung
from hardlabel.audits.game.game import Played
from hardlabel.metrics import crossed, intervals, roc
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.model import (
    FPRS,
    AttackResult,
    Choice,
    ClassResult,
    Compute,
    Curve,
    Difference,
    Histogram,
    Queries,
)
from hardlabel.records.recipe import RecipeAttack
from hardlabel.records.verdict import ClassRight

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CURVE_POINTS = 200  # Corners of a ROC curve kept for the report.
BINS = 24  # Bars of a score histogram.
FEWEST_OF_A_CLASS = 10  # A class with fewer members or non-members has no figure.
BASELINES = ("loss", "shadow-network", "lira", "rmia")  # They see scores; compared with every label-only attack.
NO_THRESHOLD = "no shadow model chose a threshold"


def result(
    attack: Attack,
    played: Played,
    *,
    member: Bools,
    labels: Ints,
    right: Bools,
    prior: float,
    overhead: Mapping[str, int],
    seed: int,
) -> AttackResult:
    """One attack's entry in the record.

    Args:
        attack: The row of the table.
        played: Its outcome.
        member: Which samples are members, (n,).
        labels: True classes, (n,).
        right: Which samples the target classifies correctly, (n,).
        prior: Share of members among the samples that an attacker would ask about.
        overhead: Queries charged to no sample, by purpose.
        seed: Fixes the bootstrap.
    """
    scores = played.scores.numpy()
    bootstrap = randomness.derive(seed, "bootstrap", attack.name)
    figures = None
    if played.threshold is not None:
        figures = intervals.at_threshold(scores, member, played.threshold, prior=prior)
    missing = Estimate.undefined(NO_THRESHOLD)
    queries = played.measurement.queries.numpy()
    return AttackResult(
        name=attack.name,
        access=str(attack.access),
        signal=played.signal,
        calibration=played.calibration,
        source=attack.source,
        queries_per_sample=Queries(mean=float(queries.mean()), max=int(queries.max())),
        overhead=dict(overhead),
        incomplete=int((~played.measurement.complete).sum()),
        auc=intervals.auc_interval(scores, member),
        balanced_accuracy=figures.balanced_accuracy if figures else missing,
        advantage=figures.advantage if figures else missing,
        precision=figures.precision if figures else missing,
        precision_at_prior=figures.precision_at_prior if figures else missing,
        best_balanced_accuracy=intervals.best_balanced_accuracy(scores, member, seed=bootstrap),
        tpr_at_fpr={f"{fpr:g}": intervals.tpr_at_fpr(scores, member, fpr, seed=bootstrap) for fpr in FPRS},
        roc=_curve(scores, member),
        histogram=_histogram(scores, member),
        classes=[_of_class(int(label), scores, member, labels, right) for label in np.unique(labels)],
        reference_compute=Compute(rows=played.reference_rows, seconds=played.reference_seconds),
        references=played.references,
        seconds=played.seconds,
    )


def recipe_result(attack: Attack, played: Sequence[Played], *, inside: Bools, seed: int) -> RecipeAttack:
    """One attack's entry in the record of a recipe, from its games against several targets.

    Args:
        attack: The row of the table.
        played: Its outcome on each target.
        inside: Which samples are members of which target, (T, n).
        seed: Fixes the bootstrap.
    """
    scores = np.stack([outcome.scores.numpy() for outcome in played])
    queries = np.stack([outcome.measurement.queries.numpy() for outcome in played])
    bootstrap = randomness.derive(seed, "bootstrap", attack.name)
    return RecipeAttack(
        name=attack.name,
        access=str(attack.access),
        signals=sorted({outcome.signal for outcome in played}),
        calibration=played[0].calibration,
        source=attack.source,
        queries_per_sample=Queries(mean=float(queries.mean()), max=int(queries.max())),
        overhead=max((outcome.overhead for outcome in played), key=lambda queries: sum(queries.values())),
        auc=crossed.mean_auc(scores, inside),
        aucs=crossed.aucs(scores, inside).tolist(),
        spread=crossed.spread(scores, inside),
        balanced_accuracy=[_balanced(outcome, member) for outcome, member in zip(played, inside, strict=True)],
        tpr_at_fpr={f"{fpr:g}": crossed.pooled_tpr(scores, inside, fpr, seed=bootstrap) for fpr in FPRS},
        references=max(outcome.references for outcome in played),
        reference_compute=Compute(
            rows=max(outcome.reference_rows for outcome in played),
            seconds=max(outcome.reference_seconds for outcome in played),
        ),
        seconds=sum(outcome.seconds for outcome in played),
    )


def _balanced(played: Played, member: Bools) -> float | None:
    if played.threshold is None:
        return None
    called = played.scores.numpy() >= played.threshold
    return float((called[member].mean() + 1 - called[~member].mean()) / 2)


def recipe_differences(scores: Mapping[str, Floats], access: Mapping[str, str], inside: Bools) -> list[Difference]:
    """The comparisons of `differences`, over several targets (T, n)."""
    return [
        Difference(first=first, second=second, auc=crossed.auc_difference(scores[first], scores[second], inside))
        for first, second in _pairs(scores, access)
    ]


def differences(scores: Mapping[str, Floats], access: Mapping[str, str], member: Bools) -> list[Difference]:
    """Paired comparisons, fixed in advance, so that no comparison is picked for its outcome.

    They compare all attacks with the gap attack, and label-only attacks with BASELINES and with each other.
    """
    return [
        Difference(first=first, second=second, auc=intervals.auc_difference(scores[first], scores[second], member))
        for first, second in _pairs(scores, access)
    ]


def _pairs(scores: Mapping[str, Floats], access: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs = [(name, "gap") for name in scores if name != "gap" and "gap" in scores]
    labels = [name for name in scores if access[name] == "label"]
    pairs += [(name, baseline) for baseline in BASELINES if baseline in scores for name in labels]
    return pairs + [pair for pair in itertools.combinations(labels, 2) if "gap" not in pair]


def class_rights(member: Bools, labels: Ints, right: Bools) -> list[ClassRight]:
    """How often the target is right on each class, from (n,) memberships, true classes and right answers."""
    return [
        ClassRight(
            label=int(label),
            members=int((member & (labels == label)).sum()),
            nonmembers=int((~member & (labels == label)).sum()),
            right_members=int((member & right & (labels == label)).sum()),
            right_nonmembers=int((~member & right & (labels == label)).sum()),
        )
        for label in np.unique(labels)
    ]


def choice_of(rung: Rung) -> Choice:
    """The record's entry of the attack that the ranking names."""
    return Choice(attack=rung.attack, queries=rung.queries, why=rung.why, weak=rung.weak)


def _of_class(label: int, scores: Floats, member: Bools, labels: Ints, right: Bools) -> ClassResult:
    rows = labels == label
    inside, outside = rows & member, rows & ~member
    fewest = min(inside.sum(), outside.sum())
    return ClassResult(
        label=label,
        members=int(inside.sum()),
        nonmembers=int(outside.sum()),
        train_accuracy=float(right[inside].mean()) if inside.any() else None,
        test_accuracy=float(right[outside].mean()) if outside.any() else None,
        auc=intervals.auc_interval(scores[rows], member[rows])
        if fewest >= FEWEST_OF_A_CLASS
        else Estimate.undefined(f"needs {FEWEST_OF_A_CLASS} members and non-members, got {fewest}"),
    )


def _curve(scores: Floats, member: Bools) -> Curve:
    thin = roc.thinned(roc.roc(scores, member), CURVE_POINTS)
    return Curve(fpr=thin.fpr.tolist(), tpr=thin.tpr.tolist())


def _histogram(scores: Floats, member: Bools) -> Histogram:
    # The outermost per cent is drawn at the edges, so that a single far score does not flatten all others.
    low, high = np.quantile(scores, [0.005, 0.995])
    if not low < high:
        low, high = scores.min() - 0.5, scores.max() + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.histogram(scores[rows].clip(low, high), edges)[0] / rows.sum() for rows in (member, ~member)]
    return Histogram(edges=edges.tolist(), members=shares[0].tolist(), nonmembers=shares[1].tolist())

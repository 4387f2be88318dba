"""From an attack's scores to its figures, each with an interval."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hardlabel import randomness
from hardlabel.attacks import Attack
from hardlabel.experiments.game import Played
from hardlabel.experiments.recipe_record import RecipeAttack
from hardlabel.experiments.record import (
    FPRS,
    AttackResult,
    ClassResult,
    Compute,
    Curve,
    Difference,
    Histogram,
    Queries,
)
from hardlabel.metrics import crossed, intervals, roc
from hardlabel.metrics.estimate import Estimate

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CURVE_POINTS = 200  # Corners of a ROC curve kept for the report.
BINS = 24  # Bars of a score histogram.
FEWEST_OF_A_CLASS = 10  # Members, and non-members, below which a class has no figure.
BASELINES = ("loss", "shadow-network", "lira")  # Attacks that see scores, which label-only ones are held against.
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
        played: What it did.
        member: Who is a member, (n,).
        labels: True classes, (n,).
        right: Whom the target classifies rightly, (n,).
        prior: Share of members among those an attacker would ask about.
        overhead: Queries that belong to no sample.
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
        played: What it did to each target.
        inside: Who is a member of which target, (T, n).
        seed: Fixes the bootstrap.
    """
    scores = np.stack([one.scores.numpy() for one in played])
    queries = np.stack([one.measurement.queries.numpy() for one in played])
    bootstrap = randomness.derive(seed, "bootstrap", attack.name)
    return RecipeAttack(
        name=attack.name,
        access=str(attack.access),
        signals=sorted({one.signal for one in played}),
        calibration=played[0].calibration,
        source=attack.source,
        queries_per_sample=Queries(mean=float(queries.mean()), max=int(queries.max())),
        overhead=max((one.overhead for one in played), key=lambda told: sum(told.values())),
        auc=crossed.mean_auc(scores, inside),
        aucs=crossed.aucs(scores, inside).tolist(),
        spread=crossed.spread(scores, inside),
        balanced_accuracy=[_balanced(one, who) for one, who in zip(played, inside, strict=True)],
        tpr_at_fpr={f"{fpr:g}": crossed.pooled_tpr(scores, inside, fpr, seed=bootstrap) for fpr in FPRS},
        references=max(one.references for one in played),
        reference_compute=Compute(
            rows=max(one.reference_rows for one in played), seconds=max(one.reference_seconds for one in played)
        ),
        seconds=sum(one.seconds for one in played),
    )


def _balanced(played: Played, member: Bools) -> float | None:
    if played.threshold is None:
        return None
    called = played.scores.numpy() >= played.threshold
    return float((called[member].mean() + 1 - called[~member].mean()) / 2)


def recipe_differences(scores: Mapping[str, Floats], access: Mapping[str, str], inside: Bools) -> list[Difference]:
    """The comparisons of `differences` over several targets; label-only attacks against LiRA as well."""
    return [
        Difference(first=one, second=two, auc=crossed.auc_difference(scores[one], scores[two], inside))
        for one, two in _pairs(scores, access)
    ]


def differences(scores: Mapping[str, Floats], access: Mapping[str, str], member: Bools) -> list[Difference]:
    """Paired comparisons that are fixed in advance, so that none is picked for its outcome.

    Every attack against the gap attack; every label-only attack against BASELINES; label-only attacks against one
    another.
    """
    return [
        Difference(first=one, second=two, auc=intervals.auc_difference(scores[one], scores[two], member))
        for one, two in _pairs(scores, access)
    ]


def _pairs(scores: Mapping[str, Floats], access: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs = [(name, "gap") for name in scores if name != "gap" and "gap" in scores]
    labels = [name for name in scores if access[name] == "label"]
    pairs += [(name, other) for other in BASELINES if other in scores for name in labels]
    return pairs + [pair for pair in itertools.combinations(labels, 2) if "gap" not in pair]


def _of_class(label: int, scores: Floats, member: Bools, labels: Ints, right: Bools) -> ClassResult:
    mine = labels == label
    inside, outside = mine & member, mine & ~member
    fewest = min(inside.sum(), outside.sum())
    return ClassResult(
        label=label,
        members=int(inside.sum()),
        nonmembers=int(outside.sum()),
        train_accuracy=float(right[inside].mean()) if inside.any() else None,
        test_accuracy=float(right[outside].mean()) if outside.any() else None,
        auc=intervals.auc_interval(scores[mine], member[mine])
        if fewest >= FEWEST_OF_A_CLASS
        else Estimate.undefined(f"needs {FEWEST_OF_A_CLASS} members and non-members, got {fewest}"),
    )


def _curve(scores: Floats, member: Bools) -> Curve:
    thin = roc.thinned(roc.roc(scores, member), CURVE_POINTS)
    return Curve(fpr=thin.fpr.tolist(), tpr=thin.tpr.tolist())


def _histogram(scores: Floats, member: Bools) -> Histogram:
    # The outermost per cent is drawn at the edge, so that one far score does not flatten all the others.
    low, high = np.quantile(scores, [0.005, 0.995])
    if not low < high:
        low, high = scores.min() - 0.5, scores.max() + 0.5
    edges = np.linspace(low, high, BINS + 1)
    shares = [np.histogram(scores[who].clip(low, high), edges)[0] / who.sum() for who in (member, ~member)]
    return Histogram(edges=edges.tolist(), members=shares[0].tolist(), nonmembers=shares[1].tolist())

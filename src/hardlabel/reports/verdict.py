"""The verdict of an audit: which attack it speaks of, and how bad it is; a pure function of the record."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import operating_point
from hardlabel.randomness import derive
from hardlabel.records.model import AttackResult, AuditRecord, Results, Target
from hardlabel.reports import attacker, picking, sentences
from hardlabel.reports.severity import MEASURED, TITLES, Severity, grade
from hardlabel.signals.base import Access


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reader who stops after one paragraph should know.

    Attributes:
        severity: By `severity.RULE`, from the label-only attacks alone.
        title: The severity in a few words.
        headline: The main finding, with interval.
        warnings: That the figures are inflated, where the blind baseline tells the groups apart; that the target's
            labels seem not to be those given.
        sentences: What belongs beside it: accusations at the prior, confidences, how the attack was picked.
        strongest: Name of the label-only attack spoken of, or None.
        strongest_scores: Name of the attack that sees confidences and is strongest at the same rate, or None.
        fpr: False-positive rate of the headline, a key of `tpr_at_fpr`, or None where it speaks of another figure.
        precision: Share of right accusations at `fpr` and the record's prior; undefined where `fpr` is None.
    """

    severity: Severity
    title: str
    headline: str
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]
    strongest: str | None
    strongest_scores: str | None
    fpr: str | None
    precision: Estimate


def verdict(record: AuditRecord) -> Verdict:
    """Says in plain words what the audit found.

    The attack spoken of is one that reaches the severity: of those, the one that finds most members at the smallest
    resolved false-positive rate at which any of them measurably beats guessing; where none does, and without measured
    leakage, the one with the greatest AUC.
    """
    results = record.results
    labels = _with_access(results, Access.LABEL)
    severity = _severity(results, labels)
    earned = picking.earned(labels, severity)
    strongest, fpr = picking.strongest(earned, low_fpr=severity in MEASURED)
    scores = picking.best(_with_access(results, Access.SCORES), fpr)
    precision = Estimate.undefined("no false-positive rate was resolved")
    if strongest and fpr and severity in MEASURED:
        precision = _precision(record, strongest.name, fpr)
    told: list[str] = []
    if strongest is None:
        headline = sentences.nothing_known(labels)
    elif severity not in MEASURED:
        headline = sentences.nothing_found(results, strongest, len(labels), severity)
    elif fpr is None:
        headline = sentences.right_cases(strongest)
        told += sentences.accusation(strongest.precision_at_prior, results.prior)
    else:
        headline = sentences.found(strongest, fpr)
        told += sentences.accusation(precision, results.prior)
    if severity is Severity.FEW:
        told += sentences.too_few(results, labels)
    if strongest is not None:
        if severity in MEASURED:
            told += sentences.why_this_grade(strongest, severity, fpr)
            told += sentences.which(strongest, fpr, labels, earned)
            told += attacker.models_used(strongest, results.references)
            told += sentences.others(strongest, fpr, labels)
        if severity is Severity.SLIGHT:
            told.append(sentences.perhaps_chance(results, labels))
        told += sentences.low_rates(labels, results, fpr, found=severity in MEASURED)
        told += sentences.wrong_way(labels, strongest)
        told += sentences.beside_confidences(results, strongest, scores, fpr)
    told += attacker.named(results.choice, results.budget, labels, spoken_of=strongest)
    return Verdict(
        severity=severity,
        title=TITLES[severity],
        headline=headline,
        warnings=(*sentences.inflated(results), *(sentences.mismatch(results) if _mismatched(results.target) else ())),
        sentences=tuple(told),
        strongest=strongest.name if strongest else None,
        strongest_scores=scores.name if scores else None,
        fpr=fpr,
        precision=precision,
    )


def _severity(results: Results, labels: Sequence[AttackResult]) -> Severity:
    severity = grade(labels, fewest=min(results.members, results.nonmembers))
    # An attack that asks whether the label is kept cannot find anything where it never was the model's.
    return Severity.UNKNOWN if severity not in MEASURED and _mismatched(results.target) else severity


def _mismatched(target: Target) -> bool:
    """Whether the target is right on no more members than guessing is, or hardly more."""
    accuracy, guessing = target.train_accuracy, 1 / max(target.classes, 1)
    if target.classes < 2 or accuracy.value is None:
        return False
    # Half as much again as guessing; less with few classes, where a weak model is right that often.
    hardly = guessing * (3 - guessing) / 2
    return accuracy.value <= guessing or (accuracy.high is not None and accuracy.high <= hardly)


def _precision(record: AuditRecord, attack: str, fpr: str) -> Estimate:
    """How often an accusation is right at the operating point of the headline."""
    rows = record.scores[record.scores["attack"] == attack]
    member = rows["member"].to_numpy(dtype=bool)
    if member.all() or not member.any():
        return Estimate.undefined(f"the record holds no scores of both members and non-members for {attack!r}")
    return operating_point(
        rows["score"].to_numpy(dtype=float),
        member,
        float(fpr),
        prior=record.results.prior,
        seed=derive(record.results.environment.seed, "verdict", attack),
        confidence=record.results.confidence,
    ).precision


def _with_access(results: Results, access: Access) -> list[AttackResult]:
    return [attack for attack in results.attacks if attack.access == access]

"""The first paragraph of an audit's report: the verdict in words, and the attack that it is about."""

from dataclasses import dataclass

from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import operating_point
from hardlabel.randomness import derive
from hardlabel.records.model import AttackResult, AuditRecord, Results
from hardlabel.records.verdict import (
    ALARM,
    CLEAR_AUC,
    CLEAR_GAIN,
    FEWEST,
    MEASURED,
    SEVERE_AUC,
    SEVERE_FPR,
    SEVERE_GAIN,
    Grade,
    Picked,
    Reason,
    how_picked,
)
from hardlabel.reports import attacker, picking, sentences
from hardlabel.reports.wording import counted, number, percent
from hardlabel.signals.base import Access

RULE = (
    f"Severe: the lower end of some label-only attack's interval reaches an AUC of {SEVERE_AUC}, or {SEVERE_GAIN} "
    f"times the members that guessing would find at {percent(SEVERE_FPR)} false alarms or fewer. Clear: it reaches an "
    f"AUC of {CLEAR_AUC}, or {CLEAR_GAIN} times what guessing would find at any reported rate of false alarms. Slight: "
    "neither, but the interval of some label-only attack's AUC lies above 0.5. Lower ends are used so that noise alone "
    "does not make a finding worse. The attack that the ranking names was chosen beforehand and counts with its "
    "interval. The others count after Holm's correction over all their figures, so that the best of many does not "
    "win by luck; a grade that only they prove is called “at least”. No leakage found: the attack that the ranking "
    f"names was run and no attack reaches a grade, the upper ends of all AUC intervals lie below {SEVERE_AUC}, and "
    f"there are at least {FEWEST} members and {FEWEST} non-members. Not fully tested: nothing worse than slight was "
    "proved, and that attack was not run or is weak on such data, or there are too few records, or the target does not "
    "treat members and non-members as the attacker's own models treat records they were and were not trained on. No "
    "verdict: the "
    f"evidence contradicts itself, which fewer than 1 in {number(1 / ALARM)} healthy audits do by chance: constant "
    "answers, members right less often than non-members or no more often than guessing, groups that can be told apart "
    "without any model, non-members that look like members without any model, a target that changed."
)


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """What a reader who stops after one paragraph should know.

    Attributes:
        grade: By `RULE`, from the label-only attacks alone.
        title: The verdict in a few words.
        reasons: Why there is no grade, or what makes it doubtful.
        headline: The main finding, with interval.
        warnings: That the figures are inflated or too low, where the blind baseline says so.
        sentences: What belongs beside it: accusations at the prior, confidences, how the attack was picked.
        strongest: Name of the label-only attack spoken of, or None.
        strongest_scores: Name of the attack that sees confidences and is strongest at the same rate, or None.
        fpr: False-positive rate of the headline, a key of `tpr_at_fpr`, or None where it is about another figure.
        precision: Share of right accusations at `fpr` and the record's prior; undefined where `fpr` is None.
        picked: How that label-only attack was picked; None without one.
    """

    grade: Grade
    title: str
    reasons: tuple[Reason, ...]
    headline: str
    warnings: tuple[str, ...]
    sentences: tuple[str, ...]
    strongest: str | None
    strongest_scores: str | None
    fpr: str | None
    precision: Estimate
    picked: Picked | None


def verdict(record: AuditRecord) -> Paragraph:
    """Says in plain words what the audit found.

    The attack spoken of is one that reaches the grade: of those, the one that finds most members at the smallest
    resolved false-positive rate at which any of them measurably beats guessing; where none does, and without measured
    leakage, the one with the greatest AUC.
    """
    results = record.results
    labels = _with_access(results, Access.LABEL)
    found = results.verdict
    grade = found.grade
    earned = picking.earned(labels, found)
    strongest, fpr = picking.strongest(earned, low_fpr=grade in MEASURED)
    scores = picking.best(_with_access(results, Access.SCORES), fpr)
    precision = Estimate.undefined("no false-positive rate was resolved")
    if strongest and fpr and grade in MEASURED:
        precision = _precision(record, strongest.name, fpr)
    told: list[str] = []
    if strongest is None:
        headline = sentences.nothing_known(labels)
    elif grade not in MEASURED:
        groups = f"{counted(results.members, 'member')} and {counted(results.nonmembers, 'non-member')}"
        headline = sentences.ungraded(groups, strongest, labels, grade)
    elif fpr is None:
        headline = sentences.right_cases(strongest)
        told += sentences.accusation(strongest.precision_at_prior, results.prior)
    else:
        headline = sentences.found(strongest, fpr)
        told += sentences.accusation(precision, results.prior)
    if strongest is not None:
        if grade in MEASURED:
            told += sentences.why_this_grade(strongest, grade, fpr)
            told += sentences.which(strongest, fpr, labels, earned, how_picked(strongest.name, labels, results.choice))
            told += attacker.models_used(strongest, results.references)
            told += sentences.others(strongest, fpr, labels)
        if grade is Grade.SLIGHT:
            told.append(sentences.perhaps_chance(results))
        told += sentences.low_rates(labels, results, fpr, found=grade in MEASURED)
        told += sentences.wrong_way(labels, strongest)
        told += sentences.beside_confidences(results, strongest, scores, fpr)
    told += attacker.named(results.choice, results.budget, labels, spoken_of=strongest)
    return Paragraph(
        grade=grade,
        title=found.title,
        reasons=tuple(found.reasons),
        headline=headline,
        warnings=tuple(sentences.inflated(results)),
        sentences=tuple(told),
        strongest=strongest.name if strongest else None,
        strongest_scores=scores.name if scores else None,
        fpr=fpr,
        precision=precision,
        picked=how_picked(strongest.name, labels, results.choice) if strongest else None,
    )


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

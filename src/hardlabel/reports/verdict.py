"""The verdict of an audit in plain words: a pure function of the record."""

from collections.abc import Iterable
from dataclasses import dataclass

from hardlabel.experiments.record import AttackResult, AuditRecord, Results
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import operating_point
from hardlabel.randomness import derive
from hardlabel.reports.severity import TITLES, Severity, beats_guessing, below_guessing, grade
from hardlabel.reports.wording import figure, listed, number, odds, percent, times
from hardlabel.signals.base import Access


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reader who stops after one paragraph should know.

    Attributes:
        severity: By `severity.RULE`, from the label-only attacks alone.
        title: The severity in a few words.
        headline: The main finding, with interval.
        warning: That the figures are inflated, where the blind baseline tells the groups apart; else empty.
        sentences: What belongs beside it: accusations at the prior, confidences, how the attack was picked.
        strongest: Name of the label-only attack spoken of, or None.
        strongest_scores: Name of the attack that sees confidences and is strongest at the same rate, or None.
        fpr: False-positive rate of the headline, a key of `tpr_at_fpr`, or None where it speaks of another figure.
        precision: Share of right accusations at `fpr` and the record's prior; undefined where `fpr` is None.
    """

    severity: Severity
    title: str
    headline: str
    warning: str
    sentences: tuple[str, ...]
    strongest: str | None
    strongest_scores: str | None
    fpr: str | None
    precision: Estimate


def verdict(record: AuditRecord) -> Verdict:
    """Says in plain words what the audit found.

    The strongest label-only attack is the one that finds most members at the smallest resolved false-positive rate
    at which any of them measurably beats guessing; where none does, the one with the greatest AUC. Without measured
    leakage it is always the latter.
    """
    results = record.results
    labels = _with_access(results, Access.LABEL)
    severity = grade(labels)
    strongest, fpr = _strongest(labels, low_fpr=severity is not Severity.NONE)
    scores = _best(_with_access(results, Access.SCORES), fpr)
    precision = Estimate.undefined("no false-positive rate was resolved")
    sentences: list[str] = []
    if strongest is None:
        headline = "Nothing can be said about an attacker who sees only labels: " + (
            "the label-only attacks run gave no figure." if labels else "no label-only attack was run."
        )
    elif severity is Severity.NONE:
        headline = _nothing_found(results, strongest, len(labels))
    elif fpr is None:
        headline = _right_cases(strongest)
        sentences += _accusation(strongest.precision_at_prior, results.prior)
    else:
        headline = _found(strongest, fpr)
        precision = _precision(record, strongest.name, fpr)
        sentences += _accusation(precision, results.prior)
    if strongest is not None:
        if severity is not Severity.NONE:
            sentences.append(_which(strongest, len(labels)))
        if severity is Severity.SLIGHT:
            sentences.append(_perhaps_chance(results))
        sentences += _low_rates(labels, results, fpr, found=severity is not Severity.NONE)
        sentences += _wrong_way(labels)
        sentences += _beside_confidences(results, strongest, scores, fpr)
    return Verdict(
        severity=severity,
        title=TITLES[severity],
        headline=headline,
        warning=_inflated(results),
        sentences=tuple(sentences),
        strongest=strongest.name if strongest else None,
        strongest_scores=scores.name if scores else None,
        fpr=fpr,
        precision=precision,
    )


def _inflated(results: Results) -> str:
    if not results.blind.differs:
        return ""
    return (
        "These figures are inflated: members and non-members can be told apart without any model "
        f"(AUC {figure(results.blind.auc)})."
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


def _strongest(attacks: list[AttackResult], *, low_fpr: bool) -> tuple[AttackResult | None, str | None]:
    for fpr in _rates(attacks) if low_fpr else ():
        better = [attack for attack in attacks if beats_guessing(attack, fpr)]
        if better:
            return _best(better, fpr), fpr
    return _best(attacks, None), None


def _best(attacks: list[AttackResult], fpr: str | None) -> AttackResult | None:
    """The attack that finds most members at `fpr`; by AUC where `fpr` is None or not resolved."""
    found = {attack.name: attack.tpr_at_fpr.get(fpr or "", Estimate.undefined("")).value for attack in attacks}
    known = [attack for attack in attacks if attack.auc.value is not None]
    return max(known, key=lambda attack: (_or_nothing(found[attack.name]), _or_nothing(attack.auc.value)), default=None)


def _or_nothing(value: float | None) -> float:
    return -1.0 if value is None else value


def _rates(attacks: Iterable[AttackResult]) -> list[str]:
    """The false-positive rates resolved for some attack, smallest first."""
    resolved = {fpr for attack in attacks for fpr, estimate in attack.tpr_at_fpr.items() if estimate.value is not None}
    return sorted(resolved, key=float)


def _attacker(attack: AttackResult) -> str:
    queries = attack.queries_per_sample
    asks = f"asks {times(queries.mean)} per record"
    if round(queries.mean, 1) != queries.max:
        asks += f" on average (at most {number(queries.max)})"
    return f"An attacker who sees only labels and {asks}"


def _which(attack: AttackResult, count: int) -> str:
    """Which attack the headline speaks of, and what picking it does to its figures."""
    overhead = sum(attack.overhead.values())
    besides = f" It also sent {number(overhead)} queries that belong to no record." if overhead else ""
    if count == 1:
        return f"The attack is “{attack.name}”, the only label-only attack run.{besides}"
    return (
        f"The attack is “{attack.name}”, the strongest of the {count} label-only attacks run.{besides} It was picked "
        "on this target, and the best of several looks better than it is."
    )


def _perhaps_chance(results: Results) -> str:
    many = round(1 / (1 - results.confidence))
    return (
        f"A slight finding can be chance: about one interval in {many} excludes guessing where nothing is to be found."
    )


def _found(attack: AttackResult, fpr: str) -> str:
    rate = float(fpr)
    return (
        f"{_attacker(attack)} finds, at {percent(rate)} false alarms, "
        f"{figure(attack.tpr_at_fpr[fpr], percent)} of the members; guessing would find {percent(rate)}."
    )


def _right_cases(attack: AttackResult) -> str:
    start = _attacker(attack)
    if attack.balanced_accuracy.value is not None:
        return (
            f"{start} tells members from non-members rightly in {figure(attack.balanced_accuracy, percent)} of cases, "
            "both kinds being equally frequent; guessing is right in half of them."
        )
    if attack.best_balanced_accuracy.value is not None:
        return (
            f"{start} tells members from non-members rightly in at most "
            f"{figure(attack.best_balanced_accuracy, percent)} of cases, an upper bound that supposes the best "
            "threshold for this target known; guessing is right in half of them."
        )
    return f"{start} ranks members above non-members with an AUC of {figure(attack.auc)}; guessing has 0.5."


def _nothing_found(results: Results, attack: AttackResult, count: int) -> str:
    which = "The only label-only attack run" if count == 1 else f"None of the {count} label-only attacks run"
    told = "does not tell" if count == 1 else "tells"
    highest = "its AUC" if count == 1 else f"the highest AUC, of “{attack.name}”,"
    return (
        f"{which} {told} the {results.members:,} members measurably from the {results.nonmembers:,} non-members: "
        f"{highest} is {figure(attack.auc)}, where guessing has 0.5. This is no proof that a stronger attack would "
        "find nothing."
    )


def _accusation(precision: Estimate, prior: float) -> list[str]:
    if precision.value is None:
        return []
    return [
        f"If {odds(prior)} records asked about is a member, an accusation is right "
        f"{figure(precision, percent)} of the time."
    ]


def _low_rates(attacks: list[AttackResult], results: Results, fpr: str | None, *, found: bool) -> list[str]:
    """What is known at the reported false-positive rates below the headline's."""
    resolved = _rates(attacks)
    reported = {rate for attack in attacks for rate in attack.tpr_at_fpr}
    sentences = []
    missed = [rate for rate in resolved if fpr is None or float(rate) < float(fpr)]
    if found and missed:
        told = listed([percent(float(rate)) for rate in missed])
        sentences.append(f"At {told} false alarms no label-only attack does measurably better than guessing.")
    unresolved = sorted(reported - set(resolved), key=float)
    if unresolved:
        told = listed([percent(float(rate)) for rate in unresolved])
        sentences.append(
            f"What is found at {told} false alarms cannot be resolved with {results.nonmembers:,} non-members."
        )
    return sentences


def _wrong_way(attacks: list[AttackResult]) -> list[str]:
    return [
        f"Attack “{attack.name}” ranks members measurably below non-members (AUC {figure(attack.auc)}): an attacker "
        "who knew that would turn its answers round."
        for attack in below_guessing(attacks)
    ]


def _beside_confidences(
    results: Results, label: AttackResult, scores: AttackResult | None, fpr: str | None
) -> list[str]:
    if scores is None:
        return ["No attack that sees confidences gave a figure, so the two kinds of attacker are not compared."]
    tpr = scores.tpr_at_fpr.get(fpr) if fpr else None
    finds = (
        f"finds {figure(tpr, percent)} at {percent(float(fpr or 0))} false alarms"
        if tpr and tpr.value is not None
        else ""
    )
    who = (
        f"An attacker who also sees confidences (“{scores.name}”, the strongest such attack{' there' if finds else ''})"
    )
    compared, gain = _gain(results, label.name, scores.name)
    told = _told(gain)
    if compared == scores.name and told:
        return [f"{who} {finds} and {told}." if finds else f"{who} {told}."]
    aucs = f"an AUC of {figure(scores.auc)}, beside {figure(label.auc)} for labels only"
    first = f"{who} {finds} and has {aucs}." if finds else f"{who} has {aucs}."
    if compared and told:
        return [first, f"Paired on the same records, one who uses “{compared}” {told}."]
    return [first, "The record holds no paired comparison of the two."]


def _gain(results: Results, label: str, scores: str) -> tuple[str | None, Estimate]:
    """A score attack compared in pairs with `label`, and its AUC minus that one's; `scores` itself if it was."""
    seen = {attack.name for attack in _with_access(results, Access.SCORES)}
    found: dict[str, Estimate] = {}
    for difference in results.differences:
        auc = difference.auc
        if difference.second == label and difference.first in seen:
            found[difference.first] = auc
        elif difference.first == label and difference.second in seen:
            found[difference.second] = _negative(auc)
    name = scores if scores in found else next(iter(found), None)
    return name, found[name] if name else Estimate.undefined("not compared")


def _told(gain: Estimate) -> str:
    """The difference in words; empty where it has no interval."""
    if gain.value is None or gain.low is None or gain.high is None:
        return ""
    if gain.low > 0:
        return f"ranks members measurably better: the AUC is higher by {figure(gain)}"
    if gain.high < 0:
        return f"ranks members measurably worse: the AUC is lower by {figure(_negative(gain))}"
    return f"ranks members neither measurably better nor worse: the AUC differs by {figure(gain)}"


def _negative(estimate: Estimate) -> Estimate:
    value, low, high = (None if v is None else 0.0 - v for v in (estimate.value, estimate.high, estimate.low))
    return Estimate(value, low, high, estimate.note)

"""The verdict's sentences: each function words one finding, and says nothing where there is nothing to say."""

from collections.abc import Callable, Mapping, Sequence

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.model import AttackResult, Results
from hardlabel.records.verdict import Grade, Graded, Picked, beats_guessing, below_guessing, reached
from hardlabel.reports.attacker import queries, who
from hardlabel.reports.picking import resolved
from hardlabel.reports.tables import Attacked
from hardlabel.reports.wording import counted, decimal, figure, finely, listed, odds, percent
from hardlabel.signals.base import Access

FEWER_QUERIES = 5  # How many times fewer queries make a comparable attack worth naming.


def nothing_known(labels: Sequence[object]) -> str:
    return "Nothing can be said about an attacker who sees only labels: " + (
        "the label-only attacks run gave no figure." if labels else "no label-only attack was run."
    )


def ungraded(groups: str, attack: Graded, labels: Sequence[Graded], grade: Grade, *, mean: str = "") -> str:
    """The headline where no leakage was graded.

    Args:
        groups: Members and non-members, in words.
        attack: The attack with the greatest AUC.
        labels: The label-only attacks.
        grade: NONE, or no grade.
        mean: "mean " where AUCs are means over several targets.
    """
    which = (
        f"the {mean}AUC of “{attack.name}” is"
        if len(labels) == 1
        else f"the highest {mean}AUC is that of “{attack.name}”,"
    )
    told = f"On {groups}, {which} {figure(attack.auc)}, where guessing has 0.5."
    if grade is Grade.NO_VERDICT:
        return f"{told} This audit cannot say whether there is leakage."
    if any(one.auc.low is not None and one.auc.low > 0.5 for one in labels):
        return f"{told} There may be leakage, and a stronger attack may find more."
    if grade is Grade.NONE:
        return f"{told} That is not measurably better. This is no proof that a stronger attack would find nothing."
    return f"{told} That is not measurably better. This does not say that there is no leakage."


def found(attack: AttackResult, fpr: str) -> str:
    rate = float(fpr)
    return (
        f"{who(attack)} finds, at {percent(rate)} false alarms, "
        f"{figure(attack.tpr_at_fpr[fpr], percent)} of the members; guessing would find {percent(rate)}."
    )


def right_cases(attack: AttackResult) -> str:
    start = who(attack)
    if below_guessing([attack]):
        return (
            f"{start} ranks members measurably below non-members, with an AUC of {figure(attack.auc)}; guessing has "
            "0.5, and an attacker who knew that would reverse its answers."
        )
    quoted, write = _quoted(attack, None)
    if quoted is attack.auc:
        return f"{start} ranks members above non-members with an AUC of {figure(quoted)}; guessing has 0.5."
    cases = f"{start} tells members from non-members correctly in"
    if quoted is attack.balanced_accuracy:
        return (
            f"{cases} {figure(quoted, write)} of cases, if both kinds are equally frequent; guessing is right in half "
            "of them."
        )
    return (
        f"{cases} at most {figure(quoted, write)} of cases, an upper bound for an attacker who knows the best "
        "threshold for this target; guessing is right in half of them."
    )


def accusation(precision: Estimate, prior: float) -> list[str]:
    if precision.value is None:
        return []
    return [
        f"If {odds(prior)} records asked about is a member, an accusation is right "
        f"{figure(precision, percent)} of the time. This share of members is an assumption (--prior)."
    ]


def why_this_grade(attack: AttackResult, grade: Grade, fpr: str | None) -> list[str]:
    """Which figure of the attack earned the grade, where the headline quotes another one."""
    # An attack that ranks members below non-members reaches its grade by the AUC, and no figure by itself.
    earning = [rate for rate, level in reached(attack).items() if level is grade] or [None]
    if fpr in earning and (fpr is not None or _quoted(attack, None)[0] is attack.auc or below_guessing([attack])):
        return []
    rate = None if None in earning else min((rate for rate in earning if rate), key=float)
    if rate is None:
        return [f"The grade rests on the AUC of “{attack.name}”, {figure(attack.auc)}."]
    share = figure(attack.tpr_at_fpr[rate], percent)
    return [
        f"The grade rests on the members that “{attack.name}” finds at {percent(float(rate))} false alarms, {share}."
    ]


FLATTERED: Mapping[Picked, str] = {
    Picked.BEFOREHAND: "The ranking named it before the target was looked at, so its figures are not those of the best "
    "of several.",
    Picked.ALONE: "",
    Picked.HERE: "It was picked on this target, and the best of several looks better than it is.",
}


def which(
    attack: AttackResult,
    fpr: str | None,
    labels: Sequence[AttackResult],
    earned: Sequence[AttackResult],
    picked: Picked,
) -> list[str]:
    """How the attack of the headline was picked, and what picking it does to its figures."""
    overhead = sum(attack.overhead.values())
    besides = [f"“{attack.name}” also sent {queries(overhead)} that belong to no record."] if overhead else []
    if len(labels) == 1:
        return [f"“{attack.name}” is the only label-only attack run.", *besides]
    by = (
        f"by the members found at {percent(float(fpr))} false alarms, the smallest rate at which any of them does "
        "measurably better than guessing"
        if fpr
        else "by AUC"
    )
    of = f"the {len(labels)} label-only attacks run"
    if len(earned) == 1:
        told = f"Of {of}, only “{attack.name}” reaches this grade."
    elif len(earned) < len(labels):
        told = f"Of {of}, {len(earned)} reach this grade; “{attack.name}” is the strongest of these {by}."
    else:
        told = f"“{attack.name}” is the strongest of {of}, {by}."
    return [f"{told} {FLATTERED[picked]}".strip(), *besides]


def tried(labels: Sequence[Graded], picked: Picked | None, quoted: str | None, *, on: str, confidence: float) -> str:
    """The limit that comes from trying several attacks and reading many intervals.

    Args:
        labels: The label-only attacks run.
        picked: How the attack quoted was picked; None if none is quoted.
        quoted: Its name.
        on: What it was picked on: "this target", "these models".
        confidence: Of the intervals.
    """
    of_many = f"of many {100 * confidence:g} % intervals about 1 in {round(1 / (1 - confidence))} misses the truth."
    if picked is Picked.HERE:
        return f"The best of them (“{quoted}”) was picked on {on}, which flatters it a little; and {of_many}"
    if picked is Picked.BEFOREHAND and len(labels) > 1:
        return (
            f"The ranking named the attack quoted (“{quoted}”) before anybody looked at {on}, so choosing it flatters "
            f"no figure. The best of the others looks better than it is; and {of_many}"
        )
    return of_many[0].upper() + of_many[1:]


def others(attack: AttackResult, fpr: str | None, labels: Sequence[AttackResult]) -> list[str]:
    """Whether another label-only attack has a better figure than the one quoted, or one as good for far less."""
    name, (quoted, write) = _name(attack, fpr), _quoted(attack, fpr)
    if below_guessing([attack]) or quoted.value is None:
        return []
    figures = {
        other.name: (other, other_quoted)
        for other in labels
        if other is not attack and _name(other, fpr) == name
        for other_quoted, _ in [_quoted(other, fpr)]
        if other_quoted.value is not None
    }
    told = []
    better = max(figures.values(), key=lambda pair: pair[1].value or 0.0, default=None)
    if better and (better[1].value or 0.0) > quoted.value:
        told.append(f"“{better[0].name}” has the better {name}, {figure(better[1], write)}.")
    cheaper = [
        (other, estimate)
        for other, estimate in figures.values()
        if other.queries_per_sample.mean * FEWER_QUERIES <= attack.queries_per_sample.mean
        and _above_guessing(other, fpr)
        and None not in (estimate.high, quoted.low)
        and (estimate.high or 0.0) >= (quoted.low or 0.0)
    ]
    if cheaper:
        other, estimate = min(cheaper, key=lambda pair: pair[0].queries_per_sample.mean)
        told.append(
            f"“{other.name}” is far cheaper, with {queries(other.queries_per_sample.mean)} per record, and does "
            f"comparably: its {name} is {figure(estimate, write)}, and the intervals overlap."
        )
    return told


def perhaps_chance(results: Results) -> str:
    """How likely a slight finding is by chance alone."""
    miss = percent(1 - results.confidence)
    return (
        "A slight finding can be chance: if there is no leakage, at most "
        f"{miss} of audits are graded slight or worse, however many attacks are run."
    )


def low_rates(attacks: Sequence[AttackResult], results: Results, fpr: str | None, *, found: bool) -> list[str]:
    """What is known at the reported false-positive rates below the headline's."""
    known = resolved(attacks)
    reported = {rate for attack in attacks for rate in attack.tpr_at_fpr}
    sentences = []
    missed = [rate for rate in known if fpr is None or float(rate) < float(fpr)]
    beaten = [rate for rate in missed if any(beats_guessing(attack, rate) for attack in attacks)]
    missed = [rate for rate in missed if rate not in beaten]
    if found and missed:
        told = listed([percent(float(rate)) for rate in missed])
        sentences.append(f"At {told} false alarms no label-only attack does measurably better than guessing.")
    if found and beaten:
        rate = beaten[0]
        best = max(
            (attack for attack in attacks if beats_guessing(attack, rate)),
            key=lambda attack: attack.tpr_at_fpr[rate].value or 0.0,
        )
        share = figure(best.tpr_at_fpr[rate], percent)
        sentences.append(
            f"At {percent(float(rate))} false alarms “{best.name}”, which does not reach this grade, finds {share}."
        )
    unresolved = sorted(reported - set(known), key=float)
    if unresolved:
        told = listed([percent(float(rate)) for rate in unresolved])
        sentences.append(
            f"With only {counted(results.nonmembers, 'non-member')}, there is no figure at {told} false alarms."
        )
    return sentences


def wrong_way(attacks: Sequence[Graded], strongest: Graded) -> list[str]:
    return [
        f"Attack “{attack.name}” ranks members measurably below non-members (AUC {figure(attack.auc)}): an attacker "
        "who knew that would reverse its answers."
        for attack in below_guessing(attacks)
        if attack is not strongest
    ]


def inflated(results: Results) -> list[str]:
    if not results.blind.differs:
        return []
    if results.blind.hides:
        return [
            "These figures may be far too low: without any model, non-members look like members "
            f"(AUC {figure(results.blind.auc)}). See the warning below."
        ]
    return [
        "These figures are inflated: members and non-members can be told apart without any model "
        f"(AUC {figure(results.blind.auc)}). See the warning below."
    ]


def beside_confidences(results: Attacked[Graded], label: Graded, scores: Graded | None, fpr: str | None) -> list[str]:
    if scores is None:
        return ["No attack that sees confidences gave a figure, so the two kinds of attacker are not compared."]
    tpr = scores.tpr_at_fpr.get(fpr) if fpr else None
    finds = (
        f"finds {figure(tpr, percent)} at {percent(float(fpr or 0))} false alarms"
        if tpr and tpr.value is not None
        else ""
    )
    who = (
        f"An attacker who also sees confidences (“{scores.name}”, the strongest such attack"
        f"{' there' if finds else ' by AUC'})"
    )
    compared, gain = gained(results, label.name, scores.name)
    told = _told(gain)
    if compared == scores.name and told:
        return [f"{who} {finds} and {told}." if finds else f"{who} {told}."]
    aucs = f"an AUC of {figure(scores.auc)}, beside {figure(label.auc)} for “{label.name}”"
    first = f"{who} {finds} and has {aucs}." if finds else f"{who} has {aucs}."
    if compared and told:
        return [first, f"Paired on the same records, an attacker who uses “{compared}” {told}."]
    return [first, "The record holds no paired comparison of the two."]


def _quoted(attack: AttackResult, fpr: str | None) -> tuple[Estimate, Callable[[float], str]]:
    """The figure that a headline quotes of an attack, and how it is written."""
    if fpr is not None:
        return attack.tpr_at_fpr.get(fpr, Estimate.undefined("not reported")), percent
    for estimate in (attack.balanced_accuracy, attack.best_balanced_accuracy):
        if estimate.value is not None:
            return estimate, percent
    return attack.auc, decimal


def _name(attack: AttackResult, fpr: str | None) -> str:
    """What that figure is called."""
    if fpr is not None:
        return f"share of members found at {percent(float(fpr))} false alarms"
    quoted = _quoted(attack, None)[0]
    if quoted is attack.auc:
        return "AUC"
    return "balanced accuracy" if quoted is attack.balanced_accuracy else "best balanced accuracy"


def _above_guessing(attack: AttackResult, fpr: str | None) -> bool:
    return beats_guessing(attack, fpr) if fpr else attack.auc.low is not None and attack.auc.low > 0.5


def gained(results: Attacked[Graded], label: str, scores: str) -> tuple[str | None, Estimate]:
    """What confidences add: an attack that sees them and was compared in pairs with `label`, and the gain in AUC.

    The attack is `scores` if that one was compared; None, and no figure, if none was.
    """
    seen = {attack.name for attack in results.attacks if attack.access == Access.SCORES}
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
        return f"ranks members measurably better: the AUC is higher by {figure(gain, finely(gain))}"
    if gain.high < 0:
        less = _negative(gain)
        return f"ranks members measurably worse: the AUC is lower by {figure(less, finely(less))}"
    return f"ranks members neither measurably better nor worse: the AUC differs by {figure(gain, finely(gain))}"


def _negative(estimate: Estimate) -> Estimate:
    value, low, high = (None if v is None else 0.0 - v for v in (estimate.value, estimate.high, estimate.low))
    return Estimate(value, low, high, estimate.note)

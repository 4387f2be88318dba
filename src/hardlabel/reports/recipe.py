"""The verdict of a recipe's audit, in plain words: it speaks of models trained alike, not of one model."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardlabel.records.recipe import RecipeAttack, RecipeRecord, RecipeResults, TargetModel
from hardlabel.reports import attacker, picking, sentences
from hardlabel.reports.severity import MEASURED, TITLES, Severity, below_guessing, grade
from hardlabel.reports.wording import counted, decimal, figure, number, percent
from hardlabel.signals.base import Access


@dataclass(frozen=True, kw_only=True)
class RecipeVerdict:
    """What a reader who stops after one paragraph should know; see `Verdict`.

    Attributes:
        severity: By `severity.RULE`, from the label-only attacks' mean AUCs and pooled TPRs.
        title: The severity in a few words.
        headline: The main finding, with interval.
        sentences: What belongs beside it.
        strongest: Name of the label-only attack spoken of, or None.
        strongest_scores: Name of the attack that sees confidences and is strongest at the same rate, or None.
        fpr: False-positive rate of the headline, or None where it speaks of the AUC.
    """

    severity: Severity
    title: str
    headline: str
    sentences: tuple[str, ...]
    strongest: str | None
    strongest_scores: str | None
    fpr: str | None


def recipe_verdict(record: RecipeRecord) -> RecipeVerdict:
    """Says in plain words what the audit of a recipe found; the attack is picked as for one model."""
    results = record.results
    labels = [attack for attack in results.attacks if attack.access == Access.LABEL]
    severity = grade(labels, fewest=results.samples // 2)
    earned = picking.earned(labels, severity)
    strongest, fpr = picking.strongest(earned, low_fpr=severity in MEASURED)
    scores = picking.best([attack for attack in results.attacks if attack.access == Access.SCORES], fpr)
    told: list[str] = []
    if strongest is None:
        headline = sentences.nothing_known(labels)
    else:
        headline = _headline(strongest, fpr, len(labels), severity)
        told.append(_spread(strongest, len(results.targets)))
        if severity in MEASURED:
            told += _picked(strongest, labels)
        told += attacker.models_used(strongest, None)
        told += sentences.wrong_way(labels, strongest)
        told += sentences.beside_confidences(results, strongest, scores, fpr)
    told += attacker.named(results.choice, results.budget, labels, spoken_of=strongest)
    return RecipeVerdict(
        severity=severity,
        title=TITLES[severity],
        headline=headline,
        sentences=tuple(told),
        strongest=strongest.name if strongest else None,
        strongest_scores=scores.name if scores else None,
        fpr=fpr,
    )


def accuracies(results: RecipeResults) -> str:
    """How often the targets are right: "train accuracy 1.000 (from 1.000 to 1.000), test 0.612 (...)"."""
    train = [target.train_accuracy for target in results.targets]
    test = [target.test_accuracy for target in results.targets]
    return f"train accuracy {_mean_and_ends(train)}, test {_mean_and_ends(test)}"


def right(targets: Sequence[TargetModel]) -> str:
    """The same as a sentence's end, in percentages."""
    train = [target.train_accuracy for target in targets]
    test = [target.test_accuracy for target in targets]
    return (
        f"{percent(sum(train) / len(train))} of their members and {percent(sum(test) / len(test))} of their "
        "non-members on average"
    )


def _mean_and_ends(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _headline(attack: RecipeAttack, fpr: str | None, count: int, severity: Severity) -> str:
    if severity not in MEASURED:
        which = (
            "The only label-only attack run does not tell"
            if count == 1
            else f"None of the {count} label-only attacks run tells"
        )
        end = (
            "This does not say that there is no leakage."
            if severity is not Severity.NONE
            else "This is no proof that a stronger attack would find nothing."
        )
        return (
            f"{which} members of models trained this way measurably from non-members by labels alone: the "
            f"{'mean' if count == 1 else 'highest mean'} AUC, of “{attack.name}”, is {figure(attack.auc)}, where "
            f"guessing has 0.5. {end}"
        )
    who = attacker.who(attack)
    if fpr is not None:
        rate = percent(float(fpr))
        return (
            f"{who} finds, at {rate} false alarms, {figure(attack.tpr_at_fpr[fpr], percent)} of the members of a "
            f"model trained this way; guessing would find {rate}."
        )
    if below_guessing([attack]):
        return (
            f"{who} ranks members of a model trained this way measurably below non-members, with a mean AUC of "
            f"{figure(attack.auc)}; guessing has 0.5, and an attacker who knew that would turn its answers round."
        )
    return (
        f"{who} ranks members of a model trained this way above non-members, with a mean AUC of {figure(attack.auc)}; "
        "guessing has 0.5."
    )


def _spread(attack: RecipeAttack, targets: int) -> str:
    told = (
        f"Over the {counted(targets, 'model')} that played target the mean AUC of “{attack.name}” is "
        f"{figure(attack.auc)}; single models lie between {decimal(min(attack.aucs))} and {decimal(max(attack.aucs))}"
    )
    if attack.spread.value is None:
        return f"{told}."
    return f"{told}, with a standard deviation of {figure(attack.spread)}."


def _picked(attack: RecipeAttack, labels: Sequence[RecipeAttack]) -> list[str]:
    overhead = sum(attack.overhead.values())
    besides = []
    if overhead:
        besides = [f"“{attack.name}” also sent {attacker.queries(overhead)} that belong to no record."]
    if len(labels) == 1:
        return [f"“{attack.name}” is the only label-only attack run.", *besides]
    return [
        f"It was picked from {number(len(labels))} label-only attacks on these models, and the best of several looks "
        "better than it is.",
        *besides,
    ]

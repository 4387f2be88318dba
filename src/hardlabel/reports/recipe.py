"""The verdict of a recipe's audit, in plain words: it is about models trained alike, not of one model."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardlabel.records.recipe import RecipeAttack, RecipeRecord, RecipeResults, TargetModel
from hardlabel.records.verdict import MEASURED, Grade, Picked, Reason, below_guessing, how_picked
from hardlabel.reports import attacker, picking, sentences
from hardlabel.reports.wording import counted, decimal, figure, number, percent
from hardlabel.signals.base import Access


@dataclass(frozen=True, kw_only=True)
class RecipeParagraph:
    """What a reader who stops after one paragraph should know; see `reports.verdict.Paragraph`.

    Attributes:
        grade: By `reports.verdict.RULE`, from the label-only attacks' mean AUCs and pooled TPRs.
        title: The verdict in a few words.
        reasons: Why there is no grade, or what makes it doubtful.
        headline: The main finding, with interval.
        sentences: What belongs beside it.
        strongest: Name of the label-only attack spoken of, or None.
        strongest_scores: Name of the attack that sees confidences and is strongest at the same rate, or None.
        fpr: False-positive rate of the headline, or None where it is about the AUC.
        picked: How that label-only attack was picked; None without one.
    """

    grade: Grade
    title: str
    reasons: tuple[Reason, ...]
    headline: str
    sentences: tuple[str, ...]
    strongest: str | None
    strongest_scores: str | None
    fpr: str | None
    picked: Picked | None


def recipe_verdict(record: RecipeRecord) -> RecipeParagraph:
    """Says in plain words what the audit of a recipe found; the attack is picked as for one model."""
    results = record.results
    labels = [attack for attack in results.attacks if attack.access == Access.LABEL]
    found = results.verdict
    earned = picking.earned(labels, found)
    strongest, fpr = picking.strongest(earned, low_fpr=found.grade in MEASURED)
    scores = picking.best([attack for attack in results.attacks if attack.access == Access.SCORES], fpr)
    told: list[str] = []
    if strongest is None:
        headline = sentences.nothing_known(labels)
    else:
        headline = _headline(strongest, fpr, labels, found.grade)
        told.append(_spread(strongest, len(results.targets)))
        if found.grade in MEASURED:
            told += _picked(strongest, labels, how_picked(strongest.name, labels, results.choice))
        told += attacker.models_used(strongest, None)
        told += sentences.wrong_way(labels, strongest)
        told += sentences.beside_confidences(results, strongest, scores, fpr)
    told += attacker.named(results.choice, results.budget, labels, spoken_of=strongest)
    return RecipeParagraph(
        grade=found.grade,
        title=found.title,
        reasons=tuple(found.reasons),
        headline=headline,
        sentences=tuple(told),
        strongest=strongest.name if strongest else None,
        strongest_scores=scores.name if scores else None,
        fpr=fpr,
        picked=how_picked(strongest.name, labels, results.choice) if strongest else None,
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


def _headline(attack: RecipeAttack, fpr: str | None, labels: Sequence[RecipeAttack], grade: Grade) -> str:
    if grade not in MEASURED:
        groups = "members and non-members of models trained this way"
        return sentences.ungraded(groups, attack, labels, grade, mean="mean ")
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
            f"{figure(attack.auc)}; guessing has 0.5, and an attacker who knew that would reverse its answers."
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


def _picked(attack: RecipeAttack, labels: Sequence[RecipeAttack], picked: Picked) -> list[str]:
    overhead = sum(attack.overhead.values())
    besides = []
    if overhead:
        besides = [f"“{attack.name}” also sent {attacker.queries(overhead)} that belong to no record."]
    if len(labels) == 1:
        return [f"“{attack.name}” is the only label-only attack run.", *besides]
    if picked is Picked.BEFOREHAND:
        return [
            f"Of the {number(len(labels))} label-only attacks run, the ranking named it before these models were "
            "looked at, so its figures are not those of the best of several.",
            *besides,
        ]
    return [
        f"It was picked from {number(len(labels))} label-only attacks on these models, and the best of several looks "
        "better than it is.",
        *besides,
    ]

"""The first screen for the audit of a model and for the audit of a recipe."""

from collections.abc import Sequence

import numpy as np

from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.rates import FALSE_ALARMS
from hardlabel.records.exposure import AVERAGE, CLASS, Games, GroupRisk, Named, WorstCase
from hardlabel.records.model import AuditRecord, Checks, Choice, Results
from hardlabel.records.recipe import RecipeRecord
from hardlabel.records.verdict import FEWEST, MEASURED, Grade, Graded, Verdict, below_guessing
from hardlabel.reports import picking
from hardlabel.reports.attacker import lifted_by, passed_over
from hardlabel.reports.next_steps import given, next_steps
from hardlabel.reports.picking import resolved
from hardlabel.reports.questions import (
    Answers,
    Bar,
    Compared,
    Ground,
    alarms,
    axis_end,
    care,
    ends_of_100,
    found_words,
    good,
    of_100,
    pair_words,
    rounded,
)
from hardlabel.reports.recipe import RecipeParagraph
from hardlabel.reports.sentences import gained
from hardlabel.reports.tables import Attacked
from hardlabel.reports.verdict import Paragraph
from hardlabel.reports.wording import counted, listed, number, odds, percent
from hardlabel.signals.base import Access

FEW_MODELS = 4  # Fewer models of a recipe say little about the spread between models.
MEANINGS = {
    Grade.SEVERE: "An outsider who sees only the predicted class can tell who was in the training data.",
    Grade.CLEAR: "An outsider who sees only the predicted class can tell who was in the training data clearly better "
    "than by guessing.",
    Grade.SLIGHT: "An outsider who sees only the predicted class can tell who was in the training data slightly "
    "better than by guessing.",
    Grade.NONE: "An outsider who sees only the predicted class was not found to do better than guessing. A stronger "
    "attack may still be.",
    Grade.NOT_TESTED: "This audit did not find that the model leaks, and it cannot clear the model either.",
    Grade.NO_VERDICT: "What was found contradicts itself. Do not rely on the figures below before the cause is known.",
}
SAYS = {Grade.SEVERE: "Yes.", Grade.CLEAR: "Yes.", Grade.SLIGHT: "Slightly.", Grade.NONE: "None was found."}


def model_answers(record: AuditRecord, found: Paragraph) -> Answers:
    """The first screen of the audit of a model; `found` is what `reports.verdict.verdict` says of the record."""
    results = record.results
    return Answers(
        grade=found.grade,
        title=found.title,
        meaning=MEANINGS[found.grade],
        also=_also(results, found),
        used=_used(results),
        subject=f"{results.target.description}, on {results.data}",
        leaking=_leaking(results.verdict, _attack(results, found.strongest), found.fpr),
        compared=_compared(results, found),
        beside=_beside(results, found),
        risk=tuple([*_risk_of_model(record, found), *_accusation(results, found)]),
        steps=tuple(next_steps(record)),
        grounds=_sorted(
            [
                *_strongest_run(results.choice, results.attacks),
                _groups_alike(results),
                _sizes(results),
                *_untestable(results.attacks, counted(results.nonmembers, "non-member"), noun="non-members"),
                *_check_rows(results.checks),
                *_guessed_training(results),
                *_chance(found.grade, results.confidence),
                care(
                    "One model only: another model trained the same way may leak more or less"
                    + ("." if record.config.get("target") else " (--repeats).")
                ),
            ]
        ),
    )


def recipe_answers(record: RecipeRecord, found: RecipeParagraph) -> Answers:
    """The first screen of the audit of a recipe; `found` is what `reports.recipe.recipe_verdict` says of the record."""
    results = record.results
    targets = len(results.targets)
    models = f"{counted(targets, 'model')} trained this way, each against {results.references} reference models"
    return Answers(
        grade=found.grade,
        title=found.title,
        meaning=MEANINGS[found.grade].replace("the model", "models trained this way").replace(" leaks", " leak"),
        also=_also(results, found),
        subject=f"{results.description}, on {results.data}; {counted(targets, 'model')}",
        leaking=_leaking(results.verdict, _attack(results, found.strongest), found.fpr),
        compared=_compared(results, found),
        beside=_beside(results, found),
        risk=tuple(
            _risk(found, [], results.games, results.worst_case, results.groups, _attack(results, found.strongest))
        ),
        steps=tuple(next_steps(record)),
        grounds=_sorted(
            [
                *_strongest_run(results.choice, results.attacks),
                good("Members and non-members are comparable: who is which was drawn at random."),
                good(f"{models}.") if targets >= FEW_MODELS else care(f"Only {models} (--repeats)."),
                good(f"{counted(results.samples, 'record')}, about half of them members of each model."),
                *_untestable(results.attacks, f"{counted(targets, 'model')} and {counted(results.samples, 'record')}"),
                *_chance(found.grade, results.confidence),
                care("This is about a way of training: the model in use may leak more or less. Audit that model too."),
            ]
        ),
    )


def _attack(results: Attacked[Graded], name: str | None) -> Graded | None:
    return next((attack for attack in results.attacks if attack.name == name), None)


def _leaking(verdict: Verdict, attack: Graded | None, fpr: str | None) -> tuple[str, ...]:
    grade = verdict.grade
    if grade in (Grade.NO_VERDICT, Grade.NOT_TESTED):
        words = ["Not known.", *(f"{reason.finding} {reason.cause}".strip() for reason in verdict.reasons)]
    else:
        words = [SAYS[grade]]
    if attack is None or attack.auc.value is None or grade is Grade.NO_VERDICT:
        return tuple(words)
    if below_guessing([attack]) and grade in MEASURED:
        words.append(f"The attack ranks members below non-members, which leaks as much. {pair_words(attack.auc)}")
    else:
        share = attack.tpr_at_fpr.get(fpr or "")
        known = fpr is not None and share is not None and share.value is not None
        words.append(found_words(share, fpr) if known and share is not None and fpr else pair_words(attack.auc))
    if verdict.at_least and grade is not Grade.SEVERE:
        words.append("It may be worse: the strongest known attack did not prove it, only other attacks did.")
    return tuple(words)


def _compared(results: Attacked[Graded], found: Paragraph | RecipeParagraph) -> Compared | None:
    """What guessing, this model's labels and its confidences give away, by one figure that all three have."""
    label, scores = _attack(results, found.strongest), _attack(results, found.strongest_scores)
    if label is None or label.auc.value is None or found.grade is Grade.NO_VERDICT:
        return None
    _, _, rate = picking.beside(label, scores or label, found.fpr)
    guess = 0.5 if rate is None else float(rate)
    bars = [Bar(label="Guessing", value=guess, shown=of_100(guess))]
    for who, attack in (("This model, labels only", label), ("The same, confidences too", scores)):
        if attack is not None and attack.auc.value is not None:
            estimate = attack.auc if rate is None else _share(attack, rate)
            bars.append(
                Bar(
                    label=f"{who} (“{attack.name}”)",
                    value=estimate.value or 0.0,
                    low=estimate.low,
                    high=estimate.high,
                    shown=f"{rounded(estimate, about=False)}{ends_of_100(estimate)}",
                    sees=attack.access,
                    owner=attack.name,
                    figure="auc" if rate is None else f"tpr_at_{rate}",
                )
            )
    title = (
        "Right cases of 100, shown a member and a non-member"
        if rate is None
        else f"Members found of 100, at {alarms(rate)}"
    )
    ends = [end for bar in bars for end in (bar.value, bar.high) if end is not None]
    return Compared(title=title, most=axis_end(ends, limit=1.0), bars=tuple(bars))


def _share(attack: Graded, rate: str) -> Estimate:
    return attack.tpr_at_fpr.get(rate, Estimate.undefined("not reported"))


def _also(results: Attacked[Graded], found: Paragraph | RecipeParagraph) -> str:
    """What an outsider finds who sees confidences too; empty where that is not measurably more."""
    label, scores = _attack(results, found.strongest), _attack(results, found.strongest_scores)
    if label is None or scores is None or found.grade is Grade.NO_VERDICT:
        return ""
    compared, gain = gained(results, label.name, scores.name)
    less, more, rate = picking.beside(label, scores, found.fpr)
    if compared != scores.name or gain.low is None or gain.low <= 0:
        return ""
    if less.value is None or more.value is None or more.low is None or more.low <= max(less.value, 0.5 * (not rate)):
        return ""
    who = "models also give out their" if isinstance(found, RecipeParagraph) else "the model also gives out its"
    finds, before = rounded(more, about=False), rounded(less, about=False)
    which = f"members instead of {before}, at {alarms(rate)}" if rate else f"cases instead of {before}"
    does = "finds" if rate else "tells a member from a non-member in"
    return f"If {who} confidences, an outsider {does} {finds} of 100 {which}."


def _beside(results: Attacked[Graded], found: Paragraph | RecipeParagraph) -> str:
    """What it adds to see confidences, by a paired comparison; empty if the strongest such attack was not compared."""
    if found.strongest is None or found.strongest_scores is None or found.grade is Grade.NO_VERDICT:
        return ""
    compared, gain = gained(results, found.strongest, found.strongest_scores)
    if compared != found.strongest_scores or gain.low is None or gain.high is None:
        return ""
    if gain.low > 0:
        return "Seeing confidences too helps the attacker measurably (by AUC, on the same records)."
    if gain.high < 0:
        return "Seeing confidences too does not help the attacker: the best such attack does measurably worse (by AUC)."
    return "Seeing confidences too gives no measurable advantage (by AUC, on the same records)."


def _risk_of_model(record: AuditRecord, found: Paragraph) -> list[str]:
    results = record.results
    words = _risk(found, results.named, [], results.worst_case, results.groups, _attack(results, found.strongest))
    asked = next((entry.asked for entry in results.named if entry.named and entry.access == Access.LABEL), None)
    if asked is not None and results.named and words != ["Not known."]:
        # The list is about all members, and about the non-members that the attacker did not know before.
        members = asked - (results.nonmembers - results.named[0].known)
        words[0] += f" In this test {number(members)} of the {number(asked)} records asked about were members."
    sure, members = surest(record, found.strongest)
    if found.grade in MEASURED and sure:
        words.insert(
            1 if results.named else 0,
            f"{number(sure)} of {counted(members, 'member')} score higher than every non-member.",
        )
    return words


def surest(record: AuditRecord, attack: str | None) -> tuple[int, int]:
    """How many members an attack scores higher than every non-member, and how many members have a score."""
    if attack is None or record.scores.empty:
        return 0, 0
    rows = record.scores[record.scores["attack"] == attack].dropna(subset=["score"])
    member = rows["member"].to_numpy(dtype=bool)
    scores = rows["score"].to_numpy(dtype=float)
    if member.all():
        return 0, int(member.sum())
    return int((scores[member] > np.max(scores[~member])).sum()), int(member.sum())


def _risk(
    found: Paragraph | RecipeParagraph,
    named: Sequence[Named],
    games: Sequence[Games],
    worst: WorstCase | None,
    groups: Sequence[GroupRisk],
    attack: Graded | None,
) -> list[str]:
    if found.grade is Grade.NO_VERDICT or attack is None:
        return ["Not known."]
    words = _named(named, attack)
    labels = [game for game in games if game.access == Access.LABEL]
    if labels:
        most = max(labels, key=lambda game: game.found)
        words.append(
            f"Repeated games find {number(most.found)} of {counted(most.points, 'record')} exposed to “{most.attack}” "
            f"({most.which}; at most {percent(most.rate)} of those found by chance)."
            if most.found
            else f"Repeated games find no record exposed to labels only; with {counted(most.targets, 'game')} for each "
            "record they find few."
        )
    words += _worst(worst, attack)
    columns = list(dict.fromkeys(group.slice for group in groups if group.slice != CLASS))
    if columns:
        words.append(f"Groups were compared by {listed(columns)}.")
    return words or ["This audit did not look for single records."]


def _named(named: Sequence[Named], attack: Graded) -> list[str]:
    labels = [entry for entry in named if entry.access == Access.LABEL]
    if not labels:
        return []
    mine = next((entry for entry in labels if entry.attack == attack.name and entry.named), None)
    entry = mine or max(labels, key=lambda entry: (entry.named, entry.right))
    limit = f"with at most {percent(entry.rate)} of the names expected to be wrong"
    if not entry.named:
        return [f"No label-only attack can name a member {limit}."]
    return [
        f"Of {counted(entry.named, 'record')} named by “{entry.attack}”, {number(entry.right)} were members ({limit})."
    ]


def _worst(worst: WorstCase | None, attack: Graded) -> list[str]:
    """How often accusations are right among the records most at risk, beside all records."""
    if worst is None:
        return []
    rows = {
        few.name: (few, row)
        for few in worst.selections
        for row in few.attacks
        if row.attack == attack.name and row.precision.value is not None
    }
    chosen = [pair for name, pair in rows.items() if name != AVERAGE]
    if not chosen or AVERAGE not in rows:
        return []
    few, row = max(chosen, key=lambda pair: pair[1].precision.value or 0.0)
    usual = rows[AVERAGE][1].precision
    return [
        f"Among the {percent(worst.share)} most at risk by {few.name}, {of_100(row.precision.value or 0.0)} of 100 "
        f"accusations by “{row.attack}” are right{ends_of_100(row.precision)}; among all records "
        f"{of_100(usual.value or 0.0)}{ends_of_100(usual)}."
    ]


def _accusation(results: Results, found: Paragraph) -> list[str]:
    if found.precision.value is None or found.fpr is None:
        return []
    return [
        f"In another crowd, where only {odds(results.prior)} records is a member (an assumption), "
        f"{rounded(found.precision)} of 100 accusations at {alarms(found.fpr)} are "
        f"right{ends_of_100(found.precision)}."
    ]


def _strongest_run(choice: Choice | None, attacks: Sequence[Graded]) -> list[Ground]:
    """Whether the attack that the ranking names was run, and which stronger one this attacker cannot run."""
    if choice is None:
        return [care("The record does not say which attack is the strongest known one.")]
    above = passed_over(choice)
    stronger = [] if above is None else [care(_out_of_reach(*above))]
    run = next((attack for attack in attacks if attack.name == choice.attack), None)
    if run is None:
        return [care(f"The strongest known attack for this attacker (“{choice.attack}”) was not run."), *stronger]
    if choice.weak:
        told = f"The strongest attack that this attacker can use (“{choice.attack}”) is weak: {choice.weak}."
        return [care(told), *stronger]
    if above is not None:
        told = f"Of the attacks that could be run with what was given, the strongest known one was run (“{run.name}”)."
        return [good(told), *stronger]
    return [good(f"The strongest known attack for this attacker was run (“{choice.attack}”).")]


def _out_of_reach(attack: str, reason: str) -> str:
    lifted = lifted_by(reason)
    way = f" (--{lifted[0]} lifts this)" if lifted is not None else ""
    return f"“{attack}”, which is known to be stronger, could not be run: {reason}{way}."


def _groups_alike(results: Results) -> Ground:
    if results.seem_exchanged:
        alike = results.blind.auc.value is not None and not results.blind.differs
        told = "Members and non-members may be exchanged or come from different sources"
        return care(
            f"{told}. Without the model they look alike, which speaks for an exchange." if alike else f"{told}."
        )
    if results.blind.auc.value is None:
        return care("Whether members and non-members are comparable is not known.")
    if results.blind.hides:
        return care(
            "Without the model, non-members look like members, as where copies of records stand in both groups: the "
            "figures may be too low."
        )
    if results.blind.differs:
        return care("Members and non-members can be told apart without the model: the figures are inflated.")
    return good("Members and non-members are comparable.")


def _sizes(results: Results) -> Ground:
    sizes = f"{counted(results.members, 'member')} and {counted(results.nonmembers, 'non-member')}"
    sizes = _used(results).removesuffix(".") or sizes
    return good(f"{sizes}.") if min(results.members, results.nonmembers) >= FEWEST else care(f"Only {sizes}.")


def _used(results: Results) -> str:
    """How many of the records given were attacked, by the note that an audit leaves; empty where all were."""
    sizes = given(results.notes)
    if sizes is None:
        return ""
    return (
        f"{number(results.members)} of your {counted(sizes[0], 'member')} and {number(results.nonmembers)} of your "
        f"{counted(sizes[1], 'non-member')} were used; --samples for more."
    )


def _untestable(attacks: Sequence[Graded], numbers: str, *, noun: str = "") -> list[Ground]:
    """The reported false-positive rates that no label-only attack resolves."""
    labels = [attack for attack in attacks if attack.access == Access.LABEL]
    known = resolved(labels)
    missing = sorted({rate for attack in labels for rate in attack.tpr_at_fpr} - set(known), key=float, reverse=True)
    if not missing:
        return []
    rates = listed([odds(float(rate)) for rate in missing])
    enough = [number(round(FALSE_ALARMS / float(rate))) for rate in missing]
    needs = f"; {listed(enough)} {noun} would do" if noun else ""
    return [care(f"Accusations at {rates} false alarms cannot be tested with {numbers}{needs}.")]


def _check_rows(checks: Checks | None) -> list[Ground]:
    if checks is None:
        return []
    if checks.changed:
        return [care("The target changed during the audit.")]
    if checks.otherwise:
        return [care(f"The target's answers vary: {checks.otherwise} of {checks.rows} check rows got another answer.")]
    return [good("Whenever the target was asked the same rows again, it gave the same answers.")]


def _guessed_training(results: Results) -> list[Ground]:
    if results.references is None or results.references.alike:
        return []
    return [care("The attacker's models were not trained as the target was: an attacker who knows how may find more.")]


def _chance(grade: Grade, confidence: float) -> list[Ground]:
    if grade is not Grade.SLIGHT:
        return []
    return [care(f"It can be chance: without any leakage, at most {percent(1 - confidence)} of audits find some.")]


def _sorted(grounds: Sequence[Ground]) -> tuple[Ground, ...]:
    return tuple(sorted(grounds, key=lambda ground: not ground.good))

"""A comparison of defenses as a Markdown table, with what was changed and the recommendation."""

from hardlabel import printed
from hardlabel.records.defenses import DefendRecord, DefenseResult, TestedGuarantee
from hardlabel.records.effects import effects
from hardlabel.records.recommendation import recommendation, title
from hardlabel.reports.text import table_of

HEAD = (
    "defense",
    "test accuracy",
    "change",
    "strongest attack",
    "its AUC",
    "its change",
    "effect",
    "TPR at 1 % FPR",
    "front",
    "training, s",
    "1,000 answers, s",
)


def defenses_markdown(record: DefendRecord) -> str:
    """One row per defense and level, the guarantees and changes, what was left out, the recommendation."""
    results = record.results
    found = effects(results)
    lines = [
        printed.paragraph(
            f"{results.data}: {results.targets} models of each defense play target, trained on {results.train_size} "
            f"samples each; {results.samples} samples asked about, {results.references} reference models for each "
            "target."
        ),
        "",
        table_of(HEAD, [_cells(one, str(found.get(one.name, ""))) for one in results.defenses]),
    ]
    told = [line for one in results.defenses for line in _changed(one)]
    told += [f"left out: {one.name}: {one.reason}" for one in results.left_out]
    lines += ["", *(f"- {printed.paragraph(line)}" for line in told)] if told else []
    return "\n".join([*lines, "", *map(printed.paragraph, [f"{title(results)}.", *recommendation(results)])])


def _cells(one: DefenseResult, effect: str) -> list[str]:
    low = None if one.strongest_at_low_fpr is None else one.attack(one.strongest_at_low_fpr)
    return [
        one.name,
        str(one.test_accuracy),
        str(one.accuracy_change) if one.defense != "none" else "",
        f"{one.worst.title}, {one.worst.access}",
        str(one.worst.auc),
        str(one.worst.change) if one.defense != "none" else "",
        effect,
        one.attacks[0].tpr.note if low is None else f"{low.tpr} ({low.title})",
        "yes" if one.front else "",
        f"{one.training_seconds:.3g}",
        f"{one.answer_seconds:.3g}",
    ]


def _changed(one: DefenseResult) -> list[str]:
    told = []
    if one.privacy is not None:
        mine = one.privacy
        told.append(
            f"{one.name}: epsilon {mine.epsilon:.4g} at delta {mine.delta:g} ({mine.accountant}; noise multiplier "
            f"{mine.noise_multiplier:.4g}, sampling rate {mine.sampling_rate:.4g}, {mine.steps} steps); {_proved(mine)}"
        )
    if one.changes:
        told.append(f"{one.name}: {'; '.join(one.changes)}")
    return told


def _proved(mine: TestedGuarantee) -> str:
    """What attacks show of a guarantee, in words."""
    if not mine.proved:
        return "the attacks prove nothing above 0"
    return f"the attacks prove with 95 % confidence that it is not below {mine.proved:.3g} ({mine.proved_by})"

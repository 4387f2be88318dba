"""What the attacker spends and has: queries, models of its own, and the attack that the ranking names for it."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from hardlabel.attacks.ladder import USUAL
from hardlabel.records.model import Choice, Compute, ReferenceModels
from hardlabel.records.verdict import Graded, Picked, how_picked
from hardlabel.reports.wording import counted, duration, figure, number, percent, times

OWN = "Reference models (own rows, time)"


class Costed(Graded, Protocol):
    """An attack's entry in either record, with what it cost on the attacker's own models."""

    @property
    def references(self) -> int: ...

    @property
    def reference_compute(self) -> Compute: ...


def who(attack: Costed) -> str:
    """The attacker as a sentence's subject: what it sees, asks and trains."""
    asked = attack.queries_per_sample
    asks = f"asks {times(asked.mean)} per record"
    if round(asked.mean, 1) != asked.max:
        asks += f" on average (at most {number(asked.max)})"
    if attack.references:
        told = f", {asks} and trains {counted(attack.references, 'model')} of its own"
    else:
        told = f" and {asks}"
    return f"An attacker who sees only labels{told} (“{attack.name}”)"


def classes_held(config: Mapping[str, object]) -> str:
    """With which classes the attacker holds the records, by an audit's settings; where they do not say, true ones."""
    if config.get("labels") == "target":
        return "without their classes: they take the model's answers for them"
    share = config.get("wrong_labels")
    if isinstance(share, int | float) and share > 0:
        return f"with their classes, of which about {percent(share)} are wrong"
    return "with their true classes"


def queries(count: float) -> str:
    """A number of queries with its noun."""
    return f"{number(count)} {'query' if count == 1 else 'queries'}"


def rows_and_time(attack: Costed) -> str:
    """What was computed on the attacker's own models, training apart: "12,400 rows, 3.1 s"; empty for nothing."""
    spent = attack.reference_compute
    if spent.rows == 0:
        return ""
    return f"{counted(spent.rows, 'row')}, {duration(spent.seconds)}"


def own_models(attack: Costed) -> str:
    """What an attack has of its own, under OWN, to stand beside its queries: "12 (12,400 rows, 3.1 s)"."""
    spent = rows_and_time(attack)
    return f"{number(attack.references)} ({spent})" if spent else number(attack.references)


def models_used(attack: Costed, references: ReferenceModels | None) -> list[str]:
    """What the reference models behind an attack cost; nothing where it has none."""
    if not attack.references:
        return []
    told = f"“{attack.name}” compares the answers with those of {counted(attack.references, 'reference model')}"
    if references is not None:
        told += f", whose training took {training(references.training_seconds, references.training_rows)}"
    spent = rows_and_time(attack)
    return [f"{told}; asking and fitting them took {spent}." if spent else f"{told}."]


def training(seconds: float, rows: int | None) -> str:
    """The time of a training, and its rows where somebody counted them."""
    return duration(seconds) if rows is None else f"{duration(seconds)} ({counted(rows, 'row')} through the models)"


def reference_models(references: ReferenceModels) -> list[str]:
    """Paragraphs on the attacker's reference models and crafters."""
    there = references
    told = (
        f"{counted(there.count, 'reference model')} of its own: {there.description}. Each was trained on "
        f"{number(there.train_size)} points, a random half of {number(there.pool)} that hold the records asked about. "
        "So each record was in the training data of half of the models. They are right on "
        f"{percent(there.train_accuracy)} of the records they were trained on and on {percent(there.test_accuracy)} "
        f"of the others. Training took {training(there.training_seconds, there.training_rows)}."
    )
    alike = (
        "They were trained as the target was."
        if there.alike
        else "They were not trained as the target was: each model's answers are standardised before they are compared."
    )
    paragraphs = [f"{told} {alike}"]
    if there.crafters:
        paragraphs.append(
            f"{counted(there.crafters, 'network')} trained on the attacker's own data, to choose the queries; training "
            f"took {duration(there.crafting_seconds)}."
        )
    return paragraphs + ([there.note] if there.note else [])


def named(
    choice: Choice | None, budget: int | None, labels: Sequence[Graded], *, spoken_of: Graded | None
) -> list[str]:
    """Which label-only attack the ranking names and why, and how it did here if it was run.

    `spoken_of` is the attack that the verdict quotes.
    """
    if choice is None:
        return []
    unset = "No budget was set. " if budget is None else ""
    told = (
        f"{unset}Within {queries(budget or USUAL)} per record, the attack to choose for what this attacker has is "
        f"“{choice.attack}”, by a ranking measured on other models: {choice.why}."
    )
    run = next((attack for attack in labels if attack.name == choice.attack), None)
    if run is None:
        return [f"{told} It was not run here."]
    if spoken_of is not None and how_picked(spoken_of.name, labels, choice) is Picked.BEFOREHAND:
        return [f"{told} It is the attack quoted in the verdict."]
    asked = f"it asked {times(run.queries_per_sample.mean)} per record"
    told = f"{told} Here {asked}, and its AUC is {figure(run.auc)}."
    if spoken_of is None:
        return [told]
    picked = how_picked(spoken_of.name, labels, choice)
    return [f"{told} The attack quoted in the verdict is another one, “{spoken_of.name}”, {picked}."]


def mark(name: str, quoted: str | None, attacks: Sequence[Graded], choice: Choice | None) -> str:
    """What stands below an attack's name in a table: whether it is quoted, and how it was picked."""
    if name == quoted:
        picked = how_picked(name, attacks, choice)
        return {
            Picked.BEFOREHAND: "quoted; named by the ranking",
            Picked.ALONE: "quoted in the verdict",
            Picked.HERE: "quoted; picked by its result",
        }[picked]
    return "named by the ranking" if choice is not None and name == choice.attack else ""


def passed_over(choice: Choice | None) -> tuple[str, str] | None:
    """The attack that the ranking puts above its choice, and why this attacker cannot run it; None without any.

    Example:
        >>> from hardlabel.records.model import Choice
        >>> from hardlabel.reports.attacker import passed_over
        >>> why = "how much noise it survives; designed would be stronger but no networks could be trained"
        >>> passed_over(Choice(attack="noise-ratio", queries=10, why=why))
        ('designed', 'no networks could be trained')
    """
    match = re.search(r"; (\S+) would be stronger but (.+)$", choice.why) if choice is not None else None
    return (match[1], match[2]) if match else None


def lifted_by(reason: str) -> tuple[str, str | int] | None:
    """The setting, and a value for it, that lifts the reason why an attack cannot be run; None if none is known.

    Example:
        >>> from hardlabel.reports.attacker import lifted_by
        >>> lifted_by("no networks could be trained without population"), lifted_by("needs 100 queries")
        (('population', 'more.csv'), ('budget', 100))
    """
    if "without trainer" in reason:
        return "trainer", "train.py:train"
    if "population" in reason:
        return "population", "more.csv"
    match = re.search(r"needs ([\d,]+) queries", reason)
    return ("budget", int(match[1].replace(",", ""))) if match else None


def choice_line(choice: Choice | None, attacks: Sequence[str]) -> str:
    """The same in one line, for a terminal; empty where the record names none."""
    if choice is None:
        return ""
    run = "" if choice.attack in attacks else "; it was not run: ask for it with --attacks"
    return (
        f"strongest label-only attack by the ranking: {choice.attack}, at most {queries(choice.queries)} per record: "
        f"{choice.why}{run}"
    )

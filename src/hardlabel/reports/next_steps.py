"""What to do after a run: a few steps that follow from the record by fixed rules, each with a command where one runs.

The rules stand in docs/next-steps.md. A command is shown only if it runs as pasted in the folder where the run was
begun; a form to fill in stands in the text, which says so. Records keep the last name of a path, so that a run on a
file has a command only where the whole path is known.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hardlabel.checks import InvalidInput
from hardlabel.data.files import FILE_TYPES
from hardlabel.data.sources import SOURCES
from hardlabel.data.split import DEFAULT_SIZE, GROUPS
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.base import Record
from hardlabel.records.canaries import CanaryRecord
from hardlabel.records.defenses import DefendRecord
from hardlabel.records.effects import LEAST
from hardlabel.records.model import AuditRecord, Results, class_rights
from hardlabel.records.recipe import RecipeRecord
from hardlabel.records.recommendation import Outcome, decision, undecided
from hardlabel.records.verdict import FEWEST, MEASURED, Grade, Graded, Verdict, exchanged, wide
from hardlabel.reports import picking
from hardlabel.reports.attacker import lifted_by, passed_over
from hardlabel.reports.questions import alarms, ends_of_100, rounded
from hardlabel.reports.wording import counted, figure, number
from hardlabel.runs.command import command_of, expanded
from hardlabel.runs.places import PATHS
from hardlabel.runs.settings import (
    CanariesSettings,
    DefensesSettings,
    Gate,
    ModelSettings,
    RecipeSettings,
    RunSettings,
    TargetSettings,
    flat,
)
from hardlabel.signals.base import Access

MOST = 5  # Steps that a reader takes in.
TRAINABLE = 20  # Fewest training samples with which the attacker trains models of its own.
SHARE = 0.01  # Of the records, for a report on those most at risk.
MODELS = 8  # Models that play target, where one was audited.
MOST_SAMPLES, MOST_SHADOW = 1000, 500  # What is attacked if nobody says how many samples.
GATE = "grade >= clear"
FORM = "FILE.py:FUNCTION"  # The user's training, where it is unknown.
# What to do with the answer of a comparison of defenses; with too few models, there is only more to measure.
TAKEN: Mapping[Outcome, str] = {
    Outcome.FREE: "Train with {name}, and audit the model that you release.",
    Outcome.PRICED: "Decide whether what {name} protects is worth its cost in accuracy; audit the model that you "
    "release.",
    Outcome.UNKNOWN: "Do not choose a defense by this comparison: it has nothing to compare. Check the data and the "
    "training, or attack more records.",
    Outcome.NONE: "Do not rely on these defenses: none helps enough. Train on more data, or on less sensitive data.",
}
# Settings classes and commands by the kind of a run in its config, as hardlabel.kinds joins them.
KINDS: Mapping[str, tuple[str, type[RunSettings]]] = {
    "model": ("audit", ModelSettings),
    "recipe": ("audit", RecipeSettings),
    "target": ("audit", TargetSettings),
    "defenses": ("defend", DefensesSettings),
    "canaries": ("canaries", CanariesSettings),
}
_COMMANDS = {settings: command for command, settings in KINDS.values()}
# Choices of one kind of run that mean something else, or nothing, in another one.
_OWN = frozenset({"attacks", "networks", "samples", "shadow_samples", "repeats"})
_NEVER = frozenset({"out", *Gate.model_fields})  # Not repeated by another run.


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something to do.

    Attributes:
        text: What to do, and why, in plain sentences.
        command: One line for a shell that does it, to be pasted in the folder where the run was begun; None if no line
            is known to run there.
    """

    text: str
    command: str | None = None


def next_steps(record: Record[Any], *, places: Mapping[str, str] | None = None) -> list[Step]:
    """What to do next, the most urgent first: at most MOST steps.

    Args:
        record: A record of any kind.
        places: Whole paths by setting, if they are known. A record has their last names only, so that without `places`
            a run on files gets steps without commands.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.next_steps import next_steps
        >>> next_steps(hardlabel.load("runs/digits"))[0].text
        'Do not release the model as it is.'
    """
    again = Again.of(record, places or {})
    if isinstance(record, DefendRecord):
        steps = _of_defenses(record, again)
    elif isinstance(record, CanaryRecord):
        steps = _of_canaries(record, again)
    else:
        assert isinstance(record, AuditRecord | RecipeRecord), "the kinds of records are closed"
        steps = _of_audit(record, again)
    unique: dict[str, Step] = {}
    for step in steps:
        unique.setdefault(step.command or step.text, step)
    return list(unique.values())[:MOST]


@dataclass(frozen=True, kw_only=True)
class Again:
    """Makes command lines for further runs out of the settings of a finished one.

    Attributes:
        kind: The kind of the finished run; "" if the record does not tell, as after a call from Python.
        settings: Its settings, with whole paths; empty if they do not suffice to begin a run.
        rows: Rows of its data; None if unknown.
        named: Its settings with the whole paths that are known, and with last names else.
    """

    kind: str
    settings: Mapping[str, object]
    rows: int | None
    named: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record[Any], places: Mapping[str, str]) -> "Again":
        config = flat(record.config)
        kind, rows = config.pop("kind", None), _rows(record.results.notes)
        subject = "target" if kind == "target" else "data"
        if not isinstance(kind, str) or kind not in KINDS or not isinstance(config.get(subject), str):
            return cls(kind="", settings={}, rows=rows)
        # What stands on the machine "by itself" need not be typed.
        if config.get("precision") == "float32" and str(record.results.environment.machine).endswith(" cpu"):
            del config["precision"]
        whole = True
        for name in PATHS:
            value = config.get(name)
            if value is None or (name in ("data", "pretrain") and value in SOURCES):
                continue
            if name == "trainer" and not str(value).rpartition(":")[0].endswith(".py"):
                continue
            if name == "protocol" and "." not in str(value):
                continue
            if name in places:
                config[name] = expanded(places[name])
            whole = whole and name in places
        return cls(kind=kind, settings=config if whole else {}, rows=rows, named=config)

    def __call__(
        self,
        settings: type[RunSettings],
        changes: Mapping[str, object] | None = None,
        *,
        without: Collection[str] = (),
    ) -> str | None:
        """The command of a run of this class with the same settings, as far as it has them, and these changes.

        None where the settings are unknown, or do not suit such a run.
        """
        if not self.settings:
            return None
        alike = settings is KINDS[self.kind][1]
        left = {*without, *_NEVER, *(() if alike else _OWN)}
        values = {name: value for name, value in self.settings.items() if name in settings.model_fields}
        values = {name: value for name, value in values.items() if name not in left and value is not None}
        size = values.get("train_size")
        for name, most in (("samples", MOST_SAMPLES), ("shadow_samples", MOST_SHADOW)):
            if isinstance(size, int) and values.get(name) == min(size, most):
                del values[name]  # It is what the run would choose.
        values |= changes or {}
        if settings is DefensesSettings and _below(values, "references", MODELS - 2):
            values.setdefault("repeats", int(str(values["references"])) + 2)
        if settings in (RecipeSettings, DefensesSettings) and _below(values, "train_size", TRAINABLE):
            return None
        always = {"data"} | ({"repeats"} if settings is RecipeSettings else set())
        try:
            return command_of(_COMMANDS[settings], settings(**values), always=always)
        except InvalidInput:
            return None

    def number(self, name: str) -> int | None:
        """A setting that is a whole number; None if it was left open or is unknown."""
        value = self.settings.get(name)
        return value if isinstance(value, int) else None


def _of_audit(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    verdict = record.results.verdict
    grade = verdict.grade
    if grade is Grade.NO_VERDICT:
        first = _exchange(record, again)
        known = exchanged(class_rights(record.results.attacks)) if first and isinstance(record, AuditRecord) else []
        return first + [
            Step(text=f"Do not decide by this audit. {reason.remedy}")
            for reason in verdict.reasons
            if reason not in known
        ]
    again, retried = _not_run(record, again, verdict)
    steps: list[Step] = []
    if grade is Grade.SEVERE:
        steps.append(Step(text="Do not release the model as it is."))
    elif grade is Grade.CLEAR:
        steps.append(Step(text="Do not release the model before somebody has weighed what it leaks against its use."))
    elif grade is Grade.NOT_TESTED:
        steps += [*retried, *_weak(record, again), *_more_records(record, again)]
    if grade in (Grade.SEVERE, Grade.CLEAR, Grade.SLIGHT):
        steps.append(_defend(again))
    steps += _confidences(record, verdict)
    if grade in (Grade.SEVERE, Grade.CLEAR):
        steps += _exposed(record, again)
    if verdict.at_least:
        steps += retried
    if grade not in (Grade.SEVERE, Grade.CLEAR):
        steps += _one_model(record, again)
    steps += _stronger(record, again)
    steps += [Step(text=reason.remedy) for reason in verdict.reasons if grade in (Grade.NONE, *MEASURED)]
    if grade is not Grade.NOT_TESTED:
        steps += _exposed(record, again) if grade in (Grade.NONE, Grade.SLIGHT) else []
        steps += _gate(record, again)
    return steps


def _exchange(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    """The same audit with the two files exchanged, where the target's answers say that they may be."""
    config, results = flat(record.config), record.results
    files = [config.get(name) for name in ("members", "nonmembers")]
    if not isinstance(results, Results) or not results.seem_exchanged or not all(isinstance(one, str) for one in files):
        return []
    text = (
        "Do not decide by this audit. Check which file the model was trained on. If members and non-members were "
        "exchanged, repeat the audit with --members and --nonmembers exchanged."
    )
    swapped = {"members": again.settings.get("nonmembers"), "nonmembers": again.settings.get("members")}
    return [Step(text=text, command=_same(again, swapped) if again.settings else None)]


def _stronger(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    """What lets an attack be run that is known to be stronger, where the record says what was wanting."""
    choice = record.results.choice
    above = passed_over(choice)
    lifted = lifted_by(above[1]) if above is not None else None
    if choice is None or above is None or lifted is None or (choice.weak and again.kind in ("", "model", "recipe")):
        return []
    name, value = lifted
    then = f"“{above[0]}”, which is known to be stronger, can then be run."
    kind = KINDS[again.kind][1] if again.kind else None
    if kind is not None and name not in kind.model_fields:
        return []
    text = {
        "population": f"Give {_population(record)} more rows from the same source that are in neither file "
        "(--population; more.csv stands for your file): ",
        "trainer": "Give a way to train models as the target was (--trainer; train.py:train stands for yours): ",
        "budget": f"Allow {value} queries per record (--budget): ",
    }[name]
    return [Step(text=text + then, command=_same(again, {name: value}))]


def _population(record: AuditRecord | RecipeRecord) -> str:
    """How many rows a population needs: as many as the target was trained on, and a few non-members."""
    size, results = flat(record.config).get("train_size"), record.results
    if not isinstance(size, int) and isinstance(results, Results):
        size = (given(results.notes) or (results.members, 0))[0]
    return f"at least {number(size + TRAINABLE)}" if isinstance(size, int) else "many"


def _not_run(record: AuditRecord | RecipeRecord, again: Again, verdict: Verdict) -> tuple[Again, list[Step]]:
    """A step that runs the attack which the ranking names; further commands then run it, too."""
    choice = record.results.choice
    if choice is None:
        remedies = [reason.remedy for reason in verdict.reasons if verdict.grade is Grade.NOT_TESTED]
        return again, [Step(text=remedy, command=_same(again)) for remedy in remedies[:1]]
    if any(attack.name == choice.attack for attack in record.results.attacks):
        return again, []
    attacks = again.settings.get("attacks")
    if again.settings and isinstance(attacks, list):
        changed = {**again.settings, "attacks": [*attacks, choice.attack]}
        again = replace(again, settings=changed)
    text = f"Run “{choice.attack}”, the strongest label-only attack for what this attacker has."
    return again, [Step(text=text, command=_same(again) if isinstance(attacks, list) else None)]


def _weak(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    """What lets stronger attacks be run, where even the strongest possible one says little."""
    choice = record.results.choice
    if choice is None or not choice.weak or all(attack.name != choice.attack for attack in record.results.attacks):
        return []
    if again.kind in ("model", "recipe") and again.number("budget") is not None:
        command = again(KINDS[again.kind][1], without={"budget", "attacks"})
        return [Step(text="Allow more queries per record, so that stronger attacks can be run.", command=command)]
    return [
        Step(
            text="Give the attacker a way to train models (a trainer) and data of its own (a population): stronger "
            "attacks need them."
        )
    ]


def _more_records(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    """More records, where there are too few to exclude severe leakage."""
    results = record.results
    fewest = min(results.members, results.nonmembers) if isinstance(results, Results) else results.samples // 2
    labels = [attack for attack in results.attacks if attack.access == Access.LABEL]
    if fewest >= FEWEST and not wide(labels):
        return []
    text = "Attack more members and non-members: so few cannot exclude severe leakage."
    size, samples = again.number("train_size"), again.number("samples")
    if again.kind not in ("model", "recipe") or size is None:
        return [Step(text=text)]
    kind = KINDS[again.kind][1]
    if samples is not None and samples < min(size, MOST_SAMPLES):
        return [Step(text=text, command=again(kind, without={"samples"}))]
    largest = 0 if again.rows is None else min(again.rows // len(GROUPS), DEFAULT_SIZE)
    if largest <= size:
        return [Step(text=text)]
    command = again(kind, {"train_size": largest}, without={"samples", "shadow_samples"})
    return [
        Step(
            text=f"{text} This command trains on {number(largest)} samples, instead of {number(size)}.", command=command
        )
    ]


def _defend(again: Again) -> Step:
    text = "Compare defenses on the same data: how much each protects, and what it costs."
    if again.kind == "target":
        return _defend_your_model(again, text)
    return Step(text=text, command=again(DefensesSettings, without=_too_large(again)))


def _defend_your_model(again: Again, text: str) -> Step:
    """The comparison on the members, trained the user's way: a command if that way is known, else a form to fill in."""
    settings = again.named
    data, trainer = str(settings.get("members")), str(settings.get("trainer"))
    if Path(data).suffix.lower() not in FILE_TYPES or settings.get("group") is not None:
        return Step(text=f"{text} “hardlabel defend --trainer FILE.py:FUNCTION” trains your way, on a table or arrays.")
    text = f"{text} Each model is trained on a fifth of the rows; --dry-run shows the work first."
    column = settings.get("member_column")
    ignored = [*_list(settings.get("ignore")), *([] if column is None else [column])]
    changes = {"data": data, "ignore": ignored}
    without = {"train_size"}
    if ".py:" in trainer:
        return Step(text=text, command=again(DefensesSettings, changes, without=without))
    form = replace(again, settings=settings)(DefensesSettings, changes | {"trainer": FORM}, without=without)
    if form is None:
        return Step(text=text)
    return Step(
        text=f"{text} Put your training in place of {FORM}: “{form}”. FUNCTION takes nothing and returns your "
        "classifier, not fitted; or it takes (inputs, labels, *, seed) and returns a trained model."
    )


def _confidences(record: AuditRecord | RecipeRecord, verdict: Verdict) -> list[Step]:
    """Whether hiding confidences helps."""
    results = record.results
    labels = [attack for attack in results.attacks if attack.access == Access.LABEL]
    strongest, fpr = picking.strongest(picking.earned(labels, verdict), low_fpr=verdict.grade in MEASURED)
    scores = picking.best([attack for attack in results.attacks if attack.access == Access.SCORES], fpr)
    if strongest is None or scores is None or scores.auc.low is None or strongest.auc.value is None:
        return []
    gain = _gain(results.differences, strongest.name, scores.name)
    better = gain.low is not None and gain.low > LEAST
    beside = f"AUC {figure(strongest.auc)} from labels alone, {figure(scores.auc)} from confidences"
    fall = f"the AUC from {figure(scores.auc)} to {figure(strongest.auc)}"
    if verdict.grade in (Grade.SEVERE, Grade.CLEAR):
        if better:
            return [Step(text=_hiding(strongest, scores, fpr))]
        if gain.low is not None and gain.low > 0:
            return [Step(text=f"Hiding the confidences will help little: it lowers {fall}. Labels alone still leak.")]
        return [Step(text=f"Hiding the confidences will not help, since labels alone leak as much: {beside}.")]
    if better and scores.auc.low > 0.5:
        return [Step(text=f"Answer with labels only: {beside}.")]
    return []


def _hiding(label: Graded, scores: Graded, fpr: str | None) -> str:
    """What hiding the confidences changes in numbers, at the verdict's rate where both attacks have a figure there."""
    left, now, rate = picking.beside(label, scores, fpr)
    if now.value is None or left.value is None or now.value <= left.value:
        left, now, rate = label.auc, scores.auc, None
    before, after = (f"{rounded(one, about=False)}{ends_of_100(one)}" for one in (now, left))
    if rate is None:
        found = "cases of 100 in which an outsider tells a member from a non-member"
    else:
        found = f"members found of 100, at {alarms(rate)},"
    falls = f"it lowers the {found} from {before} to {after}"
    return f"Hiding the confidences is not enough: {falls}. Labels alone still leak."


def _gain(differences: Sequence[Any], label: str, scores: str) -> Estimate:
    """AUC of the attack that sees scores minus AUC of the other, paired; undefined if the two were not compared."""
    for pair in differences:
        auc = pair.auc
        if (pair.first, pair.second) == (scores, label):
            return Estimate(auc.value, auc.low, auc.high)
        if (pair.first, pair.second) == (label, scores) and None not in (auc.value, auc.low, auc.high):
            return Estimate(-auc.value, -auc.high, -auc.low)
    return Estimate.undefined("not compared")


def _exposed(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    """The records at risk: decide about those that are known, else look for them."""
    results = record.results
    named = [row for row in getattr(results, "named", []) if row.access == Access.LABEL and row.right]
    most = max(named, key=lambda row: row.right, default=None)
    played = [row for row in getattr(results, "games", []) if row.access == Access.LABEL and row.found]
    games = max(played, key=lambda row: row.found, default=None)
    decide = "Decide whether they may stay in the training data."
    where = "Section 2 of the report lists the records found first, by pseudonym; scores.parquet has the scores of all."
    shown, command = record.config.get("show_records") is True, None
    if shown:
        where += " Their row numbers stand beside the pseudonyms."
    else:
        where += " For their row numbers, repeat the run with --show-records."
        command = _same(again, {"show_records": True})
    if most is not None:
        text = f"Of {counted(most.named, 'record')} that an attacker names, {number(most.right)} are members. {decide}"
        return [Step(text=f"{text} {where}", command=command)]
    if games is not None:
        text = f"{counted(games.found, 'record')} of {number(games.points)} are exposed. {decide} {where}"
        return [Step(text=text, command=command)]
    if results.worst_case is not None or again.kind not in ("model", "recipe"):
        return []
    command = again(KINDS[again.kind][1], {"worst_case": SHARE})
    if command is None or _below(again.settings, "train_size", TRAINABLE):
        return []
    return [Step(text="Look at the records most at risk: averages hide them.", command=command)]


def _one_model(record: AuditRecord | RecipeRecord, again: Again) -> list[Step]:
    """More models, where one was audited, or fewer than there could be."""
    references = again.number("references")
    if isinstance(record, RecipeRecord):
        targets = len(record.results.targets)
        if references is None or targets >= references + 2:
            return []
        text = f"Attack more than {number(targets)} models: the interval over models then gets narrower."
        return [Step(text=text, command=again(RecipeSettings, {"repeats": references + 2}))]
    text = "Audit several models trained alike: another model of the same training may leak more than this one."
    if again.kind != "model" or references is None:
        return [Step(text=text)]
    left = {"samples", "shadow_samples"} & {name for name in again.settings if name in RecipeSettings.model_fields}
    changes: dict[str, object] = {"repeats": min(MODELS, references + 2)}
    changes |= {name: again.settings[name] for name in left if _chosen(again.settings, name)}
    return [Step(text=text, command=again(RecipeSettings, changes))]


def _gate(record: AuditRecord | RecipeRecord | CanaryRecord, again: Again) -> list[Step]:
    """A gate for builds, where the run has none yet."""
    if record.config.get("gate"):
        return []
    text = "Let a build fail once clear leakage is proven."
    if record.results.verdict.grade in (Grade.SEVERE, Grade.CLEAR):
        text = "After the repair, let a build fail if clear leakage is proven again."
    return [Step(text=text, command=_same(again, {"gate": [GATE]}))]


def _of_defenses(record: DefendRecord, again: Again) -> list[Step]:
    results, steps = record.results, list[Step]()
    answer = decision(results)
    if answer.outcome in TAKEN:
        steps.append(Step(text=answer.words(TAKEN)))
    if undecided(results):
        steps += _more_models(record, again)
    if results.left_out:
        names = ", ".join(dict.fromkeys(out.name for out in results.left_out))
        steps.append(Step(text=f"Not compared: {names}. The record says what each would need."))
    return steps


def _more_models(record: DefendRecord, again: Again) -> list[Step]:
    results = record.results
    text = f"Attack more than {counted(results.targets, 'model')} of each defense: some effects are still open."
    references, most = results.references, 256
    if results.targets < references + 2:
        return [Step(text=text, command=again(DefensesSettings, {"repeats": references + 2}))]
    doubled = min(2 * references, most)
    changes = {"references": doubled, "repeats": doubled + 2}
    return [Step(text=text, command=again(DefensesSettings, changes) if doubled > references else None)]


def _of_canaries(record: CanaryRecord, again: Again) -> list[Step]:
    results = record.results
    grade = results.verdict.grade
    steps: list[Step] = []
    if results.kept is False:
        steps.append(
            Step(
                text="Do not rely on the promise of privacy: it is broken. Check the noise, the clipping and "
                "the accounting of the training."
            )
        )
    elif grade is Grade.SEVERE:
        steps.append(Step(text="Do not release a model trained this way."))
    elif grade is Grade.CLEAR:
        steps.append(Step(text="Do not release a model trained this way before somebody has weighed what it leaks."))
    if grade in MEASURED and results.kept is not False:
        steps.append(_defend(again))
    if grade not in (Grade.SEVERE, Grade.CLEAR):
        command = again(ModelSettings, without=_too_large(again))
        steps.append(
            Step(
                text="Audit a model on its real records: canaries show what training can remember, not what "
                "an attacker finds about people.",
                command=command,
            )
        )
    if results.guarantee is None:
        steps.append(
            Step(text="If you need a bound from above, train with differential privacy (the option --epsilon).")
        )
    if grade in (Grade.NONE, Grade.SLIGHT):
        steps += _gate(record, again)
    return steps


def _same(again: Again, changes: Mapping[str, object] | None = None) -> str | None:
    """The command that began the run, with these changes."""
    return again(KINDS[again.kind][1], changes) if again.kind else None


def _chosen(settings: Mapping[str, object], name: str) -> bool:
    """Whether a number of samples is another than the run would choose by itself."""
    size, value = settings.get("train_size"), settings.get(name)
    most = MOST_SAMPLES if name == "samples" else MOST_SHADOW
    return isinstance(size, int) and isinstance(value, int) and value != min(size, most)


def _too_large(again: Again) -> set[str]:
    """The train size of an audit by canaries, unless it is surely at most a quarter of the data: others need as much.

    The data hold at least the training samples and the canaries.
    """
    size, canaries = again.number("train_size") or 0, again.number("canaries") or 0
    alone = again.number("trainings") == 1
    return {"train_size"} if again.kind == "canaries" and not (alone and 3 * size <= canaries) else set()


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _below(values: Mapping[str, object], name: str, least: int) -> bool:
    value = values.get(name)
    return isinstance(value, int) and value < least


def given(notes: Sequence[str]) -> tuple[int, int] | None:
    """How many members and non-members could be attacked, from the note of an audit that did not attack all of them."""
    for note in notes:
        match = re.fullmatch(r"Of (\d+) members and (\d+) non-members, at most \d+ each were attacked\.", note)
        if match:
            return int(match[1]), int(match[2])
    return None


def _rows(notes: Sequence[str]) -> int | None:
    """Rows of the data, from the note that every run on data leaves: "Data: digits, 1797 rows, ..."."""
    for note in notes:
        match = re.match(r"Data: .+?, (\d[\d,]*) rows\b", note)
        if match:
            return int(match[1].replace(",", ""))
    return None

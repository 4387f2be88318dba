"""What changed between runs, as a page and as Markdown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hardlabel import printed
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.changes import AUC, EPSILON, QUERIES, Change, ComparedRun, Comparison, Later
from hardlabel.reports import wording
from hardlabel.reports.templates import filled
from hardlabel.reports.text import table_of
from hardlabel.runs.conditions import LABEL, TARGET, TPR

SHOWN = (AUC, "balanced_accuracy", EPSILON)  # Of an attack, beside its TPRs; JSON and `Comparison.table` have all.
NAMES = {
    AUC: "AUC",
    "balanced_accuracy": "balanced accuracy",
    "advantage": "advantage",
    "train_accuracy": "accuracy on members",
    "test_accuracy": "accuracy on non-members",
    EPSILON: "epsilon, at least",
    QUERIES: "queries per record",
}
SUBJECTS = {LABEL: "the ranking's attack", TARGET: "the model"}
GRADES = {"no verdict": "no_verdict", "not fully tested": "not_tested"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a reader who stops after one sentence should know of a later run.

    Attributes:
        title: The change in a few words.
        sentence: The change of the figure that decides, with its interval.
    """

    title: str
    sentence: str


def answer(comparison: Comparison, later: Later) -> Answer:
    """Says whether the later run leaks more than the baseline, by the AUC of the attack that the ranking names."""
    if comparison.kind == "defenses":
        return Answer(
            title="Compared defense by defense",
            sentence="The table has the change of each defense and attack that both runs have.",
        )
    if comparison.kind == "canaries":
        return Answer(
            title="Bounds from below",
            sentence="Canaries prove lower bounds on epsilon. Two lower bounds do not tell whether leakage changed.",
        )
    known = {(change.subject, change.metric): change for change in later.changes}
    decisive = known.get((LABEL, AUC))
    if decisive is None or decisive.change.value is None:
        return Answer(
            title="Leakage cannot be compared",
            sentence="The runs do not both have the attack that the ranking names. The table has the figures that both "
            "have.",
        )
    before, after = comparison.baseline.attack, later.run.attack
    attack = before if before == after else f"{before}, then {after}"
    told = {"higher": "More leakage", "lower": "Less leakage"}.get(decisive.finding, "No measurable change of leakage")
    return Answer(
        title=told,
        sentence=f"AUC of the attack that the ranking names ({attack}): {wording.figure(decisive.first)} in the "
        f"baseline, {wording.figure(decisive.second)} now; change {wording.figure(decisive.change, signed)}.",
    )


def comparison_page(comparison: Comparison) -> str:
    """The comparison as one HTML file that needs nothing else."""
    return filled(
        "compared.html.jinja",
        comparison=comparison,
        runs=[comparison.baseline, *(later.run for later in comparison.later)],
        answers=[answer(comparison, later) for later in comparison.later],
        groups=[groups(later.changes) for later in comparison.later],
        grade=_grade,
        metric_name=metric_name,
        subject_name=subject_name,
        shown=_shown,
        interval=wording.interval,
        signed=signed,
    )


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as Markdown tables. Names are shown as they are: none is read as Markdown or HTML."""
    runs = [comparison.baseline, *(later.run for later in comparison.later)]
    lines = [
        table_of(
            ["run", "data", "begun", "verdict"],
            [[run.name, run.data, wording.date(run.started), run.title] for run in runs],
        )
    ]
    for later in comparison.later:
        told = answer(comparison, later)
        lines += ["", f"**{printed.cell(f'{later.run.name}: {told.title}')}.** {printed.cell(told.sentence)}"]
        lines += ["", printed.paragraph(later.pairing)]
        lines += [text for doubt in later.doubts for text in ("", printed.paragraph(doubt))]
        rows = [
            [subject_name(change.subject), metric_name(change.metric), *_cells(change), change.finding]
            for _, changes in groups(later.changes)
            for change in changes
        ]
        if rows:
            head = ["of", "figure", comparison.baseline.name, later.run.name, "change", "finding"]
            lines += ["", table_of(head, rows)]
        if later.costs:
            costs = [
                [change.subject, *(wording.number(cost.value or 0.0) for cost in (change.first, change.second))]
                for change in later.costs
            ]
            lines += ["", table_of(["queries per record", comparison.baseline.name, later.run.name], costs)]
        if later.settings:
            rows = [[setting.name, setting.first, setting.second] for setting in later.settings]
            lines += ["", table_of(["setting", comparison.baseline.name, later.run.name], rows)]
        for names, which in ((later.only_first, comparison.baseline), (later.only_second, later.run)):
            if names:
                lines += ["", printed.paragraph(f"Only in {which.name}: {', '.join(names)}.")]
    return "\n".join(lines)


def groups(changes: Sequence[Change]) -> list[tuple[str, list[Change]]]:
    """The changes that a reader is shown, by subject; none of figures that neither run has."""
    found: dict[str, list[Change]] = {}
    for change in changes:
        wanted = change.metric in SHOWN or change.metric.startswith((TPR, "train_", "test_"))
        if wanted and (change.first.value, change.second.value) != (None, None):
            found.setdefault(change.subject, []).append(change)
    return list(found.items())


def subject_name(subject: str) -> str:
    """What a reader calls the subject of a change."""
    return SUBJECTS.get(subject, subject)


def metric_name(metric: str) -> str:
    """What a reader calls a metric: "TPR at 1 % FPR"."""
    name, _, rate = metric.partition("@")
    return f"TPR at {100 * float(rate):g} % FPR" if rate else NAMES.get(name, name)


def signed(value: float) -> str:
    """A change: three decimals and its sign."""
    return f"+{value:.3f}" if round(value, 3) > 0 else wording.decimal(value)


def _cells(change: Change) -> list[str]:
    first, second = (wording.figure(estimate) for estimate in (change.first, change.second))
    told = change.change.note if change.change.value is None else wording.figure(change.change, signed)
    return [first, second, told]


def _shown(estimate: Estimate, write: Callable[[float], str]) -> str:
    return "undefined" if estimate.value is None else write(estimate.value)


def _grade(run: ComparedRun) -> str:
    """The class of a run's verdict in report.css."""
    names = {"none found": "none"} | GRADES
    return names.get(run.grade, run.grade) or "not_tested"

"""The content of a comparison of runs: what each figure was, what it is, and the change with its interval."""

import pandas as pd
from pydantic import Field

from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.part import RecordPart

FORMAT = 1  # Of a comparison as JSON.
AUC, TRAIN, TEST, EPSILON, QUERIES = "auc", "train_accuracy", "test_accuracy", "epsilon", "queries"


class ComparedRun(RecordPart):
    """A run of a comparison.

    Attributes:
        name: What the run is called: given by the caller, or the name of its folder.
        id: The `id` of its record.
        data: The audited data.
        title: The verdict in a few words.
        grade: The grade, or "no verdict", "not fully tested"; empty for a comparison of defenses.
        attack: The attack that the ranking names; empty if the record does not say.
        started: ISO 8601.
        version: Of hardlabel; empty if unknown.
    """

    name: str
    id: str = ""
    data: str
    title: str
    grade: str
    attack: str = ""
    started: str
    version: str = ""


class Change(RecordPart):
    """How a figure changed.

    Attributes:
        subject: "label" (the attack that the ranking names), "target", an attack, a defense with an attack, or a bound.
        metric: "auc", "balanced_accuracy", "tpr@0.01", "train_accuracy", ...
        first, second: The figure in the baseline and in the later run.
        change: `second` minus `first`.
        paired: Whether the samples that both runs asked about were counted as the same.
    """

    subject: str
    metric: str
    first: Estimate
    second: Estimate
    change: Estimate
    paired: bool = False

    @property
    def finding(self) -> str:
        """The change in words, by its interval."""
        low, high = self.change.low, self.change.high
        if low is None or high is None:
            return "no interval"
        if low > 0:
            return "higher"
        return "lower" if high < 0 else "no measurable change"


class SettingChange(RecordPart):
    """A setting that differs, as text; empty where a run does not have it."""

    name: str
    first: str
    second: str


class Later(RecordPart):
    """What changed from the baseline to a later run.

    Attributes:
        run: The later run.
        same: Number of records that both runs asked about, with the same membership; None if they cannot be recognised.
        of: Number of records that the baseline asked about, and the later run.
        pairing: What was compared with what, in a sentence.
        changes: Every figure that both runs have.
        costs: The queries per sample of each attack that both runs have.
        settings: The settings that differ.
        only_first, only_second: Attacks, or defenses, that only one of the two runs has.
        doubts: What the reader must know before believing a change.
    """

    run: ComparedRun
    same: int | None
    of: tuple[int, int]
    pairing: str
    changes: list[Change]
    costs: list[Change] = Field(default_factory=list)
    settings: list[SettingChange] = Field(default_factory=list)
    only_first: list[str] = Field(default_factory=list)
    only_second: list[str] = Field(default_factory=list)
    doubts: list[str] = Field(default_factory=list)

    def change(self, subject: str, metric: str) -> Change:
        """A change by its names.

        Raises:
            InvalidInput: There is no such figure in both runs.
        """
        for change in self.changes:
            if (change.subject, change.metric) == (subject, metric):
                return change
        raise InvalidInput(f"change of {subject}.{metric} is unknown: {self.run.name!r} or the baseline lacks it")


class Comparison(RecordPart):
    """What changed between versions of a model. The first run is the baseline.

    Attributes:
        format: Of this comparison as JSON.
        kind: "model", "recipe", "defenses" or "canaries".
        confidence: Of the intervals.
        baseline: The first run.
        later: Each other run, compared with the baseline.
    """

    format: int = FORMAT
    kind: str
    confidence: float = 0.95
    baseline: ComparedRun
    later: list[Later]

    def table(self) -> pd.DataFrame:
        """One row for each figure of each later run.

        Its columns: run, subject, metric, first, second, change, low, high, paired, note.

        Example:
            >>> import hardlabel
            >>> comparison = hardlabel.compare(hardlabel.load("runs/v1"), hardlabel.load("runs/v2"))
            >>> comparison.later[0].change("label", "auc").finding
            'no measurable change'
            >>> comparison.table().columns[:6].tolist()
            ['run', 'subject', 'metric', 'first', 'second', 'change']
        """
        rows = [
            {
                "run": later.run.name,
                "subject": change.subject,
                "metric": change.metric,
                "first": change.first.value,
                "second": change.second.value,
                "change": change.change.value,
                "low": change.change.low,
                "high": change.change.high,
                "paired": change.paired,
                "note": change.change.note,
            }
            for later in self.later
            for change in later.changes
        ]
        return pd.DataFrame(rows)

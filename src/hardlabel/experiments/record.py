"""The record of an audit: every figure of the report, and the folder it is kept in.

A run folder holds `config.yaml` (resolved), `scores.parquet` (one row per attack and sample),
`results.json` (this record) and `report.html`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from pydantic import Field

from hardlabel.checks import InvalidInput
from hardlabel.experiments.folder import read_record, read_scores, read_settings, write_record
from hardlabel.experiments.part import Part
from hardlabel.experiments.worst_record import GroupRisk, Named, Standout, WorstCase
from hardlabel.metrics.estimate import Estimate

FORMAT = 3  # Raised when results.json changes in a way that readers must know of.
READABLE = (1, 2, 3)  # Format 1 knew no reference models and no ladder, 2 nothing of the few most at risk.
RESULTS, REPORT = "results.json", "report.html"
FPRS = (0.1, 0.01, 0.001)  # False-positive rates at which TPR is reported.


class Queries(Part):
    """Queries per sample sent to the target: the mean, and the most any sample was charged."""

    mean: float
    max: int


class Curve(Part):
    """A ROC curve's corners, from (0, 0) to (1, 1)."""

    fpr: list[float]
    tpr: list[float]


class Histogram(Part):
    """Shares of members and non-members per bin; `edges` has one entry more than either."""

    edges: list[float]
    members: list[float]
    nonmembers: list[float]


class ClassResult(Part):
    """One class: how many were attacked, how often the target is right on them, and the attack's AUC there."""

    label: int
    members: int
    nonmembers: int
    train_accuracy: float | None
    test_accuracy: float | None
    auc: Estimate


class Compute(Part):
    """What the attacker computed on its own models: rows through a model, and seconds."""

    rows: int
    seconds: float


class AttackResult(Part):
    """One attack's cost and figures.

    Attributes:
        name: The attack's name in `hardlabel attacks`.
        access: "label" or "scores".
        signal: What was measured, with the settings chosen on the shadow model.
        calibration: How it became a score.
        source: Paper and section.
        queries_per_sample: Cost on the target.
        overhead: Queries that belong to no sample, by purpose.
        incomplete: Samples whose search ended without a boundary.
        auc: Area under the ROC curve.
        balanced_accuracy: At the threshold chosen on the shadow model; undefined without one.
        advantage: 2 * balanced_accuracy - 1, TPR - FPR at that threshold.
        precision: Share of members among those called members, in the attacked sample.
        precision_at_prior: The same if members were as rare as `Results.prior` says.
        best_balanced_accuracy: At the threshold that suits the target best: an upper bound.
        tpr_at_fpr: By false-positive rate, written "0.1", "0.01", "0.001".
        roc, histogram, classes: For the report.
        reference_compute: Spent on the attacker's own models (training apart).
        references: How many reference models had a part in it.
        seconds: Spent asking the target.
    """

    name: str
    access: str
    signal: str
    calibration: str
    source: str
    queries_per_sample: Queries
    overhead: dict[str, int]
    incomplete: int
    auc: Estimate
    balanced_accuracy: Estimate
    advantage: Estimate
    precision: Estimate
    precision_at_prior: Estimate
    best_balanced_accuracy: Estimate
    tpr_at_fpr: dict[str, Estimate]
    roc: Curve
    histogram: Histogram
    classes: list[ClassResult]
    reference_compute: Compute
    references: int = 0
    seconds: float


class Difference(Part):
    """A paired comparison on the same samples: AUC of `first` minus AUC of `second`."""

    first: str
    second: str
    auc: Estimate


class LeftOut(Part):
    """An attack that was not run, and why."""

    name: str
    reason: str


class Target(Part):
    """The audited model, as far as the audit knows it. `batch_size` is what a probe found fastest."""

    description: str
    train_accuracy: Estimate
    test_accuracy: Estimate
    classes: int
    device: str
    batch_size: int | None


class Shadow(Part):
    """The attacker's own model; None in a record where there was none."""

    description: str
    train_size: int
    members: int
    nonmembers: int
    train_accuracy: float
    test_accuracy: float
    labels: str  # "true", or "target" where the target labelled the shadow data.
    training_seconds: float
    note: str = ""


class ReferenceModels(Part):
    """The attacker's reference models, trained with and without the samples asked about.

    `pool` is the number of samples they divide among themselves, `alike` whether they were trained as the target was;
    training rows are None where nobody counted them.
    """

    count: int
    description: str
    train_size: int
    pool: int
    train_accuracy: float
    test_accuracy: float
    training_rows: int | None
    training_seconds: float
    crafters: int = 0
    crafting_seconds: float = 0.0
    alike: bool = True
    note: str = ""


class Choice(Part):
    """The label-only attack that the ladder names for the budget and for what the attacker has, and why."""

    attack: str
    queries: int
    why: str


class Blind(Part):
    """The blind baseline: can members and non-members be told apart without any model?

    `differs` is true where the AUC's interval excludes .5: then the groups differ in distribution, and attack
    figures are inflated.
    """

    auc: Estimate
    differs: bool
    method: str


class Environment(Part):
    """How the figures came about."""

    command: str
    seed: int
    started: str
    seconds: float
    versions: dict[str, str]
    machine: str


class Results(Part):
    """The content of results.json."""

    format: int = FORMAT
    data: str
    domain: str
    members: int
    nonmembers: int
    prior: float
    confidence: float = 0.95
    budget: int | None
    target: Target
    shadow: Shadow | None
    references: ReferenceModels | None = None
    choice: Choice | None = None
    blind: Blind
    attacks: list[AttackResult]
    differences: list[Difference]
    left_out: list[LeftOut]
    worst_case: WorstCase | None = None
    exposed: list[Standout] = Field(default_factory=list)
    groups: list[GroupRisk] = Field(default_factory=list)
    named: list[Named] = Field(default_factory=list)
    notes: list[str]
    environment: Environment


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AuditRecord:
    """What an audit found.

    Attributes:
        results: Every figure, with intervals.
        scores: Columns id, row, member, label, attack, score, queries: one row per attack and sample. `row` is the
            sample's position in the group it was given in, or in the source of the data.
        config: The resolved settings.
        folder: Where the record is kept, or None for one that lives in memory only.
    """

    results: Results
    scores: pd.DataFrame
    config: dict[str, object] = field(default_factory=dict)
    folder: Path | None = None

    def attack(self, name: str) -> AttackResult:
        """The result of one attack.

        Raises:
            InvalidInput: The audit has no such attack.
        """
        for result in self.results.attacks:
            if result.name == name:
                return result
        raise InvalidInput(f"attack {name!r} is not in this audit, which has {[a.name for a in self.results.attacks]}")

    def table(self) -> pd.DataFrame:
        """One row per attack: name, access, queries (mean per sample), then each figure with _low and _high."""
        rows = []
        for attack in self.results.attacks:
            row: dict[str, object] = {
                "name": attack.name,
                "access": attack.access,
                "queries": attack.queries_per_sample.mean,
                "queries_max": attack.queries_per_sample.max,
            }
            figures = {
                "auc": attack.auc,
                "balanced_accuracy": attack.balanced_accuracy,
                "advantage": attack.advantage,
                "best_balanced_accuracy": attack.best_balanced_accuracy,
                "precision": attack.precision,
                "precision_at_prior": attack.precision_at_prior,
                **{f"tpr_at_{fpr}": estimate for fpr, estimate in attack.tpr_at_fpr.items()},
            }
            for name, estimate in figures.items():
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append(row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        names = ", ".join(attack.name for attack in self.results.attacks)
        return f"<AuditRecord of {self.results.data}: {names}>"

    def __str__(self) -> str:
        """The main figures as a table."""
        table = self.table()
        if table.empty:
            return "no attack was run"
        columns = ["name", "access", "queries", "auc", "auc_low", "auc_high", "balanced_accuracy"]
        return str(table[columns].to_string(index=False, float_format="{:.3f}".format))

    def save(self, folder: str | Path) -> "AuditRecord":
        """Writes config.yaml, scores.parquet and results.json, each whole or not at all; returns the kept record.

        Raises:
            InvalidInput: The folder cannot be written to.
        """
        folder = Path(folder)
        write_record(folder, RESULTS, self.results, config=self.config, scores=self.scores)
        return replace(self, folder=folder)


def load(folder: str | Path) -> AuditRecord:
    """Reads a run folder back.

    Raises:
        InvalidInput: A file is missing or damaged, or the record has another format.
    """
    folder = Path(folder)
    return AuditRecord(
        results=read_record(folder, RESULTS, Results, readable=READABLE),
        scores=read_scores(folder),
        config=read_settings(folder),
        folder=folder,
    )

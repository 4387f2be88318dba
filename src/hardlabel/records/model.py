"""The record of the audit of a model: every figure of the report."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd
from pydantic import Field, computed_field

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.base import Record, looked_up
from hardlabel.records.exposure import GroupRisk, Named, Standout, WorstCase
from hardlabel.records.part import RecordPart
from hardlabel.records.scores import NUMBER, TEXT, TRUTH, WHOLE, WantedScores
from hardlabel.records.verdict import (
    ClassRight,
    Graded,
    Judged,
    Reason,
    Verdict,
    copied,
    decided,
    exchanged,
    ignorance,
    mixed_up,
    of_private,
    unlike,
)

FORMAT = 4  # Raised when results.json changes in a way that readers must know.
# Format 1 had no reference models and no ranking, format 2 no records most at risk, format 3 no verdict and no check
# rows.
READABLE = (1, 2, 3, 4)
COLUMNS = {"id": WHOLE, "member": TRUTH, "label": WHOLE, "attack": TEXT, "score": NUMBER, "queries": WHOLE}
RESULTS, REPORT = "results.json", "report.html"
# The figures in `AuditRecord.table`, besides the TPRs.
FIGURES = ("auc", "balanced_accuracy", "advantage", "best_balanced_accuracy", "precision", "precision_at_prior")
FPRS = (0.1, 0.01, 0.001)  # False-positive rates at which TPR is reported.


class Queries(RecordPart):
    """Queries per sample sent to the target: the mean, and the most for any sample."""

    mean: float
    max: int

    def contradictions(self) -> Iterable[str]:
        if self.mean > self.max + 1e-6:
            yield f"mean must be at most max, got {self.mean:g} and {self.max}"


class Curve(RecordPart):
    """A ROC curve's corners, from (0, 0) to (1, 1)."""

    fpr: list[float]
    tpr: list[float]

    def contradictions(self) -> Iterable[str]:
        if len(self.fpr) != len(self.tpr):
            yield f"fpr and tpr must be equally long, got {len(self.fpr)} and {len(self.tpr)}"
        if self.fpr != sorted(self.fpr) or self.tpr != sorted(self.tpr):
            yield "fpr and tpr must rise"


class Histogram(RecordPart):
    """Shares of members and of non-members in each bin; `edges` has one more entry than each of the two."""

    edges: list[float]
    members: list[float]
    nonmembers: list[float]

    def contradictions(self) -> Iterable[str]:
        if not len(self.edges) - 1 == len(self.members) == len(self.nonmembers):
            yield "edges must have one more entry than members and nonmembers"


class ClassResult(RecordPart):
    """One class: the number of attacked samples, the target's accuracy on them, and the attack's AUC."""

    label: int
    members: int
    nonmembers: int
    train_accuracy: float | None
    test_accuracy: float | None
    auc: Estimate


class Compute(RecordPart):
    """The attacker's computation on its own models: rows sent through a model, and seconds."""

    rows: int
    seconds: float


class AttackResult(RecordPart):
    """One attack's cost and figures.

    Attributes:
        name: The attack's name in `hardlabel attacks`.
        access: "label" or "scores".
        signal: The measurement, with the settings chosen on the shadow model.
        calibration: How the measurement became a score.
        source: Paper and section.
        queries_per_sample: Cost on the target.
        overhead: Queries that belong to no sample, by purpose.
        incomplete: Samples whose search found no boundary.
        auc: Area under the ROC curve.
        balanced_accuracy: At the threshold chosen on the shadow model; undefined without a shadow model.
        advantage: TPR - FPR at that threshold, which is 2 * balanced_accuracy - 1.
        precision: Share of members among the attacked samples that the attack calls members.
        precision_at_prior: The same if members were as rare as `Results.prior` says.
        best_balanced_accuracy: At the best threshold for the target: an upper bound.
        tpr_at_fpr: By false-positive rate, written "0.1", "0.01", "0.001".
        roc, histogram, classes: For the report.
        reference_compute: Computation on the attacker's own models, without training.
        references: Number of reference models that the attack used.
        seconds: Time spent asking the target.
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


class Difference(RecordPart):
    """A paired comparison on the same samples: AUC of `first` minus AUC of `second`."""

    first: str
    second: str
    auc: Estimate


class LeftOut(RecordPart):
    """An attack that was not run, and why."""

    name: str
    reason: str


class Target(RecordPart):
    """The audited model, as far as the audit knows it.

    `batch_size` is the fastest that a probe found. `private` says that it was trained with differential privacy.
    `family` is a kind of model, such as "forest"; None if it is not known.
    """

    description: str
    train_accuracy: Estimate
    test_accuracy: Estimate
    classes: int
    device: str
    batch_size: int | None
    private: bool = False
    family: str | None = None


class Checks(RecordPart):
    """What the check rows show: the same few samples, asked at the start, at times and at the end.

    Attributes:
        rows: Number of check rows.
        otherwise: Check rows that were ever answered otherwise than at first.
        noise: Share of the pairs of askings of the same row that were answered differently; before the change, if the
            target changed.
        chance: The p-value of "the same model answered all askings".
        changed: Whether the target changed.
        after: Rows that the target had been sent before it changed, for good or for a while; None without a change.
    """

    rows: int
    otherwise: int
    noise: float
    chance: float
    changed: bool
    after: int | None

    @property
    def told(self) -> str:
        """The finding in words."""
        same = f"asked the same {self.rows} check rows from time to time"
        if self.changed:
            return f"{same}, it gave other answers to {self.otherwise} of them after about {self.after:,} rows"
        if self.otherwise:
            return (
                f"{same}, it gave another answer to {self.otherwise} of them, at a constant rate "
                f"({100 * self.noise:.2g} % of the pairs of askings differ): its answers are noisy, but it did not "
                "change"
            )
        return f"{same}, it always gave the same answers"


class Shadow(RecordPart):
    """The attacker's shadow model; None in a record without one."""

    description: str
    train_size: int
    members: int
    nonmembers: int
    train_accuracy: float
    test_accuracy: float
    labels: str  # "true", or "target" if the target labelled the shadow data.
    training_seconds: float
    note: str = ""


class ReferenceModels(RecordPart):
    """The attacker's reference models, trained with and without the samples asked about.

    Each was trained on a part of `pool` samples. `alike` says whether they were trained as the target was.
    `training_rows` is None if nobody counted the rows.
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


class Choice(RecordPart):
    """The label-only attack that the ranking names for the attacker's budget and means, and the reason.

    `weak` says why finding nothing with it would say little; it is empty for an attack that says enough.
    """

    attack: str
    queries: int
    why: str
    weak: str = ""


class Blind(RecordPart):
    """The blind baseline: can members and non-members be told apart without any model?

    `differs` is true if the interval of the AUC excludes 0.5. Above 0.5 the groups differ in distribution, and this
    inflates the figures of attacks. Below it copies of records seem to stand in both groups, which hides leakage.
    """

    auc: Estimate
    differs: bool
    method: str

    @property
    def hides(self) -> bool:
        """Whether copies of records seem to stand in both groups."""
        return self.differs and self.auc.value is not None and self.auc.value < 0.5


class Environment(RecordPart):
    """How the figures came about.

    `check_queries` are the queries to the target for check rows, which no attack pays; how many there are depends on
    how often a run broke off.
    """

    command: str
    seed: int
    started: str
    seconds: float
    versions: dict[str, str]
    machine: str
    check_queries: int = 0


class Results(Judged):
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
    checks: Checks | None = None
    notes: list[str]
    environment: Environment

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The grade, or why there is none."""
        right, private = class_rights(self.attacks), self.target.private
        contradictory, doubtful = ([], []) if private else ignorance(right)
        return decided(
            self.attacks,
            named=self.choice,
            fewest=min(self.members, self.nonmembers),
            confidence=self.confidence,
            contradictions=[
                *_changed(self.checks),
                *exchanged(right),
                *unlike(self.blind.auc, confidence=self.confidence),
            ],
            ignorance=[*contradictory, *copied(self.blind.auc, confidence=self.confidence)],
            doubts=[*doubtful, *mixed_up(right, self.references)],
            remarks=of_private(right) if private else [],
        )

    @property
    def seem_exchanged(self) -> bool:
        """Whether the target is measurably less often right on members than on non-members."""
        return bool(exchanged(class_rights(self.attacks)))

    def contradictions(self) -> Iterable[str]:
        yield from wrong_attacks(self.attacks)
        for attack in self.attacks:
            classes = attack.classes
            sizes = sum(one.members for one in classes), sum(one.nonmembers for one in classes)
            if classes and sizes != (self.members, self.nonmembers):
                yield (
                    f"classes of attack {attack.name} must have {self.members} members and {self.nonmembers} "
                    f"non-members, got {sizes[0]} and {sizes[1]}"
                )


def wrong_attacks(attacks: Sequence[Graded]) -> Iterable[str]:
    """Names that repeat, and false-positive rates that are no numbers in (0, 1), in words."""
    names = [attack.name for attack in attacks]
    if len(set(names)) < len(names):
        yield f"attacks must have names of their own, got {', '.join(names)}"
    for attack in attacks:
        for rate in attack.tpr_at_fpr:
            if re.fullmatch(r"0?\.\d{1,10}|\de-\d\d?", rate) is None:
                yield f"tpr_at_fpr of attack {attack.name} must name rates between 0 and 1, got {rate!r}"


def class_rights(attacks: list[AttackResult]) -> list[ClassRight]:
    """How often the target is right on each class, from the first attack's entry: all have the same classes."""
    return [
        ClassRight(
            label=one.label,
            members=one.members,
            nonmembers=one.nonmembers,
            right_members=round((one.train_accuracy or 0.0) * one.members),
            right_nonmembers=round((one.test_accuracy or 0.0) * one.nonmembers),
        )
        for one in (attacks[0].classes if attacks else [])
    ]


def _changed(checks: Checks | None) -> list[Reason]:
    if checks is None or not checks.changed:
        return []
    return [
        Reason(
            finding=f"The target changed during the audit: {checks.told}.",
            cause="An endpoint may have reached a limit and answered with a default, or another model stands behind it "
            "now.",
            remedy="Make sure that one model answers and no limit is reached; then audit it under a new name, so that "
            "no answer kept is used again.",
        )
    ]


class AuditRecord(Record[Results]):
    """The findings of the audit of a model.

    `scores` has one row per attack and sample: id, member, label, attack, score, queries, pseudonym. `id` is the
    sample's number in this record: its place in the order of pseudonyms. With `show_records` there is also `row`, the
    position of the sample in the argument `members` or `nonmembers`, or in the source of the data.

    Example:
        >>> import hardlabel
        >>> record = hardlabel.load("runs/digits")
        >>> record.title
        'Severe leakage was measured'
        >>> record.attack("noise").queries_per_sample.max
        101
        >>> record.table()[["name", "access"]].head(2)
                   name access
        0           gap  label
        1  augmentation  label
    """

    file = RESULTS
    content = Results
    readable = READABLE
    main = ("name", "access", "queries", "auc", "auc_low", "auc_high", "balanced_accuracy")

    @classmethod
    def wanted_scores(cls, results: Results) -> WantedScores:
        records = results.members + results.nonmembers
        return WantedScores(
            columns=COLUMNS,
            rows=records * len(results.attacks),
            groups=["attack"],
            names=[attack.name for attack in results.attacks],
            records=records,
            members=results.members,
        )

    def attack(self, name: str) -> AttackResult:
        """The result of an attack.

        Raises:
            InvalidInput: The audit has no attack of this name.
        """
        return looked_up(self.results.attacks, "name", name, what="attack", where="is not in this audit")

    def _figures(self) -> Iterable[tuple[dict[str, str], str, float | None, Estimate]]:
        target = self.results.target
        for name in ("train_accuracy", "test_accuracy"):
            yield {"attack": "", "access": ""}, name, None, getattr(target, name)
        for attack in self.results.attacks:
            owner = {"attack": attack.name, "access": attack.access}
            yield owner, "queries", None, Estimate(attack.queries_per_sample.mean)
            for name in FIGURES:
                yield owner, name, None, getattr(attack, name)
            for fpr, estimate in attack.tpr_at_fpr.items():
                yield owner, "tpr", float(fpr), estimate

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
            figures: dict[str, Estimate] = {name: getattr(attack, name) for name in FIGURES}
            figures |= {f"tpr_at_{fpr}": estimate for fpr, estimate in attack.tpr_at_fpr.items()}
            for name, estimate in figures.items():
                row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
            rows.append(row)
        return pd.DataFrame(rows)

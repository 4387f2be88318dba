"""The record of the audit of a recipe: figures over several targets."""

from collections.abc import Iterable

import pandas as pd
from pydantic import Field, computed_field

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.base import Record, looked_up
from hardlabel.records.exposure import Games, GroupRisk, Standout, WorstCase
from hardlabel.records.model import (
    COLUMNS,
    Choice,
    Compute,
    Difference,
    Environment,
    LeftOut,
    Queries,
    wrong_attacks,
)
from hardlabel.records.part import RecordPart
from hardlabel.records.scores import WHOLE, WantedScores
from hardlabel.records.verdict import ClassRight, Judged, Reason, Verdict, decided, exchanged, ignorance

FORMAT = 3
READABLE = (1, 2, 3)  # Format 1 had no records most at risk, format 2 no verdict.
RECIPE = "recipe.json"


class RecipeAttack(RecordPart):
    """One attack over all targets.

    Attributes:
        name, access, calibration, source: See `AttackResult`.
        signals: The measurements. Their settings may differ between targets: reference models choose them.
        queries_per_sample: Mean over targets, and the most for any sample.
        overhead: Queries that belong to no sample, by purpose, for the target with the most.
        auc: Mean over targets, with an interval over targets and samples.
        aucs: The AUC on each target.
        spread: Standard deviation of `aucs`.
        balanced_accuracy: For each target, at the threshold that its reference models chose; None if they chose none.
        tpr_at_fpr: One threshold for the scores of all targets; interval over targets and samples.
        references: Reference models per target.
        reference_compute: Computation on the attacker's own models for one target, without training.
        seconds: Time spent asking all targets.
    """

    name: str
    access: str
    signals: list[str]
    calibration: str
    source: str
    queries_per_sample: Queries
    overhead: dict[str, int]
    auc: Estimate
    aucs: list[float]
    spread: Estimate
    balanced_accuracy: list[float | None]
    tpr_at_fpr: dict[str, Estimate]
    references: int
    reference_compute: Compute
    seconds: float


class TargetModel(RecordPart):
    """A model that played target: its number among the paired models, and its accuracy on the attacked samples.

    `classes` tells how often it is right on each class; it is empty in older records.
    """

    model: int
    train_accuracy: float
    test_accuracy: float
    classes: list[ClassRight] = Field(default_factory=list)


class RecipeResults(Judged):
    """The content of recipe.json."""

    format: int = FORMAT
    data: str
    domain: str
    samples: int
    train_size: int
    description: str
    family: str | None = None
    confidence: float = 0.95
    budget: int | None
    references: int
    training_seconds: float
    targets: list[TargetModel]
    choice: Choice
    attacks: list[RecipeAttack]
    differences: list[Difference]
    left_out: list[LeftOut]
    worst_case: WorstCase | None = None
    exposed: list[Standout] = Field(default_factory=list)
    groups: list[GroupRisk] = Field(default_factory=list)
    games: list[Games] = Field(default_factory=list)
    notes: list[str]
    environment: Environment

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The grade, or why there is none."""
        found = [(target.model, *ignorance(target.classes)) for target in self.targets]
        return decided(
            self.attacks,
            named=self.choice,
            fewest=self.samples // 2,
            confidence=self.confidence,
            contradictions=[
                _of(target.model, reason) for target in self.targets for reason in exchanged(target.classes)
            ],
            ignorance=[_of(model, reason) for model, contradictory, _ in found for reason in contradictory][:1],
            doubts=[_of(model, reason) for model, _, doubtful in found for reason in doubtful][:1],
        )

    def contradictions(self) -> Iterable[str]:
        yield from wrong_attacks(self.attacks)
        for attack in self.attacks:
            if not len(attack.aucs) == len(attack.balanced_accuracy) == len(self.targets):
                yield f"attack {attack.name} must have a figure for each of {len(self.targets)} targets"


def _of(model: int, reason: Reason) -> Reason:
    return reason.model_copy(update={"finding": f"Of model {model}: {reason.finding}"})


class RecipeRecord(Record[RecipeResults]):
    """The findings of the audit of a recipe; intervals cover targets and samples.

    `scores` has one row per attack, target and sample: target, id, member, label, attack, score, queries, pseudonym.
    `id` is the sample's number in this record: its place in the order of pseudonyms.

    Example:
        >>> import hardlabel
        >>> record = hardlabel.load("runs/recipe")
        >>> len(record.attack("path-estimate").aucs)  # The AUC on each target.
        4
    """

    file = RECIPE
    content = RecipeResults
    readable = READABLE
    unmarked = 1

    @classmethod
    def wanted_scores(cls, results: RecipeResults) -> WantedScores:
        return WantedScores(
            columns={"target": WHOLE, **COLUMNS},
            rows=results.samples * len(results.attacks) * len(results.targets),
            groups=["attack", "target"],
            names=[attack.name for attack in results.attacks],
            records=results.samples,
        )

    def attack(self, name: str) -> RecipeAttack:
        """The result of an attack.

        Raises:
            InvalidInput: The audit has no attack of this name.
        """
        return looked_up(self.results.attacks, "name", name, what="attack", where="is not in this audit")

    def _figures(self) -> Iterable[tuple[dict[str, str], str, float | None, Estimate]]:
        for attack in self.results.attacks:
            owner = {"attack": attack.name, "access": attack.access}
            yield owner, "queries", None, Estimate(attack.queries_per_sample.mean)
            yield owner, "auc", None, attack.auc
            yield owner, "spread", None, attack.spread
            for fpr, estimate in attack.tpr_at_fpr.items():
                yield owner, "tpr", float(fpr), estimate

    def table(self) -> pd.DataFrame:
        """One row per attack: queries, mean AUC and its interval, spread over targets, pooled TPR at each FPR."""
        rows = [
            {
                "name": attack.name,
                "access": attack.access,
                "queries": attack.queries_per_sample.mean,
                "references": attack.references,
                "reference_rows": attack.reference_compute.rows,
                "auc": attack.auc.value,
                "auc_low": attack.auc.low,
                "auc_high": attack.auc.high,
                "spread": attack.spread.value,
                **{f"tpr_at_{fpr}": estimate.value for fpr, estimate in attack.tpr_at_fpr.items()},
            }
            for attack in self.results.attacks
        ]
        return pd.DataFrame(rows)

"""The record of a recipe's audit: figures over several targets, and the folder they are kept in.

A run folder holds `config.yaml`, `scores.parquet` (one row per attack, target and sample) and `recipe.json`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from pydantic import Field

from hardlabel.checks import InvalidInput
from hardlabel.experiments.folder import read_record, read_scores, read_settings, write_record
from hardlabel.experiments.part import Part
from hardlabel.experiments.record import (
    Choice,
    Compute,
    Difference,
    Environment,
    LeftOut,
    Queries,
)
from hardlabel.experiments.worst_record import Games, GroupRisk, Standout, WorstCase
from hardlabel.metrics.estimate import Estimate

FORMAT = 2
READABLE = (1, 2)  # Format 1 knew nothing of the few most at risk.
RECIPE = "recipe.json"


class RecipeAttack(Part):
    """One attack over all targets.

    Attributes:
        name, access, calibration, source: See `AttackResult`.
        signals: What was measured; each target's references may have chosen another setting.
        queries_per_sample: Mean over targets, and the most any sample was charged.
        overhead: Queries that belong to no sample, by purpose, of the target with most.
        auc: Mean over targets, with an interval over targets and samples.
        aucs: Of each target.
        spread: Standard deviation of `aucs`.
        balanced_accuracy: Of each target at the threshold its references chose; None where they could not.
        tpr_at_fpr: One threshold for the scores of all targets; interval over targets and samples.
        references: Reference models per target.
        reference_compute: Spent on the attacker's own models for one target (training apart).
        seconds: Spent asking all targets.
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


class TargetModel(Part):
    """A model that played target, by its number among the pairs, and its accuracy on the attacked samples."""

    model: int
    train_accuracy: float
    test_accuracy: float


class RecipeResults(Part):
    """The content of recipe.json."""

    format: int = FORMAT
    data: str
    domain: str
    samples: int
    train_size: int
    description: str
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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RecipeRecord:
    """What the audit of a recipe found.

    Attributes:
        results: Every figure, with intervals over targets and samples.
        scores: Columns target, id, member, label, attack, score, queries.
        config: The resolved settings.
        folder: Where the record is kept, or None for one that lives in memory only.
    """

    results: RecipeResults
    scores: pd.DataFrame
    config: dict[str, object] = field(default_factory=dict)
    folder: Path | None = None

    def attack(self, name: str) -> RecipeAttack:
        """The result of one attack.

        Raises:
            InvalidInput: The audit has no such attack.
        """
        for result in self.results.attacks:
            if result.name == name:
                return result
        raise InvalidInput(f"attack {name!r} is not in this audit, which has {[a.name for a in self.results.attacks]}")

    def table(self) -> pd.DataFrame:
        """One row per attack: queries, mean AUC and its interval, spread over targets, pooled TPR at each FPR."""
        rows = []
        for one in self.results.attacks:
            row: dict[str, object] = {
                "name": one.name,
                "access": one.access,
                "queries": one.queries_per_sample.mean,
                "references": one.references,
                "reference_rows": one.reference_compute.rows,
                "auc": one.auc.value,
                "auc_low": one.auc.low,
                "auc_high": one.auc.high,
                "spread": one.spread.value,
            }
            for fpr, estimate in one.tpr_at_fpr.items():
                row |= {f"tpr_at_{fpr}": estimate.value}
            rows.append(row)
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"<RecipeRecord of {self.results.data}, {len(self.results.targets)} targets>"

    def __str__(self) -> str:
        """The main figures as a table."""
        table = self.table()
        return "no attack was run" if table.empty else str(table.to_string(index=False, float_format="{:.3f}".format))

    def save(self, folder: str | Path) -> "RecipeRecord":
        """Writes config.yaml, scores.parquet and recipe.json, each whole or not at all; returns the kept record.

        Raises:
            InvalidInput: The folder cannot be written to.
        """
        folder = Path(folder)
        write_record(folder, RECIPE, self.results, config=self.config, scores=self.scores)
        return replace(self, folder=folder)


def load_recipe(folder: str | Path) -> RecipeRecord:
    """Reads a run folder of `audit_recipe` back.

    Raises:
        InvalidInput: A file is missing or damaged, or the record has another format.
    """
    folder = Path(folder)
    return RecipeRecord(
        results=read_record(folder, RECIPE, RecipeResults, readable=READABLE, unmarked=1),
        scores=read_scores(folder),
        config=read_settings(folder),
        folder=folder,
    )

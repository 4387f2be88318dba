"""The record of a comparison of defenses: figures of each, the Pareto front, a recommendation in words.

A run folder holds `config.yaml`, `scores.parquet` (one row per target and sample) and `defend.json`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from hardlabel.checks import InvalidInput
from hardlabel.experiments.folder import read_record, read_scores, read_settings, write_record
from hardlabel.experiments.part import Part
from hardlabel.experiments.record import Environment, LeftOut, Queries
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.roc import Floats, Mask
from hardlabel.signals.base import Access

FORMAT = 2  # Format 1 kept no scores, and nothing of what attacks prove of a guarantee.
DEFEND = "defend.json"
NONE = "none"  # What the undefended models are called.


class PlayedAttack(Part):
    """One attack on the models of one defense.

    Attributes:
        name, access: See `AttackResult`.
        adaptive: Whether the attacker's own models were trained and guarded with the defense.
        auc: Mean over targets, with an interval over targets and samples.
        tpr: Pooled TPR at 1 % FPR.
        change: AUC less that of the same attack on the undefended models, paired by target and sample.
        queries: Per sample.
    """

    name: str
    access: str
    adaptive: bool
    auc: Estimate
    tpr: Estimate
    change: Estimate
    queries: Queries

    @property
    def title(self) -> str:
        """Name, and that the attacker did not adapt, where so."""
        return self.name if self.adaptive else f"{self.name} (not adaptive)"


class Guarantee(Part):
    """What private training promises; see `Privacy`."""

    epsilon: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    clipping: float
    accountant: str


class TestedGuarantee(Guarantee):
    """What is promised, and what the attacks played prove of it; see `metrics.one_run.half_split_bound`.

    Attributes:
        proved: With 95 % confidence epsilon is not below this, at the same delta: the highest bound from any attack on
            any target, corrected for their number. Above `epsilon` the training would not keep its promise.
        proved_by: Title of the attack that proved it; empty where nothing above 0 was proved.
    """

    proved: float
    proved_by: str


class DefenseResult(Part):
    """A defense at one strength, or none.

    Attributes:
        defense, level: Its name and strength; "none" and None for the undefended models. knob, source, cost: What the
        level means, the paper, what it costs besides. description: How the models were trained, in words. changes:
        What the defense changed, in words. privacy: The guarantee, or None. keeps_labels: Whether labels are the
        undefended models': label-only attacks then find what they found there. train_accuracy, test_accuracy: Mean
        over targets, on members and non-members asked about. accuracy_change: Test accuracy less that of the
        undefended models, paired. training_seconds: Per model, guard included. answer_seconds: For the labels of
        1,000 inputs. attacks: Adaptive ones first. strongest: The highest AUC among them, chosen for its outcome: a
        title, see `PlayedAttack`. strongest_at_low_fpr: The same for the TPR at 1 % FPR; None where that is not
        resolved. front: Whether no other has at least its test accuracy and at most its strongest attack's AUC, one
        of them better.
    """

    defense: str
    level: float | None
    knob: str
    source: str
    cost: str
    description: str
    changes: list[str]
    privacy: TestedGuarantee | None
    keeps_labels: bool
    train_accuracy: float
    test_accuracy: Estimate
    accuracy_change: Estimate
    training_seconds: float
    answer_seconds: float
    attacks: list[PlayedAttack]
    strongest: str
    strongest_at_low_fpr: str | None
    front: bool = False

    @property
    def name(self) -> str:
        """Defense and level."""
        return self.defense if self.level is None else f"{self.defense} {self.level:g}"

    def attack(self, title: str) -> PlayedAttack:
        """The attack of this title.

        Raises:
            InvalidInput: There is none.
        """
        for one in self.attacks:
            if one.title == title:
                return one
        raise InvalidInput(f"attack {title!r} was not played on {self.name!r}: {[one.title for one in self.attacks]}")

    @property
    def worst(self) -> PlayedAttack:
        """The strongest attack by its AUC."""
        return self.attack(self.strongest)


class DefendResults(Part):
    """The content of defend.json."""

    format: int = FORMAT
    data: str
    domain: str
    samples: int
    train_size: int
    reserve: int
    targets: int
    references: int
    budget: int | None
    confidence: float = 0.95
    margin: float
    defenses: list[DefenseResult]
    left_out: list[LeftOut]
    recommendation: list[str]
    notes: list[str]
    environment: Environment


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class DefendRecord:
    """What a comparison of defenses found.

    Attributes:
        results: Every figure.
        scores: Columns target, id, member, then one for each defense and attack played on it, see `scores_of`.
        config: The resolved settings.
        folder: Where the record is kept, or None for one that lives in memory only.
    """

    results: DefendResults
    scores: pd.DataFrame
    config: dict[str, object] = field(default_factory=dict)
    folder: Path | None = None

    def defense(self, name: str) -> DefenseResult:
        """The result of one, by name and level: "none", "l2 0.005".

        Raises:
            InvalidInput: It was not compared.
        """
        for one in self.results.defenses:
            if one.name == name:
                return one
        raise InvalidInput(f"defense {name!r} was not compared: {[one.name for one in self.results.defenses]}")

    def scores_of(self, name: str, title: str) -> Floats:
        """Scores of an attack, by title, on the models of a defense, by name and level: (targets, samples).

        Label-only attacks on models whose labels are the undefended ones' find what they found there.

        Raises:
            InvalidInput: It was not played.
        """
        one = self.defense(name)
        if one.keeps_labels and one.attack(title).access == Access.LABEL:
            name = NONE
        if column(name, title) not in self.scores:
            raise InvalidInput(f"attack {title!r} was not played on {name!r}")
        return self.scores[column(name, title)].to_numpy().reshape(self.results.targets, -1)

    @property
    def inside(self) -> Mask:
        """Who was trained on by which target, (targets, samples) bool."""
        return self.scores["member"].to_numpy().reshape(self.results.targets, -1)

    def table(self) -> pd.DataFrame:
        """One row per defense and level: accuracy, strongest attack, its AUC and TPR with intervals, front, costs."""
        return pd.DataFrame([_row(one) for one in self.results.defenses])

    def __repr__(self) -> str:
        return f"<DefendRecord of {self.results.data}, {len(self.results.defenses) - 1} defenses>"

    def __str__(self) -> str:
        """The table and the recommendation."""
        told = self.table()[["name", "test_accuracy", "strongest", "auc", "auc_low", "auc_high", "front"]]
        words = "\n".join(self.results.recommendation)
        return f"{told.to_string(index=False, float_format='{:.3f}'.format)}\n{words}"

    def save(self, folder: str | Path) -> "DefendRecord":
        """Writes config.yaml, scores.parquet and defend.json, each whole or not at all; returns the kept record.

        Raises:
            InvalidInput: The folder cannot be written to.
        """
        folder = Path(folder)
        write_record(folder, DEFEND, self.results, config=self.config, scores=self.scores)
        return replace(self, folder=folder)


def column(name: str, title: str) -> str:
    """Of the table of scores."""
    return f"{name}: {title}"


def load_defend(folder: str | Path) -> DefendRecord:
    """Reads a run folder of `defend` back.

    Raises:
        InvalidInput: A file is missing or damaged, or the record has another format.
    """
    folder = Path(folder)
    return DefendRecord(
        results=read_record(folder, DEFEND, DefendResults, readable=(FORMAT,)),
        scores=read_scores(folder),
        config=read_settings(folder),
        folder=folder,
    )


def _row(one: DefenseResult) -> dict[str, object]:
    worst = one.worst
    low = None if one.strongest_at_low_fpr is None else one.attack(one.strongest_at_low_fpr).tpr
    return {
        "name": one.name,
        "test_accuracy": one.test_accuracy.value,
        "accuracy_low": one.test_accuracy.low,
        "accuracy_high": one.test_accuracy.high,
        "strongest": one.strongest,
        "auc": worst.auc.value,
        "auc_low": worst.auc.low,
        "auc_high": worst.auc.high,
        "tpr_at_0.01": None if low is None else low.value,
        "tpr_low": None if low is None else low.low,
        "tpr_high": None if low is None else low.high,
        "front": one.front,
        "epsilon": None if one.privacy is None else one.privacy.epsilon,
        "training_seconds": one.training_seconds,
        "answer_seconds": one.answer_seconds,
    }

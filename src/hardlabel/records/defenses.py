"""The record of a comparison of defenses: figures of each defense, the Pareto front, a recommendation."""

from collections.abc import Iterable

import pandas as pd

from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.roc import Floats, Mask
from hardlabel.records import recommendation
from hardlabel.records.base import Record, looked_up
from hardlabel.records.effects import effects
from hardlabel.records.model import Environment, LeftOut, Queries
from hardlabel.records.part import RecordPart
from hardlabel.records.scores import NUMBER, TRUTH, WHOLE, WantedScores
from hardlabel.records.verdict import Verdict
from hardlabel.signals.base import Access

FORMAT = 2  # Format 1 had no scores, and no bounds that attacks prove.
DEFEND = "defend.json"
TPR_AT = 0.01  # The false-positive rate of `PlayedAttack.tpr`.
NONE = "none"  # The name of the undefended models.


class PlayedAttack(RecordPart):
    """One attack on the models of one defense.

    Attributes:
        name, access: See `AttackResult`.
        adaptive: Whether the attacker's own models were trained and guarded with the defense.
        auc: Mean over targets, with an interval over targets and samples.
        tpr: Pooled TPR at 1 % FPR.
        change: AUC minus the AUC of the same attack on the undefended models, paired by target and sample.
        queries: Queries per sample.
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
        """The name, marked if the attacker did not adapt."""
        return self.name if self.adaptive else f"{self.name} (not adaptive)"


class Guarantee(RecordPart):
    """The guarantee of private training; see `Privacy`."""

    epsilon: float
    delta: float
    noise_multiplier: float
    sampling_rate: float
    steps: int
    clipping: float
    accountant: str


class TestedGuarantee(Guarantee):
    """A guarantee, and the lower bound that the attacks prove; see `metrics.one_run.half_split_bound`.

    Attributes:
        proved: The true epsilon is at least this, with 95 % confidence, at the same delta. It is the highest bound from
            any attack on any target, corrected for their number. Above `epsilon`, the training breaks its guarantee.
        proved_by: Title of the attack that proved it; empty if no bound is above 0.
    """

    proved: float
    proved_by: str


class DefenseResult(RecordPart):
    """A defense at one strength, or the undefended models.

    Attributes:
        defense, level: Name and strength; "none" and None for the undefended models.
        knob, source, cost: What the level means, the paper, and what else the defense costs.
        description, changes: In words, how the models were trained and what the defense changed.
        privacy: The guarantee, or None.
        keeps_labels: Whether the labels are those of the undefended models. Label-only attacks then find the same.
        train_accuracy, test_accuracy: Mean over targets, on the members and non-members asked about.
        accuracy_change: Test accuracy minus the test accuracy of the undefended models, paired.
        training_seconds: Seconds per model, guard included.
        answer_seconds: Seconds for the labels of 1,000 inputs.
        attacks: All attacks, adaptive attacks first.
        strongest: Title of the attack with the highest AUC, chosen after the fact; see `PlayedAttack`.
        strongest_at_low_fpr: The same for the TPR at 1 % FPR; None if too few samples resolve that rate.
        front: Whether the defense is on the Pareto front: no other defense is at least as good in both test accuracy
            and the strongest attack's AUC, and better in one of the two.
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
        """The attack with this title.

        Raises:
            InvalidInput: No attack has it.
        """
        return looked_up(self.attacks, "title", title, what="attack", where=f"was not played on {self.name!r}")

    @property
    def worst(self) -> PlayedAttack:
        """The strongest attack by its AUC."""
        return self.attack(self.strongest)


class DefendResults(RecordPart):
    """The content of defend.json.

    Attributes:
        classes: Number of classes; None in records of earlier versions.
        recommendation: What `records.recommendation` said when the run ended. Reports say what it says today.
    """

    format: int = FORMAT
    data: str
    domain: str
    classes: int | None = None
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

    @property
    def undefended(self) -> DefenseResult:
        """The undefended models."""
        return next(result for result in self.defenses if result.defense == NONE)

    @property
    def defended(self) -> list[DefenseResult]:
        """Each defense at each strength."""
        return [result for result in self.defenses if result.defense != NONE]

    def contradictions(self) -> Iterable[str]:
        names = [result.name for result in self.defenses]
        if sum(result.defense == NONE for result in self.defenses) != 1 or len(set(names)) < len(names):
            yield f"defenses must have names of their own, and {NONE!r} among them once, got {', '.join(names)}"
        for result in self.defenses:
            titles = [attack.title for attack in result.attacks]
            strongest = {result.strongest, result.strongest_at_low_fpr or result.strongest}
            if len(set(titles)) < len(titles) or not strongest <= set(titles):
                yield f"the strongest attacks on {result.name} must be among its attacks, got {', '.join(strongest)}"
            if result.test_accuracy.value is None or any(attack.auc.value is None for attack in result.attacks):
                yield f"{result.name} must have a test accuracy and an AUC of every attack"


class DefendRecord(Record[DefendResults]):
    """The findings of a comparison of defenses.

    `scores` has one row per target and sample: target, id, member, then the scores of each attack on each defense; see
    `scores_of`.

    Example:
        >>> import hardlabel
        >>> record = hardlabel.load("runs/defenses")
        >>> record.brief
        'l2 0.02 helps'
        >>> record.defense("l2 0.02").test_accuracy.value, record.scores_of("l2 0.02", "path").shape
        (0.605, (4, 120))
    """

    file = DEFEND
    content = DefendResults
    readable = (FORMAT,)
    main = ("name", "test_accuracy", "strongest", "auc", "auc_low", "auc_high", "front", "effect")
    owners = ("defense", "attack", "access")

    @classmethod
    def wanted_scores(cls, results: DefendResults) -> WantedScores:
        played = [
            column(defense.name, attack.title)
            for defense in results.defenses
            for attack in defense.attacks
            if not (defense.keeps_labels and defense.defense != NONE and attack.access == Access.LABEL)
        ]
        return WantedScores(
            columns={"target": WHOLE, "id": WHOLE, "member": TRUTH, **dict.fromkeys(played, NUMBER)},
            rows=results.targets * results.samples,
            groups=["target"],
            records=results.samples,
        )

    @property
    def verdict(self) -> Verdict:
        """The recommendation: the title gives it in a few words, for example "No defense helps by 0.02 or more".

        The grade says how far the defenses leave the model unprotected; see `recommendation.grade`. There are no
        reasons: the recommendation's sentences give them.
        """
        return Verdict(grade=recommendation.grade(self.results), title=recommendation.title(self.results))

    @property
    def brief(self) -> str:
        """The recommendation in a word or two: "l2 0.005 helps", "none helps", "too few models"."""
        return recommendation.brief(self.results)

    def _figures(self) -> Iterable[tuple[dict[str, str], str, float | None, Estimate]]:
        for defense in self.results.defenses:
            owner = {"defense": defense.name, "attack": "", "access": ""}
            yield owner, "train_accuracy", None, Estimate(defense.train_accuracy)
            yield owner, "test_accuracy", None, defense.test_accuracy
            yield owner, "accuracy_change", None, defense.accuracy_change
            if defense.privacy is not None:
                yield owner, "epsilon_at_most", None, Estimate(defense.privacy.epsilon)
                yield owner, "epsilon_at_least", None, Estimate(defense.privacy.proved)
            for attack in defense.attacks:
                owner = {"defense": defense.name, "attack": attack.title, "access": attack.access}
                yield owner, "queries", None, Estimate(attack.queries.mean)
                yield owner, "auc", None, attack.auc
                yield owner, "auc_change", None, attack.change
                yield owner, "tpr", TPR_AT, attack.tpr

    def defense(self, name: str) -> DefenseResult:
        """The result of a defense, by name and level: "none", "l2 0.005".

        Raises:
            InvalidInput: It was not compared.
        """
        return looked_up(self.results.defenses, "name", name, what="defense", where="is not in this comparison")

    def scores_of(self, name: str, title: str) -> Floats:
        """Scores (targets, samples) of the attack with this title on a defense, by name and level.

        If a defense keeps the labels, label-only attacks have the scores that they have on the undefended models.

        Raises:
            InvalidInput: The attack was not played.
        """
        defense = self.defense(name)
        if defense.keeps_labels and defense.attack(title).access == Access.LABEL:
            name = NONE
        if column(name, title) not in self.scores:
            raise InvalidInput(f"attack {title!r} was not played on {name!r}")
        return self.scores[column(name, title)].to_numpy().reshape(self.results.targets, -1)

    @property
    def inside(self) -> Mask:
        """Which target was trained on which sample, (targets, samples) bool."""
        return self.scores["member"].to_numpy().reshape(self.results.targets, -1)

    def table(self) -> pd.DataFrame:
        """One row per defense and level: accuracy, strongest attack, its AUC and TPR with intervals, effect, costs."""
        rows: list[dict[str, object]] = []
        found = effects(self.results)
        for defense in self.results.defenses:
            title = defense.strongest_at_low_fpr
            tpr = None if title is None else defense.attack(title).tpr
            rows.append(
                {
                    "name": defense.name,
                    "test_accuracy": defense.test_accuracy.value,
                    "accuracy_low": defense.test_accuracy.low,
                    "accuracy_high": defense.test_accuracy.high,
                    "strongest": defense.strongest,
                    "auc": defense.worst.auc.value,
                    "auc_low": defense.worst.auc.low,
                    "auc_high": defense.worst.auc.high,
                    "tpr_at_0.01": None if tpr is None else tpr.value,
                    "tpr_low": None if tpr is None else tpr.low,
                    "tpr_high": None if tpr is None else tpr.high,
                    "front": defense.front,
                    "effect": str(found.get(defense.name, "")),
                    "epsilon": None if defense.privacy is None else defense.privacy.epsilon,
                    "training_seconds": defense.training_seconds,
                    "answer_seconds": defense.answer_seconds,
                }
            )
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        """The table and the recommendation."""
        return "\n".join([super().__str__(), *recommendation.recommendation(self.results)])


def column(name: str, title: str) -> str:
    """The column of the scores that belongs to an attack on a defense."""
    return f"{name}: {title}"

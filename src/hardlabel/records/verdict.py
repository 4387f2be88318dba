"""The verdict on an audit: a grade, or why there is none. A pure function of the record's figures.

The attack that the ranking names was chosen before anybody looked at the target, so its intervals count as they are.
The other label-only attacks count after Holm's correction over all their figures. On a target that leaks nothing, a
grade above "none found" is then given in at most 5 % of audits; docs/metrics.md has the measured share.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from math import sqrt
from typing import Any, Protocol, TypeVar

from pydantic import Field, model_validator
from scipy.stats import norm

from hardlabel.metrics.chance import chance_above, chance_below, chance_fewer, chance_less_often, holm
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.part import RecordPart
from hardlabel.signals.base import Access

SEVERE_AUC, SEVERE_GAIN, SEVERE_FPR = 0.75, 10, 0.01
CLEAR_AUC, CLEAR_GAIN = 0.6, 3
FEWEST = 20  # With fewer members or non-members than this, finding nothing is inconclusive.
ALARM = 0.001  # Chance at which evidence contradicts itself, one-sided: healthy models must not trip it.
KNOWING = 0.25  # Share of what there is to know of the classes, below which a model knows hardly anything.
DOUBT = 0.01  # The same where finding nothing is put in doubt only.
LEAST_GAP = 0.05  # Of accuracy on a model's own and on other records; a smaller one is no standard for the target's.
LOPSIDED = 0.9  # Share of the largest class from which on a healthy model may always answer with it.


class Grade(StrEnum):
    """How bad it is. The first two are no grades."""

    NO_VERDICT = "no verdict"
    NOT_TESTED = "not fully tested"
    NONE = "none found"
    SLIGHT = "slight"
    CLEAR = "clear"
    SEVERE = "severe"


ORDER = [Grade.NONE, Grade.SLIGHT, Grade.CLEAR, Grade.SEVERE]  # What a figure can reach.
MEASURED = frozenset(ORDER[1:])

TITLES = {
    Grade.NO_VERDICT: "No verdict can be given",
    Grade.NOT_TESTED: "Not fully tested",
    Grade.NONE: "No leakage was found",
    Grade.SLIGHT: "Slight leakage was measured",
    Grade.CLEAR: "Clear leakage was measured",
    Grade.SEVERE: "Severe leakage was measured",
}


class Reason(RecordPart):
    """Why there is no grade, or what makes a grade doubtful: the finding, its likely cause, and the remedy."""

    finding: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return " ".join(part for part in (self.finding, self.cause, self.remedy) if part)


class Verdict(RecordPart):
    """The verdict on an audit.

    Attributes:
        grade: The grade, or NO_VERDICT or NOT_TESTED.
        at_least: Whether the leakage may be worse than the grade says: an attack other than the one that the ranking
            names proved it, or the latter was not run.
        title: The verdict in a few words.
        earned: Names of the label-only attacks that reach the grade.
        reasons: Why there is no grade; beside a grade, what makes it doubtful.
    """

    grade: Grade
    at_least: bool = False
    title: str
    earned: list[str] = Field(default_factory=list)
    reasons: list[Reason] = Field(default_factory=list)


class Judged(RecordPart):
    """Results with a `verdict`. A stored verdict is not read back: it always follows from the figures."""

    @model_validator(mode="before")
    @classmethod
    def _without_verdict(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if name != "verdict"} if isinstance(given, dict) else given


class Spent(Protocol):
    """Queries per sample: the mean, and the most for any sample."""

    @property
    def mean(self) -> float: ...

    @property
    def max(self) -> int: ...


class Graded(Protocol):
    """What an attack's entry holds in the record of an audit and in that of a recipe alike."""

    @property
    def name(self) -> str: ...

    @property
    def access(self) -> str: ...

    @property
    def queries_per_sample(self) -> Spent: ...

    @property
    def auc(self) -> Estimate: ...

    @property
    def tpr_at_fpr(self) -> Mapping[str, Estimate]: ...


class Named(Protocol):
    """The attack that the ranking names, and why finding nothing with it would say little; empty if it says enough."""

    @property
    def attack(self) -> str: ...

    @property
    def weak(self) -> str: ...


class Compared(Protocol):
    """The attacker's reference models: trained as the target was or not, and how often right on average."""

    @property
    def alike(self) -> bool: ...

    @property
    def train_accuracy(self) -> float: ...

    @property
    def test_accuracy(self) -> float: ...


class Picked(StrEnum):
    """How an attack came to be the one that a page quotes."""

    BEFOREHAND = "named by the ranking before the target was looked at"
    ALONE = "the only label-only attack run"
    HERE = "picked by its result"


class ClassRight(RecordPart):
    """How often a target is right on one class: attacked members and non-members, and of each those it is right on."""

    label: int
    members: int
    nonmembers: int
    right_members: int
    right_nonmembers: int

    def contradictions(self) -> Iterable[str]:
        if self.right_members > self.members or self.right_nonmembers > self.nonmembers:
            yield f"class {self.label} must not be right more often than it has samples"


A = TypeVar("A", bound=Graded)


def how_picked(attack: str, attacks: Sequence[Graded], named: Named | None) -> Picked:
    """Whether an attack was named beforehand, so that its figures are not those of the best of several.

    Args:
        attack: Name of the label-only attack that is quoted.
        attacks: All attacks of the record.
        named: The attack that the ranking names; None if the record does not say.

    Example:
        >>> from hardlabel.records.model import Choice
        >>> from hardlabel.records.verdict import how_picked
        >>> named = Choice(attack="noise", queries=10, why="")
        >>> how_picked("noise", [], named)
        <Picked.BEFOREHAND: 'named by the ranking before the target was looked at'>
    """
    if named is not None and named.attack == attack:
        return Picked.BEFOREHAND
    alone = [one.name for one in attacks if one.access == Access.LABEL] == [attack]
    return Picked.ALONE if alone else Picked.HERE


def decided(
    attacks: Sequence[Graded],
    *,
    named: Named | None,
    fewest: int,
    confidence: float,
    contradictions: Sequence[Reason] = (),
    ignorance: Sequence[Reason] = (),
    doubts: Sequence[Reason] = (),
    remarks: Sequence[Reason] = (),
) -> Verdict:
    """The verdict on what attacks found.

    Args:
        attacks: All attacks of the record; those that see confidences have no part in it.
        named: The attack that the ranking names for what this attacker has; None if the record does not say.
        fewest: Size of the smaller group of attacked samples.
        confidence: Of the intervals.
        contradictions: Why no figure of the record can be believed.
        ignorance: Why finding nothing contradicts itself; leakage that was proven stays proven.
        doubts: Why finding nothing says nothing.
        remarks: What else the reader must know; they change nothing.
    """
    labels = [attack for attack in attacks if attack.access == Access.LABEL]
    ranked = next((attack for attack in labels if named is not None and attack.name == named.attack), None)
    others = [attack for attack in labels if attack is not ranked]
    reached_by = grades(ranked, others, confidence=confidence)
    own = Grade.NONE if ranked is None else reached_by[ranked.name]
    proven = max(reached_by.values(), key=ORDER.index, default=Grade.NONE)
    untested = [*_untested(labels, ranked, named), *doubts, *_too_few(labels, fewest)]
    weak = ranked is None or bool(named is not None and named.weak)

    def told(grade: Grade, reasons: Iterable[Reason] = (), *, at_least: bool = False) -> Verdict:
        earned = [name for name, level in reached_by.items() if grade in MEASURED and level is grade]
        title = TITLES[grade]
        if at_least and grade is not Grade.SEVERE:
            title = f"At least {title[0].lower()}{title[1:]}"
        return Verdict(grade=grade, at_least=at_least, title=title, earned=earned, reasons=[*reasons, *remarks])

    if contradictions:
        return told(Grade.NO_VERDICT, [*ignorance, *contradictions])
    if proven in (Grade.CLEAR, Grade.SEVERE):
        return told(proven, ignorance, at_least=weak or own is not proven)
    if ignorance:
        return told(Grade.NO_VERDICT, ignorance)
    if untested:
        return told(Grade.NOT_TESTED, untested)
    return told(proven, at_least=own is not proven)


def grades(ranked: Graded | None, others: Sequence[Graded], *, confidence: float) -> dict[str, Grade]:
    """The grade that each label-only attack reaches, by name.

    Args:
        ranked: The attack chosen before looking, which counts at `confidence`; None if it was not run.
        others: The others, which count after Holm's correction over all their figures.
        confidence: Of the intervals.
    """
    found = {attack.name: Grade.NONE for attack in (ranked, *others) if attack is not None}
    level = (1 - confidence) / 2
    if ranked is not None:
        found[ranked.name] = max(reached(ranked).values(), key=ORDER.index)
    for grade in ORDER[1:]:
        chances = {
            (attack.name, rate): chance_above(estimate, null, confidence=confidence)
            for attack in others
            for rate, estimate, null in figures_of(attack, grade)
        }
        found |= {name: grade for name, _ in holm(chances, level)}
    wrong_way = {
        attack.name: chance_below(attack.auc, 0.5, confidence=confidence)
        for attack in (ranked, *others)
        if attack is not None
    }
    for name in holm(wrong_way, ALARM):
        found[name] = max(found[name], Grade.SLIGHT, key=ORDER.index)
    return found


def reached(attack: Graded) -> dict[str | None, Grade]:
    """The grade that each figure of an attack reaches by itself: by false-positive rate, and None for the AUC.

    The lower end of the figure's interval counts.
    """
    found: dict[str | None, Grade] = {}
    for grade in ORDER:
        for rate, estimate, null in figures_of(attack, grade):
            above = estimate.low is not None and (estimate.low > null if null == 0.5 else estimate.low >= null)
            if grade is Grade.NONE or above:
                found[rate] = grade
    return found


def figures_of(attack: Graded, grade: Grade) -> list[tuple[str | None, Estimate, float]]:
    """The figures that can earn a grade: false-positive rate or None for the AUC, the figure, what it must reach.

    A share of members found earns no slight grade: it counts for more or not at all.
    """
    aucs = {Grade.NONE: 0.5, Grade.SLIGHT: 0.5, Grade.CLEAR: CLEAR_AUC, Grade.SEVERE: SEVERE_AUC}
    found: list[tuple[str | None, Estimate, float]] = [(None, attack.auc, aucs[grade])]
    for rate, estimate in attack.tpr_at_fpr.items():
        fpr = float(rate)
        if estimate.low is None or (grade is Grade.SEVERE and fpr > SEVERE_FPR):
            continue
        gain = SEVERE_GAIN if grade is Grade.SEVERE else CLEAR_GAIN
        if gain * fpr < 1:
            found.append((rate, estimate, gain * fpr))
    return found


def wide(attacks: Sequence[A]) -> list[A]:
    """The attacks whose AUC interval does not exclude what is called severe."""
    return [attack for attack in attacks if attack.auc.high is not None and attack.auc.high >= SEVERE_AUC]


def below_guessing(attacks: Sequence[A], *, confidence: float = 0.95) -> list[A]:
    """The attacks that rank members measurably below non-members."""
    wrong_way = {attack.name: chance_below(attack.auc, 0.5, confidence=confidence) for attack in attacks}
    found = holm(wrong_way, ALARM)
    return [attack for attack in attacks if attack.name in found]


def beats_guessing(attack: Graded, fpr: str) -> bool:
    """Whether the interval of the TPR at `fpr` lies above `fpr`, which guessing would find."""
    estimate = attack.tpr_at_fpr.get(fpr)
    return estimate is not None and estimate.low is not None and estimate.low > float(fpr)


def _untested(labels: Sequence[Graded], ranked: Graded | None, named: Named | None) -> list[Reason]:
    """Why the strongest attack says nothing here."""
    if not labels:
        return [
            Reason(
                finding="No label-only attack was run.",
                cause="Only other attacks were asked for, or no label-only attack suits.",
                remedy="Leave attacks unset, so that the strongest attack is run.",
            )
        ]
    if named is None:
        return [
            Reason(
                finding="The record does not say which attack is the strongest for this attacker.",
                cause="An earlier version of hardlabel wrote it.",
                remedy="Run the audit again.",
            )
        ]
    if ranked is None or ranked.auc.low is None:
        done = "was not run" if ranked is None else "gave no figure"
        return [
            Reason(
                finding=f"“{named.attack}”, the strongest label-only attack for what this attacker has, {done}.",
                cause="Other attacks were asked for by name." if ranked is None else "There are too few records.",
                remedy=f"Run “{named.attack}” too, or leave attacks unset." if ranked is None else "Give more records.",
            )
        ]
    if named.weak:
        return [
            Reason(
                finding=f"“{named.attack}”, the strongest label-only attack for what this attacker has, is weak: "
                f"{named.weak}.",
                cause="The attacker has no models of its own, or too few queries for a better attack.",
                remedy="Give a trainer and a population, so that stronger attacks can be run, or a larger budget.",
            )
        ]
    return []


def _too_few(labels: Sequence[Graded], fewest: int) -> list[Reason]:
    """Why so many records cannot exclude severe leakage: wide intervals, small groups, or both."""
    told = []
    severe = max(wide(labels), key=lambda attack: attack.auc.high or 0.0, default=None)
    if severe is not None and severe.auc.low is not None and severe.auc.high is not None:
        told.append(
            Reason(
                finding=f"The AUC of “{severe.name}” may lie anywhere in [{severe.auc.low:.3f}, {severe.auc.high:.3f}] "
                f"(an interval {severe.auc.high - severe.auc.low:.3f} wide), which reaches {SEVERE_AUC}, from where "
                "leakage is called severe.",
                cause="There are too few records to exclude it.",
                remedy="Attack more members and non-members.",
            )
        )
    if fewest < FEWEST:
        told.append(
            Reason(
                finding=f"The smaller group has {fewest} records: finding nothing is inconclusive.",
                cause="There are too few records.",
                remedy=f"Give at least {FEWEST} members and {FEWEST} non-members.",
            )
        )
    return told


def ignorance(right: Sequence[ClassRight]) -> tuple[list[Reason], list[Reason]]:
    """What contradicts itself in the target's answers, and what makes them say nothing.

    A model that was trained on the members should know something of their classes. How much it knows is the sum over
    classes of the share it is right on: 1 for answers that do not depend on the class, the number of classes for a
    model that is always right (for two classes, Youden's index plus 1).

    Args:
        right: Right answers by class.

    Returns:
        Reasons against a verdict, and reasons why finding nothing says nothing; both are empty for healthy models.
    """
    inside = [one for one in right if one.members]
    members = sum(one.members for one in inside)
    if len(inside) < 2:
        return [], []
    majority = max(one.members for one in inside) / members
    hits = sum(one.right_members for one in inside)
    advice = "Check that labels and answers number the classes alike, and that inputs are prepared as for training. "
    advice += "If the model was trained with differential privacy, say so: Focus(private=True)."
    if constant(right):
        reason = Reason(
            finding="The target gives the same answer for every record; an attack can see nothing in such answers.",
            cause="Its training may have collapsed, its inputs may be prepared otherwise than for training, or an "
            "endpoint may answer with an error page or a default.",
            remedy="Ask it about a few records by hand. " + advice,
        )
        return ([], [reason]) if majority >= LOPSIDED and hits >= majority * members else ([reason], [])
    known, error = _known(inside)
    if norm.sf(known / error) <= ALARM:
        return [], []
    reason = Reason(
        finding=f"The target is right on {hits} of {members} members, no more often than guessing would be, although "
        "it is said to be trained on them.",
        cause="Its classes may be numbered otherwise than the labels, or it was trained on other data.",
        remedy=advice,
    )
    knows_nothing = majority < LOPSIDED and known + norm.isf(ALARM) * error < KNOWING
    if knows_nothing or chance_less_often(hits, members, majority) <= ALARM:
        return [reason], []
    return [], [
        Reason(
            finding=f"The target is right on {hits} of {members} members, which is not measurably more than guessing.",
            cause="There are few records, or the target has learned little.",
            remedy="Attack more members. " + advice,
        )
    ]


def of_private(right: Sequence[ClassRight]) -> list[Reason]:
    """The same of a target that was trained with differential privacy: it is told, and contradicts nothing."""
    contradictory, doubtful = ignorance(right)
    return [
        Reason(
            finding=reason.finding,
            cause="It is said to be trained with differential privacy: such a model may know nothing.",
            remedy="Little can leak from it; check whether it is of use.",
        )
        for reason in (*contradictory, *doubtful)
    ]


def constant(right: Sequence[ClassRight]) -> bool:
    """Whether the target gives the same answer for all records, seen from where it is right."""
    always = [one for one in right if one.right_members + one.right_nonmembers == one.members + one.nonmembers]
    never = [one for one in right if one.right_members + one.right_nonmembers == 0]
    return len(right) > 1 and len(always) == 1 and len(never) == len(right) - 1


def _known(inside: Sequence[ClassRight]) -> tuple[float, float]:
    """How much a model knows of the classes of its members, 0 for nothing and 1 for all, and the standard error."""
    total, variance = -1.0, 0.0
    for one in inside:
        total += one.right_members / one.members
        variance += _variance(one.right_members, one.members)
    return total / (len(inside) - 1), sqrt(variance) / (len(inside) - 1)


def exchanged(right: Sequence[ClassRight]) -> list[Reason]:
    """That the target is right measurably less often on members than on non-members."""
    sizes, hits = _totals(right)
    if 0 in sizes or chance_fewer(hits[0], sizes[0], hits[1], sizes[1]) > ALARM:
        return []
    return [
        Reason(
            finding=f"The target is right less often on members ({hits[0]} of {sizes[0]}) than on non-members "
            f"({hits[1]} of {sizes[1]}). Training on records does not do that.",
            cause="The two groups may have been exchanged, or they come from different sources.",
            remedy="Check which records the model was trained on.",
        )
    ]


def unlike(auc: Estimate, *, confidence: float) -> list[Reason]:
    """That a blind classifier tells members from non-members."""
    if chance_above(auc, 0.5, confidence=confidence) > ALARM:
        return []
    return [
        Reason(
            finding=f"Members and non-members can be told apart without any model (AUC {auc}), so the figures of "
            "attacks are inflated.",
            cause="The two groups come from different sources or times, or were prepared differently.",
            remedy="Take members and non-members at random from the same data.",
        )
    ]


def copied(auc: Estimate, *, confidence: float) -> list[Reason]:
    """That a blind classifier takes non-members for members, as where copies of records stand in both groups."""
    if chance_below(auc, 0.5, confidence=confidence) > ALARM:
        return []
    return [
        Reason(
            finding=f"Non-members look like members to a classifier that never saw the model (AUC {auc}; guessing has "
            "0.5).",
            cause="Copies of the same records seem to stand in both groups: rounded, exported again, or changed a "
            "little. Attacks then find less than there is.",
            remedy="Remove from the non-members all records that the model was trained on, in whatever form.",
        )
    ]


def mixed_up(right: Sequence[ClassRight], references: Compared | None) -> list[Reason]:
    """That the target does not treat members and non-members as models do that were trained on the former alone.

    Reference models that are trained as the target was show how much more often a model is right on its own records.
    A target whose members and non-members differ by surely less than half of that was perhaps trained on neither group,
    on both, or on parts of both; or the reference models are not like it.

    Args:
        right: Right answers of the target by class.
        references: The attacker's reference models; None without any.
    """
    sizes, hits = _totals(right)
    if references is None or not references.alike or 0 in sizes:
        return []
    theirs = references.train_accuracy, references.test_accuracy
    usual = theirs[0] - theirs[1]
    if usual < LEAST_GAP:
        return []
    variance = sum(
        _variance(count, size) + _variance(rate * size, size) / 4
        for count, rate, size in zip(hits, theirs, sizes, strict=True)
    )
    own = hits[0] / sizes[0] - hits[1] / sizes[1]
    if norm.sf((usual / 2 - own) / sqrt(variance)) > DOUBT:
        return []
    return [
        Reason(
            finding=f"The target is right on {100 * hits[0] / sizes[0]:.0f} % of the members and on "
            f"{100 * hits[1] / sizes[1]:.0f} % of the non-members. The attacker's own models are right on "
            f"{100 * theirs[0]:.0f} % of the records they were trained on and on {100 * theirs[1]:.0f} % of the "
            "others.",
            cause="The target may have been trained on neither group, on both, or on parts of both. Or it was trained "
            "on many more records than the attacker's models, or in another way.",
            remedy="Check which records the target was trained on. If the groups are right, give all its training data "
            "as the population, and the training that made it as the trainer.",
        )
    ]


def _totals(right: Sequence[ClassRight]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Members and non-members of all classes, and how many of each the target is right on."""
    return (
        (sum(one.members for one in right), sum(one.nonmembers for one in right)),
        (sum(one.right_members for one in right), sum(one.right_nonmembers for one in right)),
    )


def _variance(hits: float, size: int) -> float:
    """Of a share of right answers."""
    share = (hits + 0.5) / (size + 1)  # Keeps the error of a share of 0 or 1 above 0.
    return share * (1 - share) / size

"""The part of a record about the few records most at risk: who they are, attacks on them, groups, repeated games."""

from collections.abc import Iterable

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.part import RecordPart

CLASS = "class"  # The slice whose groups are the classes.
AVERAGE = "average"  # The selection of all points.


class Few(RecordPart):
    """An attack's precision and recall on some points, over all targets.

    Attributes:
        attack, access: Name of the attack, and its access: "label" or "scores".
        precision: Share of members among the points called members. The attacker's own models choose the threshold.
        recall: Share of the members that are called members.
        right, called, members: Members called members, points called members, and members, over all targets.
        over_average: Precision on these points minus precision on all points; undefined if these are all points.
    """

    attack: str
    access: str
    precision: Estimate
    recall: Estimate
    right: int
    called: int
    members: int
    over_average: Estimate

    def contradictions(self) -> Iterable[str]:
        if self.right > min(self.called, self.members):
            yield f"right must be at most called and members, got {self.right} of {self.called} and {self.members}"


class FewPair(RecordPart):
    """A paired comparison on the same points and targets: precision of `first` minus that of `second`."""

    first: str
    second: str
    precision: Estimate


class ChosenFew(RecordPart):
    """The findings on the points that one selection rule picks, or on all points.

    Attributes:
        name: "average", or a name in `outliers.SELECTIONS`.
        how: The rule in words.
        points: Number of points for each target.
        attacks: The figures of each attack.
        pairs: Each label-only attack compared with each attack that sees scores.
    """

    name: str
    how: str
    points: int
    attacks: list[Few]
    pairs: list[FewPair]


class WorstCase(RecordPart):
    """The few most at risk, chosen by the attacker's own models.

    Attributes:
        share: The share of points to choose.
        of: Number of points to choose from.
        targets: Models attacked.
        embedded: The representation in which neighbours were searched.
        statistic: The measure that compares own models trained with a point and without it.
        selections: All points first, then each selection rule.
        repeated: Points that are near-duplicates of another point, by the rule in `outliers`.
        repeated_chosen: Near-duplicates among the points that any selection rule chose.
    """

    share: float
    of: int
    targets: int
    embedded: str
    statistic: str
    selections: list[ChosenFew]
    repeated: int
    repeated_chosen: int


class Neighbour(RecordPart):
    """A point near a record, as the attacker's own networks see it."""

    pseudonym: str
    label: int
    similarity: float


class Standout(RecordPart):
    """An exposed record, and why it may stand out.

    Attributes:
        id: The id of the record in the scores. It is no row number.
        pseudonym: The name in reports, a keyed hash of the record's inputs: the same in all runs of one data holder,
            whose secret is the key. Without the secret, nobody can resolve it.
        row: Position of the record in the data given to the audit; None if unknown, or if the user did not allow it.
        label: The class.
        chosen: Selection rules that picked the record for at least one target.
        separability: Distance, in standard deviations, between the own models trained with the record and the own
            models trained without it; None without these models.
        out_loss: Mean loss of own models trained without the record; None without these models.
        neighbours: The nearest points, the most similar first.
        duplicate: The pseudonym of a near-duplicate, or None.
        shown: The record itself, as a data URI or as text; None if the user did not allow it.
    """

    id: int
    pseudonym: str
    row: int | None
    label: int
    chosen: list[str]
    separability: float | None
    out_loss: float | None
    neighbours: list[Neighbour]
    duplicate: str | None
    shown: str | None


class GroupRisk(RecordPart):
    """An attack's AUC within one group.

    Attributes:
        slice, group: The column that defines the groups (or "class"), and its value in this group.
        attack: Name of the attack.
        members, nonmembers: Numbers asked about. With several targets: the numbers of the target with the fewest.
        auc: AUC within the group; undefined, with the reason, if the group is too small.
    """

    slice: str
    group: str
    attack: str
    members: int
    nonmembers: int
    auc: Estimate


class PointRisk(RecordPart):
    """The repeated games of one point.

    `advantage` is TPR minus FPR over the targets trained with and without the point. `adjusted` is the lowest false
    discovery rate at which the point is found exposed.
    """

    id: int
    pseudonym: str
    advantage: Estimate
    adjusted: float


class Games(RecordPart):
    """Repeated games about single points: which points are exposed, at a false discovery rate.

    Attributes:
        attack, access: The attack whose signal is used, and its access: "label" or "scores".
        which: In words, the points tested.
        targets: Models that played target.
        points: Number of points tested.
        rate, found: False discovery rate, and the points found exposed at it.
        confidence: Confidence of each interval. It is high enough that at most a share `rate` of the intervals of
            exposed points is expected to miss.
        top: The most exposed points, the most exposed first.
    """

    attack: str
    access: str
    which: str
    targets: int
    points: int
    rate: float
    found: int
    confidence: float
    top: list[PointRisk]


class Named(RecordPart):
    """The points that an attack names as members. The attacker knows half of the non-members.

    Attributes:
        attack, access: Name of the attack, and its access: "label" or "scores".
        rate: False discovery rate.
        known: Non-members that the attacker knows.
        asked: Points asked about: all members, and the other non-members.
        named: Points named.
        right: Members among the points named.
    """

    attack: str
    access: str
    rate: float
    known: int
    asked: int
    named: int
    right: int

    def contradictions(self) -> Iterable[str]:
        if not self.right <= self.named <= self.asked:
            yield f"named must be at least right and at most asked, got {self.named}, {self.right} and {self.asked}"

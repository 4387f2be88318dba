"""What a record says of the few most at risk: precision on them, who they are, groups, and repeated games."""

from hardlabel.experiments.part import Part
from hardlabel.metrics.estimate import Estimate


class Few(Part):
    """An attack's calls about some points: precision and recall over all targets.

    Attributes:
        attack: Its name.
        access: "label" or "scores".
        precision: Share of members among those called, at the threshold chosen on the attacker's own models.
        recall: Share of those called among the members.
        right, called, members: The counts, over all targets.
        over_average: Precision on these points minus that on all; undefined in the average case itself.
    """

    attack: str
    access: str
    precision: Estimate
    recall: Estimate
    right: int
    called: int
    members: int
    over_average: Estimate


class FewPair(Part):
    """A paired comparison on the same points and targets: precision of `first` minus that of `second`."""

    first: str
    second: str
    precision: Estimate


class ChosenFew(Part):
    """What was found on the points that one way of choosing picks, or on all.

    Attributes:
        name: "average", or a name in `outliers.SELECTIONS`.
        how: In words.
        points: Chosen for each target.
        attacks: Every attack's calls about them.
        pairs: Each label-only attack against each that sees scores.
    """

    name: str
    how: str
    points: int
    attacks: list[Few]
    pairs: list[FewPair]


class WorstCase(Part):
    """The few most at risk, chosen by the attacker's own models.

    Attributes:
        share: Asked for.
        of: Points chosen from.
        targets: Models attacked.
        embedded: What neighbours were looked for in.
        statistic: What own models trained with and without a point are compared by.
        selections: The average case first.
        repeated: Points among all that are near-duplicates of another, by the rule in `outliers`.
        repeated_chosen: Such points among the chosen of any selection.
    """

    share: float
    of: int
    targets: int
    embedded: str
    statistic: str
    selections: list[ChosenFew]
    repeated: int
    repeated_chosen: int


class Neighbour(Part):
    """One of the points nearest to a record, by what own networks see."""

    pseudonym: str
    label: int
    similarity: float


class Standout(Part):
    """A record that is exposed, and why it may stand out.

    Attributes:
        id: As in the scores.
        pseudonym: What reports call it: fixed by the data and the id, so that nobody without the data can undo it.
        row: Where it stands in what the audit was given, where that is known.
        label: Its class.
        chosen: Ways of choosing that picked it, for one target at least.
        separability: How far own models with and without it lie apart, in standard deviations; None without such.
        out_loss: Mean loss of own models without it.
        neighbours: The nearest points, most similar first.
        duplicate: The pseudonym of a near-duplicate, or None.
        shown: The record itself, as a data URI or as text, where the user allowed it.
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


class GroupRisk(Part):
    """An attack's figure within one group; undefined, with the reason, where the group is too small.

    Attributes:
        slice: What the groups divide by: "class", or a column.
        group: Which.
        attack: Its name.
        members, nonmembers: Asked about; of the target with fewest where there are several.
        auc: Within the group.
    """

    slice: str
    group: str
    attack: str
    members: int
    nonmembers: int
    auc: Estimate


class PointRisk(Part):
    """One point's own games: TPR minus FPR over the targets with and without it, with an interval.

    `adjusted` is the lowest false discovery rate at which it would be found.
    """

    id: int
    pseudonym: str
    advantage: Estimate
    adjusted: float


class Games(Part):
    """Repeated games about single points: which are exposed, at a false discovery rate.

    Attributes:
        attack: Whose signal the points are called by.
        access: "label" or "scores".
        which: Which points were tested.
        targets: Models that played target.
        points: Tested.
        rate: False discovery rate.
        found: Points found exposed.
        confidence: Of each interval, so high that of those of the found ones a share `rate` at most should miss.
        top: The most exposed, first.
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


class Named(Part):
    """Members named at a false discovery rate, judged by half of the non-members, which the attacker is given.

    Attributes:
        attack, access: Who names.
        rate: False discovery rate.
        known: Non-members given.
        asked: Points asked about: all members, and the other non-members.
        named: Points named.
        right: Members among them.
    """

    attack: str
    access: str
    rate: float
    known: int
    asked: int
    named: int
    right: int

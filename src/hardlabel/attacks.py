"""The table of attacks: each is a signal (or several to choose from) and a calibration.

An attack with several candidate signals lets the shadow model choose: all are measured there, and only the one
that tells the shadow's members best is asked of the target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hardlabel import checks
from hardlabel.calibrations.base import Calibration
from hardlabel.calibrations.network import AttackNetwork
from hardlabel.calibrations.threshold import Threshold
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.domain import Domain
from hardlabel.signals.augmentation import Augmentation
from hardlabel.signals.base import Access, LabelSignal, ScoreSignal
from hardlabel.signals.boundary import MINIMUM_QUERIES, Boundary
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.gap import Gap
from hardlabel.signals.noise import Noise

PAPER = "Choquette-Choo et al. 2021"


@dataclass(frozen=True, kw_only=True)
class _Attack:
    """What every row of the table has.

    Attributes:
        name: How users ask for it.
        summary: What it does, in one line.
        calibration: How the signal becomes a score.
        needs: What the user must provide, in words.
        source: Paper and section.
        fewest: Fewest queries per sample it can work with.
        usual: Most queries per sample where no budget says otherwise.
        grows: Whether a budget above `usual` is used; else more queries would gain nothing.
        data: Which domains it suits: "any", "images", or "continuous" ones.
    """

    name: str
    summary: str
    calibration: Calibration
    needs: str
    source: str
    fewest: int = 1
    usual: int = 1
    grows: bool = False
    data: str = "any"

    def unsuited(self, domain: Domain) -> str | None:
        """Why the attack does not suit a domain, or None where it does."""
        if self.data == "images" and domain.kind != "image":
            return f"needs images, got a {domain.kind} domain: nothing else can be shifted, rotated or mirrored"
        if self.data == "continuous" and not domain.continuous:
            return (
                f"needs a continuous domain, got a {domain.kind} one: its search asks points between samples, "
                "which do not exist where values are discrete"
            )
        return None

    def allowed(self, budget: int | None) -> int:
        """Queries per sample the attack will use at most under `budget`.

        Raises:
            InvalidInput: The budget is below `fewest`.
        """
        if budget is None:
            return self.usual
        if budget < self.fewest:
            raise InvalidInput(f"budget must be at least {self.fewest} for attack {self.name!r}, got {budget}")
        return budget if self.grows else min(budget, self.usual)


@dataclass(frozen=True, kw_only=True)
class LabelAttack(_Attack):
    """An attack that sees labels only. `signals(domain, queries)` lists its candidates within `queries`."""

    signals: Callable[[Domain, int], tuple[LabelSignal, ...]]
    access = Access.LABEL


@dataclass(frozen=True, kw_only=True)
class ScoreAttack(_Attack):
    """A baseline that sees confidence vectors; always one query."""

    signal: ScoreSignal
    access = Access.SCORES


Attack = LabelAttack | ScoreAttack


def _augmentations(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    del domain
    near, two, three = (augment.translations(d) for d in (1, 2, 3))
    small, wide = augment.rotations(4), augment.rotations(8)
    sets = (
        Augmentation(name="mirror", moves=augment.flips()),
        Augmentation(name="rotations by 4 degrees", moves=small),
        Augmentation(name="rotations by 8 degrees", moves=wide),
        Augmentation(name="rotations by every degree to 9", moves=augment.rotations(9, every_degree=True)),
        Augmentation(name="shifts by 1", moves=near),
        Augmentation(name="shifts by 2", moves=two),
        Augmentation(name="shifts by 1, rotations, mirror", moves=augment.union(near, small, augment.flips())),
        Augmentation(
            name="shifts by 1 to 3, rotations, mirror",
            moves=augment.union(near, two, three, small, wide, augment.flips()),
        ),
    )
    return tuple(signal for signal in sets if len(signal.moves) <= queries)


def _noises(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    return tuple(Noise(level=level, draws=queries - 1) for level in domain.noise_levels)


_THRESHOLD = "a shadow model for its threshold (without one: no threshold, AUC and ROC only)"


def _score_attack(name: str, statistic: Statistic, source: str) -> ScoreAttack:
    return ScoreAttack(
        name=name,
        summary=f"threshold on the {statistic}",
        signal=Confidence(statistic=statistic),
        calibration=Threshold(),
        needs=_THRESHOLD,
        source=source,
    )


_ROWS: tuple[Attack, ...] = (
    LabelAttack(
        name="gap",
        summary="member if the label is right: the baseline to beat",
        signals=lambda domain, queries: (Gap(),),
        calibration=Threshold(fixed=0.5),
        needs="nothing",
        source=f"Yeom et al. 2018; {PAPER}, section 3.1",
    ),
    LabelAttack(
        name="augmentation",
        summary="which shifted, rotated or mirrored copies keep the label",
        signals=_augmentations,
        calibration=AttackNetwork(),
        needs="a shadow model",
        source=f"{PAPER}, section 3.3",
        fewest=2,
        usual=30,
        data="images",
    ),
    LabelAttack(
        name="noise",
        summary="share of noisy copies that keep the label",
        signals=_noises,
        calibration=Threshold(),
        needs="a shadow model for its noise level and threshold (without one: a middling level, AUC and ROC only)",
        source=f"{PAPER}, section 3.4",
        fewest=2,
        usual=101,
    ),
    LabelAttack(
        name="boundary",
        summary="distance to the nearest point with another label, by HopSkipJump",
        signals=lambda domain, queries: (Boundary(queries=queries),),
        calibration=Threshold(),
        needs=_THRESHOLD,
        source=f"{PAPER}, section 3.4; Chen et al. 2020",
        fewest=MINIMUM_QUERIES,
        usual=2500,
        grows=True,
        data="continuous",
    ),
    LabelAttack(
        name="combined",
        summary="boundary distances of the image and its copies shifted by 1",
        signals=lambda domain, queries: (Boundary(queries=queries, copies=augment.translations(1)),),
        calibration=AttackNetwork(),
        needs="a shadow model",
        source=f"{PAPER}, section 3.5",
        fewest=MINIMUM_QUERIES * 5,
        usual=2500,
        grows=True,
        data="images",
    ),
    _score_attack("confidence", Statistic.CONFIDENCE, "Salem et al. 2019"),
    _score_attack("loss", Statistic.LOSS, "Yeom et al. 2018"),
    _score_attack("entropy", Statistic.ENTROPY, "Salem et al. 2019"),
    _score_attack("modified-entropy", Statistic.MODIFIED_ENTROPY, "Song & Mittal 2021"),
    ScoreAttack(
        name="shadow-network",
        summary="attack network on the whole confidence vector",
        signal=Confidence(statistic=Statistic.VECTOR),
        calibration=AttackNetwork(hidden=(64,)),
        needs="a shadow model",
        source="Shokri et al. 2017",
    ),
)

TABLE: dict[str, Attack] = {row.name: row for row in _ROWS}


def with_networks_per_class(attack: Attack) -> Attack:
    """The attack with one attack network per class instead of one for all; any other attack as it is."""
    if not isinstance(attack.calibration, AttackNetwork):
        return attack
    return replace(attack, calibration=replace(attack.calibration, per_class=True))


def chosen(
    asked: Sequence[str | Attack] | None, domain: Domain, budget: int | None
) -> tuple[list[Attack], dict[str, str]]:
    """The attacks to run, and the ones left out with the reason.

    An attack asked for, by name or as an object of one's own, must be possible; of the whole table (`asked` None)
    what is not is left out.

    Raises:
        InvalidInput: An attack asked for is unknown, does not suit the domain, or needs more than `budget`.
    """
    if budget is not None:
        checks.at_least(1, budget=budget)
    if asked is not None:
        rows = [_possible(_row(attack), domain, budget) for attack in dict.fromkeys(asked)]
        if not rows:
            raise InvalidInput("attacks must name at least one attack, got none")
        return rows, {}
    taken: list[Attack] = []
    left_out: dict[str, str] = {}
    for row in TABLE.values():
        reason = row.unsuited(domain)
        if reason is None and budget is not None and budget < row.fewest:
            reason = f"needs at least {row.fewest} queries per sample, the budget is {budget}"
        if reason is None:
            taken.append(row)
        else:
            left_out[row.name] = reason
    return taken, left_out


def _row(attack: str | Attack) -> Attack:
    if isinstance(attack, LabelAttack | ScoreAttack):
        return attack
    checks.one_of(TABLE, attack=attack)
    return TABLE[attack]


def _possible(row: Attack, domain: Domain, budget: int | None) -> Attack:
    if reason := row.unsuited(domain):
        raise InvalidInput(f"attack {row.name!r} {reason}")
    row.allowed(budget)
    return row

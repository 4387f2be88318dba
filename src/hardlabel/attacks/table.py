"""The table of attacks: each is a signal (or several to choose from) and a calibration.

An attack with several candidate signals lets the shadow model choose: all are measured there, and only the one
that tells the shadow's members best is asked of the target.
"""

from collections.abc import Sequence
from dataclasses import replace

from hardlabel import checks
from hardlabel.attacks.base import Attack, LabelAttack, Need, ScoreAttack
from hardlabel.calibrations.base import Calibration
from hardlabel.calibrations.bavaria import BaVarIA
from hardlabel.calibrations.best import Best
from hardlabel.calibrations.confidence_estimate import EstimatedConfidence
from hardlabel.calibrations.designed import DesignedRatio
from hardlabel.calibrations.learned import LearnedRatio
from hardlabel.calibrations.network import AttackNetwork
from hardlabel.calibrations.proxy import ProxyRatio
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rescaled import Rescaled
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.calibrations.threshold import RandomThreshold, Threshold
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.domain import Domain
from hardlabel.plugins import Registry
from hardlabel.signals.augmentation import Augmentation
from hardlabel.signals.base import LabelSignal
from hardlabel.signals.boundary import MINIMUM_QUERIES, Boundary
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.designed import CANDIDATES, IMAGE_CANDIDATES, Designed
from hardlabel.signals.features import (
    COPIES,
    ONE_PATH,
    THREE_PATHS,
    TWO_PATHS,
    Features,
    copies_beside,
    parts_for,
)
from hardlabel.signals.fixed_point import FixedPoint
from hardlabel.signals.gap import Gap
from hardlabel.signals.noise import Noise
from hardlabel.signals.oslo import TAUS, Oslo
from hardlabel.signals.path import Path
from hardlabel.signals.regressed import Regressed
from hardlabel.signals.sampling import Sampling
from hardlabel.signals.transfer import Transfer
from hardlabel.signals.yoqo import Yoqo

PAPER = "Choquette-Choo et al. 2021"


def _augmentations(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """Of eight sets of moved copies, those that `queries` pay for."""
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
    """One candidate per noise level of the domain; the sample itself takes one of the queries."""
    return tuple(Noise(level=level, draws=queries - 1) for level in domain.noise_levels)


_ROUTES = ("others", "second", "runner-up")


def _paths(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """As many routes as queries can tell apart (studies/RESULTS.md), and copies beside them where queries are left.

    Of 10 queries on images half go to moved copies: they tell more than the rest of two routes' exact positions.
    Elsewhere a third route, asked where it tells most, is worth more.
    """
    if domain.kind == "image" and queries >= ONE_PATH + COPIES and len(parts_for(domain, queries)) == 1:
        return (copies_beside(queries),)
    if queries < TWO_PATHS:
        return _two_routes(domain, queries)
    if queries < THREE_PATHS and domain.kind != "image":
        return (Path(queries=queries, routes=_ROUTES),)
    return _features(domain, queries)


def _two_routes(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """A single question or two go to one route, more to two, whose exact positions take 9."""
    del domain
    if queries >= TWO_PATHS:
        return (Path(queries=TWO_PATHS, routes=_ROUTES[:2], informed=False),)
    return (Path(queries=queries, routes=_ROUTES[: 1 if queries < 3 else 2]),)


def _exact_routes(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """Two routes, bisected to their end."""
    del domain, queries
    return (Path(queries=TWO_PATHS, routes=_ROUTES[:2], informed=False),)


# The first where the references cannot tell: too few of them.
_PATH = Best(of=(ShrunkenRatio(), Rescaled(inner=ShrunkenRatio()), LearnedRatio()))


def _designs(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """One design, with fewer neighbours of an image than of other samples."""
    candidates = IMAGE_CANDIDATES if domain.kind == "image" else CANDIDATES
    return (Designed(queries=min(queries, candidates), candidates=candidates),)


def _features(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """Paths, and shares of copies beside them where queries are left; see `parts_for`."""
    parts = parts_for(domain, queries)
    # A path alone stays as it is: what was measured for the attack of that name serves this one.
    return parts if len(parts) == 1 else (Features(parts=parts),)


def _samplings(domain: Domain, queries: int) -> tuple[LabelSignal, ...]:
    """One candidate per noise level of the domain; the sample itself is not asked."""
    return tuple(Sampling(level=level, draws=queries) for level in domain.noise_levels)


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


_REFERENCES = "a trainer, for reference models with and without the samples asked about"
_CRAFTED = f"{_REFERENCES}; data of its own for two crafter networks"
_PROXIES = "a trainer, for reference models; no value of a model that was trained on a sample is read in that sample"
_RATIO = "research of this project (studies/RESULTS.md)"
_FEW = "research of this project (studies/FEW_REFERENCES.md)"


def _calibrated(
    name: str, calibration: Calibration, summary: str, source: str, *, standard: bool = False, scaled: bool = True
) -> ScoreAttack:
    return ScoreAttack(
        name=name,
        summary=summary,
        signal=Confidence(statistic=Statistic.LOGIT),
        calibration=calibration,
        needs=_REFERENCES,
        source=source,
        standard=standard,
        scaled=scaled,
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
        brief=31,
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
    LabelAttack(
        name="gap-ratio",
        summary="whether the label is right, against how often it is on models with and without the sample",
        signals=lambda domain, queries: (Gap(),),
        calibration=ShrunkenRatio(),
        needs=_REFERENCES,
        source=_RATIO,
        standard=False,
    ),
    LabelAttack(
        name="noise-ratio",
        summary="noise robustness, against that of models with and without the sample",
        signals=lambda domain, queries: _noises(domain, queries)[1::3] or _noises(domain, queries),
        calibration=ShrunkenRatio(),
        needs=_REFERENCES,
        source=_RATIO,
        fewest=2,
        usual=31,
        brief=10,
        standard=False,
    ),
    LabelAttack(
        name="noise-learned",
        summary="the same, with the ratio learned by trees where four references or more show that it tells more",
        signals=lambda domain, queries: _noises(domain, queries)[1::3] or _noises(domain, queries),
        calibration=Best(of=(ShrunkenRatio(), LearnedRatio())),
        needs=_REFERENCES,
        source=_FEW,
        fewest=2,
        usual=31,
        brief=10,
        standard=False,
    ),
    LabelAttack(
        name="noise-proxy",
        summary="noise robustness, against that of models without the sample, and of other records inside and outside",
        signals=lambda domain, queries: _noises(domain, queries)[1::3] or _noises(domain, queries),
        calibration=ProxyRatio(),
        needs=_PROXIES,
        source="arXiv:2507.21412, with labels and trees ours",
        fewest=2,
        usual=31,
        brief=10,
        standard=False,
    ),
    LabelAttack(
        name="gap-regression",
        summary="whether the label is right, against what a regression expects of a record that was not trained on",
        signals=lambda domain, queries: (Regressed(),),
        calibration=Threshold(),
        needs="data of its own that the target was not trained on, which the target answers about (overhead queries)",
        source="arXiv:2307.03694, with labels ours",
        uses=(Need.SURROGATE,),
        standard=False,
    ),
    LabelAttack(
        name="path",
        summary="where routes made on own networks leave the class, against models with and without the sample",
        signals=_paths,
        calibration=_PATH,
        needs=_CRAFTED,
        source=_RATIO,
        usual=10,
        grows=True,
        uses=(Need.CRAFTERS,),
    ),
    LabelAttack(
        name="path-offline",
        summary="the same against models without the sample only",
        signals=_two_routes,
        calibration=Rescaled(inner=ShrunkenRatio(online=False)),
        needs=_CRAFTED,
        source=_RATIO,
        usual=5,
        grows=True,
        uses=(Need.CRAFTERS,),
        standard=False,
    ),
    LabelAttack(
        name="path-proxy",
        summary="the same against models without the sample, and other records inside and outside",
        signals=_exact_routes,
        calibration=ProxyRatio(),
        needs=f"{_PROXIES}; data of its own for two crafter networks",
        source="arXiv:2507.21412, with labels and trees ours",
        fewest=TWO_PATHS,
        usual=TWO_PATHS,
        uses=(Need.CRAFTERS,),
        standard=False,
    ),
    LabelAttack(
        name="path-estimate",
        summary="the confidence estimated from paths, noise and moves, against models with and without the sample",
        signals=_features,
        calibration=EstimatedConfidence(inner=ShrunkenRatio()),
        needs=_CRAFTED,
        source=_RATIO,
        fewest=ONE_PATH,
        usual=10,
        grows=True,
        uses=(Need.CRAFTERS, Need.REFERENCE_SCORES),
        standard=False,
    ),
    LabelAttack(
        name="designed",
        summary="neighbours of the sample whose labels tell most, chosen by models with and without the sample",
        signals=_designs,
        calibration=DesignedRatio(),
        needs=f"{_REFERENCES}, which must show confidences and be trained as the target was",
        source="research of this project (studies/DESIGNED.md)",
        usual=10,
        grows=True,
        uses=(Need.REFERENCE_SCORES,),
        standard=False,
    ),
    LabelAttack(
        name="yoqo",
        summary="one query, optimised on models with and without the sample",
        signals=lambda domain, queries: (Yoqo(),),
        calibration=Threshold(fixed=0.5),
        needs="a trainer of networks, for reference models with and without the samples asked about",
        source="Wu et al. 2024",
        data="no tables",
        uses=(Need.REFERENCES, Need.GRADIENTS),
        standard=False,
    ),
    LabelAttack(
        name="oslo",
        summary="one query, an adversarial example just strong enough for models without the sample",
        signals=lambda domain, queries: tuple(Oslo(tau=tau) for tau in TAUS),
        calibration=Threshold(),
        needs="data of its own for two crafter networks; a trainer, to choose its strength",
        source="Peng et al. 2024",
        data="no tables",
        uses=(Need.CRAFTERS,),
        standard=False,
    ),
    LabelAttack(
        name="dhattack",
        summary="how far toward a fixed point the label holds, against models without the sample",
        signals=lambda domain, queries: (FixedPoint(queries=queries),),
        calibration=LikelihoodRatio(online=False, variance="sample"),
        needs=_REFERENCES,
        source="Li et al. 2025",
        fewest=2,
        usual=30,
        grows=True,
        data="no tables",
        standard=False,
    ),
    LabelAttack(
        name="sampling",
        summary="label frequencies under noise, read like a confidence vector by an attack network",
        signals=_samplings,
        calibration=AttackNetwork(hidden=(64,)),
        needs="a shadow model",
        source="Rahimian et al. 2020",
        fewest=2,
        usual=50,
        standard=False,
    ),
    LabelAttack(
        name="transfer",
        summary="the loss of a surrogate trained on the target's answers; no query about the sample",
        signals=lambda domain, queries: (Transfer(),),
        calibration=Threshold(),
        needs="data of its own, which the target labels (overhead queries)",
        source="Li & Zhang 2021, section 4",
        uses=(Need.SURROGATE,),
        standard=False,
    ),
    LabelAttack(
        name="boundary-random",
        summary="the boundary distance, with a threshold from random inputs instead of a shadow model",
        signals=lambda domain, queries: (Boundary(queries=queries),),
        calibration=RandomThreshold(),
        needs="nothing (the random inputs' queries are overhead)",
        source="Li & Zhang 2021, section 5",
        fewest=MINIMUM_QUERIES,
        usual=2500,
        grows=True,
        data="continuous",
        standard=False,
    ),
    LabelAttack(
        name="boundary-geoda",
        summary="the boundary distance for fewer queries, by GeoDA: most of all on images",
        signals=lambda domain, queries: (Boundary(queries=queries, search="geoda"),),
        calibration=Threshold(),
        needs=_THRESHOLD,
        source="Rahmati et al. 2020, as a distance for membership ours",
        fewest=MINIMUM_QUERIES,
        usual=500,
        grows=True,
        data="continuous",
        standard=False,
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
    _calibrated(
        "lira",
        LikelihoodRatio(),
        "likelihood ratio of the confidence, on the scale that own models choose",
        "Carlini et al. 2022",
        standard=True,
    ),
    _calibrated(
        "lira-published",
        LikelihoodRatio(variance="authors"),
        "the same with the variance of the authors' code for few models",
        "Carlini et al. 2022, published code",
        scaled=False,
    ),
    _calibrated(
        "lira-offline", LikelihoodRatio(online=False), "the same, from models without the sample", "Carlini et al. 2022"
    ),
    _calibrated("lira-shrunken", ShrunkenRatio(), "the ratio shrunken to neighbours of similar difficulty", _RATIO),
    _calibrated(
        "lira-bavaria", BaVarIA(), "the ratio of Student's t with one prior for all samples", "arXiv:2603.11799"
    ),
    _calibrated("lira-learned", LearnedRatio(), "the ratio learned by trees from references that play target", _RATIO),
    _calibrated(
        "rmia",
        RMIA(logits=True),
        "how often the confidence rises more than that of other samples",
        "Zarifzadeh et al. 2024",
        standard=True,
    ),
    _calibrated(
        "rmia-offline",
        RMIA(online=False, logits=True),
        "the same, from models without the sample",
        "Zarifzadeh et al. 2024",
    ),
)

TABLE: Registry[Attack] = Registry(
    "hardlabel.attacks", {row.name: row for row in _ROWS}, type=(LabelAttack, ScoreAttack)
)
"""Every attack by its name, those of installed packages too."""


def with_networks_per_class(attack: Attack) -> Attack:
    """The attack with one attack network per class instead of one for all; any other `attack` as it is.

    Example:
        >>> from hardlabel.attacks import TABLE, with_networks_per_class
        >>> with_networks_per_class(TABLE["shadow-network"]).calibration.per_class
        True
        >>> with_networks_per_class(TABLE["gap"]) == TABLE["gap"]
        True
    """
    if not isinstance(attack.calibration, AttackNetwork):
        return attack
    return replace(attack, calibration=replace(attack.calibration, per_class=True))


def chosen(
    asked: Sequence[str | Attack] | None, domain: Domain, budget: int | None
) -> tuple[list[Attack], dict[str, str]]:
    """The attacks to run, and the ones left out with the reason.

    An attack asked for must be possible; of the whole table, attacks that are not possible are left out.

    Args:
        asked: Names in TABLE, or attacks of your own; None for the whole table.
        domain: Of the samples attacked.
        budget: Most queries per sample, 1 or more; None for no limit.

    Raises:
        InvalidInput: An attack asked for is unknown, does not suit the domain, or needs more than `budget`.

    Example:
        >>> from hardlabel import Box
        >>> from hardlabel.attacks import chosen
        >>> attacks, left_out = chosen(["gap", "noise"], Box((2,)), 10)
        >>> [attack.name for attack in attacks], left_out
        (['gap', 'noise'], {})
        >>> chosen(None, Box((2,)), 10)[1]["boundary"]
        'needs at least 25 queries per sample, the budget is 10'
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
        reason = row.unplayable(domain=domain, budget=budget)
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
    row.allowed(budget)
    if reason := row.unplayable(domain=domain):
        raise InvalidInput(f"attack {row.name!r} {reason}")
    return row

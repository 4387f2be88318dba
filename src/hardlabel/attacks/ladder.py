"""The ladder: which label-only attack is the strongest for a number of queries and for what the attacker has.

The order was measured on other targets (studies/RANKING.md, RESULTS.md and SURROGATES.md there) and never looks at the
model under audit: its own membership decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hardlabel import checks
from hardlabel.attacks.base import Need
from hardlabel.attacks.table import TABLE
from hardlabel.data.domain import Domain

USUAL = 10  # Queries per sample where nobody sets a budget.


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A label-only attack, and why it is the one to take.

    Attributes:
        attack: Its name.
        queries: Most queries per sample it will ask.
        why: In words, with what was measured.
        weak: Why finding nothing with it would say little: it was measured to be no better than the gap attack, or was
            never measured to be better. Empty for an attack that says enough.

    Example:
        >>> from hardlabel import Box
        >>> from hardlabel.attacks.ladder import best
        >>> best(Box((8,)), 10, {})
        Rung(attack='path', queries=10, why="asks where paths ...", weak='')
    """

    attack: str
    queries: int
    why: str
    weak: str = ""


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An attack of an order, and where it is taken.

    Attributes:
        attack: Its name.
        images: Fewest queries from which it is taken on images; None for never.
        tables: The same for mixed tables.
        elsewhere: The same for all other data.
        why: In words, with what was measured.
        measured_with: What else the attacker had where the attack was measured.
    """

    attack: str
    images: int | None
    tables: int | None
    elsewhere: int | None
    why: str
    measured_with: tuple[Need, ...] = ()


# Each order runs from strong to weak. The first one is of own models that are trained as the target was, or of none.
_ALIKE = (
    _Step(
        attack="designed",
        images=None,
        tables=1,
        elsewhere=None,
        why="asks about the neighbours of the record whose answers tell most, by models trained with and without it: "
        "on tables it was measured to beat path on forests, and calibrated gap on trees",
        measured_with=(Need.SURROGATE,),
    ),
    _Step(
        attack="path",
        images=1,
        tables=None,  # On boosted trees it was measured to be worse than calibrated gap.
        elsewhere=1,
        why="asks where paths made on the attacker's own networks leave the class, then copies if queries are left",
    ),
    _Step(
        attack="noise-ratio",
        images=10,
        tables=10,
        elsewhere=10,
        why="how much noise the label survives, against models trained with and without the record",
    ),
    _Step(
        attack="gap-ratio",
        images=1,
        tables=1,
        elsewhere=1,
        why="whether the label is right, against models trained with and without the record",
    ),
    _Step(
        attack="boundary",
        images=2500,
        tables=2500,
        elsewhere=2500,
        why="no reference models: at so many queries the distance to the boundary tells most",
    ),
    _Step(
        attack="augmentation",
        images=9,
        tables=9,
        elsewhere=9,
        why="no reference models: which shifted and rotated copies keep the label tells most per query",
    ),
    _Step(
        attack="noise",
        images=2,
        tables=2,
        elsewhere=2,
        why="no reference models: how much noise the label survives tells most per query",
    ),
    _Step(
        attack="gap",
        images=1,
        tables=1,
        elsewhere=1,
        why="one query and no model of the attacker's: only whether the label is right",
    ),
)
_NOISE_RATIO, _GAP_RATIO = _ALIKE[2:4]
# Of surrogates (studies/SURROGATES.md). Where references cannot be had, the order above goes on.
_SURROGATES = (
    _Step(
        attack="path",
        images=1,
        tables=None,
        elsewhere=None,
        why="asks where paths made on the attacker's own networks leave the class: on images, with surrogates, it was "
        "measured to beat calibrated noise and gap",
    ),
    replace(
        _NOISE_RATIO,
        images=5,
        why=f"{_NOISE_RATIO.why}: with surrogates it was measured to beat gap, on tables as surely as calibrated gap "
        "does",
    ),
    replace(_GAP_RATIO, why=f"{_GAP_RATIO.why}: with surrogates it was measured to beat gap on tables"),
    *_ALIKE[4:],
)


def best(domain: Domain, budget: int, missing: Mapping[Need, str]) -> Rung:
    """The strongest label-only attack within `budget` queries per sample.

    Args:
        domain: Of the samples asked about.
        budget: Most queries per sample, 1 or more.
        missing: What the attacker does not have, with the reason. `Need.ALIKE` says that its own models are surrogates,
            trained in another way than the target: then the order is the one that was measured for surrogates.

    Raises:
        InvalidInput: The budget is below 1.

    Example:
        >>> from hardlabel import Box
        >>> from hardlabel.attacks import Need
        >>> from hardlabel.attacks.ladder import best
        >>> best(Box((8,)), 10, {Need.REFERENCES: "no trainer was given"}).attack
        'noise'
    """
    checks.at_least(1, budget=budget)
    passed: list[str] = []
    for step in _SURROGATES if Need.ALIKE in missing else _ALIKE:
        name, row = step.attack, TABLE[step.attack]
        fewest = {"image": step.images, "mixed table": step.tables}.get(domain.kind, step.elsewhere)
        if fewest is None:
            continue
        reason = row.unplayable(domain=domain, missing=missing)
        reason = reason or next((missing[need] for need in step.measured_with if need in missing), None)
        if reason is None and budget < max(fewest, row.fewest):
            reason = f"needs {max(fewest, row.fewest)} queries"
        if reason is None:
            told = f"; {passed[0]}" if passed else ""
            return Rung(attack=name, queries=row.allowed(budget), why=step.why + told, weak=_weak(name, missing))
        passed.append(f"{name} would be stronger but {reason}")
    raise AssertionError("the gap attack suits every domain and budget")


def _weak(name: str, missing: Mapping[Need, str]) -> str:
    """Why finding nothing with this attack would say little; "" if it says enough."""
    if name in ("gap", "gap-ratio"):
        return "it only asks whether the label is right, so it sees nothing of a model that is right on all records"
    if name == "noise" and Need.SHADOW in missing:
        return "without a shadow model its noise level is a guess, and so it was measured to be no better than gap"
    return ""

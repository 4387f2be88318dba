"""The ladder: which label-only attack is the strongest for a number of queries and for what the attacker has.

The order was measured on other targets (`make study`, studies/RESULTS.md) and never looks at the model under audit: its
own membership decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
    """

    attack: str
    queries: int
    why: str
    weak: str = ""


# From strong to weak: the attack, the fewest queries from which it is taken on images and elsewhere, and why.
_ORDER: tuple[tuple[str, int, int, str], ...] = (
    (
        "path",
        1,
        1,
        "asks where paths made on the attacker's own networks leave the class, then copies if queries are left",
    ),
    ("boundary", 2500, 2500, "no reference models: at so many queries the distance to the boundary tells most"),
    ("augmentation", 9, 9, "no reference models: which shifted and rotated copies keep the label tells most per query"),
    ("noise", 2, 2, "no reference models: how much noise the label survives tells most per query"),
    ("gap", 1, 1, "one query and no model of the attacker's: only whether the label is right"),
)


def best(domain: Domain, budget: int, missing: Mapping[Need, str]) -> Rung:
    """The strongest label-only attack within `budget` queries per sample.

    Args:
        domain: Of the samples asked about.
        budget: Most queries per sample, 1 or more.
        missing: What the attacker does not have, with the reason.

    Raises:
        InvalidInput: The budget is below 1.
    """
    checks.at_least(1, budget=budget)
    passed: list[str] = []
    for name, on_images, elsewhere, why in _ORDER:
        row, fewest = TABLE[name], on_images if domain.kind == "image" else elsewhere
        reason = row.unplayable(domain=domain, missing=missing)
        if reason is None and budget < max(fewest, row.fewest):
            reason = f"needs {max(fewest, row.fewest)} queries"
        if reason is None:
            told = f"; {passed[0]}" if passed else ""
            return Rung(attack=name, queries=row.allowed(budget), why=why + told, weak=_weak(name, missing))
        passed.append(f"{name} would be stronger but {reason}")
    raise AssertionError("the gap attack suits every domain and budget")


def _weak(name: str, missing: Mapping[Need, str]) -> str:
    """Why finding nothing with this attack would say little; "" if it says enough."""
    if name == "gap":
        return "it only asks whether the label is right, so it sees nothing of a model that is right on all records"
    if name == "noise" and Need.SHADOW in missing:
        return "without a shadow model its noise level is a guess, and so it was measured to be no better than gap"
    return ""

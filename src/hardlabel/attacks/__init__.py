"""The attacks: what a row of the table is, the table, and the ladder that picks the best one for a budget."""

from hardlabel.attacks.base import Attack, LabelAttack, Need, ScoreAttack
from hardlabel.attacks.ladder import Rung
from hardlabel.attacks.shortfalls import family_of, shortfall
from hardlabel.attacks.table import TABLE, chosen, with_networks_per_class

__all__ = [
    "TABLE",
    "Attack",
    "LabelAttack",
    "Need",
    "Rung",
    "ScoreAttack",
    "chosen",
    "family_of",
    "shortfall",
    "with_networks_per_class",
]

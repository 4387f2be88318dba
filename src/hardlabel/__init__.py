"""Label-only membership inference: does a classifier leak who was in its training data?

    split -> target + shadow models -> oracle -> signal -> calibration -> scores -> metrics -> record -> report

`audit` runs the line from the oracle to the record for a model you have, `audit_recipe` audits a way of training on
several models; `hardlabel audit` on the command line runs all of it. An attack is a signal and a calibration:
`hardlabel.attacks.TABLE` lists them, `hardlabel.attacks.ladder.best` names the strongest for a budget.
"""

from hardlabel.allocator import keep_memory
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.executors import Local, Ray
from hardlabel.experiments.audit import audit
from hardlabel.experiments.canaries import Planted, audit_canaries, audit_planted, plant
from hardlabel.experiments.canary_record import CanaryRecord
from hardlabel.experiments.defend import defend
from hardlabel.experiments.defend_record import DefendRecord
from hardlabel.experiments.recipe import audit_recipe
from hardlabel.experiments.recipe_record import RecipeRecord
from hardlabel.experiments.record import AuditRecord, load
from hardlabel.experiments.work import Work
from hardlabel.models.train import Recipe
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.reports.html import write_report
from hardlabel.store import Store

__version__ = "0.1.0"

__all__ = [
    "AuditRecord",
    "BinaryFeatures",
    "Box",
    "CanaryRecord",
    "Categorical",
    "DefendRecord",
    "InvalidInput",
    "LabelOracle",
    "Local",
    "MixedTable",
    "Numeric",
    "Planted",
    "Ray",
    "Recipe",
    "RecipeRecord",
    "Samples",
    "ScoreOracle",
    "Store",
    "Work",
    "audit",
    "audit_canaries",
    "audit_planted",
    "audit_recipe",
    "defend",
    "keep_memory",
    "load",
    "plant",
    "write_report",
]

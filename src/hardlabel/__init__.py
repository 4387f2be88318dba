"""Label-only membership inference: does a classifier leak who was in its training data?

    split -> target + shadow models -> oracle -> signal -> calibration -> scores -> metrics -> record -> report

`audit` runs the steps from the oracle to the record for a model that you have. `audit_recipe` audits a way of training
on several models. `hardlabel audit` on the command line runs all steps. An attack is a signal and a calibration:
`hardlabel.attacks.TABLE` lists the attacks, and `hardlabel.attacks.ladder.best` names the strongest for a budget.

Names are imported when they are first used: `import hardlabel` loads neither PyTorch nor scikit-learn.
"""

import importlib
import warnings
from typing import TYPE_CHECKING, Any

from hardlabel.records.drawing import drawn_by as _drawn_by

if TYPE_CHECKING:
    from hardlabel.allocator import keep_memory
    from hardlabel.audits.canaries import audit_canaries, audit_planted
    from hardlabel.audits.cases.canaries import Planted, plant
    from hardlabel.audits.defenses import defend
    from hardlabel.audits.game.execution import Execution
    from hardlabel.audits.recipe import audit_recipe
    from hardlabel.audits.target import audit
    from hardlabel.checks import InvalidInput
    from hardlabel.data.columns import Categorical, Numeric
    from hardlabel.data.domain import BinaryFeatures, Box
    from hardlabel.data.samples import Samples
    from hardlabel.data.series import Series
    from hardlabel.data.table import MixedTable
    from hardlabel.data.tokens import Tokens
    from hardlabel.executors import Local, Ray
    from hardlabel.handover.tracking import to_mlflow
    from hardlabel.kinds import load, write_report
    from hardlabel.models.train import Recipe
    from hardlabel.oracles.base import LabelOracle, ScoreOracle
    from hardlabel.records.canaries import CanaryRecord
    from hardlabel.records.change_gate import changes_gate
    from hardlabel.records.changes import Comparison
    from hardlabel.records.compared import compare
    from hardlabel.records.defenses import DefendRecord
    from hardlabel.records.gate import GateResult, gate
    from hardlabel.records.model import AuditRecord
    from hardlabel.records.recipe import RecipeRecord
    from hardlabel.runs.progress import SILENT
    from hardlabel.runs.settings import Attacker, Focus
    from hardlabel.store import Store
    from hardlabel.targets.files import load_target

__version__ = "0.2.0"

__all__ = [
    "SILENT",
    "Attacker",
    "AuditRecord",
    "BinaryFeatures",
    "Box",
    "CanaryRecord",
    "Categorical",
    "Comparison",
    "DefendRecord",
    "Execution",
    "Focus",
    "GateResult",
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
    "Series",
    "Store",
    "Tokens",
    "audit",
    "audit_canaries",
    "audit_planted",
    "audit_recipe",
    "changes_gate",
    "compare",
    "defend",
    "gate",
    "keep_memory",
    "load",
    "load_target",
    "plant",
    "to_mlflow",
    "write_report",
]

_HOMES = {
    "hardlabel.allocator": ("keep_memory",),
    "hardlabel.audits.canaries": ("audit_canaries", "audit_planted"),
    "hardlabel.audits.cases.canaries": ("Planted", "plant"),
    "hardlabel.audits.defenses": ("defend",),
    "hardlabel.audits.game.execution": ("Execution",),
    "hardlabel.audits.recipe": ("audit_recipe",),
    "hardlabel.audits.target": ("audit",),
    "hardlabel.checks": ("InvalidInput",),
    "hardlabel.data.columns": ("Categorical", "Numeric"),
    "hardlabel.data.domain": ("BinaryFeatures", "Box"),
    "hardlabel.data.samples": ("Samples",),
    "hardlabel.data.series": ("Series",),
    "hardlabel.data.table": ("MixedTable",),
    "hardlabel.data.tokens": ("Tokens",),
    "hardlabel.executors": ("Local", "Ray"),
    "hardlabel.handover.tracking": ("to_mlflow",),
    "hardlabel.kinds": ("load", "write_report"),
    "hardlabel.models.train": ("Recipe",),
    "hardlabel.oracles.base": ("LabelOracle", "ScoreOracle"),
    "hardlabel.records.canaries": ("CanaryRecord",),
    "hardlabel.records.change_gate": ("changes_gate",),
    "hardlabel.records.changes": ("Comparison",),
    "hardlabel.records.compared": ("compare",),
    "hardlabel.records.defenses": ("DefendRecord",),
    "hardlabel.records.gate": ("GateResult", "gate"),
    "hardlabel.records.model": ("AuditRecord",),
    "hardlabel.records.recipe": ("RecipeRecord",),
    "hardlabel.runs.progress": ("SILENT",),
    "hardlabel.runs.settings": ("Attacker", "Focus"),
    "hardlabel.store": ("Store",),
    "hardlabel.targets.files": ("load_target",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_OLD = {"Work": "Execution"}


_drawn_by("hardlabel.reports.plots:draw")


def __getattr__(name: str) -> Any:
    if name in _OLD:
        told = f"hardlabel.{name} is now hardlabel.{_OLD[name]}; the old name goes in 0.3"
        warnings.warn(told, DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(_HOME[_OLD[name]]), _OLD[name])
    if name not in _HOME:
        raise AttributeError(f"module 'hardlabel' has no attribute {name!r}")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

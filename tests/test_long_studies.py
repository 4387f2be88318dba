"""The study of leakage per query, at a small scale: every step runs, and what cannot leak does not."""

import sys
from pathlib import Path

import pytest

from hardlabel.runs.settings import RecipeSettings

pytestmark = pytest.mark.long

FOLDER = Path(__file__).resolve().parents[1] / "studies"
CONFIG = RecipeSettings(data="digits", arch="fc", train_size=120, references=6, max_epochs=60, device="cpu")
SMALL = {
    "name": "digits",
    "title": "digits",
    "config": CONFIG,
    "targets": 4,
    "attacked": 160,
    "claims": (("path", 5, 0.1),),
    "attacks": (("gap", None), ("path", 5), ("path-offline", 9), ("lira", None)),
    "field": (("noise", 20, 60),),
    "counts": (2, 4),
    "others": {"another architecture": CONFIG.model_copy(update={"arch": "fc-2"})},
}


@pytest.fixture
def study(monkeypatch, tmp_path):
    """The study's module, as its own scripts import it; gone afterwards, for its modules' names are common ones."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path))
    before = set(sys.modules)
    yield __import__("win_per_query")
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(FOLDER)):
            del sys.modules[name]


def test_every_step_of_the_study_runs_and_the_null_test_holds(study):
    setting = sys.modules["settings"].Setting(**SMALL)
    made = study.Study(setting, "cpu")
    found = {}
    for step, make, given in study.cells(setting):
        found.setdefault(step, []).append(make(made, *given))
    assert set(found) == {"attacks", "counts", "null", "field", "mismatched"}
    aucs = {cell["attack"]: cell["auc"][0] for cell in found["attacks"]}
    assert aucs["gap"] < max(auc for name, auc in aucs.items() if name.startswith("path"))
    # Four attacks at most on two targets: a z beyond 4 comes by chance in one of 2,000 runs.
    assert all(abs(z) < 4 for cell in found["null"] for z in cell["z"])

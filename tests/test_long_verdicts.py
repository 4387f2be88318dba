"""False alarms of the verdict, over hundreds of small audits; docs/metrics.md has the figures."""

import math
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

FOLDER = Path(__file__).resolve().parents[1] / "studies"


@pytest.fixture
def study(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path))
    yield __import__("verdicts")
    del sys.modules["verdicts"]


def test_targets_that_leak_nothing_are_graded_above_none_found_in_at_most_5_percent_of_audits(study):
    count = 300
    results = study.many(study.null_audit, count)
    assert study.false_grades(results) <= 0.05 * count + 2 * math.sqrt(0.05 * 0.95 * count)
    assert study.false_alarms(results) <= 2


def test_healthy_targets_get_a_verdict(study):
    results = study.many(study.healthy_audit, 200)
    assert study.false_alarms(results) <= 2
    # Half of them have no gap, the others leak: the verdict tells them apart.
    assert sum(grade == "none found" for grade, _, _ in results) >= 80
    assert sum(grade in ("clear", "severe") for grade, _, _ in results) >= 40

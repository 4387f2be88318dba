"""Comparisons of defenses are runs: broken off they go on, told of before they start, and the same wherever made."""

import json
import re

import pytest

from commands import called
from hardlabel.audits.game.execution import Execution
from hardlabel.kinds import KINDS, run
from hardlabel.records.defenses import DefendRecord
from hardlabel.runs import listing as runs
from hardlabel.runs.journal import MADE, Journal, JournaledStore
from hardlabel.runs.listing import BROKEN_OFF, FINISHED
from hardlabel.runs.settings import DefensesSettings
from hardlabel.store import Store

SMALL = {"train_size": 60, "samples": 40, "references": 2, "max_epochs": 5, "device": "cpu"}
SMALL["attacks"] = ["gap", "noise", "lira"]
# A training that changes, a guard with a network of its own, and a training that starts from a kept network.
WANTED = {
    "repeats": 2,
    "defenses": ["l2", "memguard", "transfer"],
    "levels": {"l2": [0.01], "memguard": [1.0], "transfer": [0.5]},
}
OPTIONS = ["--train-size", "60", "--samples", "40", "--references", "2", "--max-epochs", "5", "--device", "cpu"]
OPTIONS += ["--attacks", "gap,noise,lira", "--repeats", "2", "--defenses", "l2,memguard,transfer"]
OPTIONS += ["--levels", "l2=0.01", "--levels", "memguard=1", "--levels", "transfer=0.5"]


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


def compared(folder, **work):
    settings = DefensesSettings(**SMALL, **WANTED, out=folder / "run")
    return run(settings, store=Store(folder / "store"), execution=Execution(**work))


def content(record):
    """A record without what a clock or a place says."""
    results = json.loads(re.sub(r'"(\w*seconds)":[^,}]+', r'"\1":0', record.results.model_dump_json()))
    del results["environment"]
    return results


def lines(folder):
    return [line for line in Journal(folder / "journal.jsonl").lines() if line["event"] == MADE]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The record of a comparison that nothing disturbed."""
    return compared(tmp_path_factory.mktemp("whole"))


def test_a_comparison_broken_off_again_and_again_is_resumed_to_the_same_results(tmp_path, monkeypatch, capsys, whole):
    """Ctrl-C before every fourteenth piece is written: no piece is made twice, and the end is the same."""
    out, real, saved = tmp_path / "run", JournaledStore.save, []

    def save(self, spec, payload):
        saved.append(spec)
        if len(saved) % 14 == 0:
            raise KeyboardInterrupt
        real(self, spec, payload)

    monkeypatch.setattr(JournaledStore, "save", save)
    code, _, told = called("defend", *OPTIONS, "--quiet", "--out", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, "goes on from there" in told) == (1, True)
    records = [kind.file for kind in KINDS.rows.values()]
    [listed] = runs.listed(Store(tmp_path / "store"), records=records)
    assert (listed.state, listed.data) == (BROKEN_OFF, "digits")
    breaks = 1
    while called("resume", "run", "--quiet", monkeypatch=monkeypatch, capsys=capsys)[0] == 1:
        breaks += 1
    assert breaks >= 3
    assert content(DefendRecord.load(out)) == content(whole)
    names = [line["piece"] for line in lines(out)]
    assert len(names) == len(set(names)) == len(list((tmp_path / "store").glob("*.piece")))
    assert {line["kind"] for line in lines(out)} >= {"model", "measurement", "score"}
    [listed] = runs.listed(Store(tmp_path / "store"), records=records)
    assert listed.state == FINISHED


def test_a_comparison_tells_its_plan_which_bounds_what_is_then_done(tmp_path, monkeypatch, capsys, whole):
    code, told, _ = called("defend", *OPTIONS, "--dry-run", "--out", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert not (tmp_path / "run").exists()
    assert list((tmp_path / "store").glob("*.piece")) == []
    trainings, measurements, scores = (
        int(re.search(rf"(\d+) {word}", told)[1]) for word in ("trainings", "measurements", "scores")
    )
    # Four models and a shadow model, plain and by two defenses that train; nothing here looks at crafters.
    assert trainings == 3 * (4 + 1)
    assert scores == 2 * (3 + 2 * 3 + 2 * 1 + 2 * 3)
    made = lines(whole.folder)
    kinds = [line["kind"] for line in made]
    # Beside those, memguard has a network for each model it guards, and transfer learning one to start from.
    assert trainings <= kinds.count("model") <= trainings + (4 + 1) + 1
    assert 0 < kinds.count("measurement") <= measurements
    assert 0 < kinds.count("score") <= scores
    most = int(re.search(r"most ([\d,]+) queries", told)[1].replace(",", ""))
    asked = {one.name: {attack.name: attack.queries.mean for attack in one.attacks} for one in whole.results.defenses}
    assert sum(sum(each.values()) for each in asked.values()) * 80 * 2 <= most
    monkeypatch.undo()

"""The gate: what it says follows from the ends of intervals, and at the limit it says nothing but by bad luck."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import hardlabel
import hardlabel.randomness
from commands import called
from hardlabel.attacks import TABLE
from hardlabel.audits.findings import figures
from hardlabel.audits.game.game import Played
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.tied import tpr_bounds
from hardlabel.records.exposure import ChosenFew, Few, WorstCase
from hardlabel.records.gate import Outcome
from hardlabel.records.verdict import Grade
from hardlabel.runs import conditions
from hardlabel.runs.conditions import Condition, GradeCondition, parse
from hardlabel.signals.base import Measurement
from records import changed, choice, make_canary_record, make_defend_record, make_recipe_record, make_record

STUDIES = Path(__file__).resolve().parents[1] / "studies"
PASSED, TRIPPED, UNDECIDED = Outcome.PASSED, Outcome.TRIPPED, Outcome.UNDECIDED
NARROW = Estimate(0.5, 0.49, 0.51)


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    yield __import__("gate_power")
    del sys.modules["gate_power"]


def record_of(**aucs):
    """A record whose attacks have these AUCs, "path" the ranking's; nothing else earns a grade.

    Names that begin with "scores" are of attacks that see confidences.
    """
    record = make_record()
    first = record.results.attacks[0].model_copy(update={"tpr_at_fpr": {}, "access": "label"})
    attacks = [
        first.model_copy(
            update={"name": name, "auc": auc, "access": "scores" if name.startswith("scores") else "label"}
        )
        for name, auc in aucs.items()
    ]
    return changed(record, attacks=attacks, choice=choice("path"), members=1000, nonmembers=1000)


def outcome(record, *texts):
    return hardlabel.gate(record, list(texts)).outcome


# What is written


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("label.auc > 0.60", ("label", "auc", "", True, True, 0.6)),
        ("  path.tpr@1% >= 5% ", ("path", "tpr", "0.01", True, False, 0.05)),
        ("worst.precision>.8", ("worst", "precision", "", True, True, 0.8)),
        ("target.test_accuracy < 0.8", ("target", "test_accuracy", "", False, True, 0.8)),
        ("l2=0.01.path.auc <= 6e-1", ("l2=0.01.path", "auc", "", False, False, 0.6)),
        ("label.advantage > -0.1", ("label", "advantage", "", True, True, -0.1)),
        ("epsilon > 2", ("label", "epsilon", "", True, True, 2.0)),
        ("a > b.c.auc > 0.5", ("a > b.c", "auc", "", True, True, 0.5)),
    ],
)
def test_a_condition_is_read_as_it_is_written(text, parsed):
    condition = parse(text)
    assert isinstance(condition, Condition)
    assert condition.text == text.strip()
    assert (condition.subject, condition.metric, condition.rate, condition.above, condition.strict) == parsed[:-1]
    assert condition.limit == pytest.approx(parsed[-1])


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("grade >= clear", "clear"),
        ("grade>slight", "clear"),
        ("grade > clear", "severe"),
        ("grade >= slight", "slight"),
    ],
)
def test_a_condition_on_the_grade_is_read_as_the_lowest_grade_that_fails(text, level):
    condition = parse(text)
    assert isinstance(condition, GradeCondition)
    assert condition.level == level


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be SUBJECT.METRIC"),
        ("label.auc", "must be SUBJECT.METRIC"),
        ("label.auc > high", "must be SUBJECT.METRIC"),
        ("label.auc > nan", "must be SUBJECT.METRIC"),
        ("label.auc > 0.6; import os", "must be SUBJECT.METRIC"),
        ("label.auc == 0.6", "must be SUBJECT.METRIC"),
        ("label.acc > 0.6", "did you mean 'auc'"),
        ("auc > 0.6", "must say whose auc"),
        ("label.auc > 1", "strictly between 0 and 1"),
        ("label.auc > 60", "strictly between 0 and 1"),
        ("label.advantage > 1", "strictly between -1 and 1"),
        ("epsilon > -1", "must be 0 or more"),
        ("label.tpr > 0.1", "must name its false-positive rate"),
        ("label.tpr@0.05 > 0.1", "must name its false-positive rate"),
        ("label.auc@0.1 > 0.6", "after tpr only"),
        ("grade > 0.5", "must be compared with slight, clear, severe"),
        ("grade >= none", "must be compared with slight, clear, severe"),
        ("grade < clear", "by >= or >"),
        ("grade > severe", "no grade is above"),
        (3, "must be a list of conditions"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(text, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("model", "pth.auc > 0.6", "did you mean 'path'"),
        ("model", "label.epsilon > 1", "known are advantage, auc"),
        ("model", "worst.auc > 0.6", "known are precision, recall"),
        ("target", "target.auc > 0.6", "known are test_accuracy, train_accuracy"),
        ("recipe", "label.precision > 0.6", "known are auc, tpr"),
        ("recipe", "target.test_accuracy > 0.6", "known are .*worst"),
        ("defenses", "grade >= clear", "needs a verdict"),
        ("defenses", "label.auc > 0.6", "must be DEFENSE or DEFENSE.ATTACK"),
        ("defenses", "none.tpr@0.1 > 0.6", "must name tpr@0.01"),
        ("defenses", "none.pth.auc > 0.6", "did you mean 'path'"),
        ("defenses", "none.path.test_accuracy < 0.6", "known are auc, tpr"),
        ("canaries", "label.auc > 0.6", "known are epsilon"),
        ("canaries", "path.epsilon > 0.6", "known are label, scores"),
    ],
)
def test_what_a_kind_of_run_can_never_decide_is_refused(kind, text, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        conditions.check([parse(text)], kind=kind)
    assert "\n" not in str(caught.value)


def test_every_kind_has_conditions_that_it_can_decide():
    shared = ["label.auc > 0.6", "path.tpr@0.01 > 0.05", "scores.auc > 0.6", "worst.recall > 0.5", "grade >= clear"]
    model = ["label.balanced_accuracy > 0.6", "gap.precision > 0.6", "target.test_accuracy < 0.6"]
    own = {
        "model": shared + model,
        "target": shared + model,
        "recipe": shared,
        "defenses": ["none.auc > 0.6", "l2=0.01.path.auc > 0.6", "l2=0.01.tpr@0.01 > 0.1", "none.test_accuracy < 0.6"],
        "canaries": ["epsilon > 1", "scores.epsilon > 3", "grade >= severe"],
    }
    for kind, texts in own.items():
        conditions.check([parse(text) for text in texts], kind=kind)


# What is decided


@pytest.mark.parametrize(
    ("low", "high", "text", "expected"),
    [
        (0.61, 0.69, "label.auc > 0.6", TRIPPED),
        (0.55, 0.59, "label.auc > 0.6", PASSED),
        (0.59, 0.61, "label.auc > 0.6", UNDECIDED),
        (0.60, 0.61, "label.auc > 0.6", UNDECIDED),  # 0.6 itself is allowed, and not excluded.
        (0.60, 0.61, "label.auc >= 0.6", TRIPPED),
        (0.55, 0.60, "label.auc > 0.6", PASSED),
        (0.55, 0.60, "label.auc >= 0.6", UNDECIDED),
        (0.55, 0.59, "label.auc < 0.6", TRIPPED),
        (0.55, 0.60, "label.auc < 0.6", UNDECIDED),
        (0.55, 0.60, "label.auc <= 0.6", TRIPPED),
        (0.61, 0.69, "label.auc < 0.6", PASSED),
        (0.60, 0.69, "label.auc < 0.6", PASSED),
        (0.60, 0.69, "label.auc <= 0.6", UNDECIDED),
    ],
)
def test_the_ends_of_the_interval_decide(low, high, text, expected):
    record = record_of(path=Estimate((low + high) / 2, low, high))
    assert outcome(record, text) is expected
    assert outcome(record, text.replace("label", "path")) is expected  # It is the attack that the ranking names.


def test_a_gate_trips_if_a_condition_does_and_passes_only_if_all_do():
    record = record_of(path=Estimate(0.65, 0.62, 0.68))
    texts = {TRIPPED: "label.auc > 0.6", PASSED: "label.auc > 0.7", UNDECIDED: "label.auc > 0.65"}
    result = hardlabel.gate(record, [texts[UNDECIDED], texts[TRIPPED], texts[PASSED]])
    assert [decision.outcome for decision in result.conditions] == [UNDECIDED, TRIPPED, PASSED]
    assert result.outcome is TRIPPED
    assert outcome(record, texts[PASSED], texts[UNDECIDED]) is UNDECIDED
    assert outcome(record, texts[PASSED]) is PASSED
    assert [decision.condition for decision in result.conditions] == [texts[UNDECIDED], texts[TRIPPED], texts[PASSED]]
    assert result.conditions[0].figure == "0.650 [0.620, 0.680]"


def test_other_attacks_than_the_rankings_count_after_correction():
    just = Estimate(0.65, 0.605, 0.69)  # Alone it is above 0.6; p is a little below 2.5 %.
    record = record_of(path=NARROW, gap=just, noise=just)
    assert outcome(record, "gap.auc > 0.6") is TRIPPED
    assert outcome(record, "gap.auc > 0.6", "noise.auc > 0.6") is UNDECIDED
    assert "corrected" in hardlabel.gate(record, ["gap.auc > 0.6", "noise.auc > 0.6"]).conditions[0].reason
    # The ranking's attack pays for none of them, and no other pays for it.
    ranked = record_of(path=just, gap=just)
    assert [each.outcome for each in hardlabel.gate(ranked, ["label.auc > 0.6", "gap.auc > 0.6"]).conditions] == [
        TRIPPED,
        TRIPPED,
    ]


def test_the_strongest_attack_that_sees_confidences_pays_for_the_choice():
    just, low = Estimate(0.65, 0.605, 0.69), Estimate(0.55, 0.52, 0.58)
    assert outcome(record_of(path=NARROW, scores=just), "scores.auc > 0.6") is TRIPPED
    assert outcome(record_of(path=NARROW, scores=just, scores2=low), "scores.auc > 0.6") is UNDECIDED
    sure = Estimate(0.7, 0.65, 0.75)
    assert outcome(record_of(path=NARROW, scores=sure, scores2=low), "scores.auc > 0.6") is TRIPPED
    assert outcome(record_of(path=NARROW, scores=low, scores2=low), "scores.auc > 0.6") is PASSED
    assert outcome(record_of(path=NARROW, scores=low, scores2=Estimate.undefined("few")), "scores.auc > 0.6") is (
        UNDECIDED
    )
    assert outcome(record_of(path=NARROW), "scores.auc > 0.6") is UNDECIDED
    # From above all must be below; from below any suffices, after correction.
    assert outcome(record_of(path=NARROW, scores=low, scores2=low), "scores.auc < 0.6") is TRIPPED
    assert outcome(record_of(path=NARROW, scores=low, scores2=sure), "scores.auc < 0.6") is PASSED
    assert outcome(record_of(path=NARROW, scores=low, scores2=just), "scores.auc < 0.6") is UNDECIDED


def test_a_figure_that_is_not_there_is_undecided_with_the_reason():
    record = make_record()
    result = hardlabel.gate(changed(record, choice=choice("boundary")), ["label.tpr@0.001 > 0.01", "path.auc > 0.6"])
    assert [decision.outcome for decision in result.conditions] == [UNDECIDED, UNDECIDED]
    assert "non-members" in result.conditions[0].reason
    assert "“path” was not run" in result.conditions[1].reason
    with pytest.raises(InvalidInput, match=r"'pth' is unknown: did you mean 'path'"):
        hardlabel.gate(record, ["pth.auc > 0.6"])
    for wrong in ("label.auc > 0.6", [], None):
        with pytest.raises(InvalidInput, match="conditions must be a list"):
            hardlabel.gate(record, wrong)
    with pytest.raises(InvalidInput, match="record must be a record"):
        hardlabel.gate({}, ["label.auc > 0.6"])


def test_without_a_verdict_nothing_is_decided():
    record = record_of(path=Estimate(0.9, 0.85, 0.95))
    blind = record.results.blind.model_copy(update={"auc": Estimate(0.9, 0.88, 0.92), "differs": True})
    record = changed(record, blind=blind)
    assert record.results.verdict.grade is Grade.NO_VERDICT
    texts = ["label.auc > 0.6", "label.auc > 0.99", "grade >= clear", "target.test_accuracy < 0.1"]
    for decision in hardlabel.gate(record, texts).conditions:
        assert decision.outcome is UNDECIDED
        assert "without any model" in decision.reason


def test_what_was_not_fully_tested_trips_but_does_not_pass():
    record = changed(record_of(gap=Estimate(0.55, 0.53, 0.57)), choice=choice("path"))
    assert record.results.verdict.grade is Grade.NOT_TESTED
    assert outcome(record, "gap.auc > 0.52") is TRIPPED
    assert outcome(record, "gap.auc > 0.60") is UNDECIDED
    assert outcome(record, "label.auc > 0.60") is UNDECIDED
    assert outcome(record, "grade >= clear") is UNDECIDED
    assert outcome(record, "target.test_accuracy < 0.1") is PASSED  # Accuracy is not what was left untested.


def test_the_grade_trips_where_it_is_proven_and_passes_where_the_ranks_attack_excludes_it():
    clear = record_of(path=Estimate(0.65, 0.62, 0.68))
    assert clear.results.verdict.grade is Grade.CLEAR
    assert outcome(clear, "grade >= clear") is TRIPPED
    assert outcome(clear, "grade >= slight") is TRIPPED
    assert outcome(clear, "grade > clear") is PASSED
    none = record_of(path=Estimate(0.5, 0.45, 0.55))
    assert none.results.verdict.grade is Grade.NONE
    assert outcome(none, "grade >= clear") is PASSED
    assert outcome(none, "grade >= slight") is UNDECIDED  # Nothing proves that nothing leaks.
    wide = record_of(path=Estimate(0.53, 0.45, 0.61))
    assert wide.results.verdict.grade is Grade.NONE
    assert outcome(wide, "grade >= clear") is UNDECIDED
    assert "0.610" in hardlabel.gate(wide, ["grade >= clear"]).conditions[0].reason
    tpr = changed(none, "path", tpr_at_fpr={"0.01": Estimate(0.02, 0.01, 0.031)})
    assert outcome(tpr, "grade >= clear") is UNDECIDED  # Clear begins at three times the false-positive rate.
    another = record_of(path=Estimate(0.5, 0.45, 0.55), gap=Estimate(0.55, 0.53, 0.57))
    assert (another.results.verdict.grade, another.results.verdict.at_least) == (Grade.SLIGHT, True)
    assert outcome(another, "grade >= clear") is UNDECIDED


def test_a_tpr_counts_with_bounds_that_hold_however_scores_tie():
    record = make_record(members=1000, nonmembers=1000)
    record = changed(record, choice=choice("boundary"))
    figure, scores = record.attack("boundary").tpr_at_fpr["0.01"], record.scores
    own = scores[scores["attack"] == "boundary"]
    low, high = tpr_bounds(own["score"].to_numpy(), own["member"].to_numpy(), 0.01)
    assert low < figure.low < figure.high < high  # The record's is a rough interval of a share.
    for condition, expected in (
        (f"label.tpr@0.01 > {(low + figure.low) / 2}", UNDECIDED),
        (f"label.tpr@0.01 > {low - 0.001}", TRIPPED),
        (f"label.tpr@0.01 > {(high + figure.high) / 2}", UNDECIDED),
        (f"label.tpr@0.01 > {high + 0.001}", PASSED),
    ):
        assert outcome(record, condition) is expected, condition
    recorded = replace(record, scores=scores.iloc[:0])  # Without scores there is the record's interval.
    assert outcome(recorded, f"label.tpr@0.01 > {(high + figure.high) / 2}") is PASSED


def few(attack, precision):
    value = precision.value or 0.0
    return Few(
        attack=attack,
        access="label",
        precision=precision,
        recall=precision,
        right=0,
        called=0,
        members=0,
        over_average=Estimate(value, -1, 1),
    )


def test_the_riskiest_records_are_those_of_any_rule_under_the_rankings_attack():
    def record(*precisions):
        selections = [
            ChosenFew(name=name, how="", points=10, attacks=[few("path", each), few("gap", NARROW)], pairs=[])
            for name, each in zip(("average", "neighbours", "out-loss"), precisions, strict=True)
        ]
        worst = WorstCase(
            share=0.1,
            of=100,
            targets=1,
            embedded="",
            statistic="",
            selections=selections,
            repeated=0,
            repeated_chosen=0,
        )
        return changed(record_of(path=NARROW, gap=NARROW), worst_case=worst)

    high, low, sure = Estimate(0.9, 0.805, 0.95), Estimate(0.5, 0.4, 0.6), Estimate(0.95, 0.87, 0.99)
    assert outcome(record(sure, low, low), "worst.precision > 0.8") is PASSED  # The average is no worst case.
    assert outcome(record(low, low, sure), "worst.precision > 0.8") is TRIPPED
    assert outcome(record(low, low, high), "worst.precision > 0.8") is UNDECIDED  # Not for two rules.
    assert outcome(record(low, low, Estimate.undefined("nobody")), "worst.precision > 0.8") is UNDECIDED
    without = hardlabel.gate(record_of(path=NARROW), ["worst.precision > 0.8"])
    assert without.outcome is UNDECIDED
    assert "worst_case" in without.conditions[0].reason


def test_recipes_defenses_and_canaries_have_gates():
    recipe = make_recipe_record()
    auc = recipe.attack("path-estimate").auc
    assert outcome(recipe, f"label.auc > {auc.low - 0.01:.3f}") is TRIPPED
    assert outcome(recipe, f"label.auc > {auc.value:.3f}") is UNDECIDED
    defended = make_defend_record()  # Of "path" 0.85 undefended, 0.62 and 0.8 by l2.
    assert outcome(defended, "none.auc > 0.8") is TRIPPED
    assert outcome(defended, "l2=0.02.auc > 0.65") is PASSED
    assert outcome(defended, "l2=0.02.path.auc > 0.65", "l2=0.001.auc > 0.9") is PASSED
    assert outcome(defended, "l2=0.001.shadow-network.auc > 0.7") is TRIPPED
    assert outcome(defended, "l2=0.02.test_accuracy < 0.61") is UNDECIDED
    assert outcome(defended, "l2=0.02.test_accuracy < 0.5", "l2=0.02.accuracy_change < -0.1") is PASSED
    strength = hardlabel.gate(defended, ["l2.auc > 0.65"])
    assert strength.outcome is UNDECIDED
    assert "l2=0.02, l2=0.001" in strength.conditions[0].reason
    proved = make_canary_record(epsilon=2.0, promise=None)
    assert outcome(proved, "epsilon > 1.5") is TRIPPED
    assert outcome(proved, "epsilon > 2.5") is UNDECIDED  # A bound from below excludes nothing.
    promised = make_canary_record(epsilon=2.0, promise=8.0)
    assert outcome(promised, "epsilon > 8") is PASSED
    assert outcome(promised, "epsilon >= 8") is UNDECIDED
    assert outcome(promised, "epsilon > 5") is UNDECIDED
    broken = make_canary_record(epsilon=2.0, promise=1.0)
    assert outcome(broken, "epsilon > 3") is UNDECIDED  # A promise that is broken excludes nothing.
    assert outcome(broken, "grade >= severe") is TRIPPED


# On the command line


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "undecided", "code"),
    [
        ("label.auc > 0.6", None, 3),
        ("label.auc > 0.7", None, 0),
        ("label.auc > 0.65", None, 4),
        ("label.auc > 0.65", "pass", 0),
        ("label.auc > 0.65", "fail", 3),
        ("label.auc > 0.6", "pass", 3),
        ("label.acc > 0.6", None, 2),
        ("pth.auc > 0.6", None, 2),
        ("label.auc > 0.65", "perhaps", 2),
    ],
)
def test_the_exit_code_tells_the_outcome_of_a_finished_run(text, undecided, code, here, monkeypatch, capsys):
    saved(here / "run")
    more = [] if undecided is None else ["--undecided", undecided]
    given, stdout, stderr = called("gate", "run", "--fail-if", text, *more, monkeypatch=monkeypatch, capsys=capsys)
    assert given == code, (stdout, stderr)
    if code == 2:
        assert len(stderr.splitlines()) == 1
    else:
        assert text in stdout


def saved(folder, **config):
    record = record_of(path=Estimate(0.65, 0.62, 0.68))
    scores = record.scores[record.scores["attack"] == "gap"].assign(attack="path")
    record = changed(replace(record, scores=scores, config={"kind": "model", **config}), members=300, nonmembers=300)
    return record.save(folder)


def test_a_gate_without_conditions_takes_those_of_the_run(here, monkeypatch, capsys):
    saved(here / "run", gate=["label.auc > 0.65"], undecided="fail")
    code, stdout, _ = called("gate", "run", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout.splitlines()[0]) == (3, "gate undecided")
    saved(here / "another")
    code, _, stderr = called("gate", "another", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "--fail-if" in stderr


SMALL = ["--train-size", "60", "--max-epochs", "5", "--attacks", "gap", "--device", "cpu", "--quiet"]


def test_a_run_is_saved_before_its_gate_decides_and_another_gate_asks_nothing_again(here, monkeypatch, capsys):
    run = here / "run"
    command = ["audit", *SMALL, "--out", run]
    code, stdout, stderr = called(*command, "--fail-if", "gap.auc > 0.1", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 3
    assert stdout.strip() == str(run / "report.html")
    assert "tripped: gap.auc > 0.1" in stderr
    assert hardlabel.load(run).config["gate"] == ["gap.auc > 0.1"]
    scores, lines = (run / "scores.parquet").read_bytes(), (run / "journal.jsonl").read_text().count('"made"')
    # The same run with another gate, and without one.
    code, _, stderr = called(*command, "--fail-if", "label.auc > 0.6", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 4
    assert "was not run" in stderr
    code, _, stderr = called("resume", run, "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 4
    settings = {**yaml.safe_load((run / "config.yaml").read_text()), "gate": ["gap.auc > 0.1"]}
    (here / "run.yaml").write_text(yaml.safe_dump(settings))
    code, _, _ = called("run", "run.yaml", "--out", run, "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 3
    assert (run / "scores.parquet").read_bytes() == scores
    assert (run / "journal.jsonl").read_text().count('"made"') == lines


@pytest.mark.parametrize(
    "arguments",
    [
        ["audit", "--fail-if", "label.acc > 0.6"],
        ["audit", "--fail-if", "pth.auc > 0.6"],
        ["audit", "--repeats", "4", "--fail-if", "label.precision > 0.6"],
        ["defend", "--fail-if", "grade >= clear"],
        ["canaries", "--fail-if", "label.auc > 0.6"],
        ["audit", "--junit", "gate.xml"],
        ["audit", "--undecided", "pass"],
        ["audit", "--fail-if", "label.auc > 0.6", "--summary", "."],
        ["run", "wrong.yaml"],
    ],
)
def test_a_gate_that_cannot_be_decided_is_refused_before_the_run_is_begun(arguments, here, monkeypatch, capsys):
    (here / "wrong.yaml").write_text("kind: canaries\ngate: ['grade >= bad']\n")
    code, stdout, stderr = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout) == (2, "")
    assert len(stderr.splitlines()) == 1, stderr
    assert not (here / "runs").exists()


# At the limit


def test_the_games_use_the_functions_that_make_a_records_figures(study):
    drawn = study.Drawn(1000, 0.5)
    scores = drawn.scores(np.random.default_rng(0), 0.7)
    count = len(scores)
    played = Played(
        signal="",
        calibration="",
        scores=torch.from_numpy(scores),
        measurement=Measurement(torch.zeros(count, 1), torch.ones(count, dtype=torch.long), torch.ones(count) > 0),
        overhead={},
        threshold=study.THRESHOLD,
        seconds=0.0,
        shadow_used=True,
        references=0,
        reference_rows=0,
        reference_seconds=0.0,
    )
    truth = np.zeros(count, dtype=np.int64)
    right = truth == 0
    result = figures.result(
        TABLE["path"], played, member=drawn.member, labels=truth, right=right, prior=study.PRIOR, overhead={}, seed=3
    )
    for metric in ("auc", "balanced_accuracy", "advantage", "precision", "precision_at_prior"):
        assert study.figure(metric, scores, drawn.member, 0) == {metric: getattr(result, metric)}
    seed = hardlabel.randomness.derive(3, "bootstrap", "path")
    for rate in ("0.1", "0.01"):
        own = study.figure(f"tpr@{rate}", scores, drawn.member, seed)["tpr_at_fpr"][rate]
        assert own == result.tpr_at_fpr[rate]


@pytest.mark.parametrize("step", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("metric", ["auc", "balanced_accuracy", "precision", "tpr@0.01"])
def test_the_games_know_the_truth(metric, step, study):
    drawn = study.Drawn(400_000, step)
    scores, member = drawn.scores(np.random.default_rng(1), 0.8), drawn.member
    if metric == "auc":
        sampled = study.intervals.auc_interval(scores, member).value
    elif metric == "tpr@0.01":
        corner = drawn._corner(0.01)
        sampled = (scores[member] >= corner - 1e-6).mean()
        assert (scores[~member] >= corner - 1e-6).mean() <= 0.0107  # Four standard errors of the corner's own rate.
    else:
        sampled = getattr(study.intervals.at_threshold(scores, member, study.THRESHOLD, prior=0.5), metric).value
    assert sampled == pytest.approx(drawn.truth(metric, 0.8), abs=0.003)  # Four standard errors at the most.


QUICK = [
    ("label.auc", 100, 1.0, 0.9),
    ("label.auc", 1000, 1.0, 0.6),
    ("label.balanced_accuracy", 1000, 0.5, 0.55),
    ("label.advantage", 100, 0, 0.1),
    ("label.precision", 100, 0, 0.8),
    ("label.precision_at_prior", 1000, 0.5, 0.03),
    ("label.tpr@0.1", 100, 0.5, 0.2),
    ("label.tpr@0.01", 1000, 0.5, 0.05),
    ("label.tpr@0.1, the worst ties", 100, None, 0.3),  # The only rows with this limit.
    ("worst.precision, 10 chosen", 100, 0.5, 0.8),
    ("scores.auc, 3 attacks", 300, 0.5, 0.6),
    ("canaries: epsilon, 500 canaries", 500, 0, 1.0),
]


@pytest.mark.parametrize("key", QUICK, ids=[f"{what} {limit} of {size}" for what, size, _, limit in QUICK])
def test_at_the_limit_a_gate_neither_trips_nor_passes_but_by_bad_luck(key, study):
    what, size, ties, limit = key
    what = what.removesuffix(", the worst ties")
    here = [row for row in study.ROWS if (row.what, row.size, row.limit) == (what, size, limit)]
    row = next(row for row in here if ties is None or row.ties == ties)
    counts = row.outcomes(100, first=10_000)
    assert study.most(100) == 12  # Each may err with a chance of 5 %.
    assert counts["tripped"] <= 12
    assert counts["passed"] <= 12


def test_far_from_the_limit_a_gate_decides(study):
    [row] = [row for row in study.ROWS if (row.what, row.size, row.ties, row.limit) == ("label.auc", 1000, 1.0, 0.6)]
    assert row.outcomes(20, value=0.7)["tripped"] == 20
    assert row.outcomes(20, value=0.5)["passed"] == 20


@pytest.mark.long
def test_at_the_limit_at_most_72_of_1000_gates_trip_and_at_most_72_pass(study):
    for row in study.ROWS:
        counts = row.outcomes(1000)
        assert counts["tripped"] <= 72, row
        assert counts["passed"] <= 72, row

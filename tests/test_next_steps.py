"""Next steps: they follow from the record, and every command that is shown runs as pasted."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from commands import called
from hardlabel.audits import kind as audits
from hardlabel.kinds import KINDS, run
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.exposure import Named
from hardlabel.records.model import Difference
from hardlabel.records.verdict import Grade
from hardlabel.reports import next_steps as rules
from hardlabel.reports.next_steps import MOST, next_steps
from hardlabel.runs.command import command_of
from hardlabel.runs.settings import (
    CanariesSettings,
    DefensesSettings,
    ModelSettings,
    RecipeSettings,
    TargetSettings,
)
from hardlabel.store import Store
from records import (
    CALIBRATED,
    SIX,
    changed,
    choice,
    make_canary_record,
    make_defend_record,
    make_recipe_record,
    with_members_wrong,
)
from records import make_record as made

TINY = {"train_size": 40, "max_epochs": 2, "references": 2, "device": "cpu"}
CANARIES = {"train_size": 40, "max_epochs": 2, "device": "cpu", "canaries": 120, "kinds": ["mislabelled"]}
SETTINGS = {
    "model": ModelSettings(**TINY, attacks=["gap", "loss"], worst_case=0.05),
    "recipe": RecipeSettings(**TINY, attacks=["gap"], repeats=2),
    "defenses": DefensesSettings(**TINY, attacks=["gap"], repeats=2, defenses=["label-only"]),
    "canaries": CanariesSettings(**CANARIES),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("next-steps")


@pytest.fixture(scope="module")
def finished(place):
    """A small real record of every kind whose data have a name."""
    store = Store(place / "store")
    return {
        name: run(settings.model_copy(update={"out": place / name}), store=store) for name, settings in SETTINGS.items()
    }


def shown(estimate):
    """An AUC's interval that lies surely there."""
    return Estimate(estimate, estimate - 0.01, estimate + 0.01)


def graded(record, label, scores=0.9):
    """The record with these AUCs for attacks that see labels, and confidences; TPRs earn nothing."""
    attacks = [
        attack.model_copy(
            update={
                "auc": shown(label if attack.access == "label" else scores),
                "tpr_at_fpr": dict.fromkeys(attack.tpr_at_fpr, Estimate.undefined("too few")),
            }
        )
        for attack in record.results.attacks
    ]
    named = record.results.choice or choice()
    named = named.model_copy(update={"attack": "gap", "weak": ""})
    return changed(record, attacks=attacks, choice=named)


def variants(record):
    """The record as other findings would leave it, so that every rule with a command is used."""
    results = record.results
    yield record
    if hasattr(results, "attacks"):
        for auc in (0.5, 0.55, 0.65, 0.9):
            yield graded(record, auc)
        named = choice().model_copy(update={"attack": "gap", "weak": "it is no better than gap"})
        yield changed(record, choice=named)
        yield replace(changed(record, choice=named), config={**record.config, "budget": 5})
        for lacks in ("samples", "worst_case"):
            config = {**record.config, lacks: 25 if lacks == "samples" else None}
            yield replace(graded(record, 0.7), config=config)
            yield replace(record, config=config)
    if hasattr(results, "defenses"):
        yield changed(record, defenses=make_defend_record().results.defenses)
        yield changed(record, defenses=open_defenses(), targets=4)
    if hasattr(results, "bounds"):
        for epsilon in (0.5, 2.0, 4.0):
            bounds = [bound.model_copy(update={"epsilon": epsilon}) for bound in results.bounds]
            yield changed(record, bounds=bounds)


def open_defenses():
    """Defenses whose effects are open."""
    defenses = make_defend_record().results.defenses
    wide = Estimate(-0.03, -0.07, 0.01)
    return [
        one.model_copy(update={"attacks": [attack.model_copy(update={"change": wide}) for attack in one.attacks]})
        for one in defenses
    ]


@pytest.fixture
def checked(monkeypatch, capsys):
    """Runs a command line with --dry-run as far as the plan, which takes a second; gives back the settings."""
    seen = []

    def prepared(settings, *, store, execution):
        seen.append(settings)
        audits._prepared(KINDS, settings, store, store, execution)
        return ""

    monkeypatch.setattr("hardlabel.cli.app.planned", prepared)

    def check(command):
        words = shlex.split(command)
        assert words[0] == "hardlabel"
        code, _, stderr = called(*words[1:], "--dry-run", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 0, f"{command}: {stderr}"
        return seen[-1]

    return check


def test_every_command_that_is_shown_runs_as_pasted(finished, place, checked, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HARDLABEL_STORE", str(place / "store"))
    commands = {
        step.command
        for record in finished.values()
        for variant in variants(record)
        for step in next_steps(variant)
        if step.command is not None
    }
    before = {path.name for path in place.iterdir()}
    kinds = {type(checked(command)) for command in sorted(commands)}
    assert kinds == {ModelSettings, RecipeSettings, DefensesSettings, CanariesSettings}
    for words in ("--repeats", "--worst-case", "--fail-if", "--attacks"):
        assert any(words in command for command in commands)
    assert {path.name for path in place.iterdir()} == before


ODD = 'it\'s "odd" & $HOME;.csv'
WHOLE = [
    ModelSettings(
        data=ODD, missing="-", categorical=["a b", "-c"], strict=True, learning_rate=1 / 3, augment=["shift:2"],
        stop_at_accuracy=0.99, attacks=["gap", "noise"], labels="target", worst_case=0.005, slices=["age, at most"],
        show_records=True, seed=7, gate=["label.auc > 0.6"], undecided="pass",
    ),
    RecipeSettings(repeats=8, precision="float32", budget=10),
    TargetSettings(
        target="https://host/v2/models/m", members=Path("a b.csv"), nonmembers=Path("-n.csv"), trainer="none",
        header_env=["Authorization=TOKEN"], label_map=["1=b", "0=a"], rate="20/s", ledger=True, private=True,
        price_per_1000=0.02, timeout=1e-3,
    ),
    DefensesSettings(defenses=["l2"], levels={"l2": [0.01, 1 / 3]}, optimizer="sgd", repeats=2),
    CanariesSettings(kinds=["rare"], epsilon=3.0, delta=1e-5, trainings=3),
]  # fmt: skip


@pytest.mark.parametrize("settings", WHOLE, ids=lambda settings: type(settings).__name__)
def test_a_command_is_read_as_the_settings_that_it_was_made_of(settings, monkeypatch, checked):
    monkeypatch.setattr(audits, "_prepared", lambda *given: None)
    command = {kind: name for name, kind in rules.KINDS.values()}[type(settings)]
    line = command_of(command, settings, always={"repeats"})
    assert checked(line).model_copy(update={"out": None}) == settings


def test_the_kinds_and_commands_are_those_of_the_table():
    rows = {name: (kind.command, kind.settings) for name, kind in KINDS.rows.items()}
    assert rows == dict(rules.KINDS)


def test_no_line_holds_a_line_end_or_a_control_character():
    for name in ("a\nb.csv", "a\x1b[2Jb.csv", "a\u202eb.csv"):
        assert command_of("audit", ModelSettings(data=name)) is None


CONFIG = {"kind": "model", "data": "digits", "train_size": 300, "samples": 300, "references": 12, "attacks": None}


def of_model(auc, scores=0.9, **config):
    record = graded(made(CALIBRATED), auc, scores)
    return replace(record, config={**CONFIG, **config})


@pytest.mark.parametrize(
    ("auc", "grade", "first"),
    [
        (0.9, Grade.SEVERE, "Do not release the model as it is."),
        (0.65, Grade.CLEAR, "Do not release the model before somebody has weighed"),
        (0.55, Grade.SLIGHT, "Compare defenses on the same data"),
        (0.5, Grade.NONE, "Audit several models trained alike"),
    ],
)
def test_the_grade_decides_what_is_most_urgent(auc, grade, first):
    record = of_model(auc, scores=auc)
    assert record.verdict.grade is grade
    steps = next_steps(record)
    assert steps[0].text.startswith(first)
    assert len(steps) <= MOST
    assert len({step.text for step in steps}) == len(steps)


def test_defenses_are_compared_with_the_same_data_and_training():
    record = of_model(0.9, arch="fc-2", train_size=301, learning_rate=0.01, attacks=["gap"], shadow_samples=50)
    [command] = [step.command for step in next_steps(record) if step.command and " defend " in step.command]
    assert command == "hardlabel defend --data digits --arch fc-2 --learning-rate 0.01 --train-size 301"


def test_an_attack_that_was_not_run_is_added_to_those_asked_for():
    record = replace(made(SIX), config={**CONFIG, "attacks": ["gap", "loss"]})
    record = changed(graded(record, 0.5), choice=choice("path"))
    assert record.verdict.grade is Grade.NOT_TESTED
    step = next_steps(record)[0]
    assert "“path”" in step.text
    assert "--attacks gap,loss,path" in step.command


@pytest.mark.parametrize(
    ("scores", "says"),
    [(0.9, "will not help"), (0.915, "will help little"), (0.95, "is not enough: it lowers the cases")],
)
def test_hiding_confidences_does_not_help_where_labels_leak_as_much(scores, says):
    record = of_model(0.9, scores)
    labels, seeing = (
        [one.name for one in record.results.attacks if one.access == access] for access in ("label", "scores")
    )
    gain = Estimate(scores - 0.9, scores - 0.9 - 0.005, scores - 0.9 + 0.005)
    pairs = [Difference(first=other, second=name, auc=gain) for name in labels for other in seeing]
    texts = [step.text for step in next_steps(changed(record, differences=pairs))]
    [text] = [text for text in texts if says in text]
    fell = "from 95 [94, 96] to 90 [89, 91]. Labels alone still leak."
    assert (fell if scores == 0.95 else "0.900 [0.890, 0.910]") in text.replace("\u00a0", " ")


def test_what_hiding_confidences_changes_is_told_at_the_rate_of_the_verdict():
    record = changed(of_model(0.65), differences=[])
    labels, seeing = (
        [one.name for one in record.results.attacks if one.access == access] for access in ("label", "scores")
    )
    rates = dict.fromkeys(labels, Estimate(0.087, 0.03, 0.136)) | dict.fromkeys(seeing, Estimate(0.355, 0.27, 0.43))
    attacks = [one.model_copy(update={"tpr_at_fpr": {"0.01": rates[one.name]}}) for one in record.results.attacks]
    gain = Estimate(0.25, 0.24, 0.26)
    pairs = [Difference(first=other, second=name, auc=gain) for name in labels for other in seeing]
    texts = [
        step.text.replace("\u00a0", " ") for step in next_steps(changed(record, attacks=attacks, differences=pairs))
    ]
    assert any("100, at 1 false alarm in 100, from 36 [27, 43] to 9 [3, 14]. Labels alone" in text for text in texts)


def test_confidences_are_advised_against_where_labels_leak_nothing():
    record = of_model(0.5, 0.8)
    labels, seeing = (
        [one.name for one in record.results.attacks if one.access == access] for access in ("label", "scores")
    )
    gain = Estimate(0.3, 0.25, 0.35)
    pairs = [Difference(first=other, second=name, auc=gain) for name in labels for other in seeing]
    texts = [step.text for step in next_steps(changed(record, differences=pairs))]
    assert any(text.startswith("Answer with labels only") for text in texts)
    assert not any(
        text.startswith("Answer with labels only") for text in (s.text for s in next_steps(of_model(0.5, 0.5)))
    )


def test_records_at_risk_are_named_by_the_attack_that_sees_labels():
    found = Named(attack="path-estimate", access="label", rate=0.1, known=500, asked=1500, named=882, right=855)
    record = changed(of_model(0.9), named=[found, found.model_copy(update={"access": "scores", "right": 860})])
    [step] = [
        step for step in next_steps(record) if "Of 882 records that an attacker names, 855 are members." in step.text
    ]
    assert "lists the records found first" in step.text
    assert "--show-records" in step.command
    shown = replace(record, config={**record.config, "show_records": True})
    [step] = [step for step in next_steps(shown) if "Of 882 records" in step.text]
    assert step.command is None


@pytest.mark.parametrize(
    ("reason", "option"),
    [
        ("no networks could be trained without population", "--population more.csv"),
        ("no reference models could be trained without trainer", "--trainer train.py:train"),
        ("needs 100 queries", "--budget 100"),
        ("it needs images", None),
    ],
)
def test_an_attack_out_of_reach_is_named_with_the_option_that_lifts_this(reason, option):
    kept = KINDS.rows["target"].kept(TargetSettings(target="m.joblib", members="a.csv", nonmembers="b.csv"))
    record = replace(graded(made(CALIBRATED), 0.65), config=kept)
    named = record.results.choice.model_copy(update={"why": f"it is cheap; designed would be stronger but {reason}"})
    places = {"members": "a.csv", "nonmembers": "b.csv", "target": "m.joblib"}
    steps = next_steps(changed(record, choice=named), places=places)
    found = [step for step in steps if "“designed”" in step.text]
    assert len(found) == (option is not None)
    assert all(option in step.command for step in found)
    # A population holds what own models are trained on, and a few non-members.
    assert "population" not in reason or "at least 320 more rows" in found[0].text


def test_files_that_seem_exchanged_are_audited_the_other_way_round():
    settings = TargetSettings(target="m.joblib", members="a.csv", nonmembers="b.csv")
    record = replace(graded(made(CALIBRATED), 0.5), config=KINDS.rows["target"].kept(settings))
    places = {"members": "a.csv", "nonmembers": "b.csv", "target": "m.joblib"}
    assert not any("--members b.csv" in (step.command or "") for step in next_steps(record, places=places))
    first, *others = next_steps(with_members_wrong(record), places=places)
    assert "--members b.csv --nonmembers a.csv" in first.command
    assert others == []


def test_a_contradiction_is_mended_before_anything_is_decided():
    record = changed(of_model(0.9), blind=made().results.blind.model_copy(update={"auc": Estimate(0.9, 0.88, 0.92)}))
    steps = next_steps(record)
    assert record.verdict.grade is Grade.NO_VERDICT
    assert steps[0].text.startswith("Do not decide by this audit.")
    assert all(step.command is None for step in steps)


def test_a_run_on_files_has_commands_only_where_its_paths_are_known():
    record = of_model(0.9, data="my patients.csv", label="ill")
    assert [step.command for step in next_steps(record)] == [None] * len(next_steps(record))
    known = next_steps(record, places={"data": "clinic/my patients.csv"})
    assert any(step.command and "--data 'clinic/my patients.csv'" in step.command for step in known)


@pytest.mark.parametrize("config", [{}, {"kind": "recipe", "train_size": 60}, {"kind": "model", "seed": 1}])
def test_a_call_from_python_gets_steps_without_commands(config):
    for record in (made(CALIBRATED), make_recipe_record(), make_canary_record(), make_defend_record()):
        steps = next_steps(replace(record, config=config))
        assert steps
        assert all(step.command is None for step in steps)


def test_the_audit_of_a_target_is_repeated_with_the_variable_of_a_secret_and_never_the_secret(monkeypatch):
    monkeypatch.setenv("TOKEN", "hunter2")
    settings = WHOLE[2]
    kept = KINDS.rows["target"].kept(settings)
    record = replace(graded(made(CALIBRATED), 0.5), config=kept)
    places = {"members": "a b.csv", "nonmembers": "-n.csv", "target": settings.target}
    commands = [step.command for step in next_steps(record, places=places) if step.command]
    assert any("--header-env Authorization=TOKEN" in command for command in commands)
    assert not any("hunter2" in command for command in commands)
    assert not any(step.command for step in next_steps(record))


@pytest.mark.parametrize(
    ("changes", "form", "command"),
    [
        ({}, "hardlabel defend --data 'a b.csv' --label y --trainer FILE.py:FUNCTION", None),
        (
            {"trainer": "fit.py:fit", "ignore": ["id"], "separator": ";"},
            None,
            "hardlabel defend --data 'a b.csv' --label y --ignore id --separator ';' --trainer fit.py:fit",
        ),
        (
            {"nonmembers": None, "member_column": "inside"},
            "hardlabel defend --data 'a b.csv' --label y --ignore inside --trainer FILE.py:FUNCTION",
            None,
        ),
        ({"members": Path("photos"), "label": None}, "hardlabel defend --trainer FILE.py:FUNCTION", None),
    ],
)
def test_defenses_for_the_users_model_are_a_command_or_a_form_to_fill_in(changes, form, command, checked, monkeypatch):
    monkeypatch.setattr(audits, "_prepared", lambda *given: None)
    given = {"target": "m.joblib", "members": Path("a b.csv"), "nonmembers": Path("n.csv"), "label": "y", **changes}
    record = replace(graded(made(CALIBRATED), 0.9), config=KINDS.rows["target"].kept(TargetSettings(**given)))
    places = {name: str(given[name]) for name in ("target", "members", "nonmembers", "trainer") if given.get(name)}
    [step] = [step for step in next_steps(record, places=places) if step.text.startswith("Compare defenses")]
    assert step.command == command
    assert re.findall("“(hardlabel [^”]+)”", step.text) == ([form] if form else [])
    for line in filter(None, [form if changes.get("label", "y") else None, command]):
        assert str(checked(line).data) == "a b.csv"
    # Without the whole paths, the page has the form and no command.
    [step] = [step for step in next_steps(record) if step.text.startswith("Compare defenses")]
    assert step.command is None


def test_a_gate_is_advised_once():
    def gates(record):
        return [step for step in next_steps(record) if step.command and "--fail-if" in step.command]

    assert len(gates(of_model(0.5))) == 1
    assert gates(of_model(0.5, gate=["label.auc > 0.6"])) == []


def test_a_comparison_advises_what_it_recommends_and_more_models_where_it_cannot_tell():
    record = make_defend_record()
    assert next_steps(record)[0].text.startswith("Train with l2 0.02")
    config = {"kind": "defenses", "data": "digits", "repeats": 4, "references": 6}
    unsure = replace(changed(record, defenses=open_defenses()), config=config)
    [step] = [step for step in next_steps(unsure) if step.command]
    assert step.command == "hardlabel defend --data digits --references 6"
    assert "more than 4 models" in step.text


def test_a_broken_promise_of_canaries_comes_first():
    assert "it is broken" in next_steps(make_canary_record(promise=1.0, epsilon=2.0))[0].text


def test_the_rules_stand_in_the_docs():
    told = " ".join((Path(__file__).parents[1] / "docs" / "next-steps.md").read_text().split())
    source = " ".join(Path(rules.__file__).read_text().split())
    for beginning in re.findall(r'Step\(text="([A-Z][^".:,{]{12,60})', source):
        assert beginning in told, beginning

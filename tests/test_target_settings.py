"""The settings of an audit of the user's own model: options, YAML, config.yaml and `resume` say the same."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import yaml

from commands import called
from hardlabel.checks import InvalidInput
from hardlabel.cli import app as cli
from hardlabel.kinds import KINDS, load, write_report
from hardlabel.runs import listing
from hardlabel.runs.folder import CONFIG
from hardlabel.runs.places import places_of
from hardlabel.runs.settings import Endpoint, Gate, Given, Target, TargetSettings, flat, nested
from hardlabel.store import Store
from records import make_record

TARGET = KINDS.rows["target"]
FEW = {"target": "model.joblib", "members": Path("m.csv"), "nonmembers": Path("n.csv")}
ALL = {
    "target": "models/credit.py:load",
    "trust_pickle": True,
    "trust_type": ["a.B", "a.C"],
    "label_map": ["Y=yes"],
    "trainer": "fits/fit.py:fit",
    "name": "credit-v3",
    "members": Path("data/m.csv"),
    "nonmembers": None,
    "population": Path("data/p.csv"),
    "member_column": "in",
    "label": "income",
    "ignore": ["code", "date"],
    "separator": ";",
    "missing": "?",
    "group": "person",
    "categorical": ["ward"],
    "strict": True,
    "train_size": 500,
    "samples": 100,
    "attacks": ["gap", "noise"],
    "budget": 50,
    "references": 4,
    "networks": "class",
    "shadow_labels": "target",
    "labels": "target",
    "prior": 0.1,
    "worst_case": 0.005,
    "show_records": True,
    "slices": ["sex", "job"],
    "private": True,
    "seed": 3,
    "device": "cpu",
}
OPTIONS = [
    *("--target", "models/credit.py:load", "--trust-pickle", "--trust-type", "a.B", "--trust-type", "a.C"),
    *("--label-map", "Y=yes"),
    *("--trainer", "fits/fit.py:fit", "--name", "credit-v3", "--members", "data/m.csv", "--population", "data/p.csv"),
    *("--member-column", "in", "--label", "income", "--ignore", "code", "--ignore", "date", "--separator", ";"),
    *("--missing", "?"),
    *("--group", "person", "--categorical", "ward", "--strict", "--train-size", "500", "--samples", "100"),
    *("--attacks", "gap,noise", "--budget", "50", "--references", "4", "--networks", "class"),
    *("--shadow-labels", "target", "--labels", "target", "--prior", "0.1", "--worst-case", "0.5%", "--show-records"),
    *("--slice", "sex", "--slice", "job", "--private", "--seed", "3", "--device", "cpu"),
]


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """The settings with which the command line begins runs, which then do nothing."""
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    settings = []

    def note(given, **others):
        settings.append(given)
        return make_record()

    monkeypatch.setattr(cli, "run", note)
    monkeypatch.setattr(cli, "write_report", lambda record, path: None)
    return settings


def without_out(settings):
    return settings.model_copy(update={"out": None})


def in_yaml(values):
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}


def test_options_yaml_and_values_make_the_same_settings(begun, tmp_path, monkeypatch, capsys):
    wanted = TargetSettings(**ALL)
    assert wanted.model_fields_set == set(TargetSettings.model_fields) - {
        "out",
        "wrong_labels",  # Labels have one source.
        *Gate.model_fields,
        *Endpoint.model_fields,  # Of targets at an address.
    }
    (tmp_path / "flat.yaml").write_text(yaml.safe_dump({"kind": "target", **in_yaml(ALL)}))
    (tmp_path / "nested.yaml").write_text(yaml.safe_dump({"kind": "target", **nested(in_yaml(ALL))}))
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(nested(in_yaml(ALL))))  # A target says which kind it is.
    commands = [["audit", *OPTIONS], ["audit", "nested.yaml"]]
    commands += [["run", f"{name}.yaml"] for name in ("flat", "nested", "bare")]
    for command in commands:
        code, _, errors = called(*command, "--quiet", monkeypatch=monkeypatch, capsys=capsys)
        assert (code, errors) == (0, "")
    assert [without_out(settings) for settings in begun] == [wanted] * len(commands)
    assert all(settings.out.name.startswith("credit-target-") for settings in begun)


def test_options_take_precedence_over_a_file_field_by_field(begun, tmp_path, monkeypatch, capsys):
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(nested(in_yaml(ALL))))
    command = ["audit", "audit.yaml", "--target", "other.skops", "--seed", "9"]
    assert called(*command, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    assert without_out(begun[0]) == TargetSettings(**{**ALL, "target": "other.skops", "seed": 9})


def test_the_settings_file_shows_the_target_in_one_place():
    kept = TARGET.kept(TargetSettings(**ALL))
    assert list(kept)[:2] == ["kind", "target"]
    assert list(kept["target"])[:2] == ["file", "trust_pickle"]
    fields = {*Target.model_fields, *Endpoint.model_fields, *Given.model_fields, "file"} - {"target", "strict"}
    assert set(kept["target"]) == fields
    assert (kept["target"]["file"], kept["target"]["members"]) == ("credit.py:load", "m.csv")  # No folders.
    assert (kept["target"]["trainer"], kept["target"]["population"]) == ("fit.py:fit", "p.csv")
    assert KINDS.made(TARGET, yaml.safe_load(yaml.safe_dump(kept))) == TargetSettings(
        **{**ALL, "target": "credit.py:load", "trainer": "fit.py:fit", "members": Path("m.csv")},
    ).model_copy(update={"population": Path("p.csv")})


def test_flat_and_nested_are_inverse():
    for values in ({"seed": 1}, in_yaml(FEW), {**in_yaml(ALL), "kind": "target"}):
        assert flat(nested(values)) == values
        assert nested(flat(nested(values))) == nested(values)
        assert flat(values) == values


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"target": {"fill": "m.onnx"}}, "target 'fill' is unknown: did you mean 'file'? known are "),
        ({"target": {3: "m.onnx"}}, "target must be a name, got 3"),
        ({"target": {"file": "m.onnx", "seed": 3}}, "target 'seed' is unknown"),
        (
            {"target": {"file": "m.onnx", "label": "a"}, "label": "b"},
            "label must stand under target or beside it, got b",
        ),
        (
            {"target": {"file": ["m.onnx"]}, **{n: n for n in ("members", "nonmembers")}},
            "target: Input should be a valid",
        ),
        ({"target": {}}, "target must name a model"),
    ],
)
def test_a_wrong_target_in_a_file_is_one_line(begun, content, line, tmp_path, monkeypatch, capsys):
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump({"kind": "target", **content}))
    code, _, errors = called("run", "audit.yaml", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, begun, len(errors.strip().splitlines())) == (2, [], 1)
    assert errors.startswith(f"hardlabel: {line}")


FILES = ["--members", "m.csv", "--nonmembers", "n.csv"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--members", "m.csv"],
            "--members needs --target MODEL: which model was trained on these rows?",
        ),
        (
            ["--members", "m.csv", "--repeats", "2"],
            "--members needs --target MODEL: which model was trained on these rows?",
        ),
        (
            ["--trust-pickle"],
            "--trust-pickle needs --target MODEL: which model is to be audited?",
        ),
        (
            ["--target", "a.onnx"],
            "members must name a file or a folder with what the target was trained on, got nothing: --members F",
        ),
        (
            ["--target", "a.onnx", "--members", "m.csv"],
            "nonmembers must name a file or a folder with what the target was",
        ),
        (
            ["--target", "", *FILES],
            "target must name a model, a file, a folder, an address or FILE.py:FUNCTION, got ''",
        ),
        (
            ["--target", "ftp://host/v2/models/a", *FILES],
            "target must be an address of http or https, got 'ftp'://",
        ),
        (
            ["--target", "a.onnx", *FILES, "--member-column", "in"],
            "member_column must be left out where nonmembers",
        ),
        (
            ["--target", "a.onnx", *FILES, "--trainer", "sane"],
            "trainer must be same, surrogate, none or FILE.py:FUNCTION",
        ),
        (
            ["--target", "a.onnx", *FILES, "--trainer", "fit.py"],
            "trainer must be same, surrogate, none or FILE.py:FUNC",
        ),
        (
            ["--target", "a.onnx", *FILES, "--arch", "fc"],
            "arch must be left out, since the audit of your model does",
        ),
        (
            ["--target", "a.onnx", *FILES, "--data", "mnist"],
            "data must be left at 'digits', since the audit of your mo",
        ),
        (
            ["--target", "a.onnx", *FILES, "--repeats", "4"],
            "repeats must be left at 8, since the audit of your model do",
        ),
        (
            ["--target", "a.onnx", *FILES, "--slices-file", "s.csv"],
            "slices_file must be left out, since the audit o",
        ),
        (["--target", "a.onnx", *FILES, "--seed", "-1"], "seed must be at least 0, got -1"),
    ],
)
def test_wrong_options_are_one_line_before_anything_is_loaded(begun, options, line, monkeypatch, capsys):
    code, _, errors = called("audit", *options, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, begun, len(errors.strip().splitlines())) == (2, [], 1)
    assert errors.startswith(f"hardlabel: {line}")


def test_members_without_a_target_are_told_what_is_missing(begun, monkeypatch, capsys):
    for name in ("members", "nonmembers", "member-column", "trainer", "group"):
        _, _, errors = called("audit", f"--{name}", "x", monkeypatch=monkeypatch, capsys=capsys)
        question = "was trained on these rows" if name in ("members", "member-column") else "is to be audited"
        assert errors == f"hardlabel: --{name} needs --target MODEL: which model {question}?\n"


def test_the_help_shows_the_options_in_their_panels():
    command = typer.main.get_command(cli.app).commands["audit"]
    panels = {option.name: option.rich_help_panel for option in command.params if not option.hidden and option.opts}
    of_data = {"members", "nonmembers", "population", "member_column", "label", "ignore", "separator", "group"}
    assert {name for name in TargetSettings.model_fields if panels[name] == "Data"} == {
        *of_data,
        "categorical",
        "missing",
        "strict",
    }
    of_model = {"target", "trust_pickle", "trust_type", "label_map", "trainer", "name", "train_size"}
    of_model |= set(Endpoint.model_fields)
    assert {name for name in TargetSettings.model_fields if panels[name] == "Model"} == of_model
    assert panels["private"] == "Report"
    help = {option.name: getattr(option, "help", "") for option in command.params}
    assert help["trainer"].endswith("[default: same where the target can be cloned, else surrogate]")
    assert help["separator"].endswith("[default: ,]")
    assert command.help.startswith("Audit your own model (--target)")


@pytest.fixture
def broken_off(tmp_path):
    """A run folder and a store as a run leaves them that broke off."""
    store, out = Store(tmp_path / "store"), tmp_path / "run"
    whole = {name: tmp_path / "there" / ALL[name] for name in ("target", "trainer", "members", "population")}
    settings = TargetSettings(
        **{**ALL, **whole, "target": str(whole["target"]), "trainer": str(whole["trainer"])}, out=out
    )
    config, places = KINDS.check_folder(TARGET, settings), places_of(settings.model_dump(mode="json"))
    with contextlib.suppress(KeyboardInterrupt), listing.begun(out, config, store=store, places=places):
        raise KeyboardInterrupt
    return settings, store


def test_resume_finds_the_files_where_they_were(broken_off, begun, monkeypatch, capsys):
    settings, store = broken_off
    assert str(settings.members.parent) not in (settings.out / CONFIG).read_text()
    assert KINDS.begun(settings.out, listing.places_of_run(settings.out, store)) == (TARGET, settings)
    code, _, errors = called("resume", settings.out, "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, errors) == (0, "")
    assert begun == [settings]


def test_a_run_goes_on_with_the_same_target_only(broken_off):
    settings, store = broken_off
    places = listing.places_of_run(settings.out, store)
    KINDS.check_folder(TARGET, settings, places)
    KINDS.check_folder(TARGET, settings.model_copy(update={"samples": None, "train_size": None}), places)
    for name, value in {
        "target": settings.target.replace("there", "elsewhere"),
        "members": Path("elsewhere/m.csv"),
        "trust_pickle": False,
        "separator": ",",
        "population": None,
    }.items():
        with pytest.raises(InvalidInput, match=rf"holds another audit \(it differs in {name}\)"):
            KINDS.check_folder(TARGET, settings.model_copy(update={name: value}), places)


def test_runs_show_the_target_where_others_show_their_data(broken_off, monkeypatch, capsys, begun):
    settings, store = broken_off
    [run] = listing.listed(store, settings.out.parent, records=[TARGET.file])
    assert (run.data, run.problem) == ("credit.py:load", "")


def test_a_record_of_a_target_is_loaded_and_drawn_like_that_of_a_model(tmp_path):
    config = TARGET.kept(TargetSettings(**ALL))
    saved = replace(make_record(), config=config).save(tmp_path / "run")
    record = load(tmp_path / "run")
    assert record.config == saved.config == config
    assert KINDS.of(record.config) == TARGET
    write_report(record, tmp_path / "report.html")
    assert "credit.py:load" in (tmp_path / "report.html").read_text()

"""Settings of runs: a folder of another kind, and settings nobody would look at, are refused before all else."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from hardlabel.checks import InvalidInput, as_default
from hardlabel.data.sources import SOURCES
from hardlabel.data.unused import COLUMNS, DEFAULTS, NAMED, check_data, check_tables, refuse_columns
from hardlabel.kinds import KINDS, planned
from hardlabel.runs.folder import CONFIG
from hardlabel.runs.settings import ModelSettings, flat

MODEL = KINDS.rows["model"]
OWN = {
    "model": {},
    "recipe": {"repeats": 4},
    "target": {"target": "model.joblib", "members": "members.csv", "nonmembers": "nonmembers.csv"},
    "defenses": {"repeats": 4, "defenses": ["l2"], "levels": None, "pretrain": None},
    "canaries": {"canaries": 50, "kinds": ["rare"], "trainings": 1, "epsilon": None, "delta": None},
}
OTHER = {
    "data": "mnist",
    "folder": "sets",
    "missing": "?",
    "arch": "fc",
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "batch_size": 7,
    "max_epochs": 7,
    "weight_decay": 0.1,
    "stop_at_accuracy": 0.9,
    "augment": ["mirror"],
    "target": "model.joblib",
    "trust_pickle": True,
    "trust_type": ["a.B"],
    "label_map": ["a=b"],
    "protocol": "v2",
    "header_env": ["Authorization=TOKEN"],
    "rate": "20/s",
    "timeout": 5.0,
    "ca": Path("ca.pem"),
    "use_scores": True,
    "ledger": True,
    "votes": 3,
    "max_rows": 100,
    "price_per_1000": 1.5,
    "trainer": "none",
    "name": "credit",
    "members": "members.csv",
    "nonmembers": "nonmembers.csv",
    "population": "population.csv",
    "member_column": "in",
    "ignore": ["id"],
    "separator": ";",
    "group": "person",
    "private": True,
    "samples": 7,
    "precision": "bfloat16",
    "shadow_samples": 30,
    "shadow_labels": "target",
    "references": 4,
    "attacks": ["gap"],
    "networks": "class",
    "budget": 3,
    "prior": 0.2,
    "worst_case": 0.1,
    "slices": ["sex"],
    "slices_file": "slices.csv",
    "labels": "target",
    "wrong_labels": 0.1,
    "show_records": True,
    "repeats": 4,
    "defenses": ["l2"],
    "levels": {"l2": [0.1]},
    "pretrain": "mnist",
    "canaries": 50,
    "kinds": ["rare"],
    "trainings": 200,
    "epsilon": 8.0,
    "delta": 1e-6,
}
ALL = {name for kind in KINDS.rows.values() for name in kind.settings.model_fields}
BEFORE = {"train_size": "size", "references": "shadows", "trainings": "runs"}  # What earlier versions called them.
every_kind = pytest.mark.parametrize("kind", KINDS.rows.values(), ids=KINDS.rows)


def kept(place, kind, /, **others):
    """A folder that a run of this kind was begun in."""
    settings = KINDS.check_folder(kind, KINDS.made(kind, {**OWN[kind.name], **others, "out": place}))
    written(place, settings)
    return settings


def written(folder, settings):
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(yaml.safe_dump(settings))


@every_kind
def test_settings_tell_their_kind(tmp_path, kind):
    settings = kept(tmp_path / "run", kind)
    assert KINDS.of(settings) == kind
    assert flat(settings).keys() - {"kind"} == kind.settings.model_fields.keys() - {"out"}
    assert KINDS.begun(tmp_path / "run") == (kind, KINDS.made(kind, {**OWN[kind.name], "out": tmp_path / "run"}))


@every_kind
def test_a_folder_from_before_kinds_were_written_down_tells_its_kind_and_goes_on(tmp_path, kind):
    """Settings then had other names, and a folder had those of the audit of a model too."""
    usual = KINDS.made(MODEL, {}).model_dump(mode="json", exclude={"out"})
    settings = {**usual, **flat(kept(tmp_path / "run", kind))}
    del settings["kind"]
    older = {BEFORE.get(name, name): value for name, value in settings.items()}
    assert KINDS.of(older) == kind
    written(tmp_path / "run", older)
    assert KINDS.begun(tmp_path / "run") == (kind, KINDS.made(kind, {**OWN[kind.name], "out": tmp_path / "run"}))
    kept(tmp_path / "run", kind)


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(
        InvalidInput, match="kind must be one of model, recipe, target, defenses, canaries, got 'modle'"
    ):
        KINDS.of({"kind": "modle", "data": "digits"})


@pytest.mark.parametrize("there", KINDS.rows.values(), ids=KINDS.rows)
@every_kind
def test_a_folder_never_holds_two_kinds(tmp_path, there, kind):
    kept(tmp_path / "run", there)
    if there == kind:
        kept(tmp_path / "run", kind)
        return
    with pytest.raises(InvalidInput, match=f"holds {there.title}; name a new folder"):
        kept(tmp_path / "run", kind)


@pytest.mark.parametrize("kind", [{}, {"kind": "model"}], ids=["of an earlier version", "of this version"])
def test_a_record_made_in_python_is_not_overwritten(tmp_path, kind):
    written(tmp_path, {**kind, "seed": 0, "budget": None})
    with pytest.raises(InvalidInput, match="holds the audit of a model"):
        KINDS.check_folder(MODEL, ModelSettings(out=tmp_path))


@pytest.mark.parametrize(
    ("first", "then", "differs"),
    [
        ({}, {"seed": 1}, "seed"),
        ({"budget": 10}, {}, "budget"),  # None is a value here: no budget.
        ({"attacks": ["gap"]}, {}, "attacks"),
        ({"train_size": None}, {"train_size": 50}, "train_size"),
    ],
)
def test_other_settings_are_refused(tmp_path, first, then, differs):
    kept(tmp_path / "run", MODEL, **first)
    with pytest.raises(InvalidInput, match=rf"holds another audit \(it differs in {differs}\)"):
        kept(tmp_path / "run", MODEL, **then)


def test_what_was_left_open_agrees_with_what_was_taken(tmp_path):
    settings = kept(tmp_path / "run", MODEL)
    written(tmp_path / "run", {**settings, "train_size": 449, "arch": "fc"})
    kept(tmp_path / "run", MODEL)


def test_a_folder_from_before_a_setting_was_known_counts_as_its_default(tmp_path):
    settings = kept(tmp_path / "run", MODEL)
    del settings["worst_case"], settings["labels"]
    written(tmp_path / "run", settings)
    KINDS.check_folder(MODEL, ModelSettings(worst_case=None, labels="true", out=tmp_path / "run"))
    with pytest.raises(InvalidInput, match="differs in labels"):
        KINDS.check_folder(MODEL, ModelSettings(worst_case=None, labels="target", out=tmp_path / "run"))


def test_a_run_folder_must_be_named():
    with pytest.raises(InvalidInput, match="out must name the run folder, got None"):
        KINDS.check_folder(MODEL, ModelSettings())


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS.rows.values() for name in sorted(ALL - kind.settings.model_fields.keys())],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_a_setting_that_a_run_would_not_look_at_is_refused(tmp_path, kind, name):
    refused = rf"^{name} must be left .*, since {kind.title} does not use it, got"
    fields = {other: row.settings.model_fields.keys() for other, row in KINDS.rows.items()}
    if kind.name in ("model", "recipe") and name in fields["target"] - fields["model"] - fields["recipe"] - {"target"}:
        refused = r"^--[a-z0-9-]+ needs --target MODEL: which model "
    with pytest.raises(InvalidInput, match=refused):
        kept(tmp_path / "run", kind, **{name: OTHER[name]})


# Settings that the data do not use.

VALUES = {
    "label": "x",
    "missing": "?",
    "categorical": ["x"],
    "ignore": ["x"],
    "separator": ";",
    "group": "x",
    "member_column": "x",
    "slices": ["x"],
    "folder": Path("sets"),
}


@pytest.fixture
def forms(tmp_path):
    """Data of every form, by name: as `data` names them."""
    (tmp_path / "mnist").mkdir()
    pd.DataFrame({"x": [1, 2], "y": [0, 1]}).to_parquet(tmp_path / "table.parquet")
    pd.DataFrame({"image": [b"a", b"b"], "label": [0, 1]}).to_parquet(tmp_path / "images.parquet")
    paths = {name: str(tmp_path / name) for name in ("table.parquet", "images.parquet", "mnist", "t.csv", "a.npz")}
    return {**paths, "digits": "digits", "named": "mnist", "wrong": "mnits"}


UNUSED = {
    "digits": {*NAMED, "folder"},
    "named": {*NAMED},
    "mnist": {*NAMED, "folder"},
    "a.npz": {*COLUMNS, "folder"},
    "table.parquet": {"separator", "folder"},
    "images.parquet": {"separator", "folder", "missing", "categorical"},
    "t.csv": {"folder"},
    "wrong": set(),  # Its name is refused later.
}


def checked(data, values, *, exact=False, shared=False):
    check_data(data, values, known=SOURCES, exact=exact, shared=shared)


def error_of(call, *arguments, **options):
    """What a call refuses, in words; "" if it refuses nothing."""
    try:
        call(*arguments, **options)
    except InvalidInput as error:
        return str(error)
    return ""


@pytest.mark.parametrize("form", UNUSED)
def test_a_setting_that_the_data_do_not_use_is_refused_and_no_other(forms, form):
    errors = {name: error_of(checked, forms[form], {**DEFAULTS, name: value}) for name, value in VALUES.items()}
    assert {name for name, error in errors.items() if error} == UNUSED[form]
    for name in UNUSED[form]:
        value = str(VALUES[name]) if name == "folder" else VALUES[name]
        assert errors[name].startswith(f"{name} must be {as_default(DEFAULTS[name])}, since ")
        assert f", got {value!r}: leave it out" in errors[name]


@pytest.mark.parametrize("form", UNUSED)
def test_a_setting_with_its_default_is_never_refused(forms, form):
    checked(forms[form], DEFAULTS)
    checked(forms[form], {name: () if default == [] else default for name, default in DEFAULTS.items()})
    check_tables([Path("m.parquet")], DEFAULTS)
    refuse_columns(DEFAULTS, "members")


def test_defaults_are_those_of_the_settings():
    fields = {name: field for kind in KINDS.rows.values() for name, field in kind.settings.model_fields.items()}
    assert {name: fields[name].get_default(call_default_factory=True) for name in DEFAULTS} == DEFAULTS


def test_a_folder_counts_if_another_data_set_is_read_from_it(forms):
    checked("digits", {**DEFAULTS, "folder": Path("sets")}, shared=True)


def test_a_training_of_the_users_reads_pictures_as_a_table(forms):
    checked(forms["images.parquet"], {**DEFAULTS, "categorical": ["x"]}, exact=True)


def test_a_separator_counts_as_soon_as_one_file_is_csv():
    check_tables([Path("m.parquet"), Path("n.csv")], {"separator": ";"})
    with pytest.raises(
        InvalidInput, match=r"separator must be left at ',', since the data are .parquet files, got ';'"
    ):
        check_tables([Path("m.parquet"), Path("n.parquet")], {"separator": ";"})


def test_a_run_that_began_with_such_a_setting_goes_on(tmp_path):
    """Earlier versions began such runs."""
    kept(tmp_path / "run", MODEL, label="x", device="cpu")
    _, settings = KINDS.begun(tmp_path / "run")
    assert planned(settings, store=None).trainings
    with pytest.raises(InvalidInput, match="label must be left out, since the data set 'digits' needs no such"):
        planned(settings.model_copy(update={"out": tmp_path / "new"}), store=None)


def test_a_target_s_parquet_files_have_no_separator(tmp_path):
    files = {name: tmp_path / f"{name}.parquet" for name in ("members", "nonmembers")}
    settings = KINDS.made(
        KINDS.rows["target"], {"target": "m.onnx", **files, "separator": ";", "out": tmp_path / "run"}
    )
    with pytest.raises(InvalidInput, match=r"separator must be left at ',', since the data are .parquet files"):
        planned(settings, store=None)

"""Settings of runs: a folder of another kind, and settings nobody would look at, are refused before all else."""

import pytest
import yaml

from hardlabel.checks import InvalidInput
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.folder import CONFIG
from hardlabel.experiments.settings import OWN, UNUSED, Kind, kind_of, refuse_other_run, settings_of

COMPARED = {"repeats": 4, "defenses": ["l2"], "levels": None, "pretrain": None}
PLANTED = {"canaries": 50, "kinds": ["rare"], "runs": 1, "epsilon": None, "delta": None}
KEPT = {Kind.MODEL: {}, Kind.RECIPE: {"repeats": 4}, Kind.DEFENSES: COMPARED, Kind.CANARIES: PLANTED}
OTHER = {
    "samples": 7,
    "precision": "bfloat16",
    "shadow_samples": 30,
    "shadow_labels": "target",
    "shadows": 4,
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
}


def kept(folder, kind, **others):
    """A folder that a run of this kind was begun in."""
    settings = settings_of(AuditConfig(out=folder, **others), kind, **KEPT[kind])
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(yaml.safe_dump(settings))
    return settings


@pytest.mark.parametrize("kind", Kind)
def test_settings_tell_their_kind(tmp_path, kind):
    assert kind_of(kept(tmp_path / "run", kind)) == kind
    assert set(KEPT[kind]) == set(OWN.get(kind, ()))


@pytest.mark.parametrize("there", Kind)
@pytest.mark.parametrize("kind", Kind)
def test_a_folder_never_holds_two_kinds(tmp_path, there, kind):
    kept(tmp_path / "run", there)
    if there == kind:
        kept(tmp_path / "run", kind)
        return
    with pytest.raises(InvalidInput, match=f"holds {there}; name a new folder"):
        kept(tmp_path / "run", kind)


def test_a_record_made_in_python_is_not_overwritten(tmp_path):
    (tmp_path / CONFIG).write_text(yaml.safe_dump({"seed": 0, "budget": None}))
    with pytest.raises(InvalidInput, match="holds the audit of a model"):
        refuse_other_run(tmp_path, settings_of(AuditConfig(out=tmp_path / "new"), Kind.MODEL))


@pytest.mark.parametrize(
    ("first", "then", "differs"),
    [
        ({}, {"seed": 1}, "seed"),
        ({"budget": 10}, {}, "budget"),  # None is a value here: no budget.
        ({"attacks": ["gap"]}, {}, "attacks"),
        ({"size": None}, {"size": 50}, "size"),
    ],
)
def test_other_settings_are_refused(tmp_path, first, then, differs):
    kept(tmp_path / "run", Kind.MODEL, **first)
    with pytest.raises(InvalidInput, match=rf"holds another audit \(it differs in {differs}\)"):
        kept(tmp_path / "run", Kind.MODEL, **then)


def test_what_was_left_open_agrees_with_what_was_taken(tmp_path):
    settings = kept(tmp_path / "run", Kind.MODEL)
    (tmp_path / "run" / CONFIG).write_text(yaml.safe_dump({**settings, "size": 449, "arch": "fc"}))
    kept(tmp_path / "run", Kind.MODEL)


def test_a_folder_from_before_a_setting_was_known_counts_as_its_default(tmp_path):
    settings = kept(tmp_path / "run", Kind.MODEL)
    del settings["worst_case"], settings["labels"]
    (tmp_path / "run" / CONFIG).write_text(yaml.safe_dump(settings))
    refuse_other_run(tmp_path / "run", {**settings, "worst_case": None, "labels": "true"})
    with pytest.raises(InvalidInput, match="differs in labels"):
        refuse_other_run(tmp_path / "run", {**settings, "worst_case": None, "labels": "target"})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in UNUSED.items() for name in names])
def test_a_setting_that_a_run_would_not_look_at_is_refused(tmp_path, kind, name):
    with pytest.raises(InvalidInput, match=rf"^{name} must be left at .*, since {kind} does not use it, got"):
        kept(tmp_path / "run", kind, **{name: OTHER[name]})

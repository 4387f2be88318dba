"""Run folders and a store that the version before wrote: they still show, load and resume, and nothing is made again.

tests/fixtures/runs-0.1.0.tgz holds a finished run of each kind and their store, written by hardlabel 0.1.0 at commit
b8dd9d2 with torch 2.13.0+cpu, numpy 2.4.6, scipy 1.17.1 and scikit-learn 1.9.1, one thread:

    hardlabel audit    --size 40 --shadows 4 --attacks gap,noise,path,lira ...
    hardlabel audit    --size 40 --shadows 2 --repeats 2 --attacks gap,gap-ratio,lira ...
    hardlabel defend   --size 40 --shadows 2 --repeats 2 --samples 40 --attacks gap,noise,lira ...
    hardlabel canaries --size 60 --canaries 30 --kinds mislabelled,rare ...
"""

import json
import re
import tarfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from commands import called
from hardlabel.kinds import KINDS, load, markdown, render
from hardlabel.runs.journal import MADE, Journal

FIXTURE = Path(__file__).parent / "fixtures" / "runs-0.1.0.tgz"
VERSIONS = {"torch": "2.13.0+cpu", "numpy": "2.4.6", "scipy": "1.17.1", "scikit-learn": "1.9.1"}
NAMES = {"model": "results.json", "recipe": "recipe.json", "defenses": "defend.json", "canaries": "canaries.json"}


@pytest.fixture
def before(tmp_path, monkeypatch):
    """The folder with runs and store, as the current folder."""
    with tarfile.open(FIXTURE) as packed:
        packed.extractall(tmp_path, filter="data")
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(record):
    """A record without what a clock, a place or a processor says, and without what today's records hold besides.

    Nor does it say who is exposed: today's pseudonyms and ids have another key.
    """
    found = json.loads(re.sub(r'"(\w*seconds)":[^,}]+', r'"\1":0', record.results.model_dump_json()))
    for name in ("environment", "format", "verdict", "checks", "classes", "recommendation", "exposed", "family"):
        found.pop(name, None)
    if isinstance(found.get("target"), dict):
        found["target"].pop("family")
    for game in found.get("games", ()):
        game.pop("top")
    for target in found["targets"] if isinstance(found.get("targets"), list) else ():
        target.pop("classes")
    if "notes" in found:
        notes = [note for note in found["notes"] if "whether the target changes" not in note]
        found["notes"] = [note.replace("; that is no attack's cost.", ", charged to no attack.") for note in notes]
    return found


def made(folder):
    return [line["piece"] for line in Journal(folder / "journal.jsonl").lines() if line["event"] == MADE]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_the_version_before_loads_and_shows(before, name):
    record = load(name)
    assert isinstance(record, KINDS.rows[name].load("record"))
    assert KINDS.of(record.config).name == name
    assert markdown(record).startswith(f"**{record.title}.**")
    assert "\ndata.csv: " in markdown(record)
    assert "</html>" in render(record)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_the_version_before_goes_on_to_the_same_record(before, name, monkeypatch, capsys):
    """Its record is taken away, as if it had broken off at the last moment; the pieces in the store say the same."""
    old = load(name)
    (before / name / NAMES[name]).unlink()
    pieces = made(before / name)
    code, _, told = called("resume", name, "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, told
    new = load(name)
    assert KINDS.of(new.config).name == new.config["kind"] == name
    if {package: metadata.version(package) for package in VERSIONS} != VERSIONS:
        pytest.skip("pieces hold the versions of libraries, and these are other ones: all pieces are made anew")
    # Today's audits of a model ask all samples before they train.
    new_pieces = made(before / name)[len(pieces) :]
    assert made(before / name)[: len(pieces)] == pieces
    assert len(new_pieces) <= (1 if name == "model" else 0)
    assert content(new) == content(old)
    columns = [column for column in old.scores if column not in ("id", "row", "pseudonym")]
    before, today = (record.scores[columns].sort_values(columns) for record in (old, new))
    np.testing.assert_array_equal(today.to_numpy(), before.to_numpy())
    if "id" in new.scores and "pseudonym" in new.scores:
        assert new.scores.sort_values("id", kind="stable")["pseudonym"].is_monotonic_increasing


@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_the_version_before_is_not_mistaken_for_another(before, name):
    """Old names and settings its kind never used are understood; another setting is refused."""
    kind, settings = KINDS.begun(before / name)
    assert (kind.name, settings.train_size) == (name, 60 if name == "canaries" else 40)
    KINDS.check_folder(kind, settings)
    with pytest.raises(ValueError, match=r"differs in seed"):
        KINDS.check_folder(kind, settings.model_copy(update={"seed": 1}))

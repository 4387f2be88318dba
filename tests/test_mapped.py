"""Decoded data in an Arrow file: the same samples, mapped, found again, and never believed where damaged."""

import json

import numpy as np
import pytest
import torch

from hardlabel.data import mapped, sources
from hardlabel.data.columns import Categorical, Missing, Numeric
from hardlabel.data.table import MixedTable
from hardlabel.store import DamagedPiece, Store


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 0)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "pictures.npz", inputs=rng.random((50, 3, 4, 4)), labels=rng.integers(0, 3, 50))
    return tmp_path / "pictures.npz"


def equal(one, other):
    assert (one.name, one.classes, one.class_names, one.origin) == (
        other.name,
        other.classes,
        other.class_names,
        other.origin,
    )
    assert one.samples.domain == other.samples.domain
    for name in ("ids", "inputs", "labels"):
        assert torch.equal(getattr(one.samples, name), getattr(other.samples, name)), name


def test_what_is_mapped_is_what_was_loaded(file, tmp_path):
    plain, store = sources.load(str(file)), Store(tmp_path / "store")
    equal(mapped.load(str(file), store=store), plain)
    equal(mapped.load(str(file), store=store), plain)
    equal(mapped.load(str(file)), plain)


def test_files_are_decoded_once_and_again_when_they_change(file, tmp_path, monkeypatch):
    store, read = Store(tmp_path / "store"), []
    real = sources.load
    monkeypatch.setattr(sources, "load", lambda *given, **said: read.append(1) or real(*given, **said))
    for _ in range(3):
        mapped.load(str(file), store=store)
    assert len(read) == 1
    np.savez(file, inputs=np.zeros((9, 3, 4, 4)), labels=np.arange(9) % 3)
    assert len(mapped.load(str(file), store=store).samples) == 9
    assert len(read) == 2


def test_its_memory_is_the_files(file, tmp_path):
    mapped.load(str(file), store=Store(tmp_path / "store"))
    [path] = (tmp_path / "store" / mapped.FOLDER).iterdir()
    found = mapped.read(path).samples.inputs
    with open("/proc/self/maps") as maps:
        ranges = [line.split(" ")[0].split("-") for line in maps if str(path) in line]
    assert any(int(low, 16) <= found.data_ptr() < int(high, 16) for low, high in ranges)


def test_a_damaged_file_is_said_and_decoded_again(file, tmp_path):
    store = Store(tmp_path / "store")
    plain = mapped.load(str(file), store=store)
    [path] = (store.root / mapped.FOLDER).iterdir()
    sound = path.read_bytes()
    at = sound.index(plain.samples.inputs[20].numpy().tobytes())
    for wrong in (sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :], sound[:at], b""):
        path.unlink()  # What is mapped must not change below us.
        path.write_bytes(wrong)
        with pytest.warns(DamagedPiece, match=path.name):
            equal(mapped.load(str(file), store=store), plain)
        assert path.read_bytes() == sound


def test_tables_come_back_with_the_types_of_their_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 0)
    rows = ["smoker,ward,age,word,y"] + [f"{i % 3 == 0},{i % 4},{i}.0,{'ab'[i % 2]},{i % 2}" for i in range(40)]
    (tmp_path / "people.csv").write_text("\n".join(rows))
    given = {"label": "y", "categorical": ["ward"], "store": Store(tmp_path / "store")}
    for _ in range(2):
        domain = mapped.load(str(tmp_path / "people.csv"), **given).samples.domain
        assert domain == sources.load(str(tmp_path / "people.csv"), label="y", categorical=["ward"]).samples.domain
    smoker, ward, age, word = domain.columns
    assert (smoker.values, ward.dtype, age.real, word.values) == ((False, True), "int64", True, None)
    assert mapped._told(domain)["columns"][3] == {"name": "word", "categories": ("a", "b")}
    gapped = Categorical("diet", ("?", "a"), (Missing.NONE, "a"), "object")
    levels = Numeric(name="zip", mean=1.0, scale=1.0, lower=0.0, upper=2.0, levels=(0.0, 2.0))
    table = MixedTable((gapped, levels), "?")
    assert mapped._domain(json.loads(json.dumps(mapped._told(table)))) == table


def test_small_data_and_those_without_files_are_left_alone(file, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 2**24)
    store = Store(tmp_path / "store")
    mapped.load(str(file), store=store)
    equal(mapped.load("digits", store=store), sources.load("digits"))
    assert not (store.root / mapped.FOLDER).exists()

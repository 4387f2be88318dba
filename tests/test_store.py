import json
import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardlabel import store as stores
from hardlabel.checks import InvalidInput
from hardlabel.store import DamagedPiece, Store, default_store, digest

SPEC = {"kind": "model", "seed": 3, "recipe": {"rate": 0.001, "moves": [1, 2]}}
PAYLOAD = b"a finished piece of work"
FORK = multiprocessing.get_context("fork")  # A child starts at once, with nothing to import.

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
specs = st.dictionaries(st.text(), values, max_size=5)
shared_folder = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def backwards(value):
    if isinstance(value, dict):
        return {key: backwards(inner) for key, inner in reversed(value.items())}
    return [backwards(inner) for inner in value] if isinstance(value, list) else value


@given(spec=specs, payload=st.binary(max_size=200))
@shared_folder
def test_what_was_saved_is_loaded(store, spec, payload):
    store.save(spec, payload)
    assert store.load(spec) == payload


def test_what_was_never_saved_is_none(store):
    store.save({"seed": 1}, PAYLOAD)
    assert store.load({"seed": 2}) is None


def test_a_second_save_replaces_the_first(store):
    store.save(SPEC, b"old")
    store.save(SPEC, b"new")
    assert store.load(SPEC) == b"new"


def test_another_store_on_the_same_folder_finds_the_piece(store):
    store.save(SPEC, PAYLOAD)
    assert Store(store.root).load(SPEC) == PAYLOAD


def test_a_note_shows_no_text_that_may_hold_values_of_the_data(store):
    spec = {"kind": "model", "seed": 3, "domain": "Categorical('city', ('Ulm',))", "recipe": {"text": ["Ulm"]}}
    store.save(spec, PAYLOAD)
    store.save({**spec, "seed": 4}, PAYLOAD)
    note, other = (json.loads(store.path({**spec, "seed": n}).with_suffix(".json").read_text()) for n in (3, 4))
    assert "Ulm" not in json.dumps(note)
    assert (note["kind"], note["seed"]) == ("model", 3)
    assert note["domain"] == other["domain"]  # Who looks can still tell what notes have in common.
    assert store.load(spec) == PAYLOAD


def test_the_spec_lies_beside_the_piece_for_humans(store):
    store.save(SPEC, PAYLOAD)
    told = store.path(SPEC).with_suffix(".json").read_text()
    assert json.loads(told) == SPEC
    assert len(told.splitlines()) > 1


@given(spec=specs)
@settings(max_examples=50, deadline=None)
def test_the_order_of_keys_does_not_matter(spec):
    assert digest(backwards(spec)) == digest(spec)


@given(first=specs, second=specs)
@settings(max_examples=50, deadline=None)
def test_specs_share_a_digest_exactly_if_they_are_the_same_json(first, second):
    same = json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)
    assert (digest(first) == digest(second)) == same


def test_values_that_look_alike_have_digests_of_their_own():
    alike = [1, 1.0, True, "1", [1], [[1]], {"1": 1}, None, "None", "null", 0, False, "", [], {}]
    assert len({digest({"value": value}) for value in alike}) == len(alike)


def test_a_tuple_is_a_list():
    assert digest({"moves": (1, (2, 3))}) == digest({"moves": [1, [2, 3]]})


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({1: "a"}, "keys must be strings, got 1"),
        (float("nan"), "numbers must be finite, got nan"),
        ([float("inf")], "numbers must be finite, got inf"),
        (b"bytes", "JSON values only, got bytes"),
        (Path("x"), "JSON values only"),
    ],
)
def test_a_spec_that_is_not_json_is_refused(store, value, rule):
    for call in (digest, store.load, lambda spec: store.save(spec, PAYLOAD)):
        with pytest.raises(InvalidInput, match=rule):
            call({"value": value})


def test_any_flipped_bit_is_found_out(store):
    store.save(SPEC, PAYLOAD)
    path = store.path(SPEC)
    sound = path.read_bytes()
    for position in range(len(sound)):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
        with pytest.warns(DamagedPiece, match=path.name):
            assert store.load(SPEC) is None


def test_any_cut_or_addition_is_found_out(store):
    store.save(SPEC, PAYLOAD)
    path = store.path(SPEC)
    sound = path.read_bytes()
    for wrong in [sound[:length] for length in range(len(sound))] + [sound + b"\0"]:
        path.write_bytes(wrong)
        with pytest.warns(DamagedPiece):
            assert store.load(SPEC) is None


def test_a_piece_copied_over_another_is_found_out(store):
    other = {"seed": 4}
    store.save(SPEC, PAYLOAD)
    store.save(other, b"another")
    store.path(other).write_bytes(store.path(SPEC).read_bytes())
    with pytest.warns(DamagedPiece):
        assert store.load(other) is None


def test_a_damaged_piece_can_be_saved_again(store):
    store.save(SPEC, PAYLOAD)
    store.path(SPEC).write_bytes(b"")
    store.save(SPEC, PAYLOAD)
    assert store.load(SPEC) == PAYLOAD


@pytest.mark.parametrize("before", [None, b"old"])
def test_killed_before_the_rename_a_save_leaves_the_old_state(store, before):
    if before is not None:
        store.save(SPEC, before)
    process = FORK.Process(target=save_and_be_killed, args=(store,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.load(SPEC) == before
    store.save(SPEC, b"newer")
    assert store.load(SPEC) == b"newer"


def save_and_be_killed(store):
    rename = os.replace

    def killed(draft, path):
        if Path(path).suffix == ".piece":  # The whole draft is written; SIGKILL leaves no time to clean up.
            assert Path(draft).read_bytes().endswith(b"new")
            os.kill(os.getpid(), signal.SIGKILL)
        rename(draft, path)

    os.replace = killed
    store.save(SPEC, b"new")


def test_an_interrupted_save_cleans_up_and_leaves_the_old_state(store, monkeypatch):
    store.save(SPEC, b"old")
    there = sorted(store.root.iterdir())

    def interrupted(draft, path):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.save(SPEC, b"new")
    assert store.load(SPEC) == b"old"
    assert sorted(store.root.iterdir()) == there


def test_processes_may_save_the_same_piece_at_once(store):
    together = FORK.Barrier(3)
    writers = [FORK.Process(target=save_many, args=(store, letter, together)) for letter in (b"a", b"b")]
    for writer in writers:
        writer.start()
    together.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while any(writer.is_alive() for writer in writers):
            payload = store.load(SPEC)
            assert payload is None or payload == payload[:1] * len(payload)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert store.load(SPEC) in (b"a" * 59_001, b"b" * 59_001)
    assert {path.suffix for path in store.root.iterdir()} == {".piece", ".json"}


def save_many(store, letter, together):
    together.wait()
    for length in range(60):
        store.save(SPEC, letter * (1 + 1000 * length))


def test_a_folder_that_cannot_be_made_is_refused_with_its_path(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidInput, match=r"store '.*file/store' must be a folder that can be made and written to"):
        Store(tmp_path / "file" / "store")
    with pytest.raises(InvalidInput, match="must be a folder"):
        Store(tmp_path / "file")


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    def refused(*, dir, **named):
        raise OSError(30, "Read-only file system", str(dir))

    monkeypatch.setattr(stores.tempfile, "TemporaryFile", refused)
    with pytest.raises(InvalidInput, match="Read-only file system"):
        Store(tmp_path)


def test_a_folder_that_vanished_is_refused_at_saving(store):
    store.root.rmdir()
    with pytest.raises(InvalidInput, match="must be a folder that can be made and written to"):
        store.save(SPEC, PAYLOAD)
    assert store.load(SPEC) is None


def test_the_default_store_is_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "here"))
    assert default_store().root == tmp_path / "here"
    assert (tmp_path / "here").is_dir()


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "{home}/elsewhere"}, "elsewhere/hardlabel"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache/hardlabel"),
        ("linux", {"HARDLABEL_STORE": ""}, ".cache/hardlabel"),
        ("linux", {"HARDLABEL_STORE": "~/mine"}, "mine"),
        ("darwin", {"XDG_CACHE_HOME": "{home}/elsewhere"}, "Library/Caches/hardlabel"),
    ],
)
def test_without_the_variable_it_is_the_platforms_cache(tmp_path, monkeypatch, platform, variables, folder):
    for name in ("HARDLABEL_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    assert default_store().root == tmp_path / folder


def test_digests_stay_the_same_from_release_to_release():
    assert digest(SPEC) == "6c4402f75739a4cad9d731ed07ec9d01"

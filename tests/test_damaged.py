"""Bits flipped, cuts and swaps in every file of a store, its cache and a run folder: none is used, none a traceback."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from hardlabel.checks import InvalidInput
from hardlabel.data import mapped, sources
from hardlabel.kinds import KINDS, load
from hardlabel.records import base
from hardlabel.runs import listing, tidy
from hardlabel.runs.folder import SUMS, read_settings
from hardlabel.runs.journal import MADE, Journal, JournaledStore, sealed, unsealed
from hardlabel.runs.progress import SILENT
from hardlabel.store import DamagedPiece, Store
from hostile import damages, in_time, replaced
from records import make_canary_record, make_defend_record, make_recipe_record, make_record

MAKERS = {
    "model": make_record,
    "recipe": make_recipe_record,
    "defenses": make_defend_record,
    "canaries": make_canary_record,
}
COUNTS = [30, pytest.param(300, marks=pytest.mark.long)]
FILES = ["config.yaml", "scores.parquet", SUMS, "record"]


@pytest.fixture(scope="module", params=MAKERS)
def finished(request, tmp_path_factory):
    """A run folder of each kind."""
    return MAKERS[request.param]().save(tmp_path_factory.mktemp(request.param)).folder


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_of_a_record_is_named_in_one_line(finished, name, count, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    [file] = {kind.file for kind in KINDS.rows.values() if (folder / kind.file).exists()}
    path = folder / (file if name == "record" else name)
    if name == "scores.parquet" and file == "canaries.json":
        return  # It keeps no scores.
    sound = path.read_bytes()
    for damaged in damages(sound, count):
        replaced(path, damaged)
        with in_time(), pytest.raises(InvalidInput) as refused:
            load(folder)
        assert str(folder) in str(refused.value)
        assert path.name in str(refused.value)
        assert "\n" not in str(refused.value)
    replaced(path, sound)
    assert load(folder).results == load(finished).results


@pytest.mark.parametrize("count", COUNTS)
def test_damaged_settings_of_a_run_that_has_begun_are_refused(count, tmp_path):
    with listing.begun(tmp_path / "run", {"data": "digits", "seed": 1}, store=None):
        pass
    path = tmp_path / "run" / "config.yaml"
    for damaged in damages(path.read_bytes(), count):
        replaced(path, damaged)
        with pytest.raises(InvalidInput, match=r"config\.yaml"):
            read_settings(tmp_path / "run")


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_piece_is_never_used(count, tmp_path):
    store, spec = Store(tmp_path), {"kind": "model"}
    store.save(spec, bytes(1000))
    path = store.path(spec)
    for damaged in damages(path.read_bytes(), count):
        replaced(path, damaged)
        with pytest.warns(DamagedPiece, match=path.name):
            assert store.load(spec) is None


@pytest.mark.parametrize("sort", ["features.npz", "table.csv"])
@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_file_of_decoded_data_is_never_used(count, sort, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 0)
    rng = np.random.default_rng(0)
    source = tmp_path / sort
    if sort == "table.csv":
        rows = [f"{a:.3f},{b},{c}" for a, b, c in zip(rng.random(60), "xyz" * 20, rng.integers(0, 2, 60), strict=True)]
        source.write_text("\n".join(["height,town,label", *rows]))
    else:
        np.savez(source, inputs=rng.random((30, 4)), labels=rng.integers(0, 3, 30))
    label = "label" if sort == "table.csv" else None
    plain, store = sources.load(str(source), label=label), Store(tmp_path / "store")
    kept = mapped.load(str(source), label=label, store=store)
    assert repr(kept.samples.domain) == repr(plain.samples.domain)  # The store's keys hold it.
    [path] = (store.root / mapped.FOLDER).iterdir()
    sound = path.read_bytes()
    # Names, means and levels lie in the Arrow schema, which stands in the file twice.
    for damaged in damages(sound, count):
        replaced(path, damaged)
        assert mapped.read(path) is None
    with pytest.warns(DamagedPiece, match=path.name):
        mapped.load(str(source), label=label, store=store)
    assert path.read_bytes() == sound


def test_decoded_data_hold_no_pickle(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 0)
    np.savez(tmp_path / "a.npz", inputs=np.random.default_rng(0).random((9, 4)), labels=np.arange(9) % 3)
    mapped.load(str(tmp_path / "a.npz"), store=Store(tmp_path / "store"))
    [path] = (tmp_path / "store" / mapped.FOLDER).iterdir()
    assert b'"domain": {"kind": "' in path.read_bytes()
    assert b"hardlabel.data" not in path.read_bytes()  # A pickle names the classes of its objects.
    assert not hasattr(mapped, "pickle")


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_journal_tells_nothing_wrong(count, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(20):
        journal.tell(MADE, piece=f"{number:032x}", kind="measurement")
    lines, sound = list(journal.lines()), journal.path.read_bytes()
    for damaged in damages(sound, count):
        replaced(journal.path, damaged)
        found = list(journal.lines())
        assert all(line in lines for line in found)
        assert len(found) >= len(lines) - 2 or len(damaged) < len(sound)


@pytest.mark.parametrize("count", COUNTS)
def test_a_damaged_note_of_the_store_names_no_other_folder(count, tmp_path):
    store = Store(tmp_path / "store")
    with listing.begun(tmp_path / "run", {"data": "digits"}, store=store, places={"data": "~/some/where.csv"}):
        pass
    [note] = (store.root / listing.KNOWN).glob("*.json")
    folder = listing.noted_folder(note, store)
    assert folder == tmp_path / "run"
    for damaged in damages(note.read_bytes(), count):
        replaced(note, damaged)
        assert listing.noted_folder(note, store) in (None, folder)
        assert listing.places_of_run(folder, store) in ({}, {"data": "~/some/where.csv"})


def test_pieces_stay_where_a_note_or_a_journal_is_damaged(tmp_path):
    """Freed are only pieces of runs that are known to be gone."""
    store = Store(tmp_path / "store")
    journaled = listing.journaled(tmp_path / "run", store, SILENT)
    with listing.begun(tmp_path / "run", {"data": "digits"}, store=journaled):
        journaled.save({"kind": "model"}, b"weights")
    [note] = (store.root / listing.KNOWN).glob("*.json")
    sound = note.read_bytes()
    (tmp_path / "run" / "journal.jsonl").write_text("")
    assert tidy.spare(store).files == ()
    note.write_bytes(b"{")
    assert tidy.spare(store).files == ()
    note.write_bytes(sound)
    shutil.rmtree(tmp_path / "run")
    assert store.path({"kind": "model"}) in tidy.spare(store).files


def test_clean_frees_decoded_data_that_no_run_uses(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "WORTH_KEEPING", 0)
    store = Store(tmp_path / "store")
    for name in ("used", "unused"):
        np.savez(tmp_path / f"{name}.npz", inputs=np.random.default_rng(0).random((9, 4)), labels=np.arange(9) % 3)
    mapped.load(str(tmp_path / "unused.npz"), store=store)
    [unused] = (store.root / mapped.FOLDER).iterdir()
    journaled = listing.journaled(tmp_path / "run", store, SILENT)
    assert isinstance(journaled, JournaledStore)
    mapped.load(str(tmp_path / "used.npz"), store=journaled)
    with listing.begun(tmp_path / "run", {"data": "used.npz"}, store=journaled):
        pass
    assert tidy.spare(store).files == (unused,)
    tidy.free(tidy.spare(store))
    assert len(list((store.root / mapped.FOLDER).iterdir())) == 1
    shutil.rmtree(tmp_path / "run")
    tidy.free(tidy.spare(store))
    assert list((store.root / mapped.FOLDER).iterdir()) == []


def test_lines_and_records_without_checksums_are_read(tmp_path):
    """Older versions wrote none."""
    (tmp_path / "journal.jsonl").write_text(json.dumps({"event": MADE, "piece": "0" * 32}) + "\n")
    assert Journal(tmp_path / "journal.jsonl").pieces() == {"0" * 32}
    record = make_record().save(tmp_path / "run")
    (tmp_path / "run" / SUMS).unlink()
    assert load(tmp_path / "run").results == record.results


def test_sha256sum_reads_the_checksums(tmp_path):
    make_record().save(tmp_path)
    listed = dict(reversed(line.split("  ")) for line in (tmp_path / SUMS).read_text().splitlines())
    assert listed.keys() == {"config.yaml", "scores.parquet", "results.json"}
    for name, checksum in listed.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == checksum


def test_a_record_can_be_saved_over_another_and_a_kill_leaves_it_readable(tmp_path, monkeypatch):
    first, second = make_record(seed=0), make_record(seed=1)
    first.save(tmp_path)
    for files in range(4):
        real, written = base.write_whole, []

        def killed(path, content, written=written, files=files, real=real):
            if len(written) == files:
                raise KeyboardInterrupt
            written.append(path)
            real(path, content)

        monkeypatch.setattr(base, "write_whole", killed)
        monkeypatch.setattr(base, "write_sums", lambda folder, contents: killed(folder / SUMS, b""))
        with pytest.raises(KeyboardInterrupt):
            second.save(tmp_path)
        monkeypatch.undo()
        assert load(tmp_path).results in (first.results, second.results)
    second.save(tmp_path)
    assert load(tmp_path).results == second.results


def test_sealed_lines_are_told_from_any_others():
    line = sealed({"event": MADE, "piece": "0" * 32, "kind": None, "share": 0.1})
    assert unsealed(line.encode()) == {"event": MADE, "piece": "0" * 32, "kind": None, "share": 0.1}
    assert unsealed(line.replace("0.1", "0.2").encode()) is None
    assert unsealed(line.replace("0.1", "0.2").replace("crc32", "crc33").encode()) is None

"""Whatever is in a file, loading it gives a data set or one line, within seconds and in little memory."""

import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

import hostile_files as hostile
from hardlabel.checks import LONGEST_LINE, InvalidInput
from hardlabel.data import limits
from hardlabel.data.dataset import Dataset
from hardlabel.data.sources import load
from hardlabel.data.table import MixedTable

SECONDS = 10  # Each takes a hundredth of that; a busy machine may be slow.


def outcome(path, label="y"):
    """The data, or the line that refuses them; anything else that happens is a failure."""
    try:
        data = load(str(path), label=label)
    except InvalidInput as error:
        told = str(error)
        assert told
        assert len(told) <= LONGEST_LINE
        assert not [mark for mark in told if unicodedata.category(mark) == "Cc"]
        return told
    assert isinstance(data, Dataset)
    assert len(data.samples) > 0
    return data


def label_in(path):
    content = path.read_bytes() if path.suffix == ".parquet" else b""
    return "label" if b"img" in content else "y"


@pytest.mark.parametrize("kind", hostile.SEEN)
def test_what_was_seen_to_do_harm_is_told_in_one_line(kind, tmp_path):
    name, write, wanted = hostile.SEEN[kind]
    write(tmp_path / name)
    begun = time.monotonic()
    found = outcome(tmp_path / name, label_in(tmp_path / name))
    assert time.monotonic() - begun < SECONDS
    if wanted:
        assert isinstance(found, str)
        assert re.search(wanted, found)
    else:
        assert isinstance(found, Dataset)


LIMITED = """
import resource, sys
from hardlabel.checks import InvalidInput
from hardlabel.data.sources import load
import scipy.stats, pyarrow.csv, PIL.Image  # Mapped before the limit.
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30,) * 2)  # Arrow reserves addresses by the gigabyte.
try:
    print("taken", len(load(sys.argv[1], label=sys.argv[2]).samples))
except InvalidInput as error:
    print("refused", error)
# Not `ru_maxrss`, which begins with that of the process that started this one.
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak", peak)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of addresses are Linux's")
@pytest.mark.parametrize(
    "kind",
    [
        "a packed header of terabytes",
        "a trillion rows",
        "one long text in every row",
        "pictures of too many pixels together",
        "millions of columns",
        "categories by the thousand",
    ],
)
def test_little_memory_is_enough_to_refuse(kind, tmp_path):
    name, write, wanted = {
        **hostile.SEEN,
        "categories by the thousand": ("x.parquet", hostile.categories_by_the_thousand, "encoded values needs"),
    }[kind]
    write(tmp_path / name)
    command = [sys.executable, "-c", LIMITED, str(tmp_path / name), label_in(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, peak = done.stdout.splitlines()
    assert int(peak.split()[1]) < 2**21  # KiB of addresses, of which PyTorch, pandas and Arrow take half.
    assert first.startswith("refused")
    assert re.search(wanted, first)


def test_an_archive_that_unpacks_to_much_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "dataset_location.tgz"
    for members in ([("bangkok", 2**28)], [("before", 2**28), ("bangkok", 100)]):
        hostile.archive(path, members)
        with pytest.raises(InvalidInput, match=r"must unpack to at most 500 times its size"):
            load("location", folder=tmp_path)


def test_a_header_of_an_archive_that_promises_gigabytes_is_refused(tmp_path):
    path = tmp_path / "dataset_location.tgz"
    info = tarfile.TarInfo("long")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**32
    path.write_bytes(info.tobuf(format=tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(InvalidInput, match=r"promises|unpack") as error:
        load("location", folder=tmp_path)
    assert "\n" not in str(error.value)


def test_a_line_of_integers_without_an_end_is_refused(tmp_path):
    (tmp_path / "bangkok").write_bytes(b"1," * 2**22)
    with pytest.raises(InvalidInput, match="at most 65,536 columns"):
        load("location", folder=tmp_path)
    (tmp_path / "bangkok").write_bytes(b"1" * 2**23)
    with pytest.raises(InvalidInput, match="must not be longer than"):
        load("location", folder=tmp_path)


def test_folders_and_pipes_are_no_files(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InvalidInput, match="must be a file, found a folder"):
        load(str(tmp_path / "folder.csv"), label="y")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InvalidInput, match="must be a file, found something else"):
        load(str(tmp_path / "pipe.csv"), label="y")
    for name in ("a\0.csv", "a" * 300 + ".csv"):
        with pytest.raises(InvalidInput, match="data must not hold a n"):
            load(name, label="y")


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "year=2020"
    folder.mkdir()
    pd.DataFrame({"a": [1.5, 2.5], "y": [0, 1]}).to_parquet(folder / "t.parquet")
    assert [column.name for column in load(str(folder / "t.parquet"), label="y").samples.domain.columns] == ["a"]


def test_an_index_that_pandas_wrote_is_no_feature(tmp_path):
    pd.DataFrame({"a": [1.5, 2.5], "y": [0, 1]}, index=["p", "q"]).to_parquet(tmp_path / "t.parquet")
    data = load(str(tmp_path / "t.parquet"), label="y")
    assert [column.name for column in data.samples.domain.columns] == ["a"]


@pytest.mark.parametrize("cell", [[1], {"a": 1}, (1, 2), {1}, b"1", np.ones(2), 1j])
def test_cells_of_a_frame_that_hold_more_than_a_value_are_told_with_column_and_row(cell):
    column = pd.Series([None, None], dtype=object)
    column[:] = ["a", "b"]
    legal = MixedTable.fit(pd.DataFrame({"tags": column}))
    column.iat[1] = cell
    frame = pd.DataFrame({"tags": column})
    rule = rf"column 'tags' must hold numbers, text or booleans, got a {type(cell).__name__} in row 1: leave"
    with pytest.raises(InvalidInput, match=rule):
        MixedTable.fit(frame)
    with pytest.raises(InvalidInput, match=rule):
        legal.encode(frame)


def test_memory_is_that_of_the_machine_or_less(monkeypatch):
    assert 2**20 < limits.memory() < 2**50
    monkeypatch.setattr(limits, "_machine", lambda: 1000.0)
    assert limits.memory() == 1000
    limits.afford(1000, "this")
    with pytest.raises(InvalidInput, match="this needs"):
        limits.afford(1001, "this")


# A fuzz.


def _valid(kind, folder):
    frame = pd.DataFrame({"a": [1.5, 2.5, 3.5, 0.5], "town": ["Ulm", "Bonn", "Ulm", "x"], "y": ["u", "v", "u", "v"]})
    path = folder / f"valid.{kind.removesuffix('-pictures')}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "parquet-pictures":
        hostile.pictures(path, [hostile.png(3, 2, rows=2)] * 4, [0, 1, 0, 1])
    else:
        np.savez_compressed(path, x=np.arange(24.0).reshape(4, 6), y=[0, 1, 0, 1])
    return path.read_bytes()


with tempfile.TemporaryDirectory() as _folder:
    VALID = {kind: _valid(kind, Path(_folder)) for kind in ("npz", "csv", "parquet", "parquet-pictures")}

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "repeat"]),
        st.integers(0, 10**4),
        st.binary(min_size=1, max_size=9)
        | st.sampled_from([b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\n", b",,"]),
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def mutated(draw):
    kind = draw(st.sampled_from(sorted(VALID)))
    content = bytearray(VALID[kind])
    for way, place, new in draw(EDITS):
        at = place % (len(content) + 1)
        if way == "set":
            content[at : at + len(new)] = new
        elif way == "cut":
            del content[at : at + 50 * len(new)]
        elif way == "insert":
            content[at:at] = new
        else:
            content[at:at] = content[at : at + 100]
    return f"x.{kind.removesuffix('-pictures')}", lambda path: path.write_bytes(bytes(content))


DESCRIPTIONS = ["<f8", ">f4", "<f2", "<i8", "|b1", "|O", "<U3", "|S0", "<M8[s]", "<c8", "<u8", "<f16", "|V5", "bad"]
AXES = st.integers(-1, 4) | st.sampled_from([10**6, 2**31, 2**62, 2**64])


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(AXES, max_size=5)))
    payload = draw(st.binary(max_size=200))
    inputs = hostile.npy(shape, draw(st.sampled_from(DESCRIPTIONS)), payload=payload, version=draw(st.integers(1, 3)))
    labels = hostile.npy(tuple(draw(st.lists(AXES, max_size=2))), draw(st.sampled_from(DESCRIPTIONS)), payload=payload)
    packing = draw(st.sampled_from([0, 8, 12, 14]))
    return "x.npz", lambda path: hostile.npz(path, compression=packing, x=inputs, y=labels)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.lists(st.integers(0, 3), max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2),
    st.dates(),
    st.datetimes(),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
)


@st.composite
def columns(draw):
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(st.sampled_from(["a", "b", "a.b", "img", "image", "bad\nname", "\x1b[2J", ""]), max_size=4))
    table = []
    for name in [*names, "y", "label"]:
        cells = draw(st.lists(CELLS, min_size=rows, max_size=rows))
        if name in ("y", "label") and draw(st.integers(0, 3)):
            cells = [place % 2 for place in range(rows)]
        try:
            table.append((name, pa.array(cells)))
        except (pa.ArrowException, OverflowError, ValueError):  # Cells that share no type.
            table.append((name, pa.array([str(cell) for cell in cells])))
    made, file = pa.table([column for _, column in table], names=[name for name, _ in table]), io.BytesIO()
    try:
        pyarrow.parquet.write_table(made, file)
    except pa.ArrowNotImplementedError:  # Structs without fields.
        reject()
    return "x.parquet", lambda path: path.write_bytes(file.getvalue())


@st.composite
def texts(draw):
    cell = st.text(alphabet=st.sampled_from('ab01.-",\n\r\x00\x1b\ufeffé \u2028'), max_size=6) | st.sampled_from(
        ["1e999", "nan", "-0", "1" * 40, "=cmd()", "[red]", "True"]
    )
    lines = draw(st.lists(st.lists(cell, max_size=4), max_size=6))
    content = "a,y\n" * draw(st.booleans()) + "\n".join(",".join(line) for line in lines)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return "x.csv", lambda path: path.write_bytes(content.encode(encoding, errors="replace"))


def _seen_first(test):
    for name, write, _ in hostile.SEEN.values():
        test = example((name, write))(test)
    return test


@_seen_first
@settings(max_examples=250, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(mutated(), arrays(), columns(), texts()))
def test_any_file_is_a_data_set_or_one_line(case):
    name, write = case
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        outcome(path, label_in(path))

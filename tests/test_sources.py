"""Every source is read in its published format, and what is wrong with a file is said in one line."""

import io
import math
import tarfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.sources import SOURCES, load
from hardlabel.data.split import equal_sizes, split


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file, format="PNG")
    return file.getvalue()


def write_pictures(path, pictures, *, picture="img", **columns):
    cells = pa.array(
        [{"bytes": p, "path": None} for p in pictures], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    pyarrow.parquet.write_table(pa.table({picture: cells, **columns}), path)


def write_archive(path, **members):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))


# Published formats, by hand.


def test_a_label_column_of_numbers_that_occur_once_is_refused(tmp_path):
    pd.DataFrame({"a": np.arange(100.0) % 7, "income": np.arange(100)}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(InvalidInput, match="labels must name classes, got 100 different values in 100 rows"):
        load(str(tmp_path / "t.csv"), label="income")


def test_a_folder_named_like_a_source_is_that_source(shared_data):
    assert load(str(shared_data / "location")).name == "location"


def test_pictures_are_read_channel_first_train_before_test(tmp_path):
    (tmp_path / "cifar10").mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 4, 5, 3))
    write_pictures(tmp_path / "cifar10" / "test-00000-of-00001.parquet", [png(pixels[2])], label=[7])
    for part in (1, 0):
        file = tmp_path / "cifar10" / f"train-0000{part}-of-00002.parquet"
        write_pictures(file, [png(pixels[part])], label=[part])
    data = load("cifar10", folder=tmp_path)
    expected = torch.from_numpy(pixels.transpose(0, 3, 1, 2) / 255).float()
    torch.testing.assert_close(data.samples.inputs, expected, rtol=0, atol=1e-7)
    assert data.samples.labels.tolist() == [0, 1, 2]  # Classes 0, 1, 7: no metadata told of others.
    assert data.class_names == ("0", "1", "7")
    assert data.samples.ids.tolist() == [0, 1, 2]
    assert data.samples.domain == Box((3, 4, 5))


def test_class_names_are_taken_from_hugging_faces_metadata(tmp_path):
    names = '{"info": {"features": {"fine_label": {"names": ["ant", "bee", "cow"]}}}}'
    for kind in ("train", "test"):
        file = tmp_path / f"{kind}-00000-of-00001.parquet"
        write_pictures(file, [png([[0]]), png([[255]])], picture="image", label=[5, 6], fine_label=[0, 2])
        table = pyarrow.parquet.read_table(file).replace_schema_metadata({"huggingface": names})
        pyarrow.parquet.write_table(table, file)
    data = load("cifar100", folder=tmp_path)
    assert (data.classes, data.class_names) == (3, ("ant", "bee", "cow"))
    assert data.samples.labels.tolist() == [0, 2, 0, 2]
    assert data.samples.inputs.flatten().tolist() == [0, 1, 0, 1]  # Grey: one channel.
    assert data.samples.domain == Box((1, 1, 1))


def test_damaged_pictures_are_told_by_row(tmp_path):
    file = tmp_path / "some.parquet"
    write_pictures(file, [png([[0]]), b"no picture"], label=[0, 1])
    with pytest.raises(InvalidInput, match="must hold readable pictures, row 1"):
        load(str(file))
    write_pictures(file, [png([[0]]), png([[0, 1]])], label=[0, 1])
    with pytest.raises(InvalidInput, match=r"must have pictures of size \(1, 1\), got \(2, 1\) in row 1"):
        load(str(file))
    write_pictures(file, [png([[0]])], kind=[0])
    with pytest.raises(InvalidInput, match="must have a column 'label', got img, kind"):
        load(str(file))


def test_purchase_is_read_from_its_archive_and_unpacked(tmp_path):
    rows = [[3, *([0, 1] * 300)], [100, *([1] * 600)], [1, *([0] * 600)]]
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    write_archive(tmp_path / "dataset_purchase.tgz", dataset_purchase=text)
    packed = load("purchase100", folder=tmp_path)
    (tmp_path / "dataset_purchase").write_text(text)
    for data in (packed, load("purchase100", folder=tmp_path)):
        assert data.samples.labels.tolist() == [2, 99, 0]
        assert (data.classes, data.class_names[2]) == (100, "3")
        assert data.samples.inputs.tolist() == [row[1:] for row in rows]
        assert data.samples.domain == BinaryFeatures(600)


def test_texas_is_read_from_two_files(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2, (4, 6169))
    feats = "".join(",".join(map(str, row)) + "\n" for row in bits)
    write_archive(tmp_path / "dataset_texas.tgz", texas__100__labels="1\n100\n7\n7\n", texas__100__feats=feats)
    packed = load("texas100", folder=tmp_path)
    unpacked = tmp_path / "texas100" / "texas" / "100"
    unpacked.mkdir(parents=True)
    (unpacked / "feats").write_text(feats)
    (unpacked / "labels").write_text("1\n100\n7\n7\n")
    for data in (packed, load("texas100", folder=tmp_path)):
        assert data.samples.labels.tolist() == [0, 99, 6, 6]
        assert (data.samples.inputs.numpy() == bits).all()
        assert data.classes == 100
    (unpacked / "labels").write_text("1\n100\n7\n")
    with pytest.raises(InvalidInput, match="one label per row"):
        load("texas100", folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"1",0,\n"2",0,1\n', "a cell of integers must not be empty"),
        ("", "cannot be read: Empty CSV file"),
        ('"1",0,1\n"31",0,1\n', "must have labels 1 to 30, got 31"),
        ('"1",0,2\n', "must be 0 or 1 in a binary domain, got 2"),
        ('"1",0,1\n"2",0\n', "cannot be read: CSV parse error"),
        ('"1",0,\n', "must not be empty|cannot be read"),
        ('"1",0,0.5\n', "cannot be read"),
        ("a,b,c\n", "cannot be read"),
    ],
)
def test_damaged_rows_of_bits_are_refused(tmp_path, text, message):
    (tmp_path / "bangkok").write_text(text)
    with pytest.raises(InvalidInput, match=message):
        load("location", folder=tmp_path)


def test_damaged_archives_are_refused(tmp_path):
    archive = tmp_path / "dataset_location.tgz"
    archive.write_bytes(b"not an archive")
    with pytest.raises(InvalidInput, match=r"dataset_location\.tgz cannot be read"):
        load("location", folder=tmp_path)
    write_archive(archive, other="1,0\n")
    with pytest.raises(InvalidInput, match="must hold bangkok"):
        load("location", folder=tmp_path)
    bits = np.random.default_rng(0).integers(0, 2, 100_000).tolist()
    write_archive(archive, bangkok="".join(f"1,{bit}\n" for bit in bits))
    whole = archive.read_bytes()
    for damaged in (whole[:9_000], whole[:9_000] + b"\xff" * 1000 + whole[10_000:]):
        archive.write_bytes(damaged)
        with pytest.raises(InvalidInput, match="cannot be read"):
            load("location", folder=tmp_path)


# Finding.


def test_a_missing_file_is_told_with_its_folder_and_public_address(tmp_path):
    with pytest.raises(InvalidInput) as error:
        load("cifar10", folder=tmp_path)
    told = str(error.value)
    assert "train-*.parquet" in told
    assert str(tmp_path / "cifar10") in told
    assert "https://huggingface.co/datasets/uoft-cs/cifar10" in told
    assert "\n" not in told


def test_the_folder_is_the_argument_or_else_the_environments(tmp_path, monkeypatch):
    monkeypatch.delenv("HARDLABEL_DATA", raising=False)
    with pytest.raises(InvalidInput, match="give one or set HARDLABEL_DATA"):
        load("location")
    (tmp_path / "bangkok").write_text('"30",0,1\n"1",1,1\n')
    monkeypatch.setenv("HARDLABEL_DATA", str(tmp_path))
    assert load("location").samples.labels.tolist() == [29, 0]
    with pytest.raises(InvalidInput, match="is missing"):
        load("location", folder=tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("name", "message"),
    [("cifar", "data 'cifar' is unknown: did you mean 'cifar10'"), ("gone.csv", "'gone.csv' must be a file")],
)
def test_unknown_names_and_paths_are_refused(name, message):
    with pytest.raises(InvalidInput, match=message):
        load(name)


def test_every_source_has_one_line_of_help():
    assert set(SOURCES) == {
        "adult", "cifar10", "cifar100", "digits", "location", "mnist", "purchase100", "texas100",
    }  # fmt: skip
    assert all(line and "\n" not in line for line in SOURCES.values())


def test_digits_need_no_folder(monkeypatch):
    monkeypatch.delenv("HARDLABEL_DATA", raising=False)
    data = load("digits")
    assert data.samples.domain == Box((1, 8, 8))
    assert torch.bincount(data.samples.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (float(data.samples.inputs.min()), float(data.samples.inputs.max())) == (0, 1)


# Files of any origin.


def test_arrays_of_bytes_and_floats_are_the_same_pictures(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "bytes.npz", x=pixels, y=[0, 1, 0, 1])
    np.savez(tmp_path / "floats.npz", inputs=pixels.transpose(0, 3, 1, 2) / 255, labels=[0, 1, 0, 1])
    first, second = (load(str(tmp_path / name)).samples for name in ("bytes.npz", "floats.npz"))
    assert first.domain == second.domain == Box((3, 6, 5))
    torch.testing.assert_close(first.inputs, second.inputs, rtol=0, atol=2**-23)


def test_vectors_become_bits_or_standardised_numbers(tmp_path):
    np.savez(tmp_path / "bits.npz", X=np.eye(3), y=[2, 0, 1])
    np.savez(tmp_path / "floats.npz", x=[[1.0, 10.5], [3.0, 20.5]], y=[0, 1])
    np.savez(tmp_path / "whole.npz", x=[[1, 10], [3, 20]], y=[0, 1])
    assert load(str(tmp_path / "bits.npz")).samples.domain == BinaryFeatures(3)
    floats, whole = (load(str(tmp_path / name)).samples for name in ("floats.npz", "whole.npz"))
    assert floats.inputs.tolist() == whole.inputs.tolist() == [[-1, -1], [1, 1]]
    assert (floats.domain.continuous, whole.domain.continuous) == (True, False)


def test_labels_of_any_type_are_numbered_in_sorted_order(tmp_path):
    for labels, names in (
        (["dog", "ant", "dog"], ("ant", "dog")),
        ([30, 4, 30], ("4", "30")),
        ([2.0, -1.0, 2.0], ("-1", "2")),
        ([True, False, True], ("False", "True")),
        ([[9], [8], [9]], ("8", "9")),
    ):
        np.savez(tmp_path / "some.npz", x=np.eye(3), y=labels)
        data = load(str(tmp_path / "some.npz"))
        assert data.samples.labels.tolist() == [1, 0, 1]
        assert data.class_names == names


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.eye(2), "y": [0, 1]}, "must hold arrays inputs and labels"),
        ({"x": np.eye(2), "y": [0, 1, 0]}, "one per input"),
        ({"x": np.eye(2), "y": [0, math.nan]}, "labels must not be missing, got nan in row 1"),
        ({"x": np.eye(2), "y": [0.5, 1]}, "not whole"),
        ({"x": np.eye(2), "y": [1, 1]}, "at least 2 classes, got 1"),
        ({"x": [[0.0], [math.nan]], "y": [0, 1]}, "must be finite"),
        ({"x": np.zeros((2, 3, 4)), "y": [0, 1]}, r"got \(2, 3, 4\)"),
        ({"x": np.zeros((0, 3)), "y": []}, r"got \(0, 3\)"),
        ({"x": np.array([["a"], ["b"]]), "y": [0, 1]}, "must be numbers"),
        ({"x": np.array([[{}], [{}]]), "y": [0, 1]}, "cannot be read"),
    ],
)
def test_bad_arrays_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InvalidInput, match=message):
        load(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("kind", ["npz", "csv", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 \xff\xfe\x00 nonsense"])
def test_files_that_are_not_what_they_say_are_refused(tmp_path, kind, content):
    path = tmp_path / f"broken.{kind}"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match="cannot be read") as error:
        load(str(path), label="y")
    assert "\n" not in str(error.value)


FRAME = pd.DataFrame({"size": [1.5, 2.5, 4.0], "town": ["Ulm", "Bonn", "?"], "kind": ["b", "a", "b"]})


def test_tables_are_the_same_from_csv_and_parquet(tmp_path):
    FRAME.to_csv(tmp_path / "some.csv", index=False)
    FRAME.to_parquet(tmp_path / "some.parquet")
    for name in ("some.csv", "some.parquet"):
        data = load(str(tmp_path / name), label="kind")
        pd.testing.assert_frame_equal(
            data.samples.domain.decode(data.samples.inputs), FRAME[["size", "town"]], check_dtype=False
        )
        assert (data.samples.labels.tolist(), data.class_names) == ([1, 0, 1], ("a", "b"))


def test_tables_of_bits_are_binary_unless_told_otherwise(tmp_path):
    path = tmp_path / "bits.csv"
    path.write_text("a,b,y\n0,1,x\n1,1,z\n")
    assert load(str(path), label="y").samples.domain == BinaryFeatures(2)
    assert load(str(path), label="y").samples.inputs.tolist() == [[0, 1], [1, 1]]
    assert load(str(path), label="y", categorical=["a"]).samples.domain.kind == "mixed table"


def test_missing_cells_must_be_declared(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("a,b,y\n1.5, -,x\n,2,z\n3,4,x\n")
    with pytest.raises(InvalidInput, match="column 'a' must have no missing value"):
        load(str(path), label="y")
    table = load(str(path), label="y", missing="-").samples.domain
    assert [isinstance(column, Numeric) and column.missing for column in table.columns] == [True, True]


@pytest.mark.parametrize(
    ("label", "message"),
    [(None, "label must name the column of some.csv with the class: size, town, kind"),
     ("kin", "label 'kin' is unknown: did you mean 'kind'")],
)  # fmt: skip
def test_a_table_needs_the_name_of_its_label(tmp_path, label, message):
    FRAME.to_csv(tmp_path / "some.csv", index=False)
    with pytest.raises(InvalidInput, match=message):
        load(str(tmp_path / "some.csv"), label=label)


# The real data.


def test_real_location_has_5010_rows_of_446_bits_and_splits_into_blocks_of_1250(shared_data):
    data = load("location", folder=shared_data)
    assert (data.samples.inputs.shape, data.classes) == ((5010, 446), 30)
    assert len(torch.unique(data.samples.labels)) == 30
    assert (int(data.samples.labels[0]), data.samples.inputs[0, :4].tolist()) == (12, [0, 1, 0, 1])
    divided = split(data.samples, equal_sizes(len(data.samples), 1250), seed=0)
    assert len(divided.population) == 10


def test_real_adult_has_both_parts_in_order(shared_data):
    data = load("adult", folder=shared_data)
    rich = data.samples.labels
    assert len(rich) == 32_561 + 16_281
    assert (int(rich[:32_561].sum()), int(rich[32_561:].sum())) == (7841, 3846)  # UCI's class counts.
    first = data.samples.domain.decode(data.samples.inputs[:1]).iloc[0]
    assert (first["age"], first["occupation"], first["capital-gain"]) == (39, "Adm-clerical", 2174)


def test_real_cifar100_has_fine_classes(shared_data):
    data = load("cifar100", folder=shared_data)
    assert data.samples.inputs.shape == (15_000, 3, 32, 32)
    assert torch.bincount(data.samples.labels).tolist() == [150] * 100
    assert data.class_names[:2] == ("apple", "aquarium_fish")
    # The complete training set's channel means; a mean over 15,000 pictures varies by about .002.
    means = data.samples.inputs.mean((0, 2, 3)).tolist()
    assert means == pytest.approx([0.5071, 0.4865, 0.4409], abs=0.008)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "shape"), [("cifar10", (30_000, 3, 32, 32)), ("mnist", (70_000, 1, 28, 28))])
def test_real_pictures_are_all_there(shared_data, name, shape):
    data = load(name, folder=shared_data)
    assert (data.samples.inputs.shape, data.classes) == (shape, 10)
    assert data.samples.domain == Box(shape[1:])

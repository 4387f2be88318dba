"""What the user's files hold comes as it is: types, labels, text, pixels; what is no input is told."""

import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hardlabel.checks import InvalidInput
from hardlabel.data.given import Columns, read_given

FRAME = pd.DataFrame(
    {
        "age": [30, 41, 52, 63],
        "job": ["clerk", None, "  cook", "clerk"],
        "owner": [True, False, True, False],
        "height": [1.5, None, 1.75, 0.1],
        "paid": [True, None, False, True],
        "income": ["low", "high", "low", "high"],
    }
)
LABEL = Columns(label="income")


def written(folder, frame=FRAME, name="members.csv", **options):
    path = folder / name
    frame.to_csv(path, index=False, **options) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


def two(folder, members=FRAME, nonmembers=FRAME, end=".csv", **options):
    names = f"members{end}", f"nonmembers{end}"
    return [written(folder, frame, name, **options) for frame, name in zip((members, nonmembers), names, strict=True)]


def same(got, wanted):
    pd.testing.assert_frame_equal(got, wanted, check_exact=True)
    for name in wanted:  # None and NaN, True and "True" are told apart.
        assert list(map(repr, got[name])) == list(map(repr, wanted[name]))


def with_ids(rows=30, start=0):
    return pd.DataFrame(
        {
            "code": [f"A-{start + row}" for row in range(rows)],
            "age": [20 + row % 7 for row in range(start, start + rows)],
            "job": [("clerk", "cook")[row % 2] for row in range(start, start + rows)],
            "income": [("low", "high")[row % 2] for row in range(start, start + rows)],
        }
    )


def test_a_csv_file_has_the_types_that_pandas_gives(tmp_path):
    members, nonmembers = two(tmp_path, FRAME, FRAME[:2])
    given = read_given(members, nonmembers, columns=LABEL)
    same(given.members[0], pd.read_csv(members).drop(columns="income"))
    same(given.nonmembers[0], pd.read_csv(nonmembers).drop(columns="income"))
    assert given.members[1].tolist() == ["low", "high", "low", "high"]
    assert given.members[0]["job"].tolist()[2] == "  cook"  # Blanks stay.
    assert (given.population, given.groups, given.slices, given.notes, given.ignored) == (None, None, {}, (), ())


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 0, 7, -1], "int64"), ([True, False, True, True], "bool"), ([0.5, 1.0, 2.0, 2.0], "float64")],
)
def test_labels_stay_as_they_are(tmp_path, values, kind):
    given = read_given(*two(tmp_path, FRAME.assign(income=values)), columns=LABEL)
    assert (given.members[1].tolist(), given.members[1].dtype) == (values, kind)


def test_a_parquet_file_has_exactly_its_types(tmp_path):
    frame = pd.DataFrame(
        {
            "small": np.array([1, -2, 3], dtype="int8"),
            "wide": np.array([2**63 + 1, 2, 3], dtype="uint64"),
            "nullable": pd.array([2**60 + 1, None, 3], dtype="Int64"),
            "unsigned": pd.array([1, None, 255], dtype="UInt8"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "plain": [True, False, True],
            "holes": [True, None, False],
            "word": pd.array(["x", None, " y"], dtype="string"),
            "text": ["u", None, "  u"],
            "ordered": pd.Categorical(["b", None, "b"], categories=["b", "a", "never"], ordered=True),
            "single": np.array([0.1, np.nan, 3], dtype="float32"),
            "masked": pd.array([0.5, None, 2], dtype="Float32"),
            "income": ["low", "high", "low"],
        }
    )
    members, nonmembers = two(tmp_path, frame, frame, end=".parquet")
    given = read_given(members, nonmembers, columns=LABEL)
    same(given.members[0], frame.drop(columns="income"))
    same(given.members[0], pd.read_parquet(members).drop(columns="income"))


@pytest.mark.parametrize("noted", ["[", '{"columns": 3}', '{"columns": [3, {"field_name": [], "numpy_type": {}}]}'])
def test_notes_in_a_parquet_file_are_believed_only_where_they_make_sense(tmp_path, noted):
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = two(tmp_path, FRAME[["age", "income"]], FRAME[["age", "income"]], end=".parquet")
    table = pq.read_table(paths[0])
    pq.write_table(table.replace_schema_metadata({"pandas": noted}), paths[0])
    assert isinstance(table, pa.Table)
    assert read_given(*paths, columns=LABEL).members[0]["age"].tolist() == FRAME["age"].tolist()


def test_a_column_that_pandas_notes_with_a_wrong_type_is_one_line(tmp_path):
    import pyarrow.parquet as pq

    paths = two(tmp_path, FRAME[["job", "income"]], FRAME[["job", "income"]], end=".parquet")
    note = b'{"columns": [{"field_name": "job", "numpy_type": "Int64"}]}'
    pq.write_table(pq.read_table(paths[0]).replace_schema_metadata({"pandas": note}), paths[0])
    with pytest.raises(InvalidInput, match=r"members\.parquet cannot be read: "):
        read_given(*paths, columns=LABEL)


@pytest.mark.parametrize(("between", "asked"), [(";", ";"), ("\t", "\\t"), ("\t", "\t"), ("|", "|")])
def test_a_separator_is_taken_and_a_wrong_one_is_recognised(tmp_path, between, asked):
    paths = two(tmp_path, sep=between)
    same(read_given(*paths, columns=LABEL, separator=asked).members[0], pd.read_csv(paths[0], sep=between).iloc[:, :-1])
    shell = "'\\t'" if between == "\t" else f"'{between}'"
    with pytest.raises(InvalidInput) as refused:
        read_given(*paths, columns=LABEL)
    name = repr(between.join(FRAME.columns))
    assert str(refused.value).endswith(
        f"the file has one column {name}: is {shell} the separator? --separator {shell}".replace("\t", "\\t")
    )
    with pytest.raises(InvalidInput, match="is ',' the separator"):
        read_given(*two(tmp_path), columns=LABEL, separator=between)


def test_a_first_line_of_too_many_columns_is_refused_whatever_is_between_them(tmp_path, monkeypatch):
    monkeypatch.setattr("hardlabel.data.limits.MOST_COLUMNS", 5)
    with pytest.raises(InvalidInput, match="must have at most 5 columns"):
        read_given(*two(tmp_path, sep=";"), columns=LABEL, separator=";")


@pytest.mark.parametrize(
    ("marks", "in_", "out"),
    [
        (["true", "FALSE", "True", None], [0, 2], [1]),
        ([True, False, True, False], [0, 2], [1, 3]),
        ([1, 0, 1, None], [0, 2], [1]),  # As floats, 1.0 and 0.0.
        ([1, 0, 1, 0], [0, 2], [1, 3]),
        (["yes", "no", "Yes ", None], [0, 2], [1]),
        (["member", "nonmember", "member", "non-member"], [0, 2], [1, 3]),
        (["member", "nonmember", "member", " "], [0, 2], [1]),
    ],
)
def test_one_table_with_marks_does_as_well_as_two_files(tmp_path, marks, in_, out):
    path = written(tmp_path, FRAME.assign(part=marks))
    whole = pd.read_csv(path).drop(columns=["income", "part"])
    given = read_given(path, columns=Columns(label="income", member="part"))
    same(given.members[0], whole.iloc[in_].reset_index(drop=True))
    same(given.nonmembers[0], whole.iloc[out].reset_index(drop=True))
    assert given.members[1].tolist() == FRAME["income"].iloc[in_].tolist()
    rest = [row for row in range(4) if row not in in_ + out]
    if rest:
        same(given.population[0], whole.iloc[rest].reset_index(drop=True))
    else:
        assert given.population is None


def test_groups_and_slices_are_returned_and_only_slices_are_inputs(tmp_path):
    people = FRAME.assign(person=["a", "a", "b", "c"])
    columns = Columns(label="income", group="person", slices=["job", "owner"], ignore=["owner"])
    paths = [*two(tmp_path, people, people[:2]), written(tmp_path, people[2:], "population.csv")]
    given = read_given(*paths, columns=columns)
    assert list(given.members[0].columns) == ["age", "job", "height", "paid"]
    assert {name: values.tolist() for name, values in given.groups.items()} == {
        "members": ["a", "a", "b", "c"],
        "nonmembers": ["a", "a"],
        "population": ["b", "c"],
    }
    assert [values.tolist() for values in given.slices["owner"]] == [[True, False, True, False], [True, False]]
    assert given.slices["job"][0].tolist()[2:] == ["  cook", "clerk"]
    assert given.ignored == ("owner",)


def test_a_column_of_ids_is_ignored_with_a_note_that_shows_no_id(tmp_path):
    given = read_given(*two(tmp_path, with_ids(), with_ids(start=30)), columns=LABEL)
    assert list(given.members[0].columns) == ["age", "job"]
    assert given.ignored == ("code",)
    [note] = given.notes
    assert "'code'" in note
    assert "A-" not in note


def test_rows_in_both_groups_leave_an_id_an_id(tmp_path):
    given = read_given(*two(tmp_path, with_ids(), with_ids(start=25)), columns=LABEL)
    assert given.ignored == ("code",)


@pytest.mark.parametrize(
    "code",
    [
        [f"A-{row // 2}" for row in range(30)],  # Somebody has two rows.
        [str(row + 0.5) for row in range(29)] + [" "],  # Numbers, though a blank makes them text.
        list(range(30)),
    ],
)
def test_what_repeats_or_reads_as_numbers_is_no_id(tmp_path, code):
    given = read_given(*two(tmp_path, with_ids().assign(code=code), with_ids().assign(code=code)), columns=LABEL)
    assert (list(given.members[0].columns), given.notes) == (["code", "age", "job"], ())


def test_a_column_named_as_categorical_is_kept_and_few_rows_have_no_ids(tmp_path):
    columns = Columns(label="income", categorical=["code"])
    given = read_given(*two(tmp_path, with_ids(), with_ids(start=30)), columns=columns)
    assert "code" in given.members[0]
    given = read_given(*two(tmp_path, with_ids(5), with_ids(5, start=5)), columns=LABEL)
    assert "code" in given.members[0]


def messages(start):
    return pd.DataFrame(
        {"id": [f"m{row}" for row in range(start, start + 30)], "text": [f"call {row}  now" for row in range(30)]}
    ).assign(label=["ham", "spam"] * 15)


def test_one_column_of_text_is_a_list_of_texts(tmp_path):
    frames = messages(0), messages(30).assign(text=lambda frame: frame["text"] + "!")
    for columns in (Columns(label="label", ignore=["id"]), Columns(label="label")):  # The id has no blanks.
        given = read_given(*two(tmp_path, *frames), columns=columns)
        assert given.members[0] == [f"call {row}  now" for row in range(30)]
        assert given.nonmembers[0][0] == "call 0  now!"
        assert given.ignored == ("id",)
    kept = read_given(*two(tmp_path, *frames), columns=Columns(label="label", ignore=["id"], categorical=["text"]))
    assert list(kept.members[0].columns) == ["text"]


def test_columns_come_in_the_order_of_the_members(tmp_path):
    given = read_given(*two(tmp_path, FRAME, FRAME[FRAME.columns[::-1]]), columns=LABEL)
    assert list(given.nonmembers[0].columns) == list(given.members[0].columns) == list(FRAME.columns[:-1])


def test_telco_comes_as_pandas_gives_it_but_for_the_id(tmp_path, shared_data):
    whole = pd.read_csv(shared_data / "telco" / "telco-churn.csv")
    blank = whole["TotalCharges"].str.strip() == ""
    rows = [whole[:600], whole[600:1200], pd.concat([whole[1200:2000], whole[blank]]).drop_duplicates()]
    paths = [written(tmp_path, part, f"{name}.csv") for part, name in zip(rows, "abc", strict=True)]
    given = read_given(*paths, columns=Columns(label="Churn"))
    for pair, path in zip((given.members, given.nonmembers, given.population), paths, strict=True):
        same(pair[0], pd.read_csv(path).drop(columns=["customerID", "Churn"]))
        assert set(pair[1]) == {"Yes", "No"}
    assert " " in given.population[0]["TotalCharges"].tolist()
    assert given.ignored == ("customerID",)
    [note] = given.notes
    assert not any(code in note for code in whole["customerID"])


def test_telco_in_one_table_with_marks(tmp_path, shared_data):
    whole = pd.read_csv(shared_data / "telco" / "telco-churn.csv")
    marks = np.array([1.0, 0.0, np.nan])[np.arange(len(whole)) % 3]
    given = read_given(written(tmp_path, whole.assign(part=marks)), columns=Columns(label="Churn", member="part"))
    same(given.members[0], whole.drop(columns=["customerID", "Churn"])[::3].reset_index(drop=True))
    assert [len(pair[0]) for pair in (given.members, given.nonmembers, given.population)] == [2348, 2348, 2347]


# Arrays and images.


@pytest.mark.parametrize("names", [("inputs", "labels"), ("X", "y")])
def test_arrays_come_as_stored(tmp_path, names):
    inputs = np.arange(24, dtype=np.int16).reshape(4, 2, 3)
    labels = np.array(["a", "b", "a", "b"])
    for name in ("m", "n"):
        np.savez(tmp_path / f"{name}.npz", **dict(zip(names, (inputs, labels), strict=True)))
    given = read_given(tmp_path / "m.npz", tmp_path / "n.npz")
    np.testing.assert_array_equal(given.members[0], inputs)
    assert given.members[0].dtype == np.int16
    assert given.nonmembers[1].tolist() == ["a", "b", "a", "b"]


def pictured(folder, classes=("cat", "dog"), *, size=(5, 4), mode="RGB", seed=0):
    """A folder of two images per class, and their pixels in the order of names."""
    rng, pixels = np.random.default_rng(seed), []
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels.append(rng.integers(0, 256, shape, dtype=np.uint8))
            Image.fromarray(pixels[-1]).save(folder / name / f"{number}.png")
    return np.stack(pixels)


def test_a_folder_per_class_gives_pixels_and_names(tmp_path):
    wanted = pictured(tmp_path / "m")
    grey = [pictured(tmp_path / f"grey-{name}", mode="L", seed=seed) for seed, name in enumerate("mn")]
    pictured(tmp_path / "n", classes=("dog",), seed=1)
    (tmp_path / "n" / ".DS_Store").write_text("")
    (tmp_path / "m" / "dog" / ".hidden").write_text("")
    (tmp_path / "n" / "README").write_text("")
    given = read_given(tmp_path / "m", tmp_path / "n")
    np.testing.assert_array_equal(given.members[0], wanted)
    assert (given.members[0].dtype, given.members[0].shape) == (np.uint8, (4, 4, 5, 3))
    assert given.members[1].tolist() == ["cat", "cat", "dog", "dog"]
    assert given.nonmembers[1].tolist() == ["dog", "dog"]
    assert given.notes == ("Of nonmembers, 1 files beside the folders of the classes were ignored.",)
    given = read_given(tmp_path / "grey-m", tmp_path / "grey-n")
    np.testing.assert_array_equal(given.nonmembers[0], grey[1][..., None])


# What is refused.


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({}, "label must name the column of members.csv with the class: age, job, owner, height, paid, income"),
        ({"label": "incom"}, "label 'incom' is unknown: did you mean 'income'? known are "),
        ({"label": "income", "ignore": ["agee"]}, "ignore 'agee' is unknown: did you mean 'age'? "),
        ({"label": "income", "ignore": ["income"]}, "ignore must not name the column of label, got 'income'"),
        ({"label": "income", "group": "income"}, "label, member_column and group must be different columns, got "),
        ({"label": "income", "group": "jobs"}, "group 'jobs' is unknown: did you mean 'job'? "),
        ({"label": "income", "group": "job"}, "members must have a value in each row of the column 'job' of group"),
        ({"label": "job"}, "members must have a value in each row of the column 'job' of label, got none in row 1"),
        ({"label": "income", "slices": ["sex"]}, "slices 'sex' is unknown"),
        ({"label": "income", "categorical": ["sex"]}, "categorical 'sex' is unknown"),
        ({"label": "income", "ignore": list(FRAME)[:-1]}, "members must have a column of inputs beside the label, got"),
    ],
)
def test_a_wrong_column_is_one_line(tmp_path, columns, line):
    with pytest.raises(InvalidInput) as refused:
        read_given(*two(tmp_path), columns=Columns(**columns))
    assert str(refused.value).startswith(line)


@pytest.mark.parametrize(
    ("nonmembers", "line"),
    [
        (FRAME.drop(columns="age"), "nonmembers must have the columns of members: it lacks 'age'; --ignore COLUMN"),
        (FRAME.assign(x=1), "nonmembers must have the columns of members: it also has 'x'; --ignore COLUMN"),
        (FRAME.drop(columns="income"), "nonmembers must have the column 'income' of label, got age, job"),
        (FRAME[:0], "nonmembers must have rows, got none"),
    ],
)
def test_a_table_unlike_the_members_is_one_line(tmp_path, nonmembers, line):
    with pytest.raises(InvalidInput) as refused:
        read_given(*two(tmp_path, FRAME, nonmembers), columns=LABEL)
    assert str(refused.value).startswith(line)


def test_a_column_that_one_table_lacks_may_be_ignored(tmp_path):
    paths = two(tmp_path, FRAME, FRAME.assign(x=1))
    assert len(read_given(*paths, columns=Columns(label="income", ignore=["x"])).nonmembers[0].columns) == 5


@pytest.mark.parametrize(
    ("marks", "line"),
    [
        (
            [1, 0, 2, 1],
            "must hold true or false, 1 or 0, yes or no, member or nonmember, or nothing, got .*2.* in row 2",
        ),
        (["yes", "no", "train", "no"], "got 'train' in row 2"),
        ([1, 1, 1, None], "member_column 'part' must mark nonmembers, got none in members.csv"),
        ([0, 0, None, 0], "member_column 'part' must mark members, got none in members.csv"),
    ],
)
def test_a_wrong_mark_is_one_line(tmp_path, marks, line):
    with pytest.raises(InvalidInput, match=line):
        read_given(written(tmp_path, FRAME.assign(part=marks)), columns=Columns(label="income", member="part"))


def test_a_population_comes_from_one_place(tmp_path):
    population = written(tmp_path, FRAME, "population.csv")
    columns = Columns(label="income", member="part")
    whole = written(tmp_path, FRAME.assign(part=[1, 0, 1, 0]))
    assert len(read_given(whole, None, population, columns=columns).population[0]) == 4
    whole = written(tmp_path, FRAME.assign(part=[1, 0, 1, None]))
    with pytest.raises(InvalidInput, match="must mark each row where population has its own file, got 1 rows without"):
        read_given(whole, None, population, columns=columns)


def test_only_ids_is_one_line(tmp_path):
    frame = pd.DataFrame({"a": [f"x{row}" for row in range(30)], "b": [f"y{row}" for row in range(30)], "income": 1})
    other = frame.assign(a=frame["a"] + "!", b=frame["b"] + "!")
    with pytest.raises(InvalidInput, match=r"members must have a column of inputs that is no id, got 'a', 'b', each"):
        read_given(*two(tmp_path, frame, other), columns=LABEL)


def test_a_missing_text_is_one_line(tmp_path):
    with pytest.raises(
        InvalidInput, match="members must hold a text in each row of the column 'job', got nan in row 1"
    ):
        read_given(*two(tmp_path, FRAME[["job", "income"]], FRAME[["job", "income"]]), columns=LABEL)


@pytest.mark.parametrize("separator", ["", ";;", '"', "a", "\n"])
def test_a_separator_is_one_character(tmp_path, separator):
    with pytest.raises(InvalidInput, match="separator must be one character, such as ';', got"):
        read_given(*two(tmp_path), columns=LABEL, separator=separator)


def test_what_is_no_file_of_a_known_sort_is_one_line(tmp_path):
    members, nonmembers = two(tmp_path)
    (tmp_path / "m.xlsx").write_text("")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "binary.csv").write_bytes(b"a,income\n\0,1\n")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "n.npz", inputs=np.zeros((2, 3)), labels=np.zeros(2))
    for file, line in {
        "m.xlsx": "nonmembers must be a .csv, .parquet or .npz file, or a folder of images, got",
        "none.csv": "cannot be read: No such file",
        "pipe.csv": "cannot be read: it must be a regular file, got a pipe",
        "binary.csv": "it holds a null character",
        "damaged.parquet": "damaged.parquet cannot be read",
        "empty": "must be of one sort, got members a table, nonmembers a folder of images",
        "n.npz": "must be of one sort, got members a table, nonmembers arrays",
        "members.csv": "members and nonmembers must be different files",
    }.items():
        with pytest.raises(InvalidInput) as refused:
            read_given(members, tmp_path / file, columns=LABEL)
        assert line in str(refused.value)
    with pytest.raises(
        InvalidInput, match="nonmembers must name a file or a folder, got None; or name the member_column"
    ):
        read_given(members, columns=LABEL)
    with pytest.raises(InvalidInput, match="nonmembers must be left open where member_column marks them in members"):
        read_given(members, nonmembers, columns=Columns(label="income", member="owner"))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"columns": LABEL}, "label must be left out, since members are no table with columns, got 'income'"),
        ({"columns": Columns(group="x")}, "group must be left out, since members are no table"),
        ({"separator": ";"}, "separator must be left at ',', since members are no table"),
    ],
)
def test_arrays_have_no_columns(tmp_path, options, line):
    for name in ("m", "n"):
        np.savez(tmp_path / f"{name}.npz", inputs=np.zeros((2, 3)), labels=np.zeros(2))
    with pytest.raises(InvalidInput, match=line):
        read_given(tmp_path / "m.npz", tmp_path / "n.npz", **options)


@pytest.mark.parametrize(
    ("inputs", "labels", "line"),
    [
        (np.zeros((2, 4)), np.zeros(2), r"nonmembers must hold inputs of the shape \(3,\) of members, got \(4,\)"),
        (np.zeros((2, 3)), np.zeros(3), "nonmembers must hold one label per input"),
        (np.zeros((0, 3)), np.zeros(0), "nonmembers must have rows"),
    ],
)
def test_arrays_that_do_not_agree_are_one_line(tmp_path, inputs, labels, line):
    np.savez(tmp_path / "m.npz", inputs=np.zeros((2, 3)), labels=np.zeros(2))
    np.savez(tmp_path / "n.npz", inputs=inputs, labels=labels)
    with pytest.raises(InvalidInput, match=line):
        read_given(tmp_path / "m.npz", tmp_path / "n.npz")


def test_a_folder_that_holds_no_images_of_one_size_is_one_line(tmp_path):
    pictured(tmp_path / "m")
    pictured(tmp_path / "small", size=(3, 4))
    pictured(tmp_path / "grey", mode="L")
    (tmp_path / "flat").mkdir()
    (tmp_path / "bare" / "cat").mkdir(parents=True)
    (tmp_path / "deep" / "cat" / "black").mkdir(parents=True)
    (tmp_path / "text" / "cat").mkdir(parents=True)
    (tmp_path / "text" / "cat" / "a.png").write_text("no picture")
    (tmp_path / "pipe" / "cat").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe" / "cat" / "a.png")
    for folder, line in {
        "small": "must hold pictures of the size 5 x 4 (colour) of the first, got 3 x 4 (colour) in cat/0.png: bring",
        "grey": "of the size 5 x 4 (colour) of the first, got 5 x 4 (grey) in cat/0.png",
        "flat": "nonmembers must be a folder with one folder of images per class, got none in flat",
        "bare": "nonmembers must hold images, got none in bare",
        "deep": "must have images in the folders of the classes, got the folder cat/black",
        "text": "data 'cat/a.png' must hold readable pictures",
        "pipe": "cat/a.png cannot be read: it must be a regular file, got a pipe",
    }.items():
        with pytest.raises(InvalidInput) as refused:
            read_given(tmp_path / "m", tmp_path / folder)
        assert line in str(refused.value)

"""Frames come back from their encoding with every type, label and bit; what domains make of them stays legal."""

import decimal
import math
import pickle
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.cells import MOST_CODES, SEEN_OFTEN, Numbers
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.data.columns import MOST_CATEGORIES, Categorical, Numeric, distinct_codes
from hardlabel.data.domain import NoiseLevel
from hardlabel.data.pseudonyms import pseudonyms
from hardlabel.data.samples import Samples
from hardlabel.data.steps import most_steps, steepest
from hardlabel.data.table import MixedTable

WORDS = ["a", " a", "a ", "", " ", "?", "nan", "None", "12", "é", "two\nlines"]
PLAIN = st.floats(-1e300, 1e300) | st.sampled_from([-0.0, 0.0, 0.1, 0.1 + 1e-17, 1e-320, 2.0**60])


def integers(name):
    limits = np.iinfo(name)
    return st.integers(int(limits.min), int(limits.max)) | st.integers(0, 5)


def numpy_column(name):
    return lambda n: st.lists(integers(name), min_size=n, max_size=n).map(lambda v: pd.Series(v, dtype=name))


def of(cells, dtype):
    return lambda n: st.lists(cells, min_size=n, max_size=n).map(lambda v: pd.Series(v, dtype=dtype))


GAP = st.just(math.nan)
COLUMNS = {
    **{name: numpy_column(name) for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    "float64": of(PLAIN, "float64"),
    "gaps": of(PLAIN | GAP, "float64"),
    "float32": of(st.floats(width=32, allow_infinity=False, allow_nan=False, max_value=2.0**100) | GAP, "float32"),
    "float16": of(st.floats(width=16, allow_infinity=False, allow_nan=False), "float16"),
    "bool": of(st.booleans(), "bool"),
    "words": of(st.sampled_from(WORDS), object),
    "words or none": of(st.sampled_from([*WORDS, None, math.nan, pd.NA]), object),
    "str": of(st.sampled_from([*WORDS, None]), "str"),
    "string": of(st.sampled_from([*WORDS, None]), "string"),
    "objects": of(st.sampled_from(["12", 12, 12.0, True, False, "True", None, math.nan, -0.0, 0.0]), object),
    "python integers": of(st.integers(-(10**25), 10**25) | st.integers(-3, 40) | st.none(), object),
    "python floats": of(PLAIN | st.none(), object),
    "category": of(st.sampled_from(["x", "y", None]), pd.CategoricalDtype(["y", "unseen", "x"], ordered=True)),
    "category of numbers": of(st.sampled_from([3, 1, None]), pd.CategoricalDtype([3, 2, 1])),
    "Int64": of(integers("int64") | st.none(), "Int64"),
    "UInt8": of(integers("uint8") | st.none(), "UInt8"),
    "Float64": of(PLAIN | st.none(), "Float64"),
    "boolean": of(st.booleans() | st.none(), "boolean"),
    "missing": of(GAP, "float64"),
    "none": of(st.none(), object),
    "constant": of(st.just(7.5), "float64"),
}


@st.composite
def frames(draw, most=9):
    n = draw(st.integers(1, most))
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    labels = draw(st.sampled_from([["a", "b", "c", "d"], [3, 1, 0, 2], ["1", 1, 2.5, "x"], [b"k", None, True, "y"]]))
    frame = pd.DataFrame({place: draw(COLUMNS[kind](n)) for place, kind in enumerate(kinds)})
    frame.columns = pd.Index(labels[: len(kinds)])
    # Rows are repeated, so that few distinct values come to be levels.
    return pd.concat([frame] * draw(st.sampled_from([1, 1, SEEN_OFTEN])), ignore_index=True)


def same(frame, other):
    """Equal to the last bit, the sorts of missing values included, which pandas takes for one."""
    pd.testing.assert_frame_equal(frame, other, check_exact=True, check_column_type="exact")
    for place in range(frame.shape[1]):
        first, second = frame.iloc[:, place], other.iloc[:, place]
        if first.dtype == object:
            assert [(type(c), repr(c)) for c in first] == [(type(c), repr(c)) for c in second]
        elif pd.api.types.is_float_dtype(first):
            pair = (column.to_numpy(dtype=np.float64, na_value=math.nan) for column in (first, second))
            signs = [np.signbit(np.nan_to_num(values)) for values in pair]
            np.testing.assert_array_equal(*signs)


@pytest.mark.parametrize("kind", sorted(COLUMNS))
@given(data=st.data(), times=st.sampled_from([1, SEEN_OFTEN]))
@settings(max_examples=10, deadline=None)
def test_columns_of_every_type_come_back(kind, data, times):
    column = data.draw(COLUMNS[kind](data.draw(st.integers(1, 8))))
    frame = pd.DataFrame({"x": pd.concat([column] * times, ignore_index=True)})
    codec = FrameCodec.fit({"members": frame})
    points = codec.encode(frame)
    codec.domain.check(points)
    same(codec.decode(points), frame)


@given(frame=frames(), cut=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_frames_come_back_whatever_their_types(frame, cut):
    """Split into groups of any size, whose types may not go apart."""
    at = round(cut * len(frame))
    codec = FrameCodec.fit({"members": frame[:at], "nonmembers": frame[at:].iloc[:, ::-1]})
    points = codec.encode(frame)
    same(codec.decode(points), frame)
    same(codec.decode(codec.encode(frame.iloc[:, ::-1])), frame)
    assert torch.equal(codec.encode(codec.decode(points)), points)
    again = pickle.loads(pickle.dumps(codec))
    assert (again, hash(again), repr(again.domain)) == (codec, hash(codec), repr(codec.domain))


def legal_points(domain, points, seed):
    """Random points, weak and strong noise around `points`, and every point of a walk from them."""
    generator = randomness.generator(seed, "frames")
    source = domain.noise_source(3, generator)
    levels = [NoiseLevel(sigma=0.1, flip=0.1), NoiseLevel(sigma=2.0, flip=0.9)]
    found = [domain.random(20, generator), *(domain.noisy(points, source, level).flatten(0, 1) for level in levels)]
    slope, most = torch.randn(points.shape, generator=generator), min(most_steps(domain), 6)
    rows = torch.arange(len(points))
    if most:
        steps = steepest(domain, points, slope, most)
        found += [steps.walked(points, rows, torch.full_like(rows, k)) for k in range(1, most + 1)]
    return torch.cat(found)


@given(frame=frames(most=6), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_legal_points_have_the_types_and_the_values_of_the_frame(frame, seed):
    codec = FrameCodec.fit({"members": frame})
    points = legal_points(codec.domain, codec.encode(frame), seed)
    codec.domain.check(points)
    decoded = codec.decode(points)
    assert decoded.dtypes.tolist() == frame.dtypes.tolist()
    again, start = codec.encode(decoded), 0
    for place, form in enumerate(codec.forms):
        cells, column = slice(start, start + form.column.width), form.column
        start += column.width
        if isinstance(column, Categorical) or column.levels is not None or column.integer:
            torch.testing.assert_close(again[:, cells], points[:, cells], rtol=0, atol=0)
        else:
            # The column's type rounds what nobody gave; codes of equal float32 were moved apart by a few last bits.
            first, second = (array[:, cells].double() * column.scale + column.mean for array in (points, again))
            digits = {"float16": 2.0**-10, "float32": 2.0**-23}.get(str(form.dtype), 2.0**-52)
            whole = 0.5 if form.kind != "float64" else 0.0
            slack = (
                whole + 2 * digits * max(abs(column.lower), abs(column.upper)) + len(frame) * 2.0**-22 * column.reach
            )
            assert float((first - second)[:, 0].abs().max()) <= slack + 2.0**-24
        if isinstance(column, Categorical) or column.levels is not None:
            known = {(type(c), repr(c)) for c in frame.iloc[:, place].array}
            assert {(type(c), repr(c)) for c in decoded.iloc[:, place].array} <= known


def test_floats_off_the_grid_keep_their_width():
    frame = pd.DataFrame({"x": np.array([0.1, 0.7, 12.3], dtype=np.float32), "y": [0.1, 0.7, 12.3]})
    codec = FrameCodec.fit({"members": frame})
    moved = codec.encode(frame) + torch.tensor([[0.01, 0.02]])
    moved[2] = 0.5
    decoded = codec.decode(moved)
    assert decoded.dtypes.astype(str).tolist() == ["float32", "float64"]
    mean, scale = frame["y"].mean(), frame["y"].std(ddof=0)
    assert decoded["y"].tolist() == pytest.approx(
        [0.1 + 0.02 * scale, 0.7 + 0.02 * scale, mean + 0.5 * scale], rel=1e-6
    )


def test_values_that_float32_cannot_tell_apart_get_codes_of_their_own():
    close = 1e6 + np.arange(50) * 1e-9
    frame = pd.DataFrame({"x": [*close, -5.0, 3.0], "cents": [10**17 + i for i in range(50)] + [0, 5]})
    codec = FrameCodec.fit({"members": frame})
    points = codec.encode(frame)
    assert len(set(map(tuple, points[:, :1].tolist()))) == len(frame["x"].unique())
    same(codec.decode(points), frame)


def steps_between(low, high):
    """How many steps of float32 lie between two numbers."""
    first, last = (int(bits) if bits >= 0 else -int(bits & 0x7FFFFFFF) for bits in np.array([low, high]).view(np.int32))
    return last - first


@given(st.lists(st.floats(-4, 4, width=32), min_size=2, max_size=30))
@example([0.0, 0.0, 2.0**-149])  # The smallest number of float32: no room for a third between the ends.
@example([4.0 - 2.0**-22, 4.0 - 2.0**-22, 4.0])
@settings(deadline=None)
def test_distinct_codes_ascend_and_keep_their_ends(values):
    codes = np.sort(np.array(values, dtype=np.float32))
    apart = distinct_codes(codes)
    assert (np.diff(apart) > 0).all()
    if steps_between(codes[0], codes[-1]) < len(codes) - 1:
        return
    assert (apart[0], apart[-1]) == (codes[0], codes[-1])
    assert np.abs(apart - codes).max() <= len(codes) * 2.0**-22 * 4
    if (np.diff(codes) > 0).all():
        np.testing.assert_array_equal(apart, codes)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 2**64 - 2048], "uint64"),
        ([2**64 - 1, 2**64 - 2, 5], "uint64"),
        ([2**63 - 1, 2**63 - 2, -(2**63)], "int64"),
        ([2**63 - 1, 2**63 - 2, 2**63 - 5], "int64"),
    ],
)
def test_the_largest_whole_numbers_come_back(values, dtype):
    frame = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    codec = FrameCodec.fit({"members": frame})
    points = legal_points(codec.domain, codec.encode(frame), 0)
    same(codec.decode(codec.encode(frame)), frame)
    assert codec.decode(points)["x"].between(min(values), max(values)).all()


def test_missing_values_need_no_declaration_and_stay_of_their_sort():
    frame = pd.DataFrame(
        {
            "number": [1.5, math.nan, 2.5, 0.1],
            "whole": pd.array([1, None, 7, 30], dtype="Int64"),
            "text": pd.Series(["a", None, math.nan, pd.NA], dtype=object),
            "flag": pd.Series([True, None, False, True], dtype=object),
        }
    )
    codec = FrameCodec.fit({"members": frame})
    same(codec.decode(codec.encode(frame)), frame)
    assert codec.domain.columns[0].missing
    text = codec.domain.columns[2]
    assert text.categories == ("NA", "NaN", "None", "a")


def test_two_sorts_of_missing_numbers_make_categories_or_an_error():
    frame = pd.DataFrame({"x": pd.Series([31, 2, None, math.nan, 18], dtype=object), "y": [-999, math.nan, 5.5, 1, 2]})
    codec = FrameCodec.fit({"members": frame}, missing="-999")
    assert all(isinstance(column, Categorical) for column in codec.domain.columns)
    same(codec.decode(codec.encode(frame)), frame)
    many = pd.DataFrame({"x": pd.Series([*range(MOST_CATEGORIES + 1), None, math.nan], dtype=object)})
    with pytest.raises(InvalidInput, match="missing values of one sort, got 2"):
        FrameCodec.fit({"members": many})


def test_a_declared_number_stands_for_a_missing_one_and_comes_back():
    frame = pd.DataFrame({"pay": [1200, -999, 3100, 2050], "age": [17.5, 30.25, -999.0, 64.0]})
    codec = FrameCodec.fit({"members": frame}, missing="-999")
    assert all(column.missing and column.lower > 0 for column in codec.domain.columns)
    same(codec.decode(codec.encode(frame)), frame)


def test_numbers_with_a_question_mark_are_numbers_where_it_is_declared():
    frame = pd.DataFrame({"pay": ["1.50", "?", "12", "7"]})
    plain, declared = FrameCodec.fit({"members": frame}), FrameCodec.fit({"members": frame}, missing="?")
    assert isinstance(plain.domain.columns[0], Categorical)
    assert isinstance(declared.domain.columns[0], Numeric)
    same(declared.decode(declared.encode(frame)), frame)


WARDS = np.array([3, 7, 12, 40])


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([0, 1], Categorical),  # Two rows: 0 and 1 are levels however few there are.
        ([1, 2] * 30, Numeric),  # No gap: every whole number between was seen.
        (WARDS.repeat(SEEN_OFTEN), Categorical),
        (WARDS.repeat(SEEN_OFTEN)[1:], Numeric),  # Too few rows to know.
        (np.arange(0, 2 * MOST_CODES, 2).repeat(SEEN_OFTEN), Categorical),
        (np.arange(0, 2 * MOST_CODES + 2, 2).repeat(SEEN_OFTEN), Numeric),
        ([18, 25.5, 60] * 9, Numeric),
    ],
)
@pytest.mark.parametrize("dtype", ["int64", "float64"])
def test_few_whole_numbers_with_gaps_are_codes(values, column, dtype):
    if dtype == "int64" and 25.5 in list(values):
        return
    frame = pd.DataFrame({"x": np.array(values).astype(dtype)})
    codec = FrameCodec.fit({"members": frame})
    assert isinstance(codec.domain.columns[0], column)
    same(codec.decode(codec.encode(frame)), frame)


def test_many_whole_numbers_with_gaps_keep_their_order_and_are_asked_only_where_they_occur():
    rng = np.random.default_rng(0)
    codes = rng.choice(100_000, 300, replace=False)
    frame = pd.DataFrame({"zip": rng.permutation(codes.repeat(SEEN_OFTEN))})
    codec = FrameCodec.fit({"members": frame})
    [column] = codec.domain.columns
    assert column.levels == tuple(sorted(map(float, codes)))
    points = legal_points(codec.domain, codec.encode(frame)[:50], 0)
    decoded = codec.decode(points)["zip"]
    assert decoded.dtype == np.int64
    assert set(decoded) <= set(codes.tolist())
    assert len(set(decoded)) > 100
    assert torch.equal(codec.encode(decoded.to_frame()), points)
    with pytest.raises(InvalidInput, match="one of those that occur"):
        codec.domain.check(points[:50] * 0.9999)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64", "float16"])
def test_many_levels_come_back_to_the_last_bit(dtype):
    rng = np.random.default_rng(0)
    if dtype.startswith("float"):
        values = np.array([-0.0, 0.0, *range(1, 31), 40], dtype=dtype)
    else:
        values = rng.integers(2**60, 2**63 - 1, 50).astype(dtype)
    frame = pd.DataFrame({"x": values.repeat(SEEN_OFTEN), "y": (values[values > 0][0] + values * 0).repeat(SEEN_OFTEN)})
    frame["gaps"] = frame["x"].where(frame["x"] > 0, np.abs(frame["x"]))
    codec = FrameCodec.fit({"members": frame})
    same(codec.decode(codec.encode(frame)), frame)
    assert codec.domain.columns[2].levels is not None
    with pytest.raises(InvalidInput, match="a number that the codec was fitted on"):
        codec.encode(frame.assign(gaps=frame["gaps"] - (frame["gaps"] == frame["gaps"].max()).astype(dtype)))


def test_a_named_column_is_of_categories_and_keeps_its_numbers():
    frame = pd.DataFrame({"ward": [3, 7, 12], "age": [20, 30, 40]})
    codec = FrameCodec.fit({"members": frame}, categorical=["ward"])
    assert codec.domain.columns[0] == Categorical("ward", ("3", "7", "12"))
    same(codec.decode(codec.encode(frame)), frame)
    with pytest.raises(InvalidInput, match="categorical 'wart' is unknown: did you mean 'ward'"):
        FrameCodec.fit({"members": frame}, categorical=["wart"])


def test_labels_of_any_type_stay():
    frame = pd.DataFrame([[1.5, 2, "a", True], [2.5, 3, "b", False]], columns=[1, "1", None, ("k", 2)])
    codec = FrameCodec.fit({"members": frame})
    assert [column.name for column in codec.domain.columns] == ["1 (int)", "1 (str)", "None", "('k', 2)"]
    same(codec.decode(codec.encode(frame)), frame)


@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (pd.Series([1, 2]), pd.Series([3.0, math.nan]), "float64"),
        (pd.Series([1, 2]), pd.Series([math.nan, math.nan]), "float64"),
        (pd.Series([1, 2], dtype="int8"), pd.Series([300], dtype="int16"), "int16"),
        (pd.Series([1, 2]), pd.Series([3, None], dtype="Int64"), "Int64"),
        (pd.Series([5, 2], dtype="int64"), pd.Series([3], dtype="uint64"), "int64"),
        (pd.Series([True, False]), pd.Series([True, None], dtype=object), "object"),
        (pd.Series(["a"], dtype="str"), pd.Series(["b", None], dtype=object), "object"),
        (pd.Series(["a"], dtype="str"), pd.Series([math.nan]), "str"),
        (pd.Series(["a"], dtype="category"), pd.Series(["b", "a"], dtype="category"), "category"),
        (pd.Series(["a"], dtype="category"), pd.Series(["b", "a"], dtype="str"), "category"),
    ],
)
def test_groups_of_different_types_are_united(first, second, dtype):
    groups = {"members": first.to_frame("x"), "nonmembers": second.to_frame("x")}
    codec = FrameCodec.fit(groups)
    for frame in groups.values():
        decoded = codec.decode(codec.encode(frame))
        assert str(decoded["x"].dtype) == dtype
        absent = frame["x"].isna()
        assert decoded["x"].isna().tolist() == absent.tolist()
        assert decoded["x"][~absent].tolist() == frame["x"][~absent].tolist()


def one(*cells, dtype=None):
    return pd.DataFrame({"x": pd.Series(cells, dtype=dtype)})


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "must have rows"),
        ({"members": one()}, "must have rows"),
        ({"members": [1]}, "members must be a pandas DataFrame, got list"),
        (
            {"members": one(1), "nonmembers": pd.DataFrame({"y": [1]})},
            "nonmembers must have .* lacks x and also has y",
        ),
        (
            {"members": one(1, 2), "nonmembers": one("3", "?")},
            r"one type in all groups.*number.*text.*'\?' in nonmembers",
        ),
        ({"members": one(True), "nonmembers": one(1)}, "one type in all groups"),
        ({"members": one(1), "nonmembers": one(pd.Timestamp("2020-01-01"))}, "one type in all groups"),
        ({"members": one(pd.Timestamp("2020-01-01"))}, "got datetime64.*leave the column out, or turn it into numbers"),
        ({"members": one(pd.Timedelta("1D"))}, "got timedelta64"),
        ({"members": one(pd.Period("2020-01"))}, "got period"),
        ({"members": one(date(2020, 1, 1))}, "no dates or times"),
        ({"members": one([1, 2])}, "got a list in row 0"),
        ({"members": one({"a": 1})}, "got a dict in row 0"),
        ({"members": one(1.0, math.inf)}, "must be finite"),
        ({"members": one(*(f"person {i}" for i in range(MOST_CATEGORIES + 1)))}, "got 1,001: ignore the column"),
        ({"members": pd.DataFrame([[1, 2]], columns=["x", "x"])}, "distinct names"),
        ({"members": pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))}, "2 levels of labels"),
        ({"members": one(1j)}, "got complex128"),
        ({"members": one(2**63, dtype="uint64"), "nonmembers": one(-1)}, "signed and unsigned"),
    ],
)
def test_frames_without_a_codec_get_one_line(groups, message):
    with pytest.raises(InvalidInput, match=message) as error:
        FrameCodec.fit(groups)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"age": [17, 30]}, "inputs, column 'age' must be at least 20, got 17 in row 0"),
        ({"age": [20, 99]}, "at most 40, got 99 in row 1"),
        ({"age": [20.5, 30.5]}, "must be int64, got float64, and 20.5 might be rounded"),
        ({"age": ["a", "b"]}, "must be int64"),
        ({"job": ["a", "d"]}, "must hold one of the 3 values .* got 'd' in row 1"),
        ({"job": ["a", None]}, "got NaN in row 1"),
        ({"pay": [1.5, math.nan]}, "must have no missing value"),
    ],
)
def test_encoding_refuses_what_the_codec_was_not_fitted_on(changed, message):
    codec = FrameCodec.fit({"m": pd.DataFrame({"age": [20, 30, 40], "job": ["a", "b", "c"], "pay": [1.5, 2.5, 9.0]})})
    rows = pd.DataFrame({"age": [20, 30], "job": ["a", "b"], "pay": [1.5, 2.0]})
    codec.encode(rows)
    with pytest.raises(InvalidInput, match=message):
        codec.encode(rows.assign(**changed))


def test_other_objects_are_categories_of_their_own_type():
    frame = pd.DataFrame({"x": [decimal.Decimal("1.10"), decimal.Decimal("1.1000001"), "1.10"]})
    codec = FrameCodec.fit({"members": frame})
    same(codec.decode(codec.encode(frame)), frame)


def test_a_decoded_frame_may_be_written_into():
    frame = pd.DataFrame({"x": [1.5, 2.5], "y": ["a", "b"]})
    codec = FrameCodec.fit({"members": frame})
    decoded = codec.decode(codec.encode(frame))
    decoded.loc[1, "x"], decoded.loc[0, "y"] = 7.5, "c"
    same(codec.decode(codec.encode(frame)), frame)


def test_pseudonyms_do_not_depend_on_the_types_of_cells():
    text = MixedTable((Categorical("ward", ("12", "3")), Categorical("smoker", ("False", "True"))))
    typed = MixedTable(
        (
            Categorical("ward", ("12", "3"), (12.0, 3.0), "float64"),
            Categorical("smoker", ("False", "True"), (False, True), "bool"),
        )
    )
    inputs = text.random(3, randomness.generator(0, "names"))
    ids, labels = torch.arange(3), torch.zeros(3, dtype=torch.int64)
    first, second = (
        pseudonyms(Samples(ids=ids, inputs=inputs, labels=labels, domain=table)) for table in (text, typed)
    )
    assert first == second


@pytest.fixture(scope="module")
def telco(shared_data):
    return pd.read_csv(shared_data / "telco" / "telco-churn.csv").drop(columns=["customerID", "Churn"])


def test_telco_comes_back_as_pandas_read_it_and_stays_so_under_noise(telco):
    """Its TotalCharges are numbers that a blank made text of: 6,531 of them, too many to be categories."""
    groups = {"members": telco[:3000], "nonmembers": telco[3000:6000], "population": telco[6000:]}
    codec = FrameCodec.fit(groups)
    points = codec.encode(telco)
    same(codec.decode(points), telco)
    charges = codec.forms[list(telco).index("TotalCharges")]
    assert isinstance(charges, Numbers)
    assert (charges.missing, charges.column.missing) == (" ", True)
    assert isinstance(codec.domain.columns[1], Categorical)  # SeniorCitizen, 0 or 1.
    decoded = codec.decode(legal_points(codec.domain, points[:40], 0))
    assert decoded.dtypes.tolist() == telco.dtypes.tolist()
    for name in telco.columns.drop("MonthlyCharges"):
        assert set(decoded[name]) <= set(telco[name]), name


def test_a_pipeline_answers_decoded_rows_as_it_answers_the_frame(telco):
    texts = telco.select_dtypes(include="str").columns
    encoder = ColumnTransformer([("texts", OneHotEncoder(handle_unknown="ignore"), texts)], remainder="passthrough")
    labels = (telco["MonthlyCharges"] > 70) ^ (telco["tenure"] % 3 == 0)
    pipeline = make_pipeline(encoder, RandomForestClassifier(5, random_state=0)).fit(telco[:500], labels[:500])
    codec = FrameCodec.fit({"members": telco[:500], "nonmembers": telco[500:1500]})
    decoded = codec.decode(codec.encode(telco[:1500]))
    np.testing.assert_array_equal(pipeline.predict_proba(decoded), pipeline.predict_proba(telco[:1500]))

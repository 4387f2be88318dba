"""Mixed tables encode without loss, and stay legal whatever is done to them."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardlabel.checks import InvalidInput
from hardlabel.data.columns import WIDEST_INTEGER, Categorical, Numeric
from hardlabel.data.domain import NoiseLevel
from hardlabel.data.samples import Samples
from hardlabel.data.sources import ADULT_COLUMNS
from hardlabel.data.table import MixedTable

HEIGHT = Numeric(name="height", mean=170.0, scale=10.0, lower=100.0, upper=220.0)
AGE = Numeric(name="age", mean=40.0, scale=8.0, lower=17, upper=90, integer=True)
INCOME = Numeric(name="income", mean=5.0, scale=2.0, lower=0.0, upper=50.0, missing=True)
COLOUR = Categorical("colour", ("?", "blue", "red"))
ONLY = Categorical("only", ("same",))
TABLE = MixedTable((HEIGHT, COLOUR, AGE, INCOME, ONLY), missing="?")
NUMBERS = MixedTable((HEIGHT, Numeric(name="weight", mean=60.0, scale=5.0, lower=40.0, upper=80.0)))

FRAME = pd.DataFrame(
    {
        "height": [180.0, 165.0, 100.0],
        "colour": ["red", "?", "blue"],
        "age": [40, 90, 24],
        "income": [9.0, math.nan, 0.0],
        "only": ["same"] * 3,
    }
)
#                 height  ?  blue red  age  income missing  same
ENCODED = [
    [1.0, 0, 0, 1, 0.0, 2.0, 0, 1],
    [-0.5, 1, 0, 0, 6.25, 0.0, 1, 1],
    [-7.0, 0, 1, 0, -2.0, -2.5, 0, 1],
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def twin_of_noisy(table, row, source, level):
    """The documented rule for one row and one copy, column by column; `source` is one row of the noise."""
    numbers = [column for column in table.columns if isinstance(column, Numeric)]
    groups = [column for column in table.columns if isinstance(column, Categorical)]
    out, start = [], 0
    for column in table.columns:
        cells = [float(cell) for cell in row[start : start + column.width]]
        start += column.width
        if isinstance(column, Numeric):
            if not (column.missing and cells[1] == 1):
                noise = float(source[numbers.index(column)])
                raw = (cells[0] + level.sigma * noise) * column.scale + column.mean
                raw = round(raw) if column.integer else raw
                cells[0] = (min(max(raw, column.lower), column.upper) - column.mean) / column.scale
        else:
            place = groups.index(column)
            whether = float(source[len(numbers) + place])
            which = float(source[len(numbers) + len(groups) + place])
            others = [i for i in range(column.width) if cells[i] == 0]
            if whether < level.flip and others:
                chosen = others[int(which * len(others))]
                cells = [float(i == chosen) for i in range(column.width)]
        out += cells
    return out


def test_the_encoding_of_a_small_frame_is_known():
    torch.testing.assert_close(TABLE.encode(FRAME), torch.tensor(ENCODED), rtol=0, atol=0)
    assert TABLE.shape == (8,)


def test_decoding_gives_the_frame_back():
    decoded = TABLE.decode(TABLE.encode(FRAME))
    pd.testing.assert_frame_equal(decoded, FRAME, check_dtype=False)
    assert decoded["age"].dtype == np.int64


CELLS = {
    "whole": st.integers(-(10**6), 10**6),
    "real": st.floats(-1e6, 1e6).map(lambda value: round(value, 6)),
    "word": st.sampled_from(["a", "b", "c d", "?", "é"]),
    "yes": st.booleans(),
    "gap": st.one_of(st.integers(-500, 500).map(lambda value: value / 64), st.just(math.nan)),
}


@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_any_fitted_frame_comes_back(rows):
    frame = pd.DataFrame(rows)
    if frame["gap"].isna().all():
        frame.loc[0, "gap"] = 1.0
    table = MixedTable.fit(frame, missing="?")
    inputs = table.encode(frame)
    table.check(inputs)
    decoded = table.decode(inputs)
    assert decoded["whole"].tolist() == frame["whole"].tolist()
    assert decoded["word"].tolist() == frame["word"].tolist()
    assert decoded["yes"].tolist() == frame["yes"].tolist()
    assert decoded["yes"].dtype == bool
    for name in ("real", "gap"):
        # Float32 rounds the distance from the mean by 2**-24 of itself; float64's own rounding is of the values.
        error = frame[name].max() - frame[name].min()
        error = 2**-23 * error + 2**-50 * frame[name].abs().max()
        np.testing.assert_allclose(decoded[name], frame[name], rtol=0, atol=error)


def test_whole_numbers_survive_as_far_from_the_mean_as_is_allowed():
    column = Numeric(name="big", mean=0.3, scale=0.7, lower=-WIDEST_INTEGER + 1, upper=WIDEST_INTEGER, integer=True)
    table = MixedTable((column,))
    frame = pd.DataFrame({"big": [*range(WIDEST_INTEGER - 1000, WIDEST_INTEGER + 1), -WIDEST_INTEGER + 1]})
    inputs = table.encode(frame)
    table.check(inputs)
    assert table.decode(inputs)["big"].tolist() == frame["big"].tolist()
    with pytest.raises(InvalidInput, match="bounds must lie within"):
        Numeric(name="big", mean=0, scale=1, lower=0, upper=WIDEST_INTEGER + 1, integer=True)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("height", math.nan, r"'height' must have no missing value .* in row 1"),
        ("height", 221.0, r"'height' must be at most 220, got 221.0 in row 1"),
        ("height", 99.0, r"'height' must be at least 100, got 99.0 in row 1"),
        ("height", "tall", r"'height' must be a number, got tall in row 1"),
        ("colour", "green", r"'colour' must be one of \?, blue, red, got green in row 1"),
        ("only", None, r"'only' must have no missing value"),
        ("age", 40.5, r"'age' must be whole, got 40.5 in row 1"),
    ],
)
def test_encoding_refuses_what_the_table_does_not_hold(column, value, message):
    frame = FRAME.astype(object)
    frame.loc[1, column] = value
    with pytest.raises(InvalidInput, match=message):
        TABLE.encode(frame)


def test_encoding_needs_every_column_and_ignores_others():
    assert torch.equal(TABLE.encode(FRAME.assign(more=1)), TABLE.encode(FRAME))
    with pytest.raises(InvalidInput, match="must have a column 'age'"):
        TABLE.encode(FRAME.drop(columns="age"))


def test_a_missing_category_reads_as_the_marker():
    frame = FRAME.assign(colour=["red", None, "blue"])
    assert torch.equal(TABLE.encode(frame), TABLE.encode(FRAME))


def test_fit_infers_each_kind_of_column():
    frame = pd.DataFrame(
        {
            "whole": [1, 2, 6],
            "real": [0.5, 1.0, 3.0],
            "constant": [7.5] * 3,
            "word": ["b", "a", "b"],
            "yes": [True, False, True],
            "code": [3, 11, 2],
            "kind": pd.Categorical(["y", "y", "x"], categories=["y", "x", "unseen"]),
            "gap": ["1.5", "?", "2.5"],
        }
    )
    table = MixedTable.fit(frame, missing="?", categorical=["code"])
    whole, real, constant, word, yes, code, kind, gap = table.columns
    assert whole == Numeric(name="whole", mean=3, scale=math.sqrt(14 / 3), lower=1, upper=6, integer=True)
    assert (real.integer, real.lower, real.upper, real.mean) == (False, 0.5, 3.0, 1.5)
    assert (constant.mean, constant.scale) == (7.5, 1.0)
    assert word == Categorical("word", ("a", "b"))
    assert yes == Categorical("yes", ("False", "True"), (False, True), "bool")
    assert code == Categorical("code", ("11", "2", "3"), (11, 2, 3), "int64")
    assert kind == Categorical("kind", ("unseen", "x", "y"))
    assert gap == Numeric(name="gap", mean=2.0, scale=0.5, lower=1.5, upper=2.5, missing=True)
    assert table.kind == "mixed table"
    assert table.encode(frame)[:, -2:].tolist() == [[-1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([1.0, math.nan, 2.0], "unless `missing` declares it, got nan in row 1: --missing '' declares"),
        (["a", None, "b"], "no missing value"),
        (["17", "?", "18"], r"must not mix numbers with '\?'"),
        ([1.0, math.inf, 2.0], "must be finite"),
        (pd.to_datetime(["2020-01-01"] * 3), "must hold numbers, text or booleans"),
    ],
)
def test_fit_refuses_what_is_not_declared(cells, message):
    with pytest.raises(InvalidInput, match=message):
        MixedTable.fit(pd.DataFrame({"x": cells}))


def test_decoding_gives_the_types_back():
    frame = pd.DataFrame(
        {
            "age": [40.0, 20.0, 63.0],
            "children": [2, 0, 1],
            "ward": [3, 40, 12],
            "wing": [1.0, math.nan, 2.0],
            "smoker": [True, False, True],
            "diet": pd.Series(["a", None, "b"], dtype=object),
            "drug": ["x", math.nan, "y"],
            "note": ["?", "u", "v"],
        }
    )
    table = MixedTable.fit(frame, missing="?", categorical=["ward", "wing"])
    decoded = table.decode(table.encode(frame))
    pd.testing.assert_frame_equal(decoded, frame, check_exact=True)
    assert decoded["diet"][1] is None
    assert math.isnan(decoded["drug"][1])


def test_columns_of_text_and_numbers_are_called_as_they_always_were():
    """Their text is part of keys in stores."""
    table = MixedTable.fit(pd.DataFrame({"word": ["b", "a"], "whole": [1, 3], "real": [1.0, 3.0]}))
    assert repr(table) == (
        "MixedTable(columns=(Categorical(name='word', categories=('a', 'b')), "
        "Numeric(name='whole', mean=2.0, scale=1.0, lower=1.0, upper=3.0, integer=True, missing=False), "
        "Numeric(name='real', mean=2.0, scale=1.0, lower=1.0, upper=3.0, integer=True, missing=False)), missing=None)"
    )
    codes = [repr(Categorical("ward", ("12", "3"), values, "int64")) for values in (None, (12, 3))]
    assert codes == [
        "Categorical(name='ward', categories=('12', '3'))",
        "Categorical(name='ward', categories=('12', '3'), values=(12, 3), dtype='int64')",
    ]


def test_levels_are_the_only_legal_numbers():
    column = Numeric(name="zip", mean=5.0, scale=2.0, lower=1, upper=9, levels=(1.0, 4.0, 9.0))
    table = MixedTable((column,))
    assert not table.continuous
    frame = pd.DataFrame({"zip": [9.0, 1.0, 4.0]})
    inputs = table.encode(frame)
    assert inputs.flatten().tolist() == [2.0, -2.0, -0.5]
    pd.testing.assert_frame_equal(table.decode(inputs), frame)
    with pytest.raises(InvalidInput, match="must be one of the values that occur, got 5"):
        table.encode(pd.DataFrame({"zip": [5.0]}))
    with pytest.raises(InvalidInput, match="must be one of those that occur"):
        table.check(torch.tensor([[0.0]]))
    copies = table.noisy(inputs, table.noise_source(2000, generator()), NoiseLevel(sigma=1.0))
    table.check(copies.flatten(0, 1))
    # From 4, noise beyond 6.5 (raw, midway to 9) goes to 9 and below 2.5 to 1: 1.25 and 0.75 standard deviations.
    shares = [float((copies[2, :, 0] == code).float().mean()) for code in (2.0, -2.0)]
    assert shares == pytest.approx([0.10565, 0.22663], abs=4 * 0.5 / math.sqrt(2000))
    assert repr(column) != repr(Numeric(name="zip", mean=5.0, scale=2.0, lower=1, upper=9, levels=(1.0, 5.0, 9.0)))
    with pytest.raises(InvalidInput, match="levels that ascend"):
        Numeric(name="zip", mean=5.0, scale=2.0, lower=1, upper=9, levels=(4.0, 1.0))


def test_fit_refuses_tables_without_content_and_names_of_people():
    with pytest.raises(InvalidInput, match="must have rows"):
        MixedTable.fit(pd.DataFrame({"x": []}))
    with pytest.raises(InvalidInput, match="only missing"):
        MixedTable.fit(pd.DataFrame({"x": [math.nan]}), missing="nan")
    with pytest.raises(InvalidInput, match="at most 1000 categories, got 1001"):
        MixedTable.fit(pd.DataFrame({"x": [f"person {i}" for i in range(1001)]}))
    with pytest.raises(InvalidInput, match="categorical 'agee' is unknown: did you mean 'age'"):
        MixedTable.fit(FRAME, missing="?", categorical=["agee"])


def test_differences_too_small_to_square_do_not_break_the_scale():
    table = MixedTable.fit(pd.DataFrame({"x": [0.0, 1e-172]}))
    assert table.columns[0].scale == 1.0


def test_a_number_can_declare_a_missing_value():
    frame = pd.DataFrame({"x": [1.0, -999.0, 3.0]})
    table = MixedTable.fit(frame, missing="-999")
    assert (table.columns[0].lower, table.columns[0].missing) == (1.0, True)
    assert table.encode(frame).tolist() == [[-1, 0], [0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 5.1, "column 'height': a number must lie within its bounds, got 5.1"),
        (0, math.nan, "must be finite"),
        (2, 1.0, "one category of the column must be 1"),
        (3, 0.0, "one category of the column must be 1"),
        (3, 0.5, "a category must be 0 or 1, got 0.5"),
        (4, 0.05, "column 'age': a number must be whole in raw units"),
        (5, -2.6, "column 'income': a number must lie within its bounds"),
        (6, 1.0, "a missing value must be 0, got 2"),
        (6, 0.5, "column 'income missing': an indicator must be 0 or 1"),
    ],
)
def test_check_refuses_each_illegal_encoding(place, value, message):
    inputs = TABLE.encode(FRAME)
    TABLE.check(inputs)
    inputs[0, place] = value
    with pytest.raises(InvalidInput, match=message):
        TABLE.check(inputs)


@pytest.mark.parametrize("level", [NoiseLevel(sigma=0.3, flip=0.4), NoiseLevel(sigma=30.0, flip=1.0)], ids=str)
def test_noise_is_that_of_a_loop_over_columns(level):
    inputs = TABLE.encode(FRAME)
    source = TABLE.noise_source(40, generator())
    expected = [[twin_of_noisy(TABLE, row, draw, level) for draw in source] for row in inputs]
    copies = TABLE.noisy(inputs, source, level)
    # Encoded values reach 7: float32 rounding of a few 2**-23 * 7.
    torch.testing.assert_close(copies, torch.tensor(expected), rtol=0, atol=4e-6)
    TABLE.check(copies.flatten(0, 1))


def test_noise_has_the_stated_strength():
    draws, level = 20_000, NoiseLevel(sigma=0.5, flip=0.3)
    row = TABLE.encode(FRAME)[:1]
    copies = TABLE.noisy(row, TABLE.noise_source(draws, generator()), level)[0]
    # Height 180 is 8 sigmas from its bounds. The standard error of a standard deviation is sigma / sqrt(2 n).
    assert float(copies[:, 0].std()) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(2 * draws))
    assert float(copies[:, 0].mean()) == pytest.approx(1.0, abs=4 * 0.5 / math.sqrt(draws))
    kept, other = float(copies[:, 3].mean()), copies[:, 1:3].mean(0).tolist()
    assert kept == pytest.approx(0.7, abs=4 * math.sqrt(0.7 * 0.3 / draws))
    assert other == pytest.approx([0.15, 0.15], abs=4 * math.sqrt(0.15 * 0.85 / draws))


def test_noise_does_not_depend_on_company():
    inputs = TABLE.encode(FRAME)
    source, level = TABLE.noise_source(6, generator()), NoiseLevel(sigma=0.5, flip=0.5)
    together = TABLE.noisy(inputs, source, level)
    alone = torch.cat([TABLE.noisy(inputs[i : i + 1], source, level) for i in range(3)])
    assert torch.equal(together, alone)
    assert torch.equal(TABLE.noisy(inputs, source[2:4], level), together[:, 2:4])


def test_no_noise_changes_nothing_to_the_last_bit():
    inputs = TABLE.encode(FRAME)
    copies = TABLE.noisy(inputs, TABLE.noise_source(5, generator()), NoiseLevel())
    assert torch.equal(copies, inputs[:, None].expand(-1, 5, -1))


def test_more_sigma_moves_the_same_draw_farther():
    inputs = NUMBERS.encode(pd.DataFrame({"height": [160.0], "weight": [60.0]}))
    source = NUMBERS.noise_source(5, generator())
    weak, strong = (NUMBERS.noisy(inputs, source, NoiseLevel(sigma=s)) for s in (0.1, 0.2))
    torch.testing.assert_close(strong - inputs, 2 * (weak - inputs), rtol=0, atol=1e-6)


def test_random_rows_are_legal_and_fill_the_domain():
    count = 20_000
    rows = TABLE.random(count, generator())
    TABLE.check(rows)
    frame = TABLE.decode(rows)
    assert set(frame["age"]) == set(range(17, 91))
    ages = frame["age"].to_numpy()
    assert ages.mean() == pytest.approx((17 + 90) / 2, abs=4 * ages.std() / math.sqrt(count))
    shares = frame["colour"].value_counts(normalize=True)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=4 * math.sqrt(2 / 9 / count))
    assert not frame["income"].isna().any()


def test_distances_of_known_rows():
    inputs = TABLE.encode(FRAME)
    a, b = 1.5**2 + 6.25**2 + 2.0**2, 2  # Income 2 against missing (0): one column missing, one colour changed.
    [distance] = TABLE.distance(inputs[:1], inputs[1:2]).tolist()
    assert distance == pytest.approx(math.sqrt(a + b), rel=2**-22)
    assert TABLE.distance(inputs, inputs).tolist() == [0, 0, 0]


def test_distance_is_l2_where_all_columns_are_numbers():
    first, second = NUMBERS.random(50, generator(1)), NUMBERS.random(50, generator(2))
    torch.testing.assert_close(NUMBERS.distance(first, second), (first - second).norm(dim=1))


def test_distance_is_a_metric():
    a, b, c = (TABLE.random(200, generator(seed)) for seed in range(3))
    assert torch.equal(TABLE.distance(a, b), TABLE.distance(b, a))
    # Each distance is rounded to float32, 2**-24 of about 30.
    assert bool((TABLE.distance(a, c) <= TABLE.distance(a, b) + TABLE.distance(b, c) + 1e-5).all())


def test_only_continuous_tables_clip():
    assert (NUMBERS.kind, NUMBERS.continuous) == ("continuous", True)
    clipped = NUMBERS.clip(torch.tensor([[-9.0, 9.0], [0.25, -0.5]]))
    assert clipped.tolist() == [[-7.0, 4.0], [0.25, -0.5]]
    points = torch.tensor([[-9.0, 9.0], [0.25, -0.5]])
    assert NUMBERS.clip(points, out=points) is points
    assert torch.equal(points, clipped)
    for column in (AGE, INCOME, COLOUR):
        table = MixedTable((HEIGHT, column), missing="?")
        assert (table.kind, table.continuous) == ("mixed table", False)
        with pytest.raises(InvalidInput, match="only a continuous domain can clip"):
            table.clip(torch.zeros(1, *table.shape))


def test_levels_grow_and_speak_only_of_columns_that_are_there():
    assert 8 <= len(TABLE.noise_levels) <= 12
    assert list(TABLE.noise_levels) == sorted(set(TABLE.noise_levels))
    assert all(level.flip == 0 < level.sigma for level in NUMBERS.noise_levels)
    assert all(level.sigma == 0 < level.flip for level in MixedTable((COLOUR,)).noise_levels)


def test_tables_are_equal_and_hash_by_their_columns():
    again = MixedTable((HEIGHT, COLOUR, AGE, INCOME, ONLY), missing="?")
    again.check(again.encode(FRAME))
    assert (again == TABLE, hash(again) == hash(TABLE), again == NUMBERS) == (True, True, False)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Numeric(name="x", mean=0, scale=0, lower=0, upper=1),
        lambda: Numeric(name="x", mean=math.nan, scale=1, lower=0, upper=1),
        lambda: Numeric(name="x", mean=0, scale=1, lower=2, upper=1),
        lambda: Numeric(name="x", mean=0, scale=1, lower=0.5, upper=1, integer=True),
        lambda: Categorical("x", ()),
        lambda: Categorical("x", ("a", "a")),
        lambda: MixedTable(()),
        lambda: MixedTable((AGE, AGE)),
    ],
)
def test_impossible_columns_are_refused(make):
    with pytest.raises(InvalidInput):
        make()


def test_adult_comes_back_exactly_and_stays_legal_under_noise(shared_data):
    file = shared_data / "adult" / "adult.data"
    rows = pd.read_csv(file, header=None, names=list(ADULT_COLUMNS), skipinitialspace=True, keep_default_na=False)
    features = rows.drop(columns="income")
    table = MixedTable.fit(features, missing="?")
    inputs = table.encode(features)
    assert table.shape == (108,)  # 6 numbers, and 8 columns of 102 categories, 3 of them "?".
    decoded = table.decode(inputs)
    assert (decoded.astype(str).to_numpy() == features.astype(str).to_numpy()).all()
    assert int((decoded == "?").any(axis=1).sum()) == 2399  # UCI's count of incomplete rows.
    samples = Samples(
        ids=torch.arange(100), inputs=inputs[:100], labels=torch.zeros(100, dtype=torch.int64), domain=table
    )
    source = table.noise_source(20, generator())
    for level in table.noise_levels:
        table.check(table.noisy(samples.inputs, source, level).flatten(0, 1))

"""A model is asked about the columns of its training: in its order, with its categories, whatever the table has."""

import warnings

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.pipeline import make_pipeline

import hardlabel
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.targets.coded import CodedEstimator, Coding, coded
from hardlabel.targets.estimators import estimator_hash
from hardlabel.targets.files import load_target
from hardlabel.targets.frameworks.table import plain

ROWS = 300
FIRST = 10  # Rows that are asked in batches.
DRAWS = np.random.default_rng(7)
GAPS, SPARSE = [0, 1, 2, 3, 5, 9], [0, 3, 7, 12, 40]
NUMBERS = pd.DataFrame(DRAWS.normal(size=(ROWS, 5)).round(3) * [1, 2, 3, 1, 2], columns=list("abcde"))
LABELS = np.array(NUMBERS.a - NUMBERS.b / 2 + DRAWS.normal(size=ROWS) * 0.7 > 0, dtype=int)
TURNED = ["d", "b", "e", "a", "c"]


def codes(values):
    """Four columns of codes, on which the labels depend, and two of numbers."""
    draws = np.random.default_rng(1)
    places = draws.integers(0, len(values), (ROWS, 4))
    effects = draws.normal(size=(4, len(values)))
    numbers = draws.normal(size=(ROWS, 2)).round(3)
    labels = effects[np.arange(4), places].sum(1) + numbers[:, 0] + draws.normal(size=ROWS) > 0
    frame = pd.DataFrame(np.array(values)[places], columns=["p", "q", "r", "s"])
    return frame.assign(x=numbers[:, 0], y=numbers[:, 1]), np.array(labels, dtype=int)


CODED = ["p", "q", "r", "s"]
KINDS = ["c"] * 4 + ["q"] * 2


def categories(frame):
    return frame.astype(dict.fromkeys(CODED, "category"))


def forest(**options):
    return lightgbm.LGBMClassifier(
        n_estimators=10, min_child_samples=1, min_data_per_group=1, cat_smooth=1, verbose=-1, n_jobs=1, **options
    )


def boosted(**options):
    return xgboost.XGBClassifier(n_estimators=10, max_depth=6, min_child_weight=0, n_jobs=1, **options)


def of_table(model, frame):
    """The model as an audit of a table asks it, and the points of the table."""
    codec = FrameCodec.fit({"members": frame})
    return coded(plain(model, role="target"), Coding(inputs=codec), role="target"), codec.encode(frame).numpy()


def answers(model, frame, sizes=(ROWS,)):
    """Probabilities of class 1; the first rows in batches of each size, the others in one."""
    asked, points = of_table(model, frame)
    for size in sizes:
        batches = np.split(points, range(size, FIRST + 1, size))
        yield np.concatenate([asked.predict_proba(batch)[:, 1] for batch in batches])


# The order of columns.

BY_NAME = ColumnTransformer([("kept", "passthrough", ["c", "a"]), ("rest", "passthrough", ["b", "d", "e"])])
ORDERED = {
    "LightGBM": forest,
    "LightGBM in a pipeline": lambda: make_pipeline(forest()),
    "LightGBM after a step that does nothing": lambda: make_pipeline("passthrough", forest()),
    "LightGBM in a vote": lambda: VotingClassifier([("one", forest()), ("two", forest(num_leaves=4))], voting="soft"),
    "XGBoost": boosted,
    "a forest": lambda: RandomForestClassifier(10, random_state=0),
    "columns chosen by name": lambda: make_pipeline(BY_NAME, forest()),
    "histograms": lambda: HistGradientBoostingClassifier(max_iter=10, categorical_features=["c"]),
}


def table():
    return NUMBERS.assign(c=DRAWS.permutation(np.arange(ROWS) % 7))


@pytest.mark.parametrize("name", ORDERED)
def test_columns_reach_a_fitted_classifier_in_its_own_order(name):
    frame = table()
    model = ORDERED[name]().fit(frame, LABELS)
    own = model.predict_proba(frame)[:, 1]
    for given in (frame, frame[TURNED], frame[sorted(frame, reverse=True)]):
        [found] = answers(model, given)
        assert np.array_equal(found, own)
    assert (model.predict(frame) == LABELS).mean() > 0.9  # Else columns could be exchanged unseen.


def test_names_with_white_space_are_ordered_too():
    frame = NUMBERS.rename(columns={"a": "first of  all", "d": "last one"})
    model = forest().fit(frame, LABELS)
    [found] = answers(model, frame[list(frame)[::-1]])
    assert np.array_equal(found, model.predict_proba(frame)[:, 1])


def test_a_table_in_another_order_is_another_key_and_the_same_order_the_old_one():
    model = forest().fit(NUMBERS, LABELS)
    same, _ = of_table(model, NUMBERS)
    assert vars(same).keys() == {"inside", "coding", "role", "random_state", "fitted_"}
    turned, _ = of_table(model, NUMBERS[TURNED])
    turned.coding = same.coding
    assert estimator_hash(turned) != estimator_hash(same)


@pytest.mark.parametrize("name", ["LightGBM", "a forest", "columns chosen by name"])
def test_clones_are_fitted_in_the_order_of_the_table_and_answer_in_it(name):
    frame = table()[TURNED]
    model = ORDERED[name]().fit(table(), LABELS)
    asked, points = of_table(model, frame)
    made = CodedEstimator(ORDERED[name](), asked.coding).fit(points, LABELS)
    own = ORDERED[name]().fit(frame, LABELS)
    assert np.array_equal(made.predict_proba(points), own.predict_proba(frame))


def test_missing_and_extra_columns_are_still_refused():
    model = forest().fit(NUMBERS, LABELS)
    asked, points = of_table(model, NUMBERS.rename(columns={"c": "z"}))
    with pytest.raises(InvalidInput, match="target wants 5 columns, the table has 5: 'c' is missing; 'z' is extra"):
        asked.predict(points)


def test_an_audit_of_a_table_in_another_order_finds_the_models_own_accuracy():
    model = forest().fit(NUMBERS[:150], LABELS[:150])
    turned = NUMBERS[TURNED]
    record = hardlabel.audit(model, (turned[:150], LABELS[:150]), (turned[150:], LABELS[150:]), attacks=["gap"])
    found = record.results.target
    assert found.train_accuracy.value == 1
    assert found.test_accuracy.value == (model.predict(NUMBERS[150:]) == LABELS[150:]).mean()


# Codes without categories.


@pytest.mark.parametrize("values", [range(12), GAPS, SPARSE], ids=["no gaps", "gaps", "sparse"])
@pytest.mark.parametrize("form", ["booster", "booster of names", "classifier"])
def test_codes_reach_xgboost_as_the_codes_of_its_training(values, form):
    frame, labels = codes(values)
    model = boosted(enable_categorical=True, feature_types=KINDS)
    model.fit(frame if form == "booster of names" else frame.to_numpy(), labels)
    own = model.predict_proba(frame.to_numpy())[:, 1]
    for found in answers(model if form == "classifier" else model.get_booster(), frame, sizes=(1, FIRST, ROWS)):
        np.testing.assert_allclose(found, own, atol=1e-7)
    assert ((own > 0.5) == labels).mean() > 0.9


def test_codes_of_a_booster_have_a_key_of_their_own():
    frame, labels = codes(GAPS)
    booster = boosted(enable_categorical=True, feature_types=KINDS).fit(frame.to_numpy(), labels).get_booster()
    assert "_codes" in vars(plain(booster))
    assert "_codes" not in vars(plain(boosted(enable_categorical=True).fit(categories(frame), labels).get_booster()))
    assert "_codes" not in vars(plain(boosted().fit(frame, labels).get_booster()))


@pytest.mark.parametrize("form", ["booster", "classifier"])
def test_what_is_no_code_gets_one_line(form):
    frame, labels = codes(GAPS)
    model = boosted(enable_categorical=True, feature_types=KINDS).fit(frame.to_numpy(), labels)
    model = model if form == "classifier" else model.get_booster()
    plenty = categories(codes(range(6))[0])
    [found] = answers(model, plenty)  # 0 to 5, as values and as places.
    [expected] = answers(model, codes(range(6))[0])
    assert np.array_equal(found, expected)
    for wrong, words in (
        (frame.assign(p=[*"uvw"] * 100), "got 'u': give numbers, or encode the rows in a function of your own"),
        (categories(frame), "got the categories 0, 1, 2, 3, 5, 9: give numbers"),
        (frame.assign(p=frame.p + 0.5), r"got \d.5: codes are whole numbers from 0 on"),
        (frame.assign(p=-1.0 - frame.p), r"got -\d.0: codes are whole numbers from 0 on"),
    ):
        with pytest.raises(InvalidInput, match=f"^target was trained on codes of .*'p'.*{words}"):
            list(answers(model, wrong))


# Categories.


def texts(frame):
    return frame.assign(**{name: frame[name].map("no {}".format) for name in CODED})


def whole(frame):
    return frame.assign(**{name: frame[name] * 10 + 5 for name in CODED})


def yes_no(frame):
    return whole(frame).assign(q=frame.q > 2)


FORMS = {
    "LightGBM": lambda frame, labels: forest().fit(frame, labels),
    "LightGBM, a booster": lambda frame, labels: forest().fit(frame, labels).booster_,
    "LightGBM in a pipeline": lambda frame, labels: make_pipeline(forest()).fit(frame, labels),
    "XGBoost": lambda frame, labels: boosted(enable_categorical=True).fit(frame, labels),
    "XGBoost, a booster": lambda frame, labels: boosted(enable_categorical=True).fit(frame, labels).get_booster(),
}


def own_answers(model, frame):
    if isinstance(model, xgboost.Booster):
        return model.predict(xgboost.DMatrix(frame, enable_categorical=True))
    return model.predict(frame) if isinstance(model, lightgbm.Booster) else model.predict_proba(frame)[:, 1]


@pytest.mark.parametrize(
    ("name", "given"),
    # XGBoost takes no categories of booleans.
    [(name, given) for name in FORMS for given in (texts, whole)] + [("LightGBM", yes_no)],
)
def test_columns_get_the_categories_of_training_though_the_table_has_none(name, given):
    frame, labels = codes(GAPS)
    trained = categories(given(frame))
    model = FORMS[name](trained, labels)
    own = own_answers(model, trained)
    turned = given(frame)[["s", "x", "p", "y", "r", "q"]]
    for table in (given(frame), turned, trained, categories(turned)):
        for found in answers(model, table, sizes=(1, ROWS)):
            np.testing.assert_allclose(found, own, atol=1e-7)
    assert ((own > 0.5) == labels).mean() > 0.9


def test_lightgbm_places_columns_of_one_category_and_ordered_ones():
    frame, labels = codes(GAPS)
    trained = categories(whole(frame)).assign(q=pd.Categorical([7] * ROWS))
    model = forest().fit(trained, labels)
    [found] = answers(model, whole(frame).assign(q=7))
    np.testing.assert_allclose(found, own_answers(model, trained), atol=1e-7)
    # Ordered ones count as numbers: nothing in the model says which column they are.
    ordered = trained.assign(r=pd.Categorical(whole(frame).r, ordered=True))
    model = forest().fit(ordered, labels)
    [found] = answers(model, ordered)
    np.testing.assert_allclose(found, own_answers(model, ordered), atol=1e-7)
    with pytest.raises(InvalidInput, match="trained on 4 columns of categories and does not store which"):
        list(answers(model, whole(frame).assign(q=7)))


@pytest.mark.parametrize("name", FORMS)
def test_text_that_a_table_reads_as_numbers_finds_its_category(name):
    frame, labels = codes(GAPS)
    trained = categories(frame.astype(dict.fromkeys(CODED, str)))
    model = FORMS[name](trained, labels)
    for table in (frame, frame.astype(dict.fromkeys(CODED, float)), categories(frame)):
        [found] = answers(model, table)
        np.testing.assert_allclose(found, own_answers(model, trained), atol=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_values_of_another_type_are_no_categories(name):
    frame, labels = codes(GAPS)
    numbers = FORMS[name](categories(whole(frame)), labels)
    with pytest.raises(InvalidInput, match=r"categories 5, 15, .* in the column 'p', got 'no .': give the column the"):
        list(answers(numbers, categories(texts(frame))))
    words = FORMS[name](categories(texts(frame)), labels)
    with pytest.raises(
        InvalidInput, match=r"categories no 0, no 1, .* in the column 'p', got \d*5: give the column the"
    ):
        list(answers(words, whole(frame)))


@pytest.mark.parametrize("name", FORMS)
def test_a_category_that_training_did_not_have(name):
    frame, labels = codes(GAPS)
    trained = categories(texts(frame))
    model = FORMS[name](trained, labels)
    new = texts(frame).assign(q=["new", *texts(frame).q[1:]])
    if "XGBoost" in name:
        with pytest.raises(InvalidInput, match="target knows no category 'new' in the column 'q', and XGBoost answers"):
            list(answers(model, new))
        return
    [found] = answers(model, new)  # As LightGBM: a missing value.
    absent = trained.assign(q=trained.q.where(np.arange(ROWS) > 0))
    np.testing.assert_allclose(found, own_answers(model, absent), atol=1e-7)


@pytest.mark.parametrize("name", ["LightGBM", "XGBoost"])
def test_clones_are_fitted_on_text_as_categories(name):
    frame, labels = codes(GAPS)
    table = texts(frame).assign(q=texts(frame).q.where(np.arange(ROWS) % 9 > 0))
    model = FORMS[name](categories(table), labels)
    asked, points = of_table(model, table)
    few = np.arange(0, ROWS, 40)  # Too few for all categories of all columns.
    unfitted = forest() if name == "LightGBM" else boosted(enable_categorical=True)
    made = CodedEstimator(unfitted, asked.coding).fit(points[few], labels[few])
    own = FORMS[name](categories(table).iloc[few], labels[few])
    np.testing.assert_allclose(made.predict_proba(points)[:, 1], own_answers(own, categories(table)), atol=1e-7)


# Numbers.

PLAIN = {
    "LightGBM": lambda frame, labels: forest().fit(frame, labels),
    "LightGBM, of arrays": lambda frame, labels: forest().fit(frame.to_numpy(), labels, categorical_feature=[0, 1]),
    "LightGBM, a booster of arrays": lambda frame, labels: forest().fit(frame.to_numpy(), labels).booster_,
    "XGBoost": lambda frame, labels: boosted().fit(frame, labels),
    "XGBoost, a booster": lambda frame, labels: boosted().fit(frame, labels).get_booster(),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("name", PLAIN)
def test_where_training_had_numbers_categories_are_their_values(name):
    frame, labels = codes(SPARSE)
    model = PLAIN[name](frame, labels)
    expected, few = answers(model, frame, sizes=(ROWS, 1))
    assert np.array_equal(expected, few)
    for found in answers(model, categories(frame), sizes=(1, FIRST, ROWS)):
        np.testing.assert_allclose(found, expected, atol=1e-7)
    holed = frame.astype({"p": object}).assign(p=frame.p.astype(object).where(frame.p != 7, None))
    [found] = answers(model, holed)
    [expected] = answers(model, frame.assign(p=frame.p.where(frame.p != 7).astype(float)))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    for table in (texts(frame), categories(texts(frame))):
        words = r"^target was trained on numbers in the column 'p', got 'no \d+': give numbers, or encode"
        with pytest.raises(InvalidInput, match=words):
            list(answers(model, table))


# Files.


@pytest.mark.parametrize("ending", ["txt", "joblib"])
def test_a_file_of_lightgbm_gets_its_categories_and_warns_of_nothing(ending, tmp_path):
    frame, labels = codes(GAPS)
    model = forest().fit(categories(whole(frame)), labels)
    path = tmp_path / f"model.{ending}"
    if ending == "txt":
        model.booster_.save_model(path)
    else:
        joblib.dump(model, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target = load_target(path, trust_pickle=True)
        [found] = answers(target, whole(frame))
    np.testing.assert_allclose(found, own_answers(model, categories(whole(frame))), atol=1e-7)


@pytest.mark.parametrize("ending", ["json", "joblib"])
def test_files_of_xgboost_answer_as_before_they_were_saved(ending, tmp_path):
    frame, labels = codes(GAPS)
    for trained, table, options in (
        (categories(texts(frame)), texts(frame), {}),
        (frame.to_numpy(), frame, {"feature_types": KINDS}),
    ):
        model = boosted(enable_categorical=True, **options).fit(trained, labels)
        path = tmp_path / f"model.{ending}"
        if ending == "joblib":
            joblib.dump(model, path)
        else:
            model.save_model(path)
        for found in answers(load_target(path, trust_pickle=True), table, sizes=(1, ROWS)):
            np.testing.assert_allclose(found, model.predict_proba(trained)[:, 1], atol=1e-7)

"""Texts in .csv files that pandas reads as missing: they are told, and can be kept."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from hardlabel.audits.game.execution import Execution
from hardlabel.audits.target import prepare
from hardlabel.checks import InvalidInput
from hardlabel.data.csv_missing import READ_AS_MISSING
from hardlabel.data.given import Columns, read_given, read_undivided
from hardlabel.data.trained_columns import check_trained_columns
from hardlabel.runs.progress import Silent
from hardlabel.runs.settings import TargetSettings

LABEL = Columns(label="income")
MEMBERS = "region,tier,age,income\nNA,A,30,low\nEU,None,NA,high\nnull,,41,low\n"
NONMEMBERS = "region,tier,age,income\nNA,A,30,low\nEU,B,31,high\n"


def two(folder, members=MEMBERS, nonmembers=NONMEMBERS):
    files = folder / "m.csv", folder / "n.csv"
    for file, text in zip(files, (members, nonmembers), strict=True):
        file.write_text(text)
    return files


def test_what_pandas_reads_as_missing_is_what_we_tell(tmp_path):
    file = tmp_path / "all.csv"
    texts = sorted(READ_AS_MISSING)
    file.write_text("".join(f"{text}\n" for text in ["name", *texts, "x"]))
    frame = pd.read_csv(file)
    assert frame.name.isna().tolist() == [True] * len(texts) + [False]


def test_texts_that_were_read_as_missing_are_told_with_column_and_count(tmp_path):
    given = read_given(*two(tmp_path), columns=LABEL)
    assert given.members[0].region.isna().tolist() == [True, False, True]  # As pandas reads them.
    [note] = given.alerts
    assert note in given.notes
    assert "'NA' (2), 'null' (1) in column 'region'; 'None' (1) in column 'tier'; 'NA' (1) in column 'age'" in note
    assert "--missing ''" in note


def test_empty_cells_and_blanks_are_not_told(tmp_path):
    given = read_given(*two(tmp_path, "a,b,income\n1,x,low\n,,high\n", "a,b,income\n ,x,low\n2,,high\n"), columns=LABEL)
    assert given.alerts == ()
    assert given.members[0].a.isna().tolist() == [False, True]


def test_only_columns_that_are_used_are_told(tmp_path):
    files = two(tmp_path)
    ignoring = Columns(label="income", ignore=["region", "tier"])
    assert "region" not in read_given(*files, columns=ignoring).alerts[0]
    sliced = Columns(label="income", ignore=["region", "tier"], slices=["region"])
    assert "'region'" in read_given(*files, columns=sliced).alerts[0]


def test_an_empty_text_keeps_all_text_and_empty_cells_stay_missing(tmp_path):
    members, nonmembers = two(tmp_path, MEMBERS.replace("NA,high", "5,high"))
    given = read_given(members, nonmembers, columns=LABEL, missing="")
    assert given.members[0].region.tolist() == ["NA", "EU", "null"]
    assert given.members[0].tier.tolist()[:2] == ["A", "None"]
    assert given.members[0].tier.isna().tolist() == [False, False, True]
    assert given.members[0].age.tolist() == [30, 5, 41]
    assert given.nonmembers[0].region.tolist() == ["NA", "EU"]
    assert given.alerts == ()


def test_a_text_is_missing_beside_empty_cells(tmp_path):
    text = "region,age,income\n?,?,low\nNA,31,high\n,,low\n"
    given = read_given(*two(tmp_path, text, text), columns=LABEL, missing="?")
    for inputs, _ in (given.members, given.nonmembers):
        assert inputs.region.isna().tolist() == [True, False, True]
        assert inputs.region[1] == "NA"
        assert inputs.age.isna().tolist() == [True, False, True]
        assert inputs.age.dtype == np.float64


def test_columns_that_take_the_type_of_the_members_keep_their_texts(tmp_path):
    # The non-members' zip reads as numbers, their fee as text: both are read again.
    members = "zip,fee,town,income\nx01,1.5,NA,low\n02,2.5,b,high\n03,4.5,b,low\n"
    nonmembers = "zip,fee,town,income\n01, ,NA,low\n?,2.5,?,high\n,?,,low\n"
    given = read_given(*two(tmp_path, members, nonmembers), columns=LABEL, missing="?")
    assert given.nonmembers[0].zip[0] == "01"
    assert given.nonmembers[0].zip.isna().tolist() == [False, True, True]
    assert given.nonmembers[0].fee.isna().tolist() == [True, False, True]
    assert given.nonmembers[0].fee[1] == 2.5
    assert given.nonmembers[0].town.isna().tolist() == [False, True, True]


@pytest.mark.parametrize("text", ["None", "NA"])
def test_classes_of_that_name_are_kept_when_asked(tmp_path, text):
    table = f"age,income\n30,{text}\n31,high\n"
    with pytest.raises(InvalidInput, match=f"none in row 0; '{text}' reads as missing there: --missing ''") as error:
        read_given(*two(tmp_path, table, table), columns=LABEL)
    assert "\n" not in str(error.value)
    given = read_given(*two(tmp_path, table, table), columns=LABEL, missing="")
    assert given.members[1].tolist() == [text, "high"]


def test_texts_to_be_classified_are_kept_when_asked(tmp_path):
    table = "review,income\nn/a,low\ngood one,high\n"
    with pytest.raises(InvalidInput, match="'n/a' reads as missing there: --missing ''"):
        read_given(*two(tmp_path, table, table), columns=LABEL)
    assert read_given(*two(tmp_path, table, table), columns=LABEL, missing="").members[0] == ["n/a", "good one"]


def test_files_that_mark_missing_values_themselves_refuse_a_text(tmp_path):
    for name in ("m", "n"):
        pd.DataFrame({"age": [1, 2], "income": ["a", "b"]}).to_parquet(tmp_path / f"{name}.parquet")
        np.savez(tmp_path / f"{name}.npz", inputs=np.eye(2), labels=[0, 1])
    with pytest.raises(InvalidInput, match=r"missing must be left out, since \.parquet files"):
        read_given(tmp_path / "m.parquet", tmp_path / "n.parquet", columns=LABEL, missing="?")
    with pytest.raises(InvalidInput, match="missing must be left out"):
        read_given(tmp_path / "m.npz", tmp_path / "n.npz", missing="?")


def test_one_file_tells_another_way_out(tmp_path):
    [note] = read_undivided(two(tmp_path)[0], columns=LABEL).notes
    assert "'NA' (1), 'null' (1) in column 'region'" in note
    assert ".parquet" in note
    assert "--missing" not in note


def test_the_terminal_and_the_record_tell_it_before_anything_is_trained(tmp_path):
    class Heard(Silent):
        def __init__(self):
            self.lines = []

        def say(self, message):
            self.lines.append(message)

    tables = [
        "region,age,income\n" + "".join(f"{('NA', 'EU')[n % 2]},{start + n},{n % 2}\n" for n in range(20))
        for start in (0, 100)
    ]
    members, nonmembers = two(tmp_path, *tables)
    (tmp_path / "own.py").write_text(
        "class Own:\n    def ask(self, rows, ids):\n        return [0] * len(rows)\n\n\ndef load():\n    return Own()\n"
    )
    given = {"target": f"{tmp_path}/own.py:load", "members": members, "nonmembers": nonmembers, "label": "income"}
    heard = {}
    for missing in (None, ""):
        watch = Heard()
        settings = TargetSettings(**given, missing=missing, trainer="none", name="own", out=tmp_path / "run")
        made = prepare(settings, device=torch.device("cpu"), store=None, execution=Execution(watch=watch))
        heard[missing] = [line for line in watch.lines if "read as missing" in line]
        assert [note for note in made.case.notes if "read as missing" in note] == heard[missing]
    assert heard[""] == []
    [line] = heard[None]
    assert "'NA' (20) in column 'region'" in line


# Encoders that were trained on something else.

TRAINED = pd.DataFrame(
    {"zip": ["00501", "94105", "10001"] * 4, "region": ["NA", "EU", "NA"] * 4, "ward": [3, 7, 9] * 4, "age": range(12)}
)
Y = [0, 1, 0] * 4


def models():
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("c", encoder, ["zip", "region", "ward"])], remainder="passthrough")
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    inside = ColumnTransformer([("n", "passthrough", ["age"]), ("c", filled, ["zip", "region"])])
    forest = RandomForestClassifier(3, random_state=0)
    return {
        "columns": make_pipeline(columns, forest),
        "places": make_pipeline(ColumnTransformer([("c", encoder, [0, 1, 2])]), forest),
        "searched": GridSearchCV(make_pipeline(columns, forest), {"randomforestclassifier__n_estimators": [2]}, cv=2),
        "imputed": make_pipeline(inside, forest),
        "first": make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), forest),
    }


@pytest.mark.parametrize("name", sorted(models()))
def test_numbers_where_an_encoder_was_trained_on_text_are_refused_by_name(name):
    model = models()[name].fit(TRAINED, Y)
    frames = {"members": TRAINED.astype({"zip": int}), "nonmembers": TRAINED}
    with pytest.raises(InvalidInput, match=r"trained on text in the column 'zip', such as '00501', and members hold"):
        check_trained_columns(model, frames)
    with pytest.raises(InvalidInput, match=r"and nonmembers hold numbers there: save the table with text there as"):
        check_trained_columns(model, dict(zip(frames, reversed(frames.values()), strict=True)))
    check_trained_columns(model, {"members": TRAINED, "nonmembers": TRAINED.astype({"zip": "category"})})


def test_text_where_an_encoder_was_trained_on_numbers_is_refused():
    model = models()["columns"].fit(TRAINED, Y)
    with pytest.raises(InvalidInput, match="trained on numbers in the column 'ward', such as 3, and members hold text"):
        check_trained_columns(model, {"members": TRAINED.assign(ward="x")})
    check_trained_columns(model, {"members": TRAINED.astype({"ward": float})})
    check_trained_columns(model, {"members": TRAINED.to_numpy(), "nonmembers": ["text"]})
    check_trained_columns(object(), {"members": TRAINED})


def test_a_text_of_the_training_that_was_read_as_missing_is_refused():
    gone = TRAINED.assign(region=TRAINED.region.replace("NA", None))
    for name in ("columns", "places", "searched", "first"):
        model = models()[name].fit(TRAINED, Y)
        with pytest.raises(InvalidInput, match=r"the text 'NA' in the column 'region', where 8 members .*--missing ''"):
            check_trained_columns(model, {"members": gone})
        # Non-members may lack what all members have; and here the training knew missing values.
        check_trained_columns(model, {"members": TRAINED, "nonmembers": gone})
        both = TRAINED.assign(region=["NA", "EU", None] * 4)
        check_trained_columns(models()[name].fit(both, Y), {"members": both})
    check_trained_columns(models()["imputed"].fit(TRAINED, Y), {"members": gone})  # The imputer takes them.

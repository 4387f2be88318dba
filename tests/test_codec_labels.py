"""Labels as the caller has them become classes and come back."""

import numpy as np
import pandas as pd
import pytest
import torch

from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.labels import ClassNames, answered_names, class_names

TWO = {"members": ["no", "yes"], "nonmembers": ["yes", "yes"]}


@pytest.mark.parametrize(
    ("labels", "types"),
    [
        (["b", "a", "b"], {str}),
        ([True, False, True], {bool}),
        ([1, 2, 3], {int}),
        ([-1, 1, 1], {int}),
        ([100, 7, 70_000], {int}),
    ],
)
@pytest.mark.parametrize("container", [list, np.array, pd.Series, lambda labels: np.array(labels)[:, None]])
def test_labels_come_back_with_their_types(labels, types, container):
    names = class_names({"members": container(labels)}, known=sorted(set(labels)))
    classes = names.encode(container(labels))
    assert classes.dtype == torch.int64
    assert classes.tolist() == [sorted(set(labels)).index(label) for label in labels]
    assert names.decode(classes).tolist() == labels
    assert {type(label) for label in names.decode(classes).tolist()} == types


@pytest.mark.parametrize(
    ("labels", "known", "width", "expected"),
    [
        ([0, 1, 1], [0, 1], None, None),
        ([0, 1, 1], None, None, None),
        ([0, 1.0], None, None, None),
        ([0, 5], None, 10, None),  # Numbers of outputs.
        ([0, 2], [0, 1], None, None),  # A class that the classifier has never seen.
        ([0, 2], [0, 2], None, (0, 2)),
        ([1, 2], None, 2, (1, 2)),
        ([1, 2], None, None, None),  # An oracle may answer 0 too.
        ([-1, 1], None, None, (-1, 1)),
        (["x"], ["x", "y"], None, ("x", "y")),
        (["z"], ["x", "y"], None, ("x", "y", "z")),
    ],
)
def test_whole_numbers_are_classes_where_they_can_be(labels, known, width, expected):
    names = class_names({"members": labels}, known=known, width=None if width is None else lambda: width)
    assert (None if names is None else names.labels) == expected


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        (["a", None], {}, "labels of members must not be missing, got None in row 1"),
        ([1.0, float("nan")], {}, "must not be missing, got nan in row 1"),
        ([0.5, 1.0], {}, "must name classes, got the number 0.5"),
        (["a", 1], {}, "must all be text, all whole numbers or all booleans, got int, str"),
        (["a", "b"], {"known": [0, 1]}, "labels must be of the sort that the target answers with, 0, got 'a'"),
        ([0, 1], {"known": ["a", "b"]}, "labels must be of the sort that the target answers with, 'a', got 0"),
        ([1, 2, 3], {"width": lambda: 2}, "below the target's 2 classes, got 3 labels from 1 to 3"),
        (np.zeros((2, 2)), {}, "must be one for each sample"),
    ],
)
def test_labels_without_a_meaning_are_refused_in_one_line(labels, options, words):
    with pytest.raises(InvalidInput, match="labels") as error:
        class_names({"members": labels}, **options)
    assert words in str(error.value)


def test_an_answer_that_is_no_label_is_refused_until_it_is_mapped():
    names = class_names(TWO)
    with pytest.raises(InvalidInput) as error:
        names.encode(["yes", "yes ", "no "], "target's answers")
    assert str(error.value) == (
        "target's answers must be 'no', 'yes', got others for 2 of 3 (the first is row 1: 'yes '): --label-map "
        "'yes '=LABEL says what it means"
    )
    mapped = ClassNames(names.labels, (("yes ", "yes"), ("no ", "no")))
    assert mapped.encode(["yes", "yes ", "no "]).tolist() == [1, 1, 0]
    with pytest.raises(InvalidInput, match="must name labels of the data"):
        ClassNames(names.labels, (("yes ", "maybe"),))
    with pytest.raises(InvalidInput, match="another meaning"):
        ClassNames(names.labels, (("yes", "no"),))


def test_groups_of_different_sorts_are_refused():
    with pytest.raises(InvalidInput, match="one sort in all groups, got members text, nonmembers whole numbers"):
        class_names({"members": ["1"], "nonmembers": [1]})


FROM_0 = [f"{answer}={answer + 1}" for answer in range(4)]
FROM_1 = [f"{answer + 1}={answer}" for answer in range(4)]


@pytest.mark.parametrize(
    ("labels", "known", "pairs", "answers", "meanings"),
    [
        ([1, 2, 3, 4], [0, 1, 2, 3], FROM_0, [0, 1, 2, 3], [1, 2, 3, 4]),
        ([0, 1, 2, 3], [1, 2, 3, 4], FROM_1, [1, 2, 3, 4], [0, 1, 2, 3]),
        ([1, 2, 3, 4], None, FROM_0, [3, 0, "2", 1.0], [4, 1, 3, 2]),  # A server may answer with text or floats.
        ([1, 2], [0, 1, 2, 3], FROM_0, [2, 1], [3, 2]),  # Two classes do not occur in the data.
        ([0, 1], [0, 1], ["0=1", "1=0"], [0, 1], [1, 0]),  # A permutation of the same names.
        ([0, 1, 2], [0, 1, 2], ["0=1", "1=2", "2=0"], [0, 1, 2], [1, 2, 0]),
        (["no", "yes"], ["no", "yes"], ["no=yes", "yes=no"], ["no", "yes"], ["yes", "no"]),
        (["no", "yes"], [0, 1], ["0=yes", "1=no"], [0, 1], ["yes", "no"]),
        (["1", "2"], [0, 1], ["0=1", "1=2"], [0, 1], ["1", "2"]),
        ([1, 2], ["a", "b"], ["a=1", "b=2"], ["a", "b"], [1, 2]),
        ([-1, 1], [0, 1], ["0=-1", "1=1"], [0, 1], [-1, 1]),
        ([True, False], [0, 1], ["0=True", "1=False"], [0, 1], [True, False]),
        (["no", "yes"], [False, True], ["False=no", "True=yes"], np.array([False, True]), ["no", "yes"]),
        (["<=50K", ">=50K"], None, ["a=<=50K", "b=>=50K"], ["a", "b"], ["<=50K", ">=50K"]),
        ([1, 2, 3], [0, 1, 2, 9], ["0=1", "1=2", "2=3", "9=1"], [9, 1], [1, 2]),  # Two answers may mean one label.
    ],
)
def test_a_map_is_applied_once_to_answers_and_never_to_the_data(labels, known, pairs, answers, meanings):
    names = answered_names({"members": labels}, known=known, label_map=pairs)
    assert names.decode(names.encode(answers)).tolist() == meanings
    assert names.of_data.decode(names.of_data.encode(labels)).tolist() == labels
    assert names.of_data.labels == names.labels  # The same classes.


@pytest.mark.parametrize(
    ("labels", "known", "pairs", "words"),
    [
        (["no", "yes"], None, ["yes=no"], "another meaning, got 'yes', unless each label is the meaning of an answer"),
        ([0, 1], [0, 1], ["0=1"], "another meaning, got 0, unless each label is .*: no answer means 0"),
        ([1, 2, 3, 4], [0, 1, 2, 3], ["0=1"], r"1 is the meaning of several \(0, 1\), 4 of none"),
        ([1, 2, 3, 4], None, ["0=1", "1=2"], "another meaning, got 1, .*: no answer means 3, 4"),
        ([0, 1, 2, 3], [1, 2, 3, 4], FROM_0, "a label of 0, 1, 2, 3, got '3=4'"),  # The wrong way round.
        ([1, 2, 3, 4], [0, 1, 2, 3], FROM_1, "another meaning, got 1, .*: no answer means 4"),
        (["no", "yes"], None, ["Y=yes", "Y=no"], "one meaning, got 'yes' and 'no' for 'Y'"),
        (["no", "yes"], None, ["Y=yes", "N=nein"], "a label of no, yes, got 'N=nein'"),
        (["no", "yes"], None, ["Y"], "must be ANSWER=LABEL"),
        (["no", "yes"], None, ["Y="], "must be ANSWER=LABEL"),
    ],
)
def test_a_map_that_leaves_a_meaning_open_is_refused(labels, known, pairs, words):
    with pytest.raises(InvalidInput, match=words) as error:
        answered_names({"members": labels}, known=known, label_map=pairs)
    assert "\n" not in str(error.value)


def test_a_map_of_all_answers_says_that_there_are_no_others():
    names = answered_names({"members": [1, 2, 3]}, label_map=["0=1", "1=2", "2=3"])
    with pytest.raises(InvalidInput, match=r"got others for 1 of 2 .*: 3\): --label-map 3=LABEL"):
        names.encode([0, 3], "answers of target")
    longer = answered_names({"members": [1, 2, 3]}, label_map=["0=1", "1=2", "2=3", "3=4"])  # As the error says.
    assert longer.decode(longer.encode([0, 3])).tolist() == [1, 4]


@pytest.mark.parametrize("boosted", [True, False])
def test_counting_from_another_number_is_refused_with_the_map_to_paste(boosted):
    own, data = ([0, 1, 2, 3], [4, 1, 3, 2, 1]) if boosted else ([1, 2, 3, 4], [3, 0, 2, 1, 1])
    with pytest.raises(InvalidInput, match=r"--label-map") as error:
        class_names({"members": data}, known=own)
    assert "\n" not in str(error.value)
    assert f"knows, {own[0]} to {own[-1]}, got {min(data)} to {max(data)}" in str(error.value)
    pairs = str(error.value).rpartition("give --label-map ")[2].split(" --label-map ")
    names = answered_names({"members": data}, known=own, label_map=pairs)
    assert names.decode(names.encode(own)).tolist() == sorted(set(data))


@pytest.mark.parametrize("labels", [[1, 2, 3], [0, 1, 2], [0, 5], [2, 3]])
def test_labels_that_only_look_shifted_are_left_alone(labels):
    assert class_names({"members": labels}, known=[0, 1, 2, 3]) is None or labels == [0, 5]


def test_outputs_without_names_are_put_in_the_order_of_the_map():
    names = answered_names({"members": ["no", "yes"]}, width=lambda: 2, label_map=["0=yes", "1=no"])
    assert names.labels == ("yes", "no")
    assert names.of_data.encode(["no", "yes"]).tolist() == [1, 0]  # The numbers of the outputs.
    numbers = answered_names({"members": [0, 1]}, width=lambda: 2, label_map=["0=1", "1=0"])
    assert numbers.of_data.encode([0, 1]).tolist() == [1, 0]
    beyond = answered_names({"members": [1, 2]}, width=lambda: 4, label_map=FROM_0)
    assert beyond.of_data.encode([1, 2]).tolist() == [0, 1]
    with pytest.raises(InvalidInput, match="outputs 0 to 2 means, got no meaning of 2"):
        answered_names({"members": ["no", "yes"]}, width=lambda: 3, label_map=["0=yes", "1=no"])
    with pytest.raises(InvalidInput, match="outputs another meaning, got 'no' for several"):
        answered_names({"members": ["no", "yes"]}, width=lambda: 3, label_map=["0=yes", "1=no", "2=no"])

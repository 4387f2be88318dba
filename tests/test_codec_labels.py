"""Labels as the caller has them become classes and come back."""

import numpy as np
import pandas as pd
import pytest
import torch

from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.labels import ClassNames, class_names

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

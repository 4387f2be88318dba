"""Equal inputs count once, are never in both groups, and are always told."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from hardlabel import Attacker, Focus, InvalidInput
from hardlabel.audits.cases.repeats import counted, without_repeats
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.kinds import run
from hardlabel.runs.settings import CanariesSettings, DefensesSettings, ModelSettings, RecipeSettings
from hardlabel.store import Store

FEW = Attacker(references=2)
STRICT = hardlabel.Focus(strict=True)


def samples(values, labels=None, start=0):
    """One number per sample, as an input of one feature."""
    inputs = torch.tensor(values, dtype=torch.float32)[:, None]
    marks = torch.zeros(len(values), dtype=torch.int64) if labels is None else torch.tensor(labels)
    return Samples(ids=torch.arange(start, start + len(values)), inputs=inputs, labels=marks, domain=Box((1,), 0, 99))


def values(group):
    return group.inputs[:, 0].tolist()


# Rules, on numbers.


def test_without_equal_inputs_the_groups_are_the_same_objects_and_nothing_is_told():
    groups = {"members": samples([1, 2]), "nonmembers": samples([3], start=5), "population": samples([4], start=9)}
    cleaned = without_repeats(groups, strict=True)
    assert all(cleaned.groups[name] is group for name, group in groups.items())
    assert cleaned.notes == ()


def test_of_equal_inputs_in_a_group_the_first_is_kept_and_other_labels_are_told():
    data = samples([5, 6, 5, 7, 6, 5], labels=[0, 1, 0, 2, 0, 1])
    cleaned = without_repeats({"data": data}, strict=False)
    assert cleaned.groups["data"].ids.tolist() == [0, 1, 3]
    assert cleaned.groups["data"].labels.tolist() == [0, 1, 2]
    [note] = cleaned.notes
    assert "3 of 6 (rows 2, 4, 5). The label of 2 differs from the label of the first (rows 4, 5)." in note


def test_minus_zero_repeats_zero():
    data = Samples(
        ids=torch.arange(2),
        inputs=torch.tensor([[0.0], [-0.0]]),
        labels=torch.zeros(2, dtype=torch.int64),
        domain=Box((1,), -1, 1),
    )
    assert len(without_repeats({"data": data}, strict=False).groups["data"]) == 1


def test_what_is_in_both_groups_leaves_both_with_all_its_copies():
    members, outside = samples([*range(20), 3]), samples([3, *range(40, 60)], start=30)
    cleaned = without_repeats({"members": members, "nonmembers": outside}, strict=False)
    assert values(cleaned.groups["members"]) == [0, 1, 2, *range(4, 20)]
    assert values(cleaned.groups["nonmembers"]) == list(range(40, 60))
    [note] = cleaned.notes
    assert note.endswith("dropped from both: 1 (members rows 3, 20; nonmembers row 0).")


@pytest.mark.parametrize(("shared", "refused"), [(2, False), (3, True)])
def test_more_than_a_tenth_in_both_groups_is_refused(shared, refused):
    groups = {"members": samples(range(20)), "nonmembers": samples(range(20 - shared, 70), start=50)}
    if refused:
        with pytest.raises(InvalidInput, match=f"got {shared} in both, {shared} of 20 members"):
            without_repeats(groups, strict=False)
    else:
        assert len(without_repeats(groups, strict=False).groups["members"]) == 20 - shared


def test_a_population_loses_members_nonmembers_and_shared_inputs():
    groups = {
        "members": samples(range(20)),
        "nonmembers": samples(range(19, 39), start=30),
        "population": samples([5, 19, 25, 80, 81, 80], start=70),
    }
    cleaned = without_repeats(groups, strict=False)
    assert values(cleaned.groups["population"]) == [80, 81]
    assert len(cleaned.notes) == 3
    assert "members or non-members were dropped: 3 (rows 0, 1, 2)" in cleaned.notes[2]


@pytest.mark.parametrize(
    ("groups", "rule"),
    [
        (
            {"members": samples(range(20)), "nonmembers": samples(range(19, 39), start=30)},
            "members and nonmembers must",
        ),
        ({"members": samples([1, 2, 2]), "nonmembers": samples([3], start=9)}, r"members\[2\], equal to members\[1\]"),
        ({"members": samples([1]), "nonmembers": samples([3, 3], start=9)}, "nonmembers must not repeat inputs"),
        (
            {"members": samples([1]), "nonmembers": samples([3], start=9), "population": samples([4, 1], start=20)},
            r"population must not hold inputs of members or nonmembers .* population\[1\]",
        ),
        ({"data": samples([1, 1])}, "data must not repeat inputs"),
    ],
)
def test_strict_refuses_what_would_be_dropped(groups, rule):
    without_repeats(groups, strict=False)
    with pytest.raises(InvalidInput, match=rule):
        without_repeats(groups, strict=True)


def test_rows_of_a_file_are_all_kept_but_each_input_is_once_in_a_group():
    data = samples([5, 6, 5, 7])
    rows = counted(data, strict=False)
    assert values(rows.once(data.take(torch.tensor([2, 3, 0])))) == [7, 5]
    assert "1 of 4 (row 2)" in rows.notes[0]
    with pytest.raises(InvalidInput, match="data must not repeat inputs where strict"):
        counted(data, strict=True)
    plain = samples([5, 6])
    assert counted(plain, strict=True).once(plain) is plain


# Audits of arrays.


class Label:
    """Label 1 above one half, in the first column; keeps what it was asked."""

    def __init__(self):
        self.asked = 0

    def ask(self, inputs, ids):
        self.asked += len(inputs)
        return (inputs[:, 0] > 0.5).long()


def rows(count, seed):
    inputs = np.random.default_rng(seed).random((count, 3)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0.5).astype(np.int64)


def joined(*pairs):
    return tuple(np.concatenate(arrays) for arrays in zip(*pairs, strict=True))


def some(pair, chosen):
    return pair[0][chosen], pair[1][chosen]


def test_an_audit_drops_tells_and_keeps_row_numbers_and_slices():
    """Members 4 and 5 repeat, member 7 is a non-member too: rows and slices stay those of the caller's arrays."""
    first, second = rows(40, 1), rows(40, 2)
    members = joined(some(first, slice(0, 4)), some(first, [0, 1]), some(first, slice(4, None)))
    outside = joined(second, some(members, [7]))
    marks = [str(row) for row in range(len(members[0]))]
    focus = Focus(slices={"row": (marks, ["outside"] * len(outside[0]))}, show_records=True)
    record = hardlabel.audit(Label(), members, outside, attacks=["gap"], focus=focus)
    assert (record.results.members, record.results.nonmembers) == (39, 40)
    told = " ".join(record.results.notes)
    assert "dropped from both: 1 (members row 7; nonmembers row 40)" in told
    assert "repeated within members were dropped, so that each input counts once: 2 of 42 (rows 4, 5)" in told
    inside = record.scores[record.scores["member"]]
    assert sorted(inside["row"]) == [row for row in range(42) if row not in (4, 5, 7)]
    assert inside["label"].tolist() == members[1][inside["row"]].tolist()


def test_repeats_change_no_figure():
    members, outside = rows(40, 1), rows(40, 2)
    plain = hardlabel.audit(Label(), members, outside, attacks=["gap"])
    thrice = hardlabel.audit(Label(), some(members, np.repeat(np.arange(40), 3)), outside, attacks=["gap"])
    assert thrice.results.members == 40
    assert thrice.attack("gap").auc == plain.attack("gap").auc


def test_strict_audits_ask_nothing():
    members, outside = rows(40, 1), rows(40, 2)
    label = Label()
    with pytest.raises(InvalidInput, match="members must not repeat inputs where strict"):
        hardlabel.audit(label, joined(members, some(members, [3])), outside, focus=STRICT)
    with pytest.raises(InvalidInput, match="must not share inputs where strict, got 1"):
        hardlabel.audit(label, members, joined(outside, some(members, [3])), focus=STRICT)
    with pytest.raises(InvalidInput, match="population must not hold inputs"):
        hardlabel.audit(label, members, outside, population=some(members, [3]), focus=STRICT)
    with pytest.raises(InvalidInput, match="got 40 in both"):
        hardlabel.audit(label, members, members)
    assert label.asked == 0


def recipe_of(data, strict=False):
    tree, focus = DecisionTreeClassifier(random_state=0), hardlabel.Focus(strict=strict)
    return hardlabel.audit_recipe(data, tree, train_size=40, repeats=2, attacks=["gap"], attacker=FEW, focus=focus)


def defend_of(data, **others):
    tree = DecisionTreeClassifier(random_state=0)
    wanted = {"defenses": ["label-only"], "attacks": ["gap"], "train_size": 40, "repeats": 2}
    return hardlabel.defend(data, tree, attacker=FEW, **wanted, **others)


def canaries_of(data, **others):
    recipe = hardlabel.Recipe(architecture="logistic", max_epochs=2)
    return hardlabel.audit_canaries(data, recipe, canaries=10, kinds=["mislabelled"], train_size=60, **others)


@pytest.mark.parametrize("call", [recipe_of, defend_of, canaries_of])
def test_other_calls_tell_what_they_drop_and_refuse_it_where_strict(call):
    data = rows(220, 1)
    twice = joined(data, some(data, [8, 9]))
    told = "repeated within data were dropped, so that each input counts once: 2 of 222 (rows 220, 221)"
    assert any(told in note for note in call(twice).results.notes)
    assert not any("repeated" in note for note in call(data, strict=True).results.notes)
    with pytest.raises(InvalidInput, match="data must not repeat inputs where strict, got 2"):
        call(twice, strict=True)


def test_planted_data_tell_what_was_dropped():
    data = rows(220, 1)
    twice = joined(data, some(data, [8]))
    planted = hardlabel.plant(twice, canaries=10, kinds=["rare"], train_size=60)
    assert "1 of 221 (row 220)" in planted.notes[0]
    model = DecisionTreeClassifier(random_state=0).fit(planted.training.inputs.numpy(), planted.training.labels.numpy())
    assert hardlabel.audit_planted(model, planted).results.notes == list(planted.notes)
    with pytest.raises(InvalidInput, match="data must not repeat inputs where strict"):
        hardlabel.plant(twice, canaries=10, kinds=["rare"], train_size=60, strict=True)


# Audits of files.


@pytest.fixture
def table(tmp_path):
    """250 rows, of which 10 stand twice more, in a .csv."""
    inputs, labels = rows(250, 4)
    frame = pd.DataFrame(inputs, columns=["a", "b", "c"]).assign(label=labels)
    path = tmp_path / "table.csv"
    pd.concat([frame, frame[:10], frame[:10]]).to_csv(path, index=False)
    return str(path)


COMMON = {"label": "label", "max_epochs": 3, "device": "cpu", "arch": "logistic"}
KINDS = [
    (ModelSettings, {"attacks": ["gap"], "references": 2}),
    (RecipeSettings, {"attacks": ["gap"], "references": 2, "repeats": 2}),
    (DefensesSettings, {"attacks": ["gap"], "references": 2, "repeats": 2, "defenses": ["label-only"]}),
    (CanariesSettings, {"canaries": 10, "kinds": ["mislabelled"], "train_size": 60}),
]


@pytest.mark.parametrize(("kind", "settings"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_repeats_in_a_file_are_told_and_refused_where_strict(kind, settings, table, tmp_path):
    with pytest.raises(InvalidInput, match="data must not repeat inputs where strict, got 20"):
        run(
            kind(data=table, out=tmp_path / "strict", strict=True, **COMMON, **settings),
            store=Store(tmp_path / "store"),
        )
    record = run(kind(data=table, out=tmp_path / "run", **COMMON, **settings), store=Store(tmp_path / "store"))
    assert any("20 of 270 (rows 250, 251, 252, 253, 254 and more)" in note for note in record.results.notes)


def test_an_input_of_a_file_is_attacked_once(table, tmp_path):
    settings = ModelSettings(data=table, out=tmp_path / "run", **COMMON, attacks=["gap"], show_records=True)
    record = run(settings, store=None)
    frame = pd.read_csv(table)
    attacked = record.scores["row"]
    assert len(attacked) == record.results.members + record.results.nonmembers
    assert not frame.loc[attacked, ["a", "b", "c"]].duplicated().any()
    assert record.results.members == record.results.nonmembers <= 270 // 4

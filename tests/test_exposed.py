"""Who is exposed: the worst case, slices, labels that are not true, repeated games and what a report shows of it."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from typer.testing import CliRunner

import hardlabel
from hardlabel import Attacker, Focus, RecipeRecord
from hardlabel.audits.attacker import guessed_labels as guessed
from hardlabel.audits.cases import slices
from hardlabel.audits.findings.exposed import MOST_TOLD, _surest, group_risks
from hardlabel.audits.recipe import audit_recipe
from hardlabel.checks import InvalidInput
from hardlabel.cli.app import app
from hardlabel.kinds import markdown, render
from hardlabel.reports.tables import most_exposed
from hardlabel.runs.settings import ModelSettings
from hardlabel.store import Store

LOGISTIC = LogisticRegression(C=10.0, tol=0.01, max_iter=500)
ATTACKS = ["gap", "loss", "lira"]
SMALL = {"train_size": 120, "attacker": Attacker(references=6), "samples": 60, "device": "cpu"}


def digits(count=800):
    data = load_digits()
    return (data.images[:count, None] / 16).astype(np.float32), data.target[:count]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def audited(store, model=None, *, attacker=None, focus=None, attacks=ATTACKS):
    inputs, labels = digits()
    if model is None:
        model = LogisticRegression(C=10.0, tol=0.01, max_iter=500).fit(inputs[:120].reshape(120, -1), labels[:120])
    looked_at = {"worst_case": 0.05, "slices": {"odd": (labels[:120] % 2, labels[120:240] % 2)}}
    return hardlabel.audit(
        model,
        (inputs[:120], labels[:120]),
        (inputs[120:240], labels[120:240]),
        population=(inputs[240:], labels[240:]),
        trainer=LOGISTIC,
        attacks=attacks,
        attacker=Attacker(references=6, **(attacker or {})),
        focus=Focus(**(looked_at | (focus or {}))),
        device="cpu",
        store=store,
    )


@pytest.fixture(scope="module")
def record(store):
    return audited(store)


@pytest.fixture(scope="module")
def recipe(store):
    odd = digits()[1] % 2
    return audit_recipe(
        digits(),
        LOGISTIC,
        attacks=ATTACKS,
        repeats=8,
        focus=Focus(worst_case=0.05, slices={"odd": odd}),
        store=store,
        **SMALL,
    )


# --- the worst case ---


def test_the_worst_case_stands_beside_the_average(record):
    worst = record.results.worst_case
    assert [one.name for one in worst.selections] == ["average", "neighbours", "out-loss", "separability"]
    assert [one.points for one in worst.selections] == [240, 12, 12, 12]
    for one in worst.selections:
        assert [row.attack for row in one.attacks] == ATTACKS
        assert [(pair.first, pair.second) for pair in one.pairs] == [("gap", "loss"), ("gap", "lira")]
    average = {row.attack: row for row in worst.selections[0].attacks}
    scores = record.scores[record.scores["attack"] == "gap"]
    called = scores["score"] >= 1
    assert (average["gap"].right, average["gap"].called) == (int((called & scores["member"]).sum()), int(called.sum()))
    assert average["gap"].precision.value == average["gap"].right / average["gap"].called


def test_points_hard_without_them_are_where_the_gap_attack_is_right(recipe):
    """Digits leak little on average; whoever the models get wrong without it is told by one label."""
    few = {one.name: {row.attack: row for row in one.attacks} for one in recipe.results.worst_case.selections}
    assert few["average"]["gap"].precision.value < 0.65
    assert few["out-loss"]["gap"].over_average.low > 0


def test_every_target_of_a_recipe_has_a_choice_by_the_others(recipe):
    worst = recipe.results.worst_case
    assert (worst.targets, worst.of) == (8, 120)
    for one in worst.selections:
        for row in one.attacks:
            assert row.members == sum(row.members for row in one.attacks) / len(one.attacks)
    # Partners have the same references: each chosen point is inside one of the two.
    assert {row.members for one in worst.selections[1:] for row in one.attacks} == {6 * 4}


def test_a_worst_case_needs_reference_models():
    inputs, labels = digits()
    model = LOGISTIC.fit(inputs[:120].reshape(120, -1), labels[:120])
    with pytest.raises(InvalidInput, match="worst_case needs reference models"):
        hardlabel.audit(
            model, (inputs[:120], labels[:120]), (inputs[120:240], labels[120:240]), focus=Focus(worst_case=0.05)
        )


def test_near_duplicates_are_said(store):
    inputs, labels = digits()
    inputs = inputs.copy()
    inputs[130] = np.clip(inputs[5] + 0.01, 0, 1)  # A non-member that is all but a member.
    model = LogisticRegression(C=10.0, tol=0.01, max_iter=500).fit(inputs[:120].reshape(120, -1), labels[:120])
    found = hardlabel.audit(
        model,
        (inputs[:120], labels[:120]),
        (inputs[120:240], labels[120:240]),
        population=(inputs[240:], labels[240:]),
        trainer=LOGISTIC,
        attacks=["loss"],
        attacker=Attacker(references=6),
        focus=Focus(worst_case=0.99, show_records=True),
        device="cpu",
        store=store,
    ).results
    assert found.worst_case.repeated >= 2
    copies = {one.row: one for one in found.exposed if one.duplicate is not None}
    assert {5, 10} <= set(copies)
    assert copies[5].duplicate in {one.pseudonym for one in found.exposed if one.row == 10}


# --- nobody at risk ---


def test_a_null_data_set_finds_nobody_at_risk(store):
    """Labels drawn at random, and a model that saw other data: no selection, group, list or game finds anybody.

    Each of the 9 precisions on the few is a 95 % interval about .5; four of nine would miss once in 10,000 sets.
    """
    rng = np.random.default_rng(0)
    inputs, _ = digits(1600)
    labels = rng.integers(0, 4, len(inputs))
    stranger = LogisticRegression(C=0.001, max_iter=500).fit(inputs[1200:].reshape(400, -1), labels[1200:])
    found = hardlabel.audit(
        stranger,
        (inputs[:300], labels[:300]),
        (inputs[300:600], labels[300:600]),
        population=(inputs[600:1200], labels[600:1200]),
        trainer=LogisticRegression(C=0.001, max_iter=500),
        attacks=ATTACKS,
        attacker=Attacker(references=6),
        focus=Focus(worst_case=0.1),
        device="cpu",
        store=store,
    ).results
    few = [row for one in found.worst_case.selections[1:] for row in one.attacks if row.precision.value is not None]
    missed = sum(not row.precision.low <= 0.5 <= row.precision.high for row in few)
    assert missed <= 3
    assert not any(row.over_average.low > 0.1 for row in few)
    assert all(one.named <= 5 for one in found.named)
    groups = [one.auc for one in found.groups if one.auc.value is not None]
    assert sum(not one.low <= 0.5 <= one.high for one in groups) <= len(groups) * 0.05 + 4 * math.sqrt(
        len(groups) * 0.05 * 0.95
    )


def test_games_of_a_recipe_that_memorises_nothing_find_nobody(store):
    rng = np.random.default_rng(1)
    inputs, labels = digits()[0], rng.integers(0, 4, 800)
    constant = KNeighborsClassifier(n_neighbors=120)  # The training set's share of classes, whatever is asked.
    found = audit_recipe(
        (inputs, labels),
        constant,
        attacks=["gap", "loss"],
        repeats=8,
        focus=Focus(worst_case=0.05),
        store=store,
        **SMALL,
    ).results
    assert all(game.found == 0 for game in found.games)
    assert all(
        row.over_average.low is None or row.over_average.low <= 0
        for s in found.worst_case.selections
        for row in s.attacks
    )


# --- repeated games ---


def test_games_are_played_on_both_models_of_every_pair(recipe):
    games = recipe.results.games
    assert {(game.attack, game.which) for game in games} == {
        (name, which) for name in ATTACKS for which in ("all points asked about", "the few")
    }
    for game in games:
        assert game.targets == 8
        assert len(game.top) == min(20, game.points)
        adjusted = [point.adjusted for point in game.top]
        assert adjusted == sorted(adjusted)
        for point in game.top:
            assert point.advantage.low <= point.advantage.value <= point.advantage.high


# --- groups ---


def test_groups_divide_everybody_and_small_ones_have_no_figure(record):
    for name in ("class", "odd"):
        mine = [one for one in record.results.groups if one.slice == name and one.attack == "lira"]
        assert sum(one.members for one in mine) == sum(one.nonmembers for one in mine) == 120
    risks = group_risks(
        {"half": {at: str(at < 5) for at in range(40)}},
        list(range(40)),
        {"x": np.arange(40.0)[None]},
        (np.arange(40) % 2 == 0)[None],
    )
    small, large = sorted(risks, key=lambda one: one.members)
    assert small.auc.value is None
    assert "too small to resolve: needs 10" in small.auc.note
    assert large.auc.low < large.auc.value < large.auc.high


def test_numbers_of_many_values_are_cut_at_quartiles():
    assert slices.grouped(pd.Series([0, 1, None])) == ["0.0", "1.0", "missing"]
    found = pd.Series(slices.grouped(pd.Series(np.arange(100))))
    assert found.value_counts().tolist() == [25] * 4
    assert slices.grouped(pd.Series(["b", None])) == ["b", "missing"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"sex": (np.zeros(3), np.zeros(4))}, r"slices\['sex'\] must hold one value for each of 2 members"),
        ({"sex": (np.zeros(2),)}, "must hold values of members and of nonmembers, got 1 parts"),
        ({"sex": "mf"}, "must hold values of members"),
    ],
)
def test_slices_of_other_lengths_are_refused(given, told):
    with pytest.raises(InvalidInput, match=told):
        slices.slices_of(given, [torch.arange(2), torch.arange(2, 6)], ["members", "nonmembers"])


# --- labels that are not true ---


def test_wrong_labels_are_wrong_at_their_rate_and_another_class():
    labels = torch.arange(4000) % 7
    found = guessed.wrong(labels, share=0.3, classes=7, ids=torch.arange(4000), seed=0)
    changed = found != labels
    assert abs(float(changed.float().mean()) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert set(found.tolist()) == set(range(7))
    part = guessed.wrong(labels[5:9], share=0.3, classes=7, ids=torch.arange(5, 9), seed=0)
    assert torch.equal(part, found[5:9])  # A label depends on its id, not on the company.


def test_without_true_labels_the_gap_attack_finds_nothing_and_accuracy_stays_true(record, store):
    found = audited(store, attacker={"labels": "target"})
    gap = found.attack("gap")
    assert gap.auc.value == 0.5
    assert gap.overhead == {guessed.GUESSING: 240}
    assert found.results.target.test_accuracy == record.results.target.test_accuracy
    assert record.results.target.test_accuracy.value < 1
    assert (
        found.scores.query("attack == 'gap'")["label"].tolist()
        == record.scores.query("attack == 'gap'")["label"].tolist()
    )
    assert found.attack("lira").auc.value > 0.5


def test_with_wrong_labels_the_target_seems_wrong_so_often_but_is_not(record, store):
    """The gap attack's score is agreement with its label: .6 of what it was, within 4 errors of 240 coins."""
    found = audited(store, attacker={"wrong_labels": 0.4})
    assert found.results.target.test_accuracy == record.results.target.test_accuracy
    assert any("40 % of the attacker's labels" in note for note in found.results.notes)
    agrees, agreed = (one.scores.query("attack == 'gap'")["score"].mean() for one in (found, record))
    assert agrees == pytest.approx(0.6 * agreed, abs=0.1 * 0.4 + 4 * math.sqrt(0.24 / 240))


def test_exposed_records_have_the_pseudonyms_of_the_scores_and_their_true_classes(store):
    found = audited(store, attacker={"wrong_labels": 0.3}, focus={"show_records": True})
    labels = digits()[1]
    gap = found.scores.query("attack == 'gap'").set_index("id")
    assert gap["label"].tolist() == labels[np.where(gap["member"], gap["row"], gap["row"] + 120)].tolist()
    classes = dict(zip(gap["pseudonym"], gap["label"], strict=True))
    asked = 0
    for one in found.results.exposed:
        assert (one.pseudonym, one.label) == (gap.loc[one.id, "pseudonym"], gap.loc[one.id, "label"])
        assert one.row == gap.loc[one.id, "row"]
        for near in one.neighbours:
            if near.pseudonym in classes:
                asked += 1
                assert near.label == classes[near.pseudonym]
    assert len(found.results.exposed) >= MOST_TOLD
    assert asked > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"attacker": {"labels": "wrong"}}, "labels must be 'true' or 'target', got 'wrong'"),
        ({"attacker": {"wrong_labels": 1.0}}, "wrong_labels must be below 1, got 1.0"),
        ({"attacker": {"labels": "target", "wrong_labels": 0.1}}, "wrong_labels must be 0"),
        ({"focus": {"worst_case": 1.0}}, "worst_case must be below 1, got 1.0"),
    ],
)
def test_bad_settings_are_refused_before_any_query(change, told):
    class Nobody:
        def ask(self, inputs, ids):
            raise AssertionError("was asked")

    with pytest.raises(InvalidInput, match=told):
        audited(None, model=Nobody(), **change)


# --- what a reader sees ---


def test_reports_hold_pseudonyms_and_no_records_by_default(record, recipe):
    assert all(one.shown is None for one in (*record.results.exposed, *recipe.results.exposed))
    page = render(record)
    assert "data-row" not in page
    assert "data:image" not in page
    assert "img-src" not in page
    [first, *_] = [one for one in record.results.exposed if f'data-record="{one.pseudonym}"' in page]
    assert first.pseudonym in set(record.scores["pseudonym"])
    for told in (page, render(recipe)):
        assert "The worst case: the records most at risk" in told
        assert "Group by group" in told
        assert "separability, " in told
    assert "repeated games about single records" in render(recipe)


def test_records_are_shown_where_the_user_allows_it(store):
    shown = audited(store, focus={"show_records": True})
    page = render(shown)
    assert "img-src data:" in page
    assert '<img src="data:image/png;base64,' in page
    assert "data-row" in page
    assert page.count("<script") == 1  # The page's own.


def test_every_row_of_the_report_says_why_however_many_scores_are_tied(store):
    found = audited(store, attacks=["gap"], focus={"worst_case": None, "show_records": True})
    rows = most_exposed(found, "gap")
    assert rows[-1].tied > 100
    assert all(row.why and row.shown for row in rows)
    assert {row.id for row in rows} == {one.id for one in found.results.exposed}


def test_those_told_of_are_the_members_of_smallest_ids_among_equals_and_have_scores():
    inside = np.arange(60) < 50
    scores = np.where(np.arange(60) < 45, 1.0, np.nan)
    ids = np.random.default_rng(0).permutation(60)
    assert _surest({"x": scores}, inside, ids) == np.argsort(np.where(scores == 1, ids, 99))[:MOST_TOLD].tolist()
    scores[3:] = np.nan
    assert sorted(_surest({"x": scores}, inside, ids)) == [0, 1, 2]


def test_a_pseudonym_is_fixed_by_the_record_and_its_holder(record, store, monkeypatch):
    """Neither the other samples nor the seed play a part; another holder's pseudonyms have nothing in common."""
    again = audited(store)
    assert again.scores["pseudonym"].tolist() == record.scores["pseudonym"].tolist()
    assert record.scores.query("attack == 'gap'")["pseudonym"].nunique() == 240
    monkeypatch.setenv("HARDLABEL_SECRET", "another secret of the tests")
    others = audited(store)
    assert not set(others.scores["pseudonym"]) & set(record.scores["pseudonym"])
    assert others.results.attacks == record.results.attacks


def test_markdown_has_the_worst_case_and_the_columns(record, recipe):
    for one in (record, recipe):
        text = markdown(one)
        assert "| average | gap | label |" in text
        assert "| odd | 0 | gap |" in text
    assert "at a false discovery rate of 10 %" in markdown(recipe)


def test_records_are_read_back(record, recipe, tmp_path):
    kept = hardlabel.load(record.save(tmp_path / "one").folder)
    assert kept.results == record.results
    assert RecipeRecord.load(recipe.save(tmp_path / "many").folder).results == recipe.results


# --- the command line ---


@pytest.mark.parametrize("given", ["0.5%", " 0.5% ", "0.005", 0.005])
def test_a_share_may_be_a_percentage(given):
    assert ModelSettings(worst_case=given).worst_case == 0.005


def test_the_command_line_audits_the_worst_case(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    beside = tmp_path / "slices.csv"
    pd.DataFrame({"hand": ["left", "right", "left"] * 599}).to_csv(beside, index=False)
    command = ["audit", "--arch", "logistic", "--train-size", "100", "--references", "4", "--attacks", "gap,lira"]
    command += ["--quiet", "--max-epochs", "20", "--worst-case", "5%", "--slices-file", str(beside)]
    command += ["--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["worst_case"]["share"] == 0.05
    assert {one["group"] for one in found["groups"] if one["slice"] == "hand"} == {"left", "right"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--worst-case", "much"], "worst_case"),
        (["--worst-case", "100%"], "worst_case"),
        (["--slice", "sex"], "slices 'sex' needs a table"),
        (["--slices-file", "nowhere.csv"], "slices_file 'nowhere.csv' must be a readable"),
        (["--repeats", "4", "--labels", "target"], "labels must be left at 'true'"),
    ],
)
def test_bad_options_are_refused_in_one_line(options, told, tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(app, ["audit", "--out", str(tmp_path / "run"), *options])
    assert isinstance(result.exception, InvalidInput)
    assert told in str(result.exception)
    assert "\n" not in str(result.exception)

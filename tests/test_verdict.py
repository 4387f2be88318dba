"""The verdict: which attack it speaks of, how bad it says it is, and that its figures are right."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardlabel.kinds import markdown, render
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.model import AuditRecord, Difference, Queries
from hardlabel.records.recipe import RecipeRecord
from hardlabel.records.verdict import ClassRight, Grade, Picked, copied, mixed_up
from hardlabel.reports.recipe import recipe_verdict
from hardlabel.reports.verdict import verdict
from hardlabel.reports.wording import MINUS, decimal, duration, finely, listed, number, odds, percent, times
from records import CALIBRATED, SIX, Recipe, changed, choice, make_recipe_record, make_record, reference_models

UNKNOWN = Estimate.undefined("for the test")
NOTHING = Estimate(0.5, 0.46, 0.54)


def labels_only(*aucs: Estimate, tpr: dict[str, Estimate] | None = None) -> AuditRecord:
    """A record of label-only attacks "a", "b", ... with these AUCs and TPRs, and no other; the ranking names "a"."""
    names = "abcdefgh"[: len(aucs)]
    record = changed(make_record([Recipe(name=name, shift=0.0) for name in names]), choice=choice("a"))
    for name, auc in zip(names, aucs, strict=True):
        record = changed(record, name, auc=auc, tpr_at_fpr=tpr or {"0.1": UNKNOWN, "0.01": UNKNOWN})
    return record


def told(record: AuditRecord) -> str:
    found = verdict(record)
    return " ".join([found.title, *map(str, found.reasons), found.headline, *found.warnings, *found.sentences])


@pytest.mark.parametrize(
    ("auc", "grade"),
    [
        (Estimate(0.52, 0.49, 0.55), Grade.NONE),
        (Estimate(0.54, 0.50, 0.58), Grade.NONE),
        (Estimate(0.54, 0.501, 0.58), Grade.SLIGHT),
        (Estimate(0.44, 0.40, 0.48), Grade.NONE),  # The wrong way round counts at a chance of 1 in 1,000.
        (Estimate(0.40, 0.36, 0.44), Grade.SLIGHT),
        (Estimate(0.65, 0.599, 0.70), Grade.SLIGHT),
        (Estimate(0.65, 0.60, 0.70), Grade.CLEAR),
        (Estimate(0.80, 0.749, 0.85), Grade.CLEAR),
        (Estimate(0.80, 0.75, 0.85), Grade.SEVERE),
        (UNKNOWN, Grade.NOT_TESTED),
    ],
)
def test_grade_follows_the_lower_end_of_the_auc(auc, grade):
    assert verdict(labels_only(auc)).grade is grade


@pytest.mark.parametrize(
    ("fpr", "low", "grade"),
    [
        ("0.1", 0.29, Grade.NONE),
        ("0.1", 0.31, Grade.CLEAR),
        ("0.1", 0.99, Grade.CLEAR),
        ("0.01", 0.029, Grade.NONE),
        ("0.01", 0.031, Grade.CLEAR),
        ("0.01", 0.101, Grade.SEVERE),
        ("0.001", 0.011, Grade.SEVERE),
    ],
)
def test_a_few_records_found_with_certainty_count_although_the_auc_sees_nothing(fpr, low, grade):
    record = labels_only(NOTHING, tpr={fpr: Estimate(low, low, 1.0)})
    assert verdict(record).grade is grade


def test_one_attack_that_finds_something_is_enough():
    assert verdict(labels_only(NOTHING, Estimate(0.7, 0.65, 0.75), UNKNOWN)).grade is Grade.CLEAR


@given(lows=st.lists(st.floats(0.5, 0.9), min_size=1, max_size=4), more=st.floats(0.0, 0.09))
def test_a_stronger_attack_never_makes_the_verdict_milder(lows, more):
    def grade(*lows):
        return verdict(labels_only(*(Estimate(low + 0.005, low, low + 0.01) for low in lows))).grade

    assert list(Grade).index(grade(*(low + more for low in lows))) >= list(Grade).index(grade(*lows)) or any(
        low + more + 0.01 >= 0.75 for low in lows
    )


def test_attacks_that_see_confidences_have_no_part_in_the_grade():
    record = make_record([Recipe(name="gap", shift=0.0), Recipe(name="loss", shift=3.0, access="scores")])
    record = changed(record, choice=choice("gap"))
    found = verdict(changed(record, "gap", auc=NOTHING, tpr_at_fpr={}))
    assert (found.grade, found.strongest, found.strongest_scores) == (Grade.NONE, "gap", "loss")


def test_the_strongest_finds_most_at_the_smallest_rate_where_any_beats_guessing():
    record = labels_only(Estimate(0.8, 0.7, 0.9), Estimate(0.7, 0.65, 0.75), Estimate(0.6, 0.55, 0.65))
    large, small = Estimate(0.6, 0.5, 0.7), Estimate(0.3, 0.2, 0.4)
    record = changed(record, "a", tpr_at_fpr={"0.1": large, "0.01": Estimate(0.02, 0.005, 0.04), "0.001": UNKNOWN})
    record = changed(record, "b", tpr_at_fpr={"0.1": small, "0.01": Estimate(0.05, 0.02, 0.08), "0.001": UNKNOWN})
    record = changed(record, "c", tpr_at_fpr={"0.1": small, "0.01": Estimate(0.04, 0.02, 0.06), "0.001": UNKNOWN})
    found = verdict(record)
    assert (found.strongest, found.fpr) == ("b", "0.01")
    assert "5\u00a0% [2\u00a0%, 8\u00a0%] of the members" in found.headline
    assert "With only 300 non-members, there is no figure at 0.1\u00a0% false alarms" in told(record)
    assert "Of the 3 label-only attacks run, 2 reach this grade; “b” is the strongest of these by" in told(record)
    assert "(“b”)" in found.headline


def test_rates_without_a_gain_are_named_and_the_next_larger_one_is_used():
    tpr = {"0.1": Estimate(0.3, 0.2, 0.4), "0.01": Estimate(0.015, 0.005, 0.03)}
    record = labels_only(Estimate(0.6, 0.55, 0.65), tpr=tpr)
    assert verdict(record).fpr == "0.1"
    assert "At 1\u00a0% false alarms no label-only attack does measurably better than guessing." in told(record)


def test_an_attack_with_two_scores_is_told_by_its_balanced_accuracy():
    record = labels_only(Estimate(0.7, 0.65, 0.75), tpr={"0.1": Estimate(0.0, 0.0, 0.01)})
    record = changed(record, "a", balanced_accuracy=Estimate(0.69, 0.66, 0.72))
    assert verdict(record).fpr is None
    assert "correctly in 69\u00a0% [66\u00a0%, 72\u00a0%] of cases" in verdict(record).headline
    bound = changed(record, "a", balanced_accuracy=UNKNOWN, best_balanced_accuracy=Estimate(0.71, 0.68, 0.74))
    assert "at most 71\u00a0% [68\u00a0%, 74\u00a0%] of cases, an upper bound" in verdict(bound).headline
    ranked = changed(record, "a", balanced_accuracy=UNKNOWN, best_balanced_accuracy=UNKNOWN)
    assert "AUC of 0.700 [0.650, 0.750]" in verdict(ranked).headline


def test_precision_is_what_bayes_says_of_the_rates_in_the_scores():
    # 30 of 100 members and 5 of 100 non-members share the top score: at 10 % false alarms the attacker's rates are
    # 30 % and 5 %, so among 10,000 asked with 100 members it accuses 30 + 495 and is right 30 times.
    score = np.concatenate([np.repeat([1.0, 0.0], [30, 70]), np.repeat([1.0, 0.0], [5, 95])])
    scores = pd.DataFrame({"attack": "a", "member": np.arange(200) < 100, "score": score, "id": np.arange(200)})
    scores = scores.assign(label=0, queries=1)
    record = labels_only(Estimate(0.62, 0.55, 0.69), tpr={"0.1": Estimate(0.3, 0.22, 0.39)})
    found = verdict(replace(record, scores=scores))
    assert found.precision.value == pytest.approx(30 / 525)
    assert "If 1 in 100 records asked about is a member, an accusation is right 5.7\u00a0%" in " ".join(found.sentences)


def test_without_scores_there_is_no_precision_and_no_sentence_about_it():
    record = labels_only(Estimate(0.62, 0.55, 0.69), tpr={"0.1": Estimate(0.3, 0.22, 0.39)})
    bare = replace(record, scores=record.scores.iloc[:0])
    assert verdict(bare).precision.value is None
    assert "accusation" not in told(bare)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Estimate(0.05, 0.02, 0.08), "measurably better: the AUC is higher by 0.050 [0.020, 0.080]"),
        (Estimate(-0.05, -0.08, -0.02), "measurably worse: the AUC is lower by 0.050 [0.020, 0.080]"),
        (Estimate(0.01, -0.02, 0.04), f"neither measurably better nor worse: the AUC differs by 0.010 [{MINUS}0.020"),
    ],
)
def test_the_paired_difference_reads_the_same_in_either_direction(gain, words):
    record = make_record([Recipe(name="noise", shift=1.5), Recipe(name="loss", shift=1.5, access="scores")])
    forth = changed(record, differences=[Difference(first="loss", second="noise", auc=gain)])
    turned = Estimate(-gain.value, -gain.high, -gain.low)
    back = changed(record, differences=[Difference(first="noise", second="loss", auc=turned)])
    assert words in told(forth)
    assert told(forth) == told(back)


def test_a_pair_fixed_in_advance_stands_in_where_the_strongest_was_not_compared():
    record = make_record(SIX)  # It compares every label-only attack with both; shadow-network is the strongest.
    assert "“shadow-network”, the strongest such attack" in told(record)
    assert "Paired on" not in told(record)
    pairs = [pair for pair in record.results.differences if "shadow-network" not in (pair.first, pair.second)]
    record = changed(record, differences=pairs)
    assert "Paired on the same records, an attacker who uses “loss”" in told(record)


def test_a_failing_blind_baseline_is_part_of_the_verdict():
    assert "inflated" in " ".join(verdict(make_record(differs=True)).warnings)
    assert verdict(make_record(differs=False)).warnings == ()


def test_queries_are_told_with_mean_and_maximum_and_those_besides():
    words = told(make_record(SIX))
    assert "asks 2,432 times per record on average (at most 2,500)" in words
    assert "also sent 500 queries that belong to no record" in words
    assert "asks once per record" in told(changed(make_record(SIX[:1]), choice=choice("gap")))


def test_no_leakage_is_no_proof_and_a_wrong_direction_is_named():
    assert "no proof" in told(labels_only(NOTHING, NOTHING))
    assert "On 300 members and 300 non-members, the highest AUC is that of “a”, 0.500" in told(
        labels_only(NOTHING, NOTHING)
    )
    assert "ranks members measurably below" in told(labels_only(Estimate(0.4, 0.35, 0.45)))


def test_an_ungraded_finding_is_never_told_as_nothing():
    # Slight, but the strongest attack was not run.
    record = changed(labels_only(Estimate(0.54, 0.51, 0.57)), choice=choice("path"))
    assert verdict(record).grade is Grade.NOT_TESTED
    assert "There may be leakage, and a stronger attack may find more." in told(record)
    assert "not measurably better" not in told(record)


@pytest.mark.parametrize("record", [make_record(()), labels_only(UNKNOWN), make_record(SIX[4:])])
def test_without_a_label_only_figure_nothing_is_said(record):
    found = verdict(record)
    assert (found.grade, found.strongest) == (Grade.NOT_TESTED, None)
    assert found.headline.startswith("Nothing can be said")


def test_the_same_record_gives_the_same_verdict():
    assert verdict(make_record(SIX)) == verdict(make_record(SIX))


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (1, "100"), (0.31, "31"), (0.0234, "2.3"), (0.004, "0.4"), (0.00001, "<0.01"), (0.998, "99.8")],
)
def test_percentages_keep_two_digits_and_never_round_to_nothing_or_all(value, written):
    assert percent(value) == f"{written}\u00a0%"


@given(value=st.floats(0, 1))
def test_a_written_percentage_is_near_the_share(value):
    written = float(percent(value).removesuffix("\u00a0%").strip("<>"))
    # Half a unit of the last digit written: 0.5 from 10 % on, 0.05 below, and 0.01 for what is only bounded.
    assert abs(written - 100 * value) <= (0.5 if value >= 0.099 else 0.06)
    assert (written == 0) == (value == 0)


def test_numbers_are_written_as_people_read_them():
    assert [number(v) for v in (3.0, 2.5, 2431.6, 0)] == ["3", "2.5", "2,432", "0"]
    assert [times(v) for v in (1, 2, 30)] == ["once", "twice", "30 times"]
    assert [odds(v) for v in (0.01, 0.5, 0.025, 0.03)] == ["1 in 100", "1 in 2", "1 in 40", "3 in 100"]
    assert [duration(v).replace("\u00a0", " ") for v in (0.04, 59.6, 200, 7500)] == [
        "0.0 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert decimal(-0.1234) == f"{MINUS}0.123"


def test_finding_nothing_with_an_interval_up_to_severe_says_nothing():
    assert verdict(labels_only(Estimate(0.6, 0.4, 0.749))).grade is Grade.NONE
    record = labels_only(Estimate(0.6, 0.4, 0.8), NOTHING)
    assert verdict(record).grade is Grade.NOT_TESTED
    assert verdict(record).title == "Not fully tested"
    assert "[0.400, 0.800] (an interval 0.400 wide), which reaches 0.75" in told(record)
    assert "No leakage" not in told(record)


@pytest.mark.parametrize(("members", "nonmembers"), [(19, 300), (300, 19)])
def test_finding_nothing_on_fewer_than_twenty_says_nothing(members, nonmembers):
    record = changed(labels_only(NOTHING), members=members, nonmembers=nonmembers)
    assert verdict(record).grade is Grade.NOT_TESTED
    assert "The smaller group has 19 records" in told(record)
    assert "Give at least 20 members and 20 non-members." in told(record)
    # What was found all the same was found: its interval allows for the few records.
    found = changed(record, "a", auc=Estimate(0.9, 0.76, 0.99))
    assert verdict(found).grade is Grade.SEVERE
    assert verdict(changed(record, "a", auc=UNKNOWN)).grade is Grade.NOT_TESTED


def test_the_headline_speaks_of_an_attack_that_earned_the_grade():
    # "a" finds most at 1 %, but only "b" has a severe AUC.
    record = labels_only(Estimate(0.6, 0.55, 0.65), Estimate(0.8, 0.76, 0.84))
    record = changed(record, "a", tpr_at_fpr={"0.01": Estimate(0.05, 0.02, 0.08)})
    record = changed(record, "b", tpr_at_fpr={"0.01": Estimate(0.04, 0.02, 0.07)})
    found = verdict(record)
    assert (found.grade, found.strongest) == (Grade.SEVERE, "b")
    assert "(“b”) finds, at 1\u00a0% false alarms, 4\u00a0%" in found.headline
    words = told(record)
    assert "The grade rests on the AUC of “b”, 0.800 [0.760, 0.840]." in words
    assert "Of the 2 label-only attacks run, only “b” reaches this grade." in words
    assert "“a” has the better share of members found at 1\u00a0% false alarms, 5\u00a0% [2\u00a0%, 8\u00a0%]." in words


def test_a_grade_that_the_quoted_figure_earned_needs_no_other():
    record = labels_only(NOTHING, tpr={"0.01": Estimate(0.2, 0.15, 0.25)})
    assert "The grade rests" not in told(record)


def test_the_cheapest_comparable_attack_is_named():
    recipes = [
        Recipe(name="dear", shift=0.0, mean=500, most=500),
        Recipe(name="cheap", shift=0.0, mean=30, most=30),
        Recipe(name="cheapest", shift=0.0, mean=2, most=2),
        Recipe(name="worse", shift=0.0, mean=1, most=1),
    ]
    record = make_record(recipes)
    tprs = {"dear": (0.5, 0.4, 0.6), "cheap": (0.4, 0.3, 0.5), "cheapest": (0.35, 0.3, 0.41), "worse": (0.3, 0.2, 0.39)}
    for name, tpr in tprs.items():
        record = changed(record, name, auc=Estimate(0.7, 0.65, 0.74), tpr_at_fpr={"0.1": Estimate(*tpr)})
    assert verdict(record).strongest == "dear"
    assert "“dear” is the strongest of the 4 label-only attacks run, by the members found at 10\u00a0%" in told(record)
    assert "“cheapest” is far cheaper, with 2 queries per record, and does comparably" in told(record)
    near = changed(record, "cheapest", queries_per_sample=Queries(mean=101, max=101))
    near = changed(near, "cheap", queries_per_sample=Queries(mean=101, max=101))
    assert "far cheaper" not in told(near)


def test_a_slight_finding_says_how_often_it_is_chance():
    words = told(labels_only(Estimate(0.54, 0.501, 0.58), NOTHING, NOTHING)).replace("\u00a0", " ")
    assert "at most 5 % of audits are graded slight or worse, however many attacks are run" in words


def test_the_paired_difference_is_that_with_the_score_attack_just_named():
    record = make_record(SIX)
    named = verdict(record).strongest_scores
    [pair] = [
        pair
        for pair in record.results.differences
        if {pair.first, pair.second} == {named, verdict(record).strongest} and pair.first != named
    ]
    assert named == "shadow-network"
    assert f"higher by {decimal(-pair.auc.value)}" in told(record)


def test_an_interval_of_a_difference_shows_its_sign():
    gain = Estimate(-0.09, -0.18, -0.00004)
    record = make_record([Recipe(name="noise", shift=1.5), Recipe(name="loss", shift=1.5, access="scores")])
    record = changed(record, differences=[Difference(first="loss", second="noise", auc=gain)])
    assert "lower by 0.09000 [0.00004, 0.18000]" in told(record)
    assert finely(Estimate(0.1, 0.0, 0.2))(-0.00001) == "0.000"


def test_a_headline_with_reference_models_says_how_many_and_what_they_cost():
    record = changed(make_record(CALIBRATED), references=reference_models(), choice=choice())
    found = verdict(record)
    assert found.strongest == "path-estimate"
    assert "sees only labels, asks 8.9 times per record on average (at most 10) and trains 12 models" in found.headline
    words = told(record).replace("\u00a0", " ")
    assert "with those of 12 reference models, whose training took 16 min 0 s (1,750,000 rows" in words
    assert "asking and fitting them took 4,450 rows, 0.4 s." in words
    assert "reference models" not in told(make_record(SIX))


def test_the_verdict_says_which_attack_the_ladder_names_and_why_and_how_it_did():
    record = changed(make_record(CALIBRATED), choice=choice(), budget=10)
    assert "Within 10 queries per record, the attack to choose for what this attacker has" in told(record)
    assert "“path-estimate”, by a ranking measured on other models: estimates each sample's confidence." in told(record)
    assert "It is the attack quoted in the verdict." in told(record)
    other = changed(record, choice=choice("noise", 101), budget=101)
    auc = record.attack("noise").auc
    assert f"Here it asked 101 times per record, and its AUC is {auc.value:.3f} [" in told(other)
    assert "It was not run here." in told(changed(record, choice=choice("yoqo", 1)))
    assert "No budget was set" in told(changed(record, budget=None))
    assert "an order measured" not in told(changed(record, choice=None))


def everywhere(record: AuditRecord) -> dict[str, str]:
    """What each place says of how the attack quoted was picked."""
    page = render(record)
    return {
        "findings": " ".join(verdict(record).sentences),
        "limits": page[page.index("Several attacks were tried") :].split("</li>")[0],
        "table": " ".join(re.findall(r'<span class="note">(quoted[^<]*)<', page)),
        "markdown": markdown(record),
    }


def test_every_place_says_alike_that_the_attack_quoted_was_named_beforehand():
    record = labels_only(Estimate(0.7, 0.65, 0.75), NOTHING)
    assert verdict(record).picked is Picked.BEFOREHAND
    places = everywhere(record)
    assert not [name for name, words in places.items() if "picked on" in words or "picked by" in words]
    assert "The ranking named it before the target was looked at" in places["findings"]
    assert "The ranking named the attack quoted (“a”) before anybody looked at this target" in places["limits"]
    assert places["table"] == "quoted; named by the ranking"
    assert "It is the attack quoted in the verdict." in places["markdown"]


def test_every_place_says_alike_that_the_attack_quoted_was_picked_by_its_result():
    record = labels_only(NOTHING, Estimate(0.7, 0.65, 0.75))
    assert verdict(record).picked is Picked.HERE
    places = everywhere(record)
    assert "It was picked on this target" in places["findings"]
    assert "The best of them (“b”) was picked on this target" in places["limits"]
    assert places["table"] == "quoted; picked by its result"
    assert "The attack quoted in the verdict is another one, “b”, picked by its result." in places["markdown"]
    assert not [name for name, words in places.items() if "It is the attack quoted" in words]


def test_the_only_attack_run_was_not_picked():
    record = changed(labels_only(Estimate(0.7, 0.65, 0.75)), choice=choice("another"))
    assert verdict(record).picked is Picked.ALONE
    assert not [name for name, words in everywhere(record).items() if "picked" in words]


def recipe_told(record: RecipeRecord) -> str:
    found = recipe_verdict(record)
    return " ".join([found.title, found.headline, *found.sentences]).replace("\u00a0", " ")


def test_a_recipes_verdict_speaks_of_models_trained_this_way():
    record = make_recipe_record()
    found = recipe_verdict(record)
    attack = record.attack("path-estimate")
    assert (found.grade, found.strongest, found.strongest_scores) == (Grade.SEVERE, "path-estimate", "lira")
    assert found.fpr == "0.1"  # 600 non-members over all targets: too few for 1 %.
    share = attack.tpr_at_fpr["0.1"].value
    words = recipe_told(record)
    assert f"at 10 % false alarms, {100 * share:.0f} % [" in words
    assert "of the members of a model trained this way; guessing would find 10 %." in words
    assert f"the mean AUC of “path-estimate” is {attack.auc.value:.3f}" in words
    assert f"single models lie between {min(attack.aucs):.3f} and {max(attack.aucs):.3f}" in words
    assert f"with a standard deviation of {attack.spread.value:.3f}" in words
    assert "with those of 12 reference models; asking and fitting" in words
    assert "“lira”" in words
    assert "It is the attack quoted in the verdict." in words


def test_a_recipe_that_shows_nothing_is_no_proof():
    record = make_recipe_record([Recipe(name="gap", shift=0.0), Recipe(name="noise", shift=0.0)])
    words = recipe_told(record)
    assert words.startswith("Not fully tested On members and non-members of models trained this way, the highest")
    assert "This does not say that there is no leakage." in words
    assert "It was not run here." in words
    full = recipe_told(changed(record, choice=choice("noise")))
    assert full.startswith("No leakage was found On members")
    assert "no proof that a stronger attack would find nothing" in full
    assert "Nothing can be said" in recipe_told(make_recipe_record(CALIBRATED[-1:]))


def right_on(members, nonmembers, *, size=300):
    return [ClassRight(label=0, members=size, nonmembers=size, right_members=members, right_nonmembers=nonmembers)]


@pytest.mark.parametrize(
    ("members", "nonmembers", "doubted"),
    [
        (300, 200, False),  # As the models of the attacker: 100 % and 68 %.
        (270, 200, False),  # Less overfitted than they are.
        (214, 219, True),  # Trained on neither group.
        (300, 300, True),  # Trained on both.
        (265, 248, True),  # Trained on parts of both.
    ],
)
def test_groups_that_the_target_treats_alike_although_its_twins_do_not_are_doubted(members, nonmembers, doubted):
    twins = reference_models().model_copy(update={"train_accuracy": 1.0, "test_accuracy": 0.68})
    reasons = mixed_up(right_on(members, nonmembers), twins)
    assert bool(reasons) is doubted
    assert mixed_up(right_on(members, nonmembers), None) == []
    assert mixed_up(right_on(members, nonmembers), twins.model_copy(update={"alike": False})) == []
    generalising = twins.model_copy(update={"train_accuracy": 0.70})
    assert mixed_up(right_on(members, nonmembers), generalising) == []
    if doubted:
        assert "100 % of the records they were trained on and on 68 % of the others" in reasons[0].finding


def test_few_records_do_not_suffice_to_doubt_the_groups():
    twins = reference_models().model_copy(update={"train_accuracy": 0.9, "test_accuracy": 0.7})
    assert mixed_up(right_on(14, 14, size=20), twins) == []
    assert mixed_up(right_on(1400, 1400, size=2000), twins)


def test_doubted_groups_leave_nothing_found_undecided_and_proven_leakage_proven():
    record = changed(labels_only(NOTHING), references=reference_models())
    assert verdict(record).grade is Grade.NONE
    same = {"train_accuracy": 0.72, "test_accuracy": 0.73}
    record = changed(record, "a", classes=[row.model_copy(update=same) for row in record.results.attacks[0].classes])
    assert verdict(record).grade is Grade.NOT_TESTED
    assert "neither group, on both, or on parts of both" in told(record)
    assert verdict(changed(record, "a", auc=Estimate(0.7, 0.65, 0.75))).grade is Grade.CLEAR


@pytest.mark.parametrize(
    ("auc", "seen"),
    [
        (Estimate(0.25, 0.20, 0.31), True),
        (Estimate(0.44, 0.40, 0.48), False),  # Once in 200 audits of healthy groups.
        (Estimate(0.70, 0.65, 0.75), False),
        (UNKNOWN, False),
    ],
)
def test_non_members_that_look_like_members_are_seen_by_the_blind_baseline(auc, seen):
    assert bool(copied(auc, confidence=0.95)) is seen


def test_copies_in_both_groups_give_no_verdict_but_leave_proven_leakage_proven():
    record = labels_only(NOTHING)
    hidden = record.results.blind.model_copy(update={"auc": Estimate(0.25, 0.20, 0.31), "differs": True})
    record = changed(record, blind=hidden)
    assert verdict(record).grade is Grade.NO_VERDICT
    assert "Copies of the same records seem to stand in both groups" in told(record)
    assert "far too low" in told(record)
    assert "inflated" not in told(record)
    page = render(record)
    assert "non-members look like members without the model" in page
    assert "Read all figures as inflated" not in page
    proven = changed(record, "a", auc=Estimate(0.7, 0.65, 0.75))
    assert verdict(proven).grade is Grade.CLEAR
    assert "Copies of the same records" in told(proven)

"""The verdict as a function of the record: grades, corrections, and the two results that are not grades."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from hardlabel.kinds import KINDS, load, markdown
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.intervals import auc_interval
from hardlabel.records.model import Blind, Checks
from hardlabel.records.verdict import (
    ALARM,
    ClassRight,
    Grade,
    Reason,
    constant,
    decided,
    exchanged,
    grades,
    ignorance,
    unlike,
)
from records import Recipe, changed, choice, make_canary_record, make_recipe_record, make_record

NOTHING = Estimate(0.5, 0.46, 0.54)
SLIGHT = Estimate(0.56, 0.52, 0.60)
CLEAR = Estimate(0.68, 0.64, 0.72)
SEVERE = Estimate(0.84, 0.80, 0.88)


def attack(name: str, auc: Estimate, access: str = "label", **tpr: Estimate):
    return SimpleNamespace(
        name=name, access=access, auc=auc, tpr_at_fpr={k[1:].replace("_", "."): v for k, v in tpr.items()}
    )


def named(name: str, weak: str = ""):
    return SimpleNamespace(attack=name, weak=weak)


def verdict(*attacks, by="best", fewest=300, **more):
    return decided(attacks, named=None if by is None else named(by), fewest=fewest, confidence=0.95, **more)


@pytest.mark.parametrize(
    ("auc", "grade"),
    [(NOTHING, Grade.NONE), (SLIGHT, Grade.SLIGHT), (CLEAR, Grade.CLEAR), (SEVERE, Grade.SEVERE)],
)
def test_the_attack_that_the_ranking_names_counts_at_its_interval(auc, grade):
    found = verdict(attack("best", auc))
    assert (found.grade, found.at_least) == (grade, False)
    assert found.earned == (["best"] if grade is not Grade.NONE else [])


def test_exactly_half_lies_inside():
    assert verdict(attack("best", Estimate(0.54, 0.5, 0.58))).grade is Grade.NONE
    assert verdict(attack("best", NOTHING), attack("other", Estimate(0.54, 0.5, 0.58))).grade is Grade.NONE


@pytest.mark.parametrize("others", [1, 2, 5, 10])
def test_other_attacks_count_after_correction_for_all_their_figures(others):
    # z = 2.5, p = .0062: below .025 alone and with three others, not with five.
    reach = 0.04 * 1.96 / 2.5
    found = verdict(
        attack("best", NOTHING),
        *(attack(f"other {n}", Estimate(0.54, 0.54 - reach, 0.54 + reach)) for n in range(others)),
    )
    assert found.grade is (Grade.SLIGHT if 0.025 / others > 0.0062 else Grade.NONE)


def test_shares_of_members_found_count_in_the_correction_too():
    def other(**tpr):
        return [attack(f"other {n}", Estimate(0.5, 0.46, 0.54), **tpr) for n in range(3)]

    # Chance of a true share of .3 at most, from [.31, .49]: p = .018 with a logit of the lower reach.
    found = Estimate(0.4, 0.31, 0.49)
    assert verdict(attack("best", NOTHING, _0_1=found)).grade is Grade.CLEAR  # Chosen before looking.
    assert verdict(attack("best", NOTHING), *other(_0_1=found)).grade is Grade.NONE
    surely = Estimate(0.5, 0.42, 0.58)
    assert verdict(attack("best", NOTHING), *other(_0_1=surely)).grade is Grade.CLEAR


def test_what_another_attack_proves_is_said_to_be_the_least():
    found = verdict(attack("best", SLIGHT), attack("other", CLEAR))
    assert (found.grade, found.at_least, found.title) == (Grade.CLEAR, True, "At least clear leakage was measured")
    assert found.earned == ["other"]
    same = verdict(attack("best", CLEAR), attack("other", CLEAR))
    assert (same.grade, same.at_least) == (Grade.CLEAR, False)


def test_without_the_attack_that_the_ranking_names_nothing_is_ever_green():
    for auc in (NOTHING, SLIGHT):
        found = verdict(attack("gap", auc))
        assert found.grade is Grade.NOT_TESTED
        assert "“best”, the strongest label-only attack for what this attacker has, was not run" in str(
            found.reasons[0]
        )
        assert "Run “best” too" in found.reasons[0].remedy
    assert verdict(attack("gap", CLEAR)).title == "At least clear leakage was measured"
    assert verdict(attack("gap", SEVERE)).grade is Grade.SEVERE
    assert verdict(attack("gap", NOTHING), by=None).grade is Grade.NOT_TESTED
    assert verdict(attack("best", NOTHING, access="scores")).grade is Grade.NOT_TESTED
    assert verdict().grade is Grade.NOT_TESTED


def test_a_weak_attack_clears_nobody_though_the_ranking_names_it():
    weak = [named("best", weak="it was measured to be no better than gap")]
    for auc, grade in ((NOTHING, Grade.NOT_TESTED), (SLIGHT, Grade.NOT_TESTED), (CLEAR, Grade.CLEAR)):
        found = decided([attack("best", auc)], named=weak[0], fewest=300, confidence=0.95)
        assert found.grade is grade
        assert found.at_least == (grade is Grade.CLEAR)
        assert grade is Grade.CLEAR or "no better than gap" in str(found.reasons[0])


@pytest.mark.parametrize("fewest", [19, 20])
def test_too_few_records_say_nothing_but_what_is_proven_stays(fewest):
    found = verdict(attack("best", NOTHING), fewest=fewest)
    assert found.grade is (Grade.NONE if fewest == 20 else Grade.NOT_TESTED)
    assert verdict(attack("best", Estimate(0.6, 0.4, 0.76))).grade is Grade.NOT_TESTED
    assert verdict(attack("best", SLIGHT), fewest=fewest).grade is (Grade.SLIGHT if fewest == 20 else Grade.NOT_TESTED)
    assert verdict(attack("best", SEVERE), fewest=fewest).grade is Grade.SEVERE


def test_contradictions_outdo_every_grade_and_ignorance_only_findings_of_little():
    why = Reason(finding="The groups seem exchanged.", cause="A slip.", remedy="Exchange them.")
    for auc in (NOTHING, SLIGHT, CLEAR, SEVERE):
        found = verdict(attack("best", auc), contradictions=[why])
        assert (found.grade, found.reasons) == (Grade.NO_VERDICT, [why])
        found = verdict(attack("best", auc), ignorance=[why])
        assert found.reasons == [why]
        assert found.grade is {CLEAR: Grade.CLEAR, SEVERE: Grade.SEVERE}.get(auc, Grade.NO_VERDICT)
    assert verdict(attack("best", NOTHING), doubts=[why]).grade is Grade.NOT_TESTED


def test_the_same_figures_give_the_same_grade_whatever_else_was_run():
    """The rule of the issue: the same grade, or "not fully tested", or "at least" where another attack proves more."""
    everything = {"best": SLIGHT, "gap": NOTHING, "noise": SLIGHT, "boundary": CLEAR, "wide": Estimate(0.6, 0.4, 0.8)}
    for best in (NOTHING, SLIGHT, CLEAR, SEVERE):
        everything["best"] = best
        whole = verdict(*(attack(name, auc) for name, auc in everything.items()))
        for count in range(len(everything) + 1):
            for names in itertools.combinations(everything, count):
                part = verdict(*(attack(name, everything[name]) for name in names))
                assert part.grade is whole.grade or part.at_least or part.grade is Grade.NOT_TESTED or whole.at_least


def test_a_null_audit_is_graded_in_at_most_one_of_twenty():
    """Ten attacks whose scores know nothing: the share graded lies below 5 % within two standard errors."""
    rng = np.random.default_rng(0)
    member = np.arange(200) < 100
    rounds, alarms = 600, 0
    for _ in range(rounds):
        common = rng.normal(size=200)  # Attacks on the same records agree.
        attacks = [
            attack("best" if n == 0 else f"{n}", auc_interval(0.5 * common + rng.normal(size=200), member))
            for n in range(10)
        ]
        alarms += (
            max(grades(attacks[0], attacks[1:], confidence=0.95).values(), key=list(Grade).index) is not Grade.NONE
        )
    assert alarms <= 0.05 * rounds + 2 * (0.05 * 0.95 * rounds) ** 0.5
    assert alarms >= 3, "an audit that never finds anything is no audit"


def right(*shares, members=100, nonmembers=100, outside=None):
    """Right answers of a target by class: the shares of right answers on members (and on non-members `outside`)."""
    return [
        ClassRight(
            label=n,
            members=members,
            nonmembers=nonmembers,
            right_members=round(share * members),
            right_nonmembers=round((share if outside is None else outside[n]) * nonmembers),
        )
        for n, share in enumerate(shares)
    ]


@pytest.mark.parametrize(
    ("shares", "against"),
    [
        ((1.0, 1.0, 1.0), False),
        ((0.7, 0.6, 0.65), False),
        ((0.33, 0.35, 0.31), True),  # Guessing.
        ((0.0, 0.0, 0.0), True),  # Labels numbered otherwise.
        ((0.0, 1.0, 0.0), True),  # One answer for everything.
        ((0.6, 0.6), False),  # Hard data, but more than guessing: 20 points in 100 of 2 classes.
        ((0.65, 0.45), False),  # 10 points: not measurable with 200 members, so nothing contradicts itself.
    ],
)
def test_a_target_that_knows_nothing_of_its_training_data_contradicts_itself(shares, against):
    contradictory, _ = ignorance(right(*shares))
    assert bool(contradictory) == against


@pytest.mark.parametrize(("shares", "told"), [((0.33, 0.35, 0.31), True), ((0.0, 1.0), True), ((0.9, 0.9), False)])
def test_a_private_target_may_know_nothing_and_this_is_told(shares, told):
    record = healthy()
    classes = [
        one.model_copy(update={"train_accuracy": share, "test_accuracy": share})
        for one, share in zip(record.results.attacks[0].classes, shares, strict=False)
    ]
    record = changed(record, "gap", classes=classes)
    assert (record.results.verdict.grade is Grade.NO_VERDICT) == told
    private = changed(record, target=record.results.target.model_copy(update={"private": True}))
    assert private.results.verdict.grade is Grade.NONE
    assert ("such a model may know nothing" in " ".join(private.reasons)) == told


def test_what_is_not_measurably_more_than_guessing_says_nothing():
    against, doubts = ignorance(right(0.65, 0.45))
    assert not against
    assert "not measurably more than guessing" in doubts[0].finding


@pytest.mark.parametrize("hits", [(190, 0), (190, 1), (189, 3), (190, 10)])
def test_a_healthy_model_of_rare_classes_never_contradicts_itself(hits):
    common = ClassRight(label=0, members=190, nonmembers=190, right_members=hits[0], right_nonmembers=hits[0])
    rare = ClassRight(label=1, members=10, nonmembers=10, right_members=hits[1], right_nonmembers=hits[1])
    against, doubts = ignorance([common, rare])
    assert not against
    assert bool(doubts) == (hits[1] < 5)  # A model that hardly knows the rare class says little, though.


def test_random_answers_on_rare_classes_contradict_themselves():
    common = ClassRight(label=0, members=190, nonmembers=190, right_members=95, right_nonmembers=95)
    rare = ClassRight(label=1, members=10, nonmembers=10, right_members=5, right_nonmembers=5)
    assert ignorance([common, rare])[0]


def test_the_test_for_guessing_seldom_trips_on_models_that_know_little():
    """Models right on 60 of 100 in two classes contradict themselves in at most 1 of 1,000 draws."""
    rng = np.random.default_rng(1)
    trips = 0
    for _ in range(1000):
        hits = rng.binomial(100, 0.63, 2) / 100
        trips += bool(ignorance(right(*hits))[0])
    assert trips <= 5


def test_constant_answers_are_seen_from_where_they_are_right():
    assert constant(right(0.0, 1.0, 0.0))
    assert not constant(right(0.0, 0.99, 0.0))
    assert not constant(right(1.0, 1.0, 0.0))
    assert not constant(right(1.0))


@pytest.mark.parametrize(
    ("inside", "outside", "trips"),
    [((0.6, 0.6), (0.9, 0.9), True), ((0.9, 0.9), (0.6, 0.6), False), ((0.8, 0.8), (0.85, 0.85), False)],
)
def test_members_right_less_often_than_nonmembers_look_exchanged(inside, outside, trips):
    found = exchanged(right(*inside, outside=outside))
    assert bool(found) == trips
    assert not trips or "exchanged" in found[0].cause


def test_exchange_is_tested_one_sided_at_one_in_a_thousand():
    rng = np.random.default_rng(2)
    trips = sum(
        bool(exchanged(right(*rng.binomial(100, 0.7, 2) / 100, outside=rng.binomial(100, 0.7, 2) / 100)))
        for _ in range(2000)
    )
    assert trips <= ALARM * 2000 + 3 * (ALARM * 2000) ** 0.5


def test_a_blind_classifier_must_tell_the_groups_apart_beyond_chance():
    assert unlike(Estimate(0.62, 0.58, 0.66), confidence=0.95)
    assert not unlike(Estimate(0.54, 0.505, 0.575), confidence=0.95)
    assert not unlike(Estimate.undefined("too few"), confidence=0.95)


def healthy(members=300):
    recipes = [Recipe(name="gap", shift=0.0), Recipe(name="noise", shift=0.0)]
    record = make_record(recipes, members=members)
    for name in ("gap", "noise"):
        record = changed(record, name, auc=NOTHING, tpr_at_fpr=dict.fromkeys(("0.1", "0.01"), Estimate(0.0, 0.0, 0.01)))
    return changed(record, choice=choice("noise"))


CHANGED = Checks(rows=20, otherwise=12, noise=0.0, chance=0.0001, changed=True, after=1200)


@pytest.mark.parametrize(
    ("figures", "grade", "words"),
    [
        ({}, Grade.NONE, ""),
        ({"choice": choice("path")}, Grade.NOT_TESTED, "“path”, the strongest"),
        ({"members": 19}, Grade.NOT_TESTED, "smaller group has 19"),
        ({"checks": CHANGED}, Grade.NO_VERDICT, "changed during the audit"),
        ({"checks": CHANGED.model_copy(update={"changed": False})}, Grade.NONE, ""),
        (
            {"blind": Blind(auc=Estimate(0.7, 0.65, 0.75), differs=True, method="")},
            Grade.NO_VERDICT,
            "can be told apart without any model",
        ),
    ],
)
def test_the_verdict_of_a_record_is_shown_everywhere(figures, grade, words, tmp_path):
    record = changed(healthy(figures.get("members", 300)), **figures)
    assert record.results.verdict.grade is grade
    assert words in " ".join(record.reasons)
    saved = record.save(tmp_path / "run")
    assert f'"grade": "{grade.value}"' in (tmp_path / "run" / "results.json").read_text()
    again = load(tmp_path / "run")
    assert again.results.verdict == record.results.verdict
    assert record.title in repr(again)
    assert str(again).startswith(record.title)
    assert markdown(again).startswith(f"**{record.title}.**")
    assert KINDS.rows["model"].load("record").title_in(saved.folder) == record.title
    page = KINDS.rows["model"].load("page")(again)
    assert record.title in page
    assert all(reason.finding in page.replace("&#34;", '"') for reason in record.results.verdict.reasons)


def test_a_stored_verdict_is_not_believed(tmp_path):
    healthy().save(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace("none found", "severe").replace("No leakage was found", "Severe"))
    assert load(tmp_path).title == "No leakage was found"


def test_a_recipe_whose_models_answer_one_class_gets_no_verdict():
    record = make_recipe_record([Recipe(name="gap", shift=0.0)], named="gap")
    assert record.results.verdict.grade is Grade.NONE
    targets = [target.model_copy(update={"classes": right(0.0, 1.0)}) for target in record.results.targets]
    found = changed(record, targets=targets).results.verdict
    assert found.grade is Grade.NO_VERDICT
    assert "Of model 0: The target gives the same answer for every record" in found.reasons[0].finding


@pytest.mark.parametrize(("promise", "grade"), [(None, Grade.NOT_TESTED), (8.0, Grade.NONE)])
def test_a_bound_of_nothing_clears_a_training_only_under_a_promise(promise, grade):
    assert make_canary_record(epsilon=0.0, promise=promise).results.verdict.grade is grade

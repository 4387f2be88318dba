"""What changed between runs: truth on drawn scores, pairing by pseudonyms, the gate on changes, hostile names."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

import hardlabel
from commands import called
from hardlabel.checks import InvalidInput
from hardlabel.metrics import intervals
from hardlabel.metrics.changes import (
    Scored,
    at_confidence,
    auc_change,
    balanced_accuracy_change,
    difference,
    rate_change,
    tpr_changes,
)
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.change_gate import changes_gate, parse_change
from hardlabel.records.gate import Outcome
from hardlabel.records.verdict import Grade
from hardlabel.reports.compared import answer, comparison_markdown, comparison_page
from records import (
    SIX,
    Recipe,
    changed,
    choice,
    make_canary_record,
    make_defend_record,
    make_recipe_record,
    make_record,
)


def drawn(rng, *, shared=1.0, shifts=(1.0, 1.0), size=150, correlation=0.7, turned=False):
    """Scores of one attack in two audits, whose samples are the same for a share `shared` of them.

    Members' scores are N(shift, 1). Shared samples' scores correlate. If `turned`, they are members in one run only.
    """
    member = np.arange(2 * size) % 2 == 0
    same = np.arange(2 * size) < shared * 2 * size
    first, other = rng.normal(size=2 * size), rng.normal(size=2 * size)
    noises = first, np.where(same, first, other)
    members = member, ~member if turned else member
    records = np.arange(2 * size), np.where(same, np.arange(2 * size), np.arange(2 * size) + 2 * size)
    pair = []
    for noise, inside, shift, numbers in zip(noises, members, shifts, records, strict=True):
        own = rng.normal(size=2 * size)
        scores = math.sqrt(correlation) * noise + math.sqrt(1 - correlation) * own + shift * inside
        pair.append(Scored(scores=scores, member=inside, records=numbers))
    return pair


def changes_of(first, second, seed):
    """The changes of AUC, TPR at 10 % FPR and balanced accuracy at 0.5, from figures as a record holds them."""
    sides = first, second
    aucs = tuple(intervals.auc_interval(side.scores, side.member) for side in sides)
    tprs = tuple(intervals.tpr_at_fpr(side.scores, side.member, 0.1, seed=seed, resamples=500) for side in sides)
    figures = [intervals.at_threshold(side.scores, side.member, 0.5, prior=0.5) for side in sides]
    return (
        auc_change(first, second, own=aucs),
        tpr_changes(first, second, own={0.1: tprs}, seed=seed)[0.1],
        balanced_accuracy_change(
            first,
            second,
            own=tuple(figure.balanced_accuracy for figure in figures),
            precisions=tuple(figure.precision for figure in figures),
        ),
    )


def truths(shift):
    return np.array(
        [norm.cdf(shift / math.sqrt(2)), norm.sf(norm.isf(0.1) - shift), (norm.sf(0.5 - shift) + norm.cdf(0.5)) / 2]
    )


def misses(games, *, shared, turned=False, shifts=(0.8, 1.3)):
    """How many intervals of AUC, TPR and balanced accuracy miss the true change."""
    rng, wanted, found = np.random.default_rng(3), truths(shifts[1]) - truths(shifts[0]), np.zeros(3)
    for seed in range(games):
        changes = changes_of(*drawn(rng, shared=shared, shifts=shifts, turned=turned), seed)
        found += [not change.low <= true <= change.high for change, true in zip(changes, wanted, strict=True)]
    return found


def most(games):
    """Misses of 95 % intervals that are four standard errors above 5 %."""
    return 0.05 * games + 4 * math.sqrt(0.05 * 0.95 * games)


@pytest.mark.parametrize("turned", [False, True], ids=["same", "turned"])
def test_intervals_of_changes_cover_the_true_change(turned, monkeypatch):
    """Of 80 games at most 14.7 % miss; test_long_coverage has the whole."""
    monkeypatch.setattr("hardlabel.metrics.changes.DRAWS", 100)
    assert (misses(80, shared=1.0, turned=turned) <= most(80)).all()


@pytest.mark.long
@pytest.mark.parametrize(
    ("shared", "turned"),
    [(0.0, False), (0.5, False), (1.0, False), (1.0, True)],
    ids=["other", "half", "same", "turned"],
)
@pytest.mark.parametrize("shifts", [(1.0, 1.0), (0.8, 1.3)], ids=["null", "shifted"])
def test_long_coverage_of_changes(shared, turned, shifts):
    """Of 1,000 games at most 7.8 % miss, whatever is shared."""
    assert (misses(1000, shared=shared, turned=turned, shifts=shifts) <= most(1000)).all()


def test_pairing_makes_intervals_narrower_and_turned_membership_wider():
    """With a correlation of .7 the variance of the change falls to about a third; turned, it rises."""
    rng = np.random.default_rng(0)
    cases = {"other": (0.0, False), "half": (0.5, False), "same": (1.0, False), "turned": (1.0, True)}
    widths = {}
    for name, (shared, turned) in cases.items():
        changes = changes_of(*drawn(rng, shared=shared, turned=turned, size=1000), 0)
        widths[name] = np.array([change.high - change.low for change in changes])
    assert (widths["same"] < 0.9 * widths["other"]).all()
    for figure in (0, 2):  # The own intervals of TPRs vary more than pairing gains in one of two steps.
        assert widths["same"][figure] < widths["half"][figure] < widths["other"][figure]
        assert widths["turned"][figure] > 1.05 * widths["other"][figure]
    assert widths["same"][0] == pytest.approx(math.sqrt(0.3) * widths["other"][0], rel=0.15)


def test_a_partly_shared_auc_is_delongs_where_all_is_shared():
    first, second = drawn(np.random.default_rng(5), shifts=(1.0, 1.2), size=1000)
    own = tuple(intervals.auc_interval(side.scores, side.member) for side in (first, second))
    paired = auc_change(first, second, own=own)
    order = np.random.default_rng(1).permutation(2000)
    shuffled = Scored(scores=second.scores[order], member=second.member[order], records=second.records[order])
    general = auc_change(first, shuffled, own=own)  # The same samples in another order take the general way.
    assert general.value == pytest.approx(paired.value)
    assert general.low == pytest.approx(paired.low, abs=0.002)
    assert general.high == pytest.approx(paired.high, abs=0.002)


@given(
    values=st.lists(st.floats(0, 1), min_size=6, max_size=6),
    correlation=st.floats(-1, 1),
)
@settings(max_examples=60, deadline=None)
def test_the_interval_of_a_difference_holds_the_difference(values, correlation):
    ends = [sorted(values[:3]), sorted(values[3:])]
    first, second = (Estimate(middle, low, high) for low, middle, high in ends)
    change = difference(first, second, correlation=correlation)
    assert change.low <= change.value + 1e-12
    assert change.value <= change.high + 1e-12
    back = difference(second, first, correlation=correlation)
    assert back.low == pytest.approx(-change.high)


def test_a_change_without_a_figure_says_whose_is_missing():
    known, missing = Estimate(0.5, 0.4, 0.6), Estimate.undefined("needs 1000 non-members, got 20")
    assert difference(known, missing).note == "second run: needs 1000 non-members, got 20"
    assert difference(missing, known).value is None
    assert difference(Estimate(0.5), known).low is None


def test_shares_of_the_same_samples_are_paired():
    """Of 1,000 samples, 30 became right and 10 wrong: McNemar's variance is (40 - 20² / 1000) / 1000²."""
    right = np.zeros(1000)
    right[:600] = 1
    later = right.copy()
    later[:10], later[600:630] = 0, 1
    member, records = np.ones(1000, dtype=bool), np.arange(1000)
    member[-1] = False
    own = (Estimate(0.6, 0.57, 0.63), Estimate(0.62, 0.59, 0.65))
    first, second = (Scored(scores=who, member=member, records=records) for who in (right, later))
    change = rate_change(first, second, own=own, inside=True)
    reach = 1.96 * math.sqrt((40 - 0.4) / 1000**2)
    assert change.value == pytest.approx(0.02)
    assert change.high - change.low == pytest.approx(2 * reach, rel=0.03)


def test_a_wider_confidence_stretches_the_interval():
    wider = at_confidence(Estimate(0.1, 0.05, 0.15), 0.99)
    assert wider.high - wider.low == pytest.approx(0.1 * norm.ppf(0.995) / norm.ppf(0.975))
    assert at_confidence(Estimate.undefined("none"), 0.99).value is None


def pseudonymous(record, ranked="boundary", prefix=""):
    """The record with pseudonyms of its samples and an attack that the ranking names."""
    scores = record.scores.assign(
        pseudonym=[
            f"{prefix}{row}-{member}" for row, member in zip(record.scores["row"], record.scores["member"], strict=True)
        ]
    )
    results = record.results.model_copy(update={"choice": choice(ranked)})
    return replace(record, scores=scores.drop(columns="row"), results=results)


@pytest.fixture(scope="module")
def versions():
    """Two versions of a model: the later leaks more by boundary, and both asked about the same records."""
    stronger = tuple(Recipe(name="boundary", shift=2.6) if recipe.name == "boundary" else recipe for recipe in SIX)
    return pseudonymous(make_record(SIX)), pseudonymous(make_record(stronger, seed=1))


def test_the_same_run_twice_has_not_changed(versions):
    later = hardlabel.compare(versions[0], versions[0]).later[0]
    assert later.same == 600
    assert later.settings == later.only_first == later.only_second == []
    known = [change.change for change in later.changes if change.change.value is not None]
    assert len(known) > 20
    for change in known:
        assert change.value == 0
        assert change.low <= 0 <= change.high
    assert answer(hardlabel.compare(*[versions[0]] * 2), later).title == "No measurable change of leakage"


def test_a_known_shift_is_detected(versions):
    comparison = hardlabel.compare(*versions)
    later = comparison.later[0]
    change = later.change("label", "auc")
    assert change.paired
    assert change.finding == "higher"
    assert change.change.low > 0
    assert later.change("boundary", "auc").change == change.change
    assert answer(comparison, later).title == "More leakage"
    back = hardlabel.compare(*reversed(versions)).later[0].change("label", "auc")
    assert back.finding == "lower"
    assert back.change.value == pytest.approx(-change.change.value)


def test_figures_are_those_of_the_records(versions):
    later = hardlabel.compare(*versions).later[0]
    for change in later.changes:
        if change.subject in ("target", "label"):
            continue
        for record, shown in zip(versions, (change.first, change.second), strict=True):
            name, _, rate = change.metric.partition("@")
            attack = record.attack(change.subject)
            assert shown == (attack.tpr_at_fpr[rate] if rate else getattr(attack, name))


def test_other_records_are_not_paired(versions):
    other = pseudonymous(make_record(SIX, seed=2), prefix="other ")
    later = hardlabel.compare(versions[0], other).later[0]
    assert later.same == 0
    assert later.pairing.startswith("Not paired")
    assert not any(change.paired for change in later.changes)
    assert later.change("label", "auc").change == difference(
        versions[0].attack("boundary").auc, other.attack("boundary").auc
    )


def test_a_record_without_pseudonyms_is_paired_only_where_everything_agrees(versions):
    plain = replace(versions[0], scores=versions[0].scores.drop(columns="pseudonym"))
    assert hardlabel.compare(plain, plain).later[0].same == 600
    assert hardlabel.compare(plain, versions[0]).later[0].same is None
    elsewhere = changed(plain, environment=plain.results.environment.model_copy(update={"seed": 1}))
    later = hardlabel.compare(plain, elsewhere).later[0]
    assert later.same is None
    assert not later.change("label", "auc").paired
    without = replace(plain, scores=plain.scores.iloc[:0])
    assert hardlabel.compare(plain, without).later[0].pairing.startswith("Not paired: a run has no scores")


def test_partly_shared_records_are_counted(versions):
    scores = versions[1].scores.copy()
    half = scores["id"] < 300
    scores.loc[half, "pseudonym"] = "new " + scores.loc[half, "pseudonym"]
    later = hardlabel.compare(versions[0], replace(versions[1], scores=scores)).later[0]
    assert later.same == 300
    assert later.of == (600, 600)
    assert "300 records are in both runs" in later.pairing
    widths = [
        change.high - change.low
        for change in (
            later.change("loss", "auc").change,
            difference(versions[0].attack("loss").auc, versions[1].attack("loss").auc),
        )
    ]
    assert widths[0] != widths[1]  # The two runs' noise is independent: it may be a little wider.


def test_records_with_the_same_pseudonym_are_told_apart(versions):
    def doubled(record):
        return replace(record, scores=record.scores.assign(pseudonym="0000000000"))

    assert hardlabel.compare(doubled(versions[0]), doubled(versions[1])).later[0].same == 600


def test_settings_and_attacks_that_differ_are_listed(versions):
    fewer = pseudonymous(make_record(SIX[:4]))
    fewer = replace(fewer, config={**fewer.config, "seed": 4, "budget": 10})
    later = hardlabel.compare(versions[0], fewer).later[0]
    assert {setting.name: (setting.first, setting.second) for setting in later.settings} == {
        "attacks": (
            "gap, augmentation, noise, boundary, loss, shadow-network",
            "gap, augmentation, noise, boundary",
        ),
        "seed": ("0", "4"),
        "budget": ("", "10"),
    }
    assert later.only_first == ["loss", "shadow-network"]
    assert later.only_second == []


def test_another_attack_named_by_the_ranking_is_a_doubt(versions):
    later = hardlabel.compare(versions[0], pseudonymous(make_record(SIX), ranked="noise")).later[0]
    assert any("noise" in doubt and "boundary" in doubt for doubt in later.doubts)
    assert later.change("label", "auc").second == make_record(SIX).attack("noise").auc


@pytest.mark.parametrize("maker", [make_recipe_record, make_defend_record, make_canary_record])
def test_other_kinds_are_compared(maker):
    comparison = hardlabel.compare(maker(), maker())
    later = comparison.later[0]
    assert later.changes
    assert all(change.change.value in (0, None) for change in later.changes)
    assert comparison_page(comparison)
    assert comparison_markdown(comparison)
    assert len(comparison.table()) == len(later.changes)


def test_recipes_on_the_same_halves_are_paired():
    first, second = (make_recipe_record((Recipe(name="path-estimate", shift=shift),)) for shift in (1.0, 1.6))
    first, second = (
        replace(record, scores=record.scores.assign(pseudonym=record.scores["id"].map("{:04d}".format)))
        for record in (first, second)
    )
    change = hardlabel.compare(first, second).later[0].change("label", "auc")
    assert change.paired
    assert change.finding == "higher"
    assert change.change.value == pytest.approx(
        second.attack("path-estimate").auc.value - first.attack("path-estimate").auc.value
    )
    turned = replace(second, scores=second.scores.assign(member=~second.scores["member"]))
    assert not hardlabel.compare(first, turned).later[0].change("label", "auc").paired


def test_runs_of_several_kinds_are_refused():
    with pytest.raises(InvalidInput, match="runs must be of one kind"):
        hardlabel.compare(make_record(), make_canary_record())
    with pytest.raises(InvalidInput, match="runs must be records of audits"):
        hardlabel.compare(make_record(), "runs/digits")
    with pytest.raises(InvalidInput, match="names must have one name"):
        hardlabel.compare(make_record(), make_record(), names=["a"])


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        ("change(label.auc) > 0.001", Outcome.TRIPPED),
        ("change(label.auc) > 0.3", Outcome.PASSED),
        ("change(label.auc) < 0", Outcome.PASSED),
        ("change(label.auc) > 5%", Outcome.UNDECIDED),
        ("change(label.tpr@0.01) > 0.01", Outcome.UNDECIDED),
        ("change(target.test_accuracy) < -0.2", Outcome.PASSED),
    ],
)
def test_the_gate_on_changes_goes_by_the_ends_of_intervals(versions, condition, outcome):
    comparison = hardlabel.compare(*versions)
    result = changes_gate(comparison, [condition])
    assert result.outcome is outcome, str(result)
    assert [decision.condition for decision in result.conditions] == [condition]


def test_conditions_on_other_attacks_are_corrected(versions):
    comparison = hardlabel.compare(*versions)
    low = comparison.later[0].change("boundary", "auc").change.low
    barely = f"change(boundary.auc) > {low - 1e-4:.6f}"
    assert changes_gate(comparison, [barely]).outcome is Outcome.TRIPPED
    many = changes_gate(comparison, [barely, "change(gap.auc) > 0.5", "change(noise.auc) > 0.5"])
    assert many.conditions[0].outcome is Outcome.UNDECIDED
    assert "after correction" in many.conditions[0].reason


def test_a_run_without_a_verdict_decides_nothing(versions):
    comparison = hardlabel.compare(*versions)
    no_verdict = comparison.later[0].run.model_copy(update={"grade": str(Grade.NO_VERDICT)})
    later = comparison.later[0].model_copy(update={"run": no_verdict})
    result = changes_gate(comparison.model_copy(update={"later": [later]}), ["change(label.auc) > 0.001"])
    assert result.outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(
    "text",
    ["label.auc > 0.6", "change(label.auc)", "change(label.auc) > x", "change(grade) >= 0.1", "change(label.auc) > 1",
     "change(label.acc) > 0.1", "change() > 0.1", "__import__('os')", "change(label.auc) > 0.1; 1", "", None],
)  # fmt: skip
def test_what_is_no_condition_on_a_change_is_refused_in_one_line(text):
    with pytest.raises(InvalidInput) as refused:
        parse_change(text)
    assert "\n" not in str(refused.value)


def test_an_unknown_subject_is_refused_with_those_known(versions):
    comparison = hardlabel.compare(*versions)
    with pytest.raises(InvalidInput, match=r"known are .*boundary"):
        changes_gate(comparison, ["change(boundry.auc) > 0.1"])


@pytest.fixture
def folders(versions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for record, name in zip(versions, ("v1", "v2"), strict=True):
        record.save(tmp_path / name)
    return tmp_path


def test_the_command_prints_markdown_json_and_a_page(folders, monkeypatch, capsys):
    tools = {"monkeypatch": monkeypatch, "capsys": capsys}
    code, out, _ = called("compare", "v1", "v2", "--out", "pages/compared.html", **tools)
    assert code == 0
    assert "| the ranking's attack | AUC |" in out
    page = (folders / "pages" / "compared.html").read_text()
    code, out, _ = called("compare", "v1", "v2", "--json", **tools)
    assert code == 0
    shown = json.loads(out)
    assert shown["baseline"]["name"] == "v1"
    check_page(page, shown)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--fail-if", "change(label.auc) > 0.001"], 3),
        (["--fail-if", "change(label.auc) > 0.3"], 0),
        (["--fail-if", "change(label.auc) > 5%"], 4),
        (["--fail-if", "change(label.auc) > 5%", "--undecided", "pass"], 0),
        (["--fail-if", "change(label.auc) > 5%", "--fail-if", "change(label.auc) > 0.001"], 3),
        (["--fail-if", "label.auc > 0.5"], 2),
        (["--fail-if", "change(nobody.auc) > 0.5"], 2),
        (["--undecided", "maybe"], 2),
    ],
)
def test_exit_codes(folders, words, wanted, monkeypatch, capsys):
    code, _, stderr = called("compare", "v1", "v2", *words, monkeypatch=monkeypatch, capsys=capsys)
    assert code == wanted, stderr
    assert "Traceback" not in stderr


def test_one_run_or_a_missing_one_is_refused(folders, monkeypatch, capsys):
    for words in (["v1"], ["v1", "nothing"]):
        code, _, stderr = called("compare", *words, monkeypatch=monkeypatch, capsys=capsys)
        assert code == 2
        assert len(stderr.strip().splitlines()) == 1


class Cells(HTMLParser):
    """The cells with figures, by subject, metric and figure, and every tag of the page."""

    def __init__(self, page):
        super().__init__()
        self.cells, self.tags = {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        named = dict(attributes)
        if "data-metric" in named:
            key = named["data-subject"], named["data-metric"], named["data-figure"]
            self.cells[key] = [named[f"data-{end}"] for end in ("value", "low", "high")]


def check_page(page, shown):
    """Every figure of the page is one of the comparison's."""
    cells = Cells(page).cells
    known = {
        (change["subject"], change["metric"], figure): [
            "" if change[figure][end] is None else repr(change[figure][end]) for end in ("value", "low", "high")
        ]
        for later in shown["later"]
        for change in later["changes"]
        for figure in ("first", "second", "change")
    }
    assert len(cells) > 40
    assert all(known[key] == ends for key, ends in cells.items())


def test_hostile_names_inject_nothing(versions):
    hostile = "</td><script>alert(1)</script>|x\n\n# head <img src=x onerror=y> [a](javascript:1) \x1b[2J"
    record = changed(versions[1], data=hostile)
    attacks = [
        attack.model_copy(update={"name": hostile}) if attack.name == "noise" else attack
        for attack in record.results.attacks
    ]
    record = changed(record, attacks=attacks)
    scores = record.scores.replace("noise", hostile)
    record = replace(record, config={"attacks": [hostile], hostile: hostile}, scores=scores)
    comparison = hardlabel.compare(versions[0], record, record, names=["a", hostile, hostile + "2"])
    page, text = comparison_page(comparison), comparison_markdown(comparison)
    tags = set(Cells(page).tags)
    assert not tags & {"script", "img", "a", "iframe"}
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"<(script|img)", text)
    assert "\x1b" not in text
    assert not re.search(r"^# head", text, re.MULTILINE)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(re.search(r"(?<!\\)\|$", row) for row in rows)

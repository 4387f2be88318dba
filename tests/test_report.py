"""The report as text: what it shows, in which order, and that it shows something for every kind of record."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardlabel.checks import InvalidInput
from hardlabel.kinds import markdown, render, write_report
from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.roc import tpr_at
from hardlabel.records.model import AuditRecord, Curve, Difference, LeftOut
from hardlabel.records.recipe import RecipeRecord
from hardlabel.reports.figures import auc_range, histogram_figure, queries_figure, roc_figure, styles
from hardlabel.reports.strips import STRIP_WIDTH, auc_figure, strip
from hardlabel.reports.svg import Scale, element
from hardlabel.reports.tables import comparisons, featured, in_order, lowest_rate, most_exposed, why
from hardlabel.reports.verdict import verdict
from records import (
    CALIBRATED,
    SIX,
    Recipe,
    changed,
    choice,
    make_canary_record,
    make_defend_record,
    make_recipe_record,
    make_record,
    reference_models,
    shadow_model,
    standout,
)

VOID = {"meta", "link", "br", "img", "hr", "input"}
# One row of a table as text, and the exact figures in its cells.
ROW = re.compile(r"<tr.*?</tr>", re.DOTALL)
SECTIONS = ["verdict", "findings", "risk", "limits", "attacks", "method", "reproduce", "glossary", "signature"]
POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Page(HTMLParser):
    """What the tests ask of a page: that its tags match, and its headings, cells and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.cells: dict[tuple[str, str], str] = {}
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in given:
            self.ids.append(given["id"])
        if "data-attack" in given:
            self.cells[given["data-attack"], given["data-figure"]] = given["data-value"]
        self.links += [value for name, value in attrs if name in {"src", "href", "data", "action"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def whole_page(text: str) -> Page:
    """The page, seen to be well-formed, without holes, small, to load nothing, and to run its own script alone."""
    page = Page(text)
    assert page.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.ids) == len(set(page.ids))
    inside = [link.removeprefix("#") for link in page.links if link.startswith("#")]
    assert set(inside) <= set(page.ids)
    assert {link.split(";")[0] for link in page.links if not link.startswith("#")} <= {
        *("data:application/json", "data:text/csv", "data:image/png"),
    }
    [script] = SCRIPT.findall(text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    [policy] = POLICY.findall(text)
    assert policy.startswith(f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri")
    assert text.count("<script") == 1
    assert "@import" not in text
    assert "url(" not in text
    assert not re.search(r"\b(nan|None|inf)\b", " ".join(page.words))
    assert len(text.encode()) < 2_000_000
    return page


def undefined_everywhere() -> AuditRecord:
    record = make_record(SIX)
    nothing = Estimate.undefined("too few records")
    figures = ("auc", "balanced_accuracy", "advantage", "precision", "precision_at_prior", "best_balanced_accuracy")
    for recipe in SIX:
        rates = {"0.1": nothing, "0.01": nothing}
        record = changed(record, recipe.name, tpr_at_fpr=rates, **dict.fromkeys(figures, nothing))
    blind = record.results.blind.model_copy(update={"auc": nothing})
    target = record.results.target.model_copy(update={"train_accuracy": nothing, "test_accuracy": nothing})
    return changed(record, blind=blind, target=target, differences=[], left_out=[], notes=[])


RECORDS = {
    "six attacks": make_record(SIX, shadow=shadow_model()),
    "groups that differ": make_record(SIX, differs=True),
    "no shadow model": make_record(SIX),
    "no attack that sees scores": make_record(SIX[:4]),
    "only attacks that see scores": make_record(SIX[4:]),
    "only the gap attack": make_record(SIX[:1]),
    "nothing defined": undefined_everywhere(),
    "one class": make_record(SIX, classes=1),
    "tiny groups": make_record(SIX, members=4, nonmembers=3),
    "no attack at all": make_record(()),
    "no scores kept": replace(make_record(SIX), scores=make_record(()).scores),
    "reference models": changed(make_record(CALIBRATED), references=reference_models(), choice=choice()),
    "a recipe": make_recipe_record(),
    "a recipe that shows nothing": make_recipe_record([Recipe(name="gap", shift=0.0)]),
    "a recipe without attacks": make_recipe_record(()),
    "twenty attacks": make_record([Recipe(name=f"an-attack-with-a-long-name-{i}", shift=i / 9) for i in range(20)]),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_record_renders_whole_and_small_and_loads_nothing(record):
    page = whole_page(render(record))
    assert [name for name in page.ids if name in SECTIONS] == [name for name in SECTIONS if name in page.ids]


def test_findings_come_first_and_appendices_after():
    assert [name for name in Page(render(RECORDS["six attacks"])).ids if name in SECTIONS] == SECTIONS


def test_every_cell_holds_the_exact_figure_of_the_record():
    record = RECORDS["six attacks"]
    cells = Page(render(record)).cells
    for attack in record.results.attacks:
        figures = {
            "auc": attack.auc,
            "balanced_accuracy": attack.balanced_accuracy,
            "best_balanced_accuracy": attack.best_balanced_accuracy,
            "precision": attack.precision,
            "precision_at_prior": attack.precision_at_prior,
            **{f"tpr_at_{fpr}": estimate for fpr, estimate in attack.tpr_at_fpr.items()},
        }
        for name, estimate in figures.items():
            shown = cells[attack.name, name]
            assert shown == ("" if estimate.value is None else repr(estimate.value))
        assert float(cells[attack.name, "queries"]) == attack.queries_per_sample.mean
    mirrored = {("gap", "loss"), ("gap", "shadow-network")}  # Told once, as "loss" and "shadow-network" against gap.
    for difference in record.results.differences:
        if (difference.first, difference.second) in mirrored:
            assert (f"{difference.first}-{difference.second}", "difference") not in cells
            continue
        assert float(cells[f"{difference.first}-{difference.second}", "difference"]) == difference.auc.value


def test_a_rate_that_cannot_be_resolved_says_what_it_would_need():
    words = " ".join(Page(render(RECORDS["six attacks"])).words)
    assert "not resolvable" in words
    assert "needs 10000 non-members, got 300" in words


def test_the_warning_stands_out_only_where_the_groups_differ():
    assert "Warning: the two groups differ" in render(RECORDS["groups that differ"])
    assert "Warning" not in render(RECORDS["six attacks"])


def test_what_a_record_says_cannot_become_markup():
    evil = "<script>alert(1)</script>\"'&"
    record = make_record([Recipe(name=evil, shift=1.0, signal=evil), *SIX[4:]])
    record = replace(changed(record, data=evil, notes=[evil]), config={evil: evil})
    text = render(record)
    assert text.count("<script") == 1
    assert Page(text).words.count(evil) >= 3


def test_the_same_record_gives_the_same_bytes(tmp_path):
    record = RECORDS["six attacks"]
    write_report(record, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == render(make_record(SIX, shadow=shadow_model())).encode()


def test_label_only_attacks_come_first_and_each_kind_by_falling_auc():
    attacks = in_order(RECORDS["six attacks"].results)
    assert [attack.access for attack in attacks] == ["label"] * 4 + ["scores"] * 2
    for kind in (attacks[:4], attacks[4:]):
        aucs = [attack.auc.value for attack in kind]
        assert aucs == sorted(aucs, reverse=True)


@pytest.mark.parametrize("attack", ["boundary", "gap"])  # Distinct scores, and ties.
def test_the_most_exposed_agree_with_a_count_by_hand(attack):
    record = RECORDS["six attacks"]
    rows = record.scores[record.scores["attack"] == attack]
    members, others = rows[rows["member"]], rows[~rows["member"]]
    found = most_exposed(record, attack, most=20)
    assert len(found) == 20
    for row in found:
        mine = float(members.loc[members["id"] == row.id, "score"].iloc[0])
        assert row.score == mine
        assert row.rank == 1 + sum(score > mine for score in members["score"])
        assert row.tied == sum(score == mine for score in members["score"])
        assert row.above == sum(score >= mine for score in others["score"])
        assert row.false_alarms.value == row.above / len(others)
        assert row.false_alarms.low <= row.false_alarms.value <= row.false_alarms.high
    best = sorted(zip(-members["score"], members["id"], strict=True))[:20]
    assert [row.id for row in found] == [index for _, index in best]


def test_the_table_behind_the_roc_reads_the_largest_tpr_within_the_rate():
    record = RECORDS["six attacks"]
    attacks = in_order(record.results)
    figure = roc_figure(record.results, attacks, "boundary")
    rows = record.scores[record.scores["attack"] == "boundary"]
    expected = tpr_at(rows["score"].to_numpy(), rows["member"].to_numpy(dtype=bool), 0.1)
    [row] = [row for row in figure.rows if row[0] == "boundary"]
    assert row[figure.header.index("at 10\u00a0% FPR")] == f"{100 * expected:.0f}\u00a0%"


def test_the_table_behind_the_roc_has_the_figures_of_the_other_tables_where_the_drawn_curve_has_few_corners():
    few = Curve(fpr=[0.0, 0.05, 1.0], tpr=[0.0, 0.08, 1.0])
    record = changed(RECORDS["six attacks"], "boundary", roc=few, tpr_at_fpr={"0.1": Estimate(0.273, 0.2, 0.3)})
    figure = roc_figure(record.results, in_order(record.results), "boundary")
    [row] = [row for row in figure.rows if row[0] == "boundary"]
    assert row[figure.header.index("at 10\u00a0% FPR")] == "27\u00a0%"


@pytest.mark.parametrize(("apart", "told"), [(0.2, False), (1.4, True)])
def test_that_models_answer_differently_is_a_reason_only_where_it_is_more_than_chance(apart, told):
    assert ("answer differently" in why(standout(1).model_copy(update={"separability": apart}))) is told


def test_figures_name_every_attack_in_words_too():
    record = RECORDS["six attacks"]
    attacks = in_order(record.results)
    for figure in (roc_figure(record.results, attacks, None), auc_figure(attacks), queries_figure(attacks)):
        assert [row[0] for row in figure.rows] == [attack.name for attack in attacks]
        assert 'role="img"' in figure.svg
        assert "aria-label" in figure.svg
    shares = [row[1:] for row in histogram_figure(attacks[0], 300, 300).rows]
    assert len(shares) == len(attacks[0].histogram.members)


def test_no_two_attacks_look_alike_and_dashes_mean_scores():
    drawn = styles(in_order(RECORDS["twenty attacks"].results) + in_order(RECORDS["six attacks"].results))
    looks = {(style.classes, style.shape) for style in drawn.values()}
    assert len(looks) == len(drawn) == 26
    assert [style.scores for style in drawn.values()] == [False] * 24 + [True] * 2


@given(
    low=st.floats(1e-4, 1e3),
    width=st.floats(1.01, 1e4),
    share=st.floats(0, 1),
    log=st.booleans(),
)
def test_a_scale_keeps_order_and_stays_inside(low, width, share, log):
    scale = Scale(low=low, high=low * width, start=10.0, end=90.0, log=log)
    value = low * width**share
    assert scale(low) == pytest.approx(10)
    assert scale(low * width) == pytest.approx(90)
    assert 10 - 1e-9 <= scale(value) <= scale(value * 1.5) <= 90 + 1e-9
    assert scale(low / 2) == pytest.approx(10)
    ticks = scale.ticks()
    assert ticks == sorted(ticks)
    assert len(ticks) <= 8
    assert all(low * (1 - 1e-6) - 1e-9 <= tick <= low * width * (1 + 1e-6) for tick in ticks)


def test_a_scale_of_no_width_maps_to_the_middle():
    assert Scale(low=2.0, high=2.0, start=0.0, end=10.0)(2.0) == 5.0


def test_attributes_and_text_are_escaped():
    assert element("text", {"class": '"<'}, "<&") == '<text class="&#34;&lt;">&lt;&amp;</text>'


def test_infinite_scores_are_shown_and_ranked_first():
    record = make_record(SIX[:1])
    scores = record.scores.assign(score=np.where(record.scores["id"] == record.scores["id"].iloc[0], np.inf, 0.0))
    [first, *_] = most_exposed(replace(record, scores=scores), "gap")
    assert (first.id, first.above, first.rank) == (record.scores["id"].iloc[0], 0, 1)


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_report_is_written_to_a_string_or_a_path_and_makes_its_folders(tmp_path, kind):
    path = tmp_path / "not" / "there" / "report.html"
    write_report(RECORDS["only the gap attack"], kind(path))
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "report.html"):
        with pytest.raises(InvalidInput, match=re.escape(str(path))):
            write_report(RECORDS["only the gap attack"], path)


def test_the_roc_shows_nothing_below_one_non_member_and_marks_what_is_resolvable():
    record = make_record(SIX, members=300, nonmembers=50)
    figure = roc_figure(record.results, in_order(record.results), "boundary")
    assert [figure.header[1], figure.header[-1]] == ["at 0.1\u00a0% FPR", "at 50\u00a0% FPR"]
    [row] = [row for row in figure.rows if row[0] == "boundary"]
    assert row[1:4] == ["not resolvable"] * 3  # 10 of 50 non-members are 20 %.
    assert row[4].endswith("%")
    assert "resolvable from 20\u00a0%" in figure.svg
    # The frame begins at 1/50 = 2 %: of the powers of ten only 10 % and 100 % lie in it.
    assert ">10\u00a0%<" in figure.svg
    assert ">1\u00a0%<" not in figure.svg
    assert ">0.1\u00a0%<" not in figure.svg


def test_scores_shared_by_many_say_that_no_threshold_reaches_the_rate():
    record = make_record(SIX[:1])
    curve = Curve(fpr=[0.0, 0.4, 1.0], tpr=[0.0, 0.9, 1.0])
    nothing = Estimate(0.0, 0.0, 0.01)
    tied = changed(record, "gap", roc=curve, tpr_at_fpr={"0.1": nothing})
    words = " ".join(Page(render(tied)).words)
    assert "no threshold this low lowest is 40\u00a0%" in words
    assert "no threshold this low; lowest is 40\u00a0%" in words  # In the table behind the ROC.
    [attack] = tied.results.attacks
    assert lowest_rate(attack, 0.1) == 0.4
    assert lowest_rate(attack, 0.4) is None
    # With a threshold below the rate, finding no one is a finding.
    fine = attack.model_copy(update={"roc": Curve(fpr=[0.0, 0.05, 1.0], tpr=[0.0, 0.0, 1.0])})
    assert lowest_rate(fine, 0.1) is None


def test_a_measured_difference_never_looks_like_zero():
    pair = Difference(first="noise", second="gap", auc=Estimate(-0.0902, -0.18, -0.00004))
    text = render(changed(RECORDS["six attacks"], differences=[pair]))
    assert "[−0.18000, −0.00004]" in text
    assert "measurably weaker" in text
    assert "−0.000]" not in text


def test_paired_comparisons_are_grouped_and_told_once():
    groups = dict(comparisons(RECORDS["six attacks"].results))
    pairs = {title: [(pair.first, pair.second) for pair in group] for title, group in groups.items()}
    assert list(pairs) == [
        "Labels only, compared with the gap attack",
        "Labels only, compared with one another",
        "Labels only, compared with confidences",
        "Confidences, compared with the gap attack",
    ]
    one_another = [("augmentation", "noise"), ("augmentation", "boundary"), ("noise", "boundary")]
    assert pairs["Labels only, compared with one another"] == one_another
    told = [frozenset(pair) for group in pairs.values() for pair in group]
    assert len(told) == len(set(told)) == 3 + 3 + 6 + 2


def test_exposed_records_show_their_row_where_the_record_keeps_it():
    record = RECORDS["six attacks"]
    rows = record.scores.set_index(["attack", "id"])["row"]
    found = most_exposed(record, "boundary")
    assert [row.row for row in found] == [rows["boundary", row.id] for row in found]
    assert f'<td data-row="{found[0].row}">' in render(record)
    older = replace(record, scores=record.scores.drop(columns="row"))
    assert [row.row for row in most_exposed(older, "boundary")] == [None] * 20
    assert "data-row" not in render(older)


@pytest.mark.parametrize("missing", [0, 3, 19])
def test_a_column_stands_where_any_row_has_its_value_with_empty_cells_for_others(missing):
    record = make_record()
    shown = most_exposed(record, verdict(record).strongest)
    record = changed(
        record, exposed=[standout(one.id, "words of the record") for one in shown if one is not shown[missing]]
    )
    page = render(record)
    assert "The records themselves are shown" in page
    table = page[page.index("Members by falling score") :]
    table = table[: table.index("</table>")]
    cells = [len(re.findall("<t[hd]", row)) for row in ROW.findall(table)]
    assert len(cells) == 21
    assert len(set(cells)) == 1
    assert table.count("<td>words of the record</td>") == 19
    assert "Record itself" in table
    assert "Record itself" not in render(make_record())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "with their true classes."),
        ({"labels": "true", "wrong_labels": 0.0}, "with their true classes."),
        ({"labels": "target", "wrong_labels": 0.0}, "without their classes: they take the model's answers for them."),
        ({"labels": "true", "wrong_labels": 0.1}, "with their classes, of which about 10\u00a0% are wrong."),
    ],
)
def test_the_report_says_which_classes_the_attacker_has(settings, told):
    record = make_record()
    page = "".join(Page(render(replace(record, config={**record.config, **settings}))).words)
    assert f"Both hold the records they ask about, {told} Kind of data" in page


@pytest.mark.parametrize("make", [make_recipe_record, make_defend_record])
def test_other_reports_speak_of_true_classes(make):
    assert "Both hold the records they ask about, with their true classes." in render(make())


def test_canaries_over_many_runs_say_how_many_calls_were_wrong():
    for runs, told in ((1, "| 40 of 50 |"), (200, "| 40 of 50, wrong 3 of 60 |")):
        rows = markdown(make_canary_record(runs=runs)).splitlines()
        assert told in next(row for row in rows if row.startswith("| all |"))


def test_costs_attacks_left_out_and_notes_for_experts_are_folded_away():
    record = changed(
        RECORDS["six attacks"], left_out=[LeftOut(name="combined", reason="no images")], notes=["a probe ran"]
    )
    text = render(record)
    costs, left, notes = (text.index(part) for part in ("What each attack costs", "no images", "Notes on this run"))
    assert costs < left < notes < text.index("a probe ran")
    assert text.index('id="method"') < costs
    assert text[:left].count("<details") == text[:left].count("</details>") + 1


def test_one_member_is_not_one_members():
    words = " ".join(Page(render(make_record(SIX[:1], members=1, nonmembers=30))).words)
    assert "1 member and 30 non-members" in words
    assert not re.search(r"\b1 (non-)?members", words)


def test_the_markdown_table_has_a_row_per_attack_and_says_what_is_missing():
    record = make_record()
    lines = markdown(record).splitlines()
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    for attack in record.results.attacks:
        assert str(attack.auc) in rows[attack.name]
        assert f"{attack.queries_per_sample.max:,}" in rows[attack.name]
    assert "lowest FPR is" in rows["gap"]
    for out in record.results.left_out:
        assert out.reason in rows[out.name]
    assert len({line.count("|") for line in rows.values()}) == 1


@pytest.mark.parametrize("name", ["reference models", "a recipe"])
def test_wherever_queries_stand_the_reference_models_and_their_rows_stand_beside(name):
    record = RECORDS[name]
    asked = [row for row in ROW.findall(render(record)) if 'data-figure="queries"' in row]
    assert len(asked) == 3 * len(record.results.attacks)  # Costs, figures, rates.
    for row in asked:
        attack = record.attack(re.search(r'data-attack="([^"]+)"', row)[1])
        assert f'data-figure="references" data-value="{attack.references}"' in row
        assert f"{attack.reference_compute.rows:,}" in row


def test_the_reference_models_are_described_where_there_are_any():
    words = " ".join(" ".join(Page(render(RECORDS["reference models"])).words).split())
    assert "12 reference models of its own: the paper's CNN" in words
    assert "a random half of 5,000 that hold the records asked about" in words
    assert "100 % of the records they were trained on and on 60 % of the others" in words
    assert "16 min 0 s (1,750,000 rows through the models). They were trained as the target was." in words
    assert "2 networks trained on the attacker's own data" in words
    other = changed(RECORDS["reference models"], references=reference_models(alike=False))
    words = " ".join(Page(render(other)).words)
    assert "not trained as the target was" in words
    assert "The training size was guessed." in words
    assert "No reference models" in " ".join(Page(render(RECORDS["six attacks"])).words)


def test_the_attack_that_the_ladder_names_is_marked_in_the_table():
    text = render(RECORDS["reference models"])
    [row] = [row for row in ROW.findall(text) if "named by the ranking" in row]
    assert "</svg>path-estimate<" in row
    assert "named by the ranking" not in render(RECORDS["six attacks"])


def test_of_many_attacks_eight_curves_are_drawn_and_the_table_has_all():
    record = changed(RECORDS["twenty attacks"], choice=choice("an-attack-with-a-long-name-0"))
    attacks = in_order(record.results)
    figure = roc_figure(record.results, attacks, "an-attack-with-a-long-name-3")
    drawn = [name for _, name in figure.legend]
    # The one quoted and the one the ladder names, and then the strongest.
    kept = {f"an-attack-with-a-long-name-{i}" for i in (0, 3, 19, 18, 17)}
    assert {name.removesuffix(" (quoted in the verdict)") for name in drawn} == kept
    assert figure.svg.count('class="curve') == len(drawn)
    assert len(figure.rows) == 20
    mixed = in_order(make_record([*(Recipe(name=f"s{i}", shift=1, access="scores") for i in range(5)), *SIX]).results)
    assert [attack.access for attack in featured(mixed, ["gap"])] == ["label"] * 4 + ["scores"] * 3


def test_many_pairs_are_folded_away_and_none_is_lost():
    record = make_record([Recipe(name=f"a{i}", shift=i / 9) for i in range(8)])
    text = render(record)
    assert "Labels only, compared with one another: 28 pairs" in text
    assert text.count('data-figure="difference"') == len(record.results.differences) == 28


def test_attacks_that_see_confidences_are_one_line_beside_the_queries():
    attacks = in_order(RECORDS["reference models"].results)
    figure = queries_figure(attacks)
    assert [name for _, name in figure.legend][-1] == "lira, 12 models (sees confidences)"
    assert "path-estimate, 12 models" in [name for _, name in figure.legend]
    assert figure.svg.count('class="mark') == 5
    [row] = [row for row in figure.rows if row[0] == "path-estimate"]
    assert row[1:3] == ["8.9", "12 (4,450 rows, 0.4\u00a0s)"]


def test_every_figure_of_a_recipes_report_is_that_of_recipe_json(tmp_path):
    record = make_recipe_record().save(tmp_path)
    kept = json.loads((tmp_path / "recipe.json").read_text())
    cells = Page(render(RecipeRecord.load(tmp_path))).cells
    assert render(RecipeRecord.load(tmp_path)) == render(record)
    for attack in kept["attacks"]:
        for name, estimate in {
            "auc": attack["auc"],
            "spread": attack["spread"],
            **{f"tpr_at_{fpr}": one for fpr, one in attack["tpr_at_fpr"].items()},
        }.items():
            assert cells[attack["name"], name] == ("" if estimate["value"] is None else repr(estimate["value"]))
        assert float(cells[attack["name"], "queries"]) == attack["queries_per_sample"]["mean"]
        assert int(cells[attack["name"], "rows"]) == attack["reference_compute"]["rows"]
    for pair in kept["differences"]:
        if (pair["first"], pair["second"]) != ("gap", "lira"):  # Told as "lira" against gap.
            assert float(cells[f"{pair['first']}-{pair['second']}", "difference"]) == pair["auc"]["value"]


def test_a_recipes_report_draws_one_dot_per_model_on_one_scale():
    record = make_recipe_record(targets=6)
    text = render(record)
    assert text.count('class="strip"') == len(record.results.attacks)
    assert text.count("<circle") == 2 * 6 * len(record.results.attacks)  # In the table and in the figure.
    ends = auc_range(record.results.attacks, *(auc for one in record.results.attacks for auc in one.aucs))
    for one in record.results.attacks:
        assert ends[0] <= min(one.aucs) <= max(one.aucs) <= ends[1]
    places = re.findall(r'cx="([^"]+)"', str(strip([0.5, 0.75, 1.0], 0.5, 1.0)))
    assert [float(place) for place in places] == [5.0, STRIP_WIDTH / 2, STRIP_WIDTH - 5.0]


def test_a_recipes_report_speaks_of_the_recipe_and_not_of_one_model():
    record = make_recipe_record()
    words = " ".join(" ".join(Page(render(record)).words).split())
    assert "membership inference audit of a training recipe" in words
    assert "4 models, each trained on 2,500 records" in words
    assert "Against each model, the attacker has 12 reference models trained alike" in words
    assert "Training all 14 models took 18 min 40 s" in words
    for target in record.results.targets:
        assert f"{100 * target.test_accuracy:.0f} %" in words
    assert "intervals over both models and records" in words
    assert "needs at least 25 queries per sample, the budget is 10" in words
    assert "this one model" not in words


def test_a_recipes_markdown_has_costs_spread_and_the_ladders_choice():
    record = make_recipe_record()
    text = markdown(record)
    for attack in record.results.attacks:
        assert str(attack.auc) in text
        assert f"AUCs {min(attack.aucs):.3f} to {max(attack.aucs):.3f}" in text
    assert "| 8.9 (10) | 12 (4,450 rows, 0.4 s) |" in text
    assert "the attack to choose for what this attacker has is “path-estimate”" in text
    assert "test 0.615 (0.600 to 0.630)" in text
    assert "| boundary | | left out: needs at least 25 queries" in text
    counts = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(set(counts)) == 2  # Two tables.


def test_the_markdown_of_an_audit_tells_what_its_reference_models_cost():
    text = markdown(RECORDS["reference models"])
    assert "| 8.9 (10) | 12 (4,450 rows, 0.4 s) |" in text
    assert "The attacker has: 12 reference models of its own" in text
    assert "the attack to choose for what this attacker has is “path-estimate”" in text
    assert "The attacker has" not in markdown(RECORDS["six attacks"])

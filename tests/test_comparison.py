"""The page of a comparison of defenses: its figures are the record's, its plot and its words say the same."""

import json
import re
from dataclasses import replace

import pytest

from hardlabel.checks import InvalidInput
from hardlabel.kinds import render, write_report
from hardlabel.records.defenses import DEFEND, DefendRecord
from hardlabel.reports.comparison import by_kind, front_figure, numbered, verdict
from hardlabel.runs.folder import SUMS
from records import make_defend_record
from test_report import Page, whole_page


def words(record):
    return " ".join(" ".join(Page(render(record)).words).split())


def test_every_figure_is_that_of_the_record(tmp_path):
    record = make_defend_record().save(tmp_path)
    assert render(DefendRecord.load(tmp_path)) == render(record)
    page = Page(render(record))
    for one in record.results.defenses:
        assert page.cells[one.name, "accuracy"] == repr(one.test_accuracy.value)
        assert page.cells[one.name, "auc"] == repr(one.worst.auc.value)
        for attack in one.attacks:
            mine = f"{one.name}: {attack.title}"
            assert page.cells[mine, "auc"] == repr(attack.auc.value)
            assert page.cells[mine, "tpr"] == ("" if attack.tpr.value is None else repr(attack.tpr.value))
        if one.defense != "none":
            assert page.cells[one.name, "change"] == repr(one.worst.change.value)
            assert page.cells[one.name, "accuracy_change"] == repr(one.accuracy_change.value)
    assert page.cells["dp-sgd 10", "epsilon"] == "9.93"
    assert page.cells["dp-sgd 10", "proved"] == "0.41"
    assert ("l2 0.02", "proved") not in page.cells


@pytest.mark.parametrize("private", [True, False])
def test_the_page_is_whole_and_loads_nothing(private, tmp_path):
    record = make_defend_record(private=private)
    text = render(record)
    whole_page(text)
    assert ("needs Opacus" in text) == (not private)
    assert ("What is promised" in text) == private
    write_report(record, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == text


def test_what_is_recommended_is_the_title_and_the_colour_of_the_first_box():
    record = make_defend_record()
    told = words(record)
    assert "l2 0.02 helps and costs no measurable accuracy" in told
    assert all(line in told for line in record.results.recommendation)
    assert '<section class="verdict none"' in render(record)
    [none, *others] = record.results.defenses

    def left(names):
        kept = [none, *(one for one in others if one.name in names)]
        return record.results.model_copy(update={"defenses": kept})

    assert verdict(left(["dp-sgd 10"])) == ("slight", "dp-sgd 10 helps, at a price")
    # The fall of .01 has the interval [-.03, .01]: it allows a fall of .02, and none.
    few = "Too few models to tell whether a defense helps by 0.02 or more"
    assert verdict(left(["top-k 1"])) == ("not fully tested", few)
    assert few in words(replace(record, results=left(["top-k 1"])))


def test_the_plot_has_a_mark_for_each_and_its_table_says_the_same():
    results = make_defend_record().results
    figure = front_figure(results)
    assert figure.svg.count('class="mark') == len(results.defenses)
    assert figure.svg.count('class="whisker thin') == 2 * len(results.defenses)
    assert figure.svg.count('class="curve front"') == 1
    assert [row[0].split(" ", 1)[1] for row in figure.rows] == [one.name for one in results.defenses]
    assert [row[3] for row in figure.rows] == ["yes" if one.front else "no" for one in results.defenses]
    assert [name for _, name in figure.legend] == ["undefended", "changes the training", "changes the answers"]
    # Numbers in the plot lead to the table: they count its rows, group by group.
    ordered = [one.name for _, group in by_kind(results) for one in group]
    assert numbered(results) == {name: place for place, name in enumerate(ordered, start=1)}


def test_the_front_falls_to_the_left():
    """SVG's y grows downwards: with less accuracy the front lies lower on the page, never higher."""
    figure = front_figure(make_defend_record().results)
    [drawn] = re.findall(r'd="M([^"]+)" class="curve front"', figure.svg)
    points = [tuple(map(float, point.split())) for point in drawn.split("L")]
    assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    assert len(points) >= 3


@pytest.mark.parametrize(("version", "why"), [(1, ""), (99, "; a later version of hardlabel wrote it")])
def test_a_record_of_another_format_is_refused_with_that_reason_alone(tmp_path, version, why):
    make_defend_record().save(tmp_path)
    (tmp_path / SUMS).unlink()
    content = json.loads((tmp_path / DEFEND).read_text())
    (tmp_path / DEFEND).write_text(json.dumps(content | {"format": version}))
    with pytest.raises(InvalidInput) as refused:
        DefendRecord.load(tmp_path)
    told = f"run {str(tmp_path)!r} has record format {version}, this version reads format 2{why}"
    assert str(refused.value) == told


def test_scores_are_kept_and_found_by_defense_and_attack(tmp_path):
    record = DefendRecord.load(make_defend_record().save(tmp_path).folder)
    assert record.scores_of("l2 0.02", "path").shape == record.inside.shape == (4, 120)
    assert (record.scores_of("top-k 1", "path") == record.scores_of("none", "path")).all()
    assert not (record.scores_of("top-k 1", "shadow-network") == record.scores_of("none", "shadow-network")).all()
    with pytest.raises(InvalidInput, match="attack 'lira' was not played on 'none'"):
        record.scores_of("none", "lira")

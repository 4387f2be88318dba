"""The page of an audit by canaries: its figures are the record's, and it never says more than was proved."""

import math
from dataclasses import replace

import pytest

from hardlabel.kinds import render, write_report
from hardlabel.records.canaries import CanaryRecord
from hardlabel.records.verdict import Grade
from hardlabel.reports.canaries import bounds_figure, odds, proved, verdict
from records import make_canary_record
from test_report import Page, whole_page

RECORDS = {
    "one run": make_canary_record(),
    "one run, private": make_canary_record(promise=8.0),
    "a broken promise": make_canary_record(promise=1.0),
    "many runs": make_canary_record(runs=200),
    "many private runs": make_canary_record(runs=200, promise=8.0),
    "labels only": make_canary_record(scores=False),
    "nothing proved": make_canary_record(epsilon=0.0),
}


def words(record):
    return " ".join(" ".join(Page(render(record)).words).split())


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_every_figure_is_that_of_the_record(record, tmp_path):
    record.save(tmp_path)
    text = render(CanaryRecord.load(tmp_path))
    assert text == render(record)
    page = Page(text)
    for one in record.results.bounds:
        assert page.cells[f"{one.kind} {one.access}", "epsilon"] == repr(one.epsilon)
        assert page.cells[f"{one.kind} {one.access}", "right"] == str(one.right)
    promise = record.results.guarantee
    assert page.cells.get(("promise", "epsilon")) == (None if promise is None else repr(promise.epsilon))
    write_report(record, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_page_is_whole_and_loads_nothing(record):
    whole_page(render(record))


@pytest.mark.parametrize(
    ("epsilon", "promise", "grade", "title"),
    [
        (0.0, None, Grade.NOT_TESTED, "Nothing was proved"),
        (0.1, None, Grade.SLIGHT, "Slight leakage was measured"),
        (0.7, None, Grade.CLEAR, "Clear leakage was measured"),  # 1.05 by confidences.
        (2.0, None, Grade.SEVERE, "Severe leakage was measured"),
        (0.1, 8.0, Grade.SLIGHT, "Nothing found breaks the promise"),
        (0.1, 0.12, Grade.SEVERE, "The promise of privacy is broken"),  # Labels keep it, confidences do not.
    ],
)
def test_the_verdict_goes_by_the_highest_bound_over_all_canaries(epsilon, promise, grade, title):
    found = verdict(make_canary_record(epsilon=epsilon, promise=promise).results)
    assert (found.grade, found.title) == (grade, title)


def test_bounds_of_single_kinds_do_not_count():
    results = make_canary_record(epsilon=0.0).results
    raised = [one.model_copy(update={"epsilon": 5.0}) if one.kind != "all" else one for one in results.bounds]
    assert verdict(results.model_copy(update={"bounds": raised})).grade is Grade.NOT_TESTED


def test_what_the_verdict_says():
    told = words(RECORDS["one run, private"])
    assert (
        "With 95 % confidence each, epsilon of this training is at least 1.50 for an attacker who sees labels only"
        in told
    )
    assert "and 2.25 for an attacker who sees confidences" in told
    assert "at 2.25, even odds that a record was trained on may become 9.4 to 1" in told
    assert "The PRV accountant promises that epsilon is at most 8; what was proved from below, 2.25, does not" in told
    assert "one of the 5 in 100 bounds that prove too much" in words(RECORDS["a broken promise"])
    assert "promises nothing" in words(RECORDS["one run"])
    assert "This does not say that the training is private" in words(RECORDS["nothing proved"])
    assert "sees confidences" not in verdict(RECORDS["labels only"].results).headline
    assert "3 of 60" in words(RECORDS["many runs"])


@pytest.mark.parametrize("epsilon", [0.0, 0.004, 0.019, 1.2999, 1.5, 2.25, 2.3026, 9.999])
def test_what_is_shown_is_never_above_what_was_proved(epsilon):
    assert epsilon - 0.01 < float(proved(epsilon)) <= epsilon
    shown = float(odds(epsilon).removesuffix(" to 1").replace(",", ""))
    assert shown <= math.exp(epsilon)
    assert shown >= math.exp(epsilon) - (1 if epsilon > 2.31 else 0.11)


@pytest.mark.parametrize("name", RECORDS)
def test_the_plot_has_a_mark_for_each_bound_and_its_table_says_the_same(name):
    results = RECORDS[name].results
    figure = bounds_figure(results)
    assert figure.svg.count('class="mark') == figure.svg.count('class="whisker thin') == len(results.bounds)
    assert figure.svg.count('class="limit"') == (results.guarantee is not None)
    assert [row[0] for row in figure.rows] == [one.kind for one in results.bounds]
    assert [row[2] for row in figure.rows] == [proved(one.epsilon) for one in results.bounds]
    assert len(figure.legend) == len({one.access for one in results.bounds})


def test_a_kind_of_the_users_own_is_shown():
    record = make_canary_record()
    results = record.results.model_copy(update={"canaries": {"<odd>": 3}})
    assert "&lt;odd&gt;" in render(replace(record, results=results))

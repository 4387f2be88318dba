"""What is printed is data: no name adds a row to a table, a tag to a page or a command to a terminal."""

import functools
import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hardlabel import printed
from hardlabel.checks import InvalidInput
from hardlabel.cli import lists, progress
from hardlabel.kinds import markdown, render
from hardlabel.records.exposure import GroupRisk
from hardlabel.records.model import Choice, LeftOut
from hardlabel.reports.summary import parts
from hardlabel.reports.text import table_of
from records import Recipe, make_canary_record, make_defend_record, make_recipe_record, make_record

PLANTED = (
    "a |\n| forged | row | 0.999 |",
    "[red]no colour[/red] [link=http://x]x[/link]",
    "<script>alert(1)</script>",
    "clears \x1b[2J the screen",
    "back\rover \x08\x9b2J",
    "turned \u202e round",
    "![picture](http://tracker) [link](javascript:alert)",
    "**Nothing found.** `code` ~~out~~",
    "&lt;b&gt; \\| \\",
    ":smile:",
    "half \ud800",
)
CELL = re.compile(r"(?<!\\)(?:\\\\)*\|")  # A pipe that ends a cell: no odd number of backslashes before it.


def harmless(text):
    """No control character besides line ends, and none that turns the direction of text."""
    return not [
        mark for mark in text if mark != "\n" and (unicodedata.category(mark) in ("Cc", "Cs") or mark in "\u202e\u2028")
    ]


def planted(record, value):
    """The record with the value wherever others choose a text."""
    results = record.results
    changes = {"data": value, "left_out": [LeftOut(name=value, reason=value)]}
    if hasattr(results, "description"):
        changes["description"] = value
    if hasattr(results, "target"):
        changes["target"] = results.target.model_copy(update={"description": value})
    if hasattr(results, "groups"):
        attack = results.attacks[0]
        risk = {"members": 20, "nonmembers": 20, "auc": attack.auc, "enough": True}
        wanted = {name: risk[name] for name in GroupRisk.model_fields if name in risk}
        group = GroupRisk.model_construct(slice=value, group=value, attack=attack.name, **wanted)
        changes["groups"] = [group]
        changes["attacks"] = [attack.model_copy(update={"name": value}), *results.attacks[1:]]
    if hasattr(results, "choice"):
        changes["choice"] = Choice(attack=f"{value} ", queries=10, why=value)  # Not run: the verdict speaks of it.
    if hasattr(results, "defenses"):
        changes["defenses"] = [
            one.model_copy(update={"changes": [value]} if one.changes else {}) for one in results.defenses
        ]
    known = {name: value for name, value in changes.items() if name in type(results).model_fields}
    return type(record)(results=results.model_copy(update=known), scores=record.scores, config=record.config)


@functools.cache
def made(make):
    return make()


@functools.cache
def usual_markdown(make):
    return markdown(planted(made(make), "plain"))


@functools.cache
def usual_page(make):
    return render(planted(made(make), "plain"))


RECORDS = (make_record, make_recipe_record, make_canary_record, make_defend_record)


@pytest.mark.parametrize("value", PLANTED)
@pytest.mark.parametrize("make", RECORDS)
def test_a_name_adds_neither_rows_nor_markup_to_markdown(make, value):
    usual, forged = usual_markdown(make), markdown(planted(made(make), value))
    assert len(forged.splitlines()) == len(usual.splitlines())
    for before, after in zip(usual.splitlines(), forged.splitlines(), strict=True):
        assert len(CELL.findall(after)) == len(CELL.findall(before)) or not before.startswith("|")
    assert harmless(forged)
    assert "<script" not in forged
    assert "](http" not in forged
    assert "](javascript" not in forged
    if "**" in value:
        assert value not in forged


def test_a_name_in_a_verdicts_reasons_is_no_markup():
    record = planted(make_record([Recipe(name="other", shift=0.0)]), "**Nothing found** <script>")
    assert any("**Nothing" in reason for reason in record.reasons)
    assert "**Nothing" not in markdown(record)
    assert "<script" not in markdown(record)


@pytest.mark.parametrize("value", PLANTED)
@pytest.mark.parametrize("make", RECORDS)
def test_a_name_adds_no_tag_to_a_page(make, value):
    page, usual = render(planted(made(make), value.replace("\ud800", "?"))), usual_page(make)
    for tag in ("<script", "<b>", "<img", "<a "):
        assert page.count(tag) == usual.count(tag)


@pytest.mark.parametrize("value", PLANTED)
@pytest.mark.parametrize("make", [make_record, make_recipe_record])
def test_a_terminal_shows_names_as_they_are(make, value, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, width=400, markup=False, emoji=False, highlight=False)
    monkeypatch.setattr(progress, "errors", console)
    for part in parts(planted(made(make), value), 400):
        progress.say(part) if isinstance(part, str) else Console(file=screen, width=400).print(part)
    told = screen.getvalue()
    assert harmless(told)
    assert told.count(printed.line(value).strip()) >= 3  # Left out twice, and its row.


@pytest.mark.parametrize("value", PLANTED)
def test_bar_messages_and_tables_show_names_as_they_are(value, monkeypatch, capsys):
    screen = io.StringIO()
    console = Console(
        file=screen, width=400, markup=False, emoji=False, highlight=False, force_terminal=True, color_system=None
    )
    monkeypatch.setattr(progress, "errors", console)
    with progress.Bar() as bar:
        bar.stage(value, 10, "rows")
        bar.detail(value)
        bar.say(value)
    told = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "")  # The bar's own.
    assert harmless(told)
    assert told.count(printed.line(value).strip()) >= 3
    lists.print_table(value, [value, "b"], [[value, "b"]])
    shown = capsys.readouterr().out
    assert harmless(shown)
    assert not re.search(r"[\x1b\x9b]", shown)


def test_results_and_errors_hold_no_control_characters(capsys):
    for value in PLANTED:
        progress.put(value)
        progress.say(value)
        error = str(InvalidInput(f"column {value} is unknown"))
        assert harmless(error)
        assert "\n" not in error
    told = capsys.readouterr()
    assert harmless(told.out)
    assert harmless(told.err)


def test_a_long_error_is_cut():
    assert len(str(InvalidInput("a" * 10**6))) == 4000


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=2), max_size=3))
def test_a_table_has_as_many_rows_and_cells_whatever_they_hold(rows):
    told = table_of(["a", "b"], rows).split("\n")
    assert len(told) == 2 + len(rows)
    for line in told:
        assert len(CELL.findall(line)) == 3
        assert harmless(line)


@given(st.text(alphabet=st.sampled_from("|\\*_`~<&[](!a1 ;#"), max_size=12))
def test_a_cell_reads_as_what_it_was(text):
    """Backslashes before punctuation, and two entities, undone as Markdown does."""
    told = printed.cell(text)
    entities = {"&lt;": "<", "&amp;": "&"}
    read = re.sub(r"\\([!-/:-@\[-`{-~])|&lt;|&amp;", lambda found: found[1] if found[1] else entities[found[0]], told)
    assert read == text


def test_usual_figures_stay_as_they_are():
    for text in ("0.512 [0.412, 0.550]", "path-estimate", "hours_per_week", "<0.01 %", "R&D", "1,000 (2,500)", "-0.03"):
        assert printed.cell(text) == text

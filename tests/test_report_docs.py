"""docs/reading-a-report.md and docs/standards.md speak of what the page has; links between documents lead somewhere."""

import inspect
import re
from pathlib import Path

import pytest
import typer

from hardlabel.cli import app as cli
from hardlabel.kinds import render
from hardlabel.metrics.estimate import Estimate
from hardlabel.records import canaries, recommendation
from hardlabel.records.effects import LEAST
from hardlabel.records.verdict import CLEAR_AUC, CLEAR_GAIN, SEVERE_AUC, SEVERE_FPR, SEVERE_GAIN, TITLES, Grade
from hardlabel.reports import glossary, html
from hardlabel.reports.contents import sections
from hardlabel.reports.questions import QUESTIONS, found_words
from hardlabel.reports.wording import SPACE, percent
from records import SIX, make_record, shadow_model

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
READING = (ROOT / "docs" / "reading-a-report.md").read_text(encoding="utf-8")
STANDARDS = (ROOT / "docs" / "standards.md").read_text(encoding="utf-8")
FRAMES = {frame.kicker: frame for frame in (html.MODEL, html.RECIPE, html.DEFENSES, html.CANARIES)}
LINK = re.compile(r"\]\(([^()\s]+)\)")


def section(text, title):
    """What stands under a heading, up to the next one of its level."""
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)[1]


def rows(text):
    """The cells of the first table, without its head."""
    table = re.search(r"((?:^\|.*\n)+)", text, flags=re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()[2:]]


def bold(cell):
    return re.search(r"\*\*(.+?)\*\*", cell)[1]


def quoted(text):
    return re.findall(r'"([^"]+)"', " ".join(text.split()))


def slugs(text):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(path):
    """The links of a document that lead nowhere."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lost = []
    for link in LINK.findall(text):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and anchor not in slugs(target.read_text(encoding="utf-8"))):
            lost.append(link)
    return lost


def test_the_table_of_results_has_every_title_and_no_other():
    assert sorted(bold(row[0]) for row in rows(section(READING, "The result"))) == sorted(TITLES.values())


def test_grey_are_the_results_that_are_no_grades():
    grey = {bold(row[0]) for row in rows(section(READING, "The result")) if "(grey)" in row[0]}
    assert grey == {TITLES[Grade.NO_VERDICT], TITLES[Grade.NOT_TESTED]}


def test_the_limits_of_the_grades_are_those_of_the_code():
    says = {bold(row[0]): row[1] for row in rows(section(READING, "The result"))}
    severe = f"AUC of at least {SEVERE_AUC} is proven, or {SEVERE_GAIN} times the members that guessing finds at "
    assert severe + percent(SEVERE_FPR).replace(SPACE, " ") in says[TITLES[Grade.SEVERE]]
    assert f"AUC of at least {CLEAR_AUC} is proven, or {CLEAR_GAIN} times" in says[TITLES[Grade.CLEAR]]


def test_the_five_questions_stand_in_the_order_of_the_page():
    assert [bold(row[0]) for row in rows(section(READING, "The five questions"))] == list(QUESTIONS.values())


def test_the_main_figure_is_worded_as_the_page_words_it():
    for estimate, fpr in ((Estimate(0.353, 0.123, 0.492), "0.1"), (Estimate(0.65, 0.58, 0.74), "0.01")):
        assert f'"{found_words(estimate, fpr)}'.replace(SPACE, " ") in section(READING, "How to read a figure")


def test_every_part_of_the_page_is_explained_and_no_other():
    parts = [row[0] for row in rows(section(READING, "The parts of the page"))]
    assert parts == [f"{part.mark} **{part.title}**" for part in sections().values()]
    page = render(make_record(SIX, shadow=shadow_model()))
    for part in sections().values():
        assert f'<span class="mark">{part.mark}</span> {part.title}</h2>' in page
    assert "I have read the findings and the limits" in page


def test_words_are_those_of_the_glossary():
    titles = {glossary.TERMS[name][0] for name in glossary.AUDIT}
    words = [bold(row[0]) for row in rows(section(READING, "Words that decide"))]
    assert len(words) > 9
    assert set(words) <= titles


def test_every_kind_of_page_is_explained_with_the_parts_that_it_lacks():
    kinds = {row[0]: row[-1] for row in rows(section(READING, "The four kinds of page"))}
    assert kinds.keys() == FRAMES.keys()
    for first_line, frame in FRAMES.items():
        lacking = {sections()[name].title for name in frame.without}
        assert set(re.findall(r"“(.+?)”", kinds[first_line])) == lacking


def test_what_other_pages_say_is_quoted_as_they_say_it():
    source = inspect.getsource(recommendation) + inspect.getsource(canaries)
    quotes = quoted(re.search(r"^- \*\*Defenses\*\*.*?(?=^- Two)", READING, flags=re.DOTALL | re.MULTILINE)[0])
    assert len(quotes) == 6
    for quote in quotes:
        assert quote in source.replace("{LEAST:g}", f"{LEAST:g}"), quote


def test_every_command_and_option_exists():
    commands = typer.main.get_command(cli.app).commands
    options = {option for command in commands.values() for parameter in command.params for option in parameter.opts}
    for text in (READING, STANDARDS):
        code = " ".join(re.findall(r"`([^`\n]+)`", text))
        assert set(re.findall(r"(?<!\S)--[a-z-]+", code)) <= options
        assert set(re.findall(r"hardlabel ([a-z]+)", code)) <= set(commands)


def test_standards_name_the_parts_of_the_page():
    named = dict(re.findall(r"\b([1-9A-E]) ([A-Z][a-z]+(?: [a-z]+)*)", STANDARDS.split("## ")[0]))
    assert named == {part.mark: re.split("[:,]", part.title)[0] for part in sections().values() if part.mark != "D"}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    assert broken(path) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    (tmp_path / "other.md").write_text("# Two words, here\n", encoding="utf-8")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#two-words-here) [b](other.md#gone) [c](gone.md) `[d](code.md)`", encoding="utf-8")
    assert broken(page) == ["other.md#gone", "gone.md"]

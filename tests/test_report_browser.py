"""The report as a reader gets it: opened as a file in Chromium, wide and narrow, light and dark, on paper."""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from hardlabel.kinds import write_report
from hardlabel.records.compared import compare
from hardlabel.reports.compared import comparison_page
from hardlabel.reports.pdf import write_pdf
from hardlabel.store import Store
from hardlabel.viewer.runs import Runs
from hardlabel.viewer.server import viewing
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
)
from test_report import undefined_everywhere

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
RECORDS = {
    "six": make_record(SIX, shadow=shadow_model(), differs=True),
    "undefined": undefined_everywhere(),
    "references": changed(
        make_record([*CALIBRATED, *(Recipe(name=f"attack-{i}", shift=i / 9, mean=i + 1, most=30) for i in range(12))]),
        references=reference_models(),
        choice=choice(),
    ),
    "comparison": make_defend_record(),
    "canaries": make_canary_record(promise=8.0),
    "recipe": make_recipe_record(),
}

# WCAG 2.2: relative luminance and contrast of every visible text with the first opaque background behind it.
CONTRASTS = """() => {
  const rgb = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = rgb(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error("no background");
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    const style = getComputedStyle(node);
    const ink = light(rgb(node.closest("svg") ? style.fill : style.color)), paper = light(behind(node));
    found.push([(Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05), walker.currentNode.data.trim()]);
  }
  return found;
}"""

OPEN = "document.querySelectorAll('details').forEach(part => part.open = true)"
ANSWERS = ("leaking", "compared", "risk", "steps", "rely")
FIRST_SCREEN = (1280, 800)
PAGES = re.compile(rb"/Type\s*/Page\b")
FINDINGS_ONLY = "document.querySelectorAll('.appendix, footer').forEach(part => part.remove())"

WIDER = """() => [...document.querySelectorAll('main *')]
  .filter(part => part.getBoundingClientRect().right > innerWidth + 1 && !part.closest('.scroll, pre, .hidden'))
  .map(part => part.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module", params=RECORDS, ids=list(RECORDS))
def report(request, tmp_path_factory):
    """A record and the file of its report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(RECORDS[request.param], path)
    return RECORDS[request.param], path


@pytest.fixture
def opened(browser, report):
    """Opens the report, wide and light unless told otherwise; fails on any error or request but for the file."""
    record, path = report
    faults, contexts = [], []

    def open_page(width=1280, scheme="light", height=900, script=True):
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=script
            )
        )
        page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"page error: {error}"))
        page.on("request", lambda sent: faults.append(sent.url) if sent.url != path.as_uri() else None)
        page.goto(path.as_uri())
        return page

    yield record, open_page
    for context in contexts:
        context.close()
    assert faults == []


def test_it_shows_the_figures_of_results_json(opened):
    record, open_page = opened
    page = open_page()
    page.evaluate(OPEN)
    results = json.loads(record.results.model_dump_json())
    figure, digits = ("epsilon", 2) if "bounds" in results else ("auc", 3)
    if "bounds" in results:
        kind = "Canary audit"
        values = {f"{one['kind']} {one['access']}": one["epsilon"] for one in results["bounds"]}
    elif "defenses" in results:
        kind, values = "Defenses compared", {one.name: one.worst.auc.value for one in record.results.defenses}
    else:
        kind = "Recipe audit" if "targets" in results else "Membership audit"
        values = {attack["name"]: attack["auc"]["value"] for attack in results["attacks"]}
    for name, value in values.items():
        cell = page.locator(f'td[data-attack="{name}"][data-figure="{figure}"]')
        assert cell.count() == 1
        assert cell.get_attribute("data-value") == ("" if value is None else repr(value))
        shown = f"{value:.{digits}f}" if value is not None else "undefined"
        assert shown in cell.inner_text()
    assert page.title() == f"{kind}: {results['data']}"
    assert page.locator("main").count() == page.locator("h1").count() == 1


def test_the_first_screen_answers_five_questions_in_both_schemes(opened):
    _, open_page = opened
    page = open_page(FIRST_SCREEN[0], height=FIRST_SCREEN[1])
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name in ANSWERS:
            box = page.locator(f"#answer-{name}").bounding_box()
            assert 0 < box["y"] < box["y"] + box["height"] <= FIRST_SCREEN[1], name
        assert page.locator("#verdict").bounding_box()["y"] < 100
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_findings_print_on_four_pages_and_appendices_are_open_on_paper(opened):
    _, open_page = opened
    page = open_page()
    whole = len(PAGES.findall(page.pdf(prefer_css_page_size=True)))
    page.emulate_media(media="print")
    for section in page.locator(".appendix .inside").all():
        assert section.bounding_box()["height"] > 20
    assert page.evaluate("getComputedStyle(document.querySelector('.appendix')).breakBefore") == "page"
    page.emulate_media(media=None)
    page.evaluate(FINDINGS_ONLY)
    findings = len(PAGES.findall(page.pdf(prefer_css_page_size=True)))
    assert 1 <= findings <= 4
    assert whole > findings


def test_the_page_never_scrolls_sideways(opened):
    _, open_page = opened
    page = open_page()
    page.evaluate(OPEN)
    for width in (320, 360, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # Nothing is cut off either: whatever is wider than the page lies in a container that scrolls.
        assert page.evaluate(WIDER) == []


def test_all_text_has_the_contrast_of_wcag_aa_in_both_schemes(opened):
    _, open_page = opened
    page, backgrounds = open_page(), set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(OPEN)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 50
        assert [(ratio, text) for ratio, text in contrasts if ratio < 4.5] == []
    assert len(backgrounds) == 2


def test_lines_and_marks_stand_out_from_the_page_in_both_schemes(opened):
    _, open_page = opened
    page = open_page()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        drawn = page.evaluate(
            """() => [...document.querySelectorAll('figure > svg .curve, figure > svg .mark, figure > svg .outline')]
                 .map(part => getComputedStyle(part).stroke)"""
        )
        paper = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for colour in set(drawn):
            ink = luminance(colour)
            assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) >= 3  # WCAG 1.4.11, graphics.


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_picture_region_and_table_has_a_name(opened):
    _, open_page = opened
    page = open_page()
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("svg:not([aria-hidden=true]):not([role=img][aria-label])").count() == 0
    assert page.locator("[role=region]:not([aria-label])").count() == 0
    assert page.locator("section:not([aria-labelledby])").count() == 0
    assert page.evaluate("[...document.querySelectorAll('table')].every(table => table.caption?.textContent)")
    assert page.locator("th:not([scope])").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('[aria-labelledby]')].every(part => "
        "document.getElementById(part.getAttribute('aria-labelledby')))"
    )


def test_text_in_figures_stays_readable_on_a_phone(opened):
    _, open_page = opened
    page = open_page(360)
    page.evaluate(OPEN)
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('figure > svg')].map(svg =>
             svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
             * parseFloat(getComputedStyle(svg.querySelector('text')).fontSize))"""
    )
    assert all(size >= 9 for size in sizes)  # CSS pixels, a newspaper's small print.


def test_it_prints_on_paper_in_light_colours(opened):
    _, open_page = opened
    page = open_page(scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 680, "height": 1000})  # A4 less the margins, 180 mm at 96 pixels per inch.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_wide_table_says_on_a_phone_that_it_scrolls(opened):
    _, open_page = opened
    hint = "[...document.querySelectorAll('.wide caption')].map(part => getComputedStyle(part, '::after').content)"
    page = open_page(1280)
    assert all("scrolls sideways" not in content for content in page.evaluate(hint))
    page.set_viewport_size({"width": 390, "height": 900})
    assert all("scrolls sideways" in content for content in page.evaluate(hint))
    # Whatever is wider than the phone has the hint, but for the tables folded away behind the plots.
    page.evaluate(OPEN)
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll:not(.wide)')].every("
        "part => part.closest('figure') || part.scrollWidth <= part.clientWidth)"
    )


def test_rows_on_a_phone_are_no_taller_than_three_lines(opened):
    record, open_page = opened
    page = open_page(390)
    page.evaluate(OPEN)
    attacks = getattr(record.results, "attacks", None)
    if attacks is not None and all(attack.auc.value is None for attack in attacks):
        return  # Reasons for undefined figures take what they need.
    tall = page.evaluate(
        """() => [...document.querySelectorAll('.main tbody tr, .rates tbody tr')]
             .filter(row => row.getBoundingClientRect().height > 4 * parseFloat(getComputedStyle(row).lineHeight))
             .map(row => row.innerText)"""
    )
    assert tall == []


# --- the script, on one page ---


@pytest.fixture
def scripted(browser, tmp_path):
    """Opens the page with many attacks, with or without a script."""
    path = tmp_path / "report.html"
    write_report(RECORDS["references"], path)
    contexts, faults = [], []

    def open_page(fragment="", *, script=True):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=script))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.goto(path.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def column(page, place):
    """The exact figures in a column of the main table, group by group."""
    return page.evaluate(
        """place => [...document.querySelector('#attacks table.main').tBodies].map(body =>
             [...body.querySelectorAll('tr:not(.group)')].map(row => parseFloat(row.cells[place].dataset.value)))""",
        place,
    )


def test_tables_sort_within_their_groups_and_filter(scripted):
    page = scripted("#attacks")
    page.locator("#attacks table.main thead th").nth(2).locator("button").click()
    for down in (True, False):
        for group in column(page, 2):
            assert group == sorted(group, reverse=down)
        heading = page.locator("#attacks table.main thead th").nth(2)
        assert heading.get_attribute("aria-sort") == ("descending" if down else "ascending")
        heading.locator("button").click()
    box = page.locator("#attacks .filter input").first
    box.fill("attack-1")
    shown = page.locator("#attacks table.main tbody tr:not(.group):visible th").all_inner_texts()
    assert {name.strip().split("\n")[0] for name in shown} == {"attack-1", "attack-11", "attack-10"}
    assert page.locator("#attacks .filter [role=status]").first.inner_text() == "3 of 20 rows"
    box.fill("")
    assert page.locator("#attacks table.main tbody tr:not(.group):visible").count() == 20


def test_a_mark_shows_its_value_under_the_pointer(scripted):
    page = scripted()
    page.locator("#findings ~ .figures figure .mark").first.hover()
    tip = page.locator(".tip")
    tip.wait_for(state="visible")
    assert re.search(r": 0\.\d{3} \[", tip.inner_text())
    page.mouse.move(0, 0)
    tip.wait_for(state="hidden")


@pytest.mark.parametrize("script", [True, False])
def test_a_link_opens_the_folded_section_that_it_leads_to(scripted, script):
    page = scripted(script=script)
    target = page.locator("#term-auc")
    assert not target.is_visible()
    page.locator('#risk ~ * a[href="#term-blind"], section a[href="#term-blind"]').first.click()
    page.locator("#term-blind").wait_for(state="visible")
    assert target.is_visible()


def test_without_a_script_everything_can_be_read(scripted):
    page = scripted(script=False)
    for summary in page.locator(".appendix > summary").all():
        summary.click()
    for section in page.locator(".appendix .inside").all():
        assert section.is_visible()
    assert page.locator("button, input").count() == 0
    assert page.locator("figure svg .mark title").count() > 20  # The browser's own tooltips.


def test_the_figures_can_be_saved_as_files(scripted):
    page = scripted()
    for ending in ("json", "csv"):
        with page.expect_download() as download:
            page.locator(f'.files a[download$=".{ending}"]').click()
        record = RECORDS["references"]
        assert download.value.suggested_filename == f"hardlabel-{record.id}.{ending}"
        with open(download.value.path(), encoding="utf-8") as file:
            content = file.read()
        if ending == "json":
            assert content == record.results.model_dump_json(indent=1)
        else:
            assert len(content.splitlines()) == 1 + len(record.results.attacks)


def test_the_installed_browser_prints_a_pdf(browser, tmp_path):
    write_pdf(RECORDS["canaries"], tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(PAGES.findall(content)) >= 3
    assert [path.name for path in tmp_path.iterdir()] == ["report.pdf"]


# --- the rules of axe-core, which npm fetches ---


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The file of axe-core."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    place = tmp_path_factory.mktemp("axe")
    subprocess.run([npm, "pack", "axe-core@4", "--silent"], cwd=place, check=True, timeout=120)
    with tarfile.open(next(place.glob("axe-core-*.tgz"))) as archive:
        archive.extract("package/axe.min.js", place, filter="data")
    return place / "package" / "axe.min.js"


@pytest.fixture
def serious(browser, axe):
    """Finds what is serious or critical on a page, wide and narrow, with all sections open."""

    def find(address, scheme):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True)
        page = context.new_page()
        page.goto(address)
        page.evaluate(OPEN)
        page.add_script_tag(path=axe)
        faults = []
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
            assert found["passes"], address  # The rules were applied.
            faults += [
                (fault["id"], fault["nodes"][0]["html"][:200])
                for fault in found["violations"]
                if fault["impact"] in ("serious", "critical")
            ]
        context.close()
        return faults

    return find


SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


@pytest.mark.long
@SCHEMES
@pytest.mark.parametrize("name", RECORDS)
def test_axe_finds_no_serious_fault_in_a_report(serious, tmp_path, name, scheme):
    path = tmp_path / "report.html"
    write_report(RECORDS[name], path)
    assert serious(path.as_uri(), scheme) == []


@pytest.mark.long
@SCHEMES
@pytest.mark.parametrize("name", ["versions", "undefined", "recipe", "comparison", "canaries"])
def test_axe_finds_no_serious_fault_where_runs_are_compared(serious, tmp_path, name, scheme):
    records = [make_record(SIX, seed=seed) for seed in range(3)] if name == "versions" else [RECORDS[name]] * 2
    path = tmp_path / "changes.html"
    path.write_text(comparison_page(compare(*records)), encoding="utf-8")
    assert serious(path.as_uri(), scheme) == []


@pytest.mark.long
@SCHEMES
def test_axe_finds_no_serious_fault_in_the_viewer(serious, tmp_path, scheme):
    """The list, filtered and empty lists, a report, two runs compared, and the page of what cannot be found."""
    runs = tmp_path / "runs"
    for name in ("six", "recipe", "comparison", "canaries"):
        RECORDS[name].save(runs / name)
    make_record(SIX, seed=1).save(runs / "later")
    (runs / "broken").mkdir()
    (runs / "broken" / "config.yaml").write_text("kind: model\n")
    shown = Runs(runs, Store(tmp_path / "store"))
    keys = {row.name: row.key for row in shown.rows()}
    with viewing(shown) as viewer:
        for path in (
            *("", "?q=canaries", "?q=nothing-has-this", "nowhere"),
            f"run/{keys['six']}",
            f"compare?first={keys['six']}&second={keys['later']}",
        ):
            assert serious(viewer.url + path, scheme) == [], path


@pytest.mark.long
def test_axe_would_find_a_fault(serious, tmp_path):
    path = tmp_path / "faulty.html"
    path.write_text('<!DOCTYPE html><html lang="en"><title>A</title><main><h1>A</h1><input type="radio"></main></html>')
    assert ("label", '<input type="radio">') in serious(path.as_uri(), "light")

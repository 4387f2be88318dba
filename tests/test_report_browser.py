"""The report as a reader gets it: opened as a file in Chromium, wide and narrow, light and dark, on paper."""

import json
import shutil
from collections.abc import Iterator

import pytest

from hardlabel.kinds import write_report
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
    "none": make_record(()),
    "references": changed(
        make_record([*CALIBRATED, *(Recipe(name=f"attack-{i}", shift=i / 9, mean=i + 1, most=30) for i in range(12))]),
        references=reference_models(),
        choice=choice(),
    ),
    "comparison": make_defend_record(),
    "canaries": make_canary_record(promise=8.0),
    "recipe": make_recipe_record(),
    "recipe whose choice is another": make_recipe_record(named="augmentation"),
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

    def open_page(width=1280, scheme="light"):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme))
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


def test_the_page_never_scrolls_sideways(opened):
    _, open_page = opened
    page = open_page()
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
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
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
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
    sizes = page.evaluate(
        """() => [...document.querySelectorAll('figure > svg')].map(svg =>
             svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
             * parseFloat(getComputedStyle(svg.querySelector('text')).fontSize))"""
    )
    assert all(size >= 9 for size in sizes)  # CSS pixels, a newspaper's small print.


def test_it_prints_on_paper_in_light_colours(opened):
    _, open_page = opened
    page = open_page(scheme="dark")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.set_viewport_size({"width": 680, "height": 1000})  # A4 less the margins, 180 mm at 96 pixels per inch.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_wide_table_says_on_a_phone_that_it_scrolls(opened):
    _, open_page = opened
    hint = "[...document.querySelectorAll('.wide caption')].map(part => getComputedStyle(part, '::after').content)"
    assert all("scrolls sideways" in content for content in open_page(390).evaluate(hint))
    assert all("scrolls sideways" not in content for content in open_page(1280).evaluate(hint))
    # Whatever is wider than the phone has the hint, but for the tables folded away behind the plots.
    page = open_page(390)
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll:not(.wide)')].every("
        "part => part.closest('details') || part.scrollWidth <= part.clientWidth)"
    )


def test_rows_on_a_phone_are_no_taller_than_three_lines(opened):
    record, open_page = opened
    page = open_page(390)
    attacks = getattr(record.results, "attacks", None)
    if attacks is not None and all(attack.auc.value is None for attack in attacks):
        return  # Reasons for undefined figures take what they need.
    tall = page.evaluate(
        """() => [...document.querySelectorAll('.main tbody tr, .rates tbody tr')]
             .filter(row => row.getBoundingClientRect().height > 4 * parseFloat(getComputedStyle(row).lineHeight))
             .map(row => row.innerText)"""
    )
    assert tall == []

"""The page on paper: the same report as a PDF, printed by an installed browser, or by WeasyPrint."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.records.base import Record
from hardlabel.records.canaries import CanaryRecord
from hardlabel.records.defenses import DefendRecord
from hardlabel.records.model import AuditRecord
from hardlabel.records.recipe import RecipeRecord
from hardlabel.reports.html import canaries_page, defenses_page, model_page, recipe_page
from hardlabel.reports.svg import COLOURS, LIGHT
from hardlabel.store import result_file

BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"),
    *("msedge", "brave-browser"),
)
SECONDS = 120.0  # A browser that has not printed by then never will.
STARTS_WITH = b"%PDF-"
DRAWING = re.compile(r"<svg [^>]*>")
RULE = re.compile(r"(?:^|(?<=\} ))svg ([.\w][^{}\n]*\{[^{}]*\})", re.MULTILINE)
VALUE, VARIABLE = re.compile(r"--([\w-]+): ([^;]+);"), re.compile(r"var\(--([\w-]+)\)")
PAGES: Mapping[type[Record[Any]], Any] = {
    AuditRecord: model_page,
    RecipeRecord: recipe_page,
    DefendRecord: defenses_page,
    CanaryRecord: canaries_page,
}


def write_pdf(record: Record[Any], path: str | Path) -> None:
    """Writes the report of a record as a PDF, whole or not at all, and makes missing folders.

    An installed Chromium, Chrome or Edge prints it. It gets a profile of its own that is removed afterwards, and
    no network; it runs no script but the page's own. Without a browser WeasyPrint prints it (the extra `pdf`).

    Args:
        record: A record from `audit`, `audit_recipe`, `defend`, `audit_canaries` or `load`.
        path: The file.

    Raises:
        InvalidInput: There is no such record, nothing that can print it, or the file cannot be written.
        OSError: The disk is full.

    Example:
        >>> import hardlabel
        >>> from hardlabel.reports.pdf import write_pdf
        >>> write_pdf(hardlabel.load("runs/digits"), "report.pdf")  # doctest: +SKIP
    """
    checks.path(path=path)
    page = next((draw(record) for kind, draw in PAGES.items() if isinstance(record, kind)), None)
    if page is None:
        raise InvalidInput(f"record must be a record of an audit, got {checks.shown(record)}")
    path = Path(path)
    browser = _browser()
    if browser is None and importlib.util.find_spec("weasyprint") is None:
        raise InvalidInput(
            "pdf needs an installed browser (Chromium, Chrome or Edge) or WeasyPrint: install one of them, for example "
            "with pip install 'hardlabel[pdf]', or print report.html from any browser"
        )
    with (
        result_file("path", path),
        # Beside the result: browsers in containers of their own often see no other place.
        tempfile.TemporaryDirectory(prefix="hardlabel-pdf-", dir=path.parent, ignore_cleanup_errors=True) as folder,
    ):
        made = Path(folder) / "report.pdf"
        if browser is not None:
            _printed(browser, page, Path(folder), made)
        else:
            _set(page, made)
        os.replace(made, path)


def _browser() -> str | None:
    return next((found for name in BROWSERS if (found := shutil.which(name)) is not None), None)


def _printed(browser: str, page: str, folder: Path, made: Path) -> None:
    """Lets a browser print the page; it must have ended before its profile is removed."""
    source = folder / "report.html"
    source.write_text(page, encoding="utf-8")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    words = [
        browser,
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-default-browser-check",
        "--host-resolver-rules=MAP * ~NOTFOUND",  # The page loads nothing; nor shall the browser.
        f"--user-data-dir={(folder / 'profile').absolute()}",
        "--no-pdf-header-footer",
        f"--print-to-pdf={made.absolute()}",
        *(["--no-sandbox"] if root else []),  # A browser started by root refuses to run with it.
        source.absolute().as_uri(),
    ]
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        try:
            code = running.wait(SECONDS)
        except BaseException as error:
            _end(running)
            if isinstance(error, subprocess.TimeoutExpired):
                raise InvalidInput(
                    f"pdf must be printed within {SECONDS:g} seconds, {Path(browser).name} needed longer: print "
                    "report.html from a browser"
                ) from error
            raise
    if code != 0 or not made.is_file() or not made.read_bytes().startswith(STARTS_WITH):
        raise InvalidInput(
            f"pdf must be printed by {Path(browser).name}, which ended with code {code} and no PDF: print report.html "
            "from a browser"
        )


def _end(running: "subprocess.Popen[bytes]") -> None:
    """Ends a browser and the processes that it began."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(running.pid, signal.SIGKILL)
        else:
            running.kill()
    running.wait()


def _set(page: str, made: Path) -> None:
    """Sets the page by WeasyPrint, which loads nothing but data inside the page."""
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    text = DRAWING.sub(lambda opened: f"{opened[0]}<style>{_drawn()}</style>", page)
    HTML(string=text, url_fetcher=URLFetcher(allowed_protocols=["data"])).write_pdf(str(made))


@cache
def _drawn() -> str:
    """The page's rules for drawings in light colours, for a program that gives drawings no rules of the page."""
    css = files("hardlabel.reports").joinpath("report.css").read_text(encoding="utf-8")
    # The first value of each is that of light colours.
    values = dict(reversed(VALUE.findall(css)))
    values |= {f"c{place}": colour for place, colour in enumerate(LIGHT, start=1)}
    rules: list[str] = RULE.findall(css)
    for place in range(1, COLOURS + 1):
        here = f".c{place} {{ color: var(--c{place}); fill: var(--c{place}); stroke: var(--c{place}) }}"
        rules.insert(0, here)
    rules += [".curve, .whisker, .grid, .chance, .limit, .leader { fill: none }", ".bar { stroke: none }"]
    text = " ".join(rules).replace(", svg ", ", ").replace("fill: currentColor;", "")
    text = text.replace("stroke: currentColor;", "")
    return VARIABLE.sub(lambda used: values[used[1]], text)

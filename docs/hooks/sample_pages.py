"""MkDocs hook: adds the sample reports to the site, and links to them from the page that explains them.

They are not in the repository: `make samples` writes them to docs/samples, or $HARDLABEL_SAMPLES names their folder.
A mark in the page becomes a link, or says that this site was built without the report.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

USUAL = Path(__file__).resolve().parents[1] / "samples"
PAGE = "samples.md"
MARK = re.compile(r"^<!-- sample: (\w+) -->$", re.MULTILINE)
WITHOUT = "*This site was built without this sample. `make samples` makes it, `make docs` then shows it.*"


def folder() -> Path:
    """Where the samples lie."""
    return Path(os.environ.get("HARDLABEL_SAMPLES", USUAL))


def on_files(files: Files, config: Any) -> Files:
    """Adds each report of that folder, and no other."""
    for file in [file for file in files if file.src_uri.startswith("samples/")]:
        files.remove(file)
    for path in sorted(folder().glob("*.html")):
        files.append(File.generated(config, f"samples/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Puts a link, or the text of a gate, in the place of each mark."""
    return MARK.sub(lambda mark: shown(mark[1]), markdown) if page.file.src_uri == PAGE else markdown


def shown(name: str) -> str:
    """What stands on the page for a sample."""
    report, text = folder() / f"{name}.html", folder() / f"{name}.txt"
    if report.is_file():
        return f"[Open the report](samples/{name}.html){{ .md-button }}"
    if text.is_file():
        plain = re.sub(r"^#+ (.+)$", r"**\1**", text.read_text(encoding="utf-8"), flags=re.MULTILINE)
        return "\n".join(f"> {line}".rstrip() for line in plain.splitlines())  # No heading among those of the page.
    return WITHOUT

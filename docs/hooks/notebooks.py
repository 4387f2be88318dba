"""MkDocs hook: shows the notebooks of docs/notebooks as pages. Nothing is run when the site is built."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
LINK = re.compile(r"(\]\((?:[^)\s]*/)?[\w-]+)\.ipynb(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Adds a page for each notebook. The notebook itself stays beside it, to be downloaded."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lets links to notebooks lead to their pages; only a notebook's own page links to the file."""
    own = f"]({Path(page.file.src_uri).stem}.ipynb)"
    return LINK.sub(lambda link: link[0] if link.string.startswith(own, link.start()) else f"{link[1]}.md", markdown)


def page(path: Path) -> str:
    """A notebook as Markdown: its texts as they are, its code in blocks, and below the title a link to the file."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, *rest = [_shown(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    return "\n\n".join([title, f"[Download the notebook]({path.name})", *rest]) + "\n"


def _shown(kind: str, source: str) -> str:
    if kind == "markdown":
        return source
    language = "bash" if source.startswith("%%bash") else "python"
    return f"```{language}\n{source}\n```"

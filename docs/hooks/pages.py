"""MkDocs hook: what pages take from the code and the repository, so that it cannot drift.

- Pages of attacks and defenses get their facts, and the overviews their tables, from the tables of hardlabel.
- The glossary is the report's.
- A code block with the path of an example's file shows the file.
- Markdown files outside of docs/ (SECURITY.md, the studies, ...) become pages, and links to them are followed.
"""

import logging
import posixpath
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
LOG = logging.getLogger("mkdocs.hooks.pages")
PAGES = ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md", "studies/*.md", "benchmarks/*.md")
FILES = ("examples/**/*.yaml", "ci/*.yml")
OUTSIDE = ("README.md", "LICENSE")  # Not on the site: links become text.
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
SHOWN = re.compile(r"^# (docs/extending/\S+)$", re.MULTILINE)  # In a code block: the file itself.


def outside() -> dict[str, str]:
    """Where the repository's files outside of docs/ lie on the site, by path in the repository."""
    return {
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for pattern in (*PAGES, *FILES)
        for path in sorted(ROOT.glob(pattern))
    }


def on_config(config: Any) -> Any:
    """Adds the pages of single attacks and defenses, and of studies, to the navigation."""
    from hardlabel.attacks.table import TABLE as ATTACKS
    from hardlabel.defenses.table import TABLE as DEFENSES

    for section in config.nav:
        [(title, items)] = section.items()
        if title == "Attacks":
            items += [{name: f"attacks/{name}.md"} for name in dict.keys(ATTACKS)]
        if title == "Defenses":
            items += [{name: f"defenses/{name}.md"} for name in dict.keys(DEFENSES)]
        if title == "Evidence":
            studies = [path for path in outside() if path.endswith(".md") and "/" in path]
            items += [{_title(path): path} for path in studies]
    return config


def _title(path: str) -> str:
    return (ROOT / path).read_text().partition("\n")[0].lstrip("# ")


def on_files(files: Files, config: Any) -> Files:
    """Adds the repository's other files to the site."""
    for source, place in outside().items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fills in facts and tables, follows links out of docs/, and sets blank lines that Python-Markdown wants."""
    place = page.file.src_uri
    at = place if place in outside() else f"docs/{place}"
    markdown = _filled(markdown, place)
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(SHOWN.sub(_file, part) if part.startswith("```") else _text(part, at) for part in parts)


def _file(shown: re.Match[str]) -> str:
    return (ROOT / shown[1]).read_text().rstrip()


def _filled(markdown: str, place: str) -> str:
    room, _, name = place.removesuffix(".md").rpartition("/")
    for mark, made in (
        ("<!-- facts -->", lambda: facts(room, name)),
        ("<!-- table -->", lambda: table(room)),
        ("<!-- glossary -->", glossary),
    ):
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


def _text(part: str, at: str) -> str:
    def followed(link: re.Match[str]) -> str:
        words, target = link[1], link[2]
        path, hash_, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return link[0]
        goal = posixpath.normpath(posixpath.join(posixpath.dirname(at), path))
        if goal in OUTSIDE:
            return words
        if goal not in outside() and not goal.startswith("docs/"):
            if not (ROOT / goal).exists():
                LOG.warning("%s links to %s, which does not exist", at, goal)
            return words
        here = at if at in outside() else at.removeprefix("docs/")
        there = goal if goal in outside() else goal.removeprefix("docs/")
        return f"[{words}]({posixpath.relpath(there, posixpath.dirname(here) or '.')}{hash_}{anchor})"

    lines: list[str] = []
    for line in LINK.sub(followed, part).split("\n"):
        before = lines[-1] if lines else ""
        if before and _begins(line, before):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def _begins(line: str, before: str) -> bool:
    """Whether a list or a table begins at a line: GitHub sees it, Python-Markdown needs a blank line before it."""
    if line.startswith("|"):
        return not before.startswith(("|", "#"))
    if line.startswith("- "):
        return not before.startswith(("- ", " ", "#"))
    return line.startswith("1. ") and before.endswith(":")


def facts(room: str, name: str) -> str:
    """The facts of an attack or a defense, as a Markdown table."""
    return {"attacks": _attack_facts, "defenses": _defense_facts}[room](name)


def queries(row: Any) -> str:
    """An attack's queries per sample, in words."""
    if row.access.value != "label":
        return "1"
    if row.name == "transfer":
        return "0 (all questions are about the attacker's own data)"
    if row.grows:
        return f"{row.fewest} to {row.usual}, and more if the budget allows"
    return f"{row.fewest}" if row.fewest == row.usual else f"{row.fewest} to {row.usual}"


def _attack_facts(name: str) -> str:
    from hardlabel.attacks.table import TABLE

    row = TABLE[name]
    return _table(
        ("what", name),
        [
            ("asks", row.summary),
            ("sees", "labels only" if row.access.value == "label" else "confidences"),
            ("queries per sample", queries(row)),
            ("data", {"continuous": "continuous (no bits, tables or tokens)"}.get(row.data, row.data)),
            ("needs", row.needs),
            ("runs unless you name attacks", "yes" if row.standard else "no: `--attacks " + name + "`"),
            ("source", row.source),
        ],
    )


def _defense_facts(name: str) -> str:
    from hardlabel.defenses.table import TABLE

    row = TABLE[name]
    changes = [
        words
        for flag, words in (
            (row.trains, "the training"),
            (row.prepares, "the training data"),
            (row.guards, "the answers"),
        )
        if flag
    ]
    usual = ", ".join(f"{level:g}" for level in row.levels)
    return _table(
        ("what", name),
        [
            ("does", row.summary),
            ("changes", ", ".join(changes)),
            ("keeps every label", "yes" if row.keeps_labels else "no"),
            ("shows confidences", "yes" if row.shows_scores else "no"),
            ("level", f"{row.knob}: {usual}" if row.levels else "nothing to set"),
            ("training it suits", "networks that hardlabel trains" if row.trains else "any, your own too"),
            ("cost besides accuracy", row.cost),
            ("source", row.source),
        ],
    )


def table(room: str) -> str:
    """All attacks or all defenses, with links to their pages."""
    if room == "attacks":
        from hardlabel.attacks.table import TABLE as ATTACKS

        rows = [
            (f"[{name}]({name}.md)", row.access.value, queries(row).partition(" (")[0], row.summary)
            for name, row in dict.items(ATTACKS)
        ]
        return _table(("attack", "sees", "queries per sample", "asks"), rows)
    from hardlabel.defenses.table import TABLE as DEFENSES

    return _table(
        ("defense", "what it does", "level", "cost besides accuracy"),
        [(f"[{name}]({name}.md)", row.summary, row.knob or "-", row.cost) for name, row in dict.items(DEFENSES)],
    )


@cache
def glossary() -> str:
    """The report's terms, in alphabetical order."""
    from hardlabel.reports.glossary import TERMS, entries

    terms = entries(list(TERMS))
    return "\n\n".join(f"## {_cell(word)} {{ #{key} }}\n{_cell(meaning)}" for key, word, meaning in terms)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")

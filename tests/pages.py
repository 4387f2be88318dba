"""What a Markdown page holds, as CommonMark reads it: blocks of code, code within text, links."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
SITE = sorted(DOCS.rglob("*.md"))
LANGUAGES = ("bash", "python", "yaml", "toml", "text")
MARK = re.compile(r"<!-- not run: (\S.*?) -->")
READER = MarkdownIt("commonmark").enable("table")


def text_of(page):
    """The Markdown of a page; of the changelog its newest part, since older parts speak of older versions."""
    text = page.read_text()
    return re.split(r"^## ", text, flags=re.MULTILINE)[1] if page.name == "CHANGELOG.md" else text


class Block(NamedTuple):
    """A block of code: its language, its text, and the reason why it is not run, if it has one."""

    language: str
    code: str
    reason: str


def blocks(page):
    """All blocks of a page. An indented block counts as Bash: README and CONTRIBUTING write commands so."""
    found, mark = [], None
    for token in READER.parse(text_of(page)):
        if token.type in ("fence", "code_block"):
            language = token.info.strip() if token.type == "fence" else "bash"
            found.append(Block(language, token.content, mark[1] if mark else ""))
        mark = MARK.fullmatch(token.content.strip()) if token.type == "html_block" else None
    return found


def to_run(page, *languages):
    """The code of the blocks in these languages that are to be run."""
    found = blocks(page)
    assert all(block.language in LANGUAGES for block in found), page
    return [block.code for block in found if not block.reason and block.language in languages]


def commands(page):
    """The lines of the Bash blocks that are to be run, each whole."""
    return "".join(to_run(page, "bash")).replace("\\\n", " ").strip().splitlines()


def pieces(page, kind):
    """The pieces of running text of a kind: "code_inline", or "text" for what is no code."""
    inline = [token for token in READER.parse(text_of(page)) if token.type == "inline"]
    return [child.content for token in inline for child in token.children if child.type == kind]


def named(page):
    """How a page is called: its place in docs/, or in the repository."""
    return page.relative_to(DOCS if page.is_relative_to(DOCS) else ROOT).as_posix()


def foreign(words):
    """Checks a command of another program: what it names is in this repository.

    Raises:
        AssertionError: A target of make, a script, its option, an extra, a marker or a file does not exist.
    """
    words = list(words)
    while words and re.match(r"[A-Z_]+=", words[0]):  # Variables of the environment.
        words.pop(0)
    program, *rest = words or ["export", "A=b"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if program == "export":
        assert all("=" in word for word in rest), words
    elif program == ".":
        assert rest == [".venv/bin/activate"], words  # Where the Makefile installs.
    elif program == "make":
        assert set(rest) <= set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)), words
    elif program == "pip":
        extras = [extra for found in re.findall(r"\[([\w,]+)\]", " ".join(rest)) for extra in found.split(",")]
        assert rest[0] == "install", words
        assert set(extras) <= set(project["project"]["optional-dependencies"]), words
    elif program == "pre-commit":
        assert (ROOT / ".pre-commit-config.yaml").exists()
    elif program == "pytest":
        markers = {marker.partition(":")[0] for marker in project["tool"]["pytest"]["ini_options"]["markers"]}
        assert {mark for option, mark in pairwise(rest) if option == "-m"} <= markers, words
        assert all((ROOT / word).exists() for word in rest if "/" in word), words
    else:
        assert program in ("python", "python3"), f"{words}: write a check for {program}"
        script = ROOT / rest[0]
        assert script.is_file(), words
        source = script.read_text()
        assert all(f'"{word}"' in source for word in rest[1:] if word.startswith("--")), words

"""Plain English: turns that readers had to read twice, and what to write instead, checked in all we publish."""

import inspect
import re
from pathlib import Path

import pytest

import hardlabel
from hardlabel.runs import settings
from hardlabel.runs.part import Part

ROOT = Path(__file__).resolve().parents[1]
TURNS = {
    r"\b(of|without) whom\b": "a sentence of its own",
    r"\bwhoever\b": "the person or program that",
    r"\bbesides\b": "also, or further",
    r"\bsuch as (do|does|have|has|are) not\b": "those who do not",
    r"\band such\b": "the noun",
    r"\bthe few( apart|[.,;:])": "the records chosen as riskiest",
    r"\bthe ladder\b|\brungs?\b": "the ranking of attacks",
    r"\bwithout end\b": "without limit",
    r"\bhas to bear\b": "is charged with",
    r"\b(is|are) told apart\b": "is reported separately, or can be distinguished",
    r"\bstandard deviations apart\b": "answers clearly differently",
    r"\bwhat of\b": "which part of",
    r"\bthe like\b": "the noun",
    r"\bof one's own\b": "of your own",
}
PAGES = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "src/hardlabel/reports/*.jinja")
    for path in sorted(ROOT.glob(pattern))
]


def found(text):
    """The forbidden turns in a text, each with its line."""
    plain = re.sub(r"`[^`\n]*`", "", text)  # Names of options and columns are no prose.
    lines = [
        f"{place + 1}: {hit.group(0)!r}, better {better}"
        for place, line in enumerate(plain.splitlines())
        for turn, better in TURNS.items()
        for hit in re.finditer(turn, line, re.IGNORECASE)
    ]
    return "\n".join(lines)


def test_a_turn_is_found_with_its_line_and_what_to_write():
    assert found("Fine.\nMembers, without whom nothing is said.") == "2: 'without whom', better a sentence of its own"
    assert found("The option `--the few` is a name.") == ""


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_have_none_of_them(path):
    assert found(path.read_text(encoding="utf-8")) == ""


def test_help_and_settings_have_none_of_them():
    parts = [value for value in vars(settings).values() if inspect.isclass(value) and issubclass(value, Part)]
    assert len(parts) > 10
    texts = {
        f"{part.__name__}.{name}": field.description or ""
        for part in parts
        for name, field in part.model_fields.items()
    }
    assert {name: found(text) for name, text in texts.items() if found(text)} == {}


def test_public_docstrings_have_none_of_them():
    texts = {name: inspect.getdoc(getattr(hardlabel, name)) or "" for name in hardlabel.__all__}
    assert {name: found(text) for name, text in texts.items() if found(text)} == {}

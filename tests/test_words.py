"""Plain English: turns that readers had to read twice, and what to write instead, checked in all we publish."""

import ast
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
    r"\bspeaks? of\b": "is about",
    r"\b(in silence|without a word)\b": "without a warning",
    r"\bby turns\b": "take turns",
    r"\bat no sure cost\b": "without a certain cost",
    r"\bmembers surely\b": "with certainty",
    r"\bhas no say\b": "does not influence",
    r"\btrained otherwise than\b": "trained differently from",
    r"\brightly\b": "correctly",
    r"\bsome (hundred|thousand)\b": "about 100, or hundreds of",
    r"\bdepends? on company\b": "on the other samples",
    r"\bof like\b": "of similar",
}
PAGES = [
    path
    for pattern in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**/*.md", "src/hardlabel/reports/*.jinja")
    for path in sorted(ROOT.glob(pattern))
]

SOURCE = ROOT / "src" / "hardlabel"
PRINTED = [path for room in ("reports", "records", "cli") for path in sorted((SOURCE / room).glob("*.py"))]
PRINTED += [SOURCE / "attacks" / "table.py", SOURCE / "defenses" / "table.py"]


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


def text_of(node):
    """The text of a constant or an f-string, with {} for each value; "" for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "{}" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def texts_of(tree):
    """All texts in a syntax tree, each once: no part of an f-string is a text of its own."""
    parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    return [text for node in ast.walk(tree) if node not in parts and (text := text_of(node))]


def hits(texts):
    return {text: found(text) for text in texts if found(text)}


def test_a_turn_in_a_text_of_the_code_is_found_across_its_parts():
    tree = ast.parse('say(f"it {verb} speaks"\n" of {noun}" f" and {of} nobody")\nother("fine")')
    assert texts_of(tree) == ["it {} speaks of {noun} and {} nobody", "fine"]
    assert list(hits(texts_of(tree))) == ["it {} speaks of {noun} and {} nobody"]


@pytest.mark.parametrize("path", PRINTED, ids=lambda path: str(path.relative_to(SOURCE)))
def test_texts_that_reports_records_and_commands_print_have_none_of_them(path):
    assert hits(texts_of(ast.parse(path.read_text(encoding="utf-8")))) == {}


def errors_of(tree):
    """The texts of the errors for bad input."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    errors = [call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) == "InvalidInput"]
    return [text for call in errors for argument in call.args for text in texts_of(argument)]


def test_errors_have_none_of_them():
    texts = [text for path in SOURCE.rglob("*.py") for text in errors_of(ast.parse(path.read_text(encoding="utf-8")))]
    assert len(texts) > 500
    assert hits(texts) == {}

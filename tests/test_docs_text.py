"""What README, docs, changelog and studies name within text exists: commands, options, files, names, links."""

import importlib
import re
import shlex
import warnings

import pytest
import typer

from hardlabel.cli import app as cli
from pages import FRONT, ROOT, SITE, blocks, foreign, named, pieces
from records import SIX, make_record
from test_report_docs import broken

PAGES = [
    *FRONT,
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *SITE,
    *sorted(ROOT.glob("studies/*.md")),
    *sorted(ROOT.glob("benchmarks/*.md")),
]
ELSEWHERE = ("runs/", "hardlabel/", "shadow_training/")  # Folders of runs, artefacts at MLflow, others' code.
TAGS = ("budget", "grade", "kind", "record", "verdict", "version")  # hardlabel.NAME at MLflow: docs/handover.md.
PROGRAMS = ("make", "pip", "pre-commit", "pytest", "python", "python3")
TABLE = typer.main.get_command(cli.app).commands
COMMAND = re.compile(r"(?<![\w./-])hardlabel ([a-z]+)((?: [^\n#`|]*)?)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
FILE = re.compile(r"(?<![\w./-])(?:[\w.-]+/)+[\w.*-]+\.(?:css|html|jinja|json|js|md|py|toml|txt|ya?ml)\b")
NAME = re.compile(r"(?<![\w./-])hardlabel((?:\.[A-Za-z_]\w*)+)")


def options_of(names):
    """The options of these commands; those of the program itself are of every command."""
    own = {option for name in names for parameter in TABLE[name].params for option in parameter.opts}
    return own | {"--help", "--version"}


def unknown_commands(text):
    """What is wrong with the commands of hardlabel in a text."""
    wrong = []
    for name, rest in COMMAND.findall(text):
        if name not in TABLE:
            wrong.append(f"hardlabel {name}")
            continue
        given = rest.partition(" -- ")[0]
        wrong += [f"hardlabel {name} {option}" for option in OPTION.findall(given) if option not in options_of([name])]
    return wrong


def missing_files(text, folder):
    """The files that a text names and that do not exist; `folder` is that of its page."""
    places = (ROOT, ROOT / "src" / "hardlabel", folder)
    names = {name for name in FILE.findall(text) if not name.startswith(ELSEWHERE)}
    return sorted(name for name in names if not any([*place.glob(name)] for place in places))


def missing_names(text):
    """The names in hardlabel, such as hardlabel.audit, that do not exist."""
    return [found for found in NAME.findall(text) if found[1:] not in TAGS and not resolved(found[1:].split("."))]


def resolved(parts):
    """Whether hardlabel has a name, or a module, at the end of this path."""
    there, path = importlib.import_module("hardlabel"), "hardlabel"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Upgrading names old names.
        for part in parts:
            path += f".{part}"
            try:
                there = getattr(there, part) if hasattr(there, part) else importlib.import_module(path)
            except ModuleNotFoundError:
                return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_options_within_text_exist(page):
    inline = pieces(page, "code_inline")
    not_run = [block.code.replace("\\\n", " ") for block in blocks(page) if block.reason or block.language == "text"]
    assert unknown_commands("\n".join([*inline, *not_run])) == []
    for code in inline:
        words = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", code).split()
        if words and words[0] in PROGRAMS and len(words) > 1:
            if "-c" not in words:  # Programs in one line are run below.
                foreign(shlex.split(code))
        elif words and words[0].startswith("--"):
            assert set(OPTION.findall(code)) <= options_of(TABLE), code


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_and_names_within_text_exist(page):
    text = [*pieces(page, "code_inline"), *pieces(page, "text"), *(block.code for block in blocks(page))]
    assert missing_files("\n".join(text), page.parent) == []
    assert missing_names("\n".join(pieces(page, "code_inline"))) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_command_is_lost_among_the_words(page):
    words = "\n".join(pieces(page, "text"))
    assert not re.search(r"^\s*hardlabel [a-z]+ -|(?<!\S)--[a-z]", words, re.MULTILINE)


def test_programs_in_one_line_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record = make_record(SIX[:1])
    record.save(tmp_path / "RUN")
    (tmp_path / "docs" / "schema").mkdir(parents=True)
    lines = [code for page in PAGES for code in pieces(page, "code_inline") if code.startswith("python -c ")]
    assert len(lines) == 2
    for line in lines:
        exec(compile(shlex.split(line)[2], "a line of the docs", "exec"), {})
    assert capsys.readouterr().out.split() == [record.id]
    assert len([*(tmp_path / "docs" / "schema").iterdir()]) == len([*(ROOT / "docs" / "schema").iterdir()])


@pytest.mark.parametrize("page", [page for page in PAGES if page not in SITE], ids=named)
def test_links_and_anchors_lead_somewhere(page):
    assert broken(page) == []  # Of the site's own pages the strict build asks the same.


def test_what_does_not_exist_would_be_seen():
    text = "`hardlabel audit --membrs FILE`, `hardlabel adit`, studies/gone.py, `hardlabel.audit(x)`"
    assert unknown_commands(text) == ["hardlabel audit --membrs", "hardlabel adit"]
    assert missing_files(text, ROOT) == ["studies/gone.py"]
    assert missing_names(text) == []
    assert missing_names("`hardlabel.gone.x`, `hardlabel.audit.x`") == [".gone.x", ".audit.x"]
    assert missing_names("`hardlabel.metrics.tied`, `hardlabel.reports.model_card.model_card(record)`") == []

"""The page of sample reports, the script that makes them and the hook that shows them; test_docs.py makes one."""

import shlex
from pathlib import Path

import pytest
import yaml

from scripts import loaded

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "samples.md").read_text(encoding="utf-8")


samples = loaded(ROOT / "docs" / "samples.py")


@pytest.fixture
def hook(monkeypatch, tmp_path):
    pytest.importorskip("mkdocs")
    monkeypatch.setenv("HARDLABEL_SAMPLES", str(tmp_path / "samples"))
    (tmp_path / "samples").mkdir()
    return loaded(ROOT / "docs" / "hooks" / "sample_pages.py")


# --- the script ---


def test_every_sample_is_written_by_the_commands_above_its_mark():
    commands = samples.commands(PAGE)
    assert list(commands) == list(samples.FILES)
    for name, lines in commands.items():
        source, target = samples.FILES[name]
        written = [word for line in lines for word in shlex.split(line)[3:]]
        assert source.removesuffix("/report.html") in written, name
        assert all(shlex.split(line)[0] == "hardlabel" for line in lines), name
        assert target.startswith(name)


def test_commands_are_read_up_to_their_mark_and_joined_where_they_are_continued():
    text = """<!-- not run: another reason -->
```bash
make samples
```

```bash
hardlabel audit \\
    --seed 1
hardlabel runs
```
<!-- sample: first -->
```bash
hardlabel show
```
<!-- sample: second -->
```bash
hardlabel clean
```
"""
    read = {name: [line.split() for line in lines] for name, lines in samples.commands(text).items()}
    assert read == {
        "first": [["hardlabel", "audit", "--seed", "1"], ["hardlabel", "runs"]],
        "second": [["hardlabel", "show"]],
    }


def test_the_forests_are_those_that_the_page_describes(tmp_path):
    import joblib
    import pandas as pd

    samples.prepare(tmp_path)
    parts = {name: pd.read_csv(tmp_path / f"{name}.csv") for name in samples.ROWS}
    assert [len(part) for part in parts.values()] == [130, 130, 182]
    assert pd.concat(parts.values()).duplicated().sum() == 0
    right = {}
    for name in samples.FORESTS:
        forest = joblib.load(tmp_path / f"{name}.joblib")
        for part in ("members", "nonmembers"):
            inputs = parts[part].drop(columns="worse")
            right[name, part] = forest.score(inputs, parts[part]["worse"])
    assert inputs.shape[1] == 10
    assert right["v1", "members"] == 1
    assert right["v1", "nonmembers"] == pytest.approx(0.75, abs=0.05)
    assert right["v2", "members"] < 0.85


def test_a_failed_command_is_told_and_nothing_is_kept(tmp_path, monkeypatch):
    text = "```bash\nhardlabel show runs/none\n```\n<!-- sample: model -->\n"
    (tmp_path / "page.md").write_text(text)
    monkeypatch.setattr(samples, "PAGE", tmp_path / "page.md")
    with pytest.raises(SystemExit, match=r"hardlabel show runs/none: exit code [12]\n.*runs/none"):
        samples.make(tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- the hook ---


def test_a_sample_that_is_there_gets_a_link_and_one_that_is_missing_a_sentence(hook, tmp_path):
    assert {hook.shown(name) for name in samples.FILES} == {hook.WITHOUT}
    (tmp_path / "samples" / "model.html").write_text("<p>A report</p>")
    (tmp_path / "samples" / "gate.txt").write_text("### Tripped\n\n| a |\n|---|\n| b |\n")
    assert "(samples/model.html)" in hook.shown("model")
    assert hook.shown("gate") == "> **Tripped**\n>\n> | a |\n> |---|\n> | b |"
    assert hook.shown("compare") == hook.WITHOUT


def test_only_reports_of_the_named_folder_go_to_the_site(hook, tmp_path):
    from mkdocs.config import load_config
    from mkdocs.structure.files import File, Files

    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nplugins: []\n")
    config = load_config(str(tmp_path / "mkdocs.yml"))
    config.plugins._current_plugin = "hook"  # As in a build, while a hook runs.
    old = [
        File.generated(config, name, content="old")
        for name in ("samples/recipe.html", "samples/gate.txt", "samples.md")
    ]
    (tmp_path / "samples" / "model.html").write_text("new")
    (tmp_path / "samples" / "gate.txt").write_text("no page of its own")
    files = hook.on_files(Files(old), config)
    assert sorted(file.src_uri for file in files) == ["samples.md", "samples/model.html"]


def test_samples_are_neither_kept_in_the_repository_nor_is_their_script_on_the_site():
    assert "/docs/samples/" in (ROOT / ".gitignore").read_text().splitlines()
    text = (ROOT / "mkdocs.yml").read_text()
    assert "/samples.py" in yaml.safe_load(text)["exclude_docs"].split()

"""What the packages hold and say; `make packaging` installs them and uses every extra (docs/packaging.md)."""

import email.message
import re
import tomllib
from pathlib import Path

import pytest

import hardlabel
from scripts import loaded

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def packaging():
    """The script ci/packaging.py as a module."""
    return loaded(ROOT / "ci" / "packaging.py")


def metadata(project, **changes):
    """The metadata that a package of `project` has."""
    message = email.message.Message()
    fields = {"Name": project["name"], "Version": project["version"], "License-Expression": project["license"]}
    for name, value in {**fields, **changes}.items():
        message[name] = value
    for line in project["classifiers"]:
        message["Classifier"] = line
    for name, address in project["urls"].items():
        message["Project-URL"] = f"{name}, {address}"
    for name in project["optional-dependencies"]:
        message["Provides-Extra"] = name
    message.set_payload((ROOT / project["readme"]).read_text())
    return message


def test_the_version_is_the_same_wherever_it_stands():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert version == hardlabel.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1) in (
        version,
        "Unreleased",
    )
    assert f"Release notes: {version}\n" in (ROOT / "docs" / "release-notes.md").read_text()


def test_package_data_names_every_file_of_the_package(packaging):
    files = packaging.package_files()
    suffixes = {Path(name).suffix for name in files}
    assert {".py", ".jinja", ".css", ".js"} <= suffixes
    assert packaging.unnamed(files) == []
    assert packaging.unnamed({"hardlabel/reports/new.svg", "hardlabel/a.py"}) == ["hardlabel/reports/new.svg"]


def test_every_extra_of_users_has_a_trial(packaging):
    extras = packaging.project()["optional-dependencies"]
    assert set(packaging.TRIALS) == set(extras) - set(packaging.DEVELOPMENT)
    for name, trial in packaging.TRIALS.items():
        named = {re.split(r"[\[<>=]", line)[0] for line in extras[name]}
        assert set(trial.packages) == named
        assert (ROOT / trial.constraints).is_file()
        for use in trial.uses:
            if isinstance(use, str):
                compile(use, name, "exec")
        compile(trial.makes, name, "exec")


def test_the_metadata_say_what_the_project_says(packaging):
    project = packaging.project()
    assert packaging.metadata_faults(metadata(project), project) == []
    assert project["requires-python"] == f">={packaging.PYTHONS[0]}"
    assert packaging.metadata_faults(metadata(project, Version="0"), project)[0].startswith("Version is")
    poorer = {**project, "classifiers": project["classifiers"][:2], "urls": {}}
    faults = packaging.metadata_faults(metadata(poorer), poorer)
    assert [fault.partition(" ")[0] for fault in faults] == ["no", "no", "no", "the"]


def test_what_is_missing_or_too_much_in_a_package_is_named(packaging):
    files = {"hardlabel/__init__.py", "hardlabel/py.typed"}
    info = "hardlabel-1.dist-info"
    good = [*files, f"{info}/METADATA", f"{info}/licenses/LICENSE"]
    assert packaging.wheel_faults(good, files) == []
    faults = packaging.wheel_faults(["hardlabel/__init__.py", "tests/conftest.py", f"{info}/METADATA"], files)
    assert faults == [
        *("the wheel lacks hardlabel/py.typed", "the wheel holds tests/conftest.py", "the wheel lacks LICENSE"),
    ]
    tops = ("LICENSE", "README.md", "pyproject.toml", "PKG-INFO")
    source = [f"hardlabel-1/{name}" for name in (*tops, *(f"src/{name}" for name in files))]
    assert packaging.sdist_faults([*source, "hardlabel-1/src/hardlabel.egg-info/PKG-INFO"], files) == []
    junk = ["hardlabel-1/docs/index.md", "hardlabel-1/src/hardlabel/a.pyc"]
    assert packaging.sdist_faults([*source[1:], *junk], files) == [
        *("the sdist lacks LICENSE", "the sdist holds docs/index.md", "the sdist holds src/hardlabel/a.pyc"),
    ]


def test_the_page_has_a_row_for_every_extra_and_every_python(packaging):
    text = (ROOT / "docs" / "packaging.md").read_text()
    _, header, after = text.partition(packaging.TABLE)
    assert header
    lines = after.partition("\n\n")[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {packaging.NONE, *packaging.TRIALS} <= {row[1] for row in table}
    assert {row[0].rpartition(".")[0] for row in table} == set(packaging.PYTHONS)
    assert any("lowest" in row[1] for row in table)
    pin = packaging.torch_pin().replace("==", " ")
    assert all(pin in row[2] for row in table)


def test_a_row_replaces_the_one_of_the_same_environment(packaging):
    page = f"Before\n\n{packaging.TABLE}| 3.12.1 | plot | a 1 | old | 1 |\n| 3.11.7 | none | a 1 | old | 1 |\n\nAfter\n"
    rows = [packaging.Row("3.12.1", "plot", {"a": "2"}, "new", 2.4), packaging.Row("3.9.1", "dp", {}, "new", 0.0)]
    assert packaging.written(page, rows) == (
        f"Before\n\n{packaging.TABLE}| 3.9.1 | dp |  | new | 0 |\n| 3.11.7 | none | a 1 | old | 1 |\n"
        "| 3.12.1 | plot | a 2 | new | 2 |\n\nAfter\n"
    )


@pytest.mark.long
def test_the_packages_install_and_run_without_extras(packaging, capsys):
    assert packaging.main(["--extras", packaging.NONE]) == 0, capsys.readouterr().out
    assert "| none | scikit-learn" in capsys.readouterr().out

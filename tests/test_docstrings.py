"""Every public name says what it is, and the examples of all docstrings run.

A name is public if the `__all__` of a module has it. What is behind the rows of registries is tested in
test_row_docstrings.py.
"""

import ast
import dataclasses
import doctest
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest
import torch

import hardlabel
from docstrings import cases_of, ran, undescribed
from hardlabel import InvalidInput, checks
from hardlabel.data.domain import Domain
from hardlabel.executors import Executor
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from records import changed, choice, make_canary_record, make_defend_record, make_recipe_record, make_record
from test_row_docstrings import ROWS
from test_words import found

FLAGS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
SOURCE = Path(hardlabel.__file__).parent
FILES = {
    ".".join(("hardlabel", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
MODULES = [module for module, path in FILES.items() if ">>> " in path.read_text()]
# Examples with lines that are not run, and why.
NOT_RUN = {
    "hardlabel.allocator.keep_memory": "concerns the whole process, and with it all other tests",
    "hardlabel.handover.evaluator.Evaluator": "needs MLflow, which is not among the packages of the tests",
    "hardlabel.handover.tracking.to_mlflow": "needs MLflow, which is not among the packages of the tests",
    "hardlabel.reports.pdf.write_pdf": "needs a browser or WeasyPrint",
}
ROLES = (Domain, Executor, LabelOracle, ScoreOracle)  # They say what a method does in every class of the role.
ARRAY = re.compile(r"\b(?:Tensor|NDArray|Scores|Mask|Floats|Bools)\b")
SHAPE = re.compile(r"\((?:[a-z]|\d+|count|targets),(?: [^()]*)?\)")  # As in (n,), (n, d) or (1, *shape).
RAISING = re.compile(r"Raises:\n(?: +.*\n)*? +InvalidInput: \S", re.MULTILINE)
ROW_TESTS = {row.values[1].__module__ + "." + row.values[1].__qualname__ for row in ROWS}  # They run there.


def public():
    """Every public thing by the module that defines it and its name; values by the first module that lists them."""
    things = {}
    for module in FILES:
        if not module.endswith("__main__"):
            room = importlib.import_module(module)
            for name in getattr(room, "__all__", ()):
                thing = getattr(room, name)
                things[home(thing) or module, name] = thing
    return things


def home(thing):
    """The module of a class or function; None for a value."""
    return thing.__module__ if inspect.isclass(thing) or inspect.isfunction(thing) else None


PUBLIC = public()
DESCRIBED = {f"{module}.{name}": thing for (module, name), thing in PUBLIC.items() if home(thing)}
VALUES = sorted(key for key, thing in PUBLIC.items() if not home(thing))


def refuses(function):
    """Whether a function itself raises InvalidInput, by a statement or by one of the checks."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    checking = {name for name, check in vars(checks).items() if inspect.isfunction(check)} - {
        *("cut", "listed", "shown", "plain", "plain_fields"),
    }
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
        if name == "checked" or name.removeprefix("checks.") in checking:
            return True
        if isinstance(node, ast.Raise) and name == "InvalidInput":
            return True
    return False


def methods_of(kind):
    """The public methods and properties that a class writes itself, as functions; none of a function."""
    for name, member in vars(kind).items() if inspect.isclass(kind) else ():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name, function


def text_of(kind, name, function):
    """What is said of a method: by itself, by the classes above, or by the role."""
    texts = [inspect.getdoc(getattr(kind, name, function)), *(inspect.getdoc(vars(role).get(name)) for role in ROLES)]
    return next((text for text in texts if text), "")


def lacks(thing):
    """What the docstring of a public class or function does not say, in words."""
    written = thing.__doc__ if "__doc__" in vars(thing) or inspect.isfunction(thing) else None
    if not written or written.startswith(f"{thing.__name__}("):  # As dataclasses write it.
        return ["a docstring"]
    text = inspect.getdoc(thing) + "\n"
    places = [text, *(function.__doc__ or "" for _, function in methods_of(thing))]  # Of a class, a method's will do.
    missing = [] if any(">>> " in place.partition("Example:\n")[2] for place in places) else ["an example"]
    words = re.sub(r"^Example:\n(?:(?: {4}.*)?\n)*", "", text, flags=re.MULTILINE)
    if inspect.isclass(thing):
        fields = getattr(thing, "model_fields", None) or (
            {field.name: field for field in dataclasses.fields(thing) if field.init}
            if dataclasses.is_dataclass(thing)
            else {}
        )
        listed = words + "".join(inspect.getdoc(base) or "" for base in thing.__mro__[1:-1])
        missing += undescribed(fields, listed)
        for name, function in methods_of(thing):
            said = text_of(thing, name, function)
            if not said:
                missing.append(f"a docstring of {name}")
            elif refuses(function) and not RAISING.search(said):
                missing.append(f"errors of {name}")
        made = [vars(thing)[name] for name in ("__init__", "__post_init__") if name in vars(thing)]
        written = [function for function in made if function.__code__.co_filename != "<string>"]  # Not by dataclass.
        if any(map(refuses, written)) and not RAISING.search(words):
            missing.append("errors")
        types = " ".join(str(kind) for kind in vars(thing).get("__annotations__", {}).values())
    else:
        names = list(inspect.signature(thing).parameters)
        missing += [f"argument {name}" for name in names if not re.search(rf"\b{name}\b", words)]
        if refuses(thing) and not RAISING.search(words):
            missing.append("errors")
        types = str(inspect.signature(inspect.unwrap(thing)))
    if ARRAY.search(types) and not SHAPE.search(words):
        missing.append("shapes")
    if turns := found(words):
        missing.append(f"plain English: {turns}")
    return missing


class Bare:
    """Says little besides its name."""

    points: torch.Tensor

    def __init__(self, sigma):
        checks.positive(sigma=sigma)

    def height(self): ...

    def check(self):
        """Refuses."""
        raise InvalidInput("no")


def bare(points: torch.Tensor):
    """Refuses them.

    Example:
        >>> bare
    """
    raise InvalidInput("no")


def test_what_a_docstring_lacks_is_named():
    assert lacks(Bare) == [
        "an example",
        "a docstring of height",
        "errors of check",
        "errors",
        "shapes",
        "plain English: 1: 'besides', better also, or further",
    ]
    assert lacks(bare) == ["argument points", "errors", "shapes"]
    assert lacks(type("Silent", (), {})) == ["a docstring"]


def test_public_names_of_all_rooms_are_seen():
    rooms = {name.split(".")[1] for name in DESCRIBED}
    assert {"attacks", "audits", "data", "metrics", "oracles", "records", "signals", "targets"} <= rooms
    assert len(DESCRIBED) >= 60
    assert set(VALUES) >= {("hardlabel", "SILENT"), ("hardlabel.attacks", "TABLE")}


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_public_name_is_described(name):
    assert lacks(DESCRIBED[name]) == []


@pytest.mark.parametrize(("module", "name"), VALUES)
def test_a_public_value_is_described_where_it_is_defined(module, name):
    """By a comment in its line, or by a text below it; in the room of the module that lists it."""
    room = ".".join(module.split(".")[:2])
    comment, text = rf"^{name}\b[^\n]*?=[^\n]*  # \S", rf"^{name}\b[^\n]*?=[^\n]*(?:\n[ )][^\n]*)*\n\"{{3}}\S"
    files = [path for other, path in FILES.items() if f"{other}.".startswith(f"{room}.")]
    assert any(re.search(rf"{comment}|{text}", path.read_text(), re.MULTILINE) for path in files)


# --- examples ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the runs that examples name, each made up."""
    folder = tmp_path_factory.mktemp("examples")
    digits = ranked(make_record(seed=1))
    for name, record in {
        "digits": digits,
        "v1": digits,
        "v2": ranked(make_record(seed=2)),
        "recipe": make_recipe_record(),
        "defenses": make_defend_record(),
        "canaries": make_canary_record(),
    }.items():
        record.save(folder / "runs" / name)
    return folder


def ranked(record):
    """The record with an attack that the ranking names."""
    return changed(record, data="digits", domain="image", choice=choice("boundary", 2500))


def skipped(case):
    return [line for line in case.examples if line.options.get(doctest.SKIP)]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_run(module, folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HARDLABEL_STORE", str(folder / "store"))
    cases = cases_of(importlib.import_module(module), module)
    for case in cases:
        assert bool(skipped(case)) == (case.name in NOT_RUN), f"{case.name}: run it, or give a reason why not"
    here = [case for case in cases if not any(f"{case.name}.".startswith(f"{row}.") for row in ROW_TESTS)]
    assert ran(here, FLAGS).failed == 0


def test_a_wrong_example_fails():
    case = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert ran([case], FLAGS).failed == 1


def test_each_example_that_is_not_run_is_there():
    for name in NOT_RUN:
        module, _, thing = name.rpartition(".")
        assert "+SKIP" in inspect.getdoc(getattr(importlib.import_module(module), thing))

"""The class or function behind each row of a registry says what it is, and its example runs.

Rows are read from the registries and rooms, so that a new row is checked without a change here.
"""

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

from docstrings import cases_of, ran, undescribed
from hardlabel import calibrations, data, executors, signals
from hardlabel.attacks import table as attacks
from hardlabel.calibrations.scaled import Scaled
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.defenses import table as defenses
from hardlabel.targets import registry
from hardlabel.targets.frameworks import table as frameworks
from test_words import found

SHAPE = re.compile(r"\((n|m|q|K|t|length|features)\b[^)]*\)")  # As in (n, 1) or (K, n, d).
YEAR = re.compile(r"([A-Z][\w-]+)(?: et al\.| & [A-Z]\w+)? (\d{4})")
FILE = re.compile(r"arXiv:\d{4}\.\d{5}|studies/\w+\.md")
METHODS = ("prepare", "fit", "check", "training", "changes", "prepared", "guard", "threshold_of")
FLAGS = doctest.ELLIPSIS


def own(thing):
    """Whether a thing is ours: other installed packages may add rows."""
    return thing.__module__.startswith("hardlabel.")


def classes_in(room, *having):
    """The public classes of a package's modules that have all these attributes, but for protocols."""
    for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            public = inspect.isclass(thing) and not name.startswith("_") and thing.__module__ == module.name
            if public and not getattr(thing, "_is_protocol", False) and all(hasattr(thing, part) for part in having):
                yield thing


def inner(thing):
    """The classes of an object and of the signals or calibrations it is made of."""
    if isinstance(thing, tuple):
        return {kind for part in thing for kind in inner(part)}
    if not (dataclasses.is_dataclass(thing) and (hasattr(thing, "prepare") or hasattr(thing, "fit"))):
        return set()
    fields = (getattr(thing, field.name) for field in dataclasses.fields(thing))
    return {type(thing), *(kind for value in fields for kind in inner(value))}


def behind_attack(row):
    """The classes of an attack's signals, at several budgets in several domains, and of its calibration."""
    kinds = inner(row.calibration)
    if isinstance(row, attacks.ScoreAttack):
        return kinds | inner(row.signal) | ({Scaled} if row.scaled else set())
    for domain in (Box((1, 8, 8)), Box((8,)), BinaryFeatures(8)):
        if row.unsuited(domain) is None:
            for queries in {row.fewest, row.usual, 10, 50}:
                kinds |= inner(row.signals(domain, max(queries, row.fewest)))
    return kinds


ATTACKS = {name: row for name, row in attacks.TABLE.items() if own(row.calibration)}
BEHIND_ATTACKS = {name: behind_attack(row) for name, row in ATTACKS.items()}
BUILT = {name: row.build(row.levels[0] if row.levels else 0.0) for name, row in defenses.TABLE.items()}
DEFENSES = {name: defense for name, defense in BUILT.items() if own(type(defense))}
KINDS = {
    "signal": {
        *classes_in(signals, "access", "prepare"),
        *(kind for kinds in BEHIND_ATTACKS.values() for kind in kinds if hasattr(kind, "access")),
    },
    "calibration": {
        *classes_in(calibrations, "per_sample", "fit"),
        *(kind for kinds in BEHIND_ATTACKS.values() for kind in kinds if hasattr(kind, "per_sample")),
    },
    "defense": {type(defense) for defense in DEFENSES.values()},
    "domain": set(classes_in(data, "noise_source", "noisy", "random", "distance")),
    "executor": {getattr(executors, name.capitalize()) for name in executors.NAMES},
    "target": {
        *(row.adapt for row in registry.ADAPTERS.values()),
        *(row.plain for row in frameworks.FRAMEWORKS),
    },
    "table": {attacks.LabelAttack, attacks.ScoreAttack, defenses.Row, registry.Adapter, frameworks.Framework},
}
ROWS = [
    pytest.param(kind, thing, id=f"{kind}-{thing.__name__}")
    for kind, things in KINDS.items()
    for thing in sorted(things, key=lambda thing: thing.__name__)
    if own(thing)
]


def lacks(kind, thing):
    """What the docstring of a class or function does not say, in words."""
    text = inspect.getdoc(thing) if "__doc__" in vars(thing) or not inspect.isclass(thing) else None
    if not text:
        return ["a docstring"]
    missing = []
    example = text.partition("Example:\n")[2]
    if ">>> " not in example:
        missing.append("an example")
    if dataclasses.is_dataclass(thing):
        fields = [field.name for field in dataclasses.fields(thing) if field.init and not field.name.startswith("_")]
        inherited = " ".join(inspect.getdoc(base) or "" for base in thing.__mro__[1:-1])
        listed = f"{text}\n{inherited if kind == 'table' else ''}"
        missing += undescribed(fields, listed)
    if "__post_init__" in vars(thing) and "Raises:\n    InvalidInput: " not in text:
        missing.append("errors")
    if kind in ("signal", "calibration", "domain", "target") and not SHAPE.search(text):
        missing.append("shapes")
    if kind == "signal" and not re.search(r"\b[Cc]osts?\b[^.]*\bquer(y|ies)\b", text, re.DOTALL):
        missing.append("the cost in queries")
    if kind == "defense" and not re.search(r"\b[Cc]osts?\b", text):
        missing.append("the cost")
    if kind in ("signal", "calibration") and "References:\n" not in text:
        missing.append("the source")
    if kind == "defense" and not re.search(r"\(\d{4}\)", text):
        missing.append("the source")
    rooms = ("signal", "calibration", "defense")  # The methods of the others have their words in a protocol.
    methods = [name for name in METHODS if kind in rooms and name in vars(thing)]
    missing += [f"a docstring of {name}" for name in methods if not vars(thing)[name].__doc__]
    if turns := found(text):
        missing.append(f"plain English: {turns}")
    return missing


@dataclasses.dataclass(frozen=True)
class Bare:
    """A signal that says nothing. Costs 1 query besides."""

    level: float

    def __post_init__(self):
        raise ValueError

    def prepare(self):
        pass


def test_what_a_docstring_lacks_is_named():
    assert lacks("signal", Bare) == [
        "an example",
        "attribute level",
        "errors",
        "shapes",
        "the source",
        "a docstring of prepare",
        "plain English: 1: 'besides', better also, or further",
    ]
    assert lacks("signal", type("Silent", (), {})) == ["a docstring"]


def test_rows_of_each_kind_are_seen():
    least = {"signal": 15, "calibration": 14, "defense": 28, "domain": 5, "executor": 2, "target": 11, "table": 5}
    assert {kind: len(things) >= least[kind] for kind, things in KINDS.items()} == dict.fromkeys(least, True)


@pytest.mark.parametrize(("kind", "thing"), ROWS)
def test_what_is_behind_a_row_is_described(kind, thing):
    assert lacks(kind, thing) == []


@pytest.mark.parametrize(("kind", "thing"), ROWS)
def test_its_example_runs(kind, thing):
    module = importlib.import_module(thing.__module__)
    failed, attempted = ran(cases_of(thing, thing.__name__, module), FLAGS)
    assert attempted > 0, kind
    assert failed == 0


def named(source, texts):
    """The authors with years, papers and studies of a row's source that none of the texts name."""
    people = [words for words in YEAR.findall(source) if not any(all(word in text for word in words) for text in texts)]
    return people + [paper for paper in FILE.findall(source) if not any(paper in text for text in texts)]


def test_a_source_that_no_docstring_names_is_found():
    assert named("Yeom et al. 2018; studies/X.md", ["Yeom et al. (2018)."]) == ["studies/X.md"]
    assert named("Song & Mittal 2021, section 3", ["Yeom et al. (2018)."]) == [("Song", "2021")]


def test_the_source_of_a_row_is_named_by_what_is_behind_it():
    rows = {name: (row.source, BEHIND_ATTACKS[name]) for name, row in ATTACKS.items()}
    rows |= {name: (defenses.TABLE[name].source, {type(defense)}) for name, defense in DEFENSES.items()}
    missing = {name: named(source, [inspect.getdoc(kind) for kind in kinds]) for name, (source, kinds) in rows.items()}
    assert {name: words for name, words in missing.items() if words} == {}


def test_functions_that_list_the_signals_of_an_attack_are_described():
    functions = {row.signals for row in ATTACKS.values() if isinstance(row, attacks.LabelAttack)}
    assert [one.__name__ for one in functions if one.__name__ != "<lambda>" and not one.__doc__] == []

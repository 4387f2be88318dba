"""Toys join as all else does: an option, a kind of run, and another package's attack, target and defense."""

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import pytest
import typer
from typer.testing import CliRunner

import hardlabel
from hardlabel.audits import kind as going
from hardlabel.audits.game.execution import USUAL
from hardlabel.audits.plan import Plan
from hardlabel.cli.options import command
from hardlabel.kinds import KINDS
from hardlabel.plugins import Registry
from hardlabel.records.base import Record
from hardlabel.records.part import RecordPart
from hardlabel.runs.kinds import Kind, Kinds
from hardlabel.runs.listing import FINISHED, listed
from hardlabel.runs.part import Part
from hardlabel.runs.settings import TrainedSettings, option, read
from hardlabel.store import Store

# --- an option and a kind ---


class Toys(Part, panel="Attacker"):
    toys: int = option(3, "How many toys are thrown.", old="dolls", ge=1)


class ToySettings(TrainedSettings, Toys):
    """A run that throws toys."""


class ToyResults(RecordPart):
    format: int = 1
    data: str
    thrown: int


class ToyRecord(Record[ToyResults]):
    file, content, readable, keeps_scores = "toys.json", ToyResults, (1,), False


@dataclass(frozen=True)
class ToyRun:
    settings: ToySettings

    settled = {"arch": "rag"}  # noqa: RUF012  # A constant.

    def plan(self, execution, folder):
        nothing = dict.fromkeys(("measurements", "scores", "done", "queries", "rows", "epochs", "bytes"), 0)
        return Plan(trainings=self.settings.toys, seconds=0.0, workers=execution.executor.width, **nothing)

    def play(self, asking, started):
        return ToyRecord(results=ToyResults(data=self.settings.data, thrown=self.settings.toys))


def prepare(settings, *, device, store, execution):
    return ToyRun(settings)


TOY = Kind(
    name="toy",
    title="a throw of toys",
    settings=ToySettings,
    command="throw",
    prepare=f"{__name__}:prepare",
    record=f"{__name__}:ToyRecord",
    file=ToyRecord.file,
    page=f"{__name__}:str",
    markdown=f"{__name__}:str",
)
WITH_TOYS = Kinds({**KINDS.rows, "toy": TOY})


def throwing(given):
    settings = WITH_TOYS.made(TOY, {name: value for name, value in given.items() if value is not None})
    print(going.run(WITH_TOYS, settings, store=None).results.thrown)  # noqa: T201  # What the command says.


@pytest.fixture
def app():
    made = typer.Typer()
    made.command("throw")(command(throwing, ToySettings, doc="Throw."))
    made.command("other")(lambda: None)
    return made


def test_a_toy_option_stands_in_the_help_with_its_panel_and_default(app):
    told = CliRunner().invoke(app, ["throw", "--help"], env={"COLUMNS": "200"}).output
    [line] = [line for line in told.splitlines() if "--toys" in line]
    assert "How many toys are thrown." in line
    assert "[default: 3]" in line
    assert "--dolls" not in told  # The old name is understood, not shown.
    assert ToySettings.panels["toys"] == "Attacker"
    assert ToySettings.panels["data"] == "Data"


def test_a_toy_option_is_read_from_the_command_line_and_kept(app, tmp_path):
    arguments = ["throw", "--data", "toys", "--toys", "5", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, arguments).output == "5\n"
    assert hardlabel.runs.folder.read_settings(tmp_path / "run")["toys"] == 5
    old = CliRunner().invoke(app, ["throw", "--dolls", "7", "--out", str(tmp_path / "old")])
    assert old.stdout == "7\n"
    assert "--dolls is now --toys" in old.stderr


def test_a_toy_kind_is_read_from_yaml_played_kept_listed_and_resumed(tmp_path):
    (tmp_path / "toy.yaml").write_text("kind: toy\ndata: toys\ndolls: 4\n")
    found = read(tmp_path / "toy.yaml")
    kind = WITH_TOYS.of(found)
    assert kind is TOY
    with pytest.warns(FutureWarning, match="dolls is now called toys"):
        settings = WITH_TOYS.made(kind, {**found, "out": tmp_path / "runs" / "a"})
    assert going.planned(WITH_TOYS, settings, store=None).trainings == 4
    record = going.run(WITH_TOYS, settings, store=Store(tmp_path / "store"), execution=USUAL)
    assert (record.results.thrown, record.config["kind"], record.config["arch"]) == (4, "toy", "rag")
    assert ToyRecord.load(record.folder).config == record.config
    assert json.loads((record.folder / "toys.json").read_text())["thrown"] == 4
    [run] = listed(
        Store(tmp_path / "store"), tmp_path / "runs", records=[each.file for each in WITH_TOYS.rows.values()]
    )
    assert (run.state, run.data) == (FINISHED, "toys")
    assert WITH_TOYS.begun(record.folder)[1].toys == 4
    # A folder never holds two kinds, and other kinds refuse its settings.
    model = KINDS.rows["model"]
    with pytest.raises(hardlabel.InvalidInput, match="holds a throw of toys; name a new folder"):
        WITH_TOYS.check_folder(model, model.settings(out=record.folder))
    with pytest.raises(
        hardlabel.InvalidInput, match="toys must be left at 3, since the audit of a model does not use it"
    ):
        WITH_TOYS.made(model, {"toys": 4})
    with pytest.raises(hardlabel.InvalidInput, match="toys: Extra inputs are not permitted"):
        KINDS.made(model, {"toys": 4})


# --- rows of another package ---

PACKAGE = {
    "pyproject.toml": """
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"
        [project]
        name = "toys"
        version = "1"
        [tool.setuptools]
        py-modules = ["toys"]
        [project.entry-points."hardlabel.attacks"]
        toy-attack = "toys:ATTACK"
        [project.entry-points."hardlabel.defenses"]
        toy-defense = "toys:DEFENSE"
        [project.entry-points."hardlabel.targets"]
        toy-target = "toys:TARGET"
        """,
    "toys.py": """
        from dataclasses import replace

        from hardlabel.attacks.table import TABLE
        from hardlabel.defenses import table as defenses
        from hardlabel.defenses.rounding import Rounding
        from hardlabel.targets.askable import AskableModel
        from hardlabel.targets.registry import Adapter


        class Toy:
            def __init__(self, answer):
                self.answer = answer


        class Asked:
            def __init__(self, toy):
                self.toy = toy

            def ask(self, inputs, ids):
                return inputs.new_full((len(inputs),), self.toy.answer).long()


        TARGET = Adapter(
            summary="a toy",
            accepts=lambda model: isinstance(model, Toy),
            adapt=lambda model, request: AskableModel(labels=Asked(model), scores=None, name=request.name),
        )


        def __getattr__(name):  # Rows of our tables, once those are whole.
            if name == "ATTACK":
                return replace(dict.__getitem__(TABLE, "gap"), name="toy-attack", summary="throws a toy")
            if name == "DEFENSE":
                return defenses.Row(
                    name="toy-defense", summary="a toy before the model", source="nobody", knob="", levels=(), cost="",
                    build=lambda level: Rounding(digits=1), keeps_labels=True, trains=False, guards=True,
                )
            raise AttributeError(name)
        """,
    "ask.py": """
        import numpy as np
        import hardlabel
        from toys import Toy

        rng = np.random.default_rng(0)
        inside, outside = ((rng.normal(size=(30, 3)), rng.integers(0, 2, 30)) for _ in range(2))
        record = hardlabel.audit(Toy(1), inside, outside, attacks=["gap", "toy-attack"])
        assert record.scores.query("attack == 'gap'")["score"].tolist() == \\
            record.scores.query("attack == 'toy-attack'")["score"].tolist()
        print(record.results.target.description, [attack.name for attack in record.results.attacks])
        try:
            hardlabel.audit(3, inside, outside)
        except hardlabel.InvalidInput as error:
            print(error)
        """,
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment in which the package `toys` is installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name, text in PACKAGE.items():
        (source / name).write_text(textwrap.dedent(text))
    quietly = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *quietly, "--target", target, source], check=True)
    path = os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])
    return source, {**os.environ, "PYTHONPATH": path, "HARDLABEL_STORE": str(target / "store")}


def output(installed, *arguments):
    source, environment = installed
    done = subprocess.run([sys.executable, *arguments], env=environment, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_toy_attack_and_a_toy_defense_are_listed(installed):
    assert "| toy-attack | label |" in output(installed, "-m", "hardlabel", "attacks")
    assert "| toy-defense | answers, never labels |" in output(installed, "-m", "hardlabel", "defend", "--list")


def test_a_toy_target_is_asked_and_a_toy_attack_played(installed):
    told = output(installed, "ask.py").splitlines()
    assert told[0] == "Toy ['gap', 'toy-attack']"
    assert told[1].startswith("target must be a model, got 3: known are ")
    assert told[1].endswith("; or a toy")


def test_a_toy_attack_and_a_toy_defense_run_from_the_command_line(installed):
    source, _ = installed
    small = ["--train-size", "40", "--max-epochs", "3", "--references", "2", "--device", "cpu", "--quiet"]
    compare = ["--repeats", "2", "--samples", "20", "--attacks", "gap,toy-attack", "--defenses", "toy-defense"]
    output(installed, "-m", "hardlabel", "defend", *small, *compare, "--out", "defend")
    assert hardlabel.load(source / "defend").defense("toy-defense").attack("toy-attack").auc.value is not None


class Point:
    def __init__(self, name, value=None, error=None):
        self.name, self.value, self._value, self._error, self.dist = name, "somewhere", value, error, None

    def load(self):
        if self._error is not None:
            raise self._error
        return self._value


@pytest.mark.parametrize(
    ("point", "told"),
    [
        (Point("taken", 2), "must have another name: 'taken' is taken"),
        (Point("new", error=ImportError("no module toys")), "cannot be loaded: ImportError: no module toys"),
        (Point("new", "a word"), "must be a row of the table, got str"),
    ],
)
def test_a_row_that_cannot_join_is_named(monkeypatch, point, told):
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    with pytest.raises(
        hardlabel.InvalidInput, match=f"entry point '{point.name}' of some.rows, in package 'somewhere', {told}"
    ):
        list(Registry("some.rows", {"taken": 1}, type=int))

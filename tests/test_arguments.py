"""Settings are written once: options, YAML, Python arguments, docstrings and records say the same."""

import inspect
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import typer
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from hardlabel import Attacker, Execution, Focus, InvalidInput
from hardlabel.audits.cases.terms import Terms
from hardlabel.cli import app as cli
from hardlabel.cli import lists
from hardlabel.data.sources import SOURCES
from hardlabel.kinds import KINDS
from hardlabel.models.architectures import ARCHITECTURES
from hardlabel.records import canaries
from hardlabel.reports import catalogue
from hardlabel.runs import settings
from hardlabel.runs.part import PANELS
from hardlabel.runs.settings import Where, how

CALLS = ("audit", "audit_recipe", "defend", "audit_canaries", "audit_planted")
# Arguments that no record holds: data, models, functions, where the work is done, and `name`, which may be a key.
UNKEPT = {
    "target",
    "members",
    "nonmembers",
    "population",
    "data",
    "model",
    "planted",
    "reference",
    "store",
    "execution",
    "name",
}
FIELDS = [(kind.settings, name) for kind in KINDS.rows.values() for name in kind.settings.model_fields]
COMMANDS = typer.main.get_command(cli.app).commands


def labels_of(count=240):
    digits = load_digits()
    return digits.images[:count, None] / 16, digits.target[:count]


def flat(inputs):
    return inputs.reshape(len(inputs), -1)


def made(name):
    """A record by each function, as small as can be."""
    inputs, labels = labels_of()
    tree, few = DecisionTreeClassifier(random_state=0), Attacker(references=2)
    if name == "audit":
        model = tree.fit(flat(inputs[:60]), labels[:60])
        rows = (inputs[:60], labels[:60]), (inputs[60:120], labels[60:120])
        slices = {"odd": (labels[:60] % 2, labels[60:120] % 2)}
        return hardlabel.audit(model, *rows, attacks=["gap"], focus=Focus(slices=slices))
    if name == "audit_recipe":
        return hardlabel.audit_recipe((inputs, labels), tree, train_size=40, repeats=2, attacks=["gap"], attacker=few)
    if name == "defend":
        wanted = {"defenses": ["label-only"], "attacks": ["gap"], "train_size": 40, "repeats": 2}
        return hardlabel.defend((inputs, labels), tree, attacker=few, **wanted)
    recipe = hardlabel.Recipe(architecture="logistic", max_epochs=2)
    if name == "audit_canaries":
        return hardlabel.audit_canaries((inputs, labels), recipe, canaries=10, kinds=["mislabelled"], train_size=60)
    planted = hardlabel.plant((inputs, labels), canaries=10, kinds=["rare"], train_size=60)
    model = tree.fit(flat(planted.training.inputs.numpy()), planted.training.labels.numpy())
    return hardlabel.audit_planted(model, planted)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_has_few_arguments_and_its_docstring_names_each(name):
    function = getattr(hardlabel, name)
    parameters = list(inspect.signature(function).parameters)
    assert len(parameters) <= 17
    listed = re.search(r"Args:\n(.*?)\n\n", inspect.getdoc(function), re.DOTALL)[1]
    assert re.findall(r"^    (\w+): ", listed, re.MULTILINE) == parameters


@pytest.mark.parametrize("name", CALLS)
def test_a_record_of_a_call_holds_all_that_was_asked(name):
    """Each argument, and each field of the objects among them, stands in `config` under its own name."""
    kept = made(name).config
    wanted = set(inspect.signature(getattr(hardlabel, name)).parameters) - UNKEPT
    for argument, part in (("attacker", Attacker), ("focus", Focus)):
        if argument in wanted:
            wanted = (wanted - {argument}) | set(part.model_fields)
    assert wanted <= set(kept)
    assert KINDS.of(kept).name == kept["kind"]


def test_of_slices_a_record_keeps_the_names_whatever_they_hold(tmp_path):
    inputs, labels = labels_of()
    slices = {"half": labels / 2, "word": ["a", "b"] * 120}
    record = hardlabel.audit_recipe(
        (inputs, labels),
        DecisionTreeClassifier(random_state=0),
        train_size=40,
        repeats=2,
        attacks=["gap"],
        attacker=Attacker(references=2),
        focus=Focus(slices=slices),
    )
    assert hardlabel.load(record.save(tmp_path).folder).config["slices"] == ["half", "word"]


def test_no_function_has_more_than_17_parameters():
    import ast
    from pathlib import Path

    for path in Path(hardlabel.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name != "__init__":
                count = sum(map(len, (node.args.posonlyargs, node.args.args, node.args.kwonlyargs)))
                assert count <= 17, f"{path.name}: {node.name} has {count}"


@pytest.mark.parametrize(("part", "name"), [*FIELDS, *((Where, name) for name in Where.model_fields)])
def test_every_setting_has_a_meaning_a_panel_and_an_option(part, name):
    field = part.model_fields[name]
    assert field.description
    assert field.description.endswith(".") or field.description.endswith("...")
    assert f"    {name}: {field.description}" in part.__doc__
    assert part.panels[name] in PANELS[:-1]
    kinds = [kind for kind in KINDS.rows.values() if kind.settings is part]
    for command in {kind.command for kind in kinds} or {"run"}:
        flags = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert (how(field)["flag"] or f"--{name.replace('_', '-')}") in flags


@pytest.mark.parametrize("name", sorted({kind.command for kind in KINDS.rows.values()}))
def test_the_help_shows_a_default_for_each_setting_that_has_one(name):
    """None, empty and false are no defaults worth a word unless the setting says what is then done."""
    for parameter in COMMANDS[name].params:
        fields = [k.settings.model_fields.get(parameter.name) for k in KINDS.rows.values() if k.command == name]
        fields = [field for field in fields if field is not None]
        if not fields or parameter.hidden:
            continue
        default = fields[0].get_default(call_default_factory=True)
        if how(fields[0])["shown"] or default not in (None, [], {}, False):
            assert "[default: " in parameter.help


@pytest.mark.parametrize("name", COMMANDS)
def test_defaults_stand_in_the_help_without_parentheses(name):
    command = COMMANDS[name]
    parameters = [parameter for parameter in command.params if getattr(parameter, "help", None)]
    assert parameters
    assert [parameter.name for parameter in parameters if isinstance(parameter.show_default, str)] == []


@pytest.mark.parametrize(
    ("name", "argument"), [("run", "config"), ("resume", "run"), ("gate", "run"), ("show", "folder")]
)
def test_what_a_command_cannot_do_without_is_required(name, argument):
    assert next(parameter for parameter in COMMANDS[name].params if parameter.name == argument).required


@pytest.mark.parametrize("name", ["audit", "defend", "canaries"])
def test_a_settings_file_is_optional(name):
    assert not next(parameter for parameter in COMMANDS[name].params if parameter.name == "config").required


def test_words_of_the_help_are_those_of_the_tables():
    """The help may not import what it lists, so the lists are compared here."""
    described = {
        name: field.description for kind in KINDS.rows.values() for name, field in kind.settings.model_fields.items()
    }
    for source in SOURCES:
        assert re.search(rf"\b{source}\b", described["data"])
    for architecture in ARCHITECTURES:
        assert re.search(rf"\b{architecture}\b", described["arch"])
    assert tuple(canaries.KINDS) == settings.CANARY_KINDS
    assert set(lists.DOMAINS.split(", ")) == set(catalogue.KINDS)


def test_what_a_settings_file_says_is_what_the_terms_are():
    given = {"attacks": "gap, noise", "budget": 7, "labels": "target", "worst_case": "5%", "prior": 0.2, "seed": 3}
    terms = Terms.of(KINDS.made(KINDS.rows["model"], given))
    assert (terms.attacks, terms.budget, terms.seed) == (("gap", "noise"), 7, 3)
    assert (terms.attacker.labels, terms.focus.worst_case, terms.focus.prior) == ("target", 0.05, 0.2)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Attacker(references=3.5), "references must be a whole number, got 3.5"),
        (lambda: Attacker(labels="guessed"), "labels must be 'true' or 'target', got 'guessed'"),
        (lambda: Attacker(labels="target", wrong_labels=0.1), "wrong_labels must be 0 where labels are the target's"),
        (lambda: Attacker(shadows=4), "shadows: Extra inputs are not permitted"),
        (lambda: Focus(prior=1.0), "prior must be below 1, got 1.0"),
        (lambda: Execution(chunk=0), "chunk must be at least 1, got 0"),
        (lambda: Terms.given("gap", None, 0, Attacker(), Focus()), "attacks must be a list of names, got the string"),
    ],
)
def test_a_wrong_argument_is_named(make, told):
    with pytest.raises(InvalidInput, match=re.escape(told)):
        make()


# --- old names ---


def test_old_names_of_arguments_work_and_warn():
    inputs, labels = labels_of()
    tree = DecisionTreeClassifier(random_state=0).fit(flat(inputs[:60]), labels[:60])
    rows = (inputs[:60], labels[:60]), (inputs[60:120], labels[60:120])
    old = {"prior": 0.2, "networks": "class", "shadows": 4, "work": Execution(chunk=7)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DeprecationWarning)
        record = hardlabel.audit(tree, *rows, attacks=["gap"], **old)
    messages = [str(one.message) for one in told if "the old name goes in 0.3" in str(one.message)]
    assert sorted(messages) == [
        "audit(networks=...) is now audit(attacker=Attacker(networks=...)); the old name goes in 0.3",
        "audit(prior=...) is now audit(focus=Focus(prior=...)); the old name goes in 0.3",
        "audit(shadows=...) is now audit(attacker=Attacker(references=...)); the old name goes in 0.3",
        "audit(work=...) is now audit(execution=...); the old name goes in 0.3",
    ]
    assert (record.config["prior"], record.config["networks"], record.config["references"]) == (0.2, "class", 4)
    today = hardlabel.audit(
        tree, *rows, attacks=["gap"], attacker=Attacker(networks="class", references=4), focus=Focus(prior=0.2)
    )
    assert today.config == record.config
    assert today.scores.equals(record.scores)


def test_a_name_with_a_new_meaning_keeps_its_old_one_where_that_is_not_given_otherwise():
    data = labels_of()
    tree, few = DecisionTreeClassifier(random_state=0), Attacker(references=2)
    same = {"train_size": 40, "repeats": 2, "attacks": ["gap"], "attacker": few}
    today = hardlabel.audit_recipe(data, tree, samples=30, **same)
    with pytest.warns(DeprecationWarning, match=r"audit_recipe\(samples=\.\.\.\) is now audit_recipe\(data=\.\.\.\)"):
        old = hardlabel.audit_recipe(attacked=60, samples=data, trainer=tree, **same)
    assert today.results.samples == old.results.samples == 60
    assert today.scores.equals(old.scores)
    odd = hardlabel.audit_recipe(data, tree, attacked=61, **same)
    assert odd.results.samples == 61


def test_an_argument_under_both_names_is_refused():
    tree, inputs = DecisionTreeClassifier(), np.zeros((60, 3))
    with pytest.raises(InvalidInput, match="work and execution are one argument: give execution only"):
        hardlabel.audit(tree, (inputs, inputs[:, 0]), (inputs, inputs[:, 0]), work=Execution(), execution=Execution())
    with pytest.raises(InvalidInput, match="size and train_size are one setting: give train_size only"):
        settings.renamed({"size": 5, "train_size": 6}, KINDS.settings)


def test_the_old_class_is_the_new_one():
    with pytest.warns(DeprecationWarning, match="hardlabel.Work is now hardlabel.Execution"):
        assert hardlabel.Work is Execution
    with pytest.raises(AttributeError, match="no attribute 'Worth'"):
        hardlabel.Worth  # noqa: B018


# --- imports ---


HEAVY = ("torch", "sklearn", "pandas", "scipy", "numpy")


@pytest.mark.parametrize(
    "program",
    [
        "import hardlabel",
        "import hardlabel.kinds",
        *(f"hardlabel {words}" for words in ("--version", "--help", "audit --help")),
    ],
)
def test_help_version_and_import_load_nothing_heavy(program):
    if program.startswith("hardlabel"):
        call = "from hardlabel.cli.app import main\ntry: main()\nexcept SystemExit: pass"
        program = f"import sys; sys.argv = {program.split()!r}\n{call}"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"{program}\nimport sys\nprint('\\nloaded:', [m for m in {HEAVY!r} if m in sys.modules])",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_every_public_name_is_there_when_it_is_asked_for():
    for name in hardlabel.__all__:
        assert getattr(hardlabel, name) is not None
    assert sorted(hardlabel.__all__) == sorted(hardlabel._HOME)
    assert set(hardlabel.__all__) <= set(dir(hardlabel))


def test_shell_completion_is_on():
    options = {option for parameter in typer.main.get_command(cli.app).params for option in parameter.opts}
    assert {"--install-completion", "--show-completion"} <= options

"""Wrong arguments and options are refused before any training and any query, by a line that names them."""

import inspect

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

import hardlabel
from commands import called
from hardlabel import Attacker, Execution, Focus, InvalidInput, Local, Recipe, kinds
from hardlabel.audits import canaries, defenses, model, recipe
from hardlabel.cli.options import _flag
from hardlabel.kinds import KINDS
from hardlabel.runs.part import types_of
from hardlabel.runs.settings import ModelSettings, Where, how

# In process and stopped before training, a case takes some milliseconds; the same cases in every run.
GENERATED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Reached(BaseException):
    """Training or a query was about to begin. No handler of the package catches it."""


def reached(*args, **kwargs):
    raise Reached


class Untrainable(DecisionTreeClassifier):
    """A classifier that says so when it is trained."""

    fit = reached


class Oracle:
    """A target that says so when it is asked."""

    ask = reached


def trainer(inputs, labels, *, seed):
    raise Reached


DIGITS = load_digits()
INPUTS, LABELS = DIGITS.images[:400, None] / 16, DIGITS.target[:400]
DATA = (INPUTS, LABELS)
MEMBERS, NONMEMBERS, POPULATION = [(INPUTS[a:b], LABELS[a:b]) for a, b in ((0, 60), (60, 120), (120, 400))]
FEW = Attacker(references=2)
PLANTED = hardlabel.plant(DATA, canaries=6, kinds=["rare"], train_size=60)
# Calls that would begin to train or to ask.
CALLS = {
    "audit": {"target": Oracle(), "members": MEMBERS, "nonmembers": NONMEMBERS, "attacks": ["gap"]},
    "audit_recipe": {"data": DATA, "trainer": trainer, "train_size": 40, "repeats": 2, "attacks": ["gap"]},
    "defend": {
        "data": DATA,
        "trainer": Untrainable(),
        "defenses": ["label-only"],
        "attacks": ["gap"],
        "train_size": 40,
        "repeats": 2,
    },
    "audit_canaries": {"data": DATA, "trainer": trainer, "canaries": 6, "kinds": ["rare"], "train_size": 60},
    "audit_planted": {"model": Oracle(), "planted": PLANTED},
    "plant": {"data": DATA, "canaries": 6, "kinds": ["rare"], "train_size": 60},
}
CALLS["audit_recipe"]["attacker"] = CALLS["defend"]["attacker"] = FEW
ARGUMENTS = [(name, argument) for name in CALLS for argument in inspect.signature(getattr(hardlabel, name)).parameters]
WRONG = (
    None,
    True,
    False,
    -1,
    0,
    3,
    10**30,
    -0.5,
    2.5,
    float("nan"),
    float("inf"),
    "x",
    "",
    "\0",
    b"x",
    [],
    [None],
    ["x"],
    {},
    {"x": None},
    {"x": ["y"]},
    {1: 2},
    (1, 2),
    object(),
    int,
    np.int64(3),
    np.float64(0.25),
    np.array([1, 2]),
    np.datetime64("2020-01-01"),
)
VALUES = st.one_of(st.sampled_from(WRONG), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers()))


def outcome(function, **arguments):
    """ "reached", "done", or the words of the refusal; every other error is raised."""
    try:
        function(**arguments)
    except Reached:
        return "reached"
    except InvalidInput as error:
        words = str(error)
        assert "\n" not in words
        assert len(words) > len("must be")
        return words
    return "done"


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_that_are_varied_here_begin_to_work(name):
    assert outcome(getattr(hardlabel, name), **CALLS[name]) == ("done" if name == "plant" else "reached")


@settings(GENERATED, max_examples=400)
@given(place=st.sampled_from(ARGUMENTS), value=VALUES)
def test_an_argument_of_any_value_is_taken_or_refused(place, value):
    name, argument = place
    outcome(getattr(hardlabel, name), **{**CALLS[name], argument: value})


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_every_argument_refuses_a_value_that_it_cannot_have_and_names_it(name, argument):
    told = outcome(getattr(hardlabel, name), **{**CALLS[name], argument: object()})
    if (name, argument) == ("audit_planted", "model"):
        assert "a model must be" in told or "model must be" in told
    else:
        assert argument in told
    assert "must" in told or "Input should be" in told
    assert "object" in told


NUMBERS = [
    (name, argument)
    for name, argument in ARGUMENTS
    if {int, float} & set(types_of(inspect.signature(getattr(hardlabel, name)).parameters[argument].annotation))
]


@pytest.mark.parametrize(("name", "argument"), NUMBERS)
@pytest.mark.parametrize("value", ["3", True, np.bool_(True), float("nan"), float("inf"), -1, 10**30, [3], {}])
def test_a_number_refuses_what_is_none(name, argument, value):
    told = outcome(getattr(hardlabel, name), **{**CALLS[name], argument: value})
    assert told.startswith(argument)
    assert "got" in told


@pytest.mark.parametrize(("name", "argument"), NUMBERS)
def test_a_number_that_has_no_open_meaning_refuses_none(name, argument):
    parameter = inspect.signature(getattr(hardlabel, name)).parameters[argument]
    told = outcome(getattr(hardlabel, name), **{**CALLS[name], argument: None})
    assert (told in ("reached", "done")) == (type(None) in types_of(parameter.annotation))
    assert told in ("reached", "done") or told.startswith(argument)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("audit", {"members": [0, 0]}, "members must hold at least one sample (n, ...), got shape ()"),
        ("audit", {"members": (INPUTS[:60], 0)}, "labels of members must be one for each sample (n,), got shape ()"),
        ("audit", {"seed": None}, "seed must be a whole number, got None"),
        ("audit", {"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ("audit", {"budget": True}, "budget must be a whole number, got True"),
        ("audit", {"budget": 0}, "budget must be at least 1, got 0"),
        ("audit", {"attacks": [None]}, "attacks must hold names, or attacks such as"),
        ("audit", {"attacks": 5}, "attacks must be a list of names, got 5"),
        ("audit", {"attacks": "gap"}, "attacks must be a list of names, got the string 'gap'"),
        ("audit", {"attacker": None}, "attacker must be a hardlabel.Attacker, got None"),
        ("audit", {"focus": {"prior": 0.1}}, "focus must be a hardlabel.Focus, got {'prior': 0.1}"),
        ("audit", {"store": "folder"}, "store must be a hardlabel.Store, got 'folder'"),
        ("audit", {"execution": None}, "execution must be a hardlabel.Execution, got None"),
        ("audit", {"device": 0}, "device"),
        ("audit", {"device": "meta"}, "device 'meta' cannot be used here"),
        ("audit", {"name": 5}, "name: Input should be a valid string, got 5"),
        ("audit", {"prior": "x"}, "prior must be a number, got 'x'"),  # An old name.
        ("audit", {"attacker": None, "shadows": 4}, "attacker must be an object with the field references, got None"),
        ("audit_recipe", {"attacked": "x"}, "attacked must be a whole number, got 'x'"),
        ("audit_recipe", {"samples": None}, "samples must not be left open here, got None"),
        ("audit_recipe", {"domain": hardlabel.Box}, "domain must be a domain such as hardlabel.Box, got <class"),
        ("audit_recipe", {"domain": "x"}, "domain must be a domain such as hardlabel.Box, got 'x'"),
        ("audit_recipe", {"trainer": DecisionTreeClassifier}, "trainer must take (inputs, labels, *, seed)"),
        ("audit_recipe", {"trainer": lambda inputs: None}, "trainer must take (inputs, labels, *, seed)"),
        ("defend", {"defenses": "l2"}, "defenses must be a list of names, got the string 'l2'"),
        ("defend", {"levels": {"label-only": [True]}}, "levels.label-only.0: Input should be a valid number, got True"),
        ("defend", {"levels": 5}, "levels: Input should be a valid dictionary, got 5"),
        ("audit_canaries", {"kinds": "rare"}, "kinds must be a list of names, got the string 'rare'"),
        ("audit_canaries", {"epsilon": -1}, "epsilon must be above 0, got -1"),
        ("audit_canaries", {"canaries": "6"}, "canaries must be a whole number, got '6'"),
        ("audit_planted", {"planted": DATA}, "planted must be a hardlabel.Planted"),
        ("audit_planted", {"delta": 1}, "delta must be below 1, got 1"),
        ("plant", {"canaries": None}, "canaries must be a whole number, got None"),
    ],
)
def test_a_wrong_argument_is_told_with_its_value_and_its_rule(name, arguments, told):
    found = outcome(getattr(hardlabel, name), **{**CALLS[name], **arguments})
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: hardlabel.load(None), "folder must be a path, got None"),
        (lambda: hardlabel.load(5), "folder must be a path, got 5"),
        (lambda: hardlabel.load("\0"), "folder must not hold a null character, got '\\x00'"),
        (lambda: hardlabel.load("x" * 256), "folder must not hold a name of more than 255 bytes, got 'xxx"),
        (lambda: hardlabel.write_report(None, "x"), "record must be a record of an audit, got None"),
        (lambda: hardlabel.write_report(None, None), "path must be a path, got None"),
        (lambda: hardlabel.Store(None), "root must be a path, got None"),
        (lambda: kinds.run(None, store=None), "settings must be settings of a run, such as ModelSettings, got None"),
        (lambda: kinds.planned({}, store=None), "settings must be settings of a run, such as ModelSettings, got {}"),
        (lambda: kinds.run(ModelSettings(), store="x"), "store must be a hardlabel.Store, got 'x'"),
        (lambda: kinds.run(ModelSettings(), store=None, execution=0), "execution must be a hardlabel.Execution, got 0"),
        (lambda: Execution(chunk="x"), "chunk must be a whole number, got 'x'"),
        (lambda: Execution(executor=None), "executor must be an object with run and device, got None"),
        (lambda: Execution(watch=print), "watch must be an object with stage"),
        (lambda: Local(processes=1.5), "processes must be a whole number, got 1.5"),
        (lambda: Recipe(learning_rate="x"), "learning_rate must be a number, got 'x'"),
        (lambda: Recipe(architecture=None), "architecture must be a name, got None"),
        (lambda: Recipe(batch_size=2.5), "batch_size must be a whole number, got 2.5"),
        (lambda: Focus(prior=float("nan")), "prior: Input should be a finite number, got nan"),
        (lambda: Focus(slices=np.zeros((9, 9))), "slices: Input should be a valid dictionary"),
        (lambda: Attacker(references="4"), "references must be a whole number, got '4'"),
        (lambda: Attacker(references=4.0), "references must be a whole number, got 4.0"),
        (lambda: Attacker(alike=1), "alike must be true or false, got 1"),
        (lambda: ModelSettings(data=b"digits"), "data must not be bytes, got b'digits'"),
    ],
)
def test_a_wrong_value_of_the_other_functions_and_classes_is_told(make, told):
    with pytest.raises(InvalidInput) as refused:
        make()
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "slices", [{"a": None}, {"a": 5}, {"a": ([1], [2])}, {"a": "ab"}, {"a": (None, None)}, {"a": {}}, {"a": object()}]
)
def test_slices_without_a_value_for_each_sample_are_refused(slices):
    assert "slices['a'] must hold" in outcome(hardlabel.audit, **CALLS["audit"], focus=Focus(slices=slices))
    call = CALLS["audit_recipe"]
    assert "slices['a'] must hold" in outcome(hardlabel.audit_recipe, **call, focus=Focus(slices=slices))


def test_numpys_numbers_are_numbers_and_stand_in_the_record_as_pythons():
    tree = DecisionTreeClassifier(random_state=0).fit(INPUTS[:60].reshape(60, -1), LABELS[:60])
    record = hardlabel.audit(
        tree,
        MEMBERS,
        NONMEMBERS,
        attacks=[np.str_("gap")],
        seed=np.int64(3),
        budget=np.uint8(5),
        samples=np.int32(30),
        train_size=np.int64(60),
        attacker=Attacker(references=np.int64(4), wrong_labels=np.float32(0), alike=np.bool_(False)),
        focus=Focus(prior=np.float64(0.25), show_records=np.bool_(False)),
        execution=Execution(chunk=np.int64(7)),
    )
    wanted = {"seed": 3, "budget": 5, "samples": 30, "train_size": 60, "references": 4, "alike": False, "prior": 0.25}
    for name, value in wanted.items():
        assert record.config[name] == value
        assert type(record.config[name]) is type(value)
    assert record.config["attacks"] == ["gap"]
    assert type(record.config["attacks"][0]) is str
    same = hardlabel.audit(
        tree,
        MEMBERS,
        NONMEMBERS,
        attacks=["gap"],
        seed=3,
        budget=5,
        samples=30,
        train_size=60,
        attacker=Attacker(references=4, alike=False),
        focus=Focus(prior=0.25),
    )
    assert same.scores.equals(record.scores)
    assert same.config == record.config


def test_numpys_numbers_make_the_same_recipe():
    mine = Recipe(max_epochs=np.int64(3), learning_rate=np.float64(0.25), augment=())
    assert repr(mine) == repr(Recipe(max_epochs=3, learning_rate=0.25))
    assert type(Local(processes=np.int64(2)).processes) is int


# --- the command line ---

COMMANDS = {"audit": ("model", "recipe"), "defend": ("defenses",), "canaries": ("canaries",)}
NUMBER_WORDS = ("x", "", "-1", "0", "1", "2", "3", "0.5", "nan", "inf", "1e400", "9" * 20, "true", "50%", "nan%")
TEXT_WORDS = (
    "x",
    "",
    "0",
    "é",
    "a,b",
    ",",
    "all",
    "x" * 300,
    "../x",
    "/",
    ".",
    "meta",
    "cpu",
    "digits",
    "gap",
    "gap,gap",
)
TEXT_WORDS += ("label-only", "label-only=1", "l2=", "=", "l2=x", "mirror", "shift:1", "shift:9999999999", "cnn", "fc")
TEXT_WORDS += ("target", "class", "sgd", "local", "rare")


def options_of(command):
    """The options of a command, with the words to try: none for a flag."""
    parts = [*(KINDS.rows[name].settings for name in COMMANDS[command]), Where]
    fields = {name: field for part in parts for name, field in part.model_fields.items()}
    words = {}
    for name, field in fields.items():
        kinds_of = set(types_of(field.annotation))
        few = NUMBER_WORDS if kinds_of & {int, float} else TEXT_WORDS
        words[how(field)["flag"] or _flag(name)] = None if kinds_of == {bool} else few
    return words


OPTIONS = {command: options_of(command) for command in COMMANDS}


def pairs_of(command):
    """One to three options with a word each."""
    option = st.sampled_from(sorted(OPTIONS[command])).flatmap(
        lambda flag: st.tuples(st.just(flag), st.sampled_from(OPTIONS[command][flag] or ("",)))
    )
    return st.tuples(st.just(command), st.lists(option, min_size=1, max_size=3))


GIVEN = st.sampled_from(sorted(OPTIONS)).flatmap(pairs_of)


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    """Nothing is trained and no speed is measured."""
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    for audit in (model.ModelAudit, recipe.RecipeAudit, defenses.DefensesAudit, canaries.CanariesAudit):
        monkeypatch.setattr(audit, "play", reached)
        monkeypatch.setattr(audit, "plan", reached)


def told_by(arguments, monkeypatch, capsys):
    """None if training was about to begin; else exit code and stderr, of which no traceback is part."""
    try:
        code, _, errors = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    except Reached:
        capsys.readouterr()
        return None
    assert "Traceback" not in errors, f"{arguments}: {errors}"
    assert code == 2, f"{arguments}: {errors}"
    assert errors.startswith("hardlabel: ") or " is now " in errors
    assert len(errors.splitlines()) == 1, f"{arguments}: {errors}"
    return code, errors


@settings(GENERATED, max_examples=400)
@given(command=GIVEN)
def test_options_of_any_value_begin_a_run_or_end_in_one_line(command, stopped, monkeypatch, capsys):
    name, pairs = command
    # Without a name, `defend` prepares every defense, which takes seconds.
    words = ["--defenses", "label-only"] if name == "defend" and "--defenses" not in dict(pairs) else []
    for flag, word in pairs:
        words += [flag] if OPTIONS[name][flag] is None else [flag, word]
    told_by([name, "--quiet", *words], monkeypatch, capsys)


CONTENT = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.lists(st.none()), st.just({"a": [1]})
)
NAMES = [*sorted({name for kind in KINDS.rows.values() for name in kind.settings.model_fields} - {"out"}), "kind", "x"]


@settings(GENERATED, max_examples=150)
@given(content=st.dictionaries(st.one_of(st.sampled_from(NAMES), st.integers()), CONTENT, max_size=3))
def test_a_settings_file_of_any_content_begins_a_run_or_ends_in_one_line(
    content, stopped, monkeypatch, capsys, tmp_path
):
    import yaml

    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    told_by(["run", "settings.yaml", "--quiet", "--out", "there"], monkeypatch, capsys)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["audit", "--augment", "shift:9999999999"], "augment shift must be at most 100, got 'shift:9999999999'"),
        (["audit", "--augment", "rotate:181"], "augment rotate must be at most 180"),
        (["audit", "--device", "meta"], "device 'meta' cannot be used here"),
        (["audit", "--data", "x" * 300], "data must not hold a name of more than 255 bytes"),
        (["audit", "--out", "x" * 300], "out must not hold a name of more than 255 bytes"),
        (["defend", "--pretrain", "x" * 300], "pretrain must not hold a name of more than 255 bytes"),
        (["audit", "--prior", "nan"], "prior: Input should be a finite number"),
        (["audit", "--seed", "99999999999999999999"], "seed must be at most 2**63 - 1 in size"),
        (["audit", "--worst-case", "nan%"], "worst_case: Input should be a finite number"),
        (["canaries", "--epsilon", "nan"], "epsilon: Input should be a finite number"),
        (["canaries", "--canaries", "-1"], "canaries must be at least 1"),
        (["audit", "--chunk", "0"], "chunk must be at least 1"),
    ],
)
def test_a_wrong_option_is_told(words, told, stopped, monkeypatch, capsys):
    code, errors = told_by([*words, "--quiet"], monkeypatch, capsys)
    assert code == 2
    assert told in errors


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1: 2", "must map names of settings to values, got the name 1"),
        ("kind: [1]", "kind must be one of model, recipe, target, defenses, canaries, got [1]"),
        ("seed: 2020-99-99", "it is not YAML"),
        ("seed: true", "seed must be a whole number, got True"),
        ("seed: 1e3", "seed must be a whole number, got '1e3'"),
    ],
)
def test_a_wrong_settings_file_is_told(text, told, stopped, monkeypatch, capsys, tmp_path):
    (tmp_path / "settings.yaml").write_text(text)
    code, errors = told_by(["run", "settings.yaml", "--quiet"], monkeypatch, capsys)
    assert code == 2
    assert told in errors


def test_a_number_with_an_exponent_is_a_number_in_a_settings_file():
    """YAML takes 1e-3 for text."""
    made = KINDS.made(KINDS.rows["model"], {"learning_rate": "1e-3", "seed": "4"})
    assert (made.learning_rate, made.seed) == (0.001, 4)

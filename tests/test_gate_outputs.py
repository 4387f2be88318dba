"""What build servers get of a gate: files that they can read, and hostile names that stay names."""

import os
import re
import stat
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
import yaml
from typer.main import get_command

import hardlabel
from commands import called
from hardlabel.cli import app as cli
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.gate import Decision, GateResult, Outcome
from hardlabel.reports.gate_outputs import annotations, exit_code, junit, plain, summary
from records import changed, choice, make_record

ROOT = Path(__file__).resolve().parents[1]
HOSTILE = [
    "a\n::error::owned\r\n##[error]owned",
    "::set-output name=x::y",
    "%0A::error::owned%25",
    "]]></system-out><script>alert(1)</script>",
    '" onload="x" \' & <b>',
    "a|b|c\n\n# heading\n- list",
    "![x](http://evil.example/x.png) [y](javascript:z) @everyone #1 www.evil.example",
    "\x00\x07\x1b[2J\x85\u2028\u202e\ufeff\ufffe\uffff\ud800",
    "`code` **bold** <!-- --> &lt;b&gt; \\",
]


def decided(outcome, text="label.auc > 0.6", figure="0.500 [0.400, 0.600]", reason="why"):
    return Decision(condition=text, outcome=outcome, figure=figure, reason=reason)


def result_of(*decisions):
    return GateResult(outcome=decisions[0].outcome, conditions=list(decisions))


EACH = result_of(
    decided(Outcome.TRIPPED, "label.auc > 0.6"),
    decided(Outcome.PASSED, "label.auc > 0.7"),
    decided(Outcome.UNDECIDED, "grade >= clear"),
)


@pytest.mark.parametrize(
    ("undecided", "part", "counts", "annotated"),
    [
        (None, "error", (1, 1, 0), "error"),
        ("pass", "skipped", (1, 0, 1), "warning"),
        ("fail", "failure", (2, 0, 0), "error"),
    ],
)
def test_each_condition_is_a_test_case_and_an_annotation(undecided, part, counts, annotated):
    suites = ElementTree.fromstring(junit(EACH, undecided=undecided))
    suite = suites.find("testsuite")
    for element in (suites, suite):
        assert element.get("tests") == "3"
        assert tuple(int(element.get(name)) for name in ("failures", "errors", "skipped")) == counts
    tripped, passed, open_ = suite.findall("testcase")
    assert [case.get("name") for case in (tripped, passed, open_)] == [each.condition for each in EACH.conditions]
    assert [child.tag for child in tripped] == ["failure", "system-out"]
    assert [child.tag for child in passed] == ["system-out"]
    assert [child.tag for child in open_] == [part, "system-out"]
    assert "0.500 [0.400, 0.600]" in tripped.find("failure").get("message")
    levels = [line.split()[0] for line in annotations(EACH, undecided=undecided)]
    assert levels == ["::error", "::notice", f"::{annotated}"]


def test_exit_codes_differ():
    assert [exit_code(outcome) for outcome in (Outcome.PASSED, Outcome.TRIPPED, Outcome.UNDECIDED)] == [0, 3, 4]
    assert [exit_code(Outcome.UNDECIDED, way) for way in ("pass", "fail")] == [0, 3]
    assert [exit_code(Outcome.TRIPPED, way) for way in ("pass", "fail")] == [3, 3]


# Hostile names


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_injects_nothing(name):
    result = result_of(decided(Outcome.TRIPPED, f"{name}.auc > 0.5", name, f"attack “{name}” was not run"))
    text = junit(result)
    suites = ElementTree.fromstring(text.encode())  # Whole, and nothing more in it than without the name.
    assert [element.tag for element in suites.iter()] == [
        *("testsuites", "testsuite", "testcase", "failure", "system-out")
    ]
    assert set(suites.find("testsuite/testcase").attrib) == {"classname", "name"}
    assert set(suites.find("testsuite/testcase/failure").attrib) == {"message", "type"}

    markdown = summary(result, title=name)
    lines = markdown.splitlines()
    assert len(lines) == 7  # Heading, title, table of two and of one row.
    assert len(re.findall(r"(?<!\\)\|", lines[6])) == 5
    assert not re.search(r"<(?!!-- -->)[a-z/!]", markdown, re.IGNORECASE)
    assert not re.search(r"@\w|#\d|\w://|www\.|(?<=\])\(|^# |^- ", markdown, re.MULTILINE)

    [line] = annotations(result)
    begin = "::error title=hardlabel gate tripped::"
    assert line.startswith(begin)
    assert "\n" not in line
    assert "\r" not in line
    assert not re.search("%(?!25)", line[len(begin) :])
    for line in plain(result):
        assert len(line.splitlines()) == 1
        assert not line.strip().startswith("::")
        assert "##[" not in line


@pytest.mark.parametrize("name", HOSTILE[:4])
def test_a_hostile_attack_in_a_record_gets_through_the_gate_as_a_name(name):
    record = make_record()
    attack = record.results.attacks[0].model_copy(update={"name": name, "auc": Estimate(0.5, 0.49, 0.51)})
    record = changed(record, attacks=[attack], choice=choice(name))
    result = hardlabel.gate(record, [f"{name}.auc > 0.6", "gap.auc > 0.6", "grade >= clear"])
    assert result.conditions[0].outcome is Outcome.PASSED
    missing = changed(record, attacks=make_record().results.attacks, choice=choice(name))
    result = hardlabel.gate(missing, ["label.auc > 0.99"])
    assert name in result.conditions[0].reason
    assert len(str(result).splitlines()) == 2
    assert len(annotations(result)) == 1
    ElementTree.fromstring(junit(result).encode())


# Written by the command line


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return changed(make_record(), choice=choice("boundary")).save(tmp_path / "run").folder


@pytest.mark.parametrize(("limit", "code"), [(0.6, 3), (0.99, 0), (0.9, 4)])
def test_files_are_written_whatever_the_outcome(limit, code, run, monkeypatch, capsys):
    condition = f"label.auc > {limit}"
    files = ["--junit", "new/gate.xml", "--summary", "gate.md"]
    given, stdout, stderr = called("gate", run, "--fail-if", condition, *files, monkeypatch=monkeypatch, capsys=capsys)
    assert given == code, (stdout, stderr)
    assert "::" not in stdout + stderr  # No server asked for annotations.
    case = ElementTree.parse("new/gate.xml").find("testsuite/testcase")
    assert case.get("name") == condition
    assert condition in Path("gate.md").read_text()


def test_github_gets_annotations_and_a_summary_beside_what_is_there(run, tmp_path, monkeypatch, capsys):
    steps = tmp_path / "steps.md"
    steps.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(steps))
    code, stdout, stderr = called("gate", run, "--fail-if", "label.auc > 0.6", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 3
    assert [line for line in stderr.splitlines() if line.startswith("::")] == stderr.splitlines()
    assert stderr.startswith("::error title=hardlabel gate tripped::label.auc > 0.6: tripped: ")
    assert "::" not in stdout
    assert steps.read_text().startswith("before\n### ")


def test_a_file_that_cannot_be_written_does_not_hide_the_outcome(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("")
    for limit, code in ((0.6, 3), (0.99, 1)):  # Who reads only the file must not take it for passed.
        arguments = ["gate", run, "--fail-if", f"label.auc > {limit}", "--junit", "taken/gate.xml"]
        given, _, stderr = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
        assert given == code
        assert "cannot be written" in stderr


# The action and the template


def options_of(name):
    command = get_command(cli.app).commands[name]
    return {option for parameter in command.params for option in parameter.opts}


def used_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def test_the_action_and_the_template_use_options_that_exist():
    assert isinstance(cli.app, typer.Typer)
    action, template = action_steps()[1]["run"], (ROOT / "ci" / "hardlabel.gitlab-ci.yml").read_text()
    assert used_in(action) == {"--fail-if", "--undecided", "--junit", "--summary"}
    for name in ("audit", "defend", "canaries", "run", "resume", "gate"):
        assert used_in(action) <= options_of(name), name
    job = yaml.safe_load(template)[".hardlabel"]
    script = "\n".join(job["script"])
    assert used_in(script) == {"--out", "--fail-if", "--junit", "--summary"}
    for name in ("audit", "defend", "canaries", "run"):
        assert used_in(script) <= options_of(name), name
    assert used_in("\n".join(line for line in template.splitlines() if line.startswith("#"))) <= options_of("audit")
    assert job["artifacts"]["reports"]["junit"] == "gate.xml"
    assert job["artifacts"]["when"] == "always"


def action_steps():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    names = set(action["inputs"])
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]  # What a user gives reaches the script as a variable, never as its text.
        given = re.findall(r"inputs\.([a-z-]+)", " ".join(step["env"].values()))
        assert set(given) <= names
        names -= set(given)
    assert not names, "an input is not used"
    assert all("steps.gate.outputs." in output["value"] for output in action["outputs"].values())
    return action["runs"]["steps"]


@pytest.fixture
def bench(tmp_path):
    """A folder with a program `hardlabel` that writes its arguments and ends with the code it is told."""
    program = tmp_path / "bin" / "hardlabel"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done > words\nexit "$CODE"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "bin" / "python").symlink_to(os.path.realpath("/proc/self/exe"))
    return tmp_path


def shell(script, folder, *, program=("bash", "--noprofile", "--norc", "-eo", "pipefail"), **variables):
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "CODE": "0", "GITHUB_OUTPUT": str(folder / "outputs")}
    return subprocess.run(
        [*program, "-c", script], cwd=folder, env={**environment, **variables}, capture_output=True, text=True
    )


EMPTY = dict.fromkeys(("ARGUMENTS", "FAIL_IF", "UNDECIDED", "JUNIT", "SUMMARY"), "")


@pytest.mark.parametrize(
    ("code", "outcome"), [(0, "passed"), (1, "failed"), (2, "failed"), (3, "tripped"), (4, "undecided")]
)
def test_the_action_passes_every_word_on_and_tells_the_outcome(code, outcome, bench):
    ran = shell(
        action_steps()[1]["run"],
        bench,
        **EMPTY
        | {
            "ARGUMENTS": "audit --data 'my file.csv' $(touch owned) `touch owned` ; touch owned *",
            "FAIL_IF": "label.auc > 0.60\n\n  \ngrade >= clear\n",
            "UNDECIDED": "pass",
            "JUNIT": "a b.xml",
            "CODE": str(code),
        },
    )
    assert ran.returncode == code, ran.stderr
    assert (bench / "words").read_text().splitlines() == [
        *("audit", "--data", "my file.csv", "$(touch", "owned)", "`touch", "owned`", ";", "touch", "owned", "*"),
        *("--fail-if", "label.auc > 0.60", "--fail-if", "grade >= clear", "--undecided", "pass", "--junit", "a b.xml"),
    ]
    assert not (bench / "owned").exists()
    assert (bench / "outputs").read_text().splitlines() == [f"outcome={outcome}", f"exit-code={code}"]


@pytest.mark.parametrize("arguments", ["", "  ", "audit 'open"])
def test_the_action_never_passes_without_a_command(arguments, bench):
    ran = shell(action_steps()[1]["run"], bench, **EMPTY | {"ARGUMENTS": arguments})
    assert ran.returncode != 0
    assert not (bench / "words").exists()


@pytest.mark.parametrize("program", [("bash", "-e"), ("sh", "-e")], ids=["bash", "sh"])
@pytest.mark.parametrize("condition", ["", "label.auc > 0.60"])
def test_the_templates_script_passes_words_on(program, condition, bench):
    job = yaml.safe_load((ROOT / "ci" / "hardlabel.gitlab-ci.yml").read_text())[".hardlabel"]
    variables = {"HARDLABEL_ARGUMENTS": "audit --data *", "HARDLABEL_FAIL_IF": condition, "HARDLABEL_RUN": "runs/a b"}
    ran = shell("\n".join(job["script"]), bench, program=program, **variables)
    assert ran.returncode == 0, ran.stderr
    assert (bench / "words").read_text().splitlines() == [
        *("audit", "--data", "*", "--out", "runs/a b"),
        *(["--fail-if", condition] if condition else []),
        *("--junit", "gate.xml", "--summary", "gate.md"),
    ]

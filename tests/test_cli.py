"""The command line: exit codes, streams, one clear line for bad usage, and nothing asked twice."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from rich.console import Console

import hardlabel
from commands import called
from hardlabel.attacks import TABLE, ladder
from hardlabel.checks import InvalidInput
from hardlabel.cli import app as cli
from hardlabel.cli.usage import MEANT
from hardlabel.kinds import markdown, render
from hardlabel.records.recipe import RecipeRecord
from hardlabel.reports import catalogue
from hardlabel.reports.summary import WIDE, summary, verdict_lines
from records import CALIBRATED, make_canary_record, make_defend_record, make_recipe_record, make_record

SMALL = ["--train-size", "60", "--max-epochs", "20", "--attacks", "gap,noise,loss", "--device", "cpu"]
CALIBRATED_BY_TWO = ["--train-size", "60", "--max-epochs", "10", "--device", "cpu"]
CALIBRATED_BY_TWO += ["--references", "2", "--attacks", "gap,gap-ratio"]


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


def visible(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_an_audit_leaves_a_whole_run_folder_and_prints_only_the_reports_path(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    code, stdout, stderr = called("audit", *SMALL, "--out", out, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, stderr
    assert stdout.strip() == str(out / "report.html")
    told = stderr.splitlines()
    first, second = (told.index(line) for line in verdict_lines(hardlabel.load(out)))
    table = next(place for place, line in enumerate(told) if line.startswith("attack "))
    assert first + 1 == second < table  # The verdict in two lines, then the table, what to do, and where it is.
    assert next(line for line in told[:table] if line.startswith("next 1: "))  # The answer and what follows first.
    assert told[-1] == f"kept in {out}"
    assert any(line.startswith("noise") for line in told[table:])
    assert visible(out) == {
        *("config.yaml", "journal.jsonl", "scores.parquet", "results.json", "report.html", "SHA256SUMS")
    }
    results = json.loads((out / "results.json").read_text())
    assert [attack["name"] for attack in results["attacks"]] == ["gap", "noise", "loss"]
    for attack in results["attacks"]:
        assert {"value", "low", "high"} <= set(attack["auc"])
        assert attack["access"] == TABLE[attack["name"]].access
        assert attack["queries_per_sample"]["mean"] <= attack["queries_per_sample"]["max"]
        assert set(attack["tpr_at_fpr"]) == {"0.1", "0.01", "0.001"}
    scores = pd.read_parquet(out / "scores.parquet")
    assert {"id", "member", "attack", "score", "queries"} <= set(scores.columns)
    assert len(scores) == 3 * 120
    assert results["environment"]["command"].startswith("hardlabel audit --train-size 60")
    assert yaml.safe_load((out / "config.yaml").read_text())["train_size"] == 60
    record = hardlabel.load(out)
    table = record.table()
    assert list(table["name"]) == ["gap", "noise", "loss"]
    assert {"access", "queries", "auc", "auc_low", "auc_high"} <= set(table.columns)
    assert table["auc"].tolist() == [attack["auc"]["value"] for attack in results["attacks"]]


def test_quiet_says_nothing_but_the_path(tmp_path, monkeypatch, capsys):
    code, stdout, stderr = called(
        "audit", *SMALL, "--quiet", "--out", tmp_path / "run", monkeypatch=monkeypatch, capsys=capsys
    )
    assert (code, stderr) == (0, "")
    assert stdout.strip().endswith("report.html")


def test_the_same_command_trains_and_asks_nothing_again_and_finds_the_same(tmp_path, monkeypatch, capsys):
    arguments = ["audit", *SMALL, "--quiet", "--out"]
    assert called(*arguments, tmp_path / "one", monkeypatch=monkeypatch, capsys=capsys)[0] == 0

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("hardlabel.models.model_store.train", refuse)
    for name in ("Noise", "Gap"):
        module = f"hardlabel.signals.{name.lower()}.{name}Plan.measure"
        monkeypatch.setattr(module, refuse)
    assert called(*arguments, tmp_path / "two", monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    one, two = (hardlabel.load(tmp_path / name) for name in ("one", "two"))
    assert one.scores.equals(two.scores)


def test_a_configuration_file_is_read_and_options_take_precedence(tmp_path, monkeypatch, capsys):
    path = tmp_path / "audit.yaml"
    path.write_text("train_size: 50\nmax_epochs: 10\nattacks: [gap, loss]\nprior: 0.1\ndevice: cpu\n")
    out = tmp_path / "run"
    code, _, stderr = called(
        "audit", path, "--attacks", "gap", "--quiet", "--out", out, monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 0, stderr
    record = hardlabel.load(out)
    assert [attack.name for attack in record.results.attacks] == ["gap"]
    assert (record.results.prior, record.config["train_size"]) == (0.1, 50)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--data", "cifar11"], "'cifar11' is unknown: did you mean 'cifar10'"),
        (["--data", "cifar10", "--folder", "."], "train-*.parquet"),
        (["--data", "none.csv"], "none.csv"),
        (["--attacks", "hopskip"], "attack 'hopskip' is unknown"),
        (["--attacks", ""], "attacks must name at least one attack"),
        (["--attacks", "boundary", "--budget", "10"], "budget must be at least 25 for attack 'boundary', got 10"),
        (["--arch", "cnn"], "cnn"),
        (["--arch", "cnn", "--repeats", "2"], "cnn"),
        (["--shadow-samples", "5", "--repeats", "2"], "shadow_samples must be at least 20, got 5"),
        (["--arch", "resnet19"], "did you mean 'resnet18'"),
        (["--train-size", "2000"], "train_size must lie in [1, 449]"),
        (["--train-size", "60", "--samples", "61"], "samples must be at most 60"),
        (["--shadow-samples", "5"], "shadow_samples must be at least 20, got 5"),
        (
            ["--train-size", "15", "--attacks", "augmentation"],
            "attack 'augmentation' cannot be run: it needs a shadow model",
        ),
        (["--networks", "many"], "networks must be 'all' or 'class'"),
        (["--prior", "1"], "prior must be below 1, got 1"),
        (["--budget", "0"], "budget must be at least 1, got 0"),
        (["--references", "3", "--train-size", "60"], "references must be an even number from 2 to 256, got 3"),
        (["--references", "1"], "references must be at least 2, got 1"),
        (["--references", "258"], "references must be at most 256, got 258"),
        (["--repeats", "1"], "repeats must be at least 2, got 1"),
        (["--references", "4", "--repeats", "7"], "repeats must lie in [2, references + 2 = 6], got 7"),
        (["--references", "5", "--repeats", "2"], "references must be an even number from 2 to 256, got 5"),
        (["--repeats", "two"], "--repeats must be a whole number, got 'two'"),
        (["--attacks", "all,gap"], "attack 'all' is unknown"),
        (["--augment", "spin"], "joined by +, got 'spin'"),
        (["--augment", "shift:2+shift:3"], "augment must join different moves, got 'shift:2+shift:3'"),
        (["--augment", "cutout:101"], "augment cutout must be at most 100, got 'cutout:101'"),
        (["--augment", "shift:100+rotate:9"], "at most 100,000 moves, got 'shift:100+rotate:9', which makes 383,819"),
        (["--device", "abacus"], "device 'abacus' cannot be used here: use auto or cpu"),
        (["--arch", "resnet19", "--repeats", "2"], "arch 'resnet19' is unknown"),
        (["--arch", "cnn1d"], "arch 'cnn1d' does not suit the data: shape must be"),
        (["--train-size", "x"], "--train-size must be a whole number, got 'x'"),
        (["--size", "1.5"], "--size must be a whole number, got '1.5'"),
        (["--gpus", "half"], "--gpus must be a number, got 'half'"),
        (["--executor", "ray", "--jobs", "3"], "jobs is a setting of executor 'local', got executor 'ray'"),
        (["--label", "x"], "label must be left out, since the data set 'digits' needs no such setting, got 'x'"),
        (["--repeats", "2", "--missing", "?"], "missing must be left out, since the data set 'digits'"),
        (["--folder", "sets"], "folder must be left out, since data 'digits' is bundled, got 'sets'"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--budget", "many"], "--budget must be a whole number, got 'many'"),
        (["--colour", "red"], "colour"),
        (["missing.yaml"], "config 'missing.yaml' cannot be read"),
        (["--out", "taken/run"], "out 'taken/run' must be a folder that can be written to"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2_before_any_training(arguments, rule, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.delenv("HARDLABEL_DATA", raising=False)

    def refuse(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr("hardlabel.models.trainers.RecipeTrainer.fit", refuse)
    code, stdout, stderr = called("audit", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout) == (2, "")
    assert not (tmp_path / "runs").exists()
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert len(lines) == 1, stderr
    assert rule in lines[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["run"],
            "Missing argument 'config' (settings as YAML; `kind:` names the kind of run): see `hardlabel run --help`",
        ),
        (["resume"], "Missing argument 'run' (a run folder): see `hardlabel resume --help`"),
        (
            ["gate", "--fail-if", "label.auc > 0.6"],
            "Missing argument 'run' (a run folder): see `hardlabel gate --help`",
        ),
        (["show"], "Missing argument 'run' (a run folder): see `hardlabel show --help`"),
        (["ledger"], "Missing argument 'run' (a run folder, or the file of a ledger): see `hardlabel ledger --help`"),
        (["attacks", "--budget", "x"], "--budget must be a whole number, got 'x'"),
        (["reproduce", "--part", "1", "--part", "two"], "--part must be a whole number, got 'two'"),
        (["reproduce", "--minutes", "1h"], "--minutes must be a number, got '1h'"),
        (["reproduce", "--executor", "ray", "--jobs", "2", "--dry-run"], "jobs is a setting of executor 'local'"),
        (["defend", "--pretrain", "nosuch"], "pretrain: data 'nosuch' is unknown"),
        (["canaries", "--categorical", "x"], "categorical must be left out, since the data set 'digits'"),
        (["audit", "--model", "x"], "No such option: --model: did you mean --target?"),
        (["runs", "--model", "x"], "No such option: --model"),
    ],
)
def test_wrong_words_after_a_command_are_one_line_and_exit_code_2(arguments, line, monkeypatch, capsys):
    code, stdout, stderr = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout) == (2, "")
    assert stderr.startswith(f"hardlabel: {line}"), stderr
    assert stderr.count("\n") == 1, stderr


def test_every_option_that_is_offered_for_another_name_exists_and_the_other_does_not():
    options = {
        name for parameter in typer.main.get_command(cli.app).commands["audit"].params for name in parameter.opts
    }
    assert set(MEANT.values()) <= options
    assert not set(MEANT) & options


def test_the_program_alone_prints_its_help_and_no_error(monkeypatch, capsys):
    _, stdout, stderr = called(monkeypatch=monkeypatch, capsys=capsys)
    assert "Usage: hardlabel" in stdout + stderr
    assert "hardlabel: " not in stderr


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("train_size: [", "cannot be read: it is not YAML"),
        ("- train_size", "must map settings to values, got list"),
        ("train_sizes: 5", "train_sizes: Extra inputs are not permitted"),
        ("train_size: much", "train_size must be a whole number, got 'much'"),
    ],
)
def test_a_bad_configuration_file_is_named(content, rule, tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.yaml").write_text(content)
    code, _, stderr = called("audit", "bad.yaml", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert rule in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_a_folder_with_another_audit_is_refused(tmp_path, monkeypatch, capsys):
    arguments = ["audit", *SMALL, "--quiet", "--out", tmp_path / "run"]
    assert called(*arguments, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    assert called(*arguments, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    code, _, stderr = called(*arguments, "--seed", "7", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "holds another audit (it differs in seed)" in stderr


@pytest.mark.parametrize("name", ["results.json", "config.yaml", "scores.parquet"])
def test_a_damaged_run_is_named(name, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    assert called("audit", *SMALL, "--quiet", "--out", out, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
    (out / name).write_bytes((out / name).read_bytes()[:3])  # Whole lines alone are YAML, too.
    code, _, stderr = called("show", out, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert name in stderr
    assert "Traceback" not in stderr


def test_two_models_and_two_domains_in_one_store_keep_their_own_answers(tmp_path, monkeypatch, capsys):
    """The same numbers as floats and as whole numbers are two domains: their noise, and so their scores, differ."""
    rng = np.random.default_rng(0)
    inputs, labels = rng.integers(0, 50, (240, 4)), rng.integers(0, 2, 240)
    np.savez(tmp_path / "whole.npz", inputs=inputs, labels=labels)
    np.savez(tmp_path / "real.npz", inputs=inputs.astype(float), labels=labels)
    scores = {}
    for name in ("whole", "real"):
        arguments = ["audit", "--data", tmp_path / f"{name}.npz", *SMALL, "--quiet", "--out", tmp_path / name]
        assert called(*arguments, monkeypatch=monkeypatch, capsys=capsys)[0] == 0
        record = hardlabel.load(tmp_path / name)
        scores[name] = record.scores.query("attack == 'noise'")["score"].to_numpy()
    assert not np.array_equal(scores["whole"], scores["real"])


def test_a_failure_is_exit_code_1(tmp_path, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise RuntimeError("the model server is gone")

    monkeypatch.setattr(cli, "run", fail)
    code, stdout, stderr = called("audit", "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout) == (1, "")
    assert "hardlabel: RuntimeError: the model server is gone" in stderr


def test_the_table_of_attacks_names_them_all(monkeypatch, capsys):
    code, stdout, _ = called("attacks", "--all", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    for name, row in TABLE.items():
        assert name in stdout
        assert row.access in stdout
    assert "Choquette-Choo" in stdout


ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def at_terminal(*arguments, monkeypatch, capsys, columns=80):
    """The lines that a terminal of so many columns shows of stdout."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, stdout, _ = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    return ANSI.sub("", stdout).splitlines()


def test_the_short_list_of_attacks_fits_80_columns_and_cuts_no_name(monkeypatch, capsys):
    code, stdout, _ = called("attacks", monkeypatch=monkeypatch, capsys=capsys)
    [table] = listed(stdout)
    assert (code, list(table)) == (0, list(TABLE))
    assert all(len(cells) == 4 for cells in table.values())  # Sees, queries, what it does, and the line's end.
    assert all(TABLE[name].summary.startswith(cells[2].strip()) for name, cells in table.items())
    lines = at_terminal("attacks", monkeypatch=monkeypatch, capsys=capsys)
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert [line.split()[0] for line in lines if line and line[0] != " "][1:] == list(TABLE)


def test_without_a_budget_the_list_hints_at_it_aside(monkeypatch, capsys):
    _, stdout, stderr = called("attacks", monkeypatch=monkeypatch, capsys=capsys)
    assert "hardlabel attacks --budget 10" in stderr
    assert "hardlabel attacks --budget" not in stdout
    assert stdout.startswith("| name | sees | queries | what it does |")


def listed(stdout):
    """The Markdown tables of the output, each as rows of cells by the first cell."""
    tables = [part.splitlines() for part in stdout.split("\n\n") if part.startswith("|")]
    return [{cells[1].strip(): cells[2:] for cells in (line.split("|") for line in lines[2:])} for lines in tables]


def test_with_a_budget_the_list_names_the_strongest_attack_and_what_lies_beyond(monkeypatch, capsys):
    code, stdout, stderr = called("attacks", "--budget", 10, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stderr) == (0, "")
    assert stdout.startswith("The strongest label-only attack within 10 queries per sample:")
    best, every = listed(stdout)
    for kinds, cells in best.items():
        for kind in kinds.split(", "):
            rung = ladder.best(catalogue.KINDS[kind], 10, {})
            assert [cell.strip() for cell in cells[:3]] == [rung.attack, str(rung.queries), rung.why]
    assert sorted(kind for kinds in best for kind in kinds.split(", ")) == sorted(catalogue.KINDS)
    assert set(every) == set(TABLE)
    for name, row in TABLE.items():
        told = "within" if row.fewest <= 10 else f"beyond: needs {row.fewest} queries"
        assert every[name][0].strip() == told


def test_what_nobody_can_provide_changes_the_strongest_attack(monkeypatch, capsys):
    def asked(*arguments):
        code, stdout, stderr = called("attacks", *arguments, monkeypatch=monkeypatch, capsys=capsys)
        assert code == 0, stderr
        return listed(stdout)

    best, every = asked("--budget", 30, "--no-trainer", "--domain", "image")
    assert list(best) == ["image"]
    missing = catalogue.Means(trainer=False).missing
    assert best["image"][0].strip() == ladder.best(catalogue.KINDS["image"], 30, missing).attack
    assert "no trainer" in every["path-estimate"][0]
    assert every["noise"][0].strip() == "within"
    best, every = asked("--budget", 10, "--no-data", "--data", "mixed table")
    missing = catalogue.Means(data=False).missing
    assert best["mixed table"][0].strip() == ladder.best(catalogue.KINDS["mixed table"], 10, missing).attack
    assert "no data of its own" in every["path"][0]
    assert every["gap-ratio"][0].strip() == "within"
    assert "needs images" in every["augmentation"][0]
    best, _ = asked("--budget", 10, "--surrogate", "--domain", "mixed table")
    missing = catalogue.Means(alike=False).missing
    assert best["mixed table"][0].strip() == ladder.best(catalogue.KINDS["mixed table"], 10, missing).attack
    assert best != asked("--budget", 10, "--domain", "mixed table")[0]
    # Without a budget, what an audit supposes where none is set.
    assert asked("--no-trainer") == asked("--no-trainer", "--budget", ladder.USUAL)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--budget", "0"], "budget must be at least 1, got 0"),
        (["--domain", "mixed"], "domain 'mixed' is unknown: did you mean 'mixed table'"),
        (["--budget", "ten"], "--budget must be a whole number, got 'ten'"),
    ],
)
def test_a_bad_question_about_the_attacks_is_one_line(arguments, rule, monkeypatch, capsys):
    code, stdout, stderr = called("attacks", *arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout) == (2, "")
    assert rule in stderr
    assert len(stderr.strip().splitlines()) == 1


def test_every_kind_of_domain_is_what_it_is_called():
    assert {kind: domain.kind for kind, domain in catalogue.KINDS.items()} == {kind: kind for kind in catalogue.KINDS}


def test_an_audit_trains_the_reference_models_asked_for_and_says_what_the_ladder_names(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    code, _, stderr = called("audit", *CALIBRATED_BY_TWO, "--out", out, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, stderr
    results = hardlabel.load(out).results
    assert (results.references.count, results.attacks[1].references) == (2, 2)
    [line] = [line for line in stderr.splitlines() if line.startswith("strongest label-only attack")]
    assert f"{results.choice.attack}, at most {results.choice.queries} queries per record: " in line
    assert results.choice.why in line
    assert line.endswith("it was not run: ask for it with --attacks")


def test_an_audit_of_a_recipe_leaves_its_record_and_report(tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    code, stdout, stderr = called(
        "audit", *CALIBRATED_BY_TWO, "--repeats", "2", "--out", out, monkeypatch=monkeypatch, capsys=capsys
    )
    assert code == 0, stderr
    assert stdout.strip() == str(out / "report.html")
    assert visible(out) == {
        *("config.yaml", "journal.jsonl", "scores.parquet", "recipe.json", "report.html", "SHA256SUMS")
    }
    record = RecipeRecord.load(out)
    assert [len(attack.aucs) for attack in record.results.attacks] == [2, 2]
    assert str(record.attack("gap-ratio").auc) in stderr
    assert "strongest label-only attack by the ranking" in stderr
    assert (out / "report.html").read_text() == render(record)
    assert called("show", out, monkeypatch=monkeypatch, capsys=capsys)[:2] == (0, markdown(record) + "\n")
    # The same folder never holds both kinds.
    code, _, stderr = called("audit", *CALIBRATED_BY_TWO, "--out", out, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "holds the audit of a recipe" in stderr


def test_a_worst_case_that_cannot_be_had_is_refused_before_the_training(tmp_path, monkeypatch, capsys):
    def refuse(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr("hardlabel.models.model_store.train", refuse)
    few = ["--train-size", "15", "--attacks", "gap", "--worst-case", "10%", "--out", tmp_path / "run"]
    code, _, stderr = called("audit", *few, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert "worst_case needs reference models" in stderr


def test_options_reach_the_audit_as_given(tmp_path, monkeypatch, capsys):
    seen = []

    def note(settings, **others):
        seen.append((settings.references, settings.attacks, settings.budget, getattr(settings, "repeats", None)))
        raise InvalidInput("enough")

    monkeypatch.setattr(cli, "run", note)
    for arguments in (
        [],
        ["--attacks", "all", "--references", "16", "--budget", "10"],
        ["--repeats", "3", "--attacks", "gap, noise"],
    ):
        assert called("audit", "--quiet", *arguments, monkeypatch=monkeypatch, capsys=capsys)[0] == 2
    assert seen == [(12, None, None, None), (16, ["all"], 10, None), (12, ["gap", "noise"], None, 3)]


@pytest.mark.parametrize("record", [make_record(CALIBRATED), make_recipe_record()], ids=["model", "recipe"])
def test_a_wide_terminal_also_shows_what_own_models_cost(record):
    def shown(width):
        console = Console(width=width, file=io.StringIO())
        console.print(summary(record, wide=width >= WIDE))
        return console.file.getvalue()

    for width in (80, WIDE):
        lines = shown(width).splitlines()
        assert len(lines) == 1 + len(record.results.attacks)  # Nothing wrapped, nothing cut.
        assert "…" not in shown(width)
        for attack in record.results.attacks:
            assert any(attack.name in line and str(attack.auc) in line for line in lines)
    assert "4,450 rows, 0.4 s" in shown(WIDE)
    assert "rows" not in shown(80)


def test_the_version_is_printed(monkeypatch, capsys):
    assert called("--version", monkeypatch=monkeypatch, capsys=capsys)[:2] == (0, f"{hardlabel.__version__}\n")


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path):
    """A real process, interrupted while it attacks; what was trained and measured before is not done again."""
    command = [sys.executable, "-m", "hardlabel", "audit", *SMALL[:4], "--attacks", "gap,noise,boundary,loss"]
    command += ["--device", "cpu", "--out", str(tmp_path / "run")]
    command += ["--budget", "10000"]  # The boundary attack then lasts longer than a busy machine lets the signal wait.
    environment = {**os.environ, "HARDLABEL_STORE": str(tmp_path / "store")}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # Where the tests run in the background, the shell has them ignore Ctrl-C, and their children with them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    def pieces():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.piece")}

    finished_early = 4  # Two models, and the gap attack on both.
    while process.poll() is None and len(pieces()) < finished_early:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert stdout == ""
    assert "the same command goes on from there" in stderr
    assert "Traceback" not in stderr
    kept = pieces()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: pieces()[name] for name in kept} == kept
    assert len(pieces()) > len(kept)


# --- what is shown of a finished run ---


@pytest.fixture
def kept(tmp_path):
    """Folders with a finished record of each kind."""
    records = {
        "model": make_record(CALIBRATED),
        "recipe": make_recipe_record(),
        "defenses": make_defend_record(),
        "canaries": make_canary_record(),
    }
    for kind, record in records.items():
        replace(record, config={**record.config, "kind": kind}).save(tmp_path / "runs" / kind)
    return records


@pytest.mark.parametrize("kind", ["model", "recipe", "defenses", "canaries"])
def test_show_prints_the_verdict_the_results_or_the_table(kind, kept, monkeypatch, capsys):
    def shown(*options):
        code, stdout, stderr = called("show", f"runs/{kind}", *options, monkeypatch=monkeypatch, capsys=capsys)
        assert (code, stderr) == (0, "")
        return stdout

    record = hardlabel.load(f"runs/{kind}")
    assert shown() == markdown(record) + "\n"
    verdict = shown("--verdict").splitlines()
    assert verdict == list(verdict_lines(record))
    assert verdict[0].startswith(record.title)
    assert json.loads(shown("--json")) == json.loads(record.results.model_dump_json())
    table = pd.read_csv(io.StringIO(shown("--csv")))
    assert list(table) == list(record.table())
    assert len(table) == len(record.table())


def test_show_writes_the_report_and_opens_it(kept, tmp_path, monkeypatch, capsys):
    opened, printed = [], []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr("hardlabel.reports.pdf.write_pdf", lambda record, path: printed.append(path))
    files = ["--html", "page.html", "--pdf", "page.pdf"]
    code, stdout, _ = called("show", "runs/canaries", *files, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout.split()) == (0, ["page.html", "page.pdf"])
    assert (tmp_path / "page.html").read_text() == render(hardlabel.load("runs/canaries"))
    assert printed == [Path("page.pdf")]
    assert called("show", "runs/canaries", "--open", monkeypatch=monkeypatch, capsys=capsys)[:2] == (0, "")
    assert opened == [(tmp_path / "runs" / "canaries" / "report.html").as_uri()]
    assert (tmp_path / "runs" / "canaries" / "report.html").exists()
    code, _, stderr = called("show", "runs/canaries", "--csv", "--json", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, len(stderr.splitlines())) == (2, 1)


def test_a_run_opens_and_prints_its_report_where_it_is_told_to(kept, tmp_path, monkeypatch, capsys):
    opened, printed = [], []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr("hardlabel.reports.pdf.write_pdf", lambda record, path: printed.append(path))
    monkeypatch.setattr(cli, "run", lambda settings, **others: kept["model"])
    arguments = ["audit", "--out", "runs/new"]
    code, stdout, stderr = called(*arguments, "--open", "--pdf", monkeypatch=monkeypatch, capsys=capsys)
    assert (code, stdout) == (0, "runs/new/report.html\n")
    assert opened == [(tmp_path / "runs" / "new" / "report.html").as_uri()]
    assert printed == [Path("runs/new/report.pdf")]
    assert "hardlabel show" not in stderr
    # It is offered at a terminal, and nobody is asked anything where there is none.
    assert "--open" not in called(*arguments, monkeypatch=monkeypatch, capsys=capsys)[2]
    monkeypatch.setattr("hardlabel.cli.progress.errors._force_terminal", True)
    stderr = called(*arguments, monkeypatch=monkeypatch, capsys=capsys)[2]
    assert "open the report: hardlabel show runs/new --open" in ANSI.sub("", stderr)
    assert len(opened) == len(printed) == 1


def test_runs_are_listed_with_a_verdict_that_stays_whole_at_80_columns(kept, monkeypatch, capsys):
    _, stdout, _ = called("runs", monkeypatch=monkeypatch, capsys=capsys)
    [table] = listed(stdout)
    for kind in kept:
        assert table[f"runs/{kind}"][-2].strip() == hardlabel.load(f"runs/{kind}").brief
    lines = at_terminal("runs", monkeypatch=monkeypatch, capsys=capsys)
    assert max(map(len, lines)) <= 80
    for kind in kept:
        [line] = [line for line in lines if line.startswith(f"runs/{kind} ")]
        assert hardlabel.load(f"runs/{kind}").brief in line
        assert "finished" in line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "gone.csv"), "gone.csv: No such file or directory"),
        (InvalidInput("data [Errno 2] No such file or directory: 'x'"), "data No such file or directory: 'x'"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_errors_of_the_machine_are_plain_words_in_one_line(error, line, monkeypatch, capsys):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(cli, "run", fail)
    code, _, stderr = called("audit", "--quiet", monkeypatch=monkeypatch, capsys=capsys)
    assert code in (1, 2)
    assert stderr == f"hardlabel: {line}\n"

"""The site: it is built strictly, its commands and code run, and no attack or defense lacks its page.

A block that is not run says why in a comment before it. test_docs_text.py has what stands within text.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
import yaml
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import foreign_models
import hardlabel
from commands import called
from hardlabel.attacks.table import TABLE as ATTACKS
from hardlabel.cli import app as cli
from hardlabel.defenses.table import TABLE as DEFENSES
from hardlabel.reports.model_card import metadata
from hardlabel.runs.conditions import parse
from hardlabel.targets.registry import ADAPTERS
from pages import DOCS, FRONT, ROOT, SITE, blocks, commands, foreign, named, to_run
from records import SIX, changed, choice, make_record
from scripts import loaded
from test_handover import Client, client
from test_readme import onnx_of
from test_samples import samples

PAGES = [*FRONT, *SITE]
HEADINGS = ["The idea", "What it costs", "When it fails", "Source"]
SHOWN = re.compile(r"^# (docs/extending/\S+)$", re.MULTILINE)  # As docs/hooks/pages.py reads it.
PACKAGES = ("fading", "blunt", "remembered")


# --- every row has its page ---


@pytest.mark.parametrize(("room", "table"), [("attacks", ATTACKS), ("defenses", DEFENSES)])
def test_every_row_has_a_page_with_its_four_headings_and_no_page_lacks_a_row(room, table):
    pages = {path.stem: path.read_text() for path in (DOCS / room).glob("*.md") if path.stem != "index"}
    assert set(pages) == set(dict.keys(table))
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n<!-- facts -->\n"), name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS, name
        parts = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
        assert all(len(part.split()) >= 2 for part in parts), name
        assert 12 <= text.count("\n") <= 40, name


def test_every_public_name_is_in_the_reference_once():
    shown = re.findall(
        r"^::: hardlabel\.(\w+)$", "".join(path.read_text() for path in DOCS.glob("api/*.md")), re.MULTILINE
    )
    assert sorted(shown) == sorted(hardlabel.__all__)


def test_the_figures_are_those_that_the_script_draws():
    figures = loaded(DOCS / "hooks" / "figures.py")
    kept = {path.stem: path.read_text() for path in (DOCS / "assets").glob("*.svg")}
    assert kept == {name: draw() for name, draw in figures.FIGURES.items()}
    shown = {name for page in PAGES for name in re.findall(r"assets/([\w-]+)\.svg", page.read_text())}
    assert shown == set(kept)


# --- commands ---


def kept(folder, seed=0):
    """A run folder with the made-up record of an audit."""
    changed(make_record(SIX[:4], seed=seed), choice=choice("boundary", 2500)).save(folder)


# Not done: a run that broke off is needed, or a paid one; serves until Ctrl-C; takes hours.
PARSED_ONLY = ("resume", "ledger", "view", "reproduce")


@pytest.fixture
def checked(monkeypatch, tmp_path, capsys):
    """Does a command up to where the work would begin; commands on finished runs are done whole, on made-up records.

    Returns the settings that were read, if the command has any.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.setattr(cli, "_execution", lambda *given: None)
    read = []
    monkeypatch.setattr(cli, "_finish", lambda kind, settings, where, **flags: read.append(settings))
    monkeypatch.setattr(cli, "planned", lambda settings, **given: read.append(settings) or "")
    table = typer.main.get_command(cli.app).commands

    def check(words):
        if ">" in words:  # The shell's.
            words = words[: words.index(">")]
        if Path(words[0]).name != "hardlabel":
            foreign(words)
            return None
        if words[1] in PARSED_ONLY or "..." in words:  # "...": what the page has said before.
            table[words[1]].make_context(words[1], [word for word in words[2:] if word != "..."])
            return None
        if words[1] in ("show", "compare", "gate"):
            for folder in {word for word in words if word.startswith("runs/")}:
                kept(Path(folder))
        code, out, stderr = called(*words[1:], monkeypatch=monkeypatch, capsys=capsys)
        assert code in ((0, 3, 4) if "--fail-if" in words else (0,)), (words, stderr)
        assert out or read, words
        return read.pop() if read else None

    return check


def read_lines(page):
    """The commands of a page as words."""
    return [shlex.split(line, comments=True) for line in commands(page)]


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page, "bash")], ids=named)
def test_every_command_of_a_page_is_read_as_settings(page, checked):
    for settings in to_run(page, "yaml"):
        Path("credit.yaml").write_text(settings)
    lines = read_lines(page)
    assert lines
    for line in lines:
        settings = checked(line)
        assert set(getattr(settings, "attacks", None) or []) <= {*ATTACKS, "fading"}, line
        assert set(getattr(settings, "defenses", None) or []) <= {*DEFENSES, "blunt"}, line


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page, "yaml")], ids=named)
def test_every_settings_file_of_a_page_is_read(page, checked):
    for text in to_run(page, "yaml"):
        Path("settings.yaml").write_text(text)
        settings = checked(["hardlabel", "run", "settings.yaml"])
        assert set(yaml.safe_load(text)) - {"kind", "target"} <= set(type(settings).model_fields)


def test_a_wrong_option_and_a_wrong_value_would_be_seen(checked):
    with pytest.raises(AssertionError, match="No such option"):
        checked(shlex.split("hardlabel audit --membrs train.csv"))
    with pytest.raises(AssertionError, match="train_size must"):
        checked(shlex.split("hardlabel audit --train-size -1"))
    with pytest.raises(Exception, match="No such option"):
        checked(shlex.split("hardlabel view --opne"))
    for words in ("make nothing", "python studies/gone.py", "python studies/defenses.py --tables", "pip install x[y]"):
        with pytest.raises(AssertionError):
            checked(shlex.split(words))


# --- Python ---


def messages():
    """Texts of two topics: (n,) and their labels."""
    rng = np.random.default_rng(0)
    topics = {"sport": "goal match team score win coach ball", "money": "bank rate loan price market fund tax"}
    labels = rng.choice(list(topics), 240)
    words = [rng.choice([*topics[label].split(), "the", "a", "today"], 6) for label in labels]
    return [" ".join([f"note{i}", *each]) for i, each in enumerate(words)], labels


def pictures():
    digits = load_digits()
    return (digits.images[:, None] / 16).astype(np.float32), digits.target


def waves():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 240)
    times = np.arange(24) / 24
    values = np.sin(2 * np.pi * (labels[:, None] + 1) * times + rng.uniform(0, 6, (240, 1)))
    return (values + rng.normal(0, 0.5, values.shape)).astype(np.float32), labels


def parts(inputs, labels):
    """Names as pages use them: x_train, y_train, x_test and so on."""
    return {
        f"{letter}_{part}": values[rows]
        for part, rows in (("train", slice(60)), ("test", slice(60, 120)), ("more", slice(120, 240)))
        for letter, values in (("x", inputs), ("y", labels))
    }


def forward(inputs, labels, *, seed):
    """A small network trained on series."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.as_tensor(inputs)), torch.as_tensor(labels)).backward()
        optimizer.step()
    return model.eval()


def classifier():
    """An untrained text pipeline of transformers."""
    transformers = pytest.importorskip("transformers")
    topics = {"money": 0, "sport": 1}
    model = foreign_models.bert(
        num_labels=2, id2label={number: topic for topic, number in topics.items()}, label2id=topics
    )
    tokenizer = foreign_models.tokenizer()
    return transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")


def bag_of_words(texts, labels, *, seed):
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)


def names_for(page, folder):
    """What a page takes for granted."""
    if page == "metrics.md":
        digits = load_digits()
        return {
            "inputs": (digits.images[:, None] / 16).astype(np.float32),
            "labels": digits.target,
            "train": lambda inputs, labels: KNeighborsClassifier(1).fit(inputs.flatten(1).numpy(), labels.numpy()),
        }
    if page in ("comparing-runs.md", "handover.md"):
        for seed, name in enumerate(("v1", "v2", "credit-v3")):
            kept(folder / "runs" / name, seed=seed)
        return {}
    if page in ("your-model/text.md", "your-model/hugging-face.md"):
        texts, labels = messages()
        given = parts(texts, labels)
        words = {"x": "texts", "y": "labels"}
        return {f"{name[2:]}_{words[name[0]]}": values for name, values in given.items()}
    if page == "your-model/series.md":
        given = parts(*waves())
        return {**given, "model": forward(given["x_train"], given["y_train"], seed=0), "fit": forward}
    if page == "your-model/onnx.md":
        given = parts(*pictures())
        onnx_of(given["x_train"], given["y_train"], folder / "model.onnx")
        return given
    values, labels = waves()
    given = parts(values[:, :8], labels)  # Vectors: the page does not say that they are series.
    model = LogisticRegression(max_iter=200).fit(given["x_train"], given["y_train"])
    return {**given, "predict": lambda inputs: model.predict(np.asarray(inputs))}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Audits ask two cheap attacks, one of which trains as the page says: what is tested is the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hardlabel.targets.torch.PROBE_SECONDS", 0.0)  # Any batch size will do.
    whole = hardlabel.audit
    usual = {"attacks": ["gap", "gap-ratio"], "samples": 20, "attacker": hardlabel.Attacker(references=2)}
    monkeypatch.setattr(hardlabel, "audit", lambda *given, **said: whole(*given, **{**usual, **said}))
    return tmp_path


mlflow = client  # The stand-in for MLflow; its fixture goes by this name here.


def run_blocks(page, folder):
    """Runs the Python blocks of a page one after another; returns their names."""
    names = names_for(named(page), folder)
    if page.stem == "hugging-face":
        names |= {"classifier": classifier(), "fit": bag_of_words}
    for code in to_run(page, "python"):
        exec(compile(code, named(page), "exec"), names)
    return names


REFERENCE = ("comparing-runs.md", "handover.md", "metrics.md", "speed.md")  # No audit of a model in their blocks.
AUDITING = [page for page in SITE if to_run(page, "python") and named(page) not in (*REFERENCE, "extending.md")]


def test_python_blocks_of_the_reference_pages_run(small, mlflow, monkeypatch, capsys):
    assert {named(page) for page in SITE if to_run(page, "python")} >= set(REFERENCE)
    comparison = run_blocks(DOCS / "comparing-runs.md", small)["comparison"]
    change = comparison.later[0].change("label", "auc").change
    assert change.low < change.value < change.high
    assert len(comparison.table())
    clients = [Client(), Client()]
    left = iter(clients)
    monkeypatch.setattr(sys.modules["mlflow"], "MlflowClient", lambda **given: next(left)(**given))
    run_blocks(DOCS / "handover.md", small)
    assert [(each.uri, each.ended) for each in clients] == [(None, ["new"]), ("http://mlflow.internal:5000", [])]
    run_blocks(DOCS / "metrics.md", small)
    assert "epsilon" in capsys.readouterr().out
    run_blocks(DOCS / "speed.md", small)


@pytest.mark.parametrize("page", AUDITING, ids=named)
def test_every_python_block_of_a_page_runs(page, small, capsys):
    names = run_blocks(page, small)
    assert "gap" in capsys.readouterr().out
    record = names["record"]
    assert {attack.name for attack in record.results.attacks} >= {"gap", "gap-ratio"}


# --- blocks that are no settings and no program ---


def test_the_conditions_that_the_page_of_gates_shows_are_conditions():
    [text] = to_run(DOCS / "gates.md", "text")
    shown = [condition for line in text.splitlines() for condition in re.split(r" {2,}", line)[1:]]
    assert len(shown) == 5
    for condition in shown:
        parse(condition)


def test_the_job_on_the_page_of_gates_is_what_the_action_takes(checked):
    [block] = [block for block in blocks(DOCS / "gates.md") if "GitHub" in block.reason]
    step = yaml.safe_load(block.code)[1]
    assert step["with"].keys() <= yaml.safe_load((ROOT / "action.yml").read_text())["inputs"].keys()
    settings = checked(["hardlabel", *shlex.split(step["with"]["arguments"])])
    assert Path(settings.members).name == "train.csv"
    for condition in step["with"]["fail-if"].splitlines():
        parse(condition)


def test_the_metric_on_the_page_of_handing_over_is_formed_as_it_is_printed():
    [block] = [block for block in blocks(DOCS / "handover.md") if block.language == "yaml"]
    [shown] = yaml.safe_load(block.code)
    printed = metadata(make_record(SIX[:4]), name="x")["model-index"][0]["results"][0]["metrics"]
    [metric] = [metric for metric in printed if metric["name"] == shown["name"]]
    assert list(shown) == list(metric)
    assert list(shown["args"]) == list(metric["args"])


# --- packages of one's own ---


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the packages of docs/extending are installed."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for package in PACKAGES:
        (source / package).mkdir()
        for path in (DOCS / "extending" / package).glob("*.*"):
            (source / package / path.name).write_bytes(path.read_bytes())
    quietly = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    packages = [str(source / package) for package in PACKAGES]
    subprocess.run([sys.executable, "-m", "pip", "install", *quietly, "--target", target, *packages], check=True)
    return target


@pytest.fixture
def installed(site, monkeypatch):
    """The tables read the packages, and forget them afterwards."""
    monkeypatch.syspath_prepend(site)
    tables = (ATTACKS, DEFENSES, ADAPTERS)
    before = [dict(dict.items(table)) for table in tables]  # Without a first look, which would read the packages.
    for table in tables:
        monkeypatch.setattr(table, "_whole", False)
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)
    for package in PACKAGES:
        sys.modules.pop(package, None)


def test_the_page_shows_the_files_that_are_installed():
    shown = SHOWN.findall((DOCS / "extending.md").read_text())
    assert set(shown) == {path.relative_to(ROOT).as_posix() for path in (DOCS / "extending").glob("*/*.*")}


def test_the_packages_of_the_page_are_installed_and_used(installed, capsys):
    [code] = [code for code in to_run(DOCS / "extending.md", "python") if not SHOWN.match(code)]
    names = {}
    exec(compile(code, "extending.md", "exec"), names)
    record = names["record"]
    assert "fading" in capsys.readouterr().out
    assert [attack.queries_per_sample.max for attack in record.results.attacks] == [1, 10]
    assert record.results.target.train_accuracy.value == 1.0  # It remembers its members.
    assert record.attack("gap").auc.value > 0.5


def test_the_attack_of_the_page_is_the_closed_form_of_a_threshold(installed):
    class Bright:
        def ask(self, inputs, ids):
            return (inputs.sum(1) > 1).long()

    samples = hardlabel.Samples(
        ids=torch.arange(3),
        inputs=torch.tensor([[2.0, 2.0], [0.8, 0.5], [0.1, 0.2]]),
        labels=torch.tensor([1, 1, 1]),
        domain=hardlabel.Box((2,), 0.0, 2.0),
    )
    [signal] = ATTACKS["fading"].signals(samples.domain, 10)
    measured = signal.prepare(samples, None, 0).measure(Bright())
    # Copy j has 1 - j / 10 of the sum: 4 stays above 1 up to j = 7, 1.3 up to j = 2, .3 never is.
    torch.testing.assert_close(measured.values[:, 0], torch.tensor([0.8, 0.3, 0.0]))
    assert measured.queries.tolist() == [10, 10, 10]


def test_the_defense_of_the_page_shows_two_confidences_and_keeps_the_label(installed):
    class Model:
        def ask_scores(self, inputs, ids):
            return torch.tensor([[0.95, 0.03, 0.02], [0.1, 0.6, 0.3]]).log()

    guarded = DEFENSES["blunt"].build(0.9).guard(Model(), None, None, seed=0)
    shown = guarded.ask_scores(torch.zeros(2, 1), torch.arange(2)).exp()
    torch.testing.assert_close(shown, torch.tensor([[0.9, 0.05, 0.05], [0.25, 0.5, 0.25]]))


# --- the build ---


@pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="needs MkDocs Material")
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path, tmp_path_factory):
    reports = tmp_path_factory.mktemp("samples")
    samples.make(reports, ["model"], small=True)  # One sample report; the site goes without the others.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["HARDLABEL_SAMPLES"] = str(reports)
    assert "anchors: warn" in (ROOT / "mkdocs.yml").read_text()
    # Not --quiet: MkDocs then counts no warnings, and nothing is strict.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(SITE)
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="?([^"\s>]+)', text)
        loaded += re.findall(r'<link[^>]+rel="?(?:stylesheet|preload)[^>]+href="?([^"\s>]+)', text)
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page
    attack = (tmp_path / "attacks" / "path.html").read_text()
    assert dict.__getitem__(ATTACKS, "path").summary in attack  # The facts are the table's.
    assert "&lt;!-- facts" not in attack
    assert "The share of members that an attack calls members." in (tmp_path / "glossary.html").read_text()
    page = (tmp_path / "samples.html").read_text()
    assert 'href="samples/model.html"' in page
    assert page.count("built without this sample") == len(samples.FILES) - 1
    assert "&lt;!-- sample" not in page
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["model.html"]
    report = (tmp_path / "samples" / "model.html").read_text()
    assert "RandomForestClassifier from v1.joblib" in report
    assert "/tmp" not in report  # Commands and names hold no folder of the machine that made it.
    assert not (tmp_path / "samples.py").exists()

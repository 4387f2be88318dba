"""The site: it is built strictly, its commands and code run, and no attack or defense lacks its page."""

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
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import foreign_models
import hardlabel
from commands import called
from hardlabel.attacks.table import TABLE as ATTACKS
from hardlabel.cli import app as cli
from hardlabel.defenses.table import TABLE as DEFENSES
from hardlabel.targets.registry import ADAPTERS
from test_readme import onnx_of

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Reference pages whose commands and blocks their own tests hold, or of which the README's twins are run.
OTHERS = {
    *("architecture", "comparing-runs", "defenses", "endpoints", "gates", "handover", "metrics", "next-steps"),
    *("command-line", "most-at-risk", "reading-a-report", "reproduction", "scaling", "speed", "standards", "targets"),
}
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).with_suffix("").as_posix() not in OTHERS)
HEADINGS = ["The idea", "What it costs", "When it fails", "Source"]
BLOCK = re.compile(r"(<!-- not run: [^>\n]+ -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^# (docs/extending/\S+)$", re.MULTILINE)  # As docs/hooks/pages.py reads it.
PACKAGES = ("fading", "blunt", "remembered")


def blocks(page, *languages):
    """The code blocks of a page that are to be run."""
    found = [(reason, language, code) for reason, language, code in BLOCK.findall(page.read_text())]
    assert all(language in ("bash", "python", "yaml", "toml", "text") for _, language, _ in found), page
    return [code for reason, language, code in found if not reason and language in languages]


def named(page):
    return page.relative_to(DOCS).as_posix()


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
    spec = importlib.util.spec_from_file_location("figures", DOCS / "hooks" / "figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    kept = {path.stem: path.read_text() for path in (DOCS / "assets").glob("*.svg")}
    assert kept == {name: draw() for name, draw in figures.FIGURES.items()}
    shown = {name for page in PAGES for name in re.findall(r"assets/([\w-]+)\.svg", page.read_text())}
    assert shown == set(kept)


# --- commands ---


@pytest.fixture
def checked(monkeypatch, tmp_path, capsys):
    """Reads a command as the command line reads it, up to where the work would begin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.setattr(cli, "_execution", lambda *given: None)
    read = []
    monkeypatch.setattr(cli, "_finish", lambda kind, settings, where, **flags: read.append(settings))
    monkeypatch.setattr(cli, "planned", lambda settings, **given: read.append(settings) or "")
    commands = typer.main.get_command(cli.app).commands

    def check(words):
        assert words[0] == "hardlabel", words
        if words[1] in ("show", "resume", "gate", "compare", "view", "runs", "clean"):
            commands[words[1]].make_context(words[1], words[2:])  # Raises where an option is unknown.
            return None
        code, _, stderr = called(*words[1:], monkeypatch=monkeypatch, capsys=capsys)
        assert code == 0, (words, stderr)
        return read.pop() if read else None

    return check


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "bash")], ids=named)
def test_every_command_of_a_page_is_read_as_settings(page, checked):
    for settings in blocks(page, "yaml"):
        Path("credit.yaml").write_text(settings)
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").strip().splitlines()
    assert lines
    for line in lines:
        settings = checked(shlex.split(line, comments=True))
        assert set(getattr(settings, "attacks", None) or []) <= {*ATTACKS, "fading"}, line
        assert set(getattr(settings, "defenses", None) or []) <= {*DEFENSES, "blunt"}, line


def test_a_wrong_option_and_a_wrong_value_would_be_seen(checked):
    with pytest.raises(AssertionError, match="No such option"):
        checked(shlex.split("hardlabel audit --membrs train.csv"))
    with pytest.raises(AssertionError, match="train_size must"):
        checked(shlex.split("hardlabel audit --train-size -1"))


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


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page, "python") and page.stem != "extending"], ids=named
)
def test_every_python_block_of_a_page_runs(page, small, capsys):
    names = names_for(named(page), small)
    if page.stem == "hugging-face":
        names |= {"classifier": classifier(), "fit": bag_of_words}
    for code in blocks(page, "python"):
        exec(compile(code, named(page), "exec"), names)
    assert "gap" in capsys.readouterr().out
    record = names["record"]
    assert {attack.name for attack in record.results.attacks} >= {"gap", "gap-ratio"}


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
    before = [dict(table) for table in tables]
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
    [code] = [code for code in blocks(DOCS / "extending.md", "python") if not SHOWN.match(code)]
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
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES) + len(OTHERS)
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="?([^"\s>]+)', text)
        loaded += re.findall(r'<link[^>]+rel="?(?:stylesheet|preload)[^>]+href="?([^"\s>]+)', text)
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page
    attack = (tmp_path / "attacks" / "path.html").read_text()
    assert dict.__getitem__(ATTACKS, "path").summary in attack  # The facts are the table's.
    assert "&lt;!-- facts" not in attack
    assert "The share of members that an attack calls members." in (tmp_path / "glossary.html").read_text()

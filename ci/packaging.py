"""Builds the packages, installs them as a user would, and uses them. Prints a row for each environment.

    python ci/packaging.py                             # build, check the contents, an environment for each extra
    python ci/packaging.py --extras plot,onnx          # some extras; the environment without extras is always made
    python ci/packaging.py --python PYTHON --tests     # with another interpreter: the core of the tests
    python ci/packaging.py --lowest                    # the same with the lowest versions that pyproject.toml allows

`--write docs/packaging.md` puts the rows into the table of that file. PyTorch has the version of constraints.txt.
Each environment is made new, outside the repository, and removed afterwards. uv installs; UV_* set it up.
"""

import argparse
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
NONE = "none"  # The environment without extras.
DEVELOPMENT = (
    "test",
    "docs",
    "check",
)  # Extras of those who change hardlabel; `make test`, `docs` and `check` use them.
MINUTES = 60.0
PYTHONS = ("3.11", "3.12", "3.13")
SDIST = ("LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg", "src")
CORE = ("audit*", "attacks*", "signals", "cli", "before")  # The test files that run on other versions.
NOT_CORE = "not slow and not browser and not long"
TABLE = "| Python | environment | versions | outcome | seconds |\n|---|---|---|---|---|\n"

AUDIT = (
    *("audit", "--quiet", "--train-size", "60", "--samples", "40", "--references", "2", "--max-epochs", "5"),
    *("--attacks", "gap"),
)
TARGET = (
    *("audit", "--quiet", "--attacks", "gap", "--trainer", "none"),
    *("--members", "members.csv", "--nonmembers", "nonmembers.csv", "--label", "label", "--target"),
)

NUMBERS = """
import numpy as np, pandas as pd
rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(80, 3)).astype("float32"), columns=["a", "b", "c"])
labels = (frame["a"] > 0).astype(int)
for name, rows in (("members", slice(0, 40)), ("nonmembers", slice(40, 80))):
    frame[rows].assign(label=labels[rows]).to_csv(f"{name}.csv", index=False)
weights = np.array([[-1, 1], [0, 0], [0, 0]], dtype="float32")  # Of a linear model that is right.
x, y = frame[:40].to_numpy(), labels[:40].to_numpy()
"""


@dataclass(frozen=True)
class Trial:
    """What an extra is for.

    Attributes:
        packages: The packages that the extra installs, as `importlib.metadata` names them.
        uses: Calls of `hardlabel`, as words, or Python code. With the extra each succeeds; without it each fails with
            one line that names the extra.
        makes: Python code that makes files for the uses; it runs with the extra.
        constraints: A file of exact versions, within the repository.
    """

    packages: tuple[str, ...]
    uses: tuple[tuple[str, ...] | str, ...]
    makes: str = ""
    constraints: str = "constraints.txt"


TRIALS = {
    "boosters": Trial(
        ("xgboost", "lightgbm"),
        ((*TARGET, "model.ubj"), (*TARGET, "model.txt")),
        NUMBERS
        + """
import lightgbm, xgboost
matrix = xgboost.DMatrix(frame[:40], y)
xgboost.train({"objective": "binary:logistic", "max_depth": 2}, matrix, 3).save_model("model.ubj")
options = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 3, "num_threads": 1}
lightgbm.train(options, lightgbm.Dataset(frame[:40], y), 3).save_model("model.txt")
""",
    ),
    "dp": Trial(
        ("opacus",),
        (
            (
                *("defend", "--quiet", "--train-size", "60", "--samples", "40", "--references", "2", "--repeats", "2"),
                *("--max-epochs", "3", "--attacks", "gap", "--defenses", "dp-sgd"),
            ),
        ),
    ),
    "http": Trial(
        ("httpx", "orjson"),
        (
            f"""
import json, subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = [int(row[0] > 0) for row in sent["instances"]]
        body = json.dumps({{"predictions": answers}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *words):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with open("template.yaml", "w") as file:
    file.write("body: {{instances: $rows}}\\nrow: $values\\nanswer: {{label: predictions}}\\n")
words = [sys.executable, "-m", "hardlabel", *{(*TARGET,)!r}, f"http://127.0.0.1:{{server.server_port}}/"]
sys.exit(subprocess.run([*words, *sys.argv[1:], "--protocol", "template.yaml"]).returncode)
""",
        ),
        NUMBERS,
    ),
    "huggingface": Trial(
        ("transformers", "safetensors"),
        ((*TARGET, "classifier"),),
        """
import pandas as pd, tokenizers, torch, transformers
torch.manual_seed(0)
names = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(80))]
known = {name: place for place, name in enumerate(names)}
words = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
texts = [f"w{number} w{(7 * number) % 80}" for number in range(80)]
labels = ["ham" if number % 2 else "spam" for number in range(80)]
for name, rows in (("members", slice(0, 40)), ("nonmembers", slice(40, 80))):
    pd.DataFrame({"text": texts[rows], "label": labels[rows]}).to_csv(f"{name}.csv", index=False)
config = transformers.BertConfig(
    vocab_size=len(known), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=12, num_labels=2, id2label={0: "ham", 1: "spam"}, label2id={"ham": 0, "spam": 1},
)
transformers.BertForSequenceClassification(config).save_pretrained("classifier")
tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
tokenizer.save_pretrained("classifier")
""",
    ),
    "keras": Trial(
        ("keras",),
        ((*TARGET, "model.keras"),),
        NUMBERS
        + """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, activation="softmax")])
model.set_weights([weights, np.zeros(2)])
model.save("model.keras")
""",
    ),
    "mlflow": Trial(
        ("mlflow",),
        (
            """
import hardlabel
if __name__ == "__main__":
    number = hardlabel.to_mlflow(hardlabel.load("run"), tracking_uri="sqlite:///mlflow.db")
    import mlflow
    assert "hardlabel/gap/auc" in mlflow.MlflowClient("sqlite:///mlflow.db").get_run(number).data.metrics
""",
        ),
        constraints="tests/servers/mlflow.txt",
    ),
    "onnx": Trial(
        ("onnx", "onnxruntime"),
        ((*TARGET, "model.onnx"),),
        NUMBERS
        + """
import onnx
from onnx import TensorProto, helper, numpy_helper
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])],
    "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    [numpy_helper.from_array(weights, "w")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "model.onnx")
""",
    ),
    "pdf": Trial(("weasyprint",), (("show", "run", "--pdf", "report.pdf"),)),  # No browser is on the path here.
    "plot": Trial(
        ("matplotlib",),
        ('import hardlabel\nhardlabel.load("run").plot("roc").figure.savefig("roc.png")\n',),
    ),
    "ray": Trial(("ray",), ((*AUDIT, "--executor", "ray"),)),
    "skops": Trial(
        ("skops",),
        ((*TARGET, "model.skops"),),
        NUMBERS
        + """
import skops.io
from sklearn.linear_model import LogisticRegression
skops.io.dump(LogisticRegression().fit(frame[:40], y), "model.skops")
""",
    ),
}


class Failed(Exception):
    """A check did not hold."""


# --- what the packages must hold ---


def project() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def package_files() -> set[str]:
    """The files of the package, as paths from src."""
    source = ROOT / "src"
    paths = (path for path in (source / "hardlabel").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(source).as_posix() for path in paths}


def unnamed(files: Iterable[str]) -> list[str]:
    """Files that are no Python and that package-data in pyproject.toml does not name."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["hardlabel"]
    patterns = [f"hardlabel/{pattern}" for pattern in data]
    others = (name for name in files if not name.endswith(".py"))
    return sorted(name for name in others if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns))


def wheel_faults(names: Iterable[str], files: set[str]) -> list[str]:
    """What is wrong with the content of a wheel that should hold `files`."""
    held = {name for name in names if not name.endswith("/")}
    info = {name for name in held if name.partition("/")[0].endswith(".dist-info")}
    faults = [f"the wheel lacks {name}" for name in sorted(files - held)]
    faults += [f"the wheel holds {name}" for name in sorted(held - info - files)]
    if not any(name.endswith("/licenses/LICENSE") for name in info):
        faults.append("the wheel lacks LICENSE")
    return faults


def sdist_faults(names: Iterable[str], files: set[str]) -> list[str]:
    """What is wrong with the content of a source distribution that should hold `files` below src."""
    held = {name.partition("/")[2] for name in names} - {""}
    wanted = {"LICENSE", "README.md", "pyproject.toml"} | {f"src/{name}" for name in files}
    own = {name for name in held if name.startswith("src/hardlabel.egg-info")}
    faults = [f"the sdist lacks {name}" for name in sorted(wanted - held)]
    junk = {name for name in held - own if name.partition("/")[0] not in SDIST or name.endswith((".pyc", ".ipynb"))}
    junk |= {name for name in held - own - wanted if name.startswith("src/")}
    return faults + [f"the sdist holds {name}" for name in sorted(junk)]


def metadata_faults(metadata: Message, wanted: dict[str, Any]) -> list[str]:
    """What is wrong with the metadata of a package, against [project] of pyproject.toml."""
    faults = []
    for name in ("Name", "Version", "License-Expression"):
        value = wanted["license" if name.startswith("License") else name.lower()]
        if metadata[name] != value:
            faults.append(f"{name} is {metadata[name]!r}, not {value!r}")
    if wanted["license"] != "Apache-2.0":
        faults.append("the license is not Apache-2.0")
    classifiers = metadata.get_all("Classifier", [])
    for version in PYTHONS:
        if f"Programming Language :: Python :: {version}" not in classifiers:
            faults.append(f"no classifier for Python {version}")
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    if not urls or urls != wanted.get("urls"):
        faults.append(f"the URLs are {urls}, not {wanted.get('urls')}")
    extras = set(metadata.get_all("Provides-Extra", []))
    if extras != set(wanted["optional-dependencies"]):
        faults.append(f"the extras are {sorted(extras)}")
    if not str(metadata.get_payload()).lstrip().startswith("# hardlabel"):
        faults.append("the description is not README")
    return faults


def requirements(extra: str | None = None) -> list[str]:
    """The direct requirements of hardlabel, those of an extra besides; extras within extras are resolved."""
    table = project()

    def resolved(lines: Sequence[str]) -> Iterator[str]:
        for line in lines:
            inner = re.fullmatch(r"hardlabel\[(.*)\]", line)
            if inner is None:
                yield line
            else:
                for name in inner[1].split(","):
                    yield from resolved(table["optional-dependencies"][name])

    lines = [*table["dependencies"], *(table["optional-dependencies"][extra] if extra else ())]
    return sorted(set(resolved(lines)))


def torch_pin() -> str:
    """The line of constraints.txt for PyTorch."""
    [line] = [line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch==")]
    return line


# --- environments ---


def run(words: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """A finished process; its output is text."""
    called = [str(word) for word in words]
    options = {"timeout": 60 * MINUTES, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run(called, capture_output=True, text=True, check=False, **options)


def done(words: Sequence[str | Path], **options: Any) -> str:
    """The output of a process that must succeed."""
    finished = run(words, **options)
    if finished.returncode != 0:
        end = (finished.stderr.strip() or finished.stdout.strip())[-3000:]
        raise Failed(f"{' '.join(Path(str(word)).name for word in words[:4])} ended with {finished.returncode}: {end}")
    return finished.stdout


@dataclass
class Workshop:
    """A scratch folder with the tools, the packages, and the environments.

    Attributes:
        folder: Where all of it lies.
        python: The interpreter of the environments.
        wheel: The wheel, once it is built.
    """

    folder: Path
    python: str
    wheel: Path = field(init=False)

    def __post_init__(self) -> None:
        done([sys.executable, "-m", "venv", self.folder / "tools"])
        done([self.folder / "tools/bin/python", "-m", "pip", "install", "--quiet", "build", "uv"])

    @property
    def settings(self) -> dict[str, str]:
        """The environment variables of uv. Its cache lies where hard links reach; it sees pip's folders of wheels."""
        found = {"UV_CACHE_DIR": str(self.folder / "cache"), "UV_PYTHON_DOWNLOADS": "never", **os.environ}
        if "PIP_FIND_LINKS" in os.environ:
            found.setdefault("UV_FIND_LINKS", ",".join(os.environ["PIP_FIND_LINKS"].split()))
        return found

    def uv(self, *words: str | Path) -> str:
        return done([self.folder / "tools/bin/uv", *words], env=self.settings, cwd=self.folder)

    def build(self) -> str:
        """Builds both packages from a copy of the files under version control, and checks what they hold."""
        listed = done(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT)
        copy = self.folder / "copy"
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, copy / name)
        files = {name for name in package_files() if (copy / "src" / name).is_file()}
        packages = self.folder / "dist"
        done([self.folder / "tools/bin/python", "-m", "build", "--outdir", packages, copy])
        [self.wheel], [source] = packages.glob("*.whl"), packages.glob("*.tar.gz")
        with zipfile.ZipFile(self.wheel) as wheel:
            names = wheel.namelist()
            [place] = [name for name in names if name.endswith(".dist-info/METADATA")]
            metadata = Parser().parsestr(wheel.read(place).decode())
        with tarfile.open(source) as sdist:
            held = [member.name for member in sdist.getmembers() if member.isfile()]
        faults = [*unnamed(files), *wheel_faults(names, files), *sdist_faults(held, files)]
        faults += metadata_faults(metadata, project())
        if faults:
            raise Failed("; ".join(faults))
        shutil.rmtree(copy / "src")  # The tests must meet the package that is installed.
        shutil.rmtree(copy / "build", ignore_errors=True)
        return f"{self.wheel.name}: {len(names)} files; {source.name}: {len(held)} files"

    def kept(self, name: str, *lines: str) -> Path:
        """A file of lines for uv."""
        place = self.folder / name
        place.write_text("\n".join(lines))
        return place

    def install(self, name: str, *words: str | Path) -> "Installed":
        """A clean environment with what the words of `uv pip install` say."""
        place = self.folder / name
        self.uv("venv", "--quiet", "--python", self.python, place)
        self.uv("pip", "install", "--quiet", "--python", place, *words)
        installed = Installed(place)
        where = Path(installed.told("import hardlabel; print(hardlabel.__file__)"))
        if place not in where.parents:
            raise Failed(f"hardlabel was imported from {where}")
        return installed


@dataclass(frozen=True)
class Installed:
    """An environment with hardlabel; `work` is the folder in which it is used."""

    place: Path

    @property
    def work(self) -> Path:
        folder = self.place.with_name(f"{self.place.name}-work")
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def variables(self) -> dict[str, str]:
        """Nothing of the caller's but what processes need; no browser is on the path."""
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        tools = [
            str(Path(found).parent) for found in [shutil.which("ldconfig")] if found
        ]  # It finds Pango for WeasyPrint.
        path = [str(self.place / "bin"), *tools, "/sbin"]
        own = {"HARDLABEL_SECRET": "0123456789abcdef0123", "HARDLABEL_STORE": str(self.work / "store")}
        own |= {"HOME": str(self.work), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        return {**kept, **own, "PATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}

    def told(self, code: str) -> str:
        return done([self.place / "bin/python", "-c", code], cwd=self.work, env=self.variables).strip()

    def use(self, use: tuple[str, ...] | str, out: str) -> subprocess.CompletedProcess[str]:
        """Runs a use of a trial; commands that write a run folder write `out`."""
        if isinstance(use, str):
            script = self.work / "use.py"
            script.write_text(use)
            words: list[str | Path] = [self.place / "bin/python", script]
            words += ["--out", out] if "sys.argv" in use else []
        else:
            words = [self.place / "bin/hardlabel", *use, *([] if use[0] == "show" else ["--out", out])]
        return run(words, cwd=self.work, env=self.variables)

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        names = json.dumps([*packages, "torch", "numpy"])
        return dict(
            json.loads(
                self.told(
                    "import json\nfrom importlib.metadata import version\n"
                    f"print(json.dumps({{name: version(name) for name in {names}}}))"
                )
            )
        )

    def remove(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)


# --- what is tried ---


def first_audit(installed: Installed) -> None:
    """The version, and a smallest audit on bundled data with its report."""
    said = done([installed.place / "bin/hardlabel", "--version"], cwd=installed.work, env=installed.variables)
    if said.strip() != project()["version"]:
        raise Failed(f"--version said {said.strip()!r}")
    finished = installed.use(AUDIT, "run")
    page = installed.work / "run" / "report.html"
    if finished.returncode != 0 or not page.is_file() or "<style" not in page.read_text():
        raise Failed(f"the smallest audit ended with {finished.returncode}: {finished.stderr[-3000:]}")


def tried(extra: str, installed: Installed, bare: Installed) -> str:
    """Uses an extra where it is installed, and where it is not."""
    trial = TRIALS[extra]
    if trial.makes:
        installed.told(trial.makes)
    hint = f"pip install 'hardlabel[{extra}]'"
    for number, use in enumerate(trial.uses):
        finished = installed.use(use, f"use-{number}")
        if finished.returncode != 0:
            raise Failed(f"use {number + 1} ended with {finished.returncode}: {finished.stderr[-3000:]}")
    shutil.copytree(
        installed.work, bare.work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("store", ".*", "use-*")
    )
    for number, use in enumerate(trial.uses):
        finished = bare.use(use, f"without-{extra}-{number}")
        said = " ".join(finished.stderr.split())
        if finished.returncode == 0 or hint not in said:
            raise Failed(f"without the extra, use {number + 1} ended with {finished.returncode}: {said[-3000:]}")
        if isinstance(use, tuple) and (finished.returncode != 2 or "Traceback" in said):
            raise Failed(f"without the extra, use {number + 1} was no plain error: {said[-3000:]}")
    return "used; without it, the error names it"


def core(installed: Installed, folder: Path) -> str:
    """Runs the core of the tests; the outcome is pytest's own last line."""
    files = sorted(path for name in CORE for path in (folder / "copy/tests").glob(f"test_{name}.py"))
    called = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", NOT_CORE)
    words: list[str | Path] = [installed.place / "bin/python", *called, *files]
    variables = {**installed.variables, "PATH": f"{installed.place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    if "HARDLABEL_DATA" in os.environ:
        variables["HARDLABEL_DATA"] = os.environ["HARDLABEL_DATA"]
    finished = run(words, cwd=folder / "copy", env=variables, timeout=MINUTES * 60)
    last = finished.stdout.strip().splitlines()[-1] if finished.stdout.strip() else finished.stderr[-500:]
    if finished.returncode != 0:
        raise Failed(" ".join((finished.stdout[-3000:] or last).split()))
    return re.sub(r" in [\d.]+s.*", "", last.strip("= ")) + " of the core tests"


Outcome = tuple[str, dict[str, str], str]  # The environment's name, its versions, what came of it.


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    python: str
    environment: str
    versions: dict[str, str]
    outcome: str
    seconds: float

    def __str__(self) -> str:
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"| {self.python} | {self.environment} | {versions} | {self.outcome} | {self.seconds:.0f} |"


def rows(options: argparse.Namespace, shop: Workshop) -> Iterator[Row]:
    """A row for each environment, as soon as it is done. A failed check becomes a row that begins with FAILED."""
    python = done([options.python, "-c", "import platform; print(platform.python_version())"]).strip()
    start = time.monotonic()
    for name, versions, outcome in (
        tests_of(shop, lowest=options.lowest) if options.tests or options.lowest else uses_of(shop, options.extras)
    ):
        yield Row(python, name, versions, outcome, time.monotonic() - start)
        start = time.monotonic()


def tests_of(shop: Workshop, *, lowest: bool) -> Iterator[Outcome]:
    """The core of the tests, with the exact versions of constraints.txt or with the lowest."""
    if lowest:
        # The lowest build of a version is that for graphics cards; the usual environment says which is meant.
        usual = shop.install("usual", "--constraint", CONSTRAINTS, shop.wheel)
        pins = shop.kept("torch.txt", f"torch=={usual.versions(())['torch']}")
        usual.remove()
        direct = shop.kept("direct.txt", *requirements("test"))
        words: list[str | Path] = [
            "--resolution",
            "lowest-direct",
            "--constraint",
            pins,
            "--requirement",
            direct,
            shop.wheel,
        ]
    else:
        words = ["--constraint", CONSTRAINTS, f"{shop.wheel}[test]"]
    tested = shop.install("tests", *words)
    try:
        first_audit(tested)
        outcome = core(tested, shop.folder)
    except Failed as failure:
        outcome = f"FAILED: {failure}"
    versions = tested.versions(("pandas", "pyarrow", "pydantic", "scikit-learn", "scipy", "typer"))
    yield "test, lowest versions" if lowest else "test", versions, outcome
    tested.remove()


def uses_of(shop: Workshop, extras: Iterable[str]) -> Iterator[Outcome]:
    """An environment without extras, then one for each of `extras`."""
    bare = shop.install(NONE, "--constraint", CONSTRAINTS, shop.wheel)
    first_audit(bare)
    yield NONE, bare.versions(("scikit-learn", "pandas")), "smallest audit"
    pins = shop.kept("torch.txt", torch_pin())
    for extra in extras:
        trial, versions = TRIALS[extra], {}
        try:
            given = ("--constraint", ROOT / trial.constraints, "--constraint", pins)
            installed = shop.install(extra, *given, f"{shop.wheel}[{extra}]")
            versions = installed.versions(trial.packages)
            first_audit(installed)
            yield extra, versions, f"smallest audit; {tried(extra, installed, bare)}"
            installed.remove()
        except Failed as failure:
            yield extra, versions, f"FAILED: {failure}"


def written(text: str, added: Iterable[Row]) -> str:
    """A page with the rows added to its table; a row of the same Python and environment is replaced."""
    before, header, after = text.partition(TABLE)
    if not header:
        raise Failed("the page has no table of this form")
    lines = after.splitlines(keepends=True)
    count = next((place for place, line in enumerate(lines) if not line.startswith("|")), len(lines))

    def key(line: str) -> tuple[str, str]:
        _, python, environment, *_ = (cell.strip() for cell in line.split("|"))
        return python, environment

    table = {key(line): line for line in lines[:count]} | {key(str(row)): f"{row}\n" for row in added}
    order = sorted(table, key=lambda cells: ([int(part) for part in cells[0].split(".")], cells[1] != NONE, cells[1]))
    return before + header + "".join(table[cells] for cells in order) + "".join(lines[count:])


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 if a check failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    parser.add_argument("--extras", default=",".join(TRIALS), help="names with commas, or none")
    parser.add_argument("--tests", action="store_true", help="the core of the tests instead of the extras")
    parser.add_argument("--lowest", action="store_true", help="the same with the lowest versions")
    parser.add_argument("--write", type=Path, help="a page whose table gets the rows")
    options = parser.parse_args(words)
    options.extras = [name for name in options.extras.split(",") if name and name != NONE]
    if unknown := set(options.extras) - set(TRIALS):
        parser.error(f"--extras must be of {', '.join(TRIALS)}, got {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="hardlabel-packaging-", ignore_cleanup_errors=True) as folder:
        failed, good = False, []
        try:
            shop = Workshop(Path(folder).resolve(), options.python)
            print(shop.build(), flush=True)
            print(TABLE, end="", flush=True)
            for row in rows(options, shop):
                print(row, flush=True)
                if row.outcome.startswith("FAILED"):
                    failed = True
                else:
                    good.append(row)
        except Failed as failure:
            failed = True
            print(f"FAILED: {failure}", flush=True)
    if options.write is not None and good:
        options.write.write_text(written(options.write.read_text(), good))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

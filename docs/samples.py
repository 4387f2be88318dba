"""Makes the reports that docs/samples.md shows, by the commands that stand on that page (3 minutes on a core).

    python docs/samples.py --out docs/samples

The commands run one after another in a temporary folder, which holds two models and their data. Models and data are
made here from data that scikit-learn bundles.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestClassifier

PAGE = Path(__file__).with_name("samples.md")
MARK = re.compile(r"^<!-- sample: (\w+) -->$", re.MULTILINE)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"^<!-- not run: [^\n]+ -->\n```bash\n.*?^```$", re.MULTILINE | re.DOTALL)
# What the commands before a mark have written, and how it is called in the folder of samples.
FILES = {
    "model": ("runs/v1/report.html", "model.html"),
    "gate": ("gate.md", "gate.txt"),  # Not .md, which would be a page of its own.
    "compare": ("changes.html", "compare.html"),
    "recipe": ("runs/recipe/report.html", "recipe.html"),
    "defenses": ("runs/defenses/report.html", "defenses.html"),
    "canaries": ("runs/canaries/report.html", "canaries.html"),
}
NEEDS = {"gate": ("model",), "compare": ("model",)}  # Whose runs the commands read.
SECRET = "samples-are-public-and-so-is-this"  # Pseudonyms of public records: the same whenever samples are made.
SMALL = ("--attacks", "gap,gap-ratio", "--references", "2", "--samples", "20")
FORESTS = {"v1": 1, "v2": 20}  # Patients in a leaf at least: trees grown to the end, and trees that are stopped.
ROWS = {"members": slice(130), "nonmembers": slice(130, 260), "population": slice(260, None)}
DECIDED = (0, 3, 4)  # Exit codes of a command whose gate passed, tripped or was undecided.


def commands(text: str) -> dict[str, list[str]]:
    """The commands of each sample, in the order of the page: those in Bash blocks above its mark."""
    parts = MARK.split(NOT_RUN.sub("", text))
    above = dict(zip(parts[1::2], parts[::2], strict=False))
    return {name: "".join(BLOCK.findall(part)).replace("\\\n", " ").splitlines() for name, part in above.items()}


def prepare(folder: Path) -> None:
    """Writes data of diabetes patients as three tables, and two forests that were trained on the first."""
    frame = load_diabetes(as_frame=True, scaled=False).frame
    frame["worse"] = np.where(frame.pop("target") > 140, "yes", "no")
    frame = frame.sample(frac=1, random_state=0)
    for name, rows in ROWS.items():
        frame[rows].to_csv(folder / f"{name}.csv", index=False)
    members = frame[ROWS["members"]]
    for name, leaf in FORESTS.items():
        forest = RandomForestClassifier(50, min_samples_leaf=leaf, random_state=0)
        forest.fit(members.drop(columns="worse"), members["worse"])
        joblib.dump(forest, folder / f"{name}.joblib")


def make(out: Path, names: Sequence[str] = tuple(FILES), *, small: bool = False) -> None:
    """Runs the commands of these samples and keeps what they write.

    Args:
        out: The folder of samples; made if missing.
        names: Keys of FILES.
        small: Two cheap attacks on 20 records, for tests.

    Raises:
        SystemExit: A command failed.
    """
    wanted = {need for name in names for need in (name, *NEEDS.get(name, ()))}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder)
        for name, lines in commands(PAGE.read_text(encoding="utf-8")).items():
            if name not in wanted:
                continue
            begun = time.monotonic()
            for line in lines:
                words = shlex.split(line)
                _run([*words, *SMALL] if small and words[1] == "audit" else words, folder)
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
            if name in names:
                source, target = FILES[name]
                out.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / source, out / target)


def _run(words: Sequence[str], folder: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "HARDLABEL_"))}
    environment = {**kept, "HARDLABEL_SECRET": SECRET, "HARDLABEL_STORE": str(folder / "store")}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in DECIDED:
        raise SystemExit(f"{shlex.join(words)}: exit code {done.returncode}\n{done.stderr}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Makes the sample reports of docs/samples.md.")
    parser.add_argument("--out", type=Path, default=PAGE.with_suffix(""), help="folder of samples [docs/samples]")
    parser.add_argument("--only", nargs="+", choices=FILES, default=list(FILES), metavar="NAME", help=", ".join(FILES))
    parser.add_argument("--small", action="store_true", help="two cheap attacks on 20 records")
    given = parser.parse_args()
    make(given.out, given.only, small=given.small)

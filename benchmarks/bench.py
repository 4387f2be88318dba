"""hardlabel against the model's own forward pass and against its peers, in one run; `make bench`.

    python benchmarks/bench.py              every part that is not there yet, then the table
    python benchmarks/bench.py PART...      only these
    python benchmarks/bench.py --quick      a small network, once: whether everything runs
    python benchmarks/bench.py --table      only writes RESULTS.md from the parts

A part is finished round by round in runs/bench/PART.json; a run that broke off goes on with the round it was in.
Remove a part to measure it anew. Timings mean something on a machine that does nothing else: the table says how much
else it did.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import torch
from settings import Part, Task, parts, quick
from table import write
from targets import make

HERE = Path(__file__).parent
PACKAGES = ("hardlabel", "torch", "numpy", "adversarial-robustness-toolbox", "foolbox")
VARIABLES = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads to compare at")
    asked = parser.parse_args()
    every = quick() if asked.quick else parts(threads=tuple(asked.threads), cuda=torch.cuda.is_available())
    unknown = set(asked.parts) - {part.name for part in every}
    if unknown:
        parser.error(f"unknown parts {sorted(unknown)}: known are {', '.join(part.name for part in every)}")
    out = Path("runs/bench-quick" if asked.quick else "runs/bench")
    if not asked.table:
        for part in every:
            if not asked.parts or part.name in asked.parts:
                play(part, out)
    # What was made on a machine with a card stands in the table of one without.
    shown = every if asked.quick else parts(threads=tuple(asked.threads), cuda=True)
    write(shown, out, (out if asked.quick else HERE) / "RESULTS.md")


def play(part: Part, out: Path) -> None:
    """Measures what is missing of a part."""
    kept = out / f"{part.name}.json"
    done = json.loads(kept.read_text()) if kept.exists() else {"machine": machine(), "rounds": []}
    out.mkdir(parents=True, exist_ok=True)
    for number in range(len(done["rounds"]), part.rounds):
        print(f"{part.name}, round {number + 1} of {part.rounds}", flush=True)
        found: list[dict] = []
        for task in part.tasks:
            found.append(measure(replace(task, seed=number), target_of(task.target, out)))
        done["rounds"].append(found)
        part_of = kept.with_suffix(".part")
        part_of.write_text(json.dumps(done))
        os.replace(part_of, kept)


def target_of(name: str, out: Path) -> Path:
    """The file of a target, made if it is not there."""
    path = out / "targets" / f"{name}.pt"
    if not path.exists():
        print(f"  training {name}", flush=True)
        make(name, path)
    return path


def measure(task: Task, target: Path) -> dict:
    """One task in a process of its own; what it measured, or how it failed."""
    plain = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "GLIBC_TUNABLES")}
    environment = plain | dict.fromkeys(THREADS, str(task.threads))
    if task.allocator == "variables":
        environment |= VARIABLES
    started = time.perf_counter()
    command = [sys.executable, str(HERE / "one.py"), json.dumps(asdict(task)), str(target)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told = f"  {task.tool} {task.attack}, {task.samples} samples, {task.queries} queries, {task.allocator}"
    print(f"{told}: {time.perf_counter() - started:.0f} s", flush=True)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
        print(f"  failed: {last}", flush=True)
        return {"task": asdict(task), "failed": last}
    return {"task": asdict(task), **json.loads(ended.stdout.splitlines()[-1])}


def machine() -> dict:
    """What the figures were made on and with; no names of hosts, no paths."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        "commit": commit.stdout.strip(),
        "processor": names[0].split(":")[1].strip() if names else platform.machine(),
        "cores": os.cpu_count(),
        "libc": " ".join(platform.libc_ver()),
        "card": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    main()

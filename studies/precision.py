"""How long the default audit of CIFAR-10 takes, and what mixed precision changes: `python studies/precision.py`.

Into studies/PRECISION.md; the parts, each made where runs/precision/ lacks it (an hour on two cores that have products
of bfloat16):

audit: the default audit from an empty store, timed from outside; when training ended, its journal says.
asked: the same once more, its own models asked in float32 instead of as they were trained.
recipe-bfloat16, recipe-float32: 8 models of each recipe play target, all asked in float32.
speed: training and answering by one thread in both precisions, by turns.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hardlabel import keep_memory
from hardlabel.audits.attacker import models as owned
from hardlabel.audits.attacker import shadow
from hardlabel.data import sources
from hardlabel.kinds import run
from hardlabel.metrics import crossed, intervals
from hardlabel.metrics.estimate import Estimate
from hardlabel.models.train import Recipe, train, usual_precision
from hardlabel.records.model import AuditRecord
from hardlabel.records.recipe import RecipeRecord
from hardlabel.runs.journal import JOURNAL, Journal
from hardlabel.runs.settings import ModelSettings
from hardlabel.store import Store
from hardlabel.targets.torch import TorchModel

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "PRECISION.md"
OUT = HERE.parent / "runs" / "precision"
TIMES = "audit.json"
ROUNDS = 5
KINDS = ("bfloat16", "float32")
RECIPE = ("--repeats", "8", "--references", "6", "--samples", "500", "--attacks", "gap,path,lira,rmia")


def main() -> None:
    parts: dict[str, Callable[[Path], None]] = {
        "audit": audited,
        "asked": asked,
        **{f"recipe-{kind}": lambda out, kind=kind: command(out, kind, *RECIPE) for kind in KINDS},
        "speed": speed,
    }
    for name, make in parts.items():
        done = OUT / f"{name}.done"
        if not done.exists():
            print(name, flush=True)
            make(OUT / name)
            done.touch()
    RESULTS.write_text("\n".join(written()) + "\n")
    print(RESULTS)


def command(out: Path, kind: str, *more: str) -> None:
    """Audits CIFAR-10 from the shell, models in the store of this precision."""
    environment = {**os.environ, "HARDLABEL_STORE": str(OUT / f"store-{kind}")}
    audit = [sys.executable, "-m", "hardlabel", "audit", "--data", "cifar10", "--precision", kind, "--out", str(out)]
    subprocess.run([*audit, *more, "--quiet"], env=environment, check=True)


def audited(out: Path) -> None:
    for old in (out, OUT / "store-bfloat16"):
        shutil.rmtree(old, ignore_errors=True)
    busy, started, used = ticks(), time.perf_counter(), os.times()
    command(out, "bfloat16")
    seconds, now = time.perf_counter() - started, os.times()
    own = now.children_user + now.children_system - used.children_user - used.children_system
    others = max(0.0, (ticks() - busy) / os.sysconf("SC_CLK_TCK") - own) / seconds
    trained = max(told(line) for line in Journal(out / JOURNAL).lines() if line.get("kind") == "model")
    ended = max(told(line) for line in Journal(out / JOURNAL).lines() if line.get("event") == "ended")
    (OUT / TIMES).write_text(json.dumps({"seconds": seconds, "after": ended - trained, "others": others}))


def told(line: dict[str, object]) -> float:
    return datetime.fromisoformat(str(line["at"])).timestamp()


def ticks() -> int:
    """Clock ticks that all programs have used of the processors."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return sum(int(words[place]) for place in (0, 1, 2, 5, 6))


def asked(out: Path) -> None:
    """As the audit in mixed precision, with the attacker's labels found in float32."""
    shutil.rmtree(out, ignore_errors=True)
    usual = owned.as_trained
    owned.as_trained = shadow.as_trained = lambda models, trainer: list(models)
    try:
        settings = ModelSettings(data="cifar10", precision="bfloat16", out=out)
        run(settings, store=Store(OUT / "store-bfloat16"))
    finally:
        owned.as_trained = shadow.as_trained = usual


def speed(out: Path) -> None:
    """Rows per second of training and answering, the medians of some rounds."""
    torch.set_num_threads(1)
    keep_memory()
    samples = sources.load("cifar10").samples.take(slice(0, 2500))
    device, rates = torch.device("cpu"), []
    for _ in range(ROUNDS):
        for kind in KINDS:
            made = train(Recipe(precision=kind, max_epochs=3), samples, classes=10, seed=0, device=device)
            asked = TorchModel(made.model, device=device, batch_size=256, mixed=kind == "bfloat16")
            asked.ask(samples.inputs[:256], samples.ids[:256])
            started = time.perf_counter()
            asked.ask(samples.inputs, samples.ids)
            rates.append((kind, made.rows / made.seconds, len(samples) / (time.perf_counter() - started)))
    told = {
        kind: [float(np.median([one[place] for one in rates if one[0] == kind])) for place in (1, 2)] for kind in KINDS
    }
    out.with_suffix(".json").write_text(json.dumps(told))


def written() -> Iterator[str]:
    mixed, plain = AuditRecord.load(OUT / "audit"), AuditRecord.load(OUT / "asked")
    times = json.loads((OUT / TIMES).read_text())
    recipes = [RecipeRecord.load(OUT / f"recipe-{kind}") for kind in KINDS]
    versions = ", ".join(f"{name} {version}" for name, version in mixed.results.environment.versions.items())
    yield "# The time of the default audit, and what mixed precision changes"
    yield (
        "Made by `python studies/precision.py`. Where nobody says otherwise, processors with products of bfloat16 "
        "train networks that convolve in mixed precision: weights, losses and steps are float32, what is multiplied "
        "is rounded to bfloat16. The attacker's own models are then asked for labels so, too; the target never is."
    )
    yield f"\n{processor()}, {os.cpu_count()} cores; seed 0; {versions}.\n"
    yield "## `hardlabel audit --data cifar10` from an empty store\n"
    trainings = sum(line.get("kind") == "model" for line in Journal(OUT / "audit" / JOURNAL).lines())
    yield (
        f"{times['seconds'] / 60:.1f} minutes, {times['after']:.0f} seconds of them from the last of {trainings} "
        f"trainings to the record; all in bfloat16 (where nobody says otherwise, the precision here is "
        f"{usual_precision('cnn', torch.device('cpu'))}); other programs used {times['others']:.2f} cores meanwhile."
    )
    results = mixed.results
    assert results.references is not None
    yield (
        f"{results.members:,} members and {results.nonmembers:,} non-members, {results.references.count} "
        f"reference models on {results.references.train_size:,} images each; "
        f"attacks {', '.join(one.name for one in results.attacks)}."
    )
    yield "\n## Asking own models in mixed precision\n"
    yield "The same target and models; AUC, and the paired difference.\n"
    yield "| attack | asked in bfloat16 | in float32 | difference |"
    yield "|---|---|---|---|"
    for one in mixed.results.attacks:
        if one.access == "label":
            other = plain.attack(one.name).auc
            yield f"| {one.name} | {one.auc} | {other} | {paired(mixed, plain, one.name)} |"
    yield "\n## Training in mixed precision\n"
    samples, targets = recipes[0].results.samples, recipes[0].results.targets
    yield (
        f"{len(targets)} models of each recipe play target, from the same seeds on the same pairs, {samples:,} "
        "samples, all asked in float32. AUC with an interval over targets and samples; TPR with one "
        "threshold for all targets.\n"
    )
    yield "| attack | bfloat16: AUC, TPR@1%FPR | float32: AUC, TPR@1%FPR | difference in AUC |"
    yield "|---|---|---|---|"
    for one in recipes[0].results.attacks:
        cells = [f"{each.attack(one.name).auc}, {tpr(each, one.name)}" for each in recipes]
        yield f"| {one.name} | {' | '.join(cells)} | {across(recipes, one.name)} |"
    accuracy = [
        np.mean([[t.train_accuracy, t.test_accuracy] for t in each.results.targets], axis=0) for each in recipes
    ]
    rates = json.loads((OUT / "speed.json").read_text())
    gains = [mixed / whole for mixed, whole in zip(*(rates[kind] for kind in KINDS), strict=True)]
    yield (
        f"\nMean train/test accuracy {' and '.join(f'{train:.3f}/{test:.3f}' for train, test in accuracy)}; "
        f"by one thread {' and '.join(f'{rates[kind][0]:,.0f}' for kind in KINDS)} images/s are trained on, "
        f"{gains[0]:.2f} times as many in bfloat16, and {' and '.join(f'{rates[kind][1]:,.0f}' for kind in KINDS)} "
        f"answered, {gains[1]:.2f} times as many (medians of {ROUNDS} rounds)."
    )


def signed(one: Estimate) -> str:
    return f"{one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"


def tpr(record: RecipeRecord, name: str) -> str:
    found = record.attack(name).tpr_at_fpr["0.01"].value
    return "-" if found is None else f"{found:.3f}"


def paired(first: AuditRecord, second: AuditRecord, name: str) -> str:
    one, other = (each.scores[each.scores.attack == name].sort_values("id") for each in (first, second))
    assert one.member.tolist() == other.member.tolist()
    return signed(intervals.auc_difference(one.score.to_numpy(), other.score.to_numpy(), one.member.to_numpy()))


def across(records: list[RecipeRecord], name: str) -> str:
    scores: list[NDArray[np.float64]] = []
    inside: list[NDArray[np.bool_]] = []
    for record in records:
        mine = record.scores[record.scores.attack == name]
        scores.append(mine.pivot(index="target", columns="id", values="score").to_numpy())
        inside.append(mine.pivot(index="target", columns="id", values="member").to_numpy().astype(bool))
    assert np.array_equal(*inside), "the same pairs"
    return signed(crossed.auc_difference(scores[0], scores[1], inside[0]))


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

"""Without a trainer: what surrogates find, on targets that were trained in another way.

The target is a forest, boosted trees or a perceptron, on digits, Adult or telco. The attacker does not know which. It
trains a surrogate (`alike=False`) or, for comparison, the target's own estimator ("same"). Every target has a split and
a seed of its own.

    python studies/surrogates.py --parts FOLDER --data FOLDER                              the choice: all surrogates
    python studies/surrogates.py --parts FOLDER --data FOLDER --targets 8 --surrogates chosen
    python studies/surrogates.py --parts FOLDER --data FOLDER --targets 4 --surrogates same
    python studies/surrogates.py --parts FOLDER --data FOLDER --surrogates fc --budget 1 --cells digits-forest ...
        --attacks gap gap-ratio path                                                       and --budget 2, 5
    python studies/surrogates.py --parts FOLDER --table    writes SURROGATES.md from the parts

Finished parts stay in FOLDER: a study that broke off goes on where it was. One process; a part takes about ten seconds
of one core. The surrogate was chosen on targets 0 and 1; the others had no part in the choice.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neural_network import MLPClassifier

import hardlabel
from hardlabel.data import sources
from hardlabel.data.domain import Domain
from hardlabel.records.environment import environment_of
from hardlabel.store import Store

TRAIN, ATTACKED, POPULATION, REFERENCES, BUDGET = 500, 300, 1200, 8, 10
LABEL_ONLY = ("gap", "gap-ratio", "noise", "noise-ratio", "path", "path-estimate")


TEXT = """# Without a trainer
Made by studies/surrogates.py; its first lines give the commands.
{versions}.
Models have scikit-learn's defaults but for what the script names. Targets have {train} training rows; {attacked}
members and {attacked} non-members are attacked, with {budget} queries per record at most and {references} reference
models; the population holds up to {population} other records. Target k has split and seed k. Figures are AUCs, means
over the targets of a cell. Intervals are 95 %, by Student's t over paired differences of targets. Splits of one source
overlap, so that the intervals do not cover the choice of the source. All parts ran on one core beside other work, so no
times are given.

## Against gap and calibrated gap
The surrogate is an fc network on digits, boosted trees (60 rounds) on tables. "named" is the attack that the ranking
names for it. Targets 0 and 1 chose surrogate and attack; the others had no part in the choice.

{gap}
Over the six cells of tables, noise-ratio minus gap-ratio is {even}: they are even. The ranking names noise-ratio, since
gap-ratio sees nothing of a model that is right on all records, and gap-ratio where there are fewer than 10 queries.

## Fewer queries on images
Targets 0 and 1; an attack that cannot be played for so few queries has no figure.

{fewer}
## What it costs
The same targets, attacked with models that were trained as they were: clones of the target's estimator. "lost" is the
AUC of the named attack with such models minus its AUC with surrogates.

{same}
## The choice
All surrogates, on targets 0 and 1 of each cell. "bare forest": extremely randomised trees without bootstrap. On tables
boosted trees with noise-ratio were the best and need no crafter networks, so no population. path-estimate is as good
there, where crafters can be had. On digits the fc network with path is as good as a forest.

{choice}"""


def digits(folder: Path) -> tuple[torch.Tensor, torch.Tensor, Domain]:
    del folder
    bunch = load_digits()
    inputs = torch.tensor(bunch.images[:, None] / 16, dtype=torch.float32)
    return inputs, torch.tensor(bunch.target), hardlabel.Box((1, 8, 8))


def adult(folder: Path) -> tuple[torch.Tensor, torch.Tensor, Domain]:
    samples = sources.load("adult", folder=folder).samples
    return samples.inputs, samples.labels, samples.domain


def telco(folder: Path) -> tuple[torch.Tensor, torch.Tensor, Domain]:
    frame = pd.read_csv(folder / "telco" / "telco-churn.csv").drop(columns="customerID")
    labels = torch.tensor((frame.pop("Churn") == "Yes").to_numpy(dtype=np.int64))
    frame["TotalCharges"] = pd.to_numeric(frame["TotalCharges"], errors="coerce")
    domain = hardlabel.MixedTable.fit(frame, missing="nan", categorical=["SeniorCitizen"])
    return domain.encode(frame), labels, domain


DATA = {"digits": digits, "adult": adult, "telco": telco}
TARGETS: dict[str, Callable[[], BaseEstimator]] = {
    "forest": lambda: RandomForestClassifier(60, random_state=0),
    "boosted": lambda: HistGradientBoostingClassifier(random_state=0),
    "mlp": lambda: MLPClassifier((100,), max_iter=300, random_state=0),
}
OWN: dict[str, Callable[[], object]] = {  # What the attacker may train without knowing the target's training.
    "boosted": lambda: HistGradientBoostingClassifier(max_iter=60),
    "forest": lambda: RandomForestClassifier(60),
    "bare forest": lambda: ExtraTreesClassifier(60, bootstrap=False),
    "fc": lambda: hardlabel.Recipe(architecture="fc", max_epochs=100),
}


def part(
    cell: tuple[str, str], number: int, surrogate: str, data: Path, store: Store, attacks: list[str], budget: int
) -> dict[str, object]:
    """One audit: a target with its own split, attacked with the models of one surrogate."""
    inputs, labels, domain = DATA[cell[0]](data)
    rows = torch.unique(inputs.flatten(1), dim=0, return_inverse=True)[1]  # Repeats of an input count once.
    first = np.unique(rows.numpy(), return_index=True)[1]
    order = np.random.default_rng([number, len(cell[0])]).permutation(first)
    takes = np.split(order[: TRAIN + ATTACKED + POPULATION], [TRAIN, TRAIN + ATTACKED])
    inside, outside, rest = ((inputs[take], labels[take]) for take in takes)
    flat = inside[0].flatten(1).numpy()
    target = TARGETS[cell[1]]().set_params(random_state=number).fit(flat, inside[1].numpy())
    trainer = TARGETS[cell[1]]() if surrogate == "same" else OWN[surrogate]()
    started = time.perf_counter()
    record = hardlabel.audit(
        target,
        inside,
        outside,
        population=rest,
        trainer=trainer,
        train_size=TRAIN,
        domain=domain,
        attacks=attacks,
        budget=budget,
        samples=ATTACKED,
        seed=number,
        device="cpu",
        store=store,
        attacker=hardlabel.Attacker(references=REFERENCES, alike=surrogate == "same"),
    )
    results = record.results
    return {
        "seconds": time.perf_counter() - started,
        "train": results.target.train_accuracy.value,
        "test": results.target.test_accuracy.value,
        "own": [results.references.train_accuracy, results.references.test_accuracy],
        "own_seconds": results.references.training_seconds,
        "auc": {attack.name: attack.auc.value for attack in results.attacks},
        "balanced": {
            attack.name: None if attack.balanced_accuracy is None else attack.balanced_accuracy.value
            for attack in results.attacks
        },
    }


def chosen(data: str) -> str:
    """The surrogate that `hardlabel.models.surrogates` takes for this data."""
    return "fc" if data == "digits" else "boosted"


def named(data: str) -> str:
    """The attack that the ranking names for it, at BUDGET queries."""
    return "path" if data == "digits" else "noise-ratio"


def parts_of(folder: Path, data: str, kind: str, surrogate: str) -> dict[int, dict]:
    """The finished parts of a cell by the target's number."""
    files = folder.glob(f"{data}-{kind}-{surrogate.replace(' ', '_')}-*.json")
    return {int(file.stem.rsplit("-", 1)[1]): json.loads(file.read_text()) for file in sorted(files)}


def interval(values: list[float], sign: str = "+") -> str:
    """Mean and 95 % interval over targets by Student's t, as text."""
    mean = np.mean(values)
    if len(values) < 4:  # Of fewer, it would say nothing.
        return f"{mean:{sign}.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean:{sign}.3f} [{mean - half:{sign}.3f}, {mean + half:{sign}.3f}]"


def mean(parts: dict[int, dict], attack: str, figure: str = "auc") -> str:
    return f"{np.mean([part[figure][attack] for part in parts.values()]):.3f}"


def paired(parts: dict[int, dict], attack: str, baseline: str, figure: str = "auc") -> str:
    return interval([part[figure][attack] - part[figure][baseline] for part in parts.values()])


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def against_gap(folder: Path) -> str:
    """The goal: the attack that the ranking names against gap and against calibrated gap."""
    rows = []
    for data in DATA:
        for kind in TARGETS:
            parts, attack = parts_of(folder, data, kind, chosen(data)), named(data)
            accuracies = (np.mean([part[group] for part in parts.values()]) for group in ("train", "test"))
            rows.append(
                [
                    f"{data}, {kind}",
                    str(len(parts)),
                    "/".join(f"{accuracy:.3f}" for accuracy in accuracies),
                    *(mean(parts, name) for name in ("gap", "gap-ratio", "noise")),
                    f"{attack} {mean(parts, attack)}",
                    paired(parts, attack, "gap"),
                    paired(parts, attack, "gap-ratio"),
                    paired(parts, attack, "gap", "balanced"),
                ]
            )
    head = ["cell", "targets", "train/test", "gap", "gap-ratio", "noise", "named", "named - gap", "named - gap-ratio"]
    return table([*head, "named - gap, balanced accuracy"], rows)


def against_same(folder: Path) -> str:
    """What not knowing the training costs: the same targets, attacked with models trained as they were."""
    rows = []
    for data in DATA:
        for kind in TARGETS:
            own, same = (parts_of(folder, data, kind, name) for name in (chosen(data), "same"))
            both = sorted(own.keys() & same.keys())
            attack = named(data)
            if not both:
                continue
            difference = [same[number]["auc"][attack] - own[number]["auc"][attack] for number in both]
            alike = {number: same[number] for number in both}
            rows.append(
                [
                    f"{data}, {kind}",
                    str(len(both)),
                    f"{attack} {mean({number: own[number] for number in both}, attack)}",
                    *(mean(alike, name) for name in ("gap-ratio", "noise-ratio", "path")),
                    interval(difference),
                ]
            )
    alike = ("gap-ratio", "noise-ratio", "path")
    return table(["cell", "targets", "surrogate", *(f"{name}, alike" for name in alike), "lost"], rows)


def evenly(folder: Path) -> str:
    """Calibrated noise minus calibrated gap on tables: the mean of each target over kinds and sources."""
    cells = [parts_of(folder, data, kind, "boosted") for data in DATA if data != "digits" for kind in TARGETS]
    shared = sorted(set.intersection(*(set(cell) for cell in cells)))
    return interval(
        [
            float(np.mean([cell[number]["auc"]["noise-ratio"] - cell[number]["auc"]["gap-ratio"] for cell in cells]))
            for number in shared
        ]
    )


def fewer_queries(folder: Path) -> str:
    """The attacks at smaller budgets, on images."""
    rows = []
    for kind in TARGETS:
        for budget in (1, 2, 5):
            parts = parts_of(folder, "digits", kind, f"fc@{budget}")
            names = ("gap", "gap-ratio", "noise-ratio", "path")
            known = next(iter(parts.values()))["auc"]
            rows.append(
                [f"digits, {kind}", str(budget), *(mean(parts, name) if name in known else "-" for name in names)]
            )
    return table(["cell", "queries", "gap", "gap-ratio", "noise-ratio", "path"], rows)


def choices(folder: Path) -> str:
    """All surrogates on the targets that chose: mean AUC over three kinds of targets."""
    rows = []
    for group, members in (("digits", ["digits"]), ("tables", ["adult", "telco"])):
        for surrogate in OWN:
            cells = [
                {number: part for number, part in parts_of(folder, data, kind, surrogate).items() if number < 2}
                for data in members
                for kind in TARGETS
            ]
            means = (np.mean([[part["auc"][name] for part in cell.values()] for cell in cells]) for name in LABEL_ONLY)
            rows.append([group, surrogate, *(f"{figure:.3f}" for figure in means)])
    return table(["data", "surrogate", *LABEL_ONLY], rows)


def write(folder: Path) -> None:
    """Writes SURROGATES.md beside this file."""
    environment = environment_of(0, 0.0, torch.device("cpu"))
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    text = TEXT.format(
        gap=against_gap(folder),
        same=against_same(folder),
        choice=choices(folder),
        even=evenly(folder),
        fewer=fewer_queries(folder),
        versions=f"{versions}; {environment.machine}",
        train=TRAIN,
        population=POPULATION,
        attacked=ATTACKED,
        references=REFERENCES,
        budget=BUDGET,
    )
    (Path(__file__).parent / "SURROGATES.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="Number of the first target: other splits.")
    parser.add_argument("--attacks", nargs="*", default=list(LABEL_ONLY))
    parser.add_argument("--surrogates", nargs="*", default=[*OWN], help="Also: chosen, same.")
    parser.add_argument("--cells", nargs="*", default=[f"{data}-{kind}" for data in DATA for kind in TARGETS])
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        write(given.parts)
        return
    fewer = "" if given.budget == BUDGET else f"@{given.budget}"
    torch.set_num_threads(1)
    given.parts.mkdir(parents=True, exist_ok=True)
    for number in range(given.first, given.first + given.targets):
        for name in given.cells:
            for surrogate in (chosen(name.split("-")[0]) if each == "chosen" else each for each in given.surrogates):
                file = given.parts / f"{name}-{surrogate.replace(' ', '_')}{fewer}-{number}.json"
                if file.exists():
                    continue
                data, kind = name.split("-")
                made = part(
                    (data, kind),
                    number,
                    surrogate,
                    given.data,
                    Store(given.parts / "store"),
                    given.attacks,
                    given.budget,
                )
                file.write_text(json.dumps(made))
                print(name, surrogate, number, f"{made['seconds']:.1f} s", made["auc"], flush=True)


if __name__ == "__main__":
    main()

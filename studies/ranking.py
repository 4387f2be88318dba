"""The ranking's table: every label-only attack it may name, by domain, kind of target and what the attacker has.

Each cell is a data set, a kind of target and a seed: 14 models on random halves of the pool. Eight of them play target,
each attacked with the 12 models that are not its complement as references, on the same rows. The seeds were used
nowhere else.

    python studies/ranking.py --parts FOLDER --data FOLDER       all; --cells telco-forest ... for some
    python studies/ranking.py --parts FOLDER --table             writes RANKING.md and ranking.json from the parts

Finished parts stay in FOLDER. One process, some minutes for a cell. A test compares the ranking with ranking.json.
"""

import argparse
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from designed import MODELS, REFERENCES, TARGETS, difference, distinct, estimate, keep, played
from sklearn.neighbors import KNeighborsClassifier
from surrogates import DATA, table

import hardlabel
from hardlabel.attacks import TABLE, Attack, ladder
from hardlabel.data import sources
from hardlabel.data.columns import Numeric
from hardlabel.data.domain import Domain
from hardlabel.store import Store

HERE = Path(__file__).parent
BUDGET = 10
SEEDS = (101, 202, 303)
LABELS = ("gap", "gap-ratio", "noise", "noise-ratio", "path-1", "path", "designed-1", "designed")
CONFIDENCES = ("lira", "lira-shrunken", "rmia")
COMPARED = ("lira", "rmia")  # In pairs with attacks on labels.
NAMES = LABELS + CONFIDENCES


@dataclass(frozen=True)
class Source:
    """A data set: rows of a training, members asked about, its kind of domain, its seeds, its kinds of target."""

    train: int
    each: int
    domain: str
    seeds: tuple[int, ...]
    targets: tuple[str, ...]


def location(folder: Path) -> tuple[torch.Tensor, torch.Tensor, Domain]:
    samples = sources.load("location", folder=folder).samples
    return samples.inputs, samples.labels, samples.domain


SOURCES = {
    "telco": Source(1500, 150, "mixed table", SEEDS, ("forest", "xgboost", "boosted", "mlp", "neighbours")),
    "adult": Source(1500, 150, "mixed table", SEEDS, ("forest", "xgboost", "boosted", "mlp", "neighbours")),
    "location": Source(1600, 150, "binary features", SEEDS[:2], ("forest", "mlp")),
    "digits": Source(400, 150, "image", SEEDS[:1], ("forest", "xgboost", "mlp")),
}
DOMAINS = {  # The smallest of each kind: the ranking asks for the kind only.
    "mixed table": hardlabel.MixedTable(
        columns=(Numeric(name="x", mean=0.0, scale=1.0, lower=0, upper=9, integer=True),)
    ),
    "binary features": hardlabel.BinaryFeatures(8),
    "image": hardlabel.Box((1, 8, 8)),
}
KINDS = MODELS | {"neighbours": KNeighborsClassifier}
READ = DATA | {"location": location}
CELLS = [
    f"{data}-{model}-{seed}"
    for place in range(len(SEEDS))
    for data, source in SOURCES.items()
    for model in source.targets
    for seed in source.seeds[place : place + 1]
]

TEXT = """# The ranking, measured
Made by studies/ranking.py; its first lines give the commands. The same figures are in ranking.json;
tests/test_ranking.py compares what the ranking names with them.
{versions}.
A cell is a data set, a kind of target and a seed that no other study used. {trained} models are trained on random
halves of the pool; {models} of them play target, each attacked with {references} of the others as references. Sizes are
in the script. Forests have 60 trees, perceptrons one layer of 100; "boosted" is scikit-learn's
HistGradientBoosting; neighbours are 5. Figures are mean AUCs over {models} targets, intervals 95 % over targets
and rows. gap, gap-ratio and the attacks ending in -1 ask 1 query per row, all others at most {budget}; lira,
lira-shrunken and rmia see confidences. Where the attacker cannot train as the target was trained, see
[SURROGATES.md](SURROGATES.md).

That `designed` is named on tables was settled before this study. That `path` is not named on tables where references
show no confidences was decided on the cells of seed {first}; the cells of further seeds are an independent test.

## AUC
{auc}
## The attack named
The ranking's choice for {budget} queries, against calibrated gap, gap and path on the same rows.

{named}
{blind}{seeds}## How far labels fall short
The attack that the ranking names beside lira or rmia, whichever is better in that cell, on the first seed. These
figures are what `hardlabel.attacks.shortfall` tells and the report says.

{families}"""


BLIND = """## Where references show no confidences
Tables of further seeds: the attack named there, and `path`, against calibrated gap.

"""
SEVERAL = """## Fresh seeds
Means over the seeds of a data set and a kind of target, lowest and highest seed in brackets.

"""


def attacks() -> list[str | Attack]:
    """All attacks of the table at no more than BUDGET queries, and two of them at one."""
    rows = [replace(TABLE[name], usual=BUDGET) for name in ("noise", "noise-ratio")]
    single = [replace(TABLE[name], name=f"{name}-1", usual=1) for name in ("path", "designed")]
    return ["gap", "gap-ratio", *rows, "path", "designed", *single, *CONFIDENCES]


def part(cell: str, folder: Path, parts: Path) -> dict[str, object]:
    name, model, seed = cell.split("-")
    source = SOURCES[name]
    inputs, labels, domain = READ[name](folder)
    order = distinct(inputs, seed=int(seed), train=source.train)
    return played(
        cell,
        (inputs[order], labels[order]),
        KINDS[model](),
        domain=domain,
        train_size=source.train,
        attacks=attacks(),
        samples=source.each,
        seed=int(seed),
        store=Store(parts / "store"),
    )


def named(domain: str) -> str:
    """The attack that the ranking names for all that the attacker may have."""
    return ladder.best(DOMAINS[domain], BUDGET, {}).attack


def families(found: list[dict]) -> list[list[str]]:
    """For each cell of a mixed table and the first seed: the attack named, the best on confidences, the difference."""
    rows = []
    for measured in found:
        data, model, seed = measured["cell"].split("-")
        if SOURCES[data].domain == "mixed table" and int(seed) == SEEDS[0]:
            attack, auc = named("mixed table"), measured["auc"]
            best = max(COMPARED, key=lambda name: auc[name][0])
            words = (f"{name} {auc[name][0]:.3f}" for name in (attack, best))
            rows.append([f"{data}, {model}", *words, estimate(difference(measured, best, attack))])
    return rows


def blind(found: list[dict]) -> list[list[str]]:
    """For each cell of a mixed table and a further seed: what can be named without confidences, against gap-ratio."""
    rows = []
    for measured in found:
        data, _, seed = measured["cell"].split("-")
        if SOURCES[data].domain == "mixed table" and int(seed) != SEEDS[0]:
            differences = (estimate(difference(measured, name, "gap-ratio")) for name in ("noise-ratio", "path"))
            rows.append([measured["cell"], *differences])
    return rows


def written(parts: Path) -> None:
    found = [json.loads((parts / f"{cell}.json").read_text()) for cell in CELLS if (parts / f"{cell}.json").exists()]
    aucs, choices, groups = [], [], {}
    for measured in found:
        data, model, _ = measured["cell"].split("-")
        values, attack = measured["auc"], named(SOURCES[data].domain)
        accuracy = "/".join(f"{value:.3f}" for value in np.mean(measured["accuracy"], axis=0))
        aucs.append(
            [measured["cell"], accuracy, *(f"{values[name][0]:.3f}" if name in values else "-" for name in NAMES)]
        )
        against = [
            estimate(difference(measured, attack, name)) for name in ("gap-ratio", "gap", "path") if name != attack
        ]
        choices.append([measured["cell"], attack, *against, *["-"] * (3 - len(against))])
        groups.setdefault((data, model), []).append(values)
    seeds = [
        [
            f"{data}, {model}",
            str(len(group)),
            *(
                f"{np.mean(of):.3f} [{min(of):.3f}, {max(of):.3f}]"
                for of in ([values[name][0] for values in group] for name in ("gap-ratio", "path", "designed", "lira"))
            ),
        ]
        for (data, model), group in groups.items()
        if len(group) > 1
    ]
    versions = {
        name: sorted({measured["versions"][name] for measured in found}) for name in found[0]["versions"]
    }  # Cells of later seeds were measured later.
    text = TEXT.format(
        versions=", ".join(f"{name} {' and '.join(each)}" for name, each in versions.items()),
        first=SEEDS[0],
        trained=REFERENCES + 2,
        models=TARGETS,
        references=REFERENCES,
        budget=BUDGET,
        auc=table(["cell", "train/test accuracy", *NAMES], aucs),
        named=table(["cell", "named", "minus gap-ratio", "minus gap", "minus path"], choices),
        families=table(["cell", "labels", "confidences", "confidences - labels"], families(found)),
        blind=f"{BLIND}{table(['cell', 'noise-ratio - gap-ratio', 'path - gap-ratio'], blind(found))}\n",
        seeds=f"{SEVERAL}{table(['data and target', 'seeds', 'gap-ratio', 'path', 'designed', 'lira'], seeds)}\n"
        if seeds
        else "",
    )
    (HERE / "RANKING.md").write_text(text)
    summary = {
        measured["cell"]: {
            "domain": SOURCES[measured["cell"].split("-")[0]].domain,
            "auc": {name: round(values[0], 4) for name, values in measured["auc"].items()},
            "differences": {
                f"{first} - {second}": [round(end, 4) for end in ends]
                for first in NAMES
                for second in LABELS
                if first != second and (ends := difference(measured, first, second)) is not None
            },
        }
        for measured in found
    }
    lines = ",\n".join(f" {json.dumps(cell)}: {json.dumps(content)}" for cell, content in summary.items())
    (HERE / "ranking.json").write_text(f"{{\n{lines}\n}}\n")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--parts", type=Path, required=True)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--cells", nargs="+", default=CELLS)
    arguments.add_argument("--table", action="store_true")
    given = arguments.parse_args()
    if given.table:
        written(given.parts)
        return
    given.parts.mkdir(parents=True, exist_ok=True)
    for cell in given.cells:
        measured = keep(given.parts / f"{cell}.json", partial(part, cell, given.data, given.parts))
        if measured is not None:
            print(
                cell,
                {name: round(values[0], 3) for name, values in measured["auc"].items()},
                round(measured["seconds"]),
                flush=True,
            )


if __name__ == "__main__":
    main()

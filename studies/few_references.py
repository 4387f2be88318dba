"""Few references, and references that never saw the records: calibrations compared on tables; see FEW_REFERENCES.md.

    python studies/few_references.py --parts FOLDER --data FOLDER [CELL...]    trains and asks; a part for each cell
    python studies/few_references.py --parts FOLDER --data FOLDER --scores [CELL...]    calibrates; a file for each cell
    python studies/few_references.py --parts FOLDER --table                   writes FEW_REFERENCES.md

26 models of complementary pairs over a pool of 3,000 records; 8 of them, of different pairs, play target in turn. 14
further models are trained on another pool, which holds no record asked about. Finished parts stay in FOLDER. One
process; a cell takes two to five minutes of one core.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from surrogates import DATA

from hardlabel.audits.attacker.references import crafters_of, sides_of, trained_references
from hardlabel.audits.cases.case import classes_of
from hardlabel.audits.cases.from_arrays import crafting_plan, drawn, trainer_of, whole
from hardlabel.audits.cases.plans import ReferencePlan
from hardlabel.audits.game.asking import Asking, LabelQuestion, Side
from hardlabel.audits.game.game import LOGITS
from hardlabel.calibrations.base import Calibration, References
from hardlabel.calibrations.bavaria import BaVarIA
from hardlabel.calibrations.learned import LearnedRatio
from hardlabel.calibrations.proxy import ProxyRatio
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rescaled import Rescaled
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.metrics import crossed
from hardlabel.oracles.budget import Account
from hardlabel.records.environment import environment_of
from hardlabel.runs.progress import SILENT
from hardlabel.signals.base import Knowledge
from hardlabel.signals.gap import Gap
from hardlabel.signals.noise import Noise
from hardlabel.signals.path import Path as Route
from hardlabel.signals.regressed import Regressed
from hardlabel.targets.registry import askable

SIZE, ATTACKED, PROXIES, MODELS, EARLY = 1500, 1000, 1000, 26, 14
TARGETS = (0, 2, 4, 6, 9, 11, 13, 15)  # Of different pairs; four first halves, four second ones.
COUNTS = (1, 2, 4, 8, 12)
FPR = 0.01
MODEL: dict[str, Callable[[], BaseEstimator]] = {
    "forest": lambda: RandomForestClassifier(60, random_state=0),
    "boosted": lambda: HistGradientBoostingClassifier(random_state=0),
    "mlp": lambda: MLPClassifier((100,), max_iter=300, random_state=0),
}
CELLS = [f"{data}-{model}" for data in ("telco", "adult") for model in MODEL]
SIGNALS = ("gap", "noise", "path", "probability", "logit")
TREES = (4, 12)  # Numbers of references for calibrations by trees, which need two pairs.
ONLINE: dict[str, Calibration] = {
    "plain": LikelihoodRatio(),
    "shrunken": ShrunkenRatio(),
    "bavaria, student": BaVarIA(),
    "bavaria, normal": BaVarIA(predictive="normal"),
    "bavaria, 100 neighbours": BaVarIA(neighbours=100),
}
LEARNED: dict[str, Calibration] = {"learned": LearnedRatio()}
OFFLINE: dict[str, Calibration] = {
    "tail": LikelihoodRatio(online=False),
    "shrunken, offline": ShrunkenRatio(online=False),
    "shrunken, offline, rescaled": Rescaled(inner=ShrunkenRatio(online=False)),
    "proxies": ProxyRatio(),
}


def measure(cell: str, folder: Path) -> dict[str, NDArray]:
    """The values of all models of a cell: of the pairs, and of the models that never saw the records."""
    data, kind = cell.split("-")
    inputs, labels, domain = DATA[data](folder)
    some = np.random.default_rng(0).permutation(len(labels))[:9000]
    given = whole((inputs[some], labels[some]), domain, seed=0)
    everyone, device = given.samples, torch.device("cpu")
    classes = classes_of(everyone)
    trainer = trainer_of(MODEL[kind](), classes, given.read, name=None, device=device, store=None)
    pool, other = everyone.take(slice(0, 2 * SIZE)), everyone.take(slice(2 * SIZE, 4 * SIZE))
    rest = everyone.take(slice(4 * SIZE, None))
    crafting, _ = crafting_plan(rest, classes, SIZE, seed=0, device=device, store=None)
    crafters = crafters_of(crafting, SILENT)
    plan = ReferencePlan.of(pool, MODELS, trainer, seed=0)
    early = ReferencePlan.of(other, EARLY, trainer, seed=1)
    proxies = early.pool.take(slice(0, PROXIES))
    knowledge = Knowledge(population=proxies, crafters=crafters.first, second=crafters.second)
    attacked = drawn(plan.pool, ATTACKED, 0)
    asking = Asking(seed=0, watch=SILENT)
    models = {
        name: [
            askable(made.model, device, role="model", classes=classes) for made in trained_references(trained, SILENT)
        ]
        for name, trained in (("pairs", plan), ("early", early))
    }
    sides = sides_of(plan, models["pairs"], attacked, knowledge, with_pool=False).sides
    nobody = torch.zeros(ATTACKED, dtype=torch.bool)
    groups = {
        "pairs": sides,
        "early": [Side(model=one, samples=attacked, inside=nobody, knowledge=knowledge) for one in models["early"]],
        "proxies": [
            Side(model=one, samples=proxies, inside=inside[:PROXIES], knowledge=knowledge)
            for one, inside in zip(models["early"], early.inside, strict=True)
        ],
    }
    level = domain.noise_levels[1]
    questions = {
        "gap": LabelQuestion(Gap()),
        "noise": LabelQuestion(Noise(level=level, draws=31)),
        "path": LabelQuestion(Route(queries=9, routes=("others", "second"), informed=False)),
        "logit": LOGITS,
    }
    found: dict[str, NDArray] = {}
    for name, group in groups.items():
        found[f"{name} inside"] = torch.stack([side.inside for side in group]).numpy()
        found[f"{name} labels"] = group[0].samples.labels.numpy()
        for signal, question in questions.items():
            answers = asking.answers(question, group, signal, account=Account)
            found[f"{name} {signal}"] = torch.stack([one.measured.values for one in answers]).numpy()
    regressed = asking.answers(LabelQuestion(Regressed()), [sides[k] for k in TARGETS], "regressed", account=Account)
    found["regressed"] = torch.stack([one.measured.values[:, 0] for one in regressed]).numpy()
    # The null: models that saw none of the records, under the targets' membership.
    unseen = groups["early"][: len(TARGETS)]
    answers = asking.answers(LabelQuestion(Regressed()), unseen, "regressed", account=Account)
    found["regressed null"] = torch.stack([one.measured.values[:, 0] for one in answers]).numpy()
    return found


def values_of(part: dict[str, NDArray], group: str, signal: str) -> torch.Tensor:
    """(K, n, d) float32."""
    if signal == "probability":
        return torch.from_numpy(1 / (1 + np.exp(-part[f"{group} logit"].astype(np.float64)))).float()
    return torch.from_numpy(part[f"{group} {signal}"])


def online(part: dict[str, NDArray], signal: str, target: int, count: int) -> References:
    """The first `count` references of a target: neither it nor its partner is among them."""
    others = [number for number in range(MODELS) if number // 2 != target // 2][:count]
    return References(
        values=values_of(part, "pairs", signal)[others],
        inside=torch.from_numpy(part["pairs inside"][others]),
        labels=torch.from_numpy(part["pairs labels"]),
        partner=torch.tensor([number ^ 1 if number ^ 1 < count else -1 for number in range(count)]),
        censored=signal == "path",
        logits=torch.from_numpy(part["pairs logit"][others, :, 0]),
    )


def offline(part: dict[str, NDArray], signal: str, count: int) -> References:
    """`count` references that saw none of the records asked about, and proxies beside these records."""
    both = ("early", "proxies")
    return References(
        values=torch.cat([values_of(part, group, signal)[:count] for group in both], 1),
        inside=torch.from_numpy(np.concatenate([part[f"{group} inside"][:count] for group in both], 1)),
        labels=torch.from_numpy(np.concatenate([part[f"{group} labels"] for group in both])),
        partner=torch.arange(count) ^ 1,
        censored=signal == "path",
        logits=torch.from_numpy(np.concatenate([part[f"{group} logit"][:count, :, 0] for group in both], 1)),
        scored=ATTACKED,
    )


def calibrated(part: dict[str, NDArray]) -> dict[str, NDArray]:
    """Scores (T, n) by "signal | calibration | references", and those of the null test by "null | ..."."""
    scores: dict[str, NDArray] = {"inside": part["pairs inside"][list(TARGETS)]}
    scores["regressed | forest | 0"], scores["null | regressed | forest | 0"] = (
        part["regressed"],
        part["regressed null"],
    )
    for signal in SIGNALS:
        values, unseen = values_of(part, "pairs", signal), values_of(part, "early", signal)
        for count in COUNTS:
            chosen = {**ONLINE, **(LEARNED if count in TREES else {})}
            for name, calibration in chosen.items():
                key, rows, null = f"{signal} | {name} | {count}", [], []
                for number, target in enumerate(TARGETS):
                    references = online(part, signal, target, count)
                    fitted = calibration.fit(references, seed=0)
                    rows.append(fitted.score(values[target], references.labels).numpy())
                    null.append(fitted.score(unseen[number], references.labels).numpy())
                scores[key] = np.stack(rows)
                if count == max(COUNTS):
                    scores[f"null | {key}"] = np.stack(null)
        for count in TREES if signal in ("gap", "noise", "path") else ():
            references = offline(part, signal, count)
            for name, calibration in OFFLINE.items():
                fitted = calibration.fit(references, seed=0)
                labels = references.labels[:ATTACKED]
                key = f"{signal} | {name} | {count}"
                scores[key] = np.stack([fitted.score(values[target], labels).numpy() for target in TARGETS])
            if count == max(TREES):  # The last models play null targets, so that they are no references then.
                spare = unseen[count:].repeat(len(TARGETS) // 2, 1, 1)[: len(TARGETS)]
                scores[f"null | {signal} | proxies | {count}"] = np.stack(
                    [fitted.score(one, labels).numpy() for one in spare]
                )
    return scores


def estimated(value: crossed.Estimate, *, signed: bool = False) -> str:
    """A figure with its interval."""
    form = "+.3f" if signed else ".3f"
    return f"{value.value:{form}} [{value.low:{form}}, {value.high:{form}}]"


def figure(scores: NDArray, inside: NDArray) -> tuple[float, float]:
    """AUC, and TPR at FPR."""
    tpr = crossed.pooled_tpr(scores, inside, FPR, seed=0, resamples=10).value
    return crossed.mean_auc(scores, inside).value, tpr


def part_of(parts: dict[str, dict[str, NDArray]]) -> dict[str, NDArray]:
    """Any cell: all have the same rows."""
    return next(iter(parts.values()))


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def text(parts: dict[str, dict[str, NDArray]]) -> str:
    """FEW_REFERENCES.md."""
    by_count, differences, without, null = [], [], [], []
    for signal in SIGNALS:
        for name in (*ONLINE, *LEARNED):
            keys = [f"{signal} | {name} | {count}" for count in COUNTS]
            shown = [
                [figure(part[key], part["inside"]) for part in parts.values()] for key in keys if key in part_of(parts)
            ]
            told = iter(" / ".join(f"{value:.3f}" for value in np.mean(pairs, 0)) for pairs in shown)
            by_count.append([signal, name, *(next(told) if key in part_of(parts) else "-" for key in keys)])
    for cell, scores in parts.items():
        inside = scores["inside"]
        for signal in SIGNALS:
            few, many = scores[f"{signal} | learned | 4"], scores[f"{signal} | learned | 12"]
            base, shrunken4 = scores[f"{signal} | shrunken | 12"], scores[f"{signal} | shrunken | 4"]
            student = scores[f"{signal} | bavaria, student | 4"]
            differences.append(
                [
                    cell,
                    signal,
                    estimated(crossed.auc_difference(student, shrunken4, inside), signed=True),
                    estimated(crossed.auc_difference(few, shrunken4, inside), signed=True),
                    estimated(crossed.auc_difference(many, base, inside), signed=True),
                    estimated(crossed.auc_difference(few, base, inside), signed=True),
                    estimated(crossed.auc_difference(few, many, inside), signed=True),
                ]
            )
        path = scores["path | learned | 12"]
        rows = {"gap-regression (1 query, no models)": scores["regressed | forest | 0"]}
        for signal in ("gap", "noise", "path"):
            rows |= {f"{signal}, {name}": scores[f"{signal} | {name} | 12"] for name in OFFLINE}
            rows[f"{signal}, proxies, 4 references"] = scores[f"{signal} | proxies | 4"]
        rows["gap, shrunken, online"] = scores["gap | shrunken | 12"]
        gap = scores["gap | shrunken | 12"]
        for name, found in rows.items():
            told = " / ".join(f"{value:.3f}" for value in figure(found, inside))
            beside = [estimated(crossed.auc_difference(found, base, inside), signed=True) for base in (path, gap)]
            without.append([cell, name, told, *beside])
        for key in scores:
            if key.startswith("null | "):
                z = crossed.null_z(scores[key], inside)
                null.append(
                    [
                        cell,
                        key.removeprefix("null | ").replace(" | ", ", "),
                        f"{np.nanmax(np.abs(z)):.2f}",
                        f"{np.nanstd(z):.2f}",
                    ]
                )
    worst = sorted(null, key=lambda row: -float(row[2]))[:12]
    environment = environment_of(0, 0.0, torch.device("cpu"))
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    return TEXT.format(
        versions=versions,
        cells=", ".join(parts),
        by_count=table(["signal", "calibration", *map(str, COUNTS)], by_count),
        differences=table(
            [
                "cell",
                "signal",
                "BaVarIA - shrunken, both 4",
                "learned - shrunken, both 4",
                "the same, both 12",
                "learned 4 - shrunken 12",
                "learned 4 - learned 12",
            ],
            differences,
        ),
        without=table(["cell", "attack", "AUC / TPR@1%FPR", "minus online path", "minus online gap-ratio"], without),
        tests=len(null) * len(TARGETS),
        beyond=sum(float(row[2]) > 3.5 for row in null),
        null=table(["cell", "row", "largest z of 8 targets", "SD of z"], worst),
    )


TEXT = """# Few references, and references that never saw the records
Made by studies/few_references.py; its first lines give the commands. {versions}.
Telco and Adult, 1,500 training rows, 1,000 records asked about, 8 targets (each of the complementary pairs' models may
play target; its partner is left out). Signals: gap (1 query), noise (31 noisy copies at the second level), path (two
routes, 9 queries), and for comparison the logit and the probability. Means over targets; intervals are 95 %, over
targets and samples, paired. Calibrations see the records asked about alone, no further ones.

## What was found
- With 4 references BaVarIA with one prior is below the shrunken ratio on every cell, but for gap on some cells, where
  they are even. With 100 neighbours, which lend the shrunken ratio's means and scales, Student's t changes little.
- From 4 references on, trees are the best or even with the best. With 4 references they find, by label-only signals,
  what the shrunken ratio finds with 12; what they find with 12 themselves is up to .016 more on path.
- With 1 or 2 references the shrunken ratio stays the best, but on gap with one reference, where BaVarIA is.
- Without training on the records, proxies on path lose .03 at most against path itself, on noise as well.
- gap-regression loses .008 to .014 against gap-ratio with 12 references, and needs neither models nor a trainer.

## By the number of references
AUC / TPR at 1 % FPR, means over the cells {cells}. Trees (`LearnedRatio`)
need two pairs. "bavaria": `BaVarIA`, Student's t or normal, with one prior for all records; with 100 neighbours its
means and scales are those of the shrunken ratio.

{by_count}
Paired differences of AUC:

{differences}
## Without training on the records
The references of these rows were trained before the records were known, on another pool of 3,000; 1,000 of its records
are the proxies. 12 references where none is named. gap-regression trains no model: it asks the target about 1,000
records of the population once each. The last columns are paired, against path (learned) and gap-ratio (shrunken) with
12 references that were trained with and without the records.

{without}
## Null test
Answers from models that saw none of the records, under the targets' membership; {tests} tests. Rows with a |z| above
3.5: {beyond}. The rows with the largest:

{null}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=CELLS)
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--scores", action="store_true")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.parts.mkdir(parents=True, exist_ok=True)
    for cell in asked.cells:
        file, scored = asked.parts / f"{cell}.npz", asked.parts / f"{cell}-scores.npz"
        if asked.table:
            continue
        if asked.scores and not scored.exists():
            np.savez_compressed(scored, **calibrated(dict(np.load(file))))
        elif not asked.scores and not file.exists():
            np.savez_compressed(file, **measure(cell, asked.data))
        print(json.dumps({"cell": cell, "scores": asked.scores}), flush=True)
    if asked.table:
        files = {cell: asked.parts / f"{cell}-scores.npz" for cell in CELLS}
        parts = {cell: dict(np.load(file)) for cell, file in files.items() if file.exists()}
        Path(__file__).with_name("FEW_REFERENCES.md").write_text(text(parts), encoding="utf-8")


if __name__ == "__main__":
    main()

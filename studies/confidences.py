"""Confidences that saturate: on which scale they are best compared, and how far labels fall short of them.

14 models in complementary pairs over a pool of 3,000 rows of a business table, 1,500 rows each. Eight models play
target in turn, for the 12 that are neither it nor its partner. 1,000 rows of the pool are scored. A 15th model saw none
of the pool.

    python studies/confidences.py models --parts FOLDER --data FOLDER    trains, keeps what the models answer
    python studies/confidences.py scores --parts FOLDER                  each statistic, fixed and chosen
    python studies/confidences.py labels --parts FOLDER --data FOLDER    the same training, by `hardlabel.audit_recipe`
    python studies/confidences.py table --parts FOLDER                   writes CONFIDENCES.md from the parts

Finished parts stay in FOLDER: a study that broke off goes on where it was. One process.
"""

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from surrogates import adult, table, telco

import hardlabel
from hardlabel.calibrations.base import Calibration, References
from hardlabel.calibrations.learned import LearnedRatio
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.scaled import SCALES, Scaled
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.data.samples import Samples
from hardlabel.metrics import crossed
from hardlabel.models import shadows
from hardlabel.records.environment import environment_of
from hardlabel.signals.base import Knowledge
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.store import Store
from hardlabel.targets.registry import askable

MODELS, TRAIN, SCORED, ELSEWHERE = 14, 1500, 1000, 1000
TARGETS = [0, 2, 4, 6, 8, 10, 12, 1]
SEEING = ("lira", "lira-shrunken", "rmia")
LABELS = ["gap", "path", *SEEING]
CPU = torch.device("cpu")


def boosted(seed: int) -> BaseEstimator:
    from xgboost import XGBClassifier

    return XGBClassifier(random_state=seed, n_jobs=1)  # type: ignore[no-any-return]


DATA = {"telco": telco, "adult": adult}
KINDS: dict[str, Callable[[int], BaseEstimator]] = {
    "forest": lambda seed: RandomForestClassifier(60, random_state=seed),
    "hgb": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "xgb": boosted,
    "mlp": lambda seed: MLPClassifier((100,), max_iter=300, random_state=seed),
    "knn": lambda seed: KNeighborsClassifier(5),
    "extra": lambda seed: ExtraTreesClassifier(60, random_state=seed),
    "depth": lambda seed: RandomForestClassifier(60, min_samples_leaf=5, random_state=seed),
}
NAMES = {
    "forest": "random forest of 60",
    "hgb": "HistGradientBoosting",
    "xgb": "XGBoost",
    "mlp": "MLP of 100 units",
    "knn": "5 nearest neighbours",
    "extra": "extremely randomised trees, 60",
    "depth": "random forest, leaves of 5 rows",
}
FAMILIES = {
    "forest": "forest",
    "hgb": "boosted trees",
    "mlp": "network",
    "knn": "nearest neighbours",
}
MAIN = ("forest", "hgb", "xgb", "mlp")
CALIBRATIONS: dict[str, Calibration] = {
    "lira": LikelihoodRatio(),
    "lira-shrunken": ShrunkenRatio(),
    "rmia": RMIA(logits=True),
    "lira-learned": LearnedRatio(),
}

TEXT = """# Confidences that saturate
Made by studies/confidences.py; its first lines give the commands.
{versions}.
Pools of 3,000 rows, {models} models in complementary pairs, 1,500 training rows each. {targets} models play target in
turn, for the 12 that are neither it nor its partner, and {scored} rows are scored. Figures are mean AUCs. Intervals are
95 %, over targets and samples (`metrics/crossed.py`); differences are paired. Models have the defaults of scikit-learn
and XGBoost but for what the script names.

Scales are those of `hardlabel.calibrations.scaled`: the logit (what attacks compared before), the logit smoothed by the
step between two answers, the probability, and the rank among the references' answers. "chosen" takes the scale with the
highest AUC on references that play target; the logit, unless another one is better by more than .001.

## The cells
"certain" is the share of answers of exactly 0 or 1; "different" counts the probabilities that {models} models gave for
{scored} rows.

{cells}
## The choice against each fixed scale
"best fixed" is the best fixed scale over all targets, known only afterwards; the last column is the choice minus it.

{choice}
Of {count} rows times four fixed scales, better than the choice by more than .005 with an interval above 0: {held}.

## Other models
{others}
## Null test
Answers of the model that saw none of the pool, membership as the design has it, one model of each pair, the chosen
scale in all cells: {null}.

## How far labels fall short
`hardlabel.audit_recipe` of the same kinds of models: {targets} targets, 12 references, {half} rows, at most 10
queries. "labels" is the attack that the ranking names, "confidences" the best of lira, lira-shrunken and rmia in that
cell. [RANKING.md](RANKING.md) has newer figures, with the attack that the ranking names now.

{labels}"""


def pool(data: str, folder: Path) -> tuple[Samples, torch.Tensor]:
    """Samples, the first 2 * TRAIN of which are the pool, and who is inside which model (MODELS, 2 * TRAIN)."""
    inputs, labels, domain = DATA[data](folder)
    rows = torch.unique(inputs, dim=0, return_inverse=True)[1]  # Repeats of an input count once.
    first = np.unique(rows.numpy(), return_index=True)[1]
    order = np.random.default_rng(0).permutation(first)[: 2 * TRAIN + ELSEWHERE]
    samples = Samples(ids=torch.arange(len(order)), inputs=inputs[order], labels=labels[order], domain=domain)
    return samples, shadows.pairs(MODELS, 2 * TRAIN, seed=0)


def answers(data: str, kind: str, folder: Path) -> dict[str, np.ndarray]:
    """Log probabilities that MODELS + 1 models give the pool's rows; the last one saw none of them."""
    samples, inside = pool(data, folder)
    rows = [*(members.nonzero().flatten() for members in inside), torch.arange(2 * TRAIN, len(samples))]
    asked = samples.take(slice(0, 2 * TRAIN))
    logs = []
    for seed, own in enumerate(rows):
        model = KINDS[kind](seed).fit(samples.inputs[own].numpy(), samples.labels[own].numpy())
        scores = askable(model, CPU, role="model").scores
        assert scores is not None
        logs.append(scores.ask_scores(asked.inputs, asked.ids).numpy())
    return {"logs": np.stack(logs), "inside": inside.numpy(), "labels": asked.labels.numpy()}


class Kept:
    """What a kept model answered, as an oracle."""

    def __init__(self, logs: torch.Tensor) -> None:
        self.logs = logs

    def ask(self, inputs: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.ask_scores(inputs, ids).argmax(1)

    def ask_scores(self, inputs: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        del inputs
        return self.logs[ids]


def logits(kept: dict[str, np.ndarray]) -> torch.Tensor:
    """Logit confidences (MODELS + 1, SCORED, 1), as an audit reads them."""
    labels = torch.tensor(kept["labels"])[:SCORED]
    empty = torch.zeros(SCORED, 1)
    samples = Samples(ids=torch.arange(SCORED), inputs=empty, labels=labels, domain=hardlabel.Box((1,)))
    plan = Confidence(statistic=Statistic.LOGIT).prepare(samples, Knowledge(), 0)
    return torch.stack([plan.measure(Kept(torch.tensor(logs))).values for logs in kept["logs"]])


def scored(kept: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Scores (T, SCORED) on each scale and on the chosen one, of members as well as of a model that saw nobody."""
    values, inside = logits(kept), torch.tensor(kept["inside"])[:, :SCORED]
    labels = torch.tensor(kept["labels"])[:SCORED]
    found: dict[str, list[np.ndarray]] = {scale: [] for scale in (*SCALES, "chosen", "null")}
    picked = []
    for target in TARGETS:
        others = [model for model in range(MODELS) if model not in (target, target ^ 1)]
        references = References(
            values=values[others],
            inside=inside[others],
            labels=labels,
            partner=torch.arange(len(others)) ^ 1,
            logits=values[others][..., 0],
        )
        chosen = Scaled(inner=CALIBRATIONS[name]).fit(references, seed=0)
        picked.append(str(chosen.chosen.by))
        found["chosen"].append(chosen.score(values[target], labels).numpy())
        found["null"].append(chosen.score(values[-1], labels).numpy())
        for scale in SCALES:
            fitted = Scaled(inner=CALIBRATIONS[name], by=scale).fit(references, seed=0)
            found[scale].append(fitted.score(values[target], labels).numpy())
    arrays = {scale: np.stack(scores) for scale, scores in found.items()}
    return {**arrays, "picked": np.array(picked), "inside": inside[TARGETS].numpy()}


def labelled(data: str, kind: str, folder: Path, store: Store) -> dict[str, object]:
    """What labels and what confidences tell, by an audit of the recipe: AUCs of each target, and scores."""
    inputs, labels, domain = DATA[data](folder)
    rows = np.random.default_rng(1).permutation(len(inputs))[: 4 * TRAIN]
    record = hardlabel.audit_recipe(
        (inputs[rows], labels[rows]),
        KINDS[kind](0),
        train_size=TRAIN,
        repeats=len(TARGETS),
        domain=domain,
        attacks=LABELS,
        budget=10,
        samples=SCORED // 4,
        seed=0,
        device="cpu",
        store=store,
        attacker=hardlabel.Attacker(references=12),
    )
    named = record.results.choice.attack
    frame = record.scores.set_index(["target", "id"])
    by_attack = {name: rows["score"].unstack() for name, rows in frame.groupby("attack")}
    inside = frame[frame["attack"] == "gap"]["member"].unstack().to_numpy(dtype=bool)
    best = max(SEEING, key=lambda name: crossed.aucs(by_attack[name].to_numpy(), inside).mean())
    short = crossed.auc_difference(by_attack[best].to_numpy(), by_attack[named].to_numpy(), inside)
    return {
        "named": named,
        "best": best,
        "auc": {attack.name: attack.auc.value for attack in record.results.attacks},
        "calibration": {attack.name: attack.calibration for attack in record.results.attacks},
        "short": [short.value, short.low, short.high],
        "train": float(np.mean([target.train_accuracy for target in record.results.targets])),
        "test": float(np.mean([target.test_accuracy for target in record.results.targets])),
    }


def signed(estimate: list[float]) -> str:
    value, low, high = estimate
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"


def difference(scores: dict[str, np.ndarray], one: str, other: str) -> list[float]:
    found = crossed.auc_difference(scores[one], scores[other], scores["inside"])
    assert found.low is not None
    assert found.high is not None
    return [found.value, found.low, found.high]


def means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    return {scale: float(crossed.aucs(scores[scale], scores["inside"]).mean()) for scale in (*SCALES, "chosen")}


def parts(folder: Path, kinds: tuple[str, ...]) -> list[tuple[str, str, str, dict[str, np.ndarray]]]:
    """Source, kind, attack and scores of each finished part."""
    return [
        (data, kind, name, dict(np.load(file)))
        for data in DATA
        for kind in kinds
        for name in CALIBRATIONS
        if (file := folder / f"scores-{data}-{kind}-{name}.npz").exists()
    ]


def cells(folder: Path) -> str:
    """What the models' answers look like, and how often they are right on their own rows and on others."""
    rows = []
    for data in DATA:
        for kind in KINDS:
            kept = dict(np.load(folder / f"{data}-{kind}.npz"))
            values, right = logits(kept)[:MODELS, :, 0], kept["logs"][:MODELS].argmax(2) == kept["labels"]
            certain = float((values.abs() >= 50).double().mean())
            different = len(np.unique(expit(values.double().numpy()).round(7)))
            accuracies = f"{right[kept['inside']].mean():.3f}/{right[~kept['inside']].mean():.3f}"
            rows.append([f"{data}, {NAMES[kind]}", accuracies, f"{certain:.1%}", f"{different:,}"])
    return table(["cell", "train/test", "certain", "different"], rows)


def choices(folder: Path, kinds: tuple[str, ...]) -> tuple[str, list[list[float]]]:
    """A table of the fixed scales and the choice, and the differences from each fixed scale."""
    rows, differences = [], []
    for data, kind, name, scores in parts(folder, kinds):
        mean = means(scores)
        best = max(SCALES, key=lambda scale: mean[scale])
        picked = Counter(scores["picked"].tolist())
        differences += [difference(scores, scale, "chosen") for scale in SCALES]
        rows.append(
            [
                f"{data}, {NAMES[kind]}",
                name,
                *(f"{mean[scale]:.3f}" for scale in SCALES),
                f"**{mean['chosen']:.3f}**",
                ", ".join(f"{scale} {count}" for scale, count in picked.most_common()),
                signed(difference(scores, "chosen", "logit")),
                f"{best} {signed(difference(scores, 'chosen', best))}",
            ]
        )
    head = ["cell", "attack", *SCALES, "chosen", "targets that chose", "chosen - logit", "best fixed"]
    return table(head, rows), differences


def null(folder: Path) -> str:
    """Standard errors by which the AUCs of a model that saw nobody lie off .5, and whether they may."""
    found = []
    for *_, scores in parts(folder, tuple(KINDS)):
        first = [target % 2 == 0 for target in TARGETS]  # Of both models of a pair the sum is .5 by design.
        found.append(crossed.null_z(scores["null"][first], scores["inside"][first]))
    z = np.concatenate(found)
    outside = float((abs(z) > 1.96).mean())
    return (
        f"{len(z)} AUCs; largest |z| {abs(z).max():.2f}, standard deviation of z {z.std():.2f} where 1 is expected; "
        f"the 95 % interval misses .5 in {outside:.1%}"
    )


def shortfalls(folder: Path) -> str:
    rows = []
    for data in DATA:
        for kind in FAMILIES:
            file = folder / f"labels-{data}-{kind}.json"
            if not file.exists():
                continue
            part = json.loads(file.read_text())
            auc, named, best = part["auc"], part["named"], part["best"]
            rows.append(
                [
                    f"{data}, {NAMES[kind]}",
                    FAMILIES[kind],
                    f"{part['train']:.3f}/{part['test']:.3f}",
                    f"{auc['gap']:.3f}",
                    f"{named} {auc[named]:.3f}",
                    f"{best} {auc[best]:.3f}",
                    signed(part["short"]),
                ]
            )
    head = ["cell", "family", "train/test", "gap", "labels", "confidences", "confidences - labels"]
    return table(head, rows)


def write(folder: Path) -> None:
    """Writes CONFIDENCES.md beside this file."""
    import xgboost

    environment = environment_of(0, 0.0, CPU)
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    choice, differences = choices(folder, MAIN)
    broken = [each for each in differences if each[0] > 0.005 and each[1] > 0]
    text = TEXT.format(
        versions=f"{versions}, xgboost {xgboost.__version__}; {environment.machine}",
        models=MODELS,
        scored=SCORED,
        half=SCORED // 2,
        cells=cells(folder),
        choice=choice,
        count=len(differences) // len(SCALES),
        held=f"{len(broken) or 'none'}",
        others=choices(folder, tuple(kind for kind in KINDS if kind not in MAIN))[0],
        null=null(folder),
        targets=len(TARGETS),
        labels=shortfalls(folder),
    )
    (Path(__file__).parent / "CONFIDENCES.md").write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["models", "scores", "labels", "table"])
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--kinds", nargs="*", default=[*KINDS])
    parser.add_argument("--sources", nargs="*", default=[*DATA])
    parser.add_argument("--attacks", nargs="*", default=[*CALIBRATIONS])
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")  # Networks that have not converged, frames without names.
    given.parts.mkdir(parents=True, exist_ok=True)
    if given.stage == "table":
        write(given.parts)
        return
    for data in given.sources:
        for kind in given.kinds:
            models = given.parts / f"{data}-{kind}.npz"
            if given.stage == "models" and not models.exists():
                np.savez(models, **answers(data, kind, given.data))
            if given.stage == "scores":
                for name in given.attacks:
                    file = given.parts / f"scores-{data}-{kind}-{name}.npz"
                    if not file.exists():
                        np.savez(file, **scored(dict(np.load(models)), name))
                        print(file.stem, means(dict(np.load(file))), flush=True)
            file = given.parts / f"labels-{data}-{kind}.json"
            if given.stage == "labels" and kind in FAMILIES and not file.exists():
                found = labelled(data, kind, given.data, Store(given.parts / "store"))
                file.write_text(json.dumps(found))
                print(file.stem, found, flush=True)


if __name__ == "__main__":
    main()

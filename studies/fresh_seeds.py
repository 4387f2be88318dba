"""RESULTS.md once more, on models of seeds that no other study used: does what was found there hold?

    python studies/fresh_seeds.py --parts FOLDER                     all; --runs cifar10-overfit-101 ... for some
    python studies/fresh_seeds.py --parts FOLDER --logit             then lira once more, on the logit
    python studies/fresh_seeds.py --parts FOLDER --table             writes FRESH_SEEDS.md from the parts

Data are read through HARDLABEL_DATA. Finished runs stay in FOLDER, models and answers in its store, so that a study
that broke off goes on where it was. An hour for CIFAR-10 on two cores, minutes for Location.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from designed import keep
from settings import SETTINGS
from surrogates import table
from win_per_query import Study, estimate, scores_of

from hardlabel import kinds
from hardlabel.attacks import TABLE
from hardlabel.metrics import crossed
from hardlabel.store import Store

HERE = Path(__file__).parent
BUDGET = 10
ATTACKS = {"gap": "gap", "gap-ratio": "gap-ratio", "path": f"path@{BUDGET}", "lira": "lira *"}  # And in RESULTS.md.
LOGIT = "lira-logit"  # lira on the scale that it had when RESULTS.md was made.
RUNS = ("location-101", "location-202", "location-303", "cifar10-overfit-101")

TEXT = """# Results on fresh seeds
Made by studies/fresh_seeds.py; its first lines give the commands. The settings, attacks and numbers of targets are
those of [RESULTS.md](RESULTS.md) (seed 0), which were fixed while its models were looked at. The seeds here were used
nowhere else: other halves of the pool, other networks, other samples asked about. Figures are mean AUCs with 95 %
intervals over targets and samples. The difference has the interval of two independent runs. `path` asks at most
{budget} queries; `lira` sees confidences. When RESULTS.md was made, `lira` compared logits; since then it compares them
on the scale that the references choose. `lira-logit` is `lira` as it was, on the models of the fresh seed.
{versions}.

{rows}
{verdict}

## What the choice of the scale adds
The same models and samples, paired.

{scales}"""


def part(name: str, folder: Path) -> dict[str, object]:
    title, seed = name.rsplit("-", 1)
    setting = SETTINGS[title]
    record = kinds.run(
        setting.config.model_copy(
            update={
                "seed": int(seed),
                "repeats": setting.targets,
                "samples": setting.attacked // 2,
                "attacks": list(ATTACKS),
                "budget": BUDGET,
                "out": folder / name,
            }
        ),
        store=Store(folder / "store"),
    )
    results = record.results
    return {
        "accuracy": [(model.train_accuracy, model.test_accuracy) for model in results.targets],
        "auc": {row.name: (row.auc.value, row.auc.low, row.auc.high) for row in results.attacks},
        "versions": results.environment.versions,
    }


def on_logit(name: str, folder: Path) -> dict[str, object]:
    """lira on the models of a finished run: on the scale that references choose, and on the logit."""
    title, seed = name.rsplit("-", 1)
    config = SETTINGS[title].config.model_copy(update={"seed": int(seed)})
    study = Study(replace(SETTINGS[title], config=config, attacks=(("lira", None),)), "cpu", Store(folder / "store"))
    found = {}
    for attack in (TABLE["lira"], replace(TABLE["lira"], name=LOGIT, scaled=False)):
        games = [study.models.game(one, budget=None, asking=study.asking, crafted=False) for one in study.targets]
        found[attack.name] = [game.play(attack) for game in games]
    scores = {attack: scores_of(played) for attack, played in found.items()}
    scales = Counter(scale_of(played.calibration) for played in found["lira"])
    return {
        "scales": "; ".join(f"{scale}: {count} targets" for scale, count in scales.items()),
        "auc": {attack: estimate(crossed.mean_auc(values, study.inside)) for attack, values in scores.items()},
        "difference": estimate(crossed.auc_difference(scores["lira"], scores[LOGIT], study.inside)),
    }


def scale_of(calibration: str) -> str:
    words = calibration.rsplit(", of the ", 1)
    return words[1] if len(words) == 2 else "logit"


def before(title: str) -> dict[str, list[float]]:
    """The AUCs of RESULTS.md, each with its interval: of the setting's section the first table."""
    section = (HERE / "RESULTS.md").read_text().split(f"\n## {SETTINGS[title].title}\n")[1].split("\nMargins")[0]
    return {
        name: [float(number) for number in re.findall(r"[\d.]+", row.split("|")[3])]
        for name, shown in ATTACKS.items()
        for row in section.splitlines()
        if row.startswith(f"| {shown} |")
    }


def difference(new: list[float], old: list[float]) -> tuple[float, float, float]:
    value = new[0] - old[0]
    low, high = (float(np.hypot(new[0] - new[1], old[2] - old[0])), float(np.hypot(new[2] - new[0], old[0] - old[1])))
    return value, value - low, value + high


def written(folder: Path) -> None:
    rows, apart, versions, scales = [], [], {}, []
    for name in RUNS:
        path = folder / f"{name}.json"
        if path.exists():
            found = json.loads(path.read_text())
            versions = found["versions"]
            title, seed = name.rsplit("-", 1)
            accuracy = "/".join(f"{value:.3f}" for value in np.mean(found["accuracy"], axis=0))
            logit = json.loads((folder / f"{name}-logit.json").read_text())
            aucs = (shown(logit["auc"][attack]) for attack in ("lira", LOGIT))
            scales.append([title, seed, *aucs, signed(logit["difference"]), logit["scales"]])
            earlier = before(title)
            for attack, old in {**earlier, LOGIT: earlier["lira"]}.items():
                new = logit["auc"][LOGIT] if attack == LOGIT else found["auc"][attack]
                change = difference(new, old)
                if not change[1] <= 0 <= change[2]:
                    apart.append(f"{title}, seed {seed}, `{attack}`")
                rows.append([title, seed, accuracy, f"`{attack}`", shown(old), shown(new), signed(change)])
    verdict = f"Beyond the intervals: {'; '.join(apart)}." if apart else "No difference lies beyond its interval."
    text = TEXT.format(
        budget=BUDGET,
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        rows=table(["setting", "seed", "train/test accuracy", "attack", "seed 0", "this seed", "difference"], rows),
        scales=table(["setting", "seed", "lira", LOGIT, "difference", "scales chosen"], scales),
        verdict=f"{verdict} Of {len(rows)} intervals of 95 % some would miss 0 by chance alone.",
    )
    (HERE / "FRESH_SEEDS.md").write_text(text)


def shown(estimate: list[float]) -> str:
    return "{:.3f} [{:.3f}, {:.3f}]".format(*estimate)


def signed(change: Sequence[float]) -> str:
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*change)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--parts", type=Path, required=True)
    arguments.add_argument("--runs", nargs="+", default=RUNS, choices=RUNS)
    arguments.add_argument("--logit", action="store_true")
    arguments.add_argument("--table", action="store_true")
    given = arguments.parse_args()
    if given.table:
        written(given.parts)
        return
    given.parts.mkdir(parents=True, exist_ok=True)
    for name in given.runs:
        made, end = (on_logit, "-logit") if given.logit else (part, "")
        found = keep(given.parts / f"{name}{end}.json", partial(made, name, given.parts))
        if found is not None:
            print(name, found, flush=True)


if __name__ == "__main__":
    main()

"""What defenses are worth: every one compared with none on real data; `python studies/defenses.py`.

    python studies/defenses.py SETTING [STEP...] [--jobs N]   plays the steps of a setting (all by default)
    python studies/defenses.py --table                        writes DEFENSES.md from the steps that are done

A step is a comparison of its own, kept in runs/defenses/SETTING/STEP as `hardlabel defend` keeps it. Models,
measurements and scores are kept in the store, so that a study that broke off goes on where it was.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch

from hardlabel.executors import Local
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.defend import defend_config
from hardlabel.experiments.defend_record import DEFEND
from hardlabel.experiments.progress import SILENT
from hardlabel.experiments.work import Work
from hardlabel.store import default_store

SEED = 0
RUNS = Path("runs/defenses")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way of training under study, settled before any figure was seen.

    Attributes:
        title: In words.
        config: Data, recipe, attacks.
        repeats: Models that play target.
        steps: Each a comparison of its own, by name: levels by defense, None for the usual ones. In the order of their
            worth, should the study break off.
        pretrain: Data to pretrain on.
    """

    title: str
    config: AuditConfig
    repeats: int
    steps: dict[str, dict[str, tuple[float, ...] | None]]
    pretrain: str | None = None


MASKS = ("memguard", "memguard-ideal", "top-k", "rounding", "temperature", "label-only")
SETTINGS = {
    "location": Setting(
        title="Location, the paper's fully connected network on 1,000 rows",
        config=AuditConfig(
            data="location",
            arch="fc",
            size=1000,
            shadows=12,
            attacks=["gap", "noise", "path", "confidence", "shadow-network", "lira"],
            budget=30,
            seed=SEED,
        ),
        repeats=8,
        steps={
            "masks": dict.fromkeys(MASKS),
            "l2": {"l2": None},
            "dp-sgd": {"dp-sgd": (1000.0, 100.0, 10.0, 1.0)},
            "transfer": {"transfer": None},
            "dropout": {"dropout": None},
            "adversarial-regularization": {"adversarial-regularization": None},
            "hamp": dict.fromkeys(("hamp", "relaxloss")),
            "labels": dict.fromkeys(("randomized-response", "ldl", "double-dip")),
            "regularization": dict.fromkeys(("l1", "early-stopping", "label-smoothing", "mixup")),
            "selena": {"selena": None},
        },
    ),
    "cifar10-fc": Setting(
        title="CIFAR-10, the paper's fully connected network on 500 images",
        config=AuditConfig(
            data="cifar10",
            arch="fc",
            size=500,
            max_epochs=100,
            samples=250,
            shadows=8,
            attacks=["gap", "noise", "augmentation", "path", "confidence", "shadow-network", "lira"],
            budget=30,
            seed=SEED,
        ),
        repeats=10,
        steps={
            "l2": {"l2": (0.02, 0.1)},
            "transfer": {"transfer": (0.0, 1.0)},
            "dropout": {"dropout": (0.5,)},
            "dp-sgd": {"dp-sgd": (100.0, 10.0)},
            "augmentation": {"augmentation": (2.0,)},
            "masks": {"memguard": (1.0,), "memguard-ideal": None, "top-k": (1.0,), "rounding": (1.0,)},
            "adversarial-regularization": {"adversarial-regularization": (1.0,)},
        },
        pretrain="cifar100",
    ),
    "cifar10": Setting(
        title="CIFAR-10, the paper's CNN on 1,000 images",
        config=AuditConfig(
            data="cifar10",
            arch="cnn",
            size=1000,
            max_epochs=60,
            samples=500,
            shadows=8,
            attacks=["gap", "noise", "augmentation", "path", "confidence", "shadow-network", "lira"],
            budget=30,
            seed=SEED,
        ),
        repeats=10,
        steps={
            "masks": {"memguard": (1.0,), "memguard-ideal": None, "top-k": (1.0,), "rounding": (1.0,)},
            "l2": {"l2": (0.02,)},
            "adversarial-regularization": {"adversarial-regularization": (1.0,)},
            "augmentation": {"augmentation": (2.0,)},
            "dropout": {"dropout": (0.5,)},
            "transfer": {"transfer": (0.0, 1.0)},
            "dp-sgd-100": {"dp-sgd": (100.0,)},
            "dp-sgd-10": {"dp-sgd": (10.0,)},
        },
        pretrain="cifar100",
    ),
}


def play(name: str, step: str, jobs: int | None) -> None:
    """One comparison, resumed where it was broken off."""
    setting, levels = SETTINGS[name], SETTINGS[name].steps[step]
    record = defend_config(
        setting.config.model_copy(update={"out": RUNS / name / step}),
        repeats=setting.repeats,
        defenses=list(levels),
        levels={one: list(some) for one, some in levels.items() if some is not None} or None,
        pretrain=setting.pretrain if "transfer" in levels else None,
        store=default_store(),
        watch=SILENT,
        work=Work(executor=Local(processes=jobs)),
    )
    print(f"{name} {step}\n{record}", flush=True)


def main() -> None:
    torch.set_num_threads(1)  # What is asked here shares the machine with the processes that train.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", nargs="?", choices=[*SETTINGS, None])
    parser.add_argument("steps", nargs="*")
    parser.add_argument("--jobs", type=int)
    given = parser.parse_args()
    for name in [given.setting] if given.setting else SETTINGS:
        for step in given.steps or SETTINGS[name].steps:
            if not (RUNS / name / step / DEFEND).exists():
                play(name, step, given.jobs)


if __name__ == "__main__":
    main()

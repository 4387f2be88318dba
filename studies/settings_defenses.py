"""What the study of defenses compares, settled before any figure was seen."""

from dataclasses import dataclass

from hardlabel.data import augment
from hardlabel.runs.settings import DefensesSettings, RecipeSettings

SEED = 0
CROSSED = "crossed.json"  # The part in which trainers' and attackers' augmentations are crossed.


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One way of training under study, settled before any figure was seen.

    Attributes:
        title: In words.
        config: Data, recipe, attacks; `repeats` of the models play target.
        steps: Each a comparison of its own, by name: levels by defense, None for the usual ones. In the order of their
            worth, should the study break off.
        pretrain: Data to pretrain on.
    """

    title: str
    config: DefensesSettings
    steps: dict[str, dict[str, tuple[float, ...] | None]]
    pretrain: str | None = None

    @property
    def recipe(self) -> RecipeSettings:
        """The audit of the same recipe by the same attacker, without defenses."""
        return RecipeSettings(**{name: value for name, value in self.config if name in RecipeSettings.model_fields})


# CIFAR-10: what both networks are asked about, by which attacks, and under which masks.
CIFAR = DefensesSettings(
    data="cifar10",
    references=8,
    repeats=10,
    attacks=["gap", "noise", "augmentation", "path", "confidence", "shadow-network", "lira"],
    budget=30,
    seed=SEED,
)
CIFAR_MASKS = {"memguard": (1.0,), "memguard-ideal": None, "top-k": (1.0,), "rounding": (1.0,)}
MASKS = ("memguard", "memguard-ideal", "top-k", "rounding", "temperature", "label-only")
SETTINGS = {
    "location": Setting(
        title="Location, the paper's fully connected network on 1,000 rows",
        config=DefensesSettings(
            data="location",
            arch="fc",
            train_size=1000,
            references=12,
            repeats=8,
            attacks=["gap", "noise", "path", "confidence", "shadow-network", "lira"],
            budget=30,
            seed=SEED,
        ),
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
        config=CIFAR.model_copy(update={"arch": "fc", "train_size": 500, "max_epochs": 100, "samples": 250}),
        steps={
            "l2": {"l2": (0.02, 0.1)},
            "transfer": {"transfer": (0.0, 1.0)},
            "dropout": {"dropout": (0.5,)},
            "dp-sgd": {"dp-sgd": (100.0, 10.0)},
            "augmentation": {"augmentation": (2.0,)},
            "masks": CIFAR_MASKS,
            "adversarial-regularization": {"adversarial-regularization": (1.0,)},
        },
        pretrain="cifar100",
    ),
    "cifar10": Setting(
        title="CIFAR-10, the paper's CNN on 1,000 images",
        config=CIFAR.model_copy(update={"arch": "cnn", "train_size": 1000, "max_epochs": 60, "samples": 500}),
        steps={
            "masks": CIFAR_MASKS,
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

# What models are trained with, and of what copies attackers ask: each alone.
TRAINED = {"nothing": [], "mirror": ["mirror"], "shifts up to 2": ["shift:2"], "rotations up to 8": ["rotate:8"]}
ATTACKED = {
    "mirror": augment.flips(),
    "shifts by 1": augment.translations(1),
    "shifts by 2": augment.translations(2),
    "rotations by 4": augment.rotations(4),
    "rotations by 8": augment.rotations(8),
}
MATCHED = {
    "mirror": ("mirror",),
    "shifts up to 2": ("shifts by 1", "shifts by 2"),
    "rotations up to 8": ("rotations by 4", "rotations by 8"),
}

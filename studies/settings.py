"""What `make study` compares: settings fixed before any figure was seen, margins as the project declared them."""

from dataclasses import dataclass
from dataclasses import field as default

from hardlabel.attacks import TABLE
from hardlabel.runs.settings import RecipeSettings

SEED = 0
FIELD_TARGETS = 8


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One recipe under study.

    Attributes:
        name: Of the setting.
        title: In words.
        config: Data and recipe; `references` are those of each target.
        targets: Models that play target.
        attacked: Samples of the pool asked about.
        claims: (attack, budget, margin in AUC below plain online LiRA that still counts as not worse).
        attacks: Attacks at their budgets, None for the usual number.
        field: (attack, budget, samples): the paper's and the field's, on the first FIELD_TARGETS targets and the first
            so many samples only, for their cost.
        counts: Numbers of reference models to compare.
        others: Names of settings whose models serve as mismatched references.
    """

    name: str
    title: str
    config: RecipeSettings
    targets: int
    attacked: int
    claims: tuple[tuple[str, int, float], ...]
    attacks: tuple[tuple[str, int | None], ...]
    field: tuple[tuple[str, int | None, int], ...] = ()
    counts: tuple[int, ...] = ()
    others: dict[str, RecipeSettings] = default(default_factory=dict)


SCORES = ("loss", "lira-published", "lira", "lira-offline", "lira-shrunken", "lira-learned", "rmia", "rmia-offline")
_OURS = (
    ("gap", None),
    ("gap-ratio", None),
    ("path", 1),
    ("path", 3),
    ("path", 5),
    ("path", 10),
    ("path-estimate", 10),
    ("path-offline", 5),
    ("path-estimate", 50),
    ("path", 50),
)
_FIELD = (
    ("noise", 51, 400),
    ("dhattack", 30, 400),
    ("sampling", 50, 400),
    ("yoqo", None, 100),
    ("oslo", None, 100),
)

CIFAR = RecipeSettings(data="cifar10", arch="cnn", train_size=2500, references=12, seed=SEED)
AUGMENTED = CIFAR.model_copy(update={"augment": ["mirror", "shift:2"], "weight_decay": 5e-4, "stop_at_accuracy": 0.65})
LOCATION = RecipeSettings(data="location", arch="fc", train_size=1250, references=26, seed=SEED)

SETTINGS = {
    one.name: one
    for one in (
        Setting(
            name="cifar10-overfit",
            title="CIFAR-10, the paper's CNN on 2,500 images, 6 IN + 6 OUT references",
            config=CIFAR,
            targets=14,
            attacked=1000,
            claims=(("path", 5, 0.020), ("path", 10, 0.010)),
            attacks=(*_OURS, *((name, None) for name in SCORES)),
            field=(("boundary", 250, 400), ("boundary", 2500, 20), ("augmentation", None, 400), *_FIELD),
            counts=(1, 2, 4, 8, 12),
            others={
                "another recipe (augmented, stopped early)": AUGMENTED,
                "another architecture (fc-2)": CIFAR.model_copy(update={"arch": "fc-2"}),
            },
        ),
        Setting(
            name="cifar10-pool",
            title="The same, all 5,000 samples of the pool asked about",
            config=CIFAR,
            targets=14,
            attacked=5000,
            claims=(("path", 5, 0.020), ("path", 10, 0.010)),
            attacks=(("lira", None), ("lira-published", None), ("path", 5), ("path", 10)),
        ),
        Setting(
            name="cifar10-augmented",
            title="CIFAR-10, the same CNN with mirror and shifts by 2, weight decay, stopped at accuracy .65",
            config=AUGMENTED,
            targets=8,
            attacked=1000,
            claims=(("path", 5, 0.0), ("path", 10, 0.0), ("path", 50, 0.0)),
            attacks=(*_OURS, *((name, None) for name in SCORES)),
        ),
        Setting(
            name="location",
            title="Location, the paper's fully connected network on 1,250 rows, 13 IN + 13 OUT references",
            config=LOCATION,
            targets=8,
            attacked=1000,
            claims=(("path", 5, 0.025), ("path", 10, 0.025), ("path", 50, 0.025)),
            attacks=(*_OURS, ("noise-ratio", 31), *((name, None) for name in SCORES)),
            field=(*_FIELD, ("transfer", None, 400)),
            counts=(1, 2, 4, 8, 16, 26),
            others={
                "another architecture (fc-2)": LOCATION.model_copy(update={"arch": "fc-2"}),
                "another architecture (logistic)": LOCATION.model_copy(update={"arch": "logistic"}),
                "another recipe (weight decay 1e-3)": LOCATION.model_copy(update={"weight_decay": 1e-3}),
                "another training size (half)": LOCATION.model_copy(update={"train_size": 625}),
            },
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Published:
    """What an attack's authors say of it, to be set beside ours: a figure where a text we could open holds one.

    Attributes:
        claim: The figure or claim.
        source: Where it stands.
        differs: How their setting differs from ours.
    """

    claim: str
    source: str
    differs: str


PUBLISHED = {
    "yoqo": Published(
        claim="83.2 % right calls at 2,500 training images, beside boundary 82.3, augmentation 74.3, gap 68.0",
        source="authors' repository WU-YU-TONG/YOQO, shadow_training/pic.py (a plot's values, commit ed590af4)",
        differs="by that repository's defaults CIFAR-10, a CNN of 7 layers, 16 IN + 16 OUT models made for each of 400 "
        "samples; ours 6 + 6 for all samples; their gap attack finds less, ours leaves less for others to find",
    ),
    "oslo": Published(
        claim="TPR at 1 % FPR at least 7 times that of earlier label-only attacks, CIFAR-100, ResNet18",
        source="Peng et al. 2024, abstract (arXiv 2405.16978, version 3)",
        differs="25,000 training images and many surrogates of several architectures; ours 2,500, two crafters",
    ),
    "dhattack": Published(
        claim="in some cases more than ten times all baselines' TPR at 0.1 % FPR, with 5 to 30 queries",
        source="Li et al. 2025, abstract; the authors' README trains 256 local models",
        differs="their references saw data the target labelled; ours are 6 models without each sample; 0.1 % cannot be "
        "resolved with our non-members",
    ),
    "sampling": Published(
        claim='recovers "up to 100%" of the performance of the attack that sees confidences',
        source="Rahimian et al. 2020, abstract (arXiv 2009.00395)",
        differs="data, queries and networks are not in the abstract",
    ),
    "transfer": Published(
        claim='"can ... even outperform the previous score-based attacks in some cases"',
        source="Li & Zhang 2021, abstract (arXiv 2007.15528); no figure stood in a text we could open",
        differs="their surrogate too learns from data the target labelled; size and data differ",
    ),
    "boundary": Published(
        claim='"perform on par with prior attacks that required access to model confidences"',
        source="Choquette-Choo et al. 2021, abstract (arXiv 2007.14321)",
        differs="the same network and training size; the figure itself stood in no text we could open",
    ),
}

assert all(name in TABLE for one in SETTINGS.values() for name, _ in one.attacks)

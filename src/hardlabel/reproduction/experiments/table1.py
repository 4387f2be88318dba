"""Table 1: attacks on images, with and without MemGuard."""

from hardlabel.reproduction.declared import Cell, Claim, Experiment, Figure, Play
from hardlabel.reproduction.experiments.common import MASK, MASKED, masked, masked_at_most_gap, matches_confidence
from hardlabel.reproduction.scales import Scale

PUBLISHED = {
    "mnist": (53.2, 55.7, 53.9, 57.8, 58.7),
    "cifar100": (83.5, 88.1, 84.6, 88.0, 89.2),
}


def experiment(scale: Scale) -> Experiment:
    """The table at a scale."""
    size = 30_000 if scale.name == "paper" else 2_500
    shadow = 20_000 if scale.name == "paper" else None
    data = [("mnist", "MNIST, 1,000", 1_000, None), ("cifar100", f"CIFAR-100, {size:,}", size, shadow)]
    if scale.smoke:
        data = data[:1]
    cells, claims = [], []
    for name, row, train_size, shadow_size in data:
        cells += _cells(scale, name, row, train_size, shadow_size)
        claims += _claims(scale, name, row)
    return Experiment(
        name="table1",
        title="Table 1: attacks on MNIST and CIFAR-100",
        paper="Boundary and combined attacks are about as good as the attack that sees the confidence vector, and "
        "MemGuard stops only the latter.",
        differs=[
            "CIFAR-100: 2,500 training images at the scale cpu, 30,000 in the paper.",
            "Boundary searches are about fewer samples than in the paper.",
            f"MemGuard in its idealised form, as the paper tests it. {MASKED}",
        ],
        cells=cells,
        claims=claims,
    )


def _cells(scale: Scale, name: str, row: str, train_size: int, shadow_size: int | None) -> list[Cell]:
    attacks = scale.names
    gap, vector, augmentation, boundary, combined = PUBLISHED[name]
    settings = scale.settings(name, train_size, arch="cnn")
    return [
        Cell(
            name=name,
            row=row,
            settings=settings,
            shadow_size=None if scale.smoke else shadow_size,
            plays=(
                Play(attacks=("gap", "shadow-network", attacks["augmentation"]), samples=scale.many),
                Play(attacks=("gap", "shadow-network", attacks["boundary"]), samples=scale.few),
                Play(attacks=("shadow-network",), samples=scale.many, mask=MASK),
            ),
            targets=scale.targets,
            published={
                "gap": gap,
                "shadow-network": vector,
                attacks["augmentation"]: augmentation,
                attacks["boundary"]: boundary,
                masked("shadow-network"): 50.0,
            },
        ),
        Cell(
            name=f"{name}-combined",
            row=row,
            settings=settings,
            shadow_size=None if scale.smoke else shadow_size,
            plays=(Play(attacks=("gap", "shadow-network", attacks["combined"]), samples=scale.fewest),),
            targets=scale.costly_targets,
            published={attacks["combined"]: combined},
        ),
    ]


def _claims(scale: Scale, name: str, row: str) -> list[Claim]:
    attacks = scale.names
    return [
        matches_confidence(name, row, attacks["boundary"]),
        matches_confidence(f"{name}-combined", row, attacks["combined"]),
        masked_at_most_gap(name, row),
        Claim(
            number="",
            text=f"{row}: augmentation beats gap",
            left=Figure(name, attacks["augmentation"]),
            right=Figure(name, "gap"),
        ),
    ]

"""Figure 1: attacks on CIFAR-10 by the number of training images, with and without MemGuard."""

from hardlabel.reproduction.declared import Cell, Claim, Experiment, Figure, Play
from hardlabel.reproduction.experiments.common import MASK, MASKED, masked, masked_at_most_gap, matches_confidence
from hardlabel.reproduction.scales import Scale

SIZES = (100, 500, 1_000, 2_500, 5_000, 10_000)


def experiment(scale: Scale) -> Experiment:
    """The figure at a scale."""
    attacks = scale.names
    sizes = (50, 100) if scale.smoke else SIZES
    cheap = ("gap", "shadow-network", attacks["augmentation"])
    cells, claims = [], []
    for size in sizes:
        name, row = f"cifar10-{size}", f"CIFAR-10, {size:,}"
        settings = scale.settings("cifar10", size, arch="cnn")
        few = min(scale.searched, size)
        cells.append(
            Cell(
                name=name,
                row=row,
                settings=settings,
                plays=(
                    Play(attacks=cheap, samples=min(scale.many, size)),
                    Play(attacks=("gap", "shadow-network", attacks["boundary"]), samples=few),
                    Play(attacks=("shadow-network",), samples=min(scale.many, size), mask=MASK),
                ),
                # Two at the largest size, for their cost.
                targets=min(scale.targets, scale.costly_targets) if size == sizes[-1] else scale.targets,
                published={masked("shadow-network"): 50.0},
            )
        )
        claims += [
            matches_confidence(name, row, attacks["boundary"]),
            masked_at_most_gap(name, row),
        ]
    first, last = f"cifar10-{sizes[0]}", f"cifar10-{sizes[-1]}"
    claims += [
        Claim(
            number="",
            text=f"{attack} is weaker at {sizes[-1]:,} images than at {sizes[0]:,}",
            left=Figure(first, attack),
            right=Figure(last, attack),
        )
        for attack in (*cheap, attacks["boundary"])
    ]
    return Experiment(
        name="figure1",
        title="Figure 1: CIFAR-10 by the number of training images",
        paper="Every attack weakens as the training set grows; the boundary attack is at least on par with the attack "
        "that sees the confidence vector, and MemGuard takes the latter to chance.",
        differs=[
            "At 10,000 images there are two targets at the scale cpu.",
            "The combined attack is in Figure 2.",
            MASKED,
        ],
        cells=cells,
        claims=claims,
    )

"""Figure 2: sets of copies, and leakage by the number of queries, on CIFAR-10 with 2,500 training images."""

from hardlabel.reproduction.attacks import WHITE_BOX
from hardlabel.reproduction.declared import Cell, Claim, Experiment, Figure, Play
from hardlabel.reproduction.experiments.common import C1_MARGIN
from hardlabel.reproduction.scales import Scale
from hardlabel.signals.boundary import MINIMUM_QUERIES

ROW = "CIFAR-10, 2,500"
DEGREES, PIXELS = tuple(range(1, 16)), tuple(range(1, 11))


def experiment(scale: Scale) -> Experiment:
    """The figure at a scale."""
    degrees, pixels = ((4,), (1,)) if scale.smoke else (DEGREES, PIXELS)
    copies = (*(f"rotate={size}" for size in degrees), *(f"shift={size}" for size in pixels))
    noises = (5, 10) if scale.smoke else (10, 30, 100, 300, 1_000)
    searches = (MINIMUM_QUERIES, scale.boundary) if scale.smoke else (50, 100, 250, 500, 1_000, scale.boundary)
    combined = (scale.combined,) if scale.smoke else (500, 2_500, scale.combined)
    routes = (1, 3) if scale.smoke else (1, 3, 5, 10, 50)
    settings = scale.settings("cifar10", 2_500, arch="cnn")

    def cell(name: str, *plays: Play, targets: int = scale.targets) -> Cell:
        return Cell(name=name, row=ROW, settings=settings, plays=plays, targets=targets)

    boundary, little = f"boundary@{searches[-1]}", searches[0] if scale.smoke else 100
    return Experiment(
        name="figure2",
        title="Figure 2: copies and queries, CIFAR-10, 2,500 training images",
        paper="Rotations by 1 to 8 degrees and shifts by 1 or 2 pixels beat gap, by 3 to 4 points at best. Below about "
        "300 queries noise is best, from about 2,500 the boundary distance; the combined attack is best at 12,500.",
        differs=[
            "Noise is asked up to 1,000 queries: more gain nothing.",
            "`path` and LiRA are attacks of this project and of later papers, shown for comparison.",
        ],
        cells=[
            cell("copies", Play(attacks=("gap", "shadow-network", *copies), samples=scale.many)),
            cell(
                "queries",
                Play(
                    attacks=(
                        "gap",
                        "shadow-network",
                        *(f"noise@{count}" for count in noises),
                        *(f"boundary@{count}" for count in searches),
                        WHITE_BOX,
                    ),
                    samples=scale.searched,
                ),
            ),
            cell(
                "combined",
                Play(
                    attacks=("gap", "shadow-network", boundary, *(f"combined@{count}" for count in combined)),
                    samples=scale.fewest,
                ),
                targets=scale.costly_targets,
            ),
            cell(
                "path",
                Play(
                    attacks=("gap", "shadow-network", *(f"path@{count}" for count in routes), "lira"),
                    samples=scale.many,
                ),
            ),
        ],
        claims=[
            *(
                Claim(number="", text=f"{name} beats gap", left=Figure("copies", name), right=Figure("copies", "gap"))
                for name in copies
                if name in ("rotate=4", "rotate=8", "shift=1", "shift=2")
            ),
            Claim(
                number="C7",
                text="with about 100 queries, noise beats the boundary distance",
                left=Figure("queries", f"noise@{noises[-1] if scale.smoke else 100}"),
                right=Figure("queries", f"boundary@{little}"),
            ),
            Claim(
                number="C7",
                text="with 2,500 queries, the boundary distance beats noise with 1,000",
                left=Figure("queries", boundary),
                right=Figure("queries", f"noise@{noises[-1]}"),
            ),
            Claim(
                number="C7",
                text="with 2,500 queries, the boundary distance is at the white-box limit",
                left=Figure("queries", boundary),
                right=Figure("queries", WHITE_BOX),
                rule="about",
                margin=C1_MARGIN,
            ),
            Claim(
                number="C1",
                text=f"{boundary} matches the confidence vector",
                left=Figure("queries", boundary),
                right=Figure("queries", "shadow-network"),
                margin=C1_MARGIN,
            ),
            Claim(
                number="C7",
                text="the combined attack with 12,500 queries is no worse than the boundary distance",
                left=Figure("combined", f"combined@{combined[-1]}"),
                right=Figure("combined", boundary),
                margin=C1_MARGIN,
            ),
        ],
    )

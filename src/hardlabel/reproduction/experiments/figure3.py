"""Figure 3 (C5): training that shows all shifts of every image in every epoch, on CIFAR-10 with 2,500 images."""

from hardlabel.reproduction.declared import TEST_ACCURACY, Cell, Claim, Experiment, Figure, Play
from hardlabel.reproduction.scales import Scale

PUBLISHED = {0: 49.7, 5: 58.7}  # Test accuracy.


def experiment(scale: Scale) -> Experiment:
    """The figure at a scale."""
    trained = {"smoke": (0, 1), "cpu": (0, 1, 2), "paper": (0, 1, 2, 3, 4, 5)}[scale.name]
    asked = tuple(f"shift={distance}" for distance in trained if distance)
    boundary = scale.names["boundary"]
    cells = [
        Cell(
            name=f"shifts-{distance}",
            row=f"trained with shifts by {distance}" if distance else "trained without shifts",
            settings=scale.settings("cifar10", 2_500, arch="cnn"),
            plays=(
                Play(attacks=("gap", "shadow-network", *asked), samples=scale.many),
                Play(attacks=("gap", "shadow-network", boundary), samples=scale.searched),
            ),
            targets=scale.targets,
            every_shift=distance,
            published={TEST_ACCURACY: PUBLISHED[distance]} if distance in PUBLISHED else {},
        )
        for distance in trained
    ]
    claims = []
    for distance in trained[1:]:
        name, own = f"shifts-{distance}", f"shift={distance}"
        claims += [
            Claim(
                number="C5",
                text=f"{own} finds more where all shifts by {distance} were trained on",
                left=Figure(name, own),
                right=Figure("shifts-0", own),
            ),
            Claim(
                number="C5",
                text=f"trained with shifts by {distance}, {own} leaks no less than the strongest attack on plain "
                "training: the confidence vector",
                left=Figure(name, own),
                right=Figure("shifts-0", "shadow-network"),
                margin=0.02,
            ),
            Claim(
                number="C5",
                text=f"trained with shifts by {distance}, {own} beats the confidence vector on the same model",
                left=Figure(name, own),
                right=Figure(name, "shadow-network"),
            ),
            *(
                Claim(
                    number="",
                    text=f"{attack} finds less where all shifts by {distance} were trained on",
                    left=Figure(name, attack),
                    right=Figure("shifts-0", attack),
                    rule="at most",
                )
                for attack in ("shadow-network", boundary)
            ),
            Claim(
                number="",
                text=f"test accuracy is higher where all shifts by {distance} were trained on",
                left=Figure(name, TEST_ACCURACY),
                right=Figure("shifts-0", TEST_ACCURACY),
            ),
        ]
    return Experiment(
        name="figure3",
        title="Figure 3: training with all shifts in every epoch",
        paper="Test accuracy rises with the distance; attacks on confidence and boundary weaken; the attack that asks "
        "for the same shifts gets stronger, at distance 5 above the confidence attack on the plain model.",
        differs=["Distances 0, 1 and 2 at the scale cpu, 0 to 5 in the paper."],
        cells=cells,
        claims=claims,
    )

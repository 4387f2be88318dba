"""What several experiments declare alike."""

from hardlabel.reproduction.declared import Claim, Figure

C1_MARGIN = 0.02  # Of balanced accuracy: so much less than the confidence vector still counts as a match.
DEFEATED = 0.05  # An attack that is right this much more often than by guessing, or less, counts as defeated.
MASK = "memguard-ideal"


MASKED = (
    "Our attack network sees the true label beside the vector: under MemGuard it can still tell whether the label is "
    "right, as gap does. The paper's falls to 50 %."
)


def masked(attack: str) -> str:
    """The name of an attack's figures on the masked target."""
    return f"{attack} under {MASK}"


def masked_at_most_gap(cell: str, row: str) -> Claim:
    """C2 for one kind of target: the masked vector tells no more than whether the label is right."""
    return Claim(
        number="C2",
        text=f"{row}: under MemGuard the confidence vector finds no more than gap",
        left=Figure(cell, masked("shadow-network")),
        right=Figure(cell, "gap"),
        rule="at most",
        margin=C1_MARGIN,
    )


def matches_confidence(cell: str, row: str, attack: str) -> Claim:
    """C1 for one attack on one kind of target."""
    return Claim(
        number="C1",
        text=f"{row}: {attack} matches the confidence vector",
        left=Figure(cell, attack),
        right=Figure(cell, "shadow-network"),
        margin=C1_MARGIN,
    )

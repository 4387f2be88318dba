"""Section 7 (C3, C4): precision on the few points most at risk."""

from hardlabel.reproduction.declared import OUTLIERS, PRECISION, Claim, Experiment, Figure, Play
from hardlabel.reproduction.experiments.common import DEFEATED
from hardlabel.reproduction.experiments.figure5 import STRONGEST_L2, cell, little_noise, named
from hardlabel.reproduction.scales import Scale

SHARE = 0.01
MARGIN = 0.05  # Of precision: so much less than the confidence vector still counts as a match.


def experiment(scale: Scale) -> Experiment:
    """The experiment at a scale."""
    defenses = ("",) if scale.smoke else ("", STRONGEST_L2, "dp-sgd=100", "transfer=1+dp-sgd=100")
    boundary, noise = scale.names["boundary"], little_noise(scale)
    attacks = ("gap", "shadow-network", noise)
    candidates, share = (100, 0.2) if scale.smoke else (2_500, SHARE)
    plays = (
        Play(attacks=attacks, samples=min(scale.many, 500)),
        Play(attacks=("gap", "shadow-network", boundary), samples=scale.searched),
        Play(attacks=(*attacks, boundary), samples=candidates, outliers=share),
    )
    few = {attack: f"{PRECISION}{attack}{OUTLIERS}" for attack in (*attacks, boundary)}
    claims = [
        Claim(
            number="C3",
            text=f"on outliers, {attack} is as precise as the confidence vector",
            left=Figure("plain", few[attack]),
            right=Figure("plain", few["shadow-network"]),
            margin=MARGIN,
        )
        for attack in (noise, boundary)
    ]
    claims += [
        Claim(
            number="C3",
            text=f"{attack} is more precise on outliers than on average",
            left=Figure("plain", few[attack]),
            right=Figure("plain", PRECISION + attack),
        )
        for attack in few
    ]
    claims += [
        Claim(
            number="C4",
            text=f"on outliers, the precision of {attack} is at most {100 * (0.5 + DEFEATED):g} % under {defense}",
            left=Figure(named(defense), few[attack]),
            right=0.5,
            rule="at most",
            margin=DEFEATED,
        )
        for defense in defenses[1:]
        for attack in ("shadow-network", boundary)
    ]
    return Experiment(
        name="outliers",
        title="Outliers: the points most at risk",
        paper="Every attack is more precise on the points with the fewest neighbours; strong L2 and differential "
        "privacy prevent it.",
        differs=[
            f"The {100 * SHARE:g} % of 5,000 points with the fewest neighbours, in the penultimate layer of one shadow "
            "model; the radius holds 1 % of all pairs of points.",
            "Precisions on outliers and on average are about different points, and compared without pairs.",
        ],
        cells=[cell(scale, defense, *plays) for defense in defenses],
        claims=claims,
    )

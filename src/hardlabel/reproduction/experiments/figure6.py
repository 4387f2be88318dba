"""Figure 6 (C4): attacks calibrated for each record, on the models of Figure 5 that the paper's attacks miss."""

from dataclasses import replace

from hardlabel.reproduction.declared import Claim, Experiment, Figure, Play
from hardlabel.reproduction.experiments.common import DEFEATED
from hardlabel.reproduction.experiments.figure5 import STRONGEST_L2, cell, named
from hardlabel.reproduction.scales import Scale

DEFENSES = ("", STRONGEST_L2, "dp-sgd=100", "transfer=1+dp-sgd=100")
CALIBRATED = ("path@10", "lira")
REFERENCES = 4  # Two pairs: each costs a training, which takes long with DP-SGD.


def _targets(scale: Scale, defense: str) -> int:
    return scale.costly_targets if "dp-sgd" in defense else scale.targets


def experiment(scale: Scale) -> Experiment:
    """The figure at a scale."""
    defenses = DEFENSES[:2] if scale.smoke else DEFENSES
    attacks = ("path@5", "lira") if scale.smoke else CALIBRATED
    play = Play(attacks=("gap", "shadow-network", *attacks), samples=scale.many)
    return Experiment(
        name="figure6",
        title="Figure 6: calibrated attacks on the strongest defenses",
        paper="The paper has no attacks calibrated for each record; its Figure 6 shows the models of Figure 5.",
        differs=[
            "`path` and LiRA need reference models, which are trained with the defense too: four.",
            "With DP-SGD there are two targets at the scale cpu.",
        ],
        cells=[
            replace(made, settings={**made.settings, "references": REFERENCES})
            for defense in defenses
            for made in [cell(scale, defense, play, targets=_targets(scale, defense))]
        ],
        claims=[
            Claim(
                number="C4",
                text=f"{attack} finds at most {100 * (0.5 + DEFEATED):g} % under {defense}",
                left=Figure(named(defense), attack),
                right=0.5,
                rule="at most",
                margin=DEFEATED,
            )
            for defense in defenses[1:]
            for attack in attacks
        ],
    )

"""On which of the attacker's own models an attack learns. Both the game and the plan of a run use this rule."""

from enum import StrEnum

from hardlabel.attacks import Attack
from hardlabel.attacks.base import Need
from hardlabel.calibrations.threshold import RandomThreshold
from hardlabel.checks import InvalidInput

SCREENED = 500  # Samples on which several candidates are compared; the chosen candidate is measured on all.
POOLED = 2  # Reference models for an attack that needs no calibration per sample.


class Lesson(StrEnum):
    """Where an attack learns which question to ask and which scores to call a member's."""

    NOWHERE = "nowhere"
    SHADOW = "on the shadow model"
    POOLED = "on a few reference models, taken together"
    REFERENCES = "on all reference models, sample by sample"


def lesson_of(attack: Attack, *, candidates: int, shadow: bool, references: bool) -> Lesson:
    """Where the attack learns.

    Args:
        attack: The row of the table.
        candidates: How many signals the attack chooses from.
        shadow: Whether there is a shadow model.
        references: Whether there are reference models.

    Raises:
        InvalidInput: The attack needs models that are missing.
    """
    calibration = attack.calibration
    if calibration.per_sample:
        if not references:
            raise InvalidInput(f"attack {attack.name!r} needs {Need.REFERENCES}, there are none")
        return Lesson.REFERENCES
    present = references if attack.crafted else shadow
    if not calibration.requires_references:
        settled = candidates == 1 and calibration.fit(None, seed=0).threshold is not None
        if isinstance(calibration, RandomThreshold) or not present or settled:
            return Lesson.NOWHERE
    if not present:
        missing = str(Need.REFERENCES) if attack.crafted else "a shadow model"
        raise InvalidInput(f"attack {attack.name!r} needs {missing}, there is none")
    return Lesson.POOLED if attack.crafted else Lesson.SHADOW

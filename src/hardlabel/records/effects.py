"""Whether each defense of a comparison helps, as far as the intervals tell; a pure function of the record."""

import math
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # The record shows effects, so it imports this module.
    from hardlabel.records.defenses import DefendResults, DefenseResult

LEAST = 0.02  # A fall of the strongest attacks' AUC below this is too small to matter.
STANDARD_ERRORS = 1.96  # How far chance takes the accuracy of guessing, at 95 % confidence.


class Effect(StrEnum):
    """What a comparison says about a defense."""

    HELPS = "helps"
    NOT = f"does not help by {LEAST:g} or more"
    FEW = "too few models to tell"
    UNKNOWN = "cannot be judged"


def effects(results: "DefendResults") -> dict[str, Effect]:
    """The effect of each defense, by name and level; the undefended models have none.

    Example:
        >>> import hardlabel
        >>> from hardlabel.records.effects import effects
        >>> effects(hardlabel.load("runs/defenses").results)["top-k 1"]
        <Effect.FEW: 'too few models to tell'>
    """
    unknown = why_unknown(results) is not None
    return {
        result.name: Effect.UNKNOWN if unknown else effect(result, results.undefended) for result in results.defended
    }


def effect(defended: "DefenseResult", plain: "DefenseResult") -> Effect:
    """The effect of a defense, by the paired changes in AUC of two attacks.

    The attacks are the strongest attack on the defense and the strongest attack on the undefended models `plain`; an
    attacker who knows about the defense and an attacker who does not count separately. A defense is as good as the
    attack that it weakens least:

    - Some interval lies above -LEAST and allows no fall of LEAST or more: the defense does not help by LEAST or more.
    - Every interval lies below 0: the defense helps.
    - Otherwise the intervals are too wide to tell.
    """
    names = {defended.worst.name, plain.worst.name}
    changes = [attack.change for attack in defended.attacks if attack.name in names]
    if any(change.low is not None and change.low > -LEAST for change in changes):
        return Effect.NOT
    if all(change.high is not None and change.high < 0 for change in changes):
        return Effect.HELPS
    return Effect.FEW


def enough(defended: "DefenseResult", plain: "DefenseResult") -> bool:
    """Whether a defense helps by more than LEAST: the interval of every change that `effect` looks at lies below."""
    names = {defended.worst.name, plain.worst.name}
    highs = [attack.change.high for attack in defended.attacks if attack.name in names]
    return effect(defended, plain) is Effect.HELPS and all(high is not None and high < -LEAST for high in highs)


def why_unknown(results: "DefendResults") -> str | None:
    """Why the comparison cannot say whether any defense helps, as a sentence; None if it can.

    A fall is a finding only where undefended models work and leak. Models that are right on their training data no more
    often than guessing have learned nothing that could leak. Without measured leakage, there is nothing to lower.
    """
    plain, members = results.undefended, results.targets * results.samples / 2
    if results.classes is not None:
        guessing = 1 / results.classes
        by_chance = guessing + STANDARD_ERRORS * math.sqrt(guessing * (1 - guessing) / members)
        if plain.train_accuracy <= by_chance:
            return (
                f"The undefended models are right on {100 * plain.train_accuracy:.1f} % of their own training samples, "
                f"no more often than guessing among {results.classes} classes: they have learned nothing that a "
                "defense could protect. Check the data and the training."
            )
    if not any(attack.auc.low is not None and attack.auc.low > 0.5 for attack in plain.attacks):
        return (
            f"The undefended models show no measurable leakage (the strongest attack, {plain.strongest}, has an AUC of "
            f"{plain.worst.auc}; guessing has 0.5): there is nothing that a defense could lower. A stronger attack, "
            "more models (--repeats) or more samples (--samples) may find leakage."
        )
    return None

"""Defenses named as text: one at a level, or DP-SGD on top of transfer learning."""

from collections.abc import Sequence

from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Defender
from hardlabel.defenses.dp_sgd import DPSGD
from hardlabel.defenses.private_transfer import PrivateTransfer
from hardlabel.defenses.table import TABLE, Strength, chosen
from hardlabel.defenses.trainer import Defended, defended
from hardlabel.defenses.transfer_learning import TransferLearning
from hardlabel.models.trainers import Trainer


def defended_by(words: str, trainer: Trainer, defender: Defender) -> Defended:
    """The trainer of models under a defense.

    Args:
        words: NAME or NAME=LEVEL from the table of defenses, or transfer=LEVEL+dp-sgd=LEVEL.
        trainer: Trains without a defense.
        defender: What a defense may use.

    Raises:
        InvalidInput: A name or level is wrong, two other defenses are joined, or see `defended`.
    """
    strengths = strengths_named(words)
    if len(strengths) == 1:
        return defended(strengths[0], trainer, defender)
    first, second = (strength.defense for strength in strengths)
    if not (isinstance(first, TransferLearning) and isinstance(second, DPSGD)):
        raise InvalidInput(f"defenses joined by + must be transfer and dp-sgd, in this order, got {words!r}")
    both = PrivateTransfer(epsilon=second.epsilon, frozen=first.frozen)
    return defended(Strength(row=TABLE["transfer+dp-sgd"], level=second.epsilon, defense=both), trainer, defender)


def strengths_named(words: str) -> Sequence[Strength]:
    """One defense, or two joined by "+", each at the level named.

    Raises:
        InvalidInput: A name or level is wrong, or there are more than two.

    Example:
        >>> from hardlabel.defenses.composed import strengths_named
        >>> [strength.name for strength in strengths_named("transfer=1+dp-sgd=100")]
        ['transfer 1', 'dp-sgd 100']
    """
    strengths = []
    for part in words.split("+"):
        name, _, level = part.partition("=")
        try:
            levels = {name: [float(level)]} if level else None
        except ValueError as error:
            raise InvalidInput(f"defense must be NAME or NAME=LEVEL with a number, got {part!r}") from error
        made = chosen([name], levels)
        if len(made) != 1:
            raise InvalidInput(f"defense must name one level, as in {name}={made[0].row.levels[0]:g}, got {part!r}")
        strengths += made
    if len(strengths) > 2:
        raise InvalidInput(f"defenses joined by + must be two, got {words!r}")
    return strengths

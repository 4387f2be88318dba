"""The attacks of the experiments, by name: rows of the table with other numbers of queries or single sets of copies."""

from collections.abc import Callable
from dataclasses import replace

import torch

from hardlabel import checks, randomness
from hardlabel.attacks import TABLE, Attack, LabelAttack
from hardlabel.audits.cases.from_settings import moves
from hardlabel.calibrations.network import AttackNetwork
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import Move
from hardlabel.signals.augmentation import Augmentation

PIPELINE = "mirror+shift:4+cutout:16"  # As `--augment` takes it: what Figure 4 trains with.


def _pipeline(count: int) -> tuple[Move, ...]:
    """The original, and moves drawn from those of the pipeline; always the same."""
    still, *others = moves([PIPELINE])
    order = torch.randperm(len(others), generator=randomness.generator(0, "pipeline"))
    return (still, *(others[number] for number in order[: count - 1].tolist()))


COPIES: dict[str, Callable[[int], tuple[Move, ...]]] = {
    "rotate": augment.rotations,
    "shift": augment.translations,
    "pipeline": _pipeline,
}
# Chosen from on the shadow model: the paper's two families at distances in its useful range.
AUGMENTATIONS = (("rotate", 4), ("rotate", 8), ("shift", 1), ("shift", 2))
WHITE_BOX = "carlini-wagner"  # No attack: it sees gradients. It is the limit of what a boundary search can find.


def attack_named(name: str) -> Attack:
    """The attack of this name.

    Args:
        name: A name of the table; NAME@QUERIES for another number of queries; rotate=DEGREES, shift=PIXELS or
            pipeline=COPIES for the augmentation attack with one set of copies; "augmentation" for the paper's sets,
            from which the shadow model chooses.

    Raises:
        InvalidInput: There is no such attack.

    Example:
        >>> from hardlabel.reproduction.attacks import attack_named
        >>> attack_named("noise@10000").allowed(None), attack_named("shift=1").allowed(None)
        (10000, 5)
    """
    if name == "augmentation":
        return _augmentation(name, [(f"{kind}={size}", COPIES[kind](size)) for kind, size in AUGMENTATIONS])
    kind, copies, size = name.partition("=")
    if copies:
        checks.one_of(COPIES, attack=kind)
        return _augmentation(name, [(name, COPIES[kind](_number(name, size)))])
    row, budget, queries = name.partition("@")
    checks.one_of(TABLE, attack=row)
    return replace(TABLE[row], name=name, usual=_number(name, queries)) if budget else TABLE[row]


def _number(name: str, text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise InvalidInput(f"attack must end in a whole number above 0, got {name!r}")
    return int(text)


def _augmentation(name: str, sets: list[tuple[str, tuple[Move, ...]]]) -> LabelAttack:
    signals = tuple(Augmentation(name=words, moves=moves) for words, moves in sets)
    usual = max(len(signal.moves) for signal in signals)
    return LabelAttack(
        name=name,
        summary="which copies keep the label",
        signals=lambda domain, queries: signals,
        calibration=AttackNetwork(),
        needs="a shadow model",
        source="Choquette-Choo et al. 2021, section 3.3",
        fewest=2,
        usual=usual,
        data="images",
    )

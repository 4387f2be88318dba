"""Divide samples into the attack's four disjoint groups and the population that is left.

Rows whose inputs are equal, whatever their labels, always go to the same group: no member is equal to a
non-member, and no shadow model sees a copy of an attacked sample. Every row stays in use.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples

DEFAULT_SIZE = 2500  # The paper's CIFAR-10 default (section 4).
GROUPS = ("members", "nonmembers", "shadow_members", "shadow_nonmembers")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many samples each group gets; shadow groups may be empty, for attacks that need no shadow model."""

    members: int
    nonmembers: int
    shadow_members: int
    shadow_nonmembers: int

    def __post_init__(self) -> None:
        checks.at_least(1, members=self.members, nonmembers=self.nonmembers)
        checks.at_least(0, shadow_members=self.shadow_members, shadow_nonmembers=self.shadow_nonmembers)

    @property
    def total(self) -> int:
        """Samples in the four groups."""
        return sum(getattr(self, group) for group in GROUPS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Samples by their role; disjoint by id and by content, each in shuffled order.

    Attributes:
        members: What the target is trained on.
        nonmembers: What it is not trained on, and the attack must tell from the members.
        shadow_members: What the attacker's shadow model is trained on.
        shadow_nonmembers: What that model is not trained on.
        population: The rest; may be empty.
    """

    members: Samples
    nonmembers: Samples
    shadow_members: Samples
    shadow_nonmembers: Samples
    population: Samples


def equal_sizes(total: int, size: int | None = None) -> Sizes:
    """Four groups of `size` out of `total` samples; by default a quarter each, DEFAULT_SIZE at most.

    Raises:
        InvalidInput: `total` is below 4, or `size` is not between 1 and a quarter of it.
    """
    largest = total // len(GROUPS)
    if not largest:
        raise InvalidInput(f"samples must be at least {len(GROUPS)} for four groups, got {total}")
    size = min(largest, DEFAULT_SIZE) if size is None else size
    if not 1 <= size <= largest:
        raise InvalidInput(
            f"train_size must lie in [1, {largest}] for four equal groups of {total} samples, got {size}"
        )
    return Sizes(members=size, nonmembers=size, shadow_members=size, shadow_nonmembers=size)


def split(samples: Samples, sizes: Sizes, *, seed: int, contents: Sequence[bytes] | None = None) -> Split:
    """Groups of exactly `sizes`, drawn at random; the same samples, sizes and seed give the same split.

    Repeated inputs are placed first, the most frequent ahead, each into a group drawn in proportion to the
    room that is left; single rows fill up. Groups of equal size are therefore exchangeable.

    Args:
        samples: What is split.
        sizes: How many samples each group gets.
        seed: Fixes the draws.
        contents: What `content` says of the samples, where it is known already.

    Raises:
        InvalidInput: Fewer samples than `sizes` asks for, or an input repeated more often than any group holds.
    """
    rest = len(samples) - sizes.total
    if rest < 0:
        raise InvalidInput(
            f"sizes must sum to at most the {len(samples)} samples there are, got {sizes.total}; "
            f"four equal groups can have at most {len(samples) // len(GROUPS)}"
        )
    rng = randomness.numpy_generator(seed, "split")
    rooms = np.array([*(getattr(sizes, group) for group in GROUPS), rest])
    group = _grouped(content(samples.inputs) if contents is None else contents, rooms, rng)
    order = rng.permutation(len(samples))
    parts = [samples.take(torch.from_numpy(order[group[order] == g]).to(samples.device)) for g in range(5)]
    return Split(**dict(zip((*GROUPS, "population"), parts, strict=True)))


def content(inputs: Tensor) -> list[bytes]:
    """A fingerprint per input of (n, *shape): equal where inputs are equal in every value, else different."""
    rows = inputs.detach().cpu().flatten(1).numpy()
    # Adding 0 turns -0 into 0, which is equal to it but has other bytes.
    return [hashlib.blake2b((row + 0.0).tobytes(), digest_size=16).digest() for row in rows]


def _grouped(contents: Sequence[bytes], rooms: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The group (n,) of each row, filling `rooms` exactly; rows of one content share theirs."""
    rows_of: dict[bytes, list[int]] = {}
    for row, key in enumerate(contents):
        rows_of.setdefault(key, []).append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    singles = [rows[0] for rows in rows_of.values() if len(rows) == 1]
    group = np.empty(len(contents), dtype=np.int64)
    room = rooms.copy()
    for place in sorted(rng.permutation(len(repeated)), key=lambda place: -len(repeated[place])):
        rows = repeated[place]
        fits = np.where(room >= len(rows), room, 0)
        if not fits.any():
            raise InvalidInput(
                f"samples must fit the groups with equal inputs together: one input stands in {len(rows)} rows, "
                f"and no group has room for them: choose other sizes"
            )
        chosen = int(rng.choice(len(room), p=fits / fits.sum()))
        group[rows] = chosen
        room[chosen] -= len(rows)
    group[rng.permutation(np.array(singles, dtype=np.int64))] = np.repeat(np.arange(len(room)), room)
    return group

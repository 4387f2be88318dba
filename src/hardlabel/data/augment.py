"""Image augmentations: the ones models are trained with are the ones attackers ask about.

A `Move` flips, then rotates, then shifts an image; what moves in from outside is `fill` (the box's lower
end, black). The paper's sets of moves are made by `translations`, `rotations` and `flips`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from hardlabel import checks
from hardlabel.data.bounds import Bound


@dataclass(frozen=True, order=True)
class Move:
    """One augmentation.

    Attributes:
        right: Shift in pixels, to the right where positive.
        down: Shift in pixels, downwards where positive.
        degrees: Rotation about the centre, counter-clockwise, bilinear.
        flip: Whether left and right are exchanged first.
    """

    right: int = 0
    down: int = 0
    degrees: float = 0.0
    flip: bool = False


STILL = Move()


def translations(distance: int) -> tuple[Move, ...]:
    """The original and all shifts with |right| + |down| = distance: 4 * distance + 1 moves (section 3.3)."""
    checks.at_least(0, distance=distance)
    around = {
        Move(right=sign_r * r, down=sign_d * (distance - r))
        for r in range(distance + 1)
        for sign_r in (-1, 1)
        for sign_d in (-1, 1)
    }
    return union([STILL], sorted(around))


def rotations(degrees: int, *, every_degree: bool = False) -> tuple[Move, ...]:
    """Rotations by -r, 0 and +r degrees (the paper), or by every whole degree from -r to r (the authors' code)."""
    checks.at_least(0, degrees=degrees)
    angles = range(-degrees, degrees + 1) if every_degree else (-degrees, degrees)
    return union([STILL], [Move(degrees=float(angle)) for angle in angles])


def flips() -> tuple[Move, ...]:
    """The original and its mirror image."""
    return (STILL, Move(flip=True))


def union(*sets: Iterable[Move]) -> tuple[Move, ...]:
    """All moves of the sets, each once, in order of first appearance."""
    return tuple(dict.fromkeys(move for moves in sets for move in moves))


def apply(move: Move, images: Tensor, *, fill: Bound) -> Tensor:
    """Moved copies of `images` (n, C, H, W); same shape, between the least and greatest of fill and pixels.

    `fill` is one number, or a tuple of one number per channel.
    """
    if isinstance(fill, tuple):
        return torch.cat([apply(move, images[:, c : c + 1], fill=black) for c, black in enumerate(fill)], 1)
    if move.flip:
        images = images.flip(-1)
    if move.degrees:
        images = _rotated(images, move.degrees, fill)
    if move.right or move.down:
        images = _shifted(images, move.right, move.down, fill)
    return images


def _shifted(images: Tensor, right: int, down: int, fill: float) -> Tensor:
    height, width = images.shape[-2:]
    if abs(right) >= width or abs(down) >= height:
        return torch.full_like(images, fill)  # Nothing stays in view.
    # Negative padding crops the side that leaves the picture.
    return functional.pad(images, (right, -right, down, -down), value=fill)


def _rotated(images: Tensor, degrees: float, fill: float) -> Tensor:
    height, width = images.shape[-2:]
    turn = math.radians(degrees)
    cos, sin = math.cos(turn), math.sin(turn)
    # grid_sample's coordinates span [-1, 1] on both axes, so that a rotation must mind the aspect ratio.
    matrix = torch.tensor(
        [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]],
        dtype=images.dtype,
        device=images.device,
    )
    grid = functional.affine_grid(matrix.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    # grid_sample fills with 0, so the picture is shifted to make its fill 0.
    moved = functional.grid_sample(images - fill, grid, padding_mode="zeros", align_corners=False)
    return moved + fill

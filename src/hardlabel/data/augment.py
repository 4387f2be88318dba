"""Image augmentations: the ones models are trained with are the ones attackers ask about.

A `Move` flips, then rotates, then shifts an image; what moves in from outside is `fill` (the box's lower
end, black). A `Cutout` also blackens a square. The paper's sets of moves are made by `translations`, `rotations` and
`flips`; `joined` makes several moves at once.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
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


@dataclass(frozen=True)
class Cutout(Move):
    """A move after which a square is filled (DeVries and Taylor 2017); parts of it may lie outside the image.

    Attributes:
        side: Of the square, in pixels.
        centre_right: Its centre, in pixels to the right of the image's centre.
        centre_down: Its centre, in pixels below the image's centre.
    """

    side: int = 0
    centre_right: int = 0
    centre_down: int = 0


STILL = Move()
PLACES = 4  # Of a square's centre on each side of the image's.


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


def cutouts(side: int) -> tuple[Move, ...]:
    """The original, and a square of `side` pixels at up to 81 places: its centre lies up to `side` from the image's.

    Example:
        >>> from hardlabel.data import augment
        >>> len(augment.cutouts(16))
        82
    """
    checks.at_least(0, side=side)
    if not side:
        return (STILL,)
    steps = sorted({place * side // PLACES for place in range(-PLACES, PLACES + 1)})
    return (STILL, *(Cutout(side=side, centre_right=right, centre_down=down) for right in steps for down in steps))


def joined(*sets: Iterable[Move]) -> tuple[Move, ...]:
    """All that can be made by one move of each set at once: shifts and angles add up, two flips are none.

    At most one set may have cutouts.

    Raises:
        InvalidInput: Several sets have cutouts.

    Example:
        >>> from hardlabel.data import augment
        >>> len(augment.joined(augment.flips(), augment.translations(1)))
        10
    """
    return union(_at_once(moves) for moves in itertools.product(*sets))


def _at_once(moves: tuple[Move, ...]) -> Move:
    cuts = [move for move in moves if isinstance(move, Cutout)]
    if len(cuts) > 1:
        raise InvalidInput(f"sets must have cutouts in one set at most, got {' and '.join(map(str, cuts))}")
    made = Move(
        right=sum(move.right for move in moves),
        down=sum(move.down for move in moves),
        degrees=sum(move.degrees for move in moves),
        flip=sum(move.flip for move in moves) % 2 == 1,
    )
    return replace(cuts[0], **vars(made)) if cuts else made


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
    if isinstance(move, Cutout):
        images = images.clone()
        images[..., *_square(move, *images.shape[-2:])] = fill
    return images


def hides(move: Move, height: int, width: int) -> bool:
    """Whether nothing of an image stays in view."""
    if abs(move.right) >= width or abs(move.down) >= height:
        return True
    return isinstance(move, Cutout) and _square(move, height, width) == (slice(0, height), slice(0, width))


def _square(move: Cutout, height: int, width: int) -> tuple[slice, slice]:
    """The rows and the columns of an image that the square covers."""
    top = height // 2 + move.centre_down - move.side // 2
    left = width // 2 + move.centre_right - move.side // 2
    return _inside(top, move.side, height), _inside(left, move.side, width)


def _inside(first: int, count: int, end: int) -> slice:
    return slice(min(max(first, 0), end), min(max(first + count, 0), end))


def _shifted(images: Tensor, right: int, down: int, fill: float) -> Tensor:
    if hides(Move(right=right, down=down), *images.shape[-2:]):
        return torch.full_like(images, fill)
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

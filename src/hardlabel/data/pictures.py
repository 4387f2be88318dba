"""Decode pictures: in named formats only, and no more pixels than memory holds."""

import io
import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from hardlabel.checks import InvalidInput
from hardlabel.data import limits

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM")  # None that runs a program (EPS) or that Pillow rarely sees.
DEEP = ("I", "F")  # How Pillow's modes begin that have more than 8 bits for a value: it would clip them.
BYTES_A_VALUE = 5  # As a byte, then as float32.


def decoded(name: str, cells: Iterable[bytes | None], count: int) -> NDArray[np.uint8]:
    """Pixels (count, H, W, C) of encoded pictures of one size; C is 1 where the first picture is grey, else 3.

    Args:
        name: What errors call the data.
        cells: The pictures, encoded in one of FORMATS; as many as `count`.
        count: Number of pictures, at least 1.

    Raises:
        InvalidInput: A picture is missing, damaged, of another format or size, has more than 8 bits for a value or more
            than MOST_PIXELS pixels; or all need more memory than there is.
    """
    pixels: NDArray[np.uint8] | None = None
    mode, size, row = "", (0, 0), -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of Pillow, about sizes that we check and metadata that we do not read.
        for row, cell in enumerate(cells):
            if cell is None:
                raise InvalidInput(f"data {name!r} must hold its pictures, row {row} has none: embed their bytes")
            try:
                with Image.open(io.BytesIO(cell), formats=FORMATS) as image:
                    if pixels is None:
                        mode, size = "L" if image.mode in ("1", "L") else "RGB", image.size
                        pixels = _room(name, count, size, len(mode))
                    _check(name, row, image, size)
                    pixels[row] = np.asarray(image.convert(mode)).reshape(pixels.shape[1:])
            except InvalidInput:
                raise
            except Image.DecompressionBombError as error:  # So large that Pillow does not look.
                raise _too_large(name, row) from error
            except UnidentifiedImageError as error:
                known = ", ".join(FORMATS)
                raise InvalidInput(
                    f"data {name!r} must hold readable pictures, row {row}: it is none of {known}"
                ) from error
            except Exception as error:  # Decoders raise much that they do not document.
                raise InvalidInput(f"data {name!r} must hold readable pictures, row {row}: {error}") from error
    if pixels is None:
        raise InvalidInput(f"data {name!r} must have rows, got none")
    if row + 1 != count:
        raise InvalidInput(f"data {name!r} must have the {count:,} rows it promises, got {row + 1:,}")
    return pixels


def _room(name: str, count: int, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    width, height = size
    if width * height > limits.MOST_PIXELS:
        raise _too_large(name, 0)
    limits.afford(BYTES_A_VALUE * count * width * height * channels, f"data {name!r}: {count:,} pictures")
    return np.empty((count, height, width, channels), dtype=np.uint8)


def _too_large(name: str, row: int) -> InvalidInput:
    return InvalidInput(
        f"data {name!r} must have pictures of at most {limits.MOST_PIXELS:,} pixels, got a larger picture in row {row}"
    )


def _check(name: str, row: int, image: Image.Image, size: tuple[int, int]) -> None:
    if image.size != size:
        raise InvalidInput(f"data {name!r} must have pictures of size {size}, got {image.size} in row {row}")
    if image.mode.startswith(DEEP):
        raise InvalidInput(
            f"data {name!r} must have pictures of 8 bits for a value, got mode {image.mode} in row {row}: save them as "
            "8-bit PNG, or as arrays in .npz"
        )

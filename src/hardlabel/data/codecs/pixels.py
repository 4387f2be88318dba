"""Images as the caller has them: arrays or tensors, channels first or last or grey, whole numbers or floats."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box, infer_domain
from hardlabel.data.forms import Form, form_of, points_of

CHANNELS = (1, 3, 4)  # Numbers of channels by which an axis is recognised: grey, colour, colour with opacity.


class Layout(StrEnum):
    """Where an array of images has its channels."""

    FIRST = "channels first"
    LAST = "channels last"
    GREY = "grey"


@dataclass(frozen=True)
class PixelCodec:
    """Turns images into points (n, c, h, w) of a box, and points into images of the caller's container and type.

    Every legal point is an image that the caller's type can store: in images of whole numbers no point holds a
    fraction, and uint8 goes from 0 to 255. Float64 is rounded to float32; half floats round what attacks ask.

    Attributes:
        domain: The box, of shape (c, h, w).
        layout: Where the images have their channels.
        form: Their container and type.

    Example:
        >>> import numpy as np
        >>> from hardlabel.data.codecs.pixels import PixelCodec
        >>> images = np.zeros((5, 32, 32, 3), dtype="uint8")
        >>> codec = PixelCodec.fit({"members": images})
        >>> codec.domain
        Box(shape=(3, 32, 32), lower=0.0, upper=255.0, whole=True)
        >>> codec.decode(codec.encode(images)).shape
        (5, 32, 32, 3)
    """

    domain: Box
    layout: Layout
    form: Form

    @classmethod
    def fit(cls, groups: Mapping[str, Any]) -> "PixelCodec | None":
        """The codec for all groups of images; None for floats (n, c, h, w), which need none, and for what is no image.

        Images are (n, c, h, w), (n, h, w, c) or (n, h, w). Channels come last where the last axis is 1, 3 or 4 long and
        the second is not; where both are, the reading with square images counts. Arrays (n, h, w) are grey images where
        they hold uint8 or are square.

        Args:
            groups: Arrays or tensors by name, such as "members". Images are given back in the form of the first.

        Raises:
            InvalidInput: No group, images of unlike shapes, whole numbers beside floats, channels that may be first or
                last, arrays that may be series, no real numbers, NaN or infinity, or whole numbers above 2**24.
        """
        if not groups:
            raise InvalidInput("groups must name at least one array of images, got none")
        forms = {name: form_of(given, name) for name, given in groups.items()}
        shapes = {name: _shape(given) for name, given in groups.items()}
        if any(len(shape) not in (3, 4) or 0 in shape for shape in shapes.values()):
            return None
        first = next(iter(groups))
        for name in groups:
            if shapes[name][1:] != shapes[first][1:]:
                raise InvalidInput(f"inputs must agree in shape, got {first} {shapes[first]}, {name} {shapes[name]}")
            if forms[name].whole != forms[first].whole:
                raise InvalidInput(
                    f"inputs must all be whole numbers or all be floats, got {first} {forms[first].dtype}, {name} "
                    f"{forms[name].dtype}; or pass domain="
                )
        form = forms[first]
        layout = _layout(shapes[first], form, first)
        if layout == Layout.FIRST and not form.whole:
            return None
        shape = _first(shapes[first][1:], layout)
        return cls(_box(groups, shape, form), layout, form)

    @property
    def summary(self) -> str:
        """What the caller gave, in a few words."""
        channels, height, width = self.domain.shape
        count = "" if self.layout == Layout.GREY else f" and {channels} channel{'s' * (channels > 1)}"
        return f"{self.form.dtype} images of {width} x {height} pixels{count}, {self.layout}"

    def encode(self, given: Any, name: str = "inputs") -> Tensor:
        """Points (n, c, h, w), float32, of images in the codec's layout and type.

        Raises:
            InvalidInput: Floats for whole numbers or the reverse, another shape, NaN or infinity, or a value outside
                the box.
        """
        form = form_of(given, name)
        if form.whole != self.form.whole:
            raise InvalidInput(f"{name} must be images of type {self.form.dtype}, got {form.dtype}")
        points = points_of(given, name)
        axes = 3 if self.layout == Layout.GREY else 4
        if points.ndim != axes or _first(tuple(points.shape[1:]), self.layout) != self.domain.shape:
            wanted = ", ".join(map(str, _last(self.domain.shape, self.layout)))
            raise InvalidInput(f"{name} must be images (n, {wanted}), got {tuple(points.shape)}")
        if self.layout == Layout.LAST:
            points = points.permute(0, 3, 1, 2).contiguous()
        elif self.layout == Layout.GREY:
            points = points[:, None]
        self.domain.check(points, name)
        return points

    def decode(self, points: Tensor) -> Any:
        """The images that points (n, c, h, w) stand for, in new memory."""
        return self.form.restored(self.tensor(points))

    def tensor(self, points: Tensor) -> Tensor:
        """The images as a tensor of floats with the gradients of the points (n, c, h, w)."""
        if self.layout == Layout.LAST:
            return points.permute(0, 2, 3, 1)
        return points[:, 0] if self.layout == Layout.GREY else points


def _shape(given: Any) -> tuple[int, ...]:
    return tuple(given.shape) if hasattr(given, "shape") else tuple(points_of(given, "images").shape)


def _layout(shape: tuple[int, ...], form: Form, name: str) -> Layout:
    if len(shape) == 3:
        if form.dtype != "uint8" and shape[1] != shape[2]:
            raise InvalidInput(
                f"{name} {shape} may be grey images or series: give images as (n, 1, h, w), and for series pass "
                "domain=hardlabel.Series.of(...)"
            )
        return Layout.GREY
    second, third, last = shape[1:]
    if last not in CHANNELS or second not in CHANNELS:
        return Layout.LAST if last in CHANNELS else Layout.FIRST
    squares = [Layout.FIRST] * (third == last) + [Layout.LAST] * (second == third)
    if len(squares) == 1:
        return squares[0]
    raise InvalidInput(
        f"{name} {shape} may have channels first or last: give (n, c, h, w) as floats and pass domain=hardlabel.Box("
        f"({second}, {third}, {last}), lowest, highest)"
    )


def _first(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """The shape (c, h, w) of an image of a layout."""
    if layout == Layout.GREY:
        return (1, *shape)
    return (shape[2], shape[0], shape[1]) if layout == Layout.LAST else shape


def _last(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """The shape of an image in a layout, from (c, h, w)."""
    if layout == Layout.GREY:
        return shape[1:]
    return (*shape[1:], shape[0]) if layout == Layout.LAST else shape


def _box(groups: Mapping[str, Any], shape: tuple[int, ...], form: Form) -> Box:
    parts = [points_of(given, name) for name, given in groups.items()]
    if form.dtype == "uint8":
        return Box(shape, 0.0, 255.0, whole=True)
    ends = torch.stack([extreme for part in parts for extreme in part.aminmax()])
    # The box depends on the extremes alone.
    box = infer_domain((ends.to(torch.int64) if form.whole else ends).reshape(-1, 1, 1, 1))
    assert isinstance(box, Box), "images lie in a box"
    assert not isinstance(box.lower, tuple)
    assert not isinstance(box.upper, tuple)
    lowest, highest = form.range
    return Box(shape, float(max(box.lower, lowest)), float(min(box.upper, highest)), whole=form.whole)

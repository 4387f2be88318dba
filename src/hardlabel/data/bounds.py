"""Bounds of the values of a domain: one pair of numbers for all, or one pair per channel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput

LEGAL_SLACK = 1e-6  # Float32 rounding at the edges of a box, in units of its width.
LARGEST_WHOLE = 2**24  # Float32 holds every whole number up to here.

Bound = float | tuple[float, ...]


def bound(value: object, name: str, *, channels: int) -> Bound:
    """A bound as a number, or as a tuple of one number per channel; NumPy's and PyTorch's numbers become floats.

    Raises:
        InvalidInput: It is neither, or not finite.

    Example:
        >>> from hardlabel.data.bounds import bound
        >>> bound([0, 0.5], "lower", channels=2)
        (0, 0.5)
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return _number(float(value.item()), name)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _number(value, name)
    if len(value) != channels:
        raise InvalidInput(
            f"{name} must be one number, or one number for each of the {channels} channels, got {len(value)} numbers"
        )
    return tuple(_number(number, name) for number in value)


def bounds(lower: object, upper: object, *, channels: int, whole: bool) -> tuple[Bound, Bound]:
    """A checked pair of bounds, see `bound`; both are tuples where one is.

    Raises:
        InvalidInput: A bound is no finite number or has another length; the lower one is not below the upper one; or,
            with `whole`, one is a fraction or above 2**24.
    """
    pair = bound(lower, "lower", channels=channels), bound(upper, "upper", channels=channels)
    if any(isinstance(edge, tuple) for edge in pair):
        pair = tuple(edge if isinstance(edge, tuple) else (edge,) * channels for edge in pair)  # type: ignore[assignment]
    _check_pair(*pair, whole=whole)
    return pair


def _check_pair(lower: Bound, upper: Bound, *, whole: bool) -> None:
    """Refuses bounds without an inside, and bounds of whole numbers that are not whole.

    Raises:
        InvalidInput: The lower one is not below the upper one; or, with `whole`, one is a fraction or above 2**24.
    """
    if not isinstance(whole, bool):
        raise InvalidInput(f"whole must be True or False, got {whole!r}")
    lows, highs = (value if isinstance(value, tuple) else (value,) for value in (lower, upper))
    for channel, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if not low < high:
            place = f" in channel {channel}" if isinstance(lower, tuple) else ""
            raise InvalidInput(f"lower must be below upper, got {low} and {high}{place}")
    for name, numbers in (("lower", lows), ("upper", highs)) if whole else ():
        for number in numbers:
            if number != round(number) or abs(number) > LARGEST_WHOLE:
                raise InvalidInput(
                    f"{name} must be whole and at most 2**24 in size where only whole numbers are legal, got {number!r}"
                )


@dataclass(frozen=True)
class ChannelBounds:
    """One pair of bounds per channel of samples of a shape.

    Points are (..., *shape), or flat (..., d) as searches hold them.

    Attributes:
        shape: Shape of one sample.
        axis: Which axis of `shape` counts the channels; None where there is one channel and no axis for it.
        lower: Smallest legal values, one per channel.
        upper: Largest legal values, one per channel.
        whole: Whether only whole numbers are legal.
    """

    shape: tuple[int, ...]
    axis: int | None
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    whole: bool

    @property
    def widths(self) -> Tensor:
        """How wide each channel is, float32; of as many axes as `shape`, 1 but for the channels."""
        return (self._numbers(self.upper) - self._numbers(self.lower)).to(torch.float32)

    def check(self, inputs: Tensor, name: str) -> None:
        """Refuses inputs (n, *shape) of any type in which a value lies outside its channel's bounds.

        Raises:
            InvalidInput: One does.
        """
        if not len(inputs):
            return
        others = [axis for axis in range(inputs.ndim) if self.axis is None or axis != self.axis + 1]
        numbers = inputs.to(torch.uint8) if inputs.dtype == torch.bool else inputs
        least, most = (extreme(others).double().cpu().reshape(-1) for extreme in (numbers.amin, numbers.amax))
        lower, upper = (torch.tensor(bounds, dtype=torch.float64) for bounds in (self.lower, self.upper))
        rounding = torch.finfo(torch.float32).eps * torch.maximum(lower.abs(), upper.abs())
        slack = torch.zeros_like(lower) if self.whole else LEGAL_SLACK * (upper - lower) + rounding
        wrong = ~((least >= lower - slack) & (most <= upper + slack))
        if bool(wrong.any()):
            channel = int(wrong.nonzero()[0])
            raise InvalidInput(
                f"{name} must lie in [{self.lower[channel]:g}, {self.upper[channel]:g}] in channel {channel}, "
                f"got values from {float(least[channel]):g} to {float(most[channel]):g}"
            )

    def clip(self, points: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The nearest points within the bounds, in `out` if given, which may be `points`."""
        clipped = torch.clamp(points, *self.edges(points), out=out)
        return clipped.round_() if self.whole else clipped

    def random(self, uniform: Tensor) -> Tensor:
        """Points (..., *shape) from draws of the same shape, uniform in [0, 1)."""
        lower, upper = self._numbers(self.lower), self._numbers(self.upper)
        if self.whole:
            # In float64: every whole number is drawn alike, and float32 would round a draw up to the next one.
            drawn = (lower + (uniform.double() * (upper - lower + 1)).floor()).minimum(upper)
            return drawn.to(torch.float32)
        return self.clip((lower + (upper - lower) * uniform.double()).to(torch.float32))

    def edges(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The bounds in a form that combines with `points` (..., *shape) or (..., d)."""
        flat = tuple(points.shape[-len(self.shape) :]) != self.shape
        return _edges(self, flat, points.dtype, points.device)

    def _numbers(self, bounds: tuple[float, ...]) -> Tensor:
        form = [1] * len(self.shape)
        if self.axis is not None:
            form[self.axis] = len(bounds)
        return torch.tensor(bounds, dtype=torch.float64).reshape(form)


@lru_cache(maxsize=32)
def _edges(bounds: ChannelBounds, flat: bool, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    # Kept, since searches clip thousands of times. Nobody writes into them.
    with torch.inference_mode(False):
        lower, upper = (
            bounds._numbers(numbers).to(device=device, dtype=dtype) for numbers in (bounds.lower, bounds.upper)
        )
        if flat:
            lower, upper = (edge.expand(bounds.shape).reshape(-1).contiguous() for edge in (lower, upper))
        return lower, upper


def _number(value: object, name: str) -> float:
    if isinstance(value, Real) and not isinstance(value, bool):
        number = value if isinstance(value, int | float) else float(value)
        if math.isfinite(number):
            return number
        raise InvalidInput(f"{name} must be a finite number, got {value!r}")
    raise InvalidInput(f"{name} must be one number, or one number per channel, got {value!r}")

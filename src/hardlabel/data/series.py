"""Series: one or several channels measured at equally spaced times, and the noise that series meet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.bounds import Bound, ChannelBounds, bounds
from hardlabel.data.domain import NoiseLevel, check_form, check_shape, check_whole, l2
from hardlabel.data.forms import form_of, points_of

WAVES = 4  # Waves that a warp's speed is made of: enough for it to differ along the series, few enough to be smooth.
EXTRAS = 2 + WAVES  # Draws of a noisy copy besides its jitter: one factor, one shift, the waves of a warp.

# Five strengths of each sort, weak to strong: of jitter in widths of a channel, of shifts in lengths of the series, of
# scaling and warping as logarithms. A signal that cannot choose takes the middle one, which is jitter.
LADDER: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("scaling", (0.05, 0.1, 0.2, 0.4, 0.8)),
    ("shift", (0.02, 0.05, 0.1, 0.2, 0.4)),
    ("sigma", (0.02, 0.05, 0.1, 0.2, 0.4)),
    ("warp", (0.1, 0.2, 0.4, 0.8, 1.6)),
)


@dataclass(frozen=True)
class Series:
    """Series (n, t) of t values, or (n, t, c) of t rows of c channels, between the bounds of each channel.

    Noise is of four sorts, which a `NoiseLevel` may mix. A warp makes time pass faster here and slower there, by a
    smooth speed; first and last value stay. A shift moves the series by whole steps; its end value fills the gap.
    Scaling makes the series swing more or less about its own mean, by one factor for all channels. Jitter is Gaussian,
    with `sigma` in widths of each channel. Copies are clipped to the bounds, and rounded in a series of whole numbers.
    The distance is L2 with each value in widths of its channel.

    Attributes:
        shape: (t,), or (t, c) for c channels.
        lower: Smallest legal value: one number, or a tuple of one number per channel.
        upper: Largest legal value, likewise. If one of the two is a tuple, both become tuples.
        whole: Whether only whole numbers are legal, such as counts.

    Raises:
        InvalidInput: The shape has other than one or two axes, or a bound breaks a rule; see `Box`.

    Example:
        >>> import hardlabel, numpy as np
        >>> hardlabel.Series.of(np.array([[0.0, 0.5, 2.0], [-1.0, 0.0, 1.0]]))
        Series(shape=(3,), lower=-1.0, upper=2.0)
    """

    shape: tuple[int, ...]
    lower: Bound = 0.0
    upper: Bound = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        check_shape(self.shape)
        if len(self.shape) > 2:
            raise InvalidInput(f"shape must be (t,) or (t, c) for series, got {self.shape}")
        count = _channels(self.shape)
        lower, upper = bounds(self.lower, self.upper, channels=count, whole=self.whole)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def __repr__(self) -> str:
        whole = ", whole=True" if self.whole else ""
        return f"Series(shape={self.shape!r}, lower={self.lower!r}, upper={self.upper!r}{whole})"

    @classmethod
    def of(cls, *groups: object) -> "Series":
        """The domain that holds all values of `groups`, arrays or tensors (n, t) or (n, t, c).

        Bounds are the least and the greatest value of each channel; a channel with a single value v goes from v to
        v + 1. Only whole numbers are legal where all groups hold integers or booleans.

        Raises:
            InvalidInput: No group, groups of unlike shapes, no series in a group, another number of axes, NaN,
                infinity, or whole numbers above 2**24 in size.
        """
        tensors = [points_of(group, "series") for group in groups]
        shapes = sorted({tuple(tensor.shape[1:]) for tensor in tensors})
        if len(shapes) != 1 or len(shapes[0]) not in (1, 2) or not all(tensor.numel() for tensor in tensors):
            listed = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no array"
            raise InvalidInput(
                f"series must be arrays (n, t) or (n, t, c) of one t and c, none of them empty, got {listed}"
            )
        [shape] = shapes
        whole = all(form_of(group, "series").whole for group in groups)
        rows = [tensor.reshape(-1, _channels(shape)) for tensor in tensors]
        lows, highs = [part.amin(0) for part in rows], [part.amax(0) for part in rows]
        least, most = torch.stack(lows).amin(0).tolist(), torch.stack(highs).amax(0).tolist()
        if not all(map(math.isfinite, least + most)):
            raise InvalidInput("series must be finite, got NaN or infinity: fill missing values first")
        most = [high if high > low else low + 1.0 for low, high in zip(least, most, strict=True)]
        edges = [tuple(map(int, edge) if whole else edge) for edge in (least, most)]
        lower, upper = (edge if len(edge) > 1 else edge[0] for edge in edges)
        return cls(shape, lower, upper, whole)

    @property
    def kind(self) -> str:
        return "series"

    @property
    def continuous(self) -> bool:
        return True

    @property
    def channels(self) -> ChannelBounds:
        """The bounds of each channel."""
        count = _channels(self.shape)
        lower, upper = (edge if isinstance(edge, tuple) else (edge,) * count for edge in (self.lower, self.upper))
        return ChannelBounds(self.shape, 1 if len(self.shape) == 2 else None, lower, upper, self.whole)

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        steps = range(len(LADDER[0][1]))
        return tuple(NoiseLevel(**{name: strengths[step]}) for step in steps for name, strengths in LADDER)

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        check_form(inputs, self.shape, name)
        self.channels.check(inputs, name)
        if self.whole:
            check_whole(inputs, name)

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        return self.channels.clip(inputs, out=out)

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        return torch.randn(draws, math.prod(self.shape) + EXTRAS, generator=generator)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        source = source.to(inputs.device)
        jitter, extras = source[:, :-EXTRAS], source[:, -EXTRAS:]
        copies = inputs[:, None].expand(-1, len(source), *self.shape).clone()
        if level.warp:
            copies = _at(copies, _warped(extras[:, 2:], level.warp, self.shape[0]))
        if level.shift:
            copies = _at(copies, _shifted(extras[:, 1], level.shift, self.shape[0]))
        if level.scaling:
            factors = (level.scaling * extras[:, 0].double()).exp().reshape(1, -1, *[1] * len(self.shape))
            mean = copies.double().mean(2, keepdim=True)
            copies = (mean + (copies.double() - mean) * factors).to(inputs.dtype)
        if level.sigma:
            widths = self.channels.widths.to(inputs.device)
            copies = copies + level.sigma * widths * jitter.reshape(1, len(source), *self.shape)
        return self.clip(copies)

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        return self.channels.random(torch.rand(count, *self.shape, generator=generator))

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        differences = first - second
        return l2(differences / self.channels.widths.to(differences.device))


def _channels(shape: Sequence[int]) -> int:
    return shape[1] if len(shape) == 2 else 1


def _at(copies: Tensor, places: Tensor) -> Tensor:
    """The values of `copies` (n, draws, t, ...) at the times `places` (draws, t), drawn as lines between two times."""
    before = places.floor().long()
    after = (before + 1).clamp_max(copies.shape[2] - 1)
    form = (1, *places.shape, *[1] * (copies.ndim - 3))
    share = (places - before).to(copies.dtype).reshape(form)

    def taken(rows: Tensor) -> Tensor:
        return copies.gather(2, rows.reshape(form).expand(copies.shape))

    first = taken(before)
    lines: Tensor = first + share * (taken(after) - first)
    return lines


def _shifted(draws: Tensor, share: float, length: int) -> Tensor:
    """Times (draws, t) of series shifted by whole steps, evenly spread over [-share, share] of the length."""
    # The distribution function of a normal draw is uniform.
    uniform: Tensor = torch.special.ndtr(draws.double())
    steps = ((2 * uniform - 1) * share * length).round()
    times = torch.arange(length, dtype=torch.float64, device=draws.device)
    return (times - steps[:, None]).clamp(0, length - 1)


def _warped(draws: Tensor, strength: float, length: int) -> Tensor:
    """Times (draws, t) of warped series, rising from 0 to t - 1: the logarithm of the speed is a sum of waves."""
    middles = (torch.arange(max(1, length - 1), dtype=torch.float64, device=draws.device) + 0.5) / max(1, length - 1)
    logarithm = torch.zeros(len(draws), len(middles), dtype=torch.float64, device=draws.device)
    for number in range(1, WAVES + 1):  # Not a matrix product, whose rounding depends on the number of draws.
        logarithm = logarithm + draws[:, number - 1, None].double() * torch.cos(math.pi * number * middles)
    # A wave's mean square is one half.
    speed = (strength * math.sqrt(2 / WAVES) * logarithm).exp()
    passed = torch.cat([torch.zeros_like(speed[:, :1]), speed.cumsum(1)], 1)[:, :length]
    return (passed / passed[:, -1:].clamp_min(torch.finfo(torch.float64).tiny) * (length - 1)).clamp(0, length - 1)

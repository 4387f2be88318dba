"""Domains: which inputs are legal, how they may be perturbed, how far two are apart.

A signal never changes an input itself; it asks the sample's domain, so that every query stays legal
(images inside the box, binary features 0 or 1, categories that exist).

Noise comes from a source shared by all samples: row k of the source perturbs every sample's k-th copy.
What is drawn for a sample therefore depends neither on the batch nor on the other samples, and the same
draws at several levels differ in strength only.
"""

import math
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.bounds import LARGEST_WHOLE, LEGAL_SLACK, Bound, ChannelBounds, bounds
from hardlabel.data.precision import check_precision

__all__ = [
    "LARGEST_WHOLE",
    "LEGAL_SLACK",
    "BinaryFeatures",
    "Box",
    "Domain",
    "NoiseLevel",
    "channel_bounds",
    "check_form",
    "check_shape",
    "check_whole",
    "corners",
    "infer_domain",
    "l2",
    "relaxed",
    "rounded",
]

WIDEST_SCALES = 100.0  # Standard deviations of columns may differ so many times where a domain is inferred.


@dataclass(frozen=True, order=True)
class NoiseLevel:
    """How strong noise is, sort by sort. A domain uses the sorts it has and ignores the others.

    Attributes:
        sigma: Standard deviation of Gaussian noise, 0 or more: in input units, or in widths of a channel where the
            domain has bounds per channel.
        flip: Probability in [0, 1] that a binary feature flips or a category is drawn anew.
        scaling: Of series: standard deviation of the logarithm of the factor by which a series swings wider, 0 or more.
        shift: Of series: largest shift in time, as a share of the length, in [0, 1].
        warp: Of series: standard deviation of the logarithm of the speed at which time passes, 0 or more.

    Raises:
        InvalidInput: A value is out of its range.

    Example:
        >>> from hardlabel.data.domain import NoiseLevel
        >>> str(NoiseLevel(sigma=0.1, flip=0.02)), NoiseLevel(sigma=0.05) < NoiseLevel(sigma=0.1)
        ('sigma 0.1, flip 0.02', True)
    """

    sigma: float = 0.0
    flip: float = 0.0
    scaling: float = 0.0
    shift: float = 0.0
    warp: float = 0.0

    def __post_init__(self) -> None:
        checks.not_negative(sigma=self.sigma, scaling=self.scaling, warp=self.warp)
        checks.probability(flip=self.flip, shift=self.shift)

    def __repr__(self) -> str:
        # Stored measurements have this text in their keys: levels without series read as they always did.
        series = [f", {name}={value!r}" for name, value in self._of_series().items() if value]
        return f"NoiseLevel(sigma={self.sigma!r}, flip={self.flip!r}{''.join(series)})"

    def __str__(self) -> str:
        parts = [f"sigma {self.sigma:g}"] * (self.sigma > 0) + [f"flip {self.flip:.3g}"] * (self.flip > 0)
        parts += [f"{name} {value:g}" for name, value in self._of_series().items() if value]
        return ", ".join(parts) or "none"

    def _of_series(self) -> dict[str, float]:
        return {"scaling": self.scaling, "shift": self.shift, "warp": self.warp}


class Domain(Protocol):
    """The role every domain plays. `shape` is one sample's; inputs are float32 tensors (n, *shape).

    Example:
        >>> import torch
        >>> from hardlabel import Box
        >>> from hardlabel.data.domain import Domain
        >>> domain: Domain = Box((2,))
        >>> domain.kind, domain.shape, domain.continuous
        ('continuous', (2,), True)
        >>> domain.clip(torch.tensor([[-1.0, 0.5]]))
        tensor([[0.0000, 0.5000]])
        >>> source = domain.noise_source(5, torch.Generator().manual_seed(0))
        >>> domain.noisy(torch.zeros(3, 2), source, domain.noise_levels[0]).shape  # 5 copies of each of 3 points.
        torch.Size([3, 5, 2])
    """

    @property
    def kind(self) -> str:
        """What users call it: "image", "continuous", "binary", "series" or "mixed table"."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one encoded sample."""
        ...

    @property
    def continuous(self) -> bool:
        """Whether `clip` gives a legal point near every point between two, as boundary searches need."""
        ...

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        """Levels among which a shadow model chooses, weakest first."""
        ...

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        """Refuses inputs that are not legal.

        Raises:
            InvalidInput: Wrong shape, NaN, or a value the domain does not contain.
        """
        ...

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        """The nearest legal points, in `out` if given, which may be `inputs`; only continuous domains can.

        Raises:
            InvalidInput: The domain is not continuous.
        """
        ...

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        """Raw randomness for `draws` noisy copies, shape (draws, width), shared by all samples."""
        ...

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        """Legal noisy copies (n, draws, *shape) of `inputs` (n, *shape)."""
        ...

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        """Legal points (count, *shape) that know nothing of the data."""
        ...

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances (n,) between paired points, float32, 0 or more."""
        ...


@dataclass(frozen=True)
class Box:
    """Points (n, *shape) between `lower` and `upper` in every coordinate; images where shape is (C, H, W).

    Noise is Gaussian, clipped to the box; the distance is L2. In a box of whole numbers (pixels of 0 to 255, counts)
    noisy copies, random points and clipped points are rounded to whole numbers, so that no question holds a fraction.

    Bounds are the same for all coordinates, or differ between channels. Channels lie along the first axis of `shape`;
    of a vector, each coordinate is a channel. With bounds per channel, noise and distance are measured in widths of
    each channel: a sigma of 0.1 is a tenth of each channel's width, and the distance between two opposite corners is
    the square root of the number of coordinates.

    Attributes:
        shape: Shape of one sample.
        lower: Smallest legal value, the same for every coordinate, or a tuple of one number per channel.
        upper: Largest legal value, likewise. If one of the two is a tuple, both become tuples.
        whole: Whether only whole numbers are legal.

    Raises:
        InvalidInput: A bound is not a finite number, `lower` is not below `upper`, there are not as many bounds as
            channels, or bounds of whole numbers are not whole or above 2**24 in size.

    Example:
        >>> from hardlabel import Box
        >>> Box((1, 28, 28), 0, 255, whole=True)
        Box(shape=(1, 28, 28), lower=0, upper=255, whole=True)
        >>> Box((3, 32, 32), (-2.1, -2.0, -1.8), (2.2, 2.4, 2.6)).noise_levels[0]
        NoiseLevel(sigma=0.02, flip=0.0)
    """

    shape: tuple[int, ...]
    lower: Bound = 0.0
    upper: Bound = 1.0
    whole: bool = False

    def __post_init__(self) -> None:
        check_shape(self.shape)
        channels = self.shape[0]
        lower, upper = bounds(self.lower, self.upper, channels=channels, whole=self.whole)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    def __repr__(self) -> str:
        # Stored measurements have this text in their keys: a box of any numbers reads as it always did.
        whole = ", whole=True" if self.whole else ""
        return f"Box(shape={self.shape!r}, lower={self.lower!r}, upper={self.upper!r}{whole})"

    @property
    def kind(self) -> str:
        return "image" if len(self.shape) == 3 else "continuous"

    @property
    def continuous(self) -> bool:
        return True

    @property
    def width(self) -> float:
        """The unit of noise and distances: upper - lower, or 1 where bounds differ between channels."""
        lower, upper = self._ends()
        return 1.0 if isinstance(self.lower, tuple) else upper - lower

    @property
    def channels(self) -> ChannelBounds | None:
        """The bounds of each channel; None where they are the same for all coordinates."""
        if isinstance(self.lower, tuple) and isinstance(self.upper, tuple):
            return ChannelBounds(self.shape, 0, self.lower, self.upper, self.whole)
        return None

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        # The authors' code has .02 to .10; robust models (and small images) need more to lose their label.
        return tuple(NoiseLevel(sigma=s * self.width) for s in (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5))

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        check_form(inputs, self.shape, name)
        check_precision(inputs, name)
        if self.channels:
            self.channels.check(inputs, name)
        elif len(inputs):
            lower, upper = self._ends()
            slack = 0.0 if self.whole else LEGAL_SLACK * (upper - lower)
            least, most = float(inputs.min()), float(inputs.max())
            if not (least >= lower - slack and most <= upper + slack):
                ends = (lower, upper, least, most)
                digits = ".17g" if len({f"{end:g}" for end in ends}) < len(set(ends)) else "g"
                low, high, first, last = (format(end, digits) for end in ends)
                raise InvalidInput(f"{name} must lie in [{low}, {high}], got values from {first} to {last}")
        if self.whole:
            check_whole(inputs, name)

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        if self.channels:
            return self.channels.clip(inputs, out=out)
        clipped = torch.clamp(inputs, *self._ends(), out=out)
        return clipped.round_() if self.whole else clipped

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        return torch.randn(draws, _width(self.shape), generator=generator)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        noise = source.to(inputs.device).reshape(1, len(source), *self.shape)
        if self.channels:
            copies = inputs[:, None] + level.sigma * self.channels.widths.to(inputs.device) * noise
            return self.channels.clip(copies, out=copies)
        copies = (inputs[:, None] + level.sigma * noise).clamp_(*self._ends())
        return copies.round_() if self.whole else copies

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(count, *self.shape, generator=generator)
        if self.channels:
            return self.channels.random(uniform)
        lower, upper = self._ends()
        if self.whole:
            # In float64: every whole number is drawn alike, and float32 would round a draw up to the next one.
            drawn = lower + (uniform.double() * (upper - lower + 1)).floor()
            return drawn.clamp(max=upper).to(torch.float32)
        return lower + (upper - lower) * uniform

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        differences = first - second
        return l2(differences / self.channels.widths.to(differences.device) if self.channels else differences)

    def _ends(self) -> tuple[float, float]:
        """The bounds of a box that has the same for all coordinates; of others those of the first channel."""
        lower, upper = (edge[0] if isinstance(edge, tuple) else edge for edge in (self.lower, self.upper))
        return lower, upper


@dataclass(frozen=True)
class BinaryFeatures:
    """Vectors (n, features) of 0s and 1s.

    Noise flips each bit with probability `flip`; the distance is Hamming's, the number of bits that differ.

    Attributes:
        features: Number of bits, 1 or more.

    Raises:
        InvalidInput: `features` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel import BinaryFeatures
        >>> domain = BinaryFeatures(4)
        >>> domain.distance(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
        tensor([2.])
        >>> domain.check(torch.tensor([[0.5, 0.0, 0.0, 0.0]]))
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: inputs must be 0 or 1 in a binary domain, got 0.5
    """

    features: int

    def __post_init__(self) -> None:
        checks.positive(features=self.features)

    @property
    def kind(self) -> str:
        return "binary"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.features,)

    @property
    def continuous(self) -> bool:
        return False

    @property
    def noise_levels(self) -> tuple[NoiseLevel, ...]:
        # Expected flips; the authors' code has 1 to 10, overfit sparse data needs more to lose its label.
        flips = (1, 2, 3, 5, 10, 20, 30, 40, 60, 80, 120)
        return tuple(NoiseLevel(flip=f / self.features) for f in flips if f <= self.features / 2) or (
            NoiseLevel(flip=0.25),
        )

    def check(self, inputs: Tensor, name: str = "inputs") -> None:
        check_form(inputs, self.shape, name)
        wrong = inputs[(inputs != 0) & (inputs != 1)]
        if len(wrong):
            raise InvalidInput(f"{name} must be 0 or 1 in a binary domain, got {float(wrong[0]):g}")

    def clip(self, inputs: Tensor, *, out: Tensor | None = None) -> Tensor:
        raise InvalidInput("a binary domain has no points between 0 and 1 to clip to")

    def noise_source(self, draws: int, generator: torch.Generator) -> Tensor:
        return torch.rand(draws, self.features, generator=generator)

    def noisy(self, inputs: Tensor, source: Tensor, level: NoiseLevel) -> Tensor:
        flips = (source.to(inputs.device) < level.flip).to(inputs.dtype)
        return (inputs[:, None] - flips).abs()

    def random(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2, (count, self.features), generator=generator).to(torch.float32)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        return (first != second).flatten(1).sum(1).to(torch.float32)


def infer_domain(inputs: Tensor) -> Domain:
    """The domain that `inputs` of any type seem to come from.

    Images (n, C, H, W): the first of the boxes [0, 1], [-1, 1], [0, 255] that holds every value, else the
    least box with whole bounds. Images of integers or booleans get such a box of whole numbers only. Vectors (n, d):
    BinaryFeatures where all values are 0 or 1, else the least box with whole bounds; other vectors of integers are
    refused, since integers may be codes.

    Raises:
        InvalidInput: Another number of axes, no rows or no features, NaN or infinity; images with channels last;
            vectors of integers that are not all 0 or 1; vectors whose columns differ in scale more than
            WIDEST_SCALES times.

    Example:
        >>> import torch
        >>> from hardlabel.data.domain import infer_domain
        >>> infer_domain(torch.tensor([[0.5, 2.0]]))
        Box(shape=(2,), lower=0.0, upper=2.0)
    """
    integers = not inputs.is_floating_point()
    if inputs.dtype == torch.bool:
        inputs = inputs.to(torch.uint8)
    if inputs.ndim not in (2, 4) or not inputs.numel():
        raise InvalidInput(
            f"inputs must be images (n, C, H, W) or vectors (n, d), none of them empty, got {tuple(inputs.shape)}; for "
            "series pass domain=hardlabel.Series.of(inputs), for other shapes hardlabel.Box(shape, lowest, highest)"
        )
    if not bool(torch.isfinite(inputs).all()):
        raise InvalidInput("inputs must be finite, got NaN or infinity; a missing value must be declared")
    shape = tuple(inputs.shape[1:])
    if inputs.ndim == 4 and shape[-1] in (1, 3) and shape[0] not in (1, 3):
        raise InvalidInput(
            f"images must have their channels first, (n, C, H, W), got {tuple(inputs.shape)}: "
            "put the last axis second, or pass domain= if it is no axis of channels"
        )
    if inputs.ndim == 2 and bool(((inputs == 0) | (inputs == 1)).all()):
        return BinaryFeatures(shape[0])
    if inputs.ndim == 2 and integers:
        raise InvalidInput(
            f"inputs of whole numbers (n, d) need domain=, got type {str(inputs.dtype).removeprefix('torch.')} with "
            f"values from {int(inputs.min())} to {int(inputs.max())}: whole numbers may be codes, token ids, counts or "
            "measurements. For codes pass a hardlabel.MixedTable and its encoded rows; for token ids pass "
            "domain=hardlabel.Tokens.of(ids, padding=0); for counts pass "
            f"domain=hardlabel.Box({shape}, lowest, highest, whole=True); measurements are given as floats"
        )
    if inputs.ndim == 2:
        _refuse_unlike_scales(inputs)
    lower, upper = float(inputs.min()), float(inputs.max())
    if inputs.ndim == 4:
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
            if low <= lower and upper <= high:
                return Box(shape, low, high, whole=integers)
    low, high = float(np.floor(lower)), float(np.ceil(upper))
    # Samples are kept in float32, which may round a large number out of these bounds.
    kept = inputs.to(torch.float32)
    slack = LEGAL_SLACK * (high - low)
    low = low if float(kept.min()) >= low - slack else float(np.floor(float(kept.min())))
    high = high if float(kept.max()) <= high + slack else float(np.ceil(float(kept.max())))
    return Box(shape, low, high if high > low else low + 1.0, whole=integers)


def relaxed(domain: Domain) -> Domain:
    """The same domain with fractions legal: where gradients move a point before it is rounded once, at the end.

    Any `domain` that is not of whole numbers is returned as it is.

    Example:
        >>> from hardlabel import Box
        >>> from hardlabel.data.domain import relaxed
        >>> relaxed(Box((2,), 0, 255, whole=True))
        Box(shape=(2,), lower=0, upper=255)
    """
    return cast(Domain, replace(cast(Any, domain), whole=False)) if _whole(domain) else domain


def rounded(domain: Domain, points: Tensor) -> Tensor:
    """The `points` (n, *shape) of `relaxed(domain)`, made whole where `domain` asks for it, else as they are.

    Example:
        >>> import torch
        >>> from hardlabel import Box
        >>> from hardlabel.data.domain import rounded
        >>> rounded(Box((2,), 0, 255, whole=True), torch.tensor([[0.4, 254.6]]))
        tensor([[  0., 255.]])
    """
    return domain.clip(points) if _whole(domain) else points


def channel_bounds(domain: Domain) -> ChannelBounds | None:
    """The bounds of each channel of a domain whose distances and noise count in widths of channels; elsewhere None.

    Example:
        >>> from hardlabel import Box
        >>> from hardlabel.data.domain import channel_bounds
        >>> channel_bounds(Box((2,), 0, (1, 10))).widths
        tensor([ 1., 10.])
        >>> channel_bounds(Box((2,))) is None
        True
    """
    channels = getattr(domain, "channels", None)
    return channels if isinstance(channels, ChannelBounds) else None


def _whole(domain: Domain) -> bool:
    return is_dataclass(domain) and domain.continuous and getattr(domain, "whole", False) is True


def _refuse_unlike_scales(inputs: Tensor) -> None:
    varying = (inputs != inputs[0]).any(0).nonzero().flatten()
    if not len(varying):
        return
    spread = inputs[:, varying].double().std(0, correction=0)
    least, most = int(spread.argmin()), int(spread.argmax())
    if float(spread[most]) > WIDEST_SCALES * float(spread[least]):
        raise InvalidInput(
            f"columns must have standard deviations within a factor of {WIDEST_SCALES:g}, got "
            f"{float(spread[least]):.3g} in column {int(varying[least])} and {float(spread[most]):.3g} in column "
            f"{int(varying[most])}: no noise level suits both; standardise the columns or pass domain="
        )


def l2(differences: Tensor) -> Tensor:
    """Euclidean lengths (n,) of `differences` (n, *shape), float32.

    Summed in float64: the rounding of a float32 sum depends on how many rows are summed together.

    Example:
        >>> import torch
        >>> from hardlabel.data.domain import l2
        >>> l2(torch.tensor([[3.0, 4.0]]))
        tensor([5.])
    """
    return differences.flatten(1).double().square().sum(1).sqrt().to(torch.float32)


def corners(domain: Domain, like: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest legal values of a continuous domain, (1, *shape) each.

    Args:
        domain: The domain.
        like: Points (n, *shape), at least one; the values have their type and lie on their device.

    Raises:
        InvalidInput: The domain is not continuous.

    Example:
        >>> import torch
        >>> from hardlabel import Box
        >>> from hardlabel.data.domain import corners
        >>> corners(Box((2,), 0, (1, 10)), torch.zeros(5, 2))
        (tensor([[0., 0.]]), tensor([[ 1., 10.]]))
    """
    endless = torch.full_like(like[:1], math.inf)
    return domain.clip(-endless), domain.clip(endless)


def check_form(inputs: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Refuses inputs whose shape is not (n, *shape) or that hold NaN or infinity; errors call them `name`.

    Raises:
        InvalidInput: They are of another shape, or a value is not finite.

    Example:
        >>> import torch
        >>> from hardlabel.data.domain import check_form
        >>> check_form(torch.zeros(3, 2), (4,), "inputs")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: inputs must have shape (n, 4), got (3, 2)
    """
    if tuple(inputs.shape[1:]) != shape or inputs.ndim == 0:
        raise InvalidInput(f"{name} must have shape (n, {', '.join(map(str, shape))}), got {tuple(inputs.shape)}")
    if not bool(torch.isfinite(inputs).all()):
        row = int((~torch.isfinite(inputs)).flatten(1).any(1).nonzero()[0])
        raise InvalidInput(f"{name} must be finite, got NaN or infinity in row {row}; a missing value must be declared")


def check_whole(inputs: Tensor, name: str) -> None:
    """Refuses inputs (n, *shape) that hold a fraction; errors call them `name`.

    Raises:
        InvalidInput: A value is not whole.

    Example:
        >>> import torch
        >>> from hardlabel.data.domain import check_whole
        >>> check_whole(torch.tensor([[1.0, 0.5]]), "inputs")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: inputs must be whole numbers in a domain with whole=True, got 0.5 in row 0; ...
    """
    if not inputs.is_floating_point():
        return
    fractions = inputs != inputs.round()
    if bool(fractions.any()):
        row = int(fractions.flatten(1).any(1).nonzero()[0])
        raise InvalidInput(
            f"{name} must be whole numbers in a domain with whole=True, got {float(inputs[fractions][0]):g} "
            f"in row {row}; fractions are legal without whole=True"
        )


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuses a shape without axes or with an axis of no length.

    Raises:
        InvalidInput: The shape is empty, or a size is below 1.

    Example:
        >>> from hardlabel.data.domain import check_shape
        >>> check_shape((3, 0))
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: shape must list positive sizes, got (3, 0)
    """
    if not shape or any(side < 1 for side in shape):
        raise InvalidInput(f"shape must list positive sizes, got {shape}")


def _width(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())

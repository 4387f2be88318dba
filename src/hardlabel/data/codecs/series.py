"""Series as the caller has them: arrays or tensors (n, t) or (n, t, c), whole numbers or floats."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.forms import Form, form_of, points_of
from hardlabel.data.series import Series


@dataclass(frozen=True)
class SeriesCodec:
    """Turns series into points of a `Series` domain, and points into series of the caller's container and type.

    Series of whole numbers stay whole. Float64 is rounded to float32; half floats round what attacks ask.

    Attributes:
        domain: The series' length, channels and bounds.
        form: Their container and type.

    Example:
        >>> import numpy as np
        >>> from hardlabel.data.codecs.series import SeriesCodec
        >>> counts = np.array([[1, 5, 2], [0, 3, 9]], dtype="int32")
        >>> codec = SeriesCodec.fit({"members": counts})
        >>> codec.domain
        Series(shape=(3,), lower=0, upper=9, whole=True)
        >>> codec.decode(codec.encode(counts)).dtype
        dtype('int32')
    """

    domain: Series
    form: Form

    @classmethod
    def fit(cls, groups: Mapping[str, Any], domain: Series | None = None) -> "SeriesCodec":
        """The codec for all groups of series.

        Args:
            groups: Arrays or tensors (n, t) or (n, t, c) by name, such as "members"; none of them empty. Series are
                given back in the form of the first.
            domain: The legal series; None for those within the bounds of the groups, channel by channel.

        Raises:
            InvalidInput: No group, groups of unlike shapes, whole numbers beside floats, another number of axes, NaN or
                infinity, whole numbers above 2**24, or values outside the domain.
        """
        forms = {name: form_of(given, name) for name, given in groups.items()}
        if len({form.whole for form in forms.values()}) != 1:
            listed = ", ".join(f"{name} {form.dtype}" for name, form in forms.items()) or "no array"
            raise InvalidInput(f"series must all be whole numbers or all be floats, got {listed}")
        form = next(iter(forms.values()))
        codec = cls(Series.of(*groups.values()) if domain is None else domain, form)
        if form.whole and not codec.domain.whole:
            raise InvalidInput(f"domain must have whole=True for series of type {form.dtype}, got {codec.domain}")
        if domain is not None:
            for name, given in groups.items():
                codec.encode(given, name)
        return codec

    @property
    def summary(self) -> str:
        """What the caller gave, in a few words."""
        length, *channels = self.domain.shape
        count = f" and {channels[0]} channel{'s' * (channels[0] > 1)}" if channels else ""
        return f"{self.form.dtype} series of {length} steps{count}"

    def encode(self, given: Any, name: str = "inputs") -> Tensor:
        """Points (n, *shape), float32, of series of the codec's type.

        Raises:
            InvalidInput: Floats for whole numbers or the reverse, another shape, NaN or infinity, or a value that the
                domain does not contain.
        """
        form = form_of(given, name)
        if form.whole != self.form.whole:
            raise InvalidInput(f"{name} must be series of type {self.form.dtype}, got {form.dtype}")
        points = points_of(given, name)
        self.domain.check(points, name)
        return points

    def decode(self, points: Tensor) -> Any:
        """The series that points (n, *shape) stand for, in new memory."""
        return self.form.restored(points)

    def tensor(self, points: Tensor) -> Tensor:
        """The series as a tensor of floats with the gradients of the points (n, *shape): the points."""
        return points

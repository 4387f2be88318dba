"""The role of a codec: between what the caller has and the points of a domain."""

from typing import Any, Protocol, TypeGuard

from torch import Tensor

from hardlabel.data.domain import Domain


class Codec(Protocol):
    """Turns what the caller gave into float32 points of a domain, and any legal point back into exactly that.

    A codec is a frozen dataclass, so that it can be compared, pickled and hashed by joblib. It holds no samples.

    `decode(encode(given))` equals `given`, with its types, for all that the caller gave. `encode(decode(points))`
    equals `points` for these, and for other legal points within the rounding of the caller's type.
    """

    @property
    def domain(self) -> Domain:
        """Which points are legal."""
        ...

    @property
    def summary(self) -> str:
        """What the caller gave, in a few words without names or values: "a table of 14 columns, 8 of categories"."""
        ...

    def encode(self, given: Any, name: str = "inputs") -> Tensor:
        """Legal points (n, *domain.shape), float32; `name` is what errors call the argument.

        Raises:
            InvalidInput: A value is of another type than those the codec was made for, or is not legal.
        """
        ...

    def decode(self, points: Tensor) -> Any:
        """What legal points (n, *domain.shape) stand for, in the container and with the types that the caller gave.

        The result is new with every call: whoever gets it may write into it.
        """
        ...


def is_codec(value: object) -> TypeGuard[Codec]:
    """Whether an object is a codec, and not a domain: a table encodes frames too, but has no domain beside itself."""
    return callable(getattr(value, "encode", None)) and hasattr(value, "domain")

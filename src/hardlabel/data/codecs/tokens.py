"""Arrays of token ids as the caller has them: NumPy or PyTorch, of any integer type."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.tokens import Tokens

ARRAY, TENSOR = "array", "tensor"


@dataclass(frozen=True, kw_only=True)
class TokenCodec:
    """Ids (n, t) of the caller's type and points of `Tokens`; see `Codec`.

    Attributes:
        domain: Which ids are legal, and which may be replaced.
        container: "array" (NumPy) or "tensor" (PyTorch).
        dtype: The integer type that decoded ids have, such as "int64".

    Raises:
        InvalidInput: The container or type is none of these, or the type cannot hold the largest id.

    Example:
        >>> import hardlabel
        >>> import numpy as np
        >>> from hardlabel.data.codecs.tokens import TokenCodec
        >>> ids = np.array([[1, 5, 7, 0], [1, 6, 0, 0]], dtype=np.int32)
        >>> codec = TokenCodec.fit({"members": ids}, hardlabel.Tokens.of(ids, padding=0, kept=[1]))
        >>> codec.decode(codec.encode(ids)).dtype
        dtype('int32')
    """

    domain: Tokens
    container: str = ARRAY
    dtype: str = "int64"

    def __post_init__(self) -> None:
        if self.container not in (ARRAY, TENSOR):
            raise InvalidInput(f"container must be {ARRAY!r} or {TENSOR!r}, got {self.container!r}")
        try:
            largest = np.iinfo(self.dtype).max
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"dtype must be an integer type such as 'int64', got {self.dtype!r}") from error
        if self.domain.vocabulary - 1 > largest:
            raise InvalidInput(
                f"ids must have a type that holds {self.domain.vocabulary - 1}, the largest one of the domain, got "
                f"{self.dtype}: convert them to int64"
            )

    @classmethod
    def fit(cls, groups: Mapping[str, ArrayLike | Tensor], domain: Tokens) -> "TokenCodec":
        """The codec of the ids (n, t) of all groups. Decoded ids have the container and type of the first group.

        Raises:
            InvalidInput: No group; ids that are not whole numbers (n, t), not of the first group's type, or not legal.
        """
        if not groups:
            raise InvalidInput("groups must hold at least one array of ids, got none")
        name, ids = next(iter(groups.items()))
        container = TENSOR if isinstance(ids, Tensor) else ARRAY
        made = cls(domain=domain, container=container, dtype=_array(ids, name).dtype.name)
        for group, given in groups.items():
            made.encode(given, group)
        return made

    @property
    def summary(self) -> str:
        return f"token ids ({self.dtype}), {self.domain.length} to a sequence"

    def encode(self, given: ArrayLike | Tensor, name: str = "inputs") -> Tensor:
        """Points (n, t), float32, of ids (n, t).

        Raises:
            InvalidInput: Another type than the codec's, or ids that are not legal.
        """
        array = _array(given, name)
        if array.dtype.name != self.dtype:
            raise InvalidInput(f"{name} must be {self.dtype} as the other ids, got {array.dtype}: convert them")
        if array.size and (int(array.min()) < 0 or int(array.max()) >= self.domain.vocabulary):
            # As given: float32 rounds large numbers.
            raise InvalidInput(
                f"{name} must be ids from 0 to {self.domain.vocabulary - 1}, got ids from {int(array.min())} to "
                f"{int(array.max())}; vocabulary= of hardlabel.Tokens says how many there are"
            )
        points = torch.from_numpy(array.astype(np.float32))
        self.domain.check(points, name)
        return points

    def decode(self, points: Tensor) -> NDArray[np.integer] | Tensor:
        """Ids (n, t) of points (n, t), in the caller's container and type, on the CPU.

        Raises:
            InvalidInput: A point is not legal.
        """
        self.domain.check(points, "points")
        ids = points.detach().cpu()
        if self.container == TENSOR:
            return ids.to(getattr(torch, self.dtype))
        return ids.numpy().astype(self.dtype)


def _array(ids: ArrayLike | Tensor, name: str) -> NDArray[np.integer]:
    array = ids.detach().cpu().numpy() if isinstance(ids, Tensor) else np.asarray(ids)
    if array.ndim != 2 or array.dtype.kind not in "iu":
        raise InvalidInput(
            f"{name} must be ids, whole numbers (n, t), got {array.dtype} {array.shape}: pad sequences to one length, "
            "and give an integer type such as int64"
        )
    return array

"""The form of numbers that a caller gave, a container and a type, so that points can be given back in it."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.bounds import LARGEST_WHOLE
from hardlabel.data.precision import check_precision


@dataclass(frozen=True)
class Form:
    """A container and a type of numbers.

    Attributes:
        container: "numpy" for arrays, "torch" for tensors.
        dtype: The type's name, such as "uint8" or "float64"; of arrays in a foreign byte order NumPy's code.
    """

    container: Literal["numpy", "torch"]
    dtype: str

    @property
    def whole(self) -> bool:
        """Whether the type holds whole numbers or truth values only."""
        if self.container == "torch":
            return not self._torch.is_floating_point
        return np.dtype(self.dtype).kind in "biu"

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest number of a type of whole numbers; elsewhere infinities."""
        if not self.whole:
            return -np.inf, np.inf
        if self.dtype == "bool":
            return 0, 1
        limits = torch.iinfo(self._torch) if self.container == "torch" else np.iinfo(self.dtype)
        return limits.min, limits.max

    def restored(self, points: Tensor) -> Any:
        """The points (n, ...) as an array on the CPU or a tensor on their device, in new memory.

        Whole numbers are rounded to the nearest; half-precision floats round as usual.
        """
        values = points.detach()
        values = values.round() if self.whole else values
        if self.container == "torch":
            return values.to(self._torch, copy=True, memory_format=torch.contiguous_format)
        return values.cpu().numpy().astype(self.dtype, order="C", copy=True)

    @property
    def _torch(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


def form_of(given: Any, name: str) -> Form:
    """The form of an array or a tensor; anything else that NumPy can read counts as an array.

    Raises:
        InvalidInput: It holds no real numbers.
    """
    if isinstance(given, Tensor):
        if given.is_complex() or given.is_quantized:
            dtype = str(given.dtype).removeprefix("torch.")
            raise InvalidInput(f"{name} must hold arrays of real numbers, got inputs of type {dtype}")
        return Form("torch", str(given.dtype).removeprefix("torch."))
    array = _array(given, name)
    return Form("numpy", array.dtype.name if array.dtype.isnative else array.dtype.str)


def points_of(given: Any, name: str) -> Tensor:
    """The numbers as float32 on the CPU.

    Raises:
        InvalidInput: They are no real numbers; or whole numbers above 2**24 in size, or others so close together, that
            float32 cannot tell them apart.

    Example:
        >>> import numpy as np
        >>> from hardlabel.data.forms import points_of
        >>> points_of(np.array([[0, 255]], dtype="uint8"), "members")
        tensor([[  0., 255.]])
    """
    form = form_of(given, name)
    if isinstance(given, Tensor):
        values = given.detach().cpu()
        check_precision(values, name)
        points = values.to(torch.float32)
    else:
        array = _array(given, name)
        if array.dtype.kind == "f" and array.dtype.itemsize == 8:
            check_precision(torch.from_numpy(array.astype(np.float64)), name)
        with np.errstate(over="ignore"):  # An infinity is refused by the domain.
            points = torch.from_numpy(array.astype(np.float32))
    if form.whole and form.range[1] > LARGEST_WHOLE and points.numel():
        # Compared exactly: 2**24 + 1 rounds to 2**24.
        exact = given.detach().cpu().to(torch.int64).numpy() if isinstance(given, Tensor) else _array(given, name)
        largest = max(int(exact.max()), int(exact.min()), key=abs)
        if abs(largest) > LARGEST_WHOLE:
            raise InvalidInput(
                f"{name} must hold whole numbers up to 2**24 = {LARGEST_WHOLE} in size, which float32 holds exactly, "
                f"got {largest}: rescale measurements and give them as floats"
            )
    return points


def _array(given: Any, name: str) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be an array of numbers ({' '.join(str(error).split())})") from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"{name} must hold arrays of real numbers, got inputs of type {array.dtype}")
    return array

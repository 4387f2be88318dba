"""The threat model as types: a LabelOracle answers with classes, only a ScoreOracle with confidences.

A label-only signal receives a `LabelOracle`, which has no way to scores. Any object with the method fits.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class LabelOracle(Protocol):
    """A classifier that answers with a hard label."""

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Labels `inputs` (q, *shape), float32; query i is charged to sample `ids[i]`.

        Returns:
            Classes, 0 or more, int64 (q,), on the inputs' device.
        """
        ...


@runtime_checkable
class ScoreOracle(Protocol):
    """A classifier that shows its confidence vector; for baselines only."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Logarithms of the confidence vectors of `inputs` (q, *shape), charged like `ask`.

        Logarithms, because float32 confidences near 1 all round to 1 while their logarithms stay apart.

        Returns:
            Log probabilities (q, classes), float32, 0 or less, on the inputs' device.
        """
        ...

"""No calibration but a threshold: the score is the signal's own value."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.calibrations.base import References
from hardlabel.checks import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Scores a sample by its signal, which must be one number per sample: values (n, 1) become scores (n,).

    The threshold is fixed in advance (the gap attack says "member" for every right label) or chosen later
    on the shadow model's scores. The score needs no references, only the threshold does.

    Attributes:
        fixed: The threshold, where it is known without a shadow model.

    References:
        Choquette-Choo et al. (2021), section 3: one threshold for all samples, from a local shadow model.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.threshold import Threshold
        >>> fitted = Threshold(fixed=0.5).fit(None, seed=0)
        >>> fitted.score(torch.tensor([[0.25], [0.75]]), torch.tensor([0, 0])).tolist(), fitted.threshold
        ([0.25, 0.75], 0.5)
    """

    per_sample: ClassVar[bool] = False
    requires_references: ClassVar[bool] = False
    fixed: float | None = None

    def __str__(self) -> str:
        return "none" if self.fixed is not None else "threshold from the shadow model"

    def fit(self, references: References | None, *, seed: int) -> "FittedThreshold":
        """See `Calibration`; references, if there are any, only show their scores.

        Raises:
            InvalidInput: The references' values have more than one column.
        """
        del seed  # Nothing is drawn.
        own = None if references is None else torch.stack([_only_column(values) for values in references.values])
        return FittedThreshold(self.fixed, own)


@dataclass(frozen=True, kw_only=True)
class RandomThreshold:
    """Scores a sample by its signal, with a threshold taken from random inputs: no shadow model at all.

    The signal is measured on `inputs` random legal points, with the labels that the target gives them. Nobody trained
    on these points, so the threshold is the value that `share` of them fall below. Values (n, 1) become scores (n,).
    All of it is overhead: 1 query per input for its label, and the queries of the signal.

    Attributes:
        inputs: Number of random inputs, 1 or more.
        share: Strictly between 0 and 1.

    References:
        Li & Zhang (2021), "Membership Leakage in Label-Only Exposures", section 5 (threshold without shadow data); they
        take a top percentile of the random inputs' distances; which percentile is a setting.

    Raises:
        InvalidInput: `inputs` is below 1, or `share` not between 0 and 1.

    Example:
        >>> import torch
        >>> from hardlabel.calibrations.threshold import RandomThreshold
        >>> RandomThreshold(share=0.5).threshold_of(torch.tensor([[1.0], [2.0], [4.0]]))
        2.0
    """

    per_sample: ClassVar[bool] = False
    requires_references: ClassVar[bool] = False
    inputs: int = 50
    share: float = 0.5

    def __post_init__(self) -> None:
        checks.at_least(1, inputs=self.inputs)
        checks.open_fraction(share=self.share)

    def __str__(self) -> str:
        return f"threshold from {self.inputs} random inputs"

    def fit(self, references: References | None, *, seed: int) -> "FittedThreshold":
        """See `Calibration`; neither references nor seed are used."""
        del references, seed  # A shadow model would make a threshold of its own.
        return FittedThreshold(None, None)

    def threshold_of(self, values: Tensor) -> float:
        """The threshold, given the random inputs' values (m, 1).

        Raises:
            InvalidInput: The values have more than one column.
        """
        return float(_only_column(values).quantile(self.share))


@dataclass(frozen=True, eq=False)
class FittedThreshold:
    """See `Fitted`."""

    threshold: float | None
    reference_scores: Tensor | None

    def score(self, values: Tensor, labels: Tensor) -> Tensor:
        del labels
        return _only_column(values)


def _only_column(values: Tensor) -> Tensor:
    if values.ndim != 2 or values.shape[1] != 1:
        raise InvalidInput(f"values must have one column to be compared with a threshold, got {tuple(values.shape)}")
    return values[:, 0].double().cpu()

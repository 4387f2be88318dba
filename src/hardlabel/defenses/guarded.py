"""Guarded models: oracles around an oracle."""

from collections.abc import Callable

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.oracles.base import LOWEST, LabelOracle, ScoreOracle

Masking = Callable[[Tensor, Tensor], Tensor]  # Inputs (q, ...) and confidences (q, classes) to confidences.


class GuardedLabels:
    """A model that answers with labels only, and perhaps not its own."""

    def __init__(self, ask: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._ask = ask

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Classes (q,), int64; see `LabelOracle`."""
        return self._ask(inputs, ids)


class GuardedScores:
    """A model whose labels stay and whose confidences are masked.

    `ask` hands the model's own answer on. Masked vectors are distributions whose highest entry is the label's.

    Args:
        inner: The model, with confidences.
        mask: Confidences (q, classes), float64, for the inputs and the true confidences (float64); what it does
            beyond float32's precision is lost.
    """

    def __init__(self, inner: ScoreOracle, mask: Masking) -> None:
        self._inner, self._mask = inner, mask

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """The model's own classes (q,), int64."""
        if isinstance(self._inner, LabelOracle):
            return self._inner.ask(inputs, ids)
        return self._inner.ask_scores(inputs, ids).argmax(1)

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        """Logarithms of the masked confidences (q, classes), float32, none below LOWEST."""
        true = self._inner.ask_scores(inputs, ids)
        shown = self._mask(inputs, true.double().exp())
        return keeping(true.argmax(1), shown.log().clamp(min=LOWEST, max=0.0).float())


def keeping(labels: Tensor, scores: Tensor) -> Tensor:
    """Log confidences (q, classes) whose highest entry is the label's; others are handed on.

    Where another one is higher, the two change places; where they tie, the label's moves up by one step of float32.
    """
    rows = torch.arange(len(scores), device=scores.device)
    highest = scores.argmax(1)
    scores = scores.clone()
    own, other = scores[rows, labels], scores[rows, highest]
    scores[rows, labels], scores[rows, highest] = other, own
    wrong = scores.argmax(1) != labels
    if bool(wrong.any()):
        up = torch.nextafter(scores[rows, labels], torch.zeros((), device=scores.device))
        scores[rows[wrong], labels[wrong]] = up[wrong]
    return scores


def with_scores(model: object, name: str) -> ScoreOracle:
    """The model as one that shows confidences.

    Raises:
        InvalidInput: It does not.
    """
    if not isinstance(model, ScoreOracle):
        raise InvalidInput(f"defense {name!r} needs a model that shows confidences, got one that answers with labels")
    return model

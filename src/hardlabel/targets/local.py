"""A model of this process as an `Endpoint`, so that a ledger is kept of what it is asked."""

from typing import Any

import torch
from torch import Tensor

from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.oracles.paid import Outcome

MOST_ROWS = 4096


class LocalEndpoint:
    """A model of this process; it is asked by one thread at a time, about points.

    Args:
        labels: Answers with labels.
        scores: Answers with log probabilities; None if the model shows none.
        identity: What names the model.

    Example:
        >>> import torch
        >>> from hardlabel.targets.local import LocalEndpoint
        >>> class Sign:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0).long()
        >>> LocalEndpoint(Sign(), None, "sign").attempt(torch.tensor([[2.0]]), timeout=1.0).labels
        tensor([1])
    """

    most_rows, at_once = MOST_ROWS, 1

    def __init__(self, labels: LabelOracle, scores: ScoreOracle | None, identity: str) -> None:
        self._labels, self._scores, self.identity = labels, scores, identity

    def attempt(self, rows: Any, *, timeout: float) -> Outcome:
        """Asks the model about points (n, *shape); what it raises ends the audit."""
        del timeout
        points = torch.as_tensor(rows)
        ids: Tensor = torch.zeros(len(points), dtype=torch.int64)
        labels = self._labels.ask(points, ids)
        scores = None if self._scores is None else self._scores.ask_scores(points, ids)
        return Outcome.answered(labels, scores=scores)

"""What an attacker reads who sees the confidence vector: the baselines that label-only attacks are held against."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import ScoreOracle
from hardlabel.signals.base import Access, Knowledge, Measurement

LOWEST = -50.0  # Log probabilities are cut here: log 0 stays finite, no hopeless class rules an attack network.


class Statistic(StrEnum):
    """What is read from a confidence vector p of a sample with true class y; all but VECTOR are one number.

    CONFIDENCE is p_y as an endpoint shows it, in float32. LOSS is log p_y, which stays apart where p_y rounds to
    1. LOGIT is log p_y - log(1 - p_y), which is close to normal over models (Carlini et al. 2022, section IV-B).
    ENTROPY is sum p log p. MODIFIED_ENTROPY is (1 - p_y) log p_y + sum over j != y of p_j log(1 - p_j)
    (Song & Mittal 2021, section 3). VECTOR is log p, true class first, the others in falling order. Logarithms
    below LOWEST count as LOWEST.
    """

    CONFIDENCE = "true-class confidence"
    LOSS = "log loss"
    LOGIT = "logit confidence"
    ENTROPY = "entropy"
    MODIFIED_ENTROPY = "modified entropy"
    VECTOR = "confidence vector"


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """A statistic of the confidence vector, signed so that higher means likelier a member. Costs 1 query per sample.

    Values are (n, 1), but (n, classes) for VECTOR. CONFIDENCE lies in [0, 1]. LOSS, VECTOR and LOGIT are in nats, none
    below LOWEST; LOGIT is at most -LOWEST. ENTROPY and MODIFIED_ENTROPY are in nats too, 0 or less.

    Attributes:
        statistic: What is read from the vector.

    References:
        Yeom et al. (2018) for the loss; Salem et al. (2019) for confidence and entropy; Song & Mittal (2021).

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.confidence import Confidence, Statistic
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([1 - inputs, inputs], 1).log()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> signal = Confidence(statistic=Statistic.CONFIDENCE)
        >>> signal.prepare(samples, Knowledge(), seed=0).measure(Model()).values
        tensor([[0.8000],
                [0.1000]])
    """

    access: ClassVar[Access] = Access.SCORES
    statistic: Statistic

    def __str__(self) -> str:
        return str(self.statistic)

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "ConfidencePlan":
        """Keeps the samples; asks nothing. The plan refuses a label that is none of the classes shown."""
        del knowledge, seed  # One look at each sample.
        return ConfidencePlan(self, samples)


@dataclass(frozen=True, eq=False)
class ConfidencePlan:
    """See `ScorePlan`."""

    signal: Confidence
    samples: Samples
    queries: ClassVar[tuple[int, int]] = (1, 1)

    def measure(self, oracle: ScoreOracle) -> Measurement:
        labels = self.samples.labels
        logs = oracle.ask_scores(self.samples.inputs, self.samples.ids)
        if len(labels) and int(labels.max()) >= logs.shape[1]:
            raise InvalidInput(f"labels must be below the {logs.shape[1]} classes shown, got {int(labels.max())}")
        values = _READERS[self.signal.statistic](logs, labels)
        return Measurement(
            values.reshape(len(self.samples), -1).float(),
            torch.ones(len(self.samples), dtype=torch.int64),
            torch.ones(len(self.samples), dtype=torch.bool),
        )


def _true_class(logs: Tensor, labels: Tensor) -> Tensor:
    return logs.gather(1, labels[:, None])[:, 0]


def _logit(logs: Tensor, labels: Tensor) -> Tensor:
    rest = logs.double().scatter(1, labels[:, None], -torch.inf).logsumexp(1)  # No 1 - p: no cancellation.
    return (_true_class(logs, labels).double() - rest).clamp(LOWEST, -LOWEST)


def _entropy(logs: Tensor, labels: Tensor) -> Tensor:
    del labels
    # From the logarithms, whose products with p keep their digits where p rounds to 1.
    return (logs.exp() * logs.clamp_min(LOWEST)).double().sum(1)


def _modified_entropy(logs: Tensor, labels: Tensor) -> Tensor:
    logs = logs.double().clamp(LOWEST, -1e-30)
    probabilities, rest = logs.exp(), -logs.expm1()  # p and 1 - p, the latter without cancellation.
    own = rest.gather(1, labels[:, None]) * logs.gather(1, labels[:, None])
    others: Tensor = (probabilities * rest.log()).scatter(1, labels[:, None], 0.0)
    return own[:, 0] + others.sum(1)


def _vector(logs: Tensor, labels: Tensor) -> Tensor:
    own = logs.gather(1, labels[:, None])
    others = logs.scatter(1, labels[:, None], -torch.inf).sort(1, descending=True).values[:, :-1]
    return torch.cat([own, others], 1).clamp_min(LOWEST)


_READERS: dict[Statistic, Callable[[Tensor, Tensor], Tensor]] = {
    Statistic.CONFIDENCE: lambda logs, labels: _true_class(logs, labels).exp(),
    Statistic.LOSS: lambda logs, labels: _true_class(logs, labels).clamp_min(LOWEST),
    Statistic.LOGIT: _logit,
    Statistic.ENTROPY: _entropy,
    Statistic.MODIFIED_ENTROPY: _modified_entropy,
    Statistic.VECTOR: _vector,
}

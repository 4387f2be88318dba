"""Small targets with known truth, shared by the tests."""

import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples


class HalfSpace:
    """Class 1 where w.x + b > 0, else 0; refuses inputs that its domain does not contain."""

    def __init__(self, domain: Domain, w: Tensor, b: float) -> None:
        self.domain, self.w, self.b = domain, w, b
        self.calls: list[int] = []

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        assert inputs.dtype == torch.float32
        assert ids.shape == (len(inputs),)
        self.domain.check(inputs)
        self.calls.append(len(inputs))
        # Row by row in float64, so that an answer does not depend on the batch.
        return ((inputs.flatten(1).double() * self.w.double()).sum(1) + self.b > 0).long()

    def margin(self, inputs: Tensor) -> Tensor:
        """Signed distance to the boundary, positive where the answer is 1."""
        return ((inputs.flatten(1).double() * self.w.double()).sum(1) + self.b) / self.w.double().norm()


class Logistic(HalfSpace):
    """A logistic regression: the same labels, with the confidences shown."""

    def ask_scores(self, inputs: Tensor, ids: Tensor) -> Tensor:
        del ids
        logits = (inputs.flatten(1).double() * self.w.double()).sum(1) + self.b
        return torch.stack([-logits, logits], 1).div(2).log_softmax(1).float()


class Constant:
    """Always the same class."""

    def __init__(self, label: int) -> None:
        self.label = label

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        del ids
        return torch.full((len(inputs),), self.label)


def samples_of(domain: Domain, inputs: Tensor, labels: Tensor | int, *, start: int = 0) -> Samples:
    """Samples with ids counted from `start`; one label for all, or one each."""
    if isinstance(labels, int):
        labels = torch.full((len(inputs),), labels)
    return Samples(ids=torch.arange(start, start + len(inputs)), inputs=inputs, labels=labels, domain=domain)


def random_samples(domain: Domain, count: int, *, classes: int, seed: int = 0, start: int = 0) -> Samples:
    """Legal points with random labels."""
    rng = randomness.generator(seed, "random samples", start)
    return samples_of(
        domain, domain.random(count, rng), torch.randint(0, classes, (count,), generator=rng), start=start
    )

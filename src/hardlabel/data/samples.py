"""Samples: what is asked about, with ids that survive every selection."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Labelled points of one domain.

    Attributes:
        ids: Distinct integers (n,), int64; they name a sample in budgets, records and reports.
        inputs: Points (n, *domain.shape), float32, legal in the domain.
        labels: True classes (n,), int64, 0 or more.
        domain: Which inputs are legal and how they may be perturbed.

    Raises:
        InvalidInput: Lengths or types differ from these, an id repeats, a label is negative, a value is NaN or not
            legal.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> points = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
        >>> samples = Samples(ids=torch.tensor([7, 8]), inputs=points, labels=torch.tensor([0, 1]), domain=Box((2,)))
        >>> len(samples), samples.take(slice(1, 2)).ids
        (2, tensor([8]))
    """

    ids: Tensor
    inputs: Tensor
    labels: Tensor
    domain: Domain

    def __post_init__(self) -> None:
        lengths = {"ids": len(self.ids), "inputs": len(self.inputs), "labels": len(self.labels)}
        if len(set(lengths.values())) > 1:
            raise InvalidInput(f"ids, inputs and labels must be equally long, got {lengths}")
        for name, tensor, dtype in (
            ("ids", self.ids, torch.int64),
            ("inputs", self.inputs, torch.float32),
            ("labels", self.labels, torch.int64),
        ):
            if tensor.dtype != dtype:
                raise InvalidInput(f"{name} must be {dtype}, got {tensor.dtype}")
        if len(self.ids) and int(self.labels.min()) < 0:
            raise InvalidInput(f"labels must be 0 or more, got {int(self.labels.min())}")
        if len(torch.unique(self.ids)) != len(self.ids):
            raise InvalidInput("ids must be distinct, got a repeated id")
        self.domain.check(self.inputs)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.inputs.device

    def take(self, rows: Tensor | slice) -> "Samples":
        """The samples at these positions (indices, a mask or a slice), in that order."""
        return self._replaced(self.ids[rows], self.inputs[rows], self.labels[rows])

    def to(self, device: torch.device | str) -> "Samples":
        """The same samples on another device."""
        return self._replaced(self.ids.to(device), self.inputs.to(device), self.labels.to(device))

    def relabelled(self, labels: Tensor) -> "Samples":
        """The same samples with other labels (n,), int64: for shadow data labelled by the target."""
        return Samples(ids=self.ids, inputs=self.inputs, labels=labels, domain=self.domain)

    def _replaced(self, ids: Tensor, inputs: Tensor, labels: Tensor) -> "Samples":
        # Checked data stays checked: a selection skips __post_init__'s pass over every value.
        made = object.__new__(Samples)
        for name, value in (("ids", ids), ("inputs", inputs), ("labels", labels), ("domain", self.domain)):
            object.__setattr__(made, name, value)
        return made


def concatenate(first: Samples, *others: Samples) -> Samples:
    """The samples of all parts one after another; the parts must share their domain.

    Raises:
        InvalidInput: Domains differ, or an id stands in two parts.
    """
    for other in others:
        if other.domain != first.domain:
            raise InvalidInput(f"samples must share one domain, got {first.domain} and {other.domain}")
    parts = (first, *others)
    return Samples(
        ids=torch.cat([part.ids for part in parts]),
        inputs=torch.cat([part.inputs for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        domain=first.domain,
    )

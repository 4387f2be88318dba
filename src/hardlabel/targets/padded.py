"""Networks that show fewer classes than the task has, as those trained on data without the last classes do."""

import torch
from torch import Tensor, nn

from hardlabel.oracles.base import LOWEST, check_width
from hardlabel.targets.torch import TorchScores


class Padded(nn.Module):
    """A network with further outputs for classes that it does not know, each with the log probability LOWEST.

    Args:
        network: Maps inputs (q, *shape) to logits (q, known); to (q,) or (q, 1), the logit of class 1; or to
            probabilities (q, known).
        classes: Number of outputs.
        probabilities: Whether it answers with probabilities; then further outputs are 0.

    Example:
        >>> import torch
        >>> from hardlabel.targets.padded import Padded
        >>> network = Padded(torch.nn.Identity(), classes=3, probabilities=True)
        >>> network(torch.tensor([[0.25, 0.75]]))
        tensor([[0.2500, 0.7500, 0.0000]])
    """

    def __init__(self, network: nn.Module, *, classes: int, probabilities: bool) -> None:
        super().__init__()
        self.network, self.classes, self.probabilities = network, classes, probabilities
        self.own_types = bool(getattr(network, "own_types", False))  # See `CodedModule`.

    def extra_repr(self) -> str:
        return f"classes={self.classes}, probabilities={self.probabilities}"

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.network(inputs)
        if outputs.ndim == 1 or outputs.shape[1] == 1:
            logit = outputs.reshape(-1)
            outputs = torch.stack([torch.zeros_like(logit), logit], 1)
        chances = outputs.logsumexp(1, keepdim=True)
        lowest = torch.zeros_like(chances) if self.probabilities else chances + LOWEST
        return torch.cat([outputs, lowest.expand(-1, self.classes - outputs.shape[1])], 1)


def width(network: nn.Module, example: Tensor, *, device: torch.device, role: str) -> int:
    """Number of classes that a network shows, 2 for a single output. It is asked about `example` (1, *shape) once.

    Raises:
        InvalidInput: It answers with no logits, NaN or infinity.
    """
    return _shown(network, example, device=device, role=role)[0]


def padded(
    network: nn.Module, example: Tensor, *, classes: int, exact: bool, device: torch.device, role: str
) -> nn.Module:
    """The network itself if it shows `classes` classes or more, else one with outputs for the missing classes.

    Args:
        network: Moves to `device`.
        example: What it is asked about once, (1, *shape).
        classes: Number of classes of the task.
        exact: Whether a network that shows more is refused.
        device: Where it runs.
        role: What errors call the network.

    Raises:
        InvalidInput: It shows more, with `exact`; or it answers with no logits, NaN or infinity.
    """
    shown, probabilities = _shown(network, example, device=device, role=role)
    check_width(shown, classes if exact else None, role=role)
    return network if shown >= classes else Padded(network, classes=classes, probabilities=probabilities)


def _shown(network: nn.Module, example: Tensor, *, device: torch.device, role: str) -> tuple[int, bool]:
    oracle = TorchScores(network, device=device, batch_size=1, role=role)
    scores = oracle.ask_scores(example[:1], torch.zeros(1, dtype=torch.int64))
    return scores.shape[1], oracle.probabilities

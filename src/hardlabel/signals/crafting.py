"""Crafting a query by the gradients of the attacker's own networks: what `yoqo` and `oslo` share.

Nothing here asks the target. A row is crafted for itself alone, so that company and order change it by rounding only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, corners
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.models.modes import evaluating
from hardlabel.oracles.base import LabelOracle
from hardlabel.signals.base import Measurement, keeps_label

ROWS = 256  # Rows crafted at once: activations, kept for the gradient, take far more room than inputs.
TABLE_WIDTH = 4.0  # Standard deviations: about what a pixel's box is in those of pixels.


@dataclass(frozen=True, eq=False)
class CraftedPlan:
    """One crafted point per sample; the value is 1.0 where the target keeps the label there, 0.0 elsewhere.

    Attributes:
        samples: Whom the points are about.
        points: What is asked, (n, *shape), legal in the samples' domain.
        found: (n,) bool, on the CPU, whether crafting reached what it looked for.
    """

    samples: Samples
    points: Tensor
    found: Tensor
    queries: ClassVar[tuple[int, int]] = (1, 1)

    def measure(self, oracle: LabelOracle) -> Measurement:
        kept = keeps_label(oracle, self.points[:, None], self.samples)
        return Measurement(kept.float(), torch.ones(len(self.samples), dtype=torch.int64), self.found)


def unsuited(domain: Domain) -> str | None:
    """Why no query can be crafted in a domain, or None where it can: points move by gradients, or bits flip."""
    if domain.continuous or domain.kind == "binary":
        return None
    return f"needs a continuous or a binary domain, got a {domain.kind} one: its values cannot follow a gradient"


def craft(
    samples: Samples, models: Sequence[nn.Module], make: Callable[[slice], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Points (n, *shape) and found (n,) of all samples, from `make(rows)` for blocks of at most ROWS.

    `make` may move points through fractions in a box of whole numbers (`relaxed`).

    Meanwhile the models lie on the samples' device, in evaluation mode; afterwards each module is back in its own
    mode. Their weights get no gradients.
    """
    points, found = samples.inputs.clone(), torch.ones(len(samples), dtype=torch.bool)
    with evaluating(*(model.to(samples.device) for model in models)):
        for start in range(0, len(samples), ROWS):
            rows = slice(start, min(start + ROWS, len(samples)))
            points[rows], found[rows] = make(rows)
    return points, found


def logits(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """What a network says of inputs (m, *shape), float32 (m, classes), as far as the gradient reaches.

    Raises:
        InvalidInput: The answers are not of that shape, or a label (m,) is none of the classes.
    """
    floats = (weight.dtype for weight in model.parameters() if weight.is_floating_point())
    told = model(inputs.to(next(floats, inputs.dtype)))
    if not (isinstance(told, Tensor) and told.ndim == 2 and len(told) == len(inputs)):
        got = tuple(told.shape) if isinstance(told, Tensor) else type(told).__name__
        raise InvalidInput(f"a network must map (m, *shape) to logits (m, classes), got {got} for m={len(inputs)}")
    if len(labels) and int(labels.max()) >= told.shape[1]:
        raise InvalidInput(f"labels must be below the network's {told.shape[1]} classes, got {int(labels.max())}")
    return told.float()


def slope(loss: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """The losses (m,) at points (m, *shape) and each one's gradient there, (m, *shape).

    Raises:
        InvalidInput: The networks let no gradient through to their inputs.
    """
    with torch.enable_grad():
        free = points.detach().requires_grad_(True)
        losses = loss(free)
        if not losses.requires_grad:
            raise InvalidInput("networks that queries are crafted on must be differentiable in their inputs")
        (gradient,) = torch.autograd.grad(losses.sum(), free)
    return losses.detach(), gradient


def widths(domain: Domain, like: Tensor) -> Tensor:
    """How wide the domain is in each coordinate, (1, *shape): the unit of length of what is crafted.

    1 where it is binary. Columns of a table are standardised whatever their bounds, which one outlier may set: wider
    ones than TABLE_WIDTH count as that wide.
    """
    if not domain.continuous:
        return torch.ones_like(like[:1])
    lower, upper = corners(domain, like)
    return (upper - lower).clamp_max(TABLE_WIDTH) if isinstance(domain, MixedTable) else upper - lower


def flipped(points: Tensor, origins: Tensor, direction: Tensor) -> Tensor:
    """Bits (m, d) after the one flip of each row that gains most along `direction` (m, d).

    A bit that already differs from `origins` stays, so that flips never turn in a circle; a row in which no flip
    gains anything stays as it is.
    """
    gains = (direction * (1 - 2 * points)).masked_fill(points != origins, -torch.inf)
    best = gains.max(1)
    rows = (best.values > 0).nonzero()[:, 0]
    moved = points.clone()
    moved[rows, best.indices[rows]] = 1 - moved[rows, best.indices[rows]]
    return moved

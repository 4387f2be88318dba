"""Routes: paths through the input space that leave a sample's class on one side and enter it on the other.

The attacker's own networks (crafters) say where to: down the gradient of their margin. On models that were not
crafters the label then changes about once along a route, so that a few questions find where.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box, Domain, channel_bounds
from hardlabel.data.samples import Samples
from hardlabel.data.steps import EmbeddedSlope, Named, Steps, most_steps, steepest
from hardlabel.models.modes import evaluating
from hardlabel.randomness import generator
from hardlabel.signals.base import chunks
from hardlabel.signals.embedded import id_gradient

FORWARD, BACKWARD = 14, 8  # Levels on a straight route, the sample itself not counted.
STEPS_FORWARD, STEPS_BACKWARD = 15, 8  # On a stepped one: 15 + 1 outcomes are told apart by 4 questions.
REACH = 3.5  # The last level ahead; the others below are shares of it.
NEAREST = 0.05 / 3.5  # The first level, ahead and behind.
BEHIND = 2.0 / 3.5  # The last level behind.
ROWS = 128  # Samples per gradient: a network keeps many values of each in memory.


class Toward(StrEnum):
    """Where a route leads.

    OTHERS follows the margin z_y - logsumexp of the other classes' logits, averaged over the crafters. RUNNER_UP
    follows z_y - z_j, j the other class with the highest mean logit. SECOND follows the margin of OTHERS on crafters
    trained in another way (`Knowledge.second`): two such routes tell more than two on the same networks.
    """

    OTHERS = "others"
    RUNNER_UP = "runner-up"
    SECOND = "second"


class Levels(NamedTuple):
    """How many levels a route has: `backward` behind the sample, the sample itself, `forward` ahead."""

    backward: int
    forward: int

    @property
    def total(self) -> int:
        """All levels, the sample included; positions are 0 to total."""
        return self.backward + 1 + self.forward


class Route(NamedTuple):
    """One route per sample; either `line` or `steps` is given.

    Attributes:
        inputs: The samples, (n, *shape).
        domain: Their domain.
        levels: How many levels there are.
        line: Directions (n, *shape) float32 of length 1, in widths of channels where `lengths_of` counts in them, and
            the levels' signed lengths (levels.total,).
        steps: The walks ahead and behind.
    """

    inputs: Tensor
    domain: Domain
    levels: Levels
    line: tuple[Tensor, Tensor] | None
    steps: tuple[Steps, Steps] | None

    def points(self, rows: Tensor, levels: Tensor) -> Tensor:
        """The legal points (q, *shape) of the samples `rows` (q,) at `levels` (q,), counted from 0 at the rear."""
        origin, offsets = self.inputs[rows], levels - self.levels.backward
        if self.line is not None:
            direction, lengths = self.line
            far = lengths[levels].reshape(-1, *[1] * (origin.ndim - 1))
            moved = self.domain.clip(origin + far * direction[rows])
            # The sample is asked about as it is: clipping may round.
            return torch.where((offsets == 0).reshape(far.shape), origin, moved)
        assert self.steps is not None, "a route is a line or steps"
        ahead, behind = self.steps
        moved = ahead.walked(origin, rows, offsets.clamp_min(0))
        return behind.walked(moved, rows, (-offsets).clamp_min(0))


def levels_of(domain: Domain) -> Levels:
    """How many levels the routes of a domain have, whatever the samples.

    Raises:
        InvalidInput: The domain is neither continuous, binary, a mixed table nor of tokens.
    """
    if domain.continuous:
        return Levels(BACKWARD, FORWARD)
    most = most_steps(domain)
    return Levels(min(STEPS_BACKWARD, most), min(STEPS_FORWARD, most))


def lengths_of(domain: Domain, reach: float = REACH) -> Tensor:
    """Signed L2 lengths of the levels of a straight route, rear to front, float32 (levels.total,).

    Geometric, from a seventieth of the reach to the reach ahead, and to four sevenths of it behind. In a box the
    reach counts in widths of the box and is cut at its diagonal: the distance to a network's boundary hardly
    grows with the number of features, but nothing in the box is farther than the diagonal. In other continuous
    domains (tables of numbers) it counts in input units, there standard deviations. Where bounds differ between
    channels, lengths count in widths of each channel.
    """
    if isinstance(domain, Box) or channel_bounds(domain) is not None:
        diagonal = float(torch.Size(domain.shape).numel()) ** 0.5
        reach = min(reach, diagonal) * (domain.width if isinstance(domain, Box) else 1.0)
    ahead = _geometric(NEAREST * reach, reach, FORWARD)
    behind = _geometric(NEAREST * reach, BEHIND * reach, BACKWARD)
    return torch.cat([-behind.flip(0), torch.zeros(1, dtype=torch.float64), ahead]).to(torch.float32)


def craft(samples: Samples, crafters: Sequence[nn.Module], toward: Toward, *, seed: int, reach: float = REACH) -> Route:
    """The route of every sample, from the crafters' gradients at the sample; asks nobody else.

    A sample at which all gradients vanish goes in a random direction fixed by `seed`, the same for all. Crafters
    are moved to the samples' device and run in evaluation mode; their weights get no gradients.

    Raises:
        InvalidInput: No crafters, a crafter that does not show the samples' classes, or a domain without routes.
    """
    if not crafters:
        raise InvalidInput(
            "path needs crafters, networks of the attacker's trained on none of the samples: got no crafter"
        )
    domain, levels = samples.domain, levels_of(samples.domain)
    crafters = [crafter.to(samples.device) for crafter in crafters]
    spare = torch.randn(domain.shape, generator=generator(seed, "path", str(toward)), dtype=torch.float64)
    spare = _unit(spare[None].to(samples.device))[0]
    directions, ahead, behind = [samples.inputs[:0]], list[Steps](), list[Steps]()
    bounds = channel_bounds(domain)
    with evaluating(*crafters):
        for rows in _blocks(samples):
            part = samples.take(rows)
            if isinstance(domain, Named):
                slope = _id_slope(part, domain.vocabulary, crafters, toward, seed=seed)
                behind.append(domain.steepest(part.inputs, slope, levels.backward))
                ahead.append(domain.steepest(part.inputs, slope._replace(field=-slope.field), levels.forward))
                continue
            downhill = -_gradients(part, crafters, toward)
            dead = ~(downhill.flatten(1).isfinite().all(1) & (downhill != 0).flatten(1).any(1))
            downhill[dead] = spare
            if bounds is not None:
                # Steepest where each channel is 1 wide, of length 1 there.
                widths = bounds.widths.to(downhill)
                directions.append((_unit(downhill * widths) * widths).to(torch.float32))
            elif domain.continuous:
                directions.append(_unit(downhill).to(torch.float32))
            else:
                ahead.append(steepest(domain, part.inputs, downhill, levels.forward))
                behind.append(steepest(domain, part.inputs, -downhill, levels.backward))
    if domain.continuous:
        line = torch.cat(directions), lengths_of(domain, reach).to(samples.device)
        return Route(samples.inputs, domain, levels, line, None)
    return Route(samples.inputs, domain, levels, None, (_joined(ahead), _joined(behind)))


def _blocks(samples: Samples) -> Iterator[slice]:
    # At least one block, so that no samples give empty steps.
    for block in chunks(max(1, len(samples)), copies=1, shape=samples.domain.shape):
        for start in range(block.start, block.stop, ROWS):
            yield slice(start, min(start + ROWS, block.stop))


def _joined(parts: list[Steps]) -> Steps:
    return Steps(*(torch.cat(cells) for cells in zip(*parts, strict=True)))


def _gradients(samples: Samples, crafters: Sequence[nn.Module], toward: Toward) -> Tensor:
    """The gradient of the mean margin at each sample, (n, *shape) float64."""
    with torch.inference_mode(False):
        inputs, labels = samples.inputs.clone(), samples.labels[:, None].clone()
        total = torch.zeros_like(inputs, dtype=torch.float64)
        if not len(inputs):
            return total
        rivals = _runner_up(inputs, labels, crafters) if toward == Toward.RUNNER_UP else None
        for crafter in crafters:  # One at a time: memory holds one network's values.
            with torch.enable_grad():
                leaf = inputs.clone().requires_grad_()
                margin = _margin(_logits(crafter, leaf, labels), labels, rivals)
                total += torch.autograd.grad(margin.sum(), leaf)[0]
        return total / len(crafters)


def _id_slope(
    samples: Samples, vocabulary: int, crafters: Sequence[nn.Module], toward: Toward, *, seed: int
) -> EmbeddedSlope:
    """The slope of the mean margin: the vectors of all crafters side by side."""
    with torch.inference_mode(False):
        inputs, labels = samples.inputs.clone(), samples.labels[:, None].clone()
        if not len(inputs):
            return EmbeddedSlope(torch.zeros(0, inputs.shape[1], 1).double(), torch.zeros(vocabulary, 1).double())
        rivals = _runner_up(inputs, labels, crafters) if toward == Toward.RUNNER_UP else None

        def margin_of(crafter: nn.Module) -> Callable[[Tensor], Tensor]:
            return lambda ids: _margin(_logits(crafter, ids, labels), labels, rivals)

        parts = [id_gradient(crafter, inputs, vocabulary, margin_of(crafter)) for crafter in crafters]
        fields, tables = zip(*parts, strict=True)
        field, table = torch.cat(fields, 2) / len(crafters), torch.cat(tables, 1)
        spare = torch.randn(field.shape[1:], generator=generator(seed, "path", str(toward)), dtype=torch.float64)
        dead = ~(field.flatten(1).isfinite().all(1) & (field != 0).flatten(1).any(1))
        field[dead] = spare.to(field.device)
        return EmbeddedSlope(field, table)


def _margin(logits: Tensor, labels: Tensor, rivals: Tensor | None) -> Tensor:
    """What the labels' logits (n,) are above the rivals', or above all others' together where there are no rivals."""
    own = logits.gather(1, labels)[:, 0]
    if rivals is None:
        return own - logits.scatter(1, labels, -torch.inf).logsumexp(1)
    return own - logits.gather(1, rivals)[:, 0]


def _runner_up(inputs: Tensor, labels: Tensor, crafters: Sequence[nn.Module]) -> Tensor:
    with torch.no_grad():
        logits = [_logits(crafter, inputs, labels) for crafter in crafters]
    classes = sorted({shown.shape[1] for shown in logits})
    if len(classes) > 1:
        raise InvalidInput(f"crafters must show equally many classes, got {classes}")
    return torch.stack(logits).mean(0).scatter(1, labels, -torch.inf).argmax(1, keepdim=True)


def _logits(crafter: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    kinds = (weight.dtype for weight in crafter.parameters() if weight.is_floating_point())
    logits = crafter(inputs.to(next(kinds, inputs.dtype)))
    if not (isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == len(inputs)):
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InvalidInput(f"a crafter must map (q, *shape) to logits (q, classes), got {got} for q={len(inputs)}")
    needed = max(2, int(labels.max()) + 1)
    if logits.shape[1] < needed:
        raise InvalidInput(f"a crafter must show at least the labels' {needed} classes, got {logits.shape[1]}")
    return logits.double()


def _unit(directions: Tensor) -> Tensor:
    flat = directions.flatten(1)
    assert flat.dtype == torch.float64, "the square of a tiny float32 gradient would vanish"
    return (flat / flat.square().sum(1, keepdim=True).sqrt()).reshape(directions.shape)


def _geometric(first: float, last: float, count: int) -> Tensor:
    return torch.logspace(0, 1, count, base=last / first, dtype=torch.float64) * first

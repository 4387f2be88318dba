"""YOQO: one query, crafted where models trained with the sample and models trained without it disagree."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import relaxed, rounded
from hardlabel.data.samples import Samples
from hardlabel.signals import crafting
from hardlabel.signals.base import Access, Knowledge
from hardlabel.signals.crafting import CraftedPlan

SPREAD = 0.26  # Standard deviation of the authors' images in box widths (.27, .26, .28): their unit of length.


@dataclass(frozen=True, kw_only=True)
class Yoqo:
    """Asks about a point to which IN models give the sample's label and OUT models do not. Costs 1 query per sample.

    The value, (n, 1), is 1.0 where the target keeps the label there, else 0.0. IN models were trained on the sample,
    OUT models were not. CE is the cross-entropy, y the sample's label, and t_k the class other than y that OUT model k
    finds likeliest at the sample itself. A mean is over the models of a side. Plain gradient steps lead the point x'
    from x down to a loss of `stop` or less:

        online:   mean over IN of CE(x', y) + alpha * mean over OUT of CE(x', t_k)
        offline:  mean over OUT of CE(x', t_k) + distance * mean square of x' - x

    Offline, x' goes no farther than the border of the OUT models; a model trained on x keeps its label beyond that
    border. The unit of lengths is SPREAD box widths, in a binary domain one bit.

    Online needs `Knowledge.shadows` with a model on each side of each sample. Offline takes `Knowledge.crafters` or,
    where there are none, the OUT shadows. As in the paper, 1.0 means member, so no threshold need be chosen. It could
    not be chosen on the models that took part, because the point suits them better than any other model.

    Attributes:
        online: Whether IN models take part.
        alpha: Weight of the OUT models online, above 0.
        distance: Weight of the distance offline, 0 or more.
        stop: Loss that is low enough, 0 or more; the authors' is 0.25 online and 0.5 offline (see OFFLINE).
        rate: Step per unit of gradient, above 0; the authors add up 16 pairs of models at a rate of 0.01.
        steps: Most steps, 1 or more.

    References:
        Wu et al. (2024), "You Only Query Once: An Efficient Label-Only Membership Inference Attack", ICLR: the
        improvement area. Losses, weights, rate, steps and stop are read from the authors' code
        (github.com/WU-YU-TONG/YOQO: README.md, shadow_training/yoqo_atk.py); the paper's own text was out of reach.

    Deviations: steps are clipped to the box (the authors' points may leave it); in a box of whole numbers the point is
    rounded once, at the end. In a binary domain each step flips the bit that gains most to first order, no bit twice
    (theirs moves bits to fractions). The point of lowest loss is taken (theirs: the last, one step past the stop).
    Losses are means over the models of a side, so that sides may differ in size (theirs: sums over pairs).

    Raises:
        InvalidInput: A setting is out of range.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.yoqo import Yoqo
        >>> network = torch.nn.Linear(1, 2)
        >>> with torch.no_grad():  # Class 1 above a half.
        ...     _ = network.weight.copy_(torch.tensor([[-5.0], [5.0]]))
        ...     _ = network.bias.copy_(torch.tensor([2.5, -2.5]))
        >>> class Member:  # It keeps the label farther than the crafter does.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.8).long()
        >>> points, labels = torch.tensor([[0.4]]), torch.tensor([0])
        >>> samples = Samples(ids=torch.arange(1), inputs=points, labels=labels, domain=Box((1,)))
        >>> signal = Yoqo(online=False, stop=0.5, distance=1.0)
        >>> plan = signal.prepare(samples, Knowledge(crafters=(network,)), seed=0)
        >>> bool(plan.points[0, 0] > 0.4), plan.measure(Member()).values.tolist()
        (True, [[1.0]])
    """

    access: ClassVar[Access] = Access.LABEL
    online: bool = True
    alpha: float = 2.0
    distance: float = 5.0
    stop: float = 0.25
    rate: float = 0.16
    steps: int = 50

    def __post_init__(self) -> None:
        checks.positive(alpha=self.alpha, rate=self.rate)
        checks.not_negative(distance=self.distance, stop=self.stop)
        checks.at_least(1, steps=self.steps)

    def __str__(self) -> str:
        return f"one query crafted on {'IN and OUT models' if self.online else 'OUT models'}"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> CraftedPlan:
        """Crafts the points; asks nothing.

        Raises:
            InvalidInput: The domain is a mixed table, or models are missing on a side.
        """
        del seed  # Nothing is drawn.
        if reason := crafting.unsuited(samples.domain):
            raise InvalidInput(f"yoqo {reason}")
        cast = self._cast(samples, knowledge)
        points, found = crafting.craft(
            samples, cast.models, lambda rows: self._craft(samples.take(rows), cast.take(rows))
        )
        return CraftedPlan(samples, points, found)

    def _cast(self, samples: Samples, knowledge: Knowledge) -> "_Cast":
        shadows, count = knowledge.shadows, len(samples)
        if not self.online and knowledge.crafters:
            models = knowledge.crafters
            inside = torch.zeros(len(models), count, dtype=torch.bool)
        elif shadows is None or not shadows.models:
            raise InvalidInput(
                "yoqo online needs shadows, models trained with and without each sample, got none"
                if self.online
                else "yoqo offline needs crafters or shadows, models trained without each sample, got neither"
            )
        else:
            models, inside = shadows.models, shadows.inside
        if inside.shape != (len(models), count):
            raise InvalidInput(f"shadows.inside must be {(len(models), count)}, got {tuple(inside.shape)}")
        inside = inside.to(samples.device)
        sides = {"without": ~inside, "with": inside} if self.online else {"without": ~inside}
        for name, side in sides.items():
            if not bool(side.any(0).all()):
                alone = int(samples.ids[int((~side.any(0)).nonzero()[0])])
                raise InvalidInput(f"yoqo needs shadows {name} each sample, got none {name} sample {alone}")
        shares = (self.alpha if self.online else 1.0) * _shares(~inside)
        return _Cast(models, inside, shares + _shares(inside) if self.online else shares)

    def _craft(self, part: Samples, cast: "_Cast") -> tuple[Tensor, Tensor]:
        domain, origins = relaxed(part.domain), part.inputs
        unit = (SPREAD if domain.continuous else 1.0) * crafting.widths(domain, origins)
        wanted = _wanted(part, cast)
        points, best = origins.clone(), origins.clone()
        lowest = torch.full((len(part),), torch.inf, device=part.device)
        left = torch.arange(len(part), device=part.device)
        for step in range(self.steps + 1):
            losses, gradient = self._slope(points[left], origins[left], unit, cast.take(left), wanted[:, left])
            better = left[losses < lowest[left]]
            best[better] = points[better]
            lowest[left] = torch.minimum(lowest[left], losses)
            going = losses > self.stop
            left, gradient = left[going], gradient[going]
            if step == self.steps or not len(left):
                break
            if domain.continuous:
                points[left] = domain.clip(points[left] - self.rate * unit**2 * gradient)
            else:
                points[left] = crafting.flipped(points[left], origins[left], -gradient)
        # Whatever the loss reached, the answer there counts: no search ends without its object.
        return rounded(part.domain, best), torch.ones(len(part), dtype=torch.bool)

    def _slope(
        self, points: Tensor, origins: Tensor, unit: Tensor, cast: "_Cast", wanted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The losses (m,) and their gradients, one model after another: memory holds one model's graph."""
        losses = torch.zeros(len(points), device=points.device)
        gradient = torch.zeros_like(points)
        for model, share, classes in zip(cast.models, cast.shares, wanted, strict=True):
            # A model that plays no part for a row is not asked about it; crafters and most shadows play one for all.
            rows = share.nonzero()[:, 0]
            if not len(rows):
                continue
            value, down = crafting.slope(partial(_weighted, model, share[rows], classes[rows]), points[rows])
            losses[rows] += value
            gradient[rows] += down
        if not self.online and self.distance:
            # A constant coordinate, of no width, cannot be left: it adds nothing.
            away = torch.where(unit > 0, (points - origins) / unit, 0.0)
            losses += self.distance * away.flatten(1).square().mean(1)
            gradient += torch.where(unit > 0, 2 * self.distance / away[0].numel() * away / unit, 0.0)
        return losses, gradient


OFFLINE = Yoqo(online=False, stop=0.5)


@dataclass(frozen=True, eq=False)
class _Cast:
    """The models with their parts: whether model k has seen sample i, and how much it counts there, each (K, n)."""

    models: tuple[nn.Module, ...]
    inside: Tensor
    shares: Tensor

    def take(self, rows: Tensor | slice) -> "_Cast":
        return _Cast(self.models, self.inside[:, rows], self.shares[:, rows])


def _weighted(model: nn.Module, share: Tensor, classes: Tensor, points: Tensor) -> Tensor:
    """One model's part of the loss at each point, (m,): its cross-entropy towards the class wanted of it."""
    told = crafting.logits(model, points, classes)
    return share * cross_entropy(told, classes, reduction="none")


def _shares(side: Tensor) -> Tensor:
    """Equal shares (K, n) of the models on one side of each sample, 0 for the others."""
    return side / side.sum(0).clamp_min(1)


def _wanted(part: Samples, cast: _Cast) -> Tensor:
    """The class each model should say, (K, m): y of an IN model, of an OUT model its own first choice but y."""
    wanted = part.labels.repeat(len(cast.models), 1)
    with torch.no_grad():
        for row, model, inside in zip(wanted, cast.models, cast.inside, strict=True):
            told = crafting.logits(model, part.inputs, part.labels)
            if told.shape[1] < 2:
                raise InvalidInput("networks that yoqo crafts on must tell two classes or more, got 1")
            other = told.scatter(1, part.labels[:, None], -torch.inf).argmax(1)
            row[~inside] = other[~inside]
    return wanted

"""OSLO: one query, an adversarial example just strong enough for models that never saw the sample."""

from dataclasses import dataclass
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

OVERSTEP = 1.25  # The steps of a round could go so many times as far as its bound.
TAUS = (0.9, 0.7, 0.5, 0.2, 0.1, 0.05, 0.01, 0.001)  # Candidates; a lower one asks for more, and finds surer members.


@dataclass(frozen=True, kw_only=True)
class Oslo:
    """Asks about one adversarial example of the sample, made on models that never saw it. Costs 1 query per sample.

    The value, (n, 1), is 1.0 where the target keeps the label there, else 0.0: a member resists a change that is just
    large enough for models that never saw it. The attacker's crafters are split. The first half (rounded up) are
    sources, which make the change; the rest are judges, which say when to stop. A single crafter is both. The logits of
    several models are averaged.

    In round r the change of each coordinate is at most r / rounds * reach. In this round, `steps` steps of momentum
    iterative FGSM raise the sources' cross-entropy of the label y. A step is 1.25 / steps times that bound, along the
    sign of the momentum, which starts anew in each round. Crafting ends before the first round at whose start the
    judges' confidence in y is below tau. If no round gets there, the last point is asked and `complete` is False.

    Attributes:
        tau: Crafting ends when the judges' confidence is below it, in (0, 1). Candidates for a ROC: TAUS.
        reach: Largest change of a coordinate, in box widths, above 0.
        rounds: Rounds until the bound is `reach`, 1 or more; in a binary domain the most bits flipped.
        steps: Steps per round, 1 or more; in a binary domain a round is one flip.
        momentum: Share of the momentum that is left after a step, 0 or more.

    References:
        Peng et al. (2024), "OSLO: One-Shot Label-Only Membership Inference Attacks", NeurIPS, arXiv 2405.16978.
        The paper's text was out of reach: the rounds follow its published summaries and two independent
        implementations, whose settings differ; rounds, steps and reach are the defaults of one (LeakPro), the steps'
        length and the mean of logits those of the other. MI-FGSM: Dong et al. (2018), section 3.

    Deviations: bounds are in box widths and any continuous domain will do; the paper's are images. In a box of whole
    numbers the point is rounded once, at the end. In a binary domain each round flips the bit that gains most to first
    order, no bit twice. A sample below tau from the start is asked as it is. The paper's surrogates have several
    architectures; ours are the crafters.

    Raises:
        InvalidInput: A setting is out of range.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.oslo import Oslo
        >>> network = torch.nn.Linear(1, 2)
        >>> with torch.no_grad():  # Class 1 above a half.
        ...     _ = network.weight.copy_(torch.tensor([[-20.0], [20.0]]))
        ...     _ = network.bias.copy_(torch.tensor([10.0, -10.0]))
        >>> class Member:  # It keeps the label farther than the crafter does.
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.8).long()
        >>> points, labels = torch.tensor([[0.4]]), torch.tensor([0])
        >>> samples = Samples(ids=torch.arange(1), inputs=points, labels=labels, domain=Box((1,)))
        >>> plan = Oslo(tau=0.1).prepare(samples, Knowledge(crafters=(network,)), seed=0)
        >>> bool(plan.points[0, 0] > 0.5), plan.measure(Member()).values.tolist()
        (True, [[1.0]])
    """

    access: ClassVar[Access] = Access.LABEL
    tau: float = 0.01
    reach: float = 80 / 255
    rounds: int = 80
    steps: int = 5
    momentum: float = 1.0

    def __post_init__(self) -> None:
        checks.open_fraction(tau=self.tau)
        checks.positive(reach=self.reach)
        checks.at_least(1, rounds=self.rounds, steps=self.steps)
        checks.not_negative(momentum=self.momentum)

    def __str__(self) -> str:
        return f"one adversarial example, surrogates below {self.tau:g}"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> CraftedPlan:
        """Crafts the points; asks nothing.

        Raises:
            InvalidInput: The domain is a mixed table, or there are no crafters.
        """
        del seed  # Nothing is drawn.
        if reason := crafting.unsuited(samples.domain):
            raise InvalidInput(f"oslo {reason}")
        crafters = knowledge.crafters
        if not crafters:
            raise InvalidInput("oslo needs crafters, networks trained on none of the samples asked about, got none")
        half = (len(crafters) + 1) // 2
        sources, judges = crafters[:half], crafters[half:] or crafters
        points, found = crafting.craft(samples, crafters, lambda rows: self._craft(samples.take(rows), sources, judges))
        return CraftedPlan(samples, points, found)

    def _craft(
        self, part: Samples, sources: tuple[nn.Module, ...], judges: tuple[nn.Module, ...]
    ) -> tuple[Tensor, Tensor]:
        points = part.inputs.clone()
        left = torch.arange(len(part), device=part.device)
        for turn in range(self.rounds + 1):
            left = left[_confidence(judges, points[left], part.labels[left]) >= self.tau]
            if turn == self.rounds or not len(left):
                break
            points[left] = self._round(points[left], part.take(left), sources, self.reach * (turn + 1) / self.rounds)
        found = torch.ones(len(part), dtype=torch.bool)
        found[left.cpu()] = False
        return rounded(part.domain, points), found

    def _round(self, points: Tensor, part: Samples, sources: tuple[nn.Module, ...], bound: float) -> Tensor:
        domain, origins = relaxed(part.domain), part.inputs

        def loss(inputs: Tensor) -> Tensor:
            return cross_entropy(_together(sources, inputs, part.labels), part.labels, reduction="none")

        if not domain.continuous:
            return crafting.flipped(points, origins, crafting.slope(loss, points)[1])
        edge = bound * crafting.widths(domain, origins)
        gathered = torch.zeros_like(points)
        for _ in range(self.steps):
            _, gradient = crafting.slope(loss, points)
            size = gradient.flatten(1).abs().mean(1).reshape(-1, *[1] * (points.ndim - 1))
            # A gradient that has vanished tells no direction, and divides by nothing.
            gathered = self.momentum * gathered + torch.where(size > 0, gradient / size, 0.0)
            moved = points + OVERSTEP / self.steps * edge * gathered.sign()
            points = domain.clip(origins + (moved - origins).clamp(-edge, edge))
        return points


def _together(models: tuple[nn.Module, ...], inputs: Tensor, labels: Tensor) -> Tensor:
    """The mean of the models' logits, (m, classes)."""
    return torch.stack([crafting.logits(model, inputs, labels) for model in models]).mean(0)


def _confidence(models: tuple[nn.Module, ...], inputs: Tensor, labels: Tensor) -> Tensor:
    """The models' confidence in the labels, (m,)."""
    if not len(inputs):
        return torch.zeros(0, device=inputs.device)
    with torch.no_grad():
        told = _together(models, inputs, labels).softmax(1)
    return told.gather(1, labels[:, None])[:, 0]

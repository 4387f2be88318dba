"""Designed questions: of many legal neighbours of a sample, ask those whose labels tell most about membership.

The attacker's reference models show what margin each neighbour has on models with and without the sample. That costs
the target nothing and needs no gradients, so it serves forests and boosted trees as well as networks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.signals.base import Access, Beliefs, Knowledge, LabelPlan, Measurement, chunks
from hardlabel.signals.neighbours import Neighbours, neighbours

CANDIDATES = 200  # Neighbours per sample, itself included;
IMAGE_CANDIDATES = 64  # of an image fewer, for networks that convolve take longer.
CONFIDENT = 0.99  # A margin beyond that of this probability counts as that one.
KEPT = 16  # Candidates asked about at all, or as many as queries: those that tell most by themselves, most surely.
STRAY = 0.02  # Probability, under either belief, of a label that follows from nothing.
LEAST_INFORMATION = 1e-6  # In nats; a question that tells less is not worth asking.
SAME_INFORMATION = 1e-9  # Questions nearer than this tie, so that rounding does not choose.
DECIMALS = 6  # Of a score: beyond them the size of a batch could show.
BLOCK = 256  # Samples searched at once.

Answer = Callable[[Tensor, Tensor], Tensor]
"""Whether samples `rows` keep their label at candidates `columns`, all (q,); bool (q,)."""


@runtime_checkable
class Designs(Beliefs, Protocol):
    """What the attacker expects of the margins of all candidates, (n, J) each, and how they vary together.

    On one side the margin of candidate j is mean_j + deviation_j (sum over r of shared_jr f_r + own_j e_j) with
    independent standard normal f and e.
    """

    @property
    def shared(self) -> Tensor:
        """(n, J, R), float64; the sum of squares over R is 1 - own^2."""
        ...


@dataclass(frozen=True, kw_only=True)
class Designed:
    """How much likelier the labels of chosen neighbours are on models trained on the sample, (n, 1) log ratio.

    Costs at most `queries` queries per sample, asked one after another. Each question is the candidate whose label has
    the most mutual information with membership, given the answers so far. The sample itself is one of the candidates.
    If no candidate tells anything, the target is asked about the sample itself once.

    Without beliefs the first `queries` candidates are asked, beginning with the sample itself. Values (n, queries) then
    say which keep the label.

    Attributes:
        queries: Most queries per sample, 1 or more.
        candidates: Neighbours per sample, `queries` or more; see `hardlabel.signals.neighbours`.

    References:
        Ours (studies/DESIGNED.md). Asking the single most telling question is the idea of Wu et al. (2024), who
        optimise the question by gradients.

    Raises:
        InvalidInput: `queries` is below 1, or `candidates` below `queries`.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.designed import Designed
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> plan = Designed(queries=2, candidates=8).prepare(samples, Knowledge(), seed=0)
        >>> plan.measure(Model()).values[:, 0]  # Without beliefs: the first question is the sample itself.
        tensor([1., 0.])
    """

    queries: int = 10
    candidates: int = CANDIDATES

    access: ClassVar[Access] = Access.LABEL

    def __post_init__(self) -> None:
        checks.whole_number(1, queries=self.queries, candidates=self.candidates)
        checks.at_least(self.queries, candidates=self.candidates)

    def __str__(self) -> str:
        asked = "the most telling" if self.queries == 1 else f"the {self.queries} most telling"
        return f"{asked} of {self.candidates} neighbours, chosen by the attacker's own models"

    @property
    def exact(self) -> "Margins":
        """What the attacker's own models are asked: the margins of all candidates."""
        return Margins(candidates=self.candidates)

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "DesignedPlan":
        """Draws the candidates; asks nothing."""
        drawn = neighbours(samples.domain, knowledge.population, count=self.candidates, seed=seed)
        return DesignedPlan(self, samples, drawn)


@dataclass(frozen=True, kw_only=True)
class Margins:
    """The margins of a sample's candidates, (n, 2 candidates): the margins, then the distances from the sample.

    A margin is the log probability of the true class minus that of the likeliest other class. It is cut where two
    classes alone would have the probabilities CONFIDENT and 1 - CONFIDENT. It is above 0 exactly where the label is the
    true class.

    Costs the target no query: the attacker asks models of its own, each about n * `candidates` rows.

    Attributes:
        candidates: Neighbours per sample, itself included.

    References:
        Ours; see `Designed`.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.designed import Margins
        >>> class Model:
        ...     def ask_scores(self, inputs, ids):
        ...         return torch.cat([1 - inputs, inputs], 1).log()
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> plan = Margins(candidates=8).prepare(samples, Knowledge(), seed=0)
        >>> plan.measure(Model()).values[:, 0]  # log(.8 / .2), log(.1 / .9).
        tensor([ 1.3863, -2.1972])
    """

    candidates: int = CANDIDATES

    access: ClassVar[Access] = Access.SCORES

    @property
    def queries(self) -> int:
        """Rows per sample."""
        return self.candidates

    @property
    def columns(self) -> int:
        """Values per sample."""
        return 2 * self.candidates

    def __str__(self) -> str:
        return f"margins of {self.candidates} neighbours"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "MarginPlan":
        """Draws the same candidates as `Designed` does; asks nothing."""
        drawn = neighbours(samples.domain, knowledge.population, count=self.candidates, seed=seed)
        return MarginPlan(samples, drawn)


@dataclass(frozen=True, eq=False)
class MarginPlan:
    """See `ScorePlan`."""

    samples: Samples
    drawn: Neighbours

    @property
    def queries(self) -> tuple[int, int]:
        return self.drawn.count, self.drawn.count

    def measure(self, oracle: ScoreOracle) -> Measurement:
        """Margins and distances (n, 2 candidates), all complete."""
        samples, count = self.samples, self.drawn.count
        columns = torch.arange(count, device=samples.device)
        blocks = [torch.empty(0, 2 * count)]
        for rows in chunks(len(samples), copies=count, shape=samples.domain.shape, device=samples.device):
            part = samples.take(rows)
            inputs = part.inputs.repeat_interleave(count, 0)
            points = self.drawn.points(inputs, columns.repeat(len(part)))
            logs = oracle.ask_scores(points, part.ids.repeat_interleave(count))
            values = _margins(logs, part.labels.repeat_interleave(count))
            distances = samples.domain.distance(points, inputs)
            both = [column.reshape(len(part), count).float().cpu() for column in (values, distances)]
            blocks.append(torch.cat(both, 1))
        return Measurement(
            torch.cat(blocks),
            torch.full((len(samples),), count, dtype=torch.int64),
            torch.ones(len(samples), dtype=torch.bool),
        )


@dataclass(frozen=True, eq=False)
class DesignedPlan:
    """Asks the first candidates, or under beliefs the most telling ones; see `SequentialPlan`."""

    signal: Designed
    samples: Samples
    drawn: Neighbours

    @property
    def queries(self) -> tuple[int, int]:
        return self.signal.queries, self.signal.queries

    def measure(self, oracle: LabelOracle) -> Measurement:
        """Which of the first candidates keep the label, (n, queries), 0 or 1; all complete."""
        samples, count = self.samples, self.signal.queries
        answer, columns = _asked(self, oracle), torch.arange(count, device=samples.device)
        kept = torch.zeros(len(samples), count)
        for rows in chunks(len(samples), copies=count, shape=samples.domain.shape, device=samples.device):
            asked = torch.arange(rows.start, rows.stop, device=samples.device)
            told = answer(asked.repeat_interleave(count), columns.repeat(len(asked)))
            kept[rows] = told.reshape(len(asked), count).float().cpu()
        return Measurement(
            kept,
            torch.full((len(samples),), count, dtype=torch.int64),
            torch.ones(len(samples), dtype=torch.bool),
        )

    def believing(self, beliefs: Beliefs) -> LabelPlan:
        """The plan that asks each sample at most `queries` questions, each the most telling one.

        Raises:
            InvalidInput: The beliefs do not say how the margins of these candidates vary together.
        """
        return Believing(self, _checked(self, beliefs))

    def replay(self, beliefs: Beliefs, values: Tensor) -> Tensor:
        """The log ratios (n, 1) that `believing` finds on a model with these exact margins; asks nothing.

        Raises:
            InvalidInput: `values` are not (n, 2 candidates), or see `believing`.
        """
        needed = (len(self.samples), 2 * self.signal.candidates)
        if tuple(values.shape) != needed:
            raise InvalidInput(f"values must be margins and distances {needed}, got {tuple(values.shape)}")
        kept = values[:, : self.signal.candidates].cpu() > 0
        found = Believing(self, _checked(self, beliefs)).search(lambda rows, columns: kept[rows, columns])
        return found.values


@dataclass(frozen=True, eq=False)
class Believing:
    """Asks, within the budget, what tells most about membership; see `LabelPlan`."""

    plan: DesignedPlan
    beliefs: Designs

    @property
    def queries(self) -> tuple[int, int]:
        return 1, self.plan.signal.queries

    def measure(self, oracle: LabelOracle) -> Measurement:
        """The log ratios (n, 1), all complete."""
        device, answer = self.plan.samples.device, _asked(self.plan, oracle)
        return self.search(lambda rows, columns: answer(rows.to(device), columns.to(device)).cpu())

    def search(self, answer: Answer) -> Measurement:
        """The same with answers from anywhere; `rows` and `columns` come on the CPU."""
        count = len(self.plan.samples)
        scores, queries = torch.zeros(count, 1), torch.zeros(count, dtype=torch.int64)
        for start in range(0, count, BLOCK):
            rows = torch.arange(start, min(start + BLOCK, count))
            posterior = _Posterior(self.beliefs, rows, kept=max(KEPT, self.plan.signal.queries))
            for step in range(min(self.plan.signal.queries, posterior.width)):
                information, places = posterior.most_telling()
                worth = (information > LEAST_INFORMATION) | (step == 0)
                asked = worth.nonzero()[:, 0]
                if not len(asked):
                    break
                if step == 0:  # Where nothing tells, whether the label is right is what one should know.
                    places = torch.where(information > LEAST_INFORMATION, places, posterior.itself)
                kept = answer(rows[asked], posterior.columns[asked, places[asked]])
                posterior.update(asked, places[asked], kept)
                queries[rows[asked]] += 1
            scores[rows, 0] = posterior.odds.round(decimals=DECIMALS).float()
        return Measurement(scores, queries, torch.ones(count, dtype=torch.bool))


class _Posterior:
    """What is believed of m samples after some answers; members first where a list has two sides.

    The factors f of each side stay normal: an answer moves their mean and covariance to those of the exact posterior
    of a probit, which is no longer normal (assumed density filtering).
    """

    def __init__(self, beliefs: Designs, rows: Tensor, *, kept: int) -> None:
        means = [side[rows].double() for side in (beliefs.mean_in, beliefs.mean_out)]
        deviations = [side[rows].double() for side in (beliefs.deviation_in, beliefs.deviation_out)]
        alone = [_kept(mean / deviation) for mean, deviation in zip(means, deviations, strict=True)]
        told = (_information(torch.full_like(rows, 0.5, dtype=torch.float64), alone) / SAME_INFORMATION).round()
        # The sample itself always stays, in the first place: it is asked where nothing tells.
        told[:, 0] = torch.inf
        self.columns = told.sort(dim=1, descending=True, stable=True).indices[:, :kept]
        self.width = self.columns.shape[1]
        self.itself = torch.zeros(len(rows), dtype=torch.int64)
        shared = beliefs.shared[rows].double()
        shared = shared.gather(1, self.columns[..., None].expand(-1, -1, shared.shape[2]))
        own = (1 - shared.square().sum(2)).clamp_min(0)
        factors = shared.shape[2]
        self._mean = [mean.gather(1, self.columns) for mean in means]
        self._scale = [deviation.gather(1, self.columns) for deviation in deviations]
        self._own = [scale.square() * own for scale in self._scale]
        self._loads = [shared * scale[..., None] for scale in self._scale]
        self._variance = [scale.square() for scale in self._scale]
        self._covariance = [torch.eye(factors, dtype=torch.float64).repeat(len(rows), 1, 1) for _ in range(2)]
        self._open = torch.ones(len(rows), self.width, dtype=torch.bool)
        self.odds = torch.zeros(len(rows), dtype=torch.float64)

    def _probabilities(self) -> list[Tensor]:
        return [_kept(mean / variance.sqrt()) for mean, variance in zip(self._mean, self._variance, strict=True)]

    def most_telling(self) -> tuple[Tensor, Tensor]:
        """The mutual information in nats of membership and the best open question, and its place, both (m,)."""
        information = _information(self.odds.sigmoid(), self._probabilities())
        information = torch.where(self._open, information, -1.0)
        best = (information / SAME_INFORMATION).round().argmax(1)
        return information.gather(1, best[:, None])[:, 0], best

    def update(self, rows: Tensor, places: Tensor, kept: Tensor) -> None:
        """Learns whether samples `rows` kept their label at `places`, all (q,)."""
        sign = torch.where(kept, 1.0, -1.0).double()
        likelihoods = []
        for side in range(2):
            mean, variance = self._mean[side][rows, places], self._variance[side][rows, places]
            z = sign * mean / variance.sqrt()
            likelihood = _kept(z)
            likelihoods.append(likelihood)
            # The share of the probability that is not stray, times density over distribution of the normal.
            regular = 1 - STRAY / 2 / likelihood
            ratio = (-z.square() / 2 - math.log(2 * math.pi) / 2 - torch.special.log_ndtr(z)).exp() * regular
            load, covariance = self._loads[side][rows, places], self._covariance[side][rows]
            along = (covariance * load[:, None, :]).sum(2)
            shrink = ratio * (z + ratio) / variance
            # A covariance stays positive: an answer removes less than all of what varies along it.
            shrink = torch.minimum(shrink, 0.999 / (along * load).sum(1).clamp_min(1e-12)).clamp_min(0)
            moved = (self._loads[side][rows] * along[:, None, :]).sum(2)
            self._mean[side][rows] += moved * (sign * ratio / variance.sqrt())[:, None]
            left = self._variance[side][rows] - moved.square() * shrink[:, None]
            self._variance[side][rows] = torch.maximum(left, self._own[side][rows] / 2 + 1e-12)
            self._covariance[side][rows] -= along[:, :, None] * along[:, None, :] * shrink[:, None, None]
        self.odds[rows] += likelihoods[0].log() - likelihoods[1].log()
        self._open[rows, places] = False


def _kept(z: Tensor) -> Tensor:
    """The probability of an answer whose margin lies `z` deviations on its side."""
    probability: Tensor = (1 - STRAY) * torch.special.ndtr(z) + STRAY / 2
    return probability


def _information(member: Tensor, kept: list[Tensor]) -> Tensor:
    """Mutual information (m, c) in nats of membership, of probability (m,), and answers kept with (m, c) per side."""
    member, (inside, outside) = member[:, None], kept
    mixed = member * inside + (1 - member) * outside
    return _entropy(mixed) - member * _entropy(inside) - (1 - member) * _entropy(outside)


def _entropy(probability: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy


def _margins(logs: Tensor, labels: Tensor) -> Tensor:
    """Margins (q,) of log probabilities (q, classes); their sign is that of the label, ties included."""
    if len(labels) and int(labels.max()) >= logs.shape[1]:
        raise InvalidInput(f"labels must be below the {logs.shape[1]} classes shown, got {int(labels.max())}")
    most = math.log(CONFIDENT / (1 - CONFIDENT))
    logs = logs.double().clamp_min(-1e4)  # Two classes of probability 0 differ by nothing.
    own = logs.gather(1, labels[:, None])[:, 0]
    others = logs.scatter(1, labels[:, None], -torch.inf).amax(1).clamp_min(-2e4)
    margins = (own - others).clamp(-most, most)
    right = logs.argmax(1) == labels
    tiny = torch.full_like(margins, 1e-6)
    return torch.where(right, torch.maximum(margins, tiny), torch.minimum(margins, -tiny))


def _checked(plan: DesignedPlan, beliefs: Beliefs) -> Designs:
    needed = (len(plan.samples), plan.signal.candidates)
    if not isinstance(beliefs, Designs):
        raise InvalidInput(f"beliefs must say how margins vary together, got {type(beliefs).__name__}")
    for values in (beliefs.mean_in, beliefs.mean_out, beliefs.deviation_in, beliefs.deviation_out, beliefs.shared):
        if tuple(values.shape[:2]) != needed:
            raise InvalidInput(f"beliefs must be (samples, candidates) = {needed}, got {tuple(values.shape[:2])}")
    return beliefs


def _asked(plan: DesignedPlan, oracle: LabelOracle) -> Answer:
    samples = plan.samples

    def answer(rows: Tensor, columns: Tensor) -> Tensor:
        kept = torch.zeros(len(rows), dtype=torch.bool, device=samples.device)
        for block in chunks(len(rows), copies=1, shape=samples.domain.shape, device=samples.device):
            points = plan.drawn.points(samples.inputs[rows[block]], columns[block])
            told = oracle.ask(points, samples.ids[rows[block]])
            kept[block] = told == samples.labels[rows[block]]
        return kept

    return answer

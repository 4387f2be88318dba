"""Transfer attack: a surrogate learns from the target's labels, and shows the confidence that the target hides."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import PaidLabels
from hardlabel.signals.base import Access, Knowledge, Measurement, chunks, keeps_label

LOWEST = -100.0  # The least value: what the authors give a sample that the target misclassifies.
OVERHEAD = "labelling the surrogate's data"


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Minus the cross-entropy of a surrogate on the sample and its true class, (n, 1) in nats, in [LOWEST, 0].

    The surrogate is trained on points of the attacker's population with the labels that the target gives them. These
    queries belong to no sample: they are the `overhead`, for all samples together. A sample itself costs no query, or 1
    query with `ask_samples`; then a misclassified sample has LOWEST.

    A target that answers with one class only teaches nothing. Then no surrogate is trained, every value is 0 (except
    for misclassified samples, if asked) and no sample is complete.

    Attributes:
        rows: Population points labelled, 1 or more, drawn at random; None for all of them.
        ask_samples: Whether the target is asked about the samples as well.

    References:
        Li & Zhang (2021), "Membership Leakage in Label-Only Exposures", CCS, arXiv:2007.15528, section 4: the transfer
        attack with the loss; `ask_samples` as in the authors' code (github.com/TrustAIRLab/Label-Only-MIA, attack.py).
        Deviation: the surrogate is what `Knowledge.fit` trains, in one run and without the authors' choice
        of its best epoch.

    Raises:
        InvalidInput: `rows` is below 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.transfer import Transfer
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        ...     def aside(self, purpose):  # Overhead is charged elsewhere.
        ...         return self
        >>> network = torch.nn.Linear(1, 2)
        >>> with torch.no_grad():  # Class 1 above a half.
        ...     _ = network.weight.copy_(torch.tensor([[-20.0], [20.0]]))
        ...     _ = network.bias.copy_(torch.tensor([10.0, -10.0]))
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> knowledge = Knowledge(population=samples, fit=lambda labelled, seed: network)
        >>> found = Transfer().prepare(samples, knowledge, seed=0).measure(Model())
        >>> bool(found.values[0] > found.values[1]), found.queries.tolist()
        (True, [0, 0])
    """

    access: ClassVar[Access] = Access.LABEL
    whole: ClassVar[bool] = True
    rows: int | None = None
    ask_samples: bool = False

    def __post_init__(self) -> None:
        if self.rows is not None:
            checks.at_least(1, rows=self.rows)

    def __str__(self) -> str:
        rows = "the population" if self.rows is None else f"{self.rows} population points"
        return f"loss of a surrogate trained on {rows}" + (", right labels only" if self.ask_samples else "")

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "TransferPlan":
        """Draws the points to be labelled; asks nothing.

        Raises:
            InvalidInput: The population is missing, too small or of another domain, or `knowledge.fit` is missing.
        """
        population = knowledge.population
        least = self.rows or 1
        if population is None or len(population) < least:
            raise InvalidInput(
                f"population must hold at least {least} points for the target to label, "
                f"got {None if population is None else len(population)}"
            )
        if population.domain != samples.domain:
            raise InvalidInput(f"population must share the samples' domain, got {population.domain}")
        if knowledge.fit is None:
            raise InvalidInput("fit must be given to train a surrogate, got None")
        if self.rows is not None:
            drawn = torch.randperm(len(population), generator=randomness.generator(seed, "transfer", "rows"))
            population = population.take(drawn[: self.rows].sort().values.to(population.device))
        return TransferPlan(self, samples, population.to(samples.device), knowledge, seed)


@dataclass(frozen=True, eq=False)
class TransferPlan:
    """See `LabelPlan`; each measurement labels the points and trains a surrogate anew."""

    signal: Transfer
    samples: Samples
    points: Samples
    knowledge: Knowledge
    seed: int

    @property
    def queries(self) -> tuple[int, int]:
        return int(self.signal.ask_samples), int(self.signal.ask_samples)

    @property
    def overhead(self) -> int:
        """Queries that belong to no sample."""
        return len(self.points)

    def measure(self, oracle: PaidLabels) -> Measurement:
        samples, points = self.samples, self.points
        answers = oracle.aside(OVERHEAD).ask(points.inputs, points.ids)
        learned = len(torch.unique(answers)) > 1
        values = torch.zeros(len(samples), device=samples.device)
        if learned:
            assert self.knowledge.fit is not None, "prepare refuses to go without"
            surrogate = self.knowledge.fit(
                points.relabelled(answers), randomness.derive(self.seed, "transfer", "surrogate")
            )
            values = _minus_loss(surrogate, samples)
        if self.signal.ask_samples:
            right = keeps_label(oracle, samples.inputs[:, None], samples)[:, 0]
            values = torch.where(right, values, LOWEST)
        return Measurement(
            values[:, None],
            torch.full((len(samples),), self.queries[0], dtype=torch.int64),
            torch.full((len(samples),), learned),
        )


@torch.no_grad()
def _minus_loss(surrogate: nn.Module, samples: Samples) -> Tensor:
    """Log probabilities (n,), float32, that the surrogate gives the true classes, cut at LOWEST."""
    surrogate.eval()
    home = next((parameter.device for parameter in surrogate.parameters()), samples.device)
    values = torch.zeros(len(samples), device=samples.device)
    for rows in chunks(len(samples), copies=1, shape=samples.domain.shape):
        logits = surrogate(samples.inputs[rows].to(home))
        labels = samples.labels[rows].to(home)
        if int(labels.max()) >= logits.shape[1]:
            raise InvalidInput(
                f"labels must be below the surrogate's {logits.shape[1]} classes, got {int(labels.max())}"
            )
        values[rows] = -functional.cross_entropy(logits.float(), labels, reduction="none").to(samples.device)
    return values.clamp_min(LOWEST)

"""Regressed: how far a label-only signal lies above what a regression expects of non-members like the record."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.oracles.base import LabelOracle, PaidLabels
from hardlabel.signals.base import Access, Knowledge, LabelPlan, LabelSignal, Measurement
from hardlabel.signals.gap import Gap

OVERHEAD = "asking about the population, for the regression"
SHARE = 0.5  # Of the columns that a tree's split chooses from.
SMALLEST_LEAF = 5  # Records.


@dataclass(frozen=True, kw_only=True)
class Regressed:
    """An inner signal's value minus what a regression forest predicts for a non-member with the record's inputs.

    The target is asked the inner signal's questions about records of the population, none of which it was trained on.
    A forest learns from their inputs and classes what values the target shows on non-members. The attacker trains no
    model like the target. The questions about the population belong to no sample: they are charged aside.

    A sample costs the queries of the inner signal, 1 for `Gap`. The overhead is the same number for each of at most
    `rows` population records. Values (n, 1) lie in [-1, 1] where the inner signal's lie in [0, 1].

    Attributes:
        inner: The signal: one number per sample, not an interval.
        rows: Most population records asked about, drawn at random; 1 or more.
        trees: Trees of the forest, 1 or more.

    Raises:
        InvalidInput: The inner signal is censored, or a number is below 1.

    References:
        Bertran et al. (2023), arXiv:2307.03694, who predict a quantile of the confidence. Here the mean takes the
        quantile's place, because all quantiles of whether a label is right are 0 or 1.

    Example:
        >>> import torch
        >>> from hardlabel import Box, Samples
        >>> from hardlabel.signals.base import Knowledge
        >>> from hardlabel.signals.regressed import Regressed
        >>> class Model:
        ...     def ask(self, inputs, ids):
        ...         return (inputs[:, 0] > 0.5).long()
        ...     def aside(self, purpose):  # Overhead is charged elsewhere.
        ...         return self
        >>> points, labels = torch.tensor([[0.2], [0.9]]), torch.tensor([0, 0])
        >>> samples = Samples(ids=torch.arange(2), inputs=points, labels=labels, domain=Box((1,)))
        >>> others = torch.linspace(0, 1, 20)[:, None]  # The target is right on all of them.
        >>> population = Samples(
        ...     ids=torch.arange(20), inputs=others, labels=(others[:, 0] > 0.5).long(), domain=Box((1,))
        ... )
        >>> plan = Regressed(trees=2).prepare(samples, Knowledge(population=population), seed=0)
        >>> plan.measure(Model()).values.tolist(), plan.overhead
        ([[0.0], [-1.0]], 20)
    """

    access: ClassVar[Access] = Access.LABEL
    whole: ClassVar[bool] = True  # The population is asked about once.
    inner: LabelSignal = Gap()  # noqa: RUF009  # Frozen.
    rows: int = 1000
    trees: int = 100

    def __post_init__(self) -> None:
        checks.at_least(1, rows=self.rows, trees=self.trees)
        if getattr(self.inner, "censored", False):
            raise InvalidInput(f"inner must give one number per sample, not an interval, got {self.inner}")

    def __str__(self) -> str:
        return f"{self.inner}, above what a regression on {self.rows} population records expects"

    def prepare(self, samples: Samples, knowledge: Knowledge, seed: int) -> "RegressedPlan":
        """Draws the population records; asks nothing.

        Raises:
            InvalidInput: The population is missing or of another domain.
        """
        population = knowledge.population
        if population is None or not len(population):
            raise InvalidInput(
                "population must hold records that the target was not trained on, for the regression, "
                f"got {None if population is None else 0}"
            )
        if population.domain != samples.domain:
            raise InvalidInput(f"population must share the samples' domain, got {population.domain}")
        if len(population) > self.rows:
            drawn = torch.randperm(len(population), generator=randomness.generator(seed, "regressed", "rows"))
            population = population.take(drawn[: self.rows].sort().values.to(population.device))
        population = population.to(samples.device)
        return RegressedPlan(
            signal=self,
            samples=samples,
            population=population,
            asked=self.inner.prepare(samples, knowledge, seed),
            learned=self.inner.prepare(population, knowledge, seed),
            seed=seed,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class RegressedPlan:
    """See `LabelPlan`; each measurement asks about the population and grows a forest anew.

    Attributes:
        signal: Its settings.
        samples: The samples asked about.
        population: The records that the regression learns from.
        asked: The inner plan for the samples.
        learned: The inner plan for the population.
        seed: Fixes the forest's draws.
    """

    signal: Regressed
    samples: Samples
    population: Samples
    asked: LabelPlan
    learned: LabelPlan
    seed: int

    @property
    def queries(self) -> tuple[int, int]:
        return self.asked.queries

    @property
    def overhead(self) -> int:
        """Most queries that belong to no sample."""
        return len(self.population) * self.learned.queries[1]

    def measure(self, oracle: PaidLabels) -> Measurement:
        told = self.learned.measure(_Aside(oracle))
        found = self.asked.measure(oracle)
        if found.values.shape[1] != 1:
            raise InvalidInput(f"inner must give one number per sample, got {found.values.shape[1]}")
        forest = RandomForestRegressor(
            self.signal.trees,
            max_features=SHARE,
            min_samples_leaf=SMALLEST_LEAF,
            random_state=randomness.sklearn_seed(self.seed, "regressed"),
            n_jobs=1,
        ).fit(_features(self.population), told.values[:, 0].double().cpu().numpy())
        expected = torch.from_numpy(forest.predict(_features(self.samples))).to(found.values.device)
        return found._replace(values=(found.values.double() - expected[:, None]).float())


class _Aside:
    """An oracle whose every question is charged to the regression."""

    def __init__(self, oracle: PaidLabels) -> None:
        self._oracle, self._inner = oracle, oracle.aside(OVERHEAD)

    def ask(self, inputs: Tensor, ids: Tensor) -> Tensor:
        return self._inner.ask(inputs, ids)

    def aside(self, purpose: str) -> LabelOracle:
        return self._oracle.aside(purpose)


def _features(samples: Samples) -> np.ndarray:
    """Inputs and classes, one row per sample, (n, values + 1) float32."""
    flat = samples.inputs.flatten(1).float().cpu()
    return torch.cat([flat, samples.labels.cpu().float()[:, None]], 1).numpy()

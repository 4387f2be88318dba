"""The audit by canaries: points are planted in a training set by coins, and show how much the training reveals.

In one training, many canaries are planted, each by an independent coin, and guessed from the one model (Steinke et al.
2023). Over many trainings, a single canary is planted in about half of them. Both give a lower bound on epsilon, for an
attacker who sees labels and for one who sees confidences. If training is private, the accountant's upper bound stands
beside it.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from sklearn.base import BaseEstimator

from hardlabel import randomness
from hardlabel.attacks import TABLE
from hardlabel.audits.arguments import checked, instance
from hardlabel.audits.cases.canaries import CanariesCase, Planted, Planting, case_of_canaries, plant
from hardlabel.audits.cases.case import classes_of, count_classes
from hardlabel.audits.cases.from_arrays import trainer_of, whole
from hardlabel.audits.cases.from_settings import checked_trainer, dataset_of
from hardlabel.audits.cases.pairs import Pair
from hardlabel.audits.cases.repeats import without_repeats
from hardlabel.audits.findings.canary_bounds import many_runs, one_run
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.chunks import cuts
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.audits.kind import asked, described
from hardlabel.audits.plan import Plan, Questions, Trainings, costs_of, plan_of
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.metrics.one_run import coins
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.models import shadows
from hardlabel.models.train import Recipe
from hardlabel.records.canaries import ALL, CanaryRecord, CanaryResults
from hardlabel.records.environment import environment_of
from hardlabel.renamed import renamed
from hardlabel.runs.progress import told
from hardlabel.runs.settings import CANARY_KINDS, CanariesSettings
from hardlabel.store import Store
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import left_in_place, resolve_device


@renamed(watch="execution.watch")
@checked(
    delta=Annotated[float, Field(ge=0, lt=1)], planted=instance("planted", Planted, "a hardlabel.Planted from plant")
)
def audit_planted(
    model: object,
    planted: Planted,
    *,
    reference: object | None = None,
    delta: float = 1e-5,
    device: str = "auto",
    execution: Execution = USUAL,
) -> CanaryRecord:
    """Audits a model trained on `planted.training`, from this one training.

    Args:
        model: A torch module, a fitted scikit-learn classifier or an oracle, as for `hardlabel.audit`.
        planted: The training set, from `plant`.
        reference: A model trained in the same way on `planted.base` only. Its measure of each canary is subtracted, so
            that easy and hard canaries can be compared. None subtracts nothing, and proves less.
        delta: In [0, 1); 1e-5 suits up to about 10,000 training samples.
        device: Where torch models run.
        execution: Where and in which pieces the work is done, and what receives the progress.

    Returns:
        The record, in memory, with a lower bound on epsilon for labels and, if the model shows them, for confidences.

    Raises:
        InvalidInput: An argument breaks a rule.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> digits = load_digits()
        >>> data = digits.images[:, None] / 16, digits.target
        >>> planted = hardlabel.plant(data, canaries=30, kinds=["mislabelled"], train_size=100)
        >>> training = planted.training
        >>> tree = DecisionTreeClassifier(random_state=0).fit(training.inputs.flatten(1), training.labels)
        >>> hardlabel.audit_planted(tree, planted).bound("label").epsilon > 0
        True
    """
    given, started = locals(), time.perf_counter()
    where = resolve_device(device)
    asking = Asking.by(execution, seed=planted.seed, store=None)
    with left_in_place(model), left_in_place(reference):
        highest = classes_of(planted.base, planted.canaries) - 1
        count_classes(highest, askable(model, where, role="model"), planted.canaries.take(slice(0, 1)))
        bounds = one_run(model, reference, planted, delta=delta, device=where, asking=asking)
    results = CanaryResults(
        data="canaries planted",
        description=type(model).__name__,
        train_size=len(planted.base),
        canaries=dict(Counter(planted.kinds)),
        planted=int(planted.inside.sum()),
        runs=1,
        delta=delta,
        confidence=CONFIDENCE,
        guarantee=None,
        bounds=bounds,
        notes=list(planted.notes),
        kept=None,
        environment=environment_of(planted.seed, time.perf_counter() - started, where),
    )
    config = asked("canaries", given, canaries=len(planted.canaries), trainings=1, seed=planted.seed)
    return CanaryRecord(results=results, config=config)


@renamed(samples="data", runs="trainings", watch="execution.watch", work="execution")
@checked(CanariesSettings)
def audit_canaries(
    data: Pair,
    trainer: Callable[..., object] | BaseEstimator | Recipe,
    *,
    canaries: int = 500,
    kinds: Sequence[str] = CANARY_KINDS,
    trainings: int = 1,
    epsilon: float | None = None,
    delta: float | None = None,
    train_size: int | None = None,
    domain: Domain | None = None,
    strict: bool = False,
    seed: int = 0,
    device: str = "auto",
    store: Store | None = None,
    name: str | None = None,
    execution: Execution = USUAL,
) -> CanaryRecord:
    """Audits a way of training with canaries: one training with many canaries, or many trainings with one canary.

    With one training, two models are trained: one with canaries and one without. With many trainings, `trainings`
    models are trained, and a coin decides for each whether the one canary is in its training set.

    Args:
        data: (inputs, labels), arrays or tensors (n, *shape) and (n,). Repeated inputs are dropped; the record's notes
            say which.
        trainer: As for `hardlabel.audit`.
        canaries: Number of canaries in one training; over many trainings there is one.
        kinds: "mislabelled", "rare", "crafted"; many trainings use the first.
        trainings: 1, or at least 20.
        epsilon: Train by DP-SGD with this guarantee; needs a `Recipe` and `hardlabel[dp]`. None changes nothing.
        delta: In (0, 1), for the bounds and the guarantee; None for the largest power of ten below 1 / train_size.
            In one training, a larger canaries * delta weakens the bound: without a guarantee, choose a smaller delta.
        train_size: Number of training samples without canaries; None for half of the data.
        domain: Legal inputs; None to infer the domain.
        strict: Whether to refuse repeated inputs instead of dropping them with a note.
        seed: Fixes every random draw.
        device: Where torch models run.
        store: Keeps models and measurements.
        name: Name of this trainer in the store, if it is a function.
        execution: Where and in which pieces many trainings are done, and what receives the progress.

    Raises:
        InvalidInput: An argument breaks a rule; raised before any training of the recipe.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> digits = load_digits()
        >>> data = digits.images[:, None] / 16, digits.target
        >>> tree = DecisionTreeClassifier(random_state=0)
        >>> record = hardlabel.audit_canaries(data, tree, canaries=30, kinds=["mislabelled"], train_size=100)
        >>> record.bound("label").epsilon > 0
        True
    """
    given, started = locals(), time.perf_counter()
    loaded = whole(data, domain, seed=seed, strict=strict)
    everyone = loaded.samples
    where = resolve_device(device)
    fitter = trainer_of(trainer, classes_of(everyone), loaded.read, name=name, device=where, store=store)
    if fitter is None:
        raise InvalidInput("trainer must be given for an audit by canaries, got None")
    planting = Planting(canaries=canaries, kinds=kinds, trainings=trainings, epsilon=epsilon, delta=delta)
    case = case_of_canaries(
        everyone,
        fitter,
        planting,
        data="samples given",
        train_size=train_size,
        notes=loaded.notes,
        device=where,
        seed=seed,
    )
    config = asked("canaries", given, domain=described(everyone.domain), trainer=fitter.description)
    record = CanariesAudit(case=case, device=where).play(Asking.by(execution, seed=seed, store=store), started)
    return replace(record, config={**config, **record.config})


@dataclass(frozen=True, kw_only=True, eq=False)
class CanariesAudit:
    """An audit by canaries, loaded and checked; see `audits.kind.Prepared`.

    Attributes:
        case: What is audited.
        device: Where models run.
    """

    case: CanariesCase
    device: torch.device

    settled: ClassVar[dict[str, object]] = {}

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        planting = self.case.planting
        models = 2 if planting.trainings == 1 else planting.trainings
        asked_about = models * planting.canaries
        queries = TABLE["noise"].usual + 1  # For labels, and one query for scores.
        return plan_of(
            [Trainings(models=models, together=planting.trainings > 1)],
            Questions(
                measurements=models * 2 * len(cuts(planting.canaries, execution.chunk)),
                queries=asked_about * queries,
                values=2 * asked_about * 2,
            ),
            scores=0,
            costs=costs_of(
                self.case.trainer,
                self.case.everyone.take(slice(0, self.case.size)),
                execution.executor,
                own_as_targets=True,
            ),
            own_at_once=1,
            execution=execution,
            folder=folder,
        )

    def play(self, asking: Asking, started: float) -> CanaryRecord:
        case, planting, seed = self.case, self.case.planting, asking.seed
        planted = plant(
            case.everyone, canaries=planting.canaries, kinds=planting.kinds, train_size=case.size, seed=seed
        )
        if planting.trainings == 1:
            inside = planted.inside
            with_canaries = self._trained(planted.training, 0, asking)
            without = self._trained(planted.base, 1, asking)
            bounds = one_run(with_canaries, without, planted, delta=case.delta, device=self.device, asking=asking)
        else:
            inside = coins(planting.trainings, seed=randomness.derive(seed, "runs"))
            bounds = many_runs(case.trainer, planted, inside, delta=case.delta, device=self.device, asking=asking)
        guarantee = case.guarantee
        results = CanaryResults(
            data=case.data,
            description=case.trainer.description,
            train_size=case.size,
            canaries=dict(Counter(planted.kinds)),
            planted=int(inside.sum()),
            runs=planting.trainings,
            delta=case.delta,
            confidence=CONFIDENCE,
            guarantee=guarantee,
            bounds=bounds,
            notes=list(case.notes),
            kept=None
            if guarantee is None
            else all(bound.epsilon <= guarantee.epsilon for bound in bounds if bound.kind == ALL),
            environment=environment_of(seed, time.perf_counter() - started, self.device),
        )
        return CanaryRecord(results=results, config={"train_size": case.size, "delta": case.delta})

    def _trained(self, samples: Samples, number: int, asking: Asking) -> object:
        """Model 0 is trained with canaries, model 1 without."""
        trainer, watch = self.case.trainer, asking.watch
        watch.stage(f"training {('with', 'without')[number]} canaries", trainer.epochs or 1, "epochs")
        seed = randomness.derive(asking.seed, "canary run", number)
        return shadows.train_alone(trainer, samples, seed, on_epoch=told(watch), executor=asking.executor).model


def prepare(
    settings: CanariesSettings, *, device: torch.device, store: Store | None, execution: Execution
) -> CanariesAudit:
    """Loads the data and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    data = dataset_of(settings, execution.watch, store)
    trainer = checked_trainer(settings, data, device=device, store=store, float32=True)
    cleaned = without_repeats({"data": data.samples}, strict=settings.strict)
    everyone = cleaned.groups["data"]
    order = torch.randperm(len(everyone), generator=randomness.generator(settings.seed, "population"))
    planting = Planting(
        canaries=settings.canaries,
        kinds=settings.kinds,
        trainings=settings.trainings,
        epsilon=settings.epsilon,
        delta=settings.delta,
    )
    case = case_of_canaries(
        everyone.take(order),
        trainer,
        planting,
        data=data.name,
        train_size=settings.train_size,
        notes=cleaned.notes,
        device=device,
        seed=settings.seed,
    )
    return CanariesAudit(case=case, device=device)

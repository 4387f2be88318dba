"""Canaries: points planted in a training set, by coins, to audit how much the training lets out.

In one run many canaries are planted, each by an independent coin, and guessed from the one model (Steinke et al. 2023).
Over many runs a single canary is planted in about half of them. Either way the answer is a lower bound on epsilon: for
an attacker who sees labels, for one who sees confidences, and beside the accountant's upper bound where training is
private.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.attacks import TABLE
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.defenses.base import Defender
from hardlabel.defenses.dp_sgd import DPSGD
from hardlabel.experiments import plan
from hardlabel.experiments import runs as folders
from hardlabel.experiments.asking import Asking, Question, Side, questions
from hardlabel.experiments.batches import settled
from hardlabel.experiments.canary_record import ALL, CanaryBound, CanaryRecord, CanaryResults
from hardlabel.experiments.case import FEWEST_SHADOW, Oracles
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.defend_record import Guarantee
from hardlabel.experiments.environment import environment_of
from hardlabel.experiments.game import LOGITS
from hardlabel.experiments.given import Pair, trainer_of, whole
from hardlabel.experiments.progress import SILENT, Watch, told
from hardlabel.experiments.record import Environment
from hardlabel.experiments.settings import Kind, settings_of
from hardlabel.experiments.training import loaded, recipe_of
from hardlabel.experiments.work import USUAL, Work
from hardlabel.metrics.epsilon import epsilon_bound
from hardlabel.metrics.one_run import coins, one_run_bound
from hardlabel.models import shadows
from hardlabel.models.architectures import build, usual_architecture
from hardlabel.models.train import Recipe, check_float32
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.oracles.budget import Account
from hardlabel.oracles.pytorch import left_in_place, resolve_device
from hardlabel.signals.base import Access
from hardlabel.store import Store

Bools = NDArray[np.bool_]
KINDS = {
    "mislabelled": "a real point under another class's label, drawn at random",
    "rare": "an input drawn from the domain without looking at the data, under a label drawn at random",
    "crafted": "a real point under the strongest legal noise, with the class that a network of the auditor's own finds "
    "least likely",
}
FEWEST_RUNS = 20  # Below, many runs prove nothing: half of them choose the event.
ADVISER = Recipe(max_epochs=30)  # The auditor's own network, for crafted canaries.


@dataclass(frozen=True, kw_only=True)
class Planting:
    """Which canaries a training is audited by, and how; see `audit_canaries` for the same arguments."""

    canaries: int = 500
    kinds: Sequence[str] = tuple(KINDS)
    runs: int = 1
    epsilon: float | None = None
    delta: float | None = None

    @property
    def settings(self) -> dict[str, object]:
        """As they are kept in a run folder."""
        return {**vars(self), "kinds": list(self.kinds)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """A training set with canaries in it.

    Attributes:
        base: What is trained on in any case.
        canaries: All canaries (m), planted or not.
        kinds: Of each, (m,).
        inside: Which were planted, (m,) bool, each by a coin of its own.
        seed: Fixed the coins.
    """

    base: Samples
    canaries: Samples
    kinds: tuple[str, ...]
    inside: Bools
    seed: int

    @property
    def training(self) -> Samples:
        """What to train on: the base and the planted canaries, in an order that says nothing."""
        return concatenate(self.base, self.canaries).take(self.rows(self.inside))

    def rows(self, inside: Bools) -> Tensor:
        """Places in the base, then the canaries, of a training set with these canaries, in the order to train in."""
        planted = len(self.base) + torch.from_numpy(inside).nonzero().flatten()
        everyone = torch.cat([torch.arange(len(self.base)), planted])
        return everyone[torch.randperm(len(everyone), generator=randomness.generator(self.seed, "planted order"))]


def plant(
    samples: Pair | Samples,
    *,
    canaries: int,
    kinds: Sequence[str] = tuple(KINDS),
    train_size: int | None = None,
    domain: Domain | None = None,
    seed: int = 0,
) -> Planted:
    """A training set with canaries, for a trainer of your own; then `audit_planted`.

    Args:
        samples: (inputs, labels) to train on and to make canaries of, arrays or tensors; each input once.
        canaries: How many to make, of all kinds in turn; about half are planted.
        kinds: Names in KINDS.
        train_size: Points besides canaries; None for half of those given.
        domain: Which inputs are legal; inferred if None.
        seed: Fixes every draw, the coins included.

    Raises:
        InvalidInput: An argument breaks a rule.
    """
    everyone = samples if isinstance(samples, Samples) else whole(samples, domain, seed=seed)[0]
    size = _base_size(everyone, canaries, kinds, train_size)
    order = torch.randperm(len(everyone), generator=randomness.generator(seed, "planted"))
    base, rest = everyone.take(order[:size]), everyone.take(order[size:])
    made, named = _made(rest, canaries, tuple(kinds), classes=_classes(everyone), seed=seed)
    return Planted(base=base, canaries=made, kinds=named, inside=coins(canaries, seed=seed), seed=seed)


def _base_size(everyone: Samples, canaries: int, kinds: Sequence[str], train_size: int | None) -> int:
    """Points besides canaries.

    Raises:
        InvalidInput: An argument breaks a rule.
    """
    for kind in kinds:
        checks.one_of(KINDS, kinds=kind)
    if not kinds:
        raise InvalidInput("kinds must name at least one kind of canary, got none")
    checks.at_least(len(kinds), canaries=canaries)
    size = len(everyone) // 2 if train_size is None else train_size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    if len(everyone) < size + max(canaries, FEWEST_SHADOW):
        raise InvalidInput(
            f"samples must hold train_size + canaries = {size + max(canaries, FEWEST_SHADOW)} inputs, "
            f"got {len(everyone)}"
        )
    return size


def _made(
    rest: Samples, count: int, kinds: tuple[str, ...], *, classes: int, seed: int
) -> tuple[Samples, tuple[str, ...]]:
    """Canaries of the kinds in turn, from points nobody trains on."""
    named = tuple(kinds[at % len(kinds)] for at in range(count))
    inputs, labels = rest.inputs[:count].clone(), rest.labels[:count].clone()
    draws = randomness.generator(seed, "canaries")
    other = (labels + 1 + torch.randint(0, classes - 1, (count,), generator=draws)) % classes
    anywhere = rest.domain.random(count, randomness.generator(seed, "rare canaries"))
    anything = torch.randint(0, classes, (count,), generator=draws)
    mask = {kind: torch.tensor([one == kind for one in named]) for kind in KINDS}
    labels[mask["mislabelled"]] = other[mask["mislabelled"]]
    inputs[mask["rare"]], labels[mask["rare"]] = anywhere[mask["rare"]], anything[mask["rare"]]
    crafted = mask["crafted"]
    if bool(crafted.any()):
        level, source = rest.domain.noise_levels[-1], randomness.generator(seed, "crafted canaries")
        for at in crafted.nonzero().flatten().tolist():  # Noise of its own for each.
            own = rest.domain.noise_source(1, source)
            inputs[at] = rest.domain.noisy(inputs[at : at + 1], own, level)[0, 0]
        labels[crafted] = _least_likely(rest, inputs[crafted], classes=classes, seed=seed)
    return Samples(ids=rest.ids[:count], inputs=inputs, labels=labels, domain=rest.domain), named


def _least_likely(rest: Samples, inputs: Tensor, *, classes: int, seed: int) -> Tensor:
    """Classes (n,) that a network trained on `rest` finds least likely."""
    recipe = replace(ADVISER, architecture=usual_architecture(rest.domain))
    trainer = RecipeTrainer(recipe=recipe, classes=classes)
    model = trainer.fit(rest, randomness.derive(seed, "adviser")).model
    assert isinstance(model, torch.nn.Module)
    with torch.inference_mode():
        found: Tensor = model(inputs).argmin(1)
    return found.clone()


def audit_planted(
    model: object,
    planted: Planted,
    *,
    reference: object | None = None,
    delta: float = 1e-5,
    device: str = "auto",
    watch: Watch = SILENT,
) -> CanaryRecord:
    """The one-run audit of a model trained on `planted.training`.

    Args:
        model: A torch module, a fitted scikit-learn classifier or an oracle, as for `hardlabel.audit`.
        planted: What it was trained on, from `plant`.
        reference: The same, trained on `planted.base` alone: what it says of a canary is taken off, so that canaries
            of different difficulty compare. None takes nothing off, and proves less.
        delta: In [0, 1); 1e-5 suits up to some 10,000 points.
        device: Where torch models run.
        watch: Is told of progress.

    Raises:
        InvalidInput: An argument breaks a rule.
    """
    started = time.perf_counter()
    where = resolve_device(device)
    asking = Asking(seed=planted.seed, watch=watch)
    with left_in_place(model), left_in_place(reference):
        bounds = _one_run(model, reference, planted, delta=delta, device=where, asking=asking)
    return _record(
        bounds,
        data="canaries planted",
        description=type(model).__name__,
        size=len(planted.base),
        kinds=_counted(planted.kinds),
        inside=planted.inside,
        runs=1,
        delta=delta,
        guarantee=None,
        environment=environment_of(planted.seed, time.perf_counter() - started, where),
        config={"delta": delta, "seed": planted.seed},
    )


def audit_canaries(
    samples: Pair,
    trainer: Callable[..., object] | BaseEstimator | Recipe,
    *,
    canaries: int = 500,
    kinds: Sequence[str] = tuple(KINDS),
    runs: int = 1,
    epsilon: float | None = None,
    delta: float | None = None,
    train_size: int | None = None,
    domain: Domain | None = None,
    seed: int = 0,
    device: str = "auto",
    name: str | None = None,
    store: Store | None = None,
    watch: Watch = SILENT,
    work: Work = USUAL,
) -> CanaryRecord:
    """Audits a way of training by canaries: in one run with many, or over many runs with one.

    One run trains two models, with canaries and without any. Many runs train `runs` models, each with the one canary
    or, by a coin, without it.

    Args:
        samples: (inputs, labels), arrays or tensors (n, *shape) and (n,); each input once.
        trainer: As for `hardlabel.audit`.
        canaries: How many in one run; over many runs there is one.
        kinds: Names in KINDS; over many runs the first is taken.
        runs: 1, or at least FEWEST_RUNS.
        epsilon: Train by DP-SGD with this guarantee; needs a `Recipe` and `hardlabel[dp]`. None trains as it is.
        delta: In (0, 1) for the bounds and the guarantee; None for the largest power of ten below 1 / train_size. In
            one run the bound pays for up to canaries * delta: training without a guarantee is better audited at less.
        train_size: Points besides canaries; None for half of those given.
        domain: Which inputs are legal; inferred if None.
        seed: Fixes every draw.
        device: Where torch models run.
        name: What tells this trainer from others in a store, where it is a function.
        store: Keeps models and measurements.
        watch: Is told of progress.
        work: Where many runs are trained.

    Raises:
        InvalidInput: An argument breaks a rule; raised before any training of the recipe.
    """
    started = time.perf_counter()
    everyone, arrays = whole(samples, domain, seed=seed)
    where = resolve_device(device)
    fits = trainer_of(trainer, _classes(everyone), arrays=arrays, name=name, device=where, store=store)
    assert fits is not None
    planting = Planting(canaries=canaries, kinds=kinds, runs=runs, epsilon=epsilon, delta=delta)
    asked = _checked(everyone, fits, planting, data="samples given", train_size=train_size, device=where, seed=seed)
    asking = Asking(seed=seed, watch=watch, store=store, executor=work.executor, chunk=work.chunk)
    return _audited(asked, device=where, asking=asking, started=started)


def audit_canaries_config(
    config: AuditConfig, planting: Planting, *, store: Store | None, watch: Watch = SILENT, work: Work = USUAL
) -> CanaryRecord:
    """Audits the recipe a configuration describes by canaries, and keeps the record in its folder.

    See `audit_canaries`.

    Raises:
        InvalidInput: A setting breaks a rule; raised before any training.
    """
    started = time.perf_counter()
    asked, settings, kept = _grounded(config, planting, store, watch)
    assert config.out is not None
    if watch is not SILENT:
        watch.say(str(_plan_of(asked, work, config)))
    with folders.begun(config.out, settings, store=kept):
        asking = Asking(seed=config.seed, watch=watch, store=kept, executor=work.executor, chunk=work.chunk)
        record = _audited(asked, device=resolve_device(config.device), asking=asking, started=started)
        resolved = {**settings, "size": asked.size, "delta": asked.delta}
        return replace(record, config=resolved).save(config.out)


def plan_canaries_config(
    config: AuditConfig, planting: Planting, *, store: Store | None, watch: Watch = SILENT, work: Work = USUAL
) -> plan.Plan:
    """What `audit_canaries_config` would do; loads the data, trains nothing, writes nothing.

    Raises:
        InvalidInput: See `audit_canaries_config`.
    """
    return _plan_of(_grounded(config, planting, store, watch)[0], work, config)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """What is audited, checked; nothing is trained yet. Over many runs there is one canary, of the first kind."""

    data: str
    everyone: Samples
    trainer: Trainer
    planting: Planting
    size: int
    delta: float
    guarantee: Guarantee | None


def _grounded(
    config: AuditConfig, planting: Planting, store: Store | None, watch: Watch
) -> tuple[_Asked, dict[str, object], Store | None]:
    settings = settings_of(config, Kind.CANARIES, **planting.settings)
    assert config.out is not None
    kept, device = folders.journaled(config.out, store, watch), resolve_device(config.device)
    data = loaded(config, watch, kept)
    recipe = recipe_of(config, data.samples.domain)
    build(recipe.architecture, shape=data.samples.domain.shape, classes=data.classes, seed=0)  # Fits the shape?
    order = torch.randperm(len(data.samples), generator=randomness.generator(config.seed, "population"))
    asked = _checked(
        data.samples.take(order),
        RecipeTrainer(recipe=recipe, classes=data.classes, device=device, store=kept),
        planting,
        data=data.name,
        train_size=config.size,
        device=device,
        seed=config.seed,
    )
    return asked, settings, kept


def _checked(
    everyone: Samples,
    trainer: Trainer,
    planting: Planting,
    *,
    data: str,
    train_size: int | None,
    device: torch.device,
    seed: int,
) -> _Asked:
    if planting.runs != 1:
        checks.at_least(FEWEST_RUNS, runs=planting.runs)
        planting = replace(planting, canaries=1, kinds=planting.kinds[:1])
    size = _base_size(everyone, planting.canaries, planting.kinds, train_size)
    delta = 10.0 ** -len(str(size)) if planting.delta is None else planting.delta
    checks.open_fraction(delta=delta)
    guarantee = None
    if planting.epsilon is not None:
        trained = size + planting.canaries // 2
        trainer, guarantee = _private(trainer, planting.epsilon, delta, everyone, trained, device=device, seed=seed)
    return _Asked(
        data=data, everyone=everyone, trainer=trainer, planting=planting, size=size, delta=delta, guarantee=guarantee
    )


def _plan_of(asked: _Asked, work: Work, config: AuditConfig) -> plan.Plan:
    assert isinstance(asked.trainer, RecipeTrainer), "configurations train by recipes"
    return plan.of_canaries(
        asked.trainer,
        asked.everyone.take(slice(0, asked.size)),
        canaries=asked.planting.canaries,
        runs=asked.planting.runs,
        queries=TABLE["noise"].usual,
        work=work,
        folder=config.out,
    )


def _audited(asked: _Asked, *, device: torch.device, asking: Asking, started: float) -> CanaryRecord:
    seed, trainer = asking.seed, asked.trainer
    planted = plant(
        asked.everyone, canaries=asked.planting.canaries, kinds=asked.planting.kinds, train_size=asked.size, seed=seed
    )
    if asked.planting.runs == 1:
        models = []
        for number, part in enumerate((planted.training, planted.base)):
            asking.watch.stage(f"training {('with', 'without')[number]} canaries", trainer.epochs or 1, "epochs")
            own = randomness.derive(seed, "canary run", number)
            made = shadows.train_alone(trainer, part, own, on_epoch=told(asking.watch), executor=asking.executor)
            models.append(made.model)
        bounds = _one_run(models[0], models[1], planted, delta=asked.delta, device=device, asking=asking)
        inside = planted.inside
    else:
        inside = coins(asked.planting.runs, seed=randomness.derive(seed, "runs"))
        bounds = _many_runs(trainer, planted, inside, delta=asked.delta, device=device, asking=asking)
    return _record(
        bounds,
        data=asked.data,
        description=trainer.description,
        size=asked.size,
        kinds=_counted(planted.kinds),
        inside=inside,
        runs=asked.planting.runs,
        delta=asked.delta,
        guarantee=asked.guarantee,
        environment=environment_of(seed, time.perf_counter() - started, device),
        config={**asked.planting.settings, "delta": asked.delta, "train_size": asked.size, "seed": seed},
    )


def _private(
    trainer: Trainer, epsilon: float, delta: float, everyone: Samples, size: int, *, device: torch.device, seed: int
) -> tuple[Trainer, Guarantee]:
    """The trainer by DP-SGD, and what its accountant says."""
    if not isinstance(trainer, RecipeTrainer):
        raise InvalidInput(f"epsilon needs trainer to be a hardlabel.Recipe, got {trainer.description}")
    check_float32(trainer.recipe)
    defender = Defender(
        domain=everyone.domain, classes=trainer.classes, train_size=size, device=device, store=trainer.store, seed=seed
    )
    training = DPSGD(epsilon=epsilon, delta=delta).training(trainer.recipe, defender)
    assert training.privacy is not None
    return replace(trainer, recipe=training.recipe, method=training.method), Guarantee(**vars(training.privacy))


def _one_run(
    model: object, reference: object | None, planted: Planted, *, delta: float, device: torch.device, asking: Asking
) -> list[CanaryBound]:
    """Bounds from one model, over all canaries and for each kind."""
    bounds = []
    kinds = np.array(planted.kinds)
    for access, question, values, queries in _scores(model, reference, planted.canaries, device=device, asking=asking):
        for kind in (ALL, *dict.fromkeys(planted.kinds)):
            mine = np.ones(len(kinds), dtype=bool) if kind == ALL else kinds == kind
            bound = one_run_bound(values[mine], planted.inside[mine], delta=delta, seed=planted.seed)
            bounds.append(
                CanaryBound(
                    kind=kind,
                    access=access,
                    signal=str(question.signal),
                    queries=queries,
                    epsilon=bound.epsilon,
                    right=bound.correct,
                    guesses=sum(bound.guesses),
                )
            )
    return bounds


def _many_runs(
    trainer: Trainer, planted: Planted, inside: Bools, *, delta: float, device: torch.device, asking: Asking
) -> list[CanaryBound]:
    """Bounds from many models, half of them with the one canary."""
    if min(inside.sum(), (~inside).sum()) < 2:
        raise InvalidInput(f"runs must be more, got {len(inside)} of which {int(inside.sum())} with the canary")
    found: dict[str, list[float]] = {}
    asked: dict[str, tuple[Question, float]] = {}
    watch = asking.watch
    jobs = [
        shadows.Job(rows=planted.rows(np.array([there])), seed=randomness.derive(asking.seed, "canary run", run))
        for run, there in enumerate(inside.tolist())
    ]
    watch.stage("training with and without the canary", len(jobs), "models")
    made = shadows.train_all(
        trainer,
        concatenate(planted.base, planted.canaries),
        jobs,
        on_done=lambda progress: watch.advance(1),
        executor=asking.executor,
    )
    for each in made:
        for access, question, values, queries in _scores(
            each.model, None, planted.canaries, device=device, asking=asking
        ):
            found.setdefault(access, []).append(float(values[0]))
            asked[access] = question, queries
    bounds = []
    for access, scores in found.items():
        one = epsilon_bound(np.array(scores), inside, delta=delta, seed=asking.seed)
        bounds.append(
            CanaryBound(
                kind=ALL,
                access=access,
                signal=str(asked[access][0].signal),
                queries=asked[access][1],
                epsilon=one.epsilon,
                right=one.right[0],
                guesses=one.right[1],
                wrong=one.wrong[0],
                of_wrong=one.wrong[1],
            )
        )
    return bounds


def _scores(
    model: object, reference: object | None, canaries: Samples, *, device: torch.device, asking: Asking
) -> list[tuple[str, Question, NDArray[np.float64], float]]:
    """What each kind of attacker scores the canaries by, less what the reference says.

    Each as (access, question, scores (m,), queries per canary). Labels: the share of noisy copies that get the canary's
    label (Choquette-Choo et al. 2021); confidences: the logit.
    """
    samples = canaries.to(device)
    classes = max(2, int(canaries.labels.max()) + 1)
    there = [
        Oracles.of(one, device, role="trainer's model", classes=classes)
        for one in (model, reference)
        if one is not None
    ]
    sides = [
        Side(model=one, samples=samples, inside=torch.zeros(len(samples), dtype=torch.bool))
        for one in settled(there, samples.inputs[:1], None)
    ]
    candidates = questions(TABLE["noise"], sides[0], None)
    asked: list[tuple[str, Question]] = [(str(Access.LABEL), candidates[len(candidates) // 2])]
    if all(side.model.scores is not None for side in sides):
        asked.append((str(Access.SCORES), LOGITS))
    found = []
    for access, question in asked:
        answers = [asking.answer(question, side, "canaries", account=Account()) for side in sides]
        values = [one.measured.values.double().mean(1).numpy() for one in answers]
        told = values[0] - values[1] if len(values) > 1 else values[0]
        found.append((access, question, told, float(answers[0].measured.queries.double().mean())))
    return found


def _record(
    bounds: list[CanaryBound],
    *,
    data: str,
    description: str,
    size: int,
    kinds: dict[str, int],
    inside: Bools,
    runs: int,
    delta: float,
    guarantee: Guarantee | None,
    environment: Environment,
    config: dict[str, object],
) -> CanaryRecord:
    kept = None
    if guarantee is not None:
        kept = all(one.epsilon <= guarantee.epsilon for one in bounds if one.kind == ALL)
    return CanaryRecord(
        results=CanaryResults(
            data=data,
            description=description,
            train_size=size,
            canaries=kinds,
            planted=int(inside.sum()),
            runs=runs,
            delta=delta,
            confidence=0.95,
            guarantee=guarantee,
            bounds=bounds,
            kept=kept,
            environment=environment,
        ),
        config=config,
    )


def _counted(kinds: Sequence[str]) -> dict[str, int]:
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def _classes(samples: Samples) -> int:
    return max(2, int(samples.labels.max()) + 1)

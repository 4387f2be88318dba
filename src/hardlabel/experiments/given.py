"""The case of a model and samples that the caller gives as objects."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.attacks import Need
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain, infer_domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import content
from hardlabel.experiments.case import (
    FEWEST_SHADOW,
    MOST_SHADOW,
    Case,
    CraftingPlan,
    Oracles,
    ReferencePlan,
    ShadowPlan,
    lacking_pairs,
)
from hardlabel.experiments.slices import slices_of
from hardlabel.experiments.training import smooth
from hardlabel.models import shadows
from hardlabel.models.architectures import usual_architecture
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import EstimatorTrainer, FunctionTrainer, RecipeTrainer, Trainer
from hardlabel.store import Store

SECOND_EPOCHS = 100  # Most epochs of the second opinion on a target whose training is not ours to repeat.
Pair = tuple[ArrayLike | Tensor, ArrayLike | Tensor]


def case_of(
    target: Oracles,
    description: str,
    members: Pair,
    nonmembers: Pair,
    *,
    population: Pair | None,
    trainer: Callable[..., object] | BaseEstimator | Recipe | None,
    train_size: int | None,
    domain: Domain | None,
    samples: int | None,
    shadow_labels: str,
    shadow_count: int,
    alike: bool,
    seed: int,
    device: torch.device,
    store: Store | None,
    slices: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> Case:
    """The case of a model and samples given as objects; see `hardlabel.audit`."""
    checks.one_of(("true", "target"), shadow_labels=shadow_labels)
    shadows.check_count(shadow_count)
    if samples is not None:
        checks.at_least(1, samples=samples)
    arrays = {"members": _arrays(members, "members"), "nonmembers": _arrays(nonmembers, "nonmembers")}
    if population is not None:
        arrays["population"] = _arrays(population, "population")
    if train_size is not None:
        checks.at_least(len(arrays["members"][0]), train_size=train_size)
    notes = []
    if domain is None:
        domain = _inferred(arrays)
        notes.append(f"The domain was inferred from the inputs: {domain.kind}, {domain}.")
    elif not callable(getattr(domain, "check", None)):
        raise InvalidInput(f"domain must be a domain such as hardlabel.Box, got {domain!r}")
    # Ids in an order that says nothing: neither a signal nor an oracle can read membership from them.
    total = sum(len(inputs) for inputs, _ in arrays.values())
    ids = torch.randperm(total, generator=randomness.generator(seed, "ids"))
    groups: dict[str, Samples] = {}
    for group, (inputs, labels) in arrays.items():
        domain.check(inputs, group)
        mine, ids = ids[: len(inputs)], ids[len(inputs) :]
        groups[group] = Samples(ids=mine, inputs=inputs, labels=labels, domain=domain)
    inside, outside = groups["members"], groups["nonmembers"]
    _refuse_shared(inside, outside)
    free = groups.get("population")
    if free is not None:
        free, dropped = _fresh(free, inside, outside, seed=seed)
        if dropped:
            notes.append(f"{dropped} population samples repeat others or are given as members or non-members.")
    classes = 1 + max(int(labels.max()) for _, labels in arrays.values())
    missing: dict[Need, str] = {} if target.scores is not None else {Need.SCORES: "the target answers with labels only"}
    fits = trainer_of(
        trainer, classes, arrays=not isinstance(members[0], Tensor), name=target.name, device=device, store=store
    )
    size = len(inside) if train_size is None else train_size
    shadow, why = shadow_plan(free, fits, size, guessed=train_size is None, labels=shadow_labels)
    if why is not None:
        missing[Need.SHADOW] = why
    rows = {int(one): row for group in (inside, outside) for row, one in enumerate(group.ids)}
    told = slices_of(slices or {}, (inside.ids, outside.ids), ("members", "nonmembers"))
    if samples is not None and max(len(inside), len(outside)) > samples:
        notes.append(f"Of {len(inside)} members and {len(outside)} non-members, at most {samples} each were attacked.")
        inside, outside = (_drawn(group, samples, seed) for group in (inside, outside))
    references, why = _reference_plan(
        concatenate(inside, outside), free, fits, size, count=shadow_count, alike=alike, seed=seed
    )
    if why is not None:
        missing |= {Need.REFERENCES: why, Need.GRADIENTS: why}
    missing |= lacking_pairs(shadow_count)
    crafting, why = crafting_plan(free, classes, size, seed=seed, device=device, store=store)
    if why is not None:
        missing |= {Need.CRAFTERS: why, Need.SURROGATE: why}
    return Case(
        data="samples given",
        target=target,
        target_description=description,
        classes=None,
        members=inside,
        nonmembers=outside,
        population=_unused(free, shadow),
        shadow=shadow,
        references=references,
        crafting=crafting,
        own=None if crafting is None else free,
        missing=missing,
        rows=rows,
        slices=told,
        notes=tuple(notes),
    )


def whole(pair: Pair, domain: Domain | None, *, seed: int) -> tuple[Samples, bool]:
    """One group of samples, shuffled, each input once, and whether it was given as arrays.

    Raises:
        InvalidInput: The pair or its values break a rule.
    """
    inputs, labels = _arrays(pair, "samples")
    domain = _inferred({"samples": (inputs, labels)}) if domain is None else domain
    domain.check(inputs, "samples")
    ids = given_ids(pair, seed=seed)
    everyone = Samples(ids=ids, inputs=inputs, labels=labels, domain=domain)
    return _fresh(everyone, seed=seed)[0], not isinstance(pair[0], Tensor)


def given_ids(pair: Pair, *, seed: int) -> Tensor:
    """The id of each row of a group given: `whole` gives them so."""
    return torch.randperm(len(_arrays(pair, "samples")[0]), generator=randomness.generator(seed, "ids"))


def _inferred(arrays: dict[str, tuple[Tensor, Tensor]]) -> Domain:
    shapes = {tuple(inputs.shape[1:]) for inputs, _ in arrays.values()}
    if len(shapes) > 1:
        told = ", ".join(f"{group} {tuple(inputs.shape)}" for group, (inputs, _) in arrays.items())
        raise InvalidInput(f"inputs must agree in shape, got {told}")
    return infer_domain(torch.cat([inputs for inputs, _ in arrays.values()]))


def _drawn(group: Samples, most: int, seed: int) -> Samples:
    """At most so many of a group, drawn by the seed."""
    order = torch.randperm(len(group), generator=randomness.generator(seed, "attacked samples"))
    return group.take(order[:most])


def _refuse_shared(members: Samples, nonmembers: Samples) -> None:
    """Refuses a sample that is both member and non-member.

    Raises:
        InvalidInput: Some inputs stand in both groups.
    """
    inside = content(members.inputs)
    shared = set(inside) & set(content(nonmembers.inputs))
    if shared:
        row = next(i for i, one in enumerate(inside) if one in shared)
        raise InvalidInput(
            f"members and nonmembers must not share inputs, got {len(shared)} in both (the first is members[{row}])"
        )


def _arrays(pair: Pair, name: str) -> tuple[Tensor, Tensor]:
    try:
        inputs, labels = pair
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a pair (inputs, labels), got {type(pair).__name__}") from error
    try:
        tensors = _tensor(inputs), _tensor(labels)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} must hold arrays of numbers ({' '.join(str(error).split())}); a table is encoded by "
            "hardlabel.MixedTable, labels are 0, 1, 2, ..."
        ) from error
    if not len(tensors[0]) or tensors[0].ndim < 2:
        raise InvalidInput(f"{name} must hold at least one sample (n, ...), got shape {tuple(tensors[0].shape)}")
    if len(tensors[1]) != len(tensors[0]):
        raise InvalidInput(
            f"{name} must hold one label per input, got {len(tensors[0])} inputs, {len(tensors[1])} labels"
        )
    if tensors[1].ndim != 1 or tensors[1].is_floating_point():
        raise InvalidInput(
            f"labels of {name} must be whole numbers ({len(tensors[0])},), "
            f"got {tensors[1].dtype} {tuple(tensors[1].shape)}"
        )
    return tensors[0].to(torch.float32), tensors[1].to(torch.int64)


def _tensor(values: ArrayLike | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values)
    # Pandas hands out read-only arrays, of which PyTorch warns.
    return torch.as_tensor(array if array.flags.writeable else array.copy())


def _fresh(population: Samples, *others: Samples, seed: int) -> tuple[Samples, int]:
    """The population without repeats and without what stands in `others`, shuffled, and how many were dropped."""
    seen = {one for other in others for one in content(other.inputs)}
    fresh = []
    for row, one in enumerate(content(population.inputs)):
        if one not in seen:
            seen.add(one)
            fresh.append(row)
    order = torch.randperm(len(fresh), generator=randomness.generator(seed, "population"))
    return population.take(torch.tensor(fresh, dtype=torch.int64)[order]), len(population) - len(fresh)


def _unused(population: Samples | None, shadow: ShadowPlan | None) -> Samples | None:
    """The population less what the shadow model was trained on or is asked about, or None where nothing is left."""
    if population is None or shadow is None:
        return population
    rest = population.take(slice(len(shadow.members) + len(shadow.nonmembers), None))
    return rest if len(rest) else None


def trainer_of(
    trainer: Callable[..., object] | BaseEstimator | Recipe | None,
    classes: int,
    *,
    arrays: bool,
    name: str | None,
    device: torch.device,
    store: Store | None,
) -> Trainer | None:
    if trainer is None:
        return None
    if isinstance(trainer, Recipe):
        return RecipeTrainer(recipe=trainer, classes=max(2, classes), device=device, store=store)
    if isinstance(trainer, BaseEstimator):
        return EstimatorTrainer(estimator=trainer, store=store)
    if not callable(trainer):
        raise InvalidInput(
            "trainer must be a function (inputs, labels, *, seed), a scikit-learn classifier or a Recipe, "
            f"got {type(trainer).__name__}"
        )
    return FunctionTrainer(function=trainer, arrays=arrays, name=name, store=store)


def shadow_plan(
    population: Samples | None, trainer: Trainer | None, size: int, *, guessed: bool, labels: str
) -> tuple[ShadowPlan | None, str | None]:
    """The plan, or None and why there is none.

    Raises:
        InvalidInput: Trainer and population are given but do not suffice.
    """
    if trainer is None or population is None:
        missing = " and ".join(
            name for name, thing in (("trainer", trainer), ("population", population)) if thing is None
        )
        return None, f"no shadow model could be trained without {missing}"
    if size < FEWEST_SHADOW:
        return None, f"no shadow model could be trained: train_size {size} is below {FEWEST_SHADOW}"
    if len(population) < size + FEWEST_SHADOW:
        raise InvalidInput(
            f"population must hold at least {size + FEWEST_SHADOW} usable samples, train_size {size} and "
            f"{FEWEST_SHADOW} non-members, got {len(population)}"
        )
    note = ""
    if guessed:
        note = f"The target's training size was not given; the shadow model is trained on {size}, the members given."
    attacked = min(size, MOST_SHADOW)
    plan = ShadowPlan(
        members=population.take(slice(0, size)),
        nonmembers=population.take(slice(size, size + attacked)),
        attacked=attacked,
        trainer=trainer,
        labels=labels,
        note=note,
    )
    return plan, None


def _reference_plan(
    attacked: Samples,
    population: Samples | None,
    trainer: Trainer | None,
    size: int,
    *,
    count: int,
    alike: bool,
    seed: int,
) -> tuple[ReferencePlan | None, str | None]:
    """The plan, or None and why there is none: a pool of the attacked samples, filled up to twice the training size."""
    if trainer is None:
        return None, "no reference models could be trained without trainer"
    pool = attacked
    if population is not None and len(attacked) < 2 * size:
        pool = concatenate(attacked, population.take(slice(0, 2 * size - len(attacked))))
    if len(pool) < 2 * FEWEST_SHADOW:
        return None, f"no reference models could be trained on half of {len(pool)} samples"
    pool = pool.take(torch.argsort(pool.ids))
    note = ""
    if len(pool) // 2 < size:
        note = (
            f"Reference models were trained on {len(pool) // 2} samples each, the target on {size}: "
            "more population would make them alike."
        )
    inside = shadows.pairs(count, len(pool), seed=seed)
    return ReferencePlan(pool=pool, inside=inside, trainer=trainer, seed=seed, alike=alike, note=note), None


def crafting_plan(
    population: Samples | None, classes: int, size: int, *, seed: int, device: torch.device, store: Store | None
) -> tuple[CraftingPlan | None, str | None]:
    """Two networks of our own on the two halves of the population, whatever the target is, or why there are none."""
    if population is None:
        return None, "no networks could be trained without population"
    half = min(len(population) // 2, size)
    if half < FEWEST_SHADOW:
        return None, f"no networks could be trained on half of {len(population)} population samples"
    recipe = smooth(Recipe(architecture=usual_architecture(population.domain)), population.domain)
    halves = [population.take(slice(part * half, (part + 1) * half)) for part in range(2)]
    trainer = RecipeTrainer(recipe=recipe, classes=max(2, classes), device=device, store=store)
    plain = Recipe(architecture=recipe.architecture, max_epochs=SECOND_EPOCHS)
    return CraftingPlan(
        trainer=trainer,
        sets=tuple((samples, randomness.derive(seed, "crafter", part)) for part, samples in enumerate(halves)),
        second=replace(trainer, recipe=plain),
        second_sets=((halves[0], randomness.derive(seed, "second crafter")),),
    ), None

"""The case of a model and samples that the caller gives as Python objects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.attacks import Need
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.from_settings import smooth
from hardlabel.audits.cases.plans import (
    FEWEST_SHADOW,
    MOST_SHADOW,
    CraftingPlan,
    ReferencePlan,
    ShadowPlan,
    lacking_pairs,
)
from hardlabel.audits.cases.repeats import without_repeats
from hardlabel.audits.cases.slices import slices_of
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import LARGEST_WHOLE, BinaryFeatures, Box, Domain, infer_domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.models import shadows
from hardlabel.models.architectures import usual_architecture
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import EstimatorTrainer, FunctionTrainer, RecipeTrainer, Trainer
from hardlabel.runs.settings import Attacker
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel

SECOND_EPOCHS = 100  # Most epochs of the second opinion's training, if the target's own training is not known.
Pair = tuple[ArrayLike | Tensor, ArrayLike | Tensor]


def case_of(
    target: AskableModel,
    description: str,
    members: Pair,
    nonmembers: Pair,
    *,
    population: Pair | None,
    trainer: Callable[..., object] | BaseEstimator | Recipe | None,
    train_size: int | None,
    domain: Domain | None,
    samples: int | None,
    attacker: Attacker,
    slices: Mapping[str, tuple[ArrayLike, ArrayLike]],
    private: bool,
    strict: bool,
    seed: int,
    device: torch.device,
    store: Store | None,
) -> Case:
    """The case of a model and samples; see `hardlabel.audit` for the arguments."""
    shadows.check_count(attacker.references)
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
    # Ids in random order: neither a signal nor an oracle can read membership from them.
    total = sum(len(inputs) for inputs, _ in arrays.values())
    ids = torch.randperm(total, generator=randomness.generator(seed, "ids"))
    groups: dict[str, Samples] = {}
    for group, (inputs, labels) in arrays.items():
        own = ids[: len(inputs)]
        groups[group] = Samples(ids=own, inputs=_settled(inputs, domain, group), labels=labels, domain=domain)
        ids = ids[len(inputs) :]
    given = groups["members"], groups["nonmembers"]
    rows = {int(sample_id): row for group in given for row, sample_id in enumerate(group.ids)}
    sliced = slices_of(slices, [group.ids for group in given], ("members", "nonmembers"))
    cleaned = without_repeats(groups, strict=strict)
    notes += cleaned.notes
    inside, outside, rest = (cleaned.groups.get(group) for group in ("members", "nonmembers", "population"))
    assert inside is not None, "members are given"
    assert outside is not None, "non-members are given"
    rest = None if rest is None else _shuffled(rest, seed=seed)
    highest = max(int(labels.max()) for _, labels in arrays.values())
    classes = max(2, highest + 1)  # Those that the labels show; `counted` asks the target for more.
    missing: dict[Need, str] = {} if target.scores is not None else {Need.SCORES: "the target answers with labels only"}
    fitter = trainer_of(
        trainer, classes, arrays=not isinstance(members[0], Tensor), name=target.name, device=device, store=store
    )
    size = len(inside) if train_size is None else train_size
    shadow, why = shadow_plan(rest, fitter, size, guessed=train_size is None, labels=attacker.shadow_labels)
    if why is not None:
        missing[Need.SHADOW] = why
    if samples is not None and max(len(inside), len(outside)) > samples:
        notes.append(f"Of {len(inside)} members and {len(outside)} non-members, at most {samples} each were attacked.")
        inside, outside = drawn(inside, samples, seed), drawn(outside, samples, seed)
    references, why = _reference_plan(concatenate(inside, outside), rest, fitter, size, attacker=attacker, seed=seed)
    if why is not None:
        missing |= {Need.REFERENCES: why, Need.GRADIENTS: why}
    missing |= lacking_pairs(attacker.references)
    crafting, why = crafting_plan(rest, classes, size, seed=seed, device=device, store=store)
    if why is not None:
        missing |= {Need.CRAFTERS: why, Need.SURROGATE: why}
    return Case(
        data="samples given",
        target=target,
        target_description=description,
        private=private,
        classes=classes,
        members=inside,
        nonmembers=outside,
        population=_unused(rest, shadow),
        shadow=shadow,
        references=references,
        crafting=crafting,
        own=None if crafting is None else rest,
        missing=missing,
        rows=rows,
        slices=sliced,
        notes=tuple(notes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Whole:
    """The samples of a pair.

    Attributes:
        samples: The samples, shuffled and without repeats.
        arrays: Whether the pair holds arrays, not tensors.
        notes: What was dropped.
    """

    samples: Samples
    arrays: bool
    notes: tuple[str, ...]


def whole(pair: Pair, domain: Domain | None, *, seed: int, strict: bool = False, name: str = "data") -> Whole:
    """The samples of a pair, shuffled and without repeats; `strict` refuses repeats, `name` is the pair's in errors.

    Raises:
        InvalidInput: The pair or its values break a rule.
    """
    inputs, labels = _arrays(pair, name)
    domain = _inferred({name: (inputs, labels)}) if domain is None else domain
    ids = given_ids(pair, seed=seed)
    everyone = Samples(ids=ids, inputs=_settled(inputs, domain, name), labels=labels, domain=domain)
    cleaned = without_repeats({name: everyone}, strict=strict)
    return Whole(
        samples=_shuffled(cleaned.groups[name], seed=seed),
        arrays=not isinstance(pair[0], Tensor),
        notes=cleaned.notes,
    )


def given_ids(pair: Pair, *, seed: int) -> Tensor:
    """The id that `whole` gives to each row of the pair."""
    return torch.randperm(len(_arrays(pair, "data")[0]), generator=randomness.generator(seed, "ids"))


def _inferred(arrays: dict[str, tuple[Tensor, Tensor]]) -> Domain:
    shapes = {tuple(inputs.shape[1:]) for inputs, _ in arrays.values()}
    if len(shapes) > 1:
        listed = ", ".join(f"{group} {tuple(inputs.shape)}" for group, (inputs, _) in arrays.items())
        raise InvalidInput(f"inputs must agree in shape, got {listed}")
    if len({inputs.is_floating_point() for inputs, _ in arrays.values()}) > 1:
        listed = ", ".join(f"{group} {_type(inputs)}" for group, (inputs, _) in arrays.items())
        raise InvalidInput(f"inputs must all be whole numbers or all be floats, got {listed}; or pass domain=")
    return infer_domain(torch.cat([inputs for inputs, _ in arrays.values()]))


def drawn(samples: Samples, most: int, seed: int) -> Samples:
    """At most `most` of the samples, drawn at random."""
    order = torch.randperm(len(samples), generator=randomness.generator(seed, "attacked samples"))
    return samples.take(order[:most])


def _settled(inputs: Tensor, domain: Domain, name: str) -> Tensor:
    """Inputs of any type as float32, checked by the domain."""
    if isinstance(domain, Box | BinaryFeatures):
        domain.check(inputs, name)  # As given: float32 rounds.
        return inputs.to(torch.float32)
    settled = inputs.to(torch.float32)
    domain.check(settled, name)
    return settled


def _arrays(pair: Pair, name: str) -> tuple[Tensor, Tensor]:
    """Inputs of their own type and labels, int64."""
    try:
        inputs, labels = pair
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a pair (inputs, labels), got {type(pair).__name__}") from error
    try:
        inputs, labels = _tensor(inputs, name, "inputs"), _tensor(labels, name, "labels")
    except InvalidInput:
        raise
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} must hold arrays of numbers ({' '.join(str(error).split())}); a table is encoded by "
            "hardlabel.MixedTable, labels are 0, 1, 2, ..."
        ) from error
    if inputs.ndim < 2 or not len(inputs):
        raise InvalidInput(f"{name} must hold at least one sample (n, ...), got shape {tuple(inputs.shape)}")
    if labels.ndim and len(labels) != len(inputs):
        raise InvalidInput(f"{name} must hold one label per input, got {len(inputs)} inputs, {len(labels)} labels")
    if labels.ndim != 1 or labels.is_floating_point():
        raise InvalidInput(
            f"labels of {name} must be whole numbers ({len(inputs)},), got {labels.dtype} {tuple(labels.shape)}"
        )
    if not inputs.is_floating_point() and inputs.dtype != torch.bool and inputs.numel():
        largest = max(int(inputs.max()), int(inputs.min()), key=abs)
        if abs(largest) > LARGEST_WHOLE:
            raise InvalidInput(
                f"{name} must hold whole numbers up to 2**24 = {LARGEST_WHOLE} in size, which float32 holds exactly, "
                f"got {largest}: encode codes by hardlabel.MixedTable, rescale measurements and give them as floats"
            )
    return inputs, labels.to(torch.int64)


def _tensor(values: ArrayLike | Tensor, group: str, name: str) -> Tensor:
    """The values on the CPU, of their own type; unsigned integers of 16 bits and more become int64."""
    if isinstance(values, Tensor):
        if values.is_complex():
            raise InvalidInput(f"{group} must hold arrays of real numbers, got {name} of type {_type(values)}")
        values = values.detach().cpu()
        if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
            return _tensor(values.numpy(), group, name)
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise InvalidInput(
            f"{group} must hold arrays of real numbers, got {name} of type {array.dtype}; a table with text, dates or "
            "codes is encoded by hardlabel.MixedTable, labels are 0, 1, 2, ..."
        )
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise InvalidInput(f"{name} of {group} must be below 2**63, got {int(array.max())}")
        array = array.astype(np.int64)
    # PyTorch warns about read-only arrays, which Pandas returns.
    return torch.as_tensor(array if array.flags.writeable else array.copy())


def _type(values: Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _shuffled(samples: Samples, *, seed: int) -> Samples:
    return samples.take(torch.randperm(len(samples), generator=randomness.generator(seed, "population")))


def _unused(population: Samples | None, shadow: ShadowPlan | None) -> Samples | None:
    """The population without the samples of the shadow model; None if nothing is left."""
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
    """The caller's recipe, classifier or function as a trainer; None if the caller gives none."""
    if trainer is None:
        return None
    if isinstance(trainer, Recipe):
        return RecipeTrainer(recipe=trainer, classes=classes, device=device, store=store)
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
    """The plan; or None and the reason.

    Raises:
        InvalidInput: Trainer and population are given, but the population is too small.
    """
    if trainer is None or population is None:
        given = {"trainer": trainer, "population": population}
        missing = " and ".join(name for name, value in given.items() if value is None)
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
    members, others = population.take(slice(0, size)), population.take(slice(size, None))
    return ShadowPlan.of(members, others, trainer, min(size, MOST_SHADOW), labels=labels, note=note), None


def _reference_plan(
    attacked: Samples, population: Samples | None, trainer: Trainer | None, size: int, *, attacker: Attacker, seed: int
) -> tuple[ReferencePlan | None, str | None]:
    """The plan; or None and the reason. Its pool: attacked samples, filled up from the population to 2 * `size`."""
    if trainer is None:
        return None, "no reference models could be trained without trainer"
    pool = attacked
    if population is not None and len(attacked) < 2 * size:
        pool = concatenate(attacked, population.take(slice(0, 2 * size - len(attacked))))
    if len(pool) < 2 * FEWEST_SHADOW:
        return None, f"no reference models could be trained on half of {len(pool)} samples"
    note = ""
    if len(pool) // 2 < size:
        note = (
            f"Reference models were trained on {len(pool) // 2} samples each, the target on {size}: "
            "more population would make them alike."
        )
    return ReferencePlan.of(pool, attacker.references, trainer, seed=seed, alike=attacker.alike, note=note), None


def crafting_plan(
    population: Samples | None, classes: int, size: int, *, seed: int, device: torch.device, store: Store | None
) -> tuple[CraftingPlan | None, str | None]:
    """The plan of two networks of ours, one for each half of the population; or None and the reason."""
    if population is None:
        return None, "no networks could be trained without population"
    half = min(len(population) // 2, size)
    if half < FEWEST_SHADOW:
        return None, f"no networks could be trained on half of {len(population)} population samples"
    plain = Recipe(architecture=usual_architecture(population.domain), max_epochs=SECOND_EPOCHS)
    trainer = RecipeTrainer(
        recipe=smooth(Recipe(architecture=plain.architecture), population.domain),
        classes=classes,
        device=device,
        store=store,
    )
    halves = [population.take(slice(number * half, (number + 1) * half)) for number in range(2)]
    return CraftingPlan(
        trainer=trainer,
        sets=tuple((samples, randomness.derive(seed, "crafter", number)) for number, samples in enumerate(halves)),
        second=replace(trainer, recipe=plain),
        second_sets=((halves[0], randomness.derive(seed, "second crafter")),),
    ), None

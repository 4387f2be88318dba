"""The case of a model and samples that the caller gives as Python objects."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from hardlabel import checks, randomness
from hardlabel.attacks import Need
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.from_settings import smooth
from hardlabel.audits.cases.pairs import Pair, Read, read_pairs, settled
from hardlabel.audits.cases.plans import (
    FEWEST_SHADOW,
    MOST_SHADOW,
    CraftingPlan,
    ReferencePlan,
    ShadowPlan,
    lacking_confidences,
    lacking_pairs,
)
from hardlabel.audits.cases.repeats import without_repeats
from hardlabel.audits.cases.slices import slices_of
from hardlabel.audits.cases.terms import Terms
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.models import shadows
from hardlabel.models.architectures import usual_architecture
from hardlabel.models.surrogates import SURROGATE_NOTE, surrogate
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import EstimatorTrainer, FunctionTrainer, RecipeTrainer, Trainer
from hardlabel.runs.settings import Attacker
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.coded import CodedEstimator, CodedFunction, Coding

SURROGATE = "surrogate"  # The trainer of an attacker who does not know how the target was trained.
SECOND_EPOCHS = 100  # Most epochs of the second opinion's training, if the target's own training is not known.


def case_of(
    target: AskableModel,
    description: str,
    given: Read,
    *,
    terms: Terms,
    trainer: Callable[..., object] | BaseEstimator | Recipe | str | None,
    train_size: int | None,
    samples: int | None,
    device: torch.device,
    store: Store | None,
) -> Case:
    """The case of a model and samples; see `hardlabel.audit` for the arguments."""
    attacker, focus, seed = terms.attacker, terms.focus, terms.seed
    shadows.check_count(attacker.references)
    if samples is not None:
        checks.at_least(1, samples=samples)
    arrays, domain, notes = given.groups, given.domain, list(given.notes)
    if train_size is not None:
        checks.at_least(len(arrays["members"][0]), train_size=train_size)
    # Ids in random order: neither a signal nor an oracle can read membership from them.
    total = sum(len(inputs) for inputs, _ in arrays.values())
    ids = torch.randperm(total, generator=randomness.generator(seed, "ids"))
    groups: dict[str, Samples] = {}
    for group, (inputs, labels) in arrays.items():
        own = ids[: len(inputs)]
        groups[group] = Samples(ids=own, inputs=settled(inputs, domain, group), labels=labels, domain=domain)
        ids = ids[len(inputs) :]
    asked = groups["members"], groups["nonmembers"]
    rows = {int(sample_id): row for group in asked for row, sample_id in enumerate(group.ids)}
    sliced = slices_of(focus.slices, [group.ids for group in asked], ("members", "nonmembers"))
    cleaned = without_repeats(groups, strict=focus.strict)
    notes += cleaned.notes
    inside, outside, rest = (cleaned.groups.get(group) for group in ("members", "nonmembers", "population"))
    assert inside is not None, "members are given"
    assert outside is not None, "non-members are given"
    rest = None if rest is None else _shuffled(rest, seed=seed)
    highest = max(int(labels.max()) for _, labels in arrays.values())
    classes = max(2, highest + 1)  # Those that the labels show; `counted` asks the target for more.
    missing: dict[Need, str] = {} if target.scores is not None else {Need.SCORES: "the target answers with labels only"}
    fitter = trainer_of(trainer, classes, given, name=target.name, device=device, store=store)
    if isinstance(trainer, str) and trainer == SURROGATE:
        notes.append(SURROGATE_NOTE)
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
    missing |= lacking_pairs(attacker.references) | lacking_confidences(fitter)
    if not attacker.alike:
        missing[Need.ALIKE] = "the attacker does not know how the target was trained"
    crafting, why = crafting_plan(rest, classes, size, seed=seed, device=device, store=store)
    if why is not None:
        missing |= {Need.CRAFTERS: why, Need.SURROGATE: why}
    return Case(
        data="samples given",
        target=target,
        target_description=description,
        private=focus.private,
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
        read: The pair as it was read.
        notes: What was dropped, and how the pair was read.
    """

    samples: Samples
    read: Read
    notes: tuple[str, ...]


def whole(pair: Pair, domain: Domain | Codec | None, *, seed: int, strict: bool = False, name: str = "data") -> Whole:
    """The samples of a pair, shuffled and without repeats; `strict` refuses repeats, `name` is the pair's in errors.

    Raises:
        InvalidInput: The pair or its values break a rule.
    """
    read = read_pairs({name: pair}, domain)
    inputs, labels = read.groups[name]
    ids = given_ids(len(inputs), seed=seed)
    everyone = Samples(ids=ids, inputs=settled(inputs, read.domain, name), labels=labels, domain=read.domain)
    cleaned = without_repeats({name: everyone}, strict=strict)
    notes = read.notes if read.coding != Coding() else ()
    return Whole(samples=_shuffled(cleaned.groups[name], seed=seed), read=read, notes=(*notes, *cleaned.notes))


def given_ids(count: int, *, seed: int) -> Tensor:
    """The id that `whole` gives to each of `count` rows."""
    return torch.randperm(count, generator=randomness.generator(seed, "ids"))


def drawn(samples: Samples, most: int, seed: int) -> Samples:
    """At most `most` of the samples, drawn at random."""
    order = torch.randperm(len(samples), generator=randomness.generator(seed, "attacked samples"))
    return samples.take(order[:most])


def _shuffled(samples: Samples, *, seed: int) -> Samples:
    return samples.take(torch.randperm(len(samples), generator=randomness.generator(seed, "population")))


def _unused(population: Samples | None, shadow: ShadowPlan | None) -> Samples | None:
    """The population without the samples of the shadow model; None if nothing is left."""
    if population is None or shadow is None:
        return population
    rest = population.take(slice(len(shadow.members) + len(shadow.nonmembers), None))
    return rest if len(rest) else None


def trainer_of(
    trainer: Callable[..., object] | BaseEstimator | Recipe | str | None,
    classes: int,
    given: Read,
    *,
    name: str | None,
    device: torch.device,
    store: Store | None,
) -> Trainer | None:
    """The caller's recipe, classifier or function as a trainer; None if the caller gives none.

    Classifiers and functions are trained in the caller's own terms.
    """
    coding = given.coding
    if trainer is None:
        return None
    if isinstance(trainer, Recipe):
        return RecipeTrainer(recipe=trainer, classes=classes, device=device, store=store)
    if isinstance(trainer, str) and trainer == SURROGATE:
        return surrogate(given.domain, classes, device=device, store=store)
    if isinstance(trainer, BaseEstimator):
        as_is = coding == Coding() or isinstance(trainer, CodedEstimator)
        estimator = trainer if as_is else CodedEstimator(trainer, coding, role="a model of the trainer's")
        return EstimatorTrainer(estimator=estimator, store=store)
    if not callable(trainer):
        raise InvalidInput(
            "trainer must be a function (inputs, labels, *, seed), a scikit-learn classifier, a Recipe, 'same' or "
            f"'surrogate', got {trainer!r}"
            if isinstance(trainer, str)
            else "trainer must be a function (inputs, labels, *, seed), a scikit-learn classifier or a Recipe, "
            f"got {type(trainer).__name__}"
        )
    if coding == Coding():
        return FunctionTrainer(function=trainer, arrays=given.arrays, name=name, store=store)
    return FunctionTrainer(function=CodedFunction(trainer, coding), arrays=False, name=name, store=store)


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

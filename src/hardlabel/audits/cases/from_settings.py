"""The case of a model that hardlabel trains itself, as settings say."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hardlabel import checks, randomness
from hardlabel.attacks import Need, family_of
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.plans import (
    FEWEST_SHADOW,
    MOST_ATTACKED,
    MOST_SHADOW,
    CraftingPlan,
    ReferencePlan,
    ShadowPlan,
    lacking_pairs,
)
from hardlabel.audits.cases.repeats import counted
from hardlabel.audits.cases.slices import read_slices
from hardlabel.audits.cases.terms import Chosen, Terms
from hardlabel.checks import InvalidInput
from hardlabel.data import augment, mapped
from hardlabel.data.augment import Move
from hardlabel.data.dataset import Dataset
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import Split, equal_sizes, split
from hardlabel.executors import Executor
from hardlabel.models import shadows
from hardlabel.models.architectures import build, check_name, usual_architecture
from hardlabel.models.train import Recipe, usual_precision
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.runs.progress import Watch, told
from hardlabel.runs.settings import MOST_MOVES, ModelSettings, TrainedSettings, moves_of
from hardlabel.store import Store
from hardlabel.targets.registry import askable


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """What the settings come to before anything is trained.

    Attributes:
        settings: The settings.
        data: The loaded data.
        parts: The data, split into groups.
        distinct: The members and the non-members without repeats.
        trainer: Trains the target, the shadow model and the reference models.
        attacked: Number of members attacked; the same number of non-members.
        shadow_attacked: The same, on the shadow model.
        missing: What the attacker cannot have, with the reason.
        picked: The attacks to run.
        notes: What the reader must know about the data.
    """

    settings: ModelSettings
    data: Dataset
    parts: Split
    distinct: tuple[Samples, Samples]
    trainer: RecipeTrainer
    attacked: int
    shadow_attacked: int
    missing: dict[Need, str]
    picked: Chosen
    notes: tuple[str, ...] = ()


def load(settings: ModelSettings, terms: Terms, *, device: torch.device, store: Store | None, watch: Watch) -> Loaded:
    """Loads and splits the data, and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    data = dataset_of(settings, watch, store)
    read_slices(settings.slices, settings.slices_file, data)  # Refuses unknown columns before any training.
    trainer = checked_trainer(settings, data, device=device, store=store)
    rows = counted(data.samples, strict=settings.strict)
    sizes = equal_sizes(len(data.samples), settings.train_size)
    parts = split(data.samples, sizes, seed=settings.seed, contents=rows.contents)
    distinct = rows.once(parts.members), rows.once(parts.nonmembers)
    attacked = at_most("samples", settings.samples, len(parts.members), MOST_ATTACKED)
    attacked = min(attacked, *map(len, distinct))
    if settings.shadow_samples is not None:
        checks.at_least(FEWEST_SHADOW, shadow_samples=settings.shadow_samples)
    shadows.check_count(settings.references)
    missing = lacking_pairs(settings.references)
    if len(parts.shadow_members) < FEWEST_SHADOW:
        reason = f"its training set would have fewer than {FEWEST_SHADOW} samples"
        needs = (Need.SHADOW, Need.REFERENCES, Need.CRAFTERS, Need.GRADIENTS, Need.SURROGATE)
        missing |= dict.fromkeys(needs, reason)
    return Loaded(
        settings=settings,
        data=data,
        parts=parts,
        distinct=distinct,
        trainer=trainer,
        attacked=attacked,
        # Refuses attacks that cannot be run.
        picked=terms.chosen(data.samples.domain, missing=missing, attacked=2 * attacked),
        shadow_attacked=at_most("shadow_samples", settings.shadow_samples, len(parts.shadow_members), MOST_SHADOW),
        missing=missing,
        notes=rows.notes,
    )


def case_of_settings(ready: Loaded, *, device: torch.device, watch: Watch, executor: Executor) -> Case:
    """Trains the target, or finds it in the store, and plans the attacker's models."""
    settings, data, parts, trainer = ready.settings, ready.data, ready.parts, ready.trainer
    watch.stage("training the target", trainer.epochs, "epochs")
    seed = randomness.derive(settings.seed, "target")
    target = shadows.train_alone(trainer, parts.members, seed, on_epoch=told(watch), executor=executor)
    shadow = references = crafting = own = None
    if Need.SHADOW not in ready.missing:
        shadow_groups = parts.shadow_members, parts.shadow_nonmembers
        shadow = ShadowPlan.of(*shadow_groups, trainer, ready.shadow_attacked, labels=settings.shadow_labels)
        pool = concatenate(*ready.distinct)
        references = ReferencePlan.of(pool, settings.references, trainer, seed=settings.seed)
        crafting = crafting_of(parts, trainer, seed=settings.seed)
        own = concatenate(*shadow_groups)
    return Case(
        data=data.name,
        target=askable(target.model, device, role="target"),
        target_description=f"{trainer.description}, {len(parts.members)} training samples, {target.told}",
        family=family_of(target.model),
        classes=data.classes,
        members=ready.distinct[0].take(slice(0, ready.attacked)),
        nonmembers=ready.distinct[1].take(slice(0, ready.attacked)),
        population=parts.population if len(parts.population) else None,
        shadow=shadow,
        references=references,
        crafting=crafting,
        own=own,
        missing=ready.missing,
        slices=read_slices(settings.slices, settings.slices_file, data),
        settings={
            "arch": trainer.recipe.architecture,
            "train_size": len(parts.members),
            "samples": ready.attacked,
            "shadow_samples": ready.shadow_attacked,
        },
        notes=(f"Data: {data.name}, {len(data.samples)} rows, {data.origin}.", *ready.notes),
    )


def dataset_of(settings: TrainedSettings, watch: Watch, store: Store | None) -> Dataset:
    """The data that the settings name; large data are mapped from a file in the store."""
    watch.stage(f"loading {settings.data}", 1, "files")
    return mapped.load(
        settings.data,
        folder=settings.folder,
        label=settings.label,
        missing=settings.missing,
        categorical=settings.categorical or None,
        store=store,
    )


def recipe_of(settings: TrainedSettings, domain: Domain, device: torch.device | None = None) -> Recipe:
    """How the settings train on `device`. None trains in float32, as defenses need."""
    if settings.arch is not None:
        check_name(settings.arch, argument="arch")
    architecture = settings.arch or usual_architecture(domain)
    precision = (
        "float32" if device is None else getattr(settings, "precision", None) or usual_precision(architecture, device)
    )
    return Recipe(
        architecture=architecture,
        precision=precision,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        batch_size=settings.batch_size,
        max_epochs=settings.max_epochs,
        stop_at_accuracy=settings.stop_at_accuracy,
        augment=moves(settings.augment),
    )


def checked_trainer(
    settings: TrainedSettings, data: Dataset, *, device: torch.device, store: Store | None, float32: bool = False
) -> RecipeTrainer:
    """Trains as the settings say; `float32` allows no other precision.

    Raises:
        InvalidInput: The network does not fit the shape of the data, or a setting breaks a rule.
    """
    domain = data.samples.domain
    recipe = recipe_of(settings, domain, None if float32 else device)
    try:
        build(recipe.architecture, shape=domain.shape, classes=data.classes, seed=0)
    except InvalidInput as error:  # It calls `arch` by another name.
        if settings.arch is None:
            raise
        raise InvalidInput(f"arch {settings.arch!r} does not suit the data: {error}") from error
    return RecipeTrainer(recipe=recipe, classes=data.classes, device=device, store=store)


def moves(names: Sequence[str]) -> tuple[Move, ...]:
    """The augmentations with these names.

    Raises:
        InvalidInput: A name is unknown, or its number is missing.
    """
    augmentations = []
    for name, parts in zip(names, moves_of(names), strict=True):
        sets = [_moves(move, distance) for move, distance in parts]
        count = math.prod(map(len, sets))
        if count > MOST_MOVES:
            raise InvalidInput(f"augment must make at most {MOST_MOVES:,} moves, got {name!r}, which makes {count:,}")
        augmentations.append(augment.joined(*sets))
    return augment.union(*augmentations)


def _moves(name: str, distance: int) -> tuple[Move, ...]:
    if name == "mirror":
        return augment.flips()
    if name == "rotate":
        return augment.rotations(distance, every_degree=True)
    if name == "cutout":
        return augment.cutouts(distance)
    return augment.union(*(augment.translations(pixels) for pixels in range(distance + 1)))


def crafting_of(parts: Split, trainer: RecipeTrainer, *, seed: int) -> CraftingPlan:
    """One smooth crafter for each shadow group; the shadow model gives the second opinion."""
    return CraftingPlan(
        trainer=replace(trainer, recipe=smooth(trainer.recipe, parts.members.domain)),
        sets=(
            (parts.shadow_members, randomness.derive(seed, "crafter", 0)),
            (parts.shadow_nonmembers, randomness.derive(seed, "crafter", 1)),
        ),
        second=trainer,
        second_sets=((parts.shadow_members, randomness.derive(seed, "shadow model")),),
    )


def smooth(recipe: Recipe, domain: Domain) -> Recipe:
    """How crafters are trained for targets of `recipe`: the same network, kept from learning its data by heart.

    Along the gradient of a smooth network, a record crosses the boundaries of other models too: the sooner, the less
    confident these are.
    """
    if usual_architecture(domain) == "cnn":
        moves = augment.union(augment.flips(), *(augment.translations(pixels) for pixels in range(3)))
        return replace(recipe, augment=moves, weight_decay=5e-4, max_epochs=25, stop_at_accuracy=None)
    if domain.kind == "tokens":  # A word is seen in few steps: slower ones would leave its vector as it was.
        return replace(recipe, learning_rate=1e-2, weight_decay=1e-3, max_epochs=50, stop_at_accuracy=None)
    return replace(recipe, weight_decay=3e-3, max_epochs=50, stop_at_accuracy=None)


def at_most(name: str, asked: int | None, there: int, usual: int) -> int:
    """The number `asked` for, or the `usual` number if it is None; never more than there are.

    Raises:
        InvalidInput: More are asked for than there are.
    """
    if asked is not None and asked > there:
        raise InvalidInput(f"{name} must be at most {there}, the size of the group, got {asked}")
    return min(there, usual) if asked is None else asked

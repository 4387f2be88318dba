"""The case of a model that hardlabel trains itself, as a configuration says."""

from dataclasses import dataclass, replace

import torch

from hardlabel import checks, randomness
from hardlabel.attacks import Need
from hardlabel.checks import InvalidInput
from hardlabel.data import augment, mapped
from hardlabel.data.dataset import Dataset
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import Split, equal_sizes, split
from hardlabel.executors import Executor
from hardlabel.experiments.case import (
    FEWEST_SHADOW,
    MOST_ATTACKED,
    MOST_SHADOW,
    Case,
    Chosen,
    CraftingPlan,
    Oracles,
    ReferencePlan,
    ShadowPlan,
    Terms,
    lacking_pairs,
)
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.progress import Watch, told
from hardlabel.experiments.slices import read_slices
from hardlabel.models import shadows
from hardlabel.models.architectures import build, usual_architecture
from hardlabel.models.train import Recipe, usual_precision
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """Everything a configuration leads to before anything is trained.

    Attributes:
        config: The configuration.
        data: What was loaded.
        parts: How it was split.
        trainer: Trains target, shadow model and references.
        attacked: Members, and non-members, that are attacked.
        shadow_attacked: The same on the shadow model.
        missing: What there is none of, and why, in words.
        picked: The attacks to run.
    """

    config: AuditConfig
    data: Dataset
    parts: Split
    trainer: RecipeTrainer
    attacked: int
    shadow_attacked: int
    missing: dict[Need, str]
    picked: Chosen

    @property
    def target_seed(self) -> int:
        """The seed of the target's training."""
        return randomness.derive(self.config.seed, "target")


def ground_of(config: AuditConfig, terms: Terms, *, device: torch.device, store: Store | None, watch: Watch) -> Ground:
    """Loads and splits the data and checks what can be checked; trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    data = loaded(config, watch, store)
    read_slices(config.slices, config.slices_file, data)  # Are they there?
    recipe = recipe_of(config, data.samples.domain, device)
    build(recipe.architecture, shape=data.samples.domain.shape, classes=data.classes, seed=0)  # Fits the shape?
    parts = split(data.samples, equal_sizes(len(data.samples), config.size), seed=config.seed)
    attacked = at_most("samples", config.samples, len(parts.members), MOST_ATTACKED)
    if config.shadow_samples is not None:
        checks.at_least(FEWEST_SHADOW, shadow_samples=config.shadow_samples)
    shadows.check_count(config.shadows)
    missing = lacking_pairs(config.shadows)
    if len(parts.shadow_members) < FEWEST_SHADOW:
        too_few = f"its training set would have fewer than {FEWEST_SHADOW} samples"
        needs = (Need.SHADOW, Need.REFERENCES, Need.CRAFTERS, Need.GRADIENTS, Need.SURROGATE)
        missing |= dict.fromkeys(needs, too_few)
    # Can those asked for be run?
    picked = terms.chosen(data.samples.domain, missing=missing, attacked=2 * attacked)
    return Ground(
        config=config,
        data=data,
        parts=parts,
        trainer=RecipeTrainer(recipe=recipe, classes=data.classes, device=device, store=store),
        attacked=attacked,
        shadow_attacked=at_most("shadow_samples", config.shadow_samples, len(parts.shadow_members), MOST_SHADOW),
        missing=missing,
        picked=picked,
    )


def case_of_config(ground: Ground, *, device: torch.device, watch: Watch, executor: Executor) -> Case:
    """Trains the target or finds it in the store, and lays out what is to be trained besides."""
    config, data, parts, trainer, missing = ground.config, ground.data, ground.parts, ground.trainer, ground.missing
    attacked, shadow_attacked, recipe = ground.attacked, ground.shadow_attacked, ground.trainer.recipe
    watch.stage("training the target", recipe.max_epochs, "epochs")
    target = shadows.train_alone(trainer, parts.members, ground.target_seed, on_epoch=told(watch), executor=executor)
    shadow = references = crafting = None
    if Need.SHADOW not in missing:
        shadow = ShadowPlan(
            members=parts.shadow_members,
            nonmembers=parts.shadow_nonmembers.take(slice(0, shadow_attacked)),
            attacked=shadow_attacked,
            trainer=trainer,
            labels=config.shadow_labels,
        )
        pool = pool_of(parts)
        references = ReferencePlan(
            pool=pool,
            inside=shadows.pairs(config.shadows, len(pool), seed=config.seed),
            trainer=trainer,
            seed=config.seed,
        )
        crafting = crafting_of(parts, trainer, seed=config.seed)
    return Case(
        data=data.name,
        target=Oracles.of(target.model, device, role="target"),
        target_description=f"{trainer.description}, {len(parts.members)} training samples, {target.told}",
        classes=data.classes,
        members=parts.members.take(slice(0, attacked)),
        nonmembers=parts.nonmembers.take(slice(0, attacked)),
        population=parts.population if len(parts.population) else None,
        shadow=shadow,
        references=references,
        crafting=crafting,
        own=concatenate(parts.shadow_members, parts.shadow_nonmembers) if shadow else None,
        missing=missing,
        slices=read_slices(config.slices, config.slices_file, data),
        settings={
            "arch": recipe.architecture,
            "size": len(parts.members),
            "samples": attacked,
            "shadow_samples": shadow_attacked,
        },
        notes=(f"Data: {data.name}, {len(data.samples)} rows, {data.origin}.",),
    )


def loaded(config: AuditConfig, watch: Watch, store: Store | None) -> Dataset:
    """The data a configuration names; large ones are mapped from a file in the store."""
    watch.stage(f"loading {config.data}", 1, "files")
    return mapped.load(
        config.data,
        folder=config.folder,
        label=config.label,
        missing=config.missing,
        categorical=config.categorical or None,
        store=store,
    )


def recipe_of(config: AuditConfig, domain: Domain, device: torch.device | None = None) -> Recipe:
    """How the configuration trains on `device`; without one, in float32, as defenses do."""
    architecture = config.arch or usual_architecture(domain)
    precision = "float32" if device is None else config.precision or usual_precision(architecture, device)
    return Recipe(
        architecture=architecture,
        precision=precision,
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        batch_size=config.batch_size,
        max_epochs=config.max_epochs,
        stop_at_accuracy=config.stop_at_accuracy,
        augment=config.moves,
    )


def pool_of(parts: Split) -> Samples:
    """Members and non-members in the order of their ids, which says nothing of who is who."""
    pool = concatenate(parts.members, parts.nonmembers)
    return pool.take(torch.argsort(pool.ids))


def crafting_of(parts: Split, trainer: RecipeTrainer, *, seed: int) -> CraftingPlan:
    """Two smooth crafters on the two halves of the shadow's data; the second opinion is the shadow model's."""
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
    """How crafters are trained for targets of `recipe`: the same network, but kept from learning its data by heart.

    The gradients of smooth networks carry over to other models best: their directions cross other models' boundaries
    where those models' confidence says.
    """
    if usual_architecture(domain) == "cnn":
        moves = augment.union(augment.flips(), *(augment.translations(d) for d in range(3)))
        return replace(recipe, augment=moves, weight_decay=5e-4, max_epochs=25, stop_at_accuracy=None)
    return replace(recipe, weight_decay=3e-3, max_epochs=50, stop_at_accuracy=None)


def at_most(name: str, asked: int | None, there: int, usual: int) -> int:
    """What was asked for, or the usual number where nobody said; no more than there is.

    Raises:
        InvalidInput: More was asked for.
    """
    if asked is not None and asked > there:
        raise InvalidInput(f"{name} must be at most {there}, the size of the group, got {asked}")
    return min(there, usual) if asked is None else asked

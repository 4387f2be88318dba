"""The case of a model that hardlabel trains itself, as a configuration says."""

import torch

from hardlabel import checks, randomness
from hardlabel.checks import InvalidInput
from hardlabel.data import sources
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.data.split import equal_sizes, split
from hardlabel.experiments.case import FEWEST_SHADOW, MOST_ATTACKED, MOST_SHADOW, Case, Oracles, ShadowPlan, Terms
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.progress import Watch
from hardlabel.models.architectures import build
from hardlabel.models.kept import trained
from hardlabel.models.train import EpochReport, Recipe, Trained
from hardlabel.store import Store

SMALLEST_CNN_SIDE = 16  # Smaller pictures get the fully connected network by default.


def case_of_config(
    config: AuditConfig, terms: Terms, *, device: torch.device, store: Store | None, watch: Watch
) -> Case:
    """Loads and splits the data, checks what can be checked, then trains the target or finds it in the store.

    Raises:
        InvalidInput: A setting breaks a rule; raised before the training.
    """
    watch.stage(f"loading {config.data}", 1, "files")
    data = sources.load(
        config.data,
        folder=config.folder,
        label=config.label,
        missing=config.missing,
        categorical=config.categorical or None,
    )
    recipe = _recipe(config, data.samples.domain)
    build(recipe.architecture, shape=data.samples.domain.shape, classes=data.classes, seed=0)  # Fits the shape?
    parts = split(data.samples, equal_sizes(len(data.samples), config.size), seed=config.seed)
    attacked = _at_most("samples", config.samples, len(parts.members), MOST_ATTACKED)
    if config.shadow_samples is not None:
        checks.at_least(FEWEST_SHADOW, shadow_samples=config.shadow_samples)
    why_no_shadow = None
    if len(parts.shadow_members) < FEWEST_SHADOW:
        why_no_shadow = f"its training set would have fewer than {FEWEST_SHADOW} samples"
    terms.chosen(data.samples.domain, scores=True, no_shadow=why_no_shadow)  # Can those asked for be run?
    shadow_attacked = _at_most("shadow_samples", config.shadow_samples, len(parts.shadow_members), MOST_SHADOW)

    classes = data.classes  # Apart from `data`, which need not stay in memory as long as the shadow's recipe.

    def fit(samples: Samples, seed: int, title: str) -> Trained:
        watch.stage(title, recipe.max_epochs, "epochs")
        return trained(
            recipe,
            samples,
            classes=classes,
            seed=seed,
            device=device,
            store=store,
            on_epoch=lambda report: _tell(watch, report),
        )

    def fit_shadow(samples: Samples, seed: int) -> tuple[object, float]:
        made = fit(samples, seed, "training the shadow model")
        return made.model, made.seconds

    target_seed = randomness.derive(config.seed, "target")
    target = fit(parts.members, target_seed, "training the target")
    shadow = None
    if why_no_shadow is None:
        shadow = ShadowPlan(
            members=parts.shadow_members,
            nonmembers=parts.shadow_nonmembers.take(slice(0, shadow_attacked)),
            attacked=shadow_attacked,
            fit=fit_shadow,
            labels=config.shadow_labels,
            description=_described(recipe),
        )
    return Case(
        data=data.name,
        target=Oracles.of(target.model, device, role="target"),
        target_description=f"{_described(recipe)}, {len(parts.members)} training samples, {target.epochs} epochs",
        classes=classes,
        members=parts.members.take(slice(0, attacked)),
        nonmembers=parts.nonmembers.take(slice(0, attacked)),
        population=parts.population if len(parts.population) else None,
        shadow=shadow,
        why_no_shadow=why_no_shadow,
        settings={
            "arch": recipe.architecture,
            "size": len(parts.members),
            "samples": attacked,
            "shadow_samples": shadow_attacked,
        },
        notes=(f"Data: {data.name}, {len(data.samples)} rows, {data.origin}.",),
    )


def _recipe(config: AuditConfig, domain: Domain) -> Recipe:
    large = domain.kind == "image" and min(domain.shape[1:]) >= SMALLEST_CNN_SIDE
    return Recipe(
        architecture=config.arch or ("cnn" if large else "fc"),
        optimizer=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        batch_size=config.batch_size,
        max_epochs=config.max_epochs,
        stop_at_accuracy=config.stop_at_accuracy,
        augment=config.moves,
    )


def _described(recipe: Recipe) -> str:
    words = f"{recipe.architecture}, {recipe.optimizer} {recipe.learning_rate:g}"
    if recipe.weight_decay:
        words += f", weight decay {recipe.weight_decay:g}"
    if recipe.augment:
        words += f", {len(recipe.augment)} augmentations"
    return words


def _at_most(name: str, asked: int | None, there: int, usual: int) -> int:
    if asked is not None and asked > there:
        raise InvalidInput(f"{name} must be at most {there}, the size of the group, got {asked}")
    return min(there, usual) if asked is None else asked


def _tell(watch: Watch, report: EpochReport) -> None:
    watch.advance(1)
    watch.detail(f"loss {report.loss:.3f}, accuracy {report.accuracy:.3f}")

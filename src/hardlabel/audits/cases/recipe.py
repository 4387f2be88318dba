"""The case of a recipe: models trained alike play target in turn, and are asked about the same samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import ArrayLike

from hardlabel import checks
from hardlabel.attacks import Need
from hardlabel.audits.cases.case import AttackerCase, classes_of
from hardlabel.audits.cases.from_arrays import crafting_plan, drawn, given_ids, shadow_plan, trainer_of, whole
from hardlabel.audits.cases.from_settings import at_most, checked_trainer, crafting_of, dataset_of
from hardlabel.audits.cases.pairs import Pair
from hardlabel.audits.cases.plans import (
    FEWEST_SHADOW,
    MOST_ATTACKED,
    MOST_SHADOW,
    ReferencePlan,
    ShadowPlan,
    lacking_confidences,
    lacking_pairs,
)
from hardlabel.audits.cases.repeats import counted
from hardlabel.audits.cases.slices import read_slices, slices_of
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import equal_sizes, split
from hardlabel.models import shadows
from hardlabel.runs.progress import Watch
from hardlabel.runs.settings import RecipeSettings
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeCase(AttackerCase):
    """What the audit of a recipe needs; see `AttackerCase` for the other attributes.

    Attributes:
        plan: How the models are trained. Each can be a target or a reference model.
        attacked: The samples of the pool that the models are asked about.
        targets: Number of models that play target.
        rows: Row of each id in the data given.
    """

    plan: ReferencePlan
    attacked: Samples
    targets: int
    rows: dict[int, int] = field(default_factory=dict)


def case_of_arrays(
    data: Pair,
    trainer: Any,
    *,
    train_size: int | None,
    repeats: int,
    references: int,
    samples: float,
    domain: Domain | None,
    slices: Mapping[str, ArrayLike],
    strict: bool,
    seed: int,
    device: torch.device,
    name: str | None,
    store: Store | None,
) -> RecipeCase:
    """The case of data and a trainer; see `hardlabel.audit_recipe` for the arguments."""
    check_repeats(repeats, references)
    checks.at_least(FEWEST_SHADOW, samples=samples)
    given = whole(data, domain, seed=seed, strict=strict)
    everyone = given.samples
    ids = given_ids(len(given.read.groups["data"][0]), seed=seed)
    sliced = slices_of({column: [values] for column, values in slices.items()}, [ids], ["samples"])
    size = len(everyone) // 4 if train_size is None else train_size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    if len(everyone) < 2 * size:
        raise InvalidInput(f"data must hold at least 2 * train_size = {2 * size} inputs, got {len(everyone)}")
    classes = classes_of(everyone)
    fitter = trainer_of(trainer, classes, given.read, name=name, device=device, store=store)
    if fitter is None:
        raise InvalidInput("trainer must be given for the audit of a recipe, got None")
    pool, rest = everyone.take(slice(0, 2 * size)), everyone.take(slice(2 * size, None))
    missing = lacking_pairs(references) | lacking_confidences(fitter)
    shadow = None
    if len(rest) >= size + FEWEST_SHADOW:
        shadow, _ = shadow_plan(rest, fitter, size, guessed=False, labels="true")
    else:
        missing[Need.SHADOW] = f"3 * train_size + {FEWEST_SHADOW} samples would be needed, got {len(everyone)}"
    crafting, why = crafting_plan(rest, classes, size, seed=seed, device=device, store=store)
    if why is not None:
        missing |= {Need.CRAFTERS: why, Need.SURROGATE: why}
    plan = ReferencePlan.of(pool, references + 2, fitter, seed=seed)
    return RecipeCase(
        data="samples given",
        classes=classes,
        plan=plan,
        attacked=drawn(plan.pool, round(2 * samples), seed),
        targets=repeats,
        population=rest if len(rest) else None,
        own=rest if len(rest) else None,
        shadow=shadow,
        crafting=crafting,
        missing=missing,
        slices=sliced,
        rows={sample_id: row for row, sample_id in enumerate(ids.tolist())},
        notes=given.notes,
    )


def check_repeats(repeats: int, references: int) -> None:
    """Refuses a wrong number of reference models, fewer than two targets, and more targets than models.

    Raises:
        InvalidInput: A number is out of range.
    """
    shadows.check_count(references)
    if not 2 <= repeats <= references + 2:
        raise InvalidInput(f"repeats must lie in [2, references + 2 = {references + 2}], got {repeats}")


def case_of_recipe(settings: RecipeSettings, *, device: torch.device, store: Store | None, watch: Watch) -> RecipeCase:
    """Loads and splits the data as for the audit of one model; members and non-members together are the pool."""
    check_repeats(settings.repeats, settings.references)
    data = dataset_of(settings, watch, store)
    trainer = checked_trainer(settings, data, device=device, store=store)
    rows = counted(data.samples, strict=settings.strict)
    sizes = equal_sizes(len(data.samples), settings.train_size)
    parts = split(data.samples, sizes, seed=settings.seed, contents=rows.contents)
    checks.at_least(FEWEST_SHADOW, train_size=len(parts.shadow_members))
    if settings.shadow_samples is not None:
        checks.at_least(FEWEST_SHADOW, shadow_samples=settings.shadow_samples)
    attacked = 2 * at_most("samples", settings.samples, len(parts.members), MOST_ATTACKED)
    shadow_attacked = at_most("shadow_samples", settings.shadow_samples, len(parts.shadow_members), MOST_SHADOW)
    # Halves of the pool are trained on: with an input twice, one model's member would be its non-member, too.
    pool = concatenate(rows.once(parts.members), rows.once(parts.nonmembers))
    plan = ReferencePlan.of(pool, settings.references + 2, trainer, seed=settings.seed)
    return RecipeCase(
        data=data.name,
        classes=data.classes,
        plan=plan,
        attacked=drawn(plan.pool, attacked, settings.seed),
        targets=settings.repeats,
        population=parts.population if len(parts.population) else None,
        own=concatenate(parts.shadow_members, parts.shadow_nonmembers),
        shadow=ShadowPlan.of(parts.shadow_members, parts.shadow_nonmembers, trainer, shadow_attacked),
        crafting=crafting_of(parts, trainer, seed=settings.seed),
        missing=lacking_pairs(settings.references),
        slices=read_slices(settings.slices, settings.slices_file, data),
        notes=(f"Data: {data.name}, {len(data.samples)} rows, {data.origin}.", *rows.notes),
    )

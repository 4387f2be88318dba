"""The audit of a training recipe: each model of the complementary pairs plays target in turn.

An audit of one model speaks of that model. Here T models are trained by the same recipe on random halves of one pool,
each is attacked with the others as references (its partner left out), and figures carry intervals over targets and
samples both.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from hardlabel import checks, randomness
from hardlabel.attacks import Attack, Need
from hardlabel.calibrations.base import wants_pool
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import equal_sizes, split
from hardlabel.experiments import evaluate, exposed, plan, runs
from hardlabel.experiments import scores as scores_of
from hardlabel.experiments.asking import Asking, Side
from hardlabel.experiments.batches import settled
from hardlabel.experiments.case import (
    FEWEST_SHADOW,
    MOST_ATTACKED,
    MOST_SHADOW,
    SHADOWS,
    CraftingPlan,
    Oracles,
    ReferencePlan,
    ShadowPlan,
    Terms,
    lacking_pairs,
)
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.environment import environment_of
from hardlabel.experiments.game import Game, Learned, Played, ReferenceSides
from hardlabel.experiments.given import Pair, crafting_plan, given_ids, shadow_plan, trainer_of, whole
from hardlabel.experiments.owned import knowledge_of, searched_population
from hardlabel.experiments.progress import SILENT, Watch
from hardlabel.experiments.recipe_record import RecipeRecord, RecipeResults, TargetModel
from hardlabel.experiments.record import Choice, LeftOut
from hardlabel.experiments.references import accuracies, craftable, crafters_of, sides_of, trained_references
from hardlabel.experiments.settings import Kind, settings_of, with_precision
from hardlabel.experiments.shadow import shadow_of
from hardlabel.experiments.slices import Slices, read_slices, slices_of
from hardlabel.experiments.training import at_most, crafting_of, loaded, pool_of, recipe_of
from hardlabel.experiments.work import USUAL, Work
from hardlabel.models import shadows as shadow_models
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import Made, RecipeTrainer
from hardlabel.oracles.pytorch import resolve_device
from hardlabel.store import Store


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeCase:
    """What a recipe's audit works on; see `Case` for the shared attributes.

    Attributes:
        plan: How the models are trained that play target and reference.
        attacked: Samples of the pool that are asked about.
        targets: How many models play target.
    """

    data: str
    plan: ReferencePlan
    attacked: Samples
    targets: int
    population: Samples | None = None
    own: Samples | None = None
    shadow: ShadowPlan | None = None
    crafting: CraftingPlan | None = None
    missing: dict[Need, str] = field(default_factory=dict)
    slices: Slices = field(default_factory=dict)
    rows: dict[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def audit_recipe(
    samples: Pair,
    trainer: Callable[..., object] | BaseEstimator | Recipe,
    *,
    train_size: int | None = None,
    repeats: int = 8,
    shadows: int = SHADOWS,
    attacked: int = 2 * MOST_ATTACKED,
    domain: Domain | None = None,
    attacks: Iterable[str | Attack] | None = None,
    budget: int | None = None,
    worst_case: float | None = None,
    slices: Mapping[str, ArrayLike] | None = None,
    show_records: bool = False,
    seed: int = 0,
    device: str = "auto",
    name: str | None = None,
    store: Store | None = None,
    watch: Watch = SILENT,
    work: Work = USUAL,
) -> RecipeRecord:
    """Audits a way of training instead of one model.

    Trains `shadows` + 2 models on random halves of a pool of 2 * train_size samples; `repeats` of them play target in
    turn, each attacked with `shadows` others as references. The rest of the samples trains a shadow model and crafters.

    Args:
        samples: (inputs, labels) to train on and to ask about, arrays or tensors (n, *shape) and (n,); each input once.
        trainer: As for `hardlabel.audit`.
        train_size: Samples per model; None for a quarter of those given.
        repeats: How many models play target, 2 to shadows + 2.
        shadows: References of each target, even, 2 to 256.
        attacked: Most samples of the pool that are asked about, about half of them members of each target.
        domain: Which inputs are legal; inferred if None.
        attacks: As for `hardlabel.audit`.
        budget: Most queries per sample, for each attack on its own.
        worst_case: Share of the points asked about that is chosen for each target as most at risk, by the other models
            alone, and reported apart.
        slices: Groups to report risk for: by name, a value for each of `samples`.
        show_records: Whether the record, and so the report, holds the exposed records themselves.
        seed: Fixes every draw.
        device: Where torch models run.
        name: What tells this trainer from others in a store, where it is a function.
        store: Keeps models and measurements.
        watch: Is told of progress.
        work: Where the work is done, and in pieces of which size.

    Raises:
        InvalidInput: An argument breaks a rule; raised before any training.
    """
    started = time.perf_counter()
    where = resolve_device(device)
    terms = Terms(
        attacks=None if attacks is None else tuple(attacks),
        budget=budget,
        seed=seed,
        worst_case=worst_case,
        show_records=show_records,
    )
    check_repeats(repeats, shadows)
    checks.at_least(2 * FEWEST_SHADOW, attacked=attacked)
    everyone, arrays = whole(samples, domain, seed=seed)
    given = given_ids(samples, seed=seed)
    told = slices_of({name: [one] for name, one in (slices or {}).items()}, [given], ["samples"])
    size = len(everyone) // 4 if train_size is None else train_size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    if len(everyone) < 2 * size:
        raise InvalidInput(f"samples must hold at least 2 * train_size = {2 * size} inputs, got {len(everyone)}")
    classes = int(everyone.labels.max()) + 1
    fits = trainer_of(trainer, classes, arrays=arrays, name=name, device=where, store=store)
    assert fits is not None
    pool, rest = everyone.take(slice(0, 2 * size)), everyone.take(slice(2 * size, None))
    missing = lacking_pairs(shadows)
    shadow = None
    if len(rest) >= size + FEWEST_SHADOW:
        shadow, _ = shadow_plan(rest, fits, size, guessed=False, labels="true")
    else:
        missing[Need.SHADOW] = f"3 * train_size + {FEWEST_SHADOW} samples would be needed, got {len(everyone)}"
    crafting, why = crafting_plan(rest, classes, size, seed=seed, device=where, store=store)
    if crafting is None:
        missing |= {Need.CRAFTERS: why or "", Need.SURROGATE: why or ""}
    pool = pool.take(torch.argsort(pool.ids))
    inside = shadow_models.pairs(shadows + 2, len(pool), seed=seed)
    case = RecipeCase(
        data="samples given",
        plan=ReferencePlan(pool=pool, inside=inside, trainer=fits, seed=seed),
        attacked=drawn(pool, attacked, seed),
        targets=repeats,
        population=rest if len(rest) else None,
        own=rest if len(rest) else None,
        shadow=shadow,
        crafting=crafting,
        missing=missing,
        slices=told,
        rows={one: row for row, one in enumerate(given.tolist())},
    )
    config: dict[str, object] = {"train_size": size, "repeats": repeats, "shadows": shadows, "attacked": attacked}
    config |= {"worst_case": worst_case, "slices": sorted(told), "show_records": show_records}
    config |= {"budget": budget, "seed": seed, "device": device, "name": name}
    asking = Asking(seed=seed, watch=watch, store=store, executor=work.executor, chunk=work.chunk)
    return play_recipe(case, terms, device=where, asking=asking, config=config, started=started)


def audit_recipe_config(
    config: AuditConfig, *, repeats: int, store: Store | None, watch: Watch = SILENT, work: Work = USUAL
) -> RecipeRecord:
    """Audits the recipe a configuration describes, and keeps the record in its folder; see `audit_recipe`.

    Raises:
        InvalidInput: A setting breaks a rule; raised before any training.
    """
    started = time.perf_counter()
    terms, case, settings, kept = _grounded(config, repeats, store, watch, work)
    assert config.out is not None
    if watch is not SILENT:
        watch.say(str(_plan_of(case, terms, work, config)))
    with runs.begun(config.out, settings, store=kept):
        asking = Asking(seed=terms.seed, watch=watch, store=kept, executor=work.executor, chunk=work.chunk)
        device = resolve_device(config.device)
        record = play_recipe(case, terms, device=device, asking=asking, config=settings, started=started)
        return record.save(config.out)


def plan_recipe_config(
    config: AuditConfig, *, repeats: int, store: Store | None, watch: Watch = SILENT, work: Work = USUAL
) -> plan.Plan:
    """What `audit_recipe_config` would do; loads the data, trains nothing, writes nothing.

    Raises:
        InvalidInput: See `audit_recipe_config`.
    """
    terms, case, _, _ = _grounded(config, repeats, store, watch, work)
    return _plan_of(case, terms, work, config)


def _grounded(
    config: AuditConfig, repeats: int, store: Store | None, watch: Watch, work: Work
) -> tuple[Terms, RecipeCase, dict[str, object], Store | None]:
    settings = settings_of(config, Kind.RECIPE, repeats=repeats)
    config = with_precision(config, elsewhere=work.executor.elsewhere)
    assert config.out is not None
    device = resolve_device(config.device)
    check_repeats(repeats, config.shadows)
    terms = Terms(
        attacks=None if config.attacks is None else tuple(config.attacks),
        budget=config.budget,
        networks=config.networks,
        seed=config.seed,
        worst_case=config.worst_case,
        show_records=config.show_records,
    )
    kept = runs.journaled(config.out, store, watch)
    case = case_of_recipe(config, repeats=repeats, device=device, store=kept, watch=watch)
    assert isinstance(case.plan.trainer, RecipeTrainer), "configurations train by recipes"
    return terms, case, {**settings, "precision": case.plan.trainer.recipe.precision}, kept


def _plan_of(case: RecipeCase, terms: Terms, work: Work, config: AuditConfig) -> plan.Plan:
    rows = terms.chosen(case.attacked.domain, missing=case.missing, attacked=len(case.attacked) * case.targets).rows
    return plan.of_recipe(
        case.plan,
        rows,
        attacked=len(case.attacked),
        targets=case.targets,
        shadow=case.shadow,
        budget=terms.budget,
        work=work,
        folder=config.out,
    )


def check_repeats(repeats: int, shadows: int) -> None:
    """Refuses more targets than there are models, or fewer than two.

    Raises:
        InvalidInput: It is so.
    """
    shadow_models.check_count(shadows)
    if not 2 <= repeats <= shadows + 2:
        raise InvalidInput(f"repeats must lie in [2, shadows + 2 = {shadows + 2}], got {repeats}")


def case_of_recipe(
    config: AuditConfig, *, repeats: int, device: torch.device, store: Store | None, watch: Watch
) -> RecipeCase:
    """Loads and splits the data as an audit of one model does; the pool is its members and non-members."""
    data = loaded(config, watch, store)
    recipe = recipe_of(config, data.samples.domain, device)
    parts = split(data.samples, equal_sizes(len(data.samples), config.size), seed=config.seed)
    checks.at_least(FEWEST_SHADOW, size=len(parts.shadow_members))
    trainer = RecipeTrainer(recipe=recipe, classes=data.classes, device=device, store=store)
    pool = pool_of(parts)
    attacked = 2 * at_most("samples", config.samples, len(parts.members), MOST_ATTACKED)
    shadow_attacked = at_most("shadow_samples", config.shadow_samples, len(parts.shadow_members), MOST_SHADOW)
    inside = shadow_models.pairs(config.shadows + 2, len(pool), seed=config.seed)
    return RecipeCase(
        data=data.name,
        plan=ReferencePlan(pool=pool, inside=inside, trainer=trainer, seed=config.seed),
        attacked=drawn(pool, attacked, config.seed),
        targets=repeats,
        population=parts.population if len(parts.population) else None,
        own=concatenate(parts.shadow_members, parts.shadow_nonmembers),
        shadow=ShadowPlan(
            members=parts.shadow_members,
            nonmembers=parts.shadow_nonmembers.take(slice(0, shadow_attacked)),
            attacked=shadow_attacked,
            trainer=trainer,
            labels="true",
        ),
        crafting=crafting_of(parts, trainer, seed=config.seed),
        missing=lacking_pairs(config.shadows),
        slices=read_slices(config.slices, config.slices_file, data),
        notes=(f"Data: {data.name}, {len(data.samples)} rows, {data.origin}.",),
    )


def drawn(pool: Samples, count: int, seed: int) -> Samples:
    """At most so many of the pool, drawn by the seed, in an order that says nothing."""
    order = torch.randperm(len(pool), generator=randomness.generator(seed, "attacked samples"))
    return pool.take(order[:count])


def turns(models: int) -> list[int]:
    """Who plays target first: one model of each pair, then their partners."""
    return [*range(0, models, 2), *range(1, models, 2)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The models of a recipe around one table, ready to play target in turn.

    Attributes:
        sides: Every model asked about the attacked samples.
        pool_sides: Every model asked about others of the pool; may be empty.
        shadow: The shadow model's side, or None.
        made: How the models were trained.
        case: What they were trained for.
        learned: What attacks have learned against each target; see `Game`. Filled by whoever plays several models in
            a target's place.
    """

    sides: tuple[Side, ...]
    pool_sides: tuple[Side, ...]
    shadow: Side | None
    made: Sequence[Made]
    case: RecipeCase
    learned: dict[int | None, dict[str, Learned]] = field(default_factory=dict)

    def game(self, target: int, *, budget: int | None, asking: Asking, crafted: bool = False) -> Game:
        """Model `target` against all others but its partner; with `crafted`, signals may craft on those."""
        others = [number for number in range(len(self.sides)) if number not in (target, target ^ 1)]
        side = self.sides[target]
        if crafted:
            own = self.case.plan
            there = craftable(own.pool, own.inside[others], [self.made[one] for one in others], side.samples)
            side = replace(side, knowledge=replace(side.knowledge, shadows=there))
        references = ReferenceSides(
            sides=tuple(self.sides[one] for one in others),
            partner=shadow_models.partners(len(others)),
            pool_sides=tuple(self.pool_sides[one] for one in others) if self.pool_sides else (),
            alike=self.case.plan.alike,
        )
        return Game(target=side, shadow=self.shadow, references=references, budget=budget, asking=asking)


def seated(case: RecipeCase, rows: Sequence[Attack], *, device: torch.device, asking: Asking) -> Table:
    """Trains every model of the case, or finds it in the store."""
    watch = asking.watch
    made = trained_references(case.plan, watch, asking.executor)
    crafters = crafters_of(case.crafting, watch, asking.executor)
    samples = case.attacked.to(device)
    knowledge = knowledge_of(case, crafters=crafters, shadows=None, device=device)
    classes = max(2, 1 + max(int(part.labels.max()) for part in (case.plan.pool, case.own) if part is not None))
    models = [Oracles.of(one.model, device, role="trainer's model", classes=classes) for one in made]
    models = settled(models, samples.inputs[:1], asking.store)
    with_pool = any(wants_pool(row.calibration, len(samples)) for row in rows if row.calibration.per_sample)
    sides = sides_of(case.plan, models, samples, knowledge, with_pool=with_pool)
    shadow = None
    if case.shadow is not None and any(row.learns_on_shadow for row in rows):
        searched = type(knowledge)(population=searched_population(case, device))
        shadow = shadow_of(case.shadow, knowledge=searched, classes=classes, device=device, asking=asking)[1]
    return Table(sides=sides.sides, pool_sides=sides.pool_sides, shadow=shadow, made=made, case=case)


def play_recipe(
    case: RecipeCase,
    terms: Terms,
    *,
    device: torch.device,
    asking: Asking,
    config: dict[str, object],
    started: float,
) -> RecipeRecord:
    """Plays every attack on every target and writes down what came of it."""
    watch = asking.watch
    picked = terms.chosen(case.attacked.domain, missing=case.missing, attacked=len(case.attacked) * case.targets)
    table = seated(case, picked.rows, device=device, asking=asking)
    numbers = turns(len(table.sides))[: case.targets]
    inside = torch.stack([table.sides[one].inside for one in numbers])
    results, frames, scores, every = [], [], {}, {}
    for attack in picked.rows:
        games = [
            table.game(one, budget=terms.budget, asking=asking, crafted=Need.GRADIENTS in attack.uses)
            for one in numbers
        ]
        why = _lacks(attack, table) or games[0].lacks(attack)
        if why is not None:
            picked.left_out[attack.name] = why
            continue
        played = [scores_of.played(game, attack) for game in games]
        result = evaluate.recipe_result(attack, played, inside=inside.numpy(), seed=terms.seed)
        watch.say(f"{attack.name}: AUC {result.auc}, {result.queries_per_sample.mean:.4g} queries per sample")
        results.append(result)
        scores[attack.name] = torch.stack([one.scores for one in played]).numpy()
        every[attack.name] = played
        frames += [
            _frame(attack, one, number, table.sides[number]) for one, number in zip(played, numbers, strict=True)
        ]
    watch.stage("who is exposed", 1, "looks")
    few = exposed.of_recipe(case, table, terms, numbers, every, rows=picked.rows, asking=asking)
    own, told = case.plan, accuracies(table.sides)
    return RecipeRecord(
        results=RecipeResults(
            data=case.data,
            domain=case.attacked.domain.kind,
            samples=len(case.attacked),
            train_size=int(own.inside[0].sum()),
            description=own.trainer.description,
            budget=terms.budget,
            references=len(table.sides) - 2,
            training_seconds=sum(one.seconds for one in table.made),
            targets=[
                TargetModel(model=one, train_accuracy=told[one][0], test_accuracy=told[one][1]) for one in numbers
            ],
            choice=Choice(attack=picked.rung.attack, queries=picked.rung.queries, why=picked.rung.why),
            attacks=results,
            differences=evaluate.recipe_differences(scores, {one.name: one.access for one in results}, inside.numpy()),
            left_out=[LeftOut(name=name, reason=reason) for name, reason in picked.left_out.items()],
            worst_case=few.worst_case,
            exposed=few.exposed,
            groups=few.groups,
            games=few.games,
            notes=list(case.notes),
            environment=environment_of(terms.seed, time.perf_counter() - started, device),
        ),
        scores=exposed.with_pseudonyms(pd.concat(frames, ignore_index=True), table.sides[0].samples)
        if frames
        else pd.DataFrame(),
        config=config,
    )


def _lacks(attack: Attack, table: Table) -> str | None:
    needs_scores = Need.REFERENCE_SCORES in attack.uses or Need.SCORES in attack.uses
    if needs_scores and any(side.model.scores is None for side in table.sides):
        return "the models answer with labels only"
    if Need.GRADIENTS in attack.uses and not all(side.model.torch_model for side in table.sides):
        return "the reference models show no gradients"
    return None


def _frame(attack: Attack, played: Played, number: int, side: Side) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "target": number,
            "id": side.samples.ids.tolist(),
            "member": side.inside.numpy(),
            "label": side.samples.labels.cpu().numpy(),
            "attack": attack.name,
            "score": played.scores.numpy(),
            "queries": played.measurement.queries.numpy(),
        }
    )

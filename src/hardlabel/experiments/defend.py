"""Compares defenses: models trained with each are attacked, by attackers who know of it and by such as do not.

Models of every defense are trained on the same complementary pairs from the same seeds, play target in turn and are
asked about the same samples, so that differences are paired. An adaptive attacker's references and shadow model are
trained and guarded with the defense; the other's are plain.
"""

import contextlib
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from hardlabel import checks
from hardlabel.attacks import Attack, LabelAttack, Need, ScoreAttack, ladder
from hardlabel.checks import InvalidInput
from hardlabel.data import sources
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import DEFAULT_SIZE, equal_sizes, split
from hardlabel.defenses.base import Defender, Privacy
from hardlabel.defenses.table import Strength, chosen
from hardlabel.defenses.trainer import Defended, defended
from hardlabel.experiments import plan, runs
from hardlabel.experiments import scores as scores_of
from hardlabel.experiments.asking import Asking, Side
from hardlabel.experiments.case import (
    FEWEST_SHADOW,
    MOST_ATTACKED,
    MOST_SHADOW,
    SHADOWS,
    ReferencePlan,
    ShadowPlan,
    Terms,
    lacking_pairs,
)
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.defend_record import (
    NONE,
    DefendRecord,
    DefendResults,
    DefenseResult,
    PlayedAttack,
    TestedGuarantee,
    column,
)
from hardlabel.experiments.environment import environment_of
from hardlabel.experiments.game import Game, Played
from hardlabel.experiments.given import Pair, crafting_plan, trainer_of, whole
from hardlabel.experiments.progress import SILENT, Watch
from hardlabel.experiments.recipe import RecipeCase, Table, check_repeats, drawn, seated, turns
from hardlabel.experiments.recommend import MARGIN, recommendation, with_front
from hardlabel.experiments.record import LeftOut, Queries
from hardlabel.experiments.settings import Kind, settings_of
from hardlabel.experiments.training import at_most, loaded, recipe_of
from hardlabel.experiments.work import USUAL, Work
from hardlabel.metrics import crossed
from hardlabel.metrics.crossed_rates import accuracy, accuracy_difference
from hardlabel.metrics.one_run import half_split_bound
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.models import shadows as shadow_models
from hardlabel.models.architectures import build
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.oracles.pytorch import resolve_device
from hardlabel.randomness import derive
from hardlabel.store import Store

Bools = NDArray[np.bool_]
GROUPS = 5  # Members, non-members, the same for the shadow model, and the defender's reserve.
FPR = 0.01
TIMED = 1000  # Inputs whose labels are timed.


def defend(
    samples: Pair,
    trainer: Recipe | BaseEstimator,
    *,
    defenses: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[float]] | None = None,
    train_size: int | None = None,
    repeats: int = 8,
    shadows: int = SHADOWS,
    attacked: int = 2 * MOST_ATTACKED,
    domain: Domain | None = None,
    attacks: Sequence[str | Attack] | None = None,
    budget: int | None = None,
    pretraining: Pair | None = None,
    seed: int = 0,
    device: str = "auto",
    store: Store | None = None,
    watch: Watch = SILENT,
    work: Work = USUAL,
) -> DefendRecord:
    """Says which defense helps a way of training, and what it costs.

    Trains `shadows` + 2 models without and with each defense on random halves of a pool of 2 * train_size samples;
    `repeats` of them play target. Two more groups train and test a shadow model; the rest is the defender's reserve.

    Args:
        samples: (inputs, labels), arrays or tensors (n, *shape) and (n,); each input once. trainer: A recipe, or a
        scikit-learn classifier, for which only inference defenses can be compared. defenses: Names from
        `hardlabel.defenses.table.TABLE`; None for all that suit. levels: Strengths by name, in place of the usual
        ones. train_size: Samples per model; None for a fifth of those given, 2,500 at most. repeats: How many models
        play target, 2 to shadows + 2. shadows: References of each target, even, 2 to 256. attacked: Most samples of
        the pool that are asked about. domain: Which inputs are legal; inferred if None. attacks: None for gap, the
        strongest label-only attack within the budget, shadow-network and lira. budget: Most queries per sample, for
        each attack on its own. pretraining: Other labelled data of the same shape for transfer learning; None for the
        reserve. seed: Fixes every draw. device: Where models run. store: Keeps models and measurements: a comparison
        that broke off goes on where it was. None for a temporary one. watch: Is told of progress. work: Where models
        are trained and asked.

    Raises:
        InvalidInput: An argument breaks a rule, or a defense asked for cannot be had; raised before any training.
    """
    started = time.perf_counter()
    where = resolve_device(device)
    everyone, _ = whole(samples, domain, seed=seed)
    source = None if pretraining is None else whole(pretraining, None, seed=seed)[0]
    classes = max(2, int(everyone.labels.max()) + 1)
    if not isinstance(trainer, Recipe | BaseEstimator):
        raise InvalidInput(f"trainer must be a hardlabel.Recipe or a classifier, got {type(trainer).__name__}")
    with _kept(store) as there:
        fits = trainer_of(trainer, classes, arrays=True, name=None, device=where, store=there)
        assert fits is not None
        config: dict[str, object] = {"repeats": repeats, "shadows": shadows, "attacked": attacked, "budget": budget}
        asked = _grounded(
            _Asked(
                data="samples given",
                everyone=everyone,
                classes=classes,
                trainer=fits,
                size=train_size,
                attacked=attacked,
                repeats=repeats,
                shadows=shadows,
                defenses=defenses,
                levels=levels,
                terms=Terms(attacks=None if attacks is None else tuple(attacks), budget=budget, seed=seed),
                pretraining=source,
            ),
            device=where,
            store=there,
        )
        asking = Asking(seed=seed, watch=watch, store=there, executor=work.executor, chunk=work.chunk)
        settings = config | {"seed": seed, "device": device}
        return _compared(asked, device=where, asking=asking, config=settings, started=started)


def defend_config(
    config: AuditConfig,
    *,
    repeats: int,
    defenses: Sequence[str] | None,
    levels: Mapping[str, Sequence[float]] | None = None,
    pretrain: str | None = None,
    store: Store | None,
    watch: Watch = SILENT,
    work: Work = USUAL,
) -> DefendRecord:
    """Compares defenses on the data and for the recipe a configuration describes; keeps the record in its folder.

    `pretrain` names the data to pretrain on. See `defend`.
    """
    started = time.perf_counter()
    journaled = _journaled(config, store, watch)
    with _kept(journaled) as there:
        asked, settings = _of_config(config, repeats, defenses, levels, pretrain, there, watch)
        assert config.out is not None
        if watch is not SILENT:
            watch.say(str(_plan_of(asked, work, config)))
        with runs.begun(config.out, settings, store=journaled):
            asking = Asking(seed=config.seed, watch=watch, store=there, executor=work.executor, chunk=work.chunk)
            device = resolve_device(config.device)
            return _compared(asked, device=device, asking=asking, config=settings, started=started).save(config.out)


def plan_defend_config(
    config: AuditConfig,
    *,
    repeats: int,
    defenses: Sequence[str] | None,
    levels: Mapping[str, Sequence[float]] | None = None,
    pretrain: str | None = None,
    store: Store | None,
    watch: Watch = SILENT,
    work: Work = USUAL,
) -> plan.Plan:
    """What `defend_config` would do; loads the data, trains nothing, writes nothing.

    Raises:
        InvalidInput: See `defend_config`.
    """
    with _kept(_journaled(config, store, watch)) as there:
        asked, _ = _of_config(config, repeats, defenses, levels, pretrain, there, watch)
        return _plan_of(asked, work, config)


def _journaled(config: AuditConfig, store: Store | None, watch: Watch) -> Store | None:
    if config.out is None:
        raise InvalidInput("out must name the run folder, got None")
    return runs.journaled(config.out, store, watch)


def _of_config(
    config: AuditConfig,
    repeats: int,
    defenses: Sequence[str] | None,
    levels: Mapping[str, Sequence[float]] | None,
    pretrain: str | None,
    store: Store,
    watch: Watch,
) -> tuple["_Grounded", dict[str, object]]:
    """What is compared, and the settings that are kept."""
    where = resolve_device(config.device)
    settings = settings_of(
        config,
        Kind.DEFENSES,
        repeats=repeats,
        defenses=None if defenses is None else list(defenses),
        levels=None if levels is None else {name: list(some) for name, some in levels.items()},
        pretrain=pretrain,
    )
    chosen(defenses, levels)  # Before anything is loaded.
    data = loaded(config, watch, store)
    recipe = recipe_of(config, data.samples.domain)
    build(recipe.architecture, shape=data.samples.domain.shape, classes=data.classes, seed=0)  # Fits the shape?
    asked = _Asked(
        data=data.name,
        everyone=data.samples,
        classes=data.classes,
        trainer=RecipeTrainer(recipe=recipe, classes=data.classes, device=where, store=store),
        size=config.size,
        attacked=2 * (config.samples or MOST_ATTACKED),
        repeats=repeats,
        shadows=config.shadows,
        defenses=defenses,
        levels=levels,
        terms=Terms(
            attacks=None if config.attacks is None else tuple(config.attacks),
            budget=config.budget,
            networks=config.networks,
            seed=config.seed,
        ),
        pretraining=None if pretrain is None else sources.load(pretrain, folder=config.folder).samples,
    )
    return _grounded(asked, device=where, store=store), settings


def _plan_of(asked: "_Grounded", work: Work, config: AuditConfig) -> plan.Plan:
    case = asked.case
    return plan.of_comparison(
        case.plan,
        asked.rows,
        defenses=[
            plan.Compared(trained=made.training is not None, keeps_labels=strength.row.keeps_labels)
            for strength, made in asked.strengths
        ],
        attacked=len(case.attacked),
        targets=case.targets,
        shadow=case.shadow,
        crafted=case.crafting is not None,
        budget=asked.terms.budget,
        work=work,
        folder=config.out,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    data: str
    everyone: Samples
    classes: int
    trainer: Trainer
    size: int | None
    attacked: int
    repeats: int
    shadows: int
    defenses: Sequence[str] | None
    levels: Mapping[str, Sequence[float]] | None
    terms: Terms
    pretraining: Samples | None


def _kept(store: Store | None) -> "contextlib.AbstractContextManager[Store]":
    """The store, or one that lives as long as the comparison: plain models serve many defenses."""
    return contextlib.nullcontext(store) if store is not None else _temporary()


@contextlib.contextmanager
def _temporary():  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as folder:
        yield Store(folder)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grounded:
    """What is compared, checked; nothing is trained yet."""

    case: RecipeCase
    rows: Sequence[Attack]
    terms: Terms
    shadows: int
    defender: Defender
    strengths: Sequence[tuple[Strength, Defended]]
    left_out: Sequence[LeftOut]


def _grounded(asked: _Asked, *, device: torch.device, store: Store) -> _Grounded:
    check_repeats(asked.repeats, asked.shadows)
    checks.at_least(2 * FEWEST_SHADOW, attacked=asked.attacked)
    case, reserve = _case(asked, device=device, store=store)
    defender = Defender(
        domain=case.attacked.domain,
        classes=asked.classes,
        train_size=int(case.plan.inside[0].sum()),
        reserve=reserve,
        pretraining=asked.pretraining,
        device=device,
        store=store,
        seed=asked.terms.seed,
    )
    rows = _attacks(asked.terms, case)
    if not any(row.crafted for row in rows):
        case = replace(case, crafting=None)  # Nobody would look at its networks.
    strengths, left_out = [], []
    for strength in chosen(asked.defenses, asked.levels):
        try:
            _refuse_unplayable(strength, rows)
            strengths.append((strength, defended(strength, asked.trainer, defender)))
        except InvalidInput as error:
            if asked.defenses is not None:
                raise
            left_out.append(LeftOut(name=strength.name, reason=str(error)))
    return _Grounded(
        case=case,
        rows=rows,
        terms=asked.terms,
        shadows=asked.shadows,
        defender=defender,
        strengths=strengths,
        left_out=left_out,
    )


def _compared(
    asked: _Grounded, *, device: torch.device, asking: Asking, config: dict[str, object], started: float
) -> DefendRecord:
    case, reserve = asked.case, asked.defender.reserve
    _train_ahead(asked, asking)
    stage = _Stage(case, asked.rows, asked.terms, device=device, asking=asking)
    results = [stage.undefended(), *(stage.defended(strength, made) for strength, made in asked.strengths)]
    results = with_front(results)
    return DefendRecord(
        results=DefendResults(
            data=case.data,
            domain=case.attacked.domain.kind,
            samples=len(case.attacked),
            train_size=asked.defender.train_size,
            reserve=0 if reserve is None else len(reserve),
            targets=case.targets,
            references=asked.shadows,
            budget=asked.terms.budget,
            margin=MARGIN,
            defenses=results,
            left_out=list(asked.left_out),
            recommendation=recommendation(results, confidence=CONFIDENCE),
            notes=list(case.notes),
            environment=environment_of(asked.terms.seed, time.perf_counter() - started, device),
        ),
        scores=stage.frame(),
        config=config,
    )


def _train_ahead(asked: _Grounded, asking: Asking) -> None:
    """Trains the models of all defenses, plain ones first, side by side: into the store, where they are found later."""
    case, watch = asked.case, asking.watch
    pool, wanted = case.plan.pool, shadow_models.jobs(case.plan.inside, seed=case.plan.seed)
    shadowed = case.crafting is not None or any(row.learns_on_shadow for row in asked.rows)
    if case.shadow is not None and shadowed:
        rows = torch.arange(len(pool), len(pool) + len(case.shadow.members))
        pool = concatenate(pool, case.shadow.members)
        wanted.append(shadow_models.Job(rows=rows, seed=derive(case.plan.seed, "shadow model")))
    shadow_models.train_ahead(
        [case.plan.trainer, *(made.bare for _, made in asked.strengths)],
        pool,
        wanted,
        on_start=lambda count: watch.stage("training the models of all defenses", count, "models"),
        on_done=lambda progress: watch.advance(1),
        executor=asking.executor,
    )


def _case(asked: _Asked, *, device: torch.device, store: Store) -> tuple[RecipeCase, Samples | None]:
    """The undefended case, and the defender's reserve: at most as many samples as a model is trained on."""
    everyone, seed = asked.everyone, asked.terms.seed
    size = min(len(everyone) // GROUPS, DEFAULT_SIZE) if asked.size is None else asked.size
    checks.at_least(FEWEST_SHADOW, train_size=size)
    parts = split(everyone, equal_sizes(len(everyone), size), seed=seed)
    pool = concatenate(parts.members, parts.nonmembers)
    pool = pool.take(torch.argsort(pool.ids))
    own = concatenate(parts.shadow_members, parts.shadow_nonmembers)
    tested = at_most("shadow_samples", None, size, MOST_SHADOW)
    crafting, _ = crafting_plan(own, asked.classes, size, seed=seed, device=device, store=store)
    models = ReferencePlan(
        pool=pool,
        inside=shadow_models.pairs(asked.shadows + 2, len(pool), seed=seed),
        trainer=asked.trainer,
        seed=seed,
    )
    case = RecipeCase(
        data=asked.data,
        plan=models,
        attacked=drawn(pool, asked.attacked, seed),
        targets=asked.repeats,
        own=own,
        shadow=ShadowPlan(
            members=parts.shadow_members,
            nonmembers=parts.shadow_nonmembers.take(slice(0, tested)),
            attacked=tested,
            trainer=asked.trainer,
            labels="true",
        ),
        crafting=crafting,
        missing=lacking_pairs(asked.shadows),
        notes=(f"Data: {asked.data}, {len(everyone)} rows.",),
    )
    return _with_second(case, asked.trainer), parts.population.take(slice(0, size)) if len(parts.population) else None


def _with_second(case: RecipeCase, trainer: Trainer) -> RecipeCase:
    """The case whose second crafter is the shadow model, as the attacker trains it, where that is a network."""
    if case.crafting is None or case.shadow is None or not isinstance(trainer, RecipeTrainer):
        return case
    sets = ((case.shadow.members, derive(case.plan.seed, "shadow model")),)
    return replace(case, crafting=replace(case.crafting, second=trainer, second_sets=sets))


def _attacks(terms: Terms, case: RecipeCase) -> list[Attack]:
    """Those asked for, or a few of each kind."""
    if terms.attacks is None:
        rung = ladder.best(case.attacked.domain, terms.budget or ladder.USUAL, case.missing)
        names = dict.fromkeys(("gap", rung.attack, "shadow-network", "lira"))
        terms = replace(terms, attacks=tuple(names))
    return terms.chosen(case.attacked.domain, missing=case.missing, attacked=len(case.attacked) * case.targets).rows


class _Stage:
    """The undefended models, and every defense played beside them."""

    def __init__(
        self, case: RecipeCase, rows: Sequence[Attack], terms: Terms, *, device: torch.device, asking: Asking
    ) -> None:
        self._case, self._rows, self._terms = case, rows, terms
        self._device, self._watch, self._asking = device, asking.watch, asking
        self._plain = seated(case, rows, device=device, asking=asking)
        self._numbers = turns(len(self._plain.sides))[: case.targets]
        self._inside = torch.stack([self._plain.sides[one].inside for one in self._numbers]).numpy()
        self._right = self._answers(self._plain)[0]
        self.scores: dict[tuple[str, str], NDArray[np.float64]] = {}  # By defense and attack's title, (T, n).
        self._figures: dict[str, PlayedAttack] = {}

    def frame(self) -> pd.DataFrame:
        """Every score, one row per target and sample; see `DefendRecord.scores`."""
        side = self._plain.sides[self._numbers[0]]
        samples = len(side.samples)
        columns: dict[str, object] = {
            "target": np.repeat(self._numbers, samples),
            "id": np.tile(side.samples.ids.cpu().numpy(), len(self._numbers)),
            "member": self._inside.ravel(),
        }
        columns |= {column(*key): found.ravel() for key, found in self.scores.items()}
        return pd.DataFrame(columns)

    def undefended(self) -> DefenseResult:
        """The plain models' figures, which all others are compared with."""
        for attack in self._rows:
            if not _shows(self._plain, attack):
                continue
            games = [self._played_on(self._plain, attack, one) for one in self._numbers]
            if games[0].lacks(attack) is not None:
                continue
            self._keep(attack, [scores_of.played(game, attack) for game in games])
        if not self._figures:
            raise InvalidInput("attacks must hold one that these models can be asked about, got none")
        return self._result(None, None, self._plain, list(self._figures.values()))

    def defended(self, strength: Strength, made: Defended) -> DefenseResult:
        """A defense's figures."""
        self._watch.say(f"{strength.name}: {made.trainer.description}")
        case = replace(
            self._case,
            plan=replace(self._case.plan, trainer=made.trainer),
            shadow=None if self._case.shadow is None else replace(self._case.shadow, trainer=made.trainer),
        )
        case = _with_second(case, made.bare)
        table = seated(case, self._rows, device=self._device, asking=self._asking)
        found = [one for attack in self._rows for one in self._attacked(attack, strength, table)]
        return self._result(strength, made, table, found)

    def _attacked(self, attack: Attack, strength: Strength, table: Table) -> list[PlayedAttack]:
        if attack.name not in self._figures or not _shows(table, attack):
            return []
        if strength.row.keeps_labels and isinstance(attack, LabelAttack):
            # Not one answer differs: the attacker's best references are the plain models, and the scores are the same.
            return [self._figures[attack.name]]
        played = []
        for adaptive in (True, False):
            games = [self._game(attack, one, table, adaptive=adaptive) for one in self._numbers]
            if games[0].lacks(attack) is None:
                found = [scores_of.played(game, attack) for game in games]
                played.append(self._figure(attack, found, adaptive=adaptive))
                self.scores[strength.name, played[-1].title] = _stacked(found)
        return played

    def _game(self, attack: Attack, target: int, table: Table, *, adaptive: bool) -> Game:
        if adaptive:
            return self._played_on(table, attack, target)
        plain = self._played_on(self._plain, attack, target)
        return replace(plain, target=replace(plain.target, model=table.sides[target].model))

    def _played_on(self, table: Table, attack: Attack, target: int) -> Game:
        crafted = Need.GRADIENTS in attack.uses
        game = table.game(target, budget=self._terms.budget, asking=self._asking, crafted=crafted)
        # Neither the shadow model nor the samples asked about differ among targets.
        alike = None if attack.learns_on_shadow else target
        return replace(game, learned=table.learned.setdefault(alike, {}))

    def _keep(self, attack: Attack, played: list[Played]) -> None:
        self.scores[NONE, attack.name] = _stacked(played)
        self._figures[attack.name] = self._figure(attack, played, adaptive=True)

    def _figure(self, attack: Attack, played: list[Played], *, adaptive: bool) -> PlayedAttack:
        scores = _stacked(played)
        queries = np.stack([one.measurement.queries.numpy() for one in played])
        bootstrap = derive(self._terms.seed, "bootstrap", attack.name)
        figure = PlayedAttack(
            name=attack.name,
            access=str(attack.access),
            adaptive=adaptive,
            auc=crossed.mean_auc(scores, self._inside),
            tpr=crossed.pooled_tpr(scores, self._inside, FPR, seed=bootstrap),
            change=crossed.auc_difference(scores, self.scores[NONE, attack.name], self._inside),
            queries=Queries(mean=float(queries.mean()), max=int(queries.max())),
        )
        self._watch.say(f"{figure.title}: AUC {figure.auc}")
        return figure

    def _guarantee(self, strength: Strength, promised: Privacy | None) -> TestedGuarantee | None:
        """What was promised beside what the attacks prove. Each target's half was drawn at random, and whatever an
        attacker knows besides the target does not depend on it."""
        if promised is None:
            return None
        mine = {title: found for (name, title), found in self.scores.items() if name == strength.name}
        each = 1 - (1 - CONFIDENCE) / max(1, len(mine) * len(self._numbers))
        proved, by = 0.0, ""
        for title, found in mine.items():
            for target, (scores, inside) in enumerate(zip(found, self._inside, strict=True)):
                seed = derive(self._terms.seed, "twos", title, target)
                bound = half_split_bound(scores, inside, delta=promised.delta, seed=seed, confidence=each).epsilon
                if bound > proved:
                    proved, by = bound, title
        return TestedGuarantee(**asdict(promised), proved=proved, proved_by=by)

    def _answers(self, table: Table) -> tuple[Bools, float]:
        """Who is right about whom (T, n), and the seconds for the labels of TIMED inputs."""
        started, right = time.perf_counter(), []
        for number in self._numbers:
            side = table.sides[number]
            labels = side.model.labels.ask(side.samples.inputs, side.samples.ids)
            right.append((labels == side.samples.labels).cpu())
        rows = len(right) * len(right[0])
        return torch.stack(right).numpy(), (time.perf_counter() - started) * TIMED / rows

    def _result(
        self, strength: Strength | None, made: Defended | None, table: Table, attacks: list[PlayedAttack]
    ) -> DefenseResult:
        right, answering = self._answers(table)
        training = None if made is None else made.training
        resolved = [one for one in attacks if one.tpr.value is not None]
        if not attacks:
            raise InvalidInput(f"attacks must hold one that {table.case.plan.trainer.description} can be asked about")
        return DefenseResult(
            defense=NONE if strength is None else strength.row.name,
            level=None if strength is None else strength.level,
            knob="" if strength is None else strength.row.knob,
            source="" if strength is None else strength.row.source,
            cost="" if strength is None else strength.row.cost,
            description=table.case.plan.trainer.description,
            changes=[] if training is None else list(training.changes),
            privacy=None if strength is None or training is None else self._guarantee(strength, training.privacy),
            keeps_labels=strength is not None and strength.row.keeps_labels,
            train_accuracy=float(right[self._inside].mean()),
            test_accuracy=accuracy(right, self._inside),
            accuracy_change=accuracy_difference(right, self._right, self._inside),
            training_seconds=sum(one.seconds for one in table.made) / len(table.made),
            answer_seconds=answering,
            attacks=attacks,
            strongest=max(attacks, key=lambda one: one.auc.value or 0.0).title,
            strongest_at_low_fpr=max(resolved, key=lambda one: one.tpr.value or 0.0).title if resolved else None,
        )


def _stacked(played: Sequence[Played]) -> NDArray[np.float64]:
    scores: Tensor = torch.stack([one.scores for one in played])
    return scores.numpy()


def _shows(table: Table, attack: Attack) -> bool:
    """Whether the models show what the attack looks at."""
    sides: list[Side] = [*table.sides] if table.shadow is None else [*table.sides, table.shadow]
    scores = all(side.model.scores is not None for side in sides)
    return _unseen(attack, scores=scores, gradients=all(side.model.torch_model for side in table.sides)) is None


def _refuse_unplayable(strength: Strength, rows: Sequence[Attack]) -> None:
    """Refuses a defense whose models none of the attacks could be played on.

    Raises:
        InvalidInput: There is none.
    """
    row = strength.row
    unseen = [_unseen(attack, scores=row.shows_scores, gradients=not row.guards) for attack in rows]
    if None not in unseen:
        needed = " or ".join(sorted({str(one) for one in unseen}))
        names = [attack.name for attack in rows]
        raise InvalidInput(f"attacks must hold one that needs no {needed} for defense {row.name!r}, got {names}")


def _unseen(attack: Attack, *, scores: bool, gradients: bool) -> str | None:
    """What the attack looks at and models without scores or gradients do not show, or None."""
    if Need.GRADIENTS in attack.uses and not gradients:
        return "gradients"
    sees = isinstance(attack, ScoreAttack) or Need.REFERENCE_SCORES in attack.uses
    return "confidences" if sees and not scores else None

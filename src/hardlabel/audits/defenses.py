"""The comparison of defenses: models trained with each face an attacker who knows about it and one who does not.

Models of every defense are trained on the same complementary pairs from the same seeds. They play target in turn and
are asked about the same samples, so that differences are paired. The attacker who knows about the defense trains and
guards its reference models and its shadow model with it. The other attacker's models are plain.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator

from hardlabel.attacks import Attack, LabelAttack
from hardlabel.audits.arguments import checked
from hardlabel.audits.attacker.models import Wanted
from hardlabel.audits.cases.case import classes_of
from hardlabel.audits.cases.defenses import DefensesCase, case_of_defenses
from hardlabel.audits.cases.from_arrays import trainer_of, whole
from hardlabel.audits.cases.from_settings import checked_trainer, dataset_of
from hardlabel.audits.cases.own_training import own_training
from hardlabel.audits.cases.pairs import Pair
from hardlabel.audits.cases.plans import MOST_ATTACKED
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings.defended import Stage
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.audits.kind import asked, described, refuse
from hardlabel.audits.plan import Costs, Plan, Questions, Seats, Trainings, costs_of, plan_of, questions_of
from hardlabel.checks import InvalidInput, shown
from hardlabel.data import sources
from hardlabel.data.codecs.base import Codec
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples, concatenate
from hardlabel.defenses.table import chosen
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.models import shadows
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import FunctionTrainer, RecipeTrainer
from hardlabel.randomness import derive
from hardlabel.records.defenses import DefendRecord, DefendResults
from hardlabel.records.environment import environment_of
from hardlabel.records.recommendation import MARGIN, recommendation, with_front
from hardlabel.renamed import renamed
from hardlabel.runs.settings import Attacker, DefensesSettings, Focus
from hardlabel.store import Store
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import resolve_device

PROBED = 256  # Rows of which the time of an answer is taken.


@renamed(
    samples="data",
    attacked="samples / 2",
    shadows="attacker.references",
    pretraining="pretrain",
    watch="execution.watch",
    work="execution",
)
@checked(DefensesSettings)
def defend(
    data: Pair,
    trainer: Recipe | BaseEstimator | FunctionTrainer | Callable[..., object],
    *,
    defenses: Sequence[str] | None = None,
    levels: Mapping[str, Sequence[float]] | None = None,
    pretrain: Pair | None = None,
    train_size: int | None = None,
    repeats: int = 8,
    domain: Domain | Codec | None = None,
    strict: bool = False,
    attacks: Sequence[str | Attack] | None = None,
    budget: int | None = None,
    samples: int = MOST_ATTACKED,
    seed: int = 0,
    device: str = "auto",
    store: Store | None = None,
    attacker: Attacker = Attacker(),  # noqa: B008  # Frozen.
    execution: Execution = USUAL,
) -> DefendRecord:
    """Says which defense helps a way of training, and what the defense costs.

    Trains `attacker.references` + 2 models without any defense, and as many with each defense, on random halves of a
    pool of 2 * train_size samples. Of these, `repeats` models play target. Two more groups of samples train and test a
    shadow model. The rest is the defender's reserve.

    Args:
        data: (inputs, labels): arrays or tensors (n, *shape), a data frame or a list of texts, and any labels (n,).
            Repeated inputs are dropped; the record's notes say which.
        trainer: A recipe; a scikit-learn classifier to clone; or a function `trainer(inputs, labels, *, seed) ->
            model`, which gets inputs and labels as `data` has them. Defenses that change the training of networks can
            be compared for a recipe only. Defenses of the answers and of the training data suit every trainer. For
            `store` to keep a function's models, name it:
            `hardlabel.models.trainers.FunctionTrainer(function=trainer, name="forest 3")`. The same name must mean the
            same training.
        defenses: Names from `hardlabel.defenses.table.TABLE`; None for all that suit.
        levels: Strengths by name, in place of the usual strengths.
        pretrain: Other labelled data of the same shape for transfer learning; None for the reserve.
        train_size: Number of training samples of a model; None for a fifth of the data, 2,500 at most.
        repeats: Number of models that play target, 2 to attacker.references + 2.
        domain: Legal inputs; None to infer the domain.
        strict: Whether to refuse repeated inputs instead of dropping them with a note.
        attacks: As for `hardlabel.audit`; None for gap, the strongest label-only attack within the budget,
            shadow-network and lira.
        budget: Most queries per sample, for each attack separately.
        samples: At most twice this many samples of the pool are attacked.
        seed: Fixes every random draw.
        device: Where models run.
        store: Keeps models and measurements, so that an interrupted comparison resumes where it stopped. None for a
            temporary store.
        attacker: What the attacker has. It always has the true labels.
        execution: Where and in which pieces the work is done, and what receives the progress.

    Raises:
        InvalidInput: An argument breaks a rule, or a defense asked for cannot be compared; raised before any training.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> digits = load_digits()
        >>> data = digits.images[:, None] / 16, digits.target
        >>> few = hardlabel.Attacker(references=2)
        >>> record = hardlabel.defend(
        ...     data, DecisionTreeClassifier(), defenses=["label-only"], attacks=["gap"], train_size=50, repeats=2,
        ...     attacker=few,
        ... )
        >>> record.defense("label-only").keeps_labels
        True
    """
    given, started = locals(), time.perf_counter()
    where = resolve_device(device)
    refuse(attacker, Focus(), "a comparison of defenses", ("shadow_labels", "labels", "wrong_labels", "alike"))
    loaded = whole(data, domain, seed=seed, strict=strict)
    everyone, notes = loaded.samples, loaded.notes
    pretraining = None
    if pretrain is not None:
        further = whole(pretrain, None, seed=seed, strict=strict, name="pretrain")
        pretraining, notes = further.samples, (*notes, *further.notes)
    name = None
    if isinstance(trainer, FunctionTrainer):
        name, trainer = trainer.name, trainer.function
    if trainer is None or isinstance(trainer, str):
        raise InvalidInput(
            "trainer must be a hardlabel.Recipe, a scikit-learn classifier or a function (inputs, labels, *, seed), "
            f"got {shown(trainer)}"
        )
    terms = Terms.given(attacks, budget, seed, attacker, Focus())
    with ExitStack() as stack:
        # Plain models serve many defenses. If the caller has no store, a temporary store keeps them.
        kept = store or Store(stack.enter_context(tempfile.TemporaryDirectory()))
        classes = classes_of(everyone)
        fitter = trainer_of(trainer, classes, loaded.read, name=name, device=where, store=kept)
        assert fitter is not None
        compared = case_of_defenses(
            everyone,
            fitter,
            terms,
            data="samples given",
            classes=classes,
            train_size=train_size,
            samples=samples,
            repeats=repeats,
            defenses=defenses,
            levels=levels,
            pretraining=pretraining,
            strict=strict,
            notes=notes,
            device=where,
            store=kept,
        )
        config = asked(
            "defenses",
            given,
            attacks=terms.names,
            train_size=compared.defender.train_size,
            pretrain=None if pretrain is None else "samples given",
            domain=described(everyone.domain),
            trainer=fitter.description,
        )
        asking = Asking.by(execution, seed=seed, store=kept)
        return replace(DefensesAudit(compared=compared, device=where).play(asking, started), config=config)


@dataclass(frozen=True, kw_only=True, eq=False)
class DefensesAudit:
    """A comparison of defenses, loaded and checked; see `audits.kind.Prepared`.

    Attributes:
        compared: What is compared.
        device: Where models run.
    """

    compared: DefensesCase
    device: torch.device

    settled: ClassVar[dict[str, object]] = {}

    @property
    def _with_shadow(self) -> bool:
        """Whether a shadow model is trained, to learn on it or for a second opinion when queries are chosen."""
        case, attacks = self.compared.case, self.compared.attacks
        return case.crafting is not None or Wanted.by(attacks, worst_case=False).shadow

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        """Further work of a defense is not counted: per-sample gradients, models to distil from, copies of samples.

        Where the user trains, one model is trained to see how long that takes; the store keeps it for `play`.
        """
        compared, case, attacks = self.compared, self.compared.case, self.compared.attacks
        seats = Seats.of_recipe(case, compared.terms.budget)
        # One attacker asks the undefended models. Two ask the models of each defense: one learns on models with the
        # defense, the other has learned on plain models before. Labels that a defense keeps are not asked for again.
        games: list[tuple[Sequence[Attack], Seats]] = [(attacks, seats)]
        for strength, _ in compared.strengths:
            keeps_labels = strength.row.keeps_labels
            played = [attack for attack in attacks if not (keeps_labels and isinstance(attack, LabelAttack))]
            games += [(played, seats), (played, replace(seats, taught=True))]
        trainings = 1 + sum(made.retrains for _, made in compared.strengths)
        models = seats.references + (1 if self._with_shadow else 0)
        crafters = 0 if case.crafting is None else len(case.crafting.sets)
        together = isinstance(case.plan.trainer, RecipeTrainer)
        return plan_of(
            [Trainings(models=trainings * models, together=together), Trainings(models=crafters, smooth=True)],
            sum((questions_of(played, own, chunk=execution.chunk) for played, own in games), Questions()),
            scores=sum(len(played) for played, _ in games) * case.targets,
            costs=self._costs(execution),
            own_at_once=seats.references,
            execution=execution,
            folder=folder,
        )

    def _costs(self, execution: Execution) -> Costs:
        """What a model costs: of a recipe by a few steps, else by training the first model."""
        case, plan = self.compared.case, self.compared.case.plan
        if isinstance(plan.trainer, RecipeTrainer):
            training_set = plan.pool.take(plan.inside[0])
            return costs_of(plan.trainer, training_set, execution.executor, own_as_targets=True)
        job = shadows.jobs(plan.inside[:1], seed=plan.seed)[0]
        made = plan.trainer.fit(plan.pool.take(job.rows), job.seed)
        model = askable(made.model, self.device, role="trainer's model")
        home = torch.device("cpu") if model.torch_model is None else self.device
        probe = case.attacked.take(slice(0, PROBED)).to(home)
        started = time.perf_counter()
        model.labels.ask(probe.inputs, probe.ids)
        answering, crafting = (time.perf_counter() - started) / len(probe), 0.0
        if case.crafting is not None:
            samples = case.crafting.sets[0][0]
            crafting = costs_of(case.crafting.trainer, samples, execution.executor, own_as_targets=False).training
        return Costs(training=made.seconds, crafting=crafting, answering=answering, own=answering, bytes=0, epochs=None)

    def play(self, asking: Asking, started: float) -> DefendRecord:
        compared, case = self.compared, self.compared.case
        self._train_ahead(asking)
        stage = Stage(case, compared.attacks, compared.terms, device=self.device, asking=asking)
        results = [stage.undefended(), *(stage.defended(strength, made) for strength, made in compared.strengths)]
        results, reserve = with_front(results), compared.defender.reserve
        content = DefendResults(
            data=case.data,
            domain=case.attacked.domain.kind,
            classes=compared.defender.classes,
            samples=len(case.attacked),
            train_size=compared.defender.train_size,
            reserve=0 if reserve is None else len(reserve),
            targets=case.targets,
            references=compared.terms.attacker.references,
            budget=compared.terms.budget,
            margin=MARGIN,
            defenses=results,
            left_out=list(compared.left_out),
            confidence=CONFIDENCE,
            recommendation=[],  # Follows from all the rest.
            notes=list(case.notes),
            environment=environment_of(compared.terms.seed, time.perf_counter() - started, self.device),
        )
        content = content.model_copy(update={"recommendation": recommendation(content)})
        return DefendRecord(results=content, scores=stage.frame())

    def _train_ahead(self, asking: Asking) -> None:
        """Trains the models of all defenses side by side, plain models first. The store keeps them."""
        case, watch = self.compared.case, asking.watch
        pool, jobs = case.plan.pool, shadows.jobs(case.plan.inside, seed=case.plan.seed)
        if case.shadow is not None and self._with_shadow:
            rows = torch.arange(len(pool), len(pool) + len(case.shadow.members))
            pool = concatenate(pool, case.shadow.members)
            jobs.append(shadows.Job(rows=rows, seed=derive(case.plan.seed, "shadow model")))
        shadows.train_ahead(
            [case.plan.trainer, *(made.bare for _, made in self.compared.strengths)],
            pool,
            jobs,
            on_start=lambda count: watch.stage("training the models of all defenses", count, "models"),
            on_done=lambda progress: watch.advance(1),
            executor=asking.executor,
        )


def _pretraining(pretrain: str, folder: Path | None) -> Samples:
    try:
        return sources.load(pretrain, folder=folder).samples
    except InvalidInput as error:  # It calls the setting `data`.
        raise InvalidInput(f"pretrain: {error}") from error


def prepare(
    settings: DefensesSettings, *, device: torch.device, store: Store | None, execution: Execution
) -> DefensesAudit:
    """Loads the data and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule, or there is no store, which plain models need to serve many defenses.
    """
    if store is None:
        raise InvalidInput("store must be given for a comparison of defenses, got None")
    chosen(settings.defenses, settings.levels)  # Refuses wrong names before the data are loaded.
    if settings.trainer is not None:
        own = own_training(settings, device=device, store=store, watch=execution.watch)
        samples, trainer, data, classes, notes = own.samples, own.trainer, own.data, own.classes, own.notes
    else:
        dataset = dataset_of(settings, execution.watch, store)
        samples, data, classes, notes = dataset.samples, dataset.name, dataset.classes, ()
        trainer = checked_trainer(settings, dataset, device=device, store=store, float32=True)
    pretraining = None if settings.pretrain is None else _pretraining(settings.pretrain, settings.folder)
    compared = case_of_defenses(
        samples,
        trainer,
        Terms.of(settings),
        data=data,
        classes=classes,
        train_size=settings.train_size,
        samples=settings.samples or MOST_ATTACKED,
        repeats=settings.repeats,
        defenses=settings.defenses,
        levels=settings.levels,
        pretraining=pretraining,
        strict=settings.strict,
        notes=notes,
        device=device,
        store=store,
    )
    return DefensesAudit(compared=compared, device=device)

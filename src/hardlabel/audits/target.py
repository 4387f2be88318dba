"""The audit of a model that is already trained: a Python object, or a file."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone

from hardlabel import randomness
from hardlabel.attacks import Attack, family_of
from hardlabel.audits.arguments import checked
from hardlabel.audits.attacker.models import CRAFTERS, Wanted
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.from_arrays import SURROGATE, case_of
from hardlabel.audits.cases.pairs import Pair, read_pairs
from hardlabel.audits.cases.persons import one_of_each
from hardlabel.audits.cases.plans import MOST_ATTACKED, CraftingPlan, ReferencePlan, ShadowPlan
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings import exposed
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.audits.kind import asked, described
from hardlabel.audits.paid import PaidTarget, Payment, address_of, behind_address, with_ledger
from hardlabel.audits.plan import (
    Costs,
    Plan,
    Questions,
    Seats,
    Trainings,
    costs_of,
    duration,
    overhead_of,
    plan_of,
    questions_of,
)
from hardlabel.audits.playing import audited
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec
from hardlabel.data.codecs.frames import FrameCodec
from hardlabel.data.domain import Domain
from hardlabel.data.given import Columns, Given, read_given
from hardlabel.data.samples import Samples
from hardlabel.data.trained_columns import check_trained_columns
from hardlabel.models import shadows
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.oracles.purpose import Purpose, asked_for
from hardlabel.records.model import AuditRecord
from hardlabel.renamed import renamed
from hardlabel.runs.places import last_name
from hardlabel.runs.settings import Attacker, Focus, ModelSettings, TargetSettings
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.coded import CodedEstimator, coded, outputs_of
from hardlabel.targets.files import load_function, load_target, target_hash
from hardlabel.targets.http.address import is_address
from hardlabel.targets.http.client import Http
from hardlabel.targets.registry import askable, bare
from hardlabel.targets.torch import left_in_place, resolve_device

PROBED = 256  # Rows of which the time of an answer is taken, from a model that bills nobody.
MOST_SECONDS = 1800.0  # Reference models that take longer are advised against.
FEW = 4  # Fewest reference models that are advised.


@renamed(
    shadows="attacker.references",
    alike="attacker.alike",
    shadow_labels="attacker.shadow_labels",
    labels="attacker.labels",
    wrong_labels="attacker.wrong_labels",
    networks="attacker.networks",
    prior="focus.prior",
    worst_case="focus.worst_case",
    slices="focus.slices",
    show_records="focus.show_records",
    watch="execution.watch",
    work="execution",
)
@checked(ModelSettings)
def audit(
    target: object,
    members: Pair,
    nonmembers: Pair,
    *,
    population: Pair | None = None,
    trainer: Callable[..., object] | BaseEstimator | Recipe | str | None = None,
    train_size: int | None = None,
    domain: Domain | Codec | None = None,
    attacks: Iterable[str | Attack] | None = None,
    budget: int | None = None,
    samples: int | None = MOST_ATTACKED,
    seed: int = 0,
    device: str = "auto",
    store: Store | None = None,
    name: str | None = None,
    attacker: Attacker = Attacker(),  # noqa: B008  # Frozen.
    focus: Focus = Focus(),  # noqa: B008
    execution: Execution = USUAL,
) -> AuditRecord:
    """Audits a trained model with every attack that suits it.

    Args:
        target: The model: a torch module that maps inputs (q, *shape) to logits, a fitted scikit-learn classifier, or
            an oracle. An oracle has `ask(inputs, ids)` (labels), `ask_scores(inputs, ids)` (log probabilities) or both.
        members: (inputs, labels) that the target was trained on; arrays or tensors (n, *shape) and (n,).
        nonmembers: (inputs, labels) from the same source that the target was not trained on. Inputs that are also
            members are dropped from both groups. If they are more than a tenth of a group, the audit is refused.
            Repeats within a group are dropped, so that each input counts once. The record's notes say what was dropped;
            with `focus.strict` the audit is refused instead.
        population: Further (inputs, labels) from the same source, to train the attacker's models on. Repeated inputs,
            members and non-members are dropped.
        trainer: How the target was trained: a `hardlabel.Recipe` for a network of ours, a scikit-learn classifier to
            clone, or a function `trainer(inputs, labels, *, seed) -> model`. The function gets arrays if `members`
            are arrays, else tensors.
        train_size: Number of samples that the target was trained on; None for the number of members given.
        domain: Legal inputs; None to infer the domain from the inputs, and to note it in the record. Questions about
            images of integers hold whole numbers only. Vectors of integers other than 0 and 1 need a domain.
        attacks: Names from `hardlabel attacks`, or your own attacks (`hardlabel.attacks.LabelAttack`); None for all
            that suit the domain and the budget.
        budget: Most queries per sample, for each attack separately.
        samples: At most this many members, and this many non-members, are attacked. They are drawn at random; None for
            all.
        seed: Fixes every random draw.
        device: Where torch models run: "auto", "cpu", "cuda", ... Afterwards the target is moved back.
        store: Keeps the answers to finished attacks. An audit that was interrupted (a dead server, Ctrl-C) does not ask
            for these answers again. Of the unfinished attack, it asks about one piece of samples again. Models of
            estimators and of named functions are kept as pickles: do not use a store that others can write to.
        name: Name of this target in the store. It is needed with a store if the target is neither a torch module nor a
            scikit-learn classifier. The same name must mean the same model.
        attacker: What the attacker has and knows: reference models, labels.
        focus: What the audit looks at in addition to the average record (the records most at risk, groups, a prior),
            and what it accepts: repeated inputs, a private target that may know nothing.
        execution: Where and in which pieces the attacker's models are trained and asked, and what receives the
            progress.

    Returns:
        The record, in memory. `record.save(folder)` saves it, and `hardlabel.write_report` writes its report.

    Raises:
        InvalidInput: An argument breaks a rule. Raised before any training, and before any query but one: a target with
            scores is asked about one row, to count its classes. Or a model's answer is not a class, or not log
            probabilities. Then the error names the model's role, the number of wrong answers and the first of them. The
            target's answers about the attacked samples are checked before training, the answers of the attacker's
            models when they are first asked.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> digits = load_digits()
        >>> inputs, labels = digits.images[:, None] / 16, digits.target
        >>> tree = DecisionTreeClassifier(random_state=0).fit(inputs[:200].reshape(200, -1), labels[:200])
        >>> members, nonmembers = (inputs[:200], labels[:200]), (inputs[200:400], labels[200:400])
        >>> record = hardlabel.audit(tree, members, nonmembers, attacks=["gap"])
        >>> record.attack("gap").queries_per_sample.max
        1
    """
    given, started = locals(), time.perf_counter()
    where = resolve_device(device)
    terms = Terms.given(attacks, budget, seed, attacker, focus)
    with left_in_place(target):
        audit_of_target = target_audit(
            target,
            {
                "members": members,
                "nonmembers": nonmembers,
                **({} if population is None else {"population": population}),
            },
            domain=domain,
            terms=terms,
            trainer=trainer,
            train_size=train_size,
            samples=samples,
            device=where,
            store=store,
            name=name,
        )
        case = audit_of_target.case
        config = asked(
            "model",
            given,
            attacks=terms.names,
            alike=audit_of_target.terms.attacker.alike,
            domain=described(case.members.domain),
            trainer=None if case.references is None else case.references.trainer.description,
        )
        record = audit_of_target.play(Asking.by(execution, seed=seed, store=store), started)
        return replace(record, config=config)


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetAudit:
    """The audit of a model that is already trained, loaded and checked; see `audits.kind.Prepared`.

    Attributes:
        case: The model, the samples, and what the attacker can train.
        terms: What is asked.
        device: Where models run.
        store: Keeps models and measurements.
        refuse: Whether a target that knows nothing of the members is refused before anything is trained.
        paid: The target with its ledger; None if none is kept.
    """

    case: Case
    terms: Terms
    device: torch.device
    store: Store | None
    refuse: bool = False
    paid: PaidTarget | None = None

    settled: ClassVar[dict[str, object]] = {}

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        """What `play` will do. Trains one model to see how long that takes; the store keeps it for `play`."""
        case, attacked = self.case, len(self.case.members) + len(self.case.nonmembers)
        attacks = self.terms.chosen(case.members.domain, missing=case.missing, attacked=attacked).rows
        wanted = Wanted.by(attacks, worst_case=self.terms.focus.worst_case is not None)
        references = case.references if wanted.references else None
        shadow = case.shadow if wanted.shadow else None
        crafting = case.crafting if wanted.crafters else None
        seats = Seats(
            domain=case.members.domain,
            budget=self.terms.budget,
            attacked=attacked,
            targets=1,
            references=0 if references is None else len(references.inside),
            rest=0 if references is None else len(references.pool) - attacked,
            shadow_samples=0 if shadow is None else shadow.asked,
        )
        questions = questions_of(attacks, seats, chunk=execution.chunk)
        overhead = self._overhead(questions, len(attacks))
        costs = self._costs(references, shadow, crafting, execution)
        together = references is not None and isinstance(references.trainer, RecipeTrainer)
        turns = math.ceil(seats.references / execution.executor.width) if together else seats.references
        return plan_of(
            [
                Trainings(models=0 if shadow is None else 1),
                Trainings(models=seats.references, together=together),
                Trainings(models=0 if crafting is None else CRAFTERS, smooth=True),
            ],
            questions + Questions(queries=overhead) + exposed.looks(seats, chunk=execution.chunk),
            scores=len(attacks),
            costs=costs,
            own_at_once=max(1, seats.references),
            execution=execution,
            folder=folder,
            advice=". ".join(
                words
                for words in (
                    self._price(questions.queries + overhead),
                    _advice(seats.references, turns * costs.training),
                )
                if words
            ),
        )

    def bill(self, execution: Execution) -> str:
        """What the run costs at most, in words; "" if no price is known. Asks and trains nothing."""
        if self.paid is None or self.paid.payment.price is None:
            return ""
        attacked = len(self.case.members) + len(self.case.nonmembers)
        domain = self.case.members.domain
        attacks = self.terms.chosen(domain, missing=self.case.missing, attacked=attacked).rows
        seats = Seats(
            domain=domain,
            budget=self.terms.budget,
            attacked=attacked,
            targets=1,
            references=0,
            rest=0,
            shadow_samples=0,
        )
        questions = questions_of(attacks, seats, chunk=execution.chunk)
        return f"the run costs at most {self._price(questions.queries + self._overhead(questions, len(attacks)))}"

    def _price(self, rows: int) -> str:
        """What so many questions to a target with a ledger cost, in words; "" for other targets."""
        return "" if self.paid is None else self.paid.payment.cost(rows, self.paid.endpoint)

    def _overhead(self, questions: Questions, attacks: int) -> int:
        """Queries that belong to no attack: labels that the attacker asks for, and check rows."""
        shadow = self.case.shadow
        return overhead_of(
            self.terms.attacker,
            questions,
            attacked=len(self.case.members) + len(self.case.nonmembers),
            shadow=0 if shadow is None else len(shadow.members) + len(shadow.nonmembers),
            attacks=attacks,
        )

    def _costs(
        self,
        references: ReferencePlan | None,
        shadow: ShadowPlan | None,
        crafting: CraftingPlan | None,
        execution: Execution,
    ) -> Costs:
        """What a model of the attacker's costs: of a recipe by a few steps, else by training the first one."""
        answering = _seconds_per_row(self.case.target, self.case.members, self.device)
        if self.paid is not None:  # One row was asked, which takes about as long as a request.
            answering = self.paid.payment.seconds_per_row(answering, self.paid.endpoint)
        training, own, size, epochs = 0.0, answering, 0, None
        trainer = None if references is None else references.trainer
        if isinstance(trainer, RecipeTrainer) and references is not None:
            samples = references.pool.take(references.inside[0])
            measured = costs_of(trainer, samples, execution.executor, own_as_targets=False)
            training, own, size, epochs = measured.training, measured.own, measured.bytes, measured.epochs
        elif references is not None and trainer is not None:
            job = shadows.jobs(references.inside[:1], seed=references.seed)[0]
            made = trainer.fit(references.pool.take(job.rows), job.seed)
            training = made.seconds
            model = askable(made.model, self.device, role="reference model 1", classes=self.case.classes)
            own = _seconds_per_row(model, self.case.members, self.device)
        elif shadow is not None:
            made = shadow.trainer.fit(shadow.members, randomness.derive(self.terms.seed, "shadow model"))
            training = made.seconds
        smooth = 0.0
        if crafting is not None:
            samples = crafting.sets[0][0]
            smooth = costs_of(crafting.trainer, samples, execution.executor, own_as_targets=False).training
        return Costs(training=training, crafting=smooth, answering=answering, own=own, bytes=size, epochs=epochs)

    def play(self, asking: Asking, started: float) -> AuditRecord:
        # Other oracles are asked from the CPU; only a torch model's samples move to its device.
        home = self.device if self.case.target.torch_model is not None else torch.device("cpu")
        try:
            record = audited(self.case, self.terms, device=home, asking=asking, started=started, refuse=self.refuse)
            if self.paid is None:
                return record
            notes = [*record.results.notes, self.paid.told()]
            results = record.results.model_copy(update={"notes": notes})
            return replace(record, results=results)  # type: ignore[arg-type]  # Mypy takes the type of the base.
        finally:
            if self.paid is not None:
                self.paid.close()


def target_audit(
    target: object,
    pairs: Mapping[str, Pair],
    *,
    domain: Domain | Codec | None,
    terms: Terms,
    trainer: Callable[..., object] | BaseEstimator | Recipe | str | None,
    train_size: int | None,
    samples: int | None,
    device: torch.device,
    store: Store | None,
    name: str | None,
    description: str | None = None,
    label_map: Sequence[str] = (),
    payment: Payment | None = None,
) -> TargetAudit:
    """The audit of a model; see `audit` for the arguments. Trains nothing.

    Args:
        pairs: Inputs and labels of "members", "nonmembers" and perhaps "population".
        trainer: Also "same", to clone the target, or "surrogate".
        description: The target, in words; None for its type.
        label_map: "ANSWER=LABEL" for each answer of the target that is no label of the data.
        payment: How the target is paid; None if no ledger is kept. A target at an address needs it.

    Raises:
        InvalidInput: An argument breaks a rule.
    """
    given = target if isinstance(target, Http) else bare(target, role="target")
    labels: Iterable[object] | None = getattr(given, "classes_", None)
    known = None if labels is None else list(labels)
    read = read_pairs(
        pairs,
        domain,
        known=known,
        width=outputs_of(given, device),
        label_map=label_map,
    )
    check_trained_columns(given, {group: cast("tuple[Any, ...]", pair)[0] for group, pair in pairs.items()})
    paid: PaidTarget | None = None
    if isinstance(given, Http):
        assert payment is not None, "a ledger is kept of every address"
        model, paid = behind_address(given, read, payment, device=device, name=name, label_map=label_map)
    else:
        model = askable(coded(given, read.target_coding, role="target"), device, role="target", name=name)
        if payment is not None:
            model, paid = with_ledger(model, payment, device=device, name=name)
    if store is not None and model.identity is None:
        raise InvalidInput("name must name the model, since a store keeps its answers, got None: give any name")
    if isinstance(trainer, str) and trainer == "same":
        trainer = _cloned(given)
        if label_map and read.answers is not None:
            # Fitted on the labels on which the target was fitted.
            own = replace(read.coding, labels=read.answers.of_target(known or ()))
            trainer = CodedEstimator(trainer, own, role="a model of the trainer's")
    if isinstance(trainer, str) and trainer == SURROGATE:
        terms = replace(terms, attacker=terms.attacker.model_copy(update={"alike": False}))
    case = case_of(
        model,
        description or type(target).__name__,
        read,
        terms=terms,
        trainer=trainer,
        train_size=train_size,
        samples=samples,
        device=device,
        store=store,
    )
    case = replace(case, family=family_of(given))
    return TargetAudit(case=case, terms=terms, device=device, store=store, paid=paid)


def cloneable(target: object) -> bool:
    """Whether models like the target can be trained without knowing how it was: clones of a scikit-learn classifier."""
    return isinstance(target, BaseEstimator) and hasattr(target, "fit")


def _cloned(target: object) -> BaseEstimator:
    """The target without what it has learned."""
    if not cloneable(target):
        raise InvalidInput(
            f"trainer 'same' needs a scikit-learn classifier, which can be cloned, got {type(target).__name__}: give a "
            "function (inputs, labels, *, seed) that trains a model like it, or 'surrogate'"
        )
    # What a search has found is fitted again, not searched for again.
    return clone(getattr(target, "best_estimator_", target))


def _seconds_per_row(model: AskableModel, samples: Samples, device: torch.device) -> float:
    """Seconds in which the model answers a row. A model that may bill each question is asked about one row."""
    home = device if model.torch_model is not None else torch.device("cpu")
    probe = samples.take(slice(0, PROBED if model.weights is not None else 1)).to(home)
    started = time.perf_counter()
    with asked_for(Purpose("trial row")):
        model.labels.ask(probe.inputs, probe.ids)
    return (time.perf_counter() - started) / len(probe)


def _advice(references: int, seconds: float) -> str:
    """What would be cheaper, where the reference models take more than MOST_SECONDS; else ""."""
    if seconds <= MOST_SECONDS or references <= FEW:
        return ""
    return (
        f"{references} reference models take about {duration(seconds)} of this; --references {FEW} take about "
        f"{duration(seconds * FEW / references)} and tell less"
    )


def prepare(
    settings: TargetSettings, *, device: torch.device, store: Store | None, execution: Execution
) -> TargetAudit:
    """Loads the samples and the target, and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    assert settings.members is not None, "the settings have been checked"
    assert settings.target is not None, "the settings have been checked"
    columns = Columns(
        label=settings.label,
        member=settings.member_column,
        group=settings.group,
        ignore=settings.ignore,
        slices=settings.slices,
        categorical=settings.categorical,
    )
    execution.watch.stage("loading the samples and the target", 1, "files")
    given = read_given(
        settings.members,
        settings.nonmembers,
        settings.population,
        columns=columns,
        separator=settings.separator,
        missing=settings.missing,
    )
    for alert in given.alerts:
        execution.watch.say(alert)
    given = given if given.groups is None else one_of_each(given, seed=settings.seed)
    # A function may return another model another time: what it returns must tell itself apart, or have a name.
    name = settings.name
    target: object
    if is_address(settings.target):
        target = address_of(settings)
        if target.warning:
            execution.watch.say(target.warning)
        description = target.identity
    else:
        name = name or (None if ".py:" in settings.target else target_hash(settings.target))
        target = load_target(
            settings.target, trust_pickle=settings.trust_pickle, trust_types=tuple(settings.trust_type)
        )
        description = f"{type(target).__name__} from {last_name(settings.target)}"
    _check_ids(target, given, settings.ignore)
    _check_label(target, given, settings.label)
    terms = Terms.of(settings)
    # Each vote is a row that is paid.
    budget = None if terms.budget is None else terms.budget // settings.votes
    terms = replace(terms, budget=budget, focus=terms.focus.model_copy(update={"slices": given.slices}))
    pairs = {"members": given.members, "nonmembers": given.nonmembers}
    if given.population is not None:
        pairs["population"] = given.population
    trainer: object = settings.trainer or ("same" if cloneable(target) else SURROGATE)
    if trainer == "none":
        trainer = None
    elif isinstance(trainer, str) and ":" in trainer:
        trainer = load_function(trainer, role="trainer")
    frames = {group: inputs for group, (inputs, _) in pairs.items() if isinstance(inputs, pd.DataFrame)}
    codec = FrameCodec.fit(frames, categorical=settings.categorical) if frames and settings.categorical else None
    made = target_audit(
        target,
        pairs,
        domain=codec,
        terms=terms,
        trainer=trainer,
        train_size=settings.train_size,
        samples=settings.samples or MOST_ATTACKED,
        device=device,
        store=store,
        name=name,
        label_map=settings.label_map,
        description=description,
        payment=Payment.of(settings, execution),
    )
    case = replace(made.case, data=settings.members.name, notes=(*given.notes, *made.case.notes))
    _check_rows(case)
    return replace(made, case=case, refuse=True)


def _check_ids(target: object, given: Given, chosen: Sequence[str]) -> None:
    """Refuses a target that was trained on a column that was ignored because it looks like an id."""
    names = set(map(str, getattr(target, "feature_names_in_", ())))
    for column in given.ignored:
        if column in names and column not in chosen:
            raise InvalidInput(
                f"target wants the column {column!r}, which was ignored because its values are all different: "
                f"--categorical {column} keeps it"
            )


def _check_label(target: object, given: Given, label: str | None) -> None:
    """Refuses a label column that the target wants among its inputs, where no other column is missing."""
    wanted = list(map(str, getattr(target, "feature_names_in_", ())))
    there = list(map(str, getattr(given.members[0], "columns", ())))
    if not there or [name for name in wanted if name not in there] != [label]:
        return
    extra = [name for name in there if name not in wanted]
    meant = f": did you mean --label {extra[0]}?" if len(extra) == 1 else ""
    raise InvalidInput(
        f"target wants {len(wanted)} columns, also {label!r}, which --label {label} took out of the table{meant}"
    )


def _check_rows(case: Case) -> None:
    """Asks a classifier that bills nobody about a few rows, so that it refuses before anything is begun.

    Raises:
        InvalidInput: It cannot take the rows.
    """
    if case.target.weights is None or case.target.torch_model is not None:
        return
    for group in (case.members, case.nonmembers):
        few = group.take(slice(0, PROBED))
        case.target.labels.ask(few.inputs, few.ids)

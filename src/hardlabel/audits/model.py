"""The audit of one model: attacks are played on it, and the record holds what they found."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from sklearn.base import BaseEstimator

from hardlabel.attacks import Attack, Need, ScoreAttack
from hardlabel.audits.arguments import checked
from hardlabel.audits.attacker import guessed_labels
from hardlabel.audits.attacker.models import CRAFTERS, Wanted, owned_by
from hardlabel.audits.attacker.shadow import labelled_by_target
from hardlabel.audits.cases.case import Case, counted
from hardlabel.audits.cases.from_arrays import Pair, case_of
from hardlabel.audits.cases.from_settings import Loaded, case_of_settings, load
from hardlabel.audits.cases.plans import MOST_ATTACKED
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings import exposed, figures, worst_case
from hardlabel.audits.game import check_rows
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.batches import settled
from hardlabel.audits.game.check_rows import CheckRows
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.audits.game.game import ACCURACY, Game, Played
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.audits.kind import asked, described
from hardlabel.audits.plan import Plan, Questions, Seats, Trainings, plan_of, questions_of
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.metrics import blind, intervals
from hardlabel.models.train import Recipe
from hardlabel.oracles.budget import Account
from hardlabel.records.environment import environment_of
from hardlabel.records.model import AuditRecord, Blind, Checks, LeftOut, Results, Target
from hardlabel.records.verdict import exchanged, ignorance
from hardlabel.renamed import renamed
from hardlabel.runs.settings import Attacker, Focus, ModelSettings
from hardlabel.store import Store
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import left_in_place, resolve_device


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
    trainer: Callable[..., object] | BaseEstimator | Recipe | None = None,
    train_size: int | None = None,
    domain: Domain | None = None,
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
        nonmembers: (inputs, labels) from the same source that the target was not trained on. Inputs that are members
            too are dropped from both, and refused where they are more than a tenth of a group. Repeats within a group
            are dropped, so that each input counts once. The record's notes say what was dropped; `focus.strict` refuses
            it.
        population: Further (inputs, labels) from the same source, to train the attacker's models on. Repeated inputs,
            members and non-members are dropped.
        trainer: How the target was trained: a `hardlabel.Recipe` for a network of ours, a scikit-learn classifier to
            clone, or a function `trainer(inputs, labels, *, seed) -> model`. The function gets arrays if `members`
            are arrays, else tensors.
        train_size: Number of samples that the target was trained on; None for the number of members given.
        domain: Legal inputs; None to infer the domain from the inputs, which the record notes. Images of integers are
            only asked about in whole numbers. Vectors of integers other than 0 and 1 need a domain.
        attacks: Names from `hardlabel attacks`, or your own attacks (`hardlabel.attacks.LabelAttack`); None for all
            that suit the domain and the budget.
        budget: Most queries per sample, for each attack separately.
        samples: Most members attacked, and most non-members, drawn at random; None for all given.
        seed: Fixes every random draw.
        device: Where torch models run: "auto", "cpu", "cuda", ... Afterwards the target is moved back.
        store: Keeps the answers to finished attacks. An audit that was interrupted (a dead server, Ctrl-C) does not
            ask for them again; of the attack under way, it asks about one piece of samples again. Models of estimators
            and of named functions are kept as pickles: use no store that somebody else could write to.
        name: Name of this target in the store. It is needed with a store if the target is neither a torch module nor a
            scikit-learn classifier. The same name must mean the same model.
        attacker: What the attacker has and knows: reference models, labels.
        focus: What is looked at besides the average record (the records most at risk, groups, a prior), and what is put
            up with: repeated inputs, a private target that may know nothing.
        execution: Where and in which pieces the attacker's models are trained and asked, and who is told of progress.

    Returns:
        The record, in memory. `record.save(folder)` saves it, and `hardlabel.write_report` draws it.

    Raises:
        InvalidInput: An argument breaks a rule. Raised before any training, and before any query but one: to count its
            classes, a target with scores is asked about one row. Or a model answers with what is no class or log
            probability; the error names its role, the number of wrong answers and the first. The target's answers
            about the attacked samples are looked at before training, own models' when they are first asked.

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
        model = askable(target, where, role="target", name=name)
        if store is not None and model.identity is None:
            raise InvalidInput("name must say which model this is where a store keeps its answers, got None")
        case = case_of(
            model,
            type(target).__name__,
            members,
            nonmembers,
            population=population,
            trainer=trainer,
            train_size=train_size,
            domain=domain,
            samples=samples,
            attacker=attacker,
            slices=focus.slices,
            private=focus.private,
            strict=focus.strict,
            seed=seed,
            device=where,
            store=store,
        )
        config = asked(
            "model",
            given,
            attacks=terms.names,
            domain=described(case.members.domain),
            trainer=None if case.references is None else case.references.trainer.description,
        )
        # Other oracles are asked from the CPU; only a torch model's samples move to its device.
        home = where if model.torch_model is not None else torch.device("cpu")
        asking = Asking.by(execution, seed=seed, store=store)
        return replace(audited(case, terms, device=home, asking=asking, started=started), config=config)


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelAudit:
    """The audit of a model that hardlabel trains, loaded and checked; see `audits.kind.Prepared`.

    Attributes:
        ready: The data, the split, and how models are trained.
        terms: What is asked.
        device: Where models run.
    """

    ready: Loaded
    terms: Terms
    device: torch.device

    @property
    def settled(self) -> dict[str, object]:
        return {"precision": self.ready.trainer.recipe.precision}

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        ready, attacks, parts = self.ready, self.ready.picked.rows, self.ready.parts
        wanted = Wanted.by(attacks, worst_case=self.terms.focus.worst_case is not None)
        references = ready.settings.references if wanted.references else 0
        attacked = 2 * ready.attacked
        seats = Seats(
            domain=parts.members.domain,
            budget=self.terms.budget,
            attacked=attacked,
            targets=1,
            references=references,
            rest=sum(map(len, ready.distinct)) - attacked,
            shadow_samples=2 * ready.shadow_attacked if wanted.shadow else 0,
        )
        overhead = attacked if self.terms.attacker.labels == "target" else 0
        if self.terms.attacker.shadow_labels == "target":
            overhead += len(parts.shadow_members) + len(parts.shadow_nonmembers)
        questions = questions_of(attacks, seats, chunk=execution.chunk)
        overhead += check_rows.ROWS * check_rows.most_askings(questions.queries + overhead, len(attacks))
        return plan_of(
            [
                Trainings(models=2 if wanted.shadow else 1),
                Trainings(models=references, together=True),
                Trainings(models=CRAFTERS if wanted.crafters else 0, smooth=True),
            ],
            questions + Questions(queries=overhead) + exposed.looks(seats, chunk=execution.chunk),
            scores=len(attacks),
            trainer=ready.trainer,
            samples=parts.members,
            own_as_targets=False,
            own_at_once=references,
            execution=execution,
            folder=folder,
        )

    def play(self, asking: Asking, started: float) -> AuditRecord:
        case = case_of_settings(self.ready, device=self.device, watch=asking.watch, executor=asking.executor)
        record = audited(case, self.terms, device=self.device, asking=asking, started=started)
        return replace(record, config=dict(case.settings))


def prepare(settings: ModelSettings, *, device: torch.device, store: Store | None, execution: Execution) -> ModelAudit:
    """Loads the data and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    terms = Terms.of(settings)
    ready = load(settings, terms, device=device, store=store, watch=execution.watch)
    return ModelAudit(ready=ready, terms=terms, device=device)


def audited(case: Case, terms: Terms, *, device: torch.device, asking: Asking, started: float) -> AuditRecord:
    """Plays every attack on a case and returns the record; `started` is when the clock began."""
    watch, store = asking.watch, asking.store
    attacked = len(case.members) + len(case.nonmembers)
    chosen = terms.chosen(case.members.domain, missing=case.missing, attacked=attacked)
    case = counted(case, device)
    [target] = settled([case.target], case.members.inputs[:1].to(device), store)
    if any(isinstance(attack, ScoreAttack) for attack in chosen.rows):
        target.try_scores(case.members, case.nonmembers)
    checker = CheckRows.of(
        target, case.members, case.nonmembers, seed=terms.seed, device=device, store=store, watch=watch
    )
    case = replace(case, target=checker.watched)
    attacker = Account(on_spent=watch.advance)  # Pays for labels that the attacker asks for.
    right, first_side = _first_answers(case, terms, device=device, asking=asking)
    truth = labelled_by_target(case, attacker, device=device, store=store, watch=watch)
    case = guessed_labels.labelled(truth, terms, attacker, device=device, store=store, watch=watch)
    owned = owned_by(case, chosen.rows, terms, device=device, asking=asking)
    game = Game(
        target=owned.target, shadow=owned.shadow, references=owned.references, budget=terms.budget, asking=asking
    )
    # The record's figures use the true labels, whatever labels the attacker has.
    true_side = guessed_labels.side_of(truth, game.target)
    member, labels = true_side.inside.numpy(), true_side.samples.labels.cpu().numpy()
    asking.carry(ACCURACY, first_side, true_side)
    results, frames, played_by_name = [], [], {}
    for attack in chosen.rows:
        if (reason := game.lacks(attack)) is not None:
            chosen.left_out[attack.name] = reason
            continue
        played = played_or_kept(game, attack)
        result = figures.result(
            attack,
            played,
            member=member,
            labels=labels,
            right=right,
            prior=terms.focus.prior,
            overhead={**guessed_labels.paid(attacker.overhead, shadow_used=played.shadow_used), **played.overhead},
            seed=terms.seed,
        )
        watch.say(f"{attack.name}: AUC {result.auc}, {result.queries_per_sample.mean:.4g} queries per sample")
        checker.check()
        results.append(result)
        played_by_name[attack.name] = played
        frames.append(_frame(attack, played, true_side, case))
    watch.stage("blind baseline", 1, "fits")
    blind_auc, blind_method = blind.blind_baseline(truth.members, truth.nonmembers, seed=terms.seed)
    watch.stage("who is exposed", 1, "looks")
    access = {result.name: result.access for result in results}
    at_risk = exposed.of_audit(case, terms, owned, true_side, played_by_name, access=access, asking=asking)
    checker.check()
    checked = checker.result()
    scores = {result.name: frame["score"].to_numpy() for result, frame in zip(results, frames, strict=True)}
    return AuditRecord(
        results=Results(
            data=case.data,
            domain=case.members.domain.kind,
            members=len(case.members),
            nonmembers=len(case.nonmembers),
            prior=terms.focus.prior,
            budget=terms.budget,
            target=_target(case, right, member, device),
            shadow=owned.shadow_facts,
            references=owned.reference_facts,
            choice=figures.choice_of(chosen.rung),
            blind=Blind(auc=blind_auc, differs=blind.differs(blind_auc), method=blind_method),
            attacks=results,
            differences=figures.differences(scores, access, member),
            left_out=[LeftOut(name=name, reason=reason) for name, reason in chosen.left_out.items()],
            worst_case=at_risk.worst_case,
            exposed=at_risk.exposed,
            groups=at_risk.groups,
            named=at_risk.named,
            checks=checked,
            notes=[*_notes(case, terms, "gap" in scores), *worst_case.notes(attacked), *_checked_notes(checked)],
            environment=environment_of(
                terms.seed, time.perf_counter() - started, device, check_queries=checker.queries
            ),
        ),
        scores=exposed.published(pd.concat(frames, ignore_index=True), true_side.samples, show=terms.focus.show_records)
        if frames
        else pd.DataFrame(columns=_COLUMNS),
    )


def _first_answers(case: Case, terms: Terms, *, device: torch.device, asking: Asking) -> tuple[figures.Bools, Side]:
    """Which attacked samples the target is right on, asked before anything is trained, and the side that was asked.

    A target that answers nonsense is refused here. What contradicts itself is told at once, and again in the verdict.
    """
    side = Side.mixed(case.target, case.members.to(device), case.nonmembers.to(device), seed=terms.seed)
    game = Game(target=side, shadow=None, budget=terms.budget, asking=asking)
    right = game.right().numpy()
    by_class = figures.class_rights(side.inside.numpy(), side.samples.labels.cpu().numpy(), right)
    contradictory = [] if case.private else ignorance(by_class)[0]
    for reason in (*contradictory, *exchanged(by_class)):
        asking.watch.say(str(reason))
    return right, side


def _target(case: Case, right: figures.Bools, member: figures.Bools, device: torch.device) -> Target:
    return Target(
        description=case.target_description,
        train_accuracy=intervals.rate_interval(int(right[member].sum()), int(member.sum())),
        test_accuracy=intervals.rate_interval(int(right[~member].sum()), int((~member).sum())),
        classes=case.classes,
        device=str(device),
        batch_size=case.target.torch_model.batch_size if case.target.torch_model else None,
        private=case.private,
    )


_COLUMNS = ["id", "row", "member", "label", "attack", "score", "queries"]


def _frame(attack: Attack, played: Played, target: Side, case: Case) -> pd.DataFrame:
    ids = target.samples.ids.tolist()
    columns = (
        ids,
        ids if case.rows is None else [case.rows[sample_id] for sample_id in ids],
        target.inside.numpy(),
        target.samples.labels.cpu().numpy(),
        attack.name,
        played.scores.numpy(),
        played.measurement.queries.numpy(),
    )
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))


def _notes(case: Case, terms: Terms, gap_asked: bool) -> list[str]:
    notes = [*case.notes, *guessed_labels.notes(terms, case)]
    if case.shadow is None:
        notes.append(
            f"Thresholds could not be chosen: {case.missing[Need.SHADOW]}. AUC and ROC need none; settings that a "
            "shadow model would choose were left at a middling value."
        )
    elif case.shadow.note:
        notes.append(case.shadow.note)
    if len(case.members) != len(case.nonmembers):
        notes.append(
            f"The groups differ in size ({len(case.members)} members, {len(case.nonmembers)} non-members). "
            "AUC, balanced accuracy and TPR at an FPR do not depend on that; precision in this sample does."
        )
    if terms.budget is not None:
        notes.append(
            f"Each attack was allowed {terms.budget} queries per sample, on its own account; one that gains nothing "
            "from so many asks fewer."
        )
    if not gap_asked:
        notes.append("The audit itself asked the target once per sample for its accuracy; that is no attack's cost.")
    if case.target.torch_model is not None and case.target.torch_model.probabilities:
        notes.append(
            "The target answers with probabilities, not logits: their logarithms were taken, so that no softmax is "
            "applied twice."
        )
    if case.target.torch_model is not None:
        notes.append(
            f"The audit itself sent the target {case.target.probed} rows to find its best batch "
            "size; that is no attack's cost."
        )
    return notes


def _checked_notes(checked: Checks | None) -> list[str]:
    if checked is None:
        return []
    return [f"The audit itself checked, at no attack's cost, whether the target changes: {checked.told}."]

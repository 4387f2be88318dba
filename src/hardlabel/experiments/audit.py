"""The audit: target, shadow model, attacks, figures, record; the whole pipeline on one page."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace

import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator

from hardlabel.attacks import Attack, Need
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.experiments import evaluate, exposed, guessed, plan, runs
from hardlabel.experiments import scores as scores_of
from hardlabel.experiments.asking import Asking, Side
from hardlabel.experiments.batches import settled
from hardlabel.experiments.case import MOST_ATTACKED, SHADOWS, Case, Oracles, Terms, count_classes
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.environment import environment_of
from hardlabel.experiments.game import Game, Played
from hardlabel.experiments.given import Pair, case_of
from hardlabel.experiments.owned import owned_by
from hardlabel.experiments.progress import SILENT, Watch
from hardlabel.experiments.record import (
    AuditRecord,
    Blind,
    Choice,
    LeftOut,
    Results,
    Target,
)
from hardlabel.experiments.settings import Kind, settings_of, with_precision
from hardlabel.experiments.shadow import labelled_by_target
from hardlabel.experiments.training import Ground, case_of_config, ground_of
from hardlabel.experiments.work import USUAL, Work
from hardlabel.metrics import blind, intervals
from hardlabel.models.train import Recipe
from hardlabel.oracles.budget import Account
from hardlabel.oracles.pytorch import left_in_place, resolve_device
from hardlabel.store import Store


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
    seed: int = 0,
    device: str = "auto",
    prior: float = 0.01,
    shadow_labels: str = "true",
    shadows: int = SHADOWS,
    alike: bool = True,
    samples: int | None = MOST_ATTACKED,
    networks: str = "all",
    worst_case: float | None = None,
    slices: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    labels: str = "true",
    wrong_labels: float = 0.0,
    show_records: bool = False,
    name: str | None = None,
    store: Store | None = None,
    watch: Watch = SILENT,
    work: Work = USUAL,
) -> AuditRecord:
    """Audits a trained model with every attack that suits it.

    Args:
        target: A torch module that maps inputs (q, *shape) to logits, or an oracle: an object with
            `ask(inputs, ids)` (labels) or `ask_scores(inputs, ids)` (log probabilities) or both.
        members: (inputs, labels) the target was trained on; arrays or tensors (n, *shape) and (n,).
        nonmembers: The same for samples it was not trained on, from the same source; inputs must differ.
        population: Further samples of the same source, for shadow models; those attacked are set aside.
        trainer: How the target was trained: a function `trainer(inputs, labels, *, seed) -> model`, handed arrays
            where arrays were given, tensors otherwise; a scikit-learn classifier, to be cloned; or a
            `hardlabel.Recipe` for a network of ours.
        train_size: How many samples the target was trained on; by default the number of members given.
        domain: Which inputs are legal; by default inferred from the inputs, and the record says so.
        attacks: Names from `hardlabel attacks`, or attacks of your own (`hardlabel.attacks.LabelAttack`); by
            default all that suit the domain and the budget.
        budget: Most queries per sample, for each attack on its own.
        seed: Fixes every draw.
        device: "auto", "cpu", "cuda", ...: where torch models run. The target is put back where it was.
        prior: Share of members among those an attacker would ask about, for the precision at that prior.
        shadow_labels: "true", or "target" to have the target label the shadow data (overhead queries).
        shadows: How many reference models are trained with and without the attacked samples, for the attacks that
            are calibrated per sample: even, 2 to 256. Each costs one training of `trainer`.
        alike: Whether `trainer` trains as the target was trained; if not, each model's signals are standardised
            before they are compared.
        samples: Most members, and most non-members, that are attacked, drawn by the seed; None for all given.
        networks: "all" for one attack network for all classes, "class" for one per class.
        worst_case: Share of the points asked about, such as .005: so many are chosen as most at risk by reference
            models alone, and reported apart, with precision and recall. Needs `trainer`.
        slices: Groups to report risk for: by name, a value for each member given and one for each non-member. Numbers
            of many values are cut at their quartiles.
        labels: "true", or "target" where the attacker has no labels of the points: it takes the target's answers.
        wrong_labels: Share of the points' labels that the attacker has wrong, in [0, 1): what wrong labels cost it.
        show_records: Whether the record, and so the report, holds the exposed records themselves.
        name: What tells this target from others in a store; needed with a store where the target is no torch
            module, whose weights tell it. The same name must mean the same model.
        store: Keeps the answers to every finished attack, so that an audit that broke off (a dead server, Ctrl-C)
            does not ask for them again. Of the attack under way, the samples asked about in one piece start anew.
        watch: Is told of progress.
        work: Where the attacker's own models are trained and measured, and in pieces of which size.

    Returns:
        The record, in memory; `record.save(folder)` keeps it and `hardlabel.write_report` draws it.

    Raises:
        InvalidInput: An argument breaks a rule; raised before any training or query but the one row that shows
            how many classes a target with scores has.
    """
    started = time.perf_counter()
    where = resolve_device(device)
    if isinstance(attacks, str):
        raise InvalidInput(f"attacks must be a list of names, got the string {attacks!r}")
    asked = None if attacks is None else tuple(attacks)
    terms = Terms(
        attacks=asked,
        budget=budget,
        prior=prior,
        networks=networks,
        seed=seed,
        worst_case=worst_case,
        labels=labels,
        wrong_labels=wrong_labels,
        show_records=show_records,
    )
    with left_in_place(target):
        oracles = Oracles.of(target, where, role="target", name=name)
        if store is not None and oracles.identity is None:
            raise InvalidInput("name must say which model this is where a store keeps its answers, got None")
        case = case_of(
            oracles,
            type(target).__name__,
            members,
            nonmembers,
            population=population,
            trainer=trainer,
            train_size=train_size,
            domain=domain,
            samples=samples,
            shadow_labels=shadow_labels,
            shadow_count=shadows,
            alike=alike,
            seed=seed,
            device=where,
            store=store,
            slices=slices,
        )
        config: dict[str, object] = {
            **asdict(terms),
            "attacks": None if asked is None else [one if isinstance(one, str) else one.name for one in asked],
            "train_size": train_size,
            "domain": repr(case.members.domain),
            "samples": samples,
            "shadow_labels": shadow_labels,
            "shadows": shadows,
            "alike": alike,
            "slices": sorted(slices or {}),
            "name": name,
            "device": device,
        }
        # Foreign oracles are asked from the CPU; only a torch model's samples move to its device.
        home = where if oracles.torch_model is not None else torch.device("cpu")
        asking = Asking(seed=seed, watch=watch, store=store, executor=work.executor, chunk=work.chunk)
        return run(case, terms, device=home, asking=asking, config=config, started=started)


def audit_config(config: AuditConfig, *, store: Store | None, watch: Watch = SILENT, work: Work = USUAL) -> AuditRecord:
    """Trains a target and a shadow model as `config` says, audits the target, and keeps the record in its folder.

    The folder is tried, and refused if it holds another audit or another process holds it, before anything is trained.

    Args:
        config: The settings; `out` must be set.
        store: Keeps models and measurements, so that what is finished is never done again; None keeps nothing.
        watch: Is told of progress.
        work: Where the work is done, and in pieces of which size.

    Raises:
        InvalidInput: A setting breaks a rule; raised before any training or query.
    """
    started = time.perf_counter()
    terms, ground, settings, kept = _grounded(config, store, watch, work)
    assert config.out is not None
    if watch is not SILENT:
        watch.say(str(plan.of_audit(ground, work=work, folder=config.out)))
    device = ground.trainer.device
    with runs.begun(config.out, settings, store=kept):
        case = case_of_config(ground, device=device, watch=watch, executor=work.executor)
        asking = Asking(seed=terms.seed, watch=watch, store=kept, executor=work.executor, chunk=work.chunk)
        resolved = {**settings, **case.settings}
        return run(case, terms, device=device, asking=asking, config=resolved, started=started).save(config.out)


def plan_config(config: AuditConfig, *, store: Store | None, watch: Watch = SILENT, work: Work = USUAL) -> plan.Plan:
    """What `audit_config` would do; loads the data, trains nothing, writes nothing.

    Raises:
        InvalidInput: See `audit_config`.
    """
    ground = _grounded(config, store, watch, work)[1]
    return plan.of_audit(ground, work=work, folder=config.out)


def _grounded(
    config: AuditConfig, store: Store | None, watch: Watch, work: Work
) -> tuple[Terms, Ground, dict[str, object], Store | None]:
    settings = settings_of(config, Kind.MODEL)
    config = with_precision(config, elsewhere=work.executor.elsewhere)
    assert config.out is not None
    device = resolve_device(config.device)
    terms = Terms(
        attacks=None if config.attacks is None else tuple(config.attacks),
        budget=config.budget,
        prior=config.prior,
        networks=config.networks,
        seed=config.seed,
        worst_case=config.worst_case,
        labels=config.labels,
        wrong_labels=config.wrong_labels,
        show_records=config.show_records,
    )
    kept = runs.journaled(config.out, store, watch)
    ground = ground_of(config, terms, device=device, store=kept, watch=watch)
    # Settled from the start: whoever goes on elsewhere trains as it was begun.
    return terms, ground, {**settings, "precision": ground.trainer.recipe.precision}, kept


def run(
    case: Case,
    terms: Terms,
    *,
    device: torch.device,
    asking: Asking,
    config: dict[str, object],
    started: float,
) -> AuditRecord:
    """Plays every attack on a case and writes down what came of it; `started` is when the clock began."""
    watch, store = asking.watch, asking.store
    missing = dict(case.missing)
    if case.target.scores is None:
        missing[Need.SCORES] = "the target answers with labels only"
    picked = terms.chosen(case.members.domain, missing=missing, attacked=len(case.members) + len(case.nonmembers))
    rows, left_out = picked.rows, picked.left_out
    [target] = settled([case.target], case.members.inputs[:1].to(device), store)
    case = replace(case, target=target)
    classes = count_classes(case, device)
    attacker = Account(on_spent=watch.advance)  # What the attacker asks about no sample under attack.
    case = labelled_by_target(case, attacker, device=device, store=store, watch=watch)
    truth = case
    case = guessed.labelled(case, terms, attacker, device=device, store=store, watch=watch)
    owned = owned_by(case, rows, terms, classes=classes, device=device, asking=asking)
    game = Game(
        target=owned.target,
        shadow=owned.shadow,
        references=owned.references,
        budget=terms.budget,
        asking=asking,
    )

    # What the target was trained on, whatever the attacker takes for its labels.
    real = guessed.side_of(truth, game.target)
    member, labels = real.inside.numpy(), real.samples.labels.cpu().numpy()
    right = replace(game, target=real).right().numpy()
    results, frames, every = [], [], {}
    for attack in rows:
        if (why := owned.lacks(attack) or game.lacks(attack)) is not None:
            left_out[attack.name] = why
            continue
        played = scores_of.played(game, attack)
        result = evaluate.result(
            attack,
            played,
            member=member,
            labels=labels,
            right=right,
            prior=terms.prior,
            overhead={**guessed.paid(attacker.overhead, shadow_used=played.shadow_used), **played.overhead},
            seed=terms.seed,
        )
        watch.say(f"{attack.name}: AUC {result.auc}, {result.queries_per_sample.mean:.4g} queries per sample")
        results.append(result)
        every[attack.name] = played
        frames.append(_frame(attack, played, real, case))
    watch.stage("blind baseline", 1, "fits")
    blind_auc, blind_method = blind.blind_baseline(truth.members, truth.nonmembers, seed=terms.seed)
    watch.stage("who is exposed", 1, "looks")
    access = {one.name: one.access for one in results}
    few = exposed.of_audit(case, terms, owned, real, every, access=access, asking=asking)
    scores = {result.name: frame["score"].to_numpy() for result, frame in zip(results, frames, strict=True)}
    seconds = time.perf_counter() - started
    return AuditRecord(
        results=Results(
            data=case.data,
            domain=case.members.domain.kind,
            members=len(case.members),
            nonmembers=len(case.nonmembers),
            prior=terms.prior,
            budget=terms.budget,
            target=Target(
                description=case.target_description,
                train_accuracy=intervals.rate_interval(int(right[member].sum()), int(member.sum())),
                test_accuracy=intervals.rate_interval(int(right[~member].sum()), int((~member).sum())),
                classes=classes,
                device=str(device),
                batch_size=case.target.torch_model.batch_size if case.target.torch_model else None,
            ),
            shadow=owned.shadow_facts,
            references=owned.reference_facts,
            choice=Choice(attack=picked.rung.attack, queries=picked.rung.queries, why=picked.rung.why),
            blind=Blind(auc=blind_auc, differs=blind.differs(blind_auc), method=blind_method),
            attacks=results,
            differences=evaluate.differences(scores, {result.name: result.access for result in results}, member),
            left_out=[LeftOut(name=name, reason=reason) for name, reason in left_out.items()],
            worst_case=few.worst_case,
            exposed=few.exposed,
            groups=few.groups,
            named=few.named,
            notes=_notes(case, terms, "gap" in scores),
            environment=environment_of(terms.seed, seconds, device),
        ),
        scores=exposed.with_pseudonyms(pd.concat(frames, ignore_index=True), real.samples)
        if frames
        else pd.DataFrame(columns=_COLUMNS),
        config=config,
    )


_COLUMNS = ["id", "row", "member", "label", "attack", "score", "queries"]


def _frame(attack: Attack, played: Played, target: Side, case: Case) -> pd.DataFrame:
    ids = target.samples.ids.tolist()
    columns = (
        ids,
        ids if case.rows is None else [case.rows[one] for one in ids],
        target.inside.numpy(),
        target.samples.labels.cpu().numpy(),
        attack.name,
        played.scores.numpy(),
        played.measurement.queries.numpy(),
    )
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))


def _notes(case: Case, terms: Terms, gap_asked: bool) -> list[str]:
    notes = [*case.notes, *guessed.notes(terms, case)]
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
    if case.target.torch_model is not None:
        notes.append(
            f"The audit itself sent the target {case.target.probed} rows to find its best batch "
            "size; that is no attack's cost."
        )
    return notes

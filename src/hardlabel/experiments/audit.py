"""The audit: target, shadow model, attacks, figures, record; the whole pipeline on one page."""

import datetime
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import metadata

import pandas as pd
import torch

from hardlabel import randomness
from hardlabel.attacks import Attack, ScoreAttack
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.experiments import evaluate
from hardlabel.experiments.case import Case, Oracles, Terms, count_classes
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.game import Game, Side
from hardlabel.experiments.given import Pair, case_of
from hardlabel.experiments.progress import SILENT, Watch
from hardlabel.experiments.record import (
    AuditRecord,
    Blind,
    Environment,
    LeftOut,
    Results,
    Shadow,
    Target,
    refuse_other_run,
)
from hardlabel.experiments.training import case_of_config
from hardlabel.metrics import blind, intervals
from hardlabel.models.kept import content_hash
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.oracles.pytorch import resolve_device
from hardlabel.signals.base import Knowledge
from hardlabel.store import Store

LABELLING = "labelling the shadow data"
PACKAGES = ("hardlabel", "torch", "numpy", "scipy", "scikit-learn", "pandas")


def audit(
    target: object,
    members: Pair,
    nonmembers: Pair,
    *,
    population: Pair | None = None,
    trainer: Callable[..., object] | None = None,
    train_size: int | None = None,
    domain: Domain | None = None,
    attacks: Iterable[str] | None = None,
    budget: int | None = None,
    seed: int = 0,
    device: str = "auto",
    prior: float = 0.01,
    shadow_labels: str = "true",
    networks: str = "all",
    name: str = "samples given",
    store: Store | None = None,
    watch: Watch = SILENT,
) -> AuditRecord:
    """Audits a trained model with every attack that suits it.

    Args:
        target: A torch module that maps inputs (q, *shape) to logits, or an oracle: an object with
            `ask(inputs, ids)` (labels) or `ask_scores(inputs, ids)` (log probabilities) or both.
        members: (inputs, labels) the target was trained on; arrays or tensors (n, *shape) and (n,).
        nonmembers: The same for samples it was not trained on, from the same source; inputs must differ.
        population: Further samples of the same source, for shadow models; those attacked are set aside.
        trainer: `trainer(inputs, labels, *, seed) -> model` trains a shadow model the way the target was
            trained; it is handed arrays where arrays were given, tensors otherwise.
        train_size: How many samples the target was trained on; by default the number of members given.
        domain: Which inputs are legal; by default inferred from the inputs, and the record says so.
        attacks: Names from `hardlabel attacks`; by default all that suit the domain and the budget.
        budget: Most queries per sample, for each attack on its own.
        seed: Fixes every draw.
        device: "auto", "cpu", "cuda", ...: where torch models run.
        prior: Share of members among those an attacker would ask about, for the precision at that prior.
        shadow_labels: "true", or "target" to have the target label the shadow data (overhead queries).
        networks: "all" for one attack network for all classes, "class" for one per class.
        name: What the report calls the data, and, with a store, what tells this target from others.
        store: Keeps the target's answers to each finished attack under `name`, so that an audit that broke off
            (a dead server, Ctrl-C) asks nothing twice; the same name must mean the same model.
        watch: Is told of progress.

    Returns:
        The record, in memory; `record.save(folder)` keeps it and `hardlabel.write_report` draws it.

    Raises:
        InvalidInput: An argument breaks a rule; raised before any training or query but the one row that shows
            how many classes a torch target has.
    """
    where = resolve_device(device)
    names = None if attacks is None else tuple(attacks)
    terms = Terms(attacks=names, budget=budget, prior=prior, networks=networks, seed=seed)
    case = case_of(
        Oracles.of(target, where, name="target"),
        type(target).__name__,
        members,
        nonmembers,
        population=population,
        trainer=trainer,
        train_size=train_size,
        domain=domain,
        shadow_labels=shadow_labels,
        seed=seed,
        name=name,
    )
    config: dict[str, object] = {
        **asdict(terms),
        "attacks": None if names is None else list(names),
        "train_size": train_size,
        "shadow_labels": shadow_labels,
        "device": device,
    }
    return run(case, terms, device=where, watch=watch, config=config, store=store)


def audit_config(config: AuditConfig, *, store: Store | None, watch: Watch = SILENT) -> AuditRecord:
    """Trains a target and a shadow model as `config` says, audits the target, and keeps the record in its folder.

    The folder is tried, and refused if it holds another audit, before anything is trained.

    Args:
        config: The settings; `out` must be set.
        store: Keeps models and measurements, so that what is finished is never done again; None keeps nothing.
        watch: Is told of progress.

    Raises:
        InvalidInput: A setting breaks a rule; raised before any training or query.
    """
    if config.out is None:
        raise InvalidInput("out must name the run folder, got None")
    device = resolve_device(config.device)
    settings: dict[str, object] = config.model_dump(mode="json", exclude={"out"})
    refuse_other_run(config.out, settings)
    terms = Terms(
        attacks=None if config.attacks is None else tuple(config.attacks),
        budget=config.budget,
        prior=config.prior,
        networks=config.networks,
        seed=config.seed,
    )
    case = case_of_config(config, terms, device=device, store=store, watch=watch)
    record = run(case, terms, device=device, watch=watch, config=settings, store=store)
    return record.save(config.out)


def run(
    case: Case,
    terms: Terms,
    *,
    device: torch.device,
    watch: Watch,
    config: dict[str, object],
    store: Store | None = None,
) -> AuditRecord:
    """Plays every attack on a case and writes down what came of it."""
    started, begun = time.perf_counter(), datetime.datetime.now(datetime.UTC)
    rows, left_out = terms.chosen(case.members.domain)
    classes = count_classes(case, device)
    auditor = Account()  # What the audit itself asks; no attack's cost.
    target = Side.mixed(
        case.target.labels,
        case.target.scores,
        case.members.to(device),
        case.nonmembers.to(device),
        seed=terms.seed,
        identity=case.identity,
    )
    watch.stage("accuracy of the target", len(target.samples), "queries")
    answers = ChargedLabels(case.target.labels, auditor).ask(target.samples.inputs, target.samples.ids)
    right = (answers == target.samples.labels).cpu().numpy()
    attacker = Account()  # What the attacker asks about no sample under attack.
    shadow, shadow_side = _shadow(case, attacker, seed=terms.seed, device=device, watch=watch)
    game = Game(
        target=target,
        shadow=shadow_side,
        knowledge=Knowledge(population=None if case.population is None else case.population.to(device)),
        budget=terms.budget,
        seed=terms.seed,
        watch=watch,
        store=store,
    )

    member, labels = target.inside.numpy(), target.samples.labels.cpu().numpy()
    ids = target.samples.ids.cpu().numpy()
    results, frames = [], []
    for attack in rows:
        if reason := _impossible(attack, case, shadow_side):
            left_out[attack.name] = reason
            continue
        played = game.play(attack)
        overhead = dict(attacker.overhead) if shadow_side is not None else {}
        result = evaluate.result(
            attack,
            played,
            member=member,
            labels=labels,
            right=right,
            prior=terms.prior,
            overhead=overhead,
            seed=terms.seed,
        )
        watch.say(f"{attack.name}: AUC {result.auc}, {result.queries_per_sample.mean:.4g} queries per sample")
        results.append(result)
        frames.append(
            pd.DataFrame(
                {
                    "id": ids,
                    "member": member,
                    "label": labels,
                    "attack": attack.name,
                    "score": played.scores.numpy(),
                    "queries": played.measurement.queries.numpy(),
                }
            )
        )
    watch.stage("blind baseline", 1, "fits")
    blind_auc, blind_method = blind.blind_baseline(case.members, case.nonmembers, seed=terms.seed)
    scores = {result.name: frame["score"].to_numpy() for result, frame in zip(results, frames, strict=True)}
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
            shadow=shadow,
            blind=Blind(auc=blind_auc, differs=blind.differs(blind_auc), method=blind_method),
            attacks=results,
            differences=evaluate.differences(scores, {result.name: result.access for result in results}, member),
            left_out=[LeftOut(name=name, reason=reason) for name, reason in left_out.items()],
            notes=_notes(case, auditor, terms.budget),
            environment=Environment(
                command=shlex.join([sys.argv[0].rsplit("/", 1)[-1], *sys.argv[1:]]),
                seed=terms.seed,
                started=begun.isoformat(timespec="seconds"),
                seconds=time.perf_counter() - started,
                versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
                machine=f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, {device}",
            ),
        ),
        scores=pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_COLUMNS),
        config=config,
    )


_COLUMNS = ["id", "member", "label", "attack", "score", "queries"]


def _shadow(
    case: Case, attacker: Account, *, seed: int, device: torch.device, watch: Watch
) -> tuple[Shadow | None, Side | None]:
    """Trains the shadow model and mixes its samples; its facts and its side, or two Nones."""
    plan = case.shadow
    if plan is None:
        return None, None
    members, nonmembers = plan.members, plan.nonmembers.take(slice(0, plan.attacked))
    if plan.labels == "target":
        watch.stage(LABELLING, len(members) + len(nonmembers), "queries")
        teacher = ChargedLabels(case.target.labels, attacker, overhead=LABELLING)
        members, nonmembers = _labelled(teacher, members, device), _labelled(teacher, nonmembers, device)
    started = time.perf_counter()
    model = Oracles.of(plan.fit(members, randomness.derive(seed, "shadow model")), device, name="trainer's model")
    seconds = time.perf_counter() - started
    attacked = members.take(slice(0, plan.attacked))
    identity = None
    if plan.identity is not None and case.identity is not None:
        identity = {
            **plan.identity,
            "samples": [content_hash(members), content_hash(attacked), content_hash(nonmembers)],
        }
    side = Side.mixed(
        model.labels, model.scores, attacked.to(device), nonmembers.to(device), seed=seed, identity=identity
    )
    right = (model.labels.ask(side.samples.inputs, side.samples.ids) == side.samples.labels).cpu()
    facts = Shadow(
        description=plan.description,
        train_size=len(members),
        members=len(attacked),
        nonmembers=len(nonmembers),
        train_accuracy=float(right[side.inside].float().mean()),
        test_accuracy=float(right[~side.inside].float().mean()),
        labels=plan.labels,
        training_seconds=seconds,
        note=plan.note,
    )
    return facts, side


def _labelled(teacher: ChargedLabels, samples: Samples, device: torch.device) -> Samples:
    moved = samples.to(device)
    return samples.relabelled(teacher.ask(moved.inputs, moved.ids).to(samples.device))


def _impossible(attack: Attack, case: Case, shadow: Side | None) -> str | None:
    """Why the attack cannot be played on this case, or None."""
    if isinstance(attack, ScoreAttack) and case.target.scores is None:
        return "the target answers with labels only"
    if isinstance(attack, ScoreAttack) and shadow is not None and shadow.scores is None:
        return "the shadow model answers with labels only"
    if shadow is None and attack.calibration.requires_references:
        return f"needs a shadow model: {case.why_no_shadow}"
    return None


def _notes(case: Case, auditor: Account, budget: int | None) -> list[str]:
    notes = list(case.notes)
    if case.shadow is None:
        notes.append(
            f"Thresholds could not be chosen: {case.why_no_shadow}. AUC and ROC need none; settings that a shadow "
            "model would choose were left at a middling value."
        )
    elif case.shadow.note:
        notes.append(case.shadow.note)
    if len(case.members) != len(case.nonmembers):
        notes.append(
            f"The groups differ in size ({len(case.members)} members, {len(case.nonmembers)} non-members). "
            "AUC, balanced accuracy and TPR at an FPR do not depend on that; precision in this sample does."
        )
    if budget is not None:
        notes.append(f"Each attack was allowed {budget} queries per sample, on its own account.")
    asked = f"The audit itself asked the target {auditor.total} times for its accuracy"
    if case.target.torch_model is not None:
        asked += f" and sent it {case.target.torch_model.probe_rows} rows to find its best batch size"
    notes.append(f"{asked}; that is no attack's cost.")
    return notes

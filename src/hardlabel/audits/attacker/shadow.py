"""The attacker's shadow model: its data are labelled if need be, it is trained, and it is made ready to be asked."""

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.audits.attacker.references import accuracies
from hardlabel.audits.attacker.widths import fitted
from hardlabel.audits.cases.case import Case
from hardlabel.audits.cases.plans import ShadowPlan
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.batches import as_trained, settled
from hardlabel.data.samples import Samples
from hardlabel.models.model_store import content_hash
from hardlabel.models.shadows import train_alone
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.records.model import Shadow
from hardlabel.runs.progress import Watch, told
from hardlabel.signals.base import Knowledge
from hardlabel.store import JSON, Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.registry import askable
from hardlabel.turns import turn

LABELLING = "labelling the shadow data"


def shadow_of(
    plan: ShadowPlan, *, knowledge: Knowledge, classes: int, exact: bool, device: torch.device, asking: Asking
) -> tuple[Shadow, Side]:
    """Trains the shadow model. Returns its facts for the record, and its side of the game.

    The model is fitted to `classes` classes; with `exact` it must not show more.
    """
    watch = asking.watch
    watch.stage("training the shadow model", plan.trainer.epochs or 1, "epochs")
    seed = randomness.derive(asking.seed, "shadow model")
    trained = train_alone(plan.trainer, plan.members, seed, on_epoch=told(watch), executor=asking.executor)
    example, role = plan.members.inputs[:1].to(device), "shadow model"
    [trained] = fitted([trained], plan.trainer, example, classes=classes, exact=exact, device=device, roles=[role])
    model = askable(trained.model, device, role=role, classes=classes, exact=exact)
    [model] = as_trained(settled([model], example, asking.store), plan.trainer)
    members, nonmembers = plan.members.take(slice(0, plan.attacked)).to(device), plan.nonmembers.to(device)
    side = Side.mixed(model, members, nonmembers, seed=asking.seed, knowledge=knowledge)
    [(train_accuracy, test_accuracy)] = accuracies([side])
    facts = Shadow(
        description=plan.trainer.description,
        train_size=len(plan.members),
        members=len(members),
        nonmembers=len(nonmembers),
        train_accuracy=train_accuracy,
        test_accuracy=test_accuracy,
        labels=plan.labels,
        training_seconds=trained.seconds,
        note=plan.note,
    )
    return facts, side


def labelled_by_target(
    case: Case, attacker: Account, *, device: torch.device, store: Store | None, watch: Watch
) -> Case:
    """The case with the target's labels on the attacker's own data, if its shadow plan says so.

    The target is asked once about each sample, and `attacker` pays. Answers from the store cost the same.
    """
    plan, crafting = case.shadow, case.crafting
    if plan is None or plan.labels != "target":
        return case
    crafting_sets = [] if crafting is None else [samples for samples, _ in crafting.sets + crafting.second_sets]
    labels: dict[int, int] = {}
    for samples in (plan.members, plan.nonmembers, *crafting_sets):
        new = torch.tensor([sample_id not in labels for sample_id in samples.ids.tolist()], dtype=torch.bool)
        unlabelled = samples.take(new)
        if len(unlabelled):
            answers = answered(unlabelled, case.target, attacker, device=device, store=store, watch=watch)
            labels |= by_id(unlabelled.ids, answers)
    case = case.with_classes(1 + max(labels.values()))
    plan, crafting = case.shadow, case.crafting
    assert plan is not None
    if crafting is not None:
        crafting = replace(
            crafting,
            sets=tuple((with_labels(samples, labels), seed) for samples, seed in crafting.sets),
            second_sets=tuple((with_labels(samples, labels), seed) for samples, seed in crafting.second_sets),
        )
    members, nonmembers = with_labels(plan.members, labels), with_labels(plan.nonmembers, labels)
    return replace(case, shadow=replace(plan, members=members, nonmembers=nonmembers), crafting=crafting)


def by_id(ids: Tensor, labels: Tensor) -> dict[int, int]:
    """The label of each id."""
    return dict(zip(ids.tolist(), labels.tolist(), strict=True))


def with_labels(samples: Samples, labels: Mapping[int, int]) -> Samples:
    """The samples with the labels of their ids; an id without a label there keeps its own."""
    own = by_id(samples.ids, samples.labels)
    new = [labels.get(sample_id, label) for sample_id, label in own.items()]
    return samples.relabelled(torch.tensor(new, dtype=torch.int64, device=samples.device))


def answered(
    samples: Samples,
    target: AskableModel,
    attacker: Account,
    *,
    device: torch.device,
    store: Store | None,
    watch: Watch,
    purpose: str = LABELLING,
) -> Tensor:
    """The target's labels (n,), from the store if it has them. `attacker` pays for them either way."""
    spec: dict[str, JSON] | None = None
    if store is not None and target.identity is not None:
        spec = {"kind": "labels", "model": target.identity, "samples": content_hash(samples)}
    with turn(store, spec):
        stored = None if store is None or spec is None else store.load(spec)
        if stored is not None:
            attacker.charge_overhead(purpose, len(samples))
            return torch.from_numpy(np.load(io.BytesIO(stored), allow_pickle=False))
        watch.stage(purpose, len(samples), "queries")
        on_device = samples.to(device)
        labels = ChargedLabels(target.labels, attacker, overhead=purpose).ask(on_device.inputs, on_device.ids).cpu()
        if store is not None and spec is not None:
            file = io.BytesIO()
            np.save(file, labels.numpy())
            store.save(spec, file.getvalue())
    return labels

"""The attacker's own model: its data labelled if need be, trained, and ready to be asked."""

import io
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.data.samples import Samples
from hardlabel.experiments.asking import Asking, Side
from hardlabel.experiments.batches import as_trained, settled
from hardlabel.experiments.case import Case, Oracles, ShadowPlan
from hardlabel.experiments.progress import Watch, told
from hardlabel.experiments.record import Shadow
from hardlabel.models.kept import content_hash
from hardlabel.models.shadows import train_alone
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals.base import Knowledge
from hardlabel.store import JSON, Store

LABELLING = "labelling the shadow data"


def shadow_of(
    plan: ShadowPlan, *, knowledge: Knowledge, classes: int, device: torch.device, asking: Asking
) -> tuple[Shadow, Side]:
    """Trains the shadow model; its facts and its side of the game."""
    seed, watch = asking.seed, asking.watch
    watch.stage("training the shadow model", plan.trainer.epochs or 1, "epochs")
    own = randomness.derive(seed, "shadow model")
    made = train_alone(plan.trainer, plan.members, own, on_epoch=told(watch), executor=asking.executor)
    model = Oracles.of(made.model, device, role="trainer's model", classes=classes)
    [model] = as_trained(settled([model], plan.members.inputs[:1].to(device), asking.store), plan.trainer)
    attacked = plan.members.take(slice(0, plan.attacked))
    side = Side.mixed(model, attacked.to(device), plan.nonmembers.to(device), seed=seed, knowledge=knowledge)
    right = (model.labels.ask(side.samples.inputs, side.samples.ids) == side.samples.labels).cpu()
    facts = Shadow(
        description=plan.trainer.description,
        train_size=len(plan.members),
        members=len(attacked),
        nonmembers=len(plan.nonmembers),
        train_accuracy=float(right[side.inside].float().mean()),
        test_accuracy=float(right[~side.inside].float().mean()),
        labels=plan.labels,
        training_seconds=made.seconds,
        note=plan.note,
    )
    return facts, side


def labelled_by_target(
    case: Case, attacker: Account, *, device: torch.device, store: Store | None, watch: Watch
) -> Case:
    """The case with the target's labels on the attacker's own data, where its shadow plan says so.

    Each sample is asked about once, at `attacker`'s overhead; answers that the store keeps are charged as they were,
    not asked again.
    """
    plan, crafting = case.shadow, case.crafting
    if plan is None or plan.labels != "target":
        return case
    sets = [
        plan.members,
        plan.nonmembers,
        *(samples for samples, _ in (crafting.sets + crafting.second_sets if crafting else ())),
    ]
    labels: dict[int, int] = {}
    for samples in sets:
        new = torch.tensor([one not in labels for one in samples.ids.tolist()])
        if bool(new.any()):
            asked = samples.take(new)
            answers = answered(asked, case.target, attacker, device=device, store=store, watch=watch)
            labels |= dict(zip(asked.ids.tolist(), answers.tolist(), strict=True))

    def with_labels(samples: Samples) -> Samples:
        return samples.relabelled(torch.tensor([labels[one] for one in samples.ids.tolist()]))

    if crafting is not None:
        crafting = replace(
            crafting,
            sets=tuple((with_labels(samples), seed) for samples, seed in crafting.sets),
            second_sets=tuple((with_labels(samples), seed) for samples, seed in crafting.second_sets),
        )
    shadow = replace(plan, members=with_labels(plan.members), nonmembers=with_labels(plan.nonmembers))
    return replace(case, shadow=shadow, crafting=crafting)


def answered(
    samples: Samples,
    target: Oracles,
    attacker: Account,
    *,
    device: torch.device,
    store: Store | None,
    watch: Watch,
    purpose: str = LABELLING,
) -> Tensor:
    """The target's labels (n,), from the store if it has them; `attacker` pays for them either way."""
    spec: dict[str, JSON] | None = None
    if store is not None and target.identity is not None:
        spec = {"kind": "labels", "model": target.identity, "samples": content_hash(samples)}
    kept = store.load(spec) if store is not None and spec is not None else None
    if kept is not None:
        attacker.charge_overhead(purpose, len(samples))
        return torch.from_numpy(np.load(io.BytesIO(kept), allow_pickle=False))
    watch.stage(purpose, len(samples), "queries")
    moved = samples.to(device)
    labels = ChargedLabels(target.labels, attacker, overhead=purpose).ask(moved.inputs, moved.ids).cpu()
    if store is not None and spec is not None:
        file = io.BytesIO()
        np.save(file, labels.numpy())
        store.save(spec, file.getvalue())
    return labels

"""The attacker's own model: its data labelled if need be, trained, and ready to be asked."""

import io
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hardlabel import randomness
from hardlabel.data.samples import Samples, concatenate
from hardlabel.experiments.case import Case, Oracles, ShadowPlan
from hardlabel.experiments.game import Side
from hardlabel.experiments.progress import Watch
from hardlabel.experiments.record import Shadow
from hardlabel.models.kept import content_hash
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.store import JSON, Store

LABELLING = "labelling the shadow data"


def shadow_of(
    case: Case, attacker: Account, *, seed: int, device: torch.device, store: Store | None, watch: Watch
) -> tuple[Shadow, Side] | None:
    """Trains the case's shadow model; its facts and its side of the game, or None where there is no plan.

    Where the target labels the shadow data, those queries go to `attacker`'s overhead.
    """
    plan = case.shadow
    if plan is None:
        return None
    if plan.labels == "target":
        plan = _labelled(plan, case.target, attacker, device=device, store=store, watch=watch)
    made, seconds = plan.fit(plan.members, randomness.derive(seed, "shadow model"))
    model = Oracles.of(made, device, role="trainer's model")
    attacked = plan.members.take(slice(0, plan.attacked))
    side = Side.mixed(model, attacked.to(device), plan.nonmembers.to(device), seed=seed)
    right = (model.labels.ask(side.samples.inputs, side.samples.ids) == side.samples.labels).cpu()
    facts = Shadow(
        description=plan.description,
        train_size=len(plan.members),
        members=len(attacked),
        nonmembers=len(plan.nonmembers),
        train_accuracy=float(right[side.inside].float().mean()),
        test_accuracy=float(right[~side.inside].float().mean()),
        labels=plan.labels,
        training_seconds=seconds,
        note=plan.note,
    )
    return facts, side


def _labelled(
    plan: ShadowPlan, target: Oracles, attacker: Account, *, device: torch.device, store: Store | None, watch: Watch
) -> ShadowPlan:
    """The plan with the target's labels; answers that the store keeps are charged as they were, not asked again."""
    everyone = concatenate(plan.members, plan.nonmembers)
    spec: dict[str, JSON] | None = None
    if store is not None and target.identity is not None:
        spec = {"kind": "labels", "model": target.identity, "samples": content_hash(everyone)}
    kept = store.load(spec) if store is not None and spec is not None else None
    if kept is not None:
        attacker.charge_overhead(LABELLING, len(everyone))
        labels = torch.from_numpy(np.load(io.BytesIO(kept), allow_pickle=False))
    else:
        watch.stage(LABELLING, len(everyone), "queries")
        labels = _asked(ChargedLabels(target.labels, attacker, overhead=LABELLING), everyone, device)
        if store is not None and spec is not None:
            file = io.BytesIO()
            np.save(file, labels.numpy())
            store.save(spec, file.getvalue())
    return replace(
        plan,
        members=plan.members.relabelled(labels[: len(plan.members)]),
        nonmembers=plan.nonmembers.relabelled(labels[len(plan.members) :]),
    )


def _asked(teacher: ChargedLabels, samples: Samples, device: torch.device) -> Tensor:
    moved = samples.to(device)
    return teacher.ask(moved.inputs, moved.ids).cpu()

"""The tools under comparison, each as its users run it, on the same model, samples and number of queries.

Every tool gets the same `Counted` network in evaluation mode, and the same samples, of which those the network gets
wrong are at distance 0 by the paper's definition. Imports, loading and labelling are not timed.

- hardlabel searches all samples at once, within 2,500 queries; random starts, as the peers have them. Its search for
  the best batch is told apart, as in an audit; memory includes it. "geoda" is its other search; "deepfool" and
  "carlini-wagner" see the network's gradients and bound what a search by labels can find.
- Foolbox: `HopSkipJumpAttack(steps=10)`, all else as it comes: 2,246 probes, starts, bisections and checks make about
  2,500 queries. All samples are one batch, and only those the network gets right are given, as a careful user would,
  for Foolbox would search the others' second boundary. Inputs lie in [0, 1], which it takes for granted.
- ART: what `LabelOnlyDecisionBoundary.infer` does with `max_iter=10`, written out because it hides the distances:
  `HopSkipJump(classifier, targeted=False, max_iter=10).generate(x, y)` and one prediction. 2,246 probes, starts and
  bisections make about 2,400 queries. It searches the samples the network gets wrong as well, then sets them to 0.

Peers run twice: with the allocator as their users have it, and with ours (see allocator.py), which they owe to us.

"ladder" is `hardlabel.audit` of the same samples by one attack, on an attacker's terms: reference models of the
target's recipe, trained on the attacked samples and on data that are neither members nor non-members. They are kept in
the store and found again in later rounds; what they took to train is told as it was when they were trained.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from measure import Counted, Peak, cost
from settings import EPOCHS, Task
from targets import Target, attacker
from torch import Tensor

from hardlabel import audit
from hardlabel.attacks import TABLE
from hardlabel.data.domain import l2
from hardlabel.data.samples import Samples
from hardlabel.models.together import train_together
from hardlabel.models.train import Recipe, Trained, train
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.randomness import generator
from hardlabel.signals.base import Knowledge, LabelSignal, chunks
from hardlabel.signals.geoda import geoda
from hardlabel.signals.hopskipjump import hop_skip_jump
from hardlabel.signals.noise import Noise
from hardlabel.signals.path import Path
from hardlabel.signals.probes import BLOCK
from hardlabel.signals.whitebox import carlini_wagner, deepfool
from hardlabel.store import default_store
from hardlabel.targets.torch import TorchModel

BATCHES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
LARGE_BATCHES = (1024, 4096, 8192, 16384, 65536)  # Until a card is full.
RAW_SECONDS = 1.0  # A batch is timed so long, a fifth of it on a card,
RAW_PASSES = 3  # and so often at least.
SEEING = {"deepfool": deepfool, "carlini-wagner": carlini_wagner}
ITERATIONS = 10  # Of the peers: the number at which they ask about as much as our 2,500 queries.


def run(task: Task, target: Target) -> dict[str, object]:
    """What the task measured, ready for JSON."""
    device = torch.device(task.device)
    if task.tool == "raw":
        return raw(task, target, device)
    if task.tool == "floor":
        return probing(task, target, device)
    if task.tool == "ladder":
        return ladder(task, target, device)
    if task.tool in ("apart", "together"):
        return trained(task, target, device)
    if task.attack in ("boundary", "geoda", "deepfool", "carlini-wagner"):
        search = {"hardlabel": ours, "foolbox": foolbox, "art": art}[task.tool]
        if task.attack in SEEING:
            search = seeing
        return searched(search, task, target, device)
    return measured(task, target, device)


def raw(task: Task, target: Target, device: torch.device) -> dict[str, object]:
    """Rows per second of the forward pass alone, by batch and memory layout of the inputs; the best of all."""
    model = Counted(target.model)
    samples = target.first(min(len(target.samples), 1000))
    batches = (task.batch,) if task.batch else LARGE_BATCHES if device.type == "cuda" else BATCHES
    layouts = [torch.contiguous_format] + [torch.channels_last] * (samples.inputs.ndim == 4)
    rates: dict[str, dict[int, float]] = {}
    faults, rows, others = 0, 0, 0.0
    for layout in layouts:
        name = {torch.contiguous_format: "channels first", torch.channels_last: "channels last"}[layout]
        rates[name] = {}
        for batch in batches:
            inputs = samples.inputs[torch.arange(batch) % len(samples)].contiguous(memory_format=layout)
            try:
                with torch.inference_mode():
                    model(inputs)  # Warms up.
                    took = _passes(model, inputs, device)
            except torch.OutOfMemoryError:
                break
            rates[name][batch] = took["rows"] / took["seconds"]
            faults, rows = faults + took["faults"], rows + took["rows"]
            others = max(others, took["others"] or 0.0)
    rate, batch, layout = max((rate, batch, name) for name, found in rates.items() for batch, rate in found.items())
    return {
        "rate": rate,
        "batch": batch,
        "layout": layout,
        "rates": rates,
        "faults per row": faults / rows,
        "others": others,
    }


def _passes(model: Counted, inputs: Tensor, device: torch.device) -> dict[str, Any]:
    def once() -> None:
        model(inputs)

    _, first = cost(once, model, device)
    enough = RAW_SECONDS / 5 if device.type == "cuda" else RAW_SECONDS
    passes = max(RAW_PASSES, int(enough / max(first.seconds, 1e-6)))
    _, took = cost(lambda: [once() for _ in range(passes)] and None, model, device)
    return asdict(took)


def probing(task: Task, target: Target, device: torch.device) -> dict[str, object]:
    """What an estimate of normals cannot do without, and no network: directions drawn once for all samples, each probe
    scaled, moved and clipped, and the signed sum of directions for each sample."""
    samples = target.first(task.samples, boxed=True)
    near = samples.inputs.flatten(1)
    count, width = near.shape
    scale, rows = torch.full((count, 1, 1), 0.1, device=device), 0
    signs = torch.ones(count, BLOCK, device=device)
    towards = torch.zeros_like(near)

    def work() -> None:
        nonlocal rows
        for _ in range(task.queries // BLOCK):
            bank = torch.randn(BLOCK, width, device=device)
            for part in chunks(count, copies=BLOCK, shape=(width,), device=device):
                probes = (bank * scale[part]).add_(near[part, None])
                samples.domain.clip(probes.flatten(0, 1))
                towards[part] += signs[part] @ bank
                rows += probes.shape[0] * BLOCK

    _, took = cost(work, Counted(target.model), device)
    return {**asdict(took), "rows": rows, "memory": None}


def ladder(task: Task, target: Target, device: torch.device) -> dict[str, object]:
    """An audit by one attack: its scores, seconds on the target, and what the attacker's own models took."""
    samples, member = target.first(task.samples), target.member[: task.samples].to(device)
    others, recipe, size = attacker(task.target)
    oracle = TorchModel(Counted(target.model), device=device)
    oracle.probe(samples.inputs[:1])
    record = audit(
        oracle,
        (samples.inputs[member], samples.labels[member]),
        (samples.inputs[~member], samples.labels[~member]),
        population=(others.inputs, others.labels),
        trainer=recipe,
        train_size=size,
        domain=samples.domain,
        attacks=[task.attack],
        budget=task.queries,
        device=task.device,
        store=default_store(),
        name=f"{task.target} {time.time_ns()}",  # Asked anew each time; the reference models are found again.
    )
    [found], own = record.results.attacks, record.results.references
    assert own is not None
    return {
        "rows": round(found.queries_per_sample.mean * len(samples)),
        "seconds": found.seconds,
        "values": record.scores["score"].tolist(),
        "member": record.scores["member"].tolist(),
        "references": own.count,
        "training": own.training_seconds,
        "crafting": own.crafting_seconds,
        "asking": found.reference_compute.seconds,
    }


def trained(task: Task, target: Target, device: torch.device) -> dict[str, object]:
    """Shadow models on halves of the samples, one after another or all at once; a first training warms up."""
    recipe = Recipe(max_epochs=EPOCHS, patience=EPOCHS)
    jobs = []
    for number in range(task.samples):
        half = torch.randperm(len(target.samples), generator=generator(task.seed, "half", number))
        jobs.append((target.samples.take(half[: len(half) // 2].to(device)), number))

    def work() -> list[Trained]:
        if task.tool == "together":
            return train_together(recipe, jobs, classes=target.classes, device=device)
        return [train(recipe, half, classes=target.classes, seed=seed, device=device) for half, seed in jobs]

    train(recipe, jobs[0][0], classes=target.classes, seed=0, device=device)
    peak = Peak(device)
    models, took = cost(work, Counted(target.model), device)
    losses = [model.train_loss for model in models]
    rows = sum(model.rows for model in models)
    return {**asdict(took), "rows": rows, "memory": peak.read(), "loss": sum(losses) / len(losses)}


def searched(search: Callable, task: Task, target: Target, device: torch.device) -> dict[str, object]:
    """A search for the boundary by one of the tools."""
    samples = target.first(task.samples, boxed=True)
    with torch.inference_mode():
        right = torch.cat([target.model(part).argmax(1) for part in samples.inputs.split(100)]) == samples.labels
    model = Counted(target.model)
    torch.manual_seed(task.seed)
    np.random.seed(task.seed)  # noqa: NPY002 - the peers draw from it.
    attack, more = search(task, model, samples, right, target.classes)
    peak = Peak(device)
    more |= _probed(more, samples)
    points, took = cost(attack, model, device)
    memory = peak.read()
    distances = torch.where(right, l2(points - samples.inputs), 0.0)
    with torch.inference_mode():
        other = torch.cat([target.model(part).argmax(1) for part in points.split(100)]) != samples.labels
    return {
        **asdict(took),
        **({"rows": more["account"].total} if "account" in more else {}),  # On a card batches are filled up.
        "memory": memory,
        "values": distances.tolist(),
        "right": right.tolist(),
        "member": target.member[: task.samples].tolist(),
        "proved": float(other[right].float().mean()),  # Of those the network gets right.
        **{name: value for name, value in more.items() if name not in ("oracle", "account")},
    }


def measured(task: Task, target: Target, device: torch.device) -> dict[str, object]:
    """Another attack of ours."""
    samples = target.first(task.samples)
    model = Counted(target.model)
    knowledge = Knowledge(crafters=target.crafters)
    signal = _signal(task, samples)
    oracle = TorchModel(model, device=device, batch_size=task.batch or None)
    peak = Peak(device)
    more = _probed({"oracle": oracle}, samples)
    started = time.perf_counter()
    plan = signal.prepare(samples, knowledge, task.seed)
    prepared = time.perf_counter() - started
    account = Account(per_sample=task.queries)
    found, took = cost(lambda: plan.measure(ChargedLabels(oracle, account)), model, device)
    values = found.values.nan_to_num(neginf=-1.0, posinf=1e9).double().mean(1)
    return {
        **asdict(took),
        "rows": account.total,  # On a card batches are filled up.
        "memory": peak.read(),
        "prepare": prepared,
        "values": values.tolist(),
        "member": target.member[: task.samples].tolist(),
        **{name: value for name, value in more.items() if name != "oracle"},
    }


def _signal(task: Task, samples: Samples) -> LabelSignal:
    if task.attack == "noise":
        levels = samples.domain.noise_levels
        return Noise(level=levels[len(levels) // 2], draws=task.queries - 1)
    if task.attack == "path":
        return Path(queries=task.queries, informed=False)
    return TABLE["augmentation"].signals(samples.domain, task.queries)[-1]  # type: ignore[union-attr]


def _probed(more: dict[str, object], samples: Samples) -> dict[str, object]:
    """Has our adapter find its batch, if that is still to be done."""
    oracle = more.get("oracle")
    if not isinstance(oracle, TorchModel):
        return {}
    started = time.perf_counter()
    batch = oracle.probe(samples.inputs[:1])
    return {"batch": batch, "probe seconds": time.perf_counter() - started, "probe rows": oracle.probe_rows}


Attack = tuple[Callable[[], Tensor], dict[str, object]]
"""What is timed, giving the points found (n, *shape), the samples themselves where there are none; and more to tell."""


def ours(task: Task, model: Counted, samples: Samples, right: Tensor, classes: int) -> Attack:
    """hardlabel; it finds out by itself which samples the network gets right."""
    del right, classes
    oracle = TorchModel(model, device=samples.device, batch_size=task.batch or None)

    account = Account(per_sample=task.queries)

    def attack() -> Tensor:
        charged = ChargedLabels(oracle, account)
        search = {"boundary": hop_skip_jump, "geoda": geoda}[task.attack]
        return search(charged, samples, queries=task.queries, seed=task.seed).points

    return attack, {"oracle": oracle, "account": account}


def seeing(task: Task, model: Counted, samples: Samples, right: Tensor, classes: int) -> Attack:
    """A search that sees gradients."""
    del right, classes
    return lambda: SEEING[task.attack](model, samples).points, {}


def foolbox(task: Task, model: Counted, samples: Samples, right: Tensor, classes: int) -> Attack:
    """Foolbox's HopSkipJump, all samples the network gets right in one batch."""
    del classes
    import foolbox as library

    wrapped = library.PyTorchModel(model, bounds=(0, 1), device=samples.device)
    hop = library.attacks.HopSkipJumpAttack(steps=ITERATIONS)
    criterion = library.criteria.Misclassification(samples.labels[right])

    def attack() -> Tensor:
        points = samples.inputs.clone()
        points[right], _, _ = hop(wrapped, samples.inputs[right], criterion, epsilons=None)
        return points

    return attack, {}


def art(task: Task, model: Counted, samples: Samples, right: Tensor, classes: int) -> Attack:
    """ART's HopSkipJump as its LabelOnlyDecisionBoundary calls it."""
    del right
    from art.attacks.evasion.hop_skip_jump import HopSkipJump
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model=model,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=samples.domain.shape,
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="gpu" if task.device == "cuda" else "cpu",
    )
    inputs, labels = samples.inputs.cpu().numpy(), samples.labels.cpu().numpy()

    def attack() -> Tensor:
        hop = HopSkipJump(classifier=classifier, targeted=False, max_iter=ITERATIONS, verbose=False)
        points = hop.generate(x=inputs, y=np.eye(classes, dtype=np.float32)[labels])
        classifier.predict(x=inputs)
        return torch.from_numpy(points).to(samples.device)

    return attack, {}

"""The frozen targets every tool is measured on: made once, kept as plain files that any process loads in a moment."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hardlabel import randomness
from hardlabel.audits.cases.from_settings import crafting_of, dataset_of, recipe_of
from hardlabel.data.dataset import Dataset
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.samples import Samples, concatenate
from hardlabel.data.split import Split, equal_sizes, split
from hardlabel.models.architectures import build
from hardlabel.models.train import Recipe, place
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.runs.progress import SILENT
from hardlabel.runs.settings import ModelSettings
from hardlabel.store import default_store

SEED = 0
MOST_OTHERS = 10_000  # Rows that the attacker divides among reference models.
CONFIGS = {
    "cifar10": ModelSettings(data="cifar10", arch="cnn", train_size=2500, seed=SEED),
    "location": ModelSettings(data="location", arch="fc", train_size=1250, seed=SEED),
    "digits": ModelSettings(data="digits", arch="fc", train_size=300, max_epochs=60, seed=SEED),  # For --quick.
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A trained network and whom to ask about.

    Attributes:
        model: The network in evaluation mode.
        crafters: The attacker's own networks, for paths.
        samples: Members and non-members by turns, then further rows, which are neither, for timing only.
        member: Who of them was trained on, bool; rows behind the last member or non-member count as non-members.
        balanced: How many of the first samples are members and non-members by turns.
        classes: Number of logits.
    """

    model: nn.Sequential
    crafters: tuple[nn.Module, ...]
    samples: Samples
    member: Tensor
    balanced: int
    classes: int

    def first(self, count: int, *, boxed: bool = False) -> Samples:
        """The first so many samples, as points of a box if `boxed`.

        HopSkipJump, which all tools are compared with, asks points between samples, and binary data have none: there
        bits become points of [0, 1]. Distances found so mean nothing; only speed is compared on them.
        """
        samples = self.samples.take(slice(0, count))
        if len(samples) < count:
            raise ValueError(f"samples must be at most {len(self.samples)}, got {count}")
        if not boxed or samples.domain.continuous:
            return samples
        box = Box(samples.domain.shape)
        return Samples(ids=samples.ids, inputs=samples.inputs, labels=samples.labels, domain=box)


def make(name: str, path: Path) -> None:
    """Trains the target and its crafters, or finds them in the store, and writes them with their samples to `path`."""
    data, recipe, parts = _divided(name)
    trainer = RecipeTrainer(recipe=recipe, classes=data.classes, store=default_store())
    target = trainer.fit(parts.members, randomness.derive(SEED, "target"))
    crafting = crafting_of(parts, trainer, seed=SEED)
    crafters = [crafting.trainer.fit(samples, seed).model for samples, seed in crafting.sets]
    pairs = torch.arange(2 * len(parts.members)).reshape(2, -1).T.flatten()
    both = concatenate(parts.members, parts.nonmembers).take(pairs)
    everyone = concatenate(both, parts.shadow_members, parts.shadow_nonmembers, parts.population)
    kept = everyone.take(slice(0, max(len(both), 5000)))
    assert isinstance(target.model, nn.Module)
    content = {
        "weights": target.model.state_dict(),
        "crafters": [one.state_dict() for one in crafters],
        "architecture": recipe.architecture,
        "classes": data.classes,
        "inputs": kept.inputs,
        "labels": kept.labels,
        "ids": kept.ids,
        "member": torch.isin(kept.ids, parts.members.ids),
        "balanced": len(both),
        "binary": isinstance(kept.domain, BinaryFeatures),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(content, part)
    os.replace(part, path)


def attacker(name: str) -> tuple[Samples, Recipe, int]:
    """The attacker's data, rows that are neither members nor non-members; the recipe; the target's training size."""
    _, recipe, parts = _divided(name)
    others = concatenate(parts.shadow_members, parts.shadow_nonmembers, parts.population)
    return others.take(slice(0, MOST_OTHERS)), recipe, len(parts.members)


def _divided(name: str) -> tuple[Dataset, Recipe, Split]:
    """The data of a target, how it is trained, and who is a member."""
    config = CONFIGS[name]
    data = dataset_of(config, SILENT, default_store())
    parts = split(data.samples, equal_sizes(len(data.samples), config.train_size), seed=SEED)
    return data, recipe_of(config, data.samples.domain), parts


def load(path: Path, device: torch.device) -> Target:
    """The target kept at `path`, on `device`; every process of a run sees the same."""
    content = torch.load(path, weights_only=True)
    shape = tuple(content["inputs"].shape[1:])
    domain = BinaryFeatures(shape[0]) if content["binary"] else Box(shape)

    def network(weights: dict[str, Tensor]) -> nn.Sequential:
        model = build(content["architecture"], shape=shape, classes=content["classes"], seed=0)
        model.load_state_dict(weights)
        place(model, domain, device)
        return model.eval()

    samples = Samples(ids=content["ids"], inputs=content["inputs"], labels=content["labels"], domain=domain)
    return Target(
        model=network(content["weights"]),
        crafters=tuple(network(weights) for weights in content["crafters"]),
        samples=samples.to(device),
        member=content["member"],
        balanced=content["balanced"],
        classes=content["classes"],
    )

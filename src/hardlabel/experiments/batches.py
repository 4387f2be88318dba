"""Models that are asked in batches of a size that stays; see `oracles.batches`."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from hardlabel.experiments.case import Oracles
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.oracles.batches import Found, settled_network
from hardlabel.store import Store


def settled(models: Sequence[Oracles], example: Tensor, store: Store | None) -> list[Oracles]:
    """The same models; networks with the batch size that a probe on copies of `example` (1, *shape) finds best.

    Networks of one structure share one probe, which the store remembers. All other models are as they were.
    """
    found: Found = {}
    return [_settled(model, example, store, found) for model in models]


def as_trained(models: Sequence[Oracles], trainer: Trainer) -> list[Oracles]:
    """The attacker's own models; those that a recipe trained in mixed precision tell their labels in it, too.

    Where a processor has its products, they are asked nearly twice as many questions in the same time.
    """
    mixed = isinstance(trainer, RecipeTrainer) and trainer.recipe.precision != "float32"
    return [model.rough() if mixed else model for model in models]


def _settled(model: Oracles, example: Tensor, store: Store | None, found: Found) -> Oracles:
    network, asked = model.network, model.torch_model
    if network is None or asked is None or asked.batch_size is not None or not len(example):
        return model
    both, rows = settled_network(network, example, device=asked.device, store=store, found=found)
    return replace(model, labels=both, scores=both, torch_model=both, probed=rows)

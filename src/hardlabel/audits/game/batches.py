"""Models with a fixed batch size; see `oracles.batches`."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.batch_sizes import Found, settled_network


def settled(models: Sequence[AskableModel], example: Tensor, store: Store | None) -> list[AskableModel]:
    """The same models, their networks with the best batch size in a probe on copies of `example` (1, *shape).

    Networks of the same structure share one probe, which the store remembers. All other models stay as they are.
    """
    probes: Found = {}
    return [_settled(model, example, store, probes) for model in models]


def as_trained(models: Sequence[AskableModel], trainer: Trainer) -> list[AskableModel]:
    """The attacker's own models; if a recipe trained them in mixed precision, they compute labels in it, too.

    On a processor with mixed-precision products, they then answer nearly twice as many questions in the same time.
    """
    mixed = isinstance(trainer, RecipeTrainer) and trainer.recipe.precision != "float32"
    return [model.rough() if mixed else model for model in models]


def _settled(model: AskableModel, example: Tensor, store: Store | None, probes: Found) -> AskableModel:
    network, adapter = model.network, model.torch_model
    if network is None or adapter is None or adapter.batch_size is not None or not len(example):
        return model
    settled, rows = settled_network(
        network, example, device=adapter.device, store=store, found=probes, role=adapter.role
    )
    return replace(model, labels=settled, scores=settled, torch_model=settled, probed=rows)

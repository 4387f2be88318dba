"""Batch sizes that stay: a probe chooses by time, and rounding may depend on what it chooses.

A run that goes on must ask in the batches it began with, or its record could differ in the last digit.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from hardlabel.experiments.case import Oracles
from hardlabel.oracles.pytorch import TorchScores
from hardlabel.store import JSON, Store


def settled(models: Sequence[Oracles], example: Tensor, store: Store | None) -> list[Oracles]:
    """The same models; networks with the batch size that a probe on copies of `example` (1, *shape) finds best.

    Networks of one structure share one probe, which the store remembers. All other models are as they were.
    """
    found: dict[str, tuple[int, int]] = {}
    return [_settled(model, example, store, found) for model in models]


def _settled(model: Oracles, example: Tensor, store: Store | None, found: dict[str, tuple[int, int]]) -> Oracles:
    network, asked = model.network, model.torch_model
    if network is None or asked is None or asked.batch_size is not None or not len(example):
        return model
    structure = repr(network)
    if structure not in found:
        spec: dict[str, JSON] = {
            "kind": "batch size",
            "network": structure,
            "shape": list(example.shape[1:]),
            "device": str(asked.device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        kept = None if store is None else store.load(spec)
        if kept is None:
            size = asked.probe(example)
            kept = json.dumps({"size": size, "rows": asked.probe_rows}).encode()
            if store is not None:
                store.save(spec, kept)
        told = json.loads(kept)
        found[structure] = told["size"], told["rows"]
    size, rows = found[structure]
    both = TorchScores(network, device=asked.device, batch_size=size)
    return replace(model, labels=both, scores=both, torch_model=both, probed=rows)

"""Batch sizes that stay: a probe chooses by time, and rounding may depend on what it chooses.

A run that goes on must ask in the batches it began with, or its record could differ in the last digit.
"""

import json

import torch
from torch import Tensor, nn

from hardlabel.oracles.pytorch import TorchScores
from hardlabel.store import JSON, Store


def batch_of(network: nn.Module, example: Tensor, *, device: torch.device, store: Store | None) -> tuple[int, int]:
    """Rows per batch that a probe on copies of `example` (1, *shape) finds best, and the rows which the probe sent.

    The store remembers it for all networks of this structure, on this kind of device with so many threads.
    """
    spec: dict[str, JSON] = {
        "kind": "batch size",
        "network": repr(network),
        "shape": list(example.shape[1:]),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    kept = None if store is None else store.load(spec)
    if kept is None:
        asked = TorchScores(network, device=device)
        size = asked.probe(example)
        kept = json.dumps({"size": size, "rows": asked.probe_rows}).encode()
        if store is not None:
            store.save(spec, kept)
    told = json.loads(kept)
    return told["size"], told["rows"]

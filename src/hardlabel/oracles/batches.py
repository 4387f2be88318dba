"""Batch sizes that stay: a probe chooses by time, and rounding may depend on what it chooses.

A run that goes on must ask in the batches it began with, or its record could differ in the last digit.
"""

import json

import torch
from torch import Tensor, nn

from hardlabel.oracles.pytorch import TorchScores
from hardlabel.store import JSON, Store

Found = dict[str, tuple[int, int]]  # Of each structure of network: rows per batch, and rows the probe sent.


def settled_network(
    network: nn.Module, example: Tensor, *, device: torch.device, store: Store | None, found: Found
) -> tuple[TorchScores, int]:
    """The network as an oracle that asks in batches of the size a probe found best, and the rows which the probe sent.

    The probe is made on copies of `example` (1, *shape), once for all networks of one structure: `found` remembers it,
    and the store for this kind of device with so many threads.
    """
    structure = repr(network)
    if structure not in found:
        found[structure] = _batch_of(network, example, device=device, store=store)
    size, rows = found[structure]
    return TorchScores(network, device=device, batch_size=size), rows


def _batch_of(network: nn.Module, example: Tensor, *, device: torch.device, store: Store | None) -> tuple[int, int]:
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

"""Batch sizes that stay the same when a run is resumed.

A probe chooses the batch size and the number of threads by time, and rounding may depend on both. A resumed run must
ask in the same way, or its record could differ in the last digit.
"""

import json

import torch
from torch import Tensor, nn

from hardlabel.store import JSON, Store
from hardlabel.targets.torch import TorchScores
from hardlabel.turns import turn

# For each network structure: rows per batch, rows that the probe sent, and most threads.
Found = dict[str, tuple[int, int, int | None]]


def settled_network(
    network: nn.Module,
    example: Tensor,
    *,
    device: torch.device,
    store: Store | None,
    found: Found,
    role: str = "a model",
) -> tuple[TorchScores, int]:
    """The network as an oracle with the best batch size, and the rows that the probe for this size sent.

    The probe sends copies of `example` (1, *shape), once per network structure: `found` remembers the result. The store
    remembers it per structure, device and number of threads.
    """
    structure = repr(network)
    if structure not in found:
        found[structure] = _batch_size(network, example, device=device, store=store, role=role)
    size, rows, threads = found[structure]
    return TorchScores(network, device=device, batch_size=size, threads=threads, role=role), rows


def _batch_size(
    network: nn.Module, example: Tensor, *, device: torch.device, store: Store | None, role: str
) -> tuple[int, int, int | None]:
    spec: dict[str, JSON] = {
        "kind": "batch size",
        "network": repr(network),
        "shape": list(example.shape[1:]),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    with turn(store, spec):  # Two runs begun together ask in batches of one size.
        piece = None if store is None else store.load(spec)
        if piece is None:
            model = TorchScores(network, device=device, role=role)
            size = model.probe(example)
            piece = json.dumps({"size": size, "rows": model.probe_rows, "threads": model.threads}).encode()
            if store is not None:
                store.save(spec, piece)
    batch = json.loads(piece)
    return batch["size"], batch["rows"], batch.get("threads")

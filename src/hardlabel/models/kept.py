"""Find a trained network again in the store; train it only if it is not there."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import nn

from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models.architectures import build
from hardlabel.models.train import EpochReport, Recipe, Trained, place, train
from hardlabel.store import Spec, Store

FORMAT = 1  # Raised when the same recipe, data and seed come to mean another model: old ones are not found then.


def trained(
    recipe: Recipe,
    samples: Samples,
    *,
    classes: int,
    seed: int,
    device: torch.device | str = "cpu",
    store: Store | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
) -> Trained:
    """The model `train` would give, from `store` if it is there; else it is trained and saved there.

    A model is found by recipe, content and order of the data (not ids), domain, classes, seed and PyTorch's
    version; not by device or threads, which change its rounding only. `on_epoch` is not called for a model
    that was found. Errors: see `train`.
    """
    spec = None if store is None else spec_of(recipe, samples, classes=classes, seed=seed)
    kept = None if store is None or spec is None else store.load(spec)
    if kept is not None:
        return unpacked(kept, recipe, samples.domain, classes=classes, device=device)
    made = train(recipe, samples, classes=classes, seed=seed, device=device, on_epoch=on_epoch)
    if store is not None and spec is not None:
        store.save(spec, packed(made))
    return made


def weights_hash(model: nn.Module) -> str:
    """Fixed by a network's structure, weights and buffers: 64 hexadecimal digits."""
    found = hashlib.sha256(repr(model).encode())
    for name, tensor in model.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        # As bytes, because NumPy has no bfloat16.
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def content_hash(samples: Samples) -> str:
    """Fixed by inputs and labels, their values and order, and by nothing else: 64 hexadecimal digits."""
    content = hashlib.sha256()
    for tensor in (samples.inputs, samples.labels):
        content.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
        content.update(tensor.cpu().contiguous().reshape(-1).numpy().data)
    return content.hexdigest()


def spec_of(recipe: Recipe, samples: Samples, *, classes: int, seed: int) -> Spec:
    """What a model is kept under."""
    return {
        "kind": "model",
        "format": FORMAT,
        "recipe": asdict(recipe),
        "samples": content_hash(samples),
        "domain": repr(samples.domain),
        "classes": classes,
        "seed": seed,
        "torch": ".".join(torch.__version__.split(".")[:2]),
    }


def packed(made: Trained) -> bytes:
    """A trained model as a piece."""
    content = io.BytesIO()
    figures = {name: value for name, value in vars(made).items() if name != "model"}
    weights = {name: weight.cpu() for name, weight in made.model.state_dict().items()}
    torch.save({"weights": weights, "figures": figures}, content)
    return content.getvalue()


def unpacked(
    kept: bytes, recipe: Recipe, domain: Domain, *, classes: int, device: torch.device | str = "cpu"
) -> Trained:
    """The model that `packed` wrote, on `device`."""
    content = torch.load(io.BytesIO(kept), map_location="cpu", weights_only=True)
    model = build(recipe.architecture, shape=domain.shape, classes=classes, seed=0)  # Its weights are replaced.
    model.load_state_dict(content["weights"])
    place(model, domain, torch.device(device))
    return Trained(model=model.eval(), **content["figures"])

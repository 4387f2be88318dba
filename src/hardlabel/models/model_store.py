"""Find a trained network again in the store; train it only if it is not there."""

import hashlib
import io
import weakref
from collections.abc import Callable
from dataclasses import Field, asdict, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.models.method import Method
from hardlabel.models.train import EpochReport, Recipe, Trained, place, train
from hardlabel.store import JSON, Spec, Store
from hardlabel.turns import turn

FORMAT = 1  # Raised when the same recipe, data and seed come to mean another model: old ones are not found then.

_HASHES: weakref.WeakKeyDictionary[Samples, str] = weakref.WeakKeyDictionary()
UNTOLD = "untold"  # Metadata of a method's field that does not change what is trained, such as a store.


def trained(
    recipe: Recipe,
    samples: Samples,
    *,
    classes: int,
    seed: int,
    device: torch.device | str = "cpu",
    store: Store | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    method: Method | None = None,
) -> Trained:
    """The model `train` would give, from `store` if it is there; else it is trained and saved there.

    A model is found by recipe, method, content and order of the data (not ids), domain, classes, seed and PyTorch's
    version; not by device or threads, which change its rounding only. `on_epoch` is not called for a model
    that was found. Errors: see `train`.
    """
    spec = None if store is None else spec_of(recipe, samples, classes=classes, seed=seed, method=method)
    with turn(store, spec):
        kept = None if store is None or spec is None else store.load(spec)
        if kept is not None:
            return unpacked(kept, recipe, samples.domain, classes=classes, device=device, method=method)
        made = train(recipe, samples, classes=classes, seed=seed, device=device, on_epoch=on_epoch, method=method)
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
    """Fixed by inputs and labels, their values and order, and by nothing else: 64 hexadecimal digits.

    Computed once for an object: nobody writes into samples.
    """
    if samples not in _HASHES:
        content = hashlib.sha256()
        for tensor in (samples.inputs, samples.labels):
            content.update(f"{tensor.dtype} {tuple(tensor.shape)};".encode())
            content.update(tensor.cpu().contiguous().reshape(-1).numpy().data)
        _HASHES[samples] = content.hexdigest()
    return _HASHES[samples]


def spec_of(recipe: Recipe, samples: Samples, *, classes: int, seed: int, method: Method | None = None) -> Spec:
    """What a model is kept under."""
    # Without a method, and in float32, the key is what it always was: models trained earlier are found again.
    changed: dict[str, JSON] = {} if method is None else {"method": method_spec(method)}
    return {
        **changed,
        "kind": "model",
        "format": FORMAT,
        "recipe": _told(recipe),
        "samples": content_hash(samples),
        "domain": repr(samples.domain),
        "classes": classes,
        "seed": seed,
        "torch": ".".join(torch.__version__.split(".")[:2]),
    }


def method_spec(method: Method) -> Spec:
    """What tells a method from others: its class and fields, data by their content, networks by their weights."""
    told: dict[str, JSON] = {"class": f"{type(method).__module__}.{type(method).__qualname__}"}
    known: tuple[Field[Any], ...] = fields(method) if is_dataclass(method) else ()
    for one in known:
        value: Any = getattr(method, one.name)
        if one.metadata.get(UNTOLD):
            continue
        if isinstance(value, Samples):
            value = content_hash(value)
        elif isinstance(value, nn.Module):
            value = weights_hash(value)
        elif is_dataclass(value) and not isinstance(value, type):
            value = method_spec(value) if isinstance(value, Method) else _told(value)
        told[one.name] = value
    return told


def _told(settings: Any) -> dict[str, JSON]:
    """The fields of a dataclass; of a recipe in float32 without its precision, which recipes did not always have."""
    told = asdict(settings)
    if isinstance(settings, Recipe) and settings.precision == "float32":
        del told["precision"]
    return told


def packed(made: Trained) -> bytes:
    """A trained model as a piece."""
    content = io.BytesIO()
    figures = {name: value for name, value in vars(made).items() if name != "model"}
    weights = {name: weight.cpu() for name, weight in made.model.state_dict().items()}
    torch.save({"weights": weights, "figures": figures}, content)
    return content.getvalue()


def unpacked(
    kept: bytes,
    recipe: Recipe,
    domain: Domain,
    *,
    classes: int,
    device: torch.device | str = "cpu",
    method: Method | None = None,
) -> Trained:
    """The model that `packed` wrote, on `device`."""
    content = torch.load(io.BytesIO(kept), map_location="cpu", weights_only=True)
    form = method or Method()
    model = form.network(recipe.architecture, shape=domain.shape, classes=classes, seed=0)  # Its weights are replaced.
    model.load_state_dict(content["weights"])
    place(model, domain, torch.device(device))
    return Trained(model=model.eval(), **content["figures"])

"""Scores that are kept: what an attack found on a target is a piece of its own, fitted and asked once."""

import hashlib
import io
import json
from dataclasses import fields
from importlib import metadata

import numpy as np
import torch
from torch import Tensor

from hardlabel.attacks import Attack
from hardlabel.experiments.asking import ADDRESS, Side, content_of, questions, weights_of
from hardlabel.experiments.game import Game, Played
from hardlabel.signals.base import Measurement
from hardlabel.store import JSON

FORMAT = 2  # Raised when the same attack on the same models comes to find something else.
PACKAGES = ("hardlabel", "torch", "numpy", "scipy", "scikit-learn")  # Calibrations are fitted by these.


def played(game: Game, attack: Attack) -> Played:
    """What the attack finds in the game, from the store if it was played before; see `Game.play`."""
    store = game.asking.store
    spec = None if store is None else _spec(game, attack)
    kept = None if store is None or spec is None else store.load(spec)
    if kept is not None:
        return _read(kept)
    found = game.play(attack)
    if store is not None and spec is not None:
        store.save(spec, _written(found))
    return found


def _spec(game: Game, attack: Attack) -> dict[str, JSON] | None:
    """Everything the scores depend on, or None where something has no name of its own."""
    references = game.references
    sides = [game.target, *([] if game.shadow is None else [game.shadow])]
    if references is not None:
        sides += [*references.sides, *references.pool_sides]
    told = [_side(side) for side in sides]
    words = [*(repr(one.signal) for one in questions(attack, game.target, game.budget)), repr(attack.calibration)]
    if any(one is None for one in told) or any(ADDRESS in word for word in words):
        return None
    return {
        "kind": "score",
        "format": FORMAT,
        "versions": [metadata.version(package) for package in PACKAGES],
        "attack": attack.name,
        "words": words,
        "uses": [str(need) for need in attack.required],
        "budget": game.budget,
        "allowed": attack.allowed(game.budget),
        "seed": game.asking.seed,
        "sides": told,
        "shadow": game.shadow is not None,
        "partner": None if references is None else references.partner.tolist(),
        "pool": 0 if references is None else len(references.pool_sides),
        "alike": None if references is None else references.alike,
    }


def _side(side: Side) -> JSON:
    identity, shadows = side.model.identity, side.knowledge.shadows
    if identity is None:
        return None
    return {
        "model": identity,
        "scores": side.model.scores is not None,
        "domain": repr(side.samples.domain),
        "samples": content_of(side.samples),
        "inside": _hash(side.inside),
        "population": None if side.knowledge.population is None else content_of(side.knowledge.population),
        "crafters": [weights_of(one) for one in side.knowledge.crafters],
        "second": [weights_of(one) for one in side.knowledge.second],
        "shadows": None if shadows is None else [*map(weights_of, shadows.models), _hash(shadows.inside)],
    }


def _hash(mask: Tensor) -> str:
    return hashlib.sha256(repr(tuple(mask.shape)).encode() + mask.cpu().numpy().tobytes()).hexdigest()


def _written(found: Played) -> bytes:
    file = io.BytesIO()
    plain = {one.name: getattr(found, one.name) for one in fields(Played) if one.name not in ("scores", "measurement")}
    arrays = {name: part.numpy() for name, part in found.measurement._asdict().items()}
    np.savez(file, plain=json.dumps(plain), scores=found.scores.numpy(), **arrays)
    return file.getvalue()


def _read(kept: bytes) -> Played:
    with np.load(io.BytesIO(kept), allow_pickle=False) as parts:
        return Played(
            scores=torch.from_numpy(parts["scores"]),
            measurement=Measurement(*(torch.from_numpy(parts[name]) for name in Measurement._fields)),
            **json.loads(str(parts["plain"])),
        )

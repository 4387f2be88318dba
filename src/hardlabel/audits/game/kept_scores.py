"""Keeps the scores of every attack in the store, so that no attack is fitted or asked twice on the same models."""

import hashlib
import io
import json
from dataclasses import fields
from importlib import metadata

import numpy as np
import torch
from torch import Tensor

from hardlabel.attacks import Attack, ScoreAttack
from hardlabel.audits.game.asking import ADDRESS, SINCE, Side, content_of, questions, weights_of
from hardlabel.audits.game.game import Game, Played
from hardlabel.calibrations.scaled import SCALES
from hardlabel.signals.base import Measurement
from hardlabel.store import JSON
from hardlabel.targets.estimators import EstimatorScores
from hardlabel.turns import turn

FORMAT = 2  # Raised when the same attack on the same models gives other scores: old scores are then ignored.
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")  # The packages that fit calibrations.


def played_or_kept(game: Game, attack: Attack) -> Played:
    """Plays the attack, or reads the outcome from the store if it was played before; see `Game.play`."""
    store = game.asking.store
    spec = None if store is None else _spec(game, attack)
    if store is None or spec is None:
        return game.play(attack)
    with turn(store, spec):
        payload = store.load(spec)
        if payload is not None:
            return _read(payload)
        played = game.play(attack)
        store.save(spec, _written(played))
    return played


def _spec(game: Game, attack: Attack) -> dict[str, JSON] | None:
    """Everything the scores depend on; None if a model, a signal or the calibration has no identity."""
    references = game.references
    sides = [game.target, *([] if game.shadow is None else [game.shadow])]
    if references is not None:
        sides += [*references.sides, *references.pool_sides]
    side_specs = [_side(side) for side in sides]
    signals = [question.signal for question in questions(attack, game.target, game.budget)]
    words = [*map(repr, signals), repr(attack.calibration)]
    if any(spec is None for spec in side_specs) or any(ADDRESS in word for word in words):
        return None
    spec: dict[str, JSON] = {
        "kind": "score",
        "format": FORMAT,
        "versions": [SINCE, *(metadata.version(package) for package in PACKAGES)],
        "attack": attack.name,
        "words": words,
        "uses": [str(need) for need in attack.required],
        "budget": game.budget,
        "allowed": attack.allowed(game.budget),
        "seed": game.asking.seed,
        "sides": side_specs,
        "shadow": game.shadow is not None,
        "partner": None if references is None else references.partner.tolist(),
        "pool": 0 if references is None else len(references.pool_sides),
        "alike": None if references is None else references.alike,
    }
    if _chooses_scale(game, attack):
        spec["scales"] = SCALES
    return spec


def _chooses_scale(game: Game, attack: Attack) -> bool:
    """Whether scores of versions that knew no scale but the logit must be made anew: on classifiers they tell less.

    Those of other models are still good.
    """
    if not (isinstance(attack, ScoreAttack) and attack.scaled) or game.references is None:
        return False
    return any(isinstance(side.model.scores, EstimatorScores) for side in game.references.sides)


def _side(side: Side) -> JSON:
    """Everything the scores depend on in one side; None if its model has no identity."""
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
        "crafters": [*map(weights_of, side.knowledge.crafters)],
        "second": [*map(weights_of, side.knowledge.second)],
        "shadows": None if shadows is None else [*map(weights_of, shadows.models), _hash(shadows.inside)],
    }


def _hash(mask: Tensor) -> str:
    return hashlib.sha256(repr(tuple(mask.shape)).encode() + mask.cpu().numpy().tobytes()).hexdigest()


def _written(played: Played) -> bytes:
    file = io.BytesIO()
    names = [field.name for field in fields(Played) if field.name not in ("scores", "measurement")]
    plain = {name: getattr(played, name) for name in names}
    arrays = {name: values.numpy() for name, values in played.measurement._asdict().items()}
    np.savez(file, plain=json.dumps(plain), scores=played.scores.numpy(), **arrays)
    return file.getvalue()


def _read(payload: bytes) -> Played:
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        return Played(
            scores=torch.from_numpy(arrays["scores"]),
            measurement=Measurement(*(torch.from_numpy(arrays[name]) for name in Measurement._fields)),
            **json.loads(str(arrays["plain"])),
        )

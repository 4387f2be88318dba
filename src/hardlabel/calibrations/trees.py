"""Boosted trees that learn membership from references, each of which plays target for the others."""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor

from hardlabel.calibrations.base import References

Floats = NDArray[np.float64]

ROWS = 200_000  # Most values of references that trees learn from; more take minutes and tell little more.
SMALLEST_LEAF = 100  # Values per leaf: neighbours in the features are drawn from many samples and models.
PENALTY = 5.0  # On the square of a leaf's step.
RATE = 0.06


def paired(references: References) -> bool:
    """Whether every reference has a partner, and two pairs are there: one to learn from beside the other."""
    partner = references.partner
    return partner is not None and len(partner) >= 4 and not bool((partner < 0).any())


def apart(references: References) -> Tensor:
    """Which references (columns) are neither a reference (row) itself nor its partner, bool (K, K)."""
    assert references.partner is not None
    found = ~torch.eye(len(references.values), dtype=torch.bool)
    found[torch.arange(len(found)), references.partner.cpu()] = False
    return found


def folds_of(references: References, folds: int) -> Tensor:
    """The fold of each reference, (K,): partners in the same one, as even as pairs allow."""
    first = (~apart(references)).long().argmax(1)  # A pair is named after its first member.
    pairs, pair = torch.unique(first, return_inverse=True)
    fold: Tensor = pair % min(folds, len(pairs))
    return fold


def most_models(samples: int) -> int:
    """The most references to learn from: whole pairs, which stand side by side, of so many samples each."""
    return max(4, ROWS // samples // 2 * 2)


def grown(rows: Tensor, inside: Tensor, *, rounds: int, leaves: int, seed: int) -> HistGradientBoostingClassifier:
    """Trees that tell members by features (m, n, f); `inside` (m, n) says who they are."""
    features: Floats = rows.flatten(0, 1).numpy()
    members = inside.cpu().flatten().numpy()
    # In an order of their own, so that sums, and with them trees, do not depend on that of samples and models.
    order = np.lexsort((members, *features.T))
    # scikit-learn takes single missing values, but no column of nothing else; a constant teaches nothing.
    features = np.where(np.isnan(features).all(0), 0.0, features)
    return HistGradientBoostingClassifier(
        learning_rate=RATE,
        max_iter=rounds,
        max_leaf_nodes=leaves,
        min_samples_leaf=SMALLEST_LEAF,
        l2_regularization=PENALTY,
        early_stopping=False,
        random_state=seed,
    ).fit(features[order], members[order])


def log_odds(trees: HistGradientBoostingClassifier, rows: Tensor) -> Tensor:
    """(m, n) float64 of features (m, n, f)."""
    return torch.from_numpy(trees.decision_function(rows.flatten(0, 1).numpy())).double().reshape(rows.shape[:2])


def weighted(weights: Tensor, values: Tensor) -> Tensor:
    """Sums (m, ...) of the values (K, ...) of K references, weighted by (m, K)."""
    return (weights @ values.flatten(1)).reshape(len(weights), *values.shape[1:])

"""Randomness keyed by (seed, purpose, ...), so that no result depends on batch, order or company.

Every draw in hardlabel comes from a generator made here from the run's seed and the names of what the
draw is for. Two purposes never share a stream, and a stream can be made again at any moment.
"""

import hashlib

import numpy as np
import torch

Key = str | int | np.integer


def derive(seed: int, *purpose: Key) -> int:
    """An integer in [0, 2**63) that is fixed by `seed` and `purpose` and looks random otherwise.

    NumPy's integers count as the ints they equal.
    """
    parts = (int(part) if isinstance(part, np.integer) else part for part in purpose)
    told = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: Key) -> torch.Generator:
    """A CPU generator for this purpose; draw on the CPU and move, so that every device sees the same."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def numpy_generator(seed: int, *purpose: Key) -> np.random.Generator:
    """The same for code that draws with NumPy."""
    return np.random.default_rng(derive(seed, *purpose))


def sklearn_seed(seed: int, *purpose: Key) -> int:
    """A seed in the range scikit-learn's `random_state` takes, [0, 2**32)."""
    return derive(seed, *purpose) % 2**32

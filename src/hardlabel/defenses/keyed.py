"""Secret randomness fixed by an input's content: asked again, a defense draws the same.

Each row is hashed by a random linear form of its bits modulo 2**64 and then mixed; sums of whole numbers are exact, so
that neither batch nor device matters.
"""

import torch
from torch import Tensor

from hardlabel import randomness

_LEAST = torch.iinfo(torch.int64).min
_MIX = (-0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)  # Multipliers of SplitMix64, as signed numbers.


def fingerprints(inputs: Tensor, seed: int) -> Tensor:
    """A number per row of `inputs` (q, ...), float32, int64 (q,): equal for equal rows, else almost surely not."""
    # Adding 0 turns -0 into 0, which is equal to it but has other bits.
    bits = (inputs.flatten(1).to(torch.float32) + 0.0).contiguous().view(torch.int32).to(torch.int64)
    draws = randomness.generator(seed, "fingerprint")
    factors = torch.randint(_LEAST, 2**63 - 1, (bits.shape[1],), generator=draws, dtype=torch.int64) | 1
    return _mixed((bits * factors.to(bits.device)).sum(1))


def uniforms(inputs: Tensor, seed: int, count: int = 1) -> Tensor:
    """Numbers in [0, 1) of 24 bits, float32 (q, count), fixed by each row's content and the seed."""
    steps = torch.arange(1, count + 1, device=inputs.device) * -0x61C8864680B583EB
    return uniforms_of(fingerprints(inputs, seed)[:, None] + steps)


def uniforms_of(hashes: Tensor) -> Tensor:
    """Numbers in [0, 1) from hashes (int64), same shape, float32."""
    return ((_mixed(hashes) >> 40) & 0xFFFFFF).to(torch.float32) / 2**24


def _mixed(hashes: Tensor) -> Tensor:
    """Every bit of a hash spread over all (Steele, Lea and Flood 2014, SplitMix64)."""
    for shift, factor in zip((30, 27), _MIX, strict=True):
        hashes = (hashes ^ _shifted(hashes, shift)) * factor
    return hashes ^ _shifted(hashes, 31)


def _shifted(hashes: Tensor, by: int) -> Tensor:
    """A shift to the right that fills with zeros: PyTorch's keeps the sign."""
    return (hashes >> by) & ((1 << (64 - by)) - 1)

"""Probes around points on the boundary, and the boundary's normal there, estimated from their labels.

The directions probes take are shared by all samples and made anew from the seed for every step, so that an estimate
depends on nothing but the sample, the seed and the answers. Whatever sums over directions is exact; see `_exact`.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from hardlabel.randomness import generator
from hardlabel.signals.base import chunks
from hardlabel.signals.walk import Walk

# Tuned on classifiers of digits (d = 64) and CIFAR-10 (d = 3,072) for HopSkipJump's least median distance at 100 to
# 2,500 queries; the result is flat around all of them.
FIRST_DIRECTIONS = 40  # Iteration t asks about FIRST_DIRECTIONS * sqrt(t) directions.
FEWEST_DIRECTIONS = 8  # With fewer left, no further iteration begins.
MOST_DIRECTIONS = 4096  # What a sum over directions can hold without rounding.

GRID = 256  # Directions are multiples of 1 / GRID.
BLOCK = 128  # Directions drawn and asked about at a time; a multiple of 16, see `gaussian`.

Blocks = Iterable[tuple[int, Tensor]]


def iterations(walk: Walk, *, reserve: int) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Step t = 1, 2, ... of a descent: t, the samples (m,) that can afford one, and how many probes each gets (m,).

    A step's probes leave `reserve` queries for what follows them. Samples whose budget is used up leave.
    """
    rows, step = walk.searching, 0
    while True:
        step += 1
        left = walk.budget - reserve - walk.spent[rows]
        rows, left = rows[left >= FEWEST_DIRECTIONS], left[left >= FEWEST_DIRECTIONS]
        if not len(rows):
            return
        planned = min(MOST_DIRECTIONS, round(FIRST_DIRECTIONS * math.sqrt(step)))
        # Too little for one more good iteration after this one: this one takes it.
        last = left < planned + reserve + planned // 2
        yield step, rows, torch.where(last, left, planned).clamp(max=MOST_DIRECTIONS)


def normals(walk: Walk, rows: Tensor, counts: Tensor, *, spread: float, blocks: Blocks) -> Tensor:
    """Estimated directions (m, d) across the boundary, of any length, at the nearest points of `rows` (m,).

    Args:
        walk: Whose points; each sample is charged its number of probes.
        rows: Samples.
        counts: Probes of each sample, (m,), MOST_DIRECTIONS at most.
        spread: Typical length of a probe, as a share of the sample's distance.
        blocks: Directions (b, d) with unit variance and the number of each block's first one; counts.max() of them.
    """
    near = walk.near[rows]
    scale = walk.distance[rows] * (spread / math.sqrt(walk.width))
    towards = torch.zeros_like(near)
    drawn = torch.zeros_like(near)
    answers = torch.zeros(len(rows), device=near.device)
    fewest = int(counts.min())  # Known once: a card is not waited for in every block.
    for first, block in blocks:
        bank = block.to(near.device)
        wanted = torch.arange(first, first + len(bank), device=near.device) < counts[:, None]
        everyone = first + len(bank) <= fewest
        for part in chunks(len(rows), copies=len(bank), shape=(walk.width,), device=near.device):
            mask = wanted[part]
            if not (everyone or bool(mask.any())):
                continue  # All of these samples had their probes in earlier blocks.
            probes = bank * scale[part, None, None]
            probes += near[part, None]
            flat = probes.flatten(0, 1)
            walk.samples.domain.clip(flat, out=flat)
            owners = rows[part, None].expand(mask.shape)
            if everyone:
                crossed = walk.ask(owners.flatten(), flat)
                signs = (crossed.to(torch.float32) * 2 - 1).reshape(mask.shape)
            else:
                signs = torch.zeros(mask.shape, device=near.device)
                signs[mask] = walk.ask(owners[mask], probes[mask]).to(torch.float32) * 2 - 1
            towards[part] += signs @ bank
            answers[part] += signs.sum(1)
        drawn += wanted.to(torch.float32) @ bank
    mean = answers / counts
    # HopSkipJump's baseline: it takes off the pull of the directions drawn, which grows with the share of
    # equal answers; where all are equal nothing else is left to go by.
    return towards - torch.where(mean.abs() < 1, mean, 0.0)[:, None] * drawn


def gaussian(walk: Walk, count: int, step: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks (<= BLOCK, d) of `count` Gaussian directions, each with the number of its first row.

    Row k is the same however many rows are asked for: the generator fills 16 values at a time, so that whole
    blocks are drawn, of a size that 16 divides.
    """
    source = generator(walk.seed, "boundary", "directions", step)
    for first in range(0, count, BLOCK):
        yield first, _exact(torch.randn(BLOCK, walk.width, generator=source))[: count - first]


def smooth(walk: Walk, count: int, step: int, *, sides: tuple[int, int]) -> Iterator[tuple[int, Tensor]]:
    """The same for images (C, H, W), from the lowest frequencies of either axis of the cosine transform.

    Coordinates have unit variance on average over the image.

    Args:
        walk: Whose images.
        count: How many directions.
        step: Keys them, with `sides` and the walk's seed.
        sides: Frequencies of height and width, 1 to H and 1 to W.
    """
    channels, height, width = walk.samples.domain.shape
    down, across = (_cosines(length)[:side] for length, side in zip((height, width), sides, strict=True))
    scale = math.sqrt(height * width / (len(down) * len(across)))
    source = generator(walk.seed, "boundary", "smooth directions", step)
    for first in range(0, count, BLOCK):
        waves = torch.randn(BLOCK, channels, len(down), len(across), generator=source)
        # In float64, so that what is left of its rounding after `_exact` is nothing on any machine.
        images = down.T @ waves.double() @ across * scale
        yield first, _exact(images.flatten(1))[: count - first].to(torch.float32)


def _exact(directions: Tensor) -> Tensor:
    """Rounds to multiples of 1 / GRID below 8, in place.

    Sums of up to MOST_DIRECTIONS of them, with signs, are then whole multiples below 2**24 and exact in float32
    (products even in TF32) in whatever order a matrix product adds.
    """
    return directions.mul_(GRID).round_().clamp_(1 - 8 * GRID, 8 * GRID - 1).div_(GRID)


def _cosines(length: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of `length` points, lowest frequency first, float64."""
    frequency = torch.arange(length, dtype=torch.float64)[:, None]
    waves = torch.cos(math.pi / length * (torch.arange(length, dtype=torch.float64) + 0.5) * frequency)
    return waves * math.sqrt(2 / length) / torch.where(frequency == 0, math.sqrt(2), 1.0)

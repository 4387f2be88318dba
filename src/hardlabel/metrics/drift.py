"""Has a model changed while it was asked? The same rows are asked again and again, and their answers compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardlabel import checks
from hardlabel.randomness import numpy_generator

Answers = NDArray[np.int64]
PERMUTATIONS = 4_999
MOST_ENDS = 16  # Of periods: with more askings, not every asking begins one.


@dataclass(frozen=True)
class Drift:
    """What askings of the same rows show.

    Attributes:
        chance: The p-value of "every asking was answered by the same model", whose answers may be noisy.
        split: Number of askings before the change, if there was a change, for good or for a while.
        noise: Share of the pairs of askings of the same row whose answers differ: before the split, if the model
            changed there.
    """

    chance: float
    split: int
    noise: float


def drift(answers: Answers, *, alarm: float, seed: int = 0) -> Drift:
    """Tests whether the answers to the same rows changed at some time, for good or for a while.

    A noisy model answers the same question differently, but at a constant rate: the askings of a row can then be
    exchanged. The statistic is the number of pairs of askings, one within a period and one outside it, with different
    answers; standardised under permutations of each row's askings; its maximum over all periods.

    Args:
        answers: The class answered (k, rows), in the order of the k askings.
        alarm: Chance at which a change counts as proven, in (0, 1); it decides where `noise` is measured.
        seed: Fixes the permutations.

    Raises:
        InvalidInput: `alarm` is out of range.

    Example:
        >>> import numpy as np
        >>> from hardlabel.metrics.drift import drift
        >>> steady = np.tile(np.arange(20), (6, 1))
        >>> drift(steady, alarm=0.001).chance
        1.0
        >>> exchanged = np.vstack([steady, (steady + 1) % 20])
        >>> drift(exchanged, alarm=0.001).split
        6
    """
    checks.open_fraction(alarm=alarm)
    count = len(answers)
    varying = [answers[:, row] for row in range(answers.shape[1]) if len(set(answers[:, row].tolist())) > 1]
    if not varying:
        return Drift(chance=1.0, split=count, noise=0.0)
    rng = numpy_generator(seed, "drift")
    ends = np.linspace(0, count, min(count, MOST_ENDS) + 1).round().astype(np.int64)
    first, last = (ends[side] for side in np.triu_indices(len(ends), 1))  # `last` is outside of its period.
    first, last = first[last - first < count], last[last - first < count]
    between = np.zeros((PERMUTATIONS + 1, len(first)))  # The first row is what was seen.
    for row in varying:
        orders = np.tile(np.arange(count), (PERMUTATIONS + 1, 1))
        orders[1:] = rng.permuted(orders[1:], axis=1)
        between += _between(np.unique(row, return_inverse=True)[1][orders], first, last)
    deviation = between.std(0)
    scores = np.where(deviation > 0, (between - between.mean(0)) / np.where(deviation > 0, deviation, 1.0), 0.0)
    highest = scores.max(1)
    chance = float((highest >= highest[0] - 1e-9).mean())
    period = int(scores[0].argmax())
    split = int(first[period] or last[period])
    kept = answers[:split] if chance <= alarm else answers
    return Drift(chance=chance, split=split, noise=_noise(kept))


def _between(codes: Answers, first: Answers, last: Answers) -> NDArray[np.float64]:
    """For each sequence (n, k) and period: the pairs of one within and one outside that differ, (n, periods)."""
    count, length = codes.shape[1], last - first
    alike: NDArray[np.float64] = np.zeros((len(codes), len(first)))
    for code in range(int(codes.max()) + 1):
        hits = np.pad((codes == code).cumsum(1), ((0, 0), (1, 0)))
        within = hits[:, last] - hits[:, first]
        alike += within * (hits[:, -1:] - within)
    different: NDArray[np.float64] = length * (count - length) - alike
    return different


def _noise(answers: Answers) -> float:
    """Share of the pairs of askings of the same row whose answers differ."""
    count, rows = answers.shape
    if count < 2:
        return 0.0
    alike = sum(
        int((hits * (hits - 1)).sum())
        for hits in (np.unique(answers[:, row], return_counts=True)[1] for row in range(rows))
    )
    return float(1 - alike / (rows * count * (count - 1)))

"""Has a model changed while it was asked? The same rows are asked again and again, and their answers compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardlabel import checks
from hardlabel.randomness import numpy_generator

Answers = NDArray[np.int64]
PERMUTATIONS = 9_999


@dataclass(frozen=True)
class Drift:
    """What askings of the same rows show.

    Attributes:
        chance: The p-value of "every asking was answered by the same model", whose answers may be noisy.
        split: Number of askings before the change, if there was a change.
        noise: Share of the pairs of askings of the same row whose answers differ: before the split, if the model
            changed there.
    """

    chance: float
    split: int
    noise: float


def drift(answers: Answers, *, alarm: float, seed: int = 0) -> Drift:
    """Tests whether the answers to the same rows changed at some time.

    A noisy model answers the same question differently, but at a constant rate: the askings of a row can then be
    exchanged. The statistic is the number of pairs of askings, one before and one after a split, with different
    answers; standardised under permutations of each row's askings; its maximum over all splits.

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
    between = np.zeros((PERMUTATIONS + 1, count - 1))  # The first row is what was seen.
    for row in varying:
        orders = np.tile(np.arange(count), (PERMUTATIONS + 1, 1))
        orders[1:] = rng.permuted(orders[1:], axis=1)
        between += _between(np.unique(row, return_inverse=True)[1][orders])
    deviation = between.std(0)
    scores = np.where(deviation > 0, (between - between.mean(0)) / np.where(deviation > 0, deviation, 1.0), 0.0)
    highest = scores.max(1)
    chance = float((highest >= highest[0] - 1e-9).mean())
    split = int(scores[0].argmax()) + 1
    kept = answers[:split] if chance <= alarm else answers
    return Drift(chance=chance, split=split, noise=_noise(kept))


def _between(codes: Answers) -> NDArray[np.float64]:
    """For each split of each sequence (n, k): the pairs of one before and one after that differ, (n, k - 1)."""
    count = codes.shape[1]
    before = np.arange(1, count)
    alike: NDArray[np.float64] = np.zeros((len(codes), count - 1))
    for code in range(int(codes.max()) + 1):
        hits = (codes == code).cumsum(1)
        alike += hits[:, :-1] * (hits[:, -1:] - hits[:, :-1])
    different: NDArray[np.float64] = before * (count - before) - alike
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

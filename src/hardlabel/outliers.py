"""The points most at risk, chosen by the attacker's own models alone: nothing here sees the target.

An average over everybody hides the few who are exposed. Three ways to find them, which an audit compares:

- `neighbours`, the paper's: points with the fewest others within a cosine distance in the penultimate layer of
  models that never saw them (Choquette-Choo et al. 2021, section on outliers; Long et al. 2018,
  https://arxiv.org/abs/1802.04889, section 4.2).
- `out-loss`: points that models trained without them find hardest.
- `separability`: points on which models trained with and without them differ most, in standard deviations
  (the d of Carlini et al. 2022, https://arxiv.org/abs/2112.03570, section VI, from few models).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.models.modes import evaluating

SELECTIONS = {
    "neighbours": "fewest neighbours in the penultimate layer of own models",
    "out-loss": "highest mean loss of own models trained without the point",
    "separability": "own models trained with and without the point differ most",
}
RADII = (0.001, 0.003, 0.01, 0.03, 0.1)  # Candidates: shares of all pairs of points that are then neighbours.
NEAREST = 5  # Neighbours named for each point.
NEAR = 0.25  # Of the usual distance to the nearest other: closer ones are near-duplicates.
BLOCK = 512  # Points compared with all others at a time.
PRIOR_MODELS = 8  # A point's own variance counts as from so many models fewer than the variance of all.


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings:
    """Who is near whom.

    Attributes:
        counts: Neighbours within each of RADII among the points compared with, int64 (len(RADII), n), the point itself
            not counted.
        nearest: Places of the NEAREST most similar others, most similar first, int64 (n, at most NEAREST).
        similarity: Their cosine similarity, float32, alike.
    """

    counts: Tensor
    nearest: Tensor
    similarity: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates:
    """Points that are all but equal to another.

    Attributes:
        of: Place of each point's nearest other, int64 (n,), or -1 where it is no near-duplicate.
        distance: To the nearest other, whether near or not, float32 (n,): L2 on encoded inputs, of names the number
            of unlike ones.
        limit: Largest distance of a near-duplicate.
    """

    of: Tensor
    distance: Tensor
    limit: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The few that one way of choosing picks.

    Attributes:
        name: In SELECTIONS.
        how: In words, settings included.
        chosen: Who, bool (n,).
    """

    name: str
    how: str
    chosen: Tensor


def features(model: nn.Module, inputs: Tensor, *, batch: int = 1000) -> Tensor:
    """What the last linear layer of a network sees of `inputs` (n, *shape): float32 (n, width) on the CPU.

    The network is asked in evaluation mode, where it is; each of its modules is then back in the mode it was in.

    Raises:
        InvalidInput: The network has no linear layer.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise InvalidInput(f"model must have a linear layer to look before, got {type(model).__name__} without one")
    seen: list[Tensor] = []

    def keep(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.append(given[0].detach().flatten(1).float().cpu())

    first = next(model.parameters(), None)
    device = inputs.device if first is None else first.device
    hook = layers[-1].register_forward_pre_hook(keep)
    try:
        with evaluating(model), torch.inference_mode():
            for start in range(0, len(inputs), batch):
                model(inputs[start : start + batch].to(device))
    finally:
        hook.remove()
    return torch.cat(seen)


def surroundings(embeddings: Sequence[Tensor], compared: Tensor | None = None) -> Surroundings:
    """Neighbours by cosine similarity, averaged over embeddings of the same n points (n, width of each).

    Takes n * m * width steps for each embedding, and the memory of BLOCK rows.

    Args:
        embeddings: What each network sees of the points.
        compared: Places of the m points that can be neighbours, int64 (m,), rising; None for all n.

    Raises:
        InvalidInput: No embedding, fewer than two points, or embeddings of different points.
    """
    sizes = {len(one) for one in embeddings}
    if len(sizes) != 1 or min(sizes) < 2:
        raise InvalidInput(f"embeddings must be of the same 2 points or more, got {sorted(sizes)}")
    units = [functional.normalize(one.float(), dim=1) for one in embeddings]
    n = sizes.pop()
    others = torch.arange(n) if compared is None else compared
    compared_units = units if compared is None else [unit[others] for unit in units]

    def similar(rows: slice) -> Tensor:
        parts = zip(units, compared_units, strict=True)
        found: Tensor = sum(unit[rows] @ other.T for unit, other in parts) / len(units)  # type: ignore[assignment]
        _set_selves(found, torch.arange(n)[rows], others, -2.0)  # Nobody is its own neighbour.
        return found

    sampled = similar(slice(0, None, -(-n // BLOCK)))  # About BLOCK points, spread over all.
    falling = sampled.flatten().sort(descending=True).values
    pairs = len(sampled) * (len(others) - 1)
    limits = [float(falling[min(pairs - 1, int(share * pairs))]) for share in RADII]
    counts, nearest, similarity = [], [], []
    for start in range(0, n, BLOCK):
        found = similar(slice(start, start + BLOCK))
        # Sums of truth values in 32 bits are three times as fast as in 64.
        counts.append(torch.stack([(found >= limit).sum(1, dtype=torch.int32) for limit in limits]).long())
        top = found.topk(min(NEAREST, len(others) - 1), dim=1)
        nearest.append(others[top.indices])
        similarity.append(top.values)
    return Surroundings(counts=torch.cat(counts, 1), nearest=torch.cat(nearest), similarity=torch.cat(similarity))


def duplicates(inputs: Tensor, compared: Tensor | None = None, *, names: bool = False) -> Duplicates:
    """Points of (n, *shape) nearer to another than NEAR times the usual (median) distance to the nearest other.

    Where half of all points have an equal one, only equal ones count.

    Args:
        inputs: The points.
        compared: Places of the points among which the nearest other is sought, int64 (m,), rising; None for all.
        names: Whether values are names, as ids of tokens are: the distance is then the number of unlike values.

    Raises:
        InvalidInput: Fewer than two points.
    """
    if len(inputs) < 2:
        raise InvalidInput(f"inputs must hold 2 points or more, got {len(inputs)}")
    flat = inputs.detach().flatten(1).float().cpu()
    others = torch.arange(len(flat)) if compared is None else compared
    among = flat if compared is None else flat[others]
    nearest = []
    for start in range(0, len(flat), BLOCK):
        rows = flat[start : start + BLOCK]
        apart = torch.cdist(rows, among, p=0.0 if names else 2.0)
        _set_selves(apart, start + torch.arange(len(rows)), others, torch.inf)
        nearest.append(others[apart.argmin(1)])
    closest = torch.cat(nearest)
    gaps = flat - flat[closest]
    apart = (
        (gaps != 0).sum(1).float() if names else gaps.norm(dim=1)
    )  # Anew: scalar products round small distances away.
    limit = NEAR * float(apart.median())
    return Duplicates(of=torch.where(apart <= limit, closest, -1), distance=apart, limit=limit)


def _set_selves(found: Tensor, places: Tensor, others: Tensor, value: float) -> None:
    """Sets the entries of `found` (rows, others) that compare a point with itself."""
    columns = torch.searchsorted(others, places.contiguous()).clamp_max(len(others) - 1)
    mine = others[columns] == places
    found[torch.arange(len(places))[mine], columns[mine]] = value


def out_loss(statistics: Tensor, inside: Tensor) -> Tensor:
    """Mean loss of the models trained without each point, float64 (n,).

    Args:
        statistics: Logit confidences in the true class (K, n), so that the loss is log(1 + e^-x).
        inside: Who was inside which model, bool (K, n); every point must be outside one at least.

    Raises:
        InvalidInput: Shapes differ, or a point is inside all models.
    """
    _check(statistics, inside)
    outside = (~inside).double()
    loss: Tensor = (functional.softplus(-statistics.double()) * outside).sum(0) / outside.sum(0)
    return loss


def separability(statistics: Tensor, inside: Tensor) -> Tensor:
    """(mean inside - mean outside) / standard deviation of each point, float64 (n,).

    Few models say little about a point's own variance: it is drawn towards that of all points, which counts as
    PRIOR_MODELS models.

    Args:
        statistics: A number that grows with membership, such as logit confidences, (K, n).
        inside: Who was inside which model, bool (K, n); every point inside and outside one at least.

    Raises:
        InvalidInput: Shapes differ, or a point has no model on one side.
    """
    _check(statistics, inside)
    if not bool(inside.any(0).all()):
        raise InvalidInput(f"inside must hold each point at least once, point {int(inside.any(0).long().argmin())} not")
    means, variances = [], []
    for side in (inside.double(), (~inside).double()):
        count = side.sum(0)
        mean = (statistics.double() * side).sum(0) / count
        spread = ((statistics.double() - mean).square() * side).sum(0)  # Over count - 1, where that is not 0.
        usual = spread.sum() / (count - 1).clamp_min(0).sum().clamp_min(1)
        means.append(mean)
        variances.append((PRIOR_MODELS * usual + spread) / (PRIOR_MODELS + count - 1))
    apart = means[0] - means[1]
    deviation = ((variances[0] + variances[1]) / 2).sqrt()
    # Models that do not vary at all, as where answers are labels: whoever differs is as far apart as can be told.
    told = torch.where(deviation > 0, apart / deviation, torch.sign(apart) * torch.inf)
    return told.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def fewest(found: Surroundings, count: int, separable: Tensor) -> Selection:
    """The paper's selection: the `count` points with fewest neighbours; ties by how far the nearest is.

    The radius is the one of RADII whose chosen points own models separate best on average (`separable` (n,), see
    `separability`): a choice on the attacker's own models. Points beyond
    those n are neighbours, but no candidates.
    """
    n = len(separable)
    farthest = -found.similarity[:n, 0].double()
    picked = [_most(-counts[:n].double(), count, then=farthest) for counts in found.counts]
    # Infinite ones count as the largest finite one: a mean must stay comparable.
    finite = separable[separable.isfinite()]
    cut = separable.clamp(max=float(finite.max()) if len(finite) else 0.0)
    best = max(range(len(picked)), key=lambda radius: float(cut[picked[radius]].mean()))
    how = f"{SELECTIONS['neighbours']}, within a radius that holds {100 * RADII[best]:g} % of all pairs"
    return Selection(name="neighbours", how=how, chosen=picked[best])


def selections(*, share: float, around: Surroundings, statistics: Tensor, inside: Tensor) -> tuple[Selection, ...]:
    """Each way's choice of the `share` of points most at risk, one point at least, in the order of SELECTIONS.

    Args:
        share: Strictly between 0 and 1.
        around: Of the points, or of these first and others after them, which are no candidates.
        statistics: Logit confidences of own models, (K, n).
        inside: Who was inside which own model, bool (K, n).

    Raises:
        InvalidInput: An argument is out of range, or see `separability`.
    """
    checks.open_fraction(share=share)
    apart, lost = separability(statistics, inside), out_loss(statistics, inside)
    n = len(apart)
    count = max(1, round(share * n))
    return (
        fewest(around, count, apart),
        Selection(name="out-loss", how=SELECTIONS["out-loss"], chosen=_most(lost, count)),
        Selection(name="separability", how=SELECTIONS["separability"], chosen=_most(apart, count)),
    )


def _most(values: Tensor, count: int, then: Tensor | None = None) -> Tensor:
    """Who has the highest values, bool (n,); among equals the highest of `then`, then the first."""
    order = torch.arange(len(values))
    for key in (then, values):
        if key is not None:
            order = order[key[order].argsort(descending=True, stable=True)]
    chosen = torch.zeros(len(values), dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen


def _check(statistics: Tensor, inside: Tensor) -> None:
    if statistics.shape != inside.shape or statistics.ndim != 2 or inside.dtype != torch.bool:
        raise InvalidInput(
            f"statistics and inside (bool) must be (models, points), got {tuple(statistics.shape)} and "
            f"{inside.dtype} {tuple(inside.shape)}"
        )
    if bool(statistics.isnan().any()):
        raise InvalidInput("statistics must not be NaN")
    if bool(inside.all(0).any()):
        raise InvalidInput(
            f"inside must leave out each point at least once, point {int(inside.all(0).long().argmax())} never is"
        )

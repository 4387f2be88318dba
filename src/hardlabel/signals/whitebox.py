"""White-box distances to the boundary: how near a search through labels could come, on your own networks.

DeepFool and Carlini & Wagner see a network's gradients. They are no attacks, for no endpoint shows those, and no
signals: they are what a benchmark, or the owner of the model, compares `boundary` with. What they find are upper bounds
of the distance, like what a search finds, only that gradients leave less above the truth.

Every row is computed for itself, so that company and order change it by a network's rounding only.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hardlabel import checks
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import corners, l2, relaxed
from hardlabel.data.samples import Samples
from hardlabel.signals import crafting
from hardlabel.signals.walk import farthest

STEPS = 50  # DeepFool's; most samples take two or three.
CLASSES = 10
OVERSHOOT = 0.02  # DeepFool's: each step goes so much farther than the boundary would lie if it were flat.
HALVINGS = 16  # Of the way to a point found, until it ends at the boundary: to a 65,536th.
ROUNDING = 1e-5  # A class must lead by this share of the largest logit: a network rounds differently by batch.
DECAY, SQUARE_DECAY = 0.9, 0.99  # Of the means of gradients and of their squares.
GROWTH = 10.0  # Of the weight of the class where it was too small so far; the authors'.
NOWHERE = 0.1  # Where DeepFool finds nothing: the step's unit, as a share of the distance to the farthest corner.


class Nearest(NamedTuple):
    """The nearest points found that a network gives another label.

    Attributes:
        points: (n, *shape), legal, but for fractions in a box of whole numbers; the sample itself where it is
            misclassified or nothing was found. The network's answer at each other point is another class, by more than
            its rounding.
        distances: L2 (n,), float32, in input units, from the samples to `points`: 0 for a misclassified sample; where
            nothing was found, the distance to the box's farthest corner.
        found: Whether the label changes at `points`, (n,) bool.
    """

    points: Tensor
    distances: Tensor
    found: Tensor


def deepfool(model: nn.Module, samples: Samples, *, steps: int = STEPS, classes: int = CLASSES) -> Nearest:
    """Steps to the nearest of the classes' boundaries, as if they were flat, until the label changes.

    A step is clipped to the box, and the next one goes along the walls it met. The point found is pulled back along the
    straight line to the sample, as far as the label stays changed. Exact for linear classifiers where no wall is met.

    Costs no query; up to steps * (classes + 1) forward and steps * classes backward passes per sample.

    Args:
        model: Maps inputs (m, *shape) to logits (m, classes), differentiably; lies on the samples' device afterwards.
        samples: Whom to measure; labels are the true ones.
        steps: Most steps.
        classes: Rival classes considered in each step, the likeliest first; the authors' code has 10 with the own one.

    Raises:
        InvalidInput: The domain is not continuous, a setting is below 1, the network tells fewer than two classes or
            not a label, lets no gradient through, or answers NaN or infinity.

    References:
        Moosavi-Dezfooli, Fawzi and Frossard (2016), arXiv:1511.04599.
    """
    checks.at_least(1, steps=steps, classes=classes)
    return _found(model, samples, lambda part: _fooled(model, part, steps, classes))


def carlini_wagner(
    model: nn.Module, samples: Samples, *, steps: int = 200, searches: int = 5, rate: float = 0.1
) -> Nearest:
    """Minimises |x' - x|^2 + c * max(0, lead of the sample's class at x') over the box.

    The weight c is searched for each sample by itself: bisected once it was large enough, ten times as large until
    then. The nearest of all points on the way that have another label is pulled back like DeepFool's.

    Costs no query; `searches` * `steps` forward and backward passes per sample, and those of `deepfool`.

    Args:
        model: As for `deepfool`.
        samples: Whom to measure; labels are the true ones.
        steps: Steps for each weight.
        searches: Weights tried.
        rate: Length of a first step as a share of DeepFool's distance; later ones shrink to 0.

    Raises:
        InvalidInput: As `deepfool`; or a rate of 0 or less.

    References:
        Carlini and Wagner (2017), arXiv:1608.04644, for L2.

    Deviations: points are clipped to the box after each step (the paper moves atanh of the inputs, which stand still
    where a pixel is black or white). Adam's second moment is one number per sample, so that coordinates keep their
    proportions; steps are in units of DeepFool's distance and get shorter, and the first weight is twice what would do
    if the boundary were as flat as at the sample, so that no setting depends on the units of inputs. DeepFool's point
    is the first to beat: none is farther.
    """
    checks.at_least(1, steps=steps, searches=searches)
    checks.positive(rate=rate)

    def nearest(part: Samples) -> tuple[Tensor, Tensor]:
        first, found = _fooled(model, part, STEPS, CLASSES)
        return _optimised(model, part, first, found, steps=steps, searches=searches, rate=rate)

    return _found(model, samples, nearest)


def _found(model: nn.Module, samples: Samples, nearest: Callable[[Samples], tuple[Tensor, Tensor]]) -> Nearest:
    """What `nearest` finds in each block of samples: points (m, *shape), and whether the label changes there (m,)."""
    if not samples.domain.continuous:
        raise InvalidInput(
            f"distances to a boundary need a continuous domain (every point between two is legal), "
            f"got a {samples.domain.kind} one"
        )
    samples = Samples(ids=samples.ids, inputs=samples.inputs, labels=samples.labels, domain=relaxed(samples.domain))
    with torch.no_grad():  # But for slopes.
        points, found = crafting.craft(samples, [model], lambda rows: nearest(samples.take(rows)))
    found = found.to(samples.device)
    bound = farthest(samples.domain, samples.inputs.flatten(1))
    return Nearest(points, torch.where(found, l2(points - samples.inputs), bound), found)


def _fooled(model: nn.Module, part: Samples, steps: int, classes: int) -> tuple[Tensor, Tensor]:
    """DeepFool's points (m, *shape), pulled back, and whether the label changes there (m,)."""
    told = _told(model, part.inputs, part.labels)
    found = told.argmax(1) != part.labels
    points = part.inputs.clone()
    left = (~found).nonzero()[:, 0]
    for _ in range(steps):
        if not len(left):
            break
        points[left] = _stepped(model, part.take(left), points[left], classes)
        crossed = _lead(model, part.labels[left], points[left]) > 0
        found[left[crossed]] = True
        left = left[~crossed]
    points[left] = part.inputs[left]
    return _pulled(model, part, points), found


def _stepped(model: nn.Module, part: Samples, points: Tensor, classes: int) -> Tensor:
    """Points (m, *shape) just beyond the nearest of the rivals' boundaries, if those were flat and no wall came up."""
    told = _told(model, points, part.labels)
    others = told.scatter(1, part.labels[:, None], -torch.inf)
    rivals = others.topk(min(classes, told.shape[1] - 1), dim=1).indices
    rounding = ROUNDING * told.abs().amax(1)
    least = torch.full_like(rounding, torch.inf)
    towards = torch.zeros_like(points)
    lower, upper = corners(part.domain, points)
    for rival in rivals.unbind(1):
        gap, gradient = crafting.slope(partial(_gap, model, part.labels, rival), points)
        against = ((points >= upper) & (gradient > 0)) | ((points <= lower) & (gradient < 0))
        gradient = gradient.masked_fill(against, 0.0)
        steep = l2(gradient)
        # A rival that already leads by less than the network's rounding still needs a little step.
        away = torch.maximum(gap.abs(), rounding) / steep
        nearer = away < least  # Not where the slope is 0: that is infinity, or no number.
        least = torch.where(nearer, away, least)
        unit = gradient / _wide(steep, points)
        towards = torch.where(_wide(nearer, points), unit, towards)
    # A longer step than to the box's farthest corner leads nowhere else.
    length = (least * (1 + OVERSHOOT)).minimum(farthest(part.domain, points.flatten(1)))
    return part.domain.clip(points + towards * _wide(length, points))


def _optimised(
    model: nn.Module, part: Samples, best: Tensor, found: Tensor, *, steps: int, searches: int, rate: float
) -> tuple[Tensor, Tensor]:
    """Carlini and Wagner's points, pulled back, where they are nearer than `best`, and whether any is found."""
    origins, labels, bound = part.inputs, part.labels, farthest(part.domain, part.inputs.flatten(1))
    distance = torch.where(found, l2(best - origins), bound)
    reach = torch.where(found, distance, NOWHERE * bound)
    best, found = best.clone(), found.clone()
    _, gradient = crafting.slope(partial(_lead, model, labels), origins)
    weight = 4 * reach / l2(gradient).clamp(min=torch.finfo(torch.float32).eps)
    low, high = torch.zeros_like(weight), torch.full_like(weight, torch.inf)
    for _ in range(searches):
        points, crossed = origins.clone(), torch.zeros_like(found)
        mean, square = torch.zeros_like(points), torch.zeros_like(weight)
        for step in range(steps):
            lead, gradient = crafting.slope(partial(_lead, model, labels), points)
            away = l2(points - origins)
            crossed |= lead > 0
            nearer = (lead > 0) & (away < distance)
            best[nearer], distance[nearer] = points[nearer], away[nearer]
            found |= nearer
            pull = 2 * (points - origins) - gradient * _wide(torch.where(lead > 0, 0.0, weight), points)
            mean = DECAY * mean + (1 - DECAY) * pull
            square = SQUARE_DECAY * square + (1 - SQUARE_DECAY) * l2(pull).square()
            # Means that start at 0 are too small by these factors: Adam's correction.
            unbiased = (1 - SQUARE_DECAY ** (step + 1)) ** 0.5 / (1 - DECAY ** (step + 1))
            length = reach * (rate * (1 - step / steps) * unbiased)
            scale = torch.where(square > 0, length / square.sqrt(), 0.0)
            points = part.domain.clip(points - mean * _wide(scale, points))
        high, low = torch.where(crossed, weight, high), torch.where(crossed, low, weight)
        weight = torch.where(high.isinf(), weight * GROWTH, (low + high) / 2)
    return _pulled(model, part, best), found


def _pulled(model: nn.Module, part: Samples, points: Tensor) -> Tensor:
    """Points (m, *shape) nearer to the samples on the straight line, as far as the label was seen to stay changed."""
    nearest, offset = points.clone(), points - part.inputs
    rows = (l2(offset) > 0).nonzero()[:, 0]
    keeps, differs = torch.zeros(len(rows), device=points.device), torch.ones(len(rows), device=points.device)
    for _ in range(HALVINGS if len(rows) else 0):
        middle = (keeps + differs) / 2
        tried = part.domain.clip(part.inputs[rows] + offset[rows] * _wide(middle, offset))
        crossed = _lead(model, part.labels[rows], tried) > 0
        nearest[rows[crossed]] = tried[crossed]
        keeps, differs = torch.where(crossed, keeps, middle), torch.where(crossed, middle, differs)
    return nearest


def _lead(model: nn.Module, labels: Tensor, points: Tensor) -> Tensor:
    """By how much another class leads at points (m, *shape), less what rounding may hide: above 0 where it does."""
    told = _told(model, points, labels)
    own = told.gather(1, labels[:, None])[:, 0]
    other = told.scatter(1, labels[:, None], -torch.inf).amax(1)
    return other - own - ROUNDING * told.detach().abs().amax(1)


def _gap(model: nn.Module, labels: Tensor, rivals: Tensor, points: Tensor) -> Tensor:
    """By how much each sample's rival leads its own class, (m,)."""
    told = _told(model, points, labels)
    return (told.gather(1, rivals[:, None]) - told.gather(1, labels[:, None]))[:, 0]


def _told(model: nn.Module, points: Tensor, labels: Tensor) -> Tensor:
    told = crafting.logits(model, points, labels)
    if told.shape[1] < 2:
        raise InvalidInput("a network must tell two classes or more, got 1")
    if not bool(torch.isfinite(told).all()):
        raise InvalidInput("a network must answer with finite logits, got NaN or infinity")
    return told


def _wide(values: Tensor, like: Tensor) -> Tensor:
    """Values (m,) shaped to go with points (m, *shape)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))

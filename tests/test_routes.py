"""Routes lead where the crafters' gradients say, through legal points only."""

import math

import pytest
import torch
from torch import nn

from games import random_samples, samples_of
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.table import MixedTable
from hardlabel.signals import routes
from hardlabel.signals.routes import Toward, craft, lengths_of, levels_of

TABLE = MixedTable(
    (
        Numeric(name="age", mean=40.0, scale=8.0, lower=17, upper=90, integer=True),
        Numeric(name="income", mean=5.0, scale=2.0, lower=0.0, upper=50.0, missing=True),
        Categorical("colour", ("blue", "green", "red")),
    )
)
NUMBERS = MixedTable((Numeric(name="height", mean=170.0, scale=10.0, lower=100.0, upper=220.0),))
DOMAINS = {
    "images": Box((3, 4, 4)),
    "vectors": Box((5,), -2.0, 2.0),
    "bits": BinaryFeatures(30),
    "few bits": BinaryFeatures(3),
    "table": TABLE,
    "numbers": NUMBERS,
}


def network(width, classes, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, classes))


def game(domain, count=6, classes=3):
    width = math.prod(domain.shape)
    samples = random_samples(domain, count, classes=classes)
    return samples, [network(width, classes, seed) for seed in (1, 2)]


def every_point(route):
    """(n, levels, *shape)"""
    count, levels = len(route.inputs), route.levels.total
    rows, places = torch.arange(count).repeat_interleave(levels), torch.arange(levels).repeat(count)
    return route.points(rows, places).unflatten(0, (count, levels))


def test_cifar_gets_exactly_the_lengths_that_were_measured():
    lengths = lengths_of(Box((3, 32, 32)))
    assert lengths[8] == 0
    ahead = torch.tensor([0.05 * 70 ** (k / 13) for k in range(14)])
    behind = torch.tensor([0.05 * 40 ** (k / 7) for k in range(8)])
    torch.testing.assert_close(lengths[9:], ahead)
    torch.testing.assert_close(lengths[:8], -behind.flip(0))


def test_lengths_scale_with_the_box_and_end_at_its_diagonal():
    unit = lengths_of(Box((1, 8, 8)))
    torch.testing.assert_close(unit, lengths_of(Box((3, 32, 32))))
    torch.testing.assert_close(lengths_of(Box((1, 8, 8), -1.0, 1.0)), 2 * unit)
    assert float(lengths_of(Box((4,)))[-1]) == pytest.approx(2.0)
    assert float(lengths_of(NUMBERS, reach=1.5)[-1]) == pytest.approx(1.5)


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
@pytest.mark.parametrize("toward", Toward)
def test_every_point_is_legal_and_the_middle_one_is_the_sample(domain, toward):
    samples, crafters = game(domain)
    points = every_point(craft(samples, crafters, toward, seed=0))
    domain.check(points.flatten(0, 1))
    assert torch.equal(points[:, levels_of(domain).backward], samples.inputs)


def test_the_straight_direction_is_the_numeric_gradient_of_the_mean_margin():
    """Central differences in float64 of the definition, per crafter, then averaged."""
    domain = Box((5,), -2.0, 2.0)
    samples, crafters = game(domain)
    for toward in Toward:
        direction, _ = craft(samples, crafters, toward, seed=0).line
        for row in range(len(samples)):
            x, y = samples.inputs[row].double(), int(samples.labels[row])
            slope = torch.zeros(5, dtype=torch.float64)
            for j in range(5):
                step = torch.zeros(5, dtype=torch.float64)
                step[j] = 1e-5
                slope[j] = (margin(crafters, x + step, y, toward) - margin(crafters, x - step, y, toward)) / 2e-5
            torch.testing.assert_close(direction[row], (-slope / slope.norm()).float(), rtol=0, atol=1e-4)


def margin(crafters, x, y, toward):
    logits = [crafter.double().eval()(x[None])[0].detach() for crafter in crafters]
    for crafter in crafters:
        crafter.float()
    others = [j for j in range(len(logits[0])) if j != y]
    if toward == Toward.RUNNER_UP:
        mean = sum(logits)
        rival = max(others, key=lambda j: float(mean[j]))
        return sum(z[y] - z[rival] for z in logits) / len(logits)
    return sum(z[y] - z[others].logsumexp(0) for z in logits) / len(logits)


def test_a_linear_margin_falls_along_every_stepped_route():
    for domain in (BinaryFeatures(30), TABLE):
        samples = random_samples(domain, 20, classes=2)
        width = domain.shape[0]
        torch.manual_seed(3)
        crafter = nn.Linear(width, 2)
        points = every_point(craft(samples, [crafter], Toward.OTHERS, seed=0))
        with torch.no_grad():
            logits = crafter(points)
        sign = 1.0 - 2.0 * samples.labels[:, None]
        margins = (logits[..., 0] - logits[..., 1]) * sign
        assert bool((margins.diff(dim=1) <= 1e-5).all())
        assert bool((margins[:, 0] > margins[:, -1] + 0.1).all())


def test_each_level_of_a_stepped_route_is_one_step_farther():
    domain = BinaryFeatures(40)
    samples, crafters = game(domain)
    route = craft(samples, crafters, Toward.OTHERS, seed=0)
    flips = (every_point(route) != samples.inputs[:, None]).sum(2)
    ahead, behind = route.steps
    offsets = torch.arange(-8, 16)
    most = torch.where(offsets < 0, behind.counts[:, None], ahead.counts[:, None])
    assert torch.equal(flips, torch.minimum(offsets.abs(), most))
    assert int(most.max()) == 15


def test_company_and_order_do_not_change_a_route(monkeypatch):
    """Up to rounding: a network's own kernels round differently by batch."""
    samples, crafters = game(Box((3, 4, 4)), count=9)
    whole, _ = craft(samples, crafters, Toward.OTHERS, seed=0).line
    order = torch.tensor([3, 1, 8, 0, 2, 7, 4, 6, 5])
    monkeypatch.setattr(routes, "ROWS", 2)
    again, _ = craft(samples.take(order), crafters, Toward.OTHERS, seed=0).line
    torch.testing.assert_close(again, whole[order], rtol=0, atol=1e-5)


def test_crafters_keep_their_modes_and_get_no_gradients():
    samples, crafters = game(Box((3, 4, 4)))
    crafters[0].train()
    crafters[1].eval()
    crafters[1][3].train()
    with torch.inference_mode():
        one, _ = craft(samples, crafters, Toward.OTHERS, seed=0).line
    assert [m.training for m in crafters[0].modules()] == [True] * 6
    assert [m.training for m in crafters[1].modules()] == [False, False, False, False, True, False]
    assert all(weight.grad is None for crafter in crafters for weight in crafter.parameters())
    for crafter in crafters:
        crafter.eval()
    two, _ = craft(samples, crafters, Toward.OTHERS, seed=0).line
    assert torch.equal(one, two)  # No dropout while crafting.


class Dead(nn.Module):
    """Logits that do not depend on the input."""

    def forward(self, inputs):
        return inputs.flatten(1).sum(1, keepdim=True) * torch.zeros(3) + torch.tensor([1.0, 0.0, -1.0])


@pytest.mark.parametrize("domain", [Box((5,)), BinaryFeatures(30), TABLE], ids=["vectors", "bits", "table"])
def test_dead_gradients_give_one_seeded_direction(domain):
    samples = random_samples(domain, 4, classes=3)
    one, same, other = (every_point(craft(samples, [Dead()], Toward.OTHERS, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert bool((one[:, -1] != samples.inputs).flatten(1).any(1).all())


def test_tiny_gradients_still_have_a_direction():
    samples = samples_of(Box((2,)), torch.full((1, 2), 0.5), 1)
    crafter = nn.Linear(2, 2, bias=False)
    crafter.weight.data = torch.tensor([[0.0, 0.0], [3e-30, 4e-30]])
    direction, _ = craft(samples, [crafter], Toward.OTHERS, seed=0).line
    torch.testing.assert_close(direction, torch.tensor([[-0.6, -0.8]]))


def test_crafters_must_be_there_and_show_the_labels_classes():
    samples = samples_of(Box((2,)), torch.zeros(1, 2), 4)
    with pytest.raises(InvalidInput, match="path needs crafters"):
        craft(samples, [], Toward.OTHERS, seed=0)
    with pytest.raises(InvalidInput, match="at least the labels' 5 classes, got 3"):
        craft(samples, [nn.Linear(2, 3)], Toward.OTHERS, seed=0)
    with pytest.raises(InvalidInput, match=r"equally many classes, got \[5, 6\]"):
        craft(samples, [nn.Linear(2, 5), nn.Linear(2, 6)], Toward.RUNNER_UP, seed=0)
    with pytest.raises(InvalidInput, match=r"must map \(q, \*shape\) to logits"):
        craft(samples, [nn.Unflatten(1, (1, 2))], Toward.OTHERS, seed=0)


@pytest.mark.parametrize("domain", [Box((5,)), BinaryFeatures(30), TABLE], ids=["vectors", "bits", "table"])
def test_no_samples_have_no_routes_to_craft(domain):
    samples, crafters = game(domain)
    route = craft(samples.take(slice(0, 0)), crafters, Toward.OTHERS, seed=0)
    assert len(route.points(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))) == 0

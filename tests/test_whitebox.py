"""DeepFool and Carlini & Wagner against closed forms, one another and a search that sees labels only."""

import math

import pytest
import torch
from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Box, l2
from hardlabel.data.samples import Samples
from hardlabel.signals import crafting
from hardlabel.signals.hopskipjump import hop_skip_jump
from hardlabel.signals.whitebox import HALVINGS, ROUNDING, carlini_wagner, deepfool
from hardlabel.targets.torch import TorchModel

BOTH = pytest.mark.parametrize("nearest", [deepfool, carlini_wagner])
# A point ends within 2^-HALVINGS of the way and ROUNDING of the largest logit beyond the boundary; logits here are a
# few times the lead they take off, so that both stay far below a thousandth. Float32 adds less.
EXACT = 1e-3


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def samples_of(model, inputs, domain):
    """Samples whose label is the network's."""
    with torch.no_grad():
        labels = model(inputs).argmax(1)
    return Samples(ids=torch.arange(len(inputs)) * 7 + 3, inputs=inputs, labels=labels, domain=domain)


def linear(weights, biases):
    model = nn.Sequential(nn.Flatten(), nn.Linear(weights.shape[1], len(weights)))
    with torch.no_grad():
        model[1].weight.copy_(weights)
        model[1].bias.copy_(biases)
    return model


class Sphere(nn.Module):
    """Class 1 inside the sphere around 0, by a logit of radius^2 - |x|^2."""

    radius = 1.5

    def forward(self, inputs):
        inside = self.radius**2 - inputs.square().sum(1)
        return torch.stack([-inside, inside], 1)


class Bent(nn.Module):
    """A small random network with bent boundaries, each row computed for itself."""

    def __init__(self, width=20, classes=5):
        super().__init__()
        self.first, self.last = nn.Parameter(normal(width, 12, seed=3)), nn.Parameter(normal(12, classes, seed=4))

    def forward(self, inputs):
        rows = (inputs.flatten(1) - 0.5).double()
        hidden = torch.tanh((rows[:, :, None] * self.first).sum(1))
        return (hidden[:, :, None] * self.last).sum(1)


def bent_game(count=40):
    inputs = torch.rand(count, 20, generator=torch.Generator().manual_seed(5))
    return Bent(), samples_of(Bent(), inputs, Box(shape=(20,)))


@BOTH
@pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
def test_distance_to_a_half_space_is_its_margin(nearest, shape):
    w = normal(math.prod(shape), seed=1)
    model = linear(torch.stack([-w, w]) / 2, torch.tensor([0.0, 0.25]))
    samples = samples_of(model, 0.3 * normal(30, *shape, seed=2), Box(shape=shape, lower=-4.0, upper=4.0))
    found = nearest(model, samples)
    true = ((samples.inputs.flatten(1) @ w + 0.25) / w.norm()).abs()
    assert found.found.all()
    assert float((found.distances / true).min()) >= 1 - ROUNDING
    assert float((found.distances / true).max()) <= 1 + EXACT


@BOTH
def test_distance_of_a_linear_softmax_is_that_of_its_nearest_rival(nearest):
    weights, biases = normal(6, 10, seed=1), normal(6, seed=2)
    model = linear(weights, biases)
    samples = samples_of(model, 0.5 * normal(50, 10, seed=3), Box(shape=(10,), lower=-6.0, upper=6.0))
    assert len(samples.labels.unique()) >= 4
    logits = samples.inputs @ weights.T + biases
    own = samples.labels
    gaps = logits.gather(1, own[:, None]) - logits
    lengths = (weights[own][:, None] - weights).norm(dim=2)
    true = (gaps / lengths).scatter(1, own[:, None], math.inf).amin(1)
    found = nearest(model, samples)
    assert float((found.distances / true).min()) >= 1 - 1e-4  # Gaps of near rivals are differences of float32 logits.
    assert float((found.distances / true).max()) <= 1 + EXACT


@BOTH
def test_distance_from_inside_a_sphere_is_the_gap_to_its_radius(nearest):
    inputs = normal(20, 8, seed=6)
    inputs = inputs / l2(inputs)[:, None] * torch.linspace(0.2, 1.4, 20)[:, None]
    samples = samples_of(Sphere(), inputs, Box(shape=(8,), lower=-4.0, upper=4.0))
    found = nearest(Sphere(), samples)
    true = 1.5 - l2(inputs)
    # The nearest way is straight outwards, as is the gradient: no step errs, whatever its length.
    assert float((found.distances / true).min()) >= 1 - EXACT
    assert float((found.distances / true).max()) <= 1 + EXACT


@BOTH
def test_a_wall_in_the_way_is_gone_along(nearest):
    """x + y > 1.5 from (.9, .2): x may grow by .1 only, so that y must by .3."""
    model = linear(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([0.0, -1.5]))
    samples = samples_of(model, torch.tensor([[0.9, 0.2]]), Box(shape=(2,)))
    found = nearest(model, samples)
    assert float(found.distances) == pytest.approx(math.hypot(0.1, 0.3), rel=0.01)
    samples.domain.check(found.points)


@BOTH
def test_each_point_is_legal_and_of_another_class_at_the_distance_told(nearest):
    model, samples = bent_game()
    found = nearest(model, samples)
    assert found.found.all()
    samples.domain.check(found.points)
    for size in (1, 7, 40):
        answers = TorchModel(model, device="cpu", batch_size=size).ask(found.points, samples.ids)
        assert (answers != samples.labels).all()
    assert torch.equal(found.distances, l2(found.points - samples.inputs))
    # A little nearer the label is the sample's again: the point lies at the boundary.
    inside = samples.inputs + (found.points - samples.inputs) * (1 - 4 * 2**-HALVINGS - 10 * ROUNDING)
    with torch.no_grad():
        assert float((model(inside).argmax(1) == samples.labels).float().mean()) >= 0.9


def test_carlini_wagner_is_nearer_than_deepfool_and_both_than_a_search_through_labels():
    model, samples = bent_game()
    first, second = deepfool(model, samples), carlini_wagner(model, samples)
    assert (second.distances <= first.distances).all()
    assert float((second.distances / first.distances).mean()) < 0.99
    search = hop_skip_jump(TorchModel(model, device="cpu", batch_size=512), samples, queries=1000, seed=0)
    # What a search leaves above the truth is never less than what gradients do, but for their last thousandth.
    assert float((second.distances <= search.distances * 1.001).float().mean()) >= 0.9
    assert float(first.distances.median()) <= 1.1 * float(search.distances.median())


@BOTH
def test_company_and_order_change_nothing_where_a_network_computes_rows_alone(nearest, monkeypatch):
    model, samples = bent_game(12)
    whole = nearest(model, samples)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = nearest(model, samples.take(order))
    alone = nearest(model, samples.take(torch.tensor([5])))
    monkeypatch.setattr(crafting, "ROWS", 5)
    blocks = nearest(model, samples)
    for one, other, third, fourth in zip(whole, shuffled, alone, blocks, strict=True):
        assert torch.equal(one[order], other)
        assert torch.equal(one[[5]], third)
        assert torch.equal(one, fourth)


@BOTH
def test_a_misclassified_sample_is_at_distance_0(nearest):
    model, samples = bent_game(6)
    found = nearest(model, samples.relabelled((samples.labels + 1) % 5))
    assert found.found.all()
    assert (found.distances == 0).all()
    assert torch.equal(found.points, samples.inputs)


@BOTH
def test_without_a_boundary_the_bound_is_the_farthest_corner(nearest):
    model = linear(torch.zeros(3, 2), torch.tensor([0.0, 1.0, 0.5]))
    samples = samples_of(model, torch.tensor([[-4.0, 3.0], [0.0, 0.0]]), Box(shape=(2,), lower=-4.0, upper=4.0))
    found = nearest(model, samples)
    assert not found.found.any()
    assert torch.equal(found.points, samples.inputs)
    assert found.distances.tolist() == pytest.approx([math.hypot(8, 7), math.hypot(4, 4)])


@BOTH
def test_the_network_is_left_in_the_mode_it_was_in(nearest):
    model = nn.Sequential(linear(normal(3, 4), torch.zeros(3)), nn.Dropout(0.5))
    model.train()
    model[0].eval()
    samples = samples_of(model[0], normal(5, 4, seed=1), Box(shape=(4,), lower=-4.0, upper=4.0))
    nearest(model, samples)
    assert model.training
    assert not model[0].training
    assert all(weight.grad is None for weight in model.parameters())


class Broken(nn.Module):
    def forward(self, inputs):
        return torch.stack([inputs.sum(1), inputs.sum(1) / 0 * 0], 1)


@BOTH
@pytest.mark.parametrize(
    ("model", "labels", "domain", "rule"),
    [
        (linear(normal(2, 3), torch.zeros(2)), 0, BinaryFeatures(3), "need a continuous domain .* got a binary one"),
        (linear(normal(2, 3), torch.zeros(2)), 2, Box((3,)), "labels must be below the network's 2 classes, got 2"),
        (linear(normal(1, 3), torch.zeros(1)), 0, Box((3,)), "two classes or more, got 1"),
        (Broken(), 0, Box((3,)), "finite logits, got NaN or infinity"),
    ],
)
def test_what_cannot_be_measured_is_refused(nearest, model, labels, domain, rule):
    samples = Samples(ids=torch.arange(2), inputs=torch.ones(2, 3), labels=torch.full((2,), labels), domain=domain)
    with pytest.raises(InvalidInput, match=rule):
        nearest(model, samples)


@pytest.mark.parametrize(
    ("nearest", "wrong", "rule"),
    [
        (deepfool, {"steps": 0}, "steps must be at least 1, got 0"),
        (deepfool, {"classes": 0}, "classes must be at least 1, got 0"),
        (carlini_wagner, {"searches": 0}, "searches must be at least 1, got 0"),
        (carlini_wagner, {"rate": 0.0}, "rate must be positive, got 0"),
    ],
)
def test_settings_that_break_a_rule_are_refused(nearest, wrong, rule):
    model, samples = bent_game(2)
    with pytest.raises(InvalidInput, match=rule):
        nearest(model, samples, **wrong)

"""YOQO and OSLO craft the points their definitions say, legally, and ask one query about each sample."""

import math

import pytest
import torch
from torch import nn

from games import HalfSpace, random_samples, samples_of
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.table import MixedTable
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.randomness import generator
from hardlabel.signals import crafting
from hardlabel.signals.base import Knowledge, Shadows
from hardlabel.signals.oslo import OVERSTEP, Oslo
from hardlabel.signals.yoqo import OFFLINE, SPREAD, Yoqo
from hardlabel.targets.torch import TorchModel

UNIT = Box((2,))


class Line(nn.Module):
    """Two classes, or three of which the third never wins: the logits of class 1 and 0 differ by w.x + b."""

    def __init__(self, w, b, *, classes=2):
        super().__init__()
        self.w, self.b, self.classes = nn.Parameter(torch.tensor(w)), nn.Parameter(torch.tensor(float(b))), classes

    def forward(self, inputs):
        margin = inputs.flatten(1) @ self.w + self.b
        return torch.stack([-margin / 2, margin / 2, *[torch.full_like(margin, -50.0)] * (self.classes - 2)], 1)


def network(seed, shape, classes=3):
    """A small network with batch normalisation and dropout, whose modes matter."""
    width = math.prod(shape)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(width, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Dropout(0.5), nn.Linear(12, classes)
        )
        for weights in net.parameters():
            weights.data.mul_(3)
    return net


def shadows_of(models, inside):
    return Knowledge(shadows=Shadows(models=tuple(models), inside=torch.tensor(inside)))


def descent(slope, low, high):
    """Where a rising function crosses 0, by bisection."""
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return low


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def plans(domain, count, *, models=5):
    """Each signal with what it needs, on random networks and samples."""
    shape = domain.shape
    crafters = tuple(network(seed, shape) for seed in range(3))
    inside = torch.rand(models, count, generator=generator(0, "inside")) < 0.5
    inside[0], inside[1] = True, False
    shadows = Shadows(models=tuple(network(10 + seed, shape) for seed in range(models)), inside=inside)
    return [
        (Yoqo(steps=4, stop=0.1), Knowledge(shadows=shadows)),
        (Yoqo(online=False, steps=4, stop=0.1), Knowledge(crafters=crafters)),
        (Yoqo(online=False, steps=4, stop=0.1), Knowledge(shadows=shadows)),
        (Oslo(tau=0.2, rounds=4, steps=3), Knowledge(crafters=crafters)),
    ]


DOMAINS = [
    Box((2, 3, 3)),
    Box((5,), -2.0, 3.0),
    BinaryFeatures(9),
    MixedTable(
        (
            Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=90.0),
            Numeric(name="gain", mean=0.0, scale=1.0, lower=0.0, upper=8.0),
            Numeric(name="constant", mean=7.0, scale=1.0, lower=7.0, upper=7.0),
        )
    ),
]
IDS = ["image", "vector", "binary", "table"]


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_yoqo_finds_the_point_between_linear_models_with_and_without_the_sample(alpha):
    """IN says 1 from .3 on, OUT from .7 on, slope s: the loss is least where sigma(s(.3 - x)) = alpha sigma(s(x - .7)).

    For alpha = 1 that is .5. A target like IN keeps the label there, one like OUT does not.
    """
    s = 20.0
    inside, outside = Line([s, 0.0], -0.3 * s), Line([s, 0.0], -0.7 * s)
    samples = samples_of(UNIT, torch.tensor([[0.95, 0.4], [0.8, 0.1]]), 1)
    signal = Yoqo(alpha=alpha, stop=0.0, steps=150)
    plan = signal.prepare(samples, shadows_of([inside, outside], [[True] * 2, [False] * 2]), 0)
    best = descent(lambda x: alpha * sigmoid(s * (x - 0.7)) - sigmoid(s * (0.3 - x)), 0.0, 1.0)
    assert plan.points[:, 0].tolist() == pytest.approx([best, best], abs=1e-3)
    assert plan.points[:, 1].tolist() == pytest.approx([0.4, 0.1], abs=1e-6)
    if alpha == 1.0:
        assert best == pytest.approx(0.5)
    for model, answer in ((inside, 1.0), (outside, 0.0)):
        found = plan.measure(ChargedLabels(TorchModel(model, device="cpu"), Account(per_sample=1)))
        assert found.values.tolist() == [[answer], [answer]]


def test_yoqo_offline_rests_where_the_out_models_pull_and_the_distance_balance():
    """One OUT model of slope s with its border at .7: s sigma(s(x - .7)) = 2 distance / d (x0 - x) / SPREAD^2."""
    s, start, weight = 20.0, 0.95, 1.0
    samples = samples_of(UNIT, torch.tensor([[start, 0.4]]), 1)
    plan = Yoqo(online=False, stop=0.0, steps=150, distance=weight).prepare(
        samples, Knowledge(crafters=(Line([s, 0.0], -0.7 * s),)), 0
    )
    best = descent(lambda x: s * sigmoid(s * (x - 0.7)) - weight * (start - x) / SPREAD**2, 0.0, 1.0)
    assert plan.points[0].tolist() == pytest.approx([best, 0.4], abs=1e-3)
    assert best < 0.7  # Beyond the border.


def naive_yoqo(signal, x, y, models, inside, domain):
    """The docstring, for one sample and with the gradient of the whole loss."""
    unit = SPREAD * (domain.upper - domain.lower)
    ins = [model for model, there in zip(models, inside, strict=True) if there and signal.online]
    outs = [model for model, there in zip(models, inside, strict=True) if not there]
    others = []
    for model in outs:
        told = model(x[None])[0].tolist()
        others.append(max((j for j in range(len(told)) if j != y), key=lambda j: told[j]))
    point, best, lowest = x, x, math.inf
    for _ in range(signal.steps + 1):
        free = point.clone().requires_grad_(True)
        loss = sum(-model(free[None])[0].log_softmax(0)[t] for model, t in zip(outs, others, strict=True)) / len(outs)
        if signal.online:
            loss = signal.alpha * loss + sum(-model(free[None])[0].log_softmax(0)[y] for model in ins) / len(ins)
        else:
            loss = loss + signal.distance * ((free - x) / unit).square().mean()
        if float(loss.detach()) < lowest:
            best, lowest = point, float(loss.detach())
        if lowest <= signal.stop:
            break
        (gradient,) = torch.autograd.grad(loss, free)
        point = (point - signal.rate * unit**2 * gradient).clamp(domain.lower, domain.upper)
    return best, lowest


@pytest.mark.parametrize("online", [True, False])
def test_yoqo_is_its_definition_one_sample_at_a_time(online):
    domain = Box((5,), -2.0, 3.0)
    samples = random_samples(domain, 7, classes=3)
    models = [network(seed, domain.shape).eval() for seed in range(4)]
    inside = torch.rand(4, 7, generator=generator(1, "inside")) < 0.5
    inside[0], inside[1] = True, False
    signal = Yoqo(online=online, alpha=1.5, stop=1.0, steps=4)
    plan = signal.prepare(samples, Knowledge(shadows=Shadows(models=tuple(models), inside=inside)), 0)
    stopped = 0
    for i, (x, y) in enumerate(zip(samples.inputs, samples.labels.tolist(), strict=True)):
        best, lowest = naive_yoqo(signal, x, y, models, inside[:, i].tolist(), domain)
        torch.testing.assert_close(plan.points[i], best, atol=1e-4, rtol=1e-4)
        stopped += lowest <= signal.stop
    assert 0 < stopped < 7  # Both ends of the loop are met.


def confidences(models, x):
    return torch.stack([model(x[None])[0] for model in models]).mean(0).softmax(0)


def naive_oslo(signal, x, y, sources, judges, domain):
    """The docstring, for one sample; the points at the start of each round, the last one asked."""
    trail = [x]
    for turn in range(1, signal.rounds + 1):
        if float(confidences(judges, trail[-1])[y].detach()) < signal.tau:
            return trail, True
        edge = signal.reach * turn / signal.rounds * (domain.upper - domain.lower)
        point, gathered = trail[-1], torch.zeros_like(x)
        for _ in range(signal.steps):
            free = point.clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(-confidences(sources, free)[y].log(), free)
            gathered = signal.momentum * gathered + gradient / gradient.abs().mean()
            point = point + OVERSTEP / signal.steps * edge * gathered.sign()
            point = (x + (point - x).clamp(-edge, edge)).clamp(domain.lower, domain.upper)
        trail.append(point)
    return trail, bool(confidences(judges, trail[-1])[y] < signal.tau)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_oslo_stops_at_the_first_round_whose_judges_are_below_tau(count):
    domain = Box((5,), -2.0, 3.0)
    samples = random_samples(domain, 12, classes=3)
    crafters = tuple(network(seed, domain.shape).eval() for seed in range(count))
    sources, judges = {1: ((0,), (0,)), 2: ((0,), (1,)), 3: ((0, 1), (2,)), 4: ((0, 1), (2, 3))}[count]
    signal = Oslo(tau=0.1, reach=0.2, rounds=5, steps=3)
    plan = signal.prepare(samples, Knowledge(crafters=crafters), 0)
    lengths = set()
    for i, (x, y) in enumerate(zip(samples.inputs, samples.labels.tolist(), strict=True)):
        trail, found = naive_oslo(signal, x, y, [crafters[k] for k in sources], [crafters[k] for k in judges], domain)
        torch.testing.assert_close(plan.points[i], trail[-1], atol=1e-4, rtol=1e-4)
        assert bool(plan.found[i]) == found
        lengths.add(len(trail))
    assert len(lengths) > 1


@pytest.mark.parametrize("tau", [0.5, 0.1, 0.01])
def test_the_round_oslo_stops_at_is_the_closed_form_of_a_linear_model(tau):
    """A round moves each coordinate to its bound e, so that the margin m falls to m - e |w|_1.

    Confidence in class 1 is sigma(margin): below tau where e > (m - log(tau / (1 - tau))) / |w|_1.
    """
    domain, w = Box((3,), -10.0, 10.0), [2.0, -1.0, 0.5]
    x = torch.tensor([[0.4, -0.7, 1.0]])
    model = Line(w, 0.3)
    signal = Oslo(tau=tau, reach=0.25, rounds=40)
    plan = signal.prepare(samples_of(domain, x, 1), Knowledge(crafters=(model,)), 0)
    low, high = model(x)[0].tolist()
    turn = math.floor((high - low - math.log(tau / (1 - tau))) / 3.5 / (0.25 * 20 / 40)) + 1
    expected = x - turn * 0.25 * 20 / 40 * torch.tensor(w).sign()
    torch.testing.assert_close(plan.points, expected, atol=1e-5, rtol=0)
    assert plan.found.tolist() == [True]
    assert not Oslo(tau=tau, reach=0.25 / 40, rounds=1).prepare(plan.samples, Knowledge(crafters=(model,)), 0).found[0]


def test_a_lower_tau_asks_further_out():
    domain = Box((5,), -2.0, 3.0)
    samples, crafters = random_samples(domain, 8, classes=3), tuple(network(seed, (5,)) for seed in range(2))
    away = [
        (Oslo(tau=tau, rounds=20, steps=2).prepare(samples, Knowledge(crafters=crafters), 0).points - samples.inputs)
        .abs()
        .amax(1)
        for tau in (0.5, 0.1, 0.01)
    ]
    assert bool((away[0] <= away[1] + 1e-6).all())
    assert bool((away[1] <= away[2] + 1e-6).all())
    assert bool((away[0] < away[2]).any())


@pytest.mark.parametrize("name", ["yoqo", "oslo"])
def test_bits_flip_by_falling_gain_until_the_models_are_convinced(name):
    """One linear OUT model, class 1 at margin w.x + b: the bits whose flips lower it most go first, no others."""
    w, b = torch.tensor([3.0, -2.0, 1.0, -0.5, 4.0]), 1.0
    domain, x = BinaryFeatures(5), torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]])  # Gains: 3, 2, 1; none by bits 3, 4.
    knowledge = Knowledge(crafters=(Line(w.tolist(), b),))
    for flips, margin in enumerate([4.5, 1.5, -0.5, -1.5]):
        threshold = margin + 0.1  # Reached by so many flips and no fewer.
        signal = (
            Oslo(tau=sigmoid(threshold))
            if name == "oslo"
            else Yoqo(online=False, distance=0.0, stop=math.log1p(math.exp(threshold)))
        )
        plan = signal.prepare(samples_of(domain, x, 1), knowledge, 0)
        assert plan.points[0].tolist() == [float(flips < 1), float(flips > 1), float(flips < 3), 1.0, 0.0]


@pytest.mark.parametrize("domain", DOMAINS, ids=IDS)
def test_crafted_points_are_legal_moved_and_cost_one_query_each(domain):
    samples = random_samples(domain, 9, classes=3)
    oracle = HalfSpace(domain, torch.linspace(-1, 1, math.prod(domain.shape)), 0.1)  # Refuses what is not legal.
    for signal, knowledge in plans(domain, 9):
        plan = signal.prepare(samples, knowledge, 0)
        assert oracle.calls == []  # Crafting asks nothing.
        account = Account(per_sample=1)
        found = plan.measure(ChargedLabels(oracle, account))
        assert plan.queries == (1, 1)
        assert found.queries.tolist() == account.spent(samples.ids).tolist() == [1] * 9
        assert found.values.shape == (9, 1)
        assert found.values.dtype == torch.float32
        asked = oracle.ask(plan.points, samples.ids) == samples.labels
        assert found.values[:, 0].tolist() == asked.float().tolist()
        assert found.complete.shape == (9,)
        assert found.complete.dtype == torch.bool
        assert int((plan.points != samples.inputs).flatten(1).any(1).sum()) >= 1
        oracle.calls.clear()


@pytest.mark.parametrize("domain", DOMAINS, ids=IDS)
def test_company_order_and_blocks_change_a_point_by_rounding_only(domain, monkeypatch):
    samples = random_samples(domain, 9, classes=3)
    order = torch.tensor([3, 1, 8, 0, 2, 7, 4, 6, 5])
    for signal, knowledge in plans(domain, 9):
        whole = signal.prepare(samples, knowledge, 0)
        with monkeypatch.context() as patch:
            patch.setattr(crafting, "ROWS", 2)
            blocks = signal.prepare(samples.take(order), taken(knowledge, order), 1)
        alone = signal.prepare(samples.take(slice(4, 5)), taken(knowledge, slice(4, 5)), 0)
        torch.testing.assert_close(blocks.points, whole.points[order], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.points, whole.points[4:5], atol=1e-4, rtol=1e-4)
        assert torch.equal(blocks.found, whole.found[order])


def test_a_flip_is_the_one_that_gains_most_and_is_never_taken_back():
    origins = torch.tensor([[0.0, 1.0, 0.0]] * 3)
    points = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    direction = torch.tensor([[1.0, -2.0, -9.0], [-9.0, 2.0, 1.0], [-1.0, 2.0, 0.0]])
    expected = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]  # The last row has nothing to gain.
    assert crafting.flipped(points, origins, direction).tolist() == expected


def test_a_column_of_a_table_is_no_wider_than_its_bulk():
    age, gain, constant = crafting.widths(DOMAINS[3], torch.zeros(2, 3))[0].tolist()
    assert (age, gain, constant) == (4.0, 4.0, 0.0)
    assert crafting.widths(DOMAINS[1], torch.zeros(2, 5)).tolist() == [[5.0] * 5]
    assert crafting.widths(DOMAINS[2], torch.zeros(2, 9)).tolist() == [[1.0] * 9]


def test_no_network_sees_more_rows_at_once_than_the_limit(monkeypatch):
    monkeypatch.setattr(crafting, "ROWS", 4)
    sizes = []
    for signal, knowledge in plans(DOMAINS[1], 9):
        for model in knowledge.crafters or knowledge.shadows.models:
            model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
        signal.prepare(random_samples(DOMAINS[1], 9, classes=3), knowledge, 0)
    assert max(sizes) == 4


def taken(knowledge, rows):
    if knowledge.shadows is None:
        return knowledge
    return Knowledge(shadows=Shadows(models=knowledge.shadows.models, inside=knowledge.shadows.inside[:, rows]))


def test_the_models_keep_their_weights_their_modes_and_get_no_gradients():
    domain = Box((5,))
    samples = random_samples(domain, 6, classes=3)
    for signal, knowledge in plans(domain, 6):
        models = knowledge.crafters or knowledge.shadows.models
        for model in models:
            model.train()
            model[2].eval()  # A frozen normalisation in a training network.
        before = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models]
        with torch.no_grad():  # Whatever the caller's mode.
            signal.prepare(samples, knowledge, 0)
        for model, kept in zip(models, before, strict=True):
            assert [module.training for module in model] == [True, True, False, True, True, True]
            assert all(torch.equal(tensor, kept[name]) for name, tensor in model.state_dict().items())
            assert all(weights.grad is None and weights.requires_grad for weights in model.parameters())


TWO = samples_of(UNIT, torch.tensor([[0.9, 0.5], [0.2, 0.5]]), torch.tensor([1, 0]))
LINE = Line([1.0, 0.0], 0.0)


@pytest.mark.parametrize(
    ("signal", "knowledge", "reason"),
    [
        (Yoqo(), Knowledge(crafters=(LINE,)), "yoqo online needs shadows, .* got none"),
        (OFFLINE, Knowledge(), "yoqo offline needs crafters or shadows, .* got neither"),
        (Oslo(), shadows_of([LINE], [[False] * 2]), "oslo needs crafters, .* got none"),
        (Yoqo(), shadows_of([LINE], [[True] * 2]), "yoqo needs shadows without each sample, got none without sample 0"),
        (Yoqo(), shadows_of([LINE], [[True, False]]), "shadows without each sample, got none without sample 0"),
        (Yoqo(), shadows_of([LINE] * 2, [[False] * 2, [True, False]]), "with each sample, got none with sample 1"),
        (OFFLINE, shadows_of([LINE], [[False, True]]), "without each sample, got none without sample 1"),
        (Yoqo(), shadows_of([LINE], [[True] * 3]), r"shadows.inside must be \(1, 2\), got \(1, 3\)"),
    ],
)
def test_what_is_missing_is_named(signal, knowledge, reason):
    with pytest.raises(InvalidInput, match=reason):
        signal.prepare(TWO, knowledge, 0)


@pytest.mark.parametrize("signal", [OFFLINE, Oslo()], ids=str)
def test_networks_that_cannot_serve_are_refused(signal):
    class Step(nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0] > 0.5, inputs[:, 0] <= 0.5], 1).float()

    for model, reason in ((Step(), "differentiable"), (nn.Linear(2, 1), "labels must be below"), (nn.ReLU(), "got 2")):
        fits = samples_of(UNIT, TWO.inputs, 2 if isinstance(model, nn.ReLU) else 1)
        with pytest.raises(InvalidInput, match=reason):
            signal.prepare(fits, Knowledge(crafters=(model,)), 0)


@pytest.mark.parametrize("signal", [Yoqo(), OFFLINE, Oslo()], ids=str)
def test_a_mixed_table_is_refused_with_the_reason(signal):
    domain = MixedTable(
        (Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=90.0), Categorical("job", ("a", "b")))
    )
    with pytest.raises(InvalidInput, match="needs a continuous or a binary domain, got a mixed table one"):
        signal.prepare(random_samples(domain, 2, classes=2), Knowledge(crafters=(LINE,)), 0)
    assert crafting.unsuited(UNIT) is crafting.unsuited(BinaryFeatures(3)) is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Yoqo(alpha=0.0), "alpha must be positive, got 0.0"),
        (lambda: Yoqo(stop=-1.0), "stop must be 0 or more, got -1.0"),
        (lambda: Yoqo(steps=0), "steps must be at least 1, got 0"),
        (lambda: Oslo(tau=1.0), "tau must lie strictly between 0 and 1, got 1.0"),
        (lambda: Oslo(reach=0.0), "reach must be positive, got 0.0"),
        (lambda: Oslo(rounds=0), "rounds must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(make, reason):
    with pytest.raises(InvalidInput, match=reason):
        make()

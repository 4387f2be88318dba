"""DHAttack's fixed points, the sampling attack and the transfer attack, on games whose answers are known."""

import itertools
import math
from statistics import NormalDist

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from games import Constant, HalfSpace, random_samples, samples_of
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Box, NoiseLevel
from hardlabel.data.table import MixedTable
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals import base
from hardlabel.signals.base import Knowledge
from hardlabel.signals.fixed_point import HALVINGS, FixedPoint, Search, Toward
from hardlabel.signals.noise import Noise
from hardlabel.signals.sampling import Sampling
from hardlabel.signals.transfer import LOWEST, OVERHEAD, Transfer

NOTHING = Knowledge()
ROUNDING = 1e-6  # Of float32 points on a line of length about 1.


def charged(plan, oracle):
    """What the plan found, after checking that it costs what it says."""
    account = Account()
    found = plan.measure(ChargedLabels(oracle, account))
    assert found.queries.tolist() == account.spent(plan.samples.ids).tolist()
    assert plan.queries[0] <= int(found.queries.min())
    assert int(found.queries.max()) <= plan.queries[1]
    return found


def measured(signal, oracle, samples, knowledge=NOTHING, seed=0):
    return charged(signal.prepare(samples, knowledge, seed), oracle)


def crossings(game, samples, point):
    """Where the line to `point` leaves class 1, as a share of the way."""
    near, far = game.margin(samples.inputs), game.margin(point[None])
    return near / (near - far)


def leaving(domain, *, count=40):
    """A half-space that the upper corner is outside of, and samples inside."""
    width = math.prod(domain.shape)
    game = HalfSpace(domain, -torch.linspace(0.5, 1.5, width), 0.55 * width)
    samples = random_samples(domain, 4 * count, classes=1)
    inside = samples.take(game.ask(samples.inputs, samples.ids) == 1)
    return game, inside.relabelled(torch.ones_like(inside.labels)).take(slice(0, count))


@pytest.mark.parametrize("queries", [2, 7, 30])
def test_a_scan_finds_the_first_step_beyond_the_boundary(queries):
    game, samples = leaving(Box((2, 3, 3)))
    found = measured(FixedPoint(queries=queries), game, samples)
    truth = crossings(game, samples, torch.ones(2, 3, 3))
    steps = (truth * queries).ceil()
    assert torch.equal(found.values[:, 0], (steps / queries).float())
    assert found.complete.tolist() == (steps < queries).tolist()  # The fixed point itself is never asked.
    assert found.queries.tolist() == (steps + 1).clamp(max=queries).tolist()


@pytest.mark.parametrize("queries", [2, 5, 12, 22, 30])
@pytest.mark.parametrize("toward", [Toward.CORNER, Toward.POPULATION])
def test_bisection_finds_the_closed_form_crossing_of_a_half_space(queries, toward):
    domain = Box((6,), -1.0, 3.0)
    game, samples = leaving(domain)
    outside = samples_of(domain, torch.full((1, 6), 2.5), 0, start=1000)
    signal = FixedPoint(queries=queries, toward=toward, search=Search.BISECTION)
    plan = signal.prepare(samples, Knowledge(population=outside), 0)
    found = charged(plan, game)
    halvings = min(queries - 2, HALVINGS)
    assert plan.queries == (1, 2 + halvings)
    assert found.queries.tolist() == [2 + halvings] * len(samples)
    assert bool(found.complete.all())
    error = found.values[:, 0] - crossings(game, samples, plan.points[0])
    assert float(error.abs().max()) <= 2 ** -(halvings + 1) + ROUNDING


def naive_shares(game, samples, order):
    """Bits set to 1 one by one in this order; the share of them at the first wrong label, 1 if there is none."""
    shares = []
    for row in samples.inputs:
        zeros = [int(place) for place in order if row[place] == 0]
        bits, share = row.clone(), 1.0
        for count, place in enumerate(zeros, start=1):
            bits[place] = 1.0
            if int(game.ask(bits[None], torch.zeros(1))) == 0:
                share = count / len(zeros)
                break
        shares.append(share)
    return torch.tensor(shares)


def bits_inside(game, *, seed):
    samples = random_samples(game.domain, 30, classes=1, seed=seed)
    inside = samples.take(game.ask(samples.inputs, samples.ids) == 1)
    return inside.relabelled(torch.ones_like(inside.labels))


def test_a_scan_of_bits_sets_them_one_after_another():
    domain = BinaryFeatures(13)
    w = 1.0 - 2.0 * (torch.arange(13) % 2)
    game = HalfSpace(domain, w, -0.5)  # The fixed point is inside: some ways lead out and back, some stay.
    samples = bits_inside(game, seed=1)
    plan = FixedPoint(queries=13).prepare(samples, NOTHING, 3)
    found = charged(plan, game)
    truth = naive_shares(game, samples, plan.order)
    assert 0 < int((found.values[:, 0] < 1).sum()) < len(samples)
    torch.testing.assert_close(found.values[:, 0], truth)


def test_bisection_of_bits_is_the_exhaustive_walk():
    domain = BinaryFeatures(21)
    game = HalfSpace(domain, -torch.linspace(0.1, 1, 21), 7.0)  # One crossing: every bit set leads outside.
    samples = bits_inside(game, seed=2)
    plan = FixedPoint(search=Search.BISECTION).prepare(samples, NOTHING, 3)
    found = charged(plan, game)
    assert plan.queries == (1, 2 + 5)
    torch.testing.assert_close(found.values[:, 0], naive_shares(game, samples, plan.order))


def test_a_coarse_walk_over_many_bits_asks_evenly_spaced_shares():
    domain = BinaryFeatures(40)
    game = HalfSpace(domain, -torch.ones(40), 20.5)  # Wrong from the 21st bit on.
    samples = samples_of(domain, torch.zeros(1, 40), 1)
    assert measured(FixedPoint(queries=4), game, samples).values.tolist() == [[0.75]]
    coarse = FixedPoint(queries=4, search=Search.BISECTION)  # 20 bits are right, 30 wrong.
    assert float(measured(coarse, game, samples).values) == pytest.approx((21 + 30) / 2 / 40)
    third = HalfSpace(BinaryFeatures(10), -torch.ones(10), 2.5)  # A quarter of 10 bits is rounded to 3.
    assert measured(FixedPoint(queries=4), third, samples_of(third.domain, torch.zeros(1, 10), 1)).values == 0.25


def test_a_scan_ranks_misclassified_samples_by_how_soon_they_turn_right():
    domain = Box((1,))
    game = HalfSpace(domain, torch.ones(1), -0.5)
    samples = samples_of(domain, torch.tensor([[0.45], [0.0], [0.9], [0.45], [1.0]]), torch.tensor([1, 1, 0, 0, 0]))
    found = measured(FixedPoint(queries=10), game, samples)
    # 0.45 + 0.55 j / 10 passes 0.5 at j = 1, and j / 10 at j = 6; 0.9 never comes back.
    wanted = [math.exp(-1) / 10, math.exp(-6) / 10, math.exp(-10) / 10, 0.1, math.exp(-10) / 10]
    torch.testing.assert_close(found.values[:, 0], torch.tensor(wanted))
    assert found.queries.tolist() == [2, 7, 10, 2, 10]
    assert bool(found.complete.all())


def test_bisection_gives_a_misclassified_sample_0_for_the_one_query_that_showed_it():
    domain = Box((1,))
    samples = samples_of(domain, torch.tensor([[0.2], [0.2]]), torch.tensor([1, 0]))
    found = measured(FixedPoint(search=Search.BISECTION), HalfSpace(domain, torch.ones(1), -0.5), samples)
    assert found.values[0].tolist() == [0.0]
    assert float(found.values[1]) == pytest.approx(0.3 / 0.8, abs=2 ** -(HALVINGS + 1) + ROUNDING)
    assert found.queries.tolist() == [1, 2 + HALVINGS]


@pytest.mark.parametrize("domain", [Box((4,)), BinaryFeatures(9)], ids=lambda domain: domain.kind)
@pytest.mark.parametrize("search", Search)
def test_a_label_that_never_changes_is_bounded_by_the_fixed_point(domain, search):
    samples = random_samples(domain, 5, classes=1)
    found = measured(FixedPoint(search=search), Constant(0), samples)
    assert found.values.tolist() == [[1.0]] * 5
    assert not bool(found.complete.any())


@pytest.mark.parametrize("search", Search)
def test_a_sample_that_is_the_fixed_point_has_no_way_to_go(search):
    domain = BinaryFeatures(3)
    samples = samples_of(domain, torch.ones(2, 3), torch.tensor([0, 1]))
    found = measured(FixedPoint(search=search), Constant(0), samples)
    assert float(found.values[0]) == 1.0
    assert float(found.values[1]) < 1.0
    assert found.complete.tolist() == [False, True]


def test_each_fixed_point_has_its_column_and_its_share_of_the_queries():
    domain = Box((6,), -1.0, 3.0)
    game, samples = leaving(domain)
    outside = random_samples(domain, 400, classes=1, seed=5, start=1000)
    outside = outside.take(game.margin(outside.inputs) < 0)
    signal = FixedPoint(queries=33, points=2, toward=Toward.POPULATION, search=Search.BISECTION)
    plan = signal.prepare(samples, Knowledge(population=outside), 0)
    found = charged(plan, game)
    assert plan.queries == (1, 1 + 2 * 16)
    assert not torch.equal(plan.points[0], plan.points[1])
    for column, point in zip(found.values.T, plan.points, strict=True):
        assert bool((outside.inputs == point).all(1).any())
        assert float((column - crossings(game, samples, point)).abs().max()) <= 2**-16 + ROUNDING


def test_random_fixed_points_are_the_seeds_own():
    domain, signal = Box((6,)), FixedPoint(points=2, toward=Toward.RANDOM)
    samples = random_samples(domain, 3, classes=1)
    one, same, other = (signal.prepare(samples, NOTHING, seed).points for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not bool((one == other).any())


def test_fixed_points_are_refused_where_no_line_is_legal():
    frame = pd.DataFrame({"age": [20.0, 30.5, 41.0], "job": ["cook", "clerk", "cook"]})
    domain = MixedTable.fit(frame)
    samples = samples_of(domain, domain.encode(frame), 0)
    with pytest.raises(InvalidInput, match="continuous or a binary domain, got a mixed table"):
        FixedPoint().prepare(samples, NOTHING, 0)


def test_fixed_points_need_the_population_they_are_taken_from():
    samples, signal = random_samples(Box((3,)), 2, classes=1), FixedPoint(toward=Toward.POPULATION, points=3)
    for population in (None, random_samples(Box((3,)), 2, classes=1)):
        with pytest.raises(InvalidInput, match="population must hold at least 3 points"):
            signal.prepare(samples, Knowledge(population=population), 0)
    with pytest.raises(InvalidInput, match="population must share the samples' domain"):
        signal.prepare(samples, Knowledge(population=random_samples(Box((2,)), 5, classes=1)), 0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"queries": 1}, "queries must be at least 2, got 1"),
        ({"queries": 3, "points": 3, "toward": Toward.RANDOM}, "queries must be at least 4, got 3"),
        ({"points": 0}, "points must be at least 1, got 0"),
        ({"points": 2}, "points must be 1 toward the largest values, got 2"),
    ],
)
def test_lines_that_cannot_be_searched_are_refused(settings, told):
    with pytest.raises(InvalidInput, match=told):
        FixedPoint(**settings)


class Bands:
    """The class is the number of edges below the first coordinate."""

    def __init__(self, *edges):
        self.edges = torch.tensor(edges)

    def ask(self, inputs, ids):
        return torch.bucketize(inputs[:, 0].contiguous(), self.edges)


def test_sampled_frequencies_are_the_closed_form_of_bands():
    """Gaussian noise of a point carries it into a band with a difference of two Phi."""
    signal = Sampling(level=NoiseLevel(sigma=0.5), draws=20_000, top=4)
    samples = samples_of(Box((2,), -50.0, 50.0), torch.tensor([[0.1, 0.0], [0.1, 9.0]]), torch.tensor([1, 3]))
    found = measured(signal, Bands(-0.2, 0.6, 0.9), samples)
    below = [0.0, *(NormalDist(0.1, 0.5).cdf(edge) for edge in (-0.2, 0.6, 0.9)), 1.0]
    p = [high - low for low, high in itertools.pairwise(below)]
    assert p[1] > p[0] > p[2] > p[3]
    # The second sample is misclassified more often than not, and asked all the same.
    for row, wanted in zip(found.values, ([p[1], p[0], p[2], p[3], 0], [p[3], p[1], p[0], p[2], 0]), strict=True):
        for seen, truth in zip(row.tolist(), wanted, strict=True):
            assert seen == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / signal.draws))
    assert found.queries.tolist() == [20_000] * 2
    torch.testing.assert_close(found.values.sum(1), torch.ones(2))


def test_other_classes_beyond_the_top_are_left_out():
    samples = samples_of(Box((1,)), torch.full((1, 1), 0.5), 0)
    edges = torch.linspace(0.05, 0.95, 10).tolist()
    whole, cut = (
        measured(Sampling(level=NoiseLevel(sigma=0.3), top=top), Bands(*edges), samples).values[0] for top in (20, 3)
    )
    assert torch.equal(cut, whole[:4])
    assert whole[1:].tolist() == sorted(whole[1:].tolist(), reverse=True)
    assert float(cut.sum()) < 1


@pytest.mark.parametrize("domain", [Box((4,)), BinaryFeatures(12)], ids=lambda domain: domain.kind)
def test_the_first_frequency_is_the_share_that_the_noise_signal_sees(domain):
    samples = random_samples(domain, 12, classes=2)
    game = HalfSpace(domain, torch.ones(domain.shape), -0.5 * domain.shape[0])
    level = NoiseLevel(sigma=0.2, flip=0.2)
    values = measured(Sampling(level=level, draws=40), game, samples).values
    kept = measured(Noise(level=level, draws=40), game, samples).values
    right = game.ask(samples.inputs, samples.ids) == samples.labels
    assert torch.equal(values[right, 0], kept[right, 0])
    assert bool((values[~right, 0] > 0).any())


BOX, BITS = Box((5,)), BinaryFeatures(11)
CASES = [
    *((FixedPoint(queries=9, search=search), domain) for search in Search for domain in (BOX, BITS)),
    *((FixedPoint(queries=9, points=2, toward=Toward.RANDOM, search=s), d) for s in Search for d in (BOX, BITS)),
    *((Sampling(level=NoiseLevel(sigma=0.3, flip=0.3), draws=7), domain) for domain in (BOX, BITS)),
]


@pytest.mark.parametrize(("signal", "domain"), CASES, ids=lambda case: getattr(case, "kind", None) or str(case))
def test_company_order_and_blocks_change_nothing(signal, domain, monkeypatch):
    samples = random_samples(domain, 9, classes=2)
    width = domain.shape[0]
    oracle = HalfSpace(domain, torch.linspace(-1, 1, width), 0.1)
    found = measured(signal, oracle, samples, seed=5)
    assert found.values.dtype == torch.float32
    order = torch.tensor([3, 1, 8, 0, 2, 7, 4, 6, 5])
    monkeypatch.setattr(base, "VALUES_IN_MEMORY", 2 * width)  # Blocks of one or two rows.
    again = measured(signal, oracle, samples.take(order), seed=5)
    assert torch.equal(again.values, found.values[order])
    assert torch.equal(again.queries, found.queries[order])
    alone = measured(signal, oracle, samples.take(slice(4, 5)), seed=5)
    assert torch.equal(alone.values, found.values[4:5])


def logistic_fit(samples, seed):
    """A logistic regression with two classes, fitted to convergence."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(samples.domain.shape[0], 2))
    optimizer = torch.optim.LBFGS(model[1].parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = functional.cross_entropy(model[1](samples.inputs), samples.labels)
        value = value + 1e-4 * model[1].weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return model.train()


def taught(*, rows=None, ask_samples=False, label=None):
    """A transfer plan on a linear teacher that answers unlike the population's own labels, and its account."""
    domain = Box((4,))
    teacher = HalfSpace(domain, torch.tensor([1.0, -2.0, 1.5, 0.5]), -0.5)
    population = random_samples(domain, 300, classes=2, start=1000)
    samples = random_samples(domain, 80, classes=2)
    if label == "true":
        samples = samples.relabelled(teacher.ask(samples.inputs, samples.ids))
    knowledge = Knowledge(population=population, fit=logistic_fit)
    return teacher, Transfer(rows=rows, ask_samples=ask_samples).prepare(samples, knowledge, 7)


def test_a_surrogate_recovers_a_linear_teacher():
    teacher, plan = taught(label="true")
    found = charged(plan, teacher)
    clear = teacher.margin(plan.samples.inputs).abs() > 0.1
    assert bool((found.values[clear, 0] > math.log(0.9)).all())
    assert bool((found.values <= 0).all())
    assert bool(found.complete.all())
    wrong = plan.samples.relabelled(1 - plan.samples.labels)
    again = charged(Transfer().prepare(wrong, plan.knowledge, 7), teacher)
    torch.testing.assert_close(found.values.exp() + again.values.exp(), torch.ones(80, 1))
    assert bool((again.values[clear, 0] < math.log(0.1)).all())


def test_labelling_the_population_is_overhead_and_no_samples_cost():
    teacher, plan = taught(rows=120)
    account = Account()
    found = plan.measure(ChargedLabels(teacher, account))
    assert plan.queries == (0, 0)
    assert account.overhead == {OVERHEAD: 120}
    assert plan.overhead == account.total == 120
    assert found.queries.tolist() == [0] * 80
    assert account.spent(plan.samples.ids).tolist() == [0] * 80


def test_the_points_labelled_are_distinct_ones_of_the_population_and_all_by_default():
    _, some = taught(rows=120)
    _, everyone = taught()
    assert len(torch.unique(some.points.ids)) == 120
    assert set(some.points.ids.tolist()) < set(everyone.points.ids.tolist())
    assert int(some.points.ids.max()) > 1000 + 120
    assert everyone.overhead == 300


def test_a_sample_asked_about_costs_one_query_and_has_the_lowest_value_if_wrong():
    teacher, plan = taught(ask_samples=True)
    _, silent = taught()
    account = Account()
    found = plan.measure(ChargedLabels(teacher, account))
    right = teacher.ask(plan.samples.inputs, plan.samples.ids) == plan.samples.labels
    assert found.queries.tolist() == account.spent(plan.samples.ids).tolist() == [1] * 80
    assert account.total == 80 + 300
    assert found.values[~right, 0].tolist() == [LOWEST] * int((~right).sum())
    assert torch.equal(found.values[right], charged(silent, teacher).values[right])


@pytest.mark.parametrize("ask_samples", [False, True])
def test_a_constant_target_teaches_nothing(ask_samples):
    _, plan = taught(ask_samples=ask_samples)
    found = charged(plan, Constant(0))
    wrong = plan.samples.labels == 1 if ask_samples else torch.zeros(80, dtype=torch.bool)
    assert not found.values[~wrong].any()
    assert bool((found.values[wrong] == LOWEST).all())
    assert not bool(found.complete.any())


def test_a_transfer_names_what_the_attacker_lacks():
    samples, population = random_samples(Box((4,)), 3, classes=2), random_samples(Box((4,)), 9, classes=2, start=10)
    for signal, knowledge, told in (
        (Transfer(), Knowledge(fit=logistic_fit), "population must hold at least 1 points .* got None"),
        (Transfer(rows=10), Knowledge(population=population, fit=logistic_fit), "at least 10 points .* got 9"),
        (Transfer(), Knowledge(population=population), "fit must be given to train a surrogate"),
        (Transfer(), Knowledge(population=random_samples(BITS, 9, classes=2), fit=logistic_fit), "samples' domain"),
    ):
        with pytest.raises(InvalidInput, match=told):
            signal.prepare(samples, knowledge, 0)


def test_a_label_that_the_surrogate_does_not_know_is_refused():
    teacher, plan = taught()
    strange = plan.samples.relabelled(plan.samples.labels + 1)
    with pytest.raises(InvalidInput, match="labels must be below the surrogate's 2 classes, got 2"):
        charged(Transfer().prepare(strange, plan.knowledge, 0), teacher)


def test_descriptions_are_for_readers():
    assert str(FixedPoint()) == "distance toward the largest values, scan, 30 queries"
    assert str(Sampling(level=NoiseLevel(sigma=0.1), draws=50)) == "classes of 50 noisy copies, sigma 0.1"
    assert str(Transfer()) == "loss of a surrogate trained on the population"
    assert str(Transfer(rows=9, ask_samples=True)) == (
        "loss of a surrogate trained on 9 population points, right labels only"
    )

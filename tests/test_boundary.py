"""The boundary signal against closed forms, its own oracle's answers, and its promises on cost and company."""

import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import STILL, Move
from hardlabel.data.columns import Numeric
from hardlabel.data.domain import LEGAL_SLACK, BinaryFeatures, Box, l2
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals import base, probes
from hardlabel.signals.base import Knowledge
from hardlabel.signals.boundary import MINIMUM_QUERIES, Boundary
from hardlabel.signals.geoda import ANGLES, _frequencies, _turn, geoda
from hardlabel.signals.hopskipjump import hop_skip_jump
from hardlabel.signals.starts import STARTS
from hardlabel.signals.walk import COARSEST, Walk
from hardlabel.targets.torch import TorchModel

WIDE = Box(shape=(2,), lower=-4.0, upper=4.0)
# Distances are float32 and so are the points; a few roundings of the box's width can hide at the boundary.
ROUNDING = 1e-5

SEARCHES = {"hopskipjump": hop_skip_jump, "geoda": geoda}


@pytest.fixture(params=SEARCHES, scope="module")
def named(request):
    """A search's name: each keeps all promises."""
    return request.param


@pytest.fixture(scope="module")
def search_for(named):
    return SEARCHES[named]


class HalfSpace:
    """Class 1 where w.x + b > 0, in float64, so that an answer depends on its row alone."""

    def __init__(self, w, b=0.0):
        self.w, self.b = w.double().flatten(), b

    def margin(self, inputs):
        return (inputs.flatten(1).double() * self.w).sum(1) + self.b

    def ask(self, inputs, ids):
        return (self.margin(inputs) > 0).long()

    def distance(self, inputs):
        return (self.margin(inputs).abs() / self.w.norm()).float()


class Ball:
    """Class 1 inside the ball of radius `radius` around 0."""

    def __init__(self, radius):
        self.radius = radius

    def ask(self, inputs, ids):
        return (inputs.flatten(1).double().square().sum(1) < self.radius**2).long()


class Constant:
    def ask(self, inputs, ids):
        return torch.zeros(len(inputs), dtype=torch.int64)


class Strict:
    """Refuses illegal inputs and anything but float32."""

    def __init__(self, inner, domain):
        self.inner, self.domain = inner, domain

    def ask(self, inputs, ids):
        assert inputs.dtype == torch.float32
        assert float(inputs.min()) >= self.domain.lower
        assert float(inputs.max()) <= self.domain.upper
        return self.inner.ask(inputs, ids)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labelled(oracle, inputs, domain):
    """Samples whose true label is the oracle's."""
    ids = torch.arange(len(inputs)) * 7 + 3
    return Samples(ids=ids, inputs=inputs, labels=oracle.ask(inputs, ids), domain=domain)


def half_space_game(shape, count=30):
    """A half-space through the middle of the box, samples near enough that no wall is in the way."""
    oracle = HalfSpace(normal(*shape, seed=1))
    domain = Box(shape=shape, lower=-4.0, upper=4.0)
    return oracle, labelled(oracle, 0.3 * normal(count, *shape, seed=2), domain)


def bent_game(count=40, shape=(3, 4, 4)):
    """A small random network on images: many classes, bent boundaries, float64, so rows are answered alike."""
    width = math.prod(shape)
    first, last = normal(width, 12, seed=3).double(), normal(12, 5, seed=4).double()

    class Network:
        def ask(self, inputs, ids):
            # Summed row by row: a matrix product would round differently from batch to batch.
            rows = inputs.flatten(1).double() - 0.5
            hidden = torch.tanh((rows[:, :, None] * first).sum(1))
            return (hidden[:, :, None] * last).sum(1).argmax(1)

    oracle = Network()
    inputs = torch.rand(count, *shape, generator=torch.Generator().manual_seed(5))
    return oracle, labelled(oracle, inputs, Box(shape=shape))


def assert_same(one, other):
    for name, first, second in zip(one._fields, one, other, strict=True):
        assert torch.equal(first, second), name


# In a flat world n queries leave the estimated normal at a cosine of about sqrt(n / (n + pi/2 d)): each answer
# is worth 2/pi of a real number. The distance found is the true one over that cosine. About a fifth of
# the queries goes into steps and bisection, and samples scatter: half the queries are allowed for. In two dimensions
# that is less than the error at which GeoDA stops turning.
@pytest.mark.parametrize("shape", [(2,), (50,), (3, 8, 8)])
def test_distance_to_a_half_space_is_reached_from_above(search_for, shape):
    queries, width = 2500, math.prod(shape)
    oracle, samples = half_space_game(shape)
    search = search_for(oracle, samples, queries=queries, seed=0)
    true = oracle.distance(samples.inputs)
    assert search.found.all()
    assert (search.distances >= true - ROUNDING).all()
    worst = math.sqrt(1 + math.pi / 2 * width / (queries / 2))
    assert float((search.distances / true).median()) <= worst * (1 + COARSEST)
    # Single samples differ by how their bisections end: relative tolerance 1 % at most, and the start's luck.
    assert float((search.distances / true).max()) <= 1.15 * worst


def test_distance_is_the_logit_of_a_logistic_regression_over_its_norm(search_for):
    regression = nn.Linear(10, 1)
    w = normal(10, seed=8)
    oracle = HalfSpace(w, b=0.25)
    samples = labelled(oracle, 0.3 * normal(50, 10, seed=9), Box(shape=(10,), lower=-4.0, upper=4.0))
    with torch.no_grad():
        regression.weight.copy_(w[None])
        regression.bias.fill_(0.25)
        confidence = regression(samples.inputs).double().sigmoid()[:, 0]
    search = search_for(oracle, samples, queries=2500, seed=0)
    logit = torch.where(samples.labels == 1, 1, -1) * confidence.logit()
    # Same bound as for the half-space, d = 10: a hundredth.
    worst = math.sqrt(1 + math.pi / 2 * 10 / 1250)
    ratio = search.distances * w.norm() / logit
    assert float(ratio.min()) >= 1 - 1e-3  # The confidence is float32 and its logit looks at 1 - p.
    assert float(ratio.median()) <= worst
    ranks = [np.argsort(np.argsort(values.numpy())) for values in (search.distances, confidence.logit().abs())]
    assert np.corrcoef(*ranks)[0, 1] > 0.99


@pytest.mark.parametrize("width", [2, 20])
def test_distance_to_a_sphere_from_inside_is_the_gap_to_its_radius(search_for, width):
    oracle, domain = Ball(1.5), Box(shape=(width,), lower=-4.0, upper=4.0)
    directions = normal(20, width, seed=6)
    inputs = directions / directions.norm(dim=1, keepdim=True) * torch.linspace(0.5, 1.4, 20)[:, None]
    samples = labelled(oracle, inputs, domain)
    search = search_for(oracle, samples, queries=2500, seed=0)
    true = 1.5 - l2(inputs)
    assert (search.distances >= true - ROUNDING).all()
    # Towards a direction that errs by an angle a the way is longer by a share of (r / R) a^2 / 2, in a flat world
    # by a^2 / 2. But the normal there errs only by (r / R) a, so that the same queries leave a R / r times larger.
    flat = math.sqrt(1 + math.pi / 2 * width / 1250) - 1
    excess = (search.distances / true - 1) * l2(inputs) / 1.5
    assert float(excess.median()) <= flat


def test_the_distance_belongs_to_a_point_the_oracle_labels_otherwise(search_for):
    oracle, samples = bent_game()
    search = search_for(oracle, samples, queries=300, seed=0)
    assert search.found.all()
    assert (oracle.ask(search.points, samples.ids) != samples.labels).all()
    assert torch.equal(search.distances, l2(search.points - samples.inputs))


def test_every_point_asked_about_was_a_query_including_the_one_returned(search_for):
    oracle, samples = bent_game(count=6)
    asked = []

    class Remembering:
        def ask(self, inputs, ids):
            asked.append((inputs.clone(), ids.clone()))
            return oracle.ask(inputs, ids)

    search = search_for(Remembering(), samples, queries=200, seed=0)
    inputs, ids = (torch.cat(parts) for parts in zip(*asked, strict=True))
    for i in range(len(samples)):
        mine = inputs[ids == samples.ids[i]]
        assert len(mine) == search.queries[i]
        assert torch.equal(mine[0], samples.inputs[i])
        assert (mine == search.points[i]).flatten(1).all(1).any()


def test_a_misclassified_sample_is_at_distance_0_for_one_query(named):
    oracle, samples = half_space_game((2,))
    wrong = samples.relabelled(1 - samples.labels)
    measured = Boundary(search=named, queries=100).prepare(wrong, Knowledge(), 0).measure(oracle)
    assert (measured.values == 0).all()
    assert (measured.queries == 1).all()
    assert measured.complete.all()


def test_without_a_boundary_the_bound_is_the_farthest_corner_and_the_cost_is_small(named):
    samples = labelled(Constant(), torch.tensor([[-4.0, 3.0], [0.0, 0.0]]), WIDE)
    measured = Boundary(search=named, queries=2500).prepare(samples, Knowledge(), 0).measure(Constant())
    assert not measured.complete.any()
    np.testing.assert_allclose(measured.values[:, 0], [math.hypot(8, 7), math.hypot(4, 4)], rtol=1e-6)
    assert (measured.queries == 1 + STARTS).all()


def test_a_start_comes_from_the_population_where_random_points_keep_the_label(search_for):
    # The other class is a ball so small that random points in ten dimensions miss it.
    domain = Box(shape=(10,), lower=-4.0, upper=4.0)

    class Island:
        def ask(self, inputs, ids):
            return ((inputs.double() - 2).square().sum(1) < 0.25).long()

    samples = labelled(Island(), 0.1 * normal(5, 10), domain)
    known = labelled(Island(), torch.cat([torch.full((1, 10), 2.0), 0.1 * normal(20, 10, seed=1)]), domain)
    assert not search_for(Island(), samples, queries=500, seed=0).found.any()
    search = search_for(Island(), samples, queries=500, seed=0, population=known)
    assert search.found.all()
    true = l2(samples.inputs - 2) - 0.5
    assert (search.distances >= true - ROUNDING).all()
    # The straight line to the island's centre is already the nearest way, up to the polished tolerance.
    assert (search.distances <= true * 1.01).all()


def test_a_constant_column_leaves_the_population_its_use(search_for):
    # As above, in a table whose last column never varies: the nearest starts are the same.
    varying = [Numeric(name=f"x{i}", mean=0.0, scale=1.0, lower=-4.0, upper=4.0) for i in range(10)]
    domain = MixedTable((*varying, Numeric(name="constant", mean=7.0, scale=1.0, lower=7.0, upper=7.0)))

    class Island:
        def ask(self, inputs, ids):
            return ((inputs[:, :10].double() - 2).square().sum(1) < 0.25).long()

    def rows(points):
        return torch.cat([points, torch.zeros(len(points), 1)], 1)

    samples = labelled(Island(), rows(0.1 * normal(5, 10)), domain)
    known = labelled(Island(), rows(torch.cat([torch.full((1, 10), 2.0), 0.1 * normal(20, 10, seed=1)])), domain)
    assert search_for(Island(), samples, queries=500, seed=0, population=known).found.all()


def test_population_points_of_the_samples_own_class_do_not_serve_as_starts(search_for):
    oracle, samples = half_space_game((2,))
    same = labelled(oracle, samples.inputs[samples.labels == 1], samples.domain)
    ones = samples.take(samples.labels == 1)
    assert_same(
        search_for(oracle, ones, queries=100, seed=0, population=same),
        search_for(oracle, ones, queries=100, seed=0),
    )


@pytest.mark.parametrize("queries", [MINIMUM_QUERIES, 26, 40, 64, 100, 150, 251, 700])
@pytest.mark.parametrize("populated", [False, True])
def test_no_budget_is_exceeded_and_the_queries_reported_are_those_charged(named, queries, populated):
    oracle, samples = bent_game(count=12)
    population = bent_game(count=30)[1].take(slice(12, 30)) if populated else None
    account = Account(per_sample=queries)
    plan = Boundary(search=named, queries=queries).prepare(samples, Knowledge(population=population), 0)
    measured = plan.measure(ChargedLabels(oracle, account))
    assert torch.equal(measured.queries, account.spent(samples.ids))
    assert account.total == int(measured.queries.sum())
    fewest, most = plan.queries
    assert most == queries
    assert (measured.queries >= fewest).all()
    assert measured.complete.all()


@pytest.mark.parametrize("queries", [40, 47, 54])
def test_no_budget_is_exceeded_where_every_step_misses(named, queries):
    # The other class is a speck: whatever step leaves it finds the true label again, so that all halvings are tried.
    domain = Box(shape=(10,), lower=-4.0, upper=4.0)

    class Speck:
        def ask(self, inputs, ids):
            return ((inputs.double() - 2).abs().sum(1) < 1e-6).long()

    known = labelled(Speck(), torch.full((1, 10), 2.0), domain)
    samples = labelled(Speck(), 0.1 * normal(5, 10), domain)
    account = Account(per_sample=queries)
    plan = Boundary(search=named, queries=queries).prepare(samples, Knowledge(population=known), 0)
    measured = plan.measure(ChargedLabels(Speck(), account))
    assert (account.spent(samples.ids) <= queries).all()
    np.testing.assert_allclose(measured.values[:, 0], l2(samples.inputs - 2), rtol=1e-5)


def test_the_smallest_budget_bisects_to_a_hundredth_in_one_dimension(search_for):
    # 1 query for the sample, 10 for starts, a halving for each bit: 14 queries cut a way of 4 to 0.0003.
    oracle = HalfSpace(torch.ones(1), b=-0.5)
    samples = labelled(oracle, torch.linspace(-0.5, 0.3, 9)[:, None], Box(shape=(1,), lower=-4.0, upper=4.0))
    search = search_for(oracle, samples, queries=MINIMUM_QUERIES, seed=0)
    assert (search.distances <= 1.01 * oracle.distance(samples.inputs)).all()


@settings(max_examples=15, deadline=None)
@given(queries=st.integers(MINIMUM_QUERIES, 400), width=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_any_budget_width_and_seed_gives_a_legal_upper_bound_within_budget(search_for, queries, width, seed):
    oracle, samples = half_space_game((width,), count=4)
    account = Account(per_sample=queries)
    strict = Strict(ChargedLabels(oracle, account), samples.domain)
    search = search_for(strict, samples, queries=queries, seed=seed)
    assert (search.distances >= oracle.distance(samples.inputs) - ROUNDING).all()
    assert torch.isfinite(search.distances).all()


def test_no_query_leaves_the_box_even_from_its_corners(search_for):
    oracle, samples = bent_game()
    corners = labelled(oracle, samples.inputs.round(), samples.domain)
    search = search_for(Strict(oracle, samples.domain), corners, queries=200, seed=0)
    assert search.found.all()


def test_what_lies_outside_the_box_by_rounding_is_asked_inside_it_and_not_changed(search_for):
    oracle, samples = bent_game()
    outside = labelled(oracle, samples.inputs.round() * (1 + LEGAL_SLACK / 2), samples.domain)
    assert float(outside.inputs.max()) > samples.domain.upper
    before = outside.inputs.clone()
    strict = Strict(oracle, samples.domain)
    search = search_for(strict, outside.take(slice(0, 30)), queries=200, seed=0, population=outside.take(slice(30, 40)))
    assert search.found.all()
    assert torch.equal(outside.inputs, before)


@pytest.mark.parametrize("populated", [False, True])
def test_a_samples_search_does_not_depend_on_company_or_order(search_for, populated):
    oracle, samples = bent_game(count=60)
    samples, population = samples.take(slice(0, 40)), samples.take(slice(40, 60)) if populated else None

    def search(part):
        return search_for(oracle, part, queries=230, seed=0, population=population)

    together = search(samples)
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert_same(search(samples.take(shuffled)), type(together)(*(part[shuffled] for part in together)))
    for i in (0, 7, 39):
        alone = torch.tensor([i])
        assert_same(search(samples.take(alone)), type(together)(*(part[alone] for part in together)))


def test_a_search_does_not_depend_on_the_size_of_blocks(search_for, monkeypatch):
    oracle, samples = bent_game(count=10)
    whole = search_for(oracle, samples, queries=230, seed=0)
    monkeypatch.setattr(base, "VALUES_IN_MEMORY", 3 * probes.BLOCK * 48)  # Blocks of three samples.
    assert_same(search_for(oracle, samples, queries=230, seed=0), whole)


def test_no_oracle_is_asked_about_nothing(search_for, monkeypatch):
    """Samples with fewer queries left take fewer probes: theirs may all lie in earlier blocks."""
    oracle, samples = bent_game(count=10)
    asked = []

    class Counting:
        def ask(self, inputs, ids):
            asked.append(len(inputs))
            return oracle.ask(inputs, ids)

    monkeypatch.setattr(probes, "BLOCK", 16)
    monkeypatch.setattr(base, "VALUES_IN_MEMORY", probes.BLOCK * 48)  # Blocks of one sample.
    search_for(Counting(), samples, queries=230, seed=0)
    assert min(asked) > 0


def walk_from(inputs, oracle, domain, queries=2500):
    return Walk(oracle, labelled(oracle, inputs, domain), queries=queries, seed=0)


def directions(shape, count, sides=None):
    walk = walk_from(torch.zeros(1, *shape), Constant(), Box(shape=shape))
    blocks = probes.smooth(walk, count, 1, sides=sides) if sides else probes.gaussian(walk, count, 1)
    return torch.cat([block for _, block in blocks])


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((1,), None), ((3,), None), ((50,), None), ((1, 8, 8), (6, 7)), ((3, 5, 9), (1, 2)), ((2, 4, 4), (4, 4))],
    ids=str,
)
def test_direction_k_is_the_same_however_many_are_drawn_and_sums_are_exact(shape, sides):
    many, few = directions(shape, 700, sides), directions(shape, 131, sides)
    assert few.dtype == torch.float32
    assert torch.equal(few, many[:131])
    signs = normal(5, 700).sign()
    assert torch.equal((signs @ many).double(), signs.double() @ many.double())
    # Gaussian: mean 0 and variance 1 over all coordinates, within four standard errors of as many draws as there are
    # free ones.
    draws = 700 * (shape[0] * math.prod(sides) if sides else math.prod(shape))
    spread = (math.prod(shape) * 700 / draws) ** 0.5  # Draws of few frequencies count in many coordinates at once.
    assert abs(float(many.mean())) <= 4 * spread / draws**0.5
    assert abs(float(many.square().mean()) - 1) <= 4 * (2 / draws) ** 0.5


@pytest.mark.parametrize(("shape", "sides"), [((3, 32, 32), (8, 9)), ((1, 8, 6), (6, 6))], ids=str)
def test_smooth_directions_hold_the_lowest_frequencies_only(shape, sides):
    images = directions(shape, 20, sides).reshape(20, *shape)
    waves = scipy.fft.dctn(images.double().numpy(), axes=(2, 3), norm="ortho")
    # Rounding to a grid adds at most half a grid step to each coordinate, and the transform keeps lengths.
    most = np.square(waves).sum((1, 2, 3))
    waves[:, :, : sides[0], : sides[1]] = 0
    assert (np.square(waves).sum((1, 2, 3)) <= math.prod(shape) / (2 * probes.GRID) ** 2).all()
    assert (most > 0).all()


def test_geoda_starts_with_a_quarter_of_the_frequencies_and_ends_with_all():
    assert [_frequencies(32, step) for step in (1, 2, 3, 48, 49, 1000)] == [8, 8, 9, 31, 32, 32]
    assert [_frequencies(length, 1) for length in (4, 6, 8, 28)] == [4, 6, 6, 7]


@pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
def test_one_turn_towards_the_true_normal_of_a_half_space_ends_at_its_distance(shape):
    oracle, samples = half_space_game(shape)
    walk = walk_from(samples.inputs, oracle, samples.domain)
    walk.start(None)
    walk.bisect(walk.searching, walk.tolerance)
    before, spent, rows = walk.distance.clone(), walk.spent.clone(), walk.searching
    out = oracle.w.float() * torch.where(samples.labels == 1, -1, 1)[:, None]
    _turn(walk, rows, -out[rows])
    # The wrong way: nothing is lost, and nothing nearer there but what bisection left beyond the boundary.
    assert (walk.distance <= before).all()
    assert (walk.distance >= before * (1 - 2 * walk.tolerance)).all()
    _turn(walk, rows, out[rows])
    assert int((walk.spent - spent).max()) <= 2 * ANGLES
    # The last angle differs from the true one by 2^-ANGLES of a share s at most, whose tangent t is s / (1 - s): by
    # that times (1 + t)^2 in t, and the distance by t / (1 + t^2) of this; or what was left to gain was below the
    # tolerance, which also is where the way ended that was turned.
    true = oracle.distance(samples.inputs)
    t = ((before / true).square() - 1).clamp(min=0).sqrt()  # The tangent of the angle between way and normal.
    error = (t * (1 + t).square() / (1 + t.square()) / 2**ANGLES).clamp(min=walk.tolerance)
    ratio = walk.distance / true
    assert float(ratio.min()) >= 1 - ROUNDING
    assert (ratio <= (1 + error) * (1 + walk.tolerance) + ROUNDING).all()


def test_geoda_comes_nearer_on_images_where_the_boundary_is_smooth():
    """A half-space whose normal is made of the 64 lowest frequencies: so many dimensions instead of 1,024."""
    low = normal(8, 8, seed=1)
    w = torch.from_numpy(scipy.fft.idctn(np.pad(low.numpy(), (0, 24)), norm="ortho"))
    oracle, domain = HalfSpace(w), Box(shape=(1, 32, 32), lower=-4.0, upper=4.0)
    samples = labelled(oracle, 0.3 * normal(20, 1, 32, 32, seed=2), domain)
    true = oracle.distance(samples.inputs)
    near, far = (search(oracle, samples, queries=400, seed=0).distances / true for search in (geoda, hop_skip_jump))
    assert float(near.min()) >= 1 - ROUNDING
    # As above, with half the queries allowed for.
    assert float(near.median()) <= math.sqrt(1 + math.pi / 2 * 64 / 200)
    assert float(far.median()) > 1.5 * float(near.median())


def test_a_seed_fixes_the_search_and_another_gives_another(search_for):
    oracle, samples = bent_game(count=10)
    first, again, other = (search_for(oracle, samples, queries=150, seed=seed) for seed in (4, 4, 5))
    assert_same(first, again)
    assert not torch.equal(first.distances, other.distances)


def test_combined_columns_are_the_searches_of_the_moved_images(named):
    oracle, samples = bent_game(count=10)
    moves = (STILL, Move(right=1), Move(degrees=8.0), Move(flip=True))
    plan = Boundary(search=named, queries=401, copies=moves).prepare(samples, Knowledge(), 3)
    measured = plan.measure(oracle)
    assert plan.queries == (4, 400)
    assert measured.values.shape == (10, 4)
    queries = torch.zeros(10, dtype=torch.int64)
    for column, move in enumerate(moves):
        inputs = augment.apply(move, samples.inputs, fill=0.0).clamp(0, 1)
        moved = Samples(ids=samples.ids, inputs=inputs, labels=samples.labels, domain=samples.domain)
        alone = Boundary(search=named, queries=100).prepare(moved, Knowledge(), 3).measure(oracle)
        assert torch.equal(measured.values[:, column], alone.values[:, 0])
        queries += alone.queries
    assert torch.equal(measured.queries, queries)


def test_a_sample_is_complete_only_if_every_copy_is(named):
    image = torch.arange(4.0).reshape(1, 1, 2, 2) / 4

    class Mirror:
        """Knows the mirror image only, which no random start hits."""

        def ask(self, inputs, ids):
            return (inputs == image.flip(-1)).flatten(1).all(1).long()

    samples = labelled(Mirror(), image, Box(shape=(1, 2, 2)))
    plan = Boundary(search=named, queries=100, copies=(STILL, Move(flip=True))).prepare(samples, Knowledge(), 0)
    measured = plan.measure(Mirror())
    assert measured.values[0, 1] == 0
    assert not measured.complete[0]


def test_more_queries_find_nearer_points_on_average(search_for):
    oracle, samples = bent_game()
    means = [
        float(search_for(oracle, samples, queries=queries, seed=0).distances.mean())
        for queries in (MINIMUM_QUERIES, 100, 400, 1600)
    ]
    assert means == sorted(means, reverse=True)


def test_a_network_gives_the_same_distances_at_batch_1_and_200(search_for):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    inputs = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network[-1].bias -= network(inputs).mean(0)  # So that several classes occur.
    one, many = (TorchModel(network, device="cpu", batch_size=size) for size in (1, 200))
    samples = labelled(many, inputs, Box(shape=(1, 8, 8)))
    first, second = (search_for(oracle, samples, queries=150, seed=0) for oracle in (one, many))
    assert second.found.float().mean() > 0.5
    close = (first.distances - second.distances).abs() <= 1e-4
    assert float(close.float().mean()) >= 0.95


def test_a_domain_without_points_between_is_refused():
    domain = BinaryFeatures(features=3)
    samples = labelled(Constant(), torch.zeros(2, 3), domain)
    with pytest.raises(InvalidInput, match=r"boundary signal needs a continuous domain .* got a binary one"):
        Boundary().prepare(samples, Knowledge(), 0)


def test_moves_of_what_is_no_image_are_refused():
    samples = labelled(Constant(), torch.zeros(2, 2), WIDE)
    with pytest.raises(InvalidInput, match="can move images only, got a continuous domain"):
        Boundary(copies=(STILL, Move(flip=True))).prepare(samples, Knowledge(), 0)


def test_a_population_of_another_domain_is_refused():
    samples = labelled(Constant(), torch.zeros(2, 2), WIDE)
    other = labelled(Constant(), torch.zeros(2, 3), Box(shape=(3,)))
    with pytest.raises(InvalidInput, match="population must share the samples' domain"):
        Boundary().prepare(samples, Knowledge(population=other), 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"queries": MINIMUM_QUERIES - 1}, f"queries must be at least {MINIMUM_QUERIES}, got 24"),
        ({"queries": 49, "copies": (STILL, Move(flip=True))}, "queries must be at least 50, got 49"),
        ({"copies": ()}, "copies must list distinct moves"),
        ({"copies": (STILL, STILL)}, "copies must list distinct moves"),
        ({"search": "geodo"}, "search 'geodo' is unknown: did you mean 'geoda'"),
    ],
)
def test_settings_that_break_a_rule_are_refused(wrong, message):
    with pytest.raises(InvalidInput, match=message):
        Boundary(**wrong)

"""Features are their parts side by side, for one question about the sample itself; shares are means of bits."""

import math
from statistics import NormalDist
from typing import ClassVar

import pytest
import torch

from games import HalfSpace, random_samples, samples_of
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.augment import Move
from hardlabel.data.domain import BinaryFeatures, Box, NoiseLevel
from hardlabel.data.table import Categorical, MixedTable, Numeric
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals import base
from hardlabel.signals.augmentation import Augmentation
from hardlabel.signals.base import Access, Knowledge, Measurement, keeps_label
from hardlabel.signals.features import Features, copies_beside, parts_for
from hardlabel.signals.gap import Gap
from hardlabel.signals.label_survival import Kept
from hardlabel.signals.noise import Noise
from hardlabel.signals.path import Path
from hardlabel.signals.shares import Shares

NOTHING = Knowledge()
IMAGES, VECTORS, BITS = Box((1, 6, 6)), Box((4,), -1.0, 1.0), BinaryFeatures(10)
TABLE = MixedTable(
    (
        Numeric(name="age", mean=40, scale=10, lower=0, upper=90, integer=True),
        Numeric(name="pay", mean=3, scale=1, lower=0, upper=9),
        Categorical(name="job", categories=("a", "b", "c")),
    )
)
WEAK, STRONG = NoiseLevel(sigma=0.2, flip=0.05), NoiseLevel(sigma=0.8, flip=0.3)


def charged(oracle, most):
    account = Account(per_sample=most)
    return ChargedLabels(oracle, account), account


def measured(signal, oracle, samples, seed=0):
    """The measurement, after a check that announced, charged and reported cost agree."""
    plan = signal.prepare(samples, NOTHING, seed)
    oracle, account = charged(oracle, plan.queries[1])
    found = plan.measure(oracle)
    assert found.queries.tolist() == account.spent(samples.ids).tolist()
    assert plan.queries[0] <= int(found.queries.min())
    assert int(found.queries.max()) <= plan.queries[1]
    return found


def half_space(domain):
    return HalfSpace(domain, torch.linspace(-1, 1, math.prod(domain.shape)), 0.1)


class Foreign:
    """Someone else's signal: an interval around the sample's first value, after one question or two."""

    access: ClassVar = Access.LABEL
    censored: ClassVar = True

    def __init__(self, *, plan=None, twice=False, edges=(-math.inf, math.inf), complete=True):
        self.plan, self.twice, self.edges, self.complete = plan or ForeignPlan, twice, edges, complete

    def prepare(self, samples, knowledge, seed):
        return self.plan(self, samples)


class ForeignPlan:
    def __init__(self, signal, samples):
        self.signal, self.samples, self.queries = signal, samples, (1 + signal.twice, 1 + signal.twice)

    def measure(self, oracle):
        for _ in range(self.queries[0]):
            right = keeps_label(oracle, self.samples.inputs[:, None], self.samples)
        edges = torch.tensor(self.signal.edges).expand(len(self.samples), 2)
        values = torch.where(right, torch.stack([edges[:, 0], torch.full((len(edges),), 2.5)], 1), edges)
        return Measurement(
            values,
            torch.full((len(self.samples),), self.queries[0]),
            torch.full((len(self.samples),), self.signal.complete),
        )


@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_a_share_of_noisy_copies_is_the_closed_form_of_a_half_space(sigma):
    domain, w, margins = Box((3,), -100.0, 100.0), torch.tensor([2.0, -1.0, 2.0]), torch.tensor([-0.7, 0.7])
    signal = Shares(levels=(NoiseLevel(sigma=0.1), NoiseLevel(sigma=sigma)), draws=20_000)
    samples = samples_of(domain, w[None] / 3 * margins[:, None], 1)
    found = measured(signal, HalfSpace(domain, w, 0.0), samples)
    truth = torch.tensor([NormalDist().cdf(float(m) / sigma) for m in margins])
    torch.testing.assert_close(found.values[:, 1], truth, rtol=0, atol=4 * 0.5 / math.sqrt(signal.draws))


def test_all_levels_see_the_same_draws():
    """Along one axis a stronger level then loses every label that a weaker one loses, draw by draw."""
    domain = Box((1,), -100.0, 100.0)
    samples = samples_of(domain, torch.linspace(0.01, 3, 60)[:, None], 1)
    signal = Shares(levels=tuple(NoiseLevel(sigma=s) for s in (1.0, 1.01, 1.02, 1.03)), draws=40)
    values = measured(signal, HalfSpace(domain, torch.ones(1), 0.0), samples).values
    assert bool((values.diff(dim=1) <= 0).all())
    assert bool((values[:, 0] > values[:, 3]).any())


def test_a_share_of_moved_copies_is_the_mean_of_their_bits():
    samples, oracle = random_samples(IMAGES, 40, classes=2), half_space(IMAGES)
    groups = (augment.translations(1)[1:], augment.flips()[1:], (Move(degrees=8.0), Move(degrees=-8.0, right=1)))
    shares = measured(Shares(moves=groups, levels=(STRONG,), draws=3), oracle, samples)
    for column, moves in enumerate(groups):
        bits = measured(Augmentation(name="bits", moves=moves), oracle, samples).values
        assert torch.equal(shares.values[:, column], bits.mean(1))
    assert shares.queries.tolist() == [4 + 1 + 2 + 3] * 40
    assert 0 < float(shares.values[:, 0].mean()) < 1


@pytest.mark.parametrize("domain", [VECTORS, BITS], ids=str)
def test_only_images_can_be_moved(domain):
    with pytest.raises(InvalidInput, match="moves need images"):
        Shares(moves=(augment.flips(),)).prepare(random_samples(domain, 2, classes=2), NOTHING, 0)


def test_kept_copies_are_counted_one_by_one():
    groups = (augment.flips()[1:], augment.translations(1)[1:])
    # Black images stay black: all copies of one keep its label, none of the other's.
    inputs = torch.cat([IMAGES.random(40, torch.Generator().manual_seed(0)), torch.zeros(2, *IMAGES.shape)])
    samples, oracle = samples_of(IMAGES, inputs, torch.arange(42) % 2), half_space(IMAGES)
    found = measured(Kept(moves=groups), oracle, samples)
    assert found.queries.tolist() == [5] * 42
    seen = set()
    for row, edges in enumerate(found.values.tolist()):
        for place, group in enumerate(groups):
            count = 0
            for move in group:
                copy = augment.apply(move, samples.inputs[row : row + 1], fill=0.0)
                count += int(oracle.ask(copy, samples.ids[:1])) == int(samples.labels[row])
            lower, upper = edges[2 * place : 2 * place + 2]
            assert lower == (count - 0.5 if count > 0 else -math.inf)
            assert upper == (count + 0.5 if count < len(group) else math.inf)
            seen.add((place, count))
    assert {(0, 0), (0, 1), (1, 0), (1, 4)} <= seen


@pytest.mark.parametrize("moves", [(), ((),)])
def test_kept_copies_need_groups_of_moves_and_images(moves):
    with pytest.raises(InvalidInput, match="moves must name groups of at least one copy"):
        Kept(moves=moves)
    with pytest.raises(InvalidInput, match="moves need images"):
        Kept(moves=(augment.flips(),)).prepare(random_samples(VECTORS, 2, classes=2), NOTHING, 0)


@pytest.mark.parametrize(
    ("queries", "asked", "routes", "informed"),
    [(6, 1, 2, True), (10, 5, 2, True), (13, 8, 2, True), (14, 9, 2, False), (17, 9, 2, False), (18, 13, 3, False)],
)
def test_copies_stand_beside_as_many_paths_as_queries_allow(queries, asked, routes, informed):
    path, kept = copies_beside(queries).parts
    assert (path.queries, len(path.routes), path.informed) == (asked, routes, informed)
    assert [len(group) for group in kept.moves] == [1, 4]


PARTS = {
    "image": (
        Gap(),
        Shares(moves=(augment.flips(),), levels=(WEAK, STRONG), draws=3),
        Noise(level=STRONG, draws=4),
        Augmentation(name="with the image", moves=augment.translations(1)[::-1]),
        Augmentation(name="without it", moves=augment.translations(1)[1:]),
    ),
    "continuous": (Noise(level=WEAK, draws=4), Noise(level=STRONG, draws=4), Gap()),
    "binary": (Gap(), Noise(level=WEAK, draws=6), Shares(levels=(WEAK, STRONG), draws=5), Noise(level=STRONG, draws=2)),
}
CASES = [IMAGES, VECTORS, BITS]


@pytest.mark.parametrize("domain", CASES, ids=str)
def test_features_are_their_parts_measured_alone_side_by_side(domain):
    samples, oracle, parts = random_samples(domain, 30, classes=2), half_space(domain), PARTS[domain.kind]
    together = measured(Features(parts=parts), oracle, samples, seed=3)
    alone = [measured(part, oracle, samples, seed=3) for part in parts]
    assert torch.equal(together.values, torch.cat([one.values for one in alone], 1))
    # Three parts ask about the sample itself, and two are told.
    assert together.queries.tolist() == (sum(one.queries for one in alone) - 2).tolist()
    announced = [part.prepare(samples, NOTHING, 3).queries for part in parts]
    together = Features(parts=parts).prepare(samples, NOTHING, 3).queries
    assert together == (sum(fewest for fewest, _ in announced) - 2, sum(most for _, most in announced) - 2)


@pytest.mark.parametrize("domain", CASES, ids=str)
def test_neither_order_nor_company_nor_blocks_change_features(domain, monkeypatch):
    samples, oracle, signal = (
        random_samples(domain, 9, classes=2),
        half_space(domain),
        Features(parts=PARTS[domain.kind]),
    )
    found = measured(signal, oracle, samples, seed=5)
    order = torch.tensor([3, 1, 8, 0, 2, 7, 4, 6, 5])
    monkeypatch.setattr(base, "VALUES_IN_MEMORY", 2 * math.prod(domain.shape))  # Blocks of one or two rows.
    again = measured(signal, oracle, samples.take(order), seed=5)
    assert torch.equal(again.values, found.values[order])
    assert torch.equal(again.queries, found.queries[order])
    alone = measured(signal, oracle, samples.take(slice(4, 5)), seed=5)
    assert torch.equal(alone.values, found.values[4:5])


@pytest.mark.parametrize("domain", CASES, ids=str)
def test_copies_that_noise_or_moves_left_alone_cost_what_they_cost_alone(domain):
    """Then the announced cost holds whatever the points: here every copy, of one sample at least, equals it."""
    inputs = torch.cat([torch.zeros(1, *domain.shape), domain.random(5, torch.Generator())])
    parts = tuple(
        Noise(level=NoiseLevel(), draws=3) if isinstance(part, Noise) else part for part in PARTS[domain.kind]
    )
    samples = samples_of(domain, inputs, half_space(domain).ask(inputs, torch.arange(6)))
    plan = Features(parts=parts).prepare(samples, NOTHING, 0)
    assert measured(Features(parts=parts), half_space(domain), samples).queries.tolist() == [plan.queries[1]] * 6


def test_the_sample_itself_is_sent_once_and_told_to_later_parts():
    samples, oracle = random_samples(VECTORS, 7, classes=2), half_space(VECTORS)
    found = measured(Features(parts=(Gap(), Gap(), Gap())), oracle, samples)
    assert oracle.calls == [7]
    assert found.queries.tolist() == [1] * 7
    right = (oracle.ask(samples.inputs, samples.ids) == samples.labels).float()
    assert torch.equal(found.values, right[:, None].repeat(1, 3))


def test_equal_points_of_two_samples_are_two_questions():
    samples = samples_of(VECTORS, torch.zeros(2, 4), torch.tensor([0, 1]), start=5)
    assert measured(Features(parts=(Gap(), Gap())), half_space(VECTORS), samples).queries.tolist() == [1, 1]


def test_a_question_under_another_id_is_never_told():
    class Asking(ForeignPlan):
        def measure(self, oracle):
            oracle.ask(self.samples.inputs, self.samples.ids + 100)
            return super().measure(oracle)

    samples = random_samples(VECTORS, 4, classes=2)
    oracle, account = charged(half_space(VECTORS), 2)
    Features(parts=(Gap(), Foreign(plan=Asking), Foreign(plan=Asking))).prepare(samples, NOTHING, 0).measure(oracle)
    assert account.spent(samples.ids + 100).tolist() == [2] * 4


def test_a_rounding_error_outside_the_box_is_still_one_point():
    """Samples may lie a hair outside; a part that clips its copies and one that does not must share the question."""
    samples = samples_of(IMAGES, torch.full((3, 1, 6, 6), 1.0 + 5e-7), 1)
    still = Augmentation(name="still", moves=augment.flips()[:1])
    assert measured(Features(parts=(Gap(), still)), half_space(IMAGES), samples).queries.tolist() == [1, 1, 1]


def test_overheads_go_past_the_memory():
    class Asking(ForeignPlan):
        def measure(self, oracle):
            oracle.aside("probe").ask(self.samples.inputs, self.samples.ids)
            return super().measure(oracle)

    samples = random_samples(VECTORS, 4, classes=2)
    oracle, account = charged(half_space(VECTORS), 1)
    Features(parts=(Gap(), Foreign(plan=Asking))).prepare(samples, NOTHING, 0).measure(oracle)
    assert dict(account.overhead) == {"probe": 4}


def test_endless_intervals_end_1_beyond_their_finite_edge():
    domain = Box((1,), -1.0, 1.0)
    samples = samples_of(domain, torch.tensor([[0.5], [-0.5]]), 1)
    oracle = HalfSpace(domain, torch.ones(1), 0.0)
    below = measured(Features(parts=(Foreign(edges=(-math.inf, -3.5)), Gap())), oracle, samples).values[:, :2]
    censored = measured(Features(parts=(Foreign(edges=(-math.inf, -3.5)),)), oracle, samples).values
    assert bool(censored[:, 0].isinf().all())  # Where all parts are censored, edges stay as they are.
    above = measured(Features(parts=(Gap(), Foreign(edges=(4.5, math.inf)))), oracle, samples).values
    assert below.tolist() == [[1.5, 2.5], [-4.5, -3.5]]
    assert above.tolist() == [[1.0, 4.5, 2.5], [0.0, 4.5, 5.5]]


def test_a_part_of_unknown_kind_costs_between_the_announced_bounds():
    samples, oracle = random_samples(VECTORS, 4, classes=2), half_space(VECTORS)
    for parts in ((Gap(), Foreign()), (Foreign(), Gap()), (Foreign(twice=True), Foreign(), Gap(), Foreign())):
        measured(Features(parts=parts), oracle, samples)


@pytest.mark.parametrize("complete", [True, False])
def test_features_are_complete_where_all_parts_are(complete):
    samples = random_samples(VECTORS, 4, classes=2)
    found = measured(Features(parts=(Gap(), Foreign(complete=complete), Gap())), half_space(VECTORS), samples)
    assert found.complete.tolist() == [complete] * 4


def test_no_part_or_no_group_is_refused():
    with pytest.raises(InvalidInput, match="parts must name at least one signal"):
        Features(parts=())
    with pytest.raises(InvalidInput, match="moves or levels must name"):
        Shares()
    with pytest.raises(InvalidInput, match="no empty group"):
        Shares(moves=((),))
    with pytest.raises(InvalidInput, match="draws must be at least 1, got 0"):
        Shares(levels=(WEAK,), draws=0)


def test_a_reader_is_told_the_parts():
    text = str(Features(parts=(Gap(), Shares(moves=(augment.flips()[1:],), levels=(NoiseLevel(sigma=0.1),), draws=8))))
    assert text == "label right?; shares of 1 moved copies and of 8 noisy copies at each of sigma 0.1"


@pytest.mark.parametrize("domain", [IMAGES, VECTORS, BITS, TABLE, BinaryFeatures(2)], ids=lambda domain: domain.kind)
def test_the_parts_for_a_budget_stay_within_it(domain):
    class Two(torch.nn.Module):
        def forward(self, inputs):
            score = inputs.flatten(1) @ torch.linspace(-1, 1, math.prod(domain.shape))
            return torch.stack([score, -score], 1)

    samples, knowledge = random_samples(domain, 6, classes=2), Knowledge(crafters=(Two(),))
    for budget in (5, 8, 9, 10, 20, 34, 50, 101):
        plan = Features(parts=parts_for(domain, budget)).prepare(samples, knowledge, 0)
        assert plan.queries[1] <= budget
        oracle, account = charged(half_space(domain), plan.queries[1])
        found = plan.measure(oracle)
        assert found.queries.tolist() == account.spent(samples.ids).tolist()
        assert plan.queries[0] <= int(found.queries.min())
        assert bool(found.values.isfinite().all()) or plan.signal.censored


def test_more_budget_buys_more_paths_then_shares():
    one, two = parts_for(IMAGES, 5), parts_for(IMAGES, 10)
    assert one == (Path(queries=5, routes=("others",), informed=False),)
    assert two == (Path(queries=9, routes=("others", "second"), informed=False),)
    path, shares = parts_for(IMAGES, 50)
    assert path == Path(queries=13, routes=("others", "second", "runner-up"), informed=False)
    assert parts_for(IMAGES, 13) == (path,)
    assert [len(group) for group in shares.moves] == [4, 8, 4, 1]
    assert (shares.draws, len(shares.levels)) == (6, 3)
    assert [len(parts_for(IMAGES, queries)) for queries in (35, 36)] == [1, 2]
    path, shares = parts_for(BITS, 50)
    assert shares == Shares(levels=BITS.noise_levels, draws=37 // len(BITS.noise_levels))
    assert len(parts_for(TABLE, 50)[1].levels) == 4
    with pytest.raises(InvalidInput, match="queries must be at least 5, got 4"):
        parts_for(IMAGES, 4)

"""Path positions are what closed forms and exhaustive scans say, at the announced cost."""

import itertools
import math
from statistics import NormalDist
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from games import Constant, HalfSpace, random_samples, samples_of
from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.table import MixedTable
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.signals import base
from hardlabel.signals.base import Knowledge, SequentialPlan
from hardlabel.signals.features import Features
from hardlabel.signals.label_survival import Kept
from hardlabel.signals.path import LEAST_INFORMATION, STRAY, Path
from hardlabel.signals.routes import lengths_of

IMAGES, VECTORS, BITS, FEW = Box((1, 6, 6)), Box((4,), -1.0, 1.0), BinaryFeatures(40), BinaryFeatures(5)
TABLE = MixedTable(
    (
        Numeric(name="age", mean=40.0, scale=8.0, lower=17, upper=90, integer=True),
        Numeric(name="income", mean=5.0, scale=2.0, lower=0.0, upper=50.0, missing=True),
        Categorical("colour", ("blue", "green", "red")),
        *(Categorical(f"flag {k}", ("no", "yes")) for k in range(8)),
    )
)
DOMAINS = {"images": IMAGES, "vectors": VECTORS, "bits": BITS, "few bits": FEW, "table": TABLE}
BOTH = ("others", "runner-up")


class Normals(NamedTuple):
    mean_in: Tensor
    deviation_in: Tensor
    mean_out: Tensor
    deviation_out: Tensor


def beliefs_of(count, *, routes=1, levels=23, seed=0):
    rng = randomness.generator(seed, "beliefs")
    # Every other sample's near the middle, where the sample itself is the question.
    spread = torch.tensor([1.0, 0.2], dtype=torch.float64).repeat(count)[:count, None]
    means = levels * (0.4 + spread * (torch.rand(2, count, routes, generator=rng, dtype=torch.float64) - 0.5))
    deviations = 0.5 + 3 * torch.rand(2, count, routes, generator=rng, dtype=torch.float64)
    return Normals(means[0], deviations[0], means[1], deviations[1])


def linear(w, b, third=None):
    """A crafter whose margin of class 1 against 0 is w.x + b, and whose third class, if any, has logit third.x."""
    crafter = nn.Sequential(nn.Flatten(), nn.Linear(len(w), 2 if third is None else 3))
    crafter[1].weight.data = torch.stack([-w / 2, w / 2] + [third] * (third is not None))
    crafter[1].bias.data = torch.tensor([-b / 2, b / 2] + [0.0] * (third is not None))
    return crafter


def game(domain, count=12, *, third=False):
    """Samples, some misclassified, a linear target and itself as crafter; with a third class the routes part."""
    width = math.prod(domain.shape)
    rng = randomness.generator(0, "w")
    w, aside = torch.randn(width, generator=rng), 0.5 * torch.randn(width, generator=rng)
    samples = random_samples(domain, count, classes=2)
    b = -float((samples.inputs.flatten(1) @ w).median())
    return samples, HalfSpace(domain, w, b), Knowledge(crafters=(linear(w, b, aside if third else None),))


def positions(values, total):
    low, high = values[:, 0::2].double(), values[:, 1::2].double()
    exact = torch.where(low.isinf(), high - 0.5, low + 0.5)
    assert bool(((high - low == 1) | ((low.isinf()) & (high == 0.5)) | (high.isinf() & (low == total - 0.5))).all())
    return exact.long()


def scanned(plan, oracle):
    """Levels that keep the label, all asked one by one, (n, routes), and whether a sample's label changes only once."""
    counts, once = [], torch.ones(len(plan.samples), dtype=torch.bool)
    for route in plan.routes:
        kept = []
        for level in range(plan.levels.total):
            rows = torch.arange(len(plan.samples))
            points = route.points(rows, torch.full_like(rows, level))
            kept.append(oracle.ask(points, plan.samples.ids) == plan.samples.labels)
        kept = torch.stack(kept, 1).long()
        once &= (kept.diff(dim=1) <= 0).all(1)
        counts.append(kept.sum(1))
    return torch.stack(counts, 1), once


def test_the_position_on_a_linear_model_counts_the_lengths_below_its_margin():
    """Each level moves straight against the margin, so it keeps the label while its length is below the margin."""
    domain, w = Box((4,), -100.0, 100.0), torch.tensor([1.0, -2.0, 0.5, 1.0])
    margins = torch.linspace(-5.0, 5.0, 41)[:, None]
    samples = samples_of(domain, margins * w / w.norm(), 1)
    oracle = HalfSpace(domain, w, 0.0)
    plan = Path(reach=0.02, informed=False).prepare(samples, Knowledge(crafters=(linear(w, 0.0),)), 0)
    found = positions(plan.measure(oracle).values, 23)
    lengths = lengths_of(domain, 0.02)
    assert float(lengths[-1]) == pytest.approx(4.0)
    assert found[:, 0].tolist() == (lengths < margins).sum(1).tolist()


@pytest.mark.parametrize("third", [False, True], ids=["one path", "two paths"])
@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_bisection_finds_what_a_scan_of_all_levels_finds(domain, third):
    samples, oracle, knowledge = game(domain, 40, third=third)
    plan = Path(routes=BOTH).prepare(samples, knowledge, 0)
    truth, once = scanned(plan, oracle)
    found = positions(plan.measure(oracle).values, plan.levels.total)
    assert int(once.sum()) == 40 if not third else int(once.sum()) >= 20
    assert torch.equal(found[once], truth[once])
    assert len(truth.unique()) > 3
    assert torch.equal(truth[:, 0], truth[:, 1]) == (not third)


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_a_misclassified_sample_lies_below_every_right_one(domain):
    samples, oracle, knowledge = game(domain, 40)
    plan = Path().prepare(samples, knowledge, 0)
    found = positions(plan.measure(oracle).values, plan.levels.total)[:, 0]
    right = oracle.ask(samples.inputs, samples.ids) == samples.labels
    assert 0 < int(right.sum()) < len(samples)
    assert int(found[~right].max()) <= plan.levels.backward < int(found[right].min())


@pytest.mark.parametrize(
    ("domain", "signal", "announced"),
    [
        (IMAGES, Path(), (4, 5)),
        (IMAGES, Path(routes=BOTH), (7, 9)),
        (BITS, Path(), (4, 5)),
        (FEW, Path(), (3, 4)),
        (TABLE, Path(), (4, 5)),
    ],
    ids=["images", "two routes", "bits", "few bits", "table"],
)
def test_bisection_costs_what_it_announced(domain, signal, announced):
    samples, oracle, knowledge = game(domain, 60)
    plan = signal.prepare(samples, knowledge, 0)
    account = Account(per_sample=plan.queries[1])
    found = plan.measure(ChargedLabels(oracle, account))
    assert plan.queries == announced
    assert found.queries.tolist() == account.spent(samples.ids).tolist()
    assert int(found.queries.min()) >= announced[0]
    assert int(found.queries.max()) <= announced[1]
    assert bool(found.complete.all())
    assert found.values.shape == (60, 2 * len(signal.routes))
    assert found.values.dtype == torch.float32


@pytest.mark.parametrize("label", [0, 1])
def test_a_constant_target_ends_at_an_end_of_the_route(label):
    samples, _, knowledge = game(IMAGES)
    samples = samples.relabelled(torch.ones(len(samples), dtype=torch.int64))
    found = Path().prepare(samples, knowledge, 0).measure(Constant(label))
    expected = [22.5, torch.inf] if label == 1 else [-torch.inf, 0.5]
    assert found.values.tolist() == [expected] * len(samples)


@pytest.mark.parametrize("signal", [Path(routes=BOTH), Path(queries=3)], ids=str)
@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_order_company_blocks_and_seed_change_nothing(domain, signal, monkeypatch):
    samples, oracle, knowledge = game(domain, 9)
    order = torch.tensor([3, 1, 8, 0, 2, 7, 4, 6, 5])

    def measured(rows, seed=0):
        plan = signal.prepare(samples.take(rows), knowledge, seed)
        if signal.queries == 3:
            expected = beliefs_of(9, levels=plan.levels.total)
            plan = plan.believing(Normals(*(part[rows] for part in expected)))
        return plan.measure(oracle)

    whole, other_seed = measured(slice(None)), measured(slice(None), seed=1)
    assert torch.equal(whole.values, other_seed.values)  # Living gradients leave nothing to chance.
    monkeypatch.setattr(base, "VALUES_IN_MEMORY", 2 * math.prod(domain.shape))  # Blocks of two rows.
    again, alone = measured(order), measured(slice(4, 5))
    assert torch.equal(again.values, whole.values[order])
    assert torch.equal(again.queries, whole.queries[order])
    assert torch.equal(alone.values, whole.values[4:5])
    assert torch.equal(alone.queries, whole.queries[4:5])


def naive_information(beliefs, row, low, high, total, middle):
    """The mutual information of each open (route, level) from its definition, one sample at a time."""

    def mass(route, inside, first, last):
        """P(first <= position <= last) of a member or a non-member."""
        mean, deviation = beliefs[0 if inside else 2][row, route], beliefs[1 if inside else 3][row, route]
        normal = NormalDist(float(mean), float(deviation))
        upper = 1.0 if last == total else normal.cdf(last + 0.5)
        lower = 0.0 if first == 0 else normal.cdf(first - 0.5)
        return (1 - STRAY) * (upper - lower) + STRAY * (last - first + 1) / (total + 1)

    routes = range(len(low))
    weight = [math.prod(mass(r, inside, low[r], high[r]) for r in routes) for inside in (True, False)]
    prior = [w / sum(weight) for w in weight]

    def kept(route, level, inside):
        return mass(route, inside, level + 1, high[route]) / mass(route, inside, low[route], high[route])

    found = {}
    for route in routes:
        for level in range(low[route], high[route]):
            if level == middle:
                q = [sum(kept(r, level, inside) for r in routes) / len(low) for inside in (True, False)]
            else:
                q = [kept(route, level, inside) for inside in (True, False)]
            information = 0.0
            for answer in (True, False):
                given = [p if answer else 1 - p for p in q]
                overall = sum(w * g for w, g in zip(prior, given, strict=True))
                information += sum(w * g * math.log(g / overall) for w, g in zip(prior, given, strict=True) if g > 0)
            found[route, level] = information
    return found


def naive_search(beliefs, row, truth, total, middle, queries):
    """Intervals and cost of the most telling questions; truth holds the positions on each route."""
    low, high, spent = [0] * len(truth), [total] * len(truth), 0
    for _ in range(queries):
        information = naive_information(beliefs, row, low, high, total, middle)
        if not information or (spent and max(information.values()) < LEAST_INFORMATION):
            break
        best = max(information.values())
        route, level = min(question for question, told in information.items() if told > best - 1e-9)
        spent += 1
        if truth[route] > level:
            low[route] = level + 1
        else:
            high[route] = level
        if any(a > middle for a in low):
            low = [max(a, middle + 1) for a in low]
        if any(b <= middle for b in high):
            high = [min(b, middle) for b in high]
    return list(zip(low, high, strict=True)), spent


@pytest.mark.parametrize("queries", [1, 2, 5])
@pytest.mark.parametrize("routes", [("others",), BOTH], ids=len)
def test_every_question_is_the_most_telling_one(queries, routes):
    """Against a twin that enumerates every question from the definition of mutual information."""
    samples, oracle, knowledge = game(VECTORS, 10, third=True)
    plan = Path(queries=queries, routes=routes).prepare(samples, knowledge, 0)
    beliefs = beliefs_of(10, routes=len(routes))
    truth, once = scanned(plan, oracle)
    found = plan.believing(beliefs).measure(oracle)
    assert bool(once.all())
    for row in range(10):
        expected, spent = naive_search(beliefs, row, truth[row].tolist(), 23, 8, queries)
        edges = [(a - 0.5 if a else -math.inf, b + 0.5 if b < 23 else math.inf) for a, b in expected]
        assert found.values[row].tolist() == list(itertools.chain(*edges))
        assert int(found.queries[row]) == spent


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_replay_is_what_the_target_would_have_shown(domain):
    samples, oracle, knowledge = game(domain, 30, third=True)
    plan = Path(queries=4, routes=BOTH).prepare(samples, knowledge, 0)
    beliefs = beliefs_of(30, routes=2, levels=plan.levels.total)
    account = Account(per_sample=4)
    found = plan.believing(beliefs).measure(ChargedLabels(oracle, account))
    _, once = scanned(plan, oracle)
    assert int(once.sum()) >= 15
    assert torch.equal(plan.replay(beliefs, plan.measure(oracle).values)[once], found.values[once])
    assert found.queries.tolist() == account.spent(samples.ids).tolist()
    assert int(found.queries.min()) >= 1
    assert bool(found.complete.all())


SHIFTS = augment.translations(1)[1:]


def test_beside_kept_copies_a_path_asks_as_it_would_alone():
    samples, oracle, knowledge = game(IMAGES, 30, third=True)
    path, kept = Path(queries=4, routes=BOTH), Kept(moves=(augment.flips()[1:], SHIFTS))
    alone, copies = path.prepare(samples, knowledge, 0), kept.prepare(samples, knowledge, 0).measure(oracle).values
    plan = Features(parts=(path, kept)).prepare(samples, knowledge, 0)
    assert isinstance(plan, SequentialPlan)
    beliefs = beliefs_of(30, routes=4, levels=alone.levels.total)
    own = Normals(*(one[:, :2] for one in beliefs))
    account = Account(per_sample=9)
    found = plan.believing(beliefs).measure(ChargedLabels(oracle, account))
    told = alone.believing(own).measure(oracle)
    assert torch.equal(found.values, torch.cat([told.values, copies], 1))
    assert found.queries.tolist() == account.spent(samples.ids).tolist() == (told.queries + 5).tolist()
    exact = Features(parts=(path, kept)).exact.prepare(samples, knowledge, 0).measure(oracle).values
    assert torch.equal(exact, torch.cat([alone.measure(oracle).values, copies], 1))
    assert torch.equal(plan.replay(beliefs, exact), torch.cat([alone.replay(own, exact[:, :4]), copies], 1))


def test_beliefs_in_other_units_reach_the_path_that_asks():
    class Rescaled(Normals):
        def rescaled(self, edges):  # Scalars 2 and 3, the copies', are in other units than the paths'.
            return torch.stack([edges, 2 * edges, 1000 + edges, 1000 + edges])

    samples, oracle, knowledge = game(IMAGES, 12, third=True)
    beliefs = beliefs_of(12, routes=4)
    path = Path(queries=4, routes=BOTH)
    plan = Features(parts=(path, Kept(moves=(SHIFTS[:1], SHIFTS)))).prepare(samples, knowledge, 0)
    found = plan.believing(Rescaled(*beliefs)).measure(oracle)
    doubled = torch.tensor([1.0, 0.5], dtype=torch.float64)
    own = Normals(*(one[:, :2] * doubled for one in beliefs))
    assert torch.equal(found.values[:, :4], path.prepare(samples, knowledge, 0).believing(own).measure(oracle).values)


def test_beliefs_must_speak_of_every_scalar():
    samples, _, knowledge = game(IMAGES, 3, third=True)
    plan = Features(parts=(Path(routes=BOTH), Kept(moves=(SHIFTS,)))).prepare(samples, knowledge, 0)
    with pytest.raises(InvalidInput, match="values and beliefs must be of 3 scalars, got 2"):
        plan.believing(beliefs_of(3, routes=2))
    with pytest.raises(InvalidInput, match="values and beliefs must be of 3 scalars, got 4"):
        plan.replay(beliefs_of(3, routes=3), torch.zeros(3, 8))


def test_with_queries_to_spare_questions_end_at_the_exact_position_or_where_nothing_tells():
    samples, oracle, knowledge = game(VECTORS, 30)
    plan = Path(queries=100, informed=True).prepare(samples, knowledge, 0)
    truth = positions(plan.measure(oracle).values, 23)[:, 0]
    # Members a little farther everywhere, and so broad that every level tells something.
    broad = Normals(*(torch.full((30, 1), value, dtype=torch.float64) for value in (13.0, 6.0, 10.0, 6.0)))
    assert torch.equal(positions(plan.believing(broad).measure(oracle).values, 23)[:, 0], truth)
    beliefs = beliefs_of(30)
    found = plan.believing(beliefs).measure(oracle).values
    for row, (lower, upper) in enumerate(found.tolist()):
        assert lower < int(truth[row]) < upper
        low, high = 0 if lower == -math.inf else int(lower + 0.5), 23 if upper == math.inf else int(upper - 0.5)
        left = naive_information(beliefs, row, [low], [high], 23, 8)
        assert max(left.values(), default=0.0) <= LEAST_INFORMATION + 1e-9


def test_beliefs_that_agree_cost_one_question_about_the_sample_itself():
    samples, oracle, knowledge = game(VECTORS, 10)
    same = Normals(*(torch.full((10, 1), value, dtype=torch.float64) for value in (9.0, 2.0, 9.0, 2.0)))
    found = Path().prepare(samples, knowledge, 0).believing(same).measure(oracle)
    right = oracle.ask(samples.inputs, samples.ids) == samples.labels
    assert found.queries.tolist() == [1] * 10
    assert found.values.tolist() == [[8.5, torch.inf] if r else [-torch.inf, 8.5] for r in right.tolist()]


def test_certain_beliefs_are_asked_about_between_them():
    samples, _, knowledge = game(VECTORS, 1)
    sure = Normals(*(torch.full((1, 1), value, dtype=torch.float64) for value in (15.0, 0.0, 12.0, 0.0)))
    values = Path(queries=1).prepare(samples, knowledge, 0).replay(sure, torch.tensor([[14.5, 15.5]]))
    # Level 12, 13 and 14 part them; strays make the middle of the three no worse than the others.
    assert float(values[0, 0]) in (12.5, 13.5, 14.5)
    assert float(values[0, 1]) == math.inf


def test_plans_say_whether_they_are_sequential():
    samples, _, knowledge = game(VECTORS, 3)
    informed = Path(queries=2).prepare(samples, knowledge, 0)
    assert isinstance(informed, SequentialPlan)
    assert informed.believing(beliefs_of(3)).queries == (1, 2)
    assert informed.queries == (4, 5)
    assert not isinstance(Path(informed=False).prepare(samples, knowledge, 0), SequentialPlan)


def test_beliefs_and_values_must_suit_the_plan():
    samples, _, knowledge = game(VECTORS, 3)
    plan = Path().prepare(samples, knowledge, 0)
    with pytest.raises(InvalidInput, match=r"beliefs must be \(samples, routes\) = \(3, 1\)"):
        plan.believing(beliefs_of(3, routes=2))
    with pytest.raises(InvalidInput, match="beliefs must be finite"):
        plan.believing(beliefs_of(3)._replace(mean_in=torch.full((3, 1), math.nan)))
    with pytest.raises(InvalidInput, match="values must be exact positions"):
        plan.replay(beliefs_of(3), torch.tensor([[8.5, torch.inf]] * 3))
    with pytest.raises(InvalidInput, match=r"values must be \(samples, 2 routes\) = \(3, 2\)"):
        plan.replay(beliefs_of(3), torch.zeros(3, 1))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"queries": 0}, "queries must be at least 1"),
        ({"queries": 4, "informed": False}, "queries must be at least 5"),
        ({"routes": ()}, "routes must list distinct routes"),
        ({"routes": ("others", "others")}, "routes must list distinct routes"),
        ({"routes": ("other",)}, "did you mean 'others'"),
        ({"reach": 0.0}, "reach must be positive"),
    ],
)
def test_settings_are_checked(settings, told):
    with pytest.raises(InvalidInput, match=told):
        Path(**settings)


def test_a_path_needs_crafters():
    with pytest.raises(InvalidInput, match="path needs crafters"):
        Path().prepare(random_samples(VECTORS, 2, classes=2), Knowledge(), 0)


def test_a_path_says_what_it_is():
    assert str(Path()) == "crossing on the path to the other classes, 5 queries, most telling first"
    assert (
        str(Path(queries=9, routes=BOTH, informed=False))
        == "crossing on the path to the other classes and to the runner-up, 9 queries, by bisection"
    )
    assert repr(Path(queries=1)) == "Path(queries=1, routes=('others',), informed=True, reach=3.5)"


@pytest.mark.parametrize("signal", [Path(), Path(routes=BOTH)], ids=str)
def test_no_samples_are_measured_as_none(signal):
    samples, oracle, knowledge = game(VECTORS, 3)
    plan = signal.prepare(samples.take(slice(0, 0)), knowledge, 0)
    for measured in (plan, plan.believing(beliefs_of(0, routes=len(signal.routes)))):
        assert measured.measure(oracle).values.shape == (0, 2 * len(signal.routes))

"""Who is chosen as most at risk: counts by hand, the truth of planted outliers, and what must not matter."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hardlabel import outliers
from hardlabel.checks import InvalidInput
from hardlabel.models.architectures import build, penultimate
from hardlabel.randomness import generator


def crowd(n=300, width=8, *, alone=0, seed=0):
    """Points in three tight bundles of directions, and `alone` first points in directions of their own."""
    draws = generator(seed, "crowd")
    centres = torch.randn(3, width, generator=draws)
    points = centres[torch.arange(n) % 3] + 0.1 * torch.randn(n, width, generator=draws)
    points[:alone] = torch.randn(alone, width, generator=draws)
    return points


def coins(models, n, *, seed=0):
    """Complementary pairs: each point inside exactly half."""
    half = torch.rand(models // 2, n, generator=generator(seed, "coins")) < 0.5
    return torch.stack([half, ~half], 1).flatten(0, 1)


# --- what networks see ---


@pytest.mark.parametrize(("name", "shape"), [("fc", (6,)), ("fc-2", (6,)), ("cnn", (1, 16, 16))])
def test_features_are_what_the_last_layer_sees(name, shape):
    model, inputs = build(name, shape=shape, classes=3, seed=0), torch.rand(7, *shape)
    found = outliers.features(model, inputs, batch=3)
    torch.testing.assert_close(found, penultimate(model, inputs).detach())
    assert not model[-1]._forward_pre_hooks


def test_a_network_in_training_is_asked_in_evaluation_mode_and_left_as_it_was():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    inputs = torch.rand(7, 6, generator=generator(0, "inputs"))
    for frozen in (True, False):
        model.train()
        model[1].train(not frozen)  # Some keep a normalisation frozen.
        modes = [module.training for module in model.modules()]
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        found = outliers.features(model, inputs)
        assert torch.equal(outliers.features(model, inputs), found)
        assert [module.training for module in model.modules()] == modes
        assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
        torch.testing.assert_close(found, model[:3].eval()(inputs).detach())


def test_inputs_are_moved_to_where_the_network_is():
    class Far(nn.Module):
        """Its first parameter is on a device that cannot compute."""

        def __init__(self):
            super().__init__()
            self.home = nn.Parameter(torch.empty(1, device="meta"))
            self.last = nn.Linear(6, 3)
            self.devices = []

        def forward(self, inputs):
            self.devices.append(inputs.device.type)
            return self.last(torch.ones(len(inputs), 6))

    model = Far()
    assert outliers.features(model, torch.rand(7, 6), batch=4).device.type == "cpu"
    assert model.devices == ["meta", "meta"]


def test_a_network_without_parameters_takes_inputs_where_they_are():
    class Bare(nn.Module):
        """A linear layer whose weights are no parameters."""

        def __init__(self):
            super().__init__()
            self.last = nn.Linear(6, 3)
            weight, bias = self.last.weight.data, self.last.bias.data
            del self.last.weight, self.last.bias
            self.last.weight, self.last.bias = weight, bias

        def forward(self, inputs):
            return self.last(inputs)

    inputs = torch.rand(7, 6)
    assert torch.equal(outliers.features(Bare(), inputs), inputs)


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(InvalidInput, match="model must have a linear layer"):
        outliers.features(nn.Sequential(nn.Conv2d(1, 2, 3)), torch.rand(2, 1, 4, 4))


# --- neighbours ---


def test_neighbours_are_those_of_a_count_by_hand(monkeypatch):
    monkeypatch.setattr(outliers, "BLOCK", 64)  # Several blocks.
    points = [crowd(200, seed=1), crowd(200, 5, seed=2)]
    found = outliers.surroundings(points)
    units = [one / one.norm(dim=1, keepdim=True) for one in points]
    similar = sum(unit @ unit.T for unit in units) / 2
    similar.fill_diagonal_(-2)
    nearest = similar.topk(outliers.NEAREST, dim=1)
    torch.testing.assert_close(found.similarity, nearest.values)
    assert (found.nearest == nearest.indices).float().mean() > 0.99  # Up to rounding of equal ones.
    # About as many pairs are neighbours as each radius says; it is taken from a sample of 50 points and more.
    shares = found.counts.double().mean(1) / 199
    for share, wanted in zip(shares.tolist(), outliers.RADII, strict=True):
        assert share == pytest.approx(wanted, rel=0.5, abs=0.002)
    assert (found.counts.diff(dim=0) >= 0).all()


def test_points_that_stand_alone_have_the_fewest_neighbours():
    alone = 6
    around = outliers.surroundings([crowd(alone=alone)])
    flat = torch.zeros(300, dtype=torch.float64)
    chosen = outliers.fewest(around, alone, flat).chosen
    assert chosen[:alone].sum() >= alone - 1  # One may have come to lie in a bundle.
    assert chosen.sum() == alone


def test_the_radius_is_the_one_whose_points_own_models_separate_best():
    around = outliers.surroundings([torch.randn(300, 4, generator=generator(0, "no bundles"))])
    flat = torch.zeros(300, dtype=torch.float64)
    picked = [outliers._most(-c.double(), 6, then=-around.similarity[:, 0].double()) for c in around.counts]
    assert len({tuple(one.tolist()) for one in picked}) > 1
    for number, one in enumerate(picked):
        separable = torch.where(one, 1.0, 0.0).double()
        best = max(float(separable[other].mean()) for other in picked)
        chosen = outliers.fewest(around, 6, separable).chosen
        assert float(separable[chosen].mean()) == best, number
    assert not math.isnan(float(outliers.fewest(around, 6, flat - math.inf).chosen.sum()))


def test_points_beyond_the_candidates_are_neighbours_only():
    around = outliers.surroundings([crowd(alone=6)])
    chosen = outliers.fewest(around, 4, torch.zeros(100, dtype=torch.float64)).chosen
    assert chosen.shape == (100,)
    assert chosen.sum() == 4


# --- near-duplicates ---


def test_near_duplicates_are_found_and_others_are_not():
    inputs = torch.rand(200, 3, 8, 8, generator=generator(0, "images"))
    inputs[10] = inputs[150]
    inputs[20] = (inputs[160] + 0.01 * torch.randn(3, 8, 8, generator=generator(1, "touch"))).clamp(0, 1)
    found = outliers.duplicates(inputs)
    assert sorted((found.of >= 0).nonzero().flatten().tolist()) == [10, 20, 150, 160]
    assert (int(found.of[10]), int(found.of[150]), int(found.of[20])) == (150, 10, 160)
    assert float(found.distance[10]) == 0
    torch.testing.assert_close(found.distance[20], (inputs[20] - inputs[160]).norm())


@pytest.mark.parametrize("points", [0, 1])
def test_too_few_points_are_refused(points):
    with pytest.raises(InvalidInput, match="2 points or more"):
        outliers.duplicates(torch.rand(points, 3))
    with pytest.raises(InvalidInput, match="2 points or more"):
        outliers.surroundings([torch.rand(points, 3)])


def test_near_duplicates_of_names_are_those_with_the_fewest_unlike_values():
    ids = torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 900], [500, 600, 700, 800], [501, 601, 701, 801], [9, 8, 7, 6]])
    found = outliers.duplicates(ids, names=True)
    assert found.distance.tolist() == [1, 1, 4, 4, 4]
    # As numbers, the third and fourth are neighbours; as names they have nothing in common.
    assert found.of.tolist() == [1, 0, -1, -1, -1]


# --- statistics of own models ---


def test_separability_is_the_closed_form():
    """Means 2 apart and standard deviations .5: d is 4; its error is about 4 / sqrt(2 K) and sqrt(2 / (K / 2))."""
    models, n = 200, 50
    inside = coins(models, n)
    values = torch.where(inside, 3.0, 1.0) + 0.5 * torch.randn(models, n, generator=generator(0, "values"))
    found = outliers.separability(values, inside)
    four_errors = 4 * math.hypot(4 / math.sqrt(2 * models), math.sqrt(2 / (models / 2)))
    assert (found - 4).abs().max() < four_errors


def test_out_loss_is_the_mean_over_models_without_the_point():
    inside = torch.tensor([[True, False], [False, True], [False, False]])
    values = torch.tensor([[9.0, 1.0], [2.0, 9.0], [-1.0, 0.0]])
    found = outliers.out_loss(values, inside)
    wanted = [(math.log1p(math.exp(-2)) + math.log1p(math.exp(1))) / 2, (math.log1p(math.exp(-1)) + math.log(2)) / 2]
    assert found.tolist() == pytest.approx(wanted)


def test_a_point_that_moves_the_models_is_chosen():
    models, n = 12, 400
    inside = coins(models, n)
    values = torch.randn(models, n, generator=generator(0, "noise"))
    values[:, 7] += torch.where(inside[:, 7], 4.0, -4.0)
    around = outliers.surroundings([crowd(n)])
    found = {one.name: one for one in outliers.selections(share=0.005, around=around, statistics=values, inside=inside)}
    assert list(found) == list(outliers.SELECTIONS)
    assert all(int(one.chosen.sum()) == 2 for one in found.values())
    assert bool(found["separability"].chosen[7])
    assert bool(found["out-loss"].chosen[7])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), pair=st.integers(0, 5))
def test_who_was_inside_a_target_changes_no_choice(seed, pair):
    """A target's pair is left out of its own models: exchanging the two changes nothing that chooses."""
    models, n = 12, 60
    inside = coins(models, n, seed=seed)
    values = torch.randn(models, n, generator=generator(seed, "values")) + inside
    others = [one for one in range(models) if one // 2 != pair]
    around = outliers.surroundings([crowd(n, seed=seed % 100)])
    swapped = inside.clone()
    swapped[2 * pair], swapped[2 * pair + 1] = inside[2 * pair + 1], inside[2 * pair]
    first, second = (
        outliers.selections(share=0.1, around=around, statistics=values[others], inside=one[others])
        for one in (inside, swapped)
    )
    for one, two in zip(first, second, strict=True):
        assert torch.equal(one.chosen, two.chosen)
    assert (inside[others].sum(0) == 5).all()


def test_models_that_answer_with_labels_can_be_compared():
    inside = torch.tensor([[True, True, False], [False, False, True]])
    found = outliers.separability(inside.double().clone(), inside)
    assert (found == math.inf).all()
    assert outliers.separability(torch.ones(2, 3), inside).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"share": 0.0}, "share must lie strictly"),
        ({"share": 1.0}, "share must lie strictly"),
        ({"statistics": torch.full((4, 20), math.nan)}, "must not be NaN"),
        ({"inside": torch.ones(4, 20, dtype=torch.bool)}, "must leave out each point"),
        ({"inside": torch.zeros(4, 20, dtype=torch.bool)}, "must hold each point"),
        ({"inside": torch.zeros(3, 20, dtype=torch.bool)}, "must be"),
    ],
)
def test_bad_arguments_are_refused(change, told):
    given = {"share": 0.1, "statistics": torch.randn(4, 20), "inside": coins(4, 20)} | change
    with pytest.raises(InvalidInput, match=told):
        outliers.selections(around=outliers.surroundings([crowd(20)]), **given)


# --- many points are compared with some of them ---


def test_compared_with_all_named_one_by_one_nothing_changes():
    points = crowd(alone=5)
    whole, named = outliers.surroundings([points]), outliers.surroundings([points], torch.arange(len(points)))
    assert all(torch.equal(getattr(whole, name), getattr(named, name)) for name in ("counts", "nearest", "similarity"))
    first, second = outliers.duplicates(points), outliers.duplicates(points, torch.arange(len(points)))
    assert torch.equal(first.of, second.of)
    assert torch.equal(first.distance, second.distance)


def test_neighbours_and_duplicates_come_from_the_points_compared_with():
    points = crowd(alone=5).double()
    points[200] = points[7] + 1e-6
    compared = torch.arange(0, len(points), 2)
    found, copies = outliers.surroundings([points], compared), outliers.duplicates(points, compared)
    similar = torch.nn.functional.normalize(points.float(), dim=1)
    similar = similar @ similar.T
    for place in (0, 7, 8, 151):
        others = [other for other in compared.tolist() if other != place]
        best = max(others, key=lambda other: float(similar[place, other]))
        assert int(found.nearest[place, 0]) == best
        assert place not in found.nearest[place].tolist()
        assert set(found.nearest[place].tolist()) <= set(others)
    assert int(copies.of[7]) == 200
    assert int(copies.of[200]) == -1  # 7 was not compared with.


def test_of_very_many_records_some_are_compared_and_this_is_told(monkeypatch):
    from hardlabel.audits.findings import worst_case
    from hardlabel.data.domain import Box
    from hardlabel.data.samples import Samples

    monkeypatch.setattr(worst_case, "MOST_COMPARED", 50)
    inputs = torch.rand(200, 4, generator=generator(0, "inputs"))
    samples = Samples(
        ids=torch.arange(200), inputs=inputs, labels=torch.zeros(200, dtype=torch.int64), domain=Box((4,))
    )
    found = worst_case.seen(samples, None, [], "")
    assert len(set(found.around.nearest.flatten().tolist())) <= 50
    assert "among 50 of the 200 records, drawn at random" in found.embedded
    assert worst_case.notes(50) == []
    assert "among 50 of them, drawn at random" in worst_case.notes(200)[0]
    again = worst_case.seen(samples, None, [], "")
    assert torch.equal(found.around.nearest, again.around.nearest)

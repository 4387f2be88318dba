"""Integers stay integers: no question holds a fraction where only whole numbers can be stored."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import hardlabel
from hardlabel import Attacker, Box, InvalidInput, MixedTable, randomness
from hardlabel.attacks import TABLE, LabelAttack
from hardlabel.data.augment import Move, apply
from hardlabel.data.domain import BinaryFeatures, NoiseLevel, infer_domain, relaxed, rounded

GREYS = Box((1, 6, 6), 0, 255, whole=True)


def is_whole(values):
    return bool((values == values.round()).all())


# The domain.


def test_a_box_of_any_numbers_reads_as_it_did_since_stored_measurements_are_keyed_by_its_text():
    assert repr(Box((3, 4, 4))) == "Box(shape=(3, 4, 4), lower=0.0, upper=1.0)"
    assert repr(Box((5,), -1, 2.5)) == "Box(shape=(5,), lower=-1, upper=2.5)"
    assert repr(Box((5,), 0, 9, whole=True)) == "Box(shape=(5,), lower=0, upper=9, whole=True)"
    assert Box((5,), 0, 9) != Box((5,), 0, 9, whole=True)


def test_clipped_noisy_and_random_points_of_a_whole_box_are_whole_and_inside():
    source = GREYS.noise_source(5, randomness.generator(0, "noise"))
    start = GREYS.random(4, randomness.generator(0, "start"))
    copies = GREYS.noisy(start, source, NoiseLevel(sigma=20.3))
    for points in (start, copies.flatten(0, 1), GREYS.clip(start + 0.7), GREYS.clip(start - 900.1)):
        assert points.dtype == torch.float32
        assert is_whole(points)
        GREYS.check(points)
    assert len(copies.unique()) > 20  # Rounding leaves noise.


def test_rounding_is_to_the_nearest_whole_number():
    assert Box((3,), 0, 9, whole=True).clip(torch.tensor([[3.4, 3.6, 9.4]])).tolist() == [[3.0, 4.0, 9.0]]
    points = torch.tensor([[3.4, 3.6, -1.0]])
    assert Box((3,), 0, 9, whole=True).clip(points, out=points) is points
    assert points.tolist() == [[3.0, 4.0, 0.0]]


def test_every_whole_number_is_drawn_alike():
    drawn = Box((1000,), -1, 2, whole=True).random(40, randomness.generator(0, "random"))
    values, counts = drawn.unique(return_counts=True)
    assert values.tolist() == [-1.0, 0.0, 1.0, 2.0]
    expected = drawn.numel() / 4
    assert float((counts - expected).abs().max()) < 4 * (drawn.numel() * 0.25 * 0.75) ** 0.5


def test_fractions_are_refused_in_a_whole_box_alone():
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.5]])
    Box((2,), 0, 9).check(rows)
    with pytest.raises(InvalidInput, match=r"pictures must be whole numbers .* got 2.5 in row 1"):
        Box((2,), 0, 9, whole=True).check(rows, "pictures")
    with pytest.raises(InvalidInput, match=r"must lie in \[0, 9\]"):
        Box((2,), 0, 9, whole=True).check(rows * 4)


def test_what_gradients_move_is_rounded_once_at_the_end():
    assert relaxed(GREYS) == Box((1, 6, 6), 0, 255)
    assert relaxed(BinaryFeatures(3)) == BinaryFeatures(3)
    points = torch.full((1, 1, 6, 6), 3.7)
    assert rounded(GREYS, points).unique().tolist() == [4.0]
    assert rounded(relaxed(GREYS), points) is points


@pytest.mark.parametrize(
    "bounds", [([0.0, 0.1, 0.2], 1.0), (0.0, np.array([1.0, 2.0, 3.0])), (0.0, torch.tensor([1.0]))]
)
def test_bounds_are_one_number_or_one_per_channel(bounds):
    with pytest.raises(InvalidInput, match=r"one number, or one number for each of the 2 channels, got [13] numbers"):
        Box((2, 4, 4), *bounds)


@pytest.mark.parametrize("bound", [float("nan"), float("inf"), "1", None, True, 1j])
def test_bounds_that_are_no_finite_numbers_are_refused(bound):
    with pytest.raises(InvalidInput, match="upper must be"):
        Box((2,), 0.0, bound)


def test_numpys_numbers_are_bounds_and_become_floats():
    box = Box((2,), np.float32(0.0), np.int64(3))
    assert (type(box.lower), type(box.upper)) == (float, float)
    assert box == Box((2,), 0.0, 3.0)
    assert repr(box) == repr(Box((2,), 0.0, 3.0))


@pytest.mark.parametrize("bounds", [(0, 2.5), (-0.5, 3), (0, 2**24 + 1)])
def test_bounds_of_a_whole_box_are_whole_and_held_by_float32(bounds):
    with pytest.raises(InvalidInput, match="must be whole and at most 2\\*\\*24"):
        Box((2,), *bounds, whole=True)


# The domain from values.


@pytest.mark.parametrize(
    ("values", "kind", "low", "high"),
    [
        ([0, 200], torch.uint8, 0, 255),
        ([0, 1], torch.uint8, 0, 1),
        ([0, 200], torch.int64, 0, 255),
        ([0, 1], torch.bool, 0, 1),
        ([-1, 1], torch.int8, -1, 1),
        ([-3, 4095], torch.int16, -3, 4095),
        ([7, 7], torch.int32, 0, 255),
    ],
)
def test_images_of_integers_have_a_box_of_whole_numbers(values, kind, low, high):
    images = torch.tensor(values).to(kind).reshape(2, 1, 1, 1)
    assert infer_domain(images) == Box((1, 1, 1), low, high, whole=True)
    assert not getattr(infer_domain(images.float() + 0.25), "whole", True)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.int64])
def test_vectors_of_integers_are_bits_or_need_a_domain(kind):
    assert infer_domain(torch.tensor([[0, 1]]).to(kind)) == BinaryFeatures(2)
    with pytest.raises(InvalidInput, match=r"codes, token ids, counts .*MixedTable.*whole=True.* floats"):
        infer_domain(torch.tensor([[0, 2]]).to(kind))
    assert infer_domain(torch.tensor([[0.0, 2.0]])) == Box((2,), 0, 2)


# Audits.


class Prints(nn.Module):
    """Tells two classes by the mean of a picture; keeps whether every row asked about was whole."""

    def __init__(self, shape=(1, 6, 6)):
        super().__init__()
        self.w = nn.Linear(int(np.prod(shape)), 2)
        torch.manual_seed(0)
        nn.init.normal_(self.w.weight, std=0.01)
        self.fractions = 0

    def forward(self, inputs):
        self.fractions += int((inputs != inputs.round()).any())
        return self.w(inputs.flatten(1).float() - 128)


def pictures(count, seed, kind=np.uint8):
    draws = np.random.default_rng(seed)
    inputs = draws.integers(0, 256, (count, 1, 6, 6)).astype(kind)
    return inputs, (inputs.mean((1, 2, 3)) > 128).astype(np.int64)


def small_network(inputs, labels, *, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 2))
    steps = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(30):
        steps.zero_grad()
        nn.functional.cross_entropy(model(torch.as_tensor(inputs).float() / 255), torch.as_tensor(labels)).backward()
        steps.step()
    return model.eval()


def quiet(*args, **others):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hardlabel.audit(*args, **others)


def asks(oracle):
    """An oracle of labels that keeps the rows it was asked about."""

    class Kept:
        def __init__(self):
            self.rows = []

        def ask(self, inputs, ids):
            self.rows.append(torch.tensor(inputs) if isinstance(inputs, np.ndarray) else inputs.clone())
            return oracle(self.rows[-1])

    return Kept()


def test_no_attack_asks_a_picture_that_cannot_be_stored():
    """Every label-only attack of the table, on bytes: searches, rotations, crafted points and random starts."""
    members, outside, rest = pictures(24, 1), pictures(24, 2), pictures(120, 3)
    model = Prints().eval()
    kept = asks(lambda inputs: model(inputs.float()).argmax(1))
    names = [name for name, row in TABLE.items() if isinstance(row, LabelAttack)]
    record = quiet(
        kept,
        members,
        outside,
        population=rest,
        trainer=small_network,
        attacks=names,
        budget=150,
        train_size=30,
        attacker=Attacker(references=4),
        device="cpu",
    )
    played = {attack.name for attack in record.results.attacks}
    assert {"boundary", "boundary-geoda", "combined", "noise", "augmentation", "path", "yoqo", "oslo"} <= played
    rows = torch.cat(kept.rows)
    assert rows.dtype == torch.uint8  # As they were given: other pictures cannot be stored.
    assert len(rows.unique(dim=0)) > 2000  # The searches did ask other pictures.
    assert "whole=True" in record.config["domain"]


def test_rotations_interpolate_and_would_hold_fractions():
    """What the test above would miss if rotations were not rounded."""
    inputs = torch.from_numpy(pictures(2, 1)[0]).float()
    assert not is_whole(apply(Move(degrees=8.0), inputs, fill=0.0))


def test_pictures_as_floats_are_asked_about_as_before():
    members, outside = pictures(24, 1, np.float32), pictures(24, 2, np.float32)
    model = Prints().eval()
    kept = asks(lambda inputs: model(inputs).argmax(1))
    record = quiet(kept, members, outside, attacks=["noise"], budget=5)
    assert record.config["domain"] == "Box(shape=(1, 6, 6), lower=0.0, upper=255.0)"
    assert not is_whole(torch.cat(kept.rows))


def counts(seed, kind=np.int64, size=30):
    inputs = np.random.default_rng(seed).poisson(4, (size, 8)).astype(kind)
    return inputs, (inputs.sum(1) > 32).astype(np.int64)


def test_counts_are_refused_without_a_domain_and_stay_whole_with_a_whole_box():
    kept = asks(lambda inputs: (inputs.sum(1) > 32).long())
    with pytest.raises(InvalidInput, match=r"domain=hardlabel.Box\(\(8,\), lowest, highest, whole=True\)"):
        quiet(kept, counts(1), counts(2), attacks=["gap"])
    assert not kept.rows
    quiet(kept, counts(1), counts(2), domain=Box((8,), 0, 30, whole=True), attacks=["noise", "boundary"], budget=60)
    assert is_whole(torch.cat(kept.rows))


def test_floats_given_for_a_whole_box_must_be_whole_before_they_are_rounded_to_float32():
    inputs, labels = counts(1, np.float64)
    inputs[3, 0] = 2 + 1e-9  # Whole once it is float32.
    box = Box((8,), 0, 30, whole=True)
    with pytest.raises(InvalidInput, match="members must be whole numbers"):
        quiet(asks(None), (inputs, labels), counts(2), domain=box, attacks=["gap"])


def test_token_ids_are_categories_of_a_table():
    draws = np.random.default_rng(0)
    ids = draws.integers(100, 140, (60, 5))
    frame = pd.DataFrame(ids, columns=[f"word {place}" for place in range(5)]).astype(str)
    table = MixedTable.fit(frame)
    rows, labels = table.encode(frame), draws.integers(0, 2, 60)
    vocabulary = set(frame.to_numpy().ravel())
    asked = []

    def label(inputs):
        words = table.decode(inputs)
        asked.append(words)
        return torch.from_numpy((words.astype(int).sum(1) % 2).to_numpy())

    members, outside = (rows[:30], labels[:30]), (rows[30:], labels[30:])
    quiet(asks(label), members, outside, domain=table, attacks=["noise"], budget=8)
    assert set(pd.concat(asked).to_numpy().ravel()) <= vocabulary
    assert sum(map(len, asked)) > 60


@pytest.mark.parametrize(
    ("inputs", "rule"),
    [
        (np.ones((4, 3)) * 1j, "members must hold arrays of real numbers, got inputs of type complex128"),
        (torch.ones(4, 3) * 1j, "got inputs of type complex64"),
        (np.array([["a", "b"]] * 4), "got inputs of type <U1"),
        (np.array([[1, "b"]] * 4, dtype=object), "got inputs of type object"),
        (np.array([["2020-01-01"]] * 4, dtype="datetime64[D]"), "got inputs of type datetime64"),
        (np.full((4, 1, 2, 2), 2**24 + 1), r"members must hold whole numbers up to 2\*\*24 .* got 16777217"),
        (np.full((4, 1, 2, 2), -(2**24) - 1), "got -16777217"),
        (np.full((4, 1, 2, 2), 2**63, dtype=np.uint64), "got 9223372036854775808"),
    ],
)
def test_what_is_no_number_that_float32_holds_is_refused(inputs, rule):
    labels, others = np.arange(4) % 2, np.arange(4) % 2
    with pytest.raises(InvalidInput, match=rule):
        quiet(asks(None), (inputs, labels), (np.zeros((4, 1, 2, 2), dtype=np.int64), others), attacks=["gap"])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.uint32, np.int64])
def test_pictures_of_any_integers_are_one_case(kind):
    model = Prints().eval()
    quiet(model, pictures(20, 1, kind), pictures(20, 2, kind), attacks=["noise"], budget=5)
    assert model.fractions == 0


def test_groups_of_integers_and_floats_are_not_mixed_in_silence():
    with pytest.raises(
        InvalidInput, match="all be whole numbers or all be floats, got members uint8, nonmembers float32"
    ):
        quiet(Prints(), pictures(20, 1), pictures(20, 2, np.float32), attacks=["gap"])

"""Domains keep every query legal, and their noise is what it says."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hardlabel import randomness
from hardlabel.audits.findings.shown_record import text_or_image
from hardlabel.audits.kind import described
from hardlabel.checks import InvalidInput
from hardlabel.data import augment, mapped
from hardlabel.data.domain import BinaryFeatures, Box, NoiseLevel, channel_bounds, infer_domain, l2, relaxed
from hardlabel.data.samples import Samples
from hardlabel.data.table import MixedTable
from hardlabel.defenses.ldl import _level
from hardlabel.signals.augmentation import Augmentation
from hardlabel.signals.base import Knowledge
from hardlabel.signals.boundary import Boundary
from hardlabel.signals.routes import Toward, craft, lengths_of

UNLIKE = Box((3, 4, 4), (0.0, -1.0, 100), (1, 1.5, 300))
UNLIKE_WHOLE = Box((4,), (0, -3, 10, 0), (1, 3, 250, 65535), whole=True)
DOMAINS = [Box((3, 4, 4)), Box((5,), -1.0, 2.0), BinaryFeatures(12), UNLIKE, UNLIKE_WHOLE]


def points(domain, count, seed=0):
    return domain.random(count, randomness.generator(seed, "test points"))


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(0, 1))
def test_noisy_copies_and_random_points_are_legal(domain, seed, strength):
    inputs = points(domain, 3, seed)
    domain.check(inputs)
    source = domain.noise_source(4, randomness.generator(seed, "noise"))
    copies = domain.noisy(inputs, source, NoiseLevel(sigma=strength, flip=strength))
    assert copies.shape == (3, 4, *domain.shape)
    assert copies.dtype == torch.float32
    domain.check(copies.flatten(0, 1))


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_a_copy_depends_neither_on_company_nor_on_order(domain):
    inputs = points(domain, 6)
    source = domain.noise_source(3, randomness.generator(0, "noise"))
    level = NoiseLevel(sigma=0.3, flip=0.3)
    together = domain.noisy(inputs, source, level)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    assert torch.equal(domain.noisy(inputs[order], source, level), together[order])
    assert torch.equal(domain.noisy(inputs[2:3], source[1:2], level)[0, 0], together[2, 1])


def test_gaussian_noise_has_the_stated_deviation_away_from_the_edges():
    domain = Box((1000,), -100.0, 100.0)
    source = domain.noise_source(100, randomness.generator(1, "noise"))
    noise = domain.noisy(torch.zeros(1, 1000), source, NoiseLevel(sigma=0.5))
    count = noise.numel()
    assert abs(float(noise.mean())) < 4 * 0.5 / count**0.5
    # The variance of a sample variance is 2 sigma^4 / n.
    assert abs(float(noise.var()) - 0.25) < 4 * 0.25 * (2 / count) ** 0.5


def test_bits_flip_with_the_stated_probability():
    domain = BinaryFeatures(1000)
    source = domain.noise_source(100, randomness.generator(1, "noise"))
    flipped = domain.noisy(torch.ones(1, 1000), source, NoiseLevel(flip=0.2)) == 0
    assert abs(float(flipped.float().mean()) - 0.2) < 4 * (0.2 * 0.8 / flipped.numel()) ** 0.5


def test_more_noise_moves_the_same_draws_further():
    domain = Box((8,), -100.0, 100.0)
    source = domain.noise_source(5, randomness.generator(0, "noise"))
    near = domain.noisy(torch.zeros(1, 8), source, NoiseLevel(sigma=0.1))
    far = domain.noisy(torch.zeros(1, 8), source, NoiseLevel(sigma=0.2))
    torch.testing.assert_close(far, 2 * near)


@given(number=st.integers(-(2**31), 2**31 - 1), seed=st.integers(0, 2**32 - 1))
def test_numpys_integers_name_the_same_stream_as_ints(number, seed):
    for kind in (np.int64, np.int32):
        assert randomness.derive(seed, "noise", kind(number)) == randomness.derive(seed, "noise", number)
    assert randomness.derive(seed, np.uint8(7)) == randomness.derive(np.int64(seed), 7)
    assert randomness.derive(seed, str(number)) != randomness.derive(seed, number)


def test_streams_are_those_of_earlier_versions():
    assert randomness.derive(0, "noise", 3) == 6_595_435_292_110_185_176
    assert randomness.derive(12345, "a", -1, "b") == 1_277_183_321_481_682_327


def test_noise_levels_run_from_weak_to_strong():
    for domain in DOMAINS:
        levels = domain.noise_levels
        assert list(levels) == sorted(levels)
        assert len(set(levels)) == len(levels)


@pytest.mark.parametrize(
    ("domain", "inputs", "rule"),
    [
        (Box((2,)), [[0.5, 1.2]], r"inputs must lie in \[0, 1\], got values from 0.5 to 1.2"),
        (Box((2,)), [[0.5, -0.1]], "must lie in"),
        (Box((2,)), [[0.5, float("nan")]], "must be finite, got NaN or infinity in row 0"),
        (Box((2,)), [[0.5, 0.5, 0.5]], r"must have shape \(n, 2\), got \(1, 3\)"),
        (BinaryFeatures(2), [[0.0, 0.5]], "must be 0 or 1 in a binary domain, got 0.5"),
        (BinaryFeatures(2), [[0.0, float("inf")]], "must be finite"),
    ],
)
def test_illegal_inputs_are_refused_by_name_value_and_rule(domain, inputs, rule):
    with pytest.raises(InvalidInput, match=rule):
        domain.check(torch.tensor(inputs))


@pytest.mark.parametrize("make", [lambda: Box(()), lambda: Box((0, 2)), lambda: Box((2,), 1.0, 1.0)])
def test_a_box_without_inside_is_refused(make):
    with pytest.raises(InvalidInput):
        make()


def test_a_box_clips_into_a_tensor_given_even_the_points_themselves():
    points = torch.tensor([[-1.0, 0.5], [2.0, 1.0]])
    assert Box((2,)).clip(points).tolist() == [[0.0, 0.5], [1.0, 1.0]]
    assert points.tolist() == [[-1.0, 0.5], [2.0, 1.0]]
    assert Box((2,)).clip(points, out=points) is points
    assert points.tolist() == [[0.0, 0.5], [1.0, 1.0]]


def test_binary_points_cannot_be_clipped():
    with pytest.raises(InvalidInput, match="no points between"):
        BinaryFeatures(3).clip(torch.zeros(1, 3))


def test_distances_are_euclidean_in_a_box_and_hamming_for_bits():
    assert Box((2,)).distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.4]])).tolist() == pytest.approx([0.5])
    bits = torch.tensor([[0.0, 1.0, 1.0]])
    assert BinaryFeatures(3).distance(bits, 1 - bits).tolist() == [3.0]


@given(rows=st.integers(1, 200), seed=st.integers(0, 1000))
def test_a_length_does_not_depend_on_how_many_are_taken_together(rows, seed):
    differences = torch.randn(rows, 3, 7, 7, generator=randomness.generator(seed, "lengths"))
    together = l2(differences)
    assert torch.equal(together[rows // 2], l2(differences[rows // 2 : rows // 2 + 1])[0])


# Domains from values alone.


@pytest.mark.parametrize(
    ("inputs", "domain"),
    [
        (torch.tensor([0.0, 0.5]), Box((1, 1, 1), 0, 1)),
        (torch.tensor([0.0, 0.0]), Box((1, 1, 1), 0, 1)),
        (torch.tensor([-0.1, 0.1]), Box((1, 1, 1), -1, 1)),
        (torch.tensor([-0.5, 0.0]), Box((1, 1, 1), -1, 1)),
        (torch.tensor([0.0, 1.5]), Box((1, 1, 1), 0, 255)),
        (torch.tensor([-1.5, 2.5]), Box((1, 1, 1), -2, 3)),
        (torch.tensor([0.0, 256.0]), Box((1, 1, 1), 0, 256)),
    ],
)
def test_the_domain_of_images_is_the_first_box_that_holds_them(inputs, domain):
    images = inputs.reshape(2, 1, 1, 1)
    assert infer_domain(images) == domain
    domain.check(images)


def test_the_domain_of_vectors_is_bits_or_the_least_whole_box():
    assert infer_domain(torch.tensor([[0.0, 1.0]])) == BinaryFeatures(2)
    assert infer_domain(torch.tensor([[0.0, 1.5], [-0.5, 1.0]])) == Box((2,), -1, 2)
    assert infer_domain(torch.full((3, 2), 4.0)) == Box((2,), 4, 5)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (0, 3), (2, 0)])
def test_no_domain_is_inferred_from_other_shapes(shape):
    with pytest.raises(InvalidInput, match="none of them empty"):
        infer_domain(torch.zeros(shape))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_channels_last_are_told_to_put_them_first(channels):
    images = torch.rand(5, 8, 8, channels)
    with pytest.raises(InvalidInput, match=r"channels first, \(n, C, H, W\), got \(5, 8, 8, [13]\)"):
        infer_domain(images)
    assert infer_domain(images.permute(0, 3, 1, 2)).shape == (channels, 8, 8)


@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 8, 1), (3, 8, 1), (8, 8, 2), (2, 4, 4)])
def test_images_that_may_have_channels_first_are_taken_so(shape):
    assert infer_domain(torch.rand(5, *shape)).shape == shape


def columns(*deviations):
    """Vectors whose columns have these standard deviations around 50."""
    return 50 + torch.tensor([[-1.0], [1.0]]) * torch.tensor(deviations)


def test_vectors_on_unlike_scales_are_told_to_be_standardised():
    with pytest.raises(InvalidInput, match=r"got 0.25 in column 1 and 26 in column 3: .* standardise .* pass domain="):
        infer_domain(columns(1.0, 0.25, 0.0, 26.0))
    assert infer_domain(columns(1.0, 0.25, 0.0, 25.0)) == Box((4,), 25, 75)


def test_constant_vectors_have_no_scales_to_differ():
    assert infer_domain(columns(0.0, 0.0)) == Box((2,), 50, 51)
    assert infer_domain(torch.tensor([[0.5, 1000.0]])) == Box((2,), 0, 1000)


def test_no_domain_is_inferred_from_nan():
    with pytest.raises(InvalidInput, match="must be finite"):
        infer_domain(torch.tensor([[math.nan, 0.0]]))


# Bounds per channel.


class HalfSpace:
    """Class 1 where coordinate `axis` is above `edge`; refuses inputs that its domain does not contain."""

    def __init__(self, domain, axis, edge):
        self.domain, self.axis, self.edge = domain, axis, edge

    def ask(self, inputs, ids):
        self.domain.check(inputs)
        return (inputs.flatten(1)[:, self.axis] > self.edge).long()


def samples_of(domain, inputs, labels):
    inputs = torch.as_tensor(inputs, dtype=torch.float32)
    return Samples(ids=torch.arange(len(inputs)), inputs=inputs, labels=torch.as_tensor(labels), domain=domain)


def test_equal_bounds_per_channel_are_the_box_of_those_bounds():
    plain, spelt = Box((3, 4, 4), -1.0, 3.0), Box((3, 4, 4), (-1.0,) * 3, 3.0)
    inputs = points(plain, 5)
    assert torch.equal(points(spelt, 5), inputs)
    source = plain.noise_source(4, randomness.generator(0, "noise"))
    # A sigma counts in widths where bounds differ.
    copies = spelt.noisy(inputs, source, NoiseLevel(sigma=0.1))
    torch.testing.assert_close(copies, plain.noisy(inputs, source, NoiseLevel(sigma=0.4)))
    assert torch.equal(spelt.clip(9 * inputs), plain.clip(9 * inputs))
    torch.testing.assert_close(spelt.distance(inputs, -inputs) * 4, plain.distance(inputs, -inputs))


def test_boxes_and_levels_of_earlier_versions_read_as_ever():
    assert repr(Box((3, 4, 4))) == "Box(shape=(3, 4, 4), lower=0.0, upper=1.0)"
    assert repr(NoiseLevel(sigma=0.1)) == "NoiseLevel(sigma=0.1, flip=0.0)"
    assert str(NoiseLevel(sigma=0.1, flip=0.25)) == "sigma 0.1, flip 0.25"
    assert sorted([NoiseLevel(0.2), NoiseLevel(0.1, 0.5), NoiseLevel()]) == [
        NoiseLevel(),
        NoiseLevel(0.1, 0.5),
        NoiseLevel(0.2),
    ]


def test_noise_has_the_stated_share_of_each_channels_width():
    domain = Box((2, 1000), (-100.0, -1.0), (100.0, 1.0))
    source = domain.noise_source(50, randomness.generator(1, "noise"))
    noise = domain.noisy(torch.zeros(1, 2, 1000), source, NoiseLevel(sigma=0.01))[0]
    deviations = noise.double().std((0, 2))
    # The standard error of a deviation is sigma / sqrt(2 n).
    for deviation, width in zip(deviations.tolist(), (200.0, 2.0), strict=True):
        assert abs(deviation - 0.01 * width) < 4 * 0.01 * width / (2 * 50_000) ** 0.5
    with_low = UNLIKE.noisy(points(UNLIKE, 2), UNLIKE.noise_source(3, randomness.generator(0, "n")), NoiseLevel(9.0))
    assert with_low[:, :, 2].min() >= 100


def test_random_points_fill_each_channel_to_its_bounds():
    drawn = points(UNLIKE_WHOLE, 4000)
    assert drawn.amin(0).tolist()[:3] == [0, -3, 10]
    assert drawn.amax(0).tolist()[:3] == [1, 3, 250]
    counts = torch.bincount(drawn[:, 1].long() + 3)
    assert (counts - 4000 / 7).abs().max() < 4 * (4000 / 7) ** 0.5
    assert drawn[:, 3].max() > 60000


def test_distances_count_in_widths_of_each_channel():
    domain = Box((2,), (0.0, 100.0), (1.0, 300.0))
    ends = torch.tensor([[0.0, 100.0]]), torch.tensor([[0.3, 180.0]])
    assert domain.distance(*ends).tolist() == pytest.approx([0.5])  # 0.3 of one width and 0.4 of the other.


def test_what_lies_outside_a_channel_is_told_with_the_channel():
    inputs = points(UNLIKE, 2)
    inputs[1, 1, 2, 2] = 1.6
    with pytest.raises(InvalidInput, match=r"inputs must lie in \[-1, 1.5\] in channel 1, got values from .* to 1.6"):
        UNLIKE.check(inputs)
    with pytest.raises(InvalidInput, match=r"must be whole numbers .* got 0.5 in row 0"):
        UNLIKE_WHOLE.check(torch.tensor([[0.5, 0, 10, 0]]))
    UNLIKE.check(points(UNLIKE, 2).double())
    UNLIKE_WHOLE.check(points(UNLIKE_WHOLE, 2).long())


@pytest.mark.parametrize(
    ("bounds", "rule"),
    [
        (((0, 1), (1, 1)), "lower must be below upper, got 1 and 1 in channel 1"),
        (((0, 1, 2), 3), "lower must be one number, or one number for each of the 2 channels, got 3 numbers"),
        ((0, (1, math.inf)), "upper must be a finite number, got inf"),
        ((0, (1, "2")), "upper must be one number, or one number per channel, got '2'"),
    ],
)
def test_bounds_that_are_none_are_refused_in_one_line(bounds, rule):
    with pytest.raises(InvalidInput) as told:
        Box((2, 4, 4), *bounds)
    assert rule in str(told.value)
    assert "\n" not in str(told.value)


def test_numpys_arrays_are_bounds_and_both_ends_become_tuples():
    box = Box((2,), 0, np.array([1, 2]))
    assert (box.lower, box.upper) == ((0, 0), (1, 2))
    assert Box((2,), torch.tensor([0.0, 0.5]), 1.0).lower == (0.0, 0.5)
    assert eval(repr(box), {"Box": Box}) == box
    assert hash(box) == hash(Box((2,), [0, 0], (1, 2)))
    assert relaxed(UNLIKE_WHOLE) == Box((4,), UNLIKE_WHOLE.lower, UNLIKE_WHOLE.upper)


@given(seed=st.integers(0, 1000))
def test_flat_points_are_clipped_as_shaped_ones(seed):
    wild = 500 * torch.randn(3, 3, 4, 4, generator=randomness.generator(seed, "wild"))
    shaped = UNLIKE.clip(wild)
    flat = wild.flatten(1)
    assert torch.equal(UNLIKE.clip(flat, out=flat), shaped.flatten(1))
    assert torch.equal(flat, shaped.flatten(1))
    assert torch.equal(UNLIKE.clip(wild[:, None].repeat(1, 2, 1, 1, 1)), shaped[:, None].repeat(1, 2, 1, 1, 1))
    low, high = (torch.tensor(edge)[:, None, None] for edge in (UNLIKE.lower, UNLIKE.upper))
    assert torch.equal(shaped, wild.maximum(low).minimum(high))


def test_clipped_points_are_legal_where_float32_cannot_tell_the_bounds_apart():
    domain = Box((2,), (1e6 + 0.01, 0.0), (1e6 + 0.02, 1.0))
    for inputs in (torch.zeros(1, 2), torch.full((1, 2), 1e7), points(domain, 1)):
        domain.check(domain.clip(inputs))


def test_what_moves_into_view_is_black_in_each_channel():
    images = points(UNLIKE, 2)
    moved = augment.apply(augment.Move(right=1), images, fill=UNLIKE.lower)
    assert moved[..., 0].unique().tolist() == [-1, 0, 100]
    assert torch.equal(moved[..., 1:], images[..., :-1])
    turned = augment.apply(augment.Move(degrees=30.0), images, fill=UNLIKE.lower)
    low, high = (torch.tensor(edge)[:, None, None] for edge in (UNLIKE.lower, UNLIKE.upper))
    unit = augment.apply(augment.Move(degrees=30.0), (images - low) / (high - low), fill=0.0)
    torch.testing.assert_close((turned - low) / (high - low), unit, atol=1e-5, rtol=0)
    signal = Augmentation(moves=(augment.Move(right=1), augment.Move(degrees=8.0, flip=True)), name="moves")
    plan = signal.prepare(samples_of(UNLIKE, images, [0, 1]), Knowledge(), 0)
    plan.measure(HalfSpace(UNLIKE, 0, 0.5))


@pytest.mark.parametrize("search", ["hopskipjump", "geoda"])
@pytest.mark.parametrize("whole", [False, True])
def test_the_distance_to_a_boundary_counts_in_widths(search, whole):
    domain = Box((2,), (0, -500), (10, 500), whole=whole)
    samples = samples_of(domain, [[5, -300], [2, 250], [3, -100]], [0, 1, 1])
    oracle = HalfSpace(domain, 1, 100)
    found = Boundary(queries=200, search=search).prepare(samples, Knowledge(), 0).measure(oracle)
    # 400 and 150 of 1000; the last one is misclassified. Whole numbers above 100 begin at 101.
    torch.testing.assert_close(found.values[:, 0], torch.tensor([0.4 + whole * 1e-3, 0.15, 0.0]), atol=2e-3, rtol=0)
    assert found.complete.all()
    # No legal point of another label lies nearer: what was found is a point that was asked about.
    assert (found.values[:2, 0] >= torch.tensor([0.4 + whole * 1e-3, 0.15]) - 1e-6).all()
    scaled = Box((2,), whole=False)
    if not whole:
        inputs = torch.tensor([[0.5, 0.2], [0.2, 0.75], [0.3, 0.4]])
        plan = Boundary(queries=200, search=search).prepare(samples_of(scaled, inputs, [0, 1, 1]), Knowledge(), 0)
        torch.testing.assert_close(plan.measure(HalfSpace(scaled, 1, 0.6)).values, found.values, atol=1e-5, rtol=0)


def test_a_boundary_that_is_not_found_lies_as_far_as_the_farthest_corner():
    domain = Box((2,), (0.0, 0.0), (1.0, 1000.0))
    samples = samples_of(domain, [[0.25, 500.0]], [0])
    found = Boundary(queries=50).prepare(samples, Knowledge(population=samples), 0).measure(HalfSpace(domain, 1, 2000))
    assert found.values.item() == pytest.approx((0.75**2 + 0.5**2) ** 0.5)
    assert not found.complete.any()


def test_routes_go_where_the_margin_falls_most_per_width():
    domain = Box((2,), (0.0, 0.0), (1.0, 1000.0))
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[0.3, 0.0004], [0.0, 0.0]])
    layer.bias.data.zero_()
    route = craft(samples_of(domain, [[0.5, 500.0]], [0]), [nn.Sequential(nn.Flatten(), layer)], Toward.OTHERS, seed=0)
    direction, lengths = route.line
    # Per width the slopes are 0.3 and 0.4.
    torch.testing.assert_close(direction, torch.tensor([[-0.6, -800.0]]))
    assert torch.equal(lengths, lengths_of(Box((2,))))
    every = route.points(torch.zeros(lengths.numel(), dtype=torch.int64), torch.arange(lengths.numel()))
    domain.check(every)


def test_a_defenses_noise_is_the_same_share_of_any_width():
    assert _level(Box((2,), 0.0, 4.0), 0.5).sigma == 2.0
    assert _level(UNLIKE, 0.5).sigma == 0.5


def test_a_shown_image_goes_from_black_to_white_in_each_channel(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "hardlabel.audits.findings.shown_record.Image.fromarray", lambda pixels: shown.append(pixels) or 1 / 0
    )
    ends = [torch.tensor(edge)[:, None, None].expand(3, 4, 4) for edge in (UNLIKE.lower, UNLIKE.upper)]
    for place in (0, 1):
        with pytest.raises(ZeroDivisionError):
            text_or_image(samples_of(UNLIKE, torch.stack(ends), [0, 1]), place)
    assert [np.unique(pixels).tolist() for pixels in shown] == [[0], [255]]


def test_a_shown_row_has_no_digits_of_the_encoding():
    frame = pd.DataFrame({"charge": [84.1, 4113.1, 20.05], "total": [1234567.8, 0.25, 3.0], "tenure": [40, 1, 2]})
    table = MixedTable.fit(frame.assign(plan=["a", "b", "a"]))
    samples = samples_of(table, table.encode(frame.assign(plan=["a", "b", "a"])), [0, 1, 0])
    assert text_or_image(samples, 0) == "charge 84.1, total 1234567.8, tenure 40, plan a"
    assert text_or_image(samples, 1) == "charge 4113.1, total 0.25, tenure 1, plan b"


def test_bounds_per_channel_come_back_from_a_file_with_their_types():
    for domain in (UNLIKE, UNLIKE_WHOLE):
        back = mapped._domain(json.loads(json.dumps(mapped._told(domain))))
        assert repr(back) == repr(domain)
        assert back == domain


def test_a_record_shows_no_bounds_of_channels():
    assert described(UNLIKE) == "Box of shape (3, 4, 4)"
    assert described(Box((2,), 0, 7)) == "Box(shape=(2,), lower=0, upper=7)"
    assert channel_bounds(BinaryFeatures(2)) is None

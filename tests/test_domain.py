"""Domains keep every query legal, and their noise is what it says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Box, NoiseLevel, infer_domain, l2

DOMAINS = [Box((3, 4, 4)), Box((5,), -1.0, 2.0), BinaryFeatures(12)]


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

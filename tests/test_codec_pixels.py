"""Images become points and come back as they were; whatever is asked is an image that the caller's type can store."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardlabel import randomness
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec
from hardlabel.data.codecs.pixels import Layout, PixelCodec
from hardlabel.data.domain import Box, NoiseLevel, infer_domain
from hardlabel.data.forms import form_of, points_of

SHAPES = {Layout.FIRST: (3, 6, 5), Layout.LAST: (6, 5, 3), Layout.GREY: (5, 5)}
WHOLE = ["uint8", "int8", "int16", "uint16", "int32", "int64", "bool"]
FLOATS = ["float16", "float32", "float64"]


def images(dtype, shape, container="numpy", count=4, seed=0):
    """Images that use the whole range of the type, up to what float32 holds, or half of [0, 1]."""
    rng = np.random.default_rng(seed)
    if dtype in FLOATS:
        given = rng.integers(0, 512, (count, *shape)).astype(dtype) / np.dtype(dtype).type(1024)
    elif dtype == "bool":
        given = rng.random((count, *shape)) < 0.5
    else:
        limits = np.iinfo(dtype)
        given = rng.integers(max(limits.min, -(2**24)), min(limits.max, 2**24), (count, *shape), endpoint=True)
        given = given.astype(dtype)
    return torch.from_numpy(given) if container == "torch" else given


def same(first, second):
    """Whether two arrays or tensors agree in container, type, shape and values."""
    assert type(first) is type(second)
    assert first.dtype == second.dtype
    assert tuple(first.shape) == tuple(second.shape)
    return bool((first == second).all())


@pytest.mark.parametrize("container", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", [*WHOLE, *FLOATS])
@pytest.mark.parametrize("layout", SHAPES)
def test_images_come_back_as_they_were_and_every_legal_point_is_an_image(layout, dtype, container):
    if layout == Layout.FIRST and dtype in FLOATS:
        return
    original = images(dtype, SHAPES[layout], container)
    codec: Codec = PixelCodec.fit({"members": original, "nonmembers": original[:2]})
    assert codec.layout == layout
    points = codec.encode(original)
    assert points.dtype == torch.float32
    assert points.shape == (4, *codec.domain.shape)
    assert same(codec.decode(points), original)
    domain, generator = codec.domain, randomness.generator(0, "legal")
    noisy = domain.noisy(points, domain.noise_source(3, generator), domain.noise_levels[-1]).flatten(0, 1)
    for legal in (domain.random(5, generator), noisy, domain.clip(points * 3 - 70)):
        domain.check(legal)
        decoded = codec.decode(legal)
        assert type(decoded) is type(original)
        assert decoded.dtype == original.dtype
        if dtype != "float16":  # Whose numbers are fewer than float32's.
            assert torch.equal(codec.encode(decoded), legal)
            assert same(codec.decode(codec.encode(decoded)), decoded)


def test_the_axes_are_those_of_the_images():
    original = images("uint8", (6, 5, 3))
    points = PixelCodec.fit({"members": original}).encode(original)
    for channel in range(3):
        np.testing.assert_array_equal(points[:, channel].numpy(), original[..., channel])
    grey = images("uint8", (6, 5))
    np.testing.assert_array_equal(PixelCodec.fit({"members": grey}).encode(grey)[:, 0].numpy(), grey)


@given(sigma=st.floats(0, 500), seed=st.integers(0, 1000))
def test_no_noise_leads_out_of_the_bytes(sigma, seed):
    original = images("uint8", (4, 4, 3), seed=seed)
    codec = PixelCodec.fit({"members": original})
    source = codec.domain.noise_source(2, randomness.generator(seed, "noise"))
    copies = codec.domain.noisy(codec.encode(original), source, NoiseLevel(sigma=sigma)).flatten(0, 1)
    assert same(codec.decode(copies), copies.permute(0, 2, 3, 1).numpy().astype("uint8"))
    np.testing.assert_array_equal(codec.decode(copies).astype("float32"), copies.permute(0, 2, 3, 1).numpy())


def test_what_is_decoded_may_be_written_into():
    for original in (images("uint8", (6, 5, 3)), images("float32", (5, 5)), images("float32", (5, 5), "torch")):
        codec = PixelCodec.fit({"members": original})
        points = codec.encode(original)
        kept, decoded = points.clone(), codec.decode(points)
        decoded[:] = 0
        assert torch.equal(points, kept)
        assert same(codec.decode(points), original)


@pytest.mark.parametrize(
    ("given", "domain"),
    [
        (np.zeros((2, 8, 8, 3), "uint8"), Box((3, 8, 8), 0.0, 255.0, whole=True)),  # Black pictures are bytes too.
        (np.ones((2, 3, 8, 8), "uint8"), Box((3, 8, 8), 0.0, 255.0, whole=True)),
        (np.array([0, 100], "int8").reshape(2, 1, 1), Box((1, 1, 1), 0.0, 127.0, whole=True)),
        (np.array([0, 100], "int16").reshape(2, 1, 1), Box((1, 1, 1), 0.0, 255.0, whole=True)),
        (np.array([0, 60_000], "uint16").reshape(2, 1, 1), Box((1, 1, 1), 0.0, 60_000.0, whole=True)),
        (np.array([0, 1], "int64").reshape(2, 1, 1), Box((1, 1, 1), 0.0, 1.0, whole=True)),
        (np.array([False, False]).reshape(2, 1, 1), Box((1, 1, 1), 0.0, 1.0, whole=True)),
        (np.array([-0.5, 1.0]).reshape(2, 1, 1), Box((1, 1, 1), -1.0, 1.0)),
        (np.array([0.0, 200.5]).reshape(2, 1, 1), Box((1, 1, 1), 0.0, 255.0)),
    ],
)
def test_the_box_is_that_of_the_type_or_of_the_values(given, domain):
    codec = PixelCodec.fit({"members": given[:1], "nonmembers": given[1:]})
    assert codec.domain == domain
    assert repr(codec.domain) == repr(domain)


@pytest.mark.parametrize("shape", [(4,), (4, 8), (4, 2, 8, 8, 3), (0, 8, 8), (0, 3, 8, 8)])
def test_what_is_no_image_needs_no_codec_of_images(shape):
    assert PixelCodec.fit({"members": np.zeros(shape, "uint8")}) is None


def test_floats_get_the_box_that_they_had_with_channels_first():
    given = images("float32", (6, 5, 3))
    first = torch.from_numpy(given).permute(0, 3, 1, 2)
    assert PixelCodec.fit({"members": given}).domain == infer_domain(first)
    assert PixelCodec.fit({"members": first}) is None
    assert PixelCodec.fit({"members": first.numpy().astype("float64")}) is None
    assert PixelCodec.fit({"members": np.full((2, 2, 9, 9), 0.5)}) is None  # Two channels, first as ever.


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((3, 32, 30), Layout.FIRST),
        ((32, 30, 4), Layout.LAST),
        ((1, 4, 4), Layout.FIRST),
        ((4, 4, 1), Layout.LAST),
        ((2, 5, 7), Layout.FIRST),
        ((28, 28), Layout.GREY),
    ],
)
def test_channels_are_recognised_by_their_number_and_by_square_images(shape, layout):
    assert PixelCodec.fit({"members": np.zeros((2, *shape), "uint8")}).layout == layout


@pytest.mark.parametrize(
    ("groups", "rule"),
    [
        ({"members": np.zeros((2, 3, 32, 3), "uint8")}, "members (2, 3, 32, 3) may have channels first or last"),
        ({"members": np.zeros((2, 3, 3, 3))}, "may have channels first or last: give (n, c, h, w) as floats and pass"),
        ({"members": np.zeros((2, 48, 2))}, "members (2, 48, 2) may be grey images or series: give images as (n, 1, h"),
        (
            {"members": np.zeros((2, 8, 8)), "nonmembers": np.zeros((2, 8, 9))},
            "agree in shape, got members (2, 8, 8), nonmembers (2, 8, 9)",
        ),
        (
            {"members": np.zeros((2, 8, 8), "uint8"), "nonmembers": np.zeros((2, 8, 8))},
            "all be whole numbers or all be floats, got members uint8, nonmembers float64",
        ),
        ({"members": np.array([["a"]])}, "members must hold arrays of real numbers, got inputs of type <U1"),
        (
            {"members": torch.zeros(2, 8, 8, dtype=torch.complex64)},
            "members must hold arrays of real numbers, got inputs of type complex64",
        ),
        ({"members": np.full((2, 8, 8), np.nan)}, "must be finite, got NaN or infinity"),
        (
            {"members": np.full((2, 8, 8), 2**24 + 1)},
            "2**24 = 16777216 in size, which float32 holds exactly, got 1677721",
        ),
        ({"members": torch.full((2, 8, 8), -(2**40))}, "got -1099511627776"),
        ({}, "at least one array of images"),
    ],
)
def test_what_cannot_be_images_is_refused_in_one_line(groups, rule):
    with pytest.raises(InvalidInput) as told:
        PixelCodec.fit(groups)
    assert rule in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (images("float32", (6, 5, 3)), "others must be images of type uint8, got float32"),
        (np.full((1, 6, 5, 3), 256), r"others must lie in \[0, 255\], got values from 256 to 256"),
        (images("uint8", (3, 6, 5)), r"others must be images \(n, 6, 5, 3\), got \(4, 3, 6, 5\)"),
        (images("uint8", (6, 5)), r"others must be images \(n, 6, 5, 3\), got \(4, 6, 5\)"),
    ],
)
def test_other_images_than_those_of_the_codec_are_refused(given, rule):
    codec = PixelCodec.fit({"members": images("uint8", (6, 5, 3))})
    with pytest.raises(InvalidInput, match=rule):
        codec.encode(given, "others")


def test_a_codec_can_be_compared_and_tells_what_it_was_given():
    codec = PixelCodec.fit({"members": images("uint8", (6, 5, 3))})
    assert hash(codec) == hash(PixelCodec.fit({"members": images("uint8", (6, 5, 3), seed=1)}))
    assert codec != PixelCodec.fit({"members": images("uint8", (6, 5, 3), "torch")})
    assert codec.summary == "uint8 images of 5 x 6 pixels and 3 channels, channels last"
    assert PixelCodec.fit({"members": images("float64", (5, 5))}).summary == "float64 images of 5 x 5 pixels, grey"


@pytest.mark.parametrize(
    "given",
    [
        np.arange(4, dtype=">i4"),
        np.arange(4, dtype=">f8"),
        torch.arange(4, dtype=torch.bfloat16),
        torch.arange(4).to(torch.uint16),
        torch.arange(4.0, requires_grad=True),
    ],
    ids=str,
)
def test_rare_types_come_back_too(given):
    points = points_of(given, "given")
    assert points.tolist() == [0, 1, 2, 3]
    back = form_of(given, "given").restored(points)
    assert back.dtype == given.dtype
    assert back.tolist() == [0, 1, 2, 3]


def test_the_greatest_whole_number_of_float32_passes_and_the_next_does_not():
    for make in (np.array, torch.tensor):
        assert points_of(make([2**24, -(2**24)]), "given").tolist() == [2**24, -(2**24)]
        with pytest.raises(InvalidInput, match="got 16777217"):
            points_of(make([0, 2**24 + 1]), "given")

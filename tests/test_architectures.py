import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hardlabel.checks import InvalidInput
from hardlabel.models.architectures import ARCHITECTURES, build, penultimate

CIFAR = (3, 32, 32)


def weights_in(model):
    return sum(weight.numel() for weight in model.parameters())


def convolution(narrow, wide, side=3):
    return wide * narrow * side**2


def linear(inputs, outputs):
    return inputs * outputs + outputs


def small_shape(name):
    """A shape that the network takes."""
    return (12, 3) if name == "cnn1d" else (1, 12, 12)


def images(count, shape=CIFAR):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "across"),
    [(CIFAR, 6), ((1, 28, 28), 5)],  # 32 -> 32, 30, 15 -> 15, 13, 6; 28 -> 28, 26, 13 -> 13, 11, 5.
)
def test_the_papers_cnn_has_the_weights_counted_by_hand(shape, across):
    convolutions = [(shape[0], 32), (32, 32), (32, 64), (64, 64)]
    by_hand = sum(convolution(narrow, wide) + wide for narrow, wide in convolutions)
    by_hand += linear(64 * across * across, 512) + linear(512, 10)
    assert weights_in(build("cnn", shape=shape, classes=10, seed=0)) == by_hand


def test_the_papers_cnn_answers_as_its_written_out_twin():
    model = build("cnn", shape=CIFAR, classes=10, seed=0)
    first, second, third, fourth, dense, last = (
        (layer.weight, layer.bias) for layer in model if isinstance(layer, nn.Conv2d | nn.Linear)
    )
    x = images(4)
    by_hand = functional.conv2d(x, *first, padding=1).relu()
    by_hand = functional.max_pool2d(functional.conv2d(by_hand, *second).relu(), 2)
    by_hand = functional.conv2d(by_hand, *third, padding=1).relu()
    by_hand = functional.max_pool2d(functional.conv2d(by_hand, *fourth).relu(), 2)
    by_hand = functional.linear(functional.linear(by_hand.flatten(1), *dense).relu(), *last)
    torch.testing.assert_close(model(x), by_hand)


def test_pooling_before_the_rectifier_changes_no_bit_of_values_or_gradients():
    ours = build("cnn", shape=CIFAR, classes=10, seed=0)
    papers = nn.Sequential(*(ours[place] for place in (0, 1, 2, 4, 3, 5, 6, 7, 9, 8, 10, 11, 12, 13)))
    assert [type(layer) for layer in papers] != [type(layer) for layer in ours]
    told = []
    for model in (ours, papers):
        x = images(8).requires_grad_()
        logits = model(x)
        told.append((logits, *torch.autograd.grad(logits.square().sum(), (x, *model.parameters()))))
    for mine, theirs in zip(*told, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(("name", "depth"), [("fc", 1), ("fc-1", 1), ("fc-2", 2), ("fc-12", 12)])
def test_the_fully_connected_network_answers_as_its_written_out_twin(name, depth):
    model = build(name, shape=(446,), classes=30, seed=0)
    assert weights_in(model) == linear(446, 128) + (depth - 1) * linear(128, 128) + linear(128, 30)
    layers = [(layer.weight, layer.bias) for layer in model if isinstance(layer, nn.Linear)]
    x = images(4, (446,))
    by_hand = x
    for weight, bias in layers[:-1]:
        by_hand = torch.tanh(by_hand @ weight.T + bias)
    torch.testing.assert_close(model(x), by_hand @ layers[-1][0].T + layers[-1][1])


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4)])
def test_logistic_regression_is_one_affine_map(shape):
    model = build("logistic", shape=shape, classes=3, seed=0)
    weight, bias = model.parameters()
    x = images(5, shape)
    torch.testing.assert_close(model(x), x.flatten(1) @ weight.T + bias)


def test_resnet18_has_the_weights_counted_by_hand():
    stages = [(64, 64), (64, 128), (128, 256), (256, 512)]
    by_hand = convolution(3, 64) + 2 * 64 + linear(512, 10)
    for narrow, wide in stages:
        by_hand += convolution(narrow, wide) + 3 * convolution(wide, wide) + 4 * 2 * wide
        by_hand += (convolution(narrow, wide, 1) + 2 * wide) * (narrow != wide)
    assert by_hand == 11_173_962
    model = build("resnet18", shape=CIFAR, classes=10, seed=0)
    assert weights_in(model) == by_hand
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) - 3 == 18  # The three projecting shortcuts are not counted in its name.


def test_resnet8_has_the_weights_counted_by_hand():
    by_hand = convolution(3, 16) + 2 * 16 + linear(64, 10)
    for narrow, wide in [(16, 16), (16, 32), (32, 64)]:
        by_hand += convolution(narrow, wide) + convolution(wide, wide) + 2 * 2 * wide
        by_hand += (convolution(narrow, wide, 1) + 2 * wide) * (narrow != wide)
    model = build("resnet8", shape=CIFAR, classes=10, seed=0)
    assert weights_in(model) == by_hand == 78_042
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) - 2 == 8  # Two projecting shortcuts.


def test_resnet18_halves_32_pixels_three_times():
    x, sizes = images(2), []
    for layer in build("resnet18", shape=CIFAR, classes=10, seed=0).eval():
        x = layer(x)
        sizes.append(tuple(x.shape[1:]))
    stages = [(64, 32, 32)] * 2 + [(128, 16, 16)] * 2 + [(256, 8, 8)] * 2 + [(512, 4, 4)] * 2
    assert sizes == [(64, 32, 32)] * 3 + stages + [(512, 1, 1), (512,), (10,)]


def test_a_residual_block_adds_its_shortcut_before_the_last_rectifier():
    model = build("resnet18", shape=CIFAR, classes=10, seed=0).eval()
    plain, projecting = model[3], model[5]
    x = images(2, (64, 8, 8))
    for block in (plain, projecting):
        first, _, _, second, _ = block.path
        shortcut = block.shortcut[0](x) if block is projecting else x
        fresh = (1 + 1e-5) ** -0.5  # What a batch normalisation that has seen nothing multiplies by.
        shortcut = shortcut * (fresh if block is projecting else 1)
        by_hand = (second((first(x) * fresh).relu()) * fresh + shortcut).relu()
        torch.testing.assert_close(block(x), by_hand, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "fc-3"])
def test_the_seed_alone_fixes_the_first_weights(name):
    def weights(seed):
        return torch.cat([w.flatten() for w in build(name, shape=small_shape(name), classes=4, seed=seed).parameters()])

    torch.manual_seed(1)
    one = weights(5)
    torch.manual_seed(2)
    assert torch.equal(one, weights(5))
    assert not torch.equal(one, weights(6))


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build("fc", shape=(4,), classes=2, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "fc-3"])
def test_the_last_layer_reads_the_penultimate_features(name):
    model = build(name, shape=small_shape(name), classes=4, seed=0).eval()
    x = images(3, small_shape(name))
    torch.testing.assert_close(model[-1](penultimate(model, x)), model(x))


@given(height=st.integers(1, 14), width=st.integers(1, 14), name=st.sampled_from(["cnn", "logistic", "fc"]))
@settings(deadline=None)
def test_an_image_is_refused_exactly_where_no_pixel_would_be_left(height, width, name):
    shape = (1, height, width)
    if name == "cnn" and min(height, width) < 10:
        with pytest.raises(InvalidInput, match=rf"at least 10 x 10 pixels.*'cnn', got \(1, {height}, {width}\)"):
            build(name, shape=shape, classes=2, seed=0)
    else:
        assert build(name, shape=shape, classes=2, seed=0)(images(2, shape)).shape == (2, 2)


def test_resnet18_takes_8_pixels_and_not_7():
    assert build("resnet18", shape=(1, 8, 8), classes=2, seed=0)(images(2, (1, 8, 8))).shape == (2, 2)
    with pytest.raises(InvalidInput, match="at least 8 x 8 pixels"):
        build("resnet18", shape=(1, 8, 7), classes=2, seed=0)


@pytest.mark.parametrize("name", ["cnn", "resnet8", "resnet18"])
def test_a_flat_vector_is_refused_by_networks_for_images(name):
    with pytest.raises(InvalidInput, match=r"shape must be \(channels, height, width\).*got \(446,\)"):
        build(name, shape=(446,), classes=2, seed=0)


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(InvalidInput, match="'resnet' is unknown: did you mean 'resnet8'"):
        build("resnet", shape=CIFAR, classes=2, seed=0)


@pytest.mark.parametrize("name", ["fc-0", "fc-", "fc-100", "fc-2x", "FC"])
def test_a_depth_out_of_range_is_refused(name):
    with pytest.raises(InvalidInput, match="is unknown"):
        build(name, shape=(4,), classes=2, seed=0)


@pytest.mark.parametrize(("shape", "classes"), [((), 2), ((0,), 2), ((4,), 1)])
def test_nothing_to_tell_apart_is_refused(shape, classes):
    with pytest.raises(InvalidInput, match=r"shape must list positive sizes|classes must be at least 2"):
        build("fc", shape=shape, classes=classes, seed=0)

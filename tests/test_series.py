"""Series: noise is what it says, every question is a series, and an audit of a user's 1-D network runs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import hardlabel
from hardlabel import Attacker, Recipe, Series, randomness
from hardlabel.audits.kind import described
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.base import Codec
from hardlabel.data.codecs.series import SeriesCodec
from hardlabel.data.domain import NoiseLevel, relaxed, rounded
from hardlabel.data.samples import Samples
from hardlabel.models.architectures import build, penultimate, usual_architecture
from hardlabel.models.train import train
from hardlabel.signals.base import Knowledge
from hardlabel.signals.boundary import Boundary
from hardlabel.signals.features import Features, parts_for
from hardlabel.signals.noise import Noise
from hardlabel.signals.routes import Toward, craft

DOMAINS = [
    Series((12,), -1.0, 3.0),
    Series((9, 2), (0.0, -50.0), (1.0, 50.0)),
    Series((10, 3), (0, 5, -7), (1, 300, 7), whole=True),
    Series((2,)),
    Series((1, 2)),
]
MIXED = NoiseLevel(sigma=0.2, scaling=0.5, shift=0.3, warp=0.7)


def points(domain, count, seed=0):
    return domain.random(count, randomness.generator(seed, "test points"))


def noisy(domain, inputs, level, draws=5, seed=0):
    return domain.noisy(inputs, domain.noise_source(draws, randomness.generator(seed, "noise")), level)


# The domain.


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
@given(seed=st.integers(0, 2**32 - 1), strengths=st.tuples(*[st.floats(0, 1)] * 4))
def test_noisy_clipped_and_random_series_are_legal(domain, seed, strengths):
    sigma, scaling, shift, warp = strengths
    inputs = points(domain, 3, seed)
    domain.check(inputs)
    copies = noisy(domain, inputs, NoiseLevel(sigma=sigma, scaling=4 * scaling, shift=shift, warp=4 * warp), 4, seed)
    assert copies.shape == (3, 4, *domain.shape)
    assert copies.dtype == torch.float32
    domain.check(copies.flatten(0, 1))
    domain.check(domain.clip(1000 * (inputs - 0.5)))
    flat = (1000 * (inputs - 0.5)).flatten(1)
    assert torch.equal(domain.clip(flat).reshape(inputs.shape), domain.clip(1000 * (inputs - 0.5)))


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_a_copy_depends_neither_on_company_nor_on_order(domain):
    inputs = points(domain, 6)
    source = domain.noise_source(3, randomness.generator(0, "noise"))
    together = domain.noisy(inputs, source, MIXED)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    assert torch.equal(domain.noisy(inputs[order], source, MIXED), together[order])
    assert torch.equal(domain.noisy(inputs[2:3], source[1:2], MIXED)[0, 0], together[2, 1])


@pytest.mark.parametrize("domain", DOMAINS, ids=str)
def test_no_noise_changes_nothing_and_each_sort_changes_something(domain):
    inputs = points(domain, 3)
    assert torch.equal(noisy(domain, inputs, NoiseLevel()), inputs[:, None].expand(-1, 5, *domain.shape))
    for level in domain.noise_levels[-4:]:
        if math.prod(domain.shape) > 4:
            assert not torch.equal(noisy(domain, inputs, level), noisy(domain, inputs, NoiseLevel()))


def test_jitter_has_the_stated_share_of_each_channels_width():
    domain = Series((1000, 2), (-100.0, -1.0), (100.0, 1.0))
    deviations = noisy(domain, torch.zeros(1, 1000, 2), NoiseLevel(sigma=0.01), 50)[0].double().std((0, 1))
    for deviation, width in zip(deviations.tolist(), (200.0, 2.0), strict=True):
        assert abs(deviation - 0.01 * width) < 4 * 0.01 * width / (2 * 50_000) ** 0.5


def test_scaling_is_one_log_normal_factor_per_series_about_its_mean():
    domain = Series((8, 2), -1000.0, 1000.0)
    inputs = points(Series((8, 2)), 2)
    copies = noisy(domain, inputs, NoiseLevel(scaling=0.3), 4000).double()
    mean = inputs.double().mean(1, keepdim=True)
    factors = (copies - mean[:, None]) / (inputs - mean)[:, None]
    first = factors[:, :, :1, :1]
    torch.testing.assert_close(factors, first.expand_as(factors), atol=1e-4, rtol=1e-4)
    logarithms = first[0].log().flatten()
    assert abs(float(logarithms.mean())) < 4 * 0.3 / 4000**0.5
    assert abs(float(logarithms.std()) - 0.3) < 4 * 0.3 / 8000**0.5


def test_a_shift_moves_whole_steps_and_fills_with_the_end_value():
    domain, series = Series((40,), 0.0, 39.0), torch.arange(40.0)[None]
    copies = noisy(domain, series, NoiseLevel(shift=0.25), 2000)[0]
    moved = (20 - copies[:, 20]).long()
    for steps, copy in zip(moved[:200], copies, strict=False):
        assert torch.equal(copy, (torch.arange(40) - steps).clamp(0, 39).float())
    counts = torch.bincount(moved + 10, minlength=21)
    assert len(counts) == 21  # At most ten of forty steps, either way, each alike but for the two ends.
    assert (counts[1:-1] - 100).abs().max() < 4 * 100**0.5


def test_a_warp_keeps_the_order_of_values_and_both_ends():
    domain, series = Series((30,), 0.0, 29.0), torch.arange(30.0)[None]
    copies = noisy(domain, series, NoiseLevel(warp=0.8), 500)[0].double()
    assert (copies.diff(dim=1) > 0).all()
    assert torch.equal(copies[:, [0, -1]], torch.tensor([[0.0, 29.0]]).double().expand(500, 2))
    # Neighbouring steps are passed at nearly the same speed: the warp is smooth.
    speeds = copies.diff(dim=1).log()
    assert speeds.diff(dim=1).abs().mean() < 0.35 * speeds.std()
    assert 0.4 < speeds.std() < 1.2


def test_a_warp_moves_all_channels_together():
    domain = Series((20, 2), 0.0, 38.0)
    series = torch.stack([torch.arange(20.0), 2 * torch.arange(20.0)], 1)[None]
    copies = noisy(domain, series, NoiseLevel(warp=0.8, shift=0.2))
    torch.testing.assert_close(copies[..., 1], 2 * copies[..., 0])


def test_the_same_draws_go_further_at_higher_levels():
    domain, series = Series((30,), -100.0, 100.0), torch.linspace(-1, 1, 30)[None].cos()
    for name, strengths in (
        ("sigma", (0.001, 0.01)),
        ("scaling", (0.1, 0.3)),
        ("shift", (0.1, 0.4)),
        ("warp", (0.2, 1)),
    ):
        near, far = ((noisy(domain, series, NoiseLevel(**{name: s}), 50) - series).abs().sum() for s in strengths)
        assert far > 1.5 * near, name


def test_levels_are_distinct_and_the_middle_one_is_jitter():
    levels = DOMAINS[0].noise_levels
    assert len(set(levels)) == len(levels) == 20
    assert levels[len(levels) // 2] == NoiseLevel(sigma=0.1)
    for name in ("sigma", "scaling", "shift", "warp"):
        strengths = [getattr(level, name) for level in levels if getattr(level, name)]
        assert strengths == sorted(strengths)
        assert len(strengths) == 5


def test_levels_of_series_are_told_by_their_sorts():
    assert str(NoiseLevel(shift=0.1)) == "shift 0.1"
    assert str(MIXED) == "sigma 0.2, scaling 0.5, shift 0.3, warp 0.7"
    assert repr(NoiseLevel(warp=0.5)) == "NoiseLevel(sigma=0.0, flip=0.0, warp=0.5)"
    assert eval(repr(MIXED), {"NoiseLevel": NoiseLevel}) == MIXED
    for wrong in ({"shift": 1.5}, {"scaling": -0.1}, {"warp": -1}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            NoiseLevel(**wrong)


def test_bounds_come_from_the_data_channel_by_channel():
    first = np.array([[[0.0, 5.0], [1.0, 5.0]]])
    assert Series.of(first, torch.tensor([[[-2.0, 5.0], [0.5, 5.0]]])) == Series((2, 2), (-2.0, 5.0), (1.0, 6.0))
    assert Series.of([[1, 2, 9]]) == Series((3,), 1, 9, whole=True)
    assert repr(Series.of(np.array([[1, 2, 9]]))) == "Series(shape=(3,), lower=1, upper=9, whole=True)"
    thirds = np.array([[1 / 3, -2 / 3]])
    Series.of(thirds).check(torch.tensor(thirds, dtype=torch.float32))
    assert Series((4, 2), 0, [1, 2]) == Series((4, 2), (0, 0), (1, 2))


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: Series((2, 3, 4)), "shape must be (t,) or (t, c) for series, got (2, 3, 4)"),
        (lambda: Series((5, 2), (0, 0, 0), 1), "one number for each of the 2 channels, got 3 numbers"),
        (lambda: Series((5,), 1.0, 1.0), "lower must be below upper"),
        (lambda: Series((5,), 0.5, 2, whole=True), "lower must be whole"),
        (lambda: Series.of(), "none of them empty, got no array"),
        (lambda: Series.of(np.zeros((2, 3)), np.zeros((2, 4))), "got (2, 3), (2, 4)"),
        (lambda: Series.of(np.zeros((2, 3, 4, 5))), "series must be arrays (n, t) or (n, t, c)"),
        (lambda: Series.of(np.zeros((0, 3))), "none of them empty, got (0, 3)"),
        (
            lambda: Series.of(np.array([[0.0, np.nan]])),
            "must be finite, got NaN or infinity: fill missing values first",
        ),
        (lambda: Series.of(np.array([["a"]])), "series must hold arrays of real numbers"),
        (lambda: Series((3,)).check(torch.tensor([[0.0, 2.0, 0.0]])), "inputs must lie in [0, 1] in channel 0, got"),
        (lambda: DOMAINS[1].check(torch.full((1, 9, 2), 2.0)), "in [0, 1] in channel 0, got values from 2 to 2"),
        (lambda: DOMAINS[2].check(torch.full((1, 10, 3), 5.5)), "must lie in [0, 1] in channel 0"),
        (lambda: Series((2,), 0, 9, whole=True).check(torch.tensor([[0.5, 1]])), "must be whole numbers"),
    ],
)
def test_what_is_no_series_is_refused_in_one_line(make, rule):
    with pytest.raises(InvalidInput) as told:
        make()
    assert rule in str(told.value)
    assert "\n" not in str(told.value)


def test_distances_count_in_widths_of_each_channel():
    domain = Series((1, 2), (0.0, 0.0), (1.0, 100.0))
    assert domain.distance(torch.zeros(1, 1, 2), torch.tensor([[[0.3, 40.0]]])).tolist() == pytest.approx([0.5])


def test_gradients_may_move_whole_series_through_fractions():
    domain = DOMAINS[2]
    assert relaxed(domain) == Series((10, 3), (0, 5, -7), (1, 300, 7))
    assert rounded(domain, torch.full((1, 10, 3), 5.4))[0, 0].tolist() == [1, 5, 5]
    assert described(domain) == "Series of shape (10, 3)"


# The codec.


def drawn_series(dtype, shape, container, seed=0):
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        given = (rng.integers(-512, 512, (5, *shape)) / 64).astype(dtype)
    elif dtype == "bool":
        given = rng.random((5, *shape)) < 0.5
    else:
        given = rng.integers(0, 100, (5, *shape)).astype(dtype)
    return torch.from_numpy(given) if container == "torch" else given


@pytest.mark.parametrize("container", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (6, 3)])
def test_series_come_back_as_they_were_and_every_legal_point_is_a_series(shape, dtype, container):
    original = drawn_series(dtype, shape, container)
    codec: Codec = SeriesCodec.fit({"members": original, "nonmembers": original[1:]})
    encoded = codec.encode(original)
    assert encoded.dtype == torch.float32
    back = codec.decode(encoded)
    assert (type(back), back.dtype, tuple(back.shape)) == (type(original), original.dtype, tuple(original.shape))
    assert bool((back == original).all())
    domain = codec.domain
    copies = noisy(domain, encoded, MIXED).flatten(0, 1)
    for legal in (points(domain, 4), copies, domain.clip(3 * encoded)):
        domain.check(legal)
        decoded = codec.decode(legal)
        assert (type(decoded), decoded.dtype) == (type(original), original.dtype)
        if dtype != "float16":  # Whose numbers are fewer than float32's.
            assert torch.equal(codec.encode(decoded), legal)


def test_a_codec_takes_a_given_domain_and_refuses_what_lies_outside():
    counts = np.array([[1, 5, 2], [0, 3, 9]])
    codec = SeriesCodec.fit({"members": counts}, Series((3,), 0, 20, whole=True))
    assert codec.domain.upper == 20
    assert codec.summary == "int64 series of 3 steps"
    assert SeriesCodec.fit({"members": np.zeros((2, 4, 3))}).summary == "float64 series of 4 steps and 3 channels"
    with pytest.raises(InvalidInput, match=r"members must lie in \[0, 5\] in channel 0, got values from 0 to 9"):
        SeriesCodec.fit({"members": counts}, Series((3,), 0, 5, whole=True))
    with pytest.raises(InvalidInput, match="domain must have whole=True for series of type int64"):
        SeriesCodec.fit({"members": counts}, Series((3,), 0, 20))
    with pytest.raises(InvalidInput, match="all be whole numbers or all be floats, got members int64, others float64"):
        SeriesCodec.fit({"members": counts, "others": counts / 2})
    with pytest.raises(InvalidInput, match="others must be series of type int64, got float32"):
        codec.encode(torch.zeros(1, 3), "others")


# The network.


@pytest.mark.parametrize("shape", [(8,), (20, 3)])
def test_the_network_for_series_answers_as_its_written_out_twin(shape):
    model = build("cnn1d", shape=shape, classes=4, seed=0)
    first, second, third, dense, last = (
        (layer.weight, layer.bias) for layer in model if isinstance(layer, nn.Conv1d | nn.Linear)
    )
    x = points(Series(shape), 5)
    by_hand = x[:, None] if len(shape) == 1 else x.permute(0, 2, 1)
    by_hand = functional.conv1d(by_hand, *first, padding=3).relu()
    by_hand = functional.max_pool1d(functional.conv1d(by_hand, *second, padding=2).relu(), 2)
    by_hand = functional.conv1d(by_hand, *third, padding=1).relu().mean(2)
    by_hand = functional.linear(by_hand, *dense).relu()
    torch.testing.assert_close(penultimate(model, x), by_hand)
    torch.testing.assert_close(model(x), functional.linear(by_hand, *last))


def test_series_get_the_network_for_series_unless_they_are_short():
    assert [usual_architecture(Series((steps, 2))) for steps in (7, 8)] == ["fc", "cnn1d"]
    for shape in ((7,), (3, 16, 16)):
        with pytest.raises(InvalidInput, match=r"\(steps,\) or \(steps, channels\) with at least 8 steps"):
            build("cnn1d", shape=shape, classes=2, seed=0)


# Audits.


def sinusoids(count, seed, steps=48, classes=3):
    """Noisy waves whose frequency is their class, which a tenth of the labels hide; float32 (n, t)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    phases = rng.uniform(0, 2 * np.pi, (count, 1))
    waves = np.sin(2 * np.pi * (labels[:, None] + 2) * np.arange(steps) / steps + phases)
    noisy_labels = np.where(rng.random(count) < 0.1, rng.integers(0, classes, count), labels)
    return (waves + rng.normal(0, 0.8, waves.shape)).astype("float32"), noisy_labels


class UsersNetwork(nn.Module):
    """A user's own network; it keeps what it is asked in evaluation."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 24, 5), nn.ReLU(), nn.Conv1d(24, 24, 5), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 40, 3)
        )
        self.asked = []

    def forward(self, series):
        if not self.training:
            self.asked.append(series.detach().clone())
        return self.body(series[:, None])


def overfitted(inputs, labels, epochs=60):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = UsersNetwork()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    inputs, labels = torch.from_numpy(inputs), torch.from_numpy(labels)
    for _ in range(epochs):
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    return model.eval()


def test_an_audit_of_a_users_network_asks_legal_series_only():
    members, others, rest = (sinusoids(count, seed) for count, seed in ((50, 1), (50, 2), (80, 3)))
    model = overfitted(*members)
    domain = Series.of(members[0], others[0], rest[0])
    record = hardlabel.audit(
        model,
        members,
        others,
        population=rest,
        trainer=Recipe(architecture="cnn1d", max_epochs=15),
        domain=domain,
        attacks=["gap", "noise", "path", "lira"],
        budget=12,
        attacker=Attacker(references=2),
    )
    results = {result.name: result for result in record.results.attacks}
    assert set(results) == {"gap", "noise", "path", "lira"}
    # Hanley and McNeil: an AUC of 50 against 50 by guessing has a standard error of 0.058.
    assert all(result.auc.value > 0.5 - 4 * 0.058 for result in results.values())
    assert results["gap"].auc.value > 0.6
    assert record.results.domain == "series"
    asked = torch.cat(model.asked)
    domain.check(asked)
    assert len(asked) > 100 * (1 + 12 + 12)
    assert len(torch.unique(asked, dim=0)) > 1000


@pytest.mark.long
def test_random_members_are_not_told_from_others():
    """Members drawn at random from the non-members of a model: no attack may tell them."""
    trained, attacked, rest = (sinusoids(count, seed) for count, seed in ((60, 1), (240, 2), (200, 3)))
    model = overfitted(*trained)
    halves = [(attacked[0][rows], attacked[1][rows]) for rows in (slice(0, 120), slice(120, 240))]
    record = hardlabel.audit(
        model,
        *halves,
        population=rest,
        trainer=Recipe(architecture="cnn1d", max_epochs=30),
        domain=Series.of(attacked[0], rest[0]),
        attacks=["gap", "noise", "path", "lira", "boundary"],
        budget=60,
        attacker=Attacker(references=4),
    )
    error = ((120 + 120 + 1) / (12 * 120 * 120)) ** 0.5
    for result in record.results.attacks:
        assert abs(result.auc.value - 0.5) < 4 * error, result.name


def test_recipes_train_it_and_signals_measure_it():
    inputs, labels = sinusoids(90, 5)
    channels = np.stack([inputs, 100 * inputs], 2)
    domain = Series.of(channels)
    samples = Samples(
        ids=torch.arange(90), inputs=torch.from_numpy(channels), labels=torch.from_numpy(labels), domain=domain
    )
    trained = train(Recipe(architecture="cnn1d", max_epochs=10), samples, classes=3, seed=0)
    asked, part = [], samples.take(slice(0, 6))

    class Oracle:
        def ask(self, inputs, ids):
            domain.check(inputs)
            asked.append(len(inputs))
            return trained.model(inputs).argmax(1)

        def aside(self, purpose):
            return self

    route = craft(part, [trained.model], Toward.OTHERS, seed=0)
    rows, levels = torch.arange(6).repeat_interleave(23), torch.arange(23).repeat(6)
    domain.check(route.points(rows, levels))
    knowledge = Knowledge(population=samples, crafters=(trained.model,), second=(trained.model,))
    signals = (
        Noise(level=MIXED, draws=5),
        Boundary(queries=60),
        Boundary(queries=60, search="geoda"),
        Features(parts=parts_for(domain, 60)),
    )
    for signal in signals:
        found = signal.prepare(part, knowledge, 0).measure(Oracle())
        assert len(found.values) == 6
        assert (found.queries <= 60).all()
    assert sum(asked) > 100

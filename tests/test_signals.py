"""Signals measure what their closed forms say, at the stated cost, with legal queries only."""

import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from games import Constant, HalfSpace, Logistic, random_samples, samples_of
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.data.domain import BinaryFeatures, Box, NoiseLevel
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.signals import base
from hardlabel.signals.augmentation import Augmentation
from hardlabel.signals.base import Knowledge
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.gap import Gap
from hardlabel.signals.noise import Noise

NOTHING = Knowledge()


def measured(signal, oracle, samples, seed=0):
    return signal.prepare(samples, NOTHING, seed).measure(oracle)


def test_the_gap_is_whether_the_label_is_right():
    domain = Box((1,))
    samples = samples_of(domain, torch.tensor([[0.2], [0.8], [0.9]]), torch.tensor([0, 0, 1]))
    found = measured(Gap(), HalfSpace(domain, torch.ones(1), -0.5), samples)
    assert found.values[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert found.queries.tolist() == [1, 1, 1]


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_noise_survival_is_the_closed_form_of_a_half_space(margin, sigma):
    """A Gaussian leaves a half-space at distance m with probability 1 - Phi(m / sigma), in any dimension."""
    domain = Box((3,), -100.0, 100.0)
    w = torch.tensor([2.0, -1.0, 2.0])
    signal = Noise(level=NoiseLevel(sigma=sigma), draws=20_000)
    samples = samples_of(domain, (w / 3 * margin)[None], 1)
    found = measured(signal, HalfSpace(domain, w, 0.0), samples)
    four_standard_errors = 4 * 0.5 / math.sqrt(signal.draws)
    assert float(found.values[0, 0]) == pytest.approx(NormalDist().cdf(margin / sigma), abs=four_standard_errors)


def test_noise_survival_of_a_majority_vote_over_bits_is_binomial():
    """With 3 of 3 bits set and class 1 where 2 are, each bit kept with q = 1 - p: q^3 + 3 q^2 p."""
    domain = BinaryFeatures(3)
    signal = Noise(level=NoiseLevel(flip=0.3), draws=20_000)
    found = measured(signal, HalfSpace(domain, torch.ones(3), -1.5), samples_of(domain, torch.ones(1, 3), 1))
    truth = 0.7**3 + 3 * 0.7**2 * 0.3
    assert float(found.values[0, 0]) == pytest.approx(truth, abs=4 * 0.5 / math.sqrt(signal.draws))


def test_a_misclassified_sample_scores_0_for_the_one_query_that_showed_it():
    domain = Box((2,), -5.0, 5.0)
    samples = samples_of(domain, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([1, 0]))
    account = Account(per_sample=11)
    oracle = ChargedLabels(HalfSpace(domain, torch.tensor([1.0, 0.0]), 0.0), account)
    found = measured(Noise(level=NoiseLevel(sigma=0.1), draws=10), oracle, samples)
    assert found.values[:, 0].tolist() == [1.0, 0.0]
    assert found.queries.tolist() == account.spent(samples.ids).tolist() == [11, 1]


def test_all_misclassified_costs_one_query_each():
    domain = Box((2,))
    found = measured(Noise(level=NoiseLevel(sigma=0.1), draws=10), Constant(1), random_samples(domain, 4, classes=1))
    assert found.queries.tolist() == [1, 1, 1, 1]
    assert not found.values.any()


def test_a_seed_fixes_the_noise_and_another_gives_another():
    domain = Box((4,), -5.0, 5.0)
    samples, oracle = random_samples(domain, 30, classes=1), HalfSpace(domain, -torch.ones(4), 0.5)
    signal = Noise(level=NoiseLevel(sigma=3.0), draws=50)
    one, same, other = (measured(signal, oracle, samples, seed=seed).values for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_augmentation_bits_say_which_copies_keep_the_label():
    """Class 1 where the left half is the brighter one: a mirrored copy changes sides, a downward shift does not."""
    domain = Box((1, 4, 4))
    w = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4)
    picture = torch.zeros(1, 1, 4, 4)
    picture[..., :2] = 0.8
    moves = augment.union(augment.flips(), (augment.Move(down=1), augment.Move(right=2)))
    found = measured(Augmentation(name="test", moves=moves), HalfSpace(domain, w, 0.0), samples_of(domain, picture, 1))
    assert found.values.tolist() == [[1.0, 0.0, 1.0, 0.0]]
    assert found.queries.tolist() == [4]


@pytest.mark.parametrize("domain", [Box((5,)), BinaryFeatures(5)], ids=str)
def test_augmentation_needs_images(domain):
    with pytest.raises(InvalidInput, match="augmentation needs images"):
        Augmentation(name="test", moves=augment.flips()).prepare(random_samples(domain, 2, classes=2), NOTHING, 0)


def naive_statistic(name, p, y):
    """The definitions, one sample at a time, in Python floats."""
    if name == Statistic.CONFIDENCE:
        return p[y]
    if name == Statistic.LOSS:
        return math.log(p[y])
    if name == Statistic.LOGIT:
        return math.log(p[y]) - math.log(sum(q for j, q in enumerate(p) if j != y))
    if name == Statistic.ENTROPY:
        return sum(q * math.log(q) for q in p)
    others = sum(q * math.log(1 - q) for j, q in enumerate(p) if j != y)
    return (1 - p[y]) * math.log(p[y]) + others


@pytest.mark.parametrize("name", [s for s in Statistic if s != Statistic.VECTOR])
@given(logits=st.lists(st.floats(-6, 6), min_size=3, max_size=5), y=st.integers(0, 2))
@settings(max_examples=50)
def test_statistics_are_their_definitions(name, logits, y):
    logs = torch.tensor([logits], dtype=torch.float64).log_softmax(1)

    class Shown:
        def ask_scores(self, inputs, ids):
            return logs.float()

    samples = samples_of(Box((1,)), torch.zeros(1, 1), y)
    found = measured(Confidence(statistic=name), Shown(), samples)
    assert float(found.values[0, 0]) == pytest.approx(
        naive_statistic(name, logs.exp()[0].tolist(), y), rel=1e-4, abs=1e-5
    )


def test_loss_tells_apart_what_confidence_rounds_to_one():
    logs = torch.tensor([[-1e-9, -21.0], [-1e-12, -28.0]])

    class Shown:
        def ask_scores(self, inputs, ids):
            return logs

    samples = samples_of(Box((1,)), torch.zeros(2, 1), 0)
    confidence, loss, logit, entropy, modified = (
        measured(Confidence(statistic=s), Shown(), samples).values[:, 0]
        for s in (
            Statistic.CONFIDENCE,
            Statistic.LOSS,
            Statistic.LOGIT,
            Statistic.ENTROPY,
            Statistic.MODIFIED_ENTROPY,
        )
    )
    assert confidence[0] == confidence[1] == 1.0
    assert loss[0] < loss[1]
    assert logit.tolist() == pytest.approx([21.0, 28.0])
    assert entropy[0] < entropy[1]
    assert modified[0] < modified[1]


def test_impossible_classes_leave_every_statistic_finite():
    logs = torch.tensor([[0.0, -torch.inf, -torch.inf], [-torch.inf, 0.0, -torch.inf]])

    class Shown:
        def ask_scores(self, inputs, ids):
            return logs

    samples = samples_of(Box((1,)), torch.zeros(2, 1), 0)
    for statistic in Statistic:
        values = measured(Confidence(statistic=statistic), Shown(), samples).values
        assert bool(values.isfinite().all()), statistic
        assert values[0, 0] >= values[1, 0]


@pytest.mark.parametrize("statistic", Statistic)
def test_a_label_that_is_no_class_shown_is_refused(statistic):
    domain = Box((2,))
    samples = samples_of(domain, torch.zeros(3, 2), torch.tensor([1, 2, 0]))
    with pytest.raises(InvalidInput, match="labels must be below the 2 classes shown, got 2"):
        measured(Confidence(statistic=statistic), Logistic(domain, torch.ones(2), -1.0), samples)


def test_the_confidence_vector_has_the_true_class_first_and_the_others_falling():
    logs = torch.tensor([[0.2, 0.5, 0.3], [0.7, 0.1, 0.2]]).log()

    class Shown:
        def ask_scores(self, inputs, ids):
            return logs

    samples = samples_of(Box((1,)), torch.zeros(2, 1), torch.tensor([0, 2]))
    found = measured(Confidence(statistic=Statistic.VECTOR), Shown(), samples)
    torch.testing.assert_close(found.values.exp(), torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.7, 0.1]]))


IMAGES, VECTORS, BITS = Box((1, 6, 6)), Box((4,), -1.0, 1.0), BinaryFeatures(10)
LABEL_CASES = [
    *((Gap(), domain) for domain in (IMAGES, VECTORS, BITS)),
    *((Noise(level=NoiseLevel(sigma=0.3, flip=0.3), draws=7), domain) for domain in (IMAGES, VECTORS, BITS)),
    (Augmentation(name="shifts", moves=augment.translations(1)), IMAGES),
]


@pytest.mark.parametrize(("signal", "domain"), LABEL_CASES, ids=lambda case: getattr(case, "kind", None) or str(case))
def test_every_label_signal_keeps_the_contract(signal, domain, monkeypatch):
    """Announced cost, charged cost and reported cost agree; company, order, blocks and seed change nothing else."""
    samples = random_samples(domain, 9, classes=2)
    width = math.prod(domain.shape)
    oracle = HalfSpace(domain, torch.linspace(-1, 1, width), 0.1)
    plan = signal.prepare(samples, NOTHING, 5)
    account = Account(per_sample=plan.queries[1])
    found = plan.measure(ChargedLabels(oracle, account))
    assert found.queries.tolist() == account.spent(samples.ids).tolist()
    assert plan.queries[0] <= int(found.queries.min())
    assert int(found.queries.max()) <= plan.queries[1]
    assert found.values.shape[0] == 9
    assert found.values.dtype == torch.float32
    assert bool(found.values.isfinite().all())
    assert bool(found.complete.all())

    order = torch.tensor([3, 1, 8, 0, 2, 7, 4, 6, 5])
    monkeypatch.setattr(base, "VALUES_IN_MEMORY", 2 * width)  # Blocks of one or two rows.
    again = measured(signal, oracle, samples.take(order), seed=5)
    assert torch.equal(again.values, found.values[order])
    assert torch.equal(again.queries, found.queries[order])
    alone = measured(signal, oracle, samples.take(slice(4, 5)), seed=5)
    assert torch.equal(alone.values, found.values[4:5])


def test_scores_are_charged_like_labels():
    domain = Box((2,))
    samples, account = random_samples(domain, 4, classes=2), Account(per_sample=1)
    oracle = ChargedScores(Logistic(domain, torch.ones(2), -1.0), account)
    found = measured(Confidence(statistic=Statistic.LOSS), oracle, samples)
    assert found.queries.tolist() == account.spent(samples.ids).tolist() == [1] * 4


def test_inputs_are_built_in_parts_that_suit_the_device():
    def sizes(device):
        parts = list(base.chunks(10_000, copies=128, shape=(3072,), device=device and torch.device(device)))
        assert [row for part in parts for row in range(10_000)[part]] == list(range(10_000))
        return [part.stop - part.start for part in parts]

    most = base.VALUES_IN_MEMORY // (128 * 3072)
    assert max(sizes(None)) == most
    assert max(sizes("cuda")) == base.VALUES_IN_MEMORY * base.ROOM_ON_CARD // (128 * 3072)
    assert max(sizes("cpu")) == base.FEWEST_ROWS * 3072 // (128 * 3072) < most

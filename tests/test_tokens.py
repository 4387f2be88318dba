"""Sequences of ids: noise, steps and routes replace words only; networks embed ids; codecs keep types."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import hardlabel
from games import random_samples, samples_of
from hardlabel import randomness
from hardlabel.attacks import TABLE
from hardlabel.audits.kind import described
from hardlabel.checks import InvalidInput
from hardlabel.data.codecs.tokens import TokenCodec
from hardlabel.data.domain import NoiseLevel
from hardlabel.data.steps import EmbeddedSlope, most_steps
from hardlabel.data.tokens import Tokens
from hardlabel.models import model_store
from hardlabel.models.architectures import build, usual_architecture
from hardlabel.models.together import train_together
from hardlabel.models.train import Recipe, train
from hardlabel.signals.embedded import id_gradient
from hardlabel.signals.routes import Toward, craft, levels_of
from hardlabel.store import Store

PAD, START, MASK = 0, 1, 2
DOMAIN = Tokens(length=12, vocabulary=9, padding=PAD, kept=(START, MASK), substitutes=(4, 5, 6, 8), counts=(1, 2, 3, 6))
ROW = torch.tensor([[1, 4, 5, 6, 8, 3, 7, 2, 4, 0, 0, 0]]).float()  # 3 and 7 occur nowhere else: words that leave only.
WORDS = slice(1, 7)

DOMAINS = {
    "padded behind": DOMAIN,
    "padded before": replace(DOMAIN, padding_first=True),
    "no padding": Tokens(length=5, vocabulary=30),
    "one substitute": Tokens(length=4, vocabulary=5, substitutes=(3,), kept=(0,)),
    "one position": Tokens(length=1, vocabulary=2),
}


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
@given(seed=st.integers(0, 10_000), flip=st.floats(0, 1))
@settings(max_examples=20)
def test_noise_leaves_legal_points_and_replaces_words_by_substitutes_only(domain, seed, flip):
    rng = randomness.generator(seed, "tokens")
    inputs = domain.random(6, rng)
    domain.check(inputs)
    copies = domain.noisy(inputs, domain.noise_source(7, rng), NoiseLevel(flip=flip))
    domain.check(copies.flatten(0, 1))
    changed = copies != inputs[:, None]
    assert set(copies[changed].tolist()) <= set(domain.substitutes)
    assert not set(inputs[:, None].expand_as(copies)[changed].tolist()) & {*domain.kept, domain.padding}


def test_each_word_is_replaced_with_probability_flip_and_by_the_counts_of_the_others():
    draws, flip = 20_000, 0.3
    rng = randomness.generator(1, "tokens")
    copies = DOMAIN.noisy(ROW, DOMAIN.noise_source(draws, rng), NoiseLevel(flip=flip))[0]
    counts = dict(zip(DOMAIN.substitutes, DOMAIN.counts, strict=True))
    for position, word in enumerate(ROW[0].int().tolist()):
        drawn = copies[:, position].int()
        if word in (PAD, START, MASK):
            assert bool((drawn == word).all())
            continue
        others = {other: count for other, count in counts.items() if other != word}
        for other, count in others.items():
            expected = flip * count / sum(others.values())
            error = 4 * (expected * (1 - expected) / draws) ** 0.5
            assert float((drawn == other).float().mean()) == pytest.approx(expected, abs=error)


def test_what_weak_noise_replaces_strong_noise_replaces_alike():
    source = DOMAIN.noise_source(50, randomness.generator(0, "tokens"))
    weak, strong = (DOMAIN.noisy(ROW, source, NoiseLevel(flip=flip)) for flip in (0.2, 0.6))
    changed = weak != ROW[:, None]
    assert bool(changed.any())
    assert torch.equal(weak[changed], strong[changed])


def test_a_lone_substitute_replaces_all_others_and_itself_never():
    domain = DOMAINS["one substitute"]
    inputs = torch.tensor([[0.0, 1, 3, 4]])
    source = domain.noise_source(5, randomness.generator(0, "tokens"))
    assert domain.noisy(inputs, source, NoiseLevel(flip=1.0)).unique(dim=1).tolist() == [[[0.0, 3, 3, 3]]]


def test_the_distance_counts_positions():
    other = ROW.clone()
    other[0, [1, 3]] = 8
    assert DOMAIN.distance(ROW, other).tolist() == [2.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({1: 9}, r"ids, whole numbers from 0 to 8, got 9 in row 1"),
        ({1: -1}, r"got -1 in row 1"),
        ({1: 4.5}, r"got 4.5 in row 1"),
        ({3: 0}, r"padding 0 after all other ids, got it between them in row 1"),
        ({3: float("nan")}, "finite"),
    ],
)
def test_points_that_are_no_sequences_are_refused(changes, message):
    inputs = ROW.repeat(2, 1)
    for position, value in changes.items():
        inputs[1, position] = value
    with pytest.raises(InvalidInput, match=message):
        DOMAIN.check(inputs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": 0}, "length must be at least 1"),
        ({"vocabulary": 2**24 + 1}, r"at most 2\*\*24"),
        ({"vocabulary": 3, "padding": 3}, "padding must be ids from 0 to vocabulary - 1 = 2, got 3"),
        ({"kept": (0.5,)}, "kept must be whole numbers"),
        ({"vocabulary": 2, "kept": (0, 1)}, "every id is kept or padding"),
        ({"kept": (4,), "substitutes": (4, 5)}, "neither padding nor kept"),
        ({"substitutes": (4, 4)}, "distinct"),
        ({"substitutes": (4, 5), "counts": (1,)}, "1 counts for 2 substitutes"),
        ({"substitutes": (4, 5), "counts": (1, 0)}, "1 or more per substitute"),
        ({"counts": (1,)}, "counts must be empty"),
    ],
)
def test_impossible_domains_are_refused_in_one_line(fields, message):
    with pytest.raises(InvalidInput, match=message) as error:
        Tokens(**{"length": 4, "vocabulary": 9} | fields)
    assert "\n" not in str(error.value)


def test_the_domain_of_ids_puts_in_what_occurs_as_often_as_it_does():
    ids = np.array([[1, 5, 5, 7, 0], [1, 6, 2, 0, 0]])
    domain = Tokens.of(ids, padding=0, kept=[1, 2])
    assert (domain.substitutes, domain.counts) == ((5, 6, 7), (2, 1, 1))
    assert (domain.length, domain.vocabulary, domain.padding_first) == (5, 8, False)
    assert Tokens.of(torch.from_numpy(ids), padding=0, kept=[1, 2]) == domain
    assert Tokens.of(ids[:, ::-1].copy(), padding=0, kept=[1, 2]).padding_first
    assert Tokens.of(ids, padding=0, kept=[1, 2], vocabulary=100).vocabulary == 100
    with pytest.raises(InvalidInput, match="list an id that also stands elsewhere under kept"):
        Tokens.of(ids, padding=5)
    with pytest.raises(InvalidInput, match="whole numbers"):
        Tokens.of(ids.astype(float))
    with pytest.raises(InvalidInput, match="neither padding nor kept"):
        Tokens.of([[0, 1], [1, 0]], kept=[0, 1])


def test_domains_are_told_apart_by_every_field_and_by_nothing_else():
    shuffled = replace(DOMAIN, substitutes=(8, 4, 6, 5), counts=(6, 1, 3, 2), kept=(MASK, START))
    assert shuffled == DOMAIN
    assert hash(shuffled) == hash(DOMAIN)
    assert repr(shuffled) == repr(DOMAIN)
    assert pickle.loads(pickle.dumps(DOMAIN)) == copy.deepcopy(DOMAIN) == DOMAIN
    for change in (
        {"length": 13},
        {"vocabulary": 10},
        {"padding": None, "kept": (PAD, START, MASK)},
        {"padding_first": True},
        {"kept": (START,)},
        {"substitutes": (4, 5, 6, 7)},
        {"counts": (1, 2, 3, 7)},
        {"meaning": "other words"},
    ):
        other = replace(DOMAIN, **change)
        assert other != DOMAIN
        assert repr(other) != repr(DOMAIN)


def test_the_text_of_a_domain_is_short_and_stays_as_it_is():
    """Stored measurements have it in their keys."""
    large = Tokens(length=128, vocabulary=30_000, padding=0, kept=(101, 102))
    assert repr(large) == (
        "Tokens(length=128, vocabulary=30000, padding=0, kept=2 ids, substitutes=29997 ids, digest=f6e4e43e66f0e26e)"
    )
    assert described(large) == "Tokens of 128 positions, 30000 ids"


# Steps and routes.


class OneHot(nn.Module):
    """A network that embeds one-hot rows (n, t, v): what `torch.nn.Embedding` is short for."""

    def __init__(self, vocabulary=9, width=3, classes=3):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.embedding.weight.data *= 0.3  # Nearly linear, so that a walk gains what its slope says.
        self.mixing = nn.Linear(12 * width, classes)

    def forward(self, ids):
        return self.of_vectors(self.embedding(ids.long()))

    def of_vectors(self, vectors):
        return self.mixing(torch.tanh(vectors).flatten(1))


def network(seed=0, **settings):
    torch.manual_seed(seed)
    return OneHot(**settings)


def test_slopes_are_the_gradient_at_the_one_hot_encoding():
    model, ids = network(), DOMAIN.random(5, randomness.generator(0, "ids"))
    gradient, vectors = id_gradient(model, ids, 9, lambda given: model(given)[:, 0])
    hot = nn.functional.one_hot(ids.long(), 9).float().requires_grad_()
    (by_hand,) = torch.autograd.grad(model.of_vectors(hot @ model.embedding.weight)[:, 0].sum(), hot)
    torch.testing.assert_close((gradient @ vectors.T).float(), by_hand)


@pytest.mark.parametrize("most", [4, 12], ids=["each id once", "fewer ids than steps"])
@pytest.mark.parametrize("seed", range(3))
def test_steps_follow_a_naive_twin(seed, most, monkeypatch):
    monkeypatch.setattr("hardlabel.data.tokens.SLOPES_IN_MEMORY", 130)  # Ids in blocks of 2.
    rng = randomness.generator(seed, "steps")
    inputs = DOMAIN.random(5, rng)
    slope = EmbeddedSlope(torch.randn(5, 12, 3, generator=rng).double(), torch.randn(9, 3, generator=rng).double())
    assert most_steps(DOMAIN) == 12
    steps = DOMAIN.steepest(inputs, slope, most)
    for row, ids in enumerate(inputs.long().tolist()):
        gains = sorted(
            (
                (float(slope.field[row, position] @ (slope.table[other] - slope.table[word])), position, other)
                for position, word in enumerate(ids)
                for other in DOMAIN.substitutes
                if word not in (PAD, START, MASK)
            ),
            reverse=True,
        )
        expected: list[tuple[int, float]] = []
        for gain, position, other in gains:
            repeated = most == 4 and other in [value for _, value in expected]
            if gain > 0 and len(expected) < most and not repeated and position not in [place for place, _ in expected]:
                expected.append((position, float(other)))
        count = int(steps.counts[row])
        written = zip(steps.columns[row, :count, 0].tolist(), steps.values[row, :count, 1].tolist(), strict=True)
        assert list(written) == expected


@pytest.mark.parametrize("toward", Toward)
def test_routes_are_legal_and_the_crafters_margin_falls_along_them(toward):
    samples = random_samples(DOMAIN, 40, classes=3)
    crafters = [network(seed) for seed in (1, 2)]
    route = craft(samples, crafters, toward, seed=0)
    levels = levels_of(DOMAIN)
    assert levels == (8, 12)
    rows, places = torch.arange(40).repeat_interleave(levels.total), torch.arange(levels.total).repeat(40)
    points = route.points(rows, places)
    DOMAIN.check(points)
    special = torch.isin(samples.inputs[rows], torch.tensor([PAD, START, MASK]).float())
    assert torch.equal(points[special], samples.inputs[rows][special])
    points = points.unflatten(0, (40, levels.total))
    assert torch.equal(points[:, levels.backward], samples.inputs)
    with torch.no_grad():
        logits = torch.stack([model(points.flatten(0, 1)).unflatten(0, points.shape[:2]) for model in crafters])
    own = samples.labels[None, :, None, None].expand(2, -1, levels.total, 1)
    others = logits.scatter(3, own, -torch.inf)
    first = others[:, :, levels.backward].mean(0).argmax(1)[None, :, None, None].expand_as(own)
    rival = others.gather(3, first)[..., 0] if toward == Toward.RUNNER_UP else others.logsumexp(3)
    margin = (logits.gather(3, own)[..., 0] - rival).mean(0)
    words = ~torch.isin(samples.inputs, torch.tensor([PAD, START, MASK]).float())
    moving, here = words.any(1), levels.backward
    assert int(moving.sum()) > 30
    assert float((margin[moving, -1] < margin[moving, here]).float().mean()) > 0.9
    assert float((margin[moving, 0] > margin[moving, here]).float().mean()) > 0.9


def test_a_sample_without_gradient_walks_where_the_seed_says():
    samples, flat = random_samples(DOMAIN, 4, classes=3), network()
    nn.init.zeros_(flat.mixing.weight)
    one, same, other = (craft(samples, [flat], Toward.OTHERS, seed=seed).steps[0] for seed in (0, 0, 1))
    assert torch.equal(one.values, same.values)
    assert not torch.equal(one.values, other.values)
    assert bool(one.counts.any())


def test_no_samples_have_empty_routes():
    empty = random_samples(DOMAIN, 4, classes=3).take(slice(0, 0))
    none = torch.empty(0, dtype=torch.int64)
    assert craft(empty, [network()], Toward.RUNNER_UP, seed=0).points(none, none).shape == (0, 12)


@pytest.mark.parametrize("model", [nn.Linear(12, 3), nn.Sequential(nn.Linear(12, 3), nn.Embedding(5, 2))])
def test_a_crafter_that_embeds_nothing_is_refused_in_one_line(model):
    with pytest.raises(InvalidInput, match=r"crafters for tokens must have a torch.nn.Embedding of the 9 ids"):
        craft(random_samples(DOMAIN, 4, classes=3), [model], Toward.OTHERS, seed=0)


def test_the_hook_is_gone_after_crafting():
    model = network()
    craft(random_samples(DOMAIN, 4, classes=3), [model], Toward.OTHERS, seed=0)
    assert not model.embedding._forward_hooks


def test_attacks_that_suit_no_tokens_say_why():
    for name in ("gap", "noise", "path", "lira"):
        assert TABLE[name].unsuited(DOMAIN) is None
    for name in ("boundary", "augmentation", "yoqo", "oslo"):
        assert "tokens" in TABLE[name].unsuited(DOMAIN)


# The network.


def test_the_network_takes_the_mean_of_all_vectors_but_those_of_padding():
    assert usual_architecture(DOMAIN) == "embedding-9-0"
    assert usual_architecture(replace(DOMAIN, padding=None, kept=(0, 1))) == "embedding-9"
    model = build("embedding-9-0", shape=(12,), classes=3, seed=0).eval()
    vectors = model[0].embedding.weight[ROW.long()[0]]
    torch.testing.assert_close(model[0](ROW)[0], vectors[:9].mean(0))
    with torch.no_grad():
        model[0].embedding.weight[0] = 7.0
    torch.testing.assert_close(model(ROW), model(ROW[:, :9]))
    assert torch.equal(model[0](torch.zeros(1, 12)), torch.zeros(1, 32))
    plain = build("embedding-9", shape=(12,), classes=3, seed=0)
    torch.testing.assert_close(plain[0](ROW)[0], plain[0].embedding.weight[ROW.long()[0]].mean(0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embedding", "must tell the number of ids, as 'embedding-5000' does"),
        ("embedding-0", "must tell the number of ids"),
        ("embedding-9-9", "padding of an embedding must be below its 9 ids, got 9"),
    ],
)
def test_a_network_without_its_ids_is_refused(name, message):
    with pytest.raises(InvalidInput, match=message):
        build(name, shape=(12,), classes=2, seed=0)


def test_a_network_of_ids_takes_sequences_only():
    with pytest.raises(InvalidInput, match=r"shape must be \(positions,\)"):
        build("embedding-9-0", shape=(1, 3, 4), classes=2, seed=0)


def learnable(count=120, start=0):
    """Sequences whose class is whether word 4 or word 8 occurs more often."""
    inputs = DOMAIN.random(count, randomness.generator(start, "learnable"))
    return samples_of(DOMAIN, inputs, ((inputs == 4).sum(1) > (inputs == 8).sum(1)).long(), start=start)


RECIPE = Recipe(architecture="embedding-9-0", max_epochs=30, learning_rate=0.01)


def test_the_network_learns_is_found_again_and_is_the_same_in_a_stack(tmp_path):
    samples, store = learnable(), Store(tmp_path)
    made = train(RECIPE, samples, classes=2, seed=0)
    assert made.train_accuracy > 0.95
    first, again = (model_store.trained(RECIPE, samples, classes=2, seed=0, store=store) for _ in range(2))
    stacked = train_together(RECIPE, [(samples, 0), (learnable(start=500), 1)], classes=2)[0]
    for other in (first, again, stacked):
        torch.testing.assert_close(other.model(samples.inputs), made.model(samples.inputs), rtol=1e-3, atol=1e-3)
    assert again.seconds == first.seconds


# The codec.

DTYPES = ["int8", "uint8", "int16", "int32", "int64"]


@given(data=st.data(), container=st.sampled_from(["array", "tensor"]), dtype=st.sampled_from(DTYPES))
@settings(max_examples=40)
def test_ids_come_back_in_their_own_type(data, container, dtype):
    rows, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    size = rows * width
    drawn = data.draw(st.lists(st.integers(0, 100), min_size=size, max_size=size))
    ids = np.array(drawn).reshape(rows, width)
    given_ids = ids.astype(dtype) if container == "array" else torch.from_numpy(ids.astype(dtype))
    codec = TokenCodec.fit({"members": given_ids}, Tokens.of(ids))
    points = codec.encode(given_ids)
    assert points.dtype == torch.float32
    back = codec.decode(points)
    assert type(back) is type(given_ids)
    assert back.dtype == given_ids.dtype
    assert (back == given_ids).all()
    legal = codec.domain.random(4, randomness.generator(rows, "legal"))
    assert torch.equal(codec.encode(codec.decode(legal)), legal)
    back[:] = 0  # Whoever gets it may write into it.
    assert torch.equal(codec.encode(given_ids), points)


def test_ids_of_another_type_are_refused():
    codec = TokenCodec.fit({"members": np.array([[1, 2]])}, Tokens(length=2, vocabulary=3))
    for given_ids, message in (
        (np.array([[1, 2]], dtype=np.int32), "must be int64 as the other ids, got int32"),
        (np.array([[1.0, 2.0]]), "whole numbers"),
        (np.array([[1, 3]]), "ids from 0 to 2, got ids from 1 to 3"),
        (np.array([[1, 2**53 + 1]]), "ids from 0 to 2"),
        (np.array([1, 2]), "whole numbers"),
        (np.array([[1, 2, 0]]), "shape"),
    ):
        with pytest.raises(InvalidInput, match=message):
            codec.encode(given_ids, "members")
    with pytest.raises(InvalidInput, match="a type that holds 299, the largest one of the domain, got int8"):
        TokenCodec.fit({"members": np.array([[1, 2]], dtype=np.int8)}, Tokens(length=2, vocabulary=300))


def test_tokens_are_exported():
    assert hardlabel.Tokens is Tokens


# A network of ids, end to end.


class Reads(nn.Module):
    """A small network of the caller's, which takes int64 only, and notes what it was asked where `seen` is a list."""

    seen: list[torch.Tensor] | None = None

    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocabulary, 16, padding_idx=0)
        self.last = nn.Linear(16, 2)

    def forward(self, ids):
        assert ids.dtype == torch.int64
        if Reads.seen is not None:
            Reads.seen.append(ids.clone())
        return self.last(self.embedding(ids))


def reader(ids, labels, *, seed):
    """A caller's way of training."""
    assert ids.dtype == torch.int64
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Reads(VOCABULARY)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(ids), torch.as_tensor(labels)).backward()
        optimizer.step()
    return model.eval()


VOCABULARY = 400


def sentences(count, seed):
    """Start, 4 to 12 words of which some speak for their class, end (int64); one label in ten is noise."""
    rng = randomness.generator(seed, "sentences")
    labels = torch.randint(0, 2, (count,), generator=rng)
    ids = torch.randint(3, VOCABULARY, (count, 14), generator=rng)
    telling = torch.rand(count, 14, generator=rng) < 0.25
    ids = torch.where(telling, 3 + 10 * labels[:, None] + torch.randint(0, 10, (count, 14), generator=rng), ids)
    lengths = torch.randint(5, 14, (count, 1), generator=rng)
    place = torch.arange(14)
    ids = torch.where(place == 0, 1, torch.where(place == lengths, 2, ids)).masked_fill(place > lengths, 0)
    return ids, torch.where(torch.rand(count, generator=rng) < 0.1, 1 - labels, labels)


def test_an_audit_asks_a_network_of_ids_about_legal_sequences_only(monkeypatch):
    (members, nonmembers, population), count = (sentences(n, seed) for seed, n in enumerate((100, 100, 300))), 30
    domain = Tokens.of(torch.cat([members[0], nonmembers[0], population[0]]), padding=0, kept=[1, 2])
    target = reader(*members, seed=7)
    monkeypatch.setattr(Reads, "seen", [])
    record = hardlabel.audit(
        target,
        members,
        nonmembers,
        population=population,
        trainer=reader,
        domain=domain,
        attacks=("gap", "noise", "path", "lira"),
        budget=10,
        samples=count,
        attacker=hardlabel.Attacker(references=2),
    )
    assert {attack.name for attack in record.results.attacks} == {"gap", "noise", "path", "lira"}
    assert (record.results.domain, record.config["domain"]) == ("tokens", f"Tokens of 14 positions, {VOCABULARY} ids")
    asked = torch.cat(Reads.seen).unique(dim=0)
    domain.check(asked.float())
    given_ids = torch.cat([members[0], nonmembers[0], population[0]])
    forms = {tuple(row) for row in torch.where(given_ids > 2, 3, given_ids).tolist()}
    assert {tuple(row) for row in torch.where(asked > 2, 3, asked).tolist()} <= forms
    assert len(asked) > len(given_ids) + 500
    gap = next(attack for attack in record.results.attacks if attack.name == "gap")
    assert gap.auc.value > 0.6  # The target has learned its noisy labels by heart.

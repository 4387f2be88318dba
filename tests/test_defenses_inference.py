"""Defenses that stand before a trained model: labels, distributions, the utility constraint, repeated questions."""

import math

import pytest
import torch

from defending import CPU, EVERYONE, MEMBERS, OTHERS, RESERVE, defender, plain
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import NoiseLevel
from hardlabel.defenses import keyed, memguard
from hardlabel.defenses.guarded import GuardedLabels, keeping
from hardlabel.defenses.ldl import LDL
from hardlabel.defenses.memguard import MemGuard
from hardlabel.defenses.randomized_response import RandomizedResponse
from hardlabel.defenses.rounding import Rounding
from hardlabel.defenses.table import TABLE, chosen
from hardlabel.defenses.temperature import Temperature
from hardlabel.defenses.top_k import TopK
from hardlabel.defenses.trainer import GuardedTrainer, defended
from hardlabel.oracles.base import LabelOracle, ScoreOracle
from hardlabel.signals.base import Knowledge
from hardlabel.signals.noise import Noise
from hardlabel.store import Store
from hardlabel.targets import torch as pytorch
from hardlabel.targets.torch import TorchScores

GUARDS = [one for one in chosen([row.name for row in TABLE.values() if row.guards and not row.trains])]
MASKS = [one for one in GUARDS if one.row.keeps_labels]
names = pytest.mark.parametrize("strength", GUARDS, ids=lambda one: one.name)
# MemGuard searches for seconds: one strength of it stands for the others.
QUICK = [one for one in MASKS if one.row.name != "memguard" or one.level == 1]
masks = pytest.mark.parametrize("strength", QUICK, ids=lambda one: one.name)


@pytest.fixture(scope="module")
def model():
    return TorchScores(plain().fit(MEMBERS, 0).model, device=CPU, batch_size=512)


@pytest.fixture(scope="module")
def guard(model):
    made = {}

    def guarded(strength, seed=7):
        if (strength.name, seed) not in made:
            made[strength.name, seed] = strength.defense.guard(model, MEMBERS, defender(), seed=seed)
        return made[strength.name, seed]

    return guarded


# --- contracts ---


@masks
def test_masking_changes_no_label_of_any_sample(strength, guard, model):
    asked = guard(strength)
    own = model.ask(EVERYONE.inputs, EVERYONE.ids)
    assert torch.equal(asked.ask(EVERYONE.inputs, EVERYONE.ids), own)
    if isinstance(asked, ScoreOracle):
        assert torch.equal(asked.ask_scores(EVERYONE.inputs, EVERYONE.ids).argmax(1), own)


@masks
def test_label_only_scores_are_bit_identical_under_masking(strength, guard, model):
    signal = Noise(level=NoiseLevel(sigma=0.3), draws=10)
    plan = signal.prepare(OTHERS.take(slice(0, 100)), Knowledge(), 0)
    assert torch.equal(plan.measure(guard(strength)).values, plan.measure(model).values)


@names
def test_what_is_shown_is_a_distribution(strength, guard):
    asked = guard(strength)
    if not isinstance(asked, ScoreOracle):
        assert isinstance(asked, LabelOracle)
        assert strength.row.name in ("label-only", "randomized-response", "ldl")
        return
    shown = asked.ask_scores(EVERYONE.inputs, EVERYONE.ids).double()
    assert shown.max() <= 0
    # Ten float32 logarithms: each is off by half a unit in the last place of numbers up to 50.
    assert (shown.exp().sum(1) - 1).abs().max() < 1e-5


@names
def test_the_same_question_gets_the_same_answer_in_any_batch(strength, guard):
    asked, ids = guard(strength), EVERYONE.ids
    few = slice(0, 40)
    order = torch.arange(39, -1, -1)
    once = asked.ask(EVERYONE.inputs, ids)
    assert torch.equal(asked.ask(EVERYONE.inputs[few][order], ids[few]), once[few][order])
    if isinstance(asked, ScoreOracle):
        shown = asked.ask_scores(EVERYONE.inputs[few], ids[few])
        again = asked.ask_scores(EVERYONE.inputs[few][order], ids[few])
        assert torch.allclose(again, shown[order], atol=1e-4)


@pytest.mark.parametrize("row", [row for row in TABLE.values() if row.guards], ids=lambda row: row.name)
def test_the_table_says_whether_a_guarded_model_shows_confidences(row, model):
    strength = chosen([row.name])[0]
    guarded = strength.inference.guard(model, MEMBERS, defender(), seed=0)
    assert isinstance(guarded, LabelOracle)
    assert isinstance(guarded, ScoreOracle) == row.shows_scores


def test_only_a_guard_hides_confidences():
    assert all(row.shows_scores or row.guards for row in TABLE.values())


def test_a_fingerprint_tells_defense_secret_and_model():
    def fingerprint(name, level, seed):
        [strength] = chosen([name], {name: [level]})
        return defended(strength, plain(), defender()).trainer.fit(MEMBERS, seed).model.fingerprint

    told = [
        fingerprint("top-k", 3, 0),
        fingerprint("top-k", 1, 0),
        fingerprint("temperature", 3, 0),
        fingerprint("top-k", 3, 1),
    ]
    assert len(set(told)) == 4
    assert fingerprint("top-k", 3, 0) == told[0]


@pytest.mark.parametrize(
    ("name", "level", "told"),
    [
        ("memguard", 0.0, r"distortion must lie in \(0, 2\]"),
        ("memguard", 2.5, r"distortion must lie in \(0, 2\]"),
        ("top-k", 0, "k must be at least 1"),
        ("top-k", 1.5, "k must be a whole number"),
        ("rounding", 7, r"digits must lie in \[1, 6\]"),
        ("temperature", 0.5, "temperature must be at least 1"),
        ("randomized-response", 0, "epsilon must be positive"),
        ("ldl", 1.5, r"noise must lie in \[0, 1\]"),
        ("hamp", 1, "entropy must lie strictly between 0 and 1"),
        ("l2", math.nan, "decay must be positive"),
    ],
)
def test_a_strength_out_of_range_is_told_in_one_line(name, level, told):
    with pytest.raises(InvalidInput, match=f"level of defense '{name}': {told}") as error:
        chosen([name], {name: [level]})
    assert "\n" not in str(error.value)


def test_an_unknown_defense_is_told_with_the_nearest_name():
    with pytest.raises(InvalidInput, match="defense 'memgard' is unknown: did you mean 'memguard'"):
        chosen(["memgard"])


def test_levels_of_what_has_none_or_was_not_asked_for_are_refused():
    with pytest.raises(InvalidInput, match="it has no strength to set"):
        chosen(["label-only"], {"label-only": [1]})
    with pytest.raises(InvalidInput, match="levels must be for the defenses asked for, got 'l2'"):
        chosen(["l1"], {"l2": [0.1]})


def test_every_defense_names_paper_cost_and_levels_from_weak_to_strong():
    for row in TABLE.values():
        assert row.source
        assert row.cost
        assert row.trains or row.guards or row.prepares
        assert bool(row.knob) == bool(row.levels)
        assert list(row.levels) in (sorted(row.levels), sorted(row.levels, reverse=True))


# --- masks, against naive twins ---


def shown_of(defense, model):
    return defense.guard(model, MEMBERS, defender(), seed=0).ask_scores(OTHERS.inputs, OTHERS.ids).exp()


def test_top_k_shows_the_highest_as_they_are_and_spreads_the_rest(model):
    true = model.ask_scores(OTHERS.inputs, OTHERS.ids).exp()
    shown = shown_of(TopK(k=3), model)
    for before, after in zip(true, shown, strict=True):
        highest = before.topk(3).indices
        rest = [place for place in range(10) if place not in highest.tolist()]
        assert torch.allclose(after[highest], before[highest], atol=1e-6)
        assert torch.allclose(after[rest], before[rest].mean().expand(7), atol=1e-6)


def test_rounding_shows_multiples_within_one_unit_of_the_truth(model):
    true = model.ask_scores(OTHERS.inputs, OTHERS.ids).exp()
    shown = shown_of(Rounding(digits=2), model)
    assert torch.allclose(shown * 100, (shown * 100).round(), atol=1e-3)
    # Where labels tie at this coarseness two entries may change places: none was off by a unit before.
    assert ((shown - true).abs() < 0.01 + 1e-6).float().mean() > 0.99


def test_temperature_divides_logits(model):
    true = model.ask_scores(OTHERS.inputs, OTHERS.ids)
    assert torch.allclose(shown_of(Temperature(temperature=5), model), (true / 5).softmax(1), atol=1e-6)
    assert torch.allclose(shown_of(Temperature(temperature=1), model), true.exp(), atol=1e-6)


def test_labels_are_kept_by_changing_places_and_in_ties_by_one_step():
    scores = torch.tensor([[-1.0, -0.5, -2.0], [-1.0, -1.0, -3.0], [-0.1, -3.0, -3.0]])
    kept = keeping(torch.tensor([0, 1, 0]), scores)
    assert kept.argmax(1).tolist() == [0, 1, 0]
    assert kept[0].tolist() == [-0.5, -1.0, -2.0]
    assert torch.allclose(kept[1], scores[1], atol=1e-6)
    assert torch.equal(kept[2], scores[2])


# --- randomness by content ---


def test_keyed_numbers_are_uniform_independent_and_fixed_by_content():
    draws = keyed.uniforms(EVERYONE.inputs, 3, 2)
    assert torch.equal(keyed.uniforms(EVERYONE.inputs.flip(0), 3, 2).flip(0), draws)
    assert not torch.equal(keyed.uniforms(EVERYONE.inputs, 4, 2), draws)
    count = len(torch.unique(EVERYONE.inputs.flatten(1), dim=0))
    assert len(torch.unique(keyed.fingerprints(EVERYONE.inputs, 3))) == count
    deviation = math.sqrt(1 / 12 / count)
    assert (draws.mean(0) - 0.5).abs().max() < 4 * deviation
    assert torch.corrcoef(draws.T)[0, 1].abs() < 4 / math.sqrt(count)
    assert torch.equal(keyed.fingerprints(torch.tensor([[-0.0]]), 0), keyed.fingerprints(torch.tensor([[0.0]]), 0))


@pytest.mark.parametrize("epsilon", [0.5, 2.0, 4.0])
def test_randomised_response_keeps_labels_as_often_as_it_says_and_spares_no_other(model, epsilon):
    defense = RandomizedResponse(epsilon=epsilon)
    own = model.ask(EVERYONE.inputs, EVERYONE.ids)
    told = torch.stack(
        [defense.guard(model, MEMBERS, defender(), seed=one).ask(EVERYONE.inputs, EVERYONE.ids) for one in range(5)]
    )
    kept, tries = (told == own).double().mean().item(), told.numel()
    expected = math.exp(epsilon) / (math.exp(epsilon) + 9)
    assert kept == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / tries))
    step = ((told - own) % 10).flatten().bincount(minlength=10)[1:].double()
    share = (1 - expected) / 9
    assert (step / tries - share).abs().max() < 4.5 * math.sqrt(share / tries)
    # The ratio of any two answers' chances is e^epsilon: the definition.
    assert math.log(defense.kept(10) / ((1 - defense.kept(10)) / 9)) == pytest.approx(epsilon)


class Stripes:
    """Class 1 where the first pixel is above one half."""

    def ask(self, inputs, ids):
        return (inputs.flatten(1)[:, 0] > 0.5).long()


def test_ldl_votes_as_the_chance_of_its_noise_says():
    inputs = torch.full((3, 1, 8, 8), 0.5)
    inputs[:, 0, 0, 0] = torch.tensor([0.35, 0.48, 0.65])
    single = LDL(noise=0.05, copies=1)
    guarded = [single.guard(Stripes(), MEMBERS, defender(), seed=one) for one in range(400)]
    told = torch.stack([one.ask(inputs, torch.arange(3)) for one in guarded]).double()
    # One copy decides: its first pixel is above .5 by the chance of a Gaussian's tail.
    expected = 0.5 * math.erfc(0.02 / 0.05 / math.sqrt(2))
    assert told[:, 1].mean().item() == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 400))
    many = LDL(noise=0.05, copies=101).guard(Stripes(), MEMBERS, defender(), seed=0).ask(inputs, torch.arange(3))
    assert many.tolist() == [0, 0, 1]


# --- MemGuard ---


@pytest.fixture(scope="module")
def network(model):
    return memguard.attack_network(model, MEMBERS, RESERVE, defender(), seed=0)


@pytest.fixture(scope="module")
def noise(network):
    return memguard.Noise(network, distortion=0.4, seed=0)


@pytest.fixture(scope="module")
def searched(noise, model):
    """What the target shows of everyone, and the noise that the search finds for it."""
    true = model.ask_scores(EVERYONE.inputs, EVERYONE.ids).double().exp()
    return true, noise.search(true)


def test_memguards_expected_distortion_is_within_its_constraint_for_every_sample(noise, searched):
    true, found = searched
    chances = noise.chances(true, found)
    assert bool(((chances >= 0) & (chances <= 1)).all())
    assert (chances * found.abs().sum(1)).max() <= 0.4 + 1e-9
    assert found.sum(1).abs().max() < 1e-9
    assert (true + found).min() >= -1e-12
    assert torch.equal((true + found).argmax(1), true.argmax(1))
    # Where noise is added the constraint binds, or it is added for sure.
    full = chances > 0
    assert bool(((chances[full] == 1) | ((chances * found.abs().sum(1))[full] > 0.4 - 1e-9)).all())


def test_memguards_noise_changes_the_networks_mind_and_is_never_for_the_worse(noise, searched):
    true, found = searched
    before, after = noise.sure(true), noise.sure(true + found)
    moved = found.abs().sum(1) > 0
    assert moved.double().mean() > 0.5
    assert bool((before[moved] * after[moved] <= 1e-3).all())
    added = noise.chances(true, found) > 0
    assert bool((after[added].sigmoid().sub(0.5).abs() < before[added].sigmoid().sub(0.5).abs()).all())


def test_memguard_adds_noise_as_often_as_its_chances_say(network, searched):
    true, found = searched
    weak = memguard.Noise(network, distortion=0.05, seed=1)
    chances = weak.chances(true, found)  # What is found depends on neither distortion nor seed.
    added = (weak(EVERYONE.inputs, true) != true).any(1)
    spread = (chances * (1 - chances)).sum().sqrt()
    assert (added.sum() - chances.sum()).abs() <= 4 * spread + 1
    assert not bool(added[chances == 0].any())


def test_memguards_search_ends_only_where_the_label_is_kept_and_the_mind_changed(noise):
    now = torch.tensor([[0.0, 1.0, 2.0, *[0.0] * 6, 1.9], [0.0, 1.0, 1.9, *[0.0] * 6, 2.0]])
    told = noise.sure(now.softmax(1))
    assert noise._reached(now, -told).tolist() == [False, True]
    assert noise._reached(now, told).tolist() == [False, False]


def test_memguards_search_treats_each_vector_as_if_it_were_alone(noise, model):
    true = model.ask_scores(EVERYONE.inputs[:8], EVERYONE.ids[:8]).double().exp()
    alone = torch.cat([noise.search(row[None]) for row in true])
    assert torch.allclose(noise.search(true), alone, atol=1e-3)


def test_memguard_needs_a_reserve_and_confidences(model):
    with pytest.raises(InvalidInput, match="defense 'memguard' needs at least 20 samples"):
        MemGuard(distortion=1.0).check(defender(reserve=None))
    with pytest.raises(InvalidInput, match="'memguard' needs a model that shows confidences"):
        MemGuard(distortion=1.0).guard(Stripes(), MEMBERS, defender(), seed=0)


def test_the_ideal_form_shows_one_vector_per_label(model):
    [strength] = chosen(["memguard-ideal"])
    shown = strength.defense.guard(model, MEMBERS, defender(), seed=0).ask_scores(EVERYONE.inputs, EVERYONE.ids)
    labels = model.ask(EVERYONE.inputs, EVERYONE.ids)
    for label in labels.unique():
        assert len(torch.unique(shown[labels == label], dim=0)) == 1


def test_trainers_with_one_store_ask_in_batches_of_one_size_whatever_a_second_probe_would_say(tmp_path, monkeypatch):
    probes, sizes = [], iter([64, 256, 512])

    def best(probe):
        probes.append(probe)
        return next(sizes), False

    monkeypatch.setattr(pytorch._Probe, "best", best)
    store, asked = Store(tmp_path), []

    class Plain:
        def guard(self, oracle, members, defender, *, seed):
            asked.append(oracle.batch_size)
            return GuardedLabels(oracle.ask)

    for _ in range(2):  # The second trainer is that of a run which goes on.
        trainer = GuardedTrainer(inner=plain(), defense=Plain(), defender=defender(store=store))
        for seed in (0, 1):
            trainer.fit(MEMBERS, seed)
    assert (len(probes), asked) == (1, [64] * 4)


def test_guarded_models_have_secrets_of_their_own():
    trainer = GuardedTrainer(inner=plain(), defense=RandomizedResponse(epsilon=1.0), defender=defender())
    one, two = (trainer.fit(MEMBERS, seed).model for seed in (0, 1))
    assert not torch.equal(one.ask(EVERYONE.inputs, EVERYONE.ids), two.ask(EVERYONE.inputs, EVERYONE.ids))

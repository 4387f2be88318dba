"""DP-SGD: clipping, noise and sampling against their definitions, the accountant against Google's library."""

import math
import re
from dataclasses import replace

import dp_accounting
import pytest
import torch
from dp_accounting.pld import PLDAccountant
from torch import nn
from torch.nn import functional

from defending import EVERYONE, MEMBERS, OTHERS, RECIPE, defender, plain
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import Samples
from hardlabel.defenses import dp_sgd
from hardlabel.defenses.dp_sgd import DPSGD, Private, spent
from hardlabel.defenses.table import chosen
from hardlabel.defenses.trainer import defended
from hardlabel.metrics.one_run import coins, one_run_bound
from hardlabel.models import architectures
from hardlabel.models.method import Task
from hardlabel.models.train import Recipe


def course(method, *, samples=MEMBERS, rate=1.0, seed=0):
    model = method.network("fc", shape=(1, 8, 8), classes=10, seed=0)
    task = Task(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=rate),
        inputs=samples.inputs,
        labels=samples.labels,
        classes=10,
        batch_size=20,
        seed=seed,
    )
    begun = method.begin(task)
    begun.begin_epoch()
    return model, begun


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def moved(method, batch, seed=0):
    """What one step of SGD with rate 1 adds to the weights."""
    model, begun = course(method, seed=seed)
    before = weights(model)
    begun.step(MEMBERS.inputs[batch], MEMBERS.labels[batch], batch)
    return weights(model) - before


@pytest.mark.parametrize("clipping", [0.3, 1e6])
def test_a_step_is_the_sum_of_clipped_gradients_over_the_expected_batch(clipping):
    """Against a twin that takes one sample's gradient after another."""
    method = Private(noise=0.0, clipping=clipping, rate=0.1, per_epoch=10)
    model, _ = course(method)
    twin = architectures.build("fc", shape=(1, 8, 8), classes=10, seed=0)
    batch = torch.arange(13)  # Not the 20 that are expected: the size of a batch is private as well.
    total = torch.zeros_like(weights(model))
    for row in batch:
        loss = functional.cross_entropy(twin(MEMBERS.inputs[row : row + 1]), MEMBERS.labels[row : row + 1])
        gradient = torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(twin.parameters()))])
        total += gradient * min(1.0, clipping / gradient.norm().item())
    # Opacus divides by norm + 1e-6.
    assert torch.allclose(moved(method, batch), -total / 20, atol=1e-6, rtol=1e-4)


def test_one_sample_moves_the_sum_by_no_more_than_the_clipping_norm():
    method = Private(noise=0.0, clipping=0.05, rate=0.1, per_epoch=10)
    for row in range(10):
        batch = torch.tensor([row])
        assert moved(method, batch).norm() * 20 <= 0.05 * (1 + 1e-4)


def test_the_noise_has_the_variance_it_should_and_none_is_drawn_twice():
    quiet = Private(noise=0.0, clipping=0.5, rate=0.1, per_epoch=10)
    loud = Private(noise=3.0, clipping=0.5, rate=0.1, per_epoch=10)
    batch = torch.arange(20)
    still = moved(quiet, batch)
    first, second = (moved(loud, batch, seed=seed) - still for seed in (0, 1))
    expected, count = 3.0 * 0.5 / 20, len(still)
    for noise in (first, second):
        # The variance of a sample variance of Gaussians is 2 / n times its square.
        assert noise.var().item() == pytest.approx(expected**2, rel=4 * math.sqrt(2 / count))
        assert abs(noise.mean().item()) < 4 * expected / math.sqrt(count)
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1].item()) < 4 / math.sqrt(count)
    assert torch.equal(moved(loud, batch), moved(loud, batch))


def test_an_empty_batch_still_adds_noise():
    loud = Private(noise=1.0, clipping=1.0, rate=0.1, per_epoch=10)
    noise = moved(loud, torch.empty(0, dtype=torch.int64))
    assert noise.std().item() == pytest.approx(1 / 20, rel=4 * math.sqrt(0.5 / len(noise)))


def test_batches_are_drawn_by_poisson_sampling():
    method = Private(noise=1.0, clipping=1.0, rate=0.1, per_epoch=50)
    _, begun = course(method)
    batches, epochs = [], 20
    for _ in range(epochs):
        batches += begun.batches(torch.randperm(200), [20] * 10)
        begun.epoch += 1
    drawn = torch.zeros(len(batches), 200)
    for row, batch in zip(drawn, batches, strict=True):
        assert len(batch.unique()) == len(batch)
        row[batch] = 1
    steps = len(batches)
    assert steps == 50 * epochs
    sizes, chance = drawn.sum(1), 0.1
    # Sizes are binomial (200, .1), unlike those of a shuffled epoch; its fourth moment gives the variance's error.
    mean, variance = 200 * chance, 200 * chance * (1 - chance)
    assert sizes.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / steps))
    assert sizes.var().item() == pytest.approx(variance, rel=4 * math.sqrt(2.1 / steps))
    # A sample's own number of batches is binomial too, and the same sample in two batches in a row is no rarer.
    own = drawn.sum(0)
    assert own.var().item() == pytest.approx(steps * chance * (1 - chance), rel=4 * math.sqrt(2.1 / 200))
    twice = (drawn[1:] * drawn[:-1]).mean().item()
    assert twice == pytest.approx(chance**2, abs=4 * math.sqrt(chance**2 / drawn.numel()))


@pytest.mark.parametrize(("epsilon", "size", "batch"), [(100.0, 1250, 100), (10.0, 1250, 100), (1.0, 2500, 100)])
def test_epsilon_agrees_with_dp_accounting_within_one_per_cent_and_is_within_the_target(epsilon, size, batch):
    recipe = Recipe(architecture="fc", batch_size=batch)
    privacy = DPSGD(epsilon=epsilon).training(recipe, defender(train_size=size)).privacy
    sampled = dp_accounting.PoissonSampledDpEvent(
        privacy.sampling_rate, dp_accounting.GaussianDpEvent(privacy.noise_multiplier)
    )
    theirs = PLDAccountant(value_discretization_interval=1e-3)
    theirs.compose(dp_accounting.SelfComposedDpEvent(sampled, privacy.steps))
    assert privacy.epsilon == pytest.approx(theirs.get_epsilon(privacy.delta), rel=0.01)
    assert 0.8 * epsilon < privacy.epsilon <= epsilon
    assert privacy.delta == 1e-4
    assert privacy.sampling_rate == batch / size
    assert privacy.steps == 30 * round(size / batch)


def test_what_was_accounted_is_what_was_trained(monkeypatch):
    """The steps, rate and noise in the guarantee are those of the training, counted while it runs."""
    [strength] = chosen(["dp-sgd"], {"dp-sgd": [20]})
    made = defended(strength, plain(), defender())
    seen = []
    step = dp_sgd._Hiding.step

    def counted(self, inputs, truth, rows):
        seen.append((len(rows), self._method.noise, self._method.clipping))
        return step(self, inputs, truth, rows)

    monkeypatch.setattr(dp_sgd._Hiding, "step", counted)
    trained = made.trainer.fit(MEMBERS, 0)
    privacy = made.training.privacy
    assert len(seen) == privacy.steps
    assert {one[1:] for one in seen} == {(privacy.noise_multiplier, privacy.clipping)}
    mean, variance = 200 * privacy.sampling_rate, 200 * privacy.sampling_rate * (1 - privacy.sampling_rate)
    sizes = torch.tensor([one[0] for one in seen]).double()
    assert sizes.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / len(seen)))
    assert len({int(one) for one in sizes}) > 1
    # Nothing of Opacus's is left in the network, which answers and can be differentiated like any other.
    assert type(trained.model) is nn.Sequential
    assert not any(hasattr(weight, "grad_sample") for weight in trained.model.parameters())
    assert float((trained.model(OTHERS.inputs).argmax(1) == OTHERS.labels).float().mean()) > 0.15


def test_what_attacks_prove_lies_below_the_accountants_epsilon_and_above_it_without_the_noise():
    """400 canaries, images and labels drawn at random, each inside by its own coin; scored by the label's chance."""
    count, draws = 400, torch.Generator().manual_seed(5)
    labels = torch.randint(10, (count,), generator=draws)
    images = torch.rand((count, 1, 8, 8), generator=draws)
    pool = Samples(ids=torch.arange(count), inputs=images, labels=labels, domain=EVERYONE.domain)
    inside = coins(count, seed=3)
    [strength] = chosen(["dp-sgd"], {"dp-sgd": [1.0]})
    recipe = Recipe(architecture="fc", max_epochs=60, batch_size=50, learning_rate=2e-2)
    made = defended(replace(strength, defense=DPSGD(epsilon=1.0, epochs=60)), plain(recipe), defender())
    promised, proved = made.training.privacy, {}
    for noise in (promised.noise_multiplier, 1e-6):
        trainer = replace(made.bare, method=replace(made.training.method, noise=noise))
        model = trainer.fit(pool.take(torch.from_numpy(inside).nonzero()[:, 0]), 0).model
        with torch.inference_mode():
            scores = model(pool.inputs).log_softmax(1).gather(1, labels[:, None])[:, 0].numpy()
        proved[noise] = one_run_bound(scores, inside, delta=promised.delta, seed=0).epsilon
    assert proved[promised.noise_multiplier] < promised.epsilon < proved[1e-6]


def test_more_privacy_needs_more_noise_and_rates_agree_with_the_definition():
    fixed = {"delta": 1e-4, "rate": 0.08, "steps": 390}
    noises = [dp_sgd.noise_for(epsilon=epsilon, **fixed) for epsilon in (100.0, 10.0, 1.0)]
    assert noises == sorted(noises)
    assert [spent(noise=noise, **fixed)[0] for noise in noises] == sorted(
        [spent(noise=noise, **fixed)[0] for noise in noises], reverse=True
    )


def test_batch_normalisation_becomes_group_normalisation_and_is_told():
    training = DPSGD(epsilon=10.0).training(Recipe(architecture="resnet18"), defender(train_size=500))
    assert any(re.match(r"20 layers BatchNorm2d became GroupNorm", one) for one in training.changes)
    network = training.method.network("resnet18", shape=(1, 8, 8), classes=10, seed=0)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_an_architecture_it_cannot_take_is_told_in_one_line_before_any_training(monkeypatch):
    counting = nn.Linear(64, 10)
    counting.register_buffer("seen", torch.zeros(1))  # A trainable layer with a memory of its batches.
    odd = nn.Sequential(nn.Flatten(), counting)
    monkeypatch.setattr(dp_sgd, "build", lambda *_, **__: odd)
    with pytest.raises(InvalidInput, match="defense 'dp-sgd' cannot take architecture 'fc'") as error:
        DPSGD(epsilon=10.0).training(RECIPE, defender())
    assert "\n" not in str(error.value)


def test_without_opacus_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dp_sgd, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"pip install 'hardlabel\[dp\]'"):
        DPSGD(epsilon=10.0).training(RECIPE, defender())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epsilon": 0.0}, r"epsilon must lie in \[0.01, 1e\+06\]"),
        ({"epsilon": 1.0, "delta": 1.0}, "delta must lie strictly between 0 and 1"),
        ({"epsilon": 1.0, "clipping": 0.0}, "clipping must be positive"),
        ({"epsilon": 1.0, "epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    with pytest.raises(InvalidInput, match=told):
        DPSGD(**settings)

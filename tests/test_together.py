"""Models trained together are the models that are trained one after another."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hardlabel.checks import InvalidInput
from hardlabel.data.augment import STILL, Move
from hardlabel.data.domain import Box
from hardlabel.data.samples import Samples
from hardlabel.models import together
from hardlabel.models import train as training
from hardlabel.models.architectures import build
from hardlabel.models.together import can_train_together, faster_together, train_together
from hardlabel.models.train import Recipe, batch_lengths, train

FC = Recipe(architecture="fc", learning_rate=0.01, batch_size=10, max_epochs=4)
SGD = replace(FC, optimizer="sgd", learning_rate=0.1)
CNN = Recipe(architecture="cnn", optimizer="sgd", learning_rate=0.02, batch_size=16, max_epochs=3)
MOVES = (STILL, Move(flip=True), Move(right=1, down=-2), Move(degrees=10.0))
ADAM = replace(CNN, optimizer="adam", learning_rate=1e-3, augment=MOVES)


def vectors(seed, *, count=61, width=6):
    """Points of a cube, labelled by which third their first coordinate lies in."""
    inputs = torch.rand(count, width, generator=torch.Generator().manual_seed(seed))
    labels = (inputs[:, 0] * 3).long()
    return Samples(ids=torch.arange(count), inputs=inputs, labels=labels, domain=Box((width,)))


def images(seed, *, count=33, side=10):
    """Random pictures with random labels of three classes."""
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, 1, side, side, generator=draws)
    labels = torch.randint(0, 3, (count,), generator=draws)
    return Samples(ids=torch.arange(count), inputs=inputs, labels=labels, domain=Box((1, side, side)))


class Exact(nn.Sequential):
    """A network that computes in float64, where rounding does not grow into another training."""

    def forward(self, inputs):
        return super().forward(inputs.double())


@pytest.fixture
def exact(monkeypatch):
    for module in (training, together):
        monkeypatch.setattr(module, "build", lambda *names, **settings: Exact(*build(*names, **settings)).double())


def jobs_of(make, count=3):
    return [(make(number), 10 + number) for number in range(count)]


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def alone(recipe, jobs):
    return [train(recipe, samples, classes=3, seed=seed) for samples, seed in jobs]


def steps(recipe, jobs, made):
    """How far training has moved each model's weights, as a length."""
    starts = [build(recipe.architecture, shape=samples.domain.shape, classes=3, seed=seed) for samples, seed in jobs]
    return [float((weights(one.model) - weights(start)).norm()) for one, start in zip(made, starts, strict=True)]


def check_alike(recipe, jobs, *, share=1e-5):
    """Weights agree within `share` of the way they went, all else exactly or to rounding; returns the epochs.

    Float32 rounds each step to 1e-7 or so of the weights, float64 to 1e-16; over these few steps that grows little.
    What is forgotten, mixed up or drawn otherwise shows in the order of the way itself.
    """
    made, expected = train_together(recipe, jobs, classes=3), alone(recipe, jobs)
    for one, truth, way in zip(made, expected, steps(recipe, jobs, expected), strict=True):
        assert float((weights(one.model) - weights(truth.model)).norm()) < share * way
        assert (one.epochs, one.rows, one.train_accuracy) == (truth.epochs, truth.rows, truth.train_accuracy)
        assert one.train_loss == pytest.approx(truth.train_loss, rel=1e-4)
        assert not one.model.training
        assert one.model.state_dict().keys() == truth.model.state_dict().keys()
    return [one.epochs for one in made]


# --- the same models ---


@pytest.mark.parametrize(
    "recipe",
    [
        FC,
        replace(FC, weight_decay=0.1),
        replace(FC, architecture="fc-2"),
        replace(FC, architecture="logistic", batch_size=7),
        SGD,
        replace(SGD, momentum=0.0),
        replace(SGD, weight_decay=0.1, batch_size=100),
    ],
)
def test_each_model_is_the_one_it_would_be_alone(recipe):
    assert check_alike(recipe, jobs_of(vectors)) == [4, 4, 4]


@pytest.mark.parametrize("recipe", [CNN, replace(CNN, augment=MOVES), replace(CNN, augment=MOVES, weight_decay=0.1)])
def test_convolutions_and_augmentation_are_those_of_each_model(recipe):
    assert check_alike(recipe, jobs_of(images)) == [3, 3, 3]


@pytest.mark.usefixtures("exact")
def test_adam_moves_convolutions_alike():
    # In float64: Adam divides by the gradient's size, and where that is rounding the step is full-sized all the same.
    assert check_alike(ADAM, jobs_of(images), share=1e-9) == [3, 3, 3]


@pytest.mark.parametrize(
    "recipe",
    [
        replace(FC, stop_at_accuracy=0.9, max_epochs=40),
        replace(FC, weight_decay=0.1, patience=2, min_delta=0.01, max_epochs=40),
        replace(SGD, learning_rate=0.2, stop_at_accuracy=0.85, max_epochs=40),
    ],
)
def test_each_model_stops_when_it_would_alone_and_the_others_go_on(recipe):
    epochs = check_alike(recipe, jobs_of(vectors, 5))
    assert len(set(epochs)) >= 3  # So that the stack was narrowed again and again.
    assert max(epochs) < recipe.max_epochs
    assert epochs != sorted(epochs)


@pytest.mark.usefixtures("exact")
def test_so_do_models_of_images_to_the_last_epoch():
    recipe = replace(ADAM, stop_at_accuracy=0.45, max_epochs=12)
    assert len(set(check_alike(recipe, jobs_of(images), share=1e-9))) > 1


def test_one_job_and_equal_jobs_are_jobs_too():
    check_alike(FC, jobs_of(vectors, 1))
    twice = [(vectors(0), 5), (vectors(0), 5), (vectors(0), 6)]
    check_alike(FC, twice)
    first, second, other = (weights(one.model) for one in train_together(FC, twice, classes=3))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    assert not torch.allclose(first, other, rtol=0, atol=1e-3)


def test_the_company_does_not_matter():
    jobs = jobs_of(vectors, 4)
    together_with_all = train_together(FC, jobs, classes=3)[2]
    with_another = train_together(FC, [jobs[2], jobs[0]], classes=3)[0]
    torch.testing.assert_close(weights(together_with_all.model), weights(with_another.model), rtol=0, atol=1e-5)


# --- what is told ---


def test_every_epoch_of_every_model_is_told():
    recipe = replace(FC, stop_at_accuracy=0.9, max_epochs=40)
    jobs, seen = jobs_of(vectors), []
    made = train_together(recipe, jobs, classes=3, on_epoch=lambda number, report: seen.append((number, report)))
    for number, (samples, seed) in enumerate(jobs):
        expected = []
        train(recipe, samples, classes=3, seed=seed, on_epoch=expected.append)
        mine = [report for whose, report in seen if whose == number]
        assert [report.epoch for report in mine] == list(range(1, made[number].epochs + 1))
        assert [report.seconds for report in mine] == sorted(report.seconds for report in mine)
        assert [report.accuracy for report in mine] == [report.accuracy for report in expected]
        assert [report.loss for report in mine] == pytest.approx([report.loss for report in expected], rel=1e-4)


def test_a_model_is_told_of_when_it_is_finished_while_others_go_on():
    recipe = replace(FC, stop_at_accuracy=0.6, max_epochs=30)
    jobs, epochs, seen = jobs_of(vectors, 4), [], {}

    def made(number, one):
        seen[number] = (max(epochs, default=0), one)

    found = train_together(
        recipe, jobs, classes=3, on_epoch=lambda _, report: epochs.append(report.epoch), on_made=made
    )
    assert sorted(seen) == [0, 1, 2, 3]
    assert all(seen[number] == (one.epochs, one) for number, one in enumerate(found))
    assert len({one.epochs for one in found}) > 1  # Else nothing was tried.


def test_the_seconds_are_shares_of_the_wall_time(monkeypatch):
    # A clock that moves by one at each look: an epoch is looked at twice, so that it takes one second.
    ticks = iter(range(10**6))
    monkeypatch.setattr(together.time, "perf_counter", lambda: float(next(ticks)))
    recipe = replace(FC, stop_at_accuracy=0.9, max_epochs=40)
    made = train_together(recipe, jobs_of(vectors), classes=3)
    assert sum(one.seconds for one in made) == pytest.approx(max(one.epochs for one in made))
    for one in made:
        running = [sum(other.epochs >= epoch for other in made) for epoch in range(1, one.epochs + 1)]
        assert one.seconds == pytest.approx(sum(1 / number for number in running))


def test_broken_off_it_leaves_nothing_behind():
    jobs = jobs_of(images)
    before = [samples.inputs.clone() for samples, _ in jobs]
    recipe = replace(CNN, augment=MOVES)
    deterministic = torch.backends.cudnn.deterministic
    state = torch.get_rng_state()

    def interrupt(number, report):
        if (number, report.epoch) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_together(recipe, jobs, classes=3, on_epoch=interrupt)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.cudnn.deterministic == deterministic
    assert all(torch.equal(samples.inputs, old) for (samples, _), old in zip(jobs, before, strict=True))
    check_alike(recipe, jobs)


@pytest.mark.parametrize(("rows", "size"), [(1, 1), (1, 5), (5, 5), (6, 5), (7, 5), (11, 5), (3, 1), (10, 100)])
def test_batches_are_as_long_as_they_are_said_to_be(rows, size):
    lengths = batch_lengths(rows, size)
    assert sum(lengths) == rows
    assert all(length == size for length in lengths[:-1])
    assert 1 <= lengths[-1] <= size + 1
    assert lengths[-1] > 1 or rows == 1 or size == 1


# --- what is refused ---


def test_batch_normalisation_is_refused_with_the_reason():
    assert can_train_together(FC) is None
    assert can_train_together(CNN) is None
    recipe = replace(CNN, architecture="resnet18")
    assert "running statistics" in can_train_together(recipe)
    with pytest.raises(InvalidInput, match="cannot be trained together: resnet18 keeps running statistics"):
        train_together(recipe, jobs_of(images), classes=3)


@pytest.mark.parametrize(
    ("jobs", "rule"),
    [
        ([], "jobs must be at least 1, got 0"),
        ([(vectors(0), 0), (vectors(1, count=60), 1)], "jobs must have equally many samples, got 61 and 60"),
        ([(vectors(0), 0), (vectors(1, width=5), 1)], "jobs must share one domain"),
        ([(vectors(0), 0), (vectors(1).relabelled(vectors(1).labels + 1), 1)], "labels must be below classes = 3"),
        ([(vectors(0, count=0), 0)], "samples must be at least 1, got 0"),
    ],
)
def test_jobs_that_cannot_be_stacked_are_refused_before_training(jobs, rule):
    with pytest.raises(InvalidInput, match=rule):
        train_together(FC, jobs, classes=3, on_epoch=lambda *_: pytest.fail("trained"))


def test_augmentation_of_what_is_no_image_is_refused():
    with pytest.raises(InvalidInput, match="augment must be empty"):
        train_together(replace(FC, augment=MOVES), jobs_of(vectors), classes=3)


def test_a_loss_that_is_no_number_ends_all_and_names_the_learning_rate():
    recipe = replace(SGD, learning_rate=1e38, architecture="logistic")
    with pytest.raises(RuntimeError, match=r"loss became (nan|inf) in epoch \d+: learning_rate 1e\+38 is too high"):
        train_together(recipe, jobs_of(vectors), classes=3)


# --- whether it pays ---


def test_the_gain_is_the_ratio_of_the_measured_times(monkeypatch):
    runs = []

    def timed(run):
        run()
        runs.append(run)
        return {1: 2.0, 2: 5.0}[len(runs)]

    monkeypatch.setattr(together, "_least_seconds", timed)
    # One model takes 2 seconds, so four take 8 one after another, and 5 together.
    assert faster_together(FC, vectors(0), classes=3, count=4) == 8 / 5


def test_the_probe_times_what_it_is_given_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(together, "PROBE_SECONDS", 0.01)
    samples = images(0)
    before, state = samples.inputs.clone(), torch.get_rng_state()
    for count in (1, 3):
        assert 0 < faster_together(CNN, samples, classes=3, count=count) < 1000
    assert torch.equal(samples.inputs, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("recipe", "count", "rule"),
    [(FC, 0, "count must be at least 1"), (replace(CNN, architecture="resnet18"), 2, "cannot be trained together")],
)
def test_a_probe_of_nothing_is_refused(recipe, count, rule):
    with pytest.raises(InvalidInput, match=rule):
        faster_together(recipe, vectors(0), classes=3, count=count)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("recipe", "make"), [(FC, vectors), (replace(CNN, augment=MOVES), images)])
def test_on_a_gpu_models_are_the_same_and_stay_there(recipe, make):
    jobs = jobs_of(make)
    made = train_together(recipe, jobs, classes=3, device="cuda")
    expected = [train(recipe, samples, classes=3, seed=seed, device="cuda") for samples, seed in jobs]
    for one, truth in zip(made, expected, strict=True):
        assert one.model[-1].weight.is_cuda
        # Convolutions may round to TF32's 10 bits there.
        torch.testing.assert_close(weights(one.model), weights(truth.model), rtol=0, atol=5e-3)
    assert faster_together(recipe, jobs[0][0], classes=3, count=3, device="cuda") > 0

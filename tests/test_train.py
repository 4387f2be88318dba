from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hardlabel.checks import InvalidInput
from hardlabel.data.augment import STILL, Move, apply
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.samples import Samples
from hardlabel.models import train as training
from hardlabel.models.architectures import build
from hardlabel.models.method import Method
from hardlabel.models.model_store import content_hash, method_spec, packed, spec_of, trained, unpacked, weights_hash
from hardlabel.models.train import Plateau, Recipe, train, usual_precision
from hardlabel.store import DamagedPiece, Store

LINEAR = Recipe(architecture="logistic", learning_rate=0.1, batch_size=10)
TINY = Recipe(architecture="cnn", batch_size=16, max_epochs=3)


def vectors(count=50, features=4, classes=2, seed=0):
    """Points of a cube, labelled by which third (half, ...) their first coordinate lies in."""
    inputs = torch.rand(count, features, generator=torch.Generator().manual_seed(seed))
    labels = (inputs[:, 0] * classes).long()
    return Samples(ids=torch.arange(count), inputs=inputs, labels=labels, domain=Box((features,)))


def images(count=40, side=12, classes=4, lower=0.0):
    draws = torch.Generator().manual_seed(0)
    return Samples(
        ids=torch.arange(count),
        inputs=lower + (1 - lower) * torch.rand(count, 1, side, side, generator=draws),
        labels=torch.randint(0, classes, (count,), generator=draws),
        domain=Box((1, side, side), lower=lower),
    )


def weights(model):
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


class Watched(nn.Sequential):
    """A linear model that remembers what it is shown in training."""

    def __init__(self, width, classes):
        super().__init__(nn.Flatten(), nn.Linear(width, classes))
        self.batches = []

    def forward(self, inputs):
        if self.training:
            self.batches.append(inputs.detach().clone())
        return super().forward(inputs)


@pytest.fixture
def watched(monkeypatch):
    """Trains by `recipe` and returns the batches shown; every sample must be told apart by its inputs."""

    def watch(recipe, samples, *, seed=0, classes=4):
        model = Watched(samples.inputs[0].numel(), classes)
        monkeypatch.setattr(training, "build", lambda *_, **__: model)
        train(recipe, samples, classes=classes, seed=seed)
        return model.batches

    return watch


# --- the rule that ends training ---


def stops_at(losses, *, min_delta, patience):
    plateau = Plateau(min_delta=min_delta, patience=patience)
    return next((epoch for epoch, loss in enumerate(losses, start=1) if plateau.reached(loss)), None)


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ([1.0, 1.0, 1.0, 1.0], 4),  # The first loss is a fall from infinity; three in a row are none.
        ([1.0, 0.8, 0.6, 0.4, 0.2], None),
        ([1.0, 0.95, 0.94, 0.93], 4),  # Falls, but never by more than 0.1 below the best.
        ([1.0, 0.95, 0.89, 0.85, 0.82, 0.8], 6),  # Small falls that add up count: the best is 0.89 from there.
        ([1.0, 2.0, 2.0, 0.8, 2.0, 2.0, 2.0], 7),  # A rise and a fall begin the count anew.
        ([1.0, 2.0, 1.9, 1.8], 4),  # Falls count below the best only, not below the last.
    ],
)
def test_training_stops_when_the_loss_has_not_fallen_for_three_epochs(losses, epoch):
    assert stops_at(losses, min_delta=0.1, patience=3) == epoch


@given(losses=st.lists(st.integers(0, 30), max_size=30), min_delta=st.integers(0, 5), patience=st.integers(1, 5))
@settings(deadline=None)
def test_the_plateau_agrees_with_its_naive_twin(losses, min_delta, patience):
    def naive():
        falls, best = [], float("inf")
        for loss in losses:
            falls.append(loss < best - min_delta)
            best = loss if falls[-1] else best
        stalls = (end for end in range(patience, len(falls) + 1) if not any(falls[end - patience : end]))
        return next(stalls, None)

    assert stops_at(losses, min_delta=min_delta, patience=patience) == naive()


def test_training_follows_the_rule_on_the_losses_it_reports():
    seen = []
    recipe = replace(LINEAR, min_delta=0.05, patience=4)
    made = train(recipe, vectors(), classes=2, seed=0, on_epoch=seen.append)
    assert made.epochs == stops_at([report.loss for report in seen], min_delta=0.05, patience=4) == len(seen)
    assert [report.epoch for report in seen] == list(range(1, len(seen) + 1))
    assert [report.seconds for report in seen] == sorted(report.seconds for report in seen)


def test_training_stops_at_the_first_epoch_that_is_accurate_enough():
    seen = []
    recipe = replace(LINEAR, stop_at_accuracy=0.9)
    made = train(recipe, vectors(), classes=2, seed=0, on_epoch=seen.append)
    assert [report.accuracy >= 0.9 for report in seen] == [False] * (made.epochs - 1) + [True]
    assert made.epochs > 1


def test_training_stops_at_the_last_epoch_allowed():
    made = train(replace(LINEAR, max_epochs=3), vectors(50), classes=2, seed=0)
    assert (made.epochs, made.rows) == (3, 150)


# --- what a step does ---


def test_sgd_with_momentum_and_decay_takes_the_steps_of_the_closed_form():
    samples, rate, momentum, decay = vectors(30, classes=3), 0.5, 0.8, 0.1
    recipe = Recipe(
        architecture="logistic",
        optimizer="sgd",
        learning_rate=rate,
        momentum=momentum,
        weight_decay=decay,
        batch_size=30,
        max_epochs=3,
    )
    start = build("logistic", shape=(4,), classes=3, seed=7)
    matrix = torch.cat([start[1].weight, start[1].bias[:, None]], 1).detach().double()
    x = torch.cat([samples.inputs, torch.ones(30, 1)], 1).double()
    truth = functional.one_hot(samples.labels, 3).double()
    speed = torch.zeros_like(matrix)
    for _ in range(3):
        gradient = ((x @ matrix.T).softmax(1) - truth).T @ x / 30 + decay * matrix
        speed = momentum * speed + gradient
        matrix = matrix - rate * speed
    made = train(recipe, samples, classes=3, seed=7)
    by_training = torch.cat([made.model[1].weight, made.model[1].bias[:, None]], 1).detach().double()
    # Three steps in float32 of sums of 30 terms of order 1: rounding stays far below 1e-5.
    torch.testing.assert_close(by_training, matrix, rtol=0, atol=1e-5)


@pytest.mark.parametrize("decay", [0.0, 2.0])
def test_adams_first_step_has_the_length_of_the_learning_rate_against_the_penalised_gradient(decay):
    recipe = replace(LINEAR, learning_rate=0.01, batch_size=50, max_epochs=1, weight_decay=decay)
    samples, start = vectors(), build("logistic", shape=(4,), classes=2, seed=0)
    functional.cross_entropy(start(samples.inputs), samples.labels).backward()
    gradient = torch.cat([weight.grad.flatten() for weight in start.parameters()]) + decay * weights(start)
    step = weights(train(recipe, samples, classes=2, seed=0).model) - weights(start)
    assert gradient.abs().min() > 1e-3  # So that Adam's 1e-8 beside it is nothing.
    torch.testing.assert_close(step, -0.01 * gradient.sign(), rtol=1e-4, atol=1e-6)


def test_a_separable_problem_is_learned():
    made = train(replace(LINEAR, stop_at_accuracy=1.0, patience=1000), vectors(), classes=2, seed=0)
    assert made.train_accuracy == 1
    fresh = vectors(1000, seed=1)
    assert float((made.model(fresh.inputs).argmax(1) == fresh.labels).double().mean()) > 0.9


def test_the_reported_loss_and_accuracy_are_means_over_all_rows():
    # A step of 1e-30 changes nothing, so the running figures are those of the first weights; 47 = 4 * 10 + 7.
    seen, samples = [], vectors(47)
    recipe = replace(LINEAR, optimizer="sgd", learning_rate=1e-30, max_epochs=1)
    made = train(recipe, samples, classes=2, seed=0, on_epoch=seen.append)
    logits = build("logistic", shape=(4,), classes=2, seed=0)(samples.inputs)
    loss = -logits.log_softmax(1)[torch.arange(47), samples.labels].mean().item()
    share = (logits.argmax(1) == samples.labels).double().mean().item()
    assert (seen[0].loss, seen[0].accuracy) == (pytest.approx(loss, rel=1e-5), share)
    assert (made.train_loss, made.train_accuracy) == (pytest.approx(loss, rel=1e-5), share)


def test_the_final_figures_are_measured_in_evaluation_mode_without_augmentation():
    samples = images(20, side=8)
    recipe = Recipe(architecture="resnet18", batch_size=20, max_epochs=1, augment=(Move(right=3),))
    made = train(recipe, samples, classes=4, seed=0)
    assert not any(layer.training for layer in made.model.modules())
    logits = made.model(samples.inputs).detach()
    assert made.train_loss == pytest.approx(functional.cross_entropy(logits, samples.labels).item(), rel=1e-4)
    assert made.train_accuracy == float((logits.argmax(1) == samples.labels).double().mean())


# --- order and batches ---


@given(count=st.integers(1, 30), size=st.integers(1, 12), seed=st.integers(0, 5))
@settings(deadline=None)
def test_every_row_stands_once_in_a_batch_and_none_stands_alone(count, size, seed):
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    batches = list(torch.split(order, training.batch_lengths(count, size)))
    assert torch.equal(torch.cat(batches), order)
    lengths = [len(batch) for batch in batches]
    assert all(length == size for length in lengths[:-1])
    assert 1 <= lengths[-1] <= size + 1
    if size > 1 and count > 1:
        assert lengths[-1] > 1


def test_each_epoch_shows_every_sample_once_in_a_new_order(watched):
    samples = vectors(20)
    batches = watched(replace(LINEAR, batch_size=8, max_epochs=2), samples)
    assert [len(batch) for batch in batches] == [8, 8, 4] * 2
    first, second = (torch.cat(batches[at : at + 3])[:, 0] for at in (0, 3))
    assert torch.equal(first.sort().values, samples.inputs[:, 0].sort().values)
    assert torch.equal(second.sort().values, samples.inputs[:, 0].sort().values)
    assert not torch.equal(first, second)
    assert not torch.equal(first, samples.inputs[:, 0])


@pytest.mark.parametrize("count", [2, 5])
def test_batch_normalisation_never_meets_a_single_row(count):
    recipe = Recipe(architecture="resnet18", batch_size=4, max_epochs=1)
    assert train(recipe, images(count, side=8), classes=4, seed=0).rows == count


# --- augmentation ---


MOVES = (STILL, Move(flip=True), Move(right=1, down=-2))


def moves_shown(samples, recipe, batches):
    """For each epoch and sample, the number of the recipe's move it was shown under."""
    copies = torch.stack([apply(move, samples.inputs, fill=samples.domain.lower) for move in recipe.augment])
    epochs = torch.cat(batches).reshape(recipe.max_epochs, *samples.inputs.shape)
    found = []
    for epoch in epochs:
        is_it = (epoch[None, None] == copies[:, :, None]).flatten(3).all(3)  # (moves, samples, positions)
        assert bool((is_it.sum((0, 2)) == 1).all()), "each sample must be shown once, under one of the moves"
        found.append(is_it.any(2).int().argmax(0))
    return torch.stack(found)


@pytest.mark.parametrize("lower", [0.0, -1.0])
def test_each_image_is_shown_under_a_move_drawn_anew_each_epoch(watched, lower):
    samples = images(lower=lower)
    recipe = Recipe(augment=MOVES, batch_size=16, max_epochs=30, patience=30)
    found = moves_shown(samples, recipe, watched(recipe, samples))
    # 30 * 40 draws among three moves: each count is binomial with p = 1/3.
    four_standard_errors = 4 * (1200 * (1 / 3) * (2 / 3)) ** 0.5
    assert found.flatten().bincount(minlength=3).tolist() == pytest.approx([400] * 3, abs=four_standard_errors)
    # The same for each sample over epochs, and each epoch over samples: none keeps one move.
    assert bool((found.min(0).values < found.max(0).values).all())
    assert bool((found.min(1).values < found.max(1).values).all())


def test_without_augmentation_the_images_are_shown_as_they_are(watched):
    samples, recipe = images(), replace(TINY, max_epochs=2)
    shown = torch.cat(watched(recipe, samples))
    assert torch.equal(
        shown.flatten(1).sum(1).sort().values, samples.inputs.repeat(2, 1, 1, 1).flatten(1).sum(1).sort().values
    )


def test_a_single_move_is_made_by_all(watched):
    samples, recipe = images(), replace(TINY, augment=(Move(down=3),))
    assert torch.cat(watched(recipe, samples))[..., :3, :].abs().max() == 0


# --- the seed ---


@pytest.mark.parametrize("augment", [(), (STILL, Move(flip=True), Move(degrees=8.0))])
def test_the_seed_fixes_every_bit_whatever_the_global_generator(augment):
    recipe, samples = replace(TINY, augment=augment), images()
    torch.manual_seed(1)
    first = train(recipe, samples, classes=4, seed=5)
    torch.manual_seed(2)
    second = train(recipe, samples, classes=4, seed=5)
    assert torch.equal(weights(first.model), weights(second.model))
    assert (first.train_loss, first.epochs) == (second.train_loss, second.epochs)
    assert not torch.equal(weights(first.model), weights(train(recipe, samples, classes=4, seed=6).model))


def test_the_seed_fixes_order_and_moves_as_well_as_first_weights(watched):
    recipe, samples = replace(TINY, augment=MOVES), images()
    shown = [watched(recipe, samples, seed=seed) for seed in (5, 5, 6)]
    first, again, other = (torch.cat(batches) for batches in shown)
    assert torch.equal(first, again)
    # By chance alone, two thirds of the moves differ from one seed to another.
    differ = moves_shown(samples, recipe, shown[0]) != moves_shown(samples, recipe, shown[2])
    four_standard_errors = 4 * ((2 / 3) * (1 / 3) / 120) ** 0.5
    assert differ.double().mean().item() == pytest.approx(2 / 3, abs=four_standard_errors)
    assert not torch.equal(first, other)


def test_training_leaves_the_global_generator_as_it_was():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(replace(TINY, augment=MOVES), images(), classes=4, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_samples_are_not_changed():
    samples = images()
    before = samples.inputs.clone()
    train(replace(TINY, augment=(Move(right=2),)), samples, classes=4, seed=0)
    assert torch.equal(samples.inputs, before)


# --- models found again ---


def refuse_to_train(report):
    raise AssertionError(f"a finished model was trained again: {report}")


@pytest.mark.parametrize("architecture", ["cnn", "resnet18", "fc"])
def test_a_finished_model_is_found_and_not_trained_again(tmp_path, architecture):
    recipe, samples, store = replace(TINY, architecture=architecture, max_epochs=1), images(17), Store(tmp_path)
    made = trained(recipe, samples, classes=4, seed=0, store=store)
    again = replace_ids(samples)
    found = trained(recipe, again, classes=4, seed=0, store=Store(tmp_path), on_epoch=refuse_to_train)
    assert found.model.state_dict().keys() == made.model.state_dict().keys()
    for name, value in made.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], value), name
    assert not found.model.training
    with torch.inference_mode():
        assert torch.equal(found.model(samples.inputs), made.model(samples.inputs))
    for name in ("epochs", "train_loss", "train_accuracy", "seconds", "rows"):
        assert getattr(found, name) == getattr(made, name)


def replace_ids(samples):
    return Samples(ids=samples.ids + 100, inputs=samples.inputs, labels=samples.labels, domain=samples.domain)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": replace(LINEAR, max_epochs=2, learning_rate=0.2)},
        {"recipe": replace(LINEAR, max_epochs=2, architecture="fc")},
        {"recipe": replace(LINEAR, max_epochs=3)},
        {"seed": 1},
        {"classes": 3},
        {"samples": vectors().take(torch.arange(49, -1, -1))},
        {"samples": vectors().take(slice(0, 49))},
        {"samples": vectors().relabelled(1 - vectors().labels)},
        {"samples": Samples(ids=vectors().ids, inputs=vectors().inputs, labels=vectors().labels, domain=Box((4,), -1))},
    ],
)
def test_another_recipe_seed_or_data_means_another_model(tmp_path, change):
    plan = {"recipe": replace(LINEAR, max_epochs=2), "samples": vectors(), "classes": 2, "seed": 0}
    reports = []

    def run(recipe, samples, classes, seed):
        trained(recipe, samples, classes=classes, seed=seed, store=Store(tmp_path), on_epoch=reports.append)

    run(**plan)
    before = len(reports)
    run(**plan)
    assert len(reports) == before
    run(**(plan | change))
    assert len(reports) > before


def test_a_model_packed_elsewhere_is_the_one_that_is_kept(tmp_path):
    recipe, store = replace(LINEAR, max_epochs=2), Store(tmp_path)
    payload = packed(train(recipe, vectors(), classes=2, seed=0))
    store.save(spec_of(recipe, vectors(), classes=2, seed=0), payload)
    made = trained(recipe, vectors(), classes=2, seed=0, store=store, on_epoch=lambda report: pytest.fail("trained"))
    found = unpacked(payload, recipe, vectors().domain, classes=2)
    assert weights_hash(found.model) == weights_hash(made.model)
    assert found.rows == made.rows == 2 * len(vectors())


def test_the_hash_of_a_network_knows_structure_weights_and_buffers():
    def net(**settings):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, **settings))

    told = weights_hash(net())
    assert told == weights_hash(net()) == weights_hash(net().eval())
    moved, counted, cast = net(), net(), net().to(torch.bfloat16)
    moved[0].weight.data[0, 0] += 1e-7
    counted[1].running_mean += 1
    others = [moved, counted, cast, net(eps=1e-4), nn.Sequential(net()[0])]
    assert len({told, *map(weights_hash, others)}) == 6


def test_a_damaged_model_is_trained_again_and_kept(tmp_path):
    recipe = replace(LINEAR, max_epochs=2)
    made = trained(recipe, vectors(), classes=2, seed=0, store=Store(tmp_path))
    [piece] = tmp_path.glob("*.piece")
    piece.write_bytes(piece.read_bytes()[:-1])
    with pytest.warns(DamagedPiece):
        again = trained(recipe, vectors(), classes=2, seed=0, store=Store(tmp_path))
    assert torch.equal(weights(again.model), weights(made.model))
    trained(recipe, vectors(), classes=2, seed=0, store=Store(tmp_path), on_epoch=refuse_to_train)


def test_the_store_holds_no_data(tmp_path):
    trained(replace(LINEAR, max_epochs=1), vectors(), classes=2, seed=0, store=Store(tmp_path))
    [told] = tmp_path.glob("*.json")
    assert len(told.read_text()) < 2000 < vectors(250).inputs.numel() * 4


def test_without_a_store_a_model_is_trained_each_time():
    recipe, reports = replace(LINEAR, max_epochs=2), []
    for _ in range(2):
        trained(recipe, vectors(), classes=2, seed=0, on_epoch=reports.append)
    assert [report.epoch for report in reports] == [1, 2, 1, 2]


def test_the_content_hash_knows_inputs_labels_and_order_and_not_ids():
    samples = vectors()
    told = content_hash(samples)
    assert told == content_hash(vectors()) == content_hash(replace_ids(samples))
    others = [
        samples.take(torch.arange(49, -1, -1)),
        samples.take(slice(1, 50)),
        samples.relabelled(samples.labels.flip(0)),
        Samples(ids=samples.ids, inputs=samples.inputs / 2, labels=samples.labels, domain=samples.domain),
        Samples(ids=samples.ids, inputs=samples.inputs.reshape(50, 2, 2), labels=samples.labels, domain=Box((2, 2))),
    ]
    assert len({told, *map(content_hash, others)}) == 6


def test_the_content_hash_does_not_depend_on_how_the_tensor_lies_in_memory():
    samples = images()
    strided = samples.inputs.repeat_interleave(2, 3)[..., ::2]
    assert not strided.is_contiguous()
    assert content_hash(replace_inputs(samples, strided)) == content_hash(samples)


def replace_inputs(samples, inputs):
    return Samples(ids=samples.ids, inputs=inputs, labels=samples.labels, domain=samples.domain)


# --- precision ---


@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_products_are_made_in_the_recipes_precision_and_weights_stay_whole(monkeypatch, precision, kind):
    model, seen = build("cnn", shape=(1, 12, 12), classes=4, seed=0), set()
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, inputs, output: seen.add((layer.training, output.dtype)))
    monkeypatch.setattr(training, "build", lambda *_, **__: model)
    made = train(replace(TINY, precision=precision), images(), classes=4, seed=0)
    assert seen == {(True, kind), (False, torch.float32)}  # The final figures are measured in float32.
    assert {weight.dtype for weight in made.model.parameters()} == {torch.float32}


def test_mixed_precision_trains_nearly_the_same_model():
    """A product is rounded to 8 bits, an error of 2^-9: one step of sgd moves weights nearly alike."""
    recipe = replace(TINY, optimizer="sgd", batch_size=40, max_epochs=1, learning_rate=0.5)
    first = weights(build("cnn", shape=(1, 12, 12), classes=4, seed=0))
    whole, mixed = (
        weights(train(replace(recipe, precision=one), images(), classes=4, seed=0).model) - first
        for one in ("float32", "bfloat16")
    )
    assert not torch.equal(whole, mixed)
    assert (whole - mixed).norm() < 0.05 * whole.norm()


def test_the_store_tells_precisions_apart_and_finds_what_was_trained_before_there_were_two():
    whole, mixed = (
        spec_of(replace(TINY, precision=one), images(), classes=4, seed=0) for one in ("float32", "bfloat16")
    )
    assert "precision" not in whole["recipe"]
    assert mixed["recipe"] == {**whole["recipe"], "precision": "bfloat16"}
    assert method_spec(Pretrained(recipe=TINY))["recipe"] == whole["recipe"]
    assert method_spec(Pretrained(recipe=replace(TINY, precision="bfloat16")))["recipe"] == mixed["recipe"]


@dataclass(frozen=True)
class Pretrained(Method):
    """A method with a recipe of its own."""

    recipe: Recipe


@pytest.mark.parametrize(
    ("able", "architecture", "device", "precision"),
    [
        ({"avx512_bf16": True}, "cnn", "cpu", "bfloat16"),
        ({"amx_bf16": True}, "resnet18", "cpu", "bfloat16"),
        ({"avx512_bf16": True}, "fc", "cpu", "float32"),
        ({"avx512_bf16": False, "avx2": True}, "cnn", "cpu", "float32"),
        ({"avx512_bf16": True}, "cnn", "cuda", "float32"),
    ],
)
def test_networks_that_convolve_are_trained_in_bfloat16_where_processors_have_it(
    monkeypatch, able, architecture, device, precision
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert usual_precision(architecture, torch.device(device)) == precision


def test_a_pytorch_that_does_not_tell_its_processor_trains_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert usual_precision("cnn", torch.device("cpu")) == "float32"


def test_a_method_trains_in_float32():
    with pytest.raises(InvalidInput, match="precision must be 'float32' where defenses train, got 'bfloat16'"):
        train(replace(TINY, precision="bfloat16"), images(), classes=4, seed=0, method=Method())


# --- what is refused, before anything is trained ---


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"architecture": "cnm"}, "architecture 'cnm' is unknown: did you mean 'cnn'"),
        ({"optimizer": "adamw"}, "optimizer 'adamw' is unknown: did you mean 'adam'"),
        ({"learning_rate": 0}, "learning_rate must be positive, got 0"),
        ({"momentum": 1}, r"momentum must lie in \[0, 1\), got 1"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more, got -1"),
        ({"min_delta": -1}, "min_delta must be 0 or more, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"max_epochs": 0}, "max_epochs must be at least 1, got 0"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"precision": "float16"}, "precision 'float16' is unknown: did you mean 'bfloat16'"),
        ({"stop_at_accuracy": 1.5}, r"stop_at_accuracy must lie in \[0, 1\], got 1.5"),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, rule):
    with pytest.raises(InvalidInput, match=rule):
        Recipe(**settings)


@pytest.mark.parametrize(
    ("recipe", "samples", "classes", "rule"),
    [
        (LINEAR, vectors().take(slice(0, 0)), 2, "samples must be at least 1, got 0"),
        (LINEAR, vectors(classes=3), 2, "labels must be below classes = 2, got 2"),
        (TINY, vectors(), 2, "shape must be"),
        (replace(LINEAR, augment=MOVES), vectors(), 2, "augment must be empty .* got a continuous domain"),
        (replace(TINY, augment=(Move(right=-12),)), images(), 4, "augment must leave a part of 12 x 12 pixels"),
        (replace(TINY, architecture="resnet18"), images(1), 4, "samples must be at least 2, got 1"),
        (replace(TINY, architecture="resnet18", batch_size=1), images(), 4, "batch_size must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_trained_is_refused_at_once(recipe, samples, classes, rule):
    with pytest.raises(InvalidInput, match=rule):
        train(recipe, samples, classes=classes, seed=0, on_epoch=refuse_to_train)


def test_binary_features_are_not_augmented():
    bits = BinaryFeatures(4)
    inputs = bits.random(10, torch.Generator().manual_seed(0))
    samples = Samples(ids=torch.arange(10), inputs=inputs, labels=torch.arange(10) % 2, domain=bits)
    with pytest.raises(InvalidInput, match="got a binary domain"):
        train(replace(LINEAR, augment=MOVES), samples, classes=2, seed=0)


def test_a_loss_that_is_no_number_ends_training_and_names_the_learning_rate():
    recipe = replace(LINEAR, optimizer="sgd", learning_rate=1e38, max_epochs=50)
    with pytest.raises(RuntimeError, match=r"loss became (nan|inf) in epoch \d+: learning_rate 1e\+38 is too high"):
        train(recipe, vectors(), classes=2, seed=0)


@pytest.mark.parametrize(("architecture", "used"), [("fc", 1), ("cnn", 3)])
def test_only_networks_that_convolve_are_trained_by_more_than_one_thread(architecture, used):
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        recipe = Recipe(architecture=architecture, max_epochs=2)
        train(recipe, images(), classes=4, seed=0, on_epoch=lambda report: seen.append(torch.get_num_threads()))
        assert seen == [used, used]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

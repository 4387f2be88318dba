"""Defenses in training: each against its definition, all against the contract of a trainer."""

import math
import pickle
import re
import threading
from dataclasses import replace

import cloudpickle
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from defending import EVERYONE, MEMBERS, OTHERS, RECIPE, RESERVE, defender, plain
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.samples import Samples
from hardlabel.defenses import selena
from hardlabel.defenses.augmentation import Augmentation
from hardlabel.defenses.dropout import Dropout
from hardlabel.defenses.early_stopping import EarlyStopping
from hardlabel.defenses.hamp import SoftLabels, top_share
from hardlabel.defenses.l1 import L1Penalty
from hardlabel.defenses.label_smoothing import Smoothed
from hardlabel.defenses.mixup import Mixed
from hardlabel.defenses.relaxloss import Relaxed
from hardlabel.defenses.table import TABLE, chosen
from hardlabel.defenses.trainer import defended
from hardlabel.defenses.transfer_learning import TransferLearning
from hardlabel.executors import sendable
from hardlabel.models.method import Task
from hardlabel.models.model_store import method_spec, weights_hash
from hardlabel.models.trainers import EstimatorTrainer
from hardlabel.oracles.base import LabelOracle
from hardlabel.store import Store, digest

TRAINED = [row.name for row in TABLE.values() if row.trains]
MIDDLE = [chosen([name])[1] for name in TRAINED]
middles = pytest.mark.parametrize("strength", MIDDLE, ids=lambda one: one.row.name)
SHORT = replace(RECIPE, max_epochs=6)


def task(method, samples=MEMBERS, seed=0):
    model = method.network("fc", shape=(1, 8, 8), classes=10, seed=0)
    return Task(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        inputs=samples.inputs,
        labels=samples.labels,
        classes=10,
        batch_size=100,
        seed=seed,
    )


def loss_of(method, samples=MEMBERS, epoch=1):
    given = task(method, samples)
    course = method.begin(given)
    for _ in range(epoch):
        course.begin_epoch()
    loss, _ = course.loss(samples.inputs, samples.labels, torch.arange(len(samples)))
    with torch.no_grad():
        logits = given.model.eval()(samples.inputs)
    return loss, logits, given.model


# --- the contract ---


@middles
def test_a_defense_trains_a_model_that_a_seed_fixes(strength, tmp_path):
    recipe, store = replace(SHORT, max_epochs=3), Store(tmp_path)
    own = defender(store=store)
    made = defended(strength, plain(recipe), own)
    first, again, other = (made.bare.fit(MEMBERS, seed).model for seed in (0, 0, 1))
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)
    assert not first.training
    assert all(weight.requires_grad for weight in first.parameters())
    guarded = made.trainer.fit(MEMBERS, 0).model
    asked = guarded if isinstance(guarded, LabelOracle) else None
    labels = first(OTHERS.inputs).argmax(1) if asked is None else asked.ask(OTHERS.inputs, OTHERS.ids)
    assert labels.shape == (len(OTHERS),)
    assert labels.dtype == torch.int64


@middles
def test_a_stored_model_is_found_again_and_is_no_other_defenses(strength, tmp_path):
    store = Store(tmp_path)
    trainer = replace(plain(replace(SHORT, max_epochs=2)), store=store)
    made = defended(strength, trainer, defender(store=store))
    assert store.load(made.bare.key(MEMBERS, 0)) is None
    fitted = made.bare.fit(MEMBERS, 0)
    found = made.bare.unpacked(store.load(made.bare.key(MEMBERS, 0)), MEMBERS)
    assert weights_hash(found.model) == weights_hash(fitted.model)
    assert store.load(trainer.key(MEMBERS, 0)) is None
    assert torch.equal(found.model(OTHERS.inputs), fitted.model(OTHERS.inputs))


@middles
def test_a_defense_trains_the_same_model_where_it_is_sent_and_takes_no_store_along(strength, tmp_path):
    """The store of a run cannot be sent: it has a journal and a terminal."""
    store = Store(tmp_path)
    object.__setattr__(store, "terminal", threading.Lock())
    trainer = replace(plain(replace(SHORT, max_epochs=2)), store=store)
    bare = defended(strength, trainer, defender(store=store)).bare
    assert not sendable(bare)
    moved = bare.moved(torch.device("cpu"))
    assert sendable(moved)
    there, before = cloudpickle.loads(cloudpickle.dumps(moved)), set(tmp_path.iterdir())
    payload = there.packed(MEMBERS, 0)
    assert set(tmp_path.iterdir()) == before
    assert weights_hash(bare.unpacked(payload, MEMBERS).model) == weights_hash(bare.fit(MEMBERS, 0).model)


def test_global_generators_are_neither_read_nor_changed():
    state = torch.random.get_rng_state()
    for strength in MIDDLE:
        if strength.row.name not in ("selena", "dp-sgd", "transfer+dp-sgd"):
            defended(strength, plain(replace(SHORT, max_epochs=1)), defender()).bare.fit(MEMBERS, 0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_methods_that_differ_in_a_field_or_in_data_have_other_keys():
    keys = {digest(method_spec(one)) for one in (Mixed(alpha=1.0), Mixed(alpha=2.0), L1Penalty(penalty=1.0))}
    assert len(keys) == 3
    game = chosen(["adversarial-regularization"])[0].defense
    one, two = (game.training(RECIPE, defender(reserve=aside)).method for aside in (RESERVE, OTHERS))
    assert digest(method_spec(one)) != digest(method_spec(two))


@middles
def test_only_a_recipe_can_be_defended_in_training(strength):
    with pytest.raises(InvalidInput, match=re.escape(f"defense '{strength.row.name}' changes the training")):
        defended(strength, EstimatorTrainer(estimator=LogisticRegression()), defender())


# --- losses, against their definitions ---


def test_l1_adds_the_sum_of_absolute_weights():
    loss, logits, model = loss_of(L1Penalty(penalty=0.01))
    size = sum(weight.abs().sum().item() for weight in model.parameters())
    assert loss.item() == pytest.approx(functional.cross_entropy(logits, MEMBERS.labels).item() + 0.01 * size, rel=1e-5)


def test_label_smoothing_spreads_a_share_over_all_classes():
    loss, logits, _ = loss_of(Smoothed(share=0.3))
    soft = functional.one_hot(MEMBERS.labels, 10) * 0.7 + 0.03
    assert loss.item() == pytest.approx(-(soft * logits.log_softmax(1)).sum(1).mean().item(), rel=1e-5)


def test_mixup_of_a_batch_of_copies_is_plain_training_and_shares_follow_the_beta():
    copies = MEMBERS.take(torch.zeros(8, dtype=torch.int64)[:1])
    alone, logits, _ = loss_of(Mixed(alpha=1.0), copies)
    assert alone.item() == pytest.approx(functional.cross_entropy(logits, copies.labels).item(), rel=1e-5)
    seen = []
    given = task(Mixed(alpha=0.5))
    given.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    course = Mixed(alpha=0.5).begin(given)
    pair = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    for _ in range(600):
        course.loss(pair, MEMBERS.labels[:2], torch.arange(2))
    # Unmixed with chance one half (the permutation); else the first shows one minus its share.
    mixed = torch.stack([one[0, 0, 0, 0] for one in seen if 0 < float(one[0, 0, 0, 0]) < 1])
    assert len(mixed) / 600 == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(600))
    variance = 1 / (4 * (2 * 0.5 + 1))  # Of Beta(a, a).
    assert mixed.mean().item() == pytest.approx(0.5, abs=4 * math.sqrt(variance / len(mixed)))
    assert mixed.var().item() == pytest.approx(variance, rel=0.25)


def test_relaxloss_descends_above_its_level_and_goes_back_below():
    loss, logits, _ = loss_of(Relaxed(level=1.0))
    assert loss.item() == pytest.approx(functional.cross_entropy(logits, MEMBERS.labels).item(), rel=1e-5)
    for level, direction in ((1.0, 1), (5.0, -1)):
        loss, logits, _ = loss_of(Relaxed(level=level), epoch=2)
        plain_loss = functional.cross_entropy(logits, MEMBERS.labels).item()
        assert loss.item() == pytest.approx(direction * (plain_loss - level), rel=1e-5)


def test_relaxloss_flattens_what_lies_beside_the_true_class():
    loss, logits, _ = loss_of(Relaxed(level=5.0))
    shown = logits.softmax(1)
    own = shown[torch.arange(len(shown)), MEMBERS.labels]
    soft = ((1 - own) / 9)[:, None].repeat(1, 10)
    soft[torch.arange(len(soft)), MEMBERS.labels] = own
    assert loss.item() == pytest.approx(-(soft * shown.log()).sum(1).mean().item(), rel=1e-5)


def test_relaxloss_ends_near_its_level():
    [strength] = chosen(["relaxloss"], {"relaxloss": [0.7]})
    recipe = replace(RECIPE, max_epochs=100, learning_rate=5e-3)
    made = defended(strength, plain(recipe), defender()).bare.fit(MEMBERS, 0)
    loss = functional.cross_entropy(made.model(MEMBERS.inputs), MEMBERS.labels).item()
    undefended = plain(recipe).fit(MEMBERS, 0).model
    assert 0.4 < loss < 1.0
    assert functional.cross_entropy(undefended(MEMBERS.inputs), MEMBERS.labels).item() < 0.2


@pytest.mark.parametrize(("entropy", "classes"), [(0.1, 10), (0.5, 2), (0.9, 100)])
def test_hamps_soft_labels_have_the_entropy_asked_for(entropy, classes):
    share = top_share(entropy, classes)
    soft = torch.full((classes,), (1 - share) / (classes - 1), dtype=torch.float64)
    soft[0] = share
    assert -(soft * soft.log()).sum().item() == pytest.approx(entropy * math.log(classes), rel=1e-6)
    assert share > 1 / classes


def test_hamp_rewards_entropy():
    loss, logits, _ = loss_of(SoftLabels(entropy=0.5))
    share = top_share(0.5, 10)
    soft = torch.full((len(MEMBERS), 10), (1 - share) / 9)
    soft[torch.arange(len(soft)), MEMBERS.labels] = share
    log = logits.log_softmax(1)
    away = (soft * (soft.log() - log)).sum(1).mean()
    assert loss.item() == pytest.approx((away + 0.01 * (log.exp() * log).sum(1).mean()).item(), rel=1e-4)


# --- networks, data, starts ---


def test_dropout_stands_before_dense_layers_and_leaves_first_weights_alone():
    method = Dropout(rate=0.5).training(RECIPE, defender()).method
    network = method.network("cnn", shape=(3, 32, 32), classes=10, seed=0)
    kinds = [type(layer) for layer in network]
    assert kinds.count(nn.Dropout) == 2
    assert all(kinds[place + 1] is nn.Linear for place, kind in enumerate(kinds) if kind is nn.Dropout)
    small = method.network("fc", shape=(1, 8, 8), classes=10, seed=0)
    model = small.train()
    assert not torch.equal(model(MEMBERS.inputs), model(MEMBERS.inputs))
    plain_model = plain().recipe
    assert plain_model.architecture == "fc"
    with pytest.raises(InvalidInput, match="'dropout' needs a network with a hidden layer, got 'logistic'"):
        Dropout(rate=0.5).training(replace(RECIPE, architecture="logistic"), defender())


def test_early_stopping_ends_at_its_accuracy():
    recipe = replace(RECIPE, max_epochs=100)
    whole = plain(recipe).fit(MEMBERS, 0)
    made = defended(chosen(["early-stopping"], {"early-stopping": [0.6]})[0], plain(recipe), defender()).bare
    stopped = made.fit(MEMBERS, 0)
    assert stopped.rows < whole.rows
    assert (
        EarlyStopping(accuracy=0.9).training(replace(recipe, stop_at_accuracy=0.5), defender()).recipe.stop_at_accuracy
        == 0.5
    )


def test_augmentation_needs_images_and_adds_moves():
    training = Augmentation(distance=2).training(RECIPE, defender())
    assert len(training.recipe.augment) == 1 + 1 + 4 + 8
    with pytest.raises(InvalidInput, match="'augmentation' needs images, got a binary domain"):
        Augmentation(distance=1).training(RECIPE, defender(domain=BinaryFeatures(64)))
    with pytest.raises(InvalidInput, match="distance must be below 8"):
        Augmentation(distance=8).training(RECIPE, defender())


@pytest.mark.parametrize(("frozen", "stay"), [(0.0, 0), (0.5, 1), (1.0, 2)])
def test_frozen_layers_stay_as_pretrained_and_the_others_learn(frozen, stay):
    recipe = replace(SHORT, architecture="fc-2", weight_decay=0.01)
    training = TransferLearning(frozen=frozen).training(recipe, defender())
    method = training.method
    made = replace(plain(training.recipe), method=method).fit(MEMBERS, 0).model
    base = plain(recipe).fit(RESERVE, method.first_seed).model
    dense = [(one, two) for one, two in zip(made, base, strict=True) if isinstance(one, nn.Linear)]
    assert [torch.equal(one.weight, two.weight) for one, two in dense] == [True] * stay + [False] * (3 - stay)


def test_transfer_from_other_data_needs_their_shape_and_a_hidden_layer():
    wide = Samples(
        ids=torch.arange(4), inputs=torch.zeros(4, 1, 9, 9), labels=torch.tensor([0, 1, 0, 1]), domain=Box((1, 9, 9))
    )
    with pytest.raises(InvalidInput, match=r"pretraining data must have the shape \(1, 8, 8\), got \(1, 9, 9\)"):
        TransferLearning(frozen=1.0).training(RECIPE, defender(pretraining=wide))
    with pytest.raises(InvalidInput, match="needs a network of two layers or more, got 'logistic'"):
        TransferLearning(frozen=1.0).training(replace(RECIPE, architecture="logistic"), defender())
    two = EVERYONE.take(EVERYONE.labels < 2)
    training = TransferLearning(frozen=1.0).training(SHORT, defender(pretraining=two))
    assert replace(plain(SHORT), method=training.method).fit(MEMBERS, 0).model(MEMBERS.inputs).shape == (200, 10)


def test_selena_speaks_of_a_sample_only_through_models_that_never_saw_it(monkeypatch):
    held = selena.held_out(200, submodels=5, without=2, seed=0)
    assert bool((held.sum(1) == 2).all())
    # Each sub-model is kept from 40 % of the samples, hypergeometric per sample: a binomial bound suffices.
    assert ((held.double().mean(0) - 0.4).abs() < 4 * math.sqrt(0.24 / 200)).all()
    told = []

    class Lookup(nn.Module):
        """Sure of the class 9 for what it was trained on, of class 0 for all else."""

        def __init__(self, inputs):
            super().__init__()
            self.known = {one.tobytes() for one in inputs.numpy()}

        def forward(self, inputs):
            seen = torch.tensor([one.tobytes() in self.known for one in inputs.numpy()])
            return functional.one_hot(torch.where(seen, 9, 0), 10) * 100.0

    def fake(recipe, samples, **_):
        told.append(len(samples))
        return type("Trained", (), {"model": Lookup(samples.inputs)})

    monkeypatch.setattr(selena, "trained", fake)
    method = selena.SELENA(held_out=0.4, submodels=5).training(RECIPE, defender()).method
    soft = selena.soft_labels(method, task(method))
    assert len(told) == 5
    assert torch.allclose(soft[:, 0], torch.ones(200), atol=1e-6)


def test_what_trainings_share_or_are_made_of_is_kept_and_found_again(tmp_path, monkeypatch):
    from hardlabel.models import model_store as kept

    store, made = Store(tmp_path), []
    train = kept.train
    monkeypatch.setattr(kept, "train", lambda *given, **said: made.append(1) or train(*given, **said))
    method = selena.SELENA(held_out=0.4, submodels=3).training(SHORT, defender(store=store)).method
    soft = selena.soft_labels(method, task(method))
    assert len(made) == 3
    # A training that broke off begins anew, with the sub-models that were ready.
    assert torch.equal(selena.soft_labels(method, task(method)), soft)
    assert len(made) == 3
    without = selena.SELENA(held_out=0.4, submodels=3).training(SHORT, defender()).method
    assert torch.equal(selena.soft_labels(without, task(without)), soft)
    assert method_spec(method) == method_spec(without)  # Where sub-models are kept changes no model's key.
    made.clear()
    transfer = TransferLearning(frozen=1.0).training(SHORT, defender(store=store)).method
    for seed in (0, 1):
        transfer.begin(task(transfer, seed=seed))
    assert len(made) == 1


def test_a_method_that_keeps_something_in_a_store_can_be_sent_to_another_process(tmp_path):
    for defense in (selena.SELENA(held_out=0.4, submodels=3), TransferLearning(frozen=1.0)):
        method = defense.training(SHORT, defender(store=Store(tmp_path))).method
        sent = pickle.loads(pickle.dumps(method.moved(torch.device("cpu"))))
        assert sent.store is None
        sent.begin(task(sent))


def test_adversarial_regularization_adds_what_an_attack_network_gains():
    method = chosen(["adversarial-regularization"], {"adversarial-regularization": [0.3]})[0].defense
    method = method.training(RECIPE, defender()).method
    given = task(method)
    course = method.begin(given)
    loss, logits = course.loss(MEMBERS.inputs, MEMBERS.labels, torch.arange(200))
    with torch.no_grad():
        member = course._adversary(logits.softmax(1), MEMBERS.labels)
    expected = functional.cross_entropy(logits, MEMBERS.labels) + 0.3 * functional.logsigmoid(member).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_attack_network_learns_to_tell_members_from_the_reserve():
    overfit = plain(replace(RECIPE, max_epochs=200, learning_rate=5e-3)).fit(MEMBERS, 0).model
    method = chosen(["adversarial-regularization"])[0].defense.training(RECIPE, defender()).method
    given = task(method)
    given.model.load_state_dict(overfit.state_dict())
    course = method.begin(given)
    for _ in range(100):
        course._teach(given.model(MEMBERS.inputs).detach(), MEMBERS.labels)
    with torch.no_grad():
        means = [
            course._adversary(given.model(part.inputs).softmax(1), part.labels).mean().item()
            for part in (MEMBERS, RESERVE)
        ]
    assert means[0] > 0 > means[1]

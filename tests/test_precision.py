"""Mixed precision: audits train and ask own networks in it where asked, and put down that they did; targets never."""

import numpy as np
import pytest
import torch
from torch import nn

from games import random_samples
from hardlabel.attacks import TABLE
from hardlabel.data.domain import Box
from hardlabel.experiments.asking import Asking, LabelQuestion, ScoreQuestion, Side
from hardlabel.experiments.audit import audit_config
from hardlabel.experiments.batches import as_trained, settled
from hardlabel.experiments.case import Oracles
from hardlabel.experiments.config import AuditConfig
from hardlabel.experiments.folder import read_settings
from hardlabel.experiments.progress import SILENT
from hardlabel.experiments.recipe import audit_recipe_config
from hardlabel.models.architectures import build
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import FunctionTrainer, RecipeTrainer
from hardlabel.oracles.budget import Account
from hardlabel.oracles.pytorch import TorchModel
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.noise import Noise
from hardlabel.store import Store

IMAGES = Box((1, 12, 12))
CPU = torch.device("cpu")
MIXED = RecipeTrainer(recipe=Recipe(precision="bfloat16"), classes=2)
WHOLE = RecipeTrainer(recipe=Recipe(), classes=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images of two classes, which differ in brightness."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 240)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images = np.clip(rng.normal(0.4 + 0.2 * labels[:, None, None, None], 0.3, (240, 1, 12, 12)), 0, 1)
    np.savez(path, inputs=images.astype(np.float32), labels=labels)
    return path


def config(data, out, **settings):
    few = {"arch": "cnn", "max_epochs": 2, "samples": 20, "shadow_samples": 20, "shadows": 2}
    return AuditConfig(data=str(data), out=out, attacks=["augmentation", "path", "lira"], **few, **settings)


@pytest.fixture
def rough(monkeypatch):
    """Which networks were asked for labels in mixed precision."""
    made, plain = set(), Oracles.rough
    monkeypatch.setattr(Oracles, "rough", lambda self: made.add(id(self.network)) or plain(self))
    return made


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_audit_trains_and_asks_its_own_networks_in_the_precision_it_puts_down(data, tmp_path, rough, precision):
    record = audit_config(config(data, tmp_path / "run", precision=precision), store=Store(tmp_path / "store"))
    assert record.config["precision"] == precision
    told = (record.results.target.description, record.results.shadow.description, record.results.references.description)
    assert [", bfloat16" in words for words in told] == [precision == "bfloat16"] * 3
    assert len(rough) == (3 if precision == "bfloat16" else 0)  # Two references and the shadow; no target.


@pytest.mark.parametrize(("able", "precision"), [({"avx512_bf16": True}, "bfloat16"), ({}, "float32")])
@pytest.mark.parametrize("repeats", [None, 2])
def test_what_is_left_open_is_settled_before_training(data, tmp_path, monkeypatch, able, precision, repeats):
    """So that whoever goes on elsewhere goes on in it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)

    def stop(*arguments, **others):
        raise KeyboardInterrupt

    monkeypatch.setattr("hardlabel.experiments.audit.case_of_config", stop)
    monkeypatch.setattr("hardlabel.experiments.recipe.play_recipe", stop)
    settings = config(data, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        _ = (
            audit_config(settings, store=None)
            if repeats is None
            else audit_recipe_config(settings, repeats=repeats, store=None)
        )
    assert read_settings(tmp_path / "run")["precision"] == precision


def test_of_a_recipe_only_the_shadow_is_asked_so_for_all_others_play_target(data, tmp_path, rough):
    record = audit_recipe_config(config(data, tmp_path / "run", precision="bfloat16"), repeats=2, store=None)
    assert record.config["precision"] == "bfloat16"
    assert len(rough) == 1


def seen(model, ask):
    """The types of the network's products while it is asked."""
    types = set()
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: types.add(output.dtype))
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    ask()
    for hook in hooks:
        hook.remove()
    return types


def test_labels_are_found_in_mixed_precision_and_scores_in_float32():
    network = build("cnn", shape=IMAGES.shape, classes=2, seed=0)
    points = random_samples(IMAGES, 64, classes=2)
    [model] = as_trained([Oracles.of(network, CPU, role="own")], MIXED)
    assert seen(network, lambda: model.labels.ask(points.inputs, points.ids)) == {torch.bfloat16}
    assert seen(network, lambda: model.scores.ask_scores(points.inputs, points.ids)) == {torch.float32}
    plain = TorchModel(network, device=CPU)
    assert seen(network, lambda: plain.ask(points.inputs, points.ids)) == {torch.float32}


def test_only_labels_next_to_a_boundary_change():
    """Products are off by 2^-9 of themselves at most, and of a few layers the errors add up."""
    network = build("cnn", shape=IMAGES.shape, classes=2, seed=0)
    points = random_samples(IMAGES, 500, classes=2)
    whole, mixed = (
        TorchModel(network, device=CPU, mixed=mixed).ask(points.inputs, points.ids) for mixed in (False, True)
    )
    with torch.inference_mode():
        logits = network(points.inputs)
    margin = (logits[:, 0] - logits[:, 1]).abs() / logits.abs().max()
    assert bool((margin[whole != mixed] < 2**-5).all())
    assert float((margin >= 2**-5).float().mean()) > 0.1  # Of some at least this says something.


def test_only_networks_that_a_recipe_trained_in_mixed_precision_are_asked_so():
    model = Oracles.of(build("cnn", shape=IMAGES.shape, classes=2, seed=0), CPU, role="own")
    own = FunctionTrainer(function=lambda inputs, labels, *, seed: None)
    assert as_trained([model], WHOLE) == as_trained([model], own) == [model]
    [mixed] = as_trained([model], MIXED)
    assert mixed.mixed
    assert mixed.identity != model.identity  # Answers are kept apart.


@pytest.mark.parametrize(
    ("question", "products"),
    [
        (LabelQuestion(Noise(level=IMAGES.noise_levels[2], draws=4)), torch.bfloat16),
        (ScoreQuestion(Confidence(statistic=Statistic.LOGIT)), torch.float32),
    ],
    ids=["labels", "scores"],
)
def test_a_piece_is_measured_as_the_model_itself_is_asked(question, products):
    network = build("cnn", shape=IMAGES.shape, classes=2, seed=0)
    samples = random_samples(IMAGES, 40, classes=2)
    [model] = as_trained(settled([Oracles.of(network, CPU, role="own")], samples.inputs[:1], None), MIXED)
    side = Side(model=model, samples=samples, inside=torch.arange(40) < 20)
    found = []
    piece, direct = Asking(seed=0, watch=SILENT), Asking(seed=0, watch=SILENT)
    assert seen(network, lambda: found.extend(piece.answers(question, [side], "own", account=Account))) == {products}
    assert seen(network, lambda: found.append(direct.answer(question, side, "own", account=None))) == {products}
    assert torch.equal(found[0].measured.values, found[1].measured.values)


def test_the_attacks_of_this_file_ask_all_kinds_of_own_models():
    assert TABLE["augmentation"].learns_on_shadow
    assert TABLE["path"].calibration.per_sample

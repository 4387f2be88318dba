"""Mixed precision: audits train and ask own networks in it where asked, and put down that they did; targets never."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import hardlabel
from games import random_samples
from hardlabel.attacks import TABLE
from hardlabel.audits.game import speed as speeds
from hardlabel.audits.game.asking import Asking, LabelQuestion, ScoreQuestion, Side
from hardlabel.audits.game.batches import as_trained, settled
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box
from hardlabel.executors import Local
from hardlabel.kinds import KINDS, planned, run
from hardlabel.models.architectures import build
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import FunctionTrainer, RecipeTrainer
from hardlabel.oracles.budget import Account
from hardlabel.runs.folder import CONFIG, SUMS, read_settings
from hardlabel.runs.progress import SILENT
from hardlabel.runs.settings import Attacker, ModelSettings, RecipeSettings
from hardlabel.signals.confidence import Confidence, Statistic
from hardlabel.signals.noise import Noise
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import TorchModel

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


def settings_of(data, out, repeats=None, **given):
    """The settings of the audit of a model, or of a recipe where `repeats` is given."""
    few = {"arch": "cnn", "max_epochs": 2, "samples": 20, "shadow_samples": 20, "references": 2}
    given = {"data": str(data), "out": out, "attacks": ["augmentation", "path", "lira"], **few, **given}
    return ModelSettings(**given) if repeats is None else RecipeSettings(**given, repeats=repeats)


@pytest.fixture
def rough(monkeypatch):
    """Which networks were asked for labels in mixed precision."""
    made, plain = set(), AskableModel.rough
    monkeypatch.setattr(AskableModel, "rough", lambda self: made.add(id(self.network)) or plain(self))
    return made


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_audit_trains_and_asks_its_own_networks_in_the_precision_it_puts_down(data, tmp_path, rough, precision):
    record = run(settings_of(data, tmp_path / "run", precision=precision), store=Store(tmp_path / "store"))
    assert record.config["precision"] == precision
    told = (record.results.target.description, record.results.shadow.description, record.results.references.description)
    assert [", bfloat16" in words for words in told] == [precision == "bfloat16"] * 3
    assert len(rough) == (3 if precision == "bfloat16" else 0)  # Two references and the shadow; no target.


@pytest.fixture
def trained_in(monkeypatch):
    """In which precision an audit with these settings would train; it is broken off there."""

    def stop(asked, *arguments, **others):
        trainer = asked.trainer if hasattr(asked, "trainer") else asked.plan.trainer
        raise KeyboardInterrupt(trainer.recipe.precision)

    monkeypatch.setattr("hardlabel.audits.model.case_of_settings", stop)
    monkeypatch.setattr("hardlabel.audits.recipe.paired", stop)

    def precision_of(settings, *, able=None, execution=USUAL):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able or {}, raising=False)
        with pytest.raises(KeyboardInterrupt) as told:
            run(settings, store=None, execution=execution)
        return told.value.args[0]

    return precision_of


BOTH = pytest.mark.parametrize("repeats", [None, 2])
ABLE = {"avx512_bf16": True}


@BOTH
@pytest.mark.parametrize(("able", "precision", "other"), [(ABLE, "bfloat16", {}), ({}, "float32", ABLE)])
def test_what_is_left_open_is_settled_before_training_and_stays(
    data, tmp_path, trained_in, able, precision, other, repeats
):
    settings = settings_of(data, tmp_path / "run", repeats)
    assert trained_in(settings, able=able) == precision
    assert read_settings(tmp_path / "run")["precision"] == precision
    assert trained_in(settings, able=other) == precision  # The same command on another machine.


@BOTH
def test_a_run_from_before_there_was_a_choice_goes_on_in_float32(data, tmp_path, trained_in, repeats):
    trained_in(settings_of(data, tmp_path / "run", repeats), able=ABLE)
    begun = read_settings(tmp_path / "run")
    del begun["precision"]
    (tmp_path / "run" / CONFIG).write_text(yaml.safe_dump(begun))
    (tmp_path / "run" / SUMS).unlink()
    for precision in (None, "float32"):
        settings = settings_of(data, tmp_path / "run", repeats, precision=precision)
        assert trained_in(settings, able=ABLE) == "float32"
    told = settings_of(data, tmp_path / "run", repeats, precision="bfloat16")
    with pytest.raises(InvalidInput, match="differs in precision"):
        KINDS.check_folder(KINDS.of_settings(told), told)


@dataclass(frozen=True, kw_only=True)
class Cluster(Local):
    """Trains elsewhere, as far as anybody asks."""

    elsewhere = True


@BOTH
def test_machines_of_a_cluster_need_not_be_alike(data, tmp_path, trained_in, repeats):
    execution = Execution(executor=Cluster())
    assert trained_in(settings_of(data, tmp_path / "open", repeats), able=ABLE, execution=execution) == "float32"
    told = settings_of(data, tmp_path / "told", repeats, precision="bfloat16")
    assert trained_in(told, able=ABLE, execution=execution) == "bfloat16"


@pytest.mark.parametrize("kind", ["defenses", "canaries"])
def test_what_trains_in_float32_may_be_told_so(kind):
    KINDS.made(KINDS.rows[kind], {"precision": "float32"})
    with pytest.raises(InvalidInput, match="precision must be left out"):
        KINDS.made(KINDS.rows[kind], {"precision": "bfloat16"})


def test_defenses_and_private_canaries_refuse_mixed_precision_before_any_training(monkeypatch):
    def train(*arguments, **others):
        raise AssertionError("trained")

    monkeypatch.setattr("hardlabel.models.model_store.train", train)
    rng = np.random.default_rng(0)
    samples = rng.random((400, 1, 12, 12), dtype=np.float32), rng.integers(0, 2, 400)
    recipe = Recipe(precision="bfloat16", max_epochs=1)
    with pytest.raises(InvalidInput, match="precision must be 'float32' where defenses train, got 'bfloat16'"):
        hardlabel.defend(samples, trainer=recipe, defenses=["l2"], repeats=2, attacker=Attacker(references=2))
    with pytest.raises(InvalidInput, match="precision must be 'float32' where defenses train, got 'bfloat16'"):
        hardlabel.audit_canaries(samples, recipe, canaries=20, kinds=("rare",), epsilon=8.0)


def test_of_a_recipe_only_the_shadow_is_asked_so_for_all_others_play_target(data, tmp_path, rough):
    record = run(settings_of(data, tmp_path / "run", 2, precision="bfloat16"), store=None)
    assert record.config["precision"] == "bfloat16"
    assert len(rough) == 1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_plan_times_answers_of_own_models_in_the_precision_they_are_found_in(monkeypatch, precision):
    monkeypatch.setattr(speeds, "_seconds_per", lambda work, rows: 1.0 if torch.is_autocast_enabled("cpu") else 2.0)
    trainer = RecipeTrainer(recipe=Recipe(precision=precision), classes=2)
    speed = speeds.speed_of(random_samples(IMAGES, 20, classes=2), trainer)
    assert (speed.answering, speed.own) == (2.0, 1.0 if precision == "bfloat16" else 2.0)


def test_a_plan_counts_own_answers_at_their_own_speed_unless_the_models_play_target(data, tmp_path, monkeypatch):
    speed = speeds.Speed(training=0.0, answering=0.0, own=1.0, bytes=1)
    monkeypatch.setattr("hardlabel.audits.plan.measured_speed", lambda *_: speed)
    plan = planned(settings_of(data, tmp_path / "run", precision="bfloat16"), store=None)
    assert plan.rows > 0
    assert plan.seconds == pytest.approx(plan.rows / min(plan.workers, 2))  # Two references are asked at once.
    assert planned(settings_of(data, tmp_path / "run", 2, precision="bfloat16"), store=None).seconds == 0.0


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
    [model] = as_trained([askable(network, CPU, role="own")], MIXED)
    assert seen(network, lambda: model.labels.ask(points.inputs, points.ids)) == {torch.bfloat16}
    assert seen(network, lambda: model.scores.ask_scores(points.inputs, points.ids)) == {torch.float32}
    plain = TorchModel(network, device=CPU)
    assert seen(network, lambda: plain.ask(points.inputs, points.ids)) == {torch.float32}


def test_only_labels_next_to_a_boundary_change():
    """Products are off by 2^-9 of themselves at most, and of a few layers the errors add up."""
    network = build("cnn", shape=IMAGES.shape, classes=2, seed=0)
    points = random_samples(IMAGES, 500, classes=2)
    with torch.no_grad():  # Half of the points on either side, so that some lie next to the boundary.
        network[-1].bias += torch.tensor([1.0, 0.0]) * network(points.inputs).diff(dim=1).median()
    whole, mixed = (
        TorchModel(network, device=CPU, mixed=mixed).ask(points.inputs, points.ids) for mixed in (False, True)
    )
    with torch.inference_mode():
        logits = network(points.inputs)
    margin = (logits[:, 0] - logits[:, 1]).abs() / logits.abs().max()
    assert bool((whole != mixed).any())
    assert bool((margin[whole != mixed] < 2**-5).all())
    assert float((margin >= 2**-5).float().mean()) > 0.1  # Of some at least this says something.


def test_only_networks_that_a_recipe_trained_in_mixed_precision_are_asked_so():
    model = askable(build("cnn", shape=IMAGES.shape, classes=2, seed=0), CPU, role="own")
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
    [model] = as_trained(settled([askable(network, CPU, role="own")], samples.inputs[:1], None), MIXED)
    side = Side(model=model, samples=samples, inside=torch.arange(40) < 20)
    found = []
    piece, direct = Asking(seed=0, watch=SILENT), Asking(seed=0, watch=SILENT)
    assert seen(network, lambda: found.extend(piece.answers(question, [side], "own", account=Account))) == {products}
    assert seen(network, lambda: found.append(direct.answer(question, side, "own", account=None))) == {products}
    assert torch.equal(found[0].measured.values, found[1].measured.values)


def test_the_attacks_of_this_file_ask_all_kinds_of_own_models():
    assert TABLE["augmentation"].learns_on_shadow
    assert TABLE["path"].calibration.per_sample

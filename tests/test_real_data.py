"""Audits of real data, small enough for CI; `make paper` runs the README's."""

import pytest

from hardlabel.data import sources
from hardlabel.kinds import run
from hardlabel.models.train import Recipe, train
from hardlabel.runs.settings import ModelSettings
from hardlabel.signals.base import Knowledge
from hardlabel.signals.boundary import Boundary
from hardlabel.store import Store
from hardlabel.targets.torch import TorchModel


@pytest.mark.slow
def test_noise_beats_the_gap_attack_on_location(shared_data, tmp_path):
    """The README's configuration: 1,250 rows, the paper's fully connected network, overfit."""
    settings = ModelSettings(
        data="location",
        folder=shared_data,
        train_size=1250,
        attacks=["gap", "noise", "loss"],
        device="cpu",
        out=tmp_path,
    )
    record = run(settings, store=Store(tmp_path / "store"))
    assert record.results.target.train_accuracy.value == 1.0
    [pair] = [pair for pair in record.results.differences if (pair.first, pair.second) == ("noise", "gap")]
    assert pair.auc.low > 0
    assert not record.results.blind.differs


@pytest.mark.slow
def test_adult_is_audited_as_a_mixed_table_with_legal_queries_only(shared_data, tmp_path, monkeypatch):
    domain = sources.load("adult", folder=shared_data).samples.domain
    ask, seen = TorchModel.ask, []

    def checked(self, inputs, ids):
        domain.check(inputs)
        seen.append(len(inputs))
        return ask(self, inputs, ids)

    monkeypatch.setattr(TorchModel, "ask", checked)
    settings = ModelSettings(
        data="adult",
        folder=shared_data,
        train_size=600,
        max_epochs=100,
        attacks=["gap", "noise", "loss", "shadow-network"],
        budget=20,
        device="cpu",
        out=tmp_path,
    )
    record = run(settings, store=None)
    assert record.results.domain == "mixed table"
    assert [attack.name for attack in record.results.attacks] == settings.attacks
    assert max(attack.queries_per_sample.max for attack in record.results.attacks) <= 20
    assert sum(seen) > 600 * 20  # Noisy copies were among what was checked.


@pytest.mark.long
def test_mnist_is_audited_with_the_papers_cnn(shared_data, tmp_path):
    settings = ModelSettings(
        data="mnist",
        folder=shared_data,
        train_size=100,
        max_epochs=5,
        attacks=["gap", "augmentation", "boundary"],
        budget=50,
        device="cpu",
        out=tmp_path,
    )
    record = run(settings, store=None)
    assert record.results.target.description.startswith("cnn")
    assert record.attack("boundary").queries_per_sample.max <= 50


@pytest.mark.long
def test_the_boundary_distance_on_the_papers_cnn_does_not_depend_on_the_batch(shared_data):
    """Kernels round differently by batch, so that a query at the boundary itself may be answered differently."""
    samples = sources.load("cifar10", folder=shared_data).samples.take(slice(0, 340))
    model = train(Recipe(architecture="cnn", max_epochs=25), samples.take(slice(0, 300)), classes=10, seed=0).model
    attacked, population = samples.take(slice(0, 60)), samples.take(slice(300, 340))
    one, many = (
        Boundary(queries=150)
        .prepare(attacked, Knowledge(population=population), 0)
        .measure(TorchModel(model, device="cpu", batch_size=batch_size))
        .values[:, 0]
        for batch_size in (1, 200)
    )
    searched = many > 0  # A misclassified sample is at 0 in any batch.
    assert int(searched.sum()) >= 40
    assert float(((one - many)[searched].abs() <= 1e-4).float().mean()) >= 0.95

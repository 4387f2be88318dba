"""Calibrations learn from references only, and never flatter the references' own scores."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from hardlabel.calibrations.base import References, held_out_scores, scalars
from hardlabel.calibrations.network import AttackNetwork
from hardlabel.calibrations.threshold import RandomThreshold, Threshold
from hardlabel.checks import InvalidInput

CALIBRATIONS = [
    Threshold(),
    Threshold(fixed=0.5),
    RandomThreshold(),
    AttackNetwork(),
    AttackNetwork(per_class=True, hidden=(8,)),
]


def references(n=400, *, shift=1.0, width=1, classes=2, seed=0):
    """Members' values are normal around `shift`, non-members' around 0; the AUC is Phi(shift / sqrt 2)."""
    rng = np.random.default_rng(seed)
    inside = np.arange(n) % 2 == 0
    values = rng.normal(size=(1, n, width)) + shift * inside[None, :, None]
    labels = rng.integers(0, classes, n)
    return References(
        values=torch.tensor(values, dtype=torch.float32),
        inside=torch.tensor(inside)[None],
        labels=torch.tensor(labels),
    )


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_the_same_references_and_seed_give_the_same_scores(calibration):
    known, new = references(), references(seed=1)
    one, two = (calibration.fit(known, seed=3).score(new.values[0], new.labels) for _ in range(2))
    assert torch.equal(one, two)
    assert one.dtype == torch.float64
    assert one.shape == (400,)


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_scores_point_towards_members(calibration):
    """The AUC of the likelihood ratio is Phi(2 / sqrt 2) = .921; a network may lose a little of it."""
    known, new = references(shift=2.0), references(shift=2.0, seed=1)
    scores = calibration.fit(known, seed=0).score(new.values[0], new.labels)
    found = roc_auc_score(new.inside[0], scores)
    four_standard_errors = 4 * math.sqrt(0.921 * 0.079 / 200)  # Above DeLong's error for 200 + 200 samples.
    assert found > 0.921 - four_standard_errors


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_a_score_does_not_depend_on_company(calibration):
    fitted, new = calibration.fit(references(), seed=0), references(seed=1)
    alone = fitted.score(new.values[0, 5:6], new.labels[5:6])
    torch.testing.assert_close(alone, fitted.score(new.values[0], new.labels)[5:6], rtol=1e-9, atol=1e-9)


def test_a_network_is_not_flattered_by_references_it_memorised():
    """On pure noise with many columns a network fits its training rows well; held-out scores stay at chance."""
    noise = references(200, shift=0.0, width=30)
    own = AttackNetwork(hidden=(64,)).fit(noise, seed=0).reference_scores
    error = math.sqrt((100 + 100 + 1) / (12 * 100 * 100))  # Of an AUC under the null (Mann-Whitney).
    assert abs(roc_auc_score(noise.inside[0], own[0]) - 0.5) < 4 * error


def test_one_network_per_class_learns_what_one_for_all_cannot():
    """In class 0 members lie 3 higher, in class 1 non-members do: pooled, the two groups are the same."""
    known, new = references(shift=0.0), references(shift=0.0, seed=1)
    for part in (known, new):
        part.values[0, :, 0] += 3 * (part.inside[0] == (part.labels == 0))
    pooled = AttackNetwork().fit(known, seed=0).score(new.values[0], new.labels)
    split = AttackNetwork(per_class=True).fit(known, seed=0).score(new.values[0], new.labels)
    error = math.sqrt(401 / (12 * 200 * 200))  # Of an AUC under the null.
    assert abs(roc_auc_score(new.inside[0], pooled) - 0.5) < 4 * error
    # By class the AUC is Phi(3 / sqrt 2) = .983; mixing two networks' scales costs a little.
    assert roc_auc_score(new.inside[0], split) > 0.95


def test_a_class_with_few_references_uses_the_network_of_all():
    known = references()
    known.labels[:] = 0
    known.labels[:6] = 1
    fitted = AttackNetwork(per_class=True).fit(known, seed=0)
    assert set(fitted.by_class) == {0}
    assert math.isfinite(float(fitted.score(torch.zeros(1, 1), torch.tensor([1]))[0]))


def test_a_threshold_scores_by_the_signal_itself():
    new = references(seed=1)
    without = Threshold().fit(None, seed=0)
    assert torch.equal(without.score(new.values[0], new.labels), new.values[0, :, 0].double())
    assert without.threshold is None
    assert without.reference_scores is None
    assert Threshold(fixed=0.5).fit(None, seed=0).threshold == 0.5


def test_ctrl_c_while_a_network_is_fitted_stops_the_fit(monkeypatch):
    """scikit-learn catches the interrupt, warns, and would hand back a half-trained network."""

    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sklearn.neural_network._multilayer_perceptron.BaseMultilayerPerceptron._backprop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AttackNetwork().fit(references(), seed=0)


def test_other_warnings_of_a_fit_are_passed_on(monkeypatch):
    fit = MLPClassifier.fit

    def warned(self, *args, **kwargs):
        warnings.warn("something else", RuntimeWarning, stacklevel=2)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(MLPClassifier, "fit", warned)
    with pytest.warns(RuntimeWarning, match="something else"):
        AttackNetwork().fit(references(40), seed=0)


def test_a_network_without_references_is_refused():
    with pytest.raises(InvalidInput, match="references must be given"):
        AttackNetwork().fit(None, seed=0)


def test_a_threshold_needs_one_column():
    with pytest.raises(InvalidInput, match=r"one column .* got \(3, 2\)"):
        Threshold().fit(None, seed=0).score(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("inside", [torch.ones(1, 4), torch.zeros(1, 4)])
def test_references_of_one_kind_are_refused(inside):
    with pytest.raises(InvalidInput, match="both members and non-members"):
        References(values=torch.zeros(1, 4, 1), inside=inside.bool(), labels=torch.zeros(4, dtype=torch.int64))


# --- references that play target ---


def pool(count=6, n=5, *, partner=True, inside=None):
    """Model k's values are all k, and its logits k / 10; models 2p and 2p + 1 divide the samples."""
    rng = np.random.default_rng(0)
    half = torch.tensor(rng.integers(0, 2, (count // 2, n)), dtype=torch.bool)
    return References(
        values=torch.arange(count)[:, None, None].expand(count, n, 2).float(),
        inside=torch.stack([half, ~half], 1).flatten(0, 1) if inside is None else inside,
        labels=torch.arange(n),
        partner=torch.arange(count) ^ 1 if partner else None,
        logits=torch.arange(count)[:, None].expand(count, n) / 10,
        scored=3,
    )


@pytest.mark.parametrize("model", range(6))
def test_who_plays_target_takes_its_partner_out_and_leaves_the_others_as_they_were(model):
    whole = pool()
    rest = whole.without(model)
    stay = [one for one in range(6) if one not in (model, model ^ 1)]
    assert rest.values[:, 0, 0].tolist() == stay
    assert torch.equal(rest.inside, whole.inside[stay])
    assert torch.equal(rest.logits, whole.logits[stay])
    assert rest.partner.tolist() == [1, 0, 3, 2]  # In the new numbering.
    assert (rest.scored, rest.labels.tolist()) == (3, [0, 1, 2, 3, 4])
    assert (rest.inside.sum(0) == 2).all()
    assert rest.without(0).values[:, 0, 0].tolist() == stay[2:]


def test_a_model_without_a_partner_leaves_alone_and_who_named_it_has_none_then():
    whole = pool()
    lonely = References(
        values=whole.values, inside=whole.inside, labels=whole.labels, partner=torch.tensor([-1, -1, 3, 2, 5, 4])
    )
    assert lonely.without(0).values[:, 0, 0].tolist() == [1, 2, 3, 4, 5]
    assert lonely.without(0).partner.tolist() == [-1, 2, 1, 4, 3]
    assert pool(partner=False).without(4).values[:, 0, 0].tolist() == [0, 1, 2, 3, 5]


def test_nobody_is_left_of_one_pair_or_of_one_kind():
    assert pool(2).without(0) is None
    inside = torch.tensor([[1, 1, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]).bool()
    assert pool(4, 3, partner=False, inside=inside).without(0) is None
    assert pool(4, 3, partner=False, inside=inside).without(1) is not None


def test_held_out_scores_are_those_of_a_calibration_fitted_on_the_rest():
    """A calibration that scores by the sum of the references it knows tells whom it was fitted on."""

    class Sum:
        def fit(self, references, *, seed):
            assert seed == 7
            self.known = float(references.values[:, 0, 0].sum())
            return self

        def score(self, values, labels):
            assert values.shape == (3, 2)  # Only those to be scored.
            assert labels.tolist() == [0, 1, 2]
            return torch.full((3,), self.known, dtype=torch.float64) + values[:, 0].double() / 100

    found = held_out_scores(Sum(), pool(), seed=7)
    assert found.shape == (6, 3)
    # All six sum to 15; each pair leaves together.
    assert found[:, 0].tolist() == pytest.approx([14.0, 14.01, 10.02, 10.03, 6.04, 6.05])
    assert held_out_scores(Sum(), pool(2), seed=7) is None


def test_an_interval_counts_as_its_middle_and_an_endless_one_half_beyond_its_edge():
    edges = torch.tensor([[1.5, 2.5, -math.inf, 4.0], [3.0, math.inf, -math.inf, math.inf]])
    found = scalars(edges, censored=True)
    assert found.dtype == torch.float64
    assert found[:, 0].tolist() == [2.0, 3.5]
    assert found[0, 1] == 3.5
    assert found[1, 1].isnan()
    assert scalars(edges[:, :2], censored=False).tolist() == [[1.5, 2.5], [3.0, math.inf]]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"values": torch.zeros(6, 5)}, r"values must be \(K, n, d\) and inside \(K, n\), got \(6, 5\)"),
        ({"labels": torch.arange(4)}, r"labels must be \(n,\) = \(5,\), got \(4,\)"),
        ({"partner": torch.arange(4)}, r"partner must be \(K,\) = \(6,\), got \(4,\)"),
        ({"values": torch.zeros(6, 5, 3), "censored": True}, "censored values must have pairs of columns, got 3"),
        ({"logits": torch.zeros(6, 4)}, r"logits must be \(6, 5\), got \(6, 4\)"),
    ],
)
def test_references_that_do_not_fit_together_are_refused(change, rule):
    whole = pool()
    parts = {"values": whole.values, "inside": whole.inside, "labels": whole.labels}
    with pytest.raises(InvalidInput, match=rule):
        References(**(parts | change))


# --- a threshold from random inputs ---


def test_a_threshold_from_random_inputs_is_their_quantile_whatever_the_references_say():
    calibration = RandomThreshold(share=0.25)
    fitted = calibration.fit(references(), seed=0)
    assert (fitted.threshold, fitted.reference_scores) == (None, None)
    assert calibration.threshold_of(torch.arange(101.0)[:, None]) == 25.0
    assert str(calibration) == "threshold from 50 random inputs"


@pytest.mark.parametrize("settings", [{"inputs": 0}, {"share": 0.0}, {"share": 1.0}])
def test_a_threshold_from_no_inputs_or_beyond_them_is_refused(settings):
    with pytest.raises(InvalidInput, match="must"):
        RandomThreshold(**settings)

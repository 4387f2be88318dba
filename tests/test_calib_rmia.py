"""RMIA's ratio and its points, and the standardizing of models unlike each other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.calibrations.standardized import Standardized
from hardlabel.checks import InvalidInput
from test_ratio import hierarchy, scores_of


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("online", [True, False])
def test_scores_are_those_of_a_naive_loop(logits, online):
    references, values, _ = hierarchy(25, pairs=3, width=2)
    known, inside = references.values.double().numpy(), references.inside.numpy()

    def ratios(rows, asked):
        """Log ratios of `asked` (n, c) by the reference models `rows`."""
        total = np.zeros(25)
        for j in range(2):
            read = known[rows][:, :, j]
            seen = read if online else read[~inside[rows]]
            centre, slope = (0, 1) if logits else (seen.mean(), 1.814 / seen.std())
            p = 1 / (1 + np.exp(-slope * (read - centre)))
            for i in range(25):
                p_in, p_out = (p[inside[rows][:, i] == side, i].mean() for side in (True, False))
                expected = (p_in + p_out) / 2 if online else (1.3 * p_out + 0.7) / 2
                total[i] += -math.log1p(math.exp(-slope * (asked[i, j] - centre))) - math.log(expected)
        return total

    points = []
    for model in range(6):
        rest = [row for row in range(6) if row // 2 != model // 2]
        points.extend(ratios(rest, known[model])[~inside[model]])
    own = ratios(list(range(6)), values.double().numpy())
    shares = np.array([np.mean((r > points) + 0.5 * (r == points)) for r in own])
    found = scores_of(RMIA(online=online, logits=logits), references, values).numpy()
    np.testing.assert_allclose(found, shares, atol=2e-9)
    assert np.argsort(found).tolist() == np.argsort(own).tolist()


def test_the_auc_is_that_of_the_ratio():
    references, values, inside = hierarchy(500)
    fitted = RMIA().fit(references, seed=0)
    ratio = fitted.expected.log_ratio(values)
    assert roc_auc_score(inside, fitted.score(values, references.labels)) == roc_auc_score(inside, ratio)


def test_a_non_member_beats_its_own_share_of_points():
    """A non-member of a new model is one of the points: its scores are nearly uniform on [0, 1], mean 1/2."""
    references, values, inside = hierarchy(2000, pairs=8)
    scores = scores_of(RMIA(logits=True), references, values)[~inside]
    # References' own points come from two models fewer; the bias of their ratio is below .01 at 8 pairs.
    assert abs(float(scores.mean()) - 0.5) < 4 / math.sqrt(12 * len(scores)) + 0.01


def test_equal_points_count_by_halves():
    """Every value of every model is the same, so every ratio is: the score is 1/2."""
    references, values, _ = hierarchy(10, pairs=2)
    same = replace(references, values=torch.ones_like(references.values))
    assert scores_of(RMIA(), same, torch.ones_like(values)).tolist() == pytest.approx([0.5] * 10, abs=1e-8)


def test_without_anyone_to_play_target_the_order_is_still_the_ratios():
    references, values, _ = hierarchy(100, pairs=1)
    fitted = RMIA().fit(references, seed=0)
    assert fitted.reference_scores is None
    ratio = fitted.expected.log_ratio(values)
    assert torch.equal(fitted.score(values, references.labels).argsort(), ratio.argsort())


def test_offline_members_values_are_never_read():
    references, values, _ = hierarchy(50)
    before = scores_of(RMIA(online=False), references, values)
    references.values[references.inside] += 100
    assert torch.equal(before, scores_of(RMIA(online=False), references, values))


def test_settings_values_and_references_are_checked():
    references, values, _ = hierarchy(20)
    with pytest.raises(InvalidInput, match=r"a must lie in \[0, 1\]"):
        RMIA(a=1.5)
    with pytest.raises(InvalidInput, match="references must be given for a pairwise ratio"):
        RMIA().fit(None, seed=0)
    with pytest.raises(InvalidInput, match=r"\(20, 1\) scalars, got \(19, 1\)"):
        scores_of(RMIA(), references, values[:19])
    with pytest.raises(InvalidInput, match="references must be given to standardize"):
        Standardized(inner=RMIA()).fit(None, seed=0)
    with pytest.raises(InvalidInput, match="all 20 samples scored, got 19"):
        scores_of(Standardized(inner=RMIA()), references, values[:19])


def test_standardizing_undoes_each_models_own_location_and_stretch():
    references, values, _ = hierarchy(200)
    calibration = Standardized(inner=LikelihoodRatio())
    plain = scores_of(calibration, references, values)
    rng = np.random.default_rng(0)
    stretch = torch.tensor(rng.uniform(0.5, 2, (len(references.values), 1, 1)), dtype=torch.float32)
    shift = torch.tensor(rng.normal(0, 5, (len(references.values), 1, 1)), dtype=torch.float32)
    odd = replace(references, values=references.values * stretch + shift)
    # All references share one location and spread afterwards, and a log ratio does not change with either.
    torch.testing.assert_close(scores_of(calibration, odd, 3 * values - 7), plain, rtol=1e-3, atol=1e-3)


def test_standardizing_looks_at_the_samples_scored_alone():
    references, values, _ = hierarchy(60, pool=60)
    calibration = Standardized(inner=LikelihoodRatio())
    before = scores_of(calibration, references, values)
    references.values[:, 60:] *= 9
    assert torch.equal(before, scores_of(calibration, references, values))


def test_standardizing_helps_where_the_target_is_unlike_the_references():
    """The target's values are halved and lie 3 lower: plain ratios call nearly everyone a non-member."""
    references, values, inside = hierarchy(1000, gap=2.0)
    strange = 0.5 * values - 3
    plain, moved = (
        roc_auc_score(inside, scores_of(one, references, strange))
        for one in (ShrunkenRatio(), Standardized(inner=ShrunkenRatio()))
    )
    alike = roc_auc_score(inside, scores_of(ShrunkenRatio(), references, values))
    assert moved > plain + 0.05
    assert moved > alike - 0.01


def test_standardizing_brings_both_edges_to_the_references_mean_location_and_spread():
    references, values, _ = hierarchy(50)
    pairs = torch.cat([values - 0.5, values + 0.5], 1)
    censored = replace(
        references, values=torch.cat([references.values - 0.5, references.values + 0.5], 2), censored=True
    )
    seen = []

    class Inner:
        per_sample = requires_references = True

        def fit(self, references, *, seed):
            seen.append(references)
            return self

        def score(self, values, labels):
            seen.append(values)
            return values[:, 0]

    Standardized(inner=Inner()).fit(censored, seed=0).score(pairs, censored.labels)
    spread = references.values[:, :, 0].std(1, correction=0).mean()
    centre = references.values[:, :, 0].mean(1).mean()
    for one in (*seen[0].values, seen[1]):
        middle = (one[:, 0] + one[:, 1]) / 2
        assert float(middle.mean()) == pytest.approx(float(centre), abs=1e-4)
        assert float(middle.std(correction=0)) == pytest.approx(float(spread), abs=1e-4)
    widths = seen[1][:, 1] - seen[1][:, 0]
    expected = float(spread / values.std(correction=0))
    np.testing.assert_allclose(widths, expected, rtol=1e-4)
    open_ended = pairs.clone()
    open_ended[0, 1] = math.inf
    scores = scores_of(Standardized(inner=ShrunkenRatio(variant="equal")), censored, open_ended)
    assert bool(scores.isfinite().all())


def test_standardizing_asks_for_what_its_inner_calibration_wants():
    assert Standardized(inner=ShrunkenRatio(online=False)).wants_pool
    assert not Standardized(inner=ShrunkenRatio()).wants_pool
    assert not Standardized(inner=RMIA()).wants_logits

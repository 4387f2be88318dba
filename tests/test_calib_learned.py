"""Trees learn a ratio from references: the known optimum, ends where normal laws fail, a design that must not leak."""

from dataclasses import replace
from statistics import NormalDist

import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from hardlabel.calibrations import learned, trees
from hardlabel.calibrations.base import Teachable, wants_pool
from hardlabel.calibrations.learned import LearnedRatio
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.checks import InvalidInput
from test_calib_all import chance, rows_as_targets
from test_ratio import hierarchy, null_error, scores_of

TREES = LearnedRatio(rounds=40)


def auc(calibration, game):
    references, values, inside = game
    return roc_auc_score(inside, scores_of(calibration, references, values))


def test_it_comes_close_to_the_optimum_where_that_is_known():
    """Samples alike, members 2 deviations higher: no score does better than the value itself, AUC Phi(2 / sqrt 2).

    Means over 7 models per side add 1/7 to the variance the best ratio of a plug-in would know nothing of.
    """
    game = hierarchy(2000, pairs=7, gap=2.0, gap_spread=0.0)
    best, plugged = NormalDist().cdf(2**0.5), NormalDist().cdf(2 / (2 * (1 + 1 / 7)) ** 0.5)
    four_standard_errors = 4 * null_error(game[2])
    assert plugged - four_standard_errors < auc(LearnedRatio(), game) < best + four_standard_errors


def saturated(game):
    """The same game seen through a path that ends: one value for all that lies beyond."""
    references, values, inside = game
    return replace(references, values=references.values.clamp_max(1.0)), values.clamp_max(1.0), inside


def test_it_beats_normal_laws_where_values_end():
    game = saturated(hierarchy(2000, pairs=6, gap=3.0, gap_spread=2.0))
    found, ratio = auc(TREES, game), max(auc(LikelihoodRatio(), game), auc(ShrunkenRatio(), game))
    assert found > ratio + 0.01  # Seen: .04.


def test_it_learns_from_logit_confidences_that_only_references_show():
    """Of a noisy signal's truth: the references' confidences tell where members and others lie, values alone less."""
    references, values, inside = hierarchy(1500, pairs=4, gap=2.0, gap_spread=2.0, noise=0.3)
    rng = torch.Generator().manual_seed(0)
    noisy = replace(references, values=references.values + 1.5 * torch.randn(references.values.shape, generator=rng))
    seen = values + 1.5 * torch.randn(values.shape, generator=rng)
    shown = replace(noisy, logits=references.values[..., 0])
    assert auc(TREES, (shown, seen, inside)) > auc(TREES, (noisy, seen, inside)) + 0.005


def test_both_rows_of_a_pair_say_the_same_of_other_models():
    """One of the two is a member, so that nothing but its own values can tell which."""
    references = hierarchy(50, pairs=3)[0]
    evidence = learned._Evidence.of(references)
    rows = evidence.rows(references.values, trees.apart(references))
    own = 3  # The value, and how far it lies from both means.
    assert torch.equal(rows[0::2, :, own:], rows[1::2, :, own:])
    assert not torch.equal(rows[0::2, :, :own], rows[1::2, :, :own])


def test_a_model_that_saw_no_sample_tells_nothing_and_a_partner_that_stays_is_caught(monkeypatch):
    references, answers, _ = hierarchy(1000, pairs=3, gap=3.0, trained=False)
    assert rows_as_targets(TREES, references, answers) == [True] * 3
    for module in (learned, trees):  # Beside a model, and in which fold it is.
        monkeypatch.setattr(module, "apart", lambda references: ~torch.eye(len(references.values), dtype=torch.bool))
    leaking = replace(references, values=references.values)
    found = TREES.fit(leaking, seed=0).reference_scores
    # Leave-one-out means tell a reference apart whatever its own values are: here they tell nothing.
    nothing = replace(leaking, values=torch.cat([references.values, torch.zeros_like(references.values)], 2))
    flat = TREES.fit(replace(nothing, values=nothing.values.clone()), seed=0)
    assert found.shape == references.inside.shape
    assert roc_auc_score(references.inside.flatten(), flat.reference_scores.flatten()) > 0.9


def test_references_that_learned_nothing_are_not_flattered_by_their_own_scores():
    references = hierarchy(600, pairs=3, gap=0, gap_spread=0)[0]
    own = TREES.fit(references, seed=0).reference_scores
    assert [chance(scores, inside) for scores, inside in zip(own, references.inside, strict=True)] == [True] * 6


def test_reference_scores_use_neither_a_reference_nor_its_fold():
    references = hierarchy(100, pairs=4)[0]
    before = TREES.fit(references, seed=0).reference_scores
    changed = replace(references, values=references.values.clone())
    changed.values[1] = 77.0  # The partner of reference 0.
    after = TREES.fit(changed, seed=0).reference_scores
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[2], after[2])


def censored(references, values, width):
    """Values known to lie in cells of a width, the outermost without end."""
    edges = torch.cat([torch.tensor([-torch.inf]), torch.arange(-6, 9, width), torch.tensor([torch.inf])])

    def cut(of):
        place = torch.searchsorted(edges, of.contiguous()).clamp(1, len(edges) - 1)
        return torch.cat([edges[place - 1], edges[place]], -1)

    return replace(references, values=cut(references.values), censored=True), cut(values)


def test_intervals_tell_nearly_what_values_tell():
    references, values, inside = hierarchy(800, gap=2.0)
    cells, cut = censored(references, values, 0.5)
    assert abs(auc(TREES, (cells, cut, inside)) - auc(TREES, (references, values, inside))) < 0.03


def test_it_is_taught_to_read_what_few_questions_find():
    """Exact values on references, wide cells on the target: log odds learned from such cells are the right ones."""
    references, values, inside = hierarchy(1500, pairs=4, gap=2.0)
    fine, _ = censored(references, values, 0.25)
    wide, seen = censored(references, values, 5.0)
    fitted = TREES.fit(fine, seed=0)
    assert isinstance(fitted, Teachable)
    assert not isinstance(ShrunkenRatio().fit(fine, seed=0), Teachable)
    taught = fitted.taught(wide.values)
    scores, naive = (one.score(seen, references.labels) for one in (taught, fitted))
    assert log_loss(inside, scores.sigmoid()) < log_loss(inside, naive.sigmoid()) - 0.02
    found = roc_auc_score(inside, scores)
    own = roc_auc_score(references.inside.flatten(), taught.reference_scores.flatten())
    assert own == pytest.approx(found, abs=4 * null_error(inside))
    with pytest.raises(InvalidInput, match=r"asked must be \(8, 1500, 2\)"):
        fitted.taught(wide.values[:, :9])


def test_samples_that_nobody_scores_are_learned_from():
    """Few are scored: from 1,500 more of the pool trees learn the ratio, from the 60 alone they hardly can."""
    references, values, inside = hierarchy(60, pairs=6, gap=2.0, pool=1500)
    values_alone, inside_alone = references.values[:, :60], references.inside[:, :60]
    alone = replace(references, values=values_alone, inside=inside_alone, labels=references.labels[:60], scored=None)
    more, few = (scores_of(LearnedRatio(), one, values).sigmoid() for one in (references, alone))
    assert log_loss(inside, more) < log_loss(inside, few) - 0.02
    fitted = TREES.fit(references, seed=0)
    assert fitted.reference_scores.shape == (12, 60)
    assert fitted.beliefs.mean_in.shape == (60, 1)
    assert wants_pool(TREES, 60)
    assert not wants_pool(TREES, 2000)


@pytest.mark.parametrize("pool", [0, 100])
def test_without_partners_or_with_a_single_pair_it_is_the_ratio_it_starts_from(pool):
    references, values, _ = hierarchy(200, pairs=3, pool=pool)
    for few in (
        replace(references, partner=None),
        replace(references, partner=torch.tensor([1, 0, 3, 2, 5, -1])),
        replace(references, values=references.values[:2], inside=references.inside[:2], partner=torch.tensor([1, 0])),
    ):
        assert torch.equal(scores_of(TREES, few, values), scores_of(ShrunkenRatio(), few, values))
    assert not torch.equal(scores_of(TREES, references, values), scores_of(ShrunkenRatio(), references, values))


def test_the_order_of_samples_and_of_pairs_says_nothing():
    references, values, _ = hierarchy(200)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    pairs = torch.tensor([4, 5, 0, 1, 6, 7, 2, 3])
    mixed = replace(references, values=references.values[pairs][:, order], inside=references.inside[pairs][:, order])
    found = scores_of(TREES, mixed, values[order])
    torch.testing.assert_close(found, scores_of(TREES, references, values)[order], rtol=1e-6, atol=1e-6)


def test_a_score_depends_on_no_other_sample_of_the_target():
    references, values, _ = hierarchy(80)
    fitted = TREES.fit(references, seed=0)
    others = values.clone()
    others[1:] = 5.0
    assert fitted.score(values, references.labels)[0] == fitted.score(others, references.labels)[0]


def test_values_that_are_not_known_are_missing_and_no_error():
    references, values, inside = hierarchy(600, pairs=3, gap=2.0, width=2)
    references.values[:, :50, 0] = torch.nan
    references.values[..., 1] = torch.nan  # A column of nothing.
    values[:50], values[:, 1] = torch.nan, torch.nan
    scores = scores_of(TREES, references, values)
    assert bool(scores.isfinite().all())
    assert roc_auc_score(inside[50:], scores[50:]) > 0.5 + 8 * null_error(inside[50:])


def test_many_references_are_learned_from_in_whole_pairs(monkeypatch):
    references, values, inside = hierarchy(400, pairs=8, gap=2.0)
    monkeypatch.setattr(trees, "ROWS", 5 * 400)  # Of 16 models 4 are learned from, beside all others.
    assert auc(TREES, (references, values, inside)) > 0.5 + 8 * null_error(inside)


def test_settings_and_values_out_of_range_are_refused():
    with pytest.raises(InvalidInput, match="folds must be at least 2, got 1"):
        LearnedRatio(folds=1)
    with pytest.raises(InvalidInput, match="rounds must be positive, got 0"):
        LearnedRatio(rounds=0)
    with pytest.raises(InvalidInput, match="inner must be online"):
        LearnedRatio(inner=ShrunkenRatio(online=False))
    with pytest.raises(InvalidInput, match="references must be given"):
        LearnedRatio().fit(None, seed=0)
    references, values, _ = hierarchy(200, pairs=3)
    with pytest.raises(InvalidInput, match=r"values must be \(200, 1\) like the references', got \(9, 1\)"):
        TREES.fit(references, seed=0).score(values[:9], references.labels[:9])

"""Proxies: what members look like is learned from other records; no member's value of a record is ever read."""

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch
from sklearn.metrics import roc_auc_score

from hardlabel.calibrations import proxy, trees
from hardlabel.calibrations.base import References
from hardlabel.calibrations.proxy import ProxyRatio
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.checks import InvalidInput
from test_calib_all import chance, rows_as_targets
from test_ratio import hierarchy, null_error, scores_of

QUICK = ProxyRatio(rounds=30)


def test_with_many_references_that_saw_no_record_the_auc_is_that_of_two_known_normals():
    """Members lie 2 deviations higher: AUC Phi(2 / sqrt 2) = .921, of which trees and 20 references may lose .02."""
    references, values, inside = hierarchy(1000, pairs=10, gap=2.0, gap_spread=0, pool=1000, offline=True)
    found = roc_auc_score(inside, scores_of(ProxyRatio(), references, values))
    truth = NormalDist().cdf(2 / math.sqrt(2))
    assert truth - 0.02 - 4 * math.sqrt(truth * (1 - truth) / 500) < found


def test_proxies_of_the_same_class_tell_what_a_record_of_that_class_does():
    """Members of class 1 lie 4 higher, those of class 0 nowhere else: who takes all classes together cannot know."""
    references, values, inside = hierarchy(800, pairs=4, gap=0, gap_spread=0, pool=800, offline=True)
    labels = torch.arange(1600) % 2
    shift = 4 * (references.inside & (labels == 1)).float()
    references = replace(references, values=references.values + shift[:, :, None], labels=labels)
    values = values + 4 * (inside & (labels[:800] == 1)).float()[:, None]
    odds, mine = scores_of(ProxyRatio(), references, values), labels[:800] == 1
    assert roc_auc_score(inside[mine], odds[mine]) > 0.95
    assert chance(odds[~mine], inside[~mine])
    # A value far above says "member" in the one class, and nothing in the other.
    assert odds[mine & inside].mean() > odds[~mine & inside].mean() + 1
    alike = replace(references, labels=torch.zeros_like(labels))
    assert roc_auc_score(inside, odds) > roc_auc_score(inside, scores_of(ProxyRatio(), alike, values)) + 0.01


@pytest.mark.parametrize("offline", [False, True])
def test_no_value_is_read_in_a_scored_record_of_a_model_that_was_trained_on_it(offline):
    references, values, _ = hierarchy(100, pairs=3, pool=200, offline=offline)
    before = scores_of(QUICK, references, values)
    members = references.inside.clone()
    members[:, 100:] = False
    references.values[members] = 99.0
    assert torch.equal(before, scores_of(QUICK, references, values))
    references.values[:, 100:][references.inside[:, 100:]] += 1
    assert not torch.equal(before, scores_of(QUICK, references, values))


def test_a_model_that_saw_no_record_tells_nothing_of_any_row_of_the_design():
    references, answers, _ = hierarchy(1000, pairs=3, gap=3.0, trained=False, pool=300)
    assert rows_as_targets(QUICK, references, answers) == [True] * 3


def test_the_references_own_scores_flatter_none_and_a_model_beside_itself_would_be_caught(monkeypatch):
    """References that learned nothing. With a model in the means of its own row, its value tells what it is."""
    references = hierarchy(400, pairs=3, gap=0, gap_spread=0, pool=400)[0]

    def own():
        scores = QUICK.fit(references, seed=0).reference_scores
        members = references.inside[:, :400]
        return [chance(one, mine) for one, mine in zip(scores, members, strict=True)]

    assert own() == [True] * 6
    folds = trees.folds_of(references, 4)
    monkeypatch.setattr(proxy, "folds_of", lambda *_: folds)
    monkeypatch.setattr(proxy, "apart", lambda _: torch.ones(6, 6, dtype=torch.bool))
    assert False in own()


def test_the_target_is_scored_like_a_reference_that_plays_target():
    """One threshold must serve both: where members lie far off, both kinds of scores say so alike."""
    references, values, inside = hierarchy(500, pairs=4, gap=3.0, pool=500)
    fitted = ProxyRatio().fit(references, seed=0)
    target = fitted.score(values, references.labels[:500])
    members = references.inside[:, :500]
    own = fitted.reference_scores
    assert abs(float(target[inside].mean() - own[members].mean())) < 0.5
    assert abs(float(target[~inside].mean() - own[~members].mean())) < 0.5


def test_the_order_of_records_and_of_pairs_says_nothing():
    references, values, _ = hierarchy(80, pairs=4, pool=160)
    order = torch.cat([torch.randperm(80), 80 + torch.randperm(160)])
    pairs = torch.tensor([4, 5, 0, 1, 6, 7, 2, 3])
    mixed = References(
        values=references.values[pairs][:, order],
        inside=references.inside[pairs][:, order],
        labels=references.labels,
        partner=references.partner,
        scored=80,
    )
    found = scores_of(QUICK, mixed, values[order[:80]])
    torch.testing.assert_close(found, scores_of(QUICK, references, values)[order[:80]], rtol=1e-6, atol=1e-6)


def test_a_score_depends_on_no_other_record_of_the_target():
    references, values, _ = hierarchy(80, pool=160)
    fitted = QUICK.fit(references, seed=0)
    others = values.clone()
    others[1:] = 5.0
    assert fitted.score(values, references.labels)[0] == fitted.score(others, references.labels)[0]


def test_logits_of_models_without_the_record_help():
    """One value per record tells little of how hard the record is; the logits show it, members lie 1.5 higher."""
    many, values, inside = hierarchy(600, pairs=30, gap=1.5, gap_spread=0, pool=600)
    hard = torch.where(many.inside, torch.nan, many.values[..., 0]).nanmean(0)
    few = slice(0, 4)
    references = replace(many, values=many.values[few], inside=many.inside[few], partner=many.partner[few])
    shown = replace(references, logits=hard.expand(4, -1).contiguous())
    aucs = [roc_auc_score(inside, scores_of(ProxyRatio(), known, values)) for known in (shown, references)]
    assert aucs[0] > aucs[1] + 0.01


@pytest.mark.parametrize(
    ("cause", "pairs", "pool"), [("few", 3, 160), ("none", 3, 0), ("pair", 1, 600), ("alone", 3, 600)]
)
def test_where_trees_cannot_learn_the_inner_calibration_scores(cause, pairs, pool):
    references, values, _ = hierarchy(80, pairs=pairs, pool=pool)
    if cause == "alone":
        references = replace(references, partner=torch.full((6,), -1))
    inner = ShrunkenRatio(online=False, variant="raw")
    assert torch.equal(scores_of(ProxyRatio(), references, values), scores_of(inner, references, values))


def test_missing_values_and_sides_are_no_obstacle():
    references, values, inside = hierarchy(300, pairs=3, gap=3.0, pool=300, width=2)
    references.values[:, ::3, 1] = torch.nan
    values[::3, 1] = torch.nan
    scores = scores_of(QUICK, references, values)
    assert bool(scores.isfinite().all())
    assert roc_auc_score(inside, scores) > 0.5 + 8 * null_error(inside)


def test_wrong_settings_and_values_are_refused():
    with pytest.raises(InvalidInput, match="inner must be offline"):
        ProxyRatio(inner=ShrunkenRatio())
    with pytest.raises(InvalidInput, match="folds must be at least 2"):
        ProxyRatio(folds=1)
    references, values, _ = hierarchy(80, pool=160)
    with pytest.raises(InvalidInput, match=r"values must be \(80, 1\)"):
        QUICK.fit(references, seed=0).score(values[:5], references.labels)
    with pytest.raises(InvalidInput, match="references must be given"):
        ProxyRatio().fit(None, seed=0)

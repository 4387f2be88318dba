"""The shrunken ratio: its formula, what it gains, its choice of a variant, and what it knows offline."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hardlabel.calibrations.base import References, held_out_scores
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.checks import InvalidInput
from test_ratio import hierarchy, scores_of


@pytest.mark.parametrize("variant", ["equal", "unequal"])
@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_scores_are_those_of_the_formula_in_a_naive_loop(variant, pairs):
    references, values, _ = hierarchy(40, pairs=pairs)
    known, inside, k = references.values[:, :, 0].double().numpy(), references.inside.numpy(), 7
    sides = {side: [known[inside[:, i] == side, i] for i in range(40)] for side in (True, False)}
    mean = {side: np.array([own.mean() for own in sides[side]]) for side in sides}
    squares = {side: np.array([((own - own.mean()) ** 2).sum() for own in sides[side]]) for side in sides}
    c, d = (mean[True] + mean[False]) / 2, mean[True] - mean[False]
    order = list(np.argsort(c))

    def near(i):
        start = min(max(order.index(i) - k // 2, 0), 40 - k)
        return order[start : start + k]

    d_ = np.array([d[near(i)].mean() for i in range(40)])
    wanted = []
    for i in range(40):
        around = ((d - d_)[near(i)] ** 2).mean()
        v_ = {side: squares[side][near(i)].mean() / (pairs - 1) if pairs > 1 else around / 2 for side in (True, False)}
        s2 = (v_[True] + v_[False]) / pairs
        t2 = max(0, around - s2)
        delta = d_[i] + t2 / (t2 + s2) * (d - d_)[i]
        v = {side: (8 * v_[side] + squares[side][i]) / (7 + pairs) + s2 / 4 for side in v_}
        if variant == "equal":
            v = dict.fromkeys(v, (v[True] + v[False]) / 2)
        value = float(values[i, 0])
        ins, outs = norm(c[i] + delta / 2, v[True] ** 0.5), norm(c[i] - delta / 2, v[False] ** 0.5)
        wanted.append(ins.logpdf(value) - outs.logpdf(value))
    found = scores_of(ShrunkenRatio(variant=variant, neighbours=k), references, values)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


def test_raw_is_the_plain_ratio_with_one_variance_per_side():
    references, values, _ = hierarchy(60, width=2)
    raw, plain = (scores_of(one, references, values) for one in (ShrunkenRatio(variant="raw"), LikelihoodRatio()))
    torch.testing.assert_close(raw, plain)


@pytest.mark.parametrize("variant", ["equal", "unequal"])
@pytest.mark.parametrize("pairs", [1, 2, 4])
def test_shrinking_gains_where_samples_are_alike(variant, pairs):
    """Of the same samples and target; the gain measured over ten seeds is above zero by four standard errors."""
    gains = []
    for seed in range(10):
        references, values, inside = hierarchy(600, pairs=pairs, seed=seed)
        shrunken, raw = (
            roc_auc_score(inside, scores_of(ShrunkenRatio(variant=one), references, values)) for one in (variant, "raw")
        )
        gains.append(shrunken - raw)
    assert np.mean(gains) > 4 * np.std(gains, ddof=1) / 10**0.5


def test_with_many_references_shrinking_loses_nothing():
    references, values, inside = hierarchy(1000, pairs=50, gap_spread=2.0)
    shrunken, raw = (
        roc_auc_score(inside, scores_of(ShrunkenRatio(variant=one), references, values)) for one in ("unequal", "raw")
    )
    assert shrunken > raw - 0.005


def test_the_variant_with_the_highest_held_out_auc_is_chosen():
    """Members' values spread 4 times as far here: one variance for both sides is wrong."""
    rng = np.random.default_rng(0)
    references = hierarchy(600, gap=0.5)[0]
    spread = torch.tensor(rng.normal(0, 4, references.values.shape), dtype=torch.float32)
    unequal = replace(references, values=references.values + spread * references.inside[:, :, None])
    for known in (unequal, references):
        aucs = {}
        for variant in ("equal", "unequal", "raw"):
            own = held_out_scores(ShrunkenRatio(variant=variant), known, seed=0)
            aucs[variant] = np.mean([roc_auc_score(i, s) for i, s in zip(known.inside, own, strict=True)])
        fitted = ShrunkenRatio().fit(known, seed=0)
        assert fitted.settled.variant == max(aucs, key=aucs.get)
        torch.testing.assert_close(
            fitted.reference_scores, held_out_scores(ShrunkenRatio(variant=fitted.settled.variant), known, seed=0)
        )
    assert ShrunkenRatio().fit(unequal, seed=0).settled.variant != "equal"


def test_beliefs_are_what_scores_are_made_of():
    references, values, _ = hierarchy(50)
    fitted = ShrunkenRatio(variant="unequal").fit(references, seed=0)
    assert fitted.beliefs.mean_in.shape == (50, 1)
    assert bool((fitted.beliefs.deviation_in > 0).all())
    ins, outs = (
        norm(mean[:, 0], deviation[:, 0]).logpdf(values[:, 0].double())
        for mean, deviation in (
            (fitted.beliefs.mean_in, fitted.beliefs.deviation_in),
            (fitted.beliefs.mean_out, fitted.beliefs.deviation_out),
        )
    )
    np.testing.assert_allclose(fitted.score(values, references.labels), ins - outs, rtol=1e-9)


def test_offline_it_learns_from_the_pool_what_members_look_like():
    """Easy samples move by 0 when trained on, hard ones by 4: only the pool tells, the tail of non-members does not."""
    rng = np.random.default_rng(0)
    references, values, inside = hierarchy(600, pairs=4, gap=0, gap_spread=0, pool=600, offline=True)
    hard = references.values.median(0).values[:, 0] < 0
    references.values[:, :, 0] += 4 * (references.inside & hard)
    values[:, 0] += 4 * (inside & hard[:600])
    calibration = ShrunkenRatio(online=False)
    assert calibration.wants_pool
    assert not ShrunkenRatio().wants_pool
    fitted = calibration.fit(references, seed=0)
    delta = (fitted.beliefs.mean_in - fitted.beliefs.mean_out)[:, 0]
    # Away from the step at 0 the shift is known to .2: the deviation of a mean over 100 samples' values is .1 at most.
    mean = references.values[:, :600, 0].mean(0)
    assert delta[mean < -1.5] == pytest.approx(torch.full_like(delta[mean < -1.5], 4.0).numpy(), abs=0.5)
    assert delta[mean > 1.5] == pytest.approx(torch.zeros_like(delta[mean > 1.5]).numpy(), abs=0.5)
    ours = roc_auc_score(inside, fitted.score(values, references.labels[:600]))
    tail = roc_auc_score(inside, scores_of(LikelihoodRatio(online=False), references, values))
    assert ours > tail - 0.005
    assert bool(fitted.reference_scores.isfinite().all())
    del rng


def test_offline_members_values_of_the_samples_scored_are_never_read():
    """The same references, scored samples' values of members changed; on the pool they are what is learned from."""
    for variant in ("equal", "unequal", "raw"):
        calibration = ShrunkenRatio(online=False, variant=variant)
        references, values, _ = hierarchy(80, pool=80)
        before = scores_of(calibration, references, values)
        members = references.inside.clone()
        members[:, 80:] = False
        references.values[members] += 100
        assert torch.equal(before, scores_of(calibration, references, values))
        references.values[:, 80:][references.inside[:, 80:]] += 1
        assert not torch.equal(before, scores_of(calibration, references, values))


def test_offline_without_a_pool_it_is_the_tail():
    references, values, _ = hierarchy(60)
    ours, tail = (
        scores_of(one, references, values) for one in (ShrunkenRatio(online=False), LikelihoodRatio(online=False))
    )
    assert torch.equal(ours, tail)
    assert ShrunkenRatio(online=False).fit(references, seed=0).beliefs is None


def test_samples_known_from_one_side_are_told_too():
    """A quarter of the samples has no members' values: what is known of their neighbours still tells them apart."""
    references, values, inside = hierarchy(2000, pairs=4, gap=2.0)
    lone = torch.arange(2000) % 4 == 0
    hidden = references.values.clone()
    hidden[references.inside & lone] = torch.nan
    known = replace(references, values=hidden)
    for variant in ("equal", "unequal"):
        scores = scores_of(ShrunkenRatio(variant=variant), known, values)
        full = scores_of(ShrunkenRatio(variant=variant), references, values)
        assert bool(scores.isfinite().all())
        theirs, whole = roc_auc_score(inside[lone], scores[lone]), roc_auc_score(inside[lone], full[lone])
        assert whole - 0.1 < theirs < whole


def test_settings_and_references_are_checked():
    with pytest.raises(InvalidInput, match="neighbours must be at least 1"):
        ShrunkenRatio(neighbours=0)
    with pytest.raises(InvalidInput, match="variant 'same' is unknown"):
        ShrunkenRatio(variant="same")
    with pytest.raises(InvalidInput, match="references must be given"):
        ShrunkenRatio(online=False).fit(None, seed=0)


def test_few_samples_clamp_the_neighbours():
    references, values, _ = hierarchy(5)
    many, all_five = (scores_of(ShrunkenRatio(neighbours=k, variant="equal"), references, values) for k in (100, 5))
    assert torch.equal(many, all_five)
    one = References(values=references.values[:, :1], inside=references.inside[:, :1], labels=references.labels[:1])
    assert bool(scores_of(ShrunkenRatio(), one, values[:1]).isfinite().all())

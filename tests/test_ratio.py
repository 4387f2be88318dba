"""The likelihood ratio per sample: closed forms, a naive twin, intervals, missing sides."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hardlabel.calibrations.base import References, scalars
from hardlabel.calibrations.normals import Moments, Neighbours, NormalBeliefs, completed, ranges
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.checks import InvalidInput


def hierarchy(
    n=400, *, pairs=4, seed=0, gap=1.0, gap_spread=0.5, width=1, noise=1.0, pool=0, offline=False, trained=True
):
    """References in complementary pairs, a target's values and its members.

    Sample i has difficulty m_i ~ N(0, 2^2) and memorisation d_i ~ N(gap, gap_spread^2); a value is N(m_i, noise^2),
    plus d_i on a model trained on i. The target is the first model of a pair of its own; one that is not `trained`
    has values of a model that saw none of the samples. `offline` trains no reference on the first n samples.
    """
    rng = np.random.default_rng(seed)
    everyone = n + pool
    first = rng.random((pairs + 1, everyone)) < 0.5
    inside = np.stack([first, ~first], 1).reshape(-1, everyone)
    if offline:
        inside[2:, :n] = False
    difficulty = rng.normal(0, 2, (everyone, width))
    memorised = rng.normal(gap, gap_spread, (everyone, width))
    effect = inside.copy()
    effect[0] &= trained
    values = difficulty + memorised * effect[:, :, None] + rng.normal(0, noise, (*inside.shape, width))
    references = References(
        values=torch.tensor(values[2:], dtype=torch.float32),
        inside=torch.tensor(inside[2:]),
        labels=torch.zeros(everyone, dtype=torch.int64),
        partner=torch.arange(2 * pairs) ^ 1,
        scored=n if pool else None,
    )
    return references, torch.tensor(values[0, :n], dtype=torch.float32), torch.tensor(inside[0, :n])


def scores_of(calibration, references, values):
    return calibration.fit(references, seed=0).score(values, references.labels[: len(values)])


def null_error(inside):
    """Standard error of an AUC where scores say nothing (Mann-Whitney)."""
    members = int(inside.sum())
    return math.sqrt((len(inside) + 1) / (12 * members * (len(inside) - members)))


def beliefs(mean_in=1.0, deviation_in=1.0, mean_out=0.0, deviation_out=1.0, low=-3.0, high=7.0, n=1):
    column = [
        torch.full((n, 1), float(x), dtype=torch.float64) for x in (mean_in, deviation_in, mean_out, deviation_out)
    ]
    ends = [torch.tensor([x], dtype=torch.float64) for x in (low, high)]
    names = ("mean_in", "deviation_in", "mean_out", "deviation_out", "low", "high")
    return NormalBeliefs(**dict(zip(names, column + ends, strict=True)))


@pytest.mark.parametrize("variance", ["sample", "side", "shared", "authors"])
def test_with_many_references_the_auc_is_that_of_two_known_normals(variance):
    """Members lie 1.5 deviations higher: AUC Phi(1.5 / sqrt 2) = .856; 50 references per side lose below .005."""
    references, values, inside = hierarchy(2000, pairs=50, gap=1.5, gap_spread=0)
    found = roc_auc_score(inside, scores_of(LikelihoodRatio(variance=variance), references, values))
    truth = NormalDist().cdf(1.5 / math.sqrt(2))
    assert abs(found - truth) < 4 * math.sqrt(truth * (1 - truth) / 1000) + 0.005


def test_offline_the_auc_is_that_of_two_known_normals_too():
    references, values, inside = hierarchy(2000, pairs=50, gap=1.5, gap_spread=0, offline=True, pool=10)
    found = roc_auc_score(inside, scores_of(LikelihoodRatio(online=False), references, values))
    truth = NormalDist().cdf(1.5 / math.sqrt(2))
    assert abs(found - truth) < 4 * math.sqrt(truth * (1 - truth) / 1000) + 0.005


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("variance", ["sample", "side", "shared", "authors"])
def test_scores_are_those_of_a_naive_loop(variance, online):
    references, values, _ = hierarchy(30, pairs=5, width=2)
    known, inside = references.values.double().numpy(), references.inside.numpy()
    assert inside.sum(0).tolist() == [5] * 30
    within = {  # Of the samples' own means, pooled.
        side: np.mean([known[inside[:, i] == side, i].var(0, ddof=1) for i in range(30)], 0) for side in (True, False)
    }
    wanted = []
    for i in range(30):
        score = 0.0
        for j in range(2):
            own = {side: known[inside[:, i] == side, i, j] for side in (True, False)}
            centre = np.median if variance == "authors" else np.mean
            everyone = known[:, :, j][inside == online]
            spread = {
                side: {
                    "sample": own[side].var(ddof=1),
                    "side": within[side][j],
                    "shared": (within[True][j] + within[False][j]) / 2 if online else within[False][j],
                    "authors": everyone.var(),
                }[variance]
                for side in own
            }
            value = float(values[i, j])
            ins, outs = (norm(centre(own[side]), math.sqrt(spread[side])) for side in (True, False))
            score += ins.logpdf(value) - outs.logpdf(value) if online else -outs.logsf(value)
        wanted.append(score)
    found = scores_of(LikelihoodRatio(online=online, variance=variance), references, values)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_an_offline_score_never_reads_members_values():
    references, values, _ = hierarchy(50)
    for variance in ("sample", "side", "shared", "authors"):
        calibration = LikelihoodRatio(online=False, variance=variance)
        before = scores_of(calibration, references, values)
        changed = hierarchy(50)[0]
        changed.values[changed.inside] += 100
        assert torch.equal(before, scores_of(calibration, changed, values))


def test_offline_a_constant_signal_is_measured_by_non_members_alone():
    """Non-members' values are all equal: not even the scale of members' values may stand in for their spread."""
    references, values, _ = hierarchy(50)
    references.values[~references.inside] = 0.0
    before = scores_of(LikelihoodRatio(online=False), references, values)
    references.values[references.inside] *= 100
    assert torch.equal(before, scores_of(LikelihoodRatio(online=False), references, values))


def test_offline_a_sample_without_non_members_gets_the_mean_and_spread_of_all():
    references, values, _ = hierarchy(50)
    references.inside[:, 3] = True
    rest = [i for i in range(50) if i != 3]
    known, outside = references.values[:, :, 0].double().numpy(), ~references.inside.numpy()
    own = [known[outside[:, i], i] for i in rest]
    means = np.array([one.mean() for one in own])
    variance = np.mean([one.var(ddof=1) for one in own]) + means.var()
    found = scores_of(LikelihoodRatio(online=False), references, values)
    wanted = -norm(means.mean(), math.sqrt(variance)).logsf(float(values[3, 0]))
    assert float(found[3]) == pytest.approx(wanted, rel=1e-6)


def test_offline_a_value_of_which_nothing_is_known_counts_like_the_mean():
    references, values, _ = hierarchy(5)
    values[2] = torch.nan
    assert float(scores_of(LikelihoodRatio(online=False), references, values)[2]) == pytest.approx(math.log(2))


def test_an_offline_score_stays_strict_far_above_non_members():
    """At 10 and 11 deviations both normal distribution functions round to 1."""
    references = hierarchy(2, pairs=50, gap_spread=0)[0]
    references.values[:, 1] = references.values[:, 0]
    references.inside[:, 1] = references.inside[:, 0]
    fitted = LikelihoodRatio(online=False).fit(references, seed=0)
    mean, deviation = fitted.mean[0, 0], fitted.deviation[0, 0]
    low, high = fitted.score(torch.stack([mean + 10 * deviation, mean + 11 * deviation])[:, None], references.labels)
    assert high > low > 0


@pytest.mark.parametrize(
    ("lower", "upper"), [(0.0, 1.0), (-math.inf, 0.5), (2.5, math.inf), (9.0, math.inf), (20.0, 21.0), (-6.0, 10.0)]
)
def test_an_interval_counts_by_its_probability(lower, upper):
    """.98 normal + .02 uniform over [-3, 7], 1 at most; open ends reach to the range, or .5 beyond the other edge."""
    left = min(-3.0, upper - 0.5) if lower == -math.inf else lower
    right = max(7.0, lower + 0.5) if upper == math.inf else upper
    width = min(1, (right - left) / 10)
    inside, outside = (
        0.98 * (norm(mean, deviation).cdf(upper) - norm(mean, deviation).cdf(lower)) + 0.02 * width
        for mean, deviation in ((1.0, 4.0), (0.0, 1.0))
    )
    found = beliefs(deviation_in=4.0).log_ratio(torch.tensor([[lower, upper]], dtype=torch.float64), censored=True)
    assert float(found[0]) == pytest.approx(math.log(inside / outside), abs=1e-9)


def test_narrow_intervals_agree_with_exact_values():
    """Up to the uniform part, whose density .002 is below 3 % of the normal ones here: log 1.03 twice."""
    values = torch.linspace(-1, 2, 31, dtype=torch.float64)[:, None]
    both = beliefs(n=31)
    exact = both.log_ratio(values, censored=False)
    narrow = both.log_ratio(torch.cat([values - 1e-4, values + 1e-4], 1), censored=True)
    pinched = both.log_ratio(torch.cat([values, values], 1), censored=True)
    torch.testing.assert_close(exact, values[:, 0] - 0.5)
    torch.testing.assert_close(narrow, exact, atol=0.06, rtol=0)
    torch.testing.assert_close(pinched, narrow, atol=1e-6, rtol=0)


def test_what_says_nothing_adds_nothing():
    both = beliefs(n=2)
    open_ended = torch.tensor([[-math.inf, math.inf], [math.nan, math.nan]])
    assert both.log_ratio(open_ended, censored=True).tolist() == [0, 0]
    assert both.log_ratio(torch.tensor([[math.nan], [0.5]]), censored=False).tolist() == [0, 0]


def test_an_impossible_value_has_a_finite_ratio():
    found = beliefs(deviation_in=1e-3, deviation_out=1e-3).log_ratio(torch.tensor([[100.0, 101.0]]), censored=True)
    assert float(found[0]) == 0  # Only the uniform parts are left, which are equal.


def test_the_middle_of_an_open_interval_lies_half_beyond_its_edge():
    values = torch.tensor([[1.0, 2.0, -math.inf, 3.5, 2.5, math.inf, -math.inf, math.inf]])
    middles = scalars(values, censored=True)[0].tolist()
    assert middles[:3] == [1.5, 3.0, 3.0]
    assert math.isnan(middles[3])


def test_log_ratios_of_several_scalars_are_added():
    references, values, _ = hierarchy(40, width=3)
    whole = scores_of(LikelihoodRatio(), references, values)
    parts = []
    for j in range(3):
        part = References(values=references.values[..., j : j + 1], inside=references.inside, labels=references.labels)
        parts.append(scores_of(LikelihoodRatio(), part, values[:, j : j + 1]))
    torch.testing.assert_close(whole, torch.stack(parts).sum(0))


def test_equal_reference_values_prove_no_certainty():
    """Five equal values per side and sample: the plain ratio would be infinite at any other value."""
    references, values, _ = hierarchy(60, pairs=5)
    right = (references.values > 0).float()
    coarse = References(values=right, inside=references.inside, labels=references.labels)
    for variance in ("sample", "side", "shared", "authors"):
        assert bool(scores_of(LikelihoodRatio(variance=variance), coarse, (values > 0).float()).isfinite().all())
    constant = References(values=torch.ones_like(right), inside=references.inside, labels=references.labels)
    assert scores_of(LikelihoodRatio(), constant, torch.ones_like(values)).tolist() == [0] * 60
    low, high = ranges(constant.values.double())
    assert (low.tolist(), high.tolist()) == ([0.5], [1.5])


def test_moments_and_neighbours_are_those_of_naive_loops():
    rng = np.random.default_rng(0)
    values, chosen = rng.normal(size=(6, 9, 1)), rng.random((6, 9)) < 0.5
    values[0, 0, 0] = np.nan
    moments = Moments.of(torch.tensor(values), torch.tensor(chosen))
    for i in range(9):
        own = values[chosen[:, i], i, 0]
        own = own[~np.isnan(own)]
        assert float(moments.count[i, 0]) == len(own)
        if len(own):
            assert float(moments.mean[i, 0]) == pytest.approx(own.mean())
        if len(own) > 1:
            assert float(moments.variance[i, 0]) == pytest.approx(own.var(ddof=1))
    keys, of, weights = rng.normal(size=50), rng.normal(size=50), rng.integers(0, 3, 50)
    near = Neighbours(torch.tensor(keys), count=7)
    plain, weighted = near.mean(torch.tensor(of)), near.mean(torch.tensor(of), weights=torch.tensor(weights).double())
    order = np.argsort(keys)
    for place, i in enumerate(order):
        start = min(max(place - 3, 0), 43)
        window = order[start : start + 7]
        assert float(plain[i]) == pytest.approx(of[window].mean())
        assert float(weighted[i]) == pytest.approx(np.average(of[window], weights=weights[window]))
    torch.testing.assert_close(near.at(torch.tensor(keys), torch.tensor(of)), plain, atol=1e-5, rtol=0)


def test_neighbours_with_equal_keys_are_alike_in_any_order():
    keys = torch.tensor([1.0, 0, 1, 2, 1, 1, 0, 3, 3, 1], dtype=torch.float64)
    of = torch.arange(10.0, dtype=torch.float64) ** 2
    found = Neighbours(keys, count=3).mean(of)
    assert len(set(found[keys == 1].tolist())) == 1
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Neighbours(keys[order], count=3).mean(of[order]), found[order])


def test_a_missing_side_is_estimated_from_samples_near_on_the_other():
    """Members' means are 10 + 2 x the others'; every window of 5 is nearly linear."""
    outs = torch.linspace(0, 1, 41, dtype=torch.float64)[:, None]
    ins = 10 + 2 * outs
    gone, lone = ins.clone(), outs.clone()
    gone[20], lone[30] = math.nan, math.nan

    def moments(mean):
        return Moments(count=(~mean.isnan()).double(), mean=mean, squares=torch.zeros_like(mean))

    mean_in, mean_out = completed(moments(gone), moments(lone), count=5)
    assert float(mean_in[20, 0]) == pytest.approx(11.0, abs=0.05)
    assert float(mean_out[30, 0]) == pytest.approx(0.75, abs=0.05)
    torch.testing.assert_close(torch.where(gone.isnan(), mean_in, gone), mean_in)


def test_with_one_reference_missing_means_have_the_rank_of_the_known_ones():
    references, values, inside = hierarchy(1000, pairs=1, gap=3.0)
    single = References(values=references.values[:1], inside=references.inside[:1], labels=references.labels)
    fitted = LikelihoodRatio().fit(single, seed=0)
    assert fitted.reference_scores is None
    # The two values of a sample differ by 3 on average: much better than chance, below the bound Phi(3 / sqrt 2).
    assert roc_auc_score(inside, fitted.score(values, single.labels)) > 0.8


def test_references_are_required_and_must_hold_what_is_used():
    references, values, _ = hierarchy(20)
    with pytest.raises(InvalidInput, match="references must be given for a likelihood ratio"):
        LikelihoodRatio().fit(None, seed=0)
    with pytest.raises(InvalidInput, match="none is inside"):
        LikelihoodRatio().fit(hierarchy(20, pool=20, offline=True)[0], seed=0)
    with pytest.raises(InvalidInput, match=r"values must be \(20, 1\) .* got \(19, 1\)"):
        scores_of(LikelihoodRatio(), references, values[:19])
    with pytest.raises(InvalidInput, match=r"\(20, 1\) scalars .* got \(19, 1\)"):
        scores_of(LikelihoodRatio(online=False), references, values[:19])
    with pytest.raises(InvalidInput, match="variance 'pooled' is unknown"):
        LikelihoodRatio(variance="pooled")

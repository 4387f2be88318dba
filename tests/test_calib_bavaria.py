"""BaVarIA: its formulas by hand, its optimum in a game of its own prior, intervals, neighbours."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from hardlabel.calibrations import bavaria
from hardlabel.calibrations.base import References
from hardlabel.calibrations.bavaria import BaVarIA, PredictiveBeliefs
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.checks import InvalidInput
from test_ratio import beliefs, hierarchy, scores_of


def game(n, pairs, *, seed, shape=1.5, strength=0.5, gap=2.0):
    """References and a target whose records have mean and variance from a normal-inverse-gamma distribution per side.

    Returns the references, the target's values and members, and the prior (mean, strength, shape, rate) per side.
    """
    rng = np.random.default_rng(seed)
    first = rng.random((pairs + 1, n)) < 0.5
    inside = np.stack([first, ~first], 1).reshape(-1, n)
    prior = {True: (gap, strength, shape, shape - 1), False: (0.0, strength, shape, shape - 1)}
    values = np.zeros(inside.shape)
    for side, (mean, k, a, b) in prior.items():
        variance = b / rng.gamma(a, size=n)
        centre = rng.normal(mean, np.sqrt(variance / k))
        values = np.where(inside == side, rng.normal(centre, np.sqrt(variance), values.shape), values)
    references = References(
        values=torch.tensor(values[2:, :, None], dtype=torch.float32),
        inside=torch.tensor(inside[2:]),
        labels=torch.zeros(n, dtype=torch.int64),
        partner=torch.arange(2 * pairs) ^ 1,
    )
    return references, torch.tensor(values[0, :, None], dtype=torch.float32), torch.tensor(inside[0]), prior


def predicted(own, values, prior, kind):
    """Log densities of new values (n,) of records with values `own` (n, m), by textbook formulas."""
    mean, k, a, b = prior
    count, centre = own.shape[1], own.mean(1)
    after, shape = k + count, a + count / 2
    rate = b + ((own - centre[:, None]) ** 2).sum(1) / 2 + k * count * (centre - mean) ** 2 / (2 * after)
    place = (k * mean + count * centre) / after
    if kind == "student":
        return stats.t.logpdf(values, 2 * shape, place, np.sqrt(rate * (after + 1) / (shape * after)))
    return stats.norm.logpdf(values, place, np.sqrt(rate / (shape - 1) * (after + 1) / after))


def on_side(references, side):
    """The values (n, m) of the models that were trained on each record, or of the others."""
    values = references.values[:, :, 0].double().numpy().T
    chosen = side == references.inside.numpy().T
    return values[chosen].reshape(len(values), -1)


def likeliest(own, spread):
    """The prior of the grid under which all records' values are likeliest: each record's are multivariate t."""
    middle, n, best = own.mean(), own.shape[1], (-math.inf,)
    for k in bavaria.STRENGTHS:
        for a in bavaria.SHAPES:
            for scale in bavaria.SCALES:
                b = scale * (a - 1) * spread
                matrix = b / a * (np.eye(n) + 1 / k)
                found = stats.multivariate_t(np.full(n, middle), matrix, 2 * a).logpdf(own).sum()
                best = max(best, (found, middle, k, a, b))
    return best[1:]


@pytest.mark.parametrize("kind", ["student", "normal"])
def test_scores_are_those_of_the_textbook(kind):
    references, values, _ = hierarchy(12, pairs=3, seed=1)
    scores = np.zeros(12)
    for side, sign in ((True, 1), (False, -1)):
        own = on_side(references, side)
        prior = likeliest(own, np.mean(own.var(1, ddof=1)))
        scores += sign * predicted(own, values[:, 0].double().numpy(), prior, kind)
    np.testing.assert_allclose(scores_of(BaVarIA(predictive=kind), references, values), scores, rtol=1e-6)


@pytest.mark.parametrize("pairs", [1, 2, 6])
def test_in_a_game_of_its_own_prior_it_is_the_best_there_is(pairs):
    """The Bayes-optimal ratio knows the prior; what its estimate costs is below .01, and the plain ratios lose more."""
    references, values, inside, prior = game(1500, pairs, seed=pairs)
    densities = {
        side: predicted(on_side(references, side), values[:, 0].double().numpy(), prior[side], "student")
        for side in (True, False)
    }
    optimal = densities[True] - densities[False]
    truth = roc_auc_score(inside, optimal)
    ours = roc_auc_score(inside, scores_of(BaVarIA(), references, values))
    assert ours == pytest.approx(truth, abs=0.01)
    assert roc_auc_score(inside, scores_of(LikelihoodRatio(), references, values)) < ours - 0.01


@pytest.mark.parametrize("calibration", [BaVarIA(), BaVarIA(predictive="normal"), BaVarIA(neighbours=100)], ids=str)
def test_with_many_references_the_auc_is_that_of_two_known_normals(calibration):
    references, values, inside = hierarchy(2000, pairs=50, gap=1.5, gap_spread=0)
    found = roc_auc_score(inside, scores_of(calibration, references, values))
    truth = NormalDist().cdf(1.5 / math.sqrt(2))
    assert abs(found - truth) < 4 * math.sqrt(truth * (1 - truth) / 1000) + 0.005


def predictive(freedom_in, freedom_out, **numbers):
    plain = beliefs(**numbers)
    names = ("mean_in", "deviation_in", "mean_out", "deviation_out", "low", "high")
    freedom = [torch.full((1, 1), float(x), dtype=torch.float64) for x in (freedom_in, freedom_out)]
    fields = {name: getattr(plain, name) for name in names}
    return PredictiveBeliefs(**fields, freedom_in=freedom[0], freedom_out=freedom[1])


def test_endless_freedom_is_the_normal_distribution():
    exact, interval = torch.tensor([[1.7]]), torch.tensor([[0.5, 2.5]])
    ours, plain = predictive(math.inf, math.inf, deviation_in=2.0), beliefs(deviation_in=2.0)
    for values, censored in ((exact, False), (interval, True)):
        torch.testing.assert_close(
            ours.log_ratio(values, censored=censored), plain.log_ratio(values, censored=censored)
        )


def test_an_interval_counts_by_its_probability():
    inside, outside = stats.t(3, 1.0, 2.0), stats.t(5, 0.0, 1.0)
    found = predictive(3, 5, deviation_in=2.0).log_ratio(torch.tensor([[0.5, 2.5]]), censored=True)
    masses = [0.98 * (side.cdf(2.5) - side.cdf(0.5)) + 0.02 * 0.2 for side in (inside, outside)]  # 2 of 10 wide.
    assert float(found) == pytest.approx(math.log(masses[0] / masses[1]), rel=1e-9)


def test_a_part_of_the_beliefs_scores_a_part_of_the_records():
    references, values, _ = hierarchy(40)
    fitted = BaVarIA().fit(references, seed=0)
    some = fitted.beliefs.of(slice(10, 20)).log_ratio(values[10:20], censored=False)
    assert torch.equal(some, fitted.score(values, references.labels)[10:20])


def test_neighbours_give_the_shrunken_ratios_means():
    references, values, _ = hierarchy(60)
    ours = BaVarIA(neighbours=30).fit(references, seed=0).beliefs
    theirs = ShrunkenRatio(variant="unequal", neighbours=30).fit(references, seed=0).beliefs
    assert torch.equal(ours.mean_in, theirs.mean_in)
    normal = scores_of(BaVarIA(neighbours=30, predictive="normal"), references, values)
    torch.testing.assert_close(normal, theirs.log_ratio(values, censored=False))


def test_a_record_without_values_on_a_side_is_predicted_by_the_prior():
    references, values, _ = hierarchy(50, pairs=2)
    references.values[:, 7] = torch.nan
    fitted = BaVarIA().fit(references, seed=0)
    assert bool(fitted.score(values, references.labels).isfinite().all())
    # The prior's mean is the mean of the records' means.
    members = torch.where(references.inside[:, :, None], references.values.double(), torch.nan)
    assert float(fitted.beliefs.mean_in[7]) == pytest.approx(float(members.nanmean(0).nanmean()), rel=1e-6)


def test_equal_values_prove_no_certainty():
    references, values, _ = hierarchy(50, pairs=2)
    references.values[:] = 1.0
    fitted = BaVarIA().fit(references, seed=0)
    assert fitted.score(torch.ones_like(values), references.labels).abs().max() < 1e-9
    assert bool(fitted.score(values, references.labels).isfinite().all())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"predictive": "cauchy"}, "predictive 'cauchy' is unknown"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        BaVarIA(**settings)


def test_references_must_be_given():
    with pytest.raises(InvalidInput, match="references must be given"):
        BaVarIA().fit(None, seed=0)

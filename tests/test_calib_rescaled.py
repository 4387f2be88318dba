"""Signals in units of confidence, and the choice among calibrations by the references."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from hardlabel import randomness
from hardlabel.calibrations.base import References, scalars
from hardlabel.calibrations.best import Best
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rescaled import Rescaled
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.checks import InvalidInput

SAMPLES, MODELS = 1500, 8


def game(seed=0, *, gain=1.5):
    """Logits normal around each sample's own mean, higher by `gain` inside; the last model plays target."""
    rng = randomness.generator(seed, "rescaled")
    inside = torch.zeros(MODELS + 2, SAMPLES, dtype=torch.bool)
    for pair in range(MODELS // 2 + 1):
        inside[2 * pair] = torch.rand(SAMPLES, generator=rng) < 0.5
        inside[2 * pair + 1] = ~inside[2 * pair]
    mean = 3 * torch.randn(SAMPLES, generator=rng)
    logits = mean + gain * inside + torch.randn(MODELS + 2, SAMPLES, generator=rng)
    return logits, inside


def references(values, logits, inside, *, censored=False):
    return References(
        values=values[:MODELS],
        inside=inside[:MODELS],
        labels=torch.zeros(SAMPLES, dtype=torch.int64),
        partner=torch.arange(MODELS) ^ 1,
        censored=censored,
        logits=logits[:MODELS],
    )


def auc(scores, inside):
    ranks, members = rankdata(scores.numpy()), int(inside.sum())
    return (ranks[inside.numpy()].sum() - members * (members + 1) / 2) / (members * (len(ranks) - members))


def steep(logits):
    """A signal that grows with the logit and is far from normal."""
    return (2.0 ** logits.clamp(-6, 6))[..., None]


def levels(logits):
    """Positions 0 to 12 as censored pairs of edges, infinite at the ends."""
    position = ((logits + 6).clamp(0, 12)).round()
    lower = torch.where(position > 0, position - 0.5, -torch.inf)
    upper = torch.where(position < 12, position + 0.5, torch.inf)
    return torch.stack([lower, upper], -1)


def test_a_monotone_signal_scores_as_the_logit_itself_would():
    logits, inside = game()
    plain = LikelihoodRatio().fit(references(logits[..., None], logits, inside), seed=0)
    ours = Rescaled(inner=LikelihoodRatio()).fit(references(steep(logits), logits, inside), seed=0)
    truth = plain.score(logits[MODELS][:, None], torch.zeros(SAMPLES))
    found = ours.score(steep(logits)[MODELS], torch.zeros(SAMPLES))
    kept = logits[MODELS].abs() < 5.5  # Beyond, the signal itself is cut.
    assert spearmanr(truth[kept], found[kept]).statistic > 0.99
    raw = LikelihoodRatio().fit(references(steep(logits), logits, inside), seed=0)
    assert auc(found, inside[MODELS]) > auc(raw.score(steep(logits)[MODELS], torch.zeros(SAMPLES)), inside[MODELS])


def test_the_map_is_the_isotonic_regression_of_logits_on_values():
    """With few values the best monotone fit to means that already grow is those means."""
    logits, inside = game()
    known = references(levels(logits), logits, inside, censored=True)
    fitted = Rescaled(inner=ShrunkenRatio(variant="raw")).fit(known, seed=0)
    points, own = scalars(known.values, censored=True)[..., 0], logits[:MODELS].double()
    for value in (2.0, 6.0, 9.0):
        assert float(fitted.maps[0](torch.tensor([value]).double())[0]) == pytest.approx(
            float(own[points == value].mean()), rel=1e-6
        )


def test_an_interval_of_several_positions_counts_by_its_probability():
    logits, inside = game()
    known = references(levels(logits), logits, inside, censored=True)
    fitted = Rescaled(inner=ShrunkenRatio()).fit(known, seed=0)
    nothing = torch.tensor([[-torch.inf, torch.inf]]).expand(SAMPLES, 2)
    assert fitted.score(nothing, torch.zeros(SAMPLES)).abs().max() < 1e-9
    high, low = (torch.tensor([edges]).expand(SAMPLES, 2) for edges in ([6.5, torch.inf], [-torch.inf, 6.5]))
    assert bool(
        (fitted.score(high, torch.zeros(SAMPLES)) >= fitted.score(low, torch.zeros(SAMPLES))).double().mean() > 0.95
    )
    wide, own = fitted.score(high, torch.zeros(SAMPLES)), fitted.beliefs
    edge = float(fitted.maps[0].edges(torch.tensor([6.5]).double())[0])
    shares = [
        0.98 * torch.special.ndtr((mean[:, 0] - edge) / deviation[:, 0])
        + 0.02 * (own.high[0] - edge) / (own.high[0] - own.low[0])
        for mean, deviation in ((own.mean_in, own.deviation_in), (own.mean_out, own.deviation_out))
    ]
    torch.testing.assert_close(wide, (shares[0] / shares[1]).log())


def test_without_logits_values_stay_as_they_are():
    logits, inside = game()
    known = replace(references(steep(logits), logits, inside), logits=None)
    mine, plain = Rescaled(inner=LikelihoodRatio()).fit(known, seed=0), LikelihoodRatio().fit(known, seed=0)
    values = steep(logits)[MODELS]
    assert torch.equal(mine.score(values, torch.zeros(SAMPLES)), plain.score(values, torch.zeros(SAMPLES)))


def test_an_unrelated_model_scores_a_half():
    """The target's row of the design as membership, answers from a model that had no part in the pool."""
    logits, inside = game()
    strange = game(seed=1, gain=0.0)[0][0]
    values = levels(torch.cat([logits, strange[None]]))
    error = (1 / 12 * (SAMPLES + 1) / (inside[MODELS].sum() * (~inside[MODELS]).sum())) ** 0.5
    for calibration in (Rescaled(inner=ShrunkenRatio()), Best(of=(ShrunkenRatio(), LikelihoodRatio()))):
        fitted = calibration.fit(references(values, logits, inside, censored=True), seed=0)
        assert abs(auc(fitted.score(values[-1], torch.zeros(SAMPLES)), inside[MODELS]) - 0.5) < 4 * error


def test_the_references_choose_the_stronger_calibration():
    logits, inside = game()
    known = references(steep(logits), logits, inside)
    weak, strong = LikelihoodRatio(variance="shared"), Rescaled(inner=LikelihoodRatio())
    for order in ((weak, strong), (strong, weak)):
        fitted = Best(of=order).fit(known, seed=0)
        assert fitted.settled == strong


def test_where_nothing_can_choose_the_first_is_taken():
    logits, inside = game()
    one = References(
        values=steep(logits)[:2],
        inside=inside[:2],
        labels=torch.zeros(SAMPLES, dtype=torch.int64),
        partner=torch.tensor([1, 0]),
        logits=logits[:2],
    )
    assert Best(of=(LikelihoodRatio(), ShrunkenRatio())).fit(one, seed=0).settled == LikelihoodRatio()


@pytest.mark.parametrize("calibration", [Rescaled(inner=LikelihoodRatio()), Best(of=(LikelihoodRatio(),))])
def test_references_are_required(calibration):
    with pytest.raises(InvalidInput, match="references must be given"):
        calibration.fit(None, seed=0)


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(InvalidInput, match="of must hold calibrations per sample, got"):
        Best(of=())


def test_a_constant_signal_tells_nothing():
    logits, inside = game()
    known = references(torch.ones(MODELS, SAMPLES, 1), logits, inside)
    scores = Rescaled(inner=LikelihoodRatio()).fit(known, seed=0).score(torch.ones(SAMPLES, 1), torch.zeros(SAMPLES))
    assert np.ptp(scores.numpy()) < 1e-9

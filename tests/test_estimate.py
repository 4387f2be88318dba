"""Estimated confidences: as good as the values allow, blind to the model they are for, silent where nothing leaks."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import pytest
import torch
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score

from hardlabel import randomness
from hardlabel.calibrations.base import References, held_out_scores
from hardlabel.calibrations.confidence_estimate import EstimatedConfidence
from hardlabel.checks import InvalidInput


@dataclass(frozen=True)
class Ratio:
    """A stand-in: each sample's own two means, one variance for all."""

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True

    def __str__(self):
        return "ratio"

    def fit(self, references, *, seed):
        return FittedRatio(references)


class FittedRatio:
    threshold = None

    def __init__(self, references):
        self.references = references
        inside, values = references.inside.double(), references.values[..., 0].double()
        self.of_in = (inside * values).sum(0) / inside.sum(0)
        self.of_out = ((1 - inside) * values).sum(0) / (1 - inside).sum(0)
        self.variance = (values - torch.where(references.inside, self.of_in, self.of_out)).square().mean()

    @cached_property
    def reference_scores(self):
        return held_out_scores(Ratio(), self.references, seed=0)

    def score(self, values, labels):
        value = values[:, 0].double()
        n = len(value)
        return ((value - self.of_out[:n]) ** 2 - (value - self.of_in[:n]) ** 2) / (2 * self.variance)


METHOD = EstimatedConfidence(inner=Ratio())
QUICK = replace(METHOD, rounds=20, leaves=8, folds=3)


def paired(pairs, samples, seed):
    """Who is inside which model (2 * pairs, samples), and each model's partner."""
    rng = randomness.generator(seed, "design")
    half = torch.stack([torch.randperm(samples, generator=rng) < samples // 2 for _ in range(pairs)])
    inside = torch.stack([half, ~half], 1).flatten(0, 1)
    return inside, torch.arange(2 * pairs) ^ 1


def game(*, pairs=5, samples=300, gain=2.0, chance=1.0, noise=1.0, columns=3, censored=False, seed=0):
    """Models whose logit confidence is difficulty + gain * membership + chance; values are it plus noise."""
    rng = randomness.generator(seed, "game")
    inside, partner = paired(pairs, samples, seed)
    difficulty = torch.randn(samples, generator=rng)
    logits = difficulty + gain * inside + chance * torch.randn(2 * pairs, samples, generator=rng)
    values = logits[:, :, None] + noise * torch.randn(2 * pairs, samples, columns, generator=rng)
    if censored:
        values = torch.stack([values.floor(), values.floor() + 1], 3).flatten(2)
    labels = torch.zeros(samples, dtype=torch.int64)
    return References(values=values, inside=inside, labels=labels, partner=partner, logits=logits, censored=censored)


def test_the_estimate_explains_what_a_line_behind_noise_explains():
    """logit = a + b * position + noise: R2 = b^2 var(position) / (b^2 var(position) + var(noise)), known here."""
    rng = randomness.generator(0, "line")
    models, samples = 8, 1500
    inside, partner = paired(models // 2, samples, 0)
    positions = torch.randint(-8, 15, (models, samples, 1), generator=rng).float()
    logits = 1.0 + 0.5 * positions[..., 0] + 1.5 * torch.randn(models, samples, generator=rng)
    references = References(
        values=positions, inside=inside, labels=torch.zeros(samples).long(), partner=partner, logits=logits
    )
    fitted = METHOD.fit(references, seed=0)
    signal = 0.25 * (23**2 - 1) / 12
    truth = signal / (signal + 1.5**2)
    four_standard_errors = 4 * 2 * math.sqrt(truth) * (1 - truth) / math.sqrt(models * samples)
    assert (
        truth - 0.02 - four_standard_errors < fitted.explained < truth + four_standard_errors
    )  # .02: what it costs to learn 23 levels.
    estimates = fitted.estimate(torch.linspace(-8, 14, samples)[:, None])
    assert spearmanr(estimates, torch.arange(samples))[0] > 0.99
    assert float((estimates - (1 + 0.5 * torch.linspace(-8, 14, samples).round())).abs().mean()) < 0.2


def test_explained_is_the_share_of_variance_of_held_out_estimates():
    references = game()
    fitted = QUICK.fit(references, seed=0)
    residual = (references.logits.double() - fitted.estimates).var(correction=0) + (
        references.logits.double() - fitted.estimates
    ).mean() ** 2
    assert fitted.explained == pytest.approx(1 - float(residual / references.logits.double().var(correction=0)))
    noise = replace(references, logits=torch.randn(references.logits.shape, generator=torch.Generator()))
    assert QUICK.fit(noise, seed=0).explained < 0.05


def test_estimates_are_better_than_the_best_single_value_and_so_are_scores():
    """Averaging three noisy values and shrinking: far above what one value explains; AUC follows."""
    references, target = game(pairs=6, samples=1000), game(pairs=6, samples=1000).without(0)
    fitted = METHOD.fit(target, seed=0)
    truth, inside, values = references.logits[0], references.inside[0], references.values[0]
    estimated = fitted.estimate(values)
    assert torch.corrcoef(torch.stack([estimated, truth.double()]))[0, 1] > 0.9
    single = Ratio().fit(replace(target, values=target.values[:, :, :1]), seed=0).score(values, target.labels)
    scores = fitted.score(values, target.labels)
    assert roc_auc_score(inside, scores) > roc_auc_score(inside, single) + 0.03


def naive_features(references, k, i, values, counted):
    """The definition, one model and sample at a time."""
    row = values[i].tolist()
    stands = [j for j in counted if not references.inside[j, i]]
    for column in range(references.values.shape[2]):
        row.append(sum(float(references.values[j, i, column]) for j in stands) / len(stands) if stands else math.nan)
    row.append(sum(float(references.logits[j, i]) for j in stands) / len(stands) if stands else math.nan)
    return row


def test_estimates_are_their_definition_written_as_loops():
    references = game(pairs=4, samples=60, noise=4.0, columns=2)  # So noisy that the means matter.
    models, samples = references.inside.shape
    method = replace(QUICK, folds=2, rounds=20, leaves=8)
    fold = [0, 0, 1, 1, 0, 0, 1, 1]
    partner = [1, 0, 3, 2, 5, 4, 7, 6]
    estimates = torch.zeros(models, samples, dtype=torch.float64)
    regressors = []
    for held_out in (0, 1):
        learned, told = [], []
        for k in range(models):
            if fold[k] != held_out:
                counted = [j for j in range(models) if fold[j] != held_out and j not in (k, partner[k])]
                for i in range(samples):
                    learned.append(naive_features(references, k, i, references.values[k], counted))
                    told.append(float(references.logits[k, i]))
        regressor = HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=8, early_stopping=False, random_state=0)
        regressors.append(regressor.fit(learned, told))
        for k in range(models):
            if fold[k] == held_out:
                counted = [j for j in range(models) if j not in (k, partner[k])]
                rows = [naive_features(references, k, i, references.values[k], counted) for i in range(samples)]
                estimates[k] = torch.from_numpy(regressor.predict(rows))
    fitted = method.fit(references, seed=0)
    torch.testing.assert_close(fitted.estimates, estimates)
    values = game(pairs=4, samples=60, noise=4.0, columns=2, seed=1).values[0]
    rows = [naive_features(references, None, i, values, range(models)) for i in range(samples)]
    mean = torch.from_numpy((regressors[0].predict(rows) + regressors[1].predict(rows)) / 2)
    torch.testing.assert_close(fitted.estimate(values), mean)
    inner = Ratio().fit(replace(references, values=estimates.float()[:, :, None]), seed=0)
    torch.testing.assert_close(
        fitted.score(values, references.labels), inner.score(mean.float()[:, None], references.labels)
    )
    torch.testing.assert_close(fitted.reference_scores, inner.reference_scores)


def test_a_references_estimate_knows_neither_its_confidence_nor_its_partner():
    references = game(pairs=4, samples=60)
    before = QUICK.fit(references, seed=0).estimates[2]
    values, logits = references.values.clone(), references.logits.clone()
    logits[2:4] += torch.linspace(-30, 30, 60)
    values[3] -= 5
    after = QUICK.fit(replace(references, values=values, logits=logits), seed=0).estimates[2]
    assert torch.equal(before, after)
    logits[4] += 5
    assert not torch.equal(before, QUICK.fit(replace(references, logits=logits), seed=0).estimates[2])


def test_an_estimate_for_a_target_depends_on_nothing_but_its_own_row():
    references = game(samples=50)
    fitted = QUICK.fit(references, seed=0)
    values = game(samples=50, seed=1).values[0]
    other = values.clone()
    other[7] += 3
    changed = fitted.estimate(values) != fitted.estimate(other)
    assert changed.nonzero().flatten().tolist() == [7]


def test_a_seed_fixes_scores():
    references, values = game(), game(seed=1).values[0]
    one, same = (QUICK.fit(references, seed=3).score(values, references.labels) for _ in range(2))
    assert torch.equal(one, same)
    assert one.dtype == torch.float64


def test_only_the_scored_samples_need_values_and_the_rest_is_learned_from():
    references = replace(game(samples=300), scored=100)
    fitted = QUICK.fit(references, seed=0)
    values = references.values[0, :100]
    assert fitted.score(values, references.labels[:100]).shape == (100,)
    assert fitted.reference_scores.shape == (10, 100)
    whole = QUICK.fit(replace(references, scored=None), seed=0)
    assert torch.equal(fitted.estimate(values), whole.estimate(references.values[0])[:100])


def test_intervals_count_as_their_middles():
    """Also where the outermost have no end."""
    references = game(censored=True, samples=200)
    middles = replace(references, values=references.values[:, :, 0::2] + 0.5, censored=False)
    values = game(censored=True, samples=200, seed=1).values[0]
    one = QUICK.fit(references, seed=0).estimate(values)
    two = QUICK.fit(middles, seed=0).estimate(values[:, 0::2] + 0.5)
    torch.testing.assert_close(one, two)


@pytest.mark.filterwarnings("error")
def test_values_that_are_missing_or_endless_leave_scores_finite():
    references = game(samples=100)
    values = references.values.clone()
    values[1, :30, 0], values[2, 10:50, 1], values[:, 5] = math.nan, math.inf, -math.inf
    fitted = QUICK.fit(replace(references, values=values), seed=0)
    assert bool(fitted.score(values[0], references.labels).isfinite().all())
    assert bool(fitted.estimates.isfinite().all())


def judged_per_target(attack, *, pairs=6, samples=800):
    """AUCs of `attack(references, k, values)` where target k's row of the design is the membership, but the answers
    come from a model that was trained on other data: in each pair one model plays target."""
    strong = {"pairs": pairs, "samples": samples, "chance": 0.3}
    references = game(gain=4.0, **strong)
    unrelated = game(gain=0.0, **strong).values  # Nobody is inside: difficulty and chance only.
    return [
        float(roc_auc_score(references.inside[k], attack(references, k, unrelated[k]))) for k in range(0, 2 * pairs, 2)
    ]


def four_standard_errors_of_no_signal(samples=800):
    return 4 * math.sqrt((samples + 1) / (12 * (samples / 2) ** 2))


def test_answers_of_an_unrelated_model_tell_nothing_whatever_the_design():
    def attack(references, k, values):
        return QUICK.fit(references.without(k), seed=0).score(values, references.labels)

    for auc in judged_per_target(attack):
        assert abs(auc - 0.5) < four_standard_errors_of_no_signal()


def test_that_null_test_catches_means_over_all_references_with_the_partner_kept():
    """The trap: leave only the target out, and means over the others tell its membership without any answer."""

    def attack(references, k, values):
        def means(j, others):
            outside = ~references.inside[others]
            of_out = (references.logits[others] * outside).sum(0) / outside.sum(0)
            return torch.stack([references.logits[others].mean(0), of_out], 1)

        kept = [j for j in range(len(references.values)) if j != k]
        regressor = HistGradientBoostingRegressor(max_iter=50, early_stopping=False).fit(
            torch.cat([means(j, [m for m in kept if m != j]) for j in kept]).numpy(),
            references.logits[kept].flatten().numpy(),
        )
        return regressor.predict(means(k, kept).numpy())

    for auc in judged_per_target(attack):
        assert abs(auc - 0.5) > four_standard_errors_of_no_signal()


def test_two_pairs_suffice_although_nothing_is_left_to_average():
    references = game(pairs=2)
    fitted = QUICK.fit(references, seed=0)
    assert 0.3 < fitted.explained < 1


def test_references_without_partners_are_pairs_of_their_own():
    references = replace(game(pairs=2), partner=None)
    fitted = replace(QUICK, folds=9).fit(references, seed=0)
    assert len(fitted.regressors) == 4


def test_what_it_cannot_do_without_is_named():
    references = game(pairs=2)
    with pytest.raises(InvalidInput, match="references must be given to estimate confidences, got None"):
        METHOD.fit(None, seed=0)
    with pytest.raises(InvalidInput, match="references must have logits"):
        METHOD.fit(replace(references, logits=None), seed=0)
    with pytest.raises(InvalidInput, match="at least 2 pairs to estimate confidences, got 1"):
        METHOD.fit(references.without(0), seed=0)
    with pytest.raises(InvalidInput, match="folds must be at least 2, got 1"):
        EstimatedConfidence(inner=Ratio(), folds=1)
    with pytest.raises(InvalidInput, match="rounds must be positive, got 0"):
        EstimatedConfidence(inner=Ratio(), rounds=0)


def test_a_reader_is_told_what_follows_the_estimate():
    assert str(METHOD) == "estimated logit confidence, then ratio"

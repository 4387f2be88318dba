"""What every calibration per sample must keep: no leak through the design, no company, no order, no crash."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from sklearn.metrics import roc_auc_score

from hardlabel.calibrations.base import References, held_out_scores
from hardlabel.calibrations.bavaria import BaVarIA
from hardlabel.calibrations.proxy import ProxyRatio
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.calibrations.standardized import Standardized
from test_ratio import hierarchy, null_error, scores_of

ALONE = [
    *(LikelihoodRatio(variance=variance) for variance in ("sample", "side", "shared", "authors")),
    LikelihoodRatio(online=False),
    LikelihoodRatio(online=False, variance="sample"),
    *(ShrunkenRatio(variant=variant) for variant in (None, "equal", "unequal", "raw")),
    ShrunkenRatio(online=False),
    BaVarIA(),
    BaVarIA(predictive="normal"),
    BaVarIA(neighbours=100),
    ProxyRatio(),
    RMIA(),
    RMIA(online=False),
    RMIA(logits=True),
]
CALIBRATIONS = [*ALONE, Standardized(inner=ShrunkenRatio()), Standardized(inner=LikelihoodRatio(online=False))]


@dataclass(frozen=True, kw_only=True)
class MeanOfAll:
    """A faulty calibration: the value above the mean of all references, whoever they were trained on."""

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True

    def fit(self, references, *, seed):
        self.__dict__["mean"] = references.values.double().mean(0)[:, 0]
        return self

    def score(self, values, labels):
        return values[:, 0].double() - self.mean


def chance(scores, inside):
    """Whether an AUC lies within four standard errors of 1/2."""
    return abs(roc_auc_score(inside, scores) - 0.5) < 4 * null_error(inside)


def rows_as_targets(calibration, references, answers):
    """AUCs at chance or not: one model of each pair plays target by its row, with answers of an unrelated model."""
    found = []
    for model in range(0, len(references.values), 2):
        rest = references.without(model)
        scores = calibration.fit(rest, seed=0).score(answers, references.labels[: len(answers)])
        found.append(chance(scores, references.inside[model, : references.scored]))
    return found


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_a_model_that_saw_no_sample_tells_nothing_of_any_row_of_the_design(calibration):
    """References leak plainly (members lie 3 deviations higher), and every row alone must score .5."""
    for pool in (0, 200):
        references, answers, _ = hierarchy(1000, pairs=3, gap=3.0, trained=False, pool=pool)
        assert rows_as_targets(calibration, references, answers) == [True] * 3


def test_the_same_test_catches_a_partner_that_stays():
    """With the partner kept, the mean of all the others is lower where the one that plays target is a member."""
    references, answers, _ = hierarchy(1000, pairs=3, gap=3.0, trained=False)
    assert rows_as_targets(MeanOfAll(), references, answers) == [True] * 3
    assert rows_as_targets(MeanOfAll(), replace(references, partner=None), answers) == [False] * 3


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_references_that_learned_nothing_are_not_flattered_by_their_own_scores(calibration):
    references = hierarchy(600, pairs=3, gap=0, gap_spread=0)[0]
    own = calibration.fit(references, seed=0).reference_scores
    assert [chance(scores, inside) for scores, inside in zip(own, references.inside, strict=True)] == [True] * 6


def test_the_same_test_catches_a_reference_that_scores_itself():
    references = hierarchy(600, pairs=3, gap=0, gap_spread=0)[0]
    fitted = LikelihoodRatio().fit(references, seed=0)
    assert not chance(fitted.score(references.values[0], references.labels), references.inside[0])


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_held_out_scores_use_neither_a_reference_nor_its_partner(calibration):
    references = hierarchy(60, pairs=3)[0]
    settled = getattr(calibration.fit(references, seed=0), "settled", calibration)
    before = held_out_scores(settled, references, seed=0)
    torch.testing.assert_close(calibration.fit(references, seed=0).reference_scores, before)
    changed = replace(references, values=references.values.clone())
    changed.values[1] = 77.0  # The partner of reference 0.
    after = held_out_scores(settled, changed, seed=0)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[2], after[2])


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_members_score_higher(calibration):
    references, values, inside = hierarchy(400, pairs=4, gap=2.0)
    fitted = calibration.fit(references, seed=0)
    scores = fitted.score(values, references.labels)
    assert scores.dtype == torch.float64
    assert scores.shape == (400,)
    assert roc_auc_score(inside, scores) > 0.5 + 8 * null_error(inside)
    assert fitted.threshold is None
    assert fitted.reference_scores.shape == references.inside.shape
    assert calibration.per_sample
    assert calibration.requires_references


@pytest.mark.parametrize("calibration", ALONE, ids=str)
def test_a_score_depends_on_no_other_sample_of_the_target(calibration):
    references, values, _ = hierarchy(80)
    fitted = calibration.fit(references, seed=0)
    others = values.clone()
    others[1:] = 5.0
    assert fitted.score(values, references.labels)[0] == fitted.score(others, references.labels)[0]


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_the_order_of_samples_and_of_pairs_says_nothing(calibration):
    references, values, _ = hierarchy(80)
    values = (2 * values).round()  # With many equal values.
    references = replace(references, values=(2 * references.values).round())
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    pairs = torch.tensor([4, 5, 0, 1, 6, 7, 2, 3])
    mixed = References(
        values=references.values[pairs][:, order],
        inside=references.inside[pairs][:, order],
        labels=references.labels,
        partner=references.partner,
    )
    found = scores_of(calibration, mixed, values[order])
    torch.testing.assert_close(found, scores_of(calibration, references, values)[order], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("calibration", [one for one in CALIBRATIONS if one != RMIA(logits=True)], ids=str)
def test_location_and_scale_of_a_signal_say_nothing(calibration):
    references, values, _ = hierarchy(100)
    moved = replace(references, values=4 * references.values + 16)
    found = scores_of(calibration, moved, 4 * values + 16)
    torch.testing.assert_close(found, scores_of(calibration, references, values), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
@pytest.mark.parametrize("models", [1, 2, 3, 6])
def test_samples_known_from_one_side_or_not_at_all_get_finite_scores(calibration, models):
    full, values, _ = hierarchy(40, pairs=3)
    inside = full.inside[:models].clone()
    inside[:, :5], inside[:, 5:10] = True, False
    known = full.values[:models].clone()
    known[:, 10] = torch.nan
    references = References(values=known, inside=inside, labels=full.labels)
    fitted = calibration.fit(references, seed=0)
    assert bool(fitted.score(values, full.labels).isfinite().all())
    assert fitted.reference_scores is None or bool(fitted.reference_scores.isfinite().all())


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_intervals_tell_what_values_tell(calibration):
    """Cut into steps of half a deviation, open at both ends, a signal keeps nearly all it tells."""
    references, values, inside = hierarchy(600, gap=2.0)
    exact = roc_auc_score(inside, scores_of(calibration, references, values))

    def cut(values):
        edges = torch.cat([torch.tensor([-torch.inf]), torch.arange(-6, 9, 0.5), torch.tensor([torch.inf])])
        place = torch.searchsorted(edges, values.contiguous()).clamp(1, len(edges) - 1)
        return torch.cat([edges[place - 1], edges[place]], -1)

    censored = replace(references, values=cut(references.values), censored=True)
    found = roc_auc_score(inside, scores_of(calibration, censored, cut(values)))
    # Values of one step tie: Sheppard's variance of a step, .25 / 12, is 2 % of the noise's.
    assert abs(found - exact) < 0.03


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=str)
def test_a_calibration_tells_a_reader_what_it_is(calibration):
    assert str(calibration)
    assert repr(calibration) == repr(replace(calibration))
    assert len({str(one) for one in CALIBRATIONS}) >= len(CALIBRATIONS) - 1  # RMIA's `logits` is the signal's matter.

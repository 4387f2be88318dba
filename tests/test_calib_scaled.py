"""Confidences that tie: the scale on which they are compared, closed forms, the choice, a design that must not leak."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import hardlabel
from hardlabel.attacks import TABLE, family_of, shortfall
from hardlabel.audits.game import kept_scores
from hardlabel.calibrations.base import References, held_out_scores
from hardlabel.calibrations.learned import LearnedRatio
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.scaled import SCALES, Scaled
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.calibrations.standardized import Standardized
from hardlabel.calibrations.threshold import Threshold
from hardlabel.checks import InvalidInput
from test_calib_all import MeanOfAll, rows_as_targets
from test_ratio import hierarchy, scores_of

INNER = [LikelihoodRatio(), ShrunkenRatio(), RMIA(logits=True), LearnedRatio(rounds=20)]
TREES = 60


def votes(n=800, *, pairs=4, seed=0, trained=True):
    """A game like `hierarchy` of forests: each value is the logit of a share of TREES votes, 50 for all of them."""
    rng = np.random.default_rng(seed)
    first = rng.random((pairs + 1, n)) < 0.5
    inside = np.stack([first, ~first], 1).reshape(-1, n)
    effect = inside.copy()
    effect[0] &= trained
    without = rng.beta(2, 1, n)
    chance = np.where(effect, without + 0.6 * (1 - without), without)
    shares = rng.binomial(TREES, chance) / TREES
    with np.errstate(divide="ignore"):
        logits = (np.log(shares) - np.log1p(-shares)).clip(-50, 50)
    values = torch.tensor(logits[..., None], dtype=torch.float32)
    references = References(
        values=values[2:],
        inside=torch.tensor(inside[2:]),
        labels=torch.zeros(n, dtype=torch.int64),
        partner=torch.arange(2 * pairs) ^ 1,
        logits=values[2:, :, 0],
    )
    return references, values[0], torch.tensor(inside[0])


def seen_by_inner(scale, references):
    """The values (K, n) that the inner calibration gets."""
    seen = []

    class Inner:
        per_sample = requires_references = True

        def fit(self, references, *, seed):
            seen.append(references.values)
            return self

    Scaled(inner=Inner(), by=scale).fit(references, seed=0)
    return seen[0][..., 0].double()


def test_the_smoothed_logit_of_a_forest_is_that_of_votes_and_a_half():
    references = votes()[0]
    counts = (references.values[..., 0].double().sigmoid() * TREES).round()
    assert len(torch.unique(counts)) == TREES + 1  # Every number of votes occurs.
    expected = torch.logit((counts + 0.5) / (TREES + 1))
    torch.testing.assert_close(seen_by_inner("smoothed", references), expected, rtol=1e-5, atol=1e-5)


def test_the_probability_is_that_which_the_model_showed():
    references = votes()[0]
    shares = seen_by_inner("probability", references)
    torch.testing.assert_close(shares, (shares * TREES).round() / TREES, rtol=0, atol=1e-6)
    assert (float(shares.min()), float(shares.max())) == (pytest.approx(0, abs=1e-9), 1)


def test_ranks_are_shares_below_and_equal_ones_count_half():
    values = torch.tensor([[[-50.0], [0.0], [50.0]], [[0.0], [0.0], [50.0]]])
    references = References(
        values=values, inside=torch.tensor([[True, False, True], [False, True, False]]), labels=torch.zeros(3).long()
    )
    expected = torch.tensor([[0.5, 2.5, 5.0], [2.5, 2.5, 5.0]]).double() / 6
    torch.testing.assert_close(seen_by_inner("rank", references), expected)


@pytest.mark.parametrize("inner", [inner for inner in INNER if inner != RMIA(logits=True)], ids=str)
def test_where_the_logit_is_best_scores_stay_what_they_were_to_the_last_bit(inner):
    """Normal logits with one spread: no other scale does better than by chance. RMIA's ratio suits no normal law."""
    references, values, _ = hierarchy(600, pairs=4, gap=2.0)
    fitted = Scaled(inner=inner).fit(references, seed=0)
    plain = inner.fit(references, seed=0)
    assert fitted.chosen.by == "logit"
    assert torch.equal(fitted.score(values, references.labels), plain.score(values, references.labels))
    assert torch.equal(fitted.reference_scores, plain.reference_scores)
    assert str(fitted.chosen) == str(inner)


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_on_the_logit_nothing_is_done(inner):
    references, values, _ = votes(200)
    scaled, plain = (one.fit(references, seed=0) for one in (Scaled(inner=inner, by="logit"), inner))
    assert torch.equal(scaled.score(values, references.labels), plain.score(values, references.labels))


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_the_choice_is_as_good_as_the_best_fixed_scale_on_votes(inner):
    references, values, inside = votes()
    fixed = {
        scale: roc_auc_score(inside, scores_of(Scaled(inner=inner, by=scale), references, values)) for scale in SCALES
    }
    chosen = roc_auc_score(inside, scores_of(Scaled(inner=inner), references, values))
    assert chosen > max(fixed.values()) - 0.01
    if inner == LikelihoodRatio():
        assert chosen > fixed["logit"] + 0.05


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_a_model_that_saw_no_sample_tells_nothing_of_any_row_of_the_design(inner):
    references, answers, _ = votes(1000, pairs=3, trained=False)
    # The target's own row plays no part: answers are of a model that saw nobody.
    assert rows_as_targets(Scaled(inner=inner), references, answers) == [True] * 3


def test_the_same_test_catches_a_partner_that_stays():
    references, answers, _ = votes(1000, pairs=3, trained=False)
    for scale in SCALES:
        calibration = Scaled(inner=MeanOfAll(), by=scale)
        assert rows_as_targets(calibration, references, answers) == [True] * 3
        assert rows_as_targets(calibration, replace(references, partner=None), answers) == [False] * 3


@pytest.mark.parametrize("scale", SCALES)
def test_reference_scores_use_neither_a_reference_nor_its_partner(scale):
    references = votes(200)[0]
    calibration = Scaled(inner=ShrunkenRatio(), by=scale)
    fitted = calibration.fit(references, seed=0)
    before = held_out_scores(fitted.settled, references, seed=0)
    assert torch.equal(fitted.reference_scores, before)
    changed = replace(references, values=references.values.clone())
    changed.values[:2] = 50.0  # Reference 0 and its partner.
    after = held_out_scores(fitted.settled, changed, seed=0)
    rest = fitted.settled.fit(references.without(0), seed=0)
    assert torch.equal(before[0], rest.score(references.values[0], references.labels))
    assert not torch.equal(before[2], after[2])


def test_the_order_of_samples_and_of_pairs_says_nothing():
    references, values, _ = votes(300)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    pairs = torch.tensor([4, 5, 0, 1, 6, 7, 2, 3])
    mixed = replace(
        references,
        values=references.values[pairs][:, order],
        inside=references.inside[pairs][:, order],
        logits=references.logits[pairs][:, order],
    )
    for calibration in (Scaled(inner=inner) for inner in INNER[:3]):
        found = scores_of(calibration, mixed, values[order])
        torch.testing.assert_close(found, scores_of(calibration, references, values)[order], rtol=1e-5, atol=1e-5)


def test_a_single_pair_cannot_choose_and_certain_answers_are_smoothed():
    certain, normal = (game[0] for game in (votes(300, pairs=1), hierarchy(300, pairs=1)))
    for references, expected in ((certain, "smoothed"), (normal, "logit")):
        assert Scaled(inner=LikelihoodRatio()).fit(references, seed=0).chosen.by == expected


@pytest.mark.parametrize("scale", SCALES)
def test_values_that_are_not_known_add_nothing(scale):
    references, values, _ = votes(200)
    references.values[:, 3], values[3], values[7] = torch.nan, torch.nan, torch.nan
    scores = scores_of(Scaled(inner=LikelihoodRatio(), by=scale), references, values)
    assert bool(scores.isfinite().all())
    assert float(scores[7]) == 0


def test_unlike_models_are_standardised_on_the_scale():
    """A target whose shares are all nearer to a half: on logits of 50 its location would say nothing."""
    references, values, inside = votes(800)
    blunt = torch.logit(0.25 + values.double().sigmoid() / 2).float()
    plain, moved = (
        roc_auc_score(inside, scores_of(Scaled(inner=inner, by="probability"), references, blunt))
        for inner in (LikelihoodRatio(), Standardized(inner=LikelihoodRatio()))
    )
    assert moved > plain + 0.03  # Seen: .06.


def test_what_it_cannot_scale_is_refused():
    references = votes(100)[0]
    with pytest.raises(InvalidInput, match="inner must be a calibration per sample"):
        Scaled(inner=Threshold())
    with pytest.raises(InvalidInput, match="by 'loss' is unknown"):
        Scaled(inner=LikelihoodRatio(), by="loss")
    with pytest.raises(InvalidInput, match="references must be given to choose a scale by, got None"):
        Scaled(inner=LikelihoodRatio()).fit(None, seed=0)
    pairs = replace(references, values=references.values.repeat(1, 1, 2), censored=True)
    with pytest.raises(InvalidInput, match="must show logit confidences to scale, got intervals"):
        Scaled(inner=LikelihoodRatio()).fit(pairs, seed=0)


def test_it_asks_for_what_its_inner_calibration_wants():
    assert Scaled(inner=ShrunkenRatio(online=False)).wants_pool
    learned = Scaled(inner=LearnedRatio())
    assert (learned.wants_logits, learned.wants_samples) == (True, LearnedRatio.wants_samples)
    assert not Scaled(inner=LikelihoodRatio()).wants_logits


def test_rows_of_logits_choose_a_scale_and_the_published_code_does_not():
    scaled = {name for name, row in TABLE.items() if getattr(row, "scaled", False)}
    assert scaled >= {"lira", "lira-offline", "lira-shrunken", "lira-learned", "rmia", "rmia-offline"}
    assert "lira-published" not in scaled
    assert repr(TABLE["lira"].calibration) == repr(LikelihoodRatio())  # Names scores in stores.


def test_an_audit_of_a_forest_compares_probabilities_and_says_so(tmp_path, monkeypatch):
    specs = []
    real = kept_scores._spec
    monkeypatch.setattr(kept_scores, "_spec", lambda *given: specs.append(real(*given)) or specs[-1])
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(700, 6)).astype(np.float32)
    labels = (inputs[:, 0] + rng.normal(size=700) > 0).astype(np.int64)
    forest = RandomForestClassifier(20, random_state=0).fit(inputs[:200], labels[:200])
    record = hardlabel.audit(
        forest,
        (inputs[:200], labels[:200]),
        (inputs[200:400], labels[200:400]),
        population=(inputs[400:], labels[400:]),
        trainer=RandomForestClassifier(20),
        domain=hardlabel.Box((6,), lower=-10.0, upper=10.0),
        attacks=["lira", "lira-published", "gap"],
        attacker=hardlabel.Attacker(references=6),
        store=hardlabel.Store(tmp_path),
        device="cpu",
    )
    lira, published = record.attack("lira"), record.attack("lira-published")
    assert any(words in lira.calibration for words in ("probability", "smoothed logit", "rank"))
    assert published.calibration.endswith("authors' code")
    assert lira.auc.value > published.auc.value + 0.02  # Seen: .05.
    assert {spec["attack"]: "scales" in spec for spec in specs} == {"gap": False, "lira": True, "lira-published": False}


@pytest.mark.parametrize(
    ("model", "family"),
    [
        (make_pipeline(StandardScaler(), KNeighborsClassifier()), "nearest neighbours"),
        (CalibratedClassifierCV(RandomForestClassifier()), "forest"),
        (GridSearchCV(HistGradientBoostingClassifier(), {}), "boosted trees"),
        (torch.nn.Sequential(), "network"),
        (MLPClassifier(), "network"),
        (LogisticRegression(), None),
        (object(), None),
        (None, None),
    ],
    ids=lambda given: type(given).__name__ if not isinstance(given, str) else given,
)
def test_the_family_of_a_model_is_that_of_the_classifier_inside(model, family):
    assert family_of(model) == family
    assert (shortfall(family) is None) == (family is None)


def test_nothing_is_said_of_families_that_were_not_measured():
    assert shortfall("unheard of") is None
    assert shortfall(None) is None

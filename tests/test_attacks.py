"""Every row of the table keeps the contract: within budget, on its domains, the same from the same seed."""

import pytest
import torch

from games import Logistic, random_samples
from hardlabel import randomness
from hardlabel.attacks import TABLE, LabelAttack, chosen
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.table import MixedTable
from hardlabel.experiments.game import Game, Side
from hardlabel.experiments.progress import SILENT
from hardlabel.signals.base import Knowledge

IMAGES = Box((1, 8, 8))
TABLE_OF_TWO = MixedTable(
    columns=(
        Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=90.0),
        Categorical(name="job", categories=("a", "b", "c")),
    )
)
DOMAINS = [IMAGES, Box((12,)), BinaryFeatures(20), TABLE_OF_TWO]


class Leaky(Logistic):
    """A logistic regression that is much surer, and righter, about the samples it is told to remember."""

    def __init__(self, domain, remembered):
        width = int(torch.Size(domain.shape).numel())
        super().__init__(domain, torch.linspace(-3, 3, width), 0.05)
        self.remembered = remembered

    def ask_scores(self, inputs, ids):
        logs = super().ask_scores(inputs, ids)
        known = torch.isin(ids, self.remembered)
        return torch.where(known[:, None], (logs * 3).log_softmax(1), logs)


def side(domain, seed, start):
    """Members carry the label the model gives, two in five of the others do not."""
    samples = random_samples(domain, 60, classes=2, seed=seed, start=start)
    model = Leaky(domain, samples.ids[:30])
    labels = Logistic.ask(model, samples.inputs, samples.ids)
    wrong = torch.arange(60) >= 48
    samples = samples.relabelled(torch.where(wrong, 1 - labels, labels))
    parts = samples.take(slice(0, 30)), samples.take(slice(30, 60))
    return Side.mixed(model, model, *parts, seed=seed)


def game(domain, *, budget, seed=0):
    population = random_samples(domain, 20, classes=2, seed=9, start=10_000)
    return Game(
        target=side(domain, 1, 0),
        shadow=side(domain, 2, 1_000),
        knowledge=Knowledge(population=population),
        budget=budget,
        seed=seed,
        watch=SILENT,
    )


SUITED = [(name, domain) for name, row in TABLE.items() for domain in DOMAINS if row.unsuited(domain) is None]


@pytest.mark.parametrize(("name", "domain"), SUITED, ids=lambda part: getattr(part, "kind", part))
def test_an_attack_scores_every_sample_within_its_fewest_queries(name, domain):
    attack = TABLE[name]
    played = game(domain, budget=attack.fewest).play(attack)
    assert played.scores.shape == (60,)
    assert played.scores.dtype == torch.float64
    assert bool(played.scores.isfinite().all())
    assert int(played.measurement.queries.max()) <= attack.fewest
    assert int(played.measurement.queries.min()) >= 1


@pytest.mark.parametrize(("name", "domain"), SUITED, ids=lambda part: getattr(part, "kind", part))
def test_the_same_seed_gives_the_same_scores(name, domain):
    attack = TABLE[name]
    budget = max(attack.fewest, 30)
    one, two = (game(domain, budget=budget).play(attack) for _ in range(2))
    assert torch.equal(one.scores, two.scores)
    assert (one.signal, one.threshold) == (two.signal, two.threshold)


# Entropy does not see whether the label is right, but the model is surer about members.
@pytest.mark.parametrize(("name", "domain"), SUITED, ids=lambda part: getattr(part, "kind", part))
def test_members_score_higher_on_a_model_that_is_right_about_them(name, domain):
    """Members are always right and non-members in 18 of 30: the gap attack alone has AUC 0.7."""
    attack = TABLE[name]
    playing = game(domain, budget=max(attack.fewest, 60))
    played = playing.play(attack)
    inside = playing.target.inside
    wins = (played.scores[inside][:, None] > played.scores[~inside]).double()
    ties = (played.scores[inside][:, None] == played.scores[~inside]).double()
    # Four standard errors of an AUC of .7 from 30 + 30 samples (Hanley-McNeil) are .27.
    assert float((wins + ties / 2).mean()) > 0.5


@pytest.mark.parametrize("name", TABLE)
def test_a_row_tells_what_users_must_know(name):
    row = TABLE[name]
    assert row.name == name
    assert row.summary
    assert row.needs
    assert row.source
    assert 1 <= row.fewest <= row.usual
    assert row.access in ("label", "scores")
    assert isinstance(row, LabelAttack) == (row.access == "label")


def test_all_is_what_suits_domain_and_budget_and_the_rest_is_said():
    rows, left_out = chosen(None, BinaryFeatures(10), 5)
    assert {row.name for row in rows} | set(left_out) == set(TABLE)
    assert {"augmentation", "boundary", "combined"} <= set(left_out)
    assert "points between samples" in left_out["boundary"]
    rows, left_out = chosen(None, IMAGES, 1)
    assert {row.name for row in rows} >= {"gap", "loss"}
    assert left_out["noise"] == "needs at least 2 queries per sample, the budget is 1"


@pytest.mark.parametrize(
    ("names", "domain", "budget", "rule"),
    [
        (["boundry"], IMAGES, None, "attack 'boundry' is unknown: did you mean 'boundary'"),
        (["boundary"], BinaryFeatures(5), None, "attack 'boundary' needs image or continuous data, got binary"),
        (["augmentation"], Box((5,)), None, "attack 'augmentation' needs image data, got continuous"),
        (["combined"], IMAGES, 100, "budget must be at least 125 for attack 'combined', got 100"),
        ([], IMAGES, None, "attacks must name at least one attack"),
        (None, IMAGES, 0, "budget must be at least 1, got 0"),
    ],
)
def test_a_named_attack_that_cannot_be_run_is_refused(names, domain, budget, rule):
    with pytest.raises(InvalidInput, match=rule):
        chosen(names, domain, budget)


def test_the_order_of_samples_says_nothing_about_membership():
    inside = side(IMAGES, 1, 0).inside
    # Runs of a random order of 30 + 30: mean 31, variance 30 * 29 / 59 = 14.7 (Wald-Wolfowitz).
    runs = 1 + int((inside[1:] != inside[:-1]).sum())
    assert abs(runs - 31) < 4 * 14.7**0.5
    assert randomness.derive(1, "order of samples") != randomness.derive(2, "order of samples")

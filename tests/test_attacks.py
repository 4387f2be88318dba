"""Every row of the table keeps the contract: within budget, on its domains, the same from the same seed."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from games import Logistic, oracle, pool_of_memories, random_samples
from hardlabel import randomness
from hardlabel.attacks import TABLE, LabelAttack, chosen
from hardlabel.audits.findings import figures
from hardlabel.audits.game.asking import Asking, Side, questions
from hardlabel.audits.game.game import Game
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box, NoiseLevel
from hardlabel.data.table import MixedTable
from hardlabel.runs.progress import SILENT
from hardlabel.signals.base import Knowledge
from hardlabel.signals.features import ONE_PATH
from hardlabel.signals.noise import Noise
from hardlabel.targets.askable import AskableModel

IMAGES = Box((1, 8, 8))
TABLE_OF_TWO = MixedTable(
    columns=(
        Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=90.0),
        Categorical(name="job", categories=("a", "b", "c")),
    )
)
WHOLE = MixedTable(
    columns=(
        Numeric(name="age", mean=40.0, scale=10.0, lower=0, upper=90, integer=True),
        Numeric(name="hours", mean=35.0, scale=12.0, lower=1, upper=99, integer=True),
    )
)
GAPPED = MixedTable(
    columns=(
        Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=90.0),
        Numeric(name="income", mean=5.0, scale=2.0, lower=0.0, upper=50.0, missing=True),
    ),
    missing="?",
)
DOMAINS = [IMAGES, Box((12,)), BinaryFeatures(20), TABLE_OF_TWO, WHOLE, GAPPED]
NAMES = dict(zip(DOMAINS, ("image", "continuous", "binary", "mixed table", "whole numbers", "missing"), strict=True))


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


def points(domain, count, *, classes=2, seed, start):
    """Random samples; every third income is missing."""
    samples = random_samples(domain, count, classes=classes, seed=seed, start=start)
    if domain != GAPPED:
        return samples
    inputs = samples.inputs.clone()
    inputs[::3, 1:] = torch.tensor([0.0, 1.0])
    return replace(samples, inputs=inputs)


def side(domain, seed, start):
    """Members carry the label the model gives, two in five of the others do not."""
    samples = points(domain, 60, seed=seed, start=start)
    model = Leaky(domain, samples.ids[:30])
    labels = Logistic.ask(model, samples.inputs, samples.ids)
    wrong = torch.arange(60) >= 48
    samples = samples.relabelled(torch.where(wrong, 1 - labels, labels))
    parts = samples.take(slice(0, 30)), samples.take(slice(30, 60))
    knowledge = Knowledge(population=points(domain, 20, seed=9, start=10_000))
    return Side.mixed(AskableModel(labels=model, scores=model), *parts, seed=seed, knowledge=knowledge)


def game(domain, *, budget, seed=0):
    return Game(
        target=side(domain, 1, 0),
        shadow=side(domain, 2, 1_000),
        budget=budget,
        asking=Asking(seed=seed, watch=SILENT),
    )


@cache
def pool(domain):
    """Models with and without the samples asked about; few samples, for every attack is played on every domain."""
    return pool_of_memories(domain, reach=0.3, attacked=24, more=8, draw=points)


class Announced:
    """What an attack says it may send the target, and what it is charged."""

    def __init__(self):
        self.stages = {}

    def stage(self, title, total, unit):
        self.title = title
        self.stages[title] = [total, 0]

    def advance(self, units):
        self.stages[self.title][1] += units

    def detail(self, words): ...

    def say(self, message): ...


SUITED = [(name, domain) for name, row in TABLE.items() for domain in DOMAINS if row.unsuited(domain) is None]
SLOW = ("sampling", "oslo")  # On one domain in every run, on the others in `make long`.


def cases(pairs):
    """The pairs of attack and domain as parameters."""
    seen = []
    for name, domain in pairs:
        again = name in SLOW and name in seen
        seen.append(name)
        yield pytest.param(name, domain, marks=pytest.mark.long if again else ())


EVERY_CASE = pytest.mark.parametrize(("name", "domain"), list(cases(SUITED)), ids=lambda part: NAMES.get(part, part))


@EVERY_CASE
def test_an_attack_scores_every_sample_within_its_fewest_queries_and_the_same_each_time(name, domain):
    """What it announced, what it was charged, what it reports and what the target was sent agree."""
    attack, watch = TABLE[name], Announced()
    target = oracle(pool(domain).networks[0])
    played = pool(domain).game(budget=attack.fewest, model=target, watch=watch).play(attack)
    assert played.scores.shape == (24,)
    assert played.scores.dtype == torch.float64
    assert bool(played.scores.isfinite().all())

    queries, overhead = played.measurement.queries, sum(played.overhead.values())
    assert int(queries.max()) <= attack.fewest
    assert int(queries.min()) >= (0 if name == "transfer" else 1)  # It asks about other points only.
    assert target.labels.seen.total() == int(queries.sum()) + overhead
    if not overhead:
        asked = [target.labels.seen[one] for one in pool(domain).samples.ids[:24].tolist()]
        assert queries.tolist() == asked
    announced, _ = watch.stages[f"{name} on the target"]
    assert int(queries.sum()) <= announced <= 24 * attack.fewest
    charged = sum(spent for title, (_, spent) in watch.stages.items() if title.endswith("on the target"))
    assert charged == int(queries.sum()) + overhead

    again = pool(domain).game(budget=attack.fewest).play(attack)
    assert torch.equal(again.scores, played.scores)
    assert (again.signal, again.threshold) == (played.signal, played.threshold)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.usual > row.fewest])
def test_an_attack_stays_within_a_larger_budget_and_its_usual_one(name):
    """As many as it may use: what it announces never exceeds what a budget allows."""
    domain, attack, budget = IMAGES, TABLE[name], max(30, TABLE[name].fewest)
    for question in questions(attack, pool(domain).game(budget=budget).target, budget):
        playing = pool(domain).game(budget=budget)
        plan = playing.asking.prepared(question, playing.target).plan
        assert plan.queries[0] <= plan.queries[1] <= max(attack.allowed(budget), ONE_PATH)


LEARNED = ("augmentation", "combined", "sampling", "shadow-network")
ALONE = [
    (name, domain) for name, domain in SUITED if not (TABLE[name].calibration.per_sample or TABLE[name].crafted)
]  # The others, which learn from reference models, are in test_attacks_calibrated.py.


def auc(members, others):
    """Share of pairs in which the member scores higher, ties counting half."""
    return float(((members[:, None] > others).double() + (members[:, None] == others).double() / 2).mean())


@pytest.mark.parametrize(("name", "domain"), list(cases(ALONE)), ids=lambda part: NAMES.get(part, part))
def test_members_score_as_much_higher_as_the_game_makes_them(name, domain):
    """Members are right, 12 of 30 non-members wrong, and the model is three times as sure about members.

    Nothing here is left to chance between runs, so that the bounds are facts of these games, not of samples.
    Labels tell members from wrong non-members and no more: right ones are drawn like members, and whatever order
    a label-only attack puts them in means nothing. Each member must therefore beat each wrong non-member; that is
    all of the gap attack, whose AUC it makes .4 + .6 / 2. Confidences tell as much as the true class's logit;
    entropy as much as its size, since it does not see whether the label is right.
    """
    playing = game(domain, budget=max(TABLE[name].fewest, 60))
    scores, inside, samples = playing.play(TABLE[name]).scores, playing.target.inside, playing.target.samples
    logit = playing.target.model.labels.margin(samples.inputs) * (2 * samples.labels - 1) * torch.where(inside, 3, 1)
    others = ~inside & (logit <= 0) if TABLE[name].access == "label" else ~inside
    truth = logit.abs() if name == "entropy" else logit
    # For what a network learns from 60 samples there is no exact bound: it may misplace a pair in twenty.
    slack = 0.05 if name in LEARNED else 1e-9
    assert auc(scores[inside], scores[others]) == pytest.approx(auc(truth[inside], truth[others]), abs=slack)
    if name == "gap":
        assert auc(scores[inside], scores[~inside]) == pytest.approx(0.7)


def test_the_shadow_model_chooses_the_candidate_that_tells_its_members_best():
    """Noise that changes every label tells nothing, a little of it what the gap attack tells."""
    useful, useless = (Noise(level=NoiseLevel(sigma=sigma), draws=5) for sigma in (1e-6, 1e3))
    for order in ((useful, useless), (useless, useful)):
        attack = replace(TABLE["noise"], signals=lambda domain, queries, order=order: order)
        playing = game(Box((12,), -100.0, 100.0), budget=6)
        assert playing.play(attack).signal == str(useful)
        assert playing.play(attack).reference_rows > 2 * 60  # Both were measured, on the shadow's side only.


def test_a_record_counts_each_class_by_group_and_who_is_right():
    playing = game(IMAGES, budget=1)
    played = playing.play(TABLE["gap"])
    member, labels = playing.target.inside.numpy(), playing.target.samples.labels.numpy()
    right = played.scores.numpy() == 1
    result = figures.result(
        TABLE["gap"], played, member=member, labels=labels, right=right, prior=0.01, overhead={}, seed=0
    )
    assert sum(one.members for one in result.classes) == member.sum() == 30
    assert sum(one.nonmembers for one in result.classes) == 30
    for one in result.classes:
        mine = labels == one.label
        assert (one.members, one.nonmembers) == ((mine & member).sum(), (mine & ~member).sum())
        assert one.train_accuracy == 1.0
        assert one.test_accuracy == pytest.approx(right[mine & ~member].mean())
    # The gap attack's AUC is 1/2 + (1 - 18/30) / 2, whoever computes it.
    assert result.auc.value == pytest.approx(0.7)
    assert result.balanced_accuracy.value == pytest.approx(0.7)
    assert result.histogram.members[-1] == 1.0
    assert sum(result.histogram.nonmembers) == pytest.approx(1.0)


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
        (["boundary"], BinaryFeatures(5), None, "attack 'boundary' needs a continuous domain, got a binary one"),
        (["boundary"], WHOLE, None, "attack 'boundary' needs a continuous domain, got a mixed table one"),
        (["boundary"], GAPPED, None, "attack 'boundary' needs a continuous domain, got a mixed table one"),
        (["augmentation"], Box((5,)), None, "attack 'augmentation' needs images, got a continuous domain"),
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

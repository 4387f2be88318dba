"""Designed questions: legal neighbours, beliefs from the attacker's margins, and what the labels then tell."""

import itertools
from dataclasses import dataclass, replace
from functools import cache
from math import log

import numpy as np
import pytest
import torch
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from games import HalfSpace, oracle, pool_of_memories, random_samples
from hardlabel.attacks import TABLE, Need
from hardlabel.audits.findings import exposed
from hardlabel.audits.game import asking, chunks
from hardlabel.audits.plan import Seats, questions_of
from hardlabel.calibrations.base import References
from hardlabel.calibrations.designed import DesignedBeliefs, DesignedRatio
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Categorical, Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.series import Series
from hardlabel.data.table import MixedTable
from hardlabel.data.tokens import Tokens
from hardlabel.metrics import roc
from hardlabel.oracles.budget import Account, ChargedLabels, ChargedScores
from hardlabel.signals import designed
from hardlabel.signals.base import Knowledge, SequentialPlan
from hardlabel.signals.designed import STRAY, Designed, Margins
from hardlabel.signals.neighbours import SETS, neighbours

COLUMNS = MixedTable(
    columns=(
        Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=90.0, integer=True),
        Numeric(name="income", mean=5.0, scale=2.0, lower=0.0, upper=50.0, missing=True),
        Categorical(name="job", categories=("a", "b", "c")),
    ),
    missing="?",
)
DOMAINS = {
    "table": COLUMNS,
    "bits": BinaryFeatures(20),
    "vectors": Box((12,)),
    "images": Box((1, 6, 6)),
    "whole images": Box((1, 6, 6), 0, 255, whole=True),
    "series": Series((16, 2), 0.0, 1.0),
    "tokens": Tokens(length=8, vocabulary=30, padding=0, kept=(1,)),
}


def drawn(domain, count, *, seed=0, start=0):
    return random_samples(domain, count, classes=2, seed=seed, start=start)


# --- candidates ---


@pytest.mark.parametrize("known", [True, False], ids=["population", "alone"])
@pytest.mark.parametrize("name", DOMAINS)
def test_candidates_are_legal_the_first_is_the_sample_and_company_changes_none(name, known):
    domain = DOMAINS[name]
    samples, population = drawn(domain, 5), drawn(domain, 30, seed=1, start=100) if known else None
    candidates = neighbours(domain, population, count=40, seed=3)
    columns = torch.arange(40).repeat(5)
    points = candidates.points(samples.inputs.repeat_interleave(40, 0), columns)
    domain.check(points)
    points = points.reshape(5, 40, *domain.shape)
    assert torch.equal(points[:, 0], samples.inputs)
    changed = (points != samples.inputs[:, None]).flatten(2).any(2)
    assert bool(changed.any(1).all())
    assert len(candidates.sets(drawn(domain, 200).inputs).unique()) == SETS
    for column in (0, 7, 39):  # Asked alone, in another order.
        alone = candidates.points(samples.inputs[[3]], torch.tensor([column]))
        assert torch.equal(alone[0], points[3, column])


def test_a_replaced_cell_is_that_of_a_record_as_a_whole():
    """Columns of categories and numbers that may be missing have several encoded values, which go together."""
    samples, population = drawn(COLUMNS, 3), drawn(COLUMNS, 30, seed=1, start=100)
    points = neighbours(COLUMNS, population, count=60, seed=3).points(
        samples.inputs.repeat_interleave(60, 0), torch.arange(60).repeat(3)
    )
    cells = (slice(0, 1), slice(1, 3), slice(3, 6))
    known = [{tuple(row) for row in torch.cat([population.inputs, samples.inputs])[:, cell].tolist()} for cell in cells]
    for cell, values in zip(cells, known, strict=True):
        assert {tuple(row) for row in points[:, cell].tolist()} <= values


@pytest.mark.parametrize("known", [True, False], ids=["cells", "noise"])
def test_samples_of_one_set_change_alike_and_those_of_others_otherwise(known):
    samples, population = drawn(DOMAINS["vectors"], 100), drawn(DOMAINS["vectors"], 30, seed=1, start=1_000)
    candidates = neighbours(samples.domain, population if known else None, count=10, seed=3)
    points = candidates.points(samples.inputs, torch.full((100,), 6))
    changes = {}
    for place, change in zip(candidates.sets(samples.inputs).tolist(), (points - samples.inputs) > 0, strict=True):
        changes.setdefault(place, []).append(change)
    assert len(changes) == SETS
    pairs = [bool((a == b).all()) for group in changes.values() for a, b in itertools.pairwise(group)]
    firsts = torch.stack([group[0] for group in changes.values()])
    assert len(firsts.unique(dim=0)) > SETS / 2
    if not known:  # The same noise up to the bounds; cells of others lie above or below, as the sample has it.
        assert sum(pairs) > len(pairs) / 2


@pytest.mark.parametrize(("queries", "candidates"), [(0, 5), (6, 5)])
def test_settings_that_cannot_be_are_refused(queries, candidates):
    with pytest.raises(InvalidInput, match=r"(queries|candidates) must be .*, got"):
        Designed(queries=queries, candidates=candidates)


# --- margins ---


@dataclass
class Fixed:
    """Shows the same log probabilities of every row."""

    logs: torch.Tensor

    def ask_scores(self, inputs, ids):
        return self.logs.repeat(len(inputs), 1)


@pytest.mark.parametrize(
    ("probabilities", "label", "margin"),
    [
        ([0.7, 0.3], 0, log(0.7 / 0.3)),
        ([0.7, 0.3], 1, -log(0.7 / 0.3)),
        ([0.4, 0.35, 0.25], 0, log(0.4 / 0.35)),  # The label, though it has less than half.
        ([0.5, 0.5], 0, 1e-6),  # Of equal classes the first is the label.
        ([0.5, 0.5], 1, -1e-6),
        ([1.0, 0.0], 0, log(99)),
        ([1.0, 0.0, 0.0], 2, -log(99)),
    ],
)
def test_a_margin_has_the_sign_of_the_label_and_is_cut(probabilities, label, margin):
    samples = drawn(Box((12,)), 2)
    samples = samples.relabelled(torch.full((2,), label))
    plan = Margins(candidates=3).prepare(samples, Knowledge(), 0)
    found = plan.measure(ChargedScores(Fixed(torch.tensor(probabilities).log()), Account()))
    assert found.values.shape == (2, 6)
    torch.testing.assert_close(found.values[:, :3], torch.full((2, 3), margin), rtol=1e-5, atol=1e-9)
    assert found.queries.tolist() == [3, 3]
    points = plan.drawn.points(samples.inputs, torch.tensor([2, 2]))
    torch.testing.assert_close(found.values[:, 5], (points - samples.inputs).square().sum(1).sqrt())
    assert found.values[:, 3].tolist() == [0, 0]


# --- beliefs ---


def beliefs_of(mean_in, mean_out, deviation=1.0, shared=None):
    """The same beliefs about one sample, from lists of J numbers."""
    means = [torch.tensor([mean], dtype=torch.float64) for mean in (mean_in, mean_out)]
    deviations = torch.full_like(means[0], deviation)
    loads = torch.zeros(1, len(mean_in), 1) if shared is None else torch.tensor(shared)[None, :, None]
    return DesignedBeliefs(
        mean_in=means[0], deviation_in=deviations, mean_out=means[1], deviation_out=deviations, shared=loads.float()
    )


def replayed(beliefs, kept, queries):
    """The log ratio of one sample, from a plan whose candidates keep their label as told."""
    plan = Designed(queries=queries, candidates=len(kept)).prepare(drawn(Box((12,)), 1), Knowledge(), 0)
    values = torch.tensor([[1.0 if one else -1.0 for one in kept] + [0.0] * len(kept)])
    return float(plan.replay(beliefs, values))


def probability(mean):
    return (1 - STRAY) * ndtr(mean) + STRAY / 2


def test_independent_margins_add_their_log_ratios():
    inside, outside, kept = [1.0, 0.5, -0.2], [0.0, -0.6, -0.9], [True, False, True]
    expected = sum(
        log(probability(a) / probability(b)) if right else log((1 - probability(a)) / (1 - probability(b)))
        for a, b, right in zip(inside, outside, kept, strict=True)
    )
    assert replayed(beliefs_of(inside, outside), kept, 3) == pytest.approx(expected, abs=2e-6)


def test_the_first_question_has_the_most_mutual_information():
    """Among three by hand: far apart but certain, near the boundary and apart, near it and alike."""
    inside, outside = [6.0, 0.8, 0.1], [3.0, -0.8, -0.1]

    def entropy(p):
        return -p * log(p) - (1 - p) * log(1 - p)

    def information(a, b):
        a, b = probability(a), probability(b)
        return entropy((a + b) / 2) - (entropy(a) + entropy(b)) / 2

    informations = [information(a, b) for a, b in zip(inside, outside, strict=True)]
    best = int(np.argmax(informations))
    assert best == 1
    kept = [True, False, True]
    expected = log((1 - probability(inside[best])) / (1 - probability(outside[best])))
    assert replayed(beliefs_of(inside, outside), kept, 1) == pytest.approx(expected, abs=2e-6)


def test_where_nothing_tells_the_sample_itself_is_asked_once():
    samples = drawn(Box((12,)), 1)
    plan = Designed(queries=3, candidates=4).prepare(samples, Knowledge(), 0)

    class Seen(HalfSpace):
        def ask(self, inputs, ids):
            self.rows = inputs
            return torch.zeros(len(inputs), dtype=torch.int64)

    seen = Seen(samples.domain, torch.ones(12), 0.0)
    found = plan.believing(beliefs_of([1.0] * 4, [1.0] * 4)).measure(seen)
    assert torch.equal(seen.rows, samples.inputs)
    assert found.queries.tolist() == [1]
    assert found.values.tolist() == [[0.0]]


@pytest.mark.parametrize("kept", list(itertools.product([True, False], repeat=2)))
def test_margins_that_vary_together_count_together(kept):
    """Two candidates with correlation .81: nearly the ratio of both answers' exact probabilities."""
    inside, outside, load = [0.9, 0.9], [-0.3, -0.3], 0.9
    signs = np.array([1 if one else -1 for one in kept])
    covariance = np.array([[1, signs.prod() * load**2], [signs.prod() * load**2, 1]])
    exact = log(
        multivariate_normal(cov=covariance).cdf(signs * np.array(inside))
        / multivariate_normal(cov=covariance).cdf(signs * np.array(outside))
    )
    found = replayed(beliefs_of(inside, outside, shared=[load, load]), list(kept), 2)
    apart = replayed(beliefs_of(inside, outside), list(kept), 2)
    assert found == pytest.approx(exact, abs=0.2)  # Stray labels and the normal approximation.
    assert abs(found - exact) < abs(apart - exact) or kept[0] != kept[1]


def simulated(count, samples=120, width=30, *, seed=0, shift=1.0):
    """References with normal margins: half the models inside each sample, in pairs; and the true means."""
    source = np.random.default_rng(seed)
    centre = source.normal(size=(samples, width))
    apart = shift * source.uniform(0, 1, size=(samples, width))
    first = source.random((count // 2, samples)) < 0.5
    inside = np.stack([first, ~first], 1).reshape(count, samples)
    noise = 0.6 * (0.7 * source.normal(size=(count, samples, 1)) + 0.714 * source.normal(size=(count, samples, width)))
    margins = centre + np.where(inside[..., None], 0.5, -0.5) * apart + noise
    distances = np.linspace(0, 2, width) + np.zeros((samples, 1))
    references = References(
        values=torch.from_numpy(np.concatenate([margins, np.tile(distances, (count, 1, 1))], 2)).float(),
        inside=torch.from_numpy(inside),
        labels=torch.zeros(samples, dtype=torch.int64),
        partner=torch.arange(count) ^ 1,
    )
    return references, torch.from_numpy(centre), torch.from_numpy(apart)


def test_many_references_give_the_truth():
    references, centre, apart = simulated(400, samples=40)
    beliefs = DesignedRatio(reach=5).fit(references, seed=0).beliefs
    four_errors = 4 * 0.6 / 200**0.5
    for mean, truth in ((beliefs.mean_in, centre + apart / 2), (beliefs.mean_out, centre - apart / 2)):
        assert float(((mean - truth).abs() > four_errors).float().mean()) < 0.001
    for deviation in (beliefs.deviation_in, beliefs.deviation_out):
        torch.testing.assert_close(deviation, torch.full_like(deviation, 0.6), atol=0.12, rtol=0)
    loads = beliefs.shared.double()
    together = (loads[:, 3] * loads[:, 20]).sum(1)
    assert float(together.mean()) == pytest.approx(0.49, abs=0.05)


def test_few_references_are_shrunken_nearer_to_the_truth_than_their_own_means():
    references, _, apart = simulated(6, shift=0.3)
    beliefs = DesignedRatio().fit(references, seed=0).beliefs
    weights = references.inside[..., None].double()
    margins = references.values[..., :30].double()
    own = (margins * weights).sum(0) / weights.sum(0) - (margins * (1 - weights)).sum(0) / (1 - weights).sum(0)
    error = (beliefs.mean_in - beliefs.mean_out - apart).square().mean()
    assert float(error) < 0.2 * float((own - apart).square().mean())


@pytest.mark.parametrize("count", [2, 4])
def test_a_pair_or_two_are_enough(count):
    references, _, _ = simulated(count)
    beliefs = DesignedRatio().fit(references, seed=0).beliefs
    for part in (beliefs.mean_in, beliefs.mean_out, beliefs.shared):
        assert bool(part.isfinite().all())
    for part in (beliefs.deviation_in, beliefs.deviation_out):
        assert bool((part > 0).all())
    assert bool((beliefs.shared.square().sum(2) <= 1 + 1e-5).all())


def test_a_neighbour_that_is_the_sample_again_is_not_asked():
    """Its answer is known; asked beside the sample it would count twice."""
    references, _, _ = simulated(12)
    values = references.values.clone()
    values[..., 30 + 5] = 0.0
    beliefs = DesignedRatio().fit(replace(references, values=values), seed=0).beliefs
    assert torch.equal(beliefs.mean_in[:, 5], beliefs.mean_out[:, 5])
    assert torch.equal(beliefs.deviation_in[:, 5], beliefs.deviation_out[:, 5])
    assert not bool(beliefs.shared[:, 5].any())  # Nor do answers about others tell of it.
    assert not torch.equal(beliefs.mean_in[:, 0], beliefs.mean_out[:, 0])


def questions_asked(fitted, references):
    """How many questions each sample would get, of 10, from a model that keeps every label."""
    samples = drawn(Box((12,)), references.inside.shape[1])
    plan = Designed(queries=10, candidates=30).prepare(samples, Knowledge(), 0)

    class Right:
        def ask(self, inputs, ids):
            return samples.labels[torch.searchsorted(samples.ids, ids)]

    return plan.believing(fitted.beliefs).measure(Right()).queries


@pytest.mark.parametrize("far", [False, True])
def test_references_choose_how_far_questions_go(far):
    """Members differ at far neighbours alone; or at the sample alone, and the neighbours mislead.

    They do where every other sample's are far noisier than the rest, which few references cannot know.
    """
    references, _, _ = simulated(12, samples=300, shift=0.0)
    values, source = references.values.clone(), torch.Generator().manual_seed(0)
    sides = torch.where(references.inside, 0.6, -0.6)[..., None]
    if far:
        values[..., 25:30] = sides + 0.5 * torch.randn(12, 300, 5, generator=source)
    else:
        values[..., :1] = sides + torch.randn(12, 300, 1, generator=source)
        values[..., 1:30] = torch.randn(12, 300, 29, generator=source)
        values[:, ::2, 1:30] *= 0.05
    references = replace(references, values=values)
    fitted = DesignedRatio().fit(references, seed=0)
    asked = questions_asked(fitted, references)
    if far:
        assert fitted.settled.reach == 5
        assert float(asked.double().mean()) > 2
    else:
        assert fitted.settled.reach == 0
        assert bool((asked == 1).all())
    again = fitted.settled.fit(references, seed=0)
    assert torch.equal(again.beliefs.mean_in, fitted.beliefs.mean_in)


def test_a_reach_that_is_no_class_of_distance_is_refused():
    with pytest.raises(InvalidInput, match="reach must be a class of distance from 0 to 5, or None, got 6"):
        DesignedRatio(reach=6)


@pytest.mark.parametrize(
    ("references", "rule"),
    [
        (None, "references must be given"),
        (replace(simulated(4)[0], values=simulated(4)[0].values[..., :31]), "references must hold margins and"),
    ],
)
def test_references_without_margins_are_refused(references, rule):
    with pytest.raises(InvalidInput, match=rule):
        DesignedRatio().fit(references, seed=0)


def null_auc(references, model, others):
    plan = Designed(queries=10, candidates=30).prepare(drawn(Box((12,)), 200), Knowledge(), 0)
    scores = plan.replay(DesignedRatio(reach=5).fit(others, seed=0).beliefs, references.values[model])[:, 0]
    return roc.auc(scores.numpy(), references.inside[model].numpy())


def test_margins_that_know_nothing_of_membership_tell_nothing_and_a_design_that_leaks_is_caught():
    """No difference between the sides. A target among its own references tells who is inside all the same."""
    references, _, _ = simulated(8, samples=200, shift=0.0)
    error = (201 / (12 * 100 * 100)) ** 0.5
    honest = [null_auc(references, model, references.without(model)) for model in (0, 2, 4, 6)]
    leaking = [null_auc(references, model, references) for model in (0, 2, 4, 6)]
    assert all(abs(found - 0.5) < 4 * error for found in honest), honest
    assert all(found > 0.5 + 4 * error for found in leaking), leaking


# --- plans ---


@cache
def memories():
    return pool_of_memories(Box((12,)), reach=0.25, attacked=40, more=4, count=6)


def design(queries=6, candidates=40):
    """A plan for the samples of the pool, and what the models 2 to 5 make the attacker expect."""
    pool, signal = memories(), Designed(queries=queries, candidates=candidates)
    samples = pool.game(budget=3).target.samples
    margins = signal.exact.prepare(samples, pool.knowledge, 0)
    values = torch.stack([margins.measure(ChargedScores(model.scores, Account())).values for model in pool.models])
    references = References(
        values=values[2:], inside=pool.inside[2:, :40], labels=samples.labels, partner=torch.tensor([1, 0, 3, 2])
    )
    fitted = DesignedRatio().fit(references, seed=0)
    return signal, samples, values, fitted


def test_a_replay_finds_what_asking_finds_within_the_budget():
    signal, samples, values, fitted = design()
    plan = signal.prepare(samples, memories().knowledge, 0)
    assert isinstance(plan, SequentialPlan)
    account = Account(per_sample=6)
    found = plan.believing(fitted.beliefs).measure(ChargedLabels(memories().models[0].labels, account))
    assert torch.equal(found.values, plan.replay(fitted.beliefs, values[0]))
    assert torch.equal(found.queries, account.spent(samples.ids))
    assert 1 <= int(found.queries.min()) <= int(found.queries.max()) == 6
    assert torch.equal(fitted.score(found.values, samples.labels), found.values[:, 0].double())
    with pytest.raises(InvalidInput, match="values must be log ratios"):
        fitted.score(values[0], samples.labels)


@pytest.mark.parametrize("size", [1, 7])
def test_chunks_of_any_size_find_the_same(size):
    signal, samples, values, fitted = design()
    whole = signal.prepare(samples, memories().knowledge, 0)
    parts = chunks.prepared(signal, samples, memories().knowledge, 0, size=size)
    assert isinstance(parts, SequentialPlan)
    assert torch.equal(parts.replay(fitted.beliefs, values[0]), whole.replay(fitted.beliefs, values[0]))
    labels = memories().models[0].labels
    for one, other in zip(
        parts.believing(fitted.beliefs).measure(labels), whole.believing(fitted.beliefs).measure(labels), strict=True
    ):
        assert torch.equal(one, other)
    margins = chunks.prepared(signal.exact, samples, memories().knowledge, 0, size=size)
    torch.testing.assert_close(margins.measure(memories().models[0].scores).values, values[0])


def test_blocks_change_nothing(monkeypatch):
    signal, samples, values, fitted = design()
    plan = signal.prepare(samples, memories().knowledge, 0)
    whole = plan.replay(fitted.beliefs, values[0])
    monkeypatch.setattr(designed, "BLOCK", 9)
    assert torch.equal(plan.replay(fitted.beliefs, values[0]), whole)


def test_what_varies_together_is_part_of_what_a_measurement_is_kept_under():
    beliefs = beliefs_of([1.0, 0.5], [0.0, 0.0], shared=[0.5, 0.5])
    assert asking._digest(beliefs) != asking._digest(beliefs_of([1.0, 0.5], [0.0, 0.0], shared=[0.5, 0.4]))


def test_a_resumed_run_asks_nothing_again(tmp_path):
    from hardlabel.store import Store

    attack = replace(TABLE["designed"], signals=lambda domain, queries: (Designed(queries=6, candidates=40),))
    first = memories().game(budget=None, store=Store(tmp_path)).play(attack)
    target = oracle(memories().networks[0])
    again = memories().game(budget=None, store=Store(tmp_path), model=target).play(attack)
    assert torch.equal(first.scores, again.scores)
    assert first.threshold == again.threshold
    assert target.labels.seen.total() == 0


def test_beliefs_of_another_kind_are_refused():
    signal, samples, values, fitted = design()
    plan = signal.prepare(samples, memories().knowledge, 0)
    with pytest.raises(InvalidInput, match="beliefs must say how margins vary together, got Slice"):
        plan.believing(chunks.Slice(*[torch.zeros(40, 40)] * 4))
    with pytest.raises(InvalidInput, match=r"beliefs must be \(samples, candidates\) = \(40, 40\), got \(5, 40\)"):
        plan.believing(fitted.beliefs.of(slice(0, 5)))
    with pytest.raises(InvalidInput, match="values must be margins and distances"):
        plan.replay(fitted.beliefs, values[0, :, :40])


# --- the row ---


def test_the_target_is_asked_for_labels_only_and_the_references_for_scores():
    attack, pool = TABLE["designed"], memories()
    target = oracle(pool.networks[0])
    playing = pool.game(budget=None, model=replace(target, scores=None))
    played = playing.play(attack)
    assert int(played.measurement.queries.max()) <= 10
    assert target.labels.seen.total() == int(played.measurement.queries.sum())
    assert played.reference_rows == 4 * 40 * 200


def test_without_confidences_of_its_own_models_it_is_not_played():
    missing = {Need.SHOWING_REFERENCES: "they answer with labels only"}
    assert TABLE["designed"].unplayable(missing=missing) == (
        "it needs reference models that show confidences: they answer with labels only"
    )


def test_references_unlike_the_target_are_played_as_they_are():
    """Standardised labels mean nothing; a budget that would pay for all candidates must not lead there."""
    attack = replace(TABLE["designed"], signals=lambda domain, queries: (Designed(queries=40, candidates=40),))
    alike, unlike = (memories().game(budget=60, alike=alike).play(attack) for alike in (True, False))
    assert torch.equal(alike.scores, unlike.scores)


def test_the_plan_counts_a_row_and_two_values_for_each_candidate():
    seats = Seats(
        domain=Box((12,)), budget=None, attacked=50, targets=1, references=4, rest=0, shadow_samples=0, repeated=False
    )
    counted = questions_of([TABLE["designed"]], seats, chunk=20)
    assert counted.queries == 50 + 50 * 10
    assert counted.rows == 4 * 50 * 200
    assert counted.values == 50 + 2 * 50 + 4 * 50 * 400


def test_repeated_games_of_labels_do_not_look_at_scores():
    pool = memories()
    sides = [pool.side(model, row, pool.knowledge) for row, model in enumerate(pool.models)]
    playing = pool.game(budget=None)
    assert exposed._signals(TABLE["designed"], sides, budget=None, asking=playing.asking) is None

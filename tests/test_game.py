"""The game: attacks learn on the attacker's models, are chosen and judged there, and ask the target once."""

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import pytest
import torch

from games import Memory, oracle, pool_of_memories
from hardlabel.attacks import TABLE, Need
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.game import LOGITS, RANDOM_INPUTS
from hardlabel.calibrations.base import References, held_out_scores
from hardlabel.calibrations.ratio import LikelihoodRatio
from hardlabel.calibrations.rmia import RMIA
from hardlabel.calibrations.shrunken import ShrunkenRatio
from hardlabel.checks import InvalidInput
from hardlabel.data.domain import Box, NoiseLevel
from hardlabel.executors import Local
from hardlabel.metrics import roc
from hardlabel.oracles.budget import Account, ChargedLabels
from hardlabel.runs.progress import SILENT
from hardlabel.signals.noise import Noise
from hardlabel.signals.path import Path
from hardlabel.store import Store
from hardlabel.targets.askable import AskableModel
from hardlabel.targets.registry import askable

DOMAIN, REACH = Box((12,)), 0.25


@cache
def design():
    return pool_of_memories(DOMAIN, reach=REACH, attacked=40, more=20, count=6)


def exact_path_references():
    """What the attacker's models show of the path, measured by hand."""
    pool = design()
    playing = pool.game(budget=3)
    plan = Path(queries=3).exact.prepare(playing.target.samples, pool.knowledge, 0)
    return References(
        values=torch.stack(
            [plan.measure(ChargedLabels(pool.models[row].labels, Account())).values for row in range(2, 6)]
        ),
        inside=pool.inside[2:, :40],
        labels=pool.samples.labels[:40],
        partner=torch.tensor([1, 0, 3, 2]),
        censored=True,
    )


PATH = replace(
    TABLE["path"], signals=lambda domain, queries: (Path(queries=queries),), calibration=ShrunkenRatio(), grows=True
)
OFFLINE = replace(PATH, name="path-offline", calibration=ShrunkenRatio(online=False))


def test_a_sequential_plan_asks_the_target_under_what_the_references_say():
    """The pipeline by hand: exact positions on references, beliefs from them, three most telling questions."""
    pool, references = design(), exact_path_references()
    fitted = ShrunkenRatio().fit(references, seed=0)
    plan = Path(queries=3).prepare(pool.game(budget=3).target.samples, pool.knowledge, 0).believing(fitted.beliefs)
    by_hand = plan.measure(ChargedLabels(pool.models[0].labels, Account()))
    played = pool.game(budget=3, with_pool=False).play(PATH)
    assert torch.equal(played.measurement.values, by_hand.values)
    assert torch.equal(played.measurement.queries, by_hand.queries)
    torch.testing.assert_close(played.scores, fitted.score(by_hand.values, references.labels))
    assert int(played.measurement.queries.max()) <= 3 < int(plan.plan.queries[1])


def test_its_threshold_is_chosen_on_references_asked_as_sparingly_as_the_target():
    """With one question; exact positions, which the references do show, would put it elsewhere."""
    references, pool = exact_path_references(), design()
    fitted = ShrunkenRatio().fit(references, seed=0)
    plan = Path(queries=1).prepare(pool.game(budget=1).target.samples, pool.knowledge, 0)
    scores = []
    for model in range(4):
        rest = references.without(model)
        own = fitted.settled.fit(rest, seed=0)
        scores.append(own.score(plan.replay(own.beliefs, references.values[model]), references.labels))
    replayed, exact = (
        roc.best_threshold(of.flatten().numpy(), references.inside.flatten().numpy())
        for of in (torch.stack(scores), fitted.reference_scores)
    )
    assert replayed != pytest.approx(exact, abs=0.01)
    assert pool.game(budget=1, with_pool=False).play(PATH).threshold == pytest.approx(replayed)


@pytest.mark.parametrize("calibration", [LikelihoodRatio(), LikelihoodRatio(online=False), RMIA(logits=True)], ids=str)
def test_a_threshold_is_the_best_on_references_scored_by_the_others(calibration):
    pool = design()
    played = pool.game(budget=1).play(replace(TABLE["lira"], calibration=calibration))
    samples = pool.samples.take(slice(0, 40))
    references = References(
        values=torch.stack(
            [
                LOGITS.signal.prepare(samples, pool.knowledge, 0).measure(model.scores).values
                for model in pool.models[2:]
            ]
        ),
        inside=pool.inside[2:, :40],
        labels=samples.labels,
        partner=torch.tensor([1, 0, 3, 2]),
    )
    own = held_out_scores(calibration, references, seed=0)
    assert played.threshold == roc.best_threshold(own.flatten().numpy(), references.inside.flatten().numpy())


USEFUL, USELESS = (Noise(level=NoiseLevel(sigma=sigma), draws=5) for sigma in (0.05, 1e3))


@pytest.mark.parametrize("order", [(USEFUL, USELESS), (USELESS, USEFUL)], ids=["useful first", "useful last"])
def test_references_choose_the_candidate_that_tells_their_members_best(order):
    attack = replace(TABLE["noise-ratio"], signals=lambda domain, queries: order)
    target = oracle(design().networks[0])
    played = design().game(budget=6, model=target).play(attack)
    assert played.signal == str(USEFUL)
    assert target.labels.seen.total() == int(played.measurement.queries.sum())  # The other one is not asked.


@pytest.mark.parametrize("screened", [20, 29, 30, 1000])
def test_the_candidate_chosen_on_some_samples_is_then_asked_about_the_others_only(monkeypatch, screened):
    """However many chose, scores and threshold are those of all samples, and every row asked is told once."""
    attack = replace(TABLE["noise"], signals=lambda domain, queries: (USEFUL, USELESS))
    shadow = design().shadow
    cost = {
        one: one.prepare(shadow.samples, shadow.knowledge, 0)
        .measure(ChargedLabels(shadow.model.labels, Account()))
        .queries
        for one in (USEFUL, USELESS)
    }
    whole = design().game(budget=6).play(attack)
    monkeypatch.setattr("hardlabel.audits.game.game.SCREENED", screened)
    played = design().game(budget=6).play(attack)
    assert played.signal == str(USEFUL)
    assert torch.equal(played.scores, whole.scores)
    assert played.threshold == whole.threshold
    assert played.reference_rows == int(cost[USEFUL].sum() + cost[USELESS][:screened].sum())


@dataclass(frozen=True, kw_only=True)
class Together(Noise):
    """Noise that measures all its samples together, and remembers how many they were."""

    whole: ClassVar[bool] = True
    asked: ClassVar[list[int]] = []

    def prepare(self, samples, knowledge, seed):
        self.asked.append(len(samples))
        return super().prepare(samples, knowledge, seed)


@pytest.mark.parametrize(("screened", "asked"), [(20, [20, 20, 30, 40]), (30, [30, 30, 40])])
def test_a_candidate_that_measures_all_samples_together_is_measured_on_all_once_chosen(monkeypatch, screened, asked):
    """Both on some of the shadow's samples, one on all where those were not all, then the target."""
    monkeypatch.setattr("hardlabel.audits.game.game.SCREENED", screened)
    Together.asked.clear()
    candidates = tuple(Together(level=one.level, draws=5) for one in (USEFUL, USELESS))
    design().game(budget=6).play(replace(TABLE["noise"], signals=lambda domain, queries: candidates))
    assert Together.asked == asked


@pytest.mark.parametrize("processes", [1, 2])
def test_candidates_are_measured_side_by_side_and_find_what_they_find_alone(monkeypatch, processes):
    monkeypatch.setattr("hardlabel.executors.WORTH_STARTING", 0.0)
    monkeypatch.setattr("hardlabel.audits.game.game.SCREENED", 10)
    attack = replace(TABLE["noise"], signals=lambda domain, queries: (USELESS, USEFUL))
    shadow = design().shadow
    network = Memory(shadow.samples.take(shadow.inside), reach=REACH)
    shadow = replace(shadow, model=askable(network, torch.device("cpu"), role="own"))
    sent, run = [], Local.run

    def noted(self, work, common, items, **how):
        sent.append(list(items))
        return run(self, work, common, items, **how)

    alone = replace(design().game(budget=6), shadow=shadow).play(attack)
    monkeypatch.setattr(Local, "run", noted)
    asking = Asking(seed=0, watch=SILENT, executor=Local(processes=processes), chunk=5)
    together = replace(design().game(budget=6), shadow=shadow, asking=asking).play(attack)
    assert sent[0] == [(which, 0, part) for which in (0, 1) for part in (0, 1)]
    assert torch.equal(together.scores, alone.scores)
    told = ("signal", "threshold", "reference_rows")
    assert [getattr(together, one) for one in told] == [getattr(alone, one) for one in told]


def test_two_references_are_asked_where_none_is_needed_per_sample():
    """They choose among candidates and set a threshold; all of one attack's cost on own models is told."""
    target = oracle(design().networks[0])
    played = design().game(budget=1, model=target).play(TABLE["oslo"])
    assert played.references == 2
    assert not played.shadow_used
    assert played.threshold is not None
    assert target.labels.seen.total() == 40
    assert played.reference_rows >= 2 * 40 * 8  # Eight strengths on two models, and what crafting took.


# --- references unlike the target ---


class Stretched(Memory):
    """The same labels, surer by a factor and biased toward a class: as a model trained otherwise would be."""

    def forward(self, inputs):
        return 0.3 * super().forward(inputs)


def test_references_unlike_the_target_are_standardized():
    """A target whose logits are all 0.3 times as large gets the scores of the one that is like the references."""
    pool = design()
    stretched = oracle(Stretched(pool.samples.take(pool.inside[0]), reach=REACH))
    games = {
        "plain": pool.game(budget=1),
        "standardized": pool.game(budget=1, alike=False),
        "stretched": pool.game(budget=1, alike=False, model=stretched),
    }
    played = {name: game.play(TABLE["lira"]) for name, game in games.items()}
    assert not played["plain"].calibration.startswith("values standardized")
    assert played["stretched"].calibration.startswith("values standardized per model, then likelihood ratio")
    torch.testing.assert_close(played["standardized"].scores, played["stretched"].scores, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(played["plain"].scores, played["stretched"].scores, atol=0.1)


@pytest.mark.parametrize("budget", [1, 3, 5, 9])
@pytest.mark.parametrize(
    "attack", [PATH, OFFLINE, TABLE["path"], TABLE["path-offline"]], ids=["online", "offline", "table", "table offline"]
)
def test_a_path_keeps_to_its_budget_where_references_are_unlike_the_target(attack, budget):
    """Exact positions, which 5 queries find, are standardized; fewer are asked under beliefs, in the target's units."""
    played = design().game(budget=budget, alike=False).play(attack)
    assert int(played.measurement.queries.max()) <= budget
    if attack in (PATH, OFFLINE):
        assert played.calibration.startswith("values standardized") == (budget >= 5)
    inside = design().inside[0, :40]
    assert roc.auc(played.scores.numpy(), inside.numpy()) > 0.5 + 4 * (41 / (12 * 400)) ** 0.5


@pytest.mark.parametrize(("attack", "exact"), [(OFFLINE, 5), (TABLE["path-offline"], 9)], ids=["mine", "the table's"])
def test_an_offline_path_without_a_pool_to_learn_from_needs_all_its_queries(attack, exact):
    """Nobody knows what to expect of members there, so that nothing tells which questions to leave out."""
    playing = design().game(budget=exact, with_pool=False)
    assert playing.lacks(attack) is None
    assert int(playing.play(attack).measurement.queries.max()) <= exact
    short = design().game(budget=4, with_pool=False)
    assert short.lacks(attack) is not None
    assert short.lacks(PATH) is None
    assert design().game(budget=4).lacks(attack) is None
    with pytest.raises(InvalidInput, match="attack 'path-offline' cannot be played: nobody but the samples asked"):
        short.play(attack)


# --- the pool ---


def test_an_offline_calibration_learns_from_the_rest_of_the_pool_and_scores_the_attacked_only():
    without, with_pool = (design().game(budget=5, with_pool=there).play(OFFLINE) for there in (False, True))
    assert without.scores.shape == with_pool.scores.shape == (40,)
    assert not torch.equal(without.scores, with_pool.scores)
    assert with_pool.reference_rows > without.reference_rows


def test_an_online_calibration_does_not_ask_the_rest_of_the_pool():
    without, with_pool = (design().game(budget=1, with_pool=there).play(TABLE["lira"]) for there in (False, True))
    assert torch.equal(without.scores, with_pool.scores)
    assert with_pool.reference_rows == without.reference_rows == 4 * 40


# --- overhead ---


def test_random_inputs_are_overhead_and_set_the_threshold():
    attack, target = TABLE["boundary-random"], oracle(design().networks[0])
    played = design().game(budget=30, model=target).play(attack)
    assert list(played.overhead) == [RANDOM_INPUTS]
    spent = played.overhead[RANDOM_INPUTS]
    assert 50 + 50 <= spent <= 50 + 50 * 30  # Their labels, and up to the budget on each of 50.
    assert target.labels.seen.total() == spent + int(played.measurement.queries.sum())
    assert played.threshold is not None
    assert (played.references, played.shadow_used) == (0, False)
    assert played.threshold > 0


def test_labelling_a_surrogates_data_is_overhead_of_the_attack_that_needs_it_and_no_others():
    playing = design().game(budget=1)
    assert playing.play(TABLE["gap"]).overhead == {}
    assert list(playing.play(TABLE["transfer"]).overhead) == ["labelling the surrogate's data"]


# --- the store ---

KEPT = ["gap", "noise", "noise-ratio", "path", "path-estimate", "oslo", "yoqo", "transfer", "boundary-random", "rmia"]


def fresh():
    """The same game with oracles that have not been asked yet, nothing remembered in memory."""
    pool = design()
    return replace(pool, models=tuple(oracle(network) for network in pool.networks))


@pytest.mark.parametrize("name", KEPT)
def test_what_the_store_keeps_is_not_asked_again(name, tmp_path):
    played, asked = [], []
    for _ in range(2):
        pool = fresh()
        shadow = replace(pool.shadow, model=oracle(pool.shadow.model.torch_model._model))
        game = replace(pool.game(budget=30, store=Store(tmp_path)), shadow=shadow)
        played.append(game.play(TABLE[name]))
        asked.append(sum(model.labels.seen.total() for model in (*pool.models, shadow.model)))
    labelling = 50 if name == "boundary-random" else 0  # Random inputs are labelled anew; what it costs is told.
    assert asked[0] > labelling == asked[1]
    one, two = played
    assert torch.equal(one.scores, two.scores)
    assert torch.equal(one.measurement.queries, two.measurement.queries)
    assert (one.threshold, one.overhead, one.signal) == (two.threshold, two.overhead, two.signal)


@pytest.mark.parametrize("change", ["seed", "budget", "references", "weights"])
def test_the_target_is_asked_again_where_anything_differs(change, tmp_path):
    design().game(budget=3, store=Store(tmp_path)).play(PATH)
    settings = {"budget": 3, "store": Store(tmp_path)}
    pool = fresh()
    target = pool.models[0]
    if change == "seed":
        settings["seed"] = 1
    elif change == "budget":
        settings["budget"] = 2
    elif change == "references":  # They believe something else, so that other questions are asked.
        pool = replace(pool, models=tuple(pool.models[row] for row in (0, 1, 4, 5, 2, 3)))
    else:
        target = settings["model"] = oracle(Stretched(pool.samples.take(pool.inside[0]), reach=REACH))
    pool.game(**settings).play(PATH)
    assert target.labels.seen.total() >= 40


def test_models_without_an_identity_are_asked_each_time(tmp_path):
    pool = design()
    total = 0
    for _ in range(2):
        nameless = replace(oracle(pool.networks[0]), weights=None)
        pool.game(budget=1, model=nameless, store=Store(tmp_path)).play(TABLE["gap"])
        total += nameless.labels.seen.total()
    assert total == 80


# --- what is missing ---


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.calibration.per_sample])
def test_an_attack_without_the_references_it_needs_is_refused(name):
    playing = replace(design().game(budget=9), references=None)
    with pytest.raises(InvalidInput, match=f"attack '{name}' needs {Need.REFERENCES}, there are none"):
        playing.play(TABLE[name])


@pytest.mark.parametrize("name", ["sampling", "shadow-network"])
def test_an_attack_without_the_shadow_model_it_needs_is_refused(name):
    playing = replace(design().game(budget=9), shadow=None)
    with pytest.raises(InvalidInput, match=f"attack '{name}' needs a shadow model, there is none"):
        playing.play(TABLE[name])


@pytest.mark.parametrize("name", ["noise", "loss", "oslo", "yoqo", "boundary", "transfer"])
def test_an_attack_that_only_lacks_a_threshold_is_played_without(name):
    playing = replace(design().game(budget=30), shadow=None, references=None)
    played = playing.play(TABLE[name])
    assert played.scores.shape == (40,)
    assert played.threshold == (0.5 if name == "yoqo" else None)
    assert (played.references, played.shadow_used) == (0, False)


def test_scores_of_own_models_are_asked_only_by_an_attack_that_uses_them():
    """References that answer with labels serve the path, and not the estimate of confidences."""
    pool = fresh()
    silent = tuple(AskableModel(labels=model.labels, scores=None, weights=model.weights) for model in pool.models)
    pool = replace(pool, models=silent)
    assert pool.game(budget=9).play(TABLE["path"]).references == 4
    with pytest.raises(InvalidInput, match="it needs reference models that show confidences: they answer"):
        pool.game(budget=9).play(TABLE["path-estimate"])

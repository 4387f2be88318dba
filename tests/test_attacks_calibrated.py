"""Attacks that learn from reference models: what they gain in a game of known truth, and that the design leaks nothing.

The models remember what they are trained on and know nothing else of labels, which are coins (games.Memory).
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import pytest
import torch

from games import POPULATION, pool_of_memories
from hardlabel.attacks import TABLE, Need
from hardlabel.calibrations.threshold import FittedThreshold
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.metrics import roc

IMAGES, VECTORS, BITS = Box((1, 8, 8)), Box((12,)), BinaryFeatures(30)
REACH = {IMAGES: 0.8, VECTORS: 0.25, BITS: 0.9}  # A third of the distance to the nearest other point.
NAMES = {IMAGES: "image", VECTORS: "continuous", BITS: "binary"}
CALIBRATED = [
    name
    for name, row in TABLE.items()
    if (row.calibration.per_sample or row.crafted) and Need.SURROGATE not in row.uses
]


@cache
def pool(domain, attacked=80, count=6):
    return pool_of_memories(domain, reach=REACH[domain], attacked=attacked, more=40, count=count)


def auc(scores, inside):
    return roc.auc(scores.numpy(), inside.numpy())


def null_error(inside):
    """Standard error of an AUC under the null (Mann-Whitney)."""
    members, others = int(inside.sum()), int((~inside).sum())
    return ((members + others + 1) / (12 * members * others)) ** 0.5


def linear_part_right(pool):
    """Who of the samples asked about gets the right label from a model that remembers nobody."""
    samples, network = pool._asked, pool.networks[0]
    margin = samples.inputs.flatten(1) @ network.w + network.b
    return (margin > 0) == (samples.labels == 1)


# --- what they gain ---


@pytest.mark.parametrize("domain", NAMES, ids=NAMES.get)
def test_one_label_tells_all_of_a_member_that_other_models_get_wrong(domain):
    """A sample the linear part gets wrong is right on models that remember it, and on no other.

    On the rest labels tell nothing, whoever remembers them. With shares p and q of members and non-members that are
    told, the AUC is p + (1 - p)(1 + q) / 2: told members beat all, the others beat told non-members and tie the rest.
    """
    playing = pool(domain).game(budget=1)
    inside, told = playing.target.inside, ~linear_part_right(pool(domain))
    p, q = float(told[inside].float().mean()), float(told[~inside].float().mean())
    found = auc(playing.play(TABLE["gap-ratio"]).scores, inside)
    # Neighbours of a few samples spill over their reach; each moves the AUC by less than one of 40.
    assert found == pytest.approx(p + (1 - p) * (1 + q) / 2, abs=2 / 40)


@pytest.mark.parametrize("domain", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("name", CALIBRATED)
def test_members_score_higher_and_more_so_than_by_the_gap(name, domain):
    attack, playing = TABLE[name], pool(domain).game(budget=None)
    inside = playing.target.inside
    played = playing.play(attack)
    found, gap = auc(played.scores, inside), auc(playing.play(TABLE["gap"]).scores, inside)
    assert found > 0.5 + 4 * null_error(inside)
    # The least of what models without a sample tell is lost again where nobody knows what those with it would say.
    assert found > gap or name == "dhattack"
    assert played.references == (2 if name == "oslo" else 4)  # Fitted on, or crafted on.
    assert not played.shadow_used


@pytest.mark.parametrize("domain", NAMES, ids=NAMES.get)
def test_a_surrogate_knows_what_the_target_answers_elsewhere_and_nothing_of_members(domain):
    playing = pool(domain).game(budget=None)
    played, right = playing.play(TABLE["transfer"]), linear_part_right(pool(domain))
    assert auc(played.scores, right) > 0.5 + 4 * null_error(right)
    assert int(played.measurement.queries.sum()) == 0
    assert played.overhead == {"labelling the surrogate's data": POPULATION}


# --- what the design gives away: nothing ---

TARGETS = (0, 2, 4, 6)
NULL = {"attacked": 120, "count": 8}


@pytest.mark.parametrize("domain", [VECTORS, BITS], ids=NAMES.get)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name == "oslo" else ()) for name in [*CALIBRATED, "transfer"]]
)
def test_answers_of_a_model_that_saw_none_of_the_pool_tell_nothing_of_any_row_of_the_design(name, domain):
    """Membership as the design has it, one target of each pair: over both of a pair it would be .5 by symmetry."""
    for target in TARGETS:
        playing = pool(domain, **NULL).game(target, budget=None, null=True)
        inside = playing.target.inside
        assert abs(auc(playing.play(TABLE[name]).scores, inside) - 0.5) < 4 * null_error(inside), target


@pytest.mark.parametrize("name", ["lira", "path", "noise-ratio", "rmia"])
def test_nor_do_they_once_standardized(name):
    for target in TARGETS:
        playing = pool(VECTORS, **NULL).game(target, budget=None, null=True, alike=False)
        inside = playing.target.inside
        assert abs(auc(playing.play(TABLE[name]).scores, inside) - 0.5) < 4 * null_error(inside), target


@dataclass(frozen=True, kw_only=True)
class AboveAll:
    """A faulty calibration: how far a value lies above the mean of all references, whoever they were trained on."""

    per_sample: ClassVar[bool] = True
    requires_references: ClassVar[bool] = True

    def fit(self, references, *, seed):
        mean = references.values.double().mean(0)[:, 0]

        class Fitted(FittedThreshold):
            def score(self, values, labels):
                return values[:, 0].double() - mean

        return Fitted(None, None)


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_test_catches_a_partner_that_stays(target):
    """With the partner, a non-member of the target has one model more that remembers it: the mean tells.

    The very same calibration passes where the partner has left: then every sample has as many of either kind.
    """
    attack = replace(TABLE["lira"], calibration=AboveAll())
    told = {}
    for left_out in (True, False):
        playing = pool(VECTORS, **NULL).game(target, budget=None, null=True, left_out=left_out)
        inside = playing.target.inside
        told[left_out] = auc(playing.play(attack).scores, inside)
    assert abs(told[True] - 0.5) < 4 * null_error(inside)
    assert told[False] > 0.5 + 6 * null_error(inside)


def test_the_same_test_catches_references_that_the_target_is_among():
    """Queries crafted with a model are answered by that model as it was crafted for: crafters must not be asked."""
    design = pool(VECTORS, **NULL)
    attack = TABLE["yoqo"]
    for target in TARGETS:
        playing = design.game(target, budget=1, model=design.models[target ^ 2])
        inside = design.inside[target ^ 2, :120]
        # Asked of one of the references it was crafted on, in whose training it knows who took part.
        assert auc(playing.play(attack).scores, inside) > 0.5 + 6 * null_error(inside)


def test_what_is_played_is_the_model_and_not_the_row_of_the_design():
    """Another reference's answers under the target's membership: its own members are found, not the target's."""
    design = pool(VECTORS, **NULL)
    playing = design.game(0, budget=None, model=design.models[5])
    scores = playing.play(TABLE["lira"]).scores
    mine, other = playing.target.inside, design.inside[5, :120]
    assert auc(scores, other) > 0.95
    assert abs(auc(scores, mine) - 0.5) < 4 * null_error(mine) + abs(float((mine == other).double().mean()) - 0.5)


def test_scores_do_not_change_where_the_targets_members_do():
    """Nothing in a game reads them: with all roles exchanged the same scores come out."""
    design = pool(VECTORS, **NULL)
    for name in CALIBRATED:
        scores = []
        for flip in (False, True):
            playing = design.game(0, budget=None)
            side = replace(playing.target, inside=playing.target.inside ^ flip)
            scores.append(replace(playing, target=side).play(TABLE[name]).scores)
        assert torch.equal(*scores), name

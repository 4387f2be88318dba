"""The ladder names an attack that can be run, whatever the budget, the domain and what the attacker lacks."""

import inspect
import itertools

import pytest

from hardlabel.attacks import TABLE, LabelAttack, Need, Rung, ladder
from hardlabel.checks import InvalidInput
from hardlabel.data.columns import Numeric
from hardlabel.data.domain import BinaryFeatures, Box
from hardlabel.data.table import MixedTable

DOMAINS = [
    Box((1, 8, 8)),
    Box((12,)),
    BinaryFeatures(20),
    BinaryFeatures(2),  # With a single level of noise.
    MixedTable(columns=(Numeric(name="age", mean=40.0, scale=10.0, lower=0, upper=90, integer=True),)),
]
BUDGETS = [*range(1, 12), 29, 30, 51, 124, 125, 2499, 2500, 10**6]
EVERYTHING_MISSING = [
    dict.fromkeys(lacked, "nobody gave it")
    for count in range(len(Need) + 1)
    for lacked in itertools.combinations(Need, count)
]
NOTHING = {}
NO_TRAINER = dict.fromkeys((Need.REFERENCES, Need.GRADIENTS), "no trainer")
NO_DATA = dict.fromkeys((Need.CRAFTERS, Need.SURROGATE, Need.SHADOW), "no population")
UNLIKE = {Need.ALIKE: "the target's training is not known"}


@pytest.mark.parametrize("domain", DOMAINS, ids=lambda domain: f"{domain.kind} {domain.shape}")
def test_the_attack_named_can_be_run_for_every_budget_and_lack(domain):
    for budget, missing in itertools.product(BUDGETS, EVERYTHING_MISSING):
        rung = ladder.best(domain, budget, missing)
        row = TABLE[rung.attack]
        assert isinstance(row, LabelAttack)
        assert row.unsuited(domain) is None
        assert row.unplayable(missing=missing) is None
        assert row.fewest <= rung.queries <= budget
        assert rung.queries == row.allowed(budget)
        assert row.signals(domain, rung.queries), "a rung must have a candidate within its queries"


@pytest.mark.parametrize(
    ("domain", "budget", "missing", "attack"),
    [
        (DOMAINS[0], 1, NOTHING, "path"),
        (DOMAINS[0], 8, NOTHING, "path"),
        (DOMAINS[0], 9, NOTHING, "path"),
        (DOMAINS[2], 2500, NOTHING, "path"),
        (DOMAINS[4], 1, NOTHING, "designed"),
        (DOMAINS[4], 10, NOTHING, "designed"),
        (DOMAINS[4], 50, NOTHING, "designed"),
        (DOMAINS[4], 50, {Need.REFERENCE_SCORES: "labels only"}, "noise-ratio"),
        (DOMAINS[4], 9, {Need.REFERENCE_SCORES: "labels only"}, "gap-ratio"),
        (DOMAINS[0], 50, {Need.REFERENCE_SCORES: "labels only"}, "path"),
        (DOMAINS[0], 2500, NO_TRAINER, "boundary"),
        (DOMAINS[0], 2499, NO_TRAINER, "augmentation"),
        (DOMAINS[0], 8, NO_TRAINER, "noise"),
        (DOMAINS[1], 9, NO_TRAINER, "noise"),
        (DOMAINS[2], 2500, NO_TRAINER, "noise"),
        (DOMAINS[0], 1, NO_TRAINER, "gap"),
        (DOMAINS[0], 10, NO_TRAINER | NO_DATA, "noise"),
        (DOMAINS[4], 1, NO_DATA, "gap-ratio"),
        (DOMAINS[0], 9, NO_DATA, "gap-ratio"),
        (DOMAINS[0], 2500, NO_DATA, "noise-ratio"),
        (DOMAINS[0], 10, UNLIKE, "path"),
        (DOMAINS[0], 1, UNLIKE, "path"),
        (DOMAINS[0], 4, UNLIKE | NO_DATA, "gap-ratio"),
        (DOMAINS[0], 5, UNLIKE | NO_DATA, "noise-ratio"),
        (DOMAINS[0], 10, UNLIKE | NO_DATA, "noise-ratio"),
        (DOMAINS[4], 10, UNLIKE, "noise-ratio"),
        (DOMAINS[4], 9, UNLIKE, "gap-ratio"),
        (DOMAINS[1], 50, UNLIKE, "noise-ratio"),
        (DOMAINS[0], 2500, UNLIKE | NO_TRAINER, "boundary"),
    ],
    ids=str,
)
def test_the_order_is_the_one_that_was_measured(domain, budget, missing, attack):
    assert ladder.best(domain, budget, missing).attack == attack


def test_more_queries_never_name_a_weaker_attack():
    order = ["designed", "path", "noise-ratio", "gap-ratio", "boundary", "augmentation", "noise", "gap"]
    for domain, missing in itertools.product(DOMAINS, (NOTHING, NO_TRAINER, NO_DATA, NO_TRAINER | NO_DATA, UNLIKE)):
        places = [order.index(ladder.best(domain, budget, missing).attack) for budget in BUDGETS]
        assert places == sorted(places, reverse=True)


def test_it_says_what_would_be_stronger_and_what_that_lacks():
    assert "would be stronger" not in ladder.best(DOMAINS[0], 10, NOTHING).why
    told = ladder.best(DOMAINS[0], 10, {Need.CRAFTERS: "there is no population"}).why
    assert "path would be stronger but it needs crafter networks: there is no population" in told


def test_the_choice_cannot_depend_on_the_model_under_audit():
    """What it is handed says nothing of the target's answers or members, and it is the same each time."""
    assert list(inspect.signature(ladder.best).parameters) == ["domain", "budget", "missing"]
    one, two = (ladder.best(DOMAINS[0], 9, dict(NO_DATA)) for _ in range(2))
    assert isinstance(one, Rung)
    assert one == two


@pytest.mark.parametrize("budget", [0, -3])
def test_a_budget_below_one_query_is_refused(budget):
    with pytest.raises(InvalidInput, match=f"budget must be at least 1, got {budget}"):
        ladder.best(DOMAINS[0], budget, NOTHING)

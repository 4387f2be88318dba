"""Whole audits on games whose outcome is known: nothing to find, everything to find, and bad input."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import hardlabel
from games import Constant
from hardlabel import Attacker, Focus, randomness
from hardlabel.attacks import TABLE, LabelAttack
from hardlabel.audits.cases.from_arrays import case_of
from hardlabel.audits.cases.pairs import read_pairs
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.game.check_rows import ROWS
from hardlabel.calibrations.network import AttackNetwork
from hardlabel.checks import InvalidInput
from hardlabel.data import sources
from hardlabel.data.augment import flips
from hardlabel.data.split import content, equal_sizes, split
from hardlabel.metrics import roc
from hardlabel.models.train import Recipe, train
from hardlabel.signals.augmentation import Augmentation
from hardlabel.targets.registry import askable
from hardlabel.targets.torch import TorchModel

EACH = 150  # Samples per group.
SPARING = 125  # Queries per sample and attack: few, so that a whole audit takes seconds.
# They suit discrete data; those whose networks take minutes to fit are left to the tests of attacks.
FOR_ALL_DATA = ["gap", "noise", "gap-ratio", "noise-ratio", "path", "path-estimate", "loss", "shadow-network", "lira"]
ALL = {"attacks": ["all"], "attacker": Attacker(references=4)}
RECIPE = Recipe(architecture="fc", max_epochs=60)
MEMORISED = Recipe(architecture="fc", max_epochs=300, learning_rate=0.01, stop_at_accuracy=1.0)


@pytest.fixture(scope="module")
def digits():
    return split(sources.load("digits").samples, equal_sizes(1797, EACH), seed=0)


def trainer(inputs, labels, *, seed):
    """A shadow model trained as the targets here are."""
    domain = hardlabel.Box((1, 8, 8))
    samples = hardlabel.Samples(ids=torch.arange(len(inputs)), inputs=inputs, labels=labels, domain=domain)
    return train(RECIPE, samples, classes=10, seed=seed).model


def pair(samples):
    return samples.inputs, samples.labels


def audited(target, members, nonmembers, population, **settings):
    chosen = {"population": pair(population), "trainer": trainer, "budget": SPARING, "device": "cpu"} | settings
    return hardlabel.audit(target, pair(members), pair(nonmembers), **chosen)


def four_null_errors(members, nonmembers):
    """Four standard errors of an AUC under the null: Var = (m + n + 1) / (12 m n) (Mann-Whitney)."""
    return 4 * math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers))


@pytest.mark.long
def test_membership_redrawn_after_training_is_not_found(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    everyone = torch.cat([digits.members.inputs, digits.nonmembers.inputs])
    labels = torch.cat([digits.members.labels, digits.nonmembers.labels])
    order = torch.randperm(2 * EACH, generator=randomness.generator(0, "redrawn"))
    coin = order[:EACH], order[EACH:]
    record = hardlabel.audit(
        model,
        (everyone[coin[0]], labels[coin[0]]),
        (everyone[coin[1]], labels[coin[1]]),
        population=pair(digits.population),
        trainer=trainer,
        budget=SPARING,
        device="cpu",
        **ALL,
    )
    assert [attack.name for attack in record.results.attacks] == list(TABLE)
    for attack in record.results.attacks:
        assert abs(attack.auc.value - 0.5) < four_null_errors(EACH, EACH), attack.name


@pytest.mark.long
def test_answers_of_a_model_trained_on_other_data_tell_nothing(digits):
    model = train(RECIPE, digits.shadow_members, classes=10, seed=1).model
    record = audited(model, digits.members, digits.nonmembers, digits.population, **ALL)
    assert [attack.name for attack in record.results.attacks] == list(TABLE)
    for attack in record.results.attacks:
        assert abs(attack.auc.value - 0.5) < four_null_errors(EACH, EACH), attack.name
    assert not record.results.blind.differs


TABLE_OF_THREE = hardlabel.MixedTable(
    columns=(
        hardlabel.Numeric(name="income", mean=0.0, scale=1.0, lower=-5.0, upper=5.0),
        hardlabel.Numeric(name="age", mean=40.0, scale=10.0, lower=0.0, upper=80.0, integer=True),
        hardlabel.Categorical(name="job", categories=tuple("abcdefgh")),
    )
)


@pytest.mark.parametrize(
    "domain",
    [pytest.param(hardlabel.BinaryFeatures(40), marks=pytest.mark.long), TABLE_OF_THREE],
    ids=lambda domain: domain.kind,
)
def test_discrete_data_leak_only_from_the_model_that_saw_them(domain, tmp_path):
    """Labels are coins, so that a network can only memorise: its members are found, another network's are not."""
    rng = randomness.generator(0, "coins")
    inputs = torch.unique(domain.random(1000, rng), dim=0)
    inputs = inputs[torch.randperm(len(inputs), generator=rng)][:800]
    labels = torch.randint(0, 2, (800,), generator=rng)
    groups = [(inputs[i : i + 100], labels[i : i + 100]) for i in (0, 100, 200)]

    def memorise(inputs, labels, *, seed):
        samples = hardlabel.Samples(ids=torch.arange(len(inputs)), inputs=inputs, labels=labels, domain=domain)
        return train(MEMORISED, samples, classes=2, seed=seed).model

    found, null = (
        hardlabel.audit(
            memorise(*group, seed=0),
            *groups[:2],
            population=(inputs[300:], labels[300:]),
            trainer=memorise,
            domain=domain,
            budget=30,
            device="cpu",
            name="memorise",  # Both audits have the same reference models, which are trained once.
            store=hardlabel.Store(tmp_path),
            attacks=FOR_ALL_DATA,
            attacker=Attacker(references=4),
        ).results.attacks
        for group in (groups[0], groups[2])
    )
    assert [attack.name for attack in found] == FOR_ALL_DATA
    for attack in null:
        assert abs(attack.auc.value - 0.5) < four_null_errors(100, 100), attack.name
    for attack in found:
        # The gap attack's AUC on coins is 3/4; four standard errors of it from 100 + 100 are below .12.
        assert attack.auc.value > 0.75 - 0.12, attack.name


class Planted(nn.Module):
    """Answers the true label within a small distance of a member, and a class that nobody has everywhere else."""

    def __init__(self, members, radius):
        super().__init__()
        self.inputs, self.labels, self.radius = members.inputs.flatten(1), members.labels, radius

    def forward(self, inputs):
        near, who = torch.cdist(inputs.flatten(1), self.inputs).min(1)
        known = near <= self.radius
        answers = nn.functional.one_hot(torch.where(known, self.labels[who], 10), 11).float()
        # Less sure of what it does not know; differentiable, with no slope, for attacks that craft on such models.
        return answers * torch.where(known, 8.0, 4.0)[:, None] + 0.0 * inputs.flatten(1).sum(1, keepdim=True)


@pytest.mark.long
def test_a_planted_leak_is_found_whole_by_every_attack(digits):
    """The target is right on members and wrong elsewhere; so is the shadow model on its own members."""

    def plant(inputs, labels, *, seed):
        domain = hardlabel.Box((1, 8, 8))
        samples = hardlabel.Samples(ids=torch.arange(len(inputs)), inputs=inputs, labels=labels, domain=domain)
        return Planted(samples, radius=0.4)

    record = audited(
        Planted(digits.members, radius=0.4),
        digits.members,
        digits.nonmembers,
        digits.population,
        trainer=plant,
        **ALL,
    )
    assert [attack.name for attack in record.results.attacks] == list(TABLE)
    for attack in record.results.attacks:
        assert attack.auc.value == 1.0 or attack.name == "transfer", attack.name  # A surrogate hears of no member.


@pytest.mark.long
def test_no_attack_is_given_a_look_at_the_targets_membership(digits):
    """Members and non-members exchanged: the same scores come out, sample by sample, for every attack."""
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    kwargs = {"attacks": ["gap", "noise", "augmentation", "boundary", "loss", "shadow-network"], "budget": 60}
    kwargs["focus"] = hardlabel.Focus(show_records=True)
    one = audited(model, digits.members, digits.nonmembers, digits.population, **kwargs)
    two = audited(model, digits.nonmembers, digits.members, digits.population, **kwargs)
    moved = two.scores.assign(member=~two.scores["member"])
    key = ["attack", "member", "row"]
    first = one.scores.sort_values(key).reset_index(drop=True)
    second = moved.sort_values(key).reset_index(drop=True)
    assert (first["member"] == second["member"]).all()
    # Rounding by batch may move a few samples of a real network; a leak would move all of them.
    same = np.isclose(first["score"], second["score"], rtol=1e-4, atol=1e-6)
    assert same.mean() > 0.97
    for a, b in zip(one.results.attacks, two.results.attacks, strict=True):
        assert a.auc.value == pytest.approx(1 - b.auc.value, abs=0.005)


def test_the_same_seed_gives_the_same_record_and_another_seed_another(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    kwargs = {"attacks": ["noise"], "budget": 60}
    one, two = (audited(model, digits.members, digits.nonmembers, digits.population, **kwargs) for _ in range(2))
    assert one.scores.equals(two.scores)
    other = audited(model, digits.members, digits.nonmembers, digits.population, seed=1, **kwargs)
    assert not one.scores["score"].equals(other.scores["score"])


def test_without_a_shadow_model_there_are_scores_but_no_thresholds(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    record = hardlabel.audit(model, pair(digits.members), pair(digits.nonmembers), budget=60, device="cpu")
    assert {out.name for out in record.results.left_out} >= {"augmentation", "shadow-network"}
    assert record.results.shadow is None
    assert record.attack("gap").balanced_accuracy.value is not None
    assert record.attack("noise").balanced_accuracy.value is None
    assert record.attack("noise").auc.value is not None
    assert any("without trainer and population" in note for note in record.results.notes)


def test_a_label_oracle_is_audited_without_the_score_attacks(digits):
    record = hardlabel.audit(
        Constant(3), pair(digits.members), pair(digits.nonmembers), budget=60, device="cpu", attacks=["all"]
    )
    left_out = {out.name: out.reason for out in record.results.left_out}
    assert left_out["loss"] == "the target answers with labels only"
    assert all(attack.access == "label" for attack in record.results.attacks)
    assert record.attack("boundary").incomplete == int((digits.members.labels == 3).sum()) + int(
        (digits.nonmembers.labels == 3).sum()
    )


def test_the_target_may_label_the_shadow_data(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    record = audited(
        model,
        digits.members,
        digits.nonmembers,
        digits.population,
        attacker=Attacker(shadow_labels="target"),
        attacks=["gap", "noise"],
    )
    shadow = record.results.shadow
    assert shadow.labels == "target"
    assert record.attack("noise").overhead == {"labelling the shadow data": shadow.train_size + shadow.nonmembers}


@pytest.mark.parametrize("seen", [Attacker(labels="target"), Attacker(wrong_labels=0.5)], ids=["answers", "wrong"])
def test_the_blind_baseline_looks_at_the_true_labels_whatever_the_attacker_has(digits, seen):
    """The target's answers say who was trained on, and wrong ones are nobody's: the groups themselves must not."""
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    groups = pair(digits.members), pair(digits.nonmembers)
    plain, other = (
        hardlabel.audit(model, *groups, attacks=["gap"], device="cpu", attacker=attacker)
        for attacker in (Attacker(), seen)
    )
    assert other.results.blind == plain.results.blind


def test_groups_of_unequal_size_are_handled_and_said(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    record = audited(model, digits.members, digits.nonmembers.take(slice(0, 40)), digits.population, attacks=["gap"])
    assert (record.results.members, record.results.nonmembers) == (EACH, 40)
    assert any("differ in size" in note for note in record.results.notes)


def test_population_that_repeats_itself_or_others_is_set_aside(digits):
    """Every population sample twice and seven members: no shadow non-member is a copy of a shadow member."""
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    population = (
        torch.cat([digits.population.inputs, digits.population.inputs, digits.members.inputs[:7]]),
        torch.cat([digits.population.labels, digits.population.labels, digits.members.labels[:7]]),
    )
    case = case_of(
        askable(model, torch.device("cpu"), role="target"),
        "net",
        read_pairs(
            {"members": pair(digits.members), "nonmembers": pair(digits.nonmembers), "population": population}, None
        ),
        terms=Terms(attacker=Attacker(references=4)),
        trainer=trainer,
        train_size=None,
        samples=None,
        device=torch.device("cpu"),
        store=None,
    )
    groups = [case.members, case.nonmembers, case.shadow.members, case.shadow.nonmembers, case.population]
    contents = [set(content(group.inputs)) for group in groups]
    assert sum(map(len, contents)) == len(set.union(*contents)) == sum(map(len, groups))
    told = " ".join(case.notes)
    assert f"within population were dropped, so that each input counts once: {len(digits.population)} of" in told
    assert "Inputs of population that are members or non-members were dropped: 7 (rows" in told


def test_at_most_so_many_samples_are_attacked_and_rows_say_which(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    shown = hardlabel.Focus(show_records=True)
    groups = digits.members, digits.nonmembers, digits.population
    record = audited(model, *groups, attacks=["loss"], samples=40, focus=shown)
    assert (record.results.members, record.results.nonmembers) == (40, 40)
    for inside, group in ((True, digits.members), (False, digits.nonmembers)):
        mine = record.scores[record.scores["member"] == inside]
        assert mine["row"].is_unique
        assert mine["label"].tolist() == group.labels[torch.tensor(mine["row"].tolist())].tolist()


def test_ids_say_nothing_about_membership(digits):
    """Ids are a random order: the AUC of membership by id is .5 within four standard errors."""
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    frame = audited(model, digits.members, digits.nonmembers, digits.population, attacks=["gap"]).scores
    value = roc.auc(frame["id"].to_numpy(dtype=float), frame["member"].to_numpy())
    assert abs(value - 0.5) < four_null_errors(EACH, EACH)


def test_an_attack_of_ones_own_runs_beside_the_tables(digits):
    """Any signal and calibration that fit the protocols make an attack."""
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    mine = LabelAttack(
        name="two-mirrors",
        summary="two bits",
        signals=lambda domain, queries: (Augmentation(name="mirror", moves=flips()),),
        calibration=AttackNetwork(),
        needs="a shadow model",
        source="this test",
        fewest=2,
        usual=2,
        data="images",
    )
    record = audited(model, digits.members, digits.nonmembers, digits.population, attacks=["gap", mine])
    assert [attack.name for attack in record.results.attacks] == ["gap", "two-mirrors"]


def test_a_named_attack_that_cannot_be_run_is_refused_and_not_dropped(digits):
    with pytest.raises(InvalidInput, match="attack 'loss' cannot be run: the target answers with labels only"):
        audited(Constant(3), digits.members, digits.nonmembers, digits.population, attacks=["loss"])
    with pytest.raises(InvalidInput, match="attack 'augmentation' cannot be run: it needs a shadow model"):
        hardlabel.audit(Constant(3), pair(digits.members), pair(digits.nonmembers), attacks=["augmentation"])


class Interrupted:
    """Dies once, after so many questions; a server that comes back later."""

    def __init__(self, model, after):
        self.model, self.left, self.asked = TorchModel(model, device="cpu", batch_size=64), after, 0

    def ask(self, inputs, ids):
        self.left -= len(inputs)
        if self.left < 0:
            self.left = 10**9
            raise ConnectionError("the server is gone")
        self.asked += len(inputs)
        return self.model.ask(inputs, ids)


def test_answers_paid_for_survive_a_dead_server(digits, tmp_path):
    """With a store and a name, the second run asks only for what the first had not finished."""
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    oracle = Interrupted(model, after=2 * EACH * 20)
    settings = {"attacks": ["gap", "noise"], "budget": 31, "store": hardlabel.Store(tmp_path), "name": "mine"}
    with pytest.raises(ConnectionError):
        audited(oracle, digits.members, digits.nonmembers, digits.population, **settings)
    oracle.asked = 0
    record = audited(oracle, digits.members, digits.nonmembers, digits.population, **settings)
    # The gap attack's answers, which also tell the accuracy, are kept; its entry is as if it had been asked now.
    # Check rows are asked as soon as the server is back, and whenever the rows sent have doubled.
    assert oracle.asked == int(record.scores.query("attack == 'noise'")["queries"].sum()) + 3 * ROWS
    assert record.attack("gap").queries_per_sample.mean == 1


def test_a_store_tells_models_apart(digits, tmp_path):
    """Two networks by their weights, two endpoints by their names; an endpoint without a name is refused."""
    models = [train(RECIPE, digits.members, classes=10, seed=seed).model for seed in (1, 2)]
    settings = {"attacks": ["noise"], "budget": 31, "store": hardlabel.Store(tmp_path)}
    groups = digits.members, digits.nonmembers, digits.population
    seen = [audited(model, *groups, **settings).scores for model in models]
    assert not seen[0]["score"].equals(seen[1]["score"])
    endpoints = [TorchModel(model, device="cpu", batch_size=64) for model in models]
    named = [audited(one, *groups, **settings, name=name).scores for one, name in zip(endpoints, "ab", strict=True)]
    assert not named[0]["score"].equals(named[1]["score"])
    with pytest.raises(InvalidInput, match="name must name the model, since a store keeps its answers"):
        audited(endpoints[0], *groups, **settings)
    with pytest.raises(InvalidInput, match="name must name the model"):
        audited(Planted(digits.members, radius=0.4), *groups, **settings)  # Its state is no registered tensor.


@pytest.mark.long
def test_networks_may_be_one_per_class(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    record = audited(
        model,
        digits.members,
        digits.nonmembers,
        digits.population,
        attacks=["shadow-network"],
        attacker=Attacker(networks="class"),
    )
    assert record.attack("shadow-network").calibration == "attack network, one per class"


class Watched(nn.Module):
    """Fails if it is asked: bad input must be refused first."""

    def forward(self, inputs):
        raise AssertionError("the target was asked")


def no_trainer(inputs, labels, *, seed):
    raise AssertionError("a shadow model was trained")


X, Y = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 10
Z = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
W = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"members": (X[:0], Y[:0])}, "members must hold at least one sample"),
        ({"members": (X, Y[:-1])}, "members must hold one label per input, got 20 inputs, 19 labels"),
        ({"members": (X, Y + 0.5)}, "labels of members must name classes, got the number 0.5"),
        ({"members": X[0]}, "members must be a pair"),
        ({"members": (X, [None, *Y.tolist()[1:]])}, "labels of members must not be missing, got None in row 0"),
        ({"members": (X[:, :, :4], Y)}, "inputs must agree in shape"),
        ({"members": (X[:, :, :4], Y), "domain": hardlabel.Box((1, 8, 8))}, "members must have shape"),
        ({"members": (X / 0, Y)}, "NaN or infinity"),
        ({"members": (torch.where(X > 0.999, torch.nan, X.clamp_min(0.9995)), Y)}, "NaN or infinity"),
        ({"members": (X * 2, Y), "domain": hardlabel.Box((1, 8, 8))}, r"members must lie in \[0, 1\]"),
        (
            {"nonmembers": (X, Y)},
            r"must not share inputs, got 20 in both, 20 of 20 members \(members rows 0, 1, 2, 3, 4 and",
        ),
        ({"nonmembers": (torch.cat([Z, X[4:7]]), torch.cat([Y, Y[:3]]))}, r"got 3 in both, 3 of 20 members \(members"),
        ({"attacks": ["nois"]}, "attack 'nois' is unknown: did you mean 'noise'"),
        ({"attacks": []}, "attacks must name at least one attack"),
        ({"attacks": ["boundary"], "budget": 2}, "budget must be at least .* for attack 'boundary', got 2"),
        ({"budget": 0}, "budget must be at least 1, got 0"),
        ({"attacker": {"networks": "many"}}, "networks must be 'all' or 'class', got 'many'"),
        ({"focus": {"prior": 0.0}}, "prior must be above 0, got 0.0"),
        (
            {"attacker": {"shadow_labels": "guessed"}},
            "shadow_labels must be 'true' or 'target', got 'guessed'",
        ),
        ({"train_size": 19}, "train_size must be at least 20, got 19"),
        ({"train_size": 10_000}, "population must hold at least 10020 usable samples"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"budget": 5.5}, "budget must be a whole number, got 5.5"),
        ({"attacks": "noise"}, "attacks must be a list of names, got the string 'noise'"),
        ({"domain": "image"}, "domain must be a domain such as hardlabel.Box, got 'image'"),
        ({"trainer": lambda inputs, labels: None}, "trainer must take"),
        (
            {"target": "model.pt"},
            r"target must be a model, got .*: known are an oracle with ask\(inputs, ids\), .* scikit-learn",
        ),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_bad_input_is_refused_before_any_training_or_query(settings, rule):
    given = {
        "target": Watched(),
        "members": (X, Y),
        "nonmembers": (Z, Y),
        "population": (W, W[:, 0, 0, 0].long()),
    } | settings
    target, members, nonmembers = given.pop("target"), given.pop("members"), given.pop("nonmembers")
    attacker, focus = given.pop("attacker", {}), given.pop("focus", {})
    with pytest.raises(InvalidInput, match=rule) as raised:
        hardlabel.audit(
            target,
            members,
            nonmembers,
            attacker=Attacker(**attacker),
            focus=Focus(**focus),
            **({"trainer": no_trainer} | given),
        )
    assert "\n" not in str(raised.value)


def test_a_label_outside_the_classes_is_refused(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    with pytest.raises(InvalidInput, match="labels must be below the target's 10 classes, got 12"):
        hardlabel.audit(model, (X, Y + 3), (Z, Y), trainer=no_trainer, device="cpu")


def test_arrays_are_as_good_as_tensors(digits):
    model = train(RECIPE, digits.members, classes=10, seed=1).model
    handed = []

    def numpy_trainer(inputs, labels, *, seed):
        handed.append(type(inputs))
        return trainer(torch.from_numpy(inputs), torch.from_numpy(labels), seed=seed)

    tensors = audited(model, digits.members, digits.nonmembers, digits.population, attacks=["loss"])
    arrays = hardlabel.audit(
        model,
        tuple(part.numpy() for part in pair(digits.members)),
        tuple(part.numpy() for part in pair(digits.nonmembers)),
        population=tuple(part.numpy() for part in pair(digits.population)),
        trainer=numpy_trainer,
        attacks=["loss"],
        device="cpu",
    )
    assert handed == [np.ndarray]
    assert arrays.scores.equals(tensors.scores)

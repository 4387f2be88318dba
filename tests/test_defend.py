"""The comparison of defenses: paired figures, adaptive attackers, front, recommendation, command line."""

import html
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

import hardlabel
from hardlabel import Attacker, DefendRecord
from hardlabel.audits.defenses import DefensesAudit
from hardlabel.audits.findings import defended as playing
from hardlabel.checks import InvalidInput
from hardlabel.cli.app import main
from hardlabel.defenses import dp_sgd
from hardlabel.defenses.table import TABLE
from hardlabel.kinds import markdown, render
from hardlabel.metrics.crossed_rates import accuracy, accuracy_difference
from hardlabel.metrics.estimate import Estimate
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.records.defenses import DefenseResult, PlayedAttack
from hardlabel.records.effects import Effect, effect, effects, why_unknown
from hardlabel.records.model import Queries
from hardlabel.records.recommendation import picked, recommendation, with_front
from hardlabel.records.verdict import Grade
from hardlabel.reports.comparison import verdict
from hardlabel.reports.defend import defenses_markdown
from hardlabel.runs.folder import SUMS
from hardlabel.store import Store
from records import make_defend_record

SMALL = {"train_size": 100, "repeats": 2, "attacker": Attacker(references=4), "samples": 60, "device": "cpu", "seed": 1}
RECIPE = Recipe(architecture="fc", max_epochs=30, learning_rate=5e-3)
NAMES = ["l2", "top-k", "memguard", "label-only", "ldl", "dp-sgd"]
LEVELS = {"l2": [0.05], "top-k": [1], "memguard": [1.0], "ldl": [0.05], "dp-sgd": [1.0]}


def digits(count=800):
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[:count, None] / 16).astype(np.float32), data.target[:count]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def record(store):
    attacks = ["gap", "path", "lira"]
    return hardlabel.defend(digits(), RECIPE, defenses=NAMES, levels=LEVELS, attacks=attacks, store=store, **SMALL)


def test_every_defense_is_played_by_attackers_who_know_of_it_and_by_such_as_do_not(record):
    titles = {one.name: [attack.title for attack in one.attacks] for one in record.results.defenses}
    assert titles["none"] == ["gap", "path", "lira"]
    both = [name + rest for name in ("gap", "path", "lira") for rest in ("", " (not adaptive)")]
    assert titles["l2 0.05"] == titles["dp-sgd 1"] == both
    assert titles["ldl 0.05"] == both[:4]
    assert titles["memguard 1"] == titles["top-k 1"] == ["gap", "path", *both[4:]]
    assert titles["label-only"] == ["gap", "path"]


def test_masks_leave_labels_and_all_that_rests_on_them(record):
    plain = record.defense("none")
    for name in ("top-k 1", "memguard 1", "label-only"):
        one = record.defense(name)
        assert one.keeps_labels
        assert one.test_accuracy == plain.test_accuracy
        assert (one.accuracy_change.value, one.accuracy_change.low, one.accuracy_change.high) == (0.0, 0.0, 0.0)
        assert one.attack("path") == plain.attack("path")
    gap = plain.attack("gap")
    assert gap.auc.value == pytest.approx((1 + plain.train_accuracy - plain.test_accuracy.value) / 2, abs=1e-9)


def test_only_private_training_has_a_guarantee_and_it_says_what_it_changed(record):
    private = record.defense("dp-sgd 1")
    assert 0.8 < private.privacy.epsilon <= 1
    assert any("Poisson" in one for one in private.changes)
    assert all(one.privacy is None for one in record.results.defenses if one.defense != "dp-sgd")
    assert 0 <= private.privacy.proved < private.privacy.epsilon
    # The guarantee holds for every attack: TPR <= e^epsilon FPR + delta bounds any AUC by this.
    bound = 1 - 0.5 * math.exp(-private.privacy.epsilon)
    assert all(attack.auc.low <= bound for attack in private.attacks)


def test_the_table_the_front_and_the_words_come_from_the_same_figures(record, tmp_path):
    table = record.table().set_index("name")
    for name, row in table.iterrows():
        one = record.defense(name)
        assert row["auc"] == max(attack.auc.value for attack in one.attacks)
        dominated = (
            (table["test_accuracy"] >= row["test_accuracy"])
            & (table["auc"] <= row["auc"])
            & ((table["test_accuracy"] != row["test_accuracy"]) | (table["auc"] != row["auc"]))
        )
        assert row["front"] == (not dominated.any())
    told = markdown(record)
    assert all(one.name in told for one in record.results.defenses)
    assert all(line in told for line in record.results.recommendation)
    kept = DefendRecord.load(record.save(tmp_path / "run").folder)
    assert kept.results == record.results
    assert kept.config == record.config
    (tmp_path / "run" / SUMS).unlink()
    (tmp_path / "run" / "defend.json").write_text('{"format": 2}')
    with pytest.raises(InvalidInput, match="data: Field required"):
        DefendRecord.load(tmp_path / "run")


def test_a_second_run_trains_nothing_and_finds_the_same(record, store, monkeypatch):
    def never(*_, **__):
        raise AssertionError("a model was trained again")

    monkeypatch.setattr("hardlabel.models.model_store.train", never)
    again = hardlabel.defend(
        digits(),
        RECIPE,
        defenses=["l2", "memguard", "dp-sgd"],
        levels={name: LEVELS[name] for name in ("l2", "memguard", "dp-sgd")},
        attacks=["gap", "path", "lira"],
        store=store,
        **SMALL,
    )
    for name in ("none", "l2 0.05", "memguard 1", "dp-sgd 1"):
        assert again.defense(name).attacks == record.defense(name).attacks


def test_what_attacks_learned_once_serves_every_target_it_can_and_nothing_kept_is_needed(record, store, monkeypatch):
    monkeypatch.setattr(playing, "played_or_kept", lambda game, attack: replace(game, learned=None).play(attack))
    again = hardlabel.defend(
        digits(),
        RECIPE,
        defenses=["l2", "top-k"],
        levels={name: LEVELS[name] for name in ("l2", "top-k")},
        attacks=["gap", "path", "lira"],
        store=store,
        **SMALL,
    )
    for name in ("none", "l2 0.05", "top-k 1"):
        assert again.defense(name).attacks == record.defense(name).attacks
        for attack in again.defense(name).attacks:
            assert (again.scores_of(name, attack.title) == record.scores_of(name, attack.title)).all()
    assert again.inside.mean() == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / again.inside.size))


def test_a_classifier_can_only_be_guarded():
    model = LogisticRegression(C=10.0, tol=0.01, max_iter=500)
    with pytest.raises(InvalidInput, match="defense 'l2' changes the training: trainer must be"):
        hardlabel.defend(digits(), model, defenses=["l2"], **SMALL)
    record = hardlabel.defend(
        digits(), model, defenses=["rounding"], levels={"rounding": [1]}, attacks=["gap", "lira"], **SMALL
    )
    assert [one.name for one in record.results.defenses] == ["none", "rounding 1"]
    assert record.defense("rounding 1").accuracy_change.value == 0


# --- refusals come before any training ---


@pytest.fixture
def untrained(monkeypatch, tmp_path):
    def never(*_, **__):
        raise AssertionError("something was trained")

    monkeypatch.setattr(RecipeTrainer, "fit", never)
    monkeypatch.setattr(playing, "paired", never)
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--defenses", "l3"], "defense 'l3' is unknown: did you mean 'l2'?"),
        (["--defenses", "l2", "--levels", "l2=-1"], "level of defense 'l2': decay must be positive, got -1.0"),
        (["--defenses", "l2", "--levels", "l2=a"], "levels must be NAME=LEVEL,LEVEL with numbers"),
        (["--defenses", "dp-sgd", "--levels", "dp-sgd=0"], "level of defense 'dp-sgd': epsilon must lie in"),
        (["--defenses", "dropout", "--arch", "logistic"], "needs a network with a hidden layer, got 'logistic'"),
        (["--defenses", "memguard", "--train-size", "449"], "needs at least 20 samples beyond those of targets"),
        (["--defenses", "l2", "--repeats", "1"], "repeats must be at least"),
        (["--defenses", "l2", "--attacks", "lria"], "attack 'lria' is unknown"),
        (
            ["--defenses", "l2,label-only", "--attacks", "lira"],
            "attacks must hold one that needs no confidences for defense 'label-only', got ['lira']",
        ),
        (
            ["--defenses", "ldl", "--attacks", "lira,yoqo"],
            "attacks must hold one that needs no confidences or gradients for defense 'ldl', got ['lira', 'yoqo']",
        ),
        (
            ["--defenses", "rounding", "--attacks", "yoqo"],
            "attacks must hold one that needs no gradients for defense 'rounding', got ['yoqo']",
        ),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(options, told, untrained, monkeypatch, capsys):
    out = untrained / "run"
    monkeypatch.setattr(sys, "argv", ["hardlabel", "defend", "--quiet", "--out", str(out), *options])
    with pytest.raises(SystemExit) as stop:
        main()
    error = capsys.readouterr().err.strip()
    assert stop.value.code == 2
    assert told in error
    assert "\n" not in error
    assert not out.exists()


def test_a_defense_nobody_named_is_left_out_where_no_attack_can_be_played_on_it(untrained, store, monkeypatch):
    seen = []

    def stop(self, asking, started):
        seen.append(self.compared)
        raise KeyboardInterrupt

    monkeypatch.setattr(DefensesAudit, "play", stop)
    with pytest.raises(KeyboardInterrupt):
        hardlabel.defend(digits(), RECIPE, attacks=["lira"], store=store, **SMALL)
    [asked] = seen
    compared = {strength.row.name for strength, _ in asked.strengths}
    hidden = {row.name for row in TABLE.values() if not row.shows_scores}
    reasons = {one.name.split()[0]: one.reason for one in asked.left_out}
    assert hidden == {"label-only", "ldl", "double-dip", "randomized-response"}
    assert hidden <= set(reasons)
    assert compared == set(TABLE) - set(reasons)
    assert reasons["ldl"] == "attacks must hold one that needs no confidences for defense 'ldl', got ['lira']"


def test_without_opacus_exit_code_2_says_what_to_install(untrained, monkeypatch, capsys):
    monkeypatch.setattr(dp_sgd, "find_spec", lambda name: None)
    monkeypatch.setattr(
        sys, "argv", ["hardlabel", "defend", "--quiet", "--out", str(untrained / "run"), "--defenses", "dp-sgd"]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "pip install 'hardlabel[dp]'" in capsys.readouterr().err


def test_the_command_writes_a_run_folder_and_show_reads_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    options = ["--train-size", "60", "--samples", "40", "--references", "2", "--repeats", "2", "--max-epochs", "5"]
    options += ["--defenses", "label-only,l2", "--levels", "l2=0.01", "--attacks", "gap", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["hardlabel", "defend", "--quiet", *options, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "| l2 0.01 |" in printed
    assert "l2 0.01" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["hardlabel", "show", str(tmp_path / "run")])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out == printed


def test_the_list_names_every_defense(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hardlabel", "defend", "--list"])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in TABLE)


# --- the recommendation's rule ---


def estimate(value, reach=0.01):
    return Estimate(value, value - reach, value + reach)


def result(name, test, auc, *, change=None, cost=0.0, level=1.0):
    attack = PlayedAttack(
        name="path",
        access="label",
        adaptive=True,
        auc=estimate(auc),
        tpr=Estimate.undefined("few"),
        change=estimate(0.0 if change is None else change),
        queries=Queries(mean=1, max=1),
    )
    return DefenseResult(
        defense=name,
        level=None if name == "none" else level,
        knob="",
        source="",
        cost="",
        description="",
        changes=[],
        privacy=None,
        keeps_labels=False,
        train_accuracy=1.0,
        test_accuracy=estimate(test),
        accuracy_change=estimate(cost),
        training_seconds=1.0,
        answer_seconds=1.0,
        attacks=[attack],
        strongest="path",
        strongest_at_low_fpr=None,
    )


PLAIN = result("none", 0.8, 0.9)
FREE = result("l2", 0.8, 0.7, change=-0.2)
STRONG = result("dp-sgd", 0.5, 0.55, change=-0.35, cost=-0.3)
UNSURE = result("mixup", 0.8, 0.89, change=-0.005)


def compared(*defenses, classes=10, targets=2):
    return make_defend_record().results.model_copy(
        update={"defenses": list(defenses), "classes": classes, "targets": targets, "references": 6}
    )


def changed(low, high):
    """A defense whose only attack's AUC changed by the interval [low, high]."""
    defense = result("mixup", 0.8, 0.9 + (low + high) / 2)
    attack = defense.attacks[0].model_copy(update={"change": Estimate((low + high) / 2, low, high)})
    return defense.model_copy(update={"attacks": [attack]})


def advice(*defenses, **settings):
    return " ".join(recommendation(compared(*defenses, **settings)))


def test_the_recommendation_takes_the_best_that_costs_nothing_and_names_the_strongest():
    told = advice(PLAIN, FREE, STRONG, UNSURE)
    assert "Take l2 1:" in told
    assert "The strongest protection is dp-sgd 1" in told
    assert "-30.0 points" in told
    assert "these do not help by 0.02 or more: mixup 1." in told
    assert "No defense that helps is sure to cost less than 2 points" in advice(PLAIN, STRONG)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.2, -0.1, Effect.HELPS),
        (-0.06, -0.001, Effect.HELPS),
        (-0.065, 0.012, Effect.FEW),  # What two models per defense measured, told before as "no defense helps".
        (-0.06, 0.0, Effect.FEW),  # An interval that ends at 0 does not exclude 0.
        (-0.02, 0.1, Effect.FEW),  # A fall of exactly .02 is allowed.
        (-0.019, 0.01, Effect.NOT),
        (-0.015, -0.005, Effect.NOT),  # A fall, surely smaller than .02.
        (0.01, 0.05, Effect.NOT),
        (None, None, Effect.FEW),
    ],
)
def test_what_an_interval_says_of_a_defense(low, high, expected):
    defense = changed(low or 0.0, high or 0.0)
    if low is None:
        attack = defense.attacks[0].model_copy(update={"change": Estimate.undefined("no interval")})
        defense = defense.model_copy(update={"attacks": [attack]})
    assert effect(defense, PLAIN) is expected
    assert effects(compared(PLAIN, defense)) == {"mixup 1": expected}


def test_a_defense_is_as_good_as_the_attack_that_it_weakens_least():
    """The strongest attack on the defense and the strongest undefended, adaptive or not, all count; others do not."""
    fallen, risen = changed(-0.2, -0.1).attacks[0], changed(-0.01, 0.01).attacks[0]
    other = risen.model_copy(update={"name": "gap"})
    aside = risen.model_copy(update={"adaptive": False, "auc": estimate(0.5)})
    defense = changed(-0.2, -0.1)
    assert effect(defense.model_copy(update={"attacks": [fallen, other]}), PLAIN) is Effect.HELPS
    assert effect(defense.model_copy(update={"attacks": [fallen, aside]}), PLAIN) is Effect.NOT


@pytest.mark.parametrize(
    ("low", "high", "title", "severity", "told"),
    [
        (
            -0.065,
            0.012,
            "Too few models to tell",
            Grade.NOT_TESTED,
            "Too few models to tell (the intervals allow",
        ),
        (-0.06, -0.01, "Too few models to tell", Grade.NOT_TESTED, "These help, perhaps by less than 0.02: mixup 1."),
        (-0.01, 0.01, "No defense helps by 0.02 or more", Grade.CLEAR, "95 % intervals exclude it"),
        (-0.2, -0.1, "mixup 1 helps and costs no measurable accuracy", Grade.NONE, "Take mixup 1"),
    ],
)
def test_absence_of_evidence_is_not_told_as_a_finding(low, high, title, severity, told):
    results = compared(PLAIN, changed(low, high))
    record = replace(make_defend_record(), results=results)
    colour, words = verdict(results)
    assert words.startswith(title)
    assert colour == severity
    assert told in " ".join(recommendation(results))
    for shown in (str(record), defenses_markdown(record), html.unescape(render(record))):
        assert str(effects(results)["mixup 1"]) in shown
        assert all(sentence in shown for sentence in recommendation(results))
    for shown in (defenses_markdown(record), render(record)):
        assert words in shown
    # Only where more models could tell more are they asked for.
    asked = "2 models of each defense were attacked. More models tell more: raise --repeats (at most --references + 2"
    assert (asked in " ".join(recommendation(results))) == (severity is Grade.NOT_TESTED)


def test_a_record_of_before_is_told_by_todays_rule():
    results = compared(PLAIN, changed(-0.065, 0.012)).model_copy(
        update={"classes": None, "recommendation": ["no defense lowers the AUC"]}
    )
    record = replace(make_defend_record(), results=results)
    for shown in (str(record), defenses_markdown(record), render(record)):
        assert "no defense lowers the AUC" not in shown
        assert "Too few models to tell" in shown


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"train_accuracy": 0.1}, "right on 10.0 % of their own training samples, no more often than guessing"),
        ({"attacks": [result("none", 0.8, 0.505).attacks[0]]}, "show no measurable leakage"),
    ],
)
def test_without_models_that_work_and_leak_no_defense_is_judged(change, why):
    plain = PLAIN.model_copy(update=change)
    results = compared(plain, FREE, UNSURE)
    assert set(effects(results).values()) == {Effect.UNKNOWN}
    assert picked(results) == (None, None)
    assert verdict(results) == (Grade.NO_VERDICT, "This comparison cannot say whether a defense helps")
    told = " ".join(recommendation(results))
    assert why in told
    assert "Take" not in told
    assert "Too few models" not in told
    assert str(Effect.UNKNOWN) in defenses_markdown(replace(make_defend_record(), results=results))


@pytest.mark.parametrize(("right", "unknown"), [(0.1, True), (0.15, True), (0.16, False), (1.0, False)])
def test_guessing_is_told_from_skill_by_the_error_of_the_share(right, unknown):
    """2 models with 60 members each: .1 + 1.96 * sqrt(.1 * .9 / 120) = .1537 is what guessing may reach."""
    plain = PLAIN.model_copy(update={"train_accuracy": right})
    results = compared(plain, FREE)
    assert results.targets * results.samples / 2 == 120
    assert (why_unknown(results) is not None) == unknown
    assert why_unknown(compared(plain, FREE, classes=None)) is None


def test_the_front_holds_what_nothing_beats_in_both():
    worse = result("l1", 0.7, 0.75, change=-0.15)
    front = {one.defense: one.front for one in with_front([PLAIN, FREE, STRONG, UNSURE, worse])}
    assert front == {"none": False, "l2": True, "dp-sgd": True, "mixup": False, "l1": False}


# --- accuracy over targets and samples ---


def test_accuracy_is_the_mean_over_targets_of_the_share_on_their_nonmembers():
    rng = np.random.default_rng(0)
    right, inside = rng.random((4, 60)) < 0.7, rng.random((4, 60)) < 0.5
    expected = np.mean([row[~mine].mean() for row, mine in zip(right, inside, strict=True)])
    found = accuracy(right, inside)
    assert found.value == pytest.approx(expected)
    assert 0 <= found.low < expected < found.high <= 1
    same = accuracy_difference(right, right, inside)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_intervals_of_accuracies_and_of_differences_cover():
    """Targets and samples have effects of their own; 400 games with 8 targets, their split drawn anew each time."""
    rng, covered = np.random.default_rng(1), np.zeros(2)
    games, targets, samples = 400, 8, 150
    for _ in range(games):
        easy, skill, gain = (
            rng.normal(0, 1, samples),
            rng.normal(0, 0.2, (targets, 1)),
            rng.normal(0, 0.1, (targets, 1)),
        )
        noise = rng.normal(0, 1, (2, targets, samples))
        first, second = easy + skill + noise[0] > 0, easy + skill + gain + noise[1] > 0
        inside = rng.random((targets, samples)) < 0.5
        for place, (found, true) in enumerate(
            ((accuracy(first, inside), 0.5), (accuracy_difference(second, first, inside), 0.0))
        ):
            covered[place] += found.low <= true <= found.high
    # At least 95 % less four standard errors; conservative is allowed.
    assert covered.min() / games > 0.95 - 4 * math.sqrt(0.95 * 0.05 / games)
    assert torch.is_grad_enabled()

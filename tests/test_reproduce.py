"""The paper, reproduced: intervals and verdicts are right, parts are resumed, pages say what the summaries hold."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commands import called
from hardlabel.checks import InvalidInput
from hardlabel.data import augment
from hardlabel.defenses.composed import strengths_named
from hardlabel.reproduction import pages
from hardlabel.reproduction.attacks import WHITE_BOX, attack_named
from hardlabel.reproduction.declared import TEST_ACCURACY, Claim, Experiment, Figure, parts_of
from hardlabel.reproduction.experiments import NAMES, experiments_at
from hardlabel.reproduction.intervals import accuracy, difference, over_targets
from hardlabel.reproduction.play import sizes_of
from hardlabel.reproduction.scales import SCALES
from hardlabel.reproduction.summary import (
    AttackSummary,
    PartSummary,
    PlaySummary,
    declared,
    kept,
    packed,
    save,
    summaries_of,
    unpacked,
)
from hardlabel.reproduction.verdicts import Outcome, figure_of, judged

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "studies" / "reproduction"
DOCS, README = ROOT / "docs" / "reproduction.md", ROOT / "README.md"


def share(right, size):
    """`size` samples of which the first `right` are called correctly."""
    return np.arange(size) < right


# Intervals.


def test_an_accuracy_is_the_mean_of_both_groups_shares():
    assert accuracy([share(90, 100), share(30, 50)]).value == pytest.approx((0.9 + 0.6) / 2)


def test_a_paired_difference_counts_only_who_is_called_differently():
    first, second = share(90, 100), np.roll(share(90, 100), 5)  # 5 gains, 5 losses.
    found = difference([first], [second])
    assert found.value == 0
    assert found.variance == pytest.approx((5.5 + 5.5) / 101 / 100)
    assert difference([share(90, 100)], [share(80, 100)]).value == pytest.approx(0.1)


def test_groups_of_other_lengths_are_refused():
    with pytest.raises(InvalidInput, match="same samples"):
        difference([share(3, 10)], [share(3, 9)])
    with pytest.raises(InvalidInput, match="at least one"):
        accuracy([share(0, 0)])


@pytest.mark.parametrize(("spread", "least"), [(0.0, 0.93), (0.1, 0.90)])
def test_intervals_over_three_targets_cover(spread, least):
    rng = np.random.default_rng(0)
    hits, rounds, size = 0, 1000, 200
    for _ in range(rounds):
        chances = np.clip(0.7 + spread * rng.normal(size=3), 0, 1)
        calls = [[rng.random(size) < chance, rng.random(size) < chance] for chance in chances]
        estimate = over_targets([accuracy(groups) for groups in calls])
        hits += estimate.low <= 0.7 <= estimate.high
    assert hits / rounds > least


def test_a_single_target_has_the_interval_of_its_samples():
    figure = accuracy([share(50, 100), share(50, 100)])
    estimate = over_targets([figure])
    assert estimate.high - estimate.value == pytest.approx(1.96 * figure.variance**0.5, rel=1e-3)


# Summaries and verdicts.


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_marks_survive_packing(marks):
    marks = np.array(marks)
    assert (unpacked(packed(marks), len(marks)) == marks).all()


def summary(*, cell="cell", target=0, content="same", size=200, calls=None, right=(150, 60), fingerprint=""):
    """A part in which each attack calls the first so many members and the first so many non-members members."""
    members = np.arange(2 * size) < size

    def marks(pair):
        return packed(np.concatenate([share(pair[0], size), share(pair[1], size)]))

    attacks = {
        name: AttackSummary(signal=name, queries=1.0, called=marks(pair), auc=0.5, seconds=0.0)
        for name, pair in (calls or {}).items()
    }
    play = PlaySummary(samples=2 * size, content=content, members=packed(members), right=marks(right), attacks=attacks)
    return PartSummary(
        experiment="table1",
        cell=cell,
        target=target,
        declared=fingerprint,
        description="fc",
        train_accuracy=0.9,
        test_accuracy=0.5,
        shadow_train_accuracy=None,
        shadow_test_accuracy=None,
        train_size=100,
        shadow_size=100,
        plays=[play],
        notes=[],
        seconds=1.0,
        device="cpu",
        machine="a machine",
        versions={"python": "3"},
    )


def claim(rule="at least", margin=0.0, right=0.5, left="gap"):
    other = right if isinstance(right, float) else Figure("cell", right)
    return Claim(number="C1", text="it holds", left=Figure("cell", left), right=other, rule=rule, margin=margin)


@pytest.mark.parametrize(
    ("rule", "margin", "called", "outcome"),
    [
        ("at least", 0.0, (180, 20), Outcome.HOLDS),  # .9
        ("at least", 0.0, (20, 180), Outcome.FAILS),  # .1
        ("at least", 0.0, (101, 100), Outcome.UNRESOLVED),
        ("at least", 0.2, (90, 100), Outcome.HOLDS),
        ("at most", 0.05, (180, 20), Outcome.FAILS),
        ("at most", 0.05, (20, 180), Outcome.HOLDS),
        ("about", 0.1, (100, 100), Outcome.HOLDS),
        ("about", 0.1, (180, 20), Outcome.FAILS),
        ("about", 0.1, (20, 180), Outcome.FAILS),
        ("about", 0.01, (100, 100), Outcome.UNRESOLVED),
    ],
)
def test_a_verdict_follows_from_the_interval(rule, margin, called, outcome):
    parts = {"cell": [summary(target=target, calls={"gap": called}) for target in range(3)]}
    verdict = judged(claim(rule, margin), parts)
    assert verdict.outcome is outcome
    assert bool(verdict.resolve) == (outcome is Outcome.UNRESOLVED)
    assert verdict.targets == 3


def test_an_unresolved_claim_says_how_many_targets_would_do():
    parts = {"cell": [summary(calls={"gap": (105, 95)}, target=target) for target in range(3)]}
    verdict = judged(claim(), parts)
    [number] = re.findall(r"about (\d+) targets", verdict.resolve)
    half = (verdict.difference.high - verdict.difference.low) / 2
    assert int(number) == np.ceil(3 * (half / verdict.difference.value) ** 2)


def test_attacks_on_the_same_samples_are_paired_and_others_are_not():
    calls = {"gap": (150, 50), "boundary": (152, 50)}
    same = {"cell": [summary(calls=calls)], "other": [summary(cell="other", calls=calls)]}
    across = replace(claim(left="boundary"), right=Figure("other", "gap"))
    paired = judged(across, same)
    apart = judged(across, {**same, "other": [summary(cell="other", calls=calls, content="others")]})
    assert paired.paired
    assert not apart.paired
    assert paired.difference.value == pytest.approx(0.005)
    assert apart.difference.value == pytest.approx(0.005)
    assert paired.difference.high < apart.difference.high / 3
    assert judged(claim(left="boundary", right="gap"), same).difference == paired.difference


def test_accuracy_and_precision_are_figures_too():
    parts = {"cell": [summary(calls={"gap": (150, 50), "nobody": (0, 0)})]}
    assert figure_of(Figure("cell", TEST_ACCURACY), parts)[0].value == pytest.approx(60 / 200)
    assert figure_of(Figure("cell", "precision of gap"), parts)[0].value == pytest.approx(0.75)
    assert figure_of(Figure("cell", "precision of nobody"), parts)[1] == 0


def test_what_was_not_run_has_no_verdict():
    assert judged(claim(), {}).outcome is Outcome.NOT_RUN
    assert judged(claim(left="boundary"), {"cell": [summary(calls={"gap": (1, 1)})]}).outcome is Outcome.NOT_RUN


def test_a_summary_of_another_declaration_counts_as_not_run(tmp_path):
    [part, *_] = parts_of(experiments_at("smoke", ["table1"]))
    save(summary(cell=part.cell.name, fingerprint=declared(part)), tmp_path / part.file)
    assert kept(part, tmp_path) is not None
    changed = replace(part, cell=replace(part.cell, settings={**part.cell.settings, "max_epochs": 99}))
    assert kept(changed, tmp_path) is None
    renamed = replace(part, cell=replace(part.cell, row="another row", published={"gap": 1.0}))
    assert kept(renamed, tmp_path) is not None


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text.replace('"samples": 400', '"samples": 4000')]
)
def test_a_damaged_summary_is_refused_in_one_line(tmp_path, damage):
    [part, *_] = parts_of(experiments_at("smoke", ["table1"]))
    save(summary(cell=part.cell.name, fingerprint=declared(part)), tmp_path / part.file)
    file = tmp_path / part.file
    file.write_text(damage(file.read_text()))
    with pytest.raises(InvalidInput, match=r"summary table1/mnist-0\.json"):
        kept(part, tmp_path)


# Declarations.


@pytest.mark.parametrize("scale", SCALES)
def test_every_claim_is_about_figures_that_its_experiment_has(scale):
    for experiment in experiments_at(scale):
        shown = {
            cell.name: {attack + play.suffix for play in cell.plays for attack in play.attacks}
            for cell in experiment.cells
        }
        for each in experiment.claims:
            for figure in [each.left, *([] if isinstance(each.right, float) else [each.right])]:
                name = figure.name.removeprefix("precision of ")
                assert name == TEST_ACCURACY or name in shown[figure.cell], (experiment.name, figure)
        for cell in experiment.cells:
            assert set(cell.published) <= shown[cell.name] | {TEST_ACCURACY}, cell.name


@pytest.mark.parametrize("scale", SCALES)
def test_every_attack_and_setting_exists_and_names_are_distinct(scale):
    parts = parts_of(experiments_at(scale))
    assert len({part.file for part in parts}) == len(parts)
    for part in parts:
        assert part.cell.of_target(part.target).seed == part.target
        for play in part.cell.plays:
            for name in play.attacks:
                assert name == WHITE_BOX or attack_named(name).name == name
        if part.cell.defense:
            strengths_named(part.cell.defense)


def test_attacks_take_the_number_of_queries_in_their_names():
    assert attack_named("noise@10000").allowed(None) == 10000
    assert attack_named("rotate=7").allowed(None) == 3
    assert attack_named("shift=3").allowed(None) == 4 * 3 + 1
    copies = attack_named("pipeline=1000").signals(None, 1000)[0].moves
    assert len(set(copies)) == 1000
    assert copies[0] == augment.STILL
    assert {type(move) for move in copies[1:]} == {augment.Move, augment.Cutout}
    assert copies == attack_named("pipeline=1000").signals(None, 1000)[0].moves
    for name in ("noise@0", "noise@x", "shift=", "turn=3", "nothing"):
        with pytest.raises(InvalidInput):
            attack_named(name)


def test_groups_never_overlap():
    assert vars(sizes_of(5010, 1600)) == {
        "members": 1600, "nonmembers": 905, "shadow_members": 1600, "shadow_nonmembers": 905
    }  # fmt: skip
    assert sizes_of(30_000, 10_000).total == 30_000
    assert sizes_of(10_000, 1_000).nonmembers == 1_000
    with pytest.raises(InvalidInput, match="more than 3200 rows"):
        sizes_of(3200, 1600)


def test_a_defense_is_one_or_transfer_with_dp_sgd():
    assert [strength.name for strength in strengths_named("l2=0.02")] == ["l2 0.02"]
    for words in ("l2", "l2=x", "nothing=1", "l1=1+l2=1+dropout=0.5"):
        with pytest.raises(InvalidInput):
            strengths_named(words)


# Pages.


def test_the_page_shows_ours_beside_the_papers_and_what_was_not_run(tmp_path):
    [table, *_] = experiments_at("cpu", ["table1"])
    name = table.cells[0].plays[1].attacks[-1]
    part = parts_of([table])[0]
    calls = {"gap": (150, 50), "shadow-network": (150, 50), name: (160, 40)}
    save(summary(cell=part.cell.name, calls=calls, fingerprint=declared(part)), tmp_path / part.file)
    text = pages.markdown([table], summaries_of(parts_of([table]), tmp_path), scale="cpu")
    assert re.search(r"MNIST, 1,000 \| gap \| 1 \| 75\.0 \[[\d., ]+\] \| 53\.2 \| \+21\.8 \| 1 \|", text)
    assert "| CIFAR-100, 2,500 | gap | | not run | 83.5 | | |" in text
    assert "Fewer than 3 targets: mnist." in text
    assert re.search(rf"\| C1 \| MNIST, 1,000: {name} matches .* \+5\.0 .* HOLDS \|", text)
    assert "More than 3 points off the paper, and unexplained so far: MNIST, 1,000: gap" in text
    page = pages.page([table], summaries_of(parts_of([table]), tmp_path), scale="cpu")
    assert "75.0 [" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_documents_say_what_the_committed_summaries_hold():
    """docs/reproduction.md is what the command writes from studies/reproduction: no number stands there otherwise."""
    experiments = experiments_at("cpu")
    summaries = summaries_of(parts_of(experiments), KEPT / "cpu")
    assert DOCS.read_text(encoding="utf-8") == pages.markdown(experiments, summaries, scale="cpu")
    shown = pages.claims(experiments, summaries, scale="cpu")
    assert shown in README.read_text(encoding="utf-8"), f"README must show:\n{shown}"


# The command.


@pytest.mark.slow
def test_all_experiments_run_at_the_scale_smoke_and_nothing_runs_twice(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    names = ["reproduce", "all", "--scale", "smoke", "--out", tmp_path, "--jobs", "1"]
    code, out, err = called(*names, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0, err
    page = Path(out.strip())
    text = page.read_text()
    parts = parts_of(experiments_at("smoke"))
    assert f"{len(parts)} of {len(parts)} parts were run" in text
    assert "not run |" not in text.split("## Table 1")[1]
    assert "left out" not in text
    files = [tmp_path / "smoke" / part.file for part in parts]
    before = [file.read_bytes() for file in files]
    for name, content in zip([part.name for part in parts], before, strict=True):
        summaries = json.loads(content)
        assert summaries["plays"], name

    # A part that is gone is made again, from the store, and comes to the same; the others are left alone.
    files[0].unlink()
    stamps = [file.stat().st_mtime_ns for file in files[1:]]
    code, again, _ = called(*names, monkeypatch=monkeypatch, capsys=capsys)
    assert (code, again) == (0, out)
    assert [file.stat().st_mtime_ns for file in files[1:]] == stamps
    first, second = json.loads(before[0]), json.loads(files[0].read_bytes())
    for part in (first, second):
        del part["seconds"]
    assert first == second

    code, table, _ = called(*names, "--dry-run", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert f"{len(parts)} parts, {len(parts)} done" in table


def test_no_part_begins_after_the_time_is_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    names = ["reproduce", "table2", "--out", tmp_path, "--minutes", "0"]
    code, out, err = called(*names, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "0 minutes are over; the same command goes on with table2 location" in err
    assert "0 of 1 parts were run" in Path(out.strip()).read_text()


def test_data_that_are_not_at_hand_leave_a_part_out(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARDLABEL_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("HARDLABEL_STORE", str(tmp_path / "store"))
    names = ["reproduce", "table2", "--scale", "cpu", "--out", tmp_path, "--part", "3"]
    code, _, err = called(*names, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    assert "table2 purchase100, target 1 of 3: " in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table9"], "experiment .table9. is unknown"),
        (["--scale", "huge"], "scale .huge. is unknown"),
        (["table2", "--part", "9"], r"part must lie in \[1, 1\], got 9"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    code, _, err = called("reproduce", *words, "--out", tmp_path, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert re.search(message, err)
    assert len(err.strip().splitlines()) == 1


def test_experiments_are_those_of_the_paper():
    assert list(NAMES) == ["table1", "table2", *(f"figure{number}" for number in range(1, 7)), "outliers"]
    assert all(isinstance(experiment, Experiment) for experiment in experiments_at("paper"))


# What a training shows.


def test_every_epoch_shows_all_shifts_of_every_image(tmp_path):
    from hardlabel.audits.game.execution import USUAL
    from hardlabel.reproduction.play import _shown, staged
    from hardlabel.store import Store

    [experiment] = experiments_at("smoke", ["figure3"])
    part = next(part for part in parts_of([experiment]) if part.cell.every_shift)
    stage = staged(part, device=torch.device("cpu"), store=Store(tmp_path), execution=USUAL)
    members = stage.parts.members
    shown = _shown(stage, members)
    moves = augment.translations(part.cell.every_shift)
    assert len(shown) == len(moves) * len(members) == 5 * 100
    assert torch.equal(shown.inputs[: len(members)], members.inputs)
    for number, move in enumerate(moves):
        rows = slice(number * len(members), (number + 1) * len(members))
        assert torch.equal(shown.inputs[rows], augment.apply(move, members.inputs, fill=0.0))
        assert torch.equal(shown.labels[rows], members.labels)


def test_two_processes_never_run_the_same_part(tmp_path):
    from hardlabel.reproduction.runner import _held

    first, second, *_ = parts_of(experiments_at("smoke", ["figure1"]))
    with _held(first, tmp_path) as mine, _held(first, tmp_path) as again, _held(second, tmp_path) as other:
        assert (mine, again, other) == (True, False, True)
    with _held(first, tmp_path) as mine:
        assert mine


def test_private_training_on_top_of_transfer_leaves_the_frozen_layers_as_pretrained(tmp_path):
    pytest.importorskip("opacus")
    from hardlabel.audits.game.execution import USUAL
    from hardlabel.reproduction.play import staged
    from hardlabel.store import Store

    [experiment] = experiments_at("smoke", ["figure5"])
    part = next(part for part in parts_of([experiment]) if "+" in part.cell.defense)
    stage = staged(part, device=torch.device("cpu"), store=Store(tmp_path), execution=USUAL)
    assert 80 < stage.epsilon < 100.5  # The tightest accountant says less than was asked for.
    model, other = (stage.trainer.fit(stage.parts.members, seed=seed).model for seed in (1, 2))
    base = stage.trainer.method.pretrained._pretrained(torch.device("cpu"))
    layers = [[layer.weight for layer in network if hasattr(layer, "weight")] for network in (base, model, other)]
    assert torch.equal(layers[0][0], layers[1][0])
    assert not torch.equal(layers[1][-1], layers[2][-1])
    assert all(weight.requires_grad for weight in model.parameters())

"""How often the gate trips and passes: where the true figure is exactly at the limit, and at distances from it.

Scores are drawn, smooth and with ties; the functions that make a record's figures judge them, and the gate decides. At
the limit a gate should neither trip nor pass: each happens with a chance of 5 % at most.

    python studies/gate_power.py [--games 1000] [--power 300]      writes GATE.md beside this script

One process; ten minutes on one core.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom, norm

import hardlabel
from hardlabel.metrics import crossed, crossed_rates, intervals, one_run, selected_rates
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.canaries import CanaryBound, CanaryRecord, CanaryResults
from hardlabel.records.defenses import DefendRecord, DefendResults, DefenseResult, PlayedAttack
from hardlabel.records.environment import environment_of
from hardlabel.records.exposure import ChosenFew, Few, WorstCase
from hardlabel.records.gate import Outcome
from hardlabel.records.model import (
    AttackResult,
    AuditRecord,
    Blind,
    Choice,
    Compute,
    Curve,
    Environment,
    Histogram,
    Queries,
    Results,
    Target,
)
from hardlabel.records.recipe import RecipeAttack, RecipeRecord, RecipeResults, TargetModel

GAMES, POWER = 1000, 300
LUCK = 0.998  # Of 1,000 gates that err with a chance of 5 % at most 71 do, but for 2 in 1,000.
THRESHOLD = 1.0  # From where on the attacker calls members.
PRIOR = 0.01
TARGETS = 8
JUST_ABOVE = float(norm.isf(0.1 * 1.0001)) / 3  # Ties with a corner whose false-positive rate is just above 0.1.

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator
Game = Callable[[Rng, float], tuple[object, str]]  # Draws a record whose true figure is given; names the subject.

NONE = Estimate.undefined("not part of this game")
NOTHING = Estimate(0.5, 0.49, 0.51)  # An AUC that excludes everything, so that the verdict is "none found".
QUERIES, COMPUTE = Queries(mean=1.0, max=1), Compute(rows=0, seconds=0.0)
ENVIRONMENT = Environment(command="", seed=0, started="", seconds=0.0, versions={}, machine="")
PATH = AttackResult(
    name="path",
    access="label",
    signal="",
    calibration="",
    source="",
    queries_per_sample=QUERIES,
    overhead={},
    incomplete=0,
    auc=NOTHING,
    balanced_accuracy=NONE,
    advantage=NONE,
    precision=NONE,
    precision_at_prior=NONE,
    best_balanced_accuracy=NONE,
    tpr_at_fpr={},
    roc=Curve(fpr=[0, 1], tpr=[0, 1]),
    histogram=Histogram(edges=[0, 1], members=[1], nonmembers=[1]),
    classes=[],
    reference_compute=COMPUTE,
    seconds=0.0,
)
MODEL = Results(
    data="drawn",
    domain="",
    members=1000,
    nonmembers=1000,
    prior=PRIOR,
    budget=None,
    target=Target(
        description="", train_accuracy=NOTHING, test_accuracy=NOTHING, classes=2, device="cpu", batch_size=None
    ),
    shadow=None,
    choice=Choice(attack="path", queries=1, why=""),
    blind=Blind(auc=NOTHING, differs=False, method=""),
    attacks=[PATH],
    differences=[],
    left_out=[],
    notes=[],
    environment=ENVIRONMENT,
)
RECIPE_PATH = RecipeAttack(
    name="path",
    access="label",
    signals=[],
    calibration="",
    source="",
    queries_per_sample=QUERIES,
    overhead={},
    auc=NOTHING,
    aucs=[],
    spread=NONE,
    balanced_accuracy=[],
    tpr_at_fpr={},
    references=0,
    reference_compute=COMPUTE,
    seconds=0.0,
)
RECIPE = RecipeResults(
    data="drawn",
    domain="",
    samples=1000,
    train_size=500,
    description="",
    budget=None,
    references=0,
    training_seconds=0.0,
    targets=[TargetModel(model=0, train_accuracy=0.9, test_accuracy=0.8)],
    choice=MODEL.choice or Choice(attack="path", queries=1, why=""),
    attacks=[RECIPE_PATH],
    differences=[],
    left_out=[],
    notes=[],
    environment=ENVIRONMENT,
)


@dataclass(frozen=True)
class Drawn:
    """Scores of an attack: members' are N(shift, 1), non-members' N(0, 1).

    Attributes:
        size: Members, and as many non-members.
        step: Scores are cut to multiples of it; 0 for scores without ties.
    """

    size: int
    step: float = 0.0

    @property
    def member(self) -> Mask:
        return np.arange(2 * self.size) < self.size

    def scores(self, rng: Rng, shift: float) -> Floats:
        return self.cut(rng.normal(size=2 * self.size) + shift * self.member)

    def cut(self, scores: Floats) -> Floats:
        # A hair more: a multiple must not fall below itself by rounding.
        return scores if not self.step else np.floor(scores / self.step + 1e-9) * self.step

    @lru_cache(maxsize=100)  # noqa: B019
    def shift(self, metric: str, value: float) -> float:
        """The shift with which the true figure is `value`."""
        low = -3.0 if metric in ("auc", "balanced_accuracy", "advantage") else 0.0
        found: float = brentq(lambda shift: self.truth(metric, shift) - value, low, 8.0)
        return found

    def truth(self, metric: str, shift: float) -> float:
        """The true figure."""
        if metric == "auc":
            return self._auc(shift)
        if metric.startswith("tpr@"):
            return float(norm.sf(self._corner(float(metric[4:])) - shift))
        tpr, fpr = float(norm.sf(THRESHOLD - shift)), float(norm.sf(THRESHOLD))
        if metric == "advantage":
            return tpr - fpr
        if metric == "balanced_accuracy":
            return (1 + tpr - fpr) / 2
        prior = PRIOR if metric == "precision_at_prior" else 0.5
        return prior * tpr / (prior * tpr + (1 - prior) * fpr)

    def _corner(self, fpr: float) -> float:
        """The lowest threshold whose true false-positive rate is at most `fpr`."""
        exact = float(norm.isf(fpr))
        return exact if not self.step else float(np.ceil(exact / self.step - 1e-9) * self.step)

    def _auc(self, shift: float) -> float:
        if not self.step:
            return float(norm.cdf(shift / np.sqrt(2)))
        edges = np.arange(-round(9 / self.step), round(18 / self.step)) * self.step
        inside, outside = np.diff(norm.cdf(edges - shift)), np.diff(norm.cdf(edges))
        return float((inside * (np.cumsum(outside) - outside / 2)).sum())


def figure(metric: str, scores: Floats, member: Mask, seed: int) -> dict[str, object]:
    """The entry of an attack's result, as `audits.findings.figures.result` makes it."""
    if metric == "auc":
        return {"auc": intervals.auc_interval(scores, member)}
    if metric.startswith("tpr@"):
        rate = metric[4:]
        return {"tpr_at_fpr": {rate: intervals.tpr_at_fpr(scores, member, float(rate), seed=seed)}}
    return {metric: getattr(intervals.at_threshold(scores, member, THRESHOLD, prior=PRIOR), metric)}


def attack(metric: str, drawn: Drawn) -> Game:
    """A figure of the ranking's attack on one model."""

    def play(rng: Rng, value: float) -> tuple[object, str]:
        scores = drawn.scores(rng, drawn.shift(metric, value))
        result = PATH.model_copy(update=figure(metric, scores, drawn.member, int(rng.integers(2**31))))
        return audit(drawn, [result], {"path": scores}), f"label.{metric}"

    return play


def others(metric: str, drawn: Drawn, count: int) -> Game:
    """The strongest of several attacks that see confidences; all have the same true figure."""

    def play(rng: Rng, value: float) -> tuple[object, str]:
        shift = drawn.shift(metric, value)
        scores = {f"scores {number}": drawn.scores(rng, shift) for number in range(count)}
        played = [
            PATH.model_copy(
                update={"name": name, "access": "scores"} | figure(metric, own, drawn.member, int(rng.integers(2**31)))
            )
            for name, own in scores.items()
        ]
        return audit(drawn, [PATH, *played], scores), f"scores.{metric}"

    return play


def audit(drawn: Drawn, attacks: list[AttackResult], scores: dict[str, Floats], **others: object) -> AuditRecord:
    """A record with these attacks and their scores."""
    update = {"attacks": attacks, "members": drawn.size, "nonmembers": drawn.size, **others}
    columns = {
        "attack": np.repeat(list(scores), 2 * drawn.size),
        "member": np.tile(drawn.member, len(scores)),
        "score": np.concatenate(list(scores.values())),
    }
    return AuditRecord(results=MODEL.model_copy(update=update), scores=pd.DataFrame(columns))


def worst(drawn: Drawn, chosen: int, *, rules: int = 3) -> Game:
    """Precision on the points that several rules choose, each at random here."""

    def play(rng: Rng, value: float) -> tuple[object, str]:
        scores, member = drawn.scores(rng, drawn.shift("precision", value)), drawn.member[None]
        selections = []
        for rule in range(rules):
            asked = np.zeros_like(member)
            asked[0, rng.choice(2 * drawn.size, chosen, replace=False)] = True
            found = selected_rates.calls((scores >= THRESHOLD)[None], asked, member)
            few = Few(
                attack="path",
                access="label",
                precision=found.precision,
                recall=found.recall,
                right=found.right,
                called=found.called,
                members=found.members,
                over_average=NONE,
            )
            selections.append(ChosenFew(name=f"rule {rule}", how="", points=chosen, attacks=[few], pairs=[]))
        worst_case = WorstCase(
            share=0.1,
            of=2 * drawn.size,
            targets=1,
            embedded="",
            statistic="",
            selections=selections,
            repeated=0,
            repeated_chosen=0,
        )
        return audit(drawn, [PATH], {"path": scores}, worst_case=worst_case), "worst.precision"

    return play


def halves(rng: Rng, size: int) -> Mask:
    """Which of 2 * size samples are members of which target: a random half each."""
    return rng.permuted(np.tile(np.arange(2 * size) < size, (TARGETS, 1)), axis=1)


def recipe(metric: str, drawn: Drawn) -> Game:
    """A figure of the ranking's attack over several targets."""

    def play(rng: Rng, value: float) -> tuple[object, str]:
        inside = halves(rng, drawn.size)
        scores = drawn.cut(rng.normal(size=inside.shape) + drawn.shift(metric, value) * inside)
        if metric == "auc":
            update: dict[str, object] = {"auc": crossed.mean_auc(scores, inside)}
        else:
            pooled = crossed.pooled_tpr(scores, inside, float(metric[4:]), seed=int(rng.integers(2**31)))
            update = {"tpr_at_fpr": {metric[4:]: pooled}}
        results = RECIPE.model_copy(
            update={"attacks": [RECIPE_PATH.model_copy(update=update)], "samples": 2 * drawn.size}
        )
        return RecipeRecord(results=results), f"label.{metric}"

    return play


def defended(metric: str, drawn: Drawn) -> Game:
    """The AUC of one attack on undefended models, or their accuracy."""

    def play(rng: Rng, value: float) -> tuple[object, str]:
        inside = halves(rng, drawn.size)
        auc, accuracy = NOTHING, NOTHING
        if metric == "auc":
            scores = drawn.cut(rng.normal(size=inside.shape) + drawn.shift("auc", value) * inside)
            auc = crossed.mean_auc(scores, inside)
        else:
            accuracy = crossed_rates.accuracy(rng.random(inside.shape) < value, inside)
        played = PlayedAttack(
            name="path", access="label", adaptive=True, auc=auc, tpr=NONE, change=NONE, queries=QUERIES
        )
        result = DefenseResult(
            defense="none",
            level=None,
            knob="",
            source="",
            cost="",
            description="",
            changes=[],
            privacy=None,
            keeps_labels=True,
            train_accuracy=1.0,
            test_accuracy=accuracy,
            accuracy_change=NONE,
            training_seconds=0.0,
            answer_seconds=0.0,
            attacks=[played],
            strongest="path",
            strongest_at_low_fpr=None,
        )
        results = DefendResults(
            data="drawn",
            domain="",
            samples=2 * drawn.size,
            train_size=drawn.size,
            reserve=0,
            targets=TARGETS,
            references=0,
            budget=None,
            margin=0.02,
            defenses=[result],
            left_out=[],
            recommendation=[],
            notes=[],
            environment=ENVIRONMENT,
        )
        return DefendRecord(results=results), f"none.{metric}"

    return play


def canaries(count: int) -> Game:
    """A bound from canaries that randomised response answers: its epsilon is known."""

    def play(rng: Rng, value: float) -> tuple[object, str]:
        inside = rng.random(count) < 0.5
        said = (inside == (rng.random(count) < expit(value))).astype(float)
        found = one_run.one_run_bound(said, inside, delta=0.0, seed=int(rng.integers(2**31)))
        bound = CanaryBound(kind="all", access="label", signal="", queries=1, epsilon=found.epsilon, right=0, guesses=1)
        results = CanaryResults(
            data="drawn",
            description="",
            train_size=1000,
            canaries={"rare": count},
            planted=0,
            runs=1,
            delta=0.0,
            confidence=0.95,
            guarantee=None,
            bounds=[bound],
            kept=None,
            environment=ENVIRONMENT,
        )
        return CanaryRecord(results=results), "epsilon"

    return play


@dataclass(frozen=True)
class Row:
    """A condition, and a game for it: what is drawn, how many members, the limit.

    `operator` is that of the condition.
    """

    what: str
    size: int
    ties: float
    limit: float
    game: Game
    operator: str = ">"

    def outcomes(self, games: int, *, value: float | None = None, first: int = 0, bare: bool = False) -> dict[str, int]:
        """How often the gate says what, with the true figure `value`; at the limit by default.

        If `bare`, a TPR counts with a bootstrap's interval alone.
        """
        counts = dict.fromkeys((outcome.value for outcome in Outcome), 0)
        for number in range(first, first + games):
            rng = np.random.default_rng([number, self.size, round(1000 * self.ties), *self.what.encode()])
            with patch.object(intervals, "bounds_of", lambda *_, **__: None) if bare else nullcontext():
                record, subject = self.game(rng, self.limit if value is None else value)
            if bare:  # Without scores, the gate has nothing to widen the interval by.
                record = replace(record, scores=pd.DataFrame())  # type: ignore[type-var]
            said = hardlabel.gate(record, [f"{subject} {self.operator} {self.limit}"])  # type: ignore[arg-type]
            counts[said.outcome] += 1
        return counts


def most(games: int) -> int:
    """The most gates of so many that may err if each errs with a chance of 5 %, but for bad luck."""
    return int(binom.ppf(LUCK, games, 0.05))


def _attack(metric: str, limit: float, size: int, step: float = 0.0) -> Row:
    return Row(f"label.{metric}", size, step, limit, attack(metric, Drawn(size, step)))


# The worst ties: a corner exactly at the tolerated rate, or just above it.
WORST_TIES = [
    _attack(f"tpr@{rate:g}", 0.3, size, float(norm.isf(rate * above)) / 3)
    for rate, size in ((0.1, 100), (0.1, 1000), (0.01, 1000), (0.01, 3000))
    for above in (1, 1.0001)
]

ROWS = [
    *(_attack("auc", limit, size, step) for limit in (0.6, 0.9) for size in (100, 1000) for step in (0, 1.0)),
    *(
        _attack(metric, limit, size, step)
        for metric, limit in (
            ("balanced_accuracy", 0.55),
            ("balanced_accuracy", 0.75),
            ("advantage", 0.1),
            ("precision", 0.6),
            ("precision", 0.8),
            ("precision_at_prior", 0.03),
        )
        for size, step in ((100, 0), (1000, 0.5))
    ),
    *(
        _attack("tpr@0.1", limit, size, step)
        for limit in (0.2, 0.6)
        for size, step in ((100, 0), (100, 0.5), (1000, 0), (1000, 0.1))
    ),
    *(
        _attack("tpr@0.01", limit, size, step)
        for limit in (0.05, 0.3)
        for size, step in ((1000, 0), (1000, 0.5), (1000, 0.1), (3000, 0.1))
    ),
    *(_attack("tpr@0.001", 0.01, 10_000, step) for step in (0, 0.1)),
    *WORST_TIES,
    Row("worst.precision, 10 chosen", 100, 0.5, 0.8, worst(Drawn(100, 0.5), 10)),
    Row("worst.precision, 100 chosen", 1000, 0.5, 0.8, worst(Drawn(1000, 0.5), 100)),
    Row("scores.auc, 3 attacks", 300, 0.5, 0.6, others("auc", Drawn(300, 0.5), 3)),
    Row("scores.tpr@0.01, 3 attacks", 1000, 0.5, 0.05, others("tpr@0.01", Drawn(1000, 0.5), 3)),
    Row("scores.tpr@0.1, 3 attacks", 100, JUST_ABOVE, 0.3, others("tpr@0.1", Drawn(100, JUST_ABOVE), 3)),
    Row("recipe: label.auc, 8 targets", 100, 0.5, 0.6, recipe("auc", Drawn(100, 0.5))),
    Row("recipe: label.tpr@0.1, 8 targets", 100, 0.1, 0.2, recipe("tpr@0.1", Drawn(100, 0.1))),
    Row("recipe: label.tpr@0.1, 8 targets", 100, JUST_ABOVE, 0.3, recipe("tpr@0.1", Drawn(100, JUST_ABOVE))),
    Row("defend: none.auc, 8 targets", 100, 0.5, 0.6, defended("auc", Drawn(100, 0.5))),
    Row("defend: none.test_accuracy, 8 targets", 100, 0, 0.8, defended("test_accuracy", Drawn(100)), "<"),
    Row("canaries: epsilon, 500 canaries", 500, 0, 1.0, canaries(500)),
]

POWERS = [  # Metric, limit, true figures, numbers of members, ties.
    ("auc", 0.6, (0.5, 0.55, 0.58, 0.6, 0.62, 0.65, 0.7), (100, 300, 1000, 3000), 0.5),
    ("balanced_accuracy", 0.55, (0.5, 0.53, 0.55, 0.57, 0.6, 0.65), (100, 300, 1000, 3000), 0.5),
    ("tpr@0.01", 0.05, (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2), (1000, 3000), 0.1),
]


def level_table(games: int, rows: list[Row], *, bare: bool = False) -> list[str]:
    lines = ["| condition, limit | members | ties | tripped | passed |", "|---|---|---|---|---|"]
    for row in rows:
        counts = row.outcomes(games, bare=bare)
        ties = f"steps of {row.ties:.6g}" if row.ties else ""
        lines.append(
            f"| {row.what} {row.operator} {row.limit:g} | {row.size:,} | {ties} | {counts['tripped']} "
            f"| {counts['passed']} |"
        )
        print(lines[-1], flush=True)
    return lines


def power_tables(games: int) -> list[str]:
    lines = []
    for metric, limit, values, sizes, step in POWERS:
        told = f"`label.{metric} > {limit:g}`, scores in steps of {step:g}: tripped / passed / undecided, in %"
        lines += ["", told, ""]
        lines += [f"| true {metric} | {' | '.join(f'{size:,} + {size:,}' for size in sizes)} |"]
        lines += ["|---" * (1 + len(sizes)) + "|"]
        for value in values:
            cells = []
            for size in sizes:
                counts = _attack(metric, limit, size, step).outcomes(games, value=value)
                cells.append(" / ".join(f"{100 * count / games:.0f}" for count in _in_order(counts)))
            lines.append(f"| {value:g} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return lines


def _in_order(counts: dict[str, int]) -> list[int]:
    return [counts[outcome] for outcome in ("tripped", "passed", "undecided")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=GAMES)
    parser.add_argument("--power", type=int, default=POWER)
    options = parser.parse_args()
    started = time.perf_counter()
    level, alone = level_table(options.games, ROWS), level_table(options.games, WORST_TIES, bare=True)
    power = power_tables(options.power)
    made = environment_of(0, time.perf_counter() - started, torch.device("cpu"))
    versions = ", ".join(f"{name} {made.versions[name]}" for name in ("hardlabel", "python", "numpy", "scipy"))
    text = "\n".join(
        [
            "# How often the gate trips and passes",
            "",
            f"`python studies/gate_power.py --games {options.games} --power {options.power}`, "
            f"{made.seconds / 60:.0f} minutes ({versions}; {made.machine}).",
            "",
            f"## At the limit: {options.games:,} gates each, at most {most(options.games)} may trip or pass",
            "",
            *level,
            "",
            "The same for the worst ties, if a TPR counted with a bootstrap's interval alone:",
            "",
            *alone,
            "",
            f"## At a distance: {options.power:,} gates each",
            *power,
            "",
        ]
    )
    Path(__file__).with_name("GATE.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

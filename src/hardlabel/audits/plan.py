"""The plan of a run, shown before it starts: pieces of work, queries to the target, time and disk space.

The numbers come from the objects that will play: the attacks, the models that an attack learns on, the samples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardlabel.attacks import Attack, LabelAttack
from hardlabel.audits.cases.from_settings import smooth
from hardlabel.audits.cases.plans import MOST_POOL
from hardlabel.audits.cases.recipe import RecipeCase
from hardlabel.audits.game import check_rows
from hardlabel.audits.game.chunks import cuts, is_whole
from hardlabel.audits.game.execution import Execution
from hardlabel.audits.game.lessons import POOLED, SCREENED, Lesson, lesson_of
from hardlabel.audits.game.speed import measured_speed
from hardlabel.calibrations.base import wants_pool
from hardlabel.data.domain import Domain
from hardlabel.data.samples import Samples
from hardlabel.executors import Executor
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer, Trainer
from hardlabel.runs.journal import JOURNAL, MADE, Journal
from hardlabel.runs.settings import Attacker
from hardlabel.signals.base import LabelSignal

GUESSED_EPOCHS = 100  # A guess of when a training ends, unless the recipe allows fewer epochs.
BYTES_PER_VALUE = 8  # Of a stored measurement: the value, and its share of queries and flags.


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run will do at most. Pieces that the store has are not made again.

    Attributes:
        trainings: Models to train: target, shadow model, reference models, crafters.
        measurements: Measurements, each of one model on one chunk of samples.
        scores: Attacks to play, counted once for each target.
        done: Pieces that this run made before it was interrupted.
        queries: Queries to the target, of all attacks together.
        rows: Rows through the attacker's own models.
        seconds: Estimate at the speed just measured, with all workers busy, without calibrations and figures.
        epochs: Epochs that a training is assumed to take; None where a training was timed.
        bytes: Bytes on disk.
        workers: Number of pieces that run at once.
        advice: What would be cheaper; may be empty.
    """

    trainings: int
    measurements: int
    scores: int
    done: int
    queries: int
    rows: int
    seconds: float
    epochs: int | None
    bytes: int
    workers: int
    advice: str = ""

    @property
    def pieces(self) -> int:
        """Number of all pieces."""
        return self.trainings + self.measurements + self.scores

    def __str__(self) -> str:
        done = f", {self.done} of them made before" if self.done else ""
        assumed = "" if self.epochs is None else f", if a training has {self.epochs} epochs"
        advice = f". {self.advice}" if self.advice else ""
        return (
            f"plan: {self.pieces} pieces at most{done}: {self.trainings} trainings, {self.measurements} measurements, "
            f"{self.scores} scores; at most {self.queries:,} queries to the target and {self.rows:,} rows through own "
            f"models; to train and ask all this takes about {duration(self.seconds)}, {self.workers} at once{assumed}"
            f"; about {math.ceil(self.bytes / 1e6):,} MB on disk{advice}"
        )


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """Models that are trained alike.

    Attributes:
        models: Number of models.
        together: Whether all workers train them at the same time, one model each.
        smooth: Whether they are crafters, and trained as `smooth` says.
    """

    models: int
    together: bool = False
    smooth: bool = False


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a model of the attacker's costs.

    Attributes:
        training: Seconds of a training.
        crafting: Seconds of the training of a crafter.
        answering: Seconds for each row that the target answers.
        own: Seconds for each row that a model of the attacker's answers.
        bytes: Bytes of a model on disk.
        epochs: Epochs that a training is assumed to take; None where a training was timed.
    """

    training: float
    crafting: float
    answering: float
    own: float
    bytes: int
    epochs: int | None


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Most measurements, queries to targets, rows through the attacker's own models, and values to store."""

    measurements: int = 0
    queries: int = 0
    rows: int = 0
    values: int = 0

    def __add__(self, other: "Questions") -> "Questions":
        return Questions(**{name: number + getattr(other, name) for name, number in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class Seats:
    """How many models and samples take part in a game.

    Attributes:
        domain: Domain of the samples.
        budget: Most queries per sample and attack, or None.
        attacked: Number of attacked samples.
        targets: Number of targets.
        references: Number of reference models of each target.
        rest: Number of samples of the references' pool that are not attacked.
        shadow_samples: Number of samples that the shadow model is asked about; 0 without a shadow model.
        repeated: Whether repeated games are played on all references; see `findings.exposed.repeated_games`.
        taught: Whether the attacks have learned before, so that only targets are asked.
    """

    domain: Domain
    budget: int | None
    attacked: int
    targets: int
    references: int
    rest: int
    shadow_samples: int
    repeated: bool = False
    taught: bool = False

    @classmethod
    def of_recipe(cls, case: RecipeCase, budget: int | None, *, repeated: bool = False) -> "Seats":
        """The models and samples of a recipe's case. All models count as references of each target."""
        return cls(
            domain=case.plan.pool.domain,
            budget=budget,
            attacked=len(case.attacked),
            targets=case.targets,
            references=len(case.plan.inside),
            rest=len(case.plan.pool) - len(case.attacked),
            shadow_samples=0 if case.shadow is None else case.shadow.asked,
            repeated=repeated,
        )


def questions_of(attacks: Sequence[Attack], seats: Seats, *, chunk: int) -> Questions:
    """The most that the attacks ask, and the audit's own question about each sample."""
    values = seats.attacked * seats.targets
    own = Questions(measurements=len(cuts(seats.attacked, chunk)) * seats.targets, queries=values, values=values)
    return sum((_questions(attack, seats, chunk) for attack in attacks), own)


def _questions(attack: Attack, seats: Seats, chunk: int) -> Questions:
    attacked, pieces, most = seats.attacked, len(cuts(seats.attacked, chunk)), attack.allowed(seats.budget)
    on_target = Questions(
        measurements=pieces * seats.targets,
        queries=most * attacked * seats.targets,
        values=attacked * seats.targets * 2,
    )
    if seats.taught:
        return on_target
    signals = attack.signals(seats.domain, most) if isinstance(attack, LabelAttack) else ()
    # The attacker's own models are asked a signal's exact form, if it has one.
    exact = [getattr(signal, "exact", None) for signal in signals]
    rows = max([most, *(getattr(signal, "queries", most) for signal in exact if signal is not None)])
    columns = max([2, *(getattr(signal, "columns", 2) for signal in exact if signal is not None)])
    learning = _learning(attack, seats, chunk, signals=signals, rows_per_search=rows, columns=columns)
    replayable = isinstance(attack, LabelAttack) and not (attack.made_for_one or attack.calibration.per_sample)
    if not (seats.repeated and replayable):
        return on_target + learning
    # Repeated games ask all models what the attack otherwise asks targets and the shadow model only.
    samples = seats.references * attacked
    replay = Questions(measurements=seats.references * pieces, rows=samples * rows, values=samples * 2)
    return on_target + learning + replay


def _learning(
    attack: Attack,
    seats: Seats,
    chunk: int,
    *,
    signals: Sequence[LabelSignal],
    rows_per_search: int,
    columns: int,
) -> Questions:
    """The most that an attack asks the attacker's own models before it is played."""
    candidates = max(1, len(signals))
    lesson = lesson_of(attack, candidates=candidates, shadow=seats.shadow_samples > 0, references=seats.references > 0)
    if lesson == Lesson.NOWHERE:
        return Questions()
    if lesson == Lesson.REFERENCES:
        pool = min(seats.rest, MOST_POOL) if wants_pool(attack.calibration, seats.attacked) else 0
        models, samples, rounds = seats.references, seats.attacked + pool, candidates
        pieces = len(cuts(seats.attacked, chunk)) + (len(cuts(pool, chunk)) if pool else 0)
        searches = candidates * samples
    else:
        pooled = lesson == Lesson.POOLED
        models, samples = (min(seats.references, POOLED), seats.attacked) if pooled else (1, seats.shadow_samples)
        # All candidates are screened on some samples, then the best is asked about the rest. A signal that measures
        # all samples together is asked again from the start.
        screened = candidates - 1 + any(is_whole(signal) for signal in signals)
        pieces, rounds = len(cuts(samples, chunk)), screened + 1
        searches = samples + screened * min(samples, SCREENED)
    return Questions(
        measurements=models * pieces * rounds,
        rows=models * searches * rows_per_search,
        values=models * samples * candidates * columns,
    )


def plan_of(
    trainings: Sequence[Trainings],
    questions: Questions,
    *,
    scores: int,
    costs: Costs,
    own_at_once: int,
    execution: Execution,
    folder: Path | None,
    advice: str = "",
) -> Plan:
    """The plan of trainings and questions.

    Args:
        trainings: Models to train.
        questions: What is asked.
        scores: Attacks to play, counted once for each target.
        costs: What each costs.
        own_at_once: Number of the attacker's own models that can be asked at once.
        execution: Where the work is done.
        folder: The run folder, to count the pieces that it made before.
        advice: What would be cheaper.
    """
    width = execution.executor.width
    models, seconds = 0, 0.0
    for batch in trainings:
        models += batch.models
        in_turn = math.ceil(batch.models / width) if batch.together else batch.models
        seconds += in_turn * (costs.crafting if batch.smooth else costs.training)
    return Plan(
        trainings=models,
        measurements=questions.measurements,
        scores=scores,
        done=0 if folder is None else pieces_made(folder),
        queries=questions.queries,
        rows=questions.rows,
        seconds=seconds
        + costs.answering * questions.queries
        + questions.rows * costs.own / max(1, min(width, own_at_once)),
        epochs=costs.epochs,
        bytes=models * costs.bytes + questions.values * BYTES_PER_VALUE,
        workers=width,
        advice=advice,
    )


def overhead_of(attacker: Attacker, questions: Questions, *, attacked: int, shadow: int, attacks: int) -> int:
    """Most queries to a target that belong to no attack: labels that the attacker asks for, and check rows.

    Args:
        attacker: Which labels it has.
        questions: What the attacks ask.
        attacked: Number of attacked samples.
        shadow: Number of samples of the shadow data.
        attacks: Number of attacks.
    """
    overhead = attacked if attacker.labels == "target" else 0
    overhead += shadow if attacker.shadow_labels == "target" else 0
    return overhead + check_rows.ROWS * check_rows.most_askings(questions.queries + overhead, attacks)


def costs_of(trainer: Trainer, samples: Samples, executor: Executor, *, own_as_targets: bool) -> Costs:
    """What the networks of a recipe cost, measured where pieces are made.

    Args:
        trainer: Trains the targets.
        samples: As many as the training samples of a model.
        executor: Where pieces are made.
        own_as_targets: Whether the attacker's own models are asked as targets are, and not in the precision of their
            training.
    """
    assert isinstance(trainer, RecipeTrainer), "settings train by recipes"
    recipe = trainer.recipe
    speed = measured_speed(trainer, samples, executor)
    epoch = speed.training * len(samples)
    return Costs(
        training=epoch * _epochs(recipe),
        crafting=epoch * _epochs(smooth(recipe, samples.domain)),
        answering=speed.answering,
        own=speed.answering if own_as_targets else speed.own,
        bytes=speed.bytes,
        epochs=_epochs(recipe),
    )


def _epochs(recipe: Recipe) -> int:
    """Epochs that a training is assumed to take."""
    return min(recipe.max_epochs, GUESSED_EPOCHS)


def pieces_made(folder: Path) -> int:
    """Number of pieces that the run in the folder has made so far."""
    return len({line.get("piece") for line in Journal(folder / JOURNAL).lines() if line.get("event") == MADE})


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

"""Lower bounds on epsilon, from one model with many canaries or from many models with one canary."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hardlabel import randomness
from hardlabel.attacks import TABLE
from hardlabel.audits.cases.canaries import Planted
from hardlabel.audits.cases.case import classes_of
from hardlabel.audits.game.asking import Asking, Question, Side, questions
from hardlabel.audits.game.batches import settled
from hardlabel.audits.game.game import LOGITS
from hardlabel.checks import InvalidInput
from hardlabel.data.samples import concatenate
from hardlabel.metrics.epsilon import epsilon_bound
from hardlabel.metrics.one_run import one_run_bound
from hardlabel.models import shadows
from hardlabel.models.trainers import Trainer
from hardlabel.oracles.budget import Account
from hardlabel.records.canaries import ALL, CanaryBound
from hardlabel.signals.base import Access
from hardlabel.targets.padded import padded
from hardlabel.targets.registry import askable

Bools = NDArray[np.bool_]


def one_run(
    model: object, reference: object | None, planted: Planted, *, delta: float, device: torch.device, asking: Asking
) -> list[CanaryBound]:
    """Bounds from one model, for all canaries together and for each kind."""
    bounds = []
    kinds = np.array(planted.kinds)
    for access, question, values, queries in _scores(model, reference, planted, device=device, asking=asking):
        for kind in (ALL, *dict.fromkeys(planted.kinds)):
            rows = np.ones(len(kinds), dtype=bool) if kind == ALL else kinds == kind
            bound = one_run_bound(values[rows], planted.inside[rows], delta=delta, seed=planted.seed)
            bounds.append(
                CanaryBound(
                    kind=kind,
                    access=access,
                    signal=str(question.signal),
                    queries=queries,
                    epsilon=bound.epsilon,
                    right=bound.correct,
                    guesses=sum(bound.guesses),
                )
            )
    return bounds


def many_runs(
    trainer: Trainer, planted: Planted, inside: Bools, *, delta: float, device: torch.device, asking: Asking
) -> list[CanaryBound]:
    """Bounds from many models, half of them trained with the canary."""
    if min(inside.sum(), (~inside).sum()) < 2:
        raise InvalidInput(
            "trainings must be 2 or more with the canary and 2 or more without it, "
            f"got {len(inside)}, {int(inside.sum())} with it: ask for more"
        )
    watch = asking.watch
    jobs = [
        shadows.Job(rows=planted.rows(np.array([planting])), seed=randomness.derive(asking.seed, "canary run", run))
        for run, planting in enumerate(inside.tolist())
    ]
    watch.stage("training with and without the canary", len(jobs), "models")
    trainings = shadows.train_all(
        trainer,
        concatenate(planted.base, planted.canaries),
        jobs,
        on_done=lambda progress: watch.advance(1),
        executor=asking.executor,
    )
    scored = [_scores(made.model, None, planted, device=device, asking=asking) for made in trainings]
    bounds = []
    for runs in zip(*scored, strict=True):  # By access, the scores of all models.
        access, question, _, queries = runs[-1]
        scores = np.array([float(values[0]) for _, _, values, _ in runs])
        bound = epsilon_bound(scores, inside, delta=delta, seed=asking.seed)
        bounds.append(
            CanaryBound(
                kind=ALL,
                access=access,
                signal=str(question.signal),
                queries=queries,
                epsilon=bound.epsilon,
                right=bound.right[0],
                guesses=bound.right[1],
                wrong=bound.wrong[0],
                of_wrong=bound.wrong[1],
            )
        )
    return bounds


def _scores(
    model: object, reference: object | None, planted: Planted, *, device: torch.device, asking: Asking
) -> list[tuple[str, Question, NDArray[np.float64], float]]:
    """The canaries' scores, less the reference's if there is a reference, for each access that the models allow.

    Each is (access, question, scores (m,), queries per canary). From labels, the score is the share of noisy copies
    that get the canary's label (Choquette-Choo et al. 2021); from confidences, the logit.
    """
    samples, classes = planted.canaries.to(device), classes_of(planted.base, planted.canaries)
    models = []
    for role, given in (("model", model), ("reference", reference)):
        if isinstance(given, nn.Module):
            given = padded(given, samples.inputs[:1], classes=classes, exact=False, device=device, role=role)
        if given is not None:
            models.append(askable(given, device, role=role, classes=classes))
    sides = [
        Side(model=model, samples=samples, inside=torch.zeros(len(samples), dtype=torch.bool))
        for model in settled(models, samples.inputs[:1], None)
    ]
    candidates = questions(TABLE["noise"], sides[0], None)
    chosen: list[tuple[str, Question]] = [(str(Access.LABEL), candidates[len(candidates) // 2])]
    if all(side.model.scores is not None for side in sides):
        chosen.append((str(Access.SCORES), LOGITS))
    scored = []
    for access, question in chosen:
        answers = [asking.answer(question, side, "canaries", account=Account()) for side in sides]
        values = [answer.measured.values.double().mean(1).numpy() for answer in answers]
        scores = values[0] - values[1] if len(values) > 1 else values[0]
        scored.append((access, question, scores, float(answers[0].measured.queries.double().mean())))
    return scored

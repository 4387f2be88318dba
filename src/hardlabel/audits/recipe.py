"""The audit of a training recipe: each model of the complementary pairs plays target in turn.

An audit of one model says nothing about other models. Here several models are trained by the same recipe on random
halves of one pool. Each is attacked with the others as references, except its partner. Intervals cover the chance in
targets and in samples.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from sklearn.base import BaseEstimator

from hardlabel.attacks import Attack, Need, family_of
from hardlabel.audits.arguments import checked
from hardlabel.audits.attacker.models import CRAFTERS, Wanted
from hardlabel.audits.attacker.paired import paired, turns
from hardlabel.audits.attacker.references import right_on
from hardlabel.audits.cases.pairs import Pair
from hardlabel.audits.cases.plans import MOST_ATTACKED
from hardlabel.audits.cases.recipe import RecipeCase, case_of_arrays, case_of_recipe
from hardlabel.audits.cases.terms import Chosen, Terms
from hardlabel.audits.findings import exposed, figures, worst_case
from hardlabel.audits.game.asking import Asking, Side
from hardlabel.audits.game.execution import USUAL, Execution
from hardlabel.audits.game.game import Played
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.audits.kind import asked, described, refuse
from hardlabel.audits.plan import Plan, Seats, Trainings, costs_of, plan_of, questions_of
from hardlabel.data.domain import Domain
from hardlabel.models.train import Recipe
from hardlabel.models.trainers import RecipeTrainer
from hardlabel.records.environment import environment_of
from hardlabel.records.model import LeftOut
from hardlabel.records.recipe import RecipeRecord, RecipeResults, TargetModel
from hardlabel.renamed import renamed
from hardlabel.runs.settings import Attacker, Focus, RecipeSettings
from hardlabel.store import Store
from hardlabel.targets.torch import resolve_device


@renamed(
    samples="data",
    attacked="samples / 2",
    shadows="attacker.references",
    worst_case="focus.worst_case",
    slices="focus.slices",
    show_records="focus.show_records",
    watch="execution.watch",
    work="execution",
)
@checked(RecipeSettings)
def audit_recipe(
    data: Pair,
    trainer: Callable[..., object] | BaseEstimator | Recipe,
    *,
    train_size: int | None = None,
    repeats: int = 8,
    domain: Domain | None = None,
    attacks: Iterable[str | Attack] | None = None,
    budget: int | None = None,
    samples: int = MOST_ATTACKED,
    seed: int = 0,
    device: str = "auto",
    store: Store | None = None,
    name: str | None = None,
    attacker: Attacker = Attacker(),  # noqa: B008  # Frozen.
    focus: Focus = Focus(),  # noqa: B008
    execution: Execution = USUAL,
) -> RecipeRecord:
    """Audits a way of training instead of one model.

    Trains `attacker.references` + 2 models on random halves of a pool of 2 * train_size samples. Of these, `repeats`
    models play target in turn, each attacked with the others as references. The rest of the data trains a shadow model
    and crafters.

    Args:
        data: (inputs, labels) to train on and to ask about, arrays or tensors (n, *shape) and (n,). Repeated
            inputs are dropped; the record's notes say which.
        trainer: As for `hardlabel.audit`.
        train_size: Number of training samples of a model; None for a quarter of the data.
        repeats: Number of models that play target, 2 to attacker.references + 2.
        domain: Legal inputs; None to infer the domain.
        attacks: As for `hardlabel.audit`.
        budget: Most queries per sample, for each attack separately.
        samples: At most twice this many samples of the pool are attacked. About half of them are members of each
            target.
        seed: Fixes every random draw.
        device: Where torch models run.
        store: Keeps models and measurements.
        name: Name of this trainer in the store, if it is a function.
        attacker: What the attacker has. It always has the true labels.
        focus: What the report shows in addition to the average record. A slice has one value for each row of `data`.
        execution: Where and in which pieces the work is done, and what receives the progress.

    Raises:
        InvalidInput: An argument breaks a rule; raised before any training.

    Example:
        >>> import hardlabel
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.tree import DecisionTreeClassifier
        >>> digits = load_digits()
        >>> data = digits.images[:, None] / 16, digits.target
        >>> few = hardlabel.Attacker(references=2)
        >>> record = hardlabel.audit_recipe(
        ...     data, DecisionTreeClassifier(), train_size=50, repeats=2, attacks=["gap"], attacker=few
        ... )
        >>> len(record.attack("gap").aucs)
        2
    """
    given, started = locals(), time.perf_counter()
    where = resolve_device(device)
    refuse(
        attacker,
        focus,
        "the audit of a recipe",
        ("shadow_labels", "labels", "wrong_labels", "alike", "prior", "private"),
    )
    terms = Terms.given(attacks, budget, seed, attacker, focus)
    case = case_of_arrays(
        data,
        trainer,
        train_size=train_size,
        repeats=repeats,
        references=attacker.references,
        samples=samples,
        domain=domain,
        slices=focus.slices,
        strict=focus.strict,
        seed=seed,
        device=where,
        name=name,
        store=store,
    )
    config = asked(
        "recipe",
        given,
        attacks=terms.names,
        train_size=case.plan.train_size,
        domain=described(case.attacked.domain),
        trainer=case.plan.trainer.description,
    )
    prepared = RecipeAudit(case=case, terms=terms, device=where)
    return replace(prepared.play(Asking.by(execution, seed=seed, store=store), started), config=config)


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeAudit:
    """The audit of a recipe, loaded and checked; see `audits.kind.Prepared`.

    Attributes:
        case: What is audited.
        terms: What is asked.
        device: Where models run.
    """

    case: RecipeCase
    terms: Terms
    device: torch.device

    @property
    def settled(self) -> dict[str, object]:
        trainer = self.case.plan.trainer
        assert isinstance(trainer, RecipeTrainer), "settings train by recipes"
        return {"precision": trainer.recipe.precision}

    @property
    def picked(self) -> Chosen:
        """The attacks to play, and the attacks left out."""
        case = self.case
        return self.terms.chosen(case.attacked.domain, missing=case.missing, attacked=len(case.attacked) * case.targets)

    def plan(self, execution: Execution, folder: Path | None) -> Plan:
        case, attacks = self.case, self.picked.rows
        seats = Seats.of_recipe(case, self.terms.budget, repeated=True)
        with_shadow = case.shadow is not None and Wanted.by(attacks, worst_case=False).shadow
        training_set = case.plan.pool.take(case.plan.inside[0])
        return plan_of(
            [
                Trainings(models=1 if with_shadow else 0),
                Trainings(models=seats.references, together=True),
                # Crafters are always trained: they show which records have near neighbours.
                Trainings(models=CRAFTERS, smooth=True),
            ],
            questions_of(attacks, seats, chunk=execution.chunk) + exposed.looks(seats, chunk=execution.chunk),
            scores=len(attacks) * case.targets,
            costs=costs_of(
                case.plan.trainer, training_set, execution.executor, own_as_targets=True
            ),  # All models of a recipe may play target.
            own_at_once=seats.references,
            execution=execution,
            folder=folder,
        )

    def play(self, asking: Asking, started: float) -> RecipeRecord:
        case, terms, watch, picked = self.case, self.terms, asking.watch, self.picked
        models = paired(case, picked.rows, device=self.device, asking=asking)
        targets = turns(len(models.sides))[: case.targets]
        inside = torch.stack([models.sides[target].inside for target in targets]).numpy()
        results, frames, scores, played_by_name = [], [], {}, {}
        for attack in picked.rows:
            crafted = Need.GRADIENTS in attack.uses
            games = [models.game(target, budget=terms.budget, asking=asking, crafted=crafted) for target in targets]
            if (reason := games[0].lacks(attack)) is not None:
                picked.left_out[attack.name] = reason
                continue
            played = [played_or_kept(game, attack) for game in games]
            result = figures.recipe_result(attack, played, inside=inside, seed=terms.seed)
            watch.say(f"{attack.name}: AUC {result.auc}, {result.queries_per_sample.mean:.4g} queries per sample")
            results.append(result)
            scores[attack.name] = torch.stack([on_target.scores for on_target in played]).numpy()
            played_by_name[attack.name] = played
            for target, on_target in zip(targets, played, strict=True):
                frames.append(_frame(attack, on_target, target, models.sides[target]))
        watch.stage("who is exposed", 1, "looks")
        at_risk = exposed.of_recipe(case, models, terms, targets, played_by_name, rows=picked.rows, asking=asking)
        access = {result.name: result.access for result in results}
        return RecipeRecord(
            results=RecipeResults(
                data=case.data,
                domain=case.attacked.domain.kind,
                samples=len(case.attacked),
                train_size=case.plan.train_size,
                description=case.plan.trainer.description,
                family=family_of(models.made[targets[0]].model),
                budget=terms.budget,
                references=len(models.sides) - 2,
                training_seconds=sum(trained.seconds for trained in models.made),
                targets=[_target(target, models.sides[target]) for target in targets],
                choice=figures.choice_of(picked.rung),
                attacks=results,
                differences=figures.recipe_differences(scores, access, inside),
                left_out=[LeftOut(name=name, reason=reason) for name, reason in picked.left_out.items()],
                worst_case=at_risk.worst_case,
                exposed=at_risk.exposed,
                groups=at_risk.groups,
                games=at_risk.games,
                notes=[*case.notes, *worst_case.notes(len(case.attacked))],
                environment=environment_of(terms.seed, time.perf_counter() - started, self.device),
            ),
            scores=exposed.published(pd.concat(frames, ignore_index=True), models.sides[0].samples)
            if frames
            else pd.DataFrame(),
        )


def prepare(
    settings: RecipeSettings, *, device: torch.device, store: Store | None, execution: Execution
) -> RecipeAudit:
    """Loads the data and checks the settings. Trains nothing.

    Raises:
        InvalidInput: A setting breaks a rule.
    """
    case = case_of_recipe(settings, device=device, store=store, watch=execution.watch)
    return RecipeAudit(case=case, terms=Terms.of(settings), device=device)


def _target(number: int, side: Side) -> TargetModel:
    right, inside = right_on(side), side.inside
    return TargetModel(
        model=number,
        train_accuracy=float(right[inside].float().mean()),
        test_accuracy=float(right[~inside].float().mean()),
        classes=figures.class_rights(inside.numpy(), side.samples.labels.cpu().numpy(), right.numpy()),
    )


def _frame(attack: Attack, played: Played, target: int, side: Side) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "target": target,
            "id": side.samples.ids.tolist(),
            "member": side.inside.numpy(),
            "label": side.samples.labels.cpu().numpy(),
            "attack": attack.name,
            "score": played.scores.numpy(),
            "queries": played.measurement.queries.numpy(),
        }
    )

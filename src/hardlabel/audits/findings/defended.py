"""Figures of each defense: attacks on plain and on defended models, paired by target and sample."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardlabel.attacks import Attack, LabelAttack, Need
from hardlabel.audits.attacker.paired import PairedModels, paired, turns
from hardlabel.audits.cases.defenses import with_second
from hardlabel.audits.cases.recipe import RecipeCase
from hardlabel.audits.cases.terms import Terms
from hardlabel.audits.findings.exposed import published
from hardlabel.audits.game.asking import Asking
from hardlabel.audits.game.game import Game, Played
from hardlabel.audits.game.kept_scores import played_or_kept
from hardlabel.checks import InvalidInput
from hardlabel.defenses.base import Privacy
from hardlabel.defenses.table import Strength
from hardlabel.defenses.trainer import Defended
from hardlabel.metrics import crossed
from hardlabel.metrics.crossed_rates import accuracy, accuracy_difference
from hardlabel.metrics.one_run import half_split_bound
from hardlabel.metrics.rates import CONFIDENCE
from hardlabel.randomness import derive
from hardlabel.records.defenses import NONE, DefenseResult, PlayedAttack, TestedGuarantee, column
from hardlabel.records.model import Queries

Bools = NDArray[np.bool_]
FPR = 0.01
TIMED = 1000  # Inputs whose labels are timed.


class Stage:
    """Plays the attacks on the undefended models, then on the models of each defense."""

    def __init__(
        self, case: RecipeCase, rows: Sequence[Attack], terms: Terms, *, device: torch.device, asking: Asking
    ) -> None:
        self._case, self._rows, self._terms = case, rows, terms
        self._device, self._watch, self._asking = device, asking.watch, asking
        self._plain = paired(case, rows, device=device, asking=asking)
        self._numbers = turns(len(self._plain.sides))[: case.targets]
        self._inside = torch.stack([self._plain.sides[number].inside for number in self._numbers]).numpy()
        self._right = self._answers(self._plain)[0]
        self.scores: dict[tuple[str, str], NDArray[np.float64]] = {}  # (T, n), by defense and title of the attack.
        self._figures: dict[str, PlayedAttack] = {}

    def frame(self) -> pd.DataFrame:
        """Every score, one row per target and sample; see `DefendRecord.scores`."""
        side = self._plain.sides[self._numbers[0]]
        samples = len(side.samples)
        columns: dict[str, object] = {
            "target": np.repeat(self._numbers, samples),
            "id": np.tile(side.samples.ids.cpu().numpy(), len(self._numbers)),
            "member": self._inside.ravel(),
        }
        columns |= {column(*key): scores.ravel() for key, scores in self.scores.items()}
        return published(pd.DataFrame(columns), side.samples).drop(columns="pseudonym")

    def undefended(self) -> DefenseResult:
        """The figures of the plain models, with which all defenses are compared."""
        for attack in self._rows:
            games = [self._game(self._plain, attack, number) for number in self._numbers]
            if games[0].lacks(attack) is None:
                played = [played_or_kept(game, attack) for game in games]
                self.scores[NONE, attack.name] = _stacked(played)
                self._figures[attack.name] = self._figure(attack, played, adaptive=True)
        if not self._figures:
            raise InvalidInput("attacks must hold an attack that suits these models, got none")
        return self._result(None, None, self._plain, list(self._figures.values()))

    def defended(self, strength: Strength, made: Defended) -> DefenseResult:
        """The figures of a defense."""
        self._watch.say(f"{strength.name}: {made.trainer.description}")
        shadow = None if self._case.shadow is None else replace(self._case.shadow, trainer=made.trainer)
        case = replace(self._case, plan=replace(self._case.plan, trainer=made.trainer), shadow=shadow)
        case = with_second(case, made.bare)
        models = paired(case, self._rows, device=self._device, asking=self._asking)
        attacks = [figure for attack in self._rows for figure in self._attacked(attack, strength, models)]
        return self._result(strength, made, models, attacks)

    def _attacked(self, attack: Attack, strength: Strength, models: PairedModels) -> list[PlayedAttack]:
        """The attack's figures: first by an attacker who adapts to the defense, then by an attacker who does not."""
        missing = self._game(models, attack, self._numbers[0]).unshown()
        if attack.name not in self._figures or attack.unplayable(missing=missing) is not None:
            return []
        if strength.row.keeps_labels and isinstance(attack, LabelAttack):
            # All labels are those of the plain models, which are then the best references: the scores are the same.
            return [self._figures[attack.name]]
        figures = []
        for adaptive in (True, False):
            games = [self._game(models, attack, number, adaptive=adaptive) for number in self._numbers]
            if games[0].lacks(attack) is None:
                played = [played_or_kept(game, attack) for game in games]
                figures.append(self._figure(attack, played, adaptive=adaptive))
                self.scores[strength.name, figures[-1].title] = _stacked(played)
        return figures

    def _game(self, models: PairedModels, attack: Attack, target: int, *, adaptive: bool = True) -> Game:
        """The game against one of the models; an attacker who does not adapt learns on the plain models."""
        attacker_models = models if adaptive else self._plain
        crafted = Need.GRADIENTS in attack.uses
        game = attacker_models.game(target, budget=self._terms.budget, asking=self._asking, crafted=crafted)
        # Games against all targets share the shadow model and the samples asked about.
        key = None if attack.learns_on_shadow else target
        game = replace(game, learned=attacker_models.learned.setdefault(key, {}))
        return game if adaptive else replace(game, target=replace(game.target, model=models.sides[target].model))

    def _figure(self, attack: Attack, played: list[Played], *, adaptive: bool) -> PlayedAttack:
        scores = _stacked(played)
        queries = np.stack([outcome.measurement.queries.numpy() for outcome in played])
        bootstrap = derive(self._terms.seed, "bootstrap", attack.name)
        figure = PlayedAttack(
            name=attack.name,
            access=str(attack.access),
            adaptive=adaptive,
            auc=crossed.mean_auc(scores, self._inside),
            tpr=crossed.pooled_tpr(scores, self._inside, FPR, seed=bootstrap),
            change=crossed.auc_difference(scores, self.scores[NONE, attack.name], self._inside),
            queries=Queries(mean=float(queries.mean()), max=int(queries.max())),
        )
        self._watch.say(f"{figure.title}: AUC {figure.auc}")
        return figure

    def _guarantee(self, strength: Strength, promised: Privacy | None) -> TestedGuarantee | None:
        """The promised guarantee, and the highest bound that the attacks prove.

        Each target's half was drawn at random, and the attacker's other knowledge does not depend on the draw.
        """
        if promised is None:
            return None
        attacks = {title: scores for (name, title), scores in self.scores.items() if name == strength.name}
        confidence = 1 - (1 - CONFIDENCE) / max(1, len(attacks) * len(self._numbers))
        proved, by = 0.0, ""
        for title, rows in attacks.items():
            for target, (scores, inside) in enumerate(zip(rows, self._inside, strict=True)):
                seed = derive(self._terms.seed, "twos", title, target)
                bound = half_split_bound(scores, inside, delta=promised.delta, seed=seed, confidence=confidence).epsilon
                if bound > proved:
                    proved, by = bound, title
        return TestedGuarantee(**asdict(promised), proved=proved, proved_by=by)

    def _answers(self, models: PairedModels) -> tuple[Bools, float]:
        """Whether each target's labels are right (T, n), and the seconds for the labels of TIMED inputs."""
        started, right = time.perf_counter(), []
        for number in self._numbers:
            side = models.sides[number]
            labels = side.model.labels.ask(side.samples.inputs, side.samples.ids)
            right.append((labels == side.samples.labels).cpu())
        rows = len(right) * len(right[0])
        return torch.stack(right).numpy(), (time.perf_counter() - started) * TIMED / rows

    def _result(
        self, strength: Strength | None, made: Defended | None, models: PairedModels, attacks: list[PlayedAttack]
    ) -> DefenseResult:
        right, answering = self._answers(models)
        training = None if made is None else made.training
        resolved = [attack for attack in attacks if attack.tpr.value is not None]
        description = models.case.plan.trainer.description
        if not attacks:
            raise InvalidInput(f"attacks must hold an attack that suits {description}, got none")
        return DefenseResult(
            defense=NONE if strength is None else strength.row.name,
            level=None if strength is None else strength.level,
            knob="" if strength is None else strength.row.knob,
            source="" if strength is None else strength.row.source,
            cost="" if strength is None else strength.row.cost,
            description=description,
            changes=[] if made is None else list(made.changes),
            privacy=None if strength is None or training is None else self._guarantee(strength, training.privacy),
            keeps_labels=strength is not None and strength.row.keeps_labels,
            train_accuracy=float(right[self._inside].mean()),
            test_accuracy=accuracy(right, self._inside),
            accuracy_change=accuracy_difference(right, self._right, self._inside),
            training_seconds=sum(trained.seconds for trained in models.made) / len(models.made),
            answer_seconds=answering,
            attacks=attacks,
            strongest=max(attacks, key=lambda attack: attack.auc.value or 0.0).title,
            strongest_at_low_fpr=max(resolved, key=lambda attack: attack.tpr.value or 0.0).title if resolved else None,
        )


def _stacked(played: Sequence[Played]) -> NDArray[np.float64]:
    scores: Tensor = torch.stack([outcome.scores for outcome in played])
    return scores.numpy()

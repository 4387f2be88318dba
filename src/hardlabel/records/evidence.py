"""The figures of a record that a condition of the gate is about.

A TPR of one model counts with the wider of two intervals: the record's, and bounds that hold however scores tie.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np

from hardlabel.metrics.estimate import Estimate
from hardlabel.metrics.tied import tpr_bounds
from hardlabel.records import canaries
from hardlabel.records.base import Record
from hardlabel.records.canaries import CanaryResults
from hardlabel.records.defenses import DefendResults
from hardlabel.records.exposure import AVERAGE, WorstCase
from hardlabel.records.model import Results
from hardlabel.runs import conditions as rules
from hardlabel.runs.conditions import LABEL, SCORES, TARGET, TPR, WORST, Condition
from hardlabel.signals.base import Access


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures that a condition is about; the condition is about the highest of them.

    Attributes:
        figures: Figures by name; the names are the record's.
        chosen: Whether the one figure was chosen before looking, so that its interval counts as it is.
        missing: Why there are no figures.
        leakage: Whether they are about leakage, of which not everything may have been tested.
    """

    figures: Mapping[str, Estimate] = field(default_factory=dict)
    chosen: bool = False
    missing: str = ""
    leakage: bool = True


def evidence(record: Record[Any], condition: Condition) -> Evidence:
    """The figures of the record that a condition is about; where there are none, why."""
    results: Any = record.results
    if isinstance(results, CanaryResults):
        return _of_canaries(results, condition)
    if isinstance(results, DefendResults):
        return _of_defenses(results, condition)
    if condition.subject == TARGET:
        return Evidence(figures={TARGET: getattr(results.target, condition.metric)}, chosen=True, leakage=False)
    named = None if results.choice is None else results.choice.attack
    if condition.subject == WORST:
        return _of_worst(results.worst_case, named, condition.metric)
    attacks = {attack.name: attack for attack in results.attacks}
    if condition.subject == SCORES:
        seeing = {name: attack for name, attack in attacks.items() if attack.access == Access.SCORES}
        if not seeing:
            return Evidence(missing="no attack that sees confidences was run")
        return Evidence(figures={name: _figure(record, attack, condition) for name, attack in seeing.items()})
    name = named if condition.subject == LABEL else condition.subject
    if name is None:
        return Evidence(missing="the record does not say which attack the ranking names")
    if name not in attacks:
        return Evidence(missing=f"attack “{name}” was not run")
    return Evidence(figures={name: _figure(record, attacks[name], condition)}, chosen=name == named)


def _figure(record: Record[Any], attack: Any, condition: Condition) -> Estimate:
    if condition.metric == TPR:
        figure = attack.tpr_at_fpr.get(condition.rate)
        if figure is None:
            return Estimate.undefined("the record has no TPR at this rate")
        return _widened(figure, record, attack.name, float(condition.rate))
    found: Estimate = getattr(attack, condition.metric)
    return found


def _widened(figure: Estimate, record: Record[Any], attack: str, fpr: float) -> Estimate:
    """The TPR of an attack on one model, with an interval that holds where scores tie."""
    if not isinstance(record.results, Results) or figure.low is None or figure.high is None or record.scores.empty:
        return figure
    rows = record.scores[record.scores["attack"] == attack]
    scores, member = rows["score"].to_numpy(np.float64), rows["member"].to_numpy(bool)
    bounds = tpr_bounds(scores, member, fpr, confidence=record.results.confidence)
    if bounds is None:
        return figure
    return Estimate(figure.value, min(figure.low, bounds[0]), max(figure.high, bounds[1]), figure.note)


def _of_worst(worst_case: WorstCase | None, named: str | None, metric: str) -> Evidence:
    """The ranking's attack on the records that each way of choosing picks."""
    if worst_case is None:
        return Evidence(missing="the audit chose no records most at risk: give worst_case")
    figures = {
        f"“{few.attack}” on {selection.name}": getattr(few, metric)
        for selection in worst_case.selections
        for few in selection.attacks
        if few.attack == named and selection.name != AVERAGE
    }
    if not figures:
        return Evidence(missing="the attack that the ranking names was not run")
    return Evidence(figures=figures)


def _of_defenses(results: DefendResults, condition: Condition) -> Evidence:
    """A figure of a defense; the AUC or TPR of an attack on it, or of all attacks that see labels only."""
    name, attack = rules.defense_of(condition.subject)
    defense = next((result for result in results.defenses if result.name == name), None)
    if defense is None:
        levels = [result.name.replace(" ", "=") for result in results.defenses if result.defense == name]
        which = f"name its strength: {', '.join(levels)}" if levels else "it is not in this comparison"
        return Evidence(missing=f"no defense is called “{name}”: {which}")
    if condition.metric in rules.OF_DEFENSES:
        return Evidence(figures={name: getattr(defense, condition.metric)}, chosen=True, leakage=False)
    played = {
        each.title: each.auc if condition.metric == "auc" else each.tpr
        for each in defense.attacks
        if (each.name == attack if attack else each.access == Access.LABEL)
    }
    if not played:
        return Evidence(missing=f"attack “{attack}” was not run" if attack else "no label-only attack was run")
    return Evidence(figures=played)


def _of_canaries(results: CanaryResults, condition: Condition) -> Evidence:
    """A bound from below by the attack; from above only an accountant's guarantee that no bound contradicts."""
    access = Access.LABEL if condition.subject == LABEL else Access.SCORES
    bounds = [bound for bound in results.bounds if bound.access == access and bound.kind == canaries.ALL]
    if not bounds:
        return Evidence(missing="the audit has no such bound")
    promise = results.guarantee.epsilon if results.guarantee is not None and results.kept else inf
    epsilon = bounds[0].epsilon
    return Evidence(figures={condition.subject: Estimate(epsilon, epsilon, promise)}, chosen=True)

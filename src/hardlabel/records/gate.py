"""The gate: whether conditions on a record's figures are proven, excluded, or neither.

A condition says what must not be, such as "label.auc > 0.60". It is tripped where an interval proves it, passed where
an interval excludes it, and undecided otherwise. docs/gates.md has the rules.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any

from hardlabel import printed
from hardlabel.checks import InvalidInput, shown
from hardlabel.metrics.chance import chance_above, chance_below, holm
from hardlabel.metrics.estimate import Estimate
from hardlabel.records import canaries
from hardlabel.records.base import Record
from hardlabel.records.canaries import CanaryResults
from hardlabel.records.defenses import DefendResults
from hardlabel.records.evidence import Evidence, evidence
from hardlabel.records.model import Results
from hardlabel.records.recipe import RecipeResults
from hardlabel.records.verdict import ORDER, Grade, Verdict, figures_of
from hardlabel.runs import conditions as rules
from hardlabel.runs.conditions import SIGNED, Condition, GradeCondition

_KINDS: dict[type, str] = {
    Results: "model",
    RecipeResults: "recipe",
    DefendResults: "defenses",
    CanaryResults: "canaries",
}


class Outcome(StrEnum):
    """What a gate, or a condition of it, says."""

    PASSED = "passed"
    TRIPPED = "tripped"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What became of a condition.

    Attributes:
        condition: The condition as it was written.
        outcome: TRIPPED if it was proven, PASSED if it was excluded, else UNDECIDED.
        figure: The figure with its interval, or the grade.
        reason: Why, in a sentence. Names in it are those of the record.
    """

    condition: str
    outcome: Outcome
    figure: str
    reason: str

    def __str__(self) -> str:
        figure = f" ({self.figure})" if self.figure else ""
        return printed.line(f"{self.outcome}: {self.condition}{figure}: {self.reason}")


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The result of a gate on a record.

    Attributes:
        outcome: TRIPPED if any condition is tripped, else UNDECIDED if any is undecided, else PASSED.
        conditions: The result of each condition, in the order given.

    Example:
        >>> import hardlabel
        >>> print(hardlabel.gate(hardlabel.load("runs/digits"), ["label.auc > 0.99"]))
        gate passed
        passed: label.auc > 0.99 (0.9... [0.8..., 0.9...]): the interval lies below the limit
    """

    outcome: Outcome
    conditions: list[Decision]

    def __str__(self) -> str:
        return "\n".join([f"gate {self.outcome}", *map(str, self.conditions)])


def gate(record: Record[Any], conditions: Sequence[str]) -> GateResult:
    """Decides conditions on a record's figures by the ends of their intervals.

    Args:
        record: A record from `audit`, `audit_recipe`, `defend`, `audit_canaries` or `load`.
        conditions: What must not hold: SUBJECT.METRIC OPERATOR NUMBER, such as "label.auc > 0.60", or "grade >= clear".

    Raises:
        InvalidInput: There is no condition, or a condition that this kind of record cannot decide.

    Example:
        >>> import hardlabel
        >>> hardlabel.gate(hardlabel.load("runs/digits"), ["label.auc > 0.60"]).outcome
        <Outcome.TRIPPED: 'tripped'>
    """
    results: Any = getattr(record, "results", None)
    if type(results) not in _KINDS:
        raise InvalidInput(f"record must be a record of an audit, got {shown(record)}")
    if isinstance(conditions, str) or not conditions:
        raise InvalidInput(f"conditions must be a list with one condition or more, got {shown(conditions)}")
    parsed = [rules.parse(condition) for condition in conditions]
    _check(parsed, results)
    verdict: Verdict | None = getattr(results, "verdict", None)
    figures = {
        place: evidence(record, condition) for place, condition in enumerate(parsed) if isinstance(condition, Condition)
    }
    corrected = _corrected(parsed, figures, results.confidence)
    decisions = [
        _on_grade(condition, results, verdict)
        if isinstance(condition, GradeCondition)
        else _on_figure(condition, figures[place], verdict, place in corrected, results.confidence)
        for place, condition in enumerate(parsed)
    ]
    outcomes = {decision.outcome for decision in decisions}
    worst = next(outcome for outcome in (Outcome.TRIPPED, Outcome.UNDECIDED, Outcome.PASSED) if outcome in outcomes)
    return GateResult(outcome=worst, conditions=decisions)


def _check(parsed: Sequence[Condition | GradeCondition], results: Any) -> None:
    """Refuses a subject that is neither in the record nor in the table of attacks."""
    kind, own = _KINDS[type(results)], _names(results)
    for condition in parsed:
        try:
            rules.check([condition], kind=kind, attacks=own)
        except InvalidInput:
            from hardlabel.attacks.table import TABLE  # It loads PyTorch.

            rules.check([condition], kind=kind, attacks=[*own, *TABLE])


def _names(results: Any) -> list[str]:
    """Names of the attacks in the record."""
    if isinstance(results, DefendResults):
        return list(dict.fromkeys(attack.name for result in results.defenses for attack in result.attacks))
    return [attack.name for attack in getattr(results, "attacks", [])]


def _unit(condition: Condition, figure: Estimate) -> tuple[Estimate, float]:
    """The figure and the limit in [0, 1]."""
    if condition.metric not in SIGNED:
        return figure, condition.limit
    value, low, high = (None if end is None else (1 + end) / 2 for end in (figure.value, figure.low, figure.high))
    return Estimate(value, low, high), (1 + condition.limit) / 2


def _chances(
    condition: Condition, about: Evidence, chance: Callable[..., float], confidence: float
) -> dict[str, float]:
    """For each figure, the chance of its interval if the figure were at the limit."""
    return {name: chance(*_unit(condition, figure), confidence=confidence) for name, figure in about.figures.items()}


def _corrected(
    parsed: Sequence[Condition | GradeCondition], figures: Mapping[int, Evidence], confidence: float
) -> set[int]:
    """Places of the conditions on figures that were not chosen beforehand and are proven by Holm's correction."""
    chances: dict[tuple[int, str], float] = {}
    for place, about in figures.items():
        condition = parsed[place]
        assert isinstance(condition, Condition)
        if about.chosen or not about.figures:
            continue
        if condition.above:  # Any of the figures proves it.
            own = _chances(condition, about, chance_above, confidence)
            chances |= {(place, name): chance for name, chance in own.items()}
        else:  # All of the figures together prove it.
            chances[place, ""] = max(_chances(condition, about, chance_below, confidence).values())
    return {place for place, _ in holm(chances, (1 - confidence) / 2)}


def _on_figure(
    condition: Condition, about: Evidence, verdict: Verdict | None, proven_together: bool, confidence: float
) -> Decision:
    figure = _shown(condition, about)

    def told(outcome: Outcome, reason: str) -> Decision:
        return Decision(condition=condition.text, outcome=outcome, figure=figure, reason=reason)

    if about.missing:
        return told(Outcome.UNDECIDED, about.missing)
    if verdict is not None and verdict.grade is Grade.NO_VERDICT:
        return told(Outcome.UNDECIDED, _first(verdict))
    reached = _reached(condition, about)
    if about.chosen and reached:
        return told(Outcome.TRIPPED, f"the interval lies {_side(condition.above)} the limit")
    if not about.chosen and proven_together:
        side = _side(condition.above)
        return told(Outcome.TRIPPED, f"the interval lies {side} the limit, corrected for the number of figures")
    unknown = [figure.note or "it has no interval" for figure in about.figures.values() if None in _ends(figure)]
    excluded = _excluded(condition, about, confidence)
    if unknown and not excluded:
        return told(Outcome.UNDECIDED, unknown[0])
    if excluded:
        if about.leakage and verdict is not None and verdict.grade is Grade.NOT_TESTED:
            return told(Outcome.UNDECIDED, f"{_side(not condition.above)} the limit, but {_first(verdict)}")
        return told(Outcome.PASSED, f"the interval lies {_side(not condition.above)} the limit")
    if reached:
        side = _side(condition.above)
        return told(Outcome.UNDECIDED, f"{side} the limit, but not once corrected for the number of figures")
    if condition.metric == rules.EPSILON:
        return told(Outcome.UNDECIDED, "a lower bound excludes nothing, and no valid guarantee lies below the limit")
    return told(Outcome.UNDECIDED, "the interval holds the limit: more records make it narrower")


def _reached(condition: Condition, about: Evidence) -> bool:
    """Whether intervals as they are prove the condition: of any figure, or of all for a condition from above."""
    chosen = any if condition.above else all
    return chosen(_beyond(condition, figure, above=condition.above) for figure in about.figures.values())


def _excluded(condition: Condition, about: Evidence, confidence: float) -> bool:
    """Whether intervals exclude the condition: of all figures, or of any, corrected, for a condition from above."""
    if condition.above or about.chosen:
        return all(_beyond(condition, figure, above=not condition.above) for figure in about.figures.values())
    chances = _chances(condition, about, chance_above, confidence)
    return bool(holm(chances, (1 - confidence) / 2))


def _beyond(condition: Condition, figure: Estimate, *, above: bool) -> bool:
    """Whether the interval lies on this side of the limit; an end at the limit counts where the condition allows it."""
    end = figure.low if above else figure.high
    if end is None or None in _ends(figure):
        return False
    if end == condition.limit:
        return condition.strict != (above == condition.above)
    return end > condition.limit if above else end < condition.limit


def _ends(figure: Estimate) -> tuple[float | None, float | None, float | None]:
    return figure.value, figure.low, figure.high


def _shown(condition: Condition, about: Evidence) -> str:
    """The highest figure with its interval, and whose it is where there are several; "" without a figure."""
    known = [(name, figure) for name, figure in about.figures.items() if figure.value is not None]
    if not known:
        return ""
    name, figure = max(known, key=lambda item: item[1].value or 0.0)
    if condition.metric == rules.EPSILON:
        return f"at least {figure.value:.3g}" + (f", at most {figure.high:.3g}" if figure.high != inf else "")
    return f"{name} {figure}" if len(about.figures) > 1 else str(figure)


def _on_grade(condition: GradeCondition, results: Any, verdict: Verdict | None) -> Decision:
    assert verdict is not None, "such a record has a verdict: it was checked"

    def told(outcome: Outcome, reason: str) -> Decision:
        at_least = "at least " if verdict.at_least else ""
        return Decision(
            condition=condition.text, outcome=outcome, figure=f"grade {at_least}{verdict.grade}", reason=reason
        )

    if verdict.grade not in ORDER:
        return told(Outcome.UNDECIDED, verdict.reasons[0].finding if verdict.reasons else verdict.title)
    if ORDER.index(verdict.grade) >= ORDER.index(Grade(condition.level)):
        return told(Outcome.TRIPPED, f"the verdict is “{verdict.title}”")
    if verdict.at_least:
        return told(Outcome.UNDECIDED, f"the verdict is “{verdict.title}”: it may be worse")
    doubt = _may_be(Grade(condition.level), results)
    if doubt:
        return told(Outcome.UNDECIDED, doubt)
    return told(Outcome.PASSED, f"no interval of the ranking's attack reaches what is called {condition.level}")


def _may_be(level: Grade, results: Any) -> str:
    """Why a grade below `level` does not exclude `level`; empty if it does."""
    if isinstance(results, CanaryResults):
        limit = {Grade.SLIGHT: 0.0, Grade.CLEAR: canaries.CLEAR, Grade.SEVERE: canaries.SEVERE}[level]
        if results.guarantee is not None and results.kept and results.guarantee.epsilon < limit:
            return ""
        return f"no guarantee promises an epsilon below {limit:g}, and a lower bound excludes nothing"
    named = next(attack for attack in results.attacks if attack.name == results.choice.attack)
    for rate, figure, limit in figures_of(named, level):
        if figure.high is None or figure.high >= limit:
            what = "AUC" if rate is None else f"TPR at {rate}"
            return f"the {what} of “{named.name}” may be {figure}, and from {limit:.3g} on it is called {level}"
    return ""


def _first(verdict: Verdict) -> str:
    """The title of a verdict that is no grade, and its first reason."""
    finding = f": {verdict.reasons[0].finding}" if verdict.reasons else ""
    return f"{verdict.title[0].lower()}{verdict.title[1:]}{finding}"


def _side(above: bool) -> str:
    return "above" if above else "below"

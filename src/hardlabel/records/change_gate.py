"""The gate on changes: whether "change(label.auc) > 0.02" is proven, excluded, or neither."""

import re
from collections.abc import Sequence
from dataclasses import replace

from hardlabel.checks import InvalidInput, one_of, shown
from hardlabel.metrics.changes import at_confidence
from hardlabel.records.changes import EPSILON, Comparison, Later
from hardlabel.records.gate import Decision, GateResult, Outcome
from hardlabel.records.verdict import Grade
from hardlabel.runs.conditions import LABEL, TARGET, Condition, defense_of, parse

_CHANGE = re.compile(r"\s*change\((?P<figure>.+)\)\s*(?P<operator>>=|<=|>|<)\s*(?P<limit>[^()]+)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")
_EXAMPLES = "such as change(label.auc) > 0.02 or change(target.test_accuracy) < -0.01"


def changes_gate(comparison: Comparison, conditions: Sequence[str]) -> GateResult:
    """Decides conditions on changes, such as "change(label.auc) > 0.02", by the ends of their intervals.

    A condition is tripped where an interval proves it for some later run, passed where intervals exclude it for all,
    and undecided otherwise. The subjects "label" and "target" were chosen before looking at the results. Changes of
    other attacks are corrected for the number of attacks before they trip.

    Args:
        comparison: What changed; see `compare`.
        conditions: What must not hold: change(SUBJECT.METRIC) OPERATOR NUMBER.

    Raises:
        InvalidInput: There is no condition, or a condition cannot be read.

    Example:
        >>> import hardlabel
        >>> comparison = hardlabel.compare(*map(hardlabel.load, ["runs/v1", "runs/v2"]))
        >>> hardlabel.changes_gate(comparison, ["change(label.auc) > 0.02"]).outcome
        <Outcome.UNDECIDED: 'undecided'>
    """
    if isinstance(conditions, str) or not conditions:
        raise InvalidInput(f"conditions must be a list with one condition or more, got {shown(conditions)}")
    read = [_named_as_in(comparison, parse_change(text)) for text in conditions]
    for condition in read:
        _check_known(condition, comparison)
    others = max(1, sum(condition.subject not in (LABEL, TARGET) for condition in read))
    decisions = [_decided(condition, later, comparison, others) for later in comparison.later for condition in read]
    outcomes = [decision.outcome for decision in decisions]
    worst = next(one for one in (Outcome.TRIPPED, Outcome.UNDECIDED, Outcome.PASSED) if one in outcomes)
    return GateResult(outcome=worst, conditions=decisions)


def parse_change(text: str) -> Condition:
    """A condition on a change from its text.

    Raises:
        InvalidInput: It is none.

    Example:
        >>> from hardlabel.records.change_gate import parse_change
        >>> condition = parse_change("change(path.tpr@0.01) >= 5%")
        >>> condition.subject, condition.metric, condition.rate, condition.limit
        ('path', 'tpr', '0.01', 0.05)
    """
    shape = _CHANGE.fullmatch(text) if isinstance(text, str) else None
    if shape is None or _NUMBER.fullmatch(shape["limit"].strip()) is None:
        raise InvalidInput(f"fail-if must be change(SUBJECT.METRIC) > NUMBER, {_EXAMPLES}, got {shown(text)}")
    figure = parse(f"{shape['figure'].strip()} > 0.5")  # A limit that every figure can have.
    if not isinstance(figure, Condition):
        raise InvalidInput(f"fail-if must be about the change of a figure, {_EXAMPLES}, got {shown(text)}")
    digits = shape["limit"].strip()
    limit = float(digits[:-1]) / 100 if digits.endswith("%") else float(digits)
    if figure.metric != EPSILON and not -1 < limit < 1:
        raise InvalidInput(f"limit of a change must lie strictly between -1 and 1, got {shown(text)}")
    return Condition(
        text=text.strip(),
        subject=figure.subject,
        metric=figure.metric,
        rate=figure.rate,
        above=shape["operator"].startswith(">"),
        strict="=" not in shape["operator"],
        limit=limit,
    )


def metric_of(condition: Condition) -> str:
    """The metric with its rate, as a `Change` names it: "tpr@0.01"."""
    return f"{condition.metric}@{condition.rate}" if condition.rate else condition.metric


def _named_as_in(comparison: Comparison, condition: Condition) -> Condition:
    """The condition with its subject as the comparison names it: "l2 0.01.path" for "l2=0.01.path"."""
    if comparison.kind != "defenses":
        return condition
    defense, attack = defense_of(condition.subject)
    return replace(condition, subject=f"{defense}.{attack}" if attack else defense)


def _check_known(condition: Condition, comparison: Comparison) -> None:
    """Refuses a subject or a metric that no later run has."""
    changes = [change for later in comparison.later for change in later.changes]
    either = [name for later in comparison.later for name in (*later.only_first, *later.only_second)]
    subjects = dict.fromkeys([LABEL, *(change.subject for change in changes), *either])
    one_of(subjects, **{f"subject of {shown(condition.text)}:": condition.subject})
    metrics = {change.metric for change in changes if change.subject == condition.subject}
    if metrics:
        one_of(metrics, **{f"metric of {shown(condition.text)}:": metric_of(condition)})


def _decided(condition: Condition, later: Later, comparison: Comparison, others: int) -> Decision:
    def told(outcome: Outcome, reason: str, figure: str = "") -> Decision:
        where = f"{later.run.name}: " if len(comparison.later) > 1 else ""
        return Decision(condition=condition.text, outcome=outcome, figure=figure, reason=where + reason)

    known = [change for change in later.changes if change.subject == condition.subject]
    known = [change for change in known if change.metric == metric_of(condition)]
    if not known:
        return told(Outcome.UNDECIDED, "the two runs do not both have this figure")
    for run in (comparison.baseline, later.run):
        if run.grade == Grade.NO_VERDICT:
            return told(Outcome.UNDECIDED, f"run {run.name}: {run.title}")
    change = known[0].change
    if change.value is None or change.low is None or change.high is None:
        return told(Outcome.UNDECIDED, change.note or "it has no interval", str(change))
    chosen = condition.subject in (LABEL, TARGET)
    apart = 1 - (1 - comparison.confidence) / (1 if chosen else others)
    corrected = at_confidence(change, apart, of=comparison.confidence)
    assert corrected.low is not None
    assert corrected.high is not None
    side, other_side = ("above", "below") if condition.above else ("below", "above")
    if _beyond(condition, corrected.low, corrected.high):
        return told(Outcome.TRIPPED, f"the interval of the change lies {side} the limit", str(change))
    if _excluded(condition, change.low, change.high):
        return told(Outcome.PASSED, f"the interval of the change lies {other_side} the limit", str(change))
    if _beyond(condition, change.low, change.high):
        reason = f"the change is {side} the limit, but not after correction for several conditions"
        return told(Outcome.UNDECIDED, reason, str(change))
    return told(
        Outcome.UNDECIDED, "the interval of the change holds the limit: more records make it narrower", str(change)
    )


def _beyond(condition: Condition, low: float, high: float) -> bool:
    """Whether the whole interval meets the condition."""
    if condition.above:
        return low > condition.limit or (low == condition.limit and not condition.strict)
    return high < condition.limit or (high == condition.limit and not condition.strict)


def _excluded(condition: Condition, low: float, high: float) -> bool:
    """Whether no point of the interval meets the condition."""
    if condition.above:
        return high < condition.limit or (high == condition.limit and condition.strict)
    return low > condition.limit or (low == condition.limit and condition.strict)

"""Conditions of a gate, such as "label.auc > 0.60" or "grade >= clear": text is parsed, never evaluated."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hardlabel import checks
from hardlabel.checks import InvalidInput, shown

LABEL = "label"  # The attack that the ranking names.
SCORES = "scores"  # The strongest attack that sees confidences.
WORST = "worst"  # The records chosen as riskiest.
TARGET = "target"
SUBJECTS = (LABEL, SCORES, WORST, TARGET)
TPR, EPSILON, GRADE = "tpr", "epsilon", "grade"
RATES = ("0.1", "0.01", "0.001")  # False-positive rates at which records have a TPR.
RATES_OF_DEFENSES = ("0.01",)
LEVELS = ("slight", "clear", "severe")
SIGNED = frozenset(["advantage", "accuracy_change"])  # Figures in [-1, 1]; all others but epsilon lie in [0, 1].

# By kind of run: the metrics of attacks, and of other subjects.
_OF_ATTACKS = {
    "model": ("auc", "balanced_accuracy", "advantage", "precision", "precision_at_prior", TPR),
    "recipe": ("auc", TPR),
    "defenses": ("auc", TPR),
    "canaries": (EPSILON,),
}
_OF_WORST = ("precision", "recall")
_OF_TARGET = ("train_accuracy", "test_accuracy")
OF_DEFENSES = ("test_accuracy", "accuracy_change")
METRICS = tuple(
    dict.fromkeys([*(name for names in _OF_ATTACKS.values() for name in names), *_OF_WORST, *_OF_TARGET, *OF_DEFENSES])
)

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FIGURE = re.compile(
    rf"(?:(?P<subject>.+)\.)?(?P<metric>[A-Za-z_]\w*)(?:@(?P<rate>{_NUMBER}%?))?"
    rf"\s*(?P<operator>>=|<=|>|<)\s*(?P<limit>{_NUMBER}%?)",
    re.DOTALL,
)
_GRADE = re.compile(r"grade\s*(?P<operator>>=|<=|>|<)\s*(?P<level>[A-Za-z ]+)")
_DEFENSE = re.compile(rf"(?P<defense>[^=]+)=(?P<level>{_NUMBER})(?:\.(?P<attack>.+))?", re.DOTALL)
_EXAMPLES = "such as label.auc > 0.60, path.tpr@0.01 > 0.05, worst.precision > 0.8 or grade >= clear"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition on a figure.

    Attributes:
        text: The condition as it was written.
        subject: Whose figure: "label", "scores", "worst", "target", the name of an attack, or a defense.
        metric: The figure, one of METRICS.
        rate: The false-positive rate of a TPR, one of RATES; "" for other figures.
        above: Whether the condition holds above the limit, else below.
        strict: Whether it holds only beyond the limit.
        limit: The limit.
    """

    text: str
    subject: str
    metric: str
    rate: str
    above: bool
    strict: bool
    limit: float


@dataclass(frozen=True, kw_only=True)
class GradeCondition:
    """A condition on the grade of the verdict: it holds from `level` on, one of LEVELS; `text` is as written."""

    text: str
    level: str


def parse(text: str) -> Condition | GradeCondition:
    """A condition from its text.

    Args:
        text: SUBJECT.METRIC OPERATOR NUMBER, or grade OPERATOR LEVEL. A number may be a share in per cent.

    Raises:
        InvalidInput: It is none, or no figure could ever meet or miss it.

    Example:
        >>> from hardlabel.runs.conditions import parse
        >>> parse("path.tpr@1% > 5%").limit
        0.05
        >>> parse("label.acc > 0.6")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: metric of gate condition 'acc' is unknown: did you mean 'auc'? known are ...
    """
    if not isinstance(text, str):
        raise InvalidInput(f"gate must be a list of conditions, {_EXAMPLES}, got {shown(text)}")
    words = text.strip()
    grade, figure = _GRADE.fullmatch(words), _FIGURE.fullmatch(words)
    if grade is not None:
        return _grade(text, grade["operator"], grade["level"].strip())
    if figure is None:
        raise InvalidInput(f"gate must be SUBJECT.METRIC > NUMBER or grade >= LEVEL, {_EXAMPLES}, got {shown(text)}")
    subject, metric = (figure["subject"] or "").strip(), figure["metric"]
    if metric == GRADE:
        raise InvalidInput(f"grade must be compared with {', '.join(LEVELS)}, got {shown(text)}")
    checks.one_of([*METRICS, GRADE], **{"metric of gate condition": metric})
    if not subject:
        if metric != EPSILON:
            raise InvalidInput(f"gate must say whose {metric}, such as label.{metric}, got {shown(text)}")
        subject = LABEL
    limit = _number(figure["limit"])
    _check_limit(text, metric, limit)
    return Condition(
        text=words,
        subject=subject,
        metric=metric,
        rate=_rate(text, metric, figure["rate"]),
        above=figure["operator"].startswith(">"),
        strict="=" not in figure["operator"],
        limit=limit,
    )


def check(conditions: Sequence[Condition | GradeCondition], *, kind: str, attacks: Iterable[str] | None = None) -> None:
    """Refuses conditions that no run of this kind could decide.

    Args:
        conditions: Parsed conditions.
        kind: Name of the kind of run: "model", "target", "recipe", "defenses" or "canaries".
        attacks: Names that an attack may have; None for those of the table of attacks.

    Raises:
        InvalidInput: A subject or a metric does not exist in such a run; the message lists those that do.
    """
    kind = "model" if kind == TARGET else kind
    for condition in conditions:
        if isinstance(condition, GradeCondition):
            if kind == "defenses":
                raise InvalidInput(
                    f"gate {shown(condition.text)} needs a verdict, and a comparison of defenses has none"
                )
        elif kind == "defenses":
            _check_defense(condition, _attacks(attacks))
        elif kind == "canaries":
            _one_of([LABEL, SCORES], condition, "subject", condition.subject)
            _one_of(_OF_ATTACKS[kind], condition, "metric", condition.metric)
        else:
            _check_audit(condition, kind, attacks)


def defense_of(subject: str) -> tuple[str, str]:
    """The defense with its level as records name it, and the attack or "": ("l2 0.01", "path") of "l2=0.01.path".

    Example:
        >>> from hardlabel.runs.conditions import defense_of
        >>> defense_of("l2=0.01.path")
        ('l2 0.01', 'path')
        >>> defense_of("none")
        ('none', '')
    """
    levelled = _DEFENSE.fullmatch(subject)
    if levelled is not None:
        return f"{levelled['defense'].strip()} {float(levelled['level']):g}", levelled["attack"] or ""
    defense, _, attack = subject.partition(".")
    return defense, attack


def _check_audit(condition: Condition, kind: str, attacks: Iterable[str] | None) -> None:
    subject = condition.subject
    others = {WORST: _OF_WORST, TARGET: _OF_TARGET} if kind == "model" else {WORST: _OF_WORST}
    if subject not in (LABEL, SCORES, *others):
        names = list(_attacks(attacks))
        if subject not in names:
            _one_of([LABEL, SCORES, *others, *names], condition, "subject", subject)
    _one_of(others.get(subject, _OF_ATTACKS[kind]), condition, "metric", condition.metric)


def _check_defense(condition: Condition, attacks: Iterable[str]) -> None:
    defense, attack = defense_of(condition.subject)
    if not attack and condition.metric in OF_DEFENSES:
        return
    if defense in (LABEL, SCORES, WORST, TARGET):
        raise InvalidInput(
            f"subject of gate {shown(condition.text)} must be DEFENSE or DEFENSE.ATTACK, such as none.auc, "
            f"l2=0.01.auc or none.path.auc, got {shown(condition.subject)}"
        )
    _one_of([*_OF_ATTACKS["defenses"], *(() if attack else OF_DEFENSES)], condition, "metric", condition.metric)
    if condition.metric == TPR and condition.rate not in RATES_OF_DEFENSES:
        raise InvalidInput(f"gate {shown(condition.text)} must name tpr@0.01: a comparison of defenses has no other")
    if attack:
        _one_of(attacks, condition, "attack", attack)


def _one_of(known: Iterable[str], condition: Condition, what: str, name: str) -> None:
    checks.one_of(dict.fromkeys(known), **{f"{what} of gate {shown(condition.text)}:": name})


def _attacks(names: Iterable[str] | None) -> Iterable[str]:
    if names is not None:
        return names
    from hardlabel.attacks.table import TABLE  # It loads PyTorch.

    return list(TABLE)


def _grade(text: str, operator: str, level: str) -> GradeCondition:
    if level not in LEVELS:
        raise InvalidInput(f"grade must be compared with {', '.join(LEVELS)}, got {shown(text)}")
    if not operator.startswith(">"):
        raise InvalidInput(f"grade must be compared by >= or >, since less leakage is no failure, got {shown(text)}")
    place = LEVELS.index(level) + (operator == ">")
    if place == len(LEVELS):
        raise InvalidInput(f"grade must be compared by >= with {LEVELS[-1]}: no grade is above it, got {shown(text)}")
    return GradeCondition(text=text.strip(), level=LEVELS[place])


def _rate(text: str, metric: str, rate: str | None) -> str:
    if metric != TPR:
        if rate is not None:
            raise InvalidInput(f"gate must name a false-positive rate after tpr only, got {shown(text)}")
        return ""
    name = "" if rate is None else f"{_number(rate):g}"
    if name not in RATES:
        raise InvalidInput(f"tpr must name its false-positive rate: tpr@{', tpr@'.join(RATES)}, got {shown(text)}")
    return name


def _check_limit(text: str, metric: str, limit: float) -> None:
    low, high = (-1.0, 1.0) if metric in SIGNED else (0.0, 1.0)
    if metric == EPSILON:
        if not (math.isfinite(limit) and limit >= 0):
            raise InvalidInput(f"limit of epsilon must be 0 or more, got {shown(text)}")
    elif not low < limit < high:
        raise InvalidInput(f"limit of {metric} must lie strictly between {low:g} and {high:g}, got {shown(text)}")


def _number(text: str) -> float:
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)

"""Which defense to take: the Pareto front, and a recommendation by a fixed rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hardlabel.records.effects import LEAST, Effect, effects, enough, why_unknown
from hardlabel.records.verdict import Grade

if TYPE_CHECKING:  # The record shows the recommendation, so it imports this module.
    from hardlabel.records.defenses import DefendResults, DefenseResult

MARGIN = 0.02  # A defense that costs less test accuracy than this counts as free.


class Outcome(StrEnum):
    """What a comparison says of its defenses together."""

    FREE = "a defense helps and costs no measurable accuracy"
    PRICED = "a defense helps, at a price"
    UNKNOWN = "the comparison cannot say whether a defense helps"
    FEW = "too few models to tell whether a defense helps"
    NONE = "no defense helps enough"


TITLES: Mapping[Outcome, str] = {
    Outcome.FREE: "{name} helps and costs no measurable accuracy",
    Outcome.PRICED: "{name} helps, at a price",
    Outcome.UNKNOWN: "This comparison cannot say whether a defense helps",
    Outcome.FEW: f"Too few models to tell whether a defense helps by {LEAST:g} or more",
    Outcome.NONE: f"No defense helps by {LEAST:g} or more",
}
BRIEF: Mapping[Outcome, str] = {
    Outcome.FREE: "{name} helps",
    Outcome.PRICED: "{name}, at a price",
    Outcome.UNKNOWN: "cannot say",
    Outcome.FEW: "too few models",
    Outcome.NONE: "none helps",
}
GRADES: Mapping[Outcome, Grade] = {
    Outcome.FREE: Grade.NONE,
    Outcome.PRICED: Grade.SLIGHT,
    Outcome.UNKNOWN: Grade.NO_VERDICT,
    Outcome.FEW: Grade.NOT_TESTED,
    Outcome.NONE: Grade.CLEAR,
}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of a comparison, and the defense to take.

    Attributes:
        outcome: What the comparison says.
        name: Name and level of the best free defense, else of the strongest one; empty if none qualifies.
    """

    outcome: Outcome
    name: str

    def words(self, texts: Mapping[Outcome, str]) -> str:
        """The text for the outcome, with the defense's name for "{name}"."""
        return texts[self.outcome].format(name=self.name)


def decision(results: "DefendResults") -> Decision:
    """What a comparison says, decided here alone: titles, grades and steps are tables of its outcomes."""
    best, strongest = picked(results)
    if best is not None:
        return Decision(outcome=Outcome.FREE, name=best.name)
    if strongest is not None:
        return Decision(outcome=Outcome.PRICED, name=strongest.name)
    if why_unknown(results) is not None:
        return Decision(outcome=Outcome.UNKNOWN, name="")
    return Decision(outcome=Outcome.FEW if undecided(results) else Outcome.NONE, name="")


def with_front(results: "Sequence[DefenseResult]") -> "list[DefenseResult]":
    """The same results with `front` set: the Pareto front of test accuracy against the strongest attack's AUC."""
    points = [(_number(result.test_accuracy.value), _leak(result)) for result in results]
    return [
        result.model_copy(update={"front": not any(_better(other, point) for other in points)})
        for result, point in zip(results, points, strict=True)
    ]


def title(results: "DefendResults") -> str:
    """The recommendation in a few words."""
    return decision(results).words(TITLES)


def grade(results: "DefendResults") -> Grade:
    """How far the defenses leave the model unprotected.

    NONE: a defense helps and costs no measurable accuracy. SLIGHT: a defense helps, at a price. CLEAR: none helps.
    NOT_TESTED: there are too few models to tell. NO_VERDICT: the comparison cannot say.
    """
    return GRADES[decision(results).outcome]


def brief(results: "DefendResults") -> str:
    """The recommendation in a word or two."""
    return decision(results).words(BRIEF)


def recommendation(results: "DefendResults") -> list[str]:
    """Sentences: the free defense that lowers the strongest attack's AUC most, and the strongest defense at any cost.

    A defense is recommended if it helps by more than LEAST, see `effects.enough`. A defense is free if the lower end of
    the paired change in accuracy is above -margin. If no defense qualifies, the sentences say whether that was measured
    or whether there were too few models to tell.
    """
    plain = results.undefended
    sentences = [
        f"Undefended, the strongest attack ({plain.strongest}) has an AUC of {plain.worst.auc}, at a test accuracy of "
        f"{plain.test_accuracy}."
    ]
    why = why_unknown(results)
    if why is not None:
        sentences.append(f"This comparison cannot say whether a defense helps. {why}")
    else:
        sentences += _picked_words(results) + _found_words(results)
    masks = [result.defense for result in results.defended if result.keeps_labels]
    if masks:
        names = ", ".join(dict.fromkeys(masks))
        sentences.append(
            f"{names}: no label changes, so that label-only attacks find exactly what they find undefended."
        )
    sentences.append(
        "Each figure is that of the strongest of several attacks, picked by its result; stronger attacks may exist."
    )
    return sentences


def picked(results: "DefendResults") -> "tuple[DefenseResult | None, DefenseResult | None]":
    """The best free defense, and the best defense at any cost; None if no defense qualifies."""
    if why_unknown(results) is not None:
        return None, None
    helping = [result for result in results.defended if enough(result, results.undefended)]
    free = [result for result in helping if (result.accuracy_change.low or 0.0) > -results.margin]
    return min(free, key=_leak, default=None), min(helping, key=_leak, default=None)


def undecided(results: "DefendResults") -> list[str]:
    """Names of defenses that may lower the AUC by LEAST or more, or by less: their intervals allow both."""
    found = effects(results)
    return [
        result.name
        for result in results.defended
        if found[result.name] in (Effect.FEW, Effect.HELPS) and not enough(result, results.undefended)
    ]


def _picked_words(results: "DefendResults") -> list[str]:
    """Which defense to take; empty if no defense qualifies."""
    best, strongest = picked(results)
    if strongest is None:
        return []
    margin = 100 * results.margin
    words = [f"No defense that helps is sure to cost less than {margin:g} points of test accuracy."]
    if best is not None:
        words = [
            f"Take {best.name}: its strongest attack ({best.strongest}) has an AUC of {best.worst.auc}, and it costs "
            f"less than {margin:g} points of test accuracy ({_points(best)})."
        ]
    if best is None or strongest.name != best.name:
        words.append(
            f"The strongest protection is {strongest.name}: AUC {strongest.worst.auc} ({strongest.strongest}), for "
            f"{_points(strongest)} of test accuracy."
        )
    return words


def _found_words(results: "DefendResults") -> list[str]:
    """What was found of the other defenses; what no interval tells is no finding."""
    found, open_names = effects(results), undecided(results)
    fails = [name for name, effect in found.items() if effect is Effect.NOT]
    small = [name for name in open_names if found[name] is Effect.HELPS]
    level, words = f"{100 * results.confidence:g} %", []
    if fails and len(fails) == len(found):
        words.append(
            f"No defense lowers the AUC of the strongest attacks by {LEAST:g} or more: {level} intervals exclude it."
        )
    elif fails:
        words.append(f"By {level} intervals, these do not help by {LEAST:g} or more: {', '.join(fails)}.")
    if small:
        words.append(f"These help, perhaps by less than {LEAST:g}: {', '.join(small)}.")
    few = [name for name in open_names if name not in small]
    if few:
        words.append(f"Too few models to tell (the intervals allow no fall and a fall of {LEAST:g}): {', '.join(few)}.")
    if open_names:
        words.append(
            f"{results.targets} models of each defense were attacked. More models tell more: raise --repeats "
            f"(at most --references + 2, here {results.references + 2}), or --samples."
        )
    return words


def _better(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other[0] >= point[0] and other[1] <= point[1] and other != point


def _leak(result: "DefenseResult") -> float:
    return _number(result.worst.auc.value)


def _number(value: float | None) -> float:
    assert value is not None, "means over targets always have a value"
    return value


def _points(result: "DefenseResult") -> str:
    change = result.accuracy_change
    if change.value is None or change.low is None or change.high is None:
        return "an unknown change"
    return f"{100 * change.value:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"

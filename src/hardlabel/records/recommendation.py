"""Which defense to take: the Pareto front, and a recommendation by a fixed rule."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hardlabel.records.effects import LEAST, Effect, effects, enough, why_unknown
from hardlabel.records.verdict import Grade

if TYPE_CHECKING:  # The record shows the recommendation, so it imports this module.
    from hardlabel.records.defenses import DefendResults, DefenseResult

MARGIN = 0.02  # A defense that costs less test accuracy than this counts as free.


def with_front(results: "Sequence[DefenseResult]") -> "list[DefenseResult]":
    """The same results with `front` set: the Pareto front of test accuracy against the strongest attack's AUC."""
    points = [(_number(result.test_accuracy.value), _leak(result)) for result in results]
    return [
        result.model_copy(update={"front": not any(_better(other, point) for other in points)})
        for result, point in zip(results, points, strict=True)
    ]


def title(results: "DefendResults") -> str:
    """The recommendation in a few words."""
    best, strongest = picked(results)
    if best is not None:
        return f"{best.name} helps and costs no measurable accuracy"
    if strongest is not None:
        return f"{strongest.name} helps, at a price"
    if why_unknown(results) is not None:
        return "This comparison cannot say whether a defense helps"
    if undecided(results):
        return f"Too few models to tell whether a defense helps by {LEAST:g} or more"
    return f"No defense helps by {LEAST:g} or more"


def grade(results: "DefendResults") -> Grade:
    """How far the defenses leave the model unprotected.

    NONE: a defense helps and costs no measurable accuracy. SLIGHT: a defense helps, at a price. CLEAR: none helps.
    NOT_TESTED: there are too few models to tell. NO_VERDICT: the comparison cannot say.
    """
    best, strongest = picked(results)
    if strongest is not None:
        return Grade.SLIGHT if best is None else Grade.NONE
    if why_unknown(results) is not None:
        return Grade.NO_VERDICT
    return Grade.NOT_TESTED if undecided(results) else Grade.CLEAR


def brief(results: "DefendResults") -> str:
    """The recommendation in a word or two."""
    best, strongest = picked(results)
    if best is not None:
        return f"{best.name} helps"
    if strongest is not None:
        return f"{strongest.name}, at a price"
    if why_unknown(results) is not None:
        return "cannot say"
    return "too few models" if undecided(results) else "none helps"


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
        "Each figure is that of the strongest of several attacks, chosen for its outcome; stronger ones may exist."
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
    words = [f"No defense that helps surely costs less than {margin:g} points of test accuracy."]
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
        words.append(
            f"Too few models to tell, since the intervals allow no fall and a fall of {LEAST:g}: {', '.join(few)}."
        )
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

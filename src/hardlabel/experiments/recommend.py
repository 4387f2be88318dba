"""Which defense to take: the Pareto front, and a recommendation by a rule that is fixed beforehand."""

from collections.abc import Sequence

from hardlabel.experiments.defend_record import NONE, DefenseResult

MARGIN = 0.02  # Test accuracy that a defense may cost and still count as "not worse".
LEAST = 0.02  # What it must take from the strongest attacks' AUC to count as helping.


def with_front(results: Sequence[DefenseResult]) -> list[DefenseResult]:
    """The same results, each told whether it is on the front of test accuracy against the strongest attack's AUC."""
    points = [(_value(one), _leak(one)) for one in results]
    return [
        one.model_copy(update={"front": not any(_better(other, point) for other in points)})
        for one, point in zip(results, points, strict=True)
    ]


def recommendation(results: Sequence[DefenseResult], *, confidence: float, margin: float = MARGIN) -> list[str]:
    """Sentences: the defense that lowers the strongest attack's AUC most without costing accuracy, and the next step.

    A defense counts as helping where each attack chosen as strongest, on it and on the undefended models, is lower
    than on the undefended models, the upper end of the paired change below -LEAST; as costing nothing where the lower
    end of the paired change in accuracy is above -margin.
    """
    plain = next(one for one in results if one.defense == NONE)
    others = [one for one in results if one.defense != NONE]
    sure = f"{100 * confidence:g} %"
    told = [
        f"Undefended, the strongest attack ({plain.strongest}) has an AUC of {plain.worst.auc}, at a test accuracy of "
        f"{plain.test_accuracy}."
    ]
    best, strongest = picked(results, margin=margin)
    if strongest is None:
        told.append(
            f"As far as {sure} intervals tell, no defense lowers the AUC of the strongest attacks by {LEAST:g} or more."
        )
    elif best is not None:
        told.append(
            f"Take {best.name}: its strongest attack ({best.strongest}) has an AUC of {best.worst.auc}, and it costs "
            f"less than {100 * margin:g} points of test accuracy ({_points(best)})."
        )
    else:
        told.append(f"No defense that helps surely costs less than {100 * margin:g} points of test accuracy.")
    if strongest is not None and (best is None or strongest.name != best.name):
        told.append(
            f"The strongest protection is {strongest.name}: AUC {strongest.worst.auc} ({strongest.strongest}), for "
            f"{_points(strongest)} of test accuracy."
        )
    masks = [one for one in others if one.keeps_labels]
    if masks:
        names = ", ".join(dict.fromkeys(one.defense for one in masks))
        told.append(f"{names}: no label changes, so that label-only attacks find exactly what they find undefended.")
    told.append(
        "Each figure is that of the strongest of several attacks, chosen for its outcome; stronger ones may exist."
    )
    return told


def picked(
    results: Sequence[DefenseResult], *, margin: float = MARGIN
) -> tuple[DefenseResult | None, DefenseResult | None]:
    """The best defense that costs no accuracy, and the best whatever it costs; None where there is none."""
    plain = next(one for one in results if one.defense == NONE)
    helping = [one for one in results if one.defense != NONE and _helps(one, plain)]
    free = [one for one in helping if (one.accuracy_change.low or 0.0) > -margin]
    return min(free, key=_leak, default=None), min(helping, key=_leak, default=None)


def _helps(one: DefenseResult, plain: DefenseResult) -> bool:
    """Whether the attacks that are strongest on either are weaker under the defense, adaptive where they can be."""
    names = {one.worst.name, plain.worst.name}
    changes = [attack.change for attack in one.attacks if attack.name in names]
    strongest = max(_number(attack.auc.value) for attack in one.attacks)
    return strongest < _leak(plain) and bool(changes) and all((change.high or 0.0) < -LEAST for change in changes)


def _better(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other[0] >= point[0] and other[1] <= point[1] and other != point


def _value(one: DefenseResult) -> float:
    return _number(one.test_accuracy.value)


def _leak(one: DefenseResult) -> float:
    return _number(one.worst.auc.value)


def _number(value: float | None) -> float:
    assert value is not None, "means over targets always have a value"
    return value


def _points(one: DefenseResult) -> str:
    change = one.accuracy_change
    if change.value is None or change.low is None or change.high is None:
        return "an unknown change"
    return f"{100 * change.value:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"

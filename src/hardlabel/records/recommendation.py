"""Which defense to take: the Pareto front, and a recommendation by a fixed rule."""

from collections.abc import Sequence

from hardlabel.records.defenses import NONE, DefenseResult

MARGIN = 0.02  # A defense that costs less test accuracy than this counts as free.
LEAST = 0.02  # A defense helps if it lowers the strongest attacks' AUC by more than this.


def with_front(results: Sequence[DefenseResult]) -> list[DefenseResult]:
    """The same results with `front` set: the Pareto front of test accuracy against the strongest attack's AUC."""
    points = [(_number(result.test_accuracy.value), _leak(result)) for result in results]
    return [
        result.model_copy(update={"front": not any(_better(other, point) for other in points)})
        for result, point in zip(results, points, strict=True)
    ]


def recommendation(results: Sequence[DefenseResult], *, confidence: float, margin: float = MARGIN) -> list[str]:
    """Sentences: the free defense that lowers the strongest attack's AUC most, and the strongest defense at any cost.

    A defense helps if it weakens two attacks: the strongest on the defense, and the strongest on the undefended models.
    For both, the upper end of the paired change in AUC must be below -LEAST. A defense is free if the lower end of the
    paired change in accuracy is above -margin.
    """
    plain = _undefended(results)
    sentences = [
        f"Undefended, the strongest attack ({plain.strongest}) has an AUC of {plain.worst.auc}, at a test accuracy of "
        f"{plain.test_accuracy}."
    ]
    best, strongest = picked(results, margin=margin)
    if strongest is None:
        sentences.append(
            f"As far as {100 * confidence:g} % intervals tell, no defense lowers the AUC of the strongest attacks by "
            f"{LEAST:g} or more."
        )
    elif best is not None:
        sentences.append(
            f"Take {best.name}: its strongest attack ({best.strongest}) has an AUC of {best.worst.auc}, and it costs "
            f"less than {100 * margin:g} points of test accuracy ({_points(best)})."
        )
    else:
        sentences.append(f"No defense that helps surely costs less than {100 * margin:g} points of test accuracy.")
    if strongest is not None and (best is None or strongest.name != best.name):
        sentences.append(
            f"The strongest protection is {strongest.name}: AUC {strongest.worst.auc} ({strongest.strongest}), for "
            f"{_points(strongest)} of test accuracy."
        )
    masks = [result.defense for result in results if result.keeps_labels and result.defense != NONE]
    if masks:
        names = ", ".join(dict.fromkeys(masks))
        sentences.append(
            f"{names}: no label changes, so that label-only attacks find exactly what they find undefended."
        )
    sentences.append(
        "Each figure is that of the strongest of several attacks, chosen for its outcome; stronger ones may exist."
    )
    return sentences


def picked(
    results: Sequence[DefenseResult], *, margin: float = MARGIN
) -> tuple[DefenseResult | None, DefenseResult | None]:
    """The best free defense, and the best defense at any cost; None if no defense qualifies."""
    plain = _undefended(results)
    helping = [result for result in results if result.defense != NONE and _helps(result, plain)]
    free = [result for result in helping if (result.accuracy_change.low or 0.0) > -margin]
    return min(free, key=_leak, default=None), min(helping, key=_leak, default=None)


def _undefended(results: Sequence[DefenseResult]) -> DefenseResult:
    return next(result for result in results if result.defense == NONE)


def _helps(defended: DefenseResult, plain: DefenseResult) -> bool:
    """Whether the defense weakens its strongest attack and the strongest attack on the undefended models."""
    names = {defended.worst.name, plain.worst.name}
    changes = [attack.change for attack in defended.attacks if attack.name in names]
    strongest = max(_number(attack.auc.value) for attack in defended.attacks)
    return strongest < _leak(plain) and bool(changes) and all((change.high or 0.0) < -LEAST for change in changes)


def _better(other: tuple[float, float], point: tuple[float, float]) -> bool:
    return other[0] >= point[0] and other[1] <= point[1] and other != point


def _leak(result: DefenseResult) -> float:
    return _number(result.worst.auc.value)


def _number(value: float | None) -> float:
    assert value is not None, "means over targets always have a value"
    return value


def _points(result: DefenseResult) -> str:
    change = result.accuracy_change
    if change.value is None or change.low is None or change.high is None:
        return "an unknown change"
    return f"{100 * change.value:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"

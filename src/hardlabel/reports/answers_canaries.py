"""The first screen for an audit by canaries."""

from hardlabel.records.canaries import ALL, CanaryRecord, CanaryResults
from hardlabel.records.verdict import Grade
from hardlabel.reports import canaries
from hardlabel.reports.next_steps import next_steps
from hardlabel.reports.questions import Answers, Bar, Compared, Ground, axis_end, care, good
from hardlabel.reports.wording import counted, number

MEANINGS = {
    Grade.SEVERE: "The answers of such a model can say very much about whether a single record was trained on.",
    Grade.CLEAR: "The answers of such a model can say much about whether a single record was trained on.",
    Grade.SLIGHT: "The answers of such a model can say a little about whether a single record was trained on.",
    Grade.NONE: "Nothing was proved, and an accountant bounds from above what any attack can find.",
    Grade.NOT_TESTED: "Nothing was proved. This does not say that the training is private.",
}


def canary_answers(record: CanaryRecord) -> Answers:
    """The first screen of an audit by canaries."""
    results = record.results
    found = results.verdict
    return Answers(
        grade=found.grade,
        title=found.title,
        meaning=MEANINGS[found.grade],
        subject=f"{results.description}, on {results.data}; canaries planted: {canaries.planted(results)}",
        leaking=_leaking(results),
        compared=_compared(results),
        beside="",
        risk=(
            _odds(results),
            "Canaries are made to be remembered. A usual record may be remembered less, an unusual one just as well.",
        ),
        steps=tuple(next_steps(record)),
        grounds=_grounds(results),
    )


def _leaking(results: CanaryResults) -> tuple[str, ...]:
    highest, level = results.highest, f"{100 * results.confidence:g} %"
    if highest <= 0:
        return ("Not known.", "No bound over all canaries lies above 0.")
    label = next((bound for bound in results.bounds if bound.kind == ALL and bound.access == "label"), None)
    shown = canaries.proved(label.epsilon if label is not None else highest)
    words = f"Epsilon is at least {shown} with {level} confidence, for an attacker who sees labels only; "
    says = "Yes." if results.verdict.grade in (Grade.SEVERE, Grade.CLEAR) else "Slightly."
    if results.kept is False:
        return (says, f"{words}the promise is at most {_promised(results):.4g}, so it is broken.")
    if results.kept:
        return (says, f"{words}the promise is at most {_promised(results):.4g}, which that does not contradict.")
    return (says, f"{words}0 would be perfect privacy.")


def _promised(results: CanaryResults) -> float:
    assert results.guarantee is not None, "a promise is kept or broken only where there is one"
    return results.guarantee.epsilon


def _compared(results: CanaryResults) -> Compared:
    names = {"label": "Proved, labels only", "scores": "Proved, confidences too"}
    bars = [Bar(label="Perfect privacy", value=0.0, shown="0")]
    bars += [
        Bar(
            label=names.get(bound.access, bound.access),
            value=bound.epsilon,
            shown=f"at least {canaries.proved(bound.epsilon)}",
            sees=bound.access,
            owner=f"{bound.kind} {bound.access}",
            figure="epsilon",
        )
        for bound in results.bounds
        if bound.kind == ALL
    ]
    if results.guarantee is not None:
        epsilon = results.guarantee.epsilon
        bars.append(
            Bar(label="Promised", value=epsilon, shown=f"at most {epsilon:.4g}", owner="promise", figure="epsilon")
        )
    return Compared(title="Epsilon", most=axis_end([bar.value for bar in bars]), bars=tuple(bars))


def _odds(results: CanaryResults) -> str:
    if results.highest <= 0:
        return "Not known: nothing was proved of any record."
    return (
        "Any single record may be: even odds that it was trained on may become "
        f"{canaries.odds(results.highest)} for somebody who sees the answers."
    )


def _grounds(results: CanaryResults) -> tuple[Ground, ...]:
    level = f"{100 * results.confidence:g} %"
    count = number(sum(results.canaries.values()))
    miss = f"{100 - 100 * results.confidence:.3g} %"
    grounds = [good(f"What is proved is proved: a bound exceeds the truth in at most {miss} of audits.")]
    if results.runs == 1:
        grounds.append(good(f"{count} canaries, each planted or not by a coin of its own."))
    else:
        grounds.append(good(f"{counted(results.runs, 'training')}, with the canary or without it by a coin."))
    if results.guarantee is not None:
        grounds.append(good(f"An accountant ({results.guarantee.accountant}) bounds epsilon from above."))
    else:
        grounds.append(care("Nothing bounds epsilon from above: a low figure here never clears a training."))
    grounds.append(care(f"Each bound has {level} confidence on its own: nothing corrects for picking the best."))
    grounds.append(care("This is about a training with canaries, not about a model in use."))
    return tuple(sorted(grounds, key=lambda ground: not ground.good))

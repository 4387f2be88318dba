"""The first screen for a comparison of defenses."""

from collections.abc import Mapping

from hardlabel.records.defenses import DefendRecord, DefendResults, DefenseResult
from hardlabel.records.effects import LEAST
from hardlabel.records.recommendation import Outcome, decision, picked, undecided
from hardlabel.reports import comparison
from hardlabel.reports.next_steps import next_steps
from hardlabel.reports.questions import (
    Answers,
    Bar,
    Compared,
    Ground,
    axis_end,
    care,
    ends_of_100,
    good,
    of_100,
    pair_words,
)
from hardlabel.reports.wording import counted, listed

FEW_MODELS = 4
MEANINGS: Mapping[Outcome, str] = {
    Outcome.FREE: "With {name} models let out measurably less, and they stay as good.",
    Outcome.PRICED: "With {name} models let out measurably less, and they get worse.",
    Outcome.UNKNOWN: "The undefended models give nothing to compare with.",
    Outcome.FEW: "The intervals are too wide: they allow that a defense helps and that it does not.",
    Outcome.NONE: "None of the defenses that were tried protects the training data.",
}


def defense_answers(record: DefendRecord) -> Answers:
    """The first screen of a comparison of defenses."""
    results = record.results
    grade, title = comparison.verdict(results)
    ways = counted(len(results.defended), "defended way")
    return Answers(
        grade=grade,
        title=title,
        meaning=decision(results).words(MEANINGS),
        subject=f"{results.undefended.description}, on {results.data}; {ways}",
        leaking=_leaking(results.undefended),
        compared=_compared(results),
        beside="",
        risk=(
            "Not looked at here: the figures are averages over records, and an average hides the records most at risk. "
            "An audit of the model names them.",
        ),
        steps=tuple(next_steps(record)),
        grounds=_grounds(results),
    )


def _leaking(plain: DefenseResult) -> tuple[str, ...]:
    auc = plain.worst.auc
    leaks = auc.low is not None and auc.low > 0.5
    sees = "labels only" if plain.worst.access == "label" else "confidences"
    return (
        "Without a defense, yes." if leaks else "Without a defense, none was found.",
        f"{pair_words(auc)} The attack is “{plain.worst.title}”, which sees {sees}.",
    )


def _compared(results: DefendResults) -> Compared:
    best, strongest = picked(results)
    shown = [("Undefended", results.undefended)]
    if best is not None:
        shown.append((f"{best.name}, which costs nothing measurable", best))
    if strongest is not None and (best is None or strongest.name != best.name):
        shown.append((f"{strongest.name}, the strongest protection", strongest))
    if strongest is None:
        lowest = min(results.defended, key=lambda result: result.worst.auc.value or 0.0, default=None)
        shown += [] if lowest is None else [(f"{lowest.name}, the lowest figure", lowest)]
    bars = [Bar(label="Guessing", value=0.5, shown=of_100(0.5))]
    for label, result in shown:
        auc = result.worst.auc
        bars.append(
            Bar(
                label=label,
                value=auc.value or 0.0,
                low=auc.low,
                high=auc.high,
                shown=f"{of_100(auc.value or 0.0)}{ends_of_100(auc)}",
                sees=result.worst.access,
                owner=result.name,
                figure="auc",
            )
        )
    ends = [end for bar in bars for end in (bar.value, bar.high) if end is not None]
    title = "Right cases of 100 for the strongest attack, shown a member and a non-member"
    return Compared(title=title, most=axis_end(ends, limit=1.0), bars=tuple(bars))


def _grounds(results: DefendResults) -> tuple[Ground, ...]:
    models = f"{counted(results.targets, 'model')} of each defense"
    grounds = [
        good("Each defense faced attackers who know about it and attackers who do not."),
        good("Differences are paired: the same records and seeds with and without a defense."),
        good(f"{models}.") if results.targets >= FEW_MODELS else care(f"Only {models} (--repeats)."),
    ]
    few = undecided(results)
    if few:
        grounds.append(care(f"Too few models to tell whether a fall of {LEAST:g} was reached: {listed(few)}."))
    grounds += [
        care("Strengths of defenses were not tuned: other strengths may do better."),
        care(f"This is about this way of training, on {counted(results.train_size, 'record')}."),
    ]
    return tuple(sorted(grounds, key=lambda ground: not ground.good))

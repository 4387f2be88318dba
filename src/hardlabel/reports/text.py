"""The figures as Markdown tables, for a README or a pull request."""

from collections.abc import Sequence

from hardlabel import printed
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.canaries import CanaryBound, CanaryRecord
from hardlabel.records.exposure import AVERAGE, CLASS, Games, GroupRisk, WorstCase
from hardlabel.records.model import AttackResult, AuditRecord, ReferenceModels
from hardlabel.records.recipe import RecipeAttack, RecipeRecord
from hardlabel.records.verdict import A
from hardlabel.reports import attacker
from hardlabel.reports.attacker import Costed
from hardlabel.reports.recipe import accuracies, recipe_verdict
from hardlabel.reports.tables import lowest_rate
from hardlabel.reports.verdict import verdict
from hardlabel.reports.wording import SPACE


def model_markdown(record: AuditRecord) -> str:
    """One row per attack, and what was left out; an undefined figure shows its reason."""
    results = record.results
    against_gap = {pair.first: pair.auc for pair in results.differences if pair.second == "gap"}
    head = ("attack", "sees", "queries (max)", attacker.OWN.lower(), "AUC", "AUC over gap", "balanced accuracy")
    rows = [
        [
            *_costs(attack),
            _cell(attack.auc),
            _cell(against_gap[attack.name]) if attack.name in against_gap else "",
            _cell(attack.balanced_accuracy),
            _found(attack, "0.1"),
            _found(attack, "0.01"),
        ]
        for attack in results.attacks
    ]
    return "\n".join(
        [
            printed.paragraph(
                f"{results.data}: {results.target.description}; train accuracy {results.target.train_accuracy}, "
                f"test {results.target.test_accuracy}; {results.members} members, {results.nonmembers} non-members."
            ),
            "",
            *_table((*head, "TPR at 10 % FPR", "at 1 % FPR"), rows),
            *_left_out([(out.name, out.reason) for out in results.left_out], columns=len(head) + 2),
            *_worst(results.worst_case),
            *_slices(results.groups),
            *_closing(
                [
                    *_models(results.references),
                    *attacker.named(
                        results.choice,
                        results.budget,
                        [attack for attack in results.attacks if attack.access == "label"],
                        spoken_of=_quoted(results.attacks, verdict(record).strongest),
                    ),
                ]
            ),
        ]
    )


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. A cell may hold anything: pipes, line ends, HTML and control characters are written out.

    Args:
        head: Names of the columns.
        rows: As many cells in each row.

    Example:
        >>> from hardlabel.reports.text import table_of
        >>> print(table_of(["group", "AUC"], [["a|b <b>", "0.612"]]))
        | group | AUC |
        |---|---|
        | a\\|b &lt;b> | 0.612 |
    """
    return "\n".join(_table(head, rows))


def recipe_markdown(record: RecipeRecord) -> str:
    """One row per attack, over all targets, and what was left out."""
    results = record.results
    rates = sorted({fpr for attack in results.attacks for fpr in attack.tpr_at_fpr}, key=float, reverse=True)
    head = ["attack", "sees", "queries (max)", attacker.OWN.lower(), "mean AUC", "spread over models"]
    head += [f"TPR at {100 * float(fpr):g} % FPR" for fpr in rates]
    rows = [_recipe_row(attack, rates) for attack in results.attacks]
    pairs = [[pair.first, pair.second, _cell(pair.auc)] for pair in results.differences]
    return "\n".join(
        [
            printed.paragraph(
                f"{results.data}: {results.description}, trained anew for each of {len(results.targets)} targets on "
                f"{results.train_size} samples; {accuracies(results)}; {results.samples} samples asked about, "
                f"{results.references} reference models against each target."
            ),
            "",
            *_table(head, rows),
            *_left_out([(out.name, out.reason) for out in results.left_out], columns=len(head)),
            *(["", *_table(("attack", "compared with", "difference in mean AUC"), pairs)] if pairs else []),
            *_worst(results.worst_case),
            *_slices(results.groups),
            *_games(results.games),
            *_closing(
                attacker.named(
                    results.choice,
                    results.budget,
                    [attack for attack in results.attacks if attack.access == "label"],
                    spoken_of=_quoted(results.attacks, recipe_verdict(record).strongest),
                )
            ),
        ]
    )


def _quoted(attacks: Sequence[A], name: str | None) -> A | None:
    return next((attack for attack in attacks if attack.name == name), None)


def _recipe_row(attack: RecipeAttack, rates: Sequence[str]) -> list[str]:
    found = [attack.tpr_at_fpr.get(fpr, Estimate.undefined("not reported")) for fpr in rates]
    lowest, highest = min(attack.aucs), max(attack.aucs)
    spread = f"{_cell(attack.spread)}; AUCs {lowest:.3f} to {highest:.3f}"
    return [*_costs(attack), _cell(attack.auc), spread, *(_cell(one) for one in found)]


def _costs(attack: Costed) -> list[str]:
    """What it sees, and what it asks and has, side by side."""
    queries = f"{attack.queries_per_sample.mean:,.4g} ({attack.queries_per_sample.max:,})"
    return [attack.name, attack.access, queries, attacker.own_models(attack).replace(SPACE, " ")]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), "|---" * len(head) + "|", *(_row(cells) for cells in rows)]


def _row(cells: Sequence[str]) -> str:
    """A row of a table; what the cells hold is shown and never read as Markdown."""
    return "|" + "".join(f" {text} |" if text else " |" for text in map(printed.cell, cells))


def _left_out(rows: Sequence[tuple[str, str]], *, columns: int) -> list[str]:
    return [_row([name, "", f"left out: {reason}", *[""] * (columns - 3)]) for name, reason in rows]


def _worst(worst: WorstCase | None) -> list[str]:
    """Precision and recall on the few most at risk, beside the average case."""
    if worst is None:
        return []
    rows = [
        [
            few.name if few.name == AVERAGE else f"{few.name}, {few.points}",
            row.attack,
            row.access,
            f"{row.right:,} of {row.called:,}",
            _cell(row.precision),
            _cell(row.recall),
            "" if few.name == AVERAGE else _cell(row.over_average),
        ]
        for few in worst.selections
        for row in few.attacks
    ]
    head = ("records", "attack", "sees", "right of called", "precision", "recall", "precision over average")
    told = (
        f"The {100 * worst.share:g} % most at risk of {worst.of:,} records, chosen by the attacker's own models alone; "
        f"neighbours in {worst.embedded}; {worst.repeated:,} near-duplicates."
    )
    return ["", printed.paragraph(told), "", *_table(head, rows)]


def _slices(groups: Sequence[GroupRisk]) -> list[str]:
    """Risk by the user's own columns; classes are in the report."""
    mine = [one for one in groups if one.slice != CLASS]
    if not mine:
        return []
    rows = [
        [one.slice, one.group, one.attack, f"{one.members:,}", f"{one.nonmembers:,}", _cell(one.auc)] for one in mine
    ]
    return ["", *_table(("column", "group", "attack", "members", "non-members", "AUC"), rows)]


def _games(games: Sequence[Games]) -> list[str]:
    """How many records repeated games find exposed."""
    if not games:
        return []
    rows = [[one.attack, one.access, one.which, f"{one.points:,}", f"{one.found:,}"] for one in games]
    rate = f"{100 * games[0].rate:g} %"
    told = f"Records found exposed by {games[0].targets} games each, at a false discovery rate of {rate}:"
    return ["", printed.paragraph(told), "", *_table(("attack", "sees", "records", "tested", "found"), rows)]


def canaries_markdown(record: CanaryRecord) -> str:
    """Lower bounds on epsilon beside the accountant's upper one."""
    results = record.results
    above = "none" if results.guarantee is None else f"{results.guarantee.epsilon:.4g} ({results.guarantee.accountant})"
    rows = [
        [
            one.kind,
            one.access,
            f"{one.queries:,.4g}",
            f"{one.epsilon:.3f}",
            _guesses(one),
            above,
        ]
        for one in results.bounds
    ]
    planted = f"{results.planted} of {sum(results.canaries.values())} canaries planted"
    if results.runs > 1:
        planted = f"one canary, in {results.planted} of {results.runs} runs"
    head = ("canaries", "sees", "queries", "epsilon, at least", "right guesses", "epsilon, at most")
    return "\n".join(
        [
            printed.paragraph(
                f"{results.data}: {results.description}, {results.train_size} training samples; {planted}; delta "
                f"{results.delta:g}, {100 * results.confidence:g} % bounds."
            ),
            "",
            *_table(head, rows),
        ]
    )


def _guesses(one: CanaryBound) -> str:
    """How many were right; over many runs, how many calls about those without the canary were wrong."""
    wrong = "" if one.wrong is None else f", wrong {one.wrong} of {one.of_wrong}"
    return f"{one.right:,} of {one.guesses:,}{wrong}"


def _closing(paragraphs: Sequence[str]) -> list[str]:
    return [line for told in paragraphs for line in ("", printed.paragraph(told.replace(SPACE, " ")))]


def _models(references: ReferenceModels | None) -> list[str]:
    return [] if references is None else ["The attacker has: " + " ".join(attacker.reference_models(references))]


def _found(attack: AttackResult, fpr: str) -> str:
    lowest = lowest_rate(attack, float(fpr))
    figure = attack.tpr_at_fpr[fpr]
    if figure.value == 0 and lowest is not None:
        return f"lowest FPR is {lowest:.2f}"
    return _cell(figure)


def _cell(figure: Estimate) -> str:
    return figure.note if figure.value is None else str(figure)

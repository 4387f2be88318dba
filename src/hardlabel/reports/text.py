"""The figures as Markdown tables, for a README or a pull request."""

from collections.abc import Sequence

from hardlabel.experiments.recipe_record import RecipeAttack, RecipeRecord
from hardlabel.experiments.record import AttackResult, AuditRecord, ReferenceModels
from hardlabel.metrics.estimate import Estimate
from hardlabel.reports import attacker
from hardlabel.reports.attacker import Costed
from hardlabel.reports.recipe import accuracies
from hardlabel.reports.tables import lowest_rate
from hardlabel.reports.wording import SPACE


def markdown(record: AuditRecord | RecipeRecord) -> str:
    """One row per attack, and what was left out; an undefined figure shows its reason."""
    if isinstance(record, RecipeRecord):
        return _recipe(record)
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
            f"{results.data}: {results.target.description}; train accuracy {results.target.train_accuracy}, "
            f"test {results.target.test_accuracy}; {results.members} members, {results.nonmembers} non-members.",
            "",
            *_table((*head, "TPR at 10 % FPR", "at 1 % FPR"), rows),
            *_left_out([(out.name, out.reason) for out in results.left_out], columns=len(head) + 2),
            *_closing(
                [
                    *_models(results.references),
                    *attacker.named(
                        results.choice,
                        results.budget,
                        [attack for attack in results.attacks if attack.access == "label"],
                        spoken_of=None,
                    ),
                ]
            ),
        ]
    )


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(_table(head, rows))


def _recipe(record: RecipeRecord) -> str:
    results = record.results
    rates = sorted({fpr for attack in results.attacks for fpr in attack.tpr_at_fpr}, key=float, reverse=True)
    head = ["attack", "sees", "queries (max)", attacker.OWN.lower(), "mean AUC", "spread over models"]
    head += [f"TPR at {100 * float(fpr):g} % FPR" for fpr in rates]
    rows = [_recipe_row(attack, rates) for attack in results.attacks]
    pairs = [[pair.first, pair.second, _cell(pair.auc)] for pair in results.differences]
    return "\n".join(
        [
            f"{results.data}: {results.description}, trained anew for each of {len(results.targets)} targets on "
            f"{results.train_size} samples; {accuracies(results)}; {results.samples} samples asked about, "
            f"{results.references} reference models against each target.",
            "",
            *_table(head, rows),
            *_left_out([(out.name, out.reason) for out in results.left_out], columns=len(head)),
            *(["", *_table(("attack", "compared with", "difference in mean AUC"), pairs)] if pairs else []),
            *_closing(
                attacker.named(
                    results.choice,
                    results.budget,
                    [attack for attack in results.attacks if attack.access == "label"],
                    spoken_of=None,
                )
            ),
        ]
    )


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
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)]


def _left_out(rows: Sequence[tuple[str, str]], *, columns: int) -> list[str]:
    return [f"| {name} | | left out: {reason} |{' |' * (columns - 3)}" for name, reason in rows]


def _closing(paragraphs: Sequence[str]) -> list[str]:
    return [line.replace(SPACE, " ") for paragraph in paragraphs for line in ("", paragraph)]


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

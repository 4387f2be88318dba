"""The figures as a Markdown table, for a README or a pull request."""

from hardlabel.experiments.record import AttackResult, AuditRecord
from hardlabel.metrics.estimate import Estimate
from hardlabel.reports.tables import lowest_rate


def markdown(record: AuditRecord) -> str:
    """One row per attack, and what was left out; an undefined figure shows its reason."""
    results = record.results
    against_gap = {pair.first: pair.auc for pair in results.differences if pair.second == "gap"}
    lines = [
        f"{results.data}: {results.target.description}; train accuracy {results.target.train_accuracy}, "
        f"test {results.target.test_accuracy}; {results.members} members, {results.nonmembers} non-members.",
        "",
        "| attack | sees | queries (max) | AUC | AUC over gap | balanced accuracy | TPR at 10 % FPR | at 1 % FPR |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for attack in results.attacks:
        queries = f"{attack.queries_per_sample.mean:,.4g} ({attack.queries_per_sample.max:,})"
        difference = against_gap.get(attack.name)
        cells = [
            attack.name,
            attack.access,
            queries,
            _cell(attack.auc),
            "" if difference is None else _cell(difference),
            _cell(attack.balanced_accuracy),
            _found(attack, "0.1"),
            _found(attack, "0.01"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {out.name} | | left out: {out.reason} | | | | | |" for out in results.left_out]
    return "\n".join(lines)


def _found(attack: AttackResult, fpr: str) -> str:
    lowest = lowest_rate(attack, float(fpr))
    figure = attack.tpr_at_fpr[fpr]
    if figure.value == 0 and lowest is not None:
        return f"lowest FPR is {lowest:.2f}"
    return _cell(figure)


def _cell(figure: Estimate) -> str:
    return figure.note if figure.value is None else str(figure)

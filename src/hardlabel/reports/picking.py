"""Which attack a verdict is about."""

from collections.abc import Sequence

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.verdict import MEASURED, A, Graded, Verdict, beats_guessing, below_guessing


def earned(labels: Sequence[A], verdict: Verdict) -> list[A]:
    """The attacks that reach the grade, all of them without measured leakage; the wrong way round only alone."""
    if verdict.grade not in MEASURED:
        return list(labels)
    reaching = [attack for attack in labels if attack.name in verdict.earned]
    wrong = below_guessing(reaching)
    return [attack for attack in reaching if attack not in wrong] or reaching


def strongest(attacks: Sequence[A], *, low_fpr: bool) -> tuple[A | None, str | None]:
    """The attack that finds most at the smallest resolved rate at which any beats guessing, and that rate.

    Where none beats guessing, or where not `low_fpr`: the one with the greatest AUC, and None.
    """
    for fpr in resolved(attacks) if low_fpr else ():
        better = [attack for attack in attacks if beats_guessing(attack, fpr)]
        if better:
            return best(better, fpr), fpr
    return best(attacks, None), None


def best(attacks: Sequence[A], fpr: str | None) -> A | None:
    """The attack that finds most members at `fpr`; by AUC where `fpr` is None or not resolved."""
    found = {attack.name: attack.tpr_at_fpr.get(fpr or "", Estimate.undefined("")).value for attack in attacks}
    known = [attack for attack in attacks if attack.auc.value is not None]
    return max(known, key=lambda attack: (_or_nothing(found[attack.name]), _or_nothing(attack.auc.value)), default=None)


def beside(label: Graded, scores: Graded, fpr: str | None) -> tuple[Estimate, Estimate, str | None]:
    """What two attacks find by a figure that both have: members found at `fpr` and that rate, else AUCs and None."""
    mine, other = ((attack.tpr_at_fpr.get(fpr or "") or Estimate.undefined("")) for attack in (label, scores))
    if mine.value is None or other.value is None:
        return label.auc, scores.auc, None
    return mine, other, fpr


def resolved(attacks: Sequence[Graded]) -> list[str]:
    """The false-positive rates resolved for some attack, smallest first."""
    known = {fpr for attack in attacks for fpr, estimate in attack.tpr_at_fpr.items() if estimate.value is not None}
    return sorted(known, key=float)


def _or_nothing(value: float | None) -> float:
    return -1.0 if value is None else value

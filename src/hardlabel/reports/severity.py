"""How bad a finding is, by a rule that the report prints."""

from collections.abc import Sequence
from enum import StrEnum

from hardlabel.experiments.record import AttackResult
from hardlabel.reports.wording import percent

SEVERE_AUC, SEVERE_GAIN, SEVERE_FPR = 0.75, 10, 0.01
CLEAR_AUC, CLEAR_GAIN = 0.6, 3


class Severity(StrEnum):
    """How bad it is, by the rule in `RULE`."""

    UNKNOWN = "unknown"
    NONE = "none"
    SLIGHT = "slight"
    CLEAR = "clear"
    SEVERE = "severe"


RULE = (
    f"Severe: the lower end of some label-only attack's interval reaches an AUC of {SEVERE_AUC}, or {SEVERE_GAIN} "
    f"times the members that guessing would find at {percent(SEVERE_FPR)} false alarms or fewer. Clear: it reaches an "
    f"AUC of {CLEAR_AUC}, or {CLEAR_GAIN} times what guessing would find at any reported rate of false alarms. Slight: "
    "neither, but some label-only attack's AUC interval excludes 0.5. No leakage measured: none of these. Lower ends "
    "are used so that noise alone does not make a finding worse."
)

TITLES = {
    Severity.UNKNOWN: "No verdict can be given",
    Severity.NONE: "No leakage was measured",
    Severity.SLIGHT: "Slight leakage was measured",
    Severity.CLEAR: "Clear leakage was measured",
    Severity.SEVERE: "Severe leakage was measured",
}


def grade(attacks: Sequence[AttackResult]) -> Severity:
    """The severity of what label-only attacks found; unknown where none has an AUC with an interval."""
    if all(attack.auc.low is None for attack in attacks):
        return Severity.UNKNOWN
    aucs = [attack.auc.low for attack in attacks if attack.auc.low is not None]
    gains = [
        (float(fpr), estimate.low / float(fpr))
        for attack in attacks
        for fpr, estimate in attack.tpr_at_fpr.items()
        if estimate.low is not None
    ]
    if max(aucs) >= SEVERE_AUC or any(fpr <= SEVERE_FPR and gain >= SEVERE_GAIN for fpr, gain in gains):
        return Severity.SEVERE
    if max(aucs) >= CLEAR_AUC or any(gain >= CLEAR_GAIN for _, gain in gains):
        return Severity.CLEAR
    if max(aucs) > 0.5 or below_guessing(attacks):
        return Severity.SLIGHT
    return Severity.NONE


def below_guessing(attacks: Sequence[AttackResult]) -> list[AttackResult]:
    """The attacks that rank members measurably below non-members."""
    return [attack for attack in attacks if attack.auc.high is not None and attack.auc.high < 0.5]


def beats_guessing(attack: AttackResult, fpr: str) -> bool:
    """Whether the interval of the TPR at `fpr` lies above `fpr`, which guessing would find."""
    estimate = attack.tpr_at_fpr.get(fpr)
    return estimate is not None and estimate.low is not None and estimate.low > float(fpr)

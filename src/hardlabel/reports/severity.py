"""How bad a finding is, by a rule that the report prints."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol, TypeVar

from hardlabel.metrics.estimate import Estimate
from hardlabel.records.model import Queries
from hardlabel.reports.wording import percent

SEVERE_AUC, SEVERE_GAIN, SEVERE_FPR = 0.75, 10, 0.01
CLEAR_AUC, CLEAR_GAIN = 0.6, 3
FEWEST = 20  # Members, and non-members, without whom finding nothing says nothing.


class Graded(Protocol):
    """What an attack's entry holds in the record of an audit and in that of a recipe's alike."""

    @property
    def name(self) -> str: ...

    @property
    def access(self) -> str: ...

    @property
    def queries_per_sample(self) -> Queries: ...

    @property
    def auc(self) -> Estimate: ...

    @property
    def tpr_at_fpr(self) -> Mapping[str, Estimate]: ...


A = TypeVar("A", bound=Graded)


class Severity(StrEnum):
    """How bad it is, by the rule in `RULE`."""

    UNKNOWN = "unknown"
    NONE = "none"
    FEW = "few"
    SLIGHT = "slight"
    CLEAR = "clear"
    SEVERE = "severe"


ORDER = [Severity.NONE, Severity.SLIGHT, Severity.CLEAR, Severity.SEVERE]  # What a figure can reach.
MEASURED = frozenset(ORDER[1:])

RULE = (
    f"Severe: the lower end of some label-only attack's interval reaches an AUC of {SEVERE_AUC}, or {SEVERE_GAIN} "
    f"times the members that guessing would find at {percent(SEVERE_FPR)} false alarms or fewer. Clear: it reaches an "
    f"AUC of {CLEAR_AUC}, or {CLEAR_GAIN} times what guessing would find at any reported rate of false alarms. Slight: "
    "neither, but some label-only attack's AUC interval excludes 0.5. Lower ends are used so that noise alone does not "
    "make a finding worse. No leakage measured: none of these, with upper ends of all label-only AUC intervals below "
    f"{SEVERE_AUC} and at least {FEWEST} members and {FEWEST} non-members; otherwise there are too few records to say. "
    "No verdict: no label-only figure, or nothing found on labels that seem not to be the model's."
)

TITLES = {
    Severity.UNKNOWN: "No verdict can be given",
    Severity.FEW: "Too few records to say",
    Severity.NONE: "No leakage was measured",
    Severity.SLIGHT: "Slight leakage was measured",
    Severity.CLEAR: "Clear leakage was measured",
    Severity.SEVERE: "Severe leakage was measured",
}


def grade(attacks: Sequence[Graded], *, fewest: int) -> Severity:
    """The severity of what label-only attacks found on groups of which the smaller has `fewest` records.

    Unknown where no attack has an AUC with an interval.
    """
    known = [attack for attack in attacks if attack.auc.low is not None]
    if not known:
        return Severity.FEW if attacks and fewest < FEWEST else Severity.UNKNOWN
    worst = max((level for attack in attacks for level in reached(attack).values()), key=ORDER.index)
    if worst is Severity.NONE and (fewest < FEWEST or wide(known)):
        return Severity.FEW
    return worst


def reached(attack: Graded) -> dict[str | None, Severity]:
    """The severity that each figure of an attack reaches by itself: by false-positive rate, and None for the AUC."""
    found: dict[str | None, Severity] = {None: _of_auc(attack)}
    for fpr, estimate in attack.tpr_at_fpr.items():
        if estimate.low is not None:
            found[fpr] = _of_gain(float(fpr), estimate.low / float(fpr))
    return found


def wide(attacks: Sequence[A]) -> list[A]:
    """The attacks whose AUC interval does not exclude what is called severe."""
    return [attack for attack in attacks if attack.auc.high is not None and attack.auc.high >= SEVERE_AUC]


def below_guessing(attacks: Sequence[A]) -> list[A]:
    """The attacks that rank members measurably below non-members."""
    return [attack for attack in attacks if attack.auc.high is not None and attack.auc.high < 0.5]


def beats_guessing(attack: Graded, fpr: str) -> bool:
    """Whether the interval of the TPR at `fpr` lies above `fpr`, which guessing would find."""
    estimate = attack.tpr_at_fpr.get(fpr)
    return estimate is not None and estimate.low is not None and estimate.low > float(fpr)


def _of_auc(attack: Graded) -> Severity:
    low = attack.auc.low
    if low is None:
        return Severity.NONE
    if low >= CLEAR_AUC:
        return Severity.SEVERE if low >= SEVERE_AUC else Severity.CLEAR
    return Severity.SLIGHT if low > 0.5 or below_guessing([attack]) else Severity.NONE


def _of_gain(fpr: float, gain: float) -> Severity:
    if gain >= SEVERE_GAIN and fpr <= SEVERE_FPR:
        return Severity.SEVERE
    return Severity.CLEAR if gain >= CLEAR_GAIN else Severity.NONE

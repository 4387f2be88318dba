"""The record of an audit by canaries: lower bounds on epsilon."""

from collections.abc import Iterable

import pandas as pd
from pydantic import Field, computed_field

from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.records.base import Record
from hardlabel.records.defenses import Guarantee
from hardlabel.records.model import Environment
from hardlabel.records.part import RecordPart
from hardlabel.records.verdict import TITLES, Grade, Judged, Verdict

FORMAT = 2  # Format 1 had no verdict.
READABLE = (1, 2)
CANARIES = "canaries.json"
CLEAR, SEVERE = 1.0, 3.0  # Bounds on epsilon from which leakage is called so.
ALL = "all"  # The kind of a bound that uses all canaries.
KINDS = {
    "mislabelled": "a real point under another class's label, drawn at random",
    "rare": "an input drawn from the domain without looking at the data, under a label drawn at random",
    "crafted": "a real point under the strongest legal noise, with the class that a network of the auditor's own finds "
    "least likely",
}


class CanaryBound(RecordPart):
    """A lower bound on epsilon.

    Attributes:
        kind: The kind of canaries that the bound uses, or "all".
        access: "label" or "scores".
        signal: The measurement on the model. One training: minus the same measurement on a model without canaries.
        queries: Queries per canary.
        epsilon: The true epsilon is at least this, with the record's confidence; 0 means that nothing was shown.
        right, guesses: One training: the right guesses, and all guesses. Many trainings: the right calls, and the
            trainings in which a call is right.
        wrong, of_wrong: Many trainings: the wrong calls, and the trainings in which a call is wrong; else None.
    """

    kind: str
    access: str
    signal: str
    queries: float
    epsilon: float
    right: int
    guesses: int
    wrong: int | None = None
    of_wrong: int | None = None

    def contradictions(self) -> Iterable[str]:
        if self.right > self.guesses:
            yield f"right must be at most guesses, got {self.right} and {self.guesses}"
        if (self.wrong is None) != (self.of_wrong is None) or (self.wrong or 0) > (self.of_wrong or 0):
            yield f"wrong must be at most of_wrong, got {self.wrong} and {self.of_wrong}"


class CanaryResults(Judged):
    """The content of canaries.json.

    Attributes:
        data, description: The data, and how the models were trained.
        train_size: Training points without the canaries.
        canaries: Number of canaries of each kind; one canary in all for many trainings.
        planted: One training: the canaries in it. Many trainings: the trainings with the canary.
        runs: Number of trainings.
        delta, confidence: The delta that the bounds hold at, and the confidence of each single bound.
        guarantee: The accountant's upper bound; None if training is not private.
        bounds: Lower bounds. The bounds of single kinds only serve to compare the kinds.
        notes: What the reader must know, such as data that were dropped.
        kept: Whether no bound that uses all canaries is above the accountant's epsilon; None without an accountant.
    """

    format: int = FORMAT
    data: str
    description: str
    train_size: int
    canaries: dict[str, int]
    planted: int
    runs: int
    delta: float
    confidence: float
    guarantee: Guarantee | None
    bounds: list[CanaryBound]
    notes: list[str] = Field(default_factory=list)
    kept: bool | None
    environment: Environment

    @property
    def highest(self) -> float:
        """The highest bound over all canaries; 0 without a bound."""
        return max((bound.epsilon for bound in self.bounds if bound.kind == ALL), default=0.0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Verdict:
        """The grade. A bound of 0 proves nothing and clears nobody, unless an accountant promises a bound from above.

        A broken promise is severe.
        """
        highest = self.highest
        if self.kept is False or highest >= SEVERE:
            grade = Grade.SEVERE
        elif highest >= CLEAR:
            grade = Grade.CLEAR
        elif highest > 0:
            grade = Grade.SLIGHT
        else:
            grade = Grade.NONE if self.kept else Grade.NOT_TESTED
        if self.kept is None:
            title = "Nothing was proved" if grade is Grade.NOT_TESTED else TITLES[grade]
        else:
            title = "Nothing found breaks the promise" if self.kept else "The promise of privacy is broken"
        return Verdict(grade=grade, title=title)


class CanaryRecord(Record[CanaryResults]):
    """The findings of an audit by canaries; it keeps no scores.

    Example:
        >>> import hardlabel
        >>> record = hardlabel.load("runs/canaries")
        >>> record.bound("label").epsilon
        1.5
        >>> print(record)
        Clear leakage was measured: epsilon at least label 1.5, scores 2.25
    """

    file = CANARIES
    content = CanaryResults
    readable = READABLE
    unmarked = 1
    keeps_scores = False
    owners = ("canaries", "access")

    def _figures(self) -> Iterable[tuple[dict[str, str], str, float | None, Estimate]]:
        for bound in self.results.bounds:
            owner = {"canaries": bound.kind, "access": bound.access}
            yield owner, "queries", None, Estimate(bound.queries)
            yield owner, "epsilon_at_least", None, Estimate(bound.epsilon)
        promise = self.results.guarantee
        if promise is not None:
            yield {"canaries": "", "access": ""}, "epsilon_at_most", None, Estimate(promise.epsilon)

    def table(self) -> pd.DataFrame:
        """One row per bound: kind of canary, access, queries per canary, epsilon, right guesses."""
        columns = ("kind", "access", "queries", "epsilon", "right", "guesses", "wrong", "of_wrong")
        return pd.DataFrame([bound.model_dump(include=set(columns)) for bound in self.results.bounds], columns=columns)

    def bound(self, access: str, kind: str = ALL) -> CanaryBound:
        """The bound for an attacker with this access, "label" or "scores".

        Raises:
            InvalidInput: The audit has no such bound.
        """
        for bound in self.results.bounds:
            if (bound.access, bound.kind) == (access, kind):
                return bound
        raise InvalidInput(f"bound of {kind!r} with {access!r} is not in this audit")

    def __str__(self) -> str:
        bounds = [bound for bound in self.results.bounds if bound.kind == ALL]
        lower = ", ".join(f"{bound.access} {bound.epsilon:.3g}" for bound in bounds)
        guarantee = self.results.guarantee
        upper = "" if guarantee is None else f"; at most {guarantee.epsilon:.3g} by the accountant"
        return f"{self.title}: epsilon at least {lower}{upper}"

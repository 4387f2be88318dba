"""The record of an audit by canaries: lower bounds on epsilon, and the folder they are kept in.

A run folder holds `config.yaml` and `canaries.json`.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hardlabel.checks import InvalidInput
from hardlabel.experiments.defend_record import Guarantee
from hardlabel.experiments.folder import read_record, read_settings, write_record
from hardlabel.experiments.part import Part
from hardlabel.experiments.record import Environment

FORMAT = 1
CANARIES = "canaries.json"
ALL = "all"  # Kinds of canaries.


class CanaryBound(Part):
    """A lower bound on epsilon.

    Attributes:
        kind: Of the canaries it rests on, or "all".
        access: "label" or "scores".
        signal: What was asked of the model, less the same of a model trained without any canary, in one run.
        queries: Per canary.
        epsilon: With the record's confidence, no smaller epsilon is true; 0 says that nothing was shown.
        right, guesses: Right guesses of so many (one run), or right calls of inside runs (many).
        wrong, of_wrong: Many runs: wrong calls of outside runs; None for one run.
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


class CanaryResults(Part):
    """The content of canaries.json.

    Attributes:
        data, description: What was trained, and how.
        train_size: Points besides canaries.
        canaries: By kind; a single one over many runs.
        planted: Canaries planted in the one run, or runs with the canary.
        runs: Trainings.
        delta: The bounds hold at.
        confidence: Of each bound on its own.
        guarantee: The accountant's upper bound, where training is private.
        bounds: Lower bounds; those of single kinds are there to compare kinds by.
        kept: Whether no bound over all canaries lies above the accountant's epsilon; None without an accountant.
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
    kept: bool | None
    environment: Environment


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CanaryRecord:
    """What an audit by canaries found; `results` are kept as canaries.json."""

    results: CanaryResults
    config: dict[str, object] = field(default_factory=dict)

    def bound(self, access: str, kind: str = ALL) -> CanaryBound:
        """The bound for an attacker with this access, "label" or "scores".

        Raises:
            InvalidInput: There is none.
        """
        for one in self.results.bounds:
            if (one.access, one.kind) == (access, kind):
                return one
        raise InvalidInput(f"bound of {kind!r} with {access!r} is not in this audit")

    def __str__(self) -> str:
        told = ", ".join(f"{one.access} {one.epsilon:.3g}" for one in self.results.bounds if one.kind == ALL)
        above = self.results.guarantee
        most = "" if above is None else f"; at most {above.epsilon:.3g} by the accountant"
        return f"epsilon at least {told}{most}"

    def save(self, folder: str | Path) -> "CanaryRecord":
        """Writes config.yaml and canaries.json.

        Raises:
            InvalidInput: The folder cannot be written to.
        """
        folder = Path(folder)
        write_record(folder, CANARIES, self.results, config=self.config)
        return self


def load_canaries(folder: str | Path) -> CanaryRecord:
    """Reads a run folder of `audit_canaries` back.

    Raises:
        InvalidInput: A file is missing or damaged, or the record has another format.
    """
    folder = Path(folder)
    results = read_record(folder, CANARIES, CanaryResults, readable=(FORMAT,), unmarked=FORMAT)
    return CanaryRecord(results=results, config=read_settings(folder))

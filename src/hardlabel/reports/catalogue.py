"""The table of attacks as `hardlabel attacks` prints it, and which one is the strongest for a budget."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hardlabel.attacks import TABLE, Attack, Need, Rung, ladder
from hardlabel.checks import InvalidInput, one_of
from hardlabel.data.columns import Categorical
from hardlabel.data.domain import BinaryFeatures, Box, Domain
from hardlabel.data.series import Series
from hardlabel.data.table import MixedTable
from hardlabel.data.tokens import Tokens

# The smallest domain of each kind: what suits an attack depends on the kind alone.
KINDS: Mapping[str, Domain] = {
    "image": Box((1, 8, 8)),
    "continuous": Box((2,)),
    "binary": BinaryFeatures(2),
    "mixed table": MixedTable((Categorical("group", ("a", "b")),)),
    "tokens": Tokens(length=2, vocabulary=3),
    "series": Series((8,)),
}
RUNGS = ("data", "attack", "queries", "why")
HEADS = ("name", "sees", "queries", "data", "what it does", "needs", "source")
FEW = ("name", "sees", "queries", "what it does")
SHORTEST = 15  # Characters of a summary that say what an attack does; what follows a comma later is left out.


@dataclass(frozen=True, kw_only=True)
class Means:
    """What somebody can spend and provide.

    Attributes:
        budget: Most queries per sample.
        kind: Which kind of data, of KINDS; None for any.
        trainer: Whether models can be trained.
        alike: Whether they are trained as the target was.
        data: Whether there are more samples than those asked about.

    Raises:
        InvalidInput: A budget below 1, or an unknown kind.
    """

    budget: int = ladder.USUAL
    kind: str | None = None
    trainer: bool = True
    alike: bool = True
    data: bool = True

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise InvalidInput(f"budget must be at least 1, got {self.budget}")
        if self.kind is not None:
            one_of(KINDS, domain=self.kind)

    @property
    def missing(self) -> dict[Need, str]:
        """What cannot be had, with the reason."""
        found: dict[Need, str] = {}
        if not self.data:
            found |= dict.fromkeys((Need.CRAFTERS, Need.SURROGATE, Need.SHADOW), "no data of its own")
        if not self.trainer:
            found |= dict.fromkeys((Need.REFERENCES, Need.GRADIENTS, Need.SHADOW), "no trainer")
        if not self.alike:
            found[Need.ALIKE] = "surrogates"
        return found


def rungs(means: Means) -> list[tuple[str, Rung]]:
    """The strongest label-only attack for each kind of data in question."""
    kinds = KINDS if means.kind is None else (means.kind,)
    return [(kind, ladder.best(KINDS[kind], means.budget, means.missing)) for kind in kinds]


def rung_rows(means: Means) -> list[tuple[str, ...]]:
    """The same as cells under `RUNGS`; kinds of data with the same answer share a row."""
    found: dict[Rung, list[str]] = {}
    for kind, rung in rungs(means):
        found.setdefault(rung, []).append(kind)
    return [(", ".join(kinds), rung.attack, str(rung.queries), rung.why) for rung, kinds in found.items()]


def heads(means: Means | None, *, every: bool = True) -> tuple[str, ...]:
    """Column names of `rows`."""
    names = HEADS if every else FEW
    return names if means is None else (*names[:1], f"budget {means.budget}", *names[1:])


def rows(means: Means | None, *, every: bool = True) -> list[tuple[str, ...]]:
    """One row of cells per attack; with means, also whether it can be had for them. Without `every`, a short table."""
    told: list[tuple[str, ...]] = []
    for row in TABLE.values():
        usual = str(row.usual) if row.fewest == row.usual else f"{row.fewest} to {row.usual}{'+' if row.grows else ''}"
        cells: tuple[str, ...] = (row.name, str(row.access), usual)
        cells += (row.data, row.summary, row.needs, row.source) if every else (few_words(row.summary),)
        told.append(cells if means is None else (cells[0], standing(row, means), *cells[1:]))
    return told


def few_words(summary: str) -> str:
    """The beginning of a summary that says what an attack does.

    Example:
        >>> from hardlabel.reports.catalogue import few_words
        >>> few_words("whether the label is right, against how often it is on other models")
        'whether the label is right'
    """
    ends = [found.start() for found in re.finditer(r"[,;:] ", summary) if found.start() >= SHORTEST]
    return summary[: ends[0]] if ends else summary


def standing(row: Attack, means: Means) -> str:
    """Whether an attack can be had: "within" or "beyond" the budget, or "not possible" for another reason."""
    domain = None if means.kind is None else KINDS[means.kind]
    if reason := row.unplayable(domain=domain, missing=means.missing):
        return f"not possible: {reason}"
    return "within" if means.budget >= row.fewest else f"beyond: needs {row.fewest} queries"

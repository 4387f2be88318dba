"""What all records share: how they are saved, loaded, searched and printed.

A run folder holds config.yaml (the settings), scores.parquet (if the kind keeps scores) and the results as JSON. The
command line adds report.html.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import pandas as pd
import yaml
from pydantic import ValidationError

from hardlabel import checks, reading
from hardlabel.checks import InvalidInput
from hardlabel.metrics.estimate import Estimate
from hardlabel.reading import Unreadable
from hardlabel.records import drawing, rules
from hardlabel.records.part import RecordPart
from hardlabel.records.scores import SCORES_BYTES, WantedScores, table_of
from hardlabel.records.verdict import Verdict
from hardlabel.runs.folder import (
    CONFIG,
    SUMS,
    check_writable,
    checked_content,
    read_settings,
    sums,
    write_sums,
)
from hardlabel.runs.part import first_error
from hardlabel.store import write_whole

SCORES = "scores.parquet"
ID_DIGITS = 12
FIGURE = ("figure", "fpr", "value", "low", "high", "note")  # Columns of every figure, beside whose it is.
RESULTS_BYTES = 2**26  # Results hold no figure for each record; with pictures of exposed records they have a hundredth.

R = TypeVar("R", bound=RecordPart)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Record(Generic[R]):
    """The findings of a run.

    Attributes:
        results: Every figure, with intervals.
        scores: A table whose columns the record of each kind lists; empty if the kind keeps no scores.
        config: The settings. A setting that the user left open has the value that the run chose.
        folder: The run folder; None for a record in memory only.
        file: The file that holds the results.
        content: The type of the results.
        readable: The formats that this version reads.
        unmarked: The format of results that do not name their format; None if all results name it.
        keeps_scores: Whether this kind keeps scores.
        main: The columns of `table()` that `print` shows; empty for all.
        owners: The columns of `figures()` that say whose figure it is.
    """

    results: R
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    config: dict[str, object] = field(default_factory=dict)
    folder: Path | None = None

    file: ClassVar[str]
    content: ClassVar[type[RecordPart]]
    readable: ClassVar[tuple[int, ...]]
    unmarked: ClassVar[int | None] = None
    keeps_scores: ClassVar[bool] = True
    main: ClassVar[tuple[str, ...]] = ()
    owners: ClassVar[tuple[str, ...]] = ("attack", "access")

    def table(self) -> pd.DataFrame:
        """The main figures, one row for each attack, defense or bound."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        """The name of this record wherever it is shown: twelve hexadecimal digits.

        Records with the same figures have the same id, also when another version of hardlabel reads them: what follows
        from the figures, and fields that a record does not use, have no part in it.
        """
        figures = self.results.model_dump_json(exclude={"verdict", "format"}, exclude_defaults=True)
        return hashlib.sha256(figures.encode()).hexdigest()[:ID_DIGITS]

    @property
    def verdict(self) -> Verdict:
        """The grade and its title, or why there is none; page, terminal and results.json show the same.

        Example:
            >>> import hardlabel
            >>> hardlabel.load("runs/digits").verdict.grade
            <Grade.SEVERE: 'severe'>
        """
        results: Any = self.results
        verdict: Verdict = results.verdict
        return verdict

    @property
    def title(self) -> str:
        """The answer in a few words, for example "Clear leakage was measured"."""
        return self.verdict.title

    @property
    def brief(self) -> str:
        """The answer in a word or two, for lists: "severe", "at least slight", "not fully tested"."""
        return f"at least {self.verdict.grade}" if self.verdict.at_least else str(self.verdict.grade)

    @property
    def reasons(self) -> list[str]:
        """Why the answer is no grade, or what makes it doubtful, with the likely cause and the remedy; often empty."""
        return [str(reason) for reason in self.verdict.reasons]

    def figures(self) -> pd.DataFrame:
        """Every figure with its interval, one row each: attack, access, figure, fpr, value, low, high, note.

        `fpr` is the false-positive rate of a TPR, else missing. `note` says why a value is missing. Figures that belong
        to no attack have an empty `attack`. A comparison of defenses begins each row with `defense`, an audit by
        canaries with `canaries`, the kind of canaries.

        Example:
            >>> import hardlabel
            >>> figures = hardlabel.load("runs/digits").figures()
            >>> figures.query("figure == 'tpr' and fpr == 0.1")["attack"].head(2).tolist()
            ['gap', 'augmentation']
        """
        rows = [
            {
                **owner,
                "figure": name,
                "fpr": fpr,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "note": estimate.note,
            }
            for owner, name, fpr, estimate in self._figures()
        ]
        frame = pd.DataFrame(rows, columns=[*self.owners, *FIGURE])
        return frame.astype(dict.fromkeys(("fpr", "value", "low", "high"), float))

    def _figures(self) -> Iterable[tuple[dict[str, str], str, float | None, Estimate]]:
        """Whose figure it is, by the columns `owners`, its name, its false-positive rate, the figure."""
        raise NotImplementedError

    def plot(self, what: str, ax: Any = None) -> Any:
        """Draws "roc" (ROC curves), "queries" (AUC against queries) or "exposed" (records that attacks name).

        Args:
            what: The plot.
            ax: Matplotlib axes to draw on; None for axes of a new figure.

        Returns:
            The axes.

        Raises:
            InvalidInput: This record has no such plot, or Matplotlib is not installed.

        Example:
            >>> import hardlabel
            >>> hardlabel.load("runs/digits").plot("roc").figure.savefig("roc.png")
        """
        return drawing.draw(self, what, ax)

    def _repr_html_(self) -> str:
        """The answer, its reasons and the main figures, for notebooks."""
        table = self.table()
        shown = table[list(self.main)] if self.main and not table.empty else table
        lines = [f"<p><strong>{escape(self.title)}</strong></p>", *(f"<p>{escape(why)}</p>" for why in self.reasons)]
        if not shown.empty:
            lines.append(shown.to_html(index=False, escape=True, border=0, na_rep="", float_format="{:.3f}".format))
        return f"<div>{''.join(lines)}</div>"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {getattr(self.results, 'data', '')}: {self.title}>"

    def __str__(self) -> str:
        """The answer, and the main figures as a table."""
        table = self.table()
        if table.empty:
            return f"{self.title}: no attack was run"
        shown = table[list(self.main)] if self.main else table
        return f"{self.title}\n{shown.to_string(index=False, float_format='{:.3f}'.format)}"

    def save(self, folder: str | Path) -> Self:
        """Writes config.yaml, the scores, the results, then their checksums; returns the record with its folder.

        Each file is written whole or not at all.

        Raises:
            InvalidInput: The folder cannot be written to.
        """
        checks.path(folder=folder)
        folder = Path(folder)
        check_writable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        contents = {CONFIG: yaml.safe_dump(dict(self.config), sort_keys=False).encode()}
        if self.keeps_scores:
            contents[SCORES] = self.scores.to_parquet(index=False)
        contents[self.file] = self.results.model_dump_json(indent=1).encode()
        # Old checksums go first and new ones come last: whenever the process dies, no checksum is wrong.
        (folder / SUMS).unlink(missing_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
        write_sums(folder, contents)
        return replace(self, folder=folder)

    @classmethod
    def title_in(cls, folder: Path) -> str:
        """The title of the record in a run folder; its scores are not looked at.

        Raises:
            InvalidInput: See `load`.
        """
        return cls.without_scores(folder).title

    @classmethod
    def without_scores(cls, folder: Path) -> Self:
        """The record in a run folder without its scores and settings, which are not looked at.

        Raises:
            InvalidInput: See `load`.
        """
        results: Any = cls._results(folder, cls._sums(folder))
        return cls(results=results)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads the record in a run folder.

        Raises:
            InvalidInput: A file is missing or damaged, the record contradicts itself, or it has a format that this
                version does not read.
        """
        checks.path(folder=folder)
        folder = Path(folder)
        sums = cls._sums(folder)
        results: Any = cls._results(folder, sums)
        scores = pd.DataFrame()
        if cls.keeps_scores:
            try:
                payload = checked_content(folder, SCORES, sums, most=SCORES_BYTES)
                scores = table_of(payload, cls.wanted_scores(results))
            except Unreadable as error:
                raise _not_whole(folder, SCORES, error) from error
        return cls(results=results, scores=scores, config=read_settings(folder), folder=folder)

    @classmethod
    def wanted_scores(cls, results: Any) -> WantedScores:
        """The columns and rows that the scores of these results have."""
        raise NotImplementedError

    @classmethod
    def _sums(cls, folder: Path) -> dict[str, str]:
        """The checksums of a record's files; {} for the folder of an older version, which has none."""
        try:
            found = sums(folder)
        except Unreadable as error:
            raise _not_whole(folder, SUMS, error) from error
        names = {CONFIG, cls.file} | ({SCORES} if cls.keeps_scores else set())
        if found and found.keys() != names:
            raise InvalidInput(f"run {str(folder)!r} must hold a whole {SUMS}: it must list {', '.join(sorted(names))}")
        return found

    @classmethod
    def _results(cls, folder: Path, sums: Mapping[str, str]) -> RecordPart:
        try:
            text = checked_content(folder, cls.file, sums, most=RESULTS_BYTES)
            content = reading.json_value(text)
            if not isinstance(content, dict):
                raise Unreadable(f"it must be a JSON object, got {checks.shown(content)}")
            number = content.get("format", cls.unmarked)
        except Unreadable as error:
            raise _not_whole(folder, cls.file, error) from error
        del content  # It may be large.
        if isinstance(number, bool) or not isinstance(number, int):
            number = checks.shown(number)
        if number not in cls.readable:
            reason = f"this version reads format {' and '.join(map(str, cls.readable))}"
            if isinstance(number, int) and number > max(cls.readable):
                reason += "; a later version of hardlabel wrote it"
            raise InvalidInput(f"run {str(folder)!r} has record format {number}, {reason}")
        try:
            results = cls.content.model_validate_json(text)
            rules.check(results)
        except ValidationError as error:
            raise InvalidInput(f"run {str(folder)!r}, {cls.file}: {first_error(error)}") from error
        except InvalidInput as error:
            raise InvalidInput(f"run {str(folder)!r}, {cls.file}: {error}") from error
        return results


def looked_up(items: Iterable[T], attribute: str, value: str, *, what: str, where: str) -> T:
    """The item that has this value.

    Raises:
        InvalidInput: No item has it; the message lists the known values.
    """
    items = list(items)
    for item in items:
        if getattr(item, attribute) == value:
            return item
    known = [getattr(item, attribute) for item in items]
    raise InvalidInput(f"{what} {value!r} {where}, which has {known}")


def _not_whole(folder: Path, name: str, error: Exception) -> InvalidInput:
    return InvalidInput(f"run {str(folder)!r} must hold a whole {name}: {str(error).splitlines()[0]}")

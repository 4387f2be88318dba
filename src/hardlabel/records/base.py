"""What all records share: how they are saved, loaded, searched and printed.

A run folder holds config.yaml (the settings), scores.parquet (if the kind keeps scores) and the results as JSON. The
command line adds report.html.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import pandas as pd
import yaml
from pydantic import ValidationError

from hardlabel import checks, reading
from hardlabel.checks import InvalidInput
from hardlabel.reading import Unreadable
from hardlabel.records import rules
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

    def table(self) -> pd.DataFrame:
        """The main figures, one row for each attack, defense or bound."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """The answer in a few words, for example "Clear leakage was measured"."""
        return self._verdict.title

    @property
    def reasons(self) -> list[str]:
        """Why the answer is no grade, or what makes it doubtful, with the likely cause and the remedy; often empty."""
        return [str(reason) for reason in self._verdict.reasons]

    @property
    def _verdict(self) -> Verdict:
        results: Any = self.results
        verdict: Verdict = results.verdict
        return verdict

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
        results: Any = cls._results(folder, cls._sums(folder))
        return cls(results=results).title

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

"""Texts in .csv files that pandas reads as missing values, though they may be names of categories."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from hardlabel.checks import listed, shown
from hardlabel.data.opening import read_csv

MOST_COLUMNS = 8  # That a note names.
# What pandas reads so by default.
READ_AS_MISSING = frozenset(
    ("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA")
) | {"NULL", "NaN", "None", "n/a", "nan", "null"}
KEEP = "--missing '' keeps all text, so that only empty cells are missing"
SAVE = "save the table as .parquet, which keeps text as it is"


@dataclass(frozen=True)
class MissingTexts:
    """Which texts were read as missing, such as "NA", "None" and "null"; empty cells do not count.

    Attributes:
        columns: By the name of a column, how many cells held each text.
        way_out: How they are kept as text.

    Example:
        >>> import tempfile
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from hardlabel.data.csv_missing import MissingTexts
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "table.csv"
        ...     _ = file.write_text("region,age\\nNA,30\\nEU,\\n")
        ...     texts = MissingTexts.of({"members": pd.read_csv(file)}, {"members": file}, separator=",")
        >>> texts.columns
        {'region': Counter({'NA': 1})}
    """

    columns: Mapping[str, Counter[str]] = field(default_factory=dict)
    way_out: str = KEEP

    @classmethod
    def of(
        cls, tables: Mapping[str, pd.DataFrame], files: Mapping[str, Path], *, separator: str, way_out: str = KEEP
    ) -> "MissingTexts":
        """The texts of all .csv files that `tables`, by group, give as missing. Reads columns with gaps again.

        Raises:
            InvalidInput: A file cannot be read.
        """
        counts: dict[str, Counter[str]] = {}
        for group, table in tables.items():
            gaps = table.isna().to_numpy()
            places = [place for place in range(gaps.shape[1]) if gaps[:, place].any()]
            if not places or files[group].suffix.lower() != ".csv":
                continue
            cells = read_csv(files[group], separator=separator, usecols=places, dtype=str, na_filter=False)
            for at, place in enumerate(places):
                texts = cells.iloc[:, at][gaps[:, place]]
                texts = texts[texts.str.strip() != ""]
                if len(texts):
                    counts.setdefault(str(table.columns[place]), Counter()).update(texts.tolist())
        return cls(counts, way_out)

    def notes(self, columns: Collection[str] | None = None) -> tuple[str, ...]:
        """A sentence about the `columns`, or about all; none where no text was read as missing."""
        seen = {name: texts for name, texts in self.columns.items() if columns is None or name in columns}
        if not seen:
            return ()
        told = [
            f"{', '.join(f'{shown(text)} ({count:,})' for text, count in texts.most_common())} in column {shown(name)}"
            for name, texts in list(seen.items())[:MOST_COLUMNS]
        ]
        more = len(seen) - len(told)
        told += [f"and others in {more:,} more column{'s' if more > 1 else ''}"] * bool(more)
        return (
            f"Texts were read as missing, as pandas reads them, with the number of cells: {'; '.join(told)}. If models "
            f"are trained on these texts, {self.way_out}.",
        )

    def hint(self, column: str) -> str:
        """What to add to an error about a missing value in `column`; "" where no text was read so."""
        texts = self.columns.get(column)
        return f"; {listed(map(shown, texts))} reads as missing there: {self.way_out}" if texts else ""

"""Read members, non-members and the population of a target from files, as the caller has them.

Nothing is encoded here: a target that was trained elsewhere must get the very types it was trained on.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hardlabel import checks, reading
from hardlabel.checks import InvalidInput
from hardlabel.data import limits, parquet
from hardlabel.data.arrays import read_pair
from hardlabel.data.csv_missing import SAVE, MissingTexts
from hardlabel.data.csv_types import with_types_of_members
from hardlabel.data.opening import read_csv, readable
from hardlabel.data.pictures import decoded
from hardlabel.data.unused import refuse_columns
from hardlabel.reading import Unreadable

TABLES, ARRAYS = (".csv", ".parquet"), ".npz"
TABLE, OF_ARRAYS, FOLDER = "a table", "arrays", "a folder of images"  # What a path may hold.
SEPARATORS = {",": "','", ";": "';'", "\t": "'\\t'", "|": "'|'"}  # With how a shell takes them.
MARKS = {"true": True, "1": True, "yes": True, "member": True}
MARKS |= {"false": False, "0": False, "no": False, "nonmember": False, "non-member": False}
FEWEST_IDS = 20  # Among fewer rows, different values in a column may be chance.
LIKELY_ID = 0.2  # Share of different values below which a column is no id, even if many rows stand twice.
PICTURE_BYTES = 2**28  # Of one file.

Values: TypeAlias = NDArray[Any]
Inputs: TypeAlias = pd.DataFrame | Values | list[str]
Pair: TypeAlias = tuple[Inputs, Values]


@dataclass(frozen=True, kw_only=True, eq=False)
class Given:
    """What the caller's files hold, with the types that the files have.

    Attributes:
        members: Inputs and labels (n,) of the rows that the target was trained on. Inputs are a frame, an array
            (n, ...) or a list of n texts. Labels are as in the file: text, booleans or numbers.
        nonmembers: The same of rows that it was not trained on.
        population: The same of further rows; None if there are none.
        groups: Whose row it is, (n,), by "members", "nonmembers" and "population"; None if nobody said.
        slices: By name of a column, its values (n,) of members and of non-members.
        notes: What the reader must know about the files, in sentences.
        alerts: Those of the notes that the reader must know at once.
        ignored: Columns that are no inputs, apart from label, group and marks.
    """

    members: Pair
    nonmembers: Pair
    population: Pair | None
    groups: Mapping[str, Values] | None
    slices: Mapping[str, tuple[Values, Values]]
    notes: tuple[str, ...]
    ignored: tuple[str, ...]
    alerts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are for.

    Attributes:
        label: The column with the class.
        member: The column that marks members, or None.
        group: The column that says whose row it is, or None.
        ignore: Columns that are no inputs.
        slices: Columns whose values are also wanted.
        categorical: Columns that are categories: none of them is taken for an id.
    """

    label: str | None = None
    member: str | None = None
    group: str | None = None
    ignore: Collection[str] = ()
    slices: Collection[str] = ()
    categorical: Collection[str] = ()


def read_given(
    members: Path,
    nonmembers: Path | None = None,
    population: Path | None = None,
    *,
    columns: Columns = Columns(),
    separator: str = ",",
    missing: str | None = None,
) -> Given:
    """Reads a .csv, .parquet or .npz file for each group, or a folder with one folder of images per class.

    Tables keep the types that `pandas.read_csv` and `pandas.read_parquet` give, images are uint8 (n, h, w, c), and
    arrays are as stored. One column of text, beside the label, is a list of texts. Columns of text whose values are
    all different, as those of an id, are ignored with a note.

    Args:
        members: The rows that the target was trained on; all rows, if `columns.member` marks members.
        nonmembers: Rows that it was not trained on; None if `columns.member` marks members.
        population: Further rows. With marks, rows without a mark are the population.
        columns: What the columns of a table are for; `label` is required for tables.
        separator: The character between the cells of a .csv file; "\\t" in two characters is a tab too.
        missing: The text in .csv files that stands for a missing value; only this text and empty cells are missing.
            None for the texts that pandas takes for missing, "NA" and "None" among them; a note says where they stand.

    Raises:
        InvalidInput: A file is missing, damaged, too large or of another sort; a column is missing or unknown; a mark
            is none of MARKS; or a group is empty.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from hardlabel.data.given import Columns, read_given
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder) / "table.csv"
        ...     _ = table.write_text("age,sex,in,income\\n30,m,yes,low\\n40,f,no,high\\n")
        ...     given = read_given(table, columns=Columns(label="income", member="in"))
        >>> given.members[0].to_dict("records"), given.members[1].tolist()
        ([{'age': 30, 'sex': 'm'}], ['low'])
    """
    files = {"members": members, "nonmembers": nonmembers, "population": population}
    there = {name: Path(path).expanduser() for name, path in files.items() if path is not None}
    _check_files(there, marked=columns.member is not None)
    sorts = {name: _sort(name, path) for name, path in there.items()}
    if len(set(sorts.values())) > 1:
        told = ", ".join(f"{name} {sort}" for name, sort in sorts.items())
        raise InvalidInput(f"members, nonmembers and population must be of one sort, got {told}")
    if sorts["members"] != TABLE:
        return _given_arrays(there, sorts["members"], columns, separator, missing)
    between = _separator(separator)
    if missing is not None and not any(path.suffix.lower() == ".csv" for path in there.values()):
        raise InvalidInput(
            "missing must be left out, since .parquet files mark missing values themselves, got "
            f"{checks.shown(missing)}"
        )
    tables = {name: _table(path, between, missing) for name, path in there.items()}
    texts = MissingTexts() if missing is not None else MissingTexts.of(tables, there, separator=between)
    tables, notes = with_types_of_members(tables, there, separator=between, missing=missing)
    given = _given_tables(tables, columns, there, texts)
    alerts = texts.notes({*given.members[0].columns, *columns.slices} if hasattr(given.members[0], "columns") else None)
    return replace(given, notes=(*notes, *alerts, *given.notes), alerts=alerts)


@dataclass(frozen=True, kw_only=True, eq=False)
class Undivided:
    """What one file of the caller's holds, with the types that the file has.

    Attributes:
        pair: Inputs and labels (n,) of all rows; see `Given.members`.
        notes: What the reader must know about the file, in sentences.
    """

    pair: Pair
    notes: tuple[str, ...]


def read_undivided(data: Path, *, columns: Columns = Columns(), separator: str = ",") -> Undivided:
    """Reads all rows of a .csv, .parquet or .npz file, or of a folder with one folder of images per class.

    Types and ids are treated as by `read_given`.

    Args:
        data: The file or folder.
        columns: What the columns of a table are for; `label` is required for tables, `ignore` and `categorical` count.
        separator: The character between the cells of a .csv file; "\\t" in two characters is a tab too.

    Raises:
        InvalidInput: The file is missing, damaged, too large or of another sort; or a column is missing or unknown.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from hardlabel.data.given import Columns, read_undivided
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder) / "table.csv"
        ...     _ = table.write_text("age,sex,income\\n30,m,low\\n40,f,high\\n")
        ...     inputs, labels = read_undivided(table, columns=Columns(label="income")).pair
        >>> inputs.to_dict("records")[0], labels.tolist()
        ({'age': 30, 'sex': 'm'}, ['low', 'high'])
    """
    checks.path(data=data)
    path = Path(data).expanduser()
    sort = _sort("data", path)
    if sort != TABLE:
        pairs, notes = _read_arrays({"data": path}, sort, columns, separator)
        return Undivided(pair=pairs["data"], notes=notes)
    table = _table(path, _separator(separator))
    texts = MissingTexts.of({"data": table}, {"data": path}, separator=_separator(separator), way_out=SAVE)
    if columns.label is None:
        raise InvalidInput(f"label must name the column of {path.name} with the class: {checks.listed(table.columns)}")
    _check_columns(table.columns, columns)
    if not len(table):
        raise InvalidInput("data must have rows, got none")
    _check_present(table, columns.label, "data", "label", texts)
    inputs = table.drop(columns=[*{columns.label, *columns.ignore}])
    if not len(inputs.columns):
        raise InvalidInput("data must have a column of inputs beside the label, got none")
    ids = _ids({"data": table}, list(inputs.columns), columns.categorical)
    features = _texts_or_frame(inputs.drop(columns=ids), "data", columns, texts)
    notes = (*texts.notes({*inputs.columns} - {*ids}), *_of_ids(ids))
    return Undivided(pair=(features, table[columns.label].to_numpy()), notes=notes)


# Tables.


def _of_ids(ids: Sequence[str]) -> tuple[str, ...]:
    """The notes that say which columns were ignored as ids."""
    return tuple(
        f"Column {name!r} was ignored: its values are all different, as those of an id are. If the target needs it, "
        "name it as categorical."
        for name in ids
    )


def _given_tables(
    tables: dict[str, pd.DataFrame], columns: Columns, files: Mapping[str, Path], texts: MissingTexts
) -> Given:
    every = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    if columns.label is None:
        raise InvalidInput(
            f"label must name the column of {files['members'].name} with the class: {checks.listed(every)}"
        )
    _check_columns(every, columns)
    if columns.member is not None:
        checks.one_of(tables["members"].columns, member_column=columns.member)
        tables = _parted(tables, columns.member, files["members"])
    for group, table in tables.items():
        if not len(table):
            raise InvalidInput(f"{group} must have rows, got none")
        for argument, name in (("label", columns.label), ("group", columns.group)):
            if name is not None:
                _check_present(table, name, group, argument, texts)
    special = {columns.label, columns.group, *columns.ignore}
    inputs = {group: table.drop(columns=[*special & set(table.columns)]) for group, table in tables.items()}
    inputs = _aligned(inputs)
    ids = _ids(tables, list(inputs["members"].columns), columns.categorical)
    notes = _of_ids(ids)
    features = {
        group: _texts_or_frame(table.drop(columns=ids), group, columns, texts) for group, table in inputs.items()
    }
    pairs = {group: (features[group], tables[group][columns.label].to_numpy()) for group in tables}
    return Given(
        members=pairs["members"],
        nonmembers=pairs["nonmembers"],
        population=pairs.get("population"),
        groups=None if columns.group is None else {name: t[columns.group].to_numpy() for name, t in tables.items()},
        slices={name: _slice(tables, name) for name in columns.slices},
        notes=notes,
        ignored=(*dict.fromkeys(columns.ignore), *ids),
    )


def _table(path: Path, separator: str, missing: str | None = None) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        frame = parquet.read_frame(path, exact=True)
    else:
        frame = read_csv(path, separator=separator, missing=missing)
        _check_separator(frame, path, separator)
    names = pd.Index([str(name) for name in frame.columns])
    if names.has_duplicates:
        raise InvalidInput(
            f"{path.name} must have columns of different names, got {names[names.duplicated()][0]!r} twice"
        )
    frame.columns = names
    return frame


def _check_separator(frame: pd.DataFrame, path: Path, separator: str) -> None:
    """Refuses a file whose only column looks like several."""
    if len(frame.columns) != 1:
        return
    [name] = map(str, frame.columns)
    others = [character for character in SEPARATORS if character != separator and character in name]
    if others:
        likely = SEPARATORS[max(others, key=name.count)]
        raise InvalidInput(
            f"{path.name}: the file has one column {checks.shown(name)}: is {likely} the separator? "
            f"--separator {likely}"
        )


def _separator(separator: str) -> str:
    character = "\t" if separator == "\\t" else separator
    if len(character) != 1 or character in '"\r\n\0' or character.isalnum():
        raise InvalidInput(f"separator must be one character, such as ';', got {checks.shown(separator)}")
    return character


def _check_columns(names: Collection[str], columns: Columns) -> None:
    """Refuses unknown columns, and a column with two roles."""
    roles = {"label": columns.label, "member_column": columns.member, "group": columns.group}
    named = {argument: name for argument, name in roles.items() if name is not None}
    for argument, name in named.items():
        checks.one_of(names, **{argument: name})
    for argument, others in (("ignore", columns.ignore), ("categorical", columns.categorical)):
        for name in others:
            checks.one_of(names, **{argument: name})
            if name in named.values():
                role = next(role for role, column in named.items() if column == name)
                raise InvalidInput(f"{argument} must not name the column of {role}, got {checks.shown(name)}")
    for name in columns.slices:
        checks.one_of(names, slices=name)
    if len(set(named.values())) < len(named):
        told = ", ".join(f"{argument} {name!r}" for argument, name in named.items())
        raise InvalidInput(f"label, member_column and group must be different columns, got {told}")


def _check_present(table: pd.DataFrame, name: str, group: str, argument: str, texts: MissingTexts) -> None:
    if name not in table.columns:
        raise InvalidInput(f"{group} must have the column {name!r} of {argument}, got {checks.listed(table.columns)}")
    missing = table[name].isna()
    if missing.any():
        raise InvalidInput(
            f"{group} must have a value in each row of the column {name!r} of {argument}, got none in row "
            f"{int(missing.to_numpy().argmax())}{texts.hint(name)}"
        )


def _parted(tables: Mapping[str, pd.DataFrame], column: str, file: Path) -> dict[str, pd.DataFrame]:
    """Members and non-members by their marks; rows without a mark are the population, unless it has its own file."""
    table = tables["members"]
    marks = _marks(table[column], column)
    rest = table.drop(columns=column)
    parts = {
        "members": rest[marks == 1].reset_index(drop=True),
        "nonmembers": rest[marks == 0].reset_index(drop=True),
    }
    for group, part in parts.items():
        if not len(part):
            raise InvalidInput(f"member_column {column!r} must mark {group}, got none in {file.name}")
    unmarked = rest[marks < 0].reset_index(drop=True)
    if "population" in tables:
        if len(unmarked):
            raise InvalidInput(
                f"member_column {column!r} must mark each row where population has its own file, got "
                f"{len(unmarked):,} rows without a mark"
            )
        return {**parts, "population": tables["population"].drop(columns=column, errors="ignore")}
    return {**parts, "population": unmarked} if len(unmarked) else parts


def _marks(cells: pd.Series, column: str) -> NDArray[np.int64]:
    """1 for members, 0 for non-members, -1 for rows without a mark, shape (n,)."""
    codes, values = pd.factorize(cells)
    marks: list[int] = []
    for value in values:
        text = str(value).strip().lower()
        mark = MARKS.get(text.removesuffix(".0"))
        if mark is None and text:
            row = int(np.flatnonzero(codes == len(marks))[0])
            raise InvalidInput(
                f"member_column {column!r} must hold true or false, 1 or 0, yes or no, member or nonmember, or "
                f"nothing, got {checks.shown(value)} in row {row}"
            )
        marks.append(-1 if mark is None else int(mark))
    return np.array([*marks, -1])[codes]  # Code -1, a missing mark, reads the last place.


def _aligned(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with the columns in the order of the members.

    Raises:
        InvalidInput: A table has other columns, or none.
    """
    wanted = tables["members"].columns
    if not len(wanted):
        raise InvalidInput("members must have a column of inputs beside the label, got none")
    for group, table in tables.items():
        lacking, extra = [n for n in wanted if n not in table.columns], [n for n in table.columns if n not in wanted]
        if lacking or extra:
            told = [f"lacks {checks.listed(map(repr, lacking))}"] * bool(lacking)
            told += [f"also has {checks.listed(map(repr, extra))}"] * bool(extra)
            raise InvalidInput(f"{group} must have the columns of members: it {' and '.join(told)}; --ignore COLUMN")
    return {group: table[list(wanted)] for group, table in tables.items()}


def _ids(tables: Mapping[str, pd.DataFrame], inputs: Sequence[str], categorical: Collection[str]) -> list[str]:
    """The input columns of text whose values are all different, as ids are, over all groups.

    Rows that are in two groups have their id twice; equal rows count once. What reads as numbers or is declared as
    categorical is no id. Where nothing else is left, the column whose values hold blanks is the text to be classified.

    Raises:
        InvalidInput: All columns of inputs look like ids.
    """
    texts = [name for name in inputs if name not in categorical and any(_is_text(t[name]) for t in tables.values())]
    if not texts or len(inputs) == 1:
        return []
    union = pd.concat([table.astype(object) for table in tables.values()], ignore_index=True)
    likely = [name for name in texts if union[name].nunique() > LIKELY_ID * len(union)]
    if not likely:
        return []
    union = union.drop_duplicates()
    ids = [name for name in likely if _all_differ(union[name])]
    if len(ids) < len(inputs):
        return ids
    sentences = [name for name in ids if union[name].astype(str).str.strip().str.contains(r"\s").mean() > 0.5]
    if len(sentences) != 1:
        raise InvalidInput(
            f"{next(iter(tables))} must have a column of inputs that is no id, got {checks.listed(map(repr, ids))}, "
            "each with a different value in every row; --ignore COLUMN, or --categorical COLUMN to keep a column"
        )
    return [name for name in ids if name != sentences[0]]


def _is_text(cells: pd.Series) -> bool:
    kind = cells.dtype.categories.dtype if isinstance(cells.dtype, pd.CategoricalDtype) else cells.dtype
    return bool(pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind))


def _all_differ(cells: pd.Series) -> bool:
    values = cells.dropna()
    if len(values) < max(FEWEST_IDS, len(cells) / 2) or not values.is_unique:
        return False
    return bool(pd.to_numeric(values, errors="coerce").isna().mean() > 0.5)


def _texts_or_frame(
    table: pd.DataFrame, group: str, columns: Columns, missing: MissingTexts
) -> pd.DataFrame | list[str]:
    """A list of texts if the table has one column, of text; else the table."""
    if len(table.columns) != 1 or table.columns[0] in columns.categorical or not _is_text(table.iloc[:, 0]):
        return table
    texts = table.iloc[:, 0].tolist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput(
                f"{group} must hold a text in each row of the column {table.columns[0]!r}, got {checks.shown(text)} in "
                f"row {row}{missing.hint(str(table.columns[0]))}"
            )
    return texts


def _slice(tables: Mapping[str, pd.DataFrame], name: str) -> tuple[Values, Values]:
    for group in ("members", "nonmembers"):
        if name not in tables[group].columns:
            raise InvalidInput(f"{group} must have the column {name!r} of slices")
    return tables["members"][name].to_numpy(), tables["nonmembers"][name].to_numpy()


# Arrays and images.


def _given_arrays(files: Mapping[str, Path], sort: str, columns: Columns, separator: str, missing: str | None) -> Given:
    pairs, notes = _read_arrays(files, sort, columns, separator, missing)
    return Given(
        members=pairs["members"],
        nonmembers=pairs["nonmembers"],
        population=pairs.get("population"),
        groups=None,
        slices={},
        notes=notes,
        ignored=(),
    )


def _read_arrays(
    files: Mapping[str, Path], sort: str, columns: Columns, separator: str, missing: str | None = None
) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """Inputs and labels by group, and notes."""
    first = next(iter(files))
    roles = {"member_column" if name == "member" else name: value for name, value in vars(columns).items()}
    refuse_columns({**roles, "separator": separator, "missing": missing}, first)
    if sort == FOLDER:
        pairs, notes = _pictures(files)
    else:
        pairs, notes = {name: read_pair(path)[1:] for name, path in files.items()}, ()
    for group, (inputs, labels) in pairs.items():
        if not inputs.ndim or not len(inputs):
            raise InvalidInput(f"{group} must have rows, got inputs of shape {inputs.shape}")
        if labels.shape != inputs.shape[:1]:
            raise InvalidInput(
                f"{group} must hold one label per input, got inputs {inputs.shape} and labels {labels.shape}"
            )
        if inputs.shape[1:] != pairs[first][0].shape[1:]:
            raise InvalidInput(
                f"{group} must hold inputs of the shape {pairs[first][0].shape[1:]} of {first}, got {inputs.shape[1:]}"
            )
    return dict(pairs), notes


def _pictures(folders: Mapping[str, Path]) -> tuple[dict[str, tuple[Values, Values]], tuple[str, ...]]:
    """Pixels uint8 (n, h, w, c) and names of classes (n,), by group; and notes. All pictures have one shape."""
    pairs, notes = {}, []
    size: tuple[int, ...] | None = None
    for group, folder in folders.items():
        listed = [*_listed(group, folder)]
        pixels: NDArray[np.uint8] | None = None
        for place, (file, _) in enumerate(listed):
            picture = _picture(file)[0]
            size = picture.shape if size is None else size
            if picture.shape != size:
                raise InvalidInput(
                    f"{group} must hold pictures of the size {_size(size)} of the first, got {_size(picture.shape)} in "
                    f"{file.parent.name}/{file.name}: bring all to one size"
                )
            if pixels is None:
                limits.afford(len(listed) * picture.nbytes, f"{group}: {len(listed):,} pictures")
                pixels = np.empty((len(listed), *size), dtype=np.uint8)
            pixels[place] = picture
        assert pixels is not None, "a folder without pictures has been refused"
        pairs[group] = pixels, np.array([name for _, name in listed], dtype=object)
        others = sum(not entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
        if others:
            notes.append(f"Of {group}, {others:,} files beside the folders of the classes were ignored.")
    return pairs, tuple(notes)


def _listed(group: str, folder: Path) -> Iterator[tuple[Path, str]]:
    """Each picture and the name of its class, in the order of their names; hidden files are left out."""
    with readable(folder):
        classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        if not classes:
            raise InvalidInput(
                f"{group} must be a folder with one folder of images per class, got none in {folder.name}"
            )
        empty = True
        for of_class in classes:
            for file in sorted(entry for entry in of_class.iterdir() if not entry.name.startswith(".")):
                if file.is_dir():
                    raise InvalidInput(
                        f"{group} must have images in the folders of the classes, got the folder "
                        f"{of_class.name}/{file.name}"
                    )
                empty = False
                yield file, of_class.name
    if empty:
        raise InvalidInput(f"{group} must hold images, got none in {folder.name}")


def _picture(file: Path) -> NDArray[np.uint8]:
    """The pixels (1, h, w, c) of one file; c is 1 where it is grey, else 3."""
    name = f"{file.parent.name}/{file.name}"
    try:
        content = reading.content(file, most=PICTURE_BYTES)
    except Unreadable as error:
        raise InvalidInput(f"{name} cannot be read: {error}") from error
    return decoded(name, [content], 1)


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width} x {height} ({'grey' if channels == 1 else 'colour'})"


# Files.


def _check_files(files: Mapping[str, Path], *, marked: bool) -> None:
    for name, path in files.items():
        checks.path(**{name: path})
    if marked and "nonmembers" in files:
        raise InvalidInput(
            f"nonmembers must be left open where member_column marks them in members, got {str(files['nonmembers'])!r}"
        )
    if not marked and "nonmembers" not in files:
        raise InvalidInput("nonmembers must name a file or a folder, got None; or name the member_column of members")
    for (name, path), (other, same) in itertools.combinations(files.items(), 2):
        if path.exists() and same.exists() and path.samefile(same):
            raise InvalidInput(f"{name} and {other} must be different files, got {str(path)!r} twice")


def _sort(name: str, path: Path) -> str:
    """What a path holds: "a table", "arrays" or "a folder of images"."""
    if path.is_dir():
        return FOLDER
    kind = path.suffix.lower()
    if kind not in (*TABLES, ARRAYS):
        raise InvalidInput(
            f"{name} must be a .csv, .parquet or .npz file, or a folder of images, got {checks.shown(str(path))}"
        )
    try:
        reading.opened(path).close()
    except Unreadable as error:
        raise InvalidInput(f"{name} {str(path)!r} cannot be read: {error}") from error
    return TABLE if kind in TABLES else OF_ARRAYS

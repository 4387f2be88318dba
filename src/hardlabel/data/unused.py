"""Settings about columns and files that the given data do not use are refused: silence would hide a mistake."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from hardlabel.checks import InvalidInput, as_default, shown
from hardlabel.data import parquet
from hardlabel.data.files import FILE_TYPES, IMAGE_COLUMNS

# With their defaults. A setting that has its default is never refused.
DEFAULTS: Mapping[str, object] = {
    "label": None,
    "missing": None,
    "categorical": [],
    "ignore": [],
    "separator": ",",
    "group": None,
    "member_column": None,
    "slices": [],
    "folder": None,
}
COLUMNS = tuple(name for name in DEFAULTS if name != "folder")
NAMED = tuple(name for name in COLUMNS if name != "slices")  # Some known data are tables: slices have their own error.


def check_data(data: str, values: Mapping[str, object], *, known: Collection[str], exact: bool, shared: bool) -> None:
    """Refuses settings that the data of a run do not use.

    Args:
        data: A known name, the folder of a known data set, or a file.
        values: The settings by name.
        known: The names of data sets.
        exact: Whether types stay as they are in the file: then a table with pictures is no data set of images.
        shared: Whether another data set of the run is read from `folder`.

    Raises:
        InvalidInput: There is such a setting.
    """
    path = Path(data).expanduser()
    named = data in known or (path.is_dir() and path.resolve().name in known)
    suffix = "" if named else path.suffix.lower()
    if data == "digits":
        _refuse(values, [] if shared else ["folder"], why=f"data {data!r} is bundled")
    elif not shared and data not in known and (named or path.is_dir() or suffix in FILE_TYPES):
        _refuse(values, ["folder"], why="data is a path already")
    if named:
        way = "give a .csv or .parquet file as data"
        _refuse(values, NAMED, why=f"the data set {shown(path.name)} needs no such setting", way=way)
    elif suffix == ".npz":
        refuse_columns(values, "data")
    elif suffix == ".parquet":
        check_tables([path], values)
        wanted = [name for name in ("missing", "categorical") if values.get(name) not in (None, [])]
        if wanted and not exact and path.is_file() and set(IMAGE_COLUMNS) & set(parquet.columns_of(path)):
            _refuse(values, wanted, why=f"{path.name} holds images")


def check_tables(files: Iterable[Path], values: Mapping[str, object]) -> None:
    """Refuses a separator where no file is a .csv file.

    Raises:
        InvalidInput: There is a separator.
    """
    if {Path(file).suffix.lower() for file in files} == {".parquet"}:
        _refuse(values, ["separator"], why="the data are .parquet files", way="give a .csv file")


def refuse_columns(values: Mapping[str, object], files: str) -> None:
    """Refuses settings about columns where `files`, such as "members", are arrays or images.

    Raises:
        InvalidInput: There is such a setting.
    """
    _refuse(values, COLUMNS, why=f"{files} are no table with columns", way="give a .csv or .parquet file")


def _refuse(values: Mapping[str, object], unused: Iterable[str], *, why: str, way: str = "") -> None:
    for name in unused:
        default, value = DEFAULTS[name], values.get(name)
        value = list(value) if isinstance(value, tuple) else value
        if value not in (None, [], default):
            got = shown(str(value) if isinstance(value, Path) else value)
            or_else = f", or {way}" if way else ""
            raise InvalidInput(f"{name} must be {as_default(default)}, since {why}, got {got}: leave it out{or_else}")

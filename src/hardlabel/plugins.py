"""Tables to which other installed packages can add rows, by entry points."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from importlib import metadata
from typing import Any, TypeVar, cast

from hardlabel.checks import InvalidInput

Row = TypeVar("Row")


class Registry(dict[str, Row]):
    """A dictionary: our own rows, then the rows of installed packages, which are loaded when it is first read.

    A package adds a row by an entry point. Its name is the name of the row, its value is the row:

        [project.entry-points."hardlabel.attacks"]
        my-attack = "my_package:MY_ATTACK"

    Attributes:
        group: The entry points' group.

    Raises:
        InvalidInput: On reading: the row of a package cannot be loaded, has a wrong type, or has a name that is taken.
    """

    def __init__(self, group: str, rows: Mapping[str, Row], *, type: type | tuple[type, ...]) -> None:
        super().__init__(rows)
        self.group, self._type, self._whole = group, type, False

    def __getitem__(self, name: str) -> Row:
        return super(Registry, self._read()).__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return super(Registry, self._read()).__contains__(name)

    def __iter__(self) -> Iterator[str]:
        return super(Registry, self._read()).__iter__()

    def __len__(self) -> int:
        return super(Registry, self._read()).__len__()

    def get(self, name: str, default: Any = None) -> Any:
        return super(Registry, self._read()).get(name, default)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return super(Registry, self._read()).keys()

    def values(self) -> ValuesView[Row]:  # type: ignore[override]
        return super(Registry, self._read()).values()

    def items(self) -> ItemsView[str, Row]:  # type: ignore[override]
        return super(Registry, self._read()).items()

    def _read(self) -> "Registry[Row]":
        """The table with the rows of installed packages."""
        if not self._whole:
            rows: dict[str, Row] = {}
            for point in metadata.entry_points(group=self.group):
                row = self._loaded(point)
                if point.name in rows or dict.__contains__(self, point.name):
                    raise InvalidInput(f"{self._words(point)} must have another name: {point.name!r} is taken")
                rows[point.name] = row
            self._whole = True
            self.update(rows)
        return self

    def _loaded(self, point: metadata.EntryPoint) -> Row:
        try:
            row = point.load()
        except Exception as error:
            raise InvalidInput(f"{self._words(point)} cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(row, self._type):
            raise InvalidInput(f"{self._words(point)} must be a row of the table, got {type(row).__name__}")
        return cast("Row", row)

    def _words(self, point: metadata.EntryPoint) -> str:
        package = point.dist.name if point.dist is not None else point.value
        return f"entry point {point.name!r} of {self.group}, in package {package!r},"

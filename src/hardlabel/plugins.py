"""Tables to which other installed packages can add rows, by entry points."""

from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Generic, TypeVar, cast

from hardlabel.checks import InvalidInput

Row = TypeVar("Row")


class Registry(Mapping[str, Row], Generic[Row]):
    """A table of our own rows, then the rows of installed packages, which are loaded when the table is first read.

    A package adds a row by an entry point. Its name is the name of the row, its value is the row:

        [project.entry-points."hardlabel.attacks"]
        my-attack = "my_package:MY_ATTACK"

    Attributes:
        group: The entry points' group.

    Raises:
        InvalidInput: On reading: the row of a package cannot be loaded, has a wrong type, or has a name that is taken.
    """

    def __init__(self, group: str, rows: Mapping[str, Row], *, type: type | tuple[type, ...]) -> None:
        self.group = group
        self._rows, self._type = dict(rows), type
        self._found: dict[str, Row] | None = None

    def __getitem__(self, name: str) -> Row:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, Row]:
        if self._found is None:
            rows = dict(self._rows)
            for point in metadata.entry_points(group=self.group):
                row = self._loaded(point)
                if point.name in rows:
                    raise InvalidInput(f"{self._words(point)} must have another name: {point.name!r} is taken")
                rows[point.name] = row
            self._found = rows
        return self._found

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

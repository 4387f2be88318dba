"""Read files that somebody else may have written: regular files only, of limited size, JSON and YAML of limited depth.

A pipe would block, a device or a sparse file would fill the memory, and a few lines of YAML can stand for billions of
values. Everything here ends within seconds, and an error is `Unreadable` with a reason in one line.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from pydantic_core import from_json

YAML_BYTES = 2**17  # PyYAML reads so much in a second or two; settings have a hundredth of it.
YAML_VALUES = 20_000  # Values of a YAML file, with aliases replaced by what they stand for.
YAML_ALIASES = 100
YAML_DEPTH = 20
YAML_DIGITS = 100  # Characters of a number. Python refuses to print numbers of more than 4,300 digits.
LINE_BYTES = 2**16  # Of a line in a file of lines; longer lines are skipped.
LINES_BYTES = 2**28  # Of a file of lines.
HOLES_BYTES, HOLES = 2**30, 100  # A file larger than the first, and so many times larger than on disk, is refused.
KINDS_OF_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Unreadable(ValueError):
    """A file is not what it should be; the message gives the reason in one line, without the file's name."""


def opened(path: Path) -> BinaryIO:
    """The regular file at `path`, or behind a link there, open for reading.

    Raises:
        Unreadable: There is no such file, it cannot be opened, it is no regular file, or it is large and almost all of
            it are holes.

    Example:
        >>> from pathlib import Path
        >>> from hardlabel.reading import opened
        >>> opened(Path("/dev/null"))
        Traceback (most recent call last):
        hardlabel.reading.Unreadable: it must be a regular file, got a device
    """
    try:
        _check_regular(os.stat(path))  # Before it is opened: to open a device may already do something.
        # Not blocking: the file may be replaced by a pipe in between.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise Unreadable(f"{error.strerror or error}") from error
    try:
        _check_regular(os.fstat(handle))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def content(path: Path, *, most: int) -> bytes:
    """All bytes of the regular file at `path`, `most` at most.

    Raises:
        Unreadable: See `opened`; or the file is larger.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            payload = b"" if size > most else file.read(most + 1)
        except OSError as error:
            raise Unreadable(f"{error.strerror or error}") from error
    if max(size, len(payload)) > most:
        raise Unreadable(f"it must have at most {most:,} bytes, got {max(size, len(payload)):,}")
    return payload


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a regular file, without those of more than LINE_BYTES; none if there is no file.

    Raises:
        Unreadable: See `opened`; or the file has more than LINES_BYTES.
    """
    if not os.path.lexists(path):
        return
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > LINES_BYTES:
            raise Unreadable(f"it must have at most {LINES_BYTES:,} bytes, got {size:,}")
        whole = True  # Whether the last read ended a line.
        while line := file.readline(LINE_BYTES):
            ends = line.endswith(b"\n")
            if whole and (ends or len(line) < LINE_BYTES):
                yield line
            whole = ends


def json_value(payload: bytes | str) -> Any:
    """The value that JSON text stands for; at most about 200 levels deep.

    Raises:
        Unreadable: It is no JSON, or deeper.
    """
    try:
        return from_json(payload, cache_strings="keys")
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it must be JSON: {_one_line(error)}") from error


def yaml_value(payload: bytes) -> Any:
    """The value that YAML text in UTF-8 stands for.

    Raises:
        Unreadable: It is no YAML; it is larger or deeper than settings can be; or it refers to itself.
    """
    if len(payload) > YAML_BYTES:
        raise Unreadable(f"it must have at most {YAML_BYTES:,} bytes, got {len(payload):,}")
    try:
        loader = _Loader(payload.decode())
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _expanded(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    # ValueError: a date that does not exist, or other than UTF-8. PyYAML raises the others at wrong tags.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise Unreadable(f"it is not YAML: {_one_line(error)}") from error


def yaml_settings(payload: bytes) -> dict[str, object] | None:
    """The settings in YAML text, by name; None where the text is empty.

    Raises:
        Unreadable: See `yaml_value`; or it maps no names to values.
    """
    settings = yaml_value(payload)
    if settings is not None and not isinstance(settings, dict):
        raise Unreadable(f"it must map settings to values, got {type(settings).__name__}")
    for name in settings or {}:
        if not isinstance(name, str):
            raise Unreadable(f"it must map names of settings to values, got the name {name!r}")
    return settings


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with limits on depth and aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._aliases = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > YAML_ALIASES:
                raise Unreadable(f"it must hold at most {YAML_ALIASES} aliases")
        self._depth += 1
        self._values += 1
        if self._values > YAML_VALUES:  # Seen early: what follows need not be read.
            raise Unreadable(f"it must hold at most {YAML_VALUES:,} values")
        if self._depth > YAML_DEPTH:
            raise Unreadable(f"it must be at most {YAML_DEPTH} levels deep")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _expanded(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Number of values that a node stands for, with all aliases replaced. Refuses loops, and what is too large."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise Unreadable("it must not refer to itself")
        return size
    known[id(node)] = None
    size = 1
    if isinstance(node, yaml.ScalarNode):
        if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float") and len(node.value) > YAML_DIGITS:
            raise Unreadable(f"it must not hold numbers of more than {YAML_DIGITS} characters")
    else:
        for child in node.value:
            size += sum(_expanded(part, known) for part in (child if isinstance(child, tuple) else (child,)))
            if size > YAML_VALUES:
                raise Unreadable(f"it must hold at most {YAML_VALUES:,} values")
    known[id(node)] = size
    return size


def _check_regular(status: os.stat_result) -> None:
    """Refuses what is no regular file, and large files that are almost all holes: reading these takes hours."""
    if status.st_size > HOLES_BYTES and HOLES * 512 * getattr(status, "st_blocks", status.st_size) < status.st_size:
        raise Unreadable(f"it must be a whole file, got {status.st_size:,} bytes of which hardly any is on disk")
    if not stat.S_ISREG(status.st_mode):
        found = KINDS_OF_FILES.get(stat.S_IFMT(status.st_mode), "something else")
        raise Unreadable(f"it must be a regular file, got {found}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__

"""Opening files that may be damaged or made to do harm: whatever goes wrong becomes one line."""

import codecs
import gzip
import io
import re
import tarfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import pandas as pd

from hardlabel.checks import InvalidInput
from hardlabel.data import limits

BLOCK = 2**22  # Bytes looked through at a time.
MOST_AT_ONCE = 2**26  # Bytes of an archive asked for in one piece; more is a header that promises too much.
CELLS = 4  # Bytes of memory for each byte of a CSV file: "1," becomes a number of 8 bytes.


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever readers raise at a damaged or foreign file into one line.

    Only reading belongs inside: a mistake of ours would look like a damaged file.

    Raises:
        InvalidInput: The file cannot be read, or needs more memory than there is.
    """
    try:
        yield
    except InvalidInput:
        raise
    except MemoryError as error:
        raise InvalidInput(f"{path} cannot be read: it needs more memory than there is") from error
    except Exception as error:  # Readers raise much that they do not document.
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        told = words.strip().splitlines()
        raise InvalidInput(f"{path} cannot be read: {told[0] if told else type(error).__name__}") from error


def read_csv(path: Path, *, separator: str = ",", missing: str | None = None, **options: Any) -> pd.DataFrame:
    """A CSV file as a frame; `separator` is one character, `options` are those of pandas.

    Args:
        path: The file.
        separator: The character between the cells.
        missing: The text that is read as missing, beside empty cells; None for the texts that pandas reads so, "NA"
            and "None" among them.
        options: Of pandas.

    Raises:
        InvalidInput: The file is no text in UTF-8, holds a null character, has more columns than names or than
            MOST_COLUMNS, or cannot be read.
    """
    if missing is not None:
        options |= {"keep_default_na": False, "na_values": ["", missing]}
    with readable(path):
        limits.afford(CELLS * path.stat().st_size, str(path))
        _check_text(path, separator)
        with warnings.catch_warnings():
            # Cells without a name would shift the names by one (as an index), or be dropped with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                frame: pd.DataFrame = pd.read_csv(path, sep=separator, encoding="utf-8", index_col=False, **options)
            except pd.errors.ParserWarning as error:
                raise InvalidInput(f"{path} must have a name for each column, got rows with more cells") from error
    return frame


@contextmanager
def member_of(path: Path, member: str) -> Iterator[IO[bytes]]:
    """A file of a tar archive, plain or packed by gzip.

    Raises:
        InvalidInput: The archive is damaged, lacks the member, or unpacks to more than MOST_UNPACKED times its size.
    """
    with readable(path):
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            most = limits.MOST_UNPACKED * path.stat().st_size
            limited = cast(IO[bytes], _Limited(cast(IO[bytes], stream), path, most))
            with tarfile.open(fileobj=limited, mode="r:") as files:
                for info in files:
                    _check_member(info, path, most)
                    if info.isfile() and f"/{info.name}".endswith(f"/{member}"):
                        opened = files.extractfile(info)
                        assert opened is not None
                        limits.afford(info.size, f"{path}: {info.name}")
                        with opened:
                            yield opened
                        return
    raise InvalidInput(f"{path} must hold {member}, and does not")


def first_line(lines: IO[bytes]) -> tuple[bytes, IO[bytes]]:
    """The first line, and the same stream from its beginning.

    Raises:
        InvalidInput: The line has more columns than MOST_COLUMNS.
    """
    buffered = io.BufferedReader(lines, buffer_size=BLOCK)  # type: ignore[type-var]
    head = buffered.peek(BLOCK)
    line = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    _check_columns(line.count(b",") + 1, getattr(lines, "name", "a file of integers"))
    if len(line) == BLOCK:
        raise InvalidInput(f"a line must not be longer than {BLOCK:,} bytes, got a longer one")
    return line, buffered


class _Limited(io.BufferedIOBase):
    """A stream that refuses to unpack more than `most` bytes."""

    def __init__(self, stream: IO[bytes], path: Path, most: int) -> None:
        self._stream, self._path, self._most = stream, path, most

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > MOST_AT_ONCE:
            raise InvalidInput(f"{self._path} cannot be read: a header promises more bytes than the archive holds")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET and offset > self._most:
            raise _too_much(self._path, offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _check_member(info: tarfile.TarInfo, path: Path, most: int) -> None:
    if info.offset_data + info.size > most:
        raise _too_much(path, info.offset_data + info.size)


def _too_much(path: Path, size: int) -> InvalidInput:
    return InvalidInput(
        f"{path} must unpack to at most {limits.MOST_UNPACKED} times its size, it promises {size:,} bytes: "
        "unpack it yourself if you trust it"
    )


def _check_text(path: Path, separator: str) -> None:
    """Refuses what is no text in UTF-8, and a first line with too many columns."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    between = separator.encode()
    marks = re.compile(rb'["\r\n]|' + re.escape(between))
    separators, quotes, ended = 0, 0, False
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            if b"\0" in block:
                raise InvalidInput(f"{path} cannot be read: it holds a null character, save it as text in UTF-8")
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{path} cannot be read: {error.reason}, save it as text in UTF-8") from error
            if not ended:
                for place in marks.finditer(block):
                    mark = place[0]
                    quotes += mark == b'"'
                    separators += mark == between
                    if mark in b"\r\n" and quotes % 2 == 0 and separators:
                        ended = True
                        break
                    if separators > limits.MOST_COLUMNS:
                        break
                _check_columns(separators + 1, str(path))
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} cannot be read: {error.reason}, save it as text in UTF-8") from error


def _check_columns(count: int, name: str) -> None:
    if count > limits.MOST_COLUMNS:
        raise InvalidInput(f"{name} must have at most {limits.MOST_COLUMNS:,} columns, got more: leave some out")

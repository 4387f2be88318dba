"""The data holder's secret: it turns records and settings into names that only the holder can resolve.

The secret is a file in the user's configuration folder, made at first use and readable by the user alone. The text in
HARDLABEL_SECRET takes its place. The secret is never written to a run folder, a report or a store.
"""

import hashlib
import os
import secrets
import sys
import warnings
from functools import cache
from pathlib import Path

from hardlabel.checks import InvalidInput

ENVIRONMENT = "HARDLABEL_SECRET"  # Its text is the secret, in place of the file.
FILE = "secret"
BYTES = 32
FEWEST_CHARACTERS = 16


def keyed(content: bytes, *, purpose: str, digits: int = 10) -> str:
    """A name of `content` that only the holder of the secret can compute.

    The same content has the same name wherever the secret is the same. Names for different purposes have nothing in
    common.

    Args:
        content: Any bytes.
        purpose: What the name is for, at most 16 ASCII characters.
        digits: Number of hexadecimal digits, even.

    Raises:
        InvalidInput: The secret is too short or cannot be read; see `check`.

    Example:
        >>> from hardlabel.secret import keyed
        >>> keyed(b"a record", purpose="record") == keyed(b"a record", purpose="record")
        True
    """
    key = hashlib.sha256(_secret()).digest()
    return hashlib.blake2b(content, key=key, digest_size=digits // 2, person=purpose.encode()).hexdigest()


def check() -> None:
    """Reads the secret, or makes it; called before a run trains anything.

    Raises:
        InvalidInput: HARDLABEL_SECRET has fewer than 16 characters, or the file of the secret is damaged or cannot be
            read.
    """
    _secret()


def place() -> Path:
    """The file of the secret."""
    variable, fallback = {
        "win32": ("APPDATA", "~/AppData/Roaming"),
        "darwin": ("", "~/Library/Application Support"),
    }.get(sys.platform, ("XDG_CONFIG_HOME", "~/.config"))
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path(fallback).expanduser()) / "hardlabel" / FILE


def _secret() -> bytes:
    text = os.environ.get(ENVIRONMENT)
    if text is None:
        return _kept()
    if len(text) < FEWEST_CHARACTERS:
        raise InvalidInput(f"{ENVIRONMENT} must have at least {FEWEST_CHARACTERS} characters, got {len(text)}")
    return text.encode("utf-8", "surrogateescape")


def _kept() -> bytes:
    try:
        return _of_file(place())
    except RuntimeError:  # This user has no home folder.
        return _unkept("no home folder")


@cache
def _of_file(path: Path) -> bytes:
    """The secret in the file, made if there is none. If no file can be made, this process has a secret of its own."""
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except PermissionError as error:
        if path.exists():
            raise InvalidInput(f"the secret {str(path)!r} cannot be read: {error.strerror}") from error
        return _unkept(str(error))
    except OSError as error:
        return _unkept(str(error))
    if len(secret) != BYTES:
        raise InvalidInput(
            f"the secret {str(path)!r} must hold {BYTES} bytes, got {len(secret)}: restore it, or delete it and get "
            "other pseudonyms"
        )
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # Another process was first; its secret counts.
        except OSError:  # This disk has no links.
            if not path.exists():
                os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@cache
def _unkept(reason: str) -> bytes:
    warnings.warn(
        f"the secret of pseudonyms cannot be kept ({reason}): pseudonyms of this process cannot be compared with those "
        f"of others; set {ENVIRONMENT}",
        stacklevel=4,
    )
    return secrets.token_bytes(BYTES)

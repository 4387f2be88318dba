"""Where the files of a run lie: records and run folders name files without folders, the store's note has the paths."""

import os
from collections.abc import Mapping
from pathlib import Path

from hardlabel.targets.http.address import is_address

# Settings that may hold a path.
PATHS = (
    *("data", "folder", "slices_file", "pretrain", "target", "trainer", "members", "nonmembers", "population"),
    *("protocol", "ca"),
)


def last_name(text: str) -> str:
    """The last name of a path; any text without a separator of folders, and any address, as it is.

    Example:
        >>> from hardlabel.runs.places import last_name
        >>> last_name("clinic/patients.csv"), last_name("digits")
        ('patients.csv', 'digits')
    """
    if is_address(text):
        return text
    separators = [separator for separator in (os.sep, os.altsep) if separator]
    if not any(separator in text for separator in separators):
        return text
    return os.path.basename(text.rstrip("".join(separators))) or "."


def without_folders(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with paths cut to their last name."""
    return {
        name: last_name(value) if name in PATHS and isinstance(value, str) else value
        for name, value in settings.items()
    }


def places_of(settings: Mapping[str, object]) -> dict[str, str]:
    """The whole paths of the settings that `without_folders` cuts, absolute; the home folder is written "~"."""
    return {
        name: from_home(Path(value).expanduser())
        for name, value in settings.items()
        if name in PATHS and isinstance(value, str) and last_name(value) != value
    }


def from_home(path: Path) -> str:
    """The absolute path, with "~" for the home folder."""
    path = path.absolute()
    try:
        home = Path.home()
    except RuntimeError:  # This user has none.
        return str(path)
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)

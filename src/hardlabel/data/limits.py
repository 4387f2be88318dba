"""What a file may ask for before anything is allocated: memory, columns, pixels, and how far it may unpack."""

import math
import os
from pathlib import Path

from hardlabel.checks import InvalidInput

MOST_COLUMNS = 2**16  # Of a table. Wider tables would take hours to fit.
MOST_PIXELS = 2**26  # Of a picture: 8,192 x 8,192.
MOST_UNPACKED = 500  # Times an archive's size that its members may have. Text of bits reaches less than 100.
DEFLATED = 1032  # Times its size that deflated data can have at most.

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory() -> float:
    """Bytes that this process may use: of the machine, its container and its limit; infinity where none is known."""
    known = [_machine(), *(_number_in(path) for path in _CGROUPS), _address_space()]
    return min(known)


def afford(needed: int, what: str) -> None:
    """Refuses what needs more memory than this process may use.

    Args:
        needed: Bytes.
        what: The thing that needs them, as the subject of the error.

    Raises:
        InvalidInput: `needed` is more than `memory()`.

    Example:
        >>> from hardlabel.data.limits import afford
        >>> afford(10**18, "t.npz")
        Traceback (most recent call last):
        hardlabel.checks.InvalidInput: t.npz needs 1,000,000,000.0 GB of memory, ... here
    """
    there = memory()
    if needed > there:
        raise InvalidInput(f"{what} needs {needed / 1e9:,.1f} GB of memory, there are {there / 1e9:,.1f} GB here")


def _machine() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # Not known on this system.
        return math.inf


def _number_in(path: str) -> float:
    try:
        return float(Path(path).read_text())
    except (OSError, ValueError):  # No such group, or "max".
        return math.inf


def _address_space() -> float:
    """What a limit of addresses (`ulimit -v`) leaves."""
    try:
        import resource  # Not on Windows.

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most == resource.RLIM_INFINITY:
            return math.inf
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return math.inf
    return float(max(0, most - used))

"""Has glibc keep the memory it was given, so that large batches do not fetch the same pages anew each time.

By default glibc hands large blocks back to the system when they are freed, and the system hands them out again page by
page, wiped: a network whose layers put out megabytes can lose more time to that than its arithmetic takes.
"""

import ctypes
import os
import sys

MOST = 2**31 - 1  # Bytes; what mallopt can be told.
OLD_MOST = 2**25  # What older glibcs take as a threshold of mapping.
STEP = 2**28

# From malloc.h: the parameter, what it is called in the environment and in GLIBC_TUNABLES, our values, the first that
# is taken. Any of them ends glibc's own adapting of the threshold of mapping, which is small at first.
SETTINGS = (
    (-3, "MALLOC_MMAP_THRESHOLD_", "mmap_threshold", (MOST, OLD_MOST)),  # Larger blocks are mapped one by one.
    (-1, "MALLOC_TRIM_THRESHOLD_", "trim_threshold", (MOST,)),  # More than that of free memory is given back.
    (-2, "MALLOC_TOP_PAD_", "top_pad", (STEP,)),  # So much is asked of the system at a time.
)


def keep_memory() -> bool:
    """Has this process keep freed memory from now on, except where an environment variable sets this already.

    The command line calls this when it starts, and so do the processes that train reference models. Where hardlabel is
    used as a library, the caller decides, because the setting concerns the whole process.

    Only the caller can make another setting: with OMP_WAIT_POLICY=PASSIVE in the environment, before PyTorch is
    imported, threads that wait for work leave the processors to other programs.

    Returns:
        Whether anything was set: only on Linux with glibc, whose allocator this is about.

    Example:
        >>> from hardlabel import keep_memory
        >>> keep_memory()  # doctest: +SKIP
        True
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    done = False
    for parameter, variable, tunable, values in SETTINGS:
        if variable not in os.environ and f"glibc.malloc.{tunable}=" not in tunables:
            done |= any(mallopt(parameter, value) == 1 for value in values)
    return done

"""Make glibc keep freed memory, so that a process on a CPU does not page it in again at every step or chunk."""

from __future__ import annotations

import ctypes
import sys

# From malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
TOP_PAD = 64 * 2**20  # bytes asked of the system at a time


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next request, where it is the GNU one; return whether it did.

    Otherwise it hands large blocks back to the system when they are freed, and every step of a training touches
    thousands of new pages: a fifth of the time of a step of the small presets, more on a virtual machine whose host
    takes free memory away. The process then keeps its highest demand until it ends.

    Example
    -------
    >>> keep_freed_memory() in (True, False)
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: TOP_PAD, M_MMAP_MAX: 0}
    taken = [bool(mallopt(name, value)) for name, value in settings.items()]
    return all(taken)

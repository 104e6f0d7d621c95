"""A child process that is stopped before it takes more memory than there is, or more time than it was given."""

from __future__ import annotations

import subprocess
import time

LOOK = 0.05  # seconds between two looks at the memory


def wait_within(process: subprocess.Popen[bytes], memory: float, seconds: float | None = None) -> float:
    """Wait for the end of a process, and kill it where it takes too much.

    Arguments
    ---------
    process : subprocess.Popen
        Its output must go to a file, so that it never waits for a reader.
    memory : float
        Resident bytes that it may take.
    seconds : float, optional
        Time that it may take.

    Returns
    -------
    float
        The bytes that it had taken when it was stopped for them, or 0.

    Raises
    ------
    subprocess.TimeoutExpired
        If it was stopped for its time.

    Example
    -------
    >>> import sys
    >>> wait_within(subprocess.Popen([sys.executable, "-c", ""]), 2**40)
    0.0
    """
    import psutil

    watched, start = psutil.Process(process.pid), time.monotonic()
    while process.poll() is None:
        try:
            taken = watched.memory_info().rss
        except psutil.Error:
            break
        if taken > memory:
            process.kill()
            process.wait()
            return float(taken)
        if seconds is not None and time.monotonic() - start > seconds:
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(process.args, seconds)
        time.sleep(LOOK)
    process.wait()
    return 0.0

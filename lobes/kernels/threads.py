"""Python's own threads for compiled kernels that release the GIL.

numba's thread layers are not used: their OpenMP layer kills a process that was forked after its parent had scanned (a
DataLoader worker), and the others do not allow calls from several threads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import torch

SMALL = 2**19  # state updates (B L D N) below which one thread is faster
SMALLEST = 1 / 16  # of all jobs: a remainder this small is shared out at once


def workers_for(updates: int) -> int:
    """The number of threads for so much work: as many as torch has, or one."""
    return 1 if updates < SMALL else torch.get_num_threads()


def split(jobs: int, workers: int) -> list[tuple[int, int]]:
    """Cut the jobs into contiguous shares: half of them for all workers, then half of the rest, and so on.

    A thread that is held up, by its core or by waking late, leaves the later, smaller shares to the others. The shares
    depend on nothing but the two numbers, and so does what is added up by share. Of no jobs, one share is made.

    Example
    -------
    >>> split(16, 2)
    [(0, 4), (4, 8), (8, 10), (10, 12), (12, 13), (13, 14), (14, 15), (15, 16)]
    """
    shares, start = [], 0
    while start < jobs:
        left = jobs - start
        part = left if workers == 1 or left <= SMALLEST * jobs else (left + 1) // 2
        bounds = [start + part * worker // workers for worker in range(workers + 1)]
        shares += [(a, b) for a, b in zip(bounds[:-1], bounds[1:], strict=True) if a < b]
        start += part
    return shares or [(0, 0)]


def run(workers: int, shares: list[tuple[int, int]], kernel: Callable[[int, int, int, int], None]) -> None:
    """Call kernel(start, stop, worker, share) for all shares; the calling thread is one of the workers."""
    queue = iter([(*share, i) for i, share in enumerate(shares)])

    def work(worker: int) -> None:
        for start, stop, i in queue:  # several threads take from it: a list's iterator gives each item once
            kernel(start, stop, worker, i)

    pending = [_pool(os.getpid()).submit(work, worker) for worker in range(1, workers)]
    try:
        work(0)
    finally:  # after an interruption the rest is dropped; the other threads use the memory until they are done
        deque(queue, maxlen=0)
        if pending:
            wait(pending)
    for future in pending:
        future.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process. A forked child does not inherit them; by its own id it gets new ones."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="lobes-scan")

"""Python's own threads for compiled kernels that release the GIL.

numba's thread layers are not used: their OpenMP layer kills a process that was forked after its parent had scanned (a
DataLoader worker), and the others do not allow calls from several threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

SMALL = 2**19  # state updates (B L D N) below which one thread is faster


def workers_for(updates: int) -> int:
    """How many threads some work deserves: as many as torch has, or one."""
    return 1 if updates < SMALL else torch.get_num_threads()


def run(workers: int, jobs: int, kernel: Callable[[int, int, int], None]) -> None:
    """Call kernel(start, stop, worker) over contiguous shares of the jobs; the calling thread takes the first share."""
    bounds = [jobs * worker // workers for worker in range(workers + 1)]
    shares = list(zip(bounds[:-1], bounds[1:], range(workers), strict=True))
    pending = [_pool(os.getpid()).submit(kernel, *share) for share in shares[1:]]
    kernel(*shares[0])
    for future in pending:
        future.result()


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process. A forked child does not inherit them; by its own id it gets new ones."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="lobes-scan")

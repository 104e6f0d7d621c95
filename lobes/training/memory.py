"""How much memory a training process has held, and that it keeps freed memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lobes.runs.freed_memory import keep_freed_memory

if TYPE_CHECKING:
    import torch

__all__ = ["keep_freed_memory", "peak_megabytes"]


def peak_megabytes(device: torch.device | str = "cpu") -> float:
    """The most memory that this process has ever held, in MB of 2^20 bytes; on a GPU, that PyTorch's tensors have.

    Example
    -------
    >>> peak_megabytes() > 1
    True
    """
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        memory = psutil.Process().memory_info()
        return (getattr(memory, "peak_wset", 0) or memory.rss) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20

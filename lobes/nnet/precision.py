"""Full precision inside autocast, and one conversion of what several products take."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def at_least_fp32(x: Tensor) -> Tensor:
    """Convert bfloat16 and float16 to float32; leave float32 and float64 alone.

    Example
    -------
    >>> at_least_fp32(torch.ones(1, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def no_autocast(x: Tensor) -> AbstractContextManager:
    """Return a context in which operations on `x`'s device keep the precision of their inputs.

    Example
    -------
    >>> x = torch.ones(2, 2)
    >>> with torch.autocast("cpu", dtype=torch.bfloat16), no_autocast(x):
    ...     (x @ x).dtype
    torch.float32
    """
    return torch.autocast(x.device.type, enabled=False)


def in_autocast(x: Tensor) -> Tensor:
    """Convert `x` to the type in which autocast multiplies it, where it is on: once for all products that follow.

    Autocast itself converts the factor of each product, and its gradient; only weights are kept.

    Example
    -------
    >>> with torch.autocast("cpu", dtype=torch.bfloat16):
    ...     in_autocast(torch.ones(2)).dtype
    torch.bfloat16
    >>> in_autocast(torch.ones(2)).dtype
    torch.float32
    """
    device = x.device.type
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(device):
        return x
    return x.to(torch.get_autocast_dtype(device))

"""Whether compiled kernels read and write bfloat16 on this machine, tried once for all of them."""

from __future__ import annotations

import logging
import sys
from functools import cache

import torch
from torch import Tensor

from lobes.kernels import memory, simd, simd_math
from lobes.kernels.compiled import check_small_call, keep_compiled
from lobes.kernels.memory import rows
from lobes.kernels.simd import LANES
from lobes.kernels.simd_math import OPTIONS, first_row, njit, read, write

logger = logging.getLogger(__name__)


@njit(**OPTIONS)
def copy(source, to, steps, channels):
    """Copy the rows of one item, of either type, into rows of either type."""
    for channel in range(0, channels, LANES):
        a, a_step = first_row(source, 0, steps, False, channel)
        b, b_step = first_row(to, 0, steps, False, channel)
        for s in range(steps):
            room = channels - channel
            write(to, b + s * b_step, read(source, a + s * a_step, room), room)


def converted(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x.to(dtype)` for x [1, L, D], both float32 or bfloat16, by the kernels' own reading and writing.

    Example
    -------
    >>> x = torch.randn(1, 3, 40)
    >>> torch.equal(converted(x, torch.bfloat16), x.bfloat16())
    True
    """
    y = x.new_empty(x.shape, dtype=dtype)
    copy(rows(x), rows(y), x.shape[1], x.shape[2])
    return y


@cache
def half_rows_work() -> bool:
    """Whether the kernels convert as PyTorch does; if not, a warning says that rows get float32 copies.

    Example
    -------
    >>> half_rows_work()
    True
    """
    x = torch.linspace(-2, 3, 3 * (2 * LANES + 3)).view(1, 3, -1)
    half = x.bfloat16()
    try:
        keep_compiled((copy,), (memory, simd, simd_math, sys.modules[__name__]))
        check_small_call(
            "the conversion of bfloat16",
            lambda: [converted(x, torch.bfloat16).double(), converted(half, torch.float32).double()],
            lambda: [half.double(), half.double()],
            agreement=0.0,
        )
    except Exception as error:  # numba may be broken in any way, or its inner parts may have changed
        logger.warning("Compiled CPU kernels do not read bfloat16 here (%s): it is copied to float32.", error)
        return False
    return True

"""Initial step sizes of Mamba and Mamba-2."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def bias_of_step_sizes(count: int, low: float, high: float, floor: float, **made: Any) -> Tensor:
    """Draw step sizes log-uniformly, and return the bias [count] whose softplus they are.

    Arguments
    ---------
    count : int
        Of channels or heads.
    low, high, floor : float
        Step sizes lie between the first two, and are never below the third.
    **made
        Device and dtype.

    Example
    -------
    >>> dt = torch.nn.functional.softplus(bias_of_step_sizes(1000, 1e-3, 1e-1, 1e-4))
    >>> bool((dt > 0.9e-3).all() and (dt < 1.1e-1).all())
    True
    """
    log_dt = torch.rand(count, **made) * (math.log(high) - math.log(low)) + math.log(low)
    dt = log_dt.exp().clamp(min=floor)
    return dt + torch.log(-torch.expm1(-dt))

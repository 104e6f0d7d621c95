"""Does a GPU backend work on this device? A tiny scan says so once, before anybody's data meet it."""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Callable

import torch
from torch import Tensor

from lobes.kernels.compiled import check_small_call
from lobes.scan.trial import by_autograd

logger = logging.getLogger(__name__)

AGREEMENT = 1e-4  # share of the largest value; mamba_ssm is compiled with fast approximations


def current_device() -> str | None:
    """The CUDA device that a probe runs on; None where there is none, and nothing to probe."""
    return f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else None


def failure(name: str, scan: Callable[[str], list[Tensor]], started: bool) -> str | None:
    """The reason for which a backend does not work on the current device, in one line; None if it does.

    Arguments
    ---------
    name : str
        Of the backend.
    scan : callable
        device -> the results of `lobes.scan.trial` by the backend.
    started : bool
        Whether the example has an initial state.
    """
    device = current_device()
    if device is None:
        return None
    try:
        check_small_call(name, lambda: scan(device), lambda: by_autograd(started=started), AGREEMENT)
    except Exception as error:  # a card that is too old, no ptxas, a driver or a build that does not fit: all kinds
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 300)
        return f"a small scan fails on {device} ({reason})"
    if system := untested():
        logger.warning("The scan's backend %s is untested on %s; a small scan agrees with the reference", name, system)
    return None


def untested() -> str:
    """The name of a system on which nobody has run the GPU backends; empty elsewhere."""
    if torch.version.hip is not None:
        return "ROCm"
    return "Windows" if sys.platform == "win32" else ""

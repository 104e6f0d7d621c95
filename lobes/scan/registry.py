"""The backends of the scan by name, and the choice of one of them."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

from lobes.errors import UserError, did_you_mean
from lobes.kernels.operators import constant_of_trace
from lobes.scan.backend import Backend
from lobes.scan.cpu.numba_backend import NumbaBackend
from lobes.scan.cuda.kernels_backend import KernelsBackend
from lobes.scan.cuda.mamba_ssm_backend import MambaSSMBackend
from lobes.scan.cuda.triton_backend import TritonBackend
from lobes.scan.inputs import Facts
from lobes.scan.reference import ReferenceBackend
from lobes.scan.torch_blocked import TorchBackend

logger = logging.getLogger(__name__)

ENVIRONMENT = "LOBES_SCAN_BACKEND"
BACKENDS: dict[str, Backend] = {
    "reference": ReferenceBackend(),
    "torch": TorchBackend(),
    "numba": NumbaBackend(),
    "triton": TritonBackend(),
    "mamba_ssm": MambaSSMBackend(),
    "kernels": KernelsBackend(),
}
FASTEST = {"cpu": ("numba",), "cuda": ("mamba_ssm", "triton")}  # by device, best first; `torch` runs everywhere


def backends() -> dict[str, str]:
    """Say for each backend whether it can run here.

    Returns
    -------
    status : dict
        Backend name -> "available" or the reason why not.

    Example
    -------
    >>> backends()["torch"]
    'available'
    """
    return {name: backend.unavailable() or "available" for name, backend in BACKENDS.items()}


@constant_of_trace
def choose(asked: str, *description: Any) -> str:
    """Return the name that the caller or the environment asks for, else of the fastest backend that takes the inputs.

    Arguments
    ---------
    asked : str
        "auto" or a backend's name.
    *description
        The fields of `Facts`, one by one: torch.compile calls this once, while it traces.

    Raises
    ------
    UserError
        The backend that was asked for is unknown, not available, or cannot take these inputs.

    Example
    -------
    >>> import torch
    >>> choose("auto", *Facts("cpu", torch.float64, states=16, started=False, wants_last=False, needs_grad=True))
    'torch'
    """
    x = Facts(*description)
    source = f"backend={asked!r}"
    if asked == "auto":
        asked = os.environ.get(ENVIRONMENT, "") or "auto"
        source = f"{ENVIRONMENT}={asked}"
    if asked == "auto":
        return _fastest(x)
    if asked not in BACKENDS:
        raise UserError(
            f"selective_scan: {source} is not a backend; expected auto, {', '.join(BACKENDS)}."
            f"{did_you_mean(asked, BACKENDS)}"
        )
    reason = _why_not(asked, x)
    if reason is not None:
        raise UserError(f"selective_scan: {source} cannot run: {reason}. Choose another backend or 'auto'.")
    log_choice(asked, x.device, source)
    return asked


def _fastest(x: Facts) -> str:
    reasons, names, level = [], FASTEST.get(x.device, ()), logging.INFO
    for name in names:
        reason = _why_not(name, x)
        if reason is None:
            break
        reasons.append(f"not {name}: {reason}")
    else:
        name = "torch"
        if names and all(BACKENDS[other].unavailable() for other in names):
            level = logging.WARNING  # this machine does not run what is several times as fast
    log_choice(name, x.device, "; ".join(["auto", *reasons]), level)
    return name


def _why_not(name: str, x: Facts) -> str | None:
    return BACKENDS[name].unavailable() or BACKENDS[name].refuses(x)


@cache
def log_choice(name: str, device: str, why: str, level: int = logging.INFO) -> None:
    """Log which backend runs, once for each device and reason."""
    logger.log(level, "selective scan on %s: backend %s (%s)", device, name, why)
